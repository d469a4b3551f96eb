//! What a rule sees: the questions that it needs answered, and one value out of the answers.
//!
//! Pure. A source that does not answer is no data, with its reason; so is an answer without a value. Log lines are read once: what
//! was seen of them is remembered until it is too old to count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{About, Looking, Rules, subjects};
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::figures::{ASKS_MAX, Ask, Figure};
use crate::domain::hosting::Lived;
use crate::domain::ids::Service;
use crate::domain::input::{Answers, Query};
use crate::domain::logs::filter::woke_in_ms;
use crate::domain::logs::{self, Filter, Reach};
use crate::domain::metrics::{FLY_SOURCE, Series};
use crate::domain::policy::{Bound, ENDS_FOR, Life, Of, Probed, Rule, STARTS_MAX};
use crate::domain::state::State;
use crate::domain::workspace::{Stage, Workspace};

/// Looks at a service in the window, below which nothing is said of it.
const LOOKS_MIN: usize = 3;
/// Logs are read so often.
const LOGS_EVERY: TimeDelta = TimeDelta::seconds(60);
/// A look may come so much early.
const LOGS_EARLY: TimeDelta = TimeDelta::seconds(10);
/// What is read of logs overlaps what was read before by so much: lines arrive late.
const LOGS_OVERLAP: TimeDelta = TimeDelta::seconds(30);
/// So much of logs is read the first time.
const LOGS_FIRST: TimeDelta = TimeDelta::minutes(5);
/// The longest span of logs that is read in one go.
const LOGS_SPAN_MAX: TimeDelta = TimeDelta::minutes(15);
/// Lines that are read of an app in one go; the newest of more.
const LOG_LINES_MAX: usize = 1_000;
/// Lines with a rule's words that are remembered.
const MATCHES_MAX: usize = 1_000;
/// Ends of machines' programs that are remembered of an app; for how long, policy says.
const EXITS_MAX: usize = 200;
/// Times that machines came up, after which they say nothing of now.
const STARTS_FOR: TimeDelta = TimeDelta::hours(24);
/// States that a machine passes through and does not stay in: Fly's document on machine states.
const ON_ITS_WAY: [&str; 8] =
    ["creating", "starting", "stopping", "restarting", "suspending", "destroying", "updating", "replacing"];

/// What a rule sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// A value, in base units.
    Value(f64),
    /// Nothing, and why where that was said.
    Nothing(Option<String>),
    /// It was not asked for this time: there is more to ask than one look may.
    NotAsked,
}

/// What was read in logs, and of what happened to machines, and still counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    /// When an app's log was read last.
    read_at: BTreeMap<String, At>,
    /// The newest line of an app that was read, in nanoseconds by the host's clock.
    until_ns: BTreeMap<String, i64>,
    /// When an app's machines came up, and how long each took, in seconds; in the order in which they were read.
    starts: BTreeMap<String, VecDeque<(Counted, f64)>>,
    /// Lines with a rule's words, by app and words.
    matches: BTreeMap<String, VecDeque<Counted>>,
    /// How machines' programs ended, by app, machine and the host's moment of it. The host forgets them sooner than rules do.
    #[serde(default)]
    exits: BTreeMap<String, Vec<Ended>>,
    /// Machines between two states, by app: which state, and since when they are in it.
    #[serde(default)]
    moving: BTreeMap<String, BTreeMap<String, (String, At)>>,
    /// Apps whose logs could not be read the last time, and why.
    #[serde(skip)]
    silent: BTreeMap<String, String>,
}

/// A line that counts, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counted {
    /// By promise time, as it was when it was read first.
    at: At,
    at_ns: i64,
    id: String,
}

/// How a machine's program ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ended {
    machine: String,
    at_ms: i64,
    /// By promise time, as it was when it was told first.
    at: At,
    /// Whether it was killed for want of memory; it crashed otherwise.
    is_oom: bool,
}

