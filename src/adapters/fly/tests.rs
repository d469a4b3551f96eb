//! Answers of Fly, whole, partial and wrong, and what is made of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::domain::health::{Mark, Reason};

/// Answers what it was told to, one after the other, then 200 with the last.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    got: Arc<Mutex<Vec<(String, String)>>>,
}

impl Fake {
    async fn start(answers: &[(u16, Value)]) -> (Self, Client) {
        let (fake, base) = Self::serve(answers).await;
        let client = Client::new(&base, &base, &SecretString::from("FlyV1 fm2_canary"));
        (fake, client.unwrap_or_else(|error| panic!("{error}")))
    }

    async fn serve(answers: &[(u16, Value)]) -> (Self, String) {
        let fake = Self::default();
        for (status, body) in answers {
            fake.answers.lock().map(|mut queue| queue.push_back((*status, body.to_string()))).unwrap_or_default();
        }
        let app = Router::new().fallback(answer).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
        let base = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (fake, base)
    }

    fn got(&self) -> Vec<(String, String)> {
        self.got.lock().map(|got| got.clone()).unwrap_or_default()
    }
}

async fn answer(State(fake): State<Fake>, uri: Uri, headers: HeaderMap) -> impl IntoResponse {
    let auth = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    fake.got.lock().map(|mut got| got.push((uri.to_string(), auth))).unwrap_or_default();
    let mut queue = fake.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (status, body) = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }.unwrap_or_default();
    (StatusCode::from_u16(status).unwrap_or_default(), [("fly-request-id", "01JREQ-ord")], body)
}

fn machine(changes: Value) -> Value {
    let mut machine = json!({
        "id": "3d8d9014f7", "name": "quiet-sea-1", "state": "started", "region": "ord", "instance_id": "01J",
        "host_status": "ok", "cordoned": false, "something_new": {"a": 1},
        "image_ref": {"registry": "registry.fly.io", "repository": "mcp", "tag": "v41", "digest": "sha256:aa", "labels": null},
        "config": {"guest": {"memory_mb": 512}, "checks": {"http": {}},
                   "services": [{"autostop": true, "autostart": true, "checks": [{}]}]},
        "checks": [
            {"name": "servicecheck-00-http-8080", "status": "passing", "output": "200"},
            {"name": "bg_deployments_compat_1", "status": "critical", "output": ""},
        ],
        "events": null,
    });
    if let (Some(all), Value::Object(changes)) = (machine.as_object_mut(), changes) {
        all.extend(changes);
    }
    machine
}

#[tokio::test]
async fn machines_are_read_from_one_list_with_the_right_header() {
    let (fake, fly) = Fake::start(&[(200, json!([machine(json!({})), machine(json!({"state": "destroyed"}))]))]).await;
    let machines = fly.machines("ac/me").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fake.got(), [("/v1/apps/ac%2Fme/machines".to_owned(), "FlyV1 fm2_canary".to_owned())]);
    assert_eq!(machines.len(), 1, "the destroyed one is gone");
    assert_eq!(machines[0].image, "registry.fly.io/mcp:v41@sha256:aa");
    assert_eq!(machines[0].config["guest"]["memory_mb"], 512);
    let health = machines[0].health();
    assert_eq!((health.checks_passing, health.checks, health.autostop, health.restarts), (1, 1, true, None));
    assert_eq!(health.verdict().mark, Mark::Ok, "Fly's own checks are none of the app");
}

#[test]
fn what_is_missing_null_or_odd_costs_nothing_else() {
    let bare = Machine::read(&json!({"id": "a", "checks": null, "config": null, "region": 7, "cordoned": "yes"}));
    assert_eq!(bare.map(|machine| (machine.region, machine.cordoned, machine.host_status)), Some(Default::default()));
    assert_eq!(Machine::read(&json!({"name": "no id"})), None);
}

