//! Log lines: what one is, what is asked of them, what was found.
//!
//! Pure. A line is no fact: it is read when somebody asks, and never goes on record. Its text is masked (`mask`) before anything
//! looks at it, words that are searched for included, so that nobody can find out a secret by asking whether it is there.
//! Moments of lines are the host's, in nanoseconds, because the host pages by them; what people see is moved onto promise time.

pub mod filter;
pub mod follow;
pub mod mask;
pub mod reading;

use chrono::{DateTime, TimeDelta, Utc};

pub use filter::{Filter, SLOW_MS, WAKE_SLOW_MS};

/// Services that one question is about, at most.
pub const SERVICES_MAX: usize = 5;
/// Lines of one page in a chat.
pub const PAGE_LINES_MAX: usize = 15;
/// Characters of the words that are searched for.
pub const CONTAINS_CHARS_MAX: u16 = 40;
/// How far back a question goes that names no span.
pub const SINCE: TimeDelta = TimeDelta::hours(1);
/// How long the host keeps lines (field notes: about seven days); nobody asks for older ones.
pub const KEPT: TimeDelta = TimeDelta::days(7);
/// The longest line that is kept of what the host says, in bytes.
pub const LINE_BYTES_MAX: usize = 16 << 10;

/// A line of an app's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The host's name for it; tells lines of one moment apart.
    pub id: String,
    /// The service that it is of, by its name in the set-up.
    pub service: String,
    /// When, by the host's clock, in nanoseconds since 1970.
    pub at_ns: i64,
    /// `info`, `error` and so on; as the host has it.
    pub level: String,
    /// Who says it: `app`, `runner`, `proxy`, `health` …
    pub provider: String,
    /// The region; empty when not said.
    pub region: String,
    /// The machine; empty when not said.
    pub machine: String,
    /// What it says, on one line, without colours.
    pub message: String,
    /// The status that a request was answered with, where the line is about one.
    pub status: Option<u16>,
    /// The host's code of an error; empty when there is none.
    pub code: String,
    /// Secrets that were taken out of it.
    pub masked: usize,
}

impl Line {
    /// The line as it may be shown: one line, no control characters, no colours, no secrets, not longer than it may be.
    #[must_use]
    pub fn shown(mut self, service: &str) -> Self {
        let (message, masked) = mask::mask(&plain(&self.message));
        let end = message.floor_char_boundary(LINE_BYTES_MAX);
        self.message = message;
        // After masking: half a secret is still most of one.
        if end < self.message.len() {
            self.message.truncate(end);
            self.message.push('…');
        }
        self.masked = masked;
        self.service = service.to_owned();
        self
    }
}

/// The text on one line: colours of a terminal and other control characters are left out, ends of lines become a sign.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.trim_end().chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                while letters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
            '\n' => out.push_str(" ⏎ "),
            '\t' => out.push(' '),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

/// One app whose log is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The service, by its name in the set-up.
    pub service: String,
    /// Its app at the host.
    pub app: String,
    /// What takes as long is slow, in ms.
    pub slow_ms: u32,
}

/// Which part of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The newest of so long a time.
    Last(TimeDelta),
    /// The newest before this moment, in nanoseconds.
    Before(i64),
    /// The oldest after this moment, in nanoseconds.
    After(i64),
}

/// A question about logs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Of which apps; at most [`SERVICES_MAX`].
    pub of: Vec<Source>,
    /// Which lines.
    pub filter: Filter,
    /// Only those with these words.
    pub contains: Option<String>,
    /// Which part.
    pub reach: Reach,
    /// So many lines at most.
    pub lines: usize,
}

/// What of one source's lines is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sieve {
    source: Source,
    filter: Filter,
    contains: Option<String>,
}

impl Sieve {
    /// For one source of a question.
    pub fn new(source: &Source, filter: Filter, contains: Option<&str>) -> Self {
        Self { source: source.clone(), filter, contains: contains.map(str::to_lowercase) }
    }

    /// The line as it may be shown, when it is wanted.
    pub fn take(&self, line: Line) -> Option<Line> {
        let line = line.shown(&self.source.service);
        let has_words = |words: &String| line.message.to_lowercase().contains(words.as_str());
        (self.contains.as_ref().is_none_or(has_words) && self.filter.takes(&line, self.source.slow_ms)).then_some(line)
    }
}

