//! The whole bot started on a policy file that does not hold together: it goes by the last good one and says so; one that never saw
//! a good one does not start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use watchbell::adapters::config::Config;
use watchbell::domain::policy::SHIPPED;
use watchbell::shell::{self, Bot, Settings, doctor};
use watchbell::sim::discord::{self as local, Handle, Options, Workspace};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn write_set_up(folder: &Path, discord: &Handle) {
    let text = format!(
        "[team]\nname = \"lighthouse\"\nzone = \"UTC\"\n[channels]\nincidents = \"incidents\"\ntest = \"incidents\"\n\
         [discord]\nguild = \"{}\"\napi_url = \"{}\"\n[http]\nprivate_bind = \"127.0.0.1:0\"\n[state]\ndir = \"state\"\n\
         [policy]\nfile = \"policy.toml\"\n",
        discord.guild_id(),
        discord.base_url()
    );
    fs::write(folder.join("watchbell.toml"), text).expect("a file");
}

async fn start(folder: &Path, discord: &Handle) -> anyhow::Result<Bot> {
    let token = discord.bot_token();
    let env = |name: &str| (name == "DISCORD_TOKEN").then(|| token.clone());
    let config = Config::load_to_run(&folder.join("watchbell.toml"), env)?;
    shell::start(config, Settings::default()).await
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}");
}

fn refusals(discord: &Handle) -> usize {
    let posts = discord.channel("incidents", None).expect("the channel");
    posts.iter().filter(|post| post.to_string().contains("the last good one stays in force")).count()
}

async fn readyz(bot: &Bot) -> String {
    let answer = reqwest::get(format!("http://{}/readyz", bot.private)).await.expect("it answers");
    answer.text().await.expect("words")
}

async fn doctor_says(folder: &Path) -> String {
    let now = "2026-11-24T15:00:00Z".parse().expect("a time");
    let checks = doctor::examine_file(&folder.join("watchbell.toml"), |_| None, now, |_| None).await;
    checks.iter().map(|check| format!("{check}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_bad_policy_goes_by_the_last_good_one_and_says_so_once() {
    let discord = local::start(Options::new(Workspace::example())).await.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("policy.toml");
    write_set_up(folder.path(), &discord);

    // Nothing was ever good: there is nothing to go by.
    fs::write(&policy, "[severity]\n").expect("a file");
    let refused = start(folder.path(), &discord).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(refused.contains("policy.toml"), "{refused}");
    assert!(doctor_says(folder.path()).await.contains("no good one is kept"));

    // A good one, told apart from the shipped one by a job of its own.
    let job = "[[jobs]]\nname = \"light the lamp\"\ncron = \"0 17 * * *\"\ndoes = \"remind\"\ntext = \"It is dark.\"\n";
    fs::write(&policy, format!("{SHIPPED}\n{job}")).expect("a file");
    let bot = start(folder.path(), &discord).await.expect("it starts");
    until("it is connected", async || bot.link.condition().up).await;
    bot.stop().await;

    fs::write(&policy, "[severity]\n").expect("a file");
    assert!(doctor_says(folder.path()).await.contains("a start goes by the last good one"));
    for _ in 0..2 {
        let bot = start(folder.path(), &discord).await.expect("it starts all the same");
        until("people are told", async || refusals(&discord) > 0).await;
        until("operators are told", async || readyz(&bot).await.contains("policy: ")).await;
        discord.still(Duration::from_millis(300)).await.expect("it becomes still");
        assert_eq!(refusals(&discord), 1, "once, however often it starts on the same file");
        until("it is connected", async || bot.link.condition().up).await;
        let asked = discord.run("ana", "incidents", "watchbell schedule", serde_json::json!({})).await.expect("typed");
        let told = discord.interaction(&asked, PATIENCE).await.expect("an answer").to_string();
        assert!(told.contains("light the lamp"), "the last good one is in force, not the shipped one: {told}");
        bot.stop().await;
    }

    // Mended: in force, and nothing is said any more.
    fs::write(&policy, SHIPPED).expect("a file");
    let bot = start(folder.path(), &discord).await.expect("it starts");
    assert!(!readyz(&bot).await.contains("policy: "));
    bot.stop().await;
}
