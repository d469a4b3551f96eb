//! The Chat port on Discord: posts, threads, pins and reading back, all over the lane.
//!
//! Resolves symbolic places and people, and says of each failure whether it may have been done. Keeps caches only (channels,
//! direct-message channels, marks of recent posts); whatever they forget is asked of Discord again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::compose::{self, Composed, Sound};
use super::directory::{self, SharedDirectory};
use super::lane::{self, Lane, LaneError, OrderKey, Request, Route};
use super::link::Link;
use super::{id_in, snowflake};
use crate::domain::effect::Urgency;
use crate::domain::ids::{Place, Posted};
use crate::domain::message::Message;
use crate::ports::{Chat, ChatError, Condition, Where};

/// How long a post may wait for its turn before the outbox hears of it, in milliseconds.
const POST_GIVE_UP_MS: u64 = 60_000;
/// Messages of one page when a channel is read back; Discord's own bound.
const PAGE_MESSAGES: usize = 100;
/// Pages read back at most: 5,000 messages, more than a team writes into one channel in the day that is looked back over, and as
/// many as can be asked for in a minute. What stands before them is not known to be there or not.
const PAGES_MAX: usize = 50;
/// Marks and direct-message channels that are remembered.
const REMEMBERED_MAX: usize = 1_000;
/// So many times in a row Discord must say that a channel of the configuration is not there before that is believed: it says so
/// now and then of one that is, and a card that is given up is given up for good.
const NOT_THERE_TIMES: u32 = 4;
/// How long a thread stays in the list without a word, in minutes: Discord's longest, a week.
const THREAD_SLEEPS_AFTER_MIN: u32 = 10_080;

/// Error codes of Discord's (topics/opcodes-and-status-codes).
mod code {
    pub(super) const UNKNOWN: std::ops::RangeInclusive<u64> = 10_001..=10_099;
    pub(super) const UNKNOWN_CHANNEL: u64 = 10_003;
    pub(super) const TOO_MANY_OLD_EDITS: u64 = 30_046;
    pub(super) const TOO_MANY_THREADS: u64 = 160_006;
    pub(super) const THREAD_EXISTS: u64 = 160_004;
    pub(super) const THREAD_ARCHIVED: u64 = 50_083;
    pub(super) const MISSING_ACCESS: u64 = 50_001;
    pub(super) const MISSING_PERMISSIONS: u64 = 50_013;
    pub(super) const DIRECT_MESSAGES_CLOSED: u64 = 50_007;
    /// Slow mode, write limits, overloaded.
    pub(super) const LATER: [u64; 5] = [20_016, 20_028, 20_029, 40_004, 130_000];
}

/// Discord as the chat. Clones are the same one.
#[derive(Clone)]
pub struct DiscordChat {
    inner: Arc<Inner>,
}

struct Inner {
    lane: Lane,
    guild: u64,
    directory: SharedDirectory,
    link: Link,
    direct: Mutex<BTreeMap<u64, u64>>,
    marks: Mutex<BTreeMap<u64, String>>,
    /// How often in a row Discord said of a named channel that it is not there.
    not_there: Mutex<BTreeMap<String, u32>>,
    me: OnceCell<u64>,
}

