//! What can be done to an incident: one file a group of verbs. A command, a button and a form that mean the same end here.
//!
//! Pure. Rights are checked here and nowhere else, on every call, press and form.

pub mod alerts;
pub mod back;
pub mod change;
pub mod close;
pub mod deploy;
pub mod hold;
pub mod logs;
pub mod open;
pub mod pipeline;
pub mod respond;
pub mod scale;
pub mod ship;
pub mod update;

use super::draft::{Ctx, Draft};
use super::ids::{IncidentId, Place};
use super::incident::Incident;
use super::refusal::Refusal;

/// The incident somebody means: the one named, the one whose thread they are in, or the only one open.
/// The flag says that it was guessed, so that the answer can say so.
///
/// # Errors
/// When it is not clear which.
pub fn meant<'a>(ctx: &Ctx<'a>, named: Option<&str>, place: &Place) -> Result<(&'a Incident, bool), Refusal> {
    if let Some(named) = named {
        let id: IncidentId = named.parse().map_err(Refusal::Because)?;
        return ctx.state.incidents.get(&id).map(|found| (found, false)).ok_or(Refusal::NoSuchIncident(id));
    }
    if let Some(here) = ctx.state.at_place(place) {
        return Ok((here, false));
    }
    let mut open = ctx.state.open();
    match (open.next(), open.next()) {
        (Some(only), None) => Ok((only, true)),
        // Nothing is open: whoever asks now means the one that was closed last.
        (None, _) => ctx.state.incidents.values().next_back().map(|last| (last, true)).ok_or(Refusal::NothingOpen),
        _ => Err(Refusal::Which(ctx.state.open().map(|incident| incident.id).collect())),
    }
}

/// The same, and it must be open.
///
/// # Errors
/// When it is not clear which, or it is closed.
pub fn meant_open<'a>(ctx: &Ctx<'a>, named: Option<&str>, place: &Place) -> Result<(&'a Incident, bool), Refusal> {
    let (incident, guessed) = meant(ctx, named, place)?;
    if incident.status.is_open() {
        Ok((incident, guessed))
    } else if guessed {
        Err(Refusal::NothingOpen)
    } else {
        Err(Refusal::Closed(incident.id, incident.status.name()))
    }
}

/// An incident that must be open still.
///
/// # Errors
/// When there is none, or it is closed.
pub fn still_open<'d>(draft: &'d Draft<'_>, id: IncidentId) -> Result<&'d Incident, Refusal> {
    let incident = draft.incident(id)?;
    if incident.status.is_open() { Ok(incident) } else { Err(Refusal::Closed(id, incident.status.name())) }
}
