//! What a script can do to a world, and what people then see in it. Two worlds speak it: the pure floors, and the whole bot on
//! the wire.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use watchbell::domain::ids::{Person, Place, Role};
use watchbell::domain::message::{Message, Ping, TimeStyle};
use watchbell::domain::pipeline::told::Told;
use watchbell::domain::render::{Wording, words};
use watchbell::domain::workspace::Workspace;

/// The team that transcripts are played with.
pub const TEAM: &str = include_str!("team.toml");

/// Somebody in the transcripts.
pub struct Cast {
    /// Name.
    pub name: &'static str,
    /// Roles held in the chat.
    pub roles: &'static [&'static str],
}

/// Everybody in the transcripts.
pub const CAST: &[Cast] = &[
    Cast { name: "ana", roles: &["reliability"] },
    Cast { name: "ben", roles: &["engineer"] },
    Cast { name: "mia", roles: &["manager"] },
    Cast { name: "carol", roles: &["responder"] },
    Cast { name: "dmitri", roles: &[] },
    Cast { name: "ליאור", roles: &[] },
];

/// How a service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers as it should.
    Healthy,
    /// Answers 500.
    Wrong,
    /// Does not answer.
    Dead,
    /// Answers as it should, and later than it may.
    Slow,
}

/// One thing in a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `ana: /sev1 checkout is down | service: checkout`
    Command { who: String, command: String, words: String, options: Vec<(String, String)>, place: Option<String> },
    /// `ana writes "…" in #incidents`
    Write { who: String, text: String, place: Option<String> },
    /// `ana clicks "I've got it"`, `ana clicks "Update" on "nearly due"`
    Click { who: String, label: String, on: Option<String> },
    /// `ana chooses "Timeline" from "More…"`
    Choose { who: String, label: String, menu: String },
    /// `ana uses "Add to timeline" on "text of a message"`
    OnMessage { who: String, command: String, text: String },
    /// `ana fills what: … | next: 15`
    Fill { who: String, values: Vec<(String, String)> },
    /// `ana and ben click "I've got it"`: at the same moment.
    Race { who: Vec<String>, label: String },
    /// `+15m`
    Advance(TimeDelta),
    /// `now 2026-11-24 03:00`, only first.
    Start(String),
    /// `observing`, only first: not live.
    Observing,
    /// `crash`, or `crash for 45m`: the process dies and comes back. `crash, clock back 2h`: and finds a clock that shows less.
    Crash(TimeDelta),
    /// `clock ahead 2h`: it jumps, and no time has passed.
    Ahead(TimeDelta),
    /// `checkout: nobody looks`, `checkout: looked at again`
    Looked { name: String, looked: bool },
    /// `checkout: certificate ends in 12d`: it is asked over https. The first time only before anything else.
    Certificate { name: String, days: i64 },
    /// `checkout: no probe`, only first.
    NoProbe(String),
    /// `checkout: dead`
    Service { name: String, behaviour: Behaviour },
    /// `with fly`, only first: checkout runs on a host that can be acted on.
    WithFly,
    /// `with staging`, only first, after `with fly`: checkout has a staging there too.
    WithStaging,
    /// `with rules`, only first: the bot looks at the rules of its policy.
    WithRules,
    /// `checkout: slow above 500ms`, only first: an answer that takes longer is late.
    SlowAbove { name: String, bound: TimeDelta },
    /// `fly: log 5m error app 1: no route`, `fly: deployment-41 is unhealthy`, `fly: no room`, `fly: too many requests`, `fly: release command bin/migrate`,
    /// `fly: memory runs out on 1`, `fly: machine 1 crashes`, `fly: well again`
    Fly(String),
    /// `pipeline: service: checkout | image: … | actor: octocat | id: run-7`: a signed request asks for a deploy.
    Pipeline(Vec<(String, String)>),
    /// `alertmanager: fires | alertname: Slow | service: checkout | severity: critical | summary: …`, or `resolved`: its webhook says so; with
    /// `truncated: 7` and `external: https://…` that it left some out. `grafana: …` as well: what that says is over waits for 5 min.
    Hook { hook: &'static str, fires: bool, labels: Vec<(String, String)> },
    /// `discord: down`, `discord: up`
    Discord(bool),
    /// `deleted: the card of INC-1`, `deleted: the thread of INC-1`
    Deleted { what: String, incident: u32 },
    /// `archived: the thread of INC-1`: Discord put it away after days without a word.
    Archived { incident: u32 },
    /// `policy: reminders.nudge_before = "1m"`
    Policy { key: String, value: String },
    /// `look #incidents`: everything that stands there now.
    Look(String),
}