impl DiscordChat {
    /// The chat of one server. Sends nothing yet.
    pub fn new(lane: Lane, guild: u64, directory: SharedDirectory, link: Link) -> Self {
        let (direct, marks, not_there) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { lane, guild, directory, link, direct, marks, not_there, me: OnceCell::new() }) }
    }

    /// Reads the server's roles and channels anew.
    ///
    /// # Errors
    /// What Discord or the way to it said.
    pub async fn refresh(&self) -> Result<(), ChatError> {
        let roles = self.ask(Request::new(Route::get_guild_roles(self.inner.guild))).await.map_err(chat_error)?;
        let places = self.ask(Request::new(Route::get_guild_channels(self.inner.guild))).await.map_err(chat_error)?;
        self.inner.directory.change(|directory| {
            directory.set_roles(&roles);
            directory.set_places(&places);
        });
        Ok(())
    }

    /// The bot's own id.
    ///
    /// # Errors
    /// What Discord or the way to it said.
    pub async fn me(&self) -> Result<u64, ChatError> {
        let ask = async || {
            let user = self.ask(Request::new(Route::get_current_user())).await.map_err(chat_error)?;
            id_in(&user, "id").ok_or_else(|| ChatError::NotNow("Discord did not say who I am".to_owned()))
        };
        self.inner.me.get_or_try_init(ask).await.copied()
    }

    async fn ask(&self, request: Request) -> Result<Value, LaneError> {
        self.inner.lane.send(request).await.map(|answer| answer.body)
    }

    /// The channel behind a place, a name or a person.
    async fn channel(&self, to: &Where) -> Result<u64, ChatError> {
        match to {
            Where::Place(place) => channel_of(place),
            Where::Named(name) => {
                let known = || self.inner.directory.read(|directory| directory.place_named(name));
                if let Some(id) = known() {
                    return Ok(id);
                }
                self.refresh().await?;
                known().ok_or_else(|| ChatError::Gone(format!("there is no channel “{name}” that I can see")))
            }
            Where::Direct(person) => {
                let id = snowflake(person.as_str()).ok_or_else(|| {
                    ChatError::Gone(format!("“{person}” is nobody on Discord; configuration wants discord:<id>"))
                })?;
                if let Some(channel) = lock(&self.inner.direct).get(&id) {
                    return Ok(*channel);
                }
                let body = json!({"recipient_id": id.to_string()});
                let opened = self.ask(Request::new(Route::create_dm()).body(body)).await.map_err(chat_error)?;
                let channel = id_in(&opened, "id")
                    .ok_or_else(|| ChatError::NotNow("Discord opened no direct message".to_owned()))?;
                remember(&self.inner.direct, id, channel);
                Ok(channel)
            }
        }
    }

    /// Sends; when the thread is archived, opens it and sends again.
    async fn send_into(&self, channel: u64, request: Request) -> Result<Value, LaneError> {
        match self.ask(request.clone()).await {
            Err(LaneError::Refused { code: code::THREAD_ARCHIVED, .. }) => {
                self.ask(Request::new(Route::modify_channel(channel)).body(json!({"archived": false}))).await?;
                self.ask(request).await
            }
            other => other,
        }
    }

    /// Forgets what turned out to be gone, and says what the failure means. A channel of the configuration counts as gone only when
    /// Discord keeps saying so: each time it is looked up anew by its name.
    fn not_posted(&self, to: &Where, error: LaneError) -> ChatError {
        if !matches!(
            error,
            LaneError::Refused { code: code::UNKNOWN_CHANNEL, .. } | LaneError::Refused { status: 404, .. }
        ) {
            return chat_error(error);
        }
        self.forget(to);
        if let Where::Named(name) = to {
            let mut not_there = lock(&self.inner.not_there);
            let times = not_there.entry(name.clone()).or_default();
            *times += 1;
            if *times < NOT_THERE_TIMES {
                return ChatError::NotNow(error.to_string());
            }
            *times = 0;
        }
        chat_error(error)
    }

    fn forget(&self, to: &Where) {
        match to {
            Where::Direct(person) => {
                lock(&self.inner.direct).remove(&snowflake(person.as_str()).unwrap_or(0));
            }
            Where::Named(name) => self.inner.directory.change(|directory| {
                if let Some(id) = directory.place_named(name) {
                    directory.place_gone(id);
                }
            }),
            Where::Place(_) => {}
        }
    }
}

impl Chat for DiscordChat {
    async fn post(&self, to: &Where, message: &Message, mark: &str, urgency: Urgency) -> Result<Posted, ChatError> {
        let channel = self.channel(to).await?;
        // A direct message pings by itself; only one that must wake or be seen may make a sound.
        let wakes = matches!(to, Where::Direct(_)) && urgency <= Urgency::Ping;
        let sound = if wakes { Sound::Always } else { Sound::WhenItPings };
        let pictures = compose::draw(message).await;
        let composed =
            self.inner.directory.read(|directory| compose::new_message(message, directory, Some(mark), sound));
        let composed = composed.with(pictures);
        let request = Request {
            urgency: lane_urgency(urgency),
            order: Some(OrderKey::new(format!("{channel}"))),
            give_up_after_ms: POST_GIVE_UP_MS,
            ..with(Route::create_message(channel), composed)
        };
        let made = self.send_into(channel, request).await.map_err(|error| self.not_posted(to, error))?;
        if let Where::Named(name) = to {
            lock(&self.inner.not_there).remove(name);
        }
        // An answer that cannot be read is one that was lost: the message may stand.
        let id = id_in(&made, "id")
            .ok_or_else(|| ChatError::InDoubt("Discord did not say which message it made".to_owned()))?;
        // A nonce that was seen before gets the first message back, wherever that is.
        let channel = id_in(&made, "channel_id").unwrap_or(channel);
        remember(&self.inner.marks, id, mark.to_owned());
        Ok(posted(channel, id))
    }

