//! A message within a chat's limits: what does not fit is cut where people can see it, and stands whole in a file beside it.
//!
//! Pure and chat-neutral. Owns what is cut, moved or dropped, and the words that say so. Never refuses a message, never resolves
//! a name, never writes a chat's markup: how much room a piece takes is asked of `Limits`, which each chat's adapter provides.

mod cut;
mod words;

use super::chart::Chart;
use super::message::{Button, Card, Choice, Field, File, Menu, Message, Ping, Span, Text};
use cut::{Cut, cut_lines, cut_plain, grouped};
pub use words::{Unresolved, Wording, words};

/// What a chat takes. Sizes are in the chat's own units, as `weigh` and `weigh_plain` count them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Plain content, with everything in it.
    pub content: usize,
    /// Part of the content that the adapter needs for itself.
    pub content_reserved: usize,
    /// A card's headline.
    pub title: usize,
    /// A card's lines, together.
    pub description: usize,
    /// Fields of a card.
    pub fields: usize,
    /// A field's name.
    pub field_name: usize,
    /// A field's value.
    pub field_value: usize,
    /// A card's small print.
    pub footer: usize,
    /// Part of the small print that the adapter needs for itself.
    pub footer_reserved: usize,
    /// A whole card.
    pub card_total: usize,
    /// Buttons in a row.
    pub buttons_in_row: usize,
    /// Rows of buttons; a menu takes one.
    pub rows: usize,
    /// The words on a button.
    pub button_label: usize,
    /// An action, or what comes back for a choice.
    pub action: usize,
    /// Entries of a menu or of a completion list.
    pub choices: usize,
    /// The words of an entry, and its hint.
    pub choice_label: usize,
    /// What stands on a menu before a choice.
    pub placeholder: usize,
    /// Files of a message.
    pub files: usize,
    /// One file, in bytes.
    pub file_bytes: usize,
    /// Whom one message can ping.
    pub pings: usize,
    /// The room that a span takes where markup is read.
    pub weigh: fn(&Span) -> usize,
    /// The room that text takes where no markup is read: labels, small print.
    pub weigh_plain: fn(&str) -> usize,
}

impl Limits {
    /// The room that a line takes.
    fn weigh_text(&self, text: &Text) -> usize {
        text.0.iter().map(self.weigh).sum()
    }

    fn weigh_str(&self, text: &str) -> usize {
        (self.weigh)(&Span::Text(text.to_owned()))
    }
}

/// A message that fits. Names are still unresolved spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Plain content. Pings follow it, so that a lock screen shows the words first.
    pub lines: Vec<Text>,
    /// Whom it pings.
    pub pings: Vec<Ping>,
    /// The framed part; nothing blank is left in it.
    pub card: Option<Card>,
    /// Buttons by row.
    pub rows: Vec<Vec<Button>>,
    /// The menu under them.
    pub menu: Option<Menu>,
    /// Files; the last is the whole message when some of it was cut.
    pub files: Vec<File>,
    /// Pictures, behind the files; see [`picture_name`].
    pub pictures: Vec<Chart>,
    /// Characters that stand only in that file.
    pub chars_cut: usize,
}

/// The name of the file that holds a message which had to be cut.
pub const WHOLE_FILE: &str = "whole-message.txt";
/// Pictures of one message.
const PICTURES_MAX: usize = 3;
/// The action of the menu that takes buttons which do not fit, where the message has none.
pub const MORE_ACTION: &str = "more";
/// What marks a menu's entry as a button that had no room; see `pressed`.
const BUTTON_PREFIX: &str = "press=";
/// What a field needs at least to be worth its place, in the chat's units.
const FIELD_ROOM_MIN: usize = 120;
/// Room kept for the words that say how many fields were left out.
const FIELDS_NOTE_ROOM: usize = 80;

/// Makes a message fit. Names in the file of a cut message stay unresolved.
pub fn render(message: &Message, limits: &Limits) -> Rendered {
    render_as(message, limits, &Unresolved)
}

