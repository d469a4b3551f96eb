//! From one stage to the next: what was approved for both goes on only while it is still what was approved.
//!
//! Pure. The next stage is looked at anew before its first machine; whatever is another by then waits for another yes.

use super::gates::{self, About, Finding};
use super::{Deploy, Plan, Verdict, plan, run};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::fact::Fact;
use crate::domain::health::HealthReport;
use crate::domain::hosting::Inventory;
use crate::domain::ids::DeployId;
use crate::domain::message::{Message, Ping};
use crate::domain::text::{self, deploys, gates as words};
use crate::domain::verbs;

/// A stage did well: the next one is looked at.
pub fn done(draft: &mut Draft<'_>, deploy: &Deploy, verdict: Verdict, seen: String) {
    let id = deploy.id;
    draft.fact(id, Fact::StageDone { verdict, seen: seen.clone() });
    if deploy.stopped_by.is_some() {
        return left(draft, id);
    }
    run::tell(draft, deploy, deploys::stage_done(deploy, &seen));
    run::look(draft, id, |deploy| deploy.then.first());
}

/// What is done stays done, and the rest is left.
pub fn left(draft: &mut Draft<'_>, id: DeployId) {
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let Some(passed) = deploy.passed.last() else { return };
    let seen = format!("{}; stopped before {}", passed.seen, next_name(&deploy));
    // How well the stages before did is not how well it did: what was asked for never came to be.
    let verdict = Verdict::Stopped;
    draft.fact(id, Fact::DeployJudged { verdict, seen: seen.clone(), watch: None });
    let line = deploys::judged(&deploy, verdict, &seen, draft.now());
    run::tell(draft, &deploy, line);
}

fn next_name(deploy: &Deploy) -> &'static str {
    deploy.then.first().map_or("the next stage", |plan| plan.stage.name())
}

/// The next stage was looked at: it begins, or waits for another yes.
pub fn crossed(
    draft: &mut Draft<'_>,
    id: DeployId,
    machines: &Result<Inventory, String>,
    report: Option<&HealthReport>,
) {
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let Some(planned) = deploy.then.first() else { return };
    let now = machines.as_ref().map(|inventory| plan::again(planned, inventory));
    let (plan, drift) = match &now {
        Ok(now) => (now, drift(planned, now)),
        Err(why) => (planned, Some(format!("Fly does not say what runs in {} ({why})", planned.stage.name()))),
    };
    let about = About { by: &deploy.by, stages: &[plan], was_staged: true, runs_on_staging: false, health: report };
    let checks = gates::look(&draft.ctx, &about);
    verbs::deploy::pass_as_a_fix(draft, &deploy, &checks);
    let waivers = draft.deploy(id).map(|deploy| deploy.waivers.clone()).unwrap_or_default();
    let refusing: Vec<String> = gates::refusing(&checks, &waivers).map(deploys::check).collect();
    let busy =
        draft.ctx.state.team.deploys.values().find(|one| one.id != id && one.plan.app == plan.app && one.is_running());
    let what = drift
        .or_else(|| (!refusing.is_empty()).then(|| refusing.join("; ")))
        .or_else(|| busy.map(|busy| format!("{} is at work there", busy.id)));
    let Some(what) = what else {
        draft.fact(id, Fact::StageEntered { plan: Box::new(plan.clone()), checks });
        return run::begin(draft, id);
    };
    revise(draft, id, plan.clone(), deploy.then.get(1..).unwrap_or_default().to_vec(), checks, what.clone());
    let Some(now) = draft.deploy(id).cloned() else { return };
    let message = Message::line(deploys::waits(&now, &what))
        .and(text::reason("you started it"))
        .ping(Ping::Person(now.started_by.clone().unwrap_or_else(|| now.by.clone())));
    draft.post(id, run::place(&now), message);
}

/// What would be done is another by now.
pub fn revise(
    draft: &mut Draft<'_>,
    id: DeployId,
    plan: Plan,
    then: Vec<Plan>,
    checks: Vec<gates::Check>,
    what: String,
) {
    let until = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta());
    draft.fact(id, Fact::DeployRevised { plan: Box::new(plan), then, checks, until, what });
}

/// What makes a plan another one than it was; none when it is the same.
pub fn drift(planned: &Plan, now: &Plan) -> Option<String> {
    let is_told = |plan: &Plan| plan.release_command_unknown.is_none();
    if planned.hash == now.hash && is_told(planned) == is_told(now) {
        return None;
    }
    let app = &planned.app;
    let id_of = |plan: &Plan, id: &str| plan.machines.iter().find(|machine| machine.id == id).cloned();
    let mut changed = Vec::new();
    for machine in &planned.machines {
        match id_of(now, &machine.id) {
            None => changed.push(format!("machine {} is gone", machine.id)),
            Some(other) if !other.image.is(&machine.image) => {
                changed.push(format!("machine {} runs {} now", machine.id, other.image));
            }
            Some(other) if other.config_sha256 != machine.config_sha256 => {
                changed.push(format!("machine {} has another configuration", machine.id));
            }
            Some(_) => {}
        }
    }
    for machine in now.machines.iter().filter(|machine| id_of(planned, &machine.id).is_none()) {
        changed.push(format!("machine {} is new", machine.id));
    }
    if planned.release_command != now.release_command || is_told(planned) != is_told(now) {
        changed.push(words::command_changed(now));
    }
    match changed.as_slice() {
        [] => Some(format!("the plan for {app} is another")),
        some => Some(format!("in {app}, {}", some.join("; "))),
    }
}

/// Its hours have come: whoever put it off hears of it, and nothing is done before a yes.
pub fn awaited(draft: &mut Draft<'_>, id: DeployId) {
    let until = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta());
    draft.fact(id, Fact::DeployAwaited { until });
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let is_approved = deploy.approval.as_ref().is_some_and(|approval| approval.until > draft.now());
    let may_start = is_approved || verbs::deploy::own(&draft.ctx).is_some();
    let mut message = Message::line(deploys::awaited(&draft.ctx, &deploy, until, may_start));
    message.buttons = super::board::yes_buttons(&deploy);
    if !may_start {
        message.buttons.remove(0);
    }
    let whom = deploy.scheduled_by.clone().unwrap_or_else(|| deploy.by.clone());
    message = message.and(text::reason("you scheduled it")).ping(Ping::Person(whom));
    draft.post(id, run::place(&deploy), message);
    verbs::deploy::ask_approval(draft, id);
}

/// Whether every check that refuses has been passed with a reason.
pub fn is_clear(ctx: &Ctx<'_>, deploy: &Deploy) -> bool {
    gates::refusing(&gates::by_now(ctx, deploy), &deploy.waivers).next().is_none()
}

/// The sign of a check, with a waiver taken into account.
pub fn sign(deploy: &Deploy, check: &gates::Check) -> &'static str {
    let waived = deploy.waivers.iter().any(|waiver| waiver.gate == check.gate);
    if waived && check.found == Finding::Refuses { "⚠" } else { check.found.sign() }
}
