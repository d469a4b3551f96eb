//! The outbox as `shell/outbox.rs` has it, one step at a time: queues that keep their order, repeats, and the look for a mark
//! before anything that may have been done is done again.
//!
//! A model: where the real one waits, this one says what it waits for. A rule changed there must be changed here. What the
//! model's chat never says (a place too full to be read back) is in tests/delivery.rs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::chat::{Reply, Request};
use super::host::Call;
use crate::domain::effect::{Effect, EffectKind, Target};
use crate::domain::ids::{AlertId, DeployId, EffectId, IncidentId, Place, Posted};
use crate::domain::input::{EffectEnd, Stepped};
use crate::domain::message::{Message, Ping, Text};
use crate::domain::order::{holds_what_follows, key};
use crate::domain::workspace::{Way, Workspace};
use crate::log::torn::Dice;

/// How long a page by one way is tried before it is given up.
const PAGE_GIVE_UP_AFTER: TimeDelta = TimeDelta::minutes(30);
/// How long a post is tried before it is given up.
const POST_GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);

/// What a job does next.
#[derive(Debug)]
pub enum Step {
    /// Puts a request on the wire.
    Send(EffectId, Request),
    /// Looks at the services.
    Look,
    /// Does a step at the host.
    Act(Call),
    /// Looks at what came of a deploy of this app.
    Survey(String),
    /// Waits.
    Pause(TimeDelta),
    /// Is over; with a result unless it was withdrawn.
    End(EffectId, Option<EffectEnd>),
}

/// How a job is done.
enum Manner {
    Post { place: String, message: Box<Message>, finding: bool },
    Thread { under: String },
    Page,
    Look,
    Act(Call),
    Survey(String),
    Impossible(String),
}

struct Job {
    effect: Effect,
    way: Manner,
    mark: String,
    again: bool,
    in_doubt: bool,
    attempt: u32,
    began: DateTime<Utc>,
    since: DateTime<Utc>,
}

/// What stands where.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The card.
    pub card: Option<Posted>,
    /// The thread.
    pub thread: Option<Place>,
    /// How the card looks now.
    pub wanted: Option<Message>,
    /// Whether the bot is only observing: then what finds no thread belongs into the test channel.
    pub observing: bool,
    /// Whether a card that goes up late may still ping: nobody is there yet.
    pub may_ring: bool,
}

/// The outbox.
pub struct Outbox {
    prefix: String,
    queues: BTreeMap<String, VecDeque<(Effect, bool)>>,
    running: BTreeMap<String, Job>,
    withdrawn: BTreeSet<EffectId>,
    /// Steps that have ended and are not on record yet: nothing follows under their keys.
    unrecorded: BTreeMap<EffectId, String>,
    /// Incidents as they should look and where they stand.
    pub standing: BTreeMap<IncidentId, Standing>,
    /// Deploys as they should look.
    pub boards: BTreeMap<DeployId, Message>,
    /// The cards of groups of alerts, and whether they may still ring.
    pub alerts: BTreeMap<AlertId, (Message, bool)>,
}

