//! When things happen by the calendar: cron lines in the team's zone, and times and spans as people read and write them.
//!
//! Owns the reading of a line, the instants it stands for, and what the two odd nights of a year do to them. Pure: `now` is
//! always an argument. Never stores anything: the instant computed here is what the caller puts on record.
//!
//! The `cron` crate is used as a calendar of *local* times only, fed local time as though it were UTC. Asked in a zone itself
//! it skips a run when the clock jumps, doubles one when it goes back, and loses others.

mod line;
mod local;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer};

pub use line::LINE_CHARS_MAX;
pub(crate) use local::{days_from, first_instant_of};
pub use local::{first_instant, local};
pub use words::{DURATION_DAYS_MAX, DurationError, local_words, minutes_words, parse_duration};
pub(crate) use words::{join, plural_words};

/// Missed runs are counted up to this many.
pub const MISSED_COUNT_MAX: u32 = 1000;

/// Local times looked at for one run. A day that happens twice under a line of every minute needs 2,880.
const SCAN_MAX: usize = 4000;

/// Why a line was not taken. The sentence says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing there.
    #[error("the line is empty; write five fields: minute hour day month weekday, as in `0 9 * * Mon-Fri`")]
    Empty,
    /// Too long.
    #[error("the line is longer than {LINE_CHARS_MAX} characters")]
    TooLong,
    /// Six fields: some programs put seconds first.
    #[error("six fields; seconds are not kept here, so leave the first one out: minute hour day month weekday")]
    Seconds,
    /// Neither five fields nor a macro.
    #[error("{found} fields instead of five: minute hour day month weekday, as in `0 9 * * Mon-Fri`")]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// An unknown `@name`.
    #[error("`{text}` is not known; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually")]
    Macro {
        /// What was written.
        text: String,
    },
    /// `@reboot`.
    #[error("@reboot is no time; a job runs by the calendar, not when something starts")]
    Reboot,
    /// A value that the field does not have.
    #[error("`{text}` is no {field}; write {low} to {high}, lists (1,2), ranges (1-5) and steps (*/2)")]
    Value {
        /// Which field.
        field: &'static str,
        /// What was written.
        text: String,
        /// The least value.
        low: u8,
        /// The greatest value.
        high: u8,
    },
    /// A range that ends before it begins.
    #[error("`{item}` in the {field} ends before it begins; write it as two ranges")]
    Backwards {
        /// Which field.
        field: &'static str,
        /// What was written.
        item: String,
    },
    /// A step of nothing, or one that leaves the range at once.
    #[error("`{item}` in the {field}: a step is 1 to {high}")]
    Step {
        /// Which field.
        field: &'static str,
        /// What was written.
        item: String,
        /// The greatest step.
        high: u8,
    },
    /// A step after a single number, which programs read differently.
    #[error("`{item}` in the {field}: a step needs a range, so write {low}-{high}/{step}")]
    StepAfterNumber {
        /// Which field.
        field: &'static str,
        /// What was written.
        item: String,
        /// The number.
        low: u8,
        /// The end of the range that was probably meant.
        high: u8,
        /// The step.
        step: u8,
    },
    /// The calendar behind refused what was read. Not known to happen.
    #[error("the line cannot be kept: {reason}")]
    Calendar {
        /// What it said.
        reason: String,
    },
}

/// A cron line, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    text: String,
    line: line::Line,
    /// One calendar of local times, or two of which either is enough.
    calendars: Vec<cron::Schedule>,
}

/// Runs that a time of absence went past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// How many; `MISSED_COUNT_MAX` stands for that many or more.
    pub count: u32,
    /// The latest of them; none when nothing was missed.
    pub latest: Option<DateTime<Utc>>,
}

impl Schedule {
    /// Reads five fields (minute, hour, day of the month, month, weekday) or a macro (`@daily`) by the rules of crontab(5):
    /// weekdays 0 to 7 with Sunday at both ends, names, lists, ranges, steps; when neither the day of the month nor the
    /// weekday begins with a star, a day counts when either is right.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(line: &str) -> Result<Self, ScheduleError> {
        let read = line::Line::parse(line)?;
        let calendars: Result<Vec<cron::Schedule>, ScheduleError> = read
            .expressions()
            .iter()
            .map(|one| cron::Schedule::from_str(one).map_err(|e| ScheduleError::Calendar { reason: e.to_string() }))
            .collect();
        Ok(Self { text: line.trim().to_owned(), line: read, calendars: calendars? })
    }

    /// The line as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first run after an instant; `None` when there is none up to the year 2100.
    ///
    /// A local time that does not exist that night runs at the next that does, one that happens twice runs once, the first
    /// time. A line that repeats through the hours (`*` or `*/n` in minute or hour) keeps its pace instead: it runs both
    /// times, and what the clock jumped over runs when it would have come.
    pub fn next_after(&self, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = local::within(after);
        let repeats = self.line.repeats();
        let shown = local(zone, after);
        let (mut seen, goes_back) = if repeats { local::floor(zone, after) } else { (shown, false) };
        let mut best: Option<DateTime<Utc>> = None;
        for _ in 0..SCAN_MAX {
            let Some(next) = self.next_local(seen) else { break };
            let moments = local::Moments::of(zone, next);
            let (first, second) = if repeats { (moments.unjumped, moments.second) } else { (moments.first, None) };
            for at in std::iter::once(first).chain(second) {
                if at > after && best.is_none_or(|best| at < best) {
                    best = Some(at);
                }
            }
            // Later local times can be earlier instants only for a line that repeats, while the clock is about to change.
            if best.is_some_and(|best| !repeats || next >= local::ceiling(zone, best)) {
                break;
            }
            // Of the local times up to the one shown, only the first to come again, or the first still to be made up for,
            // can be the next run. Before the clock goes back, it is not known from which on they come again.
            seen = if goes_back && best.is_none() { next } else { next.max(shown) };
        }
        best
    }

    /// The runs after an instant, in order.
    pub fn times(&self, zone: Tz, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next_after(zone, after), move |at| self.next_after(zone, *at))
    }

    /// The next `n` runs after an instant; fewer when there are no more.
    pub fn next_times(&self, zone: Tz, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
        self.times(zone, after).take(n).collect()
    }

    /// What was to run after `last`, up to and including `now`.
    pub fn missed(&self, zone: Tz, last: DateTime<Utc>, now: DateTime<Utc>) -> Missed {
        let mut missed = Missed::default();
        for at in self.times(zone, last).take_while(|at| *at <= now) {
            missed = Missed { count: missed.count + 1, latest: Some(at) };
            if missed.count == MISSED_COUNT_MAX {
                missed.latest = self.latest(zone, at, now).or(missed.latest);
                break;
            }
        }
        missed
    }

    /// The last run after `since`, up to and including `now`, of which there is one: halves the time in which it can be.
    fn latest(&self, zone: Tz, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut early, mut late) = (since, now);
        while late - early > TimeDelta::seconds(1) {
            let middle = early + (late - early) / 2;
            match self.next_after(zone, middle) {
                Some(at) if at <= now => early = middle,
                _ => late = middle,
            }
        }
        self.next_after(zone, early).filter(|at| *at <= now)
    }

    /// What the line means, for people: "every weekday at 09:00".
    pub fn in_words(&self) -> String {
        words::line_words(&self.line)
    }

    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc();
        self.calendars.iter().filter_map(|calendar| calendar.after(&after).next()).min().map(|at| at.naive_utc())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(line: &str) -> Result<Self, ScheduleError> {
        Self::parse(line)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
