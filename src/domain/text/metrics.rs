//! What the bot says of figures, targets and baselines.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::domain::chart::{Unit, amount};
use crate::domain::draft::Ctx;
use crate::domain::figures::baseline::{Baseline, Drift, Kept};
use crate::domain::figures::{Figure, Missing, Reading, Shown};
use crate::domain::health::Mark;
use crate::domain::message::Tone;
use crate::domain::policy::{Bound, Of as RuleOf, Rule, Target};
use crate::domain::workspace::Stage;

use super::{clock_of_day, span};

/// Nothing wants it measured within bounds.
const NO_TARGET: &str = "no target";

/// A figure's name in a line of words.
pub fn name(figure: Figure) -> &'static str {
    match figure {
        Figure::Latency => "P95 latency",
        Figure::Errors => "error rate",
        Figure::Memory => "memory",
        Figure::Cpu => "CPU",
        Figure::Restarts => "restarts",
    }
}

/// A figure's name over its panel, where there is room to say what exactly it is.
fn title(figure: Figure) -> &'static str {
    match figure {
        Figure::Latency => "P95 latency at Fly's edge",
        Figure::Errors => "error rate (5xx)",
        Figure::Memory => "memory, fullest machine",
        Figure::Cpu => "CPU, busiest machine",
        Figure::Restarts => "restarts: machines that failed, 15 min",
    }
}

/// What is shown, by name.
pub fn named(shown: &Shown<'_>) -> String {
    match (shown.figure, shown.target) {
        (Some(figure), _) => name(figure).to_owned(),
        (None, target) => target.map_or(String::new(), |target| target.name.clone()),
    }
}

/// What is shown, over its panel.
pub fn titled(shown: &Shown<'_>) -> String {
    shown.figure.map_or_else(|| named(shown), |figure| title(figure).to_owned())
}

/// What no data means: for some figures that nobody came.
fn no_data(figure: Option<Figure>) -> &'static str {
    match figure {
        Some(Figure::Latency | Figure::Errors) => "no data: no requests came",
        Some(Figure::Memory | Figure::Cpu | Figure::Restarts) => "no data: no machine reported",
        None => "no data",
    }
}

/// Why nothing can be said.
pub fn missing(why: &Missing) -> String {
    match why {
        Missing::NotMeasured(add) if add.is_empty() => "not measured".to_owned(),
        Missing::NotMeasured(add) => format!("not measured: add {add}"),
        Missing::NotAnswered(why) => format!("not known: {why}"),
        Missing::NotInTime => "not known: not answered in time".to_owned(),
    }
}

/// The verdict's sign; a dot for what is shown and not judged.
pub fn sign(shown: &Shown<'_>, reading: &Result<Reading, Missing>) -> String {
    match (reading, shown.target) {
        (Ok(reading), None) if reading.now.is_some() => "·".to_owned(),
        (Ok(reading), _) => reading.mark.to_string(),
        (Err(_), _) => Mark::Unknown.to_string(),
    }
}

/// What a value means, and against what: "under 500 ms", "critical over 1 s", "no target".
fn meaning(shown: &Shown<'_>, mark: Mark) -> String {
    let means = shown.target.map_or(String::new(), |target| target.means(mark));
    if means.is_empty() { NO_TARGET.to_owned() } else { means }
}

/// One figure in a line: "✓ P95 latency: 310 ms now, at most 1.4 s at 03:20; under 500 ms".
pub fn line(shown: &Shown<'_>, reading: &Result<Reading, Missing>, now: DateTime<Utc>, zone: Tz) -> String {
    format!("{} {}: {}", sign(shown, reading), named(shown), says(shown, reading, now, zone))
}

