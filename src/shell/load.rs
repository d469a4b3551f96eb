//! From the record to a state, at start: from the views where they can be trusted, from the log otherwise.
//!
//! Both ways give the same state; a test holds them against each other. Nothing in a file stops this: what cannot be read is
//! reported, what is unknown is counted.

use crate::adapters::store::{Base, Brought, FileJournal, Fold, SledViews, bring_forward};
use crate::domain::alerts::Alerts;
use crate::domain::ids::{InputId, Thing};
use crate::domain::state::{Decided, INPUTS_REMEMBERED, State, TeamState};
use crate::ports::journal::{Journal, Line, Note, Views};

use super::driver::{ALERTS_DOC, TEAM_DOC, aged, alerts_doc, team_doc};
use super::record;

/// A state read from the record, and what people should hear about it.
pub struct Loaded {
    /// The state.
    pub state: State,
    /// Sentences for people.
    pub findings: Vec<String>,
}

/// Reads the state.
pub fn load(journal: &FileJournal, views: &mut SledViews, base: Base) -> Loaded {
    let mut findings = Vec::new();
    let (state, from) = match base {
        Base::Views { next } => match from_views(journal, views) {
            Ok(state) => (state, next),
            Err(why) => {
                findings.push(format!("The database could not be used ({why}); everything comes from the log."));
                let _ = views.start_over("it could not be read at start");
                (State::default(), 0)
            }
        },
        Base::Log => (State::default(), 0),
    };
    let mut folding = Folding { state, unknown: 0 };
    let (damage, brought) = bring_forward(journal, views, from, &mut folding);
    let Folding { mut state, unknown } = folding;
    findings.extend(damage.iter().map(ToString::to_string));
    if let Err(error) = brought {
        findings.push(error.to_string());
    }
    if unknown > 0 {
        findings.push(format!(
            "{unknown} entries of the record are of a kind that this version does not know; they are kept and passed over."
        ));
    }
    let head = journal.head();
    state.seq = state.seq.max(head.seq);
    let docs = [team_doc(&state), alerts_doc(&state)];
    if let Err(error) = views.apply(&[], &head, &[], &docs) {
        findings.push(error.to_string());
    }
    remember_inputs(journal, &mut state, head.seq);
    Loaded { state, findings }
}

/// A state on its way through the log.
struct Folding {
    state: State,
    unknown: usize,
}

impl Fold for Folding {
    fn line(&mut self, line: &Line) -> Brought {
        let (decided, more) = record::decided(line);
        self.unknown += more;
        take_in(&mut self.state, line, &decided);
        Brought { open: settle(&mut self.state, &decided), docs: Vec::new() }
    }

    fn docs(&mut self) -> Vec<(String, Vec<u8>)> {
        vec![team_doc(&self.state), alerts_doc(&self.state)]
    }
}

/// What is open, from the views; the rest of the log follows.
fn from_views(journal: &FileJournal, views: &mut SledViews) -> Result<State, String> {
    let mut state = State::default();
    let doc = views.doc(TEAM_DOC).map_err(|error| error.to_string())?.ok_or("the team's part is missing")?;
    let team: TeamState = serde_json::from_slice(&doc).map_err(|error| error.to_string())?;
    // A database from before there were alerts has none.
    let alerts = match views.doc(ALERTS_DOC).map_err(|error| error.to_string())? {
        Some(doc) => serde_json::from_slice(&doc).map_err(|error| error.to_string())?,
        None => Alerts::default(),
    };
    // One thing at a time: the lines of everything that is open would be several times as large as what becomes of them. What
    // becomes of a thing's lines depends on no other thing's.
    let open = views.open_things().map_err(|error| error.to_string())?;
    for name in &open {
        if matches!(name.parse(), Ok(Thing::Incident(_) | Thing::Deploy(_) | Thing::Alert(_))) {
            for line in views.rows(name).map_err(|error| error.to_string())? {
                apply_line(&mut state, &line);
            }
        }
    }
    // Effects that belong to the team (a digest on its way) are few; their thing is kept open like any other.
    let team_lines = views.rows(&Thing::Team.to_string()).map_err(|error| error.to_string())?;
    for line in team_lines.iter().skip(team_lines.len().saturating_sub(TEAM_LINES)) {
        apply_line(&mut state, line);
    }
    // Filled in order a map leaves every second place empty; built from what is all there it leaves none.
    state.incidents = std::mem::take(&mut state.incidents).into_iter().collect();
    if open.len() > OPEN_FEW {
        views.let_go().map_err(|error| error.to_string())?;
    }
    // What the whole log says of the team is in its document; folding a part of its lines is not enough.
    state.team = team;
    state.alerts = alerts;
    if let Some(Ok(last)) = journal.read_from(journal.head().seq).next() {
        state.latest = state.latest.max(chrono::DateTime::from_timestamp_millis(last.at_ms));
    }
    Ok(state)
}

