//! The gateway v10: sessions that outlive their connections, and the connections themselves.
//!
//! Events go to a session and into its replay buffer; whether a connection is there right now does not matter, which is
//! what RESUME is for. Opcodes and close codes: Discord's documents on the gateway. Text frames, no compression.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::Sim;
use super::faults::{FaultKind, Faults};
use super::id::Id;
use super::state::State;
use super::wire;
use super::world;

/// Intent `GUILDS`.
pub const GUILDS: u64 = 1;
/// Intent `GUILD_MEMBERS`, privileged.
pub const GUILD_MEMBERS: u64 = 1 << 1;
/// Intent `GUILD_PRESENCES`, privileged.
pub const GUILD_PRESENCES: u64 = 1 << 8;
/// Intent `GUILD_MESSAGES`.
pub const GUILD_MESSAGES: u64 = 1 << 9;
/// Intent `GUILD_MESSAGE_REACTIONS`.
pub const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
/// Intent `DIRECT_MESSAGES`.
pub const DIRECT_MESSAGES: u64 = 1 << 12;
/// Intent `MESSAGE_CONTENT`, privileged.
pub const MESSAGE_CONTENT: u64 = 1 << 15;
/// For events that every session gets.
pub const ALWAYS: u64 = 0;

const PRIVILEGED: u64 = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT;
/// Events kept for RESUME.
const REPLAY_MAX: usize = 1_000;
/// Sessions kept; the oldest without a connection go first.
const SESSIONS_MAX: usize = 16;
/// Frames that a client may send in `FRAMES_WINDOW`.
const FRAMES_MAX: usize = 120;
const FRAMES_WINDOW: Duration = Duration::from_secs(60);

/// What a connection is told to do.
#[derive(Debug)]
enum Out {
    Text(String),
    /// Close with a code.
    Close(u16, &'static str),
    /// Cut, without a word.
    Cut,
}

#[derive(Debug)]
struct Session {
    intents: u64,
    seq: u64,
    replay: VecDeque<(u64, String)>,
    out: Option<mpsc::UnboundedSender<Out>>,
    connection: u64,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Gateway {
    sessions: BTreeMap<String, Session>,
    /// Every open connection, identified or not.
    connections: BTreeMap<u64, mpsc::UnboundedSender<Out>>,
    last: u64,
}

impl Gateway {
    /// Whether a session has a connection.
    pub fn connected(&self) -> bool {
        self.sessions.values().any(|session| session.out.is_some())
    }

    /// Sends an event to each session with the intent.
    pub fn dispatch(&mut self, event: &str, intent: u64, data: Value, faults: &mut Faults, bot: Id) {
        let wants = |session: &Session| intent == ALWAYS || session.intents & intent != 0;
        if !self.sessions.values().any(wants) {
            return;
        }
        let times = if faults.strikes(&FaultKind::Duplicate) { 2 } else { 1 };
        for session in self.sessions.values_mut().filter(|session| wants(session)) {
            let data = if session.intents & MESSAGE_CONTENT == 0 && event.starts_with("MESSAGE_") {
                without_content(data.clone(), bot)
            } else {
                data.clone()
            };
            for _ in 0..times {
                session.send(event, &data);
            }
        }
    }

    /// Closes every connection without a word. Sessions stay.
    pub fn cut(&mut self) {
        self.tell_all(|| Out::Cut);
    }

    /// Asks every connection to reconnect: op 7.
    pub fn reconnect(&mut self) {
        self.tell_all(|| Out::Text(json!({"op": 7, "d": null, "s": null, "t": null}).to_string()));
    }

    /// Tells every connection that its session is over: op 9.
    pub fn invalidate(&mut self, resumable: bool) {
        self.tell_all(|| Out::Text(json!({"op": 9, "d": resumable, "s": null, "t": null}).to_string()));
        if !resumable {
            self.sessions.clear();
        }
    }

