//! The control API of docs/sim.md and the page: a person's hands, for people and for scripts.
//!
//! Only for this machine: the host must be a loopback name, and a browser's request must come from the page itself.

mod act;
mod line;
mod members;
mod stream;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde_json::{Value, json};

pub(super) use act::act;

use super::Sim;
use super::id::Id;
use super::state::State;
use super::{page, still, view};

/// Messages of one answer when none are asked for.
const MESSAGES_DEFAULT: usize = 50;
/// The longest that a call waits.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Interactions of one list.
const INTERACTIONS_LISTED: usize = 100;

type Fields = Query<BTreeMap<String, String>>;

/// All routes but REST and the gateway.
pub(super) fn router(sim: Sim, demo: Option<Router>) -> Router<Sim> {
    let mut router = Router::new()
        .route("/", get(async || page(page::HTML, page::INDEX)))
        .route("/page/{name}", get(get_page))
        .route("/attachments/{channel}/{id}/{name}", get(attachment))
        .route("/sim/state", get(async |Extract(sim): Extract<Sim>| ok(view::state(&sim.lock()))))
        .route("/sim/counters", get(async |Extract(sim): Extract<Sim>| ok(json!(sim.lock().counters))))
        .route("/sim/events", get(stream::events))
        .route("/sim/still", get(get_still))
        .route("/sim/channels/{channel}", get(get_channel))
        .route("/sim/messages/{id}", get(get_message))
        .route("/sim/ephemeral", get(get_ephemeral))
        .route("/sim/interactions", get(get_interactions))
        .route("/sim/interactions/{id}", get(get_interaction))
        .route("/sim/phones", get(get_phones))
        .route("/sim/phones/{member}", get(get_phone))
        .route("/sim/requests", get(get_requests))
        .route("/sim/settings", get(async |Extract(sim): Extract<Sim>| ok(json!(sim.lock().settings))).post(settings))
        .route("/sim/faults", get(get_faults).post(faults).delete(delete_faults))
        .route("/sim/faults/{id}", delete(delete_fault))
        .route("/sim/{*action}", get(get_nothing).post(post_action));
    if let Some(demo) = demo {
        router = router.nest_service("/sim/demo", demo);
    }
    router.layer(from_fn(guard)).with_state(sim)
}

/// A file of the page, by its name.
async fn get_page(Path(name): Path<String>) -> Response {
    page::file(&name).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(kind, text)| page(kind, text))
}

