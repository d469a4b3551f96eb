//! What happens past the bot, as deploys that somebody makes with flyctl: what the page's service menu and "Show me 3 a.m." ask for.
//!
//! Acts on the local Fly alone. Never tells the bot: that it sees them is what is shown.

use anyhow::anyhow;
use serde_json::json;
use watchbell::sim::fly;

use super::FLY;

/// Who deployed an app last before the demo, and does so again.
fn user(app: &str) -> anyhow::Result<String> {
    let workspace = fly::Workspace::from_json(FLY).map_err(|why| anyhow!("{why}"))?;
    let found = workspace.apps.into_iter().find(|one| one.name == app).ok_or_else(|| anyhow!("no app {app}"))?;
    let newest = found.releases.into_iter().max_by_key(|release| release.version);
    newest.map(|release| release.user).ok_or_else(|| anyhow!("nobody ever deployed {app}"))
}

/// The number of an app's newest release; 0 when it has none.
pub fn newest_release(fly: &fly::Handle, app: &str) -> u64 {
    let state = fly.state();
    let mut apps = state["apps"].as_array().into_iter().flatten();
    let found = apps.find(|one| one["name"] == app);
    found.and_then(|one| one["releases"][0]["version"].as_u64()).unwrap_or(0)
}

/// Puts up an image that passes its check and answers everybody else 500, on all machines at once. The release's number.
///
/// # Errors
/// When there is no such app.
pub fn release(fly: &fly::Handle, app: &str) -> anyhow::Result<u64> {
    let image = format!("registry.fly.io/{app}:deployment-{}-broken", newest_release(fly, app) + 1);
    let wish = json!({ "app": app, "image": image, "user": user(app)?, "description": "Answer from the new model" });
    let made = fly.act("release", &wish).map_err(|why| anyhow!("{why}"))?;
    made["version"].as_u64().ok_or_else(|| anyhow!("the release has no number"))
}

/// The program on an app's first machine is killed for want of memory, and started again.
///
/// # Errors
/// When there is no such app.
pub fn memory_runs_out(fly: &fly::Handle, app: &str) -> anyhow::Result<()> {
    fly.act("oom", &json!({ "app": app, "machine": 1 })).map(drop).map_err(|why| anyhow!("{why}"))
}
