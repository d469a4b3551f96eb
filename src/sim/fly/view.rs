//! How the organisation reads on the wire of the Machines API.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::id::digest;
use super::workspace::Workspace;
use super::world::{App, Event, Lease, Machine, Secret, Version, Volume};

/// A time as the Machines API writes it.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The organisation's name for people.
pub fn org_name(workspace: &Workspace) -> &str {
    if workspace.org_name.is_empty() { &workspace.org } else { &workspace.org_name }
}

pub fn app(workspace: &Workspace, app: &App) -> Value {
    json!({
        "id": app.id, "name": app.name, "status": status(app), "machine_count": app.machines.len(),
        "volume_count": app.volumes.len(), "network": "default", "internal_numeric_id": 1,
        "organization": {"name": org_name(workspace), "slug": workspace.org},
    })
}

/// `deployed`, `suspended` when all machines sleep, `pending` without any.
///
/// Undocumented: when Fly says which of them.
pub fn status(app: &App) -> &'static str {
    match app.machines.is_empty() {
        true => "pending",
        false if app.is_asleep() => "suspended",
        false => "deployed",
    }
}

/// A machine with everything.
pub fn machine(machine: &Machine) -> Value {
    let mut body = summary(machine);
    body["config"] = shown(&machine.config);
    body["events"] = machine.events.iter().rev().map(event).collect();
    body["host_status"] = json!(machine.host_status);
    // Read by Fly's own client, though the document does not have them.
    body["cordoned"] = json!(machine.cordoned);
    body["version"] = json!(machine.instance_id);
    body["checks"] = (machine.checks.iter())
        .map(|check| {
            let at = check.updated_at.to_rfc3339_opts(SecondsFormat::Millis, true);
            json!({"name": check.name, "status": check.status, "output": check.output, "updated_at": at})
        })
        .collect();
    body
}

/// A configuration as an answer shows it: as it was written, but auto-stop is a truth value where it can be one.
fn shown(config: &Value) -> Value {
    let mut config = config.clone();
    for service in config.get_mut("services").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(wish) = service.get_mut("autostop") else { continue };
        match wish.as_str() {
            Some("stop") => *wish = Value::Bool(true),
            Some("off") => *wish = Value::Bool(false),
            _ => {}
        }
    }
    config
}

/// A machine without configuration, checks, events and host.
pub fn summary(machine: &Machine) -> Value {
    json!({
        "id": machine.id, "name": machine.name, "state": machine.state, "region": machine.region,
        "instance_id": machine.instance_id, "private_ip": machine.private_ip,
        "created_at": time(machine.created_at), "updated_at": time(machine.updated_at),
        "image_ref": image_ref(machine.image()),
    })
}

/// A machine in an organisation's list.
pub fn org_machine(app: &App, machine: &Machine) -> Value {
    json!({
        "id": machine.id, "app_name": app.name, "name": machine.name, "state": machine.state, "region": machine.region,
        "instance_id": machine.instance_id, "version": machine.instance_id, "private_ip": machine.private_ip,
        "created_at": time(machine.created_at),
        "updated_at": machine.updated_at.to_rfc3339_opts(SecondsFormat::Nanos, true),
        "config": {
            "image": machine.image(), "guest": machine.config["guest"], "metadata": machine.config["metadata"],
        },
    })
}

/// `registry/repository:tag@digest`, taken apart. An image without a digest gets one made from its name.
pub fn image_ref(image: &str) -> Value {
    let (name, known) = image.split_once('@').map_or((image, None), |(name, known)| (name, Some(known)));
    let (registry, rest) = name.split_once('/').unwrap_or(("docker.io", name));
    let (repository, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
    json!({
        "registry": registry, "repository": repository, "tag": tag, "labels": {},
        "digest": known.map_or_else(|| digest(name), str::to_owned),
    })
}

pub fn event(event: &Event) -> Value {
    let mut body = json!({
        "id": event.id, "type": event.kind, "status": event.status, "source": event.source,
        "timestamp": event.at.timestamp_millis(),
    });
    if let Some(request) = &event.request {
        body["request"] = request.clone();
    }
    body
}

pub fn version(version: &Version) -> Value {
    json!({"version": version.version, "user_config": shown(&version.config)})
}

/// The lease in the envelope that Fly really sends; the document shows only what is in it.
pub fn lease(machine: &Machine, lease: &Lease) -> Value {
    json!({
        "status": "success",
        // flyctl clears a lease with the nonce that it read, so whoever may look sees it.
        "data": {
            "nonce": lease.nonce, "owner": lease.owner, "description": lease.description,
            "expires_at": lease.expires_at.timestamp(), "version": machine.instance_id,
        },
    })
}

pub fn secret(secret: &Secret) -> Value {
    let at = time(secret.created_at);
    json!({"name": secret.name, "digest": secret.digest, "created_at": at, "updated_at": at})
}

pub fn volume(app: &App, volume: &Volume) -> Value {
    let machine = volume.machine.as_deref().and_then(|id| app.machine(id));
    let bytes = u64::from(volume.size_gb) * 1_073_741_824;
    json!({
        "id": volume.id, "name": volume.name, "region": volume.region, "size_gb": volume.size_gb, "state": "created",
        "zone": "0000", "type": "local", "encrypted": true, "fstype": "ext4", "block_size": 4096,
        "blocks": bytes / 4096, "blocks_free": bytes / 8192, "blocks_avail": bytes / 8192,
        "bytes_total": bytes, "bytes_used": bytes / 2, "created_at": time(volume.created_at),
        "attached_machine_id": volume.machine.as_deref().unwrap_or_default(), "attached_alloc_id": "",
        "auto_backup_enabled": true, "snapshot_retention": 5,
        "host_status": machine.map_or("ok", |machine| machine.host_status.as_str()),
    })
}

pub fn certificate(host: &str, at: DateTime<Utc>) -> Value {
    json!({
        "hostname": host, "status": "active", "configured": true, "acme_requested": true, "acme_alpn_configured": true,
        "acme_dns_configured": true, "acme_http_configured": true, "has_fly_certificate": true,
        "has_custom_certificate": false, "ownership_txt_configured": false, "dns_provider": "", "created_at": time(at),
        "updated_at": time(at),
    })
}

pub fn certificate_detail(host: &str) -> Value {
    json!({
        "hostname": host, "status": "active", "configured": true, "acme_requested": true, "dns_provider": "",
        "certificates": [], "validation_errors": [],
        "validation": {"alpn_configured": true, "dns_configured": true, "http_configured": true},
    })
}

/// With capital letters, as the live service has them; the document has small ones.
pub fn regions() -> Value {
    let region = |code: &str, name: &str, latitude: f64, longitude: f64| {
        json!({
            "code": code, "name": name, "latitude": latitude, "longitude": longitude, "gateway_available": true,
            "requires_paid_plan": false, "deprecated": false, "capacity": 100,
        })
    };
    json!({"Nearest": "ord", "Regions": [
        region("ams", "Amsterdam, Netherlands", 52.374_342, 4.895_439),
        region("fra", "Frankfurt, Germany", 50.1167, 8.6833),
        region("iad", "Ashburn, Virginia (US)", 39.02214, -77.462_556),
        region("lhr", "London, United Kingdom", 51.516_434, -0.125_656),
        region("ord", "Chicago, Illinois (US)", 41.891_544, -87.630_386),
        region("sjc", "San Jose, California (US)", 37.351_602, -121.896_744),
    ]})
}
