//! The guild, its roles and members, the bot's own user and application.

use serde_json::{Value, json};

use super::{Answer, Call, Reply, id};
use crate::sim::discord::gateway::GUILD_MEMBERS;
use crate::sim::discord::id::Id;
use crate::sim::discord::mentions::wire_id;
use crate::sim::discord::permissions::{MANAGE_CHANNELS, MANAGE_ROLES};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::view;
use crate::sim::discord::wire;
use crate::sim::discord::workspace::ChannelKind;
use crate::sim::discord::world::Channel;

pub(super) fn route(state: &mut State, call: &Call, parts: &[&str]) -> Answer {
    let method = call.method.as_str();
    match (method, parts) {
        ("GET", ["users", "@me"]) => own_user(state),
        ("GET", ["users", "@me", "guilds"]) => {
            let permissions = state.world.permissions(state.world.bot_id);
            Ok(Reply::ok(json!([{
                "id": state.world.guild_id, "name": state.world.guild_name, "icon": null, "banner": null,
                "owner": false, "permissions": permissions.to_string(), "features": [],
            }])))
        }
        ("POST", ["users", "@me", "channels"]) => open_dm(state, call),
        ("GET", ["users", user]) => {
            let user = wire::user_by_id(&state.world, id(user, "user_id")?);
            user.map(Reply::ok).ok_or_else(|| Refusal::new(404, 10013, "Unknown User"))
        }
        ("GET", ["oauth2", "applications", "@me"] | ["applications", "@me"]) => Ok(Reply::ok(application(state))),
        (_, ["guilds", guild, rest @ ..]) => {
            if id(guild, "guild_id")? != state.world.guild_id {
                return Err(Refusal::unknown_guild());
            }
            in_guild(state, call, rest)
        }
        _ => Err(Refusal::not_found()),
    }
}

fn own_user(state: &State) -> Answer {
    let mut user = wire::user_by_id(&state.world, state.world.bot_id).unwrap_or_default();
    user["verified"] = json!(true);
    user["mfa_enabled"] = json!(true);
    user["locale"] = json!("en-US");
    user["email"] = Value::Null;
    Ok(Reply::ok(user))
}

fn application(state: &State) -> Value {
    let world = &state.world;
    let owner = world.members.get(&world.owner_id).map(wire::user);
    json!({
        "id": world.application_id, "name": state.workspace.bot_name, "icon": null, "description": "", "summary": "",
        "type": null, "bot": wire::user_by_id(world, world.bot_id), "bot_public": false,
        "bot_require_code_grant": false, "flags": 0, "flags_new": "0", "hook": true,
        // No interactions are ever signed here; the key is of the right form only.
        "verify_key": "0".repeat(64), "redirect_uris": [], "interactions_endpoint_url": null,
        "role_connections_verification_url": null, "owner": owner, "approximate_guild_count": 1,
        "approximate_user_install_count": 0, "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0, "team": null, "eligible_oauth2_scopes": [], "rpc_origins": [],
        "integration_types_config": {"0": {}},
    })
}

fn open_dm(state: &mut State, call: &Call) -> Answer {
    let wanted = wire_id(&call.body["recipient_id"]);
    let Some(member) = wanted.and_then(|id| state.world.members.get(&id)) else {
        let mut form = Form::default();
        form.fault("recipient_id", "BASE_TYPE_REQUIRED", "This field is required");
        return Err(match wanted {
            Some(_) => Refusal::new(400, 50033, "Invalid Recipient(s)"),
            None => form.finish().err().unwrap_or_else(Refusal::not_found),
        });
    };
    if member.bot {
        return Err(Refusal::new(400, 50033, "Invalid Recipient(s)"));
    }
    let member = member.id;
    let known = state.world.channels.len();
    let channel = state.world.open_dm(state.world.bot_id, member);
    if state.world.channels.len() > known {
        state.tell_channel(channel, true);
    }
    let place = state.world.channels.get(&channel).ok_or_else(Refusal::unknown_channel)?;
    Ok(Reply::ok(wire::channel(&state.world, place)))
}

