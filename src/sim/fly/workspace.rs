//! What a local Fly starts with: an organisation, its tokens and its apps, read from a JSON file.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::images::Image;

/// Apps of one workspace.
const APPS_MAX: usize = 200;
/// Machines of one app.
const MACHINES_MAX: usize = 100;

/// An organisation with tokens and apps. docs/sim-fly.md describes its JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The organisation's slug.
    pub org: String,
    /// Its name for people; the slug when empty.
    #[serde(default)]
    pub org_name: String,
    /// Who may come in.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// What runs.
    #[serde(default)]
    pub apps: Vec<App>,
    /// What images are like, where it does not stand in their names.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Spans and limits.
    #[serde(default)]
    pub settings: Settings,
}

impl Workspace {
    /// Reads a workspace.
    ///
    /// Errors: a sentence that names what is wrong: not JSON, an unknown key, two apps of one name, too many of something.
    pub fn from_json(text: &str) -> Result<Workspace, String> {
        let workspace: Workspace = serde_json::from_str(text).map_err(|error| format!("not a workspace: {error}"))?;
        workspace.examine()?;
        Ok(workspace)
    }

    fn examine(&self) -> Result<(), String> {
        if !is_slug(&self.org) {
            return Err(format!("org {:?} is not a slug: small letters, digits and dashes", self.org));
        }
        if self.apps.len() > APPS_MAX {
            return Err(format!("more than {APPS_MAX} apps"));
        }
        for (index, app) in self.apps.iter().enumerate() {
            if !is_slug(&app.name) {
                return Err(format!("app {:?} is not a name: small letters, digits and dashes", app.name));
            }
            if self.apps.iter().take(index).any(|other| other.name == app.name) {
                return Err(format!("app {} is there twice", app.name));
            }
            if app.machines.len() > MACHINES_MAX {
                return Err(format!("app {} has more than {MACHINES_MAX} machines", app.name));
            }
            if let Some(odd) = app.machines.iter().find(|m| !matches!(m.state.as_str(), "started" | "stopped")) {
                return Err(format!(
                    "app {}: a machine starts as started or stopped, not as {:?}",
                    app.name, odd.state
                ));
            }
            if !matches!(app.restart.as_str(), "no" | "always" | "on-failure") {
                return Err(format!("app {}: restart is no, always or on-failure, not {:?}", app.name, app.restart));
            }
        }
        if self.images.iter().any(|image| image.image.is_empty()) {
            return Err("an image needs its reference".to_owned());
        }
        for token in &self.tokens {
            match (token.kind, &token.app) {
                (TokenKind::Deploy, None) => return Err("a deploy token needs its app".to_owned()),
                (TokenKind::Deploy, Some(app)) if !self.apps.iter().any(|known| known.name == *app) => {
                    return Err(format!("a deploy token is for {app:?}, which is no app here"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The first token of a kind, for whoever starts a client beside the stand-in.
    pub fn token(&self, kind: TokenKind, app: Option<&str>) -> Option<&str> {
        self.tokens
            .iter()
            .find(|t| t.kind == kind && (app.is_none() || t.app.as_deref() == app))
            .map(|t| t.token.as_str())
    }
}

fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Looks at everything.
    Readonly,
    /// Looks at and acts on one app.
    Deploy,
    /// Everything.
    Org,
}

/// One token. It is a stand-in's secret, yet `Debug` hides it: what a client logs may end in the same place.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// As the client sends it, without `Bearer` or `FlyV1`.
    pub token: String,
    /// What it may do.
    pub kind: TokenKind,
    /// The app of a deploy token.
    #[serde(default)]
    pub app: Option<String>,
    /// Refused from this moment on.
    #[serde(default)]
    pub expires: Option<DateTime<Utc>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("kind", &self.kind)
            .field("app", &self.app)
            .field("expires", &self.expires)
            .finish()
    }
}

/// An app to begin with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Its name, small letters, digits and dashes.
    pub name: String,
    /// A label for people: production, staging.
    #[serde(default = "production")]
    pub stage: String,
    /// Whether Fly stops machines that nobody asks anything.
    #[serde(default)]
    pub autostop: bool,
    /// Whether a request wakes a stopped machine.
    #[serde(default = "yes")]
    pub autostart: bool,
    /// The port of the app's front on this machine; 0 for any free one.
    #[serde(default)]
    pub front_port: u16,
    /// Requests a minute that the stand-in itself makes, so that the metrics have something to tell.
    #[serde(default)]
    pub visitors_per_minute: u32,
    /// What follows when the process exits: `no`, `always` or `on-failure`.
    #[serde(default = "on_failure")]
    pub restart: String,
    /// Its machines.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// What was deployed, oldest first; the machines run the newest complete one.
    #[serde(default)]
    pub releases: Vec<Release>,
    /// Names of secrets; there are no values.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Disks.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Host names with a certificate.
    #[serde(default)]
    pub certificates: Vec<String>,
}

/// A machine to begin with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Where it stands: `ord`.
    pub region: String,
    /// `shared` or `performance`.
    #[serde(default = "shared")]
    pub cpu_kind: String,
    /// How many.
    #[serde(default = "one")]
    pub cpus: u32,
    /// Memory in MB.
    #[serde(default = "memory_mb")]
    pub memory_mb: u32,
    /// `started` or `stopped`.
    #[serde(default = "started")]
    pub state: String,
}

/// A deploy of the past.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its number in the app.
    pub version: u64,
    /// The image, with its tag, perhaps with `@sha256:…`.
    pub image: String,
    /// Who deployed.
    #[serde(default)]
    pub user: String,
    /// `complete`, `failed`, `running`, `interrupted`.
    #[serde(default = "complete")]
    pub status: String,
    /// What it was for.
    #[serde(default)]
    pub description: String,
    /// How long ago, counted from the start of the stand-in.
    #[serde(default)]
    pub minutes_ago: u32,
    /// As Fly spells it: `ROLLING`, `IMMEDIATE`, `CANARY`, `BLUEGREEN`.
    #[serde(default = "rolling")]
    pub strategy: String,
}

