//! `/oncall …`: who is called first, and does it reach them?

use super::{Command, nothing, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::fact::Fact;
use crate::domain::ids::{Person, Thing};
use crate::domain::message::{Card, Message, Text, TimeStyle, Tone};
use crate::domain::oncall;
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::schedule::parse_duration;
use crate::domain::text;

/// Shifts shown ahead, in days.
const SHOWN_DAYS: i64 = 28;
/// Shifts shown.
const SHIFTS_SHOWN_MAX: usize = 6;

fn spec(name: &'static str, help: &'static str) -> CommandSpec {
    CommandSpec::slash(name, help).in_group("Who is called first")
}

/// The name under which shifts know a person.
fn name(ctx: &Ctx<'_>, person: &Person) -> String {
    ctx.workspace.name_of(person).unwrap_or(person.as_str()).to_owned()
}

/// The person behind such a name.
fn person(ctx: &Ctx<'_>, name: &str) -> Person {
    ctx.workspace.person(name).cloned().unwrap_or_else(|| Person::new(name))
}

/// `/oncall show`.
pub const SHOW: Command = Command {
    spec: || spec("oncall show", "Who is called first, now and next, and how each level is reached"),
    needs: nothing,
    decide: |ctx, _, _| {
        let mut card = Card::new("On call", Tone::Quiet);
        card = match ctx.on_call() {
            Some((person, until)) => {
                card.row("Now", Text::default().person(&person).text(", until ").time(until, TimeStyle::Full))
            }
            None => card.row("Now", Text::plain("everybody with the role ").role(ctx.first_role())),
        };
        if let Some(rotation) = &ctx.workspace.oncall.rotation {
            let to = ctx.now + chrono::TimeDelta::days(SHOWN_DAYS);
            let shifts = oncall::shifts(rotation, &ctx.state.team.overrides, ctx.now, to);
            let mut lines = Text::default();
            for (n, shift) in shifts.iter().skip(1).take(SHIFTS_SHOWN_MAX).enumerate() {
                lines = if n > 0 { lines.text("\n") } else { lines };
                lines = lines.time(shift.from, TimeStyle::Full).text(" ").person(&person(&ctx, &shift.person));
            }
            if !lines.is_blank() {
                card = card.row("Next", lines);
            }
        }
        for level in 1..=ctx.policy.levels() {
            let (_, people) = ctx.level(level);
            let roles = text::roles(&ctx.policy.level(level).roles);
            let mut line = Text::plain(roles);
            for (n, person) in people.iter().enumerate() {
                line = line.text(if n == 0 { ": " } else { ", " }).person(person);
            }
            card = card.row(format!("Level {level}"), line);
        }
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// The shortest time that somebody takes, in minutes: below it, nobody would be called in it.
const SHIFT_MINUTES_MIN: i64 = 5;

/// `/oncall take`.
pub const TAKE: Command = Command {
    spec: || {
        spec("oncall take", "You are called first from now on, until the shift ends or for as long as you say")
            .with_right(Right::Respond)
            .takes(
                "for",
                "How long: 4h, 2d; to the end of the running shift when left out",
                OptionKind::Text { chars_max: 20 },
            )
            .takes("why", "Why", OptionKind::Text { chars_max: 200 })
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let mut draft = Draft::new(ctx);
        draft.ctx.require(&call.who, Right::Respond)?;
        let until = match call.word("for") {
            Some(typed) => {
                let length = parse_duration(&typed).map_err(|error| Refusal::because(error.to_string()))?;
                if length < chrono::TimeDelta::minutes(SHIFT_MINUTES_MIN) {
                    return Err(Refusal::because(format!("A shift is at least {SHIFT_MINUTES_MIN} minutes long.")));
                }
                Some(ctx.now + length)
            }
            None => None,
        };
        let who = name(&ctx, &call.who.person);
        let why = call.word("why").unwrap_or_default();
        let rotation = ctx.workspace.oncall.rotation.as_ref();
        let shift = oncall::take(rotation, &ctx.state.team.overrides, &who, ctx.now, until, &why).map_err(sentence)?;
        let line = Text::plain("You are on call until ").time(shift.until, TimeStyle::Full).text(".");
        draft.fact(Thing::Team, Fact::OnCallChanged { shift });
        Ok(draft.say(line))
    },
};

/// `/oncall swap`.
pub const SWAP: Command = Command {
    spec: || {
        spec("oncall swap", "Swap your next shift with somebody's next shift")
            .with_right(Right::Respond)
            .needs("with", "With whom", OptionKind::Person)
            .takes("why", "Why", OptionKind::Text { chars_max: 200 })
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let mut draft = Draft::new(ctx);
        draft.ctx.require(&call.who, Right::Respond)?;
        let with = call.person("with").ok_or_else(|| Refusal::because("Say with whom."))?;
        let (one, other) = (name(&ctx, &call.who.person), name(&ctx, &with));
        let why = call.word("why").unwrap_or_default();
        let rotation = ctx.workspace.oncall.rotation.as_ref();
        let pair = (one.as_str(), other.as_str());
        let shifts = oncall::swap(rotation, &ctx.state.team.overrides, pair, ctx.now, &one, &why).map_err(sentence)?;
        let mut line = Text::plain("Swapped: ");
        for (n, shift) in shifts.into_iter().enumerate() {
            line = if n > 0 { line.text("; ") } else { line };
            line = line.person(&person(&ctx, &shift.person)).text(" from ").time(shift.from, TimeStyle::Full);
            draft.fact(Thing::Team, Fact::OnCallChanged { shift });
        }
        Ok(draft.say(line.text(".")))
    },
};

/// `/oncall test`.
pub const TEST: Command = Command {
    spec: || {
        spec("oncall test", "Page me now, by every way I have, to see that it reaches me").with_right(Right::Respond)
    },
    needs: nothing,
    decide: |ctx, call, _| {
        let mut draft = Draft::new(ctx);
        draft.ctx.require(&call.who, Right::Respond)?;
        if !ctx.state.team.live {
            return Err(Refusal::because(
                "I am only observing, so I page nobody, not even as a test. `/watchbell live` turns me on.",
            ));
        }
        let who = &call.who.person;
        let ways = ctx.workspace.ways(who);
        let names: Vec<&str> = ways.iter().map(crate::domain::workspace::Way::name).collect();
        draft.page(
            None,
            std::slice::from_ref(who),
            "TEST from Watchbell: this is how I would wake you. Nothing is wrong.",
        );
        let mut line = format!("Paging you now by {}.", names.join(", then "));
        if ways.len() == 1 && ways[0] == crate::domain::workspace::Way::Direct {
            line.push_str(" That is a message in this chat alone: it wakes nobody whose phone is silent. Add another way in watchbell.toml.");
        }
        Ok(draft.say(line))
    },
};

/// A refusal of the calendar as a sentence.
fn sentence(refusal: oncall::OnCallRefusal) -> Refusal {
    let words = refusal.to_string();
    let mut chars = words.chars();
    let capital: String = chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect());
    Refusal::because(format!("{capital}."))
}
