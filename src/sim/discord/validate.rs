//! What Discord refuses in a message, a form and a list of completions: lengths, counts, doubles.
//!
//! Limits: Discord's documents on messages, components and interactions; where its OpenAPI document says otherwise
//! (content 4000), the documents hold. Lengths are counted in characters.

use std::collections::BTreeSet;

use serde_json::Value;

use super::message::{COMPONENTS_V2, EPHEMERAL, SILENT, SUPPRESS_EMBEDS};
use super::refusal::Form;

/// Characters of a message.
pub const CONTENT_CHARS_MAX: usize = 2000;
/// Embeds of a message.
pub const EMBEDS_MAX: usize = 10;
/// Characters over all embeds of a message.
pub const EMBED_CHARS_MAX: usize = 6000;
/// Rows of components.
pub const ROWS_MAX: usize = 5;
/// Buttons in a row.
pub const BUTTONS_IN_ROW_MAX: usize = 5;
/// Options of a menu.
pub const OPTIONS_MAX: usize = 25;
/// Completions of an option.
pub const CHOICES_MAX: usize = 25;
/// Characters of a nonce.
pub const NONCE_CHARS_MAX: usize = 25;
/// Attachments of a message.
pub const ATTACHMENTS_MAX: usize = 10;
/// Components of a message, nested ones counted, with `IS_COMPONENTS_V2`.
pub const COMPONENTS_V2_MAX: usize = 40;

const MESSAGE_FIELDS: &[&str] = &[
    "content",
    "embeds",
    "allowed_mentions",
    "sticker_ids",
    "components",
    "flags",
    "attachments",
    "poll",
    "shared_client_theme",
    "message_reference",
    "nonce",
    "enforce_nonce",
    "tts",
    "embed",
    "thread_name",
    "applied_tags",
    "username",
    "avatar_url",
    "payload_json",
    "files",
];
const EMBED_FIELDS: &[&str] = &[
    "type",
    "url",
    "title",
    "color",
    "timestamp",
    "description",
    "author",
    "image",
    "thumbnail",
    "footer",
    "fields",
    "provider",
    "video",
];
const BUTTON_FIELDS: &[&str] = &["type", "id", "custom_id", "style", "label", "disabled", "url", "sku_id", "emoji"];
const SELECT_FIELDS: &[&str] = &[
    "type",
    "id",
    "custom_id",
    "placeholder",
    "min_values",
    "max_values",
    "disabled",
    "required",
    "options",
    "channel_types",
    "default_values",
];
const INPUT_FIELDS: &[&str] =
    &["type", "id", "custom_id", "style", "label", "value", "placeholder", "required", "min_length", "max_length"];

