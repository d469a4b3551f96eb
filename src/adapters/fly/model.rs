//! What Fly answers, read field by field so that a missing, extra, null or oddly typed one never costs the whole answer.
//!
//! Owns the reading only. Configuration stays a `serde_json::Value`: what is not understood must survive being written back.

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use crate::domain::health;
use crate::domain::hosting::{Autostop, Guest, Rest};

/// Checks of Fly's own deploys that are no checks of the app (fly-go RemoveCompatChecks).
const COMPAT_CHECKS: &str = "bg_deployments_compat";
/// The longest output of a check that is passed on, in characters.
const OUTPUT_CHARS_MAX: usize = 160;

/// The years of which Fly can tell.
const YEARS: std::ops::Range<i32> = 1970..2200;

/// A machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state, in Fly's word; the list of words is open.
    pub state: String,
    /// Its region.
    pub region: String,
    /// Its image: repository, tag and digest, as far as said.
    pub image: String,
    /// The version of its configuration.
    pub instance_id: String,
    /// `ok`, or what else Fly says of the hardware; empty when it says nothing.
    pub host_status: String,
    /// Whether it is kept from traffic.
    pub cordoned: bool,
    /// Its whole configuration, as it came.
    pub config: Value,
    /// Its checks, without Fly's own.
    pub checks: Vec<Check>,
    /// Its newest events, newest first; none when the answer had none.
    pub events: Option<Vec<Event>>,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// `passing`, `warning`, `critical`.
    pub status: String,
    /// What it said.
    pub output: String,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// `launch`, `start`, `update`, `exit` and others: an open list.
    pub kind: String,
    /// Who did it: `user`, `flyd` and others.
    pub source: String,
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// How it exited, when it did.
    pub exit: Option<Exit>,
}

/// How a machine exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: i64,
    /// Killed for want of memory.
    pub oom_killed: bool,
    /// Somebody asked for it.
    pub requested: bool,
    /// It is started again by itself.
    pub restarting: bool,
    /// Restarts in a row.
    pub restarts: u32,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// `deployed`, `pending`, `suspended`.
    pub status: String,
    /// Its machines, when said.
    pub machines: Option<u64>,
}

/// What Fly says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The organisation's slug.
    pub org: String,
    /// Apps it is limited to; empty means all of the organisation.
    pub apps: Vec<String>,
    /// When it ends, when Fly says so.
    pub expires: Option<DateTime<Utc>>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its id.
    pub id: String,
    /// Its number.
    pub version: u64,
    /// `complete`, `failed`, `running`, `interrupted` and others.
    pub status: String,
    /// The image it put up.
    pub image: String,
    /// Who made it.
    pub user: String,
    /// When.
    pub at: Option<DateTime<Utc>>,
}

impl Machine {
    /// Reads a machine; none when it has no id.
    pub fn read(value: &Value) -> Option<Self> {
        let events = value.get("events").and_then(Value::as_array).map(|events| {
            let mut events: Vec<Event> = events.iter().map(Event::read).collect();
            events.sort_by_key(|event| std::cmp::Reverse(event.at));
            events
        });
        Some(Self {
            id: some_text(value, "id")?,
            name: text(value, "name"),
            state: text(value, "state"),
            region: text(value, "region"),
            image: image(value),
            instance_id: text(value, "instance_id"),
            host_status: text(value, "host_status"),
            cordoned: flag(value, "cordoned"),
            config: value.get("config").cloned().unwrap_or(Value::Null),
            checks: list(value, "checks")
                .iter()
                .map(Check::read)
                .filter(|check| !check.name.starts_with(COMPAT_CHECKS))
                .collect(),
            events,
        })
    }

    /// Whether it is still there: a list may carry what was destroyed.
    pub fn is_there(&self) -> bool {
        !matches!(self.state.as_str(), "destroyed" | "replaced" | "migrated")
    }

