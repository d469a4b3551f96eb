//! The stored shape of what is over. Pure.
//!
//! sled keeps every one of its pages in a table in memory, so a row for each decision of a hundred thousand incidents costs a
//! hundred megabytes while nobody asks for them. What is over is therefore packed: eight things to a group, compressed together
//! because they say much the same, and a shelf that knows for 64 groups who is in them and what their digest is. The shelves
//! are held against the head at start, a group against its shelf when it is asked for.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::ops::Range;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use super::record;

pub(super) const SHELF: u8 = b's';
pub(super) const GROUP: u8 = b'a';

const GROUP_THINGS: u64 = 8;
/// Things of a group are compressed together up to this many bytes of rows, a longer one alone: what is put away has its group's
/// others compressed again, but none of the long ones.
const BUNDLE_BYTES: usize = 256 << 10;
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

    /// Which of its group it is.
    fn at(&self) -> u8 {
        (self.number % GROUP_THINGS) as u8
    }

    fn bit(&self) -> u8 {
        1 << self.at()
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

/// Who is over among 512 things, and the digests of their groups.
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

    /// Takes down what is in a group now. `bytes` are the group's.
    pub(super) fn put(&mut self, place: &Place<'_>, group: &Group, bytes: &[u8]) {
        let slot = &mut self.0[place.slot()..][..SLOT_BYTES];
        slot[0] = group.lasts().fold(0, |mask, (at, _)| mask | 1 << at);
        slot[1..].copy_from_slice(&digest(bytes));
    }
}

fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut half = [0; DIGEST_BYTES];
    half.copy_from_slice(&Sha256::digest(bytes)[..DIGEST_BYTES]);
    half
}

/// A thing that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at: u8,
    /// Its last line: what a log that lost its end is asked for.
    last: u64,
    /// Of its rows, in bytes, before they are compressed.
    len: usize,
}

const ENTRY_BYTES: usize = 1 + 8 + 4;

/// Things whose rows are compressed together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bundle {
    entries: Vec<Entry>,
    rows: Rows,
}

/// All rows of a bundle, in the order of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rows {
    /// As they were read.
    Packed(Vec<u8>),
    /// As they were put together; compressed when they are asked for.
    Plain(Vec<u8>),
}

impl Bundle {
    fn read<'b>(bytes: &mut &'b [u8]) -> Option<Bundle> {
        let mut take = |len: usize| -> Option<&'b [u8]> {
            let (taken, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Some(taken)
        };
        let count = usize::from(*take(1)?.first()?);
        let entries = take(count * ENTRY_BYTES)?.chunks(ENTRY_BYTES).map(|entry| {
            let (at, rest) = entry.split_first()?;
            let (last, len) = rest.split_first_chunk::<8>()?;
            let len = u32::from_be_bytes(len.try_into().ok()?) as usize;
            (u64::from(*at) < GROUP_THINGS).then_some(Entry { at: *at, last: u64::from_be_bytes(*last), len })
        });
        let entries = entries.collect::<Option<Vec<Entry>>>()?;
        let len = u32::from_be_bytes(take(4)?.try_into().ok()?) as usize;
        Some(Bundle { entries, rows: Rows::Packed(take(len)?.to_vec()) })
    }

    fn write(&self, to: &mut Vec<u8>) -> io::Result<()> {
        to.push(self.entries.len() as u8);
        for Entry { at, last, len } in &self.entries {
            to.push(*at);
            to.extend_from_slice(&last.to_be_bytes());
            to.extend_from_slice(&(*len as u32).to_be_bytes());
        }
        let packed = match &self.rows {
            Rows::Packed(packed) => packed,
            Rows::Plain(plain) => {
                let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
                packer.write_all(plain)?;
                &packer.finish()?
            }
        };
        to.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        to.extend_from_slice(packed);
        Ok(())
    }

    /// How long the rows are before they are compressed.
    fn plain_len(&self) -> usize {
        self.entries.iter().map(|entry| entry.len).sum()
    }

    fn plain(&self) -> Option<Cow<'_, [u8]>> {
        let packed = match &self.rows {
            Rows::Plain(plain) => return Some(Cow::Borrowed(plain)),
            Rows::Packed(packed) => packed,
        };
        let mut plain = Vec::new();
        // One more than there may be, so that more is noticed.
        let most = self.plain_len() as u64 + 1;
        DeflateDecoder::new(&packed[..]).take(most).read_to_end(&mut plain).ok()?;
        (plain.len() == self.plain_len()).then_some(Cow::Owned(plain))
    }

    /// Where in the rows those of a thing are.
    fn range(&self, at: u8) -> Option<Range<usize>> {
        let mut start = 0;
        for entry in &self.entries {
            if entry.at == at {
                return Some(start..start + entry.len);
            }
            start += entry.len;
        }
        None
    }
}

/// Up to eight things that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group(Vec<Bundle>);

impl Group {
    pub(super) fn read(mut bytes: &[u8]) -> Option<Group> {
        let mut bundles = Vec::new();
        while !bytes.is_empty() {
            bundles.push(Bundle::read(&mut bytes)?);
        }
        Some(Group(bundles))
    }

