//! GraphQL, as far as clients read Fly with it. Field names are those of Fly's schema; a field that does not stand here is
//! refused as GraphQL refuses it, so a client never reads what is not there.

mod mutate;
mod parse;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::api::Call;
use super::auth::Caller;
use super::id::stamp;
use super::problem::{Problem, answer, ok};
use super::releases::{in_progress, newest};
use super::state::State;
use super::view;
use super::workspace::TokenKind;
use super::world::{App, Machine, Release};
use parse::{Field, Selection};

/// Answers a request: 200 with `data`, `errors` or both, as Fly does.
pub fn serve(state: &mut State, call: &Call) -> Result<Response, Problem> {
    let Some(query) = call.body["query"].as_str() else {
        return Err(Problem { status: 400, body: errors("No query string was present", "BAD_REQUEST") });
    };
    let operation = match parse::parse(query, &call.body["variables"]) {
        Ok(operation) => operation,
        Err(words) => return Ok(ok(&errors(&words, "parseError"))),
    };
    let mut data = Map::new();
    let mut failures = Vec::new();
    for selection in &operation.fields {
        let Selection::Field(field) = selection else { continue };
        let found = match operation.is_mutation {
            true => mutate::root(state, &call.caller, field),
            false => root(state, &call.caller, field),
        };
        match found {
            Ok(value) => {
                data.insert(field.alias.clone(), value);
            }
            Err(Failure::Missing(words)) => {
                data.insert(field.alias.clone(), Value::Null);
                failures.push(json!({
                    "message": words, "path": [field.alias], "extensions": {"code": "NOT_FOUND"},
                }));
            }
            Err(Failure::Refused(words, code)) => {
                data.insert(field.alias.clone(), Value::Null);
                failures.push(json!({"message": words, "path": [field.alias], "extensions": {"code": code}}));
            }
            Err(Failure::Unknown(words)) => return Ok(ok(&errors(&words, "undefinedField"))),
        }
    }
    let mut body = json!({"data": data});
    if !failures.is_empty() {
        body["errors"] = json!(failures);
    }
    Ok(ok(&body))
}

/// Undocumented: whether Fly answers a bad token here with its status or with 200.
pub fn unauthorized(status: u16) -> Response {
    answer(status, &errors("You must be authenticated to view this.", "UNAUTHORIZED"))
}

fn errors(words: &str, code: &str) -> Value {
    json!({"errors": [{"message": words, "extensions": {"code": code}}]})
}

