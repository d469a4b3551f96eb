//! The two doors to storage: the journal, which is order and proof, and the views, which are quick and never trusted.
//!
//! Facts and effects pass as JSON objects in text, each with a key `on` that names the thing it is about (`inc/7`).
//! Nothing here knows what they mean. PostgreSQL will be another [`Journal`].

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most decisions that one batch may hold.
pub const BATCH_LINES_MAX: usize = 1000;
/// The most bytes that one batch may hold.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// The most bytes of one line. Larger things are files of their own, named by their hash.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// The longest name of a thing, in bytes.
pub const THING_BYTES_MAX: usize = 200;

/// A decision to be recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// When it was decided, in milliseconds since 1970. Recorded time never goes back: an earlier one is lifted.
    pub at_ms: i64,
    /// Whose it is.
    pub team: String,
    /// The id of the input that it answers.
    pub input: String,
    /// Whether a binary that does not know its kinds may pass over it.
    pub skip: bool,
    /// What has become true: JSON objects with a key `on`.
    pub facts: Vec<String>,
    /// What is to be done: JSON objects with a key `on`.
    pub effects: Vec<String>,
}

/// A decision as recorded. In an answer of [`Views::rows`], only the parts about the thing asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The version of the line's own form.
    pub v: u32,
    /// Its place in the log. Used once, never again.
    pub seq: u64,
    /// The seq of the first line of its batch: the batch's name.
    pub batch: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Whose it is.
    pub team: String,
    /// The number of the writer that wrote it; grows by one a start.
    pub epoch: u64,
    /// The id of the input that it answers.
    pub input: String,
    /// Whether a binary that does not know its kinds may pass over it.
    pub skip: bool,
    /// SHA-256 over its exact bytes, its body represented by its own hash; 64 hexadecimal digits.
    pub hash: String,
    /// What has become true.
    pub facts: Vec<String>,
    /// What is to be done.
    pub effects: Vec<String>,
    /// Set when its body was replaced.
    pub redacted: Option<Redaction>,
    /// Set when the log speaks about itself.
    pub note: Option<Note>,
}

/// Who took a body out of the record, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, as RFC 3339.
    pub at: String,
}

/// What the log says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The first line of a log.
    Began {
        /// The log's id.
        id: String,
        /// The end of the log that it follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Head>,
    },
    /// The first line of a later segment.
    Segment {
        /// The log's id.
        id: String,
        /// The segment's number.
        number: u32,
    },
    /// Numbers that may have been given to lines that are lost. They are not used again.
    Gap {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// Things that the lost lines were about, as far as is known: their numbers are used up too.
        #[serde(default)]
        things: Vec<String>,
        /// What happened.
        why: String,
    },
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The log's id.
    pub log_id: String,
    /// The last line's seq.
    pub seq: u64,
    /// The last line's hash.
    pub hash: String,
}

/// What a batch became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its first line's seq.
    pub first_seq: u64,
    /// Its last line's seq.
    pub last_seq: u64,
    /// Its last line's hash.
    pub head_hash: String,
    /// The lines as written, for the views.
    pub lines: Vec<Line>,
}

/// Why a batch was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another writer has taken over: this one must stop.
    #[error("another instance has taken over the log (its number is {0})")]
    Fenced(u64),
    /// The disk is full. Nothing of the batch stands and the log can still be used.
    #[error("{0}")]
    DiskFull(String),
    /// The batch breaks a limit or is not in form: our own mistake. Nothing of it stands.
    #[error("{0}")]
    Unfit(String),
    /// Whether the batch stands is not known. The caller must exit without answering; the next start finds out.
    #[error("{0}")]
    Fatal(String),
}

/// A place in the log that cannot be read. Its bytes are left as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub segment: String,
    /// Where in it, in bytes; in a compressed one, of its plain content.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The first seq that is missing.
    pub seq: u64,
    /// How many lines are missing, once the next good one tells.
    pub lines: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { segment, offset, bytes, seq, lines, why } = self;
        write!(f, "the log is damaged in {segment} at byte {offset} ({bytes} bytes), line {seq}")?;
        match lines {
            Some(lines) if *lines > 1 => write!(f, " to {}: {why}", seq.saturating_add(lines - 1)),
            _ => write!(f, ": {why}"),
        }
    }
}

/// What a reading of the whole log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines that verify.
    pub lines: u64,
    /// The first line's seq.
    pub first_seq: Option<u64>,
    /// The last line's seq.
    pub last_seq: Option<u64>,
    /// The last line's hash.
    pub head_hash: Option<String>,
    /// Lines whose body was taken out of the record.
    pub redacted: u64,
    /// Numbers known to be lost, from and to.
    pub gaps: Vec<(u64, u64)>,
    /// Places that cannot be read, at most [`DAMAGE_REPORTED_MAX`] of them.
    pub damage: Vec<Damage>,
}

