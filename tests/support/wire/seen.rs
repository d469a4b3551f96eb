//! What people see in the local Discord, in the words of a transcript.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use watchbell::adapters::discord::{Directory, read_message};
use watchbell::domain::ids::{Person, Place, Role};
use watchbell::domain::input::RecordHead;
use watchbell::domain::message::{Message, Ping, TimeStyle};
use watchbell::domain::render::Wording;
use watchbell::sim::discord::Handle;

use super::host;
use crate::support::world::{shown, worded_time};

/// A channel as it was looked at.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// Its name in a transcript: `incidents`, `INC-1`; a person's name for direct messages.
    pub name: String,
    /// `text`, `thread`, `dm` and so on.
    pub kind: String,
}

/// Who is who on the server.
pub struct Names {
    zone: Tz,
    people: BTreeMap<String, String>,
    roles: BTreeMap<String, String>,
    places: BTreeMap<String, String>,
    directory: Directory,
    /// Whom each post was allowed to ping when it was made, by its nonce.
    first_pings: BTreeMap<String, Value>,
    /// Every channel.
    pub channels: Vec<Channel>,
    /// What machines are called in a transcript, by their ids.
    pub machines: Vec<(String, String)>,
}

impl Names {
    /// As of now.
    pub fn read(discord: &Handle, zone: Tz) -> Self {
        let state = discord.state();
        let list = |key: &str| state[key].as_array().cloned().unwrap_or_default();
        let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let people: BTreeMap<String, String> =
            list("members").iter().map(|one| (word(one, "id"), word(one, "username"))).collect();
        let mut directory = Directory::default();
        let mut roles = BTreeMap::new();
        for role in list("roles") {
            directory.role_seen(word(&role, "id").parse().unwrap_or(0), &word(&role, "name"));
            roles.insert(word(&role, "id"), word(&role, "name"));
        }
        let channels: Vec<Channel> = list("channels")
            .iter()
            .map(|one| {
                let kind = word(one, "kind");
                let name = word(one, "name");
                let name = match kind.as_str() {
                    // A thread is called by its incident, whatever stands behind the number.
                    "thread" => name.split(" · ").next().unwrap_or_default().to_owned(),
                    _ => name,
                };
                Channel { id: word(one, "id"), name, kind }
            })
            .collect();
        let first_pings = discord
            .requests(0)
            .into_iter()
            .filter(|request| request["method"] == "POST")
            .filter_map(|request| {
                let nonce = request["body"]["nonce"].as_str()?.to_owned();
                Some((nonce, request["body"]["allowed_mentions"].clone()))
            })
            .collect();
        let places = channels.iter().map(|channel| (channel.id.clone(), channel.name.clone())).collect();
        Self { zone, people, roles, places, directory, first_pings, channels, machines: Vec::new() }
    }

    /// A channel by its name in a transcript. The newest of that name.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().rev().find(|channel| channel.name == name)
    }

    /// A message as it stands, with whom it pinged when it was new: an edit takes the words away, not the sound.
    pub fn message(&self, message: &Value) -> Message {
        let mut out = read_message(message, &self.directory);
        let at_first = (message["edits"] != 0).then(|| self.first_pings.get(message["nonce"].as_str()?)).flatten();
        let pinged = at_first.unwrap_or(&message["pinged"]);
        let ids = |key: &str| pinged[key].as_array().cloned().unwrap_or_default();
        out.pings = Vec::new();
        for role in ids("roles") {
            let name = role.as_str().and_then(|id| self.roles.get(id)).cloned().unwrap_or_default();
            out.pings.push(Ping::Role(Role::new(name)));
        }
        for person in ids("users") {
            out.pings.push(Ping::Person(Person::new(format!("discord:{}", person.as_str().unwrap_or_default()))));
        }
        out
    }

    /// A message line by line.
    pub fn lines(&self, message: &Value) -> Vec<String> {
        let named = |line: String| self.machines.iter().fold(line, |line, (id, name)| line.replace(id, name));
        shown(&self.message(message), self).iter().map(|line| named(host::plain(&steady(line)))).collect()
    }
}

impl Wording for Names {
    fn person(&self, person: &Person) -> String {
        self.people.get(person.local()).cloned().unwrap_or_else(|| person.local().to_owned())
    }

    fn role(&self, role: &Role) -> String {
        role.as_str().to_owned()
    }

    fn place(&self, place: &Place) -> String {
        self.places.get(place.local()).cloned().unwrap_or_else(|| place.local().to_owned())
    }

    fn time(&self, at: DateTime<Utc>, style: TimeStyle) -> String {
        worded_time(at, style, self.zone)
    }
}

/// What differs from run to run, made the same: how long an answer took, and where a message can be found.
pub fn steady(line: &str) -> String {
    let mut out = String::new();
    // What the metrics tell is ordered by the script.
    let is_figure = line.contains("latency") || line.contains("of 100 answers");
    let mut words = line.split(' ').peekable();
    while let Some(word) = words.next() {
        let is_span = word.chars().all(|c| c.is_ascii_digit()) && !word.is_empty();
        let counts_ms = words.peek().is_some_and(|next| next.trim_end_matches(['.', ',', ';', ')']) == "ms");
        // What the record ends with differs from run to run; that it is said does not.
        let is_head = word.parse::<RecordHead>().is_ok();
        let word = if is_head { "1-000000000000" } else { word };
        out.push_str(if is_span && counts_ms && !is_figure { "12" } else { word });
        if words.peek().is_some() {
            out.push(' ');
        }
    }
    match out.split_once("https://discord.com/channels/") {
        Some((before, after)) => {
            let end = after.find(|c: char| !(c.is_ascii_digit() || c == '/')).unwrap_or(after.len());
            format!("{before}link{}", &after[end..])
        }
        None => out,
    }
}
