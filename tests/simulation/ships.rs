//! What an auditor keeps of deploys, rollbacks and restarts: promises 5 and 7 of ARCHITECTURE.md.
//!
//! Like `book.rs` it reads facts only and shares nothing with the fold.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Timelike, Weekday};

use super::host::{Host, status};
use crate::domain::deploy::gates::{Finding, Gate};
use crate::domain::deploy::{Kind, Phase, Plan};
use crate::domain::effect::{Effect, EffectKind};
use crate::domain::fact::{At, Fact, Status};
use crate::domain::hosting::{ReleaseEnd, Step};
use crate::domain::ids::{DeployId, EffectId, IncidentId, InputId, Person, Service, Thing};
use crate::domain::input::{Actor, Answers, InputKind};
use crate::domain::policy::Severity;
use crate::domain::refusal::Refusal;
use crate::domain::state::{Decided, State};

/// What is known of a deploy.
#[derive(Default)]
struct Told {
    /// Whether it waits for its hours.
    scheduled: bool,
    /// Machines that serve, and all.
    awake: BTreeSet<String>,
    machines: BTreeSet<String>,
    at_once: usize,
    started: bool,
    judged: bool,
    over: bool,
    taken: BTreeMap<String, EffectId>,
    in_hand: BTreeSet<String>,
    done: BTreeSet<String>,
    failed: bool,
    stopped: bool,
    /// Why the host's list does not say what it should.
    trouble: bool,
    /// What it is about; the first stage of it.
    plan: Option<Plan>,
    by: Option<Person>,
    by_itself: bool,
    waived: BTreeSet<Gate>,
    approval: Option<Approval>,
    prepared: BTreeSet<&'static str>,
    unprepared: bool,
    tried_again: BTreeSet<String>,
    /// It was judged, and not good.
    bad: bool,
}

/// Somebody's yes to a plan.
struct Approval {
    by: Person,
    hash: String,
    until: At,
    own: Option<String>,
}

/// Boxes on the checklist of the team's policy.
const CHECKLIST_ITEMS: usize = 4;

/// What can stand in a deploy's way, as the record has it.
#[derive(Default)]
struct InTheWay {
    freezes: BTreeMap<Option<Service>, Option<At>>,
    locks: BTreeMap<String, Person>,
    ticked: BTreeSet<(String, String)>,
    incidents: BTreeMap<IncidentId, Severity>,
    acknowledged: BTreeSet<IncidentId>,
    over: BTreeSet<IncidentId>,
}

impl InTheWay {
    fn team(&mut self, fact: &Fact) {
        match fact {
            Fact::Frozen { service, until, .. } => {
                self.freezes.insert(service.clone(), *until);
            }
            Fact::Thawed { service, .. } => {
                self.freezes.remove(service);
            }
            Fact::Locked { app, by, .. } => {
                self.locks.insert(app.clone(), by.clone());
            }
            Fact::Unlocked { app, .. } => {
                self.locks.remove(app);
            }
            Fact::Ticked { image, item, is_ticked: on, .. } => {
                let tick = (image.reference.clone(), item.clone());
                if *on {
                    self.ticked.insert(tick)
                } else {
                    self.ticked.remove(&tick)
                };
            }
            _ => {}
        }
    }

    /// An open incident of such a severity that somebody is on.
    fn severe(&self, up_to: Severity) -> bool {
        let is_on = |id: &IncidentId| self.acknowledged.contains(id) && !self.over.contains(id);
        self.incidents.iter().any(|(id, severity)| *severity <= up_to && is_on(id))
    }

    /// What refuses a plan for production now, as far as facts alone can tell.
    fn refuses(&self, plan: &Plan, by: &Person, now: At) -> Vec<Gate> {
        let local = now.with_timezone(&chrono_tz::America::Chicago);
        let is_day = matches!(local.weekday(), Weekday::Tue | Weekday::Wed | Weekday::Thu);
        let is_frozen = self.freezes.iter().any(|(service, until)| {
            service.as_ref().is_none_or(|service| *service == plan.service) && until.is_none_or(|until| now < until)
        });
        let ticked = self.ticked.iter().filter(|(image, _)| *image == plan.to.image.reference).count();
        let found = [
            (Gate::Window, !is_day || !(10..14).contains(&local.hour())),
            (Gate::Freeze, is_frozen || self.severe(Severity::Sev2)),
            (Gate::Checklist, ticked < CHECKLIST_ITEMS),
            (Gate::Lock, self.locks.get(&plan.app).is_some_and(|holder| holder != by)),
        ];
        found.into_iter().filter_map(|(gate, refuses)| refuses.then_some(gate)).collect()
    }
}

