//! `/ack`: I've got it.

use super::{Command, incident_option, nothing, told};
use crate::domain::command_spec::CommandSpec;
use crate::domain::draft::Draft;
use crate::domain::policy::Right;
use crate::domain::verbs::{meant_open, respond};

/// `/ack`.
pub const COMMAND: Command = Command {
    spec: || {
        CommandSpec::slash("ack", "I've got it: acknowledge, and lead when nobody does")
            .with_right(Right::Respond)
            .takes("incident", "Which one; the only one open when left out", incident_option())
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let (incident, guessed) = meant_open(&ctx, call.word("incident").as_deref(), &call.place)?;
        let mut draft = Draft::new(ctx);
        let line = respond::acknowledge(&mut draft, &call.who, incident.id)?;
        Ok(draft.say(told(guessed, incident, line)))
    },
};
