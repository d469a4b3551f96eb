//! How hours, days off and windows are written in policy, and what is refused.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDate, Weekday};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Holiday, Holidays, QuietHours, TimeOfDay, WeekDays, Window, WorkingHours};

/// The most entries in a list of days off.
pub const HOLIDAYS_MAX: usize = 500;

/// The most last days of a month or quarter that a window may close on.
const END_DAYS_MAX: u8 = 31;

/// Why hours or days were not taken. The sentence says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// No time of day.
    #[error("“{0}” is no time of day; write 09:00, with 24:00 for the end of the day")]
    Time(String),
    /// No days of the week.
    #[error("“{0}” names no days; write Mon-Fri, or Mon, Wed, or every day")]
    Days(String),
    /// Over midnight.
    #[error("{from} to {to} ends before it begins; working hours and windows lie within one day")]
    Backwards {
        /// Its beginning.
        from: TimeOfDay,
        /// Its end.
        to: TimeOfDay,
    },
    /// Quiet all day, or never.
    #[error("quiet hours from {0} to {0} are either never or always; give them an end")]
    QuietAlways(TimeOfDay),
    /// No date.
    #[error("“{0}” is no date; write 2026-12-25")]
    Date(String),
    /// A day off with neither a date nor both ends.
    #[error("“{0}” needs either a date, or a from and a to")]
    NeedsDate(String),
    /// A range that ends before it begins.
    #[error("“{0}” ends before it begins")]
    HolidayBackwards(String),
    /// No name.
    #[error("the day off on {0} has no name")]
    NoName(NaiveDate),
    /// More last days than a month has.
    #[error("{0} last days are more than a month has")]
    EndDays(u8),
}

impl FromStr for TimeOfDay {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let refused = || CalendarError::Time(text.to_owned());
        let number = |part: &str| -> Option<u16> {
            (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok()).flatten()
        };
        let (hours, minutes) = text.trim().split_once(':').ok_or_else(refused)?;
        match (number(hours), number(minutes)) {
            (Some(24), Some(0)) => Ok(Self { minutes: 24 * 60 }),
            (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(Self { minutes: hours * 60 + minutes }),
            _ => Err(refused()),
        }
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for WeekDays {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let refused = || CalendarError::Days(text.to_owned());
        let day = |name: &str| name.trim().parse::<Weekday>().map_err(|_| refused());
        if text.trim().eq_ignore_ascii_case("every day") {
            return Ok(Self { set: 0b111_1111 });
        }
        let mut set = 0u8;
        for item in text.split(',') {
            let (first, last) = match item.split_once('-') {
                Some((first, last)) => (day(first)?, day(last)?),
                None => (day(item)?, day(item)?),
            };
            let mut here = first;
            set |= 1 << here.num_days_from_monday();
            while here != last {
                here = here.succ();
                set |= 1 << here.num_days_from_monday();
            }
        }
        Ok(Self { set })
    }
}

impl<'de> Deserialize<'de> for WeekDays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hours {
    days: WeekDays,
    from: TimeOfDay,
    to: TimeOfDay,
}

impl TryFrom<Hours> for WorkingHours {
    type Error = CalendarError;

    fn try_from(Hours { days, from, to }: Hours) -> Result<Self, CalendarError> {
        if from >= to {
            return Err(CalendarError::Backwards { from, to });
        }
        Ok(Self { days, from, to })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quiet {
    from: TimeOfDay,
    to: TimeOfDay,
}

impl TryFrom<Quiet> for QuietHours {
    type Error = CalendarError;

    fn try_from(Quiet { from, to }: Quiet) -> Result<Self, CalendarError> {
        if from == to {
            return Err(CalendarError::QuietAlways(from));
        }
        Ok(Self { from, to })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeployWindow {
    days: WeekDays,
    from: TimeOfDay,
    to: TimeOfDay,
    #[serde(default)]
    on_holidays: bool,
    #[serde(default)]
    month_end_days: u8,
    #[serde(default)]
    quarter_end_days: u8,
}

impl TryFrom<DeployWindow> for Window {
    type Error = CalendarError;

    fn try_from(written: DeployWindow) -> Result<Self, CalendarError> {
        let DeployWindow { days, from, to, on_holidays, month_end_days, quarter_end_days } = written;
        let hours = WorkingHours::try_from(Hours { days, from, to })?;
        match month_end_days.max(quarter_end_days) {
            most if most > END_DAYS_MAX => Err(CalendarError::EndDays(most)),
            _ => Ok(Self { hours, on_holidays, month_end_days, quarter_end_days }),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Days {
    #[serde(default)]
    date: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    name: String,
}

impl TryFrom<Days> for Holiday {
    type Error = CalendarError;

    fn try_from(Days { date, from, to, name }: Days) -> Result<Self, CalendarError> {
        let read = |text: String| text.trim().parse().map_err(|_| CalendarError::Date(text));
        let (first, last): (NaiveDate, NaiveDate) = match (date, from, to) {
            (Some(date), None, None) => {
                let date = read(date)?;
                (date, date)
            }
            (None, Some(from), Some(to)) => (read(from)?, read(to)?),
            _ => return Err(CalendarError::NeedsDate(name)),
        };
        if name.trim().is_empty() {
            return Err(CalendarError::NoName(first));
        }
        if first > last {
            return Err(CalendarError::HolidayBackwards(name));
        }
        Ok(Self { first, last, name })
    }
}

impl<'de> Deserialize<'de> for Holidays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(List)
    }
}

/// A list, or a table that holds one. By hand, so that what is wrong in an entry is still said.
struct List;

impl<'de> Visitor<'de> for List {
    type Value = Holidays;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of days off, each with a date and a name")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Holidays, A::Error> {
        let mut days = Vec::new();
        while let Some(one) = list.next_element::<Holiday>()? {
            if days.len() == HOLIDAYS_MAX {
                return Err(de::Error::custom(format!("more than {HOLIDAYS_MAX} days off")));
            }
            days.push(one);
        }
        Ok(Holidays { days })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Holidays, A::Error> {
        let mut holidays = None;
        while let Some(key) = table.next_key::<String>()? {
            if key != "days" {
                return Err(de::Error::unknown_field(&key, &["days"]));
            }
            if holidays.is_some() {
                return Err(de::Error::duplicate_field("days"));
            }
            holidays = Some(table.next_value_seed(ListSeed)?);
        }
        Ok(holidays.unwrap_or_default())
    }
}

struct ListSeed;

impl<'de> de::DeserializeSeed<'de> for ListSeed {
    type Value = Holidays;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Holidays, D::Error> {
        deserializer.deserialize_seq(List)
    }
}
