//! Twenty posts to one channel that takes five in five seconds: how long they take, and how often Discord would have refused.
//!
//! `cargo bench --bench lane`. At best it is 15 s: five at once, then five after each of three windows. The server counts on its
//! own and knows nothing of the lane.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::json;
use watchbell::adapters::discord::lane::{Lane, LaneLimits, LaneOptions, OrderKey, Request, Route};

const POSTS: usize = 20;
const LIMIT: u32 = 5;
const WINDOW: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Channel {
    window: Option<(Instant, u32)>,
    refused: u32,
}

async fn take(State(channel): State<Arc<Mutex<Channel>>>) -> Response {
    let mut channel = channel.lock().expect("no holder panics");
    let now = Instant::now();
    let (opened, used) = channel.window.filter(|(opened, _)| now < *opened + WINDOW).unwrap_or((now, 0));
    let reset_after = (opened + WINDOW).duration_since(now).as_secs_f64();
    if used >= LIMIT {
        channel.refused += 1;
        let body = json!({ "message": "You are being rate limited.", "retry_after": reset_after, "global": false });
        return (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
    }
    channel.window = Some((opened, used + 1));
    let headers = [
        ("x-ratelimit-bucket", "messages".to_owned()),
        ("x-ratelimit-limit", LIMIT.to_string()),
        ("x-ratelimit-remaining", (LIMIT - used - 1).to_string()),
        ("x-ratelimit-reset-after", format!("{reset_after:.3}")),
    ];
    (headers, axum::Json(json!({ "id": "1" }))).into_response()
}

async fn twenty(order: Option<OrderKey>) -> anyhow::Result<(f64, u32)> {
    let channel = Arc::<Mutex<Channel>>::default();
    let app = Router::new().route("/channels/1/messages", post(take)).with_state(Arc::clone(&channel));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let api_url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let lane = Lane::new(LaneOptions {
        api_url,
        token: SecretString::from("bench"),
        user_agent: "DiscordBot (https://example.org, 0)".to_owned(),
        request_timeout_ms: 5_000,
        limits: LaneLimits::default(),
    })?;
    let start = Instant::now();
    let request = || Request {
        order: order.clone(),
        ..Request::new(Route::create_message(1)).body(json!({ "content": "ding" }))
    };
    for result in join_all((0..POSTS).map(|_| lane.send(request()))).await {
        result?;
    }
    let refused = channel.lock().expect("no holder panics").refused;
    Ok((start.elapsed().as_secs_f64(), refused))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    for (name, order) in [("in order", Some(OrderKey::new("INC-7"))), ("in any order", None)] {
        let (seconds, refused) = twenty(order).await?;
        println!(
            "{POSTS} posts {name}, {LIMIT} in {} s allowed: {seconds:.2} s, {refused} refused (429)",
            WINDOW.as_secs()
        );
    }
    Ok(())
}
