//! A small team with something going on, that decides as the bot does; and what must hold of everything that it then says.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use watchbell::adapters::discord::{self, Directory, Sound};
use watchbell::commands;
use watchbell::domain::alerts::heard::{Heard, Incoming};
use watchbell::domain::alerts::{self, card};
use watchbell::domain::answer::Answer;
use watchbell::domain::deploy::board;
use watchbell::domain::draft::Ctx;
use watchbell::domain::effect::{Effect, EffectKind};
use watchbell::domain::ids::{InputId, Person, Place, Posted, Role, Thing};
use watchbell::domain::input::{
    Actor, Answers, Arg, Call, EffectEnd, EffectOutcome, InputKind, Query, Started, Stepped,
};
use watchbell::domain::message::{Message, Text};
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::refusal::Refusal;
use watchbell::domain::state::{Decided, State};
use watchbell::domain::workspace::Workspace;
use watchbell::domain::{bot, view};
use watchbell::ports::journal::{LINE_BYTES_MAX, Line};
use watchbell::shell::record;

/// The team.
const TEAM: &str = include_str!("../team.toml");
/// When it is: a Tuesday afternoon.
const NOW_S: i64 = 1_795_540_000;
/// Effects that are brought to their end after one input.
const EFFECTS_MAX: usize = 200;
/// Characters of what somebody outside is answered, at most: a sentence, not their own body back.
pub const SENTENCE_CHARS_MAX: usize = 600;

/// The team and what is on its record.
#[derive(Clone)]
pub struct World {
    /// What is known.
    pub state: State,
    /// What is promised.
    pub policy: Policy,
    /// The set-up.
    pub workspace: &'static Workspace,
    /// When it is.
    pub now: DateTime<Utc>,
    /// What the outside answers, whatever it is asked.
    pub answers: Answers,
    /// Everything on record.
    pub log: Vec<Decided>,
    inputs: u64,
}

/// Whether what is decided is printed: `SHOW=1 fuzz/run.sh again FORMAT FILE`.
fn shows() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| std::env::var_os("SHOW").is_some())
}

/// The team's set-up.
pub fn workspace() -> &'static Workspace {
    static TEAM_READ: OnceLock<Workspace> = OnceLock::new();
    TEAM_READ.get_or_init(|| toml::from_str(TEAM).expect("the team"))
}

/// Somebody who may everything.
pub fn ana() -> Actor {
    let roles = ["reliability", "engineer", "manager", "responder"].map(Role::new).to_vec();
    Actor { person: Person::new("discord:7"), name: "ana".to_owned(), roles }
}

/// The server as the bot knows it.
pub fn directory() -> Directory {
    let mut directory = Directory::default();
    directory.role_seen(5, "reliability");
    directory.role_seen(6, "manager");
    directory.place_seen(3, "incidents");
    directory.person_seen(7, "ana");
    directory
}

/// The channel.
pub fn channel() -> Place {
    Place::new("discord:3")
}

impl World {
    /// Live, with an incident, alerts and a silence.
    pub fn new() -> Self {
        static BEGUN: OnceLock<World> = OnceLock::new();
        BEGUN.get_or_init(Self::begun).clone()
    }

