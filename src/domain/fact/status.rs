//! The words of an incident's facts: where it stands, the parts that people play, its times.
//!
//! Pure, and stored: names are a contract with every log ever written, so they are only added to.

use serde::{Deserialize, Serialize};

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// What is it?
    Investigating,
    /// It is being stopped.
    Mitigating,
    /// It seems to have stopped; is it green?
    Monitoring,
    /// Over.
    Resolved,
    /// Over, and what was learned is written.
    Reviewed,
    /// It was none.
    Cancelled,
}

impl Status {
    /// Whether promises run.
    pub fn is_open(self) -> bool {
        matches!(self, Status::Investigating | Status::Mitigating | Status::Monitoring)
    }

    /// Its name, in the record and in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Status::Investigating => "investigating",
            Status::Mitigating => "mitigating",
            Status::Monitoring => "monitoring",
            Status::Resolved => "resolved",
            Status::Reviewed => "reviewed",
            Status::Cancelled => "cancelled",
        }
    }

    /// From its name.
    pub fn from_name(text: &str) -> Option<Self> {
        let wanted = text.trim().to_ascii_lowercase();
        [Self::Investigating, Self::Mitigating, Self::Monitoring, Self::Resolved, Self::Reviewed, Self::Cancelled]
            .into_iter()
            .find(|status| status.name() == wanted)
    }
}

/// A part that somebody plays in an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Decides, and is reminded.
    Lead,
    /// Writes down.
    Scribe,
    /// Speaks to everybody else.
    Liaison,
}

impl Part {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Part::Lead => "lead",
            Part::Scribe => "scribe",
            Part::Liaison => "liaison",
        }
    }
}

/// One of an incident's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It began.
    Started,
    /// It was noticed.
    Detected,
    /// It was declared.
    Declared,
    /// A person took it up.
    Acknowledged,
    /// It stopped hurting.
    Mitigated,
    /// It was over.
    Resolved,
}

impl Moment {
    /// All, in order.
    pub const ALL: [Moment; 6] = [
        Moment::Started,
        Moment::Detected,
        Moment::Declared,
        Moment::Acknowledged,
        Moment::Mitigated,
        Moment::Resolved,
    ];

    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Started => "started",
            Moment::Detected => "detected",
            Moment::Declared => "declared",
            Moment::Acknowledged => "acknowledged",
            Moment::Mitigated => "mitigated",
            Moment::Resolved => "resolved",
        }
    }
}
