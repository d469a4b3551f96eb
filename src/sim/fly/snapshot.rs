//! The organisation on disk: one JSON file, so that a demo finds its machines again after a restart.
//!
//! A snapshot, not a log: what happened in the last moment before a kill may be missing.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Sim;
use super::workspace::Workspace;
use super::world::World;

/// How long changes are gathered before they are written.
const GATHER: Duration = Duration::from_millis(200);

fn path(folder: &Path) -> PathBuf {
    folder.join("fly.json")
}

/// The organisation as it was left; `None` when there is none, when it cannot be read or when the workspace has other apps
/// by now, which is said in the log.
pub fn load(folder: &Path, workspace: &Workspace) -> Option<World> {
    let text = match std::fs::read(path(folder)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "cannot read the local Fly's state; it starts anew");
            return None;
        }
    };
    let world: World = serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(%error, "cannot read the local Fly's state; it starts anew"))
        .ok()?;
    let same = world.apps.iter().map(|app| &app.name).eq(workspace.apps.iter().map(|app| &app.name));
    if !same {
        tracing::warn!("the local Fly's state has other apps than the workspace; it starts anew");
    }
    // Whatever else a file may hold: a configuration is an object, and so is what is changed inside it.
    let machines = || world.apps.iter().flat_map(|app| app.machines.iter().chain(&app.destroyed));
    let sound = machines().all(|machine| {
        let metadata = &machine.config["metadata"];
        machine.config.is_object() && (metadata.is_object() || metadata.is_null())
    });
    if !sound {
        tracing::warn!("the local Fly's state holds a configuration that is none; it starts anew");
    }
    (same && sound).then_some(world)
}

/// Writes the organisation after changes, until the stand-in stops, and once more then.
pub async fn keep(sim: Sim, folder: PathBuf) {
    let mut changes = sim.lock().changes();
    changes.mark_changed();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = sim.stopped() => break,
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = sim.stopped() => break,
        }
        changes.mark_unchanged();
        write(&sim, &folder);
    }
    write(&sim, &folder);
}

/// A new file beside, then renamed over the old one.
fn write(sim: &Sim, folder: &Path) {
    let text = serde_json::to_vec(&sim.lock().world);
    let beside = folder.join("fly.json.new");
    let written = text.map_err(io::Error::other).and_then(|text| std::fs::write(&beside, text));
    if let Err(error) = written.and_then(|()| std::fs::rename(&beside, path(folder))) {
        tracing::warn!(%error, "cannot write the local Fly's state");
    }
}
