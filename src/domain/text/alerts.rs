//! What the bot says about alerts and silences.
//!
//! Pure. One function a sentence, as in `text.rs`.

use chrono::{DateTime, Utc};

use super::{clock_of_day, short, span};
use crate::domain::alerts::{GROUPS_MAX, Group, LeftOut, Level, Quiet, Silence};
use crate::domain::draft::Ctx;
use crate::domain::ids::{AlertId, IncidentId, Person};
use crate::domain::message::{Span, Text, TimeStyle};
use crate::domain::policy::Severity;
use crate::domain::workspace::{HookFormat, Workspace};

/// Characters of a summary in a card's first line.
const LOCK_SCREEN_CHARS: usize = 90;

/// The mark of a level, beside its word: never the only carrier of its meaning.
pub fn sign(level: Level) -> &'static str {
    match level {
        Level::Critical => "✗",
        Level::Warning => "⚠",
        Level::Info => "ℹ",
    }
}

/// "CRITICAL ALR-3 checkout: HighErrorRate".
pub fn headline(group: &Group) -> String {
    let level = match group.level {
        Level::Critical => "CRITICAL ",
        Level::Warning => "Warning ",
        Level::Info => "",
    };
    format!("{level}{} {}", group.id, group.title)
}

/// The first line of a card: what a lock screen shows.
pub fn card_line(ctx: &Ctx<'_>, group: &Group) -> Text {
    if group.over.is_some() {
        return Text::plain(format!("{} {}: over.", group.id, group.title));
    }
    if group.is_storm() {
        return Text::plain(format!("{}.", headline(group)));
    }
    let summary = group.firing().first().map(|alert| alert.summary.clone()).filter(|summary| !summary.is_empty());
    let line = match summary {
        Some(summary) => {
            let summary = short(&summary, LOCK_SCREEN_CHARS);
            let stop = if summary.ends_with(['.', '!', '?', '…']) { "" } else { "." };
            format!("{}. {summary}{stop}", headline(group))
        }
        None => format!("{}.", headline(group)),
    };
    let asks = group.level == Level::Critical && group.is_unanswered(ctx.now);
    Text::plain(match () {
        () if group.is_ending() => format!("{line} It is said to be over."),
        () if asks => format!("{line} Somebody has to look."),
        () => line,
    })
}

/// How it stands, in one line.
pub fn status(ctx: &Ctx<'_>, group: &Group) -> Text {
    let policy = &ctx.policy.alerts;
    let flaps = group.flaps(ctx.now, usize::from(policy.flapping_changes), policy.flapping_within.delta());
    let flapping = if flaps { ", flapping" } else { "" };
    let line = match group.over {
        Some(over) => {
            let lasted = span(over - group.opened);
            let came = match (&group.acknowledged, group.incident) {
                (None, None) if group.pinged => ", before anybody came",
                _ => "",
            };
            Text::plain(format!("Over{flapping} since "))
                .time(over, TimeStyle::Clock)
                .text(format!(", after {lasted}{came}"))
        }
        None if group.is_storm() => Text::plain("Firing: so much at once that it stands on one card"),
        None => {
            let firing = group.firing().len() + usize::try_from(group.beyond).unwrap_or(usize::MAX);
            let many = if firing > 1 { format!(": {firing} alerts") } else { String::new() };
            let line = Text::plain(format!("Firing{flapping}{many}, since ")).relative(group.since());
            match group.over_at() {
                Some(at) => line.text("; said to be over, over at ").time(at, TimeStyle::Clock).text(" if it stays so"),
                None => line,
            }
        }
    };
    let line = match &group.acknowledged {
        Some((by, _)) => line.text("; ").person(by).text(" has it"),
        None => line,
    };
    match group.incident {
        Some(incident) => line.text(format!("; it belongs to {incident}")),
        None => line,
    }
}

/// One alert of several is said to be over.
pub fn said_over(since: &str) -> String {
    format!("; said to be over since {since}")
}

