//! One thing on its way, as often as it takes: the waits between attempts, and the way back from doubt.
//!
//! Decides nothing but when to try again and when that is over. A post that may have been made is looked for before it is made
//! again; what was withdrawn is not made any more, unless it already was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::domain::effect::Urgency;
use crate::domain::ids::{EffectId, Posted};
use crate::domain::input::EffectEnd;
use crate::domain::message::Message;
use crate::ports::{Chat, ChatError, PageCall, Pager, Where};

/// Attempts at a post into a channel from the set-up that Discord says is not there. It says so for a moment of channels
/// that are: this many take about three minutes.
const GONE_ATTEMPTS_MAX: u32 = 20;
/// How long a page by one way is tried before it is given up, in wire time. The service may be away for a while, and this may be
/// the only way that wakes somebody; after half an hour the ladder has long called others.
pub(super) const PAGE_GIVE_UP_AFTER: Duration = Duration::from_secs(30 * 60);
/// How long a post is tried before it is given up, in wire time.
const POST_GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How far back a channel is read for a post that may have been made before a restart.
const LOOK_BACK: chrono::TimeDelta = chrono::TimeDelta::hours(24);

/// How fast failed attempts are repeated.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first wait.
    pub first_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first_ms: 500, max_ms: 15_000 }
    }
}

/// The wall clock, for reading back channels: messages carry wire time.
#[expect(
    clippy::disallowed_methods,
    reason = "wire time: what is read back was stamped by the chat's clock, not by promise time"
)]
fn wire_now() -> DateTime<Utc> {
    DateTime::<Utc>::from(std::time::SystemTime::now())
}

/// Repeats with growing waits, until it works, is withdrawn, or is too late.
#[derive(Clone)]
pub(super) struct Attempts {
    pub(super) pace: Pace,
    pub(super) wake: Arc<Notify>,
    pub(super) withdrawn: Arc<Mutex<BTreeSet<EffectId>>>,
    pub(super) id: EffectId,
}

impl Attempts {
    fn is_withdrawn(&self) -> bool {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.id)
    }

    async fn pause(&self, attempt: u32) {
        pause(self.pace, attempt, &self.wake).await;
    }
}

pub(super) async fn pause(pace: Pace, attempt: u32, wake: &Notify) {
    let longest = pace.first_ms.saturating_mul(1 << attempt.min(10)).min(pace.max_ms).max(1);
    // Full jitter with a floor, so that what failed together is not tried together.
    let wait_ms = longest / 2 + fastrand::u64(0..=longest / 2);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        () = wake.notified() => {}
    }
}

/// One thing on its way to the chat.
pub(super) struct Delivery<Ch> {
    pub(super) chat: Arc<Ch>,
    pub(super) mark: String,
    /// Other places where an earlier life may have made it.
    pub(super) elsewhere: Vec<Where>,
    pub(super) urgency: Urgency,
    /// Whether twice is better than not at all.
    pub(super) must_stand: bool,
    pub(super) again: bool,
    pub(super) attempts: Attempts,
}

impl<Ch: Chat> Delivery<Ch> {
    /// Posts once. `None` when it was withdrawn before it was made.
    pub(super) async fn post(self, to: Where, message: Message) -> Option<EffectEnd> {
        let began = tokio::time::Instant::now();
        let since = wire_now() - if self.again { LOOK_BACK } else { chrono::TimeDelta::minutes(2) };
        let mut in_doubt = self.again;
        let mut attempt = 0;
        // A channel that a team has written into its set-up is not believed to be gone at the first word.
        let may_come_back = |attempt: u32| matches!(to, Where::Named(_)) && attempt < GONE_ATTEMPTS_MAX;
        loop {
            if in_doubt {
                match self.find(&to, since).await {
                    Ok(Some(posted)) => return Some(EffectEnd::Done { posted: Some(posted) }),
                    Ok(None) => in_doubt = false,
                    Err(ChatError::Gone(why)) if may_come_back(attempt) => {
                        info!(mark = %self.mark, reason = %why, "A channel is said to be gone; it is looked for again");
                    }
                    // Too much was written there since. A page or a card is sent again: twice is better than not at all.
                    // Anything else would be noise, and the record says why it is not known whether it stands.
                    Err(ChatError::CannotTell(why)) if self.must_stand => {
                        warn!(mark = %self.mark, reason = %why, "What must stand is posted again without having been looked for");
                        in_doubt = false;
                    }
                    Err(ChatError::Refused(why) | ChatError::Gone(why) | ChatError::CannotTell(why)) => {
                        return Some(EffectEnd::GivenUp { why });
                    }
                    Err(error) => info!(mark = %self.mark, reason = %error, "Could not read the channel back yet"),
                }
            }
            // Withdrawn counts only for what is not there: a post that was found has happened.
            if self.attempts.is_withdrawn() {
                return None;
            }
            if !in_doubt {
                match self.chat.post(&to, &message, &self.mark, self.urgency).await {
                    Ok(posted) => return Some(EffectEnd::Done { posted: Some(posted) }),
                    Err(ChatError::Gone(why)) if may_come_back(attempt) => {
                        info!(mark = %self.mark, reason = %why, "A channel is said to be gone; the post is tried again");
                    }
                    Err(ChatError::Refused(why) | ChatError::Gone(why)) => {
                        warn!(mark = %self.mark, reason = %why, "A post was refused and is given up");
                        return Some(EffectEnd::GivenUp { why });
                    }
                    Err(ChatError::InDoubt(why) | ChatError::CannotTell(why)) => {
                        info!(mark = %self.mark, reason = %why, "A post may or may not have been made; looking");
                        in_doubt = true;
                        if attempt == 0 {
                            attempt += 1;
                            continue;
                        }
                    }
                    Err(ChatError::NotNow(why)) => {
                        info!(mark = %self.mark, reason = %why, "A post has to wait");
                    }
                }
            }
            if began.elapsed() > POST_GIVE_UP_AFTER {
                return Some(EffectEnd::GivenUp { why: "the chat did not take it for a day".to_owned() });
            }
            self.attempts.pause(attempt).await;
            attempt += 1;
        }
    }

