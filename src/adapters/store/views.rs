//! The views in sled: quick to ask, never trusted, never needed.
//!
//! The only file that touches sled. What sled 0.34 does not do is done here: a flush that reaches the disk, panics
//! caught, and a count and digest of everything that is kept, written in the same batch and checked before use, because
//! a damaged sled gives no error but loses rows in silence. Whatever does not fit sets the whole folder aside by name;
//! the log fills a new one. Keys, all in one tree so that one batch is one step:
//!
//! | key | value |
//! |---|---|
//! | `h` | the head: the last line known, how many things there are, how many open, a digest of their records |
//! | `t` thing | its record: open or not, first and last seq, count and digest of its rows |
//! | `r` thing 0 seq part | a decision's parts about the thing |
//! | `o` thing | (empty) it is open |
//! | `i` kind 0 first-seq | the thing: the order of the lists |
//! | `d` name 0 part, `n` name 0 part | documents and notes, each behind its digest |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log::rfc3339;
use super::record::{self, Record, Sum};
use crate::ports::journal::{Head, Line, Views, ViewsError};

/// The folder of the database.
pub const SLED_DIR: &str = "sled";
/// How much sled keeps in memory, in bytes. What is open is in the bot's own memory anyway.
const CACHE_BYTES: u64 = 4 << 20;
/// A page over a quarter of this becomes a file that sled never syncs; pages hold up to 16 values of [`VALUE_BYTES`], so
/// none does. Larger segments would allow larger values and cost memory: filling 100,000 things took 1.2 GB at 8 MiB.
const SLED_SEGMENT_BYTES: usize = 512 << 10;
/// Values longer than this, in bytes, are kept in parts.
const VALUE_BYTES: usize = 4000;
/// A damaged database may hang instead of failing: how long opening may take, in milliseconds.
const OPEN_WITHIN_MS: u64 = 20_000;
/// How long to wait for a lock that is about to be let go, in milliseconds.
const LOCK_RETRY_MS: u64 = 20;
/// How many lines may wait in sled's buffers until they are settled.
const SETTLE_LINES: usize = 2000;
/// How many set-aside databases are kept. One that knew more than the log is always kept.
const ASIDE_KEPT: usize = 3;
/// In the name of a folder that was set aside because it knew more than the log.
pub(super) const AHEAD: &str = "ahead";

/// Views in sled, or none.
pub struct SledViews {
    folder: PathBuf,
    now_ms: i64,
    state: State,
    waiting_lines: usize,
}

enum State {
    On { db: sled::Db, top: Top },
    Off(String),
}

/// The head record: all that has to hold for the rest to be believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Top {
    head: Option<Head>,
    things: u64,
    open: u64,
    /// All records and open marks together, whatever their order.
    sum: Sum,
}

impl SledViews {
    /// No views: everything is read from the log.
    pub fn none(why: &str) -> Self {
        SledViews::off_in(PathBuf::new(), 0, why)
    }

    /// Opens the database in a state folder, or makes one, and checks all but the rows. One that does not fit is set
    /// aside; the sentence says why.
    pub fn open(folder: &Path, now_ms: i64) -> (Self, Option<String>) {
        let mut views = SledViews::off_in(folder.to_owned(), now_ms, "not opened yet");
        let Err(why) = views.open_here() else { return (views, None) };
        let told = match views.start_over(&why) {
            Ok(Some(aside)) => {
                format!("the database could not be used ({why}); it is now {aside} and a new one is made")
            }
            Ok(None) => format!("the database could not be used ({why}); a new one is made"),
            Err(error) => format!("the database could not be used ({why}), nor a new one be made: {error}"),
        };
        (views, Some(told))
    }

    /// Things that the database knows of from lines behind `seq`.
    pub(super) fn things_after(&mut self, seq: u64) -> Result<Vec<String>, ViewsError> {
        self.ask(|db, _| {
            let mut things = Vec::new();
            for pair in db.scan_prefix([record::THING]) {
                let (key, value) = pair.map_err(text)?;
                if Record::read(&value).is_some_and(|record| record.last > seq) {
                    things.extend(record::name_of(&key));
                }
            }
            Ok(things)
        })
    }

