//! Answers to interactions: the first one, `@original`, followups.
//!
//! Callback types and the rules between them: Discord's document on receiving and responding to interactions.

use serde_json::{Value, json};

use super::{Answer, Call, Reply, compose, id};
use crate::sim::discord::id::{Id, now};
use crate::sim::discord::interactions::{Interaction, Kind, Status};
use crate::sim::discord::message::{EPHEMERAL, LOADING, Message, Origin, kind};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::validate::{self, Place};

/// Followups of one interaction. Undocumented for applications in a guild; a bound all the same.
const FOLLOWUPS_MAX: usize = 200;

fn already_acknowledged() -> Refusal {
    Refusal::new(400, 40060, "Interaction has already been acknowledged.")
}

/// The first answer.
pub(super) fn callback(state: &mut State, call: &Call, interaction: Id, token: &str) -> Answer {
    // Undocumented: which answer a wrong token gets here; to the bot the interaction is unknown either way.
    let unknown = Refusal::unknown_interaction;
    let one = state.interactions.get(interaction).filter(|one| one.token == token).ok_or_else(unknown)?.clone();
    if one.acknowledged {
        return Err(already_acknowledged());
    }
    if !one.can_be_answered(&state.settings) {
        state.expire(interaction);
        return Err(unknown());
    }
    let callback = call.body["type"].as_u64().unwrap_or(0);
    let data = &call.body["data"];
    let mut form = Form::default();
    form.spelling(&call.body, "", &["type", "data", "attachments"]);
    let allowed = match callback {
        4 | 5 => one.kind != Kind::Autocomplete,
        6 | 7 => one.kind.on_message() || one.kind == Kind::Modal && one.source.is_some(),
        8 => one.kind == Kind::Autocomplete,
        9 => !matches!(one.kind, Kind::Modal | Kind::Autocomplete),
        _ => false,
    };
    if !allowed {
        let words = "This callback type cannot be used for this interaction.";
        form.fault("type", "INTERACTION_CALLBACK_TYPE_INVALID", words);
    }
    form.finish()?;
    let message = match callback {
        4 => {
            let message = answer(state, &one, data, &call.files, "data")?;
            settle(state, interaction, Status::Answered, Some(message));
            Some(message)
        }
        5 => {
            let message = defer(state, &one, data)?;
            settle(state, interaction, Status::Deferred, Some(message));
            Some(message)
        }
        6 => {
            settle(state, interaction, Status::Answered, one.source);
            one.source
        }
        7 => {
            compose::check(data, &call.files, "data", Place::Answer)?;
            let source = one.source.ok_or_else(Refusal::unknown_message)?;
            if !data.is_null() {
                compose::change(state, source, data, &call.files)?;
            }
            settle(state, interaction, Status::Answered, Some(source));
            Some(source)
        }
        8 => {
            let mut form = Form::default();
            validate::choices(&mut form, data, focused_type(&one.payload));
            form.finish()?;
            settle(state, interaction, Status::Answered, None);
            if let Some(standing) = state.interactions.get_mut(interaction) {
                standing.choices = Some(data["choices"].clone());
            }
            None
        }
        _ => {
            let mut form = Form::default();
            validate::modal(&mut form, data);
            form.finish()?;
            if let Some(standing) = state.interactions.get_mut(interaction) {
                standing.modal = Some(data.clone());
            }
            settle(state, interaction, Status::Modal, None);
            None
        }
    };
    if callback == 8 {
        state.tell_interaction(interaction);
    }
    if !call.asks("with_response") {
        return Ok(Reply::nothing());
    }
    Ok(Reply::ok(with_response(state, &one, callback, message)))
}

/// Marks the first answer.
fn settle(state: &mut State, interaction: Id, status: Status, message: Option<Id>) {
    let ephemeral =
        message.and_then(|id| state.world.message(id)).is_some_and(|message| message.ephemeral_for.is_some());
    if let Some(one) = state.interactions.get_mut(interaction) {
        one.acknowledged = true;
        one.status = status;
        one.answered_after.get_or_insert(one.began.elapsed());
        one.original = message;
        one.ephemeral = ephemeral;
    }
    state.tell_interaction(interaction);
}

