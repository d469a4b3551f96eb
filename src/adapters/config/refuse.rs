//! What a well-shaped file may still not say: secrets, plain HTTP to elsewhere, names used twice, nonsense.

use std::collections::BTreeSet;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::Refused;
use crate::domain::alerts;
use crate::domain::ids::Service;
use crate::domain::metrics::FLY_SOURCE;
use crate::domain::policy::Span;
use crate::domain::rules;
use crate::domain::workspace::{HookFormat, ProbeSpec, Way, Workspace};

/// The shortest pace of a probe.
const EVERY_MIN: Span = Span::seconds(1);
/// The longest that a probe may wait for an answer.
const TIMEOUT_MAX: Span = Span::seconds(60);
/// Probes of one copy of a service.
const PROBES_MAX: usize = 20;
/// Services of a team.
const SERVICES_MAX: usize = 100;

/// Who is meant to be reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// A neighbour that is sent a secret.
    Neighbour,
    /// A service of the team. Fly's private network is reached by plain HTTP alone, and encrypts underneath (WireGuard).
    Service,
}

/// Refuses a text with a secret in it. Only the shape is known, so the shapes of the tokens we use are looked for, and keys
/// that could hold nothing else.
pub(super) fn secrets_in(text: &str, name: &str) -> Result<(), Refused> {
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let remedy = if looks_like_fly(line) {
            super::FLY_READ_TOKEN
        } else if line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '=')).any(looks_like_discord)
        {
            super::DISCORD_TOKEN
        } else if holds_a_secret(line) {
            "a variable of the environment, and name that variable here"
        } else {
            continue;
        };
        return Err(Refused(format!(
            "{name} line {}: this looks like a secret. Secrets never stand in the file: take it out, have it replaced where it \
             was made, and put the new one into {remedy}.",
            number + 1
        )));
    }
    Ok(())
}

fn looks_like_fly(line: &str) -> bool {
    ["fm2_", "fm1r_", "fm1a_", "FlyV1 "].iter().any(|prefix| line.contains(prefix))
}

/// A bot token: an id in base 64, a moment, a signature, joined by dots.
fn looks_like_discord(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let base64 = |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    matches!(parts.as_slice(), [id, moment, signature]
        if (18..=30).contains(&id.len()) && (5..=8).contains(&moment.len()) && signature.len() >= 25)
        && parts.iter().all(base64)
}

/// `token = "…"`, `password = "…"`, `Authorization = "Bearer …"`: keys whose value could be nothing but a secret.
fn holds_a_secret(line: &str) -> bool {
    const SECRET_KEYS: [&str; 9] = [
        "token",
        "password",
        "secret",
        "api_key",
        "authorization",
        "x-api-key",
        "cookie",
        "proxy-authorization",
        "api-key",
    ];
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before
            .rsplit(['{', ',', ' ', '.'])
            .map(|word| word.trim().trim_matches(['"', '\'']))
            .find(|word| !word.is_empty());
        let value = after.trim_start();
        let written = value.starts_with(['"', '\'']) && !value.trim_start_matches(['"', '\'']).starts_with("env:");
        if written && key.is_some_and(|key| SECRET_KEYS.contains(&key.to_ascii_lowercase().as_str())) {
            return true;
        }
        rest = after;
    }
    false
}

/// Refuses an address that is none, or that would carry what we send in the clear.
pub(super) fn address(text: &str, key: &str, name: &str, reach: Reach) -> Result<(), Refused> {
    let url = Url::parse(text).map_err(|error| {
        Refused(format!("{name} {key}: “{text}” is not an address ({error}); write https://host/path"))
    })?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(Refused(format!("{name} {key}: “{text}” is not a web address; write https://host/path")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused(format!(
            "{name} {key}: the address holds a user name or password; use a header with env:NAME"
        )));
    }
    let private = reach == Reach::Service
        && url.host_str().is_some_and(|host| host.ends_with(".internal") || host.ends_with(".flycast"));
    if plain_http_elsewhere(&url) && !private {
        return Err(Refused(format!(
            "{name} {key}: plain http only to this machine; write https://{}",
            url.authority()
        )));
    }
    Ok(())
}

/// Where Fly's log stream is: the token is its password, so it goes in the clear only where nobody else listens.
pub(super) fn nats(text: &str, name: &str) -> Result<(), Refused> {
    let key = "[fly] logs_nats_url";
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "nats" | "tls") && url.host_str().is_some());
    let Some(url) = url else {
        return Err(Refused(format!("{name} {key}: “{text}” is no address of NATS; Fly's is nats://[fdaa::3]:4223")));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused(format!(
            "{name} {key}: the address holds a user name or password; I show the token myself"
        )));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_private = match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Ok(std::net::IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.ends_with(".internal"),
    };
    if url.scheme() == "nats" && !is_private {
        return Err(Refused(format!("{name} {key}: plain NATS only within a private network; write tls://{host}")));
    }
    Ok(())
}

