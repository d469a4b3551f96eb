//! The bot of the demo: the real program as a process of its own, killed for real and brought back by itself.
//!
//! Ends only the process that it started. The bot holds the other end of a pipe for as long as the demo lives: a demo that is
//! killed takes its bot along, or the bot would hold the folder that the next demo needs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use watchbell::sim::fly;

/// How long a killed bot stays away, so that it can be seen.
const AWAY: Duration = Duration::from_secs(3);
/// How long the bot may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// Readings of the clock that are kept.
const READINGS_MAX: usize = 2_000;
/// A clock this near to what was foreseen, in milliseconds of the wall's, says nothing new.
const FORESEEN_MS: f64 = 400.0;
/// Time is skipped in steps of so many seconds, as rules look.
const SKIP_S: u64 = 30;
/// Steps of one skip: a long one takes larger steps.
const SKIPS_MAX: u64 = 60;
/// How long a step may take to come to rest.
const SKIP_RESTS: Duration = Duration::from_millis(500);
/// Starts in a row that may fail before it is left down.
const FAILURES_MAX: u32 = 5;
/// How long a stop may take, a process that does not listen included.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// What is kept of the bot and its clock over several demos on one state.
pub const KEPT_FILE: &str = "seen.json";

/// The bot's process.
pub struct BotProcess {
    state: PathBuf,
    private_port: u16,
    control_token: String,
    fly_tokens: Vec<(String, String)>,
    /// The host beside it: time that is skipped is skipped there as well.
    fly: Arc<fly::Handle>,
    http: reqwest::Client,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    running: bool,
    wanted: bool,
    kill: bool,
    up_since: Option<DateTime<Utc>>,
    kept: Kept,
    file: PathBuf,
    /// The clock as last heard, so that the page shows promise time while the bot is down.
    promise: Option<(DateTime<Utc>, DateTime<Utc>, f64)>,
    late: u64,
    overdue: bool,
    keeper: Option<Keeper>,
}

/// What outlives the demo, because the messages that it explains do: without it yesterday's would bear wrong times.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// How often the bot came back.
    restarts: u32,
    /// How the promise clock stood to the wall's at each change of its pace and each jump, oldest first.
    readings: VecDeque<Reading>,
}

/// The task that keeps the process running. Each start has its own, so that what is told to one is never heard by the next.
struct Keeper {
    task: JoinHandle<()>,
    /// Told when the process should end: by force or in order.
    end: Arc<Notify>,
}

/// How the promise clock stood to the wall's at one moment, and its pace from then on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reading {
    wall: DateTime<Utc>,
    promise: DateTime<Utc>,
    speed: f64,
}

impl Inner {
    /// Keeps what was heard of the clock, when it could not be foreseen.
    fn heard(&mut self, wall: DateTime<Utc>, promise: DateTime<Utc>, speed: f64) {
        self.promise = Some((promise, wall, speed));
        if let Some(last) = self.kept.readings.back() {
            let foreseen = last.promise + scaled(wall - last.wall, last.speed);
            let off_ms = (promise - foreseen).num_milliseconds().abs() as f64;
            if last.speed == speed && off_ms < FORESEEN_MS * speed.max(1.0) {
                return;
            }
        }
        self.kept.readings.push_back(Reading { wall, promise, speed });
        if self.kept.readings.len() > READINGS_MAX {
            self.kept.readings.pop_front();
        }
        self.keep();
    }

    /// Writes down what outlives the demo. It is only shown, so that a disk that refuses is no reason to stop.
    fn keep(&self) {
        let _ = serde_json::to_vec(&self.kept).map(|text| std::fs::write(&self.file, text));
    }
}

/// This moment on the wall's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "when things happened on the page is real; promise time is asked of the bot"
)]
fn wall() -> DateTime<Utc> {
    Utc::now()
}

/// A stretch of the wall clock as promise time.
fn scaled(wall: TimeDelta, speed: f64) -> TimeDelta {
    TimeDelta::milliseconds((wall.num_milliseconds() as f64 * speed) as i64)
}

/// What the page shows of the bot.
#[derive(Debug, Clone, Default)]
pub struct BotInfo {
    /// `up`, `starting` or `down`.
    pub condition: &'static str,
    /// Promise time.
    pub promise_now: Option<DateTime<Utc>>,
    /// Its pace.
    pub speed: f64,
    /// The history of its clock.
    pub clock: Vec<Reading>,
    /// Since when it is up.
    pub up_since: Option<DateTime<Utc>>,
    /// Reminders that went out late.
    pub late: u64,
    /// Whether something is overdue in the bot itself.
    pub overdue: bool,
    /// How often it came back.
    pub restarts: u32,
}

