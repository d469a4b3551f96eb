//! The health of services: what was seen, what that makes of them, and when a service counts as down.
//!
//! Pure. Looks are made by adapters; here they are only judged (this file), worded (`words.rs`) and followed over time
//! (`watched.rs`). Never says ✓ of something that was not looked at.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::ids::Service;
use super::policy::{Bound, Of, Policy};
use super::text::rules::days;
use super::workspace::Stage;

#[path = "health/watched.rs"]
mod watched;
#[path = "health/words.rs"]
mod words;

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;

pub use watched::{Transition, Watched};
pub use words::{card, json, lines};

/// One machine as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its state, in the host's own word.
    pub state: String,
    /// Whether the hardware under it answers.
    pub host_ok: bool,
    /// Whether it is kept from traffic.
    pub cordoned: bool,
    /// Checks that pass.
    pub checks_passing: u16,
    /// Checks there are.
    pub checks: u16,
    /// What the failing checks say.
    pub failing: Vec<String>,
    /// Restarts since it was last started on purpose, when known.
    pub restarts: Option<u32>,
    /// Its image, with digest when known.
    pub image: String,
    /// Whether it may sleep.
    pub autostop: bool,
}

/// What the host says of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppHealth {
    /// The app.
    pub app: String,
    /// Its machines; an error is a sentence.
    pub machines: Result<Vec<Machine>, String>,
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFinding {
    /// Its name.
    pub probe: String,
    /// Whether it was as expected.
    pub ok: bool,
    /// Time to the answer; none when there was none.
    pub took_ms: Option<u32>,
    /// The status, when one came.
    pub status: Option<u16>,
    /// A sentence about what was seen.
    pub says: String,
    /// Above the warning time.
    pub slow: bool,
    /// Above the critical time.
    pub very_slow: bool,
    /// When the certificate ends that the answer came with; none where none was shown.
    pub certificate_ends: Option<DateTime<Utc>>,
    /// How soon that is, where somebody held it against a bound (`HealthReport::held_against`) and it is under it.
    pub ends_in: Option<TimeDelta>,
}

/// The health of one copy of a service: everything that could be found out, and what could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageHealth {
    /// Which service.
    pub service: Service,
    /// Which copy.
    pub stage: Stage,
    /// What the host says; none when no app is configured.
    pub app: Option<AppHealth>,
    /// What the probes found, in configuration's order.
    pub probes: Vec<ProbeFinding>,
}

/// The health of services, with the host's word on our token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// Whether the host takes our token: the organisation, or a sentence.
    pub auth: Result<String, String>,
    /// Stage by stage.
    pub stages: Vec<StageHealth>,
}

/// What is made of something that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Looked at and well.
    Ok,
    /// Needs watching.
    Warning,
    /// Broken.
    Critical,
    /// Not looked at, or not to be found out.
    Unknown,
}

impl Mark {
    /// The sign that stands before a line.
    pub fn sign(self) -> &'static str {
        match self {
            Mark::Ok => "✓",
            Mark::Warning => "⚠",
            Mark::Critical => "✗",
            Mark::Unknown => "?",
        }
    }

    /// The worse of two. What is known to be bad outweighs what is not known, and that outweighs what is known to be well.
    #[must_use]
    pub fn worse(self, other: Mark) -> Mark {
        let weight = |mark| match mark {
            Mark::Ok => 0,
            Mark::Unknown => 1,
            Mark::Warning => 2,
            Mark::Critical => 3,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

/// Why something is not simply well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Stopped by auto-stop and woken by the next request: healthy.
    Asleep,
    /// On its way from one state to another.
    Changing(String),
    /// Not running, and nothing will wake it.
    NotRunning(String),
    /// The hardware under it does not answer.
    HostDown,
    /// It gets no traffic.
    Cordoned,
    /// Checks fail; what they say.
    ChecksFail(Vec<String>),
    /// It has checks and none has reported yet.
    ChecksSilent,
    /// It was restarted this often without anybody asking for it.
    Restarting(u32),
    /// There is no machine.
    NoMachine,
    /// Some machines serve and this many do not.
    SomeDown(usize),
    /// No machine serves.
    AllDown,
    /// The answer was not as expected, or there was none.
    Failed(String),
    /// The answer came, above the warning time.
    Slow,
    /// The answer came, above the critical time.
    VerySlow,
    /// The certificate that the answer came with ends so soon.
    Ends(TimeDelta),
    /// It was not asked; why.
    NotAsked(String),
    /// It was asked and could not be found out; why.
    NotFoundOut(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Asleep => f.write_str("asleep"),
            Reason::Changing(state) => f.write_str(state),
            Reason::NotRunning(state) => write!(f, "{state}, and nothing will wake it"),
            Reason::HostDown => f.write_str("its host does not answer"),
            Reason::Cordoned => f.write_str("cordoned: it gets no traffic"),
            Reason::ChecksFail(says) if says.is_empty() => f.write_str("checks fail"),
            Reason::ChecksFail(says) => write!(f, "checks fail: {}", says.join("; ")),
            Reason::ChecksSilent => f.write_str("no check has reported yet"),
            Reason::Restarting(times) => write!(f, "restarted by itself {times} times"),
            Reason::NoMachine => f.write_str("no machine"),
            Reason::SomeDown(count) => write!(f, "{count} not serving"),
            Reason::AllDown => f.write_str("no machine serves"),
            Reason::Failed(says) | Reason::NotAsked(says) | Reason::NotFoundOut(says) => f.write_str(says),
            Reason::Slow => f.write_str("slow"),
            Reason::VerySlow => f.write_str("very slow"),
            Reason::Ends(left) => write!(f, "its certificate ends in {}", days(left.as_seconds_f64().max(0.0))),
        }
    }
}

