//! The organisation: apps, machines, releases, logs. What is kept between starts lives here.
//!
//! Holds state and tells it apart; never decides when it changes (lifecycle.rs) nor how it reads on the wire (view.rs).

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::id::{digest, hex, now, ulid};
use super::server::Server;
use super::workspace::{self, Workspace};

/// Events kept a machine.
const EVENTS_MAX: usize = 200;
/// Log lines kept an app.
const LOGS_MAX: usize = 2_000;
/// The port inside each machine.
pub const INTERNAL_PORT: u16 = 8080;

/// All that is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct World {
    /// In the order of the workspace.
    pub apps: Vec<App>,
}

/// An app.
#[derive(Debug, Serialize, Deserialize)]
pub struct App {
    pub id: String,
    pub name: String,
    pub stage: String,
    pub visitors_per_minute: u32,
    pub machines: Vec<Machine>,
    /// Oldest first.
    pub releases: Vec<Release>,
    pub secrets: Vec<Secret>,
    pub volumes: Vec<Volume>,
    pub certificates: Vec<String>,
    pub host_issues: Vec<HostIssue>,
    /// Oldest first.
    pub logs: VecDeque<Log>,
}

/// A machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub id: String,
    pub name: String,
    pub region: String,
    /// An open string, as Fly's is.
    pub state: String,
    /// The whole configuration, as a client wrote it.
    pub config: Value,
    /// New with each version.
    pub instance_id: String,
    /// Oldest first.
    pub versions: Vec<Version>,
    pub private_ip: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Oldest first.
    pub events: VecDeque<Event>,
    pub checks: Vec<Check>,
    pub host_status: String,
    pub cordoned: bool,
    pub lease: Option<Lease>,
    pub behaviour: Behaviour,
    pub slow_ms: u64,
    /// The share of memory in use that the metrics tell; `None` leaves it to chance.
    pub memory_used: Option<f64>,
    /// Restarts by policy since it was last started by somebody.
    pub restart_count: u32,
    /// Restarts by policy, ever.
    pub restarts: u64,
    /// What belongs to this process only.
    #[serde(skip)]
    pub live: Live,
}

/// The part of a machine that no snapshot keeps.
#[derive(Debug, Default)]
pub struct Live {
    /// The server of a started machine.
    pub server: Option<Server>,
    /// Counts state changes, so that a step that comes too late finds out.
    pub epoch: u64,
    /// Counts what makes the last check old.
    pub touched: u64,
    /// The `touched` that the last finished check knew.
    pub checked: u64,
    /// A check is under way.
    pub checking: bool,
    /// Last asked by somebody; `None` when nobody has since it started here.
    pub asked_at: Option<DateTime<Utc>>,
    /// Requests answered, checks too.
    pub requests: u64,
}

/// How the program in a machine behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// As it should.
    #[default]
    Healthy,
    /// Right, but late.
    Slow,
    /// Answers 500.
    Wrong,
    /// Answers 200 with a body that is not ok.
    WrongBody,
    /// Does not listen.
    Dead,
    /// Accepts and never answers.
    Hanging,
}

/// A configuration that a machine had.
#[derive(Debug, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    pub config: Value,
}

/// Something that happened to a machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub status: String,
    pub source: String,
    pub at: DateTime<Utc>,
    pub request: Option<Value>,
}

/// A health check and what it found last.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub path: String,
    pub status: String,
    pub output: String,
    /// The last change, not the last look.
    pub updated_at: DateTime<Utc>,
}

/// A hold on a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    pub nonce: String,
    pub owner: String,
    pub description: String,
    pub expires_at: DateTime<Utc>,
}

/// A deploy on record.
#[derive(Debug, Serialize, Deserialize)]
pub struct Release {
    pub id: String,
    pub version: u64,
    pub status: String,
    pub strategy: String,
    pub user: String,
    pub description: String,
    pub image: String,
    pub created_at: DateTime<Utc>,
    pub definition: Value,
}

/// A secret; there is no value.
#[derive(Debug, Serialize, Deserialize)]
pub struct Secret {
    pub name: String,
    pub digest: String,
    pub created_at: DateTime<Utc>,
}

