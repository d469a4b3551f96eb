//! Alertmanager's webhook, version 4 (its documents, "webhook_config"), and Grafana's, which has the same shape and calls itself 1.

use serde_json::Value;

use super::{Brought, labels, moment, some, text};
use crate::domain::alerts::LeftOut;
use crate::domain::alerts::heard::Incoming;

pub(super) fn read(body: &Value) -> Result<Brought, String> {
    let alerts = body.get("alerts").and_then(Value::as_array);
    let alerts = alerts.ok_or("There is no list “alerts” in it, as Alertmanager's and Grafana's webhooks have.")?;
    let group = body.get("groupLabels").and_then(Value::as_object).map(|_| labels(body, "/groupLabels"));
    let read = |alert: &Value| {
        let status = text(alert, "/status");
        let firing = match status.as_str() {
            "firing" => true,
            "resolved" => false,
            other => return Err(format!("An alert's status is “{other}”; it is firing or resolved.")),
        };
        let summary = some(alert, "/annotations/summary")
            .or_else(|| some(alert, "/annotations/description"))
            .or_else(|| some(alert, "/annotations/message"));
        Ok(Incoming {
            fingerprint: text(alert, "/fingerprint"),
            firing,
            name: text(alert, "/labels/alertname"),
            severity: text(alert, "/labels/severity"),
            labels: labels(alert, "/labels"),
            group: group.clone(),
            summary: summary.unwrap_or_default(),
            url: some(alert, "/panelURL").or_else(|| some(alert, "/generatorURL")),
            runbook: some(alert, "/annotations/runbook_url"),
            began: moment(alert, "/startsAt"),
            ended: moment(alert, "/endsAt").filter(|_| !firing),
            ..Incoming::default()
        })
    };
    let alerts = alerts.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Brought { alerts, left_out: left_out(body), ..Brought::default() })
}

/// What `max_alerts` of the webhook, “Max Alerts” of the contact point, kept out of the body. Of a group that is resolved as a whole none
/// of it fires.
fn left_out(body: &Value) -> Option<LeftOut> {
    if text(body, "/status") == "resolved" {
        return None;
    }
    let alerts = body.get("truncatedAlerts").and_then(Value::as_u64)?;
    let alerts = u32::try_from(alerts).unwrap_or(u32::MAX);
    (alerts > 0).then(|| LeftOut { alerts, at: some(body, "/externalURL") })
}
