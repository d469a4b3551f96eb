//! The state folder as a whole: opening it, and what is done to it from outside.
//!
//! Owns the comparison of the log with sled: whoever disagrees with the log is set aside. Everything that it finds
//! comes back as a [`Finding`] for people; nothing in a file keeps the bot from starting.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::disk_fs::{FsDisk, make_private};
use super::lock::{Lock, Refused};
use super::log::{self, ImportError, Log, LogOptions, SEGMENT_BYTES, rfc3339, segment};
use super::views::{AHEAD, SledViews};
use crate::ports::journal::{
    AppendError, Committed, Damage, Entry, Head, Journal, Line, Lines, Redaction, Report, Views, ViewsError, report_on,
};

/// The mark of a folder that was imported and waits for `resume`.
const IMPORTED_FILE: &str = "imported.json";
/// How many lines are brought into the views at a time.
const BRING_LINES: usize = 1000;
/// How many times that may wait for the views.
const BRING_AHEAD: usize = 2;
/// The most lost things that are named in the log.
const LOST_THINGS_MAX: usize = 1000;

/// How a folder is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// At which length a segment is sealed, in bytes.
    pub segment_bytes: u64,
    /// Whether to use sled at all.
    pub sled: bool,
}

impl Options {
    /// As the bot runs.
    pub fn at(now_ms: i64) -> Self {
        Options { now_ms, segment_bytes: SEGMENT_BYTES, sled: true }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Something was wrong and has been put right without loss.
    Mended,
    /// Something that was on record is gone or cannot be read.
    Lost,
}

/// Something that people should hear about the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A sentence.
    pub text: String,
}

/// Where the state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// What is open comes from the views, then come the lines from `next` on (none when that is the log's next seq).
    Views {
        /// The first line that the views do not know.
        next: u64,
    },
    /// Everything comes from the log, from its first line; the views, when on, are empty and want the same lines.
    Log,
}

/// What an import left to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// When, as RFC 3339.
    pub at: String,
    /// The end of the log that was brought in.
    pub head: Head,
}

/// A folder that is open.
pub struct Opened {
    /// The log.
    pub journal: FileJournal,
    /// The views; possibly off.
    pub views: SledViews,
    /// Where the state comes from.
    pub base: Base,
    /// What people should hear.
    pub report: Vec<Finding>,
    /// Set while an import waits for [`resume`]: no effect may be done.
    pub paused: Option<Imported>,
}

/// Why a folder was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("the state folder is in use by {0}")]
    Held(String),
    /// The disk failed.
    #[error("cannot open the state folder: {0}")]
    Io(#[from] io::Error),
}

/// Opens a state folder, or makes one: locks it, recovers the log, and compares sled with it.
pub fn open(folder: &Path, options: &Options) -> Result<Opened, OpenError> {
    make(folder)?;
    let lock = Lock::take(folder, options.now_ms).map_err(|refused| match refused {
        Refused::Held(holder) => OpenError::Held(holder),
        Refused::Io(error) => OpenError::Io(error),
    })?;
    let mut report = Vec::new();
    let mut views = if options.sled {
        let (views, trouble) = SledViews::open(folder, options.now_ms);
        report.extend(trouble.map(mended));
        views
    } else {
        SledViews::none("it is turned off")
    };
    let known = views.head();
    let log_options = LogOptions {
        now_ms: options.now_ms,
        segment_bytes: options.segment_bytes,
        new_id: new_id(options.now_ms),
        after: known.clone(),
    };
    let (mut log, found) = Log::open(Box::new(FsDisk::new(folder)), &log_options)?;
    report.extend(found.cut.into_iter().map(mended));
    report.extend(found.damage.iter().map(|damage| lost(damage.to_string())));
    let base = match known {
        Some(known) => compare(&mut log, found.begun, &mut views, &known, &mut report)?,
        None => Base::Log,
    };
    let paused = fs::read(folder.join(IMPORTED_FILE)).ok().map(|json| {
        // A mark that cannot be read still pauses.
        let head = log.head();
        serde_json::from_slice(&json).unwrap_or(Imported { at: rfc3339(options.now_ms), head })
    });
    let mut journal =
        FileJournal { log, folder: folder.to_owned(), rewriting: Arc::default(), packing: None, _lock: lock };
    journal.pack();
    Ok(Opened { journal, views, base, report, paused })
}