/// A disk.
#[derive(Debug, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub name: String,
    pub region: String,
    pub size_gb: u32,
    pub machine: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// What Fly says about its own hosts.
#[derive(Debug, Serialize, Deserialize)]
pub struct HostIssue {
    pub id: String,
    pub machine: String,
    pub message: String,
    pub created_at: DateTime<Utc>,
}

/// A log line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Log {
    pub id: String,
    pub at_ns: i64,
    pub level: String,
    pub message: String,
    pub instance: String,
    pub region: String,
    /// `app`, `runner`, `proxy`.
    pub provider: String,
}

impl World {
    /// The world of a workspace. Started machines have no server yet.
    pub fn new(workspace: &Workspace) -> World {
        World { apps: workspace.apps.iter().map(|seed| App::new(seed, now())).collect() }
    }

    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.name == name)
    }

    pub fn app_mut(&mut self, name: &str) -> Option<&mut App> {
        self.apps.iter_mut().find(|app| app.name == name)
    }

    pub fn machine_mut(&mut self, app: &str, id: &str) -> Option<&mut Machine> {
        self.app_mut(app)?.machines.iter_mut().find(|machine| machine.id == id)
    }
}

impl App {
    fn new(seed: &workspace::App, at: DateTime<Utc>) -> App {
        let releases: Vec<Release> = seed.releases.iter().map(|release| Release::new(seed, release, at)).collect();
        let runs = releases.iter().rev().find(|release| release.status == "complete");
        let mut machines: Vec<Machine> = seed
            .machines
            .iter()
            .enumerate()
            .map(|(index, machine)| Machine::new(seed, index, machine, runs, at))
            .collect();
        let mut volumes = Vec::new();
        for volume in &seed.volumes {
            let id = format!("vol_{}", hex(16));
            let takes = |m: &&mut Machine| m.region == volume.region && m.config.get("mounts").is_none();
            let machine = machines.iter_mut().find(takes).map(|machine| {
                machine.config["mounts"] = json!([{"volume": id, "name": volume.name, "path": "/data"}]);
                machine.id.clone()
            });
            let (name, region, size_gb) = (volume.name.clone(), volume.region.clone(), volume.size_gb);
            volumes.push(Volume { id, name, region, size_gb, machine, created_at: at });
        }
        for machine in &mut machines {
            machine.versions.push(Version { version: machine.instance_id.clone(), config: machine.config.clone() });
        }
        let secret =
            |name: &String| Secret { name: name.clone(), digest: digest(name)[7..23].to_owned(), created_at: at };
        App {
            id: seed.name.clone(),
            name: seed.name.clone(),
            stage: seed.stage.clone(),
            visitors_per_minute: seed.visitors_per_minute,
            machines,
            releases,
            secrets: seed.secrets.iter().map(secret).collect(),
            volumes,
            certificates: seed.certificates.clone(),
            host_issues: Vec::new(),
            logs: VecDeque::new(),
        }
    }

    pub fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.id == id)
    }

    /// The newest release, whatever became of it.
    pub fn current_release(&self) -> Option<&Release> {
        self.releases.iter().max_by_key(|release| release.version)
    }

    /// Whether every machine is stopped.
    pub fn is_asleep(&self) -> bool {
        !self.machines.is_empty() && self.machines.iter().all(|m| matches!(m.state.as_str(), "stopped" | "suspended"))
    }

    /// Notes a log line.
    pub fn log(&mut self, machine: Option<&str>, provider: &str, level: &str, message: impl Into<String>) {
        let at = now();
        let found = machine.and_then(|id| self.machine(id));
        let (instance, region) = found.map(|m| (m.id.clone(), m.region.clone())).unwrap_or_default();
        // Two lines never have the same moment, or paging by it would lose one.
        let after = self.logs.back().map_or(0, |log| log.at_ns + 1);
        self.logs.push_back(Log {
            id: ulid(at),
            at_ns: super::id::nanos(at).max(after),
            level: level.to_owned(),
            message: message.into(),
            instance,
            region,
            provider: provider.to_owned(),
        });
        if self.logs.len() > LOGS_MAX {
            self.logs.pop_front();
        }
    }
}

