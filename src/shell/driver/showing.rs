//! How things look on the chat: handed over whenever they may have changed, drawn from State, never recorded.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use tracing::error;

use super::Driver;
use crate::adapters::clock::Timepiece;
use crate::commands;
use crate::domain::deploy::board;
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::effect::EffectKind;
use crate::domain::ids::{DeployId, IncidentId, InputId, Thing};
use crate::domain::policy::Severity;
use crate::domain::view;
use crate::ports::Watch;
use crate::ports::journal::{Journal, Views};
use crate::shell::outbox::{Shown, Work};

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

    /// Hands over what an incident or a deploy should look like now.
    pub(super) fn show(&self, on: Thing, force: bool) {
        match on {
            Thing::Team => {}
            Thing::Incident(id) => self.show_incident(id, force),
            Thing::Deploy(id) => self.show_deploy(id, force),
        }
    }

    fn show_deploy(&self, id: DeployId, force: bool) {
        let Some(deploy) = self.state.team.deploys.get(&id) else { return };
        let input = InputId::new("show");
        let ctx = self.ctx(&input, self.now());
        let Ok(card) = catch_unwind(AssertUnwindSafe(|| board::card(&ctx, deploy))) else {
            error!(deploy = %id, "A deploy could not be drawn");
            return;
        };
        let shown = Shown {
            on: Thing::Deploy(id),
            card,
            title: String::new(),
            pinned: false,
            at_card: deploy.card.clone(),
            at_thread: None,
            standing: BTreeMap::new(),
            severity: Severity::Sev1,
            observing: !self.state.team.live,
            may_ring: false,
            force,
        };
        let _ = self.parts.outbox.send(Work::Show(Box::new(shown), self.door.pulse().beat()));
    }

    fn show_incident(&self, id: IncidentId, force: bool) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let input = InputId::new("show");
        let ctx = self.ctx(&input, self.now());
        let rendered = catch_unwind(AssertUnwindSafe(|| (view::card(&ctx, incident), view::thread_title(incident))));
        let Ok((card, title)) = rendered else {
            error!(incident = %id, "An incident could not be drawn");
            return;
        };
        let shown = Shown {
            on: Thing::Incident(id),
            card,
            title,
            pinned: incident.status.is_open(),
            at_card: incident.card.clone(),
            at_thread: incident.thread.clone(),
            standing: incident.standing.clone(),
            severity: incident.severity,
            observing: !self.state.team.live,
            may_ring: self.state.team.live && incident.status.is_open() && !incident.is_acknowledged(),
            force,
        };
        let _ = self.parts.outbox.send(Work::Show(Box::new(shown), self.door.pulse().beat()));
    }

    pub(super) fn show_everything(&self) {
        for id in self.state.incidents.keys() {
            self.show(Thing::Incident(*id), true);
        }
        for deploy in self.state.team.deploys.values().filter(|deploy| deploy.is_open()) {
            self.show(Thing::Deploy(deploy.id), true);
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