    fn begun() -> Self {
        let mut world = Self::under(Policy::parse(SHIPPED).expect("the shipped policy"));
        world.typed("sev2", &[("title", "checkout answers 500"), ("service", "checkout")]);
        world.typed("alerts silence", &[("match", "service=search"), ("for", "2h"), ("why", "moved")]);
        let labels = |name: &'static str| [("alertname", name), ("service", "checkout"), ("severity", "critical")];
        let incoming = |name: &'static str| Incoming {
            fingerprint: format!("fp {name}"),
            firing: true,
            labels: labels(name).map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            severity: "critical".to_owned(),
            ..Incoming::default()
        };
        let alerts = ["Slow", "Errors"].map(|name| incoming(name).bounded()).to_vec();
        let heard = Heard { source: "earlier".to_owned(), alerts, left_out: None };
        world.decide(&InputKind::Alerts(Box::new(heard))).expect("it is heard");
        world
    }

    /// Live, on a policy, with nothing on record.
    pub fn under(policy: Policy) -> Self {
        let now = DateTime::from_timestamp(NOW_S, 0).unwrap_or_default();
        let (answers, log, workspace) = (Answers::default(), Vec::new(), workspace());
        let mut world = Self { state: State::default(), policy, workspace, now, answers, log, inputs: 0 };
        world.decide(&InputKind::PolicyAdopted { hash: "first".to_owned() }).expect("it begins");
        let started = Started { version: "fuzz".to_owned(), last_seen: None };
        world.decide(&InputKind::Started(started)).expect("it begins");
        world.typed("watchbell live", &[]);
        world
    }

    fn typed(&mut self, command: &str, args: &[(&str, &str)]) {
        let args = args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect();
        let (who, place, command) = (ana(), channel(), command.to_owned());
        let call = Call { who, place, command, args, target: None };
        // Under another policy it may be refused.
        let _ = self.decide(&InputKind::Call(call));
    }

    /// What decisions look at.
    pub fn ctx<'a>(&'a self, input: &'a InputId) -> Ctx<'a> {
        Ctx { state: &self.state, policy: &self.policy, workspace: self.workspace, now: self.now, input }
    }

    /// What has to be asked first.
    pub fn needs(&self, kind: &InputKind) -> Vec<Query> {
        commands::needs(&self.ctx(&InputId::new("needs")), kind)
    }

    /// Decides, puts on record, says what was decided. What must hold of every decision is looked at.
    ///
    /// # Errors
    /// As it is refused.
    pub fn decide(&mut self, kind: &InputKind) -> Result<(Decided, Option<Answer>), Refusal> {
        self.inputs += 1;
        let id = InputId::new(format!("input:{}", self.inputs));
        let decided = commands::decide(self.ctx(&id), kind, &self.answers, None);
        let decision = decided.inspect_err(|refusal| {
            if shows() {
                eprintln!("{kind:?}\n  -> {refusal:?}");
            }
            fits_answer(&commands::refused(refusal));
        })?;
        let answer = decision.answer.clone();
        if shows() {
            eprintln!("{kind:?}\n  -> {answer:?}");
        }
        let line = bot::line(&self.state, self.now, &id, decision);
        if shows() {
            let entry = record::entry(&line, "team");
            eprintln!("{{\"facts\": [{}], \"effects\": [{}]}}", entry.facts.join(","), entry.effects.join(","));
        }
        if let Some(answer) = &answer {
            fits_answer(answer);
        }
        line.effects.iter().for_each(fits_effect);
        if !line.facts.is_empty() || !line.effects.is_empty() {
            self.survives(&line);
            self.state.apply(&line);
            self.log.push(line.clone());
        }
        Ok((line, answer))
    }

    /// What is recorded fits into a line, and read again it is the same.
    fn survives(&self, line: &Decided) {
        let entry = record::entry(line, "team");
        let bytes: usize = entry.facts.iter().chain(&entry.effects).map(|text| text.len() + 1).sum();
        assert!(bytes < LINE_BYTES_MAX - 1_000, "a decision of {bytes} bytes fits into no line");
        let again = Line {
            v: 1,
            seq: line.seq,
            batch: line.seq,
            at_ms: entry.at_ms,
            team: entry.team,
            epoch: 1,
            input: entry.input,
            skip: false,
            hash: String::new(),
            facts: entry.facts,
            effects: entry.effects,
            redacted: None,
            note: None,
        };
        let (again, unknown) = record::decided(&again);
        assert_eq!(unknown, 0, "what is written can be read");
        assert_eq!((&again.facts, &again.effects), (&line.facts, &line.effects), "it is read as it was written");
    }

    /// What is to be done is done, and what comes of it too; what is shown is drawn.
    pub fn settle(&mut self) {
        for n in 0..EFFECTS_MAX {
            let Some(effect) = self.state.pending.values().next().cloned() else { break };
            let posted = Some(Posted { place: channel(), message: format!("{}", 100 + n) });
            let end = match &effect.kind {
                EffectKind::Act { .. } => EffectEnd::Stepped { end: Stepped::CalledOff },
                EffectKind::Survey { .. } => EffectEnd::Surveyed { machines: Err("no host".to_owned()), report: None },
                EffectKind::Page { .. } => EffectEnd::Done { posted: None },
                _ => EffectEnd::Done { posted },
            };
            if self.decide(&InputKind::Effect(EffectOutcome { effect: effect.id, end })).is_err() {
                break;
            }
        }
        self.draw();
    }

    /// Every card, as Discord gets it.
    pub fn draw(&self) {
        let input = InputId::new("draw");
        let ctx = self.ctx(&input);
        self.state.incidents.values().for_each(|one| fits(&view::card(&ctx, one)));
        self.state.team.deploys.values().for_each(|one| fits(&board::card(&ctx, one)));
        self.state.alerts.iter().for_each(|one| fits(&card::card(&ctx, one)));
    }

    /// Time passes, and what falls due is decided.
    pub fn pass(&mut self, by: TimeDelta) {
        self.now += by;
        for _ in 0..EFFECTS_MAX {
            if !self.state.is_due(self.now) || self.decide(&InputKind::Tick).is_err() {
                break;
            }
        }
        self.settle();
    }

    /// Read again from the record it is the same.
    pub fn survives_a_restart(&self) {
        let mut again = State::default();
        self.log.iter().for_each(|line| again.apply(line));
        assert!(again.kept() == self.state.kept(), "the record read again gives another state");
    }

    /// What a hook hears: decided, and everything that must hold then.
    pub fn hears(&mut self, heard: &Heard) {
        let kind = InputKind::Alerts(Box::new(heard.clone()));
        let begins = self.state.alerts.groups.len();
        if let Err(refusal) = self.decide(&kind) {
            return fits_answer(&commands::refused(&refusal));
        }
        let added = self.state.alerts.groups.len() - begins;
        assert!(added <= heard.alerts.len() + 1, "{added} groups of {} alerts", heard.alerts.len());
        assert!(self.state.alerts.firing().count() <= alerts::GROUPS_MAX + heard.alerts.len());
        assert!(self.state.alerts.iter().all(|group| group.alerts.len() <= alerts::ALERTS_MAX));
        let said: BTreeMap<&str, bool> =
            heard.alerts.iter().map(|one| (one.fingerprint.as_str(), one.firing)).collect();
        // A body that says of one alert that it fires and that it is over says something new each time.
        if heard.alerts.iter().all(|one| said.get(one.fingerprint.as_str()) == Some(&one.firing)) {
            let (again, _) = self.decide(&kind).expect("the same again is not refused");
            let told = again.facts.iter().any(|(on, _)| matches!(on, Thing::Alert(_)));
            assert!(!told, "the same again changes something: {:?}", again.facts);
        }
        self.settle();
        self.pass(TimeDelta::minutes(2));
        self.survives_a_restart();
    }
}

