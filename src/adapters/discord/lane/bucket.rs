//! The arithmetic of one bucket: whether one more request may leave now, and when the next may if not.
//!
//! Pure: the caller passes `now`. The rule that makes a 429 impossible while the headers tell the truth: what may leave is what
//! the *lowest* `Remaining` of this window left over, less everything still on the wire, counted or not. So an answer that comes
//! late or out of order can make a bucket slower, never faster. Knows nothing of queues.

use std::time::Duration;

use tokio::time::Instant;

use super::headers::Limits;

/// At most this many requests of one bucket are on the wire at once, whatever the bucket allows.
pub(super) const BUCKET_FLYING_MAX: u32 = 10;
/// Added to every wait: Discord's figures are rounded to the millisecond, and may be rounded down.
const RESET_MARGIN: Duration = Duration::from_millis(5);
/// How long a window is taken to be when no answer told.
const WINDOW_UNKNOWN: Duration = Duration::from_secs(1);
/// Two answers whose `Reset` differ by no more than this speak of one window.
const SAME_WINDOW_MS: u64 = 100;

/// One bucket. Starts unknown: its first request goes alone.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    allowance: Allowance,
    flying: u32,
    closed_until: Option<Instant>,
}

#[derive(Debug, Default)]
enum Allowance {
    /// No answer yet.
    #[default]
    Unknown,
    /// Answered without a word of limits.
    Unlimited,
    Window(Window),
}

#[derive(Debug)]
struct Window {
    limit: u32,
    /// The lowest `Remaining` of this window. Requests on the wire are not subtracted here.
    left: u32,
    /// `None`: the window is over, the next has not begun, which its first request will do.
    resets_at: Option<Instant>,
    /// Which window, on Discord's clock.
    name_ms: Option<u64>,
    length: Duration,
}

/// The answer to "may one more leave?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes.
    Open,
    /// Not before this.
    Until(Instant),
    /// Not before something on the wire has come back.
    Busy,
}

impl Bucket {
    /// Whether one more request may leave.
    pub fn gate(&mut self, now: Instant) -> Gate {
        match self.closed_until {
            Some(at) if now < at => return Gate::Until(at),
            _ => self.closed_until = None,
        }
        if self.flying >= BUCKET_FLYING_MAX {
            return Gate::Busy;
        }
        match &mut self.allowance {
            Allowance::Unlimited => Gate::Open,
            Allowance::Unknown if self.flying == 0 => Gate::Open,
            Allowance::Unknown => Gate::Busy,
            Allowance::Window(window) => {
                window.roll(now);
                match window.resets_at {
                    _ if window.left > self.flying => Gate::Open,
                    Some(at) => Gate::Until(at),
                    None => Gate::Busy,
                }
            }
        }
    }

    /// One leaves.
    pub fn take(&mut self) {
        self.flying = self.flying.saturating_add(1);
    }

    /// One that was to leave did not.
    pub fn give_back(&mut self) {
        self.flying = self.flying.saturating_sub(1);
    }

    /// One came back without telling whether it was counted: it is taken to have been.
    pub fn lost(&mut self, now: Instant) {
        self.give_back();
        if let Allowance::Window(window) = &mut self.allowance {
            window.roll(now);
            window.left = window.left.saturating_sub(1);
            window.resets_at.get_or_insert(now + window.length + RESET_MARGIN);
        }
    }

    /// One came back with what its headers tell.
    pub fn hear(&mut self, now: Instant, told: &Limits) {
        if told.is_silent() {
            if matches!(self.allowance, Allowance::Unknown) {
                self.allowance = Allowance::Unlimited;
            }
            return self.lost(now);
        }
        self.give_back();
        let flying = self.flying;
        let told_limit = told.limit.unwrap_or_else(|| told.remaining.unwrap_or(0).saturating_add(1));
        let remaining = told.remaining.unwrap_or_else(|| told_limit.saturating_sub(flying + 1));
        let length = told.reset_after.unwrap_or(WINDOW_UNKNOWN);
        let resets_at = now + length + RESET_MARGIN;
        match &mut self.allowance {
            Allowance::Window(window) => {
                window.roll(now);
                window.limit = told.limit.unwrap_or(window.limit);
                let named = window.name_ms.zip(told.window_ms);
                let newer = match (named, window.resets_at) {
                    (Some((known, told)), _) => told > known.saturating_add(SAME_WINDOW_MS),
                    (None, Some(known)) => resets_at > known + window.length / 2,
                    (None, None) => true,
                };
                if newer && window.resets_at.is_some() {
                    // Their window rolled before we believed it; what is on the wire is subtracted by the gate.
                    window.left = remaining;
                    window.resets_at = Some(resets_at);
                } else {
                    window.left = window.left.min(remaining);
                    // Every answer of one window bounds its end from above, so the earliest is the truest; without a name we
                    // cannot be sure that it is one window and take the later.
                    let end = window.resets_at.map_or(resets_at, |known| match named {
                        Some(_) => known.min(resets_at),
                        None => known.max(resets_at),
                    });
                    window.resets_at = Some(end);
                }
                window.name_ms = window.name_ms.max(told.window_ms);
                window.length = window.length.max(length);
            }
            unknown => {
                *unknown = Allowance::Window(Window {
                    limit: told_limit,
                    left: remaining,
                    resets_at: Some(resets_at),
                    name_ms: told.window_ms,
                    length,
                });
            }
        }
    }