/// Everything that a value may be read from.
pub(super) struct From<'a> {
    /// The state, for looks and releases.
    pub state: &'a State,
    /// What rules remember.
    pub rules: &'a Rules,
    /// Policy and team.
    pub looking: &'a Looking<'a>,
    /// The questions for figures that were asked.
    pub asked: &'a BTreeSet<String>,
    /// What was answered.
    pub answers: &'a Answers,
    /// Now.
    pub now: At,
}

/// What must be asked before the rules can be looked at.
pub fn needs(ctx: &Ctx<'_>) -> Vec<Query> {
    let looking = Looking { policy: ctx.policy, workspace: ctx.workspace };
    let of_machines = ctx.policy.alerts.rules.iter().filter(|rule| matches!(rule.of, Of::Machines(_)));
    let mut lives: Vec<&str> = of_machines
        .flat_map(|rule| subjects(ctx.workspace, rule))
        .filter_map(|about| about.of.and_then(|(.., app)| app))
        .collect();
    lives.sort_unstable();
    lives.dedup();
    let figures = asked(&looking, ctx.state.measured.rules.turn, ctx.now).into_iter().map(Query::Figures);
    figures.chain(lives.into_iter().map(|app| Query::Life(app.to_owned()))).chain(logs(ctx)).collect()
}

/// The questions for figures of one look. Where there are more than it may ask they take turns.
pub(super) fn asked(looking: &Looking<'_>, turn: usize, now: At) -> Vec<Ask> {
    let mut figures: Vec<Ask> = Vec::new();
    for rule in &looking.policy.alerts.rules {
        let apps: Vec<&str> =
            subjects(looking.workspace, rule).iter().filter_map(|about| about.of.and_then(|(.., app)| app)).collect();
        match &rule.of {
            _ if apps.is_empty() => {}
            Of::Figure { figure, at_least } => {
                let promql = figure.alone(&apps, rule.over.delta(), *at_least);
                figures.push(ask(now, figure_key(rule, looking.workspace), FLY_SOURCE, promql));
            }
            Of::Query { source, promql } => figures.extend(apps.iter().map(|app| {
                let name: String = app.chars().filter(|letter| !matches!(letter, '"' | '\\')).collect();
                ask(now, query_key(rule, app), source, promql.replace("$app", &name))
            })),
            _ => {}
        }
    }
    // Rules that differ in their bound alone ask one question.
    figures.sort();
    figures.dedup();
    if figures.len() > ASKS_MAX {
        let from = turn.wrapping_mul(ASKS_MAX) % figures.len();
        figures.rotate_left(from);
        figures.truncate(ASKS_MAX);
    }
    figures
}

fn ask(now: At, key: String, source: &str, promql: String) -> Ask {
    // One moment: from and to are the same.
    Ask { key, source: source.to_owned(), promql, from: now, to: now, step_s: 60 }
}

/// Rules about the same figure over the same window share their answer.
fn figure_key(rule: &Rule, workspace: &Workspace) -> String {
    let Of::Figure { figure, at_least } = &rule.of else { return String::new() };
    let apps: Vec<&str> = subjects(workspace, rule).iter().filter_map(|about| about.of?.2).collect();
    format!("rule {} {}s {at_least} {}", figure.key(), rule.over.delta().num_seconds(), apps.join(" "))
}

fn query_key(rule: &Rule, app: &str) -> String {
    format!("rule {} {app}", rule.key())
}

/// The apps whose logs some rule reads.
fn read_apps(looking: &Looking<'_>) -> Vec<String> {
    let reads = |rule: &&Rule| matches!(rule.of, Of::Starts { .. } | Of::Log { .. });
    let rules = looking.policy.alerts.rules.iter().filter(reads);
    let apps = rules.flat_map(|rule| subjects(looking.workspace, rule));
    let apps = apps.filter_map(|about| about.of?.2.map(str::to_owned));
    let mut apps: Vec<_> = apps.collect();
    apps.sort();
    apps.dedup();
    apps
}

