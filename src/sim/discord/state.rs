//! All that changes while the stand-in runs, under one lock, and the few verbs that everything else is made of.
//!
//! A verb changes the world, tells the gateway's sessions and tells the page, in this order and under the lock, so
//! that all of them see one order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};

use super::faults::Faults;
use super::gateway::{self, Gateway};
use super::id::{Id, now};
use super::interactions::Interactions;
use super::limits::Limits;
use super::mentions::{self, Why};
use super::message::{HAS_THREAD, Message, kind};
use super::phone::{Notification, Phone};
use super::recorder::Recorder;
use super::view;
use super::wire;
use super::workspace::{Settings, Workspace};
use super::world::{DM, World};

/// Changes that a slow reader of the stream may fall behind.
const CHANGES_BEHIND_MAX: usize = 4_096;

/// What has been counted since the start; of what stood before, what can be told from it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// REST requests.
    pub requests: u64,
    /// Messages of the bot.
    pub messages: u64,
    /// Edits by the bot.
    pub edits: u64,
    /// Deletions, by anyone.
    pub deletes: u64,
    /// Phones rung, once a person and message.
    pub pings: u64,
    /// Messages of the bot that stand twice.
    pub doubled: u64,
    /// Posts that `enforce_nonce` answered with the message that stood already.
    pub nonce_repeats: u64,
    /// 429s given.
    pub rate_limited: u64,
    /// 401, 403 and 429 given.
    pub invalid_requests: u64,
    /// Other refusals given.
    pub refused: u64,
    /// Interactions begun.
    pub interactions: u64,
    /// Interactions that nobody answered in time.
    pub expired: u64,
    /// Fresh gateway sessions.
    pub identifies: u64,
    /// Resumed gateway sessions.
    pub resumes: u64,
    /// Phones rung, by username.
    pub pings_by_member: BTreeMap<String, u64>,
}

/// The whole.
pub struct State {
    /// The guild.
    pub world: World,
    /// What it started with.
    pub workspace: Workspace,
    /// Times and rates.
    pub settings: Settings,
    /// Sessions of the gateway.
    pub gateway: Gateway,
    /// Interactions under way and lately over.
    pub interactions: Interactions,
    /// Rate limits.
    pub limits: Limits,
    /// Faults.
    pub faults: Faults,
    /// Counters.
    pub counters: Counters,
    /// What the bot sent.
    pub recorder: Recorder,
    /// Where files are served: `http://127.0.0.1:PORT`.
    pub base: String,
    /// REST requests being handled.
    pub in_flight: usize,
    /// When something was last sent or received.
    pub last_traffic: Instant,
    /// The last change.
    pub seq: u64,
    /// Where the page listens.
    pub changes: broadcast::Sender<Arc<(u64, String)>>,
    /// Woken at each change: the snapshot and whoever waits.
    pub changed: Arc<Notify>,
    marks: BTreeSet<String>,
}

impl State {
    /// The start of everything.
    pub fn new(workspace: Workspace, world: World, recorder: Recorder, base: String) -> State {
        let all = world.channels.values().flat_map(|channel| channel.messages.values());
        let mut known = BTreeSet::new();
        let mut counters = Counters::default();
        for message in all.filter(|message| message.author_id == world.bot_id) {
            let again = marks(message).into_iter().filter(|mark| !known.insert(mark.clone())).count();
            counters.doubled += u64::from(again > 0);
        }
        // A phone that still says "rang 7 times" would belie a sum that begins at 0.
        for (member, phone) in world.phones.iter().filter(|(_, phone)| phone.pings > 0) {
            counters.pings += phone.pings;
            if let Some(member) = world.members.get(member) {
                counters.pings_by_member.insert(member.username.clone(), phone.pings);
            }
        }
        State {
            settings: workspace.settings.clone(),
            marks: known,
            world,
            workspace,
            gateway: Gateway::default(),
            interactions: Interactions::default(),
            limits: Limits::default(),
            faults: Faults::default(),
            counters,
            recorder,
            base,
            in_flight: 0,
            last_traffic: Instant::now(),
            seq: 0,
            changes: broadcast::Sender::new(CHANGES_BEHIND_MAX),
            changed: Arc::new(Notify::new()),
        }
    }

    /// Tells the page of a change.
    pub fn change(&mut self, kind: &str, mut data: Value) {
        self.seq += 1;
        data["seq"] = json!(self.seq);
        data["kind"] = json!(kind);
        // Nobody listening is fine.
        let _ = self.changes.send(Arc::new((self.seq, data.to_string())));
        self.changed.notify_waiters();
    }

