//! Rules of the team's own: what is watched, from where on that is too much, how long it must last, and what follows.
//!
//! Reading and refusing only. What a rule sees and when it fires is `domain/rules`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{Amount, SHIPPED, Severity, Span};
use crate::domain::chart::Unit;
use crate::domain::figures::Figure;
use crate::domain::ids::Service;
use crate::domain::workspace::Stage;

/// Rules of a policy.
pub const RULES_MAX: usize = 60;
/// The longest expression, in bytes.
const QUERY_BYTES_MAX: usize = 4_000;
/// Characters of a name, and of words that are looked for in logs.
const NAME_CHARS_MAX: usize = 60;
/// Characters of a summary.
const SUMMARY_CHARS_MAX: usize = 300;
/// Times that a machine came up, of which a rule looks at so many at most.
pub const STARTS_MAX: u8 = 20;
/// How long looks are kept for rules, and what happened to machines and stood in logs.
pub const LOOKS_FOR: Span = Span::minutes(120);
/// See `LOOKS_FOR`.
pub const ENDS_FOR: Span = Span::minutes(24 * 60);
/// What stands for something in a summary.
const WORDS: [&str; 5] = ["service", "value", "bound", "for", "over"];

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// What the host measures of every app, where there were so many requests.
    Figure {
        /// Which.
        figure: Figure,
        /// With fewer requests in the window it says nothing bad.
        at_least: u32,
    },
    /// An expression in PromQL, where `$app` stands for the app.
    Query {
        /// Where it is asked: `fly`, or a name of `[[metrics]]`.
        source: String,
        /// The expression.
        promql: String,
    },
    /// The bot's own looks at the service.
    Probe(Probed),
    /// What the host says happened to the machines.
    Machines(Life),
    /// How long machines took to come up, by the host's log: the `times`-slowest of the `last`.
    Starts {
        /// So many of them …
        times: u8,
        /// … of the last.
        last: u8,
    },
    /// Log lines with these words.
    Log {
        /// The words, in lower case.
        contains: String,
    },
    /// The newest release went wrong.
    Release,
    /// How long the certificate is good for that answers to the bot's own looks come with.
    Certificate,
    /// How long a source of figures has not answered. About no service.
    Answers {
        /// `fly`, or a name of `[[metrics]]`.
        source: String,
    },
}

/// What a rule looks at of the bot's own looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    /// 95 of 100 answers in the window were quicker.
    Latency,
    /// Looks that failed, of all in the window.
    Failures,
    /// How long nothing was found out.
    Silence,
}

/// What a rule looks at of the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Times in the window that one was killed for want of memory.
    Oom,
    /// Times in the window that a program ended badly by itself.
    Crashes,
    /// Machines whose hardware does not answer.
    Host,
    /// Machines that have been on their way from one state to another.
    Stuck,
}

/// From where on it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// More than that.
    Above(Amount),
    /// Less than that.
    Below(Amount),
}

impl Bound {
    /// Whether a value is beyond it.
    pub fn is_crossed(self, value: f64) -> bool {
        match self {
            Self::Above(amount) => value > amount.value,
            Self::Below(amount) => value < amount.value,
        }
    }

