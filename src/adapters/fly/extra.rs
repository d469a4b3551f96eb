//! A machine of its own for one step: made once, found again by the step's mark, and taken away.
//!
//! Owns that no step makes two and that none is left behind. Making one is not idempotent at Fly, so the step's mark stands in its
//! metadata and in its name: the one is looked for before anything is made, the other keeps a twin from being made by an answer
//! that was lost, since no two machines of an app have one name. Knows nothing of what the machine is for.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tracing::debug;

use super::client::read_list;
use super::hand::{Hand, Until, failed, read_machine};
use super::model::Machine;
use super::troubles::{Meaning, meaning};
use super::wire::{Ask, FlyError, Side, backoff};
use super::write::MARK;
use crate::domain::hosting::{StepEnd, Trouble};
use crate::ports::hosting::{CallOff, StepCall};

/// Requests to make one that may be sent when answers are lost.
const MAKES_MAX: u32 = 3;
/// Requests to take one away.
const DESTROYS_MAX: u32 = 6;
/// The wait before a request that came too soon is sent again.
const AGAIN: Duration = Duration::from_millis(250);

/// What is to be made.
pub(super) struct Wish {
    /// What people call it: `the release command's machine`.
    pub(super) called: &'static str,
    /// Its configuration, with the step's mark.
    pub(super) config: Value,
    /// Where; Fly's choice when empty.
    pub(super) region: String,
    /// Kept from traffic.
    pub(super) unserved: bool,
}

/// Makes, finds and takes away the machine of one step.
pub(super) struct Extra<'a> {
    pub(super) hand: &'a Hand,
    pub(super) call: &'a StepCall,
}

impl Extra<'_> {
    /// Its name: small letters, digits and dashes, as Fly's own names are. Which others Fly takes is in no document.
    fn name(&self) -> String {
        let mark = self.call.mark.to_lowercase();
        let mark: String = mark.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("watchbell-{mark}")
    }

    /// The one that this very step made before, also when it is gone by now. How long Fly lists what is gone is in no document.
    ///
    /// # Errors
    /// As Fly says.
    pub(super) async fn find(&self, until: Until) -> Result<Option<Machine>, FlyError> {
        let app = self.hand.app.as_str();
        let ask = self.hand.get("list all machines", app, &["apps", app, "machines"]).query("include_deleted", true);
        let answer = self.hand.question(ask, until).await?;
        let name = self.name();
        let is_ours = |machine: &Machine| {
            let mark = machine.config.get("metadata").and_then(|metadata| metadata.get(MARK)?.as_str());
            machine.name == name || mark == Some(self.call.mark.as_str())
        };
        let mut all = read_list(&answer, "machines", Machine::read)?;
        all.retain(is_ours);
        // What is still there first.
        all.sort_by_key(|machine| !machine.is_there());
        Ok(all.into_iter().next())
    }

    /// Makes it, once, whatever happens to the answer.
    ///
    /// # Errors
    /// How the step ended.
    pub(super) async fn make(&self, wish: &Wish, off: &CallOff, until: Until) -> Result<Machine, StepEnd> {
        let (hand, called) = (self.hand, wish.called);
        let mut body = json!({"name": self.name(), "config": wish.config});
        if !wish.region.is_empty() {
            body["region"] = json!(wish.region);
        }
        if wish.unserved {
            body["skip_service_registration"] = json!(true);
        }
        let path = ["apps", hand.app.as_str(), "machines"];
        // How many answers were lost, and of how many of those the request may have been heard.
        let (mut lost, mut heard) = (0, 0);
        loop {
            if heard == 0 && off.is_off() {
                return Err(StepEnd::CalledOff);
            }
            let within = hand.patience.write.min(until.left().max(AGAIN));
            let ask = Ask::send(Method::POST, "create machine", &hand.app, Side::Machines, &path);
            let error = match hand.wire.once(&ask.body(body.clone()).within(within)).await {
                Ok(answer) => match read_machine(&answer) {
                    Ok(machine) => return Ok(machine),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match meaning(&error) {
                Meaning::TooFast if !until.is_over() => {
                    until.sleep(backoff(0, &error).max(AGAIN)).await;
                    continue;
                }
                Meaning::Refused(trouble) => {
                    // Of two that were both heard, the second is refused because the first was done: its name is taken.
                    return match self.find(until).await {
                        Ok(Some(machine)) if machine.is_there() => Ok(machine),
                        _ => Err(failed(trouble, format!("{called} could not be made: {error}"), None)),
                    };
                }
                Meaning::Unknown | Meaning::Passing | Meaning::TooFast => {}
            }
            lost += 1;
            heard += u32::from(!error.unsent);
            until.sleep(backoff(lost, &error)).await;
            match self.find(until).await {
                Ok(Some(machine)) => return Ok(machine),
                Ok(None) if lost < MAKES_MAX && !until.is_over() => {}
                Ok(None) => {
                    let says = format!("{called} was not made: {error}");
                    return Err(failed(Trouble::Unreachable, says, None));
                }
                Err(unread) => {
                    let says = format!("whether {called} was made could not be read: {unread}");
                    return Err(failed(Trouble::Unreachable, says, None));
                }
            }
        }
    }

    /// Looks at it. One that was only just made may not be known everywhere yet.
    ///
    /// # Errors
    /// As Fly says; status 404 when it is not there, and had the time to be.
    pub(super) async fn look(&self, id: &str, made_until: Until, until: Until) -> Result<Machine, FlyError> {
        loop {
            match self.hand.machine(id, until).await {
                Err(error) if error.status == Some(404) && !made_until.is_over() && !until.is_over() => {
                    until.sleep(self.hand.patience.look_every).await;
                }
                answer => return answer,
            }
        }
    }

    /// Takes it away, running or not, and sees that it is gone.
    ///
    /// # Errors
    /// What Fly says while it is still there.
    pub(super) async fn destroy(&self, id: &str, until: Until) -> Result<(), FlyError> {
        let path = ["apps", self.hand.app.as_str(), "machines", id];
        let ask = Ask::send(Method::DELETE, "destroy machine", id, Side::Machines, &path).query("force", true);
        let mut said = FlyError::local("its time is up");
        for tried in 1..=DESTROYS_MAX {
            if let Err(error) = self.hand.wire.once(&ask).await {
                debug!(machine.id = id, "A machine is not taken away yet: {error}");
                said = error;
            }
            match self.hand.machine(id, until).await {
                Ok(machine) if !machine.is_there() || machine.state == "destroying" => return Ok(()),
                Err(error) if matches!(error.status, Some(404 | 410)) => return Ok(()),
                Ok(_) => {}
                Err(error) => said = error,
            }
            if until.is_over() {
                break;
            }
            until.sleep(backoff(tried, &said).max(self.hand.patience.look_every)).await;
        }
        Err(said)
    }
}

/// The metadata of a machine that a step makes: its mark, and the release.
pub(super) fn marks(
    call: &StepCall,
    release: Option<&crate::domain::hosting::ReleaseRef>,
) -> Vec<(&'static str, String)> {
    let mut marks = vec![(MARK, call.mark.clone())];
    if let Some(release) = release {
        marks.push(("fly_release_id", release.id.clone()));
        marks.push(("fly_release_version", release.version.to_string()));
    }
    marks
}
