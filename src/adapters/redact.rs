//! Secrets taken out of what a neighbour says, before anything of it is cut, shown, logged or written down.
//!
//! A neighbour that refuses a call may quote what it was sent: the whole of a token, a part of it, or its beginning because it
//! cuts what it quotes. So everything from eight characters on that a secret begins with is taken out, wherever it stands.
//! Whoever cuts the text must do so afterwards: half a token is still most of one.

use reqwest::Url;

/// What stands where a secret stood.
const TAKEN_OUT: char = '…';
/// So many characters of a secret's beginning are as good as the secret.
const BEGINNING_CHARS: usize = 8;
/// A secret with fewer characters than this is taken out only where it stands as a word of its own, or every word suffers.
const INSIDE_WORDS_CHARS_MIN: usize = 6;
/// Nothing shorter is a secret.
const SECRET_CHARS_MIN: usize = 3;

/// The text without any of the secrets.
pub(super) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut forms: Vec<String> = secrets.into_iter().flat_map(forms).collect();
    forms.sort_unstable();
    forms.dedup();
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        // The longest of all: two secrets may begin alike.
        match forms.iter().map(|secret| shown(rest, secret, before)).max().filter(|bytes| *bytes > 0) {
            Some(bytes) => {
                if !out.ends_with(TAKEN_OUT) {
                    out.push(TAKEN_OUT);
                }
                before = Some(TAKEN_OUT);
                rest = rest.get(bytes..).unwrap_or_default();
            }
            None => {
                out.push(letter);
                before = Some(letter);
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}

/// The text without what its own words call a secret: `token=`, `password:` and their like, a password in an address, what
/// follows `Bearer`, and what begins as a token does. For what a program wrote, whose secrets nobody here knows.
pub(super) fn named(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut next_is_secret = false;
    for word in text.split(' ') {
        let bare = word.trim_matches(QUOTES);
        let is_secret = std::mem::take(&mut next_is_secret) && !bare.is_empty();
        let scheme = bare.trim_end_matches([':', '=']);
        next_is_secret = SCHEMES.iter().any(|one| scheme.eq_ignore_ascii_case(one))
            || (bare.ends_with([':', '=']) && is_name_of_one(bare))
            // Quotes, or a sign alone, between the name and the value.
            || (is_secret && matches!(bare, ":" | "="));
        match is_secret && !next_is_secret {
            true => out.push(TAKEN_OUT.to_string()),
            false => out.push(valued(&without_login(word))),
        }
    }
    out.join(" ")
}

/// What stands around a name or a value.
const QUOTES: [char; 8] = ['"', '\'', '`', ',', ';', '(', ')', '\\'];
/// Words before a secret.
const SCHEMES: [&str; 4] = ["bearer", "flyv1", "basic", "password"];
/// How names of secrets end.
const NAMES: [&str; 8] = ["token", "password", "passwd", "pwd", "secret", "key", "credentials", "passphrase"];
/// How tokens begin that are known by their looks.
const BEGINNINGS: [&str; 8] = ["fm1_", "fm1r_", "fm2_", "fo1_", "ghp_", "github_pat_", "xoxb-", "sk_live_"];

fn is_name_of_one(name: &str) -> bool {
    let name = name.trim_end_matches([':', '=']).trim_matches(QUOTES).to_ascii_lowercase();
    NAMES.iter().any(|end| name.ends_with(end))
}

/// An address without who logs in with what.
fn without_login(word: &str) -> String {
    let Some((before, rest)) = word.split_once("://") else { return word.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password may hold a slash that nobody escaped.
    match (host.rsplit_once('@'), rest.rsplit_once('@')) {
        (Some((_, host)), _) => format!("{before}://{TAKEN_OUT}@{host}{path}"),
        (None, Some((login, rest))) if login.contains(':') => format!("{before}://{TAKEN_OUT}@{rest}"),
        _ => word.to_owned(),
    }
}

/// A word without the values that its own names call secret.
fn valued(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(['&', '?', ';', ',', '{', '}', '|']).map_or(rest.len(), |at| at + 1);
        let (part, after) = rest.split_at(end);
        let split = part.find(['=', ':']).map(|at| part.split_at(at + 1));
        let begins = |text: &str| BEGINNINGS.iter().any(|one| text.trim_start_matches(QUOTES).starts_with(one));
        match split {
            Some((name, value)) if is_name_of_one(name) && !value.trim_matches(QUOTES).is_empty() => {
                out.push_str(name);
                out.push(TAKEN_OUT);
                out.extend(part.chars().last().filter(|last| "&;,}|".contains(*last)));
            }
            Some((name, value)) if begins(value) => {
                out.push_str(name);
                out.push(TAKEN_OUT);
            }
            _ if begins(part) => out.push(TAKEN_OUT),
            _ => out.push_str(part),
        }
        rest = after;
    }
    out
}

/// What of an address is as good as a password: all but the scheme and the host.
pub(super) fn in_address(url: &str) -> Vec<String> {
    let Ok(address) = Url::parse(url) else { return vec![url.to_owned()] };
    let mut parts = in_query(&address);
    parts.extend(address.path_segments().into_iter().flatten().map(str::to_owned));
    parts
}

/// The same without the path, where the path only says what is asked.
pub(super) fn in_address_but_path(url: &str) -> Vec<String> {
    Url::parse(url).map_or_else(|_| vec![url.to_owned()], |address| in_query(&address))
}

fn in_query(address: &Url) -> Vec<String> {
    let mut parts = vec![address.username().to_owned()];
    parts.extend(address.password().map(str::to_owned));
    parts.extend(address.fragment().map(str::to_owned));
    for pair in address.query().into_iter().flat_map(|query| query.split('&')) {
        // `?token` alone is a value too.
        parts.push(pair.split_once('=').map_or(pair, |(_, value)| value).to_owned());
    }
    parts.extend(address.query_pairs().map(|(_, value)| value.into_owned()));
    parts
}

/// A secret as it may come back: whole, without its scheme, each of several joined by commas, and as JSON writes it.
fn forms(secret: &str) -> Vec<String> {
    let whole = secret.trim();
    let parts = whole.split(|c: char| c.is_whitespace() || c == ',').filter(|part| part.len() >= BEGINNING_CHARS);
    let mut forms: Vec<String> = std::iter::once(whole).chain(parts).map(str::to_owned).collect();
    for index in 0..forms.len() {
        let escaped = forms[index].replace('\\', "\\\\").replace('"', "\\\"");
        forms.push(escaped.replace('/', "\\/"));
        forms.push(escaped);
    }
    forms.retain(|form| form.chars().count() >= SECRET_CHARS_MIN);
    forms
}

/// How many bytes of `rest` show the secret, or enough of its beginning; 0 when it does not stand there.
fn shown(rest: &str, secret: &str, before: Option<char>) -> usize {
    let alike = rest.chars().zip(secret.chars()).take_while(|(a, b)| a == b);
    let (chars, bytes) = alike.fold((0, 0), |(chars, bytes), (letter, _)| (chars + 1, bytes + letter.len_utf8()));
    let whole = bytes == secret.len();
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let inside = || word(before) || word(rest.get(bytes..).and_then(|after| after.chars().next()));
    match whole {
        true if chars < INSIDE_WORDS_CHARS_MIN && inside() => 0,
        false if chars < BEGINNING_CHARS => 0,
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_whole_in_parts_and_when_it_was_cut() {
        let token = "FlyV1 fm2_firstfirst,fm2_secondsecond";
        for (said, shown) in [
            ("bad FlyV1 fm2_firstfirst,fm2_secondsecond.", "bad …."),
            ("bad Bearer fm2_secondsecond", "bad Bearer …"),
            ("bad fm2_firstfi", "bad …"),
            ("bad \"fm2_seco\"…", "bad \"…\"…"),
            ("fm2_ is how it begins", "fm2_ is how it begins"),
        ] {
            assert_eq!(redact(said, [token]), shown, "{said}");
        }
    }

    #[test]
    fn secrets_that_begin_alike_leave_no_end_behind() {
        let secrets = ["commonpart-AAAAAAAA", "commonpart-BBBB"];
        assert_eq!(redact("commonpart-BBBB commonpart-AAAAAAAA", secrets), "… …");
        assert_eq!(redact(r#"{"a":"x\/yyyyyyyy\"z"}"#, ["x/yyyyyyyy\"z"]), r#"{"a":"…"}"#);
    }

    #[test]
    fn a_short_one_is_a_word_and_nothing_else() {
        assert_eq!(redact("topic ops of devops", ["ops"]), "topic … of devops");
        assert_eq!(redact("a é b", ["", "a"]), "a é b");
    }

    #[test]
    fn what_its_own_words_call_a_secret_is_taken_out() {
        for (said, shown) in [
            (
                "connect postgres://app:hunter2@db.internal:5432/shop failed",
                "connect postgres://…@db.internal:5432/shop failed",
            ),
            ("redis://:hunter2@cache", "redis://…@cache"),
            ("postgres://app:hun/ter2@db/shop", "postgres://…@db/shop"),
            ("GET https://api.example/x?token=hunter2&page=2", "GET https://api.example/x?token=…&page=2"),
            ("DB_PASSWORD=hunter2 API_KEY='hunter2' ok", "DB_PASSWORD=… API_KEY=… ok"),
            ("password: hunter2, user: ana", "password: … user: ana"),
            (r#"{"secret":"hunter2","id":7}"#, r#"{"secret":…,"id":7}"#),
            (r#"{"secret": "hunter2", "id": 7}"#, r#"{"secret": … "id": 7}"#),
            ("Authorization: Bearer hunter2", "Authorization: Bearer …"),
            ("authorization: FlyV1 hunter2", "authorization: FlyV1 …"),
            ("with fm2_hunter2 and x=fo1_hunter2", "with … and x=…"),
            (
                "Error: relation \"orders\" does not exist at 12:30:01",
                "Error: relation \"orders\" does not exist at 12:30:01",
            ),
            (
                "duplicate key value violates, see https://h.example/a?b=c",
                "duplicate key value violates, see https://h.example/a?b=c",
            ),
        ] {
            assert_eq!(named(said), shown, "{said}");
            assert!(!named(said).contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        let url = "https://me:pass@h.example/services/T0/abcdef/?key=v%20alue&flag#frag";
        for secret in ["me", "pass", "services", "T0", "abcdef", "v%20alue", "v alue", "flag", "frag"] {
            assert!(in_address(url).iter().any(|part| part == secret), "{secret}");
        }
        assert!(!in_address_but_path(url).iter().any(|part| part == "abcdef"));
        assert!(!in_address(url).iter().any(|part| part.contains("h.example")));
    }
}
