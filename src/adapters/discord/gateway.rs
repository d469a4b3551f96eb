//! The gateway: what happens on Discord becomes inputs, in the order in which it came.
//!
//! serenity speaks the protocol and nothing else of it is used: all that is sent goes over the lane. serenity handles each event in
//! a task of its own; so the client has a thread and a one-threaded runtime to itself, whose queue is first in, first out, and what
//! is done with an event is done without a pause. It loses events on a dead connection and cannot resume over a restart, so every
//! READY becomes an input that compares what stands with what should.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serenity::all::{
    ClientBuilder, Context, Event, EventHandler, GatewayIntents, Guild, HttpBuilder, Interaction as Received, Member,
    RawEventHandler, ShardStageUpdateEvent, User,
};
use serenity::async_trait;
use serenity::gateway::ConnectionStage;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::directory::{self, SharedDirectory};
use super::incoming;
use super::lane::{Lane, Request, Route};
use super::link::Link;
use super::pulse::{self, AbortOnDrop, Looked, Pulse};
use super::reply::{Deed, Desk, Forms, Interaction, Reply, UndeliveredTo};
use super::{PREFIX, ours};
use crate::domain::answer::{Answer, CompletionAsk};
use crate::domain::ids::{InputId, Posted, Role};
use crate::domain::input::{Actor, Gone, Input, InputKind};
use crate::domain::message::Choice;

/// Interactions remembered, so that one that Discord sends twice is taken once.
const SEEN_MAX: usize = 1_024;
/// The first wait before the connection is built anew, and the longest, in seconds.
const AGAIN_AFTER_S: u64 = 2;
const AGAIN_AFTER_S_MAX: u64 = 60;
/// Parts of a pressed message that are not used and that serenity refuses to read when Discord leaves something out.
const UNNEEDED_PARTS: [&str; 6] =
    ["interaction", "interaction_metadata", "components", "referenced_message", "thread", "poll"];
/// Commands, presses and forms need no intent. Messages are asked for without their content: only to hear of deletions.
const INTENTS: GatewayIntents = GatewayIntents::GUILDS.union(GatewayIntents::GUILD_MESSAGES);

/// Answers what somebody types, from State. Called on the gateway's behalf; must not wait for anything.
pub type Completions = Arc<dyn Fn(&CompletionAsk) -> Vec<Choice> + Send + Sync>;

/// An input, and the handle for its answer when somebody waits for one.
#[derive(Debug)]
pub struct Inbound {
    /// What happened.
    pub input: Input,
    /// The handle for the one answer.
    pub reply: Option<Reply>,
}

/// What the gateway needs.
pub struct GatewayOptions {
    /// The API's base address with its version, as the lane has it.
    pub api_url: String,
    /// The bot's token, without `Bot `.
    pub token: SecretString,
    /// The one server that the bot works on.
    pub guild: u64,
    /// The way out.
    pub lane: Lane,
    /// Roles and channels; the gateway keeps them up to date.
    pub directory: SharedDirectory,
    /// Where it says whether it is connected.
    pub link: Link,
    /// Where inputs go. When it is full, people are told that the bot is busy.
    pub inbox: mpsc::Sender<Inbound>,
    /// What completes what people type.
    pub completions: Completions,
    /// Who hears of answers that did not arrive.
    pub undelivered: UndeliveredTo,
}

/// A running gateway. Dropped, it disconnects.
pub struct Gateway {
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<anyhow::Error>,
}

impl Gateway {
    /// Asks where the gateway is, and connects to it in the background. Must be called within the bot's tokio runtime.
    ///
    /// # Errors
    /// When the API's address does not lead to a Discord that tells where its gateway is: without that answer serenity would go to
    /// the real Discord.
    pub async fn connect(options: GatewayOptions) -> anyhow::Result<Self> {
        let url = gateway_url(&options.lane, &options.api_url).await?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let runtime = Handle::current();
        let events = Arc::new(Events::new(&options, runtime.clone()));
        let own = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot set up the gateway's runtime")?;
        let run = move || {
            own.block_on(async move {
                tokio::select! {
                    error = stay_connected(&options, &events, &runtime, url) => {
                        events.link.down(&format!("{error:#}"));
                        drop(end.send(error));
                    }
                    _ = stopped => events.link.down("disconnected"),
                }
            });
            // Whatever serenity still waits for is not waited for.
            own.shutdown_background();
        };
        thread::Builder::new()
            .name("discord-gateway".to_owned())
            .spawn(run)
            .context("cannot start the gateway's thread")?;
        Ok(Self { stop: Some(stop), ended })
    }

