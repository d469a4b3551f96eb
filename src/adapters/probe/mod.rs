//! Looking at services: the answers they give, and what their host says of their machines.
//!
//! Owns the pace at which each is asked and what one look makes of it. Addresses come from configuration only. Never decides
//! whether a service counts as down: a look is handed over, and the domain judges the row of them.
//!
//! A probe's `every` runs on promise time, so that a clock that is moved or sped up moves the looks with it: each copy of a
//! service sleeps with the `Pace` it was given, and wakes when the clock is touched. A jump past several rounds makes one,
//! because nobody can look into the past; who wants three looks over two minutes moves the clock in steps of `every`, or
//! calls `measure_now` after each. What an answer may take is always real time.

mod ask;
mod certificate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{join, join_all};
use secrecy::SecretString;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::adapters::clock::SystemClock;
use crate::domain::health::{AppHealth, HealthReport, Mark, ProbeFinding, StageHealth};
use crate::domain::ids::Service;
use crate::domain::input::{Measurement, Seen};
use crate::domain::policy::Span;
use crate::domain::workspace::{ProbeSpec, ProbeWhen, Stage, StageSpec, Workspace};
use crate::ports::{Clock, Watch};

pub use ask::BODY_BYTES_MAX;
pub use certificate::{ends as certificate_ends, trusted};

/// The longest that a look takes, beside what its slowest probe may take; what has not answered by then is said so.
pub const LOOK_MAX: Duration = Duration::from_secs(30);
/// Questions on the wire at once.
const ASKS_MAX: usize = 32;
/// Measurements that wait to be taken.
const WAITING_MAX: usize = 256;
/// How often the machines are looked at where no probe is configured.
const MACHINES_EVERY: Span = Span::seconds(30);

/// A future in a box.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The host of the services, as far as looking goes.
pub trait Host: Send + Sync + 'static {
    /// What it says of an app.
    fn app_health<'a>(&'a self, app: &'a str) -> Boxed<'a, AppHealth>;

    /// Whether it takes our token: the organisation, or a sentence.
    fn auth(&self) -> Boxed<'_, Result<String, String>>;
}

/// How time passes for the rounds.
#[derive(Clone)]
pub struct Pace {
    /// Promise time.
    pub clock: Arc<dyn Clock>,
    /// Sleeps until a moment of promise time, and wakes when the clock was moved past it.
    pub sleep_until: Arc<dyn Fn(DateTime<Utc>) -> Boxed<'static, ()> + Send + Sync>,
    /// Whether the rounds are spread by a tenth, so that they do not all fall together. Off where a run must be repeatable.
    pub spread: bool,
}

/// Looks at the services of one team.
pub struct Prober {
    inner: Arc<Inner>,
    rounds: OnceLock<Rounds>,
}

struct Inner {
    watched: Vec<Watched>,
    host: Option<Arc<dyn Host>>,
    pace: Pace,
    http: reqwest::Client,
    secrets: BTreeMap<String, SecretString>,
    room: Semaphore,
}

/// The tasks that look in rounds; they end with the prober.
struct Rounds {
    measured: Mutex<mpsc::Receiver<Measurement>>,
    _tasks: JoinSet<()>,
}

/// One copy of a service.
struct Watched {
    service: Service,
    stage: Stage,
    spec: StageSpec,
    /// Held through a round, so that no two of one copy overlap.
    state: Mutex<Followed>,
}

/// What a round leaves for the next.
#[derive(Default)]
struct Followed {
    /// When each probe is due; the machines alone, where there is none.
    due: Vec<Option<DateTime<Utc>>>,
    /// Which probes found something wrong when they were last asked.
    red: Vec<bool>,
    /// When each probe last found all well; the first round, before it did. A sleeping machine is woken by how long ago that is.
    well: Vec<DateTime<Utc>>,
    /// Whether it slept when the host last said anything; none before it did.
    slept: Option<bool>,
    /// When the certificate ends that each probe was shown last.
    ends: Vec<Option<DateTime<Utc>>>,
}

/// Which probes of a copy are asked.
#[derive(Clone, Copy)]
enum Which<'a> {
    /// All, for people; nothing is woken that may sleep.
    All,
    /// Those that are due; and which of them may wake what sleeps.
    These { due: &'a [bool], may_wake: &'a [bool] },
}

