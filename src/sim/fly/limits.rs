//! The limits of the Machines API: so many requests a second of one action on one object, with a burst.

use std::collections::HashMap;
use std::time::Instant;

use super::workspace::Settings;

/// Buckets before full ones are forgotten.
const BUCKETS_MAX: usize = 10_000;

/// The buckets.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: HashMap<(String, String), (f64, Instant)>,
}

impl Limits {
    /// Takes a token; otherwise the seconds until there is one.
    pub fn take(&mut self, settings: &Settings, action: &str, object: &str, now: Instant) -> Result<(), f64> {
        if !settings.rate_limits {
            return Ok(());
        }
        let (rate, burst) = match action {
            "GET /apps/{app_name}/machines/{machine_id}" => {
                (settings.get_machine_per_second, settings.get_machine_burst)
            }
            _ => (settings.rate_per_second, settings.rate_burst),
        };
        if self.buckets.len() > BUCKETS_MAX {
            let full = burst / rate.max(f64::EPSILON);
            self.buckets.retain(|_, (_, at)| now.duration_since(*at).as_secs_f64() < full);
        }
        let bucket = self.buckets.entry((action.to_owned(), object.to_owned())).or_insert((burst, now));
        let filled = (bucket.0 + now.duration_since(bucket.1).as_secs_f64() * rate).min(burst);
        *bucket = (filled, now);
        if filled >= 1.0 {
            bucket.0 = filled - 1.0;
            return Ok(());
        }
        Err((1.0 - filled) / rate.max(f64::EPSILON))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn three_at_once_then_one_a_second_of_each_action_and_object() {
        let (mut limits, settings, t0) = (Limits::default(), Settings::default(), Instant::now());
        let mut take =
            |action, object, ms| limits.take(&settings, action, object, t0 + Duration::from_millis(ms)).is_ok();
        let list = "GET /apps/{app_name}/machines";
        assert_eq!([0, 0, 0, 0].map(|ms| take(list, "shop", ms)), [true, true, true, false]);
        assert!(take(list, "other", 0), "another object has its own");
        assert!(take("GET /apps/{app_name}", "shop", 0), "another action has its own");
        assert_eq!([999, 1_000, 1_001].map(|ms| take(list, "shop", ms)), [false, true, false]);
        let get = "GET /apps/{app_name}/machines/{machine_id}";
        assert_eq!((0..11).filter(|_| take(get, "m", 0)).count(), 10);
    }
}
