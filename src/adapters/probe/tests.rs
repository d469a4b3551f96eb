//! Looks at small servers that answer, fail, lie and hang.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::Notify;

use super::*;
use crate::domain::health::Machine;
use crate::domain::policy::Span;
use crate::domain::workspace::{Channels, ExpectJson, OnCall, ServiceSpec, Team};

/// A clock that is moved by hand.
#[derive(Default)]
struct Hand {
    seconds: StdMutex<i64>,
    moved: Notify,
}

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        at(self.seconds.lock().map(|seconds| *seconds).unwrap_or_default())
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap_or_default()
}

fn pace(clock: &Arc<Hand>) -> Pace {
    let sleeper = Arc::clone(clock);
    Pace {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        sleep_until: Arc::new(move |until| {
            let clock = Arc::clone(&sleeper);
            Box::pin(async move {
                loop {
                    let moved = clock.moved.notified();
                    if clock.now() >= until {
                        return;
                    }
                    moved.await;
                }
            })
        }),
        spread: false,
    }
}

fn advance(clock: &Hand, seconds: i64) {
    clock.seconds.lock().map(|mut now| *now += seconds).unwrap_or_default();
    clock.moved.notify_waiters();
    clock.moved.notify_one();
}

/// A host whose one app is as it is told.
struct FakeHost(StdMutex<Result<Vec<&'static str>, String>>);

impl FakeHost {
    fn new(states: &[&'static str]) -> Arc<Self> {
        Arc::new(Self(StdMutex::new(Ok(states.to_vec()))))
    }

    fn set(&self, states: Result<Vec<&'static str>, String>) {
        self.0.lock().map(|mut now| *now = states).unwrap_or_default();
    }
}

impl Host for FakeHost {
    fn app_health<'a>(&'a self, app: &'a str) -> Boxed<'a, AppHealth> {
        let states = self.0.lock().map(|states| states.clone()).unwrap_or_else(|_| Err("poisoned".to_owned()));
        let machines = states.map(|states| states.into_iter().map(machine).collect());
        Box::pin(async move { AppHealth { app: app.to_owned(), machines } })
    }

    fn auth(&self) -> Boxed<'_, Result<String, String>> {
        Box::pin(async { Ok("acme".to_owned()) })
    }
}

fn machine(state: &str) -> Machine {
    Machine {
        id: "a".to_owned(),
        name: String::new(),
        region: "ord".to_owned(),
        state: state.to_owned(),
        host_ok: true,
        cordoned: false,
        checks_passing: 0,
        checks: 0,
        failing: Vec::new(),
        restarts: Some(0),
        image: String::new(),
        autostop: true,
    }
}

/// A service that counts how often it was asked.
async fn service(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let base = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

fn probe(name: &str, url: String) -> ProbeSpec {
    ProbeSpec {
        name: name.to_owned(),
        url,
        method: "GET".to_owned(),
        headers: BTreeMap::new(),
        body: None,
        expect_status: None,
        expect_json: Some(ExpectJson { pointer: "/status".to_owned(), equals: "ok".into() }),
        timeout: Span::seconds(5),
        every: Span::seconds(30),
        when: ProbeWhen::Always,
        warn_above: None,
        critical_above: None,
    }
}

fn team(probes: Vec<ProbeSpec>, fly_app: Option<&str>) -> Workspace {
    Workspace {
        team: Team { name: "t".to_owned(), zone: chrono_tz::UTC },
        channels: Channels { incidents: "i".to_owned(), test: "t".to_owned(), announce: None },
        roles: BTreeMap::new(),
        people: Vec::new(),
        oncall: OnCall::default(),
        services: vec![ServiceSpec {
            name: Service::new("mcp"),
            aliases: Vec::new(),
            owner: None,
            production: StageSpec { fly_app: fly_app.map(str::to_owned), probes },
            staging: None,
        }],
        pipeline: None,
        hooks: Vec::new(),
        metrics: Vec::new(),
    }
}

fn prober(team: &Workspace, host: Option<Arc<FakeHost>>, clock: &Arc<Hand>) -> Prober {
    let host = host.map(|host| host as Arc<dyn Host>);
    let secrets = BTreeMap::from([("KEY".to_owned(), SecretString::from("canary-key"))]);
    Prober::new(team, host, secrets, &[], pace(clock)).unwrap_or_else(|error| panic!("{error}"))
}

async fn found(one: ProbeSpec) -> ProbeFinding {
    let report = prober(&team(vec![one], None), None, &Arc::default()).look(None).await;
    report.stages.into_iter().flat_map(|stage| stage.probes).next().unwrap_or_else(|| panic!("a finding"))
}

/// The finding's words, with the time taken out.
fn words(finding: &ProbeFinding) -> String {
    let words: Vec<&str> = finding.says.split(' ').collect();
    let timed = |index: usize| words.get(index + 1).is_some_and(|next| next.starts_with("ms"));
    words.iter().enumerate().map(|(index, word)| if timed(index) { "N" } else { word }).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_way_to_fail_is_said_in_words() {
    let app = Router::new()
        .route("/ok", get(|| async { r#"{"status":"ok"}"# }))
        .route("/sick", get(|| async { r#"{"status":"degraded"}"# }))
        .route("/none", get(|| async { "{}" }))
        .route("/html", get(|| async { "<html>" }))
        .route("/big", get(|| async { "x".repeat(BODY_BYTES_MAX + 1) }))
        .route("/500", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route(
            "/moved",
            get(|| async { (StatusCode::MOVED_PERMANENTLY, [("location", "https://b.example/x?token=canary")]) }),
        )
        .route("/never", get(std::future::pending::<()>));
    let base = service(app).await;
    let cases = [
        ("/ok", "200 in N ms"),
        ("/sick", "answered 200 in N ms, but /status is \"degraded\", expected \"ok\""),
        ("/none", "answered 200 in N ms, but its JSON has no /status"),
        ("/html", "answered 200 in N ms, but not with JSON"),
        ("/big", "answered 200 in N ms, but with more than 256 KB, which is not read"),
        ("/500", "answered 500 in N ms"),
        ("/moved", "answered 301 in N ms, a redirect to https://b.example/x, which is not followed"),
        ("/never", "no answer within N ms"),
    ];
    for (path, says) in cases {
        let mut one = probe("health", format!("{base}{path}"));
        if path == "/never" {
            one.timeout = "200ms".parse().unwrap_or_else(|error| panic!("{error}"));
        }
        let finding = found(one).await;
        assert_eq!(words(&finding), says, "{path}");
        assert_eq!(finding.ok, path == "/ok", "{path}");
    }
    let refused = found(probe("health", "http://127.0.0.1:9/health".to_owned())).await;
    assert_eq!((refused.says.as_str(), refused.took_ms), ("connection refused", None));
    let plain = found(probe("health", base.replace("http://", "https://"))).await;
    assert!(plain.says.starts_with("TLS does not come about: "), "{}", plain.says);
}

#[tokio::test]
async fn a_probe_sends_its_method_headers_and_body_and_knows_what_is_slow() {
    let echo = |headers: axum::http::HeaderMap, body: String| async move {
        let key = headers.get("x-key").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        (StatusCode::CREATED, format!(r#"{{"status":"{key}/{body}"}}"#))
    };
    let base = service(Router::new().route("/query", axum::routing::post(echo))).await;
    let mut one = probe("query", format!("{base}/query"));
    one.method = "POST".to_owned();
    one.headers = BTreeMap::from([("x-key".to_owned(), "env:KEY".to_owned())]);
    one.body = Some("ping".to_owned());
    one.expect_status = Some(201);
    one.expect_json = Some(ExpectJson { pointer: "/status".to_owned(), equals: "canary-key/ping".into() });
    (one.warn_above, one.critical_above) = (Some(Span::seconds(0)), Some(Span::seconds(60)));
    // The least that a wire takes may be under a millisecond: zero is then not above zero.
    let finding = found(one.clone()).await;
    assert!(finding.ok && !finding.very_slow && finding.slow == (finding.took_ms > Some(0)), "{finding:?}");
    one.expect_status = Some(200);
    assert_eq!(words(&found(one.clone()).await), "answered 201 in N ms, expected 200");
    // The service sends the key back; what was asked for is then still said, without it.
    one.expect_status = Some(201);
    one.expect_json = Some(ExpectJson { pointer: "/status".to_owned(), equals: "ok".into() });
    for (body, says) in [("ping".to_owned(), "\"…/ping\""), ("y".repeat(200), "\"…/yyy")] {
        one.body = Some(body);
        let says_of_it = words(&found(one.clone()).await);
        assert!(says_of_it.contains(says) && !says_of_it.contains("canary"), "{says_of_it}");
    }
    one.headers = BTreeMap::from([("x-key".to_owned(), "env:NOT_THERE".to_owned())]);
    let unasked = found(one).await;
    assert_eq!((unasked.says.as_str(), unasked.was_asked()), ("not asked: NOT_THERE is not set", false));
}

fn counting(count: &Arc<AtomicU32>, status: &Arc<AtomicU32>) -> Router {
    let (count, status) = (Arc::clone(count), Arc::clone(status));
    Router::new().route(
        "/health",
        get(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            let code = u16::try_from(status.load(Ordering::SeqCst)).unwrap_or(500);
            (StatusCode::from_u16(code).unwrap_or_default(), r#"{"status":"ok"}"#)
        }),
    )
}

#[tokio::test]
async fn what_sleeps_is_not_woken() {
    let (count, status) = (Arc::default(), Arc::new(AtomicU32::new(200)));
    let base = service(counting(&count, &status)).await;
    let mut one = probe("health", format!("{base}/health"));
    one.when = ProbeWhen::WhenAwake;
    let host = FakeHost::new(&["suspended", "stopped"]);
    let clock = Arc::default();
    let prober = prober(&team(vec![one], Some("mcp")), Some(Arc::clone(&host)), &clock);
    let seen = |measured: Vec<Measurement>| measured.into_iter().next().map(|one| one.seen);

    assert_eq!(seen(prober.measure_now().await), Some(Seen::Asleep));
    host.set(Err("Fly does not answer".to_owned()));
    assert_eq!(
        seen(prober.measure_now().await),
        Some(Seen::Unknown { why: "health: not asked: it slept when last seen, and Fly does not answer".to_owned() })
    );
    assert_eq!(count.load(Ordering::SeqCst), 0, "nobody knocked");
    host.set(Ok(vec!["started"]));
    assert!(matches!(seen(prober.measure_now().await), Some(Seen::Green { .. })));
    host.set(Err("Fly does not answer".to_owned()));
    status.store(500, Ordering::SeqCst);
    let red = seen(prober.measure_now().await);
    assert!(matches!(red, Some(Seen::Red { .. })), "what was awake is asked though the host is silent: {red:?}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_sleeps_is_woken_as_seldom_as_it_is_said_and_again_when_it_did_not_come() {
    let (count, status) = (Arc::default(), Arc::new(AtomicU32::new(200)));
    let base = service(counting(&count, &status)).await;
    let mut one = probe("health", format!("{base}/health"));
    one.when = ProbeWhen::WakeEvery(crate::domain::policy::Span::minutes(60));
    let host = FakeHost::new(&["stopped"]);
    let clock: Arc<Hand> = Arc::default();
    let prober = prober(&team(vec![one], Some("mcp")), Some(Arc::clone(&host)), &clock);
    let mut seen = Vec::new();
    for (minutes, answers) in [(0, 200), (30, 200), (30, 500), (1, 500), (1, 200), (30, 200)] {
        advance(&clock, minutes * 60);
        status.store(answers, Ordering::SeqCst);
        let measured = prober.measure_now().await;
        seen.push(match &measured[0].seen {
            Seen::Asleep => "asleep",
            Seen::Red { .. } => "red",
            Seen::Green { .. } => "green",
            Seen::Unknown { .. } => "unknown",
        });
        // Whoever looks wakes nobody.
        let _looked = prober.look(None).await;
    }
    assert_eq!(seen, ["asleep", "asleep", "red", "red", "green", "asleep"]);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn without_a_host_a_careful_probe_is_not_sent_and_said_so() {
    let mut one = probe("health", "http://127.0.0.1:9/".to_owned());
    one.when = ProbeWhen::WhenAwake;
    let report = prober(&team(vec![one], Some("mcp")), None, &Arc::default()).look(None).await;
    let lines = crate::domain::health::lines(&report);
    assert!(lines.iter().all(|(mark, _)| *mark != Mark::Ok), "{lines:?}");
    assert!(lines.iter().any(|(_, says)| says.contains("whether it is awake needs FLY_READ_TOKEN")), "{lines:?}");
}

#[tokio::test]
async fn rounds_follow_the_clock_that_is_moved() {
    let (count, status) = (Arc::default(), Arc::new(AtomicU32::new(503)));
    let base = service(counting(&count, &status)).await;
    let clock: Arc<Hand> = Arc::default();
    let prober = prober(&team(vec![probe("health", format!("{base}/health"))], None), None, &clock);
    let mut times = Vec::new();
    for step in [0, 30, 30, 60] {
        advance(&clock, step);
        let measurement = prober.next_measurement().await;
        assert!(matches!(measurement.seen, Seen::Red { .. }));
        times.push((measurement.at - at(0)).num_seconds());
    }
    assert_eq!(times, [0, 30, 60, 120]);
    assert_eq!(count.load(Ordering::SeqCst), 4, "one look a round, one for a jump");
}

#[tokio::test]
async fn one_failure_of_a_seldom_probe_is_counted_once_and_not_covered_up() {
    let (count, well, sick) = (Arc::default(), Arc::new(AtomicU32::new(200)), Arc::new(AtomicU32::new(500)));
    let often = service(counting(&count, &well)).await;
    let seldom = service(counting(&count, &sick)).await;
    let mut slow_pace = probe("query", format!("{seldom}/health"));
    slow_pace.every = Span::minutes(5);
    let clock: Arc<Hand> = Arc::default();
    let prober = prober(&team(vec![probe("health", format!("{often}/health")), slow_pace], None), None, &clock);
    let first = prober.next_measurement().await;
    assert!(matches!(&first.seen, Seen::Red { why } if why.starts_with("query: answered 500")), "{first:?}");
    sick.store(200, Ordering::SeqCst);
    // The probe that is well is asked again and again; nothing is said until the other one is asked too.
    for _ in 0..9 {
        let before = count.load(Ordering::SeqCst);
        advance(&clock, 30);
        while count.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
    }
    advance(&clock, 30);
    let next = prober.next_measurement().await;
    assert_eq!((next.at - at(0)).num_seconds(), 300, "{next:?}");
    assert!(matches!(next.seen, Seen::Green { .. }));
}

#[tokio::test]
async fn without_probes_the_machines_have_the_word() {
    let host = FakeHost::new(&["started"]);
    let prober = prober(&team(Vec::new(), Some("mcp")), Some(Arc::clone(&host)), &Arc::default());
    let mut seen = Vec::new();
    for states in [Ok(vec!["started"]), Ok(vec!["stopped"]), Ok(vec!["failed"]), Ok(vec![]), Err("no".to_owned())] {
        host.set(states);
        seen.extend(prober.measure_now().await.into_iter().map(|one| one.seen));
    }
    let red = |why: &str| Seen::Red { why: why.to_owned() };
    let expected = [
        Seen::Green { took_ms: 0 },
        Seen::Asleep,
        red("no machine serves"),
        red("no machine"),
        Seen::Unknown { why: "no".to_owned() },
    ];
    assert_eq!(seen, expected);
}
