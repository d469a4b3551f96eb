//! Slash commands as a member types or fills them in: options by name, checked as a client checks them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::act::{acting, place, text};
use super::{interaction, members};
use crate::sim::discord::Sim;
use crate::sim::discord::id::Id;
use crate::sim::discord::interactions::{Begin, Kind};
use crate::sim::discord::state::State;
use crate::sim::discord::world::{Command, World};

const SUBCOMMAND: u64 = 1;
const GROUP: u64 = 2;
const STRING: u64 = 3;
const INTEGER: u64 = 4;
const BOOLEAN: u64 = 5;
const NUMBER: u64 = 10;

/// A command with the subcommand that is meant.
struct Chosen {
    command: Command,
    /// Names of group and subcommand with their types.
    path: Vec<(String, u64)>,
    /// The options of the innermost.
    options: Vec<Value>,
}

/// Finds what the first words mean; returns it with the words that are left.
fn choose<'a>(state: &State, member: Id, words: &[&'a str]) -> Result<(Chosen, Vec<&'a str>), String> {
    let name = words.first().map(|word| word.trim_start_matches('/')).unwrap_or_default();
    let slash = |command: &&Command| command.kind == 1 && command.name == name;
    // A guild's command hides the global one of the same name.
    let all = || state.world.commands.iter().filter(slash);
    let command = all().find(|command| command.guild).or_else(|| all().next());
    let command = command.ok_or_else(|| format!("there is no command /{name}"))?.clone();
    let needs = &command.form["default_member_permissions"];
    let needs = needs.as_u64().or_else(|| needs.as_str()?.parse().ok()).unwrap_or(0);
    if state.world.permissions(member) & needs != needs {
        return Err(format!("/{name} is not shown to that member: permissions are missing"));
    }
    let list = |options: &Value| options.as_array().cloned().unwrap_or_default();
    let mut options = list(&command.form["options"]);
    let mut path = Vec::new();
    let mut rest = words.get(1..).unwrap_or_default();
    loop {
        let kind = |option: &Value| option["type"].as_u64().unwrap_or(0);
        if !options.iter().any(|option| matches!(kind(option), SUBCOMMAND | GROUP)) {
            break;
        }
        let names = || options.iter().filter_map(|option| option["name"].as_str()).collect::<Vec<_>>().join(", ");
        let word = rest.first().ok_or_else(|| format!("/{name} needs one of: {}", names()))?;
        let inner = options.iter().find(|option| option["name"] == *word);
        let inner = inner.ok_or_else(|| format!("/{name} has no {word}; it has: {}", names()))?;
        path.push(((*word).to_owned(), kind(inner)));
        options = list(&inner["options"]);
        rest = rest.get(1..).unwrap_or_default();
    }
    Ok((Chosen { command, path, options }, rest.to_vec()))
}

pub(super) fn run(state: &mut State, body: &Value) -> Result<Value, String> {
    let member = acting(state, body)?;
    let channel = place(state, body, member)?;
    let words: Vec<&str> = text(body, "command")?.split_whitespace().collect();
    let (chosen, rest) = choose(state, member, &words)?;
    if let Some(word) = rest.first() {
        return Err(format!("{word} is no subcommand; options go into options"));
    }
    let given = body["options"].as_object().cloned().unwrap_or_default();
    start(state, member, channel, &chosen, &given)
}

fn start(
    state: &mut State,
    member: Id,
    channel: Id,
    chosen: &Chosen,
    given: &Map<String, Value>,
) -> Result<Value, String> {
    if state.world.channels.get(&channel).is_some_and(|place| place.archived()) {
        return Err("commands do not work in an archived thread".to_owned());
    }
    for key in given.keys() {
        if !chosen.options.iter().any(|option| option["name"] == key.as_str()) {
            return Err(format!("/{} has no option {key}", chosen.command.name));
        }
    }
    let mut filled = Vec::new();
    let mut named = Vec::new();
    for option in &chosen.options {
        let name = option["name"].as_str().unwrap_or_default();
        let Some(value) = given.get(name).filter(|value| !value.is_null()) else {
            if option["required"] == true {
                return Err(format!("/{} needs {name}", chosen.command.name));
            }
            continue;
        };
        let value = coerce(&state.world, option, value)?;
        named.extend(value.as_str().filter(|_| option["type"].as_u64() > Some(BOOLEAN)).and_then(Id::parse));
        filled.push(json!({"name": name, "type": option["type"], "value": value}));
    }
    let mut data = nest(state, chosen, filled);
    if !named.is_empty() {
        data["resolved"] = members::resolved(&state.world, named.into_iter());
    }
    // "The name of the application command, including subcommands and subcommand groups" (the message's `interaction`).
    let path = chosen.path.iter().map(|(name, _)| name.as_str());
    let name = std::iter::once(chosen.command.name.as_str()).chain(path).collect::<Vec<_>>().join(" ");
    let begin = Begin { kind: Kind::Command, name, user_id: member, channel_id: channel, data, source: None };
    Ok(json!({"interaction_id": state.begin(begin)}))
}

