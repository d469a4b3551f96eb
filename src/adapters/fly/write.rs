//! One write to a machine, and certainty about what came of it.
//!
//! A lost answer is never taken for a refusal: the machine is read and compared with our mark before anything is sent again.
//! A write names the version that was read, so that one that arrives late changes nothing a second time. Looks for a call-off
//! until the first write may have been heard, and not after.

use std::time::Duration;

use serde_json::Value;

use super::hand::{Hand, Until, failed, image_of, read_machine, same_image};
use super::model::Machine;
use super::troubles::{Meaning, meaning};
use super::wire::{Ask, FlyError, backoff};
use crate::domain::hosting::{Autostop, Guest, Image, ReleaseRef, StepEnd, Trouble};
use crate::ports::hosting::CallOff;

/// Writes of one step that may be sent when answers are lost.
const WRITES_MAX: u32 = 3;
/// The wait before a machine between two states is asked again.
const PASSING_AGAIN: Duration = Duration::from_millis(250);
/// The key of our mark in a machine's metadata.
pub(super) const MARK: &str = "watchbell_step";

/// A change of a machine's configuration, marked so that it is known again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edit<'a> {
    /// Another image, for a release.
    Image(&'a Image, Option<&'a ReleaseRef>),
    /// Another size.
    Guest(&'a Guest),
    /// Whether it is put to sleep and woken.
    Sleep(Sleep),
}

/// When a machine is put to sleep and what wakes it: the same for each of its services, as all machines of a group need them the
/// same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sleep {
    /// What becomes of it when nobody asks.
    pub(super) autostop: Autostop,
    /// Whether a request wakes it.
    pub(super) autostart: bool,
    /// How many of its group are kept up; as it was when nothing is said.
    pub(super) min_running: Option<u16>,
}

impl Sleep {
    /// Down for good. All three, because what is put to sleep and never woken by itself would trap whoever starts it by hand.
    pub(super) const NEVER_WOKEN: Self = Self { autostop: Autostop::Off, autostart: false, min_running: Some(0) };

    fn apply(self, service: &mut Value) {
        let Some(fields) = service.as_object_mut() else { return };
        fields.insert("autostop".to_owned(), self.autostop.word().into());
        fields.insert("autostart".to_owned(), self.autostart.into());
        if let Some(least) = self.min_running {
            fields.insert("min_machines_running".to_owned(), least.into());
        }
    }

    fn is_in(self, service: &Value) -> bool {
        // Answers write stop as true and off as false; suspend stays a word.
        let autostop = match service.get("autostop") {
            Some(Value::String(word)) => word == self.autostop.word(),
            Some(Value::Bool(stops)) => self.autostop == if *stops { Autostop::Stop } else { Autostop::Off },
            _ => self.autostop == Autostop::Off,
        };
        // What is zero or false may be left out of an answer.
        let least = service.get("min_machines_running").and_then(Value::as_u64).unwrap_or(0);
        autostop
            && service.get("autostart").and_then(Value::as_bool).unwrap_or(false) == self.autostart
            && self.min_running.is_none_or(|wanted| u64::from(wanted) == least)
    }
}

impl Edit<'_> {
    /// The configuration with the change and the mark, and nothing else different.
    pub(super) fn apply(&self, config: &Value, mark: &str) -> Result<Value, String> {
        let mut config = config.clone();
        let fields = config.as_object_mut().ok_or("Fly told no configuration of it")?;
        let mut marks = vec![(MARK, mark.to_owned())];
        match self {
            Self::Image(to, release) => {
                fields.insert("image".to_owned(), to.reference.clone().into());
                if let Some(release) = release {
                    marks.push(("fly_release_id", release.id.clone()));
                    marks.push(("fly_release_version", release.version.to_string()));
                }
            }
            Self::Guest(guest) => {
                let size = fields.entry("guest").or_insert_with(|| Value::Object(serde_json::Map::new()));
                let size = size.as_object_mut().ok_or("Fly told a size of it that is none")?;
                size.insert("cpu_kind".to_owned(), guest.cpu_kind.clone().into());
                size.insert("cpus".to_owned(), guest.cpus.into());
                size.insert("memory_mb".to_owned(), guest.memory_mb.into());
                // Beside a guest, the name of a ready-made size would be a second opinion.
                fields.remove("size");
            }
            Self::Sleep(sleep) => {
                let services = fields.get_mut("services").and_then(Value::as_array_mut);
                services.into_iter().flatten().for_each(|service| sleep.apply(service));
            }
        }
        let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if metadata.is_null() {
            *metadata = Value::Object(serde_json::Map::new());
        }
        let metadata = metadata.as_object_mut().ok_or("Fly told metadata of it that are none")?;
        metadata.extend(marks.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        Ok(config)
    }

    /// Whether this very step has changed the machine so already.
    pub(super) fn is_done(&self, machine: &Machine, mark: &str) -> bool {
        let config = &machine.config;
        let marked = config.pointer("/metadata/watchbell_step").and_then(Value::as_str) == Some(mark);
        marked
            && match self {
                Self::Image(to, _) => {
                    let written = config.get("image").and_then(Value::as_str);
                    written == Some(to.reference.as_str()) || same_image(&image_of(machine), to)
                }
                Self::Guest(guest) => {
                    let is = |key: &str, value: Value| config.pointer(&format!("/guest/{key}")) == Some(&value);
                    is("cpu_kind", guest.cpu_kind.clone().into())
                        && is("cpus", guest.cpus.into())
                        && is("memory_mb", guest.memory_mb.into())
                }
                Self::Sleep(sleep) => {
                    let services = config.get("services").and_then(Value::as_array);
                    services.into_iter().flatten().all(|service| sleep.is_in(service))
                }
            }
    }
}