    /// Closes the database and removes it with all that was set aside: it holds, in old pages too, what was redacted.
    pub(super) fn forget(&mut self) -> std::io::Result<()> {
        self.close("its content was redacted");
        for name in asides(&self.folder).into_iter().chain([SLED_DIR.to_owned()]) {
            match fs::remove_dir_all(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::open(&self.folder)?.sync_all()
    }

    fn off_in(folder: PathBuf, now_ms: i64, why: &str) -> Self {
        SledViews { folder, now_ms, state: State::Off(why.to_owned()), waiting_lines: 0 }
    }

    fn open_here(&mut self) -> Result<(), String> {
        let dir = self.folder.join(SLED_DIR);
        let fresh = !dir.exists();
        let (sender, receiver) = mpsc::channel();
        // In a thread of its own, because what is damaged can also wait for ever.
        let opening = std::thread::Builder::new().name("sled-open".to_owned()).spawn(move || {
            let opened = catch(|| {
                let db = open_db(&dir)?;
                let top = check(&db)?;
                if fresh {
                    barrier(&db, &dir)?;
                    File::open(&dir).and_then(|dir| dir.sync_all()).map_err(text)?;
                }
                Ok((db, top))
            });
            let _nobody_waits = sender.send(opened);
        });
        opening.map_err(text)?;
        let opened = receiver.recv_timeout(Duration::from_millis(OPEN_WITHIN_MS));
        let (db, top) = opened.map_err(|_| "it did not open in time".to_owned())??;
        self.state = State::On { db, top };
        self.waiting_lines = 0;
        Ok(())
    }

    fn close(&mut self, why: &str) {
        if let State::On { db, .. } = std::mem::replace(&mut self.state, State::Off(why.to_owned())) {
            let _closed = catch(move || {
                drop(db);
                Ok(())
            });
        }
    }

    /// Renames the folder so that its name says when and why.
    fn set_aside(&mut self, why: &str) -> Result<Option<String>, String> {
        self.close(why);
        let dir = self.folder.join(SLED_DIR);
        if self.folder.as_os_str().is_empty() || !dir.exists() {
            return Ok(None);
        }
        let reason: String = why.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        let when: String = rfc3339(self.now_ms).chars().filter(char::is_ascii_alphanumeric).collect();
        let free = (0..u32::MAX).map(|n| match n {
            0 => format!("{SLED_DIR}.aside-{when}-{reason}"),
            n => format!("{SLED_DIR}.aside-{when}.{n:03}-{reason}"),
        });
        let name = free.into_iter().find(|name| !self.folder.join(name).exists()).unwrap_or_default();
        fs::rename(&dir, self.folder.join(&name)).map_err(text)?;
        let plain: Vec<String> = asides(&self.folder).into_iter().filter(|name| !name.contains(AHEAD)).collect();
        for old in plain.iter().take(plain.len().saturating_sub(ASIDE_KEPT)) {
            let _tried = fs::remove_dir_all(self.folder.join(old));
        }
        Ok(Some(name))
    }

    /// Asks the database; whatever goes wrong sets it aside.
    fn ask<T>(&mut self, question: impl FnOnce(&sled::Db, &mut Top) -> Result<T, String>) -> Result<T, ViewsError> {
        let State::On { db, top } = &mut self.state else { return Err(self.not_on()) };
        match catch(|| question(db, top)) {
            Ok(answer) => Ok(answer),
            Err(why) => {
                let aside = self.set_aside(&why).unwrap_or(None);
                self.state = State::Off(why.clone());
                Err(ViewsError::Broken { aside, why })
            }
        }
    }

    fn not_on(&self) -> ViewsError {
        ViewsError::Off(self.off().unwrap_or_default())
    }

    fn value(db: &sled::Db, kind: u8, name: &str) -> Result<Option<Vec<u8>>, String> {
        let mut parts = Vec::new();
        for pair in db.scan_prefix(record::key(kind, name)) {
            parts.extend_from_slice(&pair.map_err(text)?.1);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        record::unsealed(&parts).map(Some).ok_or_else(|| format!("{name} does not fit its digest"))
    }

    fn put_value(db: &sled::Db, batch: &mut sled::Batch, kind: u8, name: &str, bytes: &[u8]) -> Result<(), String> {
        for pair in db.scan_prefix(record::key(kind, name)) {
            batch.remove(pair.map_err(text)?.0);
        }
        for (part, chunk) in (0u16..).zip(record::sealed(bytes).chunks(VALUE_BYTES)) {
            batch.insert([record::key(kind, name), part.to_be_bytes().to_vec()].concat(), chunk);
        }
        Ok(())
    }
}

impl Drop for SledViews {
    fn drop(&mut self) {
        let _settled = self.settle();
        self.close("closed");
    }
}

fn config(dir: &Path) -> sled::Config {
    // No flusher: it would wake an idle machine, and durability is `settle`, called when nothing else is to do.
    sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SLED_SEGMENT_BYTES).flush_every_ms(None)
}

/// Opens the database. The folder is ours alone, so whoever still holds sled's own lock is a database that this process
/// has closed and whose threads are about to end.
fn open_db(dir: &Path) -> Result<sled::Db, String> {
    for _ in 0..OPEN_WITHIN_MS / 2 / LOCK_RETRY_MS {
        match config(dir).open().map_err(text) {
            Err(why) if why.contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(LOCK_RETRY_MS));
            }
            other => return other,
        }
    }
    Err("it is still in use".to_owned())
}

