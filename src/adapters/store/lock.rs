//! One process a folder: a lock that the system lets go when its holder dies, with the holder's name in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use super::log::rfc3339;

const LOCK_FILE: &str = "lock";
/// The most of a holder's name that is shown, in bytes.
const HOLDER_BYTES_MAX: u64 = 300;

/// The right to use a folder, until it is dropped.
pub(super) struct Lock {
    _file: File,
}

/// Why the folder was not locked.
pub(super) enum Refused {
    /// Somebody has it; the sentence says who.
    Held(String),
    Io(io::Error),
}

impl Lock {
    pub(super) fn take(folder: &Path, now_ms: i64) -> Result<Lock, Refused> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(LOCK_FILE))
            .map_err(Refused::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = (&mut file).take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
                let known = read.is_ok() && !holder.trim().is_empty();
                return Err(Refused::Held(if known {
                    holder.trim().to_owned()
                } else {
                    "somebody unknown".to_owned()
                }));
            }
            Err(TryLockError::Error(error)) => return Err(Refused::Io(error)),
        }
        let holder = format!("process {} on {} since {}\n", std::process::id(), host(), rfc3339(now_ms));
        // Only for people: a full disk must not keep the bot from starting.
        let _told = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Lock { _file: file })
    }
}

fn host() -> String {
    let told = std::env::var("FLY_MACHINE_ID").or_else(|_| fs::read_to_string("/proc/sys/kernel/hostname"));
    told.map_or_else(|_| "this machine".to_owned(), |name| name.trim().to_owned())
}
