//! One question to a service, and what its answer was against what was expected.
//!
//! Bounded in time by the probe, in body by `BODY_BYTES_MAX`. Follows no redirect: where it leads is not what was asked about.
//! Says every failure in words, and never the value of a header from the environment or of the address's query, which a service
//! may send back.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::Certificate;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::tls::TlsInfo;
use secrecy::{ExposeSecret, SecretString};

use super::certificate;
use crate::adapters::redact::{in_address_but_path, redact};
use crate::domain::health::ProbeFinding;
use crate::domain::workspace::{ExpectJson, ProbeSpec};

/// The largest body that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// The longest piece of somebody else's words that is passed on, in characters.
const WORDS_CHARS_MAX: usize = 120;

/// A client that believes the `trusted` certificates beside the public authorities'.
pub(super) fn client(trusted: &[Certificate]) -> Result<reqwest::Client, String> {
    let builder =
        trusted.iter().cloned().fold(reqwest::Client::builder(), reqwest::ClientBuilder::add_root_certificate);
    builder
        .tls_info(true)
        .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION"), " (health probe)"))
        .redirect(reqwest::redirect::Policy::none())
        // A connection kept open would hold a sleepy machine awake, and would not notice a broken way in.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

pub(super) async fn ask(
    http: &reqwest::Client,
    probe: &ProbeSpec,
    secrets: &BTreeMap<String, SecretString>,
) -> ProbeFinding {
    let headers = match headers(probe, secrets) {
        Ok(headers) => headers,
        Err(why) => return ProbeFinding::not_asked(&probe.name, why),
    };
    let Ok(method) = reqwest::Method::from_bytes(probe.method.as_bytes()) else {
        return ProbeFinding::not_asked(&probe.name, format!("not asked: “{}” is no HTTP method", probe.method));
    };
    let mut request = http.request(method, &probe.url).headers(headers);
    if let Some(body) = &probe.body {
        request = request.body(body.clone());
    }
    let secrets = hidden(probe, secrets);
    let foreign = |words: &str| cut(&redact(words, secrets.iter().map(String::as_str)));
    let begun = Instant::now();
    let limit = Duration::from_millis(probe.timeout.millis());
    let answer = tokio::time::timeout(limit, read(request, probe.expect_json.is_some())).await;
    let took_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);

    let failed = |status: Option<u16>, says: String| ProbeFinding {
        probe: probe.name.clone(),
        ok: false,
        took_ms: status.map(|_| took_ms),
        status,
        says,
        slow: false,
        very_slow: false,
        certificate_ends: None,
        ends_in: None,
    };
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return failed(error.status().map(|status| status.as_u16()), say(&error, foreign)),
        Err(_) => return failed(None, format!("no answer within {}", said(limit))),
    };
    let certificate_ends = answer.certificate_ends;
    if let Err(what) = expected(probe, &answer, foreign) {
        let says = format!("answered {} in {took_ms} ms{what}", answer.status);
        return ProbeFinding { certificate_ends, ..failed(Some(answer.status), says) };
    }
    let above =
        |limit: Option<crate::domain::policy::Span>| limit.is_some_and(|limit| u64::from(took_ms) > limit.millis());
    ProbeFinding {
        probe: probe.name.clone(),
        ok: true,
        took_ms: Some(took_ms),
        status: Some(answer.status),
        says: format!("{} in {took_ms} ms", answer.status),
        slow: above(probe.warn_above),
        very_slow: above(probe.critical_above),
        certificate_ends,
        ends_in: None,
    }
}

struct Answer {
    status: u16,
    location: Option<String>,
    /// The body, when it was wanted; none when it is larger than is read.
    body: Option<Vec<u8>>,
    /// When the certificate ends that it came with, by the wall clock.
    certificate_ends: Option<DateTime<Utc>>,
}

async fn read(request: reqwest::RequestBuilder, wants_body: bool) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status();
    let tls = response.extensions().get::<TlsInfo>();
    let certificate_ends = tls.and_then(TlsInfo::peer_certificate).and_then(certificate::ends);
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Some(Vec::new());
    while wants_body && let Some(chunk) = response.chunk().await? {
        match &mut body {
            Some(bytes) if bytes.len() + chunk.len() <= BODY_BYTES_MAX => bytes.extend_from_slice(&chunk),
            _ => {
                body = None;
                break;
            }
        }
    }
    Ok(Answer { status: status.as_u16(), location, body, certificate_ends })
}

