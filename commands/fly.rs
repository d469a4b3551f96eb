//! `/fly machines`, `/fly releases`, `/fly history`: how an app at Fly is, what was released, what was changed. Read only.

use super::rollback::{about, meant};
use super::{Command, only_you};
use crate::domain::command_spec::CommandSpec;
use crate::domain::draft::{Ctx, Draft};
use crate::domain::input::{Call, Query};
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::text::fly;
use crate::domain::verbs::ship;

/// `/fly machines`.
pub const MACHINES: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly machines", "How each machine is: state, region, image, checks, size"))
            .with_right(Right::Respond)
    },
    needs: |ctx, call| {
        let Ok(about) = meant(ctx, call) else { return Vec::new() };
        let mut queries = about.queries();
        queries.push(Query::Health(Some(about.service.name.clone())));
        queries
    },
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let app = about.app()?;
        let stages = answers.health.iter().flat_map(|report| &report.stages);
        let look = stages.filter(|stage| stage.service == about.service.name && stage.stage == about.stage);
        let look = look.filter_map(|stage| stage.app.as_ref()).find(|look| look.machines.is_ok());
        let inventory = match ship::told(answers, app) {
            Ok(inventory) => Some(inventory),
            Err(refusal) if look.is_none() => return Err(refusal),
            Err(_) => None,
        };
        let message = fly::machines(app, look, inventory);
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/fly releases`.
pub const RELEASES: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly releases", "The newest releases: image, status, who, when; which runs"))
            .with_right(Right::Respond)
    },
    needs,
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let inventory = ship::told(answers, about.app()?)?;
        let message = fly::releases(&ctx, inventory).map_err(Refusal::Because)?;
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/fly history`.
pub const HISTORY: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly history", "The last changes I made or planned: what, who, when, what came of it"))
            .with_right(Right::Respond)
    },
    needs: super::nothing,
    decide: |ctx, call, _| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let name = &about.service.name;
        let here = ctx.state.team.deploys.values().rev();
        let here = here.filter(|deploy| {
            deploy.plan.service == *name && (deploy.plan.stage == about.stage || !deploy.passed.is_empty())
        });
        let message = fly::history(name.as_str(), here);
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

pub(super) fn needs(ctx: &Ctx<'_>, call: &Call) -> Vec<Query> {
    meant(ctx, call).map_or(Vec::new(), |about| about.queries())
}
