//! Which alerts are meant: `service=checkout, severity!=info, path=~"/api/.*"`. The form is Alertmanager's.
//!
//! Pure. A label that an alert has not counts as empty. Patterns hold for the whole value.

use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use super::Labels;

/// Conditions in one set.
const MATCHERS_MAX: usize = 16;
/// Characters of a name or a value.
const CHARS_MAX: usize = 200;
/// Bytes that a pattern may take once it is compiled: nobody keeps the loop busy with one.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Is,
    IsNot,
    Matches,
    MatchesNot,
}

impl Comparison {
    /// The longer ones first, so that they are not read as the shorter.
    const ALL: [(&'static str, Comparison); 4] =
        [("=~", Self::Matches), ("!~", Self::MatchesNot), ("!=", Self::IsNot), ("=", Self::Is)];

    fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("=", |(sign, _)| sign)
    }
}

/// One condition.
#[derive(Debug, Clone)]
struct Matcher {
    name: String,
    comparison: Comparison,
    value: String,
    pattern: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.comparison == other.comparison && self.value == other.value
    }
}

impl Matcher {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let matches = || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value));
        match self.comparison {
            Comparison::Is => value == self.value,
            Comparison::IsNot => value != self.value,
            Comparison::Matches => matches(),
            Comparison::MatchesNot => !matches(),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let name_ends = text.find(['=', '!', '~']).ok_or_else(|| {
            format!("“{text}” is no condition. Write it as service=checkout, severity!=info or path=~\"/api/.*\".")
        })?;
        let (name, rest) = text.split_at(name_ends);
        let found = Comparison::ALL.iter().find_map(|(sign, one)| Some((*one, rest.strip_prefix(sign)?)));
        let (comparison, value) =
            found.ok_or_else(|| format!("“{text}”: a value is compared with =, !=, =~ or !~."))?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let is_name = |c: char| c.is_alphanumeric() || "_.-:".contains(c);
        if name.is_empty() || name.chars().count() > CHARS_MAX || !name.chars().all(is_name) {
            return Err(format!("“{text}”: the name of a label stands before the sign, as in service=checkout."));
        }
        // It is kept as it is written: a quote within would end it elsewhere.
        if value.contains('"') {
            return Err(format!("“{text}”: quotes stand around a value, and none within."));
        }
        if value.chars().count() > CHARS_MAX {
            return Err(format!("A value has at most {CHARS_MAX} characters."));
        }
        let pattern = match comparison {
            Comparison::Matches | Comparison::MatchesNot => Some(compiled(value)?),
            Comparison::Is | Comparison::IsNot => None,
        };
        Ok(Self { name: name.to_owned(), comparison, value: value.to_owned(), pattern })
    }
}

fn compiled(value: &str) -> Result<Regex, String> {
    regex_lite::RegexBuilder::new(&format!("^(?:{value})$"))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| format!("“{value}” is no pattern: {error}"))
}

/// Conditions that must all hold. Never none: that would mean everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// The same with a service called by the name that alerts know it by, where it was called otherwise.
    #[must_use]
    pub fn with_services(mut self, named: impl Fn(&str) -> Option<String>) -> Self {
        let is_service = |one: &&mut Matcher| one.name == "service" && one.pattern.is_none();
        for one in self.0.iter_mut().filter(is_service) {
            if let Some(name) = named(&one.value) {
                one.value = name;
            }
        }
        self
    }

    /// Whether an alert of these labels is meant.
    pub fn hold(&self, labels: &Labels) -> bool {
        self.0.iter().all(|one| one.holds(labels))
    }
}

impl FromStr for Matchers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let parts: Vec<String> = parts(text);
        if parts.is_empty() {
            return Err("Say which alerts, as in service=checkout or alertname=~\"High.*\".".to_owned());
        }
        if parts.len() > MATCHERS_MAX {
            return Err(format!("At most {MATCHERS_MAX} conditions."));
        }
        parts.iter().map(|part| Matcher::read(part)).collect::<Result<_, _>>().map(Self)
    }
}

/// Splits at commas and blanks that stand in no quotes.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        quoted ^= c == '"';
        if !quoted && (c == ',' || c.is_whitespace()) {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, one) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{}{}\"{}\"", one.name, one.comparison.sign(), one.value)?;
        }
        Ok(())
    }
}

impl Serialize for Matchers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matchers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn meant(text: &str, pairs: &[(&str, &str)]) -> bool {
        text.parse::<Matchers>().expect("conditions").hold(&labels(pairs))
    }

    #[test]
    fn all_conditions_must_hold_and_what_is_missing_is_empty() {
        let checkout = [("service", "checkout"), ("severity", "critical")];
        assert!(meant("service=checkout, severity=critical", &checkout));
        assert!(!meant("service=checkout severity=warning", &checkout));
        assert!(meant("{service=~\"check.*|shop\"}", &checkout));
        assert!(!meant("service=~\"check\"", &checkout), "a pattern holds for the whole value");
        assert!(meant("region!=iad", &checkout));
        assert!(meant("region=\"\"", &checkout));
        assert!(meant("service!~\"search|shop\"", &checkout));
        assert!(meant("path=\"/a, b\"", &[("path", "/a, b")]));
    }

    #[test]
    fn what_is_no_condition_is_said_so() {
        for wrong in
            ["", "{}", "checkout", "=checkout", "service~checkout", "a b=c", "x=~\"(\"", "x=~\"(a{100}){100}\""]
        {
            assert!(wrong.parse::<Matchers>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn they_survive_their_own_text() {
        let text = "alertname=~\"High.*\", service=\"checkout\"";
        let matchers: Matchers = text.parse().expect("conditions");
        assert_eq!(matchers.to_string(), text);
        let json = serde_json::to_string(&matchers).expect("json");
        assert_eq!(serde_json::from_str::<Matchers>(&json).expect("the same"), matchers);
    }
}
