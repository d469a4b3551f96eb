//! What the bot does to machines at Fly, and what it makes of everything that can go wrong there, on the wire.
#![allow(clippy::disallowed_methods, reason = "the stand-in stamps with wire time, as Fly does")]

#[path = "fly_acts/extra.rs"]
mod extra;
#[path = "fly_acts/fake.rs"]
mod fake;
#[path = "fly_acts/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fake::{Fake, Twist, event, exit, merge};
use secrecy::SecretString;
use serde_json::{Value, json};
use watchbell::adapters::fly::{FlyHosting, Patience};
use watchbell::domain::hosting::{Autostop, Guest, Image, ReleaseRef, Step, StepEnd, Trouble};
use watchbell::ports::hosting::{CallOff, Hosting, StepCall};

const TOKEN: &str = "FlyV1 fm2_canarycanary";

/// As impatient as a loaded test machine allows.
fn quick() -> Patience {
    Patience {
        smoke: Duration::from_millis(50),
        wait_call: Duration::from_secs(1),
        look_every: Duration::from_millis(20),
        passing: Duration::from_secs(3),
        write: Duration::from_secs(2),
        pace: Duration::from_millis(1),
        ..Patience::default()
    }
}

fn fly(base: &str, patience: Patience) -> FlyHosting {
    let tokens = BTreeMap::from([("shop".to_owned(), SecretString::from(TOKEN))]);
    FlyHosting::new(base, base, None, &tokens, patience).expect("a client")
}

fn call(step: Step) -> StepCall {
    let within = Duration::from_secs(20);
    StepCall { app: "shop".to_owned(), step, mark: "DEP-1.2".to_owned(), by: "ana".to_owned(), within }
}

fn update(launch: bool) -> StepCall {
    let release = Some(ReleaseRef { id: "r2".to_owned(), version: 2 });
    let to = Image::new("registry.fly.io/shop:v2");
    call(Step::Update { machine: "m1".to_owned(), to, release, launch, wait: true })
}

fn restart() -> StepCall {
    call(Step::Restart { machine: "m1".to_owned() })
}

async fn run(fake: &Fake, base: &str, call: &StepCall) -> StepEnd {
    let end = fly(base, quick()).step(call, &CallOff::default()).await;
    assert!(!format!("{end:?}").contains("canary"), "a token is never repeated: {end:?}");
    assert!(!fake.world().heard.iter().any(|heard| heard.action == "unknown"), "{:?}", fake.world().heard);
    end
}

/// The trouble and its sentence.
fn failure(end: StepEnd) -> (Trouble, String, Option<Value>) {
    match end {
        StepEnd::Failed { trouble, says, before } => (trouble, says, before),
        other => panic!("it did not fail: {other:?}"),
    }
}

fn done(end: StepEnd) -> (Option<Value>, Option<Value>, Option<ReleaseRef>) {
    match end {
        StepEnd::Done { before, after, release } => (before, after, release),
        other => panic!("it was not done: {other:?}"),
    }
}

#[tokio::test]
async fn an_update_changes_the_image_and_nothing_else_under_a_lease() {
    let (fake, base) = Fake::start().await;
    let (before, after, _) = done(run(&fake, &base, &update(true)).await);
    assert_eq!(fake.acts(), ["lease", "update", "give back"]);
    let mut wanted = before.expect("what was before");
    assert_eq!(wanted["image"], "registry.fly.io/shop:v1");
    wanted["image"] = json!("registry.fly.io/shop:v2");
    merge(
        &mut wanted["metadata"],
        &json!({"fly_release_id": "r2", "fly_release_version": "2", "watchbell_step": "DEP-1.2"}),
    );
    assert_eq!(after, Some(wanted.clone()));
    let sent = fake.last("update");
    assert_eq!(sent.body, json!({"config": wanted, "current_version": "01A", "region": "ord"}));
    assert_eq!((sent.nonce.as_deref(), sent.authorization.as_str()), (Some("nonce1"), "FlyV1 fm2_canarycanary"));
    assert_eq!(fake.last("give back").nonce.as_deref(), Some("nonce1"));
    let lease = fake.last("lease");
    assert!(lease.line.ends_with("/lease?ttl=30"), "{}", lease.line);
    assert_eq!(lease.body, json!({"description": "watchbell DEP-1.2 last-start=2000 for ana"}));
    assert!(fake.last("wait").line.contains("version=01B"), "the new version is waited for");
    // Asked again, it is done already; what was before comes from Fly's own list.
    let (before, again, _) = done(run(&fake, &base, &update(true)).await);
    assert_eq!((fake.count("update"), again), (1, after));
    assert_eq!(before.map(|config| config["image"].clone()), Some(json!("registry.fly.io/shop:v1")));
}

