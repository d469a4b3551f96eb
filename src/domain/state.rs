//! Everything the bot knows: the fold of its facts, and beside it what was measured and is no fact.
//!
//! `apply` is total and never looks at policy. What the fold makes (`Kept`) is equal however often the log is folded;
//! `measured` is not part of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alerts::Alerts;
use super::deploy::gates::{Freeze, Lock, Ticks, Validated};
use super::deploy::{Deploy, scale};
use super::effect::{Effect, EffectKind};
use super::fact::{At, Fact};
use super::figures::baseline::{self, Baseline};
use super::health::Watched;
use super::hosting::Image;
use super::ids::{AlertId, DeployId, EffectId, IncidentId, InputId, Person, Posted, Service, Thing};
use super::incident::Incident;
use super::oncall::Override;
use super::pipeline::Known;
use super::releases::{self, Ledgers};
use super::rules::Rules;
use super::workspace::Stage;

/// The newest incidents stay in memory whatever became of them.
pub const NEWEST_HELD: u32 = 32;
/// Deploys that stay in memory after they are over, so that their buttons still know them.
pub const DEPLOYS_HELD: usize = 8;
/// Images whose ticked boxes, and whose good days on staging, are remembered.
pub const IMAGES_REMEMBERED: usize = 32;
/// Requests of pipelines that are known again: a resend comes within minutes, a run repeated by hand within days.
pub const REQUESTS_REMEMBERED: usize = 256;
/// Freezes that hold at once, at most: one a service and one for all.
pub const FREEZES_MAX: usize = 64;
/// How many input ids are remembered, so that a repeat is known.
pub const INPUTS_REMEMBERED: usize = 4096;

/// What belongs to the team and to no incident. Small, so that the store can keep a copy a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TeamState {
    /// Whether it pings and acts, or only shows what it would do.
    pub live: bool,
    /// Hash of policy and workspace.
    pub policy: Option<String>,
    /// The highest incident number used.
    pub incidents: u32,
    /// Shifts that stand against the rotation.
    pub overrides: Vec<Override>,
    /// Jobs by name.
    pub jobs: BTreeMap<String, JobState>,
    /// Services that are down.
    pub down: Vec<Down>,
    /// Starts so far.
    pub starts: u64,
    /// Messages that would have pinged since the last digest, and pages, while observing.
    #[serde(default)]
    pub held_back: (u32, u32),
    /// Deploys, rollbacks and restarts that are not over, and the newest that are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deploys: BTreeMap<DeployId, Deploy>,
    /// The highest deploy number used.
    #[serde(default)]
    pub deploys_used: u32,
    /// What holds production as it is, by somebody's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
    /// Apps that somebody keeps to themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub locks: BTreeMap<String, Lock>,
    /// Images that did well on staging, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validated: Vec<Validated>,
    /// Boxes ticked, by image; the newest image last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticks: Vec<Ticks>,
    /// Requests of pipelines that were taken, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Known>,
    /// The newest releases of each app, whoever made them.
    #[serde(default, skip_serializing_if = "Ledgers::is_empty")]
    pub releases: Ledgers,
    /// Figures kept with releases, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
}

impl TeamState {
    /// The boxes that are ticked for an image.
    pub fn ticked(&self, image: &Image) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.ticks.iter().rfind(|Ticks(known, _)| known.is(image)).map_or(&NONE, |Ticks(_, ticked)| ticked)
    }

    fn tick(&mut self, image: &Image, item: &str, on: bool) {
        let known = self.ticks.iter().rposition(|Ticks(known, _)| known.is(image));
        let Ticks(known, mut ticked) = match known {
            Some(at) => self.ticks.remove(at),
            None => Ticks(image.clone(), BTreeSet::new()),
        };
        // A digest that was not known at the first tick is, from now on.
        let image = if known.digest.is_some() { known } else { image.clone() };
        if on {
            ticked.insert(item.to_owned());
        } else {
            ticked.remove(item);
        }
        self.ticks.push(Ticks(image, ticked));
        keep_newest(&mut self.ticks, IMAGES_REMEMBERED);
    }
}

fn keep_newest<T>(of: &mut Vec<T>, most: usize) {
    of.drain(..of.len().saturating_sub(most));
}

/// A job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// When it runs next.
    pub next: Option<At>,
    /// When it ran last.
    pub last: Option<At>,
}

/// A service that is down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Down {
    /// Which.
    pub service: Service,
    /// Which copy.
    pub stage: Stage,
    /// Since when.
    pub since: At,
    /// What was seen.
    pub why: String,
}

