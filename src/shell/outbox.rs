//! The outbox: does what was decided, once, in order, and says what came of it.
//!
//! Owns the order of delivery (posts of one thread never overtake each other), repeats, and the way back from doubt: what may
//! have been done is looked for before it is done again. Decides nothing: every end goes back to the loop as an input.
//! What is only shown (cards, titles, pins) is kept to its newest form, one in flight an incident.

mod attempts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tracing::info;

pub use attempts::Pace;
use attempts::{Attempts, Delivery, PAGE_GIVE_UP_AFTER, delete, page, show};

use super::acting::Acts;
use super::door::{Door, Inbound};
use super::driver::look;
use super::pulse::Beat;
use crate::domain::effect::{Effect, EffectKind, Target, Urgency};
use crate::domain::ids::{EffectId, InputId, Place, Posted, Thing};
use crate::domain::input::{EffectEnd, EffectOutcome, Input, InputKind};
use crate::domain::message::{Message, Ping, Text};
use crate::domain::policy::Severity;
use crate::domain::workspace::{Way, Workspace};
use crate::ports::hosting::StepCall;
use crate::ports::{Chat, PageCall, Pager, Watch, Where};

/// Effects of one rank and those above it in flight at once.
pub const IN_FLIGHT_MAX: usize = 64;
/// Of these, how many towards one place: what is handed over stands in a line that nobody may jump, so that line is kept
/// short and the choice of the next is made here, as late as can be.
const TO_ONE_PLACE_MAX: usize = 4;
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
    /// Make an incident or a deploy look like this.
    Show(Box<Shown>, Beat),
    /// The loop has let go of a closed incident: what is known of it here need not be kept.
    Forget(Thing),
    /// The chat is there again: what waits for it need not wait longer.
    Wake,
}

/// How an incident or a deploy should look now.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Which incident, or which deploy.
    pub on: Thing,
    /// Its card.
    pub card: Message,
    /// Its thread's title; empty for what has none.
    pub title: String,
    /// Whether the card is pinned.
    pub pinned: bool,
    /// Where the card stands, once it does.
    pub at_card: Option<Posted>,
    /// Where the thread is, once it is.
    pub at_thread: Option<Place>,
    /// Posts that a later one may take the place of.
    pub standing: BTreeMap<EffectId, Posted>,
    /// How bad it is: who comes first of those that are equally urgent.
    pub severity: Severity,
    /// Whether the bot is only observing: then what finds no thread belongs into the test channel.
    pub observing: bool,
    /// Whether a card that goes up late may still ping: nobody is there yet.
    pub may_ring: bool,
    /// Whether it is sent even if nothing changed since it was sent last.
    pub force: bool,
}

/// What the outbox works with.
pub struct Neighbours<Ch, Pg, W> {
    /// The chat.
    pub chat: Arc<Ch>,
    /// Other ways to wake people.
    pub pager: Arc<Pg>,
    /// Looking at services.
    pub watch: Arc<W>,
    /// Acting at the host.
    pub acts: Arc<dyn Acts>,
}

impl<Ch, Pg, W> Clone for Neighbours<Ch, Pg, W> {
    fn clone(&self) -> Self {
        Self {
            chat: Arc::clone(&self.chat),
            pager: Arc::clone(&self.pager),
            watch: Arc::clone(&self.watch),
            acts: Arc::clone(&self.acts),
        }
    }
}

/// What stands where, for one incident.
#[derive(Debug, Clone, Default)]
struct Standing {
    card: Option<Posted>,
    thread: Option<Place>,
    posts: BTreeMap<EffectId, Posted>,
    wanted: Option<Shown>,
    sent: Option<(Message, String, bool)>,
    showing: bool,
    titled: Option<String>,
    titling: bool,
    again: bool,
    /// Whether the loop has let go of it.
    over: bool,
}

/// Who goes first: the least. The urgent, and among these the worst incident; what belongs to none comes last.
type Rank = (Urgency, u8);

/// What is in flight under a key.
struct Flight {
    id: EffectId,
    rank: Rank,
    to: Option<Where>,
}

/// One effect in a queue.
struct Job {
    effect: Effect,
    again: bool,
    beat: Beat,
}

