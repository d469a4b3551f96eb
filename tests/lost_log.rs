//! A log that was removed while the database still knows what was in it.

use std::path::Path;

use chrono::{DateTime, Utc};
use watchbell::adapters::store::{self, Opened};
use watchbell::domain::effect::EffectKind;
use watchbell::domain::fact::Fact;
use watchbell::domain::ids::{IncidentId, InputId, Person, Thing};
use watchbell::domain::message::Text;
use watchbell::domain::policy::Severity;
use watchbell::domain::state::{Decided, State};
use watchbell::ports::journal::{Journal as _, Views as _};
use watchbell::shell::driver::team_doc;
use watchbell::shell::{load, record, recover};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_449_600, 0).unwrap_or_default()
}

fn open(folder: &Path, sled: bool) -> Opened {
    store::open(folder, &store::Options { sled, ..store::Options::at(now().timestamp_millis()) }).expect("it opens")
}

/// As the bot starts on a folder.
fn start(folder: &Path, sled: bool) -> (State, Opened) {
    let before = recover::set_aside(folder);
    let mut opened = open(folder, sled);
    let load::Loaded { mut state, .. } = load::load(&opened.journal, &mut opened.views, opened.base);
    if let Some(aside) = recover::set_aside(folder).difference(&before).next() {
        let team = recover::remembered(folder, aside, now().timestamp_millis());
        assert!(team.is_some(), "{aside} is read");
        let about = (now(), "lighthouse");
        recover::recover(&mut opened.journal, &mut opened.views, &mut state, team.as_ref(), "The log is gone", about);
    }
    (state, opened)
}

#[test]
fn a_log_that_is_gone_uses_no_number_again_and_leaves_the_bot_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    {
        let (mut state, mut opened) = start(folder, true);
        let mut facts = vec![(Thing::Team, Fact::WentLive { by: Person::new("discord:1") })];
        facts.extend((1..=3).map(|number| {
            let opened = Fact::Opened {
                severity: Severity::Sev1,
                title: "checkout is down".to_owned(),
                services: Vec::new(),
                by: None,
                details: Text::default(),
                started: now(),
                detected: now(),
                announce: false,
            };
            (Thing::Incident(IncidentId(number)), opened)
        }));
        let decided = Decided { seq: state.seq + 1, at: now(), input: InputId::new("one"), facts, effects: Vec::new() };
        state.apply(&decided);
        let epoch = opened.journal.epoch();
        let committed = opened.journal.append(epoch, vec![record::entry(&decided, "lighthouse")]).expect("room");
        let docs = [team_doc(&state)];
        opened.views.apply(&committed.lines, &opened.journal.head(), &[], &docs).expect("the database takes it");
        opened.views.settle().expect("it settles");
    }
    std::fs::remove_dir_all(folder.join("log")).expect("the log goes");
    {
        let (state, _opened) = start(folder, true);
        assert_eq!((state.team.incidents, state.team.live), (3, true));
        let said: Vec<String> = state
            .pending
            .values()
            .filter(|effect| matches!(effect.kind, EffectKind::Post { .. }))
            .map(|effect| format!("{effect:?}"))
            .collect();
        assert!(said.len() == 1 && said[0].contains("INC-4") && said[0].contains("I am live"), "{said:?}");
    }
    // It stands in the log, so it holds without the database as well, and is said once.
    for sled in [true, false] {
        let (state, _opened) = start(folder, sled);
        assert_eq!((state.team.incidents, state.team.live, state.pending.len()), (3, true, 1));
    }
}
