//! kill -9 of the real program in the middle of rollbacks and deploys, again and again, while machines are in hand: it comes back, says
//! so, and each ends in a state with a name. Every machine is changed once by each, and Fly's record of releases ends true.
//!
//! `WATCHBELL_ROUNDS=100 cargo test --test kill9_acts` runs a hundred rounds; a plain run does twenty. `SEED=7` repeats one.

#[path = "support/killed.rs"]
mod killed;
#[path = "support/on_fly.rs"]
mod on_fly;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use killed::{Bot, Dice, WITHIN, free_port};
use serde_json::{Value, json};
use watchbell::domain::policy::SHIPPED;
use watchbell::sim::{discord, fly};

/// Promise seconds a real second: the minute in which a service settles passes in a second.
const SPEED: f64 = 60.0;
/// How long a rollback may take, deaths included.
const OVER_WITHIN: Duration = Duration::from_secs(60);
/// The life of a lease that nobody renews, and then some.
const LEASE_WITHIN: Duration = Duration::from_secs(10);
/// The moments at which it dies lie between the press and this.
const DIES_WITHIN_MS: u64 = 1_000;
const APP: &str = "shop";
/// Three machines that serve, with delays short enough for twenty rounds and long enough to die in.
const THERE: &str = r#"{
    "org": "lighthouse",
    "tokens": [{"token": "local-look", "kind": "readonly"}, {"token": "local-act", "kind": "deploy", "app": "shop"}],
    "apps": [{
        "name": "shop",
        "machines": [{"region": "iad"}, {"region": "ord"}, {"region": "ord"}],
        "releases": [
            {"version": 1, "image": "registry.fly.io/shop:deployment-1"},
            {"version": 2, "image": "registry.fly.io/shop:deployment-2"}
        ]
    }],
    "settings": {"boot_ms": 60, "healthy_ms": 200, "stop_ms": 40, "check_every_ms": 20, "rate_limits": false}
}"#;

/// The shipped policy, open at any hour, asking for no boxes: what refuses a deploy is tried elsewhere.
fn policy() -> String {
    let mut table: toml::Table = SHIPPED.parse().expect("a table");
    let deploys = table.get_mut("deploys").and_then(toml::Value::as_table_mut).expect("it has them");
    for asks in ["window", "freezes", "checklist"] {
        deploys.remove(asks);
    }
    deploys.insert("own_approval_up_to".to_owned(), 50.into());
    toml::to_string(&table).expect("a text")
}

fn setup(folder: &Path, discord: &discord::Handle, fly: &fly::Handle, port: u16) -> String {
    let ana = discord.member_id("ana").expect("a member");
    let rest = format!(
        r#"
[http]
private_bind = "127.0.0.1:{port}"
[clock]
virtual = true
speed = {SPEED:?}
[[people]]
name = "ana"
chat = "discord:{ana}"
roles = ["reliability"]
wake = [{{ via = "direct" }}]
"#
    );
    on_fly::setup(folder, discord, fly, "", &rest)
}

async fn answered(discord: &discord::Handle, what: &str, body: Value) {
    let begun = discord.call(what, body.clone()).await.unwrap_or_else(|why| panic!("{what} {body}: {why}"));
    let id = begun["interaction_id"].as_str().expect("an interaction").to_owned();
    let seen = discord.interaction(&id, WITHIN).await.expect("it is known");
    assert_eq!(seen["status"], "answered", "{what} {body}");
}

async fn command(discord: &discord::Handle, who: &str, name: &str, options: Value) {
    answered(discord, "run", json!({"as": who, "channel": "incidents", "command": name, "options": options})).await;
}

