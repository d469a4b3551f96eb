//! Everything behind the one lock.

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::faults::Faults;
use super::limits::Limits;
use super::metrics::Traffic;
use super::recorder::Recorder;
use super::workspace::{Settings, Workspace};
use super::world::World;

/// The state.
pub struct State {
    pub world: World,
    pub settings: Settings,
    /// What it was started with; tokens and names are always these.
    pub workspace: Workspace,
    pub faults: Faults,
    pub limits: Limits,
    pub recorder: Recorder,
    pub traffic: Traffic,
    /// `http://127.0.0.1:PORT`
    pub base: String,
    /// The port of each app's front, in the order of the workspace.
    pub fronts: Vec<(String, u16)>,
    /// When it was started.
    pub began: DateTime<Utc>,
    changes: watch::Sender<u64>,
}

impl State {
    pub fn new(
        workspace: Workspace,
        world: World,
        recorder: Recorder,
        base: String,
        fronts: Vec<(String, u16)>,
    ) -> State {
        State {
            world,
            settings: workspace.settings.clone(),
            workspace,
            faults: Faults::default(),
            limits: Limits::default(),
            recorder,
            traffic: Traffic::default(),
            base,
            fronts,
            began: super::id::now(),
            changes: watch::Sender::new(1),
        }
    }

    /// Says that something changed.
    pub fn bump(&self) {
        self.changes.send_modify(|seq| *seq += 1);
    }

    /// The number of the last change.
    pub fn seq(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Wakes at every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Where the world finds an app.
    pub fn front_url(&self, app: &str) -> Option<String> {
        self.fronts.iter().find(|(name, _)| name == app).map(|(_, port)| format!("http://127.0.0.1:{port}"))
    }

    /// Whether all machines are at rest and every started one was checked since it last changed.
    pub fn is_settled(&self) -> bool {
        self.world.apps.iter().flat_map(|app| &app.machines).all(|machine| {
            let rests = matches!(machine.state.as_str(), "started" | "stopped" | "suspended" | "created" | "failed");
            let is_looked_at = machine.live.listens && machine.live.checked >= machine.live.touched;
            rests && !machine.live.doomed && (!machine.is_reachable() || is_looked_at)
        })
    }
}
