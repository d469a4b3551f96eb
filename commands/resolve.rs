//! `/resolve`: it is over, as soon as it has been green long enough.

use super::{Command, incident_option, told};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::Draft;
use crate::domain::policy::Right;
use crate::domain::verbs::{close, meant_open};

/// `/resolve`.
pub const COMMAND: Command = Command {
    spec: || {
        CommandSpec::slash("resolve", "It is over: resolves once it has been green long enough")
            .with_right(Right::Respond)
            .takes(
                "anyway",
                "A reason not to wait for green (stands on the record)",
                OptionKind::Text { chars_max: 500 },
            )
            .takes("incident", "Which one; the only one open when left out", incident_option())
    },
    needs: |ctx, call| {
        let meant = meant_open(ctx, call.word("incident").as_deref(), &call.place);
        // Whoever gives a reason waits for nothing.
        let asks = meant.ok().filter(|_| call.text("anyway").is_none());
        asks.map_or(Vec::new(), |(incident, _)| close::queries(ctx, incident))
    },
    decide: |ctx, call, answers| {
        let (incident, guessed) = meant_open(&ctx, call.word("incident").as_deref(), &call.place)?;
        let mut draft = Draft::new(ctx);
        let line = close::resolve(&mut draft, &call.who, incident.id, call.text("anyway"), answers)?;
        Ok(draft.say(told(guessed, incident, line)))
    },
};
