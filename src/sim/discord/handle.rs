//! A running local Discord, for tests and the demo in the same process. Each method is a call of the control API.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::workspace::Settings;
use super::{Sim, control, still};

/// How long `shutdown` waits for connections to end.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// A hold on a running local Discord. Dropping it stops the stand-in as well.
pub struct Handle {
    sim: Sim,
    addr: SocketAddr,
    server: JoinHandle<()>,
    snapshot: Option<JoinHandle<()>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.sim.0.stop.send_replace(true);
    }
}

impl Handle {
    pub(super) fn new(sim: Sim, addr: SocketAddr, server: JoinHandle<()>, snapshot: Option<JoinHandle<()>>) -> Handle {
        Handle { sim, addr, server, snapshot }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT/api/v10`: the base of REST paths.
    pub fn api_url(&self) -> String {
        format!("{}/api/v10", self.base_url())
    }

    /// `http://127.0.0.1:PORT`: for libraries that add `/api/v10` themselves, such as serenity's `proxy`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `http://127.0.0.1:PORT/sim`: the base of the control API. The page is at `base_url`.
    pub fn control_url(&self) -> String {
        format!("{}/sim", self.base_url())
    }

    /// The bot's token, as the workspace had it.
    pub fn bot_token(&self) -> String {
        self.sim.lock().workspace.bot_token.clone()
    }

    /// One call of the control API, by its path below `/sim` and its body: `call("press", json!({…}))`.
    ///
    /// Errors: the sentence that the control API would answer.
    pub async fn call(&self, action: &str, body: Value) -> Result<Value, String> {
        control::act(&self.sim, action, &body).await
    }

    /// `GET /sim/state`.
    pub fn state(&self) -> Value {
        super::view::state(&self.sim.lock())
    }

    /// The id of a channel by name.
    pub fn channel_id(&self, name: &str) -> Option<u64> {
        self.sim.lock().world.channel_named(name).map(|channel| channel.id.0)
    }

    /// The id of a member by username.
    pub fn member_id(&self, name: &str) -> Option<u64> {
        self.sim.lock().world.member_named(name).map(|member| member.id.0)
    }

    /// The id of a role by name.
    pub fn role_id(&self, name: &str) -> Option<u64> {
        self.sim.lock().world.role_named(name).map(|role| role.id.0)
    }

    /// The guild's id.
    pub fn guild_id(&self) -> u64 {
        self.sim.lock().world.guild_id.0
    }

    /// `GET /sim/channels/{channel}`: all its messages, oldest first; with `member`, what only that member sees among them.
    pub fn channel(&self, channel: &str, member: Option<&str>) -> Result<Vec<Value>, String> {
        control::messages(&self.sim.lock(), channel, member)
    }

    /// `GET /sim/messages/{id}`.
    pub fn message(&self, id: &str) -> Result<Value, String> {
        control::message(&self.sim.lock(), id)
    }

    /// `GET /sim/phones/{member}`.
    pub fn phone(&self, member: &str) -> Result<Value, String> {
        control::phone(&self.sim.lock(), member)
    }

    /// `GET /sim/counters`.
    pub fn counters(&self) -> Value {
        json!(self.sim.lock().counters)
    }

    /// `GET /sim/requests?since=`: what the bot sent, oldest first.
    pub fn requests(&self, since: u64) -> Vec<Value> {
        self.sim.lock().recorder.since(since, usize::MAX).0
    }

    /// `GET /sim/interactions/{id}`, waiting until it is neither `waiting` nor `deferred`, at most `within`.
    pub async fn interaction(&self, id: &str, within: Duration) -> Result<Value, String> {
        control::interaction(&self.sim, id, within).await
    }

    /// Waits for stillness. Returns the time that it took, or why it is not still.
    pub async fn still(&self, within: Duration) -> Result<Duration, String> {
        still::wait(&self.sim, within).await
    }

    /// `POST /sim/type`: a command or plain talk, as typed into the box. `{"interaction_id"}` or `{"message_id"}`.
    pub async fn type_text(&self, member: &str, channel: &str, text: &str) -> Result<Value, String> {
        self.call("type", json!({"as": member, "channel": channel, "text": text})).await
    }

    /// `POST /sim/run`.
    pub async fn run(&self, member: &str, channel: &str, command: &str, options: Value) -> Result<String, String> {
        let body = json!({"as": member, "channel": channel, "command": command, "options": options});
        interaction_id(self.call("run", body).await?)
    }

    /// `POST /sim/press`: a button by custom id or label.
    pub async fn press(&self, member: &str, message: &str, button: &str) -> Result<String, String> {
        interaction_id(self.call("press", json!({"as": member, "message": message, "button": button})).await?)
    }

    /// `POST /sim/select`: a menu's values or labels.
    pub async fn select(
        &self,
        member: &str,
        message: &str,
        menu: Option<&str>,
        values: &[&str],
    ) -> Result<String, String> {
        let body = json!({"as": member, "message": message, "menu": menu, "values": values});
        interaction_id(self.call("select", body).await?)
    }

    /// `POST /sim/submit`: the form that an interaction was answered with.
    pub async fn submit(&self, member: &str, interaction: &str, fields: Value) -> Result<String, String> {
        let body = json!({"as": member, "interaction": interaction, "fields": fields});
        interaction_id(self.call("submit", body).await?)
    }

    /// `POST /sim/faults`: returns the fault's number.
    pub async fn fault(&self, fault: Value) -> Result<u64, String> {
        let set = self.call("faults", fault).await?;
        set["id"].as_u64().ok_or_else(|| "no fault was set".to_owned())
    }

    /// `DELETE /sim/faults/{id}`: whether it was set.
    pub fn clear_fault(&self, id: u64) -> bool {
        control::clear_faults(&mut self.sim.lock(), Some(id))
    }

    /// `DELETE /sim/faults`.
    pub fn clear_faults(&self) {
        control::clear_faults(&mut self.sim.lock(), None);
    }

    /// Times and rates, to be changed while it runs.
    pub fn settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut state = self.sim.lock();
        change(&mut state.settings);
        state.limits.clear();
        let settings = json!(state.settings);
        state.change("settings", json!({"settings": settings}));
    }

    /// Stops it and waits until it has; the guild is written once more.
    pub async fn shutdown(mut self) {
        self.sim.0.stop.send_replace(true);
        if tokio::time::timeout(SHUTDOWN_WITHIN, &mut self.server).await.is_err() {
            self.server.abort();
        }
        if let Some(snapshot) = self.snapshot.take() {
            // It ends by itself; a panic there is in the log already.
            let _ = snapshot.await;
        }
    }
}

fn interaction_id(done: Value) -> Result<String, String> {
    done["interaction_id"].as_str().map(str::to_owned).ok_or_else(|| "no interaction began".to_owned())
}
