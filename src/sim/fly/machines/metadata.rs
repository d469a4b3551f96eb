//! The metadata of a machine, changed without a new version and without a restart.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Sim;
use super::super::api::Call;
use super::super::id::now;
use super::super::lifecycle;
use super::super::problem::Problem;
use super::routes::{Found, Op};
use super::{at, body_is_sound, lease};

/// Answers a call that changes metadata: 204.
pub fn serve(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    let at = at(found);
    call.caller.act_on(&at.app)?;
    body_is_sound(call)?;
    let mut state = sim.lock();
    let state = &mut *state;
    lease::free_at(state, &at, call)?;
    let machine = lifecycle::reach(state, &at)?;
    let odd = || Problem::new(400, "invalid_argument: metadata is made of texts");
    let key = found.name("{key}").unwrap_or_default();
    let mut metadata = machine.config["metadata"].as_object().cloned().unwrap_or_default();
    match found.op {
        Op::PutMetadataKey => {
            let value = call.body["value"].as_str().ok_or_else(odd)?;
            metadata.insert(key.to_owned(), json!(value));
        }
        Op::DropMetadataKey => {
            metadata.remove(key);
        }
        _ => {
            let version = call.body["machine_version"].as_str().filter(|version| !version.is_empty());
            if version.is_some_and(|version| version != machine.instance_id) {
                // The status is documented; the words are not.
                return Err(Problem::precondition("machine version does not match"));
            }
            let wish = call.body["metadata"].as_object().ok_or_else(odd)?;
            if wish.values().any(|value| !value.is_string() && !value.is_null()) {
                return Err(odd());
            }
            if found.op == Op::PutMetadata {
                metadata.clear();
            }
            metadata.extend(wish.clone());
            metadata.retain(|_, value| !value.is_null());
        }
    }
    machine.config["metadata"] = Value::Object(metadata);
    machine.updated_at = now();
    state.bump();
    Ok(StatusCode::NO_CONTENT.into_response())
}
