//! What a script can do to a world, and what people then see in it. Two worlds speak it: the pure floors, and the whole bot on
//! the wire.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use watchbell::domain::ids::{Person, Place, Role};
use watchbell::domain::message::TimeStyle;
use watchbell::domain::render::Wording;
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
    /// `crash`, or `crash for 45m`: the process dies and comes back.
    Crash(TimeDelta),
    /// `checkout: dead`
    Service { name: String, behaviour: Behaviour },
    /// `discord: down`, `discord: up`
    Discord(bool),
    /// `deleted: the card of INC-1`, `deleted: the thread of INC-1`
    Deleted { what: String, incident: u32 },
    /// `policy: reminders.nudge_before = "1m"`
    Policy { key: String, value: String },
    /// `look #incidents`: everything that stands there now.
    Look(String),
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
