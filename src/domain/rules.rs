//! The team's own rules over time: since when each is beyond its bound, when it fires, when it is over.
//!
//! Pure. What a rule sees is `seeing`; here it is only followed. No data is a state of its own: it neither resolves nor resets, and
//! it pings nobody. What is followed is no fact and is kept beside the record; that something fires is on the record, as an alert
//! of the source [`SOURCE`], and the record is believed.

mod noted;
pub mod seeing;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash as _, Hasher as _};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::alerts::heard::{self, Heard, Incoming};
use super::alerts::{Alerts, Group, Labels};
use super::draft::{Ctx, Draft};
use super::fact::At;
use super::ids::Service;
use super::input::{Answers, Measurement, Seen};
use super::policy::{LOOKS_FOR, Of, Rule};
use super::refusal::Refusal;
use super::state::State;
use super::text::rules as words;
use super::workspace::{Stage, Workspace};
use seeing::Sight;
pub use seeing::needs;

/// What alerts of rules have as their source. No hook may be called so.
pub const SOURCE: &str = "rules";
/// The label with a copy's name, where it is not production.
const STAGE: &str = "stage";
/// A bot that was away for no longer than this, or than the rule's `for`, goes on counting where it was.
const AWAY_MAX: TimeDelta = TimeDelta::minutes(2);
/// Looks at one copy of a service that are kept for rules.
const LOOKS_MAX: usize = 2_000;

/// What a rule is about: a copy of a service, or the team when none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// Which copy of which service, and its app when it has one.
    pub of: Option<(&'a Service, Stage, Option<&'a str>)>,
}

impl About<'_> {
    /// What tells it from others of its rule.
    fn key(&self, rule: &Rule) -> String {
        match self.of {
            Some((service, stage, _)) => format!("{}/{service}/{}", rule.key(), stage.name()),
            None => rule.key(),
        }
    }
}

/// What a rule is about, in the set-up's order.
pub fn subjects<'a>(workspace: &'a Workspace, rule: &Rule) -> Vec<About<'a>> {
    if matches!(rule.of, Of::Answers { .. }) {
        return vec![About { of: None }];
    }
    let stages = workspace
        .services
        .iter()
        .flat_map(|service| service.stages().map(move |(stage, spec)| (&service.name, stage, spec.fly_app.as_deref())));
    stages.filter(|(service, stage, _)| rule.is_about(service, *stage)).map(|of| About { of: Some(of) }).collect()
}

