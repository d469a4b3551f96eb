//! The front of an app: what the world sees. It sends each request to a machine, and wakes one when all sleep.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use super::Sim;
use super::http::{self, Request, Response};
use super::id::now;
use super::lifecycle::{self, At};
use super::metrics::Hit;
use super::state::State;
use super::world::Machine;

/// Machines that one request is offered to.
const TRIES_MAX: usize = 3;
/// How long a request waits for a machine to wake, beyond its own boot.
const WAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How often the stand-in's own visitors look whether it is their turn.
const VISIT_EVERY: Duration = Duration::from_millis(250);

/// Serves an app's front until the stand-in stops.
pub async fn listen(sim: Sim, app: String, listener: TcpListener) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, app, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = sim.stopped() => return,
        };
        tokio::spawn(connection(sim.clone(), app.clone(), stream));
    }
}

async fn connection(sim: Sim, app: String, mut stream: TcpStream) {
    let request = tokio::select! {
        read = http::read_request(&mut stream) => read,
        () = sim.stopped() => return,
    };
    let response = match request {
        Ok(Some(request)) => {
            let with_body = request.method != "HEAD";
            let response = tokio::select! {
                response = serve(&sim, &app, &request) => response,
                () = sim.stopped() => return,
            };
            (response, with_body)
        }
        Ok(None) => return,
        Err(error) => (Response::text(400, &error.to_string()), true),
    };
    // Whoever asked may be gone by now.
    let _ = http::write_response(&mut stream, &response.0, response.1).await;
}

/// Answers one request from outside, and counts it.
pub async fn serve(sim: &Sim, app: &str, request: &Request) -> Response {
    let began = Instant::now();
    let mut response = route(sim, app, request).await;
    response.headers.push(("fly-request-id".to_owned(), sim.request_id()));
    response.headers.push(("via".to_owned(), "1.1 fly.io".to_owned()));
    let latency_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let hit = Hit { at: now(), status: response.status, latency_ms };
    sim.lock().traffic.note(app, hit);
    response
}

async fn route(sim: &Sim, app: &str, request: &Request) -> Response {
    let within = Duration::from_millis(sim.lock().settings.front_timeout_ms);
    let mut tried = Vec::new();
    for _ in 0..TRIES_MAX {
        let Some((id, port)) = choose(&mut sim.lock(), app, &tried) else { break };
        let result = match port {
            Some(port) => http::ask(port, request, within).await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        match result {
            Ok(response) => return response,
            Err(error) => {
                let (line, again) = complaint(&error);
                log(sim, app, Some(&id), "error", line);
                if !again {
                    return Response::text(502, "");
                }
                tried.push(id);
            }
        }
    }
    if !tried.is_empty() {
        return Response::text(502, "");
    }
    match wake(sim, app).await {
        Ok(port) => http::ask(port, request, within).await.unwrap_or_else(|_| Response::text(502, "")),
        Err(line) => {
            log(sim, app, None, "error", line);
            Response::text(503, "")
        }
    }
}

/// What the proxy notes, and whether another machine may try: not once a machine has begun to work on it.
fn complaint(error: &io::Error) -> (&'static str, bool) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            ("[PC01] instance refused connection. is your app listening on 0.0.0.0:8080?", true)
        }
        io::ErrorKind::TimedOut => ("[PU02] could not complete HTTP request to instance: timed out", false),
        _ => ("[PU02] could not complete HTTP request to instance: connection closed before message completed", false),
    }
}

/// A started machine: one that passes its checks before one that does not, the one asked longest ago first.
///
/// Undocumented: what Fly does when none passes. Here such a machine is asked all the same, so that its own error is seen.
fn choose(state: &mut State, app: &str, tried: &[String]) -> Option<(String, Option<u16>)> {
    let app = state.world.app_mut(app)?;
    let machine = app
        .machines
        .iter_mut()
        .filter(|machine| {
            machine.is_reachable() && machine.serves() && !machine.cordoned && !tried.contains(&machine.id)
        })
        .min_by_key(|machine| (!machine.is_passing(), machine.live.asked_at))?;
    machine.live.asked_at = Some(now());
    Some((machine.id.clone(), machine.live.server.as_ref().map(|server| server.port)))
}

