//! Who hears of a group of alerts, when, and why: every telling has a reason, and so has every silence.
//!
//! Pure. A warning never pings; what is critical pings once, and again only when nobody acted. Alerts of an open incident go into
//! its thread. Too many cards at once become one. Nothing is dropped: what is not told stands in `/alerts list` with its reason.

use chrono::{DateTime, TimeDelta, Utc};

use super::heard::{self, labels_of};
use super::storm::{Host, cards_lately, first_critical, host_again, into_the_storm, opened_storm, standing_storm};
use super::{Alert, Group, Happened, Held, Labels, Level};
use crate::domain::draft::Draft;
use crate::domain::effect::{EffectKind, Target, Urgency};
use crate::domain::escalate;
use crate::domain::fact::{EscalationReason, Fact, Status};
use crate::domain::ids::{AlertId, IncidentId, Service, Thing};
use crate::domain::input::Actor;
use crate::domain::message::{ButtonStyle, Message, Ping, Text};
use crate::domain::policy::Severity;
use crate::domain::promise::PromiseKind;
use crate::domain::refusal::Refusal;
use crate::domain::rules;
use crate::domain::services;
use crate::domain::text::{self, alerts as words};
use crate::domain::verbs::close;
use crate::domain::verbs::open::{Declared, Opener, open, promise_again, told};
use crate::domain::workspace::Stage;

/// How soon what is held back by another alert is looked at again.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(60);

/// A group has changed. `before` is how it was.
///
/// # Errors
/// When far too many incidents are open.
pub fn changed(draft: &mut Draft<'_>, id: AlertId, before: Option<&Group>) -> Result<(), Refusal> {
    let Some(group) = draft.group(id).cloned() else { return Ok(()) };
    if group.over.is_some() {
        return over(draft, &group);
    }
    let is_open = group.incident.is_some_and(|id| draft.incident(id).is_ok_and(|incident| incident.status.is_open()));
    let came_back = before.is_some_and(|before| before.over.is_some());
    // What was only said to be over goes on; but when its incident was closed upon that, nobody is on it any more.
    let goes_on_alone = !is_open && before.is_some_and(Group::is_ending) && !group.is_ending();
    if let (true, Some(incident)) = (came_back || goes_on_alone, group.incident) {
        return match is_open || (silenced(draft, &group).is_none() && inhibited(draft, &group).is_none()) {
            true => relapsed(draft, &group, incident),
            // Kept quiet, or said by what says more: it opens nothing again. When that is over people are told of it anew.
            false => left(draft, &group),
        };
    }
    if group.shown_at.is_none() {
        return tell(draft, id);
    }
    let got_worse = before.is_some_and(|before| before.level > group.level) && group.level == Level::Critical;
    if let (true, None, Some(severity)) = (got_worse, group.incident, declares(draft, &group))
        && silenced(draft, &group).is_none()
    {
        return match of_incident(draft, &group) {
            Some(incident) => join(draft, &group, incident),
            None => declare(draft, &group, severity),
        };
    }
    if let (true, true, Some(incident)) = (got_worse, is_open, group.incident) {
        return weighs(draft, &group, incident);
    }
    if came_back || got_worse {
        let host = if came_back { host_again(draft, &group) } else { Host::Stands };
        if host == Host::Forgotten {
            return left(draft, &group);
        }
        returned(draft, &group, got_worse);
    }
    Ok(())
}

/// It is time to look at a group again.
///
/// # Errors
/// When far too many incidents are open.
pub fn due(draft: &mut Draft<'_>, id: AlertId) -> Result<(), Refusal> {
    let now = draft.now();
    heard::ended(draft, id)?;
    let Some(group) = draft.group(id).filter(|group| group.over.is_none()).cloned() else { return Ok(()) };
    if group.shown_at.is_none() {
        return tell(draft, id);
    }
    if group.repeat_at.is_none_or(|at| at > now) {
        return Ok(());
    }
    if group.is_ending() {
        // Nobody is asked to act on what is said to be over; should it fire again, they are.
        draft.alert(id, Happened::Repeated { repeat_at: group.ending_at });
        return Ok(());
    }
    let again = Some(now + draft.ctx.policy.alerts.repeat_every.delta());
    if !group.is_unanswered(now) || silenced(draft, &group).is_some() {
        draft.alert(id, Happened::Repeated { repeat_at: group.is_unanswered(now).then_some(again).flatten() });
        return Ok(());
    }
    draft.alert(id, Happened::Repeated { repeat_at: again });
    let line = words::still_fires(&group, now);
    let message = pinging(draft, line, "it is critical and nobody has it");
    draft.post(id, Target::Incidents, message);
    Ok(())
}

