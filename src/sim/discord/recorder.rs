//! What the bot sent over REST: a bounded list for the control API, and all of it in a file when a folder is given.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::id::{now, stamp};

/// Requests kept in memory.
const REQUESTS_MAX: usize = 5_000;

/// The recorder.
#[derive(Debug, Default)]
pub struct Recorder {
    ring: VecDeque<(u64, Value)>,
    last: u64,
    file: Option<File>,
}

impl Recorder {
    /// A recorder that also appends a line a request to `discord-PID.jsonl` in `folder`, or in the one that `WATCHBELL_REQUESTS`
    /// names: so a whole run of the tests, in however many processes, leaves all that was sent in one place.
    pub fn open(folder: Option<&Path>) -> std::io::Result<Recorder> {
        let named = std::env::var_os("WATCHBELL_REQUESTS").map(PathBuf::from);
        let Some(folder) = folder.or(named.as_deref()) else { return Ok(Recorder::default()) };
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("discord-{}.jsonl", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Recorder { file: Some(file), ..Recorder::default() })
    }

    /// Notes a request and what program sent it; never its token.
    pub fn request(&mut self, agent: Option<&str>, method: &str, path: &str, query: &str, body: &Value) -> u64 {
        self.last += 1;
        let mut request = json!({
            "seq": self.last, "at": stamp(now()), "method": method, "path": path, "template": template(path),
        });
        if !query.is_empty() {
            request["query"] = json!(query);
        }
        if !body.is_null() {
            request["body"] = body.clone();
        }
        if let Some(agent) = agent {
            request["agent"] = json!(agent);
        }
        self.ring.push_back((self.last, request));
        if self.ring.len() > REQUESTS_MAX {
            self.ring.pop_front();
        }
        self.last
    }

    /// Notes how it was answered, and writes the line.
    pub fn answered(&mut self, seq: u64, status: u16) {
        let Some((_, request)) = self.ring.iter_mut().rev().find(|(at, _)| *at == seq) else { return };
        request["status"] = json!(status);
        if let Some(file) = &mut self.file
            // In one piece: several stand-ins of a process share the file.
            && let Err(error) = file.write_all(format!("{request}\n").as_bytes())
        {
            tracing::warn!(%error, "cannot write the record of requests");
            self.file = None;
        }
    }

    /// Requests after `since`, oldest first, and the number to go on from.
    pub fn since(&self, since: u64, limit: usize) -> (Vec<Value>, u64) {
        let found: Vec<&(u64, Value)> = self.ring.iter().filter(|(seq, _)| *seq > since).take(limit).collect();
        let next = found.last().map_or(since, |(seq, _)| *seq);
        (found.into_iter().map(|(_, request)| request.clone()).collect(), next)
    }
}

/// The path as Discord's OpenAPI document writes it: `/channels/{channel_id}/messages`.
pub fn template(path: &str) -> String {
    let mut out = String::new();
    let mut before = ["", ""];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let is_id = part.bytes().all(|byte| byte.is_ascii_digit());
        let name = match before {
            [_, "channels"] if is_id => "{channel_id}",
            [_, "messages" | "pins"] if is_id => "{message_id}",
            [_, "guilds"] if is_id => "{guild_id}",
            [_, "users" | "members" | "thread-members"] if is_id => "{user_id}",
            [_, "roles"] if is_id => "{role_id}",
            [_, "applications"] if is_id => "{application_id}",
            [_, "commands"] if is_id => "{command_id}",
            [_, "permissions"] if is_id => "{overwrite_id}",
            [_, "webhooks"] if is_id => "{webhook_id}",
            [_, "interactions"] if is_id => "{interaction_id}",
            ["webhooks", _] => "{webhook_token}",
            ["interactions", _] => "{interaction_token}",
            [_, "reactions"] => "{emoji_name}",
            ["reactions", _] if is_id => "{user_id}",
            _ => part,
        };
        out.push('/');
        out.push_str(name);
        before = [before[1], part];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn paths_read_as_in_the_openapi_document() {
        for (path, want) in [
            ("/channels/12/messages/34", "/channels/{channel_id}/messages/{message_id}"),
            ("/channels/12/messages/pins/34", "/channels/{channel_id}/messages/pins/{message_id}"),
            ("/interactions/1/tok-2/callback", "/interactions/{interaction_id}/{interaction_token}/callback"),
            ("/webhooks/1/tok/messages/@original", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"),
            ("/applications/1/guilds/2/commands", "/applications/{application_id}/guilds/{guild_id}/commands"),
            ("/users/@me", "/users/@me"),
        ] {
            assert_eq!(template(path), want);
        }
    }
}
