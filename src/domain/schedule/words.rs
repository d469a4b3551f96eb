//! Times, spans and cron lines as people read and write them.
//!
//! Total: every line that was taken has words, every instant and every span too.

use chrono::{DateTime, Month, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;

use super::line::{Field, Line};
use super::local::{local, within};

/// The longest span taken from people, in days.
pub const DURATION_DAYS_MAX: i64 = 366;

/// This many times of day are named one by one; above, they are described.
const TIMES_NAMED_MAX: usize = 4;

/// Why a span was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a span.
    #[error("“{text}” is not a span of time; write it as 15m, 2h or 1h 30m.")]
    Unread {
        /// What was written.
        text: String,
        /// What was wrong.
        reason: String,
    },
    /// Too long.
    #[error("“{text}” is too long; at most {DURATION_DAYS_MAX} days.")]
    TooLong {
        /// What was written.
        text: String,
    },
}

/// A span of time as people write it: "15m", "2h 30m". Between nothing and `DURATION_DAYS_MAX` days.
///
/// # Errors
/// A sentence that says how to write it.
pub fn parse_duration(text: &str) -> Result<TimeDelta, DurationError> {
    let text = text.trim();
    let written = humantime::parse_duration(text)
        .map_err(|error| DurationError::Unread { text: text.to_owned(), reason: error.to_string() })?;
    TimeDelta::from_std(written)
        .ok()
        .filter(|delta| *delta <= TimeDelta::days(DURATION_DAYS_MAX))
        .ok_or_else(|| DurationError::TooLong { text: text.to_owned() })
}

/// How long, for people: "12 s", "12 min", "1 h 05 min", "3 d", "3 d 2 h". Cut, never rounded up; a minus when negative.
pub fn minutes_words(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds();
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours % 24, minutes % 60) {
        (0, 0, 0) => format!("{sign}{seconds} s"),
        (0, 0, minutes) => format!("{sign}{minutes} min"),
        (0, hours, 0) => format!("{sign}{hours} h"),
        (0, hours, minutes) => format!("{sign}{hours} h {minutes:02} min"),
        (days, 0, _) => format!("{sign}{days} d"),
        (days, hours, _) => format!("{sign}{days} d {hours} h"),
    }
}

/// An instant on a zone's wall clock: "Tue 24 Nov 02:10". In the hour that happens twice the zone's short name is added, so
/// that nobody takes one for the other: "Sun 1 Nov 01:30 CST".
pub fn local_words(at: DateTime<Utc>, zone: Tz) -> String {
    let wall = local(zone, at);
    let twice = matches!(zone.from_local_datetime(&wall), chrono::LocalResult::Ambiguous(..));
    let name = if twice { format!(" {}", within(at).with_timezone(&zone).format("%Z")) } else { String::new() };
    format!("{}{name}", wall.format("%a %-d %b %H:%M"))
}

/// "a", "a and b", "a, b and c".
pub(crate) fn join(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] => format!("{} and {last}", start.join(", ")),
    }
}

/// "Mondays", "Tuesdays".
pub(crate) fn plural_words(day: Weekday) -> String {
    format!("{}s", day_name(day))
}

fn day_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "Monday",
        Weekday::Tue => "Tuesday",
        Weekday::Wed => "Wednesday",
        Weekday::Thu => "Thursday",
        Weekday::Fri => "Friday",
        Weekday::Sat => "Saturday",
        Weekday::Sun => "Sunday",
    }
}

/// What a line means.
pub(super) fn line_words(line: &Line) -> String {
    let time = time_words(line);
    let days = day_words(line);
    let words = match days {
        DayWords::Every => match time.strip_prefix("at ") {
            Some(_) => format!("every day {time}"),
            None => time,
        },
        DayWords::Each { each, on } => match time.strip_prefix("at ") {
            Some(_) => format!("{each} {time}"),
            None => format!("{time} {on}"),
        },
        DayWords::On(on) => format!("{time} {on}"),
    };
    let month = month_words(line);
    let never = if can_be(line) { "" } else { " (never: there is no such day)" };
    format!("{words}{month}{never}")
}

