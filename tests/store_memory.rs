//! What the database keeps in memory of what it has looked at: sled itself lets go of next to nothing.

use watchbell::adapters::store::{FileJournal, Opened, Options, SledViews, open};
use watchbell::ports::journal::{Entry, Journal as _, Views as _};

const NOW_MS: i64 = 1_772_331_000_000;
const THINGS: usize = 1000;

fn name(number: usize) -> String {
    format!("inc/{number:08}")
}

/// One line about each of some things, which are open then, or over.
fn record(journal: &mut FileJournal, views: &mut SledViews, numbers: impl Iterator<Item = usize> + Clone, open: bool) {
    let entries = numbers.clone().map(|number| {
        let facts = vec![format!(r#"{{"on":"{}","k":"told"}}"#, name(number))];
        Entry { at_ms: NOW_MS, team: "ops".into(), facts, ..Entry::default() }
    });
    let committed = journal.append(journal.epoch(), entries.collect()).unwrap();
    let told: Vec<(String, bool)> = numbers.map(|number| (name(number), open)).collect();
    views.apply(&committed.lines, &journal.head(), &told, &[]).unwrap();
}

fn rows(views: &mut SledViews) -> usize {
    (1..=THINGS).map(|number| views.rows(&name(number)).unwrap().len()).sum()
}

#[test]
fn what_was_looked_at_only_once_is_let_go_of_when_nothing_else_is_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut journal, mut views, .. } = open(dir.path(), &Options::at(NOW_MS)).unwrap();
    for _ in 0..100 {
        record(&mut journal, &mut views, [0].into_iter(), true);
    }
    assert!(!views.hold_much(), "one thing often is not much");
    for first in (1..=THINGS).step_by(250) {
        record(&mut journal, &mut views, first..first + 250, true);
    }
    assert!(views.hold_much(), "a line about each of many things is");
    views.settle().unwrap();
    assert!(!views.hold_much(), "settled");
    assert_eq!((views.head(), views.open_things().unwrap().len()), (Some(journal.head()), THINGS + 1));
    assert_eq!(rows(&mut views), THINGS);
    assert!(views.hold_much(), "so is reading them");
    // Put away, in groups: fewer of them are as much.
    record(&mut journal, &mut views, 1..THINGS + 1, false);
    views.settle().unwrap();
    assert!(!views.hold_much(), "settled again");
    assert_eq!(rows(&mut views), 2 * THINGS);
    assert!(views.hold_much(), "and reading what is put away");
    views.settle().unwrap();
    assert_eq!((views.head(), rows(&mut views)), (Some(journal.head()), 2 * THINGS));
    assert!(!SledViews::none("turned off").hold_much(), "there is nothing to let go of");
}
