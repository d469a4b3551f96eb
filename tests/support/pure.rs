//! The pure world: the decisions alone, with a chat that is a list of messages. Milliseconds a transcript.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use watchbell::commands;
use watchbell::domain::answer::Answer;
use watchbell::domain::command_spec::{CommandSpec, OptionKind};
use watchbell::domain::deploy::board;
use watchbell::domain::draft::Ctx;
use watchbell::domain::effect::{Effect, EffectKind, Target};
use watchbell::domain::health::{HealthReport, ProbeFinding, StageHealth};
use watchbell::domain::ids::{
    AlertId, DeployId, EffectId, IncidentId, InputId, Person, Place, Posted, Role, Service, Thing,
};
use watchbell::domain::input::*;
use watchbell::domain::logs;
use watchbell::domain::logs::follow::Over;
use watchbell::domain::logs::reading::Reading;
use watchbell::domain::message::{Form, Message, Text};
use watchbell::domain::pipeline::told::Told;
use watchbell::domain::pipeline::{Ask, Known};
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::press::flat;
use watchbell::domain::schedule::first_instant;
use watchbell::domain::state::{Decided, State, follow};
use watchbell::domain::text::logs as words;
use watchbell::domain::verbs::logs::{Wanted, stop_action};
use watchbell::domain::workspace::{Stage, StageSpec, Workspace};
use watchbell::domain::{alerts, bot, jobs, rules, services, view};

use super::figures::Figures;
use super::host::{self, Character, Host, Lack};
use super::world::{
    Behaviour, CAST, CERTIFICATE_SLACK, HookTold, Plain, Step, TEAM, World, answered, block, changed_policy, hook_told,
    page_line, place_key, place_name, place_order, policy_without_rules, request, shown,
};

/// How often a probe looks, as the shipped policy has it.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(30);
/// How often releases are looked at, as configuration has it.
const RELEASES_EVERY: TimeDelta = TimeDelta::seconds(60);

/// A message that stands in the chat.
#[derive(Debug, Clone)]
struct Standing {
    posted: Posted,
    message: Message,
    author: Option<String>,
    deleted: bool,
    seen: bool,
}

/// The pure world.
pub struct Pure {
    workspace: Workspace,
    policy_text: String,
    policy: Policy,
    state: State,
    log: Vec<Decided>,
    now: DateTime<Utc>,
    chat: Vec<Standing>,
    threads: BTreeMap<IncidentId, Place>,
    answers: Vec<(String, Answer)>,
    shown_to: BTreeMap<String, Message>,
    form: BTreeMap<String, Form>,
    behaviour: BTreeMap<String, Behaviour>,
    /// Services that nobody looks at.
    unseen: BTreeSet<String>,
    /// How long the certificate is good for that a service shows.
    certificates: BTreeMap<String, TimeDelta>,
    next_look: DateTime<Utc>,
    next_releases: DateTime<Utc>,
    /// When rules were looked at last.
    rules_at: Option<DateTime<Utc>>,
    /// By how much the clock has jumped since then.
    jumped: TimeDelta,
    has_rules: bool,
    waiting: VecDeque<Effect>,
    discord_up: bool,
    inputs: u64,
    started: bool,
    observing: bool,
    pages: Vec<String>,
    host: Option<Host>,
    staging: Option<Host>,
    /// Log lines that are followed, by what asked for it.
    followed: BTreeMap<EffectId, Wanted>,
    figures: Figures,
}

impl Default for Pure {
    fn default() -> Self {
        let workspace: Workspace = toml::from_str(TEAM).expect("the team of the transcripts");
        let start = NaiveDateTime::parse_from_str("2026-11-24 03:00", "%Y-%m-%d %H:%M").expect("a time");
        let now = first_instant(workspace.team.zone, start);
        let policy_text = policy_without_rules();
        Self {
            workspace,
            policy: Policy::parse(&policy_text).expect("the shipped policy"),
            policy_text,
            state: State::default(),
            log: Vec::new(),
            now,
            chat: Vec::new(),
            threads: BTreeMap::new(),
            answers: Vec::new(),
            shown_to: BTreeMap::new(),
            form: BTreeMap::new(),
            behaviour: BTreeMap::new(),
            unseen: BTreeSet::new(),
            certificates: BTreeMap::new(),
            next_look: now + LOOK_EVERY,
            next_releases: now + RELEASES_EVERY,
            rules_at: None,
            jumped: TimeDelta::zero(),
            has_rules: false,
            waiting: VecDeque::new(),
            discord_up: true,
            inputs: 0,
            started: false,
            observing: false,
            pages: Vec::new(),
            host: None,
            staging: None,
            followed: BTreeMap::new(),
            figures: Figures::default(),
        }
    }
}

impl Pure {
    fn actor(name: &str) -> Actor {
        let cast = CAST.iter().find(|cast| cast.name == name).expect("somebody of the cast");
        Actor {
            person: Person::new(format!("discord:{name}")),
            name: name.to_owned(),
            roles: cast.roles.iter().map(|role| Role::new(*role)).collect(),
        }
    }

    fn begin(&mut self) {
        if self.started {
            return;
        }
        self.started = true;
        self.decide(InputKind::PolicyAdopted { hash: "first".to_owned() }, None);
        self.decide(InputKind::Started(Started { version: "test".to_owned(), last_seen: None }), None);
        if !self.observing {
            let call = Call {
                who: Self::actor("mia"),
                place: Place::new("discord:incidents"),
                command: "watchbell live".to_owned(),
                args: BTreeMap::new(),
                target: None,
            };
            self.decide(InputKind::Call(call), None);
        }
        self.look_at_rules();
        self.look_at_all();
        self.look_at_releases();
        self.settle();
    }

