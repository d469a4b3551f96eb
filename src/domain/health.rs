//! The health of services: what was seen, what that makes of them, and when a service counts as down.
//!
//! Pure. Looks are made by adapters; here they are only judged.

use chrono::{DateTime, Utc};

use super::ids::Service;
use super::workspace::Stage;

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

