//! `watchbell logs`: what services write into their logs, in a terminal, several at once, coloured, and followed when asked to.
//!
//! Needs a set-up file and the token to look with, and no running bot. Secrets are masked here as in chat: a terminal is shared and
//! recorded, too. Lines go to standard output, everything that is said about them to standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use chrono::TimeDelta;
use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use watchbell::adapters::clock::SystemClock;
use watchbell::adapters::config::Config;
use watchbell::adapters::fly::Patience;
use watchbell::domain::logs::follow::Heard;
use watchbell::domain::logs::{Ask, CONTAINS_CHARS_MAX, Filter, Found, Line, Reach, Trouble, since};
use watchbell::domain::text::logs::{self as words, Tint};
use watchbell::domain::verbs::logs::Wanted;
use watchbell::domain::workspace::Stage;
use watchbell::shell::logs::ReadsLogs;
use watchbell::shell::looking;

/// Lines of the past, at most.
const LINES_MAX: u16 = 1_000;

/// Which lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Levels, statuses, Fly's codes, how programs ended
    Errors,
    /// What took longer than it should
    Slow,
    /// Checks, machines that come up or end
    Health,
    /// Every line
    All,
}

/// A stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnlyStage {
    Production,
    Staging,
}

/// Whether colours are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// In a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// What is asked for.
#[derive(Debug, Args)]
pub struct LogsArguments {
    /// Which services, by name or short name; `all` for every one with a Fly app
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    /// Which lines
    #[arg(long, default_value = "all")]
    filter: Which,
    /// How far back: 30m, 2h, 1d
    #[arg(long, default_value = "1h", value_parser = since)]
    since: TimeDelta,
    /// Only lines with these words
    #[arg(long, value_name = "WORDS")]
    contains: Option<String>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// So many of the newest lines at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=i64::from(LINES_MAX)))]
    lines: u16,
    /// Which copy
    #[arg(long, default_value = "production")]
    stage: OnlyStage,
    /// Whether to colour errors red, slow answers yellow, health green
    #[arg(long, alias = "color", default_value = "auto")]
    colour: Colour,
    /// The set-up
    #[arg(long, default_value = "watchbell.toml")]
    pub config: PathBuf,
}

/// Prints lines, and goes on when asked to until told to stop.
///
/// # Errors
/// There is no such service or no token, or the log side does not say.
pub async fn logs(config: &Config, asked: LogsArguments, told_to_stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let stage = if asked.stage == OnlyStage::Staging { Stage::Staging } else { Stage::Production };
    let filter = match asked.filter {
        Which::Errors => Filter::Errors,
        Which::Slow => Filter::Slow,
        Which::Health => Filter::Health,
        Which::All => Filter::All,
    };
    let contains = asked.contains.map(|text| text.chars().take(usize::from(CONTAINS_CHARS_MAX)).collect());
    let wanted = Wanted { services: asked.services.join(","), stage, filter, contains };
    let of = wanted.sources(&config.workspace).map_err(|why| anyhow!(why))?;
    let reach = Reach::Last(asked.since);
    let ask = Ask { of, filter, contains: wanted.contains, reach, lines: usize::from(asked.lines) };
    let is_coloured = match asked.colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
        }
    };
    let slow_ms = ask.of.iter().map(|source| (source.service.clone(), source.slow_ms)).collect();
    let page = Page { is_coloured, zone: config.workspace.team.zone, has_service: ask.of.len() > 1, slow_ms };

    let reader =
        looking::logs(config, Patience::default(), Arc::new(SystemClock::default())).map_err(|why| anyhow!(why))?;
    let app = ask.of.first().map_or(String::new(), |source| source.app.clone());
    let found = reader.read(ask.clone()).await.map_err(|trouble| match trouble {
        Trouble::NoToken => anyhow!(words::no_token_here()),
        Trouble::Silent(says) => anyhow!(words::silent(&says, &app).replace('`', "")),
    })?;
    for (service, says) in &found.silent {
        eprintln!("✗ {service}: {says}");
    }
    let until_ns = found.until_ns;
    if page.print(&found.lines).is_err() {
        // Whoever read it has gone: `watchbell logs … | head`.
        return Ok(());
    }
    if !asked.follow {
        if let Some(note) = note(&found, &ask, page.zone) {
            eprintln!("{note}");
        }
        return Ok(());
    }
    follow(&*reader, Ask { reach: Reach::After(until_ns), ..ask }, &page, told_to_stop).await
}

/// Prints what comes.
async fn follow(
    reader: &dyn ReadsLogs,
    ask: Ask,
    page: &Page,
    told_to_stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut heard = reader.tail(&ask);
    let mut told_to_stop = std::pin::pin!(told_to_stop);
    let mut last = String::new();
    loop {
        let next = tokio::select! {
            next = heard.recv() => next,
            () = &mut told_to_stop => return Ok(()),
        };
        match next {
            Some(Heard::Lines(lines)) if page.print(&lines).is_err() => return Ok(()),
            Some(Heard::Lines(_)) => {}
            Some(Heard::Silent(service, says)) => eprintln!("✗ {service}: {says}; I go on asking"),
            Some(Heard::Back(service)) => eprintln!("✓ {service}: its lines can be read again"),
            Some(Heard::Lost(service, says)) => {
                eprintln!("✗ {service}: {says}; I ask no more");
                last = says;
            }
            None => return Err(anyhow!("none of them tells its lines any more: {last}")),
        }
    }
}

/// What is said after a page, when there is something to say.
fn note(found: &Found, ask: &Ask, zone: Tz) -> Option<String> {
    let from = found.shown_at(found.from_ns).with_timezone(&zone).format("%d %b %H:%M:%S");
    match found.lines.len() {
        0 if found.is_whole => Some(format!("None of {} lines.", found.read)),
        _ if found.is_whole => None,
        lines if lines >= ask.lines => {
            Some(format!("These are the newest {lines}, from {from} on; --lines takes more."))
        }
        _ => Some(format!("Read back to {from}; there is more than can be read at once. Take a shorter --since.")),
    }
}

/// How lines are printed.
struct Page {
    is_coloured: bool,
    zone: Tz,
    has_service: bool,
    /// What takes as long is slow, by service, in ms.
    slow_ms: BTreeMap<String, u32>,
}

impl Page {
    /// Prints them at once, so that nobody waits for a buffer to be full.
    fn print(&self, lines: &[Line]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for line in lines {
            writeln!(out, "{}", self.line(line))?;
        }
        out.flush()
    }

    fn line(&self, line: &Line) -> String {
        let (before, says) = words::terminal(line, self.zone, self.has_service);
        if !self.is_coloured {
            return format!("{before}: {says}");
        }
        let code = match words::tint(line, self.slow_ms.get(&line.service).copied().unwrap_or(u32::MAX)) {
            Tint::Bad => "31",
            Tint::Warn => "33",
            Tint::Good => "32",
            Tint::Quiet => "0",
        };
        format!("\x1b[2m{before}:\x1b[0m \x1b[{code}m{says}\x1b[0m")
    }
}
