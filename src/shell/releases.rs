//! Follows the releases of every service's app, so that a deploy made elsewhere is known without anybody asking.
//!
//! Owns the pace: one app after another, spread over the span that configuration gives, sooner after a change of our own, rarer
//! while Fly does not tell. That it does not is said once in the log and stands in `/watchbell status`. Never decides what is new.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::acting::{Acts, Doing};
use super::door::Door;
use crate::adapters::clock::{Timepiece, sleep_until};
use crate::adapters::fly;
use crate::domain::hosting::{Inventory, Lived, Release, Step};
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind, ReleasesLook, Stepped};
use crate::domain::workspace::Workspace;
use crate::ports::Clock as _;
use crate::ports::hosting::StepCall;

/// While Fly does not tell, an app is asked this many times more seldom at most.
const RARER_MAX: i32 = 5;
/// An app that we changed is asked after this share of the usual span.
const SOONER: i32 = 6;
/// A release's age counts in steps of this, in seconds: nobody needs it finer, and what a question takes must not show.
const AGE_STEP_S: i64 = 10;

/// Follows the releases.
pub struct Releases {
    client: Arc<fly::Client>,
    apps: Vec<String>,
    clock: Arc<dyn Timepiece>,
    every: TimeDelta,
    troubles: Mutex<BTreeMap<String, Trouble>>,
}

/// Why an app's releases are not known as of now.
#[derive(Debug, Clone)]
struct Trouble {
    since: DateTime<Utc>,
    says: String,
    failures: i32,
}

impl Releases {
    /// Follows the apps of these services, each once in `every`.
    pub fn new(client: Arc<fly::Client>, workspace: &Workspace, clock: Arc<dyn Timepiece>, every: TimeDelta) -> Self {
        let stages = workspace.services.iter().flat_map(|service| service.stages());
        let mut apps: Vec<String> = stages.filter_map(|(_, spec)| spec.fly_app.clone()).collect();
        apps.sort();
        apps.dedup();
        Self { client, apps, clock, every, troubles: Mutex::default() }
    }

    /// Asks for every app, now and once. For whoever moves the clock.
    pub async fn look_now(&self) -> Vec<ReleasesLook> {
        let mut looks = Vec::new();
        for app in &self.apps {
            looks.extend(self.look(app).await);
        }
        looks
    }

    /// What is wrong, in a sentence; none when all is well.
    pub fn trouble(&self) -> Option<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let (app, trouble) = troubles.iter().next()?;
        let others = match troubles.len() - 1 {
            0 => String::new(),
            n => format!(", and of {n} more"),
        };
        let since = trouble.since.format("%H:%M UTC");
        Some(format!(
            "not known of {app}{others} since {since}, so deploys made elsewhere are not seen: {}",
            trouble.says
        ))
    }

    async fn look(&self, app: &str) -> Option<ReleasesLook> {
        match self.client.releases_with_age(app).await {
            Ok(told) => {
                if self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(app).is_some() {
                    info!(app, "The releases of {app} are told again");
                }
                let now = self.clock.now();
                let releases = told.into_iter().map(|(release, age)| as_promised(now, release, age)).collect();
                Some(ReleasesLook { app: app.to_owned(), releases })
            }
            Err(says) => {
                let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
                let now = self.clock.now();
                let is_new = !troubles.contains_key(app);
                let trouble =
                    troubles.entry(app.to_owned()).or_insert(Trouble { since: now, says: String::new(), failures: 0 });
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.says.clone_from(&says);
                if is_new {
                    warn!(app, "The releases of {app} are not told; I go on asking: {says}");
                }
                None
            }
        }
    }

    /// How long until an app is asked again.
    fn wait(&self, app: &str) -> TimeDelta {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = troubles.get(app).map_or(0, |trouble| trouble.failures);
        self.every * (failures + 1).clamp(1, RARER_MAX)
    }
}

/// Fly's clock is the wall's and ours may be another: what counts is how long ago it was.
fn as_promised(now: DateTime<Utc>, release: Release, age: Option<TimeDelta>) -> Release {
    let age_s = age.map(|age| age.num_seconds().max(0) / AGE_STEP_S * AGE_STEP_S);
    let at = age_s.and_then(TimeDelta::try_seconds).and_then(|age| now.checked_sub_signed(age));
    Release { at, ..release }
}

