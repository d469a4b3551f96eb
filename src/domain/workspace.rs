//! The team: its zone, channels, roles, people, services. The part of watchbell.toml that the domain may know.
//!
//! Pure; read from text once, never changed. Addresses and ways to wake people come from here and from nowhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{Person, Role, Service};
use super::policy::{Severity, Span};

/// Which copy of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What customers use.
    Production,
    /// Where a deploy goes first.
    Staging,
}

impl Stage {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Production => "production",
            Stage::Staging => "staging",
        }
    }
}

/// A team and what belongs to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Workspace {
    /// Name and zone.
    pub team: Team,
    /// Where the bot speaks.
    pub channels: Channels,
    /// Policy's role names and the names that the chat has for them. A role that is not listed has the same name in both.
    #[serde(default)]
    pub roles: BTreeMap<Role, String>,
    /// People and the ways to wake them.
    #[serde(default)]
    pub people: Vec<Member>,
    /// Who is on call.
    #[serde(default)]
    pub oncall: OnCall,
    /// What the team runs.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// What asks for deploys by signed requests; nothing when absent.
    #[serde(default)]
    pub pipeline: Option<Pipeline>,
    /// Tools that tell us that something fires.
    #[serde(default)]
    pub hooks: Vec<HookSpec>,
    /// Where figures can be asked for beside the host's own.
    #[serde(default)]
    pub metrics: Vec<MetricsSource>,
}

/// A Prometheus, or something that answers as it does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSource {
    /// What targets and rules call it.
    pub name: String,
    /// Its address, up to what stands before `/api/v1`.
    pub url: String,
    /// Name of the environment variable that holds a bearer token; none is sent when absent.
    #[serde(default)]
    pub token_env: Option<String>,
}

/// What asks for deploys by signed requests. It may ask, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// What it is called on cards and on the record.
    pub name: String,
    /// The services that it may ask for; all when absent.
    #[serde(default)]
    pub services: Option<Vec<Service>>,
    /// Who of `[[people]]` it is that sets it off, by the name that it has for them: they do not approve what they set off.
    #[serde(default)]
    pub actors: BTreeMap<String, String>,
}

/// A tool that tells us that something fires, at `/hooks/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSpec {
    /// The last part of its address, and the name of its secret: small letters, digits, dashes.
    pub name: String,
    /// How its bodies are read.
    pub format: HookFormat,
    /// The service that everything it says is about; what its labels say otherwise.
    #[serde(default)]
    pub service: Option<Service>,
    /// The incident that something critical opens by itself; none is opened otherwise.
    #[serde(default)]
    pub declares: Option<Severity>,
    /// How long what it says is over must have stayed so, before it is over for people; at once when none.
    #[serde(default)]
    pub resolve_delay: Option<Span>,
    /// Where in a body stands what, for the generic format.
    #[serde(default)]
    pub read: Option<HookReading>,
}

/// How the body of a hook is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookFormat {
    /// Alertmanager's webhook, version 4.
    Alertmanager,
    /// Grafana's webhook.
    Grafana,
    /// Sentry's integration webhooks.
    Sentry,
    /// GitHub's webhooks.
    Github,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// Better Stack's status page webhook.
    Betterstack,
    /// Any JSON.
    Generic,
}

/// Where in a JSON body stands what: JSON pointers (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HookReading {
    /// A list of alerts, in which the others are looked for; the body is one alert when none.
    pub alerts: Option<String>,
    /// What it is called.
    pub name: String,
    /// What it is told from others by.
    pub fingerprint: String,
    /// The word for how it is.
    pub state: String,
    /// The words that mean that it is over.
    pub resolved: Vec<String>,
    /// How bad it is.
    pub severity: Option<String>,
    /// A sentence.
    pub summary: String,
    /// Where its sender shows it.
    pub url: String,
    /// Names and values.
    pub labels: Option<String>,
}

impl Default for HookReading {
    fn default() -> Self {
        Self {
            alerts: None,
            name: "/title".to_owned(),
            fingerprint: "/alert_uid".to_owned(),
            state: "/state".to_owned(),
            resolved: ["ok", "resolved", "up"].map(str::to_owned).to_vec(),
            severity: None,
            summary: "/message".to_owned(),
            url: "/link_to_upstream_details".to_owned(),
            labels: None,
        }
    }
}

impl Pipeline {
    /// Its name as that of whoever asked.
    pub fn person(&self) -> Person {
        Person::new(format!("pipeline:{}", self.name))
    }

    /// Whether it may ask for a service.
    pub fn may_ask_for(&self, service: &Service) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(service))
    }
}

/// Name and zone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Its name, on every line of the record.
    pub name: String,
    /// Its time zone, as in the tz database (`America/Chicago`).
    pub zone: chrono_tz::Tz,
}

/// Where the bot speaks, by channel name or id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Cards, pings and the digest.
    pub incidents: String,
    /// Everything, while observing.
    pub test: String,
    /// Notices for a wider audience; none when absent.
    #[serde(default)]
    pub announce: Option<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The name used in configuration.
    pub name: String,
    /// Who that is in the chat.
    pub chat: Person,
    /// Policy's roles that escalation finds them by.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Ways to wake them, in order. Empty means the chat alone: a mention and a direct message.
    #[serde(default)]
    pub wake: Vec<Way>,
}

