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
        let may = |spec: &CommandSpec| spec.right.is_none_or(|right| ctx.policy.may(&call.who.roles, right));
        let offered: Vec<CommandSpec> =
            specs().into_iter().filter(|spec| spec.kind == CommandKind::Slash && may(spec)).collect();
        // One line a family: on a phone thirty lines push the first out of sight.
        for family in offered.chunk_by(|one, other| family(one) == family(other)) {
            let Some(first) = family.first() else { continue };
            let says = match family {
                [only] => only.help.to_owned(),
                several => several
                    .iter()
                    .filter_map(|spec| spec.name.split_once(' '))
                    .map(|(_, verb)| verb)
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let name = if family.len() == 1 { first.name } else { self::family(first) };
            card = card.line(Text::default().code(format!("/{name}")).text(format!(" {says}")));
        }
        card = card.line("In a message's own menu under Apps: Add to timeline, Use as update.");
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// The word that commands of one kind begin with.
fn family(spec: &CommandSpec) -> &str {
    spec.name.split(' ').next().unwrap_or(spec.name)
}
