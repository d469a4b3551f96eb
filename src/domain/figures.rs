//! The figures of a service: what is asked for each, what the answer says, and what that means against the policy's targets.
//!
//! Pure. Figures are measured when somebody asks and never recorded, but for a baseline. No data is no zero: nobody came, or nobody
//! measured; it is said, and it is no ✓.

pub mod baseline;
pub mod picture;
pub mod watch;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::chart::{LINES_MAX, Line, Unit};
use super::draft::Ctx;
use super::health::Mark;
use super::ids::Service;
use super::input::{Answers, Query};
use super::metrics::{FLY_SOURCE, Series, step};
use super::policy::Target;
use super::workspace::Stage;

/// Questions for figures that one decision may ask.
pub const ASKS_MAX: usize = 60;
/// Points of one line that are asked for: a week at the window of its rates, so that no peak falls between two.
const POINTS_WANTED: usize = 2_100;
/// Steps are at least this long: what is scraped each 15 s shows no more in less.
const STEP_MIN: TimeDelta = TimeDelta::seconds(60);
/// What a rate is taken over, at least.
const WINDOW_MIN: TimeDelta = TimeDelta::minutes(5);
/// A newest value older than this says nothing of now, whatever the step.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// What the host measures for every service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// How long answers take: 95 of 100 are quicker, as clients see it.
    Latency,
    /// Answers of 500 and above, of all.
    Errors,
    /// Memory in use on the fullest machine.
    Memory,
    /// Processors in use on the busiest machine.
    Cpu,
    /// Machines whose program ended with an error lately.
    Restarts,
}

impl Figure {
    /// All, in the order in which they are shown.
    pub const ALL: [Figure; 5] = [Figure::Latency, Figure::Errors, Figure::Memory, Figure::Cpu, Figure::Restarts];

    /// Its name in policy.toml.
    pub fn key(self) -> &'static str {
        match self {
            Figure::Latency => "latency",
            Figure::Errors => "errors",
            Figure::Memory => "memory",
            Figure::Cpu => "cpu",
            Figure::Restarts => "restarts",
        }
    }

    /// What its values are of.
    pub fn unit(self) -> Unit {
        match self {
            Figure::Latency => Unit::Seconds,
            Figure::Errors | Figure::Memory | Figure::Cpu => Unit::Percent,
            Figure::Restarts => Unit::Count,
        }
    }

    /// What an answer is multiplied by: the host tells shares, people read hundredths.
    pub(in crate::domain) fn scale(self) -> f64 {
        if self.unit() == Unit::Percent { 100.0 } else { 1.0 }
    }

    /// The expression for these apps; one series an app.
    pub(in crate::domain) fn promql(self, apps: &[&str], window: TimeDelta) -> String {
        let (of, w) = (selector(apps), format!("{}s", window.num_seconds()));
        let step = (window.num_seconds() / 5).clamp(1, 60);
        match self {
            Figure::Latency => format!(
                "histogram_quantile(0.95, sum by (app, le) (rate(fly_edge_http_response_time_seconds_bucket{{{of}}}[{w}])))"
            ),
            Figure::Errors => {
                let all = format!("sum by (app) (rate(fly_edge_http_responses_count{{{of}}}[{w}]))");
                let failed = format!("sum by (app) (rate(fly_edge_http_responses_count{{{of},status=~\"5..\"}}[{w}]))");
                format!("({failed} or 0 * {all}) / ({all} > 0)")
            }
            // The worst within the window, where samples would fall between two steps.
            Figure::Memory => format!(
                "max by (app) (max_over_time((1 - fly_instance_memory_mem_available{{{of}}} / fly_instance_memory_mem_total{{{of}}})[{w}:{step}s]))"
            ),
            // A counter of hundredths of a second, one a processor and mode.
            Figure::Cpu => format!(
                "max by (app) (sum by (app, instance) (rate(fly_instance_cpu{{{of},mode!~\"idle|iowait|steal\"}}[{w}])) / 100 \
                 / count by (app, instance) (count by (app, instance, cpu_id) (fly_instance_cpu{{{of}}})))"
            ),
            Figure::Restarts => format!(
                "count by (app) (max_over_time(fly_instance_exit_code{{{of}}}[900s]) > 0) or 0 * count by (app) (fly_instance_up{{{of}}})"
            ),
        }
    }
}

