//! What a line counts as: an error, something slow, something about health.
//!
//! Pure. Words are read as people write them in logs, so a filter finds too much rather than too little; it is a look, no alert:
//! nothing is decided by it.

use super::Line;

/// The filters of the team's first log script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// Errors: by level, by status, by the proxy's codes, by words, by how a program ended.
    Errors,
    /// What took longer than it should.
    Slow,
    /// Checks, and machines that come up or end.
    Health,
    /// Every line.
    All,
}

impl Filter {
    /// All, in the order in which they are offered.
    pub const ALL: [Filter; 4] = [Filter::Errors, Filter::Slow, Filter::Health, Filter::All];

    /// Its word, as it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Filter::Errors => "errors",
            Filter::Slow => "slow",
            Filter::Health => "health",
            Filter::All => "all",
        }
    }

    /// By its word.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word.trim().to_ascii_lowercase())
    }

    /// Whether a line is one of these. `slow_ms`: what takes as long is slow, in ms.
    pub fn takes(self, line: &Line, slow_ms: u32) -> bool {
        match self {
            Filter::All => true,
            Filter::Errors => is_error(line),
            Filter::Slow => is_slow(&line.message, slow_ms),
            Filter::Health => is_health(line),
        }
    }
}

/// A request takes too long from here on where the set-up says nothing, in ms: the seed's "P95 over 500 ms".
pub const SLOW_MS: u32 = 500;
/// A machine takes too long to come up from here on, in ms: the seed's "auto-start over 10 s".
pub const WAKE_SLOW_MS: u32 = 10_000;
/// The longest line that is read for words, in bytes; of a longer one its beginning.
const READ_BYTES_MAX: usize = 8 << 10;

/// Levels that say so themselves.
const BAD_LEVELS: [&str; 9] = ["error", "err", "fatal", "panic", "critical", "crit", "alert", "emerg", "severe"];
/// Words that do.
const BAD_WORDS: [&str; 17] = [
    "error",
    "errors",
    "exception",
    "panic",
    "panicked",
    "fatal",
    "critical",
    "traceback",
    "segfault",
    "unhandled",
    "failed",
    "failure",
    "refused",
    "oom",
    "killed",
    "sigsegv",
    "aborted",
];
/// What follows a word, or stands before it, and takes it back.
const NONES: [&str; 7] = ["0", "null", "none", "nil", "false", "no", "without"];

/// Whether a line is an error.
pub fn is_error(line: &Line) -> bool {
    if BAD_LEVELS.contains(&line.level.to_ascii_lowercase().as_str())
        || line.status.is_some_and(|status| status >= 500)
        || !line.code.is_empty()
    {
        return true;
    }
    let text = beginning(&line.message).to_lowercase();
    let words: Vec<&str> = words(&text).collect();
    let has_bad = words.iter().enumerate().any(|(n, word)| {
        let is_bad = BAD_WORDS.contains(word) || is_proxys_code(word);
        let none = |at: Option<usize>| at.and_then(|at| words.get(at)).is_some_and(|near| NONES.contains(near));
        is_bad && !none(n.checked_sub(1)) && !none(Some(n + 1))
    });
    // Fly says how a program ended: "Main child exited normally with code: 1".
    let ended = ["with code: ", "with code ", "exit_code=", "exit code ", "exit code: "];
    let ended_badly = ended.iter().filter_map(|cue| text.split_once(cue)).any(|(_, rest)| {
        let code: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        code.parse::<i64>().is_ok_and(|code| code != 0)
    });
    has_bad || ended_badly || text.contains("out of memory") || text.contains("exited with signal")
}

/// `pr01`: a code of Fly's proxy (its document on error codes: PA, PC, PM, PP, PR, PT, PU and two digits).
fn is_proxys_code(word: &str) -> bool {
    matches!(word.as_bytes(), [b'p', b'a' | b'c' | b'm' | b'p' | b'r' | b't' | b'u', b'0'..=b'9', b'0'..=b'9'])
}

/// Words that say of themselves that something took too long.
const SLOW_WORDS: [&str; 5] = ["slow", "slowlog", "timeout", "timedout", "throttled"];
/// Parts of a key's name whose value is how long something took.
const SPAN_KEYS: [&str; 9] =
    ["duration", "elapsed", "latency", "took", "responsetime", "requesttime", "runtime", "roundtrip", "dur"];
