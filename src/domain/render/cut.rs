//! Where text is cut: at a word where one is near, never inside a character that is built of several, and always with a note.

use super::{Limits, Span, Text};

/// What was cut so far.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Whether anything was.
    pub(super) happened: bool,
    /// How many characters.
    pub(super) chars: usize,
}

/// Below this room a note would crowd out the words: only "…" stands.
const NOTE_ROOM_MIN: usize = 120;
/// Room kept for "… (1,234,567 more characters in the attached file)", with what a chat may add to show it as it is.
const NOTE_ROOM: usize = 64;
/// How far back a cut looks for the end of a word, in characters.
const WORD_BACK_CHARS_MAX: usize = 24;

/// The lines that fit into `room`, with a note at the end when they are not all.
pub(super) fn cut_lines(lines: &[Text], room: usize, limits: &Limits, cut: &mut Cut) -> Vec<Text> {
    let whole: usize = lines.iter().map(|line| limits.weigh_text(line) + 1).sum::<usize>().saturating_sub(1);
    if whole <= room {
        return lines.to_vec();
    }
    cut.happened = true;
    let with_note = room >= NOTE_ROOM_MIN;
    let mut left = room.saturating_sub(if with_note { NOTE_ROOM } else { limits.weigh_str("…") });
    let mut out: Vec<Text> = Vec::new();
    let mut lost = 0;
    let mut full = false;
    for (n, line) in lines.iter().enumerate() {
        if full {
            lost += line.chars() + 1;
            continue;
        }
        if n > 0 {
            left = left.saturating_sub(1);
        }
        let mut kept = Text::default();
        for span in &line.0 {
            let weight = (limits.weigh)(span);
            if !full && weight <= left {
                left -= weight;
                kept.0.push(span.clone());
                continue;
            }
            let (part, rest_chars) = if full { (None, chars(span)) } else { split(span, left, limits.weigh) };
            full = true;
            lost += rest_chars;
            kept.0.extend(part);
        }
        out.push(kept);
    }
    cut.chars += lost;
    let note = if with_note {
        format!("… ({} more character{} in the attached file)", grouped(lost), if lost == 1 { "" } else { "s" })
    } else {
        "…".to_owned()
    };
    match out.last_mut() {
        Some(last) => last.0.push(Span::Text(note)),
        None => out.push(Text::plain(note)),
    }
    out
}

/// Plain text that fits, with "…" at its end when it had to be cut.
pub(super) fn cut_plain(text: &str, room: usize, limits: &Limits) -> String {
    if (limits.weigh_plain)(text) <= room {
        return text.to_owned();
    }
    let left = room.saturating_sub((limits.weigh_plain)("…"));
    let end = longest(text, |part| (limits.weigh_plain)(part) <= left);
    format!("{}…", text.get(..end).unwrap_or_default().trim_end())
}

/// 1204 as "1,204".
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The part of a span that fits, and how many of its characters do not. Names, times and links are never split.
fn split(span: &Span, room: usize, weigh: fn(&Span) -> usize) -> (Option<Span>, usize) {
    let (text, make): (&str, fn(String) -> Span) = match span {
        Span::Text(text) => (text, Span::Text),
        Span::Bold(text) => (text, Span::Bold),
        Span::Code(text) => (text, Span::Code),
        other => return (None, chars(other)),
    };
    let end = longest(text, |part| weigh(&make(part.to_owned())) <= room);
    let (kept, rest) = text.split_at(end);
    let kept = kept.trim_end();
    ((!kept.is_empty()).then(|| make(kept.to_owned())), rest.chars().count())
}

fn chars(span: &Span) -> usize {
    Text(vec![span.clone()]).chars()
}

/// The byte length of the longest beginning that fits, moved back to a place where a reader would cut.
fn longest(text: &str, fits: impl Fn(&str) -> bool) -> usize {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let part = |n: usize| ends.get(n).and_then(|&end| text.get(..end)).unwrap_or_default();
    // What fits is nearly a prefix property: escapes at the edge can cost one or two units, so step back after the search.
    let mut n = ends.partition_point(|&end| fits(text.get(..end).unwrap_or_default())).saturating_sub(1);
    while n > 0 && !fits(part(n)) {
        n -= 1;
    }
    while n > 0 && joins(part(n), text) {
        n -= 1;
    }
    let kept = part(n);
    if kept.len() == text.len() {
        return kept.len();
    }
    let word_end = kept.char_indices().rev().take(WORD_BACK_CHARS_MAX).find(|(_, letter)| letter.is_whitespace());
    match word_end {
        Some((at, _)) if at > 0 => at,
        _ => kept.len(),
    }
}

/// Whether the character after `kept` belongs to the one before it: accents, emoji built of several, flags' second halves are
/// left to the reader's font.
fn joins(kept: &str, text: &str) -> bool {
    const JOINER: char = '\u{200d}';
    let next = text.get(kept.len()..).and_then(|rest| rest.chars().next());
    let extends = |letter: char| {
        matches!(letter, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | JOINER | '\u{20d0}'..='\u{20ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0100}'..='\u{e01ef}')
    };
    kept.ends_with(JOINER) || next.is_some_and(extends)
}
