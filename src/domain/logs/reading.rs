//! Finding lines with a host that only reads forward: which page is wanted next, and what was found.
//!
//! Pure: whoever reads asks `wants`, brings the page to `take`, and has the `end` when nothing is wanted any more or it took long
//! enough. The newest lines are found by stepping back in windows of time: each is read to its end before an earlier one is, so
//! what was found has no gap. A window that holds too much is made smaller, one that holds next to nothing larger.

use std::collections::VecDeque;

use chrono::TimeDelta;

use super::{Ask, Begin, Cursor, Found, KEPT, Line, Page, Reach, Sieve, Source};

/// Pages read for one source and question, at most; of some hundred lines each.
pub const PAGES_MAX: usize = 24;
/// Pages of one window; one with more is made smaller.
const WINDOW_PAGES_MAX: usize = 4;
/// The first window, where nothing is known of how much is written.
const WINDOW_FIRST: TimeDelta = TimeDelta::minutes(1);
/// The smallest window.
const WINDOW_MIN: TimeDelta = TimeDelta::seconds(1);
/// How far back the host looks when it is asked for the newest lines (field notes).
const NEWEST_REACH: TimeDelta = TimeDelta::hours(24);
/// How many times larger a window is after one that was read in one page.
const GROWTH: i32 = 4;

/// One source being read.
#[derive(Debug)]
pub struct Reading {
    sieve: Sieve,
    want: usize,
    /// Towards the newest, not back.
    forward: bool,
    /// Nothing before this is wanted, in nanoseconds.
    least: i64,
    /// Everything from here up to `until` was looked at.
    from: i64,
    until: i64,
    kept: VecDeque<Line>,
    window: Option<Window>,
    span: i64,
    next: Option<Begin>,
    is_whole: bool,
    pages: usize,
    read: usize,
}

/// A stretch of time being read, before what was looked at already.
#[derive(Debug)]
struct Window {
    from: i64,
    lines: Vec<Line>,
    pages: usize,
    /// When its first line was written.
    first: Option<i64>,
    read: usize,
}

fn ns(span: TimeDelta) -> i64 {
    span.num_nanoseconds().unwrap_or(i64::MAX)
}

impl Reading {
    /// One source of a question; `now_ns` is the host's time.
    pub fn new(source: &Source, ask: &Ask, now_ns: i64) -> Self {
        let sieve = Sieve::new(source, ask.filter, ask.contains.as_deref());
        let kept_from = now_ns.saturating_sub(ns(KEPT));
        let (forward, least, from, until, next) = match ask.reach {
            Reach::Last(span) => {
                (false, now_ns.saturating_sub(ns(span)).max(kept_from), now_ns, now_ns, Some(Begin::Newest))
            }
            Reach::Before(at) => (false, kept_from, at, at.saturating_sub(1), None),
            Reach::After(at) => (true, at, at.saturating_add(1), at, Some(Begin::After(at))),
        };
        let mut reading = Self {
            sieve,
            want: ask.lines,
            forward,
            least,
            from,
            until,
            kept: VecDeque::new(),
            window: None,
            span: ns(WINDOW_FIRST),
            next,
            is_whole: false,
            pages: 0,
            read: 0,
        };
        if reading.next.is_none() {
            reading.step_back();
        }
        reading
    }

    /// The page that is wanted next; none when all is found.
    pub fn wants(&self) -> Option<&Begin> {
        self.next.as_ref().filter(|_| self.pages < PAGES_MAX)
    }

    /// Takes a page.
    pub fn take(&mut self, page: Page) {
        self.pages += 1;
        let begin = self.next.take();
        if self.forward {
            self.take_forward(page);
        } else if begin == Some(Begin::Newest) {
            self.take_newest(page);
        } else {
            self.take_window(page);
        }
    }

