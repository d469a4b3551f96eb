//! What falls due: reminders, the ladder's rungs, the silent lead, the end of a verification.
//!
//! Pure. One message an incident and look, however much fell due: after time away that is one line of what was missed, never a
//! burst, never silence. Each occurrence is recorded once.

use chrono::{DateTime, TimeDelta, Utc};

use super::draft::Draft;
use super::effect::{EffectKind, LookFor, Target, Urgency};
use super::fact::{EscalationReason, Fact, Moment, Status};
use super::figures::watch;
use super::health::HealthReport;
use super::ids::{IncidentId, Person, Service};
use super::incident::{Incident, Verify};
use super::input::Answers;
use super::message::{ButtonStyle, Message, Ping, Text};
use super::promise::{Next, PromiseKind, Step, after, missed};
use super::refusal::Refusal;
use super::verbs::{back, close};
use super::workspace::Stage;
use super::{escalate, evidence, text};

/// Incidents looked at in one decision. The rest follow in the next, at once.
pub const INCIDENTS_A_LOOK_MAX: usize = 64;

/// Time that the bot was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// From.
    pub from: DateTime<Utc>,
    /// Until.
    pub until: DateTime<Utc>,
}

/// Decides about everything that has fallen due. Whether more is left.
pub fn look(draft: &mut Draft<'_>, away: Option<Away>) -> bool {
    let now = draft.now();
    let deploys: Vec<_> = draft.ctx.state.due_deploys(now).collect();
    for id in deploys {
        super::deploy::run::due(draft, id);
    }
    let alerts: Vec<_> = draft.ctx.state.alerts.due(now).collect();
    for id in alerts {
        if !draft.has_room() {
            return true;
        }
        // Only far too many open incidents refuse it, and then it stays due.
        let _ = super::alerts::telling::due(draft, id);
    }
    let due: Vec<IncidentId> = draft.ctx.state.due_incidents(now).take(INCIDENTS_A_LOOK_MAX + 1).collect();
    let more = due.len() > INCIDENTS_A_LOOK_MAX;
    for id in due.into_iter().take(INCIDENTS_A_LOOK_MAX) {
        if !draft.has_room() {
            // The rest stays due and is looked at next, at once.
            return true;
        }
        // An incident that the index names is in memory; there is nothing to refuse here.
        let _ = incident(draft, id, away);
    }
    more
}

/// Decides about one incident.
fn incident(draft: &mut Draft<'_>, id: IncidentId, away: Option<Away>) -> Result<(), Refusal> {
    verification(draft, id)?;
    let now = draft.now();
    let is_due = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
    let incident = draft.incident(id)?;
    let calls = is_due(incident.escalate_at);
    let went_silent = is_due(incident.stale_at);
    let due: Vec<(PromiseKind, Next, DateTime<Utc>)> = incident
        .promises
        .iter()
        .filter(|(_, promise)| promise.is_open())
        .filter_map(|(kind, promise)| promise.next.filter(|next| next.at <= now).map(|next| (*kind, next, promise.due)))
        .collect();
    let mut reminder = Reminder::default();
    for (kind, next, due) in due {
        remind(draft, id, kind, next, due, away, &mut reminder)?;
    }
    if calls {
        escalate::next_rung(draft, id)?;
        // Whoever is called looks at the card; a second ping about the same incident says nothing more.
        reminder.pings.clear();
    }
    if went_silent {
        let level = (draft.incident(id)?.level + 1).min(draft.ctx.policy.levels()).max(2);
        escalate::call(draft, id, level, EscalationReason::WentSilent)?;
        reminder.pings.clear();
    }
    reminder.post(draft, id)
}

/// The one message about what fell due.
#[derive(Debug, Default)]
struct Reminder {
    lines: Vec<Text>,
    pings: Vec<Ping>,
    why: Vec<&'static str>,
    update_buttons: bool,
    mitigate_buttons: bool,
    review_button: bool,
    stale: bool,
}