fn with_response(state: &State, one: &Interaction, callback: u64, message: Option<Id>) -> Value {
    let standing = message.and_then(|id| state.world.message(id));
    let mut out = json!({"interaction": {
        "id": one.id, "type": one.kind.number(), "channel_id": one.channel_id, "guild_id": state.world.guild_id,
    }});
    if let Some(standing) = standing {
        out["interaction"]["response_message_id"] = json!(standing.id);
        out["interaction"]["response_message_loading"] = json!(standing.has(LOADING));
        out["interaction"]["response_message_ephemeral"] = json!(standing.ephemeral_for.is_some());
    }
    out["resource"] = match (callback, standing) {
        (4 | 7, Some(standing)) => json!({"type": callback, "message": standing.wire(&state.world, &state.base)}),
        _ => json!({"type": callback}),
    };
    out
}

/// The type of the option that is being typed.
fn focused_type(payload: &Value) -> u64 {
    fn find(options: &Value) -> Option<u64> {
        options.as_array()?.iter().find_map(|option| {
            if option["focused"] == true { option["type"].as_u64() } else { find(&option["options"]) }
        })
    }
    find(&payload["data"]["options"]).unwrap_or(3)
}

/// A new message that answers `one`.
fn blank(state: &mut State, one: &Interaction, ephemeral: bool) -> Message {
    let message_id = state.world.ids.next();
    let mut message = Message::new(message_id, one.channel_id, state.world.bot_id);
    message.kind = match one.kind {
        Kind::Command => kind::COMMAND,
        Kind::ContextMenu => kind::CONTEXT_MENU,
        _ => kind::DEFAULT,
    };
    let name = if one.kind.number() == 2 { one.name.clone() } else { String::new() };
    message.origin = Some(Origin { interaction_id: one.id, kind: one.kind.number(), name, user_id: one.user_id });
    if ephemeral {
        message.ephemeral_for = Some(one.user_id);
        message.flags |= EPHEMERAL;
    }
    message
}

/// Posts an answer made of a checked body.
fn answer(
    state: &mut State,
    one: &Interaction,
    data: &Value,
    files: &[super::body::Upload],
    prefix: &str,
) -> Result<Id, Refusal> {
    compose::check(data, files, prefix, Place::Answer)?;
    if !state.world.channels.contains_key(&one.channel_id) {
        return Err(Refusal::unknown_channel());
    }
    let ephemeral = data["flags"].as_u64().unwrap_or_default() & EPHEMERAL != 0;
    let mut message = blank(state, one, ephemeral);
    compose::fill(state, &mut message, data, files)?;
    Ok(state.post(message))
}

/// Posts the "is thinking" that an edit of `@original` fills.
fn defer(state: &mut State, one: &Interaction, data: &Value) -> Result<Id, Refusal> {
    let flags = data["flags"].as_u64().unwrap_or_default();
    if flags & !EPHEMERAL != 0 {
        let mut form = Form::default();
        form.fault("data.flags", "MESSAGE_FLAGS_INVALID", "Only EPHEMERAL can be set here.");
        form.finish()?;
    }
    let mut message = blank(state, one, flags & EPHEMERAL != 0);
    message.flags |= LOADING;
    Ok(state.post(message))
}

