//! How a rotation is written in the team's file, and what is refused.

use chrono::{NaiveDate, Weekday};
use chrono_tz::Tz;
use serde::Deserialize;

use super::{Every, Rotation};
use crate::domain::calendar::{CalendarError, TimeOfDay};

/// The most people in a rotation.
pub const PEOPLE_MAX: usize = 100;
/// The longest turn, in days.
pub const EVERY_DAYS_MAX: u16 = 365;

/// Why a rotation was not taken. The sentence says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Nobody in it.
    #[error("the rotation has no people; name at least one, or leave the rotation out to call everybody with the role")]
    Nobody,
    /// Too many people.
    #[error("more than {PEOPLE_MAX} people in a rotation")]
    TooMany,
    /// A person without a name.
    #[error("somebody in the rotation has an empty name")]
    Nameless,
    /// No length of a turn.
    #[error("every = “{0}” is no turn; write 1 week, 2 weeks or 3 days, at most {EVERY_DAYS_MAX} days")]
    Every(String),
    /// A turn of nothing, or longer than a year.
    #[error("a turn is 1 to {EVERY_DAYS_MAX} days")]
    Length,
    /// Weeks without a weekday.
    #[error("handoff = “{0}” names no weekday; turns of weeks change hands on one, as in Mon 09:00")]
    NeedsWeekday(String),
    /// Days with a weekday.
    #[error("handoff = “{0}” names a weekday, and turns of days change hands on all of them; write the time alone")]
    NoWeekday(String),
    /// Not a handoff.
    #[error("handoff = “{0}” is no time; write Mon 09:00")]
    Handoff(String),
    /// No time of day.
    #[error(transparent)]
    Time(#[from] CalendarError),
    /// No date.
    #[error("starts = “{0}” is no date; write 2026-11-23")]
    Starts(String),
    /// No zone.
    #[error("zone = “{0}” is not known; write one of the tz database, as America/Chicago")]
    Zone(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    people: Vec<String>,
    starts: String,
    handoff: String,
    every: String,
    zone: String,
}

impl TryFrom<Written> for Rotation {
    type Error = RotationError;

    fn try_from(Written { people, starts, handoff, every, zone }: Written) -> Result<Self, RotationError> {
        let starts: NaiveDate = starts.trim().parse().map_err(|_| RotationError::Starts(starts))?;
        let zone: Tz = zone.trim().parse().map_err(|_| RotationError::Zone(zone))?;
        let (weekday, at) = handoff_time(&handoff)?;
        let every = match (length(&every)?, weekday) {
            (Length::Weeks(weeks), Some(weekday)) => Every::Weeks(weeks, weekday),
            (Length::Weeks(_), None) => return Err(RotationError::NeedsWeekday(handoff)),
            (Length::Days(days), None) => Every::Days(days),
            (Length::Days(_), Some(_)) => return Err(RotationError::NoWeekday(handoff)),
        };
        Self::new(people, starts, at, every, zone)
    }
}

pub(super) fn check(people: &[String], every: Every) -> Result<(), RotationError> {
    if people.is_empty() {
        return Err(RotationError::Nobody);
    }
    if people.len() > PEOPLE_MAX {
        return Err(RotationError::TooMany);
    }
    if people.iter().any(|person| person.trim().is_empty()) {
        return Err(RotationError::Nameless);
    }
    if !(1..=i64::from(EVERY_DAYS_MAX)).contains(&every.days()) {
        return Err(RotationError::Length);
    }
    Ok(())
}

fn handoff_time(text: &str) -> Result<(Option<Weekday>, TimeOfDay), RotationError> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [at] => Ok((None, at.parse()?)),
        [day, at] => {
            let day = day.parse().map_err(|_| RotationError::Handoff(text.to_owned()))?;
            Ok((Some(day), at.parse()?))
        }
        _ => Err(RotationError::Handoff(text.to_owned())),
    }
}

enum Length {
    Weeks(u8),
    Days(u16),
}

fn length(text: &str) -> Result<Length, RotationError> {
    let refused = || RotationError::Every(text.to_owned());
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = match lower.split_whitespace().collect::<Vec<_>>()[..] {
        [unit] => ("1", unit.to_owned()),
        [number, unit] => (number, unit.to_owned()),
        _ => return Err(refused()),
    };
    match unit.as_str() {
        "week" | "weeks" => number.parse().map(Length::Weeks).map_err(|_| refused()),
        "day" | "days" => number.parse().map(Length::Days).map_err(|_| refused()),
        _ => Err(refused()),
    }
}
