//! Lines as they come, posted into a thread: what is posted when, and when it ends.
//!
//! Pure. Bounded on every side: a batch every few seconds, a number of lines, a time. Nothing of it goes on record but that it was
//! asked for and that it ended. Time is what has passed since it began.

use std::collections::VecDeque;

use chrono::TimeDelta;

use super::Line;

/// How long lines are followed.
pub const FOLLOWED_FOR: TimeDelta = TimeDelta::minutes(10);
/// How many lines are posted.
pub const FOLLOWED_LINES_MAX: usize = 200;
/// Threads that are written into at once.
pub const FOLLOWED_MAX: usize = 3;
/// Between two batches: Discord takes five posts in five seconds, and cards and pings come first.
const BATCH_EVERY: TimeDelta = TimeDelta::seconds(3);
/// Lines of one batch.
const BATCH_LINES_MAX: usize = 20;
/// Lines that wait for their batch; what comes beyond is counted and left out.
const WAITING_MAX: usize = 60;

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Lines, oldest first.
    Lines(Vec<Line>),
    /// A service's lines cannot be read for now; a sentence.
    Silent(String, String),
    /// They can be again.
    Back(String),
    /// A service's lines are not asked for any more; a sentence. The last of all of them ends it.
    Lost(String, String),
}

/// What is posted at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Lines.
    pub lines: Vec<Line>,
    /// So many more came than can be posted.
    pub left_out: usize,
    /// Services that fell silent, are back, or are lost.
    pub news: Vec<Heard>,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It went on for as long as it may.
    Time,
    /// As many lines were posted as may be.
    Lines,
    /// Somebody stopped it.
    Stopped,
    /// None of the services tells its lines any more.
    Lost,
}

/// Lines being followed.
#[derive(Debug, Default)]
pub struct Following {
    waiting: VecDeque<Line>,
    left_out: usize,
    news: Vec<Heard>,
    next: TimeDelta,
    shown: usize,
    is_lost: bool,
}

impl Following {
    /// Takes what was heard.
    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Lines(lines) => {
                for line in lines {
                    if self.waiting.len() < WAITING_MAX {
                        self.waiting.push_back(line);
                    } else {
                        self.left_out += 1;
                    }
                }
            }
            // A service that comes and goes is not told of without end.
            news if self.news.len() < WAITING_MAX => self.news.push(news),
            _ => {}
        }
    }

    /// Nothing more will be heard.
    pub fn hear_no_more(&mut self) {
        self.is_lost = true;
    }

    /// What is to be posted now; nothing before its time. `is_last`: it ends, so nothing waits for a time.
    pub fn batch(&mut self, now: TimeDelta, is_last: bool) -> Option<Batch> {
        let has_news = !self.waiting.is_empty() || self.left_out > 0 || !self.news.is_empty();
        if !has_news || (now < self.next && !is_last) {
            return None;
        }
        self.next = now + BATCH_EVERY;
        let room = BATCH_LINES_MAX.min(FOLLOWED_LINES_MAX - self.shown.min(FOLLOWED_LINES_MAX));
        let lines: Vec<Line> = self.waiting.drain(..room.min(self.waiting.len())).collect();
        self.shown += lines.len();
        let left_out = std::mem::take(&mut self.left_out);
        Some(Batch { lines, left_out, news: std::mem::take(&mut self.news) })
    }

    /// Whether it is over.
    pub fn over(&self, now: TimeDelta) -> Option<Over> {
        match () {
            () if self.shown >= FOLLOWED_LINES_MAX => Some(Over::Lines),
            () if now >= FOLLOWED_FOR => Some(Over::Time),
            () if self.is_lost && self.waiting.is_empty() => Some(Over::Lost),
            () => None,
        }
    }

    /// When to look again at the latest.
    pub fn look_at(&self) -> TimeDelta {
        if self.waiting.is_empty() && self.news.is_empty() { FOLLOWED_FOR } else { self.next.min(FOLLOWED_FOR) }
    }

    /// Lines posted.
    pub fn shown(&self) -> usize {
        self.shown
    }

    /// Lines that wait, or were left out and not told of yet.
    pub fn unsaid(&self) -> usize {
        self.waiting.len() + self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Heard {
        Heard::Lines((0..count).map(|n| Line { id: n.to_string(), ..Line::default() }).collect())
    }

    fn seconds(seconds: i64) -> TimeDelta {
        TimeDelta::seconds(seconds)
    }

    #[test]
    fn lines_go_in_batches_at_their_pace_and_none_twice() {
        let mut following = Following::default();
        assert_eq!((following.batch(seconds(0), false), following.look_at()), (None, FOLLOWED_FOR));
        following.hear(lines(25));
        let first = following.batch(seconds(0), false).map(|batch| batch.lines.len());
        assert_eq!((first, following.batch(seconds(1), false), following.look_at()), (Some(20), None, seconds(3)));
        let second = following.batch(seconds(3), false).unwrap_or_default();
        assert_eq!(
            second.lines.iter().map(|line| line.id.as_str()).collect::<Vec<_>>(),
            ["20", "21", "22", "23", "24"]
        );
        assert_eq!(following.batch(seconds(60), false), None);
    }

    #[test]
    fn what_is_too_much_is_counted_and_said() {
        let mut following = Following::default();
        following.hear(lines(100));
        assert_eq!(following.batch(seconds(0), false).map(|batch| batch.left_out), Some(40));
        following.hear(Heard::Silent("shop".to_owned(), "503".to_owned()));
        let batch = following.batch(seconds(3), false).unwrap_or_default();
        assert_eq!((batch.left_out, batch.news.len()), (0, 1));
    }

    #[test]
    fn it_ends_by_itself_after_its_time_or_its_lines_or_when_nothing_more_comes() {
        let mut following = Following::default();
        assert_eq!((following.over(seconds(599)), following.over(FOLLOWED_FOR)), (None, Some(Over::Time)));
        let mut now = seconds(0);
        while following.over(now).is_none() {
            following.hear(lines(30));
            following.batch(now, false);
            now += seconds(3);
        }
        assert_eq!((following.over(now), following.shown()), (Some(Over::Lines), FOLLOWED_LINES_MAX));
        let mut lost = Following::default();
        lost.hear(lines(1));
        lost.hear_no_more();
        assert_eq!(lost.over(seconds(1)), None, "what came is posted first");
        lost.batch(seconds(1), false);
        assert_eq!(lost.over(seconds(1)), Some(Over::Lost));
    }
}
