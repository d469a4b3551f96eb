//! Who is on call for level 1: a rotation, and the shifts that people take or swap against it.
//!
//! Owns turns, overrides and the refusals of `/oncall take` and `/oncall swap`. Pure: `now` is always an argument. People are
//! opaque ids. A turn is from a local time to a local time, so a week with an odd night in it is an hour longer or shorter and
//! still changes hands at 09:00. Of overrides that overlap, the one made last wins: they are kept in the order they were made.

mod read;

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::calendar::TimeOfDay;
use super::schedule::{days_from, first_instant_of, local};

pub use read::{EVERY_DAYS_MAX, PEOPLE_MAX, RotationError};

/// The longest shift that is taken or swapped at once, in days.
pub const TAKE_DAYS_MAX: i64 = 31;
/// How far ahead a swap looks for each one's next shift, in days.
pub const SWAP_LOOK_DAYS: i64 = 366;
/// The most shifts told at once.
pub const SHIFTS_MAX: usize = 1000;
/// How long a past override is kept, in days, so that the last weeks can still be told.
pub const PAST_KEPT_DAYS: i64 = 62;

/// How often the rotation changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Every so many weeks, on this weekday.
    Weeks(u8, Weekday),
    /// Every so many days.
    Days(u16),
}

impl Every {
    fn days(self) -> i64 {
        match self {
            Every::Weeks(weeks, _) => i64::from(weeks) * 7,
            Every::Days(days) => i64::from(days),
        }
    }
}

/// People who are on call in turn.
///
/// ```toml
/// people = ["ana", "ben"]      # the first has the turn that begins at the first handoff on or after `starts`
/// starts = "2026-11-23"
/// handoff = "Mon 09:00"        # "09:00" when it changes every few days
/// every = "1 week"             # "2 weeks", "3 days"
/// zone = "America/Chicago"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "read::Written")]
pub struct Rotation {
    people: Vec<String>,
    first: NaiveDate,
    at: TimeOfDay,
    every: Every,
    zone: Tz,
}

impl Rotation {
    /// A rotation from the first handoff on or after a local date. Before that date the same turns are thought back.
    ///
    /// # Errors
    /// When nobody is in it, somebody has no name, or the turns are not 1 to `EVERY_DAYS_MAX` days.
    pub fn new(
        people: Vec<String>,
        starts: NaiveDate,
        at: TimeOfDay,
        every: Every,
        zone: Tz,
    ) -> Result<Self, RotationError> {
        read::check(&people, every)?;
        let ahead = match every {
            Every::Weeks(_, handoff) => i64::from(handoff.days_since(chrono::Datelike::weekday(&starts))),
            Every::Days(_) => 0,
        };
        Ok(Self { people, first: days_from(starts, ahead), at, every, zone })
    }

    /// The people, in turn.
    pub fn people(&self) -> &[String] {
        &self.people
    }

    /// The zone whose clock it changes hands by.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// How often it changes hands.
    pub fn every(&self) -> Every {
        self.every
    }

    /// The instant at which a turn begins. Turn 0 is the first; turns before it are negative.
    fn handoff(&self, turn: i64) -> DateTime<Utc> {
        first_instant_of(self.zone, days_from(self.first, turn.saturating_mul(self.every.days())), self.at.minutes())
    }

    /// The turn that an instant falls into, whatever overrides say.
    fn turn(&self, at: DateTime<Utc>) -> Shift {
        let days = (local(self.zone, at).date() - self.first).num_days();
        // The date alone may be one off: the day of a handoff belongs to two turns.
        let mut turn = days.div_euclid(self.every.days());
        if at < self.handoff(turn) {
            turn -= 1;
        }
        let place = usize::try_from(turn.rem_euclid(self.people.len() as i64)).unwrap_or(0);
        Shift {
            person: self.people.get(place).cloned().unwrap_or_default(),
            from: self.handoff(turn),
            until: self.handoff(turn + 1),
            because: Because::Rotation,
        }
    }
}

/// Somebody is on call for a while, whatever the rotation says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Who.
    pub person: String,
    /// From this instant …
    pub from: DateTime<Utc>,
    /// … to this one, at which it is over.
    pub until: DateTime<Utc>,
    /// Who said so.
    pub by: String,
    /// Why, in their words; may be empty.
    #[serde(default)]
    pub why: String,
}

impl Override {
    fn covers(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.until
    }
}

/// Why somebody is on call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// It is their turn.
    Rotation,
    /// Somebody said so.
    Override {
        /// Who.
        by: String,
        /// Why; may be empty.
        why: String,
    },
}

/// A time for which one person is on call for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Who.
    pub person: String,
    /// Since this instant …
    pub from: DateTime<Utc>,
    /// … to this one, at which it is over.
    pub until: DateTime<Utc>,
    /// Why.
    pub because: Because,
}

/// Whom level 1 reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// One person.
    One(Shift),
    /// Everybody who holds the role: there is no rotation.
    Everybody {
        /// When somebody takes over alone; open end when nobody has said so.
        until: Option<DateTime<Utc>>,
    },
}

/// Why a shift was not taken or swapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnCallRefusal {
    /// Over before it begins.
    #[error("that time is over already; give one that is still to come")]
    Past,
    /// Too long.
    #[error("that is longer than {TAKE_DAYS_MAX} days; change the rotation for that")]
    TooLong,
    /// No end, and no rotation to take it from.
    #[error("until when? There is no rotation, so there is no shift that would end")]
    NeedsEnd,
    /// Nothing would change.
    #[error("{person} is on call for all of that time already")]
    Already {
        /// Who.
        person: String,
    },
    /// No rotation, so no shifts to swap.
    #[error("there is no rotation, so there are no shifts to swap; take a shift with an end instead")]
    NoRotation,
    /// The same person twice.
    #[error("a swap needs two people")]
    Same,
    /// Somebody has no shift to give.
    #[error("{person} has no shift in the next {SWAP_LOOK_DAYS} days")]
    NoShift {
        /// Who.
        person: String,
    },
}

