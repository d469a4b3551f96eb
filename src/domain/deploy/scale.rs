//! Another size, another number of machines up, or none: what that plans and which steps it takes.
//!
//! Pure. Only what the host sells is planned. Machines are started and stopped, never made and never destroyed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::plan::{self, Wanted};
use super::{Deploy, Kind, Plan, Verdict};
use crate::domain::draft::Ctx;
use crate::domain::hosting::{Autostop, Guest, Inventory, Rest, Running, Step};
use crate::domain::ids::DeployId;
use crate::domain::input::Stepped;
use crate::domain::text::scale as words;

/// A rollback and a restart that both did not help within this count as one trouble.
const LAST_WAY_WITHIN_HOURS: i64 = 2;

/// Times that an app was scaled to zero, one after another and never started again, that are kept for the way back.
const ZEROS_KEPT: usize = 8;

/// What is to be different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Scale {
    /// Memory of every machine.
    Memory {
        /// How much, in MB.
        memory_mb: u32,
        /// Of which process group; the only one when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// CPUs of every machine.
    Cpu {
        /// How many.
        cpus: u16,
        /// Of which kind; the one it has when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cpu_kind: Option<String>,
        /// With how much memory, in MB; what it has when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory_mb: Option<u32>,
        /// Of which process group; the only one when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// How many machines are up.
    Count {
        /// How many.
        up: u16,
        /// Of which process group; the only one when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// No machine is up, and none is woken.
    Zero,
    /// What was scaled to zero is up again.
    Again {
        /// Whether each was put to sleep and woken before that.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        rests: BTreeMap<String, Rest>,
        /// Those that were up before that.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        up: BTreeSet<String>,
    },
    /// What becomes of machines that nobody asks. A request wakes them.
    Autostop {
        /// What.
        autostop: Autostop,
    },
}

impl Scale {
    /// The size that a machine gets; none when its size is not known, or stays.
    pub fn guest(&self, now: Option<&Guest>) -> Option<Guest> {
        let now = now?;
        match self {
            Scale::Memory { memory_mb, .. } => Some(Guest { memory_mb: *memory_mb, ..now.clone() }),
            Scale::Cpu { cpus, cpu_kind, memory_mb, .. } => Some(Guest {
                cpu_kind: cpu_kind.clone().unwrap_or_else(|| now.cpu_kind.clone()),
                cpus: *cpus,
                memory_mb: memory_mb.unwrap_or(now.memory_mb),
            }),
            _ => None,
        }
    }
}

/// A plan to scale.
///
/// # Errors
/// A sentence that says what there is, when it cannot be had or is so already.
pub fn plan(inventory: &Inventory, wanted: &Wanted, scale: Scale) -> Result<Plan, String> {
    let mut plan = plan::restart_all(inventory, wanted)?;
    plan.kind = Kind::Scale;
    plan.notes = words::notes(&scale, inventory);
    plan.machines = touched(inventory, &scale)?;
    plan.notes.extend(words::away(&scale, &plan));
    if scale == Scale::Zero {
        // It is an emergency: nobody waits for one machine before the next.
        plan.at_once = u16::try_from(plan.machines.len()).unwrap_or(u16::MAX);
    }
    plan.scale = Some(scale);
    plan.hash = plan::hash(&plan);
    Ok(plan)
}

/// The machines that it changes, in the order in which they are worked on.
///
/// # Errors
/// A sentence, when there is nothing to change or it cannot be had.
pub fn touched(inventory: &Inventory, scale: &Scale) -> Result<Vec<Running>, String> {
    let mut machines = inventory.machines.clone();
    machines.sort_by_key(|machine| !machine.is_up());
    let already = || Err(words::already(scale, inventory));
    match scale {
        Scale::Memory { group, .. } | Scale::Cpu { group, .. } => {
            // What fits the one need not fit the other: a worker is not resized because the web is.
            machines = one_group(&machines, group.as_deref())?;
            if let Some(unknown) = machines.iter().find(|machine| machine.guest.is_none()) {
                return Err(words::size_unknown(unknown));
            }
            let sized = |machine: &Running| scale.guest(machine.guest.as_ref());
            if let Some(why) = machines.iter().filter_map(sized).find_map(|guest| guest.refuse()) {
                return Err(words::not_sold(scale, &why));
            }
            machines.retain(|machine| sized(machine) != machine.guest);
        }
        Scale::Count { up, group } => {
            let machines_of = one_group(&machines, group.as_deref())?;
            let wanted = usize::from(*up);
            if wanted == 0 || wanted > machines_of.len() {
                return Err(words::no_such_count(wanted, machines_of.len(), &inventory.app));
            }
            let (on, off): (Vec<Running>, Vec<Running>) = machines_of.into_iter().partition(Running::is_up);
            machines = match on.len() <= wanted {
                true => off.into_iter().take(wanted - on.len()).collect(),
                false => last_needed(on, wanted),
            };
        }
        Scale::Zero => machines.retain(|machine| machine.is_up() || machine.rest.is_some_and(|rest| rest.autostart)),
        Scale::Again { rests, up } => machines.retain(|machine| {
            // Where nothing is known of before, what sleeps and wakes by itself is as it should be.
            let is_unknown = rests.is_empty() && up.is_empty();
            let starts = !machine.is_up() && (up.contains(&machine.id) || (is_unknown && !machine.may_sleep));
            starts || rests.get(&machine.id).is_some_and(|rest| machine.rest != Some(*rest))
        }),
        Scale::Autostop { autostop } => {
            machines.retain(|machine| machine.rest.is_some_and(|rest| rest.autostop != *autostop || !rest.autostart))
        }
    }
    if machines.is_empty() { already() } else { Ok(machines) }
}

/// The machines of the group that was named, or of the only one.
fn one_group(machines: &[Running], named: Option<&str>) -> Result<Vec<Running>, String> {
    let groups: BTreeSet<&str> = machines.iter().map(|machine| machine.group.as_str()).collect();
    let group = match named {
        Some(named) if groups.contains(named) => named,
        None if groups.len() == 1 => groups.first().copied().unwrap_or_default(),
        _ => return Err(words::which_group(named, &groups)),
    };
    Ok(machines.iter().filter(|machine| machine.group == group).cloned().collect())
}

/// Those that are stopped so that `wanted` stay: one after another from the region that has most, so that none is left empty early.
fn last_needed(mut on: Vec<Running>, wanted: usize) -> Vec<Running> {
    let mut stopped = Vec::new();
    while on.len() > wanted {
        let in_region = |region: &str| on.iter().filter(|machine| machine.region == region).count();
        let fullest = on.iter().enumerate().max_by_key(|(_, machine)| in_region(&machine.region)).map(|(at, _)| at);
        let Some(at) = fullest else { break };
        stopped.push(on.remove(at));
    }
    stopped
}

/// What is done to a machine.
pub fn step(scale: &Scale, planned: &Running) -> Step {
    let machine = planned.id.clone();
    match scale {
        Scale::Memory { .. } | Scale::Cpu { .. } => match scale.guest(planned.guest.as_ref()) {
            Some(guest) => Step::Resize { machine, guest },
            // Never planned: what has no known size is refused.
            None => Step::Restart { machine },
        },
        Scale::Count { .. } if planned.is_up() => Step::Stop { machine },
        Scale::Count { .. } => Step::Start { machine },
        Scale::Zero => Step::Zero { machine },
        Scale::Again { rests, .. } => match rests.get(&planned.id) {
            Some(Rest { autostop, autostart, min_running }) => Step::SetAutostop {
                machine,
                autostop: *autostop,
                autostart: *autostart,
                min_running: Some(*min_running),
            },
            None => Step::Start { machine },
        },
        Scale::Autostop { autostop } => {
            Step::SetAutostop { machine, autostop: *autostop, autostart: true, min_running: None }
        }
    }
}

/// What follows a step that was done, on the same machine: one that may be woken again is started after that was written.
pub fn then(plan: &Plan, step: &Step, end: &Stepped) -> Option<Step> {
    let Some(Scale::Again { up, .. }) = &plan.scale else { return None };
    let (Step::SetAutostop { machine, .. }, Stepped::Done { .. }) = (step, end) else { return None };
    up.contains(machine).then(|| Step::Start { machine: machine.clone() })
}

/// The way back from zero: what each machine was before. Where it took several tries to stop them all, what counts of each machine
/// is what it was before the first of them.
pub fn again(deploys: &BTreeMap<DeployId, Deploy>, app: &str) -> Scale {
    let zeros: Vec<&Deploy> = deploys.values().filter(|deploy| keeps_the_way_back(deploys, deploy, app)).collect();
    let mut before: BTreeMap<&str, &Running> = BTreeMap::new();
    for machine in zeros.iter().flat_map(|zero| &zero.plan.machines) {
        before.entry(&machine.id).or_insert(machine);
    }
    let rests = before.values().filter_map(|machine| Some((machine.id.clone(), machine.rest?))).collect();
    let up = before.values().filter(|machine| machine.is_up()).map(|machine| machine.id.clone()).collect();
    Scale::Again { rests, up }
}

/// Changes that are over and must stay at hand all the same: what a service was before it was scaled to zero, until it was started
/// again.
pub fn kept_for_the_way_back(deploys: &BTreeMap<DeployId, Deploy>, deploy: &Deploy) -> bool {
    keeps_the_way_back(deploys, deploy, &deploy.plan.app)
}

fn keeps_the_way_back(deploys: &BTreeMap<DeployId, Deploy>, deploy: &Deploy, app: &str) -> bool {
    let is_back = |later: &Deploy| {
        let is_again = matches!(later.plan.scale, Some(Scale::Again { .. }));
        later.plan.app == app && is_again && later.verdict.is_some_and(Verdict::is_good)
    };
    let takes_down = |one: &Deploy| is_zero(&one.plan) && one.plan.app == app && one.started_at.is_some();
    let later = || deploys.range(deploy.id..).map(|(_, later)| later);
    takes_down(deploy) && !later().any(is_back) && later().filter(|later| takes_down(later)).count() <= ZEROS_KEPT
}

/// Whether it takes a service off line.
pub fn is_zero(plan: &Plan) -> bool {
    plan.scale == Some(Scale::Zero)
}

/// Whether nothing but stopping is left to do from here: a rollback and a restart both did not help, or a rollback could not even
/// be done on one machine while the service does not answer.
pub fn is_at_its_end(ctx: &Ctx<'_>, deploy: &Deploy) -> bool {
    if deploy.plan.kind == Kind::Rollback && deploy.verdict == Some(Verdict::Failed) && deploy.done() == 0 {
        return true;
    }
    let other = match deploy.plan.kind {
        Kind::Rollback => Kind::Restart,
        Kind::Restart => Kind::Rollback,
        Kind::Deploy | Kind::Scale => return false,
    };
    let since = deploy.started_at.unwrap_or(deploy.asked_at) - TimeDelta::hours(LAST_WAY_WITHIN_HOURS);
    deploy.verdict == Some(Verdict::Failed)
        && ctx.state.team.deploys.values().any(|earlier| {
            earlier.id < deploy.id
                && earlier.plan.app == deploy.plan.app
                && earlier.plan.kind == other
                && earlier.verdict == Some(Verdict::Failed)
                && earlier.judged_at.is_some_and(|at| at >= since)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deploy::Shipped;
    use crate::domain::fact::Fact;
    use crate::domain::hosting::Image;
    use crate::domain::ids::{InputId, Person, Service, Thing};
    use crate::domain::state::{DEPLOYS_HELD, Decided, State};
    use crate::domain::workspace::Stage;

    fn machine(id: &str, state: &str, autostart: bool) -> Running {
        Running {
            id: id.to_owned(),
            name: id.to_owned(),
            region: "iad".to_owned(),
            group: "app".to_owned(),
            state: state.to_owned(),
            image: Image::new("shop:v1"),
            instance: "1".to_owned(),
            config_sha256: "1".to_owned(),
            host_ok: true,
            cordoned: false,
            has_volume: false,
            may_sleep: autostart,
            checks: 0,
            guest: None,
            rest: Some(Rest { autostop: Autostop::Stop, autostart, min_running: 0 }),
        }
    }

    fn change(state: &mut State, scale: Option<Scale>, machines: Vec<Running>, verdict: Verdict) {
        let id = DeployId(state.team.deploys_used + 1);
        let by = Person::new("discord:1");
        let image = Shipped { image: Image::new("shop:v1"), version: None };
        let plan = Plan {
            kind: if scale.is_some() { Kind::Scale } else { Kind::Restart },
            service: Service::new("shop"),
            stage: Stage::Production,
            app: "shop".to_owned(),
            from: image.clone(),
            to: image,
            machines,
            at_once: 1,
            notes: Vec::new(),
            hash: String::new(),
            strategy: Default::default(),
            release_command: None,
            release_command_unknown: None,
            scale,
        };
        let (plan, now) = (Box::new(plan), chrono::DateTime::UNIX_EPOCH);
        let (incident, why, then, checks) = (None, None, Vec::new(), Vec::new());
        let by_itself = false;
        let request = None;
        let planned =
            Fact::DeployPlanned { plan, by: by.clone(), incident, why, until: now, then, checks, by_itself, request };
        let started = Fact::DeployStarted { by, machines: None, checks: Vec::new(), late_at: None };
        let judged = Fact::DeployJudged { verdict, seen: String::new(), watch: None };
        let facts = [planned, started, judged].map(|fact| (Thing::Deploy(id), fact)).to_vec();
        let input = InputId::new(format!("in:{id}"));
        state.apply(&Decided { seq: state.seq + 1, at: now, input, facts, effects: Vec::new() });
    }

    fn way_back(state: &State) -> (Vec<String>, Vec<String>) {
        let Scale::Again { rests, up } = again(&state.team.deploys, "shop") else { panic!("another way") };
        let woken = rests.iter().filter(|(_, rest)| rest.autostart).map(|(id, _)| id.clone()).collect();
        (up.into_iter().collect(), woken)
    }

    #[test]
    fn what_was_off_line_comes_back_as_it_was_however_often_it_was_tried_and_however_much_came_after() {
        let mut state = State::default();
        let zero = || Some(Scale::Zero);
        let three = vec![machine("a", "started", true), machine("b", "started", true), machine("c", "stopped", true)];
        // The first try does not reach all; the second sees those that are down already as down.
        change(&mut state, zero(), three, Verdict::Half);
        change(&mut state, zero(), vec![machine("b", "started", true)], Verdict::OffLine);
        for _ in 0..=DEPLOYS_HELD {
            change(&mut state, None, vec![machine("a", "stopped", false)], Verdict::Succeeded);
        }
        let all = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(way_back(&state), (all(&["a", "b"]), all(&["a", "b", "c"])));

        let again = Scale::Again { rests: BTreeMap::new(), up: BTreeSet::new() };
        change(&mut state, Some(again), vec![machine("a", "stopped", false)], Verdict::Succeeded);
        assert_eq!(way_back(&state), (all(&[]), all(&[])), "what came back has no way back any more");
        for _ in 0..=DEPLOYS_HELD {
            change(&mut state, None, vec![machine("a", "stopped", false)], Verdict::Succeeded);
        }
        assert_eq!(state.team.deploys.len(), DEPLOYS_HELD, "and takes no room");
        for _ in 0..3 * ZEROS_KEPT {
            change(&mut state, zero(), vec![machine("a", "started", true)], Verdict::OffLine);
        }
        assert!(state.team.deploys.len() <= DEPLOYS_HELD + ZEROS_KEPT);
    }

    #[test]
    fn a_size_is_given_to_one_process_group() {
        let guest = || Some(Guest { cpu_kind: "shared".to_owned(), cpus: 1, memory_mb: 256 });
        let of =
            |id: &str, group: &str| Running { group: group.to_owned(), guest: guest(), ..machine(id, "started", true) };
        let inventory = Inventory {
            app: "shop".to_owned(),
            at: chrono::DateTime::UNIX_EPOCH,
            machines: vec![of("a", "web"), of("b", "worker"), of("c", "web")],
            releases: Ok(Vec::new()),
            release_command: Ok(None),
            secrets_at: None,
            secrets: Ok(Vec::new()),
        };
        let planned = |group: Option<&str>| {
            let scale = Scale::Memory { memory_mb: 512, group: group.map(str::to_owned) };
            touched(&inventory, &scale).map(|found| found.into_iter().map(|one| one.id).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(planned(Some("web")).as_deref(), Ok("a c"));
        assert_eq!(planned(None), Err("Machines of which process group? Give `group`: web, worker.".to_owned()));
        assert!(planned(Some("cron")).is_err());
    }
}
