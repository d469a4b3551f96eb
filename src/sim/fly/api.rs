//! The one way of every request of a client: noted, hit by faults, who asks, the limits, the answer.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State as Extract};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Sim;
use super::auth::{self, Caller};
use super::connection::Scissors;
use super::faults::{Away, FaultKind};
use super::problem::{Problem, answer};
use super::{graphql, logs, machines, metrics, releases};

/// The API that a request is for. They live and die apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Machines,
    Releases,
    Logs,
    Graphql,
    Prometheus,
}

impl Door {
    fn word(self) -> &'static str {
        match self {
            Door::Machines => "machines",
            Door::Releases => "releases",
            Door::Logs => "logs",
            Door::Graphql => "graphql",
            Door::Prometheus => "prometheus",
        }
    }

    /// The door of a path, and the rest of the path behind it.
    fn of(path: &str) -> Option<(Door, &str)> {
        if let Some(rest) = path.strip_prefix("/v1/") {
            return Some((Door::Machines, rest));
        }
        if let Some(rest) = path.strip_prefix("/api/v1/") {
            let door = if rest.ends_with("/logs") { Door::Logs } else { Door::Releases };
            return Some((door, rest));
        }
        if let Some(rest) = path.strip_prefix("/prometheus/") {
            return Some((Door::Prometheus, rest));
        }
        (path == "/graphql").then_some((Door::Graphql, ""))
    }
}

/// A request past the door.
pub struct Call {
    pub method: Method,
    /// Behind the door's own part.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    /// As it came.
    pub bytes: Bytes,
    /// The body when it is JSON; null otherwise.
    pub body: Value,
    pub caller: Caller,
}

impl Call {
    /// The first value of a key of the query.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key, repeated or separated by commas.
    pub fn all(&self, key: &str) -> Vec<&str> {
        let of_key = self.query.iter().filter(|(known, _)| known == key);
        of_key.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|value| !value.is_empty()).collect()
    }
}

/// Answers a request of a client.
pub async fn serve(
    Extract(sim): Extract<Sim>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let Some((door, rest)) = Door::of(uri.path()) else { return Problem::new(404, "page not found").into_response() };
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let seq = {
        let template = if door == Door::Machines { machines::template(&method, rest) } else { None };
        let template = template.unwrap_or(uri.path());
        let query = uri.query().unwrap_or_default();
        let mut state = sim.lock();
        let agent = headers.get(axum::http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        state.recorder.request(agent, door.word(), (method.as_str(), uri.path()), template, query, &body)
    };
    let faults = sim.lock().faults.meet(door.word(), method.as_str(), uri.path());
    let mut lose_the_answer = false;
    let mut keep_the_answer = false;
    let mut spoilt = None;
    for (id, fault) in faults {
        match fault {
            FaultKind::Latency { latency_ms } => tokio::time::sleep(Duration::from_millis(latency_ms)).await,
            FaultKind::Answer { status, body, retry_after_s } => spoilt = Some(ordered(status, body, retry_after_s)),
            FaultKind::DropAnswer => lose_the_answer = true,
            FaultKind::Silence => keep_the_answer = true,
            FaultKind::Refuse { meaning } => spoilt = Some(meaning.problem().into_response()),
            // Met where a release is changed.
            FaultKind::ReleaseSticks => {}
            FaultKind::Hang => {
                sim.stopped().await;
                scissors.cut();
            }
            FaultKind::Hold => {
                let mut changes = sim.lock().changes();
                while sim.lock().faults.has(id) {
                    tokio::select! {
                        changed = changes.changed() => if changed.is_err() { break },
                        () = sim.stopped() => break,
                    }
                }
            }
            FaultKind::Down { mode: Away::Unavailable } => spoilt = Some(ordered(503, None, None)),
            FaultKind::Down { mode: Away::Close } => {
                scissors.cut();
                spoilt = Some(ordered(503, None, None));
            }
        }
    }
    let query = pairs(uri.query().unwrap_or_default());
    let mut response = match spoilt {
        Some(response) => response,
        None => {
            let caller = auth::caller(&sim.lock(), door, &headers);
            match caller {
                Ok(caller) => {
                    let call = Call { method, path: rest.to_owned(), query, headers, bytes, body, caller };
                    dispatch(&sim, door, call).await
                }
                Err(problem) if door == Door::Graphql => graphql::unauthorized(problem.status),
                Err(problem) => problem.into_response(),
            }
        }
    };
    if let Ok(id) = HeaderValue::from_str(&sim.request_id()) {
        response.headers_mut().insert("fly-request-id", id);
    }
    sim.lock().recorder.answered(seq, response.status().as_u16());
    if keep_the_answer {
        sim.stopped().await;
    }
    if lose_the_answer || keep_the_answer {
        scissors.cut();
    }
    response
}

async fn dispatch(sim: &Sim, door: Door, call: Call) -> Response {
    let result = match door {
        Door::Machines => match machines::find(&call.method, &call.path) {
            Ok(found) => {
                let limited = {
                    let mut state = sim.lock();
                    let settings = state.settings.clone();
                    let action = found.action();
                    state
                        .limits
                        .take(&settings, &action, found.object(), Instant::now())
                        .map_err(|s| (s, settings.retry_after))
                };
                match limited {
                    Ok(()) => machines::serve(sim, &call, &found).await,
                    Err((seconds, tell)) => return too_many(seconds, tell),
                }
            }
            Err(problem) => Err(problem),
        },
        Door::Releases => releases::serve(&mut sim.lock(), &call),
        Door::Logs => logs::serve(&sim.lock(), &call),
        Door::Graphql => graphql::serve(&mut sim.lock(), &call),
        Door::Prometheus => metrics::serve(&sim.lock(), &call),
    };
    result.unwrap_or_else(Problem::into_response)
}

/// Undocumented: the body of a 429, and whether a header tells when to come back.
fn too_many(seconds: f64, tell: bool) -> Response {
    let mut response = Problem::new(429, "rate limit exceeded").into_response();
    if tell {
        let whole = HeaderValue::from(seconds.ceil().max(1.0) as u64);
        response.headers_mut().insert(header::RETRY_AFTER, whole);
    }
    response
}

fn ordered(status: u16, body: Option<Value>, retry_after_s: Option<u64>) -> Response {
    let mut response = match body {
        Some(body) => answer(status, &body),
        None => Problem::new(status, &super::http::reason(status).to_lowercase()).into_response(),
    };
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The pairs of a query or of a form; none when it cannot be read.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let uri = format!("/?{text}").parse::<Uri>().ok();
    uri.and_then(|uri| axum::extract::Query::try_from_uri(&uri).ok()).map(|query| query.0).unwrap_or_default()
}
