//! A local Discord: REST v10, the gateway v10, a guild, and a page to type in. Bots find it by address alone.
//!
//! Made from Discord's documents, never from a client library's types and never from ours: a stand-in that shares our
//! types repeats our mistakes. What no document tells is marked `Undocumented:`. The control API is in docs/sim.md.

mod connection;
mod control;
mod faults;
mod gateway;
mod handle;
mod id;
mod interactions;
mod limits;
mod mentions;
mod message;
mod page;
mod permissions;
mod phone;
mod recorder;
mod refusal;
mod rest;
mod snapshot;
mod state;
mod still;
mod validate;
mod view;
mod wire;
mod workspace;
mod world;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State as Extract, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use handle::Handle;
pub use recorder::template;
pub use workspace::{ChannelKind, ChannelSeed, MemberSeed, RoleSeed, Settings, Workspace};

use connection::Cuttable;
use recorder::Recorder;
use state::State;
use world::World;

/// Bytes of one request of the control API.
const CONTROL_BYTES_MAX: usize = 1024 * 1024;

/// How a local Discord is started.
pub struct Options {
    /// Where it listens; a loopback address, port 0 for any free one.
    pub bind: SocketAddr,
    /// Where the guild is kept between starts; `None` keeps it in memory.
    pub state_dir: Option<PathBuf>,
    /// Where each REST request is noted as a line of JSON, to be checked against the OpenAPI document.
    pub record_dir: Option<PathBuf>,
    /// What it starts with. A guild found in `state_dir` goes before it; token and settings are always these.
    pub workspace: Workspace,
    /// Further routes, served below `/sim/demo`, behind the same checks of `Host` and `Origin`.
    pub demo: Option<Router>,
}

impl Options {
    /// Any free port, nothing kept.
    pub fn new(workspace: Workspace) -> Options {
        Options {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            state_dir: None,
            record_dir: None,
            workspace,
            demo: None,
        }
    }
}

/// What all tasks share.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    stop: watch::Sender<bool>,
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
}

/// Starts a local Discord.
///
/// Errors: an address that is not loopback or cannot be bound, a folder that cannot be made or written.
pub async fn start(options: Options) -> io::Result<Handle> {
    if !options.bind.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the local Discord listens on loopback only"));
    }
    let listener = TcpListener::bind(options.bind).await?;
    let addr = listener.local_addr()?;
    let kept = match &options.state_dir {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            snapshot::load(folder)
        }
        None => None,
    };
    let world = kept.unwrap_or_else(|| World::new(&options.workspace));
    let recorder = Recorder::open(options.record_dir.as_deref())?;
    let state = State::new(options.workspace, world, recorder, format!("http://{addr}"));
    let sim = Sim(Arc::new(Shared { state: Mutex::new(state), stop: watch::Sender::new(false) }));
    let snapshot = options.state_dir.map(|folder| tokio::spawn(snapshot::keep(sim.clone(), folder)));
    tokio::spawn(still::expire(sim.clone()));
    let app = router(&sim, options.demo);
    let until = sim.clone();
    let service = app.into_make_service_with_connect_info::<connection::Wire>();
    let server = tokio::spawn(async move {
        let serving =
            axum::serve(Cuttable(listener), service).with_graceful_shutdown(async move { until.stopped().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, "the local Discord stopped serving");
        }
    });
    Ok(Handle::new(sim, addr, server, snapshot))
}

fn router(sim: &Sim, demo: Option<Router>) -> Router {
    let control = control::router(sim.clone(), demo).layer(DefaultBodyLimit::max(CONTROL_BYTES_MAX));
    Router::new()
        .route("/api/{*path}", any(rest::serve))
        .route("/gateway", get(open_gateway))
        .route("/gateway/", get(open_gateway))
        .merge(control)
        .with_state(sim.clone())
}

/// Opens a connection of the gateway.
async fn open_gateway(Extract(sim): Extract<Sim>, upgrade: WebSocketUpgrade) -> Response {
    if sim.lock().faults.is_down() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    upgrade.on_upgrade(move |socket| gateway::serve(socket, sim))
}
