//! Fly's health checks: every started machine is asked over the wire, and auto-stop looks whom nobody asks.
//!
//! A failing check never restarts a machine, as on Fly.

use std::io;
use std::time::Duration;

use chrono::TimeDelta;

use super::Sim;
use super::http::{self, Request, Response};
use super::id::now;
use super::lifecycle::{self, At};
use super::server::CHECKER;
use super::world::INTERNAL_PORT;

/// The shortest pause between two rounds, whatever the settings say.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Bytes of an answer that a check shows.
const OUTPUT_BYTES_MAX: usize = 200;

/// A look to take.
struct Look {
    at: At,
    /// `None`: nobody listens.
    port: Option<u16>,
    paths: Vec<String>,
    epoch: u64,
    touched: u64,
}

/// Looks again and again until the stand-in stops.
pub async fn keep(sim: Sim) {
    loop {
        round(&sim);
        let pause = Duration::from_millis(sim.lock().settings.check_every_ms).max(PAUSE_MIN);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = sim.asked_to_check() => {}
            () = sim.stopped() => return,
        }
    }
}

/// Begins a look at every started machine that is not looked at already.
fn round(sim: &Sim) {
    let mut looks = Vec::new();
    let mut idle = Vec::new();
    {
        let mut state = sim.lock();
        let timeout = Duration::from_millis(state.settings.check_timeout_ms);
        let quiet =
            TimeDelta::milliseconds(i64::try_from(state.settings.autostop_after_ms).unwrap_or(i64::MAX / 2_000));
        for app in &mut state.world.apps {
            for machine in app.machines.iter_mut().filter(|machine| machine.state == "started") {
                let at = At { app: app.name.clone(), id: machine.id.clone() };
                if machine.autostop() && machine.live.asked_at.is_some_and(|asked| now() - asked >= quiet) {
                    idle.push(at.clone());
                }
                if machine.live.checking {
                    continue;
                }
                machine.live.checking = true;
                looks.push(Look {
                    at,
                    port: machine.live.server.as_ref().map(|server| server.port),
                    paths: machine.checks.iter().map(|check| check.path.clone()).collect(),
                    epoch: machine.live.epoch,
                    touched: machine.live.touched,
                });
            }
        }
        for at in idle {
            sleep(sim, &mut state, &at);
        }
        drop(state);
        for look in looks {
            tokio::spawn(take(sim.clone(), look, timeout));
        }
    }
}

/// Stops a machine as auto-stop does.
pub fn sleep(sim: &Sim, state: &mut super::state::State, at: &At) {
    let (name, id) = (&at.app, &at.id);
    // A machine whose host is away, or that goes elsewhere already, is left alone.
    if lifecycle::stop(sim, state, at, "proxy").is_err() {
        return;
    }
    if let Some(app) = state.world.app_mut(name) {
        let line = format!("App {name} has excess capacity, autostopping machine {id}");
        app.log(Some(id), "proxy", "info", line);
    }
}

async fn take(sim: Sim, look: Look, within: Duration) {
    let mut found = Vec::with_capacity(look.paths.len());
    for path in &look.paths {
        let result = match look.port {
            Some(port) => http::ask(port, &check_request(path), within).await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        found.push(verdict(path, &result));
    }
    let mut state = sim.lock();
    let Some(machine) = state.world.machine_mut(&look.at.app, &look.at.id) else { return };
    machine.live.checking = false;
    if machine.live.epoch != look.epoch {
        // It went elsewhere meanwhile; if it runs again, it is looked at anew.
        sim.check_soon();
        return;
    }
    let before: Vec<String> = machine.checks.iter().map(|check| check.status.clone()).collect();
    for (check, (status, output)) in machine.checks.iter_mut().zip(found) {
        check.set(status, output, now());
    }
    let was_late = machine.live.checked < machine.live.touched;
    machine.live.checked = look.touched;
    if machine.live.checked < machine.live.touched {
        sim.check_soon();
    }
    let changes: Vec<String> = (machine.checks.iter().zip(&before))
        .filter(|(check, before)| check.status != **before)
        .map(|(check, _)| format!("Health check '{}' is now {}", check.name, check.status))
        .collect();
    if was_late || !changes.is_empty() {
        if let Some(app) = state.world.app_mut(&look.at.app) {
            for line in changes {
                let level = if line.ends_with("passing") { "info" } else { "error" };
                app.log(Some(&look.at.id), "runner", level, line);
            }
        }
        state.bump();
    }
}

fn check_request(path: &str) -> Request {
    let headers = vec![("user-agent".to_owned(), CHECKER.to_owned())];
    Request { headers, ..Request::get(path) }
}

/// Undocumented: the words of an output; only the status is known.
fn verdict(path: &str, result: &io::Result<Response>) -> (&'static str, String) {
    let url = format!("http://127.0.0.1:{INTERNAL_PORT}{path}");
    match result {
        Ok(response) => {
            let shown = response.body.get(..OUTPUT_BYTES_MAX).unwrap_or(&response.body);
            let output = format!(
                "HTTP GET {url}: {} {} Output: {:?}",
                response.status,
                http::reason(response.status),
                String::from_utf8_lossy(shown)
            );
            (if (200..300).contains(&response.status) { "passing" } else { "critical" }, output)
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            ("critical", format!("GET {url}: context deadline exceeded while awaiting headers"))
        }
        Err(_) => ("critical", format!("GET {url}: connect: connection refused")),
    }
}
