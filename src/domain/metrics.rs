//! Figures that were measured elsewhere, as they come back from a question: a value now, or values over a time.
//!
//! Pure data. Values are kept as they were told, NaN and infinity too: what they mean is for whoever reads them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// What tells one series from another: `app`, `instance`, …
pub type Labels = BTreeMap<String, String>;

/// The name of the source that Fly is; others have theirs from `[[metrics]]` in the workspace.
pub const FLY_SOURCE: &str = "fly";

/// Points of one series that a source tells in one answer: Prometheus's own limit.
pub const POINTS_MAX: usize = 11_000;

/// Values of one thing over a time, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// What it is of.
    pub labels: Labels,
    /// When, and how much. A moment that is not there was not measured.
    pub points: Vec<(DateTime<Utc>, f64)>,
}

/// The shortest step from `floor` on with which a span stays within `points_max` points: whole seconds, and of the kind that
/// people read off an axis.
pub fn step(span: TimeDelta, floor: TimeDelta, points_max: usize) -> TimeDelta {
    /// Steps that are tried, in seconds.
    const STEPS_S: [i64; 12] = [15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400];
    let most = i64::try_from(points_max.max(2)).unwrap_or(i64::MAX) - 1;
    let needed_s =
        (span.num_seconds() / most + i64::from(span.num_seconds() % most != 0)).max(floor.num_seconds()).max(1);
    TimeDelta::seconds(STEPS_S.into_iter().find(|step| *step >= needed_s).unwrap_or(needed_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_a_span_within_its_points() {
        let floor = TimeDelta::seconds(15);
        for (span, points_max, step_s) in [
            (TimeDelta::hours(1), 11_000, 15),
            (TimeDelta::days(7), 11_000, 60),
            (TimeDelta::days(7), 700, 900),
            (TimeDelta::days(366), 11_000, 3_600),
            (TimeDelta::days(366_000), 100, 319_418_182),
            (TimeDelta::zero(), 0, 15),
        ] {
            let step = step(span, floor, points_max);
            assert_eq!(step, TimeDelta::seconds(step_s), "{span} {points_max}");
            assert!(span.num_seconds() / step.num_seconds() < points_max.max(2) as i64);
        }
    }
}
