//! The team: who there is, what they do, and the secrets in their configuration that must never be seen.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::TimeDelta;

use super::rules;
use crate::domain::deploy::gates::{Finding, Gate};
use crate::domain::deploy::{Deploy, Kind, Phase};
use crate::domain::fact::Status;
use crate::domain::ids::{Person, Place, Posted, Role};
use crate::domain::incident::Incident;
use crate::domain::input::{Actor, Arg, Call, Filled, InputKind, Press};
use crate::domain::message::Text;
use crate::domain::policy::{Policy, SHIPPED};
use crate::domain::state::State;
use crate::domain::workspace::Workspace;
use crate::log::torn::Dice;

/// Images that nobody has released yet: they are given whole.
const GOOD_IMAGE: &str = "registry.fly.io/lighthouse-checkout:deployment-43";
/// The one that never passes its checks.
const BAD_IMAGE: &str = "registry.fly.io/lighthouse-checkout:deployment-44";

/// What every secret in the configuration contains.
pub const CANARY: &str = "canary5f1d";

const TEAM: &str = r#"
[team]
name = "lighthouse"
zone = "America/Chicago"

[channels]
incidents = "incidents"
test = "test"
announce = "announce"

[[people]]
name = "ana"
chat = "discord:ana"
roles = ["reliability"]
wake = [{ via = "direct" }, { via = "ntfy", url = "http://127.0.0.1:1/canary5f1d-topic" }]

[[people]]
name = "ben"
chat = "discord:ben"
roles = ["engineer"]
wake = [{ via = "webhook", url = "http://127.0.0.1:1/canary5f1d-hook" }]

[[people]]
name = "mia"
chat = "discord:mia"
roles = ["manager"]

[[services]]
name = "checkout"
owner = "reliability"
production = { fly_app = "lighthouse-checkout", probes = [{ name = "health", url = "http://127.0.0.1:1/c", headers = { authorization = "canary5f1d" } }] }

[[services]]
name = "search"
production = { probes = [{ name = "health", url = "http://127.0.0.1:1/s", method = "POST", body = "canary5f1d" }] }
"#;

/// How long what the other tool says is over must have stayed so, in the histories with staging.
pub const RESOLVE_DELAY: TimeDelta = TimeDelta::minutes(5);
/// The other tool, in those.
const PATIENT: &str = "\n[[hooks]]\nname = \"one\"\nformat = \"alertmanager\"\nresolve_delay = \"5m\"\n";

/// What the first service has besides, in half of the histories.
const STAGING: &str = r#"staging = { fly_app = "lighthouse-checkout-staging" }"#;

/// Everybody, with their roles.
const CAST: [(&str, &[&str]); 5] = [
    ("ana", &["reliability"]),
    ("ben", &["engineer"]),
    ("mia", &["manager"]),
    ("carol", &["responder"]),
    ("dmitri", &[]),
];

/// The services that are probed.
pub const SERVICES: [&str; 2] = ["checkout", "search"];

/// The team and its policies; which of them holds changes.
pub struct Setup {
    /// The team.
    pub workspace: &'static Workspace,
    policies: &'static [Policy],
    /// Which one holds.
    pub holds: usize,
}

/// Read once: every history has the same.
static READ: LazyLock<([Workspace; 2], Vec<Policy>)> = LazyLock::new(|| {
    let changed = [
        SHIPPED.replace("cards_max = 10", "cards_max = 3"),
        SHIPPED.replace("nudge_before = \"3m\"", "nudge_before = \"1m\"").replace("cards_max = 10", "cards_max = 2"),
        SHIPPED.replace("declare_when_down", "# declare_when_down"),
    ];
    // Two may deploy: with the shipped policy, each could say yes to their own.
    let strict = |text: &String| text.replace("own_approval_up_to = 2", "own_approval_up_to = 1");
    let parsed = |(n, text): (usize, &String)| {
        let mut table: toml::Table = strict(text).parse().expect("a table");
        rules::written(table["alerts"].as_table_mut().expect("it has alerts"), n);
        Policy::parse(&table.to_string()).expect("a policy")
    };
    let policies = changed.iter().enumerate().map(parsed).collect();
    let staged = TEAM.replace(
        "owner = \"reliability\"\nproduction = { fly_app",
        &format!("owner = \"reliability\"\n{STAGING}\nproduction = {{ fly_app"),
    );
    assert_ne!(staged, TEAM, "nobody has a staging copy");
    let staged = staged + PATIENT;
    let team = |text: &str| toml::from_str(text).expect("a team");
    ([team(TEAM), team(&staged)], policies)
});