impl Which<'_> {
    fn holds(self, index: usize) -> bool {
        match self {
            Which::All => true,
            Which::These { due, .. } => due.get(index).copied().unwrap_or(false),
        }
    }

    fn may_wake(self, index: usize) -> bool {
        match self {
            Which::All => false,
            Which::These { may_wake, .. } => may_wake.get(index).copied().unwrap_or(false),
        }
    }
}

impl Prober {
    /// Looks at the services of `workspace`. Without a host, machines are not looked at and a probe that may not wake
    /// anything is not sent. `secrets` are the values behind `env:NAME` in headers; `trusted` is believed beside the public authorities.
    ///
    /// # Errors
    /// A sentence, when no HTTP client can be made.
    pub fn new(
        workspace: &Workspace,
        host: Option<Arc<dyn Host>>,
        secrets: BTreeMap<String, SecretString>,
        trusted: &[reqwest::Certificate],
        pace: Pace,
    ) -> Result<Self, String> {
        let watched = workspace.services.iter().flat_map(|service| {
            service.stages().map(|(stage, spec)| Watched {
                service: service.name.clone(),
                stage,
                spec: spec.clone(),
                state: Mutex::default(),
            })
        });
        let inner = Inner {
            watched: watched.collect(),
            host,
            pace,
            http: ask::client(trusted)?,
            secrets,
            room: Semaphore::new(ASKS_MAX),
        };
        Ok(Self { inner: Arc::new(inner), rounds: OnceLock::new() })
    }

    /// Looks at everything that is watched, now and once, and counts it as each one's round. For whoever moves the clock.
    pub async fn measure_now(&self) -> Vec<Measurement> {
        let looks = self.inner.watched.iter().filter(|one| one.is_watched());
        join_all(looks.map(|one| self.inner.round(one, true))).await.into_iter().flatten().collect()
    }

    fn rounds(&self) -> &Rounds {
        self.rounds.get_or_init(|| {
            let (sender, measured) = mpsc::channel(WAITING_MAX);
            let mut tasks = JoinSet::new();
            for (index, one) in self.inner.watched.iter().enumerate() {
                if one.is_watched() {
                    tasks.spawn(go_round(Arc::clone(&self.inner), index, sender.clone()));
                }
            }
            Rounds { measured: Mutex::new(measured), _tasks: tasks }
        })
    }
}

/// Looks at one copy whenever one of its probes is due, for as long as anybody takes the results.
async fn go_round(inner: Arc<Inner>, index: usize, measured: mpsc::Sender<Measurement>) {
    let Some(one) = inner.watched.get(index) else { return };
    loop {
        let due = one.state.lock().await.due.iter().flatten().min().copied();
        if let Some(due) = due {
            (inner.pace.sleep_until)(due).await;
        }
        if let Some(measurement) = inner.round(one, false).await
            && measured.send(measurement).await.is_err()
        {
            return;
        }
    }
}

impl Watched {
    fn is_watched(&self) -> bool {
        !self.spec.probes.is_empty() || self.spec.fly_app.is_some()
    }

    /// A probe's own time-out must have the first word: it is a finding, and a look that is cut off is none.
    fn look_max(&self) -> Duration {
        let slowest = self.spec.probes.iter().map(|probe| probe.timeout.millis()).max().unwrap_or(0);
        LOOK_MAX + Duration::from_millis(slowest)
    }

    fn every(&self, index: usize) -> Span {
        self.spec.probes.get(index).map_or(MACHINES_EVERY, |probe| probe.every)
    }
}

