//! A disk whose power goes off in the middle of a chosen call.
//!
//! Stands between the log and the torn disk: counts down the calls that change something, writes a part of the last one, and
//! fails all that follow, as for a process that is no more.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::log::torn::TornDisk;
use crate::ports::disk::Disk;

/// How many more changing calls succeed; negative is off, very many is on.
#[derive(Clone)]
pub struct Power(Arc<AtomicI64>);

/// More calls than any history makes.
const ON: i64 = i64::MAX / 2;

impl Power {
    /// Power that stays on.
    pub fn on() -> Self {
        Self(Arc::new(AtomicI64::new(ON)))
    }

    /// It goes off in the middle of the call after `calls` more.
    pub fn off_in(&self, calls: i64) {
        self.0.store(calls, Ordering::Relaxed);
    }

    /// Whether it went off.
    pub fn is_off(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }

    /// Counts a call: `Some(true)` when it goes through, `Some(false)` when it is the one cut short.
    fn spend(&self) -> Option<bool> {
        let left = self.0.load(Ordering::Relaxed);
        if left < 0 {
            return None;
        }
        self.0.store(left - 1, Ordering::Relaxed);
        Some(left > 0)
    }
}

/// The disk behind the power.
pub struct Powered {
    /// The disk.
    pub disk: TornDisk,
    /// Its power.
    pub power: Power,
}

fn dead<T>() -> io::Result<T> {
    Err(io::Error::other("the power is off"))
}

impl Powered {
    fn whole(&mut self, call: impl FnOnce(&mut TornDisk) -> io::Result<()>) -> io::Result<()> {
        match self.power.spend() {
            Some(true) => call(&mut self.disk),
            // A sync, a cut or a new name either happened or not; both are met, the second one here.
            Some(false) | None => dead(),
        }
    }
}

impl Disk for Powered {
    fn create_dir(&mut self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        match self.power.spend() {
            Some(true) => self.disk.append(path, bytes),
            Some(false) => self.disk.append(path, &bytes[..bytes.len() / 2]).and_then(|()| dead()),
            None => dead(),
        }
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.whole(|disk| disk.sync_data(path))
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        self.whole(|disk| disk.sync_dir(dir))
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.whole(|disk| disk.truncate(path, len))
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.disk.len(path)
    }

    fn read(&self, path: &str, from: u64) -> io::Result<Box<dyn Read + Send>> {
        self.disk.read(path, from)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.whole(|disk| disk.rename(from, to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.whole(|disk| disk.remove(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes()
    }
}