    fn take_forward(&mut self, page: Page) {
        self.is_whole = page.lines.is_empty();
        for line in page.lines {
            if line.at_ns <= self.least {
                continue;
            }
            self.until = self.until.max(line.at_ns);
            self.read += 1;
            self.kept.extend(self.sieve.take(line));
            if self.kept.len() >= self.want {
                return;
            }
        }
        if !self.is_whole {
            self.next = Some(Begin::Next(page.next));
        }
    }

    fn take_newest(&mut self, page: Page) {
        let edges = page.lines.first().zip(page.lines.last()).map(|(first, last)| (first.at_ns, last.at_ns));
        match edges {
            // Nothing at all: all of that time was looked at.
            None => self.from = self.from.saturating_sub(ns(NEWEST_REACH)).max(self.least),
            Some((first, last)) => {
                // What comes late may be dated before now, so only what was there counts as looked at.
                (self.from, self.until) = (first.max(self.least), last);
                self.span = last.saturating_sub(first).clamp(ns(WINDOW_MIN), ns(WINDOW_FIRST));
            }
        }
        let least = self.least;
        for line in page.lines.into_iter().filter(|line| line.at_ns >= least) {
            self.read += 1;
            self.kept.extend(self.sieve.take(line));
        }
        self.step_back();
    }

    fn take_window(&mut self, page: Page) {
        let Some(mut window) = self.window.take() else { return };
        window.pages += 1;
        let last = page.lines.last().map(|line| line.at_ns);
        let first = *window.first.get_or_insert(page.lines.first().map_or(window.from, |line| line.at_ns));
        let is_read = last.is_none_or(|last| last >= self.from);
        let within = page.lines.into_iter().filter(|line| line.at_ns >= window.from && line.at_ns < self.from);
        let within = within.inspect(|_| window.read += 1);
        window.lines.extend(within.filter_map(|line| self.sieve.take(line)));
        match last.filter(|_| !is_read) {
            None => {
                for line in window.lines.into_iter().rev() {
                    self.kept.push_front(line);
                }
                if window.pages == 1 {
                    self.span = self.span.saturating_mul(i64::from(GROWTH));
                }
                self.from = window.from;
                self.read += window.read;
                self.step_back();
            }
            // Too much for one step: a smaller one, somewhat less than what these pages held.
            Some(last) if window.pages >= WINDOW_PAGES_MAX && self.span > ns(WINDOW_MIN) => {
                self.span =
                    (last.saturating_sub(first) / 4 * 3).clamp(ns(WINDOW_MIN), (self.span / 2).max(ns(WINDOW_MIN)));
                self.step_back();
            }
            Some(_) => {
                self.window = Some(window);
                self.next = Some(Begin::Next(page.next));
            }
        }
    }

    /// The window before what was looked at, unless enough was found or nothing before it is wanted.
    fn step_back(&mut self) {
        self.is_whole = self.from <= self.least;
        if self.is_whole || self.kept.len() >= self.want {
            return;
        }
        let from = self.from.saturating_sub(self.span).max(self.least);
        self.window = Some(Window { from, lines: Vec::new(), pages: 0, first: None, read: 0 });
        self.next = Some(Begin::After(from.saturating_sub(1)));
    }

    /// What was found, however far it came.
    pub fn end(self) -> Found {
        let Self { kept, want, forward, from, until, is_whole, read, .. } = self;
        let found = Found { lines: kept.into(), from_ns: from, until_ns: until, is_whole, read, ..Found::default() };
        found.cut(want, forward)
    }
}

impl Found {
    /// So many lines at most, with what is said of them made to fit.
    fn cut(mut self, want: usize, forward: bool) -> Self {
        if self.lines.len() > want {
            self.is_whole = false;
            if forward {
                self.lines.truncate(want);
                self.until_ns = self.lines.last().map_or(self.until_ns, |line| line.at_ns);
            } else {
                self.lines.drain(..self.lines.len() - want);
                self.from_ns = self.lines.first().map_or(self.from_ns, |line| line.at_ns);
            }
        }
        self
    }

