//! How a deploy looks at any moment: one card, edited silently, and the buttons that fit.
//!
//! Pure. Rendered anew from State whenever it is sent.

use super::gates::{self, Gate};
use super::scale::Scale;
use super::{Deploy, Kind, Machine, Phase, Plan, Strategy, Verdict, known};
use crate::domain::draft::Ctx;
use crate::domain::fact::Fact;
use crate::domain::hosting::Running;
use crate::domain::ids::{DeployId, Thing};
use crate::domain::message::{Button, ButtonStyle, Card, Choice, Menu, Message, Text, Tone};
use crate::domain::state::State;
use crate::domain::text::{self, capital, deploys, gates as words, pipeline, scale};
use crate::domain::verbs;

/// Machines named one by one; of more, only those that are not done.
const NAMED_MAX: usize = 8;
/// Characters of a menu entry's second line.
const HINT_CHARS_MAX: usize = 90;
/// Cells of the bar.
const BAR_CELLS: usize = 10;

/// The words on the button that starts it.
pub fn yes(plan: &Plan) -> String {
    match plan.kind {
        Kind::Deploy => format!("Deploy {}", plan.to.image),
        Kind::Rollback => format!("Roll back to {}", plan.to.short()),
        Kind::Restart => "Restart now".to_owned(),
        Kind::Scale => scale::yes(plan.scale.as_ref()),
    }
}

/// A deploy's card.
pub fn card(ctx: &Ctx<'_>, deploy: &Deploy) -> Message {
    let plan = &deploy.plan;
    let title = deploys::headline(deploy);
    let title = title.split_once(' ').map_or(title.as_str(), |(_, rest)| rest);
    let mut card = Card::new(format!("{} · {title}", deploy.id), tone(deploy));
    card = card.row("Status", status(deploy));
    if !plan.kind.ships() {
        card = card.field("Runs", plan.from.words());
        if plan.kind == Kind::Scale {
            card = card.field("Before", scale::now(plan));
        }
    } else {
        card = card.field("From", plan.from.words()).field("To", plan.to.words());
    }
    card = match deploy.by_itself {
        true => card.field("Asked by", Text::plain("me, for ").person(&deploy.by)),
        false => {
            card.field("Asked by", pipeline::asked_by(Text::default().person(&deploy.by), deploy.request.as_ref()))
        }
    };
    if let Some(from) = deploy.request.as_ref().and_then(pipeline::made_from) {
        card = card.field("Made from", from);
    }
    if let Some(by) = deploy.started_by.as_ref().filter(|by| **by != deploy.by) {
        card = card.field("Started by", Text::default().person(by));
    }
    if let Some(incident) = deploy.incident {
        card = card.field("For", incident.to_string());
    }
    if let Some(back) = known::taken_back_by(ctx.state.team.deploys.values(), deploy) {
        card = card.field("Taken back by", back.to_string());
    }
    if let Some(started) = deploy.started_at.filter(|_| plan.kind == Kind::Rollback && deploy.verdict.is_none()) {
        let by = deploy.late_at.unwrap_or(started + ctx.policy.deploys.rollback_within.delta());
        card = card
            .field(if deploy.is_late { "Late; was to be done" } else { "To be done" }, Text::default().relative(by));
    }
    if let Some(approval) = &deploy.approval {
        let line = Text::default().person(&approval.by);
        let line = if deploy.is_waiting() { line.text(", until ").clock(approval.until) } else { line };
        card = card.field(
            "Approved by",
            match &approval.own {
                Some(why) => line.text(format!(" ({why})")),
                None => line,
            },
        );
    }
    for passed in &deploy.passed {
        let name = capital(passed.stage.name());
        card = card.row(name, format!("{}: {}", passed.verdict.words(), passed.seen));
    }
    card = card.row("Machines", machines(deploy));
    for plan in &deploy.then {
        card = match deploys::ended_here(deploy) {
            true => card.row(capital(plan.stage.name()), "not touched"),
            false => card.row(format!("Then {}", plan.stage.name()), later(plan)),
        };
    }
    if deploy.is_waiting() && plan.kind == Kind::Deploy {
        card = card.row("Takes", expected(ctx, deploy));
        card = card.row("If it fails", undo(ctx, plan));
    }
    if let Some(command) = words::command(plan).filter(|_| deploy.is_waiting()) {
        card = card.row("Runs first", command);
    }
    if !deploy.checks.is_empty() && deploy.is_waiting() {
        card = card.row("Checks", checks(ctx, deploy));
    }
    for waiver in &deploy.waivers {
        let line = Text::default().person(&waiver.by).text(": ").join(waiver.why.clone());
        card = card.row(format!("Passed: {}", waiver.gate.name()), line);
    }
    if let Some(what) = deploy.revised.as_ref().filter(|_| deploy.is_waiting()) {
        card = card.row("Changed since", capital(what));
    }
    if let Some(why) = &deploy.why {
        card = card.row("Why", why.clone());
    }
    if let Some(seen) = &deploy.seen {
        let label = if deploy.verdict == Some(Verdict::Cancelled) { "Why not" } else { "Seen" };
        card = card.row(label, capital(seen));
    }
    if let Some(trouble) = &deploy.release_trouble {
        let warning = "The next “fly scale” may bring the other image back.";
        let label = match deploy.release {
            Some(_) => "Not closed on Fly's list of releases",
            None => "Not on Fly's list of releases",
        };
        card = card.row(label, format!("{trouble}. {warning}"));
    }
    if (deploy.started_at.is_none() || super::scale::is_zero(plan)) && !plan.notes.is_empty() {
        card = card.row("To know", plan.notes.join("\n"));
    }
    let mut message = Message::line(Text::plain(format!("{}.", deploys::headline(deploy))));
    message.card = Some(card);
    buttons(ctx, deploy, &mut message);
    message
}

