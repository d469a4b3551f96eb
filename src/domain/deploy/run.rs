//! What a deploy does next: one step after another, until it ends in a state with a name.
//!
//! Pure. Every phase has either something on its way or an instant at which it is looked at again, so a crash loses nothing:
//! what is on its way is asked again and what fell due is found. A machine that goes wrong stops all that follow.

use super::gates::Check;
use super::{Deploy, Kind, Machine, Phase, Preparation, Strategy, Verdict, judge, late, scale, staged, undo};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::effect::{EffectKind, Target, Urgency};
use crate::domain::fact::{Fact, Status};
use crate::domain::health::HealthReport;
use crate::domain::hosting::{Inventory, ReleaseRef, Running, Step, Trouble};
use crate::domain::ids::{DeployId, EffectId, IncidentId, Person, Service, Thing};
use crate::domain::input::{Answers, Query, Stepped};
use crate::domain::message::{Message, Ping, Text};
use crate::domain::services;
use crate::domain::text::{self, deploys};
use crate::domain::verbs::deploy as ship;
use crate::domain::workspace::Stage;

/// Stopped machines that are changed at once: nobody waits for them.
pub(super) const ASLEEP_AT_ONCE_MAX: usize = 10;

/// Somebody said yes: machines as they are by now when they are others than planned, and what could have refused it.
pub fn start(draft: &mut Draft<'_>, id: DeployId, by: &Person, machines: Option<Vec<Running>>, checks: Vec<Check>) {
    let late_at = draft.deploy(id).and_then(|deploy| late::at(&draft.ctx, deploy));
    draft.fact(id, Fact::DeployStarted { by: by.clone(), machines, checks, late_at });
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    tell(draft, &deploy, deploys::started(&deploy, by));
    if let Some(incident) = deploy.incident
        && draft.incident(incident).is_ok_and(|incident| incident.status == Status::Investigating)
    {
        let (from, to) = (Status::Investigating, Status::Mitigating);
        draft.fact(incident, Fact::StatusChanged { from, to, by: Some(by.clone()), why: None });
    }
    begin(draft, id);
}

/// The stage at hand begins: with its release, where it is one. What is being watched on the same app can be judged no more:
/// what is seen from now on is this one's doing.
pub fn begin(draft: &mut Draft<'_>, id: DeployId) {
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let others: Vec<DeployId> = draft.ctx.state.team.deploys.keys().copied().filter(|other| *other != id).collect();
    let watched: Vec<(DeployId, Verdict)> = (others.into_iter().filter_map(|other| draft.deploy(other)))
        .filter(|other| other.plan.app == deploy.plan.app && other.is_started() && !other.is_running())
        .map(|other| (other.id, other.verdict.unwrap_or(Verdict::Superseded)))
        .collect();
    for (other, verdict) in watched {
        let seen = superseded(id);
        draft.fact(other, Fact::DeployJudged { verdict, seen, watch: None });
    }
    match deploy.phase {
        Phase::Opening => {
            let (image, strategy) = (deploy.plan.to.image.clone(), deploy.plan.strategy);
            act(draft, &deploy, Step::OpenRelease { image, strategy });
        }
        _ => roll(draft, id),
    }
}

/// What comes before the first machine, one after the other.
fn prepare(draft: &mut Draft<'_>, id: DeployId, after: Option<Preparation>) {
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let plan = &deploy.plan;
    let (to, release) = (plan.to.image.clone(), deploy.release.clone());
    let is_over = deploy.went_wrong() || deploy.stopped_by.is_some();
    let command = plan.release_command.clone().filter(|_| after.is_none());
    let like = plan.machines.iter().find(|machine| machine.is_up()).or(plan.machines.first());
    let like = like.filter(|_| plan.strategy == Strategy::Canary && after != Some(Preparation::Canary));
    let (what, step) = match (command, like) {
        (Some(command), _) if !is_over => {
            (Preparation::ReleaseCommand, Step::RunReleaseCommand { to, command, release })
        }
        (_, Some(like)) if !is_over => (Preparation::Canary, Step::Trial { like: like.id.clone(), to, release }),
        _ => return roll(draft, id),
    };
    draft.fact(id, Fact::Preparing { what });
    act(draft, &deploy, step);
}

