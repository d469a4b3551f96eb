//! In which order machines get another image, and what is done before the first of them.
//!
//! Pure. Words and names alone; what each means is done in `plan.rs` and `run.rs`.

use serde::{Deserialize, Serialize};

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

    pub(super) fn is_rolling(&self) -> bool {
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
