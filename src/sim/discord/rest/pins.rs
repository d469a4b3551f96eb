//! Pins, by the old routes and the new ones.

use chrono::DateTime;
use serde_json::{Value, json};

use super::messages::{find, need, not_archived};
use super::{Answer, Call, Reply, id};
use crate::sim::discord::gateway::GUILDS;
use crate::sim::discord::id::{Id, now, stamp};
use crate::sim::discord::message::{Message, kind};
use crate::sim::discord::permissions::{PIN_MESSAGES, READ_MESSAGE_HISTORY};
use crate::sim::discord::refusal::Refusal;
use crate::sim::discord::state::State;

/// Pins of one channel. Discord: 250.
const PINS_MAX: usize = 250;
/// Pins of one page of the new route.
const PAGE_MAX: usize = 50;

pub(super) fn route(state: &mut State, call: &Call, channel: Id, rest: &[&str]) -> Answer {
    let new = rest.first() == Some(&"messages");
    let rest = if new { rest.get(1..).unwrap_or_default() } else { rest };
    match (call.method.as_str(), rest) {
        ("GET", ["pins"]) => list(state, call, channel, new),
        ("PUT", ["pins", message]) => {
            let message = id(message, "message_id")?;
            need(state, channel, PIN_MESSAGES)?;
            not_archived(state, channel)?;
            let already = find(state, channel, message)?.pinned_at.is_some();
            if already {
                return Ok(Reply::nothing());
            }
            if pinned(state, channel).len() >= PINS_MAX {
                return Err(Refusal::new(400, 30003, "Maximum number of pins reached (250)"));
            }
            state.edit(message, false, |message| message.pinned_at = Some(now()));
            let notice_id = state.world.ids.next();
            let mut notice = Message::new(notice_id, channel, state.world.bot_id);
            notice.kind = kind::PINNED;
            notice.reference = Some((channel, Some(message)));
            state.post(notice);
            tell(state, channel);
            Ok(Reply::nothing())
        }
        ("DELETE", ["pins", message]) => {
            let message = id(message, "message_id")?;
            need(state, channel, PIN_MESSAGES)?;
            not_archived(state, channel)?;
            find(state, channel, message)?;
            state.edit(message, false, |message| message.pinned_at = None);
            tell(state, channel);
            Ok(Reply::nothing())
        }
        _ => Err(Refusal::not_found()),
    }
}

/// Pinned messages, the latest pin first.
fn pinned(state: &State, channel: Id) -> Vec<&Message> {
    let place = state.world.channels.get(&channel);
    let all = place.into_iter().flat_map(|place| place.messages.values());
    let mut pinned: Vec<&Message> = all.filter(|message| message.pinned_at.is_some()).collect();
    pinned.sort_by_key(|message| std::cmp::Reverse(message.pinned_at));
    pinned
}

fn list(state: &State, call: &Call, channel: Id, new: bool) -> Answer {
    need(state, channel, READ_MESSAGE_HISTORY)?;
    let pinned = pinned(state, channel);
    let wire = |message: &Message| message.wire(&state.world, &state.base);
    if !new {
        return Ok(Reply::ok(pinned.into_iter().map(wire).collect()));
    }
    let before = call.query.get("before").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let limit = call.query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let earlier = |message: &&Message| before.is_none_or(|before| message.pinned_at.is_some_and(|at| at < before));
    let mut found = pinned.into_iter().filter(earlier);
    let items: Vec<Value> = found
        .by_ref()
        .take(limit)
        .map(|message| json!({"pinned_at": message.pinned_at.map(stamp), "message": wire(message)}))
        .collect();
    Ok(Reply::ok(json!({"items": items, "has_more": found.next().is_some()})))
}

fn tell(state: &mut State, channel: Id) {
    let last = pinned(state, channel).first().and_then(|message| message.pinned_at).map(stamp);
    let data = json!({"guild_id": state.world.guild_id, "channel_id": channel, "last_pin_timestamp": last});
    state.dispatch("CHANNEL_PINS_UPDATE", GUILDS, data);
}
