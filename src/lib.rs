//! Watchbell: an incident bot that keeps a team's promises and acts on its machines.
//!
//! The floors, from the ground up; each may look only at those before it (tests/tidy.rs and the feature `shell` prove it):
//!
//! 1. [`domain`]: what is decided. No I/O, no clock, no async.
//! 2. [`commands`]: the slash commands, one file each; they parse and word, the domain decides.
//! 3. [`ports`]: the doors to the neighbours.
//! 4. `adapters`: the neighbours, one folder each.
//! 5. `shell`: the one loop and the wiring.
//!
//! Beside them stands `sim`: local stand-ins for Discord and Fly that share no type with the floors above.

#[path = "../commands/mod.rs"]
pub mod commands;
pub mod domain;
pub mod ports;

#[cfg(feature = "shell")]
pub mod adapters;
#[cfg(feature = "shell")]
pub mod shell;
#[cfg(feature = "sim")]
pub mod sim;