/// Where a message is made; what may be in it differs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `POST /channels/{id}/messages` and edits of such.
    Channel,
    /// An answer to an interaction.
    Answer,
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// Checks all that a message may hold. `prefix` is where it stands in the body.
pub fn message(form: &mut Form, body: &Value, prefix: &str, place: Place) {
    form.spelling(body, prefix, MESSAGE_FIELDS);
    form.text(body, "content", &join(prefix, "content"), 0, CONTENT_CHARS_MAX);
    let flags = form.number(body, "flags", &join(prefix, "flags"), 0, i64::MAX).unwrap_or_default() as u64;
    let settable = SUPPRESS_EMBEDS | SILENT | COMPONENTS_V2 | if place == Place::Answer { EPHEMERAL } else { 0 };
    if flags & !settable != 0 {
        // Undocumented: which answer a flag gets that cannot be set. Passing over EPHEMERAL would show to all what was
        // meant for one, so it is refused.
        form.fault(&join(prefix, "flags"), "MESSAGE_FLAGS_INVALID", "These message flags cannot be set here.");
    }
    if let Some(tts) = body.get("tts").filter(|tts| !tts.is_null())
        && !tts.is_boolean()
    {
        form.fault(&join(prefix, "tts"), "BOOLEAN_TYPE_CONVERT", "Must be either true or false.");
    }
    embeds(form, body, prefix);
    let v2 = flags & COMPONENTS_V2 != 0;
    components(form, body, prefix, v2);
    if v2 && (body["content"].as_str().is_some_and(|text| !text.is_empty()) || has_items(&body["embeds"])) {
        let words = "The 'content' and 'embeds' fields cannot be used when using MessageFlags.IS_COMPONENTS_V2";
        form.fault(&join(prefix, "flags"), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", words);
    }
    allowed_mentions(form, &body["allowed_mentions"], &join(prefix, "allowed_mentions"));
    if !(body["nonce"].is_i64() || body["nonce"].is_u64()) {
        form.text(body, "nonce", &join(prefix, "nonce"), 0, NONCE_CHARS_MAX);
    }
    let path = join(prefix, "attachments");
    for (index, one) in form.list(body, "attachments", &path, 0, ATTACHMENTS_MAX).into_iter().flatten().enumerate() {
        form.text(one, "description", &format!("{path}.{index}.description"), 0, 1024);
        if one.get("id").is_none() {
            form.required(&format!("{path}.{index}.id"));
        }
    }
}

fn has_items(list: &Value) -> bool {
    list.as_array().is_some_and(|list| !list.is_empty())
}

fn embeds(form: &mut Form, body: &Value, prefix: &str) {
    let path = join(prefix, "embeds");
    let mut total = 0;
    let mut length = |text: Option<&str>| total += text.map_or(0, |text| text.chars().count());
    let list = form.list(body, "embeds", &path, 0, EMBEDS_MAX);
    for (index, embed) in list.into_iter().flatten().enumerate() {
        let at = |key: &str| format!("{path}.{index}.{key}");
        if !embed.is_object() {
            form.fault(
                &format!("{path}.{index}"),
                "MODEL_TYPE_CONVERT",
                "Only dictionaries may be used in a ModelType",
            );
            continue;
        }
        form.spelling(embed, &format!("{path}.{index}"), EMBED_FIELDS);
        length(form.text(embed, "title", &at("title"), 0, 256));
        length(form.text(embed, "description", &at("description"), 0, 4096));
        form.number(embed, "color", &at("color"), 0, 0xff_ffff);
        let fields = form.list(embed, "fields", &at("fields"), 0, 25);
        for (field_index, field) in fields.into_iter().flatten().enumerate() {
            let at = |key: &str| format!("{path}.{index}.fields.{field_index}.{key}");
            length(form.required_text(field, "name", &at("name"), 1, 256));
            length(form.required_text(field, "value", &at("value"), 1, 1024));
        }
        length(form.text(&embed["footer"], "text", &at("footer.text"), 0, 2048));
        length(form.text(&embed["author"], "name", &at("author.name"), 0, 256));
        if let Some(time) = form.text(embed, "timestamp", &at("timestamp"), 0, 100)
            && chrono::DateTime::parse_from_rfc3339(time).is_err()
        {
            form.fault(&at("timestamp"), "DATETIME_TYPE_PARSE", "Could not parse. Should be ISO8601.");
        }
        for (value, key) in [
            (&embed["url"], "url"),
            (&embed["image"]["url"], "image.url"),
            (&embed["thumbnail"]["url"], "thumbnail.url"),
            (&embed["author"]["url"], "author.url"),
            (&embed["author"]["icon_url"], "author.icon_url"),
            (&embed["footer"]["icon_url"], "footer.icon_url"),
        ] {
            if let Some(url) = value.as_str() {
                url_scheme(form, url, &at(key), key != "url" && key != "author.url");
            }
        }
    }
    if total > EMBED_CHARS_MAX {
        let words = format!("Embed size exceeds maximum size of {EMBED_CHARS_MAX}");
        form.fault(&path, "MAX_EMBED_SIZE_EXCEEDED", words);
    }
}

fn url_scheme(form: &mut Form, url: &str, path: &str, attachment: bool) {
    let known = url.starts_with("http://") || url.starts_with("https://");
    if !(known || attachment && url.starts_with("attachment://")) {
        let schemes = if attachment { "('http', 'https', 'attachment')" } else { "('http', 'https')" };
        let scheme = url.split(':').next().unwrap_or_default();
        let words = format!("Scheme \"{scheme}\" is not supported. Scheme must be one of {schemes}.");
        form.fault(path, "URL_TYPE_INVALID_SCHEME", words);
    }
}

fn allowed_mentions(form: &mut Form, allowed: &Value, path: &str) {
    if allowed.is_null() {
        return;
    }
    form.spelling(allowed, path, &["parse", "users", "roles", "replied_user"]);
    let parse_path = format!("{path}.parse");
    let parse = form.list(allowed, "parse", &parse_path, 0, 1000).cloned().unwrap_or_default();
    for (index, one) in parse.iter().enumerate() {
        if !matches!(one.as_str(), Some("users" | "roles" | "everyone")) {
            let words = "Value must be one of ('roles', 'users', 'everyone').";
            form.fault(&format!("{parse_path}.{index}"), "BASE_TYPE_CHOICES", words);
        }
    }
    for kind in ["users", "roles"] {
        let named = form.list(allowed, kind, &format!("{path}.{kind}"), 0, 100);
        if named.is_some_and(|list| !list.is_empty()) && parse.iter().any(|one| one == kind) {
            let words = format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive.");
            form.fault(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", words);
        }
    }
}

fn components(form: &mut Form, body: &Value, prefix: &str, v2: bool) {
    let path = join(prefix, "components");
    let rows_max = if v2 { COMPONENTS_V2_MAX } else { ROWS_MAX };
    let mut seen = BTreeSet::new();
    let mut count = 0;
    let rows = form.list(body, "components", &path, 0, rows_max);
    for (index, row) in rows.into_iter().flatten().enumerate() {
        let row_path = format!("{path}.{index}");
        if v2 {
            component_v2(form, row, &row_path, &mut seen, &mut count);
        } else if row["type"] != 1 {
            form.fault(&format!("{row_path}.type"), "BASE_TYPE_CHOICES", "Value must be one of {1}.");
        } else {
            action_row(form, row, &row_path, &mut seen);
        }
    }
    if count > COMPONENTS_V2_MAX {
        let words = format!("The total number of components is over the maximum of {COMPONENTS_V2_MAX}.");
        form.fault(&path, "COMPONENT_MAX_TOTAL_COMPONENTS", words);
    }
}

/// The newer layout: rows are checked as before wherever they stand, the rest is only counted.
fn component_v2(form: &mut Form, one: &Value, path: &str, seen: &mut BTreeSet<String>, count: &mut usize) {
    *count += 1;
    match one["type"].as_u64() {
        Some(1) => {
            *count += one["components"].as_array().map_or(0, Vec::len);
            action_row(form, one, path, seen);
        }
        Some(9 | 17) => {
            let inner = one["components"].as_array().into_iter().flatten();
            for (index, inner) in inner.enumerate().take(COMPONENTS_V2_MAX + 1) {
                component_v2(form, inner, &format!("{path}.components.{index}"), seen, count);
            }
            if one["accessory"]["type"] == 2 {
                *count += 1;
                button(form, &one["accessory"], &format!("{path}.accessory"), seen);
            }
        }
        Some(10..=14) => {}
        _ => {
            form.fault(&format!("{path}.type"), "BASE_TYPE_CHOICES", "Value must be one of {1, 9, 10, 12, 13, 14, 17}.")
        }
    }
}

fn action_row(form: &mut Form, row: &Value, path: &str, seen: &mut BTreeSet<String>) {
    let inner_path = format!("{path}.components");
    let Some(inner) = form.list(row, "components", &inner_path, 1, BUTTONS_IN_ROW_MAX) else {
        if row.get("components").is_none_or(Value::is_null) {
            form.required(&inner_path);
        }
        return;
    };
    let menus = inner.iter().filter(|one| matches!(one["type"].as_u64(), Some(3 | 5..=8))).count();
    if menus > 0 && inner.len() > 1 {
        let words = "The width of the components in this row is over the maximum of 5.";
        form.fault(&inner_path, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", words);
    }
    for (index, one) in inner.iter().enumerate() {
        let path = format!("{inner_path}.{index}");
        match one["type"].as_u64() {
            Some(2) => button(form, one, &path, seen),
            Some(3 | 5..=8) => select(form, one, &path, seen),
            _ => {
                form.fault(&format!("{path}.type"), "BASE_TYPE_CHOICES", "Value must be one of {2, 3, 5, 6, 7, 8}.");
            }
        }
    }
}

fn custom_id(form: &mut Form, one: &Value, path: &str, seen: &mut BTreeSet<String>) {
    let path = format!("{path}.custom_id");
    if let Some(id) = form.required_text(one, "custom_id", &path, 1, 100)
        && !seen.insert(id.to_owned())
    {
        form.fault(&path, "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated");
    }
}

fn button(form: &mut Form, one: &Value, path: &str, seen: &mut BTreeSet<String>) {
    form.spelling(one, path, BUTTON_FIELDS);
    form.text(one, "label", &format!("{path}.label"), 0, 80);
    let has_url = one.get("url").is_some_and(|url| !url.is_null());
    match one["style"].as_u64() {
        Some(1..=4) => {
            custom_id(form, one, path, seen);
            if has_url {
                let words = "A custom id and url cannot both be specified";
                form.fault(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", words);
            }
            let labelled = one["label"].as_str().is_some_and(|label| !label.is_empty()) || one["emoji"].is_object();
            if !labelled {
                let words = "A button must have a label or an emoji.";
                form.fault(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", words);
            }
        }
        Some(5) => {
            if let Some(url) = form.required_text(one, "url", &format!("{path}.url"), 1, 512) {
                url_scheme(form, url, &format!("{path}.url"), false);
            }
            if one.get("custom_id").is_some_and(|id| !id.is_null()) {
                let words = "A custom id and url cannot both be specified";
                form.fault(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", words);
            }
        }
        Some(6) => {}
        _ => form.fault(&format!("{path}.style"), "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}."),
    }
}

fn select(form: &mut Form, one: &Value, path: &str, seen: &mut BTreeSet<String>) {
    form.spelling(one, path, SELECT_FIELDS);
    custom_id(form, one, path, seen);
    form.text(one, "placeholder", &format!("{path}.placeholder"), 0, 150);
    let least = form.number(one, "min_values", &format!("{path}.min_values"), 0, 25).unwrap_or(1);
    let most = form.number(one, "max_values", &format!("{path}.max_values"), 1, 25).unwrap_or(1);
    if least > most {
        form.fault(&format!("{path}.min_values"), "SELECT_COMPONENT_MIN_OVER_MAX", "min_values is over max_values.");
    }
    if one["type"] != 3 {
        return;
    }
    let options_path = format!("{path}.options");
    let Some(options) = form.list(one, "options", &options_path, 1, OPTIONS_MAX) else {
        if one.get("options").is_none_or(Value::is_null) {
            form.required(&options_path);
        }
        return;
    };
    let mut values = BTreeSet::new();
    let mut chosen = 0;
    for (index, option) in options.iter().enumerate() {
        let at = |key: &str| format!("{options_path}.{index}.{key}");
        form.required_text(option, "label", &at("label"), 1, 100);
        form.text(option, "description", &at("description"), 0, 100);
        if let Some(value) = form.required_text(option, "value", &at("value"), 1, 100)
            && !values.insert(value.to_owned())
        {
            let words = "The specified option value is already used";
            form.fault(&at("value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", words);
        }
        chosen += i64::from(option["default"] == true);
    }
    if chosen > most {
        let words = "There are more default options than max_values allows.";
        form.fault(&options_path, "SELECT_COMPONENT_TOO_MANY_DEFAULTS", words);
    }
}

/// A form (callback type 9).
pub fn modal(form: &mut Form, data: &Value) {
    form.spelling(data, "data", &["custom_id", "title", "components"]);
    form.required_text(data, "custom_id", "data.custom_id", 1, 100);
    form.required_text(data, "title", "data.title", 1, 45);
    let Some(rows) = form.list(data, "components", "data.components", 1, 5) else {
        if data.get("components").is_none_or(Value::is_null) {
            form.required("data.components");
        }
        return;
    };
    let mut seen = BTreeSet::new();
    for (index, row) in rows.iter().enumerate() {
        let path = format!("data.components.{index}");
        match row["type"].as_u64() {
            Some(1) => {
                let inner_path = format!("{path}.components");
                let inner = form.list(row, "components", &inner_path, 1, 1).cloned().unwrap_or_default();
                for (index, one) in inner.iter().enumerate() {
                    text_input(form, one, &format!("{inner_path}.{index}"), &mut seen);
                    form.required_text(one, "label", &format!("{inner_path}.{index}.label"), 1, 45);
                }
            }
            Some(18) => {
                form.required_text(row, "label", &format!("{path}.label"), 1, 45);
                form.text(row, "description", &format!("{path}.description"), 0, 100);
                let inner_path = format!("{path}.component");
                match row["component"]["type"].as_u64() {
                    Some(4) => text_input(form, &row["component"], &inner_path, &mut seen),
                    Some(3 | 5..=8) => select(form, &row["component"], &inner_path, &mut seen),
                    _ => form.fault(&inner_path, "BASE_TYPE_CHOICES", "Value must be one of {3, 4, 5, 6, 7, 8}."),
                }
            }
            Some(10) => {}
            _ => form.fault(&format!("{path}.type"), "BASE_TYPE_CHOICES", "Value must be one of {1, 10, 18}."),
        }
    }
}

fn text_input(form: &mut Form, one: &Value, path: &str, seen: &mut BTreeSet<String>) {
    if one["type"] != 4 {
        form.fault(&format!("{path}.type"), "BASE_TYPE_CHOICES", "Value must be one of {4}.");
        return;
    }
    form.spelling(one, path, INPUT_FIELDS);
    custom_id(form, one, path, seen);
    if form.number(one, "style", &format!("{path}.style"), 1, 2).is_none() && one["style"].is_null() {
        form.required(&format!("{path}.style"));
    }
    form.number(one, "min_length", &format!("{path}.min_length"), 0, 4000);
    let most = form.number(one, "max_length", &format!("{path}.max_length"), 1, 4000).unwrap_or(4000);
    form.text(one, "value", &format!("{path}.value"), 0, most.clamp(1, 4000) as usize);
    form.text(one, "placeholder", &format!("{path}.placeholder"), 0, 100);
}

/// Completions (callback type 8).
pub fn choices(form: &mut Form, data: &Value, option_type: u64) {
    let path = "data.choices";
    let Some(list) = form.list(data, "choices", path, 0, CHOICES_MAX) else {
        if data.get("choices").is_none_or(Value::is_null) {
            form.required(path);
        }
        return;
    };
    for (index, choice) in list.iter().enumerate() {
        form.required_text(choice, "name", &format!("{path}.{index}.name"), 1, 100);
        let value_path = format!("{path}.{index}.value");
        match option_type {
            4 | 10 if choice["value"].is_number() => {}
            4 | 10 => {
                form.fault(&value_path, "NUMBER_TYPE_COERCE", "Value could not be coerced to a number.");
            }
            _ => {
                form.required_text(choice, "value", &value_path, 1, 100);
            }
        }
    }
}

/// Whether a message with these parts says anything.
pub fn says_something(content: &str, embeds: &[Value], components: &[Value], files: usize) -> bool {
    !content.trim().is_empty() || !embeds.is_empty() || !components.is_empty() || files > 0
}