    fn tell_all(&mut self, out: impl Fn() -> Out) {
        self.connections.retain(|_, connection| connection.send(out()).is_ok());
    }
}

impl Session {
    fn send(&mut self, event: &str, data: &Value) {
        self.seq += 1;
        let text = json!({"op": 0, "t": event, "s": self.seq, "d": data}).to_string();
        self.replay.push_back((self.seq, text.clone()));
        if self.replay.len() > REPLAY_MAX {
            self.replay.pop_front();
        }
        if let Some(out) = &self.out {
            // A connection that ended meanwhile is noticed by its own task.
            let _ = out.send(Out::Text(text));
        }
    }
}

/// Empties what a bot without the content intent does not get: others' messages that do not mention it.
fn without_content(mut data: Value, bot: Id) -> Value {
    let bot = bot.to_string();
    let own = data["author"]["id"] == bot.as_str();
    let mentioned = data["mentions"].as_array().is_some_and(|list| list.iter().any(|user| user["id"] == bot.as_str()));
    if !own && !mentioned && data.get("guild_id").is_some() && data.get("content").is_some() {
        data["content"] = json!("");
        for list in ["embeds", "attachments", "components"] {
            data[list] = json!([]);
        }
    }
    data
}

/// What one connection knows of itself.
struct Connection {
    number: u64,
    session: Option<String>,
    out: mpsc::UnboundedSender<Out>,
}

/// Serves one connection until it ends.
pub async fn serve(socket: WebSocket, sim: Sim) {
    let (out, mut outbox) = mpsc::unbounded_channel();
    let (number, heartbeat) = {
        let mut state = sim.lock();
        state.gateway.last += 1;
        let number = state.gateway.last;
        state.gateway.connections.insert(number, out.clone());
        (number, Duration::from_millis(state.settings.heartbeat_ms.max(1)))
    };
    let mut connection = Connection { number, session: None, out };
    let (mut sink, mut stream) = socket.split();
    let hello = json!({"op": 10, "s": null, "t": null, "d": {"heartbeat_interval": heartbeat.as_millis() as u64, "_trace": []}});
    let mut alive = sink.send(Frame::text(hello.to_string())).await.is_ok();
    let mut frames: VecDeque<Instant> = VecDeque::new();
    // Twice the interval and a second: a busy machine is not a dead client.
    let patience = heartbeat * 2 + Duration::from_secs(1);
    let mut deadline = Instant::now() + patience;
    while alive {
        tokio::select! {
            out = outbox.recv() => match out {
                Some(Out::Text(text)) => alive = sink.send(Frame::text(text)).await.is_ok(),
                Some(Out::Close(code, reason)) => {
                    let _ = sink.send(Frame::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
                    alive = false;
                }
                Some(Out::Cut) | None => alive = false,
            },
            frame = stream.next() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    let at = Instant::now();
                    frames.push_back(at);
                    while frames.front().is_some_and(|&first| at - first > FRAMES_WINDOW) {
                        frames.pop_front();
                    }
                    if frames.len() > FRAMES_MAX {
                        let _ = connection.out.send(Out::Close(4008, "You are being rate limited."));
                    } else if receive(&sim, &mut connection, &text) {
                        deadline = at + patience;
                    }
                }
                Some(Ok(Frame::Close(_)) | Err(_)) | None => alive = false,
                Some(Ok(_)) => {}
            },
            () = sleep_until(deadline.into()) => {
                let _ = connection.out.send(Out::Close(4009, "Session timed out."));
                deadline = Instant::now() + patience;
            }
            () = sim.stopped() => alive = false,
        }
    }
    let mut state = sim.lock();
    state.gateway.connections.remove(&number);
    let mut was_live = false;
    for session in state.gateway.sessions.values_mut().filter(|session| session.connection == number) {
        session.out = None;
        was_live = true;
    }
    if was_live {
        let connected = state.gateway.connected();
        state.change("gateway", json!({"connected": connected}));
    }
}

/// Takes one frame; tells whether it shows that the client lives.
fn receive(sim: &Sim, connection: &mut Connection, text: &str) -> bool {
    let close = |code, reason| {
        let _ = connection.out.send(Out::Close(code, reason));
        false
    };
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return close(4002, "Decode error.") };
    let mut state = sim.lock();
    state.last_traffic = Instant::now();
    match frame["op"].as_u64() {
        Some(1) => {
            if !state.faults.has(&FaultKind::NoAck) {
                let ack = json!({"op": 11, "d": null, "s": null, "t": null});
                let _ = connection.out.send(Out::Text(ack.to_string()));
            }
            true
        }
        Some(2) if connection.session.is_some() => close(4005, "Already authenticated."),
        Some(2) => identify(&mut state, connection, &frame["d"]),
        Some(6) => resume(&mut state, connection, &frame["d"]),
        // Presence: taken as it comes, some libraries write its times their own way.
        Some(3 | 4 | 8 | 14 | 31) if connection.session.is_none() => close(4003, "Not authenticated."),
        Some(8) => {
            members_chunk(&mut state, connection, &frame["d"]);
            true
        }
        Some(3 | 4 | 14 | 31) => true,
        _ => close(4001, "Unknown opcode."),
    }
}

/// Whether the token is the bot's, with or without its `Bot ` before it.
fn token_is_right(state: &State, token: &Value) -> bool {
    let token = token.as_str().unwrap_or_default();
    token.strip_prefix("Bot ").unwrap_or(token) == state.workspace.bot_token
}

