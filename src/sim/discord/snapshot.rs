//! The guild on disk: one JSON file, so that a demo finds its channels again after a restart.
//!
//! A snapshot, not a log: what happened in the last moment before a kill may be missing, as the neighbour that it
//! stands for promises nothing either.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Sim;
use super::interactions::NO_ANSWER;
use super::message::LOADING;
use super::world::World;

/// How long changes are gathered before they are written.
const GATHER: Duration = Duration::from_millis(200);

/// Where it lies in the folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join("discord.json")
}

/// The guild as it was left; `None` when there is none or it cannot be read, which is said in the log.
pub fn load(folder: &Path) -> Option<World> {
    let text = match std::fs::read(path(folder)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "cannot read the local Discord's state; it starts anew");
            return None;
        }
    };
    let mut world: World = serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(%error, "cannot read the local Discord's state; it starts anew"))
        .ok()?;
    // The interactions that these belong to ended with the process.
    for message in world.channels.values_mut().flat_map(|channel| channel.messages.values_mut()) {
        if message.has(LOADING) {
            message.flags &= !LOADING;
            message.content = NO_ANSWER.to_owned();
        }
    }
    Some(world)
}

/// Writes the guild: a new file beside, then renamed over the old one.
pub fn save(folder: &Path, world: &World) -> io::Result<()> {
    let text = serde_json::to_vec(world).map_err(io::Error::other)?;
    let beside = folder.join("discord.json.new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path(folder))
}

/// Writes the guild after changes, until the stand-in stops, and once more then.
pub async fn keep(sim: Sim, folder: PathBuf) {
    let changed = sim.lock().changed.clone();
    let mut written = 0;
    loop {
        let more = changed.notified();
        tokio::pin!(more);
        // Listening begins before the look, or a change in between would be missed.
        more.as_mut().enable();
        if sim.lock().seq == written {
            tokio::select! {
                () = more => {}
                () = sim.stopped() => break,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = sim.stopped() => break,
        }
        written = write(&sim, &folder);
    }
    write(&sim, &folder);
}

fn write(sim: &Sim, folder: &Path) -> u64 {
    let state = sim.lock();
    if let Err(error) = save(folder, &state.world) {
        tracing::warn!(%error, "cannot write the local Discord's state");
    }
    state.seq
}
