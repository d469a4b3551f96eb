//! A Fly of one app, small enough to be told what goes wrong: machines with leases and versions, and the release record.
//!
//! Written from the field notes and Fly's documents, over axum on loopback. It knows nothing of the client's types. Every request is
//! kept; what is scripted for an action is used up one by one, and after that it answers as Fly does.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Something that happens to the world.
pub type Happening = Arc<dyn Fn(&mut World) + Send + Sync>;

/// What happens instead of what Fly does.
#[derive(Clone)]
pub enum Twist {
    /// It answers this and does nothing.
    Answer(u16, Value),
    /// It does it, and the answer never comes.
    DoneAndLost,
    /// It does it, and something in between answers this.
    DoneAnd(u16, Value),
    /// Before it does it, this happens.
    First(Happening),
}

/// A request that was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    pub action: &'static str,
    pub line: String,
    pub nonce: Option<String>,
    pub authorization: String,
    pub body: Value,
}

#[derive(Default)]
pub struct World {
    pub machine: Value,
    /// Merged into the machine when it is updated.
    pub after_update: Value,
    pub lease: Option<(String, String)>,
    pub leases: u32,
    pub renewals: u32,
    pub versions: Vec<Value>,
    pub releases: Vec<Value>,
    pub definition: Value,
    pub twists: BTreeMap<&'static str, VecDeque<Twist>>,
    pub heard: Vec<Heard>,
    /// What a renewal does to the world.
    pub on_renewal: Option<Happening>,
}

#[derive(Clone, Default)]
pub struct Fake {
    world: Arc<Mutex<World>>,
}

impl Fake {
    /// One started machine with a passing check. Answers the address.
    pub async fn start() -> (Self, String) {
        let fake = Self::default();
        {
            let mut world = fake.world();
            world.machine = json!({
                "id": "m1", "name": "quiet-sea-1", "state": "started", "region": "ord", "instance_id": "01A", "host_status": "ok",
                "image_ref": {"registry": "registry.fly.io", "repository": "shop", "tag": "v1", "digest": "sha256:aa"},
                "config": {"image": "registry.fly.io/shop:v1", "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
                    "checks": {"http": {"port": 8080}}, "services": [{"autostop": true, "autostart": true}],
                    "newer_than_the_client": {"kept": true},
                    "metadata": {"fly_platform_version": "v2", "fly_process_group": "app", "fly_release_version": "1"}},
                "checks": [{"name": "http", "status": "passing", "output": "200"}],
                "events": [event("e1", "launch", 1000), event("e2", "start", 2000)],
            });
            world.versions = vec![json!({"version": "01A", "user_config": world.machine["config"]})];
            world.definition = json!({"app": "shop", "deploy": {"release_command": "bin/migrate"}});
            world.releases = vec![release("r1", 1, "complete", "registry.fly.io/shop:v1", "2026-01-01T00:00:00Z")];
        }
        let app = Router::new().fallback(serve).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (fake, base)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scripts what happens at the next requests of an action.
    pub fn twist(&self, action: &'static str, twists: impl IntoIterator<Item = Twist>) {
        self.world().twists.entry(action).or_default().extend(twists);
    }

    /// The actions heard so far, in order, without reads.
    pub fn acts(&self) -> Vec<&'static str> {
        let reads = ["get", "wait", "list"];
        let heard = self.world().heard.clone();
        heard.iter().map(|heard| heard.action).filter(|action| !reads.contains(action)).collect()
    }

    pub fn count(&self, action: &str) -> usize {
        self.world().heard.iter().filter(|heard| heard.action == action).count()
    }

    pub fn last(&self, action: &str) -> Heard {
        let heard = self.world().heard.iter().rfind(|heard| heard.action == action).cloned();
        heard.unwrap_or_else(|| panic!("no {action} was heard"))
    }
}

pub fn event(id: &str, kind: &str, at: i64) -> Value {
    json!({"id": id, "type": kind, "status": "", "source": "user", "timestamp": at})
}

pub fn exit(id: &str, at: i64, restarts: u32, how: Value) -> Value {
    json!({"id": id, "type": "exit", "source": "flyd", "timestamp": at,
           "request": {"restart_count": restarts, "exit_event": how}})
}

pub fn release(id: &str, version: u64, status: &str, image: &str, at: &str) -> Value {
    json!({"id": id, "version": version, "stable": status == "complete", "status": status, "image_ref": image,
           "user": "ana@example.com", "created_at": at, "strategy": "ROLLING"})
}

