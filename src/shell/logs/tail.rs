//! Hearing log lines as they come: asked for again and again, or sent by NATS where the set-up names it.
//!
//! Owns how often is asked, and when a log side that is silent is given up. Lines come masked and sifted, each once.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::info;

use super::wire_now;
use crate::domain::logs::follow::Heard;
use crate::domain::logs::{Ask, Begin, Line, Reach, Sieve, Trouble};
use crate::ports::logs::{Came, LogLines, LogStream, Logs};

/// Messages that may wait for whoever listens; a full one holds the asking up.
const HEARD_MAX: usize = 16;
/// Pages read of one app in one round.
const ROUND_PAGES_MAX: usize = 10;
/// Rounds in a row in which an app's lines could not be read, before following it is given up: as flyctl's.
const FAILURES_MAX: u32 = 10;

/// How often is asked.
#[derive(Debug, Clone, Copy)]
pub struct TailPace {
    /// The wait after a round that brought lines.
    pub least: Duration,
    /// The longest wait, after rounds that brought none.
    pub most: Duration,
}

impl Default for TailPace {
    fn default() -> Self {
        // flyctl asks every 64 ms to 4 s; nobody reads a chat that fast.
        Self { least: Duration::from_secs(1), most: Duration::from_secs(4) }
    }
}

/// Lines of a question's services from its moment on (`Reach::After`; now with any other), until the receiver is dropped or none of
/// them can be read any more.
pub fn follow<L: Logs, S: LogStream>(
    logs: Arc<L>,
    stream: Option<Arc<S>>,
    ask: &Ask,
    pace: TailPace,
) -> mpsc::Receiver<Heard> {
    let (heard, listener) = mpsc::channel(HEARD_MAX);
    let after = match ask.reach {
        Reach::After(at) => at,
        _ => wire_now().timestamp_nanos_opt().unwrap_or_default(),
    };
    let sources = ask.of.iter().map(|source| Source {
        app: source.app.clone(),
        service: source.service.clone(),
        sieve: Sieve::new(source, ask.filter, ask.contains.as_deref()),
        begin: Begin::After(after),
        failures: 0,
        newest: Newest { begin_ns: after, ..Newest::default() },
    });
    let mut sources: Vec<Source> = sources.collect();
    tokio::spawn(async move {
        if let Some(stream) = stream {
            let apps: Vec<String> = sources.iter().map(|source| source.app.clone()).collect();
            match stream.subscribe(&apps).await {
                Ok(mut lines) => {
                    tokio::select! {
                        () = listen(&*logs, &mut lines, &mut sources, &heard) => {}
                        () = heard.closed() => return,
                    }
                    info!("The log stream has ended; lines are asked for over HTTP");
                }
                Err(Trouble::Silent(why)) => info!(reason = %why, "Lines are asked for over HTTP"),
                Err(Trouble::NoToken) => {}
            }
        }
        poll(&*logs, &mut sources, &heard, pace).await;
    });
    listener
}

/// Asks again and again.
async fn poll<L: Logs>(logs: &L, sources: &mut Vec<Source>, heard: &mpsc::Sender<Heard>, pace: TailPace) {
    let mut wait = pace.least;
    while !sources.is_empty() && !heard.is_closed() {
        let lines = round(logs, sources, heard).await;
        wait = if lines.is_empty() { (wait * 2).min(pace.most) } else { pace.least };
        if !lines.is_empty() && heard.send(Heard::Lines(lines)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = heard.closed() => return,
        }
    }
}

/// Hears what is sent. What was written before, or while the stream was away, is read over HTTP; a line that comes both ways is
/// told once.
async fn listen<L: Logs, I: LogLines>(logs: &L, lines: &mut I, sources: &mut Vec<Source>, heard: &mpsc::Sender<Heard>) {
    while let Some(came) = lines.next().await {
        let told = match came {
            Came::Missed => {
                for source in sources.iter_mut() {
                    source.begin = source.newest.missed_from().unwrap_or_else(|| source.begin.clone());
                }
                round(logs, sources, heard).await
            }
            Came::Line(app, line) => {
                let source = sources.iter_mut().find(|source| source.app == app);
                source
                    .and_then(|source| source.newest.is_new(&line).then(|| source.sieve.take(*line)))
                    .flatten()
                    .into_iter()
                    .collect()
            }
        };
        if !told.is_empty() && heard.send(Heard::Lines(told)).await.is_err() {
            return;
        }
    }
}

/// The newest lines of an app, by moment and words, so that one which comes over HTTP and over the stream is told once.
#[derive(Debug, Default)]
struct Newest {
    known: VecDeque<(i64, u64)>,
    latest_ns: i64,
    /// Nothing from before this is told.
    begin_ns: i64,
}

impl Newest {
    /// As many as can have come both ways.
    const KNOWN_MAX: usize = 2_000;
    /// How far back is read when something may have been missed: lines of several machines come out of order.
    const OVERLAP_NS: i64 = 5_000_000_000;

    /// Notes a line; whether it was not there before.
    fn is_new(&mut self, line: &Line) -> bool {
        let mut words = DefaultHasher::new();
        (&line.machine, &line.message).hash(&mut words);
        let one = (line.at_ns, words.finish());
        if self.known.contains(&one) {
            return false;
        }
        if self.known.len() >= Self::KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(one);
        self.latest_ns = self.latest_ns.max(line.at_ns);
        true
    }

    /// Where what may have been missed begins; none when no line has come.
    fn missed_from(&self) -> Option<Begin> {
        (self.latest_ns > 0).then(|| Begin::After(self.begin_ns.max(self.latest_ns - Self::OVERLAP_NS)))
    }
}