#[test]
fn checks_that_are_configured_and_silent_are_not_passing() {
    let silent = Machine::read(&machine(json!({"checks": []}))).unwrap_or_else(|| panic!("a machine")).health();
    assert_eq!((silent.checks_passing, silent.checks), (0, 2));
    assert_eq!(silent.verdict().reasons, [Reason::ChecksSilent]);
}

#[test]
fn a_machine_may_sleep_only_when_something_will_wake_it() {
    let sleeps =
        |config: Value| Machine::read(&machine(json!({"config": config}))).is_some_and(|machine| machine.may_sleep());
    for stop in [json!(true), json!("stop"), json!("suspend")] {
        assert!(sleeps(json!({"services": [{"autostop": stop, "autostart": true}]})), "{stop}");
        assert!(!sleeps(json!({"services": [{"autostop": stop, "autostart": false}]})), "{stop}, and never woken");
    }
    assert!(!sleeps(json!({"services": [{"autostop": "off"}, {"autostop": false}]})));
    assert!(!sleeps(json!({})));
    assert!(sleeps(json!({"standbys": ["3d8d9014f8"]})), "a standby waits for its primary");
}

#[test]
fn restarts_are_counted_since_somebody_last_started_it() {
    let exit = |at: i64, requested: bool, count: u64| {
        json!({"id": at.to_string(), "type": "exit", "source": "flyd", "timestamp": at, "request": {"restart_count": count,
               "MonitorEvent": {"exit_event": {"exit_code": 137, "oom_killed": true, "requested_stop": requested, "restarting": true}},
               "exit_event": {"exit_code": 0}}})
    };
    let start = |at: i64, source: &str| json!({"type": "start", "source": source, "timestamp": at});
    let events = json!([
        start(1, "user"),
        exit(2, false, 9),
        start(3, "user"),
        exit(4, false, 1),
        start(5, "flyd"),
        exit(6, false, 2)
    ]);
    let machine = Machine::read(&machine(json!({"events": events}))).unwrap_or_else(|| panic!("a machine"));
    assert_eq!(machine.restarts(), Some(2), "what was before the last start by hand is over");
    let newest = machine.events.as_ref().and_then(|events| events.first()?.exit);
    assert_eq!(newest.map(|exit| (exit.code, exit.oom_killed)), Some((137, true)), "the monitor's word comes first");
}

#[tokio::test]
async fn the_token_is_asked_after_and_its_refusal_is_a_sentence_without_it() {
    let good = json!({"tokens": [{"token_id": "x", "org_slug": "acme", "apps": null}]});
    let (_, fly) = Fake::start(&[(200, good)]).await;
    assert_eq!(fly.auth().await, Ok("acme".to_owned()));
    let (fake, fly) = Fake::start(&[(401, json!({"error": "Authenticate: token validation error"}))]).await;
    assert_eq!(
        fly.auth().await,
        Err("Fly does not take the token (401): Authenticate: token validation error. Make a new one: fly tokens create \
             readonly (fly-request-id 01JREQ-ord)"
            .to_owned())
    );
    assert_eq!(fake.got().len(), 1, "a refusal is not asked again");
    assert!(!format!("{fly:?}").contains("canary"));
    // Fly quotes the token: whole, cut by Fly itself, and where our own cut would go through its middle.
    let quotes = ["token FlyV1 fm2_canary is bad", "token fm2_canar", &format!("{} fm2_canary", "x".repeat(292))];
    for (quote, status) in quotes.into_iter().flat_map(|quote| [401, 403, 404, 400].map(|status| (quote, status))) {
        let (_, fly) = Fake::start(&[(status, json!({"error": quote}))]).await;
        let says = fly.auth().await.err().unwrap_or_default();
        assert!(says.contains('…') && !says.contains("fm2_c"), "{says}");
    }
}

#[tokio::test]
async fn a_question_is_asked_again_when_fly_stumbles() {
    let busy = json!({"error": "slow down"});
    let (fake, fly) = Fake::start(&[(502, json!("bad gateway")), (429, busy), (200, json!([]))]).await;
    assert_eq!(fly.machines("a").await, Ok(Vec::new()));
    assert_eq!(fake.got().len(), 3);
    let (fake, fly) = Fake::start(&[(500, json!({"errors": {"detail": "no"}}))]).await;
    let error = fly.machines("a").await.err();
    assert_eq!(error.map(|error| error.says), Some("Fly answered 500 (list machines): no".to_owned()));
    assert_eq!(fake.got().len(), 3, "and not for ever");
}