    /// How much, of what.
    pub fn amount(self) -> Amount {
        match self {
            Self::Above(amount) | Self::Below(amount) => amount,
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The alert's name. Rules of one name and another severity share a card, and the worst is what it says.
    pub name: String,
    /// What it looks at.
    pub of: Of,
    /// Over what time that is counted.
    pub over: Span,
    /// From where on it is too much.
    pub bound: Bound,
    /// How long it must be before it fires.
    pub lasts: Span,
    /// How long it fires on when it is over.
    pub keeps: Span,
    /// How bad: a word of `[alerts]` critical or info; a warning otherwise.
    pub severity: String,
    /// The services it is about; all when empty.
    pub services: Vec<Service>,
    /// The copies of them it is about.
    pub stages: Vec<Stage>,
    /// What is said: `{service}`, `{value}`, `{bound}`, `{for}`, `{over}` stand for themselves.
    pub summary: String,
    /// What to do about it: an address.
    pub runbook: Option<String>,
    /// The incident that it opens by itself; only of what is critical in production.
    pub declare: Option<Severity>,
    /// Whether it only says what it would have done.
    pub shadow: bool,
}

impl Rule {
    /// What tells it from others.
    pub fn key(&self) -> String {
        format!("{}/{}", self.name, self.severity)
    }

    /// What its values are of; none where its expression alone knows.
    pub fn unit(&self) -> Option<Unit> {
        match &self.of {
            Of::Figure { figure, .. } => Some(figure.unit()),
            Of::Query { .. } => None,
            Of::Probe(Probed::Failures) => Some(Unit::Percent),
            Of::Probe(Probed::Latency | Probed::Silence) | Of::Starts { .. } | Of::Certificate | Of::Answers { .. } => {
                Some(Unit::Seconds)
            }
            Of::Machines(_) | Of::Log { .. } | Of::Release => Some(Unit::Count),
        }
    }

    /// Whether it is about a copy of a service.
    pub fn is_about(&self, service: &Service, stage: Stage) -> bool {
        (self.services.is_empty() || self.services.contains(service)) && self.stages.contains(&stage)
    }
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    figure: Option<Figure>,
    at_least: Option<u32>,
    query: Option<String>,
    source: Option<String>,
    probe: Option<Probed>,
    machines: Option<Life>,
    starts: Option<String>,
    log: Option<String>,
    release: Option<String>,
    certificate: Option<String>,
    answers: Option<String>,
    over: Option<Span>,
    above: Option<Amount>,
    below: Option<Amount>,
    #[serde(rename = "for")]
    lasts: Option<Span>,
    keep_firing_for: Option<Span>,
    severity: String,
    #[serde(default)]
    services: Vec<Service>,
    stages: Option<Vec<Stage>>,
    summary: Option<String>,
    runbook: Option<String>,
    declare: Option<Severity>,
    #[serde(default)]
    shadow: bool,
}

/// What a rule counts over that says nothing of it.
const OVER: Span = Span::minutes(5);

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let name = written.name.clone();
        read(written).map_err(|why| D::Error::custom(format!("[[alerts.rules]] “{name}”: {why}")))
    }
}

fn read(written: Written) -> Result<Rule, String> {
    let long = |text: &str, most: usize| text.chars().count() > most;
    if written.name.trim().is_empty() || long(&written.name, NAME_CHARS_MAX) || written.name.contains('/') {
        return Err(format!("its name is 1 to {NAME_CHARS_MAX} characters, without /"));
    }
    let of = of(&written)?;
    let bound = match (written.above, written.below) {
        (Some(amount), None) => Bound::Above(amount),
        (None, Some(amount)) => Bound::Below(amount),
        (None, None) if of == Of::Release => Bound::Above(Amount { value: 0.0, unit: Unit::Count }),
        _ => return Err("say either above or below, with how much".to_owned()),
    };
    if let Some(template) = &written.summary {
        let unknown = placeholders(template).into_iter().find(|word| !WORDS.contains(&word.as_str()));
        if let Some(word) = unknown {
            return Err(format!("{{{word}}} stands for nothing in a summary; {{{}}} do", WORDS.join("}, {")));
        }
        if long(template, SUMMARY_CHARS_MAX) {
            return Err(format!("its summary has more than {SUMMARY_CHARS_MAX} characters"));
        }
    }
    let over = written.over.unwrap_or(OVER);
    if over.is_zero() {
        return Err("over is no time at all".to_owned());
    }
    Ok(Rule {
        name: written.name,
        of,
        over,
        bound,
        lasts: written.lasts.unwrap_or(Span::seconds(0)),
        keeps: written.keep_firing_for.unwrap_or(Span::seconds(0)),
        severity: written.severity,
        services: written.services,
        stages: written.stages.unwrap_or_else(|| vec![Stage::Production]),
        summary: written.summary.unwrap_or_default(),
        runbook: written.runbook,
        declare: written.declare,
        shadow: written.shadow,
    })
}