    /// Bits that the bot has in a channel, faults taken off.
    pub fn bot_permissions(&self, channel: Id) -> u64 {
        let place = self.world.permission_place(channel);
        let denied = self.faults.denied(channel) | self.faults.denied(place);
        self.world.permissions(self.world.bot_id) & !denied
    }

    /// Posts a finished message: pings, phones, gateway, page.
    pub fn post(&mut self, mut message: Message) -> Id {
        let id = message.id;
        // A notice of the system, such as "pinned a message", is none that the bot wrote.
        let notice = matches!(message.kind, kind::PINNED | kind::THREAD_CREATED);
        let by_bot = message.author_id == self.world.bot_id && !notice;
        let rings = mentions::rings(&self.world, &message);
        message.pings.rung = rings.iter().map(|(member, _)| *member).collect();
        if by_bot {
            self.counters.messages += 1;
            // All are remembered, and a message that is known by several is doubled once.
            let known = marks(&message).into_iter().filter(|mark| !self.marks.insert(mark.clone())).count();
            self.counters.doubled += u64::from(known > 0);
        }
        self.world.insert_message(message.clone());
        self.tell_message("MESSAGE_CREATE", "message", &message);
        self.ring(&message, rings);
        id
    }

    /// Puts a deferred answer's words in place of its "is thinking".
    pub fn fill(&mut self, mut message: Message) -> Message {
        let rings = mentions::rings(&self.world, &message);
        message.pings.rung = rings.iter().map(|(member, _)| *member).collect();
        if let Some(standing) = self.world.message_mut(message.id) {
            *standing = message.clone();
        }
        self.tell_message("MESSAGE_UPDATE", "message_edit", &message);
        self.ring(&message, rings);
        message
    }

    /// Rings phones for a message.
    fn ring(&mut self, message: &Message, rings: Vec<(Id, Why)>) {
        for (member, why) in rings {
            let notification_id = self.world.ids.next();
            let notification = Notification::of(&self.world, notification_id, message, why);
            let Some(phone) = self.world.phones.get_mut(&member) else { continue };
            phone.ring(notification.clone());
            let pings = phone.pings;
            self.counters.pings += 1;
            if let Some(member) = self.world.members.get(&member) {
                *self.counters.pings_by_member.entry(member.username.clone()).or_default() += 1;
            }
            let data = json!({"member_id": member, "notification": notification.view(), "pings": pings});
            self.change("notification", data);
        }
    }

    /// Changes a message that stands; `true` for an edit of what it says.
    pub fn edit(&mut self, id: Id, says: bool, change: impl FnOnce(&mut Message)) -> Option<Message> {
        let message = self.world.message_mut(id)?;
        change(message);
        if says {
            message.edits += 1;
            message.edited_at = Some(now());
        }
        let message = message.clone();
        self.counters.edits += u64::from(says && message.author_id == self.world.bot_id);
        self.tell_message("MESSAGE_UPDATE", "message_edit", &message);
        Some(message)
    }

    /// Takes a message away. A thread that started from it stays, as in Discord.
    pub fn delete(&mut self, channel: Id, id: Id) -> bool {
        let Some(message) = self.world.channels.get_mut(&channel).and_then(|channel| channel.messages.remove(&id))
        else {
            return false;
        };
        for mark in marks(&message) {
            self.marks.remove(&mark);
        }
        self.counters.deletes += 1;
        let mut data = json!({"id": id, "channel_id": channel});
        let in_guild = self.world.channels.get(&channel).is_some_and(|channel| channel.kind != DM);
        if in_guild {
            data["guild_id"] = json!(self.world.guild_id);
        }
        if message.ephemeral_for.is_none() {
            let intent = if in_guild { gateway::GUILD_MESSAGES } else { gateway::DIRECT_MESSAGES };
            self.dispatch("MESSAGE_DELETE", intent, data);
        }
        self.change("message_delete", json!({"channel_id": channel, "message_id": id}));
        true
    }

    /// Tells of a message, to the bot and to the page.
    fn tell_message(&mut self, event: &str, kind: &str, message: &Message) {
        let in_guild = self.world.channels.get(&message.channel_id).is_none_or(|channel| channel.kind != DM);
        // A message that only one member sees is told to nobody else's session.
        if message.ephemeral_for.is_none() {
            let is_new = event == "MESSAGE_CREATE";
            let wire = if is_new { Message::wire_new } else { Message::wire };
            let mut data = wire(message, &self.world, &self.base);
            if in_guild {
                data["guild_id"] = json!(self.world.guild_id);
                if let Some(author) = self.world.members.get(&message.author_id) {
                    let mut member = wire::member(author);
                    if let Some(member) = member.as_object_mut() {
                        member.remove("user");
                    }
                    data["member"] = member;
                }
            }
            let intent = if in_guild { gateway::GUILD_MESSAGES } else { gateway::DIRECT_MESSAGES };
            self.dispatch(event, intent, data);
        }
        let data = json!({"channel_id": message.channel_id, "message": view::message(self, message)});
        self.change(kind, data);
    }

