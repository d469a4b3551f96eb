//! The policy: how fast, how often, who may, who is called next. Read from data/policy.toml.
//!
//! Pure. Every number that a team could want otherwise stands in that file and not in code. A file that does not hold together
//! is refused with a sentence; whoever asked goes on with the last good one.

mod alerts;
mod deploys;
mod rules;
mod targets;

use std::collections::BTreeMap;
use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::calendar::{Holidays, QuietHours, WorkingHours};
use super::ids::Role;
use super::schedule::Schedule;

pub use alerts::{Alerts, Inhibit};
pub use deploys::{CHECKLIST_MAX, Deploys, Item};
pub use rules::{Bound, ENDS_FOR, LOOKS_FOR, Life, Of, Probed, RULES_MAX, Rule, STARTS_MAX};
pub use targets::{Amount, Target};

/// The policy that is compiled in.
pub const SHIPPED: &str = include_str!("../../data/policy.toml");

/// A span of time as people write it (`15m`, `2h 30m`). Whole milliseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(TimeDelta);

impl Span {
    /// The longest span taken anywhere in policy, in days.
    pub const DAYS_MAX: i64 = 366;

    /// This many seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(TimeDelta::seconds(seconds))
    }

    /// This many milliseconds.
    pub const fn of_millis(millis: i64) -> Self {
        Self(TimeDelta::milliseconds(millis))
    }

    /// This many minutes.
    pub const fn minutes(minutes: i64) -> Self {
        Self(TimeDelta::minutes(minutes))
    }

    /// As a difference of instants.
    pub const fn delta(self) -> TimeDelta {
        self.0
    }

    /// Whether it is no time at all.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// In milliseconds.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.num_milliseconds()).unwrap_or(0)
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let written = humantime::parse_duration(text.trim())
            .map_err(|error| format!("“{text}” is not a span of time ({error}); write it as 15m, 2h or 1h 30m"))?;
        TimeDelta::from_std(written)
            .ok()
            .filter(|delta| *delta <= TimeDelta::days(Self::DAYS_MAX))
            .map(Self)
            .ok_or_else(|| format!("“{text}” is too long; at most {} days", Self::DAYS_MAX))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The worst: customers cannot work.
    Sev1,
    /// Bad: it works poorly.
    Sev2,
    /// A nuisance.
    Sev3,
}

impl Severity {
    /// All, worst first.
    pub const ALL: [Severity; 3] = [Severity::Sev1, Severity::Sev2, Severity::Sev3];

    /// Its option value and command name: `sev1`.
    pub fn key(self) -> &'static str {
        match self {
            Severity::Sev1 => "sev1",
            Severity::Sev2 => "sev2",
            Severity::Sev3 => "sev3",
        }
    }

    /// From its option value, or as people write it (`SEV-1`, `1`).
    pub fn from_key(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().trim_start_matches("sev").trim_start_matches('-') {
            "1" => Some(Severity::Sev1),
            "2" => Some(Severity::Sev2),
            "3" => Some(Severity::Sev3),
            _ => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Sev1 => "SEV-1",
            Severity::Sev2 => "SEV-2",
            Severity::Sev3 => "SEV-3",
        })
    }
}

/// What quiet hours do to a severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quiet {
    /// Nothing is ever held back.
    Never,
    /// Pages go out at any hour; nudges wait.
    PagesAlways,
    /// Everything that pings waits for working hours.
    WaitsForWorkingHours,
}

/// A longer pace after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    /// Once an incident is this old …
    pub after: Span,
    /// … this often.
    pub every: Span,
}

/// What is promised at one severity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityPolicy {
    /// A person acknowledges within.
    pub respond_within: Span,
    /// The first notice is out within; zero means at once.
    pub notify_within: Span,
    /// Updates come this often; none when absent.
    #[serde(default)]
    pub update_every: Option<Span>,
    /// A longer pace after a while.
    #[serde(default)]
    pub update_every_later: Option<Later>,
    /// Mitigated within, counted from detection; not asked when absent.
    #[serde(default)]
    pub mitigate_within: Option<Span>,
    /// The first thing to try: "roll back".
    pub mitigate_by: String,
    /// Green for this long before it counts as resolved; not asked when absent.
    #[serde(default)]
    pub verify_for: Option<Span>,
    /// Reviewed within, counted from resolution; on request only when absent.
    #[serde(default)]
    pub review_within: Option<Span>,
    /// What quiet hours do.
    pub quiet: Quiet,
    /// Whether the wider audience hears of it unless somebody says no.
    pub announce: bool,
}

/// Whom a level of escalation calls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Roles called.
    pub roles: Vec<Role>,
}

/// How reminders behave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reminders {
    /// A nudge for the lead, this long before a promise is due.
    pub nudge_before: Span,
    /// The role hears of it, this long after it was due.
    pub late_after: Span,
    /// The longest snooze.
    pub snooze_max: Span,
    /// Snoozes of one promise in a row.
    pub snoozes_in_a_row_max: u8,
    /// "No change" updates in a row.
    pub no_change_in_a_row_max: u8,
    /// After this many missed updates the lead is asked whether they are still there.
    pub stale_after_missed: u8,
    /// How long the lead then has to answer before the next level is called.
    pub stale_grace: Span,
    /// The soonest next update that an author may promise.
    pub next_update_min: Span,
    /// The latest next update that an author may promise.
    pub next_update_max: Span,
}

/// How incidents begin and come back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incidents {
    /// Reopening within this time is the same number.
    pub reopen_within: Span,
    /// Open incidents that began within this time are offered before another is opened.
    pub similar_within: Span,
    /// What a production service that is down declares by itself; nothing when absent.
    #[serde(default)]
    pub declare_when_down: Option<Severity>,
}

