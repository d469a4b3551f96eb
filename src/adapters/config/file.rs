//! The shape of watchbell.toml, and what is said when a file has another.
//!
//! Only shape: what the values must be is `refuse.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::Refused;
use crate::domain::ids::Role;
use crate::domain::policy::Span;
use crate::domain::workspace::{
    Channels, HookSpec, Member, MetricsSource, OnCall, Pipeline, ServiceSpec, Team, Workspace,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    team: Team,
    channels: Channels,
    #[serde(default)]
    roles: BTreeMap<Role, String>,
    #[serde(default)]
    people: Vec<Member>,
    #[serde(default)]
    oncall: OnCall,
    #[serde(default)]
    services: Vec<ServiceSpec>,
    pipeline: Option<Pipeline>,
    #[serde(default)]
    hooks: Vec<HookSpec>,
    #[serde(default)]
    metrics: Vec<MetricsSource>,
    pub(super) discord: Discord,
    #[serde(default)]
    pub(super) fly: Fly,
    #[serde(default)]
    pub(super) http: Http,
    #[serde(default)]
    pub(super) probes: Probes,
    #[serde(default)]
    pub(super) state: State,
    #[serde(default)]
    pub(super) dead_man: DeadMan,
    #[serde(default)]
    pub(super) clock: Clock,
    #[serde(default)]
    pub(super) policy: PolicyFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discord {
    pub(super) guild: String,
    pub(super) api_url: Option<String>,
    #[serde(default = "rest")]
    pub(super) rest_after_restart: Span,
}

/// Discord counts what is posted to a channel over five seconds; half a second for what was still on its way.
fn rest() -> Span {
    Span::of_millis(5_500)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fly {
    pub(super) org: String,
    pub(super) machines_url: String,
    pub(super) api_url: String,
    pub(super) prometheus_url: String,
    pub(super) logs_nats_url: Option<String>,
    pub(super) releases_every: Span,
}

impl Default for Fly {
    fn default() -> Self {
        Self {
            org: "personal".to_owned(),
            machines_url: "https://api.machines.dev".to_owned(),
            api_url: "https://api.fly.io".to_owned(),
            prometheus_url: "https://api.fly.io/prometheus".to_owned(),
            logs_nats_url: None,
            releases_every: Span::seconds(60),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) private_bind: SocketAddr,
    pub(super) public_bind: Option<SocketAddr>,
}

impl Default for Http {
    fn default() -> Self {
        Self { private_bind: SocketAddr::from(([127, 0, 0, 1], 9400)), public_bind: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Probes {
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) dir: PathBuf,
}

impl Default for State {
    fn default() -> Self {
        Self { dir: PathBuf::from("data/state") }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeadMan {
    pub(super) url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Clock {
    pub(super) r#virtual: bool,
    #[serde(deserialize_with = "moment")]
    pub(super) origin: Option<DateTime<Utc>>,
    pub(super) speed: f64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { r#virtual: false, origin: None, speed: 1.0 }
    }
}

/// TOML has dates of its own; with and without quotes are both taken.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Date(toml::value::Datetime),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Date(date) => date.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map(Some).map_err(|_| serde::de::Error::custom("write a moment with its zone: 2026-11-24T03:00:00Z"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PolicyFile {
    pub(super) file: Option<PathBuf>,
}

impl File {
    pub(super) fn workspace(&self) -> Workspace {
        Workspace {
            team: self.team.clone(),
            channels: self.channels.clone(),
            roles: self.roles.clone(),
            people: self.people.clone(),
            oncall: self.oncall.clone(),
            services: self.services.clone(),
            pipeline: self.pipeline.clone(),
            hooks: self.hooks.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// The neighbours' addresses, by the key that sets them.
    pub(super) fn addresses(&self) -> Vec<(String, String)> {
        let fixed = [
            ("[fly] machines_url", Some(&self.fly.machines_url)),
            ("[fly] api_url", Some(&self.fly.api_url)),
            ("[fly] prometheus_url", Some(&self.fly.prometheus_url)),
            ("[discord] api_url", self.discord.api_url.as_ref()),
            ("[dead_man] url", self.dead_man.url.as_ref()),
        ];
        fixed.into_iter().filter_map(|(key, url)| Some((key.to_owned(), url?.clone()))).collect()
    }
}

/// Reads the text.
pub(super) fn parse(text: &str, name: &str) -> Result<File, Refused> {
    toml::from_str(text).map_err(|error| {
        let place = match error.span() {
            Some(span) => format!("{name} line {}", line_of(text, span.start)),
            None => name.to_owned(),
        };
        Refused(format!("{place}: {}", say(error.message(), text, error.span().map(|span| span.start))))
    })
}

/// The line of a byte, counted from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count() + 1
}

/// serde names an unknown key with the known ones behind it; people want to hear the one that they meant.
fn say(message: &str, text: &str, byte: Option<usize>) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some(rest), Some((unknown, known))) = (message.strip_prefix("unknown field"), quoted.split_first()) else {
        return message.trim_end().replace('\n', "; ");
    };
    let table = byte.and_then(|byte| table_of(text, byte)).map_or(String::new(), |table| format!(" in {table}"));
    let mut sentence = format!("“{unknown}” is not a key{table}");
    match known.iter().min_by_key(|key| distance(unknown, key)) {
        Some(closest) if distance(unknown, closest) <= 1 + unknown.chars().count() / 3 => {
            sentence.push_str(&format!("; did you mean “{closest}”?"));
        }
        _ if rest.contains("no fields") || known.is_empty() => sentence.push('.'),
        _ => sentence.push_str(&format!("; there are: {}", known.join(", "))),
    }
    sentence
}

/// The heading above a byte: `[http]`, `[[services]]`.
fn table_of(text: &str, byte: usize) -> Option<&str> {
    let before = text.get(..byte)?;
    before.lines().map(str::trim).rfind(|line| line.starts_with('[')).and_then(|line| {
        let end = line.rfind(']')?;
        line.get(..=end)
    })
}

/// How many letters must be added, removed or changed to make one word of another.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&to) {
            let cost = if letter == *other { corner } else { corner + 1 };
            corner = *cell;
            left = cost.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
