//! Promise time: the wall clock, or for demos and transcripts one that can be moved forward and sped up.
//!
//! The only place that reads the time of day. Owns no timers: whoever sleeps for a promised moment does it with
//! `sleep_until`, which wakes when the clock is moved. Wire time (time-outs, pacing) never comes from here.
//!
//! Promise time never goes back, and never stands still: where the wall clock is set back, or is behind the record at a start, it goes on
//! from where it was, a little slower until the wall clock has come up to it. Else everything that is due would wait for as long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ports::Clock;

/// The longest sleep before the clock is read again: the wall clock may have been set, or the machine have slept.
pub const REREAD_AFTER: Duration = Duration::from_secs(60);

/// The highest speed: an hour of promise time a second of real time.
pub const SPEED_MAX: f64 = 3600.0;

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of promise time; everything else takes now as an argument"
)]
fn wall() -> DateTime<Utc> {
    Utc::now()
}

/// While the wall clock is behind, promise time loses one second in so many: a rule that has to last for 20 min is 20 s late.
const SLOWER_IN: u32 = 60;

/// The wall clock as promise time shows it.
#[derive(Debug, Default)]
struct Steady {
    /// What it showed last, and when that was by the clock that nobody sets.
    shown: Option<(DateTime<Utc>, Instant)>,
}

impl Steady {
    fn show(&mut self, wall: DateTime<Utc>, at: Instant) -> DateTime<Utc> {
        let now = self.shown.map_or(wall, |(shown, then)| {
            let passed = at.saturating_duration_since(then);
            let slower = TimeDelta::from_std(passed - passed / SLOWER_IN).unwrap_or_default();
            shown.checked_add_signed(slower).unwrap_or(shown).max(wall)
        });
        self.shown = Some((now, at));
        now
    }
}

/// A clock that can say when it was moved.
pub trait Timepiece: Clock {
    /// It goes on from that moment, when it would show less: so much is on record already.
    fn not_before(&self, at: DateTime<Utc>);

    /// How much time has passed by it since it was made: what was skipped on purpose counts, and what it jumped by does not.
    fn lived(&self) -> TimeDelta;

    /// Promise seconds that pass in one real second; a new value, or the same again, whenever the clock was touched.
    fn changed(&self) -> watch::Receiver<f64>;
}

impl<T: Timepiece + ?Sized> Clock for std::sync::Arc<T> {
    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }
}

impl<T: Timepiece + ?Sized> Timepiece for std::sync::Arc<T> {
    fn not_before(&self, at: DateTime<Utc>) {
        (**self).not_before(at);
    }

    fn lived(&self) -> TimeDelta {
        (**self).lived()
    }

    fn changed(&self) -> watch::Receiver<f64> {
        (**self).changed()
    }
}

/// Sleeps until a moment of promise time. Wakes at once when the clock is moved past it, and reads a clock that was moved or
/// sped up anew.
pub async fn sleep_until<C: Timepiece + ?Sized>(clock: &C, until: DateTime<Utc>) {
    let mut changed = clock.changed();
    loop {
        let speed = *changed.borrow_and_update();
        let left = until.signed_duration_since(clock.now()).to_std().unwrap_or_default();
        if left.is_zero() {
            return;
        }
        // A clock that stands still is only ever moved by hand.
        let wire = if speed > 0.0 { left.div_f64(speed.min(SPEED_MAX)).min(REREAD_AFTER) } else { REREAD_AFTER };
        tokio::select! {
            () = tokio::time::sleep(wire.max(Duration::from_millis(1))) => {}
            alive = changed.changed() => {
                if alive.is_err() {
                    tokio::time::sleep(wire).await;
                }
            }
        }
    }
}

/// The wall clock, that never goes back.
#[derive(Debug)]
pub struct SystemClock {
    speed: watch::Sender<f64>,
    made: Instant,
    steady: Mutex<Steady>,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { speed: watch::Sender::new(1.0), made: Instant::now(), steady: Mutex::default() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.show(wall(), Instant::now())
    }
}