fn time_words(line: &Line) -> String {
    let (minutes, hours) = (line.minutes.values(), line.hours.values());
    let (first_minute, last_minute) = (edge(minutes.first()), edge(minutes.last()));
    let (first_hour, last_hour) = (edge(hours.first()), edge(hours.last()));
    let pace = match (line.minutes.is_full(), pace(&line.minutes, 60)) {
        (true, _) => Some("every minute".to_owned()),
        (false, Some(step)) => Some(format!("every {step} minutes")),
        (false, None) => None,
    };
    let past: Vec<String> = minutes.iter().map(|minute| format!(":{minute:02}")).collect();
    if line.hours.is_full() {
        return match (pace, &minutes[..]) {
            (Some(pace), _) => pace,
            (None, [0]) => "every hour".to_owned(),
            (None, _) => format!("every hour at {}", join(&past)),
        };
    }
    let in_a_row = usize::from(last_hour - first_hour) + 1 == hours.len();
    if minutes.len() == 1 && in_a_row && hours.len() > 2 {
        return format!("every hour from {first_hour:02}:{first_minute:02} to {last_hour:02}:{first_minute:02}");
    }
    if let (1, Some(step)) = (minutes.len(), pace_of_many(&line.hours)) {
        return format!("every {step} hours from 00:{first_minute:02}");
    }
    if minutes.len() == 1 || minutes.len() * hours.len() <= TIMES_NAMED_MAX {
        let times: Vec<String> =
            hours.iter().flat_map(|hour| minutes.iter().map(move |minute| format!("{hour:02}:{minute:02}"))).collect();
        return format!("at {}", join(&times));
    }
    if in_a_row {
        let within = format!("from {first_hour:02}:{first_minute:02} to {last_hour:02}:{last_minute:02}");
        return match pace {
            Some(pace) => format!("{pace} {within}"),
            None => format!("every hour at {} {within}", join(&past)),
        };
    }
    let named: Vec<String> = hours.iter().map(|hour| format!("{hour:02}")).collect();
    format!("{} in the hours {}", pace.unwrap_or_else(|| format!("at {}", join(&past))), join(&named))
}

enum DayWords {
    Every,
    /// "every Monday" before a time of day, "on Mondays" after a pace.
    Each {
        each: String,
        on: String,
    },
    On(String),
}

fn day_words(line: &Line) -> DayWords {
    let (any_day, any_weekday) = (line.days.is_full(), line.weekdays.is_full());
    let days = || days_of_month(&line.days);
    let weekdays = || weekday_names(&line.weekdays);
    match (any_day, any_weekday) {
        (true, true) => DayWords::Every,
        // Either day is enough, and one of the two always is.
        (true, false) | (false, true) if line.either_day() => DayWords::Every,
        (true, false) => match &line.weekdays.values()[..] {
            [1, 2, 3, 4, 5] => DayWords::Each { each: "every weekday".to_owned(), on: "on weekdays".to_owned() },
            [one] => {
                let day = day_name(weekday(*one));
                DayWords::Each { each: format!("every {day}"), on: format!("on {day}s") }
            }
            _ => DayWords::On(format!("on {}", weekdays())),
        },
        (false, true) => DayWords::On(format!("on the {}", days())),
        (false, false) if line.either_day() => DayWords::On(format!("on the {}, and on {}", days(), weekdays())),
        (false, false) => DayWords::On(format!("on {} that are the {}", weekdays(), days())),
    }
}

fn month_words(line: &Line) -> String {
    if line.months.is_full() {
        return String::new();
    }
    let names: Vec<String> = line
        .months
        .values()
        .into_iter()
        .map(|month| Month::try_from(month).map_or_else(|_| month.to_string(), |month| month.name().to_owned()))
        .collect();
    let by_date = line.weekdays.is_full() && !line.days.is_full() && !line.either_day();
    format!(" {} {}", if by_date { "of" } else { "in" }, join(&names))
}

fn weekday_names(field: &Field) -> String {
    // The week begins on Monday for people, whatever the field counts from.
    let mut days: Vec<Weekday> = field.values().into_iter().map(weekday).collect();
    days.sort_unstable_by_key(Weekday::num_days_from_monday);
    join(&days.into_iter().map(plural_words).collect::<Vec<_>>())
}

fn weekday(from_sunday: u8) -> Weekday {
    match from_sunday {
        1 => Weekday::Mon,
        2 => Weekday::Tue,
        3 => Weekday::Wed,
        4 => Weekday::Thu,
        5 => Weekday::Fri,
        6 => Weekday::Sat,
        _ => Weekday::Sun,
    }
}

/// "1st, 15th and 20th to 25th".
fn days_of_month(field: &Field) -> String {
    let mut parts: Vec<String> = Vec::new();
    for run in field.values().chunk_by(|one, next| next - one == 1) {
        match run {
            [first, _, .., last] => parts.push(format!("{} to {}", ordinal(*first), ordinal(*last))),
            few => parts.extend(few.iter().map(|day| ordinal(*day))),
        }
    }
    join(&parts)
}

fn ordinal(day: u8) -> String {
    let ending = match (day / 10, day % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

/// The step of values that go round evenly: 15 for 0, 15, 30, 45 of 60. None when the last step would be shorter.
fn pace(field: &Field, whole: u8) -> Option<u8> {
    let values = field.values();
    let [0, step, ..] = values[..] else { return None };
    let even = whole.is_multiple_of(step)
        && values.len() == usize::from(whole / step)
        && values.iter().all(|value| value.is_multiple_of(step));
    even.then_some(step)
}

fn pace_of_many(hours: &Field) -> Option<u8> {
    pace(hours, 24).filter(|_| hours.values().len() > 2)
}

fn edge(value: Option<&u8>) -> u8 {
    value.copied().unwrap_or(0)
}

/// Whether the line names a day that ever comes: not the 30th of February.
fn can_be(line: &Line) -> bool {
    const DAYS_MAX: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let by_weekday = line.either_day();
    let first = edge(line.days.values().first());
    by_weekday
        || line.months.values().iter().any(|month| DAYS_MAX.get(usize::from(month - 1)).is_some_and(|n| first <= *n))
}
