//! Hooks: what asks the bot from outside by signed requests. Owns the signature, the limits of the port that the requests come in
//! at, and the side that sends one (`watchbell deploy`).
//!
//! Knows no deploy and no loop: which hooks there are, and what each means, is `shell/public.rs`.

pub mod client;
pub mod listen;
pub mod pace;
pub mod signature;
