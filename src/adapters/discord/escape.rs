//! Text from anywhere, shown on Discord as it is: no markup, no mention, nothing that turns the line around.
//!
//! A backslash where Discord's markdown would read a sign, an invisible character where it would read a mention, isolation for
//! words that are written from right to left. As little as possible: a lock screen shows every backslash. Addresses stay whole: what
//! would be read as more than a part of one is written with percent signs, which lead to the same place.
//! Discord documents its markdown for people only; the rules here follow what its clients do.

/// Stands between the signs of what would be a mention: shown as nothing, and no client reads through it.
pub(super) const ZERO_WIDTH: char = '\u{200b}';
/// Keeps words of another direction from moving their neighbours (Unicode TR 9: first strong isolate … pop).
pub(super) const ISOLATE: char = '\u{2068}';
/// Ends an isolate.
pub(super) const POP: char = '\u{2069}';

/// The text with everything taken out that no reader sees and that could move or hide its neighbours.
pub(super) fn clean(text: &str) -> String {
    let harmful = |letter: char| {
        (letter.is_control() && letter != '\n' && letter != '\t')
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(|letter| !harmful(*letter)).collect()
}

/// Text where markdown is read. `line_start` says whether it stands at the beginning of a line.
pub(super) fn markdown(text: &str, line_start: bool) -> String {
    let text = isolate(&clean(text));
    let mut out = String::with_capacity(text.len() + 8);
    let mut before: Option<char> = if line_start { Some('\n') } else { None };
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        if let Some((address, after)) = split_address(rest) {
            out.push_str(&self::address(address));
            before = address.chars().last();
            rest = after;
            continue;
        }
        let after = &rest[letter.len_utf8()..];
        let next = after.chars().next();
        let at_start = before == Some('\n');
        match letter {
            '<' if opens_mention(after) => out.extend(['<', ZERO_WIDTH]),
            '@' if after.starts_with("everyone") || after.starts_with("here") => out.extend(['@', ZERO_WIDTH]),
            _ => {
                if reads_as_markup(letter, before, next, at_start) {
                    out.push('\\');
                }
                out.push(letter);
            }
        }
        // Spaces before a list or a quote do not keep it from being one.
        let indent = at_start && letter == ' ';
        before = if indent { Some('\n') } else { Some(letter) };
        rest = after;
    }
    out
}

/// The address that a text begins with, and what follows it; none when it begins with none. No markdown is read within one, and a
/// backslash there would be a part of it: it ends where Discord's clients end it, and not before a sign that has to be escaped.
pub(super) fn split_address(text: &str) -> Option<(&str, &str)> {
    let is_one = text.starts_with("https://") || text.starts_with("http://");
    let end = || text.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(text.len());
    is_one.then(|| text.split_at(end()))
}

/// An address that is a link and nothing else: no mention of everyone, no half of a spoiler, no end of a masked link's words, of
/// bold ones or of code.
pub(super) fn address(address: &str) -> String {
    let address = address.replace("@everyone", "%40everyone").replace("@here", "%40here");
    address.replace('|', "%7C").replace("](", "%5D(").replace("**", "%2A%2A").replace('`', "%60")
}

/// Text where no markdown is read, but mentions could be: none are left.
pub(super) fn plain(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ").trim().to_owned()
}

/// Fixed-width text, fenced so that whatever stands in it stays in it.
pub(super) fn code(text: &str) -> String {
    let text = clean(text);
    if text.contains('\n') {
        let inner = text.replace("```", "`\u{200b}`\u{200b}`");
        return format!("```\n{}\n```", inner.trim_matches('\n'));
    }
    if !text.contains('`') {
        return format!("`{text}`");
    }
    format!("`` {} ``", text.replace("``", "`\u{200b}`"))
}

fn reads_as_markup(letter: char, before: Option<char>, next: Option<char>, at_start: bool) -> bool {
    let space = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let alphanumeric = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match letter {
        '\\' => next.is_none_or(|c| c.is_ascii_punctuation()),
        '`' => true,
        '*' => at_start || !(before.is_some() && space(before) && next.is_some() && space(next)),
        // In the middle of a word one underscore is only a letter: service names are full of them.
        '_' => !(alphanumeric(before) && alphanumeric(next)),
        '~' | '|' => before == Some(letter) || next == Some(letter) || next.is_none(),
        '>' => at_start && (space(next) || next == Some('>')),
        '#' => at_start && (space(next) || next == Some('#')),
        '-' => at_start && (space(next) || next == Some('#')),
        ']' => next == Some('('),
        _ => false,
    }
}

