//! The state folder as an operator meets it: databases that are damaged, logs that lost their end, processes that are
//! killed, second instances, exports. Whatever happens to sled, the state is the same as before.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use watchbell::adapters::store::log::sha256_hex;
use watchbell::adapters::store::log::torn::Dice;
use watchbell::adapters::store::{
    Base, Brought, FileJournal, Opened, Options, SLED_DIR, Severity, SledViews, bring_forward, import, open, resume,
    verify,
};
use watchbell::domain::ids::{IncidentId, Thing};
use watchbell::ports::journal::{Entry, Journal, Line, Note, Redaction, Views, on_of};

const NOW_MS: i64 = 1_772_331_000_000;
const INCIDENTS: u64 = 30;
const MUTATIONS: u64 = 60;
const KILLS: u64 = 20;
const CHILD_FOLDER: &str = "STORE_TEST_CHILD_FOLDER";

/// As `adapters/store/views.rs` opens it.
fn as_opened(database: &Path) -> sled::Config {
    sled::Config::new().path(database).segment_size(512 << 10).flush_every_ms(None)
}

/// What a bot would know: every thing's facts, in order.
type State = BTreeMap<String, Vec<String>>;

fn start(folder: &Path) -> Opened {
    open(folder, &Options::at(NOW_MS)).unwrap_or_else(|error| panic!("{error}"))
}

fn entry(thing: &str, text: &str) -> Entry {
    let facts = vec![format!(r#"{{"on":"{thing}","k":"{text}"}}"#)];
    Entry { at_ms: NOW_MS, team: "ops".into(), input: format!("{thing}-{text}"), facts, ..Entry::default() }
}

fn openness(line: &Line) -> Brought {
    let change = |json: &String| on_of(json).map(|thing| (thing, !json.contains("\"closed\"")));
    Brought { open: line.facts.iter().filter_map(change).collect(), docs: Vec::new() }
}

fn record(journal: &mut FileJournal, views: &mut SledViews, batch: Vec<Entry>) {
    let epoch = journal.epoch();
    let committed = journal.append(epoch, batch).unwrap();
    let opens: Vec<_> = committed.lines.iter().flat_map(|line| openness(line).open).collect();
    views.apply(&committed.lines, &journal.head(), &opens, &[]).unwrap();
}

fn add(state: &mut State, line: &Line) {
    for fact in &line.facts {
        state.entry(on_of(fact).unwrap()).or_default().push(fact.clone());
    }
}

/// Starts as the bot does, and says what it knows and what it told people.
fn state_of(folder: &Path) -> (State, Vec<String>) {
    let Opened { journal, mut views, base, report, .. } = start(folder);
    let mut told: Vec<String> = report.into_iter().map(|finding| finding.text).collect();
    let mut state = State::new();
    if let Base::Views { next } = base {
        let known = views.things("inc", None, usize::MAX).and_then(|things| {
            let mut state = State::new();
            for (thing, _) in things {
                views.rows(&thing)?.iter().for_each(|line| add(&mut state, line));
            }
            Ok(state)
        });
        match known {
            Ok(known) => {
                state = known;
                let (damage, brought) = bring_forward(&journal, &mut views, next, &mut |line: &Line| {
                    add(&mut state, line);
                    openness(line)
                });
                told.extend(damage.iter().map(ToString::to_string).chain(brought.err().map(|error| error.to_string())));
                return (state, told);
            }
            Err(error) => {
                told.push(error.to_string());
                let _off = views.start_over("found broken while reading");
            }
        }
    }
    let (damage, _) = bring_forward(&journal, &mut views, 0, &mut |line: &Line| {
        add(&mut state, line);
        openness(line)
    });
    told.extend(damage.iter().map(ToString::to_string));
    (state, told)
}

/// A folder with some incidents, most of them over, closed cleanly.
fn busy_folder(folder: &Path) -> State {
    let Opened { mut journal, mut views, .. } = start(folder);
    for step in ["declared", "acknowledged", "updated", "closed"] {
        for number in 1..=INCIDENTS {
            if step != "closed" || number % 5 != 0 {
                let thing = format!("inc/{number}");
                record(&mut journal, &mut views, vec![entry(&thing, &"x".repeat(300)), entry(&thing, step)]);
            }
        }
    }
    drop((journal, views));
    state_of(folder).0
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let target = to.join(found.file_name());
        if found.file_type().unwrap().is_dir() {
            copy_dir(&found.path(), &target);
        } else {
            fs::copy(found.path(), target).unwrap();
        }
    }
}

fn line_count(folder: &Path) -> u64 {
    verify(folder).lines
}

#[test]
fn a_restart_knows_what_it_knew_from_the_views_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = busy_folder(dir.path());
    let Opened { journal, mut views, base, report, .. } = start(dir.path());
    assert_eq!(report, []);
    assert_eq!(base, Base::Views { next: journal.next_seq() });
    assert_eq!(views.open_things().unwrap().len() as u64, INCIDENTS / 5);
    let newest = views.things("inc", None, 3).unwrap();
    let name = |number: u64, open| (format!("inc/{number}"), open);
    assert_eq!(newest, [name(30, true), name(29, false), name(28, false)]);
    assert_eq!(views.things("inc", Some("inc/28"), 1).unwrap(), [name(27, false)]);
    assert_eq!(views.rows("inc/1").unwrap().len(), 8, "and not those of inc/10");
    assert_eq!(views.rows("inc/999").unwrap(), []);
    views.put_note("probe/web", &vec![7; 300_000]).unwrap();
    drop((journal, views));
    let mut views = start(dir.path()).views;
    assert_eq!(views.get_note("probe/web").unwrap().unwrap(), vec![7; 300_000]);
    drop(views);
    assert_eq!(state_of(dir.path()), (state, Vec::new()));
}

