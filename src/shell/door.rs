//! The door to the loop: what can be brought to it, and what can be asked of it.
//!
//! Owns the queues. What comes from outside waits in a bounded one and is turned away when it is full; what the bot itself owes
//! the loop (ends of effects, answers to questions) is never turned away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

use super::pulse::{Beat, Pulse};
use crate::domain::answer::Answer;
use crate::domain::ids::{DeployId, Thing};
use crate::domain::input::{Answers, Input};
use crate::domain::message::Message;
use crate::domain::pipeline::told::Told;
use crate::domain::policy::Policy;

/// Inputs that may wait at the door. Beyond it the sender is told to come back.
pub const WAITING_MAX: usize = 1_024;
/// Gives an answer to whoever asked; at most once.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// An input on its way to the loop.
pub struct Inbound {
    /// What happened.
    pub input: Input,
    /// Where the answer goes, when somebody waits for one.
    pub reply: Option<Reply>,
    /// What the outside said, once it was asked.
    pub answers: Option<Answers>,
    /// Counts as under way until it is decided.
    pub beat: Option<Beat>,
}

/// A question to the loop itself, answered between batches.
pub enum Ask {
    /// How things are, for pages and checks.
    Look(oneshot::Sender<Snapshot>),
    /// How an incident or a deploy should look now. No answer when it is not in memory.
    Draw(Thing, oneshot::Sender<Drawn>),
    /// How a deploy that a pipeline asked for stands; none when none did, or it is not on record.
    Told(Meant, oneshot::Sender<Option<Told>>),
    /// A policy that holds from now on, and its hash.
    Adopt(Box<Policy>, String),
}

/// The loop gave no answer: that is none about what is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold;

/// Which deploy a pipeline means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// The one that came of a request.
    Request {
        /// The request's name for itself.
        id: String,
        /// SHA-256 of its body, in hex.
        body: String,
    },
    /// By number.
    Number(DeployId),
}

/// How an incident or a deploy should look.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Its card.
    pub card: Message,
    /// Whether the card is pinned.
    pub pinned: bool,
    /// Whether a card that goes up late may still ping: nobody is there yet.
    pub may_ring: bool,
}

/// How things are in the loop.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The number of the last line.
    pub seq: u64,
    /// Whether it is live.
    pub live: bool,
    /// Open incidents.
    pub open: usize,
    /// Effects asked for and not ended.
    pub pending: usize,
    /// The next instant at which something falls due.
    pub next_due: Option<DateTime<Utc>>,
    /// When the team's own rules are looked at next; none without any, and while they are being looked at.
    pub next_rules: Option<DateTime<Utc>>,
    /// The most overdue thing: its instant. Nothing is overdue when none.
    pub overdue_since: Option<DateTime<Utc>>,
    /// How long the oldest page or ping has been on its way, in real time. None is on its way when none.
    pub calling_for: Option<Duration>,
    /// Promises kept on time and late, over what is in memory.
    pub kept: u32,
    /// Late ones.
    pub late: u32,
    /// Reminders that went out later than they should have while the bot was there, over what is in memory.
    pub reminders_late: u32,
    /// Starts on record.
    pub starts: u64,
    /// What went wrong lately with the record, when anything.
    pub trouble: Option<String>,
}

/// The door to the loop, for everybody who brings something.
#[derive(Clone)]
pub struct Door {
    inputs: mpsc::Sender<Inbound>,
    results: mpsc::UnboundedSender<Inbound>,
    asks: mpsc::Sender<Ask>,
    pulse: Pulse,
}

impl Door {
    /// Brings an input from outside. Gives it back when too many wait.
    ///
    /// # Errors
    /// The input, when the queue is full or the loop is gone.
    pub fn bring(&self, input: Input, reply: Option<Reply>) -> Result<(), Option<Reply>> {
        let inbound = Inbound { input, reply, answers: None, beat: Some(self.pulse.beat()) };
        self.inputs.try_send(inbound).map_err(|error| match error {
            mpsc::error::TrySendError::Full(inbound) | mpsc::error::TrySendError::Closed(inbound) => inbound.reply,
        })
    }

    /// Brings the end of an effect, or an answer to a question. Never dropped while the loop lives.
    pub fn result(&self, inbound: Inbound) {
        // A loop that is gone takes its queue with it; the next start finds out what came of it.
        let _ = self.results.send(inbound);
    }

    /// Brings an input that must not be dropped.
    pub fn must(&self, input: Input) {
        self.result(Inbound { input, reply: None, answers: None, beat: Some(self.pulse.beat()) });
    }

    /// How things are.
    pub async fn look(&self) -> Option<Snapshot> {
        let (sender, receiver) = oneshot::channel();
        self.asks.send(Ask::Look(sender)).await.ok()?;
        receiver.await.ok()
    }

    /// How an incident or a deploy should look now; none when it is not in memory, or the loop is gone. What is drawn is on
    /// record: questions are answered between batches.
    pub async fn draw(&self, on: Thing) -> Option<Drawn> {
        let (sender, receiver) = oneshot::channel();
        self.asks.send(Ask::Draw(on, sender)).await.ok()?;
        receiver.await.ok()
    }

    /// How a deploy that a pipeline asked for stands, as it is on record; none when none did.
    ///
    /// # Errors
    /// When the loop is gone, or could not say.
    pub async fn told(&self, which: Meant) -> Result<Option<Told>, Untold> {
        let (sender, receiver) = oneshot::channel();
        self.asks.send(Ask::Told(which, sender)).await.map_err(|_| Untold)?;
        receiver.await.map_err(|_| Untold)
    }

    /// From now on this policy holds.
    pub async fn adopt(&self, policy: Policy, hash: String) {
        // A loop that is gone needs no policy.
        let _ = self.asks.send(Ask::Adopt(Box::new(policy), hash)).await;
    }

    /// What is under way.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }
}

/// The receiving ends of a door.
pub struct Threshold {
    pub(super) inputs: mpsc::Receiver<Inbound>,
    pub(super) results: mpsc::UnboundedReceiver<Inbound>,
    pub(super) asks: mpsc::Receiver<Ask>,
}

impl Threshold {
    /// Whether nothing waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.results.is_empty() && self.asks.is_empty()
    }
}

/// A door and its other side.
pub fn door() -> (Door, Threshold) {
    let (inputs, inputs_out) = mpsc::channel(WAITING_MAX);
    let (results, results_out) = mpsc::unbounded_channel();
    let (asks, asks_out) = mpsc::channel(WAITING_MAX);
    let door = Door { inputs, results, asks, pulse: Pulse::default() };
    (door, Threshold { inputs: inputs_out, results: results_out, asks: asks_out })
}
