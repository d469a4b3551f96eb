//! How much of the database was looked at since it was opened. Pure.
//!
//! sled keeps every page that it has read or written, and looks at how much that is only after 64 looks at pages in each of the
//! 256 parts of its cache: a line about each of 1,000 open incidents left 9 MB of pages, whatever its cache was told to hold, and
//! a look at every one of 100,000 that are over 260 MB. There is no call that lets go of them; closing the database does. So
//! this counts, and whoever has it decides when.

use std::collections::BTreeSet;

use super::super::record;

/// About what a page with a thing's own rows takes in memory, in bytes: 9 to 16 rows, 700 bytes each.
const ROWS_BYTES: usize = 8 << 10;
/// About what a page with what is put away takes, in bytes: 9 to 16 values, most of them as long as values may be.
const GROUP_BYTES: usize = 40 << 10;
/// From here on it is worth opening the database again, in bytes. That takes some 50 ms, as long as no more than this is read
/// or written again and again it never happens.
const MUCH_BYTES: usize = 1 << 20;

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Fronts of keys, each once. No more are kept once it is much: some 130 at most.
    fronts: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Touched {
    /// Takes in that values with keys of this front were read or written.
    pub(super) fn add(&mut self, front: Vec<u8>) {
        if !self.is_much() {
            let bytes = if front.first() == Some(&record::ROW) { ROWS_BYTES } else { GROUP_BYTES };
            self.bytes += if self.fronts.insert(front) { bytes } else { 0 };
        }
    }

    /// Whether the pages of it all are so much that they should be let go of.
    pub(super) fn is_much(&self) -> bool {
        self.bytes >= MUCH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_different_things_are_much_and_one_thing_often_is_not() {
        let mut touched = Touched::default();
        (0..100_000).for_each(|_| touched.add(record::key(record::ROW, "inc/1")));
        assert!(!touched.is_much());
        (0..100_000).for_each(|n| touched.add(record::key(record::ROW, &format!("inc/{n}"))));
        assert!(touched.is_much() && touched.fronts.len() <= MUCH_BYTES / ROWS_BYTES, "{}", touched.fronts.len());
    }
}
