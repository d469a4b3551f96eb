//! One decision as one line of text: how it is written, and what makes it verify.
//!
//! ```text
//! {"v":1,"seq":17,"batch":16,"at":"2026-03-01T02:10:00.000Z","team":"ops","epoch":3,"input":"i-9","skip":false,
//!  "body_hash":"…","prev":"…","hash":"…","body":{"facts":[…],"effects":[…]}}
//! ```
//!
//! (on one line). `hash` is SHA-256 over the exact bytes before `,"hash"`; `body_hash` over the exact bytes of the body.
//! So a body can be replaced by `{"redacted":{…},"facts":[…],"effects":[…]}` and every hash still holds. Pure.

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::ports::journal::{Entry, LINE_BYTES_MAX, Line, Note, Redaction, THING_BYTES_MAX, on_of};

/// The version of the line's form that this binary writes.
pub const LINE_VERSION: u32 = 1;
/// What stands before the first line: no hash.
pub const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The digits of a hash.
const HASH_CHARS: usize = 64;
/// No line is shorter than this, in bytes: bounds how many could have stood in a damaged stretch.
pub(super) const LINE_BYTES_MIN: u64 = 256;

const HASH_KEY: &[u8] = b",\"hash\":\"";
const BODY_KEY: &[u8] = b"\",\"body\":";

/// A line that verifies by itself, and what ties it to the one before.
pub(super) struct Parsed {
    pub line: Line,
    pub prev: String,
    /// Where its body starts, in bytes from its start.
    pub body_at: usize,
}

/// Where a new line stands.
pub(super) struct Place<'a> {
    pub seq: u64,
    pub batch: u64,
    pub at_ms: i64,
    pub epoch: u64,
    pub prev: &'a str,
}