    fn look_at_releases(&mut self) {
        let told = self.host.as_ref().and_then(|host| host.inventory(self.now).ok());
        if let Some(releases) = told.and_then(|told| told.releases.ok()) {
            self.decide(InputKind::Releases(ReleasesLook { app: host::APP.to_owned(), releases }), None);
        }
        self.next_releases = self.now + RELEASES_EVERY;
    }

    fn look_at_all(&mut self) {
        for service in self.workspace.services.clone() {
            let is_watched = !service.production.probes.is_empty() || service.production.fly_app.is_some();
            if is_watched && !self.unseen.contains(service.name.as_str()) {
                self.look_at(&service.name);
            }
        }
    }

    /// Decides one input, puts it on record, does what follows.
    fn decide(&mut self, kind: InputKind, who: Option<&str>) {
        self.inputs += 1;
        let id = InputId::new(format!("input:{}", self.inputs));
        let changed = match &kind {
            InputKind::Measured(look) => services::observe(&mut self.state, look, &self.policy.health),
            _ => None,
        };
        let ctx =
            Ctx { state: &self.state, policy: &self.policy, workspace: &self.workspace, now: self.now, input: &id };
        let answers = self.answers_to(commands::needs(&ctx, &kind));
        if matches!(kind, InputKind::Rules) {
            let looking = rules::Looking { policy: &self.policy, workspace: &self.workspace };
            let jumped = std::mem::take(&mut self.jumped);
            rules::observe(&mut self.state, &looking, &answers, jumped, self.now);
        }
        let ctx =
            Ctx { state: &self.state, policy: &self.policy, workspace: &self.workspace, now: self.now, input: &id };
        let decided = commands::decide(ctx, &kind, &answers, changed.as_ref());
        let answer = match decided {
            Ok(decision) => {
                let answer = decision.answer.clone();
                if !decision.facts.is_empty() || !decision.effects.is_empty() {
                    let line = bot::line(&self.state, self.now, &id, decision);
                    self.state.apply(&line);
                    for (_, fact) in &line.facts {
                        if let watchbell::domain::fact::Fact::Withdrawn { effect, .. } = fact {
                            self.waiting.retain(|waiting| waiting.id != *effect);
                            if let Some(wanted) = self.followed.remove(effect) {
                                let place = Place::new(format!("discord:{}", words::thread_title(&wanted)));
                                let id = EffectId { seq: effect.seq, n: effect.n + 1_000 };
                                let message = words::over(Over::Stopped, 0, 0, &wanted);
                                self.chat.push(Standing {
                                    posted: Posted { place, message: id.to_string() },
                                    message,
                                    author: None,
                                    deleted: false,
                                    seen: false,
                                });
                            }
                        }
                    }
                    self.waiting.extend(line.effects.iter().cloned());
                    self.log.push(line);
                }
                answer
            }
            Err(refusal) => Some(commands::refused(&refusal)),
        };
        if let (Some(who), Some(answer)) = (who, answer) {
            self.answers.push((who.to_owned(), answer));
        }
    }

    fn answers_to(&self, queries: Vec<Query>) -> Answers {
        let mut answers = Answers::default();
        for query in queries {
            match query {
                Query::Figures(ask) => {
                    let told = self.figures.answer(&ask);
                    answers.figures.insert(ask.key, told);
                }
                Query::Life(app) => {
                    let host = self.host_of(&app);
                    let told = host.map(|host| host.life()).ok_or_else(|| "nothing is there".to_owned());
                    answers.lives.insert(app, told);
                }
                Query::Health(service) => answers.health = Some(self.report(service.as_ref())),
                Query::ClosedIncident(_) | Query::RecentIncidents(_) => answers.recent = Some(Vec::new()),
                Query::Head => answers.head = Some(RecordHead { seq: 1, hash: "0".repeat(RecordHead::DIGITS) }),
                Query::Itself => answers.itself = Some(Itself::default()),
                Query::Changes(_) => {
                    let mut all = BTreeMap::new();
                    for line in &self.log {
                        line.facts.iter().for_each(|(on, fact)| follow(&mut all, line.at, *on, fact));
                    }
                    all.retain(|id, _| !self.state.team.deploys.contains_key(id));
                    answers.changes = Some(all.into_values().rev().collect());
                }
                Query::Logs(ask) => answers.logs = Some(self.lines(&ask)),
                Query::Inventory(app) => {
                    if let Some(host) = self.host_of(&app) {
                        answers.inventories.insert(app, host.inventory(self.now));
                    }
                }
                Query::Inspect(app) => {
                    if let Some(host) = self.host_of(&app) {
                        answers.inventories.insert(app, Ok(host.inspect(self.now)));
                    }
                }
            }
        }
        answers
    }

    /// Lines, read as the shell reads them.
    fn lines(&self, ask: &logs::Ask) -> Result<logs::Found, logs::Trouble> {
        let mut parts = Vec::new();
        for source in &ask.of {
            let host = self.host_of(&source.app).ok_or(logs::Trouble::NoToken)?;
            let mut reading = Reading::new(source, ask, self.now.timestamp_nanos_opt().unwrap_or_default());
            while let Some(begin) = reading.wants().cloned() {
                reading.take(host.page(&begin)?);
            }
            parts.push(reading.end());
        }
        Ok(logs::Found::of(parts, ask))
    }

