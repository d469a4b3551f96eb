//! A message, a form, a list of entries as Discord's JSON.
//!
//! Owns Discord's limits, what its markup looks like and where a message carries its mark. Never sends, never cuts: `render` has
//! seen to it that everything fits. `allowed_mentions` is always explicit: nobody is pinged but whom the message pings.

use serde_json::{Map, Value, json};
use tracing::warn;

use super::directory::Directory;
use super::escape;
use super::lane::FilePart;
use super::snowflake;
use crate::adapters::chart::png;
use crate::domain::chart::Chart;
use crate::domain::ids::Role;
use crate::domain::message::{
    Button, ButtonStyle, Card, Choice, File, Form, Menu, Message, Ping, Span, Text, TimeStyle, Tone,
};
use crate::domain::render::{Limits, Rendered, Unresolved, fit_choices, picture_name, render_as};

/// Discord's limits (its documents on messages, embeds and components). Sizes in UTF-16 units: Discord does not say how it counts,
/// and in no way of counting is a text longer.
pub const LIMITS: Limits = Limits {
    content: 2_000,
    content_reserved: 40,
    title: 256,
    description: 4_096,
    fields: 25,
    field_name: 256,
    field_value: 1_024,
    footer: 2_048,
    footer_reserved: 40,
    card_total: 6_000,
    buttons_in_row: 5,
    rows: 5,
    button_label: 80,
    action: 100,
    choices: 25,
    choice_label: 100,
    placeholder: 150,
    files: 10,
    // The smallest upload limit that Discord has ever had.
    file_bytes: 8 << 20,
    // As many as leave half of the content for words.
    pings: 40,
    weigh,
    weigh_plain: units,
};

/// The longest nonce, in characters.
const NONCE_CHARS_MAX: usize = 25;
/// What stands before a message's mark.
const MARK: &str = "ref ";
/// Flag of a message that makes no sound.
const SUPPRESS_NOTIFICATIONS: u64 = 1 << 12;
/// Flag of an answer that only one person sees.
pub(super) const EPHEMERAL: u64 = 1 << 6;
/// A form's headline and labels, in characters.
const FORM_LABEL_CHARS_MAX: usize = 45;
/// A form's inputs.
const FORM_INPUTS_MAX: usize = 5;
/// A value in a form, in characters.
const FORM_VALUE_CHARS_MAX: u16 = 4_000;

/// What a picture says to whoever does not see it, in characters.
const ALT_CHARS_MAX: usize = 1_024;

/// A body and the files that go with it.
#[derive(Clone)]
pub struct Composed {
    /// The JSON.
    pub body: Value,
    /// Files, in the order in which the JSON names them.
    pub files: Vec<FilePart>,
}

impl Composed {
    /// With pictures behind its files.
    pub(super) fn with(mut self, pictures: Vec<(FilePart, String)>) -> Self {
        for (picture, alt) in pictures {
            let alt = first_chars(&alt, ALT_CHARS_MAX);
            let named = json!({"id": self.files.len(), "filename": picture.name, "description": alt});
            match self.body.get_mut("attachments").and_then(Value::as_array_mut) {
                Some(all) => all.push(named),
                None => set(&mut self.body, "attachments", json!([named])),
            }
            self.files.push(picture);
        }
        self
    }
}

/// A message's pictures and what each says to whoever does not see it; drawn where nobody waits for the thread. One that cannot be
/// drawn is left out: what it shows stands in words as well.
pub(super) async fn draw(message: &Message) -> Vec<(FilePart, String)> {
    if message.pictures.is_empty() {
        return Vec::new();
    }
    let charts = render_as(message, &LIMITS, &Unresolved).pictures;
    let drawn = tokio::task::spawn_blocking(move || {
        let part = |(number, chart): (usize, Chart)| {
            let drawn = png(&chart).inspect_err(|why| warn!(reason = %why, "A picture could not be drawn")).ok()?;
            let (name, content_type) = (picture_name(number), "image/png".to_owned());
            Some((FilePart { name, content_type, bytes: drawn.into() }, chart.alt))
        };
        charts.into_iter().enumerate().filter_map(part).collect()
    });
    drawn.await.unwrap_or_default()
}

/// Whether a message may make a phone sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Only when it pings somebody.
    WhenItPings,
    /// In any case: a direct message that is to wake.
    Always,
}

