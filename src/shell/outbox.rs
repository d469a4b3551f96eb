//! The outbox: does what was decided, once, in order, and says what came of it.
//!
//! Owns the order of delivery (posts of one thread never overtake each other), repeats, and the way back from doubt: what may
//! have been done is looked for before it is done again. Decides nothing: every end goes back to the loop as an input.
//! What is only shown (cards, titles, pins) is kept to its newest form, one in flight an incident.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use super::driver::{Door, Inbound, look};
use super::pulse::Beat;
use crate::domain::effect::{Effect, EffectKind, Target, Urgency};
use crate::domain::ids::{EffectId, IncidentId, InputId, Place, Posted, Thing};
use crate::domain::input::{EffectEnd, EffectOutcome, Input, InputKind};
use crate::domain::message::{Message, Ping, Text};
use crate::domain::workspace::{Way, Workspace};
use crate::ports::{Chat, ChatError, PageCall, Pager, Watch, Where};

/// Effects in flight at once.
pub const IN_FLIGHT_MAX: usize = 64;
/// Attempts at a page by one way.
const PAGE_ATTEMPTS_MAX: u32 = 6;
/// How long a post is tried before it is given up, in wire time.
const POST_GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How far back a channel is read for a post that may have been made before a restart.
const LOOK_BACK: chrono::TimeDelta = chrono::TimeDelta::hours(24);

/// What the loop hands over.
#[expect(clippy::large_enum_variant, reason = "passes through a channel once; most of what passes is the large one")]
#[derive(Debug)]
pub enum Work {
    /// Do this.
    Effect {
        /// What.
        effect: Effect,
        /// Whether it may have been done before: a restart lies between.
        again: bool,
        /// Counts as under way until it has ended.
        beat: Beat,
    },
    /// Do not do this any more.
    Withdraw(EffectId),
    /// Make an incident look like this.
    Show(Box<Shown>, Beat),
    /// The chat is there again: what waits for it need not wait longer.
    Wake,
}

/// How an incident should look now.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Which.
    pub incident: IncidentId,
    /// Its card.
    pub card: Message,
    /// Its thread's title.
    pub title: String,
    /// Whether the card is pinned.
    pub pinned: bool,
    /// Where the card stands, once it does.
    pub at_card: Option<Posted>,
    /// Where the thread is, once it is.
    pub at_thread: Option<Place>,
    /// Posts that a later one may take the place of.
    pub standing: BTreeMap<EffectId, Posted>,
    /// Whether it goes to the test channel.
    pub observing: bool,
    /// Whether it is sent even if nothing changed since it was sent last.
    pub force: bool,
}

/// How fast failed attempts are repeated.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first wait.
    pub first_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first_ms: 500, max_ms: 15_000 }
    }
}

/// What the outbox works with.
pub struct Neighbours<Ch, Pg, W> {
    /// The chat.
    pub chat: Arc<Ch>,
    /// Other ways to wake people.
    pub pager: Arc<Pg>,
    /// Looking at services.
    pub watch: Arc<W>,
}

impl<Ch, Pg, W> Clone for Neighbours<Ch, Pg, W> {
    fn clone(&self) -> Self {
        Self { chat: Arc::clone(&self.chat), pager: Arc::clone(&self.pager), watch: Arc::clone(&self.watch) }
    }
}

/// What stands where, for one incident.
#[derive(Debug, Clone, Default)]
struct Standing {
    card: Option<Posted>,
    card_given_up: bool,
    thread: Option<Place>,
    posts: BTreeMap<EffectId, Posted>,
    wanted: Option<Shown>,
    sent: Option<(Message, String, bool)>,
    showing: bool,
    titled: Option<String>,
    titling: bool,
    again: bool,
}

/// One effect in a queue.
struct Job {
    effect: Effect,
    again: bool,
    beat: Beat,
}

/// The end of a job or of a showing.
enum Ended {
    Job { key: String, effect: Effect, end: Option<EffectEnd>, _beat: Beat },
    Shown { incident: IncidentId, sent: Option<(Message, String, bool)>, _beats: Vec<Beat> },
    Titled { incident: IncidentId, title: Option<String> },
}