/// What was other than expected, to stand behind "answered 200 in 12 ms".
fn expected(probe: &ProbeSpec, answer: &Answer, foreign: impl Fn(&str) -> String) -> Result<(), String> {
    let status_ok = match probe.expect_status {
        Some(status) => answer.status == status,
        None => (200..300).contains(&answer.status),
    };
    if !status_ok {
        return Err(match (&answer.location, probe.expect_status) {
            (Some(to), _) if (300..400).contains(&answer.status) => {
                format!(", a redirect to {}, which is not followed", foreign(&without_query(to)))
            }
            (_, Some(status)) => format!(", expected {status}"),
            _ => String::new(),
        });
    }
    match &probe.expect_json {
        Some(wanted) => expected_json(wanted, answer.body.as_deref(), foreign),
        None => Ok(()),
    }
}

fn expected_json(wanted: &ExpectJson, body: Option<&[u8]>, foreign: impl Fn(&str) -> String) -> Result<(), String> {
    let Some(body) = body else {
        return Err(format!(", but with more than {} KB, which is not read", BODY_BYTES_MAX >> 10));
    };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Err(", but not with JSON".to_owned());
    };
    match json.pointer(&wanted.pointer) {
        None => Err(format!(", but its JSON has no {}", wanted.pointer)),
        Some(found) if *found != wanted.equals => {
            Err(format!(", but {} is {}, expected {}", wanted.pointer, foreign(&found.to_string()), wanted.equals))
        }
        Some(_) => Ok(()),
    }
}

fn headers(probe: &ProbeSpec, secrets: &BTreeMap<String, SecretString>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, written) in &probe.headers {
        let header =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("not asked: “{name}” is no header"))?;
        let mut value = match written.strip_prefix("env:") {
            Some(variable) => {
                let secret = secrets.get(variable).ok_or_else(|| format!("not asked: {variable} is not set"))?;
                HeaderValue::from_str(secret.expose_secret())
                    .map_err(|_| format!("not asked: {variable} cannot stand in a header"))?
            }
            None => HeaderValue::from_str(written).map_err(|_| format!("not asked: header {name} cannot be sent"))?,
        };
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// What must not be repeated: every secret that any header is sent with, and what the address hides behind its path.
fn hidden(probe: &ProbeSpec, secrets: &BTreeMap<String, SecretString>) -> Vec<String> {
    let mut hidden = in_address_but_path(&probe.url);
    hidden.extend(secrets.values().map(|secret| secret.expose_secret().to_owned()));
    hidden
}

/// A failed question in words. The innermost cause says most; the address is left out, for it may hold a secret.
fn say(error: &reqwest::Error, foreign: impl Fn(&str) -> String) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let innermost = causes.last().cloned().unwrap_or_default();
    let all = causes.join(" / ").to_ascii_lowercase();
    // rustls has no kind to ask for through this many layers; these are the words of its errors.
    const TLS: [&str; 6] =
        ["certificate", "tls", "handshake", "corrupt message", "fatal alert", "peer is incompatible"];
    if TLS.iter().any(|word| all.contains(word)) {
        return format!("TLS does not come about: {}", foreign(&innermost));
    }
    if all.contains("dns") || all.contains("lookup") {
        return "its name is not known (DNS)".to_owned();
    }
    if all.contains("connection refused") {
        return "connection refused".to_owned();
    }
    if error.is_connect() {
        return format!("no connection: {}", foreign(&innermost));
    }
    format!("the answer broke off: {}", foreign(&innermost))
}

fn said(limit: Duration) -> String {
    if limit.as_millis().is_multiple_of(1000) {
        format!("{} s", limit.as_secs())
    } else {
        format!("{} ms", limit.as_millis())
    }
}

fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= WORDS_CHARS_MAX {
        return line;
    }
    let mut cut: String = line.chars().take(WORDS_CHARS_MAX).collect();
    cut.push('…');
    cut
}
