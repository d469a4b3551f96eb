//! What makes a tick, a warning and a cross, and when a service counts as down.

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::domain::input::{Measurement, Seen};
use crate::domain::policy;
use crate::domain::policy::Span;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap_or_default() + TimeDelta::seconds(seconds)
}

fn machine(id: &str) -> Machine {
    Machine {
        id: id.to_owned(),
        name: "quiet-sea-1".to_owned(),
        region: "ord".to_owned(),
        state: "started".to_owned(),
        host_ok: true,
        cordoned: false,
        checks_passing: 2,
        checks: 2,
        failing: Vec::new(),
        restarts: Some(0),
        image: "registry.fly.io/mcp:v41".to_owned(),
        autostop: true,
    }
}

fn answered(ms: u32) -> ProbeFinding {
    ProbeFinding {
        probe: "health".to_owned(),
        ok: true,
        took_ms: Some(ms),
        status: Some(200),
        says: format!("200 in {ms} ms"),
        slow: false,
        very_slow: false,
        certificate_ends: None,
        ends_in: None,
    }
}

fn stage(machines: Vec<Machine>, probes: Vec<ProbeFinding>) -> StageHealth {
    StageHealth {
        service: Service::new("mcp"),
        stage: Stage::Production,
        app: Some(AppHealth { app: "acme-mcp".to_owned(), machines: Ok(machines) }),
        probes,
    }
}

fn report(stages: Vec<StageHealth>) -> HealthReport {
    HealthReport { at: at(0), auth: Ok("acme".to_owned()), stages }
}

fn shown(report: &HealthReport) -> String {
    lines(report).into_iter().map(|(mark, says)| format!("{mark} {says}\n")).collect()
}

#[test]
fn up_is_four_things_at_once() {
    assert_eq!(machine("a").verdict().mark, Mark::Ok);
    type Breaks = fn(&mut Machine);
    let broken: [(&str, Breaks); 6] = [
        ("stopped, and nothing will wake it", |m| (m.state, m.autostop) = ("stopped".into(), false)),
        ("its host does not answer", |m| m.host_ok = false),
        ("cordoned: it gets no traffic", |m| m.cordoned = true),
        ("checks fail: http says 500", |m| (m.checks_passing, m.failing) = (1, vec!["http says 500".into()])),
        ("failed, and nothing will wake it", |m| m.state = "failed".into()),
        ("some_new_word, and nothing will wake it", |m| m.state = "some_new_word".into()),
    ];
    for (why, breaks) in broken {
        let mut one = machine("a");
        breaks(&mut one);
        assert_eq!((one.verdict().mark, one.verdict().why().as_str()), (Mark::Critical, why));
    }
    let mut silent = machine("a");
    silent.checks_passing = 0;
    assert_eq!((silent.verdict().mark, silent.verdict().why().as_str()), (Mark::Warning, "no check has reported yet"));
    let mut looping = machine("a");
    looping.restarts = Some(4);
    assert_eq!(
        (looping.verdict().mark, looping.verdict().why().as_str()),
        (Mark::Warning, "restarted by itself 4 times")
    );
}

#[test]
fn asleep_is_well_unless_its_host_is_gone() {
    let mut one = machine("a");
    one.state = "suspended".to_owned();
    one.checks_passing = 0;
    assert_eq!((one.verdict().mark, one.verdict().why().as_str()), (Mark::Ok, "asleep"));
    let asleep = stage(vec![one.clone()], vec![ProbeFinding::not_asked("health", "asleep, not asked")]);
    assert_eq!(asleep.mark(), Mark::Ok);
    assert_eq!(
        shown(&report(vec![asleep])),
        "✓ Fly takes the token (acme)\n\
         ✓ mcp production\n\
         ✓   acme-mcp: 1 machine, ord: 1 asleep\n\
         ?   health: asleep, not asked\n\
         ✓ Everything I watch is well\n"
    );
    one.host_ok = false;
    assert_eq!(one.verdict().mark, Mark::Critical);
}

#[test]
fn one_machine_of_two_down_is_a_warning_and_both_are_critical() {
    let mut bad = machine("3d8d9014f7");
    bad.state = "failed".to_owned();
    let half = report(vec![stage(vec![machine("a"), bad.clone()], vec![answered(34)])]);
    assert_eq!(exit_code(&half), 1);
    assert_eq!(
        shown(&half),
        "✓ Fly takes the token (acme)\n\
         ⚠ mcp production\n\
         ⚠   acme-mcp: 2 machines, ord: 1 started, 1 failed, checks 2/2\n\
         ✗   ord 3d8d9014f7: failed, and nothing will wake it\n\
         ✓   health: 200 in 34 ms\n\
         ⚠ 1 of 1 need watching\n"
    );
    assert_eq!(exit_code(&report(vec![stage(vec![bad], vec![answered(34)])])), 2);
    assert_eq!(exit_code(&report(vec![stage(vec![machine("a")], vec![answered(34)])])), 0);
}

