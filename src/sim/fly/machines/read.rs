//! The calls that only look.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::api::Call;
use super::super::problem::{Problem, ok};
use super::super::state::State;
use super::super::view;
use super::super::world::{App, Machine};
use super::lease;
use super::routes::{Found, Op};

/// Events of one answer: unasked, and at most.
const EVENTS_DEFAULT: usize = 20;
const EVENTS_MAX: usize = 50;
/// Machines of one page of an organisation's list.
const PAGE_MAX: usize = 1_000;

/// Answers a call that looks.
pub fn serve(state: &State, call: &Call, found: &Found) -> Result<Response, Problem> {
    let body = match found.op {
        Op::ListApps => list_apps(state, call)?,
        Op::OrgMachines => org_machines(state, call, found)?,
        Op::OrgVolumes => org_volumes(state, call, found)?,
        Op::Regions => view::regions(),
        Op::CurrentToken => current_token(state, call),
        _ => {
            let name = found.name("{app_name}").unwrap_or_default();
            of_app(state, state.world.app(name).ok_or_else(Problem::no_app)?, call, found)?
        }
    };
    Ok(ok(&body))
}

fn of_app(state: &State, app: &App, call: &Call, found: &Found) -> Result<Value, Problem> {
    Ok(match found.op {
        Op::GetApp => view::app(&state.workspace, app),
        Op::ListMachines => json!(list_machines(app, call)),
        Op::ListSecrets => json!({"secrets": app.secrets.iter().map(view::secret).collect::<Vec<_>>()}),
        Op::GetSecret => {
            let wanted = found.name("{secret_name}");
            let secret = app.secrets.iter().find(|secret| Some(secret.name.as_str()) == wanted);
            view::secret(secret.ok_or_else(|| Problem::new(404, "secret not found"))?)
        }
        Op::ListVolumes => json!(app.volumes.iter().map(|volume| view::volume(app, volume)).collect::<Vec<_>>()),
        Op::GetVolume => {
            let wanted = found.name("{volume_id}");
            let volume = app.volumes.iter().find(|volume| Some(volume.id.as_str()) == wanted);
            view::volume(app, volume.ok_or_else(|| Problem::new(404, "volume not found"))?)
        }
        Op::ListCertificates => {
            let all: Vec<Value> = app.certificates.iter().map(|host| view::certificate(host, state.began)).collect();
            json!({"certificates": all, "total_count": app.certificates.len(), "next_cursor": ""})
        }
        Op::GetCertificate => {
            let wanted = found.name("{hostname}");
            let host = app.certificates.iter().find(|host| Some(host.as_str()) == wanted);
            view::certificate_detail(host.ok_or_else(|| Problem::new(404, "certificate not found"))?)
        }
        Op::ListAddresses => json!({"ips": [
            {"ip": "66.241.124.1", "region": "global", "shared": true, "service_name": "", "created_at": view::time(state.began)},
        ]}),
        _ => {
            let id = found.name("{machine_id}").unwrap_or_default();
            of_machine(app.machine(id).ok_or_else(Problem::no_machine)?, call, found)?
        }
    })
}

fn of_machine(machine: &Machine, call: &Call, found: &Found) -> Result<Value, Problem> {
    Ok(match found.op {
        Op::GetMachine => view::machine(machine),
        Op::ListEvents => {
            let limit = number(call, "limit")?.unwrap_or(EVENTS_DEFAULT);
            if limit > EVENTS_MAX {
                return Err(Problem::new(400, "invalid_argument: limit is at most 50"));
            }
            json!(machine.events.iter().rev().take(limit).map(view::event).collect::<Vec<_>>())
        }
        Op::ListVersions => json!(machine.versions.iter().rev().map(view::version).collect::<Vec<_>>()),
        Op::GetMetadata => machine.config["metadata"].as_object().map_or_else(|| json!({}), |all| json!(all)),
        Op::GetMetadataKey => {
            let value = &machine.config["metadata"][found.name("{key}").unwrap_or_default()];
            let value = value.as_str().ok_or_else(|| Problem::new(404, "metadata key not found"))?;
            json!({"value": value})
        }
        Op::GetLease => view::lease(machine, machine.held().ok_or_else(lease::none)?),
        Op::GetMemory => {
            let limit = machine.memory_mb();
            json!({"limit_mb": limit, "available_mb": limit / 2})
        }
        _ => return Err(Problem::later()),
    })
}

