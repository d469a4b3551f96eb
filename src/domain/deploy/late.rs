//! A rollback that is not done in time, or will not be: said once, with the ways out that are left while it still runs.
//!
//! Pure. The instant is fixed when it starts, so it is found again after a crash. Never stops what runs: whoever presses does.

use super::{Deploy, Kind, Machine, run};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::fact::{At, Fact};
use crate::domain::hosting::Running;
use crate::domain::ids::DeployId;
use crate::domain::message::{Message, Ping};
use crate::domain::text::{self, deploys};

/// By when it is to be done; none for what nobody waits for with a clock.
pub fn at(ctx: &Ctx<'_>, deploy: &Deploy) -> Option<At> {
    let is_promised = deploy.plan.kind == Kind::Rollback;
    is_promised.then(|| ctx.now + ctx.policy.deploys.rollback_within.delta())
}

/// A machine is done: says so when those that are left cannot be done in time, at the pace of those before.
pub fn foresee(draft: &mut Draft<'_>, id: DeployId) {
    let Some(deploy) = draft.deploy(id).filter(|deploy| deploy.waits_for_time() && !deploy.went_wrong()) else {
        return;
    };
    let (Some(started), Some(late_at)) = (deploy.started_at, deploy.late_at) else { return };
    let up = || deploy.plan.machines.iter().zip(&deploy.machines).filter(|(planned, _)| planned.is_up());
    let waves =
        |machines: usize| i32::try_from(machines.div_ceil(usize::from(deploy.plan.at_once.max(1)))).unwrap_or(1);
    let is_done = |one: &(&Running, &Machine)| *one.1 == Machine::Done;
    let (done, all) = (waves(up().filter(is_done).count()), waves(up().count()));
    if done == 0 || done >= all {
        return;
    }
    let passed = draft.now() - started;
    if started + passed / done * all > late_at {
        say(draft, id);
    }
}

/// Says it.
pub fn say(draft: &mut Draft<'_>, id: DeployId) {
    draft.fact(id, Fact::DeployLate);
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let whom = deploy.started_by.clone().unwrap_or_else(|| deploy.by.clone());
    let line = deploys::late(&deploy, draft.now());
    run::record(draft, &deploy, line.clone());
    let mut message = Message::line(line).and(text::reason("you started it")).ping(Ping::Person(whom));
    message.buttons = super::board::while_it_runs(&deploy);
    draft.post(id, run::place(&deploy), message);
}
