//! The table of actions, and those that concern the stand-in itself: faults, settings, channels, people.

use serde_json::{Value, json};

use super::{channel_id, line, member_id, members};
use crate::sim::discord::Sim;
use crate::sim::discord::faults::{Fault, FaultKind};
use crate::sim::discord::id::Id;
use crate::sim::discord::rest::{apply_channel, tell_member};
use crate::sim::discord::state::State;
use crate::sim::discord::view;
use crate::sim::discord::workspace::{ChannelKind, Settings};

/// The longest time that a setting takes, and the least for what must not be zero.
const SETTING_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Does one action, by its path below `/sim`.
pub(in crate::sim::discord) async fn act(sim: &Sim, action: &str, body: &Value) -> Result<Value, String> {
    let parts: Vec<&str> = action.split('/').filter(|part| !part.is_empty()).collect();
    if parts.as_slice() == ["autocomplete"] {
        return line::autocomplete(sim, body).await;
    }
    let state = &mut *sim.lock();
    match parts.as_slice() {
        ["type"] => line::type_text(state, body),
        ["run"] => line::run(state, body),
        ["press"] => members::press(state, body),
        ["select"] => members::select(state, body),
        ["submit"] => members::submit(state, body),
        ["cancel"] => members::cancel(state, body),
        ["menu"] => members::menu(state, body),
        ["post"] => members::post(state, body),
        ["delete"] => members::delete(state, body),
        ["react"] => members::react(state, body),
        ["channel"] => add_channel(state, body),
        ["channel", channel] => change_channel(state, channel, body),
        ["channel", channel, "delete"] => {
            let channel = channel_id(state, channel)?;
            state.delete_channel(channel).map(|_| json!({})).ok_or_else(|| "no such channel".to_owned())
        }
        ["member", member] => change_member(state, member, body),
        ["phones", member, "clear"] => {
            let member = member_id(state, member)?;
            state.world.phones.get_mut(&member).ok_or("no such phone")?.notifications.clear();
            tell_phone(state, member);
            Ok(json!({}))
        }
        ["settings"] => change_settings(state, body),
        ["faults"] => set_fault(state, body),
        ["gateway"] => break_gateway(state, body),
        ["reset"] => {
            state.reset();
            Ok(json!({}))
        }
        _ => Err(format!("there is no action {action}")),
    }
}

/// A text field that must be there.
pub(super) fn text<'a>(body: &'a Value, key: &str) -> Result<&'a str, String> {
    body[key].as_str().ok_or_else(|| format!("{key} is missing"))
}

/// The member that acts.
pub(super) fn acting(state: &State, body: &Value) -> Result<Id, String> {
    member_id(state, text(body, "as")?)
}

/// The channel that a body names; `dm` is the acting member's own.
pub(super) fn place(state: &mut State, body: &Value, member: Id) -> Result<Id, String> {
    match text(body, "channel")? {
        "dm" => {
            let known = state.world.channels.len();
            let channel = state.world.open_dm(state.world.bot_id, member);
            if state.world.channels.len() > known {
                state.tell_channel(channel, true);
            }
            Ok(channel)
        }
        name => channel_id(state, name),
    }
}

fn add_channel(state: &mut State, body: &Value) -> Result<Value, String> {
    let name = text(body, "name")?;
    let kind = match &body["kind"] {
        Value::Null => ChannelKind::Text,
        kind => serde_json::from_value(kind.clone()).map_err(|_| format!("no channel is of the kind {kind}"))?,
    };
    if state.world.channel_named(name).is_some_and(|channel| channel.thread.is_none()) {
        return Err(format!("there is a channel {name} already"));
    }
    let parent = body["parent"].as_str().map(|parent| channel_id(state, parent)).transpose()?;
    let channel = state.world.add_channel(kind, name, parent);
    state.tell_channel(channel, true);
    Ok(json!({"channel_id": channel}))
}

