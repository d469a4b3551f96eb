//! Faults to order: what is between the client and the API goes wrong.

use serde::{Deserialize, Serialize};

use super::machines::fit;
pub use super::refusals::Meaning;
use serde_json::Value;

/// Faults at a time.
const FAULTS_MAX: usize = 100;

/// A fault. docs/sim-fly.md describes its JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Its number, given by the stand-in.
    #[serde(default)]
    pub id: u64,
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only requests to this door: `machines`, `releases`, `logs`, `graphql`, `prometheus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// Only this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only paths with this part; with a `{…}` in it, only paths of that whole shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// So many requests; without it, until it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// The request waits before it is looked at.
    Latency {
        /// How long.
        latency_ms: u64,
    },
    /// Answered so; nothing is done.
    Answer {
        /// The status.
        status: u16,
        /// The body; one that fits the status when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
        /// The header `retry-after`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    /// Done, then the connection closes without an answer.
    DropAnswer,
    /// Done, and never answered.
    Silence,
    /// Refused as Fly does in one of its own ways; nothing is done. Without a `path` it meets what makes, changes or moves
    /// a machine.
    Refuse {
        /// The way.
        meaning: Meaning,
    },
    /// A change of a release is answered as usual and not made.
    ReleaseSticks,
    /// Never answered; nothing is done.
    Hang,
    /// The request waits until this fault is taken away, and is looked at then. With `times` only so many requests do.
    Hold,
    /// Away.
    Down {
        /// How it shows.
        #[serde(default)]
        mode: Away,
    },
}

/// How an API that is away shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Away {
    /// The connection closes.
    #[default]
    #[serde(rename = "close")]
    Close,
    /// Something before it answers 503.
    #[serde(rename = "503")]
    Unavailable,
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    last: u64,
}

impl Faults {
    /// Adds one; its number. Errors: there are too many already, or a status that is none.
    pub fn add(&mut self, mut fault: Fault) -> Result<u64, String> {
        if self.list.len() >= FAULTS_MAX {
            return Err(format!("more than {FAULTS_MAX} faults"));
        }
        if let FaultKind::Answer { status, .. } = fault.kind
            && !(200..=599).contains(&status)
        {
            return Err(format!("{status} is no status to answer with"));
        }
        self.last += 1;
        fault.id = self.last;
        self.list.push(fault);
        Ok(self.last)
    }

    /// Takes one away; whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|fault| fault.id != id);
        self.list.len() < before
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// What a request meets, by number, in the order in which the faults were ordered. Counts them down.
    pub fn meet(&mut self, door: &str, method: &str, path: &str) -> Vec<(u64, FaultKind)> {
        let mut met = Vec::new();
        for fault in &mut self.list {
            if !fault.hits(door, method, path) || fault.kind == FaultKind::ReleaseSticks {
                continue;
            }
            if let Some(times) = &mut fault.times {
                if *times == 0 {
                    continue;
                }
                *times -= 1;
            }
            met.push((fault.id, fault.kind.clone()));
            if !matches!(fault.kind, FaultKind::Latency { .. } | FaultKind::Hold) {
                break;
            }
        }
        // Those who are held wait for its end.
        self.list.retain(|fault| fault.times != Some(0) || fault.kind == FaultKind::Hold);
        met
    }

    /// Whether a fault is in force.
    pub fn has(&self, id: u64) -> bool {
        self.list.iter().any(|fault| fault.id == id)
    }

    /// Whether a change of a release of this app is lost. Counts down.
    pub fn release_sticks(&mut self, app: &str) -> bool {
        let is_it = |fault: &&mut Fault| {
            fault.kind == FaultKind::ReleaseSticks && fault.path.as_deref().is_none_or(|part| app.contains(part))
        };
        let Some(fault) = self.list.iter_mut().find(is_it) else { return false };
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
        }
        self.list.retain(|fault| fault.times != Some(0));
        true
    }
}

impl Fault {
    /// Whether it meets a request.
    fn hits(&self, door: &str, method: &str, path: &str) -> bool {
        self.door.as_deref().is_none_or(|wanted| wanted == door)
            && self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_deref().map_or_else(|| self.kind.hits(door, method, path), |part| is_on(part, path))
    }
}

impl FaultKind {
    /// Which requests a fault meets that names no path.
    fn hits(&self, door: &str, method: &str, path: &str) -> bool {
        let acts = || {
            let last = path.rsplit('/').next().unwrap_or_default();
            door == "machines" && matches!(method, "POST" | "DELETE") && last != "lease" && !path.contains("/metadata")
        };
        !matches!(self, FaultKind::Refuse { .. }) || acts()
    }
}

fn is_on(part: &str, path: &str) -> bool {
    if !part.contains('{') {
        return path.contains(part);
    }
    let rest = path.strip_prefix("/v1").or_else(|| path.strip_prefix("/api/v1")).unwrap_or(path);
    fit(part, rest.trim_start_matches('/')).is_some()
}
