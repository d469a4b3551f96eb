//! Interactions: what a member did, until the bot has answered or the time is over.
//!
//! Three seconds for the first answer, fifteen minutes for the token: Discord's document on receiving and responding.
//! Kept in memory only, as their tokens are credentials that die with the process.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::faults::FaultKind;
use super::gateway::ALWAYS;
use super::id::{Id, now, stamp};
use super::message::LOADING;
use super::state::State;
use super::view;
use super::workspace::Settings;

/// Interactions remembered after they are over.
const INTERACTIONS_MAX: usize = 2_000;

/// What a client shows when no answer came in time.
pub const NO_ANSWER: &str = "The application did not respond";

/// What a member did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A slash command.
    Command,
    /// A context-menu command.
    ContextMenu,
    /// Typing in an option.
    Autocomplete,
    /// A button.
    Button,
    /// A menu on a message.
    Select,
    /// A form sent.
    Modal,
}

impl Kind {
    /// As the control API calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Command => "command",
            Kind::ContextMenu => "context_menu",
            Kind::Autocomplete => "autocomplete",
            Kind::Button => "button",
            Kind::Select => "select",
            Kind::Modal => "modal",
        }
    }

    /// Discord's interaction type.
    pub fn number(self) -> u8 {
        match self {
            Kind::Command | Kind::ContextMenu => 2,
            Kind::Button | Kind::Select => 3,
            Kind::Autocomplete => 4,
            Kind::Modal => 5,
        }
    }

    /// Whether it happened on a message.
    pub fn on_message(self) -> bool {
        matches!(self, Kind::Button | Kind::Select)
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing came yet.
    Waiting,
    /// "is thinking".
    Deferred,
    /// Answered.
    Answered,
    /// Answered with a form.
    Modal,
    /// Nothing came in time.
    Expired,
}

impl Status {
    /// As the control API calls it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Deferred => "deferred",
            Status::Answered => "answered",
            Status::Modal => "modal",
            Status::Expired => "expired",
        }
    }
}

/// One interaction.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// Id.
    pub id: Id,
    /// The credential for its answers.
    pub token: String,
    /// What.
    pub kind: Kind,
    /// The command's name or the custom id.
    pub name: String,
    /// Who.
    pub user_id: Id,
    /// Where.
    pub channel_id: Id,
    /// When.
    pub at: DateTime<Utc>,
    /// When, for measuring.
    pub began: Instant,
    /// How far.
    pub status: Status,
    /// Whether a callback was accepted.
    pub acknowledged: bool,
    /// Whether the first answer is seen by the member only.
    pub ephemeral: bool,
    /// After which time the first answer came.
    pub answered_after: Option<Duration>,
    /// What `@original` means.
    pub original: Option<Id>,
    /// Further answers.
    pub followups: Vec<Id>,
    /// The message with the button or menu; for a form, that of the press that opened it.
    pub source: Option<Id>,
    /// The form that it was answered with.
    pub modal: Option<Value>,
    /// Whether that form was sent or closed.
    pub modal_over: bool,
    /// The completions that it was answered with.
    pub choices: Option<Value>,
    /// The event's data.
    pub payload: Value,
    /// Whether the bot was told.
    pub dispatched: bool,
    /// Whether it was begun on the member's lock screen, which then shows its answer. The bot is not told.
    pub on_phone: bool,
}

impl Interaction {
    /// Whether its first answer would still be taken.
    pub fn can_be_answered(&self, settings: &Settings) -> bool {
        self.began.elapsed() < Duration::from_millis(settings.respond_within_ms)
    }

    /// Whether its token still lives.
    pub fn token_lives(&self, settings: &Settings) -> bool {
        self.began.elapsed() < Duration::from_millis(settings.token_lives_ms)
    }

    /// Whether somebody still waits for it.
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Waiting | Status::Deferred)
    }
}

/// All interactions.
#[derive(Debug, Default)]
pub struct Interactions {
    all: BTreeMap<Id, Interaction>,
    by_token: BTreeMap<String, Id>,
    order: VecDeque<Id>,
}

impl Interactions {
    /// By id.
    pub fn get(&self, id: Id) -> Option<&Interaction> {
        self.all.get(&id)
    }

    /// By id, to be changed.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Interaction> {
        self.all.get_mut(&id)
    }

    /// By token.
    pub fn by_token(&self, token: &str) -> Option<Id> {
        self.by_token.get(token).copied()
    }

    /// The newest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Interaction> {
        self.order.iter().rev().take(count).filter_map(|id| self.all.get(id))
    }

    /// How many wait for an answer.
    pub fn open(&self) -> usize {
        self.all.values().filter(|interaction| interaction.is_open()).count()
    }

    /// When the next one that is open will have been open for too long.
    pub fn next_expiry(&self, settings: &Settings) -> Option<Instant> {
        let expiry = |one: &Interaction| {
            let ms = if one.status == Status::Waiting { settings.respond_within_ms } else { settings.token_lives_ms };
            one.began + Duration::from_millis(ms)
        };
        self.all.values().filter(|one| one.is_open()).map(expiry).min()
    }

    /// Those that are open.
    pub fn open_ids(&self) -> Vec<Id> {
        self.all.values().filter(|one| one.is_open()).map(|one| one.id).collect()
    }

    fn insert(&mut self, interaction: Interaction) {
        self.by_token.insert(interaction.token.clone(), interaction.id);
        self.order.push_back(interaction.id);
        self.all.insert(interaction.id, interaction);
        if self.order.len() > INTERACTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.all.remove(&oldest)
        {
            self.by_token.remove(&gone.token);
        }
    }

    /// Those that the bot was not told of and could still answer.
    fn withheld(&self, settings: &Settings) -> Vec<Id> {
        let alive = |one: &&Interaction| !one.dispatched && one.can_be_answered(settings);
        self.all.values().filter(alive).map(|one| one.id).collect()
    }
}

