//! What a team wants measured, and within which bounds.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::domain::chart::{Unit, amount};
use crate::domain::figures::Figure;
use crate::domain::health::Mark;
use crate::domain::ids::Service;
use crate::domain::metrics::FLY_SOURCE;

/// Targets of a policy.
const TARGETS_MAX: usize = 40;
/// The longest expression, in bytes.
const QUERY_BYTES_MAX: usize = 4_000;

/// A bound as people write it: `500ms`, `70 %`, `20`. In base units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

// Never NaN: reading one is refused.
impl Eq for Amount {}

impl std::str::FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number = |part: &str| part.trim().parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        let level = match text.strip_suffix('%') {
            Some(part) => number(part).map(|value| Self { value, unit: Unit::Percent }),
            None => number(text).map(|value| Self { value, unit: Unit::Count }).or_else(|| {
                let span: super::Span = text.parse().ok()?;
                Some(Self { value: span.delta().as_seconds_f64(), unit: Unit::Seconds })
            }),
        };
        level.ok_or_else(|| format!("“{text}” is no bound; write it as 500ms, 10s, 70% or 20"))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(value) => value.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
        .map_err(D::Error::custom)
    }
}

/// One measured thing and its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What is measured.
    pub name: String,
    /// Which of the figures that the host measures for every service.
    #[serde(default)]
    pub figure: Option<Figure>,
    /// An expression in PromQL instead, where `$app` stands for the service's app.
    #[serde(default)]
    pub query: Option<String>,
    /// The name of a rule whose value it is instead.
    #[serde(default)]
    pub rule: Option<String>,
    /// Where it is asked for: `fly`, or a name of `[[metrics]]`.
    #[serde(default = "fly")]
    pub source: String,
    /// The services it is about; all when empty.
    #[serde(default)]
    pub services: Vec<Service>,
    /// A warning above.
    #[serde(default)]
    pub warn_above: Option<Amount>,
    /// Critical above.
    #[serde(default)]
    pub critical_above: Option<Amount>,
    /// Good, in words; follows from the bounds when absent.
    #[serde(default)]
    pub target: String,
    /// Needs watching, in words.
    #[serde(default)]
    pub warning: String,
    /// Needs doing, in words.
    #[serde(default)]
    pub critical: String,
    /// What is missing to measure it; empty when it is measured.
    #[serde(default)]
    pub not_measured: String,
}

fn fly() -> String {
    FLY_SOURCE.to_owned()
}

impl Target {
    /// What its values are of.
    pub fn unit(&self) -> Unit {
        let bound = self.warn_above.or(self.critical_above).map(|level| level.unit);
        self.figure.map(Figure::unit).or(bound).unwrap_or(Unit::Count)
    }

    /// Whether it is about a service.
    pub fn is_about(&self, service: &Service) -> bool {
        self.services.is_empty() || self.services.contains(service)
    }

    /// What a value means.
    pub fn judge(&self, value: f64) -> Mark {
        let above = |level: Option<Amount>| level.is_some_and(|level| value > level.value);
        match () {
            () if value.is_nan() => Mark::Unknown,
            () if above(self.critical_above) => Mark::Critical,
            () if above(self.warn_above) => Mark::Warning,
            () => Mark::Ok,
        }
    }

    /// What is good, in words: "under 500 ms"; empty when nothing was said.
    pub fn wanted(&self) -> String {
        let bound = self.warn_above.or(self.critical_above);
        match (self.target.is_empty(), bound) {
            (true, Some(level)) => format!("under {}", amount(level.value, level.unit)),
            _ => self.target.clone(),
        }
    }

    /// What a mark means here, in words: "critical over 1 s".
    pub fn means(&self, mark: Mark) -> String {
        let (name, level, written) = match mark {
            Mark::Critical => ("critical", self.critical_above, &self.critical),
            Mark::Warning => ("warning", self.warn_above, &self.warning),
            Mark::Ok | Mark::Unknown => return self.wanted(),
        };
        match (written.is_empty(), level) {
            (true, Some(level)) => format!("{name} over {}", amount(level.value, level.unit)),
            (true, None) => String::new(),
            (false, _) => format!("{name} {written}"),
        }
    }
}

