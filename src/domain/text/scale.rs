//! What the bot says about sizes and counts of machines.
//!
//! Pure. One function a sentence, as in `text.rs`.

use std::collections::BTreeSet;

use super::fly::guest;
use super::gates::machines;
use crate::domain::deploy::scale::Scale;
use crate::domain::deploy::{Deploy, Plan};
use crate::domain::hosting::{Autostop, Inventory, Running};
use crate::domain::ids::{DeployId, Service};
use crate::domain::sizing::{Seen, Suggestion};

/// "give checkout 512 MB of memory".
pub fn intent(scale: Option<&Scale>, service: &str) -> String {
    let of = |group: &Option<String>| match group {
        Some(group) => format!("{service} ({group})"),
        None => service.to_owned(),
    };
    match scale {
        Some(Scale::Memory { memory_mb, group }) => format!("give {} {memory_mb} MB of memory a machine", of(group)),
        Some(Scale::Cpu { cpus, cpu_kind, memory_mb, group }) => {
            let kind = cpu_kind.as_ref().map_or_else(String::new, |kind| format!("{kind} "));
            let memory = memory_mb.map_or_else(String::new, |mb| format!(" and {mb} MB of memory"));
            format!("give {} {cpus} {kind}{}{memory} a machine", of(group), if *cpus == 1 { "CPU" } else { "CPUs" })
        }
        Some(Scale::Count { up, group }) => format!("have {} of {} up", machines(usize::from(*up)), of(group)),
        Some(Scale::Zero) => format!("scale {service} to zero"),
        Some(Scale::Again { .. }) => format!("start {service} again"),
        Some(Scale::Autostop { autostop: Autostop::Off }) => format!("let no machine of {service} sleep"),
        Some(Scale::Autostop { autostop: Autostop::Stop }) => {
            format!("let machines of {service} stop when nobody asks")
        }
        Some(Scale::Autostop { autostop: Autostop::Suspend }) => {
            format!("let machines of {service} be suspended when nobody asks")
        }
        None => format!("scale {service}"),
    }
}

/// The words on the button that starts it.
pub fn yes(scale: Option<&Scale>) -> String {
    match scale {
        Some(Scale::Memory { .. } | Scale::Cpu { .. }) => "Resize now".to_owned(),
        Some(Scale::Count { up, .. }) => format!("Have {up} up"),
        Some(Scale::Zero) => "Scale to zero".to_owned(),
        Some(Scale::Again { .. }) => "Start again".to_owned(),
        Some(Scale::Autostop { .. }) | None => "Change now".to_owned(),
    }
}

/// What was done to a machine, in a word.
pub fn did(plan: &Plan) -> &'static str {
    let is_up = plan.machines.iter().any(Running::is_up);
    match &plan.scale {
        Some(Scale::Memory { .. } | Scale::Cpu { .. }) => "resized",
        Some(Scale::Count { .. }) if is_up => "stopped",
        Some(Scale::Zero) => "stopped",
        Some(Scale::Again { rests, .. }) if !rests.is_empty() => "back as before",
        Some(Scale::Count { .. } | Scale::Again { .. }) => "started",
        Some(Scale::Autostop { .. }) | None => "changed",
    }
}

/// How the machines that it changes are now.
pub fn now(plan: &Plan) -> String {
    let each = |of: &dyn Fn(&Running) -> Option<String>| {
        let known: BTreeSet<String> = plan.machines.iter().filter_map(of).collect();
        known.into_iter().collect::<Vec<_>>().join("; ")
    };
    match &plan.scale {
        Some(Scale::Memory { .. } | Scale::Cpu { .. }) => each(&|machine| machine.guest.as_ref().map(guest)),
        Some(Scale::Autostop { .. }) => each(&|machine| {
            let rest = machine.rest?;
            let wakes = if rest.autostart { "woken by a request" } else { "not woken" };
            Some(format!("{}, {wakes}", rest.autostop.word()))
        }),
        _ => each(&|machine| Some(machine.state.clone())),
    }
}

/// What to know before saying yes.
pub fn notes(scale: &Scale, inventory: &Inventory) -> Vec<String> {
    let naps = inventory.machines.iter().any(|machine| machine.may_sleep);
    match scale {
        Scale::Memory { .. } | Scale::Cpu { .. } => {
            vec!["Image, configuration and secrets stay. A machine that runs is started anew; one that is stopped stays so.".to_owned()]
        }
        Scale::Count { .. } => {
            let mut notes = vec!["I start and stop machines; I make none and destroy none.".to_owned()];
            if naps {
                notes.push("Fly stops and wakes machines of this app by itself: the number may not stay.".to_owned());
            }
            notes
        }
        Scale::Zero => vec![
            "Off line until somebody presses “Start again” here, or types `/fly start`. No machine is destroyed."
                .to_owned(),
            "It is looked at as before: where no incident is open, that opens one.".to_owned(),
        ],
        Scale::Again { rests, up } if rests.is_empty() && up.is_empty() => vec![
            "What it was before is not at hand: each is started, and whether a request wakes it stays as it is; \
             `/fly autostop` sets that."
                .to_owned(),
        ],
        Scale::Again { .. } => vec!["What each machine was before it was scaled to zero is put back.".to_owned()],
        Scale::Autostop { autostop: Autostop::Off } => {
            vec!["A machine that runs is started anew. A request still wakes one that is stopped.".to_owned()]
        }
        Scale::Autostop { .. } => {
            vec![
                "A machine that runs is started anew. The first request after a sleep waits until one is up."
                    .to_owned(),
            ]
        }
    }
}