/// What stands in the channel and is such a message, the newest; waited for.
async fn message(discord: &discord::Handle, bot: &Bot, within: Duration, is_it: impl Fn(&str) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let all = discord.channel("incidents", None).unwrap_or_default();
        if let Some(found) = all.iter().rev().find(|message| is_it(&message.to_string())) {
            return found.clone();
        }
        if began.elapsed() > within {
            let last: Vec<&Value> = all.iter().rev().take(3).collect();
            panic!("no such message was posted; the last: {last:#?}\nthe bot's log ends:\n{}", bot.log());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn machines(fly: &fly::Handle) -> Vec<Value> {
    fly.state()["apps"][0]["machines"].as_array().cloned().expect("machines")
}

/// Waits until a machine is worked on, or all are done.
async fn at_work(fly: &fly::Handle, image: &str) {
    let began = Instant::now();
    loop {
        let all = machines(fly);
        let is_done = all.iter().all(|machine| machine["image"] == image && machine["state"] == "started");
        if is_done || all.iter().any(|machine| !machine["lease"].is_null()) {
            return;
        }
        assert!(began.elapsed() < WITHIN, "no machine was taken in hand");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How often each step has changed a machine, by its mark: by Fly's own list of versions.
async fn changes(bot: &Bot, fly: &fly::Handle) -> BTreeMap<(String, String), usize> {
    let mut all = BTreeMap::new();
    for machine in machines(fly) {
        let id = machine["id"].as_str().expect("an id").to_owned();
        let url = format!("{}/apps/{APP}/machines/{id}/versions", fly.machines_url());
        let answer = bot.http.get(url).header("authorization", "Bearer local-look").send().await.expect("it answers");
        let versions: Value = answer.json().await.expect("JSON");
        for version in versions.as_array().expect("a list") {
            if let Some(mark) = version["user_config"]["metadata"]["watchbell_step"].as_str() {
                *all.entry((id.clone(), mark.to_owned())).or_default() += 1;
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_killed_in_the_middle_of_a_change_finishes_it_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("WATCHBELL_ROUNDS").unwrap_or(20);
    let seed = number("SEED").unwrap_or(20_261_125);
    println!("{rounds} rounds, SEED={seed}");
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let discord = discord::start(discord::Options::new(on_fly::unpaced_guild())).await.expect("the local Discord");
    let there = fly::Workspace::from_json(THERE).expect("a workspace");
    let fly = fly::start(fly::Options::new(there)).await.expect("the local Fly");
    assert!(fly.settled(WITHIN).await, "the machines are up");
    let port = free_port();
    std::fs::write(folder.path().join("policy.toml"), policy()).expect("a file");
    std::fs::write(folder.path().join("watchbell.toml"), setup(folder.path(), &discord, &fly, port)).expect("a file");
    let env = vec![
        ("DISCORD_TOKEN", discord.bot_token()),
        ("FLY_READ_TOKEN", "local-look".to_owned()),
        ("FLY_DEPLOY_TOKEN_SHOP", "local-act".to_owned()),
    ];
    let mut bot = Bot::new(folder.path(), port, env);
    bot.start();
    bot.wait_up().await;
    command(&discord, "mia", "watchbell live", json!({})).await;

    let (mut in_hand, mut deaths) = (0, 0);
    for round in 1..=rounds {
        let tag = if round % 2 == 1 { "deployment-1" } else { "deployment-2" };
        let image = format!("registry.fly.io/shop:{tag}");
        let head = format!("DEP-{round} ");
        // Every other time forward, every other time back.
        let (name, option, yes) =
            if round % 2 == 0 { ("deploy", "image", "Start") } else { ("rollback", "to", "Roll back") };
        command(&discord, "ana", name, json!({"service": "shop", option: image})).await;
        let plan = message(&discord, &bot, WITHIN, |text| text.contains(&head) && text.contains("Cancel")).await;
        let buttons = plan["components"][0]["components"].as_array().cloned().unwrap_or_default();
        let go = buttons.iter().filter_map(|button| button["label"].as_str()).find(|label| label.starts_with(yes));
        let go = go.unwrap_or_else(|| panic!("no button: {plan}"));
        answered(&discord, "press", json!({"as": "ana", "message": plan["id"], "button": go})).await;
        // Once, or twice in a row: also while it comes up.
        for _ in 0..=dice.roll(2) {
            // From the moment on at which it works, however slow the machine is that this runs on.
            at_work(&fly, &image).await;
            tokio::time::sleep(Duration::from_millis(20 + dice.roll(DIES_WITHIN_MS))).await;
            bot.kill().await;
            deaths += 1;
            let runs = |machine: &&Value| machine["image"] == image.as_str() && machine["state"] == "started";
            let done = machines(&fly).iter().filter(runs).count();
            in_hand += u64::from(done < 3);
            bot.start();
        }
        bot.wait_up().await;
        let over = |text: &str| text.contains(&head) && text.contains("It took");
        let verdict = message(&discord, &bot, OVER_WITHIN, over).await.to_string();
        assert!(verdict.contains("succeeded"), "round {round}: nothing was wrong with the image: {verdict}");
        assert!(machines(&fly).iter().all(|machine| machine["image"] == image.as_str()), "round {round}");
        // What a life before held ends by itself.
        let began = Instant::now();
        while !machines(&fly).iter().all(|machine| machine["lease"].is_null()) {
            assert!(began.elapsed() < LEASE_WITHIN, "round {round}: a lease is left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let releases = fly.state()["apps"][0]["releases"].clone();
        let newest = &releases[0];
        assert_eq!(
            (&newest["status"], &newest["image_ref"], newest["version"].as_u64()),
            (&json!("complete"), &json!(image), Some(2 + round)),
            "round {round}: one release each, and closed"
        );
    }
    let changes = changes(&bot, &fly).await;
    let twice: Vec<_> = changes.iter().filter(|(_, times)| **times != 1).collect();
    println!(
        "{rounds} rounds: died {deaths} times, {in_hand} of them with machines in hand; {} changes",
        changes.len()
    );
    assert!(twice.is_empty(), "changed more than once by one step: {twice:?}");
    assert_eq!(changes.len() as u64, rounds * 3, "every machine once a change");
    assert!(in_hand * 2 > deaths, "most deaths were to be in the middle");
    let told = discord.channel("incidents", None).unwrap_or_default();
    let away = told.iter().filter(|message| message.to_string().contains("I was away for")).count();
    assert!(away > 0, "it says that it was away");
    bot.kill().await;
    discord.shutdown().await;
    drop(fly.shutdown().await);
}
