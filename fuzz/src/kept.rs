//! What is read from the bot's own disk: a damaged log, facts of another release, a policy that somebody edited.

use std::sync::OnceLock;

use chrono::TimeDelta;
use serde_json::Value;
use watchbell::adapters::store::log::torn::TornDisk;
use watchbell::adapters::store::log::{Log, LogOptions, read_folder};
use watchbell::domain::policy::Policy;
use watchbell::domain::state::State;
use watchbell::ports::disk::Disk as _;
use watchbell::ports::journal::{Entry, Journal as _, Line};
use watchbell::shell::record;

use crate::world::World;

/// The folder of the segments.
const LOG_DIR: &str = "log";
/// Changes to the files of one log.
const EDITS_MAX: usize = 12;

fn options(now_ms: i64) -> LogOptions {
    LogOptions { now_ms, segment_bytes: 1_500, new_id: "fuzz".to_owned(), after: None }
}

fn entry(n: usize) -> Entry {
    Entry {
        at_ms: 1_795_540_000_000,
        team: "ops".to_owned(),
        input: format!("i-{n}"),
        facts: vec![format!("{{\"on\":\"inc/{n}\",\"t\":\"a, b ] }} [\"}}")],
        ..Entry::default()
    }
}

/// Files by name, and the lines in them.
type Sound = (Vec<(String, Vec<u8>)>, Vec<Line>);

/// A log of a few segments, some of them sealed: each file's name and bytes, and its lines.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = TornDisk::new();
        let (mut log, _) = Log::open(Box::new(disk.clone()), &options(1)).expect("a log");
        for n in 0..9 {
            log.append(log.epoch(), vec![entry(n), entry(n + 100)]).expect("it is written");
        }
        drop(log);
        let names = disk.list(LOG_DIR).expect("a folder");
        let bytes = |name: &String| {
            let path = format!("{LOG_DIR}/{name}");
            disk.bytes(&path).map(|bytes| (path, bytes))
        };
        (names.iter().filter_map(bytes).collect(), read_folder(&disk, 0).filter_map(Result::ok).collect())
    })
}

/// What is done to a log's files, five bytes a change (what, which file, where, how much) and what is put there.
pub fn log(data: &[u8]) {
    let (files, lines) = sound();
    let mut files = files.clone();
    let mut rest = data;
    for _ in 0..EDITS_MAX {
        let [what, which, high, low, many, after @ ..] = rest else { break };
        let count = files.len();
        let Some((_, bytes)) = files.get_mut(usize::from(*which) % count.max(1)) else { break };
        let at = (usize::from(*high) << 8 | usize::from(*low)) % (bytes.len() + 1);
        let many = usize::from(*many);
        let until = (at + many).min(bytes.len());
        let put = &after[..many.min(after.len())];
        rest = after;
        match what % 7 {
            0 => bytes[at..until].iter_mut().zip(put).for_each(|(byte, change)| *byte ^= change),
            1 => drop(bytes.splice(at..at, put.iter().copied())),
            2 => drop(bytes.drain(at..until)),
            3 => bytes.truncate(at),
            4 => bytes[at..until].fill(0),
            5 => {
                let twice = bytes[at..].to_vec();
                bytes.extend(twice);
            }
            _ => {
                let gone = usize::from(*which) % count;
                files.remove(gone);
            }
        }
    }
    let mut disk = TornDisk::new();
    for (path, bytes) in &files {
        disk.append(path, bytes).expect("it is written");
        disk.sync_data(path).expect("it is written");
    }
    disk.sync_dir(LOG_DIR).expect("it is written");
    let read = |disk: &TornDisk| read_folder(disk, 0).filter_map(Result::ok).collect::<Vec<Line>>();
    let known = |line: &Line| lines.iter().any(|one| one == line);
    let found = read(&disk);
    assert!(found.iter().filter(|line| line.epoch == 1).all(known), "a line is read that was never written so");
    let Ok((mut log, recovered)) = Log::open(Box::new(disk.clone()), &options(2)) else { return };
    recovered.damage.iter().for_each(|damage| assert!(!damage.why.is_empty(), "what is wrong is said"));
    let before: Vec<Line> = read(&disk);
    let written = log.append(log.epoch(), vec![entry(1_000)]);
    let Ok(written) = written else { return };
    drop(log);
    let after = read(&disk);
    assert!(after.windows(2).all(|two| two[0].seq < two[1].seq), "a number is used twice, or out of order");
    // A segment may have been sealed behind it, which is a line of its own.
    assert!(after.iter().any(|line| line.seq == written.last_seq && !line.facts.is_empty()), "what is written is read");
    assert!(after.starts_with(&before), "what stood is changed by what is written");
    let Ok((_, again)) = Log::open(Box::new(disk.clone()), &options(3)) else {
        panic!("what was opened and written opens no more")
    };
    assert!(again.cut.is_empty(), "a whole log is cut: {:?}", again.cut);
    assert!(read(&disk).starts_with(&after), "opened again it is another");
}

/// `{"facts": [{"on": "inc/1", "k": …}], "effects": […]}`: taken in on top of a team's record, whatever it says.
pub fn record(data: &[u8]) {
    let Ok(whole) = serde_json::from_slice::<Value>(data) else { return };
    let list = |name: &str| {
        let all = whole.get(name).and_then(Value::as_array);
        all.into_iter().flatten().take(50).map(Value::to_string).collect::<Vec<String>>()
    };
    let mut world = World::new();
    let line = Line {
        v: 1,
        seq: world.state.seq + 1,
        batch: world.state.seq + 1,
        at_ms: whole.get("at_ms").and_then(Value::as_i64).unwrap_or(world.now.timestamp_millis()),
        team: "ops".to_owned(),
        epoch: 1,
        input: "i-1".to_owned(),
        skip: false,
        hash: String::new(),
        facts: list("facts"),
        effects: list("effects"),
        redacted: None,
        note: None,
    };
    let (decided, unknown) = record::decided(&line);
    assert_eq!(decided.facts.len() + decided.effects.len() + unknown, line.facts.len() + line.effects.len());
    // Taken in by itself, and on top of what is known.
    let mut alone = State::default();
    alone.apply(&decided);
    world.state.apply(&decided);
    let mut twice = State::default();
    world.log.iter().chain([&decided]).for_each(|line| twice.apply(line));
    assert!(twice.kept() == world.state.kept(), "the record read again gives another state");
    let _ = (world.state.next_due(), alone.next_due());
    let entry = record::entry(&decided, "ops");
    let again = Line { facts: entry.facts, effects: entry.effects, ..line };
    let (again, lost) = record::decided(&again);
    assert_eq!(
        (lost, &again.facts, &again.effects),
        (0, &decided.facts, &decided.effects),
        "it is written as it was read"
    );
}

/// policy.toml: refused in a sentence, or lived with for a day.
pub fn policy(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Policy::parse(&text) {
        Err(why) => {
            let refused = watchbell::domain::input::InputKind::PolicyRefused { why };
            World::new().decide(&refused).expect("it is said");
        }
        Ok(policy) => {
            let mut world = World::new();
            world.policy = policy.clone();
            let adopted = watchbell::domain::input::InputKind::PolicyAdopted { hash: "second".to_owned() };
            let _ = world.decide(&adopted);
            world.settle();
            for minutes in [3, 40, 60 * 26] {
                world.pass(TimeDelta::minutes(minutes));
            }
            world.survives_a_restart();
        }
    }
}