fn change_channel(state: &mut State, channel: &str, body: &Value) -> Result<Value, String> {
    let channel = channel_id(state, channel)?;
    let place = state.world.channels.get_mut(&channel).ok_or("no such channel")?;
    if place.thread.is_none() && (body.get("archived").is_some() || body.get("locked").is_some()) {
        return Err("only a thread can be archived or locked".to_owned());
    }
    apply_channel(place, body);
    let seen = state.world.channels.get(&channel).map(|place| view::channel(&state.world, place));
    state.tell_channel(channel, false);
    Ok(json!({"channel": seen}))
}

fn change_member(state: &mut State, member: &str, body: &Value) -> Result<Value, String> {
    let id = member_id(state, member)?;
    let roles = match &body["roles"] {
        Value::Array(names) => {
            let role = |name: &Value| {
                let name = name.as_str().unwrap_or_default();
                state.world.role_named(name).map(|role| role.id).ok_or_else(|| format!("no role is called {name}"))
            };
            Some(names.iter().map(role).collect::<Result<Vec<Id>, String>>()?)
        }
        _ => None,
    };
    let standing = state.world.members.get_mut(&id).ok_or("no such member")?;
    standing.roles = roles.unwrap_or_else(|| standing.roles.clone());
    standing.asleep = body["asleep"].as_bool().unwrap_or(standing.asleep);
    standing.dms_closed = body["dms_closed"].as_bool().unwrap_or(standing.dms_closed);
    if let Some(name) = body["display_name"].as_str() {
        standing.display_name = name.to_owned();
    }
    let seen = view::member(standing);
    tell_member(state, id);
    tell_phone(state, id);
    Ok(json!({"member": seen}))
}

/// Tells the page of a phone that looks otherwise.
pub(super) fn tell_phone(state: &mut State, member: Id) {
    if let Some(phone) = state.phone(member) {
        state.change("phone", json!({"phone": phone}));
    }
}

fn change_settings(state: &mut State, body: &Value) -> Result<Value, String> {
    let mut merged = json!(state.settings);
    for (key, value) in body.as_object().ok_or("settings are an object")? {
        if merged.get(key).is_none() {
            return Err(format!("there is no setting {key}"));
        }
        merged[key] = value.clone();
    }
    let settings: Settings = serde_json::from_value(merged).map_err(|error| error.to_string())?;
    let times = [
        settings.respond_within_ms,
        settings.token_lives_ms,
        settings.nonce_window_ms,
        settings.heartbeat_ms,
        settings.window_ms,
    ];
    if times.iter().any(|&ms| ms > SETTING_MS_MAX) || settings.heartbeat_ms == 0 {
        return Err(format!("times are at most {SETTING_MS_MAX} ms, and the heartbeat is not 0"));
    }
    state.settings = settings;
    state.limits.clear();
    let settings = json!(state.settings);
    state.change("settings", json!({"settings": settings}));
    Ok(settings)
}

fn set_fault(state: &mut State, body: &Value) -> Result<Value, String> {
    let fault: Fault = serde_json::from_value(body.clone()).map_err(|error| format!("no such fault: {error}"))?;
    let channel = match &fault.kind {
        FaultKind::Deny { channel, .. } => Some(channel_id(state, channel)?),
        _ => None,
    };
    let down = matches!(fault.kind, FaultKind::Down { .. });
    let id = state.faults.set(fault, channel)?;
    if down && state.faults.is_down() {
        state.gateway.cut();
    }
    state.tell_faults();
    Ok(json!({"id": id}))
}

fn break_gateway(state: &mut State, body: &Value) -> Result<Value, String> {
    match text(body, "do")? {
        "drop" => state.gateway.cut(),
        "reconnect" => state.gateway.reconnect(),
        "invalidate" => state.gateway.invalidate(body["resumable"] == true),
        other => return Err(format!("the gateway can drop, reconnect or invalidate, not {other}")),
    }
    Ok(json!({}))
}
