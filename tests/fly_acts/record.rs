//! Fly's record of releases, opened and closed by the bot, and what a plan reads of an app; on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use watchbell::adapters::fly::{FlyHosting, Patience};
use watchbell::domain::deploy::Strategy;
use watchbell::domain::hosting::{Image, ReleaseEnd, ReleaseRef, Step, StepEnd, Trouble};
use watchbell::ports::hosting::{CallOff, Hosting, StepCall};

use super::fake::{Fake, Twist, release};

const IMAGE: &str = "registry.fly.io/shop:v2";

fn fly(base: &str) -> FlyHosting {
    let tokens = BTreeMap::from([("shop".to_owned(), SecretString::from("FlyV1 fm2_canarycanary"))]);
    let read = SecretString::from("FlyV1 fm2_readerreader");
    let patience = Patience { pace: Duration::from_millis(1), ..Patience::default() };
    FlyHosting::new(base, base, Some(&read), &tokens, patience).expect("a client")
}

async fn run(base: &str, step: Step) -> StepEnd {
    let (mark, by, within) = ("DEP-1.1".to_owned(), "ana".to_owned(), Duration::from_secs(30));
    fly(base).step(&StepCall { app: "shop".to_owned(), step, mark, by, within }, &CallOff::default()).await
}

async fn open(base: &str) -> StepEnd {
    run(base, Step::OpenRelease { image: Image::new(IMAGE), strategy: Strategy::Rolling }).await
}

fn number(end: &StepEnd) -> Option<u64> {
    match end {
        StepEnd::Done { release: Some(release), .. } => Some(release.version),
        _ => None,
    }
}

