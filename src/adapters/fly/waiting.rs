//! Waiting until a machine is well after we did something to it, or until it is plain that it will not be.
//!
//! Well is: started, watched for a while without ending again, and every check passing when it has any. What a look at the
//! machine means is a pure function; only what happened after our own change counts. Changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::hand::{Hand, Until};
use super::model::{Event, Machine};
use super::wire::TRY_MAX;
use crate::adapters::redact::named;
use crate::domain::hosting::Trouble;

/// The longest that Fly lets one wait last.
const WAIT_CALL_MAX: Duration = Duration::from_secs(60);
/// The longest piece of checks' output that is passed on, in characters.
const CHECKS_CHARS_MAX: usize = 400;
/// The states that end it.
const FAILED: [&str; 2] = ["failed", "launch_failed"];
/// The machine sleeps.
const ASLEEP: [&str; 2] = ["stopped", "suspended"];

/// What is waited for.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// The version of the configuration that must run; another one is somebody else's.
    instance: String,
    /// Events known before the change. What is in here says nothing about it.
    known: BTreeSet<String>,
    /// The newest event before the change, for events that have no id.
    since: Option<DateTime<Utc>>,
    /// It was kept from requests before the change, and may stay so.
    cordoned: bool,
}

impl Want {
    /// After a change of what was read as `before`.
    pub(super) fn since(before: &Machine, instance: &str) -> Self {
        let events = before.events.as_deref().unwrap_or_default();
        Self {
            instance: instance.to_owned(),
            known: events.iter().map(|event| event.id.clone()).filter(|id| !id.is_empty()).collect(),
            since: events.iter().filter_map(|event| event.at).max(),
            cordoned: before.cordoned,
        }
    }

    /// After a change that was made earlier, of which only what came after is left: everything since the machine was last
    /// changed or started by somebody.
    pub(super) fn resumed(now: &Machine) -> Self {
        let changed = |event: &&Event| matches!(event.kind.as_str(), "update" | "launch" | "restart");
        let events = now.events.as_deref().unwrap_or_default();
        let at = events.iter().filter(changed).filter_map(|event| event.at).max();
        let old = events.iter().filter(|event| at.is_some() && event.at <= at);
        Self {
            instance: now.instance_id.clone(),
            known: old.map(|event| event.id.clone()).collect(),
            since: at,
            cordoned: now.cordoned,
        }
    }

    /// After it was made: all that is known of it counts.
    pub(super) fn made(machine: &Machine) -> Self {
        Self { instance: machine.instance_id.clone(), known: BTreeSet::new(), since: None, cordoned: machine.cordoned }
    }

    /// What happened since, newest first.
    fn news<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = &'a Event> {
        let events = machine.events.as_deref().unwrap_or_default();
        events.iter().filter(|event| match event.id.as_str() {
            "" => event.at > self.since,
            id => !self.known.contains(id) && event.at >= self.since,
        })
    }
}

/// How a machine stands, at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Started, and its checks pass.
    Well,
    /// It fell asleep by itself, which it may.
    Asleep,
    /// Not well yet; what it is called when time is up.
    NotYet(Trouble, String),
    /// Never going to be.
    Bad(Trouble, String),
}

