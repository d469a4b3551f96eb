//! The views in sled: quick to ask, never trusted, never needed.
//!
//! Only this file and `views/change.rs` touch sled. What sled 0.34 does not do is done here: a flush that reaches the disk, panics
//! caught, and a count and digest of everything that is kept, written in the same batch and checked before use, because
//! a damaged sled gives no error but loses rows in silence. Whatever does not fit sets the whole folder aside by name;
//! the log fills a new one. Keys, all in one tree so that one batch is one step:
//!
//! | key | value |
//! |---|---|
//! | `h` | the head: the last line known, how many records there are, how many open, a digest of records and shelves |
//! | `t` thing | its record: open or not, first and last seq, count and digest of its rows |
//! | `r` thing 0 seq part | a decision's parts about the thing |
//! | `o` thing | (empty) it is open |
//! | `s` kind 0 number | a shelf: which of 512 things are put away because they are over, and digests of their groups |
//! | `a` kind 0 number part | a group: all rows of up to eight things that are over, packed |
//! | `d` name 0 part, `n` name 0 part | documents and notes, each behind its digest |
//!
//! A thing that was told to be over and has a number is put away; when something more is said about it and it is told to
//! be open, it is taken out again. So a start reads as much as is open, and a shelf for every 512 things that are not.

mod change;
mod touched;

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::change::Change;
use self::touched::Touched;
use super::archive::{self, Group, Place, Shelf};
use super::log::rfc3339;
use super::record::{self, Record, Sum};
use crate::adapters::memory;
use crate::ports::journal::{Head, Line, Views, ViewsError};

/// The folder of the database.
pub const SLED_DIR: &str = "sled";
/// How much sled keeps in memory, in bytes, once it looks: see `views/touched.rs`. What is open is in the bot's own memory anyway.
const CACHE_BYTES: u64 = 256 << 10;
/// A page over a quarter of this becomes a file that sled never syncs; pages hold up to 17 values of [`VALUE_BYTES`] and their keys, so
/// none does. Larger segments would allow larger values and cost memory: filling 100,000 things took 1.2 GB at 8 MiB. Half of it was
/// tried: smaller buffers, more pages and segments to keep track of, and 0.3 MB more in all.
const SLED_SEGMENT_BYTES: usize = 512 << 10;
/// Values longer than this, in bytes, are kept in parts.
const VALUE_BYTES: usize = 4000;
/// A damaged database may hang instead of failing: how long opening may take, in milliseconds.
const OPEN_WITHIN_MS: u64 = 20_000;
/// The form of what is kept. A database of another form is set aside and made anew from the log.
const FORM: u32 = 3;
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
    /// Since the database was opened.
    touched: Touched,
}

enum State {
    On { db: sled::Db, top: Top },
    Off(String),
}

/// The head record: all that has to hold for the rest to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Top {
    #[serde(default)]
    form: u32,
    head: Option<Head>,
    /// How many have a record.
    things: u64,
    open: u64,
    /// All records and shelves together, whatever their order.
    sum: Sum,
}

impl Default for Top {
    fn default() -> Self {
        Top { form: FORM, head: None, things: 0, open: 0, sum: Sum::default() }
    }
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

