//! Everything that can happen to the bot.
//!
//! Pure data. An input carries who sent it and with which roles; whether they may is decided, never here. Anything from
//! outside is bounded by its adapter before it becomes an input.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::alerts::heard::Heard;
use super::deploy::Deploy;
use super::figures;
use super::health::HealthReport;
use super::hosting::{Inventory, Lived, Release, ReleaseRef, Trouble};
use super::ids::{EffectId, IncidentId, InputId, Person, Place, Posted, Role, Service};
use super::incident::Incident;
use super::logs;
use super::message::Text;
use super::metrics::Series;
use super::pipeline::Ask;
use super::workspace::Stage;

/// One thing that happened, with the id that its sender gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Id from the sender. A repeat gets the first answer.
    pub id: InputId,
    /// What happened.
    pub kind: InputKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum InputKind {
    /// Somebody typed a slash command or chose a message command.
    Call(Call),
    /// Somebody pressed a button or chose from a menu.
    Press(Press),
    /// Somebody filled in a form.
    Filled(Filled),
    /// An effect came to its end, one way or the other.
    Effect(EffectOutcome),
    /// A probe, or the machines of a service, were looked at.
    Measured(Measurement),
    /// The releases of an app were looked at.
    Releases(ReleasesLook),
    /// A pipeline asks for a deploy.
    Pipeline(Box<Ask>),
    /// A webhook, or a rule, says what fires.
    Alerts(Box<Heard>),
    /// It is time to look at the team's own rules.
    Rules,
    /// Time passed: something may be due. Jobs have an input of their own, since some of them look first.
    Tick,
    /// A job is due, or somebody asked for it.
    Job {
        /// Which.
        name: String,
    },
    /// The process came up and this is the first input it decides.
    Started(Started),
    /// The policy or the workspace differs from the one on record.
    PolicyAdopted {
        /// SHA-256 of the texts, in hex.
        hash: String,
    },
    /// The policy's file was changed to something that does not hold together; the last good one stays in force.
    PolicyRefused {
        /// What is wrong with it.
        why: String,
    },
    /// The chat is connected anew: what is shown there must be compared with what should be.
    ChatReady,
    /// A message, thread or channel was removed or closed in the chat by somebody else.
    Gone(Gone),
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person.
    pub person: Person,
    /// The name that others see.
    pub name: String,
    /// Roles held at that moment, by policy's names.
    pub roles: Vec<Role>,
}

/// A value of a command's option, as typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// Text.
    Text(Text),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// A person.
    Person(Person),
}

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who.
    pub who: Actor,
    /// The channel or thread it was typed in.
    pub place: Place,
    /// The command's full name: `sev1`, `incident severity`, `Add to timeline`.
    pub command: String,
    /// Options by name.
    pub args: BTreeMap<String, Arg>,
    /// The message that a message command was used on.
    pub target: Option<TargetMessage>,
}

impl Call {
    /// A text option, trimmed; `None` when absent or blank.
    pub fn text(&self, name: &str) -> Option<Text> {
        match self.args.get(name) {
            Some(Arg::Text(text)) if !text.is_blank() => Some(text.clone()),
            _ => None,
        }
    }

    /// A text option as one plain word or phrase (names and times flattened away); `None` when absent or blank.
    pub fn word(&self, name: &str) -> Option<String> {
        match self.args.get(name)? {
            Arg::Text(text) => {
                let word: String = text
                    .0
                    .iter()
                    .filter_map(|span| match span {
                        super::message::Span::Text(text)
                        | super::message::Span::Bold(text)
                        | super::message::Span::Code(text) => Some(text.as_str()),
                        _ => None,
                    })
                    .collect();
                let word = word.trim().to_owned();
                (!word.is_empty()).then_some(word)
            }
            Arg::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A whole-number option.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.args.get(name)? {
            Arg::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A yes-or-no option.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.args.get(name)? {
            Arg::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A person option.
    pub fn person(&self, name: &str) -> Option<Person> {
        match self.args.get(name)? {
            Arg::Person(person) => Some(person.clone()),
            _ => None,
        }
    }
}

/// A message somebody pointed at.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetMessage {
    /// Where it stands.
    pub posted: Posted,
    /// Who wrote it.
    pub author: Person,
    /// The author's name.
    pub author_name: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What it says.
    pub text: Text,
    /// Addresses of its images.
    pub images: Vec<String>,
    /// A link to it.
    pub link: String,
}

/// A press of a button or a choice from a menu.
#[derive(Debug, Clone, PartialEq)]
pub struct Press {
    /// Who.
    pub who: Actor,
    /// Where.
    pub place: Place,
    /// The action as it stood on the button.
    pub action: String,
    /// What was chosen in a menu.
    pub values: Vec<String>,
    /// The message the button stands on.
    pub on: Posted,
}

/// A form filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// Who.
    pub who: Actor,
    /// Where.
    pub place: Place,
    /// The action as the form carried it.
    pub action: String,
    /// Values by input name.
    pub values: BTreeMap<String, Text>,
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectOutcome {
    /// Which.
    pub effect: EffectId,
    /// How.
    pub end: EffectEnd,
}

/// How a step at the host ended, with the machine's configurations kept and named by their SHA-256 in hex.
#[derive(Debug, Clone, PartialEq)]
pub enum Stepped {
    /// Done, now or before.
    Done {
        /// The configuration before, when it was changed.
        before: Option<String>,
        /// And after.
        after: Option<String>,
        /// The release that was opened.
        release: Option<ReleaseRef>,
    },
    /// Not done, or done and not well.
    Failed {
        /// What kind of failure.
        trouble: Trouble,
        /// A sentence.
        says: String,
        /// The configuration before, when it was changed all the same.
        before: Option<String>,
    },
    /// It was called off before it changed anything.
    CalledOff,
}

/// The ways in which an effect can end.
#[derive(Debug, Clone, PartialEq)]
pub enum EffectEnd {
    /// It was done.
    Done {
        /// The message or thread it made, when it made one.
        posted: Option<Posted>,
    },
    /// The look was taken.
    Looked {
        /// What was seen.
        report: HealthReport,
    },
    /// A step at the host came to its end.
    Stepped {
        /// How.
        end: Stepped,
    },
    /// A deploy's service was looked at from outside.
    Surveyed {
        /// Its machines; a sentence when the host did not say.
        machines: Result<Inventory, String>,
        /// Its health, when it could be looked at.
        report: Option<HealthReport>,
    },
    /// It cannot be done, or not in time.
    GivenUp {
        /// A sentence that says why.
        why: String,
    },
}

/// What the process knows about its own last end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Version of the program.
    pub version: String,
    /// When the last line was written before; `None` on a new log.
    pub last_seen: Option<DateTime<Utc>>,
}

/// One look at a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Which service.
    pub service: Service,
    /// Which stage of it.
    pub stage: Stage,
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// What was seen.
    pub seen: Seen,
    /// When the certificate ends that its answers come with, the first of several; none where none was shown.
    pub certificate_ends: Option<DateTime<Utc>>,
}

/// One look at the releases of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasesLook {
    /// The app.
    pub app: String,
    /// The newest, with their times as promise time has them.
    pub releases: Vec<Release>,
}