/// What a write is about.
pub(super) struct Write<'a> {
    pub(super) hand: &'a Hand,
    /// The machine as it was read under the lease.
    pub(super) fresh: &'a Machine,
    /// What is sent.
    pub(super) ask: Ask<'a>,
    /// Whether a machine shows that it was done.
    pub(super) is_done: &'a (dyn Fn(&Machine) -> bool + Sync),
    /// Whether it changes the configuration, so that what was before is worth keeping.
    pub(super) changes: bool,
    /// The step's time.
    pub(super) until: Until,
}

impl Write<'_> {
    /// Writes it once, whatever happens to the answer; the machine after it.
    ///
    /// # Errors
    /// How the step ended.
    pub(super) async fn send(&self, off: &CallOff) -> Result<Machine, StepEnd> {
        let (hand, id) = (self.hand, self.fresh.id.as_str());
        let mut passing: Option<Until> = None;
        // How many answers were lost, and of how many of those the request may have been heard.
        let (mut lost, mut heard) = (0, 0);
        loop {
            if heard == 0 && off.is_off() {
                return Err(StepEnd::CalledOff);
            }
            let error = match hand.wire.once(&self.ask).await {
                Ok(answer) => match read_machine(&answer) {
                    // Answers other than to an update hold no configuration.
                    Ok(machine) if machine.config.is_object() => return Ok(machine),
                    _ => return self.read().await.map_err(|error| self.uncertain(&error)),
                },
                Err(error) => error,
            };
            match meaning(&error) {
                Meaning::Passing => {
                    let passing = *passing.get_or_insert_with(|| Until::after(hand.patience.passing));
                    if passing.is_over() || self.until.is_over() {
                        let says = format!("machine {id} stays between two states: {error}");
                        return Err(self.refused(Trouble::Refused, says).await);
                    }
                    self.until.sleep(PASSING_AGAIN).await;
                }
                Meaning::TooFast if !self.until.is_over() => {
                    self.until.sleep(backoff(0, &error).max(PASSING_AGAIN)).await;
                }
                Meaning::TooFast => return Err(self.refused(Trouble::Unreachable, error.to_string()).await),
                Meaning::Unknown => {
                    lost += 1;
                    heard += u32::from(!error.unsent);
                    self.until.sleep(backoff(lost, &error)).await;
                    // Nothing is sent again before it is known what came of this.
                    let now = self.read().await.map_err(|_| self.uncertain(&error))?;
                    if (self.is_done)(&now) {
                        return Ok(now);
                    }
                    if now.instance_id != self.fresh.instance_id {
                        return Err(self.drifted());
                    }
                    if lost >= WRITES_MAX || self.until.is_over() {
                        let says = format!("machine {id} was not changed: {error}");
                        return Err(failed(Trouble::Unreachable, says, None));
                    }
                }
                Meaning::Refused(trouble) => {
                    // The second of two that were both heard is refused because the first was done.
                    if heard > 0
                        && let Ok(now) = self.read().await
                        && (self.is_done)(&now)
                    {
                        return Ok(now);
                    }
                    return Err(self.refused(trouble, error.to_string()).await);
                }
            }
        }
    }

    async fn read(&self) -> Result<Machine, FlyError> {
        self.hand.machine(&self.fresh.id, self.until).await
    }

    /// Refused, and perhaps changed all the same: no room, for one, is said after the configuration was stored.
    async fn refused(&self, trouble: Trouble, says: String) -> StepEnd {
        let id = &self.fresh.id;
        let now = self.read().await.ok();
        let done = now.as_ref().is_some_and(|now| self.changes && (self.is_done)(now));
        if !done && trouble == Trouble::Refused && now.is_some_and(|now| now.instance_id != self.fresh.instance_id) {
            return self.drifted();
        }
        let what = match &trouble {
            Trouble::LeaseHeld { .. } => format!("somebody else works on machine {id}"),
            Trouble::NoRoom => format!("there is no room for machine {id} on the hardware"),
            Trouble::ImageGone => format!("the image for machine {id} cannot be had any more"),
            Trouble::Gone => format!("machine {id} is not there any more"),
            Trouble::NoRights => format!("machine {id} may not be changed"),
            _ => return failed(trouble, says, done.then(|| self.fresh.config.clone())),
        };
        failed(trouble, format!("{what}: {says}"), done.then(|| self.fresh.config.clone()))
    }

    fn drifted(&self) -> StepEnd {
        let says = format!("somebody else changed machine {} meanwhile; it was left as it is", self.fresh.id);
        failed(Trouble::Drifted, says, None)
    }

    fn uncertain(&self, error: &FlyError) -> StepEnd {
        let says = format!("whether machine {} was changed could not be read: {error}", self.fresh.id);
        failed(Trouble::Unreachable, says, self.changes.then(|| self.fresh.config.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_to_change_changes() {
        let config = json!({"image": "shop:v1", "size": "shared-cpu-1x", "new_of_fly": {"a": [1, null]},
            "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256, "kernel_args": ["x"]},
            "services": [{"autostop": true}], "metadata": {"fly_release_id": "r1", "mine": "yes"}});
        let to = Image::new("shop:v2");
        let release = ReleaseRef { id: "r2".to_owned(), version: 43 };
        let mut wanted = config.clone();
        wanted["image"] = json!("shop:v2");
        wanted["metadata"] =
            json!({"fly_release_id": "r2", "fly_release_version": "43", "mine": "yes", "watchbell_step": "s"});
        let edit = Edit::Image(&to, Some(&release));
        assert_eq!(edit.apply(&config, "s"), Ok(wanted.clone()));
        let machine =
            |config: &Value| Machine::read(&json!({"id": "m", "config": config})).unwrap_or_else(|| panic!("one"));
        assert!(edit.is_done(&machine(&wanted), "s") && !edit.is_done(&machine(&wanted), "other"));
        wanted["image"] = json!("shop:v3");
        assert!(!edit.is_done(&machine(&wanted), "s"), "the mark alone proves nothing");

        let guest = Guest { cpu_kind: "shared".to_owned(), cpus: 2, memory_mb: 512 };
        let sized = Edit::Guest(&guest).apply(&config, "s").unwrap_or_default();
        assert_eq!(sized["guest"], json!({"cpu_kind": "shared", "cpus": 2, "memory_mb": 512, "kernel_args": ["x"]}));
        assert_eq!((&sized["image"], sized.get("size")), (&json!("shop:v1"), None));
        assert!(Edit::Guest(&guest).is_done(&machine(&sized), "s"));

        let services = json!([{"internal_port": 1, "autostop": true, "autostart": true}, {"autostop": "suspend"}]);
        let awake = json!({"image": "shop:v1", "services": services});
        let edit_sleep = Edit::Sleep(Sleep::NEVER_WOKEN);
        let asleep = edit_sleep.apply(&awake, "s").unwrap_or_default();
        let never = json!({"autostop": "off", "autostart": false, "min_machines_running": 0});
        assert_eq!(asleep["services"][1], never);
        assert_eq!((&asleep["services"][0]["internal_port"], &asleep["image"]), (&json!(1), &json!("shop:v1")));
        assert!(edit_sleep.is_done(&machine(&asleep), "s"));
        // As Fly answers: truth values for words, and no word for nothing.
        let mut answered = asleep.clone();
        answered["services"] = json!([{"autostop": false}, {"autostop": false, "autostart": false}]);
        assert!(edit_sleep.is_done(&machine(&answered), "s"));
        answered["services"][1]["autostart"] = json!(true);
        assert!(!edit_sleep.is_done(&machine(&answered), "s"));
        let only = edit_sleep.apply(&json!({"image": "worker"}), "s").unwrap_or_default();
        assert_eq!(only.get("services"), None, "what has no services gets none");

        assert!(edit.apply(&Value::Null, "s").is_err());
        let bare = edit.apply(&json!({"metadata": null}), "s").unwrap_or_default();
        assert_eq!(bare["metadata"]["watchbell_step"], "s");
    }
}
