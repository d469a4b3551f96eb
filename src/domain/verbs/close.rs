//! Towards the end: mitigated, still broken, resolve, cancel, reopen, reviewed.

use chrono::TimeDelta;

use crate::domain::draft::{Ctx, Draft};
use crate::domain::due;
use crate::domain::effect::Target;
use crate::domain::escalate;
use crate::domain::evidence;
use crate::domain::fact::{EscalationReason, Fact, Moment, Part, Status};
use crate::domain::figures::watch;
use crate::domain::ids::{IncidentId, Person};
use crate::domain::incident::Incident;
use crate::domain::input::{Actor, Answers, Query};
use crate::domain::message::{ButtonStyle, Message, Text, TimeStyle};
use crate::domain::policy::Right;
use crate::domain::promise::{Next, PromiseKind, Step};
use crate::domain::refusal::Refusal;
use crate::domain::text;
use crate::domain::verbs::open::promise_all;
use crate::domain::verbs::respond;
use crate::domain::verbs::still_open;

/// The shortest reason taken where a reason is needed, in characters.
const REASON_CHARS_MIN: usize = 5;

/// It stopped hurting: verification begins.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn mitigated(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let incident = still_open(draft, id)?;
    if incident.status == Status::Monitoring && incident.verify.is_none() {
        verify(draft, id)?;
    }
    let incident = draft.incident(id)?;
    if incident.status == Status::Monitoring {
        let until = incident.verify.as_ref().map(|verify| verify.until);
        let line = Text::plain("It is being watched already");
        return Ok(match until {
            Some(until) => line.text(", until ").clock(until).text("."),
            None => line.text("."),
        });
    }
    watch(draft, who, id)?;
    let incident = draft.incident(id)?;
    Ok(match &incident.verify {
        Some(verify) if verify.watched => Text::plain("Watching until ").clock(verify.until).text("."),
        Some(verify) => {
            Text::plain("No probe watches it: I count until ").clock(verify.until).text(", and cannot see it go red.")
        }
        None => Text::plain("Noted. Nothing has to be watched at this severity; resolve it when you are sure."),
    })
}

/// Monitoring, with or without verification.
fn watch(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<(), Refusal> {
    if !draft.incident(id)?.is_acknowledged() {
        // Whoever says so has taken it up.
        respond::acknowledge(draft, who, id)?;
    }
    let by = Some(&who.person);
    let incident = draft.incident(id)?;
    let (from, severity) = (incident.status, incident.severity);
    let verify_for = draft.promised(severity).verify_for;
    draft.fact(id, Fact::StatusChanged { from, to: Status::Monitoring, by: by.cloned(), why: None });
    if draft.incident(id)?.promise(PromiseKind::Mitigate).is_some() {
        draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Mitigate });
    }
    escalate::mitigated(draft, id);
    let mut message = Message::line(match by {
        Some(person) => Text::default().person(person).text(" says it is mitigated."),
        None => Text::plain("It is mitigated."),
    });
    if let Some(says) = verify(draft, id)? {
        message = message.and(says);
    }
    let resolve = if verify_for.is_some() { "Resolve when green" } else { "Resolve" };
    message = message.button(format!("resolve:{}", id.0), resolve, ButtonStyle::Success).button(
        format!("broken:{}", id.0),
        "Still broken",
        ButtonStyle::Danger,
    );
    draft.post(id, Target::Thread(id), message);
    Ok(())
}

/// Verification begins, where its severity promises one. What is said of it.
fn verify(draft: &mut Draft<'_>, id: IncidentId) -> Result<Option<Text>, Refusal> {
    let incident = draft.incident(id)?;
    let Some(length) = draft.promised(incident.severity).verify_for else { return Ok(None) };
    let watched = is_watched(draft, incident);
    let green = due::green_since(draft, incident).is_some();
    let until = draft.now() + length.delta();
    draft.fact(id, Fact::VerifyStarted { until, watched });
    draft.fact(id, Fact::PromiseMade { promise: PromiseKind::Verify, due: until, next: None });
    Ok(Some(text::verify_started(until, watched, green, length.delta())))
}

/// Whether a probe watches what the incident touches.
fn is_watched(draft: &Draft<'_>, incident: &Incident) -> bool {
    incident.services.iter().any(|service| {
        draft.ctx.workspace.service(service.as_str()).is_some_and(|spec| !spec.production.probes.is_empty())
    })
}