fn down(fake: &Fake, actions: &[&'static str]) {
    for action in actions {
        fake.twist(action, (0..20).map(|_| Twist::Answer(503, json!({"errors": {"detail": "down"}}))));
    }
}

const REST: [&str; 3] = ["rest list", "rest create", "rest write"];
const GRAPHQL: [&str; 5] = ["gql list", "gql create", "gql write", "gql current", "gql marks"];

#[tokio::test]
async fn a_release_is_put_on_record_with_the_configuration_that_was_and_closed() {
    let (fake, base) = Fake::start().await;
    let end = open(&base).await;
    assert_eq!(number(&end), Some(2), "{end:?}");
    let made = fake.last("rest create");
    let definition = fake.world().definition.clone();
    let body =
        json!({"app_name": "shop", "build_id": 0, "definition": definition, "image": IMAGE, "strategy": "ROLLING"});
    assert_eq!((made.body, made.authorization.as_str()), (body, "Bearer fm2_canarycanary"));
    let wrote = fake.last("rest write");
    assert_eq!(wrote.line, "PATCH /api/v1/releases/r2");
    assert_eq!(
        (&wrote.body["status"], &wrote.body["metadata"]["watchbell_step"]),
        (&json!("running"), &json!("DEP-1.1"))
    );
    // Asked again it is the same one, by its mark, or by its looks where GraphQL is silent.
    assert_eq!(number(&open(&base).await), Some(2));
    down(&fake, &["gql marks"]);
    assert_eq!(number(&open(&base).await), Some(2));
    assert_eq!(fake.count("rest create"), 1);
    let release = ReleaseRef { id: "r2".to_owned(), version: 2 };
    let close = Step::CloseRelease { release, ended: ReleaseEnd::Complete };
    for _ in 0..2 {
        assert!(matches!(run(&base, close.clone()).await, StepEnd::Done { .. }));
        assert_eq!(fake.world().releases[1]["status"], "complete");
    }
}

#[tokio::test]
async fn a_release_of_another_step_or_of_long_ago_is_not_taken_for_ours() {
    let (fake, base) = Fake::start().await;
    let mut theirs = release("r2", 2, "running", IMAGE, &chrono::Utc::now().to_rfc3339());
    theirs["metadata"] = json!({"flyctl_version": "0.4"});
    fake.world().releases.push(theirs);
    assert_eq!(number(&open(&base).await), Some(3));
    let (fake, base) = Fake::start().await;
    fake.world().releases.push(release("r2", 2, "running", IMAGE, "2026-01-01T00:00:00Z"));
    assert_eq!(number(&open(&base).await), Some(3), "stuck in running since January");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_release() {
    let (fake, base) = Fake::start().await;
    fake.twist("rest create", [Twist::DoneAnd(502, Value::Null)]);
    assert_eq!(number(&open(&base).await), Some(2));
    assert_eq!((fake.count("rest create"), fake.count("gql create")), (1, 0));
}

#[tokio::test]
async fn where_one_door_to_the_record_is_closed_the_other_is_used() {
    let (fake, base) = Fake::start().await;
    down(&fake, &REST);
    assert_eq!(number(&open(&base).await), Some(2));
    let input = fake.last("gql create").body["variables"]["input"].clone();
    assert_eq!(
        (&input["appId"], &input["strategy"], &input["platformVersion"]),
        (&json!("shop"), &json!("ROLLING"), &json!("machines"))
    );
    assert_eq!(fake.world().releases[1]["status"], "running");
    let release = ReleaseRef { id: "r2".to_owned(), version: 2 };
    let end = run(&base, Step::CloseRelease { release, ended: ReleaseEnd::Failed }).await;
    assert!(matches!(end, StepEnd::Done { .. }), "{end:?}");
    assert_eq!(fake.world().releases[1]["status"], "failed");
}

#[tokio::test]
async fn with_both_doors_closed_it_says_so_and_nothing_is_made() {
    let (fake, base) = Fake::start().await;
    down(&fake, &REST);
    down(&fake, &GRAPHQL);
    let end = open(&base).await;
    let StepEnd::Failed { trouble: Trouble::Unreachable, says, before: None } = end else { panic!("{end:?}") };
    assert!(says.starts_with("the release is not on Fly's record: ") && says.contains("01JREQ-ord"), "{says}");
    assert_eq!(fake.world().releases.len(), 1);
    // Without the configuration that was, a record would do harm.
    let (fake, base) = Fake::start().await;
    fake.world().definition = Value::Null;
    let end = open(&base).await;
    assert!(matches!(end, StepEnd::Failed { trouble: Trouble::Unreachable, .. }), "{end:?}");
    assert_eq!(fake.count("rest create"), 0);
}

#[tokio::test]
async fn with_graphql_alone_away_a_release_is_made_of_what_was_told_before() {
    let (fake, base) = Fake::start().await;
    let fly = fly(&base);
    let (mark, by, within) = ("DEP-1.1".to_owned(), "ana".to_owned(), Duration::from_secs(30));
    let step = Step::OpenRelease { image: Image::new(IMAGE), strategy: Strategy::Immediate };
    let call = StepCall { app: "shop".to_owned(), step, mark, by, within };
    assert!(fly.inventory("shop").await.is_ok());
    for _ in 0..3 {
        down(&fake, &GRAPHQL);
    }
    let end = fly.step(&call, &CallOff::default()).await;
    assert_eq!(number(&end), Some(2), "{end:?}");
    let made = fake.last("rest create").body;
    assert_eq!((&made["definition"], &made["strategy"]), (&fake.world().definition.clone(), &json!("IMMEDIATE")));
    // Released by somebody else since: what was told before is not that of now.
    fake.world().releases.push(release("r3", 3, "complete", "registry.fly.io/shop:v3", "2026-01-01T00:00:00Z"));
    let end = fly.step(&StepCall { mark: "DEP-2.1".to_owned(), ..call }, &CallOff::default()).await;
    assert!(matches!(end, StepEnd::Failed { trouble: Trouble::Unreachable, .. }), "{end:?}");
    assert_eq!(fake.count("rest create"), 1);
}

#[tokio::test]
async fn a_plan_reads_machines_releases_and_what_goes_with_them() {
    let (fake, base) = Fake::start().await;
    let read = fly(&base).inventory("shop").await.expect("an inventory");
    assert_eq!(fake.last("list").authorization, "FlyV1 fm2_readerreader");
    let machine = read.machines.first().expect("a machine");
    assert_eq!((machine.id.as_str(), machine.group.as_str(), machine.instance.as_str()), ("m1", "app", "01A"));
    assert_eq!(
        (machine.image.reference.as_str(), machine.image.digest.as_deref()),
        ("registry.fly.io/shop:v1", Some("sha256:aa"))
    );
    assert_eq!((machine.checks, machine.may_sleep, machine.has_volume, machine.host_ok), (1, true, false, true));
    assert_eq!(machine.config_sha256.len(), 64);
    let releases = read.releases.expect("releases");
    let known: Vec<_> =
        releases.iter().map(|one| (one.version, one.image.digest.as_deref(), one.is_complete())).collect();
    assert_eq!(known, [(1, Some("sha256:aa"), true)], "the machines tell the digest");
    assert_eq!(read.release_command, Ok(Some("bin/migrate".to_owned())));
    assert_eq!(read.secrets_at, "2026-02-03T00:00:00Z".parse().ok());
    // GraphQL tells the releases when REST does not, and nothing else depends on either.
    down(&fake, &REST);
    let read = fly(&base).inventory("shop").await.expect("an inventory");
    assert_eq!(read.releases.map(|all| all.len()), Ok(1));
    down(&fake, &GRAPHQL);
    let read = fly(&base).inventory("shop").await.expect("an inventory");
    assert!(read.releases.is_err_and(|why| why.contains("01JREQ-ord")));
    assert_eq!(read.machines.len(), 1);
    assert!(read.release_command.is_err_and(|why| why.contains("01JREQ-ord")), "not told is not none");
    // A token that may not look is helped out by the one that may act.
    fake.twist("list", [Twist::Answer(403, json!({"error": "forbidden"}))]);
    assert!(fly(&base).inventory("shop").await.is_ok());
    assert_eq!(fake.last("list").authorization, "FlyV1 fm2_canarycanary");
    let none = FlyHosting::new(&base, &base, None, &BTreeMap::new(), Patience::default()).expect("a client");
    assert_eq!(none.inventory("shop").await.err().as_deref(), Some("there is no token to look at shop with"));
}