/// Wakes a machine and waits until it answers; its port. Says what kept it otherwise.
async fn wake(sim: &Sim, app: &str) -> Result<u16, &'static str> {
    const NOBODY: &str = "[PR01] no known healthy instances found for route tcp/443";
    let began = Instant::now();
    let mut changes = sim.lock().changes();
    let at = {
        let mut state = sim.lock();
        let sleeper = state.world.app(app).and_then(|app| {
            let usable = app.machines.iter().filter(|m| m.host_status == "ok" && !m.cordoned && m.autostart());
            // Somebody may have begun to wake it a moment ago.
            usable.min_by_key(|m| {
                !matches!(m.state.as_str(), "starting" | "restarting" | "replacing" | "stopped" | "suspended")
            })
        });
        let Some(sleeper) = sleeper else { return Err(NOBODY) };
        let (at, word) = (At { app: app.to_owned(), id: sleeper.id.clone() }, sleeper.state.clone());
        if matches!(word.as_str(), "stopped" | "suspended")
            && lifecycle::start(sim, &mut state, &at, "proxy").is_ok()
            && let Some(app) = state.world.app_mut(app)
        {
            app.log(Some(&at.id), "proxy", "info", "Starting machine");
        }
        at
    };
    let patience = {
        let state = sim.lock();
        WAKE_PATIENCE + Duration::from_millis(state.settings.boot_ms.saturating_add(state.settings.healthy_ms))
    };
    let waiting = async {
        loop {
            {
                let mut state = sim.lock();
                let machine = state.world.machine_mut(&at.app, &at.id)?;
                if let Some(server) = &machine.live.server {
                    return Some(server.port);
                }
                if matches!(machine.state.as_str(), "stopped" | "suspended") {
                    // It was on its way down when the request came.
                    if lifecycle::start(sim, &mut state, &at, "proxy").is_err() {
                        return None;
                    }
                }
            }
            changes.changed().await.ok()?;
        }
    };
    match tokio::time::timeout(patience, waiting).await {
        Ok(Some(port)) => {
            let ms = began.elapsed().as_secs_f64() * 1_000.0;
            log(sim, app, Some(&at.id), "info", &format!("machine became reachable in {ms:.6}ms"));
            Ok(port)
        }
        Ok(None) => Err(NOBODY),
        Err(_) => Err("[PM02] could not wake up machine due to a timeout requesting from the machines API"),
    }
}

fn log(sim: &Sim, app: &str, machine: Option<&str>, level: &str, line: &str) {
    let mut state = sim.lock();
    if let Some(app) = state.world.app_mut(app) {
        app.log(machine, "proxy", level, line);
    }
}

/// The requests that the stand-in makes itself. They never wake anybody.
pub async fn visit(sim: Sim) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(VISIT_EVERY) => {}
            () = sim.stopped() => return,
        }
        let share = VISIT_EVERY.as_secs_f64() / 60.0;
        let mut calls = Vec::new();
        for app in sim.lock().world.apps.iter().filter(|app| app.machines.iter().any(Machine::is_reachable)) {
            let due = f64::from(app.visitors_per_minute) * share;
            let count = due.floor() as usize + usize::from(fastrand::f64() < due.fract());
            calls.extend(std::iter::repeat_n(app.name.clone(), count));
        }
        for app in calls {
            let sim = sim.clone();
            tokio::spawn(async move {
                let visit = Request::get("/");
                tokio::select! {
                    _ = serve(&sim, &app, &visit) => {}
                    () = sim.stopped() => {}
                }
            });
        }
    }
}
