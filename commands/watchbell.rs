//! `/watchbell …`: the bot about itself.

use super::{Command, nothing, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::fact::Fact;
use crate::domain::ids::Thing;
use crate::domain::input::{Call, Query};
use crate::domain::message::{Card, Message, Text, TimeStyle, Tone};
use crate::domain::policy::{JobKind, Right};
use crate::domain::refusal::Refusal;
use crate::domain::schedule::Schedule;
use crate::domain::{jobs, text};

fn spec(name: &'static str, help: &'static str) -> CommandSpec {
    CommandSpec::slash(name, help).in_group("The bot about itself")
}

/// `/watchbell status`.
pub const STATUS: Command = Command {
    spec: || spec("watchbell status", "Is the bot well: version, connections, what waits, how late it has been"),
    needs: |_, _| vec![Query::Itself],
    decide: |ctx, _, answers| {
        let mut card = Card::new("Watchbell", Tone::Good);
        card = card.field("Mode", if ctx.state.team.live { "live" } else { "observing: pings and pages nobody" });
        if let Some(itself) = &answers.itself {
            card = card.field("Version", itself.version.clone());
            if let Some(since) = itself.up_since {
                card = card.field("Up", Text::plain("since ").relative(since));
            }
            card = card.field("Starts", ctx.state.team.starts.to_string());
            for (name, well, says) in &itself.parts {
                if !well {
                    card.tone = Tone::Warn;
                }
                card = card.row(name.clone(), format!("{} {says}", if *well { "✓" } else { "⚠" }));
            }
            if let Some(caught_up) = &itself.caught_up {
                card = card.row("Last restart", caught_up.clone());
            }
        } else {
            card.tone = Tone::Warn;
            card = card.row("Connections", "? could not be asked in time");
        }
        let open = ctx.state.open().count();
        card = card.row("Incidents", format!("{open} open"));
        card = card.row("Promises", lateness(&ctx));
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// How the promises in memory were kept.
fn lateness(ctx: &Ctx<'_>) -> String {
    let (mut kept, mut late, mut worst) = (0u32, 0u32, 0u64);
    for incident in ctx.state.incidents.values() {
        kept += incident.tally.kept;
        late += incident.tally.late;
        worst = worst.max(incident.tally.worst_late_s);
    }
    if late == 0 {
        return format!("{kept} kept on time, none late");
    }
    let worst = chrono::TimeDelta::seconds(i64::try_from(worst).unwrap_or(0));
    format!("{kept} kept on time, {late} late, the worst by {}", text::span(worst))
}

/// `/watchbell schedule`.
pub const SCHEDULE: Command = Command {
    spec: || spec("watchbell schedule", "What runs by the calendar, in words and with the next times"),
    needs: nothing,
    decide: |ctx, _, _| {
        /// Times shown a job.
        const TIMES_SHOWN: usize = 3;
        let zone = ctx.workspace.team.zone;
        let mut card = Card::new("Schedule", Tone::Quiet).line(format!("All times of the calendar are in {zone}."));
        for job in &ctx.policy.jobs {
            let words = Schedule::parse(&job.cron).map_or_else(|error| error.to_string(), |line| line.in_words());
            let mut line = Text::plain(format!("{words}; next "));
            let mut at = ctx.now;
            for n in 0..TIMES_SHOWN {
                let Some(next) = jobs::next(&ctx, job, at) else { break };
                line = if n == 0 { line } else { line.text(", ") }.time(next, TimeStyle::Full);
                at = next;
            }
            card = card.row(job.name.clone(), line);
        }
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// `/watchbell run`.
pub const RUN: Command = Command {
    spec: || {
        spec("watchbell run", "Run one of the calendar's jobs now").with_right(Right::Respond).needs(
            "job",
            "Which",
            OptionKind::Completed("jobs"),
        )
    },
    needs: |ctx, call| {
        let name = call.word("job").unwrap_or_default();
        let digest = ctx.policy.jobs.iter().any(|job| job.name == name && job.does == JobKind::Digest);
        if digest { jobs::digest_needs(ctx) } else { Vec::new() }
    },
    decide: |ctx, call, answers| {
        let mut draft = Draft::new(ctx);
        draft.ctx.require(&call.who, Right::Respond)?;
        let name = call.word("job").unwrap_or_default();
        jobs::run(&mut draft, &name, true, answers)?;
        let channel = if ctx.state.team.live { "incidents" } else { "test" };
        Ok(draft.say(format!("“{name}” ran; what it says is in the {channel} channel.")))
    },
};

/// `/watchbell live`.
pub const LIVE: Command = Command {
    spec: || spec("watchbell live", "Ping, page and act from now on").with_right(Right::Admin),
    needs: nothing,
    decide: |ctx, call, _| switch(ctx, call, true),
};

/// `/watchbell observe`.
pub const OBSERVE: Command = Command {
    spec: || spec("watchbell observe", "Only show what would be done: ping and page nobody").with_right(Right::Admin),
    needs: nothing,
    decide: |ctx, call, _| switch(ctx, call, false),
};

fn switch(ctx: Ctx<'_>, call: &Call, live: bool) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(ctx);
    draft.ctx.require(&call.who, Right::Admin)?;
    if ctx.state.team.live == live {
        return Ok(draft.say(if live { "I am live already." } else { "I am only observing already." }));
    }
    let by = call.who.person.clone();
    if !live {
        // What has not gone out would still ring.
        let rings: Vec<_> =
            ctx.state.pending.values().filter(|effect| effect.rings()).map(|effect| (effect.on, effect.id)).collect();
        for (on, effect) in rings {
            draft.fact(on, Fact::Withdrawn { effect, why: "only observing now".to_owned() });
        }
    }
    draft.fact(Thing::Team, if live { Fact::WentLive { by } } else { Fact::WentObserving { by } });
    Ok(draft.say(if live {
        "Live: from now on I ping, page and act."
    } else {
        "Observing: everything goes to the test channel, and I ping and page nobody."
    }))
}
