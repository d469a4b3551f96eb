//! The side that asks: `watchbell deploy` in a pipeline. Signs, sends the same request again until it is answered, and follows the
//! deploy to its verdict, a line a change.
//!
//! The request keeps its name however often it is sent, so that an answer that was lost makes no second deploy. What it ends with
//! is for a machine: `Ending::exit_code`.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;

use super::signature::{ID, SIGNATURE, Signed, TIME};
use crate::adapters::clock::SystemClock;
use crate::adapters::config::plain_http_elsewhere;
use crate::domain::pipeline::Body;
use crate::domain::pipeline::told::{Stands, Told};
use crate::ports::Clock as _;

/// Where a deploy is asked for.
pub const PATH: &str = "/hooks/deploy";

/// How long is waited before it is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// The longest wait that an answer may ask for.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// How often a deploy is looked at while it is followed.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Time for one request: the bot asks Fly before it answers.
const REQUEST_WITHIN: Duration = Duration::from_secs(45);
/// Characters of an answer that are shown.
const SHOWN_CHARS_MAX: usize = 1_000;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did well; without waiting: it is asked for, and no check refuses.
    Well,
    /// It was done, and did not do well.
    Failed,
    /// A check refuses, or somebody said no.
    Refused,
    /// The bot could not be asked.
    NotAsked,
    /// No yes, or no verdict, in time.
    TimedOut,
}

impl Ending {
    /// For whoever started the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Well => 0,
            Ending::Failed => 1,
            Ending::Refused => 2,
            Ending::NotAsked => 3,
            Ending::TimedOut => 4,
        }
    }
}

/// A bot's hook.
#[derive(Debug)]
pub struct Hook {
    http: reqwest::Client,
    url: Url,
    secret: SecretString,
    away_max: Duration,
}

/// What one request came to.
enum Answered {
    Told(Box<Told>),
    Refused(String),
    /// Another request may fare better.
    NotNow(String, Duration),
    Never(String),
}

impl Hook {
    /// The hook of the bot at an address, which may be away for so long: it is started anew, or its machine is.
    ///
    /// # Errors
    /// A sentence, when that is no address, or one where others can read what is sent.
    pub fn new(url: &str, secret: SecretString, away_max: Duration) -> Result<Self, String> {
        let url = Url::parse(url.trim()).map_err(|error| format!("--url “{url}” is not an address ({error})"))?;
        if !matches!(url.scheme(), "https" | "http") || plain_http_elsewhere(&url) {
            return Err(format!("--url {url}: https only, but to this machine"));
        }
        let http = reqwest::Client::builder()
            .timeout(REQUEST_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, url, secret, away_max })
    }

    /// Asks for a deploy; follows it to its verdict for at most so long, when asked to. `say` is given each line.
    pub async fn deploy(&self, id: &str, body: &Body, wait: Option<Duration>, mut say: impl FnMut(&str)) -> Ending {
        let began = Instant::now();
        let body = serde_json::to_vec(body).unwrap_or_default();
        let told = match self.until_answered(&Method::POST, PATH, id, &body).await {
            Ok(told) => told,
            Err(ending) => return ended(ending, &mut say),
        };
        say(&told.what);
        for refuses in &told.refuses {
            say(&format!("✗ {}: {}. To pass: {}.", refuses.check, refuses.says, refuses.to_pass));
        }
        said(&told, None, &mut say);
        if let Some(next) = &told.next {
            say(next);
        }
        match wait {
            None => without_waiting(&told),
            Some(most) => self.follow(id, told, began + most, &mut say).await,
        }
    }

    async fn follow(&self, id: &str, mut told: Told, until: Instant, say: &mut impl FnMut(&str)) -> Ending {
        let path = format!("{PATH}/{}", told.number);
        let mut refused = false;
        loop {
            match told.stands {
                Stands::Succeeded => return Ending::Well,
                Stands::Failed => return Ending::Failed,
                Stands::Refused => return Ending::Refused,
                Stands::RanOut => return if refused { Ending::Refused } else { Ending::TimedOut },
                // Nobody can start it, whoever says yes.
                Stands::Waiting if told.observing => return Ending::Refused,
                Stands::Waiting => refused = !told.refuses.is_empty(),
                Stands::Running => {}
            }
            let now = Instant::now();
            if now >= until {
                say(&format!("I wait no longer; {} goes on without me.", told.deploy));
                return Ending::TimedOut;
            }
            tokio::time::sleep_until(until.min(now + LOOK_EVERY)).await;
            let next = match self.until_answered(&Method::GET, &path, id, b"").await {
                Ok(next) => next,
                Err(ending) => return ended(ending, say),
            };
            said(&next, Some(&told), say);
            told = next;
        }
    }

    /// Asks until there is an answer that asking again would not change.
    async fn until_answered(
        &self,
        method: &Method,
        path: &str,
        id: &str,
        body: &[u8],
    ) -> Result<Told, (Ending, String)> {
        let until = Instant::now() + self.away_max;
        loop {
            match self.once(method.clone(), path, id, body).await {
                Answered::Told(told) => return Ok(*told),
                Answered::Refused(why) => return Err((Ending::Refused, why)),
                Answered::Never(why) => return Err((Ending::NotAsked, why)),
                Answered::NotNow(why, _) if Instant::now() >= until => return Err((Ending::NotAsked, why)),
                Answered::NotNow(_, after) => tokio::time::sleep(after).await,
            }
        }
    }

    async fn once(&self, method: Method, path: &str, id: &str, body: &[u8]) -> Answered {
        #[derive(Deserialize)]
        struct Wrong {
            error: String,
        }
        let time_s = SystemClock::default().now().timestamp();
        let signature = Signed { time_s, id, method: method.as_str(), path, body }.sign(&self.secret);
        let Ok(url) = self.url.join(path) else { return Answered::Never(format!("{} has no paths", self.url)) };
        let request = self.http.request(method, url).header(TIME, time_s).header(ID, id).header(SIGNATURE, signature);
        let answer = match request.header("content-type", "application/json").body(body.to_vec()).send().await {
            Ok(answer) => answer,
            Err(error) => return Answered::NotNow(format!("the bot does not answer: {}", chain(&error)), AGAIN_AFTER),
        };
        let status = answer.status();
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let after = after.map_or(AGAIN_AFTER, Duration::from_secs).clamp(AGAIN_AFTER, AGAIN_AFTER_MAX);
        let text = match answer.bytes().await {
            Ok(text) => text,
            Err(error) => {
                return Answered::NotNow(format!("the bot's answer broke off: {}", chain(&error)), AGAIN_AFTER);
            }
        };
        let wrong = serde_json::from_slice::<Wrong>(&text).map(|wrong| plain(&wrong.error));
        let wrong = wrong.unwrap_or_else(|_| format!("it answered {status}; is that the bot's public address?"));
        match status {
            status if status.is_success() => match serde_json::from_slice(&text) {
                Ok(told) => Answered::Told(Box::new(told)),
                Err(_) => Answered::Never("its answer is none of a Watchbell; is that the bot's address?".to_owned()),
            },
            StatusCode::CONFLICT => Answered::Refused(wrong),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Answered::NotNow(wrong, after),
            status if status.is_server_error() => Answered::NotNow(wrong, after),
            _ => Answered::Never(wrong),
        }
    }
}

