//! Whether the gateway is connected, and since when: for `/watchbell status` and `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::{Clock, Condition};

/// The state of the connection, shared by the gateway, which knows it, and the chat, which tells it.
#[derive(Clone)]
pub struct Link {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<Condition>>,
}

impl Link {
    /// Not connected yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Condition { trouble: Some("not connected yet".to_owned()), ..Condition::default() };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Connected.
    pub(super) fn up(&self) {
        self.turn(true, None);
    }

    /// Not connected, and why.
    pub(super) fn down(&self, why: &str) {
        self.turn(false, Some(why.to_owned()));
    }

    /// How it is. What waits is not known here.
    pub fn condition(&self) -> Condition {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn turn(&self, up: bool, trouble: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.up != up || state.since.is_none() {
            state.since = Some(self.clock.now());
        }
        state.up = up;
        state.trouble = trouble;
    }
}
