//! Rate limits: a fixed window a bucket, a global one, and the headers that tell of them.
//!
//! Headers and the 429 body: Discord's document on rate limits. The numbers of a bucket are told to a bot only through
//! headers, so those here are Undocumented: what bots see.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use serde_json::json;

use super::id::now;
use super::workspace::Settings;

/// Buckets remembered; more means a bot invents paths.
const BUCKETS_MAX: usize = 10_000;
/// The window over which invalid requests count. Discord bans an address at 10,000.
const INVALID_WINDOW: Duration = Duration::from_secs(600);

/// A request that came too early.
#[derive(Clone, Debug)]
pub struct Limited {
    /// How long to wait.
    pub retry_after: Duration,
    /// Whether the global limit was met.
    pub global: bool,
    /// `user`, `global` or `shared`.
    pub scope: &'static str,
}

impl Limited {
    /// The body of the 429.
    pub fn body(&self) -> serde_json::Value {
        let seconds = (self.retry_after.as_secs_f64() * 1000.0).ceil() / 1000.0;
        json!({"message": "You are being rate limited.", "retry_after": seconds, "global": self.global})
    }

    /// The headers of the 429, beside the bucket's.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Retry-After", (self.retry_after.as_secs_f64().ceil() as u64).to_string()),
            ("X-RateLimit-Scope", self.scope.to_owned()),
        ];
        if self.global {
            headers.push(("X-RateLimit-Global", "true".to_owned()));
        }
        headers
    }
}

/// How often one bucket may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Uses a window.
    pub limit: u32,
    /// The window.
    pub window: Duration,
}

#[derive(Debug)]
struct Bucket {
    remaining: u32,
    resets_at: Instant,
}

/// All limits of one token.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: BTreeMap<String, Bucket>,
    global: VecDeque<Instant>,
    invalid: VecDeque<Instant>,
}

impl Limits {
    /// Takes one use of `bucket`. The headers stand for success and refusal alike.
    pub fn take(&mut self, bucket: &str, route: &str, rate: Rate) -> (Vec<(&'static str, String)>, Option<Limited>) {
        let at = Instant::now();
        if self.buckets.len() >= BUCKETS_MAX {
            self.buckets.retain(|_, bucket| bucket.resets_at > at);
        }
        let fresh = || Bucket { remaining: rate.limit, resets_at: at + rate.window };
        let entry = self.buckets.entry(bucket.to_owned()).or_insert_with(fresh);
        if entry.resets_at <= at {
            *entry = fresh();
        }
        let left = entry.resets_at - at;
        let limited = if entry.remaining == 0 {
            Some(Limited { retry_after: left, global: false, scope: "user" })
        } else {
            entry.remaining -= 1;
            None
        };
        let reset = now().timestamp_millis() as f64 / 1000.0 + left.as_secs_f64();
        let headers = vec![
            ("X-RateLimit-Limit", rate.limit.to_string()),
            ("X-RateLimit-Remaining", entry.remaining.to_string()),
            ("X-RateLimit-Reset", format!("{reset:.3}")),
            ("X-RateLimit-Reset-After", format!("{:.3}", left.as_secs_f64())),
            ("X-RateLimit-Bucket", hash(route)),
        ];
        (headers, limited)
    }

    /// Takes one use of the global limit.
    pub fn take_global(&mut self, settings: &Settings) -> Option<Limited> {
        let at = Instant::now();
        let second = Duration::from_secs(1);
        while self.global.front().is_some_and(|&first| at - first >= second) {
            self.global.pop_front();
        }
        if self.global.len() >= settings.global_per_second as usize {
            let first = self.global.front().copied().unwrap_or(at);
            let retry_after = second.saturating_sub(at - first);
            return Some(Limited { retry_after, global: true, scope: "global" });
        }
        self.global.push_back(at);
        None
    }

    /// Counts an answer of 401, 403 or 429 and tells how many there were in ten minutes.
    pub fn count_invalid(&mut self) -> usize {
        let at = Instant::now();
        self.invalid.push_back(at);
        while self.invalid.front().is_some_and(|&first| at - first > INVALID_WINDOW) {
            self.invalid.pop_front();
        }
        self.invalid.len()
    }

    /// Forgets every window, as after new settings.
    pub fn clear(&mut self) {
        self.buckets.clear();
        self.global.clear();
    }
}

/// A bucket's public name: opaque, equal for equal routes.
fn hash(route: &str) -> String {
    let mut hasher = DefaultHasher::new();
    route.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
