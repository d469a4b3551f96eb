//! What the loop does by the clock although nobody waits for it: looking at the team's own rules, and noting what a restart would
//! miss. Notes stand beside the record and are no facts: one that is lost costs time, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tracing::warn;

use super::Driver;
use crate::adapters::clock::Timepiece;
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind};
use crate::domain::rules::{self, Rules};
use crate::domain::state::Measured;
use crate::ports::Watch;
use crate::ports::journal::{Journal, Views};
use crate::shell::door::Inbound;

/// While an incident is open, how often it is noted that the bot is there.
pub(super) const ALIVE_EVERY: chrono::TimeDelta = chrono::TimeDelta::seconds(10);
/// A look at the rules that has not come back in this time is given up: the next one is made.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// The note of when the bot was last known to be there.
const ALIVE_NOTE: &str = "alive";
/// The note of what was seen of the services.
const WATCHED_NOTE: &str = "watched";
/// The note of what the team's own rules have seen.
const RULES_NOTE: &str = "rules";

/// When the rules are looked at, and what was noted last.
#[derive(Debug, Default)]
pub(super) struct Watching {
    /// When they were looked at last; none before the first time.
    rules_at: Option<DateTime<Utc>>,
    /// Since when they are being looked at: what they need is asked for.
    looking: Option<Instant>,
    /// What the clock showed at the last look that was decided about, and how much had passed by it.
    shown: Option<(DateTime<Utc>, TimeDelta)>,
    /// Whether they were looked at and nothing is noted of it yet.
    looked: bool,
    /// Looks of this process.
    looks: u64,
    rules_noted: Arc<Rules>,
    alive_noted: Option<DateTime<Utc>>,
}

impl<J, V, C, W> Driver<J, V, C, W>
where
    J: Journal,
    V: Views,
    C: Timepiece,
    W: Watch,
{
    /// When the rules are to be looked at next; none without any, and while they are being looked at.
    pub(super) fn rules_due(&self) -> Option<DateTime<Utc>> {
        let now = self.now();
        let has_any = rules::are_any(&self.ctx(&InputId::new("rules"), now));
        // By the policy of now: one may have come that looks more often. The first look is at once: what was pending before a restart
        // goes on.
        let every = self.parts.policy.alerts.rules_every.delta();
        (has_any && !self.is_looking()).then(|| self.watching.rules_at.map_or(now, |at| at + every))
    }

    fn is_looking(&self) -> bool {
        self.watching.looking.is_some_and(|since| since.elapsed() < LOOK_MAX)
    }

    /// An input to look at the rules with, when it is time.
    pub(super) fn rules_input(&mut self) -> Option<Inbound> {
        let now = self.now();
        self.rules_due().filter(|due| *due <= now)?;
        let watching = &mut self.watching;
        watching.looks += 1;
        watching.looking = Some(Instant::now());
        watching.rules_at = Some(now);
        let id = InputId::new(format!("rules:{}:{}", self.parts.journal.epoch(), watching.looks));
        let beat = Some(self.door.pulse().beat());
        Some(Inbound { input: Input { id, kind: InputKind::Rules }, reply: None, answers: None, beat })
    }

    /// By how much the clock shows more than has passed since the look at the rules before, or less: it was set, or the machine slept.
    pub(super) fn jumped(&mut self) -> TimeDelta {
        let (now, lived) = (self.parts.clock.now(), self.parts.clock.lived());
        let before = self.watching.shown.replace((now, lived));
        before.map_or(TimeDelta::zero(), |(shown, had_lived)| (now - shown) - (lived - had_lived))
    }

    /// A look at the rules is decided about: the next may come.
    pub(super) fn rules_looked_at(&mut self) {
        (self.watching.looking, self.watching.looked) = (None, true);
    }

    /// Notes what a restart would miss of the rules, after they were looked at.
    pub(super) fn note_rules(&mut self) {
        if !std::mem::take(&mut self.watching.looked) {
            return;
        }
        let kept = self.state.measured.rules.kept();
        if kept == *self.watching.rules_noted {
            return;
        }
        let note = serde_json::to_vec(&kept).unwrap_or_default();
        if self.parts.views.put_note(RULES_NOTE, &note).is_ok() {
            self.watching.rules_noted = Arc::new(kept);
            // Until then it is in this process alone, and looks may leave no moment in which nothing else is to do.
            self.settle_views();
        }
    }

    /// What was measured before the restart, as far as it still counts.
    pub(super) fn measured_before(&mut self) -> Measured {
        let now = self.now();
        let watched: Option<Vec<_>> = note(&mut self.parts.views, WATCHED_NOTE);
        let mut measured = Measured::after_restart(watched.into_iter().flatten(), &self.state.team.down, now);
        let rules: Rules = note(&mut self.parts.views, RULES_NOTE).unwrap_or_default();
        // What is noted by now: when nothing of it counts any more, that has to be noted too.
        self.watching.rules_noted = Arc::new(rules.clone());
        measured.rules = Arc::new(rules.after_restart(&self.state.alerts, now));
        measured
    }

    /// When the process before was last known to be there; may be missing.
    pub(super) fn last_alive(&mut self) -> Option<DateTime<Utc>> {
        alive(&mut self.parts.views)
    }

    /// While an incident is open, notes every few seconds that the bot is there, so that the next start can say how long it
    /// was not. No fact: it may be lost.
    pub(super) fn note_alive(&mut self) {
        let now = self.now();
        let is_old = self.watching.alive_noted.is_none_or(|noted| now - noted >= ALIVE_EVERY);
        if is_old && self.state.open().next().is_some() {
            self.watching.alive_noted = Some(now);
            let watched: Vec<_> = self.state.measured.watched.iter().collect();
            let watched = serde_json::to_vec(&watched).unwrap_or_default();
            let _ = self.parts.views.put_note(WATCHED_NOTE, &watched);
            let _ = self.parts.views.put_note(ALIVE_NOTE, now.timestamp_millis().to_string().as_bytes());
        }
    }
}

/// The clock goes on from where it was before the restart, when it shows less: what was pending would have to wait for it. Before anything
/// looks at it. `latest`: the latest instant on record.
pub fn go_on_from<V: Views, C: Timepiece>(views: &mut V, latest: Option<DateTime<Utc>>, clock: &C) {
    let rules: Rules = note(views, RULES_NOTE).unwrap_or_default();
    let Some(before) = latest.max(alive(views)).max(rules.looked_at()) else { return };
    let behind = before - clock.now();
    if behind > TimeDelta::zero() {
        warn!(by_s = behind.num_seconds(), "The clock is behind the record; time goes on from there");
        clock.not_before(before);
    }
}

fn alive<V: Views>(views: &mut V) -> Option<DateTime<Utc>> {
    let note = views.get_note(ALIVE_NOTE).ok().flatten()?;
    let at_ms = String::from_utf8(note).ok()?.parse().ok()?;
    DateTime::from_timestamp_millis(at_ms)
}

fn note<T: serde::de::DeserializeOwned, V: Views>(views: &mut V, name: &str) -> Option<T> {
    let note = views.get_note(name).ok().flatten()?;
    serde_json::from_slice(&note).ok()
}
