//! Users, members, roles, channels and the guild in Discord's JSON.

use serde_json::{Value, json};

use super::id::Id;
use super::id::stamp;
use super::world::{Channel, Command, DM, Member, Role, World};

/// A user object.
pub fn user(member: &Member) -> Value {
    json!({
        "id": member.id, "username": member.username, "global_name": member.display_name,
        "discriminator": if member.bot { "0001" } else { "0" },
        "avatar": null, "bot": member.bot, "system": false, "public_flags": 0, "flags": 0,
        "banner": null, "accent_color": member.color, "primary_guild": null, "clan": null,
        "avatar_decoration_data": null, "collectibles": null,
    })
}

/// A user by id, `None` when there is no such member.
pub fn user_by_id(world: &World, id: Id) -> Option<Value> {
    world.members.get(&id).map(user)
}

/// A guild member object with its user.
pub fn member(member: &Member) -> Value {
    json!({
        "user": user(member), "nick": null, "avatar": null, "banner": null, "roles": member.roles,
        "joined_at": stamp(member.joined_at), "premium_since": null, "deaf": false, "mute": false, "flags": 0,
        "pending": false, "communication_disabled_until": null, "avatar_decoration_data": null, "collectibles": null,
    })
}

/// A role object.
pub fn role(role: &Role) -> Value {
    json!({
        "id": role.id, "name": role.name, "color": role.color,
        "colors": {"primary_color": role.color, "secondary_color": null, "tertiary_color": null},
        "hoist": false, "icon": null, "unicode_emoji": null, "position": role.position,
        "permissions": role.permissions.to_string(), "managed": role.managed, "mentionable": role.mentionable,
        "flags": 0,
    })
}

/// A channel, thread or direct-message object.
pub fn channel(world: &World, channel: &Channel) -> Value {
    if channel.kind == DM {
        let recipients: Vec<Value> = channel
            .recipients
            .iter()
            .filter(|&&id| id != world.bot_id)
            .filter_map(|&id| user_by_id(world, id))
            .collect();
        return json!({
            "id": channel.id, "type": DM, "last_message_id": channel.last_message, "flags": 0,
            "recipients": recipients,
        });
    }
    let mut out = json!({
        "id": channel.id, "type": channel.kind, "guild_id": world.guild_id, "name": channel.name,
        "parent_id": channel.parent, "last_message_id": channel.last_message, "last_pin_timestamp": null,
        "flags": 0, "rate_limit_per_user": 0,
    });
    match &channel.thread {
        Some(thread) => {
            out["owner_id"] = json!(thread.owner);
            out["message_count"] = json!(channel.messages.len());
            out["member_count"] = json!(thread.members.len());
            out["total_message_sent"] = json!(thread.total_sent);
            out["thread_metadata"] = json!({
                "archived": thread.archived, "locked": thread.locked,
                "archive_timestamp": stamp(thread.archive_changed_at),
                "auto_archive_duration": thread.auto_archive_minutes,
                "create_timestamp": stamp(channel.id.time()),
            });
            if thread.members.contains(&world.bot_id) {
                out["member"] = thread_member(world, channel);
            }
        }
        None => {
            out["topic"] = json!(channel.topic);
            out["position"] = json!(channel.position);
            out["nsfw"] = json!(false);
            out["permission_overwrites"] = json!([]);
            if matches!(channel.kind, 2) {
                out["bitrate"] = json!(64000);
                out["user_limit"] = json!(0);
                out["rtc_region"] = Value::Null;
            }
        }
    }
    out
}

/// The bot's membership of a thread.
pub fn thread_member(world: &World, thread: &Channel) -> Value {
    json!({"id": thread.id, "user_id": world.bot_id, "join_timestamp": stamp(thread.id.time()), "flags": 0})
}

/// The guild as REST shows it.
pub fn guild(world: &World) -> Value {
    json!({
        "id": world.guild_id, "name": world.guild_name, "icon": null, "description": null, "home_header": null,
        "splash": null, "discovery_splash": null, "features": [], "banner": null, "owner_id": world.owner_id,
        "application_id": null, "region": "local", "afk_channel_id": null, "afk_timeout": 300,
        "system_channel_id": null, "system_channel_flags": 0, "widget_enabled": false, "widget_channel_id": null,
        "verification_level": 0, "roles": world.roles.values().map(role).collect::<Vec<_>>(),
        "default_message_notifications": 1, "mfa_level": 0, "explicit_content_filter": 0,
        "max_presences": null, "max_members": 500_000, "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25, "vanity_url_code": null, "premium_tier": 0, "premium_subscription_count": 0,
        "preferred_locale": "en-US", "rules_channel_id": null, "safety_alerts_channel_id": null,
        "public_updates_channel_id": null, "premium_progress_bar_enabled": false, "nsfw": false, "nsfw_level": 0,
        "emojis": [], "stickers": [], "incidents_data": null,
    })
}

/// GUILD_CREATE's data: the guild with all that a bot with these intents may see.
pub fn guild_create(world: &World, with_members: bool, visible: impl Fn(Id) -> bool) -> Value {
    let mut out = guild(world);
    let seen = |channel: &&Channel| channel.in_guild() && visible(world.permission_place(channel.id));
    let (threads, channels): (Vec<&Channel>, Vec<&Channel>) =
        world.channels.values().filter(seen).partition(|channel| channel.thread.is_some());
    let wire_channel = |place: &&Channel| channel(world, place);
    let bot = world.members.get(&world.bot_id);
    out["joined_at"] = json!(bot.map(|bot| stamp(bot.joined_at)));
    out["large"] = json!(false);
    out["unavailable"] = json!(false);
    out["member_count"] = json!(world.members.len());
    out["voice_states"] = json!([]);
    out["presences"] = json!([]);
    out["stage_instances"] = json!([]);
    out["guild_scheduled_events"] = json!([]);
    out["soundboard_sounds"] = json!([]);
    out["channels"] = json!(channels.iter().map(wire_channel).collect::<Vec<_>>());
    out["threads"] = json!(threads.iter().filter(|thread| !thread.archived()).map(wire_channel).collect::<Vec<_>>());
    // Without the presence intent Discord lists the bot alone.
    let listed = world.members.values().filter(|member| with_members || member.bot);
    out["members"] = json!(listed.map(member).collect::<Vec<_>>());
    out
}

/// A registered command.
pub fn command(world: &World, command: &Command) -> Value {
    let mut out = command.form.clone();
    out["id"] = json!(command.id);
    out["application_id"] = json!(world.application_id);
    out["version"] = json!(command.version);
    out["type"] = json!(command.kind);
    if command.guild {
        out["guild_id"] = json!(world.guild_id);
    }
    let defaults = [
        ("description", json!("")),
        ("default_member_permissions", Value::Null),
        ("nsfw", json!(false)),
        ("dm_permission", json!(true)),
        ("contexts", Value::Null),
        ("integration_types", json!([0])),
        ("name_localizations", Value::Null),
        ("description_localizations", Value::Null),
    ];
    for (key, value) in defaults {
        if out.get(key).is_none() {
            out[key] = value;
        }
    }
    // Sent as a number or as digits, always shown as digits.
    if let Some(bits) = out["default_member_permissions"].as_u64() {
        out["default_member_permissions"] = json!(bits.to_string());
    }
    out
}
