//! The way back when a batch cannot be recorded: memory must be what the record holds, no more.
//!
//! Keeps only what the batch is about to change, each part as it was before its first change. A copy of the whole state would
//! cost as much as everything that is open, for every single input.

use std::collections::BTreeMap;

use crate::domain::alerts::Alerts;
use crate::domain::effect::Effect;
use crate::domain::fact::{At, Fact};
use crate::domain::ids::{EffectId, IncidentId, InputId, Thing};
use crate::domain::incident::Incident;
use crate::domain::state::{Decided, Measured, State, TeamState};

/// Parts of a state as they were. Begun before a batch, told of every decision before that is applied.
#[derive(Debug)]
pub struct Undo {
    seq: u64,
    latest: Option<At>,
    team: TeamState,
    alerts: Alerts,
    measured: Measured,
    incidents: BTreeMap<IncidentId, Option<Incident>>,
    pending: BTreeMap<EffectId, Option<Effect>>,
    inputs: Vec<InputId>,
}

impl Undo {
    /// What is small and touched by nearly everything is kept from the start.
    pub fn of(state: &State) -> Self {
        Self {
            seq: state.seq,
            latest: state.latest,
            team: state.team.clone(),
            alerts: state.alerts.clone(),
            measured: state.measured.clone(),
            incidents: BTreeMap::new(),
            pending: BTreeMap::new(),
            inputs: Vec::new(),
        }
    }

    /// Keeps what this decision is about to change.
    pub fn note(&mut self, state: &State, decided: &Decided) {
        for effect in &decided.effects {
            self.keep_effect(state, effect.id);
            self.keep(state, effect.on);
        }
        for (on, fact) in &decided.facts {
            self.keep(state, *on);
            if let Fact::Done { effect, .. } | Fact::GivenUp { effect, .. } | Fact::Withdrawn { effect, .. } = fact {
                self.keep_effect(state, *effect);
                // Where it stands now is written to the incident that the effect is about.
                if let Some(effect) = state.pending.get(effect) {
                    self.keep(state, effect.on);
                }
            }
        }
        if !state.has_seen(&decided.input) {
            self.inputs.push(decided.input.clone());
        }
    }

    fn keep(&mut self, state: &State, on: Thing) {
        if let Thing::Incident(id) = on {
            self.incidents.entry(id).or_insert_with(|| state.incidents.get(&id).cloned());
        }
    }

    fn keep_effect(&mut self, state: &State, id: EffectId) {
        self.pending.entry(id).or_insert_with(|| state.pending.get(&id).cloned());
    }