/// The outbox.
pub struct Outbox<Ch, Pg, W> {
    neighbours: Neighbours<Ch, Pg, W>,
    workspace: Workspace,
    door: Door,
    work: mpsc::UnboundedReceiver<Work>,
    ended_in: mpsc::UnboundedSender<Ended>,
    ended: mpsc::UnboundedReceiver<Ended>,
    queues: BTreeMap<String, VecDeque<Job>>,
    running: BTreeSet<String>,
    standing: BTreeMap<IncidentId, Standing>,
    show_beats: BTreeMap<IncidentId, Vec<Beat>>,
    withdrawn: Arc<Mutex<BTreeSet<EffectId>>>,
    wake: Arc<Notify>,
    pace: Pace,
    mark_prefix: String,
}

impl<Ch: Chat, Pg: Pager, W: Watch> Outbox<Ch, Pg, W> {
    /// An outbox. `log_id` tells the marks of one record from those of another.
    pub fn new(
        neighbours: Neighbours<Ch, Pg, W>,
        workspace: Workspace,
        door: Door,
        work: mpsc::UnboundedReceiver<Work>,
        log_id: &str,
        pace: Pace,
    ) -> Self {
        let (ended_in, ended) = mpsc::unbounded_channel();
        Self {
            neighbours,
            workspace,
            door,
            work,
            ended_in,
            ended,
            queues: BTreeMap::new(),
            running: BTreeSet::new(),
            standing: BTreeMap::new(),
            show_beats: BTreeMap::new(),
            withdrawn: Arc::default(),
            wake: Arc::default(),
            pace,
            mark_prefix: log_id.chars().filter(char::is_ascii_alphanumeric).take(6).collect(),
        }
    }