/// All figures, a line each; those that were not answered for one and the same reason share a line.
pub fn lines(read: &[(Shown<'_>, Result<Reading, Missing>)], now: DateTime<Utc>, zone: Tz) -> Vec<String> {
    let why = |reading: &Result<Reading, Missing>| match reading {
        Err(why @ (Missing::NotAnswered(_) | Missing::NotInTime)) => Some(missing(why)),
        _ => None,
    };
    let mut said: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for (shown, reading) in read {
        let Some(reason) = why(reading) else {
            out.push(line(shown, reading, now, zone));
            continue;
        };
        if !said.contains(&reason) {
            let all = read.iter().filter(|(_, other)| why(other).as_ref() == Some(&reason));
            let names: Vec<String> = all.map(|(shown, _)| named(shown)).collect();
            out.push(format!("{} {}: {reason}", Mark::Unknown, names.join(", ")));
            said.push(reason);
        }
    }
    out
}

fn says(shown: &Shown<'_>, reading: &Result<Reading, Missing>, now: DateTime<Utc>, zone: Tz) -> String {
    /// A highest value nearer than this to the newest says nothing new.
    const NEAR: f64 = 1.05;
    let reading = match reading {
        Ok(reading) => reading,
        Err(why) => return missing(why),
    };
    let unit = shown.unit();
    let at = |at: DateTime<Utc>| clock_of_day(at, now, zone);
    match (reading.now, reading.newest, reading.highest) {
        (Some(value), _, highest) => {
            let highest = highest
                .filter(|(_, most)| *most > value * NEAR)
                .map_or(String::new(), |(when, most)| format!(", at most {} at {}", amount(most, unit), at(when)));
            format!("{} now{highest}; {}", amount(value, unit), meaning(shown, reading.mark))
        }
        (None, Some((when, value)), _) => {
            format!("no data since {}, when it was {}", at(when), amount(value, unit))
        }
        (None, None, _) => no_data(shown.figure).to_owned(),
    }
}

/// The newest value and what it means, beside a panel's title.
pub fn beside(shown: &Shown<'_>, reading: &Result<Reading, Missing>) -> String {
    match reading {
        Ok(Reading { now: Some(value), mark, .. }) => {
            let value = amount(*value, shown.unit());
            match shown.target {
                Some(_) => format!("now {value} {mark} {}", meaning(shown, *mark)),
                None => format!("now {value}"),
            }
        }
        _ => String::new(),
    }
}

/// What stands in a panel without a point.
pub fn empty(shown: &Shown<'_>, reading: &Result<Reading, Missing>) -> String {
    match reading {
        Ok(_) => no_data(shown.figure).to_owned(),
        Err(why) => missing(why),
    }
}

/// Which copy of which service.
pub fn about(service: &str, stage: Stage) -> String {
    format!("{service}, {}", stage.name())
}

/// The headline over figures: how many targets are met, and how many nothing measures.
pub fn headline(about: &str, marks: &[Mark], unmeasured: usize) -> String {
    let count = |wanted: Mark| marks.iter().filter(|mark| **mark == wanted).count();
    let (critical, warning, unknown) = (count(Mark::Critical), count(Mark::Warning), count(Mark::Unknown));
    let worst = marks.iter().copied().reduce(Mark::worse).unwrap_or(Mark::Unknown);
    let all = marks.len();
    let known = all - unknown;
    let says = match () {
        () if known == 0 => "nothing is known".to_owned(),
        () if critical + warning == 0 && unknown == 0 => match all {
            1 => "the one measured target is met".to_owned(),
            all => format!("all {all} measured targets are met"),
        },
        () if critical + warning == 0 => format!("{known} of {all} measured targets are met, {unknown} not known"),
        () => {
            let missed = critical + warning;
            let how = if critical > 0 { format!(", {critical} of them critically") } else { String::new() };
            format!("{missed} of {all} measured targets {} missed{how}", if missed == 1 { "is" } else { "are" })
        }
    };
    let rest = if unmeasured == 0 { String::new() } else { format!("; {unmeasured} not measured") };
    format!("{worst} {about}: {says}{rest}")
}

/// The headline over several services' figures.
pub const FIGURES: &str = "Figures, in production";

/// The colour of the worst; quiet while nothing is known.
pub fn tone(marks: &[Mark]) -> Tone {
    match marks.iter().copied().filter(|mark| *mark != Mark::Unknown).reduce(Mark::worse) {
        Some(Mark::Critical) => Tone::Bad,
        Some(Mark::Warning) => Tone::Warn,
        Some(Mark::Ok) => Tone::Good,
        Some(Mark::Unknown) | None => Tone::Quiet,
    }
}

/// What speaks against calling it over: "checkout: error rate 8.1 %, critical over 5 %".
pub fn objection(service: &str, shown: &Shown<'_>, value: f64, mark: Mark) -> String {
    format!("{service}: {}, {}", measured(shown, value), meaning(shown, mark))
}

/// "error rate 8.1 %".
pub fn measured(shown: &Shown<'_>, value: f64) -> String {
    format!("{} {}", named(shown), amount(value, shown.unit()))
}

/// "error rate 6.1 % since (0.2 % before)"; where it is worse, against which bound.
pub fn since(shown: &Shown<'_>, is: f64, was: Option<f64>, mark: Mark, is_worse: bool) -> String {
    let was = was.map_or("no requests".to_owned(), |was| amount(was, shown.unit()));
    let bound = if is_worse { format!(", {}", meaning(shown, mark)) } else { String::new() };
    format!("{} since ({was} before){bound}", measured(shown, is))
}

/// Under which span of time figures stand.
pub fn over(asked: TimeDelta) -> String {
    format!("The last {}.", span(asked))
}

/// A service without an app.
pub fn no_app(service: &str) -> String {
    format!("{service}: not measured: add fly_app to it in watchbell.toml.")
}

/// A span of time that cannot be shown.
pub fn bad_window(typed: &str, least: TimeDelta, most: TimeDelta) -> String {
    format!("“{typed}” is no time that I can show. Write 1h, 6h, 24h or 7d; from {} to {}.", span(least), span(most))
}

// ------------------------------------------------------------------------------------------------- targets

/// The headline of the table of targets.
pub const TARGETS: &str = "Targets, in production";

/// What nothing measures yet, and what to add.
pub fn not_measured(target: &Target) -> String {
    missing(&Missing::NotMeasured(target.not_measured.clone()))
}

/// A target's row: its name and what it wants.
pub fn target_row(name: &str, wanted: &str, warning: &str, critical: &str) -> String {
    let parts: Vec<&str> = [wanted, warning, critical].into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { name.to_owned() } else { format!("{name}: {}", parts.join(" · ")) }
}

/// What a mark means for a target, and that nobody is pinged where no rule is about it.
pub fn means(ctx: &Ctx<'_>, target: &Target, mark: Mark) -> String {
    let words = target.means(mark);
    let bound = if mark == Mark::Critical { target.critical_above } else { target.warn_above };
    let is_watched = |rule: &&Rule| {
        let of = match (&rule.of, target.figure, &target.query) {
            (RuleOf::Figure { figure, .. }, Some(own), _) => *figure == own,
            (RuleOf::Query { promql, .. }, _, Some(own)) => promql == own,
            _ => target.rule.as_ref() == Some(&rule.name),
        };
        of && !rule.shadow && bound.is_some_and(|bound| rule.bound == Bound::Above(bound))
    };
    let is_silent =
        !words.is_empty() && bound.is_some() && !ctx.policy.alerts.rules.iter().any(|rule| is_watched(&rule));
    if is_silent { format!("{words} (shown, not pinged)") } else { words }
}

/// There is no rule of that name, or no service that it is about.
pub fn no_rule(name: &str) -> String {
    missing(&Missing::NotMeasured(format!("a rule called “{name}”, and fly_app to a service")))
}

/// How one service stands against a target by what a rule sees.
pub fn seen_by_rule(service: &str, mark: Mark, value: Option<f64>, unit: Unit) -> String {
    let says = value.map_or("no data".to_owned(), |value| amount(value, unit));
    format!("{mark} {service}: {says}")
}

/// How one service stands against a target, and since when.
pub fn against(
    service: &str,
    shown: &Shown<'_>,
    reading: &Result<Reading, Missing>,
    (now, zone): (DateTime<Utc>, Tz),
) -> String {
    let sign = sign(shown, reading);
    let says = match reading {
        Ok(Reading { now: Some(value), since: Some(since), or_longer, .. }) => {
            let value = amount(*value, shown.unit());
            match or_longer {
                true => format!("{value}, for {} or longer", span(now - *since)),
                false => format!("{value}, since {}", clock_of_day(*since, now, zone)),
            }
        }
        reading => says(shown, reading, now, zone),
    };
    format!("{sign} {service}: {says}")
}

/// No service has an app, so nothing can be asked for.
pub const NO_APPS: &str = "? No service has a fly_app, so nothing is measured: add one in watchbell.toml.";

// ------------------------------------------------------------------------------------------------- baselines

/// A release's name; of a service that none is known of.
fn release(version: Option<u64>) -> String {
    version.map_or("an unknown release".to_owned(), |version| format!("v{version}"))
}

/// A baseline's figures: "P95 latency 310 ms (at most 1.4 s)".
pub fn kept(figure: Figure, kept: &Kept) -> String {
    let unit = figure.unit();
    format!("{} {} (at most {})", name(figure), amount(kept.usual(), unit), amount(kept.highest(), unit))
}

/// What a baseline is of.
pub fn baseline_of(about: &str, baseline: &Baseline, now: DateTime<Utc>, zone: Tz) -> String {
    format!("{about}, {}, recorded at {}", release(baseline.version), clock_of_day(baseline.at, now, zone))
}

/// A baseline was recorded.
pub fn recorded(about: &str, version: Option<u64>, over: TimeDelta) -> String {
    format!("Baseline of {about}, {}: the last {}", release(version), span(over))
}

/// Nothing was measured, so there is nothing to keep.
pub fn nothing_to_keep(about: &str, why: &str) -> String {
    format!("There is nothing to keep of {about}: {why}.")
}

/// There is nothing to compare with.
pub fn no_baseline(about: &str) -> String {
    format!("There is no baseline of {about} yet. Keep one while all is well: /alerts baseline | do: record.")
}

/// The headline of a comparison.
pub fn compared(about: &str, drifted: usize, known: usize) -> String {
    match (drifted, known) {
        (_, 0) => format!("? {about}: nothing can be compared"),
        (0, _) => format!("✓ {about} is as it was"),
        (1, _) => format!("⚠ {about}: 1 figure drifted"),
        (n, _) => format!("⚠ {about}: {n} figures drifted"),
    }
}

/// How one figure stands beside the baseline.
pub fn drift(figure: Figure, drift: &Drift) -> String {
    let (unit, name) = (figure.unit(), name(figure));
    let was_is = |was: f64, is: f64| format!("{name}: {} then, {} now", amount(was, unit), amount(is, unit));
    let by = |was: f64, is: f64| match unit {
        // A share of a share misleads.
        Unit::Percent if (is - was).abs() < 10.0 => format!("{:+.1} points", is - was),
        Unit::Percent => format!("{:+.0} points", is - was),
        _ if was > 0.0 => format!("{:+.0} %", (is - was) / was * 100.0),
        _ => "from nothing".to_owned(),
    };
    match drift {
        Drift::Same { was, is } => format!("✓ {}", was_is(*was, *is)),
        Drift::Worse { was, is } => format!("⚠ {} ({})", was_is(*was, *is), by(*was, *is)),
        Drift::Better { was, is } => format!("✓ {} ({}, better)", was_is(*was, *is), by(*was, *is)),
        Drift::NotNow { was, why } => format!("? {name}: {} then, {why}", amount(*was, unit)),
        Drift::NotThen { is } => format!("· {name}: not kept then, {} now", amount(*is, unit)),
    }
}