fn identify(state: &mut State, connection: &mut Connection, data: &Value) -> bool {
    let close = |code, reason| {
        let _ = connection.out.send(Out::Close(code, reason));
        false
    };
    if let Some(code) = state.faults.turns_away() {
        return close(code, "Turned away.");
    }
    if !token_is_right(state, &data["token"]) {
        return close(4004, "Authentication failed.");
    }
    let Some(intents) = data["intents"].as_u64() else { return close(4013, "Invalid intent(s).") };
    if intents & PRIVILEGED & !state.workspace.privileged_intents != 0 {
        return close(4014, "Disallowed intent(s).");
    }
    state.counters.identifies += 1;
    let id = format!("{:032x}", u128::from(state.world.ids.next().0) << 64 | u128::from(fastrand::u64(..)));
    while state.gateway.sessions.len() >= SESSIONS_MAX {
        let idle = state.gateway.sessions.iter().filter(|(_, session)| session.out.is_none());
        let Some(oldest) = idle.min_by_key(|(_, session)| session.connection).map(|(id, _)| id.clone()) else { break };
        state.gateway.sessions.remove(&oldest);
    }
    let mut session = Session {
        intents,
        seq: 0,
        replay: VecDeque::new(),
        out: Some(connection.out.clone()),
        connection: connection.number,
    };
    let bot = state.world.members.get(&state.world.bot_id).map(wire::user);
    let mut user = bot.unwrap_or_default();
    user["verified"] = json!(true);
    user["mfa_enabled"] = json!(true);
    user["email"] = Value::Null;
    let mut ready = json!({
        "v": 10, "user": user, "user_settings": {}, "session_type": "normal", "relationships": [],
        "private_channels": [], "presences": [], "guild_join_requests": [], "geo_ordered_rtc_regions": [],
        "guilds": [{"id": state.world.guild_id, "unavailable": true}],
        "session_id": id, "resume_gateway_url": gateway_url(&state.base), "auth": {},
        "application": {"id": state.world.application_id, "flags": 0}, "_trace": [],
    });
    if data["shard"].is_array() {
        ready["shard"] = data["shard"].clone();
    }
    session.send("READY", &ready);
    if intents & GUILDS != 0 {
        let visible = |channel| world::sees(state.bot_permissions(channel));
        let members = intents & GUILD_PRESENCES != 0;
        session.send("GUILD_CREATE", &wire::guild_create(&state.world, members, visible));
    }
    state.gateway.sessions.insert(id.clone(), session);
    connection.session = Some(id);
    state.change("gateway", json!({"connected": true}));
    true
}

fn resume(state: &mut State, connection: &mut Connection, data: &Value) -> bool {
    if let Some(code) = state.faults.turns_away() {
        let _ = connection.out.send(Out::Close(code, "Turned away."));
        return false;
    }
    if !token_is_right(state, &data["token"]) {
        let _ = connection.out.send(Out::Close(4004, "Authentication failed."));
        return false;
    }
    let id = data["session_id"].as_str().unwrap_or_default().to_owned();
    let seq = data["seq"].as_u64().unwrap_or_default();
    let covers = |session: &Session| {
        let first = session.replay.front().map_or(session.seq + 1, |(first, _)| *first);
        seq <= session.seq && seq + 1 >= first
    };
    let Some(session) = state.gateway.sessions.get_mut(&id).filter(|session| covers(session)) else {
        state.gateway.sessions.remove(&id);
        let _ = connection.out.send(Out::Text(json!({"op": 9, "d": false, "s": null, "t": null}).to_string()));
        return true;
    };
    for (_, text) in session.replay.iter().filter(|(at, _)| *at > seq) {
        let _ = connection.out.send(Out::Text(text.clone()));
    }
    session.out = Some(connection.out.clone());
    session.connection = connection.number;
    session.send("RESUMED", &json!({"_trace": []}));
    connection.session = Some(id);
    state.counters.resumes += 1;
    state.change("gateway", json!({"connected": true}));
    true
}

/// Answers a request for members: by id always, the whole list with the privileged intent only.
fn members_chunk(state: &mut State, connection: &Connection, data: &Value) {
    let wanted: Vec<Id> = match &data["user_ids"] {
        Value::Array(ids) => ids.iter().filter_map(super::mentions::wire_id).collect(),
        id => super::mentions::wire_id(id).into_iter().collect(),
    };
    let Some(session) = connection.session.as_ref().and_then(|id| state.gateway.sessions.get_mut(id)) else { return };
    let query = data["query"].as_str().map(str::to_lowercase);
    let all = session.intents & GUILD_MEMBERS != 0;
    let found = state.world.members.values().filter(|member| match &query {
        Some(query) if query.is_empty() => all,
        Some(query) => member.username.starts_with(query) || member.display_name.to_lowercase().starts_with(query),
        None => wanted.contains(&member.id),
    });
    let members: Vec<Value> = found.map(wire::member).collect();
    let chunk = json!({
        "guild_id": state.world.guild_id, "members": members, "chunk_index": 0, "chunk_count": 1,
        "not_found": wanted.iter().filter(|id| !state.world.members.contains_key(id)).collect::<Vec<_>>(),
        "nonce": data["nonce"],
    });
    session.send("GUILD_MEMBERS_CHUNK", &chunk);
}

/// The gateway's address for an address of the server.
pub fn gateway_url(base: &str) -> String {
    format!("{}/gateway", base.replacen("http", "ws", 1))
}
