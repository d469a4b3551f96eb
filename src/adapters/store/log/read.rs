//! Reading the segments one after the other, going on behind whatever cannot be read.

use std::io::Read;

use super::scan::{Chain, Piece, Pieces, Tie};
use super::segment;
use crate::ports::disk::Disk;
use crate::ports::journal::{Damage, Line, Lines, Note};

/// How near to a line a search ends, in bytes.
const SEEK_BYTES: u64 = 256 << 10;

/// Reads a log that somebody else may be writing: a last line without its end is no damage, it is being written.
pub fn read_folder(disk: &dyn Disk, seq: u64) -> Lines<'_> {
    Box::new(Reader::new(disk, seq, None))
}

/// The lines from a seq on.
pub(super) struct Reader<'a> {
    disk: &'a dyn Disk,
    from: u64,
    /// The segment being written and how much of it stands, when the reader is its writer.
    active: Option<(u32, u64)>,
    numbers: Vec<u32>,
    at: usize,
    pieces: Option<Pieces<Box<dyn Read + Send>>>,
    /// Where in the first segment to start, in bytes.
    skip_bytes: u64,
    chain: Chain,
    log_id: Option<String>,
    run: Option<Damage>,
    ready: Option<Line>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(disk: &'a dyn Disk, from: u64, active: Option<(u32, u64)>) -> Self {
        let numbers = segment::numbers(disk).unwrap_or_default();
        let at = start(disk, &numbers, from);
        let skip_bytes = numbers.get(at).map_or(0, |number| seek(disk, *number, from));
        let chain = Chain::default();
        Reader {
            disk,
            from,
            active,
            numbers,
            at,
            pieces: None,
            skip_bytes,
            chain,
            log_id: None,
            run: None,
            ready: None,
        }
    }

    fn number(&self) -> u32 {
        self.numbers.get(self.at).copied().unwrap_or_default()
    }

    fn newest(&self) -> bool {
        self.at + 1 >= self.numbers.len()
    }

    /// The next piece of any segment.
    fn piece(&mut self) -> Option<Piece> {
        loop {
            if let Some(pieces) = &mut self.pieces {
                if let Some(piece) = pieces.next() {
                    return Some(piece);
                }
                self.pieces = None;
                self.at += 1;
            }
            let number = *self.numbers.get(self.at)?;
            if let Some(before) = self.at.checked_sub(1).and_then(|at| self.numbers.get(at))
                && number != before + 1
                && self.chain.last.is_some()
            {
                self.damaged(&segment::plain(before + 1), 0, 0, "the file is missing");
            }
            let skip = std::mem::take(&mut self.skip_bytes);
            match segment::read(self.disk, number, skip) {
                Ok(reader) => {
                    let end = self.active.filter(|(active, _)| *active == number).map_or(u64::MAX, |(_, len)| len);
                    let reader: Box<dyn Read + Send> = Box::new(reader.take(end.saturating_sub(skip)));
                    self.pieces = Some(Pieces::new(reader, skip));
                }
                Err(error) => {
                    self.damaged(&segment::plain(number), 0, 0, &format!("the file cannot be read: {error}"));
                    self.at += 1;
                }
            }
        }
    }

    fn damaged(&mut self, segment: &str, offset: u64, bytes: u64, why: &str) {
        match &mut self.run {
            Some(run) if run.segment == segment => run.bytes = offset + bytes - run.offset,
            Some(_) => {}
            none => {
                let (segment, why, seq) = (segment.to_owned(), why.to_owned(), self.chain.expected());
                *none = Some(Damage { segment, offset, bytes, seq, lines: None, why });
            }
        }
    }

    /// Takes a piece in; a line comes out when it is wanted.
    fn see(&mut self, piece: Piece) -> Option<Line> {
        let name = segment::plain(self.number());
        match piece.content {
            Ok(parsed) => {
                match self.chain.tie(&parsed) {
                    Tie::Repeat => {
                        self.damaged(&name, piece.offset, piece.bytes, "lines are there twice");
                        return None;
                    }
                    Tie::Breaks if self.run.is_none() => {
                        self.damaged(&name, piece.offset, 0, "lines are missing, or it is of another log");
                    }
                    _ => {}
                }
                if let Some(Note::Began { id, .. } | Note::Segment { id, .. }) = &parsed.line.note
                    && self.log_id.get_or_insert_with(|| id.clone()) != id
                {
                    self.damaged(&name, piece.offset, 0, "it is of another log");
                }
                self.chain.take(&parsed);
                Some(parsed.line)
            }
            Err(_) if !piece.ended && self.newest() && self.active.is_none() => None,
            Err(why) => {
                self.damaged(&name, piece.offset, piece.bytes, why);
                None
            }
        }
    }

    /// The damage before a line, if somebody who reads from `from` on should hear of it.
    fn passed(&mut self, line: Option<&Line>) -> Option<Damage> {
        let mut run = self.run.take()?;
        run.lines = line.and_then(|line| line.seq.checked_sub(run.seq)).filter(|lines| *lines > 0);
        let end = line.map_or(u64::MAX, |line| line.seq);
        (end > self.from).then_some(run)
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Line, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(line) = self.ready.take() {
            return Some(Ok(line));
        }
        while let Some(piece) = self.piece() {
            let Some(line) = self.see(piece) else { continue };
            let damage = self.passed(Some(&line));
            let wanted = line.seq >= self.from;
            match (damage, wanted) {
                (Some(damage), true) => {
                    self.ready = Some(line);
                    return Some(Err(damage));
                }
                (Some(damage), false) => return Some(Err(damage)),
                (None, true) => return Some(Ok(line)),
                (None, false) => {}
            }
        }
        self.passed(None).map(Err)
    }
}

/// Near enough a line in a plain segment, by halving: the start of a line at or before it. What cannot be read on the
/// way is taken for later, so that the answer is never too far.
fn seek(disk: &dyn Disk, number: u32, from: u64) -> u64 {
    let (mut low, mut high) = (0, disk.len(&segment::plain(number)).unwrap_or(0));
    while from > 0 && high.saturating_sub(low) > SEEK_BYTES {
        let middle = low + (high - low) / 2;
        let line = segment::read(disk, number, middle).ok().and_then(|reader| Pieces::new(reader, middle).nth(1));
        match line {
            Some(piece) if piece.content.as_ref().is_ok_and(|parsed| parsed.line.seq <= from) => low = piece.offset,
            _ => high = middle,
        }
    }
    low
}

/// The seq of a segment's first line.
fn first_seq(disk: &dyn Disk, number: u32) -> Option<u64> {
    let piece = Pieces::new(segment::read(disk, number, 0).ok()?, 0).next()?;
    piece.content.ok().map(|parsed| parsed.line.seq)
}

/// Where to start: the last segment that begins at or before the seq.
fn start(disk: &dyn Disk, numbers: &[u32], from: u64) -> usize {
    if from == 0 {
        return 0;
    }
    (0..numbers.len()).rev().find(|at| first_seq(disk, numbers[*at]).is_some_and(|first| first <= from)).unwrap_or(0)
}
