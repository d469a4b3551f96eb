//! Whether the gateway still reads, seen from outside of its thread.
//!
//! serenity reads on after some ends of a connection (a close without a code; 4003, 4010, 4011), and only its next heartbeat, up to
//! 41 s later, notices. Where the other side has closed the wire too, every read comes back at once with nothing: the thread spins
//! without a pause, and nothing on it can look after itself. Where the wire is held open, it waits for what never comes.
//!
//! Either way a message that must be written to the connection fails, and ends the reader. So one is written now and then; on a
//! connection that is well it says what holds anyway, that the bot is online. And it is looked whether there is a reader at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serenity::all::{OnlineStatus, ShardManager};
use tokio::task::AbortHandle;

/// How often the gateway's thread shows that it still turns, and how often that is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// So many looks apart a message is written to a connection that seems well. Discord takes five in 20 s.
const WRITE_EVERY_LOOKS: u32 = 10;
/// So many looks in a row at a thread that has not turned, or that has no reader, are believed. Looks and not seconds, because a
/// machine that slept through minutes has looked only once.
const STILL_LOOKS_MAX: u32 = 3;

/// Whether the gateway's thread turns, and is of use.
#[derive(Default)]
pub(super) struct Pulse {
    turns: AtomicU64,
    deaf: AtomicBool,
}

impl Pulse {
    /// One turn of the thread; tells whether the connection is of no use any more.
    pub(super) fn turn(&self) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.deaf.load(Ordering::Relaxed)
    }
}

/// What is looked at.
pub(super) struct Looked<Up, Reads, Deaf> {
    pub(super) pulse: Arc<Pulse>,
    pub(super) shards: Arc<ShardManager>,
    /// Whether the connection counts as well.
    pub(super) up: Up,
    /// Whether there is a reader.
    pub(super) reads: Reads,
    /// Hears that the connection is of no use.
    pub(super) deaf: Deaf,
}

/// Looks, for as long as it is let.
pub(super) async fn look<Up, Reads, Deaf>(looked: Looked<Up, Reads, Deaf>)
where
    Up: Fn() -> bool + Send,
    Reads: Fn() -> bool + Send,
    Deaf: Fn() + Send,
{
    let Looked { pulse, shards, up, reads, deaf } = looked;
    let (mut turns, mut still, mut unread) = (0, 0, 0);
    for looks in 1_u32.. {
        tokio::time::sleep(EVERY).await;
        let now = pulse.turns.load(Ordering::Relaxed);
        still = if now == turns { still + 1 } else { 0 };
        unread = if up() && !reads() { unread + 1 } else { 0 };
        turns = now;
        let of_no_use = still >= STILL_LOOKS_MAX || unread >= STILL_LOOKS_MAX;
        if of_no_use {
            (still, unread) = (0, 0);
            deaf();
            pulse.deaf.store(true, Ordering::Relaxed);
        }
        if of_no_use || (up() && looks.is_multiple_of(WRITE_EVERY_LOOKS)) {
            for runner in shards.runners.lock().await.values() {
                runner.runner_tx.set_status(OnlineStatus::Online);
            }
        }
    }
}

/// Ends a task with whoever started it.
pub(super) struct AbortOnDrop(pub(super) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