fn page(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

fn ok(body: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn refuse(status: StatusCode, words: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!({"error": words}).to_string()).into_response()
}

fn answer(result: Result<Value, String>) -> Response {
    match result {
        Ok(body) => ok(body),
        Err(words) => refuse(StatusCode::BAD_REQUEST, &words),
    }
}

/// Lets only this machine's own page and programs in.
async fn guard(request: Request, next: Next) -> Response {
    match strange(request.headers()) {
        Some(words) => refuse(StatusCode::FORBIDDEN, words),
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

async fn attachment(Extract(sim): Extract<Sim>, Path((_, id, _)): Path<(String, String, String)>) -> Response {
    let state = sim.lock();
    match Id::parse(&id).and_then(|id| state.world.files.get(&id)) {
        Some(file) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type.clone()),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
                // What a bot uploads must not run as a part of the page.
                (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; style-src 'unsafe-inline'".to_owned()),
            ];
            (headers, file.bytes.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn wait(fields: &BTreeMap<String, String>, key: &str, default_ms: u64) -> Duration {
    let ms = fields.get(key).and_then(|text| text.parse().ok()).unwrap_or(default_ms);
    Duration::from_millis(ms).min(WAIT_MAX)
}

async fn get_still(Extract(sim): Extract<Sim>, Query(fields): Fields) -> Response {
    let began = Instant::now();
    let result = still::wait(&sim, wait(&fields, "within_ms", 5_000)).await;
    let mut body = json!({"still": result.is_ok(), "waited_ms": began.elapsed().as_millis() as u64});
    if let Err(why) = result {
        body["why"] = json!(why);
    }
    ok(body)
}

/// The channel that a word means, when it is there.
fn channel_id(state: &State, name: &str) -> Result<Id, String> {
    state.world.channel_named(name).map(|channel| channel.id).ok_or_else(|| format!("no channel is called {name}"))
}

/// The member that a word means, when there is one.
fn member_id(state: &State, name: &str) -> Result<Id, String> {
    state.world.member_named(name).map(|member| member.id).ok_or_else(|| format!("no member is called {name}"))
}

/// All messages of a channel, oldest first, as one member or as nobody.
pub(super) fn messages(state: &State, channel: &str, member: Option<&str>) -> Result<Vec<Value>, String> {
    let member = member.map(|member| member_id(state, member)).transpose()?;
    let channel = match (channel, member) {
        ("dm", Some(member)) => {
            let dm = |place: &&super::world::Channel| !place.in_guild() && place.recipients.contains(&member);
            state.world.channels.values().find(dm).map(|place| place.id).ok_or("no direct messages yet")?
        }
        _ => channel_id(state, channel)?,
    };
    let place = state.world.channels.get(&channel).ok_or("no such channel")?;
    let seen =
        place.messages.values().filter(|message| message.ephemeral_for.is_none() || message.ephemeral_for == member);
    Ok(seen.map(|message| view::message(state, message)).collect())
}

/// One message.
pub(super) fn message(state: &State, id: &str) -> Result<Value, String> {
    let found = Id::parse(id).and_then(|id| state.world.message(id));
    found.map(|message| view::message(state, message)).ok_or_else(|| format!("no message has the id {id}"))
}

/// One phone.
pub(super) fn phone(state: &State, member: &str) -> Result<Value, String> {
    state.phone(member_id(state, member)?).ok_or_else(|| format!("{member} has no phone"))
}

/// An interaction, once it is settled or `within` is over.
pub(super) async fn interaction(sim: &Sim, id: &str, within: Duration) -> Result<Value, String> {
    let unknown = || format!("no interaction has the id {id}");
    let number = Id::parse(id).ok_or_else(unknown)?;
    let changed = sim.lock().changed.clone();
    let until = tokio::time::Instant::now() + within;
    loop {
        let more = changed.notified();
        tokio::pin!(more);
        more.as_mut().enable();
        {
            let mut state = sim.lock();
            state.expire(number);
            let interaction = state.interactions.get(number).ok_or_else(unknown)?;
            if !interaction.is_open() || tokio::time::Instant::now() >= until {
                return Ok(view::interaction(&state, interaction));
            }
        }
        // Either way it is looked at again.
        let _ = tokio::time::timeout_at(until, more).await;
    }
}

/// Clears one fault or all; tells whether there was one. What was withheld is sent.
pub(super) fn clear_faults(state: &mut State, id: Option<u64>) -> bool {
    let was = match id {
        Some(id) => state.faults.clear(id),
        None => {
            state.faults.clear_all();
            true
        }
    };
    if !state.faults.has(&super::faults::FaultKind::Withhold) {
        state.release_withheld();
    }
    state.tell_faults();
    was
}

async fn get_channel(Extract(sim): Extract<Sim>, Path(channel): Path<String>, Query(fields): Fields) -> Response {
    let state = sim.lock();
    let member = fields.get("as").map(String::as_str);
    let limit = fields.get("limit").and_then(|text| text.parse().ok()).unwrap_or(MESSAGES_DEFAULT);
    let before = fields.get("before").and_then(|text| Id::parse(text));
    answer(messages(&state, &channel, member).and_then(|mut messages| {
        if let Some(before) = before {
            let earlier = |message: &Value| message["id"].as_str().and_then(Id::parse).is_some_and(|id| id < before);
            messages.retain(earlier);
        }
        let messages = messages.split_off(messages.len().saturating_sub(limit));
        let id = match messages.first().and_then(|message| message["channel_id"].as_str()).and_then(Id::parse) {
            Some(id) => id,
            None => channel_id(&state, &channel)?,
        };
        let place = state.world.channels.get(&id).ok_or("no such channel")?;
        Ok(json!({"channel": view::channel(&state.world, place), "messages": messages}))
    }))
}

async fn get_message(Extract(sim): Extract<Sim>, Path(id): Path<String>) -> Response {
    answer(message(&sim.lock(), &id))
}

async fn get_ephemeral(Extract(sim): Extract<Sim>, Query(fields): Fields) -> Response {
    let state = sim.lock();
    let found = || {
        let member = member_id(&state, fields.get("as").ok_or("as is missing")?)?;
        let channel = fields.get("channel").map(|channel| channel_id(&state, channel)).transpose()?;
        let places = state.world.channels.values().filter(|place| channel.is_none_or(|channel| place.id == channel));
        let mut own: Vec<_> = places
            .flat_map(|place| place.messages.values())
            .filter(|message| message.ephemeral_for == Some(member))
            .collect();
        own.sort_by_key(|message| message.id);
        Ok(json!({"messages": own.into_iter().map(|message| view::message(&state, message)).collect::<Vec<_>>()}))
    };
    answer(found())
}

async fn get_interactions(Extract(sim): Extract<Sim>) -> Response {
    let state = sim.lock();
    let newest = state.interactions.newest(INTERACTIONS_LISTED);
    ok(json!({"interactions": newest.map(|one| view::interaction(&state, one)).collect::<Vec<_>>()}))
}

async fn get_interaction(Extract(sim): Extract<Sim>, Path(id): Path<String>, Query(fields): Fields) -> Response {
    answer(interaction(&sim, &id, wait(&fields, "wait_ms", 0)).await)
}

async fn get_phones(Extract(sim): Extract<Sim>) -> Response {
    let state = sim.lock();
    let phones: Vec<Value> = state.world.phones.keys().filter_map(|&member| state.phone(member)).collect();
    ok(json!({"phones": phones}))
}

async fn get_phone(Extract(sim): Extract<Sim>, Path(member): Path<String>) -> Response {
    answer(phone(&sim.lock(), &member))
}

async fn get_requests(Extract(sim): Extract<Sim>, Query(fields): Fields) -> Response {
    let number = |key: &str, default| fields.get(key).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (requests, next) = sim.lock().recorder.since(number("since", 0), number("limit", 200) as usize);
    ok(json!({"requests": requests, "next": next}))
}

async fn get_faults(Extract(sim): Extract<Sim>) -> Response {
    ok(json!({"faults": sim.lock().faults.view()}))
}

async fn delete_faults(Extract(sim): Extract<Sim>) -> Response {
    clear_faults(&mut sim.lock(), None);
    ok(json!({}))
}

async fn delete_fault(Extract(sim): Extract<Sim>, Path(id): Path<u64>) -> Response {
    match clear_faults(&mut sim.lock(), Some(id)) {
        true => ok(json!({})),
        false => refuse(StatusCode::NOT_FOUND, "no such fault is set"),
    }
}

async fn settings(Extract(sim): Extract<Sim>, body: Bytes) -> Response {
    post(&sim, "settings", &body).await
}

async fn faults(Extract(sim): Extract<Sim>, body: Bytes) -> Response {
    post(&sim, "faults", &body).await
}

async fn get_nothing(Path(path): Path<String>) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("there is nothing at /sim/{path}"))
}

async fn post_action(Extract(sim): Extract<Sim>, Path(action): Path<String>, body: Bytes) -> Response {
    post(&sim, &action, &body).await
}

async fn post(sim: &Sim, action: &str, body: &[u8]) -> Response {
    let body = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
    match body {
        Ok(body) => answer(act(sim, action, &body).await),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {error}")),
    }
}
