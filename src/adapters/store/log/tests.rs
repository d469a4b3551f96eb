//! The log on a disk that tears: what was answered stays, damage is named and left.

use std::collections::BTreeMap;

use super::line::rfc3339;
use super::torn::{Dice, Faults, TornDisk};
use super::*;
use crate::ports::journal::{LINE_BYTES_MAX, Line};

/// How many seeds a run tries; `LOG_SEEDS` sets another number.
const SEEDS: u64 = 2000;

fn options(segment_bytes: u64, seed: u64) -> LogOptions {
    LogOptions { now_ms: 1_772_331_000_000, segment_bytes, new_id: format!("log-{seed}"), after: None }
}

fn open(disk: &TornDisk, segment_bytes: u64) -> (Log, Recovered) {
    Log::open(Box::new(disk.clone()), &options(segment_bytes, 0)).unwrap()
}

fn entry(text: &str) -> Entry {
    Entry {
        team: "ops".into(),
        input: text.chars().take(40).collect(),
        facts: vec![format!(r#"{{"on":"inc/1","text":"{text}"}}"#)],
        ..Entry::default()
    }
}

fn append(log: &mut Log, texts: &[&str]) -> Committed {
    log.append(log.epoch(), texts.iter().map(|text| entry(text)).collect()).unwrap()
}

/// The decisions on record, the log's own lines left out.
fn decisions(log: &Log) -> Vec<Line> {
    log.read_from(0).filter_map(Result::ok).filter(|line| line.note.is_none()).collect()
}

fn path(number: u32) -> String {
    segment::plain(number)
}

/// Where a line starts and ends in the first segment.
fn span(disk: &TornDisk, seq: u64) -> std::ops::Range<usize> {
    let bytes = disk.bytes(&path(1)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let start = text.find(&format!("{{\"v\":1,\"seq\":{seq},")).unwrap();
    start..start + text[start..].find('\n').unwrap() + 1
}

#[test]
fn what_is_answered_is_read_back_in_its_exact_words() {
    let disk = TornDisk::new();
    let (mut log, found) = open(&disk, SEGMENT_BYTES);
    assert!(found.begun);
    let syncs = disk.syncs();
    let committed = append(&mut log, &["one", "two"]);
    assert_eq!(disk.syncs(), syncs + 1, "one sync a batch");
    assert_eq!((committed.first_seq, committed.last_seq), (1, 2));
    drop(log);
    let (log, found) = open(&disk, SEGMENT_BYTES);
    assert_eq!(found, Recovered::default());
    assert_eq!(decisions(&log), committed.lines);
    assert_eq!(log.epoch(), 2, "every start has a number of its own");
    assert!(log.verify().whole());
}

/// The heart of it: batches of any size, syncs that fail, disks that fill up, and the power cut at any moment.
#[test]
fn no_answered_line_is_ever_lost_or_changed_whatever_the_disk_drops() {
    let seeds = std::env::var("LOG_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let torn: u64 = (0..seeds).map(|seed| u64::from(run(seed))).sum();
    assert!(torn > seeds / 10, "the disk hardly ever tore anything: {torn}");
}

/// Lives through a few power cuts; says whether any of them tore something.
fn run(seed: u64) -> bool {
    let mut dice = Dice::new(seed);
    let disk = TornDisk::new();
    let segment_bytes = [2_000, 20_000, SEGMENT_BYTES][dice.below(3) as usize];
    let mut answered: BTreeMap<u64, Line> = BTreeMap::new();
    let mut torn = false;
    for life in 0..3 {
        let opened = Log::open(Box::new(disk.clone()), &options(segment_bytes, seed * 10 + life));
        let (mut log, found) = opened.unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
        torn |= !found.cut.is_empty();
        assert_eq!(found.damage, [], "seed {seed} life {life}");
        let mut now: BTreeMap<u64, Line> = BTreeMap::new();
        for line in log.read_from(0) {
            let line = line.unwrap_or_else(|damage| panic!("seed {seed} life {life}: {damage}"));
            now.extend(Some((line.seq, line)).filter(|(_, line)| line.note.is_none()));
        }
        for (seq, line) in &answered {
            assert_eq!(now.get(seq), Some(line), "seed {seed} life {life}: answered line {seq}");
        }
        let head = log.head();
        drop(log);
        let (again, found) = open(&disk, segment_bytes);
        assert_eq!((again.head(), found), (head, Recovered::default()), "seed {seed}: recovery twice");
        log = again;
        answered = now;
        if dice.below(3) == 0 {
            let after = dice.below(6) as u32;
            disk.set_faults(Faults { fail_sync_in: Some(after), ..Faults::default() });
        } else if dice.below(3) == 0 {
            let used: u64 =
                (1..20).filter_map(|number| disk.bytes(&path(number))).map(|bytes| bytes.len() as u64).sum();
            disk.set_faults(Faults { capacity_bytes: Some(used + dice.below(4_000)), ..Faults::default() });
        }
        for round in 0..dice.below(6) {
            let count = 1 + dice.below(5);
            let long = "x".repeat(dice.below(600) as usize);
            let batch = (0..count).map(|n| entry(&format!("{seed}.{life}.{round}.{n} {long}"))).collect();
            match log.append(log.epoch(), batch) {
                Ok(committed) => answered.extend(committed.lines.into_iter().map(|line| (line.seq, line))),
                Err(AppendError::DiskFull(_)) => {}
                Err(AppendError::Fatal(_)) => break,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        if dice.below(2) == 0 {
            // Dies inside a batch: the write was made, the sync was not.
            disk.set_faults(Faults { fail_sync_in: Some(0), ..Faults::default() });
            let batch = (0..1 + dice.below(8)).map(|n| entry(&format!("{seed}.{life}.torn.{n} {}", "y".repeat(300))));
            let _unanswered = log.append(log.epoch(), batch.collect());
        }
        disk.cut_power(&mut dice);
    }
    torn
}

#[test]
fn a_full_disk_refuses_in_words_and_goes_on_when_there_is_room() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    append(&mut log, &["before"]);
    let head = log.head();
    let used = disk.bytes(&path(1)).unwrap().len() as u64;
    disk.set_faults(Faults { capacity_bytes: Some(used + 100), ..Faults::default() });
    let refused = log.append(log.epoch(), vec![entry("too much")]).unwrap_err();
    assert!(matches!(&refused, AppendError::DiskFull(said) if said.contains("disk is full")), "{refused}");
    assert_eq!(log.head(), head);
    assert_eq!(disk.bytes(&path(1)).unwrap().len() as u64, used, "cut back to the last good line");
    disk.set_faults(Faults::default());
    append(&mut log, &["after"]);
    assert!(log.verify().whole());
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    disk.set_faults(Faults { fail_sync_in: Some(0), ..Faults::default() });
    assert!(matches!(log.append(1, vec![entry("a")]), Err(AppendError::Fatal(_))));
    assert!(matches!(log.append(1, vec![entry("b")]), Err(AppendError::Fatal(_))));
}

#[test]
fn an_older_writer_is_fenced_and_what_breaks_a_limit_is_refused() {
    let (mut log, _) = open(&TornDisk::new(), SEGMENT_BYTES);
    append(&mut log, &["one"]);
    assert_eq!(log.append(0, vec![entry("x")]), Err(AppendError::Fenced(1)));
    let long = entry(&"x".repeat(LINE_BYTES_MAX));
    let many = vec![entry("x"); BATCH_LINES_MAX + 1];
    let large = vec![entry(&"x".repeat(LINE_BYTES_MAX / 2)); 9];
    for batch in [vec![], vec![long], many, large] {
        assert!(matches!(log.append(1, batch), Err(AppendError::Unfit(_))));
    }
    assert_eq!(decisions(&log).len(), 1);
}

#[test]
fn damage_in_the_middle_is_named_by_place_and_never_cut() {
    for seq in 0..4 {
        let disk = TornDisk::new();
        let (mut log, _) = open(&disk, SEGMENT_BYTES);
        for text in ["one", "two", "three", "four"] {
            append(&mut log, &[text]);
        }
        let head = log.head();
        drop(log);
        let span = span(&disk, seq);
        let before = disk.bytes(&path(1)).unwrap();
        disk.corrupt(&path(1), |bytes| bytes[span.start + 40] ^= 4);
        let (mut log, found) = open(&disk, SEGMENT_BYTES);
        assert_eq!(found.cut, Vec::<String>::new());
        let damage = &found.damage[0];
        let place = (damage.segment.as_str(), damage.offset, damage.bytes, damage.seq);
        assert_eq!(place, ("log/00000001.log", span.start as u64, span.len() as u64, seq));
        assert_eq!(damage.lines, Some(1));
        assert_eq!(log.head(), head);
        assert_eq!(disk.bytes(&path(1)).unwrap().len(), before.len(), "not a byte is cut");
        assert_eq!(append(&mut log, &["five"]).first_seq, 5, "no number is used twice");
        let report = log.verify();
        assert_eq!(report.damage, found.damage, "reading finds what opening found");
        assert_eq!(report.last_seq, Some(5));
    }
}

#[test]
fn a_line_taken_out_of_the_middle_is_missed() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    for text in ["one", "two", "three"] {
        append(&mut log, &[text]);
    }
    let gone = span(&disk, 2);
    disk.corrupt(&path(1), |bytes| drop(bytes.drain(gone)));
    let (log, found) = open(&disk, SEGMENT_BYTES);
    assert_eq!((found.damage[0].seq, found.damage[0].lines), (2, Some(1)));
    assert_eq!(log.head().seq, 3);
    assert_eq!(log.verify().damage[0].seq, 2);
}

#[test]
fn a_torn_last_batch_keeps_its_whole_decisions_and_the_rest_is_kept_aside() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    append(&mut log, &["answered"]);
    append(&mut log, &["whole", "torn", "whole again"]);
    let torn = span(&disk, 3);
    disk.corrupt(&path(1), |bytes| bytes[torn.start + 20..torn.start + 60].fill(0));
    let tail = disk.bytes(&path(1)).unwrap()[torn.start..].to_vec();
    let (log, found) = open(&disk, SEGMENT_BYTES);
    assert_eq!(log.head().seq, 2);
    assert_eq!(found.damage, []);
    assert!(found.cut[0].contains("behind line 2"), "{:?}", found.cut);
    let kept = disk.list(segment::CUT_DIR).unwrap();
    assert_eq!(disk.bytes(&format!("{}/{}", segment::CUT_DIR, kept[0])), Some(tail));
    assert!(log.verify().whole());
}

/// What can be at the end of a file after a crash, and what stands then.
#[test]
fn odd_ends_are_put_right() {
    type Change = fn(&mut Vec<u8>);
    let ends: [(&str, Change, u64); 7] = [
        ("no line feed", |bytes| bytes.truncate(bytes.len() - 1), 2),
        ("zeros", |bytes| bytes.extend([0; 5000]), 2),
        ("zeros for the line feed", |bytes| *bytes.last_mut().unwrap() = 0, 2),
        ("half a line", |bytes| bytes.extend(b"{\"v\":1,\"seq\":3,\"bat"), 2),
        ("the last line twice", |bytes| bytes.extend_from_within(bytes.len() - 380..), 2),
        ("all twice", |bytes| bytes.extend_from_within(..), 2),
        ("cut in the last line", |bytes| bytes.truncate(bytes.len() - 10), 1),
    ];
    for (name, change, head) in ends {
        let disk = TornDisk::new();
        let (mut log, _) = open(&disk, SEGMENT_BYTES);
        append(&mut log, &["one"]);
        append(&mut log, &["two"]);
        drop(log);
        disk.corrupt(&path(1), change);
        let (mut log, found) = open(&disk, SEGMENT_BYTES);
        assert_eq!((log.head().seq, found.damage), (head, Vec::new()), "{name}");
        append(&mut log, &["more"]);
        assert!(log.verify().whole(), "{name}: {:?}", log.verify());
        assert_eq!(open(&disk, SEGMENT_BYTES).1, Recovered::default(), "{name}");
    }
}

#[test]
fn an_empty_file_and_an_empty_new_segment_are_no_trouble() {
    let disk = TornDisk::new();
    disk.clone().append(&path(1), b"").unwrap();
    let (mut log, found) = open(&disk, SEGMENT_BYTES);
    assert!(found.begun);
    append(&mut log, &["one"]);
    disk.clone().append(&path(2), b"").unwrap();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    assert_eq!(append(&mut log, &["two"]).first_seq, 2);
    assert!(log.verify().whole());
}

#[test]
fn a_file_of_rubbish_longer_than_any_batch_stays_and_no_number_is_used_twice() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    append(&mut log, &["one"]);
    disk.corrupt(&path(1), |bytes| bytes.extend(std::iter::repeat_n(b"rubbish \n", 600_000).flatten()));
    let len = disk.bytes(&path(1)).unwrap().len();
    let (mut log, found) = open(&disk, SEGMENT_BYTES);
    assert_eq!(found.damage.len(), 1);
    assert_eq!(disk.bytes(&path(1)).unwrap().len(), len);
    let seq = append(&mut log, &["two"]).first_seq;
    assert!(seq > 600_000 * 9 / 400, "line {seq}");
    let report = log.verify();
    assert_eq!((report.damage.len(), report.gaps.len(), report.last_seq), (1, 1, Some(seq)));
    drop(log);
    let (log, found) = open(&disk, SEGMENT_BYTES);
    assert_eq!((log.head().seq, found), (seq, Recovered::default()));
}

#[test]
fn any_bytes_in_a_file_are_answered_with_words_never_with_a_panic() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let disk = TornDisk::new();
        let (mut log, _) = open(&disk, 3_000);
        for n in 0..12 {
            append(&mut log, &[&format!("{n}"), "and another"]);
        }
        drop(log);
        for _ in 0..=dice.below(3) {
            let number = 1 + dice.below(4) as u32;
            disk.corrupt(&path(number), |bytes| {
                let len = bytes.len() as u64;
                let at = dice.below(len) as usize;
                match dice.below(6) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 1 << dice.below(8),
                    2 => bytes[at..].fill(0),
                    3 => drop(bytes.drain(..at)),
                    4 => bytes.extend_from_within(at..),
                    _ => bytes.insert(at, b'\n'),
                }
            });
        }
        let heads: Vec<u64> = decisions(&open(&disk, 3_000).0).iter().map(|line| line.seq).collect();
        let (mut log, _) = open(&disk, 3_000);
        let seq = append(&mut log, &["goes on"]).first_seq;
        assert!(heads.iter().all(|used| *used < seq), "seed {seed}: {seq} was used");
        let found: Vec<Line> = decisions(&log);
        assert!(found.iter().any(|line| line.seq == seq), "seed {seed}");
    }
}