/// What somebody outside is answered is a sentence.
pub fn fits_sentence(says: &str) {
    let chars = says.chars().count();
    assert!(
        (8..=SENTENCE_CHARS_MAX).contains(&chars),
        "{chars} characters: {}",
        says.chars().take(200).collect::<String>()
    );
}

fn fits_effect(effect: &Effect) {
    match &effect.kind {
        EffectKind::Post { message, .. } => fits(message),
        EffectKind::Page { text, .. } => assert!(text.chars().count() < 2_000, "a page is short"),
        _ => {}
    }
}

/// An answer is one that Discord takes.
pub fn fits_answer(answer: &Answer) {
    match answer {
        Answer::Say { message, .. } | Answer::NotNow(message) | Answer::Replace(message) => fits(message),
        Answer::Open(form) => fits_form(&discord::form(form)),
        Answer::Choices(list) => {
            let list = discord::choices(list);
            let list = list["choices"].as_array().expect("a list");
            assert!(list.len() <= 25);
            list.iter().for_each(|one| {
                within(one, "/name", 1, 100);
                within(one, "/value", 1, 100);
            });
        }
        Answer::Done => {}
    }
}

/// The length of a text at a place, in UTF-16 units: what no way of counting finds more than.
fn length(value: &Value, at: &str) -> usize {
    value.pointer(at).and_then(Value::as_str).map_or(0, |text| text.encode_utf16().count())
}

