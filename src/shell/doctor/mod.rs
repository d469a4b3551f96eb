//! `watchbell doctor`: looks at a set-up before anyone relies on it.
//!
//! Asks every neighbour, reading only, and says a line each with the remedy on the same line. Owns no rule of its own beyond
//! what makes a set-up safe to rely on; what configuration may say at all is `adapters/config`.

mod discord;
mod home;
mod services;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::adapters::config::Config;
use crate::domain::health::Mark;
use crate::domain::ids::Role;
use crate::shell::policy_file;

/// The longest that one question of the doctor's takes.
const ASK_MAX: Duration = Duration::from_secs(10);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was made of it.
    pub mark: Mark,
    /// What it belongs to: `Discord`, `Fly`.
    pub about: &'static str,
    /// What was found, and the remedy when there is one.
    pub line: String,
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.mark, self.about, self.line)
    }
}

/// Collects what one part finds.
struct Findings {
    about: &'static str,
    checks: Vec<Check>,
}

impl Findings {
    fn about(about: &'static str) -> Self {
        Self { about, checks: Vec::new() }
    }

    fn add(&mut self, mark: Mark, line: impl Into<String>) {
        self.checks.push(Check { mark, about: self.about, line: line.into() });
    }

    fn ok(&mut self, line: impl Into<String>) {
        self.add(Mark::Ok, line);
    }

    fn warn(&mut self, line: impl Into<String>) {
        self.add(Mark::Warning, line);
    }

    fn bad(&mut self, line: impl Into<String>) {
        self.add(Mark::Critical, line);
    }
}

/// Looks at everything that `config` names. `now` is promise time; `free_bytes` tells the room on the disk of a folder, where
/// that can be known.
pub async fn examine(config: &Config, now: DateTime<Utc>, free_bytes: impl Fn(&Path) -> Option<u64>) -> Vec<Check> {
    let (on_discord, on_fly) =
        futures_util::future::join(discord::examine(config), services::examine(config, now)).await;
    let mut checks = home::configuration(config);
    checks.extend(on_discord);
    checks.extend(home::waking(config));
    checks.extend(on_fly);
    checks.extend(home::state_folder(&config.state_dir, free_bytes(home::nearest(&config.state_dir))));
    checks.extend(home::calendar(config, now));
    checks.extend(home::fly_toml(config));
    checks
}

/// As `examine`, from the file: one that is refused is the one thing that can be said.
pub async fn examine_file(
    path: &Path,
    env: impl Fn(&str) -> Option<String>,
    now: DateTime<Utc>,
    free_bytes: impl Fn(&Path) -> Option<u64>,
) -> Vec<Check> {
    match Config::load_to_run(path, env) {
        // What else there is to say depends on a policy that is not there.
        Ok(Config { policy_refused: Some(why), state_dir, .. }) => {
            let then = if policy_file::has_last_good(&state_dir) {
                "until it is mended, a start goes by the last good one, which is kept in the state folder"
            } else {
                "no good one is kept in the state folder, so the bot does not start"
            };
            vec![Check { mark: Mark::Critical, about: "Configuration", line: format!("{why}; {then}") }]
        }
        Ok(config) => examine(&config, now, free_bytes).await,
        Err(refused) => vec![Check { mark: Mark::Critical, about: "Configuration", line: refused.0 }],
    }
}

/// The exit code: 1 when anything is wrong. A warning is a choice that a team may make.
pub fn exit_code(checks: &[Check]) -> u8 {
    u8::from(checks.iter().any(|check| check.mark == Mark::Critical))
}

/// The findings as a readiness report in Markdown.
pub fn report(checks: &[Check], team: &str, now: DateTime<Utc>) -> String {
    let count = |wanted: Mark| checks.iter().filter(|check| check.mark == wanted).count();
    let verdict = match (count(Mark::Critical), count(Mark::Warning)) {
        (0, 0) => "Ready.".to_owned(),
        (0, warnings) => format!("Ready, with {warnings} to decide on."),
        (wrong, _) => format!("Not ready: {wrong} to be put right."),
    };
    let mut report = format!("# Readiness of {team}\n\n{} · {verdict}\n", now.format("%Y-%m-%d %H:%M UTC"));
    let mut about = "";
    for check in checks {
        if check.about != about {
            about = check.about;
            report.push_str(&format!("\n## {about}\n\n"));
        }
        report.push_str(&format!("- {} {}\n", check.mark, check.line));
    }
    report
}

/// Every role that the policy or a service names, once.
fn roles_named(config: &Config) -> Vec<Role> {
    let policy = &config.policy;
    let called = policy.escalation.iter().flat_map(|level| level.roles.iter());
    let allowed = policy.rights.values().flatten();
    let owners = config.workspace.services.iter().filter_map(|service| service.owner.as_ref());
    let mut roles: Vec<Role> =
        called.chain(allowed).chain(owners).filter(|role| role.as_str() != "*").cloned().collect();
    roles.sort();
    roles.dedup();
    roles
}
