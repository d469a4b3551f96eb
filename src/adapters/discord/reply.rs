//! The one answer to a command, a press or a form, in Discord's time whatever the bot's own is.
//!
//! Discord waits 3 s for a first answer and takes further ones for 15 min; the token for that is a credential and stays in memory.
//! Each interaction has a keeper, a task that acknowledges it after one second by itself, even when nothing else in the bot moves,
//! and delivers the answer once, at once or late. What could not be delivered is handed back. Acknowledging means nothing to an
//! incident: that is decided elsewhere.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::chat::with;
use super::compose::{self, Composed, EPHEMERAL};
use super::directory::SharedDirectory;
use super::lane::{self, Lane, LaneError, Request, Route};
use crate::domain::answer::Answer;
use crate::domain::ids::{InputId, Place};
use crate::domain::message::{ButtonStyle, Form, Message};
use crate::domain::text;

/// After this long the press is acknowledged whatever the bot does.
const DEFER_AFTER: Duration = Duration::from_millis(1_000);
/// Discord drops the interaction after 3 s; what is not on the wire by now is too late.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_millis(2_800);
/// Discord takes answers for 15 min; the last half minute is kept for sending.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(15 * 60 - 30);
/// How long a late answer may wait for its turn, in milliseconds.
const LATE_GIVE_UP_MS: u64 = 25_000;
/// Forms that wait for a second press.
const FORMS_MAX: usize = 64;
/// The action of a button that opens a form which came too late to open by itself.
pub(super) const OPEN_FORM: &str = "open-form=";

const ALREADY_ACKNOWLEDGED: u64 = 40_060;

const LOST: &str =
    "I have no answer to that: something in me broke. Look at what stands in the channel, then try again.";
const FORM_LATE: &str = "That took me too long to open the form by itself.";
const FORM_LABEL: &str = "Open the form";
const FORM_GONE: &str = "That form is not there any more. Start again from the command or button.";
const ELSEWHERE: &str = "I only work on the server that I was set up for.";
const SEE_BELOW: &str = "The answer is below, for everyone.";

/// An answer that did not reach who asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Undelivered {
    /// The input that it answers.
    pub input: InputId,
    /// Where it was typed or pressed.
    pub place: Place,
    /// The answer.
    pub answer: Answer,
    /// A sentence that says why not.
    pub why: String,
}

/// Who hears of answers that did not arrive. Called on some task; must not block.
pub type UndeliveredTo = Arc<dyn Fn(Undelivered) + Send + Sync>;

/// The handle by which the one answer is given. Dropped without an answer, it says that there is none.
pub struct Reply {
    input: InputId,
    place: Place,
    answers: oneshot::Sender<Answer>,
    undelivered: UndeliveredTo,
}

impl Reply {
    /// Gives the answer. Never waits.
    pub fn give(self, answer: Answer) {
        if let Err(answer) = self.answers.send(answer) {
            let why = "Discord takes no answer after 15 minutes".to_owned();
            (self.undelivered)(Undelivered { input: self.input, place: self.place, answer, why });
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply to {}", self.input)
    }
}

/// What every answer needs.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) lane: Lane,
    pub(super) directory: SharedDirectory,
    pub(super) undelivered: UndeliveredTo,
    pub(super) forms: Arc<Forms>,
}

/// Forms that came too late to open by themselves, by the interaction that asked for them.
#[derive(Default)]
pub(super) struct Forms(Mutex<VecDeque<(u64, Form)>>);

impl Forms {
    fn keep(&self, id: u64, form: Form) {
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if forms.len() >= FORMS_MAX {
            forms.pop_front();
        }
        forms.push_back((id, form));
    }

    fn get(&self, id: u64) -> Option<Form> {
        let forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forms.iter().find(|(one, _)| *one == id).map(|(_, form)| form.clone())
    }
}

/// What was done in Discord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// A command.
    Command,
    /// A press or a choice, on this message of this channel.
    Press { channel: u64, message: u64 },
    /// A form, opened from this message or from a command.
    Form { on: Option<(u64, u64)> },
}

/// One interaction that waits for its answer.
pub(super) struct Interaction {
    pub(super) id: u64,
    pub(super) application: u64,
    pub(super) token: SecretString,
    pub(super) deed: Deed,
    pub(super) place: Place,
    /// When it came in.
    pub(super) at: Instant,
}

impl Interaction {
    /// The id of the input that it becomes.
    pub(super) fn input_id(&self) -> InputId {
        InputId::new(super::ours(self.id))
    }
}