/// SHA-256 as hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(HASH_CHARS);
    for byte in Sha256::digest(bytes) {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Time as it stands in a line.
pub fn rfc3339(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Whether a decision is fit to be recorded; the sentence says what is wrong.
pub(super) fn check(entry: &Entry) -> Result<(), String> {
    for json in entry.facts.iter().chain(&entry.effects) {
        let on = on_of(json).ok_or("a fact or effect is not a JSON object with a key \"on\"")?;
        let fit = !on.is_empty() && on.len() <= THING_BYTES_MAX && !on.contains('\0');
        if !fit || json.contains('\n') {
            return Err(format!("a fact or effect on {on:?} is not in form"));
        }
    }
    Ok(())
}

/// Writes a line, its line feed included, and says what it is.
pub(super) fn encode(entry: Entry, note: Option<Note>, place: &Place<'_>) -> Result<(String, Line), String> {
    let body = match &note {
        Some(note) => format!("{{\"log\":{}}}", serde_json::to_string(note).map_err(|error| error.to_string())?),
        None => body_of(&entry.facts, &entry.effects),
    };
    let Place { seq, batch, at_ms, epoch, prev } = *place;
    let head = format!(
        "{{\"v\":{LINE_VERSION},\"seq\":{seq},\"batch\":{batch},\"at\":\"{}\",\"team\":{},\"epoch\":{epoch},\
         \"input\":{},\"skip\":{},\"body_hash\":\"{}\",\"prev\":\"{prev}\"",
        rfc3339(at_ms),
        quoted(&entry.team),
        quoted(&entry.input),
        entry.skip,
        sha256_hex(body.as_bytes()),
    );
    let hash = sha256_hex(head.as_bytes());
    let text = format!("{head},\"hash\":\"{hash}\",\"body\":{body}}}\n");
    if text.len() > LINE_BYTES_MAX {
        return Err(format!(
            "a decision of {} bytes is longer than the {LINE_BYTES_MAX} that a line may have",
            text.len()
        ));
    }
    let Entry { team, input, skip, facts, effects, .. } = entry;
    let line = Line {
        v: LINE_VERSION,
        seq,
        batch,
        at_ms,
        team,
        epoch,
        input,
        skip,
        hash,
        facts,
        effects,
        redacted: None,
        note,
    };
    Ok((text, line))
}

/// Reads a line, its line feed not included, and checks both hashes. The sentence says what is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    #[derive(Deserialize)]
    struct Front {
        v: u32,
        seq: u64,
        batch: u64,
        at: String,
        team: String,
        epoch: u64,
        input: String,
        skip: bool,
        body_hash: String,
        prev: String,
    }
    // Inside a JSON string a quotation mark is escaped, so the first plain `,"hash":"` is the key itself.
    let at = find(bytes, HASH_KEY).ok_or("it is no line")?;
    let (head, rest) = bytes.split_at(at);
    let rest = &rest[HASH_KEY.len()..];
    let hash = rest.get(..HASH_CHARS).and_then(|hash| std::str::from_utf8(hash).ok()).ok_or("it is no line")?;
    let body = rest[HASH_CHARS..].strip_prefix(BODY_KEY).and_then(|body| body.strip_suffix(b"}"));
    let body = body.ok_or("it ends too early")?;
    if sha256_hex(head) != hash {
        return Err("its hash does not hold");
    }
    let head = [head, b"}"].concat();
    let front: Front = serde_json::from_slice(&head).map_err(|_| "it lacks something that every line has")?;
    let at_ms = DateTime::parse_from_rfc3339(&front.at).map_err(|_| "its time is no time")?.timestamp_millis();
    let body_text = std::str::from_utf8(body).map_err(|_| "its body is no text")?;
    let intact = sha256_hex(body) == front.body_hash;
    let parts = Body::read(body_text).ok_or("its body does not hold")?;
    if !intact && parts.redacted.is_none() {
        return Err("its body's hash does not hold");
    }
    let line = Line {
        v: front.v,
        seq: front.seq,
        batch: front.batch,
        at_ms,
        team: front.team,
        epoch: front.epoch,
        input: front.input,
        skip: front.skip,
        hash: hash.to_owned(),
        facts: parts.facts,
        effects: parts.effects,
        redacted: if intact { None } else { parts.redacted },
        note: parts.note,
    };
    Ok(Parsed { line, prev: front.prev, body_at: at + HASH_KEY.len() + HASH_CHARS + BODY_KEY.len() })
}

/// A line with its body replaced: who, why and when, and what may stay. Every hash stays as it was.
pub(super) fn redacted(
    line: &[u8],
    body_at: usize,
    redaction: &Redaction,
    facts: &[String],
    effects: &[String],
) -> Result<Vec<u8>, String> {
    let tombstone = serde_json::to_string(redaction).map_err(|error| error.to_string())?;
    let kept = body_of(facts, effects);
    let mut out = line.get(..body_at).ok_or("the line ends before its body")?.to_vec();
    out.extend_from_slice(format!("{{\"redacted\":{tombstone},{}}}\n", kept.trim_start_matches('{')).as_bytes());
    if out.len() > LINE_BYTES_MAX {
        return Err("the reason is too long".to_owned());
    }
    Ok(out)
}

fn body_of(facts: &[String], effects: &[String]) -> String {
    format!("{{\"facts\":[{}],\"effects\":[{}]}}", facts.join(","), effects.join(","))
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A body's parts, each fact and effect in its exact words.
#[derive(Default)]
struct Body {
    facts: Vec<String>,
    effects: Vec<String>,
    redacted: Option<Redaction>,
    note: Option<Note>,
}

impl Body {
    fn read(text: &str) -> Option<Body> {
        let mut body = Body::default();
        for (key, value) in split_object(text)? {
            match key {
                "facts" => body.facts = split_array(value)?.into_iter().map(str::to_owned).collect(),
                "effects" => body.effects = split_array(value)?.into_iter().map(str::to_owned).collect(),
                "redacted" => body.redacted = Some(serde_json::from_str(value).ok()?),
                // A note of a kind that a later release invented is passed over; its line still counts.
                "log" => body.note = serde_json::from_str(value).ok(),
                _ => {}
            }
        }
        Some(body)
    }
}

/// The members of a JSON object without nested escapes in its keys, values in their exact bytes.
pub fn split_object(text: &str) -> Option<Vec<(&str, &str)>> {
    let inside = checked(text)?.strip_prefix('{')?.strip_suffix('}')?;
    split(inside)
        .into_iter()
        .map(|member| {
            let (key, value) = member.trim().strip_prefix('"')?.split_once('"')?;
            Some((key, value.trim_start().strip_prefix(':')?.trim()))
        })
        .collect()
}

/// The items of a JSON array in their exact bytes.
pub fn split_array(text: &str) -> Option<Vec<&str>> {
    Some(split(text.trim().strip_prefix('[')?.strip_suffix(']')?))
}

/// The text, if it is JSON: splitting relies on it.
fn checked(text: &str) -> Option<&str> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    Some(text.trim())
}

/// Splits at the commas that stand outside strings and brackets.
fn split(inside: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0u32, false, false);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(inside[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inside[start..].trim().is_empty() {
        parts.push(inside[start..].trim());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (String, Line) {
        let entry = Entry {
            team: "ops".into(),
            input: r#"a "quoted" ,"hash":" id"#.into(),
            facts: vec![r#"{"on":"inc/7","t":"a, b ] } \" [","n":1.50}"#.into(), r#"{"on":"inc/8"}"#.into()],
            effects: vec![r#"{"on":"inc/7","id":"17-0","deep":[{"x":[1,2]}]}"#.into()],
            ..Entry::default()
        };
        let place = Place { seq: 17, batch: 16, at_ms: 1_772_331_000_000, epoch: 3, prev: NO_HASH };
        encode(entry, None, &place).unwrap()
    }

    #[test]
    fn a_line_comes_back_in_its_exact_words() {
        let (text, line) = sample();
        let parsed = parse(text.trim_end().as_bytes()).unwrap();
        assert_eq!(parsed.line, line);
        assert_eq!(parsed.prev, NO_HASH);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (text, _) = sample();
        let line = text.trim_end().as_bytes();
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "byte {at} may be changed unseen");
            assert!(parse(&line[..at]).is_err(), "cut at {at} unseen");
        }
    }

    #[test]
    fn a_redacted_line_still_verifies_and_says_who_and_why() {
        let (text, line) = sample();
        let bytes = text.trim_end().as_bytes();
        let parsed = parse(bytes).unwrap();
        let redaction = Redaction { by: "ana".into(), why: "a token".into(), at: rfc3339(0) };
        let masked = vec![r#"{"on":"inc/7","t":"…"}"#.to_owned()];
        let out = redacted(bytes, parsed.body_at, &redaction, &masked, &[]).unwrap();
        let again = parse(out.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(again.line.hash, line.hash);
        assert_eq!(again.line.redacted, Some(redaction));
        assert_eq!(again.line.facts, masked);
        assert!(again.line.effects.is_empty());
    }

    #[test]
    fn what_is_not_in_form_is_refused() {
        for fact in ["{}", "[1]", "nonsense", r#"{"on":""}"#, "{\"on\":\"a\",\n\"b\":1}", r#"{"on":"a\u0000b"}"#] {
            assert!(check(&Entry { facts: vec![fact.into()], ..Entry::default() }).is_err(), "{fact}");
        }
    }
}
