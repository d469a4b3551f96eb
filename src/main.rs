//! The program: arguments, configuration, telemetry, then the bot, the demo, a stand-in, or one question to the record.
//!
//! Exit codes: 0 well, 1 a warning (`health`) or a failure, 2 critical (`health`) or arguments that make no sense, 3 nothing
//! was looked at (`health`). `deploy` has five of its own: see `ask.rs`.

#[cfg(feature = "sim")]
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};
use watchbell::adapters::clock::SystemClock;
use watchbell::adapters::config::Config;
use watchbell::adapters::fly::Patience;
use watchbell::adapters::store::FsDisk;
use watchbell::adapters::{memory, store, telemetry};
use watchbell::commands;
use watchbell::domain::input::RecordHead;
use watchbell::ports::Clock as _;
use watchbell::ports::disk::Disk as _;
use watchbell::shell::{self, Settings};

mod ask;
#[cfg(feature = "sim")]
mod demo;
mod logs;

/// What `health` ends with when it could not look: a set-up that cannot be read is no warning about a service.
const NOT_LOOKED: u8 = 3;

/// An incident bot for a team that runs on Fly.io and talks on Discord.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the bot
    Run {
        /// The set-up
        #[arg(long, default_value = "watchbell.toml")]
        config: PathBuf,
        /// Log as JSON, a line each
        #[arg(long)]
        json_logs: bool,
    },
    /// Try it with no account anywhere: a local Discord, a local Fly and the bot between them
    #[cfg(feature = "sim")]
    Demo(demo::DemoArguments),
    /// Start one stand-in alone, for whoever wants to try their own bot or client
    #[cfg(feature = "sim")]
    Sim {
        /// Which one
        #[command(subcommand)]
        which: demo::SimArguments,
    },
    /// Print every slash command, from the one list that registers them
    Commands {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at every service now; exit code 0 well, 1 warning, 2 critical, 3 nothing was looked at
    Health {
        /// The set-up
        #[arg(long, default_value = "watchbell.toml")]
        config: PathBuf,
        /// Only this service
        #[arg(long)]
        service: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Append what was seen, as a line of JSON, to this file
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
    /// Show what services write into their logs, secrets masked; with --follow, as it comes
    Logs(logs::LogsArguments),
    /// Ask a running bot for a deploy, from a pipeline; exit code 0 well, 1 it did not do well, 2 refused by a check or a person,
    /// 3 the bot could not be asked, 4 no yes or no verdict in time
    Deploy(ask::DeployArguments),
    /// Check a set-up before anyone relies on it
    Doctor {
        /// The set-up
        #[arg(long, default_value = "watchbell.toml")]
        config: PathBuf,
        /// Write the result as a readiness report, in Markdown
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Write a commented watchbell.toml by asking
    Init {
        /// Where to
        #[arg(long, default_value = "watchbell.toml")]
        config: PathBuf,
    },
    /// Write the record, line by line as it stands, to standard output
    Export {
        /// The state folder
        #[arg(long)]
        state: PathBuf,
    },
    /// Bring an export into a new state folder, verified; it waits for `resume` before anything is done
    Import {
        /// The new state folder
        #[arg(long)]
        state: PathBuf,
        /// The export
        file: PathBuf,
        /// Take it although parts of it cannot be read
        #[arg(long)]
        accept_damage: bool,
    },
    /// Let an imported state act from now on
    Resume {
        /// The state folder
        #[arg(long)]
        state: PathBuf,
    },
    /// List what was changed at Fly; of one change its facts and each machine's configuration before and after, as JSON
    Ledger {
        /// The state folder
        #[arg(long)]
        state: PathBuf,
        /// Which change: DEP-7; all are listed when left out
        change: Option<String>,
        /// Only this machine's configuration, of that change or the newest that has it, for `fly machine update`
        #[arg(long, value_name = "ID", requires = "side")]
        machine: Option<String>,
        /// As it was before
        #[arg(long, group = "side", requires = "machine")]
        before: bool,
        /// As it was after
        #[arg(long, group = "side", requires = "machine")]
        after: bool,
    },
    /// Read the whole record and check every line of it
    Verify {
        /// The state folder
        #[arg(long)]
        state: PathBuf,
        /// Check as well that the record still has what a digest said it ends with, as 214-3f9a1c20d4e5
        #[arg(long, value_name = "END")]
        holds: Option<RecordHead>,
    },
}

fn main() -> ExitCode {
    memory::one_heap();
    let arguments = Arguments::parse();
    let quiet = !matches!(arguments.action, Action::Run { .. });
    let json = matches!(arguments.action, Action::Run { json_logs: true, .. });
    let asked = std::env::var("RUST_LOG").ok();
    let filter = asked.as_deref().or(if quiet { Some("error") } else { None });
    if let Err(why) = telemetry::start(filter, json) {
        eprintln!("watchbell: {why}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("watchbell: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(act(arguments.action)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("watchbell: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Run { config, .. } => {
            #[cfg(feature = "sim")]
            demo::end_with_the_demo();
            let config = Config::load_to_run(&config, |name| std::env::var(name).ok());
            let config = config.map_err(|refused| anyhow!(refused.0))?;
            // Where the clock can be moved, the host is a stand-in.
            let patience =
                if config.virtual_clock.is_some() { Patience::with_a_stand_in() } else { Patience::default() };
            shell::start(config, Settings { patience, ..Settings::default() }).await?.run(told_to_stop()).await?;
        }
        #[cfg(feature = "sim")]
        Action::Demo(arguments) => demo::demo(arguments, told_to_stop()).await?,
        #[cfg(feature = "sim")]
        Action::Sim { which } => demo::sim(which, told_to_stop()).await?,
        Action::Commands { json: false } => print!("{}", commands::document()),
        Action::Commands { json: true } => println!("{}", commands_json()),
        Action::Health { config, service, json, record } => {
            let looked = match load(&config) {
                Ok(config) => health(&config, service.as_deref(), json, record.as_deref()).await,
                Err(error) => Err(error),
            };
            return Ok(looked.unwrap_or_else(|error| {
                eprintln!("watchbell: {error:#}");
                ExitCode::from(NOT_LOOKED)
            }));
        }
        Action::Logs(arguments) => {
            let config = load(&arguments.config)?;
            logs::logs(&config, arguments, told_to_stop()).await?;
        }
        Action::Deploy(arguments) => return Ok(ask::deploy(arguments).await),
        Action::Doctor { config, report } => return doctor(&config, report.as_deref()).await,
        Action::Init { config } => init(&config)?,
        Action::Export { state } => export(&state)?,
        Action::Import { state, file, accept_damage } => import(&state, &file, accept_damage)?,
        Action::Resume { state } => resume(&state)?,
        Action::Ledger { state, change, machine, after, .. } => {
            let side = if after { shell::ledger::Side::After } else { shell::ledger::Side::Before };
            ledger(&state, change.as_deref(), machine.as_deref().map(|machine| (machine, side)))?;
        }
        Action::Verify { state, holds } => return Ok(verify(&state, holds.as_ref())),
    }
    Ok(ExitCode::SUCCESS)
}

fn load(path: &Path) -> anyhow::Result<Config> {
    Config::load(path, |name| std::env::var(name).ok()).map_err(|refused| anyhow!(refused.0))
}

/// Resolves at Ctrl-C or SIGTERM.
async fn told_to_stop() {
    let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

fn export(state: &Path) -> anyhow::Result<()> {
    if !state.join("log").is_dir() {
        return Err(anyhow!("{} is no state folder: there is no log in it", state.display()));
    }
    let opened = store::open(state, &store::Options { sled: false, ..store::Options::at(now_ms()) })?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    opened.journal.export(&mut out).context("cannot export")?;
    std::io::Write::flush(&mut out)?;
    Ok(())
}

fn import(state: &Path, file: &Path, accept_damage: bool) -> anyhow::Result<()> {
    let mut from = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let head = store::import(state, &mut from, accept_damage, now_ms()).context("cannot import")?;
    println!("Imported up to line {}. It waits: `watchbell resume --state {}` lets it act.", head.seq, state.display());
    Ok(())
}

fn resume(state: &Path) -> anyhow::Result<()> {
    if !state.join("log").is_dir() {
        return Err(anyhow!("{} is no state folder: there is no log in it", state.display()));
    }
    store::resume(state).with_context(|| format!("cannot resume {}", state.display()))
}

fn ledger(state: &Path, change: Option<&str>, one: Option<(&str, shell::ledger::Side)>) -> anyhow::Result<()> {
    if !state.join("log").is_dir() {
        return Err(anyhow!("{} is no state folder: there is no log in it", state.display()));
    }
    let number = |named: &str| {
        let digits = named.trim().trim_start_matches("DEP-");
        digits.parse().map(watchbell::domain::ids::DeployId).map_err(|_| anyhow!("“{named}” is no change: write DEP-7"))
    };
    let id = change.map(number).transpose()?;
    match (id, one) {
        (id, Some((machine, side))) => println!("{:#}", shell::ledger::config(state, id, machine, side)?),
        (Some(id), None) => println!("{:#}", shell::ledger::show(state, id)?),
        (None, None) => shell::ledger::list(state).iter().for_each(|line| println!("{line}")),
    }
    Ok(())
}

fn verify(state: &Path, holds: Option<&RecordHead>) -> ExitCode {
    if !state.join("log").is_dir() {
        println!("✗ {} is no state folder: there is no log in it", state.display());
        return ExitCode::FAILURE;
    }
    let report = store::verify(state);
    let (first, last) = (report.first_seq.unwrap_or(0), report.last_seq.unwrap_or(0));
    println!("{} lines verify, {first} to {last}; {} redacted.", report.lines, report.redacted);
    for (from, to) in &report.gaps {
        println!("✗ lines {from} to {to} are lost");
    }
    for damage in &report.damage {
        println!("✗ {damage}");
    }
    let is_there = holds.is_none_or(|end| match holding(state, end) {
        Ok(says) => {
            println!("✓ {says}");
            true
        }
        Err(says) => {
            println!("✗ {says}");
            false
        }
    });
    if report.whole() && is_there { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the record still has the line that a digest named; a sentence either way.
fn holding(state: &Path, end: &RecordHead) -> Result<String, String> {
    let disk = FsDisk::new(state);
    match store::read_from(&disk, end.seq).find_map(Result::ok) {
        Some(line) if line.seq == end.seq && line.hash.starts_with(&end.hash) => {
            Ok(format!("line {} is the one that the digest named", end.seq))
        }
        Some(line) if line.seq == end.seq => Err(format!(
            "line {} is another than the digest named: this record was changed, or is not the one that wrote the digest",
            end.seq
        )),
        Some(line) => Err(format!("line {} is not there; the next that can be read is {}", end.seq, line.seq)),
        None => {
            Err(format!("line {} is not there: the end of the record was lost after the digest was written", end.seq))
        }
    }
}

fn commands_json() -> String {
    use watchbell::domain::command_spec::CommandKind;
    let list: Vec<serde_json::Value> = commands::specs()
        .into_iter()
        .map(|spec| {
            let options: Vec<serde_json::Value> = spec
                .options
                .iter()
                .map(|option| {
                    serde_json::json!({ "name": option.name, "help": option.help, "required": option.required })
                })
                .collect();
            serde_json::json!({
                "name": spec.name,
                "help": spec.help,
                "on_message": spec.kind == CommandKind::OnMessage,
                "right": spec.right.map(watchbell::domain::policy::Right::name),
                "options": options,
            })
        })
        .collect();
    serde_json::to_string_pretty(&list).unwrap_or_default()
}

async fn health(config: &Config, service: Option<&str>, json: bool, record: Option<&Path>) -> anyhow::Result<ExitCode> {
    use std::io::{IsTerminal as _, Write as _};
    use watchbell::domain::health::{self, Mark};
    use watchbell::ports::Watch as _;

    let named = match service {
        None => None,
        Some(name) => Some(
            config
                .workspace
                .service(name)
                .map(|service| service.name.clone())
                .ok_or_else(|| anyhow!("there is no service “{name}” in {}", config.path.display()))?,
        ),
    };
    let clock = Arc::new(SystemClock::default());
    let prober =
        shell::looking::prober(config, clock, &watchbell::adapters::fly::Paces::new(watchbell::adapters::fly::PACE))
            .map_err(|why| anyhow!(why))?;
    let report = prober.look(named.as_ref()).await.held_against(&config.policy);
    if let Some(file) = record {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        writeln!(file, "{}", health::json(&report))?;
    }
    if json {
        println!("{:#}", health::json(&report));
    } else {
        let colour = std::io::stdout().is_terminal();
        for (mark, line) in health::lines(&report) {
            let code = match mark {
                Mark::Ok => "32",
                Mark::Warning => "33",
                Mark::Critical => "31",
                Mark::Unknown => "35",
            };
            if colour {
                println!("\x1b[{code}m{}\x1b[0m {line}", mark.sign());
            } else {
                println!("{} {line}", mark.sign());
            }
        }
    }
    Ok(ExitCode::from(health::exit_code(&report)))
}

async fn doctor(config: &Path, report: Option<&Path>) -> anyhow::Result<ExitCode> {
    let now = SystemClock::default().now();
    let env = |name: &str| std::env::var(name).ok();
    let checks = shell::doctor::examine_file(config, env, now, |folder| FsDisk::new(folder).free_bytes()).await;
    for check in &checks {
        println!("{check}");
    }
    if let Some(file) = report {
        let team = load(config).map_or_else(|_| "the team".to_owned(), |config| config.workspace.team.name);
        std::fs::write(file, shell::doctor::report(&checks, &team, now))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::from(shell::doctor::exit_code(&checks)))
}

fn init(config: &Path) -> anyhow::Result<()> {
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    Ok(shell::init::init(config, &mut stdin.lock(), &mut stdout)?)
}

/// The present, in milliseconds since 1970.
fn now_ms() -> i64 {
    SystemClock::default().now().timestamp_millis()
}

/// An address on loopback.
#[cfg(feature = "sim")]
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
