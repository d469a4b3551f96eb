//! Too many cards at once are one: which group stands on the card of many, and what becomes of that card.
//!
//! Pure. Nothing is dropped: each group on it is told from the others there, and in its file. Who hears of it, and why, is `telling`.

use chrono::{DateTime, Utc};

use super::telling::{pinging, whom};
use super::{Group, Happened, Labels, Level, STORM};
use crate::domain::draft::Draft;
use crate::domain::effect::Target;
use crate::domain::ids::{AlertId, IncidentId};
use crate::domain::text::alerts as words;
use crate::domain::workspace::Stage;

/// Cards of their own that were put up of late, in the channel or in an incident's thread.
pub(super) fn cards_lately(draft: &Draft<'_>, now: DateTime<Utc>, incident: Option<IncidentId>) -> usize {
    let within = draft.ctx.policy.alerts.storm_within.delta();
    let has_card = |group: &&Group| group.card_of.is_none() && group.incident == incident && !group.is_storm();
    let lately = |group: &&Group| group.shown_at.is_some_and(|at| now - at <= within);
    draft.alerts().iter().filter(has_card).filter(lately).count()
}

/// The card for what is too much, while it stands.
pub(super) fn standing_storm(draft: &Draft<'_>, incident: Option<IncidentId>) -> Option<Group> {
    let is_it = |one: &&Group| one.is_storm() && one.over.is_none() && one.incident == incident;
    draft.alerts().iter().rev().find(is_it).cloned()
}

/// Something that stands for many groups.
pub(super) fn opened_storm(draft: &mut Draft<'_>, level: Level) -> AlertId {
    let id = draft.next_alert();
    let (title, key, labels) = (words::storm_title(), format!("{STORM} {id}"), Labels::new());
    let (source, service, stage) = (STORM.to_owned(), None, Stage::Production);
    draft.alert(id, Happened::Opened { source, key, title, labels, service, stage, level, wait_until: None });
    id
}

/// One card for everything that would be one too many.
pub(super) fn into_the_storm(draft: &mut Draft<'_>, group: &Group) {
    let now = draft.now();
    let standing = standing_storm(draft, None);
    let critical = group.level == Level::Critical;
    let repeat_at = critical.then(|| now + draft.ctx.policy.alerts.repeat_every.delta());
    let host = match &standing {
        Some(host) => host.id,
        None => {
            let id = opened_storm(draft, group.level);
            let reason = "too many cards at once".to_owned();
            draft.alert(id, Happened::Shown { reason, pinged: critical, card_of: None, repeat_at });
            let pings = if critical { whom(draft) } else { Vec::new() };
            draft.alert_card(id, Target::Incidents, pings);
            id
        }
    };
    let reason = format!("too many cards at once: it stands on that of {host}");
    draft.alert(group.id, Happened::Shown { reason, pinged: critical, card_of: Some(host), repeat_at: None });
    if standing.as_ref().is_some_and(|host| group.level < host.level) {
        draft.alert(host, Happened::Worsened { level: group.level });
    }
    if critical && standing.as_ref().is_some_and(|host| !host.pinged) {
        first_critical(draft, host, group);
    }
}

/// The first that is critical on the card of many pings for all of it, and again when nobody acts.
pub(super) fn first_critical(draft: &mut Draft<'_>, host: AlertId, group: &Group) {
    let repeat_at = Some(draft.now() + draft.ctx.policy.alerts.repeat_every.delta());
    draft.alert(host, Happened::Repeated { repeat_at });
    let message = pinging(draft, words::critical_in_storm(host, group), "it is critical");
    draft.post(host, Target::Incidents, message);
}

/// The card on which a group stands, when the group fires again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// It is its own, or one of many that is not over.
    Stands,
    /// One of many that was over, and is not any more: by now what is back is no storm.
    Again,
    /// One of many that nobody remembers.
    Forgotten,
}

/// A group that stood on the card of many fires again: that card cannot go on saying that everything on it is over.
pub(super) fn host_again(draft: &mut Draft<'_>, group: &Group) -> Host {
    let Some(id) = group.card_of else { return Host::Stands };
    match draft.group(id).map(|host| host.over.is_some()) {
        None => Host::Forgotten,
        Some(false) => Host::Stands,
        Some(true) => {
            draft.alert(id, Happened::Again);
            Host::Again
        }
    }
}