/// What was done before the first machine came to its end.
fn prepared(draft: &mut Draft<'_>, id: DeployId, what: Preparation, end: &Stepped) {
    let trouble = match end {
        Stepped::Done { .. } => None,
        Stepped::Failed { trouble, says, .. } => Some((trouble.clone(), says.clone())),
        Stepped::CalledOff => Some((Trouble::Refused, "it was called off".to_owned())),
    };
    draft.fact(id, Fact::Prepared { what, trouble });
    prepare(draft, id, Some(what));
}

/// Whether a machine that did not come up well may do so once it is restarted: the image can be had, and it did start.
fn may_be_restarted(deploy: &Deploy, machine: &str, step: &Step, trouble: &Trouble) -> bool {
    matches!(step, Step::Update { launch: true, .. })
        && matches!(trouble, Trouble::Unhealthy | Trouble::NotStarted)
        && deploy.stopped_by.is_none()
        && !deploy.tried_again.contains(machine)
}

/// Somebody said stop: machines in hand are finished.
pub fn stop(draft: &mut Draft<'_>, id: DeployId, by: &Person) {
    draft.fact(id, Fact::DeployStopped { by: by.clone() });
    match draft.deploy(id).map(|deploy| deploy.phase.clone()) {
        Some(Phase::Rolling) => roll(draft, id),
        // Between two stages: the one that is done stays done, the next is not begun.
        Some(Phase::Crossing) => staged::left(draft, id),
        _ => {}
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
            prepare(draft, id, None);
        }
        Step::RunReleaseCommand { .. } => prepared(draft, id, Preparation::ReleaseCommand, end),
        Step::Trial { .. } => prepared(draft, id, Preparation::Canary, end),
        // One of a stage that is done, closed late: the stage at hand is not about it.
        Step::CloseRelease { release, .. } if !is_at_hand(draft, id, release) => {}
        Step::CloseRelease { .. } => {
            // Whoever scales the app later must know that the host's record is not what runs.
            let trouble = match end {
                Stepped::Done { .. } => None,
                Stepped::Failed { says, .. } => Some(says.clone()),
                Stepped::CalledOff => Some("it was called off".to_owned()),
            };
            let is_late = draft.deploy(id).is_some_and(|deploy| deploy.phase != Phase::Closing);
            match trouble {
                Some(trouble) => draft.fact(id, Fact::ReleaseLeftOpen { trouble }),
                None if is_late => draft.fact(id, Fact::ReleaseClosed),
                None => {}
            }
            if !is_late {
                settle(draft, id);
            }
        }
        _ => {
            let Some(machine) = step.machine().map(str::to_owned) else { return };
            let Some(deploy) = draft.deploy(id).cloned() else { return };
            if let Stepped::Failed { trouble, says, before } = end
                && draft.ctx.policy.deploys.restart_once
                && may_be_restarted(&deploy, &machine, step, trouble)
            {
                let effect = act(draft, &deploy, Step::Restart { machine: machine.clone() });
                let (says, before) = (says.clone(), before.clone());
                draft.fact(id, Fact::MachineTriedAgain { machine, effect, says, before });
                return;
            }
            draft.fact(
                id,
                match end.clone() {
                    Stepped::Done { before, after, .. } => Fact::MachineDone { machine, before, after },
                    Stepped::Failed { trouble, says, before } => Fact::MachineFailed { machine, trouble, says, before },
                    Stepped::CalledOff => Fact::MachineLeft { machine },
                },
            );
            if let Some(next) = scale::then(&deploy.plan, step, end) {
                let effect = act(draft, &deploy, next);
                let machine = step.machine().unwrap_or_default().to_owned();
                draft.fact(id, Fact::MachineTaken { machine, effect });
                return;
            }
            late::foresee(draft, id);
            roll(draft, id);
        }
    }
}

