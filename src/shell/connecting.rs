//! Getting connected to the chat, and what is done when the chat says no.
//!
//! Owns when it is called again. A chat that turns the bot away (a token revoked, an intent taken from it) is no reason to stop:
//! promises go on, and people are called by their other ways. Only a process that was never let in and has nothing to keep ends
//! with the sentence, because then somebody is setting it up and looks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tracing::{error, info};

use super::door::Door;
use crate::adapters::discord::lane::Lane;
use crate::adapters::discord::{self, DiscordChat, Gateway, GatewayOptions, Link};
use crate::commands;
use crate::ports::ChatError;

/// The first wait after a call that nobody took.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest wait between two calls.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// Getting connected to the chat, as often as it takes.
pub(super) struct Connecting {
    pub(super) chat: Arc<DiscordChat>,
    pub(super) guild: u64,
    pub(super) lane: Lane,
    pub(super) link: Link,
    pub(super) door: Door,
    pub(super) gateway: Box<dyn Fn() -> GatewayOptions + Send + Sync>,
    /// How soon the chat is called again after it turned the bot away.
    pub(super) turned_away_again: Duration,
}

/// Why the bot is not connected.
pub(super) enum NotConnected {
    /// It will not be, without somebody changing something.
    Never(anyhow::Error),
    /// It may be later.
    NotYet(anyhow::Error),
}

impl Connecting {
    pub(super) async fn once(&self) -> Result<Gateway, NotConnected> {
        let sorted = |what: &str, error: ChatError| {
            let sentence = anyhow!("{what}: {error}");
            match error {
                ChatError::Refused(_) | ChatError::Gone(_) => NotConnected::Never(sentence),
                // What waits can go out once a good token is put in; until then it is a no.
                _ if self.lane.waiting().token_refused => NotConnected::Never(sentence),
                ChatError::NotNow(_) | ChatError::InDoubt(_) | ChatError::CannotTell(_) => {
                    NotConnected::NotYet(sentence)
                }
            }
        };
        // Before the gateway: who presses something must be known by their roles.
        let refreshed = self.chat.refresh().await;
        refreshed.map_err(|error| sorted("cannot read the server's roles and channels", error))?;
        let gateway = Gateway::connect((self.gateway)()).await.map_err(NotConnected::NotYet)?;
        let registered = discord::register(&self.lane, self.guild, &commands::specs()).await;
        registered.map_err(|error| sorted("Discord does not take the commands", error))?;
        Ok(gateway)
    }

    /// Stays connected. Resolves when the chat never let the bot in and there is nothing to keep: with what it said.
    pub(super) async fn stay(self, first: Result<Gateway, NotConnected>) -> anyhow::Error {
        let mut wait = AGAIN_AFTER;
        let mut said = String::new();
        let mut now = first;
        loop {
            let refused = match now {
                Ok(mut gateway) => gateway.ended().await,
                Err(NotConnected::Never(error)) => error,
                Err(NotConnected::NotYet(error)) => {
                    info!(error = %format!("{error:#}"), "Discord does not answer yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(AGAIN_AFTER_MAX);
                    now = self.once().await;
                    continue;
                }
            };
            if !self.link.was_ever_up() && self.nothing_to_keep().await {
                return refused;
            }
            let why = format!("{refused:#}");
            self.link.turned_away(&why);
            let again_after_s = self.turned_away_again.as_secs();
            if said == why {
                info!(error = %why, again_after_s, "Discord still turns me away");
            } else {
                error!(
                    error = %why, again_after_s,
                    "Discord turns me away; promises go on, and people are called by their other ways"
                );
            }
            said = why;
            tokio::time::sleep(self.turned_away_again).await;
            now = self.once().await;
        }
    }

    /// Whether nobody waits for anything: then it is better to end with what is wrong than to run unheard.
    async fn nothing_to_keep(&self) -> bool {
        self.door.look().await.is_none_or(|snapshot| snapshot.open == 0 && snapshot.pending == 0)
    }
}
