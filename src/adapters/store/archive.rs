//! The stored shape of what is over. Pure.
//!
//! sled keeps every one of its pages in a table in memory, so a row for each decision of a hundred thousand incidents costs a
//! hundred megabytes while nobody asks for them. What is over is therefore packed: all rows of a thing as one compressed
//! entry, four things to a group, and a shelf that knows for 64 groups who is in them and what their digest is. The shelves
//! are held against the head at start, a group against its shelf when it is asked for.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use super::record;

pub(super) const SHELF: u8 = b's';
pub(super) const GROUP: u8 = b'a';

const GROUP_THINGS: u64 = 4;
const SHELF_GROUPS: u64 = 64;
/// Half a SHA-256: it has to notice what a damaged database does, not somebody who means harm.
const DIGEST_BYTES: usize = 16;
/// A shelf's word on a group: a bit for each thing in it, and its digest.
const SLOT_BYTES: usize = 1 + DIGEST_BYTES;
const SHELF_BYTES: usize = SLOT_BYTES * SHELF_GROUPS as usize;

/// Where a thing is kept once it is over. In the order of places the newer one is the greater: numbers are padded to one
/// width, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place<'a> {
    pub kind: &'a str,
    /// The digits of the number as it stands in the name: `inc/00000007` is another name than `inc/7`.
    pub width: u8,
    pub number: u64,
}