/// The command's data, its options inside their group and subcommand.
fn nest(state: &State, chosen: &Chosen, mut options: Vec<Value>) -> Value {
    for (name, kind) in chosen.path.iter().rev() {
        options = vec![json!({"name": name, "type": kind, "options": options})];
    }
    let mut data = json!({"id": chosen.command.id, "name": chosen.command.name, "type": 1, "options": options});
    if chosen.command.guild {
        data["guild_id"] = json!(state.world.guild_id);
    }
    data
}

/// A value as its option wants it, refused when a client would not send it.
fn coerce(world: &World, option: &Value, value: &Value) -> Result<Value, String> {
    let name = option["name"].as_str().unwrap_or_default();
    let words = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return Err(format!("{name} takes one value")),
    };
    let choices = option["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !choices.is_empty() {
        let fits = |choice: &&Value| {
            choice["value"] == *value
                || choice["value"] == words.as_str()
                || choice["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(&words))
        };
        let choice = choices.iter().find(fits).ok_or_else(|| format!("{name} has no choice {words}"))?;
        return Ok(choice["value"].clone());
    }
    let wrong = |what: &str| format!("{name} takes {what}, not {words}");
    let value = match option["type"].as_u64().unwrap_or(STRING) {
        STRING => {
            let length = words.chars().count() as u64;
            let least = option["min_length"].as_u64().unwrap_or(0);
            let most = option["max_length"].as_u64().unwrap_or(6000);
            if length < least || length > most {
                return Err(format!("{name} takes {least} to {most} characters, not {length}"));
            }
            json!(words)
        }
        INTEGER => json!(words.trim_start_matches('#').parse::<i64>().map_err(|_| wrong("a whole number"))?),
        NUMBER => json!(words.parse::<f64>().map_err(|_| wrong("a number"))?),
        BOOLEAN => match words.to_lowercase().as_str() {
            "true" | "yes" => json!(true),
            "false" | "no" => json!(false),
            _ => return Err(wrong("true or false")),
        },
        kind => {
            let plain = words.trim_matches(|c| "<@#&!>".contains(c));
            let member = || world.member_named(plain).map(|member| member.id);
            let role = || world.role_named(plain).map(|role| role.id);
            let found = match kind {
                6 => member(),
                7 => world.channel_named(plain).map(|channel| channel.id),
                8 => role(),
                9 => member().or_else(role),
                _ => return Err(format!("{name} takes a file, which cannot be given here")),
            };
            json!(found.ok_or_else(|| wrong("somebody or something that is here"))?)
        }
    };
    if let Some(number) = value.as_f64() {
        let low = option["min_value"].as_f64().is_some_and(|least| number < least);
        let high = option["max_value"].as_f64().is_some_and(|most| number > most);
        if low || high {
            return Err(wrong("a number within its bounds"));
        }
    }
    Ok(value)
}

/// What is typed into the box: a command when it begins with `/`, else plain talk.
pub(super) fn type_text(state: &mut State, body: &Value) -> Result<Value, String> {
    let typed = text(body, "text")?;
    if !typed.starts_with('/') {
        return members::post(state, body);
    }
    let member = acting(state, body)?;
    let channel = place(state, body, member)?;
    let words: Vec<&str> = typed.split_whitespace().collect();
    let (chosen, _) = choose(state, member, &words)?;
    // The text behind the command's own words, with its blanks as they were typed.
    let mut rest = typed;
    for _ in 0..=chosen.path.len() {
        rest = rest.trim_start();
        rest = rest.find(char::is_whitespace).and_then(|end| rest.get(end..)).unwrap_or_default();
    }
    let given = parse(&state.world, &chosen, rest.trim())?;
    start(state, member, channel, &chosen, &given)
}