#[test]
fn segments_seal_and_are_read_as_one_log() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, 2_000);
    let lines: Vec<Line> = (0..40).flat_map(|n| append(&mut log, &[&n.to_string()]).lines).collect();
    assert!(log.active_segment() > 5);
    assert_eq!(decisions(&log), lines);
    let from: Vec<u64> = log.read_from(30).map(|line| line.unwrap().seq).collect();
    assert_eq!(from, (30..log.next_seq()).collect::<Vec<_>>());
    drop(log);
    // A segment of the middle disappears.
    disk.clone().remove(&path(3)).unwrap();
    let (log, found) = open(&disk, 2_000);
    assert_eq!(found, Recovered::default());
    let damage = log.verify().damage;
    assert_eq!((damage.len(), damage[0].segment.as_str()), (1, "log/00000003.log"));
    assert!(damage[0].why.contains("missing"), "{}", damage[0]);
}

#[test]
#[cfg(feature = "shell")]
fn sealed_segments_are_compressed_and_read_the_same() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, 2_000);
    let lines: Vec<Line> = (0..40).flat_map(|n| append(&mut log, &[&n.to_string()]).lines).collect();
    let packed = segment::pack_sealed(&mut disk.clone(), log.active_segment()).unwrap();
    assert_eq!(packed as u32, log.active_segment() - 1);
    assert!(disk.bytes(&path(1)).is_none());
    assert_eq!(decisions(&log), lines);
    // The newest plain one disappears: the log goes on behind the last compressed line.
    let newest = log.active_segment();
    drop(log);
    disk.clone().remove(&path(newest)).unwrap();
    let (mut log, _) = open(&disk, 2_000);
    append(&mut log, &["on"]);
    assert!(log.verify().whole(), "{:?}", log.verify());
    // A compressed one is damaged: named, and the rest is read.
    disk.corrupt(&segment::packed(2), |bytes| bytes.truncate(bytes.len() / 2));
    let report = log.verify();
    assert!(report.damage.iter().all(|damage| damage.segment == "log/00000002.log"), "{report:?}");
    assert!(!report.whole());
    assert_eq!(report.last_seq, Some(log.head().seq));
}

