//! Working hours, quiet hours, holidays and deploy windows, all in the team's zone.
//!
//! Owns when something is open and why it is not. Every edge is a local time turned into an instant by `schedule`, so a window
//! over an odd night is neither lost nor doubled. Pure: `now` is always an argument. Never decides what waits: callers ask
//! until when, and defer; nothing is dropped here.

mod read;

#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;
use serde::Deserialize;

use super::schedule::{days_from, first_instant_of, join, local, plural_words};

pub use read::{CalendarError, HOLIDAYS_MAX};

/// How far ahead an opening is looked for, in days. Two years: a holiday list that closes more is a mistake in the list.
pub const SEARCH_DAYS_MAX: i64 = 732;

/// A time of day in whole minutes, 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    /// Minutes after midnight, at most 1440.
    pub fn minutes(self) -> u16 {
        self.minutes
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// Days of the week, at least one. Written `Mon-Fri`, `Mon, Wed`, `Fri-Mon` or `every day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeekDays {
    /// Bit 0 is Monday.
    set: u8,
}

impl WeekDays {
    /// Whether a day is among them.
    pub fn contains(self, day: Weekday) -> bool {
        self.set >> day.num_days_from_monday() & 1 == 1
    }

    /// The days, Monday first.
    pub fn days(self) -> impl Iterator<Item = Weekday> {
        (0..7u8).filter_map(|n| Weekday::try_from(n).ok()).filter(move |day| self.contains(*day))
    }
}

impl fmt::Display for WeekDays {
    /// "Mon-Fri", "Mon, Wed and Fri", "every day".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<Weekday> = self.days().collect();
        match &days[..] {
            [_, _, _, _, _, _, _] => f.write_str("every day"),
            [first, _, .., last] if usize::try_from(last.days_since(*first)).is_ok_and(|n| n + 1 == days.len()) => {
                write!(f, "{first}-{last}")
            }
            _ => f.write_str(&join(&days.iter().map(Weekday::to_string).collect::<Vec<_>>())),
        }
    }
}

/// When people work. `{ days = "Mon-Fri", from = "09:00", to = "17:00" }`; never over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::Hours")]
pub struct WorkingHours {
    /// On which days.
    pub days: WeekDays,
    /// From this time …
    pub from: TimeOfDay,
    /// … to this time, which is outside already.
    pub to: TimeOfDay,
}

/// When nobody is nudged. `{ from = "22:00", to = "07:00" }`; usually over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::Quiet")]
pub struct QuietHours {
    /// From this time …
    pub from: TimeOfDay,
    /// … to this time, the next day when it is not later.
    pub to: TimeOfDay,
}

/// A day off, or several in a row. `{ date = "2026-12-25", name = "Christmas Day" }`, `{ from = …, to = …, name = … }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::Days")]
pub struct Holiday {
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
    /// What people call it.
    pub name: String,
}

/// The days off. In policy either `holidays = [ … ]` or `[holidays]` with `days = [ … ]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holidays {
    days: Vec<Holiday>,
}

impl Holidays {
    /// The holiday that a date falls on.
    pub fn on(&self, date: NaiveDate) -> Option<&Holiday> {
        self.days.iter().find(|holiday| (holiday.first..=holiday.last).contains(&date))
    }

    /// All of them, as listed.
    pub fn all(&self) -> &[Holiday] {
        &self.days
    }
}

/// When deploys may go out. `{ days = "Tue-Thu", from = "10:00", to = "14:00", month_end_days = 2, quarter_end_days = 5 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::DeployWindow")]
pub struct Window {
    /// The days and hours.
    pub hours: WorkingHours,
    /// Whether it stays open on holidays; closed when absent.
    pub on_holidays: bool,
    /// Closed on this many last days of a month; 0 when absent.
    pub month_end_days: u8,
    /// Closed on this many last days of a quarter; 0 when absent.
    pub quarter_end_days: u8,
}

/// Why something is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// A holiday, by name.
    Holiday(String),
    /// The last days of a quarter.
    QuarterEnd,
    /// The last days of a month.
    MonthEnd,
    /// Not one of its days.
    Day(Weekday, WeekDays),
    /// The day has not begun.
    Before(TimeOfDay),
    /// The day is over.
    After(TimeOfDay),
}