/// sled's own flush only asks the system to start writing; the sync is ours.
fn barrier(db: &sled::Db, dir: &Path) -> Result<(), String> {
    db.flush().map_err(text)?;
    File::open(dir.join("db")).and_then(|file| file.sync_data()).map_err(text)
}

/// Reads the head, and all records and marks against it.
fn check(db: &sled::Db) -> Result<Top, String> {
    let Some(value) = db.get([record::HEAD]).map_err(text)? else {
        return if db.is_empty() { Ok(Top::default()) } else { Err("it has no head".to_owned()) };
    };
    let top = record::unsealed(&value).and_then(|json| serde_json::from_slice::<Top>(&json).ok());
    let top = top.ok_or("its head does not fit its digest")?;
    let (mut found, mut with_rows) = (Top { head: top.head.clone(), ..Top::default() }, 0u64);
    for pair in db.scan_prefix([record::THING]) {
        let (key, value) = pair.map_err(text)?;
        let record = Record::read(&value).ok_or("a record does not hold")?;
        found.things += 1;
        found.open += u64::from(record.open);
        found.sum.toggle(&key, &value);
        with_rows += u64::from(record.count > 0);
    }
    let (mut marks, mut listed) = (0, 0);
    for key in db.scan_prefix([record::ORDER]).keys() {
        key.map_err(text)?;
        listed += 1;
    }
    for pair in db.scan_prefix([record::OPEN]) {
        let (key, _) = pair.map_err(text)?;
        let thing = record::name_of(&key).ok_or("an open mark does not hold")?;
        let value = db.get(record::key_of(record::THING, &thing)).map_err(text)?;
        let open = value.and_then(|value| Record::read(&value)).is_some_and(|record| record.open);
        marks += 1;
        if !open {
            return Err(format!("{thing} is marked open and is not"));
        }
    }
    if found != top || marks != top.open || listed != with_rows {
        return Err("its records do not fit its head".to_owned());
    }
    Ok(top)
}

impl Views for SledViews {
    fn head(&self) -> Option<Head> {
        match &self.state {
            State::On { top, .. } => top.head.clone(),
            State::Off(_) => None,
        }
    }

    fn off(&self) -> Option<String> {
        match &self.state {
            State::On { .. } => None,
            State::Off(why) => Some(why.clone()),
        }
    }

