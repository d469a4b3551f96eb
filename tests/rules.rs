//! Shipped rules (errors, slow, out of memory, memory) with short spans, in the real program, over a real Prometheus that scrapes the local Fly's machines and proxy:
//! each fires no sooner than its `for`, goes on over a kill -9 and over a Prometheus that is away, and is over when all is well.
//!
//! Debian's `prometheus`; skipped where it is not installed, an error in the gate.

#[path = "support/killed.rs"]
#[allow(dead_code, reason = "these deaths are no dice")]
mod killed;
#[path = "support/on_fly.rs"]
mod on_fly;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use killed::{Bot, WITHIN, free_port};
use serde_json::{Value, json};
use watchbell::domain::policy::SHIPPED;
use watchbell::sim::{discord, fly};

const APP: &str = "shop";
/// The longest `for` of these rules; the others wait five seconds.
const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_secs(5);
/// Until something is seen: its `for`, the window that it is counted over, a look, a scrape, and a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
const THERE: &str = r#"{
    "org": "lighthouse",
    "tokens": [{"token": "local-look", "kind": "readonly"}],
    "apps": [{
        "name": "shop",
        "visitors_per_minute": 600,
        "machines": [{"region": "iad"}, {"region": "ord"}],
        "volumes": [{"name": "data", "region": "iad", "size_gb": 1}],
        "releases": [{"version": 1, "image": "registry.fly.io/shop:deployment-1"}]
    }],
    "settings": {"boot_ms": 60, "healthy_ms": 100, "check_every_ms": 50, "rate_limits": false}
}"#;

/// The shipped rules, each with a `for` of five seconds, memory with fifteen, counted over ten and looked at each second.
fn policy() -> String {
    let mut table: toml::Table = SHIPPED.parse().expect("a table");
    let alerts = table.get_mut("alerts").and_then(toml::Value::as_table_mut).expect("it has them");
    alerts.insert("rules_every".to_owned(), "1s".into());
    alerts.insert("wait".to_owned(), "0s".into());
    for rule in alerts.get_mut("rules").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        let rule = rule.as_table_mut().expect("a rule");
        let is_memory = rule["name"].as_str() == Some("memory");
        if rule.contains_key("for") {
            rule.insert("for".to_owned(), if is_memory { "15s" } else { "5s" }.into());
        }
        if rule.contains_key("figure") || rule.contains_key("machines") {
            rule.insert("over".to_owned(), "10s".into());
        }
    }
    toml::to_string(&table).expect("a text")
}

/// Prometheus behind the organisation's path, as Fly has it; ends with the test.
struct Scraping(Child);

impl Drop for Scraping {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn scraping(folder: &Path, port: u16, fly: &fly::Handle) -> Scraping {
    let target = fly.api_url().trim_start_matches("http://").to_owned();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: fly\n  metrics_path: /sim/metrics\n  honor_labels: true\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).expect("its configuration");
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--web.external-url=http://127.0.0.1:{port}/lighthouse"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Prometheus starts");
    Scraping(child)
}

/// The card of an alert, as it stands.
fn card(discord: &discord::Handle, name: &str) -> Option<String> {
    let channel = discord.channel_id("incidents").expect("the channel").to_string();
    let messages = discord.channel(&channel, None).unwrap_or_default();
    let title = format!("shop: {name}");
    let of: Vec<String> = { messages.iter() }
        .filter(|message| message["embeds"][0]["title"].as_str().is_some_and(|text| text.ends_with(&title)))
        .map(ToString::to_string)
        .collect();
    assert!(of.len() < 2, "{name} has more than one card: {of:#?}");
    of.into_iter().next()
}

fn fires(discord: &discord::Handle, name: &str) -> bool {
    card(discord, name).is_some_and(|card| card.contains("Firing"))
}

fn is_over(discord: &discord::Handle, name: &str) -> bool {
    card(discord, name).is_some_and(|card| card.contains("Over since"))
}

