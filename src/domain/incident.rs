//! One incident, as its facts make it.
//!
//! Owns how each fact changes it (`apply`, total: a fact that does not fit changes nothing). Decides nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fact::{At, EscalationReason, Fact, Moment, Part, Status};
use super::few::Few;
use super::ids::{EffectId, IncidentId, Person, Place, Posted, Service};
use super::message::Text;
use super::policy::Severity;
use super::promise::{Promise, PromiseEnd, PromiseKind};

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What it touches.
    pub services: Vec<Service>,
    /// Where it stands.
    pub status: Status,
    /// Who declared it; the bot itself when none.
    pub declared_by: Option<Person>,
    /// More than one line.
    pub details: Text,
    /// Whether the wider audience hears of it.
    pub announce: bool,
    /// Its times.
    pub times: Few<Moment, At>,
    /// Who plays which part.
    pub parts: Few<Part, Person>,
    /// Who acknowledged.
    pub acknowledged_by: Option<Person>,
    /// The running or last promise of each kind.
    pub promises: Few<PromiseKind, Promise>,
    /// How promises were kept so far.
    pub tally: Tally,
    /// The highest level called.
    pub level: u8,
    /// When the next level is called.
    pub escalate_at: Option<At>,
    /// When the next level is called because the lead went silent.
    pub stale_at: Option<At>,
    /// Whether the lead has been asked since they last did something.
    pub stale_asked: bool,
    /// Verification, while it runs or once it passed.
    pub verify: Option<Verify>,
    /// The last update and when.
    pub last_update: Option<(At, Person, Text)>,
    /// Updates in a row that said only that nothing changed.
    pub no_change_in_a_row: u8,
    /// Whether the service that is down came back by itself.
    pub recovered: bool,
    /// When it was cancelled or resolved, for reopening.
    pub closed_at: Option<At>,
    /// The card, once it stands.
    pub card: Option<Posted>,
    /// The thread, once it stands.
    pub thread: Option<Place>,
    /// Posts that a later one may take the place of.
    pub standing: BTreeMap<EffectId, Posted>,
    /// The newest ping that stands or is on its way, to be replaced by what is said next (`Draft::newest_ping`).
    pub reminder: Option<EffectId>,
    /// The timeline: what is told of it, in order. The record has everything.
    pub timeline: Vec<Entry>,
}

/// A fact and when it became true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: At,
    /// What.
    pub fact: Fact,
}

/// How promises were kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Kept in time.
    pub kept: u32,
    /// Kept late.
    pub late: u32,
    /// The longest anybody waited beyond the promised time, in seconds.
    pub worst_late_s: u64,
}

impl Incident {
    /// Whether this level was called already because nobody was heard of, and nobody has been heard of since: calling it once an
    /// hour through the night would wake the same people for the same silence.
    pub fn silence_called(&self, level: u8) -> bool {
        let since = self.timeline.iter().rev().take_while(|entry| !shows_somebody_there(&entry.fact));
        since.into_iter().any(|entry| {
            matches!(&entry.fact, Fact::Escalated { level: called, why: EscalationReason::WentSilent, .. } if *called >= level)
        })
    }
}

/// Whether a fact can be asked for again, for people or for a decision. Of what makes an incident and is told nowhere, three of
/// four facts of one that was just opened, only what became of it stays in memory: 2.5 KB an incident.
fn is_told(fact: &Fact) -> bool {
    !matches!(
        fact,
        Fact::Done { .. }
            | Fact::Withdrawn { .. }
            | Fact::PromiseMade { .. }
            | Fact::PromiseKept { .. }
            | Fact::PromiseWaived { .. }
            | Fact::Replanned { .. }
            | Fact::VerifyMeasuring
            | Fact::CardLost
            | Fact::ThreadLost
    )
}

