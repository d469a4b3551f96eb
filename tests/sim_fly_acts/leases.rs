//! Leases: who holds a machine, for how long, and what everybody else is told.

use serde_json::{Value, json};
use watchbell::sim::fly::TokenKind;

use super::client::{Client, OTHER, SHOP, settle, start, text, until};

/// Every call that changes a machine, with a body that would do.
fn writes(path: &str, config: &Value) -> Vec<(&'static str, String, Value)> {
    vec![
        ("POST", path.to_owned(), json!({"config": config})),
        ("POST", format!("{path}/start"), Value::Null),
        ("POST", format!("{path}/restart"), json!({})),
        ("POST", format!("{path}/suspend"), Value::Null),
        ("POST", format!("{path}/stop"), json!({})),
        ("POST", format!("{path}/cordon"), Value::Null),
        ("POST", format!("{path}/uncordon"), Value::Null),
        ("POST", format!("{path}/signal"), json!({"signal": "SIGHUP"})),
        ("POST", format!("{path}/metadata/who"), json!({"value": "me"})),
        ("DELETE", format!("{path}/metadata/who"), Value::Null),
        ("PATCH", format!("{path}/metadata"), json!({"metadata": {"who": "me"}})),
        ("POST", format!("{path}/lease?ttl=30"), Value::Null),
        ("DELETE", format!("{path}/lease"), Value::Null),
        ("DELETE", format!("{path}?force=true"), Value::Null),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_comes_in_an_envelope_and_is_renewed_by_its_nonce() {
    let (sim, client) = start().await;
    let (path, _) = client.first().await;
    let lease = format!("{path}/lease");
    assert_eq!(client.get(&lease).await.status, 404);
    let taken = client.post(&format!("{lease}?ttl=600"), Value::Null).await;
    assert_eq!((taken.status, &taken.body["status"]), (201, &json!("success")));
    let nonce = text(&taken.body["data"]["nonce"]);
    assert_eq!(nonce.len(), 12, "{}", taken.body);
    let read = client.read(&lease).await;
    assert_eq!(read["data"], taken.body["data"], "whoever may look can give it up by hand");
    let machine = client.read(&path).await;
    assert_eq!(read["data"]["version"], machine["instance_id"]);

    let renewed = client.send("POST", &lease, json!({"ttl": 1_200, "description": "deploy"}), Some(&nonce)).await;
    let renewed = renewed.expect("an answer");
    assert_eq!((renewed.status, &renewed.body["data"]["nonce"]), (201, &json!(nonce)));
    assert!(renewed.body["data"]["expires_at"].as_i64() > taken.body["data"]["expires_at"].as_i64());

    let given = client.send("DELETE", &lease, Value::Null, Some(&nonce)).await.expect("an answer");
    assert_eq!((given.status, given.body), (200, json!({"status": "success", "data": {"ok": true}})));
    assert_eq!(client.send("DELETE", &lease, Value::Null, Some(&nonce)).await.expect("an answer").status, 404);
    for odd in ["?ttl=0", "?ttl=soon", "?ttl=-1"] {
        assert_eq!(client.post(&format!("{lease}{odd}"), Value::Null).await.status, 400, "{odd}");
    }
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_somebody_else_is_a_409_that_names_the_holder_and_the_end() {
    let (sim, client) = start().await;
    let org = Client::of(&sim, TokenKind::Org, None);
    let (path, config) = client.first().await;
    let taken = org.post(&format!("{path}/lease?ttl=600"), Value::Null).await;
    let nonce = text(&taken.body["data"]["nonce"]);
    let before = client.read(&path).await;
    for shown in [None, Some("000000000000")] {
        for (method, path, body) in writes(&path, &config) {
            let answer = client.send(method, &path, body, shown).await.expect("an answer");
            assert_eq!(answer.status, 409, "{method} {path}: {}", answer.body);
            let words = answer.body["message"].as_str().unwrap_or_default();
            assert!(words.contains("lease currently held by org@tokens.fly.io, expires at 2"), "{words}");
        }
    }
    assert_eq!(client.read(&path).await, before, "nothing was done");
    // Whoever shows the nonce may, whatever their token; a machine that is no more has no lease.
    for (method, path, body) in writes(&path, &config) {
        let answer = client.send(method, &path, body, Some(&nonce)).await.expect("an answer");
        assert!(!matches!(answer.status, 401 | 403 | 409), "{method} {path}: {}", answer.body);
        settle(&sim).await;
    }
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_by_itself_and_the_next_one_has_another_nonce() {
    let (sim, client) = start().await;
    let (path, _) = client.first().await;
    let lease = format!("{path}/lease");
    let first = text(&client.post(&format!("{lease}?ttl=1"), Value::Null).await.body["data"]["nonce"]);
    until(&client, &lease, 404).await;
    let late = client.send("POST", &lease, json!({"ttl": 600}), Some(&first)).await.expect("an answer");
    assert_eq!(late.status, 201);
    assert_ne!(text(&late.body["data"]["nonce"]), first, "what is over is not renewed");
    assert_eq!(client.send("POST", &format!("{path}/stop"), json!({}), Some(&first)).await.expect("one").status, 409);

    // Held by hand until a moment, and given up by hand.
    sim.act("lease", &json!({"app": SHOP, "machine": 1, "owner": "carol", "until": "2100-01-01T00:00:00Z"}))
        .expect("held");
    let refused = client.post(&format!("{path}/stop"), json!({})).await;
    assert!(refused.words().ends_with("held by carol, expires at 2100-01-01T00:00:00.000Z"), "{}", refused.body);
    sim.free(SHOP, Some("1")).expect("free");
    assert_eq!(client.post(&format!("{path}/stop"), json!({})).await.status, 200);
    assert!(sim.act("lease", &json!({"app": SHOP, "owner": "carol"})).is_err(), "until when?");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_acts_on_its_own_app_and_one_to_look_acts_on_none() {
    let (sim, client) = start().await;
    let (path, config) = client.first().await;
    let before = client.read(&path).await;
    let looker = Client::of(&sim, TokenKind::Readonly, None);
    let stranger = Client::of(&sim, TokenKind::Deploy, Some(OTHER));
    let mut all = writes(&path, &config);
    all.push(("POST", format!("/v1/apps/{SHOP}/machines"), json!({"config": config})));
    let release = text(&sim.state()["apps"][0]["releases"][0]["id"]);
    all.push(("POST", "/api/v1/releases".to_owned(), json!({"app_name": SHOP, "image": config["image"]})));
    all.push(("PATCH", format!("/api/v1/releases/{release}"), json!({"status": "failed"})));
    for (method, path, body) in all {
        for who in [&looker, &stranger] {
            assert_eq!(who.call(method, &path, body.clone()).await.status, 403, "{method} {path}");
        }
    }
    let query = "mutation ($input: UpdateReleaseInput!) { updateRelease(input: $input) { release { id } } }";
    let answer = stranger.graphql(query, json!({"input": {"releaseId": release, "status": "failed"}})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    assert_eq!(client.read(&path).await, before, "nothing was done");
    assert_eq!(sim.state()["apps"][0]["releases"][0]["status"], "complete");
    sim.shutdown().await.expect("it stops");
}
