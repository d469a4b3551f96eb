//! What other tools send to the public port and is not as it should be, over the wire to the loop: for each format a wrong secret, the
//! same again, too large, nested too deep, of other types. Each gets its status and a sentence that says what to do, and nothing
//! comes of it. A pipeline's hook is tried the same way in `pipeline`, its stale signatures too: the other tools sign no time.

#[path = "support/alone.rs"]
mod alone;

use std::collections::BTreeMap;

use alone::Alone;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;
use watchbell::adapters::hooks::alerts::BODY_BYTES_MAX;
use watchbell::adapters::hooks::listen::{self, Limits};
use watchbell::domain::workspace::{HookFormat, HookReading, HookSpec};
use watchbell::shell::heard::{Hooks, routes};

/// What the tools show, and what is about to take its place.
const SECRET: &str = "canary-of-the-tools-secret";
const NEXT: &str = "canary-of-the-tools-next-secret";
const ANOTHER: &str = "another secret altogether";

/// A tool.
struct Tool {
    name: &'static str,
    format: HookFormat,
    /// The header that says what the body is.
    event: Option<(&'static str, &'static str)>,
    /// The header that names a delivery.
    delivery: Option<&'static str>,
    /// Something fires.
    fires: Value,
    /// The same with other types in it, and what it is told then.
    odd: &'static [(&'static str, &'static str)],
    /// How it is answered when all is well.
    well: u16,
}

