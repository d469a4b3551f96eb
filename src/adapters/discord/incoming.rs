//! What Discord tells of a command, a press or a form, as an input of ours.
//!
//! Pure translation of serenity's types; never sends, never decides who may.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serenity::all::{
    ActionRowComponent, CommandDataOption, CommandDataOptionValue as Value, CommandInteraction, ComponentInteraction,
    ComponentInteractionDataKind, Member, Message, ModalInteraction, ResolvedTarget, Timestamp, User,
};

use super::directory::{self, Directory};
use super::read::{parse_text, read_back};
use crate::domain::answer::CompletionAsk;
use crate::domain::ids::{Posted, Role};
use crate::domain::input::{Actor, Arg, Call, Filled, InputKind, Press, TargetMessage};
use crate::domain::message::{Span, Text};
use crate::domain::render::pressed;

/// Images of one message that are taken over.
const IMAGES_MAX: usize = 10;

/// Who did it. A member's roles come with the interaction; in a direct message there is no member.
pub fn actor(user: &User, member: Option<&Member>, directory: &Directory) -> Actor {
    let nick = member.and_then(|member| member.nick.as_deref());
    let name = nick.or(user.global_name.as_deref()).unwrap_or(&user.name).to_owned();
    let roles = member.map_or_else(Vec::new, |member| held(member.roles.iter().map(|role| role.get()), directory));
    Actor { person: directory::person(user.id.get()), name, roles }
}

fn held(ids: impl Iterator<Item = u64>, directory: &Directory) -> Vec<Role> {
    directory.roles_held(ids)
}

/// A command.
pub fn call(command: &CommandInteraction, who: Actor, directory: &Directory) -> InputKind {
    let (name, options) = full_name(&command.data.name, &command.data.options);
    let target = match command.data.target() {
        Some(ResolvedTarget::Message(message)) => Some(target(message, command.guild_id.map(|id| id.get()), directory)),
        _ => None,
    };
    InputKind::Call(Call {
        who,
        place: directory::place(command.channel_id.get()),
        command: name,
        args: args(options, directory),
        target,
    })
}

/// What somebody types in an option; none when Discord does not say which.
pub fn completion(command: &CommandInteraction, who: Actor, directory: &Directory) -> Option<CompletionAsk> {
    let (name, options) = full_name(&command.data.name, &command.data.options);
    let (option, typed) = options.iter().find_map(|option| match &option.value {
        Value::Autocomplete { value, .. } => Some((option.name.clone(), value.clone())),
        _ => None,
    })?;
    let place = directory::place(command.channel_id.get());
    Some(CompletionAsk { who, place, command: name, option, typed, args: args(options, directory) })
}

/// A button or a menu.
pub fn press(component: &ComponentInteraction, who: Actor) -> InputKind {
    let values = match &component.data.kind {
        ComponentInteractionDataKind::StringSelect { values } => values.clone(),
        _ => Vec::new(),
    };
    let (action, values) = pressed(component.data.custom_id.clone(), values);
    let place = directory::place(component.channel_id.get());
    let on = Posted { place: place.clone(), message: component.message.id.to_string() };
    InputKind::Press(Press { who, place, action, values, on })
}

/// A form.
pub fn filled(modal: &ModalInteraction, who: Actor, directory: &Directory) -> InputKind {
    let inputs = modal.data.components.iter().flat_map(|row| &row.components);
    let values = inputs.filter_map(|component| match component {
        ActionRowComponent::InputText(input) => {
            Some((input.custom_id.clone(), parse_text(input.value.as_deref().unwrap_or_default(), directory)))
        }
        _ => None,
    });
    InputKind::Filled(Filled {
        who,
        place: directory::place(modal.channel_id.get()),
        action: modal.data.custom_id.clone(),
        values: values.collect(),
    })
}

/// The command with its groups, and the options of the innermost.
fn full_name<'a>(name: &str, options: &'a [CommandDataOption]) -> (String, &'a [CommandDataOption]) {
    let mut name = name.to_owned();
    let mut options = options;
    while let Some((inner, Value::SubCommand(next) | Value::SubCommandGroup(next))) =
        options.first().map(|option| (&option.name, &option.value))
    {
        name.push(' ');
        name.push_str(inner);
        options = next;
    }
    (name, options)
}

fn args(options: &[CommandDataOption], directory: &Directory) -> BTreeMap<String, Arg> {
    let one = |option: &CommandDataOption| {
        let arg = match &option.value {
            Value::Boolean(flag) => Arg::Flag(*flag),
            Value::Integer(number) => Arg::Number(*number),
            // Our own commands ask for no fractions; rounding is what somebody who typed one would expect.
            #[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the largest number")]
            Value::Number(number) => Arg::Number(number.round() as i64),
            Value::String(text) => Arg::Text(parse_text(text, directory)),
            Value::User(user) => Arg::Person(directory::person(user.get())),
            Value::Channel(channel) => Arg::Text(Text(vec![Span::Place(directory::place(channel.get()))])),
            Value::Role(role) => Arg::Text(Text(directory.role(role.get()).map(Span::Role).into_iter().collect())),
            _ => return None,
        };
        Some((option.name.clone(), arg))
    };
    options.iter().filter_map(one).collect()
}

/// A message that somebody pointed at. A card without plain content says what stands in the card.
fn target(message: &Message, guild: Option<u64>, directory: &Directory) -> TargetMessage {
    let (channel, id) = (message.channel_id.get(), message.id.get());
    let text = if message.content.is_empty() {
        let parts = message.embeds.iter().flat_map(|embed| [embed.title.as_deref(), embed.description.as_deref()]);
        let words: Vec<&str> = parts.flatten().collect();
        read_back(&words.join("\n"), directory)
    } else if message.author.bot {
        read_back(&message.content, directory)
    } else {
        parse_text(&message.content, directory)
    };
    let is_image = |kind: &Option<String>| kind.as_deref().is_some_and(|kind| kind.starts_with("image/"));
    let images = message.attachments.iter().filter(|file| is_image(&file.content_type)).take(IMAGES_MAX);
    let guild = guild.map_or_else(|| "@me".to_owned(), |id| id.to_string());
    TargetMessage {
        posted: Posted { place: directory::place(channel), message: id.to_string() },
        author: directory::person(message.author.id.get()),
        author_name: message.author.global_name.clone().unwrap_or_else(|| message.author.name.clone()),
        at: moment(message.timestamp),
        text,
        images: images.map(|file| file.url.clone()).collect(),
        link: format!("https://discord.com/channels/{guild}/{channel}/{id}"),
    }
}

fn moment(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(at.unix_timestamp(), 0).unwrap_or_default()
}
