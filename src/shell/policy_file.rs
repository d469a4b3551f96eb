//! The policy's file, followed while the bot runs.
//!
//! A file that changed and holds together is in force at once. One that does not leaves the last good one in force, and people are
//! told where they look: in `/watchbell status`, on `/readyz`, and once in the incidents channel. Never stops the bot.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::door::Door;
use crate::adapters::config;
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind};
use crate::domain::policy::Policy;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Looks in a row at the same bad text before people are told: one may fall into the moment in which it is written.
const BAD_LOOKS: u32 = 2;

/// What is wrong with the policy's file, for whoever asks.
#[derive(Clone, Default)]
pub struct PolicyTrouble(Arc<Mutex<Option<String>>>);

impl PolicyTrouble {
    /// A sentence; none while all is well.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The file, and what was seen of it last.
pub(super) struct PolicyFile {
    pub(super) file: PathBuf,
    /// The newest text; none after a look that could not read it.
    pub(super) text: Option<String>,
    /// The workspace's text, which stands in the hash beside the policy's.
    pub(super) workspace_text: String,
    pub(super) door: Door,
    pub(super) trouble: PolicyTrouble,
    bad_looks: u32,
}

impl PolicyFile {
    pub(super) fn new(
        file: PathBuf,
        (policy_text, workspace_text): (String, String),
        door: Door,
        trouble: PolicyTrouble,
    ) -> Self {
        Self { file, text: Some(policy_text), workspace_text, door, trouble, bad_looks: 0 }
    }

    /// Follows it for as long as it is let.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let (text, why) = match fs::read_to_string(&self.file) {
            Ok(text) if self.text.as_ref() == Some(&text) && self.bad_looks == 0 => return,
            Ok(text) => match Policy::parse(&text) {
                Ok(policy) => {
                    info!(file = %self.file.display(), "A changed policy is in force");
                    let hash = config::hash(&text, &self.workspace_text);
                    (self.text, self.bad_looks) = (Some(text), 0);
                    self.trouble.set(None);
                    return self.door.adopt(policy, hash).await;
                }
                Err(why) => (Some(text), why),
            },
            Err(error) => (None, format!("it cannot be read: {error}")),
        };
        self.bad_looks = if self.text == text { self.bad_looks.saturating_add(1) } else { 1 };
        let hash = config::hash(text.as_deref().unwrap_or(&why), &self.workspace_text);
        self.text = text;
        if self.bad_looks <= BAD_LOOKS {
            warn!(file = %self.file.display(), reason = %why, "The policy's file does not hold; the last good one stays in force");
        }
        self.trouble.set(Some(why.clone()));
        if self.bad_looks == BAD_LOOKS {
            // By its content: whoever starts the bot again, or saves the same text again, hears of it once.
            let id = InputId::new(format!("policy-refused:{hash}"));
            self.door.must(Input { id, kind: InputKind::PolicyRefused { why } });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::SHIPPED;
    use crate::shell::door::{self, Ask};

    #[tokio::test]
    async fn a_policy_that_does_not_hold_together_is_said_once_and_stays_known_until_it_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("policy.toml");
        let (door, mut threshold) = door::door();
        let trouble = PolicyTrouble::default();
        let texts = (SHIPPED.to_owned(), String::new());
        let mut followed = PolicyFile::new(file.clone(), texts, door, trouble.clone());
        let mut told = || {
            let mut told = Vec::new();
            while let Ok(inbound) = threshold.results.try_recv() {
                told.push(inbound.input);
            }
            told
        };
        fs::write(&file, SHIPPED).expect("a file");
        followed.look().await;
        assert_eq!((trouble.get(), told()), (None, Vec::new()));

        fs::write(&file, "[severity]\n").expect("a file");
        followed.look().await;
        assert_eq!((trouble.get().is_some(), told()), (true, Vec::new()), "it may be half written");
        followed.look().await;
        let said = told();
        assert!(matches!(said.as_slice(), [Input { kind: InputKind::PolicyRefused { .. }, .. }]), "{said:?}");
        for _ in 0..5 {
            followed.look().await;
        }
        assert_eq!((trouble.get().is_some(), told()), (true, Vec::new()), "said once");

        fs::remove_file(&file).expect("it was there");
        followed.look().await;
        assert!(trouble.get().is_some_and(|why| why.starts_with("it cannot be read")));
        fs::write(&file, SHIPPED).expect("a file");
        followed.look().await;
        assert_eq!((trouble.get(), told()), (None, Vec::new()));
        assert!(matches!(threshold.asks.try_recv(), Ok(Ask::Adopt(..))));
    }
}
