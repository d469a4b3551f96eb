//! What an auditor keeps beside the record: told of every decision in order, says what must never be.
//!
//! Shares nothing with the state: it reads facts only, so that a mistake in the fold does not hide itself. Promises 2, 3, 4
//! and 6 of ARCHITECTURE.md, as far as the record shows them.

use std::collections::{BTreeMap, BTreeSet};

use super::hooks::Rings;
use super::ships::Ships;
use crate::domain::effect::{Effect, EffectKind, Target};
use crate::domain::fact::{At, EscalationReason, Fact, Status};
use crate::domain::ids::{EffectId, IncidentId, Thing};
use crate::domain::message::Message;
use crate::domain::promise::{Next, PromiseKind};
use crate::domain::state::Decided;

/// An effect as it was asked for.
struct Made {
    order: u64,
    why: Option<EscalationReason>,
    reminds: bool,
    effect: Effect,
}

/// What is known of an incident.
#[derive(Default)]
struct Told {
    open: bool,
    acknowledged: bool,
    /// The decision after which nothing asked for earlier may call anybody.
    taken_at: u64,
    promises: BTreeMap<PromiseKind, Planned>,
}

/// A promise's reminders.
#[derive(Default)]
struct Planned {
    open: bool,
    next: Option<Next>,
    /// Occurrences recorded since it was planned last.
    reminded: BTreeSet<At>,
}

/// The auditor's book.
#[derive(Default)]
pub struct Book {
    order: u64,
    latest: Option<At>,
    inputs: BTreeSet<String>,
    made: BTreeMap<EffectId, Made>,
    ended: BTreeMap<EffectId, &'static str>,
    incidents: BTreeMap<IncidentId, Told>,
    /// What is known of deploys.
    pub ships: Ships,
    /// What is known of alerts.
    pub rings: Rings,
    /// Verifications that what is measured held up.
    pub held: u64,
}

impl Book {
    /// Takes in one decision.
    ///
    /// # Errors
    /// What must never be on the record and is.
    pub fn read(&mut self, decided: &Decided) -> Result<(), String> {
        self.order += 1;
        if self.latest > Some(decided.at) {
            return Err(format!("recorded time went back to {} at line {}", decided.at, decided.seq));
        }
        self.latest = Some(decided.at);
        if !self.inputs.insert(decided.input.as_str().to_owned()) {
            return Err(format!("4: the input {} was decided about twice", decided.input));
        }
        self.ships.read(decided)?;
        self.rings.read(decided)?;
        for (on, fact) in &decided.facts {
            match (on, fact) {
                (_, Fact::Done { effect, .. }) => self.end(*effect, "done")?,
                (_, Fact::GivenUp { effect, .. }) => self.end(*effect, "given up")?,
                (_, Fact::Withdrawn { effect, .. }) => self.end(*effect, "withdrawn")?,
                // Nobody else releases anything in these histories.
                (_, Fact::ReleasesSeen { releases, .. }) if releases.iter().any(|one| one.ours.is_none()) => {
                    return Err(format!("5: a release of ours counts as somebody else's: {releases:?}"));
                }
                (Thing::Incident(id), fact) => self.about(*id, decided.at, fact)?,
                _ => {}
            }
        }
        for (id, told) in self.touched(decided) {
            let update = told.promises.get(&PromiseKind::NextUpdate).filter(|planned| planned.open);
            if told.open && told.acknowledged && update.is_some_and(|planned| planned.next.is_none()) {
                return Err(format!("2: {id} is promised an update and nobody will be reminded of it"));
            }
        }
        for effect in &decided.effects {
            // Why this incident's level was called: one look may call levels of several incidents.
            let why = decided.facts.iter().rev().find_map(|(on, fact)| match fact {
                Fact::Escalated { why, .. } if *on == effect.on => Some(*why),
                _ => None,
            });
            let reminded = |(on, fact): &(Thing, Fact)| {
                *on == effect.on && matches!(fact, Fact::Reminded { promise, .. } if *promise != PromiseKind::Review)
            };
            let reminds = decided.facts.iter().any(reminded) && asks(effect);
            let made = Made { order: self.order, why, reminds, effect: effect.clone() };
            if self.made.insert(effect.id, made).is_some() {
                return Err(format!("4: the effect number {} was used twice", effect.id));
            }
        }
        Ok(())
    }