/// `app="a"`, `app=~"a|b"`: names are quoted, so that none can say more than its name.
pub(in crate::domain) fn selector(apps: &[&str]) -> String {
    let quoted = |app: &str, is_pattern: bool| {
        let mut out = String::new();
        for letter in app.chars().filter(|letter| !letter.is_control()) {
            if is_pattern && !letter.is_ascii_alphanumeric() && !matches!(letter, '-' | '_') {
                out.push_str("\\\\");
            }
            if matches!(letter, '"' | '\\') {
                out.push('\\');
            }
            out.push(letter);
        }
        out
    };
    match apps {
        [app] => format!("app=\"{}\"", quoted(app, false)),
        apps => {
            let all: Vec<String> = apps.iter().map(|app| quoted(app, true)).collect();
            format!("app=~\"{}\"", all.join("|"))
        }
    }
}

/// A question for the values of an expression over a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// What its answer is found by.
    pub key: String,
    /// Where it is asked.
    pub source: String,
    /// The expression.
    pub promql: String,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// How far apart the values are, in seconds.
    pub step_s: i64,
}

/// The span that figures are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// How far apart the values are.
    pub step: TimeDelta,
}

impl Over {
    /// The last `span` before now.
    pub fn last(span: TimeDelta, now: DateTime<Utc>) -> Self {
        Self { from: now - span, to: now, step: step(span, STEP_MIN, POINTS_WANTED) }
    }

    fn window(self) -> TimeDelta {
        self.step.max(WINDOW_MIN)
    }

    /// Neighbours further apart than this have a gap between them, in seconds.
    fn gap_s(self) -> i64 {
        self.step.num_seconds() * 3 / 2
    }

    fn ask(self, key: String, source: &str, promql: String) -> Query {
        let (from, to, step_s) = (self.from, self.to, self.step.num_seconds());
        Query::Figures(Ask { key, source: source.to_owned(), promql, from, to, step_s })
    }
}

/// One thing to show of a service: a figure of the host's, a target of the team's own, or one that nothing measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The host's figure; none for an expression of the team's.
    pub figure: Option<Figure>,
    /// What the policy wants of it; none when it only is shown.
    pub target: Option<&'a Target>,
}

impl Shown<'_> {
    /// What its values are of.
    pub fn unit(&self) -> Unit {
        self.figure.map(Figure::unit).or(self.target.map(Target::unit)).unwrap_or(Unit::Count)
    }
}

/// What is shown of a service, in order: the host's figures, then what else the policy wants measured.
pub fn of_service<'a>(ctx: &Ctx<'a>, service: &Service) -> Vec<Shown<'a>> {
    let targets: Vec<&Target> = ctx.policy.targets.iter().filter(|target| target.is_about(service)).collect();
    let host = Figure::ALL.into_iter().map(|figure| Shown {
        figure: Some(figure),
        target: targets.iter().find(|target| target.figure == Some(figure)).copied(),
    });
    let others = targets.iter().filter(|target| target.figure.is_none() && target.rule.is_none());
    host.chain(others.map(|target| Shown { figure: None, target: Some(target) })).collect()
}

/// One copy of a service, with its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of<'a> {
    /// The service.
    pub service: &'a Service,
    /// Which copy.
    pub stage: Stage,
    /// Its app.
    pub app: &'a str,
}

/// The production of every service that has an app.
pub fn every_production<'a>(ctx: &Ctx<'a>) -> Vec<Of<'a>> {
    let of = |spec: &'a super::workspace::ServiceSpec| {
        Some(Of { service: &spec.name, stage: Stage::Production, app: spec.production.fly_app.as_deref()? })
    };
    ctx.workspace.services.iter().filter_map(of).collect()
}

/// What must be asked for these: the host's figures of all in one question each, a team's own expression once a service.
pub fn questions(ctx: &Ctx<'_>, all: &[Of<'_>], over: Over) -> Vec<Query> {
    let host = of_host(&Figure::ALL, all, over);
    let own = all.iter().flat_map(|of| {
        let targets = ctx.policy.targets.iter().filter(|target| target.is_about(of.service));
        targets.filter_map(move |target| {
            let app: String = of.app.chars().filter(|letter| !matches!(letter, '"' | '\\')).collect();
            let promql = target.query.as_ref()?.replace("$app", &app);
            Some(over.ask(own_key(of, target), &target.source, promql))
        })
    });
    host.into_iter().chain(own).take(ASKS_MAX).collect()
}

