//! `watchbell deploy`: asks a running bot for a deploy, from a pipeline.
//!
//! Owns what the arguments and the pipeline's own variables mean. Needs no set-up file and no token of Fly's or Discord's: the bot's
//! address and one secret are all that a pipeline has to hold.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use watchbell::adapters::config::{DEPLOY_SECRET, FILE_BYTES_MAX};
use watchbell::adapters::hooks::client::{Ending, Hook};
use watchbell::domain::pipeline::fly_toml::FlyToml;
use watchbell::domain::pipeline::{Body, is_request_id};
use watchbell::domain::policy::Span;

/// A stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnlyStage {
    Staging,
    Production,
}

/// An order of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Rolling,
    Canary,
    Immediate,
}

/// What is asked for.
#[derive(Debug, Args)]
pub struct DeployArguments {
    /// Which service
    #[arg(long)]
    service: String,
    /// Which image: a whole image, a tag or v43
    #[arg(long)]
    image: String,
    /// Only this stage; staging and then production when left out
    #[arg(long)]
    stage: Option<OnlyStage>,
    /// In which order machines are changed; what fly.toml says, else rolling, when left out
    #[arg(long)]
    strategy: Option<Order>,
    /// What it is for; passes no check
    #[arg(long)]
    why: Option<String>,
    /// Hold this fly.toml against what runs: a difference is refused, and nothing of it is applied
    #[arg(long, value_name = "FILE")]
    fly_toml: Option<PathBuf>,
    /// Follow it to its verdict, a line a change
    #[arg(long)]
    wait: bool,
    /// Follow it for at most so long
    #[arg(long, default_value = "60m", requires = "wait")]
    timeout: Span,
    /// How long the bot may be out of reach before it counts as not asked
    #[arg(long, default_value = "2m")]
    away: Span,
    /// The bot's public address
    #[arg(long, env = "WATCHBELL_URL")]
    url: String,
    /// Who set it off; GitHub's actor when left out
    #[arg(long)]
    actor: Option<String>,
    /// What was built; GitHub's commit when left out
    #[arg(long)]
    commit: Option<String>,
    /// Where the run can be looked at; GitHub's when left out
    #[arg(long, value_name = "URL")]
    run: Option<String>,
    /// A name of its own: the same again is the same deploy. One for each attempt at a run of GitHub's when left out
    #[arg(long)]
    id: Option<String>,
}

/// Asks, and says how it ended by the exit code: 0 well, 1 it did not do well, 2 refused, 3 not asked, 4 no yes or verdict in time.
pub async fn deploy(arguments: DeployArguments) -> ExitCode {
    let (hook, id, body, wait) = match prepared(&arguments) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("watchbell: {error:#}");
            return ExitCode::from(Ending::NotAsked.exit_code());
        }
    };
    let has_file = body.fly_toml.is_some();
    let ending = hook.deploy(&id, &body, wait, |line| println!("{line}")).await;
    if has_file && ending == Ending::Well {
        println!(
            "Of fly.toml the app, the release command and the machines' size are as they run. The rest of it was not compared, and \
             nothing of it is applied: new settings go out with `fly deploy`."
        );
    }
    ExitCode::from(ending.exit_code())
}

fn prepared(arguments: &DeployArguments) -> anyhow::Result<(Hook, String, Body, Option<Duration>)> {
    let set =
        |name: &str| std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|text| !text.is_empty());
    let secret =
        set(DEPLOY_SECRET).ok_or_else(|| anyhow!("{DEPLOY_SECRET} is not set: it is the one that the bot has"))?;
    let away = Duration::from_millis(arguments.away.millis());
    let hook = Hook::new(&arguments.url, SecretString::from(secret), away).map_err(|why| anyhow!(why))?;
    let github = |name: &str| set("GITHUB_ACTIONS").and_then(|_| set(name));
    let run = || {
        let (server, repository) = (github("GITHUB_SERVER_URL")?, github("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", github("GITHUB_RUN_ID")?))
    };
    let fly_toml = arguments.fly_toml.as_deref().map(read).transpose()?;
    let of_file = match (&arguments.strategy, &fly_toml) {
        (None, Some(file)) => file.strategy().map_err(|why| anyhow!(why))?,
        _ => None,
    };
    let strategy = arguments.strategy.as_ref().map(typed).or(of_file.map(|order| order.name().to_owned()));
    let body = Body {
        service: arguments.service.clone(),
        image: arguments.image.clone(),
        stage: arguments.stage.as_ref().map(typed),
        strategy,
        why: arguments.why.clone(),
        actor: arguments.actor.clone().or_else(|| github("GITHUB_ACTOR")),
        commit: arguments.commit.clone().or_else(|| github("GITHUB_SHA")),
        url: arguments.run.clone().or_else(run),
        fly_toml,
    };
    let id = match &arguments.id {
        Some(id) if is_request_id(id) => id.clone(),
        Some(_) => return Err(anyhow!("--id is 1 to 80 letters, digits, dots, dashes and underscores")),
        None => match (github("GITHUB_RUN_ID"), github("GITHUB_RUN_ATTEMPT")) {
            (Some(run), Some(attempt)) => of_run(&run, &attempt, &body),
            _ => format!("{:032x}", fastrand::u128(..)),
        },
    };
    let wait = arguments.wait.then(|| Duration::from_millis(arguments.timeout.millis()));
    Ok((hook, id, body, wait))
}

/// A name for what one attempt at a run asks for: a step of it that is repeated asks for the same.
fn of_run(run: &str, attempt: &str, body: &Body) -> String {
    /// Digits that tell what one run asks for apart.
    const DIGITS: usize = 12;
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).take(24).collect::<String>();
    format!("github-{}-{}-{}", plain(run), plain(attempt), digits.get(..DIGITS).unwrap_or_default())
}

fn read(file: &Path) -> anyhow::Result<FlyToml> {
    let size = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(anyhow!("{}: {size} bytes is no fly.toml", file.display()));
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    FlyToml::read(&text).map_err(|why| anyhow!("{}: {why}", file.display()))
}

/// A value as it is typed.
fn typed<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
