//! Identifiers and times as Fly writes them.

use chrono::{DateTime, SecondsFormat, Utc};

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// This moment.
#[expect(clippy::disallowed_methods, reason = "a stand-in's time is real, as its original's is")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Nanoseconds since 1970, the unit of the log's paging.
pub fn nanos(at: DateTime<Utc>) -> i64 {
    at.timestamp_nanos_opt().unwrap_or(i64::MAX)
}

/// RFC 3339 with milliseconds.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// 26 characters that sort by time: events, versions of a machine, requests.
pub fn ulid(at: DateTime<Utc>) -> String {
    let mut text = String::with_capacity(26);
    let ms = at.timestamp_millis().max(0) as u64;
    for shift in (0..10).rev() {
        text.push(letter(ms >> (shift * 5)));
    }
    for _ in 0..16 {
        text.push(letter(fastrand::u64(..)));
    }
    text
}

fn letter(bits: u64) -> char {
    CROCKFORD.get((bits & 31) as usize).map_or('0', |byte| char::from(*byte))
}

/// Hexadecimal digits, as machines have them.
pub fn hex(digits: usize) -> String {
    (0..digits).map(|_| char::from_digit(fastrand::u32(0..16), 16).unwrap_or('0')).collect()
}

/// A `sha256:` digest that is always the same for the same text. It names an image that nobody ever built.
pub fn digest(text: &str) -> String {
    let mut out = String::from("sha256:");
    for part in 0..4u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        out.push_str(&format!("{hash:016x}"));
    }
    out
}
