//! How machines come and go: start, stop, restart, and the ends that nobody asked for.
//!
//! Each step is begun under the lock and finished by a task that finds out whether it comes too late. Updates of a machine
//! will stop and start it the same way.

use std::time::Duration;

use serde_json::Value;

use super::Sim;
use super::id::now;
use super::problem::Problem;
use super::server::tend;
use super::state::State;
use super::world::{Exit, Machine, NOT_STARTED, exit};

/// How often in a row the policy `on-failure` starts a machine again.
const RETRIES_MAX: u32 = 10;

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub app: String,
    pub id: String,
}

/// What a stop leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Rest,
    StartAgain,
}

/// Begins to start a machine; the state that it was in. `source` is `user` or `proxy`.
///
/// Errors: it is on its way somewhere else, or its host is away.
pub fn start(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<String, Problem> {
    let boot_ms = state.settings.boot_ms;
    let machine = reach(state, at)?;
    let before = machine.state.clone();
    match before.as_str() {
        "started" => return Ok(before),
        "stopped" | "suspended" | "failed" => {}
        "starting" => return Err(Problem::precondition("machine still attempting to start")),
        "stopping" | "restarting" => return Err(Problem::precondition("machine still active, refusing to start")),
        _ => return Err(Problem::precondition(&format!("unable to start machine from current state: '{before}'"))),
    }
    machine.restart_count = 0;
    begin_start(sim, machine, at, source, boot_ms);
    state.bump();
    Ok(before)
}

/// Begins to stop a machine. Stopping one that is stopped does nothing.
///
/// Errors: it cannot be stopped from where it is, or its host is away.
pub fn stop(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<(), Problem> {
    let stop_ms = state.settings.stop_ms;
    let machine = reach(state, at)?;
    match machine.state.as_str() {
        "stopped" | "stopping" => return Ok(()),
        "started" | "starting" | "restarting" | "suspended" => {}
        other => return Err(Problem::precondition(&format!("unable to stop machine from current state: '{other}'"))),
    }
    // Undocumented: the names of this event; the documents show launch, start, update and exit only.
    begin_stop(sim, machine, at, ("stop", "stopping", source), stop_ms, Then::Rest);
    state.bump();
    Ok(())
}

/// Begins to stop and start a machine. One that is stopped is started.
///
/// Errors: as [`start`] and [`stop`] have them.
pub fn restart(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<(), Problem> {
    let stop_ms = state.settings.stop_ms;
    let machine = reach(state, at)?;
    match machine.state.as_str() {
        "started" => {}
        "stopped" | "suspended" | "failed" => return start(sim, state, at, source).map(|_| ()),
        other => {
            return Err(Problem::precondition(&format!("unable to restart machine from current state: '{other}'")));
        }
    }
    machine.restart_count = 0;
    begin_stop(sim, machine, at, ("restart", "restarting", source), stop_ms, Then::StartAgain);
    state.bump();
    Ok(())
}

/// The process ends by itself. What follows is up to the machine's restart policy, unless it is to stay down.
pub fn die(sim: &Sim, state: &mut State, at: &At, code: i64, oom: bool, stays_down: bool) {
    let boot_ms = state.settings.boot_ms;
    let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
    if machine.state != "started" {
        return;
    }
    let again = match machine.restart_policy() {
        _ if stays_down => false,
        "no" => false,
        "always" => true,
        _ => code != 0 && machine.restart_count < RETRIES_MAX,
    };
    if again {
        machine.restart_count += 1;
        machine.restarts += 1;
    }
    let count = machine.restart_count;
    let ended = Exit { code, oom, requested: false, restarting: again };
    enter(machine, if again { "restarting" } else { "stopped" });
    tend(sim, &at.app, machine);
    let request = Some(exit(&ended, now(), count));
    machine.event("exit", "stopped", "flyd", request);
    if again {
        begin_start(sim, machine, at, "flyd", boot_ms);
    }
    if let Some(app) = state.world.app_mut(&at.app) {
        if oom {
            app.log(Some(&at.id), "runner", "error", "Out of memory: Killed process 642 (server)");
            app.log(Some(&at.id), "runner", "error", "Process appears to have been OOM killed!");
        }
        app.log(Some(&at.id), "runner", "info", format!("Main child exited with code {code}"));
    }
    state.bump();
}

/// Moves a machine into a state. Every step that was under way comes too late from now on.
fn enter(machine: &mut Machine, word: &str) {
    machine.state = word.to_owned();
    machine.updated_at = now();
    machine.live.epoch += 1;
    machine.touch();
    if word != "started" {
        machine.reset_checks(NOT_STARTED);
    }
}

fn begin_start(sim: &Sim, machine: &mut Machine, at: &At, source: &str, boot_ms: u64) {
    enter(machine, "starting");
    machine.event("start", "starting", source, None);
    let began = std::time::Instant::now();
    later(sim, machine, at, boot_ms, move |sim, state, at| {
        let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
        enter(machine, "started");
        machine.live.asked_at = Some(now());
        machine.event("start", "started", "flyd", None);
        tend(sim, &at.app, machine);
        if let Some(app) = state.world.app_mut(&at.app) {
            app.log(
                Some(&at.id),
                "runner",
                "info",
                format!("Machine started in {:.3}s", began.elapsed().as_secs_f64()),
            );
        }
        sim.check_soon();
    });
}

fn begin_stop(sim: &Sim, machine: &mut Machine, at: &At, event: (&str, &str, &str), stop_ms: u64, then: Then) {
    let (kind, status, source) = event;
    enter(machine, status);
    machine.event(kind, status, source, None);
    tend(sim, &at.app, machine);
    later(sim, machine, at, stop_ms, move |sim, state, at| {
        let boot_ms = state.settings.boot_ms;
        let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
        enter(machine, "stopped");
        let ended = Exit { restarting: then == Then::StartAgain, ..Exit::asked() };
        machine.event("exit", "stopped", "flyd", Some(exit(&ended, now(), 0)));
        if then == Then::StartAgain {
            begin_start(sim, machine, at, "flyd", boot_ms);
        }
    });
}

/// Does the rest of a step after a while, unless the machine went elsewhere meanwhile.
fn later(sim: &Sim, machine: &Machine, at: &At, ms: u64, rest: impl FnOnce(&Sim, &mut State, &At) + Send + 'static) {
    let (sim, at, epoch) = (sim.clone(), at.clone(), machine.live.epoch);
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            () = sim.stopped() => return,
        }
        let mut state = sim.lock();
        let is_current = state.world.machine_mut(&at.app, &at.id).is_some_and(|m| m.live.epoch == epoch);
        if is_current {
            rest(&sim, &mut state, &at);
            state.bump();
        }
    });
}

fn reach<'a>(state: &'a mut State, at: &At) -> Result<&'a mut Machine, Problem> {
    let machine = state.world.machine_mut(&at.app, &at.id).ok_or_else(Problem::no_machine)?;
    if machine.host_status == "unreachable" {
        // Undocumented: what acting on a machine answers while its host is away.
        return Err(Problem::new(503, "the machine's host is unreachable"));
    }
    Ok(machine)
}

/// After a start from a snapshot: nothing is on its way, and what was started runs.
pub fn resume(sim: &Sim, state: &mut State) {
    for app in &mut state.world.apps {
        for machine in &mut app.machines {
            let word = match machine.state.as_str() {
                "starting" | "restarting" | "started" => "started",
                "stopping" => "stopped",
                other => other,
            };
            let word = word.to_owned();
            enter(machine, &word);
            machine.live.asked_at = Some(now());
            tend(sim, &app.name, machine);
        }
    }
    state.bump();
}

/// What an answer to a start says.
pub fn started(before: &str) -> Value {
    serde_json::json!({"previous_state": before, "migrated": false, "new_host": ""})
}