/// The order in which places are read: the incidents channel, the threads, the wider audience, the rest.
pub fn place_order(place: &str) -> (u8, String) {
    let rank = match place {
        "incidents" => 0,
        "announcements" => 2,
        "incidents-test" => 3,
        place if place.starts_with("INC-") => 1,
        _ => 4,
    };
    (rank, place.to_owned())
}

/// A place as a transcript names it.
pub fn place_name(place: &str) -> String {
    if place.starts_with("INC-") { format!("thread {place}") } else { format!("#{place}") }
}

/// A place as a script names it, without what is only for the reader: `#incidents`, `thread INC-1`.
pub fn place_key(place: &str) -> &str {
    place.trim_start_matches('#').trim_start_matches("thread ")
}

/// Lines under a head, as a transcript sets them.
pub fn block(out: &mut Vec<String>, head: &str, lines: &[String]) {
    let mut lines = lines.iter();
    match lines.next() {
        Some(first) => out.push(format!("{head}: {first}")),
        None => out.push(head.to_owned()),
    }
    out.extend(lines.map(|line| format!("    {line}")));
}

/// A message as a transcript shows it: roles before people, each in the order of their names, since a chat keeps no order.
pub fn shown(message: &Message, wording: &dyn Wording) -> Vec<String> {
    let mut message = message.clone();
    message.pings.sort_by_key(|ping| match ping {
        Ping::Role(role) => (0, role.as_str().to_owned()),
        Ping::Person(person) => (1, wording.person(person)),
    });
    words(&message, wording).iter().map(|line| without_seconds(line)).collect()
}

/// A log line's moment is told to the second, and the local Fly stamps with a clock of its own: `03:00:07` is `hh:mm:ss` here.
fn without_seconds(line: &str) -> String {
    const SHAPE: &str = "dd:dd:dd";
    let fits = |at: usize| {
        let piece = line.get(at..at + SHAPE.len());
        let is_it = piece.is_some_and(|piece| {
            piece
                .bytes()
                .zip(SHAPE.bytes())
                .all(|(is, shape)| if shape == b'd' { is.is_ascii_digit() } else { is == shape })
        });
        // In braces it is a moment that a chat words itself.
        is_it && !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '{')
    };
    let mut out = String::new();
    let mut at = 0;
    while let Some(letter) = line.get(at..).and_then(|rest| rest.chars().next()) {
        if fits(at) {
            out.push_str("hh:mm:ss");
            at += SHAPE.len();
        } else {
            out.push(letter);
            at += letter.len_utf8();
        }
    }
    out
}

/// A policy's text with one value changed: `reminders.nudge_before`, `"1m"`; or left out: `none`.
///
/// # Errors
/// A sentence, when there is no such part, or the value is none.
pub fn changed_policy(text: &str, key: &str, value: &str) -> Result<String, String> {
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().ok_or("no key")?;
    let mut at = &mut table;
    for part in parts {
        at = at.get_mut(part).and_then(toml::Value::as_table_mut).ok_or_else(|| format!("no [{part}]"))?;
    }
    if value == "none" {
        at.remove(last);
    } else {
        let value: toml::Table = format!("x = {value}").parse().map_err(|error: toml::de::Error| error.to_string())?;
        at.insert(last.to_owned(), value["x"].clone());
    }
    toml::to_string(&table).map_err(|error| error.to_string())
}

/// The shipped policy without its rules: they are looked at where a script says `with rules`.
pub fn policy_without_rules() -> String {
    changed_policy(watchbell::domain::policy::SHIPPED, "alerts.rules", "[]").expect("the shipped policy is a table")
}

