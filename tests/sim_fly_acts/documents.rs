//! What the acting calls answer, held against Fly's OpenAPI document.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::client::{SHOP, image, settle, start, text};

/// The document where it is right: a lease comes in an envelope, auto-stop is a truth value in answers.
fn document() -> Option<Value> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("WATCHBELL_SHARED").map_or(here, PathBuf::from).join("fly/openapi.json");
    let Ok(words) = std::fs::read_to_string(&path) else {
        println!("skipped: Fly's document is not at {}", path.display());
        return None;
    };
    let mut document: Value = serde_json::from_str(&words).expect("JSON");
    let schemas = &mut document["components"]["schemas"];
    schemas["fly.MachineService"]["properties"]["autostop"] = json!({"type": ["boolean", "string"]});
    schemas["Lease"] = json!({
        "type": "object", "required": ["status", "data"],
        "properties": {"status": {"const": "success"}, "data": schemas["Lease"]},
    });
    Some(document)
}

fn judge(document: &Value, method: &str, template: &str, status: u16, body: &Value) {
    let answer = &document["paths"][template][method]["responses"][status.to_string()];
    assert!(answer.is_object(), "{method} {template}: the document has no {status}");
    let mut schema = answer["content"]["application/json"]["schema"].clone();
    if schema.is_null() {
        return;
    }
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let faults: Vec<String> = validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(faults.is_empty(), "{method} {template}: {faults:#?}\n{body:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_an_act_is_as_the_document_says() {
    let Some(document) = document() else { return };
    let (sim, client) = start().await;
    let (path, mut config) = client.first().await;
    config["image"] = json!(image("8"));
    let made = client.post(&format!("/v1/apps/{SHOP}/machines"), json!({"config": config, "skip_launch": true})).await;
    judge(&document, "post", "/apps/{app_name}/machines", made.status, &made.body);
    let made = text(&made.body["id"]);
    let all = "/apps/{app_name}/machines/{machine_id}";
    let nonce = client.post(&format!("{path}/lease?ttl=600"), Value::Null).await;
    judge(&document, "post", &format!("{all}/lease"), nonce.status, &nonce.body);
    let nonce = text(&nonce.body["data"]["nonce"]);
    for (method, rest, body) in [
        ("POST", "", json!({"config": config})),
        ("GET", "/wait?state=started&timeout=30", Value::Null),
        ("GET", "/lease", Value::Null),
        ("POST", "/restart", json!({})),
        ("GET", "/events?limit=50", Value::Null),
        ("POST", "/suspend", Value::Null),
        ("POST", "/start", Value::Null),
        ("POST", "/cordon", Value::Null),
        ("POST", "/uncordon", Value::Null),
        ("POST", "/signal", json!({"signal": "SIGHUP"})),
        ("POST", "/metadata/{key}", json!({"value": "x"})),
        ("PATCH", "/metadata", json!({"metadata": {"x": "y"}})),
        ("DELETE", "/metadata/{key}", Value::Null),
        ("POST", "/stop", json!({"signal": "SIGTERM", "timeout": "10s"})),
        ("POST", "", json!({"config": {}})),
        ("GET", "", Value::Null),
        ("DELETE", "/lease", Value::Null),
    ] {
        let answer = client.send(method, &format!("{path}{rest}"), body, Some(&nonce)).await.expect("an answer");
        let template = format!("{all}{}", rest.split('?').next().unwrap_or_default());
        judge(&document, &method.to_lowercase(), &template, answer.status, &answer.body);
        settle(&sim).await;
    }
    let gone = client.call("DELETE", &format!("/v1/apps/{SHOP}/machines/{made}"), Value::Null).await;
    judge(&document, "delete", all, gone.status, &gone.body);
    let refused = client.get(&format!("{path}/wait?state=destroyed&timeout=0")).await;
    assert_eq!(refused.status, 408);
    let schema = json!({"$ref": "#/components/schemas/ErrorResponse", "components": document["components"]});
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(validator.is_valid(&refused.body), "{}", refused.body);
    sim.shutdown().await.expect("it stops");
}