/// What it looks at: exactly one thing.
fn of(written: &Written) -> Result<Of, String> {
    let at_least = written.at_least.unwrap_or(0);
    let (source, promql) = (written.source.clone(), written.query.clone());
    let all = [
        written.figure.map(|figure| Of::Figure { figure, at_least }),
        promql.map(|promql| Of::Query { source: source.unwrap_or_else(|| "fly".to_owned()), promql }),
        written.probe.map(Of::Probe),
        written.machines.map(Of::Machines),
        written.starts.as_deref().map(starts).transpose()?,
        written.log.as_ref().map(|words| Of::Log { contains: words.trim().to_lowercase() }),
        written.release.as_ref().map(|_| Of::Release),
        written.certificate.as_ref().map(|_| Of::Certificate),
        written.answers.clone().map(|source| Of::Answers { source }),
    ];
    let mut told = all.into_iter().flatten();
    let (Some(of), None) = (told.next(), told.next()) else {
        return Err(
            "say one thing that it looks at: figure, query, probe, machines, starts, log, release, certificate or answers"
                .to_owned(),
        );
    };
    match &of {
        Of::Query { promql, .. } if promql.trim().is_empty() || promql.len() > QUERY_BYTES_MAX => {
            Err(format!("its query is empty or longer than {QUERY_BYTES_MAX} bytes"))
        }
        Of::Log { contains } if contains.is_empty() || contains.chars().count() > NAME_CHARS_MAX => {
            Err(format!("the words it looks for in the log are 1 to {NAME_CHARS_MAX} characters"))
        }
        Of::Release if written.release.as_deref() != Some("failed") => {
            Err("of a release only that it failed can be watched: release = \"failed\"".to_owned())
        }
        Of::Certificate if written.certificate.as_deref() != Some("left") || written.below.is_none() => {
            Err("of a certificate it can be watched how long it is good for: certificate = \"left\", below = \"14d\""
                .to_owned())
        }
        of if written.at_least.is_some()
            && !matches!(of, Of::Figure { figure: Figure::Errors | Figure::Latency, .. }) =>
        {
            Err("at_least counts requests; it goes with figure = \"errors\" or \"latency\"".to_owned())
        }
        of if written.source.is_some() && !matches!(of, Of::Query { .. }) => {
            Err("source goes with a query of your own".to_owned())
        }
        _ => Ok(of),
    }
}

/// `3 of 5`.
fn starts(text: &str) -> Result<Of, String> {
    let parts =
        text.split_once(" of ").and_then(|(times, last)| Some((times.trim().parse().ok()?, last.trim().parse().ok()?)));
    match parts {
        Some((times, last)) if 1 <= times && times <= last && last <= STARTS_MAX => Ok(Of::Starts { times, last }),
        _ => Err(format!("starts = “{text}” says nothing; write \"3 of 5\", of at most {STARTS_MAX}")),
    }
}

/// The words in braces.
fn placeholders(template: &str) -> Vec<String> {
    let parts = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    parts.map(|(word, _)| word.to_owned()).collect()
}

/// How a bound of a kind is written.
fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "500ms or 10s",
        Unit::Percent => "5%",
        Unit::Count => "20",
    }
}

/// The shipped ones: what a policy has that says nothing of rules.
pub fn shipped() -> Vec<Rule> {
    #[derive(Deserialize)]
    struct Shipped {
        alerts: Rules,
    }
    #[derive(Deserialize)]
    struct Rules {
        rules: Vec<Rule>,
    }
    toml::from_str::<Shipped>(SHIPPED).map(|shipped| shipped.alerts.rules).unwrap_or_default()
}

