//! What a deploy does next: one step after another, until it ends in a state with a name.
//!
//! Pure. Every phase has either something on its way or an instant at which it is looked at again, so a crash loses nothing:
//! what is on its way is asked again and what fell due is found. A machine that goes wrong stops all that follow.

use chrono::TimeDelta;

use super::{Deploy, Kind, Machine, Phase, Verdict, judge};
use crate::domain::draft::Draft;
use crate::domain::effect::{EffectKind, Target, Urgency};
use crate::domain::fact::{Fact, Status};
use crate::domain::health::HealthReport;
use crate::domain::hosting::{Inventory, ReleaseEnd, Running, Step};
use crate::domain::ids::{DeployId, Person};
use crate::domain::input::Stepped;
use crate::domain::message::{Message, Ping, Text};
use crate::domain::text::{self, deploys};

/// Stopped machines that are changed at once: nobody waits for them.
const ASLEEP_AT_ONCE_MAX: usize = 10;

/// Somebody said yes: machines as they are by now when they are others than planned.
pub fn start(draft: &mut Draft<'_>, id: DeployId, by: &Person, machines: Option<Vec<Running>>) {
    draft.fact(id, Fact::DeployStarted { by: by.clone(), machines });
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    // What is being watched on the same app can be judged no more: what is seen from now on is this one's doing.
    let is_watched = |other: &&Deploy| other.id != id && other.plan.app == deploy.plan.app && other.is_started();
    let watched: Vec<(DeployId, Verdict)> = (draft.ctx.state.team.deploys.values().filter(is_watched))
        .filter(|other| !other.is_running())
        .map(|other| (other.id, other.verdict.unwrap_or(Verdict::Superseded)))
        .collect();
    for (other, verdict) in watched {
        let seen = format!("{id} was started before more could be seen");
        draft.fact(other, Fact::DeployJudged { verdict, seen, watch: None });
    }
    tell(draft, &deploy, deploys::started(&deploy, by));
    if let Some(incident) = deploy.incident
        && draft.incident(incident).is_ok_and(|incident| incident.status == Status::Investigating)
    {
        let (from, to) = (Status::Investigating, Status::Mitigating);
        draft.fact(incident, Fact::StatusChanged { from, to, by: Some(by.clone()), why: None });
    }
    match deploy.phase {
        Phase::Opening => {
            act(draft, &deploy, Step::OpenRelease { image: deploy.plan.to.image.clone() });
        }
        _ => roll(draft, id),
    }
}

/// Somebody said stop: machines in hand are finished.
pub fn stop(draft: &mut Draft<'_>, id: DeployId, by: &Person) {
    draft.fact(id, Fact::DeployStopped { by: by.clone() });
    if draft.deploy(id).is_some_and(|deploy| deploy.phase == Phase::Rolling) {
        roll(draft, id);
    }
}

/// A step came to its end.
pub fn stepped(draft: &mut Draft<'_>, id: DeployId, step: &Step, end: &Stepped) {
    match step {
        Step::OpenRelease { .. } => {
            let (release, trouble) = match end {
                Stepped::Done { release, .. } => (release.clone(), None),
                Stepped::Failed { says, .. } => (None, Some(says.clone())),
                Stepped::CalledOff => (None, Some("it was called off".to_owned())),
            };
            draft.fact(id, Fact::ReleaseOpened { release, trouble });
            roll(draft, id);
        }
        Step::CloseRelease { .. } => {
            // Whoever scales the app later must know that the host's record is not what runs.
            let trouble = match end {
                Stepped::Done { .. } => None,
                Stepped::Failed { says, .. } => Some(says.clone()),
                Stepped::CalledOff => Some("it was called off".to_owned()),
            };
            if let Some(trouble) = trouble {
                draft.fact(id, Fact::ReleaseLeftOpen { trouble });
            }
            settle(draft, id);
        }
        _ => {
            let Some(machine) = step.machine().map(str::to_owned) else { return };
            draft.fact(
                id,
                match end.clone() {
                    Stepped::Done { before, after, .. } => Fact::MachineDone { machine, before, after },
                    Stepped::Failed { trouble, says, before } => Fact::MachineFailed { machine, trouble, says, before },
                    Stepped::CalledOff => Fact::MachineLeft { machine },
                },
            );
            roll(draft, id);
        }
    }
}

/// Takes the next machines in hand; when none is left, closes the release.
fn roll(draft: &mut Draft<'_>, id: DeployId) {
    loop {
        let Some(deploy) = draft.deploy(id).cloned() else { return };
        if deploy.phase != Phase::Rolling {
            return;
        }
        let machines = || deploy.plan.machines.iter().zip(&deploy.machines);
        let waiting = || machines().filter(|(_, machine)| **machine == Machine::Waiting);
        let is_over = deploy.trouble().is_some() || deploy.stopped_by.is_some();
        if let Some((left, _)) = waiting().next().filter(|_| is_over) {
            draft.fact(id, Fact::MachineLeft { machine: left.id.clone() });
            continue;
        }
        let in_hand = |up: bool| {
            machines()
                .filter(|(planned, machine)| planned.is_up() == up && matches!(machine, Machine::InHand { .. }))
                .count()
        };
        let next = waiting().find(|(planned, _)| match planned.is_up() {
            true => in_hand(true) < usize::from(deploy.plan.at_once),
            // What sleeps waits until everything that serves is well.
            false => {
                in_hand(true) == 0 && waiting().all(|(other, _)| !other.is_up()) && in_hand(false) < ASLEEP_AT_ONCE_MAX
            }
        });
        match next {
            Some((planned, _)) => take(draft, &deploy, planned),
            None if waiting().next().is_some() || in_hand(true) + in_hand(false) > 0 => return,
            None => return close(draft, &deploy),
        }
    }
}

