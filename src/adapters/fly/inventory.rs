//! What runs of an app and what was released, read for a plan.
//!
//! The machines must answer; everything else may fail and is then not known. Changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::client::read_list;
use super::hand::{Hand, image_of, same_image};
use super::model::{Machine, moment};
use super::release::{current, list};
use super::wire::{Ask, FlyError, Side, Wire};
use crate::domain::hosting::{Exited, Inventory, Lived, Release, Running, Secret};

/// The longest that is waited for what the machines do not depend on.
const EXTRAS_MAX: Duration = Duration::from_secs(15);
/// Process groups that serve nobody.
const SERVANTS: [&str; 3] = [RELEASE_COMMAND, "fly_app_console", "fly_app_test_machine_command"];
/// The process group of a release command's machine.
pub(super) const RELEASE_COMMAND: &str = "fly_app_release_command";
/// The platform whose machines belong to an app's deploys.
pub(super) const PLATFORM: &str = "v2";
/// The metadata of a machine on which an image is only tried.
pub(super) const CANARY: &str = "fly_canary";

/// Takes it. Each of `wires` is asked until one may read the machines; `hand` remembers what the app is made of.
///
/// # Errors
/// A sentence, when none could.
pub(super) async fn take(wires: &[&Wire], hand: Option<&Hand>, app: &str) -> Result<Inventory, String> {
    let mut said = String::new();
    for wire in wires {
        match machines(wire, app).await {
            Ok(machines) => return Ok(with_machines(wire, hand, app, machines).await),
            Err(error) => said = error.to_string(),
        }
    }
    match said.as_str() {
        "" => Err(format!("there is no token to look at {app} with")),
        _ => Err(format!("the machines of {app} could not be read: {said}")),
    }
}

/// What happened to the machines of an app of late. Each of `wires` is asked until one may read them; `now` is promise time.
///
/// # Errors
/// A sentence, when none could.
#[expect(clippy::disallowed_methods, reason = "Fly stamps events with wire time")]
pub(super) async fn life(wires: &[&Wire], app: &str, now: DateTime<Utc>) -> Result<Vec<Lived>, String> {
    let mut said = format!("there is no token to look at {app} with");
    for wire in wires {
        match machines(wire, app).await {
            Ok(machines) => {
                let ahead = now - Utc::now();
                return Ok(machines
                    .iter()
                    .filter(|machine| is_deployed(machine))
                    .map(|one| lived(one, ahead))
                    .collect());
            }
            Err(error) => said = format!("the machines of {app} could not be read: {error}"),
        }
    }
    Err(said)
}

/// A machine's life, moved onto promise time, which is so far ahead of Fly's.
fn lived(machine: &Machine, ahead: TimeDelta) -> Lived {
    let exits = machine.events.iter().flatten().filter_map(|event| {
        let exit = event.exit?;
        let wire = event.at?;
        let (at_ms, at) = (wire.timestamp_millis(), wire.checked_add_signed(ahead)?);
        Some(Exited { at_ms, at, code: exit.code, oom_killed: exit.oom_killed, requested: exit.requested })
    });
    Lived {
        id: machine.id.clone(),
        state: machine.state.clone(),
        // What is not said is well, as flyctl has it.
        host_ok: matches!(machine.host_status.as_str(), "ok" | ""),
        exits: exits.collect(),
    }
}

/// The machines of an app that are there.
///
/// # Errors
/// As Fly says.
pub(super) async fn machines(wire: &Wire, app: &str) -> Result<Vec<Machine>, FlyError> {
    let answer = wire.question(Ask::get("list machines", app, Side::Machines, &["apps", app, "machines"])).await?;
    let mut machines = read_list(&answer, "machines", Machine::read)?;
    machines.retain(Machine::is_there);
    Ok(machines)
}

#[expect(clippy::disallowed_methods, reason = "when Fly was asked is wire time")]
async fn with_machines(wire: &Wire, hand: Option<&Hand>, app: &str, all: Vec<Machine>) -> Inventory {
    let at = Utc::now();
    let in_time = |why: &str| format!("{why} within {} s", EXTRAS_MAX.as_secs());
    let (releases, current, secrets) = tokio::join!(
        tokio::time::timeout(EXTRAS_MAX, list(wire, app)),
        tokio::time::timeout(EXTRAS_MAX, current(wire, app)),
        tokio::time::timeout(EXTRAS_MAX, secrets(wire, app)),
    );
    let mut machines: Vec<Running> = all.iter().filter(|machine| is_deployed(machine)).map(running).collect();
    machines.sort_by(|one, other| {
        let key = |machine: &Running| (machine.group.clone(), machine.region.clone(), machine.name.clone());
        key(one).cmp(&key(other)).then_with(|| one.id.cmp(&other.id))
    });
    let mut releases = releases.unwrap_or_else(|_| Err(in_time("Fly did not tell the releases")));
    if let Ok(releases) = &mut releases {
        resolve(releases, &machines);
    }
    let current = current.map_or_else(
        |_| Err(in_time("Fly did not tell the configuration")),
        |read| read.map_err(|error| error.to_string()),
    );
    if let (Ok(current), Some(hand)) = (&current, hand) {
        hand.remember(current);
    }
    let command = |definition: &Value| {
        let command = definition.pointer("/deploy/release_command")?.as_str()?;
        Some(command.to_owned()).filter(|command| !command.trim().is_empty())
    };
    let ran = || all.iter().filter(|machine| group(machine) == RELEASE_COMMAND).find_map(command_of);
    // Where the configuration is not told, nobody can say that there is none.
    let release_command = match &current {
        Ok(current) if current.definition.is_object() => Ok(command(&current.definition).or_else(ran)),
        Ok(_) => Err("it tells its release without the configuration".to_owned()),
        Err(why) => Err(why.clone()),
    };
    let told = || current.as_ref().ok().and_then(|current| current.secrets.iter().filter_map(newest_of).max());
    let secrets = secrets.unwrap_or_else(|_| Err(in_time("Fly did not tell the secrets")));
    let secrets_at = secrets.iter().flatten().filter_map(|secret| secret.at).max().or_else(told);
    Inventory { app: app.to_owned(), at, machines, releases, release_command, secrets_at, secrets }
}

