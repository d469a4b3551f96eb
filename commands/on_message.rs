//! The entries in a message's own menu: put it on the record, use it as the update.

use super::{Command, nothing, told};
use crate::domain::command_spec::CommandSpec;
use crate::domain::draft::Draft;
use crate::domain::input::{Call, TargetMessage};
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::verbs::{meant, meant_open, update};

/// "Add to timeline".
pub const ADD_TO_TIMELINE: Command = Command {
    spec: || {
        CommandSpec::on_message(
            "Add to timeline",
            "Puts the message on the incident's record, with author, time and images",
        )
        .with_right(Right::Respond)
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let (incident, guessed) = meant(&ctx, None, &call.place)?;
        let mut draft = Draft::new(ctx);
        let line = update::note_message(&mut draft, &call.who, incident.id, target(call)?)?;
        Ok(draft.say(told(guessed, incident, line)))
    },
};

/// "Use as update".
pub const USE_AS_UPDATE: Command = Command {
    spec: || {
        CommandSpec::on_message("Use as update", "Gives the message as the incident's update")
            .with_right(Right::Respond)
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let (incident, guessed) = meant_open(&ctx, None, &call.place)?;
        let message = target(call)?;
        let mut draft = Draft::new(ctx);
        let given = update::Update {
            what: message.text.clone(),
            next_in: None,
            announce: None,
            source: Some(message.link.clone()),
        };
        let line = update::update(&mut draft, &call.who, incident.id, given)?;
        Ok(draft.say(told(guessed, incident, line)))
    },
};

fn target(call: &Call) -> Result<&TargetMessage, Refusal> {
    call.target.as_ref().ok_or_else(|| Refusal::because("The message is not there any more."))
}
