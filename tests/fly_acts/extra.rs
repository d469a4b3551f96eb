//! Release commands and trials against the local Fly: each on a machine of its own, once, and gone afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use watchbell::adapters::fly::FlyHosting;
use watchbell::domain::hosting::{Image, ReleaseRef, Step, StepEnd, Trouble};
use watchbell::ports::hosting::{CallOff, Hosting, StepCall};
use watchbell::sim::fly;

use super::{failure, quick};

const THERE: &str = r#"{
    "org": "lighthouse",
    "tokens": [
        {"token": "local-fly-look", "kind": "readonly"}, {"token": "local-fly-act", "kind": "deploy", "app": "shop"}
    ],
    "apps": [{
        "name": "shop", "autostop": true,
        "machines": [{"region": "iad", "memory_mb": 256}, {"region": "ord", "memory_mb": 1024}],
        "releases": [{"version": 1, "image": "registry.fly.io/shop:v1"}],
        "volumes": [{"name": "data", "region": "ord", "size_gb": 1}]
    }],
    "settings": {"boot_ms": 20, "stop_ms": 10, "run_ms": 60, "check_every_ms": 20, "rate_limits": false}
}"#;

struct There {
    fly: fly::Handle,
    hosting: FlyHosting,
}

impl There {
    async fn start() -> Self {
        let workspace = fly::Workspace::from_json(THERE).expect("a workspace");
        let fly = fly::start(fly::Options::new(workspace)).await.expect("it starts");
        let tokens = BTreeMap::from([("shop".to_owned(), SecretString::from("FlyV1 local-fly-act"))]);
        let read = SecretString::from("FlyV1 local-fly-look");
        let url = fly.api_url();
        let hosting = FlyHosting::new(&url, &url, Some(&read), &tokens, quick()).expect("a client");
        assert!(fly.settled(Duration::from_secs(10)).await);
        Self { fly, hosting }
    }

    async fn step(&self, step: Step) -> StepEnd {
        self.hosting.step(&call(step), &CallOff::default()).await
    }

    /// The step begins, and whoever does it dies as soon as a machine is there for it.
    async fn dies_in(&self, step: Step) {
        let before = self.machines().len();
        let (call, off) = (call(step), CallOff::default());
        tokio::select! {
            end = self.hosting.step(&call, &off) => panic!("it ended: {end:?}"),
            () = async { while self.machines().len() == before { tokio::task::yield_now().await } } => {}
        }
    }

    fn machines(&self) -> Vec<Value> {
        self.fly.state()["apps"][0]["machines"].as_array().cloned().unwrap_or_default()
    }

    /// Machines that were made for a step and are gone.
    fn gone(&self) -> usize {
        self.fly.state()["apps"][0]["destroyed"].as_array().map_or(0, Vec::len)
    }

