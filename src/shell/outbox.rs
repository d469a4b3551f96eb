//! The outbox: does what was decided, once, in order, and says what came of it.
//!
//! Owns the order of delivery (posts of one thread never overtake each other), repeats, and the way back from doubt: what may
//! have been done is looked for before it is done again. Decides nothing: every end goes back to the loop as an input.
//! What is only shown (cards, titles, pins) is `showing`'s.

mod attempts;
mod following;
mod showing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

pub use attempts::Pace;
use attempts::{Attempts, Delivery, PAGE_GIVE_UP_AFTER, delete, page};
use following::Follow;
pub use showing::Shown;
use showing::{Sent, Showing, worst_first};

use super::acting::Acts;
use super::door::{Door, Drawn, Inbound};
use super::driver::look;
use super::logs::ReadsLogs;
use super::pulse::Beat;
use crate::domain::effect::{Effect, EffectKind, Target, Urgency};
use crate::domain::ids::{EffectId, InputId, Place, Posted, Thing};
use crate::domain::input::{EffectEnd, EffectOutcome, Input, InputKind};
use crate::domain::message::{Message, Ping, Text};
use crate::domain::order::{holds_what_follows, key};
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
    /// What came of this is on record.
    Recorded(EffectId),
    /// An incident or a deploy may look otherwise than it should.
    Show(Box<Shown>, Beat),
    /// The loop is letting go of what is over: how it looks in the end, because it cannot be asked for later.
    Forget(Thing, Option<Box<Drawn>>),
    /// The chat is there again: what waits for it need not wait longer.
    Wake,
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
    /// Reading logs.
    pub logs: Arc<dyn ReadsLogs>,
}

impl<Ch, Pg, W> Clone for Neighbours<Ch, Pg, W> {
    fn clone(&self) -> Self {
        Self {
            chat: Arc::clone(&self.chat),
            pager: Arc::clone(&self.pager),
            watch: Arc::clone(&self.watch),
            acts: Arc::clone(&self.acts),
            logs: Arc::clone(&self.logs),
        }
    }
}

