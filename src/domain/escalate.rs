//! The ladder: who is called next, when and why.
//!
//! Pure. Each level is called once on the way up; the highest again once an interval until a person acknowledges. Never calls
//! anybody for what is acknowledged or over.

use super::draft::Draft;
use super::effect::{Effect, EffectKind, Target};
use super::fact::{EscalationReason, Fact};
use super::ids::IncidentId;
use super::message::{ButtonStyle, Message};
use super::promise::PromiseKind;
use super::refusal::Refusal;
use super::text;

/// Calls level 1 with the incident's card. Outside a severity's hours the card is silent and the call waits.
///
/// # Errors
/// When there is no such incident.
pub fn first_call(draft: &mut Draft<'_>, id: IncidentId, why: EscalationReason) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    let (severity, ack_by) = (incident.severity, incident.promise(PromiseKind::Acknowledge).map(|promise| promise.due));
    let now = draft.now();
    let may_ping = draft.ctx.may_ping_at(severity, now);
    if may_ping > now {
        draft.card(id, Vec::new());
        draft.thread(id);
        draft.fact(id, Fact::Escalated { level: 0, why, next: Some(may_ping) });
        return Ok(());
    }
    let (pings, people) = draft.ctx.level(1);
    let words = text::page(draft.incident(id)?, ack_by, draft.ctx.workspace.team.zone);
    draft.fact(id, Fact::Escalated { level: 1, why, next: ack_by });
    draft.card(id, pings);
    draft.thread(id);
    draft.page(Some(id), &people, &words);
    Ok(())
}

/// Calls the level that is due, or a given one, with a message in the thread's channel and pages.
///
/// # Errors
/// When there is no such incident.
pub fn call(draft: &mut Draft<'_>, id: IncidentId, level: u8, why: EscalationReason) -> Result<(), Refusal> {
    let now = draft.now();
    let incident = draft.incident(id)?;
    let (severity, acknowledged) = (incident.severity, incident.is_acknowledged());
    let respond_within = draft.promised(severity).respond_within.delta();
    let level = level.clamp(1, draft.ctx.policy.levels());
    let next = (!acknowledged).then(|| draft.ctx.may_ping_at(severity, now + respond_within));
    let (pings, mut people) = draft.ctx.level(level);
    if why == EscalationReason::Asked {
        // Whoever leads is awake, and mostly the one who asked.
        people.retain(|person| incident.lead() != Some(person));
    }
    let line = text::escalated(incident, level, why, respond_within, next);
    let words = text::page(incident, next, draft.ctx.workspace.team.zone);
    let roles = draft.ctx.policy.level(level).roles.clone();
    let mut message = Message::line(line).and(text::reason(&format!("level {level} is {}", text::roles(&roles))));
    if !acknowledged {
        message = message.button(format!("ack:{}", id.0), "I've got it", ButtonStyle::Primary);
    }
    message.buttons.extend(super::releases::button(&draft.ctx, draft.incident(id)?));
    message.pings = pings;
    draft.fact(id, Fact::Escalated { level, why, next });
    let replaces = draft.newest_ping(id);
    draft.replace(id, Target::Incidents, message, replaces);
    draft.page(Some(id), &people, &words);
    Ok(())
}

/// The ladder's next rung at its time.
///
/// # Errors
/// When there is no such incident.
pub fn next_rung(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    let incident = draft.incident(id)?;
    let level = incident.level;
    let may_ping = draft.ctx.may_ping_at(incident.severity, draft.now());
    if may_ping > draft.now() {
        // It became so mild that the rest of the night is quiet.
        draft.fact(id, Fact::Escalated { level: 0, why: EscalationReason::Opened, next: Some(may_ping) });
        return Ok(());
    }
    if level == 0 {
        return call(draft, id, 1, EscalationReason::Opened);
    }
    let why = if level == 1 { EscalationReason::NotAcknowledged } else { EscalationReason::StillNotAcknowledged };
    call(draft, id, level + 1, why)
}

/// Stops calling: what has not gone out is taken back.
pub fn stop(draft: &mut Draft<'_>, id: IncidentId, why: &str) {
    draft.withdraw(id, why, Effect::rings);
}

/// It is over: calls and reminders that have not gone out are taken back. Nobody is asked for an update of what is resolved.
pub fn end(draft: &mut Draft<'_>, id: IncidentId, why: &str) {
    draft.withdraw(id, why, |effect| effect.rings() || asks(effect, &["update:", "mitigated:", "still:"]));
}

/// The question "mitigated yet?" has its answer.
pub fn mitigated(draft: &mut Draft<'_>, id: IncidentId) {
    draft.withdraw(id, "it is mitigated", |effect| asks(effect, &["mitigated:"]) && !asks(effect, &["update:"]));
}

/// A newer reminder says it all: one that has not gone out is taken back, so that time without Discord ends in one message.
pub fn superseded(draft: &mut Draft<'_>, id: IncidentId) {
    draft.withdraw(id, "a newer reminder takes its place", |effect| asks(effect, &["update:", "still:"]));
}

/// Whether an effect asks people for something, by one of these buttons, in the incident's thread. The card has them too, and stays.
fn asks(effect: &Effect, actions: &[&str]) -> bool {
    matches!(&effect.kind, EffectKind::Post { to: Target::Thread(_), message, .. }
        if message.buttons.iter().any(|button| actions.iter().any(|action| button.action.starts_with(action))))
}