/// One app that is followed.
struct Source {
    app: String,
    service: String,
    sieve: Sieve,
    begin: Begin,
    failures: u32,
    newest: Newest,
}

/// Asks once for each; those that are lost are not asked any more.
async fn round<L: Logs>(logs: &L, sources: &mut Vec<Source>, heard: &mpsc::Sender<Heard>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut lost = Vec::new();
    for (n, source) in sources.iter_mut().enumerate() {
        match more(logs, source).await {
            Ok(found) => {
                lines.extend(found);
                if std::mem::take(&mut source.failures) > 0 {
                    let _ = heard.send(Heard::Back(source.service.clone())).await;
                }
            }
            Err(trouble) => {
                source.failures += 1;
                let is_lost = source.failures >= FAILURES_MAX || trouble == Trouble::NoToken;
                let says = match trouble {
                    Trouble::Silent(says) => says,
                    Trouble::NoToken => "there is no token".to_owned(),
                };
                let service = source.service.clone();
                if is_lost {
                    lost.push(n);
                    let _ = heard.send(Heard::Lost(service, says)).await;
                } else if source.failures == 1 {
                    let _ = heard.send(Heard::Silent(service, says)).await;
                }
            }
        }
    }
    for n in lost.into_iter().rev() {
        sources.remove(n);
    }
    lines.sort_by_key(|line: &Line| line.at_ns);
    lines
}

/// What has come of one app since it was asked last. What was read before an error is kept: it is not read again.
async fn more<L: Logs>(logs: &L, source: &mut Source) -> Result<Vec<Line>, Trouble> {
    let mut lines = Vec::new();
    for n in 0..ROUND_PAGES_MAX {
        let page = match logs.page(&source.app, &source.begin).await {
            Ok(page) => page,
            Err(_) if n > 0 => break,
            Err(trouble) => return Err(trouble),
        };
        source.begin = Begin::Next(page.next);
        if page.lines.is_empty() {
            break;
        }
        let Source { sieve, newest, .. } = &mut *source;
        lines.extend(page.lines.into_iter().filter(|line| newest.is_new(line)).filter_map(|line| sieve.take(line)));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::logs::{Cursor, Filter, Page, SLOW_MS, Source as Named};

    /// Gives what it was told to, then nothing.
    struct Script(Mutex<VecDeque<Result<Vec<&'static str>, &'static str>>>, Mutex<Vec<Begin>>);

    impl Logs for Script {
        async fn page(&self, _: &str, begin: &Begin) -> Result<Page, Trouble> {
            self.1.lock().map(|mut asked| asked.push(begin.clone())).unwrap_or_default();
            let next = self.0.lock().ok().and_then(|mut script| script.pop_front()).unwrap_or(Ok(Vec::new()));
            let lines = next.map_err(|says| Trouble::Silent(says.to_owned()))?;
            let lines = lines.into_iter().map(|message| Line { message: message.to_owned(), ..Line::default() });
            Ok(Page { lines: lines.collect(), next: Cursor { token: "9".to_owned(), seen: Vec::new() } })
        }
    }

    /// No stream.
    struct Nothing;

    impl LogStream for Nothing {
        type Lines = Nothing;

        async fn subscribe(&self, _: &[String]) -> Result<Nothing, Trouble> {
            Err(Trouble::NoToken)
        }
    }

    impl LogLines for Nothing {
        async fn next(&mut self) -> Option<Came> {
            None
        }
    }

    fn follow(script: Vec<Result<Vec<&'static str>, &'static str>>) -> (Arc<Script>, mpsc::Receiver<Heard>) {
        let logs = Arc::new(Script(Mutex::new(script.into()), Mutex::default()));
        let of = vec![Named { service: "shop".to_owned(), app: "shop".to_owned(), slow_ms: SLOW_MS }];
        let ask = Ask { of, filter: Filter::Errors, contains: None, reach: Reach::After(7), lines: 1 };
        let pace = TailPace { least: Duration::from_millis(1), most: Duration::from_millis(2) };
        (Arc::clone(&logs), super::follow(logs, None::<Arc<Nothing>>, &ask, pace))
    }

    fn says(heard: Option<Heard>) -> String {
        match heard {
            Some(Heard::Lines(lines)) => lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>().join("|"),
            Some(Heard::Silent(_, says)) => format!("silent: {says}"),
            Some(Heard::Back(service)) => format!("back: {service}"),
            Some(Heard::Lost(_, says)) => format!("lost: {says}"),
            None => "over".to_owned(),
        }
    }

    #[tokio::test]
    async fn lines_come_sifted_and_masked_and_a_short_silence_is_said_once() {
        let (logs, mut heard) = follow(vec![
            Ok(vec!["error in a", "fine"]),
            Ok(vec!["error token=abc123xyz"]),
            Ok(vec![]),
            Err("503"),
            Err("503"),
            Ok(vec!["error in b"]),
        ]);
        assert_eq!(says(heard.recv().await), "error in a|error token=…");
        assert_eq!(says(heard.recv().await), "silent: 503");
        assert_eq!(says(heard.recv().await), "back: shop");
        assert_eq!(says(heard.recv().await), "error in b");
        let asked = logs.1.lock().map(|asked| asked.clone()).unwrap_or_default();
        assert_eq!(asked.first(), Some(&Begin::After(7)));
        assert!(asked.iter().skip(1).all(|begin| matches!(begin, Begin::Next(_))), "{asked:?}");
    }

    #[tokio::test]
    async fn what_stays_silent_is_given_up() {
        let (_, mut heard) = follow(vec![Err("401"); 20]);
        assert_eq!(says(heard.recv().await), "silent: 401");
        assert_eq!(says(heard.recv().await), "lost: 401");
        assert_eq!(says(heard.recv().await), "over");
    }
}