/// It is still broken: verification is off.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn still_broken(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let from = still_open(draft, id)?.status;
    if from != Status::Monitoring {
        return Ok(Text::plain("It was not taken for mitigated. Carry on."));
    }
    draft.fact(id, Fact::PromiseWaived { promise: PromiseKind::Verify, why: "still broken".to_owned() });
    let by = Some(who.person.clone());
    draft.fact(id, Fact::StatusChanged { from, to: Status::Mitigating, by, why: None });
    draft.post(
        id,
        Target::Thread(id),
        Message::line(Text::default().person(&who.person).text(" says it is still broken.")),
    );
    Ok(Text::plain("Noted: still broken. Nothing is being verified any more."))
}

/// What must be asked before it can be resolved: what is measured, when nothing else is waited for any more.
pub fn queries(ctx: &Ctx<'_>, incident: &Incident) -> Vec<Query> {
    let passed = incident.status.is_open() && incident.verify.as_ref().is_some_and(|verify| verify.passed);
    if passed { watch::questions(ctx, &evidence::measured(ctx, &incident.services)) } else { Vec::new() }
}

/// Resolves: at once when verification has passed and what is measured does not speak against it, or none is asked for; otherwise by
/// itself when it passes. `anyway` is a written reason not to wait.
///
/// # Errors
/// When the person may not, it is closed, or the reason is too short.
pub fn resolve(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: IncidentId,
    anyway: Option<Text>,
    answers: &Answers,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let incident = still_open(draft, id)?;
    if let Some(why) = anyway {
        draft.ctx.require(who, Right::Lead)?;
        let why = reason(why, "resolving without waiting")?;
        finish(draft, id, Some(who.person.clone()), Some(why))?;
        return Ok(Text::plain(format!("{id} is resolved.")));
    }
    let verify_for = draft.promised(incident.severity).verify_for;
    let passed = incident.verify.as_ref().is_some_and(|verify| verify.passed);
    let objections = match passed {
        true => watch::objections(&draft.ctx, &evidence::measured(&draft.ctx, &incident.services), answers),
        false => Vec::new(),
    };
    if !objections.is_empty() {
        let armed = incident.verify.as_ref().is_some_and(|verify| verify.resolve);
        let until = due::hold(draft, id, &objections)?;
        if !armed {
            draft.fact(id, Fact::ResolveWhenGreen { by: who.person.clone() });
        }
        let why = objections.join("; ");
        draft.post(id, Target::Thread(id), Message::line(text::verify_held(&why, until)));
        return Ok(text::not_resolved(id, &why, until));
    }
    if verify_for.is_none() || passed {
        finish(draft, id, Some(who.person.clone()), None)?;
        return Ok(Text::plain(format!("{id} is resolved.")));
    }
    if incident.status != Status::Monitoring {
        watch(draft, who, id)?;
    } else if incident.verify.is_none() {
        // It was mitigated while it was milder, when nothing had to be watched.
        verify(draft, id)?;
    }
    let armed = draft.incident(id)?.verify.as_ref().is_some_and(|verify| verify.resolve);
    if !armed {
        draft.fact(id, Fact::ResolveWhenGreen { by: who.person.clone() });
    }
    let until = draft.incident(id)?.verify.as_ref().map_or(draft.now(), |verify| verify.until);
    let incident = draft.incident(id)?;
    let watched = incident.verify.as_ref().is_some_and(|verify| verify.watched);
    let is_measured = !evidence::measured(&draft.ctx, &incident.services).is_empty();
    let line = Text::plain(format!("{id} resolves by itself at ")).clock(until).text(match (watched, is_measured) {
        (true, false) => " if it stays green until then. I say something only if it goes red.",
        (true, true) => {
            " if it stays green until then, and errors and latency are not critical. I say something only if that is not so."
        }
        (false, true) => {
            ", by the clock, unless errors or latency are critical: no probe watches it, so press “Still broken” if it comes back."
        }
        (false, false) => ", by the clock: no probe watches it, so press “Still broken” if it comes back.",
    });
    let line = line.text(" To end it now: ").code("/resolve");
    Ok(line.text(" with a reason in ").code("anyway").text("."))
}