fn later(plan: &Plan) -> String {
    format!("{}: {} to {}, {} at once", plan.app, plan.from.words(), plan.to.image, plan.at_once)
}

/// At most so long, by what one machine may take.
pub fn expected(ctx: &Ctx<'_>, deploy: &Deploy) -> String {
    let policy = &ctx.policy.deploys;
    let watched = text::span(policy.watch_for.delta());
    // What is promised of it is what it is held to: it says so when it is late.
    if deploy.plan.kind == Kind::Rollback {
        return format!("to be done in {}, then watched for {watched}", text::span(policy.rollback_within.delta()));
    }
    // Each step may take its whole time: the release opened and closed, what comes before the first machine, each machine in its
    // turn and once more when it is restarted, those that sleep, and the one that is woken in the end.
    let steps = |plan: &Plan| {
        let awake = plan.machines.iter().filter(|machine| machine.is_up()).count();
        let asleep = plan.machines.len() - awake;
        let before = usize::from(plan.release_command.is_some()) + usize::from(plan.strategy == Strategy::Canary);
        let tries = if policy.restart_once { 2 } else { 1 };
        let woken = if awake == 0 { tries } else { 0 };
        2 + before
            + awake.div_ceil(usize::from(plan.at_once.max(1))) * tries
            + asleep.div_ceil(super::run::ASLEEP_AT_ONCE_MAX)
            + woken
    };
    let stages = deploy.stages().count();
    let steps: usize = deploy.stages().map(steps).sum();
    let most = policy.step_within.delta() * i32::try_from(steps).unwrap_or(i32::MAX)
        + policy.settle_for.delta() * i32::try_from(stages).unwrap_or(1);
    format!("{} at most, then watched for {watched}", text::span(most))
}

