//! The loop with as little around it as can be: a log on a disk in memory, a clock that stands still, and whatever the test
//! wants at the other end of the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use watchbell::adapters::clock::{VirtualClock, VirtualTime};
use watchbell::adapters::store::SledViews;
use watchbell::adapters::store::log::torn::TornDisk;
use watchbell::adapters::store::log::{Log, LogOptions};
use watchbell::commands;
use watchbell::domain::answer::Answer;
use watchbell::domain::health::{HealthReport, ProbeFinding, StageHealth};
use watchbell::domain::ids::{InputId, Person, Place, Role, Service};
use watchbell::domain::input::{Actor, Arg, Call, Input, InputKind, Itself, Measurement};
use watchbell::domain::message::Text;
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::state::State;
use watchbell::domain::workspace::{Stage, Workspace};
use watchbell::ports::Watch;
use watchbell::ports::journal::LINE_BYTES_MAX;
use watchbell::shell::acting::NoActing;
use watchbell::shell::driver::{Decide, Door, Driver, Parts, Snapshot, door};
use watchbell::shell::logs::NoLogs;
use watchbell::shell::metrics::Sources;
use watchbell::shell::outbox::Work;

const TEAM: &str = include_str!("team.toml");
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody at all, for the other end of the outbox.
#[allow(dead_code, reason = "not every test has an outbox")]
pub struct Nobody;

impl Watch for Nobody {
    async fn look(&self, _: Option<&Service>) -> HealthReport {
        HealthReport { at: DateTime::UNIX_EPOCH, auth: Ok("lighthouse".to_owned()), stages: Vec::new() }
    }

    async fn next_measurement(&self) -> Measurement {
        std::future::pending().await
    }
}

/// Looks at nothing, counts how often, and has too much to say about it when it is told to.
#[derive(Clone, Default)]
pub struct Looker {
    pub looks: Arc<AtomicU32>,
    pub too_long: Arc<AtomicBool>,
}

impl Watch for Looker {
    async fn look(&self, _: Option<&Service>) -> HealthReport {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let too_long = || ProbeFinding {
            probe: "health".to_owned(),
            ok: false,
            took_ms: None,
            status: None,
            says: "no ".repeat(LINE_BYTES_MAX),
            slow: false,
            very_slow: false,
            certificate_ends: None,
            ends_in: None,
        };
        let probes = self.too_long.load(Ordering::SeqCst).then(too_long).into_iter().collect();
        let stages =
            vec![StageHealth { service: Service::new("checkout"), stage: Stage::Production, app: None, probes }];
        HealthReport { at: DateTime::UNIX_EPOCH, auth: Ok("lighthouse".to_owned()), stages }
    }

    async fn next_measurement(&self) -> Measurement {
        std::future::pending().await
    }
}

/// The loop, running.
pub struct Alone {
    pub door: Door,
    #[allow(dead_code, reason = "not every test fills or reads it")]
    pub disk: TornDisk,
    #[allow(dead_code, reason = "not every test moves it")]
    pub clock: Arc<VirtualClock>,
    #[allow(dead_code, reason = "not every test asks it")]
    pub looker: Looker,
    inputs: u32,
    _stop: watch::Sender<bool>,
}

/// The team of the transcripts.
pub fn team() -> Workspace {
    toml::from_str(TEAM).expect("the team of the transcripts")
}

impl Alone {
    /// Starts on an empty log. What is to be done comes out of the receiver.
    #[allow(dead_code, reason = "not every test decides as the bot does")]
    pub fn start() -> (Self, mpsc::UnboundedReceiver<Work>) {
        Self::deciding(commands::decide)
    }

    /// The same, with what the test puts in the place of the decisions.
    pub fn deciding(decide: Decide) -> (Self, mpsc::UnboundedReceiver<Work>) {
        let disk = TornDisk::new();
        let now: DateTime<Utc> = DateTime::from_timestamp(1_795_449_600, 0).unwrap_or_default();
        let options = LogOptions {
            now_ms: now.timestamp_millis(),
            segment_bytes: 64 << 20,
            new_id: "alone".to_owned(),
            after: None,
        };
        let (journal, _) = Log::open(Box::new(disk.clone()), &options).expect("a log");
        let (outbox, work) = mpsc::unbounded_channel();
        let (door, threshold) = door();
        let clock = Arc::new(VirtualClock::new(VirtualTime::starting(now, 0.0)));
        let looker = Looker::default();
        let parts = Parts {
            journal,
            views: SledViews::none("not needed here"),
            clock: Arc::clone(&clock),
            watch: Arc::new(looker.clone()),
            acts: Arc::new(NoActing),
            logs: Arc::new(NoLogs),
            sources: Sources::default(),
            policy: Policy::parse(SHIPPED).expect("the shipped policy"),
            workspace: team(),
            hash: "hash".to_owned(),
            decide,
            itself: Arc::new(|_| Itself::default()),
            outbox,
            lists: Arc::default(),
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Driver::new(parts, State::default(), door.clone(), threshold).run(stopped));
        (Self { door, disk, clock, looker, inputs: 0, _stop: stop }, work)
    }

    /// Types a command and gives back the answer as it prints.
    pub async fn call(&mut self, command: &str, args: &[(&str, &str)]) -> String {
        self.inputs += 1;
        let who = Actor {
            person: Person::new("discord:mia"),
            name: "mia".to_owned(),
            roles: vec![Role::new("manager"), Role::new("reliability")],
        };
        let value = |text: &str| match text {
            "true" => Arg::Flag(true),
            text => Arg::Text(Text::plain(text)),
        };
        let args = args.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
        let place = Place::new("discord:incidents");
        let kind = InputKind::Call(Call { who, place, command: command.to_owned(), args, target: None });
        let (sender, receiver) = oneshot::channel();
        let reply = Box::new(move |answer: Answer| drop(sender.send(answer)));
        let id = InputId::new(format!("call:{}", self.inputs));
        assert!(self.door.bring(Input { id, kind }, Some(reply)).is_ok(), "the door is shut");
        let answer = tokio::time::timeout(PATIENCE, receiver).await.expect("an answer in time").expect("an answer");
        format!("{answer:?}")
    }

    /// What is called next has the name of what was called last: it is the same once more.
    #[allow(dead_code, reason = "not every test sends the same twice")]
    pub fn repeat(&mut self) {
        self.inputs -= 1;
    }

    /// Waits until the loop is so.
    #[allow(dead_code, reason = "not every test has to wait")]
    pub async fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        let wait = async {
            while !holds(&self.door.look().await.expect("the loop lives")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}");
    }
}
