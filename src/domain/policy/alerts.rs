//! What policy says of alerts: how they are put together, who hears of them, what says more than what.

use serde::Deserialize;

use super::Span;
use crate::domain::alerts::Level;
use crate::domain::alerts::matching::Matchers;

/// `[alerts]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Labels by which alerts are put together, where their sender has not done so.
    pub group_by: Vec<String>,
    /// How long a warning waits for others that belong to it.
    pub wait: Span,
    /// How soon people are told again when nobody acted.
    pub repeat_every: Span,
    /// So many changes between firing and over …
    pub flapping_changes: u8,
    /// … in this time are flapping.
    pub flapping_within: Span,
    /// What flaps and stays this long pings once more.
    pub flapping_pings_after: Span,
    /// Cards of their own …
    pub cards_max: u8,
    /// … in this time; what is more stands on one card.
    pub storm_within: Span,
    /// A sender's words for what pings.
    pub critical: Vec<String>,
    /// A sender's words for what nobody has to look at.
    pub info: Vec<String>,
    /// What says more than what.
    #[serde(default)]
    pub inhibit: Vec<Inhibit>,
}

/// While an alert of one kind fires, those of another are told nobody.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibit {
    /// The alert that says more.
    pub by: Matchers,
    /// Those that are held back.
    pub of: Matchers,
    /// Labels that must be the same on both.
    pub equal: Vec<String>,
}

impl Alerts {
    /// How bad an alert is by its sender's word. A word that is not known is a warning.
    pub fn level(&self, severity: &str) -> Level {
        let is = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(severity.trim()));
        match () {
            () if is(&self.critical) => Level::Critical,
            () if is(&self.info) => Level::Info,
            () => Level::Warning,
        }
    }

    /// What does not hold together.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.repeat_every.is_zero() {
            return Err("[alerts] repeat_every is no time at all".to_owned());
        }
        if self.flapping_changes < 2 {
            return Err("[alerts] flapping_changes is at least 2".to_owned());
        }
        if self.cards_max == 0 {
            return Err("[alerts] cards_max is at least 1".to_owned());
        }
        Ok(())
    }
}
