//! Reads a request: its path below the version, its query, its JSON, its files.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use serde_json::Value;

use super::Call;
use crate::sim::discord::refusal::Refusal;

/// Bytes of one request. Discord: 25 MiB.
const REQUEST_BYTES_MAX: usize = 25 * 1024 * 1024;

/// An uploaded file.
pub(in crate::sim::discord) struct Upload {
    /// The number in `files[n]`.
    pub number: u64,
    /// Its name.
    pub filename: String,
    /// Its MIME type.
    pub content_type: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Reads a whole request.
pub(super) async fn read(request: Request) -> Result<Call, Refusal> {
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authorization = text("authorization").to_owned();
    let content_type = text("content-type").to_owned();
    let agent = Some(text("user-agent")).filter(|agent| !agent.is_empty()).map(str::to_owned);
    let path = below_version(parts.uri.path());
    let query = parts.uri.query().map(read_query).unwrap_or_default();
    let method = parts.method.as_str().to_owned();
    let too_large = || Refusal::new(413, 40005, "Request entity too large");
    let bytes = to_bytes(body, REQUEST_BYTES_MAX).await.map_err(|_| too_large())?;
    let bad_json = || Refusal::new(400, 50109, "The request body contains invalid JSON.");
    let (body, files) = if content_type.starts_with("multipart/form-data") {
        let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from(bytes));
        let request = request.map_err(|_| bad_json())?;
        multipart(request).await?
    } else if bytes.is_empty() {
        (Value::Null, Vec::new())
    } else {
        (serde_json::from_slice(&bytes).map_err(|_| bad_json())?, Vec::new())
    };
    Ok(Call { method, path, query, body, files, authorization, agent })
}

/// The path without `/api` and a version. Versions are not told apart.
fn below_version(path: &str) -> String {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let rest = path.strip_prefix("/v").and_then(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(digits..).filter(|rest| digits > 0 && rest.starts_with('/'))
    });
    rest.unwrap_or(path).to_owned()
}

fn read_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (percent_decoded(key), percent_decoded(value))).collect()
}

/// `%41` and `+` as the letters that they stand for.
pub(in crate::sim::discord) fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let code = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (byte, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(code)) => {
                out.push(code);
                bytes.nth(1);
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn multipart(request: Request) -> Result<(Value, Vec<Upload>), Refusal> {
    let bad = || Refusal::new(400, 50035, "Invalid Form Body");
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|_| bad())?;
    let mut body = Value::Null;
    let mut files = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|_| bad())? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "payload_json" {
            let text = field.text().await.map_err(|_| bad())?;
            body = serde_json::from_str(&text)
                .map_err(|_| Refusal::new(400, 50109, "The request body contains invalid JSON."))?;
            continue;
        }
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        let number = digits.parse().unwrap_or(files.len() as u64);
        let filename = safe_name(field.file_name().unwrap_or("unknown"));
        let content_type = field.content_type().map_or_else(|| guess(&filename).to_owned(), str::to_owned);
        let bytes = field.bytes().await.map_err(|_| bad())?.to_vec();
        files.push(Upload { number, filename, content_type, bytes });
    }
    Ok((body, files))
}

/// A file name that can stand in an address, as Discord changes them.
fn safe_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().take(260).map(safe).collect();
    if name.trim_matches('.').is_empty() { "unknown".to_owned() } else { name }
}

fn guess(filename: &str) -> &'static str {
    match filename.rsplit('.').next().unwrap_or_default() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "txt" | "log" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv",
        _ => "application/octet-stream",
    }
}
