//! Our own way out to Discord's REST API: everything that the bot sends passes here, in its turn.
//!
//! It owns the pace: one queue a bucket, the urgent first, the global limit, a brake long before Discord bans an address; it waits
//! *before* Discord says 429. Interaction answers have a lane of their own that nothing else fills or pauses. It never tries again
//! what may have been done and must be done once: that is [`LaneError::InDoubt`], and the outbox looks before it posts again.
//! It knows nothing of incidents, keeps nothing over a restart, and never shows a token.
//!
//! Read on: [`route`](Route) what can be asked, `pace` who leaves next, `bucket` the arithmetic, `wire` one attempt.

mod bucket;
mod error;
mod headers;
mod pace;
mod route;
mod stats;
mod wire;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use error::{LaneError, Trouble};
use headers::{Limits, Refused429, Scope};
use pace::{Left, NoPlace, Pace, Seq, TOKEN_SECOND_TRY, Ticket, Turn};
pub use route::{Major, Route};
pub use stats::{LATENCY_BOUNDS_MS, Stats};
use wire::{Heard, Load, Outcome, Wire};

/// How often one request is sent when the way is bad (429s are not counted: they end by the time that a request may wait).
const ATTEMPTS_MAX: u32 = 4;
/// No request waits longer than this, whatever its caller says.
const GIVE_UP_MAX_MS: u64 = 24 * 3_600 * 1_000;

/// A queue no longer than this is looked through by whoever enters it.
const PUMP_AT_ONCE_MAX: usize = 4;

/// How a lane is set up.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// The API's base address with its version, such as `https://discord.com/api/v10`.
    pub api_url: String,
    /// The bot's token, without `Bot `.
    pub token: SecretString,
    /// How we call ourselves. Discord asks for `DiscordBot (url, version)`.
    pub user_agent: String,
    /// The longest one attempt may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// Bounds; the default suits Discord.
    pub limits: LaneLimits,
}

/// The lane's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Discord's global limit, in requests a second.
    pub global_per_second: usize,
    /// At most this many requests wait; more are [`LaneError::Full`].
    pub waiting_max: usize,
    /// At most this many bytes of bodies wait; counted apart for interaction answers.
    pub waiting_bytes_max: usize,
    /// At most this many interaction answers wait, apart from the others.
    pub answers_waiting_max: usize,
    /// Invalid requests in ten minutes after which all but interaction answers stand still. Discord bans at 10,000.
    pub invalid_max: u32,
    /// The same for interaction answers.
    pub invalid_max_answers: u32,
    /// The wait before a second attempt, in milliseconds; it doubles each time, and up to as much again is added by chance.
    pub backoff_ms: u64,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            global_per_second: 50,
            waiting_max: 1_000,
            waiting_bytes_max: 64 << 20,
            answers_waiting_max: 500,
            invalid_max: 2_000,
            invalid_max_answers: 4_000,
            backoff_ms: 200,
        }
    }
}

/// Who goes first when not all can. The last is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Can wait: the daily digest.
    Digest,
    /// A card, a pin, a title: the next one replaces it.
    Card,
    /// What somebody reads soon.
    Notice,
    /// A promise that is due.
    Reminder,
    /// Somebody must wake up.
    Page,
}

/// Posts of one channel with the same key reach it in the order in which they were handed over, one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderKey(Arc<str>);

impl OrderKey {
    /// A key of any text, such as `INC-7`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

/// A file to attach.
#[derive(Clone)]
pub struct FilePart {
    /// The name that people see.
    pub name: String,
    /// Such as `image/png`.
    pub content_type: String,
    /// What is in it.
    pub bytes: Bytes,
}

/// Something to send.
#[derive(Clone)]
pub struct Request {
    /// What is asked, with the method.
    pub route: Route,
    /// The query's pairs.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body; `payload_json` when there are files.
    pub body: Option<Value>,
    /// Files to attach.
    pub files: Vec<FilePart>,
    /// Who goes first.
    pub urgency: Urgency,
    /// Whom it must not overtake.
    pub order: Option<OrderKey>,
    /// How long it may wait for its turn in all, in milliseconds. An attempt that has begun is let finish.
    pub give_up_after_ms: u64,
}

impl Request {
    /// A request with nothing but its route: a notice that may wait for a minute.
    pub fn new(route: Route) -> Self {
        Self {
            route,
            query: Vec::new(),
            body: None,
            files: Vec::new(),
            urgency: Urgency::Notice,
            order: None,
            give_up_after_ms: 60_000,
        }
    }

