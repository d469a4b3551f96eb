//! How a group of alerts looks at any moment: one card, edited silently, and the buttons that fit.
//!
//! Pure. Rendered anew from State whenever it is sent. What does not fit is said to be cut, and goes along whole as a file.

use super::{Alert, Alerts, Group, Labels, Level};
use crate::domain::draft::Ctx;
use crate::domain::ids::{AlertId, Thing};
use crate::domain::message::{Button, ButtonStyle, Card, File, Message, Text, Tone};
use crate::domain::schedule::local_words;
use crate::domain::text::{self, alerts as words};
use crate::domain::verbs::alerts;

/// Alerts, or groups, named one by one.
const NAMED_MAX: usize = 8;
/// Resolved alerts named while others fire.
const RESOLVED_NAMED_MAX: usize = 4;
/// Characters of one alert's line.
const LINE_CHARS_MAX: usize = 220;

/// A group's card.
pub fn card(ctx: &Ctx<'_>, group: &Group) -> Message {
    let mut message = Message::line(words::card_line(ctx, group));
    if group.pinged && group.is_unanswered(ctx.now) {
        message = message.and(text::reason("it is critical"));
    }
    let mut card = Card::new(format!("{} · {}", group.id, group.title), tone(ctx, group));
    card = card.row("Status", words::status(ctx, group));
    let others = match group.is_storm() {
        true => storm(ctx, group, &mut card),
        false => single(ctx, group, &mut card),
    };
    if let Some(left_out) = &group.left_out {
        let hook = ctx.workspace.hooks.iter().find(|hook| hook.name == group.source);
        card = card.row("Not sent", words::left_out(left_out, hook.map(|hook| hook.format)));
    }
    if let Some(quiet) = group.quiet.as_ref().filter(|_| group.is_quiet(ctx.now)) {
        card = card.row("Quiet", text::capital(&words::kept_quiet(ctx.workspace, quiet)));
    }
    let first = group.alerts.values().find(|alert| alert.firing).or_else(|| group.alerts.values().next());
    let links = [
        first.and_then(|alert| alert.runbook.as_ref()).map(|url| ("Runbook", url)),
        first.and_then(|alert| alert.url.as_ref()).map(|url| ("At its source", url)),
    ];
    let mut line = Text::default();
    for (label, url) in links.into_iter().flatten() {
        if !line.0.is_empty() {
            line = line.text(" · ");
        }
        line.0.push(crate::domain::message::Span::Link { label: label.to_owned(), url: url.clone() });
    }
    if !line.0.is_empty() {
        card = card.line(line);
    }
    card.footer = Some(format!("from {}", group.source));
    message.card = Some(card);
    if !others.is_empty() {
        message.files.push(File { name: format!("{}.txt", group.id), text: others.join("\n") });
    }
    buttons(ctx, group, &mut message);
    message
}

/// The card on which a group stands that is not its own: it looks otherwise when the group does.
pub fn shown_on(alerts: &Alerts, on: Thing) -> Option<AlertId> {
    let Thing::Alert(id) = on else { return None };
    alerts.get(id)?.card_of
}

fn tone(ctx: &Ctx<'_>, group: &Group) -> Tone {
    match (group.over.is_some(), group.level) {
        (true, _) => Tone::Good,
        _ if group.is_quiet(ctx.now) => Tone::Quiet,
        (_, Level::Critical) => Tone::Bad,
        (_, Level::Warning) => Tone::Warn,
        (_, Level::Info) => Tone::Quiet,
    }
}

/// The alerts, as far as they fit; all of them as lines when they do not.
fn single(ctx: &Ctx<'_>, group: &Group, card: &mut Card) -> Vec<String> {
    let firing = group.firing();
    let mut resolved: Vec<&Alert> = group.alerts.values().filter(|alert| !alert.firing).collect();
    resolved.sort_by_key(|alert| (alert.level, alert.since, &alert.labels));
    let shown = firing.iter().take(NAMED_MAX);
    let mut lines: Vec<String> = shown.map(|alert| line(ctx, group, alert)).collect();
    let left = firing.len().saturating_sub(NAMED_MAX) + usize::try_from(group.beyond).unwrap_or(usize::MAX);
    if left > 0 {
        lines.push(words::more_fire(left));
    }
    if firing.is_empty() {
        lines.extend(resolved.iter().take(NAMED_MAX).map(|alert| line(ctx, group, alert)));
    }
    add(card, if firing.is_empty() { "Fired" } else { "Fires" }, lines);
    if !firing.is_empty() && !resolved.is_empty() {
        let mut lines: Vec<String> =
            resolved.iter().take(RESOLVED_NAMED_MAX).map(|alert| line(ctx, group, alert)).collect();
        if resolved.len() > RESOLVED_NAMED_MAX {
            lines.push(format!("and {} more", resolved.len() - RESOLVED_NAMED_MAX));
        }
        add(card, "Resolved", lines);
    }
    let fits =
        firing.len() <= NAMED_MAX && resolved.len() <= if firing.is_empty() { NAMED_MAX } else { RESOLVED_NAMED_MAX };
    if fits {
        return Vec::new();
    }
    firing.iter().chain(&resolved).map(|alert| whole(ctx, alert)).collect()
}