/// Tells people of a group for the first time, or says on record why not.
fn tell(draft: &mut Draft<'_>, id: AlertId) -> Result<(), Refusal> {
    let now = draft.now();
    let Some(group) = draft.group(id).cloned() else { return Ok(()) };
    // What finds no room stays due, and is told in the next decision, at once.
    if group.wait_until.is_some_and(|until| until > now) || group.is_ending() || !draft.has_room() {
        return Ok(());
    }
    if let Some(held) = silenced(draft, &group).or_else(|| inhibited(draft, &group)) {
        if group.held.as_ref() != Some(&held) {
            draft.alert(id, Happened::Held { held });
        }
        return Ok(());
    }
    if let Some(incident) = of_incident(draft, &group) {
        return join(draft, &group, incident);
    }
    if let Some(severity) = declares(draft, &group) {
        return declare(draft, &group, severity);
    }
    let pings = group.level == Level::Critical;
    if cards_lately(draft, now, None) >= usize::from(draft.ctx.policy.alerts.cards_max) {
        into_the_storm(draft, &group);
        return Ok(());
    }
    let repeat_at = pings.then(|| now + draft.ctx.policy.alerts.repeat_every.delta());
    let reason = if pings { "it is critical" } else { "it fires; a warning pings nobody" };
    draft.alert(id, Happened::Shown { reason: reason.to_owned(), pinged: pings, card_of: None, repeat_at });
    let pings = if pings { whom(draft) } else { Vec::new() };
    draft.alert_card(id, Target::Incidents, pings);
    Ok(())
}

/// The incident that it opens by itself: what its hook says, of what is critical in production.
fn declares(draft: &Draft<'_>, group: &Group) -> Option<Severity> {
    let declares = if group.source == rules::SOURCE {
        // The worst that any of its rules that fire opens.
        let of = |alert: &&Alert| {
            let rules = &draft.ctx.policy.alerts.rules;
            let rule = rules.iter().find(|rule| alert.fingerprint.starts_with(&format!("{}/", rule.key())))?;
            rule.declare
        };
        group.firing().iter().filter_map(of).min()
    } else {
        draft.ctx.workspace.hooks.iter().find(|hook| hook.name == group.source)?.declares
    };
    declares.filter(|_| group.stage == Stage::Production && group.level == Level::Critical)
}

/// The silence that holds for everything of it that fires.
fn silenced(draft: &Draft<'_>, group: &Group) -> Option<Held> {
    let now = draft.now();
    if let Some(quiet) = group.quiet.as_ref().filter(|_| group.is_quiet(now)) {
        let look = quiet.until.unwrap_or(now + LOOK_AGAIN);
        return Some(Held { why: words::kept_quiet(draft.ctx.workspace, quiet), look });
    }
    let holding: Vec<_> =
        draft.alerts().silences.iter().filter(|silence| silence.from <= now && now < silence.until).collect();
    let of = |alert: &Alert| {
        let labels = labels_of(group, alert);
        holding.iter().filter(|silence| silence.matchers.hold(&labels)).max_by_key(|silence| silence.until).copied()
    };
    let mut first = None;
    for alert in group.firing() {
        let silence = of(alert)?;
        if first.is_none_or(|known: &super::Silence| silence.until < known.until) {
            first = Some(silence);
        }
    }
    first.map(|silence| Held { why: words::by_silence(draft.ctx.workspace, silence), look: silence.until })
}