/// Where the host's list of an app's lines is read on from: its own token, and the lines that it may give once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The host's `next_token`.
    pub token: String,
    /// Names of lines that were read already; at most [`SEEN_MAX`].
    pub seen: Vec<String>,
}

/// Names of lines that a cursor remembers.
pub const SEEN_MAX: usize = 200;

impl std::fmt::Display for Cursor {
    /// As it is kept: the token and the names, joined by spaces.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.token)?;
        self.seen.iter().try_for_each(|id| write!(f, " {id}"))
    }
}

impl std::str::FromStr for Cursor {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace().map(str::to_owned);
        Ok(Self { token: words.next().unwrap_or_default(), seen: words.take(SEEN_MAX).collect() })
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The newest lines that the host gives by itself.
    Newest,
    /// What came after this moment, in nanoseconds.
    After(i64),
    /// What follows a page.
    Next(Cursor),
}

/// A page of the host's list, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Its lines.
    pub lines: Vec<Line>,
    /// Where the next begins.
    pub next: Cursor,
}

/// Why there are no lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no token to look with.
    NoToken,
    /// The host does not say; a sentence.
    Silent(String),
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The lines, masked, oldest first.
    pub lines: Vec<Line>,
    /// Everything from here on was looked at, in nanoseconds.
    pub from_ns: i64,
    /// Everything up to here was looked at, in nanoseconds.
    pub until_ns: i64,
    /// Whether nothing more is wanted in that direction: all of the span was read.
    pub is_whole: bool,
    /// Lines looked at.
    pub read: usize,
    /// Services whose lines could not be read, and why.
    pub silent: Vec<(String, String)>,
    /// How far promise time is ahead of the host's clock.
    pub ahead: TimeDelta,
}

impl Found {
    /// A moment of the host's as people see it.
    pub fn shown_at(&self, at_ns: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(at_ns) + self.ahead
    }
}

/// A span of time as it is typed: `30m`, `2h`, `1h 30m`. At most [`KEPT`].
///
/// # Errors
/// A sentence.
pub fn since(typed: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("“{}” is no span of time: write 30m, 2h or 1d.", typed.trim());
    let span = humantime::parse_duration(typed.trim()).map_err(|_| wrong())?;
    match TimeDelta::from_std(span) {
        Ok(span) if span > KEPT => {
            Err(format!("“{}” is too long: Fly keeps logs for about {} days.", typed.trim(), KEPT.num_days()))
        }
        Ok(span) if span > TimeDelta::zero() => Ok(span),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_on_one_line_without_colours_or_secrets() {
        let line = Line { message: "\u{1b}[31mboom\u{1b}[0m\tpassword=abc\nat x\r\n".to_owned(), ..Line::default() };
        let shown = line.shown("shop");
        assert_eq!(
            (shown.message.as_str(), shown.masked, shown.service.as_str()),
            ("boom password=… ⏎ at x", 1, "shop")
        );
        let long = Line { message: "ä".repeat(LINE_BYTES_MAX), ..Line::default() }.shown("shop");
        assert!(long.message.len() <= LINE_BYTES_MAX + 3 && long.message.ends_with('…'));
    }

    #[test]
    fn nobody_finds_a_secret_by_searching_for_it() {
        let source = Source { service: "shop".to_owned(), app: "shop".to_owned(), slow_ms: SLOW_MS };
        let line = Line { message: "token=abc123 used".to_owned(), ..Line::default() };
        let sieve = |words| Sieve::new(&source, Filter::All, Some(words));
        assert_eq!(sieve("abc123").take(line.clone()), None);
        assert!(sieve("USED").take(line).is_some());
    }

    #[test]
    fn a_cursor_is_kept_as_words() {
        let cursor = Cursor { token: "17".to_owned(), seen: vec!["a".to_owned(), "b".to_owned()] };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("".parse(), Ok(Cursor::default()));
    }

    #[test]
    fn a_span_is_read_as_people_write_it() {
        assert_eq!(since("1h 30m"), Ok(TimeDelta::minutes(90)));
        assert_eq!(since("7d"), Ok(KEPT));
        for wrong in ["", "0s", "yesterday", "8d", "1y", "-1h"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
