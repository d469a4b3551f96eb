//! Better Stack's status page webhook (its documents, "Subscribing with webhooks"): incidents of a page, and its components.

use serde_json::Value;

use super::{Brought, moment, some, text};
use crate::domain::alerts::heard::Incoming;

pub(super) fn read(body: &Value) -> Result<Brought, String> {
    let kind = text(body, "/event_type");
    if kind != "incident" {
        // Maintenances and components are told by it as well: no alert of ours.
        return if kind.is_empty() { Err("There is no event_type in it.".to_owned()) } else { Ok(Brought::default()) };
    }
    let id = some(body, "/incident/id").ok_or("There is no incident.id in it, by which it is told from others.")?;
    // The page's own state is the only one that its documents show; `operational` is the word that they have for well.
    let indicator = text(body, "/page/status_indicator");
    let resolved = body.pointer("/incident/resolved_at").is_some_and(Value::is_string);
    let firing = !(resolved || matches!(indicator.as_str(), "operational" | "resolved"));
    let alert = Incoming {
        fingerprint: format!("incident {id}"),
        firing,
        name: text(body, "/incident/name"),
        severity: if indicator == "downtime" { "critical".to_owned() } else { "warning".to_owned() },
        labels: [("page".to_owned(), text(body, "/page/id"))].into(),
        group: Some([("incident".to_owned(), id)].into()),
        summary: text(body, "/page/status_description"),
        url: some(body, "/incident/shortlink"),
        began: moment(body, "/incident/created_at"),
        ..Incoming::default()
    };
    Ok(Brought { alerts: vec![alert], ..Brought::default() })
}