fn within(value: &Value, at: &str, least: usize, most: usize) {
    let length = length(value, at);
    assert!((least..=most).contains(&length), "{at} has {length} units, {least} to {most} are taken: {value}");
}

fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A message is one that Discord takes (its documents on messages, embeds and components), and pings only whom it names.
pub fn fits(message: &Message) {
    let composed = discord::new_message(message, &directory(), Some("17-3"), Sound::WhenItPings);
    let body = &composed.body;
    within(body, "/content", 0, 2_000);
    assert!(list(body, "/embeds").len() <= 10);
    for embed in list(body, "/embeds") {
        within(embed, "/title", 0, 256);
        within(embed, "/description", 0, 4_096);
        within(embed, "/footer/text", 0, 2_048);
        let fields = list(embed, "/fields");
        assert!(fields.len() <= 25, "{} fields", fields.len());
        for field in fields {
            within(field, "/name", 1, 256);
            within(field, "/value", 1, 1_024);
        }
        let of = |field: &Value| length(field, "/name") + length(field, "/value");
        let all = length(embed, "/title") + length(embed, "/description") + length(embed, "/footer/text");
        assert!(all + fields.iter().map(of).sum::<usize>() <= 6_000, "the card is too long");
    }
    let rows = list(body, "/components");
    assert!(rows.len() <= 5, "{} rows", rows.len());
    let mut names = Vec::new();
    for row in rows {
        let controls = list(row, "/components");
        assert!((1..=5).contains(&controls.len()), "{} in a row", controls.len());
        for control in controls {
            if control["style"] != 5 {
                within(control, "/custom_id", 1, 100);
                names.push(control["custom_id"].to_string());
            }
            within(control, "/label", 0, 80);
            within(control, "/placeholder", 0, 150);
            let options = list(control, "/options");
            assert!(options.len() <= 25, "{} options", options.len());
            for option in options {
                within(option, "/label", 1, 100);
                within(option, "/value", 1, 100);
                within(option, "/description", 0, 100);
            }
        }
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "two controls have one name: {body}");
    assert!(composed.files.len() <= 10, "{} files", composed.files.len());
    let pings = list(body, "/allowed_mentions/users").len() + list(body, "/allowed_mentions/roles").len();
    assert!(list(body, "/allowed_mentions/parse").is_empty(), "nothing that was typed pings: {body}");
    assert!(pings <= message.pings.len(), "{pings} pings of {}", message.pings.len());
}

fn fits_form(form: &Value) {
    within(form, "/custom_id", 1, 100);
    within(form, "/title", 1, 45);
    let rows = list(form, "/components");
    assert!((1..=5).contains(&rows.len()), "{} inputs", rows.len());
    for row in rows {
        within(row, "/components/0/custom_id", 1, 100);
        within(row, "/components/0/label", 1, 45);
        within(row, "/components/0/placeholder", 0, 100);
        let most = row.pointer("/components/0/max_length").and_then(Value::as_u64).unwrap_or(4_000);
        within(row, "/components/0/value", 0, usize::try_from(most.min(4_000)).unwrap_or(0));
    }
}