/// Refuses targets that do not hold together.
pub(super) fn check(targets: &[Target]) -> Result<(), String> {
    if targets.len() > TARGETS_MAX {
        return Err(format!("{} [[targets]]; at most {TARGETS_MAX}", targets.len()));
    }
    for target in targets {
        let name = &target.name;
        let refuse = |sentence: &str| Err(format!("target “{name}”: {sentence}"));
        let sources = [target.figure.is_some(), target.query.is_some(), target.rule.is_some()];
        let measured = sources.contains(&true);
        if sources.iter().filter(|is_there| **is_there).count() > 1 {
            return refuse("figure, query and rule exclude each other");
        }
        if measured && !target.not_measured.is_empty() {
            return refuse("it has a source; take not_measured out");
        }
        if target.query.as_ref().is_some_and(|query| query.trim().is_empty() || query.len() > QUERY_BYTES_MAX) {
            return refuse("query is an expression in PromQL");
        }
        let levels = [target.warn_above, target.critical_above];
        if !measured && levels.iter().any(Option::is_some) {
            return refuse("bounds need a figure, a query or a rule to be held against");
        }
        if levels.iter().flatten().any(|level| level.unit != target.unit()) {
            return refuse("its bounds are in another unit than what is measured: 500ms, 70%, or a plain number");
        }
        if let [Some(warn), Some(critical)] = levels
            && critical.value < warn.value
        {
            return refuse("critical_above lies under warn_above");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, String> {
        let target: Target = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        check(std::slice::from_ref(&target)).map(|()| target)
    }

    #[test]
    fn a_target_is_read_and_judges() {
        let latency =
            target("name = \"latency\"\nfigure = \"latency\"\nwarn_above = \"500ms\"\ncritical_above = \"1s\"");
        let latency = latency.unwrap_or_else(|error| panic!("{error}"));
        let marks = [0.5, 0.501, 1.0, 1.2, f64::INFINITY, f64::NAN].map(|value| latency.judge(value));
        assert_eq!(marks, [Mark::Ok, Mark::Warning, Mark::Warning, Mark::Critical, Mark::Critical, Mark::Unknown]);
        assert_eq!(
            (latency.wanted().as_str(), latency.means(Mark::Critical).as_str()),
            ("under 500 ms", "critical over 1 s")
        );
        let own = target("name = \"q\"\nquery = \"max(queue{app=\\\"$app\\\"})\"\nsource = \"own\"\nwarn_above = 20");
        assert_eq!(own.map(|own| (own.unit(), own.wanted())), Ok((Unit::Count, "under 20".to_owned())));
        let words =
            target("name = \"q\"\ntarget = \"under 30 s\"\nwarning = \"over 30 s\"\nnot_measured = \"a metric\"");
        assert_eq!(words.map(|words| words.means(Mark::Warning)), Ok("warning over 30 s".to_owned()));
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        for (more, says) in [
            ("figure = \"memory\"\nwarn_above = \"500ms\"", "another unit"),
            ("figure = \"memory\"\nquery = \"x\"", "exclude"),
            ("figure = \"memory\"\nnot_measured = \"x\"", "take not_measured out"),
            ("warn_above = 1", "need a figure"),
            ("query = \" \"", "PromQL"),
            ("figure = \"memory\"\nwarn_above = \"70%\"\ncritical_above = \"60 %\"", "lies under"),
            ("figure = \"memory\"\nwarn_above = \"nan\"", "no bound"),
            ("figure = \"memory\"\nwarn_above = \"much\"", "no bound"),
            ("figure = \"memory\"\nwarn_above = -1", "no bound"),
            ("figure = \"colour\"", "unknown variant"),
        ] {
            let said = target(&format!("name = \"x\"\n{more}")).err().unwrap_or_default();
            assert!(said.contains(says), "{more}: {said}");
        }
    }
}
