//! How Discord says no: a status, a code, a message and, for a bad form, where in the body each fault is.
//!
//! Codes and messages: the JSON error codes and the error shape of Discord's documents.

use serde_json::{Map, Value, json};

/// An answer that refuses.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Discord's JSON error code; 0 for a plain HTTP error.
    pub code: u32,
    /// Discord's words.
    pub message: String,
    /// Nested faults of a form (code 50035).
    pub errors: Option<Value>,
}

impl Refusal {
    /// A refusal without nested faults.
    pub fn new(status: u16, code: u32, message: &str) -> Refusal {
        Refusal { status, code, message: message.to_owned(), errors: None }
    }

    /// The body as it goes on the wire.
    pub fn body(&self) -> Value {
        let mut body = json!({"message": self.message, "code": self.code});
        if let Some(errors) = &self.errors {
            body["errors"] = errors.clone();
        }
        body
    }

    /// Discord's answer for a path that it does not have.
    pub fn not_found() -> Refusal {
        Refusal::new(404, 0, "404: Not Found")
    }

    /// No or a wrong token.
    pub fn unauthorized() -> Refusal {
        Refusal::new(401, 0, "401: Unauthorized")
    }

    /// 10003.
    pub fn unknown_channel() -> Refusal {
        Refusal::new(404, 10003, "Unknown Channel")
    }

    /// 10004.
    pub fn unknown_guild() -> Refusal {
        Refusal::new(404, 10004, "Unknown Guild")
    }

    /// 10008.
    pub fn unknown_message() -> Refusal {
        Refusal::new(404, 10008, "Unknown Message")
    }

    /// 10062: the interaction is over, or never was.
    pub fn unknown_interaction() -> Refusal {
        Refusal::new(404, 10062, "Unknown interaction")
    }

    /// 50001: it may not even see the place.
    pub fn missing_access() -> Refusal {
        Refusal::new(403, 50001, "Missing Access")
    }

    /// 50013.
    pub fn missing_permissions() -> Refusal {
        Refusal::new(403, 50013, "Missing Permissions")
    }

    /// 50006.
    pub fn empty_message() -> Refusal {
        Refusal::new(400, 50006, "Cannot send an empty message")
    }
}

/// Collects the faults of one body, each at its path.
#[derive(Debug, Default)]
pub struct Form {
    errors: Map<String, Value>,
}

impl Form {
    /// Notes a fault at a dotted path such as `embeds.0.title`.
    pub fn fault(&mut self, path: &str, code: &str, message: impl Into<String>) {
        let mut at = &mut self.errors;
        for part in path.split('.') {
            let next = at.entry(part).or_insert_with(|| json!({}));
            let Some(next) = next.as_object_mut() else { return };
            at = next;
        }
        let list = at.entry("_errors").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"code": code, "message": message.into()}));
        }
    }

    /// Text at `key` of `body`: its type and, in characters, its length. Returns it when it is there and text.
    pub fn text<'a>(&mut self, body: &'a Value, key: &str, path: &str, min: usize, max: usize) -> Option<&'a str> {
        let value = body.get(key).filter(|value| !value.is_null())?;
        let Some(text) = value.as_str() else {
            self.fault(path, "STRING_TYPE_CONVERT", "Could not interpret as string.");
            return None;
        };
        let length = text.chars().count();
        if length > max && min > 0 || length < min {
            let words = format!("Must be between {min} and {max} in length.");
            self.fault(path, "BASE_TYPE_BAD_LENGTH", words);
        } else if length > max {
            self.fault(path, "BASE_TYPE_MAX_LENGTH", format!("Must be {max} or fewer in length."));
        }
        Some(text)
    }

    /// The same, and it must be there.
    pub fn required_text<'a>(
        &mut self,
        body: &'a Value,
        key: &str,
        path: &str,
        min: usize,
        max: usize,
    ) -> Option<&'a str> {
        if body.get(key).is_none_or(Value::is_null) {
            self.required(path);
            return None;
        }
        self.text(body, key, path, min, max)
    }

    /// Notes that something is missing.
    pub fn required(&mut self, path: &str) {
        self.fault(path, "BASE_TYPE_REQUIRED", "This field is required");
    }

    /// A list at `key`, with its bounds. `None` when absent or null.
    pub fn list<'a>(
        &mut self,
        body: &'a Value,
        key: &str,
        path: &str,
        min: usize,
        max: usize,
    ) -> Option<&'a Vec<Value>> {
        let value = body.get(key).filter(|value| !value.is_null())?;
        let Some(list) = value.as_array() else {
            self.fault(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType");
            return None;
        };
        if list.len() < min || list.len() > max {
            let words = match min {
                0 => format!("Must be {max} or fewer in length."),
                _ => format!("Must be between {min} and {max} in length."),
            };
            self.fault(path, if min == 0 { "BASE_TYPE_MAX_LENGTH" } else { "BASE_TYPE_BAD_LENGTH" }, words);
        }
        Some(list)
    }

    /// A whole number at `key`, with its bounds.
    pub fn number(&mut self, body: &Value, key: &str, path: &str, min: i64, max: i64) -> Option<i64> {
        let value = body.get(key).filter(|value| !value.is_null())?;
        let Some(number) = value.as_i64() else {
            self.fault(path, "NUMBER_TYPE_COERCE", "Value could not be coerced to a number.");
            return None;
        };
        if number < min {
            self.fault(path, "NUMBER_TYPE_MIN", format!("int value should be greater than or equal to {min}."));
        } else if number > max {
            self.fault(path, "NUMBER_TYPE_MAX", format!("int value should be less than or equal to {max}."));
        }
        Some(number)
    }

    /// Refuses a field whose name is all but that of a known one.
    ///
    /// Undocumented: Discord passes over unknown fields in silence. A misspelled one is a fault that nobody would
    /// ever see, so it is refused here; names that resemble nothing are passed over, as other libraries send some.
    pub fn spelling(&mut self, body: &Value, path: &str, known: &[&str]) {
        let Some(fields) = body.as_object() else { return };
        for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
            if let Some(meant) = known.iter().find(|known| resembles(field, known)) {
                let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
                self.fault(&path, "UNKNOWN_FIELD", format!("Unknown field; did you mean {meant}?"));
            }
        }
    }

    /// 50035 with all that was found, or nothing.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let errors = Some(Value::Object(self.errors));
        Err(Refusal { errors, ..Refusal::new(400, 50035, "Invalid Form Body") })
    }
}

/// Equal but for case, underscores and hyphens, or one letter more, less or other.
fn resembles(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| *c != '_' && *c != '-').map(|c| c.to_ascii_lowercase()).collect()
    };
    let (a, b) = (plain(a), plain(b));
    if a == b {
        return true;
    }
    if a.len().min(b.len()) < 4 {
        return false;
    }
    let head = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(head..).unwrap_or_default(), b.get(head..).unwrap_or_default());
    match a.len() as i64 - b.len() as i64 {
        0 => a.get(1..) == b.get(1..),
        1 => a.get(1..) == Some(b),
        -1 => Some(a) == b.get(1..),
        _ => false,
    }
}
