//! The log: append-only segments of lines that prove each other, over the [`Disk`] port.
//!
//! Owns `log/` and `blobs/` in the state folder. One batch is one write and one sync; what was answered stays. Nothing
//! is ever dropped: torn bytes are moved to `log/cut`, damage is named and left. Knows nothing of what facts mean, and
//! needs no feature of the shell, so that a simulation can run it on a disk that tears.

pub mod blob;
pub mod segment;
pub mod torn;

mod import;
mod line;
mod read;
mod recover;
mod scan;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

pub use import::{ImportError, import};
pub use line::{LINE_VERSION, NO_HASH, sha256_hex};
#[cfg(feature = "shell")]
pub(super) use line::{quoted, rfc3339, split_array, split_object};
pub use read::read_folder;

use crate::ports::disk::{Disk, is_full};
use crate::ports::journal::{
    AppendError, BATCH_BYTES_MAX, BATCH_LINES_MAX, Committed, Damage, Entry, Head, Journal, Lines, Note, Redaction,
};
use line::{LINE_BYTES_MIN, Place};
use read::Reader;
use recover::Tail;
use scan::{Chain, Pieces};

/// At which length a segment is sealed, in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// How much of the newest segment is verified at every start, in bytes: more than any batch, so that all that a crash
/// can have torn lies in it. The rest was synced long before and is verified by [`Journal::verify`] and when read.
const TAIL_BYTES: u64 = 2 * BATCH_BYTES_MAX as u64;
const COPY_BYTES: usize = 256 << 10;

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// At which length a segment is sealed, in bytes.
    pub segment_bytes: u64,
    /// The id of the log if it has to be begun. Must differ each time.
    pub new_id: String,
    /// The last line that somebody remembers, of this log or one that is gone: a log that has to be begun starts behind
    /// it, so that no number is used twice.
    pub after: Option<Head>,
}

/// What opening found, in sentences for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the log was begun just now.
    pub begun: bool,
    /// Bytes cut off, and why.
    pub cut: Vec<String>,
    /// Places that cannot be read.
    pub damage: Vec<Damage>,
}

/// A log that is open for writing.
pub struct Log {
    disk: Box<dyn Disk>,
    id: String,
    chain: Chain,
    epoch: u64,
    at_ms: i64,
    active: u32,
    good_bytes: u64,
    segment_bytes: u64,
    fatal: Option<String>,
}

impl Log {
    /// Opens the log in a folder, or begins one. Cuts what a crash tore off and says what it found.
    pub fn open(disk: Box<dyn Disk>, options: &LogOptions) -> io::Result<(Log, Recovered)> {
        let mut log = Log {
            disk,
            id: String::new(),
            chain: Chain::default(),
            epoch: 0,
            at_ms: options.now_ms,
            active: 0,
            good_bytes: 0,
            segment_bytes: options.segment_bytes,
            fatal: None,
        };
        log.disk.create_dir(segment::LOG_DIR)?;
        log.disk.sync_dir("")?;
        segment::tidy(&mut *log.disk)?;
        let mut found = Recovered::default();
        let unreadable_bytes = log.recover(&mut found)?;
        found.begun = log.chain.last.is_none();
        if found.begun {
            log.id.clone_from(&options.new_id);
        } else if log.id.is_empty() {
            // Every line that told whose it is, is lost; the one who remembers its end knows.
            log.id = options.after.as_ref().map_or_else(|| options.new_id.clone(), |after| after.log_id.clone());
        }
        log.epoch += 1;
        if found.begun {
            log.begin(options.after.clone(), unreadable_bytes)?;
        } else if unreadable_bytes > 0 || log.good_bytes == 0 {
            log.seal()?;
            if unreadable_bytes > 0 {
                let to = log.next_seq() + unreadable_bytes / LINE_BYTES_MIN;
                log.skip_to(to, Vec::new(), "a stretch of the log cannot be read")?;
            }
        }
        Ok((log, found))
    }

