//! Create, update and destroy. A configuration is taken whole and kept as it was written, unknown keys too.

use axum::response::Response;
use serde_json::{Value, json};

use super::super::Sim;
use super::super::api::Call;
use super::super::id::{hex, now};
use super::super::images;
use super::super::lifecycle::{self, At};
use super::super::problem::{Problem, ok};
use super::super::state::State;
use super::super::view;
use super::super::world::Machine;
use super::routes::{Found, Op};
use super::{at, body_is_sound, guest, lease};

/// Machines of one app.
const MACHINES_MAX: usize = 200;

/// Answers a call that makes, changes or destroys a machine.
pub fn serve(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    let at = at(found);
    call.caller.act_on(&at.app)?;
    body_is_sound(call)?;
    let mut state = sim.lock();
    let state = &mut *state;
    if found.op == Op::Create {
        return create(sim, state, call, &at.app);
    }
    lease::free_at(state, &at, call)?;
    if found.op == Op::Update {
        return update(sim, state, call, &at);
    }
    // The document says `force`, flyctl sends `kill`.
    let force = ["force", "kill"].iter().any(|key| matches!(call.get(key), Some("true" | "1")));
    lifecycle::destroy(sim, state, &at, force, "user").map(|()| ok(&json!({"ok": true})))
}

fn create(sim: &Sim, state: &mut State, call: &Call, app: &str) -> Result<Response, Problem> {
    let known = state.world.app(app).ok_or_else(Problem::no_app)?;
    if known.machines.len() >= MACHINES_MAX {
        return Err(Problem::new(403, "this would be over the allowed quota of machines"));
    }
    let name = text(&call.body, "name").map_or_else(|| format!("quiet-hill-{}", hex(4)), str::to_owned);
    if let Some(same) = known.machines.iter().find(|machine| machine.name == name) {
        // As operators quote it; they do not agree on the status, most say 409.
        let words = format!("machine ID {} already exists with name {name:?}", same.id);
        return Err(Problem::new(409, &format!("already_exists: unique machine name violation, {words}")));
    }
    let config = config(state, call, None)?;
    let region = text(&call.body, "region").map_or_else(|| home(state, app), str::to_owned);
    let volumes = mounts(state, app, &config, None)?;
    let mut machine = Machine::new(name, region, config, (now(), now()));
    machine.keep_version();
    machine.cordoned = is_true(&call.body, "skip_service_registration");
    machine.event("launch", "created", "user", None);
    let at = At { app: app.to_owned(), id: machine.id.clone() };
    let body = leased(&mut machine, call)?;
    if let Some(app) = state.world.app_mut(app) {
        for volume in app.volumes.iter_mut().filter(|volume| volumes.contains(&volume.id)) {
            volume.machine = Some(at.id.clone());
        }
        app.machines.push(machine);
    }
    if !is_true(&call.body, "skip_launch") {
        lifecycle::begin_start(sim, state, &at, "flyd");
    }
    state.bump();
    Ok(ok(&body))
}

fn update(sim: &Sim, state: &mut State, call: &Call, at: &At) -> Result<Response, Problem> {
    let machine = lifecycle::reach(state, at)?;
    let runs = machine.image().to_owned();
    if text(&call.body, "current_version").is_some_and(|version| version != machine.instance_id) {
        // Undocumented: how an update of another version is refused; for metadata it is a 412.
        return Err(Problem::precondition("machine version does not match current_version"));
    }
    for (key, is) in [("region", &machine.region), ("name", &machine.name)] {
        if text(&call.body, key).is_some_and(|wish| wish != is) {
            // Undocumented: the words; that neither can change is known.
            return Err(Problem::new(400, &format!("invalid_argument: a machine's {key} cannot be changed")));
        }
    }
    let config = config(state, call, Some(&runs))?;
    mounts(state, &at.app, &config, Some(&at.id))?;
    lifecycle::replace(sim, state, at, config, !is_true(&call.body, "skip_launch"))?;
    let machine = lifecycle::reach(state, at)?;
    let body = leased(machine, call)?;
    Ok(ok(&body))
}

/// The machine as the answer shows it, with the nonce of the lease that the call asked for.
fn leased(machine: &mut Machine, call: &Call) -> Result<Value, Problem> {
    let ttl = call.body["lease_ttl"].as_i64().filter(|ttl| *ttl > 0);
    if let Some(ttl) = ttl {
        lease::take(machine, call, ttl, "")?;
    }
    let mut body = view::machine(machine);
    if ttl.is_some()
        && let Some(lease) = machine.held()
    {
        body["nonce"] = json!(lease.nonce);
    }
    Ok(body)
}

/// The configuration of a call, looked through. `runs` is the image that the machine's host has already.
fn config(state: &State, call: &Call, runs: Option<&str>) -> Result<Value, Problem> {
    let config = &call.body["config"];
    if !config.is_object() {
        return Err(Problem::new(400, "invalid_argument: config required"));
    }
    let image = text(config, "image").ok_or_else(|| Problem::new(400, "config.image required"))?;
    if runs != Some(image) && !images::is_there(state, image) {
        return Err(Problem::no_image(image));
    }
    if let Some(words) = guest::refuse(&config["guest"]) {
        return Err(Problem::new(400, &format!("invalid_argument: invalid config.guest, {words}")));
    }
    if !config["metadata"].is_object() && !config["metadata"].is_null() {
        return Err(Problem::new(400, "invalid_argument: config.metadata is made of texts"));
    }
    Ok(config.clone())
}

/// The volumes that a configuration mounts. Errors: there is no such volume, or another machine has it.
fn mounts(state: &State, app: &str, config: &Value, machine: Option<&str>) -> Result<Vec<String>, Problem> {
    let volumes = state.world.app(app).map(|app| app.volumes.as_slice()).unwrap_or_default();
    let wanted = config["mounts"].as_array().into_iter().flatten().filter_map(|mount| text(mount, "volume"));
    let mut found = Vec::new();
    for id in wanted {
        let volume = volumes.iter().find(|volume| volume.id == id);
        let volume = volume.ok_or_else(|| Problem::new(400, "volume not found"))?;
        if volume.machine.is_some() && volume.machine.as_deref() != machine {
            return Err(Problem::precondition("volume is currently bound to machine"));
        }
        found.push(volume.id.clone());
    }
    Ok(found)
}

/// Where a machine goes when nobody says.
fn home(state: &State, app: &str) -> String {
    let first = state.world.app(app).and_then(|app| app.machines.first());
    first.map_or_else(|| "ord".to_owned(), |machine| machine.region.clone())
}

fn text<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn is_true(body: &Value, key: &str) -> bool {
    body.get(key) == Some(&Value::Bool(true))
}
