//! What a member does with messages: press, choose, fill in, talk, delete, react.

use serde_json::{Map, Value, json};

use super::act::{acting, place, tell_phone, text};
use super::member_id;
use crate::sim::discord::id::Id;
use crate::sim::discord::interactions::{Begin, Kind, Status};
use crate::sim::discord::mentions::pings;
use crate::sim::discord::message::{Message, kind};
use crate::sim::discord::rest::{set_reaction, tell_member};
use crate::sim::discord::state::State;
use crate::sim::discord::validate::CONTENT_CHARS_MAX;
use crate::sim::discord::view::text_inputs;
use crate::sim::discord::wire;
use crate::sim::discord::world::{Command, World};

/// A message that the member can see.
fn seen<'a>(state: &'a State, body: &Value, member: Id) -> Result<&'a Message, String> {
    let id = text(body, "message")?;
    let found = Id::parse(id).and_then(|id| state.world.message(id));
    let found = found.filter(|message| message.ephemeral_for.is_none_or(|only| only == member));
    found.ok_or_else(|| format!("no message has the id {id}"))
}

/// Every component of a message, at whatever depth.
fn components(message: &Message) -> Vec<&Value> {
    fn walk<'a>(one: &'a Value, out: &mut Vec<&'a Value>) {
        out.push(one);
        for inner in one["components"].as_array().into_iter().flatten() {
            walk(inner, out);
        }
        if one["accessory"].is_object() {
            walk(&one["accessory"], out);
        }
    }
    let mut out = Vec::new();
    message.components.iter().for_each(|one| walk(one, &mut out));
    out
}

fn begun(id: Id) -> Value {
    json!({"interaction_id": id})
}

pub(super) fn press(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let message = seen(state, body, member)?;
    let wanted = text(body, "button")?;
    let buttons: Vec<&Value> = components(message).into_iter().filter(|one| one["type"] == 2).collect();
    let labelled = |one: &&&Value| one["label"].as_str().is_some_and(|label| label.eq_ignore_ascii_case(wanted));
    let by_id = buttons.iter().find(|one| one["custom_id"] == wanted);
    let button = by_id.or_else(|| buttons.iter().find(labelled));
    let button = button.ok_or_else(|| {
        let labels: Vec<&str> = buttons.iter().filter_map(|one| one["label"].as_str()).collect();
        format!("the message has no button {wanted}; it has: {}", labels.join(", "))
    })?;
    if button["disabled"] == true {
        return Err(format!("the button {wanted} is disabled"));
    }
    let custom_id = button["custom_id"].as_str().ok_or_else(|| format!("{wanted} is a link"))?.to_owned();
    let data = json!({"custom_id": custom_id, "component_type": 2, "id": button["id"]});
    let (source, channel_id) = (message.id, message.channel_id);
    let begin = Begin { kind: Kind::Button, name: custom_id, user_id: member, channel_id, data, source: Some(source) };
    let id = state.begin(begin);
    if body["on_phone"] == true {
        wake(state, member);
        if let Some(interaction) = state.interactions.get_mut(id) {
            interaction.on_phone = true;
        }
        state.tell_interaction(id);
    }
    Ok(begun(id))
}

/// Whoever taps on a lock screen is awake.
fn wake(state: &mut State, member: Id) {
    let sleeper = state.world.members.get_mut(&member).filter(|member| member.asleep);
    if let Some(sleeper) = sleeper {
        sleeper.asleep = false;
        tell_member(state, member);
        tell_phone(state, member);
    }
}

pub(super) fn select(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let message = seen(state, body, member)?;
    let menus: Vec<&Value> =
        components(message).into_iter().filter(|one| matches!(one["type"].as_u64(), Some(3 | 5..=8))).collect();
    let menu = match body["menu"].as_str() {
        Some(wanted) => menus.iter().find(|one| one["custom_id"] == wanted || one["placeholder"] == wanted),
        None if menus.len() > 1 => return Err("the message has several menus; say which".to_owned()),
        None => menus.first(),
    };
    let menu = menu.ok_or("the message has no such menu")?;
    if menu["disabled"] == true {
        return Err("the menu is disabled".to_owned());
    }
    let values = chosen(&state.world, menu, &body["values"])?;
    let custom_id = menu["custom_id"].as_str().unwrap_or_default().to_owned();
    let mut data = json!({
        "custom_id": custom_id, "component_type": menu["type"], "id": menu["id"], "values": values,
    });
    if menu["type"] != 3 {
        data["resolved"] = resolved(&state.world, values.iter().filter_map(|value| Id::parse(value)));
    }
    let (source, channel_id) = (message.id, message.channel_id);
    let begin = Begin { kind: Kind::Select, name: custom_id, user_id: member, channel_id, data, source: Some(source) };
    Ok(begun(state.begin(begin)))
}