    /// With this JSON.
    pub fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// What Discord answered: always a success.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status, 2xx.
    pub status: u16,
    /// The JSON; null when there was none.
    pub body: Value,
    /// How long the attempt that succeeded took, in milliseconds, without the wait for its turn.
    pub took_ms: u64,
}

/// What waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: usize,
    /// How long the oldest has waited, in milliseconds.
    pub oldest_ms: u64,
    /// How many are on the wire.
    pub on_the_wire: usize,
    /// For how long Discord has paused everything, in milliseconds; 0 when it has not.
    pub paused_ms: u64,
    /// Whether too many invalid requests have stopped us.
    pub braked: bool,
    /// Whether Discord refused the bot's token when it was last tried: then what needs it is sent only now and then.
    pub token_refused: bool,
    /// The same by urgency, the most urgent first, only those with something waiting.
    pub classes: Vec<ClassWaiting>,
}

/// What waits of one urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassWaiting {
    /// Which.
    pub urgency: Urgency,
    /// How many.
    pub count: usize,
    /// How long the oldest has waited, in milliseconds.
    pub oldest_ms: u64,
}

/// The lane. Clones are the same lane.
#[derive(Clone)]
pub struct Lane {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    pump: AbortHandle,
}

struct Shared {
    wire: Wire,
    pace: Mutex<Pace>,
    stats: Mutex<Stats>,
    changed: Notify,
    older_pins: AtomicBool,
    backoff_ms: u64,
}

impl Lane {
    /// Opens the lane; sends nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`LaneError::BadAddress`] and [`LaneError::BadToken`] when the options cannot be used.
    pub fn new(options: LaneOptions) -> Result<Self, LaneError> {
        let shared = Arc::new(Shared {
            wire: Wire::new(&options)?,
            pace: Mutex::new(Pace::new(options.limits)),
            stats: Mutex::default(),
            changed: Notify::new(),
            older_pins: AtomicBool::new(false),
            backoff_ms: options.limits.backoff_ms,
        });
        let pump = tokio::spawn(pump(Arc::clone(&shared))).abort_handle();
        Ok(Self { inner: Arc::new(Inner { shared, pump }) })
    }

    /// Asks nothing of a channel for so long: what a process before this one sent there is still counted, and nobody here
    /// knows how much that was.
    pub fn rest(&self, long: Duration) {
        self.inner.shared.pace.lock().unwrap_or_else(PoisonError::into_inner).rest_until(Instant::now() + long);
        self.inner.shared.changed.notify_one();
    }

    /// Sends a request when its turn comes, and tells what Discord answered.
    ///
    /// Dropping the future frees the request's place; when it was on the wire already, it may have been done.
    ///
    /// # Errors
    /// See [`LaneError`]: each says whether it can have been done.
    pub async fn send(&self, request: Request) -> Result<Answer, LaneError> {
        let shared = &self.inner.shared;
        let Request { route, query, body, files, urgency, order, give_up_after_ms } = request;
        let load = Load::new(query, body.as_ref(), files);
        drop(body);
        let give_up_at = Instant::now() + Duration::from_millis(give_up_after_ms.min(GIVE_UP_MAX_MS));
        let plan = Plan { load, urgency, order, give_up_at };
        let result = match route.fallback() {
            Some(older) if shared.older_pins.load(Ordering::Relaxed) => shared.carry(older, &plan).await,
            Some(older) => match shared.carry(&route, &plan).await {
                // Without a code of Discord's it is the route that is not there, not the message.
                Err(LaneError::Refused { status: 404, code: 0, .. }) => {
                    let result = shared.carry(older, &plan).await;
                    if result.is_ok() {
                        shared.older_pins.store(true, Ordering::Relaxed);
                    }
                    result
                }
                result => result,
            },
            None => shared.carry(&route, &plan).await,
        };
        shared.count_end(&result);
        result
    }

    /// What waits, and for how long.
    pub fn waiting(&self) -> Waiting {
        self.inner.shared.pace().waiting(Instant::now())
    }