fn take(draft: &mut Draft<'_>, deploy: &Deploy, planned: &Running) {
    let machine = planned.id.clone();
    let step = match deploy.plan.kind {
        Kind::Restart => Step::Restart { machine: machine.clone() },
        Kind::Deploy | Kind::Rollback => Step::Update {
            machine: machine.clone(),
            to: deploy.plan.to.image.clone(),
            release: deploy.release.clone(),
            launch: planned.is_up(),
            wait: true,
        },
    };
    let effect = act(draft, deploy, step);
    draft.fact(deploy.id, Fact::MachineTaken { machine, effect });
}

fn close(draft: &mut Draft<'_>, deploy: &Deploy) {
    let Some(release) = deploy.release.clone() else { return settle(draft, deploy.id) };
    let ended = match deploy.trouble() {
        Some(_) => ReleaseEnd::Failed,
        // Said while the last machine was in hand, a stop left nothing out: every machine runs it.
        None if deploy.done() == deploy.machines.len() => ReleaseEnd::Complete,
        None => ReleaseEnd::Interrupted,
    };
    draft.fact(deploy.id, Fact::ReleaseClosing);
    act(draft, deploy, Step::CloseRelease { release, ended });
}

fn act(draft: &mut Draft<'_>, deploy: &Deploy, step: Step) -> crate::domain::ids::EffectId {
    let by = deploy.started_by.as_ref().unwrap_or(&deploy.by);
    let name = draft.ctx.workspace.name_of(by).unwrap_or_else(|| by.local()).to_owned();
    let within_s = u32::try_from(draft.ctx.policy.deploys.step_within.delta().num_seconds()).unwrap_or(u32::MAX);
    let (deploy, app) = (deploy.id, deploy.plan.app.clone());
    draft.effect(deploy, Urgency::Page, EffectKind::Act { deploy, app, step, by: name, within_s })
}

/// Nothing is done any more: what was changed is given time before it is judged.
fn settle(draft: &mut Draft<'_>, id: DeployId) {
    let Some(deploy) = draft.deploy(id) else { return };
    let changed = deploy.machines.iter().any(|machine| matches!(machine, Machine::Done | Machine::Failed { .. }));
    if changed && deploy.trouble().is_none() {
        let until = draft.after(draft.ctx.policy.deploys.settle_for.delta());
        draft.fact(id, Fact::Settling { until });
    } else {
        // Somebody waits to hear what stands: there is nothing to wait for.
        survey(draft, id, false);
    }
}

fn survey(draft: &mut Draft<'_>, id: DeployId, last: bool) {
    let Some(plan) = draft.deploy(id).map(|deploy| deploy.plan.clone()) else { return };
    draft.fact(id, Fact::Surveying { last });
    let kind = EffectKind::Survey { deploy: id, app: plan.app, service: plan.service };
    draft.effect(id, Urgency::Page, kind);
}

/// Its time has come.
pub fn due(draft: &mut Draft<'_>, id: DeployId) {
    let now = draft.now();
    match draft.deploy(id).map(|deploy| deploy.phase.clone()) {
        Some(Phase::Planned { until }) if until <= now => {
            let why = "nobody said yes in time".to_owned();
            draft.fact(id, Fact::DeployCancelled { by: None, why });
        }
        Some(Phase::Settling { until }) if until <= now => survey(draft, id, false),
        Some(Phase::Watching { until }) if until <= now => survey(draft, id, true),
        _ => {}
    }
}

/// The service was looked at: what came of it.
pub fn surveyed(
    draft: &mut Draft<'_>,
    id: DeployId,
    machines: &Result<Inventory, String>,
    report: Option<&HealthReport>,
) {
    let Some(deploy) = draft.deploy(id).cloned().filter(Deploy::is_open) else { return };
    let last = deploy.phase == Phase::LastLook;
    let (verdict, seen) = judge::judge(&deploy, machines.as_ref(), report);
    let watch_for = draft.ctx.policy.deploys.watch_for.delta();
    let watch = (!last && verdict.is_good() && watch_for > TimeDelta::zero()).then(|| draft.after(watch_for));
    draft.fact(id, Fact::DeployJudged { verdict, seen: seen.clone(), watch });
    let Some(now) = draft.deploy(id).cloned() else { return };
    if last && deploy.verdict == Some(verdict) {
        return;
    }
    let line = deploys::judged(&now, verdict, &seen, draft.now());
    record(draft, &now, line.clone());
    let mut message = Message::line(line);
    if !verdict.is_good() && verdict != Verdict::Cancelled {
        let whom = now.started_by.clone().unwrap_or_else(|| now.by.clone());
        message = message.and(text::reason("you started it")).ping(Ping::Person(whom));
    }
    message.buttons = super::board::ways_on(&now);
    draft.post(id, place(&now), message);
}

/// Says something where the deploy is talked about, and puts it on its incident's record.
fn tell(draft: &mut Draft<'_>, deploy: &Deploy, line: Text) {
    record(draft, deploy, line.clone());
    draft.post(deploy.id, place(deploy), Message::line(line));
}

fn record(draft: &mut Draft<'_>, deploy: &Deploy, what: Text) {
    // One that was closed long ago is not brought back for a line.
    if let Some(incident) = deploy.incident.filter(|id| draft.incident(*id).is_ok()) {
        draft.fact(incident, Fact::Acted { deploy: deploy.id, what });
    }
}

/// Where it is talked about: its incident's thread, or the channel.
pub fn place(deploy: &Deploy) -> Target {
    deploy.incident.map_or(Target::Incidents, Target::Thread)
}