#[test]
fn a_segment_of_another_log_is_put_out_of_the_way() {
    let (disk, other) = (TornDisk::new(), TornDisk::new());
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    append(&mut log, &["ours"]);
    let (mut theirs, _) = Log::open(Box::new(other.clone()), &options(SEGMENT_BYTES, 7)).unwrap();
    append(&mut theirs, &["theirs"]);
    disk.clone().append(&path(2), &other.bytes(&path(1)).unwrap()).unwrap();
    let (mut log, found) = open(&disk, SEGMENT_BYTES);
    assert!(found.damage[0].why.contains("another log"), "{}", found.damage[0]);
    assert_eq!(append(&mut log, &["on"]).first_seq, 2);
    assert!(log.verify().whole());
}

#[test]
fn a_redacted_secret_is_gone_from_the_disk_and_the_chain_holds() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, 2_000);
    for n in 0..20 {
        append(&mut log, &[if n == 3 { "hunter2" } else { "harmless" }]);
    }
    let line = decisions(&log).into_iter().find(|line| line.facts[0].contains("hunter2")).unwrap();
    let redaction = Redaction { by: "ana".into(), why: "a password".into(), at: rfc3339(0) };
    let masked = [line.facts[0].replace("hunter2", "…")];
    log.redact(line.seq, &redaction, &masked, &[]).unwrap();
    assert!(log.redact(0, &redaction, &[], &[]).is_err(), "the log's own lines stay");
    append(&mut log, &["after"]);
    let again = decisions(&log).into_iter().find(|other| other.seq == line.seq).unwrap();
    assert_eq!((again.redacted, again.facts.as_slice()), (Some(redaction), &masked[..]));
    let report = log.verify();
    assert!(report.whole() && report.redacted == 1);
    for number in 1..=log.active_segment() {
        let bytes = disk.bytes(&path(number)).unwrap();
        assert!(!String::from_utf8(bytes).unwrap().replace("\"input\":\"hunter2\"", "").contains("hunter2"));
    }
}

