//! The local stand-ins: a Discord and a Fly on loopback, so that everything runs with no account anywhere.
//!
//! They speak their originals' wire from their originals' documents and share no type with the floors above: a stand-in that
//! shared our types would repeat our mistakes. Never part of the Docker image.

pub mod discord;
pub mod fly;