    /// Things that the database knows of from lines behind `seq`. Reads everything.
    pub(super) fn things_after(&mut self, seq: u64) -> Result<Vec<String>, ViewsError> {
        self.ask(|db, _| {
            let mut things = Vec::new();
            for pair in db.scan_prefix([record::THING]) {
                let (key, value) = pair.map_err(text)?;
                if Record::read(&value).is_some_and(|record| record.last > seq) {
                    things.extend(record::name_of(&key));
                }
            }
            let mut take = |group_key: &[u8], bytes: &[u8]| {
                for (at, last) in Group::read(bytes).iter().flat_map(Group::lasts) {
                    if last > seq {
                        things.extend(archive::name_at(group_key, at));
                    }
                }
            };
            let (mut at, mut bytes) = (Vec::new(), Vec::new());
            for pair in db.scan_prefix([archive::GROUP]) {
                let (key, part) = pair.map_err(text)?;
                let group_key = key.split_last_chunk::<2>().map_or(&key[..], |(front, _)| front);
                if at != group_key {
                    take(&at, &bytes);
                    (at, bytes) = (group_key.to_vec(), Vec::new());
                }
                bytes.extend_from_slice(&part);
            }
            take(&at, &bytes);
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

    /// Closes the database and opens it again: what was read once is let go of. [`Views::settle`] does so by itself when it is
    /// much; see `views/touched.rs`.
    pub fn let_go(&mut self) -> Result<(), ViewsError> {
        if let State::Off(_) = self.state {
            return Err(self.not_on());
        }
        self.sync()?;
        self.close("it is being opened again");
        // Before it is opened again: what is new would otherwise lie between what is free.
        memory::give_back();
        self.open_here().map_err(|why| {
            let aside = self.set_aside(&why).unwrap_or(None);
            self.state = State::Off(why.clone());
            ViewsError::Broken { aside, why }
        })
    }

    /// Puts everything on the disk.
    fn sync(&mut self) -> Result<(), ViewsError> {
        let dir = self.folder.join(SLED_DIR);
        self.waiting_lines = 0;
        self.ask(|db, _| barrier(db, &dir))
    }

    fn off_in(folder: PathBuf, now_ms: i64, why: &str) -> Self {
        SledViews { folder, now_ms, state: State::Off(why.to_owned()), waiting_lines: 0, touched: Touched::default() }
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
        (self.waiting_lines, self.touched) = (0, Touched::default());
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
        let parts = change::parts(db, &record::key(kind, name))?;
        if parts.is_empty() {
            return Ok(None);
        }
        record::unsealed(&parts).map(Some).ok_or_else(|| format!("{name} does not fit its digest"))
    }
}

impl Drop for SledViews {
    fn drop(&mut self) {
        let _synced = self.sync();
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

/// Reads the head, and all records, shelves and marks against it. What is put away is held against its shelf when it is
/// asked for.
fn check(db: &sled::Db) -> Result<Top, String> {
    let Some(value) = db.get([record::HEAD]).map_err(text)? else {
        return if db.is_empty() { Ok(Top::default()) } else { Err("it has no head".to_owned()) };
    };
    let top = record::unsealed(&value).and_then(|json| serde_json::from_slice::<Top>(&json).ok());
    let top = top.ok_or("its head does not fit its digest")?;
    if top.form != FORM {
        return Err("another version wrote it".to_owned());
    }
    let mut found = Top { head: top.head.clone(), ..Top::default() };
    for pair in db.scan_prefix([record::THING]) {
        let (key, value) = pair.map_err(text)?;
        let record = Record::read(&value).ok_or("a record does not hold")?;
        found.things += 1;
        found.open += u64::from(record.open);
        found.sum.toggle(&key, &value);
    }
    for pair in db.scan_prefix([archive::SHELF]) {
        let (key, value) = pair.map_err(text)?;
        found.sum.toggle(&key, &value);
    }
    let mut marks = 0;
    for key in db.scan_prefix([record::OPEN]).keys() {
        let thing = record::name_of(&key.map_err(text)?).ok_or("an open mark does not hold")?;
        marks += 1;
        if !change::record_of(db, &thing)?.is_some_and(|record| record.open) {
            return Err(format!("{thing} is marked open and is not"));
        }
    }
    if found != top || marks != top.open {
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
        let reached = self.ask(|db, top| {
            let known = top.head.as_ref().map(|head| head.seq);
            let mut change = Change::new(db, top);
            for line in lines.iter().filter(|line| known.is_none_or(|known| line.seq > known)) {
                change.take(line)?;
            }
            for (thing, is_open) in open {
                change.tell(thing, *is_open)?;
            }
            for (name, bytes) in docs {
                change.put(record::DOC, name, bytes)?;
            }
            let reached;
            (*top, reached) = change.write(Some(head.clone()))?;
            Ok(reached)
        })?;
        reached.into_iter().for_each(|front| self.touched.add(front));
        self.waiting_lines += lines.len();
        if self.waiting_lines >= SETTLE_LINES { self.sync() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<(), ViewsError> {
        if self.hold_much() { self.let_go() } else { self.sync() }
    }

    fn hold_much(&self) -> bool {
        matches!(self.state, State::On { .. }) && self.touched.is_much()
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
        let (lines, front) = self.ask(|db, _| {
            let line = |(seq, row): archive::Row| {
                let line = record::row_line(&row).filter(|line| line.seq == seq);
                line.ok_or_else(|| format!("a row of {thing} does not hold"))
            };
            let (rows, front) = change::rows(db, thing)?;
            Ok((rows.into_iter().map(line).collect::<Result<Vec<_>, _>>()?, front))
        })?;
        self.touched.add(front);
        Ok(lines)
    }

    fn things(&mut self, kind: &str, before: Option<&str>, limit: usize) -> Result<Vec<(String, bool)>, ViewsError> {
        self.ask(|db, _| {
            let end = before.and_then(Place::of);
            // What has a record is what is open and a few that were over just now: as many as are in memory anyway.
            let mut near = Vec::new();
            for pair in db.scan_prefix(record::key_of(record::THING, &format!("{kind}/"))) {
                let (key, value) = pair.map_err(text)?;
                let record = Record::read(&value).filter(|record| record.count > 0);
                near.extend(record::name_of(&key).zip(record.map(|record| record.open)));
            }
            near.sort_unstable_by(|(one, _), (other, _)| Place::of(one).cmp(&Place::of(other)));
            let mut names: Vec<(String, bool)> = Vec::new();
            let older = |name: &str| end.is_none_or(|end| Place::of(name).is_some_and(|place| place < end));
            'shelves: for pair in db.scan_prefix(record::key(archive::SHELF, kind)).rev() {
                let (key, value) = pair.map_err(text)?;
                let shelf = Shelf::read(&value).ok_or("a shelf does not hold")?;
                for place in shelf.places(&key) {
                    while let Some(newer) = near.pop_if(|(name, _)| Place::of(name) > Some(place)) {
                        names.extend(Some(newer).filter(|(name, _)| older(name)));
                    }
                    names.extend(Some((place.name(), false)).filter(|(name, _)| older(name)));
                    if names.len() >= limit {
                        break 'shelves;
                    }
                }
            }
            names.extend(near.into_iter().rev().filter(|(name, _)| older(name)));
            names.truncate(limit);
            Ok(names)
        })
    }

    fn doc(&mut self, name: &str) -> Result<Option<Vec<u8>>, ViewsError> {
        self.ask(|db, _| Self::value(db, record::DOC, name))
    }

    fn put_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), ViewsError> {
        self.ask(|db, top| {
            let mut change = Change::new(db, top);
            change.put(record::NOTE, name, bytes)?;
            // With a head in any case: a database with notes but no lines is no damaged one.
            (*top, _) = change.write(None)?;
            Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Why the loop settles what rules have seen as soon as it is noted: sled holds it back in the process until then.
    #[test]
    fn a_note_outlives_a_kill_once_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let (mut views, _) = SledViews::open(dir.path(), 0);
        // A kill leaves what stands in the files at that moment.
        let after_a_kill = || {
            let left = tempfile::tempdir().unwrap();
            fs::create_dir(left.path().join(SLED_DIR)).unwrap();
            for found in fs::read_dir(dir.path().join(SLED_DIR)).unwrap().map(Result::unwrap) {
                if found.file_type().unwrap().is_file() {
                    fs::copy(found.path(), left.path().join(SLED_DIR).join(found.file_name())).unwrap();
                }
            }
            SledViews::open(left.path(), 0).0.get_note("rules").unwrap()
        };
        views.put_note("rules", b"beyond since ten").unwrap();
        assert_eq!(after_a_kill(), None, "it need not be settled any more");
        views.settle().unwrap();
        assert_eq!(after_a_kill().as_deref(), Some(b"beyond since ten".as_slice()));
    }
}
