//! `watchbell demo` and `watchbell sim …`: the stand-ins, the bot as a process of its own between them, and what the page's
//! demo bar asks for.
//!
//! Owns processes and addresses. Knows neither the bot's inside (it talks to it over the private port) nor the stand-ins'
//! (it uses what docs/sim.md offers). The bot it starts is the real program, killed for real.

mod bot;
mod elsewhere;
mod folder;
mod play;

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use watchbell::adapters::clock::SPEED_MAX;
use watchbell::adapters::config::{FLY_READ_TOKEN, fly_deploy_command};
use watchbell::domain::policy::SHIPPED;
use watchbell::sim::{discord, fly};

use bot::BotProcess;
use folder::Folder;
use play::Play;

/// The channels, roles and people of the demo.
const DISCORD: &str = include_str!("../data/workspaces/demo-discord.json");
/// The apps and machines of the demo.
const FLY: &str = include_str!("../data/workspaces/hotdash-fly.json");
/// The bot's set-up, with places to fill in.
const SETUP: &str = include_str!("../data/workspaces/demo.toml");
/// The demo's policy, in its folder.
const POLICY_FILE: &str = "policy.toml";

/// From a machine's start to started, and from then until its program listens: long enough to see a deploy's bar move.
const BOOT_MS: u64 = 1_500;
const HEALTHY_MS: u64 = 1_500;

/// Set for the bot that a demo starts: its standard input is a pipe that closes when the demo is gone.
const HELD: &str = "WATCHBELL_PARENT_PIPE";

/// How the demo is started.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// The port of the page
    #[arg(long, default_value_t = 7077)]
    port: u16,
    /// How fast promise time runs: 60 makes a minute a second. Promise time is the clock by which the bot reminds, calls and
    /// looks at services; the page can speed it up and skip ahead, so that a night takes minutes
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Start over, without what the last demo left
    #[arg(long)]
    fresh: bool,
    /// Where the demo keeps its state
    #[arg(long, default_value = "data/state/demo")]
    state: PathBuf,
}

/// Which stand-in is started alone.
#[derive(Debug, Subcommand)]
pub enum SimArguments {
    /// A local Discord with an example team
    Discord {
        /// Its port
        #[arg(long, default_value_t = 7070)]
        port: u16,
    },
    /// A local Fly with example apps
    Fly {
        /// Its port
        #[arg(long, default_value_t = 7080)]
        port: u16,
    },
}

/// Runs a stand-in alone, until told to stop.
///
/// # Errors
/// When it cannot listen.
pub async fn sim(which: SimArguments, told_to_stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    match which {
        SimArguments::Discord { port } => {
            let mut options = discord::Options::new(discord::Workspace::example());
            options.bind = crate::loopback(port);
            let handle = discord::start(options).await.map_err(|why| not_up("the local Discord", port, why))?;
            say(&format!("A local Discord: the page is {}, the API {}", handle.base_url(), handle.api_url()));
            say(&format!(
                "Its bot token is {}. docs/sim.md says what else it can do. Ctrl-C stops it.",
                handle.bot_token()
            ));
            told_to_stop.await;
            handle.shutdown().await;
        }
        SimArguments::Fly { port } => {
            let workspace = fly::Workspace::from_json(FLY).map_err(|why| anyhow!("{why}"))?;
            let mut options = fly::Options::new(workspace);
            options.bind = crate::loopback(port);
            let handle = fly::start(options).await.map_err(|why| not_up("the local Fly", port, why))?;
            say(&format!(
                "A local Fly: machines at {}. docs/sim-fly.md says what else it can do. Ctrl-C stops it.",
                handle.machines_url()
            ));
            told_to_stop.await;
            let _ = handle.shutdown().await;
        }
    }
    Ok(())
}

/// Says a line to whoever started it. Where nobody listens any more (`demo | head -2`), it goes unsaid: the demo goes on, and
/// still stops its bot at the end.
fn say(words: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{words}").and_then(|()| out.flush());
}

/// Why a stand-in cannot listen, and what to do.
fn not_up(what: &str, port: u16, why: std::io::Error) -> anyhow::Error {
    match why.kind() {
        ErrorKind::AddrInUse => anyhow!("port {port} of this machine is in use; `--port` takes another"),
        ErrorKind::PermissionDenied => anyhow!("{what} may not listen on port {port}: {why}; `--port` takes another"),
        _ => anyhow!("{what} cannot start on port {port}: {why}"),
    }
}

/// A speed at which promise time goes forward.
fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number is wanted, such as 60".to_owned())?;
    // Written so that what is no number is refused as well.
    if speed > 0.0 && speed <= SPEED_MAX {
        return Ok(speed);
    }
    Err(format!("promise time must go forward: more than 0, and at most {SPEED_MAX}"))
}

