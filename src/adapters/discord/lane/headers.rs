//! What an answer says about limits: the `X-RateLimit-*` headers, `Retry-After`, and the body of a 429.
//!
//! Source: Discord's documentation, topics/rate-limits. Everything here comes from outside: a value that is absent, malformed or
//! absurd reads as absent, and our own clock is never compared with theirs. Keeps nothing.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A wait longer than this is cut: a day is as good as for ever, and arithmetic on it cannot overflow.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest wait after a 429: whoever is asked for more asks again after this, which costs one refusal in ten minutes, where
/// an absurd or a mistaken figure believed would keep everybody silent for a day.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// The shortest wait after a 429: one that asks for none must not be answered in a loop.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The wait after a 429 that does not say how long.
const RETRY_UNKNOWN: Duration = Duration::from_secs(1);
/// The wait after a 429 that Discord's API did not write: its edge does, against a whole address.
const RETRY_UNKNOWN_EDGE: Duration = Duration::from_secs(5);

/// The limits that one answer told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Limits {
    /// `X-RateLimit-Bucket`: the same hash on two routes is one limit.
    pub bucket: Option<String>,
    /// `X-RateLimit-Limit`: requests in one window.
    pub limit: Option<u32>,
    /// `X-RateLimit-Remaining`, after this request.
    pub remaining: Option<u32>,
    /// `X-RateLimit-Reset-After`, or what stands in for it.
    pub reset_after: Option<Duration>,
    /// `X-RateLimit-Reset` in milliseconds on Discord's clock: names the window, is never compared with our clock.
    pub window_ms: Option<u64>,
}

/// What a 429 asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Refused429 {
    /// How long to wait.
    pub retry_after: Duration,
    /// Who is limited.
    pub scope: Scope,
}

/// Who a 429 limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The bot, on this bucket.
    User,
    /// Everybody, on this resource; Discord does not count it against the bot.
    Shared,
    /// The bot, everywhere.
    Global,
}

impl Limits {
    /// Reads what an answer's headers tell.
    pub fn read(headers: &HeaderMap) -> Self {
        let window_s = number(headers, "x-ratelimit-reset");
        let reset_after = number(headers, "x-ratelimit-reset-after").and_then(seconds).or_else(|| {
            // Without Reset-After, the difference of two of *their* times. Date is cut to the second below, so the wait errs long.
            let date = DateTime::parse_from_rfc2822(text(headers, "date")?).ok()?;
            seconds(window_s? - date.timestamp() as f64)
        });
        Self {
            bucket: text(headers, "x-ratelimit-bucket").filter(|hash| hash.len() <= 128).map(str::to_owned),
            limit: whole(headers, "x-ratelimit-limit").filter(|limit| *limit > 0),
            remaining: whole(headers, "x-ratelimit-remaining"),
            reset_after,
            window_ms: window_s.filter(|at| *at >= 0.0).map(|at| (at * 1000.0) as u64),
        }
    }

    /// Whether the answer spoke of a limit at all.
    pub fn is_silent(&self) -> bool {
        self.limit.is_none() && self.remaining.is_none()
    }
}

impl Refused429 {
    /// Reads a 429. The body's `retry_after` has fractions and goes before the header's, which is rounded up.
    pub fn read(headers: &HeaderMap, body: &Value) -> Self {
        let from_api = body.get("retry_after").is_some()
            || headers.contains_key("x-ratelimit-scope")
            || headers.contains_key("x-ratelimit-bucket");
        let said = body
            .get("retry_after")
            .and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()))
            .and_then(seconds)
            .or_else(|| number(headers, "retry-after").and_then(seconds))
            .or_else(|| number(headers, "x-ratelimit-reset-after").and_then(seconds));
        let global = body.get("global").and_then(Value::as_bool) == Some(true)
            || text(headers, "x-ratelimit-global").is_some_and(|flag| flag.eq_ignore_ascii_case("true"))
            || text(headers, "x-ratelimit-scope") == Some("global");
        let scope = match text(headers, "x-ratelimit-scope") {
            _ if global => Scope::Global,
            Some("shared") => Scope::Shared,
            // The edge knows no buckets: what it refuses, it refuses to all that we send.
            _ if !from_api => Scope::Global,
            _ => Scope::User,
        };
        let unknown = if from_api { RETRY_UNKNOWN } else { RETRY_UNKNOWN_EDGE };
        Self { retry_after: said.unwrap_or(unknown).clamp(RETRY_MIN, RETRY_MAX), scope }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    text(headers, name)?.parse().ok().filter(|value: &f64| value.is_finite())
}

fn whole(headers: &HeaderMap, name: &str) -> Option<u32> {
    text(headers, name)?.parse().ok()
}

fn seconds(value: f64) -> Option<Duration> {
    (value >= 0.0).then(|| Duration::try_from_secs_f64(value).unwrap_or(WAIT_MAX).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_429_says_how_long_in_body_or_header() {
        let plain = headers(&[("retry-after", "65"), ("x-ratelimit-scope", "user")]);
        assert_eq!(
            Refused429::read(&plain, &json!({"retry_after": 64.57})).retry_after,
            Duration::from_secs_f64(64.57)
        );
        assert_eq!(Refused429::read(&plain, &Value::Null).retry_after, Duration::from_secs(65));
        assert_eq!(Refused429::read(&plain, &json!({"retry_after": "0.5"})).retry_after, Duration::from_millis(500));
        assert_eq!(Refused429::read(&plain, &json!({"retry_after": -3})).retry_after, Duration::from_secs(65));
        assert_eq!(Refused429::read(&plain, &json!({"retry_after": 1e300})).retry_after, RETRY_MAX);
        assert_eq!(Refused429::read(&plain, &json!({"retry_after": 0})).retry_after, RETRY_MIN);
    }

    #[test]
    fn a_429_of_the_edge_pauses_everything() {
        let edge = Refused429::read(&headers(&[]), &Value::Null);
        assert_eq!((edge.scope, edge.retry_after), (Scope::Global, RETRY_UNKNOWN_EDGE));
        let shared = Refused429::read(&headers(&[("x-ratelimit-scope", "shared")]), &json!({"retry_after": 1}));
        assert_eq!(shared.scope, Scope::Shared);
        let own = Refused429::read(&headers(&[("x-ratelimit-bucket", "abc")]), &json!({"global": false}));
        assert_eq!(own.scope, Scope::User);
    }

    #[test]
    fn nonsense_reads_as_absent() {
        let read = Limits::read(&headers(&[
            ("x-ratelimit-limit", "0"),
            ("x-ratelimit-remaining", "-1"),
            ("x-ratelimit-reset-after", "NaN"),
            ("x-ratelimit-reset", "inf"),
        ]));
        assert_eq!(read, Limits::default());
        assert!(read.is_silent());
    }

    #[test]
    fn without_reset_after_their_own_date_tells_the_wait_whatever_our_clock_says() {
        let read =
            Limits::read(&headers(&[("x-ratelimit-reset", "1000000003.5"), ("date", "Sun, 09 Sep 2001 01:46:40 GMT")]));
        assert_eq!(read.reset_after, Some(Duration::from_millis(3_500)));
    }
}
