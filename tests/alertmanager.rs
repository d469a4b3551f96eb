//! A real Alertmanager, pointed at the real program: storms, deaths in the middle of them, recoveries. What it was answered 200 for
//! stands on one card in the local Discord, at Discord's own pace, and nothing stands twice. Its own Discord receiver gets the
//! same storm beside it, at a stand-in with a webhook's pace; its figures are printed, and nothing of them is asserted.
//!
//! Debian's `prometheus-alertmanager`; skipped where it is not installed, an error in the gate.

#[path = "support/killed.rs"]
#[allow(dead_code, reason = "these deaths are no dice")]
mod killed;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::TimeDelta;
use killed::{Bot, WITHIN, free_port};
use serde_json::{Value, json};
use watchbell::adapters::clock::SystemClock;
use watchbell::ports::Clock as _;
use watchbell::sim::discord::{self, ChannelSeed, MemberSeed, RoleSeed, Workspace};

/// Groups that begin to fire at once.
const GROUPS: usize = 40;
/// Alerts of one group.
const ALERTS: usize = 500;
/// How long a storm may take until all of it stands.
const STANDS_WITHIN: Duration = Duration::from_secs(120);
/// What Alertmanager shows at the hook.
const SECRET: &str = "what-alertmanager-shows-at-the-hook";

fn workspace() -> Workspace {
    let channel = |name: &str| ChannelSeed { name: name.to_owned(), ..ChannelSeed::default() };
    let role = |name: &str| RoleSeed { name: name.to_owned(), mentionable: true, ..RoleSeed::default() };
    let member = |name: &str, role: &str| MemberSeed {
        username: name.to_owned(),
        display_name: name.to_owned(),
        roles: vec![role.to_owned()],
        ..MemberSeed::default()
    };
    let mut workspace = Workspace::example();
    workspace.channels = ["incidents", "incidents-test"].map(channel).to_vec();
    workspace.roles = ["responder", "engineer", "reliability", "manager"].map(role).to_vec();
    workspace.members = vec![member("ana", "reliability"), member("mia", "manager")];
    // Without Discord's own memory of nonces, only reading the channel back keeps a message from being made twice.
    workspace.settings.nonce_window_ms = 0;
    workspace
}

fn setup(folder: &Path, discord: &discord::Handle, private: u16, public: u16) -> String {
    format!(
        r#"
[team]
name = "lighthouse"
zone = "America/Chicago"
[discord]
guild = "{guild}"
api_url = "{api}"
[channels]
incidents = "incidents"
test = "incidents-test"
[fly]
org = "lighthouse"
[http]
private_bind = "127.0.0.1:{private}"
public_bind = "127.0.0.1:{public}"
[state]
dir = "{state}"
[[hooks]]
name = "am"
format = "alertmanager"
[[people]]
name = "ana"
chat = "discord:{ana}"
roles = ["reliability"]
"#,
        guild = discord.guild_id(),
        api = discord.base_url(),
        state = folder.join("state").display(),
        ana = discord.member_id("ana").expect("a member"),
    )
}

/// Alertmanager, as its documents have its configuration.
fn alertmanager(folder: &Path, port: u16, hook: &str, webhook: &str) -> Child {
    let file = folder.join("alertmanager.yml");
    let text = format!(
        r#"
route:
  receiver: bot
  group_by: [alertname]
  group_wait: 0s
  group_interval: 2s
  repeat_interval: 1h
  routes:
    - receiver: bot
      continue: true
    - receiver: its-own
      group_interval: 5m
receivers:
  - name: bot
    webhook_configs:
      - url: {hook}
        http_config:
          authorization:
            credentials: {SECRET}
  - name: its-own
    discord_configs:
      - webhook_url: {webhook}
"#
    );
    std::fs::write(&file, text).expect("it is written");
    let log = std::fs::File::create(folder.join("alertmanager.log")).expect("a file for the log");
    Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("Alertmanager starts")
}

/// Ends with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// What a Discord webhook lets through: five in two seconds, descriptions of 4,096 characters.
struct Meter {
    window: Instant,
    used: u32,
    taken: Vec<String>,
    too_many: u32,
    too_long: u32,
}

