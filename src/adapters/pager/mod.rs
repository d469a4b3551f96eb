//! Waking people by other ways than the chat: ntfy, Pushover, PagerDuty Events v2, and any address that takes JSON.
//!
//! Owns the form of each call. One call, one try, bounded in time; whether to try again is the caller's decision, and the mark
//! lets a service that can drop the second of two. A topic, key or address is as good as a password and stands in no error.

mod forms;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::redact::{in_address, redact};
use crate::domain::workspace::Way;
use crate::ports::{ChatError, PageCall, Pager};

/// The longest that one call takes.
pub const CALL_MAX: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Pages people over HTTP.
#[derive(Debug)]
pub struct HttpPager {
    http: reqwest::Client,
    secrets: BTreeMap<String, SecretString>,
}

/// What the forms of one service come to.
struct Sent {
    url: String,
    /// The address as it was configured: a part of it may go another way than in `url`, and is as secret.
    written: String,
    headers: Vec<(&'static str, SecretString)>,
    body: serde_json::Value,
    /// Drops a second call with the same mark: then a call in doubt may simply be sent again.
    drops_repeats: bool,
}

impl HttpPager {
    /// A pager; `secrets` are the values of the variables that the ways name.
    ///
    /// # Errors
    /// A sentence, when no HTTP client can be made.
    pub fn new(secrets: BTreeMap<String, SecretString>) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(CALL_MAX)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { http, secrets })
    }

    fn secret(&self, variable: &str) -> Result<&SecretString, ChatError> {
        self.secrets.get(variable).ok_or_else(|| ChatError::Refused(format!("{variable} is not set")))
    }

    fn form(&self, call: &PageCall) -> Result<Sent, ChatError> {
        match &call.way {
            Way::Direct => Err(ChatError::Refused("a direct message goes through the chat".to_owned())),
            Way::Ntfy { url, token_env } => {
                let token = token_env.as_ref().map(|variable| self.secret(variable)).transpose()?;
                forms::ntfy(call, url, token)
            }
            Way::Pushover { token_env, user_env, url } => {
                Ok(forms::pushover(call, url.as_deref(), self.secret(token_env)?, self.secret(user_env)?))
            }
            Way::Pagerduty { key_env, url } => Ok(forms::pagerduty(call, url.as_deref(), self.secret(key_env)?)),
            Way::Webhook { url, token_env } => {
                let token = token_env.as_ref().map(|variable| self.secret(variable)).transpose()?;
                Ok(forms::webhook(call, url, token))
            }
        }
    }

    async fn send(&self, sent: Sent, name: &str) -> Result<(), ChatError> {
        let mut request = self.http.post(&sent.url).json(&sent.body);
        for (header, value) in &sent.headers {
            let mut value = reqwest::header::HeaderValue::from_str(value.expose_secret())
                .map_err(|_| ChatError::Refused(format!("the secret for {name} cannot stand in a header")))?;
            value.set_sensitive(true);
            request = request.header(*header, value);
        }
        let in_doubt =
            |says: String| if sent.drops_repeats { ChatError::NotNow(says) } else { ChatError::InDoubt(says) };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(ChatError::NotNow(format!("{name}: no connection"))),
            Err(error) if error.is_builder() => {
                return Err(ChatError::Refused(format!("{name}: its address cannot be used")));
            }
            Err(error) if error.is_timeout() => {
                return Err(in_doubt(format!("{name}: no answer within {} s", CALL_MAX.as_secs())));
            }
            Err(_) => return Err(in_doubt(format!("{name}: the connection broke off"))),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let words = cut(&self.without_secrets(&said(response).await, &sent.written));
        let says = if words.is_empty() {
            format!("{name} answered {status}")
        } else {
            format!("{name} answered {status}: {words}")
        };
        Err(match status.as_u16() {
            408 | 425 | 429 => ChatError::NotNow(says),
            // A failing service may have rung before it failed.
            500..=599 => in_doubt(says),
            _ => ChatError::Refused(says),
        })
    }

    /// A service may repeat in its answer what it was sent.
    fn without_secrets(&self, words: &str, url: &str) -> String {
        let address = in_address(url);
        redact(words, self.secrets.values().map(SecretString::expose_secret).chain(address.iter().map(String::as_str)))
    }
}

impl Pager for HttpPager {
    async fn page(&self, call: &PageCall) -> Result<(), ChatError> {
        let sent = self.form(call)?;
        self.send(sent, call.way.name()).await
    }
}

/// What a service says of a refusal.
async fn said(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// On one line, and not too long. Only for words without secrets: a cut would leave half of one.
fn cut(words: &str) -> String {
    const WORDS_CHARS_MAX: usize = 200;
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(WORDS_CHARS_MAX).collect()
}
