//! What an auditor keeps of deploys, rollbacks and restarts: promises 5 and 7 of ARCHITECTURE.md.
//!
//! Like `book.rs` it reads facts only and shares nothing with the fold.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Timelike, Weekday};

use super::host::{Host, status};
use crate::domain::deploy::gates::{Check, Finding, Gate};
use crate::domain::deploy::scale::Scale;
use crate::domain::deploy::{Kind, Plan, plan};
use crate::domain::effect::{Effect, EffectKind};
use crate::domain::fact::{At, Fact, Status};
use crate::domain::hosting::{ReleaseEnd, Running, Step};
use crate::domain::ids::{DeployId, EffectId, IncidentId, InputId, Person, Service, Thing};
use crate::domain::policy::Severity;
use crate::domain::state::Decided;
use crate::domain::workspace::Stage;

/// One stage of a deploy: what is done there, and how far it is.
struct Leg {
    plan: Plan,
    /// Machines that serve, and all.
    awake: BTreeSet<String>,
    machines: BTreeSet<String>,
    taken: BTreeMap<String, EffectId>,
    in_hand: BTreeSet<String>,
    done: BTreeSet<String>,
    failed: bool,
    prepared: BTreeSet<&'static str>,
    unprepared: bool,
    tried_again: BTreeSet<String>,
    /// The host's list does not say what it should.
    trouble: bool,
    /// Because the release could not be closed.
    left_open: bool,
}

impl Leg {
    fn new(plan: &Plan) -> Self {
        let mut leg = Self {
            plan: plan.clone(),
            awake: BTreeSet::new(),
            machines: BTreeSet::new(),
            taken: BTreeMap::new(),
            in_hand: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: false,
            prepared: BTreeSet::new(),
            unprepared: false,
            tried_again: BTreeSet::new(),
            trouble: false,
            left_open: false,
        };
        leg.is_about(&plan.machines);
        leg
    }

    fn is_about(&mut self, machines: &[Running]) {
        self.machines = machines.iter().map(|machine| machine.id.clone()).collect();
        self.awake = machines.iter().filter(|one| one.is_up()).map(|one| one.id.clone()).collect();
    }

    /// What a fact about its machines makes of it.
    fn goes_on(&mut self, id: DeployId, is_stopped: bool, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Preparing { what } if !self.prepared.insert(what.words()) || self.unprepared => {
                return Err(format!("5: {id} does {} again, or after it went wrong", what.words()));
            }
            Fact::Prepared { trouble, .. } => self.unprepared |= trouble.is_some(),
            Fact::MachineTriedAgain { machine, .. } if !self.tried_again.insert(machine.clone()) => {
                return Err(format!("5: {id} tries {machine} a third time"));
            }
            Fact::MachineTaken { .. } if self.unprepared => {
                return Err(format!("5: {id} goes on to its machines, and what comes before them went wrong"));
            }
            Fact::MachineTaken { machine, effect } => {
                let again = self.taken.insert(machine.clone(), *effect).is_some() && !self.takes_twice();
                // What was written to a machine that comes back from zero is followed by its start, whatever was said meanwhile.
                if again || ((is_stopped || self.failed) && !self.done.contains(machine)) {
                    return Err(format!("5: {id} takes {machine} in hand again, or after it was to stop"));
                }
                self.done.remove(machine);
                self.in_hand.insert(machine.clone());
                if self.in_hand.intersection(&self.awake).count() > usize::from(self.plan.at_once) {
                    return Err(format!("5: {id} has more machines away at once than were planned"));
                }
            }
            Fact::MachineWoken { machine, .. } => {
                self.in_hand.insert(machine.clone());
            }
            Fact::MachineDone { machine, .. } => {
                self.in_hand.remove(machine);
                self.done.insert(machine.clone());
            }
            Fact::MachineFailed { machine, .. } => {
                self.in_hand.remove(machine);
                self.done.remove(machine);
                self.failed = true;
            }
            Fact::ReleaseOpened { trouble, .. } => self.trouble |= trouble.is_some(),
            Fact::ReleaseLeftOpen { .. } => (self.trouble, self.left_open) = (true, true),
            _ => {}
        }
        Ok(())
    }

    /// A machine that is brought back from zero is changed first, and started then.
    fn takes_twice(&self) -> bool {
        matches!(self.plan.scale, Some(Scale::Again { .. }))
    }
}

/// What is known of a deploy.
struct Told {
    by: Person,
    by_itself: bool,
    /// The stage at hand, those that are done, and those that follow.
    leg: Leg,
    passed: Vec<Leg>,
    then: Vec<Plan>,
    /// A stage is done, and the next is not begun.
    crossing: bool,
    /// Whether it waits for its hours, or for a yes since they came.
    scheduled: bool,
    started: bool,
    /// The line with which it began, or its stage at hand: what is planned first is not always started first.
    begun: u64,
    stopped: bool,
    judged: bool,
    over: bool,
    /// It was judged, and not good.
    bad: bool,
    waived: BTreeSet<Gate>,
    approval: Option<Approval>,
}

