//! A decision in the making: facts and effects gathered, with the incident already brought forward by them.
//!
//! Owns the numbering of effects, observe mode (what would have pinged or paged goes to the test channel, silent) and whom a
//! level of escalation reaches. Never changes State: the driver does, after the record has it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::alerts::{Alerts, Group};
use super::answer::Answer;
use super::deploy::Deploy;
use super::effect::{Effect, EffectKind, Target, Urgency};
use super::fact::Fact;
use super::hosting::Image;
use super::ids::{AlertId, DeployId, EffectId, IncidentId, InputId, Person, Role, Thing};
use super::incident::Incident;
use super::input::Actor;
use super::message::{Message, Ping};
use super::policy::{Policy, Quiet, Right, Severity, SeverityPolicy};
use super::refusal::Refusal;
use super::state::State;
use super::text;
use super::workspace::{ServiceSpec, Workspace};
use super::{calendar, oncall};

/// Effects of one decision. Whoever decides about many things ends early (`has_room`); what is asked for beyond is not made.
pub const EFFECTS_MAX: u16 = 512;

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Ctx<'a> {
    /// Everything known.
    pub state: &'a State,
    /// The policy that holds.
    pub policy: &'a Policy,
    /// The team.
    pub workspace: &'a Workspace,
    /// Now, never before the latest instant on record.
    pub now: DateTime<Utc>,
    /// The input decided about.
    pub input: &'a InputId,
}

impl<'a> Ctx<'a> {
    /// The service of a name, as somebody typed it.
    ///
    /// # Errors
    /// There is none; a sentence that says which there are.
    pub fn service_named(&self, name: &str) -> Result<&'a ServiceSpec, Refusal> {
        let none = || Refusal::because(text::no_service(name.trim(), self.workspace));
        self.workspace.service(name).ok_or_else(none)
    }

    /// Refuses somebody who has not the right.
    ///
    /// # Errors
    /// Says which roles have it.
    pub fn require(&self, who: &Actor, right: Right) -> Result<(), Refusal> {
        if self.policy.may(&who.roles, right) {
            return Ok(());
        }
        Err(Refusal::NeedsRight { right, holders: self.policy.holders(right).to_vec() })
    }

    /// Whether somebody is on call for level 1 now.
    pub fn is_on_call(&self, person: &Person) -> bool {
        self.on_call().is_some_and(|(holder, _)| holder == *person)
    }

    /// Who is on call for level 1 by rotation or override, and until when. `None` when everybody with the role is.
    pub fn on_call(&self) -> Option<(Person, DateTime<Utc>)> {
        let overrides = &self.state.team.overrides;
        let shift = match &self.workspace.oncall.rotation {
            Some(rotation) => oncall::on_call(rotation, overrides, self.now),
            None => oncall::override_at(overrides, self.now)?,
        };
        Some((self.workspace.person(&shift.person).cloned().unwrap_or(Person::new(shift.person.clone())), shift.until))
    }

    /// The role that level 1 calls first.
    pub fn first_role(&self) -> &'a Role {
        &self.policy.level(1).roles[0]
    }

    /// Whom a level reaches: the roles that are pinged, and the people who are paged. The first role of level 1 is whoever is
    /// on call, when that is known.
    pub fn level(&self, level: u8) -> (Vec<Ping>, Vec<Person>) {
        let on_call = self.on_call().map(|(person, _)| person);
        let mut pings = Vec::new();
        let mut people: Vec<Person> = Vec::new();
        for role in &self.policy.level(level).roles {
            pings.push(Ping::Role(role.clone()));
            let on_call = on_call.clone().filter(|_| role == self.first_role());
            // At level 1 whoever is on call stands for the role; above it everybody who holds the role is wanted.
            let all = level > 1 || on_call.is_none();
            let members = self.workspace.people.iter().filter(|member| all && member.roles.contains(role));
            for person in on_call.into_iter().chain(members.map(|member| member.chat.clone())) {
                if !people.contains(&person) {
                    people.push(person);
                }
            }
        }
        (pings, people)
    }

    /// When something of this severity may ping: now, or the start of the next working hours.
    pub fn may_ping_at(&self, severity: Severity, at: DateTime<Utc>) -> DateTime<Utc> {
        match self.policy.at(severity).quiet {
            Quiet::Never | Quiet::PagesAlways => at,
            Quiet::WaitsForWorkingHours => self.working(at),
        }
    }

    /// Whether a whole role may be pinged about a late promise of this severity. In quiet hours only those who are up already
    /// hear of it, unless the severity knows no quiet.
    pub fn may_ping_role(&self, severity: Severity) -> bool {
        match self.policy.at(severity).quiet {
            Quiet::Never => true,
            Quiet::PagesAlways | Quiet::WaitsForWorkingHours => {
                calendar::quiet_until(&self.policy.quiet_hours, self.workspace.team.zone, self.now).is_none()
            }
        }
    }

    /// The instant itself inside working hours, the start of the next ones otherwise.
    pub fn working(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        calendar::working_at(&self.policy.working_hours, &self.policy.holidays, self.workspace.team.zone, at)
    }
}