/// Everything under `/webhooks/{application}/{token}`.
pub(super) fn webhook(state: &mut State, call: &Call, application: Id, token: &str, rest: &[&str]) -> Answer {
    let unknown = || Refusal::new(404, 10015, "Unknown Webhook");
    if application != state.world.application_id {
        return Err(unknown());
    }
    let one = state.interactions.by_token(token).and_then(|id| state.interactions.get(id));
    let one = one.ok_or_else(|| Refusal::new(401, 50027, "Invalid Webhook Token"))?.clone();
    if !one.token_lives(&state.settings) {
        state.expire(one.id);
        return Err(Refusal::new(401, 50027, "Invalid Webhook Token"));
    }
    // Undocumented: which answer comes before the first answer was given.
    if !one.acknowledged {
        return Err(unknown());
    }
    match (call.method.as_str(), rest) {
        ("POST", []) => followup(state, call, &one),
        ("GET", ["messages", message]) => {
            let message = own(state, &one, message)?;
            let standing = state.world.message(message).ok_or_else(Refusal::unknown_message)?;
            Ok(Reply::ok(standing.wire(&state.world, &state.base)))
        }
        ("PATCH", ["messages", message]) => {
            let message = own(state, &one, message)?;
            compose::check(&call.body, &call.files, "", Place::Answer)?;
            Ok(Reply::ok(edit(state, &one, message, &call.body, &call.files)?))
        }
        ("DELETE", ["messages", message]) => {
            let message = own(state, &one, message)?;
            if one.original == Some(message) {
                finish(state, &one);
            }
            state.delete(one.channel_id, message);
            if let Some(standing) = state.interactions.get_mut(one.id) {
                standing.original = standing.original.filter(|id| *id != message);
                standing.followups.retain(|id| *id != message);
            }
            state.tell_interaction(one.id);
            Ok(Reply::nothing())
        }
        _ => Err(Refusal::not_found()),
    }
}

/// The message that a path names, when it belongs to this interaction.
fn own(state: &State, one: &Interaction, part: &str) -> Result<Id, Refusal> {
    let message = match part {
        "@original" => one.original.ok_or_else(Refusal::unknown_message)?,
        part => id(part, "message_id")?,
    };
    let belongs = one.original == Some(message) || one.followups.contains(&message);
    if belongs && state.world.message(message).is_some() { Ok(message) } else { Err(Refusal::unknown_message()) }
}

/// A deferred answer is one no longer.
fn finish(state: &mut State, one: &Interaction) {
    if let Some(standing) = state.interactions.get_mut(one.id)
        && standing.status == Status::Deferred
    {
        standing.status = Status::Answered;
    }
}

/// Edits an answer; the first edit of a deferred one is what fills it.
fn edit(
    state: &mut State,
    one: &Interaction,
    message: Id,
    body: &Value,
    files: &[super::body::Upload],
) -> Result<Value, Refusal> {
    let loading = state.world.message(message).is_some_and(|message| message.has(LOADING));
    let wire = if loading {
        fill_deferred(state, message, body, files)?
    } else {
        compose::change(state, message, body, files)?
    };
    if one.original == Some(message) {
        finish(state, one);
    }
    state.tell_interaction(one.id);
    Ok(wire)
}

/// Fills "is thinking". It pings as a new message would, for nobody has seen it yet.
///
/// Undocumented: whether it rings phones; Discord's own clients show a mention in it, so it does here.
fn fill_deferred(
    state: &mut State,
    message: Id,
    body: &Value,
    files: &[super::body::Upload],
) -> Result<Value, Refusal> {
    let mut next = state.world.message(message).ok_or_else(Refusal::unknown_message)?.clone();
    let keeps = next.flags & EPHEMERAL;
    next.flags = keeps;
    compose::fill(state, &mut next, body, files)?;
    next.flags = next.flags & !EPHEMERAL | keeps;
    next.edited_at = Some(now());
    let message = state.fill(next);
    Ok(message.wire(&state.world, &state.base))
}

fn followup(state: &mut State, call: &Call, one: &Interaction) -> Answer {
    if one.followups.len() >= FOLLOWUPS_MAX {
        return Err(Refusal::new(400, 40094, "This interaction has reached the maximum number of follow-up messages."));
    }
    // The first followup to a deferred answer fills it, and its own ephemeral flag is passed over.
    let loading = one.original.filter(|&id| state.world.message(id).is_some_and(|message| message.has(LOADING)));
    if let Some(original) = loading {
        compose::check(&call.body, &call.files, "", Place::Answer)?;
        return Ok(Reply::ok(edit(state, one, original, &call.body, &call.files)?));
    }
    let message = answer(state, one, &call.body, &call.files, "")?;
    if let Some(standing) = state.interactions.get_mut(one.id) {
        standing.followups.push(message);
    }
    state.tell_interaction(one.id);
    let standing = state.world.message(message).ok_or_else(Refusal::unknown_message)?;
    Ok(Reply::ok(standing.wire(&state.world, &state.base)))
}
