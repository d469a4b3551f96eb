//! One app's token, and how patient whoever acts with it is.
//!
//! Owns the step's time: everything that is done under it asks here how much is left. Decides nothing about machines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::model::Machine;
use super::release::Current;
use super::wire::{Ask, FlyError, PACE, Side, TRY_MAX, Wire};
use crate::domain::hosting::{Image, StepEnd, Trouble};

/// The longest that a step may take, whatever it was given.
const STEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The time of a step that is kept for giving the lease back, at most.
const GIVE_BACK_MAX: Duration = Duration::from_secs(3);

/// How long is waited for what. The defaults are for the live Fly.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A started machine is watched at least this long for ending again. flyctl's own smoke check is as long.
    pub smoke: Duration,
    /// One question after a state, at most 60 s at Fly. Shorter, so that what ends while we wait for its start is seen.
    pub wait_call: Duration,
    /// The time between two looks at a machine.
    pub look_every: Duration,
    /// A machine between two states is asked again for so long.
    pub passing: Duration,
    /// The time for one write to be answered. An update stops the machine first.
    pub write: Duration,
    /// The life of a lease that is not renewed. Fly takes whole seconds.
    pub lease_ttl: Duration,
    /// The time in which Fly allows one request per action and object.
    pub pace: Duration,
}

impl Patience {
    /// For a stand-in, whose machines are up in a moment.
    pub const fn with_a_stand_in() -> Self {
        Self {
            smoke: Duration::from_millis(200),
            wait_call: Duration::from_secs(1),
            look_every: Duration::from_millis(100),
            passing: Duration::from_secs(5),
            write: Duration::from_secs(10),
            lease_ttl: Duration::from_secs(3),
            pace: Duration::from_millis(100),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            smoke: Duration::from_secs(10),
            wait_call: Duration::from_secs(15),
            look_every: Duration::from_secs(1),
            passing: Duration::from_secs(10),
            write: Duration::from_secs(30),
            lease_ttl: Duration::from_secs(30),
            pace: PACE,
        }
    }
}

/// When a step must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until(Instant);

impl Until {
    /// A step's: from now on, with some of it kept for giving the lease back.
    pub(super) fn step(within: Duration) -> Self {
        Self::after(within.min(STEP_MAX) - GIVE_BACK_MAX.min(within / 4))
    }

    /// From now on.
    pub(super) fn after(within: Duration) -> Self {
        Self(Instant::now() + within.min(STEP_MAX))
    }

    /// What is left.
    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is.
    pub(super) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Sleeps, and not beyond the end.
    pub(super) async fn sleep(self, wish: Duration) {
        tokio::time::sleep(wish.min(self.left())).await;
    }
}

/// Acts on one app.
#[derive(Debug)]
pub(super) struct Hand {
    /// The app.
    pub(super) app: String,
    /// Its token.
    pub(super) wire: Wire,
    /// How long is waited for what.
    pub(super) patience: Patience,
    /// What the current release was made of when that was told last.
    told: Mutex<Option<Current>>,
}

impl Hand {
    /// For an app.
    pub(super) fn new(app: String, wire: Wire, patience: Patience) -> Self {
        Self { app, wire, patience, told: Mutex::default() }
    }

    /// Keeps what the current release is made of, for when that is not told.
    pub(super) fn remember(&self, current: &Current) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(current.clone());
    }

    /// What the release with this number was made of, when that is what was told last.
    pub(super) fn recall(&self, version: u64) -> Option<Current> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().filter(|current| current.is_of(version)).cloned()
    }

    /// A machine as it is now, within the step's time.
    pub(super) async fn machine(&self, id: &str, until: Until) -> Result<Machine, FlyError> {
        let answer = self.question(self.get("get machine", id, &["apps", &self.app, "machines", id]), until).await?;
        read_machine(&answer)
    }

    /// A question to the Machines API.
    pub(super) fn get<'a>(&self, action: &'static str, machine: &'a str, path: &[&'a str]) -> Ask<'a> {
        Ask::get(action, machine, Side::Machines, path)
    }

    /// A question within the step's time.
    pub(super) async fn question(&self, ask: Ask<'_>, until: Until) -> Result<Value, FlyError> {
        let limit = until.left().max(Duration::from_millis(1));
        let ask = ask.within(limit.min(TRY_MAX));
        tokio::time::timeout(limit, self.wire.question(ask))
            .await
            .unwrap_or_else(|_| Err(FlyError::local("the step's time was over before Fly answered")))
    }
}

/// One machine out of an answer.
pub(super) fn read_machine(answer: &Value) -> Result<Machine, FlyError> {
    Machine::read(answer).ok_or_else(|| FlyError::local("Fly answered with something that is no machine"))
}

/// The image that a machine runs: as its configuration writes it, with the digest when Fly says which that is.
pub(super) fn image_of(machine: &Machine) -> Image {
    let resolved = Image::new(machine.image.as_str());
    match machine.config.get("image").and_then(Value::as_str) {
        Some(written) => {
            let written = Image::new(written);
            Image { digest: written.digest.or(resolved.digest), ..written }
        }
        None => resolved,
    }
}

/// Whether both are the same image, also when one of them was written with its digest and the other is known by its tag alone.
pub(super) fn same_image(one: &Image, other: &Image) -> bool {
    let tagged = |image: &Image| image.reference.split('@').next().unwrap_or_default().to_owned();
    one.is(other) || ((one.digest.is_none() || other.digest.is_none()) && tagged(one) == tagged(other))
}

/// A step that failed.
pub(super) fn failed(trouble: Trouble, says: impl Into<String>, before: Option<Value>) -> StepEnd {
    StepEnd::Failed { trouble, says: says.into(), before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_again_with_and_without_its_digest() {
        let image = Image::new;
        assert!(same_image(&image("shop:v1@sha256:aa"), &image("shop:v1")));
        assert!(same_image(&image("shop:v1@sha256:aa"), &image("shop:v2@sha256:aa")));
        assert!(!same_image(&image("shop:v1@sha256:aa"), &image("shop:v1@sha256:bb")), "the tag moved");
        assert!(!same_image(&image("shop:v1"), &image("shop:v2")));
    }
}
