//! Who may leave next: the queues, the buckets, the global limit and the brake, as one pure piece of arithmetic.
//!
//! The caller passes `now` and keeps it behind a lock; [`Pace::pump`] lets go whoever may leave and says when to ask again. Owns
//! every place in the lane, waiting or on the wire. Never sends, never sleeps.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bucket::{Bucket, Gate};
use super::headers::{Limits, Refused429, Scope};
use super::route::{Major, Route, RouteKey};
use super::{ClassWaiting, LaneLimits, OrderKey, Urgency, Waiting};

/// Discord's global limit counts this long.
const GLOBAL_WINDOW: Duration = Duration::from_millis(1_000);
/// Discord counts invalid requests this long (topics/rate-limits: 10,000 in ten minutes, then the address is banned).
const INVALID_WINDOW: Duration = Duration::from_secs(600);
/// Invalid requests are counted in slices of this length.
const INVALID_SLICE: Duration = Duration::from_secs(10);
/// A token that worked a moment ago and is refused once is tried again after so long: the refusal may be a slip of the edge's.
pub(super) const TOKEN_SECOND_TRY: Duration = Duration::from_secs(1);
/// After Discord refused the token, nothing that needs it is sent for so long.
const TOKEN_REST: Duration = Duration::from_secs(30);
/// Idle buckets are forgotten when there are more than this.
const BUCKETS_KEPT: usize = 512;

/// A place in the lane.
pub(super) type Seq = u64;
/// Resolves when the place may leave.
pub(super) type Turn = oneshot::Receiver<()>;

/// What a request needs to get a place.
#[derive(Debug)]
pub(super) struct Ticket {
    pub key: RouteKey,
    pub major: Major,
    pub urgency: Urgency,
    pub order: Option<OrderKey>,
    pub bytes: usize,
    pub since: Instant,
}

impl Ticket {
    pub fn new(route: &Route, urgency: Urgency, order: Option<OrderKey>, bytes: usize, since: Instant) -> Self {
        Self { key: route.key(), major: route.major(), urgency, order, bytes, since }
    }

    fn answers_interaction(&self) -> bool {
        matches!(self.major, Major::Interaction(_))
    }

    /// Order is kept within a channel; the same key elsewhere is another order.
    fn order(&self) -> Option<Order> {
        Some((self.major, self.order.clone()?))
    }
}

type Order = (Major, OrderKey);

/// Why there is no place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoPlace {
    pub waiting: usize,
}

/// How a place ends when there are no headers to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It never left: nothing was counted.
    NotSent,
    /// It left, or may have.
    Lost,
}

#[derive(Debug)]
pub(super) struct Pace {
    limits: LaneLimits,
    next: Seq,
    waiting: BTreeMap<Seq, Waiter>,
    flying: HashMap<Seq, Flight>,
    buckets: HashMap<BucketKey, Bucket>,
    hashes: HashMap<RouteKey, String>,
    global: Global,
    invalid: VecDeque<(Instant, u32)>,
    token: Token,
    /// Before this nothing is asked of a channel: what a process before this one sent is still counted.
    rests_until: Option<Instant>,
}

/// What Discord makes of the bot's token.
#[derive(Debug)]
enum Token {
    Untried,
    Taken,
    /// Until this, nothing that needs it is sent.
    Refused(Instant),
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    not_before: Option<Instant>,
    turn: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    bucket: BucketKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum BucketKey {
    /// No answer named its hash yet.
    Route(RouteKey, Major),
    Hash(String, Major),
}

/// The global limit. A place is free again only a whole window after its *answer* came, so however long a request took on its
/// way, no window of Discord's ever sees more than the limit.
#[derive(Debug, Default)]
struct Global {
    flying: usize,
    cooling: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Pace {
    pub fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            next: 0,
            waiting: BTreeMap::new(),
            flying: HashMap::new(),
            buckets: HashMap::new(),
            hashes: HashMap::new(),
            global: Global::default(),
            invalid: VecDeque::new(),
            token: Token::Untried,
            rests_until: None,
        }
    }

