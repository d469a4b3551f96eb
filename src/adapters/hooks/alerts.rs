//! What other tools send when something fires: their JSON, read into alerts.
//!
//! One file a format, each from the tool's own documents. Owns nothing but the reading: whether a request counts is `proof`, what an
//! alert means is the domain's. Nothing from outside panics here; what cannot be read is said in a sentence.

mod alertmanager;
mod betterstack;
mod generic;
mod github;
mod pagerduty;
mod sentry;

use chrono::{DateTime, Datelike as _, Utc};
use serde_json::Value;

use crate::domain::alerts::LeftOut;
use crate::domain::alerts::heard::{HEARD_MAX, Incoming};
use crate::domain::text::short;
use crate::domain::workspace::{HookFormat, HookSpec};

/// The largest body, in bytes: what is kept of it fits into one line of the record.
pub const BODY_BYTES_MAX: usize = 640 << 10;

/// Characters that whoever sends it is told of what is wrong: words of theirs stand in it.
const SAYS_CHARS_MAX: usize = 300;

/// What a request brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    /// Alerts, cut to what is kept of them.
    pub alerts: Vec<Incoming>,
    /// Alerts of the same group that its sender left out.
    pub left_out: Option<LeftOut>,
    /// What its sender tells the request by, where it has a name: the same again is a resend.
    pub delivery: Option<String>,
    /// What the sender is told the alert by, where its protocol has that.
    pub key: Option<String>,
}

/// The headers that say more than the body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heads<'a> {
    /// `x-github-event`, `sentry-hook-resource`: what kind of body it is.
    pub event: Option<&'a str>,
    /// `x-github-delivery`, `request-id`: the request's name.
    pub delivery: Option<&'a str>,
}

/// Reads a body.
///
/// # Errors
/// What is wrong with it, in a sentence for whoever sends it.
pub fn read(hook: &HookSpec, heads: Heads<'_>, body: &[u8]) -> Result<Brought, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("The body is no JSON: {error}"))?;
    // A set-up may look for a list in any JSON; the tools' own are objects.
    if !value.is_object() && hook.format != HookFormat::Generic {
        return Err("The body is no JSON object, as this tool's are.".to_owned());
    }
    let mut brought = by_format(&value, hook, heads).map_err(|says| short(&says, SAYS_CHARS_MAX))?;
    if brought.alerts.len() > HEARD_MAX {
        return Err(format!("That is {} alerts; at most {HEARD_MAX} in one request.", brought.alerts.len()));
    }
    brought.alerts = brought.alerts.into_iter().map(|one| finished(one, hook)).collect();
    Ok(brought)
}

fn by_format(value: &Value, hook: &HookSpec, heads: Heads<'_>) -> Result<Brought, String> {
    Ok(match hook.format {
        HookFormat::Alertmanager | HookFormat::Grafana => alertmanager::read(value)?,
        HookFormat::Sentry => sentry::read(value, heads)?,
        HookFormat::Github => github::read(value, heads)?,
        HookFormat::Pagerduty => pagerduty::read(value)?,
        HookFormat::Betterstack => betterstack::read(value)?,
        HookFormat::Generic => generic::read(value, hook.read.as_ref())?,
    })
}

fn finished(incoming: Incoming, hook: &HookSpec) -> Incoming {
    let mut incoming = incoming.bounded();
    incoming.service = hook.service.clone();
    if incoming.fingerprint.is_empty() {
        // The set of labels is what an alert is told by where its sender says nothing else.
        incoming.fingerprint = serde_json::to_string(&incoming.labels).unwrap_or_default();
    }
    if incoming.fingerprint.len() > FINGERPRINT_BYTES_MAX {
        use sha2::{Digest as _, Sha256};
        incoming.fingerprint = Sha256::digest(&incoming.fingerprint).iter().map(|byte| format!("{byte:02x}")).collect();
    }
    incoming
}

/// A longer fingerprint is hashed, in bytes.
const FINGERPRINT_BYTES_MAX: usize = 80;

/// A text at a place, `/a/b`; empty when there is none.
fn text(value: &Value, at: &str) -> String {
    match value.pointer(at) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// A text at a place, unless it is empty.
fn some(value: &Value, at: &str) -> Option<String> {
    Some(text(value, at)).filter(|text| !text.is_empty())
}

/// A moment at a place; none when it is none, or was never: `0001-01-01T00:00:00Z` is how Go says so.
fn moment(value: &Value, at: &str) -> Option<DateTime<Utc>> {
    /// Years that a sender can mean.
    const YEARS: std::ops::Range<i32> = 1971..2200;
    let at = DateTime::parse_from_rfc3339(value.pointer(at)?.as_str()?).ok()?.with_timezone(&Utc);
    YEARS.contains(&at.year()).then_some(at)
}

/// Names and values at a place, those that are texts or numbers.
fn labels(value: &Value, at: &str) -> crate::domain::alerts::Labels {
    let pairs = value.pointer(at).and_then(Value::as_object).into_iter().flatten();
    pairs
        .filter_map(|(name, value)| match value {
            Value::String(text) => Some((name.clone(), text.clone())),
            Value::Number(number) => Some((name.clone(), number.to_string())),
            Value::Bool(flag) => Some((name.clone(), flag.to_string())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