/// Some of the host's figures of these, in one question each.
fn of_host(figures: &[Figure], all: &[Of<'_>], over: Over) -> Vec<Query> {
    let apps: Vec<&str> = all.iter().map(|of| of.app).collect();
    if apps.is_empty() {
        return Vec::new();
    }
    let ask = |figure: &Figure| over.ask(figure.key().to_owned(), FLY_SOURCE, figure.promql(&apps, over.window()));
    figures.iter().map(ask).collect()
}

fn own_key(of: &Of<'_>, target: &Target) -> String {
    format!("{}/{}", of.app, target.name)
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The values, a line each.
    pub lines: Vec<Line>,
    /// The newest value, while it says something of now.
    pub now: Option<f64>,
    /// The newest value and when it was, also one that is too old.
    pub newest: Option<(DateTime<Utc>, f64)>,
    /// The highest and when.
    pub highest: Option<(DateTime<Utc>, f64)>,
    /// What the newest value means; unknown when there is none.
    pub mark: Mark,
    /// Since when it has meant that, as far as was asked.
    pub since: Option<DateTime<Utc>>,
    /// Whether `since` is only where the answer begins.
    pub or_longer: bool,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing measures it: what to add.
    NotMeasured(String),
    /// It was not answered: a sentence.
    NotAnswered(String),
    /// It was not asked, or not answered in time.
    NotInTime,
}

/// What the answers say of one thing.
///
/// # Errors
/// Why they say nothing. No data is a reading without values, and no error.
pub fn read(shown: &Shown<'_>, of: &Of<'_>, over: Over, answers: &Answers) -> Result<Reading, Missing> {
    let key = match (shown.figure, shown.target) {
        (Some(figure), _) => figure.key().to_owned(),
        (None, Some(target)) if target.query.is_some() => own_key(of, target),
        (None, target) => {
            return Err(Missing::NotMeasured(target.map_or(String::new(), |target| target.not_measured.clone())));
        }
    };
    let told = answers.figures.get(&key).ok_or(Missing::NotInTime)?;
    let told = told.as_ref().map_err(|why| Missing::NotAnswered(why.clone()))?;
    let is_ours = |series: &&Series| series.labels.get("app").is_none_or(|app| app == of.app);
    let scale = shown.figure.map_or(1.0, Figure::scale);
    let ours: Vec<&Series> = told.iter().filter(is_ours).collect();
    let many = ours.len() > 1;
    let lines = ours.into_iter().take(LINES_MAX).map(|series| Line {
        name: if many { named(series) } else { String::new() },
        points: series.points.iter().map(|(at, value)| (*at, value * scale)).collect(),
        gap_s: over.gap_s(),
    });
    Ok(judged(lines.collect(), shown.target, over))
}

/// What tells a line from its neighbours.
fn named(series: &Series) -> String {
    let labels: Vec<&str> =
        series.labels.iter().filter(|(name, _)| *name != "app").map(|(_, value)| value.as_str()).collect();
    labels.join(" ")
}

fn judged(lines: Vec<Line>, target: Option<&Target>, over: Over) -> Reading {
    // The worst of all lines at each moment is what is judged.
    let mut worst: Vec<(DateTime<Utc>, f64)> =
        lines.iter().flat_map(|line| &line.points).filter(|(_, value)| !value.is_nan()).copied().collect();
    worst.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    worst.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = kept.1.max(later.1);
        }
        same
    });
    let judge = |value: f64| target.map_or(Mark::Ok, |target| target.judge(value));
    let newest = worst.last().copied();
    let fresh = FRESH.max(over.step * 2);
    let now = newest.filter(|(at, _)| over.to - *at <= fresh).map(|(_, value)| value);
    let highest = worst.iter().copied().reduce(|best, one| if one.1 > best.1 { one } else { best });
    let mark = now.map_or(Mark::Unknown, judge);
    let mut since = None;
    let mut or_longer = false;
    if now.is_some() {
        let mut later = newest.map(|(at, _)| at);
        for (at, value) in worst.iter().rev() {
            let is_near =
                later.is_none_or(|later| (later - *at).num_seconds() <= over.gap_s().max(fresh.num_seconds()));
            if judge(*value) != mark || !is_near {
                break;
            }
            (since, later) = (Some(*at), Some(*at));
        }
        or_longer = since.is_some_and(|since| (since - over.from) <= fresh);
    }
    Reading { lines, now, newest, highest, mark, since, or_longer }
}

#[cfg(test)]
mod tests;