/// A new message. `mark` is its nonce and can be found in it.
pub fn new_message(message: &Message, directory: &Directory, mark: Option<&str>, sound: Sound) -> Composed {
    let mut composed = compose(message, directory, mark);
    if message.pings.is_empty() && sound == Sound::WhenItPings {
        set(&mut composed.body, "flags", json!(SUPPRESS_NOTIFICATIONS));
    }
    if let Some(mark) = mark.filter(|mark| mark.chars().count() <= NONCE_CHARS_MAX) {
        set(&mut composed.body, "nonce", json!(mark));
        set(&mut composed.body, "enforce_nonce", json!(true));
    }
    composed
}

/// What a message is to look like from now on. An edit pings nobody, whatever the message says.
pub fn edited(message: &Message, directory: &Directory, mark: Option<&str>) -> Composed {
    let mut composed = compose(&Message { pings: Vec::new(), ..message.clone() }, directory, mark);
    // Named even when there are none: an edit keeps the files that it does not name.
    if composed.files.is_empty() {
        set(&mut composed.body, "attachments", json!([]));
    }
    composed
}

/// An answer to an interaction.
pub(super) fn answer(message: &Message, directory: &Directory, only_you: bool) -> Composed {
    let mut composed = compose(message, directory, None);
    let quiet = if message.pings.is_empty() { SUPPRESS_NOTIFICATIONS } else { 0 };
    set(&mut composed.body, "flags", json!(if only_you { EPHEMERAL } else { quiet }));
    composed
}

/// The mark that a message of ours carries.
pub(super) fn has_mark(message: &Value, mark: &str) -> bool {
    let small_print = |line: &str| line.strip_prefix("-# ").and_then(|line| line.strip_prefix(MARK)) == Some(mark);
    let footer = |text: &str| text.rsplit(" · ").next().and_then(|last| last.strip_prefix(MARK)) == Some(mark);
    let content = message.get("content").and_then(Value::as_str).unwrap_or_default();
    let mut embeds = message.get("embeds").and_then(Value::as_array).into_iter().flatten();
    content.lines().last().is_some_and(small_print)
        || embeds.any(|embed| embed.pointer("/footer/text").and_then(Value::as_str).is_some_and(footer))
}

/// The words of a mark, for whoever reads a message back: `None` when the line is none.
pub(super) fn is_mark(words: &str) -> bool {
    words.strip_prefix(MARK).is_some_and(|mark| !mark.is_empty() && !mark.contains(char::is_whitespace))
}

fn compose(message: &Message, directory: &Directory, mark: Option<&str>) -> Composed {
    let rendered = render_as(message, &LIMITS, directory);
    let mut content = lines(&rendered.lines, directory);
    let pings: Vec<String> = rendered.pings.iter().map(|ping| mention(ping, directory)).collect();
    if !pings.is_empty() {
        push_line(&mut content, &pings.join(" "));
    }
    let mark = mark.map(escape::plain).filter(|mark| !mark.is_empty());
    if let (Some(mark), None) = (&mark, &rendered.card) {
        push_line(&mut content, &format!("-# {MARK}{mark}"));
    }
    let embeds: Vec<Value> = rendered.card.iter().map(|card| embed(card, directory, mark.as_deref())).collect();
    let mut body = json!({
        "content": content,
        "embeds": embeds,
        "components": components(&rendered),
        "allowed_mentions": allowed_mentions(&rendered.pings, directory),
    });
    let files: Vec<FilePart> = rendered.files.iter().map(file_part).collect();
    if !files.is_empty() {
        let named = files.iter().enumerate().map(|(n, file)| json!({"id": n, "filename": file.name}));
        set(&mut body, "attachments", named.collect());
    }
    Composed { body, files }
}

/// Exactly whom the message pings. A role that the server does not have pings nobody.
fn allowed_mentions(pings: &[Ping], directory: &Directory) -> Value {
    let mut users = Vec::new();
    let mut roles = Vec::new();
    for ping in pings {
        match ping {
            Ping::Person(person) => users.extend(snowflake(person.as_str()).map(|id| id.to_string())),
            Ping::Role(role) => roles.extend(directory.role_id(role).map(|id| id.to_string())),
        }
    }
    json!({"parse": [], "users": users, "roles": roles, "replied_user": false})
}

fn mention(ping: &Ping, directory: &Directory) -> String {
    let span = match ping {
        Ping::Person(person) => Span::Person(person.clone()),
        Ping::Role(role) => Span::Role(role.clone()),
    };
    markup(&span, false, |role| directory.role_id(role))
}

