//! A command as data: its name, its help, its options, who may. Registration, `/help` and docs/commands.md read the same list.
//!
//! Pure and chat-neutral. What a command *does* stands in `commands/`; what a chat allows in it is checked by that chat's adapter.

use super::message::Choice;
use super::policy::Right;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandSpec {
    /// Full name: `sev1`, `incident severity`, `Add to timeline`. Commands that share a first word are one group.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Its options, the required ones first.
    pub options: Vec<OptionSpec>,
    /// How it is called.
    pub kind: CommandKind,
    /// Who may; everybody when none.
    pub right: Option<Right>,
    /// The line of help of the group, given by any one of its commands.
    pub group_help: Option<&'static str>,
}

/// How a command is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// Typed.
    Slash,
    /// Chosen from the menu of a message.
    OnMessage,
}

/// One option of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionSpec {
    /// Its name: lower case, one word.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// What may stand in it.
    pub kind: OptionKind,
    /// Whether it must be filled.
    pub required: bool,
}

/// What may stand in an option.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionKind {
    /// Words.
    Text {
        /// The longest taken, in characters.
        chars_max: u16,
    },
    /// A whole number.
    Number {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Yes or no.
    Flag,
    /// Somebody.
    Person,
    /// One of a fixed list.
    Choice(Vec<Choice>),
    /// Words, completed while typed from the list that this key names (`open incidents`, `services`).
    Completed(&'static str),
}

impl CommandSpec {
    /// A slash command that everybody may use, without options.
    pub fn slash(name: &'static str, help: &'static str) -> Self {
        Self { name, help, options: Vec::new(), kind: CommandKind::Slash, right: None, group_help: None }
    }

    /// A command in the menu of a message.
    pub fn on_message(name: &'static str, help: &'static str) -> Self {
        Self { kind: CommandKind::OnMessage, ..Self::slash(name, help) }
    }

    /// Adds an option that must be filled.
    #[must_use]
    pub fn needs(mut self, name: &'static str, help: &'static str, kind: OptionKind) -> Self {
        self.options.push(OptionSpec { name, help, kind, required: true });
        self
    }

    /// Adds an option that may stay empty.
    #[must_use]
    pub fn takes(mut self, name: &'static str, help: &'static str, kind: OptionKind) -> Self {
        self.options.push(OptionSpec { name, help, kind, required: false });
        self
    }

    /// Only for those who have this right.
    #[must_use]
    pub fn with_right(mut self, right: Right) -> Self {
        self.right = Some(right);
        self
    }

    /// Gives the group's line of help.
    #[must_use]
    pub fn in_group(mut self, help: &'static str) -> Self {
        self.group_help = Some(help);
        self
    }

    /// The group and the name within it, for a slash command of two words.
    pub fn group(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            CommandKind::Slash => self.name.split_once(' '),
            CommandKind::OnMessage => None,
        }
    }

    /// The key of an option's completion list.
    pub fn completion(&self, option: &str) -> Option<&'static str> {
        self.options.iter().find(|one| one.name == option).and_then(|one| match one.kind {
            OptionKind::Completed(key) => Some(key),
            _ => None,
        })
    }
}