fn list_apps(state: &State, call: &Call) -> Result<Value, Problem> {
    let org = call.get("org_slug").ok_or_else(|| Problem::new(400, "org_slug is required"))?;
    if org != state.workspace.org {
        return Err(Problem::new(404, "organization not found"));
    }
    let apps = state.world.apps.iter().filter(|app| call.caller.sees(&app.name));
    let apps: Vec<Value> = apps.map(|app| view::app(&state.workspace, app)).collect();
    Ok(json!({"total_apps": apps.len(), "apps": apps}))
}

fn list_machines(app: &App, call: &Call) -> Vec<Value> {
    let summary = is_true(call.get("summary"));
    let metadata: Vec<(&str, &str)> =
        call.query.iter().filter_map(|(key, value)| Some((key.strip_prefix("metadata.")?, value.as_str()))).collect();
    listed(app, call)
        .filter(|machine| matches(machine, call))
        .filter(|machine| metadata.iter().all(|(key, value)| machine.config["metadata"][key] == *value))
        .map(|machine| if summary { view::summary(machine) } else { view::machine(machine) })
        .collect()
}

/// All machines, with those that are no more when the call asks for them.
fn listed<'a>(app: &'a App, call: &Call) -> impl Iterator<Item = &'a Machine> {
    let gone = if is_true(call.get("include_deleted")) { app.destroyed.as_slice() } else { &[] };
    app.machines.iter().chain(gone)
}

/// The filters that both lists have.
fn matches(machine: &Machine, call: &Call) -> bool {
    let states = call.all("state");
    (states.is_empty() || states.contains(&machine.state.as_str()))
        && call.get("region").is_none_or(|region| region.is_empty() || region == machine.region)
}

fn org_machines(state: &State, call: &Call, found: &Found) -> Result<Value, Problem> {
    let is_here = found.name("{org_slug}") == Some(state.workspace.org.as_str());
    if !is_here {
        return Err(Problem::new(404, "organization not found"));
    }
    let limit = number(call, "limit")?.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let since = match call.get("updated_after") {
        Some(text) => Some(text.parse::<DateTime<Utc>>().map_err(|_| Problem::new(400, "invalid updated_after"))?),
        None => None,
    };
    let mut all: Vec<(&App, &Machine)> = (state.world.apps.iter().filter(|app| call.caller.sees(&app.name)))
        .flat_map(|app| app.machines.iter().map(move |machine| (app, machine)))
        .filter(|(_, machine)| matches(machine, call) && since.is_none_or(|since| machine.updated_at > since))
        .collect();
    all.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    if let Some(cursor) = call.get("cursor").filter(|cursor| !cursor.is_empty()) {
        all.retain(|(_, machine)| machine.id.as_str() > cursor);
    }
    let is_more = all.len() > limit;
    all.truncate(limit);
    let last = all.last().map(|(_, machine)| machine.id.clone()).unwrap_or_default();
    let updated = all.iter().map(|(_, machine)| machine.updated_at).max();
    Ok(json!({
        "machines": all.iter().map(|(app, machine)| view::org_machine(app, machine)).collect::<Vec<_>>(),
        "last_machine_id": last, "next_cursor": if is_more { last.as_str() } else { "" },
        "last_updated_at": updated.map(view::time).unwrap_or_default(),
        "error_regions": [],
    }))
}

fn org_volumes(state: &State, call: &Call, found: &Found) -> Result<Value, Problem> {
    if found.name("{org_slug}") != Some(state.workspace.org.as_str()) {
        return Err(Problem::new(404, "organization not found"));
    }
    let apps = state.world.apps.iter().filter(|app| call.caller.sees(&app.name));
    let volumes: Vec<Value> = apps
        .flat_map(|app| app.volumes.iter().map(move |volume| (app, volume)))
        .map(|(app, volume)| {
            let mut body = view::volume(app, volume);
            body["app_name"] = json!(app.name);
            body
        })
        .collect();
    Ok(json!({"volumes": volumes, "next_cursor": "", "last_volume_id": ""}))
}

fn current_token(state: &State, call: &Call) -> Value {
    let apps: Vec<&str> = call.caller.app.as_deref().into_iter().collect();
    json!({"tokens": [{
        "token_id": call.caller.token_id, "org_slug": state.workspace.org, "organization": view::org_name(&state.workspace),
        "apps": apps, "user": "", "restricted_to_machine": "", "source_machine_id": "",
    }]})
}

fn number(call: &Call, key: &str) -> Result<Option<usize>, Problem> {
    let Some(text) = call.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Problem::new(400, &format!("invalid_argument: {key} is not a number")))
}

fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "1"))
}
