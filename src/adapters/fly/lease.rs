//! The lease on a machine: nobody else changes it while we do.
//!
//! Owns its life: taken with our mark in its description, renewed while the step runs, given back at the end. Nothing renews it
//! after that: the renewal is ended before the lease is given back, and a step that dies renews nothing, so that the lease ends
//! by itself. Source of the real envelope: field notes, section 1.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;

use super::hand::{Hand, Until};
use super::troubles::{Meaning, meaning};
use super::wire::{Ask, FlyError, Side, backoff};
use crate::domain::hosting::Trouble;
use crate::ports::hosting::CallOff;

/// Tries of taking a lease when Fly stumbles.
const TRIES_MAX: u32 = 4;
/// The time between two tries of taking what we held ourselves in a life before.
const AGAIN: Duration = Duration::from_secs(1);
/// The time for one renewal, or for giving it back.
const SHORT_MAX: Duration = Duration::from_secs(2);
/// The longest description, in characters.
const NOTE_CHARS_MAX: usize = 200;

/// What we write into a lease: whose it is, and what a repeated step must know.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// The step's mark.
    pub(super) mark: String,
    /// The time of the machine's last start before the step, in milliseconds since 1970.
    pub(super) last_start_ms: Option<i64>,
    /// Who asked.
    pub(super) by: String,
}

impl Note {
    fn write(&self) -> String {
        let start = self.last_start_ms.map_or_else(|| "none".to_owned(), |ms| ms.to_string());
        let note = format!("watchbell {} last-start={start} for {}", self.mark, self.by);
        note.chars().take(NOTE_CHARS_MAX).collect()
    }

    /// The note of the same step, read back: the last start that it knew of. None when it is of somebody else.
    fn read(&self, note: &str) -> Option<Option<i64>> {
        let rest = note.strip_prefix("watchbell ")?.strip_prefix(&self.mark)?.strip_prefix(" last-start=")?;
        Some(rest.split_whitespace().next().and_then(|ms| ms.parse().ok()))
    }
}

/// Why there is no lease.
#[derive(Debug)]
pub(super) enum NoLease {
    /// This very step took it and died. What it noted comes back with it.
    Ours {
        /// The machine's last start before the step.
        last_start_ms: Option<i64>,
        /// What Fly said.
        error: FlyError,
    },
    /// Another holds it, or Fly refuses.
    Refused(Trouble, FlyError),
    /// It was called off while another held it.
    CalledOff,
}

/// A lease that is being renewed.
#[derive(Debug)]
pub(super) struct Lease {
    hand: Arc<Hand>,
    machine: String,
    /// What writes must show.
    pub(super) nonce: String,
    /// The version of the machine that Fly leased, when it says so.
    pub(super) version: String,
    end: watch::Sender<bool>,
    renewal: JoinHandle<()>,
}

impl Lease {
    /// Takes it, or says who has it. Does not wait for its end.
    pub(super) async fn take(hand: &Arc<Hand>, machine: &str, note: &Note, until: Until) -> Result<Self, NoLease> {
        let mut tried = 1;
        loop {
            let path = ["apps", &hand.app, "machines", machine, "lease"];
            let ask = Ask::send(Method::POST, "take lease", machine, Side::Machines, &path)
                .query("ttl", hand.patience.lease_ttl.as_secs().max(1))
                .body(json!({"description": note.write()}));
            let error = match hand.wire.once(&ask).await {
                Ok(answer) => match held(&answer) {
                    Some((nonce, version)) => return Ok(Self::keep(hand, machine, nonce, version)),
                    None => FlyError::local("Fly answered with a lease that has no nonce"),
                },
                Err(error) => error,
            };
            match meaning(&error) {
                Meaning::Refused(Trouble::LeaseHeld { by, until: end }) => {
                    let holder = hand.question(hand.get("get lease", machine, &path), until).await.ok();
                    let says = |key: &str| {
                        let lease = holder.as_ref()?;
                        lease.pointer(&format!("/data/{key}")).or_else(|| lease.get(key))?.as_str().map(str::to_owned)
                    };
                    if let Some(last_start_ms) = says("description").and_then(|text| note.read(&text)) {
                        return Err(NoLease::Ours { last_start_ms, error });
                    }
                    return Err(NoLease::Refused(Trouble::LeaseHeld { by, until: end }, error));
                }
                Meaning::Refused(trouble) => return Err(NoLease::Refused(trouble, error)),
                _ if tried >= TRIES_MAX || until.is_over() => {
                    return Err(NoLease::Refused(Trouble::Unreachable, error));
                }
                // When its answer was lost, the next try meets our own note.
                Meaning::Unknown | Meaning::Passing | Meaning::TooFast => until.sleep(backoff(tried, &error)).await,
            }
            tried += 1;
        }
    }

