//! The local Fly, as a client and as the world see it. The client here speaks HTTP by hand and knows nothing but addresses.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use watchbell::sim::fly::{self, Away, Behaviour, Fault, FaultKind, Handle, Options, TokenKind, Workspace};

/// How long anything may take here before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

const EXAMPLE: &str = include_str!("../data/workspaces/hotdash-fly.json");
const AGENT: &str = "hotdash-agent-service";
const STAGING: &str = "hotdash-agent-service-staging";

/// A client without a library.
struct Client {
    http: reqwest::Client,
    base: String,
    authorization: String,
}

impl Client {
    fn of(sim: &Handle, kind: TokenKind, app: Option<&str>) -> Client {
        let token = sim.token(kind, app).expect("the workspace has such a token");
        Client { http: reqwest::Client::new(), base: sim.api_url(), authorization: format!("FlyV1 {token}") }
    }

    /// As flyctl talks to the releases.
    fn bearer(mut self) -> Client {
        self.authorization = self.authorization.replace("FlyV1", "Bearer");
        self
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> reqwest::Result<(u16, Value)> {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base)).timeout(PATIENCE);
        request = request.header("Authorization", &self.authorization);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        assert!(response.headers().contains_key("fly-request-id"), "every answer can be quoted to Fly's support");
        Ok((status, response.json().await.unwrap_or(Value::Null)))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, Value::Null).await.expect("an answer")
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, body).await.expect("an answer")
    }

    /// The body of an answer that is to be 200.
    async fn read(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn machines(&self, app: &str) -> Vec<Value> {
        self.read(&format!("/v1/apps/{app}/machines")).await.as_array().cloned().expect("a list")
    }

    async fn graphql(&self, query: &str, variables: Value) -> Value {
        self.post("/graphql", json!({"query": query, "variables": variables})).await.1
    }

    async fn metric(&self, query: &str) -> Vec<Value> {
        let uri = reqwest::Url::parse_with_params(&format!("{}/x", self.base), [("query", query)]).expect("a query");
        let path = format!("/prometheus/hotdash/api/v1/query?{}", uri.query().unwrap_or_default());
        self.read(&path).await["data"]["result"].as_array().cloned().expect("a vector")
    }
}

/// The example, quicker, without visitors and without limits.
fn quick() -> Workspace {
    let mut workspace = Workspace::from_json(EXAMPLE).expect("the example reads");
    workspace.settings.boot_ms = 20;
    workspace.settings.stop_ms = 10;
    workspace.settings.check_every_ms = 50;
    workspace.settings.check_timeout_ms = 500;
    workspace.settings.rate_limits = false;
    for app in &mut workspace.apps {
        app.visitors_per_minute = 0;
    }
    workspace
}

async fn start() -> (Handle, Client) {
    let sim = fly::start(Options::new(quick())).await.expect("free ports");
    settle(&sim).await;
    let client = Client::of(&sim, TokenKind::Readonly, None);
    (sim, client)
}

async fn settle(sim: &Handle) {
    assert!(sim.settled(PATIENCE).await, "{:#}", sim.state());
}

