//! How a deploy looks at any moment: one card, edited silently, and the buttons that fit.
//!
//! Pure. Rendered anew from State whenever it is sent.

use super::{Deploy, Kind, Machine, Phase, Plan, Verdict};
use crate::domain::draft::Ctx;
use crate::domain::hosting::Running;
use crate::domain::message::{Button, ButtonStyle, Card, Message, Text, Tone};
use crate::domain::text::{self, capital, deploys};

/// Machines named one by one; of more, only those that are not done.
const NAMED_MAX: usize = 8;
/// Cells of the bar.
const BAR_CELLS: usize = 10;

/// The words on the button that starts it.
pub fn yes(plan: &Plan) -> String {
    match plan.kind {
        Kind::Deploy => format!("Deploy {}", plan.to.short()),
        Kind::Rollback => format!("Roll back to {}", plan.to.short()),
        Kind::Restart => "Restart now".to_owned(),
    }
}

/// A deploy's card.
pub fn card(ctx: &Ctx<'_>, deploy: &Deploy) -> Message {
    let plan = &deploy.plan;
    let mut card = Card::new(format!("{} · {}", deploy.id, capital(&deploys::intent(plan))), tone(deploy));
    card = card.row("Status", status(deploy));
    if plan.kind == Kind::Restart {
        card = card.field("Runs", plan.from.words());
    } else {
        card = card.field("From", plan.from.words()).field("To", plan.to.words());
    }
    card = card.field("Asked by", Text::default().person(&deploy.by));
    if let Some(by) = deploy.started_by.as_ref().filter(|by| **by != deploy.by) {
        card = card.field("Started by", Text::default().person(by));
    }
    if let Some(incident) = deploy.incident {
        card = card.field("For", incident.to_string());
    }
    if let Some(started) = deploy.started_at.filter(|_| plan.kind == Kind::Rollback && deploy.verdict.is_none()) {
        card = card.field("To be done", Text::default().relative(started + ctx.policy.deploys.rollback_within.delta()));
    }
    card = card.row("Machines", machines(deploy));
    if let Some(why) = &deploy.why {
        card = card.row("Why", why.clone());
    }
    if let Some(seen) = &deploy.seen {
        card = card.row("Seen", capital(seen));
    }
    if let Some(trouble) = &deploy.release_trouble {
        let warning = "The next “fly scale” may bring the other image back.";
        let label = match deploy.release {
            Some(_) => "Not closed on Fly's list of releases",
            None => "Not on Fly's list of releases",
        };
        card = card.row(label, format!("{trouble}. {warning}"));
    }
    if deploy.started_at.is_none() && !plan.notes.is_empty() {
        card = card.row("To know", plan.notes.join("\n"));
    }
    let mut message = Message::line(Text::plain(format!("{}.", deploys::headline(deploy))));
    message.card = Some(card);
    message.buttons = buttons(deploy);
    message
}

