//! Bringing in an export: everything is verified, and the lines are kept byte for byte.

use std::io::{self, Read};

use super::scan::{Chain, Pieces, Tie};
use super::segment;
use crate::ports::disk::Disk;
use crate::ports::journal::{Damage, Head, Note};

/// How much is written at a time, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// Why an export was not brought in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is a log in the folder already.
    #[error("there is a log already; import into a new folder")]
    Occupied,
    /// It does not verify.
    #[error("the export does not verify, so nothing was kept: {0}")]
    Damaged(Damage),
    /// It holds no line.
    #[error("the export holds no line")]
    Empty,
    /// The disk or the source failed.
    #[error("cannot import: {0}")]
    Io(#[from] io::Error),
}

/// Writes an export into a folder that has no log, and returns the head that it ends with: compare that with a digest
/// that people have, since an export that was cut off at the end of a line looks whole. With `accept_damage` stretches
/// that do not verify are kept as they are, as they would be in the log.
pub fn import(disk: &mut dyn Disk, from: &mut dyn Read, accept_damage: bool) -> Result<Head, ImportError> {
    if !segment::numbers(disk)?.is_empty() {
        return Err(ImportError::Occupied);
    }
    disk.create_dir(segment::LOG_DIR)?;
    let result = copy(disk, from, accept_damage);
    if result.is_err() {
        for number in segment::numbers(disk)? {
            disk.remove(&segment::plain(number))?;
        }
    }
    disk.sync_dir(segment::LOG_DIR)?;
    disk.sync_dir("")?;
    result
}

fn copy(disk: &mut dyn Disk, from: &mut dyn Read, accept_damage: bool) -> Result<Head, ImportError> {
    let (mut chain, mut number, mut waiting) = (Chain::default(), 0, Vec::new());
    let mut log_id: Option<String> = None;
    for piece in Pieces::new(from, 0) {
        let mut trouble = None;
        match &piece.content {
            Ok(parsed) => {
                let opens = matches!(parsed.line.note, Some(Note::Began { .. } | Note::Segment { .. }));
                if opens {
                    flush(disk, number, &mut waiting, true)?;
                    number += 1;
                }
                if let Some(Note::Began { id, .. } | Note::Segment { id, .. }) = &parsed.line.note {
                    let of_another = log_id.get_or_insert_with(|| id.clone()) != id;
                    trouble = of_another.then_some("it is of another log");
                }
                match chain.tie(parsed) {
                    Tie::First if !opens => trouble = Some("it does not start with the first line of a log"),
                    Tie::First | Tie::Follows => {}
                    Tie::Repeat => trouble = Some("lines are there twice"),
                    Tie::Breaks => trouble = Some("lines are missing, or it is of another log"),
                }
                if !matches!(chain.tie(parsed), Tie::Repeat) {
                    chain.take(parsed);
                }
            }
            Err(why) => trouble = Some(why),
        }
        if !piece.ended {
            trouble = trouble.or(Some("it ends in the middle of a line"));
        }
        let complete = piece.raw.len() as u64 + u64::from(piece.ended) == piece.bytes;
        if let Some(why) = trouble.filter(|_| !accept_damage || !complete) {
            let (offset, bytes, seq) = (piece.offset, piece.bytes, chain.expected());
            let segment = "the export".to_owned();
            return Err(ImportError::Damaged(Damage { segment, offset, bytes, seq, lines: None, why: why.to_owned() }));
        }
        number = number.max(1);
        waiting.extend_from_slice(&piece.raw);
        if piece.ended {
            waiting.push(b'\n');
        }
        if waiting.len() >= WRITE_BYTES {
            flush(disk, number, &mut waiting, false)?;
        }
    }
    flush(disk, number, &mut waiting, true)?;
    let (seq, hash) = chain.last.ok_or(ImportError::Empty)?;
    Ok(Head { log_id: log_id.unwrap_or_default(), seq, hash })
}

fn flush(disk: &mut dyn Disk, number: u32, waiting: &mut Vec<u8>, sync: bool) -> io::Result<()> {
    if number == 0 {
        return Ok(());
    }
    let path = segment::plain(number);
    if !waiting.is_empty() {
        disk.append(&path, waiting)?;
        waiting.clear();
    }
    if sync { disk.sync_data(&path) } else { Ok(()) }
}
