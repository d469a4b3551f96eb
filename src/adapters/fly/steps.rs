//! One step on one machine, from the first look to the last: read, lease, read again, write once, wait, give the lease back.
//!
//! Owns the order. What a write came to is `write.rs`, whether a machine is well `waiting.rs`. Starting, stopping and restarting
//! leave no mark on the machine, because Fly has no place for one: whether they were done is told by the machine's state, and for a
//! restart by its last start, which is noted in the lease before it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::hand::{Hand, Until, failed};
use super::lease::{Lease, NoLease, Note};
use super::model::{Event, Machine};
use super::waiting::{Want, state_comes, until_well};
use super::wire::{Ask, FlyError, Side};
use super::write::{Edit, Write};
use crate::domain::hosting::{StepEnd, Trouble};
use crate::ports::hosting::{CallOff, StepCall};

/// What is done to a machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed<'a> {
    /// Its configuration is changed. Launched unless it is asleep and is to stay so; waited for when `wait`.
    Change { edit: Edit<'a>, launch: bool, wait: bool },
    /// It is stopped and started.
    Restart,
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// Its configuration is changed, and it is stopped.
    Down(Edit<'a>),
}

impl<'a> Deed<'a> {
    /// The change of the configuration, when there is one.
    fn edit(self) -> Option<Edit<'a>> {
        match self {
            Self::Change { edit, .. } | Self::Down(edit) => Some(edit),
            Self::Restart | Self::Start | Self::Stop => None,
        }
    }
}

/// Does it.
pub(super) async fn work(hand: &Arc<Hand>, call: &StepCall, off: &CallOff, id: &str, deed: Deed<'_>) -> StepEnd {
    let until = Until::step(call.within);
    let first = match hand.machine(id, until).await {
        Ok(machine) => machine,
        Err(error) => return unread(id, &error),
    };
    let work = Work { hand, call, id, deed, until };
    if let Some(done) = work.done_before(&first) {
        return work.go_on(&first, done).await;
    }
    if let Some(end) = unfit(&first) {
        return end;
    }
    if off.is_off() {
        return StepEnd::CalledOff;
    }
    let mut note = Note { mark: call.mark.clone(), last_start_ms: last_start(&first), by: call.by.clone() };
    let (lease, noted) = match Lease::take_back(hand, id, &mut note, off, until).await {
        Ok(taken) => taken,
        Err(NoLease::CalledOff) => return StepEnd::CalledOff,
        Err(NoLease::Refused(trouble, error)) => return no_lease(id, trouble, &error),
        Err(NoLease::Ours { error, .. }) => return no_lease(id, Trouble::Unreachable, &error),
    };
    let end = work.under(&lease, &first, noted.then_some(note.last_start_ms), off).await;
    lease.give_back().await;
    end
}

struct Work<'a> {
    hand: &'a Arc<Hand>,
    call: &'a StepCall,
    id: &'a str,
    deed: Deed<'a>,
    until: Until,
}