    fn host_of(&self, app: &str) -> Option<&Host> {
        if app == host::STAGING { self.staging.as_ref() } else { self.host.as_ref() }
    }

    /// A look at one service, or at all.
    fn report(&self, only: Option<&Service>) -> HealthReport {
        let services = self.workspace.services.iter().filter(|service| only.is_none_or(|only| service.name == *only));
        let stages = services.flat_map(|service| service.stages().map(move |(stage, spec)| (service, stage, spec)));
        let stages = stages.map(|(service, stage, spec)| StageHealth {
            service: service.name.clone(),
            stage,
            app: spec.fly_app.as_ref().and_then(|app| self.host_of(app)).map(Host::health),
            probes: spec.probes.iter().map(|probe| self.finding(&service.name, &probe.name)).collect(),
        });
        let auth = self.host.as_ref().map(|_| "lighthouse".to_owned()).ok_or("FLY_READ_TOKEN is not set".to_owned());
        HealthReport { at: self.now, auth, stages: stages.collect() }
    }

    /// What the probe finds, in the prober's words.
    fn finding(&self, service: &Service, probe: &str) -> ProbeFinding {
        let behaviour = self.behaviour.get(service.as_str()).copied().unwrap_or(Behaviour::Healthy);
        let (status, says) = match behaviour {
            Behaviour::Healthy | Behaviour::Slow => (Some(200), "200 in 12 ms"),
            Behaviour::Wrong => (Some(500), "answered 500 in 12 ms"),
            Behaviour::Dead => (None, "connection refused"),
        };
        ProbeFinding {
            probe: probe.to_owned(),
            ok: matches!(behaviour, Behaviour::Healthy | Behaviour::Slow),
            took_ms: status.map(|_| 12),
            status,
            says: says.to_owned(),
            slow: behaviour == Behaviour::Slow,
            very_slow: false,
            certificate_ends: status.and(self.certificates.get(service.as_str())).map(|left| self.now + *left),
            ends_in: None,
        }
    }

    fn look_at(&mut self, service: &Service) {
        let finding = self.finding(service, "health");
        let seen = if finding.ok {
            Seen::Green { took_ms: 12 }
        } else {
            Seen::Red { why: format!("{}: {}", finding.probe, finding.says) }
        };
        let certificate_ends = finding.certificate_ends;
        let look =
            Measurement { service: service.clone(), stage: Stage::Production, at: self.now, seen, certificate_ends };
        self.decide(InputKind::Measured(look), None);
    }

    /// Does effects and what falls due until nothing is left at this instant.
    fn settle(&mut self) {
        let paged = self.pages.len();
        self.settle_all();
        // At one instant nobody can tell which page came first.
        self.pages[paged..].sort();
    }

    fn settle_all(&mut self) {
        for _ in 0..10_000 {
            if let Some(at) = (0..self.waiting.len()).find(|at| self.can_be_done(&self.waiting[*at])) {
                let effect = self.waiting.remove(at).expect("it is there");
                self.perform(&effect);
                continue;
            }
            if self.state.is_due(self.now) {
                self.decide(InputKind::Tick, None);
                continue;
            }
            if let Some(name) = jobs::due(&self.state, self.now).into_iter().next() {
                self.decide(InputKind::Job { name }, None);
                continue;
            }
            return;
        }
        panic!("the bot never comes to rest");
    }

    fn can_be_done(&self, effect: &Effect) -> bool {
        match &effect.kind {
            EffectKind::Act { step, .. } => !self.host.as_ref().is_some_and(|host| host.is_held(step)),
            _ => self.discord_up || !is_chat(effect, &self.workspace),
        }
    }

    /// Log lines are followed until somebody stops it or a restart ends it: no line comes in this world.
    fn follow(&mut self, effect: &Effect, to: Place, about: &str, by: &str) {
        let (wanted, _) = Wanted::pressed(about).expect("what was to be followed");
        if self.followed.remove(&effect.id).is_some() {
            let posted = Some(self.put(to, words::broken_off(&wanted, by), None, effect.id));
            let outcome = EffectOutcome { effect: effect.id, end: EffectEnd::Done { posted } };
            return self.decide(InputKind::Effect(outcome), None);
        }
        self.put(to, words::head_of_thread(&wanted, by, stop_action(effect.id)), None, effect.id);
        self.followed.insert(effect.id, wanted);
    }

