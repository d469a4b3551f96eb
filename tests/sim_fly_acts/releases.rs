//! Releases: one record, written over REST or GraphQL, read over both.

use std::path::PathBuf;

use serde_json::{Value, json};
use watchbell::sim::fly::TokenKind;

use super::client::{Client, OTHER, SHOP, image, start, text};

const CREATE: &str =
    "mutation CreateRelease($input: CreateReleaseInput!) { createRelease(input: $input) { release { id version } } }";
const UPDATE: &str =
    "mutation UpdateRelease($input: UpdateReleaseInput!) { updateRelease(input: $input) { release { id } } }";
const LIST: &str = "query ($appName: String!) { app(name: $appName) { releases: releasesUnprocessed(first: 2) { nodes \
                    { id version status imageRef metadata configDefinition user { email } } } } }";

/// The newest two releases, over GraphQL.
async fn listed(client: &Client) -> Vec<Value> {
    let answer = client.graphql(LIST, json!({"appName": SHOP})).await;
    answer["data"]["app"]["releases"]["nodes"].as_array().cloned().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_written_over_rest_is_read_over_both() {
    let (sim, client) = start().await;
    let definition = json!({"app": SHOP, "deploy": {"release_command": "migrate"}});
    let body = json!({
        "app_name": SHOP, "build_id": null, "definition": definition, "image": image("8"), "strategy": "ROLLING",
    });
    let made = client.post("/api/v1/releases", body).await;
    assert_eq!((made.status, &made.body["release"]["version"]), (201, &json!(8)), "{}", made.body);
    let id = text(&made.body["release"]["id"]);
    let path = format!("/api/v1/releases/{id}");
    for (status, in_progress, stable) in [("running", true, false), ("complete", false, true)] {
        for _ in 0..2 {
            // The same again changes nothing more.
            let body = json!({"status": status, "metadata": {"by": "a test"}});
            assert_eq!(client.call("PATCH", &path, body).await.status, 200);
        }
        let current = client.read(&format!("/api/v1/apps/{SHOP}/releases/current")).await;
        assert_eq!([&current["status"], &current["id"]], [&json!(status), &json!(id)]);
        assert_eq!([&current["in_progress"], &current["stable"]], [&json!(in_progress), &json!(stable)]);
    }
    let list = client.read(&format!("/api/v1/apps/{SHOP}/releases?limit=1")).await;
    assert_eq!(list["releases"][0]["image_ref"], json!(image("8")));
    assert_eq!(list["releases"].as_array().map(Vec::len), Some(1));
    let graph = listed(&client).await.swap_remove(0);
    assert_eq!([&graph["id"], &graph["status"]], [&json!(id), &json!("complete")]);
    assert_eq!([&graph["metadata"], &graph["configDefinition"]], [&json!({"by": "a test"}), &definition]);
    assert_eq!(client.machines(SHOP).await[0]["config"]["image"], json!(image("7")), "a record moves no machine");

    for (body, status) in [
        (json!({"app_name": SHOP}), 422),
        (json!({"image": image("8")}), 422),
        (json!({"app_name": SHOP, "image": image("8-pruned")}), 404),
    ] {
        assert_eq!(client.post("/api/v1/releases", body.clone()).await.status, status, "{body}");
    }
    assert_eq!(client.call("PATCH", "/api/v1/releases/none", json!({"status": "failed"})).await.status, 404);
    assert_eq!(listed(&client).await[0]["version"], 8, "none of these is on record");
    let other = Client::of(&sim, TokenKind::Deploy, Some(OTHER));
    let none = other.get(&format!("/api/v1/apps/{OTHER}/releases/current")).await;
    assert_eq!(none.status, 404, "there is none yet");
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_written_over_graphql_is_the_same_record() {
    let (sim, client) = start().await;
    let definition = json!({"app": SHOP});
    let input = json!({
        "appId": SHOP, "image": image("8"), "platformVersion": "machines", "strategy": "IMMEDIATE",
        "definition": definition,
    });
    let made = client.graphql(CREATE, json!({"input": input})).await;
    let release = &made["data"]["createRelease"]["release"];
    assert_eq!(release["version"], 8, "{made}");
    let input = json!({"releaseId": release["id"], "status": "failed", "metadata": {"error": "unhealthy"}});
    let changed = client.graphql(UPDATE, json!({"input": input})).await;
    assert_eq!(changed["data"]["updateRelease"]["release"]["id"], release["id"], "{changed}");
    let rest = client.read(&format!("/api/v1/apps/{SHOP}/releases?limit=1")).await;
    assert_eq!(
        (&rest["releases"][0]["status"], &rest["releases"][0]["strategy"]),
        (&json!("failed"), &json!("IMMEDIATE"))
    );
    assert_eq!(rest["releases"][0]["stable"], false);
    let gone = client.graphql(UPDATE, json!({"input": {"releaseId": "none", "status": "failed"}})).await;
    assert_eq!(gone["errors"][0]["extensions"]["code"], "NOT_FOUND");
    for (query, words) in [
        ("mutation { createRelease(input: {}) { release { id } } }", "Argument 'appId' is required"),
        ("mutation { deleteApp(appId: \"shop\") { organization { id } } }", "doesn't exist on type 'Mutations'"),
    ] {
        let answer = client.graphql(query, Value::Null).await;
        assert!(text(&answer["errors"][0]["message"]).contains(words), "{answer}");
    }
    sim.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mutations_that_clients_of_fly_send_are_understood() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("WATCHBELL_SHARED").map_or(here, PathBuf::from).join("fly/queries");
    let (Ok(create), Ok(update)) = (
        std::fs::read_to_string(folder.join("create.graphql")),
        std::fs::read_to_string(folder.join("update.graphql")),
    ) else {
        println!("skipped: Fly's documents are not at {}", folder.display());
        return;
    };
    let (sim, client) = start().await;
    let made = client.graphql(&create, json!({"input": {"appId": SHOP, "image": image("8")}})).await;
    let id = &made["data"]["createRelease"]["release"]["id"];
    assert!(id.is_string(), "{made}");
    let changed = client.graphql(&update, json!({"input": {"releaseId": id, "status": "running"}})).await;
    assert_eq!(&changed["data"]["updateRelease"]["release"]["id"], id, "{changed}");
    sim.shutdown().await.expect("it stops");
}