/// Everything the bot knows.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The number of the last line applied.
    pub seq: u64,
    /// The latest instant on record. Recorded time never goes back.
    pub latest: Option<At>,
    /// The team.
    pub team: TeamState,
    /// Incidents held in memory: all that are open or have something to send, and closed ones that were asked for.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Alerts and silences.
    pub alerts: Alerts,
    /// Effects asked for and not yet ended.
    pub pending: BTreeMap<EffectId, Effect>,
    /// Incidents by the next instant at which something has to be decided about them.
    due: BTreeSet<(At, IncidentId)>,
    /// Which entry of `due` stands for which incident.
    due_of: BTreeMap<IncidentId, At>,
    /// Ids of the newest inputs that changed something.
    seen: BTreeSet<Arc<InputId>>,
    seen_order: VecDeque<Arc<InputId>>,
    /// What was measured; no part of the fold.
    pub measured: Measured,
}

/// What was measured and is no fact.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Looks at services.
    pub watched: BTreeMap<(Service, Stage), Watched>,
    /// What the team's own rules have seen. Shared until it changes.
    pub rules: Arc<Rules>,
}

impl Measured {
    /// What a start goes on from: the looks that were kept beside the record, as far as they are fresh, and what the record says
    /// is down, whatever was kept.
    pub fn after_restart(kept: impl IntoIterator<Item = ((Service, Stage), Watched)>, down: &[Down], now: At) -> Self {
        let mut kept: BTreeMap<_, _> = kept.into_iter().collect();
        for down in down {
            kept.entry((down.service.clone(), down.stage)).or_default();
        }
        let since = |key: &(Service, Stage)| {
            down.iter().find(|down| down.service == key.0 && down.stage == key.1).map(|down| down.since)
        };
        let counts = |(key, looks): ((Service, Stage), Watched)| {
            let looks = looks.after_restart(since(&key), now)?;
            Some((key, looks))
        };
        Self { watched: kept.into_iter().filter_map(counts).collect(), rules: Arc::default() }
    }
}

/// One decision as it stands on the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: At,
    /// What was decided about.
    pub input: InputId,
    /// What became true.
    pub facts: Vec<(Thing, Fact)>,
    /// What is to be done.
    pub effects: Vec<Effect>,
}

impl State {
    /// Brings the state forward by one decision.
    pub fn apply(&mut self, decided: &Decided) {
        self.seq = self.seq.max(decided.seq);
        self.latest = self.latest.max(Some(decided.at));
        for effect in &decided.effects {
            // What memory holds and what is read back from the record are the same.
            self.pending.insert(effect.id, effect.recorded());
        }
        for (on, fact) in &decided.facts {
            self.apply_fact(*on, decided.at, fact);
        }
        // After the facts: an incident opened by this very decision learns of its own posts.
        for effect in &decided.effects {
            if let (Thing::Incident(id), EffectKind::Post { .. }) = (effect.on, &effect.kind)
                && effect.urgency <= super::effect::Urgency::Ping
                && let Some(incident) = self.incidents.get_mut(&id)
            {
                incident.reminder = Some(effect.id);
            }
        }
        self.remember(&decided.input);
    }

    fn apply_fact(&mut self, on: Thing, at: At, fact: &Fact) {
        match fact {
            Fact::Done { effect, posted } => self.done(*effect, posted.as_ref()),
            Fact::GivenUp { effect, .. } | Fact::Withdrawn { effect, .. } => self.not_done(*effect),
            _ => {}
        }
        self.alerts.apply(at, on, fact);
        match on {
            Thing::Alert(_) => {}
            Thing::Team => self.apply_team(at, fact),
            Thing::Incident(id) => self.apply_incident(id, at, fact),
            Thing::Deploy(id) => self.apply_deploy(id, at, fact),
        }
    }

