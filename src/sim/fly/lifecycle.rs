//! How machines come and go when somebody asks: start, stop, restart, suspend, another configuration, destroyed.
//!
//! Each step is begun under the lock and finished by a task that finds out whether it comes too late. What a process does
//! by itself stands in process.rs.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Sim;
use super::id::now;
use super::images::{self, Character};
use super::problem::Problem;
use super::process;
use super::server::tend;
use super::state::State;
use super::world::{Exit, Live, Machine, NOT_STARTED, exit};

/// Destroyed machines kept an app.
const DESTROYED_MAX: usize = 200;
/// What a process ends with that had to be killed.
pub const KILLED: i64 = 137;

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub app: String,
    pub id: String,
}

/// What an end of the process leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Rest,
    StartAgain,
    Sleep,
    Destroy,
}

/// Begins to start a machine; the state that it was in. `source` is `user` or `proxy`.
///
/// Errors: it is on its way somewhere else, or its host is away.
pub fn start(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<String, Problem> {
    let machine = reach(state, at)?;
    let before = machine.state.clone();
    match before.as_str() {
        "started" => return Ok(before),
        "created" | "stopped" | "suspended" | "failed" => {}
        "starting" => return Err(Problem::precondition("machine still attempting to start")),
        "replacing" => return Err(Problem::precondition("machine getting replaced, refusing to start")),
        "stopping" | "restarting" | "suspending" => {
            return Err(Problem::precondition("machine still active, refusing to start"));
        }
        _ => return Err(Problem::precondition(&format!("unable to start machine from current state: '{before}'"))),
    }
    machine.restart_count = 0;
    begin_start(sim, state, at, source);
    state.bump();
    Ok(before)
}

/// Begins to stop a machine. Stopping one that is stopped does nothing.
///
/// Errors: as [`stop_within`] has them.
pub fn stop(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<(), Problem> {
    stop_within(sim, state, at, source, None)
}

/// Begins to stop a machine; its process is killed after `timeout_ms`, or after what its configuration says.
///
/// Errors: it cannot be stopped from where it is, or its host is away.
pub fn stop_within(
    sim: &Sim,
    state: &mut State,
    at: &At,
    source: &str,
    timeout_ms: Option<u64>,
) -> Result<(), Problem> {
    let machine = reach(state, at)?;
    match machine.state.as_str() {
        "stopped" | "stopping" => return Ok(()),
        "started" | "starting" | "restarting" | "suspended" | "created" => {}
        other => return Err(cannot("stop", other)),
    }
    // Undocumented: the names of this event; the documents show launch, start, update and exit only.
    begin_end(sim, state, at, ("stop", "stopping", source), timeout_ms, Then::Rest);
    state.bump();
    Ok(())
}

/// Begins to suspend a machine: its memory is kept, and the next start is a resume.
///
/// Errors: it does not run, or its host is away.
pub fn suspend(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<(), Problem> {
    let machine = reach(state, at)?;
    match machine.state.as_str() {
        "suspended" | "suspending" => return Ok(()),
        "started" => {}
        other => return Err(cannot("suspend", other)),
    }
    begin_end(sim, state, at, ("suspend", "suspending", source), None, Then::Sleep);
    state.bump();
    Ok(())
}

/// Begins to stop and start a machine. One that is stopped is started.
///
/// Errors: as [`restart_within`] has them.
pub fn restart(sim: &Sim, state: &mut State, at: &At, source: &str) -> Result<(), Problem> {
    restart_within(sim, state, at, source, None)
}

/// The same, and the process is killed after `timeout_ms`.
///
/// Errors: as [`start`] and [`stop`] have them.
pub fn restart_within(
    sim: &Sim,
    state: &mut State,
    at: &At,
    source: &str,
    timeout_ms: Option<u64>,
) -> Result<(), Problem> {
    let machine = reach(state, at)?;
    match machine.state.as_str() {
        "started" => {}
        "stopped" | "suspended" | "failed" | "created" => return start(sim, state, at, source).map(|_| ()),
        other => return Err(cannot("restart", other)),
    }
    machine.restart_count = 0;
    begin_end(sim, state, at, ("restart", "restarting", source), timeout_ms, Then::StartAgain);
    state.bump();
    Ok(())
}

/// Gives a machine another configuration, whole: what runs is stopped, and the new version starts when `launch` says so.
///
/// Errors: it is being replaced or destroyed already, or its host is away.
pub fn replace(sim: &Sim, state: &mut State, at: &At, config: Value, launch: bool) -> Result<(), Problem> {
    let machine = reach(state, at)?;
    let before = machine.state.clone();
    if !matches!(
        before.as_str(),
        "created" | "started" | "stopped" | "suspended" | "failed" | "starting" | "stopping" | "restarting"
    ) {
        // Undocumented: the words. That a machine which is being replaced refuses is known of a start.
        return Err(Problem::precondition(&format!("machine is {before}, refusing to update")));
    }
    let had_process = matches!(before.as_str(), "started" | "starting" | "stopping" | "restarting");
    let (stop_ms, killed) = if had_process { stop_span(machine, None) } else { (0, false) };
    machine.take_config(config);
    machine.restart_count = 0;
    machine.event("update", "replacing", "user", None);
    if !had_process && !launch {
        // Undocumented: what becomes of a suspended machine's memory; here it is lost with the old version.
        let word = if before == "suspended" { "stopped".to_owned() } else { before };
        enter(machine, &word);
        state.bump();
        return Ok(());
    }
    enter(machine, "replacing");
    tend(sim, &at.app, machine);
    later(sim, machine, at, stop_ms, move |sim, state, at| {
        let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
        if had_process {
            machine.event("exit", "stopped", "flyd", Some(exit(&asked(killed, false), now(), 0)));
        }
        if launch {
            begin_start(sim, state, at, "flyd");
        } else {
            enter(machine, "stopped");
        }
    });
    state.bump();
    Ok(())
}

/// Begins to destroy a machine.
///
/// Errors: it runs and nobody said to force it, or its host is away.
pub fn destroy(sim: &Sim, state: &mut State, at: &At, force: bool, source: &str) -> Result<(), Problem> {
    let machine = reach(state, at)?;
    match machine.state.as_str() {
        "destroying" => return Ok(()),
        "stopped" | "suspended" | "failed" | "created" => {
            machine.event("destroy", "destroying", source, None);
            vanish(state, at);
        }
        _ if force => begin_end(sim, state, at, ("destroy", "destroying", source), Some(0), Then::Destroy),
        _ => {
            let words = "unable to destroy machine, not currently stopped, suspended, failed or created";
            return Err(Problem::precondition(words));
        }
    }
    state.bump();
    Ok(())
}

/// Takes a machine out of the app; it can still be looked at by its id.
pub fn vanish(state: &mut State, at: &At) {
    let Some(app) = state.world.app_mut(&at.app) else { return };
    let Some(index) = app.machines.iter().position(|machine| machine.id == at.id) else { return };
    let mut machine = app.machines.remove(index);
    enter(&mut machine, "destroyed");
    machine.event("destroy", "destroyed", "flyd", None);
    machine.lease = None;
    machine.live = Live::default();
    for volume in app.volumes.iter_mut().filter(|volume| volume.machine.as_deref() == Some(at.id.as_str())) {
        volume.machine = None;
    }
    app.destroyed.push(machine);
    if app.destroyed.len() > DESTROYED_MAX {
        app.destroyed.remove(0);
    }
}

/// Moves a machine into a state. Every step that was under way comes too late from now on.
pub fn enter(machine: &mut Machine, word: &str) {
    machine.state = word.to_owned();
    machine.updated_at = now();
    machine.live.epoch += 1;
    machine.live.doomed = false;
    machine.touch();
    if word != "started" {
        machine.live.listens = false;
        machine.reset_checks(NOT_STARTED);
    }
}

/// Begins to start what a machine is configured to run.
pub fn begin_start(sim: &Sim, state: &mut State, at: &At, source: &str) {
    let Some(found) = state.world.app(&at.app).and_then(|app| app.machine(&at.id)) else { return };
    let (plan, image) = (images::plan(state, found), found.image().to_owned());
    // An image that was pulled once stays on the host.
    let is_missing = found.boots == 0 && matches!(plan.character, Character::Pruned | Character::NotPullable);
    let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
    machine.live.plan = plan;
    enter(machine, "starting");
    machine.event("start", "starting", source, None);
    tend(sim, &at.app, machine);
    let began = Instant::now();
    later(sim, machine, at, plan.boot_ms, move |sim, state, at| {
        let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
        if is_missing {
            // Undocumented: the event. That the machine ends as failed is what operators report.
            enter(machine, "failed");
            machine.event("launch", "failed", "flyd", None);
            let words = format!("failed to pull image {image}: not found");
            log(state, at, "error", words);
            return;
        }
        machine.boots += 1;
        enter(machine, "started");
        machine.live.asked_at = Some(now());
        machine.event("start", "started", "flyd", None);
        log(state, at, "info", format!("Machine started in {:.3}s", began.elapsed().as_secs_f64()));
        process::begin(sim, state, at);
    });
}

/// A line of Fly's own runner.
pub fn log(state: &mut State, at: &At, level: &str, words: String) {
    if let Some(app) = state.world.app_mut(&at.app) {
        app.log(Some(&at.id), "runner", level, words);
    }
}

/// Does the rest of a step after a while, unless the machine went elsewhere meanwhile.
pub fn later(
    sim: &Sim,
    machine: &Machine,
    at: &At,
    ms: u64,
    rest: impl FnOnce(&Sim, &mut State, &At) + Send + 'static,
) {
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

fn begin_end(
    sim: &Sim,
    state: &mut State,
    at: &At,
    (kind, status, source): (&str, &str, &str),
    timeout_ms: Option<u64>,
    then: Then,
) {
    let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
    let (stop_ms, killed) = stop_span(machine, timeout_ms);
    enter(machine, status);
    machine.event(kind, status, source, None);
    tend(sim, &at.app, machine);
    later(sim, machine, at, stop_ms, move |sim, state, at| {
        let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
        enter(machine, if then == Then::Sleep { "suspended" } else { "stopped" });
        if then == Then::Sleep {
            machine.event("suspend", "suspended", "flyd", None);
            return;
        }
        let ended = asked(killed, then == Then::StartAgain);
        machine.event("exit", "stopped", "flyd", Some(exit(&ended, now(), 0)));
        match then {
            Then::StartAgain => begin_start(sim, state, at, "flyd"),
            Then::Destroy => vanish(state, at),
            Then::Rest if machine.config["auto_destroy"] == true => vanish(state, at),
            Then::Rest | Then::Sleep => {}
        }
    });
}

/// How long a stop takes, and whether the process is killed at the end of it.
fn stop_span(machine: &Machine, timeout_ms: Option<u64>) -> (u64, bool) {
    let wanted = machine.live.plan.stop_ms;
    let patience = timeout_ms.unwrap_or_else(|| machine.kill_timeout_ms());
    if wanted > patience { (patience, true) } else { (wanted, false) }
}

/// An end that somebody asked for. Undocumented: the code of a process that had to be killed for it.
fn asked(killed: bool, restarting: bool) -> Exit {
    Exit { code: if killed { KILLED } else { 0 }, restarting, ..Exit::asked() }
}

fn cannot(verb: &str, word: &str) -> Problem {
    Problem::precondition(&format!("unable to {verb} machine from current state: '{word}'"))
}

/// The machine, unless its host is away.
pub fn reach<'a>(state: &'a mut State, at: &At) -> Result<&'a mut Machine, Problem> {
    let machine = state.world.machine_mut(&at.app, &at.id).ok_or_else(Problem::no_machine)?;
    if machine.host_status == "unreachable" {
        // Undocumented: what acting on a machine answers while its host is away.
        return Err(Problem::new(503, "the machine's host is unreachable"));
    }
    Ok(machine)
}

/// After a start from a snapshot: nothing is on its way, and what was started runs.
pub fn resume(sim: &Sim, state: &mut State) {
    let mut running = Vec::new();
    let mut leaving = Vec::new();
    for app in &mut state.world.apps {
        for machine in &mut app.machines {
            let at = At { app: app.name.clone(), id: machine.id.clone() };
            let word = match machine.state.as_str() {
                "starting" | "restarting" | "replacing" | "started" => "started",
                "stopping" => "stopped",
                "suspending" => "suspended",
                other => other,
            };
            let word = word.to_owned();
            match word.as_str() {
                "started" => running.push(at),
                "destroying" => leaving.push(at),
                _ => {}
            }
            enter(machine, &word);
            machine.live.asked_at = Some(now());
        }
    }
    for at in leaving {
        vanish(state, &at);
    }
    for at in running {
        let Some(found) = state.world.app(&at.app).and_then(|app| app.machine(&at.id)) else { continue };
        let mut plan = images::plan(state, found);
        // It was up long before this process was.
        plan.healthy_ms = 0;
        if let Some(machine) = state.world.machine_mut(&at.app, &at.id) {
            machine.live.plan = plan;
            machine.boots = machine.boots.max(1);
        }
        process::begin(sim, state, &at);
    }
    state.bump();
}

/// What an answer to a start says.
pub fn started(before: &str) -> Value {
    serde_json::json!({"previous_state": before, "migrated": false, "new_host": ""})
}
