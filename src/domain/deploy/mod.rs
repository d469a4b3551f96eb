//! A deploy, a rollback or a restart: what is planned, how far it is, what came of it.
//!
//! Pure. Owns the fold (`Deploy::apply`) and the words for its parts; how a plan is made is `plan.rs`, what can refuse it
//! `gates.rs`, what is done next `run.rs`, how it goes from stage to stage `staged.rs`, what came of it `judge.rs`, what a change of size or count is `scale.rs`, when it is
//! taken back without being asked `undo.rs`, what was seen against an image `known.rs`, what a digest says of it `day.rs`, how it looks `board.rs`, who may ask for it `verbs/ship.rs` and `verbs/deploy.rs`.

pub mod board;
pub mod day;
pub mod gates;
pub mod judge;
mod kind;
pub mod known;
pub mod late;
pub mod plan;
pub mod run;
pub mod scale;
pub mod staged;
pub mod undo;
mod verdict;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::fact::{At, Fact};
use super::hosting::{Image, ReleaseRef, Running, Trouble};
use super::ids::{DeployId, EffectId, IncidentId, Person, Posted, Service};
use super::message::Text;
use super::pipeline::Request;
use super::workspace::Stage;
use gates::{Check, Waiver};
pub use kind::{Kind, Preparation, Strategy};
pub use verdict::Verdict;

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
    /// In which order machines are changed.
    #[serde(default, skip_serializing_if = "Strategy::is_rolling")]
    pub strategy: Strategy,
    /// What is run once with the new image before the first machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command: Option<String>,
    /// Why it is not known whether something is to be run before, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command_unknown: Option<String>,
    /// What is to be different, where the image stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<scale::Scale>,
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
    /// Waits for its hours.
    Scheduled {
        /// Until when.
        until: At,
    },
    /// A release is put on the host's record.
    Opening,
    /// Something is done before the first machine.
    Preparing {
        /// What.
        what: Preparation,
    },
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
    /// One stage is done, the next one is looked at before it begins.
    Crossing,
    /// Over.
    Over,
}

/// Somebody's approval of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: Person,
    /// Of what.
    pub hash: String,
    /// Until when it counts.
    pub until: At,
    /// Why whoever asked may approve it themselves, when it is they.
    pub own: Option<String>,
}

/// A stage that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Which.
    pub stage: Stage,
    /// In a word.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// The app it was done on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<At>,
}

/// Digits of a plan's hash on its buttons.
const MARK_CHARS: usize = 8;

fn is_none_yet(count: &u8) -> bool {
    *count == 0
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
    /// When the stage at hand began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_at: Option<At>,
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
    /// Whether the bot asked for it itself, on behalf of `by`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_itself: bool,
    /// What is to follow in later stages, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Plan>,
    /// Stages that are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<Passed>,
    /// What can refuse it, as it was found last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Checks that somebody passed with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<Waiver>,
    /// Whether those who may approve it were asked to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval_asked: bool,
    /// Somebody's approval, until it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What changed since it was planned first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised: Option<String>,
    /// What was to be done before the first machine and went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprepared: Option<(Preparation, Trouble, String)>,
    /// Machines that were restarted once because they did not come up well.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tried_again: BTreeSet<String>,
    /// How many times more its release was to be closed on the host's record.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub closed_again: u8,
    /// The machine that was woken to see that it comes up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken: Option<String>,
    /// Until when it is watched, since its first good verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_until: Option<At>,
    /// By when it is to be done, where that is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_at: Option<At>,
    /// Whether it was said that it is not done in time, or will not be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_late: bool,
    /// The request, when a pipeline asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// Who put it off until its hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_by: Option<Person>,
    /// Who said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_off_by: Option<Person>,
}