    /// Runs until the loop is gone.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                work = self.work.recv() => match work {
                    Some(work) => self.take(work),
                    None => return,
                },
                Some(ended) = self.ended.recv() => self.take_end(ended),
            }
            self.start_what_can();
        }
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Effect { effect, again, beat } => {
                let key = key(&effect);
                self.queues.entry(key).or_default().push_back(Job { effect, again, beat });
            }
            Work::Withdraw(id) => {
                self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                for queue in self.queues.values_mut() {
                    queue.retain(|job| job.effect.id != id);
                }
                self.wake.notify_waiters();
            }
            Work::Show(shown, beat) => {
                let standing = self.standing.entry(shown.incident).or_default();
                // The loop knows what was recorded; what was made since is known here first.
                if shown.at_card.is_some() {
                    standing.card.clone_from(&shown.at_card);
                }
                if shown.at_thread.is_some() {
                    standing.thread.clone_from(&shown.at_thread);
                }
                for (id, posted) in &shown.standing {
                    standing.posts.entry(*id).or_insert_with(|| posted.clone());
                }
                if shown.force {
                    standing.sent = None;
                }
                self.show_beats.entry(shown.incident).or_default().push(beat);
                standing.wanted = Some(*shown);
                standing.again = true;
            }
            Work::Wake => self.wake.notify_waiters(),
        }
    }

    fn take_end(&mut self, ended: Ended) {
        match ended {
            Ended::Job { key, effect, end, .. } => {
                self.running.remove(&key);
                self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).remove(&effect.id);
                let Some(end) = end else { return };
                self.remember(&effect, &end);
                let id = InputId::new(format!("effect:{}", effect.id));
                let kind = InputKind::Effect(EffectOutcome { effect: effect.id, end });
                let beat = Some(self.door.pulse().beat());
                self.door.result(Inbound { input: Input { id, kind }, reply: None, answers: None, beat });
            }
            Ended::Titled { incident, title } => {
                if let Some(standing) = self.standing.get_mut(&incident) {
                    standing.titling = false;
                    if title.is_some() {
                        standing.titled = title;
                        self.start_titling(incident);
                    }
                }
            }
            Ended::Shown { incident, sent, .. } => {
                if let Some(standing) = self.standing.get_mut(&incident) {
                    standing.showing = false;
                    if sent.is_some() {
                        standing.sent = sent;
                    }
                }
            }
        }
    }

    /// What was made is known here before the record has it back.
    fn remember(&mut self, effect: &Effect, end: &EffectEnd) {
        match (&effect.kind, end) {
            (EffectKind::Card { incident, .. }, EffectEnd::Done { posted: Some(posted) }) => {
                self.standing.entry(*incident).or_default().card = Some(posted.clone());
            }
            (EffectKind::Card { incident, .. }, EffectEnd::GivenUp { .. }) => {
                self.standing.entry(*incident).or_default().card_given_up = true;
            }
            (EffectKind::Thread { incident }, EffectEnd::Done { posted: Some(posted) }) => {
                self.standing.entry(*incident).or_default().thread = Some(posted.place.clone());
            }
            (EffectKind::Post { replaces, .. }, EffectEnd::Done { posted: Some(posted) }) => {
                if let Thing::Incident(id) = effect.on {
                    let standing = self.standing.entry(id).or_default();
                    standing.posts.insert(effect.id, posted.clone());
                    if let Some(old) = replaces.and_then(|old| standing.posts.remove(&old)) {
                        let chat = Arc::clone(&self.neighbours.chat);
                        let beat = self.door.pulse().beat();
                        let pace = self.pace;
                        tokio::spawn(async move {
                            delete(&*chat, &old, pace).await;
                            drop(beat);
                        });
                    }
                }
            }
            _ => {}
        }
    }

    fn start_what_can(&mut self) {
        while self.running.len() < IN_FLIGHT_MAX {
            let next = self
                .queues
                .iter()
                .filter(|(key, queue)| !queue.is_empty() && !self.running.contains(*key))
                .min_by_key(|(_, queue)| queue.front().map(|job| (job.effect.urgency, job.effect.id)))
                .map(|(key, _)| key.clone());
            let Some(key) = next else { break };
            let Some(queue) = self.queues.get_mut(&key) else { break };
            let Some(job) = queue.pop_front() else { break };
            if queue.is_empty() {
                self.queues.remove(&key);
            }
            self.start(key, job);
        }
        let ready: Vec<IncidentId> = self
            .standing
            .iter()
            .filter(|(_, standing)| standing.again && !standing.showing)
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.start_showing(id);
        }
    }

    fn start(&mut self, key: String, job: Job) {
        self.running.insert(key.clone());
        let Job { effect, again, beat } = job;
        if let EffectKind::Thread { incident } = &effect.kind
            && let Some(standing) = self.standing.get_mut(incident)
        {
            // A thread starts with the title that is wanted now.
            standing.titled = standing.wanted.as_ref().map(|shown| shown.title.clone());
        }
        let task = self.task(&effect, again);
        let ended = self.ended_in.clone();
        tokio::spawn(async move {
            let end = task.await;
            let _ = ended.send(Ended::Job { key, effect, end, _beat: beat });
        });
    }

    /// What there is to do for an effect, with everything it needs looked up now.
    fn task(&self, effect: &Effect, again: bool) -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
        let delivery = Delivery {
            chat: Arc::clone(&self.neighbours.chat),
            mark: format!("{}-{}", self.mark_prefix, effect.id),
            urgency: effect.urgency,
            again,
            attempts: Attempts {
                pace: self.pace,
                wake: Arc::clone(&self.wake),
                withdrawn: Arc::clone(&self.withdrawn),
                id: effect.id,
            },
        };
        match &effect.kind {
            EffectKind::Card { incident, pings } => {
                let wanted = self.standing.get(incident).and_then(|standing| standing.wanted.clone());
                let Some(shown) = wanted else {
                    return given_up(format!("nothing is known of {incident} any more"));
                };
                let to = Where::Named(self.card_channel(*incident));
                let mut message = shown.card;
                message.pings.clone_from(pings);
                Box::pin(delivery.post(to, message))
            }
            EffectKind::Thread { incident } => {
                let standing = self.standing.get(incident).cloned().unwrap_or_default();
                let title = standing.wanted.map_or_else(|| incident.to_string(), |shown| shown.title);
                match standing.card {
                    Some(card) => Box::pin(delivery.thread(card, title)),
                    None => given_up(format!("{incident} has no card to hang a thread on")),
                }
            }
            EffectKind::Post { to, message, .. } => match self.place_of(to) {
                Some(place) => Box::pin(delivery.post(place, message.clone())),
                None => given_up("there is no channel configured for it".to_owned()),
            },
            EffectKind::Page { person, way, text, .. } => {
                let ways = self.workspace.ways(person);
                let Some(way) = ways.get(usize::from(*way)).cloned() else {
                    return given_up("that way to reach them is not configured any more".to_owned());
                };
                if way == Way::Direct {
                    let message = Message::line(Text::plain(text.clone())).ping(Ping::Person(person.clone()));
                    return Box::pin(delivery.post(Where::Direct(person.clone()), message));
                }
                let call = PageCall {
                    mark: delivery.mark.clone(),
                    person: person.clone(),
                    way,
                    title: text.chars().take(100).collect(),
                    body: text.clone(),
                    link: None,
                };
                let pager = Arc::clone(&self.neighbours.pager);
                Box::pin(async move { page(&*pager, &call, &delivery.attempts).await })
            }
            EffectKind::Look { services, .. } => {
                let watch = Arc::clone(&self.neighbours.watch);
                // One service is asked for by name; several, or none, are a look at everything.
                let one = match services.as_slice() {
                    [one] => Some(one.clone()),
                    _ => None,
                };
                Box::pin(async move {
                    Some(match look(&*watch, one.as_ref()).await {
                        Some(report) => EffectEnd::Looked { report },
                        None => EffectEnd::GivenUp { why: "the services could not be looked at in time".to_owned() },
                    })
                })
            }
        }
    }

    /// The channel that an incident's card belongs to.
    fn card_channel(&self, id: IncidentId) -> String {
        let wanted = self.standing.get(&id).and_then(|standing| standing.wanted.as_ref());
        let channels = &self.workspace.channels;
        if wanted.is_some_and(|shown| shown.observing) { channels.test.clone() } else { channels.incidents.clone() }
    }

    fn place_of(&self, to: &Target) -> Option<Where> {
        let channels = &self.workspace.channels;
        Some(match to {
            Target::Incidents => Where::Named(channels.incidents.clone()),
            Target::Announce => Where::Named(channels.announce.clone()?),
            Target::Test => Where::Named(channels.test.clone()),
            Target::Direct(person) => Where::Direct(person.clone()),
            Target::Thread(id) => match self.standing.get(id).and_then(|standing| standing.thread.clone()) {
                Some(thread) => Where::Place(thread),
                // Better said in the channel than not at all.
                None => Where::Named(self.card_channel(*id)),
            },
        })
    }

    /// Sets a thread's title, apart from everything else: Discord allows two changes in ten minutes, and a card must not wait
    /// for that. The newest title wins; one that could not be set is tried with the next change.
    fn start_titling(&mut self, id: IncidentId) {
        let Some(standing) = self.standing.get_mut(&id).filter(|standing| !standing.titling) else { return };
        let (Some(shown), Some(thread)) = (&standing.wanted, standing.thread.clone()) else { return };
        let title = shown.title.clone();
        if standing.titled.as_ref() == Some(&title) {
            return;
        }
        standing.titling = true;
        let chat = Arc::clone(&self.neighbours.chat);
        let ended = self.ended_in.clone();
        let beat = self.door.pulse().beat();
        tokio::spawn(async move {
            let title = match chat.retitle(&thread, &title).await {
                Ok(()) => Some(title),
                Err(error) => {
                    info!(reason = %error, "A thread's title could not be set");
                    None
                }
            };
            let _ = ended.send(Ended::Titled { incident: id, title });
            drop(beat);
        });
    }

    fn start_showing(&mut self, id: IncidentId) {
        let Some(standing) = self.standing.get_mut(&id) else { return };
        standing.again = false;
        let beats = self.show_beats.remove(&id).unwrap_or_default();
        let (Some(shown), Some(card)) = (standing.wanted.clone(), standing.card.clone()) else { return };
        let wanted = (shown.card.clone(), shown.title.clone(), shown.pinned);
        if standing.sent.as_ref() == Some(&wanted) {
            return;
        }
        standing.showing = true;
        let before = standing.sent.clone();
        let chat = Arc::clone(&self.neighbours.chat);
        let (wake, pace, door) = (Arc::clone(&self.wake), self.pace, self.door.clone());
        let ended = self.ended_in.clone();
        self.start_titling(id);
        tokio::spawn(async move {
            let sent = show(&*chat, &card, &wanted, before.as_ref(), pace, &wake, &door).await;
            let _ = ended.send(Ended::Shown { incident: id, sent: sent.then_some(wanted), _beats: beats });
        });
    }
}