#[test]
fn an_export_comes_back_byte_for_byte_and_a_changed_one_not_at_all() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, 2_000);
    for n in 0..30 {
        append(&mut log, &[&n.to_string()]);
    }
    let mut exported = Vec::new();
    log.export(&mut exported).unwrap();
    let fresh = TornDisk::new();
    let head = import(&mut fresh.clone(), &mut &exported[..], false).unwrap();
    assert_eq!(head, log.head());
    let (copy, found) = open(&fresh, 2_000);
    assert_eq!(found, Recovered::default());
    let mut again = Vec::new();
    copy.export(&mut again).unwrap();
    assert!(again == exported);
    assert!(matches!(import(&mut fresh.clone(), &mut &exported[..], false), Err(ImportError::Occupied)));
    for at in (0..exported.len()).step_by(97) {
        let mut changed = exported.clone();
        changed[at] ^= 1;
        let fresh = TornDisk::new();
        let refused = import(&mut fresh.clone(), &mut &changed[..], false);
        assert!(matches!(refused, Err(ImportError::Damaged(_))), "byte {at}");
        assert_eq!(fresh.list(segment::LOG_DIR).unwrap(), Vec::<String>::new());
        import(&mut fresh.clone(), &mut &changed[..], true).unwrap();
    }
}