    /// Waits until so many machines are there and so many gone: one that is being destroyed is there for a moment.
    async fn left(&self, machines: usize, gone: usize) {
        let began = std::time::Instant::now();
        while (self.machines().len(), self.gone()) != (machines, gone) {
            let now = (self.machines().len(), self.gone());
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "{now:?}, not {:?}", (machines, gone));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn sent(&self, method: &str, end: &str) -> Vec<Value> {
        let (all, _) = self.fly.requests(0, 10_000);
        let fits = |one: &Value| one["method"] == method && one["path"].as_str().unwrap_or_default().ends_with(end);
        all.into_iter().filter(fits).collect()
    }

    /// A fault at the requests that make machines.
    fn fault(&self, fault: Value) {
        let mut fault = fault;
        fault["door"] = json!("machines");
        fault["path"] = json!("/apps/{app_name}/machines");
        fault["times"] = json!(1);
        if fault.get("method").is_none() {
            fault["method"] = json!("POST");
        }
        self.fly.act("faults", &fault).expect("a fault");
    }
}

fn call(step: Step) -> StepCall {
    let within = Duration::from_secs(20);
    StepCall { app: "shop".to_owned(), step, mark: "DEP-1.2".to_owned(), by: "ana".to_owned(), within }
}

fn image(tag: &str) -> Image {
    Image::new(format!("registry.fly.io/shop:{tag}"))
}

fn command(tag: &str) -> Step {
    let release = Some(ReleaseRef { id: "r2".to_owned(), version: 2 });
    Step::RunReleaseCommand { to: image(tag), command: "bin/migrate --now 'a b'".to_owned(), release }
}

fn is_done(end: &StepEnd) -> bool {
    matches!(end, StepEnd::Done { before: None, after: None, release: None })
}

#[tokio::test]
async fn a_release_command_runs_on_a_machine_of_its_own_and_only_once() {
    let there = There::start().await;
    let end = there.step(command("v2")).await;
    assert!(is_done(&end), "{end:?}");
    let sent = there.sent("POST", "/machines");
    let config = &sent[0]["body"]["config"];
    assert_eq!(config["image"], "registry.fly.io/shop:v2");
    assert_eq!(config["init"]["cmd"], json!(["bin/migrate", "--now", "a b"]));
    assert_eq!(config["guest"]["memory_mb"], 1024, "the size of the app's largest machine");
    assert_eq!((&config["env"]["RELEASE_COMMAND"], &config["restart"]["policy"]), (&json!("1"), &json!("no")));
    assert_eq!((&config["auto_destroy"], &config["dns"]["skip_registration"]), (&json!(true), &json!(true)));
    let metadata = json!({"fly_platform_version": "v2", "fly_process_group": "fly_app_release_command",
        "fly_release_id": "r2", "fly_release_version": "2", "watchbell_step": "DEP-1.2"});
    assert_eq!(config["metadata"], metadata);
    assert!(config.get("services").is_none() && config.get("checks").is_none() && config.get("mounts").is_none());
    there.left(2, 1).await;
    // Asked again, it was run already.
    assert!(is_done(&there.step(command("v2")).await));
    assert_eq!(there.sent("POST", "/machines").len(), 1);
    drop(there.fly.shutdown().await);
}

#[tokio::test]
async fn a_release_command_whose_caller_died_is_found_again_and_waited_for() {
    for tag in ["v2", "v2-bad-release"] {
        let there = There::start().await;
        there.fly.act("settings", &json!({"run_ms": 300})).expect("a setting");
        there.dies_in(command(tag)).await;
        let end = there.step(command(tag)).await;
        assert_eq!(is_done(&end), tag == "v2", "{end:?}");
        there.left(2, 1).await;
        assert_eq!(there.sent("POST", "/machines").len(), 1);
        drop(there.fly.shutdown().await);
    }
    // What it did is known also when it ended while nobody looked.
    let there = There::start().await;
    there.dies_in(command("v2-bad-release")).await;
    while there.gone() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (trouble, ..) = failure(there.step(command("v2-bad-release")).await);
    assert_eq!(trouble, Trouble::ReleaseCommandFailed { exit_code: Some(1) });
    assert_eq!(there.sent("POST", "/machines").len(), 1);
    drop(there.fly.shutdown().await);
}

#[tokio::test]
async fn an_answer_lost_while_its_machine_is_made_makes_no_second_one() {
    for fault in [json!({"kind": "drop_answer"}), json!({"kind": "answer", "status": 502})] {
        let there = There::start().await;
        there.fault(fault.clone());
        let end = there.step(command("v2")).await;
        assert!(is_done(&end), "{fault}: {end:?}");
        assert_eq!(there.gone(), 1, "{fault}");
        drop(there.fly.shutdown().await);
    }
    // Whether one was made cannot be read: none is.
    let there = There::start().await;
    for _ in 0..3 {
        there.fault(json!({"kind": "answer", "status": 503, "method": "GET"}));
    }
    let (trouble, says, _) = failure(there.step(command("v2")).await);
    assert_eq!((trouble, there.sent("POST", "/machines").len()), (Trouble::Unreachable, 0));
    assert!(says.contains("so it was not run"), "{says}");
    drop(there.fly.shutdown().await);
}

#[tokio::test]
async fn a_release_command_that_fails_says_how() {
    let there = There::start().await;
    let (trouble, says, before) = failure(there.step(command("v2-bad-release")).await);
    assert_eq!((trouble, before), (Trouble::ReleaseCommandFailed { exit_code: Some(1) }, None));
    let wanted = "the release command “bin/migrate --now 'a b'” ended with exit code 1; it said last: Error: relation \
                  \"orders\" does not exist";
    assert_eq!(says, wanted);
    // Without its output: where to find it.
    there.fly.act("faults", &json!({"kind": "answer", "status": 403, "door": "logs"})).expect("a fault");
    let second = StepCall { mark: "DEP-1.3".to_owned(), ..call(command("v2-bad-release")) };
    let (_, says, _) = failure(there.hosting.step(&second, &CallOff::default()).await);
    assert!(says.contains("its output: `fly logs --app shop --machine "), "{says}");
    // It never ran: another trouble, and nothing is left.
    for (tag, wanted) in [("v3-not-pullable", Trouble::NotStarted), ("v3-pruned", Trouble::ImageGone)] {
        let third = StepCall { mark: format!("DEP-{tag}"), ..call(command(tag)) };
        let (trouble, says, _) = failure(there.hosting.step(&third, &CallOff::default()).await);
        assert_eq!(trouble, wanted, "{says}");
        assert_eq!(there.machines().len(), 2, "{tag}");
    }
    // Out of memory.
    let fourth = StepCall { mark: "DEP-1.4".to_owned(), ..call(command("v4-out-of-memory")) };
    let (trouble, says, _) = failure(there.hosting.step(&fourth, &CallOff::default()).await);
    assert!(
        matches!(trouble, Trouble::ReleaseCommandFailed { exit_code: Some(137) }) && says.contains("memory"),
        "{says}"
    );
    drop(there.fly.shutdown().await);
}

#[tokio::test]
async fn a_release_command_that_is_late_is_left_to_its_end() {
    let there = There::start().await;
    there.fly.act("settings", &json!({"run_ms": 60_000})).expect("a setting");
    let short = StepCall { within: Duration::from_secs(3), ..call(command("v2")) };
    let (trouble, says, _) = failure(there.hosting.step(&short, &CallOff::default()).await);
    assert_eq!(trouble, Trouble::ReleaseCommandFailed { exit_code: None });
    assert!(says.contains("did not end in time; it runs on"), "{says}");
    assert_eq!((there.machines().len(), there.gone()), (3, 0));
    // By hand it can be stopped; that is no good end, whatever the code.
    let id = there.machines()[2]["id"].clone();
    there.fly.act("stop", &json!({"app": "shop", "machine": id})).expect("it stops");
    let (trouble, says, _) = failure(there.step(command("v2")).await);
    assert!(matches!(trouble, Trouble::ReleaseCommandFailed { .. }), "{trouble:?}");
    assert!(says.contains("somebody stopped"), "{says}");
    drop(there.fly.shutdown().await);
}

fn trial(there: &There, tag: &str, like: usize) -> Step {
    let like = there.machines()[like]["id"].as_str().unwrap_or_default().to_owned();
    let release = Some(ReleaseRef { id: "r2".to_owned(), version: 2 });
    Step::Trial { like, to: image(tag), release }
}

#[tokio::test]
async fn an_image_is_tried_on_a_machine_of_its_own_that_is_gone_afterwards() {
    let there = There::start().await;
    let end = there.step(trial(&there, "v2", 0)).await;
    assert!(is_done(&end), "{end:?}");
    let body = &there.sent("POST", "/machines")[0]["body"];
    assert_eq!((&body["region"], &body["skip_service_registration"]), (&json!("iad"), &json!(true)));
    let config = &body["config"];
    assert_eq!((&config["image"], &config["guest"]["memory_mb"]), (&json!("registry.fly.io/shop:v2"), &json!(256)));
    assert_eq!(
        (&config["metadata"]["fly_canary"], &config["dns"]["skip_registration"]),
        (&json!("true"), &json!(true))
    );
    assert!(config["services"].as_array().is_some_and(|services| !services.is_empty()), "with its checks");
    there.left(2, 1).await;
    // Who ends soon never passes a check: this client watches for too short a time to see it end.
    for (tag, character) in [("v2-crash-loop", "crash_loop"), ("v2-out-of-memory", "out_of_memory")] {
        let told = json!({"image": tag, "character": character, "healthy_ms": 600_000});
        there.fly.act("image", &told).expect("an image");
    }
    for (number, (tag, wanted)) in [
        ("v2-unhealthy", Trouble::Unhealthy),
        ("v2-crash-loop", Trouble::CrashLoop),
        ("v2-out-of-memory", Trouble::OutOfMemory),
        ("v2-not-pullable", Trouble::NotStarted),
        ("v2-pruned", Trouble::ImageGone),
    ]
    .into_iter()
    .enumerate()
    {
        let one =
            StepCall { mark: format!("DEP-2.{number}"), within: Duration::from_secs(5), ..call(trial(&there, tag, 0)) };
        let (trouble, says, before) = failure(there.hosting.step(&one, &CallOff::default()).await);
        // What cannot be pulled never became a machine.
        let gone = if tag == "v2-pruned" { number + 1 } else { number + 2 };
        there.left(2, gone).await;
        assert_eq!((trouble, before, there.machines().len()), (wanted, None, 2), "{tag}: {says}");
    }
    let (trouble, says, _) = failure(there.step(trial(&there, "v2", 1)).await);
    assert_eq!(trouble, Trouble::Refused);
    assert!(says.contains("has a volume"), "{says}");
    drop(there.fly.shutdown().await);
}

#[tokio::test]
async fn a_trial_whose_caller_died_is_finished_and_taken_away() {
    for (tag, well) in [("v2", true), ("v2-unhealthy", false)] {
        let there = There::start().await;
        let step = trial(&there, tag, 0);
        there.dies_in(step.clone()).await;
        assert_eq!(there.machines().len(), 3, "it is left behind");
        let again = StepCall { within: Duration::from_secs(5), ..call(step) };
        let end = there.hosting.step(&again, &CallOff::default()).await;
        assert_eq!(is_done(&end), well, "{end:?}");
        there.left(2, 1).await;
        assert_eq!(there.sent("POST", "/machines").len(), 1);
        drop(there.fly.shutdown().await);
    }
}

#[tokio::test]
async fn a_machine_that_is_taken_away_late_is_taken_away_all_the_same() {
    let there = There::start().await;
    let fault = json!({"kind": "answer", "status": 503, "door": "machines", "method": "DELETE", "times": 2,
                       "path": "/apps/{app_name}/machines/{machine_id}"});
    there.fly.act("faults", &fault).expect("a fault");
    assert!(is_done(&there.step(trial(&there, "v2", 0)).await));
    there.left(2, 1).await;
    // Not at all: it says what to do by hand.
    let mut forever = fault;
    forever["times"] = json!(100);
    there.fly.act("faults", &forever).expect("a fault");
    let last = StepCall { mark: "DEP-1.9".to_owned(), within: Duration::from_secs(6), ..call(trial(&there, "v2", 0)) };
    let (_, says, _) = failure(there.hosting.step(&last, &CallOff::default()).await);
    assert!(says.starts_with("the trial went well; and its machine "), "{says}");
    assert!(says.contains("`fly machine destroy ") && says.ends_with("--app shop --force`"), "{says}");
    // And no plan takes it for one that serves.
    let planned = there.hosting.inventory("shop").await.map(|inventory| inventory.machines.len());
    assert_eq!((there.machines().len(), planned), (3, Ok(2)));
    drop(there.fly.shutdown().await);
}

#[tokio::test]
async fn a_machine_that_is_put_down_is_woken_by_nobody() {
    let there = There::start().await;
    let id = there.machines()[0]["id"].as_str().unwrap_or_default().to_owned();
    let end = there.step(Step::Zero { machine: id.clone() }).await;
    let StepEnd::Done { before: Some(before), after: Some(after), .. } = end else { panic!("{end:?}") };
    let service = |config: &Value| config["services"][0].clone();
    assert_eq!((&service(&before)["autostart"], &service(&after)["autostart"]), (&json!(true), &json!(false)));
    assert_eq!(there.machines()[0]["state"], "stopped");
    // Nothing else about it is different.
    let mut undone = after.clone();
    undone["services"] = before["services"].clone();
    undone["metadata"] = before["metadata"].clone();
    assert_eq!(undone, before);
    // The other one down as well, nobody answers, and nobody wakes.
    let other = there.machines()[1]["id"].as_str().unwrap_or_default().to_owned();
    let second = StepCall { mark: "DEP-1.3".to_owned(), ..call(Step::Zero { machine: other }) };
    assert!(matches!(there.hosting.step(&second, &CallOff::default()).await, StepEnd::Done { .. }));
    let front = there.fly.front_url("shop").expect("a front");
    let answered = reqwest::Client::new().get(&front).timeout(Duration::from_secs(5)).send().await;
    assert!(!answered.is_ok_and(|answer| answer.status().is_success()));
    assert!(there.machines().iter().all(|machine| machine["state"] == "stopped"));
    // Asked again, it is done; its configuration is written once.
    let writes = there.sent("POST", &format!("/machines/{id}")).len();
    assert!(matches!(there.step(Step::Zero { machine: id.clone() }).await, StepEnd::Done { before: Some(_), .. }));
    assert_eq!((writes, there.sent("POST", &format!("/machines/{id}")).len()), (1, 1));
    drop(there.fly.shutdown().await);
}