/// What a look showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It answered as it should.
    Green {
        /// Time to the answer.
        took_ms: u32,
    },
    /// It did not.
    Red {
        /// A sentence: "answered 500 in 12 ms", "connection refused".
        why: String,
    },
    /// Stopped by auto-stop: healthy.
    Asleep,
    /// It could not be found out.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// Something of ours that is not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// A message was deleted.
    Message(Posted),
    /// A channel or thread was deleted.
    Place(Place),
}

/// What the outside said to the questions of a decision. What was not asked, or not answered in time, is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// The health of services.
    pub health: Option<HealthReport>,
    /// Closed incidents, newest first.
    pub recent: Option<Vec<Incident>>,
    /// How the bot itself is.
    pub itself: Option<Itself>,
    /// The end of the record, as of when it was asked.
    pub head: Option<RecordHead>,
    /// What runs, by app; a sentence when the host did not say or nothing may be done there.
    pub inventories: BTreeMap<String, Result<Inventory, String>>,
    /// What happened to machines, by app; a sentence when the host did not say.
    pub lives: BTreeMap<String, Result<Vec<Lived>, String>>,
    /// Changes that are over and no longer in memory, newest first; none when the record was not asked, or could not say.
    pub changes: Option<Vec<Deploy>>,
    /// Log lines, or why there are none.
    pub logs: Option<Result<logs::Found, logs::Trouble>>,
    /// Figures, by the key they were asked with; a sentence when the source did not say.
    pub figures: BTreeMap<String, Result<Vec<Series>, String>>,
}

impl Answers {
    /// What runs of an app; none when it was not asked, or not answered in time.
    pub fn inventory(&self, app: &str) -> Option<&Result<Inventory, String>> {
        self.inventories.get(app)
    }
}

/// How the bot itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Itself {
    /// Its version.
    pub version: String,
    /// Since when it has been up.
    pub up_since: Option<DateTime<Utc>>,
    /// What it caught up on when it started, in a sentence.
    pub caught_up: Option<String>,
    /// The chat, the host, the store, what waits: a name, whether all is well, a sentence each.
    pub parts: Vec<(String, bool, String)>,
}

/// The end of the record in a form that people can keep: whoever holds it can tell later whether the record still has that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead {
    /// The last line's number.
    pub seq: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

impl RecordHead {
    /// How many of the hash's digits are shown. Nobody makes another line that has the same by chance.
    pub const DIGITS: usize = 12;
}

impl std::fmt::Display for RecordHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.seq, self.hash.chars().take(Self::DIGITS).collect::<String>())
    }
}

impl std::str::FromStr for RecordHead {
    type Err = String;

    /// Reads what a digest shows: `214-3f9a1c20d4e5`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.trim().split_once('-').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
        parts
            .filter(|(_, hash)| hash.len() >= Self::DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(|(seq, hash)| Self { seq, hash: hash.to_ascii_lowercase() })
            .ok_or_else(|| format!("“{text}” is no end of a record; copy it from a digest, as 214-3f9a1c20d4e5"))
    }
}

/// A question to the outside that a decision needs answered first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Query {
    /// The health of services: machines, probes, in every stage. `None` is all of them.
    Health(Option<Service>),
    /// Read a closed incident back from the store.
    ClosedIncident(IncidentId),
    /// The newest closed incidents, at most this many.
    RecentIncidents(u16),
    /// How the bot itself is: connection, store, what waits.
    Itself,
    /// The end of the record.
    Head,
    /// What runs of an app and was released, for acting on it.
    Inventory(String),
    /// The same, only to be looked at: needs no token to act.
    Inspect(String),
    /// What happened to the machines of an app of late.
    Life(String),
    /// Changes that are over and no longer in memory, at most this many of the newest.
    Changes(u16),
    /// Log lines.
    Logs(Box<logs::Ask>),
    /// The values of an expression over a time.
    Figures(figures::Ask),
}
