//! The one door to every decision that is not a typed command: facts and effects, or a refusal.
//!
//! Pure. `commands::decide` stands in front of it for what people type. Whoever calls it puts the decision on record, applies
//! it and only then lets go of answers and effects.

use chrono::{DateTime, Utc};

use super::answer::Answer;
use super::draft::{Ctx, Decision, Draft};
use super::due::{self, Away};
use super::effect::{EffectKind, LookFor, Target};
use super::fact::Fact;
use super::figures::watch;
use super::health::{self, Transition};
use super::hosting::Trouble;
use super::ids::Thing;
use super::input::{Answers, EffectEnd, EffectOutcome, Gone, InputKind, Query, Started, Stepped};
use super::message::Message;
use super::policy::JobKind;
use super::refusal::Refusal;
use super::state::{Decided, State};
use super::verbs::pipeline;
use super::{alerts, deploy, evidence, jobs, press, releases, rules, services, text};

/// What the outside must be asked before this input can be decided.
pub fn needs(ctx: &Ctx<'_>, input: &InputKind) -> Vec<Query> {
    match input {
        InputKind::Job { name } => {
            let digest = ctx.policy.jobs.iter().any(|job| job.name == *name && job.does == JobKind::Digest);
            if digest { jobs::digest_needs(ctx) } else { Vec::new() }
        }
        InputKind::Press(press) => press::needs(ctx, press),
        InputKind::Filled(form) => press::needs_of(ctx, form),
        InputKind::Pipeline(ask) => pipeline::queries(ctx, ask),
        InputKind::Rules => rules::needs(ctx),
        InputKind::Effect(outcome) => needs_of_end(ctx, outcome),
        _ => Vec::new(),
    }
}

/// What must be asked beside what an effect brought.
fn needs_of_end(ctx: &Ctx<'_>, outcome: &EffectOutcome) -> Vec<Query> {
    let kind = ctx.state.pending.get(&outcome.effect).map(|effect| &effect.kind);
    match (kind, &outcome.end) {
        (Some(EffectKind::Look { services, wanted: LookFor::Opened, .. }), EffectEnd::Looked { .. }) => {
            evidence::queries(ctx, services)
        }
        // Also when the look itself came to nothing: errors are told by others.
        (Some(EffectKind::Look { services, wanted: LookFor::Verified, .. }), _) => {
            watch::questions(ctx, &evidence::measured(ctx, services))
        }
        (Some(EffectKind::Survey { deploy, .. }), EffectEnd::Surveyed { .. }) => deploy::run::questions(ctx, *deploy),
        _ => Vec::new(),
    }
}

/// Decides about an input. A `Call` is not for here: see `commands`.
///
/// # Errors
/// A sentence for whoever asked.
pub fn decide(
    ctx: Ctx<'_>,
    input: &InputKind,
    answers: &Answers,
    changed: Option<&Transition>,
) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(ctx);
    match input {
        InputKind::Call(call) => {
            return Err(Refusal::because(format!("I don't know the command “{}”.", call.command)));
        }
        InputKind::Press(input) => return press::press(draft, input, answers),
        InputKind::Filled(input) => return press::filled(draft, input, answers),
        InputKind::Effect(outcome) => effect_ended(&mut draft, outcome, answers),
        InputKind::Measured(look) => services::decide(&mut draft, look, changed)?,
        InputKind::Releases(look) => releases::decide(&mut draft, look),
        InputKind::Pipeline(ask) => {
            let line = pipeline::ask(&mut draft, ask, answers)?;
            return Ok(draft.say(line));
        }
        InputKind::Alerts(heard) => {
            alerts::heard::decide(&mut draft, heard)?;
            return Ok(draft.done(Some(Answer::Done)));
        }
        InputKind::Rules => rules::decide(&mut draft)?,
        InputKind::Tick => {
            due::look(&mut draft, None);
        }
        InputKind::Job { name } => jobs::run(&mut draft, name, false, answers)?,
        InputKind::Started(started) => start(&mut draft, started),
        InputKind::PolicyAdopted { hash } => {
            if draft.ctx.state.team.policy.as_ref() != Some(hash) {
                draft.fact(Thing::Team, Fact::PolicyAdopted { hash: hash.clone() });
            }
            jobs::plan(&mut draft);
        }
        InputKind::PolicyRefused { why } => {
            draft.post(Thing::Team, Target::Incidents, Message::line(text::policy_refused(why)));
        }
        // Nothing becomes true by a connection; what is shown is compared by the outbox.
        InputKind::ChatReady => {}
        InputKind::Gone(gone) => lost(&mut draft, gone),
    }
    Ok(draft.done(None))
}

/// An absence shorter than this is not spoken of.
const AWAY_SAID_FROM: chrono::TimeDelta = chrono::TimeDelta::seconds(2);

/// The process came up: what fell due meanwhile is caught up with.
fn start(draft: &mut Draft<'_>, started: &Started) {
    draft.fact(Thing::Team, Fact::Started { version: started.version.clone(), last_seen: started.last_seen });
    let Some(from) = started.last_seen else { return };
    let now = draft.now();
    let fell_due = draft.ctx.state.due_incidents(now).count();
    let is_waited_for = draft.ctx.state.open().next().is_some()
        || draft.ctx.state.team.deploys.values().any(deploy::Deploy::is_running);
    due::look(draft, Some(Away { from, until: now }));
    if is_waited_for && now - from >= AWAY_SAID_FROM {
        let line = text::back(from, now, fell_due, draft.ctx.workspace.team.zone);
        draft.post(Thing::Team, Target::Incidents, Message::line(line));
    }
}

