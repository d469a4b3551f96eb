//! What is only shown: cards, their pins, titles of threads.
//!
//! Each is kept to its newest form, one in flight an incident, a few at a time, drawn by the loop when its turn comes: of a
//! thousand that wait only the names are here, and of what was sent only a digest. Records nothing; what cannot be shown now is
//! shown with the next change or the next connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::attempts::{Pace, pause};
use super::{Ended, Outbox};
use crate::domain::ids::{EffectId, InputId, Place, Posted, Thing};
use crate::domain::input::{Gone, Input, InputKind};
use crate::domain::policy::Severity;
use crate::ports::{Chat, ChatError, Pager, Watch};
use crate::shell::door::{Door, Drawn};

/// Cards on their way to be edited at once. A chat takes about one a second; whatever waits here can still become newer, and
/// what somebody works on can still go before what is only looked after.
pub(super) const SHOWN_AT_ONCE_MAX: usize = 8;
/// Of these, how many that are only compared, as after a start: what has changed finds a place at once.
pub(super) const COMPARED_AT_ONCE_MAX: usize = 4;

/// Of an incident or a deploy that may look otherwise than it should: all that has to be known before it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Which incident, or which deploy.
    pub on: Thing,
    /// Its thread's title; empty for what has none.
    pub title: String,
    /// Where the card stands, once it does.
    pub at_card: Option<Posted>,
    /// Where the thread is, once it is.
    pub at_thread: Option<Place>,
    /// Posts that a later one may take the place of.
    pub standing: BTreeMap<EffectId, Posted>,
    /// How bad it is: who comes first of those that are equally urgent.
    pub severity: Severity,
    /// Whether the bot is only observing: then what finds no thread belongs into the test channel.
    pub observing: bool,
    /// Whether it is sent even if nothing changed since it was sent last.
    pub force: bool,
}

impl<Ch: Chat, Pg: Pager, W: Watch> Outbox<Ch, Pg, W> {
    /// Has as many looked after as there is room for: what has changed before what is only compared, then the worst.
    pub(super) fn show_what_can(&mut self) {
        let shown = self.standing.values().filter(|one| one.showing).count();
        let compared = self.standing.values().filter(|one| one.showing && one.only_compared).count();
        if shown >= SHOWN_AT_ONCE_MAX {
            return;
        }
        let waits = self.standing.iter().filter(|(_, one)| one.again && !one.showing);
        let mut ready: Vec<(bool, u8, Thing)> =
            waits.map(|(on, one)| (one.only_compared, worst_first(one.severity), *on)).collect();
        ready.sort_unstable();
        let (mut room, mut room_to_compare) =
            (SHOWN_AT_ONCE_MAX - shown, COMPARED_AT_ONCE_MAX.saturating_sub(compared));
        for (only_compared, _, on) in ready {
            if room == 0 || (only_compared && room_to_compare == 0) {
                break;
            }
            if self.start_showing(on) {
                room -= 1;
                room_to_compare -= usize::from(only_compared);
            }
        }
    }

    /// Sets a thread's title, apart from everything else: Discord allows two changes in ten minutes, and a card must not wait
    /// for that. The newest title wins; one that could not be set is tried with the next change.
    pub(super) fn start_titling(&mut self, id: Thing) {
        let Some(standing) = self.standing.get_mut(&id).filter(|standing| !standing.titling) else { return };
        let (Some(title), Some(thread)) = (standing.title.clone(), standing.thread.clone()) else { return };
        if title.is_empty() || standing.titled.as_ref() == Some(&title) {
            return;
        }
        standing.titling = true;
        let chat = Arc::clone(&self.neighbours.chat);
        let ended = self.ended_in.clone();
        let beat = self.door.pulse().beat();
        tokio::spawn(async move {
            let title = match chat.retitle(&thread, &title).await {
                Ok(()) => Some(title),
                Err(error) => {
                    info!(reason = %error, "A thread's title could not be set");
                    None
                }
            };
            let _ = ended.send(Ended::Titled { on: id, title });
            drop(beat);
        });
    }