    /// Tells of a channel or thread that is new or other.
    pub fn tell_channel(&mut self, id: Id, is_new: bool) {
        let Some(channel) = self.world.channels.get(&id) else { return };
        let event = match (channel.thread.is_some(), is_new) {
            (true, true) => "THREAD_CREATE",
            (true, false) => "THREAD_UPDATE",
            (false, true) => "CHANNEL_CREATE",
            (false, false) => "CHANNEL_UPDATE",
        };
        let in_guild = channel.in_guild();
        let mut data = wire::channel(&self.world, channel);
        if is_new && channel.thread.is_some() {
            data["newly_created"] = json!(true);
        }
        let seen = view::channel(&self.world, channel);
        if in_guild {
            self.dispatch(event, gateway::GUILDS, data);
        }
        self.change("channel", json!({"channel": seen}));
    }

    /// Takes a channel away, with its threads.
    pub fn delete_channel(&mut self, id: Id) -> Option<Value> {
        let threads: Vec<Id> = self.world.threads(Some(id)).map(|thread| thread.id).collect();
        for thread in threads {
            self.delete_channel(thread);
        }
        let channel = self.world.channels.get(&id)?;
        let data = wire::channel(&self.world, channel);
        let (event, told) = match channel.thread {
            Some(_) => {
                let parent = channel.parent;
                let kind = channel.kind;
                let guild = self.world.guild_id;
                ("THREAD_DELETE", json!({"id": id, "guild_id": guild, "parent_id": parent, "type": kind}))
            }
            None => ("CHANNEL_DELETE", data.clone()),
        };
        self.world.channels.remove(&id);
        if let Some(starter) = self.world.message_mut(id) {
            starter.flags &= !HAS_THREAD;
        }
        self.dispatch(event, gateway::GUILDS, told);
        self.change("channel_delete", json!({"channel_id": id}));
        Some(data)
    }

    /// Archives or unarchives a thread and tells of it.
    pub fn archive(&mut self, id: Id, archived: bool) {
        let Some(thread) = self.world.channels.get_mut(&id).and_then(|channel| channel.thread.as_mut()) else { return };
        if thread.archived != archived {
            thread.archived = archived;
            thread.archive_changed_at = now();
            self.tell_channel(id, false);
        }
    }

    /// Sends an event to every session that wants it.
    pub fn dispatch(&mut self, event: &str, intent: u64, data: Value) {
        self.last_traffic = Instant::now();
        self.gateway.dispatch(event, intent, data, &mut self.faults, self.world.bot_id);
    }

    /// Tells the page of the faults that are set.
    pub fn tell_faults(&mut self) {
        let faults = self.faults.view();
        self.change("faults", json!({"faults": faults}));
    }

    /// Back to the workspace that it was started with. Connections and counters of the gateway stay.
    pub fn reset(&mut self) {
        let commands = std::mem::take(&mut self.world.commands);
        self.world = World::new(&self.workspace);
        self.world.commands = commands;
        self.marks.clear();
        self.faults.clear_all();
        self.limits.clear();
        self.interactions = Interactions::default();
        self.settings = self.workspace.settings.clone();
        self.counters = Counters::default();
        self.change("reset", json!({}));
        self.gateway.invalidate(false);
    }

    /// A member's phone.
    pub fn phone(&self, member: Id) -> Option<Value> {
        Phone::view(&self.world, member)
    }
}

/// What stands before a message's own mark, in the last part of a footer or in a last small line.
const MARKS: [&str; 2] = ["ref ", "mark:"];

/// By what a message of the bot is known to be the same as another.
fn marks(message: &Message) -> Vec<String> {
    let marked = |text: &str| {
        let last = text.rsplit(" · ").next()?;
        let mark = MARKS.iter().find_map(|before| last.strip_prefix(before))?;
        Some(format!("{}:{}", message.channel_id, mark.trim()))
    };
    let nonce = message.nonce.as_ref().map(|nonce| format!("{}:{}", message.channel_id, nonce));
    let footers = message.embeds.iter().filter_map(|embed| embed["footer"]["text"].as_str()).filter_map(marked);
    let small_print = message.content.lines().last().and_then(|line| line.strip_prefix("-# ")).and_then(marked);
    nonce.into_iter().chain(footers).chain(small_print).collect()
}
