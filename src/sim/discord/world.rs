//! What stands in the guild: channels, threads, messages, roles, members, commands. Data and look-ups; saved as JSON.
//!
//! Knows nothing of requests, connections or limits; see `rest`, `gateway`, `limits`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{Id, Ids, now};
use super::message::Message;
use super::permissions::{self, ADMINISTRATOR, ALL, VIEW_CHANNEL};
use super::phone::Phone;
use super::workspace::{ChannelKind, Workspace};

/// Discord's channel type of a direct message.
pub const DM: u8 = 1;
/// Discord's channel type of a thread under an announcement channel.
pub const ANNOUNCEMENT_THREAD: u8 = 10;
/// Discord's channel type of a public thread.
pub const PUBLIC_THREAD: u8 = 11;
/// Discord's channel type of a private thread.
pub const PRIVATE_THREAD: u8 = 12;

/// Attached files kept, over all messages; the oldest go first.
const FILES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages kept in one channel; the oldest go first.
const MESSAGES_IN_CHANNEL_MAX: usize = 20_000;

/// Colours for people's names, in the order of the list.
const NAME_COLORS: &[u32] = &[0x3e8ed0, 0xd0743e, 0x4aa564, 0xa561c7, 0xc2487d, 0x2f9e9e, 0x9a8b2d, 0x6b6fd6];

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Equal to the guild's id for @everyone.
    pub id: Id,
    /// Name.
    pub name: String,
    /// 0xRRGGBB.
    pub color: u32,
    /// Whether everybody may mention it.
    pub mentionable: bool,
    /// Bits.
    pub permissions: u64,
    /// 0 is the lowest.
    pub position: usize,
    /// The bot's own role.
    pub managed: bool,
}

/// A member, people and the bot alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The user's id.
    pub id: Id,
    /// Unique name.
    pub username: String,
    /// What people see.
    pub display_name: String,
    /// Whether it is the bot.
    pub bot: bool,
    /// Roles but @everyone.
    pub roles: Vec<Id>,
    /// Shown on the page only.
    pub asleep: bool,
    /// Refuses direct messages.
    pub dms_closed: bool,
    /// 0xRRGGBB of the name.
    pub color: u32,
    /// Since when.
    pub joined_at: DateTime<Utc>,
}

/// What makes a channel a thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thread {
    /// Who started it.
    pub owner: Id,
    /// Archived: read only until somebody posts or unarchives it.
    pub archived: bool,
    /// Locked: only moderators may unarchive it.
    pub locked: bool,
    /// When `archived` changed last.
    pub archive_changed_at: DateTime<Utc>,
    /// 60, 1440, 4320 or 10080.
    pub auto_archive_minutes: u32,
    /// Messages ever sent in it.
    pub total_sent: u64,
    /// Who follows it.
    pub members: Vec<Id>,
    /// Whether it started from a message, which then has its id.
    pub from_message: bool,
}

/// A channel, thread or direct message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Id.
    pub id: Id,
    /// Discord's type number.
    pub kind: u8,
    /// Name; empty for a direct message.
    pub name: String,
    /// Topic.
    pub topic: Option<String>,
    /// Order in the list.
    pub position: usize,
    /// The category, or a thread's channel.
    pub parent: Option<Id>,
    /// Set for threads.
    pub thread: Option<Thread>,
    /// Both ends of a direct message.
    pub recipients: Vec<Id>,
    /// The newest message ever, also after it was deleted.
    pub last_message: Option<Id>,
    /// All that stand.
    pub messages: BTreeMap<Id, Message>,
}

impl Channel {
    /// Whether it is in the guild.
    pub fn in_guild(&self) -> bool {
        self.kind != DM
    }

    /// Whether messages can stand in it.
    pub fn takes_messages(&self) -> bool {
        !matches!(self.kind, 4 | 15)
    }

    /// Whether it is an archived thread.
    pub fn archived(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.archived)
    }

    /// Whether it is a locked thread.
    pub fn locked(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.locked)
    }
}

/// A registered command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Id.
    pub id: Id,
    /// Changes with each change.
    pub version: Id,
    /// In this guild, or everywhere.
    pub guild: bool,
    /// 1 slash, 2 user, 3 message.
    pub kind: u8,
    /// Name.
    pub name: String,
    /// The whole as it was registered.
    pub form: Value,
}

/// An attached file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredFile {
    /// As uploaded.
    pub filename: String,
    /// As uploaded, or guessed from the name.
    pub content_type: String,
    /// What it holds, in base64 on disk.
    #[serde(with = "base64_bytes")]
    pub bytes: Vec<u8>,
}