/// What was made of something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was made of it.
    pub mark: Mark,
    /// Why, the heaviest first; empty when there is nothing to say.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    fn well() -> Self {
        Self { mark: Mark::Ok, reasons: Vec::new() }
    }

    fn of(mark: Mark, reason: Reason) -> Self {
        Self { mark, reasons: vec![reason] }
    }

    /// The reasons as one phrase; empty when there are none.
    pub fn why(&self) -> String {
        self.reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Restarts by itself from which a machine counts as restarting in a loop. Fly's own tool draws the line at the same place:
/// more than one restart.
pub const RESTARTS_WARNING: u32 = 2;

/// States that end by themselves. The host's list is open; a state that is not known here counts as not running.
const CHANGING: [&str; 9] =
    ["created", "starting", "stopping", "restarting", "suspending", "updating", "replacing", "migrating", "destroying"];

impl Machine {
    /// Whether it was put to sleep by auto-stop.
    pub fn is_asleep(&self) -> bool {
        self.autostop && matches!(self.state.as_str(), "stopped" | "suspended") && self.host_ok && !self.cordoned
    }

    /// What it is: up is four things at once (started, host ok, not cordoned, all checks passing and at least one
    /// reported when there are any), or it sleeps.
    pub fn verdict(&self) -> Verdict {
        if self.is_asleep() {
            return Verdict::of(Mark::Ok, Reason::Asleep);
        }
        let mut verdict = Verdict::well();
        let mut found = |mark: Mark, reason: Reason| {
            verdict.mark = verdict.mark.worse(mark);
            verdict.reasons.push(reason);
        };
        if !self.host_ok {
            found(Mark::Critical, Reason::HostDown);
        }
        if self.state != "started" {
            if CHANGING.contains(&self.state.as_str()) {
                found(Mark::Warning, Reason::Changing(self.state.clone()));
            } else {
                found(Mark::Critical, Reason::NotRunning(self.state.clone()));
            }
        }
        if self.cordoned {
            found(Mark::Critical, Reason::Cordoned);
        }
        // Checks of a machine that does not run say nothing new.
        if self.state == "started" && self.checks_passing < self.checks {
            if self.checks_passing == 0 && self.failing.is_empty() {
                found(Mark::Warning, Reason::ChecksSilent);
            } else {
                found(Mark::Critical, Reason::ChecksFail(self.failing.clone()));
            }
        }
        if let Some(times) = self.restarts.filter(|times| *times >= RESTARTS_WARNING) {
            found(Mark::Warning, Reason::Restarting(times));
        }
        verdict
    }
}

impl AppHealth {
    /// What the machines make of the app: well when all are up or asleep, broken when none is.
    pub fn verdict(&self) -> Verdict {
        let machines = match &self.machines {
            Ok(machines) => machines,
            Err(why) => return Verdict::of(Mark::Unknown, Reason::NotFoundOut(why.clone())),
        };
        if machines.is_empty() {
            return Verdict::of(Mark::Critical, Reason::NoMachine);
        }
        let marks: Vec<Mark> = machines.iter().map(|machine| machine.verdict().mark).collect();
        let critical = marks.iter().filter(|mark| **mark == Mark::Critical).count();
        if self.is_asleep() {
            Verdict::of(Mark::Ok, Reason::Asleep)
        } else if critical == machines.len() {
            Verdict::of(Mark::Critical, Reason::AllDown)
        } else if critical > 0 {
            Verdict::of(Mark::Warning, Reason::SomeDown(critical))
        } else {
            Verdict { mark: marks.into_iter().fold(Mark::Ok, Mark::worse), reasons: Vec::new() }
        }
    }

    /// How many machines there are, when all of them could sleep and none does: there is none left to start.
    pub fn awake_to_the_last(&self) -> Option<usize> {
        let machines = self.machines.as_ref().ok().filter(|machines| machines.len() > 1)?;
        machines.iter().all(|machine| machine.autostop && machine.state == "started").then_some(machines.len())
    }

    /// Whether there are machines and all of them sleep.
    pub fn is_asleep(&self) -> bool {
        matches!(&self.machines, Ok(machines) if !machines.is_empty() && machines.iter().all(Machine::is_asleep))
    }
}

impl ProbeFinding {
    /// A probe that was not sent, and why: `ok`, with neither a time nor a status.
    pub fn not_asked(probe: &str, why: impl Into<String>) -> Self {
        Self {
            probe: probe.to_owned(),
            ok: true,
            took_ms: None,
            status: None,
            says: why.into(),
            slow: false,
            very_slow: false,
            certificate_ends: None,
            ends_in: None,
        }
    }

    /// Whether the question was sent.
    pub fn was_asked(&self) -> bool {
        !self.ok || self.took_ms.is_some() || self.status.is_some()
    }

    /// What it found.
    pub fn verdict(&self) -> Verdict {
        if !self.was_asked() {
            Verdict::of(Mark::Unknown, Reason::NotAsked(self.says.clone()))
        } else if !self.ok {
            Verdict::of(Mark::Critical, Reason::Failed(self.says.clone()))
        } else if self.very_slow {
            Verdict::of(Mark::Critical, Reason::VerySlow)
        } else {
            let slow = self.slow.then_some(Reason::Slow);
            let reasons: Vec<Reason> = slow.into_iter().chain(self.ends_in.map(Reason::Ends)).collect();
            Verdict { mark: if reasons.is_empty() { Mark::Ok } else { Mark::Warning }, reasons }
        }
    }
}

impl StageHealth {
    /// The worst of what was looked at; unknown when nothing was.
    pub fn mark(&self) -> Mark {
        let asleep = self.app.as_ref().is_some_and(AppHealth::is_asleep);
        let app = self.app.iter().map(|app| app.verdict().mark);
        // A sleeping service is not asked, and that is no gap in what is known of it.
        let probes = self.probes.iter().filter(|probe| !asleep || probe.was_asked()).map(|probe| probe.verdict().mark);
        app.chain(probes).reduce(Mark::worse).unwrap_or(Mark::Unknown)
    }
}

impl HealthReport {
    /// The worst of all stages; a token that the host refuses is a warning as soon as an app is asked for.
    pub fn mark(&self) -> Mark {
        let auth = if self.auth.is_err() && self.names_an_app() { Mark::Warning } else { Mark::Ok };
        let worst = self.stages.iter().map(StageHealth::mark).reduce(Mark::worse).unwrap_or(Mark::Unknown);
        worst.worse(auth)
    }

    /// The worst of one service's stages; unknown for a service that is not in the report.
    pub fn service_mark(&self, service: &Service) -> Mark {
        let stages = self.stages.iter().filter(|stage| stage.service == *service);
        stages.map(StageHealth::mark).reduce(Mark::worse).unwrap_or(Mark::Unknown)
    }

    /// The same, with what the policy's rules say of certificates: one that is under a bound needs watching.
    #[must_use]
    pub fn held_against(mut self, policy: &Policy) -> Self {
        let at = self.at;
        for stage in &mut self.stages {
            let rules = policy.alerts.rules.iter().filter(|rule| rule.of == Of::Certificate && !rule.shadow);
            let bounds: Vec<Bound> =
                { rules }.filter(|rule| rule.is_about(&stage.service, stage.stage)).map(|rule| rule.bound).collect();
            for probe in &mut stage.probes {
                let left = probe.certificate_ends.map(|ends| ends - at);
                probe.ends_in = left.filter(|left| bounds.iter().any(|bound| bound.is_crossed(left.as_seconds_f64())));
            }
        }
        self
    }

    fn names_an_app(&self) -> bool {
        self.stages.iter().any(|stage| stage.app.is_some())
    }
}

/// The exit code of a health check: 0 all well, 1 a warning or something that could not be found out, 2 broken.
pub fn exit_code(report: &HealthReport) -> u8 {
    match report.mark() {
        Mark::Ok => 0,
        Mark::Warning | Mark::Unknown => 1,
        Mark::Critical => 2,
    }
}