fn look(machine: &Machine, want: &Want) -> Standing {
    use Standing::{Asleep, Bad, NotYet, Well};
    let id = &machine.id;
    if !machine.is_there() || machine.state == "destroying" {
        return Bad(Trouble::Gone, format!("machine {id} is being taken away ({})", machine.state));
    }
    if machine.instance_id != want.instance && !machine.instance_id.is_empty() && !want.instance.is_empty() {
        return Bad(Trouble::Drifted, format!("somebody else changed machine {id} while it was waited for"));
    }
    if let Some(exit) = want.news(machine).find_map(|event| event.exit.filter(|exit| exit.oom_killed)) {
        let code = exit.code;
        return Bad(Trouble::OutOfMemory, format!("machine {id} was killed for want of memory (exit code {code})"));
    }
    let newest = want.news(machine).find_map(|event| event.exit);
    if let Some(exit) = newest.filter(|exit| !exit.requested && exit.code != 0) {
        let (code, again) = (exit.code, exit.restarts);
        // The rule of flyctl: an ended machine that was restarted more than once.
        if exit.restarting && again > 1 {
            let says = format!("machine {id} starts and ends, again and again: exit code {code}, {again} restarts");
            return Bad(Trouble::CrashLoop, says);
        }
        if !exit.restarting && ASLEEP.contains(&machine.state.as_str()) {
            let says = format!("machine {id} ended with exit code {code} and is not started again");
            return Bad(Trouble::CrashLoop, says);
        }
    }
    match machine.state.as_str() {
        state if FAILED.contains(&state) => {
            Bad(Trouble::NotStarted, format!("machine {id} could not be started: its state is {state}"))
        }
        _ if machine.host_status == "unreachable" => {
            NotYet(Trouble::HostGone, format!("the hardware under machine {id} does not answer"))
        }
        "started" if machine.cordoned && !want.cordoned => {
            NotYet(Trouble::NotStarted, format!("machine {id} is cordoned: no request reaches it"))
        }
        "started" => {
            let checks = machine.health();
            let (passing, all) = (checks.checks_passing, checks.checks);
            if machine.checks_configured() == 0 && machine.checks.is_empty() {
                return Well;
            }
            // None reported is not all passing.
            if passing > 0 && passing == all {
                return Well;
            }
            let said = match checks.failing.join("; ") {
                none if none.is_empty() => "none has reported".to_owned(),
                said => named(&said).chars().take(CHECKS_CHARS_MAX).collect(),
            };
            NotYet(Trouble::Unhealthy, format!("machine {id} runs and {passing} of its {all} checks pass: {said}"))
        }
        state if ASLEEP.contains(&state) && machine.may_sleep() => Asleep,
        state => NotYet(Trouble::NotStarted, format!("machine {id} is {state}")),
    }
}

/// Waits until it is well. Ends at once when it is plain that it will not be, and when time is up with what was missing.
///
/// # Errors
/// What is wrong, and a sentence.
pub(super) async fn until_well(hand: &Hand, id: &str, want: &Want, until: Until) -> Result<Machine, (Trouble, String)> {
    let mut up_since: Option<Instant> = None;
    let mut was_up = false;
    let mut seen: Option<(Trouble, String)> = None;
    loop {
        if up_since.is_none() {
            let _ = state_comes(hand, id, "started", &want.instance, until).await;
        }
        let mut missing = match hand.machine(id, until).await {
            Ok(machine) => match look(&machine, want) {
                Standing::Bad(trouble, says) => return Err((trouble, says)),
                // Started, and asleep again before we looked twice: that is how it lives.
                Standing::Asleep if was_up => return Ok(machine),
                Standing::Asleep => (Trouble::NotStarted, format!("machine {id} is {}", machine.state)),
                Standing::NotYet(trouble, says) => {
                    up_since = up_since.filter(|_| trouble == Trouble::Unhealthy);
                    if trouble == Trouble::Unhealthy {
                        up_since.get_or_insert_with(Instant::now);
                        was_up = true;
                    }
                    (trouble, says)
                }
                Standing::Well => {
                    was_up = true;
                    let since = *up_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= hand.patience.smoke {
                        return Ok(machine);
                    }
                    (Trouble::NotStarted, format!("machine {id} has been up too short a time to be sure of it"))
                }
            },
            // Only what is gone for good ends it: one unanswered look says nothing of the machine.
            Err(error) if matches!(error.status, Some(404 | 410)) => return Err((Trouble::Gone, error.to_string())),
            Err(error) if matches!(error.status, Some(401 | 403)) => {
                return Err((Trouble::NoRights, error.to_string()));
            }
            // Nor does one that only came too late: what was seen before counts.
            Err(error) => {
                let unread = (Trouble::Unreachable, error.to_string());
                if until.is_over() { seen.take().unwrap_or(unread) } else { unread }
            }
        };
        if until.is_over() {
            missing.1.push_str("; its time is up");
            return Err(missing);
        }
        seen = Some(missing);
        until.sleep(hand.patience.look_every).await;
    }
}