/// The groups that stand on this card.
fn storm(ctx: &Ctx<'_>, host: &Group, card: &mut Card) -> Vec<String> {
    let mut on: Vec<&Group> = ctx.state.alerts.on_card_of(host.id).collect();
    on.sort_by_key(|group| (group.over.is_some(), group.level, group.id));
    let firing = on.iter().filter(|group| group.over.is_none());
    let lines: Vec<String> = on.iter().take(NAMED_MAX).map(|group| words::in_storm(ctx, group)).collect();
    let (all, firing) = (on.len(), firing.count());
    add(card, &words::storm_counts(firing, all), lines);
    if all <= NAMED_MAX {
        return Vec::new();
    }
    card.fields.push(crate::domain::message::Field {
        name: "The rest".to_owned(),
        value: Text::plain(words::more_groups(all - NAMED_MAX)),
        inline: false,
    });
    on.iter()
        .flat_map(|group| {
            let head = words::in_storm(ctx, group);
            std::iter::once(head).chain(group.alerts.values().map(|alert| format!("    {}", whole(ctx, alert))))
        })
        .collect()
}

fn add(card: &mut Card, name: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let value = Text::plain(lines.join("\n"));
    card.fields.push(crate::domain::message::Field { name: name.to_owned(), value, inline: false });
}

fn line(ctx: &Ctx<'_>, group: &Group, alert: &Alert) -> String {
    let zone = ctx.workspace.team.zone;
    let since = text::clock_of_day(alert.since, ctx.now, zone);
    let told = differing(&group.labels, &alert.labels);
    let words = match (alert.summary.is_empty(), told.is_empty()) {
        (false, true) => alert.summary.clone(),
        (true, true) => alert.name.clone(),
        (true, false) => told,
        (false, false) => format!("{} ({told})", alert.summary),
    };
    let words = text::short(&words, LINE_CHARS_MAX);
    match alert.ended {
        Some(ended) => format!("✓ {words}, {since} to {}", text::clock_of_day(ended, ctx.now, zone)),
        None => {
            let ending = alert.ending.map(|ending| text::clock_of_day(ending.since, ctx.now, zone));
            let ending = ending.map(|since| words::said_over(&since)).unwrap_or_default();
            format!("{} {words}, since {since}{ending}", words::sign(alert.level))
        }
    }
}

/// One alert with everything that is known of it.
fn whole(ctx: &Ctx<'_>, alert: &Alert) -> String {
    let zone = ctx.workspace.team.zone;
    let state = match alert.ended {
        Some(ended) => format!("resolved {}", local_words(ended, zone)),
        None => {
            let ending = alert.ending.map(|ending| words::said_over(&local_words(ending.since, zone)));
            format!("firing since {}{}", local_words(alert.since, zone), ending.unwrap_or_default())
        }
    };
    let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{} {} {state}: {} {{{}}}", alert.level.name(), alert.name, alert.summary, labels.join(", "))
}

/// What tells an alert from the others of its group.
fn differing(common: &Labels, labels: &Labels) -> String {
    const SHOWN_MAX: usize = 4;
    const KNOWN: [&str; 3] = [super::heard::NAME, "severity", "service"];
    let differs = |(name, _): &(&String, &String)| !common.contains_key(*name) && !KNOWN.contains(&name.as_str());
    let shown = labels.iter().filter(differs).take(SHOWN_MAX).map(|(name, value)| format!("{name} {value}"));
    shown.collect::<Vec<_>>().join(", ")
}

fn buttons(ctx: &Ctx<'_>, group: &Group, message: &mut Message) {
    let n = group.id.0;
    if group.over.is_some() {
        return;
    }
    let buttons = &mut message.buttons;
    if group.acknowledged.is_none() && group.incident.is_none() {
        buttons.push(Button::new(format!("alert_ack:{n}"), "I've got it", ButtonStyle::Primary));
    }
    if group.incident.is_none() && !group.is_storm() {
        let label = format!("Declare {}", alerts::severity(ctx, group.level));
        buttons.push(Button::new(format!("alert_declare:{n}"), label, ButtonStyle::Danger));
    }
    if group.is_quiet(ctx.now) {
        buttons.push(Button::new(format!("alert_loud:{n}"), "Quiet no more", ButtonStyle::Plain));
    } else {
        for (span, label) in [("1h", "Quiet for 1 h"), ("4h", "Quiet for 4 h"), ("up", "Quiet until it stays up")] {
            buttons.push(Button::new(format!("alert_quiet:{n}:{span}"), label, ButtonStyle::Plain));
        }
    }
}