/// The auditor's part about deploys.
#[derive(Default)]
pub struct Ships {
    live: bool,
    /// Who pressed which deploy's button of yes, by input. Outlives the bot: people know what they pressed.
    pub yes: BTreeMap<InputId, DeployId>,
    deploys: BTreeMap<DeployId, Told>,
    in_the_way: InTheWay,
    /// Deploys of an image that were started.
    pub forward: u64,
    /// Deploys that the bot took back by itself.
    pub undone: u64,
    acts: BTreeMap<EffectId, DeployId>,
    /// Steps asked for.
    pub steps: u64,
    /// Rollbacks that took over from what ran.
    pub taken_over: u64,
}

impl Ships {
    /// Takes in one decision.
    ///
    /// # Errors
    /// What must never be on the record and is.
    pub fn read(&mut self, decided: &Decided) -> Result<(), String> {
        for (on, fact) in &decided.facts {
            match (on, fact) {
                (_, Fact::WentLive { .. }) => self.live = true,
                (_, Fact::WentObserving { .. }) => self.live = false,
                (_, Fact::Ticked { .. }) => self.in_the_way.team(fact),
                (Thing::Deploy(id), fact) => self.about(*id, decided, fact)?,
                (Thing::Incident(id), fact) => self.incident(*id, fact),
                (Thing::Team, fact) => self.in_the_way.team(fact),
            }
        }
        for effect in &decided.effects {
            self.asked(effect)?;
        }
        let has = |is: fn(&Fact) -> bool| decided.facts.iter().any(|(_, fact)| is(fact));
        let takes_over = has(|fact| matches!(fact, Fact::DeployStopped { .. }))
            && has(|fact| matches!(fact, Fact::DeployStarted { .. }));
        self.taken_over += u64::from(takes_over);
        Ok(())
    }

    fn incident(&mut self, id: IncidentId, fact: &Fact) {
        let book = &mut self.in_the_way;
        match fact {
            Fact::Opened { severity, .. } => {
                book.incidents.insert(id, *severity);
            }
            Fact::SeverityChanged { to, .. } => {
                book.incidents.insert(id, *to);
            }
            Fact::Acknowledged { .. } => {
                book.acknowledged.insert(id);
            }
            Fact::StatusChanged { to: Status::Resolved, .. } | Fact::Cancelled { .. } => {
                book.over.insert(id);
            }
            Fact::Reopened { .. } => {
                book.over.remove(&id);
            }
            _ => {}
        }
    }

    /// A deploy's gates and its approval, at the moment it starts.
    fn may_start(&self, id: DeployId, told: &Told, decided: &Decided, fact: &Fact) -> Result<(), String> {
        let (Some(plan), Some(asker), Fact::DeployStarted { checks, .. }) = (&told.plan, &told.by, fact) else {
            return Ok(());
        };
        if plan.kind != Kind::Deploy {
            return Ok(());
        }
        let now = decided.at;
        let said = checks.iter().filter(|check| check.found == Finding::Refuses).map(|check| check.gate);
        let own = self.in_the_way.refuses(plan, asker, now);
        if let Some(gate) = said.chain(own).find(|gate| !told.waived.contains(gate)) {
            return Err(format!("7: {id} passes the {} check, and nobody passed it with a reason", gate.name()));
        }
        let approval =
            told.approval.as_ref().ok_or_else(|| format!("7: {id} starts and nobody approved it as it is"))?;
        if approval.hash != plan.hash || approval.until <= now {
            return Err(format!("7: {id} starts, and what was approved was another plan or long ago"));
        }
        let glass = |why: &String| why.starts_with("glass broken") && self.in_the_way.severe(Severity::Sev1);
        if approval.by == *asker && !approval.own.as_ref().is_some_and(glass) {
            return Err(format!("7: {id} starts on the approval of whoever asked"));
        }
        Ok(())
    }

    /// Whether the bot may take a deploy back without being asked.
    fn may_undo(&self, id: DeployId, told: &Told) -> Result<(), String> {
        let app = |told: &Told| told.plan.as_ref().map(|plan| plan.app.clone());
        let is_cause = |other: &Told| {
            let is_bare =
                other.plan.as_ref().is_some_and(|plan| plan.kind == Kind::Deploy && plan.release_command.is_none());
            is_bare && app(other) == app(told) && !other.by_itself && (other.bad || other.failed)
        };
        // What was only planned meanwhile changed nothing.
        match self.deploys.range(..id).rev().find(|(_, other)| other.started) {
            Some((_, other)) if is_cause(other) => Ok(()),
            _ => Err(format!("5: {id} starts by itself, and nothing of the bot's own went wrong before it")),
        }
    }

