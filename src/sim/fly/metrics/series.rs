//! What each known metric says at a moment.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::super::id::now;
use super::super::state::State;
use super::super::world::{App, Machine};
use super::scrape::Totals;

/// Requests remembered an app.
const HITS_MAX: usize = 20_000;
/// The window when a query names none.
const WINDOW_DEFAULT_MS: i64 = 300_000;

/// How full every volume is.
pub const VOLUME_USED_PCT: f64 = 41.0;

/// A request that came to a front.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    pub at: DateTime<Utc>,
    pub status: u16,
    pub latency_ms: u64,
}

/// What came to the fronts, by app, oldest first.
#[derive(Debug, Default)]
pub struct Traffic {
    hits: HashMap<String, VecDeque<Hit>>,
    totals: HashMap<String, Totals>,
}

impl Traffic {
    /// Counts a request.
    pub fn note(&mut self, app: &str, hit: Hit) {
        self.totals.entry(app.to_owned()).or_default().note(&hit);
        let hits = self.hits.entry(app.to_owned()).or_default();
        hits.push_back(hit);
        if hits.len() > HITS_MAX {
            hits.pop_front();
        }
    }

    /// Everything that came is as much longer ago.
    pub fn pass(&mut self, by: TimeDelta) {
        self.hits.values_mut().flatten().for_each(|hit| hit.at -= by);
    }

    /// What came to an app since the start.
    pub fn totals(&self, app: &str) -> Option<&Totals> {
        self.totals.get(app)
    }

    fn within(&self, app: &str, at: DateTime<Utc>, window_ms: i64) -> impl Iterator<Item = &Hit> {
        let from = at - TimeDelta::milliseconds(window_ms);
        let hits = self.hits.get(app).into_iter().flatten().rev();
        hits.skip_while(move |hit| hit.at > at).take_while(move |hit| hit.at > from)
    }
}

/// A value with its labels.
#[derive(Debug)]
pub struct Sample {
    pub labels: Map<String, Value>,
    pub value: f64,
}

/// What a query finds at a moment.
pub fn ask(state: &State, query: &str, at: DateTime<Utc>, sees: &dyn Fn(&str) -> bool) -> Vec<Sample> {
    let text: String = query.split_whitespace().collect::<Vec<_>>().join("");
    let window_ms = window(&text);
    let mut samples = Vec::new();
    for app in state.world.apps.iter().filter(|app| sees(&app.name) && names(&text, &app.name)) {
        let mut found = Vec::new();
        of_app(state, app, &text, at, window_ms, &mut found);
        if text.starts_with("maxby(app)(") && found.len() > 1 {
            let most = found.iter().map(|sample| sample.value).max_by(f64::total_cmp);
            found = most.map(|value| Sample { labels: labels(app, None), value }).into_iter().collect();
        }
        samples.append(&mut found);
    }
    samples
}

fn of_app(state: &State, app: &App, text: &str, at: DateTime<Utc>, window_ms: i64, out: &mut Vec<Sample>) {
    let has = |part: &str| text.contains(part);
    let by_instance = has("instance)") || has("instance,") || !has("by(app");
    let running = || app.machines.iter().filter(|machine| machine.is_reachable());
    let seconds = window_ms as f64 / 1_000.0;
    let told = app.figures.ago(now() - at);
    if told.none {
        return;
    }
    let ordered = match () {
        () if has("fly_edge_http_responses_count") && has(")/(") => told.errors,
        () if has("http_response_time_seconds_bucket") => told.latency_s,
        () if has("fly_instance_exit_code") && has("countby(app)") => told.exits,
        () if has("fly_volume_used_pct") => told.volume.map(|share| share * 100.0),
        () => None,
    };
    if let Some(value) = ordered {
        out.push(Sample { labels: labels(app, None), value });
        return;
    }
    if has("fly_edge_http_responses_count") {
        let hits: Vec<&Hit> = state.traffic.within(&app.name, at, window_ms).collect();
        if hits.is_empty() {
            // No traffic is no data, not 0.
            return;
        }
        let failed = hits.iter().filter(|hit| hit.status >= 500).count() as f64;
        let all = hits.len() as f64;
        let value = match (has("status=~\"5"), has(")/(")) {
            (true, true) => failed / all,
            (true, false) => failed / seconds,
            _ => all / seconds,
        };
        out.push(Sample { labels: labels(app, None), value });
    } else if has("http_response_time_seconds_bucket") || has("fly_app_connect_time_seconds_bucket") {
        let mut ms: Vec<u64> = state.traffic.within(&app.name, at, window_ms).map(|hit| hit.latency_ms).collect();
        ms.sort_unstable();
        let Some(last) = ms.len().checked_sub(1) else { return };
        let rank = ((last as f64) * quantile(text)).round() as usize;
        let found = ms.get(rank).copied().unwrap_or_default() as f64;
        let value = if has("fly_app_connect_time") { 0.001 } else { found.max(1.0) / 1_000.0 };
        out.push(Sample { labels: labels(app, None), value });
    } else if has("fly_instance_memory_mem_available") && has("fly_instance_memory_mem_total") {
        per_machine(app, running(), by_instance, |machine| told.memory.unwrap_or_else(|| memory(machine, at)), out);
    } else if has("fly_instance_memory_mem_total") {
        per_machine(app, running(), by_instance, |machine| machine.memory_mb() as f64 * 1_048_576.0, out);
    } else if has("fly_instance_exit_oom") {
        let oom = |machine: &Machine| f64::from(exits(machine, at, window_ms).any(|exit| exit["oom_killed"] == true));
        per_machine(app, running(), by_instance, oom, out);
    } else if has("fly_instance_exit_code") && has("countby(app)") {
        let failed = |machine: &&Machine| exits(machine, at, window_ms).any(|exit| exit["exit_code"] != 0);
        let count = app.machines.iter().filter(failed).count() as f64;
        if count > 0.0 || running().next().is_some() {
            out.push(Sample { labels: labels(app, None), value: count });
        }
    } else if has("fly_instance_exit_code") {
        for machine in &app.machines {
            let worst = exits(machine, at, window_ms).filter_map(|exit| exit["exit_code"].as_i64()).max().unwrap_or(0);
            if worst > 0 {
                out.push(Sample { labels: labels(app, Some(machine)), value: worst as f64 });
            }
        }
    } else if has("fly_instance_cpu_throttle") {
        per_machine(app, running(), by_instance, |_| 0.0, out);
    } else if has("fly_instance_cpu{") {
        let used = |machine: &Machine| told.cpu.unwrap_or_else(|| wobble(machine, at, 0.06, 0.03));
        per_machine(app, running(), by_instance, used, out);
    } else if has("count") && has("fly_instance_up") {
        let up = running().count();
        if up > 0 {
            out.push(Sample { labels: labels(app, None), value: up as f64 });
        }
    } else if has("fly_instance_up") {
        per_machine(app, running(), true, |_| 1.0, out);
    } else if has("fly_app_concurrency") {
        let rate = state.traffic.within(&app.name, at, 60_000).count() as f64 / 60.0;
        per_machine(app, running(), by_instance, |_| rate, out);
    } else if has("fly_volume_used_pct") {
        for volume in &app.volumes {
            let mut labels = labels(app, None);
            labels.insert("id".to_owned(), json!(volume.id));
            out.push(Sample { labels, value: VOLUME_USED_PCT });
        }
    }
}