impl Desk {
    /// Starts the keeper of an interaction on `runtime` and gives the handle for its answer.
    pub(super) fn keep(&self, interaction: Interaction, runtime: &tokio::runtime::Handle) -> Reply {
        let (answers, answer) = oneshot::channel();
        let reply = Reply {
            input: interaction.input_id(),
            place: interaction.place.clone(),
            answers,
            undelivered: Arc::clone(&self.undelivered),
        };
        let desk = self.clone();
        runtime.spawn(async move { Keeper { desk, interaction }.run(answer).await });
        reply
    }

    /// Says that too much waits.
    pub(super) fn busy() -> Answer {
        Answer::only_you(Message::line(text::busy()))
    }

    /// Says that the bot works elsewhere.
    pub(super) fn elsewhere() -> Answer {
        Answer::only_you(Message::line(ELSEWHERE))
    }

    /// The answer to the press of a button that opens a form; none for any other button.
    pub(super) fn late_form(&self, action: &str) -> Option<Answer> {
        let id = action.strip_prefix(OPEN_FORM)?;
        let form = id.parse().ok().and_then(|id| self.forms.get(id));
        Some(form.map_or_else(|| Answer::only_you(Message::line(FORM_GONE)), Answer::Open))
    }

    /// Answers what somebody is typing.
    pub(super) async fn complete(&self, id: u64, token: SecretString, at: Instant, choices: Answer) {
        let list = if let Answer::Choices(list) = choices { list } else { Vec::new() };
        let body = json!({"type": 8, "data": compose::choices(&list)});
        let request = Request {
            give_up_after_ms: left_ms(at, FIRST_ANSWER_WITHIN),
            ..urgent(Route::interaction_callback(id, &token))
        };
        if let Err(error) = self.lane.send(request.body(body)).await {
            // The next letter asks again.
            info!(error = %error, "A completion list came too late");
        }
    }
}

/// The task that sees one interaction through.
struct Keeper {
    desk: Desk,
    interaction: Interaction,
}

impl Keeper {
    async fn run(self, mut answer: oneshot::Receiver<Answer>) {
        if let Ok(given) = timeout_at(self.interaction.at + DEFER_AFTER, &mut answer).await {
            return self.at_once(given.ok()).await;
        }
        let deferred = self.defer().await;
        let given = match timeout_at(self.interaction.at + LAST_ANSWER_WITHIN, &mut answer).await {
            Ok(given) => given.ok(),
            Err(_) => {
                // From here on `Reply::give` hands the answer back itself.
                answer.close();
                answer.try_recv().ok()
            }
        };
        let late = match deferred {
            Ok(()) => self.late(given.as_ref().unwrap_or(&lost())).await,
            Err(error) => Err(error),
        };
        if let Err(error) = late {
            self.not_delivered(given, &error);
        }
    }

    /// The first and only answer.
    async fn at_once(&self, given: Option<Answer>) {
        let answer = given.clone().unwrap_or_else(lost);
        let private = |mut composed: Composed, kind: u8| {
            composed.body = json!({"type": kind, "data": composed.body});
            composed
        };
        let of = |kind: u8, data: Value| Composed { body: json!({"type": kind, "data": data}), files: Vec::new() };
        let only = |kind: u8| Composed { body: json!({"type": kind}), files: Vec::new() };
        let on_message = self.pressed_message().is_some();
        let (first, then_delete) = match &answer {
            Answer::Say { message, only_you } => (private(self.said(message, *only_you).await, 4), false),
            Answer::NotNow(message) => (private(self.said(message, true).await, 4), false),
            Answer::Replace(message) if on_message => (private(self.changed(message).await, 7), false),
            Answer::Replace(message) => (private(self.said(message, true).await, 4), false),
            // Discord opens no form over a form.
            Answer::Open(form) if matches!(self.interaction.deed, Deed::Form { .. }) => {
                (private(self.said(&self.form_button(form), true).await, 4), false)
            }
            Answer::Open(form) => (of(9, compose::form(form)), false),
            Answer::Done | Answer::Choices(_) if on_message => (only(6), false),
            // There is no silent answer to a command: it is acknowledged, and the acknowledgement taken away.
            Answer::Done | Answer::Choices(_) => (of(5, json!({"flags": EPHEMERAL})), true),
        };
        match self.call_back(first).await {
            Ok(()) if then_delete => drop(self.delete_original().await),
            Ok(()) => {}
            Err(error) => self.not_delivered(given, &error),
        }
    }

    /// Acknowledges, so that Discord goes on waiting.
    async fn defer(&self) -> Result<(), LaneError> {
        let body = match self.interaction.deed {
            Deed::Press { .. } => json!({"type": 6}),
            Deed::Command | Deed::Form { .. } => json!({"type": 5, "data": {"flags": EPHEMERAL}}),
        };
        self.call_back(Composed { body, files: Vec::new() }).await
    }

