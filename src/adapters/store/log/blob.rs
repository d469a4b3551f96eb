//! Large things beside the log: files named by the hash of what is in them, on the disk before a line names them.

use std::io::{self, Read};

use super::line::sha256_hex;
use crate::ports::disk::Disk;

/// The folder.
pub const BLOB_DIR: &str = "blobs";
/// The most bytes that one may have.
pub const BLOB_BYTES_MAX: usize = 16 << 20;

/// Keeps bytes and returns their name, once they are safe. What is there already is not written again.
pub fn put(disk: &mut dyn Disk, bytes: &[u8]) -> io::Result<String> {
    if bytes.len() > BLOB_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {BLOB_BYTES_MAX} bytes")));
    }
    let name = sha256_hex(bytes);
    if get(disk, &name).is_ok() {
        return Ok(name);
    }
    let (dir, path) = place(&name)?;
    let half = format!("{path}.tmp");
    disk.create_dir(&dir)?;
    if disk.len(&half).is_ok() {
        disk.remove(&half)?;
    }
    disk.append(&half, bytes)?;
    disk.sync_data(&half)?;
    disk.rename(&half, &path)?;
    for dir in [dir.as_str(), BLOB_DIR, ""] {
        disk.sync_dir(dir)?;
    }
    Ok(name)
}

/// What has this name; an error when its bytes are no longer those that it was named after.
pub fn get(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let (_, path) = place(name)?;
    let mut bytes = Vec::new();
    disk.read(&path, 0)?.take(BLOB_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if sha256_hex(&bytes) != name {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} is damaged")));
    }
    Ok(bytes)
}

fn place(name: &str) -> io::Result<(String, String)> {
    if name.len() != 64 || !name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a blob"));
    }
    let (front, rest) = name.split_at(2);
    Ok((format!("{BLOB_DIR}/{front}"), format!("{BLOB_DIR}/{front}/{rest}")))
}