/// Makes the folder, its own name safe on the disk as well.
fn make(folder: &Path) -> io::Result<()> {
    make_private(folder)?;
    match folder.canonicalize()?.parent() {
        Some(above) => File::open(above)?.sync_all(),
        None => Ok(()),
    }
}

/// Holds what sled remembers against the log.
fn compare(
    log: &mut Log,
    begun: bool,
    views: &mut SledViews,
    known: &Head,
    report: &mut Vec<Finding>,
) -> io::Result<Base> {
    let head = log.head();
    let aside = |views: &mut SledViews, why: &str| match views.start_over(why) {
        Ok(Some(name)) => format!("the database is now {name} and is made anew from the log"),
        Ok(None) => "the database is made anew from the log".to_owned(),
        Err(error) => error.to_string(),
    };
    if begun || known.log_id != head.log_id {
        let then = aside(views, if begun { AHEAD } else { "of-another-log" });
        let text = if begun {
            format!(
                "the log is gone: the database remembers it up to line {}. Numbers up to there are not used again; {then}",
                known.seq
            )
        } else {
            format!("the database belongs to another log ({}, not {}); {then}", known.log_id, head.log_id)
        };
        report.push(if begun { lost(text) } else { mended(text) });
        return Ok(Base::Log);
    }
    if known.seq > head.seq {
        let mut things = views.things_after(head.seq).unwrap_or_default();
        let more = things.len().saturating_sub(LOST_THINGS_MAX);
        things.truncate(LOST_THINGS_MAX);
        let named = if things.is_empty() { "unknown".to_owned() } else { things.join(", ") };
        let why = format!("the database knew the log up to line {}", known.seq);
        log.skip_to(known.seq, things, &why)?;
        let then = aside(views, AHEAD);
        report.push(lost(format!(
            "evidence was lost: the log ends at line {}, the database remembers line {}. Numbers up to there are not used \
             again; what the lost lines were about: {named}{}; {then}",
            head.seq,
            known.seq,
            if more > 0 { format!(" and {more} more") } else { String::new() },
        )));
        return Ok(Base::Log);
    }
    let there = if known.seq == head.seq {
        Some(head.hash)
    } else {
        let line = log.read_from(known.seq).find_map(Result::ok);
        line.filter(|line| line.seq == known.seq).map(|line| line.hash)
    };
    match there {
        Some(hash) if hash != known.hash => {
            let then = aside(views, "it differs from the log");
            report.push(mended(format!("line {} is another in the database than in the log; {then}", known.seq)));
            Ok(Base::Log)
        }
        Some(_) => Ok(Base::Views { next: known.seq + 1 }),
        None => {
            let text =
                format!("line {} cannot be read in the log, so the database could not be held against it", known.seq);
            report.push(lost(text));
            Ok(Base::Views { next: known.seq + 1 })
        }
    }
}

/// What a line changes in the views beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    /// Things that are open from now on, or no longer.
    pub open: Vec<(String, bool)>,
    /// Documents replaced.
    pub docs: Vec<(String, Vec<u8>)>,
}

/// What becomes of the lines that are brought forward.
pub trait Fold {
    /// Takes a line in.
    fn line(&mut self, line: &Line) -> Brought;

    /// Documents as they are after the newest line. Asked for once a batch, and taken in with it: a database that was killed
    /// on the way must never hold lines that its documents do not know of.
    fn docs(&mut self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }
}

impl<F: FnMut(&Line) -> Brought> Fold for F {
    fn line(&mut self, line: &Line) -> Brought {
        self(line)
    }
}