    /// Whether it may sleep and will be woken: auto-stop with auto-start, or a standby that waits for its primary.
    pub fn may_sleep(&self) -> bool {
        let standby = !list(&self.config, "standbys").is_empty();
        let service = list(&self.config, "services").iter().any(|service| {
            // Answers write stop as true and off as false; suspend stays a word.
            let stops = match service.get("autostop") {
                Some(Value::Bool(stops)) => *stops,
                Some(Value::String(word)) => word != "off",
                _ => false,
            };
            stops && service.get("autostart").and_then(Value::as_bool) != Some(false)
        });
        standby || service
    }

    /// Its size, when the configuration tells it whole.
    pub(super) fn guest(&self) -> Option<Guest> {
        let guest = self.config.get("guest")?;
        let number = |key: &str| guest.get(key).and_then(Value::as_u64);
        let (cpus, memory_mb) = (u16::try_from(number("cpus")?).ok()?, u32::try_from(number("memory_mb")?).ok()?);
        Some(Guest { cpu_kind: some_text(guest, "cpu_kind")?, cpus, memory_mb })
    }

    /// Whether it is put to sleep and woken, by its first service: a group's machines need theirs all the same.
    pub(super) fn rest(&self) -> Option<Rest> {
        let service = list(&self.config, "services").first()?;
        let autostop = match service.get("autostop") {
            Some(Value::Bool(true)) => Autostop::Stop,
            Some(Value::String(word)) => Autostop::read(word).unwrap_or(Autostop::Off),
            _ => Autostop::Off,
        };
        let least = service.get("min_machines_running").and_then(Value::as_u64).unwrap_or(0);
        Some(Rest {
            autostop,
            // What is false may be left out of an answer.
            autostart: service.get("autostart").and_then(Value::as_bool).unwrap_or(false),
            min_running: u16::try_from(least).unwrap_or(u16::MAX),
        })
    }

    /// Checks that the configuration asks for, wherever it asks.
    pub(super) fn checks_configured(&self) -> usize {
        let own = self.config.get("checks").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        let services: usize = list(&self.config, "services").iter().map(|service| list(service, "checks").len()).sum();
        own + services
    }

    /// Restarts since somebody last started or changed it; none when the answer had no events.
    pub fn restarts(&self) -> Option<u32> {
        let since = self.events.as_ref()?.iter().take_while(|event| {
            event.source != "user" || !matches!(event.kind.as_str(), "launch" | "start" | "update" | "restart")
        });
        let exits: Vec<Exit> =
            since.filter_map(|event| event.exit).filter(|exit| !exit.requested && exit.restarting).collect();
        let counted = exits.iter().map(|exit| exit.restarts).max().unwrap_or(0);
        // Fly keeps only the newest events; its own count may know of more.
        Some(counted.max(u32::try_from(exits.len()).unwrap_or(u32::MAX)))
    }

    /// As the domain judges it.
    pub fn health(&self) -> health::Machine {
        let passing = self.checks.iter().filter(|check| check.status == "passing").count();
        // Configured and not one reported is not passing: say how many are waited for.
        let checks = if self.checks.is_empty() { self.checks_configured() } else { self.checks.len() };
        let failing = self.checks.iter().filter(|check| check.status != "passing").map(Check::says).collect();
        health::Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            region: self.region.clone(),
            state: self.state.clone(),
            host_ok: matches!(self.host_status.as_str(), "ok" | ""),
            cordoned: self.cordoned,
            checks_passing: u16::try_from(passing).unwrap_or(u16::MAX),
            checks: u16::try_from(checks).unwrap_or(u16::MAX),
            failing,
            restarts: self.restarts(),
            image: self.image.clone(),
            autostop: self.may_sleep(),
        }
    }
}

impl Check {
    fn read(value: &Value) -> Self {
        Self { name: text(value, "name"), status: text(value, "status"), output: text(value, "output") }
    }

