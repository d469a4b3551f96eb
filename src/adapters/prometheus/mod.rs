//! Prometheus, and whatever answers as it does: Fly's metrics (VictoriaMetrics), Mimir, Thanos.
//!
//! Written by hand over reqwest: two questions, asked as forms. Owns the limits of a question and every word that says it failed;
//! those words never hold the token, nor a body that is not a sentence. Knows nothing of Fly: where to ask and with which header
//! is told by whoever puts it together. Sources: Prometheus's documentation of its HTTP API, field notes section 4.

pub mod answer;

#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{StatusCode, Url, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::adapters::redact::redact;
use crate::domain::metrics::{Labels, POINTS_MAX, Series};
use crate::ports::metrics::{Asked, Metrics, MetricsError};

/// The longest that one question takes with everything, tries and waits included: within what a decision waits for.
pub const QUESTION_MAX: Duration = Duration::from_millis(7_500);
/// The longest that one try takes.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Tries of one question.
const TRIES_MAX: u32 = 3;
/// The wait after the first failed try, at most; doubled after each.
const BACKOFF: Duration = Duration::from_millis(250);
/// The longest `Retry-After` that is waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);
/// The largest answer read, in bytes: eleven thousand points of some thirty series.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The longest question sent, in bytes.
const QUESTION_BYTES_MAX: usize = 16 << 10;
/// The longest piece of the source's own words that is passed on, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// One source.
#[derive(Debug)]
pub struct Prometheus {
    name: String,
    http: reqwest::Client,
    base: Url,
    auth: Option<header::HeaderValue>,
    secret: SecretString,
    /// What to do when the token is not taken.
    remedy: String,
}

/// How one try failed, and whether and when another may help.
struct Failed {
    error: MetricsError,
    again: bool,
    after: Duration,
}

impl Prometheus {
    /// A source called `name`, below `base`: the address before `/api/v1`. `authorization` is the whole header's value; `remedy`
    /// says what to do when it is refused.
    ///
    /// # Errors
    /// A sentence, when the address or the header cannot be used.
    pub fn new(
        name: impl Into<String>,
        base: &str,
        authorization: Option<&SecretString>,
        remedy: impl Into<String>,
    ) -> Result<Self, String> {
        let name = name.into();
        let base = match Url::parse(base) {
            Ok(url) if !url.cannot_be_a_base() => url,
            _ => return Err(format!("the address of the metrics “{name}” is none")),
        };
        let auth = authorization
            .map(|secret| {
                header::HeaderValue::from_str(secret.expose_secret().trim())
                    .map(|mut value| {
                        value.set_sensitive(true);
                        value
                    })
                    .map_err(|_| format!("the token of the metrics “{name}” cannot stand in a header; copy it again"))
            })
            .transpose()?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(TRY_MAX)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let secret = authorization.cloned().unwrap_or_default();
        Ok(Self { name, http, base, auth, secret, remedy: remedy.into() })
    }

    async fn question(&self, path: &str, form: &[(&str, String)]) -> Result<Value, MetricsError> {
        let asked: usize = form.iter().map(|(_, value)| value.len()).sum();
        if asked > QUESTION_BYTES_MAX {
            return Err(MetricsError::BadQuestion(format!(
                "{}: a question of {asked} bytes; at most {QUESTION_BYTES_MAX}",
                self.name
            )));
        }
        let tries = async {
            let mut tried = 1;
            loop {
                let failed = match self.once(path, form).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
                if !failed.again || tried >= TRIES_MAX {
                    return Err(failed.error);
                }
                // Full jitter, so that a hundred bots do not come back together.
                let ceiling = BACKOFF.saturating_mul(1 << tried.min(5));
                tokio::time::sleep(ceiling.mul_f64(fastrand::f64()).max(failed.after)).await;
                tried += 1;
            }
        };
        tokio::time::timeout(QUESTION_MAX, tries).await.unwrap_or_else(|_| {
            Err(MetricsError::NotNow(format!("{} did not answer within {} s", self.name, QUESTION_MAX.as_secs_f64())))
        })
    }

