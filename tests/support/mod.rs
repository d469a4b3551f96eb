//! What the tests are played with: scripts, the pure world, the wire world.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod figures;
pub mod host;
pub mod pure;
pub mod script;
#[cfg(feature = "sim")]
pub mod wire;
pub mod world;
