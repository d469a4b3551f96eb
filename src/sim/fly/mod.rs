//! A local Fly.io: the Machines API, releases, logs, GraphQL and metrics of an organisation whose machines are real HTTP
//! servers on loopback. Clients find it by address alone.
//!
//! Made from Fly's documents, never from a client library's types and never from ours: a stand-in that shares our types
//! repeats our mistakes. What no document tells is marked `Undocumented:`. The control API is in docs/sim-fly.md.
//!
//! Whatever stops and starts a machine goes through lifecycle.rs; what its program then does is up to its image (images.rs,
//! process.rs). A call of Fly's that is not answered here says 501: `Later` in machines/routes.rs.

mod act;
mod api;
mod auth;
mod checks;
mod connection;
mod control;
mod faults;
mod front;
mod graphql;
mod handle;
mod http;
mod id;
mod images;
mod lifecycle;
mod limits;
mod logs;
mod machines;
mod metrics;
mod problem;
mod process;
mod recorder;
mod refusals;
mod releases;
mod seed;
mod server;
mod snapshot;
mod state;
mod view;
mod workspace;
mod world;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

pub use faults::{Away, Fault, FaultKind, Meaning};
pub use handle::Handle;
pub use images::{Character, Image};
pub use workspace::{App, Machine, Release, Settings, Token, TokenKind, Volume, Workspace};
pub use world::Behaviour;

use recorder::Recorder;
use state::State;
use world::World;

/// Bytes of one request.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// How a local Fly is started.
#[derive(Debug)]
pub struct Options {
    /// Where it listens; a loopback address, port 0 for any free one.
    pub bind: SocketAddr,
    /// Where its state is kept between starts; `None` keeps it in memory.
    pub state_dir: Option<PathBuf>,
    /// Where each request is noted as a line of JSON, to be checked against the OpenAPI document.
    pub record_dir: Option<PathBuf>,
    /// What it starts with. Apps found in `state_dir` go before its own; tokens and settings are always these.
    pub workspace: Workspace,
}

impl Options {
    /// Any free port, nothing kept.
    pub fn new(workspace: Workspace) -> Options {
        Options { bind: SocketAddr::from(([127, 0, 0, 1], 0)), state_dir: None, record_dir: None, workspace }
    }
}

/// What all tasks share.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    stop: watch::Sender<bool>,
    check: Notify,
}

impl Sim {
    /// The state. A panic of another task while it held the lock leaves it as that task left it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the stand-in stops.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.0.stop.subscribe();
        // An error means that the sender is gone, which is the end as well.
        let _ = stop.wait_for(|stopped| *stopped).await;
    }

    pub(crate) fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Asks for a round of health checks now.
    pub(crate) fn check_soon(&self) {
        self.0.check.notify_one();
    }

    /// Ends when somebody asked for a round of health checks.
    pub(crate) async fn asked_to_check(&self) {
        self.0.check.notified().await;
    }

    /// A new `fly-request-id`.
    pub(crate) fn request_id(&self) -> String {
        format!("{}-ord", id::ulid(id::now()))
    }
}

/// Starts a local Fly.
///
/// Errors: an address that is not loopback or cannot be bound, a front's port that is taken, a folder that cannot be made
/// or written.
pub async fn start(options: Options) -> io::Result<Handle> {
    if !options.bind.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the local Fly listens on loopback only"));
    }
    let listener = TcpListener::bind(options.bind).await?;
    let addr = listener.local_addr()?;
    let mut fronts = Vec::new();
    for app in &options.workspace.apps {
        let bound = TcpListener::bind((options.bind.ip(), app.front_port)).await;
        let front =
            bound.map_err(|error| io::Error::new(error.kind(), format!("the front of {}: {error}", app.name)))?;
        fronts.push((app.name.clone(), front));
    }
    let kept = match &options.state_dir {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            snapshot::load(folder, &options.workspace)
        }
        None => None,
    };
    let world = kept.unwrap_or_else(|| World::new(&options.workspace));
    let recorder = Recorder::open(options.record_dir.as_deref())?;
    let mut ports = Vec::new();
    for (app, front) in &fronts {
        ports.push((app.clone(), front.local_addr()?.port()));
    }
    let state = State::new(options.workspace, world, recorder, format!("http://{addr}"), ports);
    let sim = Sim(Arc::new(Shared { state: Mutex::new(state), stop: watch::Sender::new(false), check: Notify::new() }));
    lifecycle::resume(&sim, &mut sim.lock());
    for (app, front) in fronts {
        tokio::spawn(front::listen(sim.clone(), app, front));
    }
    tokio::spawn(checks::keep(sim.clone()));
    tokio::spawn(front::visit(sim.clone()));
    let snapshot = options.state_dir.map(|folder| tokio::spawn(snapshot::keep(sim.clone(), folder)));
    let service = router(&sim).into_make_service_with_connect_info::<connection::Scissors>();
    let until = sim.clone();
    let server = tokio::spawn(async move {
        let doors = connection::Doors(listener);
        let serving = axum::serve(doors, service).with_graceful_shutdown(async move { until.stopped().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, "the local Fly stopped serving");
        }
    });
    Ok(Handle::new(sim, addr, server, snapshot))
}

fn router(sim: &Sim) -> Router {
    control::router().fallback(api::serve).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state(sim.clone())
}
