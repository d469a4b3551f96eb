//! Whom a text mentions, whom of them it really pings, and how it reads in plain words.
//!
//! `allowed_mentions` follows Discord's document: absent, everything in the content pings; present, only what it names.
//! Mentions in embeds never ping.

use serde_json::Value;

use super::id::{Id, now};
use super::message::{Message, Pings, SILENT};
use super::permissions::MENTION_EVERYONE;
use super::world::World;

/// Characters of a message that a lock screen shows.
pub const LOCK_SCREEN_CHARS_MAX: usize = 100;

/// A piece of raw text.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    User(Id),
    Role(Id),
    Channel(Id),
    /// Seconds since 1970 and the style letter.
    Time(i64, char),
    /// `</name:id>`.
    Command(&'a str),
    /// `<:name:id>`.
    Emoji(&'a str),
}

/// Splits raw text at its `<…>` marks.
fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    while let Some(start) = text.find('<') {
        let (before, rest) = text.split_at(start);
        let mark = rest.find('>').and_then(|end| Some((piece(rest.get(1..end)?)?, rest.get(end + 1..)?)));
        match mark {
            Some((piece, after)) => {
                out.push(Piece::Text(before));
                out.push(piece);
                text = after;
            }
            None => {
                let (plain, after) = text.split_at(start + 1);
                out.push(Piece::Text(plain));
                text = after;
            }
        }
    }
    out.push(Piece::Text(text));
    out
}

/// What stands between `<` and `>`.
fn piece(inner: &str) -> Option<Piece<'_>> {
    if let Some(role) = inner.strip_prefix("@&") {
        return Id::parse(role).map(Piece::Role);
    }
    if let Some(user) = inner.strip_prefix("@!").or_else(|| inner.strip_prefix('@')) {
        return Id::parse(user).map(Piece::User);
    }
    if let Some(channel) = inner.strip_prefix('#') {
        return Id::parse(channel).map(Piece::Channel);
    }
    if let Some(time) = inner.strip_prefix("t:") {
        let (seconds, style) = time.split_once(':').unwrap_or((time, "f"));
        return Some(Piece::Time(seconds.parse().ok()?, style.chars().next()?));
    }
    if let Some(command) = inner.strip_prefix('/') {
        return command.rsplit_once(':').map(|(name, _)| Piece::Command(name));
    }
    let emoji = inner.strip_prefix(':').or_else(|| inner.strip_prefix("a:"))?;
    emoji.split_once(':').map(|(name, _)| Piece::Emoji(name))
}

/// The text in plain words: names for ids, times relative to now or in UTC.
pub fn plain(world: &World, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::User(id) => {
                out.push('@');
                out.push_str(world.members.get(&id).map_or("unknown-user", |member| &member.display_name));
            }
            Piece::Role(id) => {
                out.push('@');
                out.push_str(world.roles.get(&id).map_or("deleted-role", |role| &role.name));
            }
            Piece::Channel(id) => {
                out.push('#');
                out.push_str(world.channels.get(&id).map_or("unknown", |channel| &channel.name));
            }
            Piece::Time(seconds, style) => out.push_str(&time(seconds, style)),
            Piece::Command(name) => {
                out.push('/');
                out.push_str(name);
            }
            Piece::Emoji(name) => {
                out.push(':');
                out.push_str(name);
                out.push(':');
            }
        }
    }
    out
}

/// A time mark in words.
///
/// Undocumented: what a client shows depends on its language and zone; this is English and UTC.
fn time(seconds: i64, style: char) -> String {
    let Some(at) = chrono::DateTime::from_timestamp(seconds, 0) else { return "invalid date".to_owned() };
    match style {
        't' => at.format("%H:%M UTC").to_string(),
        'T' => at.format("%H:%M:%S UTC").to_string(),
        'd' => at.format("%Y-%m-%d").to_string(),
        'D' => at.format("%-d %B %Y").to_string(),
        'F' => at.format("%A, %-d %B %Y %H:%M UTC").to_string(),
        'R' => {
            let ahead = seconds - now().timestamp();
            let (count, unit) = match ahead.abs() {
                s @ 0..60 => (s, "second"),
                s @ 60..3_570 => ((s + 30) / 60, "minute"),
                s @ 3_570..84_600 => ((s + 1_800) / 3_600, "hour"),
                s => ((s + 43_200) / 86_400, "day"),
            };
            let plural = if count == 1 { "" } else { "s" };
            if ahead >= 0 { format!("in {count} {unit}{plural}") } else { format!("{count} {unit}{plural} ago") }
        }
        _ => at.format("%-d %B %Y %H:%M UTC").to_string(),
    }
}