impl Timepiece for SystemClock {
    fn not_before(&self, at: DateTime<Utc>) {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.show(at, Instant::now());
    }

    fn lived(&self) -> TimeDelta {
        TimeDelta::from_std(self.made.elapsed()).unwrap_or(TimeDelta::MAX)
    }

    fn changed(&self) -> watch::Receiver<f64> {
        self.speed.subscribe()
    }
}

/// What a virtual clock must remember to go on after a restart as if it had never stopped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VirtualTime {
    /// Promise time at the moment `set_at`.
    pub origin: DateTime<Utc>,
    /// The wall clock at that moment.
    pub set_at: DateTime<Utc>,
    /// Promise seconds a real second, 0 to `SPEED_MAX`.
    pub speed: f64,
    /// What was skipped since, in milliseconds.
    pub offset_ms: i64,
}

impl VirtualTime {
    /// A clock that shows `origin` now.
    pub fn starting(origin: DateTime<Utc>, speed: f64) -> Self {
        Self { origin, set_at: wall(), speed: bounded(speed), offset_ms: 0 }
    }

    fn at(&self, wall: DateTime<Utc>) -> DateTime<Utc> {
        // A wall clock that was set back stops promise time for as long; it never runs backwards.
        let passed_ms = wall.signed_duration_since(self.set_at).num_milliseconds().max(0);
        let scaled_ms = (passed_ms as f64 * self.speed) as i64;
        TimeDelta::try_milliseconds(scaled_ms.saturating_add(self.offset_ms))
            .and_then(|passed| self.origin.checked_add_signed(passed))
            .unwrap_or(self.origin)
    }
}

fn bounded(speed: f64) -> f64 {
    if speed.is_finite() { speed.clamp(0.0, SPEED_MAX) } else { 1.0 }
}

/// A clock that can be moved forward and sped up. Never goes back.
#[derive(Debug)]
pub struct VirtualClock {
    time: Mutex<VirtualTime>,
    /// What it showed when it was made, and what it has jumped by since.
    made: Mutex<(DateTime<Utc>, TimeDelta)>,
    speed: watch::Sender<f64>,
}

impl VirtualClock {
    /// A clock that goes on from where `time` says; keep `parameters` somewhere to start from them again.
    pub fn new(time: VirtualTime) -> Self {
        let time = VirtualTime { speed: bounded(time.speed), ..time };
        let made = Mutex::new((time.at(wall()), TimeDelta::zero()));
        Self { speed: watch::Sender::new(time.speed), time: Mutex::new(time), made }
    }

    /// What to remember for the next start.
    pub fn parameters(&self) -> VirtualTime {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Skips forward and wakes every sleeper. A negative step moves nothing.
    pub fn advance(&self, by: TimeDelta) -> VirtualTime {
        self.touch(|time, _| time.offset_ms = time.offset_ms.saturating_add(by.num_milliseconds().max(0)))
    }

    /// Jumps ahead, as a wall clock does that somebody sets: it shows another time, and none has passed.
    pub fn jump(&self, by: TimeDelta) -> VirtualTime {
        let by = by.max(TimeDelta::zero());
        self.made.lock().unwrap_or_else(PoisonError::into_inner).1 += by;
        self.advance(by)
    }

    /// Changes the pace from now on: 0 stands still, 1 is real, at most `SPEED_MAX`.
    pub fn set_speed(&self, speed: f64) -> VirtualTime {
        self.touch(|time, wall| {
            *time = VirtualTime { origin: time.at(wall), set_at: wall, speed: bounded(speed), offset_ms: 0 };
        })
    }

    fn touch(&self, change: impl FnOnce(&mut VirtualTime, DateTime<Utc>)) -> VirtualTime {
        let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut time, wall());
        let after = *time;
        drop(time);
        self.speed.send_replace(after.speed);
        after
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        self.parameters().at(wall())
    }
}

impl Timepiece for VirtualClock {
    fn not_before(&self, at: DateTime<Utc>) {
        self.jump(at - self.now());
    }

