//! What a rule sees: the questions that it needs answered, and one value out of the answers.
//!
//! Pure. A source that does not answer is no data, with its reason; so is an answer without a value. What is remembered of logs and
//! machines is `noted`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::noted::{LOGS_EARLY, LOGS_EVERY, LOGS_OVERLAP, match_key, read_apps};
use super::{About, Looking, Rules, subjects};
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::figures::{ASKS_MAX, Ask, Figure};
use crate::domain::hosting::Lived;
use crate::domain::ids::Service;
use crate::domain::input::{Answers, Query};
use crate::domain::logs::{self, Filter, Reach};
use crate::domain::metrics::{FLY_SOURCE, Series};
use crate::domain::policy::{Bound, Life, Of, Probed, Rule};
use crate::domain::state::State;
use crate::domain::workspace::{Stage, Workspace};

/// Looks at a service in the window, below which nothing is said of it.
const LOOKS_MIN: usize = 3;
/// So much of logs is read the first time.
const LOGS_FIRST: TimeDelta = TimeDelta::minutes(5);
/// The longest span of logs that is read in one go.
const LOGS_SPAN_MAX: TimeDelta = TimeDelta::minutes(15);
/// Lines that are read of an app in one go; the newest of more.
const LOG_LINES_MAX: usize = 1_000;
/// Times that machines came up, after which they say nothing of now.
const STARTS_FOR: TimeDelta = TimeDelta::hours(24);

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

/// The question for log lines, when it is time to read some: of one app, that which was read longest ago.
fn logs(ctx: &Ctx<'_>) -> Option<Query> {
    let noted = &ctx.state.measured.rules.read;
    let looking = Looking { policy: ctx.policy, workspace: ctx.workspace };
    // A look that comes a little early is in time: it takes as long as its answers do.
    let app = noted.due(&read_apps(&looking), LOGS_EVERY - LOGS_EARLY, ctx.now)?;
    let span = noted.read_at.get(&app).map_or(LOGS_FIRST, |at| ctx.now - *at + LOGS_OVERLAP);
    // Lines are told apart by their app: two copies of a service are two.
    let of = vec![logs::Source { service: app.clone(), app, slow_ms: logs::SLOW_MS }];
    let reach = Reach::Last(span.min(LOGS_SPAN_MAX));
    Some(Query::Logs(Box::new(logs::Ask { of, filter: Filter::All, contains: None, reach, lines: LOG_LINES_MAX })))
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
        (Of::Certificate, _) => {
            let left =
                about.of.and_then(|(service, stage, _)| from.rules.certificate(&(service.clone(), stage), from.now));
            left.map_or(Sight::Nothing(None), |left| Sight::Value(left.as_seconds_f64().max(0.0)))
        }
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
        let before = || from.state.measured.watched.get(&key).and_then(crate::domain::health::Watched::last_look);
        let last = from.rules.told.get(&key).copied().or_else(before);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::{Policy, SHIPPED};
    use serde::Deserialize;

    const TEAM: &str = r#"
[team]
name = "lighthouse"
zone = "UTC"
[channels]
incidents = "incidents"
test = "test"
[[services]]
name = "shop"
production = { fly_app = "shop" }
staging = { fly_app = "shop-staging" }
"#;

    fn team(rules: &str) -> (Policy, Workspace) {
        let mut policy = Policy::parse(SHIPPED).expect("the shipped policy");
        #[derive(Deserialize)]
        struct Written {
            rules: Vec<Rule>,
        }
        policy.alerts.rules = toml::from_str::<Written>(rules).expect("rules").rules;
        (policy, toml::from_str(TEAM).expect("a team"))
    }

    fn answered(series: &[(&str, f64)]) -> Result<Vec<Series>, String> {
        let one = |(app, value): &(&str, f64)| Series {
            labels: [("app".to_owned(), (*app).to_owned())].into(),
            points: vec![(At::UNIX_EPOCH, *value)],
        };
        Ok(series.iter().map(one).collect())
    }

    /// What each rule sees of production, when every question is answered by these.
    fn seen(rules: &str, series: &[(&str, f64)]) -> Vec<Sight> {
        let (policy, workspace) = team(rules);
        let (state, rules, now) = (State::default(), Rules::default(), At::UNIX_EPOCH);
        let looking = Looking { policy: &policy, workspace: &workspace };
        let asks = asked(&looking, 0, now);
        let keys: BTreeSet<String> = asks.iter().map(|ask| ask.key.clone()).collect();
        assert_eq!(keys.len(), asks.len(), "two questions share an answer: {asks:?}");
        let figures = asks.into_iter().map(|ask| (ask.key, answered(series))).collect();
        let answers = Answers { figures, ..Answers::default() };
        let from = From { state: &state, rules: &rules, looking: &looking, asked: &keys, answers: &answers, now };
        let first = |rule: &Rule| see(rule, &subjects(&workspace, rule)[0], &from);
        policy.alerts.rules.iter().map(first).collect()
    }

    #[test]
    fn the_worst_of_several_series_is_what_the_bound_is_about() {
        let rule = |name: &str, bound: &str| {
            format!("[[rules]]\nname = \"{name}\"\nquery = \"{name}\"\nseverity = \"x\"\n{bound} = 5\n")
        };
        let both = format!("{}{}", rule("high", "above"), rule("low", "below"));
        let series = [("shop", 1.0), ("shop", 9.0), ("shop-staging", 99.0), ("shop", f64::NAN)];
        assert_eq!(seen(&both, &series), [Sight::Value(9.0), Sight::Value(1.0)]);
        assert_eq!(seen(&both, &[]), [Sight::Nothing(None), Sight::Nothing(None)]);
    }

    #[test]
    fn every_copy_of_a_service_has_its_own_answer() {
        let rule = |severity: &str, stage: &str| {
            format!(
                "[[rules]]\nname = \"slow\"\nfigure = \"latency\"\nabove = \"1s\"\nseverity = \"{severity}\"\nstages = [\"{stage}\"]\n"
            )
        };
        let both = format!("{}{}", rule("critical", "production"), rule("warning", "staging"));
        assert_eq!(seen(&both, &[("shop", 0.5), ("shop-staging", 3.0)]), [Sight::Value(0.5), Sight::Value(3.0)]);
    }

    #[test]
    fn what_is_too_much_to_ask_at_once_is_asked_in_turns() {
        let many: String = (0..50)
            .map(|n| {
                format!(
                    "[[rules]]\nname = \"r{n}\"\nquery = \"q{n}\"\nabove = 5\nseverity = \"x\"\nstages = [\"production\", \"staging\"]\n"
                )
            })
            .collect();
        let (policy, workspace) = team(&many);
        let looking = Looking { policy: &policy, workspace: &workspace };
        let mut all = BTreeSet::new();
        for turn in 0..2 {
            let asks = asked(&looking, turn, At::UNIX_EPOCH);
            assert_eq!(asks.len(), ASKS_MAX);
            all.extend(asks.into_iter().map(|ask| ask.key));
        }
        assert_eq!(all.len(), 100, "two looks ask everything");
    }
}