/// Whether a fact shows that somebody is on it: then nobody has to be asked whether anybody is, nor called because nobody is.
fn shows_somebody_there(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::StillHere { .. }
            | Fact::Updated { .. }
            | Fact::Noted { .. }
            | Fact::Snoozed { .. }
            | Fact::SeverityChanged { .. }
            | Fact::TimeSet { .. }
            | Fact::ServicesSet { .. }
            | Fact::ResolveWhenGreen { .. }
            | Fact::StatusChanged { by: Some(_), .. }
    )
}

/// Verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// Since when it has been green without a break.
    pub since: At,
    /// Until when it must stay so.
    pub until: At,
    /// Whether a probe watches.
    pub watched: bool,
    /// Whether it passed.
    pub passed: bool,
    /// Whether it resolves by itself then.
    pub resolve: bool,
    /// Whether its time is over and what is measured is being asked.
    #[serde(default)]
    pub measuring: bool,
    /// Whether what was measured spoke against it the last time.
    #[serde(default)]
    pub held: bool,
}

impl Incident {
    /// The incident that an `Opened` fact begins.
    pub fn open(id: IncidentId, at: At, fact: &Fact) -> Option<Self> {
        let Fact::Opened { severity, title, services, by, details, started, detected, announce } = fact else {
            return None;
        };
        Some(Self {
            id,
            severity: *severity,
            title: title.clone(),
            services: services.clone(),
            status: Status::Investigating,
            declared_by: by.clone(),
            details: details.clone(),
            announce: *announce,
            times: [(Moment::Started, *started), (Moment::Detected, *detected), (Moment::Declared, at)]
                .into_iter()
                .collect(),
            parts: Few::default(),
            acknowledged_by: None,
            promises: Few::default(),
            tally: Tally::default(),
            level: 0,
            escalate_at: None,
            stale_at: None,
            stale_asked: false,
            verify: None,
            last_update: None,
            no_change_in_a_row: 0,
            recovered: false,
            closed_at: None,
            card: None,
            thread: None,
            standing: BTreeMap::new(),
            reminder: None,
            timeline: vec![Entry { at, fact: fact.clone() }],
        })
    }