/// What stands where, for one incident.
#[derive(Debug, Clone, Default)]
struct Standing {
    card: Option<Posted>,
    thread: Option<Place>,
    posts: BTreeMap<EffectId, Posted>,
    title: Option<String>,
    severity: Option<Severity>,
    observing: bool,
    sent: Option<Sent>,
    showing: bool,
    titled: Option<String>,
    titling: bool,
    again: bool,
    /// Whether it is only compared with what stands there, because nothing says that it has changed.
    only_compared: bool,
    /// Whether the loop has let go of it, and how it looked then.
    over: bool,
    last: Option<Box<Drawn>>,
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
    Shown { on: Thing, end: Showing, _beats: Vec<Beat> },
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
    queues: BTreeMap<String, VecDeque<Box<Job>>>,
    running: BTreeMap<String, Flight>,
    /// Steps at the host that have ended, and cards and threads that could not be made, until that is on record, with their keys.
    /// Nothing follows under the key meanwhile: a restart does them again, and over what came after them a step would be undone
    /// work and no repeat, and a thread another place than the one where the next words stand already.
    unrecorded: BTreeMap<EffectId, String>,
    standing: BTreeMap<Thing, Box<Standing>>,
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
            unrecorded: BTreeMap::new(),
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
                self.queues.entry(key).or_default().push_back(Box::new(Job { effect, again, beat }));
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
                // What has changed and waits does not become less urgent by being looked after as well.
                standing.only_compared = shown.force && (standing.only_compared || !standing.again);
                standing.title = Some(shown.title);
                standing.severity = Some(shown.severity);
                standing.observing = shown.observing;
                standing.again = true;
                (standing.over, standing.last) = (false, None);
            }
            Work::Forget(id, last) => {
                if let Some(standing) = self.standing.get_mut(&id) {
                    standing.over = true;
                    standing.last = last;
                }
            }
            Work::Recorded(id) => {
                self.unrecorded.remove(&id);
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
                if holds_what_follows(&effect, &end) {
                    self.unrecorded.insert(effect.id, key);
                }
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
            Ended::Shown { on, end, .. } => {
                if let Some(standing) = self.standing.get_mut(&on) {
                    standing.showing = false;
                    match end {
                        Showing::Looks(sent) => standing.sent = Some(sent),
                        Showing::Not => {}
                        // The loop let go of it between the question and the answer, and has left how it looked.
                        Showing::NotDrawn => standing.again |= standing.last.is_some(),
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
            EffectKind::Card { .. } | EffectKind::Board { .. } | EffectKind::AlertCard { .. } => {
                standing.card = Some(posted.clone())
            }
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
        let severity = self.standing.get(&effect.on).and_then(|standing| standing.severity);
        (effect.urgency, worst_first(severity))
    }

    /// The place whose line an effect will stand in; none when it stands in nobody's way.
    fn line_of(&self, effect: &Effect) -> Option<Where> {
        match &effect.kind {
            EffectKind::Card { to, .. }
            | EffectKind::Board { to, .. }
            | EffectKind::AlertCard { to, .. }
            | EffectKind::Post { to, .. } => self.place_of(to),
            EffectKind::Page { person, way, .. } => {
                let direct = self.workspace.ways(person).get(usize::from(*way)) == Some(&Way::Direct);
                direct.then(|| Where::Direct(person.clone()))
            }
            EffectKind::Thread { .. }
            | EffectKind::Look { .. }
            | EffectKind::Act { .. }
            | EffectKind::Survey { .. }
            | EffectKind::Follow { .. } => None,
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
                .filter(|(key, _)| !self.unrecorded.values().any(|held| held == *key))
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
            self.start(key, flight, *job);
        }
        self.show_what_can();
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
            standing.titled.clone_from(&standing.title);
        }
        let ended = self.ended_in.clone();
        if let EffectKind::Follow { to, about, by } = &effect.kind {
            let task = self.following(&effect, again, to.as_ref(), about, by).run(beat);
            let pulse = self.door.pulse().clone();
            tokio::spawn(async move {
                let end = task.await;
                let _ = ended.send(Ended::Job { key, effect, end, _beat: pulse.beat() });
            });
            return;
        }
        let task = self.task(&effect, again);
        tokio::spawn(async move {
            let end = task.await;
            let _ = ended.send(Ended::Job { key, effect, end, _beat: beat });
        });
    }

    /// Log lines into a thread.
    fn following(&self, effect: &Effect, again: bool, to: Option<&Place>, about: &str, by: &str) -> Follow<Ch> {
        Follow {
            chat: Arc::clone(&self.neighbours.chat),
            logs: Arc::clone(&self.neighbours.logs),
            workspace: self.workspace.clone(),
            pulse: self.door.pulse().clone(),
            to: to.map_or_else(
                || Where::Named(self.workspace.channels.test.clone()),
                |place| Where::Place(place.clone()),
            ),
            about: about.to_owned(),
            by: by.to_owned(),
            mark: format!("{}-{}", self.mark_prefix, effect.id),
            again,
            attempts: self.attempts(effect.id),
        }
    }

    fn attempts(&self, id: EffectId) -> Attempts {
        Attempts { pace: self.pace, wake: Arc::clone(&self.wake), withdrawn: Arc::clone(&self.withdrawn), id }
    }

    /// What there is to do for an effect, with everything it needs looked up now.
    fn task(&self, effect: &Effect, again: bool) -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
        let mut delivery = Delivery {
            chat: Arc::clone(&self.neighbours.chat),
            elsewhere: Vec::new(),
            mark: format!("{}-{}", self.mark_prefix, effect.id),
            urgency: effect.urgency,
            must_stand: matches!(
                effect.kind,
                EffectKind::Card { .. } | EffectKind::AlertCard { .. } | EffectKind::Page { .. }
            ),
            again,
            attempts: self.attempts(effect.id),
        };
        match &effect.kind {
            EffectKind::Card { incident, to, pings } => {
                let Some(to) = self.place_of(to) else { return nowhere() };
                let (drawing, incident, pings) = (self.drawing(effect.on), *incident, pings.clone());
                Box::pin(async move {
                    let Some(drawn) = drawing.await else {
                        return Some(EffectEnd::GivenUp { why: format!("nothing is known of {incident} any more") });
                    };
                    let mut message = drawn.card;
                    if drawn.may_ring {
                        message.pings = pings;
                    }
                    delivery.post(to, message).await
                })
            }
            EffectKind::AlertCard { alert, to, pings } => {
                let Some(to) = self.place_of(to) else { return nowhere() };
                let (drawing, alert, pings) = (self.drawing(effect.on), *alert, pings.clone());
                Box::pin(async move {
                    let Some(drawn) = drawing.await else {
                        return Some(EffectEnd::GivenUp { why: format!("{alert} is no longer at hand") });
                    };
                    let mut message = drawn.card;
                    if drawn.may_ring {
                        message.pings = pings;
                    }
                    delivery.post(to, message).await
                })
            }
            EffectKind::Board { deploy, to } => {
                let Some(to) = self.place_of(to) else { return nowhere() };
                let (drawing, deploy) = (self.drawing(effect.on), *deploy);
                Box::pin(async move {
                    match drawing.await {
                        Some(drawn) => delivery.post(to, drawn.card).await,
                        None => Some(EffectEnd::GivenUp { why: format!("{deploy} is no longer at hand") }),
                    }
                })
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
            EffectKind::Follow { .. } => given_up("it is followed, not done".to_owned()),
            EffectKind::Thread { incident } => {
                let standing = self.standing.get(&effect.on);
                let title = standing.and_then(|one| one.title.clone()).unwrap_or_else(|| incident.to_string());
                match standing.and_then(|one| one.card.clone()) {
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
                let observing = standing.is_some_and(|one| one.observing);
                match standing.and_then(|one| one.thread.clone()) {
                    Some(thread) => Where::Place(thread),
                    // Better said in the channel than not at all.
                    None if observing => Where::Named(channels.test.clone()),
                    None => Where::Named(channels.incidents.clone()),
                }
            }
        })
    }
}

fn nowhere() -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
    given_up("there is no channel configured for it".to_owned())
}

fn given_up(why: String) -> std::pin::Pin<Box<dyn Future<Output = Option<EffectEnd>> + Send>> {
    Box::pin(async move { Some(EffectEnd::GivenUp { why }) })
}
