//! What can be examined without asking anybody: the file, the ways to wake people, the state folder, the calendar, fly.toml.

use std::fs;
use std::io::Write;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::{Check, Findings};
use crate::adapters::config::{
    CONTROL_TOKEN, Config, DEPLOY_SECRET, DEPLOY_SECRET_NEXT, hook_variables, is_placeholder,
};
use crate::domain::schedule::Schedule;
use crate::domain::workspace::Way;

/// Less room than this is a warning, in bytes: a year of a busy team is some tens of megabytes.
const FREE_BYTES_WARNING: u64 = 500 << 20;
/// Less than this is wrong: the store cannot be opened on a full disk.
const FREE_BYTES_MIN: u64 = 50 << 20;
/// How many times of a job are read back.
const TIMES: usize = 5;
/// The shortest time to put everything away after SIGTERM, in seconds.
const KILL_TIMEOUT_MIN_S: i64 = 30;

pub(super) fn configuration(config: &Config) -> Vec<Check> {
    let mut found = Findings::about("Configuration");
    let policy = config.policy_file.as_ref().map_or("the shipped policy".to_owned(), |file| file.display().to_string());
    found.ok(format!("{} and {policy} hold together", config.path.display()));
    for (variable, wanted_by) in &config.missing {
        found.bad(format!("{variable} is not set; {wanted_by} needs it: put it into the environment"));
    }
    if config.http.control_token.is_none() {
        found.ok(format!(
            "/control/… on [http] private_bind is off, and incidents need none of it: {CONTROL_TOKEN} in the bot's environment, \
             any long random text, lets your own tools ask /control/state"
        ));
    }
    if !config.http.private_bind.ip().is_loopback() {
        let bind = config.http.private_bind;
        found.warn(format!(
            "[http] private_bind {bind} can be reached from outside this machine: let only a private network reach it"
        ));
    }
    pipeline(config, &mut found);
    hooks(config, &mut found);
    if config.workspace.services.is_empty() {
        found.warn("no [[services]]: nothing is looked at");
    }
    found.checks
}

/// Whether a pipeline can ask, where one is meant to: it takes a place to listen, a secret, and [pipeline].
fn pipeline(config: &Config, found: &mut Findings) {
    let (listens, has_secret) = (config.http.public_bind.is_some(), !config.http.deploy_secrets.is_empty());
    let has_pipeline = config.workspace.pipeline.is_some();
    let missing: Vec<&str> =
        [(listens, "[http] public_bind"), (has_pipeline, "[pipeline]"), (has_secret, DEPLOY_SECRET)]
            .into_iter()
            .filter_map(|(there, name)| (!there).then_some(name))
            .collect();
    let is_meant = has_pipeline || has_secret || (listens && config.workspace.hooks.is_empty());
    match (missing.is_empty(), is_meant) {
        (true, _) if config.http.deploy_secrets.len() > 1 => found.ok(format!(
            "a pipeline may ask for deploys, with either of two secrets: take {DEPLOY_SECRET_NEXT} out once it signs with the new one"
        )),
        (true, _) => found.ok("a pipeline may ask for deploys"),
        (false, true) => found.warn(format!("no pipeline can ask for deploys yet: {} is not set", missing.join(" and "))),
        (false, false) => {}
    }
}

/// Whether each tool of `[[hooks]]` can tell us what fires.
fn hooks(config: &Config, found: &mut Findings) {
    if !config.workspace.hooks.is_empty() && config.http.public_bind.is_none() {
        found.bad("[[hooks]]: nobody can tell me anything: set [http] public_bind");
    }
    for hook in &config.workspace.hooks {
        let [variable, next] = hook_variables(&hook.name);
        match config.http.hook_secrets.get(&hook.name).map_or(0, Vec::len) {
            0 => {
                found.bad(format!("hook {}: set {variable} to what the tool shows: `openssl rand -hex 32`", hook.name))
            }
            1 => found.ok(format!("hook {}: what fires may be told at /hooks/{}", hook.name, hook.name)),
            _ => found
                .ok(format!("hook {}: with either of two secrets; take the old one out and {next} away", hook.name)),
        }
    }
}

