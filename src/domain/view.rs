//! What an incident looks like at any moment: its card, its thread's title.
//!
//! Pure. Rendered anew from State whenever it is sent; the newest wins. A view says "I don't know" rather than ✓.

use chrono::{DateTime, Utc};

use super::deploy::known;
use super::draft::Ctx;
use super::fact::{Fact, Moment, Part, Status};
use super::incident::Incident;
use super::message::{Button, ButtonStyle, Card, Choice, Menu, Message, Text, Tone};
use super::policy::Severity;
use super::promise::PromiseKind;
use super::releases;
use super::text;
use super::verbs::ship;

/// The longest title of a thread, in characters.
const THREAD_TITLE_CHARS_MAX: usize = 90;

/// Releases that a card shows.
const DEPLOYED_MAX: usize = 3;

/// The title of an incident's thread.
pub fn thread_title(incident: &Incident) -> String {
    let mark = match incident.status {
        Status::Investigating | Status::Mitigating => incident.severity.to_string(),
        status => status.name().to_owned(),
    };
    text::short(&format!("{} · {mark} · {}", incident.id, incident.title), THREAD_TITLE_CHARS_MAX)
}

/// An incident's card, with the buttons that fit the moment.
pub fn card(ctx: &Ctx<'_>, incident: &Incident) -> Message {
    let ack_by = incident.promise(PromiseKind::Acknowledge).map(|promise| promise.due);
    let mut card = Card::new(format!("{} · {}", incident.id, incident.title), tone(incident));
    card = card.field("Severity", incident.severity.to_string());
    card = card.field("Status", status_line(ctx, incident));
    card = card.field(
        "Lead",
        match incident.lead() {
            Some(lead) => Text::default().person(lead),
            None => Text::plain("nobody yet"),
        },
    );
    for (part, who) in incident.parts.iter().filter(|(part, _)| **part != Part::Lead) {
        card = card.field(text::capital(part.name()), Text::default().person(who));
    }
    if !incident.services.is_empty() {
        let names: Vec<&str> = incident.services.iter().map(|service| service.as_str()).collect();
        card = card.field("Services", names.join(", "));
    }
    card = card.field("Running", running(incident, ctx.now));
    if let Some(deployed) = deployed(ctx, incident) {
        card = card.row("Deployed", deployed);
    }
    if let Some(promised) = promised(incident, ctx.now) {
        card = card.row("Promised next", promised);
    }
    if let Some(verify) = incident.verify.as_ref().filter(|_| incident.status == Status::Monitoring) {
        card = card.row("Verification", verification(verify));
    }
    if let Some((at, by, what)) = &incident.last_update {
        let line = what.clone().text(" — ").person(by).text(" ").relative(*at);
        card = card.row("Last update", line);
    }
    if !incident.details.is_blank() && incident.last_update.is_none() {
        card = card.row("Details", details(incident));
    }
    card = card.row("Promises", text::capital(&text::kept(incident, ctx.now)));
    let mut message = Message::line(text::card_line(incident, ack_by.filter(|_| incident.status.is_open())));
    message.card = Some(card);
    buttons(ctx, incident, &mut message);
    message
}