impl Work<'_> {
    /// Whether there is nothing left to write: by the mark, or because the machine is as it is wanted.
    fn done_before(&self, machine: &Machine) -> Option<Want> {
        let done = match self.deed {
            Deed::Change { edit, .. } => edit.is_done(machine, &self.call.mark),
            Deed::Start => is_up(machine),
            Deed::Stop => is_down(machine),
            Deed::Down(edit) => is_down(machine) && edit.is_done(machine, &self.call.mark),
            // Nothing on the machine says so; the lease may.
            Deed::Restart => false,
        };
        done.then(|| Want::resumed(machine))
    }

    /// Waits for what was written before. Under a lease when it can be had: nothing is changed any more.
    async fn go_on(&self, now: &Machine, want: Want) -> StepEnd {
        let note = Note { mark: self.call.mark.clone(), last_start_ms: None, by: self.call.by.clone() };
        let lease = match self.deed {
            Deed::Stop | Deed::Down(_) => None,
            _ => Lease::take(self.hand, self.id, &note, self.until).await.ok(),
        };
        let before = if self.deed.edit().is_some() { self.config_before().await } else { None };
        let end = self.wait(now, &want, self.stays_asleep(now), before).await;
        if let Some(lease) = lease {
            lease.give_back().await;
        }
        end
    }

    /// All that is done under the lease. `noted` is the last start before the step, when a lease of its own life before said so.
    async fn under(&self, lease: &Lease, first: &Machine, noted: Option<Option<i64>>, off: &CallOff) -> StepEnd {
        let fresh = match self.hand.machine(self.id, self.until).await {
            Ok(machine) => machine,
            Err(error) => return unread(self.id, &error),
        };
        if let Some(want) = self.done_before(&fresh) {
            let before = self.deed.edit().map(|_| first.config.clone());
            return self.wait(&fresh, &want, self.stays_asleep(&fresh), before).await;
        }
        // A restart whose lease outlived it.
        let restarted = |noted| is_up(&fresh) && last_start(&fresh) > noted;
        if matches!(self.deed, Deed::Restart) && noted.is_some_and(restarted) {
            return self.wait(&fresh, &Want::resumed(&fresh), false, None).await;
        }
        // Fly writes a version in one form; something in another form is no version to compare with.
        let leased = &lease.version;
        let other = |seen: &String| seen.len() == fresh.instance_id.len() && *seen != fresh.instance_id;
        if other(&first.instance_id) || other(leased) {
            let says = format!("somebody else changed machine {} meanwhile; it was left as it is", self.id);
            return failed(Trouble::Drifted, says, None);
        }
        if let Some(end) = unfit(&fresh) {
            return end;
        }
        let (after, before) = match self.deed {
            // Written in a life before, and not stopped by then.
            Deed::Down(edit) if edit.is_done(&fresh, &self.call.mark) => (fresh.clone(), self.config_before().await),
            _ => match self.write(lease, &fresh, off).await {
                Ok(written) => written,
                Err(end) => return end,
            },
        };
        if matches!(self.deed, Deed::Down(_))
            && let Err(end) = self.put_down(lease, &after, before.as_ref()).await
        {
            return end;
        }
        let want = Want::since(&fresh, &after.instance_id);
        self.wait(&after, &want, self.stays_asleep(&fresh), before).await
    }

    /// Stops what a change without a launch did not leave down: whether Fly stops a running machine for it is in no document.
    async fn put_down(&self, lease: &Lease, now: &Machine, before: Option<&Value>) -> Result<(), StepEnd> {
        let mut now = now.clone();
        while matches!(now.state.as_str(), "updating" | "replacing") && !self.until.is_over() {
            self.until.sleep(self.hand.patience.look_every).await;
            now = self.hand.machine(self.id, self.until).await.unwrap_or(now);
        }
        if is_stopping(&now) {
            return Ok(());
        }
        let path = ["apps", self.hand.app.as_str(), "machines", self.id, "stop"];
        let ask = Ask::send(Method::POST, "stop machine", self.id, Side::Machines, &path);
        let within = self.hand.patience.write.min(self.until.left());
        let ask = ask.nonce(&lease.nonce).within(within).body(json!({}));
        let write =
            Write { hand: self.hand, fresh: &now, ask, is_done: &is_stopping, changes: false, until: self.until };
        // Half of it is done: a call-off comes too late.
        match write.send(&CallOff::default()).await {
            Err(StepEnd::Failed { trouble, says, .. }) => Err(failed(trouble, says, before.cloned())),
            Err(end) => Err(end),
            Ok(_) => Ok(()),
        }
    }

    /// The write itself: the machine after it, and its configuration before when that was changed.
    async fn write(&self, lease: &Lease, fresh: &Machine, off: &CallOff) -> Result<(Machine, Option<Value>), StepEnd> {
        let (app, id, hand) = (self.hand.app.as_str(), self.id, self.hand);
        let post = |action, verb: Option<&'static str>| {
            let mut path = vec!["apps", app, "machines", id];
            path.extend(verb);
            let within = hand.patience.write.min(self.until.left());
            Ask::send(Method::POST, action, id, Side::Machines, &path).nonce(&lease.nonce).within(within)
        };
        let started_before = last_start(fresh);
        let restarted = |now: &Machine| {
            last_start(now) > started_before
                || matches!(now.state.as_str(), "restarting" | "stopping" | "starting" | "stopped")
        };
        let edited = |now: &Machine| self.deed.edit().is_some_and(|edit| edit.is_done(now, &self.call.mark));
        let (ask, is_done): (_, &(dyn Fn(&Machine) -> bool + Sync)) = match self.deed {
            Deed::Change { edit, .. } | Deed::Down(edit) => {
                let config = edit
                    .apply(&fresh.config, &self.call.mark)
                    .map_err(|why| failed(Trouble::Refused, format!("machine {id} cannot be changed: {why}"), None))?;
                let mut body = json!({"config": config, "current_version": fresh.instance_id});
                if !fresh.region.is_empty() {
                    body["region"] = json!(fresh.region);
                }
                if self.stays_asleep(fresh) {
                    body["skip_launch"] = json!(true);
                }
                (post("update machine", None).body(body), &edited)
            }
            Deed::Restart => (post("restart machine", Some("restart")), &restarted),
            Deed::Start => (post("start machine", Some("start")), &is_up),
            Deed::Stop => (post("stop machine", Some("stop")).body(json!({})), &is_stopping),
        };
        let changes = self.deed.edit().is_some();
        let write = Write { hand, fresh, ask, is_done, changes, until: self.until };
        let after = write.send(off).await?;
        Ok((after, changes.then(|| fresh.config.clone())))
    }

    /// Whether a changed machine is left down: it is, and nobody wants it up.
    fn stays_asleep(&self, machine: &Machine) -> bool {
        let is_left_down = !is_up(machine) && !matches!(machine.state.as_str(), "updating" | "replacing");
        match self.deed {
            Deed::Down(_) => true,
            Deed::Change { launch, .. } => !launch && is_left_down,
            Deed::Restart | Deed::Start | Deed::Stop => false,
        }
    }

    /// Waits for what the deed is to come to. `now` is the machine as it was read last.
    async fn wait(&self, now: &Machine, want: &Want, asleep: bool, before: Option<Value>) -> StepEnd {
        let wait = match self.deed {
            Deed::Stop | Deed::Down(_) => return self.stopped(now, before).await,
            Deed::Change { wait, .. } => wait && !asleep,
            Deed::Restart | Deed::Start => true,
        };
        let changed = matches!(self.deed, Deed::Change { .. });
        let config = |machine: &Machine| changed.then(|| machine.config.clone());
        if !wait {
            return StepEnd::Done { before, after: config(now), release: None };
        }
        match until_well(self.hand, self.id, want, self.until).await {
            Ok(machine) => StepEnd::Done { before, after: config(&machine), release: None },
            Err((trouble, says)) => failed(trouble, says, before),
        }
    }

    async fn stopped(&self, now: &Machine, before: Option<Value>) -> StepEnd {
        let done = |machine: &Machine, before: Option<Value>| {
            let after = self.deed.edit().map(|_| machine.config.clone());
            StepEnd::Done { before, after, release: None }
        };
        if is_down(now) {
            return done(now, before);
        }
        loop {
            let _ = state_comes(self.hand, self.id, "stopped", &now.instance_id, self.until).await;
            let says = match self.hand.machine(self.id, self.until).await {
                Ok(machine) if is_down(&machine) => return done(&machine, before),
                Ok(machine) => format!("machine {} did not stop in time: it is {}", self.id, machine.state),
                Err(error) => format!("whether machine {} stopped could not be read: {error}", self.id),
            };
            if self.until.is_over() {
                return failed(Trouble::Refused, says, before);
            }
            self.until.sleep(self.hand.patience.look_every).await;
        }
    }

    /// The configuration before our own change, from Fly's list of versions: for a step that was cut short after its write.
    async fn config_before(&self) -> Option<Value> {
        let path = ["apps", &self.hand.app, "machines", self.id, "versions"];
        let answer = self.hand.question(self.hand.get("list versions", self.id, &path), self.until).await.ok()?;
        let versions = answer.as_array()?.iter().filter_map(|version| version.get("user_config"));
        let marked = |config: &&Value| {
            config.pointer("/metadata/watchbell_step").and_then(Value::as_str) == Some(self.call.mark.as_str())
        };
        // Newest first, as the events are; the order is in no document.
        versions.skip_while(|config| !marked(config)).find(|config| !marked(config)).cloned()
    }
}