    fn apply(
        &mut self,
        lines: &[Line],
        head: &Head,
        open: &[(String, bool)],
        docs: &[(String, Vec<u8>)],
    ) -> Result<(), ViewsError> {
        self.ask(|db, top| {
            let known = top.head.as_ref().map(|head| head.seq);
            let mut batch = sled::Batch::default();
            let mut records = Records::new();
            for line in lines.iter().filter(|line| known.is_none_or(|known| line.seq > known)) {
                for (thing, row) in record::rows_of(line) {
                    let (_, now) = load(db, &mut records, &thing)?;
                    now.add(line.seq, row.as_bytes());
                    for (part, chunk) in (0u16..).zip(row.as_bytes().chunks(VALUE_BYTES)) {
                        batch.insert(record::row_key(&thing, line.seq, part), chunk);
                    }
                }
            }
            for (thing, is_open) in open {
                load(db, &mut records, thing)?.1.open = *is_open;
            }
            for (name, bytes) in docs {
                Self::put_value(db, &mut batch, record::DOC, name, bytes)?;
            }
            let mut next = Top { head: Some(head.clone()), ..top.clone() };
            for (thing, (before, now)) in records {
                keep(&mut batch, &mut next, &thing, before, &now);
            }
            let json = serde_json::to_vec(&next).map_err(text)?;
            batch.insert(&[record::HEAD], record::sealed(&json));
            db.apply_batch(batch).map_err(text)?;
            *top = next;
            Ok(())
        })?;
        self.waiting_lines += lines.len();
        if self.waiting_lines >= SETTLE_LINES { self.settle() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<(), ViewsError> {
        let dir = self.folder.join(SLED_DIR);
        self.waiting_lines = 0;
        self.ask(|db, _| barrier(db, &dir))
    }

    fn open_things(&mut self) -> Result<Vec<String>, ViewsError> {
        self.ask(|db, top| {
            let mut things = Vec::new();
            for pair in db.scan_prefix([record::OPEN]) {
                things.extend(record::name_of(&pair.map_err(text)?.0));
            }
            if things.len() as u64 == top.open { Ok(things) } else { Err("open marks are missing".to_owned()) }
        })
    }

    fn rows(&mut self, thing: &str) -> Result<Vec<Line>, ViewsError> {
        self.ask(|db, _| {
            let stored = db.get(record::key_of(record::THING, thing)).map_err(text)?;
            let stored = stored.and_then(|value| Record::read(&value));
            let mut found = Record { open: stored.as_ref().is_some_and(|record| record.open), ..Record::default() };
            let (mut lines, mut row): (Vec<Line>, Option<(u64, Vec<u8>)>) = (Vec::new(), None);
            let mut finish = |row: Option<(u64, Vec<u8>)>| -> Result<(), String> {
                let Some((seq, bytes)) = row else { return Ok(()) };
                found.add(seq, &bytes);
                let line = record::row_line(&bytes).filter(|line| line.seq == seq);
                lines.push(line.ok_or_else(|| format!("a row of {thing} does not hold"))?);
                Ok(())
            };
            for pair in db.scan_prefix(record::key(record::ROW, thing)) {
                let (key, value) = pair.map_err(text)?;
                let seq = record::row_seq(&key).ok_or_else(|| format!("a row of {thing} does not hold"))?;
                match &mut row {
                    Some((at, bytes)) if *at == seq => bytes.extend_from_slice(&value),
                    _ => finish(row.replace((seq, value.to_vec())))?,
                }
            }
            finish(row)?;
            if found == stored.unwrap_or_default() {
                Ok(lines)
            } else {
                Err(format!("the rows of {thing} do not fit their digest"))
            }
        })
    }

    fn things(&mut self, kind: &str, before: Option<&str>, limit: usize) -> Result<Vec<(String, bool)>, ViewsError> {
        self.ask(|db, _| {
            let start = record::key(record::ORDER, kind);
            let end = match before {
                None => record::order_key(kind, u64::MAX),
                Some(thing) => {
                    let value = db.get(record::key_of(record::THING, thing)).map_err(text)?;
                    let Some(record) = value.and_then(|value| Record::read(&value)) else { return Ok(Vec::new()) };
                    record::order_key_of(thing, record.first)
                }
            };
            let mut things = Vec::new();
            for pair in db.range(start..end).rev().take(limit) {
                let thing = String::from_utf8(pair.map_err(text)?.1.to_vec()).map_err(text)?;
                let value = db.get(record::key_of(record::THING, &thing)).map_err(text)?;
                let record = value.and_then(|value| Record::read(&value));
                let open = record.ok_or_else(|| format!("{thing} is listed and is not there"))?.open;
                things.push((thing, open));
            }
            Ok(things)
        })
    }

    fn doc(&mut self, name: &str) -> Result<Option<Vec<u8>>, ViewsError> {
        self.ask(|db, _| Self::value(db, record::DOC, name))
    }

    fn put_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), ViewsError> {
        self.ask(|db, _| {
            let mut batch = sled::Batch::default();
            Self::put_value(db, &mut batch, record::NOTE, name, bytes)?;
            // A database with notes but no lines is no damaged one.
            if db.get([record::HEAD]).map_err(text)?.is_none() {
                let json = serde_json::to_vec(&Top::default()).map_err(text)?;
                batch.insert(&[record::HEAD], record::sealed(&json));
            }
            db.apply_batch(batch).map_err(text)
        })
    }

    fn get_note(&mut self, name: &str) -> Result<Option<Vec<u8>>, ViewsError> {
        self.ask(|db, _| Self::value(db, record::NOTE, name))
    }

    fn start_over(&mut self, why: &str) -> Result<Option<String>, ViewsError> {
        if self.folder.as_os_str().is_empty() {
            return Err(self.not_on());
        }
        let aside = self.set_aside(why).and_then(|aside| self.open_here().map(|()| aside));
        aside.map_err(|why| {
            self.state = State::Off(why.clone());
            ViewsError::Off(why)
        })
    }
}

type Records = BTreeMap<String, (Option<Record>, Record)>;

/// A thing's record as it was and as it is going to be.
fn load<'a>(db: &sled::Db, records: &'a mut Records, thing: &str) -> Result<&'a mut (Option<Record>, Record), String> {
    if !records.contains_key(thing) {
        let value = db.get(record::key_of(record::THING, thing)).map_err(text)?;
        let before = match value {
            Some(value) => Some(Record::read(&value).ok_or_else(|| format!("the record of {thing} does not hold"))?),
            None => None,
        };
        let now = before.clone().unwrap_or_default();
        records.insert(thing.to_owned(), (before, now));
    }
    records.get_mut(thing).ok_or_else(|| "a record was not loaded".to_owned())
}

