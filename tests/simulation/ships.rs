//! What an auditor keeps of deploys, rollbacks and restarts: promises 5 and 7 of ARCHITECTURE.md.
//!
//! Like `book.rs` it reads facts only and shares nothing with the fold.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Host, status};
use crate::domain::deploy::{Kind, Phase};
use crate::domain::effect::{Effect, EffectKind};
use crate::domain::fact::Fact;
use crate::domain::hosting::{ReleaseEnd, Step};
use crate::domain::ids::{DeployId, EffectId, InputId, Thing};
use crate::domain::input::{Actor, Answers, InputKind};
use crate::domain::refusal::Refusal;
use crate::domain::state::{Decided, State};

/// What is known of a deploy.
#[derive(Default)]
struct Told {
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
}

/// The auditor's part about deploys.
#[derive(Default)]
pub struct Ships {
    live: bool,
    /// Who pressed which deploy's button of yes, by input. Outlives the bot: people know what they pressed.
    pub yes: BTreeMap<InputId, DeployId>,
    deploys: BTreeMap<DeployId, Told>,
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
                (Thing::Deploy(id), fact) => self.about(*id, decided, fact)?,
                _ => {}
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
        if let Fact::DeployPlanned { plan, .. } = fact {
            let machines = plan.machines.iter().map(|machine| machine.id.clone()).collect();
            let awake = plan.machines.iter().filter(|one| one.is_up()).map(|one| one.id.clone()).collect();
            let told = Told { machines, awake, at_once: usize::from(plan.at_once), ..Told::default() };
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
            Fact::DeployStarted { machines, .. } => {
                if self.yes.get(&decided.input) != Some(&id) {
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
                if told.failed && verdict.is_good() {
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
            if !told.over {
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
                () if told.failed => ReleaseEnd::Failed,
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

/// Why a refusal is wrong: a rollback, by somebody with the right, while something runs that is none.
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
    let running = || state.team.deploys.values().filter(|deploy| deploy.is_running());
    let other = running().next()?;
    let answered = matches!(answers.inventories.values().next(), Some(Ok(inventory)) if inventory.releases.is_ok());
    let may = who.roles.iter().any(|role| matches!(role.as_str(), "engineer" | "reliability"));
    if running().any(|deploy| deploy.plan.kind == Kind::Rollback) || !may || (asks && !answered) {
        return None;
    }
    let said = refusal.to_string();
    let fair = said.starts_with("There is no earlier release") || said.ends_with(" already.");
    (!fair).then(|| format!("7: a rollback is refused while {} runs: {said}", other.id))
}
