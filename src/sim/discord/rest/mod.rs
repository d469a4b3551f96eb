//! REST v10: one door for all requests, in the order in which Discord's own seems to look at them: is it there at all,
//! faults, who asks, how often, then what.

mod body;
mod channels;
mod commands;
mod compose;
mod guild;
mod interactions;
mod messages;
mod pins;
mod threads;

pub(super) use self::channels::apply as apply_channel;
pub(super) use self::guild::tell_member;
pub(super) use self::messages::set_reaction;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use self::body::Upload;
use super::Sim;
use super::connection::Wire;
use super::gateway::gateway_url;
use super::id::Id;
use super::limits::{Limited, Rate};
use super::recorder::template;
use super::refusal::Refusal;
use super::state::State;
use super::workspace::Settings;

/// A request, read.
pub(super) struct Call {
    /// `GET`, `POST` …
    pub method: String,
    /// Below `/api/v10`, with its leading slash.
    pub path: String,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// The JSON body, of a multipart request its `payload_json`; null without.
    pub body: Value,
    /// Files of a multipart request.
    pub files: Vec<Upload>,
    /// The reason for the audit log is ignored; the token as it stands in the header.
    pub authorization: String,
    /// What program sent it, as it says itself.
    pub agent: Option<String>,
}

impl Call {
    /// Whether a query field says yes.
    pub(super) fn asks(&self, key: &str) -> bool {
        matches!(self.query.get(key).map(String::as_str), Some("true" | "1" | "True"))
    }
}

/// An answer that grants.
pub(super) struct Reply {
    status: u16,
    body: Option<Value>,
}

impl Reply {
    pub(super) fn ok(body: Value) -> Reply {
        Reply { status: 200, body: Some(body) }
    }

    pub(super) fn created(body: Value) -> Reply {
        Reply { status: 201, body: Some(body) }
    }

    pub(super) fn nothing() -> Reply {
        Reply { status: 204, body: None }
    }
}

/// What is answered to a call.
pub(super) type Answer = Result<Reply, Refusal>;

/// Counts a request as under way until it is answered, however that ends.
struct InFlight(Sim);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.last_traffic = std::time::Instant::now();
        state.changed.notify_waiters();
    }
}

