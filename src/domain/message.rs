//! What the bot says, before any chat has a say in it: spans of text, a message, buttons, menus and forms.
//!
//! Pure and chat-neutral. Never contains a chat's own markup (`<@…>`), never decides what is cut: see `render.rs`, which is
//! given a chat's limits.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::chart::Chart;
use super::ids::{Person, Place, Role};

/// A piece of text, in the form that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Plain text. Whatever looks like markup in it is shown as it is.
    Text(String),
    /// Text that should stand out.
    Bold(String),
    /// Text in a fixed-width face.
    Code(String),
    /// A person, shown by name. Naming somebody does not ping: pings are `Message::pings`.
    Person(Person),
    /// A role, shown by name.
    Role(Role),
    /// A channel or thread.
    Place(Place),
    /// A moment, shown in each reader's own zone.
    Time {
        /// The moment.
        at: DateTime<Utc>,
        /// How it is shown.
        style: TimeStyle,
    },
    /// A link with its words.
    Link {
        /// The words.
        label: String,
        /// The address.
        url: String,
    },
}

/// How a moment is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeStyle {
    /// "in 12 minutes".
    Relative,
    /// "03:07".
    Clock,
    /// "24 November 2026 03:07".
    Full,
}

/// A run of spans: a sentence, a line of a card, what somebody wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub Vec<Span>);

impl Text {
    /// Plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Span::Text(text.into())])
    }

    /// Adds plain text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Text(text.into()));
        self
    }

    /// Adds text that stands out.
    #[must_use]
    pub fn bold(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Bold(text.into()));
        self
    }

    /// Adds fixed-width text.
    #[must_use]
    pub fn code(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Code(text.into()));
        self
    }

    /// Adds a person's name.
    #[must_use]
    pub fn person(mut self, person: &Person) -> Self {
        self.0.push(Span::Person(person.clone()));
        self
    }

    /// Adds a role's name.
    #[must_use]
    pub fn role(mut self, role: &Role) -> Self {
        self.0.push(Span::Role(role.clone()));
        self
    }

    /// Adds a place.
    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.0.push(Span::Place(place.clone()));
        self
    }

    /// Adds a moment as "in 12 minutes".
    #[must_use]
    pub fn relative(self, at: DateTime<Utc>) -> Self {
        self.time(at, TimeStyle::Relative)
    }

    /// Adds a moment as "03:07".
    #[must_use]
    pub fn clock(self, at: DateTime<Utc>) -> Self {
        self.time(at, TimeStyle::Clock)
    }

    /// Adds a moment.
    #[must_use]
    pub fn time(mut self, at: DateTime<Utc>, style: TimeStyle) -> Self {
        self.0.push(Span::Time { at, style });
        self
    }

    /// Adds another run.
    #[must_use]
    pub fn join(mut self, other: Text) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether a reader would see nothing.
    pub fn is_blank(&self) -> bool {
        self.0.iter().all(|span| match span {
            Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.trim().is_empty(),
            _ => false,
        })
    }

    /// How many characters of free text it holds; names and times count as a few each.
    pub fn chars(&self) -> usize {
        const NAME_CHARS: usize = 12;
        self.0
            .iter()
            .map(|span| match span {
                Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.chars().count(),
                Span::Link { label, .. } => label.chars().count(),
                _ => NAME_CHARS,
            })
            .sum()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

/// The colour of a card's edge; never the only carrier of its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Something is broken.
    Bad,
    /// Something needs watching.
    Warn,
    /// All is well.
    Good,
    /// Just so.
    Quiet,
}

/// A card's named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Text,
    /// Whether it may stand beside others.
    pub inline: bool,
}

/// The framed part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Headline.
    pub title: String,
    /// Colour.
    pub tone: Tone,
    /// Lines under the headline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Text>,
    /// Named values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// Small print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
}

impl Card {
    /// A card with a headline and nothing else yet.
    pub fn new(title: impl Into<String>, tone: Tone) -> Self {
        Self { title: title.into(), tone, lines: Vec::new(), fields: Vec::new(), footer: None }
    }

    /// Adds a line.
    #[must_use]
    pub fn line(mut self, line: impl Into<Text>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds a field that may stand beside others.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Text>) -> Self {
        self.fields.push(Field { name: name.into(), value: value.into(), inline: true });
        self
    }

