//! Answers that did not reach who asked: a line where they asked, so that nobody waits for one that will not come.
//!
//! What was for one person's eyes stays so: the channel hears only that there was an answer, and whose it was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::adapters::discord::{self, Undelivered};
use crate::domain::answer::Answer;
use crate::domain::effect::Urgency;
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind};
use crate::domain::message::Message;
use crate::domain::text;
use crate::ports::{Chat, Where};

/// How many of the newest askers are remembered: more than can wait for an answer at once.
const ASKED_MAX: usize = 2_048;

/// Who asked what lately.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<VecDeque<(InputId, String, String)>>>);

impl Asked {
    /// Remembers who asked.
    pub fn note(&self, input: &Input) {
        let (who, what) = match &input.kind {
            InputKind::Call(call) => (&call.who, format!("/{}", call.command)),
            InputKind::Press(press) => (&press.who, "what you pressed".to_owned()),
            InputKind::Filled(filled) => (&filled.who, "what you filled in".to_owned()),
            _ => return,
        };
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            asked.pop_front();
        }
        asked.push_back((input.id.clone(), who.name.clone(), what));
    }

    /// What is said where they asked; nothing when there was nothing to say.
    fn instead(&self, lost: &Undelivered) -> Option<Message> {
        match &lost.answer {
            Answer::Say { message, only_you: false } => return Some(message.clone()),
            Answer::Say { only_you: true, .. } | Answer::NotNow(_) | Answer::Replace(_) => {}
            Answer::Open(_) | Answer::Done | Answer::Choices(_) => return None,
        }
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whose = asked.iter().rev().find(|(id, ..)| *id == lost.input);
        let (name, what) = whose.map_or(("Whoever just asked", "that"), |(_, name, what)| (name.as_str(), what));
        Some(Message::line(text::undelivered(name, what)))
    }
}

/// Posts the line.
pub fn undelivered<C: Chat>(chat: Arc<C>, asked: Asked) -> discord::UndeliveredTo {
    Arc::new(move |lost: Undelivered| {
        let Some(message) = asked.instead(&lost) else { return };
        let chat = Arc::clone(&chat);
        tokio::spawn(async move {
            let mark: String = lost.input.local().chars().rev().take(20).collect();
            let posted = chat.post(&Where::Place(lost.place), &message, &format!("late-{mark}"), Urgency::Talk).await;
            if let Err(error) = posted {
                warn!(error = %error, input = %lost.input, "An answer reached nobody");
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::ids::{Person, Place};
    use crate::domain::input::{Actor, Call};
    use crate::domain::message::Text;

    fn lost(answer: Answer) -> Undelivered {
        let place = Place::new("discord:1");
        Undelivered { input: InputId::new("discord:7"), place, answer, why: "too late".to_owned() }
    }

    #[test]
    fn what_only_one_may_read_is_never_said_to_all() {
        let asked = Asked::default();
        let who = Actor { person: Person::new("discord:5"), name: "ana".to_owned(), roles: Vec::new() };
        let (place, command) = (Place::new("discord:1"), "incident export".to_owned());
        let call = Call { who, place, command, args: BTreeMap::new(), target: None };
        asked.note(&Input { id: InputId::new("discord:7"), kind: InputKind::Call(call) });

        let secret = Message::line("the whole record");
        let words = "ana: my answer to /incident export did not reach you; ask again.";
        for answer in [Answer::only_you(secret.clone()), Answer::Replace(secret.clone())] {
            assert_eq!(asked.instead(&lost(answer)), Some(Message::line(Text::plain(words))));
        }
        assert_eq!(asked.instead(&lost(Answer::aloud(secret.clone()))), Some(secret.clone()));
        assert_eq!(asked.instead(&lost(Answer::Done)), None);
        let unknown = Asked::default().instead(&lost(Answer::only_you(secret.clone())));
        assert!(unknown.is_some_and(|message| message != secret));
    }
}