impl Reminder {
    fn post(self, draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let incident = draft.incident(id)?;
        let n = id.0;
        let mut message = Message { lines: self.lines, ..Message::default() };
        if self.stale {
            message = message.button(format!("still:{n}"), "I'm still on it", ButtonStyle::Primary);
        }
        if self.update_buttons {
            message = message.button(format!("update:{n}"), "Update", ButtonStyle::Primary);
            if incident.no_change_in_a_row < draft.ctx.policy.reminders.no_change_in_a_row_max {
                message = message.button(format!("nochange:{n}"), "No change", ButtonStyle::Plain);
            }
            let snoozes = incident.promise(PromiseKind::NextUpdate).map_or(0, |promise| promise.snoozes);
            if snoozes < draft.ctx.policy.reminders.snoozes_in_a_row_max {
                let minutes = draft.ctx.policy.reminders.snooze_max.delta().num_minutes().clamp(1, 10);
                let label = format!("Snooze {minutes} min");
                message = message.button(format!("snooze:{n}:{minutes}"), label, ButtonStyle::Plain);
            }
        }
        if self.mitigate_buttons {
            message = message.button(format!("mitigated:{n}"), "Mitigated", ButtonStyle::Success).button(
                format!("notyet:{n}"),
                "Not yet",
                ButtonStyle::Plain,
            );
        }
        if self.update_buttons || self.mitigate_buttons {
            message.buttons.extend(super::releases::button(&draft.ctx, incident));
        }
        if self.review_button {
            message = message.button(format!("review:{n}"), "Review written", ButtonStyle::Success);
        }
        escalate::superseded(draft, id);
        if self.pings.is_empty() {
            draft.post(id, Target::Thread(id), message);
        } else {
            message = message.and(text::reason(&self.why.join("; ")));
            message.pings = self.pings;
            let replaces = draft.newest_ping(id);
            draft.replace(id, Target::Thread(id), message, replaces);
        }
        Ok(())
    }

    fn ping(&mut self, ping: Option<Ping>, why: &'static str) {
        if let Some(ping) = ping
            && !self.pings.contains(&ping)
        {
            self.pings.push(ping);
            self.why.push(why);
        }
    }
}

fn remind(
    draft: &mut Draft<'_>,
    id: IncidentId,
    kind: PromiseKind,
    next: Next,
    due: DateTime<Utc>,
    away: Option<Away>,
    reminder: &mut Reminder,
) -> Result<(), Refusal> {
    match kind {
        PromiseKind::NextUpdate | PromiseKind::FirstNotice => update(draft, id, kind, next, due, away, reminder),
        PromiseKind::Mitigate => mitigate(draft, id, next, reminder),
        PromiseKind::Review => review(draft, id, next, due, reminder),
        PromiseKind::Acknowledge | PromiseKind::Verify => {
            // Neither has reminders of its own; one found on an old record is let lapse.
            draft.fact(id, Fact::Replanned { promise: kind, next: None });
            Ok(())
        }
    }
}

/// An update, or the first written word where no update is promised.
fn update(
    draft: &mut Draft<'_>,
    id: IncidentId,
    kind: PromiseKind,
    next: Next,
    due: DateTime<Utc>,
    away: Option<Away>,
    reminder: &mut Reminder,
) -> Result<(), Refusal> {
    let now = draft.now();
    let incident = draft.incident(id)?;
    let severity = incident.severity;
    let lead = incident.lead().cloned().map(Ping::Person);
    let age = now - incident.time(Moment::Declared).unwrap_or(now);
    let every = draft
        .ctx
        .policy
        .update_every(severity, age)
        .map_or(draft.promised(severity).notify_within.delta(), |span| span.delta())
        .max(TimeDelta::minutes(1));
    let before = incident.promises.get(&kind).map_or(0, |promise| promise.missed);
    let fell_due = if now >= due { 1 + missed(due, every, now) } else { 0 };
    // The step that stands for this moment; while away several may have passed, and one message is for all of them.
    // The first reminder may come after its time: whoever has just taken it up is asked a little later, and alone.
    let asked = if next.step == Step::Due { due.max(next.at) } else { due };
    let step = if now < due {
        Step::Nudge
    } else if now < asked + draft.ctx.policy.reminders.late_after.delta() {
        Step::Due
    } else if next.step <= Step::Late {
        Step::Late
    } else {
        Step::Again
    };
    let planned = after(&draft.ctx.policy.reminders, if step == Step::Due { asked } else { due }, step, every, now);
    let planned = Next { at: draft.ctx.may_ping_at(severity, planned.at), ..planned };
    draft.fact(id, Fact::Reminded { promise: kind, step, due: next.at, missed: fell_due, next: Some(planned) });

    let incident = draft.incident(id)?;
    let what = if kind == PromiseKind::NextUpdate { "the update" } else { "a written word" };
    let role = || Some(Ping::Role(draft.ctx.first_role().clone()));
    let missed_while_away = away.filter(|away| next.at <= away.until && next.at > away.from && fell_due > 0);
    match (missed_while_away, step) {
        (Some(away), _) => {
            let zone = draft.ctx.workspace.team.zone;
            reminder.lines.push(text::caught_up(
                incident,
                fell_due.saturating_sub(before),
                away.from,
                away.until,
                zone,
            ));
            reminder.ping(lead.or_else(role), "an update is overdue");
        }
        (None, Step::Nudge) => {
            reminder.lines.push(text::update_nudge(incident, due));
            reminder.ping(lead, "you lead, and the next update is nearly due");
        }
        (None, Step::Due) => {
            reminder.lines.push(text::update_due(incident, what, now - due));
            let is_late = now - due >= TimeDelta::minutes(1);
            let why = if is_late { "the update is late" } else { "the update is due" };
            reminder.ping(lead.or_else(role), why);
        }
        (None, Step::Late) => {
            reminder.lines.push(text::update_late(incident, what, now - due));
            let to = if draft.ctx.may_ping_role(severity) { role() } else { lead.or_else(role) };
            reminder.ping(to, "the update is late");
        }
        (None, Step::Again) => {
            reminder.lines.push(text::update_late(incident, what, now - due));
            reminder.ping(lead.or_else(role), "the update is still late");
        }
    }
    reminder.update_buttons = true;
    let policy = &draft.ctx.policy.reminders;
    let silent = kind == PromiseKind::NextUpdate
        && fell_due >= u32::from(policy.stale_after_missed)
        && incident.is_acknowledged()
        && !incident.stale_asked
        && !incident.silence_called(draft.ctx.policy.levels());
    if silent {
        let escalate_at = now + policy.stale_grace.delta();
        reminder.lines.push(text::still_there(incident.lead(), escalate_at));
        reminder.stale = true;
        draft.fact(id, Fact::StaleAsked { escalate_at });
    }
    Ok(())
}

