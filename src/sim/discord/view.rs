//! The guild as the control API shows it: what a person would see, in plain JSON.

use serde_json::{Value, json};

use super::id::stamp;
use super::interactions::{Interaction, NO_ANSWER, Status, times};
use super::mentions::plain;
use super::message::{LOADING, Message, SILENT, kind};
use super::state::State;
use super::world::{Channel, Command, Member, Role, World};

fn color(rgb: u32) -> String {
    format!("#{rgb:06x}")
}

/// Sets `key` when there is a value.
fn put(out: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        out[key] = value;
    }
}

/// `Channel` of docs/sim.md.
pub fn channel(world: &World, channel: &Channel) -> Value {
    let name = match channel.kind {
        super::world::DM => {
            let other = channel.recipients.iter().find(|&&id| id != world.bot_id);
            other.and_then(|id| world.members.get(id)).map_or("", |member| &member.display_name)
        }
        _ => &channel.name,
    };
    let kind = match channel.kind {
        1 => "dm",
        2 => "voice",
        4 => "category",
        5 => "announcement",
        10..=12 => "thread",
        15 => "forum",
        _ => "text",
    };
    let mut out = json!({
        "id": channel.id, "name": name, "kind": kind, "position": channel.position,
        "message_count": channel.messages.values().filter(|message| message.ephemeral_for.is_none()).count(),
    });
    put(&mut out, "parent_id", channel.parent.map(|id| json!(id)));
    put(&mut out, "topic", channel.topic.as_ref().map(|topic| json!(topic)));
    put(&mut out, "last_message_id", channel.last_message.map(|id| json!(id)));
    if let Some(thread) = &channel.thread {
        out["archived"] = json!(thread.archived);
        out["locked"] = json!(thread.locked);
        put(&mut out, "starter_message_id", thread.from_message.then(|| json!(channel.id)));
    }
    if !channel.in_guild() {
        out["member_ids"] = json!(channel.recipients);
    }
    out
}

/// `Member` of docs/sim.md.
pub fn member(member: &Member) -> Value {
    json!({
        "id": member.id, "username": member.username, "display_name": member.display_name, "bot": member.bot,
        "roles": member.roles, "asleep": member.asleep, "dms_closed": member.dms_closed,
        "color": color(member.color),
    })
}

/// `Role` of docs/sim.md.
pub fn role(role: &Role) -> Value {
    json!({
        "id": role.id, "name": role.name, "color": color(role.color), "mentionable": role.mentionable,
        "permissions": role.permissions.to_string(),
    })
}

/// `Command` of docs/sim.md.
pub fn command(command: &Command) -> Value {
    let kind = match command.kind {
        2 => "user",
        3 => "message",
        _ => "slash",
    };
    let options = command.form.get("options").filter(|options| options.is_array());
    json!({
        "id": command.id, "name": command.name, "kind": kind,
        "description": command.form["description"].as_str().unwrap_or_default(),
        "scope": if command.guild { "guild" } else { "global" },
        "options": options.cloned().unwrap_or_else(|| json!([])),
    })
}

/// `Message` of docs/sim.md.
pub fn message(state: &State, message: &Message) -> Value {
    let world = &state.world;
    let author = world.members.get(&message.author_id);
    let kind = match message.kind {
        kind::PINNED => "pin",
        kind::THREAD_CREATED => "thread_created",
        kind::REPLY => "reply",
        kind::COMMAND | kind::CONTEXT_MENU => "command",
        _ => "default",
    };
    let attachments: Vec<Value> =
        message.wire(world, &state.base)["attachments"].as_array().cloned().unwrap_or_default();
    let mut out = json!({
        "id": message.id, "channel_id": message.channel_id, "kind": kind,
        "author": {
            "id": message.author_id, "name": author.map(|author| &author.display_name),
            "bot": author.is_some_and(|author| author.bot),
            "color": color(author.map_or(0, |author| author.color)),
        },
        "content": message.content, "text": plain(world, &message.content), "at": stamp(message.at),
        "edits": message.edits, "pinned": message.pinned_at.is_some(), "silent": message.has(SILENT),
        "loading": message.has(LOADING), "embeds": message.embeds, "components": message.components,
        "attachments": attachments,
        "pinged": {
            "everyone": message.pings.everyone, "users": message.pings.users, "roles": message.pings.roles,
            "members": message.pings.rung,
        },
        "reactions": message.reactions.iter().map(|reaction| json!({
            "emoji": reaction.emoji, "count": reaction.members.len(), "members": reaction.members,
        })).collect::<Vec<_>>(),
    });
    put(&mut out, "edited_at", message.edited_at.map(|at| json!(stamp(at))));
    put(&mut out, "ephemeral_for", message.ephemeral_for.map(|id| json!(id)));
    put(&mut out, "thread_id", world.channels.get(&message.id).map(|thread| json!(thread.id)));
    put(&mut out, "nonce", message.nonce.clone());
    if let Some((_, Some(target))) = message.reference.filter(|_| message.kind == kind::REPLY) {
        let replied = world.message(target);
        let author = replied.and_then(|replied| world.members.get(&replied.author_id));
        out["reply_to"] = json!({
            "message_id": target, "author": author.map(|author| &author.display_name),
            "text": replied.map(|replied| plain(world, &replied.content)),
        });
    }
    if let Some(origin) = &message.origin {
        out["command"] =
            json!({"name": origin.name, "user_id": origin.user_id, "interaction_id": origin.interaction_id});
    }
    out
}