fn is_up(machine: &Machine) -> bool {
    matches!(machine.state.as_str(), "started" | "starting" | "restarting")
}

fn is_down(machine: &Machine) -> bool {
    matches!(machine.state.as_str(), "stopped" | "suspended")
}

fn is_stopping(machine: &Machine) -> bool {
    is_down(machine) || machine.state == "stopping"
}

/// When it was last started, in milliseconds.
fn last_start(machine: &Machine) -> Option<i64> {
    let started = |event: &&Event| matches!(event.kind.as_str(), "start" | "restart" | "launch");
    let events = machine.events.as_deref().unwrap_or_default();
    events.iter().filter(started).filter_map(|event| event.at).max().map(|at: DateTime<Utc>| at.timestamp_millis())
}

/// Why nothing can be done to it, whatever it is.
fn unfit(machine: &Machine) -> Option<StepEnd> {
    let id = &machine.id;
    if !machine.is_there() || machine.state == "destroying" {
        return Some(failed(
            Trouble::Gone,
            format!("machine {id} is not there any more: it is {}", machine.state),
            None,
        ));
    }
    (machine.host_status == "unreachable").then(|| {
        failed(
            Trouble::HostGone,
            format!("the hardware under machine {id} does not answer; Fly says: unreachable"),
            None,
        )
    })
}

fn unread(id: &str, error: &FlyError) -> StepEnd {
    let trouble = match error.status {
        Some(401 | 403) => Trouble::NoRights,
        Some(404 | 410) => Trouble::Gone,
        _ => Trouble::Unreachable,
    };
    failed(trouble, format!("machine {id} could not be read, so nothing was changed: {error}"), None)
}

fn no_lease(id: &str, trouble: Trouble, error: &FlyError) -> StepEnd {
    let what = match &trouble {
        Trouble::LeaseHeld { by, until: Some(until) } => {
            format!("{by} works on machine {id} until {}", until.format("%H:%M:%S UTC"))
        }
        Trouble::LeaseHeld { by, until: None } => format!("{by} works on machine {id}"),
        _ => format!("machine {id} could not be reserved for the step"),
    };
    failed(trouble, format!("{what}, so nothing was changed: {error}"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_start_is_the_newest() {
        let events = json!([{"type": "exit", "timestamp": 9}, {"type": "start", "timestamp": 3}, {"type": "launch", "timestamp": 5}]);
        let machine = Machine::read(&json!({"id": "m", "events": events}));
        assert_eq!(machine.as_ref().and_then(last_start), Some(5));
        let bare = Machine::read(&json!({"id": "m"}));
        assert_eq!(bare.as_ref().and_then(last_start), None);
    }
}
