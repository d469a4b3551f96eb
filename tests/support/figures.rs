//! Figures that a script orders, `fly: figures latency 0.31, errors 0.002, memory 0.62, cpu 0.2, exits 0`, as the pure world tells
//! them and as the local Fly is told them. They are the same at any moment; after `fly: figures before 9m: errors 0.002` they were
//! these so long ago and before.

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
    /// What they were so long ago and before.
    pub before: Option<(TimeDelta, BTreeMap<String, f64>)>,
    /// Why nothing is told.
    pub refuses: Option<&'static str>,
}

/// What the sentences of a refusal are on both sides.
const NOT_ALLOWED: &str = "Fly's Prometheus does not let the token look (403)";
const NO_TOKEN: &str = "FLY_READ_TOKEN is not set: make one with fly tokens create readonly lighthouse --name watchbell-read --expiry 8760h";

/// The names, each with what the local Fly calls it.
const NAMES: [(&str, &str); 6] = [
    ("latency", "latency_s"),
    ("errors", "errors"),
    ("memory", "memory"),
    ("cpu", "cpu"),
    ("exits", "exits"),
    ("volume", "volume"),
];

impl Figures {
    /// Takes an order; `false` when it is none of ours.
    pub fn order(&mut self, what: &str) -> bool {
        match what {
            "metrics refused" => self.refuses = Some(NOT_ALLOWED),
            "no token to look" => self.refuses = Some(NO_TOKEN),
            "metrics well again" => self.refuses = None,
            "figures none" => (self.told, self.before) = Default::default(),
            what => {
                let Some(list) = what.strip_prefix("figures ") else { return false };
                let read = |list: &str| -> Vec<(String, f64)> {
                    let pairs = list.split(", ").filter_map(|one| one.split_once(' '));
                    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
                };
                match list.strip_prefix("before ").and_then(|rest| rest.split_once(": ")) {
                    Some((ago, list)) => {
                        let minutes = ago.strip_suffix('m').and_then(|ago| ago.parse().ok()).expect("minutes: 9m");
                        self.before = Some((TimeDelta::minutes(minutes), read(list).into_iter().collect()));
                    }
                    None => {
                        self.told.extend(read(list));
                        self.before = None;
                    }
                }
            }
        }
        true
    }

    /// The body that tells the local Fly.
    pub fn body(&self) -> serde_json::Value {
        let said = |told: &BTreeMap<String, f64>| {
            let mut body = serde_json::json!({"none": told.is_empty()});
            for (name, value) in told {
                let key = NAMES.iter().find(|(ours, _)| ours == name).map_or(name.as_str(), |(_, theirs)| theirs);
                body[key] = (*value).into();
            }
            body
        };
        let mut body = said(&self.told);
        body["app"] = APP.into();
        if let Some((ago, told)) = &self.before {
            body["before_s"] = ago.num_seconds().into();
            body["before"] = said(told);
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
        // That about volumes is an expression of its own, in per cent.
        let is_volume = ask.promql.contains("fly_volume_used_pct");
        let (name, scale) = match name {
            "restarts" => ("exits", 1.0),
            _ if is_volume => ("volume", 100.0),
            name => (name, 1.0),
        };
        if !ask.promql.contains(&format!("\"{APP}\"")) {
            return Ok(Vec::new());
        }
        let steps = (ask.to - ask.from).num_seconds() / ask.step_s;
        let points = (0..=steps).filter_map(|n| {
            let at = ask.from + TimeDelta::seconds(n * ask.step_s);
            let before = self.before.as_ref().filter(|(ago, _)| ask.to - at >= *ago);
            Some((at, scale * *before.map_or(&self.told, |(_, told)| told).get(name)?))
        });
        let points: Vec<_> = points.collect();
        if points.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Series { labels: Labels::from([("app".to_owned(), APP.to_owned())]), points }])
    }
}
