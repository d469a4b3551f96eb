//! A record made by real decisions, for benches: the same doors as the bot's loop, without a chat.
//!
//! Prints nothing and measures nothing.

#![allow(dead_code, reason = "each bench uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use watchbell::commands;
use watchbell::domain::bot;
use watchbell::domain::draft::Ctx;
use watchbell::domain::effect::{Effect, EffectKind};
use watchbell::domain::health::HealthReport;
use watchbell::domain::ids::{IncidentId, InputId, Person, Place, Posted, Role};
use watchbell::domain::input::{
    Actor, Answers, Arg, Call, EffectEnd, EffectOutcome, Input, InputKind, Itself, Query, Started,
};
use watchbell::domain::message::Text;
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::refusal::Refusal;
use watchbell::domain::state::{Decided, State};
use watchbell::domain::workspace::Workspace;

/// The team that all of it is decided for.
pub const TEAM: &str = include_str!("../../tests/support/team.toml");
/// 2026-11-23 10:00 in Chicago: a Monday, in working hours, so that nothing is put off.
pub const BEGIN_MS: i64 = 1_795_449_600_000;

/// Decisions, one after the other.
pub struct Record {
    pub workspace: Workspace,
    pub policy: Policy,
    pub state: State,
    pub now: DateTime<Utc>,
    inputs: u64,
}

impl Record {
    /// A record that holds a start and a policy, live.
    pub fn begin() -> (Self, Vec<Decided>) {
        Self::begin_after(0)
    }

    /// The same, on a journal that holds lines already.
    pub fn begin_after(seq: u64) -> (Self, Vec<Decided>) {
        let mut record = Self {
            workspace: toml::from_str(TEAM).expect("the team of the transcripts"),
            policy: Policy::parse(SHIPPED).expect("the shipped policy"),
            state: State::default(),
            now: DateTime::from_timestamp_millis(BEGIN_MS).expect("a time"),
            inputs: 0,
        };
        let started = Started { version: "bench".to_owned(), last_seen: None };
        record.state.seq = seq;
        let mut lines: Vec<Decided> =
            record.decide(InputKind::PolicyAdopted { hash: "bench".to_owned() }).into_iter().collect();
        lines.extend(record.decide(InputKind::Started(started)));
        lines.extend(record.call("watchbell live", &[]));
        (record, lines)
    }

    /// An input with an id of its own.
    pub fn input(&mut self, kind: InputKind) -> Input {
        self.inputs += 1;
        Input { id: InputId::new(format!("discord:{}", 1_000_000_000_000_000_000 + self.inputs)), kind }
    }

    /// What is decided about an input, without applying it.
    pub fn only_decide(&self, input: &Input) -> Result<Option<Decided>, Refusal> {
        let Self { state, policy, workspace, now, .. } = self;
        let ctx = Ctx { state, policy, workspace, now: *now, input: &input.id };
        let answers = self.answers(commands::needs(&ctx, &input.kind));
        let decision = commands::decide(ctx, &input.kind, &answers, None)?;
        let changes = !decision.facts.is_empty() || !decision.effects.is_empty();
        Ok(changes.then(|| bot::line(state, *now, &input.id, decision)))
    }

    /// Decides and applies. Nothing here may be refused.
    pub fn decide(&mut self, kind: InputKind) -> Option<Decided> {
        let input = self.input(kind);
        let decided = self.only_decide(&input).unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
        if let Some(line) = &decided {
            self.state.apply(line);
        }
        decided
    }

    /// A command by somebody who may do everything.
    pub fn call(&mut self, command: &str, args: &[(&str, &str)]) -> Option<Decided> {
        let call = Call {
            who: mia(),
            place: Place::new("discord:incidents"),
            command: command.to_owned(),
            args: args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect(),
            target: None,
        };
        self.decide(InputKind::Call(call))
    }

