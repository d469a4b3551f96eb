//! From a checked body to a message: what a post, an answer and an edit have in common.

use serde_json::{Value, json};

use super::Call;
use super::body::Upload;
use crate::sim::discord::id::Id;
use crate::sim::discord::mentions::{pings, wire_id};
use crate::sim::discord::message::{Attachment, COMPONENTS_V2, Message, SUPPRESS_EMBEDS};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::validate::{self, Place};
use crate::sim::discord::world::StoredFile;

/// Checks `body` and that what it makes says something. `prefix` is where it stands in the whole body.
pub(super) fn check(body: &Value, files: &[Upload], prefix: &str, place: Place) -> Result<(), Refusal> {
    let mut form = Form::default();
    validate::message(&mut form, body, prefix, place);
    if files.len() > validate::ATTACHMENTS_MAX {
        form.fault(
            "files",
            "BASE_TYPE_MAX_LENGTH",
            format!("Must be {} or fewer in length.", validate::ATTACHMENTS_MAX),
        );
    }
    form.finish()
}

fn list(body: &Value, key: &str) -> Option<Vec<Value>> {
    body.get(key).map(|value| value.as_array().cloned().unwrap_or_default())
}

/// Embeds as they come back: typed, times and missing parts filled in.
fn stored_embeds(embeds: Vec<Value>, message: &Message, state: &State) -> Vec<Value> {
    let url_of = |url: &str| {
        let name = url.strip_prefix("attachment://")?;
        let file = message.attachments.iter().find(|file| file.filename == name)?;
        Some(format!("{}/attachments/{}/{}/{}", state.base, message.channel_id, file.id, file.filename))
    };
    let stored = |mut embed: Value| {
        embed["type"] = json!("rich");
        for field in embed["fields"].as_array_mut().into_iter().flatten() {
            if field.get("inline").is_none() {
                field["inline"] = json!(false);
            }
        }
        for key in ["image", "thumbnail"] {
            if let Some(url) = embed[key]["url"].as_str().and_then(url_of) {
                embed[key] = json!({"url": url, "proxy_url": url, "width": 0, "height": 0});
            }
        }
        if let Some(embed) = embed.as_object_mut() {
            embed.retain(|_, value| !value.is_null());
        }
        embed
    };
    embeds.into_iter().map(stored).collect()
}

/// Components as they come back: each with a number of its own.
fn stored_components(mut components: Vec<Value>) -> Vec<Value> {
    fn number(one: &mut Value, next: &mut u64) {
        if one.get("id").is_none_or(|id| id.is_null() || id == 0) {
            one["id"] = json!(*next);
        }
        *next += 1;
        if let Some(inner) = one.get_mut("components").and_then(Value::as_array_mut) {
            inner.iter_mut().for_each(|inner| number(inner, next));
        }
        if one.get("accessory").is_some_and(Value::is_object) {
            number(&mut one["accessory"], next);
        }
        if one["type"] == 3 {
            for (key, value) in [("min_values", 1), ("max_values", 1)] {
                if one.get(key).is_none_or(Value::is_null) {
                    one[key] = json!(value);
                }
            }
        }
    }
    let mut next = 1;
    components.iter_mut().for_each(|one| number(one, &mut next));
    components
}

/// Keeps the uploaded files and describes them as the body says.
fn store_files(state: &mut State, body: &Value, files: &[Upload]) -> Vec<Attachment> {
    let told = body["attachments"].as_array().cloned().unwrap_or_default();
    let number = |one: &Value| one["id"].as_u64().or_else(|| one["id"].as_str()?.parse().ok());
    let mut out = Vec::new();
    for file in files {
        let told = told.iter().find(|one| number(one) == Some(file.number));
        let id = state.world.ids.next();
        let stored = StoredFile {
            filename: file.filename.clone(),
            content_type: file.content_type.clone(),
            bytes: file.bytes.clone(),
        };
        state.world.store_file(id, stored);
        out.push(Attachment {
            id,
            filename: file.filename.clone(),
            content_type: file.content_type.clone(),
            size: file.bytes.len(),
            description: told.and_then(|one| one["description"].as_str()).map(str::to_owned),
        });
    }
    out
}

/// Fills a new message from a checked body. Ephemeral ones ping nobody.
pub(super) fn fill(state: &mut State, message: &mut Message, body: &Value, files: &[Upload]) -> Result<(), Refusal> {
    message.attachments = store_files(state, body, files);
    message.content = body["content"].as_str().unwrap_or_default().trim().to_owned();
    message.embeds = stored_embeds(list(body, "embeds").unwrap_or_default(), message, state);
    message.components = stored_components(list(body, "components").unwrap_or_default());
    message.tts = body["tts"] == true;
    message.flags |= body["flags"].as_u64().unwrap_or_default();
    message.nonce = body.get("nonce").filter(|nonce| !nonce.is_null()).cloned();
    let says =
        validate::says_something(&message.content, &message.embeds, &message.components, message.attachments.len());
    let other = body["poll"].is_object() || body["sticker_ids"].as_array().is_some_and(|ids| !ids.is_empty());
    if !says && !other {
        return Err(Refusal::empty_message());
    }
    let replied_to = message.reference.and_then(|(_, id)| state.world.message(id?)).map(|replied| replied.author_id);
    if message.ephemeral_for.is_none() {
        let allowed = body.get("allowed_mentions").filter(|allowed| !allowed.is_null());
        message.pings = pings(&state.world, message.author_id, &message.content, allowed, replied_to);
    }
    Ok(())
}

/// Changes a message that stands as a checked body says; only what is there changes.
pub(super) fn change(state: &mut State, id: Id, body: &Value, files: &[Upload]) -> Result<Value, Refusal> {
    let standing = state.world.message(id).ok_or_else(Refusal::unknown_message)?;
    let mut next = standing.clone();
    if let Some(kept) = body.get("attachments").filter(|kept| kept.is_array()) {
        let kept: Vec<Id> = kept.as_array().into_iter().flatten().filter_map(|one| wire_id(&one["id"])).collect();
        next.attachments.retain(|file| kept.contains(&file.id));
    }
    next.attachments.extend(store_files(state, body, files));
    if let Some(content) = body.get("content") {
        next.content = content.as_str().unwrap_or_default().trim().to_owned();
        let allowed = body.get("allowed_mentions").filter(|allowed| !allowed.is_null());
        // An edit changes whom the text names; it rings no phone.
        let rung = std::mem::take(&mut next.pings.rung);
        next.pings = pings(&state.world, next.author_id, &next.content, allowed, None);
        next.pings.rung = rung;
    }
    if let Some(embeds) = list(body, "embeds") {
        next.embeds = stored_embeds(embeds, &next, state);
    }
    if let Some(components) = list(body, "components") {
        next.components = stored_components(components);
    }
    if let Some(flags) = body["flags"].as_u64() {
        // The newer layout can be switched on by an edit, but not off.
        next.flags = next.flags & !SUPPRESS_EMBEDS | flags & (SUPPRESS_EMBEDS | COMPONENTS_V2);
    }
    if !validate::says_something(&next.content, &next.embeds, &next.components, next.attachments.len()) {
        return Err(Refusal::empty_message());
    }
    let message = state.edit(id, true, |message| *message = next).ok_or_else(Refusal::unknown_message)?;
    Ok(message.wire(&state.world, &state.base))
}

/// Checks the body of an edit, then makes it.
pub(super) fn edit(state: &mut State, id: Id, call: &Call, place: Place) -> Result<Value, Refusal> {
    check(&call.body, &call.files, "", place)?;
    change(state, id, &call.body, &call.files)
}