/// Words before how long something took.
const SPAN_CUES: [&str; 5] = ["in", "took", "after", "for", "within"];
/// A line with one of these speaks of what is going to be waited for.
const PLANS: [&str; 10] =
    ["timeout", "retry", "retrying", "retries", "again", "every", "interval", "backoff", "sleep", "sleeping"];

/// Whether a line says that something took as long as `slow_ms`, or too long without a figure.
pub fn is_slow(message: &str, slow_ms: u32) -> bool {
    let text = beginning(message).to_lowercase();
    if let Some(took_ms) = woke_in_ms(&text) {
        return took_ms >= f64::from(WAKE_SLOW_MS);
    }
    let words: Vec<&str> = words(&text).collect();
    // `timeout=30s` is how something is set up, and says nothing of what happened.
    let is_set_up = |n: usize| words.get(n + 1).is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
    let says_so = words.iter().enumerate().any(|(n, word)| SLOW_WORDS.contains(word) && !is_set_up(n));
    if says_so || text.contains("timed out") || text.contains("deadline exceeded") || text.contains("deadline_exceeded")
    {
        return true;
    }
    let least = f64::from(slow_ms);
    let is_plan = words.iter().any(|word| PLANS.contains(word));
    words.iter().enumerate().any(|(n, word)| {
        let Some((number, unit)) = figure(word) else { return false };
        let unit = unit.or_else(|| words.get(n + 1).and_then(|next| unit_ms(next)));
        let before = n.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let joined: String = before.chars().filter(char::is_ascii_alphanumeric).collect();
        if SPAN_KEYS.iter().any(|key| joined.contains(key)) {
            let of_key = || {
                ["ms", "us", "ns", "seconds", "secs", "s"].into_iter().find(|one| before.ends_with(&format!("_{one}")))
            };
            // A figure alone is taken for milliseconds.
            let unit = unit.or_else(|| unit_ms(of_key()?)).unwrap_or(1.0);
            return number * unit >= least;
        }
        let is_last =
            n + 1 == words.len() || (n + 2 == words.len() && words.last().is_some_and(|last| unit_ms(last).is_some()));
        !is_plan && (SPAN_CUES.contains(&before) || is_last) && unit.is_some_and(|unit| number * unit >= least)
    })
}

/// How long a machine took to come up, in ms, where the line is the proxy's or the runner's about it: "machine started in 1.5s",
/// "machine became reachable in 654.917395ms".
pub fn woke_in_ms(message: &str) -> Option<f64> {
    let text = beginning(message).to_lowercase();
    let rest = ["machine started in ", "machine became reachable in "].iter().find_map(|cue| text.split_once(cue))?.1;
    let (number, unit) = figure(rest.split_whitespace().next()?.trim_end_matches(['.', ',']))?;
    Some(number * unit?)
}

/// Whether a line is about checks, or about machines that come up or end.
pub fn is_health(line: &Line) -> bool {
    /// What such lines have in them: Fly's own words, and the usual addresses of health checks.
    const SAYS: [&str; 17] = [
        "health check",
        "healthcheck",
        "health_check",
        "servicecheck",
        "/health",
        "/healthz",
        "/readyz",
        "/livez",
        "/ready",
        "/ping",
        "became reachable",
        "machine started",
        "starting machine",
        "main child exited",
        "unhealthy",
        "readiness",
        "liveness",
    ];
    let text = beginning(&line.message).to_lowercase();
    line.provider.eq_ignore_ascii_case("health") || SAYS.iter().any(|one| text.contains(one))
}

fn beginning(text: &str) -> &str {
    text.get(..text.floor_char_boundary(READ_BYTES_MAX)).unwrap_or_default()
}

/// The words of a line. What joins a name stays in it: `latency_ms`, `1.5s`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | 'µ' | 'μ');
    text.split(move |c: char| !is_part(c))
        .map(|word| word.trim_matches(['.', '-', '_']))
        .filter(|word| !word.is_empty())
}

/// `1.5s` as the number and its unit in ms; a number alone has none.
fn figure(word: &str) -> Option<(f64, Option<f64>)> {
    let end = word.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(word.len());
    let number: f64 = word.get(..end)?.parse().ok()?;
    match word.get(end..)? {
        "" => Some((number, None)),
        unit => Some((number, Some(unit_ms(unit)?))),
    }
}