#[cfg(unix)]
#[test]
fn the_state_folder_is_nobody_else_s() {
    use std::os::unix::fs::PermissionsExt as _;
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("state");
    busy_folder(&folder);
    let mut left = vec![folder.clone()];
    while let Some(path) = left.pop() {
        let found = fs::metadata(&path).expect("it is there");
        let mode = found.permissions().mode() & 0o777;
        match found.is_dir() {
            // sled makes its own folder; nobody reaches it past ours.
            true if path.ends_with("sled") => {}
            true => {
                assert_eq!(mode, 0o700, "{}", path.display());
                left.extend(fs::read_dir(&path).expect("a list").map(|entry| entry.expect("an entry").path()));
            }
            false if path.starts_with(folder.join("log")) => assert_eq!(mode, 0o600, "{}", path.display()),
            false => {}
        }
    }
}

#[test]
fn what_the_database_lets_go_of_from_memory_it_still_knows() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = busy_folder(dir.path());
    let Opened { mut journal, mut views, .. } = start(dir.path());
    let known = |views: &mut SledViews| {
        let open = views.open_things().unwrap();
        open.into_iter().map(|thing| (views.rows(&thing).unwrap(), thing)).collect::<Vec<_>>()
    };
    let noted = entry("inc/30", "noted");
    record(&mut journal, &mut views, vec![noted.clone()]);
    let before = known(&mut views);
    assert_eq!(before.len() as u64, INCIDENTS / 5);
    views.let_go().unwrap();
    assert_eq!(known(&mut views), before);
    assert_eq!(views.head(), Some(journal.head()));
    let again = entry("inc/30", "noted again");
    record(&mut journal, &mut views, vec![again.clone()]);
    drop((journal, views));
    state.get_mut("inc/30").unwrap().extend([noted, again].into_iter().flat_map(|entry| entry.facts));
    assert_eq!(state_of(dir.path()), (state, Vec::new()));
    assert!(SledViews::none("turned off").let_go().is_err(), "there is nothing to open again");
}

