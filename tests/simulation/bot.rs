//! One life of the bot: the loop of `shell/driver.rs` over the real decisions and the real log, without its threads.
//!
//! Dies wherever it is told to, and leaves nothing behind but its disk and what is on the wire.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::book::Book;
use super::outbox::{Outbox, Standing};
use super::power::{Power, Powered};
use super::refused;
use super::rules::Figures;
use super::team::Setup;
use crate::commands;
use crate::domain::answer::Answer;
use crate::domain::deploy::board;
use crate::domain::draft::Ctx;
use crate::domain::effect::Effect;
use crate::domain::fact::Fact;
use crate::domain::figures::{Ask, Figure};
use crate::domain::health::{HealthReport, StageHealth};
use crate::domain::hosting::Inventory;
use crate::domain::ids::{AlertId, DeployId, IncidentId, InputId, Thing};
use crate::domain::input::{Answers, InputKind, Itself, Query, Started};
use crate::domain::metrics::Series;
use crate::domain::policy::Policy;
use crate::domain::rules::{self, Rules};
use crate::domain::state::{Decided, State};
use crate::domain::{alerts, bot, jobs, services, view};
use crate::log::torn::TornDisk;
use crate::log::{Log, LogOptions};
use crate::ports::disk::Disk;
use crate::ports::journal::{AppendError, Journal, Line};
use crate::record;
use crate::undo::Undo;

/// At which length a segment is sealed: small, so that histories meet the seam.
const SEGMENT_BYTES: u64 = 60_000;
/// How long something that is due and could not be recorded is left alone.
const FULL_DISK_WAIT: TimeDelta = TimeDelta::seconds(5);

/// Where in a turn the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dies {
    /// Decided, not written.
    BeforeWriting,
    /// Written and synced, nothing let go.
    BeforeLettingGo,
}

/// The same value at every step.
fn flat(ask: &Ask, value: f64) -> Series {
    let steps = (ask.to - ask.from).num_seconds() / ask.step_s.max(1);
    let points = (0..=steps).map(|n| (ask.from + TimeDelta::seconds(n * ask.step_s), value)).collect();
    Series { points, ..Series::default() }
}

