//! The vendors' own bodies, kept beside the project, and what no vendor sends.

use serde_json::json;

use super::*;
use crate::domain::ids::Service;
use crate::domain::workspace::HookReading;

fn hook(format: HookFormat) -> HookSpec {
    HookSpec { name: "one".to_owned(), format, service: None, declares: None, resolve_delay: None, read: None }
}

fn brought(format: HookFormat, heads: Heads<'_>, body: &Value) -> Result<Brought, String> {
    read(&hook(format), heads, body.to_string().as_bytes())
}

/// A body of the vendors', kept beside the project; none where it is not there.
fn sample(name: &str) -> Option<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/payloads/");
    match std::fs::read(format!("{file}{name}")) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("json")),
        Err(_) => {
            eprintln!("skipped: {name} is not there");
            None
        }
    }
}

#[test]
fn alertmanager_and_grafana() {
    if let Some(body) = sample("alertmanager-0.25-webhook-firing.json") {
        let brought = brought(HookFormat::Alertmanager, Heads::default(), &body).expect("it is read");
        assert_eq!(brought.alerts.len(), 2);
        let first = &brought.alerts[0];
        assert_eq!(
            (first.fingerprint.as_str(), first.firing, first.name.as_str()),
            ("400a3cab46144952", true, "High5xx")
        );
        assert_eq!((first.severity.as_str(), first.summary.as_str()), ("critical", "5xx above 5% for 5m on api"));
        assert_eq!(first.runbook.as_deref(), Some("https://runbooks.example.com/high-5xx"));
        assert_eq!(first.labels["instance"], "m1");
        let group: Vec<_> = first.group.clone().expect("a group").into_iter().collect();
        assert_eq!(group, [("alertname".to_owned(), "High5xx".to_owned()), ("service".to_owned(), "api".to_owned())]);
        assert_eq!(first.began.expect("a moment").to_rfc3339(), "2026-11-24T21:31:13.449197839+00:00");
        assert_eq!(first.ended, None, "the year 1 is no moment");
    }
    if let Some(body) = sample("alertmanager-0.25-webhook-resolved.json") {
        let brought = brought(HookFormat::Alertmanager, Heads::default(), &body).expect("it is read");
        assert!(brought.alerts.iter().all(|alert| !alert.firing && alert.ended.is_some()));
    }
    if let Some(body) = sample("grafana-webhook.json") {
        let brought = brought(HookFormat::Grafana, Heads::default(), &body).expect("it is read");
        let names: Vec<&str> = brought.alerts.iter().map(|alert| alert.name.as_str()).collect();
        assert_eq!(names, ["High memory usage", "High CPU usage"]);
        assert_eq!(brought.alerts[0].group, Some(crate::domain::alerts::Labels::new()));
        assert_eq!(brought.alerts[0].url.as_deref(), Some("https://play.grafana.org/alerting/1afz29v7z/edit"));
    }
    let left_out = |truncated: Value| {
        let body = json!({"alerts": [], "truncatedAlerts": truncated, "externalURL": "https://am.example.com"});
        let brought = brought(HookFormat::Alertmanager, Heads::default(), &body).expect("it is read");
        brought.left_out.map(|left_out| (left_out.alerts, left_out.at))
    };
    assert_eq!(left_out(json!(460)), Some((460, Some("https://am.example.com".to_owned()))));
    assert_eq!(left_out(json!(u64::MAX)).map(|(alerts, _)| alerts), Some(u32::MAX));
    for nothing in [json!(0), json!(-3), json!(1.5), json!("7"), json!([7]), Value::Null] {
        assert_eq!(left_out(nothing.clone()), None, "{nothing}");
    }
    for wrong in [json!({}), json!({"alerts": {}}), json!({"alerts": [{"status": "odd"}]}), json!([1, 2])] {
        assert!(brought(HookFormat::Alertmanager, Heads::default(), &wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sentry() {
    if let Some(body) = sample("sentry-issue-alert.json") {
        let heads = Heads { event: Some("event_alert"), delivery: Some("r-1") };
        let brought = brought(HookFormat::Sentry, heads, &body).expect("it is read");
        let [alert] = brought.alerts.as_slice() else { panic!("one: {brought:?}") };
        assert_eq!((alert.fingerprint.as_str(), alert.firing), ("issue 1117540176", true));
        assert_eq!((alert.name.as_str(), alert.severity.as_str()), ("Very Important Alert Rule!", "error"));
        assert_eq!(alert.summary, "ReferenceError: heck is not defined");
        assert_eq!(brought.delivery.as_deref(), Some("r-1"));
    }
    if let Some(body) = sample("sentry-metric-alert.json") {
        let brought = brought(HookFormat::Sentry, Heads::default(), &body).expect("it is read");
        let [alert] = brought.alerts.as_slice() else { panic!("one: {brought:?}") };
        assert_eq!(
            (alert.fingerprint.as_str(), alert.firing, alert.name.as_str()),
            ("metric 4", false, "Too many errors")
        );
    }
    let resolved = json!({"action": "resolved", "data": {"issue": {"id": "7"}}});
    let heads = Heads { event: Some("issue"), delivery: None };
    let brought = brought(HookFormat::Sentry, heads, &resolved).expect("it is read");
    assert_eq!((brought.alerts[0].fingerprint.as_str(), brought.alerts[0].firing), ("issue 7", false));
}

#[test]
fn github() {
    let of = |event: &'static str, body: &Value| {
        brought(HookFormat::Github, Heads { event: Some(event), delivery: Some("d") }, body).expect("it is read").alerts
    };
    if let Some(body) = sample("github-workflow_run.completed.json") {
        let alerts = of("workflow_run", &body);
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert!(!alerts[0].firing && alerts[0].name == "Workflow test");
        let mut failed = body.clone();
        failed["workflow_run"]["conclusion"] = json!("failure");
        let firing = of("workflow_run", &failed);
        assert!(firing[0].firing && firing[0].fingerprint == alerts[0].fingerprint);
        failed["workflow_run"]["head_branch"] = json!("somebody's");
        assert_eq!(of("workflow_run", &failed), [], "a branch is its author's business");
    }
    if let Some(body) = sample("github-deployment_status.json") {
        let alerts = of("deployment_status", &body);
        assert!(!alerts[0].firing && alerts[0].name == "Deployment to production");
    }
    for quiet in ["github-ping.json", "github-push.json", "github-check_run.completed.json"] {
        if let Some(body) = sample(quiet) {
            let event = quiet.trim_start_matches("github-").split('.').next().expect("a word");
            assert_eq!(
                brought(HookFormat::Github, Heads { event: Some(event), delivery: None }, &body).map(|one| one.alerts),
                Ok(Vec::new()),
                "{quiet}"
            );
        }
    }
    assert!(brought(HookFormat::Github, Heads::default(), &json!({})).is_err());
}

#[test]
fn pagerduty() {
    if let (Some(trigger), Some(resolve)) =
        (sample("alertmanager-0.25-v2_enqueue-trigger.json"), sample("alertmanager-0.25-v2_enqueue-resolve.json"))
    {
        let fires = brought(HookFormat::Pagerduty, Heads::default(), &trigger).expect("it is read");
        let over = brought(HookFormat::Pagerduty, Heads::default(), &resolve).expect("it is read");
        assert!(fires.alerts[0].firing && !over.alerts[0].firing);
        assert_eq!(fires.alerts[0].fingerprint, over.alerts[0].fingerprint);
        assert_eq!(fires.alerts[0].summary, "[FIRING:2] High5xx api (fra critical)");
        assert_eq!(fires.key, over.key);
    }
    let bare = json!({"event_action": "trigger", "payload": {"summary": "the disk is full"}});
    let fires = brought(HookFormat::Pagerduty, Heads::default(), &bare).expect("it is read");
    assert!(fires.key.is_some_and(|key| key == fires.alerts[0].fingerprint));
    for wrong in [
        json!({"event_action": "resolve"}),
        json!({"event_action": "shout", "dedup_key": "x"}),
        json!({"event_action": "trigger", "dedup_key": "x"}),
        json!({"event_action": "trigger", "dedup_key": "x".repeat(256), "payload": {"summary": "y"}}),
    ] {
        assert!(brought(HookFormat::Pagerduty, Heads::default(), &wrong).is_err(), "{wrong}");
    }
}

#[test]
fn better_stack_and_anything_else() {
    if let Some(body) = sample("betterstack-statuspage-incident.json") {
        let brought = brought(HookFormat::Betterstack, Heads::default(), &body).expect("it is read");
        let alert = &brought.alerts[0];
        assert_eq!(
            (alert.name.as_str(), alert.firing, alert.severity.as_str()),
            ("Database Connection Issues", true, "critical")
        );
    }
    for name in ["oncall-formatted_webhook.json", "oncall-zabbix.json"] {
        if let Some(mut body) = sample(name) {
            let fires = brought(HookFormat::Generic, Heads::default(), &body).expect("it is read");
            assert!(fires.alerts[0].firing && fires.alerts[0].name.starts_with("TestAlert"), "{fires:?}");
            body["state"] = json!("ok");
            assert!(!brought(HookFormat::Generic, Heads::default(), &body).expect("it is read").alerts[0].firing);
        }
    }
    let read_as = HookReading {
        alerts: Some("/checks".to_owned()),
        name: "/check".to_owned(),
        fingerprint: "/id".to_owned(),
        labels: Some("/tags".to_owned()),
        severity: Some("/how_bad".to_owned()),
        ..HookReading::default()
    };
    let spec = HookSpec { read: Some(read_as), service: Some(Service::new("shop")), ..hook(HookFormat::Generic) };
    let body =
        json!({"checks": [{"check": "disk", "id": 7, "how_bad": "page", "tags": {"host": "a", "n": 3, "deep": {}}}]});
    let brought = read(&spec, Heads::default(), body.to_string().as_bytes()).expect("it is read");
    let alert = &brought.alerts[0];
    assert_eq!((alert.fingerprint.as_str(), alert.severity.as_str(), alert.labels["n"].as_str()), ("7", "page", "3"));
    assert_eq!(alert.service, Some(Service::new("shop")));
    assert!(read(&spec, Heads::default(), b"{}").is_err());
}

#[test]
fn nothing_from_outside_breaks_it_or_gets_out_of_hand() {
    let formats = [
        HookFormat::Alertmanager,
        HookFormat::Sentry,
        HookFormat::Github,
        HookFormat::Pagerduty,
        HookFormat::Betterstack,
        HookFormat::Generic,
    ];
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for format in formats {
        for body in ["", "null", "0", "\"x\"", "[]", "{}", "{\"alerts\": null}", "{\"alerts\": [null]}", &deep] {
            let heads = Heads { event: Some("workflow_run"), delivery: None };
            let _ = read(&hook(format), heads, body.as_bytes());
        }
    }
    let long = "ä".repeat(100_000);
    let labels: serde_json::Map<String, Value> = (0..500).map(|n| (format!("{n}{long}"), json!(long))).collect();
    let body = json!({"alerts": [{
        "status": "firing", "fingerprint": long, "labels": labels, "generatorURL": format!("https://x/{long}"),
        "annotations": {"summary": long}, "startsAt": "99999-01-01T00:00:00Z", "endsAt": 7,
    }]});
    let brought = brought(HookFormat::Alertmanager, Heads::default(), &body).expect("it is read");
    let size = serde_json::to_string(&brought.alerts[0].labels).expect("json").len();
    assert!(size < 64 << 10, "{size}");
    assert_eq!((brought.alerts[0].url.clone(), brought.alerts[0].began), (None, None));
    assert!(brought.alerts[0].fingerprint.len() <= FINGERPRINT_BYTES_MAX);
    let many: Vec<Value> = (0..=HEARD_MAX).map(|n| json!({"status": "firing", "labels": {"n": n}})).collect();
    let too_many =
        read(&hook(HookFormat::Alertmanager), Heads::default(), json!({ "alerts": many }).to_string().as_bytes());
    assert!(too_many.is_err_and(|says| says.contains("at most")));
    for body in [json!({"alerts": [{"status": long}]}), json!({"event_action": long, "dedup_key": "x"})] {
        for format in [HookFormat::Alertmanager, HookFormat::Pagerduty] {
            let says = read(&hook(format), Heads::default(), body.to_string().as_bytes()).expect_err("it is none");
            assert!(says.chars().count() <= SAYS_CHARS_MAX, "nobody gets a body back: {}", says.len());
        }
    }
}