/// Whether what follows a `<` would make a mention, a time, an emoji, a command or a link to a part of the server of it.
fn opens_mention(after: &str) -> bool {
    ["@", "#", "t:", ":", "a:", "/", "id:", "sound:"].iter().any(|start| after.starts_with(start))
}

/// Puts each run of words that are written from right to left into an isolate.
fn isolate(text: &str) -> String {
    if !text.chars().any(is_right_to_left) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 12);
    let mut rest = text;
    while let Some(start) = rest.find(is_right_to_left) {
        let (before, run) = rest.split_at(start);
        let stop = run.find(|c: char| c == '\n' || (c.is_alphanumeric() && !is_right_to_left(c))).unwrap_or(run.len());
        let end =
            run[..stop].char_indices().rev().find(|(_, c)| is_right_to_left(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        let (run, after) = run.split_at(end);
        out.push_str(before);
        out.push(ISOLATE);
        out.push_str(run);
        out.push(POP);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Hebrew, Arabic, Syriac, Thaana, N'Ko and their presentation forms.
fn is_right_to_left(letter: char) -> bool {
    matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' | '\u{10800}'..='\u{10fff}'
        | '\u{1e800}'..='\u{1efff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_as_it_was_typed() {
        for (typed, sent) in [
            ("**bold** and _so_", r"\*\*bold\*\* and \_so\_"),
            ("hotdash_agent_service", "hotdash_agent_service"),
            ("a__b__c", r"a\_\_b\_\_c"),
            ("2 * 3 = 6", "2 * 3 = 6"),
            ("~5 min, ~~gone~~", r"~5 min, \~\~gone\~\~"),
            ("a | b ||hidden||", r"a | b \|\|hidden\|\|"),
            ("`rm -rf`", r"\`rm -rf\`"),
            ("[click](https://evil.example)", r"[click\](https://evil.example)"),
            (r"C:\temp \*", r"C:\temp \\\*"),
            ("SEV-1 INC-7 - down", "SEV-1 INC-7 - down"),
            ("see https://a.example/x_y_*z* now", "see https://a.example/x_y_*z* now"),
        ] {
            assert_eq!(markdown(typed, false), sent, "{typed}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_line_can_be_a_heading_a_list_or_a_quote() {
        for (typed, sent) in [
            ("# big", r"\# big"),
            ("- item", r"\- item"),
            ("> said", r"\> said"),
            ("-# small", r"\-# small"),
            ("#7", "#7"),
        ] {
            assert_eq!(markdown(typed, true), sent);
        }
        assert_eq!(markdown("x\n  # big", false), "x\n  \\# big");
        assert_eq!(markdown("a > b # c", false), "a > b # c");
    }

    #[test]
    fn nothing_typed_is_a_mention() {
        for typed in ["@everyone", "@here", "<@123>", "<@&5>", "<#9>", "<t:0:R>", "<:x:1>", "</sev1:2>"] {
            let sent = markdown(typed, true);
            assert!(sent.contains(ZERO_WIDTH), "{sent}");
            assert_eq!(sent.replace(ZERO_WIDTH, ""), typed);
        }
        assert_eq!(markdown("a <b> @ana a@b.example", true), "a <b> @ana a@b.example");
    }

    #[test]
    fn an_address_is_a_link_and_nothing_else() {
        for (typed, sent) in [
            ("https://x/@everyone now", "https://x/%40everyone now"),
            ("https://x/@here", "https://x/%40here"),
            ("https://a||x https://b||", "https://a%7C%7Cx https://b%7C%7C"),
            ("||https://a|", r"\|\|https://a%7C"),
            ("[x https://a](https://b)", "[x https://a%5D(https://b)"),
            ("https://m.example/@ana/1?a=[1]", "https://m.example/@ana/1?a=[1]"),
        ] {
            assert_eq!(markdown(typed, true), sent, "{typed}");
        }
    }

    #[test]
    fn words_from_right_to_left_leave_their_neighbours_where_they_are() {
        assert_eq!(markdown("lead דנה כהן (INC-7)", false), "lead \u{2068}דנה כהן\u{2069} (INC-7)");
        assert_eq!(markdown("abc\u{202e}fed", false), "abcfed");
    }

    #[test]
    fn code_cannot_end_early() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b"), "`` a`b ``");
        assert!(!code("x\n```\n@everyone").trim_start_matches("```\n").trim_end_matches("\n```").contains("```"));
    }
}