fn effect_ended(draft: &mut Draft<'_>, outcome: &EffectOutcome, answers: &Answers) {
    let Some(effect) = draft.ctx.state.pending.get(&outcome.effect) else { return };
    let (on, id) = (effect.on, effect.id);
    match &outcome.end {
        EffectEnd::Done { posted } => draft.fact(on, Fact::Done { effect: id, posted: posted.clone() }),
        EffectEnd::Looked { report } => {
            draft.fact(on, Fact::Done { effect: id, posted: None });
            if let EffectKind::Look { incident, wanted: LookFor::Verified, .. } = effect.kind {
                // What is closed by now has nothing to verify.
                let _ = due::measured(draft, incident, Some(report), answers);
            } else if let EffectKind::Look { incident, services, .. } = &effect.kind {
                let incident = *incident;
                let fires = draft.alerts().firing_about(report.stages.iter().map(|stage| &stage.service));
                let report = report.clone().held_against(draft.ctx.policy);
                let mut message = health::card(&report, &[], &fires);
                if draft.incident(incident).is_ok_and(|incident| incident.services.is_empty()) {
                    message = message.and(text::nothing_named());
                }
                draft.post(incident, Target::Thread(incident), message);
                if let Some(found) = evidence::message(&draft.ctx, incident, services, answers) {
                    draft.post(incident, Target::Thread(incident), found);
                }
            }
        }
        EffectEnd::Stepped { end } => {
            draft.fact(on, Fact::Done { effect: id, posted: None });
            if let EffectKind::Act { deploy, step, .. } = &effect.kind {
                deploy::run::stepped(draft, *deploy, step, end);
            }
        }
        EffectEnd::Surveyed { machines, report } => {
            draft.fact(on, Fact::Done { effect: id, posted: None });
            if let EffectKind::Survey { deploy, .. } = effect.kind {
                deploy::run::surveyed(draft, deploy, machines, report.as_ref(), answers);
            }
        }
        EffectEnd::GivenUp { why } => {
            draft.fact(on, Fact::GivenUp { effect: id, why: why.clone() });
            match &effect.kind {
                EffectKind::Act { deploy, step, .. } => {
                    let failed = Stepped::Failed { trouble: Trouble::Unreachable, says: why.clone(), before: None };
                    deploy::run::stepped(draft, *deploy, step, &failed);
                }
                EffectKind::Survey { deploy, .. } => {
                    deploy::run::surveyed(draft, *deploy, &Err(why.clone()), None, answers)
                }
                EffectKind::Look { incident, wanted: LookFor::Verified, .. } => {
                    let _ = due::measured(draft, *incident, None, answers);
                }
                _ => {}
            }
            if let (EffectKind::Page { person, via, .. }, Thing::Incident(incident)) = (&effect.kind, on)
                && draft.incident(incident).is_ok_and(|incident| incident.status.is_open())
            {
                draft.post(incident, Target::Thread(incident), Message::line(text::not_reached(person, via, why)));
            }
            if let (EffectKind::Page { person, via, .. }, Thing::Deploy(about)) = (&effect.kind, on)
                && let Some(place) = draft.deploy(about).map(deploy::run::place)
            {
                draft.post(about, place, Message::line(text::not_reached(person, via, why)));
            }
            if let (EffectKind::Page { person, via, incident: None, .. }, Thing::Team) = (&effect.kind, on) {
                draft.post(Thing::Team, Target::Incidents, Message::line(text::test_not_reached(person, via, why)));
            }
        }
    }
}

/// Something of ours was removed by hand: it is put up anew while the incident is open.
fn lost(draft: &mut Draft<'_>, gone: &Gone) {
    let boards: Vec<_> = draft.ctx.state.team.deploys.values().filter(|one| one.is_open()).cloned().collect();
    for deploy in boards {
        let is_gone = match gone {
            Gone::Message(posted) => deploy.card.as_ref() == Some(posted),
            Gone::Place(place) => deploy.card.as_ref().is_some_and(|card| card.place == *place),
        };
        if is_gone {
            draft.fact(deploy.id, Fact::CardLost);
            draft.board(deploy.id);
        }
    }
    let groups: Vec<_> = draft.alerts().iter().filter(|group| group.over.is_none()).cloned().collect();
    for group in groups {
        let is_gone = match gone {
            Gone::Message(posted) => group.card.as_ref() == Some(posted),
            Gone::Place(place) => group.card.as_ref().is_some_and(|card| card.place == *place),
        };
        if is_gone {
            alerts::telling::put_up_again(draft, &group);
        }
    }
    let held: Vec<_> = draft.ctx.state.incidents.values().filter(|incident| incident.status.is_open()).collect();
    for incident in held {
        let id = incident.id;
        let card_gone = match gone {
            Gone::Message(posted) => incident.card.as_ref() == Some(posted),
            Gone::Place(place) => incident.card.as_ref().is_some_and(|card| card.place == *place),
        };
        let thread_gone = matches!(gone, Gone::Place(place) if incident.thread.as_ref() == Some(place));
        if card_gone {
            // A thread outlives its first message; a new card gets a new thread only when the old one is gone too.
            draft.fact(id, Fact::CardLost);
            draft.card(id, Vec::new());
        }
        if thread_gone {
            draft.fact(id, Fact::ThreadLost);
            draft.thread(id);
        }
    }
}

/// The line that a decision becomes, at its instant: recorded time never goes back.
pub fn line(state: &State, now: DateTime<Utc>, input: &super::ids::InputId, decision: Decision) -> Decided {
    Decided {
        seq: state.seq + 1,
        at: state.latest.map_or(now, |latest| latest.max(now)),
        input: input.clone(),
        facts: decision.facts,
        effects: decision.effects,
    }
}
