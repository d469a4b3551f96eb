//! The Machines API.

mod guest;
mod lease;
mod metadata;
mod power;
mod read;
mod routes;
mod wait;
mod write;

use axum::response::Response;

pub use routes::{Found, find, fit, template};

use super::Sim;
use super::api::Call;
use super::problem::Problem;
use routes::Op;

/// Answers a call.
///
/// Errors: as Fly refuses it.
pub async fn serve(sim: &Sim, call: &Call, found: &Found) -> Result<Response, Problem> {
    if let Some(app) = found.name("{app_name}") {
        call.caller.look_at(app)?;
    }
    match found.op {
        Op::Wait => wait::wait(sim, call, found).await,
        Op::Start | Op::Stop | Op::Restart | Op::Suspend | Op::Signal | Op::Cordon | Op::Uncordon => {
            power::serve(sim, call, found)
        }
        Op::Create | Op::Update | Op::Destroy => write::serve(sim, call, found),
        Op::TakeLease | Op::DropLease => lease::serve(sim, call, found),
        Op::PutMetadata | Op::PatchMetadata | Op::PutMetadataKey | Op::DropMetadataKey => {
            metadata::serve(sim, call, found)
        }
        Op::Later => Err(Problem::later()),
        _ => read::serve(&sim.lock(), call, found),
    }
}

/// The machine that a call is about.
fn at(found: &Found) -> super::lifecycle::At {
    let name = |place| found.name(place).unwrap_or_default().to_owned();
    super::lifecycle::At { app: name("{app_name}"), id: name("{machine_id}") }
}

/// A body is an object or nothing: Fly refuses `[]`.
fn body_is_sound(call: &Call) -> Result<(), Problem> {
    if call.bytes.iter().all(u8::is_ascii_whitespace) || call.body.is_object() {
        return Ok(());
    }
    Err(Problem::new(400, "invalid request: the body is not an object"))
}