    fn lived(&self) -> TimeDelta {
        let (shown, jumped) = *self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.now() - shown - jumped
    }

    fn changed(&self) -> watch::Receiver<f64> {
        self.speed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap_or_default()
    }

    #[test]
    fn a_moved_clock_goes_on_from_its_parameters() {
        let clock = VirtualClock::new(VirtualTime::starting(noon(), 0.0));
        assert_eq!(clock.now(), noon());
        clock.advance(TimeDelta::minutes(15));
        clock.advance(TimeDelta::minutes(-5));
        assert_eq!(clock.now(), noon() + TimeDelta::minutes(15), "never back");
        let again = VirtualClock::new(clock.parameters());
        assert_eq!(again.now(), noon() + TimeDelta::minutes(15));
    }

    #[test]
    fn a_new_pace_keeps_the_time_that_is_shown() {
        let time = VirtualTime { origin: noon(), set_at: noon(), speed: 60.0, offset_ms: 0 };
        assert_eq!(time.at(noon() + TimeDelta::seconds(2)), noon() + TimeDelta::minutes(2));
        assert_eq!(time.at(noon() - TimeDelta::seconds(2)), noon(), "a wall clock that was set back");
        let clock = VirtualClock::new(VirtualTime { speed: f64::NAN, ..time });
        assert!(clock.set_speed(1e9).speed <= SPEED_MAX);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_neither_turns_promise_time_back_nor_stops_it() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let mut show = |wall_s: i64, passed_s: u64| {
            let shown = steady.show(noon() + TimeDelta::seconds(wall_s), start + Duration::from_secs(passed_s));
            (shown - noon()).num_seconds()
        };
        assert_eq!(show(0, 0), 0);
        assert_eq!(show(60, 60), 60, "what the wall clock shows");
        // Two hours back: it goes on, a second a minute slower.
        assert_eq!(show(-7_080, 120), 119);
        assert_eq!(show(-6_480, 720), 709);
        // Set right again, it is what the wall clock shows; and so it is when that jumps ahead.
        assert_eq!(show(720, 722), 720);
        assert_eq!(show(7_920, 723), 7_920);
        let clock = SystemClock::default();
        let ahead = clock.now() + TimeDelta::hours(5);
        clock.not_before(ahead);
        assert!(clock.now() >= ahead, "what is on record is not ahead of it");
        let clock = VirtualClock::new(VirtualTime::starting(noon(), 0.0));
        clock.not_before(noon() - TimeDelta::hours(1));
        clock.not_before(noon() + TimeDelta::hours(1));
        assert_eq!(clock.now(), noon() + TimeDelta::hours(1));
    }

    #[test]
    fn what_is_skipped_on_purpose_has_passed_and_what_a_clock_jumps_by_has_not() {
        let clock = VirtualClock::new(VirtualTime::starting(noon(), 0.0));
        clock.advance(TimeDelta::minutes(5));
        clock.jump(TimeDelta::minutes(20));
        clock.jump(TimeDelta::minutes(-20));
        assert_eq!((clock.now() - noon(), clock.lived()), (TimeDelta::minutes(25), TimeDelta::minutes(5)));
        let clock = SystemClock::default();
        clock.not_before(clock.now() + TimeDelta::hours(5));
        assert!(clock.lived() < TimeDelta::hours(1));
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_moved_past_its_moment() {
        let clock = Arc::new(VirtualClock::new(VirtualTime::starting(noon(), 0.0)));
        let sleeper = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { sleep_until(&*clock, noon() + TimeDelta::minutes(2)).await }
        });
        clock.advance(TimeDelta::minutes(1));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished(), "a minute is not two");
        clock.advance(TimeDelta::minutes(1));
        // Shorter than the clock would be read again by itself.
        assert!(tokio::time::timeout(REREAD_AFTER / 4, sleeper).await.is_ok_and(|end| end.is_ok()), "it slept on");
    }
}
