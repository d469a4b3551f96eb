//! How long a rollback takes: from the press of its button until every machine runs the earlier image and is well, and until the
//! bot has looked from outside and says so.
//!
//! `cargo bench --bench rollback [-- --machines N --healthy-ms N --at-once PERCENT]`. The whole bot (gateway, loop, record, driver,
//! Fly over its real wire, patience as for the live Fly) against the local Discord and a local Fly whose machines take eight
//! seconds until they are healthy and whose limits of requests hold; all in this process. Fails when it takes longer than the
//! promise, when a machine is changed twice or not at all, or when more are away at once than the policy allows.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use serde_json::{Value, json};
use support::options;
use tokio::runtime::Builder;
use watchbell::adapters::config::Config;
use watchbell::domain::policy::Policy;
use watchbell::shell::{self, Settings};
use watchbell::sim::{discord, fly};

const MACHINES: usize = 10;
const HEALTHY_MS: u64 = 8_000;
/// What is promised of a rollback.
const PROMISED: Duration = Duration::from_secs(5 * 60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const APP: &str = "shop";

fn main() -> anyhow::Result<()> {
    let options = options();
    let number = |key: &str| options.get(key).map(|given| given.parse::<u64>()).transpose();
    let machines = number("--machines")?.map_or(Ok(MACHINES), usize::try_from)?;
    let healthy_ms = number("--healthy-ms")?.unwrap_or(HEALTHY_MS);
    let folder = tempfile::tempdir()?;
    let runtime = |threads: usize| Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let (world, own) = (runtime(1)?, runtime(2)?);
    let discord = world.block_on(discord::start(discord::Options::new(discord::Workspace::example())))?;
    let there = fly::Workspace::from_json(&there(machines, healthy_ms)).map_err(|why| anyhow!(why))?;
    let fly = world.block_on(fly::start(fly::Options::new(there)))?;
    let mut config = set_up(&discord, &fly, folder.path())?;
    if let Some(percent) = number("--at-once")? {
        let text = config.policy_text.replace("at_once_percent = 33 ", &format!("at_once_percent = {percent} "));
        (config.policy, config.policy_text) = (Policy::parse(&text).map_err(|why| anyhow!(why))?, text);
    }
    let percent = usize::from(config.policy.deploys.at_once_percent);
    let bot = own.block_on(shell::start(config, Settings::default()))?;
    let measured = world.block_on(measure(&discord, &fly, (machines * percent).div_ceil(100).max(1)));
    own.block_on(bot.stop());
    measured
}

/// An app of so many machines that serve, and two releases.
fn there(machines: usize, healthy_ms: u64) -> String {
    let regions = ["iad", "ord", "ams", "fra", "sin"];
    let machines: Vec<Value> = (0..machines).map(|n| json!({"region": regions[n % regions.len()]})).collect();
    let release =
        |version: u64| json!({"version": version, "image": format!("registry.fly.io/shop:deployment-{version}")});
    json!({
        "org": "bench",
        "tokens": [
            {"token": "bench-look", "kind": "readonly"}, {"token": "bench-act", "kind": "deploy", "app": APP},
        ],
        "apps": [{"name": APP, "machines": machines, "releases": [release(41), release(42)]}],
        "settings": {"boot_ms": 1_300, "stop_ms": 500, "healthy_ms": healthy_ms},
    })
    .to_string()
}

fn set_up(discord: &discord::Handle, fly: &fly::Handle, state: &Path) -> anyhow::Result<Config> {
    let text = format!(
        r#"
[team]
name = "bench"
zone = "America/Chicago"
[discord]
guild = "{guild}"
api_url = "{api}"
[fly]
org = "bench"
machines_url = "{machines}"
api_url = "{fly}"
[http]
private_bind = "127.0.0.1:0"
[state]
dir = "{state}"
[channels]
incidents = "incidents"
announce = "announcements"
test = "incidents-test"
[roles]
reliability = "on-call"
engineer = "lead"
manager = "admin"
responder = "responder"
[[people]]
name = "ana"
chat = "discord:{ana}"
roles = ["reliability"]
wake = [{{ via = "direct" }}]
[[services]]
name = "shop"
production = {{ fly_app = "{APP}" }}
"#,
        guild = discord.guild_id(),
        api = discord.base_url(),
        machines = fly.machines_url(),
        fly = fly.api_url(),
        state = state.display(),
        ana = discord.member_id("ana").unwrap_or_default(),
    );
    let token = discord.bot_token();
    let env = |name: &str| match name {
        "DISCORD_TOKEN" => Some(token.clone()),
        "FLY_READ_TOKEN" => Some("bench-look".to_owned()),
        "FLY_DEPLOY_TOKEN_SHOP" => Some("bench-act".to_owned()),
        _ => None,
    };
    Config::from_text(Path::new("watchbell.toml"), &text, env).map_err(|refused| anyhow!(refused.0))
}

async fn measure(discord: &discord::Handle, fly: &fly::Handle, at_once: usize) -> anyhow::Result<()> {
    ensure!(fly.settled(PROMISED).await, "the machines do not come up");
    let before = machines(fly);
    connected(discord).await?;
    answered(discord, "run", json!({"as": "mia", "channel": "incidents", "command": "watchbell live", "options": {}}))
        .await?;
    let ask = json!({"as": "ana", "channel": "incidents", "command": "rollback", "options": {"service": "shop"}});
    answered(discord, "run", ask).await?;
    let button = "Roll back to v41";
    let plan = message(discord, |message| message["components"].to_string().contains(button)).await?;
    let began = Instant::now();
    answered(discord, "press", json!({"as": "ana", "message": plan["id"], "button": button})).await?;
    let (mut away_most, mut changed) = (0, None);
    let verdict = loop {
        let now = machines(fly);
        let away = now.iter().filter(|machine| !is_well(machine)).count();
        away_most = away_most.max(away);
        let runs = |machine: &&Value| machine["image"].as_str().is_some_and(|image| image.ends_with(":deployment-41"));
        if changed.is_none() && away == 0 && now.iter().filter(runs).count() == now.len() {
            changed = Some(began.elapsed());
        }
        let said = said(discord, "It took");
        if let Some(said) = said {
            break said;
        }
        ensure!(began.elapsed() < PROMISED * 2, "no verdict: {now:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let judged = began.elapsed();
    let changed = changed.ok_or_else(|| anyhow!("a verdict before every machine was well: {verdict}"))?;
    println!(
        "{} machines, at most {at_once} away at once ({away_most} were): all run v41 and are well after {:.1} s; verdict after {:.1} s",
        before.len(),
        changed.as_secs_f64(),
        judged.as_secs_f64(),
    );
    println!("{verdict}");
    ensure!(verdict.contains("succeeded"), "it did not succeed");
    ensure!(judged < PROMISED, "longer than promised");
    ensure!(away_most <= at_once, "{away_most} were away at once");
    for machine in &before {
        let id = machine["id"].as_str().unwrap_or_default();
        let (updates, _) = fly.requests(0, 100_000);
        let path = format!("/v1/apps/{APP}/machines/{id}");
        let writes = updates.iter().filter(|one| one["method"] == "POST" && one["path"] == path.as_str()).count();
        ensure!(writes == 1, "machine {id} was written {writes} times");
    }
    ensure!(fly.state()["apps"][0]["releases"][0]["status"] == "complete", "the release record is not closed");
    Ok(())
}

fn machines(fly: &fly::Handle) -> Vec<Value> {
    fly.state()["apps"][0]["machines"].as_array().cloned().unwrap_or_default()
}

fn is_well(machine: &Value) -> bool {
    let passes = |check: &Value| check["status"] == "passing";
    machine["state"] == "started" && machine["checks"].as_array().is_some_and(|checks| checks.iter().all(passes))
}

/// Waits until the bot takes what people do.
async fn connected(discord: &discord::Handle) -> anyhow::Result<()> {
    let began = Instant::now();
    let help = || json!({"as": "mia", "channel": "incidents", "command": "help", "options": {}});
    while began.elapsed() < ANSWER_WITHIN {
        if answered(discord, "run", help()).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(anyhow!("the bot did not connect"))
}

/// Somebody does something, and the bot answers.
async fn answered(discord: &discord::Handle, what: &str, body: Value) -> anyhow::Result<Value> {
    let begun = discord.call(what, body).await.map_err(|why| anyhow!(why))?;
    let id = begun["interaction_id"].as_str().unwrap_or_default();
    let seen = discord.interaction(id, ANSWER_WITHIN).await.map_err(|why| anyhow!(why))?;
    ensure!(seen["status"] == "answered", "{what} was not answered: {seen}");
    Ok(seen)
}

/// A message in the channel that is such a one, as soon as it stands there.
async fn message(discord: &discord::Handle, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let began = Instant::now();
    while began.elapsed() < ANSWER_WITHIN {
        let all = discord.channel("incidents", None).unwrap_or_default();
        if let Some(found) = all.into_iter().find(|message| is_it(message)) {
            return Ok(found);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(anyhow!("no such message was posted"))
}

/// What the bot said in the channel with these words in it.
fn said(discord: &discord::Handle, words: &str) -> Option<String> {
    let all = discord.channel("incidents", None).unwrap_or_default();
    let texts = all.iter().filter_map(|message| message["text"].as_str().or_else(|| message["content"].as_str()));
    texts.filter(|text| text.contains(words)).map(str::to_owned).next_back()
}
