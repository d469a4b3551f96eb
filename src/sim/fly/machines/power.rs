//! Start, stop and restart.
//!
//! What changes a machine asks [`free`] first: whoever holds a lease shows its nonce, everybody else waits.

use axum::response::Response;
use serde_json::json;

use super::super::Sim;
use super::super::api::Call;
use super::super::id::stamp;
use super::super::lifecycle::{self, At};
use super::super::problem::{Problem, ok};
use super::super::world::Machine;
use super::routes::{Found, Op};

/// The header of whoever holds a lease.
const NONCE: &str = "fly-machine-lease-nonce";

/// Answers a call that starts, stops or restarts a machine.
pub fn serve(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    let (app, id) = (found.name("{app_name}").unwrap_or_default(), found.name("{machine_id}").unwrap_or_default());
    call.caller.act_on(app)?;
    body_is_sound(call)?;
    let mut state = sim.lock();
    let machine = state.world.app(app).ok_or_else(Problem::no_app)?.machine(id).ok_or_else(Problem::no_machine)?;
    free(machine, call)?;
    let at = At { app: app.to_owned(), id: id.to_owned() };
    match found.op {
        Op::Start => lifecycle::start(sim, &mut state, &at, "user").map(|before| ok(&lifecycle::started(&before))),
        Op::Stop => lifecycle::stop(sim, &mut state, &at, "user").map(|()| ok(&json!({"ok": true}))),
        _ => lifecycle::restart(sim, &mut state, &at, "user").map(|()| ok(&json!({"ok": true}))),
    }
}

/// Refuses when somebody else holds the machine.
fn free(machine: &Machine, call: &Call) -> Result<(), Problem> {
    let Some(lease) = machine.held() else { return Ok(()) };
    let shown = call.headers.get(NONCE).and_then(|value| value.to_str().ok());
    if shown == Some(lease.nonce.as_str()) {
        return Ok(());
    }
    let (id, owner, until) = (&machine.id, &lease.owner, stamp(lease.expires_at));
    let words = format!("machine ID {id} lease currently held by {owner}, expires at {until}");
    Err(Problem { status: 409, body: json!({"status": "error", "message": words, "error": words}) })
}

/// A body is an object or nothing: Fly refuses `[]`.
fn body_is_sound(call: &Call) -> Result<(), Problem> {
    if call.bytes.iter().all(u8::is_ascii_whitespace) || call.body.is_object() {
        return Ok(());
    }
    Err(Problem::new(400, "invalid request: the body is not an object"))
}
