//! The lane to Discord against a small server that enforces limits with arithmetic of its own, and one that answers raw bytes.
//!
//! The server counts what it had to refuse: zero is the proof of a pace, no clock is asked. The pace itself, moved by hand, is
//! tested beside it in `pace_tests.rs`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request as Incoming, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::{join, join_all};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use watchbell::adapters::discord::lane::*;

const TOKEN: &str = "CANARY-bot-token";
const INTERACTION: &str = "CANARY-interaction-token";
const BODY: &str = "CANARY-body";

fn options(api_url: &str) -> LaneOptions {
    LaneOptions {
        api_url: api_url.to_owned(),
        token: SecretString::from(TOKEN),
        user_agent: "DiscordBot (https://example.org, 0)".to_owned(),
        request_timeout_ms: 5_000,
        limits: LaneLimits { backoff_ms: 5, ..LaneLimits::default() },
    }
}

fn lane(api_url: &str) -> Lane {
    Lane::new(options(api_url)).expect("the options are good")
}

fn post(channel: u64, text: &str) -> Request {
    Request::new(Route::create_message(channel)).body(json!({ "content": text }))
}

fn callback() -> Request {
    let route = Route::interaction_callback(1, &SecretString::from(INTERACTION));
    Request::new(route).body(json!({ "type": 5 }))
}

// --- a server with limits ---

/// So many requests in a window that opens with its first; a path of the channel and the method is a bucket.
#[derive(Clone)]
struct Fake {
    limit: u32,
    window: Duration,
    /// How long a request and its answer are each under way, by turns: the later ones overtake the earlier.
    slow_ms: [u64; 3],
    state: Arc<Mutex<FakeState>>,
}