/// Goes round for as long as the loop is there. `soon` names apps that we changed.
pub(super) async fn follow(releases: Arc<Releases>, mut soon: mpsc::Receiver<String>, door: Door) {
    let mut due = spread(&releases.apps, releases.clock.now(), releases.every);
    let mut count: u64 = 0;
    while let Some((app, at)) = due.iter().min_by_key(|(_, at)| **at).map(|(app, at)| (app.clone(), *at)) {
        tokio::select! {
            () = sleep_until(&*releases.clock, at) => {
                if let Some(look) = releases.look(&app).await {
                    count += 1;
                    let id = InputId::new(format!("releases:{count}:{}", releases.clock.now().timestamp_millis()));
                    // One that finds the loop busy is dropped: the next one says it again.
                    let _ = door.bring(Input { id, kind: InputKind::Releases(look) }, None);
                }
                due.insert(app.clone(), releases.clock.now() + releases.wait(&app));
            }
            Some(app) = soon.recv() => {
                let sooner = releases.clock.now() + releases.every / SOONER;
                if let Some(at) = due.get_mut(&app) {
                    *at = sooner.min(*at);
                }
            }
        }
    }
}

/// The first at once, so that little is missed; the others one after another.
fn spread(apps: &[String], now: DateTime<Utc>, every: TimeDelta) -> BTreeMap<String, DateTime<Utc>> {
    let many = i32::try_from(apps.len()).unwrap_or(i32::MAX).max(1);
    let after = every / many;
    apps.iter().zip(0i32..).map(|(app, nth)| (app.clone(), now + after * nth)).collect()
}

/// Apps that may wait to be asked sooner.
const SOON_MAX: usize = 64;

/// Acts as another does, and has an app's releases asked for sooner once one of them was written.
pub(super) struct Followed {
    acts: Arc<dyn Acts>,
    soon: mpsc::Sender<String>,
}

impl Followed {
    /// Around `acts`, with what it says to `follow`.
    pub(super) fn new(acts: Arc<dyn Acts>) -> (Self, mpsc::Receiver<String>) {
        let (soon, told) = mpsc::channel(SOON_MAX);
        (Self { acts, soon }, told)
    }
}

impl Acts for Followed {
    fn inventory(&self, app: &str) -> Doing<Result<Inventory, String>> {
        self.acts.inventory(app)
    }

    fn inspect(&self, app: &str) -> Doing<Result<Inventory, String>> {
        self.acts.inspect(app)
    }

    fn life(&self, app: &str, now: DateTime<Utc>) -> Doing<Result<Vec<Lived>, String>> {
        self.acts.life(app, now)
    }

    fn step(&self, call: StepCall) -> Doing<Stepped> {
        let is_release = matches!(call.step, Step::OpenRelease { .. } | Step::CloseRelease { .. });
        let (app, soon) = (call.app.clone(), self.soon.clone());
        let doing = self.acts.step(call);
        Box::pin(async move {
            let end = doing.await;
            if is_release {
                // Full, or nobody follows: then it is asked at its usual time.
                let _ = soon.try_send(app);
            }
            end
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_asked_one_after_another() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default();
        let apps = ["a", "b", "c"].map(str::to_owned);
        let due = spread(&apps, now, TimeDelta::seconds(60));
        let after: Vec<i64> = due.values().map(|at| (*at - now).num_seconds()).collect();
        assert_eq!(after, [0, 20, 40]);
    }

    #[test]
    fn a_release_is_as_old_on_our_clock_as_on_the_wall() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default();
        let release = Release {
            id: "r".to_owned(),
            version: 7,
            status: "complete".to_owned(),
            image: crate::domain::hosting::Image::new("registry.fly.io/shop:7"),
            user: "carol".to_owned(),
            at: None,
        };
        let ago = |age: Option<i64>| as_promised(now, release.clone(), age.map(TimeDelta::seconds)).at;
        assert_eq!(ago(Some(129)), Some(now - TimeDelta::seconds(120)));
        assert_eq!(ago(Some(-5)), Some(now), "a clock ahead of ours makes nothing in the future");
        assert_eq!(ago(None), None);
    }
}