/// Reads the log from a line on, shows every line to `fold`, and takes it into the views when they are on: on a thread of
/// their own, since a database that is made anew costs as much as reading the log does. Goes on without views when they
/// fail on the way. Returns the damage met and what became of the views.
pub fn bring_forward(
    journal: &dyn Journal,
    views: &mut dyn Views,
    from: u64,
    fold: &mut dyn Fold,
) -> (Vec<Damage>, Result<(), ViewsError>) {
    let log_id = journal.log_id().to_owned();
    if views.off().is_some() {
        return (read_all(journal, from, fold, None), Ok(()));
    }
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<(Vec<Line>, Brought)>(BRING_AHEAD);
        let taking = scope.spawn(move || {
            // When this ends early, the reader notices that nobody takes any more.
            for (lines, Brought { open, docs }) in receiver {
                let Some(last) = lines.last() else { continue };
                let head = Head { log_id: log_id.clone(), seq: last.seq, hash: last.hash.clone() };
                views.apply(&lines, &head, &open, &docs)?;
            }
            views.settle()
        });
        let damage = read_all(journal, from, fold, Some(sender));
        // A panic in sled is a sentence already; another one is ours and goes on.
        let brought = taking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (damage, brought)
    })
}

fn read_all(
    journal: &dyn Journal,
    from: u64,
    fold: &mut dyn Fold,
    mut to: Option<mpsc::SyncSender<(Vec<Line>, Brought)>>,
) -> Vec<Damage> {
    let mut damage = Vec::new();
    let (mut lines, mut brought) = (Vec::new(), Brought::default());
    for line in journal.read_from(from) {
        match line {
            Ok(line) => {
                let more = fold.line(&line);
                let Some(sender) = &to else { continue };
                brought.open.extend(more.open);
                brought.docs.extend(more.docs);
                lines.push(line);
                if lines.len() >= BRING_LINES {
                    brought.docs.extend(fold.docs());
                    if sender.send((std::mem::take(&mut lines), std::mem::take(&mut brought))).is_err() {
                        to = None;
                    }
                }
            }
            Err(found) => damage.push(found),
        }
    }
    if let Some(sender) = to {
        brought.docs.extend(fold.docs());
        let _nobody_takes_it = sender.send((lines, brought));
    }
    damage
}

/// Reads a folder's log from outside, whether or not a bot runs on it. The disk is that of the folder.
pub fn read_from(disk: &FsDisk, seq: u64) -> Lines<'_> {
    log::read_folder(disk, seq)
}

/// Verifies all of a folder's log from outside, whether or not a bot runs on it.
pub fn verify(folder: &Path) -> Report {
    report_on(log::read_folder(&FsDisk::new(folder), 0))
}

/// Brings an export into a new folder, verified, byte for byte. It starts paused, until [`resume`].
pub fn import(folder: &Path, from: &mut dyn Read, accept_damage: bool, now_ms: i64) -> Result<Head, ImportError> {
    make(folder)?;
    let _lock = Lock::take(folder, now_ms).map_err(|refused| match refused {
        Refused::Held(_) => ImportError::Occupied,
        Refused::Io(error) => ImportError::Io(error),
    })?;
    let mut disk = FsDisk::new(folder);
    if !segment::is_empty(&disk)? {
        return Err(ImportError::Occupied);
    }
    // The mark first: a crash in between must not leave a log that acts.
    let mark = |head: &Head| -> io::Result<()> {
        let imported = Imported { at: rfc3339(now_ms), head: head.clone() };
        let json = serde_json::to_vec(&imported).map_err(io::Error::other)?;
        let mut file = File::create(folder.join(IMPORTED_FILE))?;
        file.write_all(&json)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    };
    mark(&Head { log_id: String::new(), seq: 0, hash: String::new() })?;
    match log::import(&mut disk, from, accept_damage) {
        Ok(head) => {
            mark(&head)?;
            Ok(head)
        }
        Err(error) => {
            fs::remove_file(folder.join(IMPORTED_FILE))?;
            Err(error)
        }
    }
}

