//! Alerts: what fires, put together in groups of one card each, and what was silenced.
//!
//! Pure. Owns how each fact changes them (`apply`, total: a fact that does not fit changes nothing) and what falls due when. Who
//! hears of a group, and why, is `telling`; what a webhook or a rule brings is `heard`; how a group looks is `card`.

pub mod card;
pub mod heard;
pub mod matching;
mod storm;
pub mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::fact::{At, Fact};
use super::ids::{AlertId, IncidentId, Person, Posted, Service, Thing};
use super::workspace::Stage;
use matching::Matchers;

/// Groups that are over and stay in memory, so that their buttons still know them and a return is told from a new one.
pub const OVER_HELD: usize = 64;
/// Groups in memory at once. Beyond it a sender is told to come back: something is telling lies by then.
pub const GROUPS_MAX: usize = 2_000;
/// Alerts of one group that are told apart; of more only the number is known.
pub const ALERTS_MAX: usize = 2_000;
/// Silences that hold, or are to, at once.
pub const SILENCES_MAX: usize = 256;
/// Changes between firing and over that are remembered, for telling what flaps.
const CHANGES_MAX: usize = 8;
/// The source of what stands for many groups: too many cards at once.
pub const STORM: &str = "storm";

/// Names and values that tell one alert from another.
pub type Labels = BTreeMap<String, String>;

/// How bad an alert is. Ordered: the worst is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Somebody must look: it pings once.
    Critical,
    /// Worth knowing: it never pings.
    Warning,
    /// Just so.
    Info,
}

impl Level {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Critical => "critical",
            Level::Warning => "warning",
            Level::Info => "info",
        }
    }
}

/// One alert: a rule's or a webhook's firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What its sender tells it by.
    pub fingerprint: String,
    /// Whether it fires; it has resolved otherwise.
    pub firing: bool,
    /// Its name.
    pub name: String,
    /// How bad.
    pub level: Level,
    /// What it is about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// A sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Since when that is the sentence, where it was another when the alert began to fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<At>,
    /// Where its sender shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What to do about it: an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// When it was heard of first, in this firing.
    pub since: At,
    /// When it began, as its sender says: with the same again it is the same firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<At>,
    /// When it resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<At>,
    /// It is said to be over, and has to stay so for a while: until then it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// What is said to be over, and not yet over for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Since when, as its sender says.
    pub since: At,
    /// When it is over for people too, unless it fires again before.
    pub over_at: At,
}

/// What a sender left out of what it sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// So many alerts of this group.
    pub alerts: u32,
    /// Where its sender shows them: an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Who keeps a group quiet, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// Who.
    pub by: Person,
    /// Until when; until it stays over when none.
    pub until: Option<At>,
}

/// A group is told nobody for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Why.
    pub why: String,
    /// When that is looked at again.
    pub look: At,
}

/// Alerts that belong together: one card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its number.
    pub id: AlertId,
    /// The hook or the rules that it came from.
    pub source: String,
    /// What makes it this group and no other.
    pub key: String,
    /// One line.
    pub title: String,
    /// What all its alerts have in common by which they were put together.
    pub labels: Labels,
    /// The service that it is about.
    pub service: Option<Service>,
    /// Which copy of it.
    pub stage: Stage,
    /// The worst that it was.
    pub level: Level,
    /// When it was heard of first.
    pub opened: At,
    /// Its alerts by fingerprint.
    pub alerts: BTreeMap<String, Alert>,
    /// Firing alerts beyond those that are told apart.
    pub beyond: u32,
    /// What its sender knows of and did not send.
    #[serde(default)]
    pub left_out: Option<LeftOut>,
    /// When the next of its alerts is over that is said to be.
    #[serde(default)]
    pub ending_at: Option<At>,
    /// Until when it is waited for more, before anybody is told.
    pub wait_until: Option<At>,
    /// Why nobody is told for now.
    pub held: Option<Held>,
    /// When people were told.
    pub shown_at: Option<At>,
    /// The group on whose card it stands, when it has none of its own.
    pub card_of: Option<AlertId>,
    /// Whether the telling pinged.
    pub pinged: bool,
    /// When people are told again that nobody acted.
    pub repeat_at: Option<At>,
    /// Its card, once it stands.
    pub card: Option<Posted>,
    /// Who has it.
    pub acknowledged: Option<(Person, At)>,
    /// Who keeps it quiet.
    pub quiet: Option<Quiet>,
    /// The incident that it belongs to.
    pub incident: Option<IncidentId>,
    /// When nothing fired any more.
    pub over: Option<At>,
    /// The newest changes between firing and over.
    pub changes: Vec<At>,
}