/// Status and body as a probe gets them from an app's front.
async fn probe(sim: &Handle, app: &str) -> (u16, Value) {
    let url = format!("{}/health", sim.front_url(app).expect("the app"));
    let response = reqwest::Client::new().get(url).timeout(PATIENCE).send().await.expect("the front answers");
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

/// Asks until nobody listens: a port closes a moment after it was told to.
async fn refuses(address: &str) {
    let asking = async {
        while reqwest::get(format!("{address}/health")).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let refused = reqwest::get(format!("{address}/health")).await.expect_err("the port stays closed");
        assert!(refused.is_connect(), "{refused:?}");
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the port closes");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The states of the checks of all machines of an app.
async fn checks(client: &Client, app: &str) -> BTreeSet<String> {
    let machines = client.machines(app).await;
    machines
        .iter()
        .flat_map(|m| m["checks"].as_array().cloned().unwrap_or_default())
        .map(|c| text(&c["status"]))
        .collect()
}

fn all(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn shared() -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("WATCHBELL_SHARED").map_or(here, PathBuf::from).join("fly");
    let found = folder.join("openapi.json").is_file();
    if !found {
        println!("skipped: Fly's documents are not at {}", folder.display());
    }
    found.then_some(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_app_is_up_in_all_four_ways() {
    let (sim, client) = start().await;
    for machine in client.machines(AGENT).await {
        assert_eq!(machine["state"], "started");
        assert_eq!(machine["host_status"], "ok");
        assert_eq!(machine["cordoned"], false);
        assert_eq!(machine["checks"][0]["name"], "servicecheck-00-http-8080");
        assert_eq!(machine["config"]["guest"], json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 512}));
    }
    assert_eq!(checks(&client, AGENT).await, all(&["passing"]));
    assert_eq!(probe(&sim, AGENT).await, (200, json!({"status": "ok"})));
    let summary = client.read(&format!("/v1/apps/{AGENT}/machines?summary=true&region=iad")).await;
    assert_eq!(summary.as_array().map(Vec::len), Some(1));
    assert!(summary[0].get("checks").is_none() && summary[0].get("config").is_none());
    assert_eq!(client.read(&format!("/v1/apps/{AGENT}/machines?state=stopped,suspended")).await, json!([]));
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_be_ill_shows_to_a_probe_and_to_the_checks() {
    let (sim, client) = start().await;
    for (behaviour, status, check) in [
        (Behaviour::Wrong, 500, "critical"),
        (Behaviour::WrongBody, 200, "passing"),
        (Behaviour::Dead, 502, "critical"),
        (Behaviour::Healthy, 200, "passing"),
    ] {
        sim.behave(AGENT, None, behaviour, 0).expect("it behaves so");
        settle(&sim).await;
        let (found, body) = probe(&sim, AGENT).await;
        assert_eq!(found, status, "{behaviour:?}");
        assert_eq!(checks(&client, AGENT).await, all(&[check]), "{behaviour:?}");
        assert_eq!(body == json!({"status": "ok"}), behaviour == Behaviour::Healthy);
    }
    // A dead one is dead by its own address too: nobody listens.
    let address = text(&sim.state()["apps"][2]["machines"][0]["address"]);
    sim.behave(AGENT, None, Behaviour::Dead, 0).expect("it behaves so");
    refuses(&address).await;
    assert_eq!(sim.state()["apps"][2]["machines"][0]["address"], Value::Null);
    sim.behave(AGENT, None, Behaviour::Healthy, 0).expect("it behaves so");
    // One that hangs or is too slow fails its check; the other is asked instead.
    for behaviour in [Behaviour::Hanging, Behaviour::Slow] {
        sim.behave(AGENT, Some("1"), behaviour, 60_000).expect("it behaves so");
        settle(&sim).await;
        assert_eq!(checks(&client, AGENT).await, all(&["critical", "passing"]));
        assert_eq!(probe(&sim, AGENT).await.0, 200, "the proxy leaves out whoever fails");
    }
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_machine_closes_its_port_and_a_started_one_opens_it() {
    let (sim, client) = start().await;
    let deploys = Client::of(&sim, TokenKind::Deploy, Some(AGENT));
    let address = text(&sim.state()["apps"][2]["machines"][0]["address"]);
    let id = text(&client.machines(AGENT).await[0]["id"]);
    let path = format!("/v1/apps/{AGENT}/machines/{id}");
    assert_eq!(client.post(&format!("{path}/stop"), Value::Null).await.0, 403, "a readonly token acts on nothing");
    assert_eq!(deploys.post(&format!("{path}/stop"), json!([])).await.0, 400, "Fly refuses a list");
    assert_eq!(deploys.post(&format!("{path}/stop"), json!({})).await.0, 200);
    assert_eq!(client.read(&format!("{path}/wait?state=stopped&timeout=10")).await["ok"], true);
    refuses(&address).await;
    let stopped = client.read(&path).await;
    assert_eq!(stopped["checks"][0]["output"], "the machine hasn't started");
    let exit = &stopped["events"][0];
    assert_eq!(
        (text(&exit["type"]), &exit["request"]["exit_event"]["requested_stop"]),
        ("exit".to_owned(), &json!(true))
    );

    sim.act("settings", &json!({"boot_ms": 3_600_000})).expect("set");
    assert_eq!(deploys.post(&format!("{path}/start"), Value::Null).await.0, 200);
    assert_eq!(deploys.post(&format!("{path}/start"), Value::Null).await.0, 412, "it is on its way");
    sim.act("settings", &json!({"boot_ms": 20})).expect("set");
    sim.stop(AGENT, Some("1")).expect("it stops on its way up");
    client.read(&format!("{path}/wait?state=stopped")).await;
    let (status, started) = deploys.post(&format!("{path}/start"), Value::Null).await;
    assert_eq!((status, text(&started["previous_state"])), (200, "stopped".to_owned()));
    client.read(&format!("{path}/wait?state=started&state=failed")).await;
    settle(&sim).await;
    assert_eq!(checks(&client, AGENT).await, all(&["passing"]));

    assert_eq!(deploys.post(&format!("{path}/restart"), json!({})).await.0, 200);
    settle(&sim).await;
    let events = client.read(&format!("{path}/events?limit=4")).await;
    let kinds: Vec<String> = events.as_array().into_iter().flatten().map(|event| text(&event["type"])).collect();
    assert_eq!(kinds, ["start", "start", "exit", "restart"]);
    assert!(events[0]["timestamp"].as_i64().is_some_and(|ms| ms > 1_600_000_000_000), "milliseconds");
    let (status, late) = client.get(&format!("{path}/wait?state=stopped&timeout=0")).await;
    assert_eq!(status, 408);
    assert!(text(&late["error"]).contains("currently started"), "{late}");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_somebody_else_is_a_409_that_names_them() {
    let (sim, client) = start().await;
    let deploys = Client::of(&sim, TokenKind::Deploy, Some(AGENT));
    let id = text(&client.machines(AGENT).await[0]["id"]);
    let path = format!("/v1/apps/{AGENT}/machines/{id}");
    assert_eq!(client.get(&format!("{path}/lease")).await.0, 404);
    sim.act("lease", &json!({"app": AGENT, "machine": id, "owner": "carol@example.com", "ttl_s": 3600})).expect("held");
    let (status, body) = deploys.post(&format!("{path}/stop"), json!({})).await;
    assert_eq!(status, 409);
    assert!(text(&body["error"]).contains("lease currently held by carol@example.com, expires at "), "{body}");
    let lease = client.read(&format!("{path}/lease")).await;
    assert_eq!(
        (text(&lease["status"]), text(&lease["data"]["owner"])),
        ("success".to_owned(), "carol@example.com".to_owned())
    );
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_is_started_again_and_the_exit_says_how() {
    let (sim, client) = start().await;
    sim.oom(AGENT, Some("1")).expect("killed");
    settle(&sim).await;
    let machine = client.machines(AGENT).await.swap_remove(0);
    assert_eq!(machine["state"], "started");
    let exit =
        machine["events"].as_array().and_then(|all| all.iter().find(|event| event["type"] == "exit")).expect("an exit");
    let how = &exit["request"]["exit_event"];
    assert_eq!(
        (&how["oom_killed"], &how["requested_stop"], &how["restarting"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert_eq!(exit["request"]["restart_count"], 1);
    let logs = client.read(&format!("/api/v1/apps/{AGENT}/logs")).await;
    assert!(logs.to_string().contains("Out of memory: Killed process"), "{logs}");
    let oom =
        client.metric(&format!("max by (app) (max_over_time(fly_instance_exit_oom{{app=\"{AGENT}\"}}[15m]))")).await;
    assert_eq!(oom[0]["value"][1], "1");

    sim.kill(AGENT, Some("1"), 1, true).expect("killed");
    settle(&sim).await;
    assert_eq!(client.machines(AGENT).await[0]["state"], "stopped");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_wakes_an_app_that_sleeps_and_the_log_tells_how_long_it_took() {
    let (sim, client) = start().await;
    assert_eq!(client.machines(STAGING).await[0]["state"], "stopped");
    assert_eq!(client.read(&format!("/v1/apps/{STAGING}")).await["status"], "suspended");
    assert_eq!(probe(&sim, STAGING).await, (200, json!({"status": "ok"})));
    assert_eq!(client.machines(STAGING).await[0]["state"], "started");
    let logs = client.read(&format!("/api/v1/apps/{STAGING}/logs")).await;
    let lines: Vec<Value> = logs["data"].as_array().cloned().expect("lines");
    let woken =
        lines.iter().find(|line| text(&line["attributes"]["message"]).starts_with("machine became reachable in "));
    let woken = woken.expect("the proxy says so");
    assert_eq!(woken["attributes"]["meta"]["event"]["provider"], "proxy");
    assert!(text(&woken["attributes"]["message"]).ends_with("ms"));

    // Paging: nothing twice, nothing lost.
    let token = text(&logs["meta"]["next_token"]);
    sim.act("log", &json!({"app": STAGING, "message": "first"})).expect("logged");
    sim.act("log", &json!({"app": STAGING, "message": "second"})).expect("logged");
    let path = |token: &str| format!("/api/v1/apps/{STAGING}/logs?next_token={token}");
    let more = client.read(&path(&token)).await;
    let words: Vec<String> =
        more["data"].as_array().into_iter().flatten().map(|line| text(&line["attributes"]["message"])).collect();
    assert_eq!(words.iter().filter(|word| !word.starts_with("Health check")).collect::<Vec<_>>(), ["first", "second"]);
    let last = text(&more["meta"]["next_token"]);
    assert_eq!(client.read(&path(&last)).await["meta"]["next_token"], json!(last));

    // And it falls asleep again when nobody asks.
    sim.act("settings", &json!({"autostop_after_ms": 0})).expect("set");
    let id = text(&client.machines(STAGING).await[0]["id"]);
    client.read(&format!("/v1/apps/{STAGING}/machines/{id}/wait?state=stopped&timeout=20")).await;
    assert_eq!(checks(&client, AGENT).await, all(&["passing"]), "an app without auto-stop stays up");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_takes_its_machine_off_the_network() {
    let (sim, client) = start().await;
    sim.host(AGENT, Some("1"), "unreachable").expect("gone");
    settle(&sim).await;
    let machines = client.machines(AGENT).await;
    assert_eq!([&machines[0]["host_status"], &machines[1]["host_status"]], ["unreachable", "ok"]);
    assert_eq!(probe(&sim, AGENT).await.0, 200, "the other one answers");
    let query = "query($n:String!){ app(name:$n){ hostIssues(first:5){ nodes{ message } } } }";
    let issues = client.graphql(query, json!({"n": AGENT})).await;
    assert!(text(&issues["data"]["app"]["hostIssues"]["nodes"][0]["message"]).contains("does not answer"), "{issues}");
    sim.cordon(AGENT, Some("2"), true).expect("cordoned");
    assert_eq!(probe(&sim, AGENT).await.0, 503, "nobody is left");
    sim.host(AGENT, None, "ok").expect("back");
    settle(&sim).await;
    assert_eq!(probe(&sim, AGENT).await.0, 200);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_what_they_are_for() {
    let (sim, client) = start().await;
    let deploys = Client::of(&sim, TokenKind::Deploy, Some(AGENT));
    let mut nobody = Client::of(&sim, TokenKind::Org, None);
    nobody.authorization = "Bearer nonsense".to_owned();
    let (status, body) = nobody.get("/v1/tokens/current").await;
    assert_eq!((status, body), (401, json!({"error": "Authenticate: token validation error"})));
    assert_eq!(client.read("/v1/tokens/current").await["tokens"][0]["org_slug"], "hotdash");
    assert_eq!(deploys.read("/v1/tokens/current").await["tokens"][0]["apps"], json!([AGENT]));
    assert_eq!(deploys.get(&format!("/v1/apps/{STAGING}")).await.0, 403);
    assert_eq!(deploys.get(&format!("/api/v1/apps/{AGENT}/logs")).await.0, 401, "a deploy token reads no logs");
    assert_eq!(client.read("/v1/apps?org_slug=hotdash").await["total_apps"], 4);
    assert_eq!(deploys.read("/v1/apps?org_slug=hotdash").await["total_apps"], 1);
    let releases = format!("/api/v1/apps/{AGENT}/releases");
    assert_eq!(client.get(&releases).await.0, 401, "the releases take Bearer only");
    assert_eq!(client.bearer().get(&releases).await.0, 200);

    let mut workspace = quick();
    workspace.tokens[0].expires = Some(Default::default());
    let late = fly::start(Options::new(workspace)).await.expect("free ports");
    assert_eq!(Client::of(&late, TokenKind::Readonly, None).get("/v1/tokens/current").await.0, 401, "it is over");
    late.shutdown().await.expect("it stops");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_read_the_same_over_rest_and_graphql() {
    let (sim, _) = start().await;
    let client = Client::of(&sim, TokenKind::Readonly, None).bearer();
    let version = sim.add_release(AGENT, "registry.fly.io/hotdash-agent-service:deployment-42", "carol@example.com");
    assert_eq!(version, Ok(42));
    settle(&sim).await;
    let rest = client.read(&format!("/api/v1/apps/{AGENT}/releases?limit=2")).await;
    let versions: Vec<&Value> = rest["releases"].as_array().into_iter().flatten().map(|one| &one["version"]).collect();
    assert_eq!(versions, [42, 41]);
    let current = client.read(&format!("/api/v1/apps/{AGENT}/releases/current")).await;
    assert_eq!(
        (&current["version"], &current["user"], &current["stable"]),
        (&json!(42), &json!("carol@example.com"), &json!(true))
    );
    let query = "query ($appName: String!) { app(name: $appName) { now: currentReleaseUnprocessed { version imageRef user { email } } } }";
    let graph = client.graphql(query, json!({"appName": AGENT})).await;
    assert_eq!(graph["data"]["app"]["now"]["imageRef"], current["image_ref"]);
    assert_eq!(graph["data"]["app"]["now"]["user"]["email"], current["user"]);
    let machine = client.machines(AGENT).await.swap_remove(0);
    assert_eq!(machine["image_ref"]["tag"], "deployment-42");
    assert_eq!(machine["config"]["metadata"]["fly_release_version"], "42");
    let versions = client.read(&format!("/v1/apps/{AGENT}/machines/{}/versions", text(&machine["id"]))).await;
    assert_eq!(versions.as_array().map(Vec::len), Some(2), "what ran before can be looked up");
    assert_eq!(client.get("/api/v1/apps/nothing/releases/current").await.0, 404);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_that_clients_of_fly_send_has_an_answer() {
    let (sim, client) = start().await;
    let Some(folder) = shared() else { return };
    let variables = json!({"n": AGENT, "appName": AGENT, "limit": 5, "v": 41, "input": {}});
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("queries")).expect("the queries") {
        let path = entry.expect("a file").path();
        let query = std::fs::read_to_string(&path).expect("a query");
        if query.starts_with("mutation") {
            continue;
        }
        let answer = client.graphql(&query, variables.clone()).await;
        assert!(answer.get("errors").is_none(), "{}: {answer}", path.display());
        assert!(answer["data"].as_object().is_some_and(|data| data.values().all(|v| !v.is_null())), "{answer}");
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} queries");
    let missing = client.graphql("{ app(name: \"nothing\") { id } }", Value::Null).await;
    assert_eq!(
        (&missing["data"]["app"], &missing["errors"][0]["extensions"]["code"]),
        (&Value::Null, &json!("NOT_FOUND"))
    );
    let unknown = client.graphql("{ viewer { shoeSize } }", Value::Null).await;
    assert_eq!(unknown["errors"][0]["message"], "Field 'shoeSize' doesn't exist on type 'Macaroon'");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened() {
    let (sim, client) = start().await;
    let of = |query: &str| query.replace("APP", AGENT);
    let ratio =
        of("(sum by (app) (rate(fly_edge_http_responses_count{app=\"APP\",status=~\"5..\"}[5m])) or 0 * sum by (app) \
                    (rate(fly_edge_http_responses_count{app=\"APP\"}[5m]))) / (sum by (app) \
                    (rate(fly_edge_http_responses_count{app=\"APP\"}[5m])) > 0)");
    assert_eq!(client.metric(&ratio).await, Vec::<Value>::new(), "no traffic is no data");
    for behaviour in [Behaviour::Healthy, Behaviour::Wrong] {
        sim.behave(AGENT, None, behaviour, 0).expect("it behaves so");
        for _ in 0..2 {
            probe(&sim, AGENT).await;
        }
    }
    let found = client.metric(&ratio).await;
    assert_eq!((&found[0]["metric"], &found[0]["value"][1]), (&json!({"app": AGENT}), &json!("0.5")));
    sim.memory(AGENT, Some("2"), Some(0.93)).expect("set");
    let memory =
        of("1 - (fly_instance_memory_mem_available{app=\"APP\"} / fly_instance_memory_mem_total{app=\"APP\"})");
    let found = client.metric(&memory).await;
    assert_eq!((found.len(), &found[1]["value"][1]), (2, &json!("0.93")));
    let p95 = of(
        "histogram_quantile(0.95, sum by (app, le) (rate(fly_edge_http_response_time_seconds_bucket{app=\"APP\"}[5m])))",
    );
    assert_eq!(client.metric(&p95).await.len(), 1);
    assert_eq!(client.metric("sum(metric_of_another_house)").await, Vec::<Value>::new());
    let range = "/prometheus/hotdash/api/v1/query_range?query=fly_instance_up&start=1700000000&end=1700000060&step=15s";
    let range = client.read(range).await;
    assert_eq!(range["data"]["resultType"], "matrix");
    assert_eq!(range["data"]["result"][0]["values"].as_array().map(Vec::len), Some(5));
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_limits_come_as_ordered() {
    let (sim, client) = start().await;
    let fault = |kind, door: Option<&str>, times| Fault {
        id: 0,
        kind,
        door: door.map(str::to_owned),
        method: None,
        path: None,
        times,
    };
    let path = format!("/v1/apps/{AGENT}");
    sim.fault(fault(FaultKind::Answer { status: 502, body: None, retry_after_s: None }, Some("machines"), Some(2)))
        .expect("ordered");
    assert_eq!([client.get(&path).await.0, client.get(&path).await.0, client.get(&path).await.0], [502, 502, 200]);

    let down = sim.fault(fault(FaultKind::Down { mode: Away::Unavailable }, Some("graphql"), None)).expect("ordered");
    assert_eq!(client.post("/graphql", json!({"query": "{viewer{email}}"})).await.0, 503);
    assert_eq!(client.get(&path).await.0, 200, "GraphQL is down alone");
    assert!(sim.clear_fault(down));

    // The answer is lost, yet it was done.
    sim.fault(fault(FaultKind::DropAnswer, None, Some(1))).expect("ordered");
    let deploys = Client::of(&sim, TokenKind::Deploy, Some(AGENT));
    let id = text(&sim.state()["apps"][2]["machines"][0]["id"]);
    assert!(deploys.send("POST", &format!("{path}/machines/{id}/stop"), json!({})).await.is_err());
    client.read(&format!("{path}/machines/{id}/wait?state=stopped")).await;
    sim.fault(fault(FaultKind::Down { mode: Away::Close }, None, Some(1))).expect("ordered");
    assert!(client.send("GET", &path, Value::Null).await.is_err());

    sim.act("settings", &json!({"rate_limits": true, "rate_per_second": 0.001})).expect("set");
    let mut found = Vec::new();
    for _ in 0..4 {
        found.push(client.get(&format!("{path}/secrets")).await.0);
    }
    assert_eq!(found, [200, 200, 200, 429]);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_api_serves_this_machine_only_and_refuses_in_words() {
    let (sim, _) = start().await;
    let http = reqwest::Client::new();
    let url = format!("{}/sim/behaviour", sim.control_url());
    let body = json!({"app": AGENT, "behaviour": "wrong"}).to_string();
    for (name, value) in [("Host", "evil.example"), ("Origin", "http://evil.example")] {
        let response = http.post(&url).header(name, value).body(body.clone()).send().await.expect("an answer");
        assert_ne!(response.status().as_u16(), 200, "{name}");
        assert_eq!(probe(&sim, AGENT).await.0, 200, "nothing was done");
    }
    assert_eq!(http.post(&url).body(body).send().await.expect("an answer").status(), 200);
    for (action, body) in [
        ("behaviour", json!({"app": "nothing", "behaviour": "wrong"})),
        ("behaviour", json!({"app": AGENT, "behaviour": "grumpy"})),
        ("kill", json!({"app": AGENT, "machine": "9"})),
        ("dance", json!({})),
    ] {
        assert!(sim.act(action, &body).is_err(), "{action} {body}");
    }
    assert!(Workspace::from_json("{\"org\": \"acme\", \"aps\": []}").is_err_and(|words| words.contains("aps")));
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_its_machines_again_after_a_restart_and_records_requests_without_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options {
        state_dir: Some(folder.path().join("state")),
        record_dir: Some(folder.path().join("record")),
        ..Options::new(quick())
    };
    let sim = fly::start(options()).await.expect("free ports");
    let client = Client::of(&sim, TokenKind::Readonly, None);
    let before: Vec<Value> = client.machines(AGENT).await.iter().map(|machine| machine["id"].clone()).collect();
    sim.behave(AGENT, Some("1"), Behaviour::Wrong, 0).expect("it behaves so");
    sim.stop(AGENT, Some("2")).expect("it stops");
    settle(&sim).await;
    sim.shutdown().await.expect("it stops");

    let sim = fly::start(options()).await.expect("free ports");
    settle(&sim).await;
    let client = Client::of(&sim, TokenKind::Readonly, None);
    let machines = client.machines(AGENT).await;
    assert_eq!(machines.iter().map(|machine| machine["id"].clone()).collect::<Vec<_>>(), before);
    assert_eq!([&machines[0]["state"], &machines[1]["state"]], ["started", "stopped"]);
    assert_eq!(probe(&sim, AGENT).await.0, 500, "it behaves as before");
    let record = std::fs::read_dir(folder.path().join("record")).expect("the record");
    let lines: String =
        record.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("lines")).collect();
    assert!(lines.contains("/apps/{app_name}/machines"), "{lines}");
    assert!(!lines.contains("fm2_"), "a token got into the record");
    sim.shutdown().await.expect("it stops");
}

/// The document where it is right. Where Fly's own client and users know better, that holds: auto-stop is a truth value in
/// answers, a lease comes in an envelope, the keys of the regions are capital.
fn document(folder: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(folder.join("openapi.json")).expect("the document");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let schemas = &mut document["components"]["schemas"];
    schemas["fly.MachineService"]["properties"]["autostop"] = json!({"type": ["boolean", "string"]});
    schemas["Lease"] = json!({
        "type": "object", "required": ["status", "data"],
        "properties": {"status": {"const": "success"}, "data": schemas["Lease"]},
    });
    let regions = schemas["main.regionResponse"]["properties"].clone();
    schemas["main.regionResponse"] = json!({
        "type": "object", "required": ["Nearest", "Regions"],
        "properties": {"Nearest": regions["nearest"], "Regions": regions["regions"]},
    });
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_openapi_document_says() {
    let Some(folder) = shared() else { return };
    let document = document(&folder);
    let (sim, client) = start().await;
    sim.kill(AGENT, Some("1"), 1, false).expect("killed");
    settle(&sim).await;
    sim.act("lease", &json!({"app": AGENT, "owner": "carol", "ttl_s": 3600})).expect("held");
    let id = text(&client.machines(AGENT).await[0]["id"]);
    let mut judged = BTreeSet::new();
    let mut fill = std::collections::BTreeMap::from([
        ("{app_name}", AGENT.to_owned()),
        ("{machine_id}", id),
        ("{org_slug}", "hotdash".to_owned()),
        ("{key}", "fly_process_group".to_owned()),
        ("{secret_name}", "DATABASE_URL".to_owned()),
        ("{hostname}", "agent.hotdash.example".to_owned()),
    ]);
    fill.insert("{volume_id}", "none".to_owned());
    for (template, item) in document["paths"].as_object().expect("paths") {
        let Some(operation) = item.get("get") else { continue };
        let path = fill.iter().fold(template.clone(), |path, (place, value)| path.replace(place, value));
        let query = if template == "/apps" { "?org_slug=hotdash" } else { "" };
        let (status, body) = client.get(&format!("/v1{path}{query}")).await;
        // Not answered here yet, or there is no such thing in the example.
        if status == 501 || status == 404 {
            continue;
        }
        assert_eq!(status, 200, "{path}: {body}");
        let content = operation["responses"]["200"]["content"].as_object().and_then(|all| all.values().next());
        let schema = content.map(|content| content["schema"].clone()).expect("a schema");
        judge(&document, &schema, &body, template);
        assert!(body != json!({}) && body != Value::Null, "{template}: an empty answer proves nothing");
        judged.insert(template.clone());
    }
    let error = json!({"$ref": "#/components/schemas/ErrorResponse"});
    judge(&document, &error, &client.get("/v1/apps/nothing").await.1, "404");
    assert!(judged.len() >= 19, "only {judged:?}");
    let (requests, _) = sim.requests(0, 1_000);
    let machines = requests.iter().filter(|request| request["door"] == "machines");
    for template in machines.map(|request| text(&request["template"])) {
        assert!(
            document["paths"].get(&template).is_some() || template.starts_with("/v1/"),
            "{template} is in no document"
        );
    }
    sim.shutdown().await.expect("it stops");
}

fn judge(document: &Value, schema: &Value, body: &Value, what: &str) {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&root).expect("a schema");
    let faults: Vec<String> = validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(faults.is_empty(), "{what}: {faults:#?}\n{body:#}");
}