#[test]
fn whatever_happens_to_the_database_the_state_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let state = busy_folder(dir.path());
    let (mut told_of, mut foreign) = (0, tempfile::tempdir().unwrap());
    for seed in 0..MUTATIONS {
        let mut dice = Dice::new(seed);
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let what = mutate(&copy.path().join(SLED_DIR), &mut dice, &mut foreign);
        let (found, told) = state_of(copy.path());
        assert!(found == state, "seed {seed} ({what}): the state differs; told: {told:?}");
        told_of += u32::from(!told.is_empty());
        let (again, told) = state_of(copy.path());
        assert!(again == state && told.is_empty(), "seed {seed} ({what}): not mended: {told:?}");
    }
    assert!(told_of > MUTATIONS as u32 / 3, "only {told_of} were noticed");
}

/// Does something to sled's files.
fn mutate(sled: &Path, dice: &mut Dice, foreign: &mut tempfile::TempDir) -> &'static str {
    let db = sled.join("db");
    let mut bytes = fs::read(&db).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1;
    let at = dice.below(used) as usize;
    let what = match dice.below(8) {
        0 => {
            bytes.truncate(at);
            "cut short"
        }
        1 => {
            bytes[at] ^= 1 << dice.below(8);
            "a bit flipped"
        }
        2 => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
            "a sector of zeros"
        }
        3 => {
            bytes.fill_with(|| 0x5a);
            "rubbish"
        }
        4 => {
            fs::remove_file(&db).unwrap();
            return "db deleted";
        }
        5 => {
            fs::remove_dir_all(sled).unwrap();
            return "all deleted";
        }
        6 => {
            for found in fs::read_dir(sled).unwrap().map(|found| found.unwrap().path()) {
                if found.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap")) {
                    fs::write(found, b"no snapshot").unwrap();
                }
            }
            return "snapshot replaced";
        }
        _ => {
            *foreign = tempfile::tempdir().unwrap();
            busy_folder(foreign.path());
            fs::remove_dir_all(sled).unwrap();
            copy_dir(&foreign.path().join(SLED_DIR), sled);
            return "another bot's database";
        }
    };
    fs::write(&db, bytes).unwrap();
    what
}

/// sled keeps pages that are too large in files that it never syncs: whatever is kept, there must be none.
#[test]
fn large_things_are_kept_in_parts_that_the_database_can_make_safe() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut journal, mut views, .. } = start(dir.path());
    let name = |n: usize| format!("{n}/{}", "n".repeat(180));
    let text = |n: usize| n.to_string().repeat(20_000);
    for n in 1..=20 {
        record(&mut journal, &mut views, vec![entry(&name(n), &text(n))]);
        views.put_note(&name(n), text(n).as_bytes()).unwrap();
        views.settle().unwrap();
    }
    for n in 1..=20 {
        assert!(views.rows(&name(n)).unwrap()[0].facts[0].contains(&text(n)));
        assert_eq!(views.get_note(&name(n)).unwrap().unwrap(), text(n).as_bytes());
    }
    drop((journal, views));
    assert_eq!(fs::read_dir(dir.path().join(SLED_DIR).join("blobs")).unwrap().count(), 0);
}

/// A damaged sled gives no error but loses things in silence: here they are taken out by hand, one at a time.
#[test]
fn what_the_database_loses_in_silence_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let state = busy_folder(dir.path());
    // What is open (5) has a record and rows, what is over (7) is in a group and on a shelf.
    for (front, change) in [
        ("h", false),
        ("tinc/5", false),
        ("rinc/5", false),
        ("rinc/5", true),
        ("oinc/5", false),
        ("sinc", false),
        ("sinc", true),
        ("ainc", false),
        ("ainc", true),
    ] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let db = as_opened(&copy.path().join(SLED_DIR)).open().unwrap();
        let (key, value) = db.scan_prefix(front).next().unwrap().unwrap();
        if change {
            let mut bytes = value.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            db.insert(key, bytes).unwrap();
        } else {
            db.remove(key).unwrap();
        }
        db.flush().unwrap();
        drop(db);
        let (found, told) = state_of(copy.path());
        assert!(!told.is_empty(), "{front}: nothing was said");
        assert!(found == state, "{front}: the state differs");
        assert_eq!(state_of(copy.path()), (state.clone(), Vec::new()), "{front}: not mended");
    }
}