/// Waits until it holds; how long that took since `began`.
async fn until(what: &str, bot: &Bot, began: Instant, holds: impl Fn() -> bool) -> Duration {
    while !holds() {
        assert!(began.elapsed() < SEEN_WITHIN, "{what}; the bot's log ends:\n{}", bot.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    began.elapsed()
}

/// The shipped rule is beyond as soon as Prometheus has it in its window, and fires no sooner than its `for` after that.
fn no_sooner(what: &str, took: Duration, lasts: Duration) {
    println!("{what}: fired after {:.1} s, its for is {} s", took.as_secs_f64(), lasts.as_secs());
    assert!(took >= lasts, "{what} fired after {took:?}, sooner than its for");
}

async fn behave(fly: &fly::Handle, behaviour: Value) {
    let mut body = json!({"app": APP});
    body.as_object_mut().expect("an object").extend(behaviour.as_object().cloned().unwrap_or_default());
    fly.act("behaviour", &body).expect("it is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_rules_fire_and_are_over_with_a_real_prometheus() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        assert!(std::env::var_os("WATCHBELL_CI").is_none(), "prometheus is not installed");
        println!("skipped: prometheus is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let discord = discord::start(discord::Options::new(on_fly::unpaced_guild())).await.expect("the local Discord");
    let there = fly::Workspace::from_json(THERE).expect("a workspace");
    let fly = fly::start(fly::Options::new(there)).await.expect("the local Fly");
    assert!(fly.settled(WITHIN).await, "the machines are up");
    let (private, prom) = (free_port(), free_port());
    let prometheus = scraping(folder.path(), prom, &fly);
    let of_fly = format!("prometheus_url = \"http://127.0.0.1:{prom}\"");
    let ports = format!("[http]\nprivate_bind = \"127.0.0.1:{private}\"");
    let text = on_fly::setup(folder.path(), &discord, &fly, &of_fly, &ports);
    std::fs::write(folder.path().join("watchbell.toml"), text).expect("it is written");
    std::fs::write(folder.path().join("policy.toml"), policy()).expect("it is written");
    let env = vec![("DISCORD_TOKEN", discord.bot_token()), ("FLY_READ_TOKEN", "local-look".to_owned())];
    let mut bot = Bot::new(folder.path(), private, env);
    bot.start();
    bot.wait_up().await;
    let live = discord.run("mia", "incidents", "watchbell live", json!({})).await.expect("the command is known");
    discord.interaction(&live, WITHIN).await.expect("it is answered");

    // All is well: it is seen, and nothing fires.
    let rules = || async {
        let asked = discord.run("ana", "incidents", "alerts rules", json!({})).await.expect("the command is known");
        discord.interaction(&asked, WITHIN).await.expect("it is answered").to_string()
    };
    let began = Instant::now();
    loop {
        let said = rules().await;
        if said.matches("✓ **").count() >= 9 {
            break;
        }
        assert!(began.elapsed() < SEEN_WITHIN, "not every rule sees something: {said}\n{}", bot.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for name in ["errors", "slow", "memory", "crashes", "hardware", "volume"] {
        assert!(card(&discord, name).is_none(), "{name} fires and all is well");
    }

    // Every answer is an error.
    let began = Instant::now();
    behave(&fly, json!({"behaviour": "wrong"})).await;
    no_sooner("errors", until("errors fire", &bot, began, || fires(&discord, "errors")).await, SHORT);
    behave(&fly, json!({"behaviour": "healthy"})).await;
    let began = Instant::now();
    let took = until("errors are over", &bot, began, || is_over(&discord, "errors")).await;
    println!("errors: over after {:.1} s, counted over 10 s", took.as_secs_f64());

    // Answers take 1.2 s: slow is critical.
    let began = Instant::now();
    behave(&fly, json!({"behaviour": "slow", "slow_ms": 1_200})).await;
    no_sooner("slow", until("slow fires", &bot, began, || fires(&discord, "slow")).await, SHORT);
    behave(&fly, json!({"behaviour": "healthy"})).await;

    // Killed for want of memory.
    let began = Instant::now();
    fly.act("oom", &json!({"app": APP, "machine": 1})).expect("it is done");
    let took = until("out of memory fires", &bot, began, || fires(&discord, "out of memory")).await;
    println!("out of memory: fired after {:.1} s, at once", took.as_secs_f64());

    // Memory fills, and the bot dies in the middle of the fifteen seconds.
    let began = Instant::now();
    fly.act("memory", &json!({"app": APP, "used": 0.93})).expect("it is done");
    tokio::time::sleep(LONG * 4 / 5).await;
    assert!(card(&discord, "memory").is_none(), "memory fires before its for");
    bot.kill().await;
    bot.start();
    bot.wait_up().await;
    let back = began.elapsed();
    let took = until("memory fires", &bot, began, || fires(&discord, "memory")).await;
    no_sooner("memory, over a kill -9", took, LONG);
    // Counted anew it could not have fired so soon after the bot was back.
    assert!(took < back + LONG / 2, "memory fired {took:?} after it filled: it was counted anew after the kill");

    // Prometheus is away, and comes back to a world that is well: no data resolves nothing.
    drop(prometheus);
    tokio::time::sleep(SHORT).await;
    assert!(rules().await.contains("no data since"), "{}", rules().await);
    assert!(fires(&discord, "memory"), "no data resolved it");
    fly.act("memory", &json!({"app": APP, "used": 0.4})).expect("it is done");
    let _prometheus = scraping(folder.path(), prom, &fly);
    let began = Instant::now();
    let took = until("memory is over", &bot, began, || is_over(&discord, "memory")).await;
    println!("memory: over {:.1} s after Prometheus was started again", took.as_secs_f64());
    until("slow is over", &bot, began, || is_over(&discord, "slow")).await;
    until("out of memory is over", &bot, began, || is_over(&discord, "out of memory")).await;
    bot.kill().await;
    drop(fly.shutdown().await);
}
