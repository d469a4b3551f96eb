//! `/health`: how are we?

use super::{Command, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::Draft;
use crate::domain::health;
use crate::domain::input::Query;
use crate::domain::refusal::Refusal;

/// `/health`.
pub const COMMAND: Command = Command {
    spec: || {
        CommandSpec::slash("health", "How are we? Machines and probes of every service, looked at now").takes(
            "service",
            "Only this one",
            OptionKind::Completed("services"),
        )
    },
    needs: |ctx, call| match call.word("service") {
        None => vec![Query::Health(None)],
        Some(name) => {
            ctx.workspace.service(&name).map(|service| Query::Health(Some(service.name.clone()))).into_iter().collect()
        }
    },
    decide: |ctx, call, answers| {
        call.word("service").map(|name| ctx.service_named(&name)).transpose()?;
        let report = answers
            .health
            .as_ref()
            .ok_or_else(|| Refusal::because("I could not look in time. Try again in a moment; nothing is known."))?;
        let targets = if call.word("service").is_none() { ctx.policy.targets.as_slice() } else { &[] };
        let report = report.clone().held_against(ctx.policy);
        let draft = Draft::new(ctx);
        let fires = draft.alerts().firing_about(report.stages.iter().map(|stage| &stage.service));
        Ok(draft.done(only_you(health::card(&report, targets, &fires))))
    },
};
