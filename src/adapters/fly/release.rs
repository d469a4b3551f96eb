//! Fly's own record of what was released: read, opened and closed. Machines do not depend on it, but `fly scale` and `fly deploy`
//! take their image and configuration from it later, so it must not be left wrong.
//!
//! Two undocumented doors lead to it, REST (what flyctl uses) and GraphQL; each is tried when the other does not answer. Source:
//! flyctl internal/uiex/releases.go, fly-go's GraphQL schema. What is a guess is marked as one.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::read_list;
use super::hand::{Hand, Until, failed, same_image};
use super::model;
use super::troubles::{Meaning, meaning};
use super::wire::{Ask, FlyError, Side, Wire, backoff};
use crate::domain::deploy::Strategy;
use crate::domain::hosting::{Image, Release, ReleaseEnd, ReleaseRef, StepEnd, Trouble};
use crate::ports::hosting::{CallOff, StepCall};

/// Releases that are read, newest first.
pub(super) const RELEASES_READ: u16 = 25;
/// Tries of a write to the record. Naming a status twice is the same as once.
const TRIES_MAX: u32 = 3;
/// An open release of the same image as young as this is taken for ours, when nothing says whose it is.
const OURS_MINUTES_MAX: i64 = 15;
/// The key of our mark in a release's metadata.
const MARK: &str = "watchbell_step";

const LIST: &str = "query($app: String!, $limit: Int!) { app(name: $app) { releasesUnprocessed(first: $limit) { nodes { \
                    id version status imageRef createdAt user { email name } } } } }";
const MARKS: &str =
    "query($app: String!, $limit: Int!) { app(name: $app) { releases(first: $limit) { nodes { version metadata } } } }";
const CURRENT: &str = "query($app: String!) { app(name: $app) { id currentReleaseUnprocessed { id version configDefinition } \
                       secrets { createdAt } } }";
const CREATE: &str =
    "mutation($input: CreateReleaseInput!) { createRelease(input: $input) { release { id version } } }";
const UPDATE: &str = "mutation($input: UpdateReleaseInput!) { updateRelease(input: $input) { release { id } } }";

/// A way to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Rest,
    GraphQl,
}

impl Door {
    const BOTH: [Self; 2] = [Self::Rest, Self::GraphQl];

    async fn list(self, wire: &Wire, app: &str) -> Result<Vec<Release>, FlyError> {
        let read = |value: &Value| model::Release::read(value).map(of_model);
        match self {
            Self::Rest => {
                let ask = Ask::get("list releases", app, Side::Rest, &["apps", app, "releases"]);
                let answer = wire.question(ask.query("limit", RELEASES_READ)).await?;
                read_list(answer.get("releases").unwrap_or(&answer), "releases", read)
            }
            Self::GraphQl => {
                let variables = json!({"app": app, "limit": RELEASES_READ});
                let answer = query(wire, "list releases by GraphQL", app, LIST, variables).await?;
                let nodes = answer.pointer("/data/app/releasesUnprocessed/nodes").unwrap_or(&Value::Null);
                read_list(nodes, "releases", |node| read(&renamed(node)))
            }
        }
    }

    async fn create(
        self,
        wire: &Wire,
        app: &str,
        (image, strategy): (&Image, Strategy),
        current: &Current,
    ) -> Result<Option<ReleaseRef>, FlyError> {
        let (image, definition) = (&image.reference, &current.definition);
        let answer = match self {
            Self::Rest => {
                let ask = Ask::send(Method::POST, "create release", app, Side::Rest, &["releases"]);
                // build_id as flyctl sends it for an image that it did not build.
                let body = json!({"app_name": app, "build_id": 0, "definition": definition, "image": image, "strategy": word(strategy)});
                wire.once(&ask.body(body)).await?
            }
            Self::GraphQl => {
                let input = json!({"appId": current.app_id, "image": image, "platformVersion": "machines",
                                   "strategy": word(strategy), "definition": definition});
                let ask = graphql("create release by GraphQL", app, CREATE, json!({"input": input}));
                wire.once(&ask).await?
            }
        };
        let release = answer
            .pointer("/data/createRelease/release")
            .or_else(|| answer.get("release"))
            .and_then(model::Release::read);
        Ok(release.map(|release| ReleaseRef { id: release.id, version: release.version }))
    }

