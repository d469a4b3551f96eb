//! The team's own rules: what each of them would see at any moment, the driver's look at them with its notes, and a plain reading of
//! what must follow.
//!
//! Modelled, from `shell/driver/watching.rs`: when rules are looked at, and that what they have seen is noted beside the record after
//! what follows from it is on the record. A note that is not settled dies with its process. The reading shares nothing with
//! `domain/rules`: it goes back over the looks whose notes survived, and says whether a rule must fire, must be over, or stays as it is.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::figures::Ask;
use crate::domain::metrics::Series;
use crate::log::torn::Dice;

/// What is answered to questions for figures, by their keys.
pub type Figures = BTreeMap<String, Result<Vec<Series>, String>>;

/// How often rules are looked at, in seconds.
pub const EVERY_S: i64 = 60;
/// Who was away for no longer goes on counting where it was, whatever the rule, in seconds.
const AWAY_S: i64 = 120;
/// The longest that an answer is waited for, in ms.
const ANSWER_MS: u64 = 40_000;

/// The rules, as a policy has them.
const WRITTEN: &str = r#"
[[rules]]
name = "Slow"
severity = "critical"
query = "slow $app"
above = 1
for = "3m"
keep_firing_for = "4m"
services = ["checkout"]

[[rules]]
name = "Leak"
severity = "warning"
query = "leak $app"
above = 1
for = "5m"
services = ["checkout"]
stages = ["production", "staging"]

[[rules]]
name = "Lost"
severity = "critical"
query = "lost $app"
above = 1
keep_firing_for = "2m"
declare = "sev3"
services = ["checkout"]

[[rules]]
name = "Blind"
severity = "warning"
answers = "fly"
above = "4m"
"#;

/// One rule about one thing, as the reading knows it.
struct Plain {
    key: &'static str,
    /// What is asked of it; nothing of the one about the source itself.
    query: &'static str,
    lasts_s: i64,
    keeps_s: i64,
}

const PLAIN: [Plain; SUBJECTS] = [
    Plain { key: "Slow/critical/checkout/production", query: "slow lighthouse-checkout", lasts_s: 180, keeps_s: 240 },
    Plain { key: "Leak/warning/checkout/production", query: "leak lighthouse-checkout", lasts_s: 300, keeps_s: 0 },
    Plain { key: "Leak/warning/checkout/staging", query: "leak lighthouse-checkout-staging", lasts_s: 300, keeps_s: 0 },
    Plain { key: "Lost/critical/checkout/production", query: "lost lighthouse-checkout", lasts_s: 0, keeps_s: 120 },
    Plain { key: "Blind/warning", query: "", lasts_s: 0, keeps_s: 0 },
];
const SUBJECTS: usize = 5;
/// The source that does not answer for longer is said to be away, in seconds.
const BLIND_S: i64 = 240;

/// `[alerts]` of a policy: with these rules, in the second with another bound, in the third without one of them.
pub fn written(alerts: &mut toml::Table, policy: usize) {
    let text = if policy == 1 { WRITTEN.replacen("above = 1", "above = 2", 1) } else { WRITTEN.to_owned() };
    let mut table: toml::Table = text.parse().expect("rules");
    let mut rules = table.remove("rules").expect("rules");
    if let (2, Some(rules)) = (policy, rules.as_array_mut()) {
        rules.retain(|rule| rule.get("name").and_then(toml::Value::as_str) != Some("Leak"));
    }
    alerts.insert("rules".to_owned(), rules);
    alerts.insert("rules_every".to_owned(), format!("{EVERY_S}s").into());
}

/// Whether a policy has a rule, and which of its kinds.
fn kind_of(which: usize, policy: usize) -> Option<u8> {
    match (which, policy) {
        (0, 1) => Some(1),
        (1 | 2, 2) => None,
        _ => Some(0),
    }
}

/// What a rule would see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    Beyond,
    Within,
    Nothing,
}

/// A look that was decided.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: DateTime<Utc>,
    sees: [Sees; SUBJECTS],
    /// Of which kind each rule was: what is said of another kind says nothing.
    kinds: [Option<u8>; SUBJECTS],
    /// When the source answered last, as far as that is known.
    answered: Option<DateTime<Utc>>,
}

/// A look that is on its way.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Its number.
    pub number: u64,
    sees: Vec<(usize, Sees)>,
    answers: bool,
    /// What it is answered.
    pub figures: Figures,
    /// How long that takes.
    pub takes: TimeDelta,
}

/// What the views hold of it.
#[derive(Debug, Clone, Default)]
struct Note {
    bytes: Option<Vec<u8>>,
    looks: usize,
}

/// The truth, the looks, and the notes.
pub struct Watched {
    /// What would be seen from when on, by rule.
    truth: [Vec<(DateTime<Utc>, Sees)>; SUBJECTS],
    has_staging: bool,
    looks: Vec<Look>,
    held: Note,
    settled: Note,
    /// Looks asked for.
    pub asked: u64,
    /// When this life began, or the disk refused something.
    quiet_since: DateTime<Utc>,
}