/// Who is on call at an instant, from when until when, and why.
pub fn on_call(rotation: &Rotation, overrides: &[Override], at: DateTime<Utc>) -> Shift {
    override_at(overrides, at).unwrap_or_else(|| {
        let turn = rotation.turn(at);
        let from = ends_before(overrides, at).fold(turn.from, DateTime::max);
        let until = starts_after(overrides, at).fold(turn.until, DateTime::min);
        Shift { from, until, ..turn }
    })
}

/// The override that holds at an instant, cut where one made later takes over.
pub fn override_at(overrides: &[Override], at: DateTime<Utc>) -> Option<Shift> {
    let (place, held) = overrides.iter().enumerate().rfind(|(_, one)| one.covers(at))?;
    let later = overrides.get(place + 1..).unwrap_or_default();
    Some(Shift {
        person: held.person.clone(),
        from: ends_before(later, at).fold(held.from, DateTime::max),
        until: starts_after(later, at).fold(held.until, DateTime::min),
        because: Because::Override { by: held.by.clone(), why: held.why.clone() },
    })
}

/// Whom level 1 reaches, with a rotation or without one.
pub fn duty(rotation: Option<&Rotation>, overrides: &[Override], at: DateTime<Utc>) -> Duty {
    match rotation {
        Some(rotation) => Duty::One(on_call(rotation, overrides, at)),
        None => match override_at(overrides, at) {
            Some(shift) => Duty::One(shift),
            None => Duty::Everybody { until: starts_after(overrides, at).min() },
        },
    }
}

/// The shifts between two instants, the first and the last whole; at most `SHIFTS_MAX`.
pub fn shifts(rotation: &Rotation, overrides: &[Override], from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Shift> {
    pieces(rotation, overrides, from, to).collect()
}

/// A person takes over from now on. Without an end, until the shift that runs now is over.
///
/// # Errors
/// A sentence: nothing would change, or the time makes no sense.
pub fn take(
    rotation: Option<&Rotation>,
    overrides: &[Override],
    person: &str,
    now: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    why: &str,
) -> Result<Override, OnCallRefusal> {
    let already = || OnCallRefusal::Already { person: person.to_owned() };
    let until = match (until, duty(rotation, overrides, now)) {
        (Some(until), _) => until,
        (None, Duty::One(shift)) if shift.person == person => return Err(already()),
        (None, Duty::One(shift)) => shift.until,
        (None, Duty::Everybody { .. }) => return Err(OnCallRefusal::NeedsEnd),
    };
    if until <= now {
        return Err(OnCallRefusal::Past);
    }
    if until - now > TimeDelta::days(TAKE_DAYS_MAX) {
        return Err(OnCallRefusal::TooLong);
    }
    let mut at = now;
    loop {
        match duty(rotation, overrides, at) {
            Duty::One(shift) if shift.person == person && shift.until >= until => return Err(already()),
            Duty::One(shift) if shift.person == person && shift.until > at => at = shift.until,
            _ => break,
        }
    }
    let (person, by, why) = (person.to_owned(), person.to_owned(), why.to_owned());
    Ok(Override { person, from: now, until, by, why })
}

/// Two people swap their next shifts; one that runs now is swapped from now on.
///
/// # Errors
/// A sentence: there is no rotation, or one of them has no shift.
pub fn swap(
    rotation: Option<&Rotation>,
    overrides: &[Override],
    (one, other): (&str, &str),
    now: DateTime<Utc>,
    by: &str,
    why: &str,
) -> Result<[Override; 2], OnCallRefusal> {
    let rotation = rotation.ok_or(OnCallRefusal::NoRotation)?;
    if one == other {
        return Err(OnCallRefusal::Same);
    }
    let horizon = now.checked_add_signed(TimeDelta::days(SWAP_LOOK_DAYS)).unwrap_or(now);
    let next = |person: &str| {
        pieces(rotation, overrides, now, horizon)
            .find(|shift| shift.person == person)
            .ok_or_else(|| OnCallRefusal::NoShift { person: person.to_owned() })
    };
    let given = |shift: Shift, to: &str| Override {
        person: to.to_owned(),
        from: shift.from.max(now),
        until: shift.until,
        by: by.to_owned(),
        why: why.to_owned(),
    };
    Ok([given(next(one)?, other), given(next(other)?, one)])
}

/// Drops overrides that have been over for `PAST_KEPT_DAYS`.
pub fn forget_past(overrides: &mut Vec<Override>, now: DateTime<Utc>) {
    overrides.retain(|one| now - one.until < TimeDelta::days(PAST_KEPT_DAYS));
}

fn pieces<'a>(
    rotation: &'a Rotation,
    overrides: &'a [Override],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Iterator<Item = Shift> + 'a {
    let mut at = from;
    std::iter::from_fn(move || {
        let shift = (at < to).then(|| on_call(rotation, overrides, at))?;
        // The last turn before the end of all calendars does not end.
        at = if shift.until > at { shift.until } else { to };
        Some(shift)
    })
    .take(SHIFTS_MAX)
}

fn starts_after(overrides: &[Override], at: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    overrides.iter().filter(move |one| at < one.from && one.from < one.until).map(|one| one.from)
}

fn ends_before(overrides: &[Override], at: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    overrides.iter().filter(move |one| one.until <= at && one.from < one.until).map(|one| one.until)
}