/// "Mitigated yet?": a question, silent, asked once. A rollback at work answers it until what came of that is known.
fn mitigate(draft: &mut Draft<'_>, id: IncidentId, next: Next, reminder: &mut Reminder) -> Result<(), Refusal> {
    if let Some(at) = back::at_work(&draft.ctx, id) {
        let next = Some(Next { at, ..next });
        draft.fact(id, Fact::Replanned { promise: PromiseKind::Mitigate, next });
        return Ok(());
    }
    draft.fact(
        id,
        Fact::Reminded { promise: PromiseKind::Mitigate, step: next.step, due: next.at, missed: 0, next: None },
    );
    let now = draft.now();
    let incident = draft.incident(id)?;
    if incident.status == Status::Monitoring {
        return Ok(());
    }
    let since = now - incident.time(Moment::Detected).unwrap_or(now);
    let first_try = draft.promised(incident.severity).mitigate_by.clone();
    reminder.lines.push(text::mitigated_yet(incident, since, &first_try));
    reminder.mitigate_buttons = true;
    Ok(())
}

/// The review: the lead is reminded in working hours, once a working day.
fn review(
    draft: &mut Draft<'_>,
    id: IncidentId,
    next: Next,
    due: DateTime<Utc>,
    reminder: &mut Reminder,
) -> Result<(), Refusal> {
    let now = draft.now();
    let again = Next { step: Step::Again, at: draft.ctx.working(now + TimeDelta::hours(24)) };
    draft.fact(
        id,
        Fact::Reminded {
            promise: PromiseKind::Review,
            step: next.step,
            due: next.at,
            missed: u32::from(now > due),
            next: Some(again),
        },
    );
    let incident = draft.incident(id)?;
    reminder.lines.push(text::review_due(incident, due, now));
    reminder.ping(incident.lead().cloned().map(Ping::Person), "you led it, and its review is not written");
    reminder.review_button = true;
    Ok(())
}

/// The end of a verification: begun anew, or what is measured of its services is asked first, or passed.
fn verification(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    let is_over = |verify: &Verify| !verify.passed && !verify.measuring && verify.until <= draft.now();
    if incident.status != Status::Monitoring || !incident.verify.as_ref().is_some_and(is_over) {
        return Ok(());
    }
    if !is_green(draft, id)? {
        return Ok(());
    }
    let services = draft.incident(id)?.services.clone();
    if evidence::measured(&draft.ctx, &services).is_empty() {
        return pass(draft, id, None);
    }
    draft.fact(id, Fact::VerifyMeasuring);
    let look = EffectKind::Look { incident: id, services, wanted: LookFor::Verified };
    draft.effect(id, Urgency::Talk, look);
    Ok(())
}

/// What is measured of the services of a verification that is over was asked, and told or not. Only what was told objects.
///
/// # Errors
/// When there is no such incident any more.
pub fn measured(
    draft: &mut Draft<'_>,
    id: IncidentId,
    report: Option<&HealthReport>,
    answers: &Answers,
) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    let Some(verify) = incident.verify.clone().filter(|verify| verify.measuring) else { return Ok(()) };
    if incident.status != Status::Monitoring || !is_green(draft, id)? {
        return Ok(());
    }
    let services = draft.incident(id)?.services.clone();
    let all = evidence::measured(&draft.ctx, &services);
    let objections = watch::objections(&draft.ctx, &all, answers);
    if objections.is_empty() {
        at_the_ceiling(draft, id, &services, report);
        return pass(draft, id, watch::said(&draft.ctx, &all, answers).as_deref());
    }
    let until = hold(draft, id, &objections)?;
    // Said once; while it goes on the card and the timeline say it.
    if !verify.held {
        let mut message = Message::line(text::verify_held(&objections.join("; "), until));
        if let (true, Some(lead)) = (verify.resolve, concerned(draft.incident(id)?)) {
            let why = text::reason("it was to resolve by itself, and what is measured speaks against it");
            message = message.ping(Ping::Person(lead)).and(why);
        }
        draft.post(id, Target::Thread(id), message);
        at_the_ceiling(draft, id, &services, report);
    }
    Ok(())
}

