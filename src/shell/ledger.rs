//! What was done at the host, read from the state folder alone: every change, and one change's facts with each machine's whole
//! configuration before and after. For whoever has to undo by hand when the host's own records are gone.
//!
//! Takes no lock and writes nothing, so it can be read beside a bot that runs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::record;
use crate::adapters::store::{FsDisk, log};
use crate::domain::deploy::Deploy;
use crate::domain::fact::Fact;
use crate::domain::ids::{DeployId, Thing};
use crate::domain::state::follow;
use crate::domain::text::deploys;

/// A line a change, the oldest first: number, when, what, what came of it, who.
pub fn list(folder: &Path) -> Vec<String> {
    let disk = FsDisk::new(folder);
    let mut all: BTreeMap<DeployId, Deploy> = BTreeMap::new();
    for line in log::read_folder(&disk, 0).filter_map(Result::ok) {
        let (decided, _) = record::decided(&line);
        decided.facts.iter().for_each(|(on, fact)| follow(&mut all, decided.at, *on, fact));
    }
    all.values().map(one).collect()
}

/// Which of a machine's kept configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As it was before.
    Before,
    /// As it was after.
    After,
}

/// One machine's configuration as it was kept: of this change, or of the newest one that has it.
///
/// # Errors
/// When none was kept, or it cannot be read.
pub fn config(folder: &Path, id: Option<DeployId>, machine: &str, side: Side) -> anyhow::Result<Value> {
    let disk = FsDisk::new(folder);
    let mut found: Option<String> = None;
    for line in log::read_folder(&disk, 0).filter_map(Result::ok) {
        let (decided, _) = record::decided(&line);
        for (on, fact) in &decided.facts {
            let Thing::Deploy(of) = on else { continue };
            let Some((changed, before, after)) = changed(fact).filter(|_| id.is_none_or(|id| id == *of)) else {
                continue;
            };
            let kept = if side == Side::Before { before } else { after };
            if changed == machine && kept.is_some() {
                found = kept.cloned();
            }
        }
    }
    let of = id.map_or_else(|| "any change".to_owned(), |id| id.to_string());
    let name = found.ok_or_else(|| anyhow!("no such configuration of machine {machine} is on record for {of}"))?;
    read(&disk, &name).with_context(|| format!("the configuration was kept as {name}"))
}

/// What a fact tells of a machine's configurations: which machine, and the names of those before and after.
fn changed(fact: &Fact) -> Option<(&str, Option<&String>, Option<&String>)> {
    match fact {
        Fact::MachineDone { machine, before, after } => Some((machine, before.as_ref(), after.as_ref())),
        Fact::MachineFailed { machine, before, .. } | Fact::MachineTriedAgain { machine, before, .. } => {
            Some((machine, before.as_ref(), None))
        }
        _ => None,
    }
}

fn one(deploy: &Deploy) -> String {
    let at = deploy.started_at.unwrap_or(deploy.asked_at).format("%Y-%m-%dT%H:%M:%SZ");
    let word = match deploy.verdict {
        Some(verdict) => verdict.words(),
        None if deploy.is_waiting() => "planned",
        None => "under way",
    };
    let by = deploy.started_by.as_ref().unwrap_or(&deploy.by);
    format!("{at} {}: {word}; {by}", deploys::headline(deploy))
}

/// One change: its facts in order, and of each machine that was changed the configuration before and after.
///
/// # Errors
/// When there is no such change on record.
pub fn show(folder: &Path, id: DeployId) -> anyhow::Result<Value> {
    let disk = FsDisk::new(folder);
    let (mut facts, mut machines) = (Vec::new(), Vec::new());
    for line in log::read_folder(&disk, 0).filter_map(Result::ok) {
        let (decided, _) = record::decided(&line);
        for (on, fact) in &decided.facts {
            if *on != Thing::Deploy(id) {
                continue;
            }
            facts.push(json!({ "line": line.seq, "at": decided.at.to_rfc3339(), "fact": fact }));
            let Some((machine, before, after)) = changed(fact) else { continue };
            if before.is_some() || after.is_some() {
                let (before, after) = (kept(&disk, before), kept(&disk, after));
                machines.push(json!({ "machine": machine, "before": before, "after": after }));
            }
        }
    }
    if facts.is_empty() {
        return Err(anyhow!("there is no {id} on record in {}", folder.display()));
    }
    Ok(json!({ "change": id.to_string(), "facts": facts, "machines": machines }))
}

/// A configuration that was kept; why not, in its place, when it cannot be read.
fn kept(disk: &FsDisk, name: Option<&String>) -> Value {
    let Some(name) = name else { return Value::Null };
    read(disk, name).unwrap_or_else(|error| json!({ "kept_as": name, "lost": format!("{error:#}") }))
}

fn read(disk: &FsDisk, name: &str) -> anyhow::Result<Value> {
    let bytes = log::blob::get(disk, name).context("it cannot be read")?;
    serde_json::from_slice(&bytes).context("it is no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::store::{self, Options};
    use crate::domain::ids::Person;
    use crate::ports::journal::{Entry, Journal as _};

    #[test]
    fn a_change_is_shown_with_what_each_machine_was_before() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let was = json!({"image": "shop:v42", "guest": {"memory_mb": 256}});
        {
            let mut opened = store::open(folder.path(), &Options { sled: false, ..Options::at(0) })?;
            let mut disk = FsDisk::new(folder.path());
            let before = Some(log::blob::put(&mut disk, was.to_string().as_bytes())?);
            let after = Some("0".repeat(64));
            let machine = "1781000a".to_owned();
            let again = Fact::MachineTriedAgain {
                machine: "1781000c".to_owned(),
                effect: crate::domain::ids::EffectId { seq: 3, n: 0 },
                says: "its checks fail".to_owned(),
                before: before.clone(),
            };
            let facts = [
                again,
                Fact::DeployStopped { by: Person::new("discord:1") },
                Fact::MachineDone { machine, before, after },
            ];
            let facts = facts.iter().map(|fact| {
                let mut value = serde_json::to_value(fact).unwrap_or_default();
                value["on"] = json!("dep/00000001");
                value.to_string()
            });
            let entry = Entry { facts: facts.collect(), team: "t".to_owned(), ..Entry::default() };
            let epoch = opened.journal.epoch();
            opened.journal.append(epoch, vec![entry])?;
        }
        let shown = show(folder.path(), DeployId(1))?;
        assert_eq!((&shown["machines"][0]["machine"], &shown["machines"][0]["before"]), (&json!("1781000c"), &was));
        assert_eq!(shown["machines"][1]["machine"], "1781000a");
        assert_eq!(shown["machines"][1]["before"], was);
        assert!(shown["machines"][1]["after"]["lost"].is_string(), "what is lost is said, and hides nothing else");
        assert_eq!(shown["facts"].as_array().map(Vec::len), Some(3));
        assert_eq!(config(folder.path(), None, "1781000c", Side::Before)?, was);
        assert!(show(folder.path(), DeployId(2)).is_err());
        assert_eq!(config(folder.path(), None, "1781000a", Side::Before)?, was);
        assert_eq!(config(folder.path(), Some(DeployId(1)), "1781000a", Side::Before)?, was);
        for (id, machine, side) in [
            (Some(DeployId(2)), "1781000a", Side::Before),
            (None, "1781000b", Side::Before),
            (None, "1781000a", Side::After),
        ] {
            assert!(config(folder.path(), id, machine, side).is_err(), "{id:?} {machine} {side:?}");
        }
        Ok(())
    }
}