/// `Interaction` of docs/sim.md.
pub fn interaction(state: &State, interaction: &Interaction) -> Value {
    let seen = |id| state.world.message(id).map(|found| message(state, found));
    let mut out = json!({
        "id": interaction.id, "kind": interaction.kind.name(), "name": interaction.name,
        "user_id": interaction.user_id, "channel_id": interaction.channel_id, "status": interaction.status.name(),
        "ephemeral": interaction.ephemeral,
        "followups": interaction.followups.iter().filter_map(|&id| seen(id)).collect::<Vec<_>>(),
    });
    let times = times(interaction);
    out["at"] = times["at"].clone();
    put(&mut out, "answered_after_ms", times.get("answered_after_ms").filter(|after| !after.is_null()).cloned());
    put(&mut out, "on_phone", interaction.on_phone.then_some(json!(true)));
    put(&mut out, "source", interaction.source.map(|id| json!(id)));
    put(&mut out, "message", interaction.original.and_then(seen));
    put(&mut out, "choices", interaction.choices.clone());
    put(&mut out, "modal", interaction.modal.as_ref().map(modal));
    if interaction.status == Status::Expired {
        out["error"] = json!(NO_ANSWER);
    }
    out
}

/// A form, flat.
fn modal(form: &Value) -> Value {
    let inputs: Vec<Value> = text_inputs(form)
        .map(|(label, input)| {
            let mut out = json!({
                "custom_id": input["custom_id"], "label": label,
                "style": if input["style"] == 2 { "paragraph" } else { "short" },
                "required": input["required"].as_bool().unwrap_or(true),
            });
            for key in ["value", "placeholder", "min_length", "max_length"] {
                put(&mut out, key, input.get(key).filter(|value| !value.is_null()).cloned());
            }
            out
        })
        .collect();
    json!({"custom_id": form["custom_id"], "title": form["title"], "inputs": inputs})
}

/// The text inputs of a form with their labels, in rows (type 1) or labels (type 18).
pub fn text_inputs(form: &Value) -> impl Iterator<Item = (Value, &Value)> {
    let rows = form["components"].as_array().into_iter().flatten();
    rows.filter_map(|row| match row["type"].as_u64() {
        Some(18) => Some((row["label"].clone(), row.get("component")?)),
        _ => {
            let input = row["components"].as_array()?.first()?;
            Some((input["label"].clone(), input))
        }
    })
}

/// `State` of docs/sim.md.
pub fn state(state: &State) -> Value {
    let world = &state.world;
    let bot = world.members.get(&world.bot_id);
    let mut channels: Vec<&Channel> = world.channels.values().collect();
    channels.sort_by_key(|channel| (channel.thread.is_some(), channel.position, channel.id));
    json!({
        "guild": {"id": world.guild_id, "name": world.guild_name},
        "application": {"id": world.application_id, "name": state.workspace.bot_name},
        "bot": {
            "id": world.bot_id, "username": bot.map(|bot| &bot.username),
            "display_name": bot.map(|bot| &bot.display_name), "connected": state.gateway.connected(),
        },
        "channels": channels.into_iter().map(|one| channel(world, one)).collect::<Vec<_>>(),
        "roles": world.roles.values().map(role).collect::<Vec<_>>(),
        "members": world.members.values().map(member).collect::<Vec<_>>(),
        "commands": commands(world),
        "counters": state.counters, "faults": state.faults.view(), "settings": state.settings, "seq": state.seq,
    })
}

/// All commands.
pub fn commands(world: &World) -> Value {
    json!(world.commands.iter().map(command).collect::<Vec<_>>())
}
