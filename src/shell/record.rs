//! Between what is decided and what is written: a decision becomes an entry of the journal, a line becomes a decision again.
//!
//! Reading is total: a fact of a kind this program does not know is counted and passed over, never lost from the log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::deploy::Deploy;
use crate::domain::effect::Effect;
use crate::domain::fact::Fact;
use crate::domain::ids::{DeployId, IncidentId, InputId, Thing};
use crate::domain::incident::Incident;
use crate::domain::state::{Decided, State, follow};
use crate::ports::journal::{Entry, Line};

/// The journal's entry for a decision.
pub fn entry(decided: &Decided, team: &str) -> Entry {
    Entry {
        at_ms: decided.at.timestamp_millis(),
        team: team.to_owned(),
        input: decided.input.as_str().to_owned(),
        skip: false,
        facts: decided.facts.iter().map(|(on, fact)| on_record(*on, fact)).collect(),
        effects: decided.effects.iter().map(json).collect(),
    }
}

fn on_record(on: Thing, fact: &Fact) -> String {
    let mut value = serde_json::to_value(fact).unwrap_or(Value::Null);
    if let Value::Object(map) = &mut value {
        map.insert("on".to_owned(), Value::String(on.to_string()));
    }
    value.to_string()
}

fn json(effect: &Effect) -> String {
    serde_json::to_string(effect).unwrap_or_default()
}

/// A decision read back, and how many of its parts this program does not know.
pub fn decided(line: &Line) -> (Decided, usize) {
    let mut unknown = 0;
    let mut facts = Vec::with_capacity(line.facts.len());
    for json in &line.facts {
        match fact(json) {
            Some(pair) => facts.push(pair),
            None => unknown += 1,
        }
    }
    let mut effects = Vec::with_capacity(line.effects.len());
    for json in &line.effects {
        match serde_json::from_str::<Effect>(json) {
            Ok(effect) => effects.push(effect),
            Err(_) => unknown += 1,
        }
    }
    let at = DateTime::<Utc>::from_timestamp_millis(line.at_ms).unwrap_or_default();
    (Decided { seq: line.seq, at, input: InputId::new(line.input.clone()), facts, effects }, unknown)
}

fn fact(json: &str) -> Option<(Thing, Fact)> {
    let value: Value = serde_json::from_str(json).ok()?;
    let on = value.get("on")?.as_str()?.parse().ok()?;
    Some((on, serde_json::from_value(value).ok()?))
}

/// One incident, folded from its own lines; none when they do not begin one.
pub fn incident(id: IncidentId, lines: &[Line]) -> Option<Incident> {
    let mut state = State::default();
    for line in lines {
        let (mut one, _) = decided(line);
        one.facts.retain(|(on, _)| *on == Thing::Incident(id));
        one.effects.retain(|effect| effect.on == Thing::Incident(id));
        state.apply(&one);
    }
    state.incidents.remove(&id)
}

/// Every change that these lines tell of, each folded from its own facts.
pub fn changes<'a>(lines: impl IntoIterator<Item = &'a Line>) -> BTreeMap<DeployId, Deploy> {
    let mut all: BTreeMap<DeployId, Deploy> = BTreeMap::new();
    for line in lines {
        let (decided, _) = decided(line);
        decided.facts.iter().for_each(|(on, fact)| follow(&mut all, decided.at, *on, fact));
    }
    all
}