/// The guild and all in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct World {
    /// Ids.
    pub ids: Ids,
    /// The guild; also the id of @everyone.
    pub guild_id: Id,
    /// Its name.
    pub guild_name: String,
    /// The guild's owner: the last person of the list.
    pub owner_id: Id,
    /// The application.
    pub application_id: Id,
    /// The bot user.
    pub bot_id: Id,
    /// All channels, threads and direct messages.
    pub channels: BTreeMap<Id, Channel>,
    /// All roles.
    pub roles: BTreeMap<Id, Role>,
    /// All members.
    pub members: BTreeMap<Id, Member>,
    /// Registered commands.
    pub commands: Vec<Command>,
    /// A phone for each person.
    pub phones: BTreeMap<Id, Phone>,
    /// Attached files.
    pub files: BTreeMap<Id, StoredFile>,
}

impl World {
    /// The guild as a workspace describes it.
    pub fn new(workspace: &Workspace) -> World {
        let mut ids = Ids::default();
        let mut make = |fixed: Option<u64>| fixed.map_or_else(|| ids.next(), Id);
        let guild_id = make(workspace.guild_id);
        let bot_id = Id(workspace.application_id);
        let everyone = Role {
            id: guild_id,
            name: "@everyone".to_owned(),
            color: 0,
            mentionable: false,
            permissions: permissions::EVERYONE,
            position: 0,
            managed: false,
        };
        let mut roles = BTreeMap::from([(guild_id, everyone)]);
        for (index, seed) in workspace.roles.iter().enumerate() {
            let role = Role {
                id: make(seed.id),
                name: seed.name.clone(),
                color: NAME_COLORS.get(index % NAME_COLORS.len()).copied().unwrap_or_default(),
                mentionable: seed.mentionable,
                permissions: seed.permissions,
                position: index + 1,
                managed: false,
            };
            roles.insert(role.id, role);
        }
        let bot_role = Role {
            id: make(None),
            name: workspace.bot_name.clone(),
            color: 0,
            mentionable: false,
            permissions: workspace.bot_permissions.unwrap_or(permissions::BOT),
            position: roles.len(),
            managed: true,
        };
        let mut members = BTreeMap::new();
        for (index, seed) in workspace.members.iter().enumerate() {
            let has = |role: &&Role| seed.roles.contains(&role.name);
            let member = Member {
                id: make(seed.id),
                username: seed.username.clone(),
                display_name: seed.display_name.clone(),
                bot: false,
                roles: roles.values().filter(has).map(|role| role.id).collect(),
                asleep: seed.asleep,
                dms_closed: seed.dms_closed,
                color: NAME_COLORS.get(index % NAME_COLORS.len()).copied().unwrap_or_default(),
                joined_at: now(),
            };
            members.insert(member.id, member);
        }
        let owner_id = members.keys().next_back().copied().unwrap_or(bot_id);
        let phones = members.keys().map(|&id| (id, Phone::default())).collect();
        let bot = Member {
            id: bot_id,
            username: workspace.bot_name.to_lowercase(),
            display_name: workspace.bot_name.clone(),
            bot: true,
            roles: vec![bot_role.id],
            asleep: false,
            dms_closed: false,
            color: 0xb8860b,
            joined_at: now(),
        };
        members.insert(bot_id, bot);
        roles.insert(bot_role.id, bot_role);
        let mut channels = BTreeMap::new();
        for (position, seed) in workspace.channels.iter().enumerate() {
            let id = make(seed.id);
            let channel =
                Channel { topic: seed.topic.clone(), position, ..Channel::new(id, seed.kind.number(), &seed.name) };
            channels.insert(id, channel);
        }
        World {
            ids,
            guild_id,
            guild_name: workspace.guild_name.clone(),
            owner_id,
            application_id: Id(workspace.application_id),
            bot_id,
            channels,
            roles,
            members,
            commands: Vec::new(),
            phones,
            files: BTreeMap::new(),
        }
    }

    /// Adds a channel to the end of the list.
    pub fn add_channel(&mut self, kind: ChannelKind, name: &str, parent: Option<Id>) -> Id {
        let id = self.ids.next();
        let position = self.channels.values().filter(|channel| channel.thread.is_none()).count();
        let channel = Channel { position, parent, ..Channel::new(id, kind.number(), name) };
        self.channels.insert(id, channel);
        id
    }

    /// The direct messages of these two, opened when they were not.
    pub fn open_dm(&mut self, a: Id, b: Id) -> Id {
        let has = |channel: &&Channel| channel.kind == DM && channel.recipients == [a, b];
        if let Some(channel) = self.channels.values().find(has) {
            return channel.id;
        }
        let id = self.ids.next();
        self.channels.insert(id, Channel { recipients: vec![a, b], ..Channel::new(id, DM, "") });
        id
    }