fn is_at_hand(draft: &Draft<'_>, id: DeployId, release: &ReleaseRef) -> bool {
    draft.deploy(id).is_some_and(|deploy| deploy.release.as_ref() == Some(release))
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
        let is_over = deploy.went_wrong() || deploy.stopped_by.is_some();
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
            None if wakes(&deploy) => return wake(draft, &deploy),
            None => return close(draft, &deploy),
        }
    }
}

fn take(draft: &mut Draft<'_>, deploy: &Deploy, planned: &Running) {
    let machine = planned.id.clone();
    let step = match deploy.plan.kind {
        Kind::Scale if let Some(scale) = &deploy.plan.scale => scale::step(scale, planned),
        Kind::Restart | Kind::Scale => Step::Restart { machine: machine.clone() },
        Kind::Deploy | Kind::Rollback => Step::Update {
            machine: machine.clone(),
            to: deploy.plan.to.image.clone(),
            release: deploy.release.clone(),
            launch: planned.is_up(),
            wait: deploy.plan.strategy != Strategy::Immediate,
        },
    };
    let effect = act(draft, deploy, step);
    draft.fact(deploy.id, Fact::MachineTaken { machine, effect });
}

/// Where everything slept, nothing has shown yet that the new image comes up.
fn wakes(deploy: &Deploy) -> bool {
    deploy.plan.kind.ships()
        && deploy.plan.strategy != Strategy::Immediate
        && deploy.woken.is_none()
        && !deploy.went_wrong()
        && deploy.stopped_by.is_none()
        && !deploy.plan.machines.iter().any(Running::is_up)
}

fn wake(draft: &mut Draft<'_>, deploy: &Deploy) {
    let Some(machine) = deploy.plan.machines.first().map(|machine| machine.id.clone()) else { return };
    let effect = act(draft, deploy, Step::Start { machine: machine.clone() });
    draft.fact(deploy.id, Fact::MachineWoken { machine, effect });
}

fn close(draft: &mut Draft<'_>, deploy: &Deploy) {
    let Some(release) = deploy.release.clone() else { return settle(draft, deploy.id) };
    let ended = judge::release_end(deploy);
    draft.fact(deploy.id, Fact::ReleaseClosing);
    act(draft, deploy, Step::CloseRelease { release, ended });
}

/// What could not be put on the host's record is put there now.
pub fn close_again(draft: &mut Draft<'_>, deploy: &Deploy) {
    let Some(release) = deploy.release.clone() else { return };
    let ended = judge::release_end(deploy);
    draft.fact(deploy.id, Fact::ReleaseClosingAgain);
    act(draft, deploy, Step::CloseRelease { release, ended });
}

fn act(draft: &mut Draft<'_>, deploy: &Deploy, step: Step) -> EffectId {
    let by = deploy.started_by.as_ref().unwrap_or(&deploy.by);
    let name = draft.ctx.workspace.name_of(by).unwrap_or_else(|| by.local()).to_owned();
    let within_s = u32::try_from(draft.ctx.policy.deploys.step_within.delta().num_seconds()).unwrap_or(u32::MAX);
    let (deploy, app) = (deploy.id, deploy.plan.app.clone());
    draft.effect(deploy, Urgency::Page, EffectKind::Act { deploy, app, step, by: name, within_s })
}

/// Nothing is done any more: what was changed is given time before it is judged.
fn settle(draft: &mut Draft<'_>, id: DeployId) {
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    if let Some(follower) = follower(draft, &deploy) {
        let seen = superseded(follower);
        return draft.fact(id, Fact::DeployJudged { verdict: Verdict::Superseded, seen, watch: None });
    }
    let changed = deploy.machines.iter().any(|machine| matches!(machine, Machine::Done | Machine::Failed { .. }));
    if changed && !deploy.went_wrong() {
        let until = draft.after(draft.ctx.policy.deploys.settle_for.delta());
        draft.fact(id, Fact::Settling { until });
    } else {
        // Somebody waits to hear what stands: there is nothing to wait for.
        survey(draft, id, false);
    }
}