impl<'a> Place<'a> {
    /// The place of a thing that is named by a kind and a number. Others, as the team, are never over.
    pub(super) fn of(thing: &'a str) -> Option<Place<'a>> {
        let (kind, digits) = thing.split_once('/')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let (width, number) = (u8::try_from(digits.len()).ok()?, digits.parse().ok()?);
        plain.then_some(Place { kind, width, number })
    }

    /// The name of the thing here.
    pub(super) fn name(&self) -> String {
        let Place { kind, width, number } = self;
        format!("{kind}/{number:0width$}", width = usize::from(*width))
    }

    pub(super) fn group_key(&self) -> Vec<u8> {
        let group = self.number / GROUP_THINGS;
        [&record::key(GROUP, self.kind)[..], &[self.width], &group.to_be_bytes()].concat()
    }

    pub(super) fn shelf_key(&self) -> Vec<u8> {
        let shelf = self.number / GROUP_THINGS / SHELF_GROUPS;
        [&record::key(SHELF, self.kind)[..], &[self.width], &shelf.to_be_bytes()].concat()
    }

    fn slot(&self) -> usize {
        (self.number / GROUP_THINGS % SHELF_GROUPS) as usize * SLOT_BYTES
    }

    fn bit(&self) -> u8 {
        1 << (self.number % GROUP_THINGS)
    }
}

/// The kind, width and number in the key of a shelf or a group (without its part).
fn split_key(key: &[u8]) -> Option<(&str, u8, u64)> {
    let (front, number) = key.split_last_chunk::<8>()?;
    let (width, front) = front.split_last()?;
    let kind = std::str::from_utf8(front.get(1..front.len().checked_sub(1)?)?).ok()?;
    Some((kind, *width, u64::from_be_bytes(*number)))
}

/// The name of the thing at a group's key (without its part) and place.
pub(super) fn name_at(group_key: &[u8], at: u8) -> Option<String> {
    let (kind, width, group) = split_key(group_key)?;
    let number = group.checked_mul(GROUP_THINGS)?.checked_add(u64::from(at))?;
    Some(Place { kind, width, number }.name())
}

/// Who is over among 256 things, and the digests of their groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shelf(Vec<u8>);

impl Shelf {
    pub(super) fn empty() -> Self {
        Shelf(vec![0; SHELF_BYTES])
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Shelf> {
        (bytes.len() == SHELF_BYTES).then(|| Shelf(bytes.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn has(&self, place: &Place<'_>) -> bool {
        self.0[place.slot()] & place.bit() != 0
    }

    /// Whether nobody is in the group at a place.
    pub(super) fn is_empty_at(&self, place: &Place<'_>) -> bool {
        self.0[place.slot()] == 0
    }

    /// Who is on it, the newest first. `key` is its own.
    pub(super) fn places<'k>(&self, key: &'k [u8]) -> Vec<Place<'k>> {
        let Some((kind, width, shelf)) = split_key(key) else { return Vec::new() };
        let first = shelf.saturating_mul(SHELF_GROUPS * GROUP_THINGS);
        let slots = (0..SHELF_GROUPS).zip(self.0.chunks(SLOT_BYTES));
        let places = slots.flat_map(|(slot, word)| {
            let mask = word.first().copied().unwrap_or_default();
            let here = (0..GROUP_THINGS).filter(move |at| mask & (1 << at) != 0);
            here.map(move |at| Place { kind, width, number: first.saturating_add(slot * GROUP_THINGS + at) })
        });
        let mut places: Vec<Place<'k>> = places.collect();
        places.reverse();
        places
    }

    /// Whether these are the bytes that were last put at the place.
    pub(super) fn fits(&self, place: &Place<'_>, group: &[u8]) -> bool {
        self.0[place.slot() + 1..][..DIGEST_BYTES] == digest(group)
    }

    /// Takes down what is in a group now.
    pub(super) fn put(&mut self, place: &Place<'_>, group: &Group) {
        let slot = &mut self.0[place.slot()..][..SLOT_BYTES];
        slot[0] = group.0.iter().fold(0, |mask, entry| mask | 1 << entry.at);
        slot[1..].copy_from_slice(&digest(&group.bytes()));
    }
}

fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut half = [0; DIGEST_BYTES];
    half.copy_from_slice(&Sha256::digest(bytes)[..DIGEST_BYTES]);
    half
}

/// A thing that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    at: u8,
    /// Its last line: what a log that lost its end is asked for.
    last: u64,
    rows: Vec<u8>,
}

/// Up to four things that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group(Vec<Packed>);

impl Group {
    pub(super) fn read(mut bytes: &[u8]) -> Option<Group> {
        let mut packed = Vec::new();
        while let Some((at, rest)) = bytes.split_first() {
            let (last, rest) = rest.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (rows, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            if u64::from(*at) >= GROUP_THINGS {
                return None;
            }
            packed.push(Packed { at: *at, last: u64::from_be_bytes(*last), rows: rows.to_vec() });
            bytes = rest;
        }
        Some(Group(packed))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Packed { at, last, rows } in &self.0 {
            bytes.push(*at);
            bytes.extend_from_slice(&last.to_be_bytes());
            bytes.extend_from_slice(&(rows.len() as u32).to_be_bytes());
            bytes.extend_from_slice(rows);
        }
        bytes
    }

    /// Places in it, each with the last line about the thing there.
    pub(super) fn lasts(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().map(|packed| (packed.at, packed.last))
    }

    pub(super) fn remove(&mut self, place: &Place<'_>) {
        self.0.retain(|packed| 1 << packed.at != place.bit());
    }

    pub(super) fn insert(&mut self, place: &Place<'_>, rows: &[Row]) -> io::Result<()> {
        self.remove(place);
        let at = (place.number % GROUP_THINGS) as u8;
        let last = rows.last().map_or(0, |(seq, _)| *seq);
        self.0.push(Packed { at, last, rows: packed(rows)? });
        self.0.sort_by_key(|packed| packed.at);
        Ok(())
    }

    /// The rows of a thing in it.
    pub(super) fn rows(&self, place: &Place<'_>) -> Option<Vec<Row>> {
        unpacked(&self.0.iter().find(|packed| 1 << packed.at == place.bit())?.rows)
    }
}

/// A decision's seq and its parts about a thing.
pub(super) type Row = (u64, Vec<u8>);

fn packed(rows: &[Row]) -> io::Result<Vec<u8>> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
    for (seq, row) in rows {
        packer.write_all(&seq.to_be_bytes())?;
        packer.write_all(&(row.len() as u32).to_be_bytes())?;
        packer.write_all(row)?;
    }
    packer.finish()
}

fn unpacked(packed: &[u8]) -> Option<Vec<Row>> {
    let mut plain = Vec::new();
    DeflateDecoder::new(packed).read_to_end(&mut plain).ok()?;
    let (mut rows, mut rest) = (Vec::new(), &plain[..]);
    while !rest.is_empty() {
        let (seq, after) = rest.split_first_chunk::<8>()?;
        let (len, after) = after.split_first_chunk::<4>()?;
        let (row, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        rows.push((u64::from_be_bytes(*seq), row.to_vec()));
        rest = after;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64) -> Place<'static> {
        Place { kind: "inc", width: 8, number }
    }

    #[test]
    fn only_a_kind_with_a_number_has_a_place() {
        for name in ["inc/00000007", "inc/7", "inc/07"] {
            let place = Place::of(name).unwrap();
            assert_eq!((place.number, place.name().as_str()), (7, name));
        }
        assert!(Place::of("inc/99") < Place::of("inc/100"));
        for other in ["team", "inc/", "inc/x", "inc/-1", "inc/+1", "inc/1/2", "inc/99999999999999999999"] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_put_away_comes_back_and_its_shelf_knows_it() {
        let rows = |number: u64| vec![(number, vec![b'x'; 300]), (number + 9, Vec::new())];
        let (mut group, mut shelf) = (Group::default(), Shelf::empty());
        for number in [1031, 1029] {
            group.insert(&place(number), &rows(number)).unwrap();
        }
        shelf.put(&place(1029), &group);
        let bytes = group.bytes();
        let again = Group::read(&bytes).unwrap();
        assert_eq!(again.rows(&place(1029)), Some(rows(1029)));
        assert_eq!(again.rows(&place(1028)), None);
        assert_eq!(again.lasts().collect::<Vec<_>>(), [(1, 1038), (3, 1040)]);
        assert_eq!(name_at(&place(1029).group_key(), 3), Some("inc/00001031".to_owned()));
        assert_eq!(shelf.places(&place(1029).shelf_key()), [place(1031), place(1029)]);
        assert!(shelf.has(&place(1031)) && !shelf.has(&place(1030)));
        assert!(shelf.fits(&place(1029), &bytes));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(!shelf.fits(&place(1029), &changed), "byte {at}");
            // Nobody reads what does not fit; should somebody, there is no panic.
            let _some = Group::read(&changed).map(|group| group.rows(&place(1029)));
            let _some = Group::read(&bytes[..at]);
        }
    }
}
