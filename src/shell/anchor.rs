//! A journal that notices when its file is taken away under it.
//!
//! A file that was removed can still be written and synced by whoever has it open: every answer would be "on record" and the
//! record would be nowhere. So after each sync the name is looked at, and must still lead to the same file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::store::log::segment::LOG_DIR;
use crate::domain::policy::Span;
use crate::ports::journal::{AppendError, Committed, Entry, Head, Journal, Lines, Report};

/// How the name of a segment ends that is not compressed.
const SUFFIX: &str = ".log";

/// A journal, and the file that it must be found in.
pub struct Anchored<J> {
    inner: J,
    folder: PathBuf,
    segment: u32,
    /// Device and number of the file.
    file: (u64, u64),
    gone: Option<String>,
}

impl<J: Journal> Anchored<J> {
    /// The journal that was opened in a folder.
    ///
    /// # Errors
    /// When its newest file is not there already.
    pub fn new(inner: J, folder: &Path) -> io::Result<Self> {
        let names = fs::read_dir(folder.join(LOG_DIR))?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let segment = names.filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok()).max().unwrap_or(0);
        let file = identity(folder, segment)?;
        Ok(Self { inner, folder: folder.to_owned(), segment, file, gone: None })
    }

    fn look(&mut self) -> Result<(), AppendError> {
        if let Ok(next) = identity(&self.folder, self.segment + 1) {
            (self.segment, self.file) = (self.segment + 1, next);
        }
        if identity(&self.folder, self.segment).is_ok_and(|file| file == self.file) {
            return Ok(());
        }
        let file = path(&self.folder, self.segment);
        let why = format!(
            "{} was removed or replaced while I was writing it, so nothing that I record would be found again; put the state \
             folder back as it was and start me again",
            file.display()
        );
        self.gone = Some(why.clone());
        Err(AppendError::Fatal(why))
    }
}

/// How long the chat is asked nothing after a start: so long as what the last life said may still be counted there. Whatever it
/// said it wrote down at once, so the log's newest file tells when. None when that was long ago.
pub fn rest(folder: &Path, long: Span) -> Option<Duration> {
    let files = fs::read_dir(folder.join(LOG_DIR)).ok()?.filter_map(Result::ok);
    let newest = files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()?;
    // A file from the future says nothing of how long ago that was.
    let ago = newest.elapsed().unwrap_or_default();
    Duration::from_millis(long.millis()).checked_sub(ago).filter(|left| !left.is_zero())
}

/// A segment that is not compressed, as the store names it.
fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(LOG_DIR).join(format!("{number:08}{SUFFIX}"))
}

fn identity(folder: &Path, number: u32) -> io::Result<(u64, u64)> {
    let found = fs::metadata(path(folder, number))?;
    Ok((found.dev(), found.ino()))
}

impl<J: Journal> Journal for Anchored<J> {
    fn log_id(&self) -> &str {
        self.inner.log_id()
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn next_seq(&self) -> u64 {
        self.inner.next_seq()
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    fn append(&mut self, epoch: u64, batch: Vec<Entry>) -> Result<Committed, AppendError> {
        if let Some(why) = &self.gone {
            return Err(AppendError::Fatal(why.clone()));
        }
        let committed = self.inner.append(epoch, batch)?;
        self.look()?;
        Ok(committed)
    }

    fn read_from(&self, seq: u64) -> Lines<'_> {
        self.inner.read_from(seq)
    }

    fn verify(&self) -> Report {
        self.inner.verify()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::store;

    fn entry() -> Vec<Entry> {
        vec![Entry { input: "one".to_owned(), ..Entry::default() }]
    }

    fn anchored(folder: &Path, segment_bytes: u64) -> Anchored<store::FileJournal> {
        let options = store::Options { sled: false, segment_bytes, ..store::Options::at(1_795_449_600_000) };
        let opened = store::open(folder, &options).expect("it opens");
        Anchored::new(opened.journal, folder).expect("its file is there")
    }

    #[test]
    fn a_log_that_is_taken_away_is_noticed_before_anything_is_answered() {
        for replaced in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut journal = anchored(folder.path(), 64 << 20);
            let epoch = journal.epoch();
            assert!(journal.append(epoch, entry()).is_ok());
            let file = path(folder.path(), 1);
            let bytes = fs::read(&file).expect("it is there");
            fs::rename(&file, folder.path().join("kept")).expect("it moves");
            if replaced {
                fs::write(&file, bytes).expect("a copy");
            }
            for _ in 0..2 {
                let refused = journal.append(epoch, entry());
                assert!(
                    matches!(&refused, Err(AppendError::Fatal(why)) if why.contains("removed or replaced")),
                    "{refused:?}"
                );
            }
        }
    }

    #[test]
    fn the_next_segment_is_the_one_to_look_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = anchored(folder.path(), 2_000);
        let epoch = journal.epoch();
        for _ in 0..40 {
            assert!(journal.append(epoch, entry()).is_ok());
        }
        assert!(journal.segment > 2, "{}", journal.segment);
    }
}
