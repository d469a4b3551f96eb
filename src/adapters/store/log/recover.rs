//! What of a segment stands after a crash, and what is damage.
//!
//! A batch is answered only after its sync, and the next is written only after that. So bytes that do not verify may be
//! a torn write only when they belong to the very last batch: as soon as a line of a later batch verifies, they had
//! been synced and something else destroyed them. Torn bytes are cut, damage never is.
//!
//! Whole lines at the front of a torn batch are kept. Nobody was told that they stand, so both would be right, but a
//! decision that verifies is evidence, and its sender, asking again, gets this very answer. Pure: decides, does nothing.

use std::io::Read;

use super::line::{self, Parsed};
use super::scan::{Chain, Piece, Pieces, Tie};
use crate::ports::journal::{BATCH_BYTES_MAX, Damage};

/// What stands at the end of a segment.
#[derive(Default)]
pub(super) struct Tail {
    /// Its last line that stands.
    pub chain: Chain,
    /// Where that ends, in bytes.
    pub good_bytes: u64,
    /// Whether it lacks its line feed.
    pub unended: bool,
    /// The newest time in it, in milliseconds since 1970.
    pub at_ms: i64,
    /// The highest writer number in it.
    pub epoch: u64,
    /// Places that cannot be read and must stay.
    pub damage: Vec<Damage>,
    /// What is to be cut off behind `good_bytes`.
    pub cut: Option<Cut>,
    /// Bytes at the end that are no lines and too many to be a torn batch: nothing may be written behind them.
    pub unreadable_bytes: u64,
}

/// Bytes that are to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub bytes: u64,
    pub what: &'static str,
}

/// Something that does not verify, until a line of a later batch proves that it once did.
struct Suspect {
    offset: u64,
    bytes: u64,
    /// The seq of the last good line before it.
    after: Option<u64>,
    /// The seq of the first good line behind it.
    next: Option<u64>,
    why: &'static str,
    /// What stands if the log ends here.
    before: Standing,
}

#[derive(Clone, Default)]
struct Standing {
    chain: Chain,
    good_bytes: u64,
    unended: bool,
    at_ms: i64,
    epoch: u64,
}

struct Recovery<'a> {
    segment: &'a str,
    now: Standing,
    suspects: Vec<Suspect>,
    tail: Tail,
}

/// Reads a segment from byte `from` on, which must be the start of a line.
pub(super) fn tail(reader: impl Read, from: u64, segment: &str) -> Tail {
    let now = Standing { good_bytes: from, ..Standing::default() };
    let mut recovery = Recovery { segment, now, suspects: Vec::new(), tail: Tail::default() };
    let mut end = from;
    for piece in Pieces::new(reader, from) {
        end = piece.offset + piece.bytes;
        recovery.see(piece);
    }
    recovery.finish(end)
}

impl Recovery<'_> {
    fn see(&mut self, mut piece: Piece) {
        let mut rest = None;
        if piece.content.is_err() && !piece.ended {
            // A file made longer but not filled: the line before the zeros may be whole.
            let kept = piece.raw.len() - piece.raw.iter().rev().take_while(|byte| **byte == 0).count();
            if let Ok(parsed) = line::parse(&piece.raw[..kept]) {
                piece.content = Ok(parsed);
                rest = Some((piece.offset + kept as u64, piece.bytes - kept as u64));
                piece.bytes = kept as u64;
            }
        }
        match piece.content {
            Ok(ref parsed) => self.see_line(parsed, &piece),
            Err(why) => self.suspect(piece.offset, piece.bytes, why),
        }
        if let Some((offset, bytes)) = rest {
            self.suspect(offset, bytes, "it is filled with zeros");
        }
    }

    fn see_line(&mut self, parsed: &Parsed, piece: &Piece) {
        let line = &parsed.line;
        let tie = self.now.chain.tie(parsed);
        let suspected = self.suspects.last().is_some_and(|suspect| suspect.next.is_none());
        match tie {
            Tie::Repeat => return self.suspect(piece.offset, piece.bytes, "lines are there twice"),
            Tie::Breaks if !suspected => self.suspect(piece.offset, 0, "lines are missing, or it is of another log"),
            _ => {}
        }
        for suspect in self.suspects.iter_mut().rev().take_while(|suspect| suspect.next.is_none()) {
            suspect.next = Some(line.seq);
        }
        let proves = |suspect: &Suspect| match suspect.after {
            // The first line of a segment is a batch of its own.
            None => true,
            Some(after) => line.batch > after + 1 || (tie == Tie::Follows && line.seq == after + 1),
        };
        let proven = self.suspects.iter().take_while(|suspect| proves(suspect)).count();
        for suspect in self.suspects.drain(..proven).collect::<Vec<_>>() {
            self.damaged(&suspect);
        }
        self.now.chain.take(parsed);
        self.now.good_bytes = piece.offset + piece.bytes;
        self.now.unended = !piece.ended;
        self.now.at_ms = self.now.at_ms.max(line.at_ms);
        self.now.epoch = self.now.epoch.max(line.epoch);
    }

    fn suspect(&mut self, offset: u64, bytes: u64, why: &'static str) {
        let after = self.now.chain.last.as_ref().map(|(seq, _)| *seq);
        match self.suspects.last_mut() {
            Some(last) if last.after == after && last.next.is_none() => last.bytes = offset + bytes - last.offset,
            _ => self.suspects.push(Suspect { offset, bytes, after, next: None, why, before: self.now.clone() }),
        }
    }

    fn damaged(&mut self, suspect: &Suspect) {
        let seq = suspect.after.map_or(0, |after| after + 1);
        self.tail.damage.push(Damage {
            segment: self.segment.to_owned(),
            offset: suspect.offset,
            bytes: suspect.bytes,
            seq,
            lines: suspect.next.and_then(|next| next.checked_sub(seq)).filter(|lines| *lines > 0),
            why: suspect.why.to_owned(),
        });
    }

    fn finish(mut self, end: u64) -> Tail {
        if let Some(first) = self.suspects.first() {
            let bytes = end - first.offset;
            if bytes <= BATCH_BYTES_MAX as u64 {
                self.now = first.before.clone();
                self.tail.cut = Some(Cut { bytes: end - self.now.good_bytes, what: first.why });
            } else {
                // No batch is that long: this was synced once. Every whole line in it stays.
                for suspect in std::mem::take(&mut self.suspects) {
                    self.damaged(&suspect);
                }
                self.tail.unreadable_bytes = end - self.now.good_bytes;
                // What was written behind it could not be told from it.
                self.tail.unreadable_bytes = self.tail.unreadable_bytes.max(1);
            }
        }
        let Standing { chain, good_bytes, unended, at_ms, epoch } = self.now;
        Tail { chain, good_bytes, unended, at_ms, epoch, ..self.tail }
    }
}