/// How many of those that run are away at once while it is done; none where it is said already, or nothing is started anew.
pub fn away(scale: &Scale, plan: &Plan) -> Option<String> {
    let awake = plan.machines.iter().filter(|machine| machine.is_up()).count();
    match (scale, awake) {
        (Scale::Memory { .. } | Scale::Cpu { .. } | Scale::Autostop { .. }, 1) => {
            Some("One that runs is changed: while it starts anew, nobody else does its work.".to_owned())
        }
        (Scale::Memory { .. } | Scale::Cpu { .. } | Scale::Autostop { .. }, 2..) => {
            let away = usize::from(plan.at_once).min(awake);
            let are = if away == 1 { "is" } else { "are" };
            Some(format!("At most {away} of the {awake} that run {are} away at once."))
        }
        _ => None,
    }
}

/// The host sells no such size.
pub fn not_sold(scale: &Scale, why: &str) -> String {
    let hint = match scale {
        Scale::Cpu { memory_mb: None, .. } if why.contains("memory") => " Give the memory too: `/fly cpu … memory:…`.",
        Scale::Memory { .. } => " More CPUs can have more: `/fly cpu`.",
        _ => "",
    };
    format!("Fly sells no such size: {why}.{hint}")
}

/// A machine does not tell its size.
pub fn size_unknown(machine: &Running) -> String {
    format!(
        "Fly does not tell the size of {} in {}. Look: `fly machine status {}`.",
        machine.id, machine.region, machine.id
    )
}

/// It is so already.
pub fn already(scale: &Scale, inventory: &Inventory) -> String {
    let app = &inventory.app;
    match scale {
        Scale::Memory { .. } | Scale::Cpu { .. } => format!("Every machine of {app} has that size already."),
        Scale::Count { up, .. } => format!("{app} has {} up already.", machines(usize::from(*up))),
        Scale::Zero => format!("Every machine of {app} is stopped already, and none is woken."),
        Scale::Again { .. } => format!("{app} is up already."),
        Scale::Autostop { .. } if inventory.machines.iter().all(|machine| machine.rest.is_none()) => {
            format!("{app} has no services: nothing puts its machines to sleep or wakes them.")
        }
        Scale::Autostop { .. } => format!("{app} is set so already."),
    }
}

/// There are not that many machines.
pub fn no_such_count(wanted: usize, there: usize, app: &str) -> String {
    if wanted == 0 {
        return "To take it off line, `/fly zero`: that wants its name typed out.".to_owned();
    }
    format!(
        "{app} has {}. I start and stop machines and make none: `fly scale count {wanted} --app {app}` makes more.",
        machines(there)
    )
}

/// It is not clear which machines.
pub fn which_group(named: Option<&str>, groups: &BTreeSet<&str>) -> String {
    let groups: Vec<&str> = groups.iter().copied().collect();
    let groups = groups.join(", ");
    match named {
        Some(named) => format!("There is no process group “{}”. There are: {groups}.", super::short(named, 40)),
        None => format!("Machines of which process group? Give `group`: {groups}."),
    }
}

/// The name was not typed.
pub fn not_typed(service: &Service) -> String {
    format!("Nothing was done: to take {service} off line, type its name exactly: {service}.")
}

/// It goes off line.
pub fn zeroing(deploy: &Deploy) -> String {
    format!("{} runs: {} goes off line. “Start again” on its card brings it back.", deploy.id, deploy.plan.service)
}

/// Nothing is done while observing.
pub fn zero_observing(service: &Service) -> String {
    format!(
        "I am only observing and change nothing. Live, I would now scale {service} to zero. `/watchbell live` lets me."
    )
}

/// Something else is scaled to zero.
pub fn zero_runs(id: DeployId) -> String {
    format!("{id} does that already. Its card shows how far it is.")
}

/// A size that is suggested, with what speaks for it.
pub fn suggested(one: &Suggestion) -> String {
    let percent = |share: f64| format!("{:.0} % of the last 24 h", share * 100.0);
    let why = match one.seen {
        Seen::Killed(times) => format!("killed for want of memory {times} × in 24 h"),
        Seen::Memory(share) => format!("memory above 70 % for {}", percent(share)),
        Seen::Cpu(share) => format!("CPU above 70 % for {}", percent(share)),
    };
    format!("{}: {why}. {} → {}", one.service, guest(&one.now), guest(&one.then))
}

/// The button of a suggestion.
pub fn plan_it(one: &Suggestion) -> String {
    super::short(&format!("Plan {}: {}", one.service, guest(&one.then)), 80)
}
