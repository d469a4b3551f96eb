//! Prometheus, as far as a watcher asks: a fixed set of metrics, told from what the machines and fronts really did.
//!
//! No engine for PromQL: a query is recognised by the metric and the functions in it. One that is not known has an empty
//! result, as a metric without samples has.

mod scrape;
mod series;

use axum::http::Method;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

pub use scrape::text;
pub use series::{Hit, Traffic};

use super::api::{Call, pairs};
use super::id::now;
use super::problem::{Problem, ok};
use super::state::State;

/// Points of one series.
const POINTS_MAX: i64 = 11_000;
/// Points of a whole answer: a query over every app for days must not keep the stand-in busy.
const STEPS_MAX: i64 = 2_100;

/// Answers a request behind `/prometheus/`.
pub fn serve(state: &State, call: &Call) -> Result<Response, Problem> {
    let Some((org, rest)) = call.path.split_once('/') else { return Err(Problem::new(404, "not found")) };
    if org != state.workspace.org {
        // Undocumented: how the proxy before Prometheus words it.
        return Err(Problem::forbidden());
    }
    let mut fields = call.query.clone();
    if call.method == Method::POST {
        fields.extend(pairs(std::str::from_utf8(&call.bytes).unwrap_or_default()));
    }
    let get = |key: &str| fields.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let query = get("query").filter(|text| !text.trim().is_empty()).ok_or_else(|| bad("missing `query` arg"))?;
    let sees = |app: &str| call.caller.sees(app);
    match rest {
        "api/v1/query" => {
            let at = moment(get("time"), "time")?.unwrap_or_else(now);
            let vector: Vec<Value> = series::ask(state, query, at, &sees)
                .into_iter()
                .map(|sample| json!({"metric": sample.labels, "value": point(at, sample.value)}))
                .collect();
            Ok(success("vector", json!(vector)))
        }
        "api/v1/query_range" => {
            let end = moment(get("end"), "end")?.unwrap_or_else(now);
            let start = moment(get("start"), "start")?.ok_or_else(|| bad("missing `start` arg"))?;
            let step = span(get("step").unwrap_or("60")).ok_or_else(|| bad("cannot parse `step`"))?;
            range(state, query, (start, end, step), &sees)
        }
        _ => Err(Problem::new(404, "not found")),
    }
}

fn range(
    state: &State,
    query: &str,
    (start, end, step): (DateTime<Utc>, DateTime<Utc>, i64),
    sees: &dyn Fn(&str) -> bool,
) -> Result<Response, Problem> {
    let count = (end - start).num_milliseconds() / step + 1;
    if end < start || count > POINTS_MAX {
        return Err(bad("exceeded maximum resolution of 11,000 points per timeseries; use a larger step"));
    }
    // Beyond this only the newest points are told; samples are not kept longer anyway.
    let first = (count - STEPS_MAX).max(0);
    let mut rows: Vec<(Map<String, Value>, Vec<Value>)> = Vec::new();
    for index in first..count {
        let at = start + chrono::TimeDelta::milliseconds(index * step);
        for sample in series::ask(state, query, at, sees) {
            let value = point(at, sample.value);
            match rows.iter_mut().find(|(labels, _)| *labels == sample.labels) {
                Some((_, points)) => points.push(value),
                None => rows.push((sample.labels, vec![value])),
            }
        }
    }
    let matrix: Vec<Value> =
        rows.into_iter().map(|(labels, points)| json!({"metric": labels, "values": points})).collect();
    Ok(success("matrix", json!(matrix)))
}

fn success(kind: &str, result: Value) -> Response {
    ok(&json!({"status": "success", "isPartial": false, "data": {"resultType": kind, "result": result}}))
}

fn bad(words: &str) -> Problem {
    Problem { status: 422, body: json!({"status": "error", "errorType": "422", "error": words}) }
}

fn point(at: DateTime<Utc>, value: f64) -> Value {
    json!([at.timestamp_millis() as f64 / 1_000.0, value.to_string()])
}

fn moment(text: Option<&str>, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = text.parse::<f64>().ok().and_then(|s| DateTime::from_timestamp_millis((s * 1_000.0) as i64));
    let at = seconds.or_else(|| text.parse().ok()).ok_or_else(|| bad(&format!("cannot parse `{name}`")))?;
    Ok(Some(at))
}

/// Milliseconds of `15`, `15s`, `1m`; never none at all.
fn span(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let ms = match unit {
        "ms" => 1.0,
        "" | "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = number.parse::<f64>().ok()? * ms;
    (1.0..=1e12).contains(&ms).then_some(ms as i64)
}
