//! How many requests are taken in a time: a bucket that fills steadily and holds so many at most.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket.
#[derive(Debug, Clone)]
pub struct Pace {
    burst: u32,
    every: Duration,
    full_at: Instant,
}

impl Pace {
    /// So many at once, and one more each time this has passed.
    pub fn new(burst: u32, every: Duration, now: Instant) -> Self {
        Self { burst: burst.max(1), every, full_at: now }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + self.every;
        let most = now + self.every * self.burst;
        if full_at > most {
            return Err(full_at - most);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_one_at_a_time() {
        let began = Instant::now();
        let every = Duration::from_secs(2);
        let mut pace = Pace::new(3, every, began);
        for _ in 0..3 {
            assert_eq!(pace.take(began), Ok(()));
        }
        assert_eq!(pace.take(began), Err(every));
        assert_eq!(pace.take(began + Duration::from_secs(1)), Err(Duration::from_secs(1)));
        assert_eq!(pace.take(began + every), Ok(()));
        assert!(pace.take(began + every).is_err());
        let later = began + Duration::from_secs(3_600);
        assert!((0..3).all(|_| pace.take(later).is_ok()), "it is full again, and holds no more than it did");
        assert!(pace.take(later).is_err());
    }
}