fn tone(deploy: &Deploy) -> Tone {
    match (deploy.verdict, deploy.trouble()) {
        (Some(verdict), _) if verdict.is_good() => Tone::Good,
        (Some(Verdict::Cancelled | Verdict::Superseded), _) => Tone::Quiet,
        (Some(Verdict::Failed | Verdict::Unknown), _) | (None, Some(_)) => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn status(deploy: &Deploy) -> Text {
    let stopped = |line: Text| match &deploy.stopped_by {
        Some(by) => line.text(", stopped by ").person(by).text(": the machine in hand is finished"),
        None => line,
    };
    match &deploy.phase {
        Phase::Planned { until } => Text::plain("planned; nothing is done before a yes, by ").clock(*until),
        Phase::Opening => Text::plain("started; telling Fly's list of releases"),
        Phase::Rolling => stopped(Text::plain(bar(deploy))),
        Phase::Closing => stopped(Text::plain(format!("{}; telling Fly's list of releases", bar(deploy)))),
        Phase::Settling { until } => Text::plain(format!("{}; looked at ", bar(deploy))).relative(*until),
        Phase::Judging => Text::plain("being looked at from outside"),
        Phase::Watching { until } => {
            let word = deploy.verdict.map_or("", Verdict::words);
            Text::plain(format!("{word}; watched until ")).clock(*until)
        }
        Phase::LastLook => Text::plain("the last look is being taken"),
        Phase::Over => Text::plain(deploy.verdict.map_or("over", Verdict::words)),
    }
}

/// "▓▓▓▓░░ 2 of 3".
fn bar(deploy: &Deploy) -> String {
    let (done, all) = (deploy.done(), deploy.machines.len());
    let full = (done * BAR_CELLS).checked_div(all).unwrap_or(0);
    format!("{}{} {done} of {all}", "▓".repeat(full), "░".repeat(BAR_CELLS - full))
}

fn machines(deploy: &Deploy) -> Text {
    let all = deploy.plan.machines.iter().zip(&deploy.machines);
    let is_told = |(_, machine): &(&Running, &Machine)| {
        deploy.machines.len() <= NAMED_MAX || !matches!(machine, Machine::Waiting | Machine::Done)
    };
    let lines: Vec<String> =
        all.filter(is_told).take(NAMED_MAX).map(|(planned, machine)| one(planned, machine)).collect();
    match (lines.is_empty(), deploy.machines.len()) {
        (true, count) => Text::plain(format!("{count}, {} at once", deploy.plan.at_once)),
        (false, count) if count > lines.len() => Text::plain(format!("{}\n… and others of {count}", lines.join("\n"))),
        _ => Text::plain(lines.join("\n")),
    }
}

fn one(planned: &Running, machine: &Machine) -> String {
    let name = format!("{} {}", planned.region, planned.id);
    let asleep = if planned.is_up() { "" } else { ", stopped: changed and left so" };
    match machine {
        Machine::Waiting => format!("· {name}{asleep}"),
        Machine::InHand { .. } => format!("▸ {name}: in hand"),
        Machine::Done => format!("✓ {name}"),
        Machine::Failed { says, .. } => format!("✗ {name}: {}", text::short(says, 160)),
        Machine::Left => format!("– {name}: left as it was"),
    }
}

fn buttons(deploy: &Deploy) -> Vec<Button> {
    let n = deploy.id.0;
    match deploy.phase {
        Phase::Planned { .. } => vec![
            Button::new(format!("go:{n}"), yes(&deploy.plan), ButtonStyle::Danger),
            Button::new(format!("no:{n}"), "Cancel", ButtonStyle::Plain),
        ],
        Phase::Opening | Phase::Rolling if deploy.stopped_by.is_none() => {
            vec![Button::new(format!("stop:{n}"), "Stop", ButtonStyle::Danger)]
        }
        Phase::Over => ways_on(deploy),
        _ => Vec::new(),
    }
}

/// What can be done when it did not end well.
pub fn ways_on(deploy: &Deploy) -> Vec<Button> {
    let Some(verdict) = deploy.verdict else { return Vec::new() };
    let plan = &deploy.plan;
    let about = format!("{}:{}", plan.stage.name(), plan.service);
    let restart = Button::new(format!("restart:{about}"), "Restart the machines", ButtonStyle::Danger);
    let again = Button::new(format!("again:{}", deploy.id.0), "Try again", ButtonStyle::Primary);
    let back = |label: &str| Button::new(format!("rollback:{about}"), label, ButtonStyle::Danger);
    let image_is_bad = deploy.trouble().is_some_and(|(_, trouble, _)| trouble.is_of_the_image());
    match (verdict, plan.kind) {
        (
            Verdict::Succeeded
            | Verdict::Done
            | Verdict::Cancelled
            | Verdict::Superseded
            | Verdict::ServingAlthoughFailed,
            _,
        ) => Vec::new(),
        (_, Kind::Rollback) if image_is_bad => vec![back("Roll back further"), again, restart],
        (_, Kind::Rollback) => vec![again, restart],
        (_, Kind::Deploy) => vec![back("Roll back"), again],
        (_, Kind::Restart) => vec![back("Roll back"), again],
    }
}
