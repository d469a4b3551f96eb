//! One batch on its way into the database: the things that it touches, as they were and as they are going to be.

use std::collections::BTreeMap;

use super::super::archive::{Group, Place, Row, Shelf};
use super::super::record::{self, Record};
use super::{Top, VALUE_BYTES, text};
use crate::ports::journal::{Head, Line};

/// What a batch changes.
pub(super) struct Change<'a> {
    db: &'a sled::Db,
    batch: sled::Batch,
    top: Top,
    things: BTreeMap<String, Thing>,
    shelves: BTreeMap<Vec<u8>, (Option<Shelf>, Shelf)>,
}

/// A thing that a batch touches.
struct Thing {
    /// Its record, when it has rows of its own.
    before: Option<Record>,
    /// Whether it was put away as over.
    away: bool,
    /// What was said of it last: open or over.
    told: Option<bool>,
    new: Vec<Row>,
}

impl<'a> Change<'a> {
    pub(super) fn new(db: &'a sled::Db, top: &Top) -> Self {
        let (batch, top) = (sled::Batch::default(), top.clone());
        Change { db, batch, top, things: BTreeMap::new(), shelves: BTreeMap::new() }
    }

    /// Takes a line in.
    pub(super) fn take(&mut self, line: &Line) -> Result<(), String> {
        for (name, row) in record::rows_of(line) {
            self.thing(&name)?.new.push((line.seq, row.into_bytes()));
        }
        Ok(())
    }

    /// A thing is open from now on, or over.
    pub(super) fn tell(&mut self, name: &str, open: bool) -> Result<(), String> {
        self.thing(name)?.told = Some(open);
        Ok(())
    }

    /// Replaces a value that is kept in parts.
    pub(super) fn put(&mut self, kind: u8, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.put_parts(&record::key(kind, name), &record::sealed(bytes))
    }

    /// Writes all of it, in one step. Returns the head record that then holds, and the fronts of the keys that were looked at.
    pub(super) fn write(mut self, head: Option<Head>) -> Result<(Top, Vec<Vec<u8>>), String> {
        let things = std::mem::take(&mut self.things);
        let mut groups = BTreeMap::new();
        for (name, thing) in &things {
            self.settle_thing(name, thing, &mut groups)?;
        }
        let rows = things.keys().map(|name| record::key(record::ROW, name));
        let fronts = rows.chain(groups.keys().cloned()).collect();
        for (key, (place, group)) in groups {
            let bytes = group.bytes().map_err(text)?;
            self.put_parts(&key, &bytes)?;
            self.shelf(&place)?.put(&place, &group, &bytes);
        }
        for (key, (before, now)) in std::mem::take(&mut self.shelves) {
            if before.as_ref() == Some(&now) || (before.is_none() && now == Shelf::empty()) {
                continue;
            }
            if let Some(before) = before {
                self.top.sum.toggle(&key, before.bytes());
            }
            self.top.sum.toggle(&key, now.bytes());
            self.batch.insert(key, now.bytes());
        }
        if head.is_some() {
            self.top.head = head;
        }
        let json = serde_json::to_vec(&self.top).map_err(text)?;
        self.batch.insert(&[record::HEAD], record::sealed(&json));
        self.db.apply_batch(self.batch).map_err(text)?;
        Ok((self.top, fronts))
    }

    fn thing(&mut self, name: &str) -> Result<&mut Thing, String> {
        if !self.things.contains_key(name) {
            let before = record_of(self.db, name)?;
            let away = match Place::of(name) {
                Some(place) if before.is_none() => self.shelf(&place)?.has(&place),
                _ => false,
            };
            self.things.insert(name.to_owned(), Thing { before, away, told: None, new: Vec::new() });
        }
        self.things.get_mut(name).ok_or_else(|| "a record was not loaded".to_owned())
    }