    /// Resolves when the gateway cannot go on: Discord does not take the token, or the intents.
    pub async fn ended(&mut self) -> anyhow::Error {
        (&mut self.ended).await.unwrap_or_else(|_| anyhow!("the gateway's thread ended"))
    }

    /// Disconnects.
    pub fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// Where the gateway is, as the configured API says.
async fn gateway_url(lane: &Lane, api_url: &str) -> anyhow::Result<String> {
    let answer = lane
        .send(Request::new(Route::get_gateway()))
        .await
        .with_context(|| format!("{api_url} does not answer as Discord's API; check [discord] api_url"))?;
    let url = answer.body.get("url").and_then(Value::as_str).unwrap_or_default();
    if url.starts_with("wss://") || is_loopback_ws(url) {
        return Ok(url.to_owned());
    }
    bail!("{api_url} does not say where a gateway is; check [discord] api_url")
}

/// Plain connections only to this machine.
fn is_loopback_ws(url: &str) -> bool {
    let Some(host) = url.strip_prefix("ws://").and_then(|rest| rest.split(['/', '?']).next()) else { return false };
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

/// Connects, and connects anew whenever serenity gives up; returns when that is of no use.
async fn stay_connected(
    options: &GatewayOptions,
    events: &Arc<Events>,
    runtime: &Handle,
    url: String,
) -> anyhow::Error {
    let mut url = url;
    let mut again_after_s = AGAIN_AFTER_S;
    loop {
        let began = Instant::now();
        match one_client(options, events, &url).await {
            Err(error) if is_final(&error) => {
                return anyhow::Error::new(error).context("Discord does not let me connect");
            }
            Err(error) => events.link.down(&format!("the gateway broke: {error}")),
            Ok(()) => events.link.down("the gateway closed"),
        }
        if began.elapsed() > Duration::from_secs(AGAIN_AFTER_S_MAX) {
            again_after_s = AGAIN_AFTER_S;
        }
        warn!(again_after_s, "The gateway is disconnected; connecting anew");
        tokio::time::sleep(Duration::from_secs(again_after_s)).await;
        again_after_s = (again_after_s * 2).min(AGAIN_AFTER_S_MAX);
        let (lane, api_url) = (options.lane.clone(), options.api_url.clone());
        if let Ok(Ok(new)) = runtime.spawn(async move { gateway_url(&lane, &api_url).await }).await {
            url = new;
        }
    }
}

async fn one_client(options: &GatewayOptions, events: &Arc<Events>, url: &str) -> Result<(), serenity::Error> {
    // serenity's own requests are not used, but for the one that it makes while it is built: that one must not leave for elsewhere.
    let origin = options.api_url.trim_end_matches('/').trim_end_matches("/api/v10");
    let http = HttpBuilder::new(options.token.expose_secret()).proxy(origin).ratelimiter_disabled(true).build();
    let mut client = ClientBuilder::new_with_http(http, INTENTS)
        .raw_event_handler(Raw(Arc::clone(events)))
        .event_handler(Stages(Arc::clone(events)))
        .await?;
    url.clone_into(&mut *client.ws_url.lock().await);
    let shards = Arc::clone(&client.shard_manager);
    let pulse = Arc::new(Pulse::default());
    // Whoever reads keeps hold of this; what holds it before anybody reads is no reader.
    let data = Arc::downgrade(&client.data);
    let idle = data.strong_count();
    let (link, deaf) = (events.link.clone(), Arc::clone(events));
    let look = pulse::look(Looked {
        pulse: Arc::clone(&pulse),
        shards: Arc::clone(&shards),
        up: move || link.condition().up,
        reads: move || data.strong_count() > idle,
        deaf: move || deaf.down("the connection ended and nobody was told; connecting anew"),
    });
    let _look = AbortOnDrop(events.runtime.spawn(look).abort_handle());
    let watch = async {
        loop {
            tokio::time::sleep(pulse::EVERY).await;
            if pulse.turn() {
                return;
            }
            // serenity says nothing when a connection ends and no new one comes about; then it has no shard that runs.
            if shards.runners.lock().await.is_empty() {
                events.down("disconnected; connecting anew");
            }
        }
    };
    tokio::select! {
        ended = client.start() => ended,
        () = watch => {
            // What serenity still keeps of the old connection would wait for ever; its end is not waited for.
            tokio::spawn(async move { shards.shutdown_all().await });
            Ok(())
        }
    }
}

/// Whether trying again is of no use.
fn is_final(error: &serenity::Error) -> bool {
    use serenity::gateway::GatewayError as Error;
    matches!(
        error,
        serenity::Error::Gateway(
            Error::InvalidAuthentication | Error::InvalidGatewayIntents | Error::DisallowedGatewayIntents
        )
    )
}

struct Raw(Arc<Events>);

#[async_trait]
impl RawEventHandler for Raw {
    async fn raw_event(&self, _: Context, event: Event) {
        self.0.take(event);
    }
}

struct Stages(Arc<Events>);

#[async_trait]
impl EventHandler for Stages {
    async fn shard_stage_update(&self, _: Context, event: ShardStageUpdateEvent) {
        if event.new != ConnectionStage::Connected {
            self.0.down("disconnected; connecting anew");
        }
    }
}

/// Takes events, one after the other, without ever waiting.
struct Events {
    guild: u64,
    desk: Desk,
    link: Link,
    inbox: mpsc::Sender<Inbound>,
    completions: Completions,
    runtime: Handle,
    seen: Mutex<Seen>,
    /// Whether an input that says "compare everything" waits for room.
    reconcile_waits: Arc<AtomicBool>,
}

impl Events {
    fn new(options: &GatewayOptions, runtime: Handle) -> Self {
        Self {
            guild: options.guild,
            desk: Desk {
                lane: options.lane.clone(),
                directory: options.directory.clone(),
                undelivered: Arc::clone(&options.undelivered),
                forms: Arc::new(Forms::default()),
            },
            link: options.link.clone(),
            inbox: options.inbox.clone(),
            completions: Arc::clone(&options.completions),
            runtime,
            seen: Mutex::default(),
            reconcile_waits: Arc::default(),
        }
    }

    /// Not connected any more. serenity's own words about it are not logged: they may hold what somebody typed.
    fn down(&self, why: &str) {
        if self.link.condition().up {
            warn!(why, "The gateway is disconnected");
            self.link.down(why);
        }
    }

    fn take(&self, event: Event) {
        let here = |guild: Option<serenity::all::GuildId>| guild.is_some_and(|guild| guild.get() == self.guild);
        let directory = &self.desk.directory;
        match event {
            Event::Ready(event) => {
                info!(user = %event.ready.user.name, "Connected to Discord");
                self.link.up();
                self.reconcile(&event.ready.session_id);
            }
            Event::Resumed(_) => {
                info!("Connected to Discord again, where it left off");
                self.link.up();
            }
            Event::InteractionCreate(event) => self.interaction(event.interaction),
            Event::Unknown(event) if event.kind == "INTERACTION_CREATE" => self.misread(event.value),
            Event::GuildCreate(event) if event.guild.id.get() == self.guild => self.guild(&event.guild),
            Event::GuildRoleCreate(event) if here(Some(event.role.guild_id)) => {
                directory.change(|known| known.role_seen(event.role.id.get(), &event.role.name));
            }
            Event::GuildRoleUpdate(event) if here(Some(event.role.guild_id)) => {
                directory.change(|known| known.role_seen(event.role.id.get(), &event.role.name));
            }
            Event::GuildRoleDelete(event) if here(Some(event.guild_id)) => {
                directory.change(|known| known.role_gone(event.role_id.get()));
            }
            Event::ChannelCreate(event) if here(Some(event.channel.guild_id)) => {
                directory.change(|known| known.place_seen(event.channel.id.get(), &event.channel.name));
            }
            Event::ChannelUpdate(event) if here(Some(event.channel.guild_id)) => {
                directory.change(|known| known.place_seen(event.channel.id.get(), &event.channel.name));
            }
            Event::ThreadCreate(event) if here(Some(event.thread.guild_id)) => {
                directory.change(|known| known.place_seen(event.thread.id.get(), &event.thread.name));
            }
            Event::ThreadUpdate(event) if here(Some(event.thread.guild_id)) => {
                directory.change(|known| known.place_seen(event.thread.id.get(), &event.thread.name));
            }
            Event::ChannelDelete(event) if here(Some(event.channel.guild_id)) => {
                self.place_gone(event.channel.id.get())
            }
            Event::ThreadDelete(event) if here(Some(event.thread.guild_id)) => self.place_gone(event.thread.id.get()),
            Event::MessageDelete(event) if here(event.guild_id) => {
                self.message_gone(event.channel_id.get(), event.message_id.get());
            }
            Event::MessageDeleteBulk(event) if here(event.guild_id) => {
                for id in event.ids {
                    self.message_gone(event.channel_id.get(), id.get());
                }
            }
            _ => {}
        }
    }

    fn guild(&self, guild: &Guild) {
        self.desk.directory.change(|known| {
            for role in guild.roles.values() {
                known.role_seen(role.id.get(), &role.name);
            }
            for place in guild.channels.values().chain(&guild.threads) {
                known.place_seen(place.id.get(), &place.name);
            }
        });
    }

    fn place_gone(&self, id: u64) {
        self.desk.directory.change(|known| known.place_gone(id));
        // A thread has the id of its first message; the two may go one after the other.
        self.tell(format!("gone:place:{id}"), InputKind::Gone(Gone::Place(directory::place(id))));
    }

    fn message_gone(&self, channel: u64, id: u64) {
        let posted = Posted { place: directory::place(channel), message: id.to_string() };
        self.tell(format!("gone:message:{id}"), InputKind::Gone(Gone::Message(posted)));
    }

    /// Hands on what nobody waits for. When there is no room, everything is compared later instead.
    fn tell(&self, id: String, kind: InputKind) {
        let input = Input { id: InputId::new(format!("{PREFIX}:{id}")), kind };
        if let Err(TrySendError::Full(missed)) = self.inbox.try_send(Inbound { input, reply: None }) {
            self.reconcile(missed.input.id.local());
        }
    }

    /// Has everything that stands compared with what should. Never lost; many that wait are one.
    fn reconcile(&self, why: &str) {
        if self.reconcile_waits.swap(true, Ordering::AcqRel) {
            return;
        }
        let input = Input { id: InputId::new(format!("{PREFIX}:ready:{why}")), kind: InputKind::ChatReady };
        let waits = Arc::clone(&self.reconcile_waits);
        match self.inbox.try_send(Inbound { input, reply: None }) {
            Err(TrySendError::Full(inbound)) => {
                let inbox = self.inbox.clone();
                self.runtime.spawn(async move {
                    let _ = inbox.send(inbound).await;
                    waits.store(false, Ordering::Release);
                });
            }
            _ => waits.store(false, Ordering::Release),
        }
    }

    /// An interaction that serenity could not read. It is strict about parts of the pressed message that nobody needs here.
    fn misread(&self, mut value: Value) {
        if let Some(message) = value.get_mut("message").and_then(Value::as_object_mut) {
            for part in UNNEEDED_PARTS {
                message.remove(part);
            }
        }
        match serde_json::from_value(value) {
            Ok(received) => self.interaction(received),
            // Never the event itself: it holds the token.
            Err(error) => error!(error = %error, "Discord sent an interaction that cannot be read; it is not answered"),
        }
    }

    fn interaction(&self, received: Received) {
        let id = received.id().get();
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(id) {
            info!(interaction = id, "Discord sent an interaction twice; taken once");
            return;
        }
        match received {
            Received::Autocomplete(command) => {
                let who = self.actor(&command.user, command.member.as_deref());
                let ask = self.desk.directory.read(|directory| incoming::completion(&command, who, directory));
                self.complete(id, SecretString::from(command.token), ask);
            }
            Received::Command(command) => {
                let interaction = self.open(
                    (id, command.application_id.get()),
                    &command.token,
                    command.channel_id.get(),
                    Deed::Command,
                );
                let who = self.actor(&command.user, command.member.as_deref());
                let kind = self.desk.directory.read(|directory| incoming::call(&command, who, directory));
                self.accept(interaction, kind, command.guild_id.map(|id| id.get()));
            }
            Received::Component(press) => {
                let (channel, message) = (press.channel_id.get(), press.message.id.get());
                let deed = Deed::Press { channel, message };
                let interaction = self.open((id, press.application_id.get()), &press.token, channel, deed);
                let who = self.actor(&press.user, press.member.as_ref());
                self.accept(interaction, incoming::press(&press, who), press.guild_id.map(|id| id.get()));
            }
            Received::Modal(modal) => {
                let on = modal.message.as_ref().map(|message| (message.channel_id.get(), message.id.get()));
                let deed = Deed::Form { on };
                let interaction =
                    self.open((id, modal.application_id.get()), &modal.token, modal.channel_id.get(), deed);
                let who = self.actor(&modal.user, modal.member.as_ref());
                let kind = self.desk.directory.read(|directory| incoming::filled(&modal, who, directory));
                self.accept(interaction, kind, modal.guild_id.map(|id| id.get()));
            }
            _ => {}
        }
    }

    fn open(&self, (id, application): (u64, u64), token: &str, channel: u64, deed: Deed) -> Interaction {
        Interaction {
            id,
            application,
            token: SecretString::from(token),
            deed,
            place: directory::place(channel),
            at: Instant::now(),
        }
    }

    fn actor(&self, user: &User, member: Option<&Member>) -> Actor {
        self.desk.directory.change(|directory| {
            let actor = incoming::actor(user, member, directory);
            directory.person_seen(user.id.get(), &actor.name);
            actor
        })
    }

    /// Hands an interaction on, with its keeper started before anything else.
    fn accept(&self, interaction: Interaction, kind: InputKind, guild: Option<u64>) {
        let id = interaction.input_id();
        let reply = self.desk.keep(interaction, &self.runtime);
        if let InputKind::Press(press) = &kind
            && let Some(answer) = self.desk.late_form(&press.action)
        {
            return reply.give(answer);
        }
        match guild {
            Some(guild) if guild == self.guild => {
                hand_on(&self.inbox, Inbound { input: Input { id, kind }, reply: Some(reply) })
            }
            Some(_) => reply.give(Desk::elsewhere()),
            // In a direct message Discord does not say which roles somebody holds on the server.
            None => {
                let (lane, guild, inbox) = (self.desk.lane.clone(), self.guild, self.inbox.clone());
                let directory = self.desk.directory.clone();
                self.runtime.spawn(async move {
                    let mut kind = kind;
                    if let Some(who) = who_mut(&mut kind) {
                        who.roles = roles_held(&lane, guild, &directory, who).await;
                    }
                    hand_on(&inbox, Inbound { input: Input { id, kind }, reply: Some(reply) });
                });
            }
        }
    }

    fn complete(&self, id: u64, token: SecretString, ask: Option<CompletionAsk>) {
        let (desk, completions, at) = (self.desk.clone(), Arc::clone(&self.completions), Instant::now());
        self.runtime.spawn(async move {
            let list = ask.map_or_else(Vec::new, |ask| {
                catch_unwind(AssertUnwindSafe(|| completions(&ask))).unwrap_or_else(|_| {
                    error!(command = %ask.command, option = %ask.option, "Completing panicked");
                    Vec::new()
                })
            });
            desk.complete(id, token, at, Answer::Choices(list)).await;
        });
    }
}

/// Hands on, or tells who waits that there is no room.
fn hand_on(inbox: &mpsc::Sender<Inbound>, inbound: Inbound) {
    if let Err(TrySendError::Full(refused) | TrySendError::Closed(refused)) = inbox.try_send(inbound)
        && let Some(reply) = refused.reply
    {
        warn!(input.id = %refused.input.id, "Too much waits; told who asked");
        reply.give(Desk::busy());
    }
}

fn who_mut(kind: &mut InputKind) -> Option<&mut Actor> {
    match kind {
        InputKind::Call(call) => Some(&mut call.who),
        InputKind::Press(press) => Some(&mut press.who),
        InputKind::Filled(filled) => Some(&mut filled.who),
        _ => None,
    }
}

/// The roles that somebody holds on the server; none when Discord does not say.
async fn roles_held(lane: &Lane, guild: u64, directory: &SharedDirectory, who: &Actor) -> Vec<Role> {
    let Ok(user) = who.person.local().parse() else { return Vec::new() };
    let request = Request { urgency: super::lane::Urgency::Page, ..Request::new(Route::get_guild_member(guild, user)) };
    let member = match lane.send(request).await {
        Ok(answer) => answer.body,
        Err(error) => {
            warn!(error = %error, person = %ours(user), "Cannot see which roles somebody holds");
            return Vec::new();
        }
    };
    let ids = member.get("roles").and_then(Value::as_array).into_iter().flatten();
    let ids: Vec<u64> = ids.filter_map(|id| id.as_str()?.parse().ok()).collect();
    directory.read(|directory| directory.roles_held(ids))
}

/// Interactions that came in before.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    fn is_new(&mut self, id: u64) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