/// Whether an address would carry what is sent in the clear to another machine.
pub fn plain_http_elsewhere(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here =
        host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() != "https" && !here
}

/// Whether an id is one of the example's, still to be filled in: mostly zeros.
pub fn is_placeholder(id: &str) -> bool {
    let digits = id.rsplit(':').next().unwrap_or(id);
    digits.is_empty()
        || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().filter(|b| *b != b'0').count() <= 2)
}

/// How seldom and how often releases may be looked at: Fly takes one such question a second for an app.
const RELEASES_EVERY: (Span, Span) = (Span::seconds(10), Span::minutes(366 * 24 * 60));

/// Refuses a pace that Fly would not bear.
pub(super) fn releases_every(every: Span, name: &str) -> Result<(), Refused> {
    let (least, most) = RELEASES_EVERY;
    if every < least || every > most {
        return Err(Refused(format!("{name}: [fly] releases_every is at least 10s; 60s is usual")));
    }
    Ok(())
}

/// A shorter secret can be guessed, in bytes.
const SECRET_BYTES_MIN: usize = 16;

/// Refuses a secret that can be guessed. Says the variable, never the value.
pub(super) fn hook_secrets<'a>(
    given: impl Iterator<Item = (&'a str, SecretString)>,
) -> Result<Vec<SecretString>, Refused> {
    let long_enough = |(name, secret): (&str, SecretString)| match secret.expose_secret().len() {
        bytes if bytes < SECRET_BYTES_MIN => Err(Refused(format!(
            "{name} is shorter than {SECRET_BYTES_MIN} characters and can be guessed: make one with `openssl rand -hex 32`"
        ))),
        _ => Ok(secret),
    };
    given.map(long_enough).collect()
}

/// Refuses a pipeline that names what is not there.
fn pipeline(team: &Workspace) -> Result<(), String> {
    let Some(pipeline) = &team.pipeline else { return Ok(()) };
    if pipeline.name.trim().is_empty() || pipeline.name.chars().any(char::is_control) {
        return Err("[pipeline] name is what its deploys are asked for by: github".to_owned());
    }
    let is_there = |name: &&Service| team.services.iter().any(|service| service.name == **name);
    if let Some(unknown) = pipeline.services.iter().flatten().find(|name| !is_there(name)) {
        return Err(format!("[pipeline] services names {unknown}, which is none of [[services]]"));
    }
    if let Some(unknown) = pipeline.actors.values().find(|name| team.person(name).is_none()) {
        return Err(format!("[pipeline.actors] names {unknown}, who is not in [[people]]"));
    }
    Ok(())
}

/// Tools that tell us what fires, at most.
const HOOKS_MAX: usize = 32;
/// Characters of a hook's name.
const HOOK_NAME_CHARS_MAX: usize = 40;
/// The longest that anything waits which is said to be over.
const RESOLVE_DELAY_MAX: chrono::TimeDelta = chrono::TimeDelta::hours(4);
/// The hook that pipelines ask at.
const DEPLOY: &str = "deploy";

/// Refuses hooks that cannot be told apart, or name what is not there.
fn hooks(team: &Workspace) -> Result<(), String> {
    if team.hooks.len() > HOOKS_MAX {
        return Err(format!("{} [[hooks]]; at most {HOOKS_MAX}", team.hooks.len()));
    }
    let mut names = BTreeSet::new();
    for hook in &team.hooks {
        let name = &hook.name;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > HOOK_NAME_CHARS_MAX || !name.chars().all(is_name) {
            return Err(format!(
                "[[hooks]] name “{name}”: small letters, digits and dashes; it is a part of an address"
            ));
        }
        // What these say is the bot's own.
        let is_ours = [DEPLOY, rules::SOURCE, alerts::STORM].contains(&name.as_str());
        if is_ours || !names.insert(name) {
            return Err(format!("[[hooks]] name “{name}” is taken"));
        }
        if let Some(service) = &hook.service
            && !team.services.iter().any(|one| one.name == *service)
        {
            return Err(format!("[[hooks]] {name} names the service {service}, which is none of [[services]]"));
        }
        if hook.resolve_delay.is_some_and(|delay| delay.delta() > RESOLVE_DELAY_MAX) {
            let hours = RESOLVE_DELAY_MAX.num_hours();
            return Err(format!(
                "[[hooks]] {name}: resolve_delay is longer than {hours} h: nothing of it would ever be over"
            ));
        }
        if hook.read.is_some() && hook.format != HookFormat::Generic {
            return Err(format!("[[hooks]] {name}: [hooks.read] is for the generic format alone"));
        }
        let pointers = hook.read.iter().flat_map(|read| {
            let always = [&read.name, &read.fingerprint, &read.state, &read.summary, &read.url].map(Some);
            always.into_iter().chain([read.alerts.as_ref(), read.severity.as_ref(), read.labels.as_ref()])
        });
        if let Some(wrong) = pointers.flatten().find(|at| !at.is_empty() && !at.starts_with('/')) {
            return Err(format!("[[hooks]] {name}: “{wrong}” is no place in a body; write it as /alert/name"));
        }
    }
    Ok(())
}