fn tools() -> Vec<Tool> {
    let alert =
        json!({"status": "firing", "fingerprint": "a", "labels": {"alertname": "Slow", "severity": "critical"}});
    let lists: &[(&str, &str)] = &[
        (r#"{"alerts": 7}"#, "There is no list “alerts” in it"),
        (r#"{"alerts": [{"status": ["firing"]}]}"#, "it is firing or resolved"),
        (r#"{"alerts": [7]}"#, "it is firing or resolved"),
        ("[]", "The body is no JSON object"),
        ("not JSON", "The body is no JSON:"),
    ];
    let plain = |name, format, fires, odd| Tool { name, format, event: None, delivery: None, fires, odd, well: 200 };
    vec![
        plain("alertmanager", HookFormat::Alertmanager, json!({ "alerts": [alert] }), lists),
        plain("grafana", HookFormat::Grafana, json!({ "alerts": [alert] }), lists),
        Tool {
            event: Some(("sentry-hook-resource", "event_alert")),
            delivery: Some("request-id"),
            ..plain(
                "sentry",
                HookFormat::Sentry,
                json!({"action": "triggered", "data": {"event": {"issue_id": "7", "level": "error", "title": "boom"}}}),
                &[
                    (r#"{"data": 7}"#, "There is no /data/event/issue_id in it"),
                    (r#"{"data": {"event": {"issue_id": [7]}}}"#, "There is no /data/event/issue_id in it"),
                    ("7", "The body is no JSON object"),
                ],
            )
        },
        Tool {
            event: Some(("x-github-event", "workflow_run")),
            delivery: Some("x-github-delivery"),
            ..plain(
                "github",
                HookFormat::Github,
                json!({"action": "completed", "repository": {"full_name": "example/shop", "default_branch": "main"},
                       "workflow": {"name": "test"}, "workflow_run": {"head_branch": "main", "conclusion": "failure"}}),
                &[
                    (r#"{"action": "completed", "workflow_run": 7}"#, "There is no workflow_run in it"),
                    (r#"{"action": "completed"}"#, "There is no workflow_run in it"),
                    ("[]", "The body is no JSON object"),
                ],
            )
        },
        Tool {
            well: 202,
            ..plain(
                "pagerduty",
                HookFormat::Pagerduty,
                json!({"routing_key": SECRET, "event_action": "trigger", "dedup_key": "d", "payload": {"summary": "the disk is full"}}),
                &[
                    (
                        r#"{"routing_key": "canary-of-the-tools-secret", "event_action": 7, "dedup_key": "d"}"#,
                        "it is trigger, acknowledge or resolve",
                    ),
                    (
                        r#"{"routing_key": "canary-of-the-tools-secret", "event_action": "trigger", "payload": 7}"#,
                        "payload.summary must say what fires",
                    ),
                ],
            )
        },
        plain(
            "betterstack",
            HookFormat::Betterstack,
            json!({"event_type": "incident", "page": {"id": "p", "status_indicator": "downtime"}, "incident": {"id": "9", "name": "Database"}}),
            &[
                (r#"{"event_type": "incident", "incident": 7}"#, "There is no incident.id in it"),
                (r#"{"event_type": ["incident"]}"#, "There is no event_type in it"),
            ],
        ),
        plain(
            "generic",
            HookFormat::Generic,
            json!({"checks": [{"title": "disk", "alert_uid": "u", "state": "alerting"}]}),
            &[
                (r#"{"checks": 7}"#, "There is no list at /checks in it"),
                (r#"{"checks": [7]}"#, "An alert is an object"),
                (r#"{"checks": [{"title": {}}]}"#, "There is no text at /title in it"),
            ],
        ),
    ]
}

/// The port, with the loop behind it.
struct Port {
    url: String,
    http: reqwest::Client,
}

impl Port {
    async fn to(alone: &Alone, tools: &[Tool]) -> Self {
        let spec = |tool: &Tool| HookSpec {
            name: tool.name.to_owned(),
            format: tool.format,
            service: None,
            declares: None,
            resolve_delay: None,
            read: (tool.format == HookFormat::Generic)
                .then(|| HookReading { alerts: Some("/checks".to_owned()), ..HookReading::default() }),
        };
        let specs: Vec<HookSpec> = tools.iter().map(spec).collect();
        let both = [SECRET, NEXT].map(SecretString::from).to_vec();
        let secrets: BTreeMap<String, Vec<SecretString>> =
            tools.iter().map(|tool| (tool.name.to_owned(), both.clone())).collect();
        let limits = Limits::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hooks", listener.local_addr().expect("its address"));
        let hooks = Hooks::new(alone.door.clone(), &specs, &secrets, limits, 1);
        tokio::spawn(listen::serve(listener, routes(hooks), limits));
        Self { url, http: reqwest::Client::new() }
    }

    /// Sends a body as the tool does, with this secret; its delivery is called so.
    async fn send(&self, tool: &Tool, secret: &str, delivery: &str, body: Vec<u8>) -> (u16, Value) {
        let mut request = self.http.post(format!("{}/{}", self.url, tool.name));
        if let Some((name, value)) = tool.event {
            request = request.header(name, value);
        }
        if let Some(name) = tool.delivery {
            request = request.header(name, delivery);
        }
        request = match tool.format {
            HookFormat::Github => request.header("x-hub-signature-256", format!("sha256={}", signed(secret, &body))),
            HookFormat::Sentry => request.header("sentry-hook-signature", signed(secret, &body)),
            HookFormat::Pagerduty => request,
            _ => request.bearer_auth(secret),
        };
        let answer = request.body(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

fn signed(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length does");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(tool: &Tool, what: &str, (status, body): &(u16, Value), wanted: u16, says: &str) {
    let error = body["error"].as_str().unwrap_or_default();
    assert!(
        *status == wanted && error.contains(says),
        "{}, {what}: wanted {wanted} {says}: {status} {body}",
        tool.name
    );
    assert!(error.len() < 400 && !error.contains("canary-of"), "{}, {what}: {body}", tool.name);
}

/// The body with a member that is nested deeper than anything means.
fn deep(tool: &Tool) -> Vec<u8> {
    let text = tool.fires.to_string();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    text.replacen('{', &format!("{{\"deep\": {deep}, "), 1).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_as_it_should_be_gets_its_status_and_a_sentence_and_nothing_comes_of_it() {
    let tools = tools();
    let (mut alone, _work) = Alone::start();
    alone.call("watchbell live", &[]).await;
    let port = Port::to(&alone, &tools).await;
    let seq = async |alone: &Alone| alone.door.look().await.expect("the loop lives").seq;
    let began = seq(&alone).await;
    for tool in &tools {
        let fires = tool.fires.to_string().into_bytes();
        let shown = tool.fires.to_string().replace(SECRET, ANOTHER).into_bytes();
        let stranger = port.send(tool, ANOTHER, "d-0", shown).await;
        refused(tool, "a wrong secret", &stranger, 401, "That is not a secret of this hook");
        let large = [fires.clone(), vec![b' '; BODY_BYTES_MAX]].concat();
        refused(tool, "too large", &port.send(tool, SECRET, "d-1", large).await, 413, "too large: at most 640 KiB");
        refused(tool, "too deep", &port.send(tool, SECRET, "d-2", deep(tool)).await, 400, "The body is no JSON:");
        for (body, says) in tool.odd {
            refused(tool, body, &port.send(tool, SECRET, "d-3", body.as_bytes().to_vec()).await, 400, says);
        }
    }
    assert_eq!(seq(&alone).await, began, "nothing of that is on record");

    for (n, tool) in tools.iter().enumerate() {
        let fires = tool.fires.to_string().into_bytes();
        let first = port.send(tool, SECRET, "d-4", fires.clone()).await;
        assert_eq!(first.0, tool.well, "{}: {first:?}", tool.name);
        let recorded = seq(&alone).await;
        assert!(recorded > began, "{}: it is on record", tool.name);
        // The very same delivery, the same in another one, and with the secret that takes the other's place: the same alert.
        let next = tool.fires.to_string().replace(SECRET, NEXT).into_bytes();
        for (secret, delivery, body) in [(SECRET, "d-4", &fires), (SECRET, "d-5", &fires), (NEXT, "d-6", &next)] {
            let again = port.send(tool, secret, delivery, body.clone()).await;
            assert_eq!(again, first, "{}: a resend is answered the same", tool.name);
        }
        assert_eq!(seq(&alone).await, recorded, "{}: nothing comes of a resend", tool.name);
        let listed = alone.call("alerts list", &[]).await;
        let says =
            if n == 0 { "One group of alerts fires".to_owned() } else { format!("{} groups of alerts fire", n + 1) };
        assert!(listed.contains(&says), "{}: {listed}", tool.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tool_left_out_is_said_until_it_sends_all_and_a_wrong_count_is_passed_over() {
    let tools = tools();
    let (mut alone, _work) = Alone::start();
    alone.call("watchbell live", &[]).await;
    let port = Port::to(&alone, &tools).await;
    for tool in tools.iter().filter(|tool| matches!(tool.format, HookFormat::Alertmanager | HookFormat::Grafana)) {
        // How many are left out, from where, and what is said of it. An address that leads nowhere is none.
        for (n, (count, from, said)) in [
            (json!(460), json!("https://alertmanager.example.com"), Some("and 460 that were not sent")),
            (json!(u64::MAX), json!("javascript:alert(1)"), Some("and 4294967295 that were not sent")),
            (json!(0), json!("https://alertmanager.example.com"), None),
            (json!("many"), json!(7), None),
            (json!(-3), json!({}), None),
            (json!([460]), Value::Null, None),
        ]
        .into_iter()
        .enumerate()
        {
            let mut body = tool.fires.clone();
            (body["truncatedAlerts"], body["externalURL"]) = (count.clone(), from);
            let answer = port.send(tool, SECRET, &format!("d-{n}"), body.to_string().into_bytes()).await;
            assert_eq!(answer.0, 200, "{}: {count}: {answer:?}", tool.name);
            let listed = alone.call("alerts list", &[]).await;
            let says = listed.contains(said.unwrap_or("were not sent"));
            assert_eq!(says, said.is_some(), "{}: {count}: {listed}", tool.name);
        }
    }
}