/// What is over is put away, and taken out again when something more is said about it.
#[test]
fn what_is_over_can_be_asked_for_taken_up_again_and_put_away_again() {
    let dir = tempfile::tempdir().unwrap();
    busy_folder(dir.path());
    let kept = |views: &mut SledViews| -> Vec<String> {
        let lines = views.rows("inc/7").unwrap();
        lines.into_iter().flat_map(|line| line.facts).map(|fact| fact.chars().take(30).collect()).collect()
    };
    let Opened { mut journal, mut views, .. } = start(dir.path());
    let over = kept(&mut views);
    assert_eq!(over.len(), 8);
    for (word, open) in [("again", true), ("closed", false), ("late", false)] {
        let committed = journal.append(journal.epoch(), vec![entry("inc/7", word)]).unwrap();
        views.apply(&committed.lines, &journal.head(), &[("inc/7".into(), open)], &[]).unwrap();
        assert_eq!(views.open_things().unwrap().contains(&"inc/7".to_owned()), open);
        assert_eq!(views.things("inc", Some("inc/8"), 1).unwrap(), [("inc/7".to_owned(), open)]);
        drop((journal, views));
        let opened = start(dir.path());
        assert_eq!(opened.report, [], "{word}");
        (journal, views) = (opened.journal, opened.views);
        assert!(kept(&mut views).last().unwrap().contains(word));
    }
    assert_eq!(kept(&mut views)[..8], over);
    assert_eq!(kept(&mut views).len(), 11);
    // Told once more that it is over, and nothing else: it stays where it is.
    views.apply(&[], &journal.head(), &[("inc/7".into(), false), ("inc/99".into(), false)], &[]).unwrap();
    assert_eq!(kept(&mut views).len(), 11);
    assert_eq!(views.things("inc", None, usize::MAX).unwrap().len() as u64, INCIDENTS);
}

/// By the names that incidents really have: a row of its own for every decision ever made is what the database cannot bear.
#[test]
fn what_is_over_leaves_no_row_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut journal, mut views, .. } = start(dir.path());
    let name = |number| Thing::Incident(IncidentId(number)).to_string();
    for number in 1..=600 {
        record(&mut journal, &mut views, vec![entry(&name(number), "declared"), entry(&name(number), "closed")]);
    }
    assert_eq!(views.rows(&name(300)).unwrap().len(), 2);
    let listed: Vec<_> = views.things("inc", Some(&name(514)), 3).unwrap();
    assert_eq!(listed, [(name(513), false), (name(512), false), (name(511), false)]);
    drop((journal, views));
    let db = as_opened(&dir.path().join(SLED_DIR)).open().unwrap();
    let count = |front: &str| db.scan_prefix(front).count();
    assert_eq!((count("t"), count("r"), count("s"), count("a")), (0, 0, 2, 76));
}

/// A database that an earlier version wrote is set aside, and everything comes from the log.
#[test]
fn a_database_of_another_form_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let state = busy_folder(dir.path());
    let db = as_opened(&dir.path().join(SLED_DIR)).open().unwrap();
    let head = db.get("h").unwrap().unwrap();
    let json = String::from_utf8(head[32..].to_vec()).unwrap().replace("\"form\":3,", "");
    let digest = (0..64).step_by(2).map(|at| u8::from_str_radix(&sha256_hex(json.as_bytes())[at..at + 2], 16).unwrap());
    db.insert("h", digest.chain(json.bytes()).collect::<Vec<u8>>()).unwrap();
    db.flush().unwrap();
    drop(db);
    let (found, told) = state_of(dir.path());
    assert!(told.len() == 1 && told[0].contains("another version wrote it"), "{told:?}");
    assert!(found == state);
}