/// Where a demo started this bot: ends it as soon as that demo is gone, however it went. A bot that stays behind would hold the
/// folder and the address that the next demo needs. What it has answered is on the disk, so no order is needed.
pub fn end_with_the_demo() {
    if std::env::var_os(HELD).is_none() {
        return;
    }
    std::thread::spawn(|| {
        let mut rest = [0; 64];
        let mut pipe = std::io::stdin();
        loop {
            match pipe.read(&mut rest) {
                Ok(0) => break,
                Err(why) if why.kind() != ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        std::process::exit(1);
    });
}

/// What the demo's parts share.
pub struct Demo {
    discord: Mutex<Option<Arc<discord::Handle>>>,
    fly: Arc<fly::Handle>,
    bot: Arc<BotProcess>,
    play: Mutex<Play>,
    folder: Folder,
    speed: f64,
    zone: chrono_tz::Tz,
}

impl Demo {
    fn discord(&self) -> Option<Arc<discord::Handle>> {
        self.discord.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the local Fly lets the bot in with: to look, and to act on each app.
fn tokens(workspace: &fly::Workspace) -> Vec<(String, String)> {
    let look =
        workspace.token(fly::TokenKind::Readonly, None).map(|token| (FLY_READ_TOKEN.to_owned(), token.to_owned()));
    let act = workspace.apps.iter().filter_map(|app| {
        let token = workspace.token(fly::TokenKind::Deploy, Some(&app.name))?;
        Some((fly_deploy_command(&app.name).1, token.to_owned()))
    });
    look.into_iter().chain(act).collect()
}

/// Runs the demo until told to stop.
///
/// # Errors
/// When a port is taken or the bot does not come up.
pub async fn demo(arguments: DemoArguments, told_to_stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let DemoArguments { port, speed, fresh, state } = arguments;
    let folder = Folder::take(&state, fresh)?;
    let state = folder.path().to_owned();

    let mut workspace = fly::Workspace::from_json(FLY).map_err(|why| anyhow!("{why}"))?;
    workspace.settings.boot_ms = BOOT_MS;
    workspace.settings.healthy_ms = HEALTHY_MS;
    let tokens = tokens(&workspace);
    let mut options = fly::Options::new(workspace);
    options.state_dir = Some(state.join(folder::FLY));
    let fly = Arc::new(fly::start(options).await.context("the local Fly")?);
    let bot = Arc::new(BotProcess::new(&state, tokens, Arc::clone(&fly)));
    let demo = Arc::new(Demo {
        discord: Mutex::new(None),
        fly: Arc::clone(&fly),
        bot: Arc::clone(&bot),
        play: Mutex::default(),
        folder,
        speed,
        zone: zone(SETUP)?,
    });

    let workspace: discord::Workspace = serde_json::from_str(DISCORD).context("the demo's workspace")?;
    let mut options = discord::Options::new(workspace);
    options.bind = crate::loopback(port);
    options.state_dir = Some(state.join("discord"));
    options.demo = Some(routes(Arc::clone(&demo)));
    let handle = discord::start(options).await.map_err(|why| not_up("the demo's page", port, why))?;
    let handle = Arc::new(handle);
    *demo.discord.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&handle));

    let lived = live(&demo, &handle, port, told_to_stop).await;
    bot.stop().await;
    drop(demo);
    if let Ok(fly) = Arc::try_unwrap(fly) {
        let _ = fly.shutdown().await;
    }
    if let Ok(handle) = Arc::try_unwrap(handle) {
        handle.shutdown().await;
    }
    lived
}

/// Brings the bot up, and waits until told to stop. Told so while it comes up, it does not come up.
async fn live(
    demo: &Demo,
    discord: &discord::Handle,
    port: u16,
    told_to_stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let up = async {
        start_bot(demo, discord)?;
        demo.bot.wait_up().await?;
        play::go_live(demo).await
    };
    tokio::pin!(told_to_stop);
    tokio::select! {
        up = up => up?,
        () = &mut told_to_stop => return Ok(()),
    }
    // Only now, so that whoever reads the address may press anything at once.
    say(&format!("\n  Watchbell's demo is at http://127.0.0.1:{port}/\n"));
    say(&format!(
        "  Type /sev1 checkout is down, or press “Show me 3 a.m.”. Ctrl-C stops it; the state stays in {}.\n",
        demo.folder.path().display()
    ));
    told_to_stop.await;
    say("Stopping.");
    Ok(())
}

/// Starts the bot with a set-up for the guild as it is now.
fn start_bot(demo: &Demo, discord: &discord::Handle) -> anyhow::Result<()> {
    let policy = demo.folder.path().join(POLICY_FILE);
    // Whoever tries the demo may have changed it: it is theirs until the demo starts over.
    if !policy.exists() {
        std::fs::write(&policy, open_policy()?).with_context(|| format!("{} cannot be written", policy.display()))?;
    }
    let setup = fill(SETUP, discord, &demo.fly, demo.folder.path(), demo.bot.private_port(), demo.speed)?;
    demo.bot.start(&setup, &discord.bot_token())
}

/// The shipped policy, with production open at any hour: whoever tries the demo does so on whatever day it is, and the other checks
/// are there to be seen.
///
/// # Errors
/// When the shipped policy is not what it was.
fn open_policy() -> anyhow::Result<String> {
    let mut policy: toml::Table = SHIPPED.parse().context("the shipped policy")?;
    let always: toml::Table = "days = \"every day\"\nfrom = \"00:00\"\nto = \"24:00\"\non_holidays = true".parse()?;
    let deploys = policy.get_mut("deploys").and_then(toml::Value::as_table_mut);
    let deploys = deploys.ok_or_else(|| anyhow!("the shipped policy says nothing of deploys"))?;
    let open = ["staging", "production"].map(|stage| (stage.to_owned(), always.clone().into()));
    deploys.insert("window".to_owned(), toml::Table::from_iter(open).into());
    deploys.remove("freezes");
    Ok(policy.to_string())
}

/// The team's zone, as the set-up has it.
fn zone(setup: &str) -> anyhow::Result<chrono_tz::Tz> {
    let line = setup.lines().find_map(|line| line.strip_prefix("zone = "));
    let name = line.ok_or_else(|| anyhow!("the demo's set-up has no zone"))?.trim().trim_matches('"');
    name.parse().map_err(|why| anyhow!("{why}"))
}

/// Fills in what is known only now.
fn fill(
    setup: &str,
    discord: &discord::Handle,
    fly: &fly::Handle,
    state: &Path,
    private_port: u16,
    speed: f64,
) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = setup;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        let end = after.find("}}").ok_or_else(|| anyhow!("a {{{{ without its end in the demo's set-up"))?;
        let word = &after[2..end];
        out.push_str(before);
        out.push_str(&match word.split_once(':') {
            Some(("member", name)) => {
                discord.member_id(name).ok_or_else(|| anyhow!("nobody is called {name} in the demo"))?.to_string()
            }
            Some(("front", app)) => fly.front_url(app).ok_or_else(|| anyhow!("no app {app} in the demo"))?,
            _ => match word {
                "guild" => discord.guild_id().to_string(),
                "discord" => discord.base_url(),
                "fly" => format!("http://{}", fly.addr()),
                "private_port" => private_port.to_string(),
                "state" => state.join("bot").display().to_string(),
                "policy" => state.join(POLICY_FILE).display().to_string(),
                "speed" => format!("{speed:?}"),
                _ => return Err(anyhow!("{{{{{word}}}}} means nothing in the demo's set-up")),
            },
        });
        rest = &after[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// What the page's demo bar asks for, below `/sim/demo`.
fn routes(demo: Arc<Demo>) -> Router {
    Router::new()
        .route("/info", get(info))
        .route("/clock", post(clock))
        .route("/play", post(start_play))
        .route("/kill", post(kill))
        .route("/service", post(service))
        .route("/release", post(release))
        .route("/memory", post(memory))
        .route("/fresh", post(fresh))
        .with_state(demo)
}

async fn info(State(demo): State<Arc<Demo>>) -> Json<Value> {
    let counters = demo.discord().map(|discord| discord.counters()).unwrap_or_default();
    let bot = demo.bot.info().await;
    let play = demo.play.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(json!({
        "speed": bot.speed,
        "promise_now": bot.promise_now.map(|now| now.to_rfc3339()),
        "virtual": true,
        "zone": demo.zone.name(),
        "bot": bot.condition,
        "bot_up_since": bot.up_since.map(|at| at.to_rfc3339()),
        "counters": {
            "pings": counters.get("pings"),
            "doubled": counters.get("doubled"),
            "late": bot.late,
            "restarts": bot.restarts,
        },
        "overdue": bot.overdue,
        "fly": format!("http://{}", demo.fly.addr()),
        "services": services(&demo.fly),
        "play": play,
        "clock": bot.clock,
    }))
}

async fn clock(State(demo): State<Arc<Demo>>, Json(wanted): Json<Value>) -> Response {
    let moved = match wanted["advance_s"].as_u64() {
        Some(seconds) => demo.bot.skip(seconds).await,
        None => demo.bot.move_clock(&wanted).await,
    };
    match moved {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => sentence(StatusCode::CONFLICT, &why.to_string()),
    }
}

async fn start_play(State(demo): State<Arc<Demo>>) -> Response {
    match play::start(&demo) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(why) => sentence(StatusCode::CONFLICT, why),
    }
}

async fn kill(State(demo): State<Arc<Demo>>) -> Response {
    match demo.bot.kill().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => sentence(StatusCode::CONFLICT, &why.to_string()),
    }
}

/// Which service; with a behaviour, how it should behave.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    behaviour: Option<String>,
}

