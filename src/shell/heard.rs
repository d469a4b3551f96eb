//! `POST /hooks/<name>`: other tools tell us that something fires.
//!
//! Owns who is let in and what is answered. What was answered with 200 is on the record: whatever dies then, it is on a card. Until
//! then it is 503, and every one of these tools sends the same again. What cannot be read is 400, once and for all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::door::Door;
use super::public::{Refused, unread};
use crate::adapters::config::hook_variables;
use crate::adapters::hooks::alerts::{self, BODY_BYTES_MAX, Brought, Heads};
use crate::adapters::hooks::listen::{self, Limits};
use crate::adapters::hooks::pace::Pace;
use crate::adapters::hooks::proof::{self, Shown};
use crate::domain::alerts::heard::Heard;
use crate::domain::answer::Answer;
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind};
use crate::domain::press;
use crate::domain::workspace::{HookFormat, HookSpec};

/// How long the loop may take: it asks nobody.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// When whoever was turned away for now may come again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Requests of one hook that count: at once, and one more each time this has passed. A storm comes in hundreds.
const TELLS: (u32, Duration) = (300, Duration::from_millis(20));
/// Requests without a secret that counts. They have a bucket of their own, so that they cannot keep out those who have one.
const STRANGERS: (u32, Duration) = (30, Duration::from_secs(2));

/// A hook, its secrets, and how often it may be used.
struct Hook {
    spec: HookSpec,
    secrets: Vec<SecretString>,
    pace: Mutex<Pace>,
}

/// The hooks at which other tools tell us what fires.
pub struct Hooks {
    door: Door,
    hooks: BTreeMap<String, Hook>,
    strangers: Mutex<Pace>,
    limits: Limits,
    /// What tells requests of one process apart that have no name of their own.
    count: AtomicU64,
    /// What tells this process from those before it.
    process: u64,
}

impl Hooks {
    /// Before a loop. `epoch` is that of this process's record: no two have the same.
    pub fn new(
        door: Door,
        specs: &[HookSpec],
        secrets: &BTreeMap<String, Vec<SecretString>>,
        limits: Limits,
        epoch: u64,
    ) -> Arc<Self> {
        let pace = |(burst, every)| Mutex::new(Pace::new(burst, every, Instant::now()));
        let hook = |spec: &HookSpec| {
            let secrets = secrets.get(&spec.name).cloned().unwrap_or_default();
            (spec.name.clone(), Hook { spec: spec.clone(), secrets, pace: pace(TELLS) })
        };
        let hooks = specs.iter().map(hook).collect();
        let limits = Limits { body_bytes_max: BODY_BYTES_MAX, ..limits };
        Arc::new(Self { door, hooks, strangers: pace(STRANGERS), limits, count: AtomicU64::new(0), process: epoch })
    }
}

/// The routes of the hooks.
pub fn routes(hooks: Arc<Hooks>) -> Router {
    Router::new().route("/hooks/{name}", post(tell).fallback(no_post)).with_state(hooks)
}

/// Somebody looks, or does otherwise.
async fn no_post(State(hooks): State<Arc<Hooks>>, Path(name): Path<String>) -> Refused {
    match hooks.hooks.contains_key(&name) {
        true => Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Tell me with POST."),
        false => Refused::new(StatusCode::NOT_FOUND, "There is nothing here."),
    }
}

fn take(pace: &Mutex<Pace>) -> Result<(), Duration> {
    pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
}

/// Something fires, or has resolved.
async fn tell(
    State(hooks): State<Arc<Hooks>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let stranger = |says: &str, status: StatusCode| match take(&hooks.strangers) {
        Ok(()) => Refused::new(status, says),
        Err(after) => Refused::for_now(StatusCode::TOO_MANY_REQUESTS, "That is too often. Come again shortly.", after),
    };
    let Some(hook) = hooks.hooks.get(&name) else {
        return Err(stranger(
            "There is no hook of that name. [[hooks]] in watchbell.toml makes one.",
            StatusCode::NOT_FOUND,
        ));
    };
    if hook.secrets.is_empty() {
        let [variable, _] = hook_variables(&name);
        let says = format!("This hook is not set up: its secret, {variable}, is not in the bot's environment.");
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, says));
    }
    let (head, body) = request.into_parts();
    let one = |name: &str| header(&head.headers, name);
    let body = listen::read(body, &hooks.limits).await.map_err(|why| unread(why, &hooks.limits))?;
    let signature = proof::signature_header(hook.spec.format).and_then(one);
    let shown = Shown { authorization: one("authorization"), signature, body: &body };
    proof::proves(hook.spec.format, &hook.secrets, shown).map_err(|says| stranger(says, StatusCode::UNAUTHORIZED))?;
    // Not 429: several of these tools give up on that, and none on this.
    take(&hook.pace).map_err(|after| {
        Refused::for_now(StatusCode::SERVICE_UNAVAILABLE, "That is too often. Send the same again shortly.", after)
    })?;
    let heads = match hook.spec.format {
        HookFormat::Github => Heads { event: one("x-github-event"), delivery: one("x-github-delivery") },
        HookFormat::Sentry => Heads { event: one("sentry-hook-resource"), delivery: one("request-id") },
        _ => Heads::default(),
    };
    let brought = alerts::read(&hook.spec, heads, &body).map_err(|says| {
        info!(hook = %name, reason = %says, "A hook was told something that cannot be read");
        Refused::new(StatusCode::BAD_REQUEST, says)
    })?;
    let (key, count) = (brought.key.clone(), brought.alerts.len());
    if count > 0 {
        hooks.record(&name, brought).await?;
    }
    Ok(match hook.spec.format {
        // As PagerDuty answers: some clients look at it.
        HookFormat::Pagerduty => {
            let said = json!({"status": "success", "message": "Event processed", "dedup_key": key});
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        _ => (StatusCode::OK, Json(json!({"status": "on record", "alerts": count}))).into_response(),
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

impl Hooks {
    /// Brings it to the loop, and waits until it is on record.
    async fn record(&self, name: &str, brought: Brought) -> Result<(), Refused> {
        let busy = |says: &str| Refused::for_now(StatusCode::SERVICE_UNAVAILABLE, says, AGAIN_AFTER);
        let own = || format!("{}-{}", self.process, self.count.fetch_add(1, Ordering::Relaxed));
        let id = InputId::new(format!("hook:{name}:{}", brought.delivery.unwrap_or_else(own)));
        let heard = Heard { source: name.to_owned(), alerts: brought.alerts, left_out: brought.left_out }.bounded();
        let input = Input { id, kind: InputKind::Alerts(Box::new(heard)) };
        let (sender, answered) = oneshot::channel();
        let reply = Box::new(move |answer| drop(sender.send(answer)));
        self.door.bring(input, Some(reply)).map_err(|_| busy("I am busy. Send the same again shortly."))?;
        match tokio::time::timeout(ANSWERED_WITHIN, answered).await {
            Ok(Ok(Answer::Done)) => Ok(()),
            // What cannot be recorded is not refused for good.
            Ok(Ok(Answer::Say { message, .. })) => {
                let says = message.lines.iter().map(press::flat).collect::<Vec<_>>().join(" ");
                warn!(hook = name, reason = %says, "What a hook was told could not be taken");
                Err(busy(&says))
            }
            // It may be on record all the same; the same again changes nothing then.
            _ => Err(busy("I am busy. Send the same again shortly.")),
        }
    }
}
