//! A cron line as people write it: five fields, read by the rules of crontab(5).
//!
//! Owns the grammar and the refusals. The one place where these rules are turned into the `cron` crate's own: it counts seconds
//! first, weekdays from Sunday = 1, and joins day of the month and weekday with AND, where crontab(5) joins them with OR.

use std::str::FromStr;

use chrono::{Month, Weekday};

use super::ScheduleError;

/// The longest line taken, in characters.
pub const LINE_CHARS_MAX: usize = 200;

/// What a field counts.
struct Unit {
    name: &'static str,
    low: u8,
    /// The highest value that may be written. 7 for weekdays, where it means Sunday again.
    high: u8,
    /// The highest value that is kept.
    last: u8,
    named: fn(&str) -> Option<u8>,
}

const MINUTE: Unit = Unit { name: "minute", low: 0, high: 59, last: 59, named: |_| None };
const HOUR: Unit = Unit { name: "hour", low: 0, high: 23, last: 23, named: |_| None };
const DAY: Unit = Unit { name: "day of the month", low: 1, high: 31, last: 31, named: |_| None };
const MONTH: Unit = Unit {
    name: "month",
    low: 1,
    high: 12,
    last: 12,
    named: |text| Month::from_str(text).ok().and_then(|month| u8::try_from(month.number_from_month()).ok()),
};
const WEEKDAY: Unit = Unit {
    name: "weekday",
    low: 0,
    high: 7,
    last: 6,
    named: |text| Weekday::from_str(text).ok().and_then(|day| u8::try_from(day.num_days_from_sunday()).ok()),
};

/// The values that one field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Bit n stands for the value n.
    set: u64,
    low: u8,
    last: u8,
    /// Whether it was written with a star in front, which makes crontab(5) read days differently.
    star: bool,
}

impl Field {
    /// The values, ascending.
    pub(super) fn values(&self) -> Vec<u8> {
        (self.low..=self.last).filter(|value| self.set >> value & 1 == 1).collect()
    }

    /// Whether it names every value there is.
    pub(super) fn is_full(&self) -> bool {
        (self.low..=self.last).all(|value| self.set >> value & 1 == 1)
    }

    /// Whether it goes on through the whole range: `*`, `*/n`, or every value by name.
    fn repeats(&self) -> bool {
        self.star || self.is_full()
    }

    /// As the `cron` crate reads it, with its first value counted as `first`.
    fn written_from(&self, first: u8) -> String {
        if self.is_full() {
            return "*".to_owned();
        }
        let values: Vec<String> = self.values().iter().map(|value| (value - self.low + first).to_string()).collect();
        values.join(",")
    }
}

/// A line, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) minutes: Field,
    pub(super) hours: Field,
    pub(super) days: Field,
    pub(super) months: Field,
    /// 0 is Sunday.
    pub(super) weekdays: Field,
}

impl Line {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.chars().count() > LINE_CHARS_MAX {
            return Err(ScheduleError::TooLong);
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let text = if text.starts_with('@') { macro_line(text)? } else { text };
        let fields: Vec<&str> = text.split_whitespace().collect();
        match fields[..] {
            [minutes, hours, days, months, weekdays] => Ok(Self {
                minutes: field(&MINUTE, minutes)?,
                hours: field(&HOUR, hours)?,
                days: field(&DAY, days)?,
                months: field(&MONTH, months)?,
                weekdays: field(&WEEKDAY, weekdays)?,
            }),
            [_, _, _, _, _, _] => Err(ScheduleError::Seconds),
            _ => Err(ScheduleError::FieldCount { found: fields.len() }),
        }
    }

    /// Whether the line repeats through the hours, so that it keeps its pace on the odd nights.
    pub(super) fn repeats(&self) -> bool {
        self.minutes.repeats() || self.hours.repeats()
    }

    /// Whether a day counts when *either* the day of the month or the weekday is right; both must be otherwise.
    pub(super) fn either_day(&self) -> bool {
        !self.days.star && !self.weekdays.star
    }

    /// The line in the `cron` crate's own writing. One expression, or two of which either is enough.
    pub(super) fn expressions(&self) -> Vec<String> {
        let time = format!("0 {} {}", self.minutes.written_from(0), self.hours.written_from(0));
        let month = self.months.written_from(1);
        let (day, weekday) = (self.days.written_from(1), self.weekdays.written_from(1));
        if !self.either_day() {
            return vec![format!("{time} {day} {month} {weekday}")];
        }
        if self.days.is_full() || self.weekdays.is_full() {
            return vec![format!("{time} * {month} *")];
        }
        vec![format!("{time} {day} {month} *"), format!("{time} * {month} {weekday}")]
    }
}

fn macro_line(text: &str) -> Result<&'static str, ScheduleError> {
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        "@reboot" => Err(ScheduleError::Reboot),
        _ => Err(ScheduleError::Macro { text: text.to_owned() }),
    }
}

fn field(unit: &Unit, text: &str) -> Result<Field, ScheduleError> {
    let mut set = 0;
    for item in text.split(',') {
        set |= values(unit, item)?;
    }
    Ok(Field { set, low: unit.low, last: unit.last, star: text.starts_with('*') })
}

fn values(unit: &Unit, item: &str) -> Result<u64, ScheduleError> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(number(step).ok_or_else(|| bad(unit, item))?)),
        None => (item, None),
    };
    let (low, mut high) = match (range, range.split_once('-')) {
        ("*", _) => (unit.low, unit.last),
        (_, Some((low, high))) => (value(unit, low)?, value(unit, high)?),
        (one, None) => {
            let one = value(unit, one)?;
            if let Some(step) = step {
                // Some programs read `5/15` as "from 5", others refuse it. Nobody is left guessing.
                let (field, high) = (unit.name, unit.last);
                return Err(ScheduleError::StepAfterNumber { field, item: item.to_owned(), low: one, high, step });
            }
            (one, one)
        }
    };
    // A week goes round: Fri-Mon and Fri-Sun are plain to everybody. Hours and days of the month are not.
    let days_in_week = unit.last + 1;
    let is_week = unit.high > unit.last;
    if low > high && is_week {
        high += days_in_week;
    }
    if low > high {
        return Err(ScheduleError::Backwards { field: unit.name, item: item.to_owned() });
    }
    let step = step.unwrap_or(1);
    if step == 0 || step > unit.high {
        return Err(ScheduleError::Step { field: unit.name, item: item.to_owned(), high: unit.high });
    }
    let kept = |value: u8| if is_week { value % days_in_week } else { value };
    Ok((low..=high).step_by(usize::from(step)).fold(0, |set, value| set | 1 << kept(value)))
}

fn value(unit: &Unit, text: &str) -> Result<u8, ScheduleError> {
    number(text)
        .or_else(|| (unit.named)(text))
        .filter(|value| (unit.low..=unit.high).contains(value))
        .ok_or_else(|| bad(unit, text))
}

fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn bad(unit: &Unit, text: &str) -> ScheduleError {
    ScheduleError::Value { field: unit.name, text: text.to_owned(), low: unit.low, high: unit.high }
}