#[tokio::test]
async fn who_sleeps_is_changed_and_sleeps_on() {
    let (fake, base) = Fake::start().await;
    fake.world().machine["state"] = json!("stopped");
    done(run(&fake, &base, &update(false)).await);
    assert_eq!(fake.last("update").body["skip_launch"], true);
    assert_eq!((fake.count("wait"), fake.world().machine["state"].clone()), (0, json!("stopped")));
    // Launched, it is started.
    let (fake, base) = Fake::start().await;
    fake.world().machine["state"] = json!("stopped");
    done(run(&fake, &base, &update(true)).await);
    assert_eq!(fake.last("update").body.get("skip_launch"), None);
}

#[tokio::test]
async fn an_answer_lost_after_the_change_is_not_a_second_change() {
    for lost in
        [Twist::DoneAndLost, Twist::DoneAnd(502, json!("bad gateway")), Twist::DoneAnd(200, json!("not a machine"))]
    {
        let (fake, base) = Fake::start().await;
        fake.twist("update", [lost]);
        let (before, ..) = done(run(&fake, &base, &update(true)).await);
        assert_eq!((fake.count("update"), before.is_some()), (1, true));
        assert_eq!(fake.world().lease, None);
    }
}

#[tokio::test]
async fn an_answer_lost_before_the_change_is_made_good() {
    let (fake, base) = Fake::start().await;
    fake.twist("update", [Twist::Answer(502, json!("bad gateway")), Twist::Answer(503, Value::Null)]);
    done(run(&fake, &base, &update(true)).await);
    assert_eq!(fake.count("update"), 3);
    // Not for ever.
    let (fake, base) = Fake::start().await;
    fake.twist("update", (0..9).map(|_| Twist::Answer(502, Value::Null)));
    let (trouble, says, before) = failure(run(&fake, &base, &update(true)).await);
    assert_eq!((trouble, before, fake.count("update")), (Trouble::Unreachable, None, 3));
    assert!(says.contains("was not changed") && says.contains("fly-request-id 01JREQ-ord"), "{says}");
}

#[tokio::test]
async fn who_holds_the_lease_is_named_and_nothing_is_changed() {
    let (fake, base) = Fake::start().await;
    fake.world().lease = Some(("theirs".to_owned(), "bob@example.com".to_owned()));
    let (trouble, says, _) = failure(run(&fake, &base, &update(true)).await);
    let until = "2030-01-01T00:00:00Z".parse().ok();
    assert_eq!(trouble, Trouble::LeaseHeld { by: "bob@example.com".to_owned(), until });
    assert!(says.starts_with("bob@example.com works on machine m1 until 00:00:00 UTC"), "{says}");
    assert_eq!(fake.count("update"), 0);
}

#[tokio::test]
async fn a_lease_that_somebody_else_gives_back_is_waited_for() {
    let (fake, base) = Fake::start().await;
    fake.world().lease = Some(("theirs".to_owned(), "bob@example.com".to_owned()));
    let ends = chrono::Utc::now() + chrono::TimeDelta::seconds(13);
    let held = format!("machine ID m1 lease currently held by bob@example.com, expires at {}", ends.to_rfc3339());
    let held = || Twist::Answer(409, json!({"status": "error", "message": held, "code": "lease_held"}));
    let free = Twist::First(Arc::new(|world: &mut fake::World| world.lease = None));
    fake.twist("lease", [held(), held(), free]);
    done(run(&fake, &base, &update(true)).await);
    assert_eq!((fake.count("lease"), fake.count("update")), (3, 1));
    // Whoever says stop meanwhile is heard, and nothing was changed.
    let (fake, base) = Fake::start().await;
    fake.twist("lease", (0..20).map(|_| held()));
    let off = CallOff::default();
    let calling = off.clone();
    let stop = Twist::First(Arc::new(move |_: &mut fake::World| calling.now()));
    fake.twist("whose lease", [stop]);
    let end = fly(&base, quick()).step(&update(true), &off).await;
    assert_eq!((end, fake.count("update")), (StepEnd::CalledOff, 0));
}