    async fn write(self, wire: &Wire, release: &ReleaseRef, status: &str, metadata: &Value) -> Result<(), FlyError> {
        let ask = match self {
            Self::Rest => {
                let path = ["releases", release.id.as_str()];
                let ask = Ask::send(Method::PATCH, "write release", &release.id, Side::Rest, &path);
                ask.body(json!({"status": status, "metadata": metadata}))
            }
            Self::GraphQl => {
                let input = json!({"releaseId": release.id, "status": status, "metadata": metadata});
                graphql("write release by GraphQL", &release.id, UPDATE, json!({"input": input}))
            }
        };
        wire.once(&ask).await.map(|_| ())
    }
}

/// The newest releases, newest first, from whichever door answers.
///
/// # Errors
/// What both doors said, as one sentence.
pub(super) async fn list(wire: &Wire, app: &str) -> Result<Vec<Release>, String> {
    let mut said = Vec::new();
    for door in Door::BOTH {
        match door.list(wire, app).await {
            Ok(mut releases) => {
                releases.sort_by_key(|release| std::cmp::Reverse(release.version));
                return Ok(releases);
            }
            Err(error) => said.push(error.to_string()),
        }
    }
    Err(format!("releases could not be read: {}", said.join("; and: ")))
}

/// Fly's word for it. Source: its GraphQL schema, DeploymentStrategy.
fn word(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Rolling => "ROLLING",
        Strategy::Canary => "CANARY",
        Strategy::Immediate => "IMMEDIATE",
    }
}

/// What the next release is made of, and what a plan says beside it. REST does not tell it.
#[derive(Debug, Clone, Default)]
pub(super) struct Current {
    app_id: String,
    /// The number of the release that it is of.
    version: Option<u64>,
    /// The configuration of the current release, as it came.
    pub(super) definition: Value,
    /// When secrets were set.
    pub(super) secrets: Vec<Value>,
}

impl Current {
    /// Whether it is that of a release with this number, and says what the app is made of.
    pub(super) fn is_of(&self, version: u64) -> bool {
        self.version == Some(version) && self.definition.is_object()
    }
}

/// Reads it.
///
/// # Errors
/// As Fly says.
pub(super) async fn current(wire: &Wire, app: &str) -> Result<Current, FlyError> {
    let answer = query(wire, "read current release", app, CURRENT, json!({"app": app})).await?;
    let place = answer.pointer("/data/app").ok_or_else(|| FlyError::local("Fly's GraphQL answered without the app"))?;
    let release = place.get("currentReleaseUnprocessed").unwrap_or(&Value::Null);
    // An app without a release has no configuration to keep; a release whose configuration is not told has.
    let definition = match release.get("configDefinition") {
        _ if release.is_null() => json!({}),
        Some(definition) if definition.is_object() => definition.clone(),
        _ => Value::Null,
    };
    let app_id = place.get("id").and_then(Value::as_str).unwrap_or(app).to_owned();
    let secrets = place.get("secrets").and_then(Value::as_array).cloned().unwrap_or_default();
    let version = release.get("version").and_then(Value::as_u64);
    Ok(Current { app_id, version, definition, secrets })
}

/// Puts a release on record, running; the one that this step made before, when it did.
pub(super) async fn open(hand: &Hand, call: &StepCall, off: &CallOff, image: &Image, strategy: Strategy) -> StepEnd {
    let until = Until::step(call.within);
    match tokio::time::timeout(until.left(), open_in_time(hand, call, off, (image, strategy), until)).await {
        Ok(end) => end,
        Err(_) => failed(Trouble::Unreachable, "Fly did not take the release on record in time", None),
    }
}