fn given_up(why: String) -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
    Box::pin(async move { Some(EffectEnd::GivenUp { why }) })
}

/// Effects with the same key are done one after another.
fn key(effect: &Effect) -> String {
    match &effect.kind {
        EffectKind::Card { incident, .. } | EffectKind::Thread { incident } => format!("thread:{}", incident.0),
        EffectKind::Post { to, .. } => match to {
            Target::Thread(id) => format!("thread:{}", id.0),
            // What is said about an incident comes after its card, in whatever channel that stands.
            Target::Incidents | Target::Test => match effect.on {
                Thing::Incident(id) => format!("thread:{}", id.0),
                Thing::Team => "team".to_owned(),
            },
            Target::Announce => "announce".to_owned(),
            Target::Direct(person) => format!("person:{person}"),
        },
        // Pages wait for nothing.
        EffectKind::Page { .. } | EffectKind::Look { .. } => format!("alone:{}", effect.id),
    }
}

/// The wall clock, for reading back channels: messages carry wire time.
fn wire_now() -> DateTime<Utc> {
    DateTime::<Utc>::from(std::time::SystemTime::now())
}

/// Repeats with growing waits, until it works, is withdrawn, or is too late.
#[derive(Clone)]
struct Attempts {
    pace: Pace,
    wake: Arc<Notify>,
    withdrawn: Arc<Mutex<BTreeSet<EffectId>>>,
    id: EffectId,
}

