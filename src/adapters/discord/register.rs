//! The list of commands as Discord registers it: one overwrite of all of a server's commands.
//!
//! Owns Discord's limits on commands. The list itself is data and comes from outside.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chat::chat_error;
use super::id_in;
use super::lane::{Lane, Request, Route};
use crate::domain::command_spec::{CommandKind, CommandSpec, OptionKind, OptionSpec};
use crate::ports::ChatError;

/// Discord's limits (interactions/application-commands).
const COMMANDS_MAX: usize = 100;
const MESSAGE_COMMANDS_MAX: usize = 15;
const OPTIONS_MAX: usize = 25;
const NAME_CHARS_MAX: usize = 32;
const HELP_CHARS_MAX: usize = 100;
const CHOICES_MAX: usize = 25;
const CHOICE_CHARS_MAX: usize = 100;
const TEXT_CHARS_MAX: u16 = 6_000;
const NUMBER_MAX: i64 = 1 << 53;
const COMMAND_CHARS_MAX: usize = 8_000;
const SUBCOMMAND: u8 = 1;

/// Registers the commands: what was there before and is not in the list goes away.
///
/// # Errors
/// What is wrong with the list, or what Discord said.
pub async fn register(lane: &Lane, guild: u64, commands: &[CommandSpec]) -> Result<(), ChatError> {
    check_commands(commands).map_err(ChatError::Refused)?;
    let application = lane.send(Request::new(Route::get_current_application())).await.map_err(chat_error)?.body;
    let application = id_in(&application, "id")
        .ok_or_else(|| ChatError::NotNow("Discord did not say which application I am".to_owned()))?;
    let request = Request::new(Route::set_guild_commands(application, guild)).body(commands_body(commands));
    lane.send(request).await.map(drop).map_err(chat_error)
}

/// The body of the overwrite. Commands that share a first word become subcommands of it.
pub fn commands_body(commands: &[CommandSpec]) -> Value {
    let mut out: Vec<Value> = Vec::new();
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for command in commands {
        let options: Vec<Value> = command.options.iter().map(option).collect();
        match (command.kind, command.group()) {
            (CommandKind::OnMessage, _) => out.push(json!({"type": 3, "name": command.name})),
            (CommandKind::Slash, None) => {
                out.push(json!({"type": 1, "name": command.name, "description": command.help, "options": options}));
            }
            (CommandKind::Slash, Some((group, name))) => {
                let at = *groups.entry(group).or_insert_with(|| {
                    out.push(
                        json!({"type": 1, "name": group, "description": group_help(commands, group), "options": []}),
                    );
                    out.len() - 1
                });
                let inner = json!({"type": SUBCOMMAND, "name": name, "description": command.help, "options": options});
                if let Some(list) =
                    out.get_mut(at).and_then(|group| group.get_mut("options")).and_then(Value::as_array_mut)
                {
                    list.push(inner);
                }
            }
        }
    }
    Value::Array(out)
}

fn group_help<'a>(commands: &'a [CommandSpec], group: &str) -> &'a str {
    let of_group = |command: &&CommandSpec| command.group().is_some_and(|(one, _)| one == group);
    let given = commands.iter().filter(of_group).find_map(|command| command.group_help);
    given.or_else(|| commands.iter().find(of_group).map(|command| command.help)).unwrap_or_default()
}

fn option(option: &OptionSpec) -> Value {
    let mut out = json!({"name": option.name, "description": option.help, "required": option.required});
    let more = match &option.kind {
        OptionKind::Text { chars_max } => json!({"type": 3, "max_length": chars_max}),
        OptionKind::Number { min, max } => json!({"type": 4, "min_value": min, "max_value": max}),
        OptionKind::Flag => json!({"type": 5}),
        OptionKind::Person => json!({"type": 6}),
        OptionKind::Completed(_) => json!({"type": 3, "autocomplete": true}),
        OptionKind::Choice(list) => {
            let choices: Vec<Value> = list.iter().map(|one| json!({"name": one.label, "value": one.value})).collect();
            json!({"type": 3, "choices": choices})
        }
    };
    if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
    out
}