/// It is over: promises end, the review is promised, everybody is told.
///
/// # Errors
/// When there is no such incident.
pub fn finish(draft: &mut Draft<'_>, id: IncidentId, by: Option<Person>, why: Option<Text>) -> Result<(), Refusal> {
    let now = draft.now();
    let incident = draft.incident(id)?;
    let (from, severity, announce) = (incident.status, incident.severity, incident.announce);
    let mitigated = incident.time(Moment::Mitigated).is_some();
    draft.fact(id, Fact::StatusChanged { from, to: Status::Resolved, by: by.clone(), why: why.clone() });
    end_promises(draft, id, "resolved", |kind| {
        matches!(kind, PromiseKind::Acknowledge | PromiseKind::Verify | PromiseKind::FirstNotice)
            || (kind == PromiseKind::Mitigate && !mitigated)
    })?;
    escalate::end(draft, id, "resolved");
    let mut card = Message::line(text::resolved(draft.incident(id)?, now, by.as_ref()));
    if let Some(why) = &why {
        card = card.and(Text::plain("Without waiting, because: ").join(why.clone()));
    }
    if let Some(within) = draft.promised(severity).review_within {
        let due = now + within.delta();
        let at = draft.ctx.working(now.max(due - TimeDelta::hours(2)));
        draft.fact(
            id,
            Fact::PromiseMade { promise: PromiseKind::Review, due, next: Some(Next { step: Step::Due, at }) },
        );
        card = card.and(Text::plain("The review is due ").time(due, TimeStyle::Full).text("."));
    }
    let incident = draft.incident(id)?;
    card = card.and(Text::plain(format!("{}.", text::capital(&text::kept(incident, now)))));
    let replaces = draft.newest_ping(id);
    draft.replace(id, Target::Thread(id), card, replaces);
    if announce && draft.ctx.workspace.channels.announce.is_some() {
        let notice = text::notice(draft.incident(id)?, &Text::default(), None);
        draft.post(id, Target::Announce, Message::line(notice));
    }
    Ok(())
}

/// Ends every open promise: kept where `keeps` says so, waived otherwise.
fn end_promises(
    draft: &mut Draft<'_>,
    id: IncidentId,
    why: &str,
    keeps: impl Fn(PromiseKind) -> bool,
) -> Result<(), Refusal> {
    let open: Vec<PromiseKind> =
        draft.incident(id)?.promises.iter().filter(|(_, promise)| promise.is_open()).map(|(kind, _)| *kind).collect();
    for promise in open {
        draft.fact(
            id,
            if keeps(promise) {
                Fact::PromiseKept { promise }
            } else {
                Fact::PromiseWaived { promise, why: why.to_owned() }
            },
        );
    }
    Ok(())
}

/// It was none.
///
/// # Errors
/// When the person may not, it is closed, or no reason was given.
pub fn cancel(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, why: Text) -> Result<Text, Refusal> {
    let incident = still_open(draft, id)?;
    if incident.declared_by.as_ref() != Some(&who.person) {
        draft.ctx.require(who, Right::Lead)?;
    }
    let why = reason(why, "cancelling")?;
    let announce = incident.announce;
    draft.fact(id, Fact::Cancelled { by: who.person.clone(), why: why.clone() });
    end_promises(draft, id, "cancelled", |_| false)?;
    escalate::end(draft, id, "cancelled");
    let line = text::cancelled(&who.person, why);
    let replaces = draft.newest_ping(id);
    draft.replace(id, Target::Thread(id), Message::line(line), replaces);
    if announce && draft.ctx.workspace.channels.announce.is_some() {
        let notice = text::notice(draft.incident(id)?, &Text::default(), None);
        draft.post(id, Target::Announce, Message::line(notice));
    }
    Ok(Text::plain(format!("{id} is cancelled.")))
}

/// Opens it again under its number, soon after it was closed.
///
/// # Errors
/// When the person may not, it is open, it was closed too long ago, or no reason was given.
pub fn reopen(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, why: Text) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let incident = draft.incident(id)?;
    let Some(closed_at) = incident.closed_at.filter(|_| !incident.status.is_open()) else {
        return Err(Refusal::because(format!("{id} is open: it is {}.", incident.status.name())));
    };
    let why = reason(why, "reopening")?;
    let within = draft.ctx.policy.incidents.reopen_within.delta();
    if draft.now() - closed_at > within {
        return Err(Refusal::because(format!(
            "{id} was closed more than {} ago. Open a new one with `/{} {}` and mention {id}.",
            text::span(within),
            incident.severity.key(),
            text::short(&incident.title, 60),
        )));
    }
    let lead = incident.lead().cloned();
    draft.fact(id, Fact::Reopened { by: Some(who.person.clone()), why: why.clone() });
    if draft.incident(id)?.promise(PromiseKind::Review).is_some() {
        draft.fact(id, Fact::PromiseWaived { promise: PromiseKind::Review, why: "reopened".to_owned() });
    }
    promise_all(draft, id, false, false, true)?;
    draft.fact(id, Fact::Acknowledged { by: who.person.clone(), by_declaring: true, by_rolling_back: false });
    draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Acknowledge });
    if lead.is_none() {
        draft.fact(id, Fact::RoleTaken { part: Part::Lead, who: who.person.clone(), by: who.person.clone() });
    }
    let mut message = Message::line(
        Text::plain(format!("{}: reopened by ", text::head(draft.incident(id)?)))
            .person(&who.person)
            .text(": ")
            .join(why),
    );
    if let Some(lead) = lead.filter(|lead| *lead != who.person) {
        message = message.ping(crate::domain::message::Ping::Person(lead)).and(text::reason("you led it"));
    }
    draft.post(id, Target::Thread(id), message);
    announce_again(draft, id)?;
    Ok(Text::plain(format!("{id} is open again.")))
}