impl Named {
    fn app(&self) -> String {
        match self.stage.as_deref() {
            Some("staging") => format!("{}-staging", self.name),
            _ => self.name.clone(),
        }
    }
}

async fn service(State(demo): State<Arc<Demo>>, Json(wanted): Json<Named>) -> Response {
    let behaviour = wanted.behaviour.as_deref().unwrap_or("healthy");
    done(behave(&demo.fly, &wanted.app(), behaviour))
}

/// A deploy past the bot, of an image that does not do.
async fn release(State(demo): State<Arc<Demo>>, Json(wanted): Json<Named>) -> Response {
    done(elsewhere::release(&demo.fly, &wanted.app()))
}

/// A program is killed for want of memory on one machine, and started again.
async fn memory(State(demo): State<Arc<Demo>>, Json(wanted): Json<Named>) -> Response {
    done(elsewhere::memory_runs_out(&demo.fly, &wanted.app()))
}

fn done<T>(did: anyhow::Result<T>) -> Response {
    match did {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => sentence(StatusCode::BAD_REQUEST, &why.to_string()),
    }
}

/// Starts over: the bot's record and the channels are emptied, and every app runs what it ran at first.
async fn fresh(State(demo): State<Arc<Demo>>) -> Response {
    if demo.play.lock().unwrap_or_else(PoisonError::into_inner).running {
        return sentence(StatusCode::CONFLICT, "wait until 3 a.m. is over");
    }
    let Some(discord) = demo.discord() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let again = async {
        demo.bot.stop().await;
        folder::remove(&demo.folder.path().join("bot"))?;
        demo.bot.forget();
        discord.call("reset", json!({})).await.map_err(|why| anyhow!("{why}"))?;
        demo.fly.act("reset", &json!({})).map_err(|why| anyhow!("{why}"))?;
        *demo.play.lock().unwrap_or_else(PoisonError::into_inner) = Play::default();
        // The guild, its people and its channels have new ids now.
        start_bot(&demo, &discord)?;
        demo.bot.wait_up().await?;
        play::go_live(&demo).await
    };
    match again.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
    }
}

