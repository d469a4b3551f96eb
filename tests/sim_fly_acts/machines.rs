//! Machines: another configuration, made, moved, destroyed.

use serde_json::{Value, json};
use watchbell::sim::fly::{self, Fault, FaultKind, Options, TokenKind};

use super::client::{Client, SHOP, exits, image, probe, quick, settle, start, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_update_takes_the_whole_configuration_and_the_new_image_answers() {
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    let before = client.read(&path).await;
    let address = text(&sim.state()["apps"][0]["machines"][0]["address"]);
    config["image"] = json!(image("8"));
    config["a_key_of_tomorrow"] = json!({"deep": [1, null, "x"]});
    config["services"][0]["autostop"] = json!("suspend");
    config["metadata"] = json!({"fly_release_version": "8", "mark": "DEP-12"});
    config.as_object_mut().expect("an object").remove("env");
    let answer = client.post(&path, json!({"config": config, "current_version": before["instance_id"]})).await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("replacing")));
    let version = text(&answer.body["instance_id"]);
    assert_ne!(json!(version), before["instance_id"]);
    let waited = client.read(&format!("{path}/wait?state=started&version={version}&timeout=30")).await;
    assert_eq!(waited["version"], json!(version));
    settle(&sim).await;

    let after = client.read(&path).await;
    assert_eq!(after["config"], config, "as it was written, and nothing of what was there before");
    assert_eq!((&after["id"], &after["checks"][0]["status"]), (&before["id"], &json!("passing")));
    assert_eq!(after["image_ref"]["tag"], "deployment-8");
    let now = text(&sim.state()["apps"][0]["machines"][0]["address"]);
    let about: Value = reqwest::get(&now).await.expect("it answers").json().await.expect("JSON");
    assert_eq!((&about["image"], &about["version"]), (&config["image"], &json!(version)));
    assert_ne!(address, now, "the old one is gone");
    let kinds: Vec<String> =
        after["events"].as_array().into_iter().flatten().take(4).map(|event| text(&event["type"])).collect();
    assert_eq!(kinds, ["start", "start", "exit", "update"]);
    assert_eq!(exits(&after)[0]["exit_event"]["requested_stop"], true);
    let versions = client.read(&format!("{path}/versions")).await;
    assert_eq!(versions[0]["user_config"], config);
    assert_eq!(versions[1]["user_config"], before["config"], "the undo");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let (sim, client) = start().await;
    let (path, config) = client.first().await;
    let before = client.read(&path).await;
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        json!({"config": config})
    };
    let mut stale = json!({"config": config});
    stale["current_version"] = json!("01HQ73A7BFFDF1B6WMGHFZZ4E7");
    let mut moved = json!({"config": config});
    moved["region"] = json!("fra");
    for (body, status, words) in [
        (json!({}), 400, "config required"),
        (json!({"config": {}}), 400, "config.image required"),
        (stale, 412, "failed_precondition: machine version"),
        (moved, 400, "region cannot be changed"),
        (with("image", json!(image("pruned"))), 400, "MANIFEST_UNKNOWN"),
        (with("guest", json!({"cpu_kind": "shared", "cpus": 3, "memory_mb": 768})), 400, "invalid config.guest"),
        (with("guest", json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 4_096})), 400, "invalid config.guest"),
        (with("mounts", json!([{"volume": "vol_none", "path": "/data"}])), 400, "volume not found"),
        (with("metadata", json!(["x"])), 400, "config.metadata"),
    ] {
        let answer = client.post(&path, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.words().contains(words), "{} for {words}", answer.body);
    }
    let second = client.machines(SHOP).await.swap_remove(1);
    let taken = with("mounts", second["config"]["mounts"].clone());
    assert!(client.post(&path, taken).await.words().contains("volume is currently bound to machine"));
    assert_eq!(client.post(&path, json!([])).await.status, 400);
    assert_eq!(client.post(&format!("/v1/apps/{SHOP}/machines/none"), json!({"config": config})).await.status, 404);
    assert_eq!(client.read(&path).await, before);
    sim.act("settings", &json!({"any_image": false})).expect("set");
    assert_eq!(client.post(&path, with("image", json!(image("99")))).await.status, 400, "nobody built it");
    assert_eq!(client.post(&path, with("image", json!(image("6")))).await.status, 200, "it was deployed once");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_sleeps_is_updated_without_being_woken() {
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    sim.stop(SHOP, Some("1")).expect("it stops");
    settle(&sim).await;
    config["image"] = json!(image("8"));
    let body = json!({"config": config, "skip_launch": true});
    let answer = client.post(&path, body.clone()).await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("stopped")));
    assert_eq!(client.post(&format!("{path}/start"), Value::Null).await.body["previous_state"], "stopped");
    settle(&sim).await;
    assert_eq!(client.read(&path).await["image_ref"]["tag"], "deployment-8");
    // One that is up goes down with it, and without the word it comes up again.
    assert_eq!(client.post(&path, body).await.status, 200);
    settle(&sim).await;
    assert_eq!(client.read(&path).await["state"], "stopped");
    assert_eq!(client.post(&path, json!({"config": config})).await.status, 200);
    settle(&sim).await;
    assert_eq!(client.read(&path).await["state"], "started");

    sim.act("settings", &json!({"stop_ms": 3_600_000})).expect("set");
    client.post(&format!("{path}/restart?force_stop=true"), Value::Null).await;
    settle(&sim).await;
    config["stop_config"] = json!({"timeout": "5m"});
    sim.act("settings", &json!({"stop_ms": 5, "boot_ms": 3_600_000})).expect("set");
    assert_eq!(client.post(&path, json!({"config": config})).await.body["state"], "replacing");
    assert_eq!(client.post(&path, json!({"config": config})).await.status, 412, "one at a time");
    let start = client.post(&format!("{path}/start"), Value::Null).await;
    assert!(start.words().contains("machine getting replaced, refusing to start"), "{}", start.body);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_suspended_signalled_cordoned_and_killed_when_it_does_not_stop() {
    let (sim, client) = start().await;
    let (path, _) = client.first().await;
    assert_eq!(client.post(&format!("{path}/suspend"), Value::Null).await.status, 200);
    client.read(&format!("{path}/wait?state=suspended")).await;
    assert_eq!(client.post(&format!("{path}/suspend"), Value::Null).await.status, 200);
    assert_eq!(client.post(&format!("{path}/start"), Value::Null).await.body["previous_state"], "suspended");
    settle(&sim).await;

    for (signal, code) in [(json!("SIGTERM"), 143), (json!(9), 137)] {
        assert_eq!(client.post(&format!("{path}/signal"), json!({"signal": signal})).await.status, 200);
        settle(&sim).await;
        let machine = client.read(&path).await;
        assert_eq!(machine["state"], "started", "its policy starts it again");
        let exit = &exits(&machine)[0]["exit_event"];
        assert_eq!([&exit["exit_code"], &exit["requested_stop"]], [&json!(code), &json!(false)]);
    }
    assert_eq!(client.post(&format!("{path}/signal"), json!({"signal": "SIGWINCH"})).await.status, 400);

    for word in ["cordon", "uncordon"] {
        assert_eq!(client.post(&format!("{path}/{word}"), Value::Null).await.status, 200);
        assert_eq!(client.read(&path).await["cordoned"], word == "cordon");
    }
    assert_eq!(client.post(&format!("{path}/stop"), json!({"timeout": "soon"})).await.status, 400);
    sim.act("image", &json!({"image": "deployment-7", "stop_ms": 3_600_000})).expect("told");
    assert_eq!(client.post(&format!("{path}/restart?timeout=30s"), Value::Null).await.status, 200);
    settle(&sim).await;
    assert_eq!(client.post(&format!("{path}/stop"), json!({"signal": "SIGTERM", "timeout": "20ms"})).await.status, 200);
    client.read(&format!("{path}/wait?state=stopped")).await;
    let machine = client.read(&path).await;
    let exit = &exits(&machine)[0]["exit_event"];
    assert_eq!([&exit["guest_exit_code"], &exit["requested_stop"]], [&json!(137), &json!(true)]);
    assert!(client.post(&format!("{path}/signal"), json!({"signal": "SIGTERM"})).await.words().contains("not running"));
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_changes_without_a_restart_and_only_for_the_version_that_was_meant() {
    let (sim, client) = start().await;
    let (path, _) = client.first().await;
    let before = client.read(&path).await;
    let metadata = format!("{path}/metadata");
    assert_eq!(client.post(&format!("{metadata}/mark"), json!({"value": "DEP-1"})).await.status, 204);
    assert_eq!(client.read(&format!("{metadata}/mark")).await["value"], "DEP-1");
    let stale = json!({"metadata": {"mark": "x"}, "machine_version": "01HQ73A7BFFDF1B6WMGHFZZ4E7"});
    assert_eq!(client.call("PATCH", &metadata, stale).await.status, 412);
    let right = json!({"metadata": {"more": "y"}, "machine_version": before["instance_id"]});
    assert_eq!(client.call("PATCH", &metadata, right).await.status, 204);
    let found = client.read(&metadata).await;
    assert_eq!([&found["mark"], &found["more"], &found["fly_platform_version"]], ["DEP-1", "y", "v2"]);
    assert_eq!(client.call("DELETE", &format!("{metadata}/mark"), Value::Null).await.status, 204);
    assert_eq!(client.call("PUT", &metadata, json!({"metadata": {"only": "z"}})).await.status, 204);
    assert_eq!(client.read(&metadata).await, json!({"only": "z"}));
    let after = client.read(&path).await;
    assert_eq!([&after["instance_id"], &after["state"]], [&before["instance_id"], &json!("started")]);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_command_runs_once_tells_its_code_and_is_gone() {
    let (sim, client) = start().await;
    let all = format!("/v1/apps/{SHOP}/machines");
    for (word, code) in [("8", 0), ("8-bad-release", 1), ("8-out-of-memory", 137)] {
        let body = json!({"region": "ord", "config": {
            "image": image(word), "auto_destroy": true, "restart": {"policy": "no"}, "init": {"cmd": ["migrate"]},
            "metadata": {"fly_platform_version": "v2", "fly_process_group": "fly_app_release_command"},
        }});
        let made = client.post(&all, body).await;
        assert_eq!((made.status, &made.body["state"]), (200, &json!("created")), "{}", made.body);
        let path = format!("{all}/{}", text(&made.body["id"]));
        client.read(&format!("{path}/wait?state=destroyed&timeout=30")).await;
        let machine = client.read(&path).await;
        assert_eq!(machine["state"], "destroyed");
        let exit = &exits(&machine)[0];
        let told = [&exit["exit_event"]["exit_code"], &exit["exit_event"]["restarting"]];
        assert_eq!(told, [&json!(code), &json!(false)], "{word}");
        assert_eq!(exit["exit_event"]["oom_killed"], code == 137);
        assert_eq!(client.post(&format!("{path}/start"), Value::Null).await.status, 404);
    }
    assert_eq!(client.machines(SHOP).await.len(), 2);
    let gone = client.read(&format!("{all}?include_deleted=true&state=destroyed")).await;
    assert_eq!(gone.as_array().map(Vec::len), Some(3));
    settle(&sim).await;
    assert_eq!(probe(&sim, SHOP, "/").await.1["image"], json!(image("7")), "no visitor ever met them");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_and_destroyed_by_hand() {
    let (sim, client) = start().await;
    let all = format!("/v1/apps/{SHOP}/machines");
    let (_, config) = client.first().await;
    let body = json!({
        "name": "canary", "region": "ord", "config": config, "skip_launch": true, "lease_ttl": 600,
        "skip_service_registration": true,
    });
    let made = client.post(&all, body.clone()).await;
    assert_eq!((made.status, &made.body["cordoned"]), (200, &json!(true)), "{}", made.body);
    let (path, nonce) = (format!("{all}/{}", text(&made.body["id"])), text(&made.body["nonce"]));
    let twice = client.post(&all, body).await;
    assert!(twice.status == 409 && twice.words().contains("unique machine name violation"), "{}", twice.body);
    let held = client.post(&format!("{path}/start"), Value::Null).await;
    assert_eq!(held.status, 409, "held since it was made");
    let send = async |method, path: String, body| client.send(method, &path, body, Some(&nonce)).await.expect("one");
    assert_eq!(send("POST", format!("{path}/start"), Value::Null).await.body["previous_state"], "created");
    settle(&sim).await;
    let refused = send("DELETE", path.clone(), Value::Null).await;
    assert!(refused.status == 412 && refused.words().contains("not currently stopped"), "{}", refused.body);
    assert_eq!(send("DELETE", format!("{path}?kill=true"), Value::Null).await.status, 200);
    client.read(&format!("{path}/wait?state=destroyed")).await;

    // A volume is free again when its machine is gone.
    let second = client.machines(SHOP).await.swap_remove(1);
    let path = format!("{all}/{}", text(&second["id"]));
    assert_eq!(client.call("DELETE", &format!("{path}?force=true"), Value::Null).await.status, 200);
    client.read(&format!("{path}/wait?state=destroyed")).await;
    let again = json!({"region": "iad", "config": second["config"]});
    assert_eq!(client.post(&all, again.clone()).await.status, 200);
    settle(&sim).await;
    let taken = client.post(&all, again).await;
    assert!(taken.status == 412 && taken.words().contains("volume is currently bound"), "{}", taken.body);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_gives_a_machine_another_configuration() {
    let (sim, client) = start().await;
    let (path, before) = client.first().await;
    let set = json!({"env": {"LOG": "debug", "PORT": null}, "restart": {"policy": "no"}});
    sim.act("config", &json!({"app": SHOP, "machine": 1, "set": set})).expect("set");
    settle(&sim).await;
    let now = client.read(&path).await;
    assert_eq!((&now["config"]["env"]["LOG"], &now["state"]), (&json!("debug"), &json!("started")));
    assert!(now["config"]["env"].get("PORT").is_none(), "null takes it away: {}", now["config"]);
    assert_eq!((&now["config"]["image"], &now["config"]["guest"]), (&before["image"], &before["guest"]));
    assert!(sim.act("config", &json!({"app": SHOP, "set": 7})).is_err());
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_says_what_it_waited_for_and_what_there_is() {
    let (sim, client) = start().await;
    let (path, _) = client.first().await;
    let late = client.get(&format!("{path}/wait?state=stopped&state=suspended&timeout=0")).await;
    assert_eq!(late.status, 408);
    let words = "deadline_exceeded: machine failed to reach desired state, stopped,suspended, currently started";
    assert_eq!(late.words(), words);
    assert_eq!(client.get(&format!("{path}/wait?state=happy")).await.status, 400);
    assert_eq!(client.get(&format!("{path}/wait?state=started&version=other&timeout=0")).await.status, 408);
    // Somebody waits while it happens.
    let fault = FaultKind::Latency { latency_ms: 1 };
    let narrow = |path: &str| Some(path.to_owned());
    let fault = Fault { id: 0, kind: fault, door: None, method: None, path: narrow("/stop"), times: None };
    sim.fault(fault).expect("ordered");
    let (wait, stop) = (format!("{path}/wait?state=stopped,failed&timeout=30"), format!("{path}/stop"));
    let (waited, stopped) = tokio::join!(client.read(&wait), client.post(&stop, json!({})));
    assert_eq!((&waited["state"], stopped.status), (&json!("stopped"), 200));
    assert_eq!(client.read(&format!("{path}/wait?state=settled")).await["ok"], true);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_found_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { state_dir: Some(folder.path().to_owned()), ..Options::new(quick()) };
    let sim = fly::start(options()).await.expect("free ports");
    settle(&sim).await;
    let client = Client::of(&sim, TokenKind::Deploy, Some(SHOP));
    sim.act("image", &json!({"image": "deployment-8", "character": "unhealthy"})).expect("told");
    let path = client.deploy(&sim, &image("8")).await;
    let lease = client.post(&format!("{path}/lease?ttl=600"), Value::Null).await.body["data"].clone();
    let gone = text(&client.machines(SHOP).await[1]["id"]);
    let gone = format!("/v1/apps/{SHOP}/machines/{gone}");
    assert_eq!(client.call("DELETE", &format!("{gone}?force=true"), Value::Null).await.status, 200);
    settle(&sim).await;
    client.post("/api/v1/releases", json!({"app_name": SHOP, "image": image("8")})).await;
    sim.shutdown().await.expect("it stops");

    let sim = fly::start(options()).await.expect("free ports");
    settle(&sim).await;
    let client = Client::of(&sim, TokenKind::Deploy, Some(SHOP));
    let machine = client.read(&path).await;
    assert_eq!(
        [&machine["config"]["image"], &machine["checks"][0]["status"]],
        [&json!(image("8")), &json!("critical")]
    );
    assert_eq!(client.read(&format!("{path}/lease")).await["data"], lease);
    assert_eq!(client.read(&gone).await["state"], "destroyed");
    let current = client.read(&format!("/api/v1/apps/{SHOP}/releases/current")).await;
    assert_eq!([&current["version"], &current["status"]], [&json!(8), &json!("pending")]);
    sim.shutdown().await.expect("it stops");
}
