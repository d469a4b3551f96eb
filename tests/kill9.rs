//! kill -9 of the real program, again and again, while promises fall due: afterwards every message that the record asked for
//! stands in the local Discord once. Lost 0, doubled 0.
//!
//! `WATCHBELL_ROUNDS=100 cargo test --test kill9` runs a hundred rounds; a plain run does a dozen.

#[path = "support/killed.rs"]
mod killed;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use killed::{Bot, CONTROL, Dice, WITHIN, free_port};
use serde_json::{Value, json};
use watchbell::adapters::store::{FsDisk, read_from};
use watchbell::sim::discord::{self, ChannelSeed, MemberSeed, RoleSeed, Workspace};

/// Promise seconds a real second: the ladder's five minutes pass in half a second.
const SPEED: f64 = 600.0;
/// How long what is on its way may take in the end.
const REST_WITHIN: Duration = Duration::from_secs(240);
/// Rounds after which no further incident is opened: each one's ladder goes on for ever.
const MORE_UNTIL: u64 = 16;

fn workspace() -> Workspace {
    let channel = |name: &str| ChannelSeed { name: name.to_owned(), ..ChannelSeed::default() };
    let role = |name: &str| RoleSeed { name: name.to_owned(), mentionable: true, ..RoleSeed::default() };
    let member = |name: &str, roles: &[&str]| MemberSeed {
        username: name.to_owned(),
        display_name: name.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..MemberSeed::default()
    };
    let mut workspace = Workspace::example();
    workspace.channels = ["incidents", "incidents-test", "announcements"].map(channel).to_vec();
    workspace.roles = ["responder", "engineer", "reliability", "manager"].map(role).to_vec();
    workspace.members = vec![member("ana", &["reliability"]), member("mia", &["manager"]), member("dmitri", &[])];
    // The pace is tried elsewhere; here as much as possible should be on its way when the process dies.
    workspace.settings.messages_per_window = 1_000;
    workspace.settings.global_per_second = 1_000;
    // Without Discord's own memory of nonces, only reading the channel back keeps a message from being made twice.
    workspace.settings.nonce_window_ms = 0;
    workspace
}

fn setup(folder: &Path, discord: &discord::Handle, port: u16) -> String {
    let id = |name: &str| discord.member_id(name).expect("a member");
    format!(
        r#"
[team]
name = "lighthouse"
zone = "America/Chicago"
[discord]
guild = "{guild}"
api_url = "{api}"
rest_after_restart = "0s"
[channels]
incidents = "incidents"
test = "incidents-test"
announce = "announcements"
[fly]
org = "lighthouse"
[http]
private_bind = "127.0.0.1:{port}"
[state]
dir = "{state}"
[clock]
virtual = true
speed = {SPEED:?}
[[people]]
name = "ana"
chat = "discord:{ana}"
roles = ["reliability"]
wake = [{{ via = "direct" }}]
[[people]]
name = "mia"
chat = "discord:{mia}"
roles = ["manager"]
wake = [{{ via = "direct" }}]
"#,
        guild = discord.guild_id(),
        api = discord.base_url(),
        state = folder.join("state").display(),
        ana = id("ana"),
        mia = id("mia"),
    )
}

async fn stand_still(bot: &Bot) {
    let stopped = bot.http.post(bot.url("control/clock")).bearer_auth(CONTROL).json(&json!({ "speed": 0.0 }));
    assert!(stopped.send().await.expect("it answers").status().is_success(), "its clock can be stopped");
    let began = std::time::Instant::now();
    loop {
        let still = bot.http.get(bot.url("control/still")).bearer_auth(CONTROL).timeout(Duration::from_secs(40));
        let still = still.send().await.expect("it answers");
        if still.status().is_success() {
            return;
        }
        let words = still.text().await.unwrap_or_default();
        assert!(began.elapsed() < REST_WITHIN, "it does not come to rest: {words}");
    }
}