    fn perform(&mut self, effect: &Effect) {
        if let EffectKind::Follow { to, about, by } = &effect.kind {
            let to = to.clone().unwrap_or_else(|| self.place(&Target::Test));
            return self.follow(effect, to, about, by);
        }
        let end = match &effect.kind {
            EffectKind::Follow { .. } => return,
            EffectKind::Card { incident, to, pings } => {
                let mut message = self.card(*incident);
                message.pings.clone_from(pings);
                EffectEnd::Done { posted: Some(self.put(self.place(to), message, None, effect.id)) }
            }
            EffectKind::Thread { incident } => {
                let place = Place::new(format!("discord:{incident}"));
                self.threads.insert(*incident, place.clone());
                EffectEnd::Done { posted: Some(Posted { place, message: "thread".to_owned() }) }
            }
            EffectKind::Post { to, message, replaces } => {
                let place = self.place(to);
                let posted = self.put(place, message.clone(), None, effect.id);
                if let Some(old) = replaces {
                    let id = old.to_string();
                    for standing in self.chat.iter_mut().filter(|standing| standing.posted.message == id) {
                        standing.deleted = true;
                    }
                }
                EffectEnd::Done { posted: Some(posted) }
            }
            EffectKind::Page { person, via, text, .. } => {
                self.pages.push(page_line(person.local(), via, text));
                EffectEnd::Done { posted: None }
            }
            EffectKind::Board { deploy, to } => {
                let message = self.board(*deploy);
                EffectEnd::Done { posted: Some(self.put(self.place(to), message, None, effect.id)) }
            }
            EffectKind::AlertCard { alert, to, pings } => {
                let mut message = self.alert_card(*alert);
                message.pings.clone_from(pings);
                EffectEnd::Done { posted: Some(self.put(self.place(to), message, None, effect.id)) }
            }
            EffectKind::Act { app, step, .. } => {
                let host = if app == host::STAGING { &mut self.staging } else { &mut self.host };
                let end = match host {
                    Some(host) => host.step(step),
                    None => Stepped::CalledOff,
                };
                EffectEnd::Stepped { end }
            }
            EffectKind::Survey { app, service, .. } => {
                let machines = match self.host_of(app) {
                    Some(host) => host.inventory(self.now),
                    None => Err("there is no host".to_owned()),
                };
                EffectEnd::Surveyed { machines, report: Some(self.report(Some(service))) }
            }
            EffectKind::Look { services, .. } => {
                let one = match services.as_slice() {
                    [one] => Some(one),
                    _ => None,
                };
                EffectEnd::Looked { report: self.report(one) }
            }
        };
        let kept = match &end {
            EffectEnd::Stepped { end: Stepped::Done { before, .. } | Stepped::Failed { before, .. } } => before.clone(),
            _ => None,
        };
        let outcome = EffectOutcome { effect: effect.id, end };
        self.decide(InputKind::Effect(outcome), None);
        // Whatever becomes of a machine, what it was before stays on record: it is the undo.
        if let Some(kept) = kept {
            let facts = self.log.last().map(|line| format!("{:?}", line.facts)).unwrap_or_default();
            assert!(facts.contains(&kept), "{kept} is not on record: {facts}");
        }
    }

    fn place(&self, to: &Target) -> Place {
        match to {
            Target::Incidents => Place::new("discord:incidents"),
            Target::Announce => Place::new("discord:announcements"),
            Target::Test => Place::new("discord:incidents-test"),
            Target::Thread(id) => self.threads.get(id).cloned().unwrap_or_else(|| Place::new("discord:incidents")),
            Target::Direct(person) => Place::new(format!("discord:dm-{}", person.local())),
        }
    }

    fn put(&mut self, place: Place, message: Message, author: Option<String>, id: EffectId) -> Posted {
        let posted = Posted { place, message: id.to_string() };
        self.chat.push(Standing { posted: posted.clone(), message, author, deleted: false, seen: false });
        posted
    }

    fn card(&self, id: IncidentId) -> Message {
        let input = InputId::new("card");
        let Self { state, policy, workspace, now, .. } = self;
        let ctx = Ctx { state, policy, workspace, now: *now, input: &input };
        state.incidents.get(&id).map(|incident| view::card(&ctx, incident)).unwrap_or_default()
    }

    fn fly(&mut self, what: &str) -> Result<(), String> {
        if self.figures.order(what) {
            return Ok(());
        }
        let now = self.now;
        let host = self.host.as_mut().ok_or("say `with fly` first")?;
        if let Some((machine, state)) = host::sticks(what) {
            host.stick(machine, state);
            return Ok(());
        }
        if let Some((machine, is_oom)) = host::ended(what) {
            host.end(machine, is_oom, now);
            return Ok(());
        }
        if let Some((who, image)) = host::deployed_by(what) {
            host.deploy(who, image);
            return Ok(());
        }
        if let (Some((image, span)), Some(staging)) = (host::staged(what), &mut self.staging) {
            staging.deploy("carol", image);
            staging.date_newest(now - span);
            return Ok(());
        }
        if let Some(logged) = host::logged(what) {
            host.log(&logged, now);
            return Ok(());
        }
        if let Some(status) = what.strip_prefix("the newest release ends as ") {
            host.end_newest(status);
            return Ok(());
        }
        match (what, what.split_once(" is ")) {
            ("well again", _) => (host.lacks, host.forgets) = (None, false),
            ("releases stick", _) => host.forgets = true,
            ("holds", _) => host.holds = true,
            ("goes on", _) => host.holds = false,
            ("no token", _) => host.lacks = Some(Lack::Token),
            ("no logs", _) => host.lacks = Some(Lack::Logs),
            ("nobody may look", _) => host.lacks = Some(Lack::Look),
            ("empty log", _) => host.empty_log(),
            ("no room", _) => host.lacks = Some(Lack::Room),
            ("no releases", _) => host.lacks = Some(Lack::Releases),
            ("no graphql", _) => host.lacks = Some(Lack::GraphQl),
            ("no record of releases", _) => host.lacks = Some(Lack::Record),
            ("carol holds the machines", _) => host.lacks = Some(Lack::Lease),
            ("refuses", _) => host.lacks = Some(Lack::Refusal),
            ("bad gateway", _) => host.lacks = Some(Lack::Answers),
            // What its client makes good by itself, nobody hears of.
            ("too many requests" | "answers are lost" | "stumbles" | "machines are being replaced", _) => {}
            (what, _) if what.starts_with("release command ") => {
                host.release_command = what.strip_prefix("release command ").map(str::to_owned);
            }
            ("hardware fails", _) => host.hardware(false),
            ("hardware is back", _) => host.hardware(true),
            ("configuration changes", _) => host.reconfigure(),
            (_, Some((image, "built"))) => host.built(image),
            (_, Some((image, "well"))) => {
                host.characters.remove(image);
                if let Some(staging) = &mut self.staging {
                    staging.characters.remove(image);
                }
            }
            (_, Some((image, character))) => {
                let character = match character {
                    "unhealthy" => Character::Unhealthy,
                    "unhealthy at first" => Character::UnhealthyAtFirst,
                    "crashing" => Character::CrashLoop,
                    "gone" => Character::Gone,
                    "failing its release command" => Character::BadRelease,
                    "out of memory" => Character::OutOfMemory,
                    "not pullable" => Character::NotPullable,
                    "slow to start" | "slow to stop" => Character::Slow,
                    _ => return Err(format!("no image is {character}")),
                };
                host.characters.insert(image.to_owned(), character);
                if let Some(staging) = &mut self.staging {
                    staging.characters.insert(image.to_owned(), character);
                }
            }
            _ => return Err(format!("the host cannot be {what}")),
        }
        Ok(())
    }