    /// Adds a field that takes a row of its own.
    #[must_use]
    pub fn row(mut self, name: impl Into<String>, value: impl Into<Text>) -> Self {
        self.fields.push(Field { name: name.into(), value: value.into(), inline: false });
        self
    }
}

/// How a button looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonStyle {
    /// What one most likely wants.
    Primary,
    /// Everything else.
    Plain,
    /// It went well.
    Success,
    /// Think first.
    Danger,
}

/// A button. `action` comes back as it was sent, in `input::Press`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// What pressing means: a verb and its arguments joined by `:` (`ack:7`). At most 100 characters.
    pub action: String,
    /// The words on it.
    pub label: String,
    /// How it looks.
    pub style: ButtonStyle,
}

impl Button {
    /// A button.
    pub fn new(action: impl Into<String>, label: impl Into<String>, style: ButtonStyle) -> Self {
        Self { action: action.into(), label: label.into(), style }
    }
}

/// One entry of a menu or of a completion list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What comes back.
    pub value: String,
    /// What is read.
    pub label: String,
    /// A hint under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Choice {
    /// An entry without a hint.
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into(), hint: None }
    }
}

/// A menu under a message. One choice comes back in `input::Press::values`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Menu {
    /// What choosing means.
    pub action: String,
    /// What stands on it before a choice.
    pub placeholder: String,
    /// The entries, in order.
    pub choices: Vec<Choice>,
}

/// A file that goes with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// File name.
    pub name: String,
    /// Text content.
    pub text: String,
}

/// Whom a new message pings. Nobody else is ever pinged, whatever the text says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ping {
    /// One person.
    Person(Person),
    /// Everybody with a role.
    Role(Role),
}

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Whom it pings; empty means that it is sent silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pings: Vec<Ping>,
    /// Plain content, a line each. What a lock screen shows is the first 100 characters of it, so pings follow the words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Text>,
    /// Lines behind these that go on no record, as those of a log. A message that is sent after a crash has none of them, so `lines`
    /// must say enough alone.
    #[serde(skip)]
    pub passing: Vec<Text>,
    /// The framed part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// Buttons, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// A menu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub menu: Option<Menu>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Charts, drawn when the message is sent. They are never recorded, so a message that is sent after a crash has none: whatever a
    /// picture says must stand in words too.
    #[serde(skip)]
    pub pictures: Vec<Chart>,
}

impl Message {
    /// A silent message of one line.
    pub fn line(line: impl Into<Text>) -> Self {
        Self { lines: vec![line.into()], ..Self::default() }
    }

    /// A silent message with a card only.
    pub fn card(card: Card) -> Self {
        Self { card: Some(card), ..Self::default() }
    }

    /// Adds a line.
    #[must_use]
    pub fn and(mut self, line: impl Into<Text>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds a button.
    #[must_use]
    pub fn button(mut self, action: impl Into<String>, label: impl Into<String>, style: ButtonStyle) -> Self {
        self.buttons.push(Button::new(action, label, style));
        self
    }

    /// Adds a picture.
    #[must_use]
    pub fn picture(mut self, chart: Chart) -> Self {
        self.pictures.push(chart);
        self
    }

    /// Pings somebody too.
    #[must_use]
    pub fn ping(mut self, ping: Ping) -> Self {
        if !self.pings.contains(&ping) {
            self.pings.push(ping);
        }
        self
    }
}

/// A form that opens before the person who pressed or typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// What filling it in means; comes back in `input::Filled::action`.
    pub action: String,
    /// Headline, at most 45 characters.
    pub title: String,
    /// The inputs, one to five.
    pub inputs: Vec<FormInput>,
}

/// One input of a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormInput {
    /// The name its value comes back under.
    pub name: String,
    /// The words above it, at most 45 characters.
    pub label: String,
    /// Several lines or one.
    pub long: bool,
    /// Whether it may stay empty.
    pub required: bool,
    /// What stands in it already.
    pub value: String,
    /// A hint in the empty input, at most 100 characters.
    pub hint: String,
    /// The longest text taken, in characters; at most 4,000.
    pub chars_max: u16,
}