    /// Delivers after an acknowledgement.
    async fn late(&self, answer: &Answer) -> Result<(), LaneError> {
        let pressed = matches!(self.interaction.deed, Deed::Press { .. });
        match answer {
            Answer::Say { message, only_you } if pressed => self.follow_up(message, *only_you).await,
            Answer::NotNow(message) if pressed => self.follow_up(message, true).await,
            Answer::Say { message, only_you: true } | Answer::NotNow(message) => self.edit_original(message).await,
            // What was acknowledged for one person stays theirs; the first further answer would be, too.
            Answer::Say { message, only_you: false } => {
                self.edit_original(&Message::line(SEE_BELOW)).await?;
                self.follow_up(message, false).await
            }
            Answer::Open(form) if pressed => self.follow_up(&self.form_button(form), true).await,
            Answer::Open(form) => self.edit_original(&self.form_button(form)).await,
            Answer::Replace(message) => match self.interaction.deed {
                Deed::Form { on: Some((channel, id)) } => {
                    self.send_late(with(Route::edit_message(channel, id), self.changed(message).await)).await?;
                    self.delete_original().await
                }
                _ => self.edit_original(message).await,
            },
            Answer::Done | Answer::Choices(_) if pressed => Ok(()),
            Answer::Done | Answer::Choices(_) => self.delete_original().await,
        }
    }

    /// Sends the first answer. One that is in doubt is sent again: Discord takes only one.
    async fn call_back(&self, composed: Composed) -> Result<(), LaneError> {
        let route = Route::interaction_callback(self.interaction.id, &self.interaction.token);
        let request = Request { files: composed.files, ..urgent(route).body(composed.body) };
        let mut again = false;
        loop {
            let give_up_after_ms = left_ms(self.interaction.at, FIRST_ANSWER_WITHIN);
            match self.desk.lane.send(Request { give_up_after_ms, ..request.clone() }).await {
                Ok(_) => return Ok(()),
                Err(LaneError::Refused { code: ALREADY_ACKNOWLEDGED, .. }) if again => return Ok(()),
                Err(LaneError::InDoubt { .. }) if !again && give_up_after_ms > 0 => again = true,
                Err(error) => return Err(error),
            }
        }
    }

    async fn edit_original(&self, message: &Message) -> Result<(), LaneError> {
        let route = Route::edit_original(self.interaction.application, &self.interaction.token);
        self.send_late(with(route, self.changed(message).await)).await
    }

    async fn delete_original(&self) -> Result<(), LaneError> {
        let route = Route::delete_original(self.interaction.application, &self.interaction.token);
        self.send_late(Request::new(route)).await
    }

    async fn follow_up(&self, message: &Message, only_you: bool) -> Result<(), LaneError> {
        let route = Route::followup(self.interaction.application, &self.interaction.token);
        self.send_late(with(route, self.said(message, only_you).await)).await
    }

    async fn send_late(&self, request: Request) -> Result<(), LaneError> {
        let request = Request { urgency: lane::Urgency::Page, give_up_after_ms: LATE_GIVE_UP_MS, ..request };
        self.desk.lane.send(request).await.map(drop)
    }

    async fn said(&self, message: &Message, only_you: bool) -> Composed {
        let pictures = compose::draw(message).await;
        self.desk.directory.read(|directory| compose::answer(message, directory, only_you)).with(pictures)
    }

    async fn changed(&self, message: &Message) -> Composed {
        let pictures = compose::draw(message).await;
        self.desk.directory.read(|directory| compose::edited(message, directory, None)).with(pictures)
    }

    /// A message whose button opens the form.
    fn form_button(&self, form: &Form) -> Message {
        self.desk.forms.keep(self.interaction.id, form.clone());
        Message::line(FORM_LATE).button(format!("{OPEN_FORM}{}", self.interaction.id), FORM_LABEL, ButtonStyle::Primary)
    }

    fn pressed_message(&self) -> Option<(u64, u64)> {
        match self.interaction.deed {
            Deed::Press { channel, message } => Some((channel, message)),
            Deed::Form { on } => on,
            Deed::Command => None,
        }
    }

    fn not_delivered(&self, given: Option<Answer>, error: &LaneError) {
        let input = self.interaction.input_id();
        warn!(input.id = %input, error = %error, "An answer did not reach who asked");
        let Some(answer) = given else { return };
        (self.desk.undelivered)(Undelivered {
            input,
            place: self.interaction.place.clone(),
            answer,
            why: error.to_string(),
        });
    }
}

fn urgent(route: Route) -> Request {
    Request { urgency: lane::Urgency::Page, ..Request::new(route) }
}

fn lost() -> Answer {
    Answer::only_you(Message::line(LOST))
}

fn left_ms(at: Instant, within: Duration) -> u64 {
    let left = (at + within).saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}
