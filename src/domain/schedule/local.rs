//! Local times and instants: the only place where one becomes the other.
//!
//! Owns the two odd nights: a local time that does not exist (the clock jumped over it) and one that happens twice. Pure and
//! total: an instant outside 1900 to 2200 is taken as the nearest that is inside.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// 1900-01-01T00:00:00Z, in seconds of Unix time.
const EARLIEST_S: i64 = -2_208_988_800;
/// 2200-01-01T00:00:00Z, in seconds of Unix time.
const LATEST_S: i64 = 7_258_118_400;
/// Further than any zone stands from UTC, with a skipped day (Apia, 2011) on top.
const AROUND: TimeDelta = TimeDelta::hours(26);

/// What the clock on the wall shows in a zone.
pub fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    let at = within(at);
    at.naive_utc() + offset(zone, at)
}

/// The first instant at which the clock on the wall shows this time or has passed it.
///
/// A time that does not exist is the end of the jump; one that happens twice is its first time. Never decreases when `local`
/// grows, so periods between local times never overlap and never turn round.
pub fn first_instant(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    Moments::of(zone, local).first
}

/// The first instant of a time of day, given in minutes after midnight; 24 hours are the next day's midnight.
pub(crate) fn first_instant_of(zone: Tz, date: NaiveDate, minutes: u16) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    first_instant(zone, midnight.checked_add_signed(TimeDelta::minutes(i64::from(minutes))).unwrap_or(midnight))
}

/// A date some days away, as far as the calendar goes.
pub(crate) fn days_from(date: NaiveDate, days: i64) -> NaiveDate {
    let distance = Days::new(days.unsigned_abs());
    let there = if days < 0 { date.checked_sub_days(distance) } else { date.checked_add_days(distance) };
    there.unwrap_or(date)
}

/// The instant itself, or the nearest for which calendars are kept.
pub(super) fn within(at: DateTime<Utc>) -> DateTime<Utc> {
    match at.timestamp() {
        s if s < EARLIEST_S => DateTime::from_timestamp(EARLIEST_S, 0).unwrap_or(at),
        s if s > LATEST_S => DateTime::from_timestamp(LATEST_S, 0).unwrap_or(at),
        _ => at,
    }
}

/// How far a zone's clock stands from UTC.
pub(super) fn offset(zone: Tz, at: DateTime<Utc>) -> TimeDelta {
    TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()))
}

/// A local time so early that every one with an instant after `at` comes after it.
///
/// That is what the clock shows, but just before it goes back (it will show less), and just after it jumped (what it jumped
/// over is still being made up for). Says as well whether the clock is about to go back.
pub(super) fn floor(zone: Tz, at: DateTime<Utc>) -> (NaiveDateTime, bool) {
    let here = offset(zone, at);
    let changes_to_less = |towards: i32| {
        let there = offset(zone, at + AROUND * towards);
        let by = here - there;
        (by > TimeDelta::zero() && offset(zone, at + by * towards) == there).then_some(there)
    };
    match changes_to_less(1) {
        Some(ahead) => (at.naive_utc() + ahead, true),
        None => (at.naive_utc() + changes_to_less(-1).unwrap_or(here), false),
    }
}

/// A local time so late that every one with an instant before `at` comes before it.
///
/// That is what the clock shows, but just after it went back: it has shown more.
pub(super) fn ceiling(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    let (here, there) = (offset(zone, at), offset(zone, at - AROUND));
    let by = there - here;
    let went_back = by > TimeDelta::zero() && offset(zone, at - by) == there;
    at.naive_utc() + if went_back { there } else { here }
}

/// The instants that belong to one local time.
pub(super) struct Moments {
    /// The first instant at which the clock shows this time or has passed it.
    pub(super) first: DateTime<Utc>,
    /// When this time would have come had the clock not jumped over it; the same as `first` when it did not.
    pub(super) unjumped: DateTime<Utc>,
    /// The second time the clock shows it.
    pub(super) second: Option<DateTime<Utc>>,
}

impl Moments {
    pub(super) fn of(zone: Tz, local: NaiveDateTime) -> Self {
        let local = within(local.and_utc()).naive_utc();
        match zone.from_local_datetime(&local).map(|at| at.to_utc()) {
            chrono::LocalResult::Single(at) => Self { first: at, unjumped: at, second: None },
            chrono::LocalResult::Ambiguous(one, two) => {
                Self { first: one.min(two), unjumped: one.min(two), second: Some(one.max(two)) }
            }
            chrono::LocalResult::None => {
                let first = jump(zone, local);
                let before = offset(zone, first - TimeDelta::seconds(1));
                Self { first, unjumped: local.and_utc() - before, second: None }
            }
        }
    }
}

/// The instant at which the clock jumped over a local time, to the second.
fn jump(zone: Tz, missing: NaiveDateTime) -> DateTime<Utc> {
    let (mut early, mut late) = ((missing.and_utc() - AROUND).timestamp(), (missing.and_utc() + AROUND).timestamp());
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match DateTime::from_timestamp(middle, 0) {
            Some(at) if at.naive_utc() + offset(zone, at) < missing => early = middle,
            _ => late = middle,
        }
    }
    DateTime::from_timestamp(late, 0).unwrap_or_else(|| missing.and_utc())
}