#[test]
fn a_database_that_is_behind_is_brought_forward() {
    let dir = tempfile::tempdir().unwrap();
    busy_folder(dir.path());
    let mut opened = start(dir.path());
    let epoch = opened.journal.epoch();
    opened.journal.append(epoch, vec![entry("inc/31", "declared")]).unwrap();
    let (next, behind) = (opened.journal.next_seq(), opened.views.head().unwrap().seq);
    assert_eq!(next, behind + 2);
    drop(opened);
    let opened = start(dir.path());
    assert_eq!((opened.base, opened.report), (Base::Views { next: behind + 1 }, Vec::new()));
    drop((opened.journal, opened.views));
    assert!(state_of(dir.path()).0.contains_key("inc/31"));
    assert_eq!(start(dir.path()).base, Base::Views { next });
}

#[test]
fn a_log_that_lost_its_end_is_reported_and_no_number_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    busy_folder(dir.path());
    let mut opened = start(dir.path());
    let before = opened.journal.head();
    record(&mut opened.journal, &mut opened.views, vec![entry("inc/31", "declared")]);
    record(&mut opened.journal, &mut opened.views, vec![entry("inc/32", "declared")]);
    drop(opened);
    let log = dir.path().join("log/00000001.log");
    let text = fs::read_to_string(&log).unwrap();
    let end = text.find(&format!("{{\"v\":1,\"seq\":{},", before.seq + 1)).unwrap();
    fs::write(&log, &text[..end]).unwrap();

    let opened = start(dir.path());
    let finding = &opened.report[0];
    assert_eq!(finding.severity, Severity::Lost);
    for part in [format!("line {}", before.seq), format!("line {}", before.seq + 2), "inc/31, inc/32".into()] {
        assert!(finding.text.contains(&part), "{}", finding.text);
    }
    assert_eq!(opened.base, Base::Log);
    assert!(opened.journal.next_seq() > before.seq + 2);
    let noted = opened.journal.read_from(0).filter_map(Result::ok).find_map(|line| match line.note {
        Some(Note::Gap { from, to, things, .. }) => Some((from, to, things)),
        _ => None,
    });
    assert_eq!(noted, Some((before.seq + 1, before.seq + 2, vec!["inc/31".into(), "inc/32".into()])));
    drop((opened.journal, opened.views));
    assert_eq!(state_of(dir.path()).1, Vec::<String>::new(), "said once");
}

#[test]
fn a_log_that_is_gone_starts_behind_what_the_database_remembers() {
    let dir = tempfile::tempdir().unwrap();
    busy_folder(dir.path());
    let last = start(dir.path()).journal.head().seq;
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let opened = start(dir.path());
    assert_eq!(opened.report[0].severity, Severity::Lost);
    assert!(opened.report[0].text.contains("the log is gone"), "{}", opened.report[0].text);
    assert_eq!(opened.journal.next_seq(), last + 2);
}

#[test]
fn damage_in_the_log_is_told_and_the_bot_runs() {
    let dir = tempfile::tempdir().unwrap();
    let state = busy_folder(dir.path());
    let lines = line_count(dir.path());
    let log = dir.path().join("log/00000001.log");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let (found, told) = state_of(dir.path());
    assert!(told[0].starts_with("the log is damaged in log/00000001.log at byte"), "{told:?}");
    assert!(found == state, "the database still has it");
    assert_eq!(fs::read(&log).unwrap(), bytes, "not a byte is touched");
    assert_eq!(line_count(dir.path()), lines - 1);
}

#[test]
fn without_a_database_the_bot_knows_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let state = busy_folder(dir.path());
    let Opened { journal, mut views, base, .. } =
        open(dir.path(), &Options { sled: false, ..Options::at(NOW_MS) }).unwrap();
    assert_eq!(base, Base::Log);
    assert!(views.rows("inc/1").is_err());
    let mut found = State::new();
    bring_forward(&journal, &mut views, 0, &mut |line: &Line| {
        add(&mut found, line);
        Brought::default()
    })
    .1
    .unwrap();
    assert!(found == state);
}

