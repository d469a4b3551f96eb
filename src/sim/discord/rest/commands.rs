//! Registration of commands: what stands, overwrite all, one at a time; and what Discord refuses in one.
//!
//! Rules: Discord's document on application commands.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Answer, Call, Reply, id};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::view;
use crate::sim::discord::wire;
use crate::sim::discord::world::Command;

/// Slash commands of one scope.
const SLASH_MAX: usize = 100;
/// User commands, and message commands, of one scope. Discord: 15 since 2025, 5 before.
const MENU_MAX: usize = 15;
/// Options of a command.
const OPTIONS_MAX: usize = 25;
/// Characters of one command's names, descriptions and choice values together.
const COMMAND_CHARS_MAX: usize = 8000;

const COMMAND_FIELDS: &[&str] = &[
    "id",
    "name",
    "name_localizations",
    "description",
    "description_localizations",
    "options",
    "default_member_permissions",
    "dm_permission",
    "contexts",
    "integration_types",
    "handler",
    "type",
    "nsfw",
    "default_permission",
];
const OPTION_FIELDS: &[&str] = &[
    "type",
    "name",
    "name_localizations",
    "description",
    "description_localizations",
    "required",
    "choices",
    "options",
    "channel_types",
    "min_value",
    "max_value",
    "min_length",
    "max_length",
    "autocomplete",
];

/// Routes below `/applications/{id}`.
pub(super) fn route(state: &mut State, call: &Call, rest: &[&str]) -> Answer {
    let (guild, rest) = match rest {
        ["guilds", guild, "commands", rest @ ..] => {
            if id(guild, "guild_id")? != state.world.guild_id {
                return Err(Refusal::missing_access());
            }
            (true, rest)
        }
        ["commands", rest @ ..] => (false, rest),
        _ => return Err(Refusal::not_found()),
    };
    let unknown = || Refusal::new(404, 10063, "Unknown application command");
    let of_scope = |command: &&Command| command.guild == guild;
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let listed = state.world.commands.iter().filter(of_scope);
            Ok(Reply::ok(listed.map(|command| wire::command(&state.world, command)).collect()))
        }
        ("PUT", []) => overwrite(state, call, guild),
        ("POST", []) => {
            let mut form = Form::default();
            check(&mut form, &call.body, "");
            form.finish()?;
            let known = state.world.commands.len();
            let command = put(state, guild, call.body.clone());
            let is_new = state.world.commands.len() > known;
            tell(state);
            Ok(if is_new { Reply::created(command) } else { Reply::ok(command) })
        }
        ("GET", [command]) => {
            let command = id(command, "command_id")?;
            let found = state.world.commands.iter().filter(of_scope).find(|one| one.id == command);
            found.map(|found| Reply::ok(wire::command(&state.world, found))).ok_or_else(unknown)
        }
        ("PATCH", [command]) => {
            let command = id(command, "command_id")?;
            let index = state.world.commands.iter().position(|one| one.guild == guild && one.id == command);
            let standing = index.and_then(|index| state.world.commands.get(index)).ok_or_else(unknown)?;
            let mut form_body = standing.form.clone();
            for (key, value) in call.body.as_object().into_iter().flatten() {
                form_body[key] = value.clone();
            }
            let mut form = Form::default();
            check(&mut form, &form_body, "");
            form.finish()?;
            let version = state.world.ids.next();
            if let Some(standing) = state.world.commands.iter_mut().find(|one| one.id == command) {
                standing.name = form_body["name"].as_str().unwrap_or_default().to_owned();
                standing.form = form_body;
                standing.version = version;
            }
            tell(state);
            let found = state.world.commands.iter().find(|one| one.id == command);
            found.map(|found| Reply::ok(wire::command(&state.world, found))).ok_or_else(unknown)
        }
        ("DELETE", [command]) => {
            let command = id(command, "command_id")?;
            let before = state.world.commands.len();
            state.world.commands.retain(|one| one.guild != guild || one.id != command);
            if state.world.commands.len() == before {
                return Err(unknown());
            }
            tell(state);
            Ok(Reply::nothing())
        }
        _ => Err(Refusal::not_found()),
    }
}

fn tell(state: &mut State) {
    let commands = view::commands(&state.world);
    state.change("commands", json!({"commands": commands}));
}

fn kind(body: &Value) -> u8 {
    body["type"].as_u64().map_or(1, |kind| kind as u8)
}

/// Adds a command, or replaces the one of the same name and kind, which keeps its id.
fn put(state: &mut State, guild: bool, body: Value) -> Value {
    let version = state.world.ids.next();
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let kind = kind(&body);
    let same = |one: &&mut Command| one.guild == guild && one.kind == kind && one.name == name;
    let command = match state.world.commands.iter_mut().find(same) {
        Some(standing) => {
            if standing.form != body {
                standing.form = body;
                standing.version = version;
            }
            standing.clone()
        }
        None => {
            let command = Command { id: version, version, guild, kind, name, form: body };
            state.world.commands.push(command.clone());
            command
        }
    };
    wire::command(&state.world, &command)
}

