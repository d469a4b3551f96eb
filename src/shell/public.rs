//! The public port: what asks from outside by signed requests. One hook so far, `/hooks/deploy`; others are lines in `routes`.
//!
//! Owns who is let in and what is answered. Nothing is answered with a 2xx before it is on the record, and the same request again is
//! answered with what came of it the first time. A secret is in no answer and in no log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::info;

use super::door::{Door, Meant};
use crate::adapters::clock::SystemClock;
use crate::adapters::hooks::listen::{self, Limits, Unread};
use crate::adapters::hooks::pace::Pace;
use crate::adapters::hooks::signature::{self, AGE_MAX_S, Signed, Wrong};
use crate::domain::answer::Answer;
use crate::domain::ids::DeployId;
use crate::domain::input::{Input, InputKind};
use crate::domain::pipeline::told::Told;
use crate::domain::pipeline::{Ask, is_request_id};
use crate::domain::press;
use crate::ports::Clock as _;

/// How long the loop may take: it asks Fly and the services first, each for eight seconds at most.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// When whoever was turned away for now may come again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Requests that ask for something, of those that are signed: at once, and one more each time this has passed.
const ASKS: (u32, Duration) = (10, Duration::from_secs(3));
/// Requests that only look.
const LOOKS: (u32, Duration) = (60, Duration::from_millis(250));
/// Requests without a signature that counts. They have a bucket of their own, so that they cannot keep out those who have one.
const STRANGERS: (u32, Duration) = (30, Duration::from_secs(2));

/// What the public port speaks of.
pub struct Public {
    door: Door,
    secrets: Vec<SecretString>,
    limits: Limits,
    asks: Mutex<Pace>,
    looks: Mutex<Pace>,
    strangers: Mutex<Pace>,
}

impl Public {
    /// Before a loop; the secrets are those that sign for `/hooks/deploy`.
    pub fn new(door: Door, secrets: Vec<SecretString>, limits: Limits) -> Arc<Self> {
        let pace = |(burst, every)| Mutex::new(Pace::new(burst, every, Instant::now()));
        let (asks, looks, strangers) = (pace(ASKS), pace(LOOKS), pace(STRANGERS));
        Arc::new(Self { door, secrets, limits, asks, looks, strangers })
    }
}

/// The routes of the public port.
pub fn routes(public: Arc<Public>) -> Router {
    Router::new()
        .route("/hooks/deploy", post(deploy))
        .route("/hooks/deploy/{number}", get(stands))
        .fallback(|| async {
            Refused::new(StatusCode::NOT_FOUND, "There is nothing here. Deploys are asked for at /hooks/deploy.")
        })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Ask with POST /hooks/deploy, look with GET /hooks/deploy/7.")
        })
        .with_state(public)
}

/// Why not: a status and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    status: StatusCode,
    says: String,
    again_after: Option<Duration>,
}

impl Refused {
    /// For good.
    pub fn new(status: StatusCode, says: impl Into<String>) -> Self {
        Self { status, says: says.into(), again_after: None }
    }

    /// For now: when to come again is said along.
    pub fn for_now(status: StatusCode, says: impl Into<String>, after: Duration) -> Self {
        Self { again_after: Some(after), ..Self::new(status, says) }
    }

    fn busy() -> Self {
        Self::for_now(StatusCode::SERVICE_UNAVAILABLE, "I am busy. Send the same again shortly.", AGAIN_AFTER)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.says }))).into_response();
        if let Some(after) = self.again_after {
            // Rounded up: whoever comes at that time is let in.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}

/// A request whose signature counts.
struct LetIn {
    id: String,
    body: Bytes,
}

impl Public {
    /// Reads a request and looks at its signature.
    async fn let_in(&self, request: Request, pace: &Mutex<Pace>) -> Result<LetIn, Refused> {
        let (head, body) = request.into_parts();
        if self.secrets.is_empty() {
            let says = "This hook is not set up: its secret is not in the bot's environment.";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, says));
        }
        // A body is waited for only from whoever shows what a signature needs: waiting is what holds a connection.
        let shown = match Shown::of(&head.headers) {
            Ok(shown) => shown,
            Err(says) => return Err(self.stranger(says)),
        };
        let body = self.read(body).await?;
        if let Err(says) = self.verify(&shown, head.method.as_str(), head.uri.path(), &body) {
            return Err(self.stranger(says));
        }
        taken(pace)?;
        Ok(LetIn { id: shown.id, body })
    }

    fn stranger(&self, says: &'static str) -> Refused {
        taken(&self.strangers).err().unwrap_or_else(|| Refused::new(StatusCode::UNAUTHORIZED, says))
    }

    async fn read(&self, body: Body) -> Result<Bytes, Refused> {
        listen::read(body, &self.limits).await.map_err(|why| unread(why, &self.limits))
    }

    /// Whether the signature counts. What is wrong is said no closer than this: whoever has the secret finds out with it, and nobody
    /// else has to know.
    fn verify(&self, shown: &Shown, method: &str, path: &str, body: &[u8]) -> Result<(), &'static str> {
        let signed = Signed { time_s: shown.time_s, id: &shown.id, method, path, body };
        match signed.verify(&self.secrets, &shown.signature, now_s()) {
            Ok(()) => Ok(()),
            Err(Wrong::Signature) => Err("The signature is not that of this request with a secret of this hook."),
            Err(Wrong::Time) => Err(STALE),
        }
    }

    /// How the deploy of a request, or of a number, stands. Only what a pipeline asked for is told to one.
    async fn told(&self, which: Meant) -> Result<Option<Told>, Refused> {
        self.door.told(which).await.map_err(|_| Refused::busy())
    }
}

