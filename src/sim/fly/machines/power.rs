//! Start, stop, restart, suspend, signal, and whether the proxy leaves a machine out.
//!
//! What changes a machine asks [`lease::free`] first: whoever holds a lease shows its nonce, everybody else waits.

use axum::response::Response;
use serde_json::{Value, json};

use super::super::Sim;
use super::super::api::Call;
use super::super::lifecycle::{self, At, KILLED};
use super::super::problem::{Problem, ok};
use super::super::process;
use super::super::state::State;
use super::super::world::span_ms;
use super::routes::{Found, Op};
use super::{at, body_is_sound, lease};

/// What a process ends with that a signal ends, beside the signal's number.
const BY_SIGNAL: i64 = 128;

/// Answers a call that moves a machine without changing its configuration.
pub fn serve(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    let at = at(found);
    call.caller.act_on(&at.app)?;
    body_is_sound(call)?;
    let mut state = sim.lock();
    let state = &mut *state;
    lease::free_at(state, &at, call)?;
    let done = json!({"ok": true});
    match found.op {
        Op::Start => lifecycle::start(sim, state, &at, "user").map(|before| ok(&lifecycle::started(&before))),
        Op::Stop => {
            let timeout = span(call.body.get("timeout"))?;
            lifecycle::stop_within(sim, state, &at, "user", timeout).map(|()| ok(&done))
        }
        Op::Suspend => lifecycle::suspend(sim, state, &at, "user").map(|()| ok(&done)),
        Op::Restart => {
            let text = call.get("timeout").map(Value::from);
            let forced = matches!(call.get("force_stop"), Some("true" | "1"));
            let timeout = if forced { Some(0) } else { span(text.as_ref())? };
            lifecycle::restart_within(sim, state, &at, "user", timeout).map(|()| ok(&done))
        }
        Op::Signal => signal(sim, state, &at, &call.body["signal"]).map(|()| ok(&done)),
        _ => {
            let machine = lifecycle::reach(state, &at)?;
            machine.cordoned = found.op == Op::Cordon;
            // Undocumented: that it is an event; one is seen in a fixture of another client's.
            let kind = if machine.cordoned { "cordon" } else { "uncordon" };
            machine.event(kind, &machine.state.clone(), "user", None);
            state.bump();
            Ok(ok(&done))
        }
    }
}

/// A span such as `10s`, or nothing.
fn span(wish: Option<&Value>) -> Result<Option<u64>, Problem> {
    let odd = || Problem::new(400, "invalid_argument: timeout is not a duration");
    match wish {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => span_ms(text).map(Some).ok_or_else(odd),
        Some(_) => Err(odd()),
    }
}

/// Undocumented: what a program does with a signal; here those that end a program do.
fn signal(sim: &Sim, state: &mut State, at: &At, wish: &Value) -> Result<(), Problem> {
    let number = match wish {
        Value::String(word) => match word.as_str() {
            "SIGHUP" => 1,
            "SIGINT" => 2,
            "SIGQUIT" => 3,
            "SIGKILL" => 9,
            "SIGUSR1" => 10,
            "SIGUSR2" => 12,
            "SIGTERM" => 15,
            _ => 0,
        },
        // Fly's own client kills by number, whatever the document says.
        other => other.as_i64().filter(|number| (1..=31).contains(number)).unwrap_or(0),
    };
    if number == 0 {
        return Err(Problem::new(400, "invalid_argument: no such signal"));
    }
    let machine = lifecycle::reach(state, at)?;
    if machine.state != "started" {
        return Err(Problem::precondition("machine not running"));
    }
    match number {
        9 => process::die(sim, state, at, KILLED, false, false),
        1 | 10 | 12 => {}
        other => process::die(sim, state, at, BY_SIGNAL + other, false, false),
    }
    Ok(())
}
