//! A health report in words: a card for the chat, lines for a terminal, JSON for a program.
//!
//! Pure. The card is cut to nobody's limits here; it is short because a phone is narrow.

use serde_json::{Value, json as object};

use super::{AppHealth, HealthReport, Machine, Mark, ProbeFinding, StageHealth};
use crate::domain::message::{Card, Message, Text, Tone};
use crate::domain::policy::Target;

/// Version of the JSON form. Fields are only added under one number.
const JSON_VERSION: u32 = 1;

/// The report as a message: a field a stage, one line for the host's app and one a probe. `targets` are what the team wants
/// measured; those without a source are named, so that nobody takes silence for health. `fires` names the alerts about what is shown:
/// with one nobody is told that all is well.
pub fn card(report: &HealthReport, targets: &[Target], fires: &[String]) -> Message {
    let (mark, headline) = match report.mark() {
        mark if fires.is_empty() => (mark, headline(report)),
        Mark::Ok => (Mark::Warning, format!("Machines and probes are well; {}", firing(fires))),
        mark => (mark, format!("{}; {}", headline(report), firing(fires))),
    };
    let tone = match mark {
        Mark::Ok => Tone::Good,
        Mark::Warning => Tone::Warn,
        Mark::Critical => Tone::Bad,
        Mark::Unknown => Tone::Quiet,
    };
    let mut card = Card::new(format!("{mark} {headline}"), tone);
    if let Some((mark, says)) = auth_line(report)
        && mark != Mark::Ok
    {
        card = card.line(format!("{mark} {says}"));
    }
    for stage in &report.stages {
        let says: Vec<String> = stage_lines(stage).into_iter().map(|(mark, says)| format!("{mark} {says}")).collect();
        card = card.row(stage_title(stage), says.join("\n"));
    }
    let missing: Vec<String> = targets
        .iter()
        .filter(|target| !target.not_measured.is_empty())
        .map(|target| format!("{}: add {}", target.name, target.not_measured))
        .collect();
    if !missing.is_empty() {
        card = card.row("? Not measured", missing.join("\n"));
    }
    let card = card.line(Text::plain("Looked at ").clock(report.at));
    Message::card(card)
}

/// The report line by line, stages headed by their own line.
pub fn lines(report: &HealthReport) -> Vec<(Mark, String)> {
    let mut lines: Vec<(Mark, String)> = auth_line(report).into_iter().collect();
    for stage in &report.stages {
        lines.push((stage.mark(), format!("{} {}", stage.service, stage.stage.name())));
        lines.extend(stage_lines(stage).into_iter().map(|(mark, says)| (mark, format!("  {says}"))));
    }
    lines.push((report.mark(), headline(report)));
    lines
}

/// The report for programs.
pub fn json(report: &HealthReport) -> Value {
    let auth = match &report.auth {
        Ok(organisation) => object!({"ok": true, "organisation": organisation}),
        Err(why) => object!({"ok": false, "error": why}),
    };
    object!({
        "version": JSON_VERSION,
        "at": report.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "verdict": report.mark(),
        "auth": auth,
        "stages": report.stages.iter().map(stage_json).collect::<Vec<_>>(),
    })
}

/// "ALR-1 fires".
fn firing(fires: &[String]) -> String {
    match fires {
        [one] => format!("{one} fires"),
        [one, other] => format!("{one} and {other} fire"),
        _ => format!("{} alerts fire", fires.len()),
    }
}

fn headline(report: &HealthReport) -> String {
    let count = |wanted: Mark| report.stages.iter().filter(|stage| stage.mark() == wanted).count();
    let all = report.stages.len();
    match report.mark() {
        _ if all == 0 => "Nothing to look at: no service is configured".to_owned(),
        Mark::Ok => "Everything I watch is well".to_owned(),
        Mark::Critical => format!("{} of {all} in trouble", count(Mark::Critical)),
        Mark::Warning if count(Mark::Warning) == 0 => match count(Mark::Unknown) {
            0 => "Services answer; what Fly knows of them could not be asked".to_owned(),
            unknown => format!("{unknown} of {all} could not be found out; Fly could not be asked"),
        },
        Mark::Warning => format!("{} of {all} need watching", count(Mark::Warning)),
        Mark::Unknown => format!("{} of {all} could not be found out", count(Mark::Unknown)),
    }
}

/// None when no service names an app: then nothing depends on the token.
fn auth_line(report: &HealthReport) -> Option<(Mark, String)> {
    report.names_an_app().then(|| match &report.auth {
        Ok(organisation) => (Mark::Ok, format!("Fly takes the token ({organisation})")),
        Err(why) => (Mark::Warning, format!("Fly: {why}")),
    })
}

