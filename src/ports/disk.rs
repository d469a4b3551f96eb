//! The disk as the log sees it: a handful of synchronous calls, so that a test can tear it.
//!
//! Paths are relative, with `/` between their parts. A call that returns `Ok` has told the operating system, no more:
//! only [`Disk::sync_data`] and [`Disk::sync_dir`] make anything survive a power cut. Nothing here decides anything.

use std::io::{self, Read};

/// A folder on a disk. Implementations: the file system, and one in memory that loses whatever was not synced.
pub trait Disk: Send + Sync {
    /// Makes a folder and those above it. One that is there is no error.
    fn create_dir(&mut self, dir: &str) -> io::Result<()>;

    /// Writes at the end of a file, which is made when it is not there. After an error any part may have been written.
    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Puts a file's content and length on the disk. After an error what was written may be gone although it can still
    /// be read: the only safe thing is to stop and recover.
    fn sync_data(&mut self, path: &str) -> io::Result<()>;

    /// Puts the names in a folder on the disk: files made, renamed and removed.
    fn sync_dir(&mut self, dir: &str) -> io::Result<()>;

    /// Cuts a file to `len` bytes.
    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()>;

    /// A file's length in bytes.
    fn len(&self, path: &str) -> io::Result<u64>;

    /// A reader from byte `from` on. It goes on reading the same file when that is renamed or removed meanwhile.
    fn read(&self, path: &str, from: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Renames a file, replacing what had the name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// The names in a folder, sorted; empty when the folder is not there.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Bytes that can still be written, where that can be known.
    fn free_bytes(&self) -> Option<u64>;
}

/// Whether an error says that the disk, or our share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
