//! Whether the gateway is connected, and since when: for `/watchbell status` and `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::{Clock, Condition};

/// The state of the connection, shared by the gateway, which knows it, and the chat, which tells it.
#[derive(Clone)]
pub struct Link {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<Known>>,
}

/// What is known of the connection.
#[derive(Default)]
struct Known {
    condition: Condition,
    was_ever_up: bool,
    /// Why Discord does not let the bot in, until it does.
    turned_away: Option<String>,
}

impl Link {
    /// Not connected yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let condition = Condition { trouble: Some("not connected yet".to_owned()), ..Condition::default() };
        Self { clock, state: Arc::new(Mutex::new(Known { condition, ..Known::default() })) }
    }

    /// Connected.
    pub(super) fn up(&self) {
        self.turn(true, None);
    }

    /// Not connected, and why.
    pub(super) fn down(&self, why: &str) {
        self.turn(false, Some(why.to_owned()));
    }

    /// Discord does not let the bot in. This is what is said until it does, whatever is heard of the connection meanwhile.
    pub fn turned_away(&self, why: &str) {
        self.down(why);
        self.lock().turned_away = Some(why.to_owned());
    }

    /// Whether it was connected at any time.
    pub fn was_ever_up(&self) -> bool {
        self.lock().was_ever_up
    }

    /// How it is. What waits is not known here.
    pub fn condition(&self) -> Condition {
        let state = self.lock();
        let mut condition = state.condition.clone();
        if let (false, Some(why)) = (condition.up, &state.turned_away) {
            condition.trouble = Some(why.clone());
        }
        condition
    }

    fn turn(&self, up: bool, trouble: Option<String>) {
        let mut state = self.lock();
        if state.condition.up != up || state.condition.since.is_none() {
            state.condition.since = Some(self.clock.now());
        }
        state.condition.up = up;
        state.condition.trouble = trouble;
        if up {
            state.was_ever_up = true;
            state.turned_away = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