impl Release {
    fn new(app: &workspace::App, seed: &workspace::Release, at: DateTime<Utc>) -> Release {
        Release {
            id: hex(24),
            version: seed.version,
            status: seed.status.clone(),
            strategy: seed.strategy.clone(),
            user: seed.user.clone(),
            description: seed.description.clone(),
            image: seed.image.clone(),
            created_at: at - TimeDelta::minutes(i64::from(seed.minutes_ago)),
            definition: definition(app),
        }
    }
}

impl Machine {
    fn new(
        app: &workspace::App,
        index: usize,
        seed: &workspace::Machine,
        runs: Option<&Release>,
        at: DateTime<Utc>,
    ) -> Machine {
        let config = config(app, seed, runs);
        let since = runs.map_or(at, |release| release.created_at);
        let number = index + 1;
        let mut machine = Machine {
            id: hex(14),
            name: format!("{}-{number}", app.name),
            region: seed.region.clone(),
            state: seed.state.clone(),
            checks: checks_of(&config, at),
            config,
            instance_id: ulid(since),
            versions: Vec::new(),
            private_ip: format!("fdaa:0:{:x}:a7b:{:x}:0:a:{number:x}", fastrand::u16(1..), fastrand::u16(1..)),
            created_at: since,
            updated_at: at,
            events: VecDeque::new(),
            host_status: "ok".to_owned(),
            cordoned: false,
            lease: None,
            behaviour: Behaviour::Healthy,
            slow_ms: 0,
            memory_used: None,
            restart_count: 0,
            restarts: 0,
            live: Live::default(),
        };
        machine.event_at(since, "launch", "created", "user", None);
        machine.event_at(since + TimeDelta::milliseconds(3_400), "start", "started", "flyd", None);
        if machine.state == "stopped" {
            machine.event_at(at, "exit", "stopped", "flyd", Some(exit(&Exit::asked(), at, 0)));
        }
        machine
    }

    /// Notes an event.
    pub fn event(&mut self, kind: &str, status: &str, source: &str, request: Option<Value>) {
        self.event_at(now(), kind, status, source, request);
    }

    fn event_at(&mut self, at: DateTime<Utc>, kind: &str, status: &str, source: &str, request: Option<Value>) {
        let (kind, status, source) = (kind.to_owned(), status.to_owned(), source.to_owned());
        self.events.push_back(Event { id: ulid(at), kind, status, source, at, request });
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    pub fn image(&self) -> &str {
        self.config["image"].as_str().unwrap_or_default()
    }

    pub fn memory_mb(&self) -> u64 {
        self.config["guest"]["memory_mb"].as_u64().unwrap_or(256)
    }

    /// Whether Fly stops it when nobody asks. Clients write words or truth values; both count.
    pub fn autostop(&self) -> bool {
        self.services().any(|service| match &service["autostop"] {
            Value::Bool(on) => *on,
            Value::String(word) => word != "off",
            _ => false,
        })
    }

    /// Whether a request wakes it.
    pub fn autostart(&self) -> bool {
        self.services().any(|service| service["autostart"].as_bool().unwrap_or(false))
    }

    /// The word of its restart policy.
    pub fn restart_policy(&self) -> &str {
        self.config["restart"]["policy"].as_str().unwrap_or("on-failure")
    }

    fn services(&self) -> impl Iterator<Item = &Value> {
        self.config["services"].as_array().into_iter().flatten()
    }

    /// The lease, unless it is over.
    pub fn held(&self) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.expires_at > now())
    }

    /// Says that what the last check found no longer counts.
    pub fn touch(&mut self) {
        self.live.touched += 1;
    }

    /// Its checks begin anew, as after a start.
    pub fn reset_checks(&mut self, output: &str) {
        let at = now();
        for check in &mut self.checks {
            // Undocumented: that a check which has not run yet warns is what operators report.
            check.set("warning", output.to_owned(), at);
        }
    }

    /// Whether requests may be sent to it.
    pub fn is_reachable(&self) -> bool {
        self.state == "started" && self.host_status == "ok"
    }

    pub fn is_passing(&self) -> bool {
        self.checks.iter().all(|check| check.status == "passing")
    }
}