impl fmt::Display for Closed {
    /// The end of a sentence: "it is Christmas Day", "it opens at 10:00".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Holiday(name) => write!(f, "it is {name}"),
            Closed::QuarterEnd => f.write_str("it is the end of the quarter"),
            Closed::MonthEnd => f.write_str("it is the end of the month"),
            Closed::Day(today, days) => write!(f, "not on {}, only {days}", plural_words(*today)),
            Closed::Before(from) => write!(f, "it opens at {from}"),
            Closed::After(to) => write!(f, "it closed at {to}"),
        }
    }
}

/// Whether something is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Open until this instant, at which it is closed.
    Open {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// Closed.
    Closed {
        /// When it opens; none when it does not within `SEARCH_DAYS_MAX`.
        opens: Option<DateTime<Utc>>,
        /// Why.
        reason: Closed,
    },
}

/// What holds a message back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nothing.
    Never,
    /// Quiet hours.
    QuietHours,
    /// Everything but working hours.
    OutsideWorkingHours,
}

/// A message held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: DeferReason,
}

/// Why a message is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeferReason {
    /// Quiet hours, which end at this time of day.
    Quiet(TimeOfDay),
    /// Outside working hours.
    NotWorking(Closed),
}

impl fmt::Display for DeferReason {
    /// "quiet hours until 07:00", "outside working hours: it is Christmas Day".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeferReason::Quiet(to) => write!(f, "quiet hours until {to}"),
            DeferReason::NotWorking(Closed::Before(from)) => write!(f, "outside working hours: they begin at {from}"),
            DeferReason::NotWorking(Closed::After(to)) => write!(f, "outside working hours: they ended at {to}"),
            DeferReason::NotWorking(closed) => write!(f, "outside working hours: {closed}"),
        }
    }
}

/// A team's hours, together.
#[derive(Debug, Clone, Copy)]
pub struct Calendar<'a> {
    /// The team's zone.
    pub zone: Tz,
    /// When people work.
    pub working_hours: &'a WorkingHours,
    /// When nobody is nudged.
    pub quiet_hours: &'a QuietHours,
    /// Days off.
    pub holidays: &'a Holidays,
}

impl Calendar<'_> {
    /// Whether people are at work.
    pub fn is_working(&self, now: DateTime<Utc>) -> bool {
        matches!(self.working(now), Opening::Open { .. })
    }

    /// Whether people are at work, until when, or when next and why not now.
    pub fn working(&self, now: DateTime<Utc>) -> Opening {
        working_state(self.working_hours, self.holidays, self.zone, now)
    }

    /// The start of the next working period after now, outside holidays; none within `SEARCH_DAYS_MAX`.
    pub fn next_working_instant(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = match self.working(now) {
            Opening::Closed { opens, .. } => return opens,
            Opening::Open { until } => until,
        };
        match self.working(after) {
            Opening::Open { .. } => Some(after),
            Opening::Closed { opens, .. } => opens,
        }
    }

    /// Until when, and why, a message that may be held back so is. None: it goes out now.
    pub fn defer(&self, now: DateTime<Utc>, hold: Hold) -> Option<Deferral> {
        match hold {
            Hold::Never => None,
            Hold::QuietHours => quiet_until(self.quiet_hours, self.zone, now)
                .map(|until| Deferral { until, reason: DeferReason::Quiet(self.quiet_hours.to) }),
            Hold::OutsideWorkingHours => match self.working(now) {
                Opening::Closed { opens: Some(until), reason } => {
                    Some(Deferral { until, reason: DeferReason::NotWorking(reason) })
                }
                // A calendar that never opens holds nothing back for ever.
                Opening::Open { .. } | Opening::Closed { opens: None, .. } => None,
            },
        }
    }
}

/// The instant itself inside working hours, the start of the next ones otherwise. A calendar that never opens holds nothing
/// back: it is the instant itself.
pub fn working_at(hours: &WorkingHours, holidays: &Holidays, zone: Tz, at: DateTime<Utc>) -> DateTime<Utc> {
    match working_state(hours, holidays, zone, at) {
        Opening::Open { .. } | Opening::Closed { opens: None, .. } => at,
        Opening::Closed { opens: Some(opens), .. } => opens,
    }
}