/// What has taken over from a change that was stopped: what is seen from now on is that one's doing.
fn follower(draft: &Draft<'_>, deploy: &Deploy) -> Option<DeployId> {
    deploy.stopped_by.as_ref()?;
    let others = draft.ctx.state.team.deploys.keys().copied().filter(|other| *other != deploy.id);
    let is_it = |other: &&Deploy| other.plan.app == deploy.plan.app && other.is_running() && other.stopped_by.is_none();
    others.filter_map(|other| draft.deploy(other)).find(is_it).map(|other| other.id)
}

fn superseded(by: DeployId) -> String {
    format!("{by} was started before more could be seen")
}

fn survey(draft: &mut Draft<'_>, id: DeployId, last: bool) {
    draft.fact(id, Fact::Surveying { last });
    look(draft, id, |deploy| Some(&deploy.plan));
}

/// Looks at a stage from outside.
pub fn look(draft: &mut Draft<'_>, id: DeployId, which: impl Fn(&Deploy) -> Option<&super::Plan>) {
    let Some(plan) = draft.deploy(id).and_then(which) else { return };
    let kind = EffectKind::Survey { deploy: id, app: plan.app.clone(), service: plan.service.clone() };
    draft.effect(id, Urgency::Page, kind);
}

/// A service was seen to fail twice in a row: what is being watched on it is looked at now, not when its time comes.
pub fn shaken(draft: &mut Draft<'_>, service: &Service, stage: Stage) {
    let watched = draft.ctx.state.team.deploys.values().filter(|deploy| {
        deploy.plan.service == *service && deploy.plan.stage == stage && matches!(deploy.phase, Phase::Watching { .. })
    });
    let watched: Vec<DeployId> = watched.map(|deploy| deploy.id).collect();
    for id in watched {
        survey(draft, id, false);
    }
}

/// Its time has come.
pub fn due(draft: &mut Draft<'_>, id: DeployId) {
    let now = draft.now();
    match draft.deploy(id).map(|deploy| deploy.phase.clone()) {
        Some(Phase::Planned { until }) if until <= now => {
            let why = "nobody said yes in time".to_owned();
            draft.fact(id, Fact::DeployCancelled { by: None, why });
        }
        Some(Phase::Scheduled { until }) if until <= now => staged::awaited(draft, id),
        Some(Phase::Settling { until }) if until <= now => survey(draft, id, false),
        Some(Phase::Watching { until }) if until <= now => survey(draft, id, true),
        _ => {
            let is_late = |deploy: &Deploy| deploy.waits_for_time() && deploy.late_at.is_some_and(|at| at <= now);
            if draft.deploy(id).is_some_and(is_late) {
                late::say(draft, id);
            }
        }
    }
    let has_lapsed =
        |deploy: &Deploy| deploy.is_waiting() && deploy.approval.as_ref().is_some_and(|approval| approval.until <= now);
    if draft.deploy(id).is_some_and(has_lapsed) {
        draft.fact(id, Fact::ApprovalLapsed);
        ship::ask_approval(draft, id);
    }
}

/// What must be asked beside a look at it.
pub fn questions(ctx: &Ctx<'_>, id: DeployId) -> Vec<Query> {
    let watched = ctx.state.team.deploys.get(&id).and_then(|deploy| judge::watched(ctx, deploy));
    watched.map_or(Vec::new(), |watched| watched.questions(ctx.now))
}