    /// Finds the last line that stands, from the newest segment backwards. Returns how many bytes behind it are neither
    /// lines nor torn.
    fn recover(&mut self, found: &mut Recovered) -> io::Result<u64> {
        let mut unreadable_bytes = 0;
        let numbers = segment::numbers(&*self.disk)?;
        self.id = numbers.iter().find_map(|number| segment_id(&*self.disk, *number)).unwrap_or_default();
        for number in numbers.into_iter().rev() {
            let path = segment::plain(number);
            // Whether something behind it cannot be read, so that nothing may be written into it.
            let sealed = unreadable_bytes > 0;
            if !sealed {
                self.active = number;
            }
            let Ok(len) = self.disk.len(&path) else {
                // Compressed, so sealed: go on behind it in a new segment.
                let tail = self.tail_from(number, 0)?;
                self.adopt(tail, found);
                self.good_bytes = 0;
                return Ok(unreadable_bytes);
            };
            if segment_id(&*self.disk, number).is_some_and(|id| id != self.id) {
                self.set_aside(number, found)?;
                continue;
            }
            if self.disk.len(&segment::packed(number)).is_ok() {
                // A compression that was cut short before its last step.
                self.disk.remove(&segment::packed(number))?;
            }
            let mut tail = self.tail_from(number, len.saturating_sub(TAIL_BYTES))?;
            if tail.chain.last.is_none() && len > TAIL_BYTES {
                tail = self.tail_from(number, 0)?;
            }
            let keep = tail.unreadable_bytes > 0;
            unreadable_bytes += tail.unreadable_bytes;
            if let Some(cut) = tail.cut.take() {
                let place = self.cut(number, tail.good_bytes, cut.bytes)?;
                found.cut.push(format!(
                    "the last write was cut short: {} bytes behind line {} were no whole decision ({}) and are now in {place}",
                    cut.bytes,
                    tail.chain.last.as_ref().map_or_else(|| "none".to_owned(), |(seq, _)| seq.to_string()),
                    cut.what,
                ));
            }
            if tail.unended {
                self.disk.append(&path, b"\n")?;
                self.disk.sync_data(&path)?;
                tail.good_bytes += 1;
            }
            let stands = tail.chain.last.is_some();
            self.adopt(tail, found);
            if stands {
                return Ok(unreadable_bytes);
            }
            if !keep {
                self.disk.remove(&path)?;
                self.disk.sync_dir(segment::LOG_DIR)?;
            }
        }
        if unreadable_bytes == 0 {
            self.active = 0;
        }
        Ok(unreadable_bytes)
    }

    /// Moves a segment of another log out of the way.
    fn set_aside(&mut self, number: u32, found: &mut Recovered) -> io::Result<()> {
        let segment = segment::plain(number);
        let bytes = self.disk.len(&segment)?;
        let place = format!("{}/foreign-{number:08}-{}", segment::CUT_DIR, self.at_ms);
        self.disk.create_dir(segment::CUT_DIR)?;
        self.disk.rename(&segment, &place)?;
        self.disk.sync_dir(segment::CUT_DIR)?;
        self.disk.sync_dir(segment::LOG_DIR)?;
        let why = format!("it is of another log and is now {place}");
        found.damage.push(Damage { segment, offset: 0, bytes, seq: 0, lines: None, why });
        Ok(())
    }

    fn tail_from(&self, number: u32, from: u64) -> io::Result<Tail> {
        let name = segment::plain(number);
        let mut start = from;
        if from > 0 {
            // To the start of a line.
            let first = Pieces::new(segment::read(&*self.disk, number, from)?, from).next();
            start = first.map_or(from, |piece| piece.offset + piece.bytes);
        }
        Ok(recover::tail(segment::read(&*self.disk, number, start)?, start, &name))
    }

    fn adopt(&mut self, tail: Tail, found: &mut Recovered) {
        self.chain = tail.chain;
        self.good_bytes = tail.good_bytes;
        self.at_ms = self.at_ms.max(tail.at_ms);
        self.epoch = self.epoch.max(tail.epoch);
        found.damage.extend(tail.damage);
    }