    /// It as it is kept, compressed.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.iter().try_for_each(|bundle| bundle.write(&mut bytes))?;
        Ok(bytes)
    }

    /// Places in it, each with the last line about the thing there.
    pub(super) fn lasts(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().flat_map(|bundle| &bundle.entries).map(|entry| (entry.at, entry.last))
    }

    /// Takes a thing out. None when what it is compressed with does not hold.
    pub(super) fn remove(&mut self, place: &Place<'_>) -> Option<()> {
        let at = place.at();
        for bundle in &mut self.0 {
            let Some(range) = bundle.range(at) else { continue };
            if bundle.entries.len() > 1 {
                let mut plain = bundle.plain()?.into_owned();
                plain.drain(range);
                bundle.rows = Rows::Plain(plain);
            }
            bundle.entries.retain(|entry| entry.at != at);
        }
        self.0.retain(|bundle| !bundle.entries.is_empty());
        Some(())
    }

    /// Puts a thing in, in place of what was there. None when what it would be compressed with does not hold, or it is larger than
    /// anything may be.
    pub(super) fn insert(&mut self, place: &Place<'_>, rows: &[Row]) -> Option<()> {
        self.remove(place)?;
        let mut new = Vec::new();
        for (seq, row) in rows {
            new.extend_from_slice(&seq.to_be_bytes());
            new.extend_from_slice(&u32::try_from(row.len()).ok()?.to_be_bytes());
            new.extend_from_slice(row);
        }
        u32::try_from(new.len()).ok()?;
        let entry = Entry { at: place.at(), last: rows.last().map_or(0, |(seq, _)| *seq), len: new.len() };
        match self.0.iter_mut().find(|bundle| bundle.plain_len() + new.len() <= BUNDLE_BYTES) {
            Some(bundle) => {
                let mut plain = bundle.plain()?.into_owned();
                plain.extend_from_slice(&new);
                bundle.rows = Rows::Plain(plain);
                bundle.entries.push(entry);
            }
            None => self.0.push(Bundle { entries: vec![entry], rows: Rows::Plain(new) }),
        }
        Some(())
    }

    /// The rows of a thing in it.
    pub(super) fn rows(&self, place: &Place<'_>) -> Option<Vec<Row>> {
        let (bundle, range) = self.0.iter().find_map(|bundle| Some((bundle, bundle.range(place.at())?)))?;
        let plain = bundle.plain()?;
        let (mut rows, mut rest) = (Vec::new(), plain.get(range)?);
        while !rest.is_empty() {
            let (seq, after) = rest.split_first_chunk::<8>()?;
            let (len, after) = after.split_first_chunk::<4>()?;
            let (row, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            rows.push((u64::from_be_bytes(*seq), row.to_vec()));
            rest = after;
        }
        Some(rows)
    }
}

/// A decision's seq and its parts about a thing.
pub(super) type Row = (u64, Vec<u8>);

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
        let bytes = group.bytes().unwrap();
        shelf.put(&place(1029), &group, &bytes);
        let again = Group::read(&bytes).unwrap();
        assert_eq!(again.rows(&place(1029)), Some(rows(1029)));
        assert_eq!(again.rows(&place(1028)), None);
        assert_eq!(again.lasts().collect::<Vec<_>>(), [(7, 1040), (5, 1038)]);
        assert_eq!(name_at(&place(1029).group_key(), 7), Some("inc/00001031".to_owned()));
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
    #[test]
    fn a_long_thing_is_compressed_alone_and_all_of_a_group_can_be_changed() {
        // Rows that no compression makes short, so that what is read again is looked at byte by byte.
        let rows = |number: u64, len: u64| {
            let row: Vec<u8> = (0..len).map(|n| (n * n * (number + 7) / 13 % 251) as u8).collect();
            vec![(number, row), (number + 100, vec![1])]
        };
        let len = |at: u64| if at.is_multiple_of(3) { BUNDLE_BYTES as u64 + at } else { 900 * at };
        let again = |group: &Group| Group::read(&group.bytes().unwrap()).unwrap();
        let mut group = Group::default();
        for at in 0..GROUP_THINGS {
            group.insert(&place(at), &rows(at, len(at))).unwrap();
            group = again(&group);
        }
        assert_eq!(group.0.iter().map(|bundle| bundle.entries.len()).collect::<Vec<_>>(), [1, 5, 1, 1]);
        for at in 0..GROUP_THINGS {
            assert_eq!(group.rows(&place(at)), Some(rows(at, len(at))), "{at}");
        }
        // Each in turn goes, comes back as another, and the others stay as they are.
        for changed in 0..GROUP_THINGS {
            let mut group = group.clone();
            group.remove(&place(changed)).unwrap();
            assert_eq!(again(&group).rows(&place(changed)), None);
            assert_eq!(group.lasts().count() as u64, GROUP_THINGS - 1);
            group.insert(&place(changed), &rows(changed + 1000, 50)).unwrap();
            group.insert(&place(changed), &rows(changed + 2000, 60)).unwrap();
            let group = again(&group);
            for at in 0..GROUP_THINGS {
                let expected = if at == changed { rows(at + 2000, 60) } else { rows(at, len(at)) };
                assert_eq!(group.rows(&place(at)), Some(expected), "{at} after {changed}");
            }
        }
        for at in 0..GROUP_THINGS {
            group.remove(&place(at)).unwrap();
        }
        assert_eq!(group.bytes().unwrap(), Vec::<u8>::new());
    }
}