/// A unit of time in ms.
fn unit_ms(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-6,
        "us" | "µs" | "μs" => 1e-3,
        "ms" | "msec" | "millis" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minutes" => 60_000.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(provider: &str, level: &str, message: &str) -> Line {
        Line { provider: provider.to_owned(), level: level.to_owned(), message: message.to_owned(), ..Line::default() }
    }

    #[test]
    fn an_error_is_known_by_level_code_status_word_or_end() {
        for (provider, level, message) in [
            ("app", "error", "relation does not exist"),
            ("app", "info", "Unhandled exception in worker"),
            ("app", "info", r#"{"level":"error","msg":"no route"}"#),
            ("proxy", "info", "[PR03] could not find a good candidate within 20 attempts at load balancing"),
            ("proxy", "info", "error.code=PC01 instance refused connection"),
            ("runner", "info", "Main child exited normally with code: 1"),
            ("runner", "info", "Out of memory: Killed process 321 (node)"),
            ("app", "info", "ECONN: connection refused"),
        ] {
            assert!(is_error(&line(provider, level, message)), "{message}");
        }
        assert!(is_error(&Line { status: Some(502), ..line("proxy", "info", "GET /") }));
        assert!(is_error(&Line { code: "1".to_owned(), ..line("proxy", "info", "x") }));
        for message in [
            "GET / 200 in 12ms",
            "0 errors, 3 warnings",
            "errors=0",
            r#"{"error":null,"ok":true}"#,
            "finished without error",
            "error_rate is fine",
            "Main child exited normally with code: 0",
            "terror reported",
        ] {
            assert!(!is_error(&line("app", "info", message)), "{message}");
        }
    }

    #[test]
    fn slow_is_what_took_as_long_as_it_may_not() {
        for message in [
            "Completed 200 OK in 812ms",
            "GET /query 200 1203.5 ms",
            "GET /query 200 1.2s",
            "query took 0.5s",
            "duration=700ms",
            r#"{"path":"/","duration_ms":1500}"#,
            r#"{"latency":0.9,"x":1, "elapsed_s":2}"#,
            "response_time_seconds=1.5",
            "slow query: select 1",
            "upstream timed out",
            "context deadline exceeded",
            "machine started in 12.5s",
            "machine became reachable in 10.2s",
            "request took 600000µs",
        ] {
            assert!(is_slow(message, 500), "{message}");
        }
        for message in [
            "Completed 200 OK in 12ms",
            "duration=499ms",
            "retrying in 5s",
            "poll every 30s",
            "timeout=30s",
            "machine started in 1.5s",
            "machine became reachable in 654.917395ms",
            "listening on 8080",
            "version 2.14.0",
            "duration_us=812",
        ] {
            assert!(!is_slow(message, 500), "{message}");
        }
        assert!(!is_slow("GET / 200 in 812ms", 1_000), "as the set-up says");
    }

    #[test]
    fn health_is_checks_and_machines_that_come_and_go() {
        for message in [
            "Health check on port 8080 has failed. Your app is not responding properly.",
            "GET /healthz 200",
            "machine became reachable in 654ms",
            "Starting machine",
        ] {
            assert!(is_health(&line("proxy", "info", message)), "{message}");
        }
        assert!(is_health(&line("health", "info", "passing")));
        assert!(!is_health(&line("app", "info", "GET /orders 200")));
    }

    #[test]
    fn how_long_a_machine_took_is_read_as_fly_writes_it() {
        assert_eq!(woke_in_ms("Machine started in 1.293s"), Some(1_293.0));
        assert_eq!(woke_in_ms("machine became reachable in 654.5ms"), Some(654.5));
        assert_eq!(woke_in_ms("machine started in µs"), None);
        assert_eq!(woke_in_ms("started in 3s"), None);
    }

    #[test]
    fn a_filter_is_read_by_its_word() {
        for one in Filter::ALL {
            assert_eq!(Filter::read(one.word()), Some(one));
        }
        assert_eq!(Filter::read(" Errors "), Some(Filter::Errors));
        assert_eq!(Filter::read("warnings"), None);
    }
}
