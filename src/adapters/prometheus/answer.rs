//! What a source answered, as figures; whatever is not of the documented form is a sentence.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::metrics::{Labels, POINTS_MAX, Series};
use crate::ports::metrics::MetricsError;

/// Series of one answer, at most.
pub const SERIES_MAX: usize = 500;

/// The values of an instant question; `name` is the source's, for what is said of it.
///
/// # Errors
/// A sentence, when it is none, or too much.
pub fn vector(name: &str, answer: &Value) -> Result<Vec<(Labels, f64)>, MetricsError> {
    let (kind, result) = result(name, answer)?;
    match kind {
        "vector" => rows(name, result, |row| Some((labels(row)?, value(row.get("value")?)?.1))),
        "scalar" => Ok(vec![(Labels::new(), value(result).ok_or_else(|| strange(name))?.1)]),
        "matrix" => Err(MetricsError::BadQuestion(format!(
            "{name}: the expression is a range of values; put a function around it, as rate(…[5m])"
        ))),
        _ => Err(strange(name)),
    }
}

/// The series of a question over a time; `name` is the source's, for what is said of it.
///
/// # Errors
/// A sentence, when it is none, or too much.
pub fn matrix(name: &str, answer: &Value) -> Result<Vec<Series>, MetricsError> {
    let (kind, result) = result(name, answer)?;
    if kind != "matrix" {
        return Err(strange(name));
    }
    rows(name, result, |row| {
        let values = row.get("values")?.as_array().filter(|values| values.len() <= POINTS_MAX)?;
        let mut points = values.iter().map(value).collect::<Option<Vec<_>>>()?;
        points.sort_by_key(|(at, _)| *at);
        Some(Series { labels: labels(row)?, points })
    })
}

/// The kind of the result and the result.
fn result<'a>(name: &str, answer: &'a Value) -> Result<(&'a str, &'a Value), MetricsError> {
    let data = answer.get("data");
    let kind = data.and_then(|data| data.get("resultType")?.as_str());
    let (Some("success"), Some(kind)) = (answer.get("status").and_then(Value::as_str), kind) else {
        return Err(strange(name));
    };
    // VictoriaMetrics says so when some of its stores did not answer: what is missing must not count as gone.
    if answer.get("isPartial").and_then(Value::as_bool) == Some(true) {
        return Err(MetricsError::NotNow(format!("{name} could tell a part only")));
    }
    // Go writes an empty list as null.
    Ok((kind, data.and_then(|data| data.get("result")).unwrap_or(&Value::Null)))
}

fn rows<T>(
    name: &str,
    result: &Value,
    read: impl Fn(&Map<String, Value>) -> Option<T>,
) -> Result<Vec<T>, MetricsError> {
    let rows = match result {
        Value::Null => &[],
        Value::Array(rows) => rows.as_slice(),
        _ => return Err(strange(name)),
    };
    if rows.len() > SERIES_MAX {
        let says =
            format!("{name} answered with {} series, at most {SERIES_MAX}; put sum or max around it", rows.len());
        return Err(MetricsError::Strange(says));
    }
    if rows.iter().any(|row| row.get("histogram").is_some() || row.get("histograms").is_some()) {
        return Err(MetricsError::BadQuestion(format!(
            "{name}: the expression is a native histogram; put histogram_quantile(…) around it"
        )));
    }
    rows.iter().map(|row| row.as_object().and_then(&read).ok_or_else(|| strange(name))).collect()
}

fn labels(row: &Map<String, Value>) -> Option<Labels> {
    let labels = row.get("metric")?.as_object()?;
    labels.iter().map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect()
}

/// `[1764500000.123, "0.25"]`; the number may be NaN, +Inf or -Inf.
fn value(pair: &Value) -> Option<(DateTime<Utc>, f64)> {
    let [at, value] = pair.as_array()?.as_slice() else { return None };
    let at = at.as_f64().filter(|at| at.abs() < 1e12)?;
    let at = DateTime::from_timestamp_millis((at * 1_000.0).round() as i64)?;
    Some((at, value.as_str()?.parse().ok()?))
}

fn strange(name: &str) -> MetricsError {
    MetricsError::Strange(format!("{name} answered with something of another form than Prometheus's"))
}
