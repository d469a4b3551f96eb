//! Fly.io: machines, apps, releases, what Fly makes of our token, and acting on what runs there.
//!
//! Written by hand over reqwest, because the published client crates lose fields on the way (field notes). `Client` only looks;
//! `FlyHosting` acts, one step at a time. The sides of Fly fail apart: machines, releases and the token check are asked one by
//! one, and what one does not answer spoils nothing else.

mod client;
mod extra;
mod hand;
mod hosting;
mod inventory;
mod lease;
mod logs;
mod model;
mod release;
mod release_command;
mod steps;
mod stream;
mod token;
mod trial;
mod troubles;
mod waiting;
mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use client::{Client, read_list};
pub use hand::Patience;
pub use hosting::FlyHosting;
pub use inventory::running;
pub use logs::{FlyLogs, LOGS_PACE, page};
pub use model::{App, Check, Event, Exit, Machine, Release, TokenInfo};
pub use stream::{FlyStream, read as streamed};
pub use token::Token;
pub use wire::{FlyError, PACE, Paces, QUESTION_MAX};
