//! Secrets taken out of log lines, by what they look like, before a chat or a terminal shows them.
//!
//! Pure. A pattern knows no secret, so what it takes out is what is written as one: a header, a key and its value, an address with
//! a password in it, the token of a vendor that marks its tokens. Rather one word too many than one too few. What a team writes
//! into its log without any sign of its own is not found here: docs/logs.md says so.

/// What stands where a secret stood.
const TAKEN_OUT: &str = "…";
/// A word shorter than this behind `Bearer` is a word, in bytes.
const TOKEN_BYTES_MIN: usize = 6;
/// A vendor's token is longer than its beginning by at least this, in bytes.
const TOKEN_REST_BYTES_MIN: usize = 8;
/// The shortest thing that is taken for a signed token (JWT), in bytes.
const SIGNED_BYTES_MIN: usize = 20;
/// A number with fewer digits is a count, in digits: `max_tokens=4096`.
const COUNT_DIGITS_MAX: usize = 6;

/// Ways of showing who one is, as a header names them.
const SCHEMES: [&str; 5] = ["bearer", "basic", "flyv1", "digest", "bot"];
/// What vendors begin their tokens with.
const BEGINNINGS: [&str; 39] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "fm1r_",
    "fm1a_",
    "fm2_",
    "fo1_",
    "hf_",
    "npm_",
    "shpat_",
    "shpss_",
    "SG.",
    "dop_v1_",
    "pypi-",
    "lin_api_",
    "ntn_",
    "sbp_",
    "tskey-",
    "glsa_",
];
/// Parts of a key's name, without signs between its words, whose value is a secret.
const KEYS: [&str; 21] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "authorization",
    "credential",
    "sessionid",
    "cookie",
    "token",
    "connectionstring",
    "csrf",
    "otp",
    "dsn",
    "jwt",
];
/// Values that say that there is none.
const NOTHINGS: [&str; 8] = ["null", "none", "nil", "undefined", "true", "false", "missing", "invalid"];

/// The text without what looks like a secret, and how many were taken out.
pub fn mask(text: &str) -> (String, usize) {
    let mut found: Vec<(usize, usize)> = Vec::new();
    in_keys(text, &mut found);
    in_addresses(text, &mut found);
    in_words(text, &mut found);
    in_keys_of_machines(text, &mut found);
    found.retain(|(from, to)| from < to);
    found.sort_unstable();
    let (mut out, mut at, mut count) = (String::with_capacity(text.len()), 0, 0);
    for (from, to) in found {
        if from >= at {
            out.push_str(text.get(at..from).unwrap_or_default());
            out.push_str(TAKEN_OUT);
            count += 1;
        }
        at = at.max(to);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    (out, count)
}

/// A key's private part in its armour.
fn in_keys_of_machines(text: &str, found: &mut Vec<(usize, usize)>) {
    const BEGIN: &str = "-----BEGIN ";
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find(BEGIN)).map(|at| from + at) {
        let rest = text.get(start..).unwrap_or_default();
        let head = rest.get(BEGIN.len()..).and_then(|rest| rest.split("-----").next()).unwrap_or_default();
        let end = rest.find("-----END ").map_or(rest.len(), |at| {
            let last =
                rest.get(at + 9..).and_then(|last| last.find("-----")).map_or(rest.len(), |end| at + 9 + end + 5);
            last.min(rest.len())
        });
        if head.contains("PRIVATE") {
            found.push((start, start + end));
        }
        from = start + end.max(BEGIN.len());
    }
}

