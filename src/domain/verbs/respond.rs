//! Taking it up: acknowledge, lead, other parts, hand over, wake others, snooze.

use chrono::TimeDelta;

use crate::domain::draft::Draft;
use crate::domain::effect::Target;
use crate::domain::escalate;
use crate::domain::fact::{EscalationReason, Fact, Part};
use crate::domain::ids::{IncidentId, Person};
use crate::domain::input::Actor;
use crate::domain::message::{Message, Ping, Text};
use crate::domain::policy::Right;
use crate::domain::promise::{Next, PromiseKind, Step};
use crate::domain::refusal::Refusal;
use crate::domain::text;
use crate::domain::verbs::open::promise_again;
use crate::domain::verbs::still_open;

/// Acknowledges, and takes the lead when nobody has it. Pressing twice does no harm and says so.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn acknowledge(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    take_up(draft, who, id, false)
}

/// The same, for somebody who rolls back what it is about; the record says so.
///
/// # Errors
/// As `acknowledge`.
pub fn acknowledge_by_rolling_back(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    take_up(draft, who, id, true)
}

fn take_up(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, by_rolling_back: bool) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let incident = still_open(draft, id)?;
    if let Some(first) = incident.acknowledged_by.clone() {
        let answers_the_question = incident.stale_at.is_some() && incident.lead() == Some(&who.person);
        if answers_the_question {
            draft.fact(id, Fact::StillHere { by: who.person.clone() });
            return Ok(Text::plain("Good. The next level is not called."));
        }
        return Ok(if first == who.person {
            Text::plain("You have it already.")
        } else {
            text::already(&first, &format!("{id} is acknowledged"))
        });
    }
    let takes_lead = incident.lead().is_none();
    draft.fact(id, Fact::Acknowledged { by: who.person.clone(), by_declaring: false, by_rolling_back });
    draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Acknowledge });
    if takes_lead {
        draft.fact(id, Fact::RoleTaken { part: Part::Lead, who: who.person.clone(), by: who.person.clone() });
    }
    escalate::stop(draft, id, "acknowledged");
    plan_updates(draft, id)?;
    let line = Message::line(text::acknowledged(&who.person, false, takes_lead));
    let replaces = draft.newest_ping(id);
    draft.replace(id, Target::Thread(id), line, replaces);
    Ok(Text::plain(if takes_lead { format!("{id} is yours: you lead.") } else { format!("You have {id}.") }))
}

/// Once somebody is there, updates are asked for: the reminder that comes next, never one in the past.
fn plan_updates(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    let now = draft.now();
    let incident = draft.incident(id)?;
    let Some(promise) = incident.promise(PromiseKind::NextUpdate) else { return promise_again(draft, id) };
    let (severity, due) = (incident.severity, promise.due);
    let reminders = &draft.ctx.policy.reminders;
    let nudge = due - reminders.nudge_before.delta();
    let next = if nudge > now {
        Next { step: Step::Nudge, at: nudge }
    } else if due > now {
        Next { step: Step::Due, at: due }
    } else {
        // They have just come; a moment to look before the first question, which is to them alone.
        Next { step: Step::Due, at: now + reminders.nudge_before.delta() }
    };
    let next = Next { at: draft.ctx.may_ping_at(severity, next.at), ..next };
    draft.fact(id, Fact::Replanned { promise: PromiseKind::NextUpdate, next: Some(next) });
    Ok(())
}

/// Calls level 1 although somebody is there, or the next level when level 1 was called.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn wake_others(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let highest = draft.ctx.policy.levels();
    let mut level = (still_open(draft, id)?.level + 1).min(highest);
    // A level that is only whoever asks brings nobody.
    while level < highest && draft.ctx.level(level).1.iter().all(|person| *person == who.person) {
        level += 1;
    }
    escalate::call(draft, id, level, EscalationReason::Asked)?;
    let roles = text::roles(&draft.ctx.policy.level(level).roles);
    Ok(Text::plain(format!("Level {level} is being called: {roles}.")))
}

