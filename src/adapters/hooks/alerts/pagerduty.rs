//! PagerDuty's Events API v2, for tools that speak it: trigger, acknowledge, resolve, told apart by `dedup_key`.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Brought, moment, some, text};
use crate::domain::alerts::heard::Incoming;

/// PagerDuty's own limit, in characters.
const DEDUP_KEY_CHARS_MAX: usize = 255;

pub(super) fn read(body: &Value) -> Result<Brought, String> {
    let action = text(body, "/event_action");
    let key = match some(body, "/dedup_key") {
        Some(key) if key.chars().count() > DEDUP_KEY_CHARS_MAX => {
            return Err(format!("dedup_key has at most {DEDUP_KEY_CHARS_MAX} characters."));
        }
        Some(key) => key,
        // A trigger without one is an alert of its own; whoever sends it hears by what it can be resolved.
        None if action == "trigger" => {
            let digest = Sha256::digest(body.get("payload").map(Value::to_string).unwrap_or_default());
            digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
        }
        None => return Err("To resolve or acknowledge, dedup_key must say which.".to_owned()),
    };
    let firing = match action.as_str() {
        "trigger" => true,
        "resolve" => false,
        // Somebody has it over there; here nobody does.
        "acknowledge" => return Ok(Brought { key: Some(key), ..Brought::default() }),
        other => return Err(format!("event_action is “{other}”; it is trigger, acknowledge or resolve.")),
    };
    let summary = text(body, "/payload/summary");
    if firing && summary.is_empty() {
        return Err("payload.summary must say what fires.".to_owned());
    }
    let mut labels = crate::domain::alerts::Labels::new();
    for name in ["source", "component", "group", "class"] {
        if let Some(value) = some(body, &format!("/payload/{name}")) {
            labels.insert(name.to_owned(), value);
        }
    }
    let name = some(body, "/payload/class").unwrap_or_else(|| summary.clone());
    let alert = Incoming {
        fingerprint: key.clone(),
        firing,
        name,
        severity: text(body, "/payload/severity"),
        labels,
        // Its sender has decided what belongs together.
        group: Some([("dedup_key".to_owned(), key.clone())].into()),
        summary,
        url: some(body, "/links/0/href").or_else(|| some(body, "/client_url")),
        began: moment(body, "/payload/timestamp"),
        ..Incoming::default()
    };
    Ok(Brought { alerts: vec![alert], key: Some(key), ..Brought::default() })
}