    /// Takes a place at the end. Interaction answers have places of their own, which posts cannot fill.
    pub fn enter(&mut self, ticket: Ticket) -> Result<(Seq, Turn), NoPlace> {
        let alike = self.waiting.values().map(|waiter| &waiter.ticket);
        let alike = alike.filter(|other| other.answers_interaction() == ticket.answers_interaction());
        let (count, bytes) = alike.fold((0, ticket.bytes), |(count, bytes), other| (count + 1, bytes + other.bytes));
        let own_lane = ticket.answers_interaction();
        let count_max = if own_lane { self.limits.answers_waiting_max } else { self.limits.waiting_max };
        if count >= count_max || bytes > self.limits.waiting_bytes_max {
            return Err(NoPlace { waiting: count });
        }
        let seq = self.next;
        self.next += 1;
        Ok((seq, self.wait(seq, ticket, None)))
    }

    fn wait(&mut self, seq: Seq, ticket: Ticket, not_before: Option<Instant>) -> Turn {
        let (turn, receiver) = oneshot::channel();
        self.waiting.insert(seq, Waiter { ticket, not_before, turn });
        receiver
    }

    /// Lets go whoever may leave, the most urgent first; tells when time alone will let the next one go.
    pub fn pump(&mut self, now: Instant) -> Option<Instant> {
        let mut wake = Wake::default();
        for seq in self.candidates() {
            match self.gate(seq, now) {
                Some(Gate::Open) => self.let_go(seq),
                Some(Gate::Until(at)) => wake.at(at),
                Some(Gate::Busy) | None => {}
            }
        }
        if self.buckets.len() > BUCKETS_KEPT {
            self.buckets.retain(|_, bucket| !bucket.is_idle(now));
        }
        wake.0
    }