fn without_waiting(told: &Told) -> Ending {
    match told.stands {
        Stands::Waiting if told.observing || !told.refuses.is_empty() => Ending::Refused,
        // The same request again may find it further than that.
        Stands::Waiting | Stands::Running | Stands::Succeeded => Ending::Well,
        Stands::Failed => Ending::Failed,
        Stands::Refused => Ending::Refused,
        Stands::RanOut => Ending::TimedOut,
    }
}

fn ended((ending, why): (Ending, String), say: &mut impl FnMut(&str)) -> Ending {
    say(&match ending {
        Ending::Refused => format!("Refused: {why}"),
        _ => format!("Not asked: {why}"),
    });
    ending
}

/// Says what has changed.
fn said(told: &Told, before: Option<&Told>, say: &mut impl FnMut(&str)) {
    if before.is_none_or(|before| before.line != told.line) {
        say(&format!("{}: {}", told.deploy, plain(&told.line)));
    }
    let Some(before) = before else { return };
    for passed in before.refuses.iter().filter(|one| told.refuses.iter().all(|now| now.check != one.check)) {
        if told.stands == Stands::Waiting {
            say(&format!("{}: the {} check does not refuse any more", told.deploy, passed.check));
        }
    }
}

/// What came from elsewhere, on one line.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    crate::domain::text::short(&text, SHOWN_CHARS_MAX)
}

/// An error with its causes, without the address.
fn chain(error: &reqwest::Error) -> String {
    let mut said = if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if std::error::Error::source(inner).is_none() {
            said.push_str(&format!(" ({inner})"));
        }
        cause = std::error::Error::source(inner);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_where_others_can_read_it() {
        let hook = |url| Hook::new(url, SecretString::from("a secret of the test".to_owned()), Duration::ZERO);
        assert!(hook("http://127.0.0.1:9401").is_ok());
        assert!(hook("https://watchbell.example").is_ok());
        assert!(hook("http://watchbell.example").expect_err("in the clear").contains("https only"));
        assert!(hook("ftp://watchbell.example").is_err());
        assert!(!format!("{:?}", hook("https://watchbell.example")).contains("a secret of the test"));
    }
}