    fn says(&self) -> String {
        let output: String = self.output.split_whitespace().collect::<Vec<_>>().join(" ");
        match output.chars().count() {
            0 => format!("{} is {}", self.name, self.status),
            chars if chars > OUTPUT_CHARS_MAX => {
                let cut: String = output.chars().take(OUTPUT_CHARS_MAX).collect();
                format!("{} is {}: {cut}…", self.name, self.status)
            }
            _ => format!("{} is {}: {output}", self.name, self.status),
        }
    }
}

impl Event {
    /// Reads an event.
    pub fn read(value: &Value) -> Self {
        let request = value.get("request").unwrap_or(&Value::Null);
        // The monitor's own word comes first, as in fly-go GetExitCode.
        let exit = request
            .pointer("/MonitorEvent/exit_event")
            .filter(|exit| exit.is_object())
            .or_else(|| request.get("exit_event").filter(|exit| exit.is_object()));
        Self {
            id: text(value, "id"),
            kind: text(value, "type"),
            source: text(value, "source"),
            at: moment(value.get("timestamp")),
            exit: exit.map(|exit| Exit {
                code: exit.get("exit_code").and_then(Value::as_i64).unwrap_or(0),
                oom_killed: flag(exit, "oom_killed"),
                requested: flag(exit, "requested_stop"),
                restarting: flag(exit, "restarting"),
                restarts: request
                    .get("restart_count")
                    .and_then(Value::as_u64)
                    .and_then(|count| u32::try_from(count).ok())
                    .unwrap_or(0),
            }),
        }
    }
}

impl App {
    /// Reads an app; none when it has no name.
    pub fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: some_text(value, "name")?,
            status: text(value, "status"),
            machines: value.get("machine_count").and_then(Value::as_u64),
        })
    }
}

impl TokenInfo {
    /// Reads what is said of one token.
    pub fn read(value: &Value) -> Self {
        let org = ["org_slug", "organization"].iter().find_map(|key| some_text(value, key));
        let apps = list(value, "apps").iter().filter_map(|app| match app {
            Value::String(name) => Some(name.clone()),
            other => some_text(other, "name"),
        });
        Self {
            org: org.unwrap_or_default(),
            apps: apps.collect(),
            expires: moment(value.get("expires_at").or_else(|| value.get("expiry"))),
        }
    }
}

impl Release {
    /// Reads a release; none when it has no id.
    pub fn read(value: &Value) -> Option<Self> {
        let user = value.get("user").unwrap_or(&Value::Null);
        Some(Self {
            id: some_text(value, "id")?,
            version: value.get("version").and_then(Value::as_u64).unwrap_or(0),
            status: text(value, "status"),
            image: text(value, "image_ref"),
            user: match user {
                Value::String(name) => name.clone(),
                other => some_text(other, "email").or_else(|| some_text(other, "name")).unwrap_or_default(),
            },
            at: moment(value.get("created_at")),
        })
    }
}

/// `registry/repository:tag@digest` from the parts, or whatever the configuration names.
fn image(machine: &Value) -> String {
    let parts = machine.get("image_ref").unwrap_or(&Value::Null);
    let Some(repository) = some_text(parts, "repository") else {
        return machine.pointer("/config/image").and_then(Value::as_str).unwrap_or_default().to_owned();
    };
    let mut image = some_text(parts, "registry").map_or_else(String::new, |registry| format!("{registry}/"));
    image.push_str(&repository);
    for (mark, key) in [(':', "tag"), ('@', "digest")] {
        if let Some(part) = some_text(parts, key) {
            image.push(mark);
            image.push_str(&part);
        }
    }
    image
}

/// Milliseconds, or a time as text: Fly's documents and its own library disagree. One that nobody can have meant is none.
pub(super) fn moment(value: Option<&Value>) -> Option<DateTime<Utc>> {
    let at = match value? {
        Value::Number(number) => DateTime::from_timestamp_millis(number.as_i64()?),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    at.filter(|at| YEARS.contains(&at.year()))
}

fn some_text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn text(value: &Value, key: &str) -> String {
    some_text(value, key).unwrap_or_default()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