/// What does not hold together among them. `critical`: the words for what is.
///
/// # Errors
/// A sentence.
pub fn check(rules: &[Rule], critical: &[String]) -> Result<(), String> {
    if rules.len() > RULES_MAX {
        return Err(format!("more than {RULES_MAX} [[alerts.rules]]"));
    }
    for (n, rule) in rules.iter().enumerate() {
        if rules.iter().take(n).any(|other| other.key() == rule.key()) {
            return Err(format!("two [[alerts.rules]] are called “{}” and are {}", rule.name, rule.severity));
        }
        if rule.declare.is_some() {
            let is_critical = critical.iter().any(|word| word.eq_ignore_ascii_case(rule.severity.trim()));
            if !is_critical || !rule.stages.contains(&Stage::Production) || matches!(rule.of, Of::Answers { .. }) {
                return Err(format!(
                    "[[alerts.rules]] “{}” declares nothing: only what is critical, in production and about a service opens an incident",
                    rule.name
                ));
            }
        }
        let (kept, what) = match rule.of {
            Of::Probe(Probed::Latency | Probed::Failures) => (LOOKS_FOR, "looks"),
            Of::Machines(_) | Of::Log { .. } => (ENDS_FOR, "machines and log lines"),
            _ => (Span::minutes(60 * 24 * Span::DAYS_MAX), ""),
        };
        if rule.over.delta() > kept.delta() {
            let hours = kept.delta().num_hours();
            return Err(format!("[[alerts.rules]] “{}”: {what} are kept for {hours} h; over is longer", rule.name));
        }
        let unit = rule.unit();
        if unit.is_some_and(|unit| unit != rule.bound.amount().unit) {
            let example = unit.map_or("20", example);
            return Err(format!(
                "[[alerts.rules]] “{}”: its bound is of another kind; write it as {example}",
                rule.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(lines: &str) -> Result<Rule, String> {
        toml::from_str(&format!("name = \"slow\"\nseverity = \"warning\"\n{lines}"))
            .map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_rule_is_read() {
        let read = rule("figure = \"latency\"\nabove = \"500ms\"\nfor = \"15m\"").expect("it holds together");
        assert_eq!(read.of, Of::Figure { figure: Figure::Latency, at_least: 0 });
        assert!(read.bound.is_crossed(0.501) && !read.bound.is_crossed(0.5));
        assert_eq!((read.lasts, read.over, read.key().as_str()), (Span::minutes(15), OVER, "slow/warning"));
        let read = rule("starts = \"3 of 5\"\nabove = \"10s\"").expect("it holds together");
        assert_eq!(read.of, Of::Starts { times: 3, last: 5 });
        let read = rule("certificate = \"left\"\nbelow = \"14d\"").expect("it holds together");
        assert!(
            read.of == Of::Certificate
                && read.bound.is_crossed(13.9 * 86_400.0)
                && !read.bound.is_crossed(14.0 * 86_400.0)
        );
    }

    #[test]
    fn what_says_too_much_or_too_little_is_refused_with_what_to_write() {
        for (lines, says) in [
            ("above = \"1s\"", "say one thing"),
            ("figure = \"latency\"\nprobe = \"latency\"\nabove = \"1s\"", "say one thing"),
            ("figure = \"latency\"", "above or below"),
            ("figure = \"latency\"\nabove = \"1s\"\nbelow = \"2s\"", "above or below"),
            ("starts = \"6 of 5\"\nabove = \"1s\"", "3 of 5"),
            ("query = \" \"\nabove = 1", "empty"),
            ("probe = \"latency\"\nat_least = 20\nabove = \"1s\"", "at_least"),
            ("release = \"slow\"", "failed"),
            ("certificate = \"left\"\nabove = \"14d\"", "below"),
            ("certificate = \"right\"\nbelow = \"14d\"", "left"),
            ("figure = \"latency\"\nabove = \"1s\"\nsummary = \"{who} is slow\"", "{who}"),
            ("figure = \"latency\"\nabove = \"1s\"\nover = \"0s\"", "no time at all"),
        ] {
            let said = rule(lines).expect_err(lines);
            assert!(said.contains(says), "{lines}: {said}");
            assert!(said.contains("slow"), "it does not say which: {said}");
        }
    }

    #[test]
    fn bounds_are_of_what_is_measured_and_names_are_told_apart() {
        let one = rule("figure = \"latency\"\nabove = \"1s\"").expect("it holds together");
        assert!(check(&[one.clone(), one], &[]).is_err_and(|says| says.contains("two")));
        let other = rule("figure = \"errors\"\nabove = \"1s\"").expect("it is read");
        assert!(check(&[other], &[]).is_err_and(|says| says.contains("5%")));
        assert!(!shipped().is_empty());
        let declares = rule("figure = \"errors\"\nabove = \"5%\"\ndeclare = \"sev1\"").expect("it is read");
        assert!(check(&[declares], &["critical".to_owned()]).is_err_and(|says| says.contains("declares nothing")));
        let long = rule("probe = \"failures\"\nabove = \"5%\"\nover = \"3h\"").expect("it is read");
        assert!(check(&[long], &[]).is_err_and(|says| says.contains("kept for 2 h")));
    }
}