/// Gives a part to somebody.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn give_part(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, part: Part, to: &Person) -> Result<Text, Refusal> {
    let taking = *to == who.person;
    draft.ctx.require(who, if taking { Right::Respond } else { Right::Lead })?;
    let incident = still_open(draft, id)?;
    if incident.parts.get(&part) == Some(to) {
        return Ok(Text::default().person(to).text(format!(" is {} already.", part.name())));
    }
    let before = incident.parts.get(&part).cloned();
    if part == Part::Lead && !incident.is_acknowledged() && taking {
        return acknowledge(draft, who, id);
    }
    draft.fact(id, Fact::RoleTaken { part, who: to.clone(), by: who.person.clone() });
    let mut line = Text::default().person(to).text(format!(" is {} now", part.name()));
    if let Some(before) = before {
        line = line.text(", after ").person(&before);
    }
    let mut message = Message::line(line.clone().text("."));
    if !taking {
        message = message.ping(Ping::Person(to.clone()));
        message = message.and(text::reason(&format!("you were made {}", part.name())));
    }
    draft.post(id, Target::Thread(id), message);
    Ok(line.text("."))
}

/// Hands the lead over, with what the next one should know.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn hand_over(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: IncidentId,
    to: &Person,
    words: Option<Text>,
) -> Result<Text, Refusal> {
    let leads = still_open(draft, id)?.lead() == Some(&who.person);
    if !leads {
        draft.ctx.require(who, Right::Lead)?;
    }
    if *to == who.person || still_open(draft, id)?.lead() == Some(to) {
        return give_part(draft, who, id, Part::Lead, to);
    }
    if let Some(what) = words {
        let noted =
            Fact::Noted { by: who.person.clone(), what, author: None, written: None, link: None, images: vec![] };
        draft.fact(id, noted);
    }
    draft.fact(id, Fact::RoleTaken { part: Part::Lead, who: to.clone(), by: who.person.clone() });
    let incident = draft.incident(id)?;
    let mut line = Text::plain(format!("{}: ", text::head(incident))).person(to).text(" leads now, handed over by ");
    line = line.person(&who.person).text(".");
    if let Some(promise) = incident.promise(PromiseKind::NextUpdate) {
        line = line.text(" Next update due at ").clock(promise.due).text(".");
    }
    let message = Message::line(line).ping(Ping::Person(to.clone())).and(text::reason("the lead was handed to you"));
    draft.post(id, Target::Thread(id), message);
    Ok(Text::default().person(to).text(format!(" leads {id} now and has been told.")))
}

/// Moves one reminder of the next update. The promise itself stays where it is.
///
/// # Errors
/// When there is nothing to snooze, or it was snoozed too often or too long.
pub fn snooze(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, length: TimeDelta) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let now = draft.now();
    let reminders = &draft.ctx.policy.reminders;
    let incident = still_open(draft, id)?;
    let promise = incident
        .promise(PromiseKind::NextUpdate)
        .filter(|promise| promise.next.is_some())
        .ok_or_else(|| Refusal::because(format!("{id} has no reminder running that could be snoozed.")))?;
    if promise.snoozes >= reminders.snoozes_in_a_row_max {
        return Err(Refusal::because(format!(
            "It was snoozed {} times in a row, which is the most. Give an update, or press “No change”.",
            promise.snoozes
        )));
    }
    if length > reminders.snooze_max.delta() || length < TimeDelta::minutes(1) {
        return Err(Refusal::because(format!("A snooze is 1 min to {}.", text::span(reminders.snooze_max.delta()))));
    }
    if let Some(next) = promise.next.filter(|next| next.at > now + length) {
        let line = Text::plain("There is nothing to snooze yet: the next reminder comes at ").clock(next.at);
        return Ok(line.text("."));
    }
    let at = now + length;
    let step = match () {
        // Put off so far that others wait for it: they hear of it too.
        () if at >= promise.due + reminders.late_after.delta() => Step::Late,
        () if at >= promise.due => Step::Due,
        () => Step::Nudge,
    };
    let next = Next { step, at };
    draft.fact(id, Fact::Snoozed { promise: PromiseKind::NextUpdate, by: who.person.clone(), next });
    let line = Text::default()
        .person(&who.person)
        .text(format!(" snoozed the reminder for {}; the update itself stays due at ", text::span(length)))
        .clock(draft.incident(id)?.promise(PromiseKind::NextUpdate).map_or(now, |promise| promise.due))
        .text(".");
    draft.post(id, Target::Thread(id), Message::line(line));
    Ok(Text::plain("Snoozed: I ask again at ").clock(next.at).text("."))
}

/// The lead says that they are still there.
///
/// # Errors
/// When the person may not, or it is closed.
pub fn still_here(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let incident = still_open(draft, id)?;
    if incident.stale_at.is_none() {
        return Ok(Text::plain("Nobody is about to be called. Carry on."));
    }
    draft.fact(id, Fact::StillHere { by: who.person.clone() });
    Ok(Text::plain("Good. The next level is not called; an update would help everybody else."))
}