fn lines(lines: &[Text], directory: &Directory) -> String {
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        write(&mut out, line, directory);
    }
    out.trim_end().to_owned()
}

fn write(out: &mut String, text: &Text, directory: &Directory) {
    // Neighbouring plain text is read by Discord as one, so it is escaped as one.
    let mut plain = String::new();
    let flush = |out: &mut String, plain: &mut String| {
        let at_start = out.is_empty() || out.ends_with('\n');
        out.push_str(&escape::markdown(&std::mem::take(plain), at_start));
    };
    for span in &text.0 {
        if let Span::Text(text) = span {
            plain.push_str(text);
            continue;
        }
        flush(out, &mut plain);
        out.push_str(&markup(span, out.is_empty() || out.ends_with('\n'), |role| directory.role_id(role)));
    }
    flush(out, &mut plain);
}

/// One span in Discord's markup.
fn markup(span: &Span, at_start: bool, role_id: impl Fn(&Role) -> Option<u64>) -> String {
    let bold = |text: &str| match text.trim() {
        "" => text.to_owned(),
        words => format!("**{}**", escape::markdown(words, false)),
    };
    match span {
        Span::Text(text) => escape::markdown(text, at_start),
        Span::Bold(text) => bold(text),
        Span::Code(text) if text.trim().is_empty() => text.clone(),
        Span::Code(text) => escape::code(text),
        Span::Person(person) => match snowflake(person.as_str()) {
            Some(id) => format!("<@{id}>"),
            None => bold(person.local()),
        },
        Span::Role(role) => role_id(role).map_or_else(|| bold(role.as_str()), |id| format!("<@&{id}>")),
        Span::Place(place) => match snowflake(place.as_str()) {
            Some(id) => format!("<#{id}>"),
            None => bold(place.local()),
        },
        Span::Time { at, style } => {
            let style = match style {
                TimeStyle::Relative => 'R',
                TimeStyle::Clock => 't',
                TimeStyle::Full => 'f',
            };
            format!("<t:{}:{style}>", at.timestamp())
        }
        Span::Link { label, url } => link(label, url),
    }
}

/// A masked link. Discord takes none whose words look like an address, and only the web's addresses are links at all.
fn link(label: &str, url: &str) -> String {
    let web = url.starts_with("https://") || url.starts_with("http://");
    let url: String = url.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let url = escape::address(&url).replace('(', "%28").replace(')', "%29").replace('<', "%3C").replace('>', "%3E");
    match (web, label.trim()) {
        (false, _) => escape::markdown(label, false),
        (true, "") => url,
        (true, words) if words.contains("://") => url,
        (true, words) => {
            let words = escape::markdown(words, false).replace('[', "\\[").replace("\\](", "](").replace(']', "\\]");
            format!("[{words}]({url})")
        }
    }
}

fn embed(card: &Card, directory: &Directory, mark: Option<&str>) -> Value {
    let mut embed = Map::new();
    embed.insert("color".to_owned(), json!(colour(card.tone)));
    let title = card.title.replace('\n', " ");
    if !title.is_empty() {
        embed.insert("title".to_owned(), json!(escape::markdown(&title, true)));
    }
    let description = lines(&card.lines, directory);
    if !description.is_empty() {
        embed.insert("description".to_owned(), json!(description));
    }
    let fields = card.fields.iter().map(|field| {
        // Words of nothing but signs that are taken out would leave none, and Discord refuses the whole message for that.
        let seen = |words: String| if words.trim().is_empty() { "·".to_owned() } else { words };
        let name = seen(escape::markdown(&field.name.replace('\n', " "), true));
        let value = seen(lines(std::slice::from_ref(&field.value), directory));
        json!({"name": name, "value": value, "inline": field.inline})
    });
    embed.insert("fields".to_owned(), fields.collect());
    let mark = mark.map(|mark| format!("{MARK}{mark}"));
    let footer: Vec<String> = card.footer.as_deref().map(escape::plain).into_iter().chain(mark).collect();
    if !footer.is_empty() {
        embed.insert("footer".to_owned(), json!({"text": footer.join(" · ")}));
    }
    Value::Object(embed)
}

fn colour(tone: Tone) -> u32 {
    match tone {
        Tone::Bad => 0xD9_2D_20,
        Tone::Warn => 0xF7_90_09,
        Tone::Good => 0x12_B7_6A,
        Tone::Quiet => 0x66_70_85,
    }
}