    /// The places that nothing of their own order is ahead of, by urgency and then by age. One who waits behind another in the
    /// same order lends it its urgency: a page never waits behind somebody else's digest only because its own digest does.
    fn candidates(&self) -> Vec<Seq> {
        let mut busy: HashSet<Order> = self.flying.values().filter_map(|flight| flight.ticket.order()).collect();
        let mut urgencies: HashMap<Order, Urgency> = HashMap::new();
        for waiter in self.waiting.values() {
            if let Some(order) = waiter.ticket.order() {
                let urgency = urgencies.entry(order).or_insert(waiter.ticket.urgency);
                *urgency = waiter.ticket.urgency.max(*urgency);
            }
        }
        let mut heads = Vec::new();
        for (seq, waiter) in &self.waiting {
            let urgency = match waiter.ticket.order() {
                Some(order) => {
                    let urgency = urgencies.get(&order).copied().unwrap_or(waiter.ticket.urgency);
                    if !busy.insert(order) {
                        continue;
                    }
                    urgency
                }
                None => waiter.ticket.urgency,
            };
            heads.push((std::cmp::Reverse(urgency), *seq));
        }
        heads.sort_unstable();
        heads.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Asks nothing of a channel before that.
    pub fn rest_until(&mut self, at: Instant) {
        self.rests_until = Some(at);
    }

    fn gate(&mut self, seq: Seq, now: Instant) -> Option<Gate> {
        let waiter = self.waiting.get(&seq)?;
        let rests = self.rests_until.filter(|at| now < *at && matches!(waiter.ticket.major, Major::Channel(_)));
        if let Some(at) = rests {
            return Some(Gate::Until(at));
        }
        if let Some(at) = waiter.not_before.filter(|at| now < *at) {
            return Some(Gate::Until(at));
        }
        let own_lane = waiter.ticket.answers_interaction();
        let brake = if own_lane { self.limits.invalid_max_answers } else { self.limits.invalid_max };
        let bucket = self.bucket_of(&waiter.ticket);
        if let Some(at) = self.braked_until(now, brake) {
            return Some(Gate::Until(at));
        }
        if !own_lane {
            match self.global.gate(now, self.limits.global_per_second) {
                Gate::Open => {}
                shut => return Some(shut),
            }
        }
        Some(self.buckets.entry(bucket).or_default().gate(now))
    }

    fn let_go(&mut self, seq: Seq) {
        let Some(waiter) = self.waiting.remove(&seq) else { return };
        let bucket = self.bucket_of(&waiter.ticket);
        // A receiver that is gone was dropped just now; its place takes itself out.
        if waiter.turn.send(()).is_err() {
            return;
        }
        self.buckets.entry(bucket.clone()).or_default().take();
        if !waiter.ticket.answers_interaction() {
            self.global.flying += 1;
        }
        self.flying.insert(seq, Flight { ticket: waiter.ticket, bucket });
    }

    /// Gives the place up, wherever it is. Doing it twice does nothing.
    pub fn leave(&mut self, seq: Seq, left: Left, now: Instant) {
        if self.waiting.remove(&seq).is_some() {
            return;
        }
        let Some(flight) = self.land(seq, now, left == Left::Lost) else { return };
        let bucket = self.buckets.entry(flight.bucket).or_default();
        match left {
            Left::NotSent => bucket.give_back(),
            Left::Lost => bucket.lost(now),
        }
    }

    /// It left, came to nothing known, and will be tried again: it waits in its old place, with nobody of its order able to slip past.
    pub fn again(&mut self, seq: Seq, not_before: Instant, now: Instant) -> Option<Turn> {
        let flight = self.land(seq, now, true)?;
        self.buckets.entry(flight.bucket).or_default().lost(now);
        Some(self.wait(seq, flight.ticket, Some(not_before)))
    }

    /// Its answer came, and nothing more is to be done.
    pub fn answered(&mut self, seq: Seq, status: u16, told: &Limits, now: Instant) {
        if let Some(flight) = self.land(seq, now, true) {
            if matches!(status, 401 | 403) {
                self.count_invalid(now);
            }
            match status {
                _ if flight.ticket.answers_interaction() => {}
                401 => self.token = Token::Refused(now + TOKEN_REST),
                200..300 => self.token = Token::Taken,
                _ => {}
            }
            self.hear(flight, told, now);
        }
    }

    /// Its answer was a 429, which means not done. Tells when it may be tried, without asking for it.
    pub fn limited(&mut self, seq: Seq, refused: Refused429, told: &Limits, now: Instant) -> (Instant, Option<Turn>) {
        let retry_at = now + refused.retry_after;
        let Some(flight) = self.land(seq, now, true) else { return (retry_at, None) };
        if refused.scope != Scope::Shared {
            self.count_invalid(now);
        }
        let Flight { ticket, bucket } = self.hear(flight, told, now);
        let bucket = self.buckets.entry(bucket).or_default();
        let retry_at = bucket.close(now, refused.retry_after, refused.scope == Scope::User);
        if refused.scope == Scope::Global {
            self.global.paused_until = self.global.paused_until.max(Some(retry_at));
        }
        (retry_at, Some(self.wait(seq, ticket, None)))
    }

    /// Its answer was a 401 that is not believed yet: it waits in its old place for a second try.
    pub fn unbelieved(&mut self, seq: Seq, told: &Limits, now: Instant) -> Option<Turn> {
        let flight = self.land(seq, now, true)?;
        self.count_invalid(now);
        let Flight { ticket, .. } = self.hear(flight, told, now);
        Some(self.wait(seq, ticket, Some(now + TOKEN_SECOND_TRY)))
    }

    /// How many wait.
    pub fn queue_len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing that needs the token is sent for now, because Discord refused it.
    pub fn token_rests(&self, now: Instant) -> bool {
        matches!(self.token, Token::Refused(until) if now < until)
    }

    /// Whether the token was taken when it was last tried.
    pub fn token_works(&self) -> bool {
        matches!(self.token, Token::Taken)
    }

    /// Invalid requests within Discord's ten minutes.
    pub fn invalid(&self, now: Instant) -> u32 {
        let recent = self.invalid.iter().filter(|(at, _)| now < *at + INVALID_WINDOW + INVALID_SLICE);
        recent.map(|(_, count)| *count).fold(0, u32::saturating_add)
    }

    /// What waits, and for how long.
    pub fn waiting(&self, now: Instant) -> Waiting {
        let mut classes: BTreeMap<Urgency, ClassWaiting> = BTreeMap::new();
        for waiter in self.waiting.values() {
            let urgency = waiter.ticket.urgency;
            let class = classes.entry(urgency).or_insert(ClassWaiting { urgency, count: 0, oldest_ms: 0 });
            class.count += 1;
            class.oldest_ms = class.oldest_ms.max(super::millis(now.saturating_duration_since(waiter.ticket.since)));
        }
        let paused = self.global.paused_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        Waiting {
            count: self.waiting.len(),
            oldest_ms: classes.values().map(|class| class.oldest_ms).max().unwrap_or(0),
            on_the_wire: self.flying.len(),
            paused_ms: super::millis(paused),
            braked: self.invalid(now) >= self.limits.invalid_max,
            token_refused: matches!(self.token, Token::Refused(_)),
            classes: classes.into_values().rev().collect(),
        }
    }

    fn land(&mut self, seq: Seq, now: Instant, sent: bool) -> Option<Flight> {
        let flight = self.flying.remove(&seq)?;
        if !flight.ticket.answers_interaction() {
            self.global.flying = self.global.flying.saturating_sub(1);
            if sent {
                self.global.cooling.push_back(now + GLOBAL_WINDOW);
            }
        }
        Some(flight)
    }

    /// Hears an answer's headers, and gives the flight back under the bucket that they name.
    fn hear(&mut self, flight: Flight, told: &Limits, now: Instant) -> Flight {
        let Flight { ticket, bucket: flown } = flight;
        let Some(hash) = &told.bucket else {
            self.buckets.entry(flown.clone()).or_default().hear(now, told);
            return Flight { ticket, bucket: flown };
        };
        if self.hashes.get(&ticket.key) != Some(hash) {
            self.join(&ticket.key, hash);
        }
        let named = BucketKey::Hash(hash.clone(), ticket.major);
        // Still unequal after joining: the route's hash changed while this was on the wire. It is counted where it left.
        let flown = if self.buckets.contains_key(&flown) { flown } else { named.clone() };
        if flown != named {
            self.buckets.entry(flown).or_default().lost(now);
            self.buckets.entry(named.clone()).or_default().take();
        }
        self.buckets.entry(named.clone()).or_default().hear(now, told);
        Flight { ticket, bucket: named }
    }

    /// A hash became known for a route: what its channels had as buckets of their own belongs to the hash's from now on.
    fn join(&mut self, key: &RouteKey, hash: &str) {
        self.hashes.insert(key.clone(), hash.to_owned());
        let old: Vec<BucketKey> = self
            .buckets
            .keys()
            .filter(|old| matches!(old, BucketKey::Route(route, _) if route == key))
            .cloned()
            .collect();
        for old in old {
            let (BucketKey::Route(_, major) | BucketKey::Hash(_, major)) = old;
            let named = BucketKey::Hash(hash.to_owned(), major);
            if let Some(bucket) = self.buckets.remove(&old) {
                self.buckets.entry(named.clone()).or_default().absorb(bucket);
            }
            for flight in self.flying.values_mut().filter(|flight| flight.bucket == old) {
                flight.bucket = named.clone();
            }
        }
    }

    fn bucket_of(&self, ticket: &Ticket) -> BucketKey {
        match self.hashes.get(&ticket.key) {
            Some(hash) => BucketKey::Hash(hash.clone(), ticket.major),
            None => BucketKey::Route(ticket.key.clone(), ticket.major),
        }
    }

    fn count_invalid(&mut self, now: Instant) {
        match self.invalid.back_mut() {
            Some((at, count)) if now < *at + INVALID_SLICE => *count = count.saturating_add(1),
            _ => self.invalid.push_back((now, 1)),
        }
        while self.invalid.front().is_some_and(|(at, _)| now >= *at + INVALID_WINDOW + INVALID_SLICE) {
            self.invalid.pop_front();
        }
    }

    fn braked_until(&self, now: Instant, brake: u32) -> Option<Instant> {
        if self.invalid(now) < brake {
            return None;
        }
        self.invalid.iter().map(|(at, _)| *at + INVALID_WINDOW + INVALID_SLICE).find(|at| *at > now)
    }
}

impl Global {
    fn gate(&mut self, now: Instant, per_second: usize) -> Gate {
        match self.paused_until {
            Some(at) if now < at => return Gate::Until(at),
            _ => self.paused_until = None,
        }
        while self.cooling.front().is_some_and(|at| now >= *at) {
            self.cooling.pop_front();
        }
        if self.flying + self.cooling.len() < per_second {
            return Gate::Open;
        }
        self.cooling.front().map_or(Gate::Busy, |at| Gate::Until(*at))
    }
}

/// The earliest of the times to ask again.
#[derive(Debug, Default)]
struct Wake(Option<Instant>);

impl Wake {
    fn at(&mut self, at: Instant) {
        self.0 = Some(self.0.map_or(at, |known| known.min(at)));
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