/// Makes a message fit; `wording` words the names in the file of a cut message.
pub fn render_as(message: &Message, limits: &Limits, wording: &dyn Wording) -> Rendered {
    let mut cut = Cut::default();
    let (rows, menu, mut notes) = controls(message, limits, &mut cut);
    let (pings, unpinged) = message.pings.split_at(message.pings.len().min(limits.pings));
    if !unpinged.is_empty() {
        notes.push(format!("({} more could not be pinged by one message)", unpinged.len()));
    }
    let pictures: Vec<Chart> = message.pictures.iter().take(PICTURES_MAX.min(limits.files / 2)).cloned().collect();
    let files_max = limits.files.saturating_sub(1 + pictures.len());
    if message.files.len() > files_max {
        notes.push(format!("({} more files do not fit here)", message.files.len() - files_max));
    }

    let ping_room: usize = pings.iter().map(|ping| (limits.weigh)(&span_of(ping)) + 1).sum();
    let notes_room: usize = notes.iter().map(|note| limits.weigh_str(note) + 1).sum();
    let room = limits.content.saturating_sub(limits.content_reserved + ping_room + notes_room);
    let all: Vec<Text> = message.lines.iter().chain(&message.passing).cloned().collect();
    let mut lines = cut_lines(&all, room, limits, &mut cut);
    lines.extend(notes.into_iter().map(Text::plain));
    let card = message.card.as_ref().and_then(|card| fit_card(card, limits, &mut cut));
    let mut files: Vec<File> = message.files.iter().take(files_max).map(|file| fit_file(file, limits)).collect();
    if cut.happened {
        let text = words(message, wording).join("\n");
        files.push(fit_file(&File { name: WHOLE_FILE.to_owned(), text }, limits));
    }
    if lines.iter().all(Text::is_blank) {
        lines.clear();
        if card.is_none() && files.is_empty() && pictures.is_empty() {
            lines.push(Text::plain("(nothing to say)"));
        }
    }
    Rendered { lines, pings: pings.to_vec(), card, rows, menu, files, pictures, chars_cut: cut.chars }
}

/// What a message's picture is called: the first of them, the second.
pub fn picture_name(number: usize) -> String {
    match number {
        0 => "chart.png".to_owned(),
        number => format!("chart-{}.png", number + 1),
    }
}

/// What a choice from a menu means: a button that had no room stands in a menu and comes back as itself.
pub fn pressed(action: String, values: Vec<String>) -> (String, Vec<String>) {
    match values.first().and_then(|value| value.strip_prefix(BUTTON_PREFIX)) {
        Some(button) => (button.to_owned(), Vec::new()),
        None => (action, values),
    }
}

/// Entries of a menu or a completion list that fit: none blank, none twice.
pub fn fit_choices(choices: &[Choice], limits: &Limits) -> Vec<Choice> {
    let mut out: Vec<Choice> = Vec::new();
    for choice in choices {
        let fits = !choice.value.is_empty() && (limits.weigh_plain)(&choice.value) <= limits.action;
        if !fits || out.iter().any(|one| one.value == choice.value) {
            continue;
        }
        let label = if choice.label.trim().is_empty() { &choice.value } else { &choice.label };
        let hint = choice.hint.as_ref().filter(|hint| !hint.trim().is_empty());
        out.push(Choice {
            value: choice.value.clone(),
            label: cut_plain(label, limits.choice_label, limits),
            hint: hint.map(|hint| cut_plain(hint, limits.choice_label, limits)),
        });
        if out.len() == limits.choices {
            break;
        }
    }
    out
}

fn span_of(ping: &Ping) -> Span {
    match ping {
        Ping::Person(person) => Span::Person(person.clone()),
        Ping::Role(role) => Span::Role(role.clone()),
    }
}

/// Buttons by row and the menu. Buttons without room go into the menu; what fits nowhere is said.
fn controls(message: &Message, limits: &Limits, cut: &mut Cut) -> (Vec<Vec<Button>>, Option<Menu>, Vec<String>) {
    let mut buttons: Vec<Button> = Vec::new();
    let mut dropped = 0;
    for button in &message.buttons {
        if button.action.is_empty() || (limits.weigh_plain)(&button.action) > limits.action {
            dropped += 1;
        } else if buttons.iter().all(|one| one.action != button.action) {
            let label = if button.label.trim().is_empty() { "…" } else { &button.label };
            let label = cut_plain(label, limits.button_label, limits);
            buttons.push(Button { label, ..button.clone() });
        }
    }
    let asked = message.menu.as_ref();
    let has_menu = asked.is_some_and(|menu| !menu.choices.is_empty());
    let whole = limits.rows * limits.buttons_in_row;
    let beside_menu = limits.rows.saturating_sub(1) * limits.buttons_in_row;
    let room = if has_menu || buttons.len() > whole { beside_menu } else { whole };
    let over = buttons.split_off(buttons.len().min(room));

    let mut choices = asked.map_or_else(Vec::new, |menu| fit_choices(&menu.choices, limits));
    let left_out = asked.map_or(0, |menu| menu.choices.len()).saturating_sub(choices.len());
    for button in over {
        let value = format!("{BUTTON_PREFIX}{}", button.action);
        if choices.len() < limits.choices && (limits.weigh_plain)(&value) <= limits.action {
            choices.push(Choice::new(value, button.label));
        } else {
            dropped += 1;
        }
    }
    let menu = (!choices.is_empty()).then(|| Menu {
        action: asked.map_or_else(|| MORE_ACTION.to_owned(), |menu| menu.action.clone()),
        placeholder: cut_plain(asked.map_or("More …", |menu| &menu.placeholder), limits.placeholder, limits),
        choices,
    });
    let mut notes = Vec::new();
    if dropped > 0 {
        notes.push(format!("({dropped} more button{} not fit here)", if dropped == 1 { " does" } else { "s do" }));
    }
    if left_out > 0 {
        notes.push(format!("({left_out} more entries of the menu do not fit here)"));
        cut.happened = true;
    }
    let rows = buttons.chunks(limits.buttons_in_row.max(1)).map(<[Button]>::to_vec).collect();
    (rows, menu, notes)
}

