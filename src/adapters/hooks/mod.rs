//! Hooks: what asks the bot from outside by signed requests, and what tells it from there that something fires. Owns the signatures,
//! the limits of the port that the requests come in at, what other tools' alerts look like, and the side that sends a request of ours
//! (`watchbell deploy`).
//!
//! Knows no deploy and no loop: which hooks there are, and what each means, is `shell/public.rs`.

pub mod alerts;
pub mod client;
pub mod listen;
pub mod pace;
pub mod proof;
pub mod signature;