    /// A message, wherever it stands.
    pub fn message(&self, id: Id) -> Option<&Message> {
        self.channels.values().find_map(|channel| channel.messages.get(&id))
    }

    /// The same, to be changed.
    pub fn message_mut(&mut self, id: Id) -> Option<&mut Message> {
        self.channels.values_mut().find_map(|channel| channel.messages.get_mut(&id))
    }

    /// Puts a message into its channel.
    pub fn insert_message(&mut self, message: Message) {
        let Some(channel) = self.channels.get_mut(&message.channel_id) else { return };
        if message.ephemeral_for.is_none() {
            channel.last_message = Some(message.id);
            if let Some(thread) = &mut channel.thread {
                thread.total_sent += 1;
                if !thread.members.contains(&message.author_id) {
                    thread.members.push(message.author_id);
                }
            }
        }
        channel.messages.insert(message.id, message);
        if channel.messages.len() > MESSAGES_IN_CHANNEL_MAX {
            channel.messages.pop_first();
        }
    }

    /// Keeps an attached file, dropping the oldest when there are too many.
    pub fn store_file(&mut self, id: Id, file: StoredFile) {
        self.files.insert(id, file);
        let mut total: usize = self.files.values().map(|file| file.bytes.len()).sum();
        while total > FILES_BYTES_MAX && self.files.len() > 1 {
            total -= self.files.pop_first().map_or(0, |(_, file)| file.bytes.len());
        }
    }

    /// Threads under a channel, or of the whole guild.
    pub fn threads(&self, parent: Option<Id>) -> impl Iterator<Item = &Channel> {
        self.channels
            .values()
            .filter(move |channel| channel.thread.is_some() && (parent.is_none() || channel.parent == parent))
    }

    /// What a member may do everywhere, before faults.
    pub fn permissions(&self, member: Id) -> u64 {
        let everyone = self.roles.get(&self.guild_id).map_or(0, |role| role.permissions);
        let Some(member) = self.members.get(&member) else { return 0 };
        let own = member.roles.iter().filter_map(|role| self.roles.get(role)).map(|role| role.permissions);
        let bits = own.fold(everyone, |bits, more| bits | more);
        if bits & ADMINISTRATOR != 0 || member.id == self.owner_id { ALL } else { bits }
    }

    /// The channel whose permissions count: a thread has its channel's.
    pub fn permission_place(&self, channel: Id) -> Id {
        match self.channels.get(&channel) {
            Some(Channel { thread: Some(_), parent: Some(parent), .. }) => *parent,
            _ => channel,
        }
    }

    /// A role's name, a person's name or a channel's, for plain words.
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        let name = name.trim_start_matches('@');
        let by_id = Id::parse(name).and_then(|id| self.members.get(&id));
        by_id
            .or_else(|| self.members.values().find(|member| member.username.eq_ignore_ascii_case(name)))
            .or_else(|| self.members.values().find(|member| member.display_name.eq_ignore_ascii_case(name)))
    }

    /// A role by id or name.
    pub fn role_named(&self, name: &str) -> Option<&Role> {
        let name = name.trim_start_matches('@');
        let by_id = Id::parse(name).and_then(|id| self.roles.get(&id));
        by_id.or_else(|| self.roles.values().find(|role| role.name.eq_ignore_ascii_case(name)))
    }

    /// A channel by id or name; of threads with one name the newest.
    pub fn channel_named(&self, name: &str) -> Option<&Channel> {
        let name = name.trim_start_matches('#');
        let by_id = Id::parse(name).and_then(|id| self.channels.get(&id));
        let named = |channel: &&Channel| channel.in_guild() && channel.name.eq_ignore_ascii_case(name);
        by_id
            .or_else(|| self.channels.values().filter(|channel| channel.thread.is_none()).find(named))
            .or_else(|| self.channels.values().rev().find(named))
    }
}

impl Channel {
    /// An empty channel.
    pub fn new(id: Id, kind: u8, name: &str) -> Channel {
        Channel {
            id,
            kind,
            name: name.to_owned(),
            topic: None,
            position: 0,
            parent: None,
            thread: None,
            recipients: Vec::new(),
            last_message: None,
            messages: BTreeMap::new(),
        }
    }
}

/// Whether these bits let a member see a channel at all.
pub fn sees(bits: u64) -> bool {
    bits & VIEW_CHANNEL != 0
}

/// Bytes as base64 in JSON.
mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
