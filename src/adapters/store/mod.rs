//! Storage: a log that is order and proof, and views in sled that are quick and never trusted.
//!
//! Owns the state folder: `lock`, `log/`, `blobs/`, `sled/` and the folders set aside. [`open`] puts the two side by
//! side and says in sentences what it found; the log decides, always. Never knows what a fact means.
//!
//! Order of things: a batch is synced in the log, then answered, then applied to the views. sled is synced only when
//! nothing else is to do (`Views::settle`): what it misses after a crash is read from the log, and a line that sled
//! knows and the log does not means that the log lost evidence.

pub mod log;

#[cfg(feature = "shell")]
mod archive;
#[cfg(feature = "shell")]
mod disk_fs;
#[cfg(feature = "shell")]
mod folder;
#[cfg(feature = "shell")]
mod lock;
#[cfg(feature = "shell")]
mod record;
#[cfg(feature = "shell")]
mod views;

#[cfg(feature = "shell")]
pub use disk_fs::{FsDisk, make_private};
#[cfg(feature = "shell")]
pub use folder::{
    Base, Brought, FileJournal, Finding, Fold, Imported, OpenError, Opened, Options, Severity, bring_forward, import,
    open, read_from, resume, verify,
};
#[cfg(feature = "shell")]
pub use views::{SLED_DIR, SledViews};