fn overwrite(state: &mut State, call: &Call, guild: bool) -> Answer {
    let Some(list) = call.body.as_array() else {
        let mut form = Form::default();
        form.fault("_", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType");
        return Err(form.finish().err().unwrap_or_else(Refusal::not_found));
    };
    let mut form = Form::default();
    let mut names = BTreeSet::new();
    for (index, body) in list.iter().enumerate() {
        check(&mut form, body, &index.to_string());
        if !names.insert((kind(body), body["name"].as_str().unwrap_or_default())) {
            let words = "Application command names must be unique";
            form.fault(&index.to_string(), "APPLICATION_COMMANDS_DUPLICATE_NAME", words);
        }
    }
    form.finish()?;
    for (of_kind, most) in [(1, SLASH_MAX), (2, MENU_MAX), (3, MENU_MAX)] {
        if list.iter().filter(|body| kind(body) == of_kind).count() > most {
            let words = format!("Maximum number of application commands reached ({most})");
            return Err(Refusal::new(400, 30032, &words));
        }
    }
    let is_named = |command: &Command| names.contains(&(command.kind, command.name.as_str()));
    state.world.commands.retain(|command| command.guild != guild || is_named(command));
    let all: Vec<Value> = list.iter().map(|body| put(state, guild, body.clone())).collect();
    tell(state);
    Ok(Reply::ok(json!(all)))
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// Checks one command.
fn check(form: &mut Form, body: &Value, prefix: &str) {
    form.spelling(body, prefix, COMMAND_FIELDS);
    let kind = kind(body);
    let name = form.required_text(body, "name", &join(prefix, "name"), 1, 32);
    if kind == 1 {
        check_name(form, name, &join(prefix, "name"));
        form.required_text(body, "description", &join(prefix, "description"), 1, 100);
    } else if body["description"].as_str().is_some_and(|text| !text.is_empty()) {
        let words = "Context menu commands cannot have description";
        form.fault(&join(prefix, "description"), "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION", words);
    }
    if !(1..=3).contains(&kind) {
        form.fault(&join(prefix, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3}.");
    }
    options(form, body, prefix, 0);
    if characters(body) > COMMAND_CHARS_MAX {
        let words = format!("Command exceeds maximum size ({COMMAND_CHARS_MAX})");
        form.fault(&join(prefix, "options"), "APPLICATION_COMMAND_TOO_LARGE", words);
    }
}

/// `^[-_'\p{L}\p{N}]{1,32}$`, in small letters where there are any.
fn check_name(form: &mut Form, name: Option<&str>, path: &str) {
    let Some(name) = name else { return };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '\'');
    if !name.chars().all(fits) || name.to_lowercase() != name {
        form.fault(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid");
    }
}

fn characters(body: &Value) -> usize {
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let inner: usize = body["options"].as_array().into_iter().flatten().map(characters).sum();
    let choices = body["choices"].as_array().into_iter().flatten();
    let choices: usize = choices.map(|choice| length(&choice["name"]) + length(&choice["value"])).sum();
    length(&body["name"]) + length(&body["description"]) + inner + choices
}

fn options(form: &mut Form, body: &Value, prefix: &str, depth: usize) {
    let path = join(prefix, "options");
    let list = form.list(body, "options", &path, 0, OPTIONS_MAX);
    let mut names = BTreeSet::new();
    let mut optional_seen = false;
    for (index, option) in list.into_iter().flatten().enumerate() {
        let at = format!("{path}.{index}");
        form.spelling(option, &at, OPTION_FIELDS);
        let name = form.required_text(option, "name", &format!("{at}.name"), 1, 32);
        check_name(form, name, &format!("{at}.name"));
        form.required_text(option, "description", &format!("{at}.description"), 1, 100);
        if name.is_some_and(|name| !names.insert(name)) {
            let words = "Option names must be unique";
            form.fault(&format!("{at}.name"), "APPLICATION_COMMAND_OPTIONS_NAME_INVALID", words);
        }
        let required = option["required"] == true;
        if required && optional_seen {
            let words = "Required options must be placed before non-required options";
            form.fault(&at, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", words);
        }
        let kind = option["type"].as_u64().unwrap_or(0);
        match kind {
            1 | 2 if depth as u64 + 1 > 3 - kind => {
                let words = "Sub-commands and groups cannot be nested this way";
                form.fault(&format!("{at}.type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", words);
            }
            1 | 2 => options(form, option, &at, depth + 1),
            3..=11 => optional_seen |= !required,
            _ => {
                let words = "Value must be one of {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}.";
                form.fault(&format!("{at}.type"), "BASE_TYPE_CHOICES", words);
            }
        }
        let choices = form.list(option, "choices", &format!("{at}.choices"), 0, 25);
        if choices.is_some_and(|choices| !choices.is_empty()) && option["autocomplete"] == true {
            let words = "Autocomplete options cannot have choices";
            form.fault(&at, "APPLICATION_COMMAND_AUTOCOMPLETE_CHOICES", words);
        }
        for (number, choice) in choices.into_iter().flatten().enumerate() {
            form.required_text(choice, "name", &format!("{at}.choices.{number}.name"), 1, 100);
            if kind == 3 {
                form.required_text(choice, "value", &format!("{at}.choices.{number}.value"), 1, 100);
            }
        }
    }
}