/// What a request shows of its signature before its body is read.
struct Shown {
    time_s: i64,
    id: String,
    signature: String,
}

/// It was signed long ago, or for a time to come.
const STALE: &str = "It was signed more than 5 minutes from now: sign it again, and look at your clock.";

/// Wire time: the wall's, whatever the bot's own clock shows.
fn now_s() -> i64 {
    SystemClock::default().now().timestamp()
}

impl Shown {
    fn of(headers: &HeaderMap) -> Result<Self, &'static str> {
        let one = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let (Some(time), Some(id), Some(shown)) = (one(signature::TIME), one(signature::ID), one(signature::SIGNATURE))
        else {
            return Err(
                "Sign it: the headers watchbell-time, watchbell-id and watchbell-signature, as docs/deploys.md has them.",
            );
        };
        let Ok(time_s) = time.parse::<i64>() else { return Err("watchbell-time is a moment in seconds of Unix time.") };
        if !is_request_id(id) {
            return Err("watchbell-id is 1 to 80 letters, digits, dots, dashes and underscores.");
        }
        if now_s().saturating_sub(time_s).saturating_abs() > AGE_MAX_S {
            return Err(STALE);
        }
        Ok(Self { time_s, id: id.to_owned(), signature: shown.to_owned() })
    }
}

/// Why a body was not read, as an answer.
pub fn unread(why: Unread, limits: &Limits) -> Refused {
    match why {
        Unread::TooLarge => {
            let most = limits.body_bytes_max >> 10;
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("That is too large: at most {most} KiB."))
        }
        Unread::TooSlow => Refused::new(StatusCode::REQUEST_TIMEOUT, "The body did not come in time."),
        Unread::Broken => Refused::new(StatusCode::BAD_REQUEST, "The body broke off."),
    }
}

fn taken(pace: &Mutex<Pace>) -> Result<(), Refused> {
    let taken = pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
    taken.map_err(|after| {
        Refused::for_now(StatusCode::TOO_MANY_REQUESTS, "That is too often. Come again shortly.", after)
    })
}

/// A pipeline asks for a deploy.
async fn deploy(State(public): State<Arc<Public>>, request: Request) -> Result<Response, Refused> {
    let LetIn { id, body } = public.let_in(request, &public.asks).await?;
    let ask = Ask::read(&id, &body).map_err(|says| Refused::new(StatusCode::BAD_REQUEST, says))?;
    let (input, digest) = (ask.input(), ask.request.body.clone());
    let (sender, answered) = oneshot::channel();
    let reply = Box::new(move |answer| drop(sender.send(answer)));
    let input = Input { id: input, kind: InputKind::Pipeline(Box::new(ask)) };
    public.door.bring(input, Some(reply)).map_err(|_| Refused::busy())?;
    let Ok(Ok(answer)) = tokio::time::timeout(ANSWERED_WITHIN, answered).await else {
        // It may have been decided all the same: the same again finds out.
        return Err(Refused::busy());
    };
    match public.told(Meant::Request { id: id.clone(), body: digest }).await? {
        Some(told) => {
            info!(request = %id, deploy = %told.deploy, "A pipeline asked for a deploy");
            Ok((StatusCode::ACCEPTED, Json(told)).into_response())
        }
        None => Err(public.why_not(answer).await),
    }
}

impl Public {
    /// Nothing is on record of what was asked.
    async fn why_not(&self, answer: Answer) -> Refused {
        let is_for_now = matches!(answer, Answer::NotNow(_));
        let says = match answer {
            Answer::Say { message, .. } | Answer::NotNow(message) => {
                message.lines.iter().map(press::flat).collect::<Vec<_>>().join(" ")
            }
            _ => "I cannot say what came of that; look at the channel.".to_owned(),
        };
        match self.door.look().await {
            Some(snapshot) if snapshot.trouble.is_none() && !is_for_now => Refused::new(StatusCode::CONFLICT, says),
            // What cannot be recorded, or found out at Fly, is not refused for good.
            _ => Refused::for_now(StatusCode::SERVICE_UNAVAILABLE, says, AGAIN_AFTER),
        }
    }
}