/// What fires already and says more than this group does.
fn inhibited(draft: &Draft<'_>, group: &Group) -> Option<Held> {
    let rules = &draft.ctx.policy.alerts.inhibit;
    let firing = group.firing();
    let mine: Vec<Labels> = firing.iter().map(|alert| labels_of(group, alert)).collect();
    for rule in rules {
        if mine.is_empty() || !mine.iter().all(|labels| rule.of.hold(labels)) {
            continue;
        }
        let agrees = |source: &Labels| {
            rule.by.hold(source)
                && !mine.iter().any(|labels| rule.by.hold(labels))
                && mine.iter().all(|labels| rule.equal.iter().all(|name| labels.get(name) == source.get(name)))
        };
        let down = draft.ctx.state.team.down.iter().map(|down| {
            let labels = [("alertname", "down"), ("level", "critical"), ("stage", down.stage.name())];
            let labels = labels.into_iter().chain([("service", down.service.as_str())]);
            labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Labels>()
        });
        if let Some(labels) = { down }.find(|labels| agrees(labels)) {
            let service = labels.get("service").cloned().unwrap_or_default();
            return Some(Held { why: format!("{service} is down"), look: draft.now() + LOOK_AGAIN });
        }
        let other = draft
            .alerts()
            .firing()
            .filter(|other| other.id != group.id)
            .find(|other| other.firing().iter().any(|alert| agrees(&labels_of(other, alert))));
        if let Some(other) = other {
            let why = format!("{} says more: {}", other.id, other.title);
            return Some(Held { why, look: draft.now() + LOOK_AGAIN });
        }
    }
    None
}

/// The open incident that it belongs to: the worst about its service.
fn of_incident(draft: &Draft<'_>, group: &Group) -> Option<IncidentId> {
    if let Some(incident) = group.incident.filter(|id| draft.incident(*id).is_ok_and(|one| one.status.is_open())) {
        return Some(incident);
    }
    let service = group.service.as_ref().filter(|_| group.stage == Stage::Production)?;
    services::about(draft, service).into_iter().next()
}

/// What people were told of before about these services belongs to an incident from now on: whoever has that has these. Each stays
/// on its card, and nobody is told again.
pub fn gather(draft: &mut Draft<'_>, incident: IncidentId, services: &[Service]) {
    let is_about = |group: &&Group| {
        let service = group.service.as_ref().filter(|_| group.stage == Stage::Production);
        service.is_some_and(|service| services.contains(service))
            && group.over.is_none()
            && group.shown_at.is_some()
            && group.incident.is_none()
    };
    let groups: Vec<Group> = draft.alerts().iter().filter(is_about).cloned().collect();
    for group in groups {
        belongs(draft, &group, incident);
    }
}

fn belongs(draft: &mut Draft<'_>, group: &Group, incident: IncidentId) {
    draft.alert(group.id, Happened::Joined { incident });
    draft.fact(incident, Fact::AlertJoined { alert: group.id, title: group.title.clone() });
}

/// It goes into an incident's thread, and pings nobody: whoever is there reads it. Of too many at once the thread has one card.
fn join(draft: &mut Draft<'_>, group: &Group, incident: IncidentId) -> Result<(), Refusal> {
    let (id, now) = (group.id, draft.now());
    belongs(draft, group, incident);
    if cards_lately(draft, now, Some(incident)) >= usize::from(draft.ctx.policy.alerts.cards_max) {
        let host = match standing_storm(draft, Some(incident)) {
            Some(host) => host.id,
            None => {
                let host = opened_storm(draft, group.level);
                draft.alert(host, Happened::Joined { incident });
                let reason = format!("too many cards at once in the thread of {incident}");
                draft.alert(host, Happened::Shown { reason, pinged: false, card_of: None, repeat_at: None });
                draft.alert_card(host, Target::Thread(incident), Vec::new());
                host
            }
        };
        let reason = format!("{incident} is open for it, and too many cards stand in its thread: on that of {host}");
        draft.alert(id, Happened::Shown { reason, pinged: false, card_of: Some(host), repeat_at: None });
        draft.alert(host, Happened::Worsened { level: group.level });
    } else {
        let reason = format!("{incident} is open for it: in its thread, without a ping");
        draft.alert(id, Happened::Shown { reason, pinged: false, card_of: None, repeat_at: None });
        draft.alert_card(id, Target::Thread(incident), Vec::new());
    }
    weighs(draft, group, incident)
}