/// The question for log lines, when it is time to read some: of one app, that which was read longest ago.
fn logs(ctx: &Ctx<'_>) -> Option<Query> {
    let noted = &ctx.state.measured.rules.read;
    let looking = Looking { policy: ctx.policy, workspace: ctx.workspace };
    // A look that comes a little early is in time: it takes as long as its answers do.
    let apps = noted.due(&read_apps(&looking), LOGS_EVERY - LOGS_EARLY, ctx.now);
    let read_at = |app: &String| noted.read_at.get(app).copied();
    let span = { apps.iter() }.map(|app| read_at(app).map_or(LOGS_FIRST, |at| ctx.now - at + LOGS_OVERLAP)).max()?;
    // Lines are told apart by their app: two copies of a service are two.
    let source = |app: String| logs::Source { service: app.clone(), app, slow_ms: logs::SLOW_MS };
    let of = apps.into_iter().map(source).collect();
    let reach = Reach::Last(span.min(LOGS_SPAN_MAX));
    Some(Query::Logs(Box::new(logs::Ask { of, filter: Filter::All, contains: None, reach, lines: LOG_LINES_MAX })))
}

impl Noted {
    /// Takes in what was read.
    pub(super) fn take(&mut self, looking: &Looking<'_>, answers: &Answers, now: At) {
        for (app, told) in &answers.lives {
            if let Ok(machines) = told {
                self.take_exits(app, machines, now);
            }
        }
        self.exits.retain(|_, exits| {
            exits.retain(|exit| now - exit.at <= ENDS_FOR.delta());
            !exits.is_empty()
        });
        self.take_lines(looking, answers, now);
    }

    /// The app whose log was not read for the longest, when that is so long. One a look: what a chatty one writes must not take the room
    /// of another.
    fn due(&self, apps: &[String], every: TimeDelta, now: At) -> Vec<String> {
        let read_at = |app: &String| self.read_at.get(app).copied();
        let is_due = |app: &&String| read_at(app).is_none_or(|at| now - at >= every);
        let mut due: Vec<String> = apps.iter().filter(is_due).cloned().collect();
        due.sort_by_key(read_at);
        due.truncate(1);
        due
    }

    fn take_exits(&mut self, app: &str, machines: &[Lived], now: At) {
        let mut before = self.moving.remove(app).unwrap_or_default();
        let moves = machines.iter().filter(|machine| ON_ITS_WAY.contains(&machine.state.as_str()));
        let since = |machine: &Lived| match before.remove(&machine.id) {
            Some((state, since)) if state == machine.state => since,
            _ => now,
        };
        let mut since = since;
        let moving: BTreeMap<_, _> =
            moves.map(|machine| (machine.id.clone(), (machine.state.clone(), since(machine)))).collect();
        if !moving.is_empty() {
            self.moving.insert(app.to_owned(), moving);
        }
        let known = self.exits.entry(app.to_owned()).or_default();
        for (machine, exit) in machines.iter().flat_map(|machine| machine.exits.iter().map(move |exit| (machine, exit)))
        {
            let is_known = known.iter().any(|one| one.machine == machine.id && one.at_ms == exit.at_ms);
            if is_known || exit.requested || (exit.code == 0 && !exit.oom_killed) || now - exit.at > ENDS_FOR.delta() {
                continue;
            }
            known.push(Ended {
                machine: machine.id.clone(),
                at_ms: exit.at_ms,
                at: exit.at.min(now),
                is_oom: exit.oom_killed,
            });
        }
        known.drain(..known.len().saturating_sub(EXITS_MAX));
    }

