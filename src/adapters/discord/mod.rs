//! Discord: what people type and press comes in over the gateway, everything that the bot says goes out over our own lane.
//!
//! Owns the only code that knows Discord's ids, markup and limits. Decides nothing about incidents; keeps nothing over a restart.
//!
//! Read in this order: `compose` (a message as Discord has it), `read` (what people typed), `chat` (posts and threads),
//! `gateway` (what happens), `reply` (the one answer to a press, in time), `register` (the list of commands), `lane` (the way out).

mod chat;
mod compose;
mod directory;
mod escape;
mod gateway;
pub mod incoming;
pub mod lane;
mod link;
mod pulse;
mod read;
mod register;
mod reply;

use serde_json::Value;

pub use chat::DiscordChat;
pub use compose::{Composed, LIMITS, Sound, choices, form, new_message};
pub use directory::{Directory, SharedDirectory};
pub use gateway::{Completions, Gateway, GatewayOptions, Inbound};
pub use link::Link;
pub use read::{parse_text, read_back, read_message};
pub use register::{check_commands, commands_body, register};
pub use reply::{Reply, Undelivered, UndeliveredTo};

/// The prefix of this chat's people, places and inputs.
pub const PREFIX: &str = "discord";

/// An id as Discord has it (a snowflake, which is never 0), from one of ours. None for another chat's.
fn snowflake(ours: &str) -> Option<u64> {
    match ours.split_once(':') {
        Some((PREFIX, id)) => id.parse().ok(),
        Some(_) => None,
        None => ours.parse().ok(),
    }
    .filter(|id| *id != 0)
}

/// One of our ids, from Discord's.
fn ours(id: u64) -> String {
    format!("{PREFIX}:{id}")
}

/// An id in a JSON answer.
fn id_in(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_str()?.parse().ok().filter(|id| *id != 0)
}