async fn metered(State(meter): State<Arc<Mutex<Meter>>>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut meter = meter.lock().expect("no panic");
    if meter.window.elapsed() >= Duration::from_secs(2) {
        (meter.window, meter.used) = (Instant::now(), 0);
    }
    if meter.used >= 5 {
        meter.too_many += 1;
        return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"retry_after": 2.0})));
    }
    meter.used += 1;
    let description = body["embeds"][0]["description"].as_str().unwrap_or_default();
    if description.chars().count() > 4_096 {
        meter.too_long += 1;
        return (StatusCode::BAD_REQUEST, Json(json!({"embeds": ["0"]})));
    }
    meter.taken.push(body["embeds"][0]["title"].as_str().unwrap_or_default().to_owned());
    (StatusCode::NO_CONTENT, Json(Value::Null))
}

fn group(n: usize) -> String {
    format!("Storm{n:02}")
}

fn alert(name: &str, instance: &str, over: bool) -> Value {
    let now = SystemClock::default().now();
    let ends = if over { now - TimeDelta::seconds(1) } else { now + TimeDelta::hours(2) };
    json!({
        "labels": {"alertname": name, "instance": instance, "severity": "critical"},
        "annotations": {"summary": format!("{name} on {instance}")},
        "startsAt": (now - TimeDelta::minutes(1)).to_rfc3339(),
        "endsAt": ends.to_rfc3339(),
    })
}

fn many(over: bool) -> Vec<Value> {
    (0..GROUPS).map(|n| alert(&group(n), &format!("host-{n:02}"), over)).collect()
}

fn large(over: bool) -> Vec<Value> {
    (0..ALERTS).map(|n| alert("Large", &format!("node-{n:03}"), over)).collect()
}

