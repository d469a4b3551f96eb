//! Every request that the bot sends is one that the vendor's own document knows: method, path, query and body.
//!
//! Plays transcripts on the wire and holds what the stand-ins heard against Discord's and Fly's OpenAPI documents, which are looked
//! for in the folder that `WATCHBELL_SHARED` names, else in `../shared`. Without them it says so and passes.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};
use support::wire::Wire;

/// Transcripts that together make the bot send whatever it can send.
const PLAYED: [&str; 10] = [
    "a-dead-service.md",
    "about-itself.md",
    "by-hand.md",
    "cancel-and-reopen.md",
    "every-change.md",
    "restart-with-overdue-promises.md",
    "rollback.md",
    "strange-words.md",
    "the-lead-goes-silent.md",
    "waking-others.md",
];

/// Discord's document.
const DISCORD: &str = "discord/openapi.json";
/// Fly's, of its Machines API, with what its own clients send and the published one refuses, and without room for what nobody sends.
const FLY: &str = "fly/openapi.strict.json";

/// The one that is played with a local Fly behind a service.
const WITH_FLY: &str = "about-itself.md";

/// A vendor's document, and the schemas that were built from it.
struct Document {
    text: Value,
    validators: BTreeMap<String, Validator>,
}

impl Document {
    /// A vendor's document; none when it is not there.
    fn read(file: &str) -> Option<Self> {
        let file = shared().join(file);
        let text = std::fs::read_to_string(file).ok()?;
        Some(Self { text: serde_json::from_str(&text).expect("a document is JSON"), validators: BTreeMap::new() })
    }

    /// Why a request is none that the document knows.
    fn refuse(&mut self, request: &Value) -> Result<(), String> {
        let word = |key: &str| request[key].as_str().unwrap_or_default();
        let (template, method) = (word("template"), word("method").to_lowercase());
        let operation = self.text["paths"]
            .get(template)
            .and_then(|path| path.get(&method))
            .ok_or_else(|| format!("the document has no {method} {template}"))?
            .clone();
        self.query(word("query"), &operation)?;
        let Some(body) = request.get("body") else { return Ok(()) };
        let schema = operation
            .pointer("/requestBody/content/application~1json/schema")
            .ok_or_else(|| format!("{method} {template} takes no body"))?;
        self.validate(schema, &tolerated(body))
    }

    fn query(&mut self, query: &str, operation: &Value) -> Result<(), String> {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let known = parameters.iter().find(|one| one["in"] == "query" && one["name"] == name);
            let known = known.ok_or_else(|| format!("there is no query parameter {name}"))?;
            let value = match known["schema"]["type"].as_str() {
                Some("integer") => value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number)),
                Some("array") => json!(value.split(',').collect::<Vec<_>>()),
                Some("boolean") => value.parse::<bool>().map_or_else(|_| json!(value), |flag| json!(flag)),
                _ => json!(value),
            };
            self.validate(&known["schema"], &value)?;
        }
        Ok(())
    }

    fn validate(&mut self, schema: &Value, value: &Value) -> Result<(), String> {
        let key = schema.to_string();
        if !self.validators.contains_key(&key) {
            let root = json!({"components": self.text["components"], "allOf": [schema]});
            let validator = jsonschema::validator_for(&root).map_err(|error| format!("the schema: {error}"))?;
            self.validators.insert(key.clone(), validator);
        }
        let wrong: Vec<String> = self.validators[&key]
            .iter_errors(value)
            .take(3)
            .map(|error| {
                format!("{} at {}", error.to_string().chars().take(300).collect::<String>(), error.instance_path)
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("WATCHBELL_SHARED").map_or_else(beside, PathBuf::from)
}

/// The body without two quirks of Discord's document: its API takes an attachment's id as a number and permissions as a string,
/// and says so elsewhere in the same documentation.
fn tolerated(body: &Value) -> Value {
    let mut body = body.clone();
    for place in ["/attachments", "/data/attachments"] {
        for file in body.pointer_mut(place).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(id) = file["id"].as_u64() {
                file["id"] = json!(id.to_string());
            }
        }
    }
    for command in body.as_array_mut().into_iter().flatten() {
        let permissions =
            command.get("default_member_permissions").and_then(Value::as_str).and_then(|bits| bits.parse::<u64>().ok());
        if let Some(bits) = permissions {
            command["default_member_permissions"] = json!(bits);
        }
    }
    body
}

/// Whether Fly has published a document for it: releases and GraphQL have none that says what a request must be.
fn is_described(request: &Value) -> bool {
    request["door"] == "machines"
}

/// Plays the transcripts and gives what Discord and Fly heard.
fn play() -> (Vec<Value>, Vec<Value>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let (mut discord, mut fly) = (Vec::new(), Vec::new());
    for name in PLAYED {
        let text = std::fs::read_to_string(folder.join(name)).expect("a transcript");
        let world = Wire::new(None);
        // Whoever asks Fly at every turn is slowed down by Fly's own limits; once is enough.
        let world = if name == WITH_FLY { world.and_then(|world| world.with_fly(None)) } else { world };
        let mut world = world.expect("a world");
        // What is said is compared elsewhere, and differs here where machines are seen.
        support::script::play(&text, &mut world, "wire").unwrap_or_else(|why| panic!("{name}: {why}"));
        discord.extend(world.discord().requests(0));
        fly.extend(world.fly().map_or_else(Vec::new, |fly| fly.requests(0, usize::MAX).0));
    }
    fly.retain(is_described);
    (discord, fly)
}

/// What the bot sent to a vendor's stand-ins in a whole run of the tests, as far as it left that in a folder. What the tests of the
/// stand-ins themselves send is not the bot's and is left out.
fn left_behind(folder: &Path, vendor: &str) -> Vec<Value> {
    let is_ours = |request: &Value| {
        let agent = request["agent"].as_str().unwrap_or_default();
        agent.starts_with("DiscordBot") || agent.starts_with("watchbell/")
    };
    let files =
        std::fs::read_dir(folder).expect("the folder of requests").filter_map(Result::ok).map(|entry| entry.path());
    let mut found = Vec::new();
    for file in files.filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(vendor))) {
        let text = std::fs::read_to_string(file).expect("a record of requests");
        let requests = text.lines().map(|line| serde_json::from_str(line).expect("a request on a line"));
        found.extend(requests.filter(is_ours));
    }
    found
}