/// The secrets as the Machines API lists them: of each its name, its digest and when it was set. A value is never taken over.
async fn secrets(wire: &Wire, app: &str) -> Result<Vec<Secret>, String> {
    let ask = Ask::get("list secrets", app, Side::Machines, &["apps", app, "secrets"]);
    let answer = wire.question(ask).await.map_err(|error| error.to_string())?;
    let text = |secret: &Value, key: &str| secret.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let secret =
        |found: &Value| Secret { name: text(found, "name"), digest: text(found, "digest"), at: newest_of(found) };
    let found = answer.get("secrets").and_then(Value::as_array).into_iter().flatten();
    Ok(found.map(secret).filter(|secret| !secret.name.is_empty()).collect())
}

/// When one secret was last set.
fn newest_of(secret: &Value) -> Option<DateTime<Utc>> {
    let at = |key: &str| moment(secret.get(key));
    ["updated_at", "created_at", "createdAt"].into_iter().filter_map(at).max()
}

/// Whether a deploy is about it: of the platform, serving, and there to stay.
pub(super) fn is_deployed(machine: &Machine) -> bool {
    let said = |key: &str| machine.config.get("metadata")?.get(key)?.as_str();
    said("fly_platform_version") == Some(PLATFORM) && said(CANARY).is_none() && !SERVANTS.contains(&group(machine))
}

/// Its process group.
pub(super) fn group(machine: &Machine) -> &str {
    let said = ["/metadata/fly_process_group", "/env/FLY_PROCESS_GROUP"];
    said.iter().find_map(|place| machine.config.pointer(place)?.as_str()).unwrap_or("app")
}

/// What a release command's own machine runs.
fn command_of(machine: &Machine) -> Option<String> {
    let words = machine.config.pointer("/init/cmd")?.as_array()?;
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    Some(words.join(" ")).filter(|command| !command.is_empty())
}

/// A machine as a plan looks at it.
pub fn running(machine: &Machine) -> Running {
    Running {
        id: machine.id.clone(),
        name: machine.name.clone(),
        region: machine.region.clone(),
        group: group(machine).to_owned(),
        state: machine.state.clone(),
        image: image_of(machine),
        instance: machine.instance_id.clone(),
        config_sha256: sha256(&machine.config),
        host_ok: matches!(machine.host_status.as_str(), "ok" | ""),
        cordoned: machine.cordoned,
        has_volume: machine.config.get("mounts").and_then(Value::as_array).is_some_and(|mounts| !mounts.is_empty()),
        may_sleep: machine.may_sleep(),
        checks: u16::try_from(machine.checks_configured()).unwrap_or(u16::MAX),
        guest: machine.guest(),
        rest: machine.rest(),
    }
}

/// Gives releases the digests that machines of the same image tell.
fn resolve(releases: &mut [Release], machines: &[Running]) {
    let known: BTreeMap<&str, &String> = machines
        .iter()
        .filter_map(|machine| Some((machine.image.reference.as_str(), machine.image.digest.as_ref()?)))
        .collect();
    for release in releases.iter_mut().filter(|release| release.image.digest.is_none()) {
        let exact = known.get(release.image.reference.as_str()).copied();
        let alike = || machines.iter().find(|machine| same_image(&machine.image, &release.image));
        release.image.digest = exact.cloned().or_else(|| alike()?.image.digest.clone());
    }
}

/// SHA-256 of canonical JSON, in hex.
fn sha256(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// JSON with its keys in order and no space in it: the same text for the same value, however it was written.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(value, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_configuration_has_the_same_hash() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let one = parse(r#"{"b": [1, {"y": "\"", "x": null}], "a": true}"#);
        let mut text = String::new();
        canonical(&one, &mut text);
        assert_eq!(text, r#"{"a":true,"b":[1,{"x":null,"y":"\""}]}"#);
        assert_eq!(sha256(&one), sha256(&parse(r#"{"a":true,"b":[1,{"x":null,"y":"\""}]}"#)));
        assert_ne!(sha256(&one), sha256(&parse(r#"{"a":true,"b":[{"x":null,"y":"\""},1]}"#)), "an order is an order");
        // The empty text's own, from FIPS 180-2: the hash is the one that others compute.
        assert!(sha256(&json!("")).starts_with("12ae32cb"), "{}", sha256(&json!("")));
    }

    #[test]
    fn a_deploy_is_about_the_machines_that_serve() {
        let machine =
            |config: Value| Machine::read(&json!({"id": "m", "config": config})).unwrap_or_else(|| panic!("one"));
        let of = |metadata: Value| is_deployed(&machine(json!({"metadata": metadata})));
        assert!(of(json!({"fly_platform_version": "v2"})));
        assert!(of(json!({"fly_platform_version": "v2", "fly_process_group": "worker"})));
        assert!(!of(json!({"fly_platform_version": "v2", "fly_process_group": "fly_app_console"})));
        assert!(!of(json!({"fly_platform_version": "v2", "fly_process_group": "fly_app_release_command"})));
        assert!(!of(json!({"fly_platform_version": "v2", "fly_canary": "true"})), "gone in a moment");
        assert!(!of(json!({"fly_process_group": "app"})), "made by hand, outside the app's deploys");
        assert!(!of(json!(null)));
    }
}