    /// Moves the end of a segment to `log/cut`.
    fn cut(&mut self, number: u32, from: u64, bytes: u64) -> io::Result<String> {
        let path = segment::plain(number);
        let mut kept = Vec::new();
        segment::read(&*self.disk, number, from)?.take(bytes).read_to_end(&mut kept)?;
        if kept.iter().all(|byte| *byte == 0) {
            self.disk.truncate(&path, from)?;
            self.disk.sync_data(&path)?;
            return Ok("no file, being all zeros".to_owned());
        }
        let name = &sha256_hex(&kept)[..12];
        let place = format!("{}/{number:08}-{from}-{name}", segment::CUT_DIR);
        let saved = self.disk.create_dir(segment::CUT_DIR).and_then(|()| match self.disk.len(&place) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.disk.append(&place, &kept)?;
                self.disk.sync_data(&place)?;
                self.disk.sync_dir(segment::CUT_DIR)?;
                self.disk.sync_dir(segment::LOG_DIR)
            }
        });
        self.disk.truncate(&path, from)?;
        self.disk.sync_data(&path)?;
        // A full disk must not keep the bot from starting: nobody was told that these bytes stand.
        Ok(saved.map_or_else(|error| format!("no file ({error})"), |()| place))
    }

    fn begin(&mut self, after: Option<Head>, unreadable_bytes: u64) -> io::Result<()> {
        let lost = if unreadable_bytes > 0 { unreadable_bytes / LINE_BYTES_MIN + 1 } else { 0 };
        let seq = after.as_ref().map_or(0, |after| after.seq.saturating_add(1)).saturating_add(lost);
        let prev = after.as_ref().map_or(NO_HASH, |after| &after.hash).to_owned();
        let note = Note::Began { id: self.id.clone(), after };
        self.start_segment(note, seq, &prev)
    }

    /// Seals the segment and starts the next.
    fn seal(&mut self) -> io::Result<()> {
        let note = Note::Segment { id: self.id.clone(), number: self.active + 1 };
        let prev = self.head_hash();
        self.start_segment(note, self.next_seq(), &prev)
    }

    fn start_segment(&mut self, note: Note, seq: u64, prev: &str) -> io::Result<()> {
        let number = self.active + 1;
        let path = segment::plain(number);
        let entry = Entry { input: "log".to_owned(), skip: true, ..Entry::default() };
        let place = Place { seq, batch: seq, at_ms: self.at_ms, epoch: self.epoch, prev };
        let (text, line) = line::encode(entry, Some(note), &place).map_err(io::Error::other)?;
        if self.disk.len(&path).is_ok() {
            // Left by an attempt on a full disk. Nothing in it was answered.
            self.disk.remove(&path)?;
        }
        self.disk.append(&path, text.as_bytes())?;
        self.disk.sync_data(&path)?;
        self.disk.sync_dir(segment::LOG_DIR)?;
        self.active = number;
        self.good_bytes = text.len() as u64;
        self.chain = Chain { last: Some((line.seq, line.hash)) };
        Ok(())
    }

    /// Leaves numbers unused, from the next one to `to`, and says so on the record: lines that had them are lost.
    pub fn skip_to(&mut self, to: u64, things: Vec<String>, why: &str) -> io::Result<()> {
        let from = self.next_seq();
        if to < from {
            return Ok(());
        }
        let note = Note::Gap { from, to, things, why: why.to_owned() };
        let entry = Entry { input: "log".to_owned(), at_ms: self.at_ms, ..Entry::default() };
        self.write(vec![(entry, Some(note))], to.saturating_add(1), self.epoch)
            .map(|_| ())
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// Writes a batch whose first line has this seq.
    fn write(
        &mut self,
        batch: Vec<(Entry, Option<Note>)>,
        first_seq: u64,
        epoch: u64,
    ) -> Result<Committed, AppendError> {
        let (mut text, mut lines) = (String::new(), Vec::with_capacity(batch.len()));
        let (mut at_ms, mut prev) = (self.at_ms, self.head_hash());
        for (seq, (entry, note)) in (first_seq..).zip(batch) {
            at_ms = at_ms.max(entry.at_ms);
            let place = Place { seq, batch: first_seq, at_ms, epoch, prev: &prev };
            let (line_text, line) = line::encode(entry, note, &place).map_err(AppendError::Unfit)?;
            text.push_str(&line_text);
            prev.clone_from(&line.hash);
            lines.push(line);
        }
        let Some(last) = lines.last() else { return Err(AppendError::Unfit("an empty batch".to_owned())) };
        if text.len() > BATCH_BYTES_MAX {
            return Err(AppendError::Unfit(format!(
                "a batch of {} bytes is longer than {BATCH_BYTES_MAX}",
                text.len()
            )));
        }
        let (last_seq, head_hash) = (last.seq, last.hash.clone());
        self.put(text.as_bytes())?;
        self.at_ms = at_ms;
        self.chain = Chain { last: Some((last_seq, head_hash.clone())) };
        Ok(Committed { first_seq, last_seq, head_hash, lines })
    }

    /// One write, one sync. After an error in the write the segment is as before, or the log says that it must not be
    /// used; after an error in the sync it always says so, because the system may have dropped what it could not write.
    fn put(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let path = segment::plain(self.active);
        if let Err(error) = self.disk.append(&path, bytes) {
            let undone = self.disk.truncate(&path, self.good_bytes).and_then(|()| self.disk.sync_data(&path));
            return Err(match undone {
                Ok(()) if is_full(&error) => {
                    let free = self.disk.free_bytes().map(|free| format!(" ({free} bytes free)")).unwrap_or_default();
                    AppendError::DiskFull(format!(
                        "the disk is full{free}: nothing can be recorded, so nothing is done"
                    ))
                }
                Ok(()) => self.give_up(format!("cannot write to {path}: {error}")),
                Err(undo) => self.give_up(format!("cannot write to {path}: {error}; nor cut it back: {undo}")),
            });
        }
        if let Err(error) = self.disk.sync_data(&path) {
            return Err(self.give_up(format!("cannot sync {path}: {error}")));
        }
        self.good_bytes += bytes.len() as u64;
        Ok(())
    }

    fn give_up(&mut self, why: String) -> AppendError {
        self.fatal = Some(why.clone());
        AppendError::Fatal(why)
    }

    fn head_hash(&self) -> String {
        self.chain.last.as_ref().map_or_else(|| NO_HASH.to_owned(), |(_, hash)| hash.clone())
    }

    /// The number of the segment being written: those below it are sealed.
    pub fn active_segment(&self) -> u32 {
        self.active
    }

    /// Bytes that can still be written, where that can be known.
    pub fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes()
    }

    /// Keeps a large thing beside the log and returns its name; safe when it returns, so before a line names it.
    pub fn put_blob(&mut self, bytes: &[u8]) -> io::Result<String> {
        blob::put(&mut *self.disk, bytes)
    }

    /// A large thing by its name.
    pub fn get_blob(&self, name: &str) -> io::Result<Vec<u8>> {
        blob::get(&*self.disk, name)
    }

    /// Every line, verbatim. Returns how many bytes that were.
    pub fn export(&self, to: &mut dyn Write) -> io::Result<u64> {
        let mut bytes = 0;
        for number in segment::numbers(&*self.disk)? {
            let limit = if number == self.active { self.good_bytes } else { u64::MAX };
            bytes += io::copy(&mut segment::read(&*self.disk, number, 0)?.take(limit), to)?;
        }
        to.flush()?;
        Ok(bytes)
    }

    /// Replaces the body of a line by who took it out and why, and by those facts and effects that may stay (the same
    /// ones with the secret blotted out, so that what follows from them still does). The chain verifies as before.
    pub fn redact(
        &mut self,
        seq: u64,
        redaction: &Redaction,
        facts: &[String],
        effects: &[String],
    ) -> Result<(), String> {
        line::check(&Entry { facts: facts.to_vec(), effects: effects.to_vec(), ..Entry::default() })?;
        let (number, piece) = self.find(seq).ok_or_else(|| format!("there is no line {seq}"))?;
        let parsed = piece.content.map_err(str::to_owned)?;
        if parsed.line.note.is_some() {
            return Err(format!("line {seq} is the log's own"));
        }
        let replaced = line::redacted(&piece.raw, parsed.body_at, redaction, facts, effects)?;
        let rest_at = piece.offset + piece.bytes;
        self.rewrite(number, piece.offset, &replaced, rest_at).map_err(|error| {
            let why = format!("cannot rewrite segment {number}: {error}");
            self.fatal = Some(why.clone());
            why
        })
    }

    fn find(&self, seq: u64) -> Option<(u32, scan::Piece)> {
        segment::numbers(&*self.disk).ok()?.into_iter().rev().find_map(|number| {
            let mut pieces = Pieces::new(segment::read(&*self.disk, number, 0).ok()?, 0);
            pieces
                .find(|piece| piece.content.as_ref().is_ok_and(|parsed| parsed.line.seq == seq))
                .map(|piece| (number, piece))
        })
    }

    /// Puts other bytes in the place of those from `from` to `rest_at`, in one step.
    fn rewrite(&mut self, number: u32, from: u64, bytes: &[u8], rest_at: u64) -> io::Result<()> {
        let (path, half) = (segment::plain(number), format!("{}.tmp", segment::plain(number)));
        if self.disk.len(&half).is_ok() {
            self.disk.remove(&half)?;
        }
        let mut before = segment::read(&*self.disk, number, 0)?.take(from);
        copy(&mut *self.disk, &mut before, &half)?;
        self.disk.append(&half, bytes)?;
        let mut rest = segment::read(&*self.disk, number, rest_at)?;
        copy(&mut *self.disk, &mut rest, &half)?;
        self.disk.sync_data(&half)?;
        let len = self.disk.len(&half)?;
        self.disk.rename(&half, &path)?;
        self.disk.sync_dir(segment::LOG_DIR)?;
        if self.disk.len(&segment::packed(number)).is_ok() {
            self.disk.remove(&segment::packed(number))?;
            self.disk.sync_dir(segment::LOG_DIR)?;
        }
        if number == self.active {
            self.good_bytes = len;
        }
        Ok(())
    }
}