/// The line that a lock screen shows.
pub fn lock_screen_line(world: &World, message: &Message) -> String {
    let words = plain(world, &message.content).split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        // Undocumented: without content a phone shows little; this is the least that it could be.
        return if message.embeds.is_empty() { "sent an attachment" } else { "sent an embed" }.to_owned();
    }
    words.chars().take(LOCK_SCREEN_CHARS_MAX).collect()
}

/// Whom a message pings. `replied_to` is the author of the message that it replies to.
pub fn pings(world: &World, author: Id, content: &str, allowed: Option<&Value>, replied_to: Option<Id>) -> Pings {
    let parsed = |kind: &str| match allowed {
        None => true,
        Some(allowed) => allowed["parse"].as_array().is_some_and(|parse| parse.iter().any(|one| one == kind)),
    };
    let named = |kind: &str, id: Id| {
        let list = allowed.and_then(|allowed| allowed[kind].as_array());
        list.is_some_and(|list| list.iter().filter_map(wire_id).any(|one| one == id))
    };
    let may_all = world.permissions(author) & MENTION_EVERYONE != 0;
    let mut pings = Pings::default();
    for piece in pieces(content) {
        match piece {
            Piece::User(id) if world.members.contains_key(&id) && (parsed("users") || named("users", id)) => {
                pings.users.push(id);
            }
            Piece::Role(id)
                if (parsed("roles") || named("roles", id))
                    && world.roles.get(&id).is_some_and(|role| role.mentionable || may_all) =>
            {
                pings.roles.push(id);
            }
            Piece::Text(text) if parsed("everyone") && may_all => {
                pings.everyone |= text.contains("@everyone") || text.contains("@here");
            }
            _ => {}
        }
    }
    let reply_pings = allowed.is_none_or(|allowed| allowed["replied_user"].as_bool().unwrap_or(false));
    pings.users.extend(replied_to.filter(|_| reply_pings));
    for list in [&mut pings.users, &mut pings.roles] {
        list.sort_unstable();
        list.dedup();
    }
    pings
}

/// An id written as digits or as a number.
pub fn wire_id(value: &Value) -> Option<Id> {
    match value {
        Value::String(text) => Id::parse(text),
        Value::Number(number) => number.as_u64().filter(|&id| id != 0).map(Id),
        _ => None,
    }
}

/// Why a phone rang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Mentioned by name.
    Mention,
    /// Through a role.
    Role(Id),
    /// @everyone.
    Everyone,
    /// A direct message.
    Direct,
}

/// Whose phones a new message rings, and why. Silent and ephemeral messages ring none.
pub fn rings(world: &World, message: &Message) -> Vec<(Id, Why)> {
    if message.has(SILENT) || message.ephemeral_for.is_some() {
        return Vec::new();
    }
    let Some(channel) = world.channels.get(&message.channel_id) else { return Vec::new() };
    let people = world.members.values().filter(|member| !member.bot && member.id != message.author_id);
    let why = |id: Id, roles: &[Id]| {
        if !channel.in_guild() {
            return channel.recipients.contains(&id).then_some(Why::Direct);
        }
        if message.pings.users.contains(&id) {
            return Some(Why::Mention);
        }
        if let Some(&role) = message.pings.roles.iter().find(|role| roles.contains(role)) {
            return Some(Why::Role(role));
        }
        message.pings.everyone.then_some(Why::Everyone)
    };
    people.filter_map(|member| Some((member.id, why(member.id, &member.roles)?))).collect()
}
