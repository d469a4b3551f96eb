//! One request to Fly: its address, its header, its pace, and what is made of the answer.
//!
//! Owns the limits of a single request and every word that says it failed; those words never hold the token. A question is asked
//! again when Fly stumbles. A request that changes something goes once: whether to send it again is for whoever has read what
//! came of it. Fly allows one request a second per action and object, three at once, and we keep to that before Fly says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, Url, header};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use super::token::Token;
use crate::adapters::redact::redact;

/// The longest that one question takes with everything, tries and waits included.
pub const QUESTION_MAX: Duration = Duration::from_secs(20);
/// The longest that one try takes.
pub(super) const TRY_MAX: Duration = Duration::from_secs(8);
/// Tries of one question.
const TRIES_MAX: u32 = 3;
/// The wait after the first failed try, at most; doubled after each.
const BACKOFF: Duration = Duration::from_millis(400);
/// The longest `Retry-After` that is waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// The largest answer read, in bytes. A machine with its events is some 20 KB.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The longest piece of Fly's own words that is passed on, in characters.
const WORDS_CHARS_MAX: usize = 300;
/// The time in which Fly allows one request per action and object.
pub const PACE: Duration = Duration::from_secs(1);
/// Requests that may go at once.
const BURST: u32 = 3;
/// Actions and objects whose pace is remembered.
const PACES_MAX: usize = 1000;
/// The header that shows a lease.
const NONCE: &str = "fly-machine-lease-nonce";

/// Why a request has no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlyError {
    /// The status, when an answer came.
    pub status: Option<u16>,
    /// Fly's id of the request, to quote to its support.
    pub request_id: Option<String>,
    /// A sentence.
    pub says: String,
    /// What Fly said itself, on one line, cut, without the token.
    pub(super) words: String,
    /// Fly's own code for it, where it has one: `insufficient_capacity` and others.
    pub(super) code: String,
    /// It never left this machine, so nothing can have come of it.
    pub(super) unsent: bool,
    /// How long Fly asks us to wait.
    pub(super) retry_after: Option<Duration>,
}

impl std::fmt::Display for FlyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.says)?;
        match &self.request_id {
            Some(id) => write!(f, " (fly-request-id {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FlyError {}

impl FlyError {
    /// One that Fly did not say.
    pub(super) fn local(says: impl Into<String>) -> Self {
        Self { says: says.into(), ..Self::default() }
    }

    /// Whether the same question may get an answer a little later.
    fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| status == 429 || status >= 500)
    }
}

/// The sides of Fly, which fail apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `/v1` of the Machines API.
    Machines,
    /// `/api/v1`: releases over REST, which take every token under the one scheme.
    Rest,
    /// `/api/v1` too: logs, which take a token under its own scheme.
    Logs,
    /// `/graphql`.
    GraphQl,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    /// What it does, in two words: what its pace is kept by, and what an error names.
    action: &'static str,
    object: &'a str,
    side: Side,
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    nonce: Option<&'a str>,
    body: Option<Value>,
    within: Duration,
    may_be_empty: bool,
}

