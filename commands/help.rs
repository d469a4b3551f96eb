//! `/help`: what can I type?

use super::{Command, nothing, only_you, specs};
use crate::domain::command_spec::{CommandKind, CommandSpec};
use crate::domain::draft::Draft;
use crate::domain::message::{Card, Message, Text, Tone};

/// `/help`.
pub const COMMAND: Command = Command {
    spec: || CommandSpec::slash("help", "What can I type? What you may use, first what one needs first"),
    needs: nothing,
    decide: |ctx, call, _| {
        let mut card = Card::new("Watchbell", Tone::Quiet).line(
            Text::plain("Something broke? ").code("/sev1").text(" and a few words. Everything else has a button."),
        );
        for spec in specs() {
            let may = spec.right.is_none_or(|right| ctx.policy.may(&call.who.roles, right));
            if may && spec.kind == CommandKind::Slash {
                card = card.line(Text::default().code(format!("/{}", spec.name)).text(format!(" {}", spec.help)));
            }
        }
        card = card.line("In a message's own menu under Apps: Add to timeline, Use as update.");
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};
