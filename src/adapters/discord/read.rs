//! Discord's raw text as neutral spans: what people typed, and our own messages read back.
//!
//! Bounded by Discord's own limits on what can be typed. Whatever is not understood stays text.

use chrono::DateTime;
use serde_json::Value;

use super::compose::is_mark;
use super::directory::{self, Directory};
use super::escape::{ISOLATE, POP, ZERO_WIDTH, split_address};
use crate::domain::ids::Role;
use crate::domain::message::{
    Button, ButtonStyle, Card, Field, File, Menu, Message, Ping, Span, Text, TimeStyle, Tone,
};

/// What somebody typed: people, roles, channels and moments are recognised, everything else is text as it stands.
pub fn parse_text(raw: &str, directory: &Directory) -> Text {
    let mut out = Text::default();
    let mut rest = raw;
    while let Some(start) = rest.find('<') {
        let (before, mark) = rest.split_at(start);
        let end = mark.find('>');
        let read = end.and_then(|end| Some((span(mark.get(1..end)?, directory)?, mark.get(end + 1..)?)));
        let (piece, after) = match read {
            Some((span, after)) => {
                push_text(&mut out, before);
                (span, after)
            }
            None => {
                let (plain, after) = rest.split_at(start + 1);
                (Span::Text(plain.to_owned()), after)
            }
        };
        match piece {
            Span::Text(text) => push_text(&mut out, &text),
            span => out.0.push(span),
        }
        rest = after;
    }
    push_text(&mut out, rest);
    out
}

/// What stands between `<` and `>` (Discord's document on message formatting).
fn span(inner: &str, directory: &Directory) -> Option<Span> {
    let id = |digits: &str| digits.parse::<u64>().ok().filter(|id| *id != 0);
    if let Some(digits) = inner.strip_prefix("@&") {
        let role = directory.role(id(digits)?);
        return Some(role.map_or_else(|| Span::Text("@unknown-role".to_owned()), Span::Role));
    }
    if let Some(digits) = inner.strip_prefix("@!").or_else(|| inner.strip_prefix('@')) {
        return id(digits).map(|id| Span::Person(directory::person(id)));
    }
    if let Some(digits) = inner.strip_prefix('#') {
        return id(digits).map(|id| Span::Place(directory::place(id)));
    }
    if let Some(time) = inner.strip_prefix("t:") {
        let (seconds, style) = time.split_once(':').unwrap_or((time, "f"));
        let at = DateTime::from_timestamp(seconds.parse().ok()?, 0)?;
        let style = match style {
            "R" => TimeStyle::Relative,
            "t" | "T" => TimeStyle::Clock,
            "d" | "D" | "f" | "F" | "s" | "S" => TimeStyle::Full,
            _ => return None,
        };
        return Some(Span::Time { at, style });
    }
    if let Some(command) = inner.strip_prefix('/') {
        return command.rsplit_once(':').map(|(name, _)| Span::Text(format!("/{name}")));
    }
    let emoji = inner.strip_prefix(':').or_else(|| inner.strip_prefix("a:"))?;
    let (name, digits) = emoji.split_once(':')?;
    id(digits).map(|_| Span::Text(format!(":{name}:")))
}

