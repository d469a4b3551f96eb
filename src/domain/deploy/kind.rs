//! What kind of change, in which order its machines come, what precedes them: each with its words.
//!
//! Pure.

use serde::{Deserialize, Serialize};

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another image, forward.
    Deploy,
    /// An earlier image again.
    Rollback,
    /// The same image, started anew.
    Restart,
    /// The same image, in another size or number.
    Scale,
}

impl Kind {
    /// "Roll back", on a button.
    pub fn verb(self) -> &'static str {
        match self {
            Kind::Deploy => "Deploy",
            Kind::Rollback => "Roll back",
            Kind::Restart => "Restart",
            Kind::Scale => "Scale",
        }
    }

    /// "rollback", in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Deploy => "deploy",
            Kind::Rollback => "rollback",
            Kind::Restart => "restart",
            Kind::Scale => "scaling",
        }
    }

    /// Whether it puts an image up, with a release on the host's record.
    pub fn ships(self) -> bool {
        matches!(self, Kind::Deploy | Kind::Rollback)
    }
}

/// In which order machines get another image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Some at a time, each well before the next.
    #[default]
    Rolling,
    /// One machine more is tried with it first; then as rolling.
    Canary,
    /// All at once, waiting for none.
    Immediate,
}

impl Strategy {
    /// All of them, the usual one first.
    pub const ALL: [Strategy; 3] = [Strategy::Rolling, Strategy::Canary, Strategy::Immediate];

    /// Its name, as people type it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Rolling => "rolling",
            Strategy::Canary => "canary",
            Strategy::Immediate => "immediate",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    pub(in crate::domain) fn is_rolling(&self) -> bool {
        *self == Strategy::Rolling
    }
}

/// What is done before the first machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// The release command runs.
    ReleaseCommand,
    /// One machine more is tried with the image.
    Canary,
}

impl Preparation {
    /// In a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Preparation::ReleaseCommand => "the release command",
            Preparation::Canary => "the canary",
        }
    }
}