    fn shelf(&mut self, place: &Place<'_>) -> Result<&mut Shelf, String> {
        let key = place.shelf_key();
        if !self.shelves.contains_key(&key) {
            let before = shelf_of(self.db, place)?;
            let now = before.clone().unwrap_or_else(Shelf::empty);
            self.shelves.insert(key.clone(), (before, now));
        }
        self.shelves.get_mut(&key).map(|(_, now)| now).ok_or_else(|| "a shelf was not loaded".to_owned())
    }

    fn settle_thing<'n>(&mut self, name: &'n str, thing: &Thing, groups: &mut Groups<'n>) -> Result<(), String> {
        let Thing { before, away, told, new } = thing;
        // Nothing to do: what is away stays away, and what has no rows is not kept.
        if before.is_none() && new.is_empty() && *told != Some(true) {
            return Ok(());
        }
        let place = Place::of(name);
        match place.filter(|_| *told == Some(false) || (*away && told.is_none())) {
            Some(place) => {
                let mut rows = match before {
                    Some(record) => self.take_out(name, record)?,
                    None if *away => self.group(&place, groups)?.rows(&place).ok_or_else(|| unheld(name))?,
                    None => Vec::new(),
                };
                rows.extend_from_slice(new);
                if rows.is_empty() {
                    Ok(())
                } else {
                    self.group(&place, groups)?.insert(&place, &rows).ok_or_else(|| unheld(name))
                }
            }
            None => {
                let mut now = before.clone().unwrap_or_default();
                if let Some(place) = place.filter(|_| *away) {
                    let group = self.group(&place, groups)?;
                    let rows = group.rows(&place).ok_or_else(|| unheld(name))?;
                    group.remove(&place).ok_or_else(|| unheld(name))?;
                    rows.iter().for_each(|row| self.put_row(name, &mut now, row));
                }
                new.iter().for_each(|row| self.put_row(name, &mut now, row));
                now.open = told.unwrap_or(now.open);
                self.keep(name, before.as_ref(), &now);
                Ok(())
            }
        }
    }

    /// A group to be changed.
    fn group<'g, 'n>(&mut self, place: &Place<'n>, groups: &'g mut Groups<'n>) -> Result<&'g mut Group, String> {
        let key = place.group_key();
        if !groups.contains_key(&key) {
            let group = group_of(self.db, self.shelf(place)?, place)?;
            groups.insert(key.clone(), (*place, group));
        }
        groups.get_mut(&key).map(|(_, group)| group).ok_or_else(|| "a group was not loaded".to_owned())
    }

    /// Takes a thing's record and rows out of the database, and returns the rows.
    fn take_out(&mut self, name: &str, record: &Record) -> Result<Vec<Row>, String> {
        let rows = own_rows(self.db, name, record)?;
        for key in self.db.scan_prefix(record::key(record::ROW, name)).keys() {
            self.batch.remove(key.map_err(text)?);
        }
        let key = record::key_of(record::THING, name);
        self.top.sum.toggle(&key, &record.bytes());
        self.top.things = self.top.things.saturating_sub(1);
        self.mark(name, record.open, false);
        self.batch.remove(key);
        Ok(rows)
    }

    fn put_row(&mut self, name: &str, record: &mut Record, (seq, row): &Row) {
        record.add(*seq, row);
        for (part, chunk) in (0u16..).zip(row.chunks(VALUE_BYTES)) {
            self.batch.insert(record::row_key(name, *seq, part), chunk);
        }
    }

    /// Writes a thing's record and its mark.
    fn keep(&mut self, name: &str, before: Option<&Record>, now: &Record) {
        let key = record::key_of(record::THING, name);
        match before {
            Some(before) => self.top.sum.toggle(&key, &before.bytes()),
            None => self.top.things += 1,
        }
        self.mark(name, before.is_some_and(|before| before.open), now.open);
        self.top.sum.toggle(&key, &now.bytes());
        self.batch.insert(key, now.bytes());
    }

    fn mark(&mut self, name: &str, was_open: bool, open: bool) {
        let mark = record::key_of(record::OPEN, name);
        match (was_open, open) {
            (false, true) => {
                self.batch.insert(mark, &[][..]);
                self.top.open += 1;
            }
            (true, false) => {
                self.batch.remove(mark);
                self.top.open = self.top.open.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn put_parts(&mut self, front: &[u8], bytes: &[u8]) -> Result<(), String> {
        for key in self.db.scan_prefix(front).keys() {
            self.batch.remove(key.map_err(text)?);
        }
        for (part, chunk) in (0u16..).zip(bytes.chunks(VALUE_BYTES)) {
            self.batch.insert([front, &part.to_be_bytes()].concat(), chunk);
        }
        Ok(())
    }
}

type Groups<'n> = BTreeMap<Vec<u8>, (Place<'n>, Group)>;

fn unheld(name: &str) -> String {
    format!("the rows of {name} do not hold")
}

/// A thing's decisions, whether they are rows of their own or put away, and the front of the keys that they have.
pub(super) fn rows(db: &sled::Db, name: &str) -> Result<(Vec<Row>, Vec<u8>), String> {
    let own = record::key(record::ROW, name);
    if let Some(record) = record_of(db, name)? {
        return Ok((own_rows(db, name, &record)?, own));
    }
    if let Some(place) = Place::of(name)
        && let Some(shelf) = shelf_of(db, &place)?
        && shelf.has(&place)
    {
        let rows = group_of(db, &shelf, &place)?.rows(&place).ok_or_else(|| unheld(name))?;
        return Ok((rows, place.group_key()));
    }
    Ok((own_rows(db, name, &Record::default())?, own))
}

/// The record of a thing that has rows of its own.
pub(super) fn record_of(db: &sled::Db, name: &str) -> Result<Option<Record>, String> {
    let value = db.get(record::key_of(record::THING, name)).map_err(text)?;
    value.map(|value| Record::read(&value).ok_or_else(|| format!("the record of {name} does not hold"))).transpose()
}

/// Parts, put together.
pub(super) fn parts(db: &sled::Db, front: &[u8]) -> Result<Vec<u8>, String> {
    let mut parts = Vec::new();
    for pair in db.scan_prefix(front) {
        parts.extend_from_slice(&pair.map_err(text)?.1);
    }
    Ok(parts)
}

fn shelf_of(db: &sled::Db, place: &Place<'_>) -> Result<Option<Shelf>, String> {
    let value = db.get(place.shelf_key()).map_err(text)?;
    value.map(|value| Shelf::read(&value).ok_or_else(|| "a shelf does not hold".to_owned())).transpose()
}

fn group_of(db: &sled::Db, shelf: &Shelf, place: &Place<'_>) -> Result<Group, String> {
    if shelf.is_empty_at(place) {
        return Ok(Group::default());
    }
    let bytes = parts(db, &place.group_key())?;
    let group = Group::read(&bytes).filter(|_| shelf.fits(place, &bytes));
    group.ok_or_else(|| format!("what is kept of {} and its like does not fit its digest", place.name()))
}

/// Rows, held against the count and digest of their record.
fn own_rows(db: &sled::Db, name: &str, record: &Record) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for pair in db.scan_prefix(record::key(record::ROW, name)) {
        let (key, value) = pair.map_err(text)?;
        let seq = record::row_seq(&key).ok_or_else(|| format!("a row of {name} does not hold"))?;
        match rows.last_mut() {
            Some((at, bytes)) if *at == seq => bytes.extend_from_slice(&value),
            _ => rows.push((seq, value.to_vec())),
        }
    }
    let mut found = Record { open: record.open, ..Record::default() };
    rows.iter().for_each(|(seq, row)| found.add(*seq, row));
    if found == *record { Ok(rows) } else { Err(format!("the rows of {name} do not fit their digest")) }
}
