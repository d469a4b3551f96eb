//! The lock screen of each person's phone: what would have lit it up, in the words that it would show.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::{Id, stamp};
use super::mentions::{Why, lock_screen_line};
use super::message::Message;
use super::world::World;

/// Notifications that stay on a lock screen.
const NOTIFICATIONS_MAX: usize = 200;

/// One notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// Id.
    pub id: Id,
    /// Of what.
    pub message_id: Id,
    /// Where.
    pub channel_id: Id,
    /// Who wrote where.
    pub title: String,
    /// The first characters of the plain content.
    pub line: String,
    /// The content as it was written, for a screen that shows times in its owner's zone.
    #[serde(default)]
    pub content: String,
    /// When.
    pub at: DateTime<Utc>,
    /// `mention`, `role`, `everyone` or `dm`.
    pub why: String,
    /// The role's name.
    pub via: Option<String>,
}

/// A phone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Phone {
    /// Newest last.
    pub notifications: VecDeque<Notification>,
    /// How often it rang, also for what was swiped away.
    pub pings: u64,
}

impl Phone {
    /// Rings.
    pub fn ring(&mut self, notification: Notification) {
        self.pings += 1;
        self.notifications.push_back(notification);
        if self.notifications.len() > NOTIFICATIONS_MAX {
            self.notifications.pop_front();
        }
    }

    /// As the control API shows it; `None` when the member is unknown.
    pub fn view(world: &World, member_id: Id) -> Option<Value> {
        let member = world.members.get(&member_id)?;
        let phone = world.phones.get(&member_id)?;
        let notifications: Vec<Value> = phone.notifications.iter().rev().map(Notification::view).collect();
        Some(json!({
            "member_id": member_id, "username": member.username, "asleep": member.asleep, "pings": phone.pings,
            "notifications": notifications,
        }))
    }
}

impl Notification {
    /// The notification of a message.
    pub fn of(world: &World, id: Id, message: &Message, why: Why) -> Notification {
        let author = world.members.get(&message.author_id).map_or("", |author| &author.display_name);
        let channel = world.channels.get(&message.channel_id);
        let title = match channel {
            Some(channel) if channel.in_guild() => format!("{author} (#{})", channel.name),
            _ => author.to_owned(),
        };
        let (why, via) = match why {
            Why::Mention => ("mention", None),
            Why::Role(role) => ("role", world.roles.get(&role).map(|role| role.name.clone())),
            Why::Everyone => ("everyone", None),
            Why::Direct => ("dm", None),
        };
        Notification {
            id,
            message_id: message.id,
            channel_id: message.channel_id,
            title,
            line: lock_screen_line(world, message),
            content: message.content.clone(),
            at: message.at,
            why: why.to_owned(),
            via,
        }
    }

    /// As the control API shows it.
    pub fn view(&self) -> Value {
        let mut out = json!({
            "id": self.id, "message_id": self.message_id, "channel_id": self.channel_id, "title": self.title,
            "line": self.line, "content": self.content, "at": stamp(self.at), "why": self.why,
        });
        if let Some(via) = &self.via {
            out["via"] = json!(via);
        }
        out
    }
}
