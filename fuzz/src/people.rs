//! What people do in Discord: interactions as its gateway brings them, what is typed into every command, and marked-up text.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;
use serenity::all::Interaction;
use watchbell::adapters::discord::{self, incoming};
use watchbell::commands;
use watchbell::domain::answer::{Answer, CompletionAsk};
use watchbell::domain::command_spec::OptionKind;
use watchbell::domain::ids::{Person, Posted};
use watchbell::domain::input::{Arg, Call, Filled, InputKind, Press, Query, TargetMessage};
use watchbell::domain::message::{Message, Span, Text};
use watchbell::domain::render::pressed;

use crate::neighbours::inventory;
use crate::world::{World, ana, channel, directory, fits, fits_answer};

/// Decides what somebody asked for, twice, and lets time pass.
fn asked(mut world: World, kind: &InputKind) {
    for app in ["checkout", "checkout-staging", "search"] {
        world.answers.inventories.insert(app.to_owned(), Ok(inventory(app, world.now)));
    }
    for query in world.needs(kind) {
        match query {
            Query::ClosedIncident(_) | Query::RecentIncidents(_) => world.answers.recent = Some(Vec::new()),
            Query::Changes(_) => world.answers.changes = Some(Vec::new()),
            Query::Figures(ask) => {
                world.answers.figures.insert(ask.key, Ok(Vec::new()));
            }
            _ => {}
        }
    }
    let first = world.decide(kind);
    world.settle();
    if let Ok((_, Some(Answer::Open(form)))) = first {
        // The form comes back as it was opened.
        let values = form.inputs.iter().map(|input| (input.name.clone(), Text::plain(input.value.as_str()))).collect();
        let filled = Filled { who: ana(), place: channel(), action: form.action, values };
        let _ = world.decide(&InputKind::Filled(filled));
        world.settle();
    }
    let _ = world.decide(kind);
    world.settle();
    world.pass(TimeDelta::minutes(20));
    world.survives_a_restart();
}

/// An interaction as Discord's gateway has it.
pub fn interactions(data: &[u8]) {
    let Ok(received) = serde_json::from_slice::<Interaction>(data) else { return };
    let directory = directory();
    let world = World::new();
    let who = |user, member| {
        let actor = incoming::actor(user, member, &directory);
        watchbell::domain::input::Actor { roles: ana().roles, ..actor }
    };
    let kind = match &received {
        Interaction::Autocomplete(command) => {
            let who = who(&command.user, command.member.as_deref());
            if let Some(ask) = incoming::completion(command, who, &directory) {
                completed(&world, &ask);
            }
            return;
        }
        Interaction::Command(command) => {
            incoming::call(command, who(&command.user, command.member.as_deref()), &directory)
        }
        Interaction::Component(press) => incoming::press(press, who(&press.user, press.member.as_ref())),
        Interaction::Modal(modal) => incoming::filled(modal, who(&modal.user, modal.member.as_ref()), &directory),
        _ => return,
    };
    asked(world, &kind);
}

fn completed(world: &World, ask: &CompletionAsk) {
    let input = watchbell::domain::ids::InputId::new("completion");
    let lists = commands::lists(&world.ctx(&input));
    fits_answer(&Answer::Choices(commands::complete(&lists, ask)));
}

/// A command and its options, a line each: `alerts silence`, `match=service=checkout`. Or `press`, `fill`, with an action on the next
/// line and what was chosen, or `name=value`, on those that follow.
pub fn typed(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let directory = directory();
    let world = World::new();
    let who = ana();
    let place = channel();
    let given = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    match first {
        "press" => {
            let action = lines.next().unwrap_or_default().chars().take(100).collect();
            let values = lines.take(25).map(|line| line.chars().take(100).collect()).collect();
            let (action, values) = pressed(action, values);
            let on = Posted { place: place.clone(), message: "101".to_owned() };
            return asked(world, &InputKind::Press(Press { who, place, action, values, on }));
        }
        "fill" => {
            let action = lines.next().unwrap_or_default().chars().take(100).collect();
            let value = |(name, value): (String, String)| (name, discord::parse_text(&value, &directory));
            let values = lines.take(5).map(given).map(value).collect();
            return asked(world, &InputKind::Filled(Filled { who, place, action, values }));
        }
        _ => {}
    }
    let spec = commands::specs().into_iter().find(|spec| spec.name == first);
    let target = spec.as_ref().is_none_or(|spec| spec.options.is_empty()).then(|| TargetMessage {
        posted: Posted { place: place.clone(), message: "55".to_owned() },
        author: Person::new("discord:9"),
        author_name: "mia".to_owned(),
        at: world.now,
        text: discord::parse_text(&text, &directory),
        images: Vec::new(),
        link: "https://discord.com/channels/1/3/55".to_owned(),
    });
    let mut args = BTreeMap::new();
    for (name, value) in lines.map(given) {
        let option = spec.iter().flat_map(|spec| &spec.options).find(|option| option.name == name);
        if let (Some(spec), Some(option)) = (&spec, option)
            && spec.completion(option.name).is_some()
        {
            let (command, typed) = (first.to_owned(), value.clone());
            let ask = CompletionAsk {
                who: who.clone(),
                place: place.clone(),
                command,
                option: name.clone(),
                typed,
                args: args.clone(),
            };
            completed(&world, &ask);
        }
        let arg = match option.map(|option| &option.kind) {
            Some(OptionKind::Number { min, max }) => Arg::Number(value.parse().unwrap_or(*min).clamp(*min, *max)),
            Some(OptionKind::Flag) => Arg::Flag(value == "true"),
            Some(OptionKind::Person) => Arg::Person(Person::new(format!("discord:{}", value.len() % 12))),
            Some(OptionKind::Text { chars_max }) => {
                let typed: String = value.chars().take(usize::from(*chars_max)).collect();
                Arg::Text(discord::parse_text(&typed, &directory))
            }
            _ => Arg::Text(discord::parse_text(&value, &directory)),
        };
        args.insert(name, arg);
    }
    asked(world, &InputKind::Call(Call { who, place, command: first.to_owned(), args, target }));
}

/// Text as it is typed: shown, it fits, pings nobody, and is read back as what it was. And a message as Discord gives it back.
pub fn markup(data: &[u8]) {
    let directory = directory();
    if let Ok(message) = serde_json::from_slice::<Value>(data) {
        fits(&discord::read_message(&message, &directory));
    }
    let text = String::from_utf8_lossy(data);
    let typed = discord::parse_text(&text, &directory);
    let _ = discord::read_back(&text, &directory);
    fits(&Message::line(typed.clone()));
    // What is plain comes back as it was typed, whatever marks stand in it.
    let plain: String = text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(200).collect();
    let plain = plain.trim();
    if plain.is_empty() {
        return;
    }
    let said = Message::line(Text(vec![Span::Text(plain.to_owned())]));
    let composed = discord::new_message(&said, &directory, None, discord::Sound::WhenItPings);
    let read = discord::read_message(&composed.body, &directory);
    let words: String = read.lines.iter().map(watchbell::domain::press::flat).collect();
    // An address is written with percent signs where it would be read as more than one: they lead to the same place.
    let same = |words: &str| {
        let signs = [("%40", "@"), ("%7C", "|"), ("%5D", "]"), ("%2A", "*"), ("%60", "`")];
        signs.into_iter().fold(words.trim().to_owned(), |words, (sign, is)| words.replace(sign, is))
    };
    assert_eq!(same(&words), same(plain), "as it was sent: {}", composed.body["content"]);
}
