//! What the process in a machine does by itself: it listens after a while, and some end without being asked.

use super::Sim;
use super::id::now;
use super::images::Character;
use super::lifecycle::{At, KILLED, begin_start, enter, later, log, vanish};
use super::server::tend;
use super::state::State;
use super::world::{Exit, exit};

/// A machine has just been started: what its image has in mind begins.
pub fn begin(sim: &Sim, state: &mut State, at: &At) {
    let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
    let plan = machine.live.plan;
    machine.live.listens = plan.healthy_ms == 0;
    tend(sim, &at.app, machine);
    if plan.healthy_ms > 0 {
        later(sim, machine, at, plan.healthy_ms, |sim, state, at| {
            let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
            machine.live.listens = true;
            machine.touch();
            tend(sim, &at.app, machine);
            sim.check_soon();
        });
    }
    let end = match (machine.is_job(), plan.character) {
        (_, Character::CrashLoop) => Some((plan.exit_code, false)),
        (_, Character::OutOfMemory) => Some((KILLED, true)),
        // A release command, or a task: it has something to do and is done.
        (true, _) => Some((plan.exit_code, false)),
        (false, _) => None,
    };
    if let Some((code, oom)) = end {
        machine.live.doomed = true;
        later(sim, machine, at, plan.run_ms, move |sim, state, at| die(sim, state, at, code, oom, false));
    }
    sim.check_soon();
}

/// The process ends by itself. What follows is up to the machine's restart policy, unless it is to stay down.
pub fn die(sim: &Sim, state: &mut State, at: &At, code: i64, oom: bool, stays_down: bool) {
    let Some(machine) = state.world.machine_mut(&at.app, &at.id) else { return };
    if machine.state != "started" {
        return;
    }
    let again = match machine.restart_policy() {
        _ if stays_down => false,
        "no" => false,
        "always" => true,
        _ => code != 0 && machine.restart_count < machine.retries_max(),
    };
    if again {
        machine.restart_count += 1;
        machine.restarts += 1;
    }
    let count = machine.restart_count;
    let ended = Exit { code, oom, requested: false, restarting: again };
    enter(machine, if again { "restarting" } else { "stopped" });
    tend(sim, &at.app, machine);
    machine.event("exit", "stopped", "flyd", Some(exit(&ended, now(), count)));
    let is_over = !again && machine.config["auto_destroy"] == true;
    let is_failed_job = machine.is_job() && code != 0 && !oom;
    if oom {
        log(state, at, "error", "Out of memory: Killed process 642 (server)".to_owned());
        log(state, at, "error", "Process appears to have been OOM killed!".to_owned());
    }
    if is_failed_job && let Some(app) = state.world.app_mut(&at.app) {
        app.log(Some(&at.id), "app", "error", "Error: relation \"orders\" does not exist");
    }
    log(state, at, "info", format!("Main child exited with code {code}"));
    if again {
        begin_start(sim, state, at, "flyd");
    } else if is_over {
        vanish(state, at);
    }
    state.bump();
}