fn tone(incident: &Incident) -> Tone {
    match (incident.status, incident.severity) {
        (Status::Resolved | Status::Reviewed, _) => Tone::Good,
        (Status::Cancelled, _) => Tone::Quiet,
        (Status::Monitoring, _) => Tone::Warn,
        (_, Severity::Sev1) => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn status_line(ctx: &Ctx<'_>, incident: &Incident) -> Text {
    let line = Text::plain(incident.status.name());
    let is_worked_on = matches!(incident.status, Status::Investigating | Status::Mitigating);
    match (&incident.acknowledged_by, incident.status.is_open()) {
        // How the service is now is worth more than who is there: that stands in the next line.
        _ if incident.recovered && is_worked_on => line.text(", answers again").text(because(ctx, incident)),
        (None, true) => line.text(", not acknowledged"),
        _ => line,
    }
}

/// What was seen when it opened by itself is no news once the service answers: it says of when it is.
fn details(incident: &Incident) -> Text {
    let is_over = incident.recovered || !incident.status.is_open();
    match incident.time(Moment::Detected).filter(|_| is_over && incident.declared_by.is_none()) {
        Some(at) => Text::plain("at ").clock(at).text(", when it opened: ").join(incident.details.clone()),
        None => incident.details.clone(),
    }
}

/// What was done meanwhile, beside that it answers again.
fn because(ctx: &Ctx<'_>, incident: &Incident) -> String {
    let since = incident.time(Moment::Started).unwrap_or(ctx.now);
    let recovered = incident.timeline.iter().rev().find(|entry| matches!(entry.fact, Fact::Recovered { .. }));
    let until = recovered.map_or(ctx.now, |entry| entry.at);
    let did = incident.services.iter().find_map(|service| known::between(ctx, service, since, until));
    did.map_or(String::new(), |deploy| format!("; {}", text::deploys::did(deploy)))
}

fn running(incident: &Incident, now: DateTime<Utc>) -> Text {
    match (incident.time(Moment::Started), incident.closed_at) {
        // A relative time keeps itself true without an edit.
        (Some(started), None) => Text::plain("since ").relative(started),
        _ => Text::plain(text::span(incident.age(now))),
    }
}

fn promised(incident: &Incident, now: DateTime<Utc>) -> Option<Text> {
    let (kind, promise) = incident.next_promise()?;
    let line = Text::plain(format!("{} ", text::capital(kind.name()))).relative(promise.due);
    Some(if promise.due < now { line.text(" (late)") } else { line })
}

/// What was put up lately, newest first: the likeliest cause stands where everybody looks.
fn deployed(ctx: &Ctx<'_>, incident: &Incident) -> Option<Text> {
    if !incident.status.is_open() {
        return None;
    }
    let many = incident.services.len() > 1;
    let lines = releases::recent(ctx, &incident.services).into_iter().take(DEPLOYED_MAX).map(|(service, release)| {
        let line = text::releases::deployed(release);
        if many { Text::plain(format!("{service} ")).join(line) } else { line }
    });
    lines.reduce(|all, line| all.text("\n").join(line))
}

fn verification(verify: &super::incident::Verify) -> Text {
    if verify.passed {
        return Text::plain("✓ passed");
    }
    let begins = match (verify.held, verify.watched) {
        (true, _) => "✗ what is measured was critical at ",
        (false, true) => "green since ",
        (false, false) => "by the clock since ",
    };
    let line = Text::plain(begins).clock(verify.since).text(", until ").clock(verify.until);
    if verify.resolve { line.text("; resolves by itself then") } else { line }
}

/// Few, and those that fit the moment; the rest stands in one menu.
fn buttons(ctx: &Ctx<'_>, incident: &Incident, message: &mut Message) {
    let n = incident.id.0;
    let own = |action: &str, label: &str, style| Button::new(format!("{action}:{n}"), label, style);
    let take_back = releases::button(ctx, incident);
    let buttons = &mut message.buttons;
    match incident.status {
        Status::Investigating | Status::Mitigating if !incident.is_acknowledged() => {
            buttons.push(own("ack", "I've got it", ButtonStyle::Primary));
            // A page just after a deploy: the way back is on the same screen.
            buttons.extend(take_back);
            buttons.push(own("severity", "Severity", ButtonStyle::Plain));
            buttons.push(own("cancel", "Not an incident", ButtonStyle::Plain));
        }
        Status::Investigating | Status::Mitigating => {
            buttons.push(own("update", "Update", ButtonStyle::Primary));
            buttons.push(own("mitigated", "Mitigated", ButtonStyle::Success));
            buttons.push(own("wake", "Wake others", ButtonStyle::Danger));
            let some = || {
                let service = ship::offered(ctx, &incident.services)?;
                Some(Button::new(format!("rollback:production:{service}"), "Roll back", ButtonStyle::Danger))
            };
            buttons.extend(take_back.or_else(some));
        }
        Status::Monitoring => {
            let passed = incident.verify.as_ref().is_none_or(|verify| verify.passed);
            let resolve = if passed { "Resolve" } else { "Resolve when green" };
            buttons.push(own("resolve", resolve, ButtonStyle::Success));
            buttons.push(own("broken", "Still broken", ButtonStyle::Danger));
            buttons.push(own("update", "Update", ButtonStyle::Plain));
        }
        Status::Resolved | Status::Cancelled => {
            if incident.promise(PromiseKind::Review).is_some() {
                buttons.push(own("review", "Review written", ButtonStyle::Success));
            }
            let within = ctx.policy.incidents.reopen_within.delta();
            if incident.closed_at.is_some_and(|at| ctx.now - at <= within) {
                buttons.push(own("reopen", "Reopen", ButtonStyle::Plain));
            }
            buttons.push(own("timeline", "Timeline", ButtonStyle::Plain));
        }
        Status::Reviewed => buttons.push(own("timeline", "Timeline", ButtonStyle::Plain)),
    }
    if incident.status.is_open() {
        message.menu = Some(more(incident));
    }
}

/// Everything else that can be done.
fn more(incident: &Incident) -> Menu {
    let mut choices = vec![
        Choice::new("severity", "Change severity"),
        Choice::new("timeline", "Timeline"),
        Choice::new("lead", "Take the lead"),
        Choice::new("scribe", "Take notes (scribe)"),
        Choice::new("liaison", "Talk to others (liaison)"),
        Choice::new("snooze", "Snooze the reminder 10 min"),
    ];
    if incident.is_acknowledged() {
        choices.push(Choice::new("cancel", "Not an incident"));
    } else {
        choices.push(Choice::new("update", "Update"));
        choices.push(Choice::new("mitigated", "Mitigated"));
    }
    Menu { action: format!("more:{}", incident.id.0), placeholder: "More…".to_owned(), choices }
}