/// A disk to begin with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where it is; it is attached to the first machine there that has none.
    pub region: String,
    /// Size in GB.
    pub size_gb: u32,
}

/// Spans and limits; they can be changed while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// From start to started.
    pub boot_ms: u64,
    /// From started until the program listens.
    pub healthy_ms: u64,
    /// From stop to stopped.
    pub stop_ms: u64,
    /// How long a program runs that ends by itself: a release command, one that crashes.
    pub run_ms: u64,
    /// How late or long an image is that starts or stops slowly, unless it says so itself.
    pub slow_ms: u64,
    /// Whether every image is in the registry; otherwise only those that were told or that a complete release has.
    pub any_image: bool,
    /// Between two looks at a machine's health, whatever its configuration says.
    pub check_every_ms: u64,
    /// How long a check waits for an answer.
    pub check_timeout_ms: u64,
    /// How long nobody may ask before auto-stop stops a machine.
    pub autostop_after_ms: u64,
    /// How long the front waits for a machine's answer.
    pub front_timeout_ms: u64,
    /// Whether limits of the Machines API hold.
    pub rate_limits: bool,
    /// Requests a second of one action and object.
    pub rate_per_second: f64,
    /// As many at once.
    pub rate_burst: f64,
    /// The same for Get Machine.
    pub get_machine_per_second: f64,
    /// The same for Get Machine.
    pub get_machine_burst: f64,
    /// Whether a 429 tells when to come back; no source shows whether Fly's does.
    pub retry_after: bool,
    /// Whether a page of logs begins with the line that its token is of, once more; no source shows whether Fly's does.
    pub logs_repeat: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            boot_ms: 300,
            healthy_ms: 0,
            stop_ms: 100,
            run_ms: 200,
            slow_ms: 8_000,
            any_image: true,
            check_every_ms: 1_000,
            check_timeout_ms: 2_000,
            autostop_after_ms: 300_000,
            front_timeout_ms: 60_000,
            rate_limits: true,
            rate_per_second: 1.0,
            rate_burst: 3.0,
            get_machine_per_second: 5.0,
            get_machine_burst: 10.0,
            retry_after: false,
            logs_repeat: false,
        }
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn memory_mb() -> u32 {
    512
}

fn shared() -> String {
    "shared".to_owned()
}

fn started() -> String {
    "started".to_owned()
}

fn complete() -> String {
    "complete".to_owned()
}

fn rolling() -> String {
    "ROLLING".to_owned()
}

fn production() -> String {
    "production".to_owned()
}

fn on_failure() -> String {
    "on-failure".to_owned()
}
