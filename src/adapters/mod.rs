//! The neighbours, one folder each: Discord, Fly, probes, pagers, the store; and configuration, the clock, memory, telemetry.
//!
//! May import the domain and the ports. No neighbour knows another.

pub mod chart;
pub mod clock;
pub mod config;
pub mod discord;
pub mod fly;
pub mod hooks;
pub mod memory;
pub mod pager;
pub mod probe;
pub mod prometheus;
mod redact;
pub mod store;
pub mod telemetry;
