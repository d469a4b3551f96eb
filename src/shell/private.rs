//! The private port: is it alive, is it ready, its figures, and the control interface for the command line and the demo.
//!
//! Never reachable from outside by default (it binds to loopback). Control wants the token; without one it is off.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::driver::{Door, Snapshot};
use crate::adapters::clock::VirtualClock;
use crate::ports::{Clock, Condition};

/// How long `still` waits at most.
const STILL_MAX: Duration = Duration::from_secs(30);

/// A page or ping that has been on its way for longer than this is overdue, whatever keeps it.
pub const CALLED_WITHIN: Duration = Duration::from_secs(60);

/// What the private port speaks of.
pub struct About {
    /// The loop.
    pub door: Door,
    /// Promise time.
    pub clock: Arc<dyn Clock>,
    /// The clock that can be moved, in demos.
    pub movable: Option<Arc<VirtualClock>>,
    /// Keeps the clock's parameters over a restart.
    pub keep_clock: Box<dyn Fn() + Send + Sync>,
    /// How the chat is.
    pub chat: Box<dyn Fn() -> Condition + Send + Sync>,
    /// What is wrong with the policy's file.
    pub policy: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// The token that control wants.
    pub token: Option<SecretString>,
}

/// The routes of the private port.
pub fn routes(about: Arc<About>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/control/state", get(state))
        .route("/control/still", get(still))
        .route("/control/clock", post(clock))
        .with_state(about)
}

/// Ready: the loop answers, the record can be written, the chat is connected, and what calls people goes out. What is wrong and
/// keeps nobody from being called is said, and no reason not to be ready.
async fn ready(State(about): State<Arc<About>>) -> Response {
    let chat = (about.chat)();
    let mut missing = Vec::new();
    match tokio::time::timeout(Duration::from_secs(2), about.door.look()).await {
        Ok(Some(snapshot)) => {
            if let Some(stuck) = stuck_for(&snapshot) {
                missing.push(format!("a page or ping has not gone out for {} s", stuck.as_secs()));
            }
            missing.extend(snapshot.trouble.map(|why| format!("record: {why}")));
        }
        _ => missing.push("the loop does not answer".to_owned()),
    }
    let mut besides: Vec<String> = (about.policy)().map(|why| format!("policy: {why}")).into_iter().collect();
    match (chat.up, chat.trouble) {
        (false, why) => missing.push(format!("chat: {}", why.unwrap_or_else(|| "not connected".to_owned()))),
        (true, Some(why)) => besides.push(format!("chat: {why}")),
        (true, None) => {}
    }
    let (status, words) = match missing.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    missing.append(&mut besides);
    let says = if missing.is_empty() { format!("{words}\n") } else { format!("{words}: {}\n", missing.join("; ")) };
    (status, says).into_response()
}

/// Prometheus's text format, version 0.0.4.
async fn metrics(State(about): State<Arc<About>>) -> Response {
    let Some(snapshot) = about.door.look().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let chat = (about.chat)();
    let overdue_s = overdue_s(&snapshot, &*about.clock);
    let rows: [(&str, &str, &str, f64); 12] = [
        ("watchbell_log_lines", "counter", "Lines on the record.", snapshot.seq as f64),
        (
            "watchbell_live",
            "gauge",
            "1 when it pings and acts, 0 when it only observes.",
            f64::from(u8::from(snapshot.live)),
        ),
        ("watchbell_incidents_open", "gauge", "Open incidents.", snapshot.open as f64),
        ("watchbell_effects_pending", "gauge", "Posts and pages asked for and not ended.", snapshot.pending as f64),
        (
            "watchbell_promises_kept",
            "gauge",
            "Promises kept on time, of incidents in memory.",
            f64::from(snapshot.kept),
        ),
        (
            "watchbell_reminders_late",
            "gauge",
            "Reminders sent late, of incidents in memory.",
            f64::from(snapshot.reminders_late),
        ),
        ("watchbell_promises_late", "gauge", "Promises kept late, of incidents in memory.", f64::from(snapshot.late)),
        (
            "watchbell_overdue_seconds",
            "gauge",
            "How long the most overdue decision, page or ping has waited.",
            overdue_s,
        ),
        (
            "watchbell_calling_seconds",
            "gauge",
            "How long the oldest page or ping has been on its way.",
            snapshot.calling_for.unwrap_or_default().as_secs_f64(),
        ),
        ("watchbell_starts", "counter", "Starts on record.", snapshot.starts as f64),
        ("watchbell_chat_up", "gauge", "1 when the chat is connected.", f64::from(u8::from(chat.up))),
        ("watchbell_chat_waiting", "gauge", "Requests to the chat that wait.", chat.waiting as f64),
    ];
    let mut out = String::new();
    for (name, kind, help, value) in rows {
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], out).into_response()
}

