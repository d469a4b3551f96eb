//! A deploy, a rollback or a restart: what is planned, how far it is, what came of it.
//!
//! Pure. Owns the fold (`Deploy::apply`) and the words for its parts; how a plan is made is `plan.rs`, what is done next
//! `run.rs`, what came of it `judge.rs`, how it looks `board.rs`, who may ask for it `verbs/ship.rs`.

pub mod board;
pub mod judge;
pub mod plan;
pub mod run;

use serde::{Deserialize, Serialize};

use super::fact::{At, Fact};
use super::hosting::{Image, ReleaseRef, Running, Trouble};
use super::ids::{DeployId, EffectId, IncidentId, Person, Posted, Service};
use super::message::Text;
use super::workspace::Stage;

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another image, forward.
    Deploy,
    /// An earlier image again.
    Rollback,
    /// The same image, started anew.
    Restart,
}

impl Kind {
    /// "Roll back", on a button.
    pub fn verb(self) -> &'static str {
        match self {
            Kind::Deploy => "Deploy",
            Kind::Rollback => "Roll back",
            Kind::Restart => "Restart",
        }
    }

    /// "rollback", in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Deploy => "deploy",
            Kind::Rollback => "rollback",
            Kind::Restart => "restart",
        }
    }
}

/// An image and the release that put it up, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// The image.
    pub image: Image,
    /// The number of its release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Shipped {
    /// "v41 (deployment-7)", or the image alone.
    pub fn words(&self) -> String {
        match self.version {
            Some(version) => format!("v{version} ({})", self.image),
            None => self.image.to_string(),
        }
    }

    /// "v41", or the image.
    pub fn short(&self) -> String {
        self.version.map_or_else(|| self.image.to_string(), |version| format!("v{version}"))
    }
}

/// What is going to be done, before anybody has said yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What kind of change.
    pub kind: Kind,
    /// Of which service.
    pub service: Service,
    /// Which copy.
    pub stage: Stage,
    /// Its app at the host.
    pub app: String,
    /// What runs.
    pub from: Shipped,
    /// What will. The same for a restart.
    pub to: Shipped,
    /// The machines, in the order in which they are worked on.
    pub machines: Vec<Running>,
    /// Machines that may be away at once.
    pub at_once: u16,
    /// What it does not do, and what to know before saying yes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// SHA-256 over app, image and machines with their configurations, in hex: what somebody said yes to.
    pub hash: String,
}

/// Where one machine is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Machine {
    /// Nothing was done to it yet.
    Waiting,
    /// It is being worked on.
    InHand {
        /// By which effect.
        effect: EffectId,
    },
    /// It is done.
    Done,
    /// It went wrong.
    Failed {
        /// How.
        trouble: Trouble,
        /// A sentence.
        says: String,
    },
    /// Nothing is done to it any more.
    Left,
}

/// How far a deploy is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum Phase {
    /// Waits for somebody's yes.
    Planned {
        /// Until when that counts.
        until: At,
    },
    /// A release is put on the host's record.
    Opening,
    /// Machines are worked on.
    Rolling,
    /// The release's end is put on the host's record.
    Closing,
    /// The service is looked at when this time comes.
    Settling {
        /// When.
        until: At,
    },
    /// The service is being looked at.
    Judging,
    /// The first verdict is known; it is watched until then.
    Watching {
        /// Until when.
        until: At,
    },
    /// The last look.
    LastLook,
    /// Over.
    Over,
}

/// What came of it, as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every machine runs it, and the service answers.
    Succeeded,
    /// Every machine runs it, and nothing could be asked whether the service answers.
    Done,
    /// The host says that it failed; the service answers with it.
    ServingAlthoughFailed,
    /// Some machines run it, some do not; the service answers.
    Half,
    /// No machine runs it; the service answers with what ran before.
    ServingTheOld,
    /// The service does not answer.
    Failed,
    /// It could not be found out.
    Unknown,
    /// Another change was started before it could be judged.
    Superseded,
    /// Nobody said yes in time, or somebody said no.
    Cancelled,
}

impl Verdict {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Succeeded => "succeeded",
            Verdict::Done => "done; not measured whether it answers",
            Verdict::ServingAlthoughFailed => "serving, although the host says failed",
            Verdict::Half => "half done; it answers",
            Verdict::ServingTheOld => "not done; what ran before still answers",
            Verdict::Failed => "failed: it does not answer",
            Verdict::Unknown => "unknown: it could not be looked at",
            Verdict::Superseded => "not judged: another change was started",
            Verdict::Cancelled => "cancelled",
        }
    }

    /// Whether nothing has to be done about it.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Succeeded | Verdict::Done)
    }
}