fn components(rendered: &Rendered) -> Vec<Value> {
    let row = |inner: Vec<Value>| json!({"type": 1, "components": inner});
    let rows = rendered.rows.iter().map(|buttons| row(buttons.iter().map(button).collect()));
    rows.chain(rendered.menu.iter().map(|one| row(vec![menu(one)]))).collect()
}

fn button(button: &Button) -> Value {
    let style = match button.style {
        ButtonStyle::Primary => 1,
        ButtonStyle::Plain => 2,
        ButtonStyle::Success => 3,
        ButtonStyle::Danger => 4,
    };
    json!({"type": 2, "style": style, "label": escape::clean(&button.label), "custom_id": button.action})
}

fn menu(menu: &Menu) -> Value {
    let option = |choice: &Choice| {
        let mut option = json!({"label": escape::clean(&choice.label), "value": choice.value});
        if let Some(hint) = &choice.hint {
            set(&mut option, "description", json!(escape::clean(hint)));
        }
        option
    };
    let options: Vec<Value> = menu.choices.iter().map(option).collect();
    json!({"type": 3, "custom_id": menu.action, "placeholder": escape::clean(&menu.placeholder), "options": options,
        "min_values": 1, "max_values": 1})
}

/// A form, as an interaction's answer carries it. Discord takes no blank label and at most five inputs.
pub fn form(form: &Form) -> Value {
    let inputs = form.inputs.iter().take(FORM_INPUTS_MAX).map(|input| {
        let chars_max = input.chars_max.clamp(1, FORM_VALUE_CHARS_MAX);
        let label = if input.label.trim().is_empty() { &input.name } else { &input.label };
        let mut component = json!({
            "type": 4,
            "custom_id": input.name,
            "label": first_chars(label, FORM_LABEL_CHARS_MAX),
            "style": if input.long { 2 } else { 1 },
            "required": input.required,
            "max_length": chars_max,
        });
        if !input.value.is_empty() {
            set(&mut component, "value", json!(first_units(&input.value, usize::from(chars_max))));
        }
        if !input.hint.trim().is_empty() {
            set(&mut component, "placeholder", json!(first_chars(&input.hint, LIMITS.choice_label)));
        }
        json!({"type": 1, "components": [component]})
    });
    json!({"custom_id": form.action, "title": first_chars(&form.title, FORM_LABEL_CHARS_MAX), "components": inputs.collect::<Vec<_>>()})
}

/// A completion list.
pub fn choices(list: &[Choice]) -> Value {
    let choice = |choice: Choice| json!({"name": choice.label, "value": choice.value});
    json!({"choices": fit_choices(list, &LIMITS).into_iter().map(choice).collect::<Vec<_>>()})
}

/// A thread's or channel's name: one line, neither blank nor too long.
pub(super) fn thread_name(title: &str) -> String {
    const THREAD_NAME_CHARS_MAX: usize = 100;
    let title = escape::plain(title);
    if title.is_empty() { "thread".to_owned() } else { first_chars(&title, THREAD_NAME_CHARS_MAX) }
}

fn file_part(file: &File) -> FilePart {
    FilePart {
        name: file.name.clone(),
        content_type: "text/plain; charset=utf-8".to_owned(),
        bytes: file.text.clone().into_bytes().into(),
    }
}

/// A text's beginning, with "…" when it goes on.
fn first_chars(text: &str, chars_max: usize) -> String {
    let text = escape::clean(text);
    if units(&text) <= chars_max {
        return text;
    }
    format!("{}…", first_units(&text, chars_max.saturating_sub(1)).trim_end())
}

fn first_units(text: &str, units_max: usize) -> String {
    let mut left = units_max;
    text.chars()
        .take_while(|letter| {
            let fits = letter.len_utf16() <= left;
            left = left.saturating_sub(letter.len_utf16());
            fits
        })
        .collect()
}

fn push_line(content: &mut String, line: &str) {
    if !content.is_empty() {
        content.push('\n');
    }
    content.push_str(line);
}

fn set(body: &mut Value, key: &str, value: Value) {
    if let Some(body) = body.as_object_mut() {
        body.insert(key.to_owned(), value);
    }
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The room of a span at worst: at the start of a line, and whether or not its role is known here.
fn weigh(span: &Span) -> usize {
    const MENTION_UNITS_MAX: usize = 24;
    let shown = units(&markup(span, true, |_| None));
    if matches!(span, Span::Role(_)) { shown.max(MENTION_UNITS_MAX) } else { shown }
}

#[cfg(test)]
mod tests;
