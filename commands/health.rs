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
        if let Some(name) = call.word("service")
            && ctx.workspace.service(&name).is_none()
        {
            let names: Vec<&str> = ctx.workspace.services.iter().map(|service| service.name.as_str()).collect();
            return Err(Refusal::because(format!("There is no service “{name}”. There are: {}.", names.join(", "))));
        }
        let report = answers
            .health
            .as_ref()
            .ok_or_else(|| Refusal::because("I could not look in time. Try again in a moment; nothing is known."))?;
        let targets = if call.word("service").is_none() { ctx.policy.targets.as_slice() } else { &[] };
        let message = health::card(report, targets);
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};
