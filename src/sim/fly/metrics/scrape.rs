//! The same metrics as text, for a real Prometheus to scrape: `GET /sim/metrics`.
//!
//! Fly has no such address: its own Prometheus scrapes the machines and the proxy, and people ask that. Names and labels are those
//! that Fly's document on metrics lists; the text is Prometheus's exposition format, version 0.0.4. Processors are left out:
//! their counters would have to run, and nothing here uses any.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::state::State;
use super::super::world::{App, Machine};
use super::series::{self, Hit};

/// Upper ends of the buckets of how long answers take, in seconds. Undocumented: which ones Fly has.
const ENDS_S: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0];
/// How long an exit shows. Undocumented: for how long Fly's gauges do.
const EXIT_SHOWN: TimeDelta = TimeDelta::seconds(60);

/// Requests of an app since the start.
#[derive(Debug, Default)]
pub struct Totals {
    by_status: BTreeMap<u16, u64>,
    within: [u64; ENDS_S.len()],
    sum_s: f64,
}

impl Totals {
    /// Counts a request.
    pub fn note(&mut self, hit: &Hit) {
        *self.by_status.entry(hit.status).or_default() += 1;
        let took_s = hit.latency_ms as f64 / 1_000.0;
        self.sum_s += took_s;
        for (count, end) in self.within.iter_mut().zip(ENDS_S) {
            *count += u64::from(took_s <= end);
        }
    }
}

/// Everything, as text.
pub fn text(state: &State, at: DateTime<Utc>) -> String {
    let mut out = String::new();
    let apps: Vec<&App> = state.world.apps.iter().filter(|app| !app.figures.none).collect();
    let machines = |is: fn(&&Machine) -> bool| {
        apps.iter().flat_map(move |app| app.machines.iter().filter(is).map(move |machine| (*app, machine)))
    };
    kind(&mut out, "fly_instance_up", "gauge");
    for (app, machine) in machines(|machine| machine.is_reachable()) {
        one(&mut out, "fly_instance_up", &of(app, machine), 1.0);
    }
    kind(&mut out, "fly_instance_memory_mem_total", "gauge");
    for (app, machine) in machines(|machine| machine.is_reachable()) {
        one(&mut out, "fly_instance_memory_mem_total", &of(app, machine), bytes(machine));
    }
    kind(&mut out, "fly_instance_memory_mem_available", "gauge");
    for (app, machine) in machines(|machine| machine.is_reachable()) {
        let used = app.figures.memory.unwrap_or_else(|| series::memory(machine, at));
        one(&mut out, "fly_instance_memory_mem_available", &of(app, machine), bytes(machine) * (1.0 - used));
    }
    for (name, says) in [
        ("fly_instance_exit_oom", (|exit| f64::from(exit["oom_killed"] == true)) as fn(&serde_json::Value) -> f64),
        ("fly_instance_exit_code", |exit| exit["exit_code"].as_f64().unwrap_or_default()),
    ] {
        kind(&mut out, name, "gauge");
        for (app, machine) in machines(|_| true) {
            let worst = series::exits(machine, at, EXIT_SHOWN.num_milliseconds()).map(says).fold(0.0, f64::max);
            one(&mut out, name, &of(app, machine), worst);
        }
    }
    kind(&mut out, "fly_volume_used_pct", "gauge");
    for app in &apps {
        for volume in &app.volumes {
            let labels = format!("app=\"{}\",id=\"{}\"", app.name, volume.id);
            one(&mut out, "fly_volume_used_pct", &labels, series::VOLUME_USED_PCT);
        }
    }
    requests(&mut out, state, &apps);
    out
}

fn requests(out: &mut String, state: &State, apps: &[&App]) {
    let told = || apps.iter().filter_map(|app| Some((app, state.traffic.totals(&app.name)?)));
    kind(out, "fly_edge_http_responses_count", "counter");
    for (app, totals) in told() {
        for (status, count) in &totals.by_status {
            let labels = format!("app=\"{}\",status=\"{status}\"", app.name);
            one(out, "fly_edge_http_responses_count", &labels, *count as f64);
        }
    }
    let name = "fly_edge_http_response_time_seconds";
    kind(out, name, "histogram");
    for (app, totals) in told() {
        let all = totals.by_status.values().sum::<u64>() as f64;
        for (end, count) in ENDS_S.iter().zip(totals.within) {
            one(out, &format!("{name}_bucket"), &format!("app=\"{}\",le=\"{end}\"", app.name), count as f64);
        }
        one(out, &format!("{name}_bucket"), &format!("app=\"{}\",le=\"+Inf\"", app.name), all);
        one(out, &format!("{name}_sum"), &format!("app=\"{}\"", app.name), totals.sum_s);
        one(out, &format!("{name}_count"), &format!("app=\"{}\"", app.name), all);
    }
}

fn kind(out: &mut String, name: &str, kind: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn one(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

/// Names of apps, ids and regions are words of the workspace's own: nothing in them has to be escaped.
fn of(app: &App, machine: &Machine) -> String {
    format!("app=\"{}\",instance=\"{}\",region=\"{}\"", app.name, machine.id, machine.region)
}

fn bytes(machine: &Machine) -> f64 {
    machine.memory_mb() as f64 * 1_048_576.0
}
