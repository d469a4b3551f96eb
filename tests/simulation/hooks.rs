//! A tool that tells the bot what fires, as Alertmanager does: it repeats itself until it is answered, and again later for nothing.
//!
//! And the auditor of it: what was answered is on record as it was said, whatever died meanwhile; nobody is pinged about what
//! somebody has, keeps quiet, or is over.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alerts::heard::{Heard, Incoming};
use crate::domain::alerts::{Alert, Alerts, Happened};
use crate::domain::effect::EffectKind;
use crate::domain::fact::Fact;
use crate::domain::ids::{AlertId, InputId, Thing};
use crate::domain::input::InputKind;
use crate::domain::state::Decided;
use crate::log::torn::Dice;

/// What it can say: name, service, severity, instance.
const ALERTS: [(&str, &str, &str, &str); 8] = [
    ("Errors", "checkout", "critical", "a"),
    ("Errors", "checkout", "critical", "b"),
    ("Slow", "checkout", "warning", "a"),
    ("Memory", "search", "critical", "a"),
    ("Memory", "search", "warning", "b"),
    ("Disk", "", "warning", "a"),
    ("Disk", "", "critical", "b"),
    ("Queue", "", "critical", "a"),
];

#[derive(Debug, Clone, Copy, Default)]
struct One {
    fires: bool,
    /// How often it has changed.
    version: u64,
    /// The change that was answered last.
    answered: u64,
    /// When it was spoken of last.
    said: DateTime<Utc>,
}

/// How long a request may be on its way: nobody speaks of the same alert again before.
const WIRE: TimeDelta = TimeDelta::seconds(1);

/// The tool.
#[derive(Default)]
pub struct Sender {
    all: [One; ALERTS.len()],
    sent: BTreeMap<InputId, (usize, u64)>,
    count: u64,
    /// Changes that were answered.
    pub told: u64,
}

impl Sender {
    /// Something begins to fire, or is over; or it repeats itself. What it says, and by which name.
    pub fn speaks(&mut self, now: DateTime<Utc>, dice: &mut Dice) -> Option<(InputId, InputKind)> {
        let which = dice.below(ALERTS.len() as u64) as usize;
        let one = &mut self.all[which];
        if now - one.said < WIRE {
            return None;
        }
        if dice.below(4) > 0 && one.answered == one.version {
            one.fires = !one.fires;
            one.version += 1;
        }
        Some(self.says(which, now))
    }

    /// What was not answered is said again.
    pub fn again(&mut self, now: DateTime<Utc>) -> Vec<(InputId, InputKind)> {
        let open: Vec<usize> =
            (0..ALERTS.len()).filter(|which| self.all[*which].answered < self.all[*which].version).collect();
        open.into_iter().map(|which| self.says(which, now)).collect()
    }

    /// Nothing fires any more.
    pub fn calms(&mut self, now: DateTime<Utc>) -> Vec<(InputId, InputKind)> {
        for one in self.all.iter_mut().filter(|one| one.fires) {
            one.fires = false;
            one.version += 1;
        }
        self.again(now)
    }

