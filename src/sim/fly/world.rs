//! The organisation: apps, machines, releases, logs. What is kept between starts lives here.
//!
//! Holds state and tells it apart; never decides when it changes (lifecycle.rs) nor how it reads on the wire (view.rs).

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::{hex, now, ulid};
use super::images::{Image, Plan};
use super::seed;
use super::server::Server;
use super::workspace::Workspace;

/// Events kept a machine.
const EVENTS_MAX: usize = 200;
/// Log lines kept an app.
const LOGS_MAX: usize = 2_000;
/// Versions kept a machine.
const VERSIONS_MAX: usize = 200;
/// How often in a row a machine is started again when its configuration does not say.
const RETRIES_DEFAULT: u32 = 10;
/// How long a stop waits for the process when its configuration does not say.
const KILL_TIMEOUT_MS: u64 = 5_000;
/// The port inside each machine.
pub const INTERNAL_PORT: u16 = 8080;

/// All that is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct World {
    /// In the order of the workspace.
    pub apps: Vec<App>,
    /// Images whose character was told over the control API.
    #[serde(default)]
    pub images: Vec<Image>,
}

/// An app.
#[derive(Debug, Serialize, Deserialize)]
pub struct App {
    pub id: String,
    pub name: String,
    pub stage: String,
    pub visitors_per_minute: u32,
    pub machines: Vec<Machine>,
    /// Machines that are no more; a look at one by its id still finds it.
    #[serde(default)]
    pub destroyed: Vec<Machine>,
    /// Oldest first.
    pub releases: Vec<Release>,
    pub secrets: Vec<Secret>,
    pub volumes: Vec<Volume>,
    pub certificates: Vec<String>,
    pub host_issues: Vec<HostIssue>,
    /// Oldest first.
    pub logs: VecDeque<Log>,
    /// What the metrics tell whatever happens.
    #[serde(default)]
    pub figures: Figures,
}

/// What the metrics of an app tell by order; what is not said follows from what happens.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Figures {
    /// The time that 95 of 100 answers keep within, in seconds.
    pub latency_s: Option<f64>,
    /// The share of answers that are 500 or above.
    pub errors: Option<f64>,
    /// The share of memory in use, of every machine.
    pub memory: Option<f64>,
    /// The share of processors in use, of every machine.
    pub cpu: Option<f64>,
    /// Machines whose program ended with an error lately.
    pub exits: Option<f64>,
    /// The share of every volume that is in use.
    pub volume: Option<f64>,
    /// Nothing was measured at all.
    pub none: bool,
    /// What they were so many seconds ago and before.
    pub before_s: u32,
    /// That.
    pub before: Option<Box<Figures>>,
}

impl Figures {
    /// What was told of a moment so long ago.
    pub fn ago(&self, ago: TimeDelta) -> &Self {
        self.before.as_deref().filter(|_| ago >= TimeDelta::seconds(i64::from(self.before_s))).unwrap_or(self)
    }
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
    /// Starts of this version so far; its image is pulled for the first.
    #[serde(default)]
    pub boots: u32,
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
    /// What the image that runs has in mind.
    pub plan: Plan,
    /// The program listens by now.
    pub listens: bool,
    /// The program is going to end by itself.
    pub doomed: bool,
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
    /// What its writer added.
    #[serde(default)]
    pub metadata: Value,
    /// The last change; none after it was written.
    #[serde(default)]
    pub updated_at: Option<DateTime<Utc>>,
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
    /// What a request was answered with, where the line is about one.
    #[serde(default)]
    pub status: Option<u16>,
    /// Fly's code of an error.
    #[serde(default)]
    pub code: Option<i64>,
}

impl World {
    /// The world of a workspace. Started machines have no server yet.
    pub fn new(workspace: &Workspace) -> World {
        let apps = workspace.apps.iter().map(|app| seed::app(app, now())).collect();
        World { apps, images: Vec::new() }
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
    /// A machine, also one that is no more.
    pub fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.iter().chain(&self.destroyed).find(|machine| machine.id == id)
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
        let (id, at_ns, level, provider) = (ulid(at), super::id::nanos(at), level.to_owned(), provider.to_owned());
        let message = message.into();
        self.put_log(Log { id, at_ns, level, message, instance, region, provider, status: None, code: None });
    }

