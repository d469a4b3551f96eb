//! The whole bot when Discord says no: it goes on calling people by their other ways, says so where operators look, and is back
//! by itself once it is let in again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use watchbell::adapters::config::Config;
use watchbell::domain::ids::{InputId, Person, Place, Role};
use watchbell::domain::input::{Actor, Arg, Call, Input, InputKind};
use watchbell::domain::message::Text;
use watchbell::shell::{self, Bot, Settings};
use watchbell::sim::discord::{self as local, Handle, Options, Workspace};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
const SAYS_NO: &str = "Discord does not let me connect";

/// What an ntfy was asked to publish.
#[derive(Clone, Default)]
struct Ntfy(Arc<Mutex<Vec<String>>>);

impl Ntfy {
    async fn start(&self) -> String {
        let heard = self.clone();
        let publish = axum::routing::post(async move |axum::Json(body): axum::Json<Value>| {
            let mut heard = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push(body["message"].as_str().unwrap_or_default().to_owned());
            axum::Json(json!({}))
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", publish)).await });
        format!("http://{address}/ana")
    }

    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn start(folder: &Path, discord: &Handle, ntfy: &str) -> anyhow::Result<Bot> {
    let text = format!(
        "[team]\nname = \"lighthouse\"\nzone = \"UTC\"\n[channels]\nincidents = \"incidents\"\ntest = \"incidents\"\n\
         [[people]]\nname = \"ana\"\nchat = \"discord:{}\"\nroles = [\"reliability\"]\n\
         wake = [{{ via = \"ntfy\", url = \"{ntfy}\" }}]\n\
         [discord]\nguild = \"{}\"\napi_url = \"{}\"\n[http]\nprivate_bind = \"127.0.0.1:0\"\n[state]\ndir = \"state\"\n",
        discord.member_id("ana").expect("ana"),
        discord.guild_id(),
        discord.base_url()
    );
    let token = discord.bot_token();
    let env = |name: &str| (name == "DISCORD_TOKEN").then(|| token.clone());
    let config = Config::from_text(&folder.join("watchbell.toml"), &text, env).expect("a set-up");
    let again = Duration::from_millis(500);
    shell::start(config, Settings { turned_away_again: again, ..Settings::default() }).await
}

fn call(bot: &Bot, id: &str, command: &str, args: &[(&str, &str)]) {
    let who = Actor {
        person: Person::new("discord:mia"),
        name: "mia".to_owned(),
        roles: vec![Role::new("manager"), Role::new("engineer")],
    };
    let mut args: BTreeMap<String, Arg> =
        args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect();
    args.insert("anyway".to_owned(), Arg::Flag(true));
    let (command, place) = (command.to_owned(), Place::new("discord:1"));
    bot.door
        .must(Input { id: InputId::new(id), kind: InputKind::Call(Call { who, place, command, args, target: None }) });
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}");
}

async fn says_no(bot: &Bot) -> bool {
    let condition = bot.link.condition();
    let says = condition.trouble.unwrap_or_default();
    if condition.up || !says.contains(SAYS_NO) {
        return false;
    }
    let answer = reqwest::get(format!("http://{}/readyz", bot.private)).await.expect("it answers");
    assert_eq!(answer.status().as_u16(), 503);
    answer.text().await.expect("words").contains(SAYS_NO)
}

async fn pages_ana(bot: &Bot, ntfy: &Ntfy, number: &str, title: &str) {
    call(bot, &format!("declared:{number}"), "sev1", &[("title", title)]);
    call(bot, &format!("woken:{number}"), "incident wake", &[("incident", number)]);
    until("ana is woken by ntfy", async || ntfy.heard().iter().any(|words| words.contains(title))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turned_away_the_bot_calls_people_by_other_ways_says_so_and_comes_back() {
    let discord = local::start(Options::new(Workspace::example())).await.expect("a free port");
    let (ntfy, folder) = (Ntfy::default(), tempfile::tempdir().expect("a folder"));
    let address = ntfy.start().await;
    let bot = start(folder.path(), &discord, &address).await.expect("it starts");
    until("it is connected", async || bot.link.condition().up).await;
    call(&bot, "live", "watchbell live", &[]);

    // The intents are taken from it.
    let fault = discord.fault(json!({"kind": "turn_away", "code": 4014})).await.expect("a fault");
    discord.call("gateway", json!({"do": "invalidate", "resumable": false})).await.expect("done");
    until("it says so", async || says_no(&bot).await).await;
    pages_ana(&bot, &ntfy, "1", "checkout is down").await;
    assert!(discord.clear_fault(fault));
    until("it is connected again, in the same life", async || bot.link.condition().up).await;

    // A start with something to keep goes on as well.
    bot.stop().await;
    let fault = discord.fault(json!({"kind": "turn_away", "code": 4004})).await.expect("a fault");
    let bot = start(folder.path(), &discord, &address).await.expect("it starts although it is turned away");
    until("it says so again", async || says_no(&bot).await).await;
    pages_ana(&bot, &ntfy, "2", "search is down").await;

    assert!(discord.clear_fault(fault));
    until("it is connected again", async || bot.link.condition().up).await;
    let ready = reqwest::get(format!("http://{}/readyz", bot.private)).await.expect("it answers");
    assert_eq!(ready.status().as_u16(), 200);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turned_away_at_once_and_with_nothing_to_keep_it_ends_with_the_sentence() {
    let discord = local::start(Options::new(Workspace::example())).await.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    discord.fault(json!({"kind": "turn_away", "code": 4004})).await.expect("a fault");
    let bot = start(folder.path(), &discord, "http://127.0.0.1:9/ana").await.expect("it starts");
    let ended = tokio::time::timeout(PATIENCE, bot.run(std::future::pending())).await.expect("it ends");
    assert!(ended.is_err_and(|error| format!("{error:#}").contains(SAYS_NO)));

    // The same when the token is refused before it comes to the gateway.
    discord.fault(json!({"kind": "answer", "status": 401})).await.expect("a fault");
    let refused = start(folder.path(), &discord, "http://127.0.0.1:9/ana").await.err();
    assert!(refused.is_some_and(|error| format!("{error:#}").contains("token")));
}