async fn open_in_time(
    hand: &Hand,
    call: &StepCall,
    off: &CallOff,
    (image, strategy): (&Image, Strategy),
    until: Until,
) -> StepEnd {
    if off.is_off() {
        return StepEnd::CalledOff;
    }
    let (app, wire) = (hand.app.as_str(), &hand.wire);
    let known = match list(wire, app).await {
        Ok(known) => known,
        Err(says) => return unrecorded(Trouble::Unreachable, &says),
    };
    let newest = known.iter().map(|release| release.version).max().unwrap_or(0);
    if let Some(ours) = made_before(wire, app, &known, image, &call.mark).await {
        return opened(hand, call, ours, until).await;
    }
    let told = match current(wire, app).await {
        Ok(current) if !current.definition.is_null() => Ok(current),
        Ok(_) => Err("Fly does not tell the app's current configuration".to_owned()),
        Err(error) => Err(format!("the app's current configuration could not be read: {error}")),
    };
    let current = match told {
        Ok(current) => current,
        // Made without it, the record would hand `fly deploy` an empty configuration one day: none is better. GraphQL alone tells
        // it; what it told before is that of now as long as REST knows no newer release.
        Err(says) => match hand.recall(newest) {
            Some(current) => current,
            None => return unrecorded(Trouble::Unreachable, &says),
        },
    };
    let mut said = Vec::new();
    for door in Door::BOTH {
        if off.is_off() && said.is_empty() {
            return StepEnd::CalledOff;
        }
        let error = match door.create(wire, app, (image, strategy), &current).await {
            Ok(Some(release)) => {
                hand.remember(&Current { version: Some(release.version), ..current });
                return opened(hand, call, release, until).await;
            }
            Ok(None) => FlyError::local("Fly answered without the release's id"),
            Err(error) => error,
        };
        said.push((meaning(&error), error.to_string()));
        if said.last().is_some_and(|(meaning, _)| *meaning == Meaning::Unknown) && !error.unsent {
            // It may be there: look before another is made. What is newer than all we knew, with our image, is ours.
            until.sleep(backoff(1, &error)).await;
            match list(wire, app).await {
                Ok(now) => {
                    if let Some(ours) = now.iter().find(|one| one.version > newest && same_image(&one.image, image)) {
                        let release = ReleaseRef { id: ours.id.clone(), version: ours.version };
                        return opened(hand, call, release, until).await;
                    }
                }
                Err(says) => return unrecorded(Trouble::Unreachable, &format!("{error}; and then {says}")),
            }
        }
    }
    let refused = said.iter().find_map(|(meaning, _)| match meaning {
        Meaning::Refused(trouble) => Some(trouble.clone()),
        _ => None,
    });
    let unanswered = said.iter().any(|(meaning, _)| !matches!(meaning, Meaning::Refused(_)));
    let trouble = if unanswered { Trouble::Unreachable } else { refused.unwrap_or(Trouble::Unreachable) };
    unrecorded(trouble, &said.into_iter().map(|(_, says)| says).collect::<Vec<_>>().join("; and: "))
}

/// The release that this very step opened and was cut off from.
///
/// Guess: a release carries our mark only in the metadata that is written after it was made, and only GraphQL's older list tells
/// metadata. Where that says nothing, the newest release of all counts as ours when it is open, young and of our image.
#[expect(clippy::disallowed_methods, reason = "Fly stamps its releases with wire time")]
async fn made_before(wire: &Wire, app: &str, known: &[Release], image: &Image, mark: &str) -> Option<ReleaseRef> {
    let newest = known.iter().max_by_key(|release| release.version)?;
    let ours = ReleaseRef { id: newest.id.clone(), version: newest.version };
    let open = !matches!(newest.status.as_str(), "complete" | "failed" | "interrupted");
    let young = newest.at.is_none_or(|at| Utc::now() - at < TimeDelta::minutes(OURS_MINUTES_MAX));
    if !open || !young || !same_image(&newest.image, image) {
        return None;
    }
    let marks = query(wire, "read marks of releases", app, MARKS, json!({"app": app, "limit": RELEASES_READ})).await;
    let marked = marks.ok().and_then(|answer| {
        let nodes = answer.pointer("/data/app/releases/nodes")?.as_array()?;
        let node = nodes.iter().find(|node| node.get("version").and_then(Value::as_u64) == Some(newest.version))?;
        node.get("metadata").filter(|metadata| metadata.as_object().is_some_and(|all| !all.is_empty())).cloned()
    });
    match marked {
        Some(metadata) => (metadata.get(MARK).and_then(Value::as_str) == Some(mark)).then_some(ours),
        None => Some(ours),
    }
}