    fn says(&mut self, which: usize, now: DateTime<Utc>) -> (InputId, InputKind) {
        let (name, service, severity, instance) = ALERTS[which];
        let mut labels = BTreeMap::new();
        for (key, value) in [("alertname", name), ("service", service), ("instance", instance)] {
            if !value.is_empty() {
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
        let incoming = Incoming {
            fingerprint: fingerprint(which),
            firing: self.all[which].fires,
            name: name.to_owned(),
            severity: severity.to_owned(),
            labels,
            ..Incoming::default()
        };
        self.all[which].said = now;
        self.count += 1;
        let id = InputId::new(format!("hook:one:{}", self.count));
        self.sent.insert(id.clone(), (which, self.all[which].version));
        let heard = Heard { source: "one".to_owned(), alerts: vec![incoming.bounded()], left_out: None };
        (id, InputKind::Alerts(Box::new(heard)))
    }

    /// It was answered.
    pub fn heard(&mut self, id: &InputId) {
        let Some((which, version)) = self.sent.remove(id) else { return };
        let one = &mut self.all[which];
        // An answer to what was said before says nothing of now.
        if version == one.version && one.answered < version {
            one.answered = version;
            self.told += 1;
        }
    }

    /// Whether the record holds what was answered. What is said to be over may wait for its time, and no longer.
    pub fn check(&self, alerts: &Alerts, now: DateTime<Utc>) -> Result<(), String> {
        for (which, one) in
            self.all.iter().enumerate().filter(|(_, one)| one.version > 0 && one.answered == one.version)
        {
            let of = alerts.iter().rev().find_map(|group| group.alerts.get(&fingerprint(which)));
            let waits = of.and_then(|alert| alert.ending);
            let fires = of.is_some_and(|alert| alert.firing) && waits.is_none();
            if fires != one.fires || waits.is_some_and(|ending| ending.over_at <= now) {
                return Err(format!(
                    "1: of alert {which} was answered that it fires: {}; on record: {of:?}",
                    one.fires
                ));
            }
        }
        Ok(())
    }
}

fn fingerprint(which: usize) -> String {
    format!("alert-{which}")
}

/// What is known of groups, from their facts alone.
#[derive(Default)]
pub struct Rings {
    /// Groups that somebody has, or that are over.
    answered: BTreeSet<AlertId>,
    /// Groups that somebody keeps quiet, and until when; until they stay over when none.
    quiet: BTreeMap<AlertId, Option<DateTime<Utc>>>,
    /// Groups whose alerts are of rules.
    of_rules: BTreeSet<AlertId>,
    /// Groups that are over.
    over: BTreeSet<AlertId>,
    /// Alerts that fire, group by group.
    firing: BTreeMap<AlertId, BTreeSet<String>>,
    /// Rules that fire, and on which group's card.
    rules: BTreeMap<String, AlertId>,
    /// When rules began to fire, or were over, last.
    rules_told: BTreeMap<String, (DateTime<Utc>, bool)>,
    /// How long what the tool says is over must have stayed so.
    pub delay: TimeDelta,
    /// Since when alerts are said to be over, and are not yet.
    ending: BTreeMap<(AlertId, String), DateTime<Utc>>,
    /// Alerts that were said to be over, and went on.
    pub went_on: u64,
    /// Firings of rules.
    pub fired: u64,
    /// Groups told.
    pub told: u64,
    /// Groups that stand on the card of another.
    pub stormy: u64,
}

impl Rings {
    fn is_quiet(&self, id: AlertId, now: DateTime<Utc>) -> bool {
        self.quiet.get(&id).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    /// Whether a rule fires.
    pub fn fires(&self, rule: &str) -> bool {
        self.rules.contains_key(rule)
    }

    /// Rules that fire, each with the group that it stands in.
    pub fn rules(&self) -> impl Iterator<Item = (&str, AlertId)> {
        self.rules.iter().map(|(rule, id)| (rule.as_str(), *id))
    }

    /// When a rule began to fire, or was over, last; and which.
    pub fn rule_told(&self, rule: &str) -> Option<(DateTime<Utc>, bool)> {
        self.rules_told.get(rule).copied()
    }

    /// One alert begins to fire, or is over, and never twice.
    fn changed(&mut self, id: AlertId, alert: &Alert, at: DateTime<Utc>) -> Result<(), String> {
        let firing = self.firing.entry(id).or_default();
        let of_rules = self.of_rules.contains(&id);
        let key = (id, alert.fingerprint.clone());
        let said = self.ending.remove(&key);
        if alert.firing {
            match (alert.ending, said) {
                (Some(_), said) => drop(self.ending.insert(key, said.unwrap_or(at))),
                (None, said) => self.went_on += u64::from(said.is_some()),
            }
            let begins = firing.insert(alert.fingerprint.clone());
            if of_rules && begins {
                self.fired += 1;
                self.rules_told.insert(alert.fingerprint.clone(), (at, true));
                if let Some(other) = self.rules.insert(alert.fingerprint.clone(), id) {
                    return Err(format!("2: the rule {} fires on {id}, and on {other}", alert.fingerprint));
                }
            }
            return Ok(());
        }
        if !firing.remove(&alert.fingerprint) {
            return Err(format!("2: the end of {} is told twice, on {id}", alert.fingerprint));
        }
        let delay = if of_rules { TimeDelta::zero() } else { self.delay };
        if at - said.unwrap_or(at) < delay {
            return Err(format!("2: {} of {id} is over, and has not stayed so for its time", alert.fingerprint));
        }
        if of_rules {
            self.rules.remove(&alert.fingerprint);
            self.rules_told.insert(alert.fingerprint.clone(), (at, false));
        }
        Ok(())
    }

    /// That people are told of a group puts up one card, and nothing else does but the loss of one.
    fn cards(decided: &Decided) -> Result<(), String> {
        let is_shown =
            |happened: &Happened| matches!(happened, Happened::Shown { card_of: None, .. } | Happened::CardLost);
        let mut cards: BTreeMap<Thing, i32> = BTreeMap::new();
        for (on, fact) in &decided.facts {
            if matches!(fact, Fact::Alert { happened } if is_shown(happened)) {
                *cards.entry(*on).or_default() += 1;
            }
        }
        for effect in decided.effects.iter().filter(|effect| matches!(effect.kind, EffectKind::AlertCard { .. })) {
            *cards.entry(effect.on).or_default() -= 1;
        }
        match cards.iter().find(|(_, left)| **left != 0) {
            Some((on, _)) => Err(format!("2: {on:?} is told, and not on one card: {decided:?}")),
            None => Ok(()),
        }
    }

    /// Takes in one decision.
    pub fn read(&mut self, decided: &Decided) -> Result<(), String> {
        Self::cards(decided)?;
        for (on, fact) in &decided.facts {
            let (Thing::Alert(id), Fact::Alert { happened }) = (on, fact) else { continue };
            match happened {
                Happened::Opened { source, .. } if source == "rules" => drop(self.of_rules.insert(*id)),
                Happened::Changed { alerts } => {
                    for alert in alerts {
                        self.changed(*id, alert, decided.at)?;
                    }
                }
                Happened::Over
                    if !self.over.insert(*id) || self.firing.get(id).is_some_and(|left| !left.is_empty()) =>
                {
                    return Err(format!("2: {id} is over, and was already, or something of it fires"));
                }
                Happened::Again if !self.over.remove(id) => {
                    return Err(format!("2: {id} fires again, and never ended"));
                }
                _ => {}
            }
            match happened {
                Happened::Acknowledged { .. } | Happened::Joined { .. } | Happened::Over => {
                    self.answered.insert(*id);
                }
                Happened::Quieted { quiet: Some(quiet), .. } => drop(self.quiet.insert(*id, quiet.until)),
                Happened::Quieted { quiet: None, .. } => drop(self.quiet.remove(id)),
                // A group that is back may ring again, unless somebody had it.
                Happened::Opened { .. } | Happened::Again | Happened::Left => {
                    self.answered.remove(id);
                }
                Happened::Shown { card_of, .. } => {
                    self.told += 1;
                    self.stormy += u64::from(card_of.is_some());
                }
                _ => {}
            }
        }
        for effect in &decided.effects {
            if let Thing::Alert(id) = effect.on
                && effect.rings()
                && (self.answered.contains(&id) || self.is_quiet(id, decided.at))
            {
                return Err(format!("3: {id} rings, and somebody has it, keeps it quiet, or it is over"));
            }
        }
        Ok(())
    }
}