/// What its sender left out of what it sent, and what to do about it.
pub fn left_out(left_out: &LeftOut, format: Option<HookFormat>) -> Text {
    let (tool, setting, whose) = match format {
        Some(HookFormat::Grafana) => ("Grafana", "Max Alerts: 0", "contact point"),
        _ => ("Alertmanager", "max_alerts: 0", "webhook"),
    };
    let line = Text::plain(format!("{} more of this group, whether they fire or not. Look at ", left_out.alerts));
    let line = match &left_out.at {
        Some(url) => {
            let mut line = line;
            line.0.push(Span::Link { label: tool.to_owned(), url: url.clone() });
            line
        }
        None => line.text(tool),
    };
    line.text(" itself; ").code(setting).text(format!(" at its {whose} sends all"))
}

/// What is beyond those that are named.
pub fn more_fire(left: usize) -> String {
    format!("and {left} more: the file has all of them")
}

/// Groups beyond those that are named.
pub fn more_groups(left: usize) -> String {
    format!("{left} more: the file has all of them")
}

/// What a storm's card is called.
pub fn storm_title() -> String {
    "Many alerts at once".to_owned()
}

/// "12 of 30 fire", "30, all over".
pub fn storm_counts(firing: usize, all: usize) -> String {
    match firing {
        0 => format!("{all}, all over"),
        _ if firing == all => format!("{all} at once"),
        _ => format!("{firing} of {all} fire"),
    }
}

/// One group on a storm's card.
pub fn in_storm(ctx: &Ctx<'_>, group: &Group) -> String {
    let zone = ctx.workspace.team.zone;
    let since = clock_of_day(group.opened, ctx.now, zone);
    let many = match group.firing().len() {
        0 | 1 => String::new(),
        many => format!(" ({many})"),
    };
    match group.over {
        Some(over) => format!("✓ {} {}, {since} to {}", group.id, group.title, clock_of_day(over, ctx.now, zone)),
        None => {
            let ending = if group.is_ending() { "; said to be over" } else { "" };
            format!("{} {} {}{many}, since {since}{ending}", sign(group.level), group.id, group.title)
        }
    }
}

/// The first that is critical, on a storm's card that pinged nobody so far.
pub fn critical_in_storm(host: AlertId, group: &Group) -> Text {
    Text::plain(format!("{}. It stands on the card of {host}, with much else.", headline(group)))
}

/// Told again: nobody acted.
pub fn still_fires(group: &Group, now: DateTime<Utc>) -> Text {
    Text::plain(format!("{} still fires after {}, and nobody has it.", headline(group), span(now - group.opened)))
}

/// It was over and fires again.
pub fn fires_again(group: &Group) -> Text {
    Text::plain(format!("{} fires again.", headline(group)))
}

/// It went into the thread of an incident that is milder than the one it would have opened.
pub fn would_be_worse(group: &Group, worse: Severity, incident: IncidentId, severity: Severity) -> Text {
    Text::plain(format!("By itself {} would have opened a {worse}; {incident} is a {severity}. Is it worse?", group.id))
}

/// A warning has become critical.
pub fn got_worse(group: &Group) -> Text {
    Text::plain(format!("{} was a warning and is critical now.", headline(group)))
}

/// In an incident's thread.
pub fn over_in_thread(group: &Group, now: DateTime<Utc>) -> Text {
    Text::plain(format!("{} {} is over, after {}.", group.id, group.title, span(now - group.opened)))
}

/// Calling stops.
pub fn nobody_is_called() -> Text {
    Text::plain("Nobody further is called. It stays open until somebody says what it was.")
}

/// Why an incident is open again.
pub fn why_reopened(group: &Group) -> Text {
    Text::plain(format!("{} {} fires again", group.id, group.title))
}

/// Who keeps it quiet.
pub fn kept_quiet(workspace: &Workspace, quiet: &Quiet) -> String {
    let by = workspace.name_of(&quiet.by).unwrap_or("somebody");
    match quiet.until {
        Some(until) => format!("kept quiet by {by} until {}", super::clock(until, workspace.team.zone)),
        None => format!("kept quiet by {by} until it stays over"),
    }
}