/// What is chosen in a menu, as values; refused when the menu would not let a person choose it.
fn chosen(world: &World, menu: &Value, wanted: &Value) -> Result<Vec<String>, String> {
    let wanted = wanted.as_array().ok_or("values is missing")?;
    let value = |wanted: &Value| {
        let word = wanted.as_str().unwrap_or_default();
        if menu["type"] != 3 {
            let named = match menu["type"].as_u64() {
                Some(6) => world.role_named(word).map(|role| role.id),
                Some(8) => world.channel_named(word).map(|channel| channel.id),
                Some(7) => world
                    .role_named(word)
                    .map(|role| role.id)
                    .or_else(|| world.member_named(word).map(|member| member.id)),
                _ => world.member_named(word).map(|member| member.id),
            };
            return named.map(|id| id.to_string()).ok_or_else(|| format!("the menu has no {word}"));
        }
        let options = menu["options"].as_array().map(Vec::as_slice).unwrap_or_default();
        let by_value = options.iter().find(|option| option["value"] == word);
        let by_label = || {
            options.iter().find(|option| option["label"].as_str().is_some_and(|label| label.eq_ignore_ascii_case(word)))
        };
        let option = by_value.or_else(by_label).ok_or_else(|| format!("the menu has no {word}"))?;
        Ok(option["value"].as_str().unwrap_or_default().to_owned())
    };
    let values: Vec<String> = wanted.iter().map(value).collect::<Result<_, String>>()?;
    let least = menu["min_values"].as_u64().unwrap_or(1) as usize;
    let most = menu["max_values"].as_u64().unwrap_or(1) as usize;
    if values.len() < least || values.len() > most {
        return Err(format!("the menu takes {least} to {most} values"));
    }
    Ok(values)
}

/// Users, members, roles and channels by id, as an interaction carries them.
pub(super) fn resolved(world: &World, ids: impl Iterator<Item = Id>) -> Value {
    let mut out = json!({});
    for id in ids {
        let key = id.to_string();
        if let Some(member) = world.members.get(&id) {
            out["users"][&key] = wire::user(member);
            let mut wired = wire::member(member);
            if let Some(wired) = wired.as_object_mut() {
                wired.remove("user");
            }
            wired["permissions"] = json!(world.permissions(id).to_string());
            out["members"][&key] = wired;
        } else if let Some(role) = world.roles.get(&id) {
            out["roles"][&key] = wire::role(role);
        } else if let Some(channel) = world.channels.get(&id) {
            out["channels"][&key] = wire::channel(world, channel);
            out["channels"][&key]["permissions"] = json!(world.permissions(world.bot_id).to_string());
        }
    }
    out
}

/// The form that a member has open.
fn open_form(state: &State, body: &Value, member: Id) -> Result<(Id, Value), String> {
    let id = text(body, "interaction")?;
    let one = Id::parse(id).and_then(|id| state.interactions.get(id));
    let one = one.ok_or_else(|| format!("no interaction has the id {id}"))?;
    if one.user_id != member {
        return Err("that form is open for somebody else".to_owned());
    }
    match &one.modal {
        Some(form) if one.status == Status::Modal && !one.modal_over => Ok((one.id, form.clone())),
        Some(_) => Err("that form was sent or closed already".to_owned()),
        None => Err("that interaction was not answered with a form".to_owned()),
    }
}

pub(super) fn submit(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let (id, form) = open_form(state, body, member)?;
    let empty = Map::new();
    let fields = body["fields"].as_object().unwrap_or(&empty);
    let inputs: Vec<(Value, Value)> = text_inputs(&form).map(|(label, input)| (label, input.clone())).collect();
    let fits = |key: &str, label: &Value, input: &Value| {
        input["custom_id"] == key || label.as_str().is_some_and(|label| label.eq_ignore_ascii_case(key))
    };
    for key in fields.keys() {
        if !inputs.iter().any(|(label, input)| fits(key, label, input)) {
            return Err(format!("the form has no field {key}"));
        }
    }
    let mut rows = Vec::new();
    for (label, input) in &inputs {
        let given = fields.iter().find(|(key, _)| fits(key, label, input)).map(|(_, value)| value);
        let filled = filled(&state.world, label, input, given)?;
        rows.push(if input["label"].is_string() {
            json!({"type": 1, "components": [filled]})
        } else {
            json!({"type": 18, "component": filled})
        });
    }
    let Some(one) = state.interactions.get_mut(id) else { return Err("the form is gone".to_owned()) };
    one.modal_over = true;
    let (source, channel_id) = (one.source, one.channel_id);
    let name = form["custom_id"].as_str().unwrap_or_default().to_owned();
    let data = json!({"custom_id": name, "components": rows});
    Ok(begun(state.begin(Begin { kind: Kind::Modal, name, user_id: member, channel_id, data, source })))
}