#[test]
fn a_blob_is_safe_before_it_has_a_name_and_damage_is_noticed() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    let name = log.put_blob(b"a machine's config").unwrap();
    disk.cut_power(&mut Dice::new(1));
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    assert_eq!(log.get_blob(&name).unwrap(), b"a machine's config");
    assert_eq!(log.put_blob(b"a machine's config").unwrap(), name);
    disk.corrupt(&format!("blobs/{}/{}", &name[..2], &name[2..]), |bytes| bytes[0] ^= 1);
    assert!(log.get_blob(&name).is_err());
    assert!(log.get_blob("../../etc/passwd").is_err());
}

#[test]
fn time_on_record_never_goes_back() {
    let (mut log, _) = open(&TornDisk::new(), SEGMENT_BYTES);
    let late = Entry { at_ms: 1_900_000_000_000, ..entry("late") };
    log.append(1, vec![late, entry("early")]).unwrap();
    assert_eq!(decisions(&log).iter().map(|line| line.at_ms).collect::<Vec<_>>(), [1_900_000_000_000; 2]);
}

#[test]
fn numbers_that_may_have_been_used_are_left_out_and_the_record_says_so() {
    let disk = TornDisk::new();
    let (mut log, _) = open(&disk, SEGMENT_BYTES);
    append(&mut log, &["one"]);
    log.skip_to(9, vec!["inc/8".into()], "lost").unwrap();
    assert_eq!(append(&mut log, &["on"]).first_seq, 11);
    drop(log);
    let (log, found) = open(&disk, SEGMENT_BYTES);
    assert_eq!(found, Recovered::default());
    let report = log.verify();
    assert_eq!((report.gaps, report.damage), (vec![(2, 9)], Vec::new()));
}
