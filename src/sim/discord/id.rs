//! Snowflakes and the wire's clock: the one place that reads the time of day.
//!
//! Wire time is always real (ids carry it, as Discord's do); promise time never appears here.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The first millisecond of 2015, from which Discord's ids count.
const EPOCH_MS: i64 = 1_420_070_400_000;
/// The bits below the time: worker, process and a count.
const TIME_SHIFT: u32 = 22;

/// A snowflake: on the wire a string of digits, ordered by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl Id {
    /// Reads the decimal form; `None` for anything else and for 0.
    pub fn parse(text: &str) -> Option<Id> {
        text.parse().ok().filter(|&id| id != 0).map(Id)
    }

    /// When it was made.
    pub fn time(self) -> DateTime<Utc> {
        let ms = (self.0 >> TIME_SHIFT) as i64 + EPOCH_MS;
        Utc.timestamp_millis_opt(ms).single().unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Id).map_err(de::Error::custom)
    }
}

/// Now, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "a stand-in's time is real, as its original's is")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A time as the control API and Discord write it.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// Hands out ids that grow, also within one millisecond and when the clock steps back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ids {
    last: u64,
}

impl Ids {
    /// The next id.
    pub fn next(&mut self) -> Id {
        let ms = (now().timestamp_millis() - EPOCH_MS).max(0) as u64;
        self.last = (ms << TIME_SHIFT).max(self.last + 1);
        Id(self.last)
    }
}
