//! Names of things: incidents, people, places, messages, inputs, effects.
//!
//! Pure. A name is opaque here: which chat a person or a place belongs to is a prefix (`discord:1234`), and only the adapter
//! of that chat looks behind it. Nothing in this file knows what Discord is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of an incident, said and shown as `INC-7`. Starts at 1; a number is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub u32);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INC-{}", self.0)
    }
}

impl FromStr for IncidentId {
    type Err = String;

    /// Reads what people type: `INC-7`, `inc-7`, `inc7`, `#7`, `7`.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = match lower.strip_prefix("inc") {
            Some(rest) => rest.trim_start_matches(['-', ' ']),
            None => lower.strip_prefix('#').unwrap_or(&lower),
        };
        digits
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(IncidentId)
            .ok_or_else(|| format!("“{}” is not an incident number. Write it as INC-7 or 7.", text.trim()))
    }
}

/// The number of a deploy, a rollback or a restart, said and shown as `DEP-12`. Starts at 1; a number is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeployId(pub u32);

impl fmt::Display for DeployId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DEP-{}", self.0)
    }
}

/// The number of a group of alerts, said and shown as `ALR-3`. Starts at 1; a number is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(pub u32);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ALR-{}", self.0)
    }
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Wraps the text as it stands.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text behind the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The part behind the chat's prefix (`discord:1234` gives `1234`); the whole text when there is none.
            pub fn local(&self) -> &str {
                self.0.split_once(':').map_or(self.0.as_str(), |(_, rest)| rest)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque! {
    /// A person in a chat: `<chat>:<opaque id>`.
    Person
}
opaque! {
    /// A channel, thread or private conversation in a chat: `<chat>:<opaque id>`.
    Place
}
opaque! {
    /// A role by the name that policy gives it (`reliability`), not by any chat's id.
    Role
}
opaque! {
    /// A service by the name that the team gives it.
    Service
}
opaque! {
    /// The id that the sender of an input gave it. A repeat of the same id gets the first answer.
    InputId
}

/// A message that stands in a chat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Posted {
    /// Where it stands.
    pub place: Place,
    /// The chat's id of the message within that place.
    pub message: String,
}

/// The id of an effect: the line that asked for it and its place in that line. Unique in a log for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId {
    /// Sequence number of the line that asked for the effect.
    pub seq: u64,
    /// Position among the effects of that line, from 0.
    pub n: u16,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.n)
    }
}

impl FromStr for EffectId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('-')
            .and_then(|(seq, n)| Some(Self { seq: seq.parse().ok()?, n: n.parse().ok()? }))
            .ok_or_else(|| format!("“{text}” is not an effect id"))
    }
}

impl Serialize for EffectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EffectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a decision is about: the key under which its facts are kept. `team` is everything that belongs to no incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// The team as a whole: policy, on-call, jobs, services, live or observing.
    Team,
    /// One incident.
    Incident(IncidentId),
    /// One deploy.
    Deploy(DeployId),
    /// One group of alerts.
    Alert(AlertId),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Team => f.write_str("team"),
            // Padded, so that the store's byte order is the order of the numbers.
            Thing::Incident(id) => write!(f, "inc/{:08}", id.0),
            Thing::Deploy(id) => write!(f, "dep/{:08}", id.0),
            Thing::Alert(id) => write!(f, "alr/{:08}", id.0),
        }
    }
}

impl FromStr for Thing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "team" {
            return Ok(Thing::Team);
        }
        let number = |prefix: &str| text.strip_prefix(prefix).and_then(|digits| digits.parse().ok());
        let incident = number("inc/").map(|number| Thing::Incident(IncidentId(number)));
        let deploy = number("dep/").map(|number| Thing::Deploy(DeployId(number)));
        let alert = number("alr/").map(|number| Thing::Alert(AlertId(number)));
        incident.or(deploy).or(alert).ok_or_else(|| format!("“{text}” is not a thing on record"))
    }
}

impl Serialize for Thing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_number_is_read_as_people_type_it() {
        for text in ["INC-7", "inc-7", "inc7", "#7", " 7 "] {
            assert_eq!(text.parse(), Ok(IncidentId(7)), "{text}");
        }
        for text in ["", "INC-", "INC-0", "seven", "-1", "99999999999"] {
            assert!(text.parse::<IncidentId>().is_err(), "{text}");
        }
    }

    #[test]
    fn things_and_effects_survive_their_own_text() {
        for thing in
            [Thing::Team, Thing::Incident(IncidentId(12)), Thing::Deploy(DeployId(3)), Thing::Alert(AlertId(4))]
        {
            assert_eq!(thing.to_string().parse(), Ok(thing));
        }
        let id = EffectId { seq: 17, n: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
