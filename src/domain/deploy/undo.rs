//! Taking a deploy back without being asked: only the bot's own, only for what the bot measured itself, only while nothing that
//! an image cannot take back has run.
//!
//! Pure. What is taken back goes through the same machinery as any rollback.

use super::{Deploy, Kind, Machine, Plan, Verdict, plan, run};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::fact::Fact;
use crate::domain::hosting::{Inventory, Running, Trouble};
use crate::domain::services;
use crate::domain::text::deploys;
use crate::domain::workspace::Stage;

/// The way back, when it is to be gone without being asked.
pub fn plan(ctx: &Ctx<'_>, deploy: &Deploy, verdict: Verdict, machines: &Result<Inventory, String>) -> Option<Plan> {
    let plan = &deploy.plan;
    let image_failed = deploy.trouble().is_some_and(|(_, trouble, _)| trouble.is_of_the_image());
    let was_changed = deploy.machines.iter().any(|machine| matches!(machine, Machine::Done | Machine::Failed { .. }));
    let failed = verdict == Verdict::Failed || (image_failed && !verdict.is_good());
    let wanted = ctx.policy.deploys.roll_back_by_itself
        && ctx.state.team.live
        && plan.kind == Kind::Deploy
        // What a release command changed, the image before may not live with.
        && plan.release_command.is_none()
        && plan.release_command_unknown.is_none()
        && deploy.stopped_by.is_none()
        && !plan.from.image.is(&plan.to.image);
    if !(wanted && failed && was_changed) {
        return None;
    }
    let is_at_work = |other: &&Deploy| other.id != deploy.id && other.is_running() && other.plan.app == plan.app;
    if ctx.state.team.deploys.values().find(is_at_work).is_some() {
        return None;
    }
    let machines = changed(deploy, machines.as_ref().ok().filter(|read| !read.machines.is_empty()));
    (!machines.is_empty()).then(|| plan::back(plan, machines, ctx.policy.deploys.at_once_percent))
}

/// The machines that run what is taken back: nothing is done to those that never did. None when somebody else has put up another
/// image since: that is theirs to judge.
fn changed(deploy: &Deploy, now: Option<&Inventory>) -> Vec<Running> {
    let plan = &deploy.plan;
    let Some(now) = now else {
        let tried = plan.machines.iter().zip(&deploy.machines).filter(|(_, machine)| match machine {
            Machine::Done => true,
            Machine::Failed { trouble, .. } => *trouble != Trouble::ImageGone,
            _ => false,
        });
        return tried.map(|(machine, _)| machine.clone()).collect();
    };
    let is_ours = |machine: &Running| {
        let before = plan.machines.iter().find(|planned| planned.id == machine.id).map(|planned| &planned.image);
        [&plan.to.image, &plan.from.image].into_iter().chain(before).any(|image| machine.image.is(image))
    };
    match now.machines.iter().all(is_ours) {
        true => now.machines.iter().filter(|machine| machine.image.is(&plan.to.image)).cloned().collect(),
        false => Vec::new(),
    }
}

/// Starts it, on behalf of whoever started what it takes back.
pub fn start(draft: &mut Draft<'_>, failed: &Deploy, plan: Plan) {
    let id = draft.next_deploy();
    let by = failed.started_by.clone().unwrap_or_else(|| failed.by.clone());
    let until = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta());
    // It is for what was opened because of it, where that was not known when it was planned.
    let about = || services::about(draft, &failed.plan.service).first().copied();
    let incident = failed.incident.or_else(|| about().filter(|_| failed.plan.stage == Stage::Production));
    let why = Some(deploys::undo_why(failed));
    let (plan, then, checks) = (Box::new(plan), Vec::new(), Vec::new());
    let request = None;
    let planned =
        Fact::DeployPlanned { plan, by: by.clone(), incident, why, until, then, checks, by_itself: true, request };
    draft.fact(id, planned);
    draft.board(id);
    run::start(draft, id, &by, None, Vec::new());
}
