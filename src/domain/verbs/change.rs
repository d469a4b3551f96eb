//! Changing what is said of an incident: severity, status, times, services.

use chrono::{DateTime, Utc};

use crate::domain::draft::Draft;
use crate::domain::effect::Target;
use crate::domain::escalate;
use crate::domain::fact::{EscalationReason, Fact, Moment, Status};
use crate::domain::ids::{IncidentId, Service};
use crate::domain::input::{Actor, Answers};
use crate::domain::message::{Message, Text};
use crate::domain::policy::{Right, Severity};
use crate::domain::promise::{Next, PromiseKind, Step};
use crate::domain::refusal::Refusal;
use crate::domain::text;
use crate::domain::verbs::close;
use crate::domain::verbs::open::nudge;
use crate::domain::verbs::still_open;

/// Makes it better or worse. Promises follow the new severity; those already due keep their instant.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn severity(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: IncidentId,
    to: Severity,
    why: Option<Text>,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let now = draft.now();
    let incident = still_open(draft, id)?;
    let from = incident.severity;
    if from == to {
        return Ok(Text::plain(format!("{id} is {to} already.")));
    }
    let worse = to < from;
    let (acknowledged, age) = (incident.is_acknowledged(), now - incident.time(Moment::Declared).unwrap_or(now));
    let detected = incident.time(Moment::Detected).unwrap_or(now);
    draft.fact(id, Fact::SeverityChanged { from, to, by: who.person.clone(), why: why.clone() });

    let every = draft.ctx.policy.update_every(to, age).map(|span| span.delta());
    let running = draft.incident(id)?.promise(PromiseKind::NextUpdate).map(|promise| promise.due);
    match (every, running) {
        (None, Some(_)) => {
            draft.fact(id, Fact::PromiseWaived { promise: PromiseKind::NextUpdate, why: format!("now {to}") });
        }
        (Some(every), running) if running.is_none_or(|due| due > now) => {
            let due =
                running.map_or(now + every, |due| if worse { due.min(now + every) } else { due.max(now + every) });
            let next = acknowledged.then(|| nudge(draft, to, now, due));
            draft.fact(id, Fact::PromiseMade { promise: PromiseKind::NextUpdate, due, next });
        }
        _ => {}
    }
    let asks_mitigation = draft.incident(id)?.promises.contains_key(&PromiseKind::Mitigate);
    if let (Some(within), false) = (draft.promised(to).mitigate_within, asks_mitigation) {
        let due = detected + within.delta();
        let next = Some(Next { step: Step::Due, at: due.max(now) });
        draft.fact(id, Fact::PromiseMade { promise: PromiseKind::Mitigate, due, next });
    }
    let mut line = Text::default().person(&who.person).text(format!(" made it {to}, from {from}"));
    if let Some(why) = why {
        line = line.text(": ").join(why);
    }
    draft.post(id, Target::Thread(id), Message::line(line.text(".")));
    if worse && !acknowledged {
        let due = now + draft.promised(to).respond_within.delta();
        let running = draft.incident(id)?.promise(PromiseKind::Acknowledge).map(|promise| promise.due);
        if running.is_none_or(|running| running > due) {
            draft.fact(id, Fact::PromiseMade { promise: PromiseKind::Acknowledge, due, next: None });
        }
        escalate::call(draft, id, 1, EscalationReason::GotWorse)?;
    }
    Ok(Text::plain(format!("{id} is {to} now.")).text(if worse && acknowledged {
        " Press “Wake others” on the card if you need people."
    } else {
        ""
    }))
}

/// Says where it stands.
///
/// # Errors
/// When the person may not, or the status is reached another way.
pub fn status(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: IncidentId,
    to: Status,
    answers: &Answers,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let from = still_open(draft, id)?.status;
    match to {
        _ if from == to => Ok(Text::plain(format!("{id} is {} already.", to.name()))),
        Status::Monitoring => close::mitigated(draft, who, id),
        Status::Resolved => close::resolve(draft, who, id, None, answers),
        Status::Reviewed => Err(Refusal::because(format!("Resolve {id} first; then `/incident review`."))),
        Status::Cancelled => {
            Err(Refusal::because(format!("`/incident cancel incident:{id} why:…` takes the reason with it.")))
        }
        Status::Investigating | Status::Mitigating => {
            if from == Status::Monitoring {
                draft.fact(id, Fact::PromiseWaived { promise: PromiseKind::Verify, why: to.name().to_owned() });
            }
            draft.fact(id, Fact::StatusChanged { from, to, by: Some(who.person.clone()), why: None });
            draft.post(
                id,
                Target::Thread(id),
                Message::line(Text::default().person(&who.person).text(format!(" says: {}.", to.name()))),
            );
            Ok(Text::plain(format!("{id} is {} now.", to.name())))
        }
    }
}

/// Sets one of its times.
///
/// # Errors
/// When the person may not, or the time cannot be.
pub fn time(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: IncidentId,
    which: Moment,
    to: DateTime<Utc>,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Lead)?;
    if to > draft.now() {
        return Err(Refusal::because("That time has not come yet."));
    }
    let incident = draft.incident(id)?;
    let closed = !incident.status.is_open();
    let has_come = match which {
        Moment::Acknowledged => incident.is_acknowledged(),
        Moment::Mitigated => closed || incident.status == Status::Monitoring || incident.times.contains_key(&which),
        Moment::Resolved => closed,
        _ => true,
    };
    if !has_come {
        return Err(Refusal::because(format!(
            "{id} is not {} yet: it is {}. Say so first; then its time can be set right.",
            which.name(),
            incident.status.name()
        )));
    }
    let order: Vec<(Moment, DateTime<Utc>)> =
        incident.times.iter().map(|(moment, at)| (*moment, *at)).filter(|(moment, _)| *moment != which).collect();
    for (moment, at) in order {
        if (moment < which && at > to && moment != Moment::Declared)
            || (moment > which && at < to && which != Moment::Declared)
        {
            return Err(Refusal::because(format!(
                "It cannot have been {} then: it was {} at {}.",
                which.name(),
                moment.name(),
                text::clock_of_day(at, to, draft.ctx.workspace.team.zone),
            )));
        }
    }
    draft.fact(id, Fact::TimeSet { which, to, by: who.person.clone() });
    Ok(Text::plain(format!("{id} was {} ", which.name())).time(to, crate::domain::message::TimeStyle::Full).text("."))
}

/// Says what it touches.
///
/// # Errors
/// When the person may not, or there is no such service.
pub fn services(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, services: Vec<Service>) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let names: Vec<&str> = services.iter().map(Service::as_str).collect();
    let line = format!("{id} touches {}.", names.join(", "));
    draft.fact(id, Fact::ServicesSet { services, by: who.person.clone() });
    Ok(Text::plain(line))
}