impl Group {
    /// The alerts that fire, the worst first, then the longest.
    pub fn firing(&self) -> Vec<&Alert> {
        let mut firing: Vec<&Alert> = self.alerts.values().filter(|alert| alert.firing).collect();
        firing.sort_by(|a, b| (a.level, a.since, &a.labels).cmp(&(b.level, b.since, &b.labels)));
        firing
    }

    /// Since when it fires, this time.
    pub fn since(&self) -> At {
        self.firing().iter().map(|alert| alert.since).min().unwrap_or(self.opened)
    }

    /// Whether it stands for other groups.
    pub fn is_storm(&self) -> bool {
        self.source == STORM
    }

    /// Whether somebody has to act: it fires, and nobody has it or keeps it quiet.
    pub fn is_unanswered(&self, now: At) -> bool {
        self.over.is_none() && self.acknowledged.is_none() && self.incident.is_none() && !self.is_quiet(now)
    }

    /// Whether somebody keeps it quiet now.
    pub fn is_quiet(&self, now: At) -> bool {
        self.quiet.as_ref().is_some_and(|quiet| quiet.until.is_none_or(|until| now < until))
    }

    /// Whether it changed so often of late that a change says little.
    pub fn flaps(&self, now: At, changes: usize, within: TimeDelta) -> bool {
        self.changes.iter().filter(|at| now - **at <= within).count() >= changes
    }

    /// Whether everything of it that fires is said to be over.
    pub fn is_ending(&self) -> bool {
        let mut firing = self.alerts.values().filter(|alert| alert.firing);
        self.ending_at.is_some() && self.beyond == 0 && firing.all(|alert| alert.ending.is_some())
    }

    /// When it is over, where everything of it is said to be and nothing fires again.
    pub fn over_at(&self) -> Option<At> {
        let firing = self.alerts.values().filter(|alert| alert.firing && self.is_ending());
        firing.filter_map(|alert| alert.ending).map(|ending| ending.over_at).max()
    }

    /// The next instant at which something has to be decided about it.
    pub fn next_due(&self) -> Option<At> {
        if self.over.is_some() {
            return None;
        }
        let tells = match self.shown_at {
            Some(_) => self.repeat_at,
            // Nobody is told of what is said to be over: it waits for its end, or for firing again.
            None if self.is_ending() => None,
            None => self.held.as_ref().map(|held| held.look).or(self.wait_until),
        };
        tells.into_iter().chain(self.ending_at).min()
    }

    fn change(&mut self, at: At) {
        self.changes.push(at);
        let beyond = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..beyond);
    }

    fn take_in(&mut self, alert: &Alert) {
        self.level = self.level.min(if alert.firing { alert.level } else { self.level });
        let room = self.alerts.len() < ALERTS_MAX;
        match self.alerts.get_mut(&alert.fingerprint) {
            Some(known) => *known = alert.clone(),
            None if room => {
                self.alerts.insert(alert.fingerprint.clone(), alert.clone());
            }
            None if alert.firing => self.beyond = self.beyond.saturating_add(1),
            None => self.beyond = self.beyond.saturating_sub(1),
        }
    }

    fn note_ending(&mut self) {
        let firing = self.alerts.values().filter(|alert| alert.firing);
        self.ending_at = firing.filter_map(|alert| alert.ending).map(|ending| ending.over_at).min();
    }
}

/// What is silenced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its number.
    pub id: u32,
    /// Which alerts.
    pub matchers: Matchers,
    /// From when.
    pub from: At,
    /// Until when.
    pub until: At,
    /// Who.
    pub by: Person,
    /// Why.
    pub why: String,
}

