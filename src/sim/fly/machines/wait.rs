//! Wait: an answer that comes when a machine has reached a state.

use std::time::Duration;

use axum::response::Response;
use serde_json::json;

use super::super::Sim;
use super::super::api::Call;
use super::super::problem::{Problem, ok};
use super::super::world::Machine;
use super::routes::Found;

/// The longest that a call waits, and how long it does when nothing is said.
const WAIT_SECONDS_MAX: u64 = 60;

/// States that can be waited for.
const STATES: [&str; 6] = ["started", "stopped", "suspended", "destroyed", "failed", "settled"];

/// Waits for a state. 408 when it was not reached in time.
pub async fn wait(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    let (app, id) = (found.name("{app_name}").unwrap_or_default(), found.name("{machine_id}").unwrap_or_default());
    let mut wanted = call.all("state");
    if wanted.is_empty() {
        wanted.push("started");
    }
    if let Some(odd) = wanted.iter().find(|word| !STATES.contains(word)) {
        return Err(Problem::new(400, &format!("invalid_argument: {odd:?} is no state to wait for")));
    }
    let seconds = match call.get("timeout") {
        Some(text) => text.trim_end_matches('s').parse().map_err(|_| Problem::new(400, "invalid_argument: timeout"))?,
        None => WAIT_SECONDS_MAX,
    };
    let version = call.get("version").or(call.get("instance_id"));
    let mut changes = sim.lock().changes();
    let reached = async {
        loop {
            if let Some(body) = look(sim, app, id, &wanted, version, call.get("from_event_id"))? {
                return Ok(ok(&body));
            }
            if changes.changed().await.is_err() {
                return Err(Problem::new(503, "the local Fly stops"));
            }
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)), reached);
    let result = tokio::select! {
        result = waiting => result,
        () = sim.stopped() => return Err(Problem::new(503, "the local Fly stops")),
    };
    result.unwrap_or_else(|_| {
        let word = current(sim, app, id)?;
        let wanted = wanted.join(",");
        let words = format!("deadline_exceeded: machine failed to reach desired state, {wanted}, currently {word}");
        Err(Problem::new(408, &words))
    })
}

fn current(sim: &Sim, app: &str, id: &str) -> Result<String, Problem> {
    let state = sim.lock();
    let found = state.world.app(app).and_then(|app| app.machine(id));
    found.map(|machine| machine.state.clone()).ok_or_else(Problem::no_machine)
}

fn look(
    sim: &Sim,
    app: &str,
    id: &str,
    wanted: &[&str],
    version: Option<&str>,
    after: Option<&str>,
) -> Result<Option<serde_json::Value>, Problem> {
    let state = sim.lock();
    let machine = state.world.app(app).ok_or_else(Problem::no_app)?.machine(id).ok_or_else(Problem::no_machine)?;
    let is_there = wanted.iter().any(|word| *word == machine.state || (*word == "settled" && is_settled(machine)));
    let is_version = version.is_none_or(|version| version == machine.instance_id);
    let last = machine.events.back();
    // An event id that is gone or was never here lies before everything that is.
    let is_after = after.is_none_or(|after| last.is_some_and(|event| event.id != after));
    let event_id = last.map(|event| event.id.as_str());
    let reached = json!({"ok": true, "state": machine.state, "version": machine.instance_id, "event_id": event_id});
    Ok((is_there && is_version && is_after).then_some(reached))
}

fn is_settled(machine: &Machine) -> bool {
    matches!(machine.state.as_str(), "created" | "started" | "stopped" | "suspended" | "failed" | "destroyed")
}
