//! Any JSON, read as the set-up says: where in it stands what. Without a word of the set-up, as Grafana OnCall's formatted webhook
//! has it (`alert_uid`, `title`, `state`, `message`, `link_to_upstream_details`).

use serde_json::Value;

use super::{Brought, labels, some, text};
use crate::domain::alerts::heard::Incoming;
use crate::domain::workspace::HookReading;

pub(super) fn read(body: &Value, reading: Option<&HookReading>) -> Result<Brought, String> {
    let default = HookReading::default();
    let reading = reading.unwrap_or(&default);
    let list: Vec<&Value> = match &reading.alerts {
        Some(at) => {
            let list = body.pointer(at).and_then(Value::as_array);
            list.ok_or_else(|| format!("There is no list at {at} in it, where the set-up looks for alerts."))?
                .iter()
                .collect()
        }
        None => vec![body],
    };
    let alerts = list.into_iter().map(|alert| one(alert, reading)).collect::<Result<_, _>>()?;
    Ok(Brought { alerts, ..Brought::default() })
}

fn one(alert: &Value, reading: &HookReading) -> Result<Incoming, String> {
    if !alert.is_object() {
        return Err("An alert is an object; this is none.".to_owned());
    }
    let name = some(alert, &reading.name)
        .ok_or_else(|| format!("There is no text at {} in it, where the set-up looks for a name.", reading.name))?;
    let state = text(alert, &reading.state);
    let resolved = reading.resolved.iter().any(|word| word.eq_ignore_ascii_case(&state));
    let mut found = reading.labels.as_deref().map(|at| labels(alert, at)).unwrap_or_default();
    found.retain(|_, value| !value.is_empty());
    Ok(Incoming {
        fingerprint: some(alert, &reading.fingerprint).unwrap_or_default(),
        firing: !resolved,
        name,
        severity: reading.severity.as_deref().map(|at| text(alert, at)).unwrap_or_default(),
        labels: found,
        summary: text(alert, &reading.summary),
        url: some(alert, &reading.url),
        ..Incoming::default()
    })
}
