//! The team's own rules over time: since when each is beyond its bound, when it fires, when it is over.
//!
//! Pure. What a rule sees is `seeing`; here it is only followed. No data is a state of its own: it neither resolves nor resets, and
//! it pings nobody. What is followed is no fact and is kept beside the record; that something fires is on the record, as an alert
//! of the source [`SOURCE`], and the record is believed.

mod blind;
mod followed;
mod noted;
pub mod seeing;

use std::collections::{BTreeMap, VecDeque};

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
use super::workspace::{Stage, StageSpec, Workspace};
pub use followed::{Followed, Standing};
pub use seeing::needs;

/// What alerts of rules have as their source. No hook may be called so.
pub const SOURCE: &str = "rules";
/// The label with a copy's name, where it is not production.
const STAGE: &str = "stage";
/// A clock that is off by more than this, against what has passed, has jumped; by less it was set right.
const JUMP_MIN: TimeDelta = TimeDelta::seconds(5);
/// What a certificate is known to be after it was shown last.
const CERTIFICATE_FOR: TimeDelta = TimeDelta::days(7);
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

/// What a rule is about, in the set-up's order. One about a certificate is about copies that are asked over https.
pub fn subjects<'a>(workspace: &'a Workspace, rule: &Rule) -> Vec<About<'a>> {
    if matches!(rule.of, Of::Answers { .. }) {
        return vec![About { of: None }];
    }
    let shows_one = |spec: &StageSpec| spec.probes.iter().any(|probe| probe.url.starts_with("https://"));
    let stages = workspace.services.iter().flat_map(|service| {
        let stages = service.stages().filter(|(_, spec)| rule.of != Of::Certificate || shows_one(spec));
        stages.map(move |(stage, spec)| (&service.name, stage, spec.fly_app.as_deref()))
    });
    stages.filter(|(service, stage, _)| rule.is_about(service, *stage)).map(|of| About { of: Some(of) }).collect()
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
    /// When it was last found out how a copy of a service is.
    #[serde(skip)]
    told: BTreeMap<(Service, Stage), At>,
    /// When a copy of a service was found well last, and whether it slept.
    #[serde(skip)]
    well: BTreeMap<(Service, Stage), (At, bool)>,
    /// When a copy's certificate was shown last, and when it ends.
    #[serde(skip)]
    certificates: BTreeMap<(Service, Stage), (At, At)>,
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
        Self { followed, read: self.read.clone(), ..Self::default() }
    }

    /// When anything was looked at last.
    pub fn looked_at(&self) -> Option<At> {
        self.followed.values().filter_map(|one| one.looked_at).max()
    }

    /// The same after a restart: what lies ahead of now was noted by a clock that was wrong, and what is over on the record was seen to
    /// be within its bound after the note was made.
    #[must_use]
    pub fn after_restart(mut self, alerts: &Alerts, now: At) -> Self {
        self.followed.retain(|_, one| one.looked_at.is_some_and(|at| at <= now));
        for group in alerts.iter().filter(|group| group.source == SOURCE) {
            for alert in group.alerts.values().filter(|alert| !alert.firing) {
                let stale = |one: &&mut Followed| one.beyond_since.is_some_and(|since| Some(since) <= alert.ended);
                if let Some(one) = self.followed.get_mut(&alert.fingerprint).filter(stale) {
                    one.beyond_since = None;
                }
            }
        }
        self.looks.clear();
        self.read.after_restart(now);
        self
    }

    /// Another look begins. What the clock jumped by since the one before, either way, is no time that has passed: neither does anything
    /// fire before it has lasted, nor is forgotten what was pending. So it is for a machine that slept.
    fn pass(&mut self, jumped: TimeDelta, now: At) {
        if jumped.abs() <= JUMP_MIN {
            return;
        }
        for one in self.followed.values_mut() {
            one.shift(jumped, now);
        }
        let well = self.well.values_mut().map(|(at, _)| at);
        let looks = self.looks.values_mut().flatten().map(|(at, _)| at);
        let shown = self.certificates.values_mut().map(|(at, _)| at);
        for at in self.told.values_mut().chain(well).chain(looks).chain(shown).chain(&mut self.began) {
            *at = (*at + jumped).min(now);
        }
        self.read.shift(jumped, now);
    }

    /// Whether nothing but its figures is wanting: its own probe found it well of late, or it sleeps.
    fn is_well(&self, key: &(Service, Stage), has_probe: bool, within: TimeDelta, now: At) -> bool {
        self.well.get(key).is_some_and(|(at, slept)| (has_probe || *slept) && now - *at <= within)
    }

    /// Whether nothing was found out about a copy of a service since the start, and that was of late.
    fn is_unseen(&self, key: &(Service, Stage), within: TimeDelta, now: At) -> bool {
        !self.told.contains_key(key) && self.began.is_some_and(|began| now - began < within)
    }

    /// How long the certificate that a copy of a service shows is good for, where one was shown of late.
    fn certificate(&self, key: &(Service, Stage), now: At) -> Option<TimeDelta> {
        let (_, ends) = self.certificates.get(key).filter(|(shown, _)| now - *shown <= CERTIFICATE_FOR)?;
        Some(*ends - now)
    }

    /// Keeps a look at a service.
    pub fn note(&mut self, look: &Measurement) {
        let key = (look.service.clone(), look.stage);
        if let Some(ends) = look.certificate_ends {
            self.certificates.insert(key.clone(), (look.at, ends));
        }
        if matches!(look.seen, Seen::Green { .. } | Seen::Asleep) {
            self.well.insert(key.clone(), (look.at, look.seen == Seen::Asleep));
        }
        if !matches!(look.seen, Seen::Unknown { .. }) {
            self.told.insert(key, look.at);
        }
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
/// `jumped`: by how much the clock shows more than has passed since the look before, or less.
pub fn observe(state: &mut State, ctx: &Looking<'_>, answers: &Answers, jumped: TimeDelta, now: At) {
    let mut rules = state.measured.rules.as_ref().clone();
    rules.pass(jumped, now);
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
    blind::keep(&mut rules, ctx, now);
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
    for (fingerprint, alert) in blind::alerts(&ctx) {
        alerts.extend(alert);
        known.push(fingerprint);
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
    heard::decide(draft, &Heard { source: SOURCE.to_owned(), alerts, left_out: None })
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
        blind::is_of(fingerprint)
            || rules.map(Rule::key).any(|key| fingerprint == &key || fingerprint.starts_with(&format!("{key}/")))
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
    let fingerprint = about.key(rule);
    let (labels, group) = placed(ctx, &rule.name, &rule.severity, about, &fingerprint);
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

/// The labels of an alert, and those of its group where they are not what the policy says.
fn placed(ctx: &Ctx<'_>, name: &str, severity: &str, about: &About<'_>, fingerprint: &str) -> (Labels, Option<Labels>) {
    let named = [(heard::NAME, name), ("severity", severity)];
    let mut labels: Labels = named.map(|(label, value)| (label.to_owned(), value.to_owned())).into();
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
    let recorded = ctx.state.alerts.iter().find(|group| {
        let fires = group.alerts.get(fingerprint).is_some_and(|alert| alert.firing);
        group.source == SOURCE && group.over.is_none() && fires
    });
    let group = recorded.map(|group| group.labels.clone()).or(group);
    (labels, group)
}

#[cfg(test)]
mod tests {
    use super::seeing::Sight;
    use super::*;

    const EVERY: TimeDelta = TimeDelta::seconds(30);

    fn rule(lines: &str) -> Rule {
        let text = format!("name = \"slow\"\nseverity = \"critical\"\nfigure = \"latency\"\nabove = \"1s\"\n{lines}");
        toml::from_str(&text).expect("it holds together")
    }

    fn at(seconds: i64) -> At {
        chrono::DateTime::UNIX_EPOCH + TimeDelta::days(1) + TimeDelta::seconds(seconds)
    }

    /// One rule that is looked at by a clock that jumps: how many seconds have passed when it fires, and when it is over.
    fn played(rule: &Rule, jumps: &[(i64, i64)], well_from: i64) -> (Option<i64>, Option<i64>) {
        const KEY: &str = "slow/critical/checkout/production";
        let (mut rules, mut fired, mut over, mut before) = (Rules::default(), None, None, 0);
        for passed in (0..3_600).step_by(30) {
            let jumped: i64 = jumps.iter().filter(|(when, _)| *when <= passed).map(|(_, by)| by).sum();
            let now = at(passed + jumped);
            rules.pass(TimeDelta::seconds(jumped - std::mem::replace(&mut before, jumped)), now);
            let one = rules.followed.entry(KEY.to_owned()).or_default();
            one.take(rule, Sight::Value(if passed < well_from { 1.5 } else { 0.5 }), EVERY, now);
            if one.is_beyond_for_long(rule) {
                fired.get_or_insert(passed);
            }
            if fired.is_some() && one.is_within_for_long(rule) {
                over.get_or_insert(passed);
            }
        }
        (fired, over)
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_fire_early_and_loses_nothing() {
        let rule = rule("for = \"10m\"\nkeep_firing_for = \"5m\"");
        assert_eq!(played(&rule, &[], 1_800), (Some(600), Some(2_100)));
        for jumps in [
            [(300, 7_200), (1_900, 0)],
            [(300, 60), (1_900, 3_000)],
            [(300, -7_200), (1_900, 0)],
            [(300, -600), (1_900, -7_200)],
            [(300, 86_400), (1_900, -86_400)],
            // It fires already: neither over by that, nor anew.
            [(700, 7_200), (1_000, -7_200)],
        ] {
            assert_eq!(played(&rule, &jumps, 1_800), (Some(600), Some(2_100)), "{jumps:?}");
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
        assert_eq!(rules.looked_at(), Some(at(10)));
        let alerts = Alerts::default();
        assert_eq!(rules.clone().kept().after_restart(&alerts, at(11)).followed.len(), 1);
        assert!(rules.kept().after_restart(&alerts, at(9)).followed.is_empty());
    }
}