/// A sample a machine, or the largest of them for the whole app.
fn per_machine<'a>(
    app: &App,
    machines: impl Iterator<Item = &'a Machine>,
    by_instance: bool,
    value: impl Fn(&Machine) -> f64,
    out: &mut Vec<Sample>,
) {
    if by_instance {
        out.extend(machines.map(|machine| Sample { labels: labels(app, Some(machine)), value: value(machine) }));
    } else if let Some(value) = machines.map(value).max_by(f64::total_cmp) {
        out.push(Sample { labels: labels(app, None), value });
    }
}

/// The share of memory in use: as it was set, or a slow wave that differs by machine.
pub fn memory(machine: &Machine, at: DateTime<Utc>) -> f64 {
    machine.memory_used.unwrap_or_else(|| wobble(machine, at, 0.52, 0.05))
}

fn wobble(machine: &Machine, at: DateTime<Utc>, middle: f64, swing: f64) -> f64 {
    let phase = machine.id.bytes().map(f64::from).sum::<f64>();
    middle + swing * (at.timestamp_millis() as f64 / 300_000.0 + phase).sin()
}

/// How a machine's program ended in this time.
pub fn exits(machine: &Machine, at: DateTime<Utc>, window_ms: i64) -> impl Iterator<Item = &Value> {
    let from = at - TimeDelta::milliseconds(window_ms);
    let recent = machine.events.iter().filter(move |event| event.at > from && event.at <= at);
    recent.filter_map(|event| event.request.as_ref()?.get("exit_event"))
}

fn labels(app: &App, machine: Option<&Machine>) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert("app".to_owned(), json!(app.name));
    if let Some(machine) = machine {
        labels.insert("instance".to_owned(), json!(machine.id));
        labels.insert("region".to_owned(), json!(machine.region));
    }
    labels
}

/// Whether a query asks for an app: by `app="…"`, by a choice `app=~"a|b"`, or without naming any.
fn names(text: &str, app: &str) -> bool {
    let mut any = false;
    for operator in ["app=\"", "app=~\""] {
        for (at, _) in text.match_indices(operator) {
            any = true;
            let rest = text.get(at + operator.len()..).unwrap_or_default();
            let wanted = rest.split('"').next().unwrap_or_default();
            let is_choice = operator.contains('~');
            if wanted == app || (is_choice && wanted.split('|').any(|one| one == app || one == ".*" || one == ".+")) {
                return true;
            }
        }
    }
    !any
}

/// The first `[5m]`, in milliseconds.
fn window(text: &str) -> i64 {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split([']', ':']).next());
    inside.and_then(super::span).unwrap_or(WINDOW_DEFAULT_MS)
}

fn quantile(text: &str) -> f64 {
    let first = text.split_once("histogram_quantile(").and_then(|(_, rest)| rest.split(',').next());
    first.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.95).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_its_apps_and_its_window() {
        assert!(names("rate(x{app=\"shop\",status=~\"5..\"}[5m])", "shop"));
        assert!(!names("rate(x{app=\"shop\"}[5m])", "shop-staging"));
        assert!(names("x{app=~\"a|shop\"}", "shop"));
        assert!(names("sum(x)", "shop"));
        assert_eq!(window("rate(x[15m])"), 900_000);
        assert_eq!(window("max_over_time((x)[10m:15s])"), 600_000);
        assert_eq!(window("x"), WINDOW_DEFAULT_MS);
        assert_eq!(quantile("histogram_quantile(0.5,x)"), 0.5);
    }
}