/// Writes a thing's record, its mark and its place in the lists.
fn keep(batch: &mut sled::Batch, top: &mut Top, thing: &str, before: Option<Record>, now: &Record) {
    let key = record::key_of(record::THING, thing);
    match &before {
        Some(before) => top.sum.toggle(&key, &before.bytes()),
        None => top.things += 1,
    }
    let was_open = before.as_ref().is_some_and(|record| record.open);
    let mark = record::key_of(record::OPEN, thing);
    match (was_open, now.open) {
        (false, true) => {
            batch.insert(mark, &[][..]);
            top.open += 1;
        }
        (true, false) => {
            batch.remove(mark);
            top.open = top.open.saturating_sub(1);
        }
        _ => {}
    }
    if before.as_ref().is_none_or(|before| before.count == 0) && now.count > 0 {
        batch.insert(record::order_key_of(thing, now.first), thing.as_bytes());
    }
    top.sum.toggle(&key, &now.bytes());
    batch.insert(key, now.bytes());
}

/// Folders that were set aside, the oldest first.
fn asides(folder: &Path) -> Vec<String> {
    let front = format!("{SLED_DIR}.aside-");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(&front));
    names.sort_unstable();
    names
}

/// Runs something that touches sled: a panic becomes a sentence.
fn catch<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("sled panicked: {}", said.unwrap_or("without a word")))
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
