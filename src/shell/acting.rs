//! Acting at the host, as the loop and the outbox see it: what runs, and one step, with the machine's configurations put away
//! before anything speaks of them.
//!
//! Owns the way from a step's end to what is recorded of it. Decides nothing, and repeats nothing: a step reads before it writes.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::error;

use crate::adapters::config::fly_deploy_command;
use crate::adapters::store::{FsDisk, log::blob};
use crate::domain::hosting::{Inventory, Lived, StepEnd, Trouble};
use crate::domain::input::Stepped;
use crate::ports::hosting::{CallOff, Hosting, StepCall};

/// Something under way.
pub type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the loop and the outbox ask of a host.
pub trait Acts: Send + Sync {
    /// What runs of an app and was released; a sentence when it cannot be said, or nothing may be done there.
    fn inventory(&self, app: &str) -> Doing<Result<Inventory, String>>;

    /// The same for whoever only looks; a sentence when it cannot be said.
    fn inspect(&self, app: &str) -> Doing<Result<Inventory, String>>;

    /// What happened to the machines of an app of late, by promise time, which is `now`; a sentence when it cannot be said.
    fn life(&self, app: &str, now: DateTime<Utc>) -> Doing<Result<Vec<Lived>, String>>;

    /// One step, to its end.
    fn step(&self, call: StepCall) -> Doing<Stepped>;
}

/// A host, and the folder in which configurations are kept.
pub struct Acting<H> {
    host: Arc<H>,
    state_dir: PathBuf,
    /// One file at a time: two steps may keep the same content.
    keeping: Arc<Mutex<()>>,
}

impl<H: Hosting> Acting<H> {
    /// Acts through this host; configurations are kept under the state folder.
    pub fn new(host: H, state_dir: &Path) -> Self {
        Self { host: Arc::new(host), state_dir: state_dir.to_owned(), keeping: Arc::default() }
    }
}

impl<H: Hosting> Acts for Acting<H> {
    fn inventory(&self, app: &str) -> Doing<Result<Inventory, String>> {
        let (host, app) = (Arc::clone(&self.host), app.to_owned());
        Box::pin(async move { if host.may_act(&app) { host.inventory(&app).await } else { Err(no_token(&app)) } })
    }

    fn inspect(&self, app: &str) -> Doing<Result<Inventory, String>> {
        let (host, app) = (Arc::clone(&self.host), app.to_owned());
        Box::pin(async move { host.inventory(&app).await })
    }

    fn life(&self, app: &str, now: DateTime<Utc>) -> Doing<Result<Vec<Lived>, String>> {
        let (host, app) = (Arc::clone(&self.host), app.to_owned());
        Box::pin(async move { host.life(&app, now).await })
    }

    fn step(&self, call: StepCall) -> Doing<Stepped> {
        let (host, folder, keeping) = (Arc::clone(&self.host), self.state_dir.clone(), Arc::clone(&self.keeping));
        Box::pin(async move {
            if !host.may_act(&call.app) {
                return Stepped::Failed { trouble: Trouble::NoRights, says: no_token(&call.app), before: None };
            }
            let end = host.step(&call, &CallOff::default()).await;
            match tokio::task::spawn_blocking(move || {
                let _one = keeping.lock().unwrap_or_else(PoisonError::into_inner);
                put_away(&folder, end)
            })
            .await
            {
                Ok(stepped) => stepped,
                Err(broke) => {
                    error!(reason = %broke, "A step's configurations could not be kept");
                    let says = "it was done, and what was before could not be kept".to_owned();
                    Stepped::Failed { trouble: Trouble::Refused, says, before: None }
                }
            }
        })
    }
}

/// Nothing may be done anywhere: no token is configured.
pub struct NoActing;

impl Acts for NoActing {
    fn inventory(&self, app: &str) -> Doing<Result<Inventory, String>> {
        let app = app.to_owned();
        Box::pin(async move { Err(no_token(&app)) })
    }

    fn inspect(&self, app: &str) -> Doing<Result<Inventory, String>> {
        self.inventory(app)
    }

    fn life(&self, app: &str, _: DateTime<Utc>) -> Doing<Result<Vec<Lived>, String>> {
        let app = app.to_owned();
        Box::pin(async move { Err(no_token(&app)) })
    }

    fn step(&self, call: StepCall) -> Doing<Stepped> {
        Box::pin(async move { Stepped::Failed { trouble: Trouble::NoRights, says: no_token(&call.app), before: None } })
    }
}

fn no_token(app: &str) -> String {
    let (command, variable) = fly_deploy_command(app);
    format!("there is no {variable}: make one with `{command}` and give it to me in the environment")
}

/// Configurations become files named by their content, safe on the disk before the record names them.
fn put_away(folder: &Path, end: StepEnd) -> Stepped {
    let keep = |config: Option<Value>| {
        let bytes = serde_json::to_vec(&config?).ok()?;
        let kept = blob::put(&mut FsDisk::new(folder), &bytes);
        kept.inspect_err(|reason| error!(%reason, "A machine's configuration could not be kept")).ok()
    };
    match end {
        StepEnd::Done { before, after, release } => Stepped::Done { before: keep(before), after: keep(after), release },
        StepEnd::Failed { trouble, says, before } => Stepped::Failed { trouble, says, before: keep(before) },
        StepEnd::CalledOff => Stepped::CalledOff,
    }
}