    /// How it should look, from the loop at the moment that this is waited for; of what it has let go, as it was then.
    pub(super) fn drawing(&self, on: Thing) -> std::pin::Pin<Box<dyn Future<Output = Option<Drawn>> + Send>> {
        if let Some(last) = self.standing.get(&on).and_then(|one| one.last.clone()) {
            return Box::pin(async move { Some(*last) });
        }
        let door = self.door.clone();
        Box::pin(async move { door.draw(on).await })
    }

    /// Whether there was something to show.
    fn start_showing(&mut self, on: Thing) -> bool {
        let drawing = self.drawing(on);
        let Some(standing) = self.standing.get_mut(&on) else { return false };
        standing.again = false;
        let beats = self.show_beats.remove(&on).unwrap_or_default();
        let Some(card) = standing.card.clone() else { return false };
        standing.showing = true;
        let before = standing.sent;
        let chat = Arc::clone(&self.neighbours.chat);
        let (wake, pace, door) = (Arc::clone(&self.wake), self.pace, self.door.clone());
        let ended = self.ended_in.clone();
        self.start_titling(on);
        tokio::spawn(async move {
            let end = match drawing.await {
                Some(drawn) => show(&*chat, &card, &drawn, before, pace, &wake, &door).await,
                None => Showing::NotDrawn,
            };
            let _ = ended.send(Ended::Shown { on, end, _beats: beats });
        });
        true
    }
}

/// The order of severities: the least comes first, and what has none comes last.
pub(super) fn worst_first(severity: Option<Severity>) -> u8 {
    match severity {
        Some(Severity::Sev1) => 1,
        Some(Severity::Sev2) => 2,
        Some(Severity::Sev3) => 3,
        None => u8::MAX,
    }
}

/// What stands there: enough to tell whether something else should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    card: [u8; 32],
    pinned: bool,
}

impl Sent {
    fn of(drawn: &Drawn) -> Self {
        let json = serde_json::to_vec(&drawn.card).unwrap_or_default();
        Self { card: Sha256::digest(json).into(), pinned: drawn.pinned }
    }
}

/// How an attempt to make something look right ended.
pub(super) enum Showing {
    /// It looks like this now.
    Looks(Sent),
    /// It could not be made to.
    Not,
    /// The loop does not know how it should look.
    NotDrawn,
}

/// Makes card and pin look as they should.
async fn show<Ch: Chat>(
    chat: &Ch,
    card: &Posted,
    drawn: &Drawn,
    before: Option<Sent>,
    pace: Pace,
    wake: &Notify,
    door: &Door,
) -> Showing {
    const ATTEMPTS_MAX: u32 = 8;
    let wanted = Sent::of(drawn);
    for attempt in 0..ATTEMPTS_MAX {
        let mut again = false;
        if before.is_none_or(|before| before.card != wanted.card) {
            match chat.edit(card, &drawn.card).await {
                Ok(()) => {}
                Err(ChatError::Gone(why)) => {
                    info!(reason = %why, "A card is gone");
                    let id = InputId::new(format!("gone:{}:{}", card.place, card.message));
                    let kind = InputKind::Gone(Gone::Message(card.clone()));
                    door.must(Input { id, kind });
                    return Showing::Not;
                }
                Err(ChatError::Refused(why)) => {
                    warn!(reason = %why, "A card could not be edited");
                    return Showing::Not;
                }
                Err(_) => again = true,
            }
        }
        if before.is_none_or(|before| before.pinned != wanted.pinned)
            && !again
            && let Err(error) = chat.pin(card, wanted.pinned).await
        {
            info!(reason = %error, "A card could not be pinned or unpinned");
        }
        if !again {
            return Showing::Looks(wanted);
        }
        pause(pace, attempt, wake).await;
    }
    Showing::Not
}
