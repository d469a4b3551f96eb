//! Deploys past the bot, as somebody makes them with flyctl: what the page's service menu and "Show me 3 a.m." ask for.
//!
//! Acts on the local Fly alone. Never tells the bot: that it sees them is what is shown.

use anyhow::anyhow;
use serde_json::json;
use watchbell::sim::fly;

/// Who makes them.
const BY: &str = "carol@hotdash.example";

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
    let wish = json!({ "app": app, "image": image, "user": BY, "description": "Answer from the new model" });
    let made = fly.act("release", &wish).map_err(|why| anyhow!("{why}"))?;
    made["version"].as_u64().ok_or_else(|| anyhow!("the release has no number"))
}