/// What happened to alerts: the stored form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// A group was heard of first.
    Opened {
        /// The hook or the rules.
        source: String,
        /// What makes it this group.
        key: String,
        /// One line.
        title: String,
        /// What its alerts have in common.
        labels: Labels,
        /// The service it is about.
        service: Option<Service>,
        /// Which copy.
        stage: Stage,
        /// How bad.
        level: Level,
        /// Until when it is waited for more.
        wait_until: Option<At>,
    },
    /// Alerts fire, or have resolved.
    Changed {
        /// Which, as they are now.
        alerts: Vec<Alert>,
    },
    /// Its sender knows of alerts that it did not send, or of none any more.
    LeftOut {
        /// Which; none any more when none.
        left_out: Option<LeftOut>,
    },
    /// Nothing of it fires any more.
    Over,
    /// It was over and fires again.
    Again,
    /// People are told.
    Shown {
        /// The reason, for people.
        reason: String,
        /// Whether it pinged.
        pinged: bool,
        /// The group on whose card it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card_of: Option<AlertId>,
        /// When they are told again if nobody acts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repeat_at: Option<At>,
    },
    /// People were told again that nobody acted.
    Repeated {
        /// When they are told once more.
        repeat_at: Option<At>,
    },
    /// What stands on its card is worse than what stood there.
    Worsened {
        /// How bad it is now.
        level: Level,
    },
    /// Nobody is told for now.
    Held {
        /// Why, and when that is looked at again.
        held: Held,
    },
    /// Somebody has it.
    Acknowledged {
        /// Who.
        by: Person,
    },
    /// Somebody keeps it quiet, or no more.
    Quieted {
        /// Who.
        by: Person,
        /// How; no more when none.
        quiet: Option<Quiet>,
    },
    /// It belongs to an incident.
    Joined {
        /// Which.
        incident: IncidentId,
    },
    /// It belongs to that incident no more: it fires again, long after that was closed.
    Left,
    /// Its card is gone from the chat.
    CardLost,
    /// Alerts are silenced.
    Silenced {
        /// How.
        silence: Silence,
    },
    /// A silence ends before its time.
    Unsilenced {
        /// Its number.
        silence: u32,
        /// Who ended it.
        by: Person,
    },
}

/// All groups and silences in memory. Cheap to clone: groups are shared until they change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// Groups that fire, and the newest that are over.
    pub groups: BTreeMap<AlertId, Arc<Group>>,
    /// The highest number used.
    pub used: u32,
    /// Silences that hold, or are to.
    pub silences: Vec<Silence>,
    /// The highest number of a silence used.
    pub silences_used: u32,
}

impl Alerts {
    /// A group.
    pub fn get(&self, id: AlertId) -> Option<&Group> {
        self.groups.get(&id).map(Arc::as_ref)
    }