/// Lays the changes over a value, objects field by field.
pub fn merge(value: &mut Value, changes: &Value) {
    match (value, changes) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (_, Value::Null) => {}
        (value, changes) => *value = changes.clone(),
    }
}

async fn serve(State(fake): State<Fake>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let nonce = text("fly-machine-lease-nonce");
    let action = action(&method, uri.path(), nonce.is_some(), &body);
    let answer = {
        let mut world = fake.world();
        let authorization = text("authorization").unwrap_or_default();
        let line = format!("{method} {uri}");
        world.heard.push(Heard { action, line, nonce: nonce.clone(), authorization, body: body.clone() });
        match world.twists.get_mut(action).and_then(VecDeque::pop_front) {
            Some(Twist::Answer(status, body)) => Some((status, body)),
            Some(Twist::DoneAndLost) => {
                let _ = act(&mut world, action, uri.query().unwrap_or_default(), nonce.as_deref(), &body);
                None
            }
            Some(Twist::DoneAnd(status, said)) => {
                let _ = act(&mut world, action, uri.query().unwrap_or_default(), nonce.as_deref(), &body);
                Some((status, said))
            }
            Some(Twist::First(first)) => {
                first(&mut world);
                Some(act(&mut world, action, uri.query().unwrap_or_default(), nonce.as_deref(), &body))
            }
            None => Some(act(&mut world, action, uri.query().unwrap_or_default(), nonce.as_deref(), &body)),
        }
    };
    let Some((status, body)) = answer else { return pending().await };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    (StatusCode::from_u16(status).expect("a status"), [("fly-request-id", "01JREQ-ord")], body).into_response()
}

/// What a request is, in a word.
fn action(method: &Method, path: &str, leased: bool, body: &Value) -> &'static str {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let post = method == Method::POST;
    match parts.as_slice() {
        ["v1", "apps", "shop", "machines"] => "list",
        ["v1", "apps", "shop", "machines", "m1"] => {
            if post {
                "update"
            } else {
                "get"
            }
        }
        ["v1", "apps", "shop", "machines", "m1", "lease"] => match (method.as_str(), leased) {
            ("POST", false) => "lease",
            ("POST", true) => "renew",
            ("DELETE", _) => "give back",
            _ => "whose lease",
        },
        ["v1", "apps", "shop", "machines", "m1", "wait"] => "wait",
        ["v1", "apps", "shop", "machines", "m1", "versions"] => "versions",
        ["v1", "apps", "shop", "machines", "m1", "start"] => "start",
        ["v1", "apps", "shop", "machines", "m1", "stop"] => "stop",
        ["v1", "apps", "shop", "machines", "m1", "restart"] => "restart",
        ["v1", "apps", "shop", "secrets"] => "secrets",
        ["api", "v1", "apps", "shop", "releases"] => "rest list",
        ["api", "v1", "releases"] => "rest create",
        ["api", "v1", "releases", _] => "rest write",
        ["graphql"] => match body["query"].as_str().unwrap_or_default() {
            query if query.contains("createRelease") => "gql create",
            query if query.contains("updateRelease") => "gql write",
            query if query.contains("configDefinition") => "gql current",
            query if query.contains("metadata") => "gql marks",
            _ => "gql list",
        },
        _ => "unknown",
    }
}