/// Whoever was told that it is over is told that it is not.
fn announce_again(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    if incident.announce && draft.ctx.workspace.channels.announce.is_some() {
        let next = incident.promise(PromiseKind::NextUpdate).map(|promise| promise.due);
        let notice = Message::line(text::notice(incident, &text::back_again(), next));
        draft.post(id, Target::Announce, notice);
    }
    Ok(())
}

/// Opens it again under its number because what it was about is back. Whoever had it is told; where nobody had, people are called.
///
/// # Errors
/// When there is no such incident.
pub fn reopen_by_itself(draft: &mut Draft<'_>, id: IncidentId, why: Text) -> Result<(), Refusal> {
    draft.fact(id, Fact::Reopened { by: None, why: why.clone() });
    let incident = draft.incident(id)?;
    let had = incident.acknowledged_by.clone().map(|by| incident.lead().cloned().unwrap_or(by));
    if incident.promise(PromiseKind::Review).is_some() {
        draft.fact(id, Fact::PromiseWaived { promise: PromiseKind::Review, why: "reopened".to_owned() });
    }
    promise_all(draft, id, had.is_none(), false, true)?;
    announce_again(draft, id)?;
    let line = Text::plain(format!("{}: open again: ", text::head(draft.incident(id)?))).join(why).text(".");
    let Some(person) = had else {
        draft.post(id, Target::Thread(id), Message::line(line));
        return escalate::call(draft, id, 1, EscalationReason::Reopened);
    };
    draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Acknowledge });
    let ping = crate::domain::message::Ping::Person(person);
    let message = Message::line(line).ping(ping).and(text::reason("you had it"));
    draft.post(id, Target::Thread(id), message);
    Ok(())
}

/// What was learned is written.
///
/// # Errors
/// When the person may not, it is not resolved, or nothing was said.
pub fn reviewed(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, what: Text) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let incident = draft.incident(id)?;
    if incident.status == Status::Reviewed {
        return Ok(Text::plain(format!("{id} is reviewed already.")));
    }
    if incident.status != Status::Resolved {
        return Err(Refusal::because(format!(
            "{id} is {}; only a resolved incident is reviewed.",
            incident.status.name()
        )));
    }
    let what = reason(what, "a review: a link to it, or what was learned")?;
    draft.fact(id, Fact::Reviewed { by: who.person.clone(), what: what.clone() });
    if draft.incident(id)?.promise(PromiseKind::Review).is_some() {
        draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Review });
    }
    draft.post(
        id,
        Target::Thread(id),
        Message::line(Text::plain("Reviewed by ").person(&who.person).text(": ").join(what)),
    );
    Ok(Text::plain(format!("{id} is reviewed.")))
}

/// Calls level 1 anew because the service that was taken for well is not.
///
/// # Errors
/// When there is no such incident.
pub fn call_again(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    escalate::call(draft, id, 1, EscalationReason::GotWorse)
}

fn reason(why: Text, what_for: &str) -> Result<Text, Refusal> {
    let words = crate::domain::press::flat(&why);
    if words.parse::<IncidentId>().is_ok() {
        return Err(Refusal::because(format!(
            "“{words}” is an incident, not a reason. Name the incident in its own option, `incident`, and the reason in `why`."
        )));
    }
    if why.is_blank() || why.chars() < REASON_CHARS_MIN {
        return Err(Refusal::because(format!("A sentence is needed for {what_for}; it stands on the record.")));
    }
    Ok(why)
}
