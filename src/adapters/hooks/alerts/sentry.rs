//! Sentry's integration webhooks: issue alerts (`event_alert`), metric alerts (`metric_alert`), and issues that are resolved.

use serde_json::Value;

use super::{Brought, Heads, moment, some, text};
use crate::domain::alerts::heard::Incoming;

pub(super) fn read(body: &Value, heads: Heads<'_>) -> Result<Brought, String> {
    let action = text(body, "/action");
    let what = match heads.event {
        Some(resource) => resource.to_owned(),
        // Without the header, what is in it says it as well.
        None if body.pointer("/data/metric_alert").is_some() => "metric_alert".to_owned(),
        None if body.pointer("/data/event").is_some() => "event_alert".to_owned(),
        None => "issue".to_owned(),
    };
    let alert = match what.as_str() {
        "event_alert" => Some(Incoming {
            fingerprint: format!("issue {}", needed(body, "/data/event/issue_id")?),
            firing: true,
            name: some(body, "/data/triggered_rule").unwrap_or_else(|| "Sentry issue".to_owned()),
            severity: text(body, "/data/event/level"),
            labels: [("project".to_owned(), text(body, "/data/event/project"))].into(),
            summary: text(body, "/data/event/title"),
            url: some(body, "/data/event/web_url"),
            ..Incoming::default()
        }),
        "metric_alert" => {
            let severity = match action.as_str() {
                "critical" | "warning" | "resolved" => action.clone(),
                other => {
                    return Err(format!("A metric alert's action is “{other}”; I know critical, warning, resolved."));
                }
            };
            let rule = text(body, "/data/metric_alert/alert_rule/name");
            Some(Incoming {
                fingerprint: format!("metric {}", needed(body, "/data/metric_alert/id")?),
                firing: severity != "resolved",
                name: if rule.is_empty() { text(body, "/data/metric_alert/title") } else { rule },
                severity,
                labels: [("project".to_owned(), text(body, "/data/metric_alert/projects/0"))].into(),
                summary: text(body, "/data/description_text").replace("\\n", " · "),
                url: some(body, "/data/web_url"),
                began: moment(body, "/data/metric_alert/date_started"),
                ..Incoming::default()
            })
        }
        "issue" if action == "resolved" => Some(Incoming {
            fingerprint: format!("issue {}", needed(body, "/data/issue/id")?),
            firing: false,
            name: "Sentry issue".to_owned(),
            ..Incoming::default()
        }),
        // New issues, comments, installations: no alert asked for them.
        _ => None,
    };
    let alerts: Vec<Incoming> = alert.into_iter().map(by_itself).collect();
    Ok(Brought { alerts, delivery: heads.delivery.map(str::to_owned), ..Brought::default() })
}

/// An issue is told from another by its number alone: a rule's name may change, and a resolve does not say it.
fn by_itself(alert: Incoming) -> Incoming {
    let group = [("sentry".to_owned(), alert.fingerprint.clone())].into();
    Incoming { group: Some(group), ..alert }
}

fn needed(body: &Value, at: &str) -> Result<String, String> {
    some(body, at).ok_or_else(|| format!("There is no {at} in it, by which Sentry tells it from others."))
}