#[tokio::test]
async fn the_lease_that_this_step_held_before_a_crash_is_waited_for() {
    let ours = |start: &str| Some(("dead".to_owned(), format!("watchbell DEP-1.2 last-start={start} for ana")));
    let ends = || Twist::First(Arc::new(|world: &mut fake::World| world.lease = None));
    let still = || Twist::First(Arc::new(|_: &mut fake::World| {}));
    let (fake, base) = Fake::start().await;
    fake.world().lease = ours("2000");
    fake.twist("lease", [still(), ends()]);
    done(run(&fake, &base, &update(true)).await);
    assert_eq!((fake.count("lease"), fake.count("update")), (2, 1));
    // A restart leaves no mark: what the lease noted tells whether it was done.
    for (noted, restarts) in [("1000", 0), ("2000", 1)] {
        let (fake, base) = Fake::start().await;
        fake.world().lease = ours(noted);
        fake.twist("lease", [still(), ends()]);
        done(run(&fake, &base, &restart()).await);
        assert_eq!(fake.count("restart"), restarts, "last start noted as {noted}");
    }
}

#[tokio::test]
async fn no_room_is_said_and_what_changed_all_the_same_is_kept() {
    let full = json!({"error": "aborted: could not reserve resource for machine: insufficient memory available"});
    let (fake, base) = Fake::start().await;
    fake.twist("update", [Twist::Answer(409, full.clone())]);
    let (trouble, says, before) = failure(run(&fake, &base, &update(true)).await);
    assert_eq!((trouble, before, fake.count("update")), (Trouble::NoRoom, None, 1));
    assert!(says.contains("insufficient memory") && says.contains("01JREQ-ord"), "{says}");
    assert_eq!(fake.world().lease, None, "the lease is given back");
    let (fake, base) = Fake::start().await;
    fake.twist("update", [Twist::DoneAnd(409, full)]);
    let (trouble, _, before) = failure(run(&fake, &base, &update(true)).await);
    assert_eq!((trouble, before.is_some()), (Trouble::NoRoom, true));
}

#[tokio::test]
async fn a_machine_between_two_states_is_asked_again_and_another_refusal_is_not() {
    let says = |text: &str| Twist::Answer(412, json!({"error": format!("failed_precondition: {text}")}));
    let replaced = || says("machine getting replaced, refusing to start");
    let (fake, base) = Fake::start().await;
    fake.twist("update", [replaced(), Twist::Answer(429, json!({})), replaced()]);
    done(run(&fake, &base, &update(true)).await);
    assert_eq!(fake.count("update"), 4);
    let (fake, base) = Fake::start().await;
    fake.twist("update", (0..99).map(|_| replaced()));
    let (trouble, words, _) = failure(run(&fake, &base, &update(true)).await);
    assert_eq!(trouble, Trouble::Refused);
    assert!(words.contains("stays between two states") && words.contains("getting replaced"), "{words}");
    let (fake, base) = Fake::start().await;
    fake.twist("update", [says("unable to start machine from current state: 'created'")]);
    let (trouble, ..) = failure(run(&fake, &base, &update(true)).await);
    assert_eq!((trouble, fake.count("update")), (Trouble::Refused, 1));
}

#[tokio::test]
async fn what_somebody_else_changed_is_left_alone() {
    let changes = || {
        Twist::First(Arc::new(|world: &mut fake::World| {
            world.machine["instance_id"] = json!("01Z");
            world.machine["config"]["image"] = json!("registry.fly.io/shop:theirs");
        }))
    };
    // Between the first look and the lease; at the write; while it is waited for.
    for (at, writes, kept) in [("lease", 0, false), ("update", 1, false), ("wait", 1, true)] {
        let (fake, base) = Fake::start().await;
        fake.twist(at, [changes()]);
        let (trouble, says, before) = failure(run(&fake, &base, &update(true)).await);
        assert_eq!((trouble, fake.count("update"), before.is_some()), (Trouble::Drifted, writes, kept), "{at}: {says}");
        assert_eq!(fake.world().machine["config"]["image"], "registry.fly.io/shop:theirs");
        assert_eq!(fake.world().lease, None);
    }
}