/// The apps of the local Fly, by name.
fn apps(fly: &fly::Handle) -> Vec<String> {
    let state = fly.state();
    let apps = state["apps"].as_array().into_iter().flatten();
    apps.filter_map(|app| app["name"].as_str().map(str::to_owned)).collect()
}

/// Makes every machine of an app behave like this.
fn behave(fly: &fly::Handle, app: &str, behaviour: &str) -> anyhow::Result<()> {
    let wanted = json!({ "app": app, "behaviour": behaviour, "slow_ms": 900 });
    fly.act("behaviour", &wanted).map(|_| ()).map_err(|why| anyhow!("{why}"))
}

/// What a machine does, as far as it can be told from its image and from what it was told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    Well,
    Slow,
    Wrong,
    Dead,
}

impl Does {
    /// As the page knows it.
    fn word(self) -> &'static str {
        match self {
            Self::Well => "up",
            Self::Slow => "slow",
            Self::Wrong => "wrong",
            Self::Dead => "dead",
        }
    }
}

fn does(machine: &Value) -> Does {
    let word = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
    let told = match word("behaviour").as_str() {
        "slow" => Does::Slow,
        "wrong" | "wrong_body" => Does::Wrong,
        "dead" | "hanging" => Does::Dead,
        _ => Does::Well,
    };
    let by_image = match word("character").as_str() {
        "unhealthy" | "broken" => Does::Wrong,
        "crash_loop" | "out_of_memory" => Does::Dead,
        _ => Does::Well,
    };
    told.max(by_image)
}

/// The services as the page shows them.
fn services(fly: &fly::Handle) -> Vec<Value> {
    let state = fly.state();
    let apps = state["apps"].as_array().cloned().unwrap_or_default();
    apps.iter()
        .map(|app| {
            let machines = app["machines"].as_array().map(Vec::as_slice).unwrap_or_default();
            // Where the machines differ, the worst is shown.
            let shown = machines.iter().map(does).max().unwrap_or(Does::Well);
            let shown = if app["asleep"].as_bool() == Some(true) { "asleep" } else { shown.word() };
            let stage = app["stage"].as_str().unwrap_or("production");
            let name = app["name"].as_str().unwrap_or_default().trim_end_matches("-staging");
            let tag = |machine: &Value| {
                machine["image"].as_str().and_then(|image| image.rsplit(':').next()).map(str::to_owned)
            };
            let images: Vec<Option<String>> = machines.iter().map(tag).collect();
            json!({ "name": name, "stage": stage, "state": shown, "images": images })
        })
        .collect()
}

fn sentence(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({ "error": words }))).into_response()
}