    /// Makes the state what it was.
    pub fn go_back(self, state: &mut State) {
        let Self { seq, latest, team, alerts, measured, incidents, pending, inputs } = self;
        state.seq = seq;
        state.latest = latest;
        state.team = team;
        state.alerts = alerts;
        state.measured = measured;
        for (id, effect) in pending {
            match effect {
                Some(effect) => state.pending.insert(id, effect),
                None => state.pending.remove(&id),
            };
        }
        for (id, incident) in incidents {
            state.incidents.remove(&id);
            match incident {
                Some(incident) => state.hold(incident),
                // One that did not exist leaves the list of what is due as well.
                None => state.release(id),
            }
        }
        for input in inputs {
            state.forget(&input);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::commands;
    use crate::domain::bot;
    use crate::domain::draft::Ctx;
    use crate::domain::ids::{Person, Place, Posted, Role, Service};
    use crate::domain::input::{
        Actor, Answers, Arg, Call, EffectEnd, EffectOutcome, InputKind, Measurement, Seen, Started,
    };
    use crate::domain::message::Text;
    use crate::domain::policy::{Policy, SHIPPED};
    use crate::domain::services;
    use crate::domain::workspace::{Stage, Workspace};

    const TEAM: &str = include_str!("../../tests/support/team.toml");

    /// A state that decides, with an undo that is told of everything.
    struct Batch {
        workspace: Workspace,
        policy: Policy,
        state: State,
        undo: Option<Undo>,
        now: DateTime<Utc>,
        inputs: u32,
    }

    impl Batch {
        fn new() -> Self {
            let mut batch = Self {
                workspace: toml::from_str(TEAM).expect("the team of the transcripts"),
                policy: Policy::parse(SHIPPED).expect("the shipped policy"),
                state: State::default(),
                undo: None,
                now: DateTime::from_timestamp(1_795_449_600, 0).expect("a time"),
                inputs: 0,
            };
            batch.decide(InputKind::Started(Started { version: "test".to_owned(), last_seen: None }));
            batch.call("watchbell live", &[]);
            batch
        }

        fn decide(&mut self, kind: InputKind) -> InputId {
            self.inputs += 1;
            let id = InputId::new(format!("input:{}", self.inputs));
            if let InputKind::Measured(look) = &kind {
                services::observe(&mut self.state, look, &self.policy.health);
            }
            let Self { workspace, policy, state, now, .. } = self;
            let ctx = Ctx { state, policy, workspace, now: *now, input: &id };
            let decision = commands::decide(ctx, &kind, &Answers::default(), None).expect("nothing is refused");
            if decision.facts.is_empty() && decision.effects.is_empty() {
                return id;
            }
            let line = bot::line(&self.state, self.now, &id, decision);
            if let Some(undo) = &mut self.undo {
                undo.note(&self.state, &line);
            }
            self.state.apply(&line);
            id
        }

        fn call(&mut self, command: &str, args: &[(&str, &str)]) -> InputId {
            let who = Actor {
                person: Person::new("discord:mia"),
                name: "mia".to_owned(),
                roles: vec![Role::new("manager"), Role::new("reliability")],
            };
            let args = args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect();
            let place = Place::new("discord:incidents");
            self.decide(InputKind::Call(Call { who, place, command: command.to_owned(), args, target: None }))
        }

        fn end_effects(&mut self) {
            while let Some(effect) = self.state.pending.keys().next().copied() {
                let posted = Some(Posted { place: Place::new("discord:incidents"), message: effect.to_string() });
                self.decide(InputKind::Effect(EffectOutcome { effect, end: EffectEnd::Done { posted } }));
            }
        }
    }

    #[test]
    fn nothing_of_a_batch_that_could_not_be_recorded_stays_in_memory() {
        let mut batch = Batch::new();
        batch.call("sev1", &[("title", "checkout is down")]);
        batch.end_effects();
        // Two that are touched in the batch: one on its way, one that is closed by it.
        batch.call("sev2", &[("title", "search answers slowly")]);
        let before = batch.state.clone();
        let due_before: Vec<_> = before.due_incidents(batch.now + TimeDelta::days(9)).collect();

        batch.undo = Some(Undo::of(&batch.state));
        batch.now += TimeDelta::minutes(20);
        let seen = Seen::Red { why: "answered 500".to_owned() };
        let (service, stage) = (Service::new("checkout"), Stage::Production);
        batch.decide(InputKind::Measured(Measurement { service, stage, at: batch.now, seen, certificate_ends: None }));
        let mut inputs = vec![batch.decide(InputKind::Tick)];
        batch.end_effects();
        inputs.push(batch.call("incident note", &[("text", "the queue is full"), ("incident", "1")]));
        inputs.push(batch.call("resolve", &[("anyway", "nobody is hurt by it"), ("incident", "2")]));
        inputs.push(batch.call("sev3", &[("title", "a printer burns")]));
        inputs.push(batch.call("watchbell observe", &[]));
        assert_ne!(batch.state.kept(), before.kept());

        batch.undo.take().expect("it was begun").go_back(&mut batch.state);
        assert_eq!(batch.state.kept(), before.kept());
        assert_eq!((batch.state.seq, batch.state.latest), (before.seq, before.latest));
        assert_eq!(batch.state.measured, before.measured);
        assert_eq!(batch.state.next_due(), before.next_due());
        assert_eq!(batch.state.due_incidents(batch.now + TimeDelta::days(9)).collect::<Vec<_>>(), due_before);
        for input in inputs {
            assert!(!batch.state.has_seen(&input), "{input} would be taken for a repeat");
        }
    }
}