fn in_guild(state: &mut State, call: &Call, rest: &[&str]) -> Answer {
    let world = &state.world;
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let mut guild = wire::guild(world);
            if call.asks("with_counts") {
                guild["approximate_member_count"] = json!(world.members.len());
                guild["approximate_presence_count"] = json!(world.members.len());
            }
            Ok(Reply::ok(guild))
        }
        ("GET", ["channels"]) => {
            let listed = world.channels.values().filter(|place| place.in_guild() && place.thread.is_none());
            Ok(Reply::ok(listed.map(|place| wire::channel(world, place)).collect()))
        }
        ("POST", ["channels"]) => create_channel(state, call),
        ("GET", ["threads", "active"]) => {
            let threads: Vec<&Channel> = world.threads(None).filter(|thread| !thread.archived()).collect();
            let joined = |thread: &&&Channel| {
                thread.thread.as_ref().is_some_and(|thread| thread.members.contains(&world.bot_id))
            };
            Ok(Reply::ok(json!({
                "threads": threads.iter().map(|thread| wire::channel(world, thread)).collect::<Vec<_>>(),
                "members": threads.iter().filter(joined).map(|thread| wire::thread_member(world, thread)).collect::<Vec<_>>(),
                "has_more": false,
            })))
        }
        ("GET", ["roles"]) => Ok(Reply::ok(world.roles.values().map(wire::role).collect())),
        ("GET", ["roles", role]) => {
            let role = world.roles.get(&id(role, "role_id")?);
            role.map(|role| Reply::ok(wire::role(role))).ok_or_else(|| Refusal::new(404, 10011, "Unknown Role"))
        }
        ("GET", ["members"]) => {
            if state.workspace.privileged_intents & GUILD_MEMBERS == 0 {
                return Err(Refusal::missing_access());
            }
            let limit = number(call, "limit").unwrap_or(1).clamp(1, 1000) as usize;
            let after = Id(number(call, "after").unwrap_or(0));
            let listed = world.members.range(after..).filter(|(id, _)| **id != after).take(limit);
            Ok(Reply::ok(listed.map(|(_, member)| wire::member(member)).collect()))
        }
        ("GET", ["members", "search"]) => {
            let query = call.query.get("query").map(|query| query.to_lowercase()).unwrap_or_default();
            let limit = number(call, "limit").unwrap_or(1).clamp(1, 1000) as usize;
            let named = world.members.values().filter(|member| {
                member.username.starts_with(&query) || member.display_name.to_lowercase().starts_with(&query)
            });
            Ok(Reply::ok(named.take(limit).map(wire::member).collect()))
        }
        ("GET", ["members", member]) => {
            let member = world.members.get(&id(member, "user_id")?);
            let member = member.map(|member| Reply::ok(wire::member(member)));
            member.ok_or_else(|| Refusal::new(404, 10007, "Unknown Member"))
        }
        ("PUT" | "DELETE", ["members", member, "roles", role]) => {
            let (member, role) = (id(member, "user_id")?, id(role, "role_id")?);
            if world.permissions(world.bot_id) & MANAGE_ROLES == 0 {
                return Err(Refusal::missing_permissions());
            }
            if !world.roles.contains_key(&role) {
                return Err(Refusal::new(404, 10011, "Unknown Role"));
            }
            let add = call.method == "PUT";
            let unknown = || Refusal::new(404, 10007, "Unknown Member");
            let standing = state.world.members.get_mut(&member).ok_or_else(unknown)?;
            standing.roles.retain(|one| *one != role);
            if add {
                standing.roles.push(role);
            }
            tell_member(state, member);
            Ok(Reply::nothing())
        }
        _ => Err(Refusal::not_found()),
    }
}

fn number(call: &Call, key: &str) -> Option<u64> {
    call.query.get(key)?.parse().ok()
}

fn create_channel(state: &mut State, call: &Call) -> Answer {
    if state.world.permissions(state.world.bot_id) & MANAGE_CHANNELS == 0 {
        return Err(Refusal::missing_permissions());
    }
    let mut form = Form::default();
    form.required_text(&call.body, "name", "name", 1, 100);
    form.text(&call.body, "topic", "topic", 0, 1024);
    let kind = match call.body["type"].as_u64().unwrap_or(0) {
        0 => ChannelKind::Text,
        2 => ChannelKind::Voice,
        4 => ChannelKind::Category,
        5 => ChannelKind::Announcement,
        15 => ChannelKind::Forum,
        _ => {
            form.fault("type", "BASE_TYPE_CHOICES", "Value must be one of {0, 2, 4, 5, 15}.");
            ChannelKind::Text
        }
    };
    form.finish()?;
    if state.world.channels.values().filter(|place| place.thread.is_none()).count() >= 500 {
        return Err(Refusal::new(400, 30013, "Maximum number of guild channels reached (500)"));
    }
    // Discord's names have no blanks and no capitals in text channels.
    let name = call.body["name"].as_str().unwrap_or_default();
    let name = match kind {
        ChannelKind::Voice | ChannelKind::Category => name.to_owned(),
        _ => name.to_lowercase().replace(' ', "-"),
    };
    let parent = wire_id(&call.body["parent_id"]);
    let channel = state.world.add_channel(kind, &name, parent);
    if let Some(place) = state.world.channels.get_mut(&channel) {
        place.topic = call.body["topic"].as_str().map(str::to_owned);
    }
    state.tell_channel(channel, true);
    let place = state.world.channels.get(&channel).ok_or_else(Refusal::unknown_channel)?;
    Ok(Reply::created(wire::channel(&state.world, place)))
}

/// Tells of a member that changed.
pub(in crate::sim::discord) fn tell_member(state: &mut State, member: Id) {
    let Some(standing) = state.world.members.get(&member) else { return };
    let mut data = wire::member(standing);
    data["guild_id"] = json!(state.world.guild_id);
    let seen = view::member(standing);
    state.dispatch("GUILD_MEMBER_UPDATE", GUILD_MEMBERS, data);
    state.change("member", json!({"member": seen}));
}