/// What is measured speaks against it: watched once more. Until when.
///
/// # Errors
/// When there is no such incident.
pub fn hold(draft: &mut Draft<'_>, id: IncidentId, objections: &[String]) -> Result<DateTime<Utc>, Refusal> {
    let until = draft.now() + verify_length(draft, draft.incident(id)?);
    draft.fact(id, Fact::VerifyHeld { why: objections.join("; "), until });
    Ok(until)
}

/// A line for each service of which no machine is left to start. No verdict: it may be just enough.
fn at_the_ceiling(draft: &mut Draft<'_>, id: IncidentId, services: &[Service], report: Option<&HealthReport>) {
    let stages = report.into_iter().flat_map(|report| &report.stages);
    let named = stages.filter(|stage| stage.stage == Stage::Production && services.contains(&stage.service));
    for (service, app) in named.filter_map(|stage| Some((&stage.service, stage.app.as_ref()?))) {
        if let Some(machines) = app.awake_to_the_last() {
            draft.post(id, Target::Thread(id), Message::line(text::at_the_ceiling(service, machines)));
        }
    }
}

/// Whether everything that a probe watches has been green long enough; what is not begins the verification anew.
fn is_green(draft: &mut Draft<'_>, id: IncidentId) -> Result<bool, Refusal> {
    let now = draft.now();
    let incident = draft.incident(id)?;
    if !incident.verify.as_ref().is_some_and(|verify| verify.watched) {
        return Ok(true);
    }
    let length = verify_length(draft, incident);
    match green_since(draft, incident) {
        None => {
            let until = now + length;
            let why = "no green answer right now".to_owned();
            draft.fact(id, Fact::VerifyReset { why: why.clone(), until });
            draft.post(id, Target::Thread(id), Message::line(text::verify_reset(&why, until)));
            Ok(false)
        }
        Some(since) if since + length > now => {
            let why = "not green long enough".to_owned();
            draft.fact(id, Fact::VerifyReset { why, until: since + length });
            Ok(false)
        }
        Some(_) => Ok(true),
    }
}

/// It is verified.
fn pass(draft: &mut Draft<'_>, id: IncidentId, said: Option<&str>) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    let length = verify_length(draft, incident);
    let (watched, resolve) = incident.verify.as_ref().map_or((false, false), |verify| (verify.watched, verify.resolve));
    draft.fact(id, Fact::Verified);
    if resolve {
        return close::finish(draft, id, None, None);
    }
    draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Verify });
    let message = Message::line(text::verified(watched, length, said)).button(
        format!("resolve:{}", id.0),
        "Resolve",
        ButtonStyle::Success,
    );
    draft.post(id, Target::Thread(id), message);
    Ok(())
}

/// How long a verification lasts. One that was begun before the incident became so mild that none is promised goes on, so it must
/// have a length too: one of no length would end, red, and begin anew in the same instant, for ever.
pub fn verify_length(draft: &Draft<'_>, incident: &Incident) -> TimeDelta {
    const NONE_PROMISED: TimeDelta = TimeDelta::minutes(10);
    const LEAST: TimeDelta = TimeDelta::minutes(1);
    let promised = draft.promised(incident.severity).verify_for;
    promised.map_or(NONE_PROMISED, |span| span.delta()).max(LEAST)
}

/// Since when everything the incident touches has been green; none when something is not.
pub fn green_since(draft: &Draft<'_>, incident: &Incident) -> Option<DateTime<Utc>> {
    let mut since: Option<DateTime<Utc>> = None;
    for service in probed(draft, incident) {
        let watched = draft.ctx.state.measured.watched.get(&(service, Stage::Production))?;
        since = since.max(Some(watched.green_since()?));
    }
    since
}

/// The services it touches that a probe watches.
fn probed(draft: &Draft<'_>, incident: &Incident) -> Vec<Service> {
    incident
        .services
        .iter()
        .filter(|service| {
            draft.ctx.workspace.service(service.as_str()).is_some_and(|spec| !spec.production.probes.is_empty())
        })
        .cloned()
        .collect()
}

/// Whom a verification that goes red concerns.
pub fn concerned(incident: &Incident) -> Option<Person> {
    incident.lead().cloned()
}