/// Headers and body of a 429, and how long requests are refused after it.
type Scripted = (Vec<(&'static str, String)>, Value, Duration);

#[derive(Default)]
struct FakeState {
    windows: HashMap<String, (Instant, u32)>,
    delivered: Vec<(u64, String)>,
    calls: usize,
    refused: usize,
    /// What the next requests to channels are answered with instead.
    script: VecDeque<Scripted>,
    /// Requests to channels that come before this are refused and counted.
    paused_until: Option<Instant>,
}

impl Fake {
    fn new(limit: u32, window_ms: u64) -> Self {
        Self { limit, window: Duration::from_millis(window_ms), slow_ms: [0; 3], state: Arc::default() }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/api/v10")
    }

    fn script(&self, headers: &[(&'static str, &str)], body: Value, pause_ms: u64) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.state.lock().unwrap().script.push_back((headers, body, Duration::from_millis(pause_ms)));
    }

    fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }

    fn texts(&self, channel: u64) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.delivered.iter().filter(|(to, _)| *to == channel).map(|(_, text)| text.clone()).collect()
    }
}

async fn answer(State(fake): State<Fake>, incoming: Incoming) -> Response {
    let path = incoming.uri().path().to_owned();
    let method = incoming.method().to_string();
    let body = axum::body::to_bytes(incoming.into_body(), 1 << 20).await.unwrap_or_default();
    let turn = fake.state.lock().unwrap().next_turn();
    let slow = Duration::from_millis(fake.slow_ms[turn % fake.slow_ms.len()]);
    tokio::time::sleep(slow).await;
    let response = fake.decide(&method, &path, &body);
    tokio::time::sleep(slow).await;
    response
}

impl FakeState {
    fn next_turn(&mut self) -> usize {
        self.calls += 1;
        self.calls
    }
}

impl Fake {
    fn decide(&self, method: &str, path: &str, body: &Bytes) -> Response {
        let Some(channel) = path.strip_prefix("/api/v10/channels/") else {
            return StatusCode::NO_CONTENT.into_response();
        };
        let channel = channel.split('/').next().unwrap_or_default().to_owned();
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        if state.paused_until.is_some_and(|at| now < at) {
            state.refused += 1;
            return refuse(&[], json!({ "retry_after": 1.0, "global": true }));
        }
        if let Some((headers, body, pause)) = state.script.pop_front() {
            state.paused_until = Some(now + pause);
            return refuse(&headers, body);
        }
        let window = state.windows.entry(format!("{method} {channel}")).or_insert((now, 0));
        if now >= window.0 + self.window {
            *window = (now, 0);
        }
        let reset_after = (window.0 + self.window).duration_since(now).as_secs_f64();
        if window.1 >= self.limit {
            state.refused += 1;
            let body = json!({ "message": "You are being rate limited.", "retry_after": reset_after, "global": false });
            return refuse(&[("x-ratelimit-scope", "user".to_owned())], body);
        }
        window.1 += 1;
        let left = self.limit - window.1;
        let text = serde_json::from_slice::<Value>(body).unwrap_or_default()["content"].clone();
        state.delivered.push((channel.parse().unwrap(), text.as_str().unwrap_or_default().to_owned()));
        let headers = [
            ("x-ratelimit-bucket", format!("hash of {method}")),
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", left.to_string()),
            ("x-ratelimit-reset-after", format!("{reset_after:.3}")),
        ];
        (headers, axum::Json(json!({ "id": "1" }))).into_response()
    }
}

fn refuse(headers: &[(&'static str, String)], body: Value) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    (StatusCode::TOO_MANY_REQUESTS, map, axum::Json(body)).into_response()
}

#[tokio::test]
async fn twenty_posts_to_one_channel_arrive_in_order_and_none_is_refused() {
    let fake = Fake { slow_ms: [12, 6, 0], ..Fake::new(5, 250) };
    let lane = lane(&fake.start().await);
    let texts: Vec<String> = (0..20).map(|index| format!("post {index}")).collect();
    let order = Some(OrderKey::new("INC-7"));
    let posts = texts.iter().map(|text| lane.send(Request { order: order.clone(), ..post(1, text) }));
    for result in join_all(posts).await {
        assert_eq!(result.expect("it is delivered").status, 200);
    }
    assert_eq!(fake.texts(1), texts);
    assert_eq!((fake.refused(), lane.stats().rate_limited, lane.stats().done), (0, 0, 20));
}

#[tokio::test]
async fn posts_without_an_order_go_together_and_none_is_refused() {
    let fake = Fake { slow_ms: [40, 20, 0], ..Fake::new(5, 250) };
    let lane = lane(&fake.start().await);
    let results = join_all((0..20).map(|index| lane.send(post(1, &index.to_string())))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((fake.texts(1).len(), fake.refused()), (20, 0));
}

#[tokio::test]
async fn a_channel_that_is_stuck_blocks_neither_another_nor_an_answer_to_a_press() {
    let fake = Fake::new(1, 60_000);
    let lane = lane(&fake.start().await);
    lane.send(post(1, "first")).await.expect("the first goes at once");
    let stuck = lane.send(post(1, "stuck"));
    let rest = async {
        lane.send(post(2, "elsewhere")).await.expect("another channel is free");
        assert_eq!(lane.send(callback()).await.expect("the press is answered").status, 204);
        assert_eq!(lane.waiting().count, 1, "the stuck one still waits");
    };
    tokio::select! {
        biased;
        result = stuck => panic!("it cannot have gone: {result:?}"),
        () = rest => {}
    }
    assert_eq!(lane.waiting().count, 0, "a dropped request leaves its place");
    assert_eq!((fake.texts(2), fake.refused()), (vec!["elsewhere".to_owned()], 0));
}

#[tokio::test]
async fn a_global_429_pauses_every_channel_and_no_answer_to_a_press() {
    let fake = Fake::new(5, 250);
    let lane = lane(&fake.start().await);
    fake.script(&[("x-ratelimit-global", "true")], json!({ "retry_after": 0.2, "global": true }), 200);
    let first = lane.send(post(1, "first"));
    let later = async {
        while lane.waiting().paused_ms == 0 {
            tokio::task::yield_now().await;
        }
        let (others, pressed) = join(join_all((2..8).map(|channel| lane.send(post(channel, "other")))), async {
            let pressed = lane.send(callback()).await;
            assert!(lane.waiting().count >= 6, "the others wait while the press is answered");
            pressed
        })
        .await;
        assert!(others.iter().all(Result::is_ok) && pressed.is_ok());
    };
    let (first, ()) = join(first, later).await;
    assert!(first.is_ok());
    assert_eq!((fake.refused(), lane.stats().rate_limited), (0, 1), "nothing is sent into the pause");
}

#[tokio::test]
async fn a_shared_429_holds_its_channel_only_and_does_not_count_against_us() {
    let fake = Fake::new(5, 250);
    let lane = lane(&fake.start().await);
    fake.script(&[("x-ratelimit-scope", "shared")], json!({ "retry_after": 0.1, "global": false }), 0);
    let results = join_all((0..3).map(|index| lane.send(post(1, &index.to_string())))).await;
    assert!(results.iter().all(Result::is_ok));
    let stats = lane.stats();
    assert_eq!((stats.rate_limited, stats.rate_limited_shared, stats.invalid_10min), (0, 1, 0));
    assert_eq!(fake.texts(1).len(), 3);
}

#[tokio::test]
async fn the_page_overtakes_the_digest_but_nothing_of_its_own_order() {
    let fake = Fake::new(1, 60);
    let lane = lane(&fake.start().await);
    let order = Some(OrderKey::new("INC-7"));
    let with =
        |text, urgency, order: &Option<OrderKey>| lane.send(Request { urgency, order: order.clone(), ..post(1, text) });
    let results = join_all([
        with("first", Urgency::Notice, &None),
        with("digest", Urgency::Digest, &None),
        with("card of INC-7", Urgency::Card, &order),
        with("page of INC-7", Urgency::Page, &order),
        with("reminder", Urgency::Reminder, &None),
    ])
    .await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(fake.texts(1), ["first", "card of INC-7", "page of INC-7", "reminder", "digest"]);
}

#[tokio::test]
async fn what_waits_too_long_is_given_up_and_says_that_it_was_not_done() {
    let fake = Fake::new(1, 60_000);
    let lane = lane(&fake.start().await);
    lane.send(post(1, "first")).await.expect("the first goes at once");
    let error = lane.send(Request { give_up_after_ms: 20, ..post(1, "late") }).await.expect_err("it cannot go");
    assert!(matches!(error, LaneError::GaveUp { .. }), "{error}");
    fake.script(&[], json!({ "retry_after": 600.5, "global": false }), 0);
    let error = lane.send(post(2, "refused")).await.expect_err("ten minutes are too long");
    assert_eq!(error, LaneError::RateLimitedTooLong { retry_after_ms: 600_000 });
    assert_eq!(fake.texts(2), Vec::<String>::new());
}

#[tokio::test]
async fn an_absurd_wait_for_everything_is_ten_minutes_and_shows() {
    let fake = Fake::new(5, 250);
    let lane = lane(&fake.start().await);
    fake.script(&[("x-ratelimit-global", "true")], json!({ "retry_after": 1e300, "global": true }), 0);
    let error = lane.send(post(1, "refused")).await.expect_err("ten minutes are too long");
    assert_eq!(error, LaneError::RateLimitedTooLong { retry_after_ms: 600_000 });
    let paused_ms = lane.waiting().paused_ms;
    assert!((590_000..=600_100).contains(&paused_ms), "{paused_ms}");
}

// --- a server of raw bytes ---

/// Answers the first request with the first of these bytes and so on, the last for ever, and closes each time.
struct Raw {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/api/v10", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let index = {
                    let mut seen = record.lock().unwrap();
                    seen.push(request);
                    seen.len() - 1
                };
                let answer = answers.get(index).or(answers.last()).cloned().unwrap_or_default();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { url, seen }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn lines(&self) -> Vec<String> {
        let first = |request: &String| request.lines().next().unwrap_or_default().replace(" HTTP/1.1", "");
        self.seen.lock().unwrap().iter().map(first).collect()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_string();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).to_string();
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const DROPPED: &str = "";
const MID_HEADERS: &str = "HTTP/1.1 200 OK\r\nX-RateLimit-Rem";
const MID_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"id\":";

#[tokio::test]
async fn a_post_that_may_have_been_done_is_in_doubt_and_never_sent_twice() {
    let failure = http("502 Bad Gateway", "", "<html>");
    let page = http("200 OK", "", "<html>sign in to this network</html>");
    for answer in [DROPPED, MID_HEADERS, MID_BODY, failure.as_str(), page.as_str()] {
        let raw = Raw::start(&[answer]).await;
        let lane = lane(&raw.url);
        let error = lane.send(post(1, BODY)).await.expect_err("no answer came");
        assert!(matches!(error, LaneError::InDoubt { .. }), "after {answer:?}: {error}");
        assert_eq!((raw.requests(), lane.stats().in_doubt), (1, 1), "after {answer:?}");
    }
}

#[tokio::test]
async fn a_post_that_no_answer_comes_to_is_in_doubt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let lane = Lane::new(LaneOptions { request_timeout_ms: 60, ..options(&url) }).expect("the options are good");
    let error = lane.send(post(1, BODY)).await.expect_err("nobody answers");
    assert_eq!(error, LaneError::InDoubt { trouble: Trouble::TimedOut });
}

#[tokio::test]
async fn what_may_be_done_twice_is_tried_again() {
    let (good, gone) = (http("200 OK", "", "{\"id\":\"1\"}"), http("404 Not Found", "", "{\"code\":10008}"));
    for route in [Route::get_message(1, 2), Route::edit_message(1, 2), Route::create_dm()] {
        let raw = Raw::start(&[MID_HEADERS, DROPPED, &good]).await;
        let answer = lane(&raw.url).send(Request::new(route)).await.expect("the third attempt works");
        assert_eq!((answer.body, raw.requests()), (json!({ "id": "1" }), 3));
    }
    let raw = Raw::start(&[DROPPED, &gone]).await;
    let answer = lane(&raw.url).send(Request::new(Route::delete_message(1, 2))).await.expect("it is gone");
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn tries_end_and_say_whether_anything_can_have_changed() {
    let raw = Raw::start(&[DROPPED]).await;
    let lane = lane(&raw.url);
    let read = lane.send(Request::new(Route::get_channel(1))).await.expect_err("it never answers");
    assert_eq!(read, LaneError::Unreachable { trouble: Trouble::ConnectionBroke });
    let written = Request { give_up_after_ms: 100, ..Request::new(Route::edit_message(1, 2)) };
    let written = lane.send(written).await.expect_err("it never answers");
    assert_eq!(written, LaneError::InDoubt { trouble: Trouble::ConnectionBroke });
}

#[tokio::test]
async fn nobody_listening_is_unreachable_even_for_a_post() {
    // Bound and never listened on: nobody answers there, and nobody else can take the port meanwhile.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("loopback")).expect("a free port");
    let url = format!("http://{}", held.local_addr().expect("an address"));
    let error = lane(&url).send(Request { give_up_after_ms: 300, ..post(1, BODY) }).await.expect_err("nobody is there");
    assert_eq!(error, LaneError::Unreachable { trouble: Trouble::NoConnection });
}

#[tokio::test]
async fn a_429_with_a_broken_body_is_waited_out_and_the_post_is_sent_once_more() {
    let edge = http("429 Too Many Requests", "Retry-After: 0.06\r\n", "<html>error 1015</html>");
    let torn = "HTTP/1.1 429 Too Many Requests\r\nX-RateLimit-Scope: user\r\nRetry-After: 0.06\r\n\
                Content-Length: 90\r\n\r\n{\"retry_after\": 0.0";
    let odd =
        http("429 Too Many Requests", "X-RateLimit-Bucket: b\r\nRetry-After: soon\r\n", "[{\"retry_after\":\"-1\"}]");
    let good = http("200 OK", "X-RateLimit-Reset: x\r\nX-RateLimit-Remaining: many\r\n", "{\"id\":\"1\"}");
    let raw = Raw::start(&[&edge, torn, &odd, &good]).await;
    let lane = lane(&raw.url);
    assert_eq!(lane.send(post(1, BODY)).await.expect("it is delivered at last").status, 200);
    assert_eq!((raw.requests(), lane.stats().rate_limited), (4, 3));
}

#[tokio::test]
async fn a_refused_token_stops_what_needs_it_and_nothing_else() {
    let raw = Raw::start(&[&http("401 Unauthorized", "", "{\"message\":\"401: Unauthorized\",\"code\":0}")]).await;
    let lane = lane(&raw.url);
    for _ in 0..3 {
        assert_eq!(lane.send(Request::new(Route::get_current_user())).await, Err(LaneError::BadToken));
    }
    assert_eq!(raw.requests(), 1, "it is not asked again and again");
    let press = lane.send(callback()).await.expect_err("this server refuses all");
    assert!(matches!(press, LaneError::Refused { status: 401, .. }), "{press}");
    let bare = raw.seen.lock().unwrap()[1].to_ascii_lowercase();
    assert!(!bare.contains("authorization"), "an interaction is answered with its own token only");
}

#[tokio::test]
async fn a_token_that_worked_is_tried_again_before_it_is_given_a_rest() {
    let (no, good) = (http("401 Unauthorized", "", "{\"message\":\"401: Unauthorized\"}"), http("200 OK", "", "{}"));
    let raw = Raw::start(&[&good, &no, &good, &no]).await;
    let lane = lane(&raw.url);
    for text in ["first", "refused once"] {
        assert_eq!(lane.send(post(1, text)).await.expect("it is delivered").status, 200, "{text}");
    }
    assert_eq!((raw.requests(), lane.waiting().token_refused), (3, false));
    assert_eq!(lane.send(post(1, "refused twice")).await, Err(LaneError::BadToken));
    assert_eq!((raw.requests(), lane.waiting().token_refused), (5, true), "and the rest is no secret");
    assert_eq!(lane.send(post(1, "later")).await, Err(LaneError::BadToken));
    assert_eq!(raw.requests(), 5);
}

#[tokio::test]
async fn a_server_without_the_newer_pins_is_asked_on_the_older_route_from_then_on() {
    let (absent, pinned) =
        (http("404 Not Found", "", "{\"message\":\"404: Not Found\",\"code\":0}"), http("204 No Content", "", ""));
    let raw = Raw::start(&[&absent, &pinned]).await;
    let lane = lane(&raw.url);
    for message in [2, 3] {
        assert_eq!(lane.send(Request::new(Route::pin(1, message))).await.expect("it is pinned").status, 204);
    }
    let base = "PUT /api/v10/channels/1";
    assert_eq!(raw.lines(), [format!("{base}/messages/pins/2"), format!("{base}/pins/2"), format!("{base}/pins/3")]);
    let gone = http("404 Not Found", "", "{\"message\":\"Unknown Message\",\"code\":10008}");
    let raw = Raw::start(&[&gone]).await;
    let error = lane_error(&raw, Request::new(Route::pin(1, 2))).await;
    assert!(matches!(error, LaneError::Refused { code: 10008, .. }), "{error}");
    assert_eq!(raw.requests(), 1);
}

async fn lane_error(raw: &Raw, request: Request) -> LaneError {
    lane(&raw.url).send(request).await.expect_err("it is refused")
}

#[tokio::test]
async fn a_picture_goes_with_its_message() {
    let raw = Raw::start(&[&http("200 OK", "", "{}")]).await;
    let file = |name: &str, content_type: &str| FilePart {
        name: name.to_owned(),
        content_type: content_type.to_owned(),
        bytes: Bytes::from_static(b"picture"),
    };
    let files = vec![file("p95.png", "image/png"), file("odd", "not a type")];
    lane(&raw.url).send(Request { files, ..post(1, "p95 now") }).await.expect("it is delivered");
    let sent = raw.seen.lock().unwrap()[0].clone();
    for part in
        ["name=\"payload_json\"", "{\"content\":\"p95 now\"}", "name=\"files[0]\"; filename=\"p95.png\"", "image/png"]
    {
        assert!(sent.contains(part), "{part} is not in {sent}");
    }
    assert!(sent.contains("name=\"files[1]\"; filename=\"odd\""));
}

#[tokio::test]
async fn no_error_shows_a_token_or_a_body() {
    let echo = format!(
        "{{\"code\":50035,\"message\":\"Invalid {TOKEN} {INTERACTION} \\\"{BODY}\\\"\",\"errors\":{{\"content\":{{\"_errors\":\
         [{{\"code\":\"BAD\",\"message\":\"Value \\\"{BODY}\\\" {INTERACTION}\"}}]}}}}}}"
    );
    let refusal = http("400 Bad Request", "", &echo);
    for answer in [DROPPED, MID_HEADERS, MID_BODY, refusal.as_str(), "nonsense\r\n\r\n"] {
        let raw = Raw::start(&[answer]).await;
        let lane = lane(&raw.url);
        let followup =
            Request::new(Route::followup(1, &SecretString::from(INTERACTION))).body(json!({ "content": BODY }));
        let asked = format!("{followup:?} {lane:?} {:?}", options(&raw.url));
        let error = lane.send(followup).await.expect_err("no success came");
        let said = format!("{error} {error:?} {asked}");
        assert!(!said.contains("CANARY"), "after {answer:?}: {said}");
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_before_anything_is_sent() {
    for address in ["", "discord.com", "ftp://discord.com", "file:///etc/passwd"] {
        assert_eq!(Lane::new(options(address)).err(), Some(LaneError::BadAddress), "{address}");
    }
    for token in ["", " ", "line\nbreak"] {
        let options = LaneOptions { token: SecretString::from(token), ..options("http://127.0.0.1:9") };
        assert_eq!(Lane::new(options).err(), Some(LaneError::BadToken), "{token:?}");
    }
}
