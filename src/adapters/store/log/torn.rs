//! A disk in memory that loses whatever was not synced: for tests and for the simulation.
//!
//! Harsher than a real one on purpose. At a power cut every 512-byte sector that was written since the last sync is
//! kept or lost by itself, a file may have any length between the synced and the newest, and of the changes to names
//! (made, renamed, removed) an early part is kept. A failed sync forgets what was not on the disk yet, as Linux does.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::disk::Disk;

/// The unit in which bytes are kept or lost.
pub const SECTOR_BYTES: usize = 512;

/// A handle to the disk; a copy is the same disk.
#[derive(Clone, Default)]
pub struct TornDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    pending: Vec<Renaming>,
    faults: Faults,
    syncs: u64,
}

/// What goes wrong, settable at any time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The most bytes that all files may have together.
    pub capacity_bytes: Option<u64>,
    /// After how many more syncs one fails.
    pub fail_sync_in: Option<u32>,
    /// Whether syncs do nothing and say that they did.
    pub lying_sync: bool,
}

#[derive(Clone, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
}

enum Renaming {
    Made(String, usize),
    Moved(String, String),
    Removed(String),
}

/// A small generator of numbers, so that a seed gives the same disk everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// A number below `end`; 0 when that is 0. (SplitMix64, Steele and others 2014.)
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(end).unwrap_or(0)
    }
}

impl TornDisk {
    /// An empty disk.
    pub fn new() -> Self {
        TornDisk::default()
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// How many syncs of files succeeded.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Cuts the power: what comes back is what was synced and any part of the rest. Faults are over.
    pub fn cut_power(&self, dice: &mut Dice) {
        let mut inner = self.lock();
        inner.faults = Faults::default();
        let kept = dice.below(inner.pending.len() as u64 + 1) as usize;
        let pending: Vec<Renaming> = inner.pending.drain(..).take(kept).collect();
        pending.into_iter().for_each(|change| apply(&mut inner.synced_names, change));
        inner.names = inner.synced_names.clone();
        for file in &mut inner.files {
            tear(file, dice);
        }
    }

    /// Changes a file's bytes behind everybody's back, as a failing drive or a hand would.
    pub fn corrupt(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        if let Some(file) = inner.names.get(path).copied().and_then(|at| inner.files.get_mut(at)) {
            change(&mut file.now);
            file.synced = file.now.clone();
        }
    }

    /// All of a file's bytes, as a program would read them.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        inner.names.get(path).and_then(|at| inner.files.get(*at)).map(|file| file.now.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Renaming) {
    match change {
        Renaming::Made(name, at) => {
            names.insert(name, at);
        }
        Renaming::Moved(from, to) => {
            if let Some(at) = names.remove(&from) {
                names.insert(to, at);
            }
        }
        Renaming::Removed(name) => {
            names.remove(&name);
        }
    }
}

fn tear(file: &mut File, dice: &mut Dice) {
    if file.now == file.synced {
        return;
    }
    let (short, long) = (file.now.len().min(file.synced.len()), file.now.len().max(file.synced.len()));
    let len = match dice.below(4) {
        0 => short,
        1 => long,
        _ => short + dice.below((long - short) as u64 + 1) as usize,
    };
    let mut torn = vec![0; len];
    for (at, sector) in torn.chunks_mut(SECTOR_BYTES).enumerate() {
        let from = if dice.below(2) == 0 { &file.now } else { &file.synced };
        let start = (at * SECTOR_BYTES).min(from.len());
        let part = &from[start..from.len().min(start + sector.len())];
        sector[..part.len()].copy_from_slice(part);
    }
    file.now.clone_from(&torn);
    file.synced = torn;
}

impl Inner {
    fn file(&self, path: &str) -> io::Result<&File> {
        self.names.get(path).and_then(|at| self.files.get(*at)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file_mut(&mut self, path: &str) -> io::Result<&mut File> {
        let at = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.files.get_mut(at).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|at| self.files.get(*at)).map(|file| file.now.len() as u64).sum()
    }

    fn change(&mut self, change: Renaming) {
        match &change {
            Renaming::Made(name, at) => apply(&mut self.names, Renaming::Made(name.clone(), *at)),
            Renaming::Moved(from, to) => apply(&mut self.names, Renaming::Moved(from.clone(), to.clone())),
            Renaming::Removed(name) => apply(&mut self.names, Renaming::Removed(name.clone())),
        }
        self.pending.push(change);
    }

    fn sync_fails(&mut self) -> bool {
        match &mut self.faults.fail_sync_in {
            Some(0) => {
                self.faults.fail_sync_in = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

impl Disk for TornDisk {
    fn create_dir(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.names.contains_key(path) {
            let at = inner.files.len();
            inner.files.push(File::default());
            inner.change(Renaming::Made(path.to_owned(), at));
        }
        let room = inner.faults.capacity_bytes.map_or(u64::MAX, |most| most.saturating_sub(inner.used_bytes()));
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        inner.file_mut(path)?.now.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let (fails, lies) = (inner.sync_fails(), inner.faults.lying_sync);
        let file = inner.file_mut(path)?;
        if fails {
            return Err(io::Error::other("the drive reports a failure"));
        }
        if !lies {
            file.synced.clone_from(&file.now);
            inner.syncs += 1;
        }
        Ok(())
    }

    fn sync_dir(&mut self, _: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.sync_fails() {
            return Err(io::Error::other("the drive reports a failure"));
        }
        if !inner.faults.lying_sync {
            inner.pending.clear();
            inner.synced_names = inner.names.clone();
        }
        Ok(())
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.lock().file_mut(path)?.now.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.lock().file(path).map(|file| file.now.len() as u64)
    }

    fn read(&self, path: &str, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.lock().file(path)?.now.clone();
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(from);
        Ok(Box::new(cursor))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.file(from)?;
        inner.change(Renaming::Moved(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.file(path)?;
        inner.change(Renaming::Removed(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let front = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inner = self.lock();
        let names = inner.names.keys().filter_map(|name| name.strip_prefix(&front));
        Ok(names.filter(|rest| !rest.contains('/')).map(str::to_owned).collect())
    }

    fn free_bytes(&self) -> Option<u64> {
        let inner = self.lock();
        inner.faults.capacity_bytes.map(|most| most.saturating_sub(inner.used_bytes()))
    }
}
