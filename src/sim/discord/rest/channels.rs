//! One channel: read, change, delete, type in.

use serde_json::{Value, json};

use super::messages::need;
use super::threads::check_fields;
use super::{Answer, Call, Reply};
use crate::sim::discord::id::{Id, now};
use crate::sim::discord::mentions::wire_id;
use crate::sim::discord::permissions::{MANAGE_CHANNELS, MANAGE_THREADS, SEND_MESSAGES};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::wire;
use crate::sim::discord::world::{Channel, DM};

pub(super) fn route(state: &mut State, call: &Call, channel: Id, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            need(state, channel, 0)?;
            read(state, channel)
        }
        ("PATCH", []) => change(state, call, channel),
        ("DELETE", []) => {
            let place = state.world.channels.get(&channel).ok_or_else(Refusal::unknown_channel)?;
            if place.kind == DM {
                return read(state, channel);
            }
            let bits = if place.thread.is_some() { MANAGE_THREADS } else { MANAGE_CHANNELS };
            need(state, channel, bits)?;
            state.delete_channel(channel).map(Reply::ok).ok_or_else(Refusal::unknown_channel)
        }
        ("POST", ["typing"]) => {
            need(state, channel, SEND_MESSAGES)?;
            // Only the page is told: no client of another member is connected.
            let bot = state.world.bot_id;
            state.change("typing", json!({"channel_id": channel, "user_id": bot}));
            Ok(Reply::nothing())
        }
        _ => Err(Refusal::not_found()),
    }
}

fn read(state: &State, channel: Id) -> Answer {
    let place = state.world.channels.get(&channel).ok_or_else(Refusal::unknown_channel)?;
    Ok(Reply::ok(wire::channel(&state.world, place)))
}

fn change(state: &mut State, call: &Call, channel: Id) -> Answer {
    let place = state.world.channels.get(&channel).ok_or_else(Refusal::unknown_channel)?;
    let body = &call.body;
    let Some(thread) = &place.thread else {
        need(state, channel, MANAGE_CHANNELS)?;
        let mut form = Form::default();
        form.text(body, "name", "name", 1, 100);
        form.text(body, "topic", "topic", 0, 1024);
        form.finish()?;
        if let Some(place) = state.world.channels.get_mut(&channel) {
            apply(place, body);
        }
        state.tell_channel(channel, false);
        return read(state, channel);
    };
    let (archived, own) = (thread.archived, thread.owner == state.world.bot_id);
    let unarchives = body["archived"] == false;
    let only_archives = body.as_object().is_some_and(|body| body.keys().all(|key| key == "archived"));
    let locks = body.get("locked").is_some_and(|locked| *locked != json!(thread.locked));
    // Its owner may rename and archive a thread; locking, and unarchiving a locked one, is for who manages threads.
    let bits = if !own || locks || (unarchives && thread.locked) { MANAGE_THREADS } else { 0 };
    need(state, channel, bits)?;
    let mut form = Form::default();
    check_fields(&mut form, body);
    form.finish()?;
    if archived && !unarchives && !(only_archives && body["archived"] == true) {
        return Err(Refusal::new(400, 50083, "Thread is archived"));
    }
    if let Some(place) = state.world.channels.get_mut(&channel) {
        apply(place, body);
    }
    state.tell_channel(channel, false);
    read(state, channel)
}

/// Takes over what is there.
pub(in crate::sim::discord) fn apply(place: &mut Channel, body: &Value) {
    if let Some(name) = body["name"].as_str() {
        place.name = name.to_owned();
    }
    if let Some(topic) = body.get("topic") {
        place.topic = topic.as_str().map(str::to_owned);
    }
    if let Some(parent) = body.get("parent_id").and_then(wire_id) {
        place.parent = Some(parent);
    }
    let Some(thread) = &mut place.thread else { return };
    if let Some(locked) = body["locked"].as_bool() {
        thread.locked = locked;
    }
    if let Some(minutes) = body["auto_archive_duration"].as_u64() {
        thread.auto_archive_minutes = minutes as u32;
    }
    if let Some(archived) = body["archived"].as_bool().filter(|archived| *archived != thread.archived) {
        thread.archived = archived;
        thread.archive_changed_at = now();
    }
}
