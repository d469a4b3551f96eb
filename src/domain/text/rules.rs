//! What the bot says of its rules: what each watches, how it stands, what it says when it fires.

use crate::domain::alerts::Level;
use crate::domain::chart::amount;
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::figures::Figure;
use crate::domain::ids::Service;
use crate::domain::message::Text;
use crate::domain::policy::{Bound, Life, Of, Policy, Probed, Rule};
use crate::domain::rules::{About, Followed, Standing};
use crate::domain::workspace::Stage;

use super::{clock_of_day, span};

/// What a rule that nobody wrote a summary for says when it fires, and whether its bound says something to people.
fn sentence(of: &Of) -> (&'static str, bool) {
    match of {
        Of::Figure { figure: Figure::Errors, .. } => ("{value} of answers are errors", true),
        Of::Figure { figure: Figure::Latency, .. } => {
            ("95 of 100 answers take up to {value}, and the others longer", true)
        }
        Of::Figure { figure: Figure::Memory, .. } => ("{value} of memory is in use on the fullest machine", true),
        Of::Figure { figure: Figure::Cpu, .. } => ("{value} of CPU is in use on the busiest machine", true),
        Of::Figure { figure: Figure::Restarts, .. } => ("{value} machines failed in 15 min", false),
        Of::Query { .. } => ("It is {value}", true),
        Of::Probe(Probed::Latency) => ("My looks take up to {value}", true),
        Of::Probe(Probed::Failures) => ("{value} of my looks failed in {over}", true),
        Of::Probe(Probed::Silence) => ("For {value} I could not find out how it is", false),
        Of::Machines(Life::Oom) => ("Killed for want of memory, {value} × in {over}", false),
        Of::Machines(Life::Crashes) => ("Its program ended badly by itself, {value} × in {over}", false),
        Of::Machines(Life::Host) => ("Hardware that does not answer: {value} of its machines", false),
        Of::Machines(Life::Stuck) => ("{value} of its machines: between two states for longer than {over}", false),
        Of::Starts { .. } => ("Machines take {value} and longer to come up", true),
        Of::Log { .. } => ("{value} log lines with its words in {over}", true),
        Of::Release => ("The newest release failed; it was made outside Watchbell", false),
        Of::Certificate => ("The certificate that people are shown ends in {value}", true),
        Of::Answers { .. } => ("No answer for {value}: rules about figures see nothing", false),
    }
}

/// What an alert of a rule says. The value is that of the moment at which it fired.
pub fn summary(rule: &Rule, about: &About<'_>, value: Option<f64>) -> String {
    let (shipped, has_bound) = sentence(&rule.of);
    let side = if matches!(rule.bound, Bound::Above(_)) { "over" } else { "under" };
    let bound = if has_bound { format!("; {side} {{bound}}") } else { String::new() };
    let lasts = if rule.lasts.is_zero() { "" } else { " for {for}" };
    let own = format!("{shipped}{bound}{}", if has_bound { lasts } else { "" });
    let template = if rule.summary.is_empty() { &own } else { &rule.summary };
    let service = about.of.map_or(String::new(), |(service, stage, _)| match stage {
        Stage::Production => service.to_string(),
        Stage::Staging => format!("{service} ({})", stage.name()),
    });
    let mut out = template.clone();
    for (word, meant) in [
        ("{service}", service),
        ("{value}", value.map_or("?".to_owned(), |value| said(rule, value))),
        ("{bound}", said(rule, rule.bound.amount().value)),
        ("{for}", span(rule.lasts.delta())),
        ("{over}", span(rule.over.delta())),
    ] {
        out = out.replace(word, &meant);
    }
    out
}

/// A value of a rule, in words.
fn said(rule: &Rule, value: f64) -> String {
    if rule.of == Of::Certificate {
        return days(value);
    }
    amount(value, rule.unit().unwrap_or(rule.bound.amount().unit))
}

/// Seconds as days, with a part of one where they are few: `61 days`, `4.9 days`. Never more than is left.
pub fn days(seconds: f64) -> String {
    let days = seconds / 86_400.0;
    let few = (days * 10.0).floor() / 10.0;
    match days.floor() {
        whole if whole >= 10.0 || few == whole => format!("{whole:.0} day{}", if whole == 1.0 { "" } else { "s" }),
        _ => format!("{few:.1} days"),
    }
}

