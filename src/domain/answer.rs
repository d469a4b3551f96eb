//! What the bot says back to whoever typed, pressed or filled in, and what it offers while they type.
//!
//! Pure data, chat-neutral. An answer is no effect: it is given at most once, to one person's own action, and is not recorded.
//! How it reaches them (at once, late, or as a line elsewhere) is the chat adapter's business.

use std::collections::BTreeMap;

use super::ids::Place;
use super::input::{Actor, Arg};
use super::message::{Choice, Form, Message, Span, Text};

/// The one answer to an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Say something where it was typed or pressed.
    Say {
        /// What.
        message: Message,
        /// Whether nobody else sees it.
        only_you: bool,
    },
    /// Say, to them alone, that it cannot be decided now. It is not kept: the same again is decided anew.
    NotNow(Message),
    /// Open a form. When it is too late for one, the chat offers a button that opens it.
    Open(Form),
    /// Make the pressed message look like this. Where nothing was pressed it is said, to them alone.
    Replace(Message),
    /// Nothing to say: what they see elsewhere is the answer.
    Done,
    /// Entries to complete with.
    Choices(Vec<Choice>),
}

impl Answer {
    /// Says something that only they see.
    pub fn only_you(message: impl Into<Message>) -> Self {
        Answer::Say { message: message.into(), only_you: true }
    }

    /// Says something that everybody there sees.
    pub fn aloud(message: impl Into<Message>) -> Self {
        Answer::Say { message: message.into(), only_you: false }
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Message::line(text)
    }
}

/// What somebody has typed so far, when the chat asks what could follow. Answered from State, never after a wait.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionAsk {
    /// Who types.
    pub who: Actor,
    /// Where.
    pub place: Place,
    /// The command's full name: `incident severity`.
    pub command: String,
    /// The option being typed.
    pub option: String,
    /// What stands in it so far.
    pub typed: String,
    /// The other options, as far as they are filled.
    pub args: BTreeMap<String, Arg>,
}

/// One of the bot's own sentences, in which `` `…` `` marks fixed-width words. Never for text from outside, which is shown as it is.
pub fn sentence(text: &str) -> Text {
    let parts = text.split('`').collect::<Vec<_>>();
    // An odd number of marks has no end for the last one: then they are only characters.
    if parts.len().is_multiple_of(2) {
        return Text::plain(text);
    }
    let span = |(n, part): (usize, &&str)| match n % 2 {
        0 => Span::Text((*part).to_owned()),
        _ => Span::Code((*part).to_owned()),
    };
    Text(parts.iter().enumerate().filter(|(_, part)| !part.is_empty()).map(span).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_of_ours_marks_its_commands() {
        assert_eq!(
            sentence("Nothing is open. `/sev1` opens one."),
            Text::plain("Nothing is open. ").code("/sev1").text(" opens one.")
        );
        assert_eq!(sentence("a ` alone"), Text::plain("a ` alone"));
        assert_eq!(sentence("`/help`"), Text::default().code("/help"));
    }
}
