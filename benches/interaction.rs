//! From what somebody does on Discord to the bot's answer there: p50 and p99, at 1 and at 100 in flight.
//!
//! `cargo bench --bench interaction [-- --count N --state DIR]`. The whole bot (gateway, loop, record with its sync, lane) against
//! the local Discord over its real wire, both in this process, on runtimes of their own; Discord's rate limits are raised. Two
//! commands: one that reads, and one that puts a fact on record first. The clock runs from the moment the local Discord begins to
//! tell the bot until it has taken the answer.

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use serde_json::{Value, json};
use support::{options, p50_p99};
use tokio::runtime::{Builder, Runtime};
use watchbell::adapters::config::Config;
use watchbell::shell::{self, Bot, Settings};
use watchbell::sim::discord::{self, Handle};

const COUNT: usize = 2_000;
const IN_FLIGHT: [usize; 2] = [1, 100];
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let options = options();
    let count = options.get("--count").map_or(Ok(COUNT), |given| given.parse())?;
    let temporary = tempfile::tempdir()?;
    let state = options.get("--state").map_or_else(|| temporary.path().join("state"), PathBuf::from);
    let (world, own) = (runtime(1)?, runtime(2)?);
    let discord = Arc::new(world.block_on(local_discord())?);
    let bot = own.block_on(shell::start(set_up(&discord, &state)?, Settings::default()))?;
    let measured = world.block_on(measure(&discord, &bot, count));
    own.block_on(bot.stop());
    measured
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

async fn local_discord() -> anyhow::Result<Handle> {
    let mut workspace = discord::Workspace::example();
    workspace.settings.messages_per_window = 1_000_000;
    workspace.settings.global_per_second = 1_000_000;
    // What comes too late counts as slow, not as lost.
    workspace.settings.respond_within_ms = 30_000;
    Ok(discord::start(discord::Options::new(workspace)).await?)
}

fn set_up(discord: &Handle, state: &Path) -> anyhow::Result<Config> {
    let member = |name: &str| discord.member_id(name).unwrap_or_default();
    let text = format!(
        r#"
[team]
name = "bench"
zone = "America/Chicago"

[discord]
guild = "{}"
api_url = "{}"

[fly]
org = "bench"

[http]
private_bind = "127.0.0.1:0"

[state]
dir = "{}"

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
chat = "discord:{}"
roles = ["reliability"]
wake = [{{ via = "direct" }}]

[[services]]
name = "checkout"
production = {{}}
"#,
        discord.guild_id(),
        discord.base_url(),
        state.display(),
        member("ana"),
    );
    let token = discord.bot_token();
    let env = |name: &str| (name == "DISCORD_TOKEN").then(|| token.clone());
    Config::from_text(Path::new("watchbell.toml"), &text, env).map_err(|refused| anyhow!(refused.0))
}

async fn measure(discord: &Arc<Handle>, bot: &Bot, count: usize) -> anyhow::Result<()> {
    connected(discord).await?;
    one(discord, "watchbell live", &json!({})).await?;
    one(discord, "sev2", &json!({ "title": "the queue grows and nothing takes from it" })).await?;
    // The first ones pay for connections that the later ones find open.
    many(discord, "help", &json!({}), 200, 10).await?;
    let open = bot.door.look().await.map_or(0, |snapshot| snapshot.open);
    println!("{count} interactions each, {open} open, a sync of the disk with every fact");
    let note = json!({ "text": "the consumers restarted", "incident": open.to_string() });
    for (what, command, arguments) in [
        ("/incident list (reads)", "incident list", json!({})),
        ("/incident note (puts a fact on record)", "incident note", note),
    ] {
        for in_flight in IN_FLIGHT {
            let began = Instant::now();
            let took = many(discord, command, &arguments, count, in_flight).await?;
            let rate = count as f64 / began.elapsed().as_secs_f64();
            let (p50, p99) = p50_p99(took);
            println!(
                "{what}, {in_flight} in flight: p50 {:.1} ms, p99 {:.1} ms; {rate:.0} a second",
                p50.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3
            );
        }
    }
    Ok(())
}

/// Waits until the bot takes what people do.
async fn connected(discord: &Handle) -> anyhow::Result<()> {
    for _ in 0..200 {
        if let Ok(id) = discord.run("mia", "incidents", "help", json!({})).await {
            let seen = discord.interaction(&id, Duration::from_millis(500)).await.map_err(|why| anyhow!(why))?;
            if is_answered(&seen) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(anyhow!("the bot did not connect"))
}

fn is_answered(interaction: &Value) -> bool {
    interaction["status"] == "answered"
}

async fn one(discord: &Handle, command: &str, arguments: &Value) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let run = discord.run("mia", "incidents", command, arguments.clone()).await;
    let id = run.map_err(|why| anyhow!("{command}: {why}"))?;
    let seen = discord.interaction(&id, ANSWER_WITHIN).await.map_err(|why| anyhow!(why))?;
    let took = began.elapsed();
    ensure!(is_answered(&seen), "{command} was not answered: {seen}");
    Ok(took)
}

async fn many(
    discord: &Arc<Handle>,
    command: &'static str,
    arguments: &Value,
    count: usize,
    in_flight: usize,
) -> anyhow::Result<Vec<Duration>> {
    let left = Arc::new(AtomicUsize::new(count));
    let hands = (0..in_flight).map(|_| {
        let (discord, arguments, left) = (Arc::clone(discord), arguments.clone(), Arc::clone(&left));
        tokio::spawn(async move {
            let mut took = Vec::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                took.push(one(&discord, command, &arguments).await?);
            }
            anyhow::Ok(took)
        })
    });
    let mut all = Vec::new();
    for hand in hands.collect::<Vec<_>>() {
        all.extend(hand.await??);
    }
    Ok(all)
}
