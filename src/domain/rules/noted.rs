//! What rules remember of logs and machines: lines that count, how long machines took to come up, how programs ended, what is on its
//! way. Pure. Read once, known by itself, and forgotten when it is too old to count.

use std::collections::{BTreeMap, VecDeque};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Looking, subjects};
use crate::domain::fact::At;
use crate::domain::hosting::Lived;
use crate::domain::input::Answers;
use crate::domain::logs;
use crate::domain::logs::filter::woke_in_ms;
use crate::domain::policy::{ENDS_FOR, Of, Rule, STARTS_MAX};

/// Logs are read so often.
pub(super) const LOGS_EVERY: TimeDelta = TimeDelta::seconds(60);
/// A look may come so much early.
pub(super) const LOGS_EARLY: TimeDelta = TimeDelta::seconds(10);
/// What is read of logs overlaps what was read before by so much: lines arrive late.
pub(super) const LOGS_OVERLAP: TimeDelta = TimeDelta::seconds(30);
/// Lines with a rule's words that are remembered.
const MATCHES_MAX: usize = 1_000;
/// Ends of machines' programs that are remembered of an app; for how long, policy says.
const EXITS_MAX: usize = 200;
/// No machine's program ends twice within less.
const SAME_END: TimeDelta = TimeDelta::seconds(1);
/// States that a machine passes through and does not stay in: Fly's document on machine states.
const ON_ITS_WAY: [&str; 8] =
    ["creating", "starting", "stopping", "restarting", "suspending", "destroying", "updating", "replacing"];

/// What was read in logs, and of what happened to machines, and still counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    /// When an app's log was read last.
    pub(super) read_at: BTreeMap<String, At>,
    /// When it was tried last; one that cannot be read must not keep others from it.
    #[serde(skip)]
    tried_at: BTreeMap<String, At>,
    /// The newest line of an app that was read, in nanoseconds by the host's clock.
    until_ns: BTreeMap<String, i64>,
    /// When an app's machines came up, and how long each took, in seconds; in the order in which they were read.
    pub(super) starts: BTreeMap<String, VecDeque<(Counted, f64)>>,
    /// Lines with a rule's words, by app and words.
    pub(super) matches: BTreeMap<String, VecDeque<Counted>>,
    /// How machines' programs ended, by app, machine and the host's moment of it. The host forgets them sooner than rules do.
    #[serde(default)]
    pub(super) exits: BTreeMap<String, Vec<Ended>>,
    /// Machines between two states, by app: which state, and since when they are in it.
    #[serde(default)]
    pub(super) moving: BTreeMap<String, BTreeMap<String, (String, At)>>,
    /// Apps whose logs could not be read the last time, and why.
    #[serde(skip)]
    pub(super) silent: BTreeMap<String, String>,
}

/// A line that counts, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Counted {
    /// By promise time, as it was when it was read first.
    pub(super) at: At,
    at_ns: i64,
    id: String,
}

/// How a machine's program ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    machine: String,
    at_ms: i64,
    /// By promise time, as it was when it was told first.
    pub(super) at: At,
    /// Whether it was killed for want of memory; it crashed otherwise.
    pub(super) is_oom: bool,
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

    /// The app whose log was not tried for the longest, when that is so long. One a look: what a chatty one writes must not take the
    /// room of another.
    pub(super) fn due(&self, apps: &[String], every: TimeDelta, now: At) -> Option<String> {
        let tried_at = |app: &&String| self.tried_at.get(*app).max(self.read_at.get(*app)).copied();
        let longest = apps.iter().min_by_key(tried_at)?;
        tried_at(&longest).is_none_or(|at| now - at >= every).then(|| longest.clone())
    }

    fn take_exits(&mut self, app: &str, machines: &[Lived], now: At) {
        let before = self.moving.remove(app).unwrap_or_default();
        let moving: BTreeMap<String, (String, At)> = { machines.iter() }
            .filter(|machine| ON_ITS_WAY.contains(&machine.state.as_str()))
            .map(|machine| {
                let known = before.get(&machine.id).filter(|(state, _)| *state == machine.state);
                (machine.id.clone(), (machine.state.clone(), known.map_or(now, |(_, since)| *since)))
            })
            .collect();
        if !moving.is_empty() {
            self.moving.insert(app.to_owned(), moving);
        }
        let known = self.exits.entry(app.to_owned()).or_default();
        for (machine, exit) in machines.iter().flat_map(|machine| machine.exits.iter().map(move |exit| (machine, exit)))
        {
            // A host whose time was skipped has another moment for it; by promise time it is the same.
            let is_it = |one: &Ended| one.at_ms == exit.at_ms || (one.at - exit.at).abs() < SAME_END;
            let is_known = known.iter().any(|one| one.machine == machine.id && is_it(one));
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
        // Which was asked is not told: one that has been due for as long as an answer may take surely was.
        if let Some(app) = self.due(&apps, LOGS_EVERY, now) {
            let why = match told {
                Err(logs::Trouble::NoToken) => Some("there is no token to read logs with".to_owned()),
                Err(logs::Trouble::Silent(says)) => Some(says.clone()),
                Ok(found) => found.silent.iter().find(|(one, _)| *one == app).map(|(_, why)| why.clone()),
            };
            self.tried_at.insert(app.clone(), now);
            match why {
                // What could not be read is read from where it was.
                Some(why) => drop(self.silent.insert(app, why)),
                None => {
                    self.silent.remove(&app);
                    self.read_at.insert(app, now);
                }
            }
        }
        let Ok(found) = told else { return };
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
        self.tried_at.retain(|app, _| apps.contains(app));
        self.starts.retain(|app, _| apps.contains(app));
        let is_read = |key: &str| patterns.iter().any(|words| apps.iter().any(|app| key == match_key(words, app)));
        self.matches.retain(|key, _| is_read(key));
    }

    /// Kills for want of memory since then.
    pub(super) fn kills(&self, app: &str, since: At) -> usize {
        self.exits.get(app).map_or(0, |exits| exits.iter().filter(|exit| exit.is_oom && exit.at > since).count())
    }

    /// The clock jumped: what counts is as long ago as it was, and nothing lies ahead of now.
    pub(super) fn shift(&mut self, by: TimeDelta, now: At) {
        let read = self.read_at.values_mut().chain(self.tried_at.values_mut());
        let starts = self.starts.values_mut().flatten().map(|(one, _)| &mut one.at);
        let lines = self.matches.values_mut().flatten().map(|one| &mut one.at);
        let exits = self.exits.values_mut().flatten().map(|exit| &mut exit.at);
        let moving = self.moving.values_mut().flat_map(BTreeMap::values_mut).map(|(_, since)| since);
        for at in read.chain(starts).chain(lines).chain(exits).chain(moving) {
            *at = (*at + by).min(now);
        }
    }

    /// The same after a restart.
    pub(super) fn after_restart(&mut self, now: At) {
        self.read_at.retain(|_, at| *at <= now);
        self.exits.values_mut().for_each(|exits| exits.retain(|exit| exit.at <= now));
    }
}