    fn apply_team(&mut self, at: At, fact: &Fact) {
        let team = &mut self.team;
        releases::apply(&mut team.releases, fact);
        match fact {
            Fact::PolicyAdopted { hash } => team.policy = Some(hash.clone()),
            Fact::Started { .. } => team.starts += 1,
            Fact::WentLive { .. } => {
                team.live = true;
                team.held_back = (0, 0);
            }
            Fact::HeldBack { pings, pages } => {
                team.held_back = (team.held_back.0.saturating_add(*pings), team.held_back.1.saturating_add(*pages));
            }
            Fact::HeldBackTold => team.held_back = (0, 0),
            Fact::WentObserving { .. } => team.live = false,
            Fact::OnCallChanged { shift } => {
                super::oncall::forget_past(&mut team.overrides, at);
                team.overrides.push(shift.clone());
            }
            Fact::JobPlanned { job, next } => team.jobs.entry(job.clone()).or_default().next = *next,
            Fact::JobRan { job, next, .. } => {
                let job = team.jobs.entry(job.clone()).or_default();
                job.last = Some(at);
                job.next = *next;
            }
            Fact::ServiceDown { service, stage, since, why } => {
                team.down.retain(|down| down.service != *service || down.stage != *stage);
                let (service, why) = (service.clone(), why.clone());
                team.down.push(Down { service, stage: *stage, since: *since, why });
            }
            Fact::ServiceUp { service, stage, .. } => {
                team.down.retain(|down| down.service != *service || down.stage != *stage);
            }
            Fact::Frozen { service, until, by, why } => {
                team.freezes.retain(|freeze| freeze.service != *service && freeze.until.is_none_or(|until| at < until));
                let (service, by, why) = (service.clone(), by.clone(), why.clone());
                team.freezes.push(Freeze { service, from: at, until: *until, by, why });
                keep_newest(&mut team.freezes, FREEZES_MAX);
            }
            Fact::Thawed { service, .. } => team.freezes.retain(|freeze| freeze.service != *service),
            Fact::Locked { app, by, why } => {
                team.locks.insert(app.clone(), Lock { by: by.clone(), at, why: why.clone() });
            }
            Fact::Unlocked { app, .. } => {
                team.locks.remove(app);
            }
            Fact::Validated { service, image } => {
                team.validated.retain(|one| one.service != *service || !one.image.is(image));
                team.validated.push(Validated { service: service.clone(), image: image.clone(), at });
                keep_newest(&mut team.validated, IMAGES_REMEMBERED);
            }
            Fact::BaselineRecorded { baseline, .. } => baseline::keep(&mut team.baselines, baseline.clone()),
            _ => {}
        }
    }

    fn apply_incident(&mut self, id: IncidentId, at: At, fact: &Fact) {
        match self.incidents.get_mut(&id) {
            Some(incident) => incident.apply(at, fact),
            None => {
                if let Some(incident) = Incident::open(id, at, fact) {
                    self.incidents.insert(id, incident);
                }
            }
        }
        self.team.incidents = self.team.incidents.max(id.0);
        self.reindex(id);
    }

    fn apply_deploy(&mut self, id: DeployId, at: At, fact: &Fact) {
        let team = &mut self.team;
        // Ticked on a deploy's card, and true of its image wherever that goes.
        if let Fact::Ticked { image, item, is_ticked: on, .. } = fact {
            team.tick(image, item, *on);
        }
        if let Fact::DeployPlanned { request: Some(request), .. } = fact {
            team.requests.push(Known { id: request.id.clone(), body: request.body.clone(), deploy: id });
            keep_newest(&mut team.requests, REQUESTS_REMEMBERED);
        }
        if let Some(deploy) = team.deploys.get(&id) {
            releases::apply_ours(&mut team.releases, deploy, at, fact);
        }
        follow(&mut team.deploys, at, Thing::Deploy(id), fact);
        team.deploys_used = team.deploys_used.max(id.0);
        // The oldest of what is over make room.
        let goes = |one: &&Deploy| !one.is_open() && !scale::kept_for_the_way_back(&team.deploys, one);
        let over: Vec<DeployId> = team.deploys.values().filter(goes).map(|one| one.id).collect();
        for old in over.iter().take(over.len().saturating_sub(DEPLOYS_HELD)) {
            team.deploys.remove(old);
        }
    }

    fn done(&mut self, id: EffectId, posted: Option<&Posted>) {
        let Some(effect) = self.pending.remove(&id) else { return };
        if let (EffectKind::Board { deploy, .. }, Some(posted)) = (&effect.kind, posted) {
            if let Some(deploy) = self.team.deploys.get_mut(deploy) {
                deploy.card = Some(posted.clone());
            }
            return;
        }
        if let (EffectKind::AlertCard { alert, .. }, Some(posted)) = (&effect.kind, posted) {
            self.alerts.card_stands(*alert, posted);
            return;
        }
        let (Thing::Incident(on), Some(posted)) = (effect.on, posted) else { return };
        let Some(incident) = self.incidents.get_mut(&on) else { return };
        match &effect.kind {
            EffectKind::Card { .. } => incident.card = Some(posted.clone()),
            EffectKind::Thread { .. } => incident.thread = Some(posted.place.clone()),
            EffectKind::Post { replaces, .. } => {
                if let Some(old) = replaces {
                    incident.standing.remove(old);
                }
                if effect.urgency <= super::effect::Urgency::Ping {
                    incident.standing.insert(id, posted.clone());
                }
            }
            EffectKind::Page { .. }
            | EffectKind::Look { .. }
            | EffectKind::Board { .. }
            | EffectKind::AlertCard { .. }
            | EffectKind::Act { .. }
            | EffectKind::Survey { .. }
            | EffectKind::Follow { .. } => {}
        }
    }