fn undo(ctx: &Ctx<'_>, plan: &Plan) -> &'static str {
    match (ctx.policy.deploys.roll_back_by_itself, &plan.release_command, &plan.release_command_unknown) {
        (true, None, None) => "I take it back by myself",
        (true, Some(_), _) => "I ask: what the release command changed, the image before may not live with",
        (true, None, Some(_)) => "I ask: whether a release command is missing, nobody knows",
        (false, ..) => "I ask",
    }
}

/// A line a check: ✓, ✗, – for what was not looked at, ⚠ for what somebody passed.
fn checks(ctx: &Ctx<'_>, deploy: &Deploy) -> String {
    let lines = gates::by_now(ctx, deploy);
    let lines: Vec<String> =
        lines.iter().map(|check| format!("{} {}", super::staged::sign(deploy, check), deploys::check(check))).collect();
    lines.join("\n")
}

fn tone(deploy: &Deploy) -> Tone {
    match (deploy.verdict, deploy.went_wrong()) {
        (Some(verdict), _) if verdict.is_good() => Tone::Good,
        (Some(Verdict::Cancelled | Verdict::Superseded), _) => Tone::Quiet,
        (Some(Verdict::Failed | Verdict::Unknown), _) | (None, true) => Tone::Bad,
        _ => Tone::Warn,
    }
}

/// How far it is, in a line.
pub fn status(deploy: &Deploy) -> Text {
    let stopped = |line: Text| match &deploy.stopped_by {
        Some(by) => line.text(", stopped by ").person(by).text(": the machine in hand is finished"),
        None => line,
    };
    match &deploy.phase {
        Phase::Planned { until } => Text::plain("planned; nothing is done before a yes, by ").clock(*until),
        Phase::Scheduled { until } => Text::plain("waits for its hours, ").relative(*until),
        Phase::Preparing { what } => stopped(Text::plain(format!("{} is under way", what.words()))),
        Phase::Crossing => Text::plain(format!(
            "{} done; {} is looked at",
            deploy.plan.stage.name(),
            deploy.then.first().map_or("the next stage", |plan| plan.stage.name())
        )),
        Phase::Opening => Text::plain("started; telling Fly's list of releases"),
        Phase::Rolling => stopped(Text::plain(bar(deploy))),
        Phase::Closing => stopped(Text::plain(format!("{}; telling Fly's list of releases", bar(deploy)))),
        Phase::Settling { until } => {
            deploys::stopped(Text::plain(bar(deploy)), deploy).text("; looked at ").relative(*until)
        }
        Phase::Judging => Text::plain("being looked at from outside"),
        Phase::Watching { until } => {
            let word = Text::plain(deploy.verdict.map_or("", Verdict::words));
            deploys::stopped(word, deploy).text("; watched until ").clock(*until)
        }
        Phase::LastLook => Text::plain("the last look is being taken"),
        Phase::Over => deploys::stopped(Text::plain(deploy.verdict.map_or("over", Verdict::words)), deploy),
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
        all.filter(is_told).take(NAMED_MAX).map(|(planned, machine)| one(&deploy.plan, planned, machine)).collect();
    match (lines.is_empty(), deploy.machines.len()) {
        (true, count) => Text::plain(format!("{count}, {} at once", deploy.plan.at_once)),
        (false, count) if count > lines.len() => Text::plain(format!("{}\n… and others of {count}", lines.join("\n"))),
        _ => Text::plain(lines.join("\n")),
    }
}

fn one(plan: &Plan, planned: &Running, machine: &Machine) -> String {
    let name = format!("{} {}", planned.region, planned.id);
    let asleep = match (planned.is_up(), &plan.scale) {
        (true, _) => "",
        (false, Some(Scale::Count { .. } | Scale::Again { .. } | Scale::Zero)) => ", stopped",
        (false, _) => ", stopped: changed and left so",
    };
    match machine {
        Machine::Waiting => format!("· {name}{asleep}"),
        Machine::InHand { .. } => format!("▸ {name}: in hand"),
        Machine::Done => format!("✓ {name}"),
        Machine::Failed { says, .. } => format!("✗ {name}: {}", text::short(says, 160)),
        Machine::Left => format!("– {name}: left as it was"),
    }
}

fn buttons(ctx: &Ctx<'_>, deploy: &Deploy, message: &mut Message) {
    let n = deploy.id.0;
    let has_more = !deploy.then.is_empty() && deploy.is_started();
    message.buttons = match deploy.phase {
        Phase::Planned { .. } | Phase::Scheduled { .. } if deploy.plan.kind == Kind::Deploy => {
            message.menu = waivable(ctx, deploy);
            planned(ctx, deploy)
        }
        Phase::Planned { .. } | Phase::Scheduled { .. } => yes_buttons(deploy),
        Phase::Opening | Phase::Preparing { .. } | Phase::Rolling if deploy.stopped_by.is_none() => {
            while_it_runs(deploy)
        }
        Phase::Settling { .. } | Phase::Judging | Phase::Crossing if has_more && deploy.stopped_by.is_none() => {
            vec![Button::new(format!("stop:{n}"), "Stop", ButtonStyle::Danger)]
        }
        // What came after it is what can be acted on now: "Roll back" here would take that back.
        Phase::Over if was_followed(ctx, deploy) => Vec::new(),
        Phase::Over => ways_on(ctx, deploy),
        _ => Vec::new(),
    };
}

/// Stop; and the way out when it is too late for a rollback.
pub fn while_it_runs(deploy: &Deploy) -> Vec<Button> {
    let stop = Button::new(format!("stop:{}", deploy.id.0), "Stop", ButtonStyle::Danger);
    if deploy.is_late { vec![stop, restart(&deploy.plan)] } else { vec![stop] }
}

fn restart(plan: &Plan) -> Button {
    let action = format!("restart:{}:{}", plan.stage.name(), plan.service);
    Button::new(action, "Restart the machines", ButtonStyle::Danger)
}

/// Whether something else was started on the same app since.
fn was_followed(ctx: &Ctx<'_>, deploy: &Deploy) -> bool {
    let mut later = ctx.state.team.deploys.range(DeployId(deploy.id.0.saturating_add(1))..);
    later.any(|(_, other)| other.plan.app == deploy.plan.app && other.started_at.is_some())
}

/// The cards that a fact about one deploy changes beside its own: those that it follows lose their buttons, and say whether it took
/// them back.
pub fn shown_on(state: &State, on: Thing, fact: &Fact) -> Vec<DeployId> {
    let (Thing::Deploy(id), Fact::DeployStarted { .. } | Fact::DeployJudged { .. }) = (on, fact) else {
        return Vec::new();
    };
    let Some(app) = state.team.deploys.get(&id).map(|deploy| &deploy.plan.app) else { return Vec::new() };
    let earlier = state.team.deploys.range(..id).filter(|(_, other)| other.plan.app == *app && !other.is_open());
    earlier.map(|(id, _)| *id).collect()
}

/// Yes and no.
pub fn yes_buttons(deploy: &Deploy) -> Vec<Button> {
    let n = deploy.id.0;
    vec![
        Button::new(format!("go:{n}:{}", deploy.mark()), yes(&deploy.plan), ButtonStyle::Danger),
        Button::new(format!("no:{n}"), "Cancel", ButtonStyle::Plain),
    ]
}

/// What can be done with the plan of a deploy: those that fit the moment, five at most.
fn planned(ctx: &Ctx<'_>, deploy: &Deploy) -> Vec<Button> {
    let n = deploy.id.0;
    let is_approved = deploy.approval.as_ref().is_some_and(|approval| approval.until > ctx.now);
    let mut buttons = match is_approved || verbs::deploy::own(ctx).is_some() {
        true => vec![Button::new(format!("go:{n}:{}", deploy.mark()), "Start", ButtonStyle::Danger)],
        false => {
            let action = format!("approve:{n}:{}", deploy.mark());
            vec![Button::new(action, "Approve and start", ButtonStyle::Success)]
        }
    };
    if !is_approved && verbs::deploy::own(ctx).is_none() && verbs::deploy::glass(ctx, deploy).is_some() {
        buttons.push(Button::new(format!("glass:{n}"), "Break glass", ButtonStyle::Danger));
    }
    let now = gates::by_now(ctx, deploy);
    let refuses = |gate: Gate| gates::refusing(&now, &deploy.waivers).any(|check| check.gate == gate);
    if refuses(Gate::Checklist) {
        buttons.push(Button::new(format!("checklist:{n}"), "Checklist", ButtonStyle::Primary));
    }
    if refuses(Gate::Window) && !matches!(deploy.phase, Phase::Scheduled { .. }) {
        buttons.push(Button::new(format!("schedule:{n}"), "Schedule", ButtonStyle::Plain));
    }
    buttons.push(Button::new(format!("change:{n}"), "Change", ButtonStyle::Plain));
    buttons.push(Button::new(format!("no:{n}"), "Cancel", ButtonStyle::Plain));
    buttons
}

/// The checks that somebody may pass with a reason.
fn waivable(ctx: &Ctx<'_>, deploy: &Deploy) -> Option<Menu> {
    let now = gates::by_now(ctx, deploy);
    let choices: Vec<Choice> = gates::refusing(&now, &deploy.waivers)
        .filter(|check| !ctx.policy.deploys.may_override(check.gate).is_empty())
        .map(|check| Choice {
            hint: Some(text::short(&check.says, HINT_CHARS_MAX)),
            ..Choice::new(check.gate.name(), capital(check.gate.name()))
        })
        .collect();
    let (action, placeholder) = (format!("pass:{}", deploy.id.0), "Pass a check with a reason…".to_owned());
    (!choices.is_empty()).then_some(Menu { action, placeholder, choices })
}

/// What can be done when it did not end well.
pub fn ways_on(ctx: &Ctx<'_>, deploy: &Deploy) -> Vec<Button> {
    let mut ways = ways(deploy);
    if super::scale::is_at_its_end(ctx, deploy) {
        ways.push(zero(&deploy.plan, "Scale to zero (emergency)"));
    }
    ways
}

/// Opens the form in which it is typed out.
fn zero(plan: &Plan, label: &str) -> Button {
    let action = format!("{}:{}:{}", verbs::scale::ZERO, plan.stage.name(), plan.service);
    Button::new(action, label, ButtonStyle::Danger)
}

fn ways(deploy: &Deploy) -> Vec<Button> {
    let Some(verdict) = deploy.verdict else { return Vec::new() };
    let plan = &deploy.plan;
    let about = format!("{}:{}", plan.stage.name(), plan.service);
    let restart = restart(plan);
    let again = Button::new(format!("again:{}", deploy.id.0), "Try again", ButtonStyle::Primary);
    let back = |label: &str| Button::new(format!("rollback:{about}"), label, ButtonStyle::Danger);
    let image_is_bad = deploy.trouble().is_some_and(|(_, trouble, _)| trouble.is_of_the_image());
    let start = || Button::new(format!("{}:{about}", verbs::scale::START_AGAIN), "Start again", ButtonStyle::Success);
    match (verdict, plan.kind) {
        (Verdict::OffLine, _) => vec![start()],
        (
            Verdict::Succeeded
            | Verdict::Done
            | Verdict::Cancelled
            | Verdict::Superseded
            | Verdict::Stopped
            | Verdict::ServingAlthoughFailed,
            _,
        ) => Vec::new(),
        // Nothing was changed: there is nothing to take back.
        (Verdict::ServingTheOld, Kind::Deploy) => vec![again],
        (_, Kind::Rollback) if image_is_bad => vec![back("Roll back further"), again, restart],
        (_, Kind::Rollback) => vec![again, restart],
        (_, Kind::Deploy) => vec![back("Roll back"), again],
        (_, Kind::Restart) => vec![back("Roll back"), again],
        (_, Kind::Scale) if super::scale::is_zero(plan) => vec![zero(plan, "Try again"), start()],
        (_, Kind::Scale) => vec![again],
    }
}
