//! Permission bits by name, and who has which. From Discord's document on permissions.

macro_rules! bits {
    ($($name:ident = $bit:literal),* $(,)?) => {
        $(#[doc = concat!("`1 << ", stringify!($bit), "`.")] pub const $name: u64 = 1 << $bit;)*
        /// Every bit that this stand-in knows, by its documented name.
        pub const NAMES: &[(&str, u64)] = &[$((stringify!($name), $name)),*];
    };
}

bits! {
    KICK_MEMBERS = 1, BAN_MEMBERS = 2, ADMINISTRATOR = 3, MANAGE_CHANNELS = 4, MANAGE_GUILD = 5, ADD_REACTIONS = 6,
    VIEW_CHANNEL = 10, SEND_MESSAGES = 11, SEND_TTS_MESSAGES = 12, MANAGE_MESSAGES = 13, EMBED_LINKS = 14,
    ATTACH_FILES = 15, READ_MESSAGE_HISTORY = 16, MENTION_EVERYONE = 17, USE_EXTERNAL_EMOJIS = 18,
    CHANGE_NICKNAME = 26, MANAGE_ROLES = 28, MANAGE_WEBHOOKS = 29, USE_APPLICATION_COMMANDS = 31,
    MANAGE_EVENTS = 33, MANAGE_THREADS = 34, CREATE_PUBLIC_THREADS = 35, CREATE_PRIVATE_THREADS = 36,
    SEND_MESSAGES_IN_THREADS = 38, PIN_MESSAGES = 51,
}

/// What everybody may by default.
pub const EVERYONE: u64 = VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | ADD_REACTIONS
    | USE_EXTERNAL_EMOJIS
    | CHANGE_NICKNAME
    | USE_APPLICATION_COMMANDS
    | CREATE_PUBLIC_THREADS
    | SEND_MESSAGES_IN_THREADS;

/// What the bot's own role adds by default: what an incident bot asks for in its invitation.
pub const BOT: u64 = EVERYONE | MENTION_EVERYONE | MANAGE_MESSAGES | MANAGE_THREADS | PIN_MESSAGES | MANAGE_CHANNELS;

/// All bits, which is what ADMINISTRATOR means.
pub const ALL: u64 = (1 << 53) - 1;

/// The bit of a documented name.
pub fn bit(name: &str) -> Option<u64> {
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, bit)| *bit)
}
