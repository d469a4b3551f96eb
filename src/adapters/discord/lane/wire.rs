//! One attempt at one request over reqwest, and what became of it.
//!
//! The one question that matters to whoever posts is whether Discord may have done it, so every failure is sorted by that: no
//! connection came about (it cannot have), or anything later (it may have). Holds the token; never waits for a turn, never retries.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::{LaneError, Trouble};
use super::route::Route;
use super::{FilePart, LaneOptions};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The longest time to come to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is closed by us before the other side does: one that closes under a post leaves it in doubt.
const POOL_IDLE: Duration = Duration::from_secs(15);

pub(super) struct Wire {
    client: Client,
    base: String,
    token: SecretString,
    authorization: HeaderValue,
}

/// What a request carries, ready to be sent more than once.
pub(super) struct Load {
    query: Vec<(&'static str, String)>,
    json: Option<Bytes>,
    files: Vec<FilePart>,
}

/// What became of an attempt.
pub(super) enum Outcome {
    Answered(Heard),
    /// It never got there.
    NotReached(Trouble),
    /// It got there, or may have, and no usable answer came.
    Broken(Trouble),
}

/// An answer.
pub(super) struct Heard {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null when there was no JSON, which a refusal may do.
    pub body: Value,
}

impl Load {
    pub fn new(query: Vec<(&'static str, String)>, body: Option<&Value>, files: Vec<FilePart>) -> Self {
        Self { query, json: body.map(|body| Bytes::from(body.to_string())), files }
    }

    pub fn bytes(&self) -> usize {
        let files = self.files.iter().map(|file| file.bytes.len());
        files.fold(self.json.as_ref().map_or(0, Bytes::len), usize::saturating_add)
    }
}

impl Wire {
    pub fn new(options: &LaneOptions) -> Result<Self, LaneError> {
        let url = Url::parse(&options.api_url).map_err(|_| LaneError::BadAddress)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(LaneError::BadAddress);
        }
        let token = options.token.expose_secret().trim();
        if token.is_empty() {
            return Err(LaneError::BadToken);
        }
        let mut authorization = HeaderValue::from_str(&format!("Bot {token}")).map_err(|_| LaneError::BadToken)?;
        authorization.set_sensitive(true);
        let timeout = Duration::from_millis(options.request_timeout_ms);
        let mut client = Client::builder()
            .user_agent(&options.user_agent)
            .timeout(timeout)
            // Shorter than the whole, so that a connection that never came about is told from an answer that did not.
            .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
            .pool_idle_timeout(POOL_IDLE)
            .redirect(Policy::none());
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|_| LaneError::BadAddress)?;
        let base = options.api_url.trim_end_matches('/').to_owned();
        Ok(Self { client, base, token: options.token.clone(), authorization })
    }

    pub async fn attempt(&self, route: &Route, load: &Load) -> Outcome {
        match self.request(route, load).send().await {
            Ok(response) => hear(response).await,
            Err(error) if error.is_connect() || error.is_builder() => Outcome::NotReached(Trouble::NoConnection),
            Err(error) => Outcome::Broken(trouble(&error)),
        }
    }

    /// What must never be repeated in words.
    pub fn secrets<'a>(&'a self, route: &'a Route) -> [&'a str; 2] {
        [self.token.expose_secret().trim(), route.token().map_or("", |token| token.expose_secret())]
    }

    fn request(&self, route: &Route, load: &Load) -> RequestBuilder {
        let mut request = self.client.request(route.method().clone(), format!("{}{}", self.base, route.path()));
        if !route.answers_interaction() {
            request = request.header(AUTHORIZATION, self.authorization.clone());
        }
        if !load.query.is_empty() {
            request = request.query(&load.query);
        }
        if load.files.is_empty() {
            return match &load.json {
                Some(json) => request.header(CONTENT_TYPE, "application/json").body(json.clone()),
                None => request,
            };
        }
        let mut form = Form::new();
        if let Some(json) = &load.json {
            form = form.part("payload_json", part(json.clone(), "application/json"));
        }
        for (index, file) in load.files.iter().enumerate() {
            let part = part(file.bytes.clone(), &file.content_type).file_name(file.name.clone());
            form = form.part(format!("files[{index}]"), part);
        }
        request.multipart(form)
    }
}

/// A part with its type, or as plain bytes when the type is none.
fn part(bytes: Bytes, content_type: &str) -> Part {
    let plain = || Part::stream_with_length(bytes.clone(), bytes.len() as u64);
    plain().mime_str(content_type).unwrap_or_else(|_| plain())
}

async fn hear(mut response: Response) -> Outcome {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let mut bytes = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > ANSWER_BYTES_MAX => {
                return Outcome::Broken(Trouble::NotAnAnswer);
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            // A refusal stands whether or not its body came through; a success without its body lacks the message's id.
            Err(_) if (400..500).contains(&status) => break,
            Err(error) => return Outcome::Broken(trouble(&error)),
        }
    }
    let body = match serde_json::from_slice(&bytes) {
        Ok(body) => body,
        Err(_) if bytes.is_empty() || status >= 300 => Value::Null,
        Err(_) => return Outcome::Broken(Trouble::NotAnAnswer),
    };
    Outcome::Answered(Heard { status, headers, body })
}

fn trouble(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() { Trouble::TimedOut } else { Trouble::ConnectionBroke }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
