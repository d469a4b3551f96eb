//! The doors between the bot and its neighbours: one trait a neighbour, and the plain types that pass through.
//!
//! May import the domain and nothing else of ours. No implementation here; those are `adapters/` (for real) and tests.

pub mod disk;
pub mod hosting;
pub mod journal;
pub mod logs;
pub mod metrics;

use std::future::Future;

use chrono::{DateTime, Utc};

use crate::domain::effect::Urgency;
use crate::domain::health::HealthReport;
use crate::domain::ids::{IncidentId, Person, Place, Posted, Service};
use crate::domain::input::Measurement;
use crate::domain::message::Message;
use crate::domain::workspace::Way;

/// Promise time. The only source of `now`; wire time (time-outs, rate headers) never comes from here.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;
}

/// Where a message goes, once its target is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// A channel or thread.
    Place(Place),
    /// A channel by the name or id that configuration gives it.
    Named(String),
    /// A person, in private.
    Direct(Person),
}

/// Why the chat did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatError {
    /// It may have been done: the answer was lost. Look before doing it again.
    InDoubt(String),
    /// It was not done and may work later.
    NotNow(String),
    /// Whether it was done cannot be found out, now or later.
    CannotTell(String),
    /// It was refused and will be refused again.
    Refused(String),
    /// What it was about (message, thread, channel, person) is not there.
    Gone(String),
}

impl std::fmt::Display for ChatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChatError::InDoubt(why) => write!(f, "it may or may not have been done: {why}"),
            ChatError::NotNow(why) | ChatError::CannotTell(why) | ChatError::Refused(why) | ChatError::Gone(why) => {
                f.write_str(why)
            }
        }
    }
}

/// The chat that people talk in. Every call is bounded in time by the implementation.
pub trait Chat: Send + Sync + 'static {
    /// Posts a message once. `mark` is the effect's own id in at most 25 characters: the chat refuses to make a second
    /// message with it for a while, and it can be found in the message afterwards.
    fn post(
        &self,
        to: &Where,
        message: &Message,
        mark: &str,
        urgency: Urgency,
    ) -> impl Future<Output = Result<Posted, ChatError>> + Send;

    /// Looks through the newest messages of a place, back to `since`, for the one that carries `mark`. When more was written
    /// there than can be read, the answer is `CannotTell`, never that it is not there.
    fn find(
        &self,
        to: &Where,
        mark: &str,
        since: DateTime<Utc>,
    ) -> impl Future<Output = Result<Option<Posted>, ChatError>> + Send;

    /// Makes a message look like this, silently. Pings are ignored.
    fn edit(&self, posted: &Posted, message: &Message) -> impl Future<Output = Result<(), ChatError>> + Send;

    /// Deletes a message. One that is not there counts as deleted.
    fn delete(&self, posted: &Posted) -> impl Future<Output = Result<(), ChatError>> + Send;

    /// Starts the thread under a message, or finds the one that is there.
    fn start_thread(&self, under: &Posted, title: &str) -> impl Future<Output = Result<Place, ChatError>> + Send;

    /// Names a thread, and opens it again when it was archived.
    fn retitle(&self, thread: &Place, title: &str) -> impl Future<Output = Result<(), ChatError>> + Send;

    /// Pins or unpins a message.
    fn pin(&self, posted: &Posted, pinned: bool) -> impl Future<Output = Result<(), ChatError>> + Send;

    /// How the chat is, for `/watchbell status` and `/readyz`.
    fn condition(&self) -> Condition;
}

/// How a neighbour is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it answers.
    pub up: bool,
    /// Since when it has been as it is.
    pub since: Option<DateTime<Utc>>,
    /// What waits to be sent.
    pub waiting: usize,
    /// How long the oldest of that has waited, in milliseconds.
    pub oldest_ms: u64,
    /// A sentence, when something is wrong.
    pub trouble: Option<String>,
}

/// A page, ready to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCall {
    /// The effect's id: services that can, drop a second call with the same one.
    pub mark: String,
    /// Whom, by the name others see.
    pub person: Person,
    /// By which way.
    pub way: Way,
    /// Headline, at most 100 characters.
    pub title: String,
    /// A few lines.
    pub body: String,
    /// A link to the incident.
    pub link: Option<String>,
    /// The incident that it is about; none for a test.
    pub incident: Option<IncidentId>,
}

impl PageCall {
    /// What tells this record from any other: what its marks begin with.
    pub fn record(&self) -> &str {
        self.mark.split('-').next().unwrap_or_default()
    }
}

/// Waking people by other ways than the chat.
pub trait Pager: Send + Sync + 'static {
    /// Sends a page. `NotNow` and `InDoubt` are tried again by the caller.
    fn page(&self, call: &PageCall) -> impl Future<Output = Result<(), ChatError>> + Send;
}

/// Looking at services: their machines at the host, and the answers they give.
pub trait Watch: Send + Sync + 'static {
    /// Looks at one service, or all, now. Bounded in time; what did not answer is said so in the report.
    fn look(&self, service: Option<&Service>) -> impl Future<Output = HealthReport> + Send;

    /// The rounds of measurements that configuration asks for: resolves with the next one.
    fn next_measurement(&self) -> impl Future<Output = Measurement> + Send;
}
