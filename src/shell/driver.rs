//! The one loop: inputs in, decisions on record, answers and effects out.
//!
//! Owns State, the journal and the views, alone. Nothing leaves before the journal has it: answers, effects and what is shown
//! are held back until the batch is synced. Sleeps until the next promise falls due; there are no timers to lose.
//! Never talks to the outside itself: questions are asked by tasks that come back as inputs, effects are the outbox's.

mod asking;
mod recording;
mod showing;
mod watching;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, warn};

pub use asking::{QUERY_TIMEOUT_MS, look};
use showing::put_up_what_is_missing;
pub use watching::go_on_from;
use watching::{ALIVE_EVERY, Watching};

use super::acting::Acts;
pub use super::door::{Ask, Door, Inbound, Reply, Snapshot, Threshold, WAITING_MAX, door};
use super::logs::ReadsLogs;
use super::metrics::Sources;
use super::outbox::Work;
use super::pulse::Beat;
use super::undo::Undo;
use crate::adapters::clock::{Timepiece, sleep_until};
use crate::commands::{self, Lists};
use crate::domain::answer::Answer;
use crate::domain::deploy::board;
use crate::domain::draft::{Ctx, Decision};
use crate::domain::effect::{Effect, EffectKind, Urgency};
use crate::domain::health::Transition;
use crate::domain::ids::{AlertId, DeployId, EffectId, InputId, Thing};
use crate::domain::input::{Answers, Input, InputKind, Itself, Started};
use crate::domain::policy::Policy;
use crate::domain::refusal::Refusal;
use crate::domain::state::{DEPLOYS_HELD, Decided, State};
use crate::domain::workspace::Workspace;
use crate::domain::{alerts, bot, jobs, releases, rules, services, text};
use crate::ports::Watch;
use crate::ports::journal::{Journal, Views};

/// Inputs taken into one batch.
pub const BATCH_MAX: usize = 256;
/// First answers kept for repeats of the same input.
const ANSWERS_KEPT: usize = 512;
/// How long something that is due and brings nothing about is left alone.
const IDLE_TICK_WAIT: chrono::TimeDelta = chrono::TimeDelta::seconds(5);
/// The same in real time: whatever else happens meanwhile, and however the clock is moved.
const IDLE_FOR: Duration = Duration::from_secs(5);

/// Says how the bot itself is, for `/watchbell status`.
pub type AboutItself = Arc<dyn Fn(&Snapshot) -> Itself + Send + Sync>;

/// Decides about an input: facts and effects, or a refusal.
pub type Decide = for<'a> fn(Ctx<'a>, &InputKind, &Answers, Option<&Transition>) -> Result<Decision, Refusal>;

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
    /// Acting at the host.
    pub acts: Arc<dyn Acts>,
    /// Reading logs.
    pub logs: Arc<dyn ReadsLogs>,
    /// Where figures are asked for.
    pub sources: Sources,
    /// The policy.
    pub policy: Policy,
    /// The team.
    pub workspace: Workspace,
    /// Hash of both texts.
    pub hash: String,
    /// What is decided about an input: `commands::decide`, or what a test puts in its place.
    pub decide: Decide,
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
    /// Why nothing can be recorded, from the first refusal by the disk until something was recorded again.
    trouble: Option<String>,
    /// When a full disk is tried again.
    room_at: Option<Instant>,
    /// Times that room was found again.
    rooms: u64,
    /// What has happened and could not be recorded: at most one end for each pending effect, and what a start brings.
    owed: VecDeque<Inbound>,
    /// Since when pages and pings have been on their way.
    calling: BTreeMap<EffectId, Instant>,
    ticks: u64,
    /// What is looked at by the clock, and what was noted.
    watching: Watching,
    /// What this process caught up on when it started, in a sentence.
    caught_up: Option<String>,
    /// Until when what is due is left alone, because nothing came of it.
    idle_until: Option<Instant>,
}