#[test]
fn what_was_not_looked_at_is_never_a_tick() {
    let nothing = StageHealth { service: Service::new("mcp"), stage: Stage::Staging, app: None, probes: Vec::new() };
    assert_eq!(nothing.mark(), Mark::Unknown);
    let not_found_out = StageHealth {
        app: Some(AppHealth { app: "x".to_owned(), machines: Err("Fly did not answer within 10 s".to_owned()) }),
        ..nothing.clone()
    };
    assert_eq!(not_found_out.mark(), Mark::Unknown);
    assert_eq!(exit_code(&report(vec![not_found_out])), 1);
    assert_eq!(exit_code(&report(vec![])), 1);
    assert_eq!(
        shown(&report(vec![nothing])),
        "? mcp staging\n?   machines not measured: add fly_app\n?   answers not measured: add a probe\n? 1 of 1 could not be found out\n"
    );
    let unasked = stage(vec![machine("a")], vec![ProbeFinding::not_asked("query", "MCP_KEY is not set")]);
    assert_eq!(unasked.mark(), Mark::Unknown, "awake and not asked");
}

#[test]
fn a_slow_answer_is_named_and_a_refused_token_is_no_all_clear() {
    let mut slow = answered(612);
    slow.slow = true;
    let mut slower = answered(1400);
    (slower.slow, slower.very_slow) = (true, true);
    let mut both = report(vec![stage(vec![machine("a")], vec![slow, slower])]);
    assert!(shown(&both).contains("⚠   health: 200 in 612 ms (slow)\n✗   health: 200 in 1400 ms (very slow)"));
    both.stages[0].probes.clear();
    both.auth = Err("the token has expired".to_owned());
    assert_eq!(exit_code(&both), 1);
    assert!(shown(&both).starts_with("⚠ Fly: the token has expired\n"), "{}", shown(&both));
}

#[test]
fn the_card_says_what_has_no_source() {
    let text = "name = \"memory\"\ntarget = \"under 70 %\"\nnot_measured = \"a metrics source\"";
    let target: policy::Target = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let message = card(&report(vec![stage(vec![machine("a")], vec![answered(34)])]), &[target], &[]);
    let card = message.card.unwrap_or_else(|| panic!("a card"));
    assert_eq!(card.title, "✓ Everything I watch is well");
    let fields: Vec<(String, crate::domain::message::Text)> =
        card.fields.into_iter().map(|field| (field.name, field.value)).collect();
    let expected = [
        ("✓ mcp production", "✓ acme-mcp: 1 machine, ord: 1 started, checks 2/2\n✓ health: 200 in 34 ms"),
        ("? Not measured", "memory: add a metrics source"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.into())));
}

#[test]
fn while_an_alert_fires_not_everything_is_well() {
    let well = report(vec![stage(vec![machine("a")], vec![answered(34)])]);
    let title = |fires: &[&str]| {
        let fires: Vec<String> = fires.iter().map(|id| (*id).to_owned()).collect();
        card(&well, &[], &fires).card.map(|card| card.title).unwrap_or_default()
    };
    assert_eq!(title(&["ALR-1"]), "⚠ Machines and probes are well; ALR-1 fires");
    assert_eq!(title(&["ALR-1", "ALR-2"]), "⚠ Machines and probes are well; ALR-1 and ALR-2 fire");
    assert_eq!(title(&["ALR-1", "ALR-2", "ALR-3"]), "⚠ Machines and probes are well; 3 alerts fire");
}

#[test]
fn the_json_form_carries_every_verdict() {
    let form = json(&report(vec![stage(vec![machine("a")], vec![answered(34)])]));
    assert_eq!(form["version"], 1);
    assert_eq!(form["verdict"], "ok");
    assert_eq!(form["stages"][0]["app"]["machines"][0]["state"], "started");
    assert_eq!(form["stages"][0]["probes"][0]["took_ms"], 34);
}

fn policy() -> policy::Health {
    policy::Health { down_after_failures: 3, down_after: Span::minutes(2), verify_reds_in_a_row: 2 }
}

fn look(seconds: i64, seen: Seen) -> Measurement {
    Measurement {
        service: Service::new("mcp"),
        stage: Stage::Production,
        at: at(seconds),
        seen,
        certificate_ends: None,
    }
}

fn red(seconds: i64) -> Measurement {
    look(seconds, Seen::Red { why: format!("answered 500 at {seconds} s") })
}

fn green(seconds: i64) -> Measurement {
    look(seconds, Seen::Green { took_ms: 12 })
}

