//! The real program in a process of its own, to be killed as kill -9 does and started again on what it left.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// How long anything may take to be seen.
pub const WITHIN: Duration = Duration::from_secs(30);
/// What the control interface wants to see.
pub const CONTROL: &str = "control-token-of-the-test";

/// A small pseudo-random sequence, printed with its seed, so that a run can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}

/// The bot.
pub struct Bot {
    folder: PathBuf,
    port: u16,
    env: Vec<(&'static str, String)>,
    pub http: reqwest::Client,
    child: Option<Child>,
}

impl Bot {
    /// On the set-up in this folder, with these variables; not started yet.
    pub fn new(folder: &Path, port: u16, env: Vec<(&'static str, String)>) -> Self {
        Self { folder: folder.to_owned(), port, env, http: reqwest::Client::new(), child: None }
    }

    pub fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("bot.log"))
            .expect("a file for the log");
        let child = Command::new(env!("CARGO_BIN_EXE_watchbell"))
            .args(["run", "--config"])
            .arg(self.folder.join("watchbell.toml"))
            .env_remove("FLY_READ_TOKEN")
            .env("WATCHBELL_CONTROL_TOKEN", CONTROL)
            .envs(self.env.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// As kill -9 does.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("it can be killed");
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub async fn wait_up(&self) {
        let began = Instant::now();
        while began.elapsed() < WITHIN {
            let answer = self.http.get(self.url("readyz")).timeout(Duration::from_secs(1)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the bot does not come up; its log ends:\n{}", self.log());
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.join("bot.log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(3_000)..]).into_owned()
    }
}