impl Outbox {
    /// An empty one; `prefix` tells the marks of one log from those of another.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            queues: BTreeMap::new(),
            running: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            unrecorded: BTreeMap::new(),
            standing: BTreeMap::new(),
            boards: BTreeMap::new(),
            alerts: BTreeMap::new(),
        }
    }

    /// The mark of an effect.
    pub fn mark(&self, id: EffectId) -> String {
        format!("{}-{id}", self.prefix)
    }

    /// Takes an effect in. `again`: a restart lies between, so it may have been done.
    pub fn take(&mut self, effect: Effect, again: bool) {
        self.queues.entry(key(&effect)).or_default().push_back((effect, again));
    }

    /// Does it no more.
    pub fn withdraw(&mut self, id: EffectId) {
        self.withdrawn.insert(id);
        for queue in self.queues.values_mut() {
            queue.retain(|(effect, _)| effect.id != id);
        }
    }

    /// Starts whatever can start.
    pub fn start(&mut self, now: DateTime<Utc>, workspace: &Workspace) -> Vec<(String, Step)> {
        let mut steps = Vec::new();
        let is_held = |key: &String| self.running.contains_key(key) || self.unrecorded.values().any(|held| held == key);
        let free: Vec<String> = self.queues.keys().filter(|key| !is_held(key)).cloned().collect();
        for key in free {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&key);
            }
            let Some((effect, again)) = next else { continue };
            let look_back = if again { TimeDelta::hours(24) } else { TimeDelta::minutes(2) };
            let way = self.way(&effect, workspace);
            let mark = self.mark(effect.id);
            let since = now - look_back;
            let job = Job { effect, way, mark, again, in_doubt: again, attempt: 0, began: now, since };
            self.running.insert(key.clone(), job);
            let step = self.step(&key);
            steps.push((key, step));
        }
        steps
    }

    fn way(&self, effect: &Effect, workspace: &Workspace) -> Manner {
        let post = |place: String, message: Message| Manner::Post { place, message: Box::new(message), finding: false };
        match &effect.kind {
            EffectKind::Card { incident, to, pings } => match self.standing.get(incident) {
                Some(Standing { wanted: Some(card), may_ring, .. }) => {
                    let mut message = card.clone();
                    if *may_ring {
                        message.pings.clone_from(pings);
                    }
                    post(self.place_of(to), message)
                }
                _ => Manner::Impossible(format!("nothing is known of {incident} any more")),
            },
            EffectKind::Thread { incident } => match self.standing.get(incident).and_then(|one| one.card.clone()) {
                Some(card) => Manner::Thread { under: card.message },
                None => Manner::Impossible(format!("{incident} has no card to hang a thread on")),
            },
            EffectKind::Post { to, message, .. } => post(self.place_of(to), message.clone()),
            EffectKind::Page { person, way, text, .. } => match workspace.ways(person).get(usize::from(*way)) {
                None => Manner::Impossible("that way to reach them is not configured any more".to_owned()),
                Some(Way::Direct) => {
                    let message = Message::line(Text::plain(text.clone())).ping(Ping::Person(person.clone()));
                    post(format!("dm-{}", person.local()), message)
                }
                Some(_) => Manner::Page,
            },
            EffectKind::Look { .. } => Manner::Look,
            EffectKind::Board { deploy, to } => match self.boards.get(deploy) {
                Some(card) => post(self.place_of(to), card.clone()),
                None => Manner::Impossible(format!("{deploy} is no longer at hand")),
            },
            EffectKind::AlertCard { alert, to, pings } => match self.alerts.get(alert) {
                Some((card, may_ring)) => {
                    let mut message = card.clone();
                    if *may_ring {
                        message.pings.clone_from(pings);
                    }
                    post(self.place_of(to), message)
                }
                None => Manner::Impossible(format!("{alert} is no longer at hand")),
            },
            EffectKind::Act { app, step, .. } => {
                Manner::Act(Call::new(effect.id, app, self.mark(effect.id), step.clone()))
            }
            EffectKind::Survey { app, .. } => Manner::Survey(app.clone()),
            EffectKind::Follow { .. } => Manner::Impossible("nobody reads logs here".to_owned()),
        }
    }

    fn place_of(&self, to: &Target) -> String {
        match to {
            Target::Incidents => "incidents".to_owned(),
            Target::Announce => "announce".to_owned(),
            Target::Test => "test".to_owned(),
            Target::Direct(person) => format!("dm-{}", person.local()),
            Target::Thread(id) => match self.standing.get(id).and_then(|one| one.thread.as_ref()) {
                Some(thread) => thread.local().to_owned(),
                None if self.standing.get(id).is_some_and(|one| one.observing) => "test".to_owned(),
                None => "incidents".to_owned(),
            },
        }
    }

    /// The next step of a job that has nothing on the wire.
    pub fn step(&mut self, key: &str) -> Step {
        let Some(job) = self.running.get_mut(key) else { return Step::Pause(TimeDelta::zero()) };
        let (id, mark) = (job.effect.id, job.mark.clone());
        let withdrawn = self.withdrawn.contains(&id);
        match &mut job.way {
            Manner::Impossible(why) => {
                let why = why.clone();
                self.end(key, Some(EffectEnd::GivenUp { why }))
            }
            Manner::Look => Step::Look,
            // Never repeated here: a step reads before it writes, and comes to an end by itself.
            Manner::Act(call) => Step::Act(call.clone()),
            Manner::Survey(app) => Step::Survey(app.clone()),
            Manner::Thread { under } => Step::Send(id, Request::Thread { under: under.clone() }),
            Manner::Page if withdrawn => self.end(key, None),
            Manner::Page => Step::Send(id, Request::Page { mark }),
            Manner::Post { place, finding, .. } if job.in_doubt => {
                *finding = true;
                let mut places = vec![place.clone()];
                let in_thread = matches!(&job.effect.kind, EffectKind::Post { to: Target::Thread(_), .. });
                if in_thread && job.again && ["test", "incidents"].contains(&place.as_str()) {
                    // Which channel stood in for the thread before a restart depends on what was so then.
                    places = vec!["test".to_owned(), "incidents".to_owned()];
                }
                Step::Send(id, Request::Find { places, mark, since: job.since })
            }
            Manner::Post { .. } if withdrawn => self.end(key, None),
            Manner::Post { place, message, finding } => {
                *finding = false;
                let text = serde_json::to_string(&**message).unwrap_or_default();
                Step::Send(id, Request::Post { place: place.clone(), mark, text })
            }
        }
    }

    /// What a job does with what it hears.
    pub fn heard(&mut self, key: &str, reply: Reply, now: DateTime<Utc>, dice: &mut Dice) -> Step {
        let Some(job) = self.running.get_mut(key) else { return Step::Pause(TimeDelta::zero()) };
        let id = job.effect.id;
        let finding = matches!(job.way, Manner::Post { finding: true, .. });
        let is_post = matches!(job.way, Manner::Post { .. });
        match reply {
            Reply::Made(posted) => self.end(key, Some(EffectEnd::Done { posted: Some(posted) })),
            Reply::Paged => self.end(key, Some(EffectEnd::Done { posted: None })),
            Reply::Refused => self.end(key, Some(EffectEnd::GivenUp { why: "it was refused".to_owned() })),
            Reply::Absent => {
                job.in_doubt = false;
                self.step(key)
            }
            // Withdrawn counts only for what is not there; what cannot be looked for is left.
            _ if finding && self.withdrawn.contains(&id) => self.end(key, None),
            Reply::InDoubt if is_post && !finding => {
                job.in_doubt = true;
                if job.attempt == 0 {
                    job.attempt = 1;
                    return self.step(key);
                }
                self.pause(key, now, dice)
            }
            Reply::InDoubt | Reply::NotNow => self.pause(key, now, dice),
        }
    }

    fn pause(&mut self, key: &str, now: DateTime<Utc>, dice: &mut Dice) -> Step {
        let Some(job) = self.running.get_mut(key) else { return Step::Pause(TimeDelta::zero()) };
        job.attempt += 1;
        let is_page = matches!(job.way, Manner::Page);
        if is_page && now - job.began >= PAGE_GIVE_UP_AFTER {
            return self.end(key, Some(EffectEnd::GivenUp { why: "it did not go out".to_owned() }));
        }
        if !is_page && now - job.began > POST_GIVE_UP_AFTER {
            let why = "the chat did not take it for a day".to_owned();
            return self.end(key, Some(EffectEnd::GivenUp { why }));
        }
        let longest_ms = (500_u64 << job.attempt.min(6)).min(15_000);
        Step::Pause(TimeDelta::milliseconds((longest_ms / 2 + dice.below(longest_ms / 2)) as i64))
    }

    /// A step came to its end.
    pub fn stepped(&mut self, key: &str, end: Stepped) -> Step {
        self.end(key, Some(EffectEnd::Stepped { end }))
    }

    /// What came of an effect is on record.
    pub fn recorded(&mut self, id: EffectId) {
        self.unrecorded.remove(&id);
    }

    /// A look came back.
    pub fn looked(&mut self, key: &str, end: EffectEnd) -> Step {
        self.end(key, Some(end))
    }

    fn end(&mut self, key: &str, end: Option<EffectEnd>) -> Step {
        let Some(job) = self.running.remove(key) else { return Step::Pause(TimeDelta::zero()) };
        let effect = job.effect;
        self.withdrawn.remove(&effect.id);
        if end.as_ref().is_some_and(|end| holds_what_follows(&effect, end)) {
            self.unrecorded.insert(effect.id, key.to_owned());
        }
        match (&effect.kind, &end) {
            (EffectKind::Card { incident, .. }, Some(EffectEnd::Done { posted: Some(posted) })) => {
                self.standing.entry(*incident).or_default().card = Some(posted.clone());
            }
            (EffectKind::Thread { incident }, Some(EffectEnd::Done { posted: Some(posted) })) => {
                self.standing.entry(*incident).or_default().thread = Some(posted.place.clone());
            }
            _ => {}
        }
        Step::End(effect.id, end)
    }
}
