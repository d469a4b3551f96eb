//! What a local Discord starts with: one guild, its people, and the limits of the wire. Plain data from the caller.

use serde::{Deserialize, Serialize};

/// Kind of a guild channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// A text channel (Discord's type 0).
    #[default]
    Text,
    /// A voice channel (2).
    Voice,
    /// A category (4).
    Category,
    /// An announcement channel (5).
    Announcement,
    /// A forum (15).
    Forum,
}

impl ChannelKind {
    /// Discord's number for it.
    pub fn number(self) -> u8 {
        match self {
            ChannelKind::Text => 0,
            ChannelKind::Voice => 2,
            ChannelKind::Category => 4,
            ChannelKind::Announcement => 5,
            ChannelKind::Forum => 15,
        }
    }
}

/// A channel to start with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChannelSeed {
    /// Its name, without `#`.
    pub name: String,
    /// Its kind.
    #[serde(default)]
    pub kind: ChannelKind,
    /// A fixed id; without one it gets the next snowflake.
    #[serde(default)]
    pub id: Option<u64>,
    /// Its topic.
    #[serde(default)]
    pub topic: Option<String>,
}

/// A role to start with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RoleSeed {
    /// Its name.
    pub name: String,
    /// A fixed id.
    #[serde(default)]
    pub id: Option<u64>,
    /// Whether everybody may mention it; the bot may anyhow when it has MENTION_EVERYONE.
    #[serde(default)]
    pub mentionable: bool,
    /// Permission bits beyond @everyone's.
    #[serde(default)]
    pub permissions: u64,
}

/// A person to start with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemberSeed {
    /// The unique name.
    pub username: String,
    /// What people see.
    pub display_name: String,
    /// Names of roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The person sleeps: the page shows the phone in the dark. Nothing else depends on it.
    #[serde(default)]
    pub asleep: bool,
    /// Direct messages from the bot are refused (50007).
    #[serde(default)]
    pub dms_closed: bool,
    /// A fixed id.
    #[serde(default)]
    pub id: Option<u64>,
}

/// The times and rates of the wire. All can be changed while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long an interaction waits for its first answer. Discord: 3 s.
    pub respond_within_ms: u64,
    /// How long an interaction's token lives. Discord: 15 min.
    pub token_lives_ms: u64,
    /// How long `enforce_nonce` remembers. Undocumented: Discord says "the past few minutes".
    pub nonce_window_ms: u64,
    /// The gateway's heartbeat interval.
    pub heartbeat_ms: u64,
    /// Messages a channel and window. Undocumented: 5 in 5 s is what bots see; the documents say to read the headers.
    pub messages_per_window: u32,
    /// The window of the limit above.
    pub window_ms: u64,
    /// Requests a second over all routes but interactions. Discord: 50.
    pub global_per_second: u32,
    /// New names and topics a channel in ten minutes. Undocumented: bots see 2. Off by default.
    pub renames_per_ten_minutes: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            respond_within_ms: 3_000,
            token_lives_ms: 15 * 60 * 1_000,
            nonce_window_ms: 120_000,
            heartbeat_ms: 41_250,
            messages_per_window: 5,
            window_ms: 5_000,
            global_per_second: 50,
            renames_per_ten_minutes: None,
        }
    }
}

/// Everything a local Discord starts with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// The guild's name.
    pub guild_name: String,
    /// A fixed guild id.
    #[serde(default)]
    pub guild_id: Option<u64>,
    /// The application's id; the bot user has the same one, as Discord's newer applications have.
    pub application_id: u64,
    /// The bot's display name.
    pub bot_name: String,
    /// The token that the bot must show. Local and worthless by design.
    pub bot_token: String,
    /// Privileged intents that are switched on for the application: `1<<1` members, `1<<8` presences, `1<<15` content.
    #[serde(default)]
    pub privileged_intents: u64,
    /// Permission bits of the bot's own role. `None`: what an incident bot is usually given.
    #[serde(default)]
    pub bot_permissions: Option<u64>,
    /// Channels in their order.
    pub channels: Vec<ChannelSeed>,
    /// Roles from the lowest to the highest.
    pub roles: Vec<RoleSeed>,
    /// People.
    pub members: Vec<MemberSeed>,
    /// Times and rates.
    #[serde(default)]
    pub settings: Settings,
}

impl Workspace {
    /// A small team for tests: five channels, six roles, five people.
    pub fn example() -> Workspace {
        let channel = |name: &str| ChannelSeed { name: name.to_owned(), ..ChannelSeed::default() };
        let role = |name: &str| RoleSeed { name: name.to_owned(), mentionable: true, ..RoleSeed::default() };
        let member = |username: &str, display_name: &str, roles: &[&str]| MemberSeed {
            username: username.to_owned(),
            display_name: display_name.to_owned(),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            ..MemberSeed::default()
        };
        let mut deploys = channel("deploys");
        deploys.topic = Some("What goes out, and what came of it".to_owned());
        let announcements = ChannelSeed { kind: ChannelKind::Announcement, ..channel("announcements") };
        Workspace {
            guild_name: "Example Team".to_owned(),
            guild_id: None,
            application_id: 1_100_000_000_000_000_001,
            bot_name: "Watchbell".to_owned(),
            bot_token: "local.bot.token".to_owned(),
            privileged_intents: 0,
            bot_permissions: None,
            channels: vec![channel("incidents"), channel("incidents-test"), deploys, announcements, channel("general")],
            roles: ["on-call", "responder", "lead", "deployer", "approver", "admin"].map(role).to_vec(),
            members: vec![
                member("ana", "Ana", &["on-call", "responder", "lead", "deployer"]),
                member("ben", "Ben", &["responder", "deployer", "approver"]),
                member("carol", "Carol", &["responder", "lead"]),
                member("dmitri", "Dmitri", &[]),
                member("mia", "Mia (manager)", &["approver", "admin"]),
            ],
            settings: Settings::default(),
        }
    }
}