    /// What was counted since the lane was opened.
    pub fn stats(&self) -> Stats {
        let invalid_10min = self.inner.shared.pace().invalid(Instant::now());
        Stats { invalid_10min, ..self.inner.shared.stats().clone() }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Lets requests go when time alone frees them or something has changed.
async fn pump(shared: Arc<Shared>) {
    loop {
        let wake = shared.pace().pump(Instant::now());
        match wake {
            Some(at) => tokio::select! {
                () = sleep_until(at) => {}
                () = shared.changed.notified() => {}
            },
            None => shared.changed.notified().await,
        }
    }
}

/// A request without its route, which may be one of two.
struct Plan {
    load: Load,
    urgency: Urgency,
    order: Option<OrderKey>,
    give_up_at: Instant,
}

impl Shared {
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(&self, route: &Route, plan: &Plan) -> Result<Answer, LaneError> {
        let mut place = Place::enter(self, route, plan)?;
        // What happened to an earlier attempt that may have been done: a wait that ends badly must not call it undone.
        let mut doubt = None;
        let mut attempts = 0;
        let mut unbelieved = false;
        loop {
            if let Err(error) = place.turn(plan.give_up_at).await {
                return Err(unless_in_doubt(route, doubt, error));
            }
            let sent_at = Instant::now();
            self.stats().sent += 1;
            let outcome = self.wire.attempt(route, &plan.load).await;
            let now = Instant::now();
            attempts += 1;
            let trouble = match outcome {
                Outcome::Answered(heard) => {
                    self.stats().time(now.saturating_duration_since(sent_at));
                    let told = Limits::read(&heard.headers);
                    match heard.status {
                        429 => {
                            attempts -= 1;
                            match self.hold(&mut place, &heard, &told, plan.give_up_at) {
                                Ok(()) => continue,
                                Err(error) => return Err(unless_in_doubt(route, doubt, error)),
                            }
                        }
                        401 if !unbelieved && place.may_doubt_the_401(plan.give_up_at) => {
                            unbelieved = true;
                            attempts -= 1;
                            place.unbelieved(&told);
                            continue;
                        }
                        status @ 500.. => *doubt.insert(Trouble::Server(status)),
                        _ => {
                            place.answered(heard.status, &told);
                            return self.judge(route, heard, doubt.is_some(), now.saturating_duration_since(sent_at));
                        }
                    }
                }
                Outcome::NotReached(trouble) => trouble,
                Outcome::Broken(trouble) => *doubt.insert(trouble),
            };
            let backoff = Duration::from_millis(backoff_ms(self.backoff_ms, attempts));
            let once = doubt.is_some() && !route.is_repeatable();
            if once || attempts >= ATTEMPTS_MAX || now + backoff > plan.give_up_at {
                return Err(unless_in_doubt(route, doubt, LaneError::Unreachable { trouble }));
            }
            place.again(now + backoff);
        }
    }

    /// A 429: it was not done and waits again, unless that would take longer than it may.
    fn hold(&self, place: &mut Place<'_>, heard: &Heard, told: &Limits, give_up_at: Instant) -> Result<(), LaneError> {
        let refused = Refused429::read(&heard.headers, &heard.body);
        {
            let mut stats = self.stats();
            match refused.scope {
                Scope::Shared => stats.rate_limited_shared += 1,
                Scope::User | Scope::Global => stats.rate_limited += 1,
            }
        }
        let retry_at = place.limited(refused, told);
        if retry_at > give_up_at {
            return Err(LaneError::RateLimitedTooLong { retry_after_ms: millis(refused.retry_after) });
        }
        Ok(())
    }

    fn judge(&self, route: &Route, heard: Heard, doubt: bool, took: Duration) -> Result<Answer, LaneError> {
        let Heard { status, body, .. } = heard;
        match status {
            200..300 => Ok(Answer { status, body, took_ms: millis(took) }),
            // An attempt that nobody heard the end of has deleted it already.
            404 if doubt && *route.method() == reqwest::Method::DELETE => {
                Ok(Answer { status: 204, body: Value::Null, took_ms: millis(took) })
            }
            401 if !route.answers_interaction() => Err(LaneError::BadToken),
            _ => Err(error::refusal(status, &body, &self.wire.secrets(route))),
        }
    }

    fn count_end(&self, result: &Result<Answer, LaneError>) {
        let mut stats = self.stats();
        match result {
            Ok(_) => stats.done += 1,
            Err(LaneError::Refused { .. } | LaneError::BadToken) => stats.refused += 1,
            Err(LaneError::InDoubt { .. }) => stats.in_doubt += 1,
            Err(LaneError::Unreachable { .. } | LaneError::BadAddress) => stats.unreachable += 1,
            Err(LaneError::GaveUp { .. } | LaneError::RateLimitedTooLong { .. } | LaneError::Full { .. }) => {
                stats.gave_up += 1;
            }
        }
    }
}

/// A request's place, from entering to its answer. Whatever way the future ends, the place is freed.
struct Place<'a> {
    shared: &'a Shared,
    seq: Seq,
    since: Instant,
    needs_token: bool,
    turn: Option<Turn>,
    sent: bool,
}

impl<'a> Place<'a> {
    fn enter(shared: &'a Shared, route: &Route, plan: &Plan) -> Result<Self, LaneError> {
        let since = Instant::now();
        let needs_token = !route.answers_interaction();
        let mut pace = shared.pace();
        if needs_token && pace.token_rests(since) {
            return Err(LaneError::BadToken);
        }
        let ticket = Ticket::new(route, plan.urgency, plan.order.clone(), plan.load.bytes(), since);
        let (seq, turn) = pace.enter(ticket).map_err(|NoPlace { waiting }| LaneError::Full { waiting })?;
        // Without a queue to look through, who may leave at once need not wait for the pump to run.
        if !needs_token || pace.queue_len() <= PUMP_AT_ONCE_MAX {
            pace.pump(since);
        }
        drop(pace);
        shared.changed.notify_one();
        Ok(Self { shared, seq, since, needs_token, turn: Some(turn), sent: false })
    }