    /// Looks for it wherever it may stand.
    async fn find(&self, to: &Where, since: DateTime<Utc>) -> Result<Option<Posted>, ChatError> {
        let elsewhere = self.elsewhere.iter().filter(|_| self.again);
        for place in elsewhere {
            if let Some(posted) = self.chat.find(place, &self.mark, since).await? {
                return Ok(Some(posted));
            }
        }
        self.chat.find(to, &self.mark, since).await
    }

    /// Starts a thread under a card; one that is there already is the one.
    pub(super) async fn thread(self, card: Posted, title: String) -> Option<EffectEnd> {
        let began = tokio::time::Instant::now();
        let mut attempt = 0;
        loop {
            match self.chat.start_thread(&card, &title).await {
                Ok(place) => {
                    let posted = Posted { place, message: card.message };
                    return Some(EffectEnd::Done { posted: Some(posted) });
                }
                Err(ChatError::Refused(why) | ChatError::Gone(why)) => return Some(EffectEnd::GivenUp { why }),
                Err(error) => info!(mark = %self.mark, reason = %error, "A thread has to wait"),
            }
            if began.elapsed() > POST_GIVE_UP_AFTER {
                return Some(EffectEnd::GivenUp { why: "the chat did not take it for a day".to_owned() });
            }
            self.attempts.pause(attempt).await;
            attempt += 1;
        }
    }
}

/// Pages somebody by another way than the chat, again and again until it is out, withdrawn, refused, or of no use any more.
pub(super) async fn page<P: Pager>(
    pager: &P,
    call: &PageCall,
    attempts: &Attempts,
    give_up_after: Duration,
) -> Option<EffectEnd> {
    let began = tokio::time::Instant::now();
    let mut attempt = 0;
    loop {
        if attempts.is_withdrawn() {
            return None;
        }
        let why = match pager.page(call).await {
            Ok(()) => return Some(EffectEnd::Done { posted: None }),
            Err(ChatError::Refused(why) | ChatError::Gone(why)) => return Some(EffectEnd::GivenUp { why }),
            // A page that may have gone out is sent again: woken twice is better than not at all.
            Err(ChatError::InDoubt(why) | ChatError::NotNow(why) | ChatError::CannotTell(why)) => why,
        };
        if began.elapsed() >= give_up_after {
            warn!(mark = %call.mark, reason = %why, "A page did not go out for too long and is given up");
            return Some(EffectEnd::GivenUp { why: format!("{why}; tried for {} min", give_up_after.as_secs() / 60) });
        }
        info!(mark = %call.mark, reason = %why, "A page has to be tried again");
        attempts.pause(attempt).await;
        attempt = attempt.saturating_add(1);
    }
}

/// Deletes a post that another has taken the place of. Not being able to leaves an old reminder standing, no more.
pub(super) async fn delete<Ch: Chat>(chat: &Ch, posted: &Posted, pace: Pace) {
    const ATTEMPTS_MAX: u32 = 5;
    let never = Notify::new();
    for attempt in 0..ATTEMPTS_MAX {
        match chat.delete(posted).await {
            Ok(()) | Err(ChatError::Gone(_) | ChatError::Refused(_)) => return,
            Err(_) => pause(pace, attempt, &never).await,
        }
    }
}