    /// Takes it; what this step held in a life before is waited for, as long as a lease lives. Then `note` says what was noted
    /// in that life, and so does the answer. What another holds is waited for too, until it is called off or the step's time is
    /// over: flyctl holds one for 13 s and renews it while it works. One that ends after the step would is not waited for.
    ///
    /// # Errors
    /// Who has it, or what Fly says.
    pub(super) async fn take_back(
        hand: &Arc<Hand>,
        machine: &str,
        note: &mut Note,
        off: &CallOff,
        until: Until,
    ) -> Result<(Self, bool), NoLease> {
        let patience = Until::after(hand.patience.lease_ttl * 2);
        let mut noted = false;
        loop {
            match Self::take(hand, machine, note, until).await {
                Ok(lease) => return Ok((lease, noted)),
                Err(NoLease::Refused(Trouble::LeaseHeld { until: end, .. }, _)) if ends_within(end, until) => {
                    if off.is_off() {
                        return Err(NoLease::CalledOff);
                    }
                }
                Err(no @ (NoLease::Refused(..) | NoLease::CalledOff)) => return Err(no),
                Err(NoLease::Ours { last_start_ms, error }) => {
                    (note.last_start_ms, noted) = (last_start_ms, true);
                    if patience.is_over() || until.is_over() {
                        let Meaning::Refused(trouble) = meaning(&error) else {
                            return Err(NoLease::Refused(Trouble::Unreachable, error));
                        };
                        return Err(NoLease::Refused(trouble, error));
                    }
                }
            }
            until.sleep(AGAIN.min(hand.patience.lease_ttl / 4)).await;
        }
    }

    fn keep(hand: &Arc<Hand>, machine: &str, nonce: String, version: String) -> Self {
        let (end, ended) = watch::channel(false);
        let renewal = tokio::spawn(renew(Arc::clone(hand), machine.to_owned(), nonce.clone(), ended));
        Self { hand: Arc::clone(hand), machine: machine.to_owned(), nonce, version, end, renewal }
    }

    /// Gives it back. A renewal on the wire is waited for first: arriving later, it would be a lease that nobody gives back.
    pub(super) async fn give_back(self) {
        let Self { hand, machine, nonce, end, renewal, .. } = self;
        drop(end);
        if renewal.await.is_err() {
            debug!(machine.id = %machine, "The renewal of a lease broke off");
        }
        let path = ["apps", &hand.app, "machines", &machine, "lease"];
        let ask = Ask::send(Method::DELETE, "give lease back", &machine, Side::Machines, &path).nonce(&nonce);
        let ask = ask.within(SHORT_MAX);
        for _ in 0..2 {
            match hand.wire.once(&ask).await {
                // Somebody cleared it, or it ended by itself: it is gone.
                Ok(_) => return,
                Err(error) if is_lost(&error) => return,
                Err(error) => debug!(machine.id = %machine, "A lease was not given back: {error}"),
            }
        }
    }
}

/// Whether somebody else's lease is over, or may be, before the step must be.
#[expect(clippy::disallowed_methods, reason = "Fly stamps the end of a lease with wire time")]
fn ends_within(end: Option<DateTime<Utc>>, until: Until) -> bool {
    let left = end.map_or(Duration::ZERO, |end| (end - Utc::now()).to_std().unwrap_or_default());
    !until.is_over() && left < until.left()
}

/// Renews until told to end, or until whoever would tell is gone.
async fn renew(hand: Arc<Hand>, machine: String, nonce: String, mut ended: watch::Receiver<bool>) {
    let ttl = hand.patience.lease_ttl;
    loop {
        tokio::select! {
            biased;
            _ = ended.changed() => return,
            () = tokio::time::sleep(ttl / 3) => {}
        }
        let path = ["apps", &hand.app, "machines", &machine, "lease"];
        let ask = Ask::send(Method::POST, "renew lease", &machine, Side::Machines, &path)
            .query("ttl", ttl.as_secs().max(1))
            .nonce(&nonce)
            .within(SHORT_MAX.min(ttl / 3));
        if let Err(error) = hand.wire.once(&ask).await {
            debug!(machine.id = %machine, "A lease was not renewed: {error}");
            // Refused is lost: asking on would take another's.
            if is_lost(&error) {
                return;
            }
        }
    }
}

/// Whether Fly says that the lease is not ours.
fn is_lost(error: &FlyError) -> bool {
    error.status.is_some_and(|status| (400..500).contains(&status) && status != 429)
}

/// The nonce and the machine's version, from the envelope that Fly sends and from the flat form that its document promises.
fn held(answer: &Value) -> Option<(String, String)> {
    let lease = answer.get("data").filter(|data| data.is_object()).unwrap_or(answer);
    let text = |key: &str| lease.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((text("nonce"), text("version"))).filter(|(nonce, _)| !nonce.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_known_again_by_its_own_step_alone() {
        let note = Note { mark: "DEP-12.3".to_owned(), last_start_ms: Some(7), by: "ana".to_owned() };
        assert_eq!(note.read(&note.write()), Some(Some(7)));
        let first = Note { last_start_ms: None, ..note.clone() };
        assert_eq!(note.read(&first.write()), Some(None));
        let other = Note { mark: "DEP-12".to_owned(), ..note.clone() };
        assert_eq!(other.read(&note.write()), None, "a mark is not a beginning of a mark");
        assert_eq!(note.read("flyctl"), None);
    }

    #[test]
    fn the_envelope_is_opened() {
        let data = json!({"status": "success", "data": {"nonce": "n", "version": "01J", "expires_at": 1}});
        assert_eq!(held(&data), Some(("n".to_owned(), "01J".to_owned())));
        assert_eq!(held(&json!({"nonce": "n"})), Some(("n".to_owned(), String::new())));
        assert_eq!(held(&json!({"status": "error", "message": "no"})), None);
    }
}