/// What lines with a rule's words are found by.
pub(super) fn match_key(words: &str, app: &str) -> String {
    format!("{app} {words}")
}

/// The apps whose logs some rule reads.
pub(super) fn read_apps(looking: &Looking<'_>) -> Vec<String> {
    let reads = |rule: &&Rule| matches!(rule.of, Of::Starts { .. } | Of::Log { .. });
    let rules = looking.policy.alerts.rules.iter().filter(reads);
    let apps = rules.flat_map(|rule| subjects(looking.workspace, rule));
    let apps = apps.filter_map(|about| about.of?.2.map(str::to_owned));
    let mut apps: Vec<_> = apps.collect();
    apps.sort();
    apps.dedup();
    apps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hosting::Exited;

    #[test]
    fn one_that_cannot_be_read_keeps_no_other_from_it() {
        let at = |seconds: i64| chrono::DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let apps = ["a".to_owned(), "b".to_owned()];
        let mut noted = Noted::default();
        let mut asked = Vec::new();
        for seconds in [0, 30, 59, 60, 90, 120] {
            let due = noted.due(&apps, LOGS_EVERY, at(seconds));
            if let Some(app) = &due {
                noted.tried_at.insert(app.clone(), at(seconds));
                // Only the second can be read.
                if app == "b" {
                    noted.read_at.insert(app.clone(), at(seconds));
                }
            }
            asked.push(due.unwrap_or_default());
        }
        assert_eq!(asked, ["a", "b", "", "a", "b", "a"]);
    }

    #[test]
    fn a_machine_is_on_its_way_since_it_was_seen_in_that_state() {
        let at = |minutes: i64| chrono::DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let machine = |id: &str, state: &str| Lived {
            id: id.to_owned(),
            state: state.to_owned(),
            host_ok: true,
            exits: Vec::new(),
        };
        let mut noted = Noted::default();
        // Another one at each look is none that is stuck.
        noted.take_exits("app", &[machine("x", "stopping"), machine("y", "started")], at(0));
        noted.take_exits("app", &[machine("x", "stopping"), machine("y", "starting")], at(4));
        noted.take_exits("app", &[machine("x", "starting"), machine("y", "starting")], at(8));
        let since: Vec<_> = noted.moving["app"].values().map(|(_, since)| *since).collect();
        assert_eq!(since, [at(8), at(4)]);
    }

    #[test]
    fn an_end_counts_once_whichever_moment_of_its_own_the_host_has_for_it() {
        let at = |seconds: i64| chrono::DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let exit = |at_ms: i64, at: At| Exited { at_ms, at, code: 137, oom_killed: true, requested: false };
        let machine =
            |exits: Vec<Exited>| Lived { id: "x".to_owned(), state: "started".to_owned(), host_ok: true, exits };
        let mut noted = Noted::default();
        noted.take_exits("app", &[machine(vec![exit(10_000, at(10))])], at(20));
        // Time was skipped here and there; and then a clock jumped.
        noted.take_exits("app", &[machine(vec![exit(-290_000, at(10))])], at(320));
        noted.shift(TimeDelta::hours(1), at(3_950));
        noted.take_exits("app", &[machine(vec![exit(10_000, at(10))])], at(3_950));
        assert_eq!(noted.kills("app", at(0)), 1);
        noted.take_exits("app", &[machine(vec![exit(10_000, at(10)), exit(12_000, at(12))])], at(3_950));
        assert_eq!(noted.kills("app", at(0)), 2);
    }
}