/// What an interaction is about, as its maker knows it.
pub struct Begin {
    /// What.
    pub kind: Kind,
    /// The command's name or the custom id.
    pub name: String,
    /// Who.
    pub user_id: Id,
    /// Where.
    pub channel_id: Id,
    /// The event's `data`.
    pub data: Value,
    /// The message that it happened on.
    pub source: Option<Id>,
}

impl State {
    /// Begins an interaction and tells the bot, unless a fault withholds it.
    pub fn begin(&mut self, begin: Begin) -> Id {
        let id = self.world.ids.next();
        let token = format!("local{id}{:016x}", fastrand::u64(..));
        let payload = self.payload(id, &token, &begin);
        let withheld = self.faults.strikes(&FaultKind::Withhold);
        self.interactions.insert(Interaction {
            id,
            token,
            kind: begin.kind,
            name: begin.name,
            user_id: begin.user_id,
            channel_id: begin.channel_id,
            at: now(),
            began: Instant::now(),
            status: Status::Waiting,
            acknowledged: false,
            ephemeral: false,
            answered_after: None,
            original: None,
            followups: Vec::new(),
            source: begin.source,
            modal: None,
            modal_over: false,
            choices: None,
            payload: payload.clone(),
            dispatched: !withheld,
            on_phone: false,
        });
        self.counters.interactions += 1;
        self.tell_interaction(id);
        if !withheld {
            self.dispatch("INTERACTION_CREATE", ALWAYS, payload);
        }
        id
    }

    /// Sends what a fault had withheld and can still be answered.
    pub fn release_withheld(&mut self) {
        for id in self.interactions.withheld(&self.settings) {
            let Some(interaction) = self.interactions.get_mut(id) else { continue };
            interaction.dispatched = true;
            let payload = interaction.payload.clone();
            self.dispatch("INTERACTION_CREATE", ALWAYS, payload);
        }
    }

    /// Marks what was not answered in time. Returns whether it was.
    pub fn expire(&mut self, id: Id) -> bool {
        let settings = self.settings.clone();
        let Some(interaction) = self.interactions.get_mut(id) else { return false };
        let late = match interaction.status {
            Status::Waiting => !interaction.can_be_answered(&settings),
            Status::Deferred => !interaction.token_lives(&settings),
            _ => false,
        };
        if late {
            interaction.status = Status::Expired;
            let original = interaction.original.filter(|_| interaction.acknowledged);
            self.counters.expired += 1;
            if let Some(message) = original {
                self.edit(message, false, |message| {
                    message.flags &= !LOADING;
                    message.content = NO_ANSWER.to_owned();
                });
            }
            self.tell_interaction(id);
        }
        late
    }

    /// Tells the page of an interaction's new status.
    pub fn tell_interaction(&mut self, id: Id) {
        let Some(interaction) = self.interactions.get(id) else { return };
        let seen = view::interaction(self, interaction);
        self.change("interaction", json!({"interaction": seen}));
    }

    /// The event's data, as Discord's interaction object.
    fn payload(&self, id: Id, token: &str, begin: &Begin) -> Value {
        use super::{permissions, wire};
        let world = &self.world;
        let channel = world.channels.get(&begin.channel_id);
        let in_guild = channel.is_none_or(|channel| channel.in_guild());
        let mut out = json!({
            "id": id, "application_id": world.application_id, "type": begin.kind.number(), "data": begin.data,
            "token": token, "version": 1, "locale": "en-US", "entitlements": [],
            "channel_id": begin.channel_id, "attachment_size_limit": 10_485_760,
            "app_permissions": self.bot_permissions(begin.channel_id).to_string(),
            "entitlement_sku_ids": [],
        });
        let permissions = world.permissions(begin.user_id);
        if let Some(channel) = channel {
            out["channel"] = wire::channel(world, channel);
            out["channel"]["permissions"] = json!(permissions.to_string());
        }
        let member = world.members.get(&begin.user_id);
        if in_guild {
            out["guild_id"] = json!(world.guild_id);
            out["guild"] = json!({"id": world.guild_id, "locale": "en-US", "features": []});
            out["guild_locale"] = json!("en-US");
            out["context"] = json!(0);
            out["authorizing_integration_owners"] = json!({"0": world.guild_id});
            out["member"] = member.map(wire::member).unwrap_or_default();
            out["member"]["permissions"] = json!(permissions.to_string());
        } else {
            out["app_permissions"] = json!(permissions::EVERYONE.to_string());
            out["context"] = json!(1);
            out["authorizing_integration_owners"] = json!({"0": "0"});
            out["user"] = member.map(wire::user).unwrap_or_default();
        }
        if let Some(source) = begin.source.and_then(|source| world.message(source)) {
            out["message"] = source.wire(world, &self.base);
        }
        out
    }
}

/// As the control API shows when it began and how fast it was answered.
pub fn times(interaction: &Interaction) -> Value {
    json!({
        "at": stamp(interaction.at),
        "answered_after_ms": interaction.answered_after.map(|after| after.as_millis() as u64),
    })
}
