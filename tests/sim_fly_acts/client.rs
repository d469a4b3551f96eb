//! A client that knows addresses and nothing else, and the small Fly that it talks to.

use std::time::Duration;

use serde_json::{Value, json};
use watchbell::sim::fly::{self, Handle, Options, TokenKind, Workspace};

/// How long anything may take here before the test says that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const SHOP: &str = "shop";
pub const OTHER: &str = "other";

pub struct Client {
    pub http: reqwest::Client,
    base: String,
    authorization: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<String>,
}

impl Answer {
    /// The words of a refusal.
    pub fn words(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

impl Client {
    pub fn of(sim: &Handle, kind: TokenKind, app: Option<&str>) -> Client {
        let token = sim.token(kind, app).expect("the workspace has such a token");
        Client { http: reqwest::Client::new(), base: sim.api_url(), authorization: format!("Bearer {token}") }
    }

    pub async fn send(&self, method: &str, path: &str, body: Value, nonce: Option<&str>) -> reqwest::Result<Answer> {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base)).timeout(PATIENCE);
        request = request.header("Authorization", &self.authorization);
        if let Some(nonce) = nonce {
            request = request.header("fly-machine-lease-nonce", nonce);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(Answer { status, body: response.json().await.unwrap_or(Value::Null), retry_after })
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, body, None).await.expect("an answer")
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    /// The body of an answer that is to be 200.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// The machines of an app.
    pub async fn machines(&self, app: &str) -> Vec<Value> {
        self.read(&format!("/v1/apps/{app}/machines")).await.as_array().cloned().expect("a list")
    }

    /// Where the first machine of the shop is, and its configuration.
    pub async fn first(&self) -> (String, Value) {
        let machine = self.machines(SHOP).await.swap_remove(0);
        (format!("/v1/apps/{SHOP}/machines/{}", text(&machine["id"])), machine["config"].clone())
    }

    /// Gives the first machine another image, and waits until nothing is on its way any more; where it is.
    pub async fn deploy(&self, sim: &Handle, image: &str) -> String {
        let (path, mut config) = self.first().await;
        config["image"] = json!(image);
        let answer = self.post(&path, json!({"config": config})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        settle(sim).await;
        path
    }

    pub async fn graphql(&self, query: &str, variables: Value) -> Value {
        self.post("/graphql", json!({"query": query, "variables": variables})).await.body
    }
}

/// Two apps of two and one machines, quick, without limits.
pub fn quick() -> Workspace {
    let text = json!({
        "org": "acme",
        "tokens": [
            {"token": "fm2_read", "kind": "readonly"}, {"token": "fm2_org", "kind": "org"},
            {"token": "fm2_shop", "kind": "deploy", "app": SHOP}, {"token": "fm2_other", "kind": "deploy", "app": OTHER},
        ],
        "settings": {
            "boot_ms": 5, "stop_ms": 5, "run_ms": 5, "check_every_ms": 20, "check_timeout_ms": 2_000,
            "rate_limits": false,
        },
        "apps": [
            {
                "name": SHOP, "machines": [{"region": "ord"}, {"region": "iad"}],
                "releases": [
                    {"version": 6, "image": image("6"), "minutes_ago": 60},
                    {"version": 7, "image": image("7"), "minutes_ago": 30},
                ],
                "volumes": [{"name": "data", "region": "iad", "size_gb": 1}],
            },
            {"name": OTHER, "machines": [{"region": "ord"}]},
        ],
    });
    Workspace::from_json(&text.to_string()).expect("it reads")
}

/// A client that may act on the shop, and the Fly it acts on.
pub async fn start() -> (Handle, Client) {
    let sim = fly::start(Options::new(quick())).await.expect("free ports");
    settle(&sim).await;
    let client = Client::of(&sim, TokenKind::Deploy, Some(SHOP));
    (sim, client)
}

pub async fn settle(sim: &Handle) {
    assert!(sim.settled(PATIENCE).await, "{:#}", sim.state());
}

/// A build of the shop.
pub fn image(word: &str) -> String {
    format!("registry.fly.io/{SHOP}:deployment-{word}")
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Status and body as the world gets them.
pub async fn probe(sim: &Handle, app: &str, path: &str) -> (u16, Value) {
    let url = format!("{}{path}", sim.front_url(app).expect("the app"));
    let response = reqwest::Client::new().get(url).timeout(PATIENCE).send().await.expect("the front answers");
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

/// The exits of a machine, newest first: the `request` of each.
pub fn exits(machine: &Value) -> Vec<Value> {
    let events = machine["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["type"] == "exit").map(|event| event["request"].clone()).collect()
}

/// Asks again and again until the answer has that status.
pub async fn until(client: &Client, path: &str, status: u16) {
    let asking = async { while client.get(path).await.status != status {} };
    tokio::time::timeout(PATIENCE, asking).await.expect("it comes to that");
}
