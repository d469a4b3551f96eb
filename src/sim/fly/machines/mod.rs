//! The Machines API.

mod power;
mod read;
mod routes;
mod wait;

use axum::response::Response;

pub use routes::{Found, find, template};

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
        Op::Start | Op::Stop | Op::Restart => power::serve(sim, call, found),
        Op::Later => Err(Problem::later()),
        _ => read::serve(&sim.lock(), call, found),
    }
}