/// Whether Discord would take the list.
///
/// # Errors
/// A sentence that names the command and the limit.
pub fn check_commands(commands: &[CommandSpec]) -> Result<(), String> {
    let mut inner: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    for command in commands {
        let name = command.name;
        if names.contains(&name) {
            return Err(format!("/{name}: the name is there twice"));
        }
        names.push(name);
        match (command.kind, command.group()) {
            (CommandKind::OnMessage, _) if !command.options.is_empty() => {
                return Err(format!("“{name}”: a command on a message takes no options"));
            }
            (CommandKind::OnMessage, _) => in_chars(name, name, 1, NAME_CHARS_MAX)?,
            (CommandKind::Slash, None) => word(name, name)?,
            (CommandKind::Slash, Some((group, within))) => {
                word(name, group)?;
                word(name, within)?;
                *inner.entry(group).or_default() += 1;
            }
        }
        in_chars(name, command.help, usize::from(command.kind == CommandKind::Slash), HELP_CHARS_MAX)?;
        if let Some(help) = command.group_help {
            in_chars(name, help, 1, HELP_CHARS_MAX)?;
        }
        check_options(command)?;
    }
    if let Some(name) = names.iter().find(|name| inner.contains_key(*name)) {
        return Err(format!("/{name} is a command and the name of a group as well"));
    }
    if let Some((group, _)) = inner.iter().find(|(_, count)| **count > OPTIONS_MAX) {
        return Err(format!("/{group} has more than {OPTIONS_MAX} commands in it"));
    }
    let count = |kind: CommandKind| commands.iter().filter(|one| one.kind == kind && one.group().is_none()).count();
    if count(CommandKind::Slash) + inner.len() > COMMANDS_MAX || count(CommandKind::OnMessage) > MESSAGE_COMMANDS_MAX {
        return Err(format!("there are more than {COMMANDS_MAX} commands, or {MESSAGE_COMMANDS_MAX} on messages"));
    }
    let body = commands_body(commands);
    let long = body.as_array().into_iter().flatten().find(|command| chars_counted(command) > COMMAND_CHARS_MAX);
    match long.and_then(|command| command.get("name")?.as_str()) {
        Some(name) => Err(format!("/{name} is over {COMMAND_CHARS_MAX} characters in all its names, help and choices")),
        None => Ok(()),
    }
}