impl Attempts {
    fn is_withdrawn(&self) -> bool {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.id)
    }

    async fn pause(&self, attempt: u32) {
        pause(self.pace, attempt, &self.wake).await;
    }
}

async fn pause(pace: Pace, attempt: u32, wake: &Notify) {
    let longest = pace.first_ms.saturating_mul(1 << attempt.min(10)).min(pace.max_ms).max(1);
    // Full jitter with a floor, so that what failed together is not tried together.
    let wait_ms = longest / 2 + fastrand::u64(0..=longest / 2);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        () = wake.notified() => {}
    }
}

/// One thing on its way to the chat.
struct Delivery<Ch> {
    chat: Arc<Ch>,
    mark: String,
    urgency: Urgency,
    again: bool,
    attempts: Attempts,
}

impl<Ch: Chat> Delivery<Ch> {
    /// Posts once. `None` when it was withdrawn before it was made.
    async fn post(self, to: Where, message: Message) -> Option<EffectEnd> {
        let began = tokio::time::Instant::now();
        let since = wire_now() - if self.again { LOOK_BACK } else { chrono::TimeDelta::minutes(2) };
        let mut in_doubt = self.again;
        let mut attempt = 0;
        loop {
            if in_doubt {
                match self.chat.find(&to, &self.mark, since).await {
                    Ok(Some(posted)) => return Some(EffectEnd::Done { posted: Some(posted) }),
                    Ok(None) => in_doubt = false,
                    Err(ChatError::Refused(why) | ChatError::Gone(why)) => return Some(EffectEnd::GivenUp { why }),
                    Err(error) => info!(mark = %self.mark, reason = %error, "Could not read the channel back yet"),
                }
            }
            // Withdrawn counts only for what is not there: a post that was found has happened.
            if self.attempts.is_withdrawn() {
                return None;
            }
            if !in_doubt {
                match self.chat.post(&to, &message, &self.mark, self.urgency).await {
                    Ok(posted) => return Some(EffectEnd::Done { posted: Some(posted) }),
                    Err(ChatError::Refused(why) | ChatError::Gone(why)) => {
                        warn!(mark = %self.mark, reason = %why, "A post was refused and is given up");
                        return Some(EffectEnd::GivenUp { why });
                    }
                    Err(ChatError::InDoubt(why)) => {
                        info!(mark = %self.mark, reason = %why, "A post may or may not have been made; looking");
                        in_doubt = true;
                        if attempt == 0 {
                            attempt += 1;
                            continue;
                        }
                    }
                    Err(ChatError::NotNow(why)) => {
                        info!(mark = %self.mark, reason = %why, "A post has to wait");
                    }
                }
            }
            if began.elapsed() > POST_GIVE_UP_AFTER {
                return Some(EffectEnd::GivenUp { why: "the chat did not take it for a day".to_owned() });
            }
            self.attempts.pause(attempt).await;
            attempt += 1;
        }
    }