/// The end of a job or of a showing.
#[expect(clippy::large_enum_variant, reason = "passes through a channel once; most of what passes is the large one")]
enum Ended {
    Job { key: String, effect: Effect, end: Option<EffectEnd>, _beat: Beat },
    Shown { on: Thing, sent: Option<(Message, String, bool)>, _beats: Vec<Beat> },
    Titled { on: Thing, title: Option<String> },
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
    running: BTreeMap<String, Flight>,
    standing: BTreeMap<Thing, Standing>,
    show_beats: BTreeMap<Thing, Vec<Beat>>,
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
            running: BTreeMap::new(),
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
                for queue in self.queues.values_mut() {
                    queue.retain(|job| job.effect.id != id);
                }
                self.queues.retain(|_, queue| !queue.is_empty());
                // Only what is on its way has to hear of it; what has ended never asks, and would be remembered for ever.
                if self.running.values().any(|flight| flight.id == id) {
                    self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                    self.wake.notify_waiters();
                }
            }
            Work::Show(shown, beat) => {
                let standing = self.standing.entry(shown.on).or_default();
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
                self.show_beats.entry(shown.on).or_default().push(beat);
                standing.wanted = Some(*shown);
                standing.again = true;
                standing.over = false;
            }
            Work::Forget(id) => {
                if let Some(standing) = self.standing.get_mut(&id) {
                    standing.over = true;
                }
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
            Ended::Titled { on, title } => {
                if let Some(standing) = self.standing.get_mut(&on) {
                    standing.titling = false;
                    if title.is_some() {
                        standing.titled = title;
                        self.start_titling(on);
                    }
                }
            }
            Ended::Shown { on, sent, .. } => {
                if let Some(standing) = self.standing.get_mut(&on) {
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
        let EffectEnd::Done { posted: Some(posted) } = end else { return };
        // The loop says how an incident looks before it asks for anything about it: one that is not known here was let go of.
        let Some(standing) = self.standing.get_mut(&effect.on) else { return };
        match &effect.kind {
            EffectKind::Card { .. } | EffectKind::Board { .. } => standing.card = Some(posted.clone()),
            EffectKind::Thread { .. } => standing.thread = Some(posted.place.clone()),
            EffectKind::Post { replaces, .. } => {
                // As on the record: nothing takes the place of a post that pings nobody.
                if effect.urgency <= Urgency::Ping {
                    standing.posts.insert(effect.id, posted.clone());
                }
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
            _ => {}
        }
    }

    /// How this effect ranks now: an incident may have become worse since it was asked for.
    fn rank(&self, effect: &Effect) -> Rank {
        let severity = self.standing.get(&effect.on).and_then(|standing| standing.wanted.as_ref());
        let worst_first = |shown: &Shown| match shown.severity {
            Severity::Sev1 => 1,
            Severity::Sev2 => 2,
            Severity::Sev3 => 3,
        };
        (effect.urgency, severity.map_or(u8::MAX, worst_first))
    }

    /// The place whose line an effect will stand in; none when it stands in nobody's way.
    fn line_of(&self, effect: &Effect) -> Option<Where> {
        match &effect.kind {
            EffectKind::Card { to, .. } | EffectKind::Board { to, .. } | EffectKind::Post { to, .. } => {
                self.place_of(to)
            }
            EffectKind::Page { person, way, .. } => {
                let direct = self.workspace.ways(person).get(usize::from(*way)) == Some(&Way::Direct);
                direct.then(|| Where::Direct(person.clone()))
            }
            EffectKind::Thread { .. }
            | EffectKind::Look { .. }
            | EffectKind::Act { .. }
            | EffectKind::Survey { .. } => None,
        }
    }

    /// Whether there is room for it. Only what is as urgent counts: what can wait never keeps out what cannot.
    fn has_room(&self, rank: Rank, to: Option<&Where>) -> bool {
        let ahead = || self.running.values().filter(|flight| flight.rank <= rank);
        let in_line = || ahead().filter(|flight| flight.to.as_ref() == to).count();
        ahead().count() < IN_FLIGHT_MAX && (to.is_none() || in_line() < TO_ONE_PLACE_MAX)
    }

    fn start_what_can(&mut self) {
        loop {
            let mut ready: Vec<(Rank, EffectId, &String)> = self
                .queues
                .iter()
                .filter(|(key, _)| !self.running.contains_key(*key))
                .filter_map(|(key, queue)| queue.front().map(|job| (self.rank(&job.effect), job.effect.id, key)))
                .collect();
            ready.sort_unstable();
            let next = ready.into_iter().find_map(|(rank, id, key)| {
                let to = self.queues.get(key).and_then(|queue| self.line_of(&queue.front()?.effect));
                self.has_room(rank, to.as_ref()).then(|| (key.clone(), Flight { id, rank, to }))
            });
            let Some((key, flight)) = next else { break };
            let Some(queue) = self.queues.get_mut(&key) else { break };
            let Some(job) = queue.pop_front() else { break };
            if queue.is_empty() {
                self.queues.remove(&key);
            }
            self.start(key, flight, job);
        }
        let ready: Vec<Thing> = self
            .standing
            .iter()
            .filter(|(_, standing)| standing.again && !standing.showing)
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.start_showing(id);
        }
        // What is over and looks as it should: the loop asks anew should it ever be taken up again.
        self.standing.retain(|_, one| !one.over || one.again || one.showing || one.titling);
    }

    fn start(&mut self, key: String, flight: Flight, job: Job) {
        self.running.insert(key.clone(), flight);
        let Job { effect, again, beat } = job;
        if let EffectKind::Thread { incident } = &effect.kind
            && let Some(standing) = self.standing.get_mut(&Thing::Incident(*incident))
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
        let mut delivery = Delivery {
            chat: Arc::clone(&self.neighbours.chat),
            elsewhere: Vec::new(),
            mark: format!("{}-{}", self.mark_prefix, effect.id),
            urgency: effect.urgency,
            must_stand: matches!(effect.kind, EffectKind::Card { .. } | EffectKind::Page { .. }),
            again,
            attempts: Attempts {
                pace: self.pace,
                wake: Arc::clone(&self.wake),
                withdrawn: Arc::clone(&self.withdrawn),
                id: effect.id,
            },
        };
        match &effect.kind {
            EffectKind::Card { incident, to, pings } => {
                let wanted = self.standing.get(&effect.on).and_then(|standing| standing.wanted.clone());
                let Some(shown) = wanted else {
                    return given_up(format!("nothing is known of {incident} any more"));
                };
                let Some(to) = self.place_of(to) else { return nowhere() };
                let mut message = shown.card;
                if shown.may_ring {
                    message.pings.clone_from(pings);
                }
                Box::pin(delivery.post(to, message))
            }
            EffectKind::Board { deploy, to } => {
                let wanted = self.standing.get(&effect.on).and_then(|standing| standing.wanted.clone());
                let Some(shown) = wanted else { return given_up(format!("{deploy} is no longer at hand")) };
                match self.place_of(to) {
                    Some(to) => Box::pin(delivery.post(to, shown.card)),
                    None => nowhere(),
                }
            }
            EffectKind::Act { app, step, by, within_s, .. } => {
                let call = StepCall {
                    app: app.clone(),
                    step: step.clone(),
                    mark: delivery.mark,
                    by: by.clone(),
                    within: Duration::from_secs(u64::from(*within_s)),
                };
                let end = self.neighbours.acts.step(call);
                Box::pin(async move { Some(EffectEnd::Stepped { end: end.await }) })
            }
            EffectKind::Survey { app, service, .. } => {
                let watch = Arc::clone(&self.neighbours.watch);
                let (machines, service) = (self.neighbours.acts.inventory(app), service.clone());
                Box::pin(async move {
                    let (machines, report) = tokio::join!(machines, look(&*watch, Some(&service)));
                    Some(EffectEnd::Surveyed { machines, report })
                })
            }
            EffectKind::Thread { incident } => {
                let standing = self.standing.get(&effect.on).cloned().unwrap_or_default();
                let title = standing.wanted.map_or_else(|| incident.to_string(), |shown| shown.title);
                match standing.card {
                    Some(card) => Box::pin(delivery.thread(card, title)),
                    None => given_up(format!("{incident} has no card to hang a thread on")),
                }
            }
            EffectKind::Post { to, message, .. } => match self.place_of(to) {
                Some(place) => {
                    if matches!((to, &place), (Target::Thread(_), Where::Named(_))) {
                        // Which channel stood in for the thread before a restart depends on what was so then.
                        let channels = &self.workspace.channels;
                        delivery.elsewhere = [&channels.incidents, &channels.test]
                            .into_iter()
                            .map(|name| Where::Named(name.clone()))
                            .filter(|other| *other != place)
                            .collect();
                    }
                    Box::pin(delivery.post(place, message.clone()))
                }
                None => nowhere(),
            },
            EffectKind::Page { person, way, text, incident, .. } => {
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
                    incident: *incident,
                };
                let pager = Arc::clone(&self.neighbours.pager);
                Box::pin(async move { page(&*pager, &call, &delivery.attempts, PAGE_GIVE_UP_AFTER).await })
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

    fn place_of(&self, to: &Target) -> Option<Where> {
        let channels = &self.workspace.channels;
        Some(match to {
            Target::Incidents => Where::Named(channels.incidents.clone()),
            Target::Announce => Where::Named(channels.announce.clone()?),
            Target::Test => Where::Named(channels.test.clone()),
            Target::Direct(person) => Where::Direct(person.clone()),
            Target::Thread(id) => {
                let standing = self.standing.get(&Thing::Incident(*id));
                let observing = standing.and_then(|one| one.wanted.as_ref()).is_some_and(|shown| shown.observing);
                match standing.and_then(|standing| standing.thread.clone()) {
                    Some(thread) => Where::Place(thread),
                    // Better said in the channel than not at all.
                    None if observing => Where::Named(channels.test.clone()),
                    None => Where::Named(channels.incidents.clone()),
                }
            }
        })
    }

    /// Sets a thread's title, apart from everything else: Discord allows two changes in ten minutes, and a card must not wait
    /// for that. The newest title wins; one that could not be set is tried with the next change.
    fn start_titling(&mut self, id: Thing) {
        let Some(standing) = self.standing.get_mut(&id).filter(|standing| !standing.titling) else { return };
        let (Some(shown), Some(thread)) = (&standing.wanted, standing.thread.clone()) else { return };
        let title = shown.title.clone();
        if title.is_empty() || standing.titled.as_ref() == Some(&title) {
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
            let _ = ended.send(Ended::Titled { on: id, title });
            drop(beat);
        });
    }

    fn start_showing(&mut self, id: Thing) {
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
            let _ = ended.send(Ended::Shown { on: id, sent: sent.then_some(wanted), _beats: beats });
        });
    }
}

