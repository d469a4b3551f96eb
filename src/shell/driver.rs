//! The one loop: inputs in, decisions on record, answers and effects out.
//!
//! Owns State, the journal and the views, alone. Nothing leaves before the journal has it: answers, effects and what is shown
//! are held back until the batch is synced. Sleeps until the next promise falls due; there are no timers to lose.
//! Never talks to the outside itself: questions are asked by tasks that come back as inputs, effects are the outbox's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::outbox::{Shown, Work};
use super::pulse::{Beat, Pulse};
use super::record;
use super::undo::Undo;
use crate::adapters::clock::{Timepiece, sleep_until};
use crate::commands::{self, Lists};
use crate::domain::answer::Answer;
use crate::domain::draft::Ctx;
use crate::domain::health::HealthReport;
use crate::domain::ids::{IncidentId, InputId, Service, Thing};
use crate::domain::incident::Incident;
use crate::domain::input::{Answers, Input, InputKind, Itself, Query, Started};
use crate::domain::policy::Policy;
use crate::domain::refusal::Refusal;
use crate::domain::state::{Decided, State};
use crate::domain::workspace::Workspace;
use crate::domain::{bot, jobs, services, text, view};
use crate::ports::Watch;
use crate::ports::journal::{AppendError, Journal, Line, Views};

/// Inputs taken into one batch.
pub const BATCH_MAX: usize = 256;
/// Inputs that may wait at the door. Beyond it the sender is told to come back.
pub const WAITING_MAX: usize = 1_024;
/// How long the outside may take to answer a decision's questions.
pub const QUERY_TIMEOUT_MS: u64 = 8_000;
/// First answers kept for repeats of the same input.
const ANSWERS_KEPT: usize = 512;
/// Closed incidents kept in memory after they were read back.
const CLOSED_KEPT: usize = 64;

/// How long something that is due and brings nothing about is left alone.
const IDLE_TICK_WAIT: chrono::TimeDelta = chrono::TimeDelta::seconds(5);

/// The note that says when the bot was last there.
const ALIVE_NOTE: &str = "alive";
/// The note that holds the looks at services, so that green minutes before a restart still count.
const WATCHED_NOTE: &str = "watched";
/// How often it is written while an incident is open.
const ALIVE_EVERY: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

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
    /// A policy that holds from now on, and its hash.
    Adopt(Box<Policy>, String),
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
    /// The most overdue thing: its instant. Nothing is overdue when none.
    pub overdue_since: Option<DateTime<Utc>>,
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
    inputs: mpsc::Receiver<Inbound>,
    results: mpsc::UnboundedReceiver<Inbound>,
    asks: mpsc::Receiver<Ask>,
}

/// A door and its other side.
pub fn door() -> (Door, Threshold) {
    let (inputs, inputs_out) = mpsc::channel(WAITING_MAX);
    let (results, results_out) = mpsc::unbounded_channel();
    let (asks, asks_out) = mpsc::channel(WAITING_MAX);
    let door = Door { inputs, results, asks, pulse: Pulse::default() };
    (door, Threshold { inputs: inputs_out, results: results_out, asks: asks_out })
}

/// Says how the bot itself is, for `/watchbell status`.
pub type AboutItself = Arc<dyn Fn() -> Itself + Send + Sync>;

/// What a driver is made of.
pub struct Parts<J, V, C, W> {
    /// The journal.
    pub journal: J,
    /// The views.
    pub views: V,
    /// Promise time.
    pub clock: C,
    /// Looking at services.
    pub watch: Arc<W>,
    /// The policy.
    pub policy: Policy,
    /// The team.
    pub workspace: Workspace,
    /// Hash of both texts.
    pub hash: String,
    /// How the bot is.
    pub itself: AboutItself,
    /// Where effects and views go.
    pub outbox: mpsc::UnboundedSender<Work>,
    /// What completes what people type, for everybody who must not wait for the loop.
    pub lists: Arc<RwLock<Lists>>,
}

/// The loop.
pub struct Driver<J, V, C, W> {
    parts: Parts<J, V, C, W>,
    state: State,
    door: Door,
    threshold: Threshold,
    answered: BTreeMap<InputId, Answer>,
    answered_order: VecDeque<InputId>,
    asking: BTreeSet<String>,
    trouble: Option<String>,
    ticks: u64,
    noted_alive: Option<DateTime<Utc>>,
    /// What this process caught up on when it started, in a sentence.
    caught_up: Option<String>,
    idle_tick: bool,
}