/// Serves one request under `/api`.
pub(super) async fn serve(
    Extract(sim): Extract<Sim>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response {
    sim.lock().in_flight += 1;
    let _in_flight = InFlight(sim.clone());
    let call = match body::read(request).await {
        Ok(call) => call,
        Err(refusal) => return respond(refusal.status, Some(refusal.body()), Vec::new()),
    };
    let fate = {
        let mut state = sim.lock();
        let (fate, counted) = state.faults.befall(&call.method, &call.path);
        if counted {
            state.tell_faults();
        }
        fate
    };
    if !fate.latency.is_zero() {
        tokio::time::sleep(fate.latency).await;
    }
    match fate.down {
        Some(true) => return respond(503, Some(json!({"message": "503: Service Unavailable", "code": 0})), Vec::new()),
        Some(false) => {
            wire.cut();
            return StatusCode::BAD_GATEWAY.into_response();
        }
        None => {}
    }
    let (status, body, headers) = {
        let mut state = sim.lock();
        let query: Vec<String> = call.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let seq = state.recorder.request(call.agent.as_deref(), &call.method, &call.path, &query.join("&"), &call.body);
        state.counters.requests += 1;
        let (status, body, headers) = answer(&mut state, &call, fate.answer);
        state.recorder.answered(seq, status);
        match status {
            429 => {
                state.counters.rate_limited += 1;
                state.counters.invalid_requests = state.limits.count_invalid() as u64;
            }
            401 | 403 => state.counters.invalid_requests = state.limits.count_invalid() as u64,
            400..=499 => state.counters.refused += 1,
            _ => {}
        }
        (status, body, headers)
    };
    if fate.drop_answer {
        wire.cut();
    }
    respond(status, body, headers)
}

type Headers = Vec<(&'static str, String)>;

/// Decides what is answered; `fault` comes before everything.
fn answer(state: &mut State, call: &Call, fault: Option<(u16, Option<u64>, bool)>) -> (u16, Option<Value>, Headers) {
    if let Some((status, retry_after_ms, global)) = fault {
        if status == 429 {
            let retry_after = Duration::from_millis(retry_after_ms.unwrap_or(1_000));
            let scope = if global { "global" } else { "user" };
            return refuse_limited(&Limited { retry_after, global, scope }, Vec::new());
        }
        return (status, Some(json!({"message": format!("{status}: fault"), "code": 0})), Vec::new());
    }
    let parts: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    let by_token = matches!(parts.as_slice(), ["interactions", _, _, "callback"] | ["webhooks", _, _, ..]);
    let open = by_token || parts.as_slice() == ["gateway"];
    let token = call.authorization.strip_prefix("Bot ").unwrap_or_default();
    if !open && token != state.workspace.bot_token {
        let refusal = Refusal::unauthorized();
        return (refusal.status, Some(refusal.body()), Vec::new());
    }
    // Answers to interactions are outside the global limit: Discord's document on receiving and responding.
    if !by_token && let Some(limited) = state.limits.take_global(&state.settings) {
        return refuse_limited(&limited, Vec::new());
    }
    let mut headers = Vec::new();
    if let Some((bucket, rate)) = bucket(call, &parts, &state.settings) {
        let route = format!("{} {}", call.method, template(&call.path));
        let (told, limited) = state.limits.take(&bucket, &route, rate);
        headers = told;
        if let Some(limited) = limited {
            return refuse_limited(&limited, headers);
        }
    }
    if let Some(limited) = renames(state, call, &parts) {
        return refuse_limited(&limited, headers);
    }
    match route(state, call, &parts) {
        Ok(reply) => (reply.status, reply.body, headers),
        Err(refusal) => (refusal.status, Some(refusal.body()), headers),
    }
}

fn refuse_limited(limited: &Limited, mut headers: Headers) -> (u16, Option<Value>, Headers) {
    headers.extend(limited.headers());
    (429, Some(limited.body()), headers)
}

/// Which bucket a call takes from, and how wide it is. Callbacks of interactions have none.
///
/// Undocumented: every number here but those of the settings, which are what bots see.
fn bucket(call: &Call, parts: &[&str], settings: &Settings) -> Option<(String, Rate)> {
    let window = Duration::from_millis(settings.window_ms);
    let messages = Rate { limit: settings.messages_per_window, window };
    let second = Duration::from_secs(1);
    let rate = match (call.method.as_str(), parts) {
        (_, ["interactions", ..]) => return None,
        ("POST", ["channels", _, "messages"]) | ("PATCH", ["channels", _, "messages", _]) => messages,
        ("DELETE", ["channels", _, "messages", _]) => Rate { limit: 5, window: second },
        ("PUT" | "DELETE", ["channels", _, "messages", _, "reactions", ..]) => {
            Rate { limit: 1, window: Duration::from_millis(250) }
        }
        (_, ["webhooks", ..]) => Rate { limit: 5, window: Duration::from_secs(2) },
        _ => Rate { limit: 50, window: second },
    };
    let majors = match parts {
        ["webhooks", id, token, ..] => format!("{id}/{token}"),
        ["channels" | "guilds", id, ..] => (*id).to_owned(),
        _ => String::new(),
    };
    // Followups and edits of one interaction share a bucket.
    let route = if parts.first() == Some(&"webhooks") { String::new() } else { template(&call.path) };
    Some((format!("{} {route} {majors}", call.method), rate))
}

/// The limit on new names and topics of one channel, when it is on. It is not told in headers before it strikes.
fn renames(state: &mut State, call: &Call, parts: &[&str]) -> Option<Limited> {
    let limit = state.settings.renames_per_ten_minutes?;
    let ("PATCH", ["channels", id]) = (call.method.as_str(), parts) else { return None };
    if call.body.get("name").is_none() && call.body.get("topic").is_none() {
        return None;
    }
    let rate = Rate { limit, window: Duration::from_secs(600) };
    let (_, limited) = state.limits.take(&format!("rename {id}"), "rename", rate);
    limited.map(|limited| Limited { scope: "shared", ..limited })
}

/// Reads an id of the path; a word that is none is a bad form, as Discord says it.
pub(super) fn id(part: &str, key: &str) -> Result<Id, Refusal> {
    Id::parse(part).ok_or_else(|| {
        let mut form = super::refusal::Form::default();
        form.fault(key, "NUMBER_TYPE_COERCE", format!("Value \"{part}\" is not snowflake."));
        form.finish().err().unwrap_or_else(Refusal::not_found)
    })
}

/// The table of routes.
fn route(state: &mut State, call: &Call, parts: &[&str]) -> Answer {
    match (call.method.as_str(), parts) {
        ("GET", ["gateway"]) => Ok(Reply::ok(json!({"url": gateway_url(&state.base)}))),
        ("GET", ["gateway", "bot"]) => Ok(Reply::ok(json!({
            "url": gateway_url(&state.base), "shards": 1,
            "session_start_limit": {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1},
        }))),
        (_, ["users" | "oauth2" | "guilds", ..] | ["applications", "@me"]) => guild::route(state, call, parts),
        (_, ["applications", application, rest @ ..]) => {
            if id(application, "application_id")? != state.world.application_id {
                return Err(Refusal::new(404, 10002, "Unknown Application"));
            }
            commands::route(state, call, rest)
        }
        ("POST", ["interactions", interaction, token, "callback"]) => {
            interactions::callback(state, call, id(interaction, "interaction_id")?, token)
        }
        (_, ["webhooks", application, token, rest @ ..]) => {
            interactions::webhook(state, call, id(application, "webhook_id")?, token, rest)
        }
        (_, ["channels", channel, rest @ ..]) => {
            let channel = id(channel, "channel_id")?;
            match rest {
                ["messages", "pins", ..] | ["pins", ..] => pins::route(state, call, channel, rest),
                ["messages", _, "threads"] | ["threads", ..] | ["thread-members", ..] => {
                    threads::route(state, call, channel, rest)
                }
                ["messages", ..] => messages::route(state, call, channel, rest),
                _ => channels::route(state, call, channel, rest),
            }
        }
        _ => Err(Refusal::not_found()),
    }
}

/// Builds the HTTP answer.
fn respond(status: u16, body: Option<Value>, headers: Headers) -> Response {
    let mut response = match body {
        Some(body) => ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response(),
        None => Body::empty().into_response(),
    };
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