/// `key=value`, `key: value`, `"key":"value"`, a header.
fn in_keys(text: &str, found: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(sign) = text.get(from..).and_then(|rest| rest.find(['=', ':'])).map(|at| from + at) {
        from = sign + 1;
        let before = text.get(..sign).unwrap_or_default().trim_end_matches([' ', '"', '\'', '\\', '`', ']']);
        let start = before
            .rfind(|c: char| !is_name(c))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let name: String = before.get(start..).unwrap_or_default().to_ascii_lowercase();
        let joined: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let Some(key) = KEYS.iter().find(|key| joined.contains(**key)) else { continue };
        // `=>`, `:=` and `==` are one sign.
        let value_at = sign + 1 + leading(text, sign + 1, &['>', '=']);
        let value_at = value_at + leading(text, value_at, &[' ', '\t', '[', '(']);
        if text.get(value_at..).is_some_and(|rest| rest.starts_with("//")) {
            continue;
        }
        let (value_at, end) = value(text, value_at, if *key == "cookie" { "" } else { WORD_ENDS });
        let (value_at, end) = behind_scheme(text, value_at, end);
        let words = text.get(value_at..end).unwrap_or_default();
        let lower = words.to_ascii_lowercase();
        let is_count = *key == "token"
            && words.len() <= COUNT_DIGITS_MAX
            && words.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if words.trim().is_empty() || words == TAKEN_OUT || is_count || NOTHINGS.contains(&lower.as_str()) {
            continue;
        }
        found.push((value_at, end));
        from = from.max(end);
    }
}

/// What ends a word, beside a space.
const WORD_ENDS: &str = ",;&|)]}\"'<>";
/// What ends a token behind its scheme: Fly's are several, joined by commas.
const TOKEN_ENDS: &str = ";&|)]}\"'<>";

/// Where a value stands: within its quotes, or up to one of these signs or a space; up to the end of the line when there are none.
fn value(text: &str, at: usize, ends: &str) -> (usize, usize) {
    let rest = text.get(at..).unwrap_or_default();
    let skip = usize::from(rest.starts_with('\\'));
    let quote = rest.get(skip..).and_then(|rest| rest.chars().next()).filter(|c| matches!(c, '"' | '\'' | '`'));
    if let Some(quote) = quote {
        let begin = at + skip + 1;
        let inner = text.get(begin..).unwrap_or_default();
        let mut escaped = false;
        for (n, letter) in inner.char_indices() {
            match letter {
                // In a string within a string the quote itself stands behind a backslash, and ends it.
                '\\' if skip == 1 && inner.get(n + 1..).is_some_and(|next| next.starts_with(quote)) => {
                    return (begin, begin + n);
                }
                '\\' => escaped = !escaped,
                letter if letter == quote && !escaped => return (begin, begin + n),
                _ => escaped = false,
            }
        }
        return (begin, text.len());
    }
    let is_end =
        |c: char| if ends.is_empty() { matches!(c, '"' | '\n') } else { c.is_whitespace() || ends.contains(c) };
    (at, at + rest.find(is_end).unwrap_or(rest.len()))
}

/// `Bearer abc`: the value is what stands behind the scheme.
fn behind_scheme(text: &str, at: usize, end: usize) -> (usize, usize) {
    let words = text.get(at..end).unwrap_or_default();
    let first = words.split_whitespace().next().unwrap_or_default();
    if !SCHEMES.contains(&first.to_ascii_lowercase().as_str()) {
        return (at, end);
    }
    let begin = at + first.len();
    let begin = begin + leading(text, begin, &[' ']);
    // Within quotes the end is known; without, it is the end of the next word.
    if begin < end { (begin, end) } else { value(text, begin, TOKEN_ENDS) }
}

/// What stands before the `@` of an address: a password, or a token alone.
fn in_addresses(text: &str, found: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find("://")).map(|at| from + at + 3) {
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'<>`".contains(c)).unwrap_or(rest.len());
        // A password may hold a slash that nobody wrote as %2F.
        let end = match rest.get(end..).and_then(|rest| rest.split_whitespace().next()).and_then(|rest| rest.rfind('@'))
        {
            Some(at)
                if !rest.get(..end).unwrap_or_default().contains('@')
                    && rest.get(..end).unwrap_or_default().contains(':') =>
            {
                end + at + 1
            }
            _ => end,
        };
        if let Some(at) = rest.get(..end).and_then(|authority| authority.rfind('@')) {
            let user = rest.get(..at).unwrap_or_default();
            let secret = user.find(':').map_or(0, |colon| colon + 1);
            found.push((start + secret, start + at));
        }
        from = start;
    }
}