impl Setup {
    /// The team, with a copy of its first service to try images on, or without.
    pub fn new(has_staging: bool) -> Self {
        Self { workspace: &READ.0[usize::from(has_staging)], policies: &READ.1, holds: 0 }
    }

    /// How long what the other tool says is over must have stayed so.
    pub fn resolve_delay(&self) -> TimeDelta {
        if self.workspace.hooks.is_empty() { TimeDelta::zero() } else { RESOLVE_DELAY }
    }

    /// The policy that holds, and its hash.
    pub fn policy(&self) -> (&'static Policy, String) {
        (&self.policies[self.holds], format!("policy {}", self.holds))
    }

    /// How many there are.
    pub fn policies(&self) -> usize {
        self.policies.len()
    }
}

/// Somebody by name.
pub fn actor(name: &str) -> Actor {
    let roles = CAST.iter().find(|(one, _)| *one == name).map_or(&[][..], |(_, roles)| roles);
    Actor {
        person: Person::new(format!("discord:{name}")),
        name: name.to_owned(),
        roles: roles.iter().map(|role| Role::new(*role)).collect(),
    }
}

fn anybody(dice: &mut Dice) -> Actor {
    actor(CAST[dice.below(CAST.len() as u64) as usize].0)
}

/// A command.
pub fn call(who: Actor, command: &str, args: &[(&str, Arg)]) -> InputKind {
    let args: BTreeMap<String, Arg> = args.iter().map(|(name, arg)| ((*name).to_owned(), arg.clone())).collect();
    InputKind::Call(Call {
        who,
        place: Place::new("discord:incidents"),
        command: command.to_owned(),
        args,
        target: None,
    })
}

/// A text option.
pub fn text(words: &str) -> Arg {
    Arg::Text(Text::plain(words))
}

/// A press of a button.
pub fn press(who: Actor, action: String) -> InputKind {
    let place = Place::new("discord:incidents");
    let on = Posted { place: place.clone(), message: "card".to_owned() };
    InputKind::Press(Press { who, place, action, values: Vec::new(), on })
}

fn filled(who: Actor, action: String, values: &[(&str, &str)]) -> InputKind {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), Text::plain(*value))).collect();
    InputKind::Filled(Filled { who, place: Place::new("discord:incidents"), action, values })
}

/// What somebody does next, given what can be seen. Most of it makes sense.
pub fn act(state: &State, dice: &mut Dice) -> InputKind {
    let who = anybody(dice);
    if let Some(acts) = ship(state, &who, 20, dice) {
        return acts;
    }
    let open: Vec<&Incident> = state.open().collect();
    let declares = open.is_empty() || (open.len() < 3 && dice.below(12) == 0);
    if declares && state.team.incidents < 12 && dice.below(4) > 0 {
        let severity = ["sev1", "sev2", "sev3"][dice.below(3) as usize];
        let title = ["checkout is down", "search answers slowly", "a printer burns"][dice.below(3) as usize];
        return call(who, severity, &[("title", text(title)), ("anyway", Arg::Flag(dice.below(2) == 0))]);
    }
    let mut closed = state.incidents.values().rev().filter(|incident| !incident.status.is_open());
    if let Some(incident) = closed.next().filter(|_| open.is_empty() || dice.below(15) == 0) {
        let n = incident.id.0;
        return match dice.below(4) {
            0 => filled(who, format!("reopen:{n}"), &[("why", "it is back again")]),
            1 => filled(who, format!("review:{n}"), &[("why", "we learned a lot from it")]),
            2 => press(who, format!("ack:{n}")),
            _ => about_the_team(who, dice),
        };
    }
    if open.is_empty() || dice.below(20) == 0 {
        return about_the_team(who, dice);
    }
    let incident = open[dice.below(open.len() as u64) as usize];
    on(incident, who, dice)
}

/// Something about what the service runs, by somebody who is there for that and mostly may.
pub fn ships(state: &State, dice: &mut Dice) -> Option<InputKind> {
    let who = if dice.below(6) == 0 { anybody(dice) } else { actor(["ana", "ben"][dice.below(2) as usize]) };
    ship(state, &who, 7, dice)
}

