//! Stillness: nothing under way on either side, which is when two runs can be compared; and the end of what nobody answers.

use std::time::{Duration, Instant};

use super::Sim;
use super::state::State;

/// How long nothing must have been sent or received.
const QUIET: Duration = Duration::from_millis(30);
/// How often it is looked at while waiting for quiet.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why it is not still; `None` when it is.
fn why(state: &State) -> Option<String> {
    if state.in_flight > 0 {
        return Some(format!("{} requests in flight", state.in_flight));
    }
    let open = state.interactions.open();
    if open > 0 {
        return Some(format!("{open} interactions wait for an answer"));
    }
    let quiet = state.last_traffic.elapsed();
    (quiet < QUIET).then(|| format!("something was sent {} ms ago", quiet.as_millis()))
}

/// Waits until it is still, at most `within`. Returns the time that it took, or why it is not still.
pub async fn wait(sim: &Sim, within: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        let Some(why) = why(&sim.lock()) else { return Ok(began.elapsed()) };
        if began.elapsed() >= within {
            return Err(why);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ends interactions whose time is over, until the stand-in stops.
pub async fn expire(sim: Sim) {
    let changed = sim.lock().changed.clone();
    loop {
        let more = changed.notified();
        tokio::pin!(more);
        more.as_mut().enable();
        let next = {
            let mut state = sim.lock();
            for id in state.interactions.open_ids() {
                state.expire(id);
            }
            let settings = state.settings.clone();
            state.interactions.next_expiry(&settings)
        };
        let at = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = more => {}
            () = sim.stopped() => return,
        }
    }
}
