//! What is under way in the bot: inputs waiting, effects in flight. At zero it is still.
//!
//! Counts only; tests and the demo wait on it, nothing decides by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared count of what is under way.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicUsize>);

/// One thing under way, until it is dropped.
#[derive(Debug)]
pub struct Beat(Arc<AtomicUsize>);

impl Pulse {
    /// Something is under way from now until the beat is dropped.
    pub fn beat(&self) -> Beat {
        self.0.fetch_add(1, Ordering::SeqCst);
        Beat(Arc::clone(&self.0))
    }

    /// How much is under way.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