    /// What was found in several sources as one: only what was looked at in all of them, so that there is no gap.
    pub fn of(parts: Vec<Found>, ask: &Ask) -> Self {
        let forward = matches!(ask.reach, Reach::After(_));
        let mut all = Found { is_whole: parts.iter().all(|part| part.is_whole), ..Found::default() };
        all.from_ns = parts.iter().map(|part| part.from_ns).max().unwrap_or_default();
        let open = parts.iter().filter(|part| !part.is_whole).map(|part| part.until_ns).min().filter(|_| forward);
        all.until_ns = open.or(parts.iter().map(|part| part.until_ns).max()).unwrap_or_default();
        for part in parts {
            all.read += part.read;
            all.silent.extend(part.silent);
            let fits = |line: &Line| line.at_ns >= all.from_ns && (!forward || line.at_ns <= all.until_ns);
            all.lines.extend(part.lines.into_iter().filter(fits));
        }
        all.lines
            .sort_by(|one, other| (one.at_ns, &one.service, &one.id).cmp(&(other.at_ns, &other.service, &other.id)));
        all.cut(ask.lines, forward)
    }
}

/// The page of a list of lines that a host would give which pages as Fly does: for worlds that have none.
pub fn page_of(lines: &[Line], begin: &Begin, lines_max: usize) -> Page {
    let after: Option<i64> = match begin {
        Begin::Newest => None,
        Begin::After(at) => Some(*at),
        Begin::Next(cursor) => cursor.token.parse().ok(),
    };
    let lines: Vec<Line> = match after {
        Some(after) => lines.iter().filter(|line| line.at_ns > after).take(lines_max).cloned().collect(),
        None => lines.get(lines.len().saturating_sub(lines_max)..).unwrap_or_default().to_vec(),
    };
    let token = lines.last().map(|line| line.at_ns).or(after).unwrap_or_default();
    Page { lines, next: Cursor { token: token.to_string(), seen: Vec::new() } }
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, SLOW_MS};
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 2_000_000 * SECOND;

    fn source(service: &str) -> Source {
        Source { service: service.to_owned(), app: service.to_owned(), slow_ms: SLOW_MS }
    }

    fn ask(reach: Reach, lines: usize) -> Ask {
        Ask { of: vec![source("shop")], filter: Filter::Errors, contains: None, reach, lines }
    }

    /// A line every so many seconds up to now, oldest first; every tenth is an error.
    fn log(count: i64, every: f64) -> Vec<Line> {
        let line = |n: i64| Line {
            id: n.to_string(),
            at_ns: NOW - (every * (SECOND as f64)) as i64 * (count - 1 - n),
            message: if n % 10 == 0 { format!("error in {n}") } else { format!("fine {n}") },
            ..Line::default()
        };
        (0..count).map(line).collect()
    }

    fn read(lines: &[Line], ask: &Ask) -> (Found, usize) {
        let mut reading = Reading::new(&ask.of[0], ask, NOW);
        let mut pages = 0;
        while let Some(begin) = reading.wants() {
            let page = page_of(lines, begin, 100);
            reading.take(page);
            pages += 1;
            assert!(pages <= PAGES_MAX);
        }
        (Found::of(vec![reading.end()], ask), pages)
    }

    fn errors(lines: &[Line]) -> Vec<&str> {
        lines.iter().filter(|line| line.message.starts_with("error")).map(|line| line.id.as_str()).collect()
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.lines.iter().map(|line| line.id.as_str()).collect()
    }

    #[test]
    fn turning_back_page_by_page_shows_every_line_once_however_densely_they_are_written() {
        for (count, every) in [(30, 3_600.0), (5_000, 1.0), (3_000, 0.01), (2_000, 40.0), (900, 0.000_1)] {
            let lines = log(count, every);
            let mut seen: Vec<String> = Vec::new();
            let mut reach = Reach::Last(TimeDelta::hours(1));
            for _ in 0..1_000 {
                let (found, _) = read(&lines, &ask(reach, 15));
                seen.splice(0..0, ids(&found).into_iter().map(str::to_owned));
                if found.is_whole && matches!(reach, Reach::Before(_)) {
                    break;
                }
                reach = Reach::Before(found.from_ns);
            }
            let wanted = errors(&lines);
            assert_eq!(seen, wanted, "{count} lines, one every {every} s");
        }
    }

    #[test]
    fn turning_forward_shows_every_line_once() {
        let lines = log(1_000, 1.0);
        let mut seen: Vec<String> = Vec::new();
        let mut reach = Reach::After(lines[0].at_ns - 1);
        loop {
            let (found, _) = read(&lines, &ask(reach, 15));
            seen.extend(ids(&found).into_iter().map(str::to_owned));
            if found.is_whole {
                break;
            }
            reach = Reach::After(found.until_ns);
        }
        assert_eq!(seen, errors(&lines));
    }

    #[test]
    fn back_and_forth_is_the_same_page() {
        let lines = log(2_000, 1.0);
        let (newest, _) = read(&lines, &ask(Reach::Last(TimeDelta::hours(1)), 15));
        let (older, _) = read(&lines, &ask(Reach::Before(newest.from_ns), 15));
        let (again, _) = read(&lines, &ask(Reach::After(older.until_ns), 15));
        assert_eq!(ids(&again), ids(&newest));
        let (shown, _) = read(&lines, &ask(Reach::After(older.lines[0].at_ns - 1), older.lines.len()));
        assert_eq!(ids(&shown), ids(&older));
    }

    #[test]
    fn what_is_quiet_is_read_in_a_few_pages_and_what_is_loud_ends() {
        let (found, pages) = read(&[], &ask(Reach::Last(KEPT), 15));
        assert!(found.is_whole && found.lines.is_empty() && pages <= 10, "{pages}");
        let mut loud = log(20_000, 0.01);
        loud.iter_mut().for_each(|line| line.message = "fine".to_owned());
        let (found, pages) = read(&loud, &ask(Reach::Last(TimeDelta::hours(1)), 15));
        assert!(!found.is_whole && pages == PAGES_MAX && found.from_ns < NOW - 10 * SECOND, "it says how far it came");
        let (further, _) = read(&loud, &ask(Reach::Before(found.from_ns), 15));
        assert!(further.from_ns < found.from_ns - 5 * SECOND, "and goes on from there");
    }

    #[test]
    fn a_span_is_not_gone_beyond() {
        let lines = log(7_200, 1.0);
        let (found, _) = read(&lines, &ask(Reach::Last(TimeDelta::minutes(1)), 15));
        assert_eq!((found.lines.len(), found.is_whole, found.read), (6, true, 61), "each line counted once");
    }

    #[test]
    fn several_sources_are_one_without_a_gap() {
        let wanted =
            |reach| Ask { of: vec![source("a"), source("b")], filter: Filter::All, contains: None, reach, lines: 3 };
        let part = |service: &str, at: &[i64], from_ns: i64, is_whole: bool| Found {
            lines: at.iter().map(|at| Line { service: service.to_owned(), at_ns: *at, ..Line::default() }).collect(),
            from_ns,
            until_ns: 100,
            is_whole,
            ..Found::default()
        };
        let back = wanted(Reach::Before(101));
        let found = Found::of(vec![part("a", &[50, 60], 50, false), part("b", &[10, 70], 10, true)], &back);
        let at = |found: &Found| found.lines.iter().map(|line| line.at_ns).collect::<Vec<_>>();
        assert_eq!((at(&found), found.from_ns, found.is_whole), (vec![50, 60, 70], 50, false));
        let forth = wanted(Reach::After(0));
        let loud = Found { until_ns: 30, ..part("a", &[10, 20, 30], 1, false) };
        let found = Found::of(vec![loud, part("b", &[15, 90], 1, true)], &forth);
        assert_eq!((at(&found), found.until_ns, found.is_whole), (vec![10, 15, 20], 20, false));
    }
}