/// One of our own texts, read back: what `compose` did to it is undone.
pub fn read_back(raw: &str, directory: &Directory) -> Text {
    let mut out = Text::default();
    let mut plain = String::new();
    let mut bold = false;
    let mut rest = raw;
    let flush = |out: &mut Text, plain: &mut String, bold: bool| {
        let text = std::mem::take(plain);
        if bold && !text.is_empty() { out.0.push(Span::Bold(text)) } else { push_text(out, &text) }
    };
    while let Some(letter) = rest.chars().next() {
        if let Some((address, after)) = split_address(rest) {
            // Two stars are no part of one, as it was written: they end bold words.
            let (address, stars) = address.split_at(address.find("**").unwrap_or(address.len()));
            plain.extend(address.chars().filter(|letter| !matches!(*letter, ZERO_WIDTH | ISOLATE | POP)));
            rest = if stars.is_empty() { after } else { rest.get(address.len()..).unwrap_or_default() };
            continue;
        }
        let after = rest.get(letter.len_utf8()..).unwrap_or_default();
        let mut next = after;
        let mut read = None;
        match letter {
            '\\' => match after.chars().next().filter(char::is_ascii_punctuation) {
                Some(escaped) => {
                    plain.push(escaped);
                    next = after.get(1..).unwrap_or_default();
                }
                None => plain.push('\\'),
            },
            ZERO_WIDTH | ISOLATE | POP => {}
            '*' if after.starts_with('*') => {
                flush(&mut out, &mut plain, bold);
                bold = !bold;
                next = after.get(1..).unwrap_or_default();
            }
            '`' => read = fenced(rest),
            '[' => read = masked_link(rest),
            '<' => {
                let end = rest.find('>');
                read = end.and_then(|end| Some((span(rest.get(1..end)?, directory)?, rest.get(end + 1..)?)));
                if read.is_none() {
                    plain.push('<');
                }
            }
            _ => plain.push(letter),
        }
        if let Some((span, after)) = read {
            flush(&mut out, &mut plain, bold);
            out.0.push(span);
            next = after;
        } else if matches!(letter, '`' | '[') {
            plain.push(letter);
        }
        rest = next;
    }
    flush(&mut out, &mut plain, bold);
    out
}

/// The lines of a text; a fenced block of several is one.
fn lines_of(raw: &str) -> impl Iterator<Item = &str> {
    const FENCE: &str = "```";
    let mut rest = Some(raw).filter(|raw| !raw.is_empty());
    std::iter::from_fn(move || {
        let now = rest?;
        let line_end = |from: usize| now.get(from..).and_then(|tail| tail.find('\n')).map_or(now.len(), |at| from + at);
        let mut end = line_end(0);
        if now.get(..end) == Some(FENCE)
            && let Some(closing) = now.get(end..).and_then(|tail| tail.find(&format!("\n{FENCE}")))
        {
            end = line_end(end + closing + 1);
        }
        rest = now.get(end + 1..);
        now.get(..end)
    })
}

/// One of our messages as Discord gives it back, as the neutral message that it was, as far as Discord keeps it: for comparing
/// what stands with what should.
pub fn read_message(message: &Value, directory: &Directory) -> Message {
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |pointer: &str| message.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines: Vec<Text> = lines_of(&text(message, "/content")).map(|line| read_back(line, directory)).collect();
    if lines.len() == 1 && lines.first().is_some_and(Text::is_blank) {
        lines.clear();
    }
    if lines.last().is_some_and(|line| matches!(line.0.as_slice(), [Span::Text(text)] if is_small_print(text))) {
        lines.pop();
    }
    let pings = match lines.last().map(pings_of) {
        Some(pings) if !pings.is_empty() => {
            lines.pop();
            pings
        }
        _ => Vec::new(),
    };
    let card = list("/embeds").first().map(|embed| {
        let fields = embed.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
        let footer = text(embed, "/footer/text");
        let footer: Vec<&str> = footer.split(" · ").filter(|part| !part.is_empty() && !is_mark(part)).collect();
        let flat = |raw: String| {
            let flat = |span: Span| {
                if let Span::Text(text) | Span::Bold(text) | Span::Code(text) = span { text } else { String::new() }
            };
            read_back(&raw, directory).0.into_iter().map(flat).collect::<String>()
        };
        Card {
            title: flat(text(embed, "/title")),
            tone: Tone::Quiet,
            lines: text(embed, "/description").lines().map(|line| read_back(line, directory)).collect(),
            fields: fields
                .iter()
                .map(|field| Field {
                    name: flat(text(field, "/name")),
                    value: read_back(&text(field, "/value"), directory),
                    inline: field.get("inline").and_then(Value::as_bool).unwrap_or(false),
                })
                .collect(),
            footer: (!footer.is_empty()).then(|| footer.join(" · ")),
        }
    });
    let rows = list("/components");
    let controls = rows.iter().filter_map(|row| row.get("components")?.as_array()).flatten();
    let mut out = Message { pings, lines, card, ..Message::default() };
    for control in controls {
        match control.get("type").and_then(Value::as_u64) {
            Some(2) => {
                out.buttons.push(Button::new(text(control, "/custom_id"), text(control, "/label"), ButtonStyle::Plain))
            }
            Some(3) => {
                let (action, placeholder) = (text(control, "/custom_id"), text(control, "/placeholder"));
                out.menu = Some(Menu { action, placeholder, choices: Vec::new() });
            }
            _ => {}
        }
    }
    out.files =
        list("/attachments").iter().map(|file| File { name: text(file, "/filename"), text: String::new() }).collect();
    out
}

