//! What the policy says of changes at the host: pace, windows, freezes, the checklist, who may pass a check.
//!
//! Pure data, read from text. Decides nothing: `deploy/gates.rs` does.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Span;
use crate::domain::calendar::{Holidays, Window};
use crate::domain::deploy::gates::Gate;
use crate::domain::ids::Role;
use crate::domain::workspace::Stage;

/// Boxes of a checklist, at most: as many as a message has room for.
pub const CHECKLIST_MAX: usize = 10;

/// How changes at the host are made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploys {
    /// Machines that may be away at once, in hundredths of those that serve; at least one.
    pub at_once_percent: u16,
    /// The longest that one machine may take until it is well.
    pub step_within: Span,
    /// How long the service is let settle before it is judged.
    pub settle_for: Span,
    /// How long it is watched after a good verdict; not at all when zero.
    pub watch_for: Span,
    /// How long a plan waits for a yes, and an approval for its start.
    pub plan_holds_for: Span,
    /// A rollback is to be done within.
    pub rollback_within: Span,
    /// A release made within is shown on an incident's card, and its button takes that one back.
    #[serde(default = "an_hour")]
    pub recent_within: Span,
    /// Whether a deploy of the bot's own that the service does not survive is taken back without being asked.
    #[serde(default)]
    pub roll_back_by_itself: bool,
    /// Whether a machine that does not come up well is restarted once before that counts.
    #[serde(default)]
    pub restart_once: bool,
    /// With at most this many people who may deploy, whoever asked may also say yes.
    #[serde(default)]
    pub own_approval_up_to: u16,
    /// When each stage may be deployed to; at any time when absent.
    #[serde(default)]
    pub window: BTreeMap<Stage, Window>,
    /// Days on which production stays as it is.
    #[serde(default)]
    pub freezes: Holidays,
    /// What has to be seen to before production.
    #[serde(default)]
    pub checklist: Vec<Item>,
    /// Who may pass which check with a written reason; nobody when absent.
    #[serde(default, rename = "override")]
    pub overrides: BTreeMap<Gate, Vec<Role>>,
}

const fn an_hour() -> Span {
    Span::minutes(60)
}

/// One thing to be seen to before production.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its name, in a word or two.
    pub name: String,
    /// What to see to.
    pub text: String,
}

impl Deploys {
    /// Checks that it holds together.
    ///
    /// # Errors
    /// A sentence that says what is wrong and where.
    pub fn check(&self) -> Result<(), String> {
        if self.checklist.len() > CHECKLIST_MAX {
            return Err(format!("[[deploys.checklist]] has more than {CHECKLIST_MAX} boxes: put some together"));
        }
        let mut names: Vec<&str> = self.checklist.iter().map(|item| item.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two boxes of [[deploys.checklist]] are called “{}”", pair[0])),
            None => Ok(()),
        }
    }

    /// Who may pass a check with a written reason. A release command that Fly does not tell is Fly's trouble, as its hardware is:
    /// where the policy names nobody for it, those who may pass that.
    pub fn may_override(&self, gate: Gate) -> &[Role] {
        let named = |gate: Gate| self.overrides.get(&gate).map(Vec::as_slice);
        let like = if gate == Gate::Command { Gate::Host } else { gate };
        named(gate).or_else(|| named(like)).unwrap_or_default()
    }
}