/// What is said of rules that see nothing about a service that nothing else finds well.
pub fn sees_nothing<'a>(rules: impl Iterator<Item = &'a str>, why: Option<&str>, has_probe: bool) -> String {
    let mut names: Vec<&str> = rules.collect();
    names.dedup();
    let why = why.map_or(String::new(), |why| format!(" ({why})"));
    let probe = if has_probe { "my own looks do not find it well" } else { "no probe of its own looks at it" };
    format!("Rules that see nothing: {}{why}; and {probe}", names.join(", "))
}

/// What a rule watches: "answers that are errors above 5 % for 5 min (in 5 min, of at least 20 requests)".
pub fn watches(rule: &Rule) -> String {
    let over = span(rule.over.delta());
    let (what, is_counted) = match &rule.of {
        Of::Figure { figure: Figure::Errors, .. } => ("answers that are errors".to_owned(), true),
        Of::Figure { figure: Figure::Latency, .. } => ("P95 latency at Fly's edge".to_owned(), true),
        Of::Figure { figure: Figure::Memory, .. } => ("memory on the fullest machine".to_owned(), false),
        Of::Figure { figure: Figure::Cpu, .. } => ("CPU on the busiest machine".to_owned(), true),
        Of::Figure { figure: Figure::Restarts, .. } => ("machines that failed in 15 min".to_owned(), false),
        Of::Query { source, .. } => (format!("an expression asked of {source}"), false),
        Of::Probe(Probed::Latency) => ("P95 of my own looks".to_owned(), true),
        Of::Probe(Probed::Failures) => ("looks of mine that failed".to_owned(), true),
        Of::Probe(Probed::Silence) => ("time without a look that told anything".to_owned(), false),
        Of::Machines(Life::Oom) => ("kills for want of memory".to_owned(), true),
        Of::Machines(Life::Crashes) => ("programs that ended badly by themselves".to_owned(), true),
        Of::Machines(Life::Host) => ("machines whose hardware does not answer".to_owned(), false),
        Of::Machines(Life::Stuck) => (format!("machines between two states for longer than {over}"), false),
        Of::Starts { times, last } => (format!("{times} of the last {last} machines to come up"), false),
        Of::Log { contains } => (format!("log lines with “{contains}”"), true),
        Of::Release => return "the newest release failed, made outside Watchbell".to_owned(),
        Of::Certificate => ("what is left of its certificate".to_owned(), false),
        Of::Answers { source } => (format!("time without an answer from {source}"), false),
    };
    let bound = match rule.bound {
        Bound::Above(level) => format!("above {}", said(rule, level.value)),
        Bound::Below(level) => format!("below {}", said(rule, level.value)),
    };
    let lasts = if rule.lasts.is_zero() { String::new() } else { format!(" for {}", span(rule.lasts.delta())) };
    let least = match rule.of {
        Of::Figure { at_least, .. } if at_least > 0 => Some(format!("of at least {at_least} requests")),
        _ => None,
    };
    let counted = is_counted.then(|| format!("in {}", span(rule.over.delta())));
    let small: Vec<String> = counted.into_iter().chain(least).collect();
    let small = if small.is_empty() { String::new() } else { format!(" ({})", small.join(", ")) };
    format!("{what} {bound}{lasts}{small}")
}

/// What follows when it fires.
pub fn follows(rule: &Rule, pings: bool) -> String {
    let mut out = match (rule.shadow, pings, rule.declare) {
        (true, ..) => "in shadow: tells nobody".to_owned(),
        (_, true, Some(severity)) => format!("opens a {}", severity),
        (_, true, None) => "pings once".to_owned(),
        (_, false, _) => "pings nobody".to_owned(),
    };
    if !rule.keeps.is_zero() {
        out.push_str(&format!("; fires on for {}", span(rule.keeps.delta())));
    }
    out
}