/// Something about what the service runs. `seldom`: the higher, the seldomer something new is begun.
fn ship(state: &State, who: &Actor, seldom: u64, dice: &mut Dice) -> Option<InputKind> {
    let service = ("service", text("checkout"));
    let rollback = |who: &Actor| press(who.clone(), "rollback:production:checkout".to_owned());
    let mut open = state.team.deploys.values().rev().filter(|deploy| deploy.is_open());
    let pressed = |verb: &str, n: u32| Some(press(who.clone(), format!("{verb}:{n}")));
    match open.next() {
        Some(deploy) if deploy.plan.kind == Kind::Deploy && matches!(deploy.phase, Phase::Planned { .. }) => {
            say_yes(deploy, who, dice)
        }
        Some(deploy) if matches!(deploy.phase, Phase::Planned { .. }) => match dice.below(10) {
            0..6 => pressed("go", deploy.id.0),
            6 => pressed("no", deploy.id.0),
            _ => None,
        },
        Some(deploy) if deploy.is_running() => match dice.below(10) {
            0 => pressed("stop", deploy.id.0),
            1 => pressed("go", deploy.id.0),
            2 => Some(call(who.clone(), "fly restart", &[service])),
            3..7 => Some(rollback(who)),
            _ => None,
        },
        _ => {
            let last = state.team.deploys.keys().next_back();
            if dice.below(seldom) < 4 {
                return Some(asks(who, dice));
            }
            if dice.below(seldom) < 2 {
                return Some(scales(who, dice));
            }
            match dice.below(seldom) {
                0 => Some(rollback(who)),
                1 | 2 => Some(call(who.clone(), "fly restart", &[service, ("why", text("it leaks"))])),
                3 => Some(call(who.clone(), "rollback", &[service, ("to", text("v40"))])),
                4 => Some(call(who.clone(), "rollback", &[service])),
                5 => pressed("again", last?.0),
                6 => pressed("go", last?.0),
                _ => None,
            }
        }
    }
}

/// Another size, another count, none at all, or back from there.
fn scales(who: &Actor, dice: &mut Dice) -> InputKind {
    let service = ("service", text("checkout"));
    match dice.below(6) {
        0 => call(who.clone(), "fly memory", &[service, ("mb", Arg::Number(256 << (dice.below(3) as i64)))]),
        1 => call(who.clone(), "fly count", &[service, ("up", Arg::Number(1 + dice.below(3) as i64))]),
        2 => call(who.clone(), "fly autostop", &[service, ("to", text(["off", "suspend"][dice.below(2) as usize]))]),
        3 => filled(who.clone(), "zero:production:checkout".to_owned(), &[("name", "checkout")]),
        _ => call(who.clone(), "fly start", &[service]),
    }
}

/// A deploy of an image, or something that may keep one out.
fn asks(who: &Actor, dice: &mut Dice) -> InputKind {
    let service = ("service", text("checkout"));
    match dice.below(12) {
        0 => call(who.clone(), "fly freeze", &[service, ("why", text("a sale is on"))]),
        1 => call(who.clone(), "fly thaw", &[service]),
        2 => call(who.clone(), "fly lock", &[service, ("why", text("I try something"))]),
        3 => call(who.clone(), "fly unlock", &[service]),
        roll => {
            // Mostly the bad one: what goes well is the shorter story.
            let image = [GOOD_IMAGE, BAD_IMAGE, BAD_IMAGE, BAD_IMAGE, "deployment-41"][dice.below(5) as usize];
            let strategy = ["rolling", "canary", "immediate"][dice.below(3) as usize];
            let mut args = vec![service, ("image", text(image)), ("strategy", text(strategy))];
            args.extend((roll < 7).then(|| ("why", text("it mends the queue"))));
            // Through every stage there is, or to one alone.
            let stage = ["staging", "production"][dice.below(2) as usize];
            args.extend((roll > 9).then(|| ("stage", text(stage))));
            call(who.clone(), "deploy", &args)
        }
    }
}

