//! An app's log lines over Fly's HTTP log API: what `fly logs` asks, a page at a time.
//!
//! The API is undocumented ("mostly stable"); its shape is flyctl's (logs/, api/resource_logs.go; field notes, section 5). A page has
//! some hundred lines, oldest first, and `next_token`, which is a moment in nanoseconds and says where the next page begins; without
//! one the newest of the last 24 hours come. Whether the line of that very moment comes once more is in no document, so lines that were
//! given already are known by their ids and left out. Fly's lines carry no secret of ours that is not taken out here; those of the
//! app itself are masked in the domain.

use std::time::Duration;

use chrono::DateTime;
use secrecy::SecretString;
use serde_json::Value;

use super::wire::{Ask, FlyError, Paces, Side, Wire};
use crate::adapters::redact::redact;
use crate::domain::logs::{Begin, Cursor, Line, Page, SEEN_MAX, Trouble};
use crate::ports::logs::Logs;

/// The time in which one request an app may go. flyctl asks every 64 ms to 4 s.
pub const LOGS_PACE: Duration = Duration::from_millis(200);
/// Lines of one answer that are taken; an answer with more is none of Fly's.
const LINES_MAX: usize = 5_000;
/// Characters of a level, a region, a code and such that are kept.
const WORD_CHARS_MAX: usize = 40;
/// Bytes of one message that are kept.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Reads logs with one token, or says that there is none.
#[derive(Debug)]
pub struct FlyLogs {
    wire: Option<Wire>,
}

impl FlyLogs {
    /// At this address (the base of `/api/v1`), with the token to look with when there is one, and one request an app in `pace`.
    ///
    /// # Errors
    /// A sentence, when the address or the token cannot be used.
    pub fn new(api_url: &str, token: Option<&SecretString>, pace: Duration) -> Result<Self, String> {
        let remedy = || "fly tokens create readonly".to_owned();
        let wire = |token| Wire::new(api_url, api_url, token, remedy(), Paces::new(pace));
        Ok(Self { wire: token.map(wire).transpose()? })
    }
}

impl Logs for FlyLogs {
    async fn page(&self, app: &str, begin: &Begin) -> Result<Page, Trouble> {
        let wire = self.wire.as_ref().ok_or(Trouble::NoToken)?;
        let ask = Ask::get("read logs", app, Side::Logs, &["apps", app, "logs"]);
        let known = Cursor::default();
        let (ask, before) = match begin {
            Begin::Newest => (ask, &known),
            Begin::After(at_ns) => (ask.query("next_token", at_ns), &known),
            Begin::Next(cursor) => (ask.query("next_token", &cursor.token), cursor),
        };
        let answer = wire.question(ask).await.map_err(|error| Trouble::Silent(error.to_string()))?;
        page(&answer, before, wire.secret()).map_err(|error| Trouble::Silent(error.to_string()))
    }
}

/// What an answer holds that was not given before. `secret` is never repeated.
///
/// # Errors
/// When it is no list of lines.
pub fn page(answer: &Value, before: &Cursor, secret: &str) -> Result<Page, FlyError> {
    let listed: &[Value] = match answer.get("data") {
        // Go writes an empty list as null.
        Some(Value::Null) => &[],
        Some(Value::Array(lines)) if lines.len() <= LINES_MAX => lines,
        _ => return Err(FlyError::local("Fly answered with something that is no list of log lines (read logs)")),
    };
    let mut at_ns = before.token.parse().unwrap_or_default();
    let mut lines: Vec<Line> = Vec::with_capacity(listed.len());
    for one in listed {
        let line = line(one, at_ns, secret);
        // One whose moment cannot be read stands where it stands in the list.
        at_ns = line.at_ns;
        if line.id.is_empty() || !before.seen.contains(&line.id) {
            lines.push(line);
        }
    }
    let token = match answer.pointer("/meta/next_token") {
        // One that could not be kept among other words is none.
        Some(Value::String(token)) if !token.is_empty() && !token.contains(char::is_whitespace) => {
            token.chars().take(WORD_CHARS_MAX).collect()
        }
        Some(Value::Number(number)) => number.to_string(),
        _ => lines.last().map_or_else(|| before.token.clone(), |line| line.at_ns.to_string()),
    };
    // The newest are those that could come again.
    let mut seen: Vec<String> = lines.iter().rev().map(|line| line.id.clone()).filter(|id| !id.is_empty()).collect();
    seen.extend(before.seen.iter().cloned());
    seen.truncate(SEEN_MAX);
    Ok(Page { lines, next: Cursor { token, seen } })
}

