//! The program's own log: lines on stderr for people, JSON for machines.
//!
//! Owns the set-up only. No secret is ever logged, and the libraries that log what they carry are held back by a layer of its own,
//! which no filter that anybody asks for can reach.

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// What is logged when nobody says otherwise.
const DEFAULT: &str = "warn,watchbell=info";
/// The most that these may say, the narrower first. Below it they print whole frames and requests, and a token may stand in one.
/// serenity's gateway prints at `warn` an event that came out of turn or could not be read, with an interaction's token and what
/// somebody typed; what happens to the connection the bot says itself.
const HELD_BACK: [(&str, LevelFilter); 12] = [
    ("serenity::gateway", LevelFilter::ERROR),
    ("serenity", LevelFilter::WARN),
    ("tungstenite", LevelFilter::WARN),
    ("tokio_tungstenite", LevelFilter::WARN),
    ("reqwest", LevelFilter::WARN),
    ("hyper", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("h2", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
    ("tokio_rustls", LevelFilter::WARN),
    ("axum", LevelFilter::WARN),
    ("async_nats", LevelFilter::WARN),
];

/// Starts logging. `filter` is levels by target (`warn,watchbell=debug`); by spans and fields nothing is filtered: that takes regular
/// expressions, in a program whose every page is in memory. `json` writes one object a line.
///
/// # Errors
/// A sentence, when the filter cannot be read or logging was started before.
pub fn start(filter: Option<&str>, json: bool) -> Result<(), String> {
    let subscriber = subscriber(filter.unwrap_or(DEFAULT), json, std::io::stderr)?;
    subscriber.try_init().map_err(|error| format!("logging cannot be started: {error}"))
}

fn subscriber<W>(filter: &str, json: bool, writer: W) -> Result<impl Subscriber + Send + Sync, String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let asked_for: Targets = filter
        .parse()
        .map_err(|error| format!("“{filter}” is not a log filter ({error}); write it as watchbell=debug"))?;
    let lines = fmt::layer().with_writer(writer);
    let lines = if json { lines.json().boxed() } else { lines.compact().boxed() };
    Ok(tracing_subscriber::registry().with(lines).with(asked_for).with(filter_fn(may_say)))
}

/// Whether a library may say this, whatever was asked for.
fn may_say(what: &Metadata<'_>) -> bool {
    let belongs =
        |to: &str| what.target().strip_prefix(to).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let most = HELD_BACK.iter().find(|(target, _)| belongs(target)).map_or(LevelFilter::TRACE, |(_, most)| *most);
    *what.level() <= most
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().map_or(Ok(0), |mut paper| paper.write(bytes))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(filter: &str, json: bool) -> String {
        let paper = Paper::default();
        let hand = paper.clone();
        let subscriber = subscriber(filter, json, move || hand.clone()).unwrap_or_else(|error| panic!("{error}"));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!(target: "serenity::gateway::shard", "run", token = "canary-1");
            let _in = span.enter();
            tracing::warn!(target: "serenity::gateway::shard", "Sequence off; event=canary-2");
            tracing::warn!(target: "serenity::gateway", "canary-3");
            tracing::info!(target: "serenity::http", "canary-4");
            tracing::trace!(target: "tungstenite::protocol", "canary-5");
            tracing::debug!(target: "hyper_util::client", "canary-6");
            tracing::trace!(target: "rustls::client", "canary-7");
            tracing::error!(target: "serenity::gateway::shard", "it broke");
            tracing::warn!(target: "serenity_of_mind", "another crate");
            tracing::debug!(target: "watchbell::shell", "ours");
        });
        let paper = paper.0.lock().map(|paper| paper.clone()).unwrap_or_default();
        String::from_utf8_lossy(&paper).into_owned()
    }

    #[test]
    fn libraries_that_print_what_they_carry_are_held_back_whatever_is_asked_for() {
        for filter in [
            "trace",
            "trace,tungstenite::protocol=trace",
            "trace,serenity::gateway::shard=trace,serenity::gateway=trace,hyper_util::client=debug",
            DEFAULT,
        ] {
            for json in [false, true] {
                let written = written(filter, json);
                assert!(!written.contains("canary"), "{filter}: {written}");
                assert!(written.contains("it broke") && written.contains("another crate"), "{filter}: {written}");
                assert_eq!(written.contains("ours"), filter != DEFAULT, "{filter}: {written}");
            }
        }
    }

    #[test]
    fn a_filter_that_is_none_is_a_sentence() {
        let refused = subscriber("watchbell=loud", false, std::io::stderr).err();
        assert!(refused.is_some_and(|says| says.contains("watchbell=debug")));
    }
}
