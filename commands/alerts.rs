//! `/alerts list`, `/alerts rules`, `/alerts silence`, `/alerts silences`, `/alerts unsilence`: what fires, who hears of it, and what is to be quiet.

use super::{Command, nothing, only_you};
use crate::domain::alerts::Group;
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::Draft;
use crate::domain::message::{Card, Message, Tone};
use crate::domain::policy::{Right, Span};
use crate::domain::press::flat;
use crate::domain::refusal::Refusal;
use crate::domain::rules;
use crate::domain::text::{alerts as says, rules as of_rules};
use crate::domain::verbs::{alerts, hold};

/// Groups, or silences, in one answer.
const LISTED_MAX: usize = 20;
/// The highest number of a silence that can be typed.
const SILENCE_MAX: i64 = 4_000_000_000;

/// Words of at most so many characters.
fn words(chars_max: u16) -> OptionKind {
    OptionKind::Text { chars_max }
}

/// `/alerts list`.
pub const LIST: Command = Command {
    spec: || CommandSpec::slash("alerts list", "What fires, who has it, and why it is told or not"),
    needs: nothing,
    decide: |ctx, _, _| {
        let mut firing: Vec<&Group> = ctx.state.alerts.firing().collect();
        firing.sort_by_key(|group| (group.level, group.id));
        let title = match firing.len() {
            0 => "Nothing fires".to_owned(),
            1 => "One group of alerts fires".to_owned(),
            many => format!("{many} groups of alerts fire"),
        };
        let tone = if firing.is_empty() { Tone::Good } else { Tone::Warn };
        let mut card = Card::new(title, tone);
        for group in firing.iter().take(LISTED_MAX) {
            card = card.line(says::listed(&ctx, group));
        }
        if firing.len() > LISTED_MAX {
            card = card.line(format!("and {} more", firing.len() - LISTED_MAX));
        }
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// `/alerts rules`.
pub const RULES: Command = Command {
    spec: || {
        CommandSpec::slash("alerts rules", "What I watch for by myself, in words, with its value now").takes(
            "service",
            "Of one service; all when left out",
            OptionKind::Completed("services"),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let only = call.word("service").map(|name| ctx.service_named(&name)).transpose()?;
        let mut lines = Vec::new();
        for rule in &ctx.policy.alerts.rules {
            let about = rules::subjects(ctx.workspace, rule);
            let is_asked =
                |one: &&rules::About<'_>| only.is_none_or(|only| one.of.is_some_and(|(name, ..)| *name == only.name));
            let stands: Vec<_> = { about.iter() }
                .filter(is_asked)
                .map(|about| {
                    let one = ctx.state.measured.rules.of(rule, about);
                    of_rules::stands(&ctx, rule, about, one, rules::is_firing(&ctx, rule, about))
                })
                .collect();
            if about.is_empty() && only.is_none() {
                lines.push((of_rules::rank("?"), of_rules::about_nothing(rule)));
            }
            let rank = stands.iter().map(|(sign, _)| of_rules::rank(sign)).min();
            lines.extend(rank.map(|rank| (rank, of_rules::line(&ctx, rule, &stands))));
        }
        // What fires first, then what is about to; of the same, in the policy's order.
        lines.sort_by_key(|(rank, _)| *rank);
        let first = lines.first().map(|(rank, _)| *rank);
        let tone = match first {
            Some(rank) if rank <= of_rules::rank("⚠") => Tone::Warn,
            Some(rank) if rank == of_rules::rank("✓") => Tone::Good,
            // Something is not known, or there is nothing to know.
            _ => Tone::Quiet,
        };
        let mut card = Card::new("Rules", tone);
        for (_, line) in lines {
            card = card.line(line);
        }
        card = card.line(of_rules::down(ctx.policy));
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// `/alerts silence`.
pub const SILENCE: Command = Command {
    spec: || {
        CommandSpec::slash("alerts silence", "Tell nobody of some alerts for a time, from now or from later on")
            .with_right(Right::Respond)
            .needs("match", "Which, as in service=checkout severity=warning", words(400))
            .needs("for", "How long: 30m, 4h, 2d", words(40))
            .needs("why", "A sentence; it stands on the record", words(300))
            .takes("from", "From when: in 2h, 14:00, 2026-12-24; now when left out", words(40))
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let mut draft = Draft::new(ctx);
        let meant = call.text("match").map(|text| flat(&text)).unwrap_or_default();
        let length: Span = call.word("for").unwrap_or_default().parse().map_err(Refusal::because)?;
        let why = call.text("why").map(|text| flat(&text)).unwrap_or_default();
        let from = call.word("from").map(|typed| hold::until(&ctx, typed.trim_start_matches("in "))).transpose()?;
        let said = alerts::silence(&mut draft, &call.who, &meant, from, length, &why)?;
        Ok(draft.say(said))
    },
};

/// `/alerts silences`.
pub const SILENCES: Command = Command {
    spec: || CommandSpec::slash("alerts silences", "The silences that hold, or are to"),
    needs: nothing,
    decide: |ctx, _, _| {
        let silences: Vec<_> = ctx.state.alerts.silences.iter().filter(|one| ctx.now < one.until).collect();
        let title = if silences.is_empty() { "No silence holds" } else { "Silences" };
        let mut card = Card::new(title, Tone::Quiet);
        for silence in silences.iter().rev().take(LISTED_MAX) {
            card = card.line(says::silence(silence, ctx.now));
        }
        if silences.len() > LISTED_MAX {
            card = card.line(format!("and {} more", silences.len() - LISTED_MAX));
        }
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// `/alerts unsilence`.
pub const UNSILENCE: Command = Command {
    spec: || {
        CommandSpec::slash("alerts unsilence", "End a silence before its time").with_right(Right::Respond).needs(
            "silence",
            "Its number, as `/alerts silences` has it",
            OptionKind::Number { min: 1, max: SILENCE_MAX },
        )
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let mut draft = Draft::new(ctx);
        let number = call.number("silence").and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
        let said = alerts::unsilence(&mut draft, &call.who, number)?;
        Ok(draft.say(said))
    },
};