/// Lets an imported folder act from now on.
pub fn resume(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(IMPORTED_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

/// The log of a locked folder.
pub struct FileJournal {
    log: Log,
    folder: PathBuf,
    /// Held by whoever replaces a sealed segment: compression or a redaction.
    rewriting: Arc<Mutex<()>>,
    packing: Option<JoinHandle<()>>,
    _lock: Lock,
}

impl FileJournal {
    /// Every line, verbatim. Returns how many bytes that were.
    pub fn export(&self, to: &mut dyn Write) -> io::Result<u64> {
        let _held = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        self.log.export(to)
    }

    /// Keeps a large thing and returns its name; safe when it returns, so before a line names it.
    pub fn put_blob(&mut self, bytes: &[u8]) -> io::Result<String> {
        self.log.put_blob(bytes)
    }

    /// A large thing by its name; an error when it is damaged.
    pub fn get_blob(&self, name: &str) -> io::Result<Vec<u8>> {
        self.log.get_blob(name)
    }

    /// Bytes that can still be written, where that can be known. Asks another program: not in a hot path.
    pub fn free_bytes(&self) -> Option<u64> {
        self.log.free_bytes()
    }

    /// Takes a line's body out of the record, keeping the facts and effects given (the same ones with the secret blotted
    /// out). The database, and every one set aside, is removed with all its old pages and starts empty: fill it by
    /// [`bring_forward`]. The caller records who redacted what as a decision of its own.
    pub fn redact(
        &mut self,
        views: &mut SledViews,
        seq: u64,
        redaction: &Redaction,
        facts: &[String],
        effects: &[String],
    ) -> Result<(), String> {
        let rewriting = Arc::clone(&self.rewriting);
        let _held = rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        self.log.redact(seq, redaction, facts, effects)?;
        views.forget().map_err(|error| format!("the log is redacted, the database is still there: {error}"))?;
        let _off_is_no_loss = views.start_over("redacted");
        Ok(())
    }

    /// Compresses sealed segments but the newest, on a thread of its own.
    fn pack(&mut self) {
        if self.packing.as_ref().is_some_and(|packing| !packing.is_finished()) {
            return;
        }
        // The newest sealed one stays plain: a start looks for the last inputs in it, and only a plain one can be searched.
        let newest = self.log.active_segment().saturating_sub(1);
        let (folder, rewriting) = (self.folder.clone(), Arc::clone(&self.rewriting));
        if !segment::has_plain_below(&FsDisk::new(&folder), newest) {
            return;
        }
        let packing = std::thread::Builder::new().name("log-pack".to_owned()).spawn(move || {
            let _held = rewriting.lock().unwrap_or_else(PoisonError::into_inner);
            // What fails (a full disk) stays plain, which is as good, and is tried again at the next start.
            let _stays_plain = segment::pack_sealed(&mut FsDisk::new(&folder), newest);
        });
        self.packing = packing.ok();
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        if let Some(packing) = self.packing.take() {
            let _ended = packing.join();
        }
    }
}

impl Journal for FileJournal {
    fn log_id(&self) -> &str {
        self.log.log_id()
    }

    fn head(&self) -> Head {
        self.log.head()
    }

    fn next_seq(&self) -> u64 {
        self.log.next_seq()
    }

    fn epoch(&self) -> u64 {
        self.log.epoch()
    }

    fn append(&mut self, epoch: u64, batch: Vec<Entry>) -> Result<Committed, AppendError> {
        let segment = self.log.active_segment();
        let committed = self.log.append(epoch, batch)?;
        if self.log.active_segment() != segment {
            self.pack();
        }
        Ok(committed)
    }

    fn read_from(&self, seq: u64) -> Lines<'_> {
        self.log.read_from(seq)
    }
}

/// An id that no other log has.
fn new_id(now_ms: i64) -> String {
    let random = [0; 2].map(|_: i32| RandomState::new().hash_one((now_ms, std::process::id())));
    format!("{:016x}{:016x}", random[0], random[1])
}

fn mended(text: String) -> Finding {
    Finding { severity: Severity::Mended, text }
}

fn lost(text: String) -> Finding {
    Finding { severity: Severity::Lost, text }
}