pub(super) fn waking(config: &Config) -> Vec<Check> {
    let mut found = Findings::about("Waking people");
    let level = &config.policy.level(1).roles;
    let names: Vec<&str> = level.iter().map(|role| role.as_str()).collect();
    let rotation = config.workspace.oncall.rotation.as_ref();
    let in_rotation = |name: &str| rotation.is_some_and(|rotation| rotation.people().iter().any(|one| one == name));
    for name in rotation.map_or(&[][..], |rotation| rotation.people()) {
        if config.workspace.person(name).is_none() {
            found.bad(format!("the rotation names {name}, who is not in [[people]]: add them"));
        }
    }
    let first: Vec<_> = config
        .workspace
        .people
        .iter()
        .filter(|member| in_rotation(&member.name) || member.roles.iter().any(|role| level.contains(role)))
        .collect();
    if first.is_empty() {
        found.warn(format!(
            "nobody in [[people]] has a role of level 1 ({}), so Discord is the only way to wake them, and a mention wakes no \
             sleeping phone: list them with roles and a second way",
            names.join(", ")
        ));
    }
    // One whose id is still the example's is named under Discord: no tick for ways that lead nowhere.
    for member in first.into_iter().filter(|member| !is_placeholder(member.chat.as_str())) {
        let ways: Vec<&str> = member.wake.iter().map(Way::name).collect();
        if member.wake.iter().all(|way| matches!(way, Way::Direct)) {
            found.warn(format!(
                "{}: Discord is the only way, and it wakes no sleeping phone: add ntfy, Pushover or PagerDuty under wake",
                member.name
            ));
        } else {
            let rings_on = member.wake.iter().any(|way| matches!(way, Way::Pagerduty { .. }));
            let rings_on = if rings_on { "; an alert at PagerDuty has to be acknowledged there as well" } else { "" };
            found.ok(format!("{}: {}; try them with /oncall test{rings_on}", member.name, ways.join(", then ")));
        }
    }
    match &config.dead_man {
        Some(_) => found.ok("a dead-man address is called each minute"),
        None => found.warn(
            "no [dead_man] url: when the bot itself dies, nobody hears of it; healthchecks.io gives such an address",
        ),
    }
    found.checks
}

pub(super) fn state_folder(dir: &Path, free_bytes: Option<u64>) -> Vec<Check> {
    let mut found = Findings::about("State");
    match try_writing(dir) {
        Ok(()) => found.ok(format!("{} can be written and synced", dir.display())),
        Err(error) => found.bad(format!(
            "{} cannot be written ({error}): make it with mkdir -p, owned by whoever runs the bot",
            dir.display()
        )),
    }
    match free_bytes {
        Some(free) if free < FREE_BYTES_MIN => {
            found.bad(format!("{} MB free: the record cannot grow; make room or a larger volume", free >> 20));
        }
        Some(free) if free < FREE_BYTES_WARNING => {
            found.warn(format!("{} MB free: enough for now; make room soon", free >> 20))
        }
        Some(free) => found.ok(format!("{} MB free", free >> 20)),
        None => found.add(crate::domain::health::Mark::Unknown, "how much room the disk has could not be found out"),
    }
    found.checks
}

/// The folder, or the nearest one above it that is there.
pub(super) fn nearest(dir: &Path) -> &Path {
    let there = dir.ancestors().find(|above| above.is_dir());
    there.unwrap_or_else(|| Path::new("."))
}

/// Writes, syncs and removes a file, in the folder or, when it is not there yet, in one made for the purpose and removed again.
fn try_writing(dir: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    let tried = fs::create_dir_all(dir).and_then(|()| try_writing_in(dir));
    for made in missing {
        // One that was never made, or that somebody else has put something into meanwhile, stays as it is.
        let _ = fs::remove_dir(made);
    }
    tried
}

fn try_writing_in(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let mut file = fs::File::create(&path)?;
    let written = file.write_all(b"watchbell doctor\n").and_then(|()| file.sync_all());
    drop(file);
    fs::remove_file(&path)?;
    written
}

pub(super) fn calendar(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    let mut found = Findings::about("Calendar");
    let zone = config.workspace.team.zone;
    found.ok(format!("the team's zone is {zone}, where it is now {}", now.with_timezone(&zone).format("%A %H:%M")));
    for job in &config.policy.jobs {
        match Schedule::parse(&job.cron) {
            Ok(schedule) => {
                let times: Vec<String> = schedule
                    .next_times(zone, now, TIMES)
                    .into_iter()
                    .map(|at| at.with_timezone(&zone).format("%a %d %b %H:%M").to_string())
                    .collect();
                let words = format!("“{}” runs {}", job.name, schedule.in_words());
                if times.is_empty() {
                    found.warn(format!("{words}, which never comes: look at its cron line"));
                } else {
                    found.ok(format!("{words}; next {}", times.join(", ")));
                }
            }
            Err(error) => found.bad(format!("“{}”: {error}", job.name)),
        }
    }
    found.checks
}

