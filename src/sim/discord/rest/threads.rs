//! Threads: start from a message or without one, follow, list.

use serde_json::{Value, json};

use super::messages::{find, need};
use super::{Answer, Call, Reply, id};
use crate::sim::discord::gateway::GUILDS;
use crate::sim::discord::id::{Id, now, stamp};
use crate::sim::discord::message::{HAS_THREAD, Message, kind};
use crate::sim::discord::permissions::{CREATE_PRIVATE_THREADS, CREATE_PUBLIC_THREADS};
use crate::sim::discord::refusal::{Form, Refusal};
use crate::sim::discord::state::State;
use crate::sim::discord::wire;
use crate::sim::discord::world::{ANNOUNCEMENT_THREAD, Channel, DM, PRIVATE_THREAD, PUBLIC_THREAD, Thread};

/// Threads of the guild that are open at once. Undocumented: the number; Discord says only that there is one.
const ACTIVE_THREADS_MAX: usize = 1_000;

pub(super) fn route(state: &mut State, call: &Call, channel: Id, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("POST", ["messages", message, "threads"]) => {
            let message = id(message, "message_id")?;
            need(state, channel, CREATE_PUBLIC_THREADS)?;
            find(state, channel, message)?;
            check(call)?;
            if state.world.channels.contains_key(&message) {
                return Err(Refusal::new(400, 160_004, "A thread has already been created for this message"));
            }
            start(state, call, channel, Some(message), PUBLIC_THREAD)
        }
        ("POST", ["threads"]) => {
            // The type of a thread without a message is private by default, which Discord says may change.
            let kind = call.body["type"].as_u64().map_or(PRIVATE_THREAD, |kind| kind as u8);
            let bits = if kind == PRIVATE_THREAD { CREATE_PRIVATE_THREADS } else { CREATE_PUBLIC_THREADS };
            need(state, channel, bits)?;
            check(call)?;
            if !matches!(kind, ANNOUNCEMENT_THREAD..=PRIVATE_THREAD) {
                let mut form = Form::default();
                form.fault("type", "BASE_TYPE_CHOICES", "Value must be one of {10, 11, 12}.");
                form.finish()?;
            }
            start(state, call, channel, None, kind)
        }
        ("GET", ["threads", "archived", "public"]) => {
            need(state, channel, 0)?;
            let threads = state.world.threads(Some(channel)).filter(|thread| thread.archived());
            let mut threads: Vec<&Channel> = threads.collect();
            threads.sort_by_key(|thread| {
                std::cmp::Reverse(thread.thread.as_ref().map(|thread| thread.archive_changed_at))
            });
            let listed = threads.into_iter().map(|thread| wire::channel(&state.world, thread));
            Ok(Reply::ok(json!({
                "threads": listed.collect::<Vec<_>>(), "members": [], "has_more": false,
            })))
        }
        ("PUT" | "DELETE", ["thread-members", who]) => {
            need(state, channel, 0)?;
            let member = if *who == "@me" { state.world.bot_id } else { id(who, "user_id")? };
            if !state.world.members.contains_key(&member) {
                return Err(Refusal::new(404, 10013, "Unknown User"));
            }
            super::messages::not_archived(state, channel)?;
            let place = state.world.channels.get_mut(&channel).and_then(|place| place.thread.as_mut());
            let thread = place.ok_or_else(Refusal::unknown_channel)?;
            thread.members.retain(|one| *one != member);
            if call.method == "PUT" {
                thread.members.push(member);
            }
            let count = thread.members.len();
            let mut data = json!({"id": channel, "guild_id": state.world.guild_id, "member_count": count});
            if call.method == "PUT" {
                let since = stamp(now());
                data["added_members"] =
                    json!([{"id": channel, "user_id": member, "flags": 0, "join_timestamp": since}]);
            } else {
                data["removed_member_ids"] = json!([member]);
            }
            state.dispatch("THREAD_MEMBERS_UPDATE", GUILDS, data);
            Ok(Reply::nothing())
        }
        ("GET", ["thread-members"]) => {
            need(state, channel, 0)?;
            let place = state.world.channels.get(&channel).and_then(|place| place.thread.as_ref());
            let thread = place.ok_or_else(Refusal::unknown_channel)?;
            let member = |id: &Id| {
                json!({"id": channel, "user_id": id, "flags": 0,
                    "join_timestamp": stamp(channel.time())})
            };
            Ok(Reply::ok(thread.members.iter().map(member).collect()))
        }
        _ => Err(Refusal::not_found()),
    }
}

/// The fields of a thread, new or changed.
pub(super) fn check_fields(form: &mut Form, body: &Value) {
    let known = [
        "name",
        "auto_archive_duration",
        "rate_limit_per_user",
        "type",
        "invitable",
        "archived",
        "locked",
        "flags",
        "applied_tags",
        "message",
    ];
    form.spelling(body, "", &known);
    form.text(body, "name", "name", 1, 100);
    if let Some(minutes) = form.number(body, "auto_archive_duration", "auto_archive_duration", 0, 100_000)
        && !matches!(minutes, 60 | 1440 | 4320 | 10080)
    {
        let words = "Value must be one of (60, 1440, 4320, 10080).";
        form.fault("auto_archive_duration", "BASE_TYPE_CHOICES", words);
    }
}

fn check(call: &Call) -> Result<(), Refusal> {
    let mut form = Form::default();
    check_fields(&mut form, &call.body);
    if call.body.get("name").is_none_or(Value::is_null) {
        form.required("name");
    }
    form.finish()
}

fn start(state: &mut State, call: &Call, parent: Id, from: Option<Id>, kind: u8) -> Answer {
    let place = state.world.channels.get(&parent).ok_or_else(Refusal::unknown_channel)?;
    if place.thread.is_some() || place.kind == DM || !place.takes_messages() {
        return Err(Refusal::new(400, 50024, "Cannot execute action on this channel type"));
    }
    let announcement = place.kind == 5;
    let active = state.world.threads(None).filter(|thread| !thread.archived()).count();
    if active >= ACTIVE_THREADS_MAX {
        return Err(Refusal::new(400, 160_006, "Maximum number of active threads reached"));
    }
    let bot = state.world.bot_id;
    // A thread that starts from a message has its id.
    let thread_id = from.unwrap_or_else(|| state.world.ids.next());
    let kind = if announcement && kind != PRIVATE_THREAD { ANNOUNCEMENT_THREAD } else { kind };
    let name = call.body["name"].as_str().unwrap_or_default();
    let thread = Thread {
        owner: bot,
        archived: false,
        locked: false,
        archive_changed_at: now(),
        auto_archive_minutes: call.body["auto_archive_duration"].as_u64().unwrap_or(1440) as u32,
        total_sent: 0,
        members: vec![bot],
        from_message: from.is_some(),
    };
    let channel = Channel { parent: Some(parent), thread: Some(thread), ..Channel::new(thread_id, kind, name) };
    state.world.channels.insert(thread_id, channel);
    state.tell_channel(thread_id, true);
    match from {
        Some(message) => {
            state.edit(message, false, |message| message.flags |= HAS_THREAD);
        }
        None if kind != PRIVATE_THREAD => {
            let notice_id = state.world.ids.next();
            let mut notice = Message::new(notice_id, parent, bot);
            notice.kind = kind::THREAD_CREATED;
            notice.content = name.to_owned();
            notice.reference = Some((thread_id, None));
            state.post(notice);
        }
        None => {}
    }
    let channel = state.world.channels.get(&thread_id).ok_or_else(Refusal::unknown_channel)?;
    Ok(Reply::created(wire::channel(&state.world, channel)))
}
