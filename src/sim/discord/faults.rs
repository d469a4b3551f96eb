//! Faults that a person or a script sets: what goes wrong, on which requests, how many times.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::Id;
use super::permissions;

/// Faults set at once.
const FAULTS_MAX: usize = 100;
/// The longest latency.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Requests wait before they are looked at.
    Latency {
        /// How long.
        latency_ms: u64,
    },
    /// Requests are answered with this status and not done.
    Answer {
        /// The status.
        status: u16,
        /// For 429: when to come back.
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// For 429: whether the global limit is said to be met.
        #[serde(default)]
        global: bool,
    },
    /// Requests are done, then the connection closes.
    DropAnswer,
    /// All is away. `mode` is `close` or `503`.
    Down {
        /// How it is away.
        #[serde(default = "close")]
        mode: String,
    },
    /// Heartbeats are not acknowledged.
    NoAck,
    /// Whoever comes to the gateway is turned away with this code: 4004, the token; 4014, the intents.
    TurnAway {
        /// The code.
        code: u16,
    },
    /// Events are dispatched twice.
    Duplicate,
    /// Interactions are not dispatched.
    Withhold,
    /// The bot lacks permissions in a channel.
    Deny {
        /// Id or name.
        channel: String,
        /// Documented names.
        permissions: Vec<String>,
    },
}

fn close() -> String {
    "close".to_owned()
}

/// A fault with its bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Number.
    #[serde(default)]
    pub id: u64,
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only requests of this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only requests whose path holds this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many times still; without it, until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

impl Fault {
    fn hits(&self, method: &str, path: &str) -> bool {
        self.method.as_ref().is_none_or(|want| want.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|want| path.contains(want.as_str()))
    }
}

/// What befalls one request.
#[derive(Debug, Default, Clone)]
pub struct Fate {
    /// Wait first.
    pub latency: Duration,
    /// Then answer so, undone.
    pub answer: Option<(u16, Option<u64>, bool)>,
    /// Or do it and say nothing.
    pub drop_answer: bool,
    /// Or be away: `true` with a 503, `false` with a closed connection.
    pub down: Option<bool>,
}

/// All faults that are set.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    last: u64,
    /// Channel and bits of each `deny`.
    denied: Vec<(u64, Id, u64)>,
}

impl Faults {
    /// Sets one; `channel` is where a `deny` applies.
    pub fn set(&mut self, mut fault: Fault, channel: Option<Id>) -> Result<u64, String> {
        if self.list.len() >= FAULTS_MAX {
            return Err(format!("{FAULTS_MAX} faults are set; clear some first"));
        }
        if fault.times == Some(0) {
            return Err("times must be at least 1".to_owned());
        }
        match &fault.kind {
            FaultKind::Answer { status, .. } if !(400..600).contains(status) => {
                return Err(format!("{status} is no refusing status"));
            }
            FaultKind::TurnAway { code } if !(4_000..5_000).contains(code) => {
                return Err(format!("{code} is no code that the gateway closes with"));
            }
            FaultKind::Down { mode } if mode != "close" && mode != "503" => {
                return Err(format!("mode must be close or 503, not {mode}"));
            }
            _ => {}
        }
        self.last += 1;
        fault.id = self.last;
        if let FaultKind::Deny { permissions: names, .. } = &fault.kind {
            let channel = channel.ok_or("no such channel")?;
            let mut bits = 0;
            for name in names {
                bits |= permissions::bit(name).ok_or_else(|| format!("no permission is called {name}"))?;
            }
            self.denied.push((fault.id, channel, bits));
        }
        self.list.push(fault);
        Ok(self.last)
    }

    /// Clears one; tells whether it was set.
    pub fn clear(&mut self, id: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|fault| fault.id != id);
        self.denied.retain(|(fault, _, _)| *fault != id);
        self.list.len() < before
    }

    /// Clears all.
    pub fn clear_all(&mut self) {
        self.list.clear();
        self.denied.clear();
    }

    /// As the control API shows them.
    pub fn view(&self) -> Value {
        json!(self.list)
    }

    /// What befalls a request, counting down what is counted. The second value tells whether the list changed.
    pub fn befall(&mut self, method: &str, path: &str) -> (Fate, bool) {
        let mut fate = Fate::default();
        let mut counted = false;
        for fault in self.list.iter_mut().filter(|fault| fault.hits(method, path)) {
            let spent = match &fault.kind {
                FaultKind::Latency { latency_ms } => {
                    fate.latency = (fate.latency + Duration::from_millis(*latency_ms)).min(LATENCY_MAX);
                    true
                }
                FaultKind::Answer { status, retry_after_ms, global } if fate.answer.is_none() => {
                    fate.answer = Some((*status, *retry_after_ms, *global));
                    true
                }
                FaultKind::DropAnswer if !fate.drop_answer => {
                    fate.drop_answer = true;
                    true
                }
                FaultKind::Down { mode } => {
                    fate.down = Some(mode == "503");
                    true
                }
                _ => false,
            };
            if let Some(times) = fault.times.as_mut().filter(|_| spent) {
                *times -= 1;
                counted = true;
            }
        }
        self.drop_spent();
        (fate, counted)
    }

    /// Uses a fault of the gateway once; tells whether it is set.
    pub fn strikes(&mut self, kind: &FaultKind) -> bool {
        let Some(fault) = self.list.iter_mut().find(|fault| fault.kind == *kind) else { return false };
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        self.drop_spent();
        true
    }

    /// With which code the gateway turns everybody away, when it does.
    pub fn turns_away(&self) -> Option<u16> {
        self.list.iter().find_map(|fault| if let FaultKind::TurnAway { code } = fault.kind { Some(code) } else { None })
    }

    /// Whether a fault of this kind is set.
    pub fn has(&self, kind: &FaultKind) -> bool {
        self.list.iter().any(|fault| fault.kind == *kind)
    }

    /// Whether all is away.
    pub fn is_down(&self) -> bool {
        let whole = |fault: &Fault| fault.method.is_none() && fault.path.is_none();
        self.list.iter().any(|fault| whole(fault) && matches!(fault.kind, FaultKind::Down { .. }))
    }

    /// The bits that the bot lacks in a channel.
    pub fn denied(&self, channel: Id) -> u64 {
        self.denied.iter().filter(|(_, at, _)| *at == channel).fold(0, |bits, (_, _, more)| bits | more)
    }

    fn drop_spent(&mut self) {
        self.list.retain(|fault| fault.times != Some(0));
        let list = &self.list;
        self.denied.retain(|(id, _, _)| list.iter().any(|fault| fault.id == *id));
    }
}
