//! What a person can do to the organisation: the `POST /sim/…` calls of docs/sim-fly.md, and the same for a test.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Sim;
use super::faults::Fault;
use super::id::{digest, hex, nanos, now, ulid};
use super::images::{self, Image};
use super::lifecycle::{self, At};
use super::problem::Problem;
use super::process;
use super::server::tend;
use super::state::State;
use super::workspace::Settings;
use super::world::{Behaviour, Figures, HostIssue, Lease, Log, Machine, Release, Secret, World};
use super::{checks, metrics};

/// Time that passes at once: everything that happened is as much longer ago.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    seconds: f64,
}

/// Which machines.
#[derive(Debug, Deserialize)]
struct Which {
    app: String,
    #[serde(default)]
    machine: Option<Name>,
}

/// A machine as people name it: a word, or a number counted from 1.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Number(usize),
    Word(String),
}

#[derive(Deserialize)]
struct Behave {
    behaviour: Behaviour,
    #[serde(default)]
    slow_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Kill {
    #[serde(default)]
    exit_code: Option<i64>,
    #[serde(default)]
    stays_down: bool,
}

#[derive(Deserialize)]
struct Host {
    status: String,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Stick {
    state: String,
}

#[derive(Deserialize)]
struct Cordon {
    cordoned: bool,
}

#[derive(Deserialize)]
struct Memory {
    used: Option<f64>,
}

#[derive(Deserialize)]
struct Hold {
    #[serde(default)]
    owner: String,
    #[serde(default)]
    ttl_s: Option<u32>,
    #[serde(default)]
    until: Option<DateTime<Utc>>,
    #[serde(default)]
    free: bool,
}

#[derive(Deserialize)]
struct Configured {
    set: Map<String, Value>,
}

#[derive(Deserialize)]
struct Named {
    app: String,
    name: String,
}

#[derive(Deserialize)]
struct Deployed {
    app: String,
    image: String,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    strategy: Option<String>,
    #[serde(default)]
    definition: Option<Value>,
    #[serde(default)]
    machines: Option<bool>,
    #[serde(default)]
    created_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    message: String,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    code: Option<i64>,
    /// How long ago it was written.
    #[serde(default)]
    ago_s: f64,
    /// As many such lines, numbered behind the message; one when left out.
    #[serde(default)]
    times: Option<u32>,
    /// Nothing is written; what was is gone.
    #[serde(default)]
    empty: bool,
}

/// Lines that one call writes.
const LINES_MAX: u32 = 1_000;

/// Does it; what the call answers. Errors: a sentence.
pub fn act(sim: &Sim, action: &str, body: &Value) -> Result<Value, String> {
    let mut state = sim.lock();
    let state = &mut *state;
    match action {
        "behaviour" => behave(sim, state, body)?,
        "kill" => {
            let kill: Kill = read(body)?;
            for at in which(state, body)? {
                process::die(sim, state, &at, kill.exit_code.unwrap_or(1), false, kill.stays_down);
            }
        }
        "oom" => {
            let kill: Kill = read(body)?;
            for at in which(state, body)? {
                process::die(sim, state, &at, 137, true, kill.stays_down);
            }
        }
        "sleep" => which(state, body)?.iter().for_each(|at| checks::sleep(sim, state, at)),
        "start" => each(state, body, |state, at| lifecycle::start(sim, state, at, "user").map(|_| ()))?,
        "stop" => each(state, body, |state, at| lifecycle::stop(sim, state, at, "user"))?,
        "restart" => each(state, body, |state, at| lifecycle::restart(sim, state, at, "user"))?,
        "host" => host(sim, state, body)?,
        // That machines stay so is what operators report; no document says how.
        "stick" => {
            let wish: Stick = read(body)?;
            change(state, body, |_, machine| lifecycle::enter(machine, &wish.state))?;
        }
        "cordon" => {
            let wish: Cordon = read(body)?;
            change(state, body, |_, machine| {
                machine.cordoned = wish.cordoned;
                let kind = if wish.cordoned { "cordon" } else { "uncordon" };
                machine.event(kind, &machine.state.clone(), "user", None);
            })?;
        }
        "memory" => {
            let wish: Memory = read(body)?;
            if wish.used.is_some_and(|used| !(0.0..=1.0).contains(&used)) {
                return Err("used is a share between 0 and 1".to_owned());
            }
            change(state, body, |_, machine| machine.memory_used = wish.used)?;
        }
        "figures" => {
            let named: Which = read(body)?;
            let mut told = body.clone();
            told.as_object_mut().map(|told| told.remove("app"));
            let figures: Figures = read(&told)?;
            let values = |told: &Figures| [told.latency_s, told.errors, told.memory, told.cpu, told.exits, told.volume];
            let all = [values(&figures), figures.before.as_deref().map(values).unwrap_or_default()];
            if all.iter().flatten().flatten().any(|value| !(0.0..=1e12).contains(value)) {
                return Err("a figure is a number, and not below 0".to_owned());
            }
            state.world.app_mut(&named.app).ok_or_else(|| no_app(&named.app))?.figures = figures;
            state.bump();
        }
        "lease" => {
            let wish: Hold = read(body)?;
            let after = wish.ttl_s.map(|ttl_s| now() + TimeDelta::seconds(i64::from(ttl_s)));
            let until = wish.until.or(after).filter(|_| !wish.free);
            if until.is_none() && !wish.free || until.is_some() && wish.owner.is_empty() {
                return Err("a lease needs an owner and ttl_s or until; free gives it up".to_owned());
            }
            change(state, body, |_, machine| {
                machine.lease = until.map(|expires_at| Lease {
                    nonce: hex(12),
                    owner: wish.owner.clone(),
                    description: "held by hand".to_owned(),
                    expires_at,
                });
            })?;
        }
        "config" => configure(sim, state, body)?,
        "image" => {
            images::tell(state, read::<Image>(body)?)?;
            state.bump();
        }
        "secret" => {
            let wish: Named = read(body)?;
            let app = state.world.app_mut(&wish.app).ok_or_else(|| no_app(&wish.app))?;
            app.secrets.retain(|secret| secret.name != wish.name);
            let digest = digest(&format!("{}{}", wish.name, hex(8)))[7..23].to_owned();
            app.secrets.push(Secret { name: wish.name, digest, created_at: now() });
            state.bump();
        }
        "release" => return deployed(sim, state, body),
        "log" => {
            let line: Line = read(body)?;
            let named: Which = read(body)?;
            let about = if named.machine.is_some() { which(state, body)?.into_iter().next() } else { None };
            let app = state.world.app_mut(&named.app).ok_or_else(|| no_app(&named.app))?;
            if line.empty {
                app.logs.clear();
                state.bump();
                return Ok(Value::Null);
            }
            let (instance, region) = about.map(|at| at.id).map_or_else(Default::default, |id| {
                let region = app.machine(&id).map(|machine| machine.region.clone()).unwrap_or_default();
                (id, region)
            });
            let ago = TimeDelta::try_milliseconds((line.ago_s * 1_000.0) as i64).ok_or("so long ago nothing was")?;
            for n in 1..=line.times.unwrap_or(1).min(LINES_MAX) {
                let number = line.times.map_or(String::new(), |_| format!(" {n}"));
                let at = now() - ago;
                app.put_log(Log {
                    id: ulid(at),
                    at_ns: nanos(at),
                    level: line.level.clone().unwrap_or("info".to_owned()),
                    message: format!("{}{number}", line.message),
                    instance: instance.clone(),
                    region: region.clone(),
                    provider: line.provider.clone().unwrap_or("app".to_owned()),
                    status: line.status,
                    code: line.code,
                });
            }
            state.bump();
        }
        "settings" => {
            let mut whole = json!(state.settings);
            for (key, value) in body.as_object().ok_or("settings are an object")? {
                whole[key] = value.clone();
            }
            state.settings = serde_json::from_value::<Settings>(whole).map_err(|error| error.to_string())?;
            sim.check_soon();
            state.bump();
            return Ok(json!(state.settings));
        }
        "faults" => {
            let fault: Fault = read(body)?;
            let id = state.faults.add(fault)?;
            state.bump();
            return Ok(json!({"id": id}));
        }
        "pass" => {
            let passed: Passed = read(body)?;
            let by =
                TimeDelta::try_milliseconds((passed.seconds * 1_000.0) as i64).filter(|by| *by >= TimeDelta::zero());
            let by = by.ok_or("time passes forward, in seconds")?;
            state.traffic.pass(by);
            for app in &mut state.world.apps {
                app.logs.iter_mut().for_each(|log| log.at_ns -= by.num_nanoseconds().unwrap_or_default());
                let events = app.machines.iter_mut().flat_map(|machine| &mut machine.events);
                events.for_each(|event| event.at -= by);
            }
            state.bump();
        }
        "reset" => {
            state.world = World::new(&state.workspace);
            state.settings = state.workspace.settings.clone();
            state.faults.clear();
            state.limits = super::limits::Limits::default();
            state.traffic = metrics::Traffic::default();
            lifecycle::resume(sim, state);
            sim.check_soon();
        }
        other => return Err(format!("there is no /sim/{other}")),
    }
    Ok(json!({}))
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, String> {
    T::deserialize(body).map_err(|error| error.to_string())
}

fn no_app(name: &str) -> String {
    format!("there is no app {name}")
}

/// The machines that a body names. Errors: no such app or machine.
fn which(state: &State, body: &Value) -> Result<Vec<At>, String> {
    let which: Which = read(body)?;
    let app = state.world.app(&which.app).ok_or_else(|| no_app(&which.app))?;
    let at = |machine: &Machine| At { app: app.name.clone(), id: machine.id.clone() };
    match &which.machine {
        None => Ok(app.machines.iter().map(at).collect()),
        Some(name) => {
            let found: Vec<At> = app
                .machines
                .iter()
                .enumerate()
                .filter(|(index, machine)| name.fits(*index, machine))
                .map(|(_, m)| at(m))
                .collect();
            if found.is_empty() { Err(format!("{} has no machine {name:?}", app.name)) } else { Ok(found) }
        }
    }
}

impl Name {
    fn fits(&self, index: usize, machine: &Machine) -> bool {
        match self {
            Name::Number(number) => *number == index + 1,
            Name::Word(word) => {
                word == "all" || *word == machine.id || *word == machine.name || word.parse() == Ok(index + 1)
            }
        }
    }
}

fn each(state: &mut State, body: &Value, step: impl Fn(&mut State, &At) -> Result<(), Problem>) -> Result<(), String> {
    for at in which(state, body)? {
        step(state, &at).map_err(said)?;
    }
    Ok(())
}

/// What a refusal says.
fn said(problem: Problem) -> String {
    problem.body["error"].as_str().unwrap_or("refused").to_owned()
}

fn change(state: &mut State, body: &Value, mut step: impl FnMut(&str, &mut Machine)) -> Result<(), String> {
    for at in which(state, body)? {
        if let Some(machine) = state.world.machine_mut(&at.app, &at.id) {
            step(&at.app, machine);
        }
    }
    state.bump();
    Ok(())
}

fn behave(sim: &Sim, state: &mut State, body: &Value) -> Result<(), String> {
    let wish: Behave = read(body)?;
    if wish.behaviour == Behaviour::Slow && wish.slow_ms.is_none() {
        return Err("slow needs slow_ms".to_owned());
    }
    change(state, body, |app, machine| {
        machine.behaviour = wish.behaviour;
        machine.slow_ms = wish.slow_ms.unwrap_or(0);
        machine.touch();
        // A new server: whoever hangs on the old one is let go.
        machine.live.server = None;
        tend(sim, app, machine);
    })?;
    sim.check_soon();
    Ok(())
}

fn host(sim: &Sim, state: &mut State, body: &Value) -> Result<(), String> {
    let wish: Host = read(body)?;
    if !matches!(wish.status.as_str(), "ok" | "unreachable" | "unknown") {
        return Err(format!("a host is ok, unreachable or unknown, not {:?}", wish.status));
    }
    for at in which(state, body)? {
        let Some(app) = state.world.app_mut(&at.app) else { continue };
        app.host_issues.retain(|issue| issue.machine != at.id);
        if wish.status == "unreachable" {
            let words = format!("The host of machine {} does not answer; we are looking into it.", at.id);
            let message = wish.message.clone().unwrap_or(words);
            app.host_issues.push(HostIssue { id: hex(12), machine: at.id.clone(), message, created_at: now() });
        }
        if let Some(machine) = state.world.machine_mut(&at.app, &at.id) {
            machine.host_status = wish.status.clone();
            machine.touch();
            // What was on its way there got lost with the host's network.
            tend(sim, &at.app, machine);
        }
    }
    sim.check_soon();
    state.bump();
    Ok(())
}

/// Somebody else gives machines another configuration: those that are up come up again with it.
fn configure(sim: &Sim, state: &mut State, body: &Value) -> Result<(), String> {
    let wish: Configured = read(body)?;
    for at in which(state, body)? {
        let Some(machine) = state.world.app(&at.app).and_then(|app| app.machine(&at.id)) else { continue };
        let is_up = matches!(machine.state.as_str(), "started" | "starting" | "failed");
        let mut config = machine.config.clone();
        merge(&mut config, &Value::Object(wish.set.clone()));
        lifecycle::replace(sim, state, &at, config, is_up).map_err(said)?;
    }
    Ok(())
}

/// As RFC 7396 merges: what is named takes the place of what was there, and null takes it away.
fn merge(config: &mut Value, set: &Value) {
    let Value::Object(set) = set else {
        set.clone_into(config);
        return;
    };
    if !config.is_object() {
        *config = json!({});
    }
    for (key, value) in set {
        match value {
            Value::Null => drop(config.as_object_mut().and_then(|config| config.remove(key))),
            value => merge(&mut config[key], value),
        }
    }
}

fn deployed(sim: &Sim, state: &mut State, body: &Value) -> Result<Value, String> {
    let wish: Deployed = read(body)?;
    let app = state.world.app_mut(&wish.app).ok_or_else(|| no_app(&wish.app))?;
    let version = app.current_release().map_or(1, |release| release.version + 1);
    let before = app.current_release().map(|release| release.definition.clone());
    let definition = wish.definition.or(before).unwrap_or_else(|| json!({"app": app.name}));
    let id = hex(24);
    app.releases.push(Release {
        id: id.clone(),
        version,
        status: wish.status.unwrap_or("complete".to_owned()),
        strategy: wish.strategy.unwrap_or("ROLLING".to_owned()),
        user: wish.user.unwrap_or("somebody@example.com".to_owned()),
        description: wish.description.unwrap_or_default(),
        image: wish.image.clone(),
        created_at: wish.created_at.unwrap_or_else(now),
        definition,
        metadata: Value::Null,
        updated_at: None,
    });
    if wish.machines.unwrap_or(true) {
        run_image(sim, state, &wish.app, &wish.image, (&id, version));
    }
    state.bump();
    Ok(json!({"version": version, "id": id}))
}

/// All machines of an app run another image from now on; those that are up come up again with it.
fn run_image(sim: &Sim, state: &mut State, app: &str, image: &str, (id, version): (&str, u64)) {
    let Some(found) = state.world.app(app) else { return };
    let change = |machine: &Machine| {
        let mut config = machine.config.clone();
        config["image"] = json!(image);
        config["metadata"]["fly_release_id"] = json!(id);
        config["metadata"]["fly_release_version"] = json!(version.to_string());
        let is_up = matches!(machine.state.as_str(), "started" | "starting" | "failed");
        (At { app: app.to_owned(), id: machine.id.clone() }, config, is_up)
    };
    let changes: Vec<(At, Value, bool)> = found.machines.iter().map(change).collect();
    for (at, config, is_up) in changes {
        // A machine whose host is away cannot be reached; it keeps what it runs.
        let _ = lifecycle::replace(sim, state, &at, config, is_up);
    }
}
