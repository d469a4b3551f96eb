//! A team whose one service runs on the local Fly, for tests that start the real program between the two stand-ins.

use std::path::Path;

use watchbell::sim::{discord, fly};

/// The example server, without its pace: that is tried elsewhere.
pub fn unpaced_guild() -> discord::Workspace {
    let mut guild = discord::Workspace::example();
    guild.settings.messages_per_window = 1_000;
    guild.settings.global_per_second = 1_000;
    guild
}

/// A set-up with policy.toml and the state beside it in `folder`. `of_fly` are further lines of `[fly]`; `rest` is what follows:
/// ports, clock, people, whatever a test has of its own.
pub fn setup(folder: &Path, discord: &discord::Handle, fly: &fly::Handle, of_fly: &str, rest: &str) -> String {
    format!(
        r#"
[team]
name = "lighthouse"
zone = "America/Chicago"
[discord]
guild = "{guild}"
api_url = "{api}"
rest_after_restart = "0s"
[channels]
incidents = "incidents"
test = "incidents-test"
announce = "announcements"
[roles]
reliability = "on-call"
engineer = "lead"
manager = "admin"
responder = "responder"
[fly]
org = "lighthouse"
machines_url = "{machines}"
api_url = "{fly}"
{of_fly}
[policy]
file = "{policy}"
[state]
dir = "{state}"
[[services]]
name = "shop"
production = {{ fly_app = "shop" }}
{rest}
"#,
        guild = discord.guild_id(),
        api = discord.base_url(),
        machines = fly.machines_url(),
        fly = fly.api_url(),
        policy = folder.join("policy.toml").display(),
        state = folder.join("state").display(),
    )
}