    /// What never came about takes nothing's place: the ping that it was to replace is the newest again.
    fn not_done(&mut self, id: EffectId) {
        let Some(effect) = self.pending.remove(&id) else { return };
        if let (Thing::Incident(on), EffectKind::Post { replaces, .. }) = (effect.on, effect.kind)
            && let Some(incident) = self.incidents.get_mut(&on).filter(|incident| incident.reminder == Some(id))
        {
            incident.reminder = replaces;
        }
    }

    fn reindex(&mut self, id: IncidentId) {
        if let Some(at) = self.due_of.remove(&id) {
            self.due.remove(&(at, id));
        }
        if let Some(at) = self.incidents.get(&id).and_then(Incident::next_due) {
            self.due.insert((at, id));
            self.due_of.insert(id, at);
        }
    }

    /// Remembers that an input has been decided about.
    pub fn remember(&mut self, input: &InputId) {
        let input = Arc::new(input.clone());
        if self.seen.insert(Arc::clone(&input)) {
            self.seen_order.push_back(input);
            if self.seen_order.len() > INPUTS_REMEMBERED
                && let Some(oldest) = self.seen_order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
    }

    /// Forgets an input that was remembered lately: what was decided about it could not be recorded.
    pub fn forget(&mut self, input: &InputId) {
        if self.seen.remove(input) {
            self.seen_order.retain(|seen| **seen != *input);
        }
    }

    /// Forgets every input that was remembered: those that count are told anew, in order.
    pub fn forget_inputs(&mut self) {
        self.seen.clear();
        self.seen_order.clear();
    }

    /// Whether an input has changed something already.
    pub fn has_seen(&self, input: &InputId) -> bool {
        self.seen.contains(input)
    }

    /// The next instant at which something has to be decided.
    pub fn next_due(&self) -> Option<At> {
        let jobs = self.team.jobs.values().filter_map(|job| job.next).min();
        let deploys = self.team.deploys.values().filter_map(Deploy::next_due).min();
        let alerts = self.alerts.next_due();
        self.due.first().map(|(at, _)| *at).into_iter().chain(jobs).chain(deploys).chain(alerts).min()
    }

    /// Incidents about which something has to be decided by `now`, most overdue first. Costs what is due, not what is open.
    pub fn due_incidents(&self, now: At) -> impl Iterator<Item = IncidentId> {
        self.due.iter().take_while(move |(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// Whether something has to be decided by `now`, a job aside.
    pub fn is_due(&self, now: At) -> bool {
        self.due_incidents(now).next().is_some()
            || self.due_deploys(now).next().is_some()
            || self.alerts.due(now).next().is_some()
    }

    /// Deploys about which something has to be decided by `now`.
    pub fn due_deploys(&self, now: At) -> impl Iterator<Item = DeployId> {
        let is_due = move |deploy: &&Deploy| deploy.next_due().is_some_and(|at| at <= now);
        self.team.deploys.values().filter(is_due).map(|deploy| deploy.id)
    }

    /// Open incidents, by number.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values().filter(|incident| incident.status.is_open())
    }

    /// The incident whose thread or card stands at a place.
    pub fn at_place(&self, place: &super::ids::Place) -> Option<&Incident> {
        self.incidents.values().find(|incident| incident.thread.as_ref() == Some(place))
    }

    /// Whether an incident must stay in memory: it is open, waits for its review, has something to send, or is so new that
    /// people still press its buttons, write in its thread and reopen it.
    pub fn must_hold(&self, id: IncidentId) -> bool {
        let is_new = id.0.saturating_add(NEWEST_HELD) > self.team.incidents;
        let waits = self
            .incidents
            .get(&id)
            .is_some_and(|incident| is_new || incident.status.is_open() || incident.next_due().is_some());
        waits || self.pending.values().any(|effect| effect.on == Thing::Incident(id))
    }

    /// The incident that is new no longer once `id` is there.
    pub fn aged_by(id: IncidentId) -> Option<IncidentId> {
        id.0.checked_sub(NEWEST_HELD).filter(|number| *number > 0).map(IncidentId)
    }

    /// Whether it is in memory.
    pub fn is_held(&self, on: Thing) -> bool {
        match on {
            Thing::Team => true,
            Thing::Incident(id) => self.incidents.contains_key(&id),
            Thing::Deploy(id) => self.team.deploys.contains_key(&id),
            Thing::Alert(id) => self.alerts.get(id).is_some(),
        }
    }

    /// Whether something about it is still to be done.
    pub fn has_pending(&self, on: Thing) -> bool {
        self.pending.values().any(|effect| effect.on == on)
    }

    /// Whether something is still to come of a group of alerts.
    pub fn is_open_alert(&self, id: AlertId) -> bool {
        self.alerts.get(id).is_some_and(|group| group.over.is_none()) || self.has_pending(Thing::Alert(id))
    }

    /// Lets a closed incident go from memory; it stays on record.
    pub fn release(&mut self, id: IncidentId) {
        if !self.must_hold(id) {
            self.incidents.remove(&id);
            self.reindex(id);
        }
    }

    /// Takes in an incident read back from the store.
    pub fn hold(&mut self, incident: Incident) {
        let id = incident.id;
        self.incidents.entry(id).or_insert(incident);
        self.reindex(id);
    }

    /// Who holds a shift against the rotation now, for people's eyes.
    pub fn overrides_at(&self, now: At) -> impl Iterator<Item = &Override> {
        self.team.overrides.iter().filter(move |shift| shift.from <= now && now < shift.until)
    }

    /// The people who have something to do with an open incident.
    pub fn leads(&self) -> BTreeSet<&Person> {
        self.open().filter_map(Incident::lead).collect()
    }

    /// The part of the state that is a fold of the log, for comparing two folds.
    pub fn kept(&self) -> Kept<'_> {
        Kept { team: &self.team, incidents: &self.incidents, alerts: &self.alerts, pending: &self.pending }
    }
}

/// Brings changes forward by one fact about one of them: for the state, and for whoever reads the
/// record back.
pub fn follow(all: &mut BTreeMap<DeployId, Deploy>, at: At, on: Thing, fact: &Fact) {
    let Thing::Deploy(id) = on else { return };
    match all.get_mut(&id) {
        Some(deploy) => deploy.apply(at, fact),
        None => all.extend(Deploy::planned(id, at, fact).map(|deploy| (id, deploy))),
    }
}

/// The part of a state that is a fold of the log.
#[derive(Debug, PartialEq)]
pub struct Kept<'a> {
    /// The team.
    pub team: &'a TeamState,
    /// Alerts and silences.
    pub alerts: &'a Alerts,
    /// The incidents in memory.
    pub incidents: &'a BTreeMap<IncidentId, Incident>,
    /// What waits to be done.
    pub pending: &'a BTreeMap<EffectId, Effect>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(reference: &str, digest: Option<&str>) -> Image {
        Image { reference: reference.to_owned(), digest: digest.map(str::to_owned) }
    }

