//! Reading log lines for whoever asks: several apps at once, page after page, within the time that an answer may take.
//!
//! Owns the waiting and nothing else: which page is read next, and what of it counts, is `domain/logs`.

pub mod tail;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use self::tail::TailPace;
use super::acting::Doing;
use crate::domain::logs::follow::Heard;
use crate::domain::logs::reading::Reading;
use crate::domain::logs::{Ask, Found, Trouble};
use crate::ports::Clock;
use crate::ports::logs::{LogStream, Logs};

/// How long lines are looked for. What was found by then is shown, and how far it goes is said.
const READ_FOR: Duration = Duration::from_millis(6_000);

/// What the loop asks of the log side.
pub trait ReadsLogs: Send + Sync {
    /// Lines for a question.
    fn read(&self, ask: Ask) -> Doing<Result<Found, Trouble>>;

    /// Lines as they come, from the question's moment on.
    fn tail(&self, ask: &Ask) -> mpsc::Receiver<Heard>;

    /// How far promise time, as people see it, is ahead of the clock that lines are stamped with.
    fn ahead(&self) -> TimeDelta;
}

/// A log side, read from.
pub struct LogReader<L, S> {
    logs: Arc<L>,
    /// Where lines are sent as they are written, when the set-up names it.
    stream: Option<Arc<S>>,
    pace: TailPace,
    clock: Arc<dyn Clock>,
}

impl<L: Logs, S: LogStream> LogReader<L, S> {
    /// Reads from this one; what comes is sent by the stream, or asked for so often. `clock` is promise time.
    pub fn new(logs: Arc<L>, stream: Option<Arc<S>>, pace: TailPace, clock: Arc<dyn Clock>) -> Self {
        Self { logs, stream, pace, clock }
    }
}

impl<L: Logs, S: LogStream> ReadsLogs for LogReader<L, S> {
    fn read(&self, ask: Ask) -> Doing<Result<Found, Trouble>> {
        let (logs, ahead) = (Arc::clone(&self.logs), self.ahead());
        Box::pin(async move { read(logs, ask).await.map(|found| Found { ahead, ..found }) })
    }

    fn tail(&self, ask: &Ask) -> mpsc::Receiver<Heard> {
        tail::follow(Arc::clone(&self.logs), self.stream.clone(), ask, self.pace)
    }

    fn ahead(&self) -> TimeDelta {
        // To the second: between two readings of one clock lie microseconds.
        TimeDelta::seconds((self.clock.now() - wire_now()).as_seconds_f64().round() as i64)
    }
}

/// There is nothing to read from.
pub struct NoLogs;

impl ReadsLogs for NoLogs {
    fn read(&self, _: Ask) -> Doing<Result<Found, Trouble>> {
        Box::pin(async { Err(Trouble::NoToken) })
    }

    fn tail(&self, _: &Ask) -> mpsc::Receiver<Heard> {
        mpsc::channel(1).1
    }

    fn ahead(&self) -> TimeDelta {
        TimeDelta::zero()
    }
}

/// Now by the clock that the host stamps its lines with.
#[expect(clippy::disallowed_methods, reason = "Fly stamps its lines with wire time")]
pub fn wire_now() -> DateTime<Utc> {
    Utc::now()
}

/// Lines of all sources of a question, each read beside the others.
///
/// # Errors
/// None of them says anything; what the first one said.
async fn read<L: Logs>(logs: Arc<L>, ask: Ask) -> Result<Found, Trouble> {
    let until = Instant::now() + READ_FOR;
    let now_ns = wire_now().timestamp_nanos_opt().unwrap_or_default();
    let ask = Arc::new(ask);
    let begun: Vec<_> = (0..ask.of.len())
        .map(|n| {
            let (logs, ask) = (Arc::clone(&logs), Arc::clone(&ask));
            tokio::spawn(async move { one(&*logs, &ask, n, now_ns, until).await })
        })
        .collect();
    let (mut parts, mut troubles) = (Vec::new(), Vec::new());
    for (source, begun) in ask.of.iter().zip(begun) {
        match begun.await {
            Ok(Ok(part)) => parts.push(part),
            Ok(Err(trouble)) => troubles.push((source.service.clone(), trouble)),
            Err(broke) => troubles.push((source.service.clone(), Trouble::Silent(broke.to_string()))),
        }
    }
    if parts.is_empty() {
        return Err(troubles.into_iter().next().map_or(Trouble::NoToken, |(_, trouble)| trouble));
    }
    let mut found = Found::of(parts, &ask);
    found.silent = troubles
        .into_iter()
        .map(|(service, trouble)| match trouble {
            Trouble::Silent(says) => (service, says),
            Trouble::NoToken => (service, "there is no token".to_owned()),
        })
        .collect();
    Ok(found)
}

/// Lines of one source.
async fn one<L: Logs>(logs: &L, ask: &Ask, n: usize, now_ns: i64, until: Instant) -> Result<Found, Trouble> {
    let late = || Trouble::Silent(format!("Fly did not answer within {} s", READ_FOR.as_secs()));
    let source = ask.of.get(n).ok_or_else(late)?;
    let mut reading = Reading::new(source, ask, now_ns);
    let mut is_first = true;
    while let Some(begin) = reading.wants().cloned() {
        match timeout_at(until, logs.page(&source.app, &begin)).await {
            Ok(Ok(page)) => reading.take(page),
            // What was found before it fell silent is shown; that it goes no further is said with it.
            Ok(Err(_)) | Err(_) if !is_first => break,
            Ok(Err(trouble)) => return Err(trouble),
            Err(_) => return Err(late()),
        }
        is_first = false;
    }
    Ok(reading.end())
}
