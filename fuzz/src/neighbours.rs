//! What the neighbours answer: Fly's machines and releases, log lines over HTTP and NATS, a Prometheus's figures, and a service's certificate.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use watchbell::adapters::fly::{self, App, Machine, running};
use watchbell::adapters::probe::certificate_ends;
use watchbell::adapters::prometheus::answer;
use watchbell::domain::health::{AppHealth, HealthReport, StageHealth};
use watchbell::domain::hosting::{Image, Inventory, Release};
use watchbell::domain::ids::Service;
use watchbell::domain::input::{Arg, Call, InputKind, Query, ReleasesLook};
use watchbell::domain::logs::reading::Reading;
use watchbell::domain::logs::{Ask, Cursor, Filter, Found, KEPT, Line, Reach, SEEN_MAX, Source, filter};
use watchbell::domain::message::Text;
use watchbell::domain::metrics::POINTS_MAX;
use watchbell::domain::workspace::Stage;
use watchbell::ports::logs::Came;

use crate::world::{World, ana, channel, fits_sentence};

/// What must never be repeated.
const SECRET: &str = "fm2_canary_of_the_token";

/// An app that two machines serve, with two releases.
pub fn inventory(app: &str, now: DateTime<Utc>) -> Inventory {
    let machine = |id: &str| {
        json!({"id": id, "name": id, "state": "started", "region": "ord", "instance_id": "1", "host_status": "ok",
               "image_ref": {"registry": "registry.fly.io", "repository": app, "tag": "deployment-1", "digest": "sha256:00"},
               "config": {"image": format!("registry.fly.io/{app}:deployment-1"), "metadata": {"fly_platform_version": "v2"},
                          "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}}})
    };
    let release = |version: u64, status: &str| {
        json!({"id": format!("r{version}"), "version": version, "status": status, "image_ref": format!("registry.fly.io/{app}:deployment-{version}"),
               "created_at": "2026-11-24T09:00:00Z", "user": {"email": "ana@example.com"}})
    };
    read(app, now, &json!([machine("m1"), machine("m2")]), &json!([release(2, "failed"), release(1, "complete")]))
}

/// What an app is made of, as Fly's answers have it.
fn read(app: &str, at: DateTime<Utc>, machines: &Value, releases: &Value) -> Inventory {
    let machines = fly::read_list(machines, "machines", Machine::read).unwrap_or_default();
    let releases = fly::read_list(releases, "releases", fly::Release::read).map_err(|error| error.to_string());
    let release = |one: fly::Release| {
        let fly::Release { id, version, status, image, user, at } = one;
        Release { id, version, status, image: Image::new(image), user, at }
    };
    Inventory {
        app: app.to_owned(),
        at,
        machines: machines.iter().filter(|machine| machine.is_there()).map(running).collect(),
        releases: releases.map(|all| all.into_iter().map(release).collect()),
        release_command: Ok(None),
        secrets_at: None,
        secrets: Ok(Vec::new()),
    }
}

fn call(command: &str, args: &[(&str, &str)]) -> InputKind {
    let args: BTreeMap<String, Arg> =
        args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect();
    InputKind::Call(Call { who: ana(), place: channel(), command: command.to_owned(), args, target: None })
}

/// `{"machines": [...], "releases": [...]}`: what is shown of them, and what a rollback and a restart make of them.
pub fn machines(data: &[u8]) {
    let Ok(mut whole) = serde_json::from_slice::<Value>(data) else { return };
    let mut part = |name: &str| whole.get_mut(name).map(Value::take).unwrap_or_default();
    let (machines, releases) = (part("machines"), part("releases"));
    for list in [&machines, &releases] {
        if let Err(error) = fly::read_list(list, "machines", Machine::read) {
            fits_sentence(&error.to_string());
        }
    }
    let _ = (App::read(&whole), fly::TokenInfo::read(&whole));
    let mut world = World::new();
    let inventory = read("checkout", world.now, &machines, &releases);
    let told = fly::read_list(&machines, "machines", Machine::read);
    let app = told.map(|all| all.iter().map(Machine::health).collect()).map_err(|error| error.to_string());
    let stage = StageHealth {
        service: Service::new("checkout"),
        stage: Stage::Production,
        app: Some(AppHealth { app: "checkout".to_owned(), machines: app }),
        probes: Vec::new(),
    };
    let report = HealthReport { at: world.now, auth: Ok("lighthouse".to_owned()), stages: vec![stage] };
    world.answers.health = Some(report);
    world.answers.changes = Some(Vec::new());
    if let Ok(releases) = &inventory.releases {
        let look = ReleasesLook { app: "checkout".to_owned(), releases: releases.clone() };
        let _ = world.decide(&InputKind::Releases(look.clone()));
        if let Ok((again, _)) = world.decide(&InputKind::Releases(look)) {
            assert!(again.facts.is_empty(), "the same releases again change something: {:?}", again.facts);
        }
    }
    world.answers.inventories.insert("checkout-staging".to_owned(), Ok(inventory.clone()));
    world.answers.inventories.insert("checkout".to_owned(), Ok(inventory));
    let about = [("service", "checkout")];
    for command in ["health", "fly machines", "fly releases", "fly history", "rollback", "fly restart", "deploy"] {
        let kind = call(command, &about);
        let _ = world.needs(&kind);
        let _ = world.decide(&kind);
    }
    world.settle();
    world.pass(TimeDelta::hours(26));
    world.survives_a_restart();
}

/// A page of log lines as HTTP has it, and each of its lines as NATS has it: masked, sieved, shown.
pub fn logs(data: &[u8]) {
    if let Some(Came::Line(_, line)) = fly::streamed("checkout", data, SECRET) {
        shown(vec![*line]);
    }
    let Ok(answer) = serde_json::from_slice::<Value>(data) else { return };
    let before = Cursor { token: "7".to_owned(), seen: vec!["a".to_owned()] };
    let page = match fly::page(&answer, &before, SECRET) {
        Ok(page) => page,
        Err(error) => return fits_sentence(&error.to_string()),
    };
    assert!(page.next.seen.len() <= SEEN_MAX, "what is remembered is bounded");
    assert!(page.lines.iter().all(|line| line.id.is_empty() || line.id != "a"), "what was given does not come twice");
    let said = |line: &Line| [&line.message, &line.level, &line.code].iter().any(|text| text.contains(SECRET));
    assert!(!page.lines.iter().any(said), "the token is repeated");
    let kept: Cursor = page.next.to_string().parse().unwrap_or_default();
    assert_eq!(kept.token.split_whitespace().next(), page.next.token.split_whitespace().next(), "a cursor is kept");
    let world = World::new();
    let source = Source { service: "checkout".to_owned(), app: "checkout".to_owned(), slow_ms: 500 };
    for reach in [Reach::Last(KEPT), Reach::After(0), Reach::Before(i64::MAX)] {
        let ask = Ask { of: vec![source.clone()], filter: Filter::Errors, contains: None, reach, lines: 15 };
        let mut reading = Reading::new(&source, &ask, world.now.timestamp_nanos_opt().unwrap_or_default());
        // The host may give the same page for ever.
        for _ in 0..200 {
            if reading.wants().is_none() {
                break;
            }
            reading.take(page.clone());
        }
        assert!(reading.wants().is_none(), "a reading ends");
        assert!(reading.end().lines.len() <= 15, "so many lines were wanted");
    }
    shown(page.lines);
}

/// Lines, masked and read for what they are; and a page of them in the chat.
fn shown(lines: Vec<Line>) {
    let lines: Vec<Line> = lines.into_iter().take(40).map(|line| line.shown("checkout")).collect();
    for line in &lines {
        assert!(!line.message.chars().any(char::is_control), "one line without control characters: {line:?}");
        let _ = (filter::is_error(line), filter::is_health(line), filter::is_slow(&line.message, 500));
        let _ = filter::woke_in_ms(&line.message);
    }
    let mut world = World::new();
    world.answers.logs = Some(Ok(Found { lines, ..Found::default() }));
    let kind = call("logs", &[("service", "checkout"), ("filter", "all")]);
    assert!(world.needs(&kind).iter().any(|query| matches!(query, Query::Logs(_))), "lines are asked for");
    let _ = world.decide(&kind);
}

/// What a Prometheus answers to an instant and to a range question, as figures, targets and a chart show it.
pub fn figures(data: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(data) else { return };
    if let Err(error) = answer::vector("prometheus", &answer) {
        fits_sentence(&error.to_string());
    }
    let series = match answer::matrix("prometheus", &answer) {
        Ok(series) => series,
        Err(error) => return fits_sentence(&error.to_string()),
    };
    assert!(series.iter().all(|one| one.points.len() <= POINTS_MAX), "points are bounded");
    assert!(series.iter().all(|one| one.points.is_sorted_by_key(|(at, _)| *at)), "the oldest first");
    let mut world = World::new();
    for (command, args) in [
        ("metrics", &[("service", "checkout"), ("window", "1h")][..]),
        ("alerts targets", &[]),
        ("alerts baseline", &[("service", "checkout"), ("do", "record")]),
        ("alerts baseline", &[("service", "checkout"), ("do", "compare")]),
    ] {
        let kind = call(command, args);
        for query in world.needs(&kind) {
            if let Query::Figures(ask) = query {
                world.answers.figures.insert(ask.key, Ok(series.clone()));
            }
        }
        let _ = world.decide(&kind);
    }
}

/// A certificate that a service shows: until when it is good, or nothing.
pub fn certificate(data: &[u8]) {
    if let Some(ends) = certificate_ends(data) {
        // The two forms of a date know these years.
        assert!((1970..=9999).contains(&ends.format("%Y").to_string().parse::<i32>().unwrap_or(0)), "{ends}");
    }
}
