//! Messages: post, edit, delete, read, react.

use std::collections::BTreeMap;
use std::ops::Bound;

use chrono::Duration;
use serde_json::{Value, json};

use super::{Answer, Call, Reply, compose, id};
use crate::sim::discord::gateway::{self, MESSAGE_CONTENT};
use crate::sim::discord::id::{Id, now};
use crate::sim::discord::mentions::wire_id;
use crate::sim::discord::message::{Message, Reaction, kind};
use crate::sim::discord::permissions::{
    ADD_REACTIONS, ATTACH_FILES, EMBED_LINKS, MANAGE_MESSAGES, MANAGE_THREADS, READ_MESSAGE_HISTORY, SEND_MESSAGES,
    SEND_MESSAGES_IN_THREADS, VIEW_CHANNEL,
};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::validate::Place;
use crate::sim::discord::view;
use crate::sim::discord::wire;
use crate::sim::discord::world::DM;

/// Messages of one page.
const PAGE_MAX: usize = 100;
/// Messages of one bulk deletion.
const BULK_MAX: usize = 100;

/// Refuses when the channel is not there, not to be seen, or the bot lacks one of the bits in it.
pub(super) fn need(state: &State, channel: Id, bits: u64) -> Result<(), Refusal> {
    let Some(place) = state.world.channels.get(&channel) else { return Err(Refusal::unknown_channel()) };
    if place.kind == DM {
        return Ok(());
    }
    let has = state.bot_permissions(channel);
    if has & VIEW_CHANNEL == 0 {
        return Err(Refusal::missing_access());
    }
    if has & bits == bits { Ok(()) } else { Err(Refusal::missing_permissions()) }
}

/// Refuses in an archived thread.
pub(super) fn not_archived(state: &State, channel: Id) -> Result<(), Refusal> {
    match state.world.channels.get(&channel) {
        Some(place) if place.archived() => Err(Refusal::new(400, 50083, "Thread is archived")),
        _ => Ok(()),
    }
}

/// A message of this channel that the bot may see.
pub(super) fn find(state: &State, channel: Id, message: Id) -> Result<&Message, Refusal> {
    let place = state.world.channels.get(&channel).ok_or_else(Refusal::unknown_channel)?;
    let found = place.messages.get(&message).filter(|message| message.ephemeral_for.is_none());
    found.ok_or_else(Refusal::unknown_message)
}

pub(super) fn route(state: &mut State, call: &Call, channel: Id, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("POST", ["messages"]) => create(state, call, channel),
        ("GET", ["messages"]) => list(state, call, channel),
        ("POST", ["messages", "bulk-delete"]) => bulk_delete(state, call, channel),
        ("GET", ["messages", message]) => {
            need(state, channel, READ_MESSAGE_HISTORY)?;
            let message = find(state, channel, id(message, "message_id")?)?;
            Ok(Reply::ok(as_read(state, message)))
        }
        ("PATCH", ["messages", message]) => {
            let message = id(message, "message_id")?;
            need(state, channel, 0)?;
            if find(state, channel, message)?.author_id != state.world.bot_id {
                return Err(Refusal::new(403, 50005, "Cannot edit a message authored by another user"));
            }
            not_archived(state, channel)?;
            Ok(Reply::ok(compose::edit(state, message, call, Place::Channel)?))
        }
        ("DELETE", ["messages", message]) => {
            let message = id(message, "message_id")?;
            let own = find(state, channel, message)?.author_id == state.world.bot_id;
            need(state, channel, if own { 0 } else { MANAGE_MESSAGES })?;
            not_archived(state, channel)?;
            state.delete(channel, message);
            Ok(Reply::nothing())
        }
        (_, ["messages", message, "reactions", reaction @ ..]) => {
            react(state, call, channel, id(message, "message_id")?, reaction)
        }
        _ => Err(Refusal::not_found()),
    }
}