/// Whether these are working hours, until when, or when next and why not now.
pub fn working_state(hours: &WorkingHours, holidays: &Holidays, zone: Tz, now: DateTime<Utc>) -> Opening {
    opening(hours, zone, now, |date| {
        holidays.on(date).map(|holiday| Closed::Holiday(holiday.name.clone())).or_else(|| not_its_day(hours, date))
    })
}

/// When quiet hours end, while they last.
pub fn quiet_until(quiet: &QuietHours, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let today = local(zone, now).date();
    let over_midnight = i64::from(quiet.to <= quiet.from);
    (-2..=1).map(|days| days_from(today, days)).find_map(|date| {
        let from = first_instant_of(zone, date, quiet.from.minutes);
        let until = first_instant_of(zone, days_from(date, over_midnight), quiet.to.minutes);
        (from <= now && now < until).then_some(until)
    })
}

/// The instant itself, or the end of the quiet hours that it falls into.
pub fn after_quiet(quiet: &QuietHours, zone: Tz, at: DateTime<Utc>) -> DateTime<Utc> {
    quiet_until(quiet, zone, at).unwrap_or(at)
}

/// Whether a deploy may go out, until when, or when next and why not now.
pub fn window_state(window: &Window, holidays: &Holidays, zone: Tz, now: DateTime<Utc>) -> Opening {
    opening(&window.hours, zone, now, |date| {
        let holiday = holidays.on(date).filter(|_| !window.on_holidays);
        if let Some(holiday) = holiday {
            return Some(Closed::Holiday(holiday.name.clone()));
        }
        if is_end_of_quarter(date, window.quarter_end_days) {
            return Some(Closed::QuarterEnd);
        }
        if is_end_of_month(date, window.month_end_days) {
            return Some(Closed::MonthEnd);
        }
        not_its_day(&window.hours, date)
    })
}

/// Whether a date is among this many last days of its month. Never for 0.
pub fn is_end_of_month(date: NaiveDate, last_days: u8) -> bool {
    days_from(date, i64::from(last_days)).month() != date.month() || last_days > 31
}

/// Whether a date is among this many last days of its quarter. Never for 0.
pub fn is_end_of_quarter(date: NaiveDate, last_days: u8) -> bool {
    let quarter = |date: NaiveDate| (date.year(), date.quarter());
    quarter(days_from(date, i64::from(last_days))) != quarter(date)
}

fn not_its_day(hours: &WorkingHours, date: NaiveDate) -> Option<Closed> {
    (!hours.days.contains(date.weekday())).then(|| Closed::Day(date.weekday(), hours.days))
}

/// Looks from yesterday on (where a clock goes back over midnight) for the first period that is not over.
fn opening(
    hours: &WorkingHours,
    zone: Tz,
    now: DateTime<Utc>,
    closed: impl Fn(NaiveDate) -> Option<Closed>,
) -> Opening {
    let today = local(zone, now).date();
    let mut periods = (-1..=SEARCH_DAYS_MAX)
        .map(|days| days_from(today, days))
        .filter(|date| closed(*date).is_none())
        .map(|date| (first_instant_of(zone, date, hours.from.minutes), first_instant_of(zone, date, hours.to.minutes)))
        // A period that the clock jumped over whole is none.
        .filter(|(from, until)| from < until && now < *until);
    let next = periods.next();
    match next {
        Some((from, mut until)) if from <= now => {
            // Days that meet at midnight are one period.
            while let Some((_, later)) = periods.next().filter(|(from, _)| *from == until) {
                until = later;
            }
            Opening::Open { until }
        }
        _ => {
            let from = first_instant_of(zone, today, hours.from.minutes);
            let in_day = if now < from { Closed::Before(hours.from) } else { Closed::After(hours.to) };
            Opening::Closed { opens: next.map(|(from, _)| from), reason: closed(today).unwrap_or(in_day) }
        }
    }
}