/// An input that is decided, until its batch is on the disk.
struct Held {
    inbound: Inbound,
    answer: Option<Answer>,
    /// Whether something about it has to be recorded.
    records: bool,
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
            room_at: None,
            rooms: 0,
            owed: VecDeque::new(),
            calling: BTreeMap::new(),
            ticks: 0,
            watching: Watching::default(),
            caught_up: None,
            idle_until: None,
        }
    }

    /// Runs until told to stop or the record cannot be written.
    pub async fn run(mut self, mut stop: tokio::sync::watch::Receiver<bool>) -> End {
        let last_seen = self.state.latest.max(self.last_alive());
        self.state.measured = self.measured_before();
        if let Err(end) = self.begin(last_seen) {
            return end;
        }
        loop {
            if self.parts.views.hold_much() && self.owed.is_empty() && self.threshold.is_empty() {
                self.settle_views();
            }
            let next = self.next_wake();
            let (no_room, room_at) = (self.room_at.is_some(), self.room_at.unwrap_or_else(Instant::now));
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
                    () = tokio::time::sleep_until(room_at), if no_room => None,
                    () = sleep_until(&self.parts.clock, next) => None,
                }
            };
            if let Err(end) = self.look_for_room() {
                return end;
            }
            // What has happened already comes first: what is decided next must know of it.
            let owed = self.owed.len().min(BATCH_MAX / 2);
            let mut batch: VecDeque<Inbound> = self.owed.drain(..owed).chain(first).collect();
            while batch.len() < BATCH_MAX {
                match self.threshold.results.try_recv().or_else(|_| self.threshold.inputs.try_recv()) {
                    Ok(inbound) => batch.push_back(inbound),
                    Err(_) => break,
                }
            }
            self.add_what_is_due(&mut batch);
            self.note_alive();
            if batch.is_empty() {
                self.settle_views();
                continue;
            }
            let tried = batch.iter().any(|inbound| self.is_what_is_due(inbound));
            let before = self.state.seq;
            if let Err(end) = self.decide_batch(batch) {
                return end;
            }
            self.note_rules();
            let idle = tried && self.state.seq == before;
            if idle {
                error!("Something is due and nothing comes of it; it is looked at again in a while");
                self.idle_until = Some(Instant::now() + IDLE_FOR);
            }
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

    /// The first decisions of a process: it came up, and under which policy.
    fn begin(&mut self, last_seen: Option<DateTime<Utc>>) -> Result<(), End> {
        self.show_everything();
        for effect in self.state.pending.values() {
            if calls(effect) {
                self.calling.insert(effect.id, Instant::now());
            }
            let work = Work::Effect { effect: effect.clone(), again: true, beat: self.door.pulse().beat() };
            let _ = self.parts.outbox.send(work);
        }
        self.caught_up = last_seen.map(|from| {
            let now = self.now();
            caught_up(&text::span(now - from), self.state.due_incidents(now).count(), self.state.pending.len())
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
        let due = if self.is_idle() || !self.may_record() { due.map(|due| due.max(now + IDLE_TICK_WAIT)) } else { due };
        let rules = self.rules_due().filter(|_| self.may_record() && !self.is_idle());
        [due, rules].into_iter().flatten().fold(longest, DateTime::min)
    }

    /// A tick when a promise is due, and one input for every job that is.
    fn add_what_is_due(&mut self, batch: &mut VecDeque<Inbound>) {
        let now = self.now();
        if !self.may_record() || self.is_idle() {
            return;
        }
        if self.state.is_due(now) {
            self.ticks += 1;
            let id = InputId::new(format!("tick:{}:{}", self.parts.journal.epoch(), self.ticks));
            batch.push_back(Inbound {
                input: Input { id, kind: InputKind::Tick },
                reply: None,
                answers: None,
                beat: None,
            });
        }
        batch.extend(self.rules_input());
        for name in jobs::due(&self.state, now) {
            if self.asking.insert(name.clone()) {
                let due = self.state.team.jobs.get(&name).and_then(|job| job.next).unwrap_or(now);
                let id = InputId::new(format!("job:{name}:{}", due.timestamp()));
                let kind = InputKind::Job { name };
                let beat = Some(self.door.pulse().beat());
                batch.push_back(Inbound { input: Input { id, kind }, reply: None, answers: None, beat });
            }
        }
    }

    /// Whether what is due is left alone for a while.
    fn is_idle(&self) -> bool {
        self.idle_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether this decides about what is due. A job that asks first is decided when it comes back.
    fn is_what_is_due(&self, inbound: &Inbound) -> bool {
        match inbound.input.kind {
            InputKind::Tick => true,
            InputKind::Job { .. } => self.questions(inbound).is_none(),
            _ => false,
        }
    }

    /// Decides everything in the batch, writes it once, and only then lets go of what follows from it.
    fn decide_batch(&mut self, batch: VecDeque<Inbound>) -> Result<(), End> {
        let reconcile = batch.iter().any(|inbound| matches!(inbound.input.kind, InputKind::ChatReady));
        self.decide_and_record(batch)?;
        if reconcile {
            let _ = self.parts.outbox.send(Work::Wake);
            self.show_everything();
        }
        Ok(())
    }

    fn decide_and_record(&mut self, batch: VecDeque<Inbound>) -> Result<(), End> {
        let mut written: Vec<Decided> = Vec::new();
        let mut held: Vec<Held> = Vec::new();
        // A full disk must leave memory as the record is: what to go back to.
        let mut undo = Undo::of(&self.state);
        for inbound in batch {
            if let Some(questions) = self.questions(&inbound) {
                self.ask(inbound, questions);
                continue;
            }
            match &inbound.input.kind {
                InputKind::Job { name } => {
                    self.asking.remove(name);
                }
                InputKind::Rules => self.rules_looked_at(),
                InputKind::Effect(outcome) => {
                    self.calling.remove(&outcome.effect);
                }
                _ => {}
            }
            let (answer, decided) = self.decide(&inbound);
            held.push(Held { inbound, answer, records: decided.is_some() });
            if let Some(decided) = decided {
                undo.note(&self.state, &decided);
                self.state.apply(&decided);
                written.push(decided);
            }
        }
        if written.is_empty() {
            self.let_go(&written, held);
            return Ok(());
        }
        match self.write(&written)? {
            Ok(()) => self.let_go(&written, held),
            Err(why) => {
                undo.go_back(&mut self.state);
                self.not_recorded(held, why)?;
            }
        }
        Ok(())
    }

    /// What an input is answered, and what has to be recorded for it.
    fn decide(&mut self, inbound: &Inbound) -> (Option<Answer>, Option<Decided>) {
        let id = &inbound.input.id;
        if matches!(inbound.input.kind, InputKind::ChatReady) {
            // Every time is another, whatever it is called: what was in order the last time may not be now.
            let id = InputId::new(format!("{id}:{}", self.state.seq + 1));
            let now = self.now();
            let decision = put_up_what_is_missing(self.ctx(&id, now));
            let decided = (!decision.effects.is_empty()).then(|| bot::line(&self.state, now, &id, decision));
            return (None, decided);
        }
        if self.state.has_seen(id) || self.answered.contains_key(id) {
            return (self.answered.get(id).cloned().or(Some(Answer::Done)), None);
        }
        let now = self.now();
        match self.decide_one(inbound, now) {
            Ok(decision) if decision.facts.is_empty() && decision.effects.is_empty() => (decision.answer, None),
            Ok(decision) => (decision.answer.clone(), Some(bot::line(&self.state, now, id, decision))),
            Err(refusal) => (Some(commands::refused(&refusal)), None),
        }
    }

    /// One decision; a panic in it is a refusal and a report, never an end.
    fn decide_one(&mut self, inbound: &Inbound, now: DateTime<Utc>) -> Result<Decision, Refusal> {
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
        if matches!(inbound.input.kind, InputKind::Rules) {
            let jumped = self.jumped();
            let Parts { policy, workspace, .. } = &self.parts;
            let (state, looking) = (&mut self.state, rules::Looking { policy, workspace });
            // A panic leaves what was followed as it was.
            let _ = catch_unwind(AssertUnwindSafe(|| rules::observe(state, &looking, answers, jumped, now)));
        }
        let now = self.state.latest.map_or(now, |latest| latest.max(now));
        let ctx = self.ctx(&inbound.input.id, now);
        let decide = self.parts.decide;
        let decided = catch_unwind(AssertUnwindSafe(|| decide(ctx, &inbound.input.kind, answers, changed.as_ref())));
        decided.unwrap_or_else(|_| {
            error!(input = %inbound.input.id, "A decision panicked; nothing was changed by it");
            Err(Refusal::Broken)
        })
    }

    fn ctx<'a>(&'a self, input: &'a InputId, now: DateTime<Utc>) -> Ctx<'a> {
        let Parts { policy, workspace, .. } = &self.parts;
        Ctx { state: &self.state, policy, workspace, now, input }
    }

    /// After the sync: answers, effects, and what is shown.
    fn let_go(&mut self, written: &[Decided], held: Vec<Held>) {
        let mut beats: Vec<Option<Beat>> = Vec::new();
        for Held { inbound, answer, .. } in held {
            let Inbound { input, reply, beat, .. } = inbound;
            beats.push(beat);
            if let InputKind::Effect(outcome) = &input.kind {
                let _ = self.parts.outbox.send(Work::Recorded(outcome.effect));
            }
            // What could not be decided is decided when it comes again.
            if let Some(answer) = answer.as_ref().filter(|answer| !matches!(answer, Answer::NotNow(_))) {
                self.keep_answer(input.id, answer.clone());
            }
            if let Some(reply) = reply {
                reply(answer.unwrap_or(Answer::Done));
            }
        }
        let touched: BTreeSet<Thing> = written
            .iter()
            .flat_map(|decided| &decided.facts)
            .flat_map(|(on, fact)| {
                let cards = releases::shown_on(&self.state, *on, fact).into_iter().map(Thing::Incident);
                let boards = board::shown_on(&self.state, *on, fact).into_iter().map(Thing::Deploy);
                let hosts = alerts::card::shown_on(&self.state.alerts, *on).into_iter().map(Thing::Alert);
                cards.chain(boards).chain(hosts).chain([*on])
            })
            .filter(|on| *on != Thing::Team)
            .collect();
        // First what things are called and where they stand: what is done about them starts from it.
        for on in &touched {
            self.show(*on, false);
        }
        for decided in written {
            for effect in decided.effects.iter().filter(|effect| self.state.pending.contains_key(&effect.id)) {
                if calls(effect) {
                    self.calling.insert(effect.id, Instant::now());
                }
                let work = Work::Effect { effect: effect.clone(), again: false, beat: self.door.pulse().beat() };
                let _ = self.parts.outbox.send(work);
            }
            for (_, fact) in &decided.facts {
                if let crate::domain::fact::Fact::Withdrawn { effect, .. } = fact {
                    self.calling.remove(effect);
                    let _ = self.parts.outbox.send(Work::Withdraw(*effect));
                }
            }
        }
        if !written.is_empty() {
            self.publish_lists();
        }
        let mut older = aged(touched.iter());
        older.extend(alerts_gone(&touched));
        for on in touched.into_iter().chain(older) {
            let mut last = None;
            if let Thing::Incident(id) = on
                && !self.state.must_hold(id)
            {
                last = self.drawn(on).map(Box::new);
                self.state.release(id);
            }
            if !self.state.is_held(on) {
                let _ = self.parts.outbox.send(Work::Forget(on, last));
            }
        }
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

    fn answer_ask(&mut self, ask: Ask) -> Result<(), End> {
        match ask {
            Ask::Look(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Ask::Draw(on, reply) => {
                // Unanswered: it is not in memory.
                if let Some(drawn) = self.drawn(on) {
                    let _ = reply.send(drawn);
                }
            }
            Ask::Told(which, reply) => {
                // Unanswered when it panics: whoever asks hears that it cannot be said now.
                match catch_unwind(AssertUnwindSafe(|| self.told(&which))) {
                    Ok(told) => drop(reply.send(told)),
                    Err(_) => error!("How a pipeline's deploy stands could not be said: saying it panicked"),
                }
            }
            Ask::Adopt(policy, hash) => {
                self.parts.policy = *policy;
                self.parts.hash.clone_from(&hash);
                let id = InputId::new(format!("policy:{}:{}", self.parts.journal.epoch(), self.state.seq + 1));
                let input = Input { id, kind: InputKind::PolicyAdopted { hash } };
                let inbound = Inbound { input, reply: None, answers: None, beat: Some(self.door.pulse().beat()) };
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
            next_rules: self.rules_due(),
            overdue_since: self.state.next_due().filter(|due| *due < now),
            kept: incidents.clone().map(|incident| incident.tally.kept).sum(),
            late: incidents.map(|incident| incident.tally.late).sum(),
            reminders_late: self.state.incidents.values().map(|incident| incident.reminders_late()).sum(),
            starts: self.state.team.starts,
            trouble: self.trouble.clone(),
            calling_for: self.calling_for(),
        }
    }

    /// How long the oldest page or ping has been on its way.
    fn calling_for(&self) -> Option<Duration> {
        let pending = &self.state.pending;
        let on_their_way = self.calling.iter().filter(|(id, _)| pending.contains_key(id));
        on_their_way.map(|(_, since)| since.elapsed()).max()
    }
}

/// What a start caught up on, in a sentence.
fn caught_up(away: &str, due: usize, on_their_way: usize) -> String {
    let mut parts = vec![format!("away for at most {away}")];
    match due {
        0 => {}
        1 => parts.push("1 incident had something due".to_owned()),
        n => parts.push(format!("{n} incidents had something due")),
    }
    match on_their_way {
        0 => {}
        1 => parts.push("1 message was on its way".to_owned()),
        n => parts.push(format!("{n} messages were on their way")),
    }
    parts.join("; ")
}

/// Whether an effect wakes or calls somebody.
fn calls(effect: &Effect) -> bool {
    effect.urgency <= Urgency::Ping
        && matches!(effect.kind, EffectKind::Card { .. } | EffectKind::Post { .. } | EffectKind::Page { .. })
}

/// Incidents that may leave memory because newer ones are there.
pub fn aged<'a>(touched: impl Iterator<Item = &'a Thing>) -> Vec<Thing> {
    touched
        .filter_map(|thing| match thing {
            Thing::Incident(id) => State::aged_by(*id).map(Thing::Incident),
            Thing::Deploy(id) => {
                id.0.checked_sub(DEPLOYS_HELD as u32).filter(|old| *old > 0).map(|old| Thing::Deploy(DeployId(old)))
            }
            Thing::Team | Thing::Alert(_) => None,
        })
        .collect()
}

/// Groups of alerts that left memory when others were over.
fn alerts_gone(touched: &BTreeSet<Thing>) -> Vec<Thing> {
    /// How many may go at once; a name that stays costs some bytes and nothing else.
    const LOOKED_AT: u32 = 4;
    let newest = touched.iter().filter_map(|on| match on {
        Thing::Alert(id) => Some(id.0),
        _ => None,
    });
    let last = |newest: u32| newest.saturating_sub(alerts::OVER_HELD as u32);
    newest
        .flat_map(|newest| last(newest).saturating_sub(LOOKED_AT)..last(newest))
        .map(|number| Thing::Alert(AlertId(number + 1)))
        .collect()
}

/// The name of the document that holds the team's part of the state.
pub const TEAM_DOC: &str = "team";

/// The name of the document that holds alerts and silences.
pub const ALERTS_DOC: &str = "alerts";

/// The team's part of the state, as the views keep it.
pub fn team_doc(state: &State) -> (String, Vec<u8>) {
    (TEAM_DOC.to_owned(), serde_json::to_vec(&state.team).unwrap_or_default())
}

/// Alerts and silences, as the views keep them.
pub fn alerts_doc(state: &State) -> (String, Vec<u8>) {
    (ALERTS_DOC.to_owned(), serde_json::to_vec(&state.alerts).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::caught_up;

    #[test]
    fn what_was_caught_up_on_leaves_out_what_there_was_not() {
        assert_eq!(caught_up("3 min", 0, 0), "away for at most 3 min");
        assert_eq!(caught_up("3 min", 1, 0), "away for at most 3 min; 1 incident had something due");
        assert_eq!(
            caught_up("3 min", 2, 1),
            "away for at most 3 min; 2 incidents had something due; 1 message was on its way"
        );
    }
}
