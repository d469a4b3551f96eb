//! The looking side over the wire, put together as the program does it: what a health check says, how it ends, and that every
//! question put to Fly is one that Fly's own document knows.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use watchbell::adapters::config::Config;
use watchbell::adapters::fly::{PACE, Paces};
use watchbell::domain::health::{exit_code, json as to_json, lines};
use watchbell::domain::ids::Service;
use watchbell::domain::input::Seen;
use watchbell::ports::Watch;
use watchbell::shell::looking;

/// A Fly whose one app has the machines that it is given, and the service that runs on them.
#[derive(Clone)]
struct World {
    machines: Arc<Mutex<Value>>,
    healthy: Arc<Mutex<bool>>,
    tells_releases: Arc<Mutex<bool>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl World {
    async fn start() -> (Self, String) {
        let world = Self {
            machines: Arc::new(Mutex::new(json!([machine("started")]))),
            healthy: Arc::new(Mutex::new(true)),
            tells_releases: Arc::default(),
            asked: Arc::default(),
        };
        let app = Router::new().fallback(answer).with_state(world.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
        let base = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (world, base)
    }

    fn set_machines(&self, machines: Value) {
        self.machines.lock().map(|mut now| *now = machines).unwrap_or_default();
    }

    fn set_healthy(&self, healthy: bool) {
        self.healthy.lock().map(|mut now| *now = healthy).unwrap_or_default();
    }

    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

async fn answer(State(world): State<World>, uri: Uri) -> impl IntoResponse {
    if let Ok(mut asked) = world.asked.lock() {
        asked.insert(uri.to_string());
    }
    let body = match uri.path() {
        "/v1/tokens/current" => json!({"tokens": [{"org_slug": "acme"}]}),
        "/v1/apps" => json!({"apps": [{"name": "api", "machine_count": 1}], "total_apps": 1}),
        "/v1/apps/api/machines" => world.machines.lock().map(|machines| machines.clone()).unwrap_or_default(),
        "/api/v1/apps/api/releases" if world.tells_releases.lock().is_ok_and(|tells| *tells) => json!({"releases": [
            {"id": "r1", "version": 7, "status": "complete", "image_ref": "registry.fly.io/api:7", "user": "carol"}]}),
        "/v1/apps/api/machines/m1" => machine("started"),
        "/v1/apps/api/machines/m1/events" => json!([]),
        "/health" if world.healthy.lock().is_ok_and(|healthy| *healthy) => json!({"status": "ok"}),
        "/health" => return (StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned()),
        _ => return (StatusCode::NOT_FOUND, json!({"error": "not found"}).to_string()),
    };
    (StatusCode::OK, body.to_string())
}

fn machine(state: &str) -> Value {
    json!({"id": "m1", "name": "calm", "state": state, "region": "ord", "host_status": "ok", "events": [],
           "config": {"services": [{"autostop": "suspend", "autostart": true}]},
           "checks": [{"name": "servicecheck-00", "status": "passing", "output": ""}]})
}

fn config(base: &str) -> Config {
    let text = format!(
        "[team]\nname = \"acme\"\nzone = \"UTC\"\n[channels]\nincidents = \"i\"\ntest = \"t\"\n[discord]\nguild = \"1\"\n\
         [fly]\norg = \"acme\"\nmachines_url = \"{base}\"\napi_url = \"{base}\"\n\
         [clock]\nvirtual = true\norigin = \"2026-11-24T03:00:00Z\"\nspeed = 0.0\n\
         [[services]]\nname = \"api\"\n[services.production]\nfly_app = \"api\"\n\
         [[services.production.probes]]\nname = \"health\"\nurl = \"{base}/health\"\nwhen = \"when_awake\"\n\
         expect_json = {{ pointer = \"/status\", equals = \"ok\" }}\n"
    );
    let env = |name: &str| (name == "FLY_READ_TOKEN").then(|| "FlyV1 fm2_canary".to_owned());
    Config::from_text(Path::new("watchbell.toml"), &text, env).unwrap_or_else(|refused| panic!("{refused}"))
}

#[tokio::test]
async fn a_health_check_says_what_it_saw_and_ends_accordingly() {
    let (world, base) = World::start().await;
    let config = config(&base);
    let prober = looking::prober(&config, looking::clock(&config, None), &Paces::new(PACE))
        .unwrap_or_else(|error| panic!("{error}"));

    let report = prober.look(None).await;
    assert_eq!(exit_code(&report), 0, "{:#?}", lines(&report));
    assert_eq!(report.at.to_rfc3339(), "2026-11-24T03:00:00+00:00", "promise time");

    world.set_healthy(false);
    let report = prober.look(Some(&Service::new("api"))).await;
    assert_eq!(exit_code(&report), 2);
    assert_eq!(to_json(&report)["stages"][0]["probes"][0]["status"], 503);

    world.set_machines(json!([machine("suspended")]));
    let report = prober.look(None).await;
    assert_eq!(exit_code(&report), 0, "asleep is well: {:#?}", lines(&report));

    world.set_machines(json!({"error": "surprise"}));
    let report = prober.look(None).await;
    assert_ne!(exit_code(&report), 0, "not found out is no all-clear");
    assert!(!format!("{report:?}").contains("canary"));
    assert_eq!(prober.look(Some(&Service::new("nobody"))).await.stages, []);
}

#[tokio::test]
async fn looks_are_measured_on_the_clock_that_is_moved() {
    let (world, base) = World::start().await;
    let config = config(&base);
    let clock = Arc::new(watchbell::adapters::clock::VirtualClock::new(
        watchbell::adapters::clock::VirtualTime::starting("2026-11-24T03:00:00Z".parse().unwrap_or_default(), 0.0),
    ));
    let prober = looking::prober(&config, clock.clone(), &Paces::new(PACE)).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(prober.next_measurement().await.seen, Seen::Green { .. }));
    world.set_healthy(false);
    clock.advance(chrono::TimeDelta::seconds(30));
    let measured = prober.next_measurement().await;
    assert_eq!(measured.at.to_rfc3339(), "2026-11-24T03:00:30+00:00");
    assert!(matches!(measured.seen, Seen::Red { .. }), "{measured:?}");
}

#[tokio::test]
async fn releases_that_are_not_told_are_said_so_and_nothing_else_suffers() {
    let (world, base) = World::start().await;
    let config = config(&base);
    let releases = looking::releases(&config, looking::clock(&config, None), &Paces::new(PACE))
        .expect("a client")
        .expect("a token");
    assert_eq!(releases.look_now().await, []);
    let said = releases.trouble().expect("it is said");
    assert!(said.starts_with("not known of api since ") && said.contains("404"), "{said}");
    let health = looking::fly(&config, &Paces::new(PACE)).expect("a client").expect("a token").app_health("api").await;
    assert!(health.machines.is_ok(), "the machines answer all the same");
    *world.tells_releases.lock().expect("not broken") = true;
    let looks = releases.look_now().await;
    assert_eq!((looks.len(), looks[0].releases[0].version), (1, 7));
    assert_eq!(releases.trouble(), None);
}

#[tokio::test]
async fn every_question_is_one_that_flys_document_knows() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fly/openapi.strict.json");
    let Ok(text) = std::fs::read_to_string(&document) else {
        eprintln!("skipped: {} is not there", document.display());
        return;
    };
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let (world, base) = World::start().await;
    let config = config(&base);
    let fly = looking::fly(&config, &Paces::new(PACE)).ok().flatten().unwrap_or_else(|| panic!("a client"));
    fly.tokens().await.unwrap_or_else(|error| panic!("{error}"));
    fly.apps("acme").await.unwrap_or_else(|error| panic!("{error}"));
    fly.machines("api").await.unwrap_or_else(|error| panic!("{error}"));
    fly.machine("api", "m1").await.unwrap_or_else(|error| panic!("{error}"));
    fly.events("api", "m1", 20).await.unwrap_or_else(|error| panic!("{error}"));
    let asked = world.asked();
    assert_eq!(asked.len(), 5, "{asked:?}");
    for question in asked {
        assert_eq!(unknown(&document, &question), None, "{question}");
    }
    assert!(unknown(&document, "/v1/apps?org=acme").is_some(), "the check itself can fail");
    assert!(unknown(&document, "/v1/machines").is_some(), "the check itself can fail");
}

/// What the document does not know of a GET, if anything: its path, or the name of something behind the `?`.
fn unknown(document: &Value, question: &str) -> Option<String> {
    let (path, query) = question.split_once('?').unwrap_or((question, ""));
    // The document's paths may or may not carry the version that its server address carries.
    let parts: Vec<&str> = path.trim_start_matches("/v1").split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.trim_start_matches("/v1").split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(want, have)| want.starts_with('{') || want == have)
    };
    let paths = document.get("paths")?.as_object()?;
    // A path in full goes before one with a place to fill in.
    let mut fitting: Vec<(&String, &Value)> = paths.iter().filter(|(template, _)| fits(template)).collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    let Some((_, operation)) = fitting.first() else { return Some(format!("no path {path}")) };
    let Some(get) = operation.get("get") else { return Some(format!("no GET {path}")) };
    let lists = [operation.get("parameters"), get.get("parameters")];
    let known: Vec<&str> = lists
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten()
        .filter(|one| one.get("in").and_then(Value::as_str) == Some("query"))
        .filter_map(|one| one.get("name").and_then(Value::as_str))
        .collect();
    let names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or_default());
    names.into_iter().find(|name| !known.contains(name)).map(|name| format!("no {name} in {path}"))
}
