//! One rule about one thing over time: beyond its bound since when, within since when, and what that comes to.
//!
//! Pure. No data neither resolves nor resets. Time that nobody looked counts when the bot was away for no longer than the rule has to
//! last; over a clock that jumps none has passed (`Rules::pass`).

use std::hash::{Hash as _, Hasher as _};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::seeing::Sight;
use crate::domain::fact::At;
use crate::domain::policy::{Of, Rule};

/// A bot that was away for no longer than this, or than the rule's `for`, goes on counting where it was.
const AWAY_MAX: TimeDelta = TimeDelta::minutes(2);

/// One rule about one thing, followed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// When it was looked at last, whatever was seen.
    pub(super) looked_at: Option<At>,
    /// When something was seen last.
    pub(super) known_at: Option<At>,
    /// What was seen then.
    pub(super) value: Option<f64>,
    /// Since when it has been beyond its bound.
    pub(super) beyond_since: Option<At>,
    /// Since when it has been within.
    pub(super) within_since: Option<At>,
    /// Since when nothing is seen, and why where that was said.
    pub(super) nothing: Option<(At, Option<String>)>,
    /// What of a rule makes it another when it changes, in a number.
    #[serde(default)]
    what: u64,
    /// Whether a restart has to go on from it.
    #[serde(skip)]
    pub(super) keeps: bool,
    /// In shadow: that it would fire now.
    #[serde(default)]
    would_fire: bool,
    /// In shadow: how often it would have fired, and when last.
    #[serde(default)]
    would: Option<(u32, At)>,
}

/// What of a rule makes it another when it changes.
fn what(rule: &Rule) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    format!("{:?} {:?} {:?} {}", rule.of, rule.over, rule.bound, rule.shadow).hash(&mut hasher);
    hasher.finish()
}

/// What a rule comes to, in words of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// It has not been looked at.
    New,
    /// It is within its bound.
    Within,
    /// It is beyond it, and not for long enough.
    Pending {
        /// Since when.
        since: At,
    },
    /// It is beyond it for long enough.
    Fires {
        /// Since when it is beyond.
        since: At,
    },
    /// It is within again, and not for long enough.
    Lingers {
        /// Since when.
        since: At,
    },
    /// Nothing is seen.
    NoData {
        /// Since when.
        since: At,
    },
}

impl Followed {
    /// Takes in what was seen. `every`: how often it is looked at.
    pub(super) fn take(&mut self, rule: &Rule, sight: Sight, every: TimeDelta, now: At) {
        let away_max = rule.lasts.delta().max(AWAY_MAX).max(every * 2);
        let is_another = self.what != what(rule);
        if is_another || self.looked_at.is_some_and(|at| now - at > away_max) {
            // Nobody looked for longer than it has to last, or at something else: that says nothing of the time between.
            (self.beyond_since, self.within_since) = (None, None);
            self.what = what(rule);
        }
        self.looked_at = Some(now);
        match sight {
            // It is asked in turns with others: what was seen last holds.
            Sight::NotAsked => return,
            Sight::Value(value) => {
                (self.known_at, self.value, self.nothing) = (Some(now), Some(value), None);
                if rule.bound.is_crossed(value) {
                    self.within_since = None;
                    self.beyond_since.get_or_insert(now);
                } else {
                    self.beyond_since = None;
                    self.within_since.get_or_insert(now);
                }
            }
            Sight::Nothing(why) => {
                let since = self.nothing.as_ref().map_or(now, |(since, _)| *since);
                self.nothing = Some((since, why));
            }
        }
        let lingers = !rule.keeps.is_zero() && !self.is_within_for_long(rule);
        let counts_on = matches!(rule.of, Of::Answers { .. }) && self.value.is_some_and(|value| value > 0.0);
        self.keeps = self.beyond_since.is_some() || self.would.is_some() || lingers || counts_on;
        if rule.shadow {
            match (self.is_beyond_for_long(rule), self.is_within_for_long(rule)) {
                (true, _) if !self.would_fire => {
                    self.would_fire = true;
                    self.would = Some((self.would.map_or(0, |(times, _)| times) + 1, now));
                }
                (_, true) => self.would_fire = false,
                _ => {}
            }
        }
    }

    /// The clock jumped: what was noted by it is as long ago as it was, and nothing lies ahead of now.
    pub(super) fn shift(&mut self, by: TimeDelta, now: At) {
        let nothing = self.nothing.as_mut().map(|(since, _)| since);
        let would = self.would.as_mut().map(|(_, at)| at);
        let others = [&mut self.looked_at, &mut self.known_at, &mut self.beyond_since, &mut self.within_since];
        for at in others.into_iter().filter_map(Option::as_mut).chain(nothing).chain(would) {
            *at = (*at + by).min(now);
        }
    }

    /// Whether it was beyond its bound for long enough when it was seen last.
    pub(super) fn is_beyond_for_long(&self, rule: &Rule) -> bool {
        let since = self.beyond_since.zip(self.known_at);
        since.is_some_and(|(since, known)| known - since >= rule.lasts.delta())
    }

    /// Whether it was within it for long enough to be over.
    pub(super) fn is_within_for_long(&self, rule: &Rule) -> bool {
        let since = self.within_since.zip(self.known_at);
        since.is_some_and(|(since, known)| known - since >= rule.keeps.delta())
    }