impl Deploy {
    /// What a plan begins.
    pub fn planned(id: DeployId, at: At, fact: &Fact) -> Option<Self> {
        let Fact::DeployPlanned { plan, by, incident, why, until, then, checks, by_itself, request } = fact else {
            return None;
        };
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
            stage_at: None,
            judged_at: None,
            release: None,
            release_trouble: None,
            stopped_by: None,
            verdict: None,
            seen: None,
            card: None,
            by_itself: *by_itself,
            then: then.clone(),
            passed: Vec::new(),
            checks: checks.clone(),
            waivers: Vec::new(),
            approval_asked: false,
            approval: None,
            revised: None,
            unprepared: None,
            tried_again: BTreeSet::new(),
            closed_again: 0,
            woken: None,
            watched_until: None,
            late_at: None,
            is_late: false,
            request: request.clone(),
            scheduled_by: None,
            called_off_by: None,
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
        matches!(self.phase, Phase::Opening | Phase::Preparing { .. } | Phase::Rolling | Phase::Closing)
    }

    /// Whether nothing is done before somebody says yes.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Planned { .. } | Phase::Scheduled { .. })
    }

    /// Whether somebody asked for it, or set the pipeline off that did: they do not approve it.
    pub fn was_asked_by(&self, person: &Person) -> bool {
        self.by == *person || self.request.as_ref().is_some_and(|request| request.person.as_ref() == Some(person))
    }

    /// The person who asked for it, where one is known: a pipeline is none.
    pub fn asker(&self) -> Option<&Person> {
        match &self.request {
            Some(request) => request.person.as_ref(),
            None => Some(&self.by),
        }
    }

    /// The stages that are still to come or under way, in order.
    pub fn stages(&self) -> impl DoubleEndedIterator<Item = &Plan> {
        std::iter::once(&self.plan).chain(&self.then)
    }

    /// Whether it touches an app, now or in a later stage.
    pub fn touches(&self, app: &str) -> bool {
        self.stages().any(|plan| plan.app == app)
    }

    /// What an approval is of: everything that would still be done.
    pub fn hash(&self) -> String {
        plan::hash_of(self.stages())
    }

    /// What its buttons are told by: which plan a yes is to.
    pub fn mark(&self) -> String {
        self.hash().chars().take(MARK_CHARS).collect()
    }

    /// Whether it went wrong before or at a machine.
    pub fn went_wrong(&self) -> bool {
        self.unprepared.is_some() || self.trouble().is_some()
    }

    /// When something has to be decided about it next.
    pub fn next_due(&self) -> Option<At> {
        match self.phase {
            Phase::Planned { until } | Phase::Scheduled { until } => {
                Some(self.approval.as_ref().map_or(until, |approval| approval.until.min(until)))
            }
            Phase::Settling { until } | Phase::Watching { until } => Some(until),
            _ => self.late_at.filter(|_| self.waits_for_time()),
        }
    }

    /// Whether it is not done by then, or it was foreseen that it would not be.
    pub fn is_late_at(&self, now: At) -> bool {
        self.is_late || self.late_at.is_some_and(|at| at <= now)
    }

    /// Whether it may still become late.
    pub fn waits_for_time(&self) -> bool {
        let has_more = matches!(self.phase, Phase::Opening | Phase::Preparing { .. } | Phase::Rolling);
        has_more && !self.is_late && self.stopped_by.is_none()
    }

    /// Whether the host's record still has a release of it open that should be closed, and nothing is under way.
    pub fn left_a_release_open(&self) -> bool {
        let is_past_its_machines = matches!(
            self.phase,
            Phase::Settling { .. } | Phase::Judging | Phase::Watching { .. } | Phase::LastLook | Phase::Over
        );
        is_past_its_machines && self.release.is_some() && self.release_trouble.is_some()
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
            Fact::DeployRevised { plan, then, checks, until, what } => {
                self.machines = vec![Machine::Waiting; plan.machines.len()];
                self.plan = (**plan).clone();
                self.then.clone_from(then);
                self.checks.clone_from(checks);
                // A yes to what was is none to what is.
                (self.approval, self.approval_asked) = (None, false);
                // What the stage before left on the host's record is not this one's.
                (self.release, self.release_trouble, self.closed_again) = (None, None, 0);
                self.revised = Some(what.clone());
                self.phase = Phase::Planned { until: *until };
            }
            Fact::GateOverridden { gate, by, why } => {
                self.waivers.retain(|waiver| waiver.gate != *gate);
                self.waivers.push(Waiver { gate: *gate, by: by.clone(), why: why.clone() });
            }
            Fact::ApprovalAsked => self.approval_asked = true,
            Fact::ApprovalLapsed => (self.approval, self.approval_asked) = (None, false),
            Fact::DeployApproved { by, hash, until, own } => {
                let (by, hash, own) = (by.clone(), hash.clone(), own.clone());
                self.approval = Some(Approval { by, hash, until: *until, own });
            }
            Fact::DeployScheduled { at, by } => {
                self.scheduled_by = Some(by.clone());
                self.phase = Phase::Scheduled { until: *at };
            }
            Fact::DeployAwaited { until } => {
                self.approval_asked = false;
                self.phase = Phase::Planned { until: *until };
            }
            Fact::DeployStarted { by, machines, checks, late_at } => {
                self.started_by = Some(by.clone());
                self.late_at = *late_at;
                self.started_at.get_or_insert(at);
                if !checks.is_empty() {
                    self.checks.clone_from(checks);
                }
                if let Some(machines) = machines {
                    self.plan.machines.clone_from(machines);
                }
                self.begin(at);
            }
            Fact::DeployLate => self.is_late = true,
            Fact::StageDone { verdict, seen } => {
                self.passed.push(Passed {
                    stage: self.plan.stage,
                    verdict: *verdict,
                    seen: seen.clone(),
                    app: self.plan.app.clone(),
                    began_at: self.stage_at,
                });
                self.phase = Phase::Crossing;
            }
            Fact::StageEntered { plan, checks } => {
                self.plan = (**plan).clone();
                if !self.then.is_empty() {
                    self.then.remove(0);
                }
                self.checks.clone_from(checks);
                self.begin(at);
            }
            Fact::Preparing { what } => self.phase = Phase::Preparing { what: *what },
            Fact::Prepared { what, trouble } => {
                self.unprepared = trouble.as_ref().map(|(kind, says)| (*what, kind.clone(), says.clone()));
                self.phase = Phase::Rolling;
            }
            Fact::MachineTriedAgain { machine, effect, .. } => {
                self.tried_again.insert(machine.clone());
                self.set(machine, Machine::InHand { effect: *effect });
            }
            Fact::MachineWoken { machine, effect } => {
                self.woken = Some(machine.clone());
                self.set(machine, Machine::InHand { effect: *effect });
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
            Fact::ReleaseClosingAgain => self.closed_again = self.closed_again.saturating_add(1),
            Fact::ReleaseClosed => self.release_trouble = None,
            Fact::Settling { until } => self.phase = Phase::Settling { until: *until },
            Fact::Surveying { last } => self.phase = if *last { Phase::LastLook } else { Phase::Judging },
            Fact::DeployJudged { verdict, seen, watch } => {
                self.verdict = Some(*verdict);
                self.seen = Some(seen.clone());
                self.judged_at = Some(at);
                self.watched_until = self.watched_until.or(*watch);
                self.phase = match watch {
                    Some(until) => Phase::Watching { until: *until },
                    None => Phase::Over,
                };
            }
            Fact::DeployCancelled { by, why } => {
                self.called_off_by.clone_from(by);
                self.seen = Some(why.clone());
                self.verdict = Some(Verdict::Cancelled);
                self.judged_at = Some(at);
                self.phase = Phase::Over;
            }
            Fact::CardLost => self.card = None,
            _ => {}
        }
    }

    /// The stage at hand begins.
    fn begin(&mut self, at: At) {
        self.stage_at = Some(at);
        self.machines = vec![Machine::Waiting; self.plan.machines.len()];
        (self.release, self.release_trouble, self.closed_again) = (None, None, 0);
        (self.unprepared, self.woken, self.verdict, self.seen) = (None, None, None, None);
        self.tried_again.clear();
        self.phase = if self.plan.kind.ships() { Phase::Opening } else { Phase::Rolling };
    }

    fn set(&mut self, id: &str, to: Machine) {
        let found = self.plan.machines.iter().position(|planned| planned.id == id);
        if let Some(machine) = found.and_then(|at| self.machines.get_mut(at)) {
            *machine = to;
        }
    }
}