    #[test]
    fn ticks_stay_with_an_image_whether_its_digest_is_known_or_not() {
        let mut team = TeamState::default();
        let (named, known) = (image("shop:7", None), image("shop:7", Some("sha256:aa")));
        team.tick(&named, "code", true);
        team.tick(&known, "environment", true);
        for image in [&named, &known] {
            assert_eq!(team.ticked(image).iter().collect::<Vec<_>>(), ["code", "environment"], "{image:?}");
        }
        assert!(team.ticked(&image("shop:7", Some("sha256:bb"))).is_empty(), "a tag that was moved is another image");
        team.tick(&named, "code", false);
        assert_eq!(team.ticked(&known).len(), 1);
        assert_eq!(team.ticks.len(), 1);
    }

    #[test]
    fn a_copy_that_names_an_image_by_one_word_is_still_read() {
        let old = r#"[["sha256:aa",["code"]],["shop:8",["environment"]]]"#;
        let ticks: Vec<Ticks> = serde_json::from_str(old).expect("it is read");
        let team = TeamState { ticks, ..TeamState::default() };
        assert!(team.ticked(&image("shop:7", Some("sha256:aa"))).contains("code"));
        assert!(team.ticked(&image("shop:8", None)).contains("environment"));
        let again = serde_json::to_string(&team.ticks).expect("it is written");
        assert_eq!(serde_json::from_str::<Vec<Ticks>>(&again).expect("and read"), team.ticks);
    }
}
