//! The control API of docs/sim-fly.md over HTTP.
//!
//! Only for this machine: the host must be a loopback name, and a browser's request must come from a page of this address.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde_json::{Value, json};

use super::Sim;
use super::act::act;
use super::problem::{Problem, ok};
use super::state::State;
use super::world::{App, Machine};
use super::{id, metrics, releases};

/// The longest that a call waits.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Requests of one answer.
const REQUESTS_MAX: usize = 5_000;

type Fields = Query<BTreeMap<String, String>>;

/// All routes below `/sim`.
pub fn router() -> Router<Sim> {
    Router::new()
        .route("/sim/state", get(get_state))
        .route("/sim/settled", get(get_settled))
        .route("/sim/requests", get(get_requests))
        .route("/sim/metrics", get(async |Extract(sim): Extract<Sim>| metrics::text(&sim.lock(), id::now())))
        .route(
            "/sim/settings",
            get(async |Extract(sim): Extract<Sim>| ok(&json!(sim.lock().settings))).post(post_settings),
        )
        .route("/sim/images", get(get_images))
        .route("/sim/faults", get(get_faults).post(post_faults).delete(delete_faults))
        .route("/sim/faults/{id}", delete(delete_fault))
        .route("/sim/{action}", get(async || Problem::new(404, "there is nothing to read here")).post(post_action))
        .layer(from_fn(guard))
}

/// Lets only this machine's own pages and programs in.
async fn guard(request: Request, next: Next) -> Response {
    match strange(request.headers()) {
        Some(words) => (StatusCode::FORBIDDEN, ok(&json!({"error": words}))).into_response(),
        None => next.run(request).await,
    }
}

/// What is wrong with where a request comes from.
fn strange(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if !matches!(name, "127.0.0.1" | "localhost" | "::1") {
        return Some("this address serves this machine only: the Host must be a loopback name");
    }
    if headers.contains_key(header::ORIGIN) && text(header::ORIGIN) != Some(format!("http://{host}").as_str()) {
        return Some("a page of another origin may not act here");
    }
    None
}

fn span(fields: &BTreeMap<String, String>, key: &str) -> Duration {
    let ms = fields.get(key).and_then(|text| text.parse().ok()).unwrap_or(5_000);
    Duration::from_millis(ms).min(WAIT_MAX)
}

fn number(fields: &BTreeMap<String, String>, key: &str) -> Option<u64> {
    fields.get(key).and_then(|text| text.parse().ok())
}

async fn get_state(Extract(sim): Extract<Sim>, Query(fields): Fields) -> Response {
    if let Some(after) = number(&fields, "after") {
        let mut changes = sim.lock().changes();
        let newer = changes.wait_for(|seq| *seq > after);
        // Nothing changed in time: the answer is the state as it is.
        let _ = tokio::time::timeout(span(&fields, "within_ms"), newer).await;
    }
    ok(&view(&sim.lock()))
}

async fn get_settled(Extract(sim): Extract<Sim>, Query(fields): Fields) -> Response {
    ok(&json!({"settled": settled(&sim, span(&fields, "within_ms")).await}))
}

/// Waits until nothing is on its way and every check is up to date; whether that came in time.
pub async fn settled(sim: &Sim, within: Duration) -> bool {
    let mut changes = sim.lock().changes();
    let waiting = async {
        loop {
            if sim.lock().is_settled() {
                return true;
            }
            sim.check_soon();
            if changes.changed().await.is_err() {
                return false;
            }
        }
    };
    tokio::time::timeout(within, waiting).await.unwrap_or(false)
}