/// One change to what a service runs, from a plan to a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// Its number.
    pub id: DeployId,
    /// What is, or was, to be done.
    pub plan: Plan,
    /// Who asked.
    pub by: Person,
    /// When.
    pub asked_at: At,
    /// The incident it is for.
    pub incident: Option<IncidentId>,
    /// Why, in the asker's words.
    pub why: Option<Text>,
    /// How far it is.
    pub phase: Phase,
    /// Who said yes.
    pub started_by: Option<Person>,
    /// When.
    pub started_at: Option<At>,
    /// When it was over, or judged.
    pub judged_at: Option<At>,
    /// The machines, as in the plan.
    pub machines: Vec<Machine>,
    /// The release that it put on the host's record.
    pub release: Option<ReleaseRef>,
    /// Why there is none, or why it stays open there.
    pub release_trouble: Option<String>,
    /// Who said stop.
    pub stopped_by: Option<Person>,
    /// What came of it.
    pub verdict: Option<Verdict>,
    /// What was seen, in a sentence.
    pub seen: Option<String>,
    /// Its card, once it stands.
    pub card: Option<Posted>,
}

impl Deploy {
    /// What a plan begins.
    pub fn planned(id: DeployId, at: At, fact: &Fact) -> Option<Self> {
        let Fact::DeployPlanned { plan, by, incident, why, until } = fact else { return None };
        Some(Self {
            id,
            machines: vec![Machine::Waiting; plan.machines.len()],
            plan: (**plan).clone(),
            by: by.clone(),
            asked_at: at,
            incident: *incident,
            why: why.clone(),
            phase: Phase::Planned { until: *until },
            started_by: None,
            started_at: None,
            judged_at: None,
            release: None,
            release_trouble: None,
            stopped_by: None,
            verdict: None,
            seen: None,
            card: None,
        })
    }

    /// Whether something may still be done.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Over
    }

    /// Whether somebody said yes and it is not over.
    pub fn is_started(&self) -> bool {
        self.is_open() && self.started_at.is_some()
    }

    /// Whether machines are being worked on: nobody else may.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Rolling | Phase::Closing)
    }

    /// When something has to be decided about it next.
    pub fn next_due(&self) -> Option<At> {
        match self.phase {
            Phase::Planned { until } | Phase::Settling { until } | Phase::Watching { until } => Some(until),
            _ => None,
        }
    }

    /// Machines that are done.
    pub fn done(&self) -> usize {
        self.machines.iter().filter(|machine| matches!(machine, Machine::Done)).count()
    }

    /// Whether a machine went wrong.
    pub fn trouble(&self) -> Option<(&Running, &Trouble, &str)> {
        self.plan.machines.iter().zip(&self.machines).find_map(|(planned, machine)| match machine {
            Machine::Failed { trouble, says } => Some((planned, trouble, says.as_str())),
            _ => None,
        })
    }

    /// Brings it forward by one fact.
    pub fn apply(&mut self, at: At, fact: &Fact) {
        match fact {
            Fact::DeployStarted { by, machines } => {
                self.started_by = Some(by.clone());
                self.started_at = Some(at);
                if let Some(machines) = machines {
                    self.plan.machines.clone_from(machines);
                }
                self.machines = vec![Machine::Waiting; self.plan.machines.len()];
                self.phase = if self.plan.kind == Kind::Restart { Phase::Rolling } else { Phase::Opening };
            }
            Fact::ReleaseOpened { release, trouble } => {
                self.release.clone_from(release);
                self.release_trouble.clone_from(trouble);
                self.phase = Phase::Rolling;
            }
            Fact::MachineTaken { machine, effect } => self.set(machine, Machine::InHand { effect: *effect }),
            Fact::MachineDone { machine, .. } => self.set(machine, Machine::Done),
            Fact::MachineFailed { machine, trouble, says, .. } => {
                self.set(machine, Machine::Failed { trouble: trouble.clone(), says: says.clone() });
            }
            Fact::MachineLeft { machine } => self.set(machine, Machine::Left),
            Fact::DeployStopped { by } => self.stopped_by = Some(by.clone()),
            Fact::ReleaseLeftOpen { trouble } => self.release_trouble = Some(trouble.clone()),
            Fact::ReleaseClosing => self.phase = Phase::Closing,
            Fact::Settling { until } => self.phase = Phase::Settling { until: *until },
            Fact::Surveying { last } => self.phase = if *last { Phase::LastLook } else { Phase::Judging },
            Fact::DeployJudged { verdict, seen, watch } => {
                self.verdict = Some(*verdict);
                self.seen = Some(seen.clone());
                self.judged_at = Some(at);
                self.phase = match watch {
                    Some(until) => Phase::Watching { until: *until },
                    None => Phase::Over,
                };
            }
            Fact::DeployCancelled { .. } => {
                self.verdict = Some(Verdict::Cancelled);
                self.judged_at = Some(at);
                self.phase = Phase::Over;
            }
            Fact::CardLost => self.card = None,
            _ => {}
        }
    }

    fn set(&mut self, id: &str, to: Machine) {
        let found = self.plan.machines.iter().position(|planned| planned.id == id);
        if let Some(machine) = found.and_then(|at| self.machines.get_mut(at)) {
            *machine = to;
        }
    }
}