/// Whose a segment is, as its first line says.
fn segment_id(disk: &dyn Disk, number: u32) -> Option<String> {
    let first = Pieces::new(segment::read(disk, number, 0).ok()?, 0).next()?;
    match first.content.ok()?.line.note {
        Some(Note::Began { id, .. } | Note::Segment { id, .. }) => Some(id),
        _ => None,
    }
}

fn copy(disk: &mut dyn Disk, from: &mut dyn Read, to: &str) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => disk.append(to, &buffer[..count])?,
        }
    }
}

impl Journal for Log {
    fn log_id(&self) -> &str {
        &self.id
    }

    fn head(&self) -> Head {
        let seq = self.chain.last.as_ref().map_or(0, |(seq, _)| *seq);
        Head { log_id: self.id.clone(), seq, hash: self.head_hash() }
    }

    fn next_seq(&self) -> u64 {
        self.chain.expected()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn append(&mut self, epoch: u64, batch: Vec<Entry>) -> Result<Committed, AppendError> {
        if let Some(why) = &self.fatal {
            return Err(AppendError::Fatal(why.clone()));
        }
        if epoch < self.epoch {
            return Err(AppendError::Fenced(self.epoch));
        }
        if batch.len() > BATCH_LINES_MAX {
            return Err(AppendError::Unfit(format!("a batch of {} decisions", batch.len())));
        }
        batch.iter().try_for_each(line::check).map_err(AppendError::Unfit)?;
        let batch = batch.into_iter().map(|entry| (entry, None)).collect();
        let committed = self.write(batch, self.next_seq(), epoch)?;
        self.epoch = epoch;
        if self.good_bytes >= self.segment_bytes
            && let Err(error) = self.seal()
            && !is_full(&error)
        {
            // The batch stands and is answered; the next one finds the log shut.
            self.fatal = Some(format!("cannot start a new segment: {error}"));
        }
        Ok(committed)
    }

    fn read_from(&self, seq: u64) -> Lines<'_> {
        Box::new(Reader::new(&*self.disk, seq, Some((self.active, self.good_bytes))))
    }
}