fn line(one: &Value, before_ns: i64, secret: &str) -> Line {
    let at = |place: &str| one.pointer(place).filter(|found| !found.is_null());
    let word = |places: &[&str]| {
        let said = places.iter().find_map(|place| at(place)?.as_str()).unwrap_or_default();
        let bare = said.chars().filter(|c| !c.is_control() && !c.is_whitespace());
        bare.take(WORD_CHARS_MAX).collect::<String>()
    };
    let moment = at("/attributes/timestamp").and_then(Value::as_str);
    let at_ns = moment.and_then(|text| DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt());
    let said = at("/attributes/message").and_then(Value::as_str).unwrap_or_default();
    let said = said.get(..said.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default();
    let code = match at("/attributes/meta/error/code") {
        Some(Value::Number(number)) if number.as_i64() != Some(0) => number.to_string(),
        Some(Value::String(code)) => code.chars().take(WORD_CHARS_MAX).collect(),
        _ => String::new(),
    };
    Line {
        id: word(&["/id"]),
        service: String::new(),
        at_ns: at_ns.unwrap_or(before_ns),
        level: word(&["/attributes/level"]),
        provider: word(&["/attributes/meta/event/provider"]),
        region: word(&["/attributes/region", "/attributes/meta/region"]),
        machine: word(&["/attributes/instance", "/attributes/meta/instance"]),
        message: redact(said, [secret]),
        status: at("/attributes/meta/http/response/status_code")
            .and_then(Value::as_u64)
            .and_then(|status| u16::try_from(status).ok()),
        code,
        masked: 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// JSON of any shape, with the keys that are looked for.
    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            Just(Value::from("2026-11-24T09:00:00Z")),
        ];
        let keys = prop::sample::select(vec![
            "data",
            "meta",
            "next_token",
            "id",
            "attributes",
            "timestamp",
            "message",
            "level",
            "instance",
            "region",
            "event",
            "provider",
            "http",
            "response",
            "status_code",
            "error",
            "code",
        ]);
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((keys.clone(), inner), 0..8)
                    .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn any_answer_is_read_or_refused_without_a_panic(lines in prop::collection::vec(anything(), 0..6), answer in anything()) {
            let before = Cursor { token: "7".to_owned(), seen: vec!["a".to_owned()] };
            let _ = page(&answer, &before, "fm2_canary_secret");
            let listed = lines.len();
            let read = page(&json!({"data": lines}), &before, "fm2_canary_secret");
            prop_assert!(read.is_ok_and(|page| page.lines.len() <= listed && page.next.seen.len() <= SEEN_MAX));
        }
    }

    fn one(id: &str, at: &str, message: &str) -> Value {
        json!({"id": id, "type": "log", "attributes": {
            "timestamp": at, "message": message, "level": "info", "instance": "m1", "region": "ord",
            "meta": {"instance": "m1", "region": "ord", "event": {"provider": "proxy"},
                     "http": {"request": {"id": "r", "method": "GET"}, "response": {"status_code": 502}},
                     "error": {"code": 12, "message": "x"}},
        }})
    }

    fn read(answer: &Value, before: &Cursor) -> Page {
        page(answer, before, "fm2_canary_secret").unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_line_has_what_fly_says_of_it_and_nothing_of_our_token() {
        let answer = json!({"data": [one("a", "2026-11-24T09:00:00.000000001Z", "got fm2_canary_secret")],
                            "meta": {"next_token": "7"}});
        let page = read(&answer, &Cursor::default());
        assert_eq!(page.next, Cursor { token: "7".to_owned(), seen: vec!["a".to_owned()] });
        let line = &page.lines[0];
        assert_eq!((line.at_ns, line.status, line.code.as_str()), (1_795_510_800_000_000_001, Some(502), "12"));
        assert_eq!((line.provider.as_str(), line.region.as_str(), line.machine.as_str()), ("proxy", "ord", "m1"));
        assert_eq!(line.message, "got …");
    }

    #[test]
    fn what_was_given_already_is_left_out_and_an_empty_page_keeps_its_place() {
        let before = Cursor { token: "7".to_owned(), seen: vec!["a".to_owned()] };
        let both = [one("a", "2026-11-24T09:00:00Z", "1"), one("b", "no moment", "2")];
        let page = read(&json!({"data": both, "meta": {"next_token": "8"}}), &before);
        assert_eq!(page.lines.iter().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(page.lines[0].at_ns, 1_795_510_800_000_000_000, "where it stands in the list");
        assert_eq!(page.next.seen, ["b", "a"]);
        for empty in [
            json!({"data": null, "meta": {}}),
            json!({"data": [], "meta": {"next_token": ""}}),
            json!({"data": [], "meta": {"next_token": "8 b"}}),
        ] {
            assert_eq!(read(&empty, &before), Page { lines: Vec::new(), next: before.clone() });
        }
    }

    #[test]
    fn what_is_no_list_is_an_error_and_odd_lines_are_lines() {
        for odd in [json!({}), json!([]), json!({"data": "x"}), json!("x")] {
            assert!(page(&odd, &Cursor::default(), "s").is_err(), "{odd}");
        }
        let odd = json!({"data": [7, {}, {"attributes": {"message": 7, "level": "a\nb", "meta": null}}], "meta": {"next_token": 9}});
        let page = read(&odd, &Cursor::default());
        assert_eq!((page.lines.len(), page.lines[2].level.as_str(), page.next.token.as_str()), (3, "ab", "9"));
    }
}