/// When a service counts as down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Failed looks in a row …
    pub down_after_failures: u8,
    /// … over at least this long.
    pub down_after: Span,
    /// Red looks in a row that start a verification again.
    pub verify_reds_in_a_row: u8,
}

/// A verb that a role may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Open an incident.
    Declare,
    /// Acknowledge, update, note.
    Respond,
    /// Give the lead to somebody else, set times, resolve without waiting, cancel what another declared.
    Lead,
    /// Ask for a deploy.
    Deploy,
    /// Approve a deploy.
    Approve,
    /// Set the bot itself up.
    Admin,
}

impl Right {
    /// Its name in a sentence and in policy.toml.
    pub fn name(self) -> &'static str {
        match self {
            Right::Declare => "declare",
            Right::Respond => "respond",
            Right::Lead => "lead",
            Right::Deploy => "deploy",
            Right::Approve => "approve",
            Right::Admin => "admin",
        }
    }
}

/// Something that is done by the calendar.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When, as five cron fields in the team's zone.
    pub cron: String,
    /// What it does.
    pub does: JobKind,
    /// The words of a reminder.
    #[serde(default)]
    pub text: String,
    /// Whether it runs on holidays too.
    #[serde(default = "yes")]
    pub on_holidays: bool,
}

fn yes() -> bool {
    true
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Health, open incidents, what is due: the morning's post.
    Digest,
    /// Posts its text.
    Remind,
}

/// The whole policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Promises by severity.
    pub severity: BTreeMap<Severity, SeverityPolicy>,
    /// Whom each level of escalation calls, level 1 first.
    pub escalation: Vec<Level>,
    /// Reminders.
    pub reminders: Reminders,
    /// Incidents.
    pub incidents: Incidents,
    /// Health.
    pub health: Health,
    /// Alerts; as shipped where a policy says nothing of them.
    #[serde(default)]
    pub alerts: Alerts,
    /// Changes at the host.
    pub deploys: Deploys,
    /// Roles by right; `*` is everybody.
    pub rights: BTreeMap<Right, Vec<Role>>,
    /// Working hours.
    pub working_hours: WorkingHours,
    /// Quiet hours.
    pub quiet_hours: QuietHours,
    /// Holidays.
    #[serde(default)]
    pub holidays: Holidays,
    /// What runs by the calendar.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// What is measured against which bounds.
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// Characters of what is wrong: a list of every key that could stand there helps nobody on a phone.
const WRONG_CHARS_MAX: usize = 300;

/// What is wrong with a text, and where, in one line.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let says = super::text::short(error.message(), WRONG_CHARS_MAX);
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => {
            let number = before.lines().count().max(1) + usize::from(before.ends_with('\n'));
            let line = text.lines().nth(number - 1).unwrap_or_default();
            format!("line {number}, “{}”: {says}", super::text::short(line.trim(), WRONG_CHARS_MAX))
        }
        None => says,
    }
}

impl Policy {
    /// Reads a policy and checks that it holds together.
    ///
    /// # Errors
    /// A sentence that says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Policy = toml::from_str(text).map_err(|error| sentence(text, &error))?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), String> {
        for severity in Severity::ALL {
            let one = self.severity.get(&severity).ok_or_else(|| {
                format!("[severity.{}] is missing: every severity needs its promises", severity.key())
            })?;
            if one.respond_within < Span::seconds(30) {
                return Err(format!("[severity.{}] respond_within is under 30 seconds", severity.key()));
            }
            let paces = one.update_every.into_iter().chain(one.update_every_later.map(|later| later.every));
            for every in paces {
                if every < Span::minutes(1) {
                    return Err(format!("[severity.{}] updates more often than once a minute", severity.key()));
                }
                if every <= self.reminders.nudge_before {
                    return Err(format!(
                        "[severity.{}] updates come more often than the nudge before them; make nudge_before shorter",
                        severity.key()
                    ));
                }
            }
        }
        self.alerts.check()?;
        self.deploys.check()?;
        targets::check(&self.targets)?;
        if self.escalation.is_empty() || self.escalation.iter().any(|level| level.roles.is_empty()) {
            return Err("[[escalation]] needs at least one level, and every level at least one role".to_owned());
        }
        for job in &self.jobs {
            Schedule::parse(&job.cron).map_err(|error| format!("job “{}”: {error}", job.name))?;
        }
        let mut names: Vec<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two jobs are called “{}”", pair[0]));
        }
        Ok(())
    }

    /// What is promised at a severity. `check` has seen that every severity is there.
    pub fn at(&self, severity: Severity) -> &SeverityPolicy {
        &self.severity[&severity]
    }

    /// Whom a level calls; the last level for any number beyond it.
    pub fn level(&self, number: u8) -> &Level {
        let last = self.escalation.len() - 1;
        &self.escalation[usize::from(number.max(1) - 1).min(last)]
    }

    /// The highest level's number.
    pub fn levels(&self) -> u8 {
        u8::try_from(self.escalation.len()).unwrap_or(u8::MAX)
    }

    /// How long until the next update, for an incident this old.
    pub fn update_every(&self, severity: Severity, age: TimeDelta) -> Option<Span> {
        let one = self.at(severity);
        match one.update_every_later {
            Some(later) if age >= later.after.delta() => Some(later.every),
            _ => one.update_every,
        }
    }

    /// Whether somebody with these roles has a right.
    pub fn may(&self, roles: &[Role], right: Right) -> bool {
        self.rights
            .get(&right)
            .is_some_and(|allowed| allowed.iter().any(|role| role.as_str() == "*" || roles.contains(role)))
    }

    /// The roles that have a right, for a refusal that says whom to ask.
    pub fn holders(&self, right: Right) -> &[Role] {
        self.rights.get(&right).map_or(&[], Vec::as_slice)
    }
}