/// What is new in an incident's thread may be worse than the incident, and calls people again where nobody is called any more.
fn weighs(draft: &mut Draft<'_>, group: &Group, incident: IncidentId) -> Result<(), Refusal> {
    let severity = draft.incident(incident)?.severity;
    if let Some(worse) = declares(draft, group).filter(|declared| *declared < severity) {
        let line = Message::line(words::would_be_worse(group, worse, incident, severity));
        let message = line.button(format!("severity:{}", incident.0), "Severity", ButtonStyle::Plain);
        draft.post(incident, Target::Thread(incident), message);
    }
    if group.level == Level::Critical { call_again(draft, incident) } else { Ok(()) }
}

/// Opens an incident: from then on that is what people look at.
fn declare(draft: &mut Draft<'_>, group: &Group, severity: Severity) -> Result<(), Refusal> {
    let since = began(group);
    let incident = open(draft, Opener::Alert { since }, declared(group, severity))?;
    join(draft, group, incident)
}

/// The same, because somebody said so; what they are told.
///
/// # Errors
/// When they may not, or far too many are open.
pub fn declare_by(draft: &mut Draft<'_>, group: &Group, severity: Severity, who: &Actor) -> Result<Text, Refusal> {
    let incident = open(draft, Opener::Person(who), declared(group, severity))?;
    // Alerts about its services came along by themselves.
    if draft.group(group.id).is_some_and(|group| group.incident != Some(incident)) {
        belongs(draft, group, incident);
    }
    told(draft, incident)
}

fn began(group: &Group) -> DateTime<Utc> {
    group.firing().first().map_or(group.opened, |alert| alert.began.unwrap_or(alert.since))
}

fn declared(group: &Group, severity: Severity) -> Declared {
    let details = Text::plain(group.firing().first().map(|alert| alert.summary.clone()).unwrap_or_default());
    Declared {
        severity,
        title: group.title.clone(),
        services: group.service.iter().cloned().collect(),
        details,
        announce: None,
    }
}

/// It fires again although it was over, or got worse, and people know its card already.
fn returned(draft: &mut Draft<'_>, group: &Group, got_worse: bool) {
    let now = draft.now();
    if group.level != Level::Critical || !group.is_unanswered(now) || silenced(draft, group).is_some() {
        return;
    }
    let policy = &draft.ctx.policy.alerts;
    let (repeat_every, late) = (policy.repeat_every.delta(), policy.flapping_pings_after.delta());
    if group.flaps(now, usize::from(policy.flapping_changes), policy.flapping_within.delta()) && group.pinged {
        // Its card says that it flaps; only what stays pings once more.
        draft.alert(group.id, Happened::Repeated { repeat_at: Some(now + late) });
        return;
    }
    if let Some(host) = group.card_of {
        if draft.group(host).is_some_and(|host| !host.pinged && host.is_unanswered(now)) {
            first_critical(draft, host, group);
        }
        return;
    }
    draft.alert(group.id, Happened::Repeated { repeat_at: Some(now + repeat_every) });
    let line = if got_worse { words::got_worse(group) } else { words::fires_again(group) };
    let message = pinging(draft, line, "it is critical");
    draft.post(group.id, Target::Incidents, message);
}

/// Nothing of it fires any more.
fn over(draft: &mut Draft<'_>, group: &Group) -> Result<(), Refusal> {
    if let Some(host) = group.card_of {
        let last = draft.alerts().on_card_of(host).all(|one| one.over.is_some());
        if last && draft.group(host).is_some_and(|host| host.over.is_none()) {
            draft.alert(host, Happened::Over);
        }
    }
    let Some(incident) = group.incident else { return Ok(()) };
    let Ok(open) = draft.incident(incident) else { return Ok(()) };
    if !open.status.is_open() {
        return Ok(());
    }
    let acknowledged = open.is_acknowledged();
    draft.fact(incident, Fact::AlertOver { alert: group.id, title: group.title.clone() });
    let all_over = draft.alerts().iter().all(|one| one.incident != Some(incident) || one.over.is_some());
    let is_down = draft.ctx.state.team.down.iter().any(|down| Some(&down.service) == group.service.as_ref());
    let is_gone = rules::is_gone(&draft.ctx, group);
    let line = words::over_in_thread(group, draft.now());
    let mut message = Message::line(if is_gone { line.join(words::rule_gone()) } else { line });
    let mut is_said = group.card_of.is_none();
    // A rule that was changed says nothing of what it watched.
    if all_over && !is_gone && !is_down && !acknowledged && draft.incident(incident)?.declared_by.is_none() {
        let why = "its alert is over by itself";
        escalate::stop(draft, incident, why);
        draft.fact(incident, Fact::EscalationStopped { why: why.to_owned() });
        // Nobody is asked any more: both are promised again when somebody comes, or is called.
        for promise in [PromiseKind::Acknowledge, PromiseKind::NextUpdate] {
            if draft.incident(incident)?.promise(promise).is_some() {
                draft.fact(incident, Fact::PromiseWaived { promise, why: why.to_owned() });
            }
        }
        message = message.and(words::nobody_is_called());
        is_said = true;
    }
    // What stands on the card of many is said there.
    if is_said {
        draft.post(incident, Target::Thread(incident), message);
    }
    Ok(())
}

