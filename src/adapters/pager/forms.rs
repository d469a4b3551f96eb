//! What each service wants to be sent, from its own document.

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Sent;
use crate::ports::{ChatError, PageCall};

/// Pushover's own address.
const PUSHOVER: &str = "https://api.pushover.net/1/messages.json";
/// PagerDuty's own address.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// Pushover repeats an emergency this often until it is confirmed, in seconds; 30 is its least.
const PUSHOVER_RETRY_S: u32 = 60;
/// And gives up after this long, in seconds; 10,800 is its most.
const PUSHOVER_EXPIRE_S: u32 = 3600;
/// Characters that the services take, and a little less.
const TITLE_CHARS_MAX: usize = 100;
const BODY_CHARS_MAX: usize = 900;
/// Characters of PagerDuty's `dedup_key`.
const DEDUP_KEY_CHARS_MAX: usize = 255;

/// ntfy, published as JSON to the server with the topic in the body (docs.ntfy.sh/publish). A message with a sequence id that
/// was used before replaces the first without ringing again, on servers since 2.16.
pub(super) fn ntfy(call: &PageCall, url: &str, token: Option<&SecretString>) -> Result<Sent, ChatError> {
    let refused = || ChatError::Refused("the ntfy address has no topic at its end".to_owned());
    let mut server = Url::parse(url).map_err(|_| refused())?;
    let topic = server
        .path_segments()
        .and_then(|segments| segments.rev().find(|segment| !segment.is_empty()).map(str::to_owned))
        .ok_or_else(refused)?;
    server.path_segments_mut().map_err(|()| refused())?.pop_if_empty().pop();
    let mark: String = call.mark.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let mut body = json!({
        "topic": topic,
        "title": title(call),
        "message": text(call),
        "priority": 5,
        "tags": ["rotating_light"],
        "sequence_id": format!("watchbell-{mark}"),
    });
    link(&mut body, "click", call);
    let headers = token.map(|token| ("authorization", bearer(token))).into_iter().collect();
    Ok(Sent { url: server.into(), written: url.to_owned(), headers, body, drops_repeats: false })
}

/// Pushover, emergency priority (pushover.net/api#priority): rings until somebody confirms.
pub(super) fn pushover(call: &PageCall, url: Option<&str>, token: &SecretString, user: &SecretString) -> Sent {
    let mut body = json!({
        "token": token.expose_secret(),
        "user": user.expose_secret(),
        "title": title(call),
        "message": text(call),
        "priority": 2,
        "retry": PUSHOVER_RETRY_S,
        "expire": PUSHOVER_EXPIRE_S,
        "tags": format!("watchbell-{}", call.mark),
    });
    link(&mut body, "url", call);
    let url = url.unwrap_or(PUSHOVER).to_owned();
    Sent { written: url.clone(), url, headers: Vec::new(), body, drops_repeats: false }
}

/// PagerDuty Events API v2. All pages of one person about one incident are one alert there: its own escalation rings on, until
/// somebody acknowledges or resolves it there.
pub(super) fn pagerduty(call: &PageCall, url: Option<&str>, key: &SecretString) -> Sent {
    let mut body = json!({
        "routing_key": key.expose_secret(),
        "event_action": "trigger",
        "dedup_key": dedup_key(call),
        "client": "Watchbell",
        "payload": {
            "summary": title(call),
            "source": "watchbell",
            "severity": "critical",
            "custom_details": {"text": text(call), "page": call.mark},
        },
    });
    if let Some(link) = &call.link
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("links".to_owned(), json!([{"href": link, "text": "Open the incident"}]));
    }
    let url = url.unwrap_or(PAGERDUTY).to_owned();
    Sent { written: url.clone(), url, headers: Vec::new(), body, drops_repeats: true }
}

/// Any address: JSON, with the mark as `Idempotency-Key`.
pub(super) fn webhook(call: &PageCall, url: &str, token: Option<&SecretString>) -> Sent {
    let body = json!({
        "version": 1,
        "mark": call.mark,
        "person": call.person,
        "title": title(call),
        "text": call.body,
        "link": call.link,
    });
    let mut headers = vec![("idempotency-key", SecretString::from(call.mark.clone()))];
    headers.extend(token.map(|token| ("authorization", bearer(token))));
    Sent { url: url.to_owned(), written: url.to_owned(), headers, body, drops_repeats: true }
}

/// One for each incident of this record and each person, or the page's own for a test. Numbers begin anew with a new record: its
/// INC-7 must not join the alert of an old one, which may be acknowledged and so rings nobody. And whoever is called later must
/// not be passed over because another was called before over the same key.
fn dedup_key(call: &PageCall) -> String {
    let key = match call.incident {
        Some(id) => format!("watchbell/{}/{id}/{}", call.record(), call.person),
        None => format!("watchbell/page/{}", call.mark),
    };
    key.chars().take(DEDUP_KEY_CHARS_MAX).collect()
}

fn bearer(token: &SecretString) -> SecretString {
    SecretString::from(format!("Bearer {}", token.expose_secret()))
}

fn link(body: &mut serde_json::Value, key: &str, call: &PageCall) {
    if let (Some(link), Some(fields)) = (&call.link, body.as_object_mut()) {
        fields.insert(key.to_owned(), link.clone().into());
    }
}

fn title(call: &PageCall) -> String {
    cut(&call.title, TITLE_CHARS_MAX)
}

/// The body; the title again when there is none, because an empty message is refused.
fn text(call: &PageCall) -> String {
    let text = if call.body.trim().is_empty() { &call.title } else { &call.body };
    cut(text, BODY_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