async fn say(discord: &discord::Handle, who: &str, command: &str, options: Value) {
    let id = discord.run(who, "incidents", command, options).await.expect("the command is known");
    discord.interaction(&id, WITHIN).await.expect("it is answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_bot_neither_loses_nor_doubles() {
    let rounds: u64 = std::env::var("WATCHBELL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let seed: u64 = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_124);
    println!("{rounds} rounds, SEED={seed}");
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let discord = discord::start(discord::Options::new(workspace())).await.expect("the local Discord");
    let port = free_port();
    let mut file = std::fs::File::create(folder.path().join("watchbell.toml")).expect("a file");
    file.write_all(setup(folder.path(), &discord, port).as_bytes()).expect("it is written");
    let mut bot = Bot::new(folder.path(), port, vec![("DISCORD_TOKEN", discord.bot_token())]);
    bot.start();
    bot.wait_up().await;
    say(&discord, "mia", "watchbell live", json!({})).await;
    for n in 0..3 {
        // Nobody of level 1 declares: the ladder runs, and nobody comes.
        let title = format!("trouble {}", ["amber", "bronze", "coral"][n]);
        say(&discord, "dmitri", "sev1", json!({ "title": title })).await;
    }

    for round in 0..rounds {
        // Any moment is a good one to die, also while it comes up.
        tokio::time::sleep(Duration::from_millis(20 + dice.roll(900))).await;
        bot.kill().await;
        bot.start();
        if round % 4 == 3 && round < MORE_UNTIL {
            bot.wait_up().await;
            let title = format!("more trouble number{round}");
            say(&discord, "dmitri", "sev2", json!({ "title": title, "anyway": true })).await;
        }
    }
    bot.wait_up().await;
    stand_still(&bot).await;
    bot.kill().await;

    let (asked, done, over) = record(&folder.path().join("state"));
    let (standing, all) = standing(&discord);
    let open: Vec<&String> = asked.keys().filter(|id| !done.contains_key(*id) && !over.contains(*id)).collect();
    assert!(open.is_empty(), "effects that never ended: {open:?}");

    let mut doubled = Vec::new();
    for (mark, ids) in &standing {
        let effect = mark.split_once('-').map_or(mark.as_str(), |(_, effect)| effect);
        match done.get(effect) {
            Some(recorded) if ids.len() == 1 && ids.contains(recorded) => {}
            recorded => doubled.push(format!("{mark}: {ids:?} stand, {recorded:?} is on record")),
        }
    }
    let replaced: BTreeSet<&String> = asked.values().filter_map(|effect| effect.replaces.as_ref()).collect();
    let lost: Vec<&String> = asked
        .iter()
        .filter(|(id, effect)| effect.is_message && !replaced.contains(*id))
        .filter(|(id, _)| done.get(*id).is_some_and(|message| !all.contains(message)))
        .map(|(id, _)| id)
        .collect();
    let messages = asked.values().filter(|effect| effect.is_message).count();
    println!(
        "{rounds} rounds: {messages} messages asked for, {} stand, lost {}, doubled {}; the local Discord counts doubled {}",
        all.len(),
        lost.len(),
        doubled.len(),
        discord.counters()["doubled"],
    );
    assert!(messages as u64 > rounds, "hardly anything happened: {messages} messages");
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(doubled.is_empty(), "doubled: {doubled:#?}");
    assert_eq!(discord.counters()["doubled"], 0);
    discord.shutdown().await;
}

struct Asked {
    is_message: bool,
    replaces: Option<String>,
}

/// What the record asked for, what was done as which message, and what ended otherwise.
fn record(state: &Path) -> (BTreeMap<String, Asked>, BTreeMap<String, String>, BTreeSet<String>) {
    let (mut asked, mut done, mut over) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let disk = FsDisk::new(state);
    for line in read_from(&disk, 0) {
        let line = line.expect("the log is whole");
        for effect in &line.effects {
            let effect: Value = serde_json::from_str(effect).expect("JSON");
            let id = effect["id"].as_str().expect("an id").to_owned();
            let page = effect["do"] == "page";
            let is_message = effect["do"] == "post" || effect["do"] == "card" || page;
            let replaces = effect["replaces"].as_str().map(str::to_owned);
            assert!(asked.insert(id.clone(), Asked { is_message, replaces }).is_none(), "{id} was asked for twice");
        }
        for fact in &line.facts {
            let fact: Value = serde_json::from_str(fact).expect("JSON");
            let effect = || fact["effect"].as_str().expect("an effect").to_owned();
            match fact["k"].as_str() {
                Some("done") => {
                    let message = fact["posted"]["message"].as_str().unwrap_or_default().to_owned();
                    assert!(done.insert(effect(), message).is_none(), "{} was done twice", effect());
                }
                Some("given_up" | "withdrawn") => {
                    over.insert(effect());
                }
                _ => {}
            }
        }
    }
    (asked, done, over)
}

/// The messages that stand anywhere: by their mark, and all. A card that was drawn anew after a restart has no mark any more:
/// its place is on record by then.
fn standing(discord: &discord::Handle) -> (BTreeMap<String, Vec<String>>, BTreeSet<String>) {
    let mut all = BTreeSet::new();
    let mut standing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let state = discord.state();
    let channels = state["channels"].as_array().cloned().unwrap_or_default();
    for channel in channels {
        let id = channel["id"].as_str().unwrap_or_default();
        let mut messages = discord.channel(id, None).unwrap_or_default();
        for member in ["ana", "mia"] {
            if channel["kind"] == "dm" {
                messages.extend(discord.channel(id, Some(member)).unwrap_or_default());
            }
        }
        for message in messages {
            let words = message.to_string();
            all.insert(message["id"].as_str().unwrap_or_default().to_owned());
            let Some(at) = words.find("ref ") else { continue };
            let mark: String = words[at + 4..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            let id = message["id"].as_str().unwrap_or_default().to_owned();
            let ids = standing.entry(mark).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    (standing, all)
}