/// Nobody has it, and calling had stopped: somebody is needed after all.
fn call_again(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    let level = incident.level.max(1);
    if !incident.is_acknowledged() && incident.escalate_at.is_none() {
        promise_again(draft, id)?;
        escalate::call(draft, id, level, EscalationReason::GotWorse)?;
    }
    Ok(())
}

/// It was over, and fires again: the incident under the same number is about it, while it is open or was closed of late.
fn relapsed(draft: &mut Draft<'_>, group: &Group, id: IncidentId) -> Result<(), Refusal> {
    let Ok(incident) = draft.incident(id) else { return left(draft, group) };
    let (status, closed_at) = (incident.status, incident.closed_at);
    let within = draft.ctx.policy.incidents.reopen_within.delta();
    let now = draft.now();
    let reopens = status != Status::Cancelled && closed_at.is_some_and(|at| now - at <= within);
    if !status.is_open() && !reopens {
        return left(draft, group);
    }
    let host = host_again(draft, group);
    if host == Host::Forgotten {
        return left(draft, group);
    }
    if status.is_open() {
        draft.fact(id, Fact::AlertJoined { alert: group.id, title: group.title.clone() });
        if group.card_of.is_none() || host == Host::Again {
            draft.post(id, Target::Thread(id), Message::line(words::fires_again(group)));
        }
        return call_again(draft, id);
    }
    close::reopen_by_itself(draft, id, words::why_reopened(group))
}

/// Nobody is on its incident any more: people are told of it anew.
fn left(draft: &mut Draft<'_>, group: &Group) -> Result<(), Refusal> {
    draft.alert(group.id, Happened::Left);
    tell(draft, group.id)
}

/// Whom a critical alert pings: whoever level 1 calls.
pub(super) fn whom(draft: &Draft<'_>) -> Vec<Ping> {
    match draft.ctx.on_call() {
        Some((person, _)) => vec![Ping::Person(person)],
        None => draft.ctx.level(1).0,
    }
}

pub(super) fn pinging(draft: &Draft<'_>, line: Text, reason: &str) -> Message {
    let message = Message::line(line).and(text::reason(reason));
    whom(draft).into_iter().fold(message, Message::ping)
}

/// A card that is gone from the chat is put up anew while its group fires.
pub fn put_up_again(draft: &mut Draft<'_>, group: &Group) {
    draft.alert(group.id, Happened::CardLost);
    let to = group.incident.map_or(Target::Incidents, Target::Thread);
    draft.alert_card(group.id, to, Vec::new());
}

impl Draft<'_> {
    /// Something happened to a group of alerts.
    pub fn alert(&mut self, id: AlertId, happened: Happened) {
        self.fact(Thing::Alert(id), Fact::Alert { happened });
    }

    /// Puts up a group's card. While observing in the test channel, pinging no one.
    pub fn alert_card(&mut self, id: AlertId, to: Target, pings: Vec<Ping>) {
        let (to, pings) = self.shown_where(to, pings);
        let urgency = if pings.is_empty() { Urgency::Talk } else { Urgency::Ping };
        self.effect(Thing::Alert(id), urgency, EffectKind::AlertCard { alert: id, to, pings });
    }
}

#[cfg(test)]
mod tests;