/// Reads `words name:value other:"two words"` against the options.
fn parse(world: &World, chosen: &Chosen, text: &str) -> Result<Map<String, Value>, String> {
    let names: Vec<&str> = chosen.options.iter().filter_map(|option| option["name"].as_str()).collect();
    let mut given = Map::new();
    let (mut free, mut rest) = split_at_option(text, &names);
    while let Some((name, after)) = names
        .iter()
        .find_map(|name| rest.strip_prefix(name).and_then(|after| after.strip_prefix(':')).map(|after| (*name, after)))
    {
        let after = after.trim_start();
        let quoted = after.strip_prefix('"').and_then(|inner| inner.split_once('"'));
        let value;
        let left;
        (value, left) = match quoted {
            Some((inner, left)) => (inner, left),
            None => split_at_option(after, &names),
        };
        given.insert(name.to_owned(), json!(value.trim()));
        let (more, next) = split_at_option(left.trim_start(), &names);
        if !more.trim().is_empty() {
            return Err(format!("{} belongs to no option", more.trim()));
        }
        rest = next;
    }
    for option in &chosen.options {
        let name = option["name"].as_str().unwrap_or_default();
        if free.trim().is_empty() || given.contains_key(name) {
            continue;
        }
        let is_text = option["type"].as_u64() == Some(STRING) && option["choices"].as_array().is_none_or(Vec::is_empty);
        let (word, left) = match is_text {
            true => (free.trim(), ""),
            false => free.trim().split_once(char::is_whitespace).unwrap_or((free.trim(), "")),
        };
        if is_text || coerce(world, option, &json!(word)).is_ok() {
            given.insert(name.to_owned(), json!(word));
            free = left;
        }
    }
    if free.trim().is_empty() {
        return Ok(given);
    }
    Err(format!("/{} has no option left for: {}", chosen.command.name, free.trim()))
}

/// The text before the first `name:` of an option, and from there on.
fn split_at_option<'a>(text: &'a str, names: &[&str]) -> (&'a str, &'a str) {
    let starts = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let here = text.get(at..).unwrap_or_default();
        before.is_none_or(char::is_whitespace)
            && names.iter().any(|name| here.strip_prefix(name).is_some_and(|after| after.starts_with(':')))
    };
    let at = text.char_indices().map(|(at, _)| at).find(|&at| starts(at)).unwrap_or(text.len());
    text.split_at(at)
}

/// Asks for completions of one option and waits for them.
pub(super) async fn autocomplete(sim: &Sim, body: &Value) -> Result<Value, String> {
    let (id, within) = {
        let state = &mut *sim.lock();
        let member = acting(state, body)?;
        let channel = place(state, body, member)?;
        let words: Vec<&str> = text(body, "command")?.split_whitespace().collect();
        let (chosen, _) = choose(state, member, &words)?;
        let focused = text(body, "focused")?;
        let given = body["options"].as_object().cloned().unwrap_or_default();
        let mut filled = Vec::new();
        for option in &chosen.options {
            let name = option["name"].as_str().unwrap_or_default();
            let is_focused = name == focused;
            if is_focused && option["autocomplete"] != true {
                return Err(format!("{name} has no completion"));
            }
            let typed = given.get(name).cloned().unwrap_or_else(|| json!(""));
            if is_focused {
                // What is being typed is text, whatever the option takes.
                let typed = typed.as_str().map_or_else(|| typed.to_string(), str::to_owned);
                filled.push(json!({"name": name, "type": option["type"], "value": typed, "focused": true}));
            } else if given.contains_key(name)
                && let Ok(value) = coerce(&state.world, option, &typed)
            {
                filled.push(json!({"name": name, "type": option["type"], "value": value}));
            }
        }
        if !filled.iter().any(|option| option["focused"] == true) {
            return Err(format!("/{} has no option {focused}", chosen.command.name));
        }
        let data = nest(state, &chosen, filled);
        let name = chosen.command.name.clone();
        let begin = Begin { kind: Kind::Autocomplete, name, user_id: member, channel_id: channel, data, source: None };
        (state.begin(begin), Duration::from_millis(state.settings.respond_within_ms))
    };
    let done = interaction(sim, &id.to_string(), within).await?;
    let choices = done.get("choices").cloned().unwrap_or_else(|| json!([]));
    Ok(json!({"interaction_id": id, "choices": choices, "status": done["status"]}))
}