impl Check {
    pub fn set(&mut self, status: &str, output: String, at: DateTime<Utc>) {
        if self.status != status {
            self.updated_at = at;
        }
        self.status = status.to_owned();
        self.output = output;
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub code: i64,
    pub oom: bool,
    pub requested: bool,
    pub restarting: bool,
}

impl Exit {
    /// Somebody stopped it and it went.
    pub fn asked() -> Exit {
        Exit { code: 0, oom: false, requested: true, restarting: false }
    }
}

/// The `request` of an exit event.
pub fn exit(exit: &Exit, at: DateTime<Utc>, restart_count: u32) -> Value {
    json!({
        "exit_event": {
            "requested_stop": exit.requested, "restarting": exit.restarting, "guest_exit_code": exit.code,
            "guest_signal": -1, "guest_error": "", "exit_code": exit.code, "signal": -1, "error": "",
            "oom_killed": exit.oom, "exited_at": at.timestamp_millis(),
        },
        "restart_count": restart_count,
    })
}

/// The checks that a configuration asks for.
pub fn checks_of(config: &Value, at: DateTime<Utc>) -> Vec<Check> {
    let check = |name: String, wish: &Value| Check {
        name,
        path: wish["path"].as_str().unwrap_or("/").to_owned(),
        status: "warning".to_owned(),
        output: NOT_STARTED.to_owned(),
        updated_at: at,
    };
    let mut checks = Vec::new();
    for (index, service) in config["services"].as_array().into_iter().flatten().enumerate() {
        let port = service["internal_port"].as_u64().unwrap_or(u64::from(INTERNAL_PORT));
        for wish in service["checks"].as_array().into_iter().flatten() {
            let kind = wish["type"].as_str().unwrap_or("tcp");
            checks.push(check(format!("servicecheck-{index:02}-{kind}-{port}"), wish));
        }
    }
    for (name, wish) in config["checks"].as_object().into_iter().flatten() {
        checks.push(check(name.clone(), wish));
    }
    checks
}

/// What a check of a machine that is not up says.
pub const NOT_STARTED: &str = "the machine hasn't started";

fn config(app: &workspace::App, seed: &workspace::Machine, runs: Option<&Release>) -> Value {
    let image = runs.map_or_else(|| format!("registry.fly.io/{}:deployment-1", app.name), |r| r.image.clone());
    let mut metadata = Map::new();
    metadata.insert("fly_platform_version".to_owned(), json!("v2"));
    metadata.insert("fly_process_group".to_owned(), json!("app"));
    if let Some(release) = runs {
        metadata.insert("fly_release_id".to_owned(), json!(release.id));
        metadata.insert("fly_release_version".to_owned(), json!(release.version.to_string()));
    }
    json!({
        "image": image,
        "env": {"FLY_PROCESS_GROUP": "app", "PRIMARY_REGION": seed.region},
        "init": {},
        "guest": {"cpu_kind": seed.cpu_kind, "cpus": seed.cpus, "memory_mb": seed.memory_mb},
        "metadata": metadata,
        "restart": {"policy": app.restart, "max_retries": 10},
        "services": [service(app)],
    })
}

/// The service as an answer shows it: auto-stop as a truth value, whatever was written.
fn service(app: &workspace::App) -> Value {
    json!({
        "protocol": "tcp",
        "internal_port": INTERNAL_PORT,
        "autostop": app.autostop,
        "autostart": app.autostart,
        "min_machines_running": 0,
        "ports": [
            {"port": 80, "handlers": ["http"], "force_https": true},
            {"port": 443, "handlers": ["http", "tls"]},
        ],
        "concurrency": {"type": "requests", "soft_limit": 200, "hard_limit": 250},
        "checks": [{
            "type": "http", "interval": "15s", "timeout": "2s", "grace_period": "5s", "method": "get", "path": "/health",
        }],
    })
}

/// The app's configuration as a release keeps it: fly.toml as JSON.
fn definition(app: &workspace::App) -> Value {
    json!({
        "app": app.name,
        "primary_region": app.machines.first().map(|machine| machine.region.as_str()),
        "http_service": {
            "internal_port": INTERNAL_PORT,
            "force_https": true,
            "auto_stop_machines": if app.autostop { "stop" } else { "off" },
            "auto_start_machines": app.autostart,
            "min_machines_running": 0,
            "checks": [{"method": "get", "path": "/health", "interval": "15s", "timeout": "2s", "grace_period": "5s"}],
        },
    })
}