async fn get_requests(Extract(sim): Extract<Sim>, Query(fields): Fields) -> Response {
    let limit = number(&fields, "limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(200).min(REQUESTS_MAX);
    let (requests, next) = sim.lock().recorder.since(number(&fields, "since").unwrap_or(0), limit);
    ok(&json!({"requests": requests, "next": next}))
}

async fn get_images(Extract(sim): Extract<Sim>) -> Response {
    let state = sim.lock();
    let told: Vec<&super::images::Image> = state.world.images.iter().chain(&state.workspace.images).collect();
    ok(&json!({"images": told}))
}

async fn get_faults(Extract(sim): Extract<Sim>) -> Response {
    ok(&json!({"faults": sim.lock().faults.list()}))
}

async fn delete_faults(Extract(sim): Extract<Sim>) -> Response {
    let mut state = sim.lock();
    state.faults.clear();
    state.bump();
    ok(&json!({}))
}

async fn delete_fault(Extract(sim): Extract<Sim>, Path(id): Path<String>) -> Response {
    let is_gone = id.parse().is_ok_and(|id| {
        let mut state = sim.lock();
        let is_gone = state.faults.remove(id);
        state.bump();
        is_gone
    });
    if is_gone { ok(&json!({})) } else { Problem::new(404, "there is no such fault").into_response() }
}

async fn post_settings(Extract(sim): Extract<Sim>, bytes: Bytes) -> Response {
    post(&sim, "settings", &bytes)
}

async fn post_faults(Extract(sim): Extract<Sim>, bytes: Bytes) -> Response {
    post(&sim, "faults", &bytes)
}

async fn post_action(Extract(sim): Extract<Sim>, Path(action): Path<String>, bytes: Bytes) -> Response {
    post(&sim, &action, &bytes)
}

fn post(sim: &Sim, action: &str, bytes: &[u8]) -> Response {
    let body = if bytes.is_empty() { Ok(json!({})) } else { serde_json::from_slice::<Value>(bytes) };
    let result =
        body.map_err(|error| format!("the body is not JSON: {error}")).and_then(|body| act(sim, action, &body));
    match result {
        Ok(body) => ok(&body),
        Err(words) => Problem::new(400, &words).into_response(),
    }
}

/// The whole, for a person.
pub fn view(state: &State) -> Value {
    let base = &state.base;
    let org = &state.workspace.org;
    json!({
        "seq": state.seq(), "org": org,
        "urls": {
            "machines": format!("{base}/v1"), "api": base, "graphql": format!("{base}/graphql"),
            "prometheus": format!("{base}/prometheus"),
        },
        "apps": state.world.apps.iter().map(|app| app_view(state, app)).collect::<Vec<_>>(),
        "faults": state.faults.list(), "settings": state.settings,
    })
}

fn app_view(state: &State, app: &App) -> Value {
    let release = |release: &super::world::Release| {
        json!({
            "id": release.id, "version": release.version, "strategy": release.strategy, "metadata": release.metadata,
            "status": release.status, "image_ref": release.image, "user": release.user,
            "created_at": id::stamp(release.created_at), "description": release.description,
        })
    };
    json!({
        "name": app.name, "stage": app.stage, "front_url": state.front_url(&app.name), "asleep": app.is_asleep(),
        "autostop": app.machines.iter().any(Machine::autostop),
        "machines": app.machines.iter().map(machine_view).collect::<Vec<_>>(),
        "destroyed": app.destroyed.iter().map(|machine| machine.id.as_str()).collect::<Vec<_>>(),
        "releases": releases::newest(app).into_iter().map(release).collect::<Vec<_>>(),
    })
}

fn machine_view(machine: &Machine) -> Value {
    let address = machine.live.server.as_ref().map(|server| format!("http://127.0.0.1:{}", server.port));
    let checks: Vec<Value> = (machine.checks.iter())
        .map(|check| json!({"name": check.name, "status": check.status, "output": check.output}))
        .collect();
    json!({
        "id": machine.id, "name": machine.name, "region": machine.region, "state": machine.state,
        "behaviour": machine.behaviour, "character": machine.live.plan.character, "slow_ms": machine.slow_ms, "host_status": machine.host_status,
        "cordoned": machine.cordoned, "image": machine.image(), "instance_id": machine.instance_id, "address": address,
        "checks": checks, "restarts": machine.restarts, "requests": machine.live.requests,
        "memory_used": machine.memory_used, "restart_count": machine.restart_count, "boots": machine.boots,
        "lease": machine.held().map(|lease| json!({"owner": lease.owner, "expires_at": id::stamp(lease.expires_at)})),
    })
}