#[tokio::test]
async fn a_bad_image_is_seen_for_what_it_is() {
    let crash = json!({"exit_code": 1, "restarting": true, "requested_stop": false, "oom_killed": false});
    let oom = json!({"exit_code": 137, "restarting": true, "oom_killed": true});
    for (after, wanted, words) in [
        (json!({"events": [exit("e10", 9500, 3, crash)]}), Trouble::CrashLoop, "exit code 1, 3 restarts"),
        (json!({"events": [exit("e10", 9500, 0, oom)]}), Trouble::OutOfMemory, "want of memory"),
        (
            json!({"checks": [{"name": "http", "status": "critical", "output": "500 oops"}]}),
            Trouble::Unhealthy,
            "500 oops",
        ),
        (json!({"checks": []}), Trouble::Unhealthy, "none has reported"),
        (json!({"state": "failed"}), Trouble::NotStarted, "failed"),
        (json!({"state": "starting"}), Trouble::NotStarted, "is starting"),
    ] {
        let (fake, base) = Fake::start().await;
        fake.world().after_update = after;
        let (trouble, says, before) =
            failure(run(&fake, &base, &StepCall { within: Duration::from_secs(3), ..update(true) }).await);
        assert_eq!((trouble, before.is_some()), (wanted, true), "{says}");
        assert!(says.contains(words), "{says}");
        assert_eq!((fake.count("update"), fake.world().lease.clone()), (1, None));
    }
}

#[tokio::test]
async fn a_call_off_is_heard_before_the_write_and_not_after() {
    let off = CallOff::default();
    off.now();
    let (fake, base) = Fake::start().await;
    assert_eq!(fly(&base, quick()).step(&update(true), &off).await, StepEnd::CalledOff);
    assert_eq!(fake.acts(), Vec::<&str>::new());
    for (at, called_off, writes) in [("lease", true, 0), ("update", false, 1)] {
        let (fake, base) = Fake::start().await;
        let off = CallOff::default();
        let pull = off.clone();
        fake.twist(at, [Twist::First(Arc::new(move |_: &mut fake::World| pull.now()))]);
        let end = fly(&base, quick()).step(&update(true), &off).await;
        assert_eq!((end == StepEnd::CalledOff, fake.count("update")), (called_off, writes), "at {at}");
        assert_eq!((fake.count("give back"), fake.world().lease.clone()), (1, None));
    }
}

#[tokio::test]
async fn a_lease_lives_as_long_as_its_step_and_no_longer() {
    let patience = Patience { lease_ttl: Duration::from_secs(1), ..quick() };
    let (fake, base) = Fake::start().await;
    let slow = |fake: &Fake, renewals: u32| {
        let mut world = fake.world();
        (world.renewals, world.after_update) = (0, json!({"state": "starting"}));
        world.on_renewal = Some(Arc::new(move |world: &mut fake::World| {
            if world.renewals >= renewals {
                world.machine["state"] = json!("started");
            }
        }));
    };
    let fly = fly(&base, patience);
    slow(&fake, 2);
    done(fly.step(&update(true), &CallOff::default()).await);
    // While another step runs, nothing of the first renews.
    slow(&fake, 3);
    let second = StepCall { mark: "DEP-1.3".to_owned(), ..update(true) };
    done(fly.step(&second, &CallOff::default()).await);
    let heard = fake.world().heard.clone();
    let first_end = heard.iter().position(|heard| heard.action == "give back").expect("given back");
    let renewed = |nonce: &str, part: &[fake::Heard]| {
        part.iter().filter(|heard| heard.action == "renew" && heard.nonce.as_deref() == Some(nonce)).count()
    };
    assert!(renewed("nonce1", &heard[..first_end]) >= 2 && renewed("nonce2", &heard[first_end..]) >= 3);
    assert_eq!(renewed("nonce1", &heard[first_end..]), 0);
}