    fn take_lines(&mut self, looking: &Looking<'_>, answers: &Answers, now: At) {
        let Some(told) = &answers.logs else { return };
        let apps = read_apps(looking);
        let found = match told {
            Ok(found) => found,
            Err(trouble) => {
                let why = match trouble {
                    logs::Trouble::NoToken => "there is no token to read logs with".to_owned(),
                    logs::Trouble::Silent(says) => says.clone(),
                };
                self.silent = apps.into_iter().map(|app| (app, why.clone())).collect();
                return;
            }
        };
        // What could not be read is read from where it was. Which were asked is not told: those that have been due for as long as an
        // answer may take surely were.
        for app in self.due(&apps, LOGS_EVERY, now) {
            match found.silent.iter().find(|(one, _)| *one == app) {
                Some((_, why)) => drop(self.silent.insert(app, why.clone())),
                None => {
                    self.silent.remove(&app);
                    self.read_at.insert(app, now);
                }
            }
        }
        let patterns: Vec<&str> = { looking.policy.alerts.rules.iter() }
            .filter_map(|rule| if let Of::Log { contains } = &rule.of { Some(contains.as_str()) } else { None })
            .collect();
        let mut until: BTreeMap<String, i64> = BTreeMap::new();
        for line in &found.lines {
            let app = &line.service;
            // Lines arrive late: of those that may have been read before, what counted is known by itself.
            let overlap_ns = LOGS_OVERLAP.num_nanoseconds().unwrap_or_default();
            if self.until_ns.get(app).is_some_and(|until| line.at_ns < until.saturating_sub(overlap_ns)) {
                continue;
            }
            let newest = until.entry(app.clone()).or_default();
            *newest = line.at_ns.max(*newest);
            let at = found.shown_at(line.at_ns).min(now);
            let is_it = |one: &Counted| one.at_ns == line.at_ns && one.id == line.id;
            let counted = || Counted { at, at_ns: line.at_ns, id: line.id.clone() };
            if let Some(took_ms) = woke_in_ms(&line.message) {
                let starts = self.starts.entry(app.clone()).or_default();
                if !starts.iter().any(|(one, _)| is_it(one)) {
                    starts.push_back((counted(), took_ms / 1_000.0));
                }
                while starts.len() > usize::from(STARTS_MAX) {
                    starts.pop_front();
                }
            }
            let text = line.message.to_lowercase();
            for words in patterns.iter().filter(|words| text.contains(**words)) {
                let matches = self.matches.entry(match_key(words, app)).or_default();
                if !matches.iter().any(is_it) {
                    matches.push_back(counted());
                }
                while matches.len() > MATCHES_MAX {
                    matches.pop_front();
                }
            }
        }
        for (app, newest) in until {
            let known = self.until_ns.entry(app).or_default();
            *known = newest.max(*known);
        }
        self.until_ns.retain(|app, _| apps.contains(app));
        self.read_at.retain(|app, _| apps.contains(app));
        self.starts.retain(|app, _| apps.contains(app));
        let is_read = |key: &str| patterns.iter().any(|words| apps.iter().any(|app| key == match_key(words, app)));
        self.matches.retain(|key, _| is_read(key));
    }

    /// Kills for want of memory since then.
    pub(super) fn kills(&self, app: &str, since: At) -> usize {
        self.exits.get(app).map_or(0, |exits| exits.iter().filter(|exit| exit.is_oom && exit.at > since).count())
    }

    /// The same after a restart.
    pub(super) fn after_restart(&mut self, now: At) {
        self.read_at.retain(|_, at| *at <= now);
        self.exits.values_mut().for_each(|exits| exits.retain(|exit| exit.at <= now));
    }
}

fn match_key(words: &str, app: &str) -> String {
    format!("{app} {words}")
}