/// Made; now it is said to be running, with our mark. That it is on record matters more than that word.
async fn opened(hand: &Hand, call: &StepCall, release: ReleaseRef, until: Until) -> StepEnd {
    if let Err((_, says)) = write(hand, call, &release, "running", until).await {
        tracing::warn!(release.version = release.version, "A release on Fly's record is not marked as running: {says}");
    }
    StepEnd::Done { before: None, after: None, release: Some(release) }
}

/// Says on the record how a release ended. Saying it twice is the same as once.
pub(super) async fn close(hand: &Hand, call: &StepCall, release: &ReleaseRef, ended: ReleaseEnd) -> StepEnd {
    let status = match ended {
        ReleaseEnd::Complete => "complete",
        ReleaseEnd::Failed => "failed",
        ReleaseEnd::Interrupted => "interrupted",
    };
    match write(hand, call, release, status, Until::step(call.within)).await {
        Ok(()) => StepEnd::Done { before: None, after: None, release: Some(release.clone()) },
        Err((trouble, says)) => {
            let says = format!("release v{} is not marked as {status} on Fly's record: {says}", release.version);
            failed(trouble, says, None)
        }
    }
}

/// Writes a status, over REST and where that does not work over GraphQL.
async fn write(
    hand: &Hand,
    call: &StepCall,
    release: &ReleaseRef,
    status: &str,
    until: Until,
) -> Result<(), (Trouble, String)> {
    let metadata = json!({MARK: call.mark, "watchbell_version": env!("CARGO_PKG_VERSION"), "asked_by": call.by});
    let (mut said, mut trouble) = (Vec::new(), Trouble::Unreachable);
    for door in Door::BOTH {
        for tried in 1..=TRIES_MAX {
            let one = tokio::time::timeout(until.left(), door.write(&hand.wire, release, status, &metadata)).await;
            let error = match one {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => FlyError::local("the step's time was over before Fly answered"),
            };
            let meant = meaning(&error);
            let again = !matches!(meant, Meaning::Refused(_)) && tried < TRIES_MAX && !until.is_over();
            if again {
                until.sleep(backoff(tried, &error)).await;
                continue;
            }
            if let Meaning::Refused(why) = meant {
                trouble = why;
            }
            said.push(error.to_string());
            break;
        }
    }
    Err((trouble, said.join("; and: ")))
}

fn unrecorded(trouble: Trouble, says: &str) -> StepEnd {
    failed(trouble, format!("the release is not on Fly's record: {says}"), None)
}

fn graphql<'a>(action: &'static str, object: &'a str, text: &str, variables: Value) -> Ask<'a> {
    let body = json!({"query": text, "variables": variables});
    Ask::send(Method::POST, action, object, Side::GraphQl, &[]).body(body)
}

/// A question to GraphQL: it changes nothing, so it is asked again when Fly stumbles.
async fn query(wire: &Wire, action: &'static str, app: &str, text: &str, variables: Value) -> Result<Value, FlyError> {
    wire.question(graphql(action, app, text, variables)).await
}

/// GraphQL's names for what REST calls otherwise.
fn renamed(node: &Value) -> Value {
    let mut node = node.clone();
    if let Some(fields) = node.as_object_mut() {
        for (theirs, ours) in [("imageRef", "image_ref"), ("createdAt", "created_at")] {
            if let Some(value) = fields.remove(theirs) {
                fields.insert(ours.to_owned(), value);
            }
        }
    }
    node
}

fn of_model(release: model::Release) -> Release {
    let model::Release { id, version, status, image, user, at } = release;
    Release { id, version, status, image: Image::new(image), user, at }
}