fn stage_title(stage: &StageHealth) -> String {
    format!("{} {} {}", stage.mark(), stage.service, stage.stage.name())
}

fn stage_lines(stage: &StageHealth) -> Vec<(Mark, String)> {
    let mut lines = match &stage.app {
        Some(app) => app_lines(app),
        None => vec![(Mark::Unknown, "machines not measured: add fly_app".to_owned())],
    };
    if stage.probes.is_empty() {
        lines.push((Mark::Unknown, "answers not measured: add a probe".to_owned()));
    }
    lines.extend(stage.probes.iter().map(probe_line));
    lines
}

/// The app in a line, and a line for each machine that is not simply well.
fn app_lines(app: &AppHealth) -> Vec<(Mark, String)> {
    let verdict = app.verdict();
    let machines = match &app.machines {
        Ok(machines) => machines,
        Err(why) => return vec![(verdict.mark, format!("machines of {}: {why}", app.app))],
    };
    let mut regions: Vec<&str> = machines.iter().map(|machine| machine.region.as_str()).collect();
    regions.sort_unstable();
    regions.dedup();
    let what = match machines.len() {
        0 => format!("{}: no machine", app.app),
        1 => format!("{}: 1 machine, {}", app.app, regions.join(" ")),
        count => format!("{}: {count} machines, {}", app.app, regions.join(" ")),
    };
    let states = states(machines);
    let line = if states.is_empty() { what } else { format!("{what}: {states}") };
    let mut lines = vec![(verdict.mark, line)];
    lines.extend(machines.iter().filter_map(|machine| {
        let verdict = machine.verdict();
        (verdict.mark != Mark::Ok)
            .then(|| (verdict.mark, format!("{} {}: {}", machine.region, machine.id, verdict.why())))
    }));
    lines
}

/// "2 started (checks 2/2), 1 asleep".
fn states(machines: &[Machine]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for machine in machines {
        let word = if machine.is_asleep() { "asleep" } else { machine.state.as_str() };
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let awake = machines.iter().filter(|machine| machine.state == "started");
    let (passing, checks) = awake.fold((0_u32, 0_u32), |(passing, checks), machine| {
        (passing + u32::from(machine.checks_passing), checks + u32::from(machine.checks))
    });
    let restarts: u32 = machines.iter().filter_map(|machine| machine.restarts).fold(0, u32::saturating_add);
    let mut words: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    if checks > 0 {
        words.push(format!("checks {passing}/{checks}"));
    }
    if restarts > 0 {
        words.push(format!("restarts {restarts}"));
    }
    words.join(", ")
}

fn probe_line(probe: &ProbeFinding) -> (Mark, String) {
    let verdict = probe.verdict();
    let why = verdict.why();
    let says = match (probe.ok && probe.was_asked(), why.is_empty()) {
        (false, _) => format!("{}: {}", probe.probe, probe.says),
        (true, true) => format!("{}: {}", probe.probe, probe.says),
        (true, false) => format!("{}: {} ({why})", probe.probe, probe.says),
    };
    (verdict.mark, says)
}

fn stage_json(stage: &StageHealth) -> Value {
    let app = stage.app.as_ref().map(|app| {
        let machines = app.machines.as_ref().map(|machines| machines.iter().map(machine_json).collect::<Vec<_>>());
        object!({
            "app": app.app,
            "verdict": app.verdict().mark,
            "machines": machines.as_ref().ok(),
            "error": machines.err(),
        })
    });
    object!({
        "service": stage.service,
        "stage": stage.stage,
        "verdict": stage.mark(),
        "app": app,
        "probes": stage.probes.iter().map(probe_json).collect::<Vec<_>>(),
    })
}

fn machine_json(machine: &Machine) -> Value {
    let verdict = machine.verdict();
    object!({
        "id": machine.id,
        "name": machine.name,
        "region": machine.region,
        "state": machine.state,
        "asleep": machine.is_asleep(),
        "host_ok": machine.host_ok,
        "cordoned": machine.cordoned,
        "checks": machine.checks,
        "checks_passing": machine.checks_passing,
        "failing": machine.failing,
        "restarts": machine.restarts,
        "image": machine.image,
        "verdict": verdict.mark,
        "why": verdict.why(),
    })
}

fn probe_json(probe: &ProbeFinding) -> Value {
    object!({
        "probe": probe.probe,
        "verdict": probe.verdict().mark,
        "asked": probe.was_asked(),
        "took_ms": probe.took_ms,
        "status": probe.status,
        "says": probe.says,
        "certificate_ends": probe.certificate_ends.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    })
}