impl Watched {
    /// A truth of so many hours.
    pub fn new(now: DateTime<Utc>, hours: u64, has_staging: bool, dice: &mut Dice) -> Self {
        let end = now + TimeDelta::hours(hours.cast_signed());
        let truth = std::array::from_fn(|which| {
            let mut truth = vec![(now, Sees::Within)];
            let mut at = now;
            // The source is there most of the time.
            let calm = if PLAIN[which].query.is_empty() { 4 } else { 1 };
            while at < end {
                let (sees, least_s, most_s) = match dice.below(8) {
                    0..4 => (Sees::Beyond, 20, 700),
                    4 => (Sees::Nothing, 20, 400),
                    // Well for so short a time that it hardly shows.
                    5 => (Sees::Within, 5, 100),
                    _ => (Sees::Within, 20, 3_000 * calm),
                };
                truth.push((at, sees));
                at += TimeDelta::milliseconds((1_000 * least_s + dice.below(1_000 * (most_s - least_s))).cast_signed());
            }
            truth
        });
        Self {
            truth,
            has_staging,
            looks: Vec::new(),
            held: Note::default(),
            settled: Note::default(),
            asked: 0,
            quiet_since: now,
        }
    }

    /// Beyond before this moment, within for so long, and beyond again.
    pub fn lull(&mut self, when: DateTime<Utc>, long: TimeDelta) {
        let (from, to) = (when - TimeDelta::minutes(4), when + long + TimeDelta::minutes(8));
        for truth in &mut self.truth[..SUBJECTS - 1] {
            let after = truth.iter().rev().find(|(at, _)| *at <= to).map_or(Sees::Within, |(_, sees)| *sees);
            truth.retain(|(at, _)| *at < from || *at > to);
            truth.extend([(from, Sees::Beyond), (when, Sees::Within), (when + long, Sees::Beyond), (to, after)]);
            truth.sort_by_key(|(at, _)| *at);
        }
    }

    /// From now on nothing changes by itself: some are beyond and some within; or all are within.
    pub fn calm(&mut self, now: DateTime<Utc>, all: bool, dice: &mut Dice) {
        for (truth, plain) in self.truth.iter_mut().zip(&PLAIN) {
            truth.retain(|(at, _)| *at < now);
            let within = all || plain.query.is_empty() || dice.below(2) == 0;
            truth.push((now, if within { Sees::Within } else { Sees::Beyond }));
        }
    }

    fn sees(&self, which: usize, at: DateTime<Utc>) -> Sees {
        let before = self.truth[which].iter().rev().find(|(from, _)| *from <= at);
        before.map_or(Sees::Within, |(_, sees)| *sees)
    }

    /// The source is asked.
    pub fn ask(&mut self, now: DateTime<Utc>, asks: &[Ask], healed: bool, dice: &mut Dice) -> Asked {
        self.asked += 1;
        let is_away = self.sees(SUBJECTS - 1, now) != Sees::Within;
        let mut asked = Asked { number: self.asked, ..Asked::default() };
        for ask in asks {
            let which = PLAIN.iter().position(|plain| plain.query == ask.promql);
            let Some(which) = which else { continue };
            if is_away || (!healed && dice.below(50) == 0) {
                // Refused, or not in time.
                if dice.below(2) == 0 {
                    asked.figures.insert(ask.key.clone(), Err("connection refused".to_owned()));
                }
                asked.sees.push((which, Sees::Nothing));
                continue;
            }
            let sees = self.sees(which, now);
            let series = |value| Series { points: vec![(now, value)], ..Series::default() };
            let told = match sees {
                Sees::Beyond => vec![series(7.0)],
                Sees::Within => vec![series(0.5)],
                Sees::Nothing => Vec::new(),
            };
            asked.figures.insert(ask.key.clone(), Ok(told));
            asked.sees.push((which, sees));
            asked.answers = true;
        }
        let long = !healed && dice.below(20) == 0;
        asked.takes = TimeDelta::milliseconds(50 + dice.below(if long { ANSWER_MS } else { 3_000 }).cast_signed());
        asked
    }

    /// The disk refused what was decided: this look is none.
    pub fn refused(&mut self, now: DateTime<Utc>) {
        self.quiet_since = now;
    }