    /// Puts a line where its moment is.
    pub fn put_log(&mut self, mut log: Log) {
        let mut at = self.logs.partition_point(|one| one.at_ns < log.at_ns);
        // Two lines never have the same moment, or paging by it would lose one.
        while self.logs.get(at).is_some_and(|one| one.at_ns == log.at_ns) {
            (log.at_ns, at) = (log.at_ns + 1, at + 1);
        }
        self.logs.insert(at, log);
        if self.logs.len() > LOGS_MAX {
            self.logs.pop_front();
        }
    }
}

impl Machine {
    /// A machine that was just made. `times` are when it was made and when it last changed.
    pub fn new(
        name: String,
        region: String,
        config: Value,
        (created_at, updated_at): (DateTime<Utc>, DateTime<Utc>),
    ) -> Machine {
        let part = || fastrand::u16(1..);
        Machine {
            id: hex(14),
            name,
            region,
            state: "created".to_owned(),
            checks: checks_of(&config, updated_at),
            config,
            instance_id: ulid(created_at),
            versions: Vec::new(),
            private_ip: format!("fdaa:0:{:x}:a7b:{:x}:0:a:{:x}", part(), part(), part()),
            created_at,
            updated_at,
            events: VecDeque::new(),
            host_status: "ok".to_owned(),
            cordoned: false,
            lease: None,
            behaviour: Behaviour::Healthy,
            slow_ms: 0,
            memory_used: None,
            restart_count: 0,
            restarts: 0,
            boots: 0,
            live: Live::default(),
        }
    }

    /// Takes another configuration, whole: a new version.
    pub fn take_config(&mut self, config: Value) {
        self.config = config;
        self.instance_id = ulid(now());
        self.checks = checks_of(&self.config, now());
        self.boots = 0;
        self.keep_version();
    }

    /// Remembers the version that it has now.
    pub fn keep_version(&mut self) {
        self.versions.push(Version { version: self.instance_id.clone(), config: self.config.clone() });
        if self.versions.len() > VERSIONS_MAX {
            self.versions.remove(0);
        }
    }

    /// Notes an event.
    pub fn event(&mut self, kind: &str, status: &str, source: &str, request: Option<Value>) {
        self.event_at(now(), kind, status, source, request);
    }

    /// Notes an event of another time.
    pub fn event_at(&mut self, at: DateTime<Utc>, kind: &str, status: &str, source: &str, request: Option<Value>) {
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

    /// How often in a row the policy `on-failure` starts it again.
    pub fn retries_max(&self) -> u32 {
        let wish = self.config["restart"]["max_retries"].as_u64().filter(|wish| *wish > 0);
        wish.and_then(|wish| u32::try_from(wish).ok()).unwrap_or(RETRIES_DEFAULT)
    }

    /// How long a stop waits for the process before it is killed.
    pub fn kill_timeout_ms(&self) -> u64 {
        self.config["stop_config"]["timeout"].as_str().and_then(span_ms).unwrap_or(KILL_TIMEOUT_MS)
    }

    /// Whether the proxy may send it requests at all.
    pub fn serves(&self) -> bool {
        self.services().next().is_some()
    }

    /// Whether its process runs once and ends: a release command, or a task.
    pub fn is_job(&self) -> bool {
        let group = self.config["metadata"]["fly_process_group"].as_str();
        let has_checks = self.config["checks"].as_object().is_some_and(|checks| !checks.is_empty());
        group == Some("fly_app_release_command") || (!self.serves() && !has_checks && self.restart_policy() == "no")
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

/// Milliseconds of `500ms`, `10s`, `1m30s`, or of a number of seconds.
pub fn span_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let (mut sum, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let (number, more) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let (unit, more) = more.split_at(more.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(more.len()));
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * factor;
        rest = more;
    }
    (0.0..1e12).contains(&sum).then_some(sum as u64)
}
