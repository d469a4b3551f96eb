//! Fly.io, the reading side: machines, apps, releases, and what Fly makes of our token.
//!
//! Written by hand over reqwest, because the published client crates lose fields on the way (field notes). Never changes
//! anything at Fly. The sides of Fly fail apart: machines, releases and the token check are asked one by one, and what one
//! does not answer spoils nothing else.

mod client;
mod model;
mod token;
mod wire;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use model::{App, Check, Event, Exit, Machine, Release, TokenInfo};
pub use token::Token;
pub use wire::{FlyError, QUESTION_MAX};