impl<'a> Ask<'a> {
    /// A question.
    pub(super) fn get(action: &'static str, object: &'a str, side: Side, path: &[&'a str]) -> Self {
        Self::new(Method::GET, action, object, side, path)
    }

    /// A request that changes something. Its answer may be empty.
    pub(super) fn send(method: Method, action: &'static str, object: &'a str, side: Side, path: &[&'a str]) -> Self {
        Self::new(method, action, object, side, path).or_empty()
    }

    fn new(method: Method, action: &'static str, object: &'a str, side: Side, path: &[&'a str]) -> Self {
        let (path, query) = (path.to_vec(), Vec::new());
        let (nonce, body, within) = (None, None, TRY_MAX);
        Self { action, object, side, method, path, query, nonce, body, within, may_be_empty: false }
    }

    /// With a parameter.
    pub(super) fn query(mut self, name: &'a str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Under a lease.
    pub(super) fn nonce(mut self, nonce: &'a str) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// With a body.
    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With another time for one try.
    pub(super) fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// An answer without a body is one too.
    pub(super) fn or_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }
}

/// When which kind of request may go again. Shared by all who speak for the same organisation.
#[derive(Debug)]
pub struct Paces {
    pace: Duration,
    full: Mutex<HashMap<(&'static str, String), Instant>>,
}

impl Paces {
    /// One request a `pace`.
    pub fn new(pace: Duration) -> Arc<Self> {
        Arc::new(Self { pace, full: Mutex::default() })
    }

    /// Waits until Fly's limit has room for one more request of this kind.
    async fn wait_for_turn(&self, action: &'static str, object: &str) {
        let turn = {
            let mut full = self.full.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = Instant::now();
            if full.len() >= PACES_MAX {
                full.retain(|_, full| *full > now);
            }
            turn(full.entry((action, object.to_owned())).or_insert(now), now, self.pace)
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// When a request asked for `now` may go. `full` is when the bucket would be full again; a request may go as long as no more
/// than the burst is missing from it.
pub(super) fn turn(full: &mut Instant, now: Instant, pace: Duration) -> Instant {
    *full = (*full).max(now) + pace;
    full.checked_sub(pace * BURST).unwrap_or(now)
}

/// Speaks to Fly with one token.
#[derive(Debug)]
pub(super) struct Wire {
    http: reqwest::Client,
    machines: Url,
    api: Url,
    token: Token,
    /// The command that makes such a token, for when it is refused.
    remedy: String,
    paces: Arc<Paces>,
}

impl Wire {
    /// For these addresses: the Machines API without `/v1`, and the base of releases and GraphQL.
    ///
    /// # Errors
    /// A sentence, when an address or the token cannot be used.
    pub(super) fn new(
        machines_url: &str,
        api_url: &str,
        token: &SecretString,
        remedy: String,
        paces: Arc<Paces>,
    ) -> Result<Self, String> {
        let base = |text: &str| match Url::parse(text) {
            Ok(url) if !url.cannot_be_a_base() => Ok(url),
            _ => Err(format!("“{text}” is not an address")),
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(TRY_MAX)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let (machines, api) = (base(machines_url)?, base(api_url)?);
        Ok(Self { http, machines, api, token: Token::normalise(token)?, remedy, paces })
    }

    /// What must never be repeated in words.
    pub(super) fn secret(&self) -> &str {
        self.token.secret()
    }

    /// Asks, and asks again when Fly stumbles.
    ///
    /// # Errors
    /// As Fly says, the last time.
    pub(super) async fn question(&self, ask: Ask<'_>) -> Result<Value, FlyError> {
        let tries = async {
            let mut tried = 1;
            loop {
                let error = match self.once(&ask).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                // Asked to slow down is not refused: that is waited for as long as the question may take.
                let is_too_fast = error.status == Some(429);
                if !(is_too_fast || tried < TRIES_MAX && error.may_pass()) {
                    return Err(error);
                }
                let least = if is_too_fast { self.paces.pace } else { Duration::ZERO };
                tokio::time::sleep(backoff(tried, &error).max(least)).await;
                tried += u32::from(!is_too_fast);
            }
        };
        tokio::time::timeout(QUESTION_MAX, tries).await.unwrap_or_else(|_| {
            let (limit, action) = (QUESTION_MAX.as_secs(), ask.action);
            Err(FlyError::local(format!("Fly did not answer within {limit} s ({action})")))
        })
    }

    /// Sends it in its turn, once.
    ///
    /// # Errors
    /// As Fly says; without a status when no answer came.
    pub(super) async fn once(&self, ask: &Ask<'_>) -> Result<Value, FlyError> {
        self.paces.wait_for_turn(ask.action, ask.object).await;
        let url = self.address(ask)?;
        let secret = self.token.secret();
        let unanswered = |error: reqwest::Error| FlyError {
            unsent: error.is_connect() || error.is_builder(),
            ..FlyError::local(say_unanswered(ask, &error))
        };
        let auth = if ask.side == Side::Rest { self.token.bearer() } else { self.token.header() };
        let mut auth = header::HeaderValue::from_str(&auth)
            .map_err(|_| FlyError::local("the Fly token cannot stand in a header; copy it again"))?;
        auth.set_sensitive(true);
        let mut request = self.http.request(ask.method.clone(), url).timeout(ask.within);
        request = request.header(header::AUTHORIZATION, auth).header(header::ACCEPT, "application/json");
        if let Some(nonce) = ask.nonce {
            request = request.header(NONCE, nonce);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let read = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let request_id = read("fly-request-id").filter(|id| id.len() <= 100).map(|id| redact(&id, [secret]));
        let retry_after = read("retry-after")
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let refused = |says: String| FlyError {
            status: Some(status.as_u16()),
            request_id: request_id.clone(),
            retry_after,
            ..FlyError::local(says)
        };

        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(refused(format!("Fly answered with more than {BODY_BYTES_MAX} bytes ({})", ask.action)));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let (words, code) = words(&body, secret);
            let says = self.say_refused(ask.action, status.as_u16(), &words);
            return Err(FlyError { words, code, ..refused(says) });
        }
        if ask.may_be_empty && body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&body).map_err(|_| {
            refused(format!("Fly answered {} with something that is not JSON ({})", status.as_u16(), ask.action))
        })?;
        // GraphQL refuses with a 200.
        if ask.side == Side::GraphQl && answer.get("data").is_none_or(says_nothing) {
            let (words, code) = words(&body, secret);
            let says = format!("Fly's GraphQL refuses ({}): {words}", ask.action);
            return Err(FlyError { words, code, ..refused(says) });
        }
        Ok(answer)
    }

    fn address(&self, ask: &Ask<'_>) -> Result<Url, FlyError> {
        let (base, front): (_, &[&str]) = match ask.side {
            Side::Machines => (&self.machines, &["v1"]),
            Side::Rest | Side::Logs => (&self.api, &["api", "v1"]),
            Side::GraphQl => (&self.api, &["graphql"]),
        };
        let mut url = base.clone();
        url.path_segments_mut()
            .map_err(|()| FlyError::local("the address cannot carry a path"))?
            .pop_if_empty()
            .extend(front.iter().chain(&ask.path));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        Ok(url)
    }

    fn say_refused(&self, action: &str, status: u16, words: &str) -> String {
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        match status {
            401 => format!("Fly does not take the token (401){words}. Make a new one: {}", self.remedy),
            403 => format!("the Fly token may not do this (403, {action}){words}"),
            404 => format!("Fly knows no such thing, or the token does not see it (404, {action}){words}"),
            429 => format!("Fly asks us to slow down (429, {action})"),
            _ => format!("Fly answered {status} ({action}){words}"),
        }
    }
}

/// The wait before the next try: full jitter, so that a hundred bots do not come back together, and not before Fly wants us back.
pub(super) fn backoff(tried: u32, error: &FlyError) -> Duration {
    let ceiling = BACKOFF.saturating_mul(1 << tried.min(5));
    ceiling.mul_f64(fastrand::f64()).max(error.retry_after.unwrap_or_default())
}

/// Nothing, or an object in which everything is nothing.
fn says_nothing(data: &Value) -> bool {
    data.is_null() || data.as_object().is_some_and(|fields| fields.values().all(Value::is_null))
}

fn say_unanswered(ask: &Ask<'_>, error: &reqwest::Error) -> String {
    let why = if error.is_connect() {
        "no connection".to_owned()
    } else if error.is_timeout() {
        format!("no answer within {} s", ask.within.as_secs_f64().ceil())
    } else {
        "the answer broke off".to_owned()
    };
    format!("Fly could not be asked: {why} ({})", ask.action)
}

/// What Fly says of an error, in whichever of its shapes, and its code for it. It may quote the token.
fn words(body: &[u8], secret: &str) -> (String, String) {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let at = |place: &str| body.pointer(place).and_then(Value::as_str).map(str::to_owned);
    let said = ["/error", "/message", "/errors/detail", "/errors/0/message"].iter().find_map(|place| at(place));
    let said = redact(&said.unwrap_or_default(), [secret]);
    let one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = redact(&at("/status").unwrap_or_default(), [secret]);
    (one_line.chars().take(WORDS_CHARS_MAX).collect(), code.chars().take(WORDS_CHARS_MAX).collect())
}
