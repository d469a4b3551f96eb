//! What policy says of alerts: how they are put together, who hears of them, what says more than what.

use serde::Deserialize;

use super::{Rule, SHIPPED, Span};
use crate::domain::alerts::Level;
use crate::domain::alerts::matching::Matchers;

/// Rules are looked at no more often than this.
const RULES_EVERY_MIN: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// `[alerts]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Labels by which alerts are put together, where their sender has not done so.
    pub group_by: Vec<String>,
    /// How long a warning waits for others that belong to it.
    pub wait: Span,
    /// How soon people are told again when nobody acted.
    pub repeat_every: Span,
    /// So many changes between firing and over …
    pub flapping_changes: u8,
    /// … in this time are flapping.
    pub flapping_within: Span,
    /// What flaps and stays this long pings once more.
    pub flapping_pings_after: Span,
    /// Cards of their own …
    pub cards_max: u8,
    /// … in this time; what is more stands on one card.
    pub storm_within: Span,
    /// A sender's words for what pings.
    pub critical: Vec<String>,
    /// A sender's words for what nobody has to look at.
    pub info: Vec<String>,
    /// What says more than what.
    #[serde(default)]
    pub inhibit: Vec<Inhibit>,
    /// How often the team's own rules are looked at.
    #[serde(default = "rules_every")]
    pub rules_every: Span,
    /// How long rules see nothing about a service, and nothing else finds it well, before that is said.
    #[serde(default = "no_data_after")]
    pub no_data_after: Span,
    /// The team's own rules; the shipped ones where a policy says nothing of them.
    #[serde(default = "super::rules::shipped")]
    pub rules: Vec<Rule>,
}

/// How often rules are looked at by a policy that says nothing of it.
fn rules_every() -> Span {
    Span::seconds(30)
}

/// When it is said that rules see nothing, by a policy that says nothing of it.
fn no_data_after() -> Span {
    Span::minutes(20)
}

impl Default for Alerts {
    /// As shipped: a policy from before there were alerts says nothing of them.
    fn default() -> Self {
        #[derive(Deserialize)]
        struct Shipped {
            alerts: Alerts,
        }
        let shipped: Result<Shipped, _> = toml::from_str(SHIPPED);
        shipped.map_or_else(|_| Self::none(), |shipped| shipped.alerts)
    }
}

/// While an alert of one kind fires, those of another are told nobody.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibit {
    /// The alert that says more.
    pub by: Matchers,
    /// Those that are held back.
    pub of: Matchers,
    /// Labels that must be the same on both.
    pub equal: Vec<String>,
}

impl Alerts {
    /// Everything by itself, and nobody pinged: what is left when there is nothing to go by.
    fn none() -> Self {
        Self {
            group_by: Vec::new(),
            wait: Span::seconds(0),
            repeat_every: Span::minutes(240),
            flapping_changes: 3,
            flapping_within: Span::minutes(30),
            flapping_pings_after: Span::minutes(10),
            cards_max: 1,
            storm_within: Span::minutes(5),
            critical: Vec::new(),
            info: Vec::new(),
            inhibit: Vec::new(),
            rules_every: rules_every(),
            no_data_after: no_data_after(),
            rules: Vec::new(),
        }
    }

    /// How bad an alert is by its sender's word. A word that is not known is a warning.
    pub fn level(&self, severity: &str) -> Level {
        let is = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(severity.trim()));
        match () {
            () if is(&self.critical) => Level::Critical,
            () if is(&self.info) => Level::Info,
            () => Level::Warning,
        }
    }

    /// What does not hold together.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.repeat_every.is_zero() {
            return Err("[alerts] repeat_every is no time at all".to_owned());
        }
        if self.flapping_changes < 2 {
            return Err("[alerts] flapping_changes is at least 2".to_owned());
        }
        if self.cards_max == 0 {
            return Err("[alerts] cards_max is at least 1".to_owned());
        }
        if self.rules_every.delta() < RULES_EVERY_MIN {
            return Err("[alerts] rules_every is at least 1s".to_owned());
        }
        super::rules::check(&self.rules, &self.critical)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Policy;

    #[test]
    fn a_policy_that_says_nothing_of_alerts_has_the_shipped_ones() {
        let shipped = Policy::parse(SHIPPED).expect("the shipped policy");
        let mut table: toml::Table = SHIPPED.parse().expect("a table");
        table.remove("alerts").expect("it has them");
        let older = Policy::parse(&toml::to_string(&table).expect("a text")).expect("it holds together");
        assert_eq!(older.alerts, shipped.alerts);
        assert_eq!(older.alerts.level("Critical"), Level::Critical);
        assert_eq!(older.alerts.level("none"), Level::Info);
        assert_eq!(older.alerts.level("whatever"), Level::Warning);
    }

    #[test]
    fn what_does_not_hold_together_is_said() {
        let with = |key: &str, value: &str| {
            let line = SHIPPED.lines().find(|line| line.starts_with(key)).expect("it is there");
            Policy::parse(&SHIPPED.replace(line, &format!("{key} = {value}")))
        };
        for (key, value) in [("repeat_every", "\"0s\""), ("flapping_changes", "1"), ("cards_max", "0")] {
            assert!(with(key, value).is_err_and(|says| says.contains(key)), "{key}");
        }
    }
}