fn check_options(command: &CommandSpec) -> Result<(), String> {
    let name = command.name;
    if command.options.len() > OPTIONS_MAX {
        return Err(format!("/{name} has more than {OPTIONS_MAX} options"));
    }
    if !command.options.is_sorted_by_key(|option| !option.required) {
        return Err(format!("/{name}: required options come first"));
    }
    for (n, option) in command.options.iter().enumerate() {
        word(name, option.name)?;
        in_chars(name, option.help, 1, HELP_CHARS_MAX)?;
        if command.options.iter().take(n).any(|other| other.name == option.name) {
            return Err(format!("/{name}: the option “{}” is there twice", option.name));
        }
        match &option.kind {
            OptionKind::Text { chars_max } if !(1..=TEXT_CHARS_MAX).contains(chars_max) => {
                return Err(format!("/{name} {}: at most {TEXT_CHARS_MAX} characters", option.name));
            }
            OptionKind::Number { min, max } if min > max || min.abs() > NUMBER_MAX || max.abs() > NUMBER_MAX => {
                return Err(format!("/{name} {}: {min} to {max} is no range that Discord takes", option.name));
            }
            OptionKind::Choice(list) if list.is_empty() || list.len() > CHOICES_MAX => {
                return Err(format!("/{name} {}: one to {CHOICES_MAX} choices", option.name));
            }
            OptionKind::Choice(list) => {
                for one in list {
                    in_chars(name, &one.label, 1, CHOICE_CHARS_MAX)?;
                    in_chars(name, &one.value, 1, CHOICE_CHARS_MAX)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names are lower case, of letters, digits, `-` and `_` (Discord's pattern, as far as ours go).
fn word(command: &str, word: &str) -> Result<(), String> {
    in_chars(command, word, 1, NAME_CHARS_MAX)?;
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || letter == '_';
    if word.chars().all(fits) { Ok(()) } else { Err(format!("/{command}: “{word}” is no name that Discord takes")) }
}

fn in_chars(command: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    let count = text.chars().count();
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(format!("/{command}: “{text}” has {count} characters; {min} to {max} are taken"))
}

/// Characters that count towards a command's whole: names, help and choices, all the way in.
fn chars_counted(command: &Value) -> usize {
    let own = ["name", "description", "value"]
        .iter()
        .filter_map(|key| command.get(key)?.as_str())
        .map(|text| text.chars().count());
    let inner =
        ["options", "choices"].iter().filter_map(|key| command.get(key)?.as_array()).flatten().map(chars_counted);
    own.sum::<usize>() + inner.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::Choice;

    fn list() -> Vec<CommandSpec> {
        let title = OptionKind::Text { chars_max: 200 };
        let severity = OptionKind::Choice(vec![Choice::new("sev1", "SEV-1"), Choice::new("sev2", "SEV-2")]);
        vec![
            CommandSpec::slash("sev1", "Open a SEV-1").needs("title", "What is broken", title).takes(
                "service",
                "Which service",
                OptionKind::Completed("services"),
            ),
            CommandSpec::slash("incident severity", "Change it").in_group("Incidents").needs(
                "to",
                "The new one",
                severity,
            ),
            CommandSpec::slash("incident snooze", "Not now").takes(
                "minutes",
                "How long",
                OptionKind::Number { min: 1, max: 30 },
            ),
            CommandSpec::on_message("Add to timeline", "Put it on the record"),
        ]
    }

    #[test]
    fn two_words_become_a_command_within_a_group() {
        assert_eq!(check_commands(&list()), Ok(()));
        let body = commands_body(&list());
        assert_eq!(body.as_array().map(Vec::len), Some(3));
        assert_eq!(body[1]["name"], "incident");
        assert_eq!(body[1]["description"], "Incidents");
        assert_eq!(body[1]["options"][0]["name"], "severity");
        assert_eq!(body[1]["options"][0]["options"][0]["choices"][1], json!({"name": "SEV-2", "value": "sev2"}));
        assert_eq!(body[1]["options"][1]["options"][0]["max_value"], 30);
        assert_eq!(body[0]["options"][1]["autocomplete"], true);
        assert_eq!(body[2], json!({"type": 3, "name": "Add to timeline"}));
    }

    #[test]
    fn what_discord_would_refuse_is_said_before() {
        let wrong = |command: CommandSpec| check_commands(&[list(), vec![command]].concat()).unwrap_err();
        assert_eq!(wrong(CommandSpec::slash("sev1", "x")), "/sev1: the name is there twice");
        assert_eq!(
            wrong(CommandSpec::slash("incident", "x")),
            "/incident is a command and the name of a group as well"
        );
        assert_eq!(wrong(CommandSpec::slash("Ack", "x")), "/Ack: “Ack” is no name that Discord takes");
        assert_eq!(wrong(CommandSpec::slash("ack", "")), "/ack: “” has 0 characters; 1 to 100 are taken");
        let late = CommandSpec::slash("a", "x").takes("b", "x", OptionKind::Flag).needs("c", "x", OptionKind::Flag);
        assert_eq!(wrong(late), "/a: required options come first");
        let choices = (0..26).map(|n| Choice::new(n.to_string(), "x")).collect();
        assert_eq!(
            wrong(CommandSpec::slash("a", "x").takes("b", "x", OptionKind::Choice(choices))),
            "/a b: one to 25 choices"
        );
    }
}