#[tokio::test]
async fn a_question_that_is_asked_to_slow_down_is_answered_all_the_same() {
    let (fake, base) = Fake::serve(&[429; 6].map(|status| (status, json!({})))).await;
    fake.answers.lock().map(|mut queue| queue.push_back((200, "[]".to_owned()))).unwrap_or_default();
    let paces = Paces::new(std::time::Duration::from_millis(1));
    let token = SecretString::from("FlyV1 fm2_canary");
    let fly = Client::paced(&base, &base, &token, &paces).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fly.machines("a").await, Ok(Vec::new()));
    assert_eq!(fake.got().len(), 7);
    // Whoever acts keeps the same pace: Fly's limit is one for all.
    let tokens = std::collections::BTreeMap::from([("a".to_owned(), token.clone())]);
    let acts = FlyHosting::paced(&base, &base, Some(&token), &tokens, Patience::default(), &paces);
    assert!(acts.is_ok());
    assert_eq!(Arc::strong_count(&paces), 4, "ours, and one for each who speaks");
}

#[test]
fn a_time_that_nobody_can_have_meant_is_none() {
    let read = |at: Value| Release::read(&json!({"id": "r1", "version": 1, "created_at": at})).and_then(|one| one.at);
    for odd in [json!("+262142-01-01T00:00:00Z"), json!("-262143-01-01T00:00:00Z"), json!(8_210_000_000_000_000_i64)] {
        assert_eq!(read(odd.clone()), None, "{odd}");
    }
    assert!(read(json!("2026-11-24T02:00:00Z")).is_some());
}

#[tokio::test]
async fn releases_go_under_the_other_scheme() {
    let releases = json!({"releases": [{"id": "r1", "version": 41, "status": "complete", "image_ref": "mcp:v41",
                                        "user": {"email": "ana@example"}, "created_at": "2026-11-24T02:00:00Z"}]});
    let (fake, fly) = Fake::start(&[(200, releases)]).await;
    let read = fly.releases("a", 5).await.unwrap_or_default();
    assert_eq!(
        read.first().map(|one| (one.version, one.user.as_str(), one.at.is_some())),
        Some((41, "ana@example", true))
    );
    assert_eq!(fake.got(), [("/api/v1/apps/a/releases?limit=5".to_owned(), "Bearer fm2_canary".to_owned())]);
}

#[tokio::test]
async fn an_app_that_cannot_be_read_is_a_sentence_in_its_health() {
    let (_, fly) = Fake::start(&[(404, json!({"error": "app not found"}))]).await;
    let app = fly.app_health("gone").await;
    assert_eq!(app.verdict().mark, Mark::Unknown);
    assert!(
        app.verdict().why().starts_with("Fly knows no such thing, or the token does not see it (404"),
        "{}",
        app.verdict().why()
    );
    let (_, fly) = Fake::start(&[(200, json!({"machines": "surprise"}))]).await;
    assert_eq!(
        fly.machines("a").await.err().map(|error| error.says),
        Some("Fly answered with something that is no list of machines".to_owned())
    );
}

#[test]
fn three_may_go_at_once_and_then_one_a_second() {
    let now = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
    let mut full = now;
    let mut waits = |asked_s: u64| {
        let asked = now + std::time::Duration::from_secs(asked_s);
        super::wire::turn(&mut full, asked, super::wire::PACE).saturating_duration_since(asked).as_secs()
    };
    assert_eq!([0, 0, 0, 0, 0].map(&mut waits), [0, 0, 0, 1, 2]);
    assert_eq!([10, 10, 10, 10].map(&mut waits), [0, 0, 0, 1], "a rest fills it again, and no further");
}