    /// Brings it forward by one fact.
    pub fn apply(&mut self, at: At, fact: &Fact) {
        if is_told(fact) {
            self.timeline.push(Entry { at, fact: fact.clone() });
        }
        if shows_somebody_there(fact) {
            self.stale_at = None;
            self.stale_asked = false;
        }
        match fact {
            Fact::PromiseMade { promise, due, next } => {
                self.promises
                    .insert(*promise, Promise { made: at, due: *due, next: *next, missed: 0, snoozes: 0, end: None });
            }
            Fact::Reminded { promise, missed, next, .. } => {
                if let Some(promise) = self.promises.get_mut(promise) {
                    promise.missed = *missed;
                    promise.next = *next;
                }
            }
            Fact::PromiseKept { promise: kind } => {
                if let Some(promise) = self.promises.get_mut(kind).filter(|promise| promise.is_open()) {
                    promise.end = Some(PromiseEnd::Kept(at));
                    promise.next = None;
                    // Verification ends by the clock: a look a moment after its end is nobody's lateness.
                    match promise.late_by(at).filter(|_| *kind != PromiseKind::Verify) {
                        None => self.tally.kept += 1,
                        Some(late) => {
                            self.tally.late += 1;
                            let late_s = u64::try_from(late.num_seconds()).unwrap_or(0);
                            self.tally.worst_late_s = self.tally.worst_late_s.max(late_s);
                        }
                    }
                }
            }
            Fact::PromiseWaived { promise: kind, why } => {
                if let Some(promise) = self.promises.get_mut(kind).filter(|promise| promise.is_open()) {
                    promise.end = Some(PromiseEnd::Waived(at, why.clone()));
                    promise.next = None;
                    // What nobody has to keep any more was late all the same, when it was overdue by then.
                    let late_s = (at - promise.due).num_seconds();
                    if late_s > 0 && !matches!(kind, PromiseKind::Verify | PromiseKind::Review) {
                        self.tally.late += 1;
                        self.tally.worst_late_s = self.tally.worst_late_s.max(late_s.unsigned_abs());
                    }
                }
            }
            Fact::Snoozed { promise, next, .. } => {
                if let Some(promise) = self.promises.get_mut(promise) {
                    promise.snoozes = promise.snoozes.saturating_add(1);
                    promise.next = Some(*next);
                }
            }
            Fact::Replanned { promise, next } => {
                if let Some(promise) = self.promises.get_mut(promise) {
                    promise.next = *next;
                }
            }
            Fact::Acknowledged { by, .. } => {
                self.acknowledged_by = Some(by.clone());
                self.times.insert_if_absent(Moment::Acknowledged, at);
                self.escalate_at = None;
            }
            Fact::Escalated { level, why, next } => {
                self.level = self.level.max(*level);
                self.escalate_at = *next;
                self.stale_at = None;
                // Asked again at the next reminder that nobody answers: one call is not the end of it.
                self.stale_asked &= *why != EscalationReason::WentSilent;
            }
            Fact::EscalationStopped { .. } => {
                self.escalate_at = None;
                self.stale_at = None;
            }
            Fact::StaleAsked { escalate_at } => {
                self.stale_at = Some(*escalate_at);
                self.stale_asked = true;
            }
            Fact::StillHere { .. } => {}
            Fact::RoleTaken { part, who, .. } => {
                self.parts.insert(*part, who.clone());
                if *part == Part::Lead {
                    self.stale_at = None;
                    self.stale_asked = false;
                }
            }
            Fact::SeverityChanged { to, .. } => self.severity = *to,
            Fact::StatusChanged { to, .. } => self.status_changed(at, *to),
            Fact::Updated { by, what, no_change, announced, .. } => {
                self.last_update = Some((at, by.clone(), what.clone()));
                self.no_change_in_a_row = if *no_change { self.no_change_in_a_row.saturating_add(1) } else { 0 };
                self.announce |= *announced;
            }
            Fact::TimeSet { which, to, .. } => {
                self.times.insert(*which, *to);
            }
            Fact::ServicesSet { services, .. } => self.services.clone_from(services),
            Fact::Recovered { .. } => {
                self.recovered = true;
                self.escalate_at = None;
            }
            Fact::Relapsed { .. } => self.recovered = false,
            Fact::VerifyStarted { until, watched } => {
                self.verify = Some(Verify {
                    since: at,
                    until: *until,
                    watched: *watched,
                    passed: false,
                    resolve: false,
                    measuring: false,
                    held: false,
                });
            }
            Fact::VerifyReset { until, .. } | Fact::VerifyHeld { until, .. } => {
                if let Some(verify) = &mut self.verify {
                    verify.since = at;
                    verify.until = *until;
                    verify.passed = false;
                    verify.measuring = false;
                    verify.held = matches!(fact, Fact::VerifyHeld { .. });
                }
            }
            Fact::VerifyMeasuring => {
                if let Some(verify) = &mut self.verify {
                    verify.measuring = true;
                }
            }
            Fact::Verified => {
                if let Some(verify) = &mut self.verify {
                    (verify.passed, verify.measuring, verify.held) = (true, false, false);
                }
            }
            Fact::ResolveWhenGreen { .. } => {
                if let Some(verify) = &mut self.verify {
                    verify.resolve = true;
                }
            }
            Fact::Cancelled { .. } => self.status_changed(at, Status::Cancelled),
            Fact::Reviewed { .. } => self.status_changed(at, Status::Reviewed),
            Fact::Reopened { .. } => {
                self.status = Status::Investigating;
                self.times.remove(&Moment::Resolved);
                self.times.remove(&Moment::Mitigated);
                self.closed_at = None;
                self.verify = None;
                self.recovered = false;
                self.stale_at = None;
                self.stale_asked = false;
            }
            Fact::CardLost => self.card = None,
            Fact::ThreadLost => self.thread = None,
            _ => {}
        }
    }