    /// Starts a thread under a card; one that is there already is the one.
    async fn thread(self, card: Posted, title: String) -> Option<EffectEnd> {
        let began = tokio::time::Instant::now();
        let mut attempt = 0;
        loop {
            match self.chat.start_thread(&card, &title).await {
                Ok(place) => {
                    let posted = Posted { place, message: card.message };
                    return Some(EffectEnd::Done { posted: Some(posted) });
                }
                Err(ChatError::Refused(why) | ChatError::Gone(why)) => return Some(EffectEnd::GivenUp { why }),
                Err(error) => info!(mark = %self.mark, reason = %error, "A thread has to wait"),
            }
            if began.elapsed() > POST_GIVE_UP_AFTER {
                return Some(EffectEnd::GivenUp { why: "the chat did not take it for a day".to_owned() });
            }
            self.attempts.pause(attempt).await;
            attempt += 1;
        }
    }
}

async fn page<P: Pager>(pager: &P, call: &PageCall, attempts: &Attempts) -> Option<EffectEnd> {
    let mut last = String::new();
    for attempt in 0..PAGE_ATTEMPTS_MAX {
        if attempts.is_withdrawn() {
            return None;
        }
        match pager.page(call).await {
            Ok(()) => return Some(EffectEnd::Done { posted: None }),
            Err(ChatError::Refused(why) | ChatError::Gone(why)) => return Some(EffectEnd::GivenUp { why }),
            // A page that may have gone out is sent again: woken twice is better than not at all.
            Err(ChatError::InDoubt(why) | ChatError::NotNow(why)) => last = why,
        }
        attempts.pause(attempt).await;
    }
    Some(EffectEnd::GivenUp { why: format!("{last} ({PAGE_ATTEMPTS_MAX} attempts)") })
}

/// Deletes a post that another has taken the place of. Not being able to leaves an old reminder standing, no more.
async fn delete<Ch: Chat>(chat: &Ch, posted: &Posted, pace: Pace) {
    const ATTEMPTS_MAX: u32 = 5;
    let never = Notify::new();
    for attempt in 0..ATTEMPTS_MAX {
        match chat.delete(posted).await {
            Ok(()) | Err(ChatError::Gone(_) | ChatError::Refused(_)) => return,
            Err(_) => pause(pace, attempt, &never).await,
        }
    }
}

/// Makes card and pin look as they should. Whether they do now.
async fn show<Ch: Chat>(
    chat: &Ch,
    card: &Posted,
    wanted: &(Message, String, bool),
    before: Option<&(Message, String, bool)>,
    pace: Pace,
    wake: &Notify,
    door: &Door,
) -> bool {
    const ATTEMPTS_MAX: u32 = 8;
    let (message, _, pinned) = wanted;
    for attempt in 0..ATTEMPTS_MAX {
        let mut again = false;
        if before.is_none_or(|before| before.0 != *message) {
            match chat.edit(card, message).await {
                Ok(()) => {}
                Err(ChatError::Gone(why)) => {
                    info!(reason = %why, "A card is gone");
                    let id = InputId::new(format!("gone:{}:{}", card.place, card.message));
                    let kind = InputKind::Gone(crate::domain::input::Gone::Message(card.clone()));
                    door.must(Input { id, kind });
                    return false;
                }
                Err(ChatError::Refused(why)) => {
                    warn!(reason = %why, "A card could not be edited");
                    return false;
                }
                Err(_) => again = true,
            }
        }
        if before.is_none_or(|before| before.2 != *pinned)
            && !again
            && let Err(error) = chat.pin(card, *pinned).await
        {
            info!(reason = %error, "A card could not be pinned or unpinned");
        }
        if !again {
            return true;
        }
        pause(pace, attempt, wake).await;
    }
    false
}
