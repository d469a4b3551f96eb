//! Questions to Fly: who am I, which apps, how are their machines, what was released.
//!
//! Reading only: every call is a GET, so every call may be sent again. Bounded in time, in body and in pace; Fly allows one
//! request a second per action and object, three at once, so lists are asked for and not machines one by one. An error is a
//! sentence with the status and Fly's own request id, and never the token.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Url, header};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use super::model::{App, Event, Machine, Release, TokenInfo};
use super::token::Token;
use crate::adapters::redact::redact;
use crate::domain::health::AppHealth;

/// The longest that one question takes with everything, tries and waits included.
pub const QUESTION_MAX: Duration = Duration::from_secs(20);
/// The longest that one try takes.
const TRY_MAX: Duration = Duration::from_secs(8);
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
/// Requests a second per action and object.
const PACE: Duration = Duration::from_secs(1);
/// Requests that may go at once.
const BURST: u32 = 3;
/// Actions and objects whose pace is remembered.
const PACES_MAX: usize = 1000;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlyError {
    /// The status, when an answer came.
    pub status: Option<u16>,
    /// Fly's id of the request, to quote to its support.
    pub request_id: Option<String>,
    /// A sentence.
    pub says: String,
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
    fn local(says: impl Into<String>) -> Self {
        Self { status: None, request_id: None, says: says.into() }
    }

    /// Whether the same question may get an answer a little later.
    fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| status == 429 || status >= 500)
    }
}

/// Reads from Fly with one token.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    machines: Url,
    api: Url,
    token: Token,
    paces: Mutex<HashMap<(&'static str, String), Instant>>,
}

impl Client {
    /// A client for these addresses: the Machines API without `/v1`, and the base of releases.
    ///
    /// # Errors
    /// A sentence, when an address or the token cannot be used.
    pub fn new(machines_url: &str, api_url: &str, token: &SecretString) -> Result<Self, String> {
        let base = |text: &str| match Url::parse(text) {
            Ok(url) if !url.cannot_be_a_base() => Ok(url),
            _ => Err(format!("“{text}” is not an address")),
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(TRY_MAX)
            .timeout(TRY_MAX)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self {
            http,
            machines: base(machines_url)?,
            api: base(api_url)?,
            token: Token::normalise(token)?,
            paces: Mutex::default(),
        })
    }

