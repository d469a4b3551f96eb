//! What the bot costs when nothing happens: memory, wake-ups and processor time, as the system counts them.
//!
//! `cargo bench --bench idle [-- --seconds N --probes N --folder DIR --program FILE]`. The real program (`watchbell run`) in a
//! process of its own with an empty record, against the local Discord in this one; a minute to settle, then a minute to count.
//! Once without services, then with as many probes as told (4), each every 30 s as the shipped policy has it. With `--folder`
//! once, without services, on a copy of that state folder, as `cargo bench --bench start -- --folder DIR` leaves one. The program is
//! what `cargo bench` builds, stand-ins included, or with `--program` another one, as what the image holds. A wake-up
//! is a voluntary context switch of any of its threads: a wait that ended.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use support::{options, proc_status};
use watchbell::sim::discord::{self, Handle};

const SECONDS: u64 = 60;
const PROBES: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = options();
    let seconds = options.get("--seconds").map_or(Ok(SECONDS), |given| given.parse())?;
    let probes = options.get("--probes").map_or(Ok(PROBES), |given| given.parse())?;
    let discord = discord::start(discord::Options::new(discord::Workspace::example())).await?;
    let services = service().await?;
    let minute = Duration::from_secs(seconds);
    let program = options.get("--program").map_or(env!("CARGO_BIN_EXE_watchbell"), String::as_str);
    if let Some(record) = options.get("--folder") {
        idle(program, &discord, &services, 0, minute, Some(Path::new(record))).await?;
    } else {
        for probes in [0, probes] {
            idle(program, &discord, &services, probes, minute, None).await?;
        }
    }
    discord.shutdown().await;
    Ok(())
}

/// Something that answers 200. Its address.
async fn service() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().route("/health", axum::routing::get(|| async { "ok" }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(format!("http://{address}/health"))
}

/// A process that is ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

async fn idle(
    program: &str,
    discord: &Handle,
    service: &str,
    probes: usize,
    minute: Duration,
    record: Option<&Path>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    if let Some(record) = record {
        let status = Command::new("cp").arg("-r").arg(record).arg(folder.path().join("state")).status()?;
        ensure!(status.success(), "the record was not copied");
    }
    let file = folder.path().join("watchbell.toml");
    fs::write(&file, set_up(discord, &folder.path().join("state"), service, probes))?;
    let log = fs::File::create(folder.path().join("log"))?;
    let mut bot = Ended(
        Command::new(program)
            .args(["run", "--config"])
            .arg(&file)
            .env("DISCORD_TOKEN", discord.bot_token())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?,
    );
    tokio::time::sleep(minute).await;
    let pid = bot.0.id().to_string();
    let (before, worked_before) = (threads(&pid)?, worked_ms(&pid)?);
    tokio::time::sleep(minute).await;
    if let Some(status) = bot.0.try_wait()? {
        anyhow::bail!("the bot ended ({status}):\n{}", fs::read_to_string(folder.path().join("log"))?);
    }
    let (after, worked) = (threads(&pid)?, worked_ms(&pid)? - worked_before);
    let minutes = minute.as_secs_f64() / 60.0;
    let mut woken: Vec<(String, f64)> = Vec::new();
    for Thread { id, name, waits } in &after {
        let had = before.iter().find(|thread| thread.id == *id).map_or(0, |thread| thread.waits);
        let more = (waits - had) as f64 / minutes;
        match woken.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += more,
            None => woken.push((name.clone(), more)),
        }
    }
    woken.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let all: f64 = woken.iter().map(|(_, more)| more).sum();
    let rss_kib = proc_status(&pid, "VmRSS").context("no VmRSS")?;
    let anonymous_kib = proc_status(&pid, "RssAnon").context("no RssAnon")?;
    println!(
        "{probes} probes: {:.1} MB in memory ({:.1} MB of it its own, the rest the program's file), {} threads; {all:.0} wake-ups and {:.0} ms of processor time a minute",
        rss_kib as f64 / 1024.0,
        anonymous_kib as f64 / 1024.0,
        after.len(),
        worked as f64 / minutes
    );
    for (name, more) in woken {
        println!("    {name}: {more:.0} wake-ups");
    }
    ensure!(all > 0.0, "nothing was counted");
    Ok(())
}

/// Processor time used so far, in milliseconds; the system counts in hundredths of a second.
fn worked_ms(pid: &str) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name stands in brackets and may hold anything; user and system time are the 12th and 13th word behind it.
    let (_, words) = stat.rsplit_once(')').context("no name")?;
    let times: Vec<u64> = words.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    Ok(times.iter().sum::<u64>() * 10)
}

struct Thread {
    id: String,
    name: String,
    waits: u64,
}

fn threads(pid: &str) -> anyhow::Result<Vec<Thread>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let id = entry?.file_name().to_string_lossy().into_owned();
        let task = format!("{pid}/task/{id}");
        let waits = proc_status(&task, "voluntary_ctxt_switches").unwrap_or_default();
        // Threads of one kind are numbered: `sled-io-3`.
        let name = fs::read_to_string(format!("/proc/{task}/comm")).unwrap_or_default();
        let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        found.push(Thread { id, name, waits });
    }
    Ok(found)
}

fn set_up(discord: &Handle, state: &Path, service: &str, probes: usize) -> String {
    let mut text = format!(
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
test = "incidents-test"

[roles]
reliability = "on-call"
engineer = "lead"
manager = "admin"
responder = "responder"
"#,
        discord.guild_id(),
        discord.base_url(),
        state.display(),
    );
    for n in 1..=probes {
        text.push_str(&format!(
            "\n[[services]]\nname = \"service-{n}\"\nproduction = {{ probes = [{{ name = \"health\", url = \"{service}\" }}] }}\n"
        ));
    }
    text
}
