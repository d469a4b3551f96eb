//! Acting on what runs at the host: the questions that a plan needs answered, and one step at a time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::hosting::{Inventory, Lived, Step, StepEnd};

/// A step, ready to be done.
#[derive(Debug, Clone)]
pub struct StepCall {
    /// The app.
    pub app: String,
    /// What.
    pub step: Step,
    /// The step's own mark, at most 40 characters: written with the change, so that it is known again after a crash.
    pub mark: String,
    /// Who asked, for the host's record.
    pub by: String,
    /// The longest it may take, waiting for health included.
    pub within: Duration,
}

/// Says that a step is not wanted any more. What has begun to change is finished; what has not is left.
#[derive(Debug, Clone, Default)]
pub struct CallOff(Arc<AtomicBool>);

impl CallOff {
    /// Calls it off.
    pub fn now(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was called off.
    pub fn is_off(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The host that services run at.
pub trait Hosting: Send + Sync + 'static {
    /// What runs of an app and what was released. Bounded in time.
    ///
    /// # Errors
    /// A sentence, when the machines could not be read.
    fn inventory(&self, app: &str) -> impl Future<Output = Result<Inventory, String>> + Send;

    /// What happened to the machines of an app of late. What the host tells is moved onto promise time, which is `now`.
    ///
    /// # Errors
    /// A sentence, when the machines could not be read.
    fn life(&self, app: &str, now: DateTime<Utc>) -> impl Future<Output = Result<Vec<Lived>, String>> + Send;

    /// Does one step, to its end and within its time. Reads before it writes: a step that was done before, by its mark, is done.
    fn step(&self, call: &StepCall, off: &CallOff) -> impl Future<Output = StepEnd> + Send;

    /// Whether there is a token to act on this app.
    fn may_act(&self, app: &str) -> bool;
}