/// A way to wake a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "via", rename_all = "snake_case", deny_unknown_fields)]
pub enum Way {
    /// A direct message in the chat.
    Direct,
    /// An ntfy topic, published to with highest priority.
    Ntfy {
        /// The topic's whole address.
        url: String,
        /// Name of the environment variable that holds an access token.
        #[serde(default)]
        token_env: Option<String>,
    },
    /// Pushover, emergency priority.
    Pushover {
        /// Name of the environment variable with the application's token.
        token_env: String,
        /// Name of the environment variable with the user's key.
        user_env: String,
        /// Where to; Pushover's own address when absent.
        #[serde(default)]
        url: Option<String>,
    },
    /// PagerDuty Events API v2.
    Pagerduty {
        /// Name of the environment variable with the routing key.
        key_env: String,
        /// Where to; PagerDuty's own address when absent.
        #[serde(default)]
        url: Option<String>,
    },
    /// Any address that takes a JSON body.
    Webhook {
        /// The address.
        url: String,
        /// Name of the environment variable with a bearer token.
        #[serde(default)]
        token_env: Option<String>,
    },
}

impl Way {
    /// Its name in a sentence.
    pub fn name(&self) -> &'static str {
        match self {
            Way::Direct => "direct message",
            Way::Ntfy { .. } => "ntfy",
            Way::Pushover { .. } => "Pushover",
            Way::Pagerduty { .. } => "PagerDuty",
            Way::Webhook { .. } => "webhook",
        }
    }
}

/// Who is on call for level 1.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnCall {
    /// A rotation; without one, everybody who holds level 1's role.
    #[serde(default)]
    pub rotation: Option<super::oncall::Rotation>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its name.
    pub name: Service,
    /// Short names that people also type.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Who owns it: a role.
    #[serde(default)]
    pub owner: Option<Role>,
    /// The copy that customers use.
    pub production: StageSpec,
    /// The copy that deploys go to first.
    #[serde(default)]
    pub staging: Option<StageSpec>,
}

impl ServiceSpec {
    /// The stages it has, production first.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &StageSpec)> {
        std::iter::once((Stage::Production, &self.production))
            .chain(self.staging.iter().map(|stage| (Stage::Staging, stage)))
    }
}

/// One copy of a service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// Its Fly app.
    #[serde(default)]
    pub fly_app: Option<String>,
    /// How its health is asked for.
    #[serde(default)]
    pub probes: Vec<ProbeSpec>,
}

/// One question to a service, and the answer that is expected.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// Its name.
    pub name: String,
    /// The address.
    pub url: String,
    /// HTTP method; GET when absent.
    #[serde(default = "get")]
    pub method: String,
    /// Headers. A value `env:NAME` is read from the environment.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body.
    #[serde(default)]
    pub body: Option<String>,
    /// The status that is healthy; any 2xx when absent.
    #[serde(default)]
    pub expect_status: Option<u16>,
    /// A place in the JSON answer and what must stand there.
    #[serde(default)]
    pub expect_json: Option<ExpectJson>,
    /// How long an answer may take before it counts as none.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// How often it is asked.
    #[serde(default = "every")]
    pub every: Span,
    /// Whether a sleeping machine may be woken by the question.
    #[serde(default)]
    pub when: ProbeWhen,
    /// The time under which an answer is on target; above it, a warning.
    #[serde(default)]
    pub warn_above: Option<Span>,
    /// The time above which an answer is critical.
    #[serde(default)]
    pub critical_above: Option<Span>,
}

/// A place in a JSON answer and what must stand there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectJson {
    /// A JSON pointer (RFC 6901): `/status`.
    pub pointer: String,
    /// What must stand there.
    pub equals: serde_json::Value,
}

/// When a service is probed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeWhen {
    /// Always, waking it if need be.
    #[default]
    Always,
    /// Only while a machine is awake.
    WhenAwake,
    /// While a machine is awake; and one that sleeps is woken when it has not been heard of for so long, to see that it can be.
    WakeEvery(Span),
}

impl ProbeWhen {
    /// Whether it must be known that somebody is awake before it is asked.
    pub fn is_careful(self) -> bool {
        self != ProbeWhen::Always
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn timeout() -> Span {
    Span::seconds(10)
}

fn every() -> Span {
    Span::seconds(30)
}

impl Workspace {
    /// A service by name or alias, whatever the case.
    pub fn service(&self, name: &str) -> Option<&ServiceSpec> {
        let name = name.trim();
        self.services.iter().find(|service| {
            service.name.as_str().eq_ignore_ascii_case(name)
                || service.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// The ways to wake a person, in order; the chat alone for somebody who is not listed.
    pub fn ways(&self, person: &Person) -> Vec<Way> {
        match self.people.iter().find(|member| member.chat == *person) {
            Some(member) if !member.wake.is_empty() => member.wake.clone(),
            _ => vec![Way::Direct],
        }
    }

    /// The chat person behind a name used in configuration.
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|member| member.name == name).map(|member| &member.chat)
    }

    /// The name by which a person is called in configuration.
    pub fn name_of(&self, person: &Person) -> Option<&str> {
        self.people.iter().find(|member| member.chat == *person).map(|member| member.name.as_str())
    }
}
