//! What is done after what: effects with one key never overtake each other.
//!
//! Pure. Says nothing about when something is done, only what has to be over before; the outbox keeps to it, and so does the
//! simulation's.

use super::effect::{Effect, EffectKind, Target};
use super::ids::Thing;
use super::input::EffectEnd;

/// Effects with the same key are done one after another.
pub fn key(effect: &Effect) -> String {
    match &effect.kind {
        EffectKind::Card { incident, .. } | EffectKind::Thread { incident } => format!("thread:{}", incident.0),
        EffectKind::Board { to, .. } | EffectKind::AlertCard { to, .. } | EffectKind::Post { to, .. } => match to {
            Target::Thread(id) => format!("thread:{}", id.0),
            // What is said about an incident comes after its card, in whatever channel that stands.
            Target::Incidents | Target::Test => match effect.on {
                Thing::Incident(id) => format!("thread:{}", id.0),
                Thing::Deploy(id) => format!("deploy:{}", id.0),
                Thing::Alert(id) => format!("alert:{}", id.0),
                Thing::Team => "team".to_owned(),
            },
            Target::Announce => "announce".to_owned(),
            Target::Direct(person) => format!("person:{person}"),
        },
        // Pages wait for nothing.
        EffectKind::Page { .. } | EffectKind::Look { .. } | EffectKind::Survey { .. } | EffectKind::Follow { .. } => {
            format!("alone:{}", effect.id)
        }
        // Nobody works on a machine that is in hand.
        EffectKind::Act { app, step, .. } => match step.machine() {
            Some(machine) => format!("machine:{app}:{machine}"),
            None => format!("releases:{app}"),
        },
    }
}

/// Whether nothing may follow under the key until this end is on record. A restart does again what is not: a step at the host
/// would be done over what came after it, and a thread that comes to be after all is another place than the one where the words
/// after it stand already.
pub fn holds_what_follows(effect: &Effect, end: &EffectEnd) -> bool {
    match effect.kind {
        EffectKind::Act { .. } => true,
        EffectKind::Card { .. } | EffectKind::Thread { .. } => matches!(end, EffectEnd::GivenUp { .. }),
        _ => false,
    }
}