fn create(state: &mut State, call: &Call, channel: Id) -> Answer {
    let Some(place) = state.world.channels.get(&channel) else { return Err(Refusal::unknown_channel()) };
    if !place.takes_messages() {
        return Err(Refusal::new(400, 50008, "Cannot send messages in a non-text channel"));
    }
    let bot = state.world.bot_id;
    if place.kind == DM {
        let other = place.recipients.iter().find(|&&id| id != bot);
        if other.and_then(|id| state.world.members.get(id)).is_none_or(|member| member.dms_closed) {
            return Err(Refusal::new(403, 50007, "Cannot send messages to this user"));
        }
    }
    let (is_thread, archived, locked) = (place.thread.is_some(), place.archived(), place.locked());
    let mut bits = if is_thread { SEND_MESSAGES_IN_THREADS } else { SEND_MESSAGES };
    if call.body["embeds"].as_array().is_some_and(|embeds| !embeds.is_empty()) {
        bits |= EMBED_LINKS;
    }
    if !call.files.is_empty() {
        bits |= ATTACH_FILES;
    }
    need(state, channel, bits)?;
    compose::check(&call.body, &call.files, "", Place::Channel)?;
    // Undocumented: that who manages threads may write in a locked one as long as it is open.
    if locked && (archived || state.bot_permissions(channel) & MANAGE_THREADS == 0) {
        return Err(Refusal::new(400, 160_005, "Thread is locked"));
    }
    if call.body["enforce_nonce"] == true
        && let Some(standing) = posted_lately(state, &call.body["nonce"])
    {
        let standing = standing.wire_new(&state.world, &state.base);
        state.counters.nonce_repeats += 1;
        return Ok(Reply::ok(standing));
    }
    let message_id = state.world.ids.next();
    let mut message = Message::new(message_id, channel, bot);
    if let Some(reference) = call.body.get("message_reference").filter(|reference| reference.is_object()) {
        reply(state, &mut message, reference)?;
    }
    compose::fill(state, &mut message, &call.body, &call.files)?;
    if archived {
        state.archive(channel, false);
    }
    state.post(message);
    let message = state.world.message(message_id).ok_or_else(Refusal::unknown_message)?;
    Ok(Reply::ok(message.wire_new(&state.world, &state.base)))
}

/// The bot's message with this nonce, when it is young enough.
///
/// Undocumented: how long the "past few minutes" are; here `nonce_window_ms`. By author, over all channels, as the
/// document says; a message that was deleted since is not found.
fn posted_lately<'a>(state: &'a State, nonce: &Value) -> Option<&'a Message> {
    let text = |nonce: &Value| match nonce {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let wanted = text(nonce)?;
    let since = now() - Duration::milliseconds(state.settings.nonce_window_ms.min(i64::MAX as u64) as i64);
    let lately = state
        .world
        .channels
        .values()
        .flat_map(|channel| channel.messages.values().rev().take_while(|message| message.at >= since));
    lately
        .filter(|message| message.author_id == state.world.bot_id)
        .find(|message| message.nonce.as_ref().and_then(text).is_some_and(|nonce| nonce == wanted))
}

fn reply(state: &State, message: &mut Message, reference: &Value) -> Result<(), Refusal> {
    let target = wire_id(&reference["message_id"]);
    let standing = target.and_then(|target| find(state, message.channel_id, target).ok());
    if standing.is_none() {
        if reference["fail_if_not_exists"] == false {
            return Ok(());
        }
        let mut form = Form::default();
        form.fault("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message");
        return form.finish();
    }
    need(state, message.channel_id, READ_MESSAGE_HISTORY)
        .map_err(|_| Refusal::new(403, 160_002, "Cannot reply without permission to read message history"))?;
    message.kind = kind::REPLY;
    message.reference = Some((message.channel_id, target));
    Ok(())
}

/// A message as the bot reads it: without the content intent, others' words are empty unless they mention it.
fn as_read(state: &State, message: &Message) -> Value {
    let mut out = message.wire(&state.world, &state.base);
    let in_dm = state.world.channels.get(&message.channel_id).is_some_and(|channel| channel.kind == DM);
    let may = state.workspace.privileged_intents & MESSAGE_CONTENT != 0
        || in_dm
        || message.author_id == state.world.bot_id
        || message.pings.users.contains(&state.world.bot_id);
    if !may {
        out["content"] = json!("");
        for list in ["embeds", "attachments", "components"] {
            out[list] = json!([]);
        }
    }
    out
}

fn list(state: &mut State, call: &Call, channel: Id) -> Answer {
    need(state, channel, 0)?;
    let limit = match call.query.get("limit").map(|limit| limit.parse::<usize>()) {
        None => 50,
        Some(Ok(limit)) if (1..=PAGE_MAX).contains(&limit) => limit,
        Some(_) => {
            let mut form = Form::default();
            form.fault("limit", "NUMBER_TYPE_MAX", format!("int value should be between 1 and {PAGE_MAX}."));
            return form.finish().map(|()| Reply::nothing());
        }
    };
    if need(state, channel, READ_MESSAGE_HISTORY).is_err() {
        return Ok(Reply::ok(json!([])));
    }
    let at = |key: &str| call.query.get(key).and_then(|text| Id::parse(text));
    let Some(place) = state.world.channels.get(&channel) else { return Err(Refusal::unknown_channel()) };
    let seen = |message: &&Message| message.ephemeral_for.is_none();
    let messages: &BTreeMap<Id, Message> = &place.messages;
    let mut found: Vec<&Message> = if let Some(after) = at("after") {
        let later = messages.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, message)| message);
        later.filter(seen).take(limit).collect()
    } else if let Some(around) = at("around") {
        let half = limit / 2;
        let earlier = messages.range(..around).rev().map(|(_, message)| message).filter(seen).take(half);
        let later = messages.range(around..).map(|(_, message)| message).filter(seen).take(limit - half);
        earlier.chain(later).collect()
    } else {
        let before = at("before").map_or(Bound::Unbounded, Bound::Excluded);
        let earlier = messages.range((Bound::Unbounded, before)).rev().map(|(_, message)| message);
        earlier.filter(seen).take(limit).collect()
    };
    found.sort_by_key(|message| std::cmp::Reverse(message.id));
    Ok(Reply::ok(found.into_iter().map(|message| as_read(state, message)).collect()))
}