    async fn find(&self, to: &Where, mark: &str, since: DateTime<Utc>) -> Result<Option<Posted>, ChatError> {
        let channel = self.channel(to).await?;
        let me = self.me().await?;
        let mut before: Option<u64> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE_MESSAGES.to_string())];
            query.extend(before.map(|id| ("before", id.to_string())));
            let request = Request { query, ..Request::new(Route::list_messages(channel)) };
            let page = self.ask(request).await.map_err(chat_error)?;
            let page = page.as_array().map_or(&[][..], Vec::as_slice);
            let mine = |one: &&Value| one.get("author").and_then(|author| id_in(author, "id")) == Some(me);
            if let Some(id) =
                page.iter().filter(mine).find(|one| compose::has_mark(one, mark)).and_then(|one| id_in(one, "id"))
            {
                remember(&self.inner.marks, id, mark.to_owned());
                return Ok(Some(posted(channel, id)));
            }
            // The newest page is read whole whatever `since` says: promise time need not be Discord's.
            let oldest = page.last().and_then(|one| id_in(one, "id"));
            if page.len() < PAGE_MESSAGES || oldest.and_then(made_at).is_none_or(|at| at < since) {
                return Ok(None);
            }
            before = oldest;
        }
        Err(ChatError::CannotTell(format!(
            "it may have been posted before: more than {} messages were written there since, so it cannot be looked for",
            PAGES_MAX * PAGE_MESSAGES
        )))
    }

    async fn edit(&self, posted: &Posted, message: &Message) -> Result<(), ChatError> {
        let (channel, id) = ids(posted)?;
        let mark = lock(&self.inner.marks).get(&id).cloned();
        let pictures = compose::draw(message).await;
        let composed = self.inner.directory.read(|directory| compose::edited(message, directory, mark.as_deref()));
        let composed = composed.with(pictures);
        let request = Request { urgency: lane::Urgency::Card, ..with(Route::edit_message(channel, id), composed) };
        self.send_into(channel, request).await.map(drop).map_err(chat_error)
    }

    async fn delete(&self, posted: &Posted) -> Result<(), ChatError> {
        let (channel, id) = ids(posted)?;
        match self.send_into(channel, Request::new(Route::delete_message(channel, id))).await.map_err(chat_error) {
            Ok(_) | Err(ChatError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn start_thread(&self, under: &Posted, title: &str) -> Result<Place, ChatError> {
        let (channel, id) = ids(under)?;
        let body = json!({"name": compose::thread_name(title), "auto_archive_duration": THREAD_SLEEPS_AFTER_MIN});
        let request =
            Request { urgency: lane::Urgency::Reminder, ..Request::new(Route::start_thread(channel, id)).body(body) };
        let error = match self.ask(request).await {
            Ok(thread) => return Ok(directory::place(id_in(&thread, "id").unwrap_or(id))),
            // A thread has the id of the message that it hangs under.
            Err(LaneError::Refused { code: code::THREAD_EXISTS, .. }) => return Ok(directory::place(id)),
            Err(error) => error,
        };
        let may_stand = matches!(error, LaneError::InDoubt { .. } | LaneError::Refused { .. });
        if may_stand && self.ask(Request::new(Route::get_channel(id))).await.is_ok() {
            return Ok(directory::place(id));
        }
        Err(chat_error(error))
    }

    async fn retitle(&self, thread: &Place, title: &str) -> Result<(), ChatError> {
        let channel = channel_of(thread)?;
        let body = json!({"name": compose::thread_name(title), "archived": false});
        let request =
            Request { urgency: lane::Urgency::Card, ..Request::new(Route::modify_channel(channel)).body(body) };
        self.ask(request).await.map(drop).map_err(chat_error)
    }

    async fn pin(&self, posted: &Posted, pinned: bool) -> Result<(), ChatError> {
        let (channel, id) = ids(posted)?;
        let route = if pinned { Route::pin(channel, id) } else { Route::unpin(channel, id) };
        let request = Request { urgency: lane::Urgency::Card, ..Request::new(route) };
        self.send_into(channel, request).await.map(drop).map_err(chat_error)
    }

    fn condition(&self) -> Condition {
        let waiting = self.inner.lane.waiting();
        let mut condition = self.inner.link.condition();
        condition.waiting = waiting.count;
        condition.oldest_ms = waiting.oldest_ms;
        if waiting.token_refused {
            condition.trouble =
                Some("Discord does not accept the bot's token; only a try now and then is sent".to_owned());
        } else if waiting.braked {
            condition.trouble =
                Some("Discord refused too many requests; all but answers stand still for some minutes".to_owned());
        } else if waiting.paused_ms > 0 && condition.trouble.is_none() {
            condition.trouble = Some(format!("Discord asked to wait {} s", waiting.paused_ms.div_ceil(1_000)));
        }
        condition
    }
}

/// A request with a body and its files.
pub(super) fn with(route: Route, composed: Composed) -> Request {
    Request { files: composed.files, ..Request::new(route).body(composed.body) }
}

/// What a failure of the lane means to whoever asked for a post.
pub(super) fn chat_error(error: LaneError) -> ChatError {
    let said = error.to_string();
    match error {
        LaneError::InDoubt { .. } => ChatError::InDoubt(said),
        LaneError::Unreachable { .. } | LaneError::GaveUp { .. } | LaneError::Full { .. } => ChatError::NotNow(said),
        LaneError::RateLimitedTooLong { .. } => ChatError::NotNow(said),
        // A good token can be put in; what waits then goes out.
        LaneError::BadToken | LaneError::BadAddress => ChatError::NotNow(said),
        LaneError::Refused { code, status, .. } => match code {
            code::MISSING_ACCESS => ChatError::Refused(format!("I cannot see that channel; {said}")),
            code::MISSING_PERMISSIONS => ChatError::Refused(format!("I lack a permission in that channel; {said}")),
            code::DIRECT_MESSAGES_CLOSED => {
                ChatError::Refused("they take no direct messages from me (closed, or we share no server)".to_owned())
            }
            code::TOO_MANY_OLD_EDITS | code::TOO_MANY_THREADS => ChatError::NotNow(said),
            code if code::LATER.contains(&code) => ChatError::NotNow(said),
            code if code::UNKNOWN.contains(&code) => ChatError::Gone(said),
            _ if status == 404 => ChatError::Gone(said),
            _ => ChatError::Refused(said),
        },
    }
}

fn lane_urgency(urgency: Urgency) -> lane::Urgency {
    match urgency {
        Urgency::Page => lane::Urgency::Page,
        Urgency::Ping => lane::Urgency::Reminder,
        Urgency::Talk => lane::Urgency::Notice,
        Urgency::Digest => lane::Urgency::Digest,
    }
}

/// When a snowflake was made (Discord's reference: milliseconds since the first second of 2015, above 22 bits).
fn made_at(snowflake: u64) -> Option<DateTime<Utc>> {
    const DISCORD_EPOCH_MS: i64 = 1_420_070_400_000;
    DateTime::from_timestamp_millis(i64::try_from(snowflake >> 22).ok()? + DISCORD_EPOCH_MS)
}

fn posted(channel: u64, message: u64) -> Posted {
    Posted { place: directory::place(channel), message: message.to_string() }
}

fn ids(posted: &Posted) -> Result<(u64, u64), ChatError> {
    let message = snowflake(&posted.message);
    let message = message.ok_or_else(|| ChatError::Gone(format!("“{}” is no message of Discord's", posted.message)))?;
    Ok((channel_of(&posted.place)?, message))
}

fn channel_of(place: &Place) -> Result<u64, ChatError> {
    snowflake(place.as_str()).ok_or_else(|| ChatError::Gone(format!("“{place}” is no place on Discord")))
}

fn remember<T>(map: &Mutex<BTreeMap<u64, T>>, id: u64, what: T) {
    let mut map = lock(map);
    if map.len() >= REMEMBERED_MAX {
        map.pop_first();
    }
    map.insert(id, what);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