/// Why the loop ended.
#[derive(Debug)]
pub enum End {
    /// It was asked to.
    Asked,
    /// The record could not be written: nothing was answered, the next start finds out what stands.
    Record(String),
}

impl<J, V, C, W> Driver<J, V, C, W>
where
    J: Journal,
    V: Views,
    C: Timepiece,
    W: Watch,
{
    /// A loop over a state that was folded from the record.
    pub fn new(parts: Parts<J, V, C, W>, state: State, door: Door, threshold: Threshold) -> Self {
        Self {
            parts,
            state,
            door,
            threshold,
            answered: BTreeMap::new(),
            answered_order: VecDeque::new(),
            asking: BTreeSet::new(),
            trouble: None,
            ticks: 0,
            noted_alive: None,
            caught_up: None,
            idle_tick: false,
        }
    }

    /// Runs until told to stop or the record cannot be written.
    pub async fn run(mut self, mut stop: tokio::sync::watch::Receiver<bool>) -> End {
        let last_seen = self.state.latest.max(self.last_alive());
        let watched = self.parts.views.get_note(WATCHED_NOTE).ok().flatten();
        let watched: Option<Vec<_>> = watched.and_then(|note| serde_json::from_slice(&note).ok());
        self.state.measured.watched = watched.into_iter().flatten().collect();
        if let Err(end) = self.begin(last_seen) {
            return end;
        }
        loop {
            let next = self.next_wake();
            let first = {
                let Threshold { inputs, results, asks } = &mut self.threshold;
                tokio::select! {
                    biased;
                    _ = stop.changed() => return End::Asked,
                    Some(ask) = asks.recv() => {
                        if let Err(end) = self.answer_ask(ask) {
                            return end;
                        }
                        continue;
                    }
                    Some(inbound) = results.recv() => Some(inbound),
                    Some(inbound) = inputs.recv() => Some(inbound),
                    () = sleep_until(&self.parts.clock, next) => None,
                }
            };
            let mut batch: VecDeque<Inbound> = first.into_iter().collect();
            while batch.len() < BATCH_MAX {
                match self.threshold.results.try_recv().or_else(|_| self.threshold.inputs.try_recv()) {
                    Ok(inbound) => batch.push_back(inbound),
                    Err(_) => break,
                }
            }
            self.add_what_is_due(&mut batch);
            self.note_alive();
            if batch.is_empty() {
                self.idle_tick = false;
                self.settle_views();
                continue;
            }
            let ticked = batch.iter().any(|inbound| matches!(inbound.input.kind, InputKind::Tick));
            let before = self.state.seq;
            if let Err(end) = self.decide_batch(batch) {
                return end;
            }
            let idle = ticked && self.state.seq == before;
            if idle && !self.idle_tick {
                error!("Something is due and nothing comes of it; it is looked at again in a while");
            }
            self.idle_tick = idle;
        }
    }

    /// Now, as precise as the record: what is decided from memory and from the record must be the same.
    fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now().trunc_subsecs(3)
    }

    /// Nothing else is to do: the views are put on the disk, so that the next start has less to bring forward.
    fn settle_views(&mut self) {
        let views = &mut self.parts.views;
        if let Err(error) = tokio::task::block_in_place(|| views.settle()) {
            warn!(reason = %error, "The database could not be settled; I go on from the log");
        }
    }

    /// When the process before was last known to be there; may be missing.
    fn last_alive(&mut self) -> Option<DateTime<Utc>> {
        let note = self.parts.views.get_note(ALIVE_NOTE).ok().flatten()?;
        let at_ms = String::from_utf8(note).ok()?.parse().ok()?;
        DateTime::from_timestamp_millis(at_ms)
    }

    /// While an incident is open, notes every few seconds that the bot is there, so that the next start can say how long it
    /// was not. No fact: it may be lost.
    fn note_alive(&mut self) {
        let now = self.now();
        let is_old = self.noted_alive.is_none_or(|noted| now - noted >= ALIVE_EVERY);
        if is_old && self.state.open().next().is_some() {
            self.noted_alive = Some(now);
            let watched: Vec<_> = self.state.measured.watched.iter().collect();
            let watched = serde_json::to_vec(&watched).unwrap_or_default();
            let _ = self.parts.views.put_note(WATCHED_NOTE, &watched);
            let _ = self.parts.views.put_note(ALIVE_NOTE, now.timestamp_millis().to_string().as_bytes());
        }
    }

    /// The first decisions of a process: it came up, and under which policy.
    fn begin(&mut self, last_seen: Option<DateTime<Utc>>) -> Result<(), End> {
        self.show_everything();
        for effect in self.state.pending.values() {
            let work = Work::Effect { effect: effect.clone(), again: true, beat: self.door.pulse.beat() };
            let _ = self.parts.outbox.send(work);
        }
        self.caught_up = last_seen.map(|from| {
            let now = self.now();
            let due = self.state.due_incidents(now).count();
            let away = text::span(now - from);
            format!(
                "away for at most {away}; {due} incidents had something due, {} messages were on their way",
                self.state.pending.len()
            )
        });
        let epoch = self.parts.journal.epoch();
        let started = Started { version: env!("CARGO_PKG_VERSION").to_owned(), last_seen };
        let inputs = [
            (format!("policy:{epoch}"), InputKind::PolicyAdopted { hash: self.parts.hash.clone() }),
            (format!("start:{epoch}"), InputKind::Started(started)),
        ];
        let batch = inputs
            .into_iter()
            .map(|(id, kind)| Inbound {
                input: Input { id: InputId::new(id), kind },
                reply: None,
                answers: None,
                beat: None,
            })
            .collect();
        self.decide_batch(batch)
    }

    /// When to wake at the latest.
    fn next_wake(&self) -> DateTime<Utc> {
        let now = self.now();
        let quiet = self.state.open().next().is_none();
        let longest = now + if quiet { chrono::TimeDelta::seconds(60) } else { ALIVE_EVERY };
        let due = self.state.next_due().filter(|_| self.asking.is_empty() || self.state.next_due() > Some(now));
        // Something that is due and brings nothing about must not be looked at in a circle.
        let due = if self.idle_tick { due.map(|due| due.max(now + IDLE_TICK_WAIT)) } else { due };
        due.map_or(longest, |due| due.min(longest))
    }

    /// A tick when a promise is due, and one input for every job that is.
    fn add_what_is_due(&mut self, batch: &mut VecDeque<Inbound>) {
        let now = self.now();
        if !self.idle_tick && self.state.due_incidents(now).next().is_some() {
            self.ticks += 1;
            let id = InputId::new(format!("tick:{}:{}", self.parts.journal.epoch(), self.ticks));
            batch.push_back(Inbound {
                input: Input { id, kind: InputKind::Tick },
                reply: None,
                answers: None,
                beat: None,
            });
        }
        for name in jobs::due(&self.state, now) {
            if self.asking.insert(name.clone()) {
                let due = self.state.team.jobs.get(&name).and_then(|job| job.next).unwrap_or(now);
                let id = InputId::new(format!("job:{name}:{}", due.timestamp()));
                let kind = InputKind::Job { name };
                let beat = Some(self.door.pulse.beat());
                batch.push_back(Inbound { input: Input { id, kind }, reply: None, answers: None, beat });
            }
        }
    }

    /// Decides everything in the batch, writes it once, and only then lets go of what follows from it.
    fn decide_batch(&mut self, batch: VecDeque<Inbound>) -> Result<(), End> {
        let mut written: Vec<Decided> = Vec::new();
        let mut held: Vec<(Option<Reply>, InputId, Option<Answer>)> = Vec::new();
        let mut beats: Vec<Option<Beat>> = Vec::new();
        let mut reconcile = false;
        // A full disk must leave memory as the record is: what to go back to.
        let mut undo = Undo::of(&self.state);
        for mut inbound in batch {
            if let Some(questions) = self.questions(&inbound) {
                self.ask(inbound, questions);
                continue;
            }
            beats.push(inbound.beat.take());
            let id = inbound.input.id.clone();
            if let InputKind::Job { name } = &inbound.input.kind {
                self.asking.remove(name);
            }
            reconcile |= matches!(inbound.input.kind, InputKind::ChatReady);
            if self.state.has_seen(&id) || self.answered.contains_key(&id) {
                let first = self.answered.get(&id).cloned();
                held.push((inbound.reply, id, first.or(Some(Answer::Done))));
                continue;
            }
            let now = self.now();
            match self.decide_one(&inbound, now) {
                Ok(decision) => {
                    let answer = decision.answer.clone();
                    if !decision.facts.is_empty() || !decision.effects.is_empty() {
                        let decided = bot::line(&self.state, now, &id, decision);
                        undo.note(&self.state, &decided);
                        self.state.apply(&decided);
                        written.push(decided);
                    }
                    held.push((inbound.reply, id, answer));
                }
                Err(refusal) => held.push((inbound.reply, id, Some(commands::refused(&refusal)))),
            }
        }
        if !written.is_empty() {
            self.write(&written, undo)?;
        }
        self.let_go(&written, held);
        if reconcile {
            let _ = self.parts.outbox.send(Work::Wake);
            self.show_everything();
        }
        Ok(())
    }

    fn questions(&self, inbound: &Inbound) -> Option<Vec<Query>> {
        if inbound.answers.is_some() || self.state.has_seen(&inbound.input.id) {
            return None;
        }
        let ctx = self.ctx(&inbound.input.id, self.now());
        let questions =
            catch_unwind(AssertUnwindSafe(|| commands::needs(&ctx, &inbound.input.kind))).unwrap_or_default();
        (!questions.is_empty()).then_some(questions)
    }

    /// One decision; a panic in it is a refusal and a report, never an end.
    fn decide_one(&mut self, inbound: &Inbound, now: DateTime<Utc>) -> Result<crate::domain::draft::Decision, Refusal> {
        let changed = match &inbound.input.kind {
            InputKind::Measured(look) => {
                let health = &self.parts.policy.health;
                let state = &mut self.state;
                catch_unwind(AssertUnwindSafe(|| services::observe(state, look, health))).unwrap_or(None)
            }
            _ => None,
        };
        let none = Answers::default();
        let answers = inbound.answers.as_ref().unwrap_or(&none);
        let now = self.state.latest.map_or(now, |latest| latest.max(now));
        let ctx = self.ctx(&inbound.input.id, now);
        let decided =
            catch_unwind(AssertUnwindSafe(|| commands::decide(ctx, &inbound.input.kind, answers, changed.as_ref())));
        decided.unwrap_or_else(|_| {
            error!(input = %inbound.input.id, "A decision panicked; nothing was changed by it");
            Err(Refusal::Broken)
        })
    }

    fn ctx<'a>(&'a self, input: &'a InputId, now: DateTime<Utc>) -> Ctx<'a> {
        let Parts { policy, workspace, .. } = &self.parts;
        Ctx { state: &self.state, policy, workspace, now, input }
    }

    /// One write, one sync. On a full disk memory goes back to what the record holds and people are told.
    fn write(&mut self, written: &[Decided], undo: Undo) -> Result<(), End> {
        let team = &self.parts.workspace.team.name;
        let entries = written.iter().map(|decided| record::entry(decided, team)).collect();
        let epoch = self.parts.journal.epoch();
        let appended = tokio::task::block_in_place(|| self.parts.journal.append(epoch, entries));
        let committed = match appended {
            Ok(committed) => committed,
            Err(AppendError::DiskFull(why) | AppendError::Unfit(why)) => {
                error!(reason = %why, "Nothing of this batch could be recorded; it is refused");
                self.trouble = Some(why);
                undo.go_back(&mut self.state);
                return Ok(());
            }
            Err(error @ (AppendError::Fatal(_) | AppendError::Fenced(_))) => {
                return Err(End::Record(error.to_string()));
            }
        };
        self.trouble = None;
        self.state.seq = self.state.seq.max(committed.last_seq);
        self.bring_views_forward(&committed.lines);
        Ok(())
    }

    /// The views follow the journal; when they cannot, the bot goes on without them.
    fn bring_views_forward(&mut self, lines: &[Line]) {
        let mut touched: BTreeSet<Thing> = BTreeSet::new();
        for line in lines {
            let (decided, _) = record::decided(line);
            touched.extend(decided.facts.iter().map(|(on, _)| *on));
            touched.extend(decided.effects.iter().map(|effect| effect.on));
        }
        touched.extend(aged(touched.iter()));
        let open: Vec<(String, bool)> = touched
            .iter()
            .filter_map(|thing| match thing {
                Thing::Team => None,
                Thing::Incident(id) => Some((thing.to_string(), self.state.must_hold(*id))),
            })
            .collect();
        let docs = vec![(TEAM_DOC.to_owned(), team_doc(&self.state))];
        let head = self.parts.journal.head();
        let views = &mut self.parts.views;
        if let Err(error) = tokio::task::block_in_place(|| views.apply(lines, &head, &open, &docs)) {
            warn!(reason = %error, "The database did not take this in; I go on from the log");
        }
    }

    /// After the sync: answers, effects, and what is shown.
    fn let_go(&mut self, written: &[Decided], held: Vec<(Option<Reply>, InputId, Option<Answer>)>) {
        let failed = self.trouble.clone();
        for (reply, id, answer) in held {
            let answer = match (&failed, answer) {
                (Some(why), _) => Some(commands::refused(&Refusal::because(why.clone()))),
                (None, answer) => answer,
            };
            if failed.is_none()
                && let Some(answer) = &answer
            {
                self.keep_answer(id, answer.clone());
            }
            if let Some(reply) = reply {
                reply(answer.unwrap_or(Answer::Done));
            }
        }
        if failed.is_some() {
            return;
        }
        let mut touched: BTreeSet<IncidentId> = BTreeSet::new();
        for (on, _) in written.iter().flat_map(|decided| &decided.facts) {
            if let Thing::Incident(id) = on {
                touched.insert(*id);
            }
        }
        // First how things should look: a card that is put up for the first time is drawn from it.
        for id in &touched {
            self.show(*id, false);
        }
        for decided in written {
            for effect in decided.effects.iter().filter(|effect| self.state.pending.contains_key(&effect.id)) {
                let work = Work::Effect { effect: effect.clone(), again: false, beat: self.door.pulse.beat() };
                let _ = self.parts.outbox.send(work);
            }
            for (_, fact) in &decided.facts {
                if let crate::domain::fact::Fact::Withdrawn { effect, .. } = fact {
                    let _ = self.parts.outbox.send(Work::Withdraw(*effect));
                }
            }
        }
        if !written.is_empty() {
            self.publish_lists();
        }
        for id in touched {
            self.state.release(id);
            if let Some(aged) = State::aged_by(id) {
                self.state.release(aged);
            }
        }
    }

    fn publish_lists(&self) {
        let input = InputId::new("lists");
        let ctx = self.ctx(&input, self.now());
        let lists = catch_unwind(AssertUnwindSafe(|| commands::lists(&ctx))).unwrap_or_default();
        *self.parts.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    fn keep_answer(&mut self, id: InputId, answer: Answer) {
        if self.answered.insert(id.clone(), answer).is_none() {
            self.answered_order.push_back(id);
            if self.answered_order.len() > ANSWERS_KEPT
                && let Some(oldest) = self.answered_order.pop_front()
            {
                self.answered.remove(&oldest);
            }
        }
    }

    /// Hands over what an incident should look like now.
    fn show(&self, id: IncidentId, force: bool) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let input = InputId::new("show");
        let ctx = self.ctx(&input, self.now());
        let rendered = catch_unwind(AssertUnwindSafe(|| (view::card(&ctx, incident), view::thread_title(incident))));
        let Ok((card, title)) = rendered else {
            error!(incident = %id, "An incident could not be drawn");
            return;
        };
        let shown = Shown {
            incident: id,
            card,
            title,
            pinned: incident.status.is_open(),
            at_card: incident.card.clone(),
            at_thread: incident.thread.clone(),
            standing: incident.standing.clone(),
            observing: !self.state.team.live,
            force,
        };
        let _ = self.parts.outbox.send(Work::Show(Box::new(shown), self.door.pulse.beat()));
    }

    fn show_everything(&self) {
        for id in self.state.incidents.keys() {
            self.show(*id, true);
        }
    }

    /// Asks the outside in a task of its own; the input comes back with what was said.
    fn ask(&mut self, inbound: Inbound, questions: Vec<Query>) {
        let mut answers = Answers::default();
        let mut health: Option<Option<Service>> = None;
        for question in questions {
            match question {
                Query::Health(service) => health = Some(service),
                Query::ClosedIncident(id) => answers.recent = Some(self.read_back(id).into_iter().collect()),
                Query::RecentIncidents(most) => answers.recent = Some(self.recent(usize::from(most))),
                Query::Itself => {
                    let itself = (self.parts.itself)();
                    answers.itself = Some(Itself { caught_up: self.caught_up.clone(), ..itself });
                }
            }
        }
        let door = self.door.clone();
        let Inbound { input, reply, beat, .. } = inbound;
        let Some(service) = health else {
            door.result(Inbound { input, reply, answers: Some(answers), beat });
            return;
        };
        let watch = Arc::clone(&self.parts.watch);
        tokio::spawn(async move {
            answers.health = look(&*watch, service.as_ref()).await;
            door.result(Inbound { input, reply, answers: Some(answers), beat });
        });
    }

    fn read_back(&mut self, id: IncidentId) -> Option<Incident> {
        let thing = Thing::Incident(id).to_string();
        let lines = match self.parts.views.rows(&thing) {
            Ok(lines) if !lines.is_empty() => lines,
            // Without the database the log itself is read; slow, and right.
            _ => self.parts.journal.read_from(0).filter_map(Result::ok).collect(),
        };
        record::incident(id, &lines)
    }

    fn recent(&mut self, most: usize) -> Vec<Incident> {
        let named = self.parts.views.things("inc", None, most.min(CLOSED_KEPT)).unwrap_or_default();
        let ids: Vec<IncidentId> = named
            .iter()
            .filter_map(|(name, _)| match name.parse() {
                Ok(Thing::Incident(id)) => Some(id),
                _ => None,
            })
            .filter(|id| !self.state.incidents.contains_key(id))
            .collect();
        ids.into_iter().filter_map(|id| self.read_back(id)).collect()
    }

    fn answer_ask(&mut self, ask: Ask) -> Result<(), End> {
        match ask {
            Ask::Look(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Ask::Adopt(policy, hash) => {
                self.parts.policy = *policy;
                self.parts.hash.clone_from(&hash);
                let id = InputId::new(format!("policy:{}:{}", self.parts.journal.epoch(), self.state.seq + 1));
                let input = Input { id, kind: InputKind::PolicyAdopted { hash } };
                let inbound = Inbound { input, reply: None, answers: None, beat: Some(self.door.pulse.beat()) };
                return self.decide_batch(VecDeque::from([inbound]));
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let incidents = self.state.incidents.values();
        Snapshot {
            seq: self.state.seq,
            live: self.state.team.live,
            open: self.state.open().count(),
            pending: self.state.pending.len(),
            next_due: self.state.next_due(),
            overdue_since: self.state.next_due().filter(|due| *due < now),
            kept: incidents.clone().map(|incident| incident.tally.kept).sum(),
            late: incidents.map(|incident| incident.tally.late).sum(),
            reminders_late: self.state.incidents.values().map(|incident| incident.reminders_late()).sum(),
            starts: self.state.team.starts,
            trouble: self.trouble.clone(),
        }
    }
}

/// Incidents that may leave memory because newer ones are there.
pub fn aged<'a>(touched: impl Iterator<Item = &'a Thing>) -> Vec<Thing> {
    touched
        .filter_map(|thing| match thing {
            Thing::Incident(id) => State::aged_by(*id).map(Thing::Incident),
            Thing::Team => None,
        })
        .collect()
}

/// The name of the document that holds the team's part of the state.
pub const TEAM_DOC: &str = "team";

/// The team's part of the state, as the views keep it.
pub fn team_doc(state: &State) -> Vec<u8> {
    serde_json::to_vec(&state.team).unwrap_or_default()
}

/// Looks at services, bounded in time.
pub async fn look<W: Watch>(watch: &W, service: Option<&Service>) -> Option<HealthReport> {
    match tokio::time::timeout(Duration::from_millis(QUERY_TIMEOUT_MS), watch.look(service)).await {
        Ok(report) => Some(report),
        Err(_) => {
            info!("A look at the services took too long and was left");
            None
        }
    }
}