impl Told {
    /// What is still to be done, in order.
    fn plans(&self) -> impl Iterator<Item = &Plan> {
        std::iter::once(&self.leg.plan).filter(|_| !self.crossing).chain(&self.then)
    }

    fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.passed.iter().chain(std::iter::once(&self.leg).filter(|_| !self.crossing))
    }

    /// What a fact makes of it.
    fn goes_on(&mut self, id: DeployId, fact: &Fact) -> Result<(), String> {
        let works = matches!(
            fact,
            Fact::DeployStarted { .. }
                | Fact::StageEntered { .. }
                | Fact::MachineTaken { .. }
                | Fact::MachineDone { .. }
                | Fact::MachineFailed { .. }
        );
        if self.over && works {
            return Err(format!("5: {id} is over, and then {fact:?}"));
        }
        match fact {
            Fact::DeployScheduled { .. } => self.scheduled = true,
            Fact::DeployStarted { machines, .. } => {
                (self.scheduled, self.started) = (false, true);
                if let Some(machines) = machines {
                    self.leg.is_about(machines);
                }
            }
            Fact::DeployRevised { plan, then, .. } => {
                (self.scheduled, self.started, self.crossing, self.approval) = (false, false, false, None);
                (self.leg, self.then) = (Leg::new(plan), then.clone());
            }
            Fact::StageDone { verdict, .. } => {
                if !verdict.is_good() || !self.leg.in_hand.is_empty() || self.leg.failed || self.leg.unprepared {
                    return Err(format!("5: {id} went wrong in a stage that is called {}", verdict.words()));
                }
                let next = self.then.first().ok_or_else(|| format!("5: {id} has no stage after this one"))?;
                let done = std::mem::replace(&mut self.leg, Leg::new(next));
                self.passed.push(done);
                self.crossing = true;
            }
            Fact::StageEntered { plan, .. } => {
                self.then.remove(0);
                (self.leg, self.crossing) = (Leg::new(plan), false);
            }
            // From now on the host's list has to say what was done.
            Fact::ReleaseClosed => {
                let legs = std::iter::once(&mut self.leg).chain(self.passed.iter_mut().rev());
                legs.into_iter().find(|leg| leg.trouble).into_iter().for_each(|leg| leg.trouble = false);
            }
            Fact::GateOverridden { gate, .. } => {
                self.waived.insert(*gate);
            }
            Fact::DeployApproved { by, hash, until, own } => {
                let (by, hash, own) = (by.clone(), hash.clone(), own.clone());
                self.approval = Some(Approval { by, hash, until: *until, own });
            }
            Fact::DeployStopped { .. } => self.stopped = true,
            Fact::DeployJudged { verdict, watch, .. } => {
                self.bad |= !verdict.is_good();
                if (self.leg.failed || self.leg.unprepared) && verdict.is_good() {
                    return Err(format!("5: {id} went wrong and is called {}", verdict.words()));
                }
                if !self.leg.in_hand.is_empty() {
                    return Err(format!("5: {id} is judged with a machine in hand"));
                }
                self.judged = true;
                self.over = watch.is_none();
            }
            Fact::DeployCancelled { .. } => {
                if self.started {
                    return Err(format!("5: {id} is called off and was under way"));
                }
                (self.judged, self.over) = (true, true);
            }
            _ => return self.leg.goes_on(id, self.stopped, fact),
        }
        Ok(())
    }
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

    /// What refuses these stages now, as far as facts alone can tell.
    fn refuses(&self, plans: &[&Plan], by: &Person, now: At) -> Vec<Gate> {
        let is_locked = plans.iter().any(|plan| self.locks.get(&plan.app).is_some_and(|holder| holder != by));
        let is_untold = plans.iter().any(|plan| plan.release_command_unknown.is_some());
        let always = [(Gate::Lock, is_locked), (Gate::Command, is_untold)];
        let Some(plan) = plans.last().filter(|last| last.stage == Stage::Production) else {
            return always.into_iter().filter_map(|(gate, refuses)| refuses.then_some(gate)).collect();
        };
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
        ];
        found.into_iter().chain(always).filter_map(|(gate, refuses)| refuses.then_some(gate)).collect()
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
    /// Forms that were sent with a service's name in them: a yes as well, to what they begin.
    pub typed: BTreeSet<InputId>,
    /// Deploys of an image that were started.
    pub forward: u64,
    /// Deploys that went from one stage to the next.
    pub crossed: u64,
    /// Changes of size, of count, to zero and back that were started.
    pub scaled: u64,
    /// Deploys that the bot took back by itself.
    pub undone: u64,
    /// What was asked for: by which deploy, in which of its stages.
    acts: BTreeMap<EffectId, (DeployId, usize, Step)>,
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
                (Thing::Alert(_), _) => {}
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

    /// The gates of what is still to be done, now.
    fn gates(
        &self,
        id: DeployId,
        told: &Told,
        plans: &[&Plan],
        decided: &Decided,
        checks: &[Check],
    ) -> Result<(), String> {
        let said = checks.iter().filter(|check| check.found == Finding::Refuses).map(|check| check.gate);
        let own = self.in_the_way.refuses(plans, &told.by, decided.at);
        match said.chain(own).find(|gate| !told.waived.contains(gate)) {
            Some(gate) => Err(format!("7: {id} passes the {} check, and nobody passed it with a reason", gate.name())),
            None => Ok(()),
        }
    }

    /// A deploy's gates and its approval, at the moment it starts.
    fn may_start(&self, id: DeployId, told: &Told, decided: &Decided, checks: &[Check]) -> Result<(), String> {
        if told.leg.plan.kind != Kind::Deploy {
            return Ok(());
        }
        let plans: Vec<&Plan> = told.plans().collect();
        self.gates(id, told, &plans, decided, checks)?;
        let approval =
            told.approval.as_ref().ok_or_else(|| format!("7: {id} starts and nobody approved it as it is"))?;
        if approval.hash != plan::hash_of(told.plans()) || approval.until <= decided.at {
            return Err(format!("7: {id} starts, and what was approved was another plan or long ago"));
        }
        let glass = |why: &String| why.starts_with("glass broken") && self.in_the_way.severe(Severity::Sev1);
        if approval.by == told.by && !approval.own.as_ref().is_some_and(glass) {
            return Err(format!("7: {id} starts on the approval of whoever asked"));
        }
        Ok(())
    }

    /// From one stage to the next: only with the same image, done well, and while it is what was approved.
    fn may_enter(
        &self,
        id: DeployId,
        told: &Told,
        plan: &Plan,
        decided: &Decided,
        checks: &[Check],
    ) -> Result<(), String> {
        let was_tried =
            told.passed.last().is_some_and(|leg| leg.plan.to.image == plan.to.image && leg.done == leg.machines);
        if !told.crossing || !was_tried || told.stopped {
            return Err(format!("7: {id} goes on to {}, and was not seen to do well before it", plan.stage.name()));
        }
        if told.then.first().is_none_or(|planned| planned.hash != plan.hash) {
            return Err(format!("7: {id} goes on to {} with what nobody said yes to", plan.stage.name()));
        }
        self.gates(id, told, &[plan], decided, checks)
    }

    /// Whether the bot may take a deploy back without being asked.
    fn may_undo(&self, id: DeployId, told: &Told) -> Result<(), String> {
        let is_cause = |other: &Told| {
            let plan = &other.leg.plan;
            let is_bare =
                plan.kind == Kind::Deploy && plan.release_command.is_none() && plan.release_command_unknown.is_none();
            is_bare && !other.by_itself && (other.bad || other.leg.failed)
        };
        // What was only planned meanwhile, or elsewhere, changed nothing here.
        let is_here = |other: &Told| other.started && other.leg.plan.app == told.leg.plan.app;
        let others = self.deploys.iter().filter(|(other, told)| **other != id && is_here(told));
        match others.max_by_key(|(_, told)| told.begun) {
            Some((_, other)) if is_cause(other) => Ok(()),
            _ => Err(format!("5: {id} starts by itself, and nothing of the bot's own went wrong before it")),
        }
    }

    fn asked(&mut self, effect: &Effect) -> Result<(), String> {
        let EffectKind::Act { deploy, app, step, .. } = &effect.kind else { return Ok(()) };
        let told = self.deploys.get(deploy).ok_or_else(|| format!("4: {deploy} was never planned: {step:?}"))?;
        let closes = matches!(step, Step::CloseRelease { .. });
        let legs = || told.legs().enumerate();
        // What could not be closed on the host's list in its turn is closed later, whatever was judged meanwhile.
        let left_open = legs().filter(|(_, leg)| closes && leg.left_open).find(|(_, leg)| leg.plan.app == *app);
        let at_hand = legs().last().filter(|_| told.started && !told.judged && !told.crossing);
        let at_hand = at_hand.filter(|(_, leg)| leg.plan.app == *app);
        let (stage, leg) = at_hand
            .or(left_open)
            .ok_or_else(|| format!("5: {deploy} is not under way on {app} and asks for {step:?}"))?;
        if let Step::CloseRelease { ended: ReleaseEnd::Complete, .. } = step
            && leg.done != leg.machines
        {
            return Err(format!("5: {deploy} is put on the list as complete and is not"));
        }
        self.acts.insert(effect.id, (*deploy, stage, step.clone()));
        self.steps += 1;
        Ok(())
    }

    fn about(&mut self, id: DeployId, decided: &Decided, fact: &Fact) -> Result<(), String> {
        if let Fact::DeployPlanned { plan, by, by_itself, then, .. } = fact {
            let told = Told {
                by: by.clone(),
                by_itself: *by_itself,
                leg: Leg::new(plan),
                passed: Vec::new(),
                then: then.clone(),
                crossing: false,
                scheduled: false,
                started: false,
                begun: 0,
                stopped: false,
                judged: false,
                over: false,
                bad: false,
                waived: BTreeSet::new(),
                approval: None,
            };
            return match self.deploys.insert(id, told) {
                Some(_) => Err(format!("4: the number {id} was used twice")),
                None => Ok(()),
            };
        }
        let told = self.deploys.get(&id).ok_or_else(|| format!("4: {id} was never planned: {fact:?}"))?;
        match fact {
            Fact::DeployStarted { checks, .. } => {
                self.may_start(id, told, decided, checks)?;
                if told.by_itself {
                    self.may_undo(id, told)?;
                }
                let said_yes = self.yes.get(&decided.input) == Some(&id)
                    || (told.leg.plan.scale == Some(Scale::Zero) && self.typed.contains(&decided.input));
                if !told.by_itself && !said_yes {
                    return Err(format!("5: {id} is started and nobody said yes: {}", decided.input));
                }
                if !self.live || told.started {
                    return Err(format!("5: {id} is started while observing, or once more"));
                }
                self.forward += u64::from(told.leg.plan.kind == Kind::Deploy);
                self.scaled += u64::from(told.leg.plan.kind == Kind::Scale);
                self.undone += u64::from(told.by_itself);
            }
            Fact::StageEntered { plan, checks } => {
                self.may_enter(id, told, plan, decided, checks)?;
                self.crossed += 1;
            }
            _ => {}
        }
        let told = self.deploys.get_mut(&id).ok_or_else(|| format!("4: {id} was never planned: {fact:?}"))?;
        if matches!(fact, Fact::DeployStarted { .. } | Fact::StageEntered { .. }) {
            told.begun = decided.seq;
        }
        told.goes_on(id, fact)
    }

    /// Whether a step may change a machine now.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_change(&self, effect: EffectId) -> Result<(), String> {
        let (id, ..) = self.acts.get(&effect).ok_or_else(|| format!("5: step {effect} was never recorded"))?;
        match self.deploys.get(id) {
            Some(told) if told.started && !told.judged && !told.crossing => Ok(()),
            _ => Err(format!("5: {id} changes a machine ({effect}), and nobody said yes or it is judged already")),
        }
    }

    /// The end: every deploy is over, and the host's list and machines are as the record says.
    ///
    /// # Errors
    /// What is not.
    pub fn reckon(&self, hosts: &[Host], mark: impl Fn(EffectId) -> String) -> Result<(), String> {
        for (id, told) in &self.deploys {
            if !told.over && !told.scheduled {
                return Err(format!("5: {id} never came to its end"));
            }
            for leg in told.legs() {
                let host = hosts.iter().find(|host| host.app == leg.plan.app);
                let host = host.ok_or_else(|| format!("5: {id} is about {}, which is nowhere", leg.plan.app))?;
                let was_done = |machine: &String| {
                    let effect = leg.taken.get(machine)?;
                    // One that was as it should be already was left as it was.
                    let leaves_no_mark =
                        matches!(self.acts.get(effect), Some((.., Step::Start { .. } | Step::Stop { .. })));
                    (leaves_no_mark || host.was_changed(machine, &mark(*effect))).then_some(())
                };
                if let Some(machine) = leg.done.iter().find(|machine| was_done(machine).is_none()) {
                    return Err(format!("5: machine {machine} is done for {id} on the record, and was never changed"));
                }
            }
        }
        for (host, opened) in hosts.iter().flat_map(|host| host.releases.iter().map(move |opened| (host, opened))) {
            let Some((id, stage, _)) = opened.by.as_ref().and_then(|(effect, _)| self.acts.get(effect)) else {
                continue;
            };
            let leg = self.deploys.get(id).and_then(|told| told.legs().nth(*stage));
            let Some(leg) = leg.filter(|leg| !leg.trouble) else { continue };
            let should = match () {
                () if leg.failed || leg.unprepared => ReleaseEnd::Failed,
                () if leg.done == leg.machines => ReleaseEnd::Complete,
                () => ReleaseEnd::Interrupted,
            };
            let (is, version, app) = (&opened.release.status, opened.release.version, host.app);
            if is != status(should) {
                return Err(format!(
                    "5: v{version} of {id} on {app} is listed as {is}, and should be {}",
                    status(should)
                ));
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