/// Tokens that can be known by themselves, what stands behind a scheme, and people's addresses.
fn in_words(text: &str, found: &mut Vec<(usize, usize)>) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.+/=,@%~".contains(c);
    let mut before = "";
    let mut at = 0;
    for piece in text.split_inclusive(|c: char| !is_part(c)) {
        let word = piece.trim_end_matches(|c: char| !is_part(c));
        let start = at;
        at += piece.len();
        if word.is_empty() {
            continue;
        }
        let is_token = |word: &str| word.len() >= 16 || word.bytes().any(|byte| byte.is_ascii_digit());
        if SCHEMES.contains(&before.to_ascii_lowercase().as_str()) && word.len() >= TOKEN_BYTES_MIN && is_token(word) {
            found.push((start, start + word.len()));
        }
        before = word;
        // What joins words is no part of a token, but within Fly's, which are several joined by commas.
        let mut begin = start;
        for part in parts(word) {
            if is_vendors(part) || is_signed(part) {
                found.push((begin, begin + part.len()));
            }
            // What stands between two is one byte.
            begin += part.len() + 1;
        }
        if let Some(local) = address(word) {
            found.push((start, start + local));
        }
    }
}

/// The pieces of a word that could each be a token.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let is_flys = BEGINNINGS.iter().filter(|one| one.starts_with('f')).any(|one| word.contains(*one));
    let ends = move |c: char| "=,@%~/+".contains(c) && !(is_flys && "=/+".contains(c));
    word.split(ends)
}

fn is_vendors(word: &str) -> bool {
    let fits = |one: &&&str| word.strip_prefix(**one).is_some_and(|rest| rest.len() >= TOKEN_REST_BYTES_MIN);
    match BEGINNINGS.iter().find(fits) {
        // Words begin so as well: `sk-learn-pipeline`, `AKIApril`.
        Some(&("sk-" | "AKIA" | "ASIA" | "hf_" | "npm_" | "SG." | "pypi-")) => {
            word.len() >= SIGNED_BYTES_MIN && word.bytes().any(|byte| byte.is_ascii_digit())
        }
        found => found.is_some(),
    }
}

/// A JWT, or a bot's token at Discord: parts of letters joined by points.
fn is_signed(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_letters =
        |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if word.len() < SIGNED_BYTES_MIN || !parts.iter().all(is_letters) {
        return false;
    }
    let is_bots =
        matches!(parts.as_slice(), [id, time, sum] if id.len() >= 23 && matches!(time.len(), 6 | 7) && sum.len() >= 27);
    (word.starts_with("eyJ") && parts.len() >= 2) || is_bots
}

