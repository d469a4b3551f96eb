//! An image tried on a machine of its own before any machine that serves gets it: flyctl's canary.
//!
//! Owns that the machine is taken away again, whatever came of the trial, also by whoever is asked again after a crash. Nothing of
//! it is kept: a trial whose end was lost is made anew. Source: flyctl internal/command/deploy/machines_deploymachinesapp.go
//! (deployCanaryMachines), which makes it with the configuration of its group, out of DNS, and waits until it is well. Other than
//! there, no request of a user reaches it: it is made unregistered, as flyctl makes the green machines of a bluegreen deploy, whose
//! checks run all the same.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::extra::{Extra, Wish, marks};
use super::hand::{Hand, Until, failed};
use super::inventory::CANARY;
use super::model::Machine;
use super::waiting::{Want, until_well};
use crate::domain::hosting::{Image, ReleaseRef, StepEnd, Trouble};
use crate::ports::hosting::{CallOff, StepCall};

/// The time of a step that is kept for taking its machine away, at most.
const DESTROY_MAX: Duration = Duration::from_secs(20);

/// Tries it.
pub(super) async fn run(
    hand: &Arc<Hand>,
    call: &StepCall,
    off: &CallOff,
    like: &str,
    to: &Image,
    release: Option<&ReleaseRef>,
) -> StepEnd {
    let all = Until::step(call.within);
    let until = Until::after(all.left().saturating_sub(DESTROY_MAX.min(call.within / 4)));
    let extra = Extra { hand, call };
    let made = match extra.find(until).await {
        Ok(Some(before)) if before.is_there() => before,
        Ok(_) if off.is_off() => return StepEnd::CalledOff,
        Ok(_) => {
            let like = match hand.machine(like, until).await {
                Ok(machine) => machine,
                Err(error) => {
                    let says = format!("machine {like} could not be read, so nothing was tried: {error}");
                    return failed(Trouble::Unreachable, says, None);
                }
            };
            let wish = match wish(call, &like, to, release) {
                Ok(wish) => wish,
                Err(why) => return failed(Trouble::Refused, format!("the image was not tried: {why}"), None),
            };
            match extra.make(&wish, off, until).await {
                Ok(machine) => machine,
                Err(end) => return end,
            }
        }
        Err(error) => {
            let says = format!("whether a trial is there already could not be read, so nothing was tried: {error}");
            return failed(Trouble::Unreachable, says, None);
        }
    };
    let id = made.id.as_str();
    let well = match extra.look(id, Until::after(hand.patience.passing), until).await {
        Ok(machine) => until_well(hand, id, &Want::made(&machine), until).await.map(|_| ()),
        Err(error) => Err((Trouble::Unreachable, format!("machine {id} of the trial could not be read: {error}"))),
    };
    let gone = extra.destroy(id, all).await;
    match (well, gone) {
        (Ok(()), Ok(())) => StepEnd::Done { before: None, after: None, release: None },
        (Err((trouble, says)), Ok(())) => failed(trouble, format!("the trial failed: {says}"), None),
        (well, Err(error)) => {
            let tried = well
                .map_or_else(|(_, says)| format!("the trial failed: {says}"), |()| "the trial went well".to_owned());
            let app = &hand.app;
            let says = format!(
                "{tried}; and its machine {id} could not be taken away ({error}): `fly machine destroy {id} --app {app} --force`"
            );
            failed(Trouble::Refused, says, None)
        }
    }
}

/// Its machine: like the one that serves, but for the image, and known for what it is.
fn wish(call: &StepCall, like: &Machine, to: &Image, release: Option<&ReleaseRef>) -> Result<Wish, String> {
    let id = &like.id;
    let mut config = like.config.clone();
    let fields = config.as_object_mut().ok_or_else(|| format!("Fly told no configuration of machine {id}"))?;
    if fields.get("mounts").and_then(Value::as_array).is_some_and(|mounts| !mounts.is_empty()) {
        return Err(format!("machine {id} has a volume, and a second machine cannot have it too"));
    }
    fields.insert("image".to_owned(), to.reference.clone().into());
    // A standby starts only when another fails.
    fields.remove("standbys");
    let part = |fields: &mut Map<String, Value>, key: &str| {
        fields.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let mut dns = part(fields, "dns");
    dns.insert("skip_registration".to_owned(), true.into());
    fields.insert("dns".to_owned(), dns.into());
    let mut metadata = part(fields, "metadata");
    metadata.insert(CANARY.to_owned(), "true".into());
    metadata.extend(marks(call, release).into_iter().map(|(key, value)| (key.to_owned(), json!(value))));
    fields.insert("metadata".to_owned(), metadata.into());
    Ok(Wish { called: "the trial's machine", config, region: like.region.clone(), unserved: true })
}