impl Inner {
    /// Asks what is due of one copy. None when nothing was due, or when what was asked is well while something that was not
    /// asked was found wrong: that is neither a new failure nor a recovery.
    async fn round(&self, one: &Watched, all: bool) -> Option<Measurement> {
        let mut state = one.state.lock().await;
        let now = self.pace.clock.now();
        let questions = one.spec.probes.len().max(1);
        state.due.resize(questions, None);
        state.red.resize(questions, false);
        state.ends.resize(questions, None);
        state.well.resize(questions, now);
        let due: Vec<bool> = state.due.iter().map(|due| all || due.is_none_or(|due| due <= now)).collect();
        if !due.contains(&true) {
            return None;
        }
        let may_wake: Vec<bool> = one
            .spec
            .probes
            .iter()
            .zip(&state.well)
            .map(|(probe, well)| match probe.when {
                ProbeWhen::WakeEvery(span) => now - *well >= span.delta(),
                ProbeWhen::Always | ProbeWhen::WhenAwake => false,
            })
            .collect();
        let which = Which::These { due: &due, may_wake: &may_wake };
        let look = tokio::time::timeout(one.look_max(), self.look_at(one, which, state.slept)).await;
        for (index, next) in state.due.iter_mut().enumerate() {
            if due.get(index).copied().unwrap_or(false) {
                *next = Some(now + self.spread(one.every(index)));
            }
        }
        let Ok(health) = look else {
            let why = format!("no look came to an end within {} s", one.look_max().as_secs());
            return Some(one.measured(now, Seen::Unknown { why }));
        };
        if let Some(app) = health.app.as_ref().filter(|app| app.machines.is_ok()) {
            state.slept = Some(app.is_asleep());
        }
        let mut was_shown = false;
        let asked = one.spec.probes.iter().enumerate().filter(|(index, _)| due.get(*index).copied().unwrap_or(false));
        for ((index, _), finding) in asked.zip(&health.probes) {
            if let Some(red) = state.red.get_mut(index).filter(|_| finding.was_asked()) {
                *red = !finding.ok;
            }
            if let (Some(ends), Some(shown)) = (state.ends.get_mut(index), finding.certificate_ends) {
                *ends = Some(shown);
                was_shown = true;
            }
            // One that could not be woken is tried again in the next round.
            if let Some(well) = state.well.get_mut(index).filter(|_| finding.was_asked() && finding.ok) {
                *well = now;
            }
        }
        let seen = see(&health, one.spec.probes.is_empty());
        let others_red = state.red.iter().zip(&due).any(|(red, due)| *red && !due);
        if others_red && matches!(seen, Seen::Green { .. }) {
            return None;
        }
        if seen == Seen::Asleep {
            state.red.fill(false);
        }
        // Of several that which ends first; said when one was shown, for it may be another by now.
        let certificate_ends = state.ends.iter().flatten().min().copied().filter(|_| was_shown);
        Some(Measurement { certificate_ends, ..one.measured(now, seen) })
    }

    fn spread(&self, every: Span) -> TimeDelta {
        let every = every.delta();
        if !self.pace.spread {
            return every;
        }
        let tenth_ms = every.num_milliseconds() / 10;
        every + TimeDelta::milliseconds(if tenth_ms > 0 { fastrand::i64(-tenth_ms..=tenth_ms) } else { 0 })
    }

    /// Asks the host, then the probes: one that may wake nothing is sent only to what is awake.
    async fn look_at(&self, one: &Watched, which: Which<'_>, slept: Option<bool>) -> StageHealth {
        let probes: Vec<(usize, &ProbeSpec)> =
            one.spec.probes.iter().enumerate().filter(|(index, _)| which.holds(*index)).collect();
        let careful = probes.iter().any(|(_, probe)| probe.when.is_careful());
        // A round of probes that may wake anything needs no word from the host.
        let wants_app = careful || probes.is_empty() || matches!(which, Which::All);
        let app = async {
            match (&one.spec.fly_app, &self.host) {
                (Some(app), Some(host)) if wants_app => Some(host.app_health(app).await),
                (Some(app), None) if wants_app => {
                    Some(AppHealth { app: app.clone(), machines: Err("FLY_READ_TOKEN is not set".to_owned()) })
                }
                _ => None,
            }
        };
        let app = app.await;
        let refusal = self.why_not_awake(app.as_ref(), slept);
        let findings = probes.into_iter().map(|(index, probe)| {
            let refusal = refusal.clone().filter(|_| probe.when.is_careful() && !which.may_wake(index));
            async move {
                match refusal {
                    Some(why) => ProbeFinding::not_asked(&probe.name, why),
                    None => self.ask(probe).await,
                }
            }
        });
        let probes = join_all(findings).await;
        StageHealth { service: one.service.clone(), stage: one.stage, app, probes }
    }