/// One field with what was filled in, refused when the form would not let it be sent.
fn filled(world: &World, label: &Value, input: &Value, given: Option<&Value>) -> Result<Value, String> {
    let name = label.as_str().unwrap_or_default();
    let (kind, custom_id) = (&input["type"], &input["custom_id"]);
    let required = input["required"].as_bool().unwrap_or(true);
    if *kind != 4 {
        let values = match given {
            Some(given) => chosen(world, input, given)?,
            None if required => return Err(format!("{name} must be filled in")),
            None => Vec::new(),
        };
        return Ok(json!({"type": kind, "custom_id": custom_id, "values": values}));
    }
    let value = match given {
        Some(given) => given.as_str().map(str::to_owned).ok_or_else(|| format!("{name} takes text"))?,
        None => input["value"].as_str().unwrap_or_default().to_owned(),
    };
    let length = value.chars().count() as u64;
    if required && length == 0 {
        return Err(format!("{name} must be filled in"));
    }
    let (least, most) = (input["min_length"].as_u64().unwrap_or(0), input["max_length"].as_u64().unwrap_or(4000));
    if length > most || (length > 0 && length < least) {
        return Err(format!("{name} takes {least} to {most} characters, not {length}"));
    }
    Ok(json!({"type": 4, "custom_id": custom_id, "value": value}))
}

pub(super) fn cancel(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let (id, _) = open_form(state, body, member)?;
    if let Some(one) = state.interactions.get_mut(id) {
        one.modal_over = true;
    }
    Ok(json!({}))
}

pub(super) fn menu(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let wanted = text(body, "command")?;
    let on_user = body.get("user").is_some_and(|user| !user.is_null());
    let kind = if on_user { 2 } else { 3 };
    let fits = |command: &&Command| command.kind == kind && command.name.eq_ignore_ascii_case(wanted);
    let command = state.world.commands.iter().find(fits);
    let command = command.ok_or_else(|| format!("there is no command {wanted} in this menu"))?.clone();
    let mut data = json!({"id": command.id, "name": command.name, "type": command.kind});
    if command.guild {
        data["guild_id"] = json!(state.world.guild_id);
    }
    let channel_id = if on_user {
        let user = member_id(state, text(body, "user")?)?;
        data["target_id"] = json!(user);
        data["resolved"] = resolved(&state.world, [user].into_iter());
        place(state, body, member)?
    } else {
        let message = seen(state, body, member)?;
        data["target_id"] = json!(message.id);
        // What a member hands over is seen whole, with or without the content intent.
        data["resolved"] = json!({"messages": {message.id.to_string(): message.wire(&state.world, &state.base)}});
        message.channel_id
    };
    let begin = Begin { kind: Kind::ContextMenu, name: command.name, user_id: member, channel_id, data, source: None };
    Ok(begun(state.begin(begin)))
}

pub(super) fn post(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let channel = place(state, body, member)?;
    let words = text(body, "text")?;
    let length = words.chars().count();
    if words.trim().is_empty() || length > CONTENT_CHARS_MAX {
        return Err(format!("a message has 1 to {CONTENT_CHARS_MAX} characters, not {length}"));
    }
    let standing = state.world.channels.get(&channel).ok_or("no such channel")?;
    if !standing.takes_messages() {
        return Err("nobody can write there".to_owned());
    }
    if standing.locked() {
        return Err("the thread is locked".to_owned());
    }
    let archived = standing.archived();
    let id = state.world.ids.next();
    let mut message = Message::new(id, channel, member);
    message.content = words.to_owned();
    let mut replied_to = None;
    if body["reply_to"].is_string() {
        let target = Id::parse(text(body, "reply_to")?).and_then(|id| state.world.message(id));
        let target = target.filter(|target| target.channel_id == channel).ok_or("no such message in this channel")?;
        message.kind = kind::REPLY;
        message.reference = Some((channel, Some(target.id)));
        replied_to = Some(target.author_id);
    }
    message.pings = pings(&state.world, member, words, None, replied_to);
    if archived {
        state.archive(channel, false);
    }
    state.post(message);
    Ok(json!({"message_id": id}))
}

pub(super) fn delete(state: &mut State, body: &Value) -> Result<Value, String> {
    let id = text(body, "message")?;
    let unknown = || format!("no message has the id {id}");
    let message = Id::parse(id).and_then(|id| state.world.message(id)).ok_or_else(unknown)?;
    let (channel, message) = (message.channel_id, message.id);
    if state.delete(channel, message) { Ok(json!({})) } else { Err(unknown()) }
}

pub(super) fn react(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let message = seen(state, body, member)?.id;
    set_reaction(state, message, member, text(body, "emoji")?, true);
    Ok(json!({}))
}