fn act(world: &mut World, action: &str, query: &str, nonce: Option<&str>, body: &Value) -> (u16, Value) {
    // Under somebody else's lease nothing is changed.
    let held = world.lease.as_ref().map(|(nonce, _)| nonce.clone());
    if ["update", "start", "stop", "restart"].contains(&action) && held.is_some() && held.as_deref() != nonce {
        return (
            409,
            json!({"error": "machine ID m1 lease currently held by bob@example.com, expires at 2030-01-01T00:00:00Z"}),
        );
    }
    match action {
        "list" => (200, json!([world.machine])),
        "get" => (200, world.machine.clone()),
        "wait" => match query.contains(&format!("state={}", world.machine["state"].as_str().unwrap_or_default())) {
            true => (200, json!({"ok": true})),
            false => (408, json!({"error": "deadline_exceeded: machine failed to reach desired state"})),
        },
        "versions" => (200, json!(world.versions.iter().rev().collect::<Vec<_>>())),
        "lease" => {
            if let Some((_, by)) = &world.lease {
                let says = format!("machine ID m1 lease currently held by {by}, expires at 2030-01-01T00:00:00Z");
                return (409, json!({"status": "error", "message": says, "code": "lease_held"}));
            }
            world.leases += 1;
            let nonce = format!("nonce{}", world.leases);
            world.lease = Some((nonce.clone(), body["description"].as_str().unwrap_or_default().to_owned()));
            let data =
                json!({"nonce": nonce, "version": world.machine["instance_id"], "owner": "bot", "expires_at": 1});
            (201, json!({"status": "success", "data": data}))
        }
        "whose lease" => match &world.lease {
            Some((_, description)) => (200, json!({"status": "success", "data": {"description": description}})),
            None => (404, json!({"error": "lease not found"})),
        },
        "renew" => {
            if held.as_deref() != nonce {
                return (409, json!({"error": "machine ID m1 lease currently held by bob@example.com"}));
            }
            world.renewals += 1;
            if let Some(happens) = world.on_renewal.clone() {
                happens(world);
            }
            (200, json!({"status": "success", "data": {"nonce": nonce}}))
        }
        "give back" => {
            world.lease = None;
            (200, Value::Null)
        }
        "update" => {
            let now = world.machine["instance_id"].as_str().unwrap_or_default().to_owned();
            if body["current_version"] != json!(now) {
                return (409, json!({"error": "aborted: current version does not match"}));
            }
            let known = ["config", "current_version", "region", "skip_launch"];
            assert!(body.as_object().is_some_and(|fields| fields.keys().all(|key| known.contains(&key.as_str()))));
            let instance = format!("01{}", char::from(now.bytes().last().unwrap_or(b'A') + 1));
            world.machine["config"] = body["config"].clone();
            world.machine["instance_id"] = json!(instance);
            world.versions.push(json!({"version": instance, "user_config": body["config"]}));
            if body["skip_launch"] != json!(true) {
                world.machine["state"] = json!("started");
            }
            world.machine["events"] = json!([event("e9", "update", 9000)]);
            let changes = world.after_update.clone();
            merge(&mut world.machine, &changes);
            (200, world.machine.clone())
        }
        "start" | "restart" => {
            world.machine["state"] = json!("started");
            world.machine["events"] = json!([event("e8", "start", 8000), event("e2", "start", 2000)]);
            (200, json!({"previous_state": "stopped"}))
        }
        "stop" => {
            world.machine["state"] = json!("stopped");
            (200, json!({"ok": true}))
        }
        "secrets" => (
            200,
            json!({"secrets": [{"name": "KEY", "digest": "x", "created_at": "2026-01-02T00:00:00Z",
                                               "updated_at": "2026-02-03T00:00:00Z"}]}),
        ),
        "rest list" => (200, json!({"releases": world.releases.iter().rev().collect::<Vec<_>>()})),
        "rest create" | "gql create" => {
            let image = if action == "gql create" { &body["variables"]["input"]["image"] } else { &body["image"] };
            let version = world.releases.len() as u64 + 1;
            let id = format!("r{version}");
            let now = chrono::Utc::now().to_rfc3339();
            world.releases.push(release(&id, version, "pending", image.as_str().unwrap_or_default(), &now));
            let made = json!({"release": {"id": id, "version": version}});
            if action == "gql create" { (200, json!({"data": {"createRelease": made}})) } else { (201, made) }
        }
        "rest write" | "gql write" => {
            let input = if action == "gql write" { &body["variables"]["input"] } else { body };
            let newest = world.releases.last_mut().expect("a release");
            newest["status"] = input["status"].clone();
            newest["metadata"] = input["metadata"].clone();
            if action == "gql write" {
                (200, json!({"data": {"updateRelease": {"release": {"id": "r"}}}}))
            } else {
                (200, newest.clone())
            }
        }
        "gql current" => (
            200,
            json!({"data": {"app": {"id": "shop",
            "currentReleaseUnprocessed": {"id": "r1", "version": 1, "configDefinition": world.definition}, "secrets": []}}}),
        ),
        "gql marks" => {
            (200, json!({"data": {"app": {"releases": {"nodes": world.releases.iter().rev().collect::<Vec<_>>()}}}}))
        }
        "gql list" => {
            let node = |release: &Value| {
                json!({"id": release["id"], "version": release["version"], "status": release["status"],
                "imageRef": release["image_ref"], "createdAt": release["created_at"], "user": {"email": "ana@example.com"}})
            };
            let nodes: Vec<Value> = world.releases.iter().rev().map(node).collect();
            (200, json!({"data": {"app": {"releasesUnprocessed": {"nodes": nodes}}}}))
        }
        _ => (404, json!({"error": "no such path"})),
    }
}
