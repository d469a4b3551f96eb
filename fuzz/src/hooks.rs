//! What comes in at the public port: other tools' alerts, how they show their secret, and a pipeline's request for a deploy.

use secrecy::SecretString;
use serde_json::Value;
use watchbell::adapters::hooks::alerts::{self, BODY_BYTES_MAX, Heads};
use watchbell::adapters::hooks::proof::{self, Shown};
use watchbell::adapters::hooks::signature::Signed;
use watchbell::domain::alerts::heard::{HEARD_MAX, Heard};
use watchbell::domain::input::InputKind;
use watchbell::domain::pipeline::{Ask, is_request_id};
use watchbell::domain::workspace::{HookFormat, HookReading, HookSpec};

use crate::neighbours::inventory;
use crate::world::{World, fits_sentence};

/// A body, from the bytes to what people see of it.
fn hook(format: HookFormat, read: Option<HookReading>, heads: Heads<'_>, body: &[u8]) {
    if body.len() > BODY_BYTES_MAX {
        return;
    }
    let spec = HookSpec { name: "one".to_owned(), format, service: None, declares: None, resolve_delay: None, read };
    let brought = match alerts::read(&spec, heads, body) {
        Ok(brought) => brought,
        Err(says) => return fits_sentence(&says),
    };
    assert!(brought.alerts.len() <= HEARD_MAX, "so many are not taken");
    assert_eq!(Ok(&brought), alerts::read(&spec, heads, body).as_ref(), "the same body is read the same");
    if let Some(key) = &brought.key {
        assert!(key.chars().count() <= 255, "PagerDuty's own limit");
    }
    let mut heard = Heard { source: "one".to_owned(), alerts: brought.alerts, left_out: brought.left_out }.bounded();
    let mut world = World::new();
    world.hears(&heard);
    // And all of it is over.
    heard.alerts.iter_mut().for_each(|alert| alert.firing = false);
    world.hears(&heard);
}

/// Alertmanager's and Grafana's.
pub fn alertmanager(data: &[u8]) {
    hook(HookFormat::Alertmanager, None, Heads::default(), data);
}

/// Sentry's; its header says what it is, where it comes.
pub fn sentry(data: &[u8]) {
    let heads = Heads { event: None, delivery: Some("r-1") };
    hook(HookFormat::Sentry, None, heads, data);
    let event = ["event_alert", "metric_alert", "issue", "comment"][data.len() % 4];
    hook(HookFormat::Sentry, None, Heads { event: Some(event), ..heads }, data);
}

/// GitHub's: its header names what stands in it.
pub fn github(data: &[u8]) {
    let has = |name: &&&str| data.windows(name.len()).any(|piece| piece == name.as_bytes());
    let events = ["workflow_run", "check_run", "deployment_status"];
    let event = events.iter().find(has).copied().unwrap_or("push");
    hook(HookFormat::Github, None, Heads { event: Some(event), delivery: Some("d-1") }, data);
}

/// PagerDuty's Events API.
pub fn pagerduty(data: &[u8]) {
    hook(HookFormat::Pagerduty, None, Heads::default(), data);
}

/// Better Stack's.
pub fn betterstack(data: &[u8]) {
    hook(HookFormat::Betterstack, None, Heads::default(), data);
}

/// Any JSON, as the default has it, and as a set-up says: `{"read": {"alerts": "/checks", …}, "body": …}`.
pub fn generic(data: &[u8]) {
    let Ok(mut whole) = serde_json::from_slice::<Value>(data) else {
        return hook(HookFormat::Generic, None, Heads::default(), data);
    };
    match serde_json::from_value::<HookReading>(whole.get_mut("read").map(Value::take).unwrap_or_default()) {
        Ok(read) => {
            let body = whole.get_mut("body").map(Value::take).unwrap_or_default().to_string();
            hook(HookFormat::Generic, Some(read), Heads::default(), body.as_bytes());
        }
        Err(_) => hook(HookFormat::Generic, None, Heads::default(), data),
    }
}

/// Headers and a body, a line each: whatever is shown, only a secret counts.
pub fn proof(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (authorization, signature) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let body = lines.next().unwrap_or_default();
    let secrets = ["canary-of-today-d41d8cd98f", "canary-of-tomorrow-00b204e9"].map(SecretString::from);
    let shown = Shown { authorization: Some(authorization), signature: Some(signature), body: body.as_bytes() };
    let formats = [
        HookFormat::Alertmanager,
        HookFormat::Grafana,
        HookFormat::Sentry,
        HookFormat::Github,
        HookFormat::Pagerduty,
        HookFormat::Betterstack,
        HookFormat::Generic,
    ];
    for format in formats {
        assert!(proof::proves(format, &[], shown).is_err(), "without a secret nothing counts");
        // A seed holds a secret, and what is made of it may; nothing else does.
        let counts = proof::proves(format, &secrets, shown);
        assert!(counts.is_err() || text.contains("canary-of-"), "{format:?} counts without a secret");
        if let Err(says) = counts {
            fits_sentence(says);
        }
    }
    let time_s = i64::from(body.len() as u32);
    let signed = Signed { time_s, id: signature, method: "POST", path: authorization, body: body.as_bytes() };
    assert!(signed.verify(&secrets, signature, time_s).is_err(), "it is not made up");
    let ours = signed.sign(&secrets[1]);
    assert_eq!(signed.verify(&secrets, &ours, time_s), Ok(()));
    let other = Signed { time_s: time_s + 1, ..signed };
    assert!(other.verify(&secrets, &ours, time_s).is_err(), "it counts for its own time alone");
    assert!(signed.verify(&secrets[..1], &ours, time_s).is_err(), "it counts with its own secret alone");
}

/// What a pipeline asks for, as far as a plan and a yes.
pub fn deploy(data: &[u8]) {
    let id = if is_request_id(&String::from_utf8_lossy(data)) { "run-8" } else { "run-7" };
    let ask = match Ask::read(id, data) {
        Ok(ask) => ask,
        Err(says) => return fits_sentence(&says),
    };
    let mut world = World::new();
    for app in ["checkout", "checkout-staging", "search"] {
        world.answers.inventories.insert(app.to_owned(), Ok(inventory(app, world.now)));
    }
    let kind = InputKind::Pipeline(Box::new(ask));
    let _ = world.needs(&kind);
    if world.decide(&kind).is_ok() {
        let deploys = world.state.team.deploys.len();
        // A resend is known again: it is no second deploy.
        let _ = world.decide(&kind);
        assert_eq!(world.state.team.deploys.len(), deploys, "one request is one deploy");
    }
    world.settle();
    world.pass(chrono::TimeDelta::hours(3));
    world.survives_a_restart();
}
