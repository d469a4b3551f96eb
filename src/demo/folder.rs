//! The folder that a demo keeps its state in: known by a mark, held by one demo at a time, and emptied of nothing else.
//!
//! `--state` may name any folder, a home folder too. So only what a demo wrote is ever deleted, and nothing is written into a
//! folder that holds something else.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Says that the folder is a demo's, and is what the running demo has locked.
const MARK: &str = "watchbell-demo";
/// What the mark says to whoever finds it.
const MARK_WORDS: &str =
    "The state of `watchbell demo`. While it runs, this file is locked. `--fresh` deletes what is beside it.\n";
/// Where the local Fly's machines and releases are kept.
pub const FLY: &str = "fly";
/// What a demo writes: folders and files.
const OURS: [&str; 7] = ["bot", "discord", FLY, super::POLICY_FILE, "watchbell.toml", "bot.log", super::bot::KEPT_FILE];

/// The folder, held until this is dropped or the process is gone, however it went.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, made when it is missing; with `fresh`, without what the last demo left.
    ///
    /// # Errors
    /// When it holds something else, another demo has it, or the disk refuses.
    pub fn take(wanted: &Path, fresh: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(wanted).with_context(|| format!("cannot make {}", wanted.display()))?;
        // Whole, because the bot reads paths from where its set-up stands.
        let path = fs::canonicalize(wanted).with_context(|| format!("cannot find {}", wanted.display()))?;
        if !is_ours(&path).with_context(|| format!("cannot read {}", path.display()))? {
            bail!(
                "{} holds something else than a demo's state and is left alone; name a new or an empty folder by `--state`",
                path.display()
            );
        }
        let mark = path.join(MARK);
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&mark)
            .with_context(|| format!("cannot write {}", mark.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another demo is running on {}; use its page, stop it first, or give this one a `--state` and a `--port` of its own",
                path.display()
            ),
            Err(TryLockError::Error(why)) => {
                return Err(why).with_context(|| format!("cannot lock {}", mark.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(MARK_WORDS.as_bytes()))
            .with_context(|| format!("cannot write {}", mark.display()))?;
        if fresh {
            for name in OURS {
                remove(&path.join(name)).with_context(|| format!("cannot clear {}", path.display()))?;
            }
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, whole.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a demo may use it: it is empty, bears the mark, or was a demo's before there was a mark.
fn is_ours(path: &Path) -> io::Result<bool> {
    let before_the_mark = ["bot", "discord", "watchbell.toml"].iter().all(|name| path.join(name).exists());
    Ok(before_the_mark || path.join(MARK).is_file() || fs::read_dir(path)?.next().is_none())
}

/// Deletes a file or a folder; one that is not there is as good as deleted.
pub fn remove(path: &Path) -> io::Result<()> {
    let done = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(why) => Err(why),
    };
    match done {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_demo_wrote_is_cleared() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = dir.path().join("home");
        fs::create_dir(&home).expect("made");
        fs::write(home.join("thesis.txt"), "years of work").expect("written");
        for fresh in [true, false] {
            let why = Folder::take(&home, fresh).expect_err("it holds something else").to_string();
            assert!(why.contains("is left alone"), "{why}");
            assert_eq!(fs::read_dir(&home).expect("read").count(), 1, "nothing was added or taken");
        }

        let state = dir.path().join("demo");
        for name in ["bot", "discord"] {
            fs::create_dir_all(state.join(name)).expect("made");
        }
        fs::write(state.join("watchbell.toml"), "").expect("written");
        fs::write(state.join("note.txt"), "mine").expect("written");
        let folder = Folder::take(&state, true).expect("a state from before the mark");
        assert!(!state.join("bot").exists() && !state.join("watchbell.toml").exists());
        assert!(state.join("note.txt").exists(), "what somebody put there stays");
        drop(folder);
        Folder::take(&state, true).expect("it bears the mark now");
    }

    #[test]
    fn one_demo_at_a_time_has_a_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Folder::take(&dir.path().join("demo"), false).expect("a new folder");
        fs::write(first.path().join("bot.log"), "of the first").expect("written");
        let why = Folder::take(first.path(), true).expect_err("it is taken").to_string();
        assert!(why.contains("another demo is running"), "{why}");
        assert!(first.path().join("bot.log").exists(), "what the first writes is left alone");
        let again = first.path().to_owned();
        drop(first);
        Folder::take(&again, false).expect("it is free again");
    }
}