/// Why a field has no value.
enum Failure {
    /// It names something that is not there.
    Missing(String),
    /// It may not be, in words and with a code.
    Refused(String, &'static str),
    /// The schema does not have it.
    Unknown(String),
}

fn root(state: &State, caller: &Caller, field: &Field) -> Result<Value, Failure> {
    let value = match field.name.as_str() {
        "viewer" => viewer(caller),
        "organizations" => nodes(vec![organization(state)]),
        "organization" => {
            let is_here = field.args.get("slug").is_none_or(|slug| *slug == state.workspace.org);
            if !is_here {
                return Err(Failure::Missing("Could not find Organization".to_owned()));
            }
            organization(state)
        }
        "apps" => {
            let org = field.args.get("organizationId").and_then(Value::as_str);
            let is_here = org.is_none_or(|org| org == org_id(state));
            let apps = state.world.apps.iter().filter(|app| is_here && caller.sees(&app.name));
            nodes(apps.map(|app| app_node(state, app)).collect())
        }
        "app" => {
            let name = field.args.get("name").and_then(Value::as_str).unwrap_or_default();
            let found = state.world.app(name).filter(|_| caller.sees(name));
            app_node(state, found.ok_or_else(|| Failure::Missing("Could not find App".to_owned()))?)
        }
        other => return Err(Failure::Unknown(format!("Field '{other}' doesn't exist on type 'Queries'"))),
    };
    project(&value, field)
}

/// Cuts a value down to what was asked for.
fn project(value: &Value, field: &Field) -> Result<Value, Failure> {
    match value {
        Value::Array(list) => list.iter().map(|one| project(one, field)).collect::<Result<_, _>>().map(Value::Array),
        Value::Object(map) => {
            // JSON as a value: a configuration.
            let Some(kind) = map.get("__typename").and_then(Value::as_str) else { return Ok(value.clone()) };
            if field.fields.is_empty() {
                return Err(Failure::Unknown(format!("Field must have selections (field '{}')", field.name)));
            }
            let mut out = Map::new();
            select(map, kind, &field.fields, &mut out)?;
            if let Some(first) = field.args.get("first").and_then(Value::as_u64)
                && let Some(Value::Array(list)) = out.get_mut("nodes")
            {
                list.truncate(usize::try_from(first).unwrap_or(usize::MAX));
            }
            Ok(Value::Object(out))
        }
        _ if !field.fields.is_empty() && !value.is_null() => {
            Err(Failure::Unknown(format!("Selections can't be made on scalars (field '{}')", field.name)))
        }
        _ => Ok(value.clone()),
    }
}

fn select(
    map: &Map<String, Value>,
    kind: &str,
    wanted: &[Selection],
    out: &mut Map<String, Value>,
) -> Result<(), Failure> {
    for selection in wanted {
        match selection {
            Selection::On(other, fields) if other == kind => select(map, kind, fields, out)?,
            Selection::On(..) => {}
            Selection::Field(field) => {
                let value = match map.get(&field.name) {
                    Some(all) if field.name == "release" && all.is_array() => pick_release(all, field),
                    Some(value) => value.clone(),
                    None => {
                        let name = &field.name;
                        return Err(Failure::Unknown(format!("Field '{name}' doesn't exist on type '{kind}'")));
                    }
                };
                out.insert(field.alias.clone(), project(&value, field)?);
            }
        }
    }
    Ok(())
}

/// The release with the version or the id that was asked for, of all of them.
fn pick_release(all: &Value, field: &Field) -> Value {
    let is_it = |release: &&Value| {
        ["version", "id"]
            .iter()
            .all(|key| field.args.get(*key).is_none_or(|value| value.is_null() || *value == release[*key]))
    };
    all.as_array().and_then(|all| all.iter().find(is_it)).cloned().unwrap_or(Value::Null)
}

fn nodes(list: Vec<Value>) -> Value {
    json!({
        "__typename": "Connection", "nodes": list, "totalCount": list.len(),
        "pageInfo": {"__typename": "PageInfo", "hasNextPage": false, "hasPreviousPage": false, "endCursor": null, "startCursor": null},
    })
}

fn viewer(caller: &Caller) -> Value {
    let kind = if caller.kind == TokenKind::Org { "User" } else { "Macaroon" };
    json!({
        "__typename": kind, "id": caller.token_id, "email": caller.name(), "name": caller.name(), "username": "",
        "enablePaidHobby": false,
    })
}

fn org_id(state: &State) -> String {
    format!("org-{}", state.workspace.org)
}

fn organization(state: &State) -> Value {
    let slug = &state.workspace.org;
    json!({
        "__typename": "Organization", "id": org_id(state), "slug": slug, "rawSlug": slug,
        "name": view::org_name(&state.workspace), "type": "SHARED", "paidPlan": true, "internalNumericId": "1",
    })
}

fn app_node(state: &State, app: &App) -> Value {
    let releases: Vec<Value> = newest(app).into_iter().map(release).collect();
    let current = releases.first().cloned().unwrap_or(Value::Null);
    let url = state.front_url(&app.name);
    json!({
        "__typename": "App", "id": app.id, "name": app.name, "internalNumericId": 1,
        "status": view::status(app), "deployed": !app.machines.is_empty(),
        "state": if app.machines.is_empty() { "PENDING" } else { "DEPLOYED" },
        "hostname": format!("{}.fly.dev", app.name),
        // Where it really is: nobody can reach the host name.
        "appUrl": url, "platformVersion": "machines", "organization": organization(state),
        "currentRelease": current.clone(), "currentReleaseUnprocessed": current, "release": releases.clone(),
        "releases": nodes(releases.clone()), "releasesUnprocessed": nodes(releases),
        "secrets": app.secrets.iter().map(|one| json!({
            "__typename": "Secret", "id": format!("{}/{}", app.name, one.name), "name": one.name, "digest": one.digest,
            "createdAt": stamp(one.created_at), "user": null,
        })).collect::<Vec<_>>(),
        "machines": nodes(app.machines.iter().map(|one| machine(app, one)).collect()),
        "healthChecks": nodes(app.machines.iter().flat_map(checks).collect()),
        "hostIssues": nodes(app.host_issues.iter().map(|issue| json!({
            "__typename": "Issue", "id": issue.id, "internalId": issue.id, "message": issue.message, "resolvedAt": null,
            "createdAt": stamp(issue.created_at), "updatedAt": stamp(issue.created_at),
        })).collect()),
    })
}

fn release(release: &Release) -> Value {
    json!({
        "__typename": "Release", "id": release.id, "version": release.version, "status": release.status,
        "stable": release.status == "complete", "inProgress": in_progress(release), "reason": "deploy",
        "description": release.description, "imageRef": release.image, "deploymentStrategy": release.strategy,
        "createdAt": stamp(release.created_at), "updatedAt": stamp(release.updated_at.unwrap_or(release.created_at)),
        "evaluationId": null,
        "revertedTo": null, "metadata": release.metadata, "configDefinition": release.definition,
        "config": {"__typename": "AppConfig", "definition": release.definition, "valid": true, "errors": []},
        "user": {"__typename": "User", "id": release.user, "email": release.user, "name": release.user},
    })
}

fn machine(app: &App, machine: &Machine) -> Value {
    json!({
        "__typename": "Machine", "id": machine.id, "name": machine.name, "region": machine.region, "state": machine.state,
        "instanceId": machine.instance_id, "createdAt": stamp(machine.created_at), "updatedAt": stamp(machine.updated_at),
        "app": {"__typename": "App", "id": app.id, "name": app.name}, "config": machine.config,
        "host": {"__typename": "Host", "id": format!("host-{}", machine.id)},
    })
}

fn checks(machine: &Machine) -> Vec<Value> {
    let one = |check: &super::world::Check| {
        json!({
            "__typename": "CheckState", "name": check.name, "output": check.output, "serviceName": "app",
            "status": check.status, "type": "HTTP", "allocationId": machine.id, "updatedAt": stamp(check.updated_at),
        })
    };
    machine.checks.iter().map(one).collect()
}