/// Sources of figures beside the host's.
const METRICS_MAX: usize = 8;

/// Refuses sources of figures that cannot be told apart, or asked.
fn metrics(team: &Workspace, name: &str) -> Result<(), Refused> {
    let refuse = |sentence: String| Err(Refused(format!("{name}: {sentence}")));
    if team.metrics.len() > METRICS_MAX {
        return refuse(format!("{} [[metrics]]; at most {METRICS_MAX}", team.metrics.len()));
    }
    let mut known = BTreeSet::from([FLY_SOURCE.to_owned()]);
    for source in &team.metrics {
        if source.name.trim().is_empty() || source.name.chars().any(char::is_control) {
            return refuse("[[metrics]] name is what targets and rules call it: own".to_owned());
        }
        if !known.insert(source.name.to_lowercase()) {
            return refuse(format!("two [[metrics]] are called “{}”, or it is Fly's own name", source.name));
        }
        address(&source.url, &format!("[[metrics]] {} url", source.name), name, Reach::Service)?;
        let url = Url::parse(&source.url).ok();
        if source.token_env.is_some() && url.is_some_and(|url| plain_http_elsewhere(&url)) {
            return refuse(format!("[[metrics]] {}: a token goes over https only", source.name));
        }
    }
    Ok(())
}

/// Refuses a team that does not hold together.
pub(super) fn workspace(team: &Workspace, name: &str) -> Result<(), Refused> {
    let refuse = |sentence: String| Err(Refused(format!("{name}: {sentence}")));
    if team.services.len() > SERVICES_MAX {
        return refuse(format!("{} services; at most {SERVICES_MAX}", team.services.len()));
    }
    pipeline(team).or_else(refuse)?;
    hooks(team).or_else(refuse)?;
    metrics(team, name)?;
    let mut people = BTreeSet::new();
    for member in &team.people {
        if !people.insert(member.name.as_str()) {
            return refuse(format!("two [[people]] are called “{}”", member.name));
        }
        for way in &member.wake {
            let url = match way {
                Way::Direct => None,
                Way::Ntfy { url, .. } | Way::Webhook { url, .. } => Some(url),
                Way::Pushover { url, .. } | Way::Pagerduty { url, .. } => url.as_ref(),
            };
            if let Some(url) = url {
                address(url, &format!("[[people]] {} ({})", member.name, way.name()), name, Reach::Neighbour)?;
            }
        }
    }
    let mut names = BTreeSet::new();
    for service in &team.services {
        for called in std::iter::once(service.name.as_str()).chain(service.aliases.iter().map(String::as_str)) {
            if called.trim().is_empty() || !names.insert(called.to_lowercase()) {
                return refuse(format!("“{called}” names two services, or none"));
            }
        }
        for (stage, spec) in service.stages() {
            let place = format!("{} {}", service.name, stage.name());
            if spec.probes.len() > PROBES_MAX {
                return refuse(format!("{place}: {} probes; at most {PROBES_MAX}", spec.probes.len()));
            }
            let mut probes = BTreeSet::new();
            for one in &spec.probes {
                if !probes.insert(one.name.as_str()) {
                    return refuse(format!("{place}: two probes are called “{}”", one.name));
                }
                probe(one, &place, name)?;
            }
        }
    }
    Ok(())
}

fn probe(probe: &ProbeSpec, place: &str, name: &str) -> Result<(), Refused> {
    let key = format!("{place} probe “{}”", probe.name);
    let refuse = |sentence: &str| Err(Refused(format!("{name} {key}: {sentence}")));
    address(&probe.url, &key, name, Reach::Service)?;
    if reqwest::Method::from_bytes(probe.method.as_bytes()).is_err()
        || probe.method.to_ascii_uppercase() != probe.method
    {
        return refuse("the method is an HTTP verb in capitals: GET, HEAD, POST");
    }
    for (header, value) in &probe.headers {
        let known = reqwest::header::HeaderName::from_bytes(header.as_bytes()).is_ok();
        if !known || reqwest::header::HeaderValue::from_str(value).is_err() {
            return refuse(&format!("“{header}” is not a header that can be sent"));
        }
    }
    if probe.expect_status.is_some_and(|status| !(100..=599).contains(&status)) {
        return refuse("expect_status is an HTTP status: 200");
    }
    if let Some(expected) = &probe.expect_json
        && !expected.pointer.is_empty()
        && !expected.pointer.starts_with('/')
    {
        return refuse("pointer is a JSON pointer: /status");
    }
    if probe.timeout.is_zero() || probe.timeout > TIMEOUT_MAX {
        return refuse("timeout lies between 1ms and 60s");
    }
    if probe.every < EVERY_MIN {
        return refuse("every is at least 1s");
    }
    if matches!((probe.warn_above, probe.critical_above), (Some(warn), Some(critical)) if critical <= warn) {
        return refuse("critical_above must lie above warn_above");
    }
    Ok(())
}