    /// Ends every effect that is on its way, as the outbox would.
    pub fn end_effects(&mut self) -> Vec<Decided> {
        let mut lines = Vec::new();
        while let Some(effect) = self.state.pending.values().next().cloned() {
            let end = self.end_of(&effect);
            lines.extend(self.decide(InputKind::Effect(EffectOutcome { effect: effect.id, end })));
        }
        lines
    }

    fn end_of(&self, effect: &Effect) -> EffectEnd {
        let message = effect.id.to_string();
        let posted = |place: String| EffectEnd::Done { posted: Some(Posted { place: Place::new(place), message }) };
        match &effect.kind {
            EffectKind::Card { .. } | EffectKind::Board { .. } | EffectKind::AlertCard { .. } => {
                posted("discord:incidents".to_owned())
            }
            EffectKind::Thread { incident } => posted(format!("discord:thread-{incident}")),
            EffectKind::Post { .. } => posted(format!("discord:thread-{}", effect.on)),
            EffectKind::Page { .. } => EffectEnd::Done { posted: None },
            EffectKind::Look { .. } => EffectEnd::Looked { report: self.report() },
            EffectKind::Act { .. } | EffectKind::Survey { .. } | EffectKind::Follow { .. } => {
                EffectEnd::GivenUp { why: "nothing is done at a host here".to_owned() }
            }
        }
    }

    fn report(&self) -> HealthReport {
        HealthReport { at: self.now, auth: Ok("lighthouse".to_owned()), stages: Vec::new() }
    }

    fn answers(&self, queries: Vec<Query>) -> Answers {
        let mut answers = Answers::default();
        for query in queries {
            match query {
                Query::Health(_) => answers.health = Some(self.report()),
                Query::ClosedIncident(_) | Query::RecentIncidents(_) => answers.recent = Some(Vec::new()),
                Query::Inventory(_)
                | Query::Inspect(_)
                | Query::Changes(_)
                | Query::Head
                | Query::Logs(_)
                | Query::Life(_)
                | Query::Figures(_) => {}
                Query::Itself => answers.itself = Some(Itself::default()),
            }
        }
        answers
    }

    /// Opens an incident and lets everything that follows be done. Returns its number and the lines.
    pub fn open(&mut self) -> (IncidentId, Vec<Decided>) {
        let n = self.state.team.incidents + 1;
        let title = format!("the queue{n} of orders{n} grows{n} and nothing{n} takes{n} from it{n}");
        let mut lines: Vec<Decided> = self.call("sev1", &[("title", &title)]).into_iter().collect();
        lines.extend(self.end_effects());
        let id = IncidentId(self.state.team.incidents);
        assert_eq!(id.0, n, "an incident was opened");
        (id, lines)
    }

    /// The whole life of an incident: opened, noted, updated, resolved, reviewed.
    pub fn whole_life(&mut self) -> Vec<Decided> {
        let (id, mut lines) = self.open();
        let named = id.to_string();
        let words = "the consumers restarted in a circle; one of them held the lock of the others and never let go";
        for (command, option) in
            [("incident note", "text"), ("update", "what"), ("resolve", "anyway"), ("incident review", "what")]
        {
            self.now += TimeDelta::seconds(60);
            lines.extend(self.call(command, &[(option, words), ("incident", &named)]));
            lines.extend(self.end_effects());
        }
        assert_eq!(self.state.open().count(), 0, "the incident is over");
        let over: Vec<IncidentId> = self.state.incidents.keys().copied().collect();
        over.into_iter().for_each(|id| self.state.release(id));
        lines
    }
}

/// Somebody who may do everything.
pub fn mia() -> Actor {
    Actor { person: Person::new("discord:mia"), name: "mia".to_owned(), roles: vec![Role::new("manager")] }
}

/// The middle and the 99th of a hundred.
pub fn p50_p99(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied();
    (at(50).unwrap_or_default(), at(99).unwrap_or_default())
}

/// A line of `/proc/PID/status`, as a number.
pub fn proc_status(pid: &str, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok())
}

/// Options of a command line, `--name value`, without what cargo adds.
pub fn options() -> BTreeMap<String, String> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    words.chunks(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1).cloned().unwrap_or_default()))).collect()
}