    /// A look is decided and let go; `fires` says of a rule whether it fires on the record, before it and now.
    pub fn looked(
        &mut self,
        now: DateTime<Utc>,
        asked: &Asked,
        policy: usize,
        fires: impl Fn(&str) -> (bool, bool),
    ) -> Result<(), String> {
        let kinds: [Option<u8>; SUBJECTS] = std::array::from_fn(|which| kind_of(which, policy));
        let mut sees = [Sees::Nothing; SUBJECTS];
        asked.sees.iter().for_each(|(which, seen)| sees[*which] = *seen);
        let known = self.looks.last().and_then(|look| look.answered);
        let answered = if asked.answers { Some(now) } else { known };
        sees[SUBJECTS - 1] = match answered {
            Some(at) if now - at > TimeDelta::seconds(BLIND_S) => Sees::Beyond,
            Some(_) => Sees::Within,
            None => Sees::Nothing,
        };
        self.looks.push(Look { at: now, sees, kinds, answered });
        for (which, plain) in PLAIN.iter().enumerate() {
            if which == 2 && !self.has_staging {
                continue;
            }
            let (before, after) = fires(plain.key);
            let (must, why) = match kinds[which] {
                None => (false, "it is no rule any more".to_owned()),
                Some(_) => match self.reading(which) {
                    Some((Sees::Beyond, lasts)) if lasts >= TimeDelta::seconds(plain.lasts_s) => {
                        (true, format!("it is beyond its bound for {lasts}"))
                    }
                    Some((Sees::Within, lasts)) if lasts >= TimeDelta::seconds(plain.keeps_s) => {
                        (false, format!("it is within its bound for {lasts}"))
                    }
                    reading => (before, format!("nothing changes: {reading:?}")),
                },
            };
            if after != must {
                let fires = if after { "fires" } else { "does not fire" };
                return Err(format!("1: the rule {} {fires}, and {why}", plain.key));
            }
            if !after && kinds[which].is_some() && self.is_late(which, now) {
                return Err(format!("1: the rule {} should have fired long since", plain.key));
            }
        }
        Ok(())
    }

    /// What a rule saw last, and for how long it had seen nothing else then.
    fn reading(&self, which: usize) -> Option<(Sees, TimeDelta)> {
        let plain = &PLAIN[which];
        let away = TimeDelta::seconds(plain.lasts_s.max(AWAY_S).max(2 * EVERY_S));
        let last = self.looks.last()?;
        let mut newest: Option<(DateTime<Utc>, Sees)> = None;
        let (mut since, mut later) = (last.at, last.at);
        for look in self.looks.iter().rev() {
            if later - look.at > away || look.kinds[which] != last.kinds[which] {
                break;
            }
            later = look.at;
            match (look.sees[which], newest) {
                (Sees::Nothing, _) => {}
                (sees, None) => (newest, since) = (Some((look.at, sees)), look.at),
                (sees, Some((_, same))) if sees == same => since = look.at,
                _ => break,
            }
        }
        newest.map(|(at, sees)| (sees, at - since))
    }

    /// By the truth alone: whether it has been beyond for so long, with the bot there and every look seeing it, that it must fire.
    fn is_late(&self, which: usize, now: DateTime<Utc>) -> bool {
        let plain = &PLAIN[which];
        if plain.query.is_empty() {
            return false;
        }
        let turns = self.truth[which].iter().rev().skip_while(|(at, _)| *at > now);
        let since = turns.take_while(|(_, sees)| *sees == Sees::Beyond).last().map(|(at, _)| *at);
        let Some(since) = since.map(|since| since.max(self.quiet_since)) else { return false };
        let mut seen = self.looks.iter().rev().take_while(|look| look.at >= since);
        let all = seen.all(|look| {
            look.sees[which] == Sees::Beyond && look.kinds[which] == self.looks[self.looks.len() - 1].kinds[which]
        });
        let answer = TimeDelta::milliseconds(2 * ANSWER_MS.cast_signed());
        all && now - since > TimeDelta::seconds(plain.lasts_s + 2 * EVERY_S) + answer
    }

    /// What is noted of a look: nothing when it is as it was. It is on the disk once it settles.
    pub fn note(&mut self, bytes: Option<Vec<u8>>, settles: bool) {
        let is_settled = self.held.bytes == self.settled.bytes;
        self.held = Note { looks: self.looks.len(), bytes: bytes.or_else(|| self.held.bytes.take()) };
        if settles || (is_settled && self.held.bytes == self.settled.bytes) {
            self.settled = self.held.clone();
        }
    }

    /// A process comes up: what was not settled is lost. What it finds noted; `told` says when a rule began to fire, or was over, on the record.
    pub fn restart(
        &mut self,
        now: DateTime<Utc>,
        told: impl Fn(&str) -> Option<(DateTime<Utc>, bool)>,
    ) -> Option<Vec<u8>> {
        self.held = self.settled.clone();
        self.looks.truncate(self.settled.looks);
        self.quiet_since = now;
        if let Some(last) = self.looks.last_mut() {
            // That the source answers is not worth a note.
            last.answered = last.answered.filter(|at| *at < last.at);
            // The record is believed: what fired, or was over, after that had been seen.
            for (sees, plain) in last.sees.iter_mut().zip(&PLAIN) {
                if let Some((_, fires)) = told(plain.key).filter(|(at, _)| *at > last.at) {
                    *sees = if fires { Sees::Beyond } else { Sees::Within };
                }
            }
        }
        self.settled.bytes.clone()
    }

    /// After a long peace everything is as the truth is.
    pub fn reckon(&self, now: DateTime<Utc>, policy: usize, fires: impl Fn(&str) -> bool) -> Result<(), String> {
        for (which, plain) in PLAIN.iter().enumerate() {
            let is_one = kind_of(which, policy).is_some() && (which != 2 || self.has_staging);
            let must = is_one && self.sees(which, now) == Sees::Beyond;
            if fires(plain.key) != must {
                let is = if must { "must fire and does not" } else { "fires and must not" };
                return Err(format!("1: in peace the rule {} {is}", plain.key));
            }
        }
        Ok(())
    }
}
