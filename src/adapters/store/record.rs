//! The stored shapes of the views: keys, rows, and the digests that tell whether they are all there. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::log::{quoted, split_array, split_object};
use crate::ports::journal::{Line, Redaction, on_of};

pub(super) const HEAD: u8 = b'h';
pub(super) const THING: u8 = b't';
pub(super) const ROW: u8 = b'r';
pub(super) const OPEN: u8 = b'o';
pub(super) const DOC: u8 = b'd';
pub(super) const NOTE: u8 = b'n';

const DIGEST_BYTES: usize = 32;
const RECORD_BYTES: usize = 1 + 8 + 8 + 8 + DIGEST_BYTES;

/// What is known of a thing without its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub open: bool,
    pub count: u64,
    pub first: u64,
    pub last: u64,
    /// Each row's digest hashed onto that of the rows before.
    pub digest: [u8; DIGEST_BYTES],
}

impl Record {
    /// Takes in a row.
    pub(super) fn add(&mut self, seq: u64, row: &[u8]) {
        if self.count == 0 {
            self.first = seq;
        }
        self.count += 1;
        self.last = seq;
        self.digest = Sha256::new().chain_update(self.digest).chain_update(row).finalize().into();
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let numbers = [self.count, self.first, self.last].map(u64::to_be_bytes).concat();
        [&[u8::from(self.open)][..], &numbers, &self.digest].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Record> {
        if bytes.len() != RECORD_BYTES {
            return None;
        }
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        let open = match bytes.first()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let digest = bytes.get(25..)?.try_into().ok()?;
        Some(Record { open, count: number(1)?, first: number(9)?, last: number(17)?, digest })
    }
}

/// A digest of a set, whatever its order: putting something in twice takes it out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum([u8; DIGEST_BYTES]);

impl Sum {
    pub(super) fn toggle(&mut self, key: &[u8], value: &[u8]) {
        let digest = Sha256::new().chain_update(key).chain_update([0]).chain_update(value).finalize();
        self.0.iter_mut().zip(digest).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// The front of the keys about a name, closed so that `inc/1` is no part of `inc/11`.
pub(super) fn key(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0]].concat()
}

/// The one key about a name.
pub(super) fn key_of(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

/// The name in a key of [`key_of`].
pub(super) fn name_of(key: &[u8]) -> Option<String> {
    String::from_utf8(key.get(1..)?.to_vec()).ok()
}

pub(super) fn row_key(thing: &str, seq: u64, part: u16) -> Vec<u8> {
    [&key(ROW, thing)[..], &seq.to_be_bytes(), &part.to_be_bytes()].concat()
}

pub(super) fn row_seq(key: &[u8]) -> Option<u64> {
    let end = key.len().checked_sub(2)?;
    key.get(end.checked_sub(8)?..end)?.try_into().ok().map(u64::from_be_bytes)
}

/// Bytes behind their digest.
pub(super) fn sealed(bytes: &[u8]) -> Vec<u8> {
    [&Sha256::digest(bytes)[..], bytes].concat()
}

/// The bytes, when they fit the digest before them.
pub(super) fn unsealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (digest, bytes) = bytes.split_at_checked(DIGEST_BYTES)?;
    (Sha256::digest(bytes)[..] == *digest).then(|| bytes.to_vec())
}

#[derive(Serialize, Deserialize)]
struct Front {
    v: u32,
    seq: u64,
    batch: u64,
    at_ms: i64,
    team: String,
    epoch: u64,
    input: String,
    skip: bool,
    hash: String,
    redacted: Option<Redaction>,
}

/// A decision's rows: for each thing that it is about, the parts about that thing, in their exact words.
pub(super) fn rows_of(line: &Line) -> BTreeMap<String, String> {
    let mut parts: BTreeMap<String, [Vec<&str>; 2]> = BTreeMap::new();
    for (side, list) in [&line.facts, &line.effects].into_iter().enumerate() {
        for json in list {
            if let Some(thing) = on_of(json) {
                parts.entry(thing).or_default()[side].push(json);
            }
        }
    }
    let Line { v, seq, batch, at_ms, epoch, skip, .. } = *line;
    let (team, input) = (quoted(&line.team), quoted(&line.input));
    let redacted = serde_json::to_string(&line.redacted).unwrap_or_else(|_| "null".to_owned());
    let front = format!(
        "{{\"front\":{{\"v\":{v},\"seq\":{seq},\"batch\":{batch},\"at_ms\":{at_ms},\"team\":{team},\"epoch\":{epoch},\
         \"input\":{input},\"skip\":{skip},\"hash\":\"{}\",\"redacted\":{redacted}}}",
        line.hash
    );
    let row = |[facts, effects]: [Vec<&str>; 2]| {
        format!("{front},\"facts\":[{}],\"effects\":[{}]}}", facts.join(","), effects.join(","))
    };
    parts.into_iter().map(|(thing, parts)| (thing, row(parts))).collect()
}

/// A row as a line.
pub(super) fn row_line(bytes: &[u8]) -> Option<Line> {
    let members = split_object(std::str::from_utf8(bytes).ok()?)?;
    let member = |wanted: &str| members.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    let list = |wanted| Some(split_array(member(wanted)?)?.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let front: Front = serde_json::from_str(member("front")?).ok()?;
    let Front { v, seq, batch, at_ms, team, epoch, input, skip, hash, redacted } = front;
    let (facts, effects) = (list("facts")?, list("effects")?);
    Some(Line { v, seq, batch, at_ms, team, epoch, input, skip, hash, facts, effects, redacted, note: None })
}
