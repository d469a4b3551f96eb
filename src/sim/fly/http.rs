//! HTTP/1.1 in a nutshell, between the front and the machines: one request a connection.
//!
//! By hand, because a simulated machine must be able to do what a decent server never does: close its port in the middle of
//! an answer, or never answer. A connection ends with the task that serves it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a body.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A request, or what it is made of.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// As sent, but those that belong to one connection.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn get(path: &str) -> Request {
        Request { method: "GET".to_owned(), path: path.to_owned(), ..Request::default() }
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// An answer in JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Response {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Response { status, headers, body: body.to_string().into_bytes() }
    }

    /// An answer in plain words.
    pub fn text(status: u16, words: &str) -> Response {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Response { status, headers, body: words.as_bytes().to_vec() }
    }
}

/// Reads a request; `None` when the connection closed before one came.
pub async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let Some((head, rest)) = read_head(stream).await? else { return Ok(None) };
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path)) = (first.next(), first.next()) else { return Err(odd("not a request")) };
    let (method, path) = (method.to_owned(), path.to_owned());
    let headers = headers(lines);
    if header(&headers, "transfer-encoding").is_some() {
        return Err(odd("chunked bodies are not read here"));
    }
    let length = header(&headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let body = read_body(stream, rest, Some(length)).await?;
    Ok(Some(Request { method, path, headers: lasting(headers), body }))
}

/// Writes an answer and closes.
pub async fn write_response(stream: &mut TcpStream, response: &Response, with_body: bool) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", response.body.len()));
    let mut bytes = text.into_bytes();
    if with_body {
        bytes.extend_from_slice(&response.body);
    }
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// Asks a server on this machine.
///
/// Errors: as the network has them; `ConnectionRefused` when nobody listens, `TimedOut` when no answer came in time.
pub async fn ask(port: u16, request: &Request, within: Duration) -> io::Result<Response> {
    match timeout(within, exchange(port, request)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

async fn exchange(port: u16, request: &Request) -> io::Result<Response> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    if header(&request.headers, "host").is_none() {
        text.push_str(&format!("host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&request.body);
    stream.write_all(&bytes).await?;
    let Some((head, rest)) = read_head(&mut stream).await? else {
        return Err(io::Error::new(io::ErrorKind::ConnectionReset, "closed without an answer"));
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let Some(status) = status else { return Err(odd("not an answer")) };
    let headers = headers(lines);
    let length = header(&headers, "content-length").and_then(|text| text.parse().ok());
    let body = if request.method == "HEAD" { Vec::new() } else { read_body(&mut stream, rest, length).await? };
    Ok(Response { status, headers: lasting(headers), body })
}

/// Ends when the other side has gone.
pub async fn gone(stream: &mut TcpStream) {
    let mut bytes = [0; 256];
    while let Ok(count) = stream.read(&mut bytes).await {
        if count == 0 {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(odd("closed in the middle of a head")) };
        }
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            bytes.truncate(end);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), rest)));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(odd("the head is too long"));
        }
    }
}

async fn read_body(stream: &mut TcpStream, mut body: Vec<u8>, length: Option<usize>) -> io::Result<Vec<u8>> {
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(odd("the body is too long"));
    }
    let mut piece = [0; 4096];
    while length.is_none_or(|length| body.len() < length) {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            break;
        }
        body.extend_from_slice(piece.get(..count).unwrap_or_default());
        if body.len() > BODY_BYTES_MAX {
            return Err(odd("the body is too long"));
        }
    }
    Ok(body)
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// Without the headers that say something about one connection only.
fn lasting(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.retain(|(name, _)| !matches!(name.as_str(), "connection" | "content-length" | "keep-alive" | "expect"));
    headers
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The words of a status.
pub fn reason(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

fn odd(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}