/// The rest of a run goes before this one: `.ci/run` names the folder for all tests and then asks for this.
#[test]
#[ignore = "needs the requests of a whole run: WATCHBELL_REQUESTS=FOLDER cargo test, then this"]
fn every_request_of_a_whole_run_is_one_that_the_vendors_document_knows() {
    let (Some(mut discord), Some(mut fly)) = (Document::read(DISCORD), Document::read(FLY)) else {
        println!("skipped: no vendor documents");
        return;
    };
    let folder = std::env::var_os("WATCHBELL_REQUESTS").expect("WATCHBELL_REQUESTS names the folder");
    check("Discord", &left_behind(Path::new(&folder), "discord"), &mut discord);
    let mut to_fly = left_behind(Path::new(&folder), "fly");
    to_fly.retain(is_described);
    check("Fly", &to_fly, &mut fly);
}

fn check(vendor: &str, requests: &[Value], document: &mut Document) {
    let mut wrong = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for request in requests {
        kinds.insert(format!("{} {}", request["method"], request["template"]).replace('"', ""));
        if let Err(why) = document.refuse(request) {
            wrong.insert(format!("{} {}: {why}", request["method"], request["template"]));
        }
    }
    println!(
        "{vendor}: {} requests of {} kinds:\n  {}",
        requests.len(),
        kinds.len(),
        Vec::from_iter(kinds).join("\n  ")
    );
    assert!(wrong.is_empty(), "{vendor}'s document does not know these:\n{}", Vec::from_iter(wrong).join("\n"));
    assert!(!requests.is_empty(), "{vendor} heard nothing");
}

#[test]
fn every_request_is_one_that_the_vendors_document_knows() {
    let (Some(mut discord), Some(mut fly)) = (Document::read(DISCORD), Document::read(FLY)) else {
        println!("skipped: no vendor documents");
        return;
    };
    let (to_discord, to_fly) = play();
    check("Discord", &to_discord, &mut discord);
    check("Fly", &to_fly, &mut fly);

    // The check can fail: what Discord would refuse is refused here.
    let post = |body: Value| json!({"method": "POST", "template": "/channels/{channel_id}/messages", "body": body});
    for (why, body) in [
        ("a field that is too long", json!({"embeds": [{"fields": [{"name": "a", "value": "x".repeat(1_025)}]}]})),
        (
            "an action that is too long",
            json!({"components": [{"type": 1, "components": [
            {"type": 2, "style": 1, "label": "a", "custom_id": "x".repeat(101)}]}]}),
        ),
        ("a nonce that is too long", json!({"content": "a", "nonce": "x".repeat(26)})),
        ("a number for a text", json!({"content": 5})),
    ] {
        assert!(discord.refuse(&post(body)).is_err(), "{why} was let through");
    }
    let misspelt = json!({"method": "POST", "template": "/apps/{app_name}/machines/{machine_id}",
                          "body": {"config": {"image": "a"}, "curent_version": "1"}});
    assert!(fly.refuse(&misspelt).is_err(), "a field that Fly does not have was let through");
    let nowhere = json!({"method": "GET", "template": "/channels/{channel_id}/nothing"});
    assert!(discord.refuse(&nowhere).is_err(), "a path that is not there was let through");
    let unknown = json!({"method": "GET", "template": "/channels/{channel_id}/messages", "query": "limit=500"});
    assert!(discord.refuse(&unknown).is_err(), "a limit that is too high was let through");
}