    /// Why a probe that may wake nothing is not sent; none when it is. When the host does not answer, what was awake is asked
    /// all the same: an outage of the host's own interface must not blind the team.
    fn why_not_awake(&self, app: Option<&AppHealth>, slept: Option<bool>) -> Option<String> {
        match app {
            Some(app) if app.is_asleep() => Some("asleep, not asked".to_owned()),
            Some(app) => match &app.machines {
                Err(_) if self.host.is_none() => Some("not asked: whether it is awake needs FLY_READ_TOKEN".to_owned()),
                Err(why) if slept == Some(true) => Some(format!("not asked: it slept when last seen, and {why}")),
                _ => None,
            },
            None => Some("not asked: whether it is awake needs fly_app".to_owned()),
        }
    }

    async fn ask(&self, probe: &ProbeSpec) -> ProbeFinding {
        match self.room.acquire().await {
            Ok(_room) => {
                let found = ask::ask(&self.http, probe, &self.secrets).await;
                // It is dated by the wall clock, and what it is held against is promise time.
                let ahead = self.pace.clock.now() - SystemClock::default().now();
                let certificate_ends =
                    found.certificate_ends.map(|ends| ends + TimeDelta::seconds(ahead.num_seconds()));
                ProbeFinding { certificate_ends, ..found }
            }
            Err(_) => ProbeFinding::not_asked(&probe.name, "not asked: the prober is closing"),
        }
    }

    async fn look_for_people(&self, one: &Watched) -> StageHealth {
        let slept = one.state.try_lock().ok().and_then(|state| state.slept);
        tokio::time::timeout(one.look_max(), self.look_at(one, Which::All, slept)).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", one.look_max().as_secs());
            let app = one.spec.fly_app.clone().map(|app| AppHealth { app, machines: Err(why.clone()) });
            let probes =
                one.spec.probes.iter().map(|probe| ProbeFinding::not_asked(&probe.name, why.clone())).collect();
            StageHealth { service: one.service.clone(), stage: one.stage, app, probes }
        })
    }
}

impl Watched {
    fn measured(&self, at: DateTime<Utc>, seen: Seen) -> Measurement {
        Measurement { service: self.service.clone(), stage: self.stage, at, seen, certificate_ends: None }
    }
}

/// What one look at a copy comes to. Probes have the word where there are any; else the machines.
fn see(health: &StageHealth, machines_only: bool) -> Seen {
    if machines_only {
        let Some(app) = &health.app else { return Seen::Unknown { why: "nothing to look at".to_owned() } };
        let verdict = app.verdict();
        return match verdict.mark {
            _ if app.is_asleep() => Seen::Asleep,
            Mark::Critical => Seen::Red { why: verdict.why() },
            Mark::Unknown => Seen::Unknown { why: verdict.why() },
            Mark::Ok | Mark::Warning => Seen::Green { took_ms: 0 },
        };
    }
    if let Some(failed) = health.probes.iter().find(|probe| !probe.ok) {
        return Seen::Red { why: format!("{}: {}", failed.probe, failed.says) };
    }
    match health.probes.iter().find(|probe| !probe.was_asked()) {
        Some(_) if health.app.as_ref().is_some_and(AppHealth::is_asleep) => Seen::Asleep,
        Some(unasked) => Seen::Unknown { why: format!("{}: {}", unasked.probe, unasked.says) },
        None => Seen::Green { took_ms: health.probes.iter().filter_map(|probe| probe.took_ms).max().unwrap_or(0) },
    }
}

impl Watch for Prober {
    async fn look(&self, service: Option<&Service>) -> HealthReport {
        let inner = &self.inner;
        let wanted = inner.watched.iter().filter(|one| service.is_none_or(|name| one.service == *name));
        let auth = async {
            match &inner.host {
                Some(host) => tokio::time::timeout(LOOK_MAX, host.auth())
                    .await
                    .unwrap_or_else(|_| Err(format!("Fly did not answer within {} s", LOOK_MAX.as_secs()))),
                None => Err("FLY_READ_TOKEN is not set".to_owned()),
            }
        };
        let (auth, stages) = join(auth, join_all(wanted.map(|one| inner.look_for_people(one)))).await;
        HealthReport { at: inner.pace.clock.now(), auth, stages }
    }

    async fn next_measurement(&self) -> Measurement {
        let mut measured = self.rounds().measured.lock().await;
        match measured.recv().await {
            Some(measurement) => measurement,
            // Nothing is watched: there will never be one.
            None => std::future::pending().await,
        }
    }
}
