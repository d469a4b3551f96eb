//! Whether the gateway's thread still turns, seen from outside of it.
//!
//! serenity reads on after some ends of a connection (a close without a code; 4003, 4010, 4011): every read then comes back at once
//! with nothing, its thread spins without a pause, nothing is heard, and only the next heartbeat, up to 41 s later, notices. Nothing
//! on that thread can look after itself meanwhile; so it is looked at from the bot's runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serenity::all::{OnlineStatus, ShardManager};
use tokio::task::AbortHandle;

/// How often the gateway's thread shows that it still turns, and how often that is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// So many looks in a row at a thread that has not turned: it reads a connection that is over. Looks and not seconds, because a
/// machine that slept through minutes has looked only once.
const STILL_LOOKS_MAX: u32 = 3;

/// Whether the gateway's thread turns.
#[derive(Default)]
pub(super) struct Pulse {
    turns: AtomicU64,
    deaf: AtomicBool,
}

impl Pulse {
    /// One turn of the thread; tells whether one was missed, after which the connection is of no use.
    pub(super) fn beat_was_missed(&self) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.deaf.load(Ordering::Relaxed)
    }
}

/// Looks, and says when the thread does not turn any more.
///
/// What a spinning reader looks at in each round is its messages: one that must be written to the connection fails, and ends that
/// reader. On a connection that is well it says what holds anyway, that the bot is online.
pub(super) async fn listen(pulse: Arc<Pulse>, shards: Arc<ShardManager>, deaf: impl Fn() + Send) {
    let (mut turns, mut still) = (0, 0);
    loop {
        tokio::time::sleep(EVERY).await;
        let now = pulse.turns.load(Ordering::Relaxed);
        still = if now == turns { still + 1 } else { 0 };
        turns = now;
        if still >= STILL_LOOKS_MAX {
            still = 0;
            deaf();
            pulse.deaf.store(true, Ordering::Relaxed);
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
