//! Figures that a script orders, `fly: figures latency 0.31, errors 0.002, memory 0.62, cpu 0.2, exits 0`, as the pure world tells
//! them and as the local Fly is told them. They are the same at any moment.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use watchbell::domain::figures::Ask;
use watchbell::domain::metrics::{Labels, Series};

use super::host::APP;

/// What the metrics of the app tell; all of it no data at first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// By name; seconds, shares between 0 and 1, machines.
    pub told: BTreeMap<String, f64>,
    /// Why nothing is told.
    pub refuses: Option<&'static str>,
}

/// What the sentences of a refusal are on both sides.
const NOT_ALLOWED: &str = "Fly's Prometheus does not let the token look (403)";
const NO_TOKEN: &str = "FLY_READ_TOKEN is not set: make one with fly tokens create readonly lighthouse --name watchbell-read --expiry 8760h";

/// The names, each with what the local Fly calls it.
const NAMES: [(&str, &str); 5] =
    [("latency", "latency_s"), ("errors", "errors"), ("memory", "memory"), ("cpu", "cpu"), ("exits", "exits")];

impl Figures {
    /// Takes an order; `false` when it is none of ours.
    pub fn order(&mut self, what: &str) -> bool {
        match what {
            "metrics refused" => self.refuses = Some(NOT_ALLOWED),
            "no token to look" => self.refuses = Some(NO_TOKEN),
            "metrics well again" => self.refuses = None,
            "figures none" => self.told.clear(),
            what => {
                let Some(list) = what.strip_prefix("figures ") else { return false };
                for (name, value) in list.split(", ").filter_map(|one| one.split_once(' ')) {
                    self.told.insert(name.to_owned(), value.parse().expect("a number"));
                }
            }
        }
        true
    }

    /// The body that tells the local Fly.
    pub fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({"app": APP, "none": self.told.is_empty()});
        for (name, value) in &self.told {
            let key = NAMES.iter().find(|(ours, _)| ours == name).map_or(name.as_str(), |(_, theirs)| theirs);
            body[key] = (*value).into();
        }
        body
    }

    /// What a source answers.
    pub fn answer(&self, ask: &Ask) -> Result<Vec<Series>, String> {
        if let Some(why) = self.refuses {
            return Err(why.to_owned());
        }
        // A rule's question has its figure as the second word.
        let name = ask.key.strip_prefix("rule ").and_then(|rest| rest.split(' ').next()).unwrap_or(&ask.key);
        let name = if name == "restarts" { "exits" } else { name };
        let Some(value) = self.told.get(name).filter(|_| ask.promql.contains(&format!("\"{APP}\""))) else {
            return Ok(Vec::new());
        };
        let steps = (ask.to - ask.from).num_seconds() / ask.step_s;
        let points = (0..=steps).map(|n| (ask.from + TimeDelta::seconds(n * ask.step_s), *value)).collect();
        Ok(vec![Series { labels: Labels::from([("app".to_owned(), APP.to_owned())]), points }])
    }
}