/// One value for one rule about one thing.
pub(super) fn see(rule: &Rule, about: &About<'_>, from: &From<'_>) -> Sight {
    let app = about.of.and_then(|(.., app)| app);
    let no_app = || Sight::Nothing(Some("it has no app at the host".to_owned()));
    match (&rule.of, app) {
        (Of::Figure { figure, .. }, Some(app)) => {
            figure_of(from, rule, &figure_key(rule, from.looking.workspace), app, figure.scale())
        }
        (Of::Query { .. }, Some(app)) => figure_of(from, rule, &query_key(rule, app), app, 1.0),
        (Of::Machines(life), Some(app)) => machines(*life, rule, app, from),
        (Of::Starts { times, last }, Some(app)) => starts(from, app, usize::from(*times), usize::from(*last)),
        (Of::Log { contains }, Some(app)) => {
            let log = &from.rules.read;
            let matches = log.matches.get(&match_key(contains, app));
            let since = from.now - rule.over.delta();
            let within = matches.map_or(0, |matches| matches.iter().filter(|one| one.at > since).count());
            log_or_silence(from, app, || Sight::Value(count(within)))
        }
        (Of::Release, Some(app)) => match from.state.team.releases.get(app).and_then(|ledger| ledger.newest()) {
            // One of ours is told on its own card.
            Some(newest) => Sight::Value(count(usize::from(newest.ours.is_none() && newest.status == "failed"))),
            None => Sight::Nothing(None),
        },
        (Of::Probe(probed), _) => probe(*probed, rule, about, from),
        (Of::Answers { source }, _) => answers(rule, source, from),
        (_, None) => no_app(),
    }
}

/// The worst of the series that an app has.
fn figure_of(from: &From<'_>, rule: &Rule, key: &str, app: &str, scale: f64) -> Sight {
    if !from.asked.contains(key) {
        return Sight::NotAsked;
    }
    let told = match from.answers.figures.get(key) {
        None => return Sight::Nothing(Some("it was not answered in time".to_owned())),
        Some(Err(why)) => return Sight::Nothing(Some(why.clone())),
        Some(Ok(told)) => told,
    };
    let is_ours = |series: &&Series| series.labels.get("app").is_none_or(|one| one == app);
    let newest = told.iter().filter(is_ours).filter_map(|series| series.points.last()).map(|(_, value)| value * scale);
    let worst = if matches!(rule.bound, Bound::Above(_)) { f64::max } else { f64::min };
    newest.filter(|value| !value.is_nan()).reduce(worst).map_or(Sight::Nothing(None), Sight::Value)
}

fn machines(life: Life, rule: &Rule, app: &str, from: &From<'_>) -> Sight {
    let machines = match from.answers.lives.get(app) {
        None => return Sight::Nothing(Some("the host did not answer in time".to_owned())),
        Some(Err(why)) => return Sight::Nothing(Some(why.clone())),
        Some(Ok(machines)) => machines,
    };
    let since = from.now - rule.over.delta();
    let exits = || from.rules.read.exits.get(app).into_iter().flatten().filter(|exit| exit.at > since);
    let of = |is: fn(&&Lived) -> bool| machines.iter().filter(is).count();
    Sight::Value(count(match life {
        Life::Oom => exits().filter(|exit| exit.is_oom).count(),
        Life::Crashes => exits().filter(|exit| !exit.is_oom).count(),
        Life::Host => of(|machine| !machine.host_ok),
        Life::Stuck => {
            let moving = from.rules.read.moving.get(app).into_iter().flat_map(BTreeMap::values);
            moving.filter(|(_, at)| *at <= since).count()
        }
    }))
}

fn starts(from: &From<'_>, app: &str, times: usize, last: usize) -> Sight {
    let Some(known) = from.rules.read.starts.get(app) else {
        return log_or_silence(from, app, || Sight::Nothing(None));
    };
    let young = known.iter().rev().take(last).filter(|(one, _)| from.now - one.at <= STARTS_FOR);
    let mut took: Vec<f64> = young.map(|(_, took_s)| *took_s).collect();
    took.sort_by(|a, b| b.total_cmp(a));
    // Those that are too old to count were judged when they were young: nothing has been slow since.
    let is_known = known.len() >= times;
    let slowest = took.get(times.saturating_sub(1)).copied().or(is_known.then_some(0.0));
    log_or_silence(from, app, || slowest.map_or(Sight::Nothing(None), Sight::Value))
}

/// What the log says, where it could be read.
fn log_or_silence(from: &From<'_>, app: &str, says: impl FnOnce() -> Sight) -> Sight {
    match from.rules.read.silent.get(app) {
        Some(why) => Sight::Nothing(Some(why.clone())),
        None if !from.rules.read.read_at.contains_key(app) => Sight::Nothing(None),
        None => says(),
    }
}

