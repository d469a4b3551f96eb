//! How a request can fail, in words that may be shown and logged.
//!
//! No sentence here holds a token, an interaction token, an address or anything of a body: what Discord says about a refusal is
//! cut, and what it quotes is taken out.

use std::fmt;

use serde_json::Value;

use crate::adapters::redact::redact;

/// The longest message of Discord's that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 200;
/// At most this many faulty fields of one refusal are kept.
const FIELDS_MAX: usize = 8;
/// Discord nests its errors as deep as the body that it refuses; deeper than this is not followed.
const DEPTH_MAX: usize = 12;

/// Why a request has no answer to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// Discord refused it; sending the same again gets the same.
    #[error("Discord refused it ({status}{}): {message}{}", Code(*.code), Fields(.errors))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Discord's own error code, 0 when it gave none.
        code: u64,
        /// Discord's message, cut, without what it quotes.
        message: String,
        /// The faulty fields, as `embeds.0.title: BASE_TYPE_MAX_LENGTH …`, cut likewise.
        errors: Vec<String>,
    },
    /// Discord's limit would hold it longer than it may wait. It was not done.
    #[error("Discord's rate limit holds it for {retry_after_ms} ms, longer than it may wait; it was not done")]
    RateLimitedTooLong {
        /// How long Discord asks to wait, in milliseconds.
        retry_after_ms: u64,
    },
    /// It was sent, and nobody knows whether it was done: look before you send it again.
    #[error("it was sent, but {trouble}: whether it was done is unknown")]
    InDoubt {
        /// What happened.
        trouble: Trouble,
    },
    /// Discord could not be reached, or a reading request got no usable answer. Nothing was changed.
    #[error("Discord could not be reached: {trouble}; nothing was changed")]
    Unreachable {
        /// What happened last.
        trouble: Trouble,
    },
    /// Its time was over while it still waited for its turn. It was not done.
    #[error("it waited {waited_ms} ms for its turn and was given up; it was not done")]
    GaveUp {
        /// How long it waited, in milliseconds.
        waited_ms: u64,
    },
    /// Discord does not accept the bot's token, or the token cannot be one.
    #[error("Discord does not accept the bot's token")]
    BadToken,
    /// Too much waits already. It was not done.
    #[error("too many requests to Discord are waiting ({waiting}); it was not done")]
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// The API's address in the configuration is no `http` or `https` address, or the client cannot be built.
    #[error("Discord's API address in the configuration cannot be used")]
    BadAddress,
}

/// What went wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection came about.
    NoConnection,
    /// No answer came in time.
    TimedOut,
    /// The connection ended before the answer did.
    ConnectionBroke,
    /// The answer was no JSON, or too long.
    NotAnAnswer,
    /// A server error, with its status.
    Server(u16),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection => f.write_str("no connection came about"),
            Self::TimedOut => f.write_str("no answer came in time"),
            Self::ConnectionBroke => f.write_str("the connection broke before the answer was complete"),
            Self::NotAnAnswer => f.write_str("what came back was not an answer of Discord's"),
            Self::Server(status) => write!(f, "Discord answered {status}"),
        }
    }
}

/// Reads the body of a refusal; `secrets` are taken out of whatever it says.
pub(super) fn refusal(status: u16, body: &Value, secrets: &[&str]) -> LaneError {
    let said = body.get("message").and_then(Value::as_str).unwrap_or("no reason given");
    let mut errors = Vec::new();
    if let Some(tree) = body.get("errors") {
        collect(tree, String::new(), 0, secrets, &mut errors);
    }
    let code = body.get("code").and_then(Value::as_u64).unwrap_or(0);
    LaneError::Refused { status, code, message: clean(said, secrets), errors }
}

/// Walks Discord's error tree: fields nest by name or index and end in `_errors`, a list of code and message.
fn collect(tree: &Value, path: String, depth: usize, secrets: &[&str], out: &mut Vec<String>) {
    let Some(branches) = tree.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (name, branch) in branches {
        if out.len() >= FIELDS_MAX {
            return;
        }
        if name == "_errors" {
            for error in branch.as_array().into_iter().flatten() {
                let part = |key| error.get(key).and_then(Value::as_str).unwrap_or("");
                out.push(clean(&format!("{path}: {} {}", part("code"), part("message")), secrets));
            }
            out.truncate(FIELDS_MAX);
        } else {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(branch, path, depth + 1, secrets, out);
        }
    }
}

/// Takes out secrets and whatever is quoted (Discord quotes what it was sent), then cuts.
fn clean(text: &str, secrets: &[&str]) -> String {
    let text = redact(text, secrets.iter().copied());
    let mut out = String::new();
    for (index, part) in text.split('"').enumerate() {
        out.push_str(if index % 2 == 0 { part } else { "“…”" });
    }
    let out = out.replace(|letter: char| letter.is_control(), " ");
    match out.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", out.get(..at).unwrap_or_default()),
        None => out,
    }
}

struct Code(u64);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ", code {}", self.0) }
    }
}

struct Fields<'a>(&'a [String]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " [{}]", self.0.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_says_which_field_and_why_and_never_what_was_sent() {
        let body = json!({
            "code": 50035, "message": "Invalid Form Body: token s3cret",
            "errors": {"embeds": {"0": {"title": {"_errors": [
                {"code": "BASE_TYPE_MAX_LENGTH", "message": "Value \"the outage\" must be 256 or fewer in length."}]}}}}
        });
        assert_eq!(
            refusal(400, &body, &["s3cret"]).to_string(),
            "Discord refused it (400, code 50035): Invalid Form Body: token … \
             [embeds.0.title: BASE_TYPE_MAX_LENGTH Value “…” must be 256 or fewer in length.]"
        );
        let cut = refusal(401, &json!({"message": "no such token: MTA.canary-"}), &["MTA.canary-token"]).to_string();
        assert_eq!(cut, "Discord refused it (401): no such token: …");
    }

    #[test]
    fn a_refusal_without_a_word_is_still_a_sentence() {
        assert_eq!(refusal(403, &Value::Null, &[]).to_string(), "Discord refused it (403): no reason given");
        let long = refusal(400, &json!({"message": "é".repeat(5_000)}), &[]).to_string();
        assert!(long.chars().count() < MESSAGE_CHARS_MAX + 40, "{long}");
    }
}
