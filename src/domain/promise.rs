//! Promises: what the policy says must happen by a time, and when whom is reminded of it.
//!
//! Pure. One idea carries every reminder: a promise has an instant, at most one next reminder, and an end. Whom a reminder
//! reaches and what it says is `due.rs`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::policy::Reminders;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromiseKind {
    /// A person acknowledges.
    Acknowledge,
    /// The first notice is out.
    FirstNotice,
    /// The next update is given.
    NextUpdate,
    /// It stops hurting.
    Mitigate,
    /// It stays green.
    Verify,
    /// What was learned is written.
    Review,
}

impl PromiseKind {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            PromiseKind::Acknowledge => "acknowledgement",
            PromiseKind::FirstNotice => "first notice",
            PromiseKind::NextUpdate => "next update",
            PromiseKind::Mitigate => "mitigation",
            PromiseKind::Verify => "verification",
            PromiseKind::Review => "review",
        }
    }
}

/// Which reminder of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Before it is due: the lead.
    Nudge,
    /// It is due: the lead.
    Due,
    /// It is late: the role.
    Late,
    /// It is still not kept: the lead, once an interval.
    Again,
}

/// The next reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// Which.
    pub step: Step,
    /// When.
    pub at: DateTime<Utc>,
}

/// How a promise ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromiseEnd {
    /// It was kept.
    Kept(DateTime<Utc>),
    /// It need not be kept.
    Waived(DateTime<Utc>, String),
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// When it was made.
    pub made: DateTime<Utc>,
    /// By when it is to be kept.
    pub due: DateTime<Utc>,
    /// The next reminder.
    pub next: Option<Next>,
    /// Intervals that passed without it.
    pub missed: u32,
    /// Snoozes in a row.
    pub snoozes: u8,
    /// How it ended; open when none.
    pub end: Option<PromiseEnd>,
}

impl Promise {
    /// Whether it still has to be kept.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// How late it was kept, or is by now; `None` when in time.
    pub fn late_by(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let until = match &self.end {
            Some(PromiseEnd::Kept(at)) => *at,
            Some(PromiseEnd::Waived(..)) => return None,
            None => now,
        };
        (until > self.due).then(|| until - self.due)
    }
}

/// The first reminder of a promise made at `made` and due at `due`: a nudge before it, unless the time is too short for one.
pub fn first(reminders: &Reminders, made: DateTime<Utc>, due: DateTime<Utc>) -> Next {
    let nudge = due - reminders.nudge_before.delta();
    if nudge > made { Next { step: Step::Nudge, at: nudge } } else { Next { step: Step::Due, at: due.max(made) } }
}

/// The reminder after `step`, seen at `now`: never in the past, so that time away is caught up with once.
/// `every` is the promise's own interval.
pub fn after(reminders: &Reminders, due: DateTime<Utc>, step: Step, every: TimeDelta, now: DateTime<Utc>) -> Next {
    let planned = match step {
        Step::Nudge => Next { step: Step::Due, at: due },
        Step::Due => Next { step: Step::Late, at: due + reminders.late_after.delta() },
        Step::Late => Next { step: Step::Again, at: due + every },
        Step::Again => return Next { step: Step::Again, at: next_interval(due, every, now) },
    };
    if planned.at > now { planned } else { after(reminders, due, planned.step, every, now) }
}

/// The first `due + n * every` (n ≥ 1) that is later than `now`.
fn next_interval(due: DateTime<Utc>, every: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let next = due + every * (missed(due, every, now) as i32 + 1);
    if next > now { next } else { now + every }
}

/// How many whole intervals have passed since `due`.
pub fn missed(due: DateTime<Utc>, every: TimeDelta, now: DateTime<Utc>) -> u32 {
    /// More intervals than this are not counted: a log that old is read, not reminded of.
    const INTERVALS_MAX: i64 = 1_000_000_000;
    let every_ms = every.num_milliseconds().max(1);
    let passed = (now - due).num_milliseconds().max(0) / every_ms;
    u32::try_from(passed.min(INTERVALS_MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::{Policy, SHIPPED};

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn a_promise_is_nudged_due_late_and_then_once_an_interval() {
        let reminders = Policy::parse(SHIPPED).unwrap().reminders;
        let every = TimeDelta::minutes(15);
        let mut next = first(&reminders, at(0), at(15));
        let mut seen = vec![(next.step, (next.at - at(0)).num_minutes())];
        for _ in 0..4 {
            next = after(&reminders, at(15), next.step, every, next.at);
            seen.push((next.step, (next.at - at(0)).num_minutes()));
        }
        assert_eq!(seen, [(Step::Nudge, 12), (Step::Due, 15), (Step::Late, 20), (Step::Again, 30), (Step::Again, 45)]);
    }

    #[test]
    fn time_away_leaves_one_reminder_in_the_future() {
        let reminders = Policy::parse(SHIPPED).unwrap().reminders;
        let next = after(&reminders, at(15), Step::Nudge, TimeDelta::minutes(15), at(61));
        assert_eq!((next.step, next.at), (Step::Again, at(75)));
        assert_eq!(missed(at(15), TimeDelta::minutes(15), at(61)), 3);
    }
}