    fn board(&self, id: DeployId) -> Message {
        let input = InputId::new("board");
        let Self { state, policy, workspace, now, .. } = self;
        let ctx = Ctx { state, policy, workspace, now: *now, input: &input };
        state.team.deploys.get(&id).map(|deploy| board::card(&ctx, deploy)).unwrap_or_default()
    }

    fn alert_card(&self, id: AlertId) -> Message {
        let input = InputId::new("alert");
        let Self { state, policy, workspace, now, .. } = self;
        let ctx = Ctx { state, policy, workspace, now: *now, input: &input };
        state.alerts.get(id).map(|group| alerts::card::card(&ctx, group)).unwrap_or_default()
    }

    /// Cards show the newest, silently.
    fn draw(&mut self) {
        let deploys = self.state.team.deploys.values();
        let boards: Vec<_> =
            deploys.filter_map(|one| one.card.clone().map(|card| (card, self.board(one.id)))).collect();
        let cards: Vec<(Posted, Message)> = self
            .state
            .incidents
            .values()
            .filter_map(|incident| incident.card.clone().map(|card| (card, self.card(incident.id))))
            .chain(boards)
            .chain(self.state.alerts.iter().filter_map(|one| Some((one.card.clone()?, self.alert_card(one.id)))))
            .collect();
        for (posted, message) in cards {
            for standing in self.chat.iter_mut().filter(|standing| standing.posted == posted) {
                let pings = std::mem::take(&mut standing.message.pings);
                standing.message = message.clone();
                standing.message.pings = pings;
            }
        }
    }

    /// What people newly see: answers first, then place by place.
    fn newly_seen(&mut self) -> Vec<String> {
        self.draw();
        let mut out = Vec::new();
        let wording = Plain { workspace: &self.workspace };
        for (who, answer) in std::mem::take(&mut self.answers) {
            match answer {
                Answer::NotNow(message) => {
                    block(&mut out, &format!("< (only {who})"), &shown(&message, &wording));
                    self.shown_to.insert(who, message);
                }
                Answer::Say { message, only_you } => {
                    let to = if only_you { format!("(only {who})") } else { format!("(to {who})") };
                    block(&mut out, &format!("< {to}"), &shown(&message, &wording));
                    self.shown_to.insert(who, message);
                }
                Answer::Open(form) => {
                    out.push(format!("< form for {who}: {}", form.title));
                    for input in &form.inputs {
                        let star = if input.required { "*" } else { "" };
                        out.push(format!("    {}{star} ({}): {}", input.name, input.label, input.value));
                    }
                    self.form.insert(who, form);
                }
                Answer::Replace(message) => {
                    block(&mut out, &format!("< (for {who}, instead)"), &shown(&message, &wording));
                    self.shown_to.insert(who, message);
                }
                Answer::Done | Answer::Choices(_) => {}
            }
        }
        let mut new: Vec<&mut Standing> =
            self.chat.iter_mut().filter(|standing| !standing.seen && standing.author.is_none()).collect();
        new.sort_by_key(|standing| place_order(standing.posted.place.local()));
        for standing in new {
            standing.seen = true;
            if standing.deleted {
                continue;
            }
            block(
                &mut out,
                &format!("< {}", place_name(standing.posted.place.local())),
                &shown(&standing.message, &wording),
            );
        }
        out.append(&mut self.pages);
        out
    }

