//! Why something was not done, as a sentence for the person who asked.
//!
//! Pure. Every refusal says what was wrong and what to do instead; only the person who asked sees it.

use super::ids::{IncidentId, Role};
use super::policy::Right;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They have not the right.
    #[error("That needs the right to {}. {}", .right.name(), ask(.holders))]
    NeedsRight {
        /// Which right.
        right: Right,
        /// Who has it.
        holders: Vec<Role>,
    },
    /// There is no such incident.
    #[error("There is no {0}. `/incident list` shows what there is.")]
    NoSuchIncident(IncidentId),
    /// Nothing is open.
    #[error("No incident is open. `/sev1`, `/sev2` or `/sev3` opens one.")]
    NothingOpen,
    /// Several are open and none was named.
    #[error("Which one? {} are open. Say it in the incident's thread, or give its number.", list(.0))]
    Which(Vec<IncidentId>),
    /// It is closed.
    #[error("{0} is {1}. `/incident reopen incident:{0} why:…` opens it again.")]
    Closed(IncidentId, &'static str),
    /// Anything else, in its own sentence.
    #[error("{0}")]
    Because(String),
    /// A neighbour gave no answer: nothing is decided, and the same may be done a little later.
    #[error("{0}")]
    NotNow(String),
    /// The bot itself failed to decide; nothing was changed.
    #[error(
        "Something in me broke while deciding that; nothing was changed. It is in my log. Try again, or do it by hand."
    )]
    Broken,
}

impl Refusal {
    /// A refusal in its own sentence.
    pub fn because(sentence: impl Into<String>) -> Self {
        Refusal::Because(sentence.into())
    }
}

fn ask(roles: &[Role]) -> String {
    match roles {
        [] => "Nobody has it: give it to a role in policy.toml, [rights].".to_owned(),
        roles => {
            let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
            format!("Ask somebody with one of these roles: {}.", names.join(", "))
        }
    }
}

fn list(ids: &[IncidentId]) -> String {
    let names: Vec<String> = ids.iter().map(IncidentId::to_string).collect();
    names.join(", ")
}