    /// What Fly says of our token.
    ///
    /// # Errors
    /// Status 401 when Fly does not take it.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, FlyError> {
        let answer = self.ask_machines("check token", "", &["tokens", "current"], &[]).await?;
        Ok(answer
            .get("tokens")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(TokenInfo::read)
            .collect())
    }

    /// The organisation's apps.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn apps(&self, org: &str) -> Result<Vec<App>, FlyError> {
        let answer = self.ask_machines("list apps", org, &["apps"], &[("org_slug", org)]).await?;
        read_list(answer.get("apps").unwrap_or(&answer), "apps", App::read)
    }

    /// The machines of an app that are there.
    ///
    /// # Errors
    /// As Fly says; status 404 when the token does not see such an app.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, FlyError> {
        let answer = self.ask_machines("list machines", app, &["apps", app, "machines"], &[]).await?;
        let mut machines = read_list(&answer, "machines", Machine::read)?;
        machines.retain(Machine::is_there);
        Ok(machines)
    }

    /// One machine.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, FlyError> {
        let answer = self.ask_machines("get machine", id, &["apps", app, "machines", id], &[]).await?;
        Machine::read(&answer).ok_or_else(|| FlyError::local("Fly answered with something that is no machine"))
    }

    /// The newest events of a machine, newest first; at most 50.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn events(&self, app: &str, id: &str, limit: u8) -> Result<Vec<Event>, FlyError> {
        let limit = limit.min(50).to_string();
        let path = ["apps", app, "machines", id, "events"];
        let answer = self.ask_machines("list events", id, &path, &[("limit", &limit)]).await?;
        read_list(answer.get("events").unwrap_or(&answer), "events", |value| Some(Event::read(value)))
    }

    /// The newest releases of an app, newest first. The API behind it is undocumented; the machines do not depend on it.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn releases(&self, app: &str, limit: u16) -> Result<Vec<Release>, FlyError> {
        let url = address(&self.api, &["api", "v1", "apps", app, "releases"], &[("limit", &limit.to_string())])?;
        let answer = self.ask("list releases", app, url, self.token.bearer()).await?;
        read_list(answer.get("releases").unwrap_or(&answer), "releases", Release::read)
    }

    /// An app as the domain judges it.
    pub async fn app_health(&self, app: &str) -> AppHealth {
        let machines = self.machines(app).await;
        AppHealth {
            app: app.to_owned(),
            machines: machines
                .map(|machines| machines.iter().map(Machine::health).collect())
                .map_err(|error| error.to_string()),
        }
    }

    /// Whether Fly takes the token: the organisation, or a sentence with the remedy.
    ///
    /// # Errors
    /// The sentence.
    pub async fn auth(&self) -> Result<String, String> {
        match self.tokens().await {
            Ok(tokens) => {
                let mut orgs: Vec<String> =
                    tokens.into_iter().map(|token| token.org).filter(|org| !org.is_empty()).collect();
                orgs.dedup();
                Ok(if orgs.is_empty() { "organisation not said".to_owned() } else { orgs.join(", ") })
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn ask_machines(
        &self,
        action: &'static str,
        object: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, FlyError> {
        let path: Vec<&str> = std::iter::once("v1").chain(path.iter().copied()).collect();
        self.ask(action, object, address(&self.machines, &path, query)?, self.token.header()).await
    }

    async fn ask(&self, action: &'static str, object: &str, url: Url, auth: String) -> Result<Value, FlyError> {
        let tries = async {
            let mut tried = 1;
            loop {
                self.wait_for_turn(action, object).await;
                let (error, retry_after) = match self.ask_once(action, url.clone(), &auth).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
                if tried >= TRIES_MAX || !error.may_pass() {
                    return Err(error);
                }
                // Full jitter, so that a hundred bots do not come back together.
                let ceiling = BACKOFF.saturating_mul(1 << tried);
                let wait = ceiling.mul_f64(fastrand::f64()).max(retry_after.unwrap_or_default());
                tokio::time::sleep(wait).await;
                tried += 1;
            }
        };
        tokio::time::timeout(QUESTION_MAX, tries).await.unwrap_or_else(|_| {
            Err(FlyError::local(format!("Fly did not answer within {} s ({action})", QUESTION_MAX.as_secs())))
        })
    }

    async fn ask_once(&self, action: &str, url: Url, auth: &str) -> Result<Value, (FlyError, Option<Duration>)> {
        let unanswered = |error: reqwest::Error| (FlyError::local(say_unanswered(action, &error)), None);
        let mut auth = header::HeaderValue::from_str(auth)
            .map_err(|_| (FlyError::local("the Fly token cannot stand in a header; copy it again"), None))?;
        auth.set_sensitive(true);
        let request = self.http.get(url).header(header::AUTHORIZATION, auth).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let read = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let request_id = read("fly-request-id").filter(|id| id.len() <= 100);
        let request_id = request_id.map(|id| redact(&id, [self.token.secret()]));
        let retry_after = read("retry-after")
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let refused = |says: String| FlyError { status: Some(status.as_u16()), request_id: request_id.clone(), says };

        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err((refused(format!("Fly answered with more than {BODY_BYTES_MAX} bytes ({action})")), None));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err((refused(say_refused(action, status.as_u16(), &body, self.token.secret())), retry_after));
        }
        serde_json::from_slice(&body).map_err(|_| {
            (refused(format!("Fly answered {} with something that is not JSON ({action})", status.as_u16())), None)
        })
    }

    /// Waits until Fly's limit has room for one more request of this kind.
    async fn wait_for_turn(&self, action: &'static str, object: &str) {
        let turn = {
            let mut paces = self.paces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = Instant::now();
            if paces.len() >= PACES_MAX {
                paces.retain(|_, free| *free > now);
            }
            turn(paces.entry((action, object.to_owned())).or_insert(now), now)
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// When a request asked for `now` may go. `full` is when the bucket would be full again; a request may go as long as no more
/// than the burst is missing from it.
pub(super) fn turn(full: &mut Instant, now: Instant) -> Instant {
    *full = (*full).max(now) + PACE;
    full.checked_sub(PACE * BURST).unwrap_or(now)
}

fn address(base: &Url, path: &[&str], query: &[(&str, &str)]) -> Result<Url, FlyError> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| FlyError::local("the address cannot carry a path"))?
        .pop_if_empty()
        .extend(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn read_list<T>(answer: &Value, what: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, FlyError> {
    match answer {
        // Go writes an empty list as null.
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values
            .iter()
            .map(|value| {
                read(value).ok_or_else(|| FlyError::local(format!("Fly's list of {what} holds something that is none")))
            })
            .collect(),
        _ => Err(FlyError::local(format!("Fly answered with something that is no list of {what}"))),
    }
}

fn say_unanswered(action: &str, error: &reqwest::Error) -> String {
    let why = if error.is_timeout() {
        format!("no answer within {} s", TRY_MAX.as_secs())
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the answer broke off".to_owned()
    };
    format!("Fly could not be asked: {why} ({action})")
}

fn say_refused(action: &str, status: u16, body: &[u8], secret: &str) -> String {
    let words = words(body, secret);
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    match status {
        401 => format!("Fly does not take the token (401){words}. Make a new one: fly tokens create readonly"),
        403 => format!("the Fly token may not do this (403, {action}){words}"),
        404 => format!("Fly knows no such thing, or the token does not see it (404, {action}){words}"),
        429 => format!("Fly asks us to slow down (429, {action})"),
        _ => format!("Fly answered {status} ({action}){words}"),
    }
}

/// What Fly says of an error, in whichever of its shapes; it may quote the token.
fn words(body: &[u8], secret: &str) -> String {
    let said = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        ["/error", "/message", "/errors/detail"]
            .iter()
            .find_map(|place| value.pointer(place)?.as_str().map(str::to_owned))
    });
    let said = redact(&said.unwrap_or_default(), [secret]);
    let one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().take(WORDS_CHARS_MAX).collect()
}
