//! Serving a port that anybody can reach: so many connections at once, each with so much time, one request each, heads and bodies
//! of bounded size. What is over a limit is told so in a sentence, where there is still somebody to tell.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

/// What a port bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Time for the head of a request.
    pub head_within: Duration,
    /// Time for a body.
    pub body_within: Duration,
    /// Time for everything.
    pub all_within: Duration,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            head_within: Duration::from_secs(5),
            body_within: Duration::from_secs(10),
            all_within: Duration::from_secs(60),
            body_bytes_max: 64 << 10,
        }
    }
}

/// The largest head, in bytes. hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What is read of a body that is too large, so that whoever sends it hears so and not only a broken connection, in bytes.
const DRAINED_BYTES_MAX: usize = 1 << 20;
/// How long is waited after a connection could not be taken: out of files, most likely.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// What a connection over the limit hears.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Type: application/json\r\nContent-Length: 59\r\n\r\n{\"error\":\"Too many are asking at once. Try again shortly.\"}";

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(error = %error, "The public port cannot take a connection");
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            // What does not fit into an empty buffer at once is not worth waiting for.
            let _ = stream.try_write(FULL);
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_within)
                .keep_alive(false)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever breaks off, or is too slow, has nobody left to tell.
            let _ = tokio::time::timeout(limits.all_within, served).await;
            drop(place);
        });
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// It ended before its end.
    Broken,
}

/// Reads a body within the limits.
///
/// # Errors
/// Why not.
pub async fn read(body: Body, limits: &Limits) -> Result<Bytes, Unread> {
    let reading = async {
        let mut frames = body.into_data_stream();
        let (mut kept, mut bytes) = (BytesMut::new(), 0_usize);
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(|_| Unread::Broken)?;
            bytes = bytes.saturating_add(frame.len());
            if bytes <= limits.body_bytes_max {
                kept.extend_from_slice(&frame);
            } else if bytes > DRAINED_BYTES_MAX {
                break;
            }
        }
        if bytes > limits.body_bytes_max { Err(Unread::TooLarge) } else { Ok(kept.freeze()) }
    };
    tokio::time::timeout(limits.body_within, reading).await.unwrap_or(Err(Unread::TooSlow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_one_too_many_is_whole() {
        let text = String::from_utf8_lossy(FULL);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_let_go_and_one_too_many_is_told() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        use tokio::net::TcpStream;

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let limits = Limits { connections_max: 1, head_within: Duration::from_millis(300), ..Limits::default() };
        let routes = Router::new().fallback(|| async { "here" });
        let server = tokio::spawn(serve(listener, routes, limits));
        let mut silent = TcpStream::connect(addr).await.expect("a connection");
        silent.write_all(b"GET / HTTP/1.1\r\n").await.expect("a part of a head");
        let mut text = String::new();
        let mut other = TcpStream::connect(addr).await.expect("a connection");
        other.read_to_string(&mut text).await.expect("it is told");
        assert!(text.starts_with("HTTP/1.1 503") && text.contains("Too many"), "{text}");
        // Ends only because it is let go: nothing more is sent.
        let _ = silent.read_to_end(&mut Vec::new()).await;
        let answer = reqwest::get(format!("http://{addr}/")).await.expect("there is room again");
        assert_eq!(answer.text().await.expect("a text"), "here");
        server.abort();
    }

    #[tokio::test]
    async fn a_body_is_read_as_far_as_it_may_be_long() {
        let limits = Limits { body_bytes_max: 8, ..Limits::default() };
        assert_eq!(read(Body::from("12345678"), &limits).await, Ok(Bytes::from_static(b"12345678")));
        assert_eq!(read(Body::from("123456789"), &limits).await, Err(Unread::TooLarge));
    }
}