    async fn once(&self, path: &str, form: &[(&str, String)]) -> Result<Value, Failed> {
        let name = &self.name;
        let stays = |error: MetricsError| Failed { error, again: false, after: Duration::ZERO };
        let passes = |says: String| Failed { error: MetricsError::NotNow(says), again: true, after: Duration::ZERO };
        let unanswered = |error: reqwest::Error| {
            let why = if error.is_connect() {
                "no connection".to_owned()
            } else if error.is_timeout() {
                format!("no answer within {} s", TRY_MAX.as_secs())
            } else {
                "the answer broke off".to_owned()
            };
            passes(format!("{name} could not be asked: {why}"))
        };
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(["api", "v1", path])),
            Err(()) => return Err(stays(MetricsError::BadQuestion(format!("{name}: the address carries no path")))),
        }
        let mut request = self.http.post(url).timeout(TRY_MAX).form(form).header(header::ACCEPT, "application/json");
        if let Some(auth) = &self.auth {
            request = request.header(header::AUTHORIZATION, auth.clone());
        }
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after
            .and_then(|seconds| seconds.trim().parse().ok())
            .map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(stays(MetricsError::Strange(format!(
                    "{name} answered with more than {} MB; ask for less",
                    BODY_BYTES_MAX >> 20
                ))));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_success() {
            return match answer {
                Some(answer) => Ok(answer),
                None => Err(stays(MetricsError::Strange(format!("{name} answered with something that is not JSON")))),
            };
        }
        let words = self.words(answer.as_ref());
        Err(match status {
            StatusCode::UNAUTHORIZED => {
                stays(MetricsError::NotAllowed(format!("{name} does not take the token (401){words}. {}", self.remedy)))
            }
            StatusCode::FORBIDDEN => {
                stays(MetricsError::NotAllowed(format!("{name} does not let the token look (403){words}")))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Failed { after: retry_after, ..passes(format!("{name} asks us to slow down (429)")) }
            }
            _ if status.is_server_error() => {
                Failed { after: retry_after, ..passes(format!("{name} answered {}{words}", status.as_u16())) }
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => stays(MetricsError::BadQuestion(format!(
                "{name} does not understand the question ({}){words}",
                status.as_u16()
            ))),
            _ => stays(MetricsError::Strange(format!("{name} answered {}{words}", status.as_u16()))),
        })
    }

    /// What the source says of an error, where it says it in its own form; on one line, cut, without the token.
    fn words(&self, answer: Option<&Value>) -> String {
        let said = answer.and_then(|answer| answer.get("error")?.as_str()).unwrap_or_default();
        let said = redact(said, [self.secret.expose_secret()]);
        let words: String =
            said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS_CHARS_MAX).collect();
        if words.is_empty() { words } else { format!(": {words}") }
    }
}

impl Metrics for Prometheus {
    fn instant<'a>(&'a self, promql: &'a str, at: DateTime<Utc>) -> Asked<'a, Vec<(Labels, f64)>> {
        Box::pin(async move {
            let form = [("query", promql.to_owned()), ("time", seconds(at)), ("timeout", timeout())];
            let answer = self.question("query", &form).await?;
            answer::vector(&self.name, &answer)
        })
    }

    fn range<'a>(
        &'a self,
        promql: &'a str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Asked<'a, Vec<Series>> {
        Box::pin(async move {
            let step_ms = step.num_milliseconds();
            let points =
                (to - from).num_milliseconds().checked_div(step_ms).filter(|points| *points >= 0 && step_ms > 0);
            let fits = points.and_then(|points| usize::try_from(points).ok()).is_some_and(|points| points < POINTS_MAX);
            if !fits {
                return Err(MetricsError::BadQuestion(format!(
                    "{}: a range is told in 1 to {POINTS_MAX} points; choose a longer step",
                    self.name
                )));
            }
            let form = [
                ("query", promql.to_owned()),
                ("start", seconds(from)),
                ("end", seconds(to)),
                ("step", format!("{}.{:03}", step_ms / 1_000, step_ms % 1_000)),
                ("timeout", timeout()),
            ];
            let answer = self.question("query_range", &form).await?;
            answer::matrix(&self.name, &answer)
        })
    }
}

/// A moment as the API takes it.
fn seconds(at: DateTime<Utc>) -> String {
    let ms = at.timestamp_millis();
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

/// How long the source may work on it: no longer than we wait.
fn timeout() -> String {
    format!("{}s", TRY_MAX.as_secs())
}