/// One rule about one thing, followed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// When it was looked at last, whatever was seen.
    looked_at: Option<At>,
    /// When something was seen last.
    known_at: Option<At>,
    /// What was seen then.
    value: Option<f64>,
    /// Since when it has been beyond its bound.
    beyond_since: Option<At>,
    /// Since when it has been within.
    within_since: Option<At>,
    /// Since when nothing is seen, and why where that was said.
    nothing: Option<(At, Option<String>)>,
    /// What of a rule makes it another when it changes, in a number.
    #[serde(default)]
    what: u64,
    /// Whether a restart has to go on from it.
    #[serde(skip)]
    keeps: bool,
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
    fn take(&mut self, rule: &Rule, sight: Sight, every: TimeDelta, now: At) {
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

    /// Whether it was beyond its bound for long enough when it was seen last.
    fn is_beyond_for_long(&self, rule: &Rule) -> bool {
        let since = self.beyond_since.zip(self.known_at);
        since.is_some_and(|(since, known)| known - since >= rule.lasts.delta())
    }

    /// Whether it was within it for long enough to be over.
    fn is_within_for_long(&self, rule: &Rule) -> bool {
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

/// Looks at one copy of a service, oldest first: when, and how long the answer took in ms when there was one.
type Looks = VecDeque<(At, Option<u32>)>;

/// Everything that rules go by and that is no fact.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Rule by rule and thing by thing.
    followed: BTreeMap<String, Followed>,
    /// The newest looks at each copy of a service.
    #[serde(skip)]
    looks: BTreeMap<(Service, Stage), Looks>,
    /// Looks since the start: where there is more to ask than one look may, they take turns.
    #[serde(skip)]
    turn: usize,
    /// When they were looked at first since the start.
    #[serde(skip)]
    began: Option<At>,
    /// What was read in logs and of machines.
    #[serde(default)]
    read: noted::Noted,
}

impl Rules {
    /// How a rule stands with one thing.
    pub fn of(&self, rule: &Rule, about: &About<'_>) -> Option<&Followed> {
        self.followed.get(&about.key(rule))
    }

    /// Kills for want of memory of an app's machines since then, as far as rules have looked.
    pub fn kills(&self, app: &str, since: At) -> usize {
        self.read.kills(app, since)
    }

    /// What a restart goes on from.
    #[must_use]
    pub fn kept(&self) -> Self {
        let worth = self.followed.iter().filter(|(_, one)| one.keeps);
        let followed = worth.map(|(key, one)| (key.clone(), one.clone())).collect();
        Self { followed, looks: BTreeMap::new(), began: None, turn: 0, read: self.read.clone() }
    }

    /// The same after a restart: what lies ahead of now was noted by a clock that was wrong.
    #[must_use]
    pub fn after_restart(mut self, now: At) -> Self {
        self.followed.retain(|_, one| one.looked_at.is_some_and(|at| at <= now));
        self.looks.clear();
        self.read.after_restart(now);
        self
    }

    /// Keeps a look at a service.
    pub fn note(&mut self, look: &Measurement) {
        let took = match &look.seen {
            Seen::Green { took_ms } => Some(*took_ms),
            Seen::Red { .. } => None,
            // Asleep answers nobody, and what could not be found out says nothing.
            Seen::Asleep | Seen::Unknown { .. } => return,
        };
        let looks = self.looks.entry((look.service.clone(), look.stage)).or_default();
        looks.push_back((look.at, took));
        while looks.len() > LOOKS_MAX || looks.front().is_some_and(|(at, _)| look.at - *at > LOOKS_FOR.delta()) {
            looks.pop_front();
        }
    }
}

/// Takes in what was answered to [`needs`]: every rule is looked at once.
pub fn observe(state: &mut State, ctx: &Looking<'_>, answers: &Answers, now: At) {
    let mut rules = state.measured.rules.as_ref().clone();
    rules.began.get_or_insert(now);
    rules.read.take(ctx, answers, now);
    let asked = seeing::asked(ctx, rules.turn, now).into_iter().map(|ask| ask.key).collect();
    rules.turn = rules.turn.wrapping_add(1);
    let mut followed = BTreeMap::new();
    for rule in &ctx.policy.alerts.rules {
        for about in subjects(ctx.workspace, rule) {
            let key = about.key(rule);
            let sight = seeing::see(
                rule,
                &about,
                &seeing::From { state, rules: &rules, looking: ctx, asked: &asked, answers, now },
            );
            let mut one = rules.followed.remove(&key).unwrap_or_default();
            one.take(rule, sight, ctx.policy.alerts.rules_every.delta(), now);
            followed.insert(key, one);
        }
    }
    // What is no rule any more is forgotten.
    rules.followed = followed;
    state.measured.rules = rules.into();
}

/// By what rules are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Looking<'a> {
    /// The policy, with its rules.
    pub policy: &'a super::policy::Policy,
    /// The team.
    pub workspace: &'a Workspace,
}

/// Decides what a look at the rules changes. `observe` has taken it in before.
///
/// # Errors
/// When far too much fires.
pub fn decide(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let ctx = draft.ctx;
    let mut alerts = Vec::new();
    let mut known = Vec::new();
    for rule in ctx.policy.alerts.rules.iter().filter(|rule| !rule.shadow) {
        for about in subjects(ctx.workspace, rule) {
            let fingerprint = about.key(rule);
            if let Some(one) = ctx.state.measured.rules.of(rule, &about) {
                let fires = fires(&ctx.state.alerts, &fingerprint);
                // What fires already is said again for its value alone.
                if one.is_beyond_for_long(rule) && one.known_at == one.looked_at {
                    alerts.push(incoming(&ctx, rule, &about, one, true));
                } else if fires && one.is_within_for_long(rule) {
                    alerts.push(incoming(&ctx, rule, &about, one, false));
                }
            }
            known.push(fingerprint);
        }
    }
    // A rule that was taken out of the policy, or a service out of the set-up, fires no more.
    let orphans = of_rules(&ctx.state.alerts).filter(|fingerprint| !known.iter().any(|one| one == fingerprint));
    let ended = Some(ctx.now);
    alerts.extend(orphans.map(|fingerprint| Incoming {
        fingerprint: fingerprint.to_owned(),
        ended,
        ..ended_of(&ctx, fingerprint)
    }));
    if alerts.is_empty() {
        return Ok(());
    }
    heard::decide(draft, &Heard { source: SOURCE.to_owned(), alerts })
}

