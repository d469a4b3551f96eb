//! The program in a machine: a real HTTP server on loopback that behaves as it was told.
//!
//! Owns the port of a started machine. Never changes a machine's state; see lifecycle.rs.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::Sim;
use super::http::{self, Request, Response};
use super::images::Character;
use super::world::{Behaviour, Machine};

/// What Fly's own checks call themselves.
///
/// Undocumented: the name. It tells a check from a visitor, for images that treat them differently.
pub const CHECKER: &str = "Consul Health Check";
/// Connections of one machine at a time.
const CONNECTIONS_MAX: usize = 512;

/// A running server. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Server {
    pub port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens or closes a machine's server, as its state and behaviour ask.
pub fn tend(sim: &Sim, app: &str, machine: &mut Machine) {
    let wanted = machine.is_reachable() && machine.live.listens && machine.behaviour != Behaviour::Dead;
    if !wanted {
        machine.live.server = None;
    } else if machine.live.server.is_none() {
        match open(sim, app, &machine.id) {
            Ok(server) => machine.live.server = Some(server),
            // The machine then looks dead, which is what it is.
            Err(error) => tracing::warn!(%error, machine = machine.id, "cannot open the port of a simulated machine"),
        }
    }
}

fn open(sim: &Sim, app: &str, id: &str) -> std::io::Result<Server> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let listener = TcpListener::from_std(listener)?;
    let (sim, app, id) = (sim.clone(), app.to_owned(), id.to_owned());
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => { connections.spawn(serve(sim.clone(), app.clone(), id.clone(), stream)); }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    });
    Ok(Server { port, task })
}

async fn serve(sim: Sim, app: String, id: String, mut stream: TcpStream) {
    let Ok(Some(request)) = http::read_request(&mut stream).await else { return };
    let Some((behaviour, slow_ms, about)) = note(&sim, &app, &id, is_check(&request)) else { return };
    match behaviour {
        // The port is closed by `tend`; this connection was faster.
        Behaviour::Dead => return,
        Behaviour::Hanging => return http::gone(&mut stream).await,
        Behaviour::Slow => tokio::time::sleep(Duration::from_millis(slow_ms)).await,
        Behaviour::Healthy | Behaviour::Wrong | Behaviour::WrongBody => {}
    }
    let response = answer(behaviour, &request, about);
    if response.status >= 500 {
        let line = format!("{} {} failed: {}", request.method, request.path, http::reason(response.status));
        let mut state = sim.lock();
        if let Some(app) = state.world.app_mut(&app) {
            app.log(Some(&id), "app", "error", line);
        }
    }
    // Whoever asked may be gone by now.
    let _ = http::write_response(&mut stream, &response, request.method != "HEAD").await;
}

/// Counts a request; how to behave, and what the machine knows about itself.
fn note(sim: &Sim, app: &str, id: &str, is_check: bool) -> Option<(Behaviour, u64, Value)> {
    let mut state = sim.lock();
    let machine = state.world.machine_mut(app, id)?;
    machine.live.requests += 1;
    let about = json!({
        "app": app, "machine": machine.id, "region": machine.region, "image": machine.image(),
        "version": machine.instance_id,
    });
    Some((conduct(machine, is_check), machine.slow_ms, about))
}

/// How a machine answers: as it was told by hand, else as its image is.
fn conduct(machine: &Machine, is_check: bool) -> Behaviour {
    match machine.live.plan.character {
        _ if machine.behaviour != Behaviour::Healthy => machine.behaviour,
        Character::Unhealthy => Behaviour::Wrong,
        Character::FailingCheck if is_check => Behaviour::Wrong,
        Character::Broken if !is_check => Behaviour::Wrong,
        _ => Behaviour::Healthy,
    }
}

fn is_check(request: &Request) -> bool {
    request.headers.iter().any(|(name, value)| name == "user-agent" && value == CHECKER)
}

fn answer(behaviour: Behaviour, request: &Request, about: Value) -> Response {
    let path = request.path.split('?').next().unwrap_or_default();
    match (behaviour, path) {
        (Behaviour::Wrong, _) => Response::json(500, &json!({"error": "internal server error"})),
        (Behaviour::WrongBody, _) => Response::json(200, &json!({"status": "degraded"})),
        (_, "/health") => Response::json(200, &json!({"status": "ok"})),
        (_, "/") => Response::json(200, &about),
        _ => Response::json(404, &json!({"error": "not found"})),
    }
}