/// Asks Fly to tell when a machine comes to a state, for one call. Whether it did is for a look to say.
pub(super) async fn state_comes(hand: &Hand, id: &str, state: &str, instance: &str, until: Until) -> bool {
    let call = hand.patience.wait_call.min(WAIT_CALL_MAX).min(until.left()).max(Duration::from_secs(1));
    let path = ["apps", &hand.app, "machines", id, "wait"];
    let mut ask = hand.get("wait for machine", id, &path).query("state", state).query("timeout", call.as_secs());
    if !instance.is_empty() {
        ask = ask.query("version", instance);
    }
    let ask = ask.within((call + TRY_MAX).min(until.left().max(Duration::from_millis(1)))).or_empty();
    hand.wire.once(&ask).await.is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(changes: Value) -> Machine {
        let mut machine = json!({"id": "m1", "state": "started", "instance_id": "01B", "host_status": "ok",
            "config": {"checks": {"http": {}}}, "checks": [{"name": "http", "status": "passing", "output": ""}],
            "events": [{"id": "e1", "type": "update", "source": "user", "timestamp": 1000}]});
        if let (Some(all), Value::Object(changes)) = (machine.as_object_mut(), changes) {
            all.extend(changes);
        }
        Machine::read(&machine).unwrap_or_else(|| panic!("a machine"))
    }

    fn exit(id: &str, at: i64, exit: Value, restarts: u32) -> Value {
        json!({"id": id, "type": "exit", "source": "flyd", "timestamp": at,
               "request": {"restart_count": restarts, "exit_event": exit}})
    }

    #[test]
    fn a_look_says_what_it_is() {
        let want = Want::since(&machine(json!({})), "01B");
        let crash = json!({"exit_code": 1, "restarting": true});
        let gone = json!({"exit_code": 1, "restarting": false});
        let oom = json!({"exit_code": 137, "oom_killed": true, "restarting": true});
        let asked = json!({"exit_code": 143, "requested_stop": true, "restarting": false});
        let sleeps = json!({"services": [{"autostop": true, "autostart": true}]});
        for (changes, verdict) in [
            (json!({}), None),
            (json!({"events": [exit("e2", 2000, crash.clone(), 2)]}), Some(Trouble::CrashLoop)),
            (json!({"events": [exit("e2", 2000, crash.clone(), 1)]}), None),
            (json!({"events": [exit("e1", 1000, crash.clone(), 5)]}), None),
            (json!({"state": "stopped", "events": [exit("e2", 2000, gone, 0)]}), Some(Trouble::CrashLoop)),
            (json!({"events": [exit("e2", 2000, oom, 0)]}), Some(Trouble::OutOfMemory)),
            (json!({"events": [exit("e2", 2000, asked, 9)]}), None),
            (json!({"instance_id": "01C"}), Some(Trouble::Drifted)),
            (json!({"state": "destroyed"}), Some(Trouble::Gone)),
            (json!({"state": "failed"}), Some(Trouble::NotStarted)),
            (json!({"state": "starting"}), Some(Trouble::NotStarted)),
            (json!({"host_status": "unreachable"}), Some(Trouble::HostGone)),
            (json!({"checks": [{"name": "http", "status": "critical", "output": "500"}]}), Some(Trouble::Unhealthy)),
            (json!({"checks": []}), Some(Trouble::Unhealthy)),
            (json!({"cordoned": true}), Some(Trouble::NotStarted)),
            (json!({"checks": [], "config": {}}), None),
        ] {
            let says = format!("{changes}");
            let trouble = match look(&machine(changes), &want) {
                Standing::Well => None,
                Standing::Asleep => panic!("{says}"),
                Standing::NotYet(trouble, _) | Standing::Bad(trouble, _) => Some(trouble),
            };
            assert_eq!(trouble, verdict, "{says}");
        }
        let kept_away = machine(json!({"cordoned": true}));
        assert_eq!(look(&kept_away, &Want::since(&kept_away, "01B")), Standing::Well, "it was so before, and stays so");
        let asleep = machine(json!({"state": "stopped", "config": sleeps}));
        assert_eq!(look(&asleep, &want), Standing::Asleep);
    }

    #[test]
    fn what_was_before_a_resumed_step_is_not_held_against_it() {
        let crash = json!({"exit_code": 1, "restarting": true});
        let update = json!({"id": "e2", "type": "update", "source": "user", "timestamp": 2000});
        let before = machine(json!({"events": [update, exit("e1", 1000, crash.clone(), 5)]}));
        assert_eq!(look(&before, &Want::resumed(&before)), Standing::Well);
        let after = machine(json!({"events": [exit("e3", 3000, crash, 5), update]}));
        assert!(matches!(look(&after, &Want::resumed(&after)), Standing::Bad(Trouble::CrashLoop, _)));
    }
}