/// The most damaged places that one report names.
pub const DAMAGE_REPORTED_MAX: usize = 100;

impl Report {
    /// Whether every line is there and verifies.
    pub fn whole(&self) -> bool {
        self.damage.is_empty() && self.gaps.is_empty()
    }
}

/// Lines, and the places between them that cannot be read.
pub type Lines<'a> = Box<dyn Iterator<Item = Result<Line, Damage>> + Send + 'a>;

/// The log: the order of everything that was decided, and its proof.
pub trait Journal: Send {
    /// The log's id.
    fn log_id(&self) -> &str;
    /// Its last line.
    fn head(&self) -> Head;
    /// The seq that the next line gets.
    fn next_seq(&self) -> u64;
    /// This writer's number.
    fn epoch(&self) -> u64;
    /// Records a batch: one write, one sync. When it returns `Ok`, the batch is true whatever happens next.
    fn append(&mut self, epoch: u64, batch: Vec<Entry>) -> Result<Committed, AppendError>;
    /// Every line from `seq` on. Goes on after damage.
    fn read_from(&self, seq: u64) -> Lines<'_>;
    /// Reads and checks everything.
    fn verify(&self) -> Report {
        report_on(self.read_from(0))
    }
}

/// Draws up what a reading found.
pub fn report_on(lines: Lines<'_>) -> Report {
    let mut report = Report::default();
    for line in lines {
        match line {
            Ok(line) => {
                report.lines += 1;
                report.first_seq.get_or_insert(line.seq);
                report.redacted += u64::from(line.redacted.is_some());
                if let Some(Note::Gap { from, to, .. }) = line.note {
                    report.gaps.push((from, to));
                }
                report.last_seq = Some(line.seq);
                report.head_hash = Some(line.hash);
            }
            Err(damage) if report.damage.len() < DAMAGE_REPORTED_MAX => report.damage.push(damage),
            Err(_) => {}
        }
    }
    report
}

/// Why the views did not answer. They can be lost without loss: everything is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewsError {
    /// There are none at the moment. Read the log instead.
    #[error("the bot runs without its database: {0}")]
    Off(String),
    /// They were found broken just now and set aside.
    #[error("the database was set aside{}: {why}", .aside.as_ref().map(|name| format!(" as {name}")).unwrap_or_default())]
    Broken {
        /// The name of the folder that holds what was there, when it could be renamed.
        aside: Option<String>,
        /// What was wrong.
        why: String,
    },
}

/// What is quick to ask: every thing's decisions, what is open, documents, and notes that are no facts.
pub trait Views: Send {
    /// The last line that they know; none when they are empty or off.
    fn head(&self) -> Option<Head>;

    /// Why they are off, when they are.
    fn off(&self) -> Option<String>;

    /// Takes in lines that are already in the journal, all or nothing; lines known already are passed over. `open` says
    /// which things are open from now on or no longer, `docs` replaces documents by name.
    fn apply(
        &mut self,
        lines: &[Line],
        head: &Head,
        open: &[(String, bool)],
        docs: &[(String, Vec<u8>)],
    ) -> Result<(), ViewsError>;

    /// Puts everything on the disk, and lets go of what they hold in memory and need not. Never needed for safety: call it when
    /// nothing else is to do.
    fn settle(&mut self) -> Result<(), ViewsError>;

    /// Whether they hold so much in memory that settling should not wait for long.
    fn hold_much(&self) -> bool {
        false
    }

    /// The names of what is open.
    fn open_things(&mut self) -> Result<Vec<String>, ViewsError>;

    /// A thing's decisions, oldest first, checked against the count and digest kept of them.
    fn rows(&mut self, thing: &str) -> Result<Vec<Line>, ViewsError>;

    /// Names of one kind (`inc`), the newest first, older than `before`, each with whether it is open.
    fn things(&mut self, kind: &str, before: Option<&str>, limit: usize) -> Result<Vec<(String, bool)>, ViewsError>;

    /// A document.
    fn doc(&mut self, name: &str) -> Result<Option<Vec<u8>>, ViewsError>;

    /// Keeps something that is no fact: a probe's window, a cursor. May be lost.
    fn put_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), ViewsError>;

    /// What was kept under a name.
    fn get_note(&mut self, name: &str) -> Result<Option<Vec<u8>>, ViewsError>;

    /// Sets what is there aside and starts empty, to be filled from the journal. Returns the name of the folder that
    /// was set aside.
    fn start_over(&mut self, why: &str) -> Result<Option<String>, ViewsError>;
}

/// The thing that a fact or an effect is about, from its key `on`.
pub fn on_of(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct On<'a> {
        #[serde(borrow)]
        on: Cow<'a, str>,
    }
    serde_json::from_str::<On<'_>>(json).ok().map(|found| found.on.into_owned())
}
