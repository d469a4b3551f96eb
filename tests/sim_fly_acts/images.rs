//! Images with characters: each as a client and as the world see it.

use serde_json::{Value, json};
use watchbell::sim::fly::{Character, Image};

use super::client::{Client, SHOP, exits, image, probe, settle, start, text};

/// The status and the output of the first check of a machine.
async fn check(client: &Client, path: &str) -> (String, String) {
    let machine = client.read(path).await;
    (text(&machine["checks"][0]["status"]), text(&machine["checks"][0]["output"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_image_passes_its_checks_and_serves() {
    let (sim, client) = start().await;
    let path = client.deploy(&sim, &image("8")).await;
    assert_eq!(check(&client, &path).await.0, "passing");
    assert_eq!(probe(&sim, SHOP, "/health").await, (200, json!({"status": "ok"})));
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_counts_its_restarts_until_its_policy_gives_up() {
    let (sim, client) = start().await;
    let path = client.deploy(&sim, &image("8-crash-loop")).await;
    let machine = client.read(&path).await;
    assert_eq!(machine["state"], "stopped", "ten times, then no more");
    let exits = exits(&machine);
    assert_eq!((&exits[0]["exit_event"]["restarting"], &exits[0]["restart_count"]), (&json!(false), &json!(10)));
    // What flyctl calls constantly restarting.
    let looping = exits.iter().filter(|exit| {
        let how = &exit["exit_event"];
        how["requested_stop"] == false
            && how["restarting"] == true
            && how["exit_code"] == 1
            && exit["restart_count"].as_u64() > Some(1)
    });
    assert_eq!(looping.count(), 9);
    client.deploy(&sim, &image("7")).await;
    assert_eq!(check(&client, &path).await.0, "passing", "back is the way out");
    let count = sim.state()["apps"][0]["machines"][0]["restart_count"].clone();
    assert_eq!(count, 0);

    // It is not at rest while it loops.
    let mut config = client.read(&path).await["config"].clone();
    config["image"] = json!(image("9-crash-loop"));
    config["restart"] = json!({"policy": "always"});
    client.post(&path, json!({"config": config})).await;
    assert!(!sim.settled(std::time::Duration::from_millis(50)).await);
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_says_so_in_the_exit() {
    let (sim, client) = start().await;
    sim.image(Image {
        image: image("8"),
        character: Character::OutOfMemory,
        starts: Some(2),
        run_ms: Some(1),
        ..Image::default()
    })
    .expect("told");
    let path = client.deploy(&sim, &image("8")).await;
    let machine = client.read(&path).await;
    assert_eq!(machine["state"], "started", "only the first two starts were short of it");
    let killed: Vec<Value> =
        exits(&machine).into_iter().filter(|exit| exit["exit_event"]["oom_killed"] == true).collect();
    assert_eq!(killed.len(), 2);
    assert_eq!((&killed[0]["exit_event"]["exit_code"], &killed[0]["restart_count"]), (&json!(137), &json!(2)));
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_the_world_can_see_different_things() {
    let (sim, client) = start().await;
    let (path, _) = client.first().await;
    sim.stop(SHOP, Some("2")).expect("it stops");
    for (word, found, served) in
        [("unhealthy", "critical", 500), ("failing-check", "critical", 200), ("broken", "passing", 500)]
    {
        client.deploy(&sim, &image(word)).await;
        assert_eq!(client.read(&path).await["state"], "started");
        assert_eq!(check(&client, &path).await.0, found, "{word}");
        assert_eq!(probe(&sim, SHOP, "/health").await.0, served, "{word}");
    }
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_ill_only_at_first_is_cured_by_a_restart() {
    let (sim, client) = start().await;
    sim.act("image", &json!({"image": "deployment-8", "character": "unhealthy", "starts": 1})).expect("told");
    let path = client.deploy(&sim, &image("8")).await;
    assert_eq!(check(&client, &path).await.0, "critical");
    assert_eq!(client.post(&format!("{path}/restart"), json!({})).await.status, 200);
    settle(&sim).await;
    assert_eq!(check(&client, &path).await.0, "passing");
    client.deploy(&sim, &image("8")).await;
    assert_eq!(check(&client, &path).await.0, "critical", "another deploy of it begins anew");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_started_and_not_up_until_it_listens() {
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    sim.act("settings", &json!({"slow_ms": 3_600_000})).expect("set");
    config["image"] = json!(image("8-slow-start"));
    let version = text(&client.post(&path, json!({"config": config})).await.body["instance_id"]);
    client.read(&format!("{path}/wait?state=started&version={version}&timeout=30")).await;
    let refused = async { while check(&client, &path).await.0 != "critical" {} };
    tokio::time::timeout(super::client::PATIENCE, refused).await.expect("the check finds nobody");
    assert!(check(&client, &path).await.1.contains("connection refused"));
    assert!(!sim.settled(std::time::Duration::ZERO).await);
    sim.act("image", &json!({"image": "deployment-8-slow-start", "boot_ms": 1, "healthy_ms": 1})).expect("told");
    client.deploy(&sim, &image("8-slow-start")).await;
    assert_eq!(check(&client, &path).await.0, "passing");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_stop_is_killed_after_the_time_that_its_configuration_gives() {
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    sim.act("settings", &json!({"slow_ms": 3_600_000})).expect("set");
    config["image"] = json!(image("8-slow-stop"));
    config["stop_config"] = json!({"timeout": "30ms", "signal": "SIGTERM"});
    assert_eq!(client.post(&path, json!({"config": config})).await.status, 200);
    settle(&sim).await;
    client.deploy(&sim, &image("9")).await;
    let exit = &exits(&client.read(&path).await)[0]["exit_event"];
    assert_eq!([&exit["exit_code"], &exit["requested_stop"]], [&json!(137), &json!(true)]);
    assert_eq!(check(&client, &path).await.0, "passing");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_host_cannot_pull_leaves_a_failed_machine() {
    let (sim, client) = start().await;
    let path = client.deploy(&sim, &image("8-not-pullable")).await;
    let machine = client.read(&path).await;
    assert_eq!((&machine["state"], &machine["events"][0]["status"]), (&json!("failed"), &json!("failed")));
    assert_eq!(client.read(&format!("{path}/wait?state=failed")).await["state"], "failed");
    assert_eq!(client.post(&format!("{path}/start"), Value::Null).await.status, 200, "a start tries once more");
    settle(&sim).await;
    assert_eq!(client.read(&path).await["state"], "failed");
    client.deploy(&sim, &image("7")).await;
    assert_eq!(check(&client, &path).await.0, "passing");
    // What runs already is on the host: it comes up again although the registry has forgotten it.
    sim.act("image", &json!({"image": "deployment-7", "character": "pruned"})).expect("told");
    assert_eq!(client.post(&format!("{path}/restart"), json!({})).await.status, 200);
    settle(&sim).await;
    assert_eq!(check(&client, &path).await.0, "passing");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_made_elsewhere_brings_its_image_as_it_is() {
    let (sim, client) = start().await;
    sim.act("image", &json!({"image": "deployment-9", "character": "unhealthy"})).expect("told");
    let version = sim.add_release(SHOP, &image("9"), "carol@example.com").expect("deployed");
    settle(&sim).await;
    for machine in client.machines(SHOP).await {
        assert_eq!(machine["config"]["metadata"]["fly_release_version"], json!(version.to_string()));
        assert_eq!(machine["checks"][0]["status"], "critical");
    }
    let told = reqwest::get(format!("{}/sim/images", sim.control_url())).await.expect("an answer");
    let told: Value = told.json().await.expect("JSON");
    assert_eq!(told, json!({"images": [{"image": "deployment-9", "character": "unhealthy"}]}));
    for odd in [json!({"image": ""}), json!({"image": "x", "character": "moody"}), json!({"image": "x", "colour": 1})] {
        assert!(sim.act("image", &odd).is_err(), "{odd}");
    }
    sim.act("reset", &json!({})).expect("reset");
    settle(&sim).await;
    assert_eq!(client.machines(SHOP).await[0]["checks"][0]["status"], "passing");
    sim.shutdown().await.expect("it stops");
}