    /// A 429: nothing leaves for so long. `own` tells a limit of ours, whose window is over by then, from a shared one.
    pub fn close(&mut self, now: Instant, retry_after: Duration, own: bool) -> Instant {
        let at = now + retry_after + RESET_MARGIN;
        let at = self.closed_until.map_or(at, |known| known.max(at));
        self.closed_until = Some(at);
        match &mut self.allowance {
            Allowance::Window(window) if own => {
                window.left = 0;
                window.resets_at = Some(at);
            }
            // It has a limit after all.
            unlimited @ Allowance::Unlimited => *unlimited = Allowance::Unknown,
            _ => {}
        }
        at
    }

    /// Takes over what another bucket has on the wire, when a hash shows that the two are one.
    pub fn absorb(&mut self, other: Bucket) {
        self.flying = self.flying.saturating_add(other.flying);
        self.closed_until = self.closed_until.max(other.closed_until);
        if matches!(self.allowance, Allowance::Unknown) {
            self.allowance = other.allowance;
        }
    }

    /// Whether forgetting it would lose nothing but its limit.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        let fresh = match &mut self.allowance {
            Allowance::Window(window) => {
                window.roll(now);
                window.resets_at.is_none()
            }
            _ => true,
        };
        fresh && self.flying == 0 && self.closed_until.is_none_or(|at| now >= at)
    }
}

impl Window {
    fn roll(&mut self, now: Instant) {
        if self.resets_at.is_some_and(|at| now >= at) {
            self.left = self.limit;
            self.resets_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(limit: u32, remaining: u32, reset_after_ms: u64, window_ms: u64) -> Limits {
        Limits {
            bucket: None,
            limit: Some(limit),
            remaining: Some(remaining),
            reset_after: Some(Duration::from_millis(reset_after_ms)),
            window_ms: Some(window_ms),
        }
    }

    fn leave_all(bucket: &mut Bucket, now: Instant) -> u32 {
        let mut left = 0;
        while bucket.gate(now) == Gate::Open {
            bucket.take();
            left += 1;
        }
        left
    }

    #[test]
    fn the_first_goes_alone_then_as_many_as_remain_then_none_until_the_reset() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        assert_eq!(leave_all(&mut bucket, now), 1);
        assert_eq!(bucket.gate(now), Gate::Busy);
        bucket.hear(now, &told(5, 4, 5_000, 9_000));
        assert_eq!(leave_all(&mut bucket, now), 4);
        let Gate::Until(reset) = bucket.gate(now) else { panic!("a spent bucket waits for its reset") };
        assert_eq!(reset, now + Duration::from_millis(5_005));
        for remaining in [3, 2, 1, 0] {
            bucket.hear(now, &told(5, remaining, 5_000, 9_000));
        }
        assert_eq!(bucket.gate(reset - Duration::from_millis(1)), Gate::Until(reset));
        assert_eq!(leave_all(&mut bucket, reset), 5);
    }

    #[test]
    fn answers_out_of_order_never_make_it_faster() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        bucket.take();
        bucket.hear(now, &told(5, 4, 5_000, 9_000));
        assert_eq!(leave_all(&mut bucket, now), 4);
        bucket.hear(now, &told(5, 0, 5_000, 9_000));
        bucket.hear(now, &told(5, 3, 5_000, 9_000));
        assert_eq!(leave_all(&mut bucket, now), 0);
    }

    #[test]
    fn a_straggler_of_the_old_window_is_counted_against_the_new() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        bucket.take();
        bucket.hear(now, &told(5, 4, 1_000, 1_000));
        assert_eq!(leave_all(&mut bucket, now), 4);
        // None of the four has come back when the window ends: each may yet land in the next one.
        assert_eq!(leave_all(&mut bucket, now + Duration::from_secs(2)), 1);
    }

    #[test]
    fn a_lost_answer_costs_its_place_and_never_blocks_for_ever() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        bucket.take();
        bucket.hear(now, &told(1, 0, 1_000, 1_000));
        let later = now + Duration::from_secs(3);
        assert_eq!(leave_all(&mut bucket, later), 1);
        bucket.lost(later);
        let Gate::Until(at) = bucket.gate(later) else { panic!("the lost one was counted") };
        assert_eq!(bucket.gate(at), Gate::Open);
    }

    #[test]
    fn without_a_word_of_limits_it_is_free_until_a_429_says_otherwise() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        bucket.take();
        bucket.hear(now, &Limits::default());
        assert_eq!(leave_all(&mut bucket, now), BUCKET_FLYING_MAX);
        for _ in 0..BUCKET_FLYING_MAX {
            bucket.lost(now);
        }
        let at = bucket.close(now, Duration::from_secs(1), true);
        assert_eq!(bucket.gate(now), Gate::Until(at));
        assert_eq!(leave_all(&mut bucket, at), 1);
    }
}
