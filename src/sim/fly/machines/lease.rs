//! Leases: a hold on a machine for a while. Whoever shows its nonce may write; everybody else is told who holds it.

use axum::response::Response;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::Sim;
use super::super::api::Call;
use super::super::id::{hex, now, stamp};
use super::super::lifecycle::{self, At};
use super::super::problem::{Problem, answer, ok};
use super::super::state::State;
use super::super::view;
use super::super::world::{Lease, Machine};
use super::routes::{Found, Op};
use super::{at, body_is_sound};

/// The header of whoever holds a lease.
const NONCE: &str = "fly-machine-lease-nonce";
/// Undocumented: how long a lease lives when nobody says, and at most.
const TTL_SECONDS_DEFAULT: i64 = 60;
const TTL_SECONDS_MAX: i64 = 24 * 3_600;

/// Answers a call that takes, renews or gives up a lease.
pub fn serve(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    let at = at(found);
    call.caller.act_on(&at.app)?;
    body_is_sound(call)?;
    let mut state = sim.lock();
    let state = &mut *state;
    let machine = lifecycle::reach(state, &at)?;
    if found.op == Op::DropLease {
        machine.held().ok_or_else(none)?;
        free(machine, call)?;
        machine.lease = None;
        state.bump();
        return Ok(ok(&json!({"status": "success", "data": {"ok": true}})));
    }
    let ttl = ttl(call)?;
    let description = call.body["description"].as_str().unwrap_or_default();
    take(machine, call, ttl, description)?;
    let lease = machine.held().ok_or_else(none)?;
    let body = view::lease(machine, lease);
    state.bump();
    // The document says 201; an emulator that operators use says 200.
    Ok(answer(201, &body))
}

/// Takes or renews a lease for the caller. Errors: somebody else holds it.
pub fn take(machine: &mut Machine, call: &Call, ttl_s: i64, description: &str) -> Result<(), Problem> {
    free(machine, call)?;
    let expires_at = now() + TimeDelta::seconds(ttl_s);
    let owner = call.caller.name().to_owned();
    if machine.held().is_some()
        && let Some(lease) = &mut machine.lease
    {
        // Renewed: the nonce stays.
        lease.expires_at = expires_at;
        return Ok(());
    }
    // Undocumented: what renewing a lease does that is over. Here it is a new one, with a nonce of its own.
    machine.lease = Some(Lease { nonce: hex(12), owner, description: description.to_owned(), expires_at });
    Ok(())
}

/// Refuses when somebody else holds the machine.
///
/// Undocumented: what a nonce does that belongs to no lease, or to one that is over. Here it is not looked at.
pub fn free(machine: &Machine, call: &Call) -> Result<(), Problem> {
    let Some(lease) = machine.held() else { return Ok(()) };
    let shown = call.headers.get(NONCE).and_then(|value| value.to_str().ok());
    if shown == Some(lease.nonce.as_str()) {
        return Ok(());
    }
    let (id, owner, until) = (&machine.id, &lease.owner, stamp(lease.expires_at));
    let words = format!("machine ID {id} lease currently held by {owner}, expires at {until}");
    Err(Problem { status: 409, body: json!({"status": "error", "message": words, "error": words}) })
}

/// The same for the machine that a call is about. Errors also: there is no such machine.
pub fn free_at(state: &State, at: &At, call: &Call) -> Result<(), Problem> {
    let app = state.world.app(&at.app).ok_or_else(Problem::no_app)?;
    free(app.machine(&at.id).ok_or_else(Problem::no_machine)?, call)
}

/// There is no lease.
pub fn none() -> Problem {
    Problem { status: 404, body: json!({"status": "error", "message": "lease not found", "code": "not_found"}) }
}

fn ttl(call: &Call) -> Result<i64, Problem> {
    let wish = match call.get("ttl") {
        Some(text) => Some(text.parse().unwrap_or(-1)),
        None => match call.body.get("ttl") {
            None | Some(Value::Null) => None,
            Some(wish) => Some(wish.as_i64().unwrap_or(-1)),
        },
    };
    let seconds = wish.unwrap_or(TTL_SECONDS_DEFAULT);
    if (1..=TTL_SECONDS_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    Err(Problem::new(400, "invalid_argument: ttl is not a number of seconds that a lease can live"))
}