    fn touched<'a>(&'a self, decided: &'a Decided) -> impl Iterator<Item = (IncidentId, &'a Told)> {
        decided.facts.iter().filter_map(|(on, _)| match on {
            Thing::Incident(id) => Some((*id, self.incidents.get(id)?)),
            Thing::Team | Thing::Deploy(_) | Thing::Alert(_) => None,
        })
    }

    fn end(&mut self, id: EffectId, how: &'static str) -> Result<(), String> {
        if !self.made.contains_key(&id) {
            return Err(format!("6: effect {id} was {how} and never asked for"));
        }
        match self.ended.insert(id, how) {
            Some(before) => Err(format!("6: effect {id} was {before}, then {how}")),
            None => Ok(()),
        }
    }

    fn about(&mut self, id: IncidentId, at: At, fact: &Fact) -> Result<(), String> {
        let order = self.order;
        if let Fact::Opened { .. } = fact {
            let told = Told { open: true, ..Told::default() };
            return match self.incidents.insert(id, told) {
                Some(_) => Err(format!("4: the number {id} was used twice")),
                None => Ok(()),
            };
        }
        let told = self.incidents.get_mut(&id).ok_or_else(|| format!("4: {id} was never opened: {fact:?}"))?;
        match fact {
            Fact::Acknowledged { .. } => {
                told.acknowledged = true;
                told.taken_at = order;
            }
            Fact::StatusChanged { to: Status::Resolved, .. } | Fact::Cancelled { .. } => {
                told.open = false;
                told.taken_at = order;
            }
            Fact::Reopened { .. } => told.open = true,
            Fact::PromiseMade { promise, next, .. } => {
                told.promises.insert(*promise, Planned { open: true, next: *next, reminded: BTreeSet::new() });
            }
            Fact::PromiseKept { promise } | Fact::PromiseWaived { promise, .. } => {
                let planned = told.promises.entry(*promise).or_default();
                (planned.open, planned.next) = (false, None);
            }
            Fact::Replanned { promise, next } => plan(told, *promise, *next),
            Fact::Snoozed { promise, next, .. } => plan(told, *promise, Some(*next)),
            Fact::Reminded { promise, due, next, .. } => {
                if !told.open && *promise != PromiseKind::Review {
                    return Err(format!("2: {id} is over and somebody is reminded of {}", promise.name()));
                }
                let planned = told.promises.entry(*promise).or_default();
                if !planned.open {
                    return Err(format!("2: {id}: a reminder of {}, which is kept or waived", promise.name()));
                }
                if planned.next.map(|next| next.at) != Some(*due) || at < *due {
                    let words = format!("planned {:?}, recorded for {due} at {at}", planned.next);
                    return Err(format!("2: {id}: a reminder of {} that was not planned: {words}", promise.name()));
                }
                if !planned.reminded.insert(*due) || next.is_some_and(|next| next.at <= at) {
                    return Err(format!("2: {id}: the reminder of {} for {due} recorded twice", promise.name()));
                }
                planned.next = *next;
            }
            Fact::VerifyStarted { until, .. } | Fact::VerifyReset { until, .. } | Fact::VerifyHeld { until, .. }
                if *until <= at =>
            {
                return Err(format!("2: the verification of {id} is over when it begins, and so for ever"));
            }
            Fact::VerifyHeld { .. } => self.held += 1,
            Fact::Escalated { why, level, .. } => {
                let asked = matches!(why, EscalationReason::Asked | EscalationReason::WentSilent);
                if !told.open || (told.acknowledged && !asked) {
                    return Err(format!("3: level {level} of {id} called ({why:?}) for what is acknowledged or over"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether an effect may be put on the wire now.
    ///
    /// # Errors
    /// Why nobody may hear of it any more.
    pub fn may_send(&self, id: EffectId) -> Result<(), String> {
        let Some(made) = self.made.get(&id) else { return Err(format!("6: {id} is sent and was never recorded")) };
        if let Some(end) = self.ended.get(&id) {
            return Err(format!("6: {id} is sent and is {end} on the record"));
        }
        let Thing::Incident(on) = made.effect.on else { return Ok(()) };
        let Some(told) = self.incidents.get(&on) else { return Err(format!("{id} belongs to no incident")) };
        match &made.effect.kind {
            EffectKind::Page { person, via, .. } => {
                let asked = matches!(made.why, Some(EscalationReason::Asked | EscalationReason::WentSilent));
                let late = made.order < told.taken_at;
                if !told.open || late || (told.acknowledged && !asked) {
                    return Err(format!(
                        "3: {person} is paged by {via} for {on}, which is acknowledged or over ({id})"
                    ));
                }
            }
            EffectKind::Post { message, .. } => {
                if calls(message) && made.order < told.taken_at {
                    return Err(format!("3: a ping about {on}, which was acknowledged or ended after it ({id})"));
                }
                if made.reminds && !told.open {
                    return Err(format!("2: a reminder about {on}, which is over ({id})"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// How an effect ended.
    pub fn end_of(&self, id: EffectId) -> Option<&'static str> {
        self.ended.get(&id).copied()
    }

    /// Every effect ever asked for.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.made.values().map(|made| &made.effect)
    }
}

fn plan(told: &mut Told, promise: PromiseKind, next: Option<Next>) {
    let planned = told.promises.entry(promise).or_default();
    planned.next = next;
    planned.reminded.clear();
}

fn calls(message: &Message) -> bool {
    !message.pings.is_empty()
}

/// Whether a post asks somebody in an incident's thread for something.
fn asks(effect: &Effect) -> bool {
    matches!(&effect.kind, EffectKind::Post { to: Target::Thread(_), message, .. }
        if message.buttons.iter().any(|button| button.action.starts_with("update:") || button.action.starts_with("mitigated:")))
}