#[test]
fn a_second_instance_is_refused_and_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _first = start(dir.path());
    let Err(refused) = open(dir.path(), &Options::at(NOW_MS)) else { panic!("let in twice") };
    let said = refused.to_string();
    assert!(said.contains(&format!("in use by process {} on ", std::process::id())), "{said}");
    assert!(said.contains("since 2026-"), "{said}");
}

#[test]
fn an_export_imported_and_exported_again_is_the_same_and_starts_paused() {
    let (dir, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = busy_folder(dir.path());
    let mut exported = Vec::new();
    let opened = start(dir.path());
    opened.journal.export(&mut exported).unwrap();
    let head = import(fresh.path(), &mut &exported[..], false, NOW_MS).unwrap();
    assert_eq!(head, opened.journal.head());
    assert!(import(fresh.path(), &mut &exported[..], false, NOW_MS).is_err(), "only into a new folder");
    let copy = start(fresh.path());
    assert_eq!(copy.paused.as_ref().map(|mark| &mark.head), Some(&head));
    let mut again = Vec::new();
    copy.journal.export(&mut again).unwrap();
    assert!(again == exported);
    drop((copy.journal, copy.views));
    assert!(state_of(fresh.path()).0 == state);
    resume(fresh.path()).unwrap();
    assert_eq!(start(fresh.path()).paused, None);
}

#[test]
fn a_redacted_secret_is_nowhere_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    busy_folder(dir.path());
    let Opened { mut journal, mut views, .. } = start(dir.path());
    record(&mut journal, &mut views, vec![Entry { input: "i".into(), ..entry("inc/1", "hunter2-canary") }]);
    let seq = journal.head().seq;
    let redaction = Redaction { by: "ana".into(), why: "a password".into(), at: "2026-03-01T02:10:00.000Z".into() };
    journal.redact(&mut views, seq, &redaction, &[r#"{"on":"inc/1","k":"…"}"#.into()], &[]).unwrap();
    bring_forward(&journal, &mut views, 0, &mut |line: &Line| openness(line)).1.unwrap();
    assert_eq!(views.rows("inc/1").unwrap().last().unwrap().redacted, Some(redaction));
    drop((journal, views));
    assert!(verify(dir.path()).whole());
    let mut folders = vec![dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder).unwrap().map(|found| found.unwrap().path()) {
            if found.is_dir() {
                folders.push(found);
            } else {
                let bytes = fs::read(&found).unwrap();
                assert!(!bytes.windows(14).any(|window| window == b"hunter2-canary"), "{}", found.display());
            }
        }
    }
    assert_eq!(start(dir.path()).report, []);
}

/// Not a test of its own: what the next one kills.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let mut opened = open(Path::new(&folder), &Options { segment_bytes: 200_000, ..Options::at(NOW_MS) }).unwrap();
    bring_forward(&opened.journal, &mut opened.views, 0, &mut |line: &Line| openness(line)).1.unwrap();
    for n in 0.. {
        let batch = (0..=n % 4).map(|k| entry(&format!("inc/{}", n % 50), &format!("{n}.{k}"))).collect();
        record(&mut opened.journal, &mut opened.views, batch);
        let head = opened.journal.head();
        println!("\nstands {} {}", head.seq, head.hash);
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_that_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..KILLS {
        let mut dice = Dice::new(round);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD_FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stop_after = 1 + dice.below(60);
        let mut seen = 0;
        for text in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let Some((seq, hash)) = text.strip_prefix("stands ").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            // The last one may be cut short by the kill.
            if hash.len() == sha256_hex(b"").len() {
                answered.insert(seq.parse().unwrap(), hash.to_owned());
            }
            seen += 1;
            if seen == stop_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= stop_after, "round {round}: the child died by itself after {seen}");
        let opened = start(dir.path());
        let report = opened.journal.verify();
        assert!(report.whole(), "round {round}: {report:?}");
        let found: BTreeMap<u64, String> =
            opened.journal.read_from(0).map(|line| line.unwrap()).map(|line| (line.seq, line.hash)).collect();
        for (seq, hash) in &answered {
            assert_eq!(found.get(seq), Some(hash), "round {round}: answered line {seq}");
        }
    }
}
