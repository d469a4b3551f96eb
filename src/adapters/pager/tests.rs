//! What each way to wake somebody is sent, and what is made of its answer.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::Value;

use super::*;
use crate::domain::ids::{IncidentId, Person};

/// What a stand-in was sent, and what it answers.
#[derive(Clone, Default)]
struct Fake {
    got: Arc<Mutex<Vec<(String, HeaderMap, Value)>>>,
    answers: Arc<Mutex<(u16, String)>>,
}

impl Fake {
    async fn start(status: u16, body: &str) -> (Self, String) {
        let fake = Self { answers: Arc::new(Mutex::new((status, body.to_owned()))), ..Self::default() };
        let app = Router::new().fallback(answer).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
        let base = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (fake, base)
    }

    fn last(&self) -> (String, HeaderMap, Value) {
        self.got.lock().ok().and_then(|got| got.last().cloned()).unwrap_or_else(|| panic!("nothing was sent"))
    }
}

async fn answer(State(fake): State<Fake>, uri: Uri, headers: HeaderMap, body: String) -> impl IntoResponse {
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    fake.got.lock().map(|mut got| got.push((uri.path().to_owned(), headers, body))).unwrap_or_default();
    let (status, body) = fake.answers.lock().map(|answers| answers.clone()).unwrap_or_default();
    (StatusCode::from_u16(status).unwrap_or_default(), body)
}

fn pager() -> HttpPager {
    let secret = |name: &str| (name.to_owned(), SecretString::from(format!("canary-{name}")));
    let secrets = ["NTFY", "APP", "USER", "KEY", "HOOK"].map(secret);
    HttpPager::new(secrets.into_iter().collect()).unwrap_or_else(|error| panic!("{error}"))
}

fn call(way: Way) -> PageCall {
    PageCall {
        mark: "a1b2c3-17-0".to_owned(),
        person: Person::new("discord:5"),
        way,
        title: "SEV-1 INC-7 checkout is down. Ack by 03:07".to_owned(),
        body: "mcp answered 500 for two minutes".to_owned(),
        link: Some("https://chat.example/7".to_owned()),
        incident: Some(IncidentId(7)),
    }
}

#[tokio::test]
async fn ntfy_rings_at_the_highest_priority_and_can_be_told_apart() {
    let (fake, base) = Fake::start(200, "{}").await;
    let way = Way::Ntfy { url: format!("{base}/sub/long-topic"), token_env: Some("NTFY".to_owned()) };
    assert_eq!(pager().page(&call(way)).await, Ok(()));
    let (path, headers, body) = fake.last();
    assert_eq!(path, "/sub");
    assert_eq!(headers["authorization"], "Bearer canary-NTFY");
    assert_eq!(
        body,
        serde_json::json!({
            "topic": "long-topic", "title": "SEV-1 INC-7 checkout is down. Ack by 03:07",
            "message": "mcp answered 500 for two minutes", "priority": 5, "tags": ["rotating_light"],
            "sequence_id": "watchbell-a1b2c3-17-0", "click": "https://chat.example/7",
        })
    );
}

