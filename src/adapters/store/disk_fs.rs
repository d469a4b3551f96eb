//! The Disk port on the file system. The only file of the store that touches `std::fs` for the log.
//!
//! Decides nothing: every call is one or two of the system's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ports::disk::Disk;

/// Makes a folder, and what is missing above it, for nobody but who runs the bot: what is said in incidents, and machines' whole
/// configurations, are no other user's of the machine. One that is there stays as it is.
///
/// # Errors
/// As the system says.
pub fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A folder on the file system.
pub struct FsDisk {
    root: PathBuf,
    /// The file that was written last stays open: nearly every write goes to the same segment.
    open: Option<(String, File)>,
}

impl FsDisk {
    /// The disk that is this folder, which must be there.
    pub fn new(root: &Path) -> Self {
        FsDisk { root: root.to_owned(), open: None }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn file(&mut self, path: &str) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(name, _)| name != path) {
            let mut options = OpenOptions::new();
            options.append(true).create(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(self.path(path))?;
            self.open = Some((path.to_owned(), file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn close(&mut self, path: &str) {
        self.open = self.open.take().filter(|(name, _)| name != path);
    }
}

impl Disk for FsDisk {
    fn create_dir(&mut self, dir: &str) -> io::Result<()> {
        make_private(&self.path(dir))
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(path)?.write_all(bytes)
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.file(path)?.sync_data()
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.file(path)?.set_len(len)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        fs::metadata(self.path(path)).map(|found| found.len())
    }

    fn read(&self, path: &str, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.path(path))?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.close(from);
        self.close(to);
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.close(path);
        fs::remove_file(self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// From `df`, where that is installed: the standard library cannot ask.
    fn free_bytes(&self) -> Option<u64> {
        let mut df = Command::new("df");
        let out = df.args(["-Pk", "--"]).arg(&self.root).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(out.stdout).ok()?;
        let free_kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
        free_kib.checked_mul(1024)
    }
}
