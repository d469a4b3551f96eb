//! Faults to order: each refusal in Fly's own words, answers that never come, sides that fail alone, limits.

use serde_json::{Value, json};
use watchbell::sim::fly::{Fault, FaultKind, Handle, Meaning};

use super::client::{Client, PATIENCE, SHOP, image, settle, start, text};

fn order(sim: &Handle, body: Value) -> u64 {
    let fault: Fault = serde_json::from_value(body).expect("a fault");
    sim.fault(fault).expect("ordered")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_comes_once_in_its_own_words_and_nothing_is_done() {
    let (sim, client) = start().await;
    let (path, config) = client.first().await;
    let before = client.read(&path).await;
    for (meaning, status, words) in [
        ("no_room", 409, "could not reserve resource for machine: insufficient memory"),
        ("no_room_for_volume", 412, "insufficient resources to create new machine with existing volume"),
        ("quota", 403, "over the allowed quota"),
        ("no_capacity", 400, "no capacity"),
        ("insufficient_capacity", 422, "insufficient capacity"),
        ("host_closed", 409, "deploys to this host are temporarily disabled"),
        ("concurrent", 409, "aborted: machine update failed due to concurrent update"),
        ("replacing", 412, "machine getting replaced, refusing to start"),
        ("still_active", 412, "machine still active, refusing to start"),
        ("created", 412, "unable to start machine from current state: 'created'"),
        ("still_starting", 412, "machine still attempting to start"),
        ("not_running", 412, "machine not running"),
        ("volume_bound", 412, "volume is currently bound to machine"),
        ("version", 412, "machine version does not match"),
        ("no_image", 400, "MANIFEST_UNKNOWN"),
        ("too_many", 429, "rate limit exceeded"),
    ] {
        order(&sim, json!({"kind": "refuse", "meaning": meaning, "times": 1}));
        assert_eq!(client.read(&path).await, before, "looking is not refused");
        let leased = client.post(&format!("{path}/lease?ttl=600"), Value::Null).await;
        assert_eq!(leased.status, 201, "nor is a lease");
        sim.free(SHOP, Some("1")).expect("free");
        let answer = client.post(&path, json!({"config": config})).await;
        assert_eq!((answer.status, answer.words().contains(words)), (status, true), "{meaning}: {}", answer.body);
        assert!(sim.state()["faults"].as_array().is_some_and(Vec::is_empty), "it was met");
    }
    assert_eq!(client.read(&path).await, before);
    assert!(serde_json::from_value::<Fault>(json!({"kind": "refuse", "meaning": "moody"})).is_err());
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_can_be_for_one_call_of_one_machine() {
    let (sim, client) = start().await;
    let ids: Vec<String> = client.machines(SHOP).await.iter().map(|machine| text(&machine["id"])).collect();
    let shape = format!("/apps/{{app_name}}/machines/{}", ids[1]);
    order(&sim, json!({"kind": "answer", "status": 500, "method": "POST", "path": shape}));
    order(&sim, json!({"kind": "answer", "status": 503, "path": "/apps/{app_name}/machines/{machine_id}/wait"}));
    let (_, config) = client.first().await;
    let at = |id: &str| format!("/v1/apps/{SHOP}/machines/{id}");
    assert_eq!(client.post(&at(&ids[1]), json!({"config": config})).await.status, 500);
    assert_eq!(client.post(&format!("{}/stop", at(&ids[1])), json!({})).await.status, 200);
    assert_eq!(client.post(&at(&ids[0]), json!({"config": config})).await.status, 200);
    assert_eq!(client.get(&format!("{}/wait", at(&ids[0]))).await.status, 503);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_answer_is_lost_was_made_all_the_same() {
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    sim.fault_times(FaultKind::DropAnswer, 1).expect("ordered");
    config["image"] = json!(image("8"));
    assert!(client.send("POST", &path, json!({"config": config}), None).await.is_err(), "the connection closed");
    settle(&sim).await;
    assert_eq!(client.read(&path).await["config"], config);

    // Worse: no answer at all. Whoever asks somewhere else sees that it was made.
    order(&sim, json!({"kind": "silence", "method": "POST", "times": 1}));
    config["image"] = json!(image("9"));
    let made = async { while client.read(&path).await["config"]["image"] != config["image"] {} };
    tokio::select! {
        answer = client.send("POST", &path, json!({"config": config}), None) => panic!("{answer:?}"),
        made = tokio::time::timeout(PATIENCE, made) => made.expect("it is made"),
    }
    settle(&sim).await;
    // A release, too.
    order(&sim, json!({"kind": "drop_answer", "door": "releases", "times": 1}));
    let body = json!({"app_name": SHOP, "image": image("9")});
    assert!(client.send("POST", "/api/v1/releases", body, None).await.is_err());
    assert_eq!(client.read(&format!("/api/v1/apps/{SHOP}/releases/current")).await["version"], 8);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_waits_until_it_is_let_go_and_is_done_then() {
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    config["image"] = json!(image("8"));
    let hold = order(&sim, json!({"kind": "hold", "method": "POST", "times": 1}));
    let update = async { client.post(&path, json!({"config": config})).await };
    let let_go = async {
        let is_in = || sim.requests(0, 1_000).0.iter().any(|request| request["method"] == "POST");
        while !is_in() {
            tokio::task::yield_now().await;
        }
        assert_ne!(client.read(&path).await["config"]["image"], config["image"], "nothing is done yet");
        assert_eq!(client.post(&format!("{path}/lease?ttl=1"), Value::Null).await.status, 201, "only one is held");
        sim.free(SHOP, Some("1")).expect("free");
        assert!(sim.clear_fault(hold), "it stays until it is taken away");
    };
    let (answer, ()) = tokio::join!(update, let_go);
    assert_eq!(answer.status, 200, "{}", answer.body);
    settle(&sim).await;
    assert_eq!(client.read(&path).await["config"]["image"], config["image"]);
    sim.shutdown().await.expect("it stops");
}

/// Whether the machines, the releases over REST, and GraphQL answer.
async fn sides(client: &Client) -> [bool; 3] {
    let releases = format!("/api/v1/apps/{SHOP}/releases");
    let query = json!({"query": "{ viewer { ... on Macaroon { email } } }"});
    [
        client.get(&format!("/v1/apps/{SHOP}/machines")).await.status == 200,
        client.get(&releases).await.status == 200,
        client.post("/graphql", query).await.status == 200,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sides_of_fly_fail_apart() {
    let (sim, client) = start().await;
    assert_eq!(sides(&client).await, [true, true, true]);
    for (door, found) in
        [("graphql", [true, true, false]), ("releases", [true, false, true]), ("machines", [false, true, true])]
    {
        let id = order(&sim, json!({"kind": "down", "mode": "503", "door": door}));
        assert_eq!(sides(&client).await, found, "{door} is down");
        assert!(sim.clear_fault(id));
    }
    let (path, config) = client.first().await;
    order(&sim, json!({"kind": "down", "mode": "503", "door": "graphql"}));
    assert_eq!(client.post(&path, json!({"config": config})).await.status, 200, "acting goes on");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_can_stay_running_whatever_is_said() {
    let (sim, client) = start().await;
    let made = client.post("/api/v1/releases", json!({"app_name": SHOP, "image": image("8")})).await;
    let path = format!("/api/v1/releases/{}", text(&made.body["release"]["id"]));
    assert_eq!(client.call("PATCH", &path, json!({"status": "running"})).await.status, 200);
    order(&sim, json!({"kind": "release_sticks", "path": SHOP, "times": 1}));
    assert_eq!(client.call("PATCH", &path, json!({"status": "complete"})).await.status, 200, "it is taken");
    let current = format!("/api/v1/apps/{SHOP}/releases/current");
    assert_eq!(client.read(&current).await["status"], "running", "and changes nothing");
    assert_eq!(client.call("PATCH", &path, json!({"status": "complete"})).await.status, 200);
    assert_eq!(client.read(&current).await["status"], "complete");
    // Somebody else's that never ends.
    let body = json!({"app": SHOP, "image": image("9"), "user": "carol", "status": "running", "machines": false});
    assert_eq!(sim.act("release", &body).expect("made")["version"], 9);
    assert_eq!(client.read(&current).await["in_progress"], true);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_lets_nobody_act_and_is_on_record() {
    let (sim, client) = start().await;
    let (path, config) = client.first().await;
    sim.host(SHOP, Some("1"), "unreachable").expect("gone");
    for (method, path, body) in [
        ("POST", path.clone(), json!({"config": config})),
        ("POST", format!("{path}/stop"), json!({})),
        ("POST", format!("{path}/lease?ttl=30"), Value::Null),
        ("DELETE", format!("{path}?force=true"), Value::Null),
    ] {
        assert_eq!(client.call(method, &path, body).await.status, 503, "{method} {path}");
    }
    assert_eq!(client.read(&path).await["host_status"], "unreachable");
    let query = format!("{{ app(name: \"{SHOP}\") {{ hostIssues(first: 5) {{ nodes {{ message }} }} }} }}");
    let issues = client.graphql(&query, Value::Null).await;
    assert!(issues["data"]["app"]["hostIssues"]["nodes"][0]["message"].is_string(), "{issues}");
    // Its process went on meanwhile.
    sim.host(SHOP, Some("1"), "ok").expect("back");
    settle(&sim).await;
    assert_eq!(client.read(&path).await["checks"][0]["status"], "passing");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_action_on_one_machine_has_a_burst_of_three() {
    let (sim, client) = start().await;
    let ids: Vec<String> = client.machines(SHOP).await.iter().map(|machine| text(&machine["id"])).collect();
    let at = |id: &str, word: &str| format!("/v1/apps/{SHOP}/machines/{id}/{word}");
    sim.act("settings", &json!({"rate_limits": true, "rate_per_second": 0.000_1})).expect("set");
    let mut found = Vec::new();
    for _ in 0..4 {
        found.push(client.post(&at(&ids[0], "cordon"), Value::Null).await.status);
    }
    assert_eq!(found, [200, 200, 200, 429]);
    assert_eq!(client.post(&at(&ids[0], "uncordon"), Value::Null).await.status, 200, "another action");
    assert_eq!(client.post(&at(&ids[1], "cordon"), Value::Null).await.status, 200, "another machine");
    let silent = client.post(&at(&ids[0], "cordon"), Value::Null).await;
    assert_eq!((silent.status, silent.retry_after), (429, None));
    sim.act("settings", &json!({"retry_after": true, "rate_per_second": 0.5})).expect("set");
    let told = client.post(&at(&ids[0], "cordon"), Value::Null).await;
    assert!(told.status == 200 || told.retry_after.is_some_and(|after| after.parse::<u64>().is_ok()));
    sim.act("settings", &json!({"rate_limits": false})).expect("set");
    for after in [None, Some(7)] {
        order(&sim, json!({"kind": "answer", "status": 429, "retry_after_s": after, "times": 1}));
        let answer = client.post(&at(&ids[0], "cordon"), Value::Null).await;
        assert_eq!((answer.status, answer.retry_after), (429, after.map(|seconds: u64| seconds.to_string())));
    }
    assert_eq!(serde_json::to_value(Meaning::NoRoom).expect("a word"), "no_room");
    sim.shutdown().await.expect("it stops");
}