/// A pipeline looks at what it asked for.
async fn stands(
    State(public): State<Arc<Public>>,
    Path(number): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let LetIn { .. } = public.let_in(request, &public.looks).await?;
    let number = number.strip_prefix("DEP-").unwrap_or(&number).parse().ok();
    let told = match number {
        Some(number) => public.told(Meant::Number(DeployId(number))).await?,
        None => None,
    };
    let says = "No pipeline asked for that deploy, or it is not on record.";
    told.map(|told| Json(told).into_response()).ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, says))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::Message;
    use crate::shell::door::{self, Threshold};

    const SECRET: &str = "what the pipeline signs with";

    /// A port before a loop that answers nothing.
    async fn port(secrets: &[&str]) -> (String, Door, Threshold) {
        let (door, threshold) = door::door();
        let secrets = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let limits = Limits::default();
        tokio::spawn(listen::serve(listener, routes(Public::new(door.clone(), secrets, limits)), limits));
        (url, door, threshold)
    }

    async fn ask(url: &str, body: &'static str) -> (u16, String, bool) {
        let (time_s, id, path) = (SystemClock::default().now().timestamp(), "run-7", "/hooks/deploy");
        let signed = Signed { time_s, id, method: "POST", path, body: body.as_bytes() };
        let request = reqwest::Client::new().post(format!("{url}{path}")).header(signature::TIME, time_s);
        let request =
            request.header(signature::ID, id).header(signature::SIGNATURE, signed.sign(&SecretString::from(SECRET)));
        let answer = request.body(body).send().await.expect("an answer");
        let again = answer.headers().contains_key("retry-after");
        (answer.status().as_u16(), answer.text().await.expect("a text"), again)
    }

    #[tokio::test]
    async fn a_hook_without_a_secret_lets_nobody_in() {
        let (url, ..) = port(&[]).await;
        let (status, says, _) = ask(&url, "{}").await;
        assert_eq!(status, 503);
        assert!(says.contains("not set up"), "{says}");
    }

    #[tokio::test]
    async fn a_loop_that_is_full_is_busy_and_says_when_to_come_again() {
        let (url, door, _threshold) = port(&[SECRET]).await;
        for n in 0..door::WAITING_MAX {
            let input = Input { id: crate::domain::ids::InputId::new(format!("tick:{n}")), kind: InputKind::Tick };
            assert!(door.bring(input, None).is_ok());
        }
        let (status, says, again) = ask(&url, r#"{"service": "shop", "image": "shop:2"}"#).await;
        assert_eq!((status, again), (503, true), "{says}");
        assert!(says.contains("I am busy"), "{says}");
    }

    #[tokio::test]
    async fn whoever_shows_no_signature_is_not_waited_for() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (url, ..) = port(&[SECRET]).await;
        let long_ago =
            format!("watchbell-time: 7\r\nwatchbell-id: run-7\r\nwatchbell-signature: v1={}\r\n", "0".repeat(64));
        // The body never comes: only whoever does not wait for it can answer.
        for headers in ["", &long_ago] {
            let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.expect("a port");
            let head = format!("POST /hooks/deploy HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).await.expect("it is sent");
            let mut answer = vec![0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 401");
        }
    }

    #[tokio::test]
    async fn a_question_that_fly_did_not_answer_is_refused_for_now() {
        let (url, _door, mut threshold) = port(&[SECRET]).await;
        let answering = tokio::spawn(async move {
            let inbound = threshold.inputs.recv().await.expect("it is asked");
            inbound.reply.expect("somebody waits")(Answer::NotNow(Message::line("Fly did not say in time")));
            while let Some(ask) = threshold.asks.recv().await {
                match ask {
                    door::Ask::Told(_, reply) => drop(reply.send(None)),
                    door::Ask::Look(reply) => drop(reply.send(door::Snapshot::default())),
                    _ => {}
                }
            }
        });
        let (status, says, again) = ask(&url, r#"{"service": "shop", "image": "shop:2"}"#).await;
        assert_eq!((status, again), (503, true), "{says}");
        answering.abort();
    }

    #[tokio::test]
    async fn a_loop_that_is_gone_is_no_deploy_that_is_not_there() {
        let (url, _door, threshold) = port(&[SECRET]).await;
        drop(threshold);
        let (time_s, id, path) = (SystemClock::default().now().timestamp(), "run-7", "/hooks/deploy/7");
        let signed = Signed { time_s, id, method: "GET", path, body: b"" };
        let request = reqwest::Client::new().get(format!("{url}{path}")).header(signature::TIME, time_s);
        let request =
            request.header(signature::ID, id).header(signature::SIGNATURE, signed.sign(&SecretString::from(SECRET)));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }

    #[tokio::test]
    async fn strangers_who_come_too_often_keep_nobody_out() {
        let (url, ..) = port(&[SECRET]).await;
        let stranger = || async {
            let answer =
                reqwest::Client::new().post(format!("{url}/hooks/deploy")).body("{}").send().await.expect("an answer");
            answer.status().as_u16()
        };
        let mut seen = Vec::new();
        for _ in 0..=STRANGERS.0 + 10 {
            seen.push(stranger().await);
        }
        assert_eq!(seen.first(), Some(&401));
        assert!(seen.contains(&429), "{seen:?}");
        let (status, says, _) = ask(&url, "{}").await;
        assert_eq!(status, 400, "it is let in, and its body is none: {says}");
    }
}