    /// All groups in memory, by number.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Group> {
        self.groups.values().map(Arc::as_ref)
    }

    /// Groups that fire.
    pub fn firing(&self) -> impl Iterator<Item = &Group> {
        self.iter().filter(|group| group.over.is_none() && !group.is_storm())
    }

    /// The numbers of those that fire about the production of these services.
    pub fn firing_about<'a>(&self, services: impl Iterator<Item = &'a Service>) -> Vec<String> {
        let services: Vec<&Service> = services.collect();
        let about = self.firing().filter(|group| group.stage == Stage::Production);
        about
            .filter(|group| group.service.as_ref().is_some_and(|of| services.contains(&of)))
            .map(|group| group.id.to_string())
            .collect()
    }

    /// The groups that stand on another's card.
    pub fn on_card_of(&self, host: AlertId) -> impl Iterator<Item = &Group> {
        self.iter().filter(move |group| group.card_of == Some(host))
    }

    /// The newest group of a key.
    pub fn of_key(&self, key: &str) -> Option<&Group> {
        self.iter().rev().find(|group| group.key == key)
    }

    /// The next instant at which something has to be decided.
    pub fn next_due(&self) -> Option<At> {
        self.iter().filter_map(Group::next_due).min()
    }

    /// Groups about which something has to be decided by `now`.
    pub fn due(&self, now: At) -> impl Iterator<Item = AlertId> {
        self.iter().filter(move |group| group.next_due().is_some_and(|at| at <= now)).map(|group| group.id)
    }

    /// Brings them forward by one fact.
    pub fn apply(&mut self, at: At, thing: Thing, fact: &Fact) {
        let Fact::Alert { happened } = fact else { return };
        match happened {
            Happened::Silenced { silence } => {
                self.silences.retain(|one| at < one.until && one.id != silence.id);
                self.silences_used = self.silences_used.max(silence.id);
                self.silences.push(silence.clone());
                let beyond = self.silences.len().saturating_sub(SILENCES_MAX);
                self.silences.drain(..beyond);
                return;
            }
            Happened::Unsilenced { silence, .. } => {
                self.silences.retain(|one| one.id != *silence);
                return;
            }
            _ => {}
        }
        let Thing::Alert(id) = thing else { return };
        self.used = self.used.max(id.0);
        if let Happened::Opened { source, key, title, labels, service, stage, level, wait_until } = happened {
            let group = Group {
                id,
                source: source.clone(),
                key: key.clone(),
                title: title.clone(),
                labels: labels.clone(),
                service: service.clone(),
                stage: *stage,
                level: *level,
                opened: at,
                alerts: BTreeMap::new(),
                beyond: 0,
                left_out: None,
                ending_at: None,
                wait_until: *wait_until,
                held: None,
                shown_at: None,
                card_of: None,
                pinged: false,
                repeat_at: None,
                card: None,
                acknowledged: None,
                quiet: None,
                incident: None,
                over: None,
                changes: vec![at],
            };
            self.groups.insert(id, Arc::new(group));
            return;
        }
        if let Some(group) = self.groups.get_mut(&id) {
            follow(Arc::make_mut(group), at, happened);
        }
        if *happened == Happened::Over {
            self.forget();
        }
    }

    /// A card stands.
    pub fn card_stands(&mut self, id: AlertId, posted: &Posted) {
        if let Some(group) = self.groups.get_mut(&id) {
            Arc::make_mut(group).card = Some(posted.clone());
        }
    }

    /// The oldest of what is over make room; what stands on the card of others stays as long as that does.
    fn forget(&mut self) {
        let is_over = |id: &AlertId| self.get(*id).is_none_or(|group| group.over.is_some());
        let goes = |group: &&Group| group.over.is_some() && group.card_of.as_ref().is_none_or(is_over);
        let over: Vec<AlertId> = self.iter().filter(goes).map(|group| group.id).collect();
        for id in over.iter().take(over.len().saturating_sub(OVER_HELD)) {
            self.groups.remove(id);
        }
    }
}

fn follow(group: &mut Group, at: At, happened: &Happened) {
    match happened {
        Happened::Changed { alerts } => {
            alerts.iter().for_each(|alert| group.take_in(alert));
            group.note_ending();
        }
        Happened::LeftOut { left_out } => group.left_out.clone_from(left_out),
        Happened::Over => {
            group.over = Some(at);
            group.repeat_at = None;
            group.held = None;
            group.beyond = 0;
            group.change(at);
        }
        Happened::Again => {
            group.over = None;
            // Whoever fires again on the card of many is the first to ping for it.
            group.pinged &= !group.is_storm();
            // What resolved before this firing is another's story.
            group.alerts.retain(|_, alert| alert.firing);
            group.change(at);
        }
        Happened::Shown { pinged, card_of, repeat_at, .. } => {
            group.shown_at = Some(at);
            group.pinged |= pinged;
            group.card_of = *card_of;
            group.repeat_at = *repeat_at;
            group.held = None;
            group.wait_until = None;
        }
        Happened::Repeated { repeat_at } => {
            group.repeat_at = *repeat_at;
            group.pinged = true;
        }
        Happened::Worsened { level } => group.level = group.level.min(*level),
        Happened::Held { held } => group.held = Some(held.clone()),
        Happened::Acknowledged { by } => {
            group.acknowledged = Some((by.clone(), at));
            group.repeat_at = None;
        }
        Happened::Quieted { quiet, .. } => {
            group.quiet.clone_from(quiet);
            if quiet.is_some() {
                group.repeat_at = None;
            }
        }
        Happened::Joined { incident } => {
            group.incident = Some(*incident);
            group.repeat_at = None;
        }
        Happened::Left => {
            (group.incident, group.acknowledged, group.shown_at) = (None, None, None);
            // What stands in the old thread is history; it gets a card where people look.
            (group.card, group.card_of, group.wait_until) = (None, None, Some(at));
        }
        Happened::CardLost => group.card = None,
        Happened::Opened { .. } | Happened::Silenced { .. } | Happened::Unsilenced { .. } => {}
    }
}
