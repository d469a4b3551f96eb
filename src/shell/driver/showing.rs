//! How things look on the chat: said whenever it may have changed, drawn from State when it is sent, never recorded.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::error;

use super::Driver;
use crate::adapters::clock::Timepiece;
use crate::commands;
use crate::domain::alerts::{self, Level};
use crate::domain::deploy::board;
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::effect::EffectKind;
use crate::domain::ids::{IncidentId, InputId, Thing};
use crate::domain::policy::Severity;
use crate::domain::view;
use crate::ports::Watch;
use crate::ports::journal::{Journal, Views};
use crate::shell::door::Drawn;
use crate::shell::outbox::{Shown, Work};

/// What is over is compared with what stands of it for so long: later nobody reads it any more, and each takes an edit.
const SHOWN_AGAIN_FOR: TimeDelta = TimeDelta::hours(1);

impl<J, V, C, W> Driver<J, V, C, W>
where
    J: Journal,
    V: Views,
    C: Timepiece,
    W: Watch,
{
    pub(super) fn publish_lists(&self) {
        let input = InputId::new("lists");
        let ctx = self.ctx(&input, self.now());
        let lists = catch_unwind(AssertUnwindSafe(|| commands::lists(&ctx))).unwrap_or_default();
        *self.parts.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// Says that an incident or a deploy may look otherwise than it should. It is drawn when its turn comes.
    pub(super) fn show(&self, on: Thing, force: bool) {
        let shown = match on {
            Thing::Team => None,
            Thing::Incident(id) => self.state.incidents.get(&id).and_then(|incident| {
                let Ok(title) = catch_unwind(AssertUnwindSafe(|| view::thread_title(incident))) else {
                    error!(incident = %id, "An incident's title could not be made");
                    return None;
                };
                Some(Shown {
                    on,
                    title,
                    at_card: incident.card.clone(),
                    at_thread: incident.thread.clone(),
                    standing: incident.standing.clone(),
                    severity: incident.severity,
                    observing: !self.state.team.live,
                    force,
                })
            }),
            Thing::Alert(id) => self.state.alerts.get(id).map(|group| Shown {
                on,
                title: String::new(),
                at_card: group.card.clone(),
                at_thread: None,
                standing: BTreeMap::new(),
                severity: if group.level == Level::Critical { Severity::Sev2 } else { Severity::Sev3 },
                observing: !self.state.team.live,
                force,
            }),
            Thing::Deploy(id) => self.state.team.deploys.get(&id).map(|deploy| Shown {
                on,
                title: String::new(),
                at_card: deploy.card.clone(),
                at_thread: None,
                standing: BTreeMap::new(),
                severity: Severity::Sev1,
                observing: !self.state.team.live,
                force,
            }),
        };
        if let Some(shown) = shown {
            let _ = self.parts.outbox.send(Work::Show(Box::new(shown), self.door.pulse().beat()));
        }
    }

    /// How an incident or a deploy should look now.
    pub(super) fn drawn(&self, on: Thing) -> Option<Drawn> {
        let input = InputId::new("show");
        let ctx = self.ctx(&input, self.now());
        let live = self.state.team.live;
        let drawn = catch_unwind(AssertUnwindSafe(|| match on {
            Thing::Team => None,
            Thing::Incident(id) => {
                let incident = self.state.incidents.get(&id)?;
                let may_ring = live && incident.status.is_open() && !incident.is_acknowledged();
                Some(Drawn { card: view::card(&ctx, incident), pinned: incident.status.is_open(), may_ring })
            }
            Thing::Alert(id) => {
                let group = self.state.alerts.get(id)?;
                let may_ring = live && group.is_unanswered(ctx.now);
                Some(Drawn { card: alerts::card::card(&ctx, group), pinned: false, may_ring })
            }
            Thing::Deploy(id) => {
                let deploy = self.state.team.deploys.get(&id)?;
                Some(Drawn { card: board::card(&ctx, deploy), pinned: false, may_ring: false })
            }
        }));
        drawn.unwrap_or_else(|_| {
            error!(%on, "It could not be drawn");
            None
        })
    }

    pub(super) fn show_everything(&self) {
        for id in self.state.incidents.keys() {
            self.show(Thing::Incident(*id), true);
        }
        // What ended just before the last life did may never have been shown so.
        let now = self.now();
        let lately = |at: Option<DateTime<Utc>>| at.is_some_and(|at| now - at < SHOWN_AGAIN_FOR);
        let deploys = self.state.team.deploys.values();
        for deploy in deploys.filter(|deploy| deploy.is_open() || lately(deploy.judged_at)) {
            self.show(Thing::Deploy(deploy.id), true);
        }
        let groups = self.state.alerts.iter().filter(|group| group.shown_at.is_some());
        for group in groups.filter(|group| group.over.is_none() || lately(group.over)) {
            self.show(Thing::Alert(group.id), true);
        }
    }
}

/// A card or thread that was given up is asked for again when the chat is there again: what is shown must not stay wrong for
/// as long as an incident is open. Nobody is pinged by it; who has to act has been reminded meanwhile.
pub(super) fn put_up_what_is_missing(ctx: Ctx<'_>) -> Decision {
    let state = ctx.state;
    let is_coming = |id: IncidentId, thread: bool| {
        state.pending.values().any(|effect| match &effect.kind {
            EffectKind::Card { incident, .. } => !thread && *incident == id,
            EffectKind::Thread { incident } => thread && *incident == id,
            _ => false,
        })
    };
    let mut draft = Draft::new(ctx);
    for incident in state.open().filter(|incident| incident.card.is_none() || incident.thread.is_none()) {
        if !draft.has_room() {
            break;
        }
        let id = incident.id;
        if incident.card.is_none() && !is_coming(id, false) {
            draft.card(id, Vec::new());
        }
        if incident.thread.is_none() && !is_coming(id, true) {
            draft.thread(id);
        }
    }
    draft.done(None)
}