    fn asked(&mut self, effect: &Effect) -> Result<(), String> {
        let EffectKind::Act { deploy, step, .. } = &effect.kind else { return Ok(()) };
        let told = self.deploys.get(deploy).filter(|told| told.started && !told.judged);
        let told = told.ok_or_else(|| format!("5: {deploy} is not under way and asks for {step:?}"))?;
        if let Step::CloseRelease { ended: ReleaseEnd::Complete, .. } = step
            && told.done != told.machines
        {
            return Err(format!("5: {deploy} is put on the list as complete and is not"));
        }
        self.acts.insert(effect.id, *deploy);
        self.steps += 1;
        Ok(())
    }

    fn about(&mut self, id: DeployId, decided: &Decided, fact: &Fact) -> Result<(), String> {
        if let Fact::DeployStarted { .. } = fact
            && let Some(told) = self.deploys.get(&id)
        {
            self.may_start(id, told, decided, fact)?;
            if told.by_itself {
                self.may_undo(id, told)?;
            }
            self.forward += u64::from(told.plan.as_ref().is_some_and(|plan| plan.kind == Kind::Deploy));
            self.undone += u64::from(told.by_itself);
        }
        if let Fact::DeployPlanned { plan, by, by_itself, .. } = fact {
            let machines = plan.machines.iter().map(|machine| machine.id.clone()).collect();
            let awake = plan.machines.iter().filter(|one| one.is_up()).map(|one| one.id.clone()).collect();
            let told = Told { machines, awake, at_once: usize::from(plan.at_once), ..Told::default() };
            let told = Told { plan: Some((**plan).clone()), by: Some(by.clone()), by_itself: *by_itself, ..told };
            return match self.deploys.insert(id, told) {
                Some(_) => Err(format!("4: the number {id} was used twice")),
                None => Ok(()),
            };
        }
        let told = self.deploys.get_mut(&id).ok_or_else(|| format!("4: {id} was never planned: {fact:?}"))?;
        let works = matches!(
            fact,
            Fact::DeployStarted { .. }
                | Fact::MachineTaken { .. }
                | Fact::MachineDone { .. }
                | Fact::MachineFailed { .. }
        );
        if told.over && works {
            return Err(format!("5: {id} is over, and then {fact:?}"));
        }
        match fact {
            Fact::DeployScheduled { .. } => told.scheduled = true,
            Fact::DeployAwaited { .. } | Fact::DeployRevised { .. } | Fact::DeployStarted { .. } => {
                told.scheduled = false
            }
            _ => {}
        }
        match fact {
            Fact::DeployStarted { machines, .. } => {
                if !told.by_itself && self.yes.get(&decided.input) != Some(&id) {
                    return Err(format!("5: {id} is started and nobody said yes: {}", decided.input));
                }
                if !self.live || told.started {
                    return Err(format!("5: {id} is started while observing, or once more"));
                }
                told.started = true;
                if let Some(machines) = machines {
                    told.machines = machines.iter().map(|machine| machine.id.clone()).collect();
                    told.awake = machines.iter().filter(|one| one.is_up()).map(|one| one.id.clone()).collect();
                }
            }
            Fact::DeployRevised { plan, .. } => {
                let machines = plan.machines.iter();
                told.machines = machines.clone().map(|machine| machine.id.clone()).collect();
                told.awake = machines.filter(|one| one.is_up()).map(|one| one.id.clone()).collect();
                told.at_once = usize::from(plan.at_once);
                (told.plan, told.approval) = (Some((**plan).clone()), None);
            }
            Fact::GateOverridden { gate, .. } => {
                told.waived.insert(*gate);
            }
            Fact::DeployApproved { by, hash, until, own } => {
                let (by, hash, own) = (by.clone(), hash.clone(), own.clone());
                told.approval = Some(Approval { by, hash, until: *until, own });
            }
            Fact::Preparing { what } if !told.prepared.insert(what.words()) || told.unprepared => {
                return Err(format!("5: {id} does {} again, or after it went wrong", what.words()));
            }
            Fact::Prepared { trouble, .. } => told.unprepared |= trouble.is_some(),
            Fact::MachineTriedAgain { machine, .. } if !told.tried_again.insert(machine.clone()) => {
                return Err(format!("5: {id} tries {machine} a third time"));
            }
            Fact::MachineTaken { .. } if told.unprepared => {
                return Err(format!("5: {id} goes on to its machines, and what comes before them went wrong"));
            }
            Fact::MachineTaken { machine, effect } => {
                if told.taken.insert(machine.clone(), *effect).is_some() || told.stopped || told.failed {
                    return Err(format!("5: {id} takes {machine} in hand again, or after it was to stop"));
                }
                told.in_hand.insert(machine.clone());
                if told.in_hand.intersection(&told.awake).count() > told.at_once {
                    return Err(format!("5: {id} has more machines away at once than were planned"));
                }
            }
            Fact::MachineDone { machine, .. } => {
                told.in_hand.remove(machine);
                told.done.insert(machine.clone());
            }
            Fact::MachineFailed { machine, .. } => {
                told.in_hand.remove(machine);
                told.failed = true;
            }
            Fact::DeployStopped { .. } => told.stopped = true,
            Fact::ReleaseOpened { trouble, .. } => told.trouble |= trouble.is_some(),
            Fact::ReleaseLeftOpen { .. } => told.trouble = true,
            Fact::DeployJudged { verdict, watch, .. } => {
                told.bad |= !verdict.is_good();
                if (told.failed || told.unprepared) && verdict.is_good() {
                    return Err(format!("5: {id} went wrong and is called {}", verdict.words()));
                }
                if !told.in_hand.is_empty() {
                    return Err(format!("5: {id} is judged with a machine in hand"));
                }
                told.judged = true;
                told.over = watch.is_none();
            }
            Fact::DeployCancelled { .. } => {
                if told.started {
                    return Err(format!("5: {id} is called off and was under way"));
                }
                (told.judged, told.over) = (true, true);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a step may change a machine now.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_change(&self, effect: EffectId) -> Result<(), String> {
        let id = self.acts.get(&effect).ok_or_else(|| format!("5: step {effect} was never recorded"))?;
        match self.deploys.get(id) {
            Some(told) if told.started && !told.judged => Ok(()),
            _ => Err(format!("5: {id} changes a machine ({effect}), and nobody said yes or it is judged already")),
        }
    }

    /// The end: every deploy is over, and the host's list and machines are as the record says.
    ///
    /// # Errors
    /// What is not.
    pub fn reckon(&self, host: &Host, mark: impl Fn(EffectId) -> String) -> Result<(), String> {
        for (id, told) in &self.deploys {
            if !told.over && !told.scheduled {
                return Err(format!("5: {id} never came to its end"));
            }
            let untrue = told.done.iter().find(|machine| {
                told.taken.get(*machine).is_none_or(|effect| !host.was_changed(machine, &mark(*effect)))
            });
            if let Some(machine) = untrue {
                return Err(format!("5: machine {machine} is done for {id} on the record, and was never changed"));
            }
        }
        for opened in &host.releases {
            let Some(id) = opened.by.as_ref().and_then(|(effect, _)| self.acts.get(effect)) else { continue };
            let Some(told) = self.deploys.get(id).filter(|told| !told.trouble) else { continue };
            let should = match () {
                () if told.failed || told.unprepared => ReleaseEnd::Failed,
                () if told.done == told.machines => ReleaseEnd::Complete,
                () => ReleaseEnd::Interrupted,
            };
            let (is, version) = (&opened.release.status, opened.release.version);
            if is != status(should) {
                return Err(format!("5: v{version} of {id} is listed as {is}, and should be {}", status(should)));
            }
        }
        Ok(())
    }

    /// Deploys that were planned, and those that were started.
    pub fn count(&self) -> (u64, u64) {
        let started = self.deploys.values().filter(|told| told.started).count();
        (self.deploys.len() as u64, started as u64)
    }
}

/// Why a refusal is wrong: a rollback, by somebody with the right, while no other rollback runs.
pub fn wrongly_refused(state: &State, kind: &InputKind, answers: &Answers, refusal: &Refusal) -> Option<String> {
    let (who, asks): (&Actor, bool) = match kind {
        InputKind::Call(call) if call.command == "rollback" => (&call.who, true),
        InputKind::Press(press) if press.action.starts_with("rollback:") => (&press.who, true),
        InputKind::Press(press) => {
            let id = press.action.strip_prefix("go:").and_then(|id| id.parse().ok()).map(DeployId)?;
            let planned = state.team.deploys.get(&id).filter(|deploy| deploy.plan.kind == Kind::Rollback)?;
            if !matches!(planned.phase, Phase::Planned { .. }) || !state.team.live {
                return None;
            }
            (&press.who, false)
        }
        _ => return None,
    };
    // Freezes, locks and hours are no reason either: they are looked at in every history.
    let running = || state.team.deploys.values().filter(|deploy| deploy.is_running());
    let answered = matches!(answers.inventories.values().next(), Some(Ok(inventory)) if inventory.releases.is_ok());
    let may = who.roles.iter().any(|role| matches!(role.as_str(), "engineer" | "reliability"));
    if running().any(|deploy| deploy.plan.kind == Kind::Rollback) || !may || (asks && !answered) {
        return None;
    }
    let said = refusal.to_string();
    let fair = said.starts_with("There is no earlier release") || said.ends_with(" already.");
    (!fair).then(|| format!("7: a rollback is refused: {said}"))
}
