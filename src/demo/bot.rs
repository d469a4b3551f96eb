//! The bot of the demo: the real program as a process of its own, killed for real and brought back by itself.
//!
//! Ends only the process that it started.

use std::collections::VecDeque;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// How long a killed bot stays away, so that it can be seen.
const AWAY: Duration = Duration::from_secs(3);
/// How long the bot may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// Readings of the clock that are kept.
const READINGS_MAX: usize = 2_000;
/// A clock this near to what was foreseen, in milliseconds of the wall's, says nothing new.
const FORESEEN_MS: f64 = 400.0;
/// Starts in a row that may fail before it is left down.
const FAILURES_MAX: u32 = 5;

/// The bot's process.
pub struct BotProcess {
    state: PathBuf,
    private_port: u16,
    control_token: String,
    fly_token: String,
    http: reqwest::Client,
    inner: Arc<Mutex<Inner>>,
    /// Told when the process should end: by force or in order.
    end: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    setup: Option<(PathBuf, String)>,
    running: bool,
    wanted: bool,
    kill: bool,
    up_since: Option<DateTime<Utc>>,
    restarts: u32,
    /// How the promise clock stood to the wall's at each change of its pace and each jump, oldest first.
    readings: VecDeque<Reading>,
    /// The clock as last heard, so that the page shows promise time while the bot is down.
    promise: Option<(DateTime<Utc>, DateTime<Utc>, f64)>,
    late: u64,
    overdue: bool,
}

/// How the promise clock stood to the wall's at one moment, and its pace from then on.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    wall: DateTime<Utc>,
    promise: DateTime<Utc>,
    speed: f64,
}

impl Inner {
    /// Keeps what was heard of the clock, when it could not be foreseen.
    fn heard(&mut self, wall: DateTime<Utc>, promise: DateTime<Utc>, speed: f64) {
        self.promise = Some((promise, wall, speed));
        if let Some(last) = self.readings.back() {
            let foreseen = last.promise + scaled(wall - last.wall, last.speed);
            let off_ms = (promise - foreseen).num_milliseconds().abs() as f64;
            if last.speed == speed && off_ms < FORESEEN_MS * speed.max(1.0) {
                return;
            }
        }
        self.readings.push_back(Reading { wall, promise, speed });
        if self.readings.len() > READINGS_MAX {
            self.readings.pop_front();
        }
    }
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
    /// A bot that is not started yet.
    pub fn new(state: &Path, fly_token: &str) -> Self {
        let private_port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_or(0, |address| address.port());
        Self {
            state: state.to_owned(),
            private_port,
            control_token: format!("{:032x}", fastrand::u128(..)),
            fly_token: fly_token.to_owned(),
            http: reqwest::Client::new(),
            inner: Arc::default(),
            end: Arc::default(),
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
    /// When the set-up cannot be written.
    pub fn start(&self, setup: String, discord_token: &str) -> anyhow::Result<()> {
        let file = self.state.join("watchbell.toml");
        std::fs::write(&file, setup).with_context(|| format!("cannot write {}", file.display()))?;
        self.lock().setup = Some((file, discord_token.to_owned()));
        self.start_again()
    }

    /// Starts it again after a stop.
    ///
    /// # Errors
    /// When it was never started.
    pub fn start_again(&self) -> anyhow::Result<()> {
        let mut inner = self.lock();
        let (file, discord_token) = inner.setup.clone().ok_or_else(|| anyhow!("the bot has no set-up yet"))?;
        if inner.wanted {
            return Ok(());
        }
        inner.wanted = true;
        inner.readings.clear();
        inner.promise = None;
        drop(inner);
        // The child inherits this process's environment; its own secrets are added for it alone.
        let envs = [
            ("DISCORD_TOKEN", discord_token),
            ("FLY_READ_TOKEN", self.fly_token.clone()),
            ("WATCHBELL_CONTROL_TOKEN", self.control_token.clone()),
        ];
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = self.state.join("bot.log");
        let spawn = move || -> anyhow::Result<Child> {
            let out = File::options().create(true).append(true).open(&log)?;
            Ok(Command::new(&program)
                .args(["run", "--config"])
                .arg(&file)
                .envs(envs.iter().map(|(name, value)| (*name, value.as_str())))
                .stdin(Stdio::null())
                .stdout(out.try_clone()?)
                .stderr(out)
                .kill_on_drop(true)
                .spawn()?)
        };
        tokio::spawn(keep(spawn, Arc::clone(&self.inner), Arc::clone(&self.end)));
        Ok(())
    }

    /// Kills it as kill -9 does. It comes back by itself.
    ///
    /// # Errors
    /// When it is down already.
    pub async fn kill(&self) -> anyhow::Result<()> {
        {
            let mut inner = self.lock();
            if !inner.running {
                bail!("the bot is down already");
            }
            inner.kill = true;
        }
        self.end.notify_one();
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
        self.lock().wanted = false;
        self.end.notify_one();
        for _ in 0..1_000 {
            if !self.lock().running {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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
                self.lock().up_since.get_or_insert_with(Utc::now);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the bot did not come up; its log is {}", self.state.join("bot.log").display())
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
            inner.up_since.get_or_insert_with(Utc::now);
            inner.late = state["reminders_late"].as_u64().unwrap_or(inner.late);
            inner.overdue = state["overdue_s"].as_f64().is_some_and(|seconds| seconds > 60.0);
            let speed = state["virtual"]["speed"].as_f64().unwrap_or(1.0);
            if let Some(now) = state["promise_now"].as_str().and_then(|text| text.parse().ok()) {
                inner.heard(Utc::now(), now, speed);
            }
        }
        let (promise_now, speed) = match inner.promise {
            Some((then, at, speed)) => (Some(then + scaled(Utc::now() - at, speed)), speed),
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
            clock: inner.readings.iter().cloned().collect(),
            up_since: inner.up_since,
            late: inner.late,
            overdue: inner.overdue,
            restarts: inner.restarts,
        }
    }

    /// Moves its clock: `{"advance_s": 900}` or `{"speed": 60}`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn move_clock(&self, wanted: &Value) -> anyhow::Result<()> {
        // What is posted before the answer is here belongs to the time after the jump.
        let asked = Utc::now();
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

    /// Promise time, and when something falls due next.
    ///
    /// # Errors
    /// When it does not answer, or nothing is due.
    pub async fn next_due(&self) -> anyhow::Result<(DateTime<Utc>, DateTime<Utc>)> {
        let answer = self
            .http
            .get(self.url("control/state"))
            .bearer_auth(&self.control_token)
            .timeout(Duration::from_secs(5))
            .send()
            .await
            .map_err(|_| anyhow!("the bot is not up"))?;
        let state: Value = answer.json().await.context("the bot's state cannot be read")?;
        let read = |key: &str| state[key].as_str().and_then(|text| text.parse().ok());
        read("promise_now").zip(read("next_due")).ok_or_else(|| anyhow!("nothing falls due"))
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
                eprintln!("watchbell: the bot cannot be started: {error:#}");
                break;
            }
        };
        lock().running = true;
        let started = tokio::time::Instant::now();
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
        tokio::time::sleep(AWAY).await;
        lock().restarts += 1;
    }
    let mut inner = lock();
    inner.running = false;
    inner.wanted = false;
}