impl BotProcess {
    /// A bot that is not started yet. `fly_tokens` are variables and what stands in them, for the bot alone.
    pub fn new(state: &Path, fly_tokens: Vec<(String, String)>, fly: Arc<fly::Handle>) -> Self {
        let private_port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_or(0, |address| address.port());
        let file = state.join(KEPT_FILE);
        let kept: Kept =
            std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let promise = kept.readings.back().map(|last| (last.promise, last.wall, last.speed));
        let inner = Inner { kept, file, promise, ..Inner::default() };
        Self {
            state: state.to_owned(),
            private_port,
            control_token: format!("{:032x}", fastrand::u128(..)),
            fly_tokens,
            fly,
            http: reqwest::Client::new(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// The port of its private listener.
    pub fn private_port(&self) -> u16 {
        self.private_port
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it with this set-up and keeps it running.
    ///
    /// # Errors
    /// When the set-up cannot be written, or this program cannot be found.
    pub fn start(&self, setup: &str, discord_token: &str) -> anyhow::Result<()> {
        let file = self.state.join("watchbell.toml");
        std::fs::write(&file, setup).with_context(|| format!("cannot write {}", file.display()))?;
        // The child inherits this process's environment; its own secrets are added for it alone.
        let own = [
            ("DISCORD_TOKEN", discord_token.to_owned()),
            ("WATCHBELL_CONTROL_TOKEN", self.control_token.clone()),
            (super::HELD, "1".to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let envs: Vec<(String, String)> = own.into_iter().chain(self.fly_tokens.iter().cloned()).collect();
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = self.log();
        let spawn = move || -> anyhow::Result<Child> {
            let out = File::options().create(true).append(true).open(&log)?;
            // The pipe is never written to and stays in `Child` as long as this process lives.
            Ok(Command::new(&program)
                .args(["run", "--config"])
                .arg(&file)
                .envs(envs.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::piped())
                .stdout(out.try_clone()?)
                .stderr(out)
                .kill_on_drop(true)
                .spawn()?)
        };
        let mut inner = self.lock();
        if inner.wanted {
            return Ok(());
        }
        inner.wanted = true;
        let end = Arc::new(Notify::new());
        let task = tokio::spawn(keep(spawn, Arc::clone(&self.inner), Arc::clone(&end)));
        inner.keeper = Some(Keeper { task, end });
        Ok(())
    }

    /// Forgets what was counted and its clock, for a demo that starts over.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.kept = Kept::default();
        inner.promise = None;
        inner.late = 0;
        inner.overdue = false;
        inner.keep();
    }

    /// Kills it as kill -9 does. It comes back by itself.
    ///
    /// # Errors
    /// When it is down already.
    pub async fn kill(&self) -> anyhow::Result<()> {
        {
            let mut inner = self.lock();
            let Some(end) = inner.keeper.as_ref().filter(|_| inner.running).map(|keeper| Arc::clone(&keeper.end))
            else {
                bail!("the bot is down already");
            };
            inner.kill = true;
            end.notify_one();
        }
        for _ in 0..200 {
            if !self.lock().running {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the bot did not die")
    }

    /// Stops it and leaves it down.
    pub async fn stop(&self) {
        let keeper = {
            let mut inner = self.lock();
            inner.wanted = false;
            inner.keeper.take()
        };
        let Some(Keeper { mut task, end }) = keeper else { return };
        end.notify_one();
        if tokio::time::timeout(STOPPED_WITHIN, &mut task).await.is_err() {
            // The process dies with its handle.
            task.abort();
            self.lock().running = false;
        }
    }

    fn log(&self) -> PathBuf {
        self.state.join("bot.log")
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up in time; says where its log is.
    pub async fn wait_up(&self) -> anyhow::Result<()> {
        let began = tokio::time::Instant::now();
        while began.elapsed() < UP_WITHIN {
            let ready = self.http.get(self.url("readyz")).timeout(Duration::from_secs(2)).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                self.lock().up_since.get_or_insert_with(wall);
                return Ok(());
            }
            // Left down after too many failures: waiting longer brings nothing.
            if !self.lock().wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = self.log();
        let words = std::fs::read_to_string(&log).unwrap_or_default();
        let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        bail!("the bot did not come up; the last it said, in {}: {last}", log.display())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.private_port)
    }

    /// How it is, as the page shows it.
    pub async fn info(&self) -> BotInfo {
        let asked = self
            .http
            .get(self.url("control/state"))
            .bearer_auth(&self.control_token)
            .timeout(Duration::from_millis(800))
            .send()
            .await;
        let state: Option<Value> = match asked {
            Ok(answer) if answer.status().is_success() => answer.json().await.ok(),
            _ => None,
        };
        let mut inner = self.lock();
        if let Some(state) = &state {
            inner.up_since.get_or_insert_with(wall);
            inner.late = state["reminders_late"].as_u64().unwrap_or(inner.late);
            inner.overdue = state["overdue_s"].as_f64().is_some_and(|seconds| seconds > 60.0);
            let speed = state["virtual"]["speed"].as_f64().unwrap_or(1.0);
            if let Some(now) = state["promise_now"].as_str().and_then(|text| text.parse().ok()) {
                inner.heard(wall(), now, speed);
            }
        }
        let (promise_now, speed) = match inner.promise {
            Some((then, at, speed)) => (Some(then + scaled(wall() - at, speed)), speed),
            None => (None, 1.0),
        };
        BotInfo {
            condition: match (&state, inner.running) {
                (Some(_), _) => "up",
                (None, true) => "starting",
                (None, false) => "down",
            },
            promise_now,
            speed,
            clock: inner.kept.readings.iter().cloned().collect(),
            up_since: inner.up_since,
            late: inner.late,
            overdue: inner.overdue,
            restarts: inner.kept.restarts,
        }
    }

    /// Moves its clock: `{"advance_s": 900}` or `{"speed": 60}`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn move_clock(&self, wanted: &Value) -> anyhow::Result<()> {
        // What came to the host and stands in its log is as much longer ago from now on; the bot looks as soon as its clock is moved.
        if let Some(seconds) = wanted["advance_s"].as_f64() {
            let _ = self.fly.act("pass", &json!({ "seconds": seconds }));
        }
        // What is posted before the answer is here belongs to the time after the jump.
        let asked = wall();
        let answer = self
            .http
            .post(self.url("control/clock"))
            .bearer_auth(&self.control_token)
            .timeout(Duration::from_secs(5))
            .json(wanted)
            .send()
            .await
            .map_err(|_| anyhow!("the bot is not up; its clock cannot be moved"))?;
        if !answer.status().is_success() {
            bail!("the bot does not move its clock: {}", answer.status());
        }
        let moved: Value = answer.json().await.unwrap_or_default();
        if let Some(now) = moved["promise_now"].as_str().and_then(|text| text.parse().ok()) {
            let mut inner = self.lock();
            let before = inner.promise.map_or(1.0, |(_, _, speed)| speed);
            inner.heard(asked, now, wanted["speed"].as_f64().unwrap_or(before));
        }
        Ok(())
    }

    /// Skips promise time forward and waits until what fell due is done.
    ///
    /// # Errors
    /// When it does not answer or does not come to rest.
    pub async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        self.move_clock(&json!({ "advance_s": seconds })).await?;
        self.still().await
    }

    /// The same in small steps, as a person skips it: what falls due on the way is done there, and rules look, so that nothing is late
    /// that was only skipped. What is still under way is not waited for long.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn skip(&self, seconds: u64) -> anyhow::Result<()> {
        let step = SKIP_S.max(seconds.div_ceil(SKIPS_MAX));
        let mut left = seconds;
        while left > 0 {
            let by = left.min(step);
            self.move_clock(&json!({ "advance_s": by })).await?;
            let _ = tokio::time::timeout(SKIP_RESTS, self.still()).await;
            left -= by;
        }
        Ok(())
    }

    /// Waits until nothing is under way.
    ///
    /// # Errors
    /// When it does not answer or does not come to rest.
    pub async fn still(&self) -> anyhow::Result<()> {
        let answer = self
            .http
            .get(self.url("control/still"))
            .bearer_auth(&self.control_token)
            .timeout(Duration::from_secs(35))
            .send()
            .await
            .map_err(|_| anyhow!("the bot is not up"))?;
        if answer.status().is_success() { Ok(()) } else { bail!("the bot does not come to rest") }
    }
}

/// Keeps the process running until it is not wanted any more.
async fn keep(spawn: impl Fn() -> anyhow::Result<Child>, inner: Arc<Mutex<Inner>>, end: Arc<Notify>) {
    let lock = || inner.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failures = 0;
    while lock().wanted && failures < FAILURES_MAX {
        let mut child = match spawn() {
            Ok(child) => child,
            Err(error) => {
                // A closed standard error is no reason to stop.
                let _ = writeln!(std::io::stderr(), "watchbell: the bot cannot be started: {error:#}");
                break;
            }
        };
        lock().running = true;
        let started = tokio::time::Instant::now();
        // Taken out, or waiting would close the pipe by which the bot knows that this process lives.
        let held = child.stdin.take();
        tokio::select! {
            _ = child.wait() => {}
            () = end.notified() => {
                let by_force = lock().kill;
                if !by_force && let Some(pid) = child.id() {
                    // In order: SIGTERM first, by force only when that does not help.
                    let _ = std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status();
                    let _ = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
                }
                let _ = child.kill().await;
            }
        }
        drop(held);
        let killed = {
            let mut inner = lock();
            inner.running = false;
            inner.up_since = None;
            std::mem::take(&mut inner.kill)
        };
        failures = if killed || started.elapsed() > UP_WITHIN { 0 } else { failures + 1 };
        if !lock().wanted {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(AWAY) => {}
            () = end.notified() => break,
        }
        let mut inner = lock();
        inner.kept.restarts += 1;
        inner.keep();
    }
    let mut inner = lock();
    inner.running = false;
    inner.wanted = false;
}