/// How long the most overdue decision has waited, or the page or ping that does not go out, in seconds.
pub fn overdue_s(snapshot: &Snapshot, clock: &dyn Clock) -> f64 {
    let decision =
        snapshot.overdue_since.map_or(0.0, |since| (clock.now() - since).num_milliseconds().max(0) as f64 / 1_000.0);
    stuck_for(snapshot).map_or(0.0, |stuck| stuck.as_secs_f64()).max(decision)
}

/// How long a page or ping has been on its way, once that is too long.
pub fn stuck_for(snapshot: &Snapshot) -> Option<Duration> {
    snapshot.calling_for.filter(|waited| *waited >= CALLED_WITHIN)
}

fn allowed(about: &About, headers: &HeaderMap) -> bool {
    let Some(token) = &about.token else { return false };
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    shown.as_bytes().ct_eq(token.expose_secret().as_bytes()).into()
}

fn refused() -> Response {
    let words = "control wants the token in WATCHBELL_CONTROL_TOKEN, as `Authorization: Bearer …`\n";
    (StatusCode::UNAUTHORIZED, words).into_response()
}

async fn state(State(about): State<Arc<About>>, headers: HeaderMap) -> Response {
    if !allowed(&about, &headers) {
        return refused();
    }
    let Some(snapshot) = about.door.look().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let chat = (about.chat)();
    let clock = about.movable.as_ref().map(|clock| clock.parameters());
    Json(json!({
        "promise_now": about.clock.now().to_rfc3339(),
        "virtual": clock,
        "live": snapshot.live,
        "open": snapshot.open,
        "pending": snapshot.pending,
        "next_due": snapshot.next_due.map(|due| due.to_rfc3339()),
        "overdue_s": overdue_s(&snapshot, &*about.clock),
        "kept": snapshot.kept,
        "late": snapshot.late,
        "reminders_late": snapshot.reminders_late,
        "starts": snapshot.starts,
        "under_way": about.door.pulse().count(),
        "chat": { "up": chat.up, "waiting": chat.waiting, "trouble": chat.trouble },
    }))
    .into_response()
}

/// Waits until nothing is under way and nothing is due.
async fn still(State(about): State<Arc<About>>, headers: HeaderMap) -> Response {
    if !allowed(&about, &headers) {
        return refused();
    }
    let waited = tokio::time::timeout(STILL_MAX, wait_still(&about.door, &*about.clock)).await;
    match waited {
        Ok(()) => Json(json!({ "still": true })).into_response(),
        Err(_) => {
            (StatusCode::GATEWAY_TIMEOUT, Json(json!({ "still": false, "under_way": about.door.pulse().count() })))
                .into_response()
        }
    }
}

/// Resolves once nothing is under way and nothing is due at this moment.
pub async fn wait_still(door: &Door, clock: &dyn Clock) {
    /// Looks in a row that must find it still.
    const QUIET_LOOKS: u32 = 3;
    let mut quiet = 0;
    while quiet < QUIET_LOOKS {
        let looked = door.look().await;
        let next = looked.and_then(|snapshot| snapshot.next_due.into_iter().chain(snapshot.next_rules).min());
        let due = next.is_some_and(|next| next <= clock.now());
        quiet = if door.pulse().count() == 0 && !due { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// How the clock is moved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    /// Skip forward, in seconds.
    advance_s: Option<f64>,
    /// Promise seconds a real second.
    speed: Option<f64>,
}

async fn clock(State(about): State<Arc<About>>, headers: HeaderMap, Json(wanted): Json<Move>) -> Response {
    if !allowed(&about, &headers) {
        return refused();
    }
    let Some(clock) = &about.movable else {
        return (StatusCode::CONFLICT, "this clock is the real one and cannot be moved\n").into_response();
    };
    if let Some(speed) = wanted.speed {
        clock.set_speed(speed);
    }
    if let Some(seconds) = wanted.advance_s.filter(|seconds| seconds.is_finite()) {
        clock.advance(TimeDelta::milliseconds((seconds * 1_000.0) as i64));
    }
    (about.keep_clock)();
    Json(json!({ "promise_now": clock.now().to_rfc3339() })).into_response()
}