/// The habits that keep a bot alive on Fly, when a fly.toml lies beside the configuration.
pub(super) fn fly_toml(config: &Config) -> Vec<Check> {
    let beside = config.path.parent().unwrap_or_else(|| Path::new("")).join("fly.toml");
    let Ok(text) = fs::read_to_string(&beside) else { return Vec::new() };
    let mut found = Findings::about("fly.toml");
    let file: toml::Table = match text.parse() {
        Ok(file) => file,
        Err(error) => {
            found.bad(format!("cannot be read: {}", error.message()));
            return found.checks;
        }
    };
    let services: Vec<&toml::Value> = ["http_service", "services"]
        .into_iter()
        .filter_map(|key| file.get(key))
        .flat_map(|value| value.as_array().map_or_else(|| vec![value], |many| many.iter().collect()))
        .collect();
    let sleeps = services.iter().any(|service| match service.get("auto_stop_machines") {
        Some(toml::Value::String(word)) => word != "off",
        Some(toml::Value::Boolean(stops)) => *stops,
        _ => false,
    });
    if sleeps {
        found.bad("auto_stop_machines puts the bot to sleep, and a sleeping bot keeps no promise: set it to \"off\"");
    } else {
        found.ok("nothing puts the bot to sleep");
    }
    let under = |mount: &toml::Value| {
        let to = mount.get("destination").and_then(toml::Value::as_str).unwrap_or_default();
        !to.is_empty() && config.state_dir.starts_with(to)
    };
    let mounts: Vec<&toml::Value> = file
        .get("mounts")
        .map_or_else(Vec::new, |mounts| mounts.as_array().map_or_else(|| vec![mounts], |many| many.iter().collect()));
    if mounts.iter().any(|mount| under(mount)) {
        found.ok("the state folder lies on a volume");
    } else {
        found.bad(format!(
            "[mounts] holds no volume over {}: without one every deploy forgets the record",
            config.state_dir.display()
        ));
    }
    if file.get("kill_signal").and_then(toml::Value::as_str) == Some("SIGTERM") {
        found.ok("stopped with SIGTERM");
    } else {
        found.warn("kill_signal is not \"SIGTERM\": set it, so that the bot puts everything away before it stops");
    }
    match seconds(file.get("kill_timeout")) {
        Some(seconds) if seconds >= KILL_TIMEOUT_MIN_S => found.ok(format!("{seconds} s to stop in")),
        _ => found.warn(format!(
            "kill_timeout is under {KILL_TIMEOUT_MIN_S} s (5 when not set): set kill_timeout = {KILL_TIMEOUT_MIN_S}"
        )),
    }
    let strategy = file.get("deploy").and_then(|deploy| deploy.get("strategy")).and_then(toml::Value::as_str);
    match strategy {
        None | Some("rolling") => found.ok("deployed rolling, which waits for the checks"),
        Some("immediate") => found.warn("[deploy] strategy immediate skips the checks: use rolling"),
        Some(other) => found.bad(format!("[deploy] strategy {other} cannot be done with a volume: use rolling")),
    }
    let checked = file.contains_key("checks")
        || services
            .iter()
            .any(|service| ["checks", "http_checks", "tcp_checks"].iter().any(|key| service.get(key).is_some()));
    if checked {
        found.ok("Fly checks its health");
    } else {
        found.warn("no [checks]: a deploy that does not come up counts as done; add one on /healthz");
    }
    found.checks
}

/// fly.toml takes a number of seconds, or a span as text.
fn seconds(value: Option<&toml::Value>) -> Option<i64> {
    match value? {
        toml::Value::Integer(seconds) => Some(*seconds),
        toml::Value::String(text) => {
            let span: crate::domain::policy::Span = text.parse().ok()?;
            Some(span.delta().num_seconds())
        }
        _ => None,
    }
}

/// Whether the example's ids are still in place; for the remedy that Discord's own answer would not give.
pub(super) fn placeholder_people(config: &Config) -> Vec<&str> {
    config
        .workspace
        .people
        .iter()
        .filter(|member| is_placeholder(member.chat.as_str()))
        .map(|member| member.name.as_str())
        .collect()
}