fn probe(probed: Probed, rule: &Rule, about: &About<'_>, from: &From<'_>) -> Sight {
    let Some((service, stage, _)) = about.of else { return Sight::Nothing(None) };
    let key = (service.clone(), stage);
    if probed == Probed::Silence {
        let last = from.state.measured.watched.get(&key).and_then(crate::domain::health::Watched::last_look);
        // One that has not looked at all since the start counts from there.
        let last = last.or(from.rules.began.filter(|_| has_probes(from.looking.workspace, service, stage)));
        return last.map_or(Sight::Nothing(None), |last| Sight::Value((from.now - last).as_seconds_f64().max(0.0)));
    }
    let since = from.now - rule.over.delta();
    let looks = from.rules.looks.get(&key).into_iter().flatten().filter(|(at, _)| *at > since);
    let looks: Vec<Option<u32>> = looks.map(|(_, took_ms)| *took_ms).collect();
    if looks.len() < LOOKS_MIN {
        return Sight::Nothing(None);
    }
    if probed == Probed::Failures {
        let failed = looks.iter().filter(|took| took.is_none()).count();
        return Sight::Value(100.0 * count(failed) / count(looks.len()));
    }
    let mut took: Vec<u32> = looks.into_iter().flatten().collect();
    took.sort_unstable();
    // The nearest rank: 95 of 100 are as quick or quicker.
    let rank = (took.len() * 95).div_ceil(100).max(1) - 1;
    took.get(rank).map_or(Sight::Nothing(None), |took_ms| Sight::Value(f64::from(*took_ms) / 1_000.0))
}

fn has_probes(workspace: &Workspace, service: &Service, stage: Stage) -> bool {
    let spec = workspace.services.iter().find(|spec| spec.name == *service);
    spec.into_iter().flat_map(|spec| spec.stages()).any(|(one, spec)| one == stage && !spec.probes.is_empty())
}

/// How long a source has answered nothing that rules asked it. One that never did since the start is a set-up to be mended and
/// no incident: `watchbell doctor` says so.
fn answers(rule: &Rule, source: &str, from: &From<'_>) -> Sight {
    let of_source = |other: &&Rule| match &other.of {
        Of::Figure { .. } => source == FLY_SOURCE,
        Of::Query { source: asked, .. } => asked == source,
        _ => false,
    };
    let keys = { from.looking.policy.alerts.rules.iter().filter(of_source) }.flat_map(|other| {
        subjects(from.looking.workspace, other).into_iter().filter_map(|about| {
            let (.., app) = about.of?;
            Some(if matches!(other.of, Of::Figure { .. }) {
                figure_key(other, from.looking.workspace)
            } else {
                query_key(other, app?)
            })
        })
    });
    let mut told = keys.filter_map(|key| from.answers.figures.get(&key)).peekable();
    if told.peek().is_some() && told.any(Result::is_ok) {
        return Sight::Value(0.0);
    }
    let known = from.rules.of(rule, &About { of: None }).and_then(|one| Some((one.known_at?, one.value?)));
    match known {
        // What was seen last, and what has passed since.
        Some((at, value)) => Sight::Value(value + (from.now - at).as_seconds_f64()),
        None => Sight::Nothing(None),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn count(of: usize) -> f64 {
    of as f64
}

impl Figure {
    /// The expression for these apps at one moment. Of fewer than `at_least` requests in the window nothing is said, but that not one
    /// of them failed.
    fn alone(self, apps: &[&str], window: TimeDelta, at_least: u32) -> String {
        let value = self.promql(apps, window);
        if at_least == 0 {
            return value;
        }
        let (of, w) = (crate::domain::figures::selector(apps), window.num_seconds());
        let all = format!("sum by (app) (increase(fly_edge_http_responses_count{{{of}}}[{w}s]))");
        format!("(({value}) and ({all} >= {at_least})) or (({value}) == 0)")
    }
}