    /// Waits for the turn; from its end on, the request counts as sent.
    async fn turn(&mut self, give_up_at: Instant) -> Result<(), LaneError> {
        let came = match self.turn.as_mut() {
            Some(turn) => matches!(timeout_at(give_up_at, turn).await, Ok(Ok(()))),
            None => false,
        };
        if !came {
            return Err(LaneError::GaveUp { waited_ms: millis(self.since.elapsed()) });
        }
        if self.needs_token && self.shared.pace().token_rests(Instant::now()) {
            return Err(LaneError::BadToken);
        }
        self.turn = None;
        self.sent = true;
        Ok(())
    }

    fn answered(&mut self, status: u16, told: &Limits) {
        self.shared.pace().answered(self.seq, status, told, Instant::now());
        self.shared.changed.notify_one();
    }

    fn limited(&mut self, refused: Refused429, told: &Limits) -> Instant {
        let (retry_at, turn) = self.shared.pace().limited(self.seq, refused, told, Instant::now());
        self.wait_again(turn);
        retry_at
    }

    /// Whether a 401 is more likely a slip than the end of the token, and there is time for a second try.
    fn may_doubt_the_401(&self, give_up_at: Instant) -> bool {
        self.needs_token && Instant::now() + TOKEN_SECOND_TRY < give_up_at && self.shared.pace().token_works()
    }

    fn unbelieved(&mut self, told: &Limits) {
        let turn = self.shared.pace().unbelieved(self.seq, told, Instant::now());
        self.wait_again(turn);
    }

    fn again(&mut self, not_before: Instant) {
        let turn = self.shared.pace().again(self.seq, not_before, Instant::now());
        self.wait_again(turn);
    }

    fn wait_again(&mut self, turn: Option<Turn>) {
        self.turn = turn;
        self.sent = false;
        self.shared.changed.notify_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = if self.sent { Left::Lost } else { Left::NotSent };
        self.shared.pace().leave(self.seq, left, Instant::now());
        self.shared.changed.notify_one();
    }
}

/// Shows how much, never what.
impl fmt::Debug for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePart({} bytes)", self.bytes.len())
    }
}

/// Shows the route and how much, never what.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.len();
        f.debug_struct("Request")
            .field("route", &self.route)
            .field("urgency", &self.urgency)
            .field("files", &files)
            .finish()
    }
}

/// Shows the status, never the body.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("took_ms", &self.took_ms).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.waiting()).finish()
    }
}

/// The failure as its caller must hear it: a write that an earlier attempt may have done is in doubt, however the last one ended.
fn unless_in_doubt(route: &Route, doubt: Option<Trouble>, error: LaneError) -> LaneError {
    match doubt {
        Some(trouble) if *route.method() != reqwest::Method::GET => LaneError::InDoubt { trouble },
        _ => error,
    }
}

fn backoff_ms(first_ms: u64, attempts: u32) -> u64 {
    let base = first_ms.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(GIVE_UP_MAX_MS);
    base + fastrand::u64(0..=base)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