/// A decision: what becomes true, what is to be done, what the person who asked is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// What becomes true.
    pub facts: Vec<(Thing, Fact)>,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// What whoever asked is told, after the record has it.
    pub answer: Option<Answer>,
}

/// A decision in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What it is made from.
    pub ctx: Ctx<'a>,
    facts: Vec<(Thing, Fact)>,
    effects: Vec<Effect>,
    changed: BTreeMap<IncidentId, Incident>,
    deploys: BTreeMap<DeployId, Deploy>,
    alerts: Option<Alerts>,
    live: bool,
    held_back: (u32, u32),
}

impl<'a> Draft<'a> {
    /// An empty one.
    pub fn new(ctx: Ctx<'a>) -> Self {
        let live = ctx.state.team.live;
        Self {
            ctx,
            facts: Vec::new(),
            effects: Vec::new(),
            changed: BTreeMap::new(),
            deploys: BTreeMap::new(),
            alerts: None,
            live,
            held_back: (0, 0),
        }
    }

    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        self.ctx.now
    }

    /// What is promised at a severity.
    pub fn promised(&self, severity: Severity) -> &'a SeverityPolicy {
        self.ctx.policy.at(severity)
    }

    /// An incident as it will be after this decision.
    ///
    /// # Errors
    /// When no such incident is in memory.
    pub fn incident(&self, id: IncidentId) -> Result<&Incident, Refusal> {
        self.changed.get(&id).or_else(|| self.ctx.state.incidents.get(&id)).ok_or(Refusal::NoSuchIncident(id))
    }

    /// A deploy as it will be after this decision; none when it is no longer at hand.
    pub fn deploy(&self, id: DeployId) -> Option<&Deploy> {
        self.deploys.get(&id).or_else(|| self.ctx.state.team.deploys.get(&id))
    }

    /// Alerts and silences as they will be after this decision.
    pub fn alerts(&self) -> &Alerts {
        self.alerts.as_ref().unwrap_or(&self.ctx.state.alerts)
    }

    /// A group of alerts as it will be after this decision; none when it is no longer at hand.
    pub fn group(&self, id: AlertId) -> Option<&Group> {
        self.alerts().get(id)
    }

    /// The number of the next group of alerts.
    pub fn next_alert(&self) -> AlertId {
        AlertId(self.alerts().used.saturating_add(1))
    }

    /// The boxes that are ticked for an image, as it will be after this decision.
    pub fn ticked(&self, image: &Image) -> BTreeSet<String> {
        let mut ticked = self.ctx.state.team.ticked(image).clone();
        for (_, fact) in &self.facts {
            match fact {
                Fact::Ticked { image: of, item, is_ticked: true, .. } if of.is(image) => {
                    ticked.insert(item.clone());
                }
                Fact::Ticked { image: of, item, is_ticked: false, .. } if of.is(image) => {
                    ticked.remove(item);
                }
                _ => {}
            }
        }
        ticked
    }

    /// The number of the next deploy.
    pub fn next_deploy(&self) -> DeployId {
        let newest = self.deploys.keys().next_back().map_or(0, |id| id.0);
        DeployId(self.ctx.state.team.deploys_used.max(newest).saturating_add(1))
    }

    /// Something becomes true.
    pub fn fact(&mut self, on: impl Into<Thing>, fact: Fact) {
        let on = on.into();
        if let Fact::Alert { .. } = &fact {
            let now = self.ctx.now;
            self.alerts.get_or_insert_with(|| self.ctx.state.alerts.clone()).apply(now, on, &fact);
        }
        if let Thing::Deploy(id) = on {
            let now = self.ctx.now;
            let known = self.deploy(id).cloned().map(|mut deploy| {
                deploy.apply(now, &fact);
                deploy
            });
            if let Some(deploy) = known.or_else(|| Deploy::planned(id, now, &fact)) {
                self.deploys.insert(id, deploy);
            }
        }
        if let Thing::Incident(id) = on {
            match self.changed.get_mut(&id) {
                Some(incident) => incident.apply(self.ctx.now, &fact),
                None => {
                    let known = self.ctx.state.incidents.get(&id).cloned().map(|mut incident| {
                        incident.apply(self.ctx.now, &fact);
                        incident
                    });
                    if let Some(incident) = known.or_else(|| Incident::open(id, self.ctx.now, &fact)) {
                        self.changed.insert(id, incident);
                    }
                }
            }
        }
        self.facts.push((on, fact));
    }

    /// Something is to be done.
    pub fn effect(&mut self, on: impl Into<Thing>, urgency: Urgency, kind: EffectKind) -> EffectId {
        let n = u16::try_from(self.effects.len()).unwrap_or(EFFECTS_MAX);
        let id = EffectId { seq: self.ctx.state.seq + 1, n };
        if n < EFFECTS_MAX {
            self.effects.push(Effect { id, on: on.into(), urgency, kind });
        }
        id
    }

    /// Whether more than one incident's worth of effects can still be asked for in this decision.
    pub fn has_room(&self) -> bool {
        self.effects.len() < usize::from(EFFECTS_MAX / 2)
    }

    /// Posts a message. While observing it goes to the test channel, pings no one and says whom it would have pinged.
    pub fn post(&mut self, on: impl Into<Thing>, to: Target, message: Message) -> EffectId {
        self.replace(on, to, message, None)
    }

    /// Posts a message that takes the place of an earlier one.
    pub fn replace(
        &mut self,
        on: impl Into<Thing>,
        to: Target,
        message: Message,
        replaces: Option<EffectId>,
    ) -> EffectId {
        let urgency = match (&to, message.pings.is_empty()) {
            (_, false) | (Target::Direct(_), _) => Urgency::Ping,
            _ => Urgency::Talk,
        };
        if !self.live && !message.pings.is_empty() {
            self.held_back.0 = self.held_back.0.saturating_add(1);
        }
        let (to, message) = if self.live { (to, message) } else { observed(to, message) };
        self.effect(on, urgency, EffectKind::Post { to, message, replaces })
    }

    /// The ping about an incident that what is said next takes the place of: the newest one that stands or is still on its way.
    /// One that was taken back hands on what it was to take the place of.
    pub fn newest_ping(&self, id: IncidentId) -> Option<EffectId> {
        let incident = self.incident(id).ok()?;
        let withdrawn = |ping: EffectId| {
            self.facts.iter().any(|(_, fact)| matches!(fact, Fact::Withdrawn { effect, .. } if *effect == ping))
        };
        let mut newest = incident.reminder?;
        while !incident.standing.contains_key(&newest) {
            match &self.ctx.state.pending.get(&newest)?.kind {
                EffectKind::Post { replaces, .. } if withdrawn(newest) => {
                    // Always an older one; a record that says otherwise must not hold the loop up.
                    newest = replaces.filter(|older| *older < newest)?;
                }
                _ => break,
            }
        }
        Some(newest)
    }

    /// Where a card goes up and whom it pings. While observing: where a test may be seen, and nobody.
    pub(super) fn shown_where(&mut self, to: Target, pings: Vec<Ping>) -> (Target, Vec<Ping>) {
        if self.live {
            return (to, pings);
        }
        if !pings.is_empty() {
            self.held_back.0 = self.held_back.0.saturating_add(1);
        }
        (observed(to, Message::default()).0, Vec::new())
    }

    /// Puts up an incident's card. While observing in the test channel, pinging no one.
    pub fn card(&mut self, id: IncidentId, pings: Vec<Ping>) {
        let (to, pings) = self.shown_where(Target::Incidents, pings);
        let urgency = if pings.is_empty() { Urgency::Ping } else { Urgency::Page };
        self.effect(Thing::Incident(id), urgency, EffectKind::Card { incident: id, to, pings });
    }

    /// Starts an incident's thread, under its card.
    pub fn thread(&mut self, id: IncidentId) {
        self.effect(Thing::Incident(id), Urgency::Ping, EffectKind::Thread { incident: id });
    }

    /// Puts up a deploy's card, where it is talked about.
    pub fn board(&mut self, deploy: DeployId) {
        let to = self.deploy(deploy).map_or(Target::Incidents, super::deploy::run::place);
        let to = if self.live { to } else { observed(to, Message::default()).0 };
        self.effect(deploy, Urgency::Ping, EffectKind::Board { deploy, to });
    }

    /// Wakes people by every way they have. While observing, nobody.
    pub fn page(&mut self, incident: Option<IncidentId>, people: &[Person], words: &str) -> u16 {
        self.page_on(incident.map_or(Thing::Team, Thing::Incident), incident, people, words)
    }

    /// Wakes people because of a deploy, whatever becomes of its incident meanwhile.
    pub fn page_about(&mut self, deploy: DeployId, people: &[Person], words: &str) -> u16 {
        self.page_on(Thing::Deploy(deploy), None, people, words)
    }

    fn page_on(&mut self, on: Thing, incident: Option<IncidentId>, people: &[Person], words: &str) -> u16 {
        if !self.live {
            let ways = people.iter().map(|person| self.ctx.workspace.ways(person).len()).sum::<usize>();
            self.held_back.1 = self.held_back.1.saturating_add(u32::try_from(ways).unwrap_or(u32::MAX));
            return 0;
        }
        let mut sent = 0;
        for person in people {
            for (way, via) in self.ctx.workspace.ways(person).iter().enumerate() {
                let kind = EffectKind::Page {
                    person: person.clone(),
                    way: u8::try_from(way).unwrap_or(u8::MAX),
                    via: via.name().to_owned(),
                    incident,
                    text: words.to_owned(),
                };
                self.effect(on, Urgency::Page, kind);
                sent += 1;
            }
        }
        sent
    }

    /// Takes back what has not gone out yet and is not wanted any more.
    pub fn withdraw(&mut self, id: IncidentId, why: &str, unwanted: impl Fn(&Effect) -> bool) {
        let pending: Vec<EffectId> = self
            .ctx
            .state
            .pending
            .values()
            .filter(|effect| effect.on == Thing::Incident(id) && unwanted(effect))
            .map(|effect| effect.id)
            .collect();
        for effect in pending {
            self.fact(id, Fact::Withdrawn { effect, why: why.to_owned() });
        }
    }

    /// Whether nothing has been decided yet.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.effects.is_empty()
    }

    /// The decision, with what the person who asked is told.
    pub fn done(mut self, answer: Option<Answer>) -> Decision {
        if self.held_back != (0, 0) {
            let (pings, pages) = self.held_back;
            self.facts.push((Thing::Team, Fact::HeldBack { pings, pages }));
        }
        Decision { facts: self.facts, effects: self.effects, answer }
    }

    /// The decision, with a line that only the person who asked sees.
    pub fn say(self, line: impl Into<super::message::Text>) -> Decision {
        self.done(Some(Answer::Say { message: Message::line(line), only_you: true }))
    }

    /// A span from now.
    pub fn after(&self, span: TimeDelta) -> DateTime<Utc> {
        self.ctx.now + span
    }
}

/// What a message becomes while observing.
fn observed(to: Target, mut message: Message) -> (Target, Message) {
    let pings = std::mem::take(&mut message.pings);
    if let Some(line) = text::would_have(&to, &pings) {
        message.lines.push(line);
    }
    let to = match to {
        // The thread hangs under a card in the test channel already.
        Target::Thread(id) => Target::Thread(id),
        _ => Target::Test,
    };
    (to, message)
}

impl From<AlertId> for Thing {
    fn from(id: AlertId) -> Self {
        Thing::Alert(id)
    }
}

impl From<DeployId> for Thing {
    fn from(id: DeployId) -> Self {
        Thing::Deploy(id)
    }
}

impl From<IncidentId> for Thing {
    fn from(id: IncidentId) -> Self {
        Thing::Incident(id)
    }
}