/// Open things whose rows the database may keep in memory, some 5 KB each: opening it again costs more than they do.
const OPEN_FEW: usize = 64;
/// The newest lines about the team that are read for effects still on their way.
const TEAM_LINES: usize = 2_000;

/// Applies one line, and says how many of its parts are unknown.
pub fn apply_line(state: &mut State, line: &Line) -> usize {
    let (decided, unknown) = record::decided(line);
    take_in(state, line, &decided);
    unknown
}

fn take_in(state: &mut State, line: &Line, decided: &Decided) {
    state.apply(decided);
    if let Some(Note::Gap { to, things, .. }) = &line.note {
        state.seq = state.seq.max(*to);
        for name in things {
            // A number that may have been said aloud is never said again for something else.
            match name.parse() {
                Ok(Thing::Incident(id)) => state.team.incidents = state.team.incidents.max(id.0),
                Ok(Thing::Deploy(id)) => state.team.deploys_used = state.team.deploys_used.max(id.0),
                Ok(Thing::Alert(id)) => state.alerts.used = state.alerts.used.max(id.0),
                _ => {}
            }
        }
    }
}

/// What a line leaves open; what is over is let go from memory.
fn settle(state: &mut State, decided: &Decided) -> Vec<(String, bool)> {
    let Decided { facts, effects, .. } = decided;
    let mut touched: Vec<Thing> =
        facts.iter().map(|(on, _)| *on).chain(effects.iter().map(|effect| effect.on)).collect();
    touched.extend(aged(touched.iter()));
    touched.sort_unstable();
    touched.dedup();
    let mut open = Vec::new();
    for thing in touched {
        match thing {
            Thing::Team => {}
            Thing::Deploy(_) => open.push((thing.to_string(), state.has_pending(thing))),
            Thing::Alert(id) => open.push((thing.to_string(), state.is_open_alert(id))),
            Thing::Incident(id) => {
                let held = state.must_hold(id);
                open.push((thing.to_string(), held));
                if !held {
                    state.release(id);
                }
            }
        }
    }
    open
}

/// Ids of the newest inputs, so that a repeat is known across a restart. What was remembered on the way here is not the newest,
/// nor in order.
fn remember_inputs(journal: &FileJournal, state: &mut State, head: u64) {
    state.forget_inputs();
    let from = head.saturating_sub(INPUTS_REMEMBERED as u64);
    for line in journal.read_from(from).filter_map(Result::ok) {
        if !line.input.is_empty() {
            state.remember(&InputId::new(line.input));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::adapters::store;
    use crate::domain::fact::Fact;
    use crate::domain::ids::Person;

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for found in fs::read_dir(from).expect("a folder").map(|found| found.expect("an entry").path()) {
            let target = to.join(found.file_name().expect("a name"));
            if found.is_dir() {
                copy(&found, &target);
            } else {
                fs::copy(&found, &target).expect("a copy");
            }
        }
    }

    fn started(folder: &Path) -> (State, store::Opened) {
        let mut opened = store::open(folder, &store::Options::at(1_795_449_600_000)).expect("it opens");
        let Loaded { state, findings } = load(&opened.journal, &mut opened.views, opened.base);
        assert_eq!(findings, Vec::<String>::new());
        (state, opened)
    }

    #[test]
    fn two_kills_in_a_row_leave_the_team_as_the_record_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        {
            let (mut state, mut opened) = started(&before);
            opened.views.settle().expect("it settles");
            let fact = Fact::WentLive { by: Person::new("discord:1") };
            let (seq, at, input) = (state.seq + 1, chrono::DateTime::UNIX_EPOCH, InputId::new("one"));
            let decided = Decided { seq, at, input, facts: vec![(Thing::Team, fact)], effects: Vec::new() };
            state.apply(&decided);
            let epoch = opened.journal.epoch();
            // Killed before the database heard of it.
            opened.journal.append(epoch, vec![record::entry(&decided, "lighthouse")]).expect("room");
        }
        let (state, opened) = started(&before);
        assert!(state.team.live);
        // Killed again right after the start: what stands on the disk now is what the next one finds.
        copy(&before, &after);
        assert_eq!(started(&after).0.team, state.team);
        drop(opened);
    }
}