/// The part of an e-mail address before its `@`, in bytes.
fn address(word: &str) -> Option<usize> {
    let (local, domain) = word.split_once('@')?;
    let domain = domain.trim_end_matches(['.', ',', '/', '=', '-']);
    let last = domain.rsplit_once('.')?.1;
    let is_domain = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    (!local.is_empty() && !local.contains('/') && is_domain).then_some(local.len())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Bytes of these letters from `at` on; all of them are ASCII.
fn leading(text: &str, at: usize, letters: &[char]) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.len() - rest.trim_start_matches(letters).len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mask;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_masked_without_a_panic_and_masking_ends(text in "(\\PC|[=:@/\"'\\\\ .\\[{,-]){0,80}") {
            let (once, _) = mask(&text);
            let (twice, _) = mask(&once);
            prop_assert_eq!(mask(&twice).0, twice);
        }

        #[test]
        fn a_secret_is_gone_whatever_stands_around_it(
            before in "[a-z0-9 ,;({\"äß…-]{0,20}", secret in "[A-Za-z0-9]{12,30}", after in "[ ,;)}\"&\n][a-z ä…:=]{0,20}",
            shape in 0..6_usize,
        ) {
            let shapes = ["password=S", "\"api_key\":\"S\"", "Authorization: Bearer S", "https://u:S@h.example/x", "?access_token=S", "ghp_S"];
            let line = format!("{before} {}{after}", shapes[shape].replace('S', &secret));
            let (masked, count) = mask(&line);
            prop_assert!(!masked.contains(&secret) && count > 0, "{line} → {masked}");
        }
    }

    #[test]
    fn what_is_written_as_a_secret_is_taken_out() {
        for (line, shown) in [
            ("Authorization: Bearer abc123def456", "Authorization: Bearer …"),
            (r#"{"authorization":"Basic dXNlcjpwYXNz","path":"/"}"#, r#"{"authorization":"Basic …","path":"/"}"#),
            ("sent header Bearer 0123456789abcdef to upstream", "sent header Bearer … to upstream"),
            ("authorization=FlyV1 fm2_lJPECAAAAAAAB,fm2_lJPEAAAAB host=a", "authorization=FlyV1 … host=a"),
            ("password=hunter2 user=ana", "password=… user=ana"),
            ("DB_PASSWORD: 'two words' rest", "DB_PASSWORD: '…' rest"),
            (r#"{"db_password":"a\"b","user":"ana"}"#, r#"{"db_password":"…","user":"ana"}"#),
            (r#"body="{\"client_secret\":\"s3cr3t\",\"id\":1}""#, r#"body="{\"client_secret\":\"…\",\"id\":1}""#),
            ("GET /cb?code=1&access_token=abcd1234&state=x", "GET /cb?code=1&access_token=…&state=x"),
            ("x-api-key: 12345678", "x-api-key: …"),
            ("Cookie: sid=abc; theme=dark", "Cookie: …"),
            ("postgres://app:p4ss@db.internal:5432/app", "postgres://app:…@db.internal:5432/app"),
            ("redis://:p4ss@cache:6379 is full", "redis://:…@cache:6379 is full"),
            ("postgres://app:pa/ss@db/app", "postgres://app:…@db/app"),
            ("https://3f1a9c2b@o1.ingest.example/7", "https://…@o1.ingest.example/7"),
            ("token ghp_0123456789abcdefghij refused", "token … refused"),
            ("key sk-proj-0123456789abcdefghij used", "key … used"),
            ("AKIAIOSFODNN7EXAMPLE", "…"),
            ("got fm2_lJPECAAAAAAAB+/x=,fm2_lJPE0000000 back", "got …,… back"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl sent", "jwt … sent"),
            ("session: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "session: …"),
            ("mail to ana.lee+x@shop.example failed", "mail to …@shop.example failed"),
            ("-----BEGIN RSA PRIVATE KEY-----MIIE-----END RSA PRIVATE KEY----- read", "… read"),
            ("-----BEGIN PRIVATE KEY----- cut", "…"),
            ("pwd => geheim, ok", "pwd => …, ok"),
            ("password=ключ и", "password=… и"),
        ] {
            let (masked, count) = mask(line);
            assert_eq!(masked, shown);
            assert!(count >= 1, "{line}");
        }
    }

    #[test]
    fn what_is_none_stays() {
        for line in [
            "GET /health 200 in 12ms",
            "max_tokens=4096 prompt_tokens: 532",
            "password: null",
            "\"token\": \"\"",
            "image registry.fly.io/shop@sha256:0d1e2f",
            "express@4.18.2 installed",
            "basic understanding of bearer tokens",
            "sk-learn-pipeline ready",
            "http://localhost:8080/a?b=c",
            "at 03:07:12 in src/token.rs:12",
            "Main child exited normally with code: 1",
            "",
            "ответ: да…",
        ] {
            assert_eq!(mask(line), (line.to_owned(), 0), "{line}");
        }
    }

    #[test]
    fn masking_again_changes_nothing() {
        for line in ["password=hunter2 x", "Bearer abc123def456", "redis://:p@c", "a@b.example"] {
            let once = mask(line).0;
            assert_eq!(mask(&once).0, once, "{line}");
        }
    }
}
