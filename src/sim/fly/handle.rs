//! A running local Fly, for the program that started it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::act::act;
use super::faults::{Fault, FaultKind};
use super::images::Image;
use super::workspace::{Settings, TokenKind};
use super::world::Behaviour;
use super::{Sim, control};

/// How long open connections may take to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// A running local Fly. It stops with [`Handle::shutdown`], or when this is dropped.
///
/// `machine` in the methods is an id, a name or a number counted from 1; `None` means all machines of the app. Errors are
/// sentences: no such app or machine, or Fly would refuse it.
#[derive(Debug)]
pub struct Handle {
    sim: Sim,
    addr: SocketAddr,
    server: Option<JoinHandle<()>>,
    snapshot: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sim")
    }
}

impl Handle {
    pub(super) fn new(sim: Sim, addr: SocketAddr, server: JoinHandle<()>, snapshot: Option<JoinHandle<()>>) -> Handle {
        Handle { sim, addr, server: Some(server), snapshot }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base of the Machines API: `http://127.0.0.1:PORT/v1`.
    pub fn machines_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What stands for `https://api.fly.io`: `/graphql` and `/api/v1/…` are below it.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What stands for `https://api.fly.io/prometheus`: `/ORG/api/v1/query` is below it.
    pub fn prometheus_url(&self) -> String {
        format!("http://{}/prometheus", self.addr)
    }

    /// Where the world finds an app; `None` when there is no such app.
    pub fn front_url(&self, app: &str) -> Option<String> {
        self.sim.lock().front_url(app)
    }

    /// The address of the control API, without `/sim`.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The organisation's slug.
    pub fn org(&self) -> String {
        self.sim.lock().workspace.org.clone()
    }

    /// The first token of a kind; for deploy tokens, of that app.
    pub fn token(&self, kind: TokenKind, app: Option<&str>) -> Option<String> {
        self.sim.lock().workspace.token(kind, app).map(str::to_owned)
    }

    /// What `GET /sim/state` answers.
    pub fn state(&self) -> Value {
        control::view(&self.sim.lock())
    }

    /// Waits until no machine is on its way and every check is up to date; whether that came in time.
    pub async fn settled(&self, within: Duration) -> bool {
        control::settled(&self.sim, within).await
    }

    /// Requests after `since`, as `GET /sim/requests` shows them, and the number to go on from.
    pub fn requests(&self, since: u64, limit: usize) -> (Vec<Value>, u64) {
        self.sim.lock().recorder.since(since, limit)
    }

    /// Any call `POST /sim/{action}` of the control API.
    pub fn act(&self, action: &str, body: &Value) -> Result<Value, String> {
        act(&self.sim, action, body)
    }

    /// How the program in a machine behaves from now on. `slow_ms` counts for [`Behaviour::Slow`] only.
    pub fn behave(&self, app: &str, machine: Option<&str>, behaviour: Behaviour, slow_ms: u64) -> Result<(), String> {
        self.one("behaviour", app, machine, json!({"behaviour": behaviour, "slow_ms": slow_ms}))
    }

    /// The process dies with a code. Fly starts it again as its policy says, unless it stays down.
    pub fn kill(&self, app: &str, machine: Option<&str>, exit_code: i64, stays_down: bool) -> Result<(), String> {
        self.one("kill", app, machine, json!({"exit_code": exit_code, "stays_down": stays_down}))
    }

    /// The kernel kills the process for want of memory; Fly starts it again as its policy says.
    pub fn oom(&self, app: &str, machine: Option<&str>) -> Result<(), String> {
        self.one("oom", app, machine, json!({}))
    }

    /// Stops as auto-stop does.
    pub fn sleep(&self, app: &str, machine: Option<&str>) -> Result<(), String> {
        self.one("sleep", app, machine, json!({}))
    }

    /// Starts by hand, as from Fly's dashboard.
    pub fn start(&self, app: &str, machine: Option<&str>) -> Result<(), String> {
        self.one("start", app, machine, json!({}))
    }

    /// Stops by hand, as from Fly's dashboard.
    pub fn stop(&self, app: &str, machine: Option<&str>) -> Result<(), String> {
        self.one("stop", app, machine, json!({}))
    }

    /// What Fly says of the host: `ok`, `unreachable`, `unknown`. Unreachable takes the machine off the network as well.
    pub fn host(&self, app: &str, machine: Option<&str>, status: &str) -> Result<(), String> {
        self.one("host", app, machine, json!({"status": status}))
    }

    /// Whether the proxy leaves a machine out.
    pub fn cordon(&self, app: &str, machine: Option<&str>, cordoned: bool) -> Result<(), String> {
        self.one("cordon", app, machine, json!({"cordoned": cordoned}))
    }

    /// The share of memory in use that the metrics tell; `None` gives it back to chance.
    pub fn memory(&self, app: &str, machine: Option<&str>, used: Option<f64>) -> Result<(), String> {
        self.one("memory", app, machine, json!({"used": used}))
    }

    /// A deploy made elsewhere: a release on record, and all machines run its image. Its version.
    pub fn add_release(&self, app: &str, image: &str, user: &str) -> Result<u64, String> {
        let answer = self.act("release", &json!({"app": app, "image": image, "user": user}))?;
        Ok(answer["version"].as_u64().unwrap_or_default())
    }

    /// What an image is like, from its next start on.
    pub fn image(&self, image: Image) -> Result<(), String> {
        self.act("image", &json!(image)).map(|_| ())
    }

    /// Holds machines for somebody else, so many seconds.
    pub fn lease(&self, app: &str, machine: Option<&str>, owner: &str, ttl_s: u32) -> Result<(), String> {
        self.one("lease", app, machine, json!({"owner": owner, "ttl_s": ttl_s}))
    }

    /// Gives up whatever lease machines are held by.
    pub fn free(&self, app: &str, machine: Option<&str>) -> Result<(), String> {
        self.one("lease", app, machine, json!({"free": true}))
    }

    /// Adds a fault; its number.
    pub fn fault(&self, fault: Fault) -> Result<u64, String> {
        self.sim.lock().faults.add(fault)
    }

    /// Adds a fault that is only so many requests long and meets whatever its kind meets; its number.
    pub fn fault_times(&self, kind: FaultKind, times: u32) -> Result<u64, String> {
        self.fault(Fault { id: 0, kind, door: None, method: None, path: None, times: Some(times) })
    }

    /// Takes a fault away; whether it was there.
    pub fn clear_fault(&self, id: u64) -> bool {
        let mut state = self.sim.lock();
        let was_there = state.faults.remove(id);
        state.bump();
        was_there
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        let mut state = self.sim.lock();
        state.faults.clear();
        state.bump();
    }

    /// Spans and limits as they are.
    pub fn settings(&self) -> Settings {
        self.sim.lock().settings.clone()
    }

    /// Sets spans and limits.
    pub fn set_settings(&self, settings: Settings) {
        self.sim.lock().settings = settings;
        self.sim.check_soon();
    }

    /// Closes every port, and writes the state a last time when it is kept.
    pub async fn shutdown(mut self) -> io::Result<()> {
        self.sim.stop();
        close(&self.sim);
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(SHUTDOWN_PATIENCE, &mut server).await.is_err()
        {
            server.abort();
        }
        match self.snapshot.take() {
            Some(snapshot) => snapshot.await.map_err(io::Error::other),
            None => Ok(()),
        }
    }

    fn one(&self, action: &str, app: &str, machine: Option<&str>, mut body: Value) -> Result<(), String> {
        body["app"] = json!(app);
        if let Some(machine) = machine {
            body["machine"] = json!(machine);
        }
        self.act(action, &body).map(|_| ())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.sim.stop();
        close(&self.sim);
    }
}

/// Closes the ports of all machines.
fn close(sim: &Sim) {
    for machine in sim.lock().world.apps.iter_mut().flat_map(|app| &mut app.machines) {
        machine.live.server = None;
    }
}
