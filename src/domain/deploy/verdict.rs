//! What came of a deploy, in a word.
//!
//! Pure. The words are those that people read; which of them is true `judge.rs` finds out.

use serde::{Deserialize, Serialize};

/// What came of it, as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every machine runs it, and the service answers.
    Succeeded,
    /// Every machine runs it, and nothing could be asked whether the service answers.
    Done,
    /// Every machine runs it, and the service answers worse than before.
    Worse,
    /// The host says that it failed; the service answers with it.
    ServingAlthoughFailed,
    /// Some machines run it, some do not; the service answers.
    Half,
    /// No machine runs it; the service answers with what ran before.
    ServingTheOld,
    /// The service does not answer.
    Failed,
    /// It could not be found out.
    Unknown,
    /// It was taken off line, as somebody wanted.
    OffLine,
    /// Another change was started before it could be judged.
    Superseded,
    /// Nobody said yes in time, or somebody said no.
    Cancelled,
    /// Somebody stopped it between two stages: what is done stays, the rest was never begun.
    Stopped,
}

impl Verdict {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Succeeded => "succeeded",
            Verdict::Done => "done; not measured whether it answers",
            Verdict::Worse => "done; it answers worse than it should",
            Verdict::ServingAlthoughFailed => "serving, although the host says failed",
            Verdict::Half => "half done; it answers",
            Verdict::ServingTheOld => "not done; what ran before still answers",
            Verdict::Failed => "failed: it does not answer as it should",
            Verdict::Unknown => "unknown: it could not be looked at",
            Verdict::OffLine => "off line, as was wanted",
            Verdict::Superseded => "not judged: another change was started",
            Verdict::Cancelled => "cancelled",
            Verdict::Stopped => "stopped before its last stage; what is done stays",
        }
    }

    /// Whether nothing has to be done about it.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Succeeded | Verdict::Done | Verdict::OffLine)
    }
}