    fn call(
        &mut self,
        who: &str,
        name: &str,
        typed: &str,
        options: &[(String, String)],
        place: Option<&str>,
    ) -> Result<(), String> {
        let spec: CommandSpec = commands::specs()
            .into_iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| format!("there is no command {name}"))?;
        let mut given: Vec<(String, String)> = options.to_vec();
        if !typed.is_empty() {
            let first = spec.options.first().ok_or("that command takes nothing")?;
            given.insert(0, (first.name.to_owned(), typed.to_owned()));
        }
        let mut args = BTreeMap::new();
        for (option, value) in given {
            let kind = &spec
                .options
                .iter()
                .find(|one| one.name == option)
                .ok_or_else(|| format!("{name} has no option {option}"))?
                .kind;
            let arg = match kind {
                OptionKind::Flag => Arg::Flag(value == "yes"),
                OptionKind::Number { .. } => Arg::Number(value.parse().map_err(|_| "no number")?),
                OptionKind::Person => Arg::Person(Person::new(format!("discord:{}", value.trim_start_matches('@')))),
                _ => Arg::Text(Text::plain(value)),
            };
            args.insert(option, arg);
        }
        let place = Place::new(format!("discord:{}", place_key(place.unwrap_or("incidents"))));
        let call = Call { who: Self::actor(who), place, command: name.to_owned(), args, target: None };
        self.decide(InputKind::Call(call), Some(who));
        Ok(())
    }

    /// As the public port does: what stands on record of it afterwards is the answer.
    fn asked_by_a_pipeline(&mut self, values: &[(String, String)]) -> Result<Told, String> {
        let (id, body) = request(values);
        let ask = Ask::read(&id, &body)?;
        let digest = ask.request.body.clone();
        self.decide(InputKind::Pipeline(Box::new(ask)), Some("pipeline"));
        let said = self.answers.pop();
        let is_it = |known: &&Known| known.id == id && known.body == digest;
        let Some(known) = self.state.team.requests.iter().find(is_it) else {
            let Some((_, Answer::Say { message, .. } | Answer::NotNow(message))) = said else {
                return Err("no answer".to_owned());
            };
            return Err(message.lines.iter().map(flat).collect::<Vec<_>>().join(" "));
        };
        let input = InputId::new("told");
        let (policy, workspace) = (&self.policy, &self.workspace);
        let ctx = Ctx { state: &self.state, policy, workspace, now: self.now, input: &input };
        self.state.team.deploys.get(&known.deploy).map(|deploy| Told::of(&ctx, deploy)).ok_or("forgotten".to_owned())
    }

    fn press(&mut self, who: &str, action: String, values: Vec<String>, on: Posted) {
        let press = Press { who: Self::actor(who), place: on.place.clone(), action, values, on };
        self.decide(InputKind::Press(press), Some(who));
    }

    /// The newest button of these words that this person can see.
    fn button(&self, who: &str, label: &str, on: Option<&str>) -> Result<(String, Posted), String> {
        let wording = Plain { workspace: &self.workspace };
        let mine = self.shown_to.get(who).and_then(|message| {
            message.buttons.iter().find(|button| button.label == label).map(|button| button.action.clone())
        });
        if let (Some(action), None) = (mine, on) {
            return Ok((action, Posted { place: Place::new("discord:incidents"), message: "ephemeral".to_owned() }));
        }
        self.chat
            .iter()
            .rev()
            .filter(|standing| !standing.deleted)
            .filter(|standing| on.is_none_or(|on| shown(&standing.message, &wording).join("\n").contains(on)))
            .find_map(|standing| {
                let button = standing.message.buttons.iter().find(|button| button.label == label)?;
                Some((button.action.clone(), standing.posted.clone()))
            })
            .ok_or_else(|| format!("no button “{label}” can be seen"))
    }

    fn crash(&mut self, away: TimeDelta) {
        // While something is open, the bot notes every few seconds that it is there.
        let is_open = self.state.open().next().is_some();
        let last_seen = self.state.latest.max(is_open.then_some(self.now));
        let mut state = State::default();
        for line in &self.log {
            state.apply(line);
        }
        assert_eq!(state.kept(), self.state.kept(), "folding the log again gives another state");
        state.measured = Default::default();
        let kept = self.state.measured.rules.kept();
        let before = self.now;
        // A clock that shows less than what is noted goes on from there.
        self.now = (self.now + away).max(if away < TimeDelta::zero() {
            state.latest.into_iter().chain(kept.looked_at()).chain(is_open.then_some(before)).max().unwrap_or(before)
        } else {
            before
        });
        // What the shell keeps beside the record.
        state.measured.rules = kept.after_restart(&self.state.alerts, self.now).into();
        self.jumped = TimeDelta::zero();
        self.state = state;
        self.waiting = self.state.pending.values().cloned().collect();
        self.decide(InputKind::Started(Started { version: "test".to_owned(), last_seen }), None);
        self.look_at_rules();
        self.look_at_all();
        self.look_at_releases();
        self.next_look = self.now + LOOK_EVERY;
    }

    /// Looks at the team's own rules, where a script has any.
    fn look_at_rules(&mut self) {
        if self.has_rules {
            self.decide(InputKind::Rules, None);
            self.rules_at = Some(self.now);
        }
    }

    /// When rules are looked at next, by the policy of now.
    fn next_rules(&self) -> Option<DateTime<Utc>> {
        let next = self.rules_at.map_or(self.now, |at| at + self.policy.alerts.rules_every.delta());
        self.has_rules.then_some(next)
    }

    /// The clock jumps, and everything that is due by it is so at once.
    fn jump(&mut self, by: TimeDelta) {
        self.now += by;
        self.jumped += by;
        self.arrive();
    }

    /// Everything that is due by now is done.
    fn arrive(&mut self) {
        self.settle();
        if self.next_rules().is_some_and(|at| at <= self.now) {
            self.look_at_rules();
        }
        if self.next_look <= self.now {
            self.look_at_all();
            self.next_look = self.now + LOOK_EVERY;
        }
        if self.next_releases <= self.now {
            self.look_at_releases();
        }
        self.settle();
    }

    fn advance(&mut self, by: TimeDelta) {
        let until = self.now + by;
        loop {
            let due = self.state.next_due();
            let rules = self.next_rules();
            let next = due.into_iter().chain(rules).chain([self.next_look, self.next_releases]).min().unwrap_or(until);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.arrive();
        }
        self.now = until;
    }

    fn change_policy(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = changed_policy(&self.policy_text, key, value)?;
        match Policy::parse(&text) {
            Ok(policy) => {
                self.policy = policy;
                self.policy_text = text;
                self.decide(InputKind::PolicyAdopted { hash: format!("after {key}") }, None);
                if self.next_rules().is_some_and(|at| at <= self.now) {
                    self.look_at_rules();
                }
                Ok(())
            }
            Err(why) => Err(format!("that policy does not hold together: {why}")),
        }
    }
}

