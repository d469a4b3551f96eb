//! Logs over HTTP, paged by the nanosecond.

use axum::response::Response;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::api::Call;
use super::id::{nanos, now};
use super::problem::{Problem, ok};
use super::state::State;
use super::world::Log;

/// Lines of one answer.
const LINES_MAX: usize = 100;
/// How far back an answer without a token goes.
const WINDOW: TimeDelta = TimeDelta::hours(24);

/// Answers `/api/v1/apps/{app}/logs`: the newest lines, or those after `next_token`, oldest first.
pub fn serve(state: &State, call: &Call) -> Result<Response, Problem> {
    let name = call.path.strip_prefix("apps/").and_then(|rest| rest.strip_suffix("/logs")).unwrap_or_default();
    call.caller.look_at(name)?;
    let app = state.world.app(name).ok_or_else(Problem::no_app)?;
    let token = match call.get("next_token").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse::<i64>().map_err(|_| Problem::new(400, "invalid next_token"))?),
        None => None,
    };
    let is_wanted = |log: &&Log| {
        call.get("region").is_none_or(|region| region.is_empty() || region == log.region)
            && call.get("instance").is_none_or(|id| id.is_empty() || id == log.instance)
    };
    let lines: Vec<&Log> = match token {
        Some(after) => {
            let first = if state.settings.logs_repeat { after } else { after.saturating_add(1) };
            app.logs.iter().filter(|log| log.at_ns >= first).filter(is_wanted).take(LINES_MAX).collect()
        }
        None => {
            let after = nanos(now() - WINDOW);
            let mut newest: Vec<&Log> =
                app.logs.iter().rev().filter(is_wanted).take_while(|log| log.at_ns > after).take(LINES_MAX).collect();
            newest.reverse();
            newest
        }
    };
    let next = lines.last().map(|log| log.at_ns).or(token).unwrap_or_else(|| nanos(now()));
    let data: Vec<Value> = lines.into_iter().map(line).collect();
    Ok(ok(&json!({"data": data, "meta": {"next_token": next.to_string()}})))
}

fn line(log: &Log) -> Value {
    let at = DateTime::from_timestamp_nanos(log.at_ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let mut meta = json!({"instance": log.instance, "region": log.region, "event": {"provider": log.provider}});
    if let Some(status) = log.status {
        meta["http"] = json!({"response": {"status_code": status}});
    }
    if let Some(code) = log.code {
        meta["error"] = json!({"code": code, "message": log.message});
    }
    json!({
        "id": log.id, "type": "log",
        "attributes": {
            "timestamp": at, "message": log.message, "level": log.level, "instance": log.instance, "region": log.region,
            "meta": meta,
        },
    })
}
