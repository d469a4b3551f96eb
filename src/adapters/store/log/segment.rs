//! The files of the log: their names, how they are read, and how a sealed one is compressed.
//!
//! `log/00000001.log` is plain, `log/00000001.log.gz` is the same bytes compressed. A reader asks for a number and gets
//! the plain bytes, whichever is there. The plain file is removed only after the compressed one, read back from the
//! disk, gave the same bytes.

use std::io::{self, Read};

use crate::ports::disk::Disk;

/// The folder of the segments.
pub const LOG_DIR: &str = "log";
/// Where bytes go that recovery cuts off: nothing is thrown away.
pub const CUT_DIR: &str = "log/cut";

/// A segment's plain file.
pub(super) fn plain(number: u32) -> String {
    format!("{LOG_DIR}/{number:08}.log")
}

/// A segment's compressed file.
pub(super) fn packed(number: u32) -> String {
    format!("{LOG_DIR}/{number:08}.log.gz")
}

/// The numbers of the segments that are there, in order.
pub(super) fn numbers(disk: &dyn Disk) -> io::Result<Vec<u32>> {
    let mut numbers: Vec<u32> = disk.list(LOG_DIR)?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log.gz").or_else(|| name.strip_suffix(".log"))?;
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) { None } else { digits.parse().ok() }
}

/// A segment's plain bytes from `from` on.
pub(super) fn read(disk: &dyn Disk, number: u32, from: u64) -> io::Result<Box<dyn Read + Send>> {
    match disk.read(&plain(number), from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut reader = pack::unpacked(disk.read(&packed(number), 0)?)?;
            io::copy(&mut (&mut reader).take(from), &mut io::sink())?;
            Ok(reader)
        }
        other => other,
    }
}

/// Whether there is no segment at all.
pub fn is_empty(disk: &dyn Disk) -> io::Result<bool> {
    numbers(disk).map(|numbers| numbers.is_empty())
}

/// Whether a sealed segment is still plain.
pub fn has_plain_below(disk: &dyn Disk, newest: u32) -> bool {
    numbers(disk)
        .is_ok_and(|numbers| numbers.iter().any(|number| *number < newest && disk.len(&plain(*number)).is_ok()))
}

/// Removes what an interrupted compression or rewriting left behind.
pub(super) fn tidy(disk: &mut dyn Disk) -> io::Result<()> {
    for name in disk.list(LOG_DIR)? {
        if name.ends_with(".tmp") {
            disk.remove(&format!("{LOG_DIR}/{name}"))?;
        }
    }
    Ok(())
}

/// Compresses every sealed segment that is still plain. `newest` is being written and is left alone. Returns how many.
///
/// Safe beside a writer that appends to `newest`, and beside readers; not beside a redaction.
pub fn pack_sealed(disk: &mut dyn Disk, newest: u32) -> io::Result<usize> {
    let mut done = 0;
    for number in numbers(disk)?.into_iter().filter(|number| *number < newest) {
        if disk.len(&plain(number)).is_ok() {
            done += usize::from(pack::replace_plain(disk, number)?);
        }
    }
    Ok(done)
}

#[cfg(feature = "shell")]
mod pack {
    use std::io::{self, Read};

    use flate2::Compression;
    use flate2::bufread::GzEncoder;
    use flate2::read::MultiGzDecoder;

    use super::{LOG_DIR, packed, plain};
    use crate::ports::disk::Disk;

    const COPY_BYTES: usize = 256 << 10;

    pub(super) fn unpacked(reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(MultiGzDecoder::new(io::BufReader::new(reader))))
    }

    pub(super) fn replace_plain(disk: &mut dyn Disk, number: u32) -> io::Result<bool> {
        let (from, to) = (plain(number), packed(number));
        let half = format!("{to}.tmp");
        if disk.len(&half).is_ok() {
            disk.remove(&half)?;
        }
        let mut source = GzEncoder::new(io::BufReader::new(disk.read(&from, 0)?), Compression::default());
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = source.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            disk.append(&half, &buffer[..count])?;
        }
        disk.sync_data(&half)?;
        if !same(&mut *disk.read(&from, 0)?, &mut *unpacked(disk.read(&half, 0)?)?)? {
            disk.remove(&half)?;
            return Err(io::Error::other(format!("{to} did not read back as it was written")));
        }
        disk.rename(&half, &to)?;
        disk.sync_dir(LOG_DIR)?;
        disk.remove(&from)?;
        disk.sync_dir(LOG_DIR)?;
        Ok(true)
    }

    fn same(left: &mut dyn Read, right: &mut dyn Read) -> io::Result<bool> {
        let (mut a, mut b) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
        loop {
            let count = fill(left, &mut a)?;
            if fill(right, &mut b)? != count || a[..count] != b[..count] {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    }

    fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            match reader.read(&mut buffer[count..])? {
                0 => break,
                more => count += more,
            }
        }
        Ok(count)
    }
}

/// Without the shell nothing is compressed: a simulation's segments stay plain.
#[cfg(not(feature = "shell"))]
mod pack {
    use std::io::{self, Read};

    use crate::ports::disk::Disk;

    pub(super) fn unpacked(_: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this build reads no compressed segments"))
    }

    pub(super) fn replace_plain(_: &mut dyn Disk, _: u32) -> io::Result<bool> {
        Ok(false)
    }
}