/// An alert as Alertmanager's webhook says it, read.
fn heard(hook: &str, fires: bool, labels: &[(String, String)], now: DateTime<Utc>) -> alerts::heard::Heard {
    let HookTold { labels, group, summary, truncated, external } = hook_told(labels);
    let incoming = alerts::heard::Incoming {
        fingerprint: serde_json::to_string(&labels).unwrap_or_default(),
        firing: fires,
        name: labels.get("alertname").cloned().unwrap_or_default(),
        severity: labels.get("severity").cloned().unwrap_or_default(),
        labels,
        group: Some(group),
        summary,
        ended: (!fires).then_some(now),
        ..alerts::heard::Incoming::default()
    };
    let left_out = Some(alerts::LeftOut { alerts: truncated, at: external });
    alerts::heard::Heard { source: hook.to_owned(), alerts: vec![incoming.bounded()], left_out }.bounded()
}

/// Whether an effect needs the chat.
fn is_chat(effect: &Effect, workspace: &Workspace) -> bool {
    match &effect.kind {
        EffectKind::Look { .. } => false,
        EffectKind::Page { person, way, .. } => {
            let ways = workspace.ways(person);
            ways.get(usize::from(*way)).is_none_or(|way| *way == watchbell::domain::workspace::Way::Direct)
        }
        _ => true,
    }
}

