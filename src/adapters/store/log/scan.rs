//! Reads bytes as lines that verify, and as stretches that do not. Never fails, never panics, never holds more than a line.
//!
//! The one reader behind recovery, reading, verification and import, so that they cannot disagree on what a line is.

use std::io::{BufRead, BufReader, Read};

use super::line::{self, Parsed};
use crate::ports::journal::{LINE_BYTES_MAX, Note};

const READ_BYTES: usize = 64 << 10;

/// A stretch of a segment.
pub(super) struct Piece {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Its length, its line feed included.
    pub bytes: u64,
    /// Whether a line feed ends it.
    pub ended: bool,
    /// Its bytes without the line feed; of a stretch longer than any line, only the first.
    pub raw: Vec<u8>,
    /// The line that it is, or what is wrong.
    pub content: Result<Parsed, &'static str>,
}

/// The pieces of a reader.
pub(super) struct Pieces<R> {
    reader: BufReader<R>,
    offset: u64,
    over: bool,
}

impl<R: Read> Pieces<R> {
    pub(super) fn new(reader: R, offset: u64) -> Self {
        Pieces { reader: BufReader::with_capacity(READ_BYTES, reader), offset, over: false }
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        let offset = self.offset;
        let mut raw = Vec::new();
        let read = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut raw);
        self.offset += raw.len() as u64;
        if read.is_err() {
            // A sector that the drive cannot read, or a broken compressed file: what follows cannot be reached.
            self.over = true;
            let bytes = raw.len() as u64;
            return Some(Piece { offset, bytes, ended: false, raw, content: Err("the disk does not give it back") });
        }
        if raw.is_empty() {
            self.over = true;
            return None;
        }
        let ended = raw.last() == Some(&b'\n');
        if !ended && raw.len() > LINE_BYTES_MAX {
            let (skipped, ended) = self.skip_line();
            self.offset += skipped;
            let bytes = raw.len() as u64 + skipped;
            return Some(Piece { offset, bytes, ended, raw, content: Err("it is longer than any line") });
        }
        let bytes = raw.len() as u64;
        if ended {
            raw.pop();
        }
        let content = line::parse(&raw);
        Some(Piece { offset, bytes, ended, raw, content })
    }
}

impl<R: Read> Pieces<R> {
    /// Goes past the next line feed; says how far that was and whether there was one.
    fn skip_line(&mut self) -> (u64, bool) {
        let mut skipped = 0;
        loop {
            let Ok(buffer) = self.reader.fill_buf() else { return (skipped, false) };
            if buffer.is_empty() {
                return (skipped, false);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let count = end.unwrap_or(buffer.len());
            self.reader.consume(count);
            skipped += count as u64;
            if end.is_some() {
                return (skipped, true);
            }
        }
    }
}

/// The last good line, to which the next one must be tied.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub last: Option<(u64, String)>,
}

/// How a line that verifies by itself stands to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    /// It follows.
    Follows,
    /// Nothing before it is known.
    First,
    /// It was there already.
    Repeat,
    /// Lines are missing between, or it belongs to another chain.
    Breaks,
}

impl Chain {
    /// Looks at a line without taking it in.
    pub(super) fn tie(&self, parsed: &Parsed) -> Tie {
        let Some((seq, hash)) = &self.last else { return Tie::First };
        let line = &parsed.line;
        // The one jump that is allowed is the note that says from where to where, written over the same chain.
        let jumps = match line.note {
            Some(Note::Gap { from, to, .. }) => from == seq + 1 && to.checked_add(1) == Some(line.seq),
            _ => false,
        };
        if line.seq <= *seq {
            Tie::Repeat
        } else if parsed.prev == *hash && (line.seq == seq + 1 || jumps) {
            Tie::Follows
        } else {
            Tie::Breaks
        }
    }

    /// Takes a line in.
    pub(super) fn take(&mut self, parsed: &Parsed) {
        self.last = Some((parsed.line.seq, parsed.line.hash.clone()));
    }

    /// The seq that the next line should have.
    pub(super) fn expected(&self) -> u64 {
        self.last.as_ref().map_or(0, |(seq, _)| seq.saturating_add(1))
    }
}