#[tokio::test]
async fn a_machine_is_started_stopped_restarted_and_sized() {
    let (fake, base) = Fake::start().await;
    let machine = || "m1".to_owned();
    done(run(&fake, &base, &call(Step::Stop { machine: machine() })).await);
    assert_eq!(fake.last("stop").body, json!({}));
    done(run(&fake, &base, &call(Step::Stop { machine: machine() })).await);
    assert_eq!(fake.count("stop"), 1, "what is stopped is stopped");
    fake.twist("start", [Twist::DoneAnd(502, Value::Null)]);
    done(run(&fake, &base, &call(Step::Start { machine: machine() })).await);
    done(run(&fake, &base, &call(Step::Start { machine: machine() })).await);
    assert_eq!(fake.count("start"), 1);
    fake.world().machine["events"] = json!([event("e2", "start", 2000)]);
    fake.twist("restart", [Twist::DoneAnd(502, Value::Null)]);
    done(run(&fake, &base, &restart()).await);
    assert_eq!(
        (fake.count("restart"), fake.last("restart").nonce.is_some()),
        (1, true),
        "its last start says it was done"
    );
    let sleeps =
        Step::SetAutostop { machine: machine(), autostop: Autostop::Suspend, autostart: true, min_running: Some(1) };
    let (before, after, _) = done(run(&fake, &base, &StepCall { mark: "DEP-1.4".to_owned(), ..call(sleeps) }).await);
    let services = |config: Option<Value>| config.map(|config| config["services"].clone());
    assert_eq!(services(before), Some(json!([{"autostop": true, "autostart": true}])));
    let wanted = json!([{"autostop": "suspend", "autostart": true, "min_machines_running": 1}]);
    assert_eq!(services(after), Some(wanted));
    let size = |memory_mb| Guest { cpu_kind: "shared".to_owned(), cpus: 2, memory_mb };
    let (_, after, _) = done(run(&fake, &base, &call(Step::Resize { machine: machine(), guest: size(1024) })).await);
    assert_eq!(
        after.map(|config| config["guest"].clone()),
        Some(json!({"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024}))
    );
    let (trouble, ..) = failure(run(&fake, &base, &call(Step::Resize { machine: machine(), guest: size(100) })).await);
    assert_eq!((trouble, fake.count("update")), (Trouble::Refused, 2));
}

#[tokio::test]
async fn what_fly_leaves_up_is_stopped_after_the_change() {
    // A change without a launch leaves this Fly's machine running, and its answers are lost on the way.
    let (fake, base) = Fake::start().await;
    fake.twist("update", [Twist::DoneAnd(502, Value::Null)]);
    fake.twist("stop", [Twist::DoneAnd(502, Value::Null)]);
    let zero = call(Step::Zero { machine: "m1".to_owned() });
    let (before, after, _) = done(run(&fake, &base, &zero).await);
    assert_eq!(fake.acts(), ["lease", "update", "stop", "give back"]);
    assert_eq!((fake.last("update").body["skip_launch"].clone(), before.is_some()), (json!(true), true));
    assert_eq!(after.map(|config| config["services"][0]["autostart"].clone()), Some(json!(false)));
    // Changed in a life before and not stopped: only the stop is left to do.
    fake.world().machine["state"] = json!("started");
    let (before, ..) = done(run(&fake, &base, &zero).await);
    assert_eq!((fake.count("update"), fake.count("stop"), before.is_some()), (1, 2, true));
}

#[tokio::test]
async fn without_a_token_nothing_is_done_and_a_refused_one_is_not_repeated() {
    let (fake, base) = Fake::start().await;
    let fly = fly(&base, quick());
    assert!(fly.may_act("shop") && !fly.may_act("other"));
    let (trouble, says, _) =
        failure(fly.step(&StepCall { app: "other".to_owned(), ..restart() }, &CallOff::default()).await);
    assert_eq!(trouble, Trouble::NoRights);
    assert_eq!(says, "there is no token to act on other. Make one: fly tokens create deploy --app other");
    assert!(fake.world().heard.is_empty());
    fake.twist("get", [Twist::Answer(401, json!({"error": "bad token fm2_canarycanary"}))]);
    let (trouble, says, _) = failure(run(&fake, &base, &restart()).await);
    assert_eq!(trouble, Trouble::NoRights);
    assert!(says.contains("fly tokens create deploy --app shop"), "{says}");
}