/// Why a turn came to no end.
#[derive(Debug)]
pub enum Failure {
    /// The process is gone.
    Dead,
    /// An invariant does not hold.
    Broken(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

/// What the outside says to whoever asks it during a turn.
#[derive(Debug, Default)]
pub struct Told {
    /// What runs, by app; one that is missing did not answer in time.
    pub inventories: BTreeMap<String, Result<Inventory, String>>,
    /// How the services are.
    pub health: Vec<StageHealth>,
    /// Of how many answers one is an error, as a share; none when the metrics do not tell.
    pub errors: Option<f64>,
    /// What the look at the rules is answered that comes with this turn.
    pub rules: Figures,
}

/// What a turn let go.
#[derive(Debug, Default)]
pub struct Turn {
    /// Lines on the disk, by seq and hash.
    pub released: Vec<(u64, String)>,
    /// Inputs that were answered and changed something.
    pub acknowledged: Vec<InputId>,
    /// Inputs whose sender was told that they are taken.
    pub answered: Vec<InputId>,
    /// Effects withdrawn before they ended.
    pub withdrawn: u64,
    /// The disk was full.
    pub refused: bool,
    /// The rules were looked at.
    pub looked: bool,
}

/// One life.
pub struct Bot {
    /// What it knows.
    pub state: State,
    /// What it has to do.
    pub outbox: Outbox,
    /// What waits at its door.
    pub inbox: Vec<(InputId, InputKind)>,
    log: Log,
    policy: &'static Policy,
    hash: String,
    answered: BTreeMap<InputId, Option<Answer>>,
    ticks: u64,
    refused_at: Option<DateTime<Utc>>,
    /// What was noted of the rules, as far as this life knows.
    noted: Rules,
}

/// What a start found on the disk.
pub struct Found {
    /// The lines, as decisions.
    pub decided: Vec<Decided>,
    /// Their places and hashes.
    pub lines: BTreeMap<u64, String>,
    /// Whether something was cut off.
    pub torn: bool,
}

impl Bot {
    /// Opens the log and folds it, as the shell does at a start.
    pub fn start(disk: &TornDisk, power: &Power, now: DateTime<Utc>, setup: &Setup) -> Result<(Self, Found), Failure> {
        let options = LogOptions {
            now_ms: now.timestamp_millis(),
            segment_bytes: SEGMENT_BYTES,
            new_id: format!("log{}", now.timestamp()),
            after: None,
        };
        let powered = Powered { disk: disk.clone(), power: power.clone() };
        let Ok((log, recovered)) = Log::open(Box::new(powered), &options) else { return Err(Failure::Dead) };
        // What was read may still be nowhere but in the system's memory: a kill between the write and its sync, or a sync that
        // failed, leaves whole lines there. Nothing may follow from them before they are on the disk.
        let mut disk = Powered { disk: disk.clone(), power: power.clone() };
        for name in disk.list("log").unwrap_or_default() {
            if disk.sync_data(&format!("log/{name}")).is_err() {
                return Err(Failure::Dead);
            }
        }
        if let Some(damage) = recovered.damage.first() {
            return Err(Failure::Broken(format!("1: {damage}, and nothing was damaged")));
        }
        let mut found = Found { decided: Vec::new(), lines: BTreeMap::new(), torn: !recovered.cut.is_empty() };
        let mut state = State::default();
        for line in log.read_from(0) {
            let line: Line = line.map_err(|damage| Failure::Broken(format!("1: {damage}, and nothing was damaged")))?;
            state.seq = state.seq.max(line.seq);
            if line.note.is_some() {
                continue;
            }
            let (decided, unknown) = record::decided(&line);
            if unknown > 0 {
                return Err(Failure::Broken(format!("4: line {} is not read back: {line:?}", line.seq)));
            }
            bring(&mut state, &decided);
            found.lines.insert(line.seq, line.hash);
            found.decided.push(decided);
        }
        let mut outbox = Outbox::new(log.log_id());
        for effect in state.pending.values() {
            outbox.take(effect.clone(), true);
        }
        let (policy, hash) = setup.policy();
        let last_seen = state.latest;
        let epoch = log.epoch();
        let started = Started { version: "test".to_owned(), last_seen };
        let inbox = vec![
            (InputId::new(format!("policy:{epoch}")), InputKind::PolicyAdopted { hash: hash.clone() }),
            (InputId::new(format!("start:{epoch}")), InputKind::Started(started)),
        ];
        let mut bot = Self {
            state,
            outbox,
            inbox,
            log,
            policy,
            hash,
            answered: BTreeMap::new(),
            ticks: 0,
            refused_at: None,
            noted: Rules::default(),
        };
        let all: Vec<IncidentId> = bot.state.incidents.keys().copied().collect();
        all.into_iter().for_each(|id| bot.show(id, now, setup));
        let open: Vec<DeployId> =
            bot.state.team.deploys.values().filter(|deploy| deploy.is_open()).map(|deploy| deploy.id).collect();
        open.into_iter().for_each(|id| bot.show_deploy(id, now, setup));
        let groups: Vec<AlertId> = bot.state.alerts.iter().map(|group| group.id).collect();
        groups.into_iter().for_each(|id| bot.show_alerts(id, now, setup));
        Ok((bot, found))
    }

    /// Goes on from what was noted of the rules.
    pub fn go_on(&mut self, note: Option<&[u8]>, now: DateTime<Utc>) {
        let rules: Rules = note.and_then(|note| serde_json::from_slice(note).ok()).unwrap_or_default();
        self.noted = rules.clone();
        self.state.measured.rules = rules.after_restart(&self.state.alerts, now).into();
    }

    /// What is to be noted of the rules after a look, when it is other than what was.
    pub fn note(&mut self) -> Option<Vec<u8>> {
        let kept = self.state.measured.rules.kept();
        if kept == self.noted {
            return None;
        }
        let note = serde_json::to_vec(&kept).unwrap_or_default();
        self.noted = kept;
        Some(note)
    }

    /// What a look at the rules must ask first.
    pub fn asks(&self, now: DateTime<Utc>, setup: &Setup) -> Vec<Ask> {
        let input = InputId::new("rules");
        let ctx = Ctx { state: &self.state, policy: self.policy, workspace: setup.workspace, now, input: &input };
        let asks = commands::needs(&ctx, &InputKind::Rules).into_iter();
        asks.filter_map(|query| if let Query::Figures(ask) = query { Some(ask) } else { None }).collect()
    }

    /// From now on this policy holds.
    pub fn adopt(&mut self, (policy, hash): (&'static Policy, String)) {
        self.policy = policy;
        self.hash.clone_from(&hash);
        let id = InputId::new(format!("policy:{}:{}", self.log.epoch(), self.state.seq + 1));
        self.inbox.push((id, InputKind::PolicyAdopted { hash }));
    }

    /// When it must be woken at the latest.
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        let due = self.state.next_due();
        let due = match self.refused_at {
            Some(at) => due.map(|due| due.max(at + FULL_DISK_WAIT)),
            None => due,
        };
        if self.inbox.is_empty() {
            return due;
        }
        Some(self.refused_at.map_or(DateTime::UNIX_EPOCH, |at| at + FULL_DISK_WAIT))
    }

    /// One batch: everything that waits, and what is due.
    pub fn turn(
        &mut self,
        now: DateTime<Utc>,
        setup: &Setup,
        book: &mut Book,
        dies: Option<Dies>,
        told: &Told,
    ) -> Result<Turn, Failure> {
        let mut batch = std::mem::take(&mut self.inbox);
        if self.state.is_due(now) {
            self.ticks += 1;
            batch.push((InputId::new(format!("tick:{}:{}", self.log.epoch(), self.ticks)), InputKind::Tick));
        }
        for name in jobs::due(&self.state, now) {
            let due = self.state.team.jobs.get(&name).and_then(|job| job.next).unwrap_or(now);
            batch.push((InputId::new(format!("job:{name}:{}", due.timestamp())), InputKind::Job { name }));
        }
        // A copy of everything is dear: only where the disk can fill up it is held against the real way back.
        let before = self.log.free_bytes().map(|_| self.state.clone());
        let mut undo = Undo::of(&self.state);
        let mut written: Vec<Decided> = Vec::new();
        let mut held: Vec<(InputId, Option<Answer>)> = Vec::new();
        for (id, kind) in &batch {
            if self.state.has_seen(id) || self.answered.contains_key(id) {
                continue;
            }
            let (answer, decided) = self.decide(id, kind, now, setup, told)?;
            if let Some(decided) = decided {
                undo.note(&self.state, &decided);
                self.state.apply(&decided);
                written.push(decided);
            }
            held.push((id.clone(), answer));
        }
        if dies == Some(Dies::BeforeWriting) {
            return Err(Failure::Dead);
        }
        let mut turn = Turn::default();
        if !written.is_empty() {
            let entries = written.iter().map(|decided| record::entry(decided, "team")).collect();
            let committed = match self.log.append(self.log.epoch(), entries) {
                Ok(committed) => committed,
                Err(AppendError::DiskFull(_)) => {
                    undo.go_back(&mut self.state);
                    let is_back = |before: &State| {
                        self.state.kept() == before.kept() && self.state.next_due() == before.next_due()
                    };
                    if !before.as_ref().is_some_and(is_back) {
                        return Err(Failure::Broken(
                            "1: memory is not what the record is after a full disk".to_owned(),
                        ));
                    }
                    self.refused_at = Some(now);
                    // An effect's end is never dropped: it comes again.
                    let ends = batch.into_iter().filter(|(_, kind)| is_kept(kind));
                    self.inbox.extend(ends);
                    return Ok(Turn { refused: true, ..Turn::default() });
                }
                Err(AppendError::Unfit(why)) => return Err(Failure::Broken(format!("a decision does not fit: {why}"))),
                Err(AppendError::Fatal(_) | AppendError::Fenced(_)) => return Err(Failure::Dead),
            };
            if dies == Some(Dies::BeforeLettingGo) {
                return Err(Failure::Dead);
            }
            self.state.seq = self.state.seq.max(committed.last_seq);
            for (line, decided) in committed.lines.iter().zip(&written) {
                // Reading back is dear; every few lines tell as much as all of them.
                let again = (line.seq % 8 == 0).then(|| record::decided(line).0);
                let effects: Vec<Effect> = decided.effects.iter().map(Effect::recorded).collect();
                if let Some(again) = again
                    && (&again.facts, &again.effects, again.at) != (&decided.facts, &effects, decided.at)
                {
                    let words = format!("{decided:?}\n{again:?}");
                    return Err(Failure::Broken(format!("4: a line does not say what was decided:\n{words}")));
                }
                book.read(decided)?;
                turn.released.push((line.seq, line.hash.clone()));
                turn.acknowledged.push(decided.input.clone());
            }
        }
        self.refused_at = None;
        turn.looked = batch.iter().any(|(_, kind)| matches!(kind, InputKind::Rules));
        for (_, kind) in &batch {
            if let InputKind::Effect(outcome) = kind {
                if self.state.pending.contains_key(&outcome.effect) {
                    let why = format!("6: {} has ended and the record does not say how: {kind:?}", outcome.effect);
                    return Err(Failure::Broken(why));
                }
                self.outbox.recorded(outcome.effect);
            }
        }
        self.let_go(&written, held, now, setup, &mut turn);
        Ok(turn)
    }

    fn decide(
        &mut self,
        id: &InputId,
        kind: &InputKind,
        now: DateTime<Utc>,
        setup: &Setup,
        told: &Told,
    ) -> Result<(Option<Answer>, Option<Decided>), Failure> {
        let changed = match kind {
            InputKind::Measured(look) => services::observe(&mut self.state, look, &self.policy.health),
            InputKind::Rules => {
                let looking = rules::Looking { policy: self.policy, workspace: setup.workspace };
                let answers = Answers { figures: told.rules.clone(), ..Answers::default() };
                rules::observe(&mut self.state, &looking, &answers, TimeDelta::zero(), now);
                None
            }
            _ => None,
        };
        let now = self.state.latest.map_or(now, |latest| latest.max(now));
        let ctx = Ctx { state: &self.state, policy: self.policy, workspace: setup.workspace, now, input: id };
        let (mut inventories, mut figures) = (BTreeMap::new(), BTreeMap::new());
        for query in commands::needs(&ctx, kind) {
            match query {
                Query::Inventory(app) => {
                    inventories.extend(told.inventories.get(&app).map(|said| (app, said.clone())));
                }
                Query::Figures(ask) if ask.key == Figure::Errors.key() => {
                    figures.extend(told.errors.map(|errors| (ask.key.clone(), Ok(vec![flat(&ask, errors)]))));
                }
                _ => {}
            }
        }
        let report = HealthReport { at: now, auth: Ok("team".to_owned()), stages: told.health.clone() };
        let answers = Answers {
            health: Some(report),
            recent: Some(Vec::new()),
            itself: Some(Itself::default()),
            inventories,
            figures,
            ..Answers::default()
        };
        Ok(match commands::decide(ctx, kind, &answers, changed.as_ref()) {
            Ok(decision) if decision.facts.is_empty() && decision.effects.is_empty() => (decision.answer, None),
            Ok(decision) => (decision.answer.clone(), Some(bot::line(&self.state, now, id, decision))),
            Err(refusal) => match refused::wrongly_refused(&self.state, kind, &answers, &refusal) {
                Some(why) => return Err(Failure::Broken(why)),
                None => (Some(commands::refused(&refusal)), None),
            },
        })
    }

    fn let_go(
        &mut self,
        written: &[Decided],
        held: Vec<(InputId, Option<Answer>)>,
        now: DateTime<Utc>,
        setup: &Setup,
        turn: &mut Turn,
    ) {
        let heard = held.iter().filter(|(_, answer)| *answer == Some(Answer::Done)).map(|(id, _)| id.clone());
        turn.answered.extend(heard);
        self.answered.extend(held);
        let mut touched: BTreeSet<IncidentId> = BTreeSet::new();
        let mut deploys: BTreeSet<DeployId> = BTreeSet::new();
        let mut groups: BTreeSet<AlertId> = BTreeSet::new();
        for (on, _) in written.iter().flat_map(|decided| &decided.facts) {
            match on {
                Thing::Incident(id) => drop(touched.insert(*id)),
                Thing::Deploy(id) => drop(deploys.insert(*id)),
                Thing::Alert(id) => {
                    groups.extend(alerts::card::shown_on(&self.state.alerts, *on));
                    groups.insert(*id);
                }
                Thing::Team => {}
            }
        }
        touched.iter().for_each(|id| self.show(*id, now, setup));
        deploys.into_iter().for_each(|id| self.show_deploy(id, now, setup));
        groups.into_iter().for_each(|id| self.show_alerts(id, now, setup));
        for decided in written {
            for effect in decided.effects.iter().filter(|effect| self.state.pending.contains_key(&effect.id)) {
                self.outbox.take(effect.clone(), false);
            }
            for (_, fact) in &decided.facts {
                if let Fact::Withdrawn { effect, .. } = fact {
                    turn.withdrawn += 1;
                    self.outbox.withdraw(*effect);
                }
            }
        }
        touched.into_iter().for_each(|id| release(&mut self.state, id));
    }

    fn show(&mut self, id: IncidentId, now: DateTime<Utc>, setup: &Setup) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let input = InputId::new("show");
        let ctx = Ctx { state: &self.state, policy: self.policy, workspace: setup.workspace, now, input: &input };
        let wanted = view::card(&ctx, incident);
        let standing: &mut Standing = self.outbox.standing.entry(id).or_default();
        standing.wanted = Some(wanted);
        standing.observing = !self.state.team.live;
        standing.may_ring = self.state.team.live && incident.status.is_open() && !incident.is_acknowledged();
        if incident.card.is_some() {
            standing.card.clone_from(&incident.card);
        }
        if incident.thread.is_some() {
            standing.thread.clone_from(&incident.thread);
        }
    }

    fn show_deploy(&mut self, id: DeployId, now: DateTime<Utc>, setup: &Setup) {
        let Some(deploy) = self.state.team.deploys.get(&id) else { return };
        let input = InputId::new("show");
        let ctx = Ctx { state: &self.state, policy: self.policy, workspace: setup.workspace, now, input: &input };
        self.outbox.boards.insert(id, board::card(&ctx, deploy));
    }

    fn show_alerts(&mut self, id: AlertId, now: DateTime<Utc>, setup: &Setup) {
        let Some(group) = self.state.alerts.get(id) else { return };
        let input = InputId::new("show");
        let ctx = Ctx { state: &self.state, policy: self.policy, workspace: setup.workspace, now, input: &input };
        let may_ring = self.state.team.live && group.is_unanswered(now);
        self.outbox.alerts.insert(id, (alerts::card::card(&ctx, group), may_ring));
    }

    /// The record, verbatim.
    pub fn export(&self) -> String {
        let mut bytes = Vec::new();
        // A record that cannot be read shows at the next start.
        let _ = self.log.export(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Folds a log.
pub fn fold(decided: &[Decided]) -> State {
    let mut state = State::default();
    decided.iter().for_each(|one| bring(&mut state, one));
    state
}

/// Applies a decision and lets go of what is over, as `shell/load.rs` does.
fn bring(state: &mut State, decided: &Decided) {
    state.apply(decided);
    let facts = decided.facts.iter().map(|(on, _)| *on);
    let touched: BTreeSet<Thing> = facts.chain(decided.effects.iter().map(|effect| effect.on)).collect();
    for thing in touched {
        if let Thing::Incident(id) = thing {
            release(state, id);
        }
    }
}

fn release(state: &mut State, id: IncidentId) {
    state.release(id);
    if let Some(aged) = State::aged_by(id) {
        state.release(aged);
    }
}

/// Whether an input that could not be recorded comes again by itself.
fn is_kept(kind: &InputKind) -> bool {
    matches!(kind, InputKind::Effect(_) | InputKind::Started(_) | InputKind::PolicyAdopted { .. })
}
