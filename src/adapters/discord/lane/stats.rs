//! What the lane counted since it was made. Counts only; where they are shown is decided elsewhere.

use std::time::Duration;

/// The upper bounds of the latency classes, in milliseconds; above the last is a class of its own.
pub const LATENCY_BOUNDS_MS: [u64; 10] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// Counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Attempts that left, with those tried again.
    pub sent: u64,
    /// Answers 2xx.
    pub done: u64,
    /// 429s on limits of our own: a pace that is right keeps this at 0.
    pub rate_limited: u64,
    /// 429s on limits shared with others, which no pace of ours avoids.
    pub rate_limited_shared: u64,
    /// Requests that ended in doubt.
    pub in_doubt: u64,
    /// Requests that Discord refused.
    pub refused: u64,
    /// Requests that ended without having reached Discord.
    pub unreachable: u64,
    /// Requests given up while waiting, or held by a limit for too long.
    pub gave_up: u64,
    /// 401, 403 and 429 (not shared) in the last ten minutes; Discord bans an address at 10,000.
    pub invalid_10min: u32,
    /// Answers by how long their attempt took: one count for each of [`LATENCY_BOUNDS_MS`], and one for the rest.
    pub latency: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// The sum of those times, in milliseconds.
    pub latency_sum_ms: u64,
}

impl Stats {
    pub(super) fn time(&mut self, took: Duration) {
        let took_ms = super::millis(took);
        let class = LATENCY_BOUNDS_MS.partition_point(|bound| *bound < took_ms);
        if let Some(count) = self.latency.get_mut(class) {
            *count += 1;
        }
        self.latency_sum_ms = self.latency_sum_ms.saturating_add(took_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_class_whose_bound_it_does_not_pass() {
        let mut stats = Stats::default();
        for took_ms in [0, 10, 11, 99_999] {
            stats.time(Duration::from_millis(took_ms));
        }
        assert_eq!(stats.latency, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