/// The service was looked at: what came of it.
pub fn surveyed(
    draft: &mut Draft<'_>,
    id: DeployId,
    machines: &Result<Inventory, String>,
    report: Option<&HealthReport>,
    answers: &Answers,
) {
    let Some(deploy) = draft.deploy(id).cloned().filter(Deploy::is_open) else { return };
    if deploy.phase == Phase::Crossing {
        return staged::crossed(draft, id, machines, report);
    }
    let last = deploy.phase == Phase::LastLook;
    let judged = judge::judge(&deploy, machines.as_ref(), report);
    let (by_health, _) = judged;
    let (verdict, seen) = judge::weigh(&draft.ctx, &deploy, judged, answers);
    if verdict.is_good() && deploy.plan.stage == Stage::Staging && deploy.plan.kind.ships() {
        let (service, image) = (deploy.plan.service.clone(), deploy.plan.to.image.clone());
        draft.fact(Thing::Team, Fact::Validated { service, image });
    }
    if verdict.is_good() && !deploy.then.is_empty() {
        return staged::done(draft, &deploy, verdict, seen);
    }
    let watch_for = draft.ctx.policy.deploys.watch_for.delta();
    let until = deploy.watched_until.unwrap_or_else(|| draft.after(watch_for));
    let watch = (!last && verdict.is_good() && verdict != Verdict::OffLine && until > draft.now()).then_some(until);
    draft.fact(id, Fact::DeployJudged { verdict, seen: seen.clone(), watch });
    let Some(now) = draft.deploy(id).cloned() else { return };
    if deploy.verdict == Some(verdict) {
        return;
    }
    let line = deploys::judged(&now, verdict, &seen, draft.now());
    record(draft, &now, line.clone());
    let opened_since = opened_since(draft, &now);
    let back = undo::plan(&draft.ctx, &now, verdict, machines);
    let mut message = match back.is_some() {
        // What is being done comes first: a lock screen shows no more.
        true => Message::line(deploys::taken_back(&now, draft.next_deploy())).and(line),
        false => Message { buttons: super::board::ways_on(&draft.ctx, &now), ..Message::line(line) },
    };
    if by_health != verdict {
        message = message.and(deploys::ASKS_WHETHER);
    }
    for incident in opened_since {
        let copy = Message { lines: message.lines.clone(), ..Message::default() };
        draft.post(incident, Target::Thread(incident), copy);
    }
    if !verdict.is_good() && verdict != Verdict::Cancelled {
        let asker = now.asker().cloned();
        let starter = now.started_by.clone().filter(|by| asker.as_ref() != Some(by));
        let why = match (&asker, &starter) {
            _ if now.by_itself => "you started what it takes back",
            (Some(_), None) => "you asked for it",
            (Some(_), Some(_)) => "you asked for it, or started it",
            (None, _) => "you started it",
        };
        message = message.and(text::reason(why));
        message = asker.into_iter().chain(starter).fold(message, |message, whom| message.ping(Ping::Person(whom)));
    }
    // What announces the rollback belongs to it, so that its card never stands first.
    let on = if back.is_some() { draft.next_deploy() } else { id };
    draft.post(on, place(&now), message);
    if let Some(back) = back {
        undo::start(draft, &now, back);
    }
}

/// Says something where the deploy is talked about, and puts it on its incident's record.
pub fn tell(draft: &mut Draft<'_>, deploy: &Deploy, line: Text) {
    record(draft, deploy, line.clone());
    for incident in opened_since(draft, deploy) {
        draft.post(incident, Target::Thread(incident), Message::line(line.clone()));
    }
    draft.post(deploy.id, place(deploy), Message::line(line));
}

/// Puts it on its incident's record.
pub fn record(draft: &mut Draft<'_>, deploy: &Deploy, what: Text) {
    // One that was closed long ago is not brought back for a line.
    let own = deploy.incident.filter(|id| draft.incident(*id).is_ok());
    for incident in own.into_iter().chain(opened_since(draft, deploy)) {
        draft.fact(incident, Fact::Acted { deploy: deploy.id, what: what.clone() });
    }
}

/// The open incidents of its service that a change to production was not made for: what comes of it is news there too.
fn opened_since(draft: &Draft<'_>, deploy: &Deploy) -> Vec<IncidentId> {
    match (deploy.incident, deploy.plan.stage) {
        (None, Stage::Production) => services::about(draft, &deploy.plan.service),
        _ => Vec::new(),
    }
}

/// Where it is talked about: its incident's thread, or the channel.
pub fn place(deploy: &Deploy) -> Target {
    deploy.incident.map_or(Target::Incidents, Target::Thread)
}