/// Whether it fires, by the record.
pub fn fires(alerts: &Alerts, fingerprint: &str) -> bool {
    of_rules(alerts).any(|one| one == fingerprint)
}

/// Whether a rule fires about a thing, by the record.
pub fn is_firing(ctx: &Ctx<'_>, rule: &Rule, about: &About<'_>) -> bool {
    fires(&ctx.state.alerts, &about.key(rule))
}

/// Whether a group is one of rules, and none of those that it was about is in the policy any more.
pub fn is_gone(ctx: &Ctx<'_>, group: &Group) -> bool {
    let is_of = |fingerprint: &String| {
        let rules = ctx.policy.alerts.rules.iter().filter(|rule| !rule.shadow);
        rules.map(Rule::key).any(|key| fingerprint == &key || fingerprint.starts_with(&format!("{key}/")))
    };
    group.source == SOURCE && !group.alerts.keys().any(is_of)
}

/// Whether rules have anything to look at: there are some, or what one of them said still fires.
pub fn are_any(ctx: &Ctx<'_>) -> bool {
    !ctx.policy.alerts.rules.is_empty() || of_rules(&ctx.state.alerts).next().is_some()
}

fn of_rules(alerts: &Alerts) -> impl Iterator<Item = &str> {
    let groups = alerts.iter().filter(|group| group.source == SOURCE && group.over.is_none());
    groups.flat_map(|group| group.alerts.values()).filter(|alert| alert.firing).map(|alert| alert.fingerprint.as_str())
}

/// An alert that its rule has left behind, as it stands on the record: so that its end finds its group.
fn ended_of(ctx: &Ctx<'_>, fingerprint: &str) -> Incoming {
    let groups = ctx.state.alerts.iter().filter(|group| group.source == SOURCE && group.over.is_none());
    let alert = { groups }.find_map(|group| group.alerts.get(fingerprint).map(|alert| (group, alert)));
    alert.map_or_else(Incoming::default, |(group, alert)| Incoming {
        name: alert.name.clone(),
        severity: alert.level.name().to_owned(),
        labels: alert.labels.clone(),
        group: Some(group.labels.clone()),
        ..Incoming::default()
    })
}

fn incoming(ctx: &Ctx<'_>, rule: &Rule, about: &About<'_>, one: &Followed, firing: bool) -> Incoming {
    let mut labels =
        Labels::from([(heard::NAME.to_owned(), rule.name.clone()), ("severity".to_owned(), rule.severity.clone())]);
    if let Some((service, stage, _)) = about.of {
        labels.insert("service".to_owned(), service.to_string());
        if stage != Stage::Production {
            labels.insert(STAGE.to_owned(), stage.name().to_owned());
        }
    }
    // A staging copy has a card of its own, whatever alerts are put together by.
    let group = labels.contains_key(STAGE).then(|| {
        let by = ctx.policy.alerts.group_by.iter().map(String::as_str).chain([STAGE]);
        by.filter_map(|name| Some((name.to_owned(), labels.get(name)?.clone()))).collect()
    });
    // What fires already stays where it is, whatever alerts are put together by since.
    let fingerprint = about.key(rule);
    let recorded = ctx.state.alerts.iter().find(|group| {
        let fires = group.alerts.get(&fingerprint).is_some_and(|alert| alert.firing);
        group.source == SOURCE && group.over.is_none() && fires
    });
    let group = recorded.map(|group| group.labels.clone()).or(group);
    let alert = Incoming {
        fingerprint,
        firing,
        name: rule.name.clone(),
        severity: rule.severity.clone(),
        labels,
        group,
        summary: words::summary(rule, about, one.value),
        url: None,
        runbook: rule.runbook.clone(),
        began: one.beyond_since,
        ended: one.within_since.filter(|_| !firing),
        service: about.of.map(|(service, ..)| service.clone()),
    };
    alert.bounded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Bound;

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

    #[test]
    fn what_a_clock_noted_that_was_wrong_does_not_count() {
        let rule = rule("for = \"2m\"");
        let mut one = Followed::default();
        one.take(&rule, Sight::Value(1.5), EVERY, at(10));
        let rules = Rules {
            followed: BTreeMap::from([("slow/critical/checkout/production".to_owned(), one)]),
            ..Rules::default()
        };
        assert_eq!(rules.clone().kept().after_restart(at(11)).followed.len(), 1);
        assert!(rules.kept().after_restart(at(9)).followed.is_empty());
        assert!(matches!(rule.bound, Bound::Above(_)));
    }
}