/// A card that fits, or none when nothing would be seen of it. Headline and fields come before long lines.
fn fit_card(card: &Card, limits: &Limits, cut: &mut Cut) -> Option<Card> {
    let cut_str = |text: &str, room: usize, cut: &mut Cut| {
        let lines = cut_lines(&[Text::plain(text.trim())], room, limits, cut);
        lines.into_iter().flat_map(|line| line.0).map(plain_of).collect::<String>()
    };
    let title = cut_str(&card.title, limits.title, cut);
    let footer = card.footer.as_deref().map(str::trim).filter(|footer| !footer.is_empty());
    let footer = footer.map(|footer| {
        let fitted = cut_plain(footer, limits.footer.saturating_sub(limits.footer_reserved), limits);
        cut.happened |= fitted != footer;
        fitted
    });
    let footer_room = footer.as_deref().map_or(0, limits.weigh_plain) + limits.footer_reserved;
    let mut room = limits.card_total.saturating_sub(limits.weigh_str(&title) + footer_room);

    let lines_want: usize = card.lines.iter().map(|line| limits.weigh_text(line) + 1).sum();
    let lines_keep = lines_want.min(limits.card_total / 4);
    let shown: Vec<&Field> = card.fields.iter().filter(|field| !field.value.is_blank()).collect();
    let mut fields = Vec::new();
    for (n, field) in shown.iter().enumerate() {
        let more = shown.len() - n;
        let left = room.saturating_sub(lines_keep);
        let last_place = fields.len() + 1 == limits.fields && more > 1;
        if last_place || left < FIELD_ROOM_MIN + FIELDS_NOTE_ROOM {
            cut.happened = true;
            cut.chars +=
                shown.iter().skip(n).map(|field| field.name.chars().count() + field.value.chars()).sum::<usize>();
            let value = Text::plain(format!("({} more in the attached file)", grouped(more)));
            room = room.saturating_sub(limits.weigh_str("…") + limits.weigh_text(&value));
            fields.push(Field { name: "…".to_owned(), value, inline: false });
            break;
        }
        let name = if field.name.trim().is_empty() { "·" } else { &field.name };
        let name = cut_str(name, limits.field_name.min(left / 2), cut);
        let value_room = limits.field_value.min((left - FIELDS_NOTE_ROOM).saturating_sub(limits.weigh_str(&name)));
        let value = cut_lines(std::slice::from_ref(&field.value), value_room, limits, cut).into_iter().next()?;
        room = room.saturating_sub(limits.weigh_str(&name) + limits.weigh_text(&value));
        fields.push(Field { name, value, inline: field.inline });
    }
    let lines = cut_lines(&card.lines, limits.description.min(room), limits, cut);
    let lines = if lines.iter().all(Text::is_blank) { Vec::new() } else { lines };
    if title.is_empty() && lines.is_empty() && fields.is_empty() && footer.is_none() {
        return None;
    }
    Some(Card { title, tone: card.tone, lines, fields, footer })
}

fn plain_of(span: Span) -> String {
    match span {
        Span::Text(text) => text,
        _ => String::new(),
    }
}

fn fit_file(file: &File, limits: &Limits) -> File {
    let name = if file.name.trim().is_empty() { "file.txt" } else { file.name.trim() };
    let name = name.replace(['/', '\\', '"', '\n', '\r', '\0'], "-");
    if file.text.len() <= limits.file_bytes {
        return File { name, text: file.text.clone() };
    }
    let end = file.text.floor_char_boundary(limits.file_bytes.saturating_sub(80));
    let (kept, rest) = file.text.split_at(end);
    File { name, text: format!("{kept}\n… ({} more characters do not fit in a file)", grouped(rest.chars().count())) }
}

#[cfg(test)]
mod tests;