/// Which silence holds.
pub fn by_silence(workspace: &Workspace, silence: &Silence) -> String {
    let by = workspace.name_of(&silence.by).unwrap_or("somebody");
    let until = super::clock(silence.until, workspace.team.zone);
    format!("silence {} by {by} until {until}: {}", silence.id, silence.why)
}

/// Far too much fires.
pub fn too_many() -> String {
    format!("{GROUPS_MAX} groups of alerts fire; I take no further ones until some are over.")
}

/// Somebody took it.
pub fn acknowledged(group: &Group, by: &Person) -> Text {
    Text::plain(format!("{} {}: ", group.id, group.title)).person(by).text(" has it.")
}

/// Somebody asks for what is over.
pub fn is_over(id: AlertId) -> Text {
    Text::plain(format!("{id} is over."))
}

/// Its incident is what people look at.
pub fn has_incident(id: AlertId, incident: IncidentId) -> Text {
    Text::plain(format!("{id} belongs to {incident}. "))
}

/// A silence holds from now on, or from later on.
pub fn silenced(silence: &Silence, now: DateTime<Utc>, meant: usize) -> Text {
    let line = Text::plain(format!("Silence {} holds ", silence.id));
    let line = match silence.from > now {
        true => line.text("from ").time(silence.from, TimeStyle::Full).text(" "),
        false => line,
    };
    let line = line.text("until ").time(silence.until, TimeStyle::Full).text(": ").code(silence.matchers.to_string());
    line.text(match meant {
        0 => ". Nothing that fires now is meant by it.".to_owned(),
        1 => ". It means one alert that fires now.".to_owned(),
        many => format!(". It means {many} alerts that fire now."),
    })
}

/// One silence in a list.
pub fn silence(silence: &Silence, now: DateTime<Utc>) -> Text {
    let line = Text::default().bold(silence.id.to_string()).text(" ").code(silence.matchers.to_string());
    let line = match silence.from > now {
        true => line.text(", from ").time(silence.from, TimeStyle::Full),
        false => line,
    };
    line.text(", until ")
        .time(silence.until, TimeStyle::Full)
        .text(", by ")
        .person(&silence.by)
        .text(format!(": {}", silence.why))
}

/// One group in a list, with why it is told or not.
pub fn listed(ctx: &Ctx<'_>, group: &Group) -> Text {
    let line =
        Text::plain(format!("{} ", sign(group.level))).bold(group.id.to_string()).text(format!(" {}", group.title));
    let firing = group.firing().len();
    let line = if firing > 1 { line.text(format!(" ({firing})")) } else { line };
    let line = match &group.left_out {
        Some(left_out) => line.text(format!(" and {} that were not sent", left_out.alerts)),
        None => line,
    };
    let line = line.text(", since ").relative(group.since());
    let line = match group.over_at() {
        Some(at) => {
            let until = super::clock(at, ctx.workspace.team.zone);
            line.text(format!("; said to be over, over at {until} if it stays so"))
        }
        None => line,
    };
    let line = match (&group.acknowledged, group.incident) {
        (_, Some(incident)) => line.text(format!("; {incident}")),
        (Some((by, _)), None) => line.text("; ").person(by).text(" has it"),
        (None, None) => line,
    };
    match &group.held {
        Some(held) => line.text(format!("; not told: {}", held.why)),
        None if group.shown_at.is_none() && group.is_ending() => line,
        None if group.shown_at.is_none() => line.text("; not told yet: I wait for more that belongs to it"),
        None => match group.quiet.as_ref().filter(|_| group.is_quiet(ctx.now)) {
            Some(quiet) => line.text(format!("; {}", kept_quiet(ctx.workspace, quiet))),
            None => line,
        },
    }
}

/// Why it is over, when nothing was measured.
pub fn rule_gone() -> Text {
    Text::plain(" Its rule was changed or taken away: that says nothing of what it watched.")
}