    /// How it stands.
    pub fn standing(&self, rule: &Rule, fires: bool) -> Standing {
        match (self.beyond_since, self.within_since, &self.nothing) {
            (_, _, Some((since, _))) => Standing::NoData { since: *since },
            (Some(since), ..) if fires || self.is_beyond_for_long(rule) => Standing::Fires { since },
            (Some(since), ..) => Standing::Pending { since },
            (None, Some(since), _) if fires => Standing::Lingers { since },
            (None, Some(_), _) => Standing::Within,
            (None, None, None) => Standing::New,
        }
    }

    /// Whether something was seen when it was looked at last.
    pub fn is_known(&self) -> bool {
        self.nothing.is_none()
    }

    /// What was seen last.
    pub fn value(&self) -> Option<f64> {
        self.value
    }

    /// Why nothing is seen, where that was said.
    pub fn why_nothing(&self) -> Option<&str> {
        self.nothing.as_ref().and_then(|(_, why)| why.as_deref())
    }

    /// In shadow: how often it would have fired, and when last.
    pub fn would(&self) -> Option<(u32, At)> {
        self.would
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: TimeDelta = TimeDelta::seconds(30);

    fn rule(lines: &str) -> Rule {
        let text = format!("name = \"slow\"\nseverity = \"critical\"\nfigure = \"latency\"\nabove = \"1s\"\n{lines}");
        toml::from_str(&text).expect("it holds together")
    }

    fn at(looks: i32) -> At {
        chrono::DateTime::UNIX_EPOCH + EVERY * looks
    }

    /// What was seen, look by look: `x` beyond, `.` within, `?` no data, `-` nobody looked; and whether it fires after each.
    fn played(rule: &Rule, looks: &str) -> String {
        let (mut one, mut fires) = (Followed::default(), false);
        let mut out = String::new();
        for (n, look) in (0..).zip(looks.chars()) {
            let sight = match look {
                'x' => Some(Sight::Value(1.5)),
                '.' => Some(Sight::Value(0.5)),
                '?' => Some(Sight::Nothing(None)),
                _ => None,
            };
            if let Some(sight) = sight {
                one.take(rule, sight, EVERY, at(n));
                fires = (fires && !one.is_within_for_long(rule)) || one.is_beyond_for_long(rule);
            }
            out.push(if fires { '!' } else { ' ' });
        }
        out
    }

    #[test]
    fn a_rule_fires_when_it_has_lasted_and_is_over_when_it_is_well_again() {
        let rule = rule("for = \"2m\"");
        for (looks, fires) in [
            ("..xxxxxxx..", "      !!!  "),
            // It was well in between.
            ("xxx.xxxxxx.", "        !! "),
            // No data neither resets …
            ("xx???xxx...", "     !!!   "),
            // … nor resolves.
            ("xxxxxx???.?", "    !!!!!  "),
            // Away for no longer than it has to last: it goes on where it was.
            ("xx---xxx...", "     !!!   "),
            // Away for longer: it counts anew.
            ("xx-----xxxxx.", "           ! "),
            ("x?x?x?????.", "    !!!!!! "),
        ] {
            assert_eq!(played(&rule, looks), fires, "{looks}");
        }
    }

    #[test]
    fn what_keeps_firing_is_over_only_after_it_has_been_well_for_that_long() {
        let rule = rule("for = \"1m\"\nkeep_firing_for = \"90s\"");
        assert_eq!(played(&rule, "xxxx..x.....x"), "  !!!!!!!!   ");
        assert_eq!(played(&rule, "xxx.???.x...."), "  !!!!!      ");
    }

    #[test]
    fn whatever_happens_it_is_on_time() {
        // A plain reading of the promise, held against what is followed, over many made-up histories.
        let rule = rule("for = \"2m\"");
        let mut roll = 1_u64;
        for _ in 0..2_000 {
            let looks: String = (0..60)
                .map(|_| {
                    roll = roll.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    ['x', 'x', 'x', 'x', 'x', 'x', '.', '?', '?', '-'][usize::try_from((roll >> 33) % 10).unwrap_or(0)]
                })
                .collect();
            let fires: Vec<char> = played(&rule, &looks).chars().collect();
            let all: Vec<char> = looks.chars().collect();
            for n in 0..fires.len() {
                // Back to the first look beyond since it was last known to be within, or since nobody looked for too long.
                let mut since = None;
                let mut unseen = 0;
                for m in (0..=n).rev() {
                    match all[m] {
                        '.' => break,
                        'x' => (since, unseen) = (Some(m), 0),
                        '?' => unseen = 0,
                        _ => unseen += 1,
                    }
                    if unseen >= 4 {
                        break;
                    }
                }
                let newest_known = all[..=n].iter().rposition(|look| matches!(look, 'x' | '.'));
                let due = since.zip(newest_known).is_some_and(|(since, known)| all[known] == 'x' && known >= since + 4);
                let fired = n.checked_sub(1).is_some_and(|before| fires[before] == '!');
                if due {
                    assert_eq!(fires[n], '!', "{looks} at {n}");
                } else if !fired && newest_known.is_some_and(|known| all[known] == 'x') {
                    assert_eq!(fires[n], ' ', "too early: {looks} at {n}");
                } else if newest_known.is_some_and(|known| all[known] == '.') {
                    assert_eq!(fires[n], ' ', "{looks} at {n}");
                }
            }
        }
    }
}