/// How a rule stands with one thing: a sign, and a few words.
pub fn stands(
    ctx: &Ctx<'_>,
    rule: &Rule,
    about: &About<'_>,
    one: Option<&Followed>,
    fires: bool,
) -> (&'static str, Text) {
    let whom = match about.of {
        Some((service, Stage::Production, _)) => service.to_string(),
        Some((service, stage, _)) => format!("{service} {}", stage.name()),
        None => "the team".to_owned(),
    };
    let at = |at: At| clock_of_day(at, ctx.now, ctx.workspace.team.zone);
    let Some(one) = one else { return ("?", Text::plain(format!("{whom}: not looked at yet"))) };
    let left = if rule.of == Of::Certificate { " left" } else { "" };
    let value = one.value().map_or(String::new(), |value| format!("{}{left}", said(rule, value)));
    let (sign, words) = match one.standing(rule, fires) {
        Standing::New => ("?", "not looked at yet".to_owned()),
        Standing::Within => ("✓", value),
        Standing::Pending { since } => {
            ("⚠", format!("{value} since {}; fires at {}", at(since), at(since + rule.lasts.delta())))
        }
        Standing::Fires { since } if rule.shadow => ("⚠", format!("{value} since {}; would fire", at(since))),
        Standing::Fires { since } => ("✗", format!("{value} since {}; fires", at(since))),
        Standing::Lingers { since } => ("✗", format!("{value} since {}; fires on", at(since))),
        Standing::NoData { since } => {
            let why = one.why_nothing().map_or(String::new(), |why| format!(": {why}"));
            let still = if fires { "; it still fires" } else { "" };
            ("?", format!("no data since {}{still}{why}", at(since)))
        }
    };
    let would = one.would().filter(|_| rule.shadow).map_or(String::new(), |(times, last)| {
        format!(
            " (would have fired {}, last {})",
            if times == 1 { "once".to_owned() } else { format!("{times} times") },
            at(last)
        )
    });
    (sign, Text::plain(format!("{whom}: {words}{would}")))
}

/// How much a sign wants to be seen first.
pub fn rank(sign: &str) -> u8 {
    match sign {
        "✗" => 0,
        "⚠" => 1,
        "?" => 2,
        _ => 3,
    }
}

/// One rule on one line: how it stands with everything it is about, then what it watches and what follows.
pub fn line(ctx: &Ctx<'_>, rule: &Rule, stands: &[(&'static str, Text)]) -> Text {
    let level = ctx.policy.alerts.level(&rule.severity);
    let worst = stands.iter().map(|(sign, _)| *sign).min_by_key(|sign| rank(sign)).unwrap_or("?");
    let mut line = Text::plain(format!("{worst} ")).bold(&rule.name);
    for (sign, words) in stands {
        let sign = if stands.len() > 1 { format!("{sign} ") } else { String::new() };
        line = line.text(format!(" · {sign}")).join(words.clone());
    }
    let follows = follows(rule, level == Level::Critical);
    line.text(format!(" · {} · {}, {follows}", watches(rule), level.name()))
}

/// A rule that is about nothing of the set-up.
pub fn about_nothing(rule: &Rule) -> Text {
    let named: Vec<&str> = rule.services.iter().map(Service::as_str).collect();
    let whom = if rule.of == Of::Certificate {
        "no probe of it asks over https".to_owned()
    } else if named.is_empty() {
        "no service has such a stage".to_owned()
    } else {
        format!("no service is called {}", named.join(" or "))
    };
    Text::plain("? ").bold(&rule.name).text(format!(" · about nothing: {whom} · {}", watches(rule)))
}

/// The rule that is not among the others: a service that does not answer.
pub fn down(policy: &Policy) -> Text {
    let health = &policy.health;
    let follows =
        policy.incidents.declare_when_down.map_or("is said".to_owned(), |severity| format!("opens a {}", severity));
    let (times, lasts) = (health.down_after_failures, span(health.down_after.delta()));
    let words = format!(" · {times} looks in a row that failed, for {lasts} · {follows}; ");
    Text::default().bold("down").text(words).code("/health").text(" says how they are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_part_and_never_more_than_are_left() {
        let day = 86_400.0;
        for (left, says) in [
            (61.9 * day, "61 days"),
            (10.0 * day, "10 days"),
            (9.99 * day, "9.9 days"),
            (5.04 * day, "5 days"),
            (1.0 * day, "1 day"),
            (0.96 * day, "0.9 days"),
            (60.0, "0 days"),
            (0.0, "0 days"),
        ] {
            assert_eq!(days(left), says, "{left}");
        }
    }
}