async fn post(http: &reqwest::Client, port: u16, alerts: &[Value]) {
    let url = format!("http://127.0.0.1:{port}/api/v2/alerts");
    let answer = http.post(url).json(&alerts).send().await.expect("Alertmanager answers");
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// Everything that stands in the channel, each message with the files that hang on it, by its number.
async fn standing(http: &reqwest::Client, discord: &discord::Handle) -> BTreeMap<String, String> {
    let channel = discord.channel_id("incidents").expect("the channel").to_string();
    let mut all = BTreeMap::new();
    for message in discord.channel(&channel, None).unwrap_or_default() {
        let mut words = format!("{}\n{}", message["content"].as_str().unwrap_or_default(), message["embeds"]);
        for file in message["attachments"].as_array().into_iter().flatten() {
            let url = file["url"].as_str().unwrap_or_default();
            let text = http.get(url).send().await.expect("the file").text().await.expect("a text");
            words.push_str(&text);
        }
        all.insert(message["id"].as_str().unwrap_or_default().to_owned(), words);
    }
    all
}

/// How many cards tell of a word. A line that only calls people to a card is none.
fn cards_with(standing: &BTreeMap<String, String>, word: &str) -> usize {
    standing
        .values()
        .filter(|words| words.contains("from am") || words.contains("from storm"))
        .filter(|words| words.contains(word))
        .count()
}

/// Waits until it holds of what stands. How long that took.
async fn until(
    what: &str,
    http: &reqwest::Client,
    discord: &discord::Handle,
    holds: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Duration {
    let began = Instant::now();
    loop {
        let standing = standing(http, discord).await;
        if holds(&standing) {
            return began.elapsed();
        }
        let all: Vec<&str> = standing.values().map(|words| words.get(..200).unwrap_or(words)).collect();
        assert!(began.elapsed() < STANDS_WITHIN, "{what}: {all:#?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn say(discord: &discord::Handle, who: &str, command: &str, options: Value) -> Value {
    let id = discord.run(who, "incidents", command, options).await.expect("the command is known");
    discord.interaction(&id, WITHIN).await.expect("it is answered")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_a_real_alertmanager_stands_once_whatever_dies() {
    if Command::new("prometheus-alertmanager").arg("--version").output().is_err() {
        assert!(std::env::var_os("WATCHBELL_CI").is_none(), "prometheus-alertmanager is not installed");
        println!("skipped: prometheus-alertmanager is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let discord = discord::start(discord::Options::new(workspace())).await.expect("the local Discord");
    let (private, public, am) = (free_port(), free_port(), free_port());
    let text = setup(folder.path(), &discord, private, public);
    std::fs::write(folder.path().join("watchbell.toml"), text).expect("it is written");
    let env = vec![("DISCORD_TOKEN", discord.bot_token()), ("WATCHBELL_HOOK_AM_SECRET", SECRET.to_owned())];
    let mut bot = Bot::new(folder.path(), private, env);
    bot.start();
    bot.wait_up().await;
    say(&discord, "mia", "watchbell live", json!({})).await;

    let meter = Meter { window: Instant::now(), used: 0, taken: Vec::new(), too_many: 0, too_long: 0 };
    let meter = Arc::new(Mutex::new(meter));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let webhook = format!("http://{}/webhook", listener.local_addr().expect("its address"));
    let routes = axum::Router::new().route("/webhook", axum::routing::post(metered)).with_state(Arc::clone(&meter));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let _alertmanager =
        Ended(alertmanager(folder.path(), am, &format!("http://127.0.0.1:{public}/hooks/am"), &webhook));
    let http = reqwest::Client::new();
    let began = Instant::now();
    while http.get(format!("http://127.0.0.1:{am}/-/ready")).send().await.is_err() {
        assert!(began.elapsed() < WITHIN, "Alertmanager does not come up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // Forty groups at once, and the bot dies in the middle of it.
    let began = Instant::now();
    post(&http, am, &many(false)).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    bot.kill().await;
    bot.start();
    bot.wait_up().await;
    let all_groups = |standing: &BTreeMap<String, String>| (0..GROUPS).all(|n| cards_with(standing, &group(n)) == 1);
    until("each group is on one card", &http, &discord, all_groups).await;
    let groups_took = began.elapsed();

    // The same again and again, as a Prometheus would: nothing comes of it. It dies in between.
    for round in 0..6 {
        post(&http, am, &many(false)).await;
        if round == 3 {
            bot.kill().await;
            bot.start();
            bot.wait_up().await;
        }
    }

    // Five hundred alerts in one group, and it dies again.
    let began = Instant::now();
    post(&http, am, &large(false)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    bot.kill().await;
    bot.start();
    bot.wait_up().await;
    let all_nodes =
        |standing: &BTreeMap<String, String>| (0..ALERTS).all(|n| cards_with(standing, &format!("node-{n:03}")) == 1);
    until("each of five hundred alerts is on one card", &http, &discord, all_nodes).await;
    let large_took = began.elapsed();
    let (theirs, refused, too_long) = {
        let meter = meter.lock().expect("no panic");
        (meter.taken.iter().filter(|title| title.contains("FIRING")).count(), meter.too_many, meter.too_long)
    };

    // Twenty silences, and it dies as soon as the last was answered.
    for n in 0..20 {
        let options = json!({"match": format!("alertname=Nothing{n}"), "for": "4h", "why": "a silence of the test"});
        say(&discord, "ana", "alerts silence", options).await;
    }
    bot.kill().await;
    bot.start();
    bot.wait_up().await;
    let silences = say(&discord, "ana", "alerts silences", json!({})).await.to_string();
    let outlived = (0..20).filter(|n| silences.contains(&format!("Nothing{n}"))).count();

    // All is well again, and it dies once more.
    let began = Instant::now();
    post(&http, am, &many(true)).await;
    post(&http, am, &large(true)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    bot.kill().await;
    bot.start();
    bot.wait_up().await;
    let over = |standing: &BTreeMap<String, String>| {
        let cards = standing.values().filter(|words| words.contains("from am") || words.contains("from storm"));
        cards.clone().count() > 0 && { cards }.all(|words| words.contains("Over since"))
    };
    until("every card says that it is over", &http, &discord, over).await;
    let over_took = began.elapsed();
    let standing = standing(&http, &discord).await;
    let twice: Vec<usize> = (0..GROUPS).filter(|n| cards_with(&standing, &group(*n)) != 1).collect();
    let counters = discord.counters();
    println!(
        "ours: {GROUPS} of {GROUPS} groups on one card each after {} s, {ALERTS} of {ALERTS} alerts of one group after {} s, \
         all recoveries after {} s, {outlived} of 20 silences after kill -9, {} answers 429 of Discord, doubled {}",
        groups_took.as_secs(),
        large_took.as_secs(),
        over_took.as_secs(),
        counters["rate_limited"],
        counters["doubled"],
    );
    println!(
        "Alertmanager's own Discord receiver, by then: {theirs} messages about {} groups, {refused} answered 429 and dropped, \
         {too_long} refused as too long",
        GROUPS + 1
    );
    assert_eq!(twice, Vec::<usize>::new(), "each group is on one card");
    assert_eq!(outlived, 20, "{silences}");
    assert_eq!((&counters["rate_limited"], &counters["doubled"]), (&json!(0), &json!(0)), "{counters}");
    discord.shutdown().await;
}
