//! Log lines into a thread, as they come: the head and its thread, the batches, the last word.
//!
//! Owns the waiting. What is posted when is `domain/logs/follow`, and in which words `domain/text/logs`. Nothing of it outlives a
//! restart: what was followed is then told to have ended, once.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::attempts::{Attempts, Delivery};
use crate::domain::effect::Urgency;
use crate::domain::ids::Posted;
use crate::domain::input::EffectEnd;
use crate::domain::logs::follow::{Following, Heard, Over};
use crate::domain::message::Message;
use crate::domain::text::logs as words;
use crate::domain::verbs::logs::{Wanted, stop_action};
use crate::domain::workspace::Workspace;
use crate::ports::{Chat, Where};
use crate::shell::logs::ReadsLogs;
use crate::shell::pulse::{Beat, Pulse};

/// How long one post is tried; what cannot be said within it is too old to be said.
const SAID_WITHIN: Duration = Duration::from_secs(60);
/// How long the chat may take to hang a thread under a message before lines go beside it.
const THREAD_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked at whether somebody has stopped it, when nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One thing that is followed.
pub(super) struct Follow<Ch> {
    pub(super) chat: Arc<Ch>,
    pub(super) logs: Arc<dyn ReadsLogs>,
    pub(super) workspace: Workspace,
    pub(super) pulse: Pulse,
    /// Where it was asked for.
    pub(super) to: Where,
    pub(super) about: String,
    pub(super) by: String,
    pub(super) mark: String,
    /// Whether a restart lies between.
    pub(super) again: bool,
    pub(super) attempts: Attempts,
}

impl<Ch: Chat> Follow<Ch> {
    /// Follows to the end. `beat` counts until the thread stands; afterwards it is under way only while something is posted, or
    /// nothing would ever be still.
    pub(super) async fn run(self, beat: Beat) -> Option<EffectEnd> {
        let given_up = |why: String| Some(EffectEnd::GivenUp { why });
        let Some((wanted, turn)) = Wanted::pressed(&self.about) else {
            return given_up("what was to be followed cannot be read any more".to_owned());
        };
        if self.again {
            let message = words::broken_off(&wanted, &self.by);
            return self.delivery(&format!("{}b", self.mark), true).post(self.to.clone(), message).await;
        }
        let ask = match wanted.ask(&self.workspace, turn) {
            Ok(ask) => ask,
            Err(why) => return given_up(why),
        };
        let head = words::head_of_thread(&wanted, &self.by, stop_action(self.attempts.id));
        let head = match timeout(SAID_WITHIN, self.delivery(&self.mark, false).post(self.to.clone(), head)).await {
            Ok(Some(EffectEnd::Done { posted: Some(posted) })) => posted,
            Ok(None) => return None,
            Ok(Some(end @ EffectEnd::GivenUp { .. })) => return Some(end),
            _ => return given_up("the chat did not take it in time".to_owned()),
        };
        // There is no thread within a thread: then it stands where it was asked for.
        let started = timeout(THREAD_WITHIN, self.chat.start_thread(&head, &words::thread_title(&wanted))).await;
        let place = match started {
            Ok(Ok(thread)) => Where::Place(thread),
            _ => Where::Place(head.place.clone()),
        };
        drop(beat);
        let has_service = ask.of.len() > 1;
        let (over, shown, unsaid) = self.lines(self.logs.tail(&ask), &place, has_service).await;
        let _beat = self.pulse.beat();
        self.say(&place, words::over(over, shown, unsaid, &wanted), "z").await;
        let said = Message::line(words::head_over(&wanted, &self.by, &words::why_over(over)));
        if let Err(error) = self.chat.edit(&head, &said).await {
            info!(mark = %self.mark, reason = %error, "The head of a thread of log lines keeps its button");
        }
        // What was withdrawn has its end on record already.
        (over != Over::Stopped).then_some(EffectEnd::Done { posted: Some(head) })
    }

    /// Posts what comes, until it is over: why, how many lines were posted, and how many were not.
    async fn lines(&self, mut heard: mpsc::Receiver<Heard>, place: &Where, has_service: bool) -> (Over, usize, usize) {
        let began = Instant::now();
        let now = || TimeDelta::from_std(began.elapsed()).unwrap_or(TimeDelta::MAX);
        let (mut following, mut said, mut is_open) = (Following::default(), 0_u32, true);
        loop {
            let over = if self.is_stopped() { Some(Over::Stopped) } else { following.over(now()) };
            let is_last = over.is_some_and(|over| over != Over::Stopped);
            if over != Some(Over::Stopped)
                && let Some(batch) = following.batch(now(), is_last)
            {
                let _beat = self.pulse.beat();
                let message = words::batch(&batch, self.workspace.team.zone, has_service, self.logs.ahead());
                said += 1;
                self.say(place, message, &said.to_string()).await;
            }
            if let Some(over) = over {
                return (over, following.shown(), following.unsaid());
            }
            let wait = (following.look_at() - now()).to_std().unwrap_or_default().min(LOOK_EVERY);
            tokio::select! {
                next = heard.recv(), if is_open => match next {
                    Some(heard) => following.hear(heard),
                    None => {
                        following.hear_no_more();
                        is_open = false;
                    }
                },
                () = tokio::time::sleep(wait) => {}
                () = self.attempts.wake.notified() => {}
            }
        }
    }

    /// Says something that nothing withdraws any more.
    async fn say(&self, place: &Where, message: Message, suffix: &str) -> Option<Posted> {
        let mut delivery = self.delivery(&format!("{}{suffix}", self.mark), false);
        delivery.attempts.withdrawn = Arc::default();
        match timeout(SAID_WITHIN, delivery.post(place.clone(), message)).await {
            Ok(Some(EffectEnd::Done { posted })) => posted,
            _ => {
                info!(mark = %self.mark, "A batch of log lines was not posted");
                None
            }
        }
    }

    fn delivery(&self, mark: &str, again: bool) -> Delivery<Ch> {
        Delivery {
            chat: Arc::clone(&self.chat),
            elsewhere: Vec::new(),
            mark: mark.to_owned(),
            urgency: Urgency::Talk,
            must_stand: false,
            again,
            attempts: self.attempts.clone(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.attempts.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.attempts.id)
    }
}