fn is_small_print(line: &str) -> bool {
    line.strip_prefix("-# ").is_some_and(is_mark)
}

/// Whom a line pings when it is nothing but mentions.
fn pings_of(line: &Text) -> Vec<Ping> {
    let mut pings = Vec::new();
    for span in &line.0 {
        match span {
            Span::Person(person) => pings.push(Ping::Person(person.clone())),
            Span::Role(role) => pings.push(Ping::Role(Role::new(role.as_str()))),
            Span::Text(text) if text.trim().is_empty() => {}
            _ => return Vec::new(),
        }
    }
    pings
}

/// A fixed-width run at the beginning of `raw`, and what follows it.
fn fenced(raw: &str) -> Option<(Span, &str)> {
    let marks = raw.len() - raw.trim_start_matches('`').len();
    let fence = raw.get(..marks)?;
    let inner = raw.get(marks..)?;
    let end = inner.find(fence)?;
    let words = inner.get(..end)?.replace(ZERO_WIDTH, "");
    let words = match marks {
        1 => words,
        2 => words.strip_prefix(' ').and_then(|words| words.strip_suffix(' ')).unwrap_or(&words).to_owned(),
        _ => words.trim_matches('\n').to_owned(),
    };
    Some((Span::Code(words), inner.get(end + marks..)?))
}

/// A masked link at the beginning of `raw`, and what follows it.
fn masked_link(raw: &str) -> Option<(Span, &str)> {
    let middle = raw.find("](")?;
    // An escaped bracket ends nothing: it was typed.
    let label = raw.get(1..middle)?;
    if (label.len() - label.trim_end_matches('\\').len()) % 2 == 1 {
        return None;
    }
    let end = middle + raw.get(middle..)?.find(')')?;
    let url = raw.get(middle + 2..end)?;
    if !url.starts_with("http") || label.contains('\n') {
        return None;
    }
    let label = label.replace(['\\', ZERO_WIDTH], "");
    Some((Span::Link { label, url: url.to_owned() }, raw.get(end + 1..)?))
}

fn push_text(out: &mut Text, text: &str) {
    match out.0.last_mut() {
        _ if text.is_empty() => {}
        Some(Span::Text(last)) => last.push_str(text),
        _ => out.0.push(Span::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_was_typed_is_read_back_as_text() {
        let typed = "see [a](https://example.com/x) there";
        let escaped = "see [a\\](https://example.com/x) there";
        assert_eq!(read_back(escaped, &Directory::default()), Text::plain(typed));
        let link = Span::Link { label: "a".to_owned(), url: "https://example.com/x".to_owned() };
        assert_eq!(read_back("[a](https://example.com/x)", &Directory::default()), Text(vec![link]));
    }

    #[test]
    fn what_people_type_becomes_names_and_moments() {
        let mut directory = Directory::default();
        directory.role_seen(5, "reliability");
        let text = parse_text("<@7> ask <@&5> in <#9>, <t:100:R>; a < b, <@x> <@&6> <:fire:12> **so**", &directory);
        assert_eq!(
            text,
            Text::default()
                .person(&directory::person(7))
                .text(" ask ")
                .role(&Role::new("reliability"))
                .text(" in ")
                .place(&directory::place(9))
                .text(", ")
                .relative(DateTime::from_timestamp(100, 0).unwrap())
                .text("; a < b, <@x> @unknown-role :fire: **so**")
        );
        assert_eq!(parse_text("", &directory), Text::default());
        assert_eq!(parse_text("<<<", &directory), Text::plain("<<<"));
        assert_eq!(parse_text("<t:99999999999999999:R>", &directory).0.len(), 1);
    }
}