    fn status_changed(&mut self, at: At, to: Status) {
        self.status = to;
        match to {
            Status::Investigating | Status::Mitigating => {
                self.verify = None;
                self.times.remove(&Moment::Mitigated);
            }
            Status::Monitoring => {
                self.times.insert(Moment::Mitigated, at);
            }
            Status::Resolved | Status::Cancelled => {
                self.times.insert_if_absent(Moment::Mitigated, at);
                self.times.insert(Moment::Resolved, at);
                self.closed_at = Some(at);
                self.escalate_at = None;
                self.stale_at = None;
            }
            Status::Reviewed => {
                self.escalate_at = None;
                self.stale_at = None;
            }
        }
    }

    /// Reminders that went out more than a minute after their time. What fell due while the bot was away counts too: it is
    /// late for whoever waited.
    pub fn reminders_late(&self) -> u32 {
        const GRACE: chrono::TimeDelta = chrono::TimeDelta::seconds(60);
        let late = |entry: &&Entry| matches!(&entry.fact, Fact::Reminded { due, .. } if entry.at - *due > GRACE);
        u32::try_from(self.timeline.iter().filter(late).count()).unwrap_or(u32::MAX)
    }

    /// Who leads.
    pub fn lead(&self) -> Option<&Person> {
        self.parts.get(&Part::Lead)
    }

    /// Whether a person has taken it up.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged_by.is_some()
    }

    /// A promise that still has to be kept.
    pub fn promise(&self, kind: PromiseKind) -> Option<&Promise> {
        self.promises.get(&kind).filter(|promise| promise.is_open())
    }

    /// The open promise that is due first.
    pub fn next_promise(&self) -> Option<(PromiseKind, &Promise)> {
        self.promises
            .iter()
            .filter(|(_, promise)| promise.is_open())
            .min_by_key(|(kind, promise)| (promise.due, **kind))
            .map(|(kind, promise)| (*kind, promise))
    }

    /// The next instant at which something has to be decided about it.
    pub fn next_due(&self) -> Option<At> {
        let reminders = self.promises.values().filter(|promise| promise.is_open()).filter_map(|promise| promise.next);
        let verify = self
            .verify
            .as_ref()
            .filter(|verify| !verify.passed && !verify.measuring && self.status == Status::Monitoring);
        reminders
            .map(|next| next.at)
            .chain(self.escalate_at)
            .chain(self.stale_at)
            .chain(verify.map(|verify| verify.until))
            .min()
    }

    /// When one of its times was.
    pub fn time(&self, which: Moment) -> Option<At> {
        self.times.get(&which).copied()
    }

    /// How long it has run, or ran.
    pub fn age(&self, now: At) -> chrono::TimeDelta {
        let from = self.time(Moment::Started).or(self.time(Moment::Declared)).unwrap_or(now);
        let until = self.closed_at.unwrap_or(now);
        (until - from).max(chrono::TimeDelta::zero())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::timeline;
    use super::*;

    #[test]
    fn what_is_not_kept_is_told_nowhere() {
        let at = DateTime::UNIX_EPOCH;
        let opened = Fact::Opened {
            severity: Severity::Sev1,
            title: "nobody can pay".to_owned(),
            services: Vec::new(),
            by: None,
            details: Text::default(),
            started: at,
            detected: at,
            announce: false,
        };
        let mut incident = Incident::open(IncidentId(7), at, &opened).expect("it opens");
        let (promise, effect, why) = (PromiseKind::NextUpdate, EffectId { seq: 7, n: 0 }, "said so".to_owned());
        for fact in [
            Fact::Done { effect, posted: None },
            Fact::Withdrawn { effect, why: why.clone() },
            Fact::PromiseMade { promise, due: at, next: None },
            Fact::PromiseKept { promise },
            Fact::PromiseWaived { promise, why: why.clone() },
            Fact::Replanned { promise, next: None },
            Fact::CardLost,
            Fact::ThreadLost,
        ] {
            incident.apply(at, &fact);
            assert_eq!(timeline::line(&fact), None, "it is told, and not kept");
        }
        assert_eq!(incident.timeline.len(), 1);
        incident.apply(at, &Fact::GivenUp { effect, why });
        assert_eq!(timeline::lines(&incident).len(), 2);
    }
}
