//! The policy's file, followed while the bot runs, and the last good one, kept beside the record.
//!
//! A file that changed and holds together is in force at once. One that does not leaves the last good one in force, also over a
//! start, and people are told where they look: in `/watchbell status`, on `/readyz`, and once in the incidents channel. Stops the bot
//! only when there never was a good one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::door::Door;
use crate::adapters::config::{self, Config, Refused};
use crate::adapters::store::{FsDisk, log, log::blob};
use crate::domain::fact::Fact;
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind};
use crate::domain::policy::Policy;
use crate::shell::record;

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

/// Keeps both texts beside the log, under the hash by which the record will name them.
pub(super) fn keep(folder: &Path, policy: &str, workspace: &str) -> io::Result<String> {
    blob::put(&mut FsDisk::new(folder), &config::both(policy, workspace))
}

/// The policy that was kept under a hash, when it still holds together.
fn kept(folder: &Path, hash: &str) -> Option<(String, Policy)> {
    let text = config::policy_in(&blob::get(&FsDisk::new(folder), hash).ok()?)?;
    let policy = Policy::parse(&text).ok()?;
    Some((text, policy))
}

/// Whether a start with a bad file has a last good one to go by. Reads the whole record from outside, so that it can be asked beside
/// a bot that runs.
pub(super) fn has_last_good(folder: &Path) -> bool {
    let disk = FsDisk::new(folder);
    let facts = log::read_folder(&disk, 0).filter_map(Result::ok).flat_map(|line| record::decided(&line).0.facts);
    let adopted = facts.filter_map(|(_, fact)| match fact {
        Fact::PolicyAdopted { hash } => Some(hash),
        _ => None,
    });
    adopted.last().is_some_and(|hash| kept(folder, &hash).is_some())
}

/// Puts the last good policy in the place of one whose file was refused. `hash` is what the record names.
///
/// # Errors
/// Why the file was refused, when no good one was kept.
pub(super) fn go_by_the_last_good(config: &mut Config, hash: Option<&str>) -> Result<(), Refused> {
    let Some(why) = config.policy_refused.clone() else { return Ok(()) };
    let Some((text, policy)) = hash.and_then(|hash| kept(&config.state_dir, hash)) else { return Err(Refused(why)) };
    warn!(reason = %why, "The policy's file does not hold; the last good one is in force");
    config.hash = config::hash(&text, &config.workspace_text);
    (config.policy_text, config.policy) = (text, policy);
    Ok(())
}

/// The file, and what was seen of it last.
pub(super) struct PolicyFile {
    pub(super) file: PathBuf,
    /// The newest text; none after a look that could not read it.
    pub(super) text: Option<String>,
    /// The workspace's text, which stands in the hash beside the policy's.
    pub(super) workspace_text: String,
    /// The state folder.
    pub(super) folder: PathBuf,
    pub(super) door: Door,
    pub(super) trouble: PolicyTrouble,
    bad_looks: u32,
}

impl PolicyFile {
    /// The file of a set-up; none when it has the shipped policy.
    pub(super) fn of(config: &Config, door: Door, trouble: PolicyTrouble) -> Option<Self> {
        let file = config.policy_file.clone()?;
        trouble.set(config.policy_refused.clone());
        let (text, bad_looks) = match &config.policy_refused {
            None => (Some(config.policy_text.clone()), 0),
            // Read, and refused, a moment ago: people are told at the next look.
            Some(_) => (fs::read_to_string(&file).ok(), BAD_LOOKS - 1),
        };
        let (workspace_text, folder) = (config.workspace_text.clone(), config.state_dir.clone());
        Some(Self { file, text, workspace_text, folder, door, trouble, bad_looks })
    }

    /// Follows it for as long as it is let.
    pub(super) async fn follow(mut self) {
        if self.bad_looks > 0 {
            self.look().await;
        }
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
                    if let Some(Err(error)) =
                        self.text.as_ref().map(|text| keep(&self.folder, text, &self.workspace_text))
                    {
                        warn!(reason = %error, "The policy could not be kept; a start with a bad file would not know it");
                    }
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
        let mut followed = PolicyFile {
            file: file.clone(),
            text: Some(SHIPPED.to_owned()),
            workspace_text: String::new(),
            folder: folder.path().to_owned(),
            door,
            trouble: trouble.clone(),
            bad_looks: 0,
        };
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
        let adopted = match threshold.asks.try_recv() {
            Ok(Ask::Adopt(_, hash)) => hash,
            _ => panic!("nothing is adopted"),
        };
        assert!(kept(folder.path(), &adopted).is_some_and(|(text, _)| text == SHIPPED), "kept before it is on record");
    }
}
