//! What a world is made of before anything happens: the workspace turned into apps, machines and releases.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::id::{digest, hex};
use super::workspace;
use super::world::{App, Exit, Figures, INTERNAL_PORT, Machine, Release, Secret, Volume, exit};

/// How long before the first release the secrets were set.
const SECRETS_BEFORE: TimeDelta = TimeDelta::days(1);

/// An app as the workspace has it.
pub fn app(seed: &workspace::App, at: DateTime<Utc>) -> App {
    let releases: Vec<Release> = seed.releases.iter().map(|past| release(seed, past, at)).collect();
    let runs = releases.iter().rev().find(|release| release.status == "complete");
    let mut machines: Vec<Machine> =
        seed.machines.iter().enumerate().map(|(index, one)| self::machine(seed, index, one, runs, at)).collect();
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
        machine.keep_version();
    }
    // Set before anything was released, or every release would be from before a secret was changed.
    let set_at = releases.iter().map(|release| release.created_at).min().unwrap_or(at) - SECRETS_BEFORE;
    let secret =
        |name: &String| Secret { name: name.clone(), digest: digest(name)[7..23].to_owned(), created_at: set_at };
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
        destroyed: Vec::new(),
        logs: VecDeque::new(),
        figures: Figures::default(),
    }
}

fn release(app: &workspace::App, seed: &workspace::Release, at: DateTime<Utc>) -> Release {
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
        metadata: Value::Null,
        updated_at: None,
    }
}

fn machine(
    app: &workspace::App,
    index: usize,
    seed: &workspace::Machine,
    runs: Option<&Release>,
    at: DateTime<Utc>,
) -> Machine {
    let config = config(app, seed, runs);
    let since = runs.map_or(at, |release| release.created_at);
    let name = format!("{}-{}", app.name, index + 1);
    let mut machine = Machine::new(name, seed.region.clone(), config, (since, at));
    machine.state = seed.state.clone();
    // What it runs was pulled long ago.
    machine.boots = 1;
    machine.event_at(since, "launch", "created", "user", None);
    machine.event_at(since + TimeDelta::milliseconds(3_400), "start", "started", "flyd", None);
    if machine.state == "stopped" {
        machine.event_at(at, "exit", "stopped", "flyd", Some(exit(&Exit::asked(), at, 0)));
    }
    machine
}

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