fn nowhere() -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
    given_up("there is no channel configured for it".to_owned())
}

fn given_up(why: String) -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
    Box::pin(async move { Some(EffectEnd::GivenUp { why }) })
}

/// Effects with the same key are done one after another.
fn key(effect: &Effect) -> String {
    match &effect.kind {
        EffectKind::Card { incident, .. } | EffectKind::Thread { incident } => format!("thread:{}", incident.0),
        EffectKind::Board { to, .. } | EffectKind::Post { to, .. } => match to {
            Target::Thread(id) => format!("thread:{}", id.0),
            // What is said about an incident comes after its card, in whatever channel that stands.
            Target::Incidents | Target::Test => match effect.on {
                Thing::Incident(id) => format!("thread:{}", id.0),
                Thing::Deploy(id) => format!("deploy:{}", id.0),
                Thing::Team => "team".to_owned(),
            },
            Target::Announce => "announce".to_owned(),
            Target::Direct(person) => format!("person:{person}"),
        },
        // Pages wait for nothing.
        EffectKind::Page { .. } | EffectKind::Look { .. } | EffectKind::Survey { .. } => format!("alone:{}", effect.id),
        // Nobody works on a machine that is in hand.
        EffectKind::Act { app, step, .. } => match step.machine() {
            Some(machine) => format!("machine:{app}:{machine}"),
            None => format!("releases:{app}"),
        },
    }
}