impl World for Pure {
    fn play(&mut self, step: &Step) -> Result<Vec<String>, String> {
        match step {
            Step::Start(text) => {
                let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").map_err(|error| error.to_string())?;
                self.now = first_instant(self.workspace.team.zone, at);
                self.next_look = self.now + LOOK_EVERY;
                self.next_releases = self.now + RELEASES_EVERY;
                return Ok(Vec::new());
            }
            Step::Observing => {
                self.observing = true;
                return Ok(Vec::new());
            }
            Step::WithStaging => {
                for service in self.workspace.services.iter_mut().filter(|one| one.name.as_str() == "checkout") {
                    let fly_app = Some(host::STAGING.to_owned());
                    service.staging = Some(StageSpec { fly_app, probes: Vec::new() });
                }
                self.staging = Some(Host::staging(self.now));
                return Ok(Vec::new());
            }
            Step::WithRules => {
                self.has_rules = true;
                self.policy_text = SHIPPED.to_owned();
                self.policy = Policy::parse(SHIPPED)?;
                return Ok(Vec::new());
            }
            Step::NoProbe(name) => {
                for service in self.workspace.services.iter_mut().filter(|one| one.name.as_str() == name) {
                    service.production.probes.clear();
                }
                return Ok(Vec::new());
            }
            Step::Certificate { name, days } if !self.started => {
                for service in self.workspace.services.iter_mut().filter(|one| one.name.as_str() == name) {
                    let probes = service.production.probes.iter_mut();
                    probes.for_each(|probe| probe.url = probe.url.replace("http://", "https://"));
                }
                self.certificates.insert(name.clone(), TimeDelta::days(*days) + CERTIFICATE_SLACK);
                return Ok(Vec::new());
            }
            // What is late is said by how it behaves.
            Step::SlowAbove { .. } => return Ok(Vec::new()),
            Step::WithFly => {
                for service in self.workspace.services.iter_mut().filter(|one| one.name.as_str() == "checkout") {
                    service.production.fly_app = Some(host::APP.to_owned());
                }
                self.host = Some(Host::new(self.now));
                return Ok(Vec::new());
            }
            _ => {}
        }
        if !self.started {
            self.begin();
            self.newly_seen();
        }
        match step {
            Step::Start(_)
            | Step::Observing
            | Step::WithFly
            | Step::WithStaging
            | Step::WithRules
            | Step::NoProbe(_)
            | Step::SlowAbove { .. } => {}
            Step::Certificate { name, days } => {
                self.certificates.insert(name.clone(), TimeDelta::days(*days) + CERTIFICATE_SLACK);
            }
            Step::Looked { name, looked: true } => drop(self.unseen.remove(name)),
            Step::Looked { name, looked: false } => drop(self.unseen.insert(name.clone())),
            Step::Ahead(by) => self.jump(*by),
            Step::Command { who, command, words, options, place } => {
                self.call(who, command, words, options, place.as_deref())?;
            }
            Step::Hook { hook, fires, labels } => {
                let heard = heard(hook, *fires, labels, self.now);
                self.decide(InputKind::Alerts(Box::new(heard)), None);
            }
            Step::Pipeline(values) => {
                let answer = self.asked_by_a_pipeline(values);
                self.settle();
                let mut out = Vec::new();
                answered(&mut out, &answer);
                out.append(&mut self.newly_seen());
                return Ok(out);
            }
            Step::Write { who, text, place } => {
                let place = place_key(place.as_deref().unwrap_or("incidents")).to_owned();
                let id = EffectId { seq: 1_000_000 + self.inputs, n: 0 };
                let place = Place::new(format!("discord:{place}"));
                self.put(place, Message::line(text.as_str()), Some(who.clone()), id);
                self.inputs += 1;
            }
            Step::Click { who, label, on } => {
                let (action, on) = self.button(who, label, on.as_deref())?;
                self.press(who, action, Vec::new(), on);
            }
            Step::Race { who, label } => {
                let (action, on) = self.button("", label, None)?;
                for who in who {
                    self.press(who, action.clone(), Vec::new(), on.clone());
                }
            }
            Step::Choose { who, label, menu } => {
                let mine = self.shown_to.get(who).and_then(|message| message.menu.clone());
                let standing = self.chat.iter().rev().filter(|one| !one.deleted);
                let posted = standing
                    .filter_map(|one| one.message.menu.clone().map(|found| (found, one.posted.clone())))
                    .find(|(found, _)| found.placeholder == *menu);
                let ephemeral = Posted { place: Place::new("discord:incidents"), message: "ephemeral".to_owned() };
                let (found, on) = mine
                    .filter(|found| found.placeholder == *menu)
                    .map(|found| (found, ephemeral))
                    .or(posted)
                    .ok_or_else(|| format!("no menu “{menu}” can be seen"))?;
                let choice = found
                    .choices
                    .iter()
                    .find(|choice| choice.label == *label)
                    .ok_or_else(|| format!("“{label}” is not in that menu"))?;
                let value = choice.value.clone();
                self.press(who, found.action, vec![value], on);
            }
            Step::OnMessage { who, command, text } => {
                let wording = Plain { workspace: &self.workspace };
                let target = self
                    .chat
                    .iter()
                    .rev()
                    .find(|one| !one.deleted && shown(&one.message, &wording).join("\n").contains(text.as_str()))
                    .ok_or("no such message can be seen")?;
                let author = target.author.clone().unwrap_or_else(|| "watchbell".to_owned());
                let target = TargetMessage {
                    posted: target.posted.clone(),
                    author: Person::new(format!("discord:{author}")),
                    author_name: author,
                    at: self.now,
                    text: target.message.lines.first().cloned().unwrap_or_default(),
                    images: Vec::new(),
                    link: "link".to_owned(),
                };
                let place = target.posted.place.clone();
                let (args, command) = (BTreeMap::new(), command.clone());
                let call = Call { who: Self::actor(who), place, command, args, target: Some(target) };
                self.decide(InputKind::Call(call), Some(who));
            }
            Step::Fill { who, values } => {
                let form = self.form.remove(who).ok_or("no form is open for them")?;
                let mut filled: BTreeMap<String, Text> = BTreeMap::new();
                for input in &form.inputs {
                    let typed = values.iter().find(|(name, _)| *name == input.name).map(|(_, value)| value.clone());
                    filled.insert(input.name.clone(), Text::plain(typed.unwrap_or_else(|| input.value.clone())));
                }
                let place = Place::new("discord:incidents");
                let filled = Filled { who: Self::actor(who), place, action: form.action, values: filled };
                self.decide(InputKind::Filled(filled), Some(who));
            }
            Step::Advance(by) => self.advance(*by),
            Step::Crash(away) => self.crash(*away),
            Step::Service { name, behaviour } => {
                self.behaviour.insert(name.clone(), *behaviour);
            }
            // A thread that sleeps wakes by itself at the next word in it.
            Step::Archived { .. } => {}
            Step::Discord(up) => self.discord_up = *up,
            Step::Deleted { what, incident } => {
                let id = IncidentId(*incident);
                let held = self.state.incidents.get(&id).ok_or("no such incident")?;
                let gone = match what.as_str() {
                    "card" => Gone::Message(held.card.clone().ok_or("it has no card")?),
                    "thread" => Gone::Place(held.thread.clone().ok_or("it has no thread")?),
                    _ => return Err(format!("what is “{what}”?")),
                };
                for standing in &mut self.chat {
                    let hit = match &gone {
                        Gone::Message(posted) => standing.posted == *posted,
                        Gone::Place(place) => standing.posted.place == *place,
                    };
                    standing.deleted |= hit;
                }
                if let Gone::Place(_) = gone {
                    self.threads.remove(&id);
                }
                self.decide(InputKind::Gone(gone), None);
            }
            Step::Policy { key, value } => self.change_policy(key, value)?,
            Step::Fly(what) => self.fly(what)?,
            Step::Look(place) => {
                self.settle();
                self.draw();
                let wording = Plain { workspace: &self.workspace };
                let place = place_key(place);
                let mut out = Vec::new();
                for one in self.chat.iter().filter(|one| !one.deleted && one.posted.place.local() == place) {
                    let head = one.author.as_deref().map_or("<".to_owned(), |author| format!("< {author}"));
                    block(&mut out, &head, &shown(&one.message, &wording));
                }
                return Ok(out);
            }
        }
        self.settle();
        let _ = Thing::Team;
        Ok(self.newly_seen())
    }
}
