//! Log lines as they are written, over Fly's NATS: inside its private network, or through WireGuard.
//!
//! Fly calls it experimental: the user is the organisation's slug, the password the token (a read-only one does), the subject
//! `logs.<app>.<region>.<machine>`, one JSON object a line, live only (its documents and flyctl's logs/; field notes, section 5).
//! Connecting anew is the library's; that it was away is told, because what was written meanwhile is not sent again.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message, Subscriber};
use chrono::DateTime;
use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, select_all};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Notify;
use tracing::info;

use super::token::Token;
use crate::adapters::redact::redact;
use crate::domain::logs::{Line, Trouble};
use crate::ports::logs::{Came, LogLines, LogStream};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Lines that wait for whoever reads them; what comes beyond is dropped by the library, and a catch-up over HTTP brings it.
const WAITING_MAX: usize = 4_096;
/// The largest line read, in bytes.
const LINE_BYTES_MAX: usize = 256 << 10;
/// Characters of a level, a region and such that are kept.
const WORD_CHARS_MAX: usize = 40;

/// Where the stream is, and with what it is asked for.
pub struct FlyStream {
    url: String,
    org: String,
    token: Token,
}

impl std::fmt::Debug for FlyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlyStream").field("url", &self.url).field("org", &self.org).finish_non_exhaustive()
    }
}

impl FlyStream {
    /// At this address, for this organisation.
    ///
    /// # Errors
    /// A sentence, when the token cannot be used.
    pub fn new(url: &str, org: &str, token: &SecretString) -> Result<Self, String> {
        Ok(Self { url: url.to_owned(), org: org.to_owned(), token: Token::normalise(token)? })
    }

    fn silent(&self, why: &dyn std::fmt::Display) -> Trouble {
        Trouble::Silent(redact(&format!("NATS could not be reached: {why}"), [self.token.secret()]))
    }
}

impl LogStream for FlyStream {
    type Lines = FlyLines;

    async fn subscribe(&self, apps: &[String]) -> Result<FlyLines, Trouble> {
        let missed = Arc::new(Notify::new());
        let told = Arc::clone(&missed);
        let client = ConnectOptions::with_user_and_password(self.org.clone(), self.token.secret().to_owned())
            .name("watchbell")
            .connection_timeout(CONNECT_WITHIN)
            .subscription_capacity(WAITING_MAX)
            .event_callback(move |event| {
                let told = Arc::clone(&told);
                async move {
                    match event {
                        // The permit waits for whoever is not listening at the moment.
                        Event::Connected | Event::SlowConsumer(_) => told.notify_one(),
                        other => info!(event = %other, "About the log stream"),
                    }
                }
            })
            .connect(&self.url)
            .await
            .map_err(|error| self.silent(&error))?;
        let mut all = Vec::new();
        for app in apps.iter().filter(|app| is_subject(app)) {
            let subject = format!("logs.{app}.>");
            all.push(client.subscribe(subject).await.map_err(|error| self.silent(&error))?);
        }
        // The server has the subscriptions, so that nothing falls between them and what is read next.
        client.flush().await.map_err(|error| self.silent(&error))?;
        Ok(FlyLines { lines: select_all(all), missed, secret: self.token.clone(), _client: client })
    }
}

/// Lines as they come.
pub struct FlyLines {
    lines: SelectAll<Subscriber>,
    missed: Arc<Notify>,
    secret: Token,
    _client: Client,
}

impl LogLines for FlyLines {
    async fn next(&mut self) -> Option<Came> {
        loop {
            tokio::select! {
                next = self.lines.next() => {
                    if let Some(came) = line(&next?, self.secret.secret()) {
                        return Some(came);
                    }
                }
                () = self.missed.notified() => return Some(Came::Missed),
            }
        }
    }
}

/// Whether an app's name can stand in a subject. Fly's are letters, figures and dashes.
fn is_subject(app: &str) -> bool {
    !app.is_empty() && app.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn line(message: &Message, secret: &str) -> Option<Came> {
    let app = message.subject.as_str().split('.').nth(1)?;
    read(app, &message.payload, secret)
}

/// A line as Fly sends it over NATS; none when it is none. `secret` is never repeated.
pub fn read(app: &str, payload: &[u8], secret: &str) -> Option<Came> {
    let one: Value = serde_json::from_slice(payload.get(..payload.len().min(LINE_BYTES_MAX))?).ok()?;
    let word = |place: &str| {
        let said = one.pointer(place).and_then(Value::as_str).unwrap_or_default();
        said.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(WORD_CHARS_MAX).collect::<String>()
    };
    let at_ns = DateTime::parse_from_rfc3339(one.get("timestamp")?.as_str()?).ok()?.timestamp_nanos_opt()?;
    let line = Line {
        at_ns,
        level: word("/log/level"),
        provider: word("/event/provider"),
        region: word("/fly/region"),
        machine: word("/fly/app/instance"),
        message: redact(one.get("message")?.as_str()?, [secret]),
        ..Line::default()
    };
    Some(Came::Line(app.to_owned(), Box::new(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_fly_sends_it_and_what_is_none_is_passed_over() {
        let sent =
            br#"{"event":{"provider":"app"},"fly":{"app":{"instance":"m1","name":"shop"},"region":"ord"},"host":"ab",
            "log":{"level":"error"},"message":"boom fm2_canarycanary","timestamp":"2026-11-24T09:00:00.000000001Z"}"#;
        let Some(Came::Line(app, line)) = read("shop", sent, "fm2_canarycanary") else { panic!("a line") };
        assert_eq!((app.as_str(), line.at_ns, line.message.as_str()), ("shop", 1_795_510_800_000_000_001, "boom …"));
        assert_eq!((line.level.as_str(), line.region.as_str(), line.machine.as_str()), ("error", "ord", "m1"));
        for odd in [
            &b"x"[..],
            b"{}",
            b"[]",
            br#"{"message":"x","timestamp":"then"}"#,
            br#"{"message":7,"timestamp":"2026-11-24T09:00:00Z"}"#,
        ] {
            assert_eq!(read("shop", odd, "s"), None);
        }
        assert!(is_subject("shop-1") && !is_subject("shop.>") && !is_subject("*") && !is_subject(""));
    }
}
