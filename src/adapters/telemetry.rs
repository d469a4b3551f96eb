//! The program's own log: lines on stderr for people, JSON for machines.
//!
//! Owns the set-up only. No secret is ever logged, and the libraries that could log one at their chattiest are held back
//! whatever is asked for.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged when nobody says otherwise.
const DEFAULT: &str = "warn,watchbell=info";
/// The most that these may say. Below it they print whole frames and requests, and a token may stand in one.
const HELD_BACK: [&str; 6] =
    ["serenity=info", "tungstenite=info", "tokio_tungstenite=info", "reqwest=info", "hyper=info", "hyper_util=info"];

/// Starts logging. `filter` is what RUST_LOG takes (`watchbell=debug`); `json` writes one object a line.
///
/// # Errors
/// A sentence, when the filter cannot be read or logging was started before.
pub fn start(filter: Option<&str>, json: bool) -> Result<(), String> {
    let filter = read(filter.unwrap_or(DEFAULT))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { lines.json().finish().try_init() } else { lines.compact().finish().try_init() };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

fn read(filter: &str) -> Result<EnvFilter, String> {
    let mut read = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| format!("“{filter}” is not a log filter ({error}); write it as watchbell=debug"))?;
    for held in HELD_BACK {
        if let Ok(directive) = held.parse() {
            read = read.add_directive(directive);
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chatty_libraries_are_held_back_whatever_is_asked_for() {
        let filter = read("trace,serenity=trace").map(|filter| filter.to_string()).unwrap_or_default();
        assert!(filter.contains("serenity=info") && !filter.contains("serenity=trace"), "{filter}");
        assert!(read("watchbell=loud").is_err_and(|says| says.contains("watchbell=debug")));
        assert!(read(DEFAULT).is_ok());
    }
}
