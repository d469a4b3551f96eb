//! One message, as Discord's wire shows it and as plain words.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::{Id, now, stamp};
use super::wire;
use super::world::World;

/// `SUPPRESS_EMBEDS`.
pub const SUPPRESS_EMBEDS: u64 = 1 << 2;
/// `HAS_THREAD`.
pub const HAS_THREAD: u64 = 1 << 5;
/// `EPHEMERAL`.
pub const EPHEMERAL: u64 = 1 << 6;
/// `LOADING`: a deferred answer.
pub const LOADING: u64 = 1 << 7;
/// `SUPPRESS_NOTIFICATIONS`: posted silently.
pub const SILENT: u64 = 1 << 12;
/// `IS_COMPONENTS_V2`.
pub const COMPONENTS_V2: u64 = 1 << 15;

/// Message types that appear here.
pub mod kind {
    /// Plain.
    pub const DEFAULT: u8 = 0;
    /// "pinned a message".
    pub const PINNED: u8 = 6;
    /// "started a thread", in the parent.
    pub const THREAD_CREATED: u8 = 18;
    /// A reply.
    pub const REPLY: u8 = 19;
    /// The answer to a slash command.
    pub const COMMAND: u8 = 20;
    /// The answer to a context-menu command.
    pub const CONTEXT_MENU: u8 = 23;
}

/// Who a message mentions so that it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pings {
    /// @everyone or @here.
    pub everyone: bool,
    /// People.
    pub users: Vec<Id>,
    /// Roles.
    pub roles: Vec<Id>,
    /// Whose phones got it, whatever the way.
    pub rung: Vec<Id>,
}

/// The command, press or form that a message answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The interaction.
    pub interaction_id: Id,
    /// Its wire type: 2 command, 3 component, 5 form.
    pub kind: u8,
    /// The command's name; empty for others.
    pub name: String,
    /// Who.
    pub user_id: Id,
}

/// An attached file's description; the bytes are in `World::files`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// Id, also of the file.
    pub id: Id,
    /// Name.
    pub filename: String,
    /// MIME type.
    pub content_type: String,
    /// Bytes.
    pub size: usize,
    /// Alt text.
    pub description: Option<String>,
}

/// A reaction and who gave it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji itself, or `name:id`.
    pub emoji: String,
    /// Who.
    pub members: Vec<Id>,
}

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Id.
    pub id: Id,
    /// Where.
    pub channel_id: Id,
    /// Who.
    pub author_id: Id,
    /// Discord's message type.
    pub kind: u8,
    /// Raw text.
    pub content: String,
    /// As received, with `type: "rich"`.
    pub embeds: Vec<Value>,
    /// As received, with numbers for ids.
    pub components: Vec<Value>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Bits.
    pub flags: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// When it was edited last.
    pub edited_at: Option<DateTime<Utc>>,
    /// How often.
    pub edits: u64,
    /// Since when it is pinned.
    pub pinned_at: Option<DateTime<Utc>>,
    /// Channel and message that it replies to.
    pub reference: Option<(Id, Option<Id>)>,
    /// As given.
    pub nonce: Option<Value>,
    /// Who is mentioned.
    pub pings: Pings,
    /// What it answers.
    pub origin: Option<Origin>,
    /// The only one who sees it.
    pub ephemeral_for: Option<Id>,
    /// Read aloud.
    pub tts: bool,
    /// Reactions.
    pub reactions: Vec<Reaction>,
}

impl Message {
    /// An empty message of now.
    pub fn new(id: Id, channel_id: Id, author_id: Id) -> Message {
        Message {
            id,
            channel_id,
            author_id,
            kind: kind::DEFAULT,
            content: String::new(),
            embeds: Vec::new(),
            components: Vec::new(),
            attachments: Vec::new(),
            flags: 0,
            at: now(),
            edited_at: None,
            edits: 0,
            pinned_at: None,
            reference: None,
            nonce: None,
            pings: Pings::default(),
            origin: None,
            ephemeral_for: None,
            tts: false,
            reactions: Vec::new(),
        }
    }