fn unknown(seconds: i64) -> Measurement {
    look(seconds, Seen::Unknown { why: "Fly does not answer".to_owned() })
}

#[test]
fn down_needs_a_row_of_failures_and_two_minutes() {
    let mut watched = Watched::default();
    let mut seen = |measurement: Measurement| watched.observe(&measurement, &policy());
    assert_eq!(
        [seen(red(0)), seen(red(30)), seen(red(60)), seen(red(90))],
        [None, None, None, None],
        "not two minutes"
    );
    assert_eq!(seen(red(120)), Some(Transition::Down { since: at(0), why: "answered 500 at 120 s".to_owned() }));
    assert_eq!(seen(red(150)), None, "said once");
    assert_eq!(seen(unknown(180)), None, "not known is not up");
    assert_eq!(seen(green(210)), Some(Transition::Up { down_since: at(0) }));
    assert_eq!(seen(green(240)), None);
}

#[test]
fn two_failures_over_any_time_are_not_down() {
    let mut watched = Watched::default();
    assert_eq!(watched.observe(&red(0), &policy()), None);
    assert_eq!(watched.observe(&red(600), &policy()), None);
    assert_eq!(watched.reds_in_a_row(), 2);
    assert!(watched.observe(&red(601), &policy()).is_some());
}

#[test]
fn a_green_look_between_starts_the_row_again_and_an_unknown_one_does_not() {
    let mut watched = Watched::default();
    for measurement in [red(0), red(60), green(90), red(120), unknown(150), red(180)] {
        assert_eq!(watched.observe(&measurement, &policy()), None);
    }
    assert_eq!(watched.reds_in_a_row(), 2);
    assert_eq!(watched.green_since(), None);
    assert!(watched.observe(&red(240), &policy()).is_some(), "120 to 240 s, three in a row");
}

#[test]
fn sleep_counts_as_well_and_green_keeps_its_beginning() {
    let mut watched = Watched::down(at(-600));
    assert_eq!(watched.observe(&look(0, Seen::Asleep), &policy()), Some(Transition::Up { down_since: at(-600) }));
    for measurement in [green(30), unknown(60), green(90)] {
        watched.observe(&measurement, &policy());
    }
    assert_eq!(watched.green_since(), Some(at(0)));
    assert_eq!(watched.observe(&red(10), &policy()), None);
    assert_eq!(watched.green_since(), Some(at(0)), "an older look changes nothing");
}

#[test]
fn what_was_seen_before_a_restart_counts_only_while_it_is_fresh_and_the_record_says_what_is_down() {
    use crate::domain::state::{Down, Measured};

    let looks = |looks: &[Measurement]| {
        let mut watched = Watched::default();
        for look in looks {
            watched.observe(look, &policy());
        }
        watched
    };
    let is_green = looks(&[green(0), green(30), green(60)]);
    let is_red = looks(&[red(-240), red(-120), red(0), red(60)]);
    assert!(is_red.down_since().is_some());
    let key = |name: &str| (Service::new(name), Stage::Production);
    let kept = [(key("green"), is_green), (key("red"), is_red)];
    let down = |name: &str| Down {
        service: Service::new(name),
        stage: Stage::Production,
        since: at(-240),
        why: "connection refused".to_owned(),
    };

    let soon = Measured::after_restart(kept.clone(), &[], at(100)).watched;
    assert_eq!(soon[&key("green")].green_since(), Some(at(0)));
    assert_eq!(soon[&key("red")].down_since(), None, "that it is down was never recorded: it must be said yet");
    assert_eq!(soon[&key("red")].reds_in_a_row(), 4);

    let late = Measured::after_restart(kept.clone(), &[], at(60 + 121)).watched;
    assert!(late.is_empty(), "nobody knows what has been since: {late:?}");

    for now in [at(100), at(60 + 121)] {
        let recorded = Measured::after_restart(kept.clone(), &[down("red"), down("never-seen")], now).watched;
        assert_eq!(recorded[&key("red")].down_since(), Some(at(-240)));
        assert_eq!(recorded[&key("never-seen")].down_since(), Some(at(-240)));
    }
}

#[test]
fn none_is_left_to_start_only_where_some_could_sleep_and_none_does() {
    let awake = |autostop: bool| Machine { autostop, ..machine("a") };
    let of = |machines: Vec<Machine>| AppHealth { app: "mcp".to_owned(), machines: Ok(machines) }.awake_to_the_last();
    assert_eq!(of(vec![awake(true), awake(true), awake(true)]), Some(3));
    assert_eq!(of(vec![awake(true), Machine { state: "stopped".to_owned(), ..awake(true) }]), None);
    assert_eq!(of(vec![awake(true), awake(false)]), None, "it is always on: that it is says nothing");
    assert_eq!(of(vec![awake(true)]), None);
}