/// So much longer a certificate of a transcript is good than it says: no day is over while it is played.
pub const CERTIFICATE_SLACK: TimeDelta = TimeDelta::hours(1);

/// The hooks of the transcripts.
pub const HOOKS: [&str; 2] = ["alertmanager", "grafana"];

/// What a hook is told, as a script gives it.
pub struct HookTold {
    /// The alert's labels.
    pub labels: BTreeMap<String, String>,
    /// Those by which it was put together with others.
    pub group: BTreeMap<String, String>,
    /// A sentence.
    pub summary: String,
    /// So many of its group were left out.
    pub truncated: u32,
    /// Where the tool is.
    pub external: Option<String>,
}

/// Reads what a hook is told.
pub fn hook_told(given: &[(String, String)]) -> HookTold {
    let mut labels: BTreeMap<String, String> = given.iter().cloned().collect();
    let summary = labels.remove("summary").unwrap_or_default();
    let truncated = labels.remove("truncated").and_then(|count| count.parse().ok()).unwrap_or(0);
    let external = labels.remove("external");
    let by = |name: &str| Some((name.to_owned(), labels.get(name)?.clone()));
    let group = ["alertname", "service"].into_iter().filter_map(by).collect();
    HookTold { labels, group, summary, truncated, external }
}

/// A request's name for itself, and its body, as a script gives them.
pub fn request(values: &[(String, String)]) -> (String, Vec<u8>) {
    let id = values.iter().find(|(name, _)| name == "id").map_or("run-1", |(_, id)| id);
    let body: BTreeMap<&str, &str> =
        values.iter().filter(|(name, _)| name != "id").map(|(name, value)| (name.as_str(), value.as_str())).collect();
    (id.to_owned(), serde_json::to_vec(&body).unwrap_or_default())
}

/// What a pipeline is answered.
pub fn answered(out: &mut Vec<String>, answer: &Result<Told, String>) {
    let lines = match answer {
        Err(why) => vec![why.clone()],
        Ok(told) => {
            let refuses =
                told.refuses.iter().map(|one| format!("✗ {}: {}. To pass: {}.", one.check, one.says, one.to_pass));
            let head = [format!("{}: {}", told.what, told.line)].into_iter();
            head.chain(refuses).chain(told.next.clone()).collect()
        }
    };
    block(out, "< (the pipeline)", &lines);
}

/// A page, and what it is sorted by within one instant: whose it is, and by which way.
pub fn page_line(person: &str, via: &str, text: &str) -> String {
    format!("< page to {person} by {via}: {text}")
}

/// A world that a script is played in.
pub trait World {
    /// Does one step and waits until nothing is under way. The lines that people newly see.
    fn play(&mut self, step: &Step) -> Result<Vec<String>, String>;
}

/// Names and times as a transcript words them: a team member reads them in the team's zone.
pub struct Plain<'a> {
    /// The team.
    pub workspace: &'a Workspace,
}

impl Plain<'_> {
    fn zone(&self) -> Tz {
        self.workspace.team.zone
    }
}

impl Wording for Plain<'_> {
    fn person(&self, person: &Person) -> String {
        person.local().to_owned()
    }

    fn role(&self, role: &Role) -> String {
        role.as_str().to_owned()
    }

    fn place(&self, place: &Place) -> String {
        place.local().to_owned()
    }

    fn time(&self, at: DateTime<Utc>, style: TimeStyle) -> String {
        worded_time(at, style, self.zone())
    }
}

/// A moment as a transcript words it. A relative one shows the moment it stands for.
pub fn worded_time(at: DateTime<Utc>, style: TimeStyle, zone: Tz) -> String {
    let at = at.with_timezone(&zone);
    match style {
        TimeStyle::Relative => format!("{{{}}}", at.format("%H:%M:%S")),
        TimeStyle::Clock => at.format("%H:%M").to_string(),
        TimeStyle::Full => at.format("%d %b %H:%M").to_string(),
    }
}