    /// Whether the bits are set.
    pub fn has(&self, bits: u64) -> bool {
        self.flags & bits != 0
    }

    /// The message as REST and gateway show it. `base` is the address that files are served under.
    pub fn wire(&self, world: &World, base: &str) -> Value {
        let mentions: Vec<Value> = self.pings.users.iter().filter_map(|&id| wire::user_by_id(world, id)).collect();
        let mut out = json!({
            "id": self.id, "channel_id": self.channel_id, "type": self.kind,
            "author": wire::user_by_id(world, self.author_id),
            "content": self.content, "timestamp": stamp(self.at),
            "edited_timestamp": self.edited_at.map(stamp),
            "tts": self.tts, "mention_everyone": self.pings.everyone,
            "mentions": mentions, "mention_roles": self.pings.roles,
            "attachments": self.attachments.iter().map(|file| self.attachment(file, base)).collect::<Vec<_>>(),
            "embeds": if self.has(SUPPRESS_EMBEDS) { json!([]) } else { json!(self.embeds) },
            "components": self.components, "pinned": self.pinned_at.is_some(),
            "flags": self.flags,
            "reactions": self.reactions.iter().map(|reaction| json!({
                "count": reaction.members.len(),
                "count_details": {"burst": 0, "normal": reaction.members.len()},
                "me": reaction.members.contains(&world.bot_id), "me_burst": false, "burst_colors": [],
                "emoji": {"id": null, "name": reaction.emoji},
            })).collect::<Vec<_>>(),
        });
        if let Some(origin) = &self.origin {
            out["webhook_id"] = json!(world.application_id);
            out["application_id"] = json!(world.application_id);
            let user = wire::user_by_id(world, origin.user_id);
            out["interaction_metadata"] = json!({
                "id": origin.interaction_id, "type": origin.kind, "user": user,
                "authorizing_integration_owners": {"0": world.guild_id},
            });
            if origin.kind == 2 {
                out["interaction"] =
                    json!({"id": origin.interaction_id, "type": origin.kind, "name": origin.name, "user": user});
            }
        }
        if let Some((channel, message)) = self.reference {
            out["message_reference"] = json!({"type": 0, "channel_id": channel, "guild_id": world.guild_id});
            if let Some(message) = message {
                out["message_reference"]["message_id"] = json!(message);
            }
            if self.kind == kind::REPLY {
                let target = message.and_then(|id| world.channels.get(&channel)?.messages.get(&id));
                out["referenced_message"] = target.map_or(Value::Null, |target| {
                    // One level deep, as Discord shows it.
                    let mut flat = target.clone();
                    flat.reference = None;
                    flat.wire(world, base)
                });
            }
        }
        if self.has(HAS_THREAD)
            && let Some(thread) = world.channels.get(&self.id)
        {
            out["thread"] = wire::channel(world, thread);
        }
        if let Some(thread) = world.channels.get(&self.channel_id).and_then(|channel| channel.thread.as_ref()) {
            out["position"] = json!(thread.total_sent.saturating_sub(1));
        }
        out
    }

    /// The message as its poster and the gateway are told of it when it is new: with its nonce.
    ///
    /// Undocumented: that a message which is read later comes without it. A bot that looked for its posts by nonce would
    /// find them here and not there, so reading never shows it.
    pub fn wire_new(&self, world: &World, base: &str) -> Value {
        let mut out = self.wire(world, base);
        if let Some(nonce) = &self.nonce {
            out["nonce"] = nonce.clone();
        }
        out
    }

    /// One attachment as the wire shows it.
    fn attachment(&self, file: &Attachment, base: &str) -> Value {
        let url = format!("{base}/attachments/{}/{}/{}", self.channel_id, file.id, file.filename);
        let mut out = json!({
            "id": file.id, "filename": file.filename, "size": file.size, "content_type": file.content_type,
            "url": url, "proxy_url": url, "ephemeral": self.ephemeral_for.is_some(),
        });
        if let Some(description) = &file.description {
            out["description"] = json!(description);
        }
        out
    }
}
