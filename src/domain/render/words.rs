//! The canonical words of a message: what a transcript shows, and what a file holds when a message had to be cut.

use chrono::{DateTime, Utc};

use super::Ping;
use crate::domain::ids::{Person, Place, Role};
use crate::domain::message::{Message, Span, Text, TimeStyle};

/// How names and moments are worded. What is not given stays as the domain has it.
pub trait Wording {
    /// A person: `@ana`.
    fn person(&self, person: &Person) -> String {
        format!("@{}", person.local())
    }

    /// A role: `@reliability`.
    fn role(&self, role: &Role) -> String {
        format!("@{role}")
    }

    /// A place: `#incidents`.
    fn place(&self, place: &Place) -> String {
        format!("#{}", place.local())
    }

    /// A moment. All styles are the date and time in UTC unless somebody knows the reader's zone.
    fn time(&self, at: DateTime<Utc>, _style: TimeStyle) -> String {
        at.format("%Y-%m-%d %H:%M UTC").to_string()
    }
}

/// Names as the domain has them, moments in UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unresolved;

impl Wording for Unresolved {}

/// The words of a message, a line each:
///
/// ```text
/// content lines
/// ▌ card title
/// ▌ card line
/// ▌ name: value
/// ▌ (small print)
/// [button] [button]
/// (menu: placeholder)
/// (file: name)
/// pings: @role reliability, @ana
/// ```
pub fn words(message: &Message, wording: &dyn Wording) -> Vec<String> {
    let mut out = Vec::new();
    for line in message.lines.iter().chain(&message.passing) {
        push(&mut out, "", &text(line, wording));
    }
    if let Some(card) = &message.card {
        push(&mut out, "▌ ", &card.title);
        for line in &card.lines {
            push(&mut out, "▌ ", &text(line, wording));
        }
        for field in card.fields.iter().filter(|field| !field.value.is_blank()) {
            push(&mut out, "▌ ", &format!("{}: {}", field.name, text(&field.value, wording)));
        }
        if let Some(footer) = &card.footer {
            push(&mut out, "▌ ", &format!("({footer})"));
        }
    }
    if !message.buttons.is_empty() {
        let buttons: Vec<String> = message.buttons.iter().map(|button| format!("[{}]", button.label)).collect();
        out.push(buttons.join(" "));
    }
    if let Some(menu) = &message.menu {
        out.push(format!("(menu: {})", menu.placeholder));
    }
    out.extend(message.files.iter().map(|file| format!("(file: {})", file.name)));
    out.extend((0..message.pictures.len()).map(|number| format!("(file: {})", super::picture_name(number))));
    if !message.pings.is_empty() {
        let ping = |ping: &Ping| match ping {
            Ping::Role(role) => format!("@role {}", wording.role(role).trim_start_matches('@')),
            Ping::Person(person) => wording.person(person),
        };
        out.push(format!("pings: {}", message.pings.iter().map(ping).collect::<Vec<_>>().join(", ")));
    }
    out
}

/// One run of spans as plain words.
fn text(text: &Text, wording: &dyn Wording) -> String {
    text.0
        .iter()
        .map(|span| match span {
            Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.clone(),
            Span::Person(person) => wording.person(person),
            Span::Role(role) => wording.role(role),
            Span::Place(place) => wording.place(place),
            Span::Time { at, style } => wording.time(*at, *style),
            Span::Link { label, url } => format!("{label} <{url}>"),
        })
        .collect()
}

fn push(out: &mut Vec<String>, edge: &str, text: &str) {
    out.extend(text.split('\n').map(|line| format!("{edge}{line}").trim_end().to_owned()));
}