fn bulk_delete(state: &mut State, call: &Call, channel: Id) -> Answer {
    need(state, channel, MANAGE_MESSAGES)?;
    let mut form = Form::default();
    let ids = form.list(&call.body, "messages", "messages", 2, BULK_MAX).cloned().unwrap_or_default();
    form.finish()?;
    for id in ids.iter().filter_map(wire_id) {
        state.delete(channel, id);
    }
    Ok(Reply::nothing())
}

fn react(state: &mut State, call: &Call, channel: Id, message: Id, rest: &[&str]) -> Answer {
    find(state, channel, message)?;
    need(state, channel, READ_MESSAGE_HISTORY)?;
    let bot = state.world.bot_id;
    let (emoji, who) = match rest {
        [] => (None, None),
        [emoji] => (Some(super::body::percent_decoded(emoji)), None),
        [emoji, "@me"] => (Some(super::body::percent_decoded(emoji)), Some(bot)),
        [emoji, user] => (Some(super::body::percent_decoded(emoji)), Some(id(user, "user_id")?)),
        _ => return Err(Refusal::not_found()),
    };
    match (call.method.as_str(), emoji, who) {
        ("PUT", Some(emoji), Some(who)) if who == bot => {
            need(state, channel, ADD_REACTIONS)?;
            not_archived(state, channel)?;
            set_reaction(state, message, bot, &emoji, true);
            Ok(Reply::nothing())
        }
        ("DELETE", Some(emoji), Some(who)) => {
            need(state, channel, if who == bot { 0 } else { MANAGE_MESSAGES })?;
            set_reaction(state, message, who, &emoji, false);
            Ok(Reply::nothing())
        }
        ("DELETE", emoji, None) => {
            need(state, channel, MANAGE_MESSAGES)?;
            state.edit(message, false, |message| {
                message.reactions.retain(|reaction| emoji.as_ref().is_some_and(|emoji| reaction.emoji != *emoji));
            });
            Ok(Reply::nothing())
        }
        ("GET", Some(emoji), None) => {
            let found = find(state, channel, message)?;
            let reaction = found.reactions.iter().find(|reaction| reaction.emoji == emoji);
            let who = reaction.map(|reaction| reaction.members.clone()).unwrap_or_default();
            let users = who.iter().filter_map(|&id| wire::user_by_id(&state.world, id));
            Ok(Reply::ok(users.collect()))
        }
        _ => Err(Refusal::not_found()),
    }
}

/// Adds or takes away one member's reaction, and tells of it.
pub(in crate::sim::discord) fn set_reaction(state: &mut State, message: Id, member: Id, emoji: &str, add: bool) {
    let Some(standing) = state.world.message_mut(message) else { return };
    let channel = standing.channel_id;
    let found = standing.reactions.iter().position(|reaction| reaction.emoji == emoji);
    match (found.and_then(|index| standing.reactions.get_mut(index)), add) {
        (Some(reaction), true) if !reaction.members.contains(&member) => reaction.members.push(member),
        (Some(reaction), false) => reaction.members.retain(|one| *one != member),
        (None, true) => standing.reactions.push(Reaction { emoji: emoji.to_owned(), members: vec![member] }),
        _ => return,
    }
    standing.reactions.retain(|reaction| !reaction.members.is_empty());
    let standing = standing.clone();
    let event = if add { "MESSAGE_REACTION_ADD" } else { "MESSAGE_REACTION_REMOVE" };
    let mut data = json!({
        "user_id": member, "channel_id": channel, "message_id": message, "guild_id": state.world.guild_id,
        "emoji": {"id": null, "name": emoji}, "burst": false, "type": 0,
    });
    if add {
        data["message_author_id"] = json!(standing.author_id);
    }
    state.dispatch(event, gateway::GUILD_MESSAGE_REACTIONS, data);
    let seen = view::message(state, &standing);
    state.change("message_edit", json!({"channel_id": channel, "message": seen}));
}