#[tokio::test]
async fn pushover_repeats_until_it_is_confirmed() {
    let (fake, base) = Fake::start(200, r#"{"status":1}"#).await;
    let way = Way::Pushover {
        token_env: "APP".into(),
        user_env: "USER".into(),
        url: Some(format!("{base}/1/messages.json")),
    };
    assert_eq!(pager().page(&call(way)).await, Ok(()));
    let (path, _, body) = fake.last();
    assert_eq!(path, "/1/messages.json");
    assert_eq!((&body["priority"], &body["retry"], &body["expire"]), (&2.into(), &60.into(), &3600.into()));
    assert_eq!((&body["token"], &body["user"]), (&"canary-APP".into(), &"canary-USER".into()));
}

#[tokio::test]
async fn pagerduty_gets_one_alert_a_person_and_incident_of_this_record() {
    let (fake, base) = Fake::start(202, "{}").await;
    let way = Way::Pagerduty { key_env: "KEY".into(), url: Some(base) };
    assert_eq!(pager().page(&call(way.clone())).await, Ok(()));
    let (_, _, body) = fake.last();
    let key = "watchbell/a1b2c3/INC-7/discord:5";
    assert_eq!((&body["dedup_key"], &body["event_action"]), (&key.into(), &"trigger".into()));
    let same =
        PageCall { mark: "a1b2c3-29-4".to_owned(), title: "SEV-1 INC-7 like INC-3".to_owned(), ..call(way.clone()) };
    assert_eq!(pager().page(&same).await, Ok(()));
    assert_eq!(fake.last().2["dedup_key"], key);
    let another = PageCall { mark: "ffffff-17-0".to_owned(), ..call(way.clone()) };
    assert_eq!(pager().page(&another).await, Ok(()));
    assert_eq!(fake.last().2["dedup_key"], "watchbell/ffffff/INC-7/discord:5", "another record's INC-7 is another");
    let test = PageCall { incident: None, ..call(way) };
    assert_eq!(pager().page(&test).await, Ok(()));
    assert_eq!(fake.last().2["dedup_key"], "watchbell/page/a1b2c3-17-0");
}

#[tokio::test]
async fn a_webhook_carries_the_mark_as_its_key() {
    let (fake, base) = Fake::start(204, "").await;
    let way = Way::Webhook { url: format!("{base}/hook"), token_env: Some("HOOK".into()) };
    assert_eq!(pager().page(&call(way)).await, Ok(()));
    let (_, headers, body) = fake.last();
    assert_eq!(headers["idempotency-key"], "a1b2c3-17-0");
    assert_eq!((&body["mark"], &body["version"]), (&"a1b2c3-17-0".into(), &1.into()));
}

#[tokio::test]
async fn a_refusal_says_why_and_shows_no_secret() {
    let echo = r#"{"errors":["token canary-APP is invalid, topic secret-topic unknown"]}"#;
    let (_fake, base) = Fake::start(400, echo).await;
    let pushover = Way::Pushover { token_env: "APP".into(), user_env: "USER".into(), url: Some(base.clone()) };
    let refused = pager().page(&call(pushover)).await;
    assert_eq!(
        refused,
        Err(ChatError::Refused(
            r#"Pushover answered 400 Bad Request: {"errors":["token … is invalid, topic secret-topic unknown"]}"#
                .to_owned()
        ))
    );
    let webhook = Way::Webhook { url: format!("{base}/secret-topic"), token_env: None };
    let says = format!("{:?}", pager().page(&call(webhook)).await);
    assert!(says.contains("Refused") && !says.contains("secret-topic"), "{says}");
    let ntfy = |base: &str| Way::Ntfy { url: format!("{base}/secret-topic"), token_env: Some("NTFY".to_owned()) };
    let webhook = |url: String| Way::Webhook { url, token_env: None };
    let slashed = |base: &str| webhook(format!("{base}/services/T0canary/B0canary/secret-topic/"));
    let signed = |base: &str| webhook(format!("{}/?key=secret-topic", base.replace("//", "//B0canary:T0canary@")));
    let ways: [&dyn Fn(&str) -> Way; 3] = [&ntfy, &slashed, &signed];
    for way in ways {
        for said in [
            r#"{"error":"topic secret-topic is reserved"}"#.to_owned(),
            // Where our own cut goes through it, and where the service's did.
            format!("{}canary-NTFY secret-topic", "x".repeat(190)),
            "no such topic: secret-top".to_owned(),
        ] {
            let (_fake, base) = Fake::start(403, &said).await;
            let says = format!("{:?}", pager().page(&call(way(&base))).await);
            assert!(says.contains("Refused") && says.contains('…'), "{says}");
            assert!(!says.contains("canary-N") && !says.contains("secret-t"), "{says}");
        }
    }
    for way in [&slashed as &dyn Fn(&str) -> Way, &signed] {
        let (_fake, base) = Fake::start(404, "cannot POST /services/T0canary/B0canary").await;
        let says = format!("{:?}", pager().page(&call(way(&base))).await);
        assert!(says.contains("cannot POST") && !says.contains("0canary"), "{says}");
    }
    let unset = Way::Pagerduty { key_env: "NOT_THERE".into(), url: None };
    assert_eq!(pager().page(&call(unset)).await, Err(ChatError::Refused("NOT_THERE is not set".to_owned())));
    assert!(!format!("{:?}", pager()).contains("canary"));
}

#[tokio::test]
async fn what_may_have_rung_is_in_doubt_only_where_a_repeat_would_ring_again() {
    let (fake, base) = Fake::start(503, "").await;
    let ntfy = Way::Ntfy { url: format!("{base}/t"), token_env: None };
    assert!(matches!(pager().page(&call(ntfy.clone())).await, Err(ChatError::InDoubt(_))));
    let webhook = Way::Webhook { url: base.clone(), token_env: None };
    assert!(matches!(pager().page(&call(webhook)).await, Err(ChatError::NotNow(_))));
    fake.answers.lock().map(|mut answers| answers.0 = 429).unwrap_or_default();
    assert!(matches!(pager().page(&call(ntfy)).await, Err(ChatError::NotNow(_))));
    let nobody = Way::Ntfy { url: "http://127.0.0.1:9/secret-topic".to_owned(), token_env: None };
    assert_eq!(pager().page(&call(nobody)).await, Err(ChatError::NotNow("ntfy: no connection".to_owned())));
}