/// Somebody works towards a yes to a deploy: passes what refuses, ticks, approves, starts; or lets it be.
fn say_yes(deploy: &Deploy, who: &Actor, dice: &mut Dice) -> Option<InputKind> {
    let n = deploy.id.0;
    let pressed = |who: Actor, verb: &str| {
        let mark = matches!(verb, "go" | "approve").then(|| format!(":{}", deploy.mark())).unwrap_or_default();
        Some(press(who, format!("{verb}:{n}{mark}")))
    };
    let waived = |gate: Gate| deploy.waivers.iter().any(|waiver| waiver.gate == gate);
    let approved = matches!(deploy.approval.as_ref(), Some(approval) if approval.hash == deploy.plan.hash);
    let mut refusing = deploy.checks.iter().filter(|check| check.found == Finding::Refuses && !waived(check.gate));
    let refusing = refusing.next().map(|check| check.gate);
    let gate = refusing.unwrap_or(Gate::ALL[dice.below(Gate::ALL.len() as u64) as usize]);
    // Often straight on: there is half an hour for it all.
    match (refusing, dice.below(2)) {
        (_, 0) => {}
        (None, _) if approved => return pressed(who.clone(), "go"),
        (None, _) => return pressed(actor("mia"), "approve"),
        (Some(gate), _) => {
            return Some(filled(actor("mia"), format!("waive:{n}:{}", gate.name()), &[("why", "the customer waits")]));
        }
    }
    match dice.below(24) {
        0..8 => Some(filled(actor("mia"), format!("waive:{n}:{}", gate.name()), &[("why", "the customer waits")])),
        8..10 => Some(press(who.clone(), format!("tick:{n}:{}", dice.below(4)))),
        10..14 => pressed(actor(["mia", "ana"][dice.below(2) as usize]), "approve"),
        14..19 => pressed(who.clone(), "go"),
        19 => Some(filled(who.clone(), format!("glass:{n}"), &[("why", "nobody is there")])),
        20 => pressed(who.clone(), "no"),
        21 => pressed(who.clone(), "schedule"),
        22 => Some(filled(who.clone(), format!("change:{n}"), &[("image", BAD_IMAGE), ("strategy", "rolling")])),
        _ => None,
    }
}

fn on(incident: &Incident, who: Actor, dice: &mut Dice) -> InputKind {
    let n = incident.id.0;
    let name = incident.id.to_string();
    let the = ("incident", text(&name));
    if !incident.is_acknowledged() && dice.below(2) == 0 {
        return press(who, format!("ack:{n}"));
    }
    if incident.status == Status::Monitoring && dice.below(3) == 0 {
        let verb = if dice.below(4) == 0 { "broken" } else { "resolve" };
        return press(who, format!("{verb}:{n}"));
    }
    match dice.below(26) {
        0..3 => press(who, format!("nochange:{n}")),
        3..7 => filled(who, format!("update:{n}"), &[("what", "the queue is drained slowly"), ("next", "")]),
        7 => filled(who, format!("update:{n}"), &[("what", "rolled back"), ("next", "7"), ("announce", "yes")]),
        8 => press(who, format!("snooze:{n}:10")),
        9..12 => press(who, format!("mitigated:{n}")),
        12 => press(who, format!("notyet:{n}")),
        13 => press(who, format!("still:{n}")),
        14 => press(who, format!("wake:{n}")),
        15 => press(who, format!("setsev:{n}:{}", ["sev1", "sev2", "sev3"][dice.below(3) as usize])),
        16 => press(who, format!("lead:{n}")),
        17 => call(who, "incident handoff", &[("to", Arg::Person(anybody(dice).person)), the]),
        18 => filled(who, format!("cancel:{n}"), &[("why", "a false alarm after all")]),
        19 | 20 => call(who, "resolve", &[("anyway", text("we are sure of it")), the]),
        21 => call(who, "incident note", &[("text", text("a note")), the]),
        22 => call(who, "incident status", &[("status", text("investigating")), the]),
        23 => call(who, "incident part", &[("part", text("scribe")), the]),
        24 => press(who, format!("join:{n}")),
        _ => press(who, format!("timeline:{n}")),
    }
}

fn about_the_team(who: Actor, dice: &mut Dice) -> InputKind {
    match dice.below(7) {
        0 => call(who, "oncall take", &[("for", text("4h"))]),
        1 => call(who, "oncall test", &[]),
        2 => call(actor("mia"), "watchbell observe", &[]),
        3 | 4 => call(actor("mia"), "watchbell live", &[]),
        5 => call(who, "watchbell run", &[("job", text("daily digest"))]),
        _ => call(who, "incident list", &[]),
    }
}
