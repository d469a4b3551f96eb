//! What is kept of a record that lost its end: the database knew more than the log, and the store has set it aside.
//!
//! Its word is no proof, so nothing of it becomes an incident again. But a number that was said aloud must not come again for
//! something else, a team that was live must not find itself unheard, and people must be told, where they look.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use tracing::{error, warn};

use super::driver::{ALERTS_DOC, TEAM_DOC, team_doc};
use super::record;
use crate::adapters::store::{SLED_DIR, SledViews};
use crate::domain::alerts::{Alerts, Happened};
use crate::domain::effect::{Effect, EffectKind, Target, Urgency};
use crate::domain::fact::Fact;
use crate::domain::ids::{AlertId, DeployId, EffectId, IncidentId, InputId, Person, Thing};
use crate::domain::message::{Message, Text};
use crate::domain::state::{Decided, State, TeamState};
use crate::domain::text;
use crate::ports::journal::{Journal, Views};

/// In the name of a database that was set aside because it knew more than the log.
const AHEAD: &str = "-ahead";
/// How many of the newest incidents are looked through for the highest number.
const NEWEST: usize = 64;

/// Databases in a state folder that know more than the log did.
pub fn set_aside(folder: &Path) -> BTreeSet<String> {
    let names =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(SLED_DIR) && name.ends_with(AHEAD)).collect()
}

/// What a database remembers that knew more than the log.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// The team.
    pub team: TeamState,
    /// The highest number of a group of alerts.
    pub alerts_used: u32,
}

/// What such a database remembers of the team; none when it cannot be read.
pub fn remembered(folder: &Path, aside: &str, now_ms: i64) -> Option<Remembered> {
    // It is opened under its usual name in a folder of its own: the store reads it, and nothing of it moves.
    let reading = folder.join(format!("{SLED_DIR}.reading"));
    let _left_by_a_crash = fs::remove_dir_all(&reading);
    fs::create_dir(&reading).ok()?;
    let team = read(&reading, &Path::new("..").join(aside), now_ms);
    let _tidy = fs::remove_dir_all(&reading);
    team
}

fn read(reading: &Path, aside: &Path, now_ms: i64) -> Option<Remembered> {
    std::os::unix::fs::symlink(aside, reading.join(SLED_DIR)).ok()?;
    let (mut views, trouble) = SledViews::open(reading, now_ms);
    if let Some(why) = trouble {
        warn!(reason = %why, "The database that was set aside cannot be read");
        return None;
    }
    let mut team: TeamState = serde_json::from_slice(&views.doc(TEAM_DOC).ok()??).ok()?;
    let newest = views.things("inc", None, NEWEST).unwrap_or_default();
    for number in newest.iter().filter_map(|(name, _)| match name.parse() {
        Ok(Thing::Incident(id)) => Some(id.0),
        _ => None,
    }) {
        team.incidents = team.incidents.max(number);
    }
    let alerts = views.doc(ALERTS_DOC).ok().flatten().and_then(|doc| serde_json::from_slice::<Alerts>(&doc).ok());
    Some(Remembered { team, alerts_used: alerts.map_or(0, |alerts| alerts.used) })
}

/// Puts on record, and into memory, what must not be lost with the end of the log: the numbers, the mode, and that it happened.
pub fn recover(
    journal: &mut dyn Journal,
    views: &mut dyn Views,
    state: &mut State,
    remembered: Option<&Remembered>,
    what: &str,
    (now, name): (DateTime<Utc>, &str),
) {
    let mut facts = Vec::new();
    let mut live = state.team.live;
    let mut next = None;
    if let Some(Remembered { team, alerts_used }) = remembered {
        if *alerts_used > state.alerts.used {
            let happened = Happened::CardLost;
            facts.push((Thing::Alert(AlertId(*alerts_used)), Fact::Alert { happened }));
        }
        if team.incidents > state.team.incidents {
            // Its card stands in the channel and nothing is known of it: so much is true of the last of them, and it
            // uses up the numbers up to it.
            let last = IncidentId(team.incidents);
            facts.push((Thing::Incident(last), Fact::CardLost));
            next = Some(IncidentId(last.0.saturating_add(1)));
        }
        if team.deploys_used > state.team.deploys_used {
            facts.push((Thing::Deploy(DeployId(team.deploys_used)), Fact::CardLost));
        }
        if team.live != live {
            live = team.live;
            let by = Person::new("watchbell");
            facts.push((Thing::Team, if live { Fact::WentLive { by } } else { Fact::WentObserving { by } }));
        }
    }
    let words = text::lost_end(what, remembered.is_some(), next, live);
    error!(words = %words, "The record lost its end");
    let seq = state.seq + 1;
    let to = if live { Target::Incidents } else { Target::Test };
    let message = Message::line(Text::plain(words));
    let post = EffectKind::Post { to, message, replaces: None };
    let effect = Effect { id: EffectId { seq, n: 0 }, on: Thing::Team, urgency: Urgency::Ping, kind: post };
    let epoch = journal.epoch();
    let at = state.latest.map_or(now, |latest| latest.max(now));
    let decided = Decided { seq, at, input: InputId::new(format!("lost:{epoch}")), facts, effects: vec![effect] };
    match journal.append(epoch, vec![record::entry(&decided, name)]) {
        Ok(committed) => {
            state.apply(&decided);
            state.seq = state.seq.max(committed.last_seq);
            let docs = [team_doc(state)];
            let head = journal.head();
            if let Err(error) = views.apply(&committed.lines, &head, &[], &docs) {
                warn!(reason = %error, "The database did not take this in; I go on from the log");
            }
        }
        Err(error) => {
            error!(reason = %error, "This could not be recorded; it holds until the next start");
            state.team.incidents = state.team.incidents.max(remembered.map_or(0, |known| known.team.incidents));
            state.team.live = live;
        }
    }
}
