//! Looks at services, and what becomes of them: down, up again, a verification that starts anew.
//!
//! Pure. A look is no fact; only what changes is. State's `measured` must have taken the look in before this decides
//! (`observe`), and hands over what changed.

use std::sync::Arc;

use super::deploy::known;
use super::draft::Draft;
use super::due::{concerned, verify_length};
use super::effect::Target;
use super::escalate;
use super::fact::{EscalationReason, Fact, Status};
use super::health::Transition;
use super::ids::{IncidentId, Service, Thing};
use super::input::{Measurement, Seen};
use super::message::{Message, Ping, Text};
use super::policy::Severity;
use super::promise::PromiseKind;
use super::refusal::Refusal;
use super::state::State;
use super::text::{self, deploys};
use super::verbs::open::{Declared, Opener, open, promise_again};
use super::workspace::Stage;

/// Takes a look in. What changed by it, if anything.
pub fn observe(state: &mut State, look: &Measurement, policy: &super::policy::Health) -> Option<Transition> {
    Arc::make_mut(&mut state.measured.rules).note(look);
    let key = (look.service.clone(), look.stage);
    state.measured.watched.entry(key).or_default().observe(look, policy)
}

/// Decides what a look changes.
///
/// # Errors
/// When far too many incidents are open.
pub fn decide(draft: &mut Draft<'_>, look: &Measurement, changed: Option<&Transition>) -> Result<(), Refusal> {
    let known_down = draft
        .ctx
        .state
        .team
        .down
        .iter()
        .find(|down| down.service == look.service && down.stage == look.stage)
        .map(|down| down.since);
    match changed {
        Some(Transition::Down { since, why }) if known_down.is_none() => down(draft, look, *since, why)?,
        _ => {
            // Also after a restart, when the look before is forgotten and the record says down.
            let answers = matches!(look.seen, Seen::Green { .. } | Seen::Asleep);
            if let (true, Some(since)) = (answers, known_down) {
                up(draft, look, since)?;
            }
        }
    }
    let reds = reds_in_a_row(draft, look);
    if matches!(look.seen, Seen::Red { .. }) && reds == u32::from(draft.ctx.policy.health.verify_reds_in_a_row) {
        super::deploy::run::shaken(draft, &look.service, look.stage);
    }
    verifications(draft, look, reds)
}

fn reds_in_a_row(draft: &Draft<'_>, look: &Measurement) -> u32 {
    let key = (look.service.clone(), look.stage);
    draft.ctx.state.measured.watched.get(&key).map_or(0, super::health::Watched::reds_in_a_row)
}

fn down(
    draft: &mut Draft<'_>,
    look: &Measurement,
    since: chrono::DateTime<chrono::Utc>,
    why: &str,
) -> Result<(), Refusal> {
    let (service, stage) = (look.service.clone(), look.stage);
    draft.fact(Thing::Team, Fact::ServiceDown { service: service.clone(), stage, since, why: why.to_owned() });
    let line = text::service_down(&service, stage.name(), why, since);
    // A milder incident that names the service calls nobody, or not now: what is down is an incident of its own then.
    let severe_enough = draft.ctx.policy.incidents.declare_when_down.unwrap_or(Severity::Sev3);
    if stage == Stage::Production
        && let Some(id) = about(draft, &service)
            .into_iter()
            .find(|id| draft.incident(*id).is_ok_and(|incident| incident.severity <= severe_enough))
    {
        draft.fact(id, Fact::Relapsed { service, why: why.to_owned() });
        draft.post(id, Target::Thread(id), Message::line(line));
        let incident = draft.incident(id)?;
        let level = incident.level.max(1);
        if !incident.is_acknowledged() && incident.escalate_at.is_none() {
            // Calling had stopped because it recovered; now somebody is needed after all.
            promise_again(draft, id)?;
            escalate::call(draft, id, level, EscalationReason::GotWorse)?;
        }
        return Ok(());
    }
    match draft.ctx.policy.incidents.declare_when_down {
        Some(severity) if stage == Stage::Production => {
            let declared = Declared {
                severity,
                title: text::down_title(&service),
                services: vec![service],
                details: Text::plain(format!("{}.", text::capital(why))),
                announce: None,
            };
            open(draft, Opener::Probe { since }, declared)?;
        }
        _ => {
            let message = Message::line(line).button(
                format!("declare:{}", service.as_str()),
                "Declare an incident",
                super::message::ButtonStyle::Danger,
            );
            draft.post(Thing::Team, Target::Incidents, message);
        }
    }
    Ok(())
}

fn up(draft: &mut Draft<'_>, look: &Measurement, since: chrono::DateTime<chrono::Utc>) -> Result<(), Refusal> {
    let (service, stage, now) = (look.service.clone(), look.stage, draft.now());
    draft.fact(Thing::Team, Fact::ServiceUp { service: service.clone(), stage, since });
    let ours = known::between(&draft.ctx, &service, since, now).filter(|_| stage == Stage::Production);
    let line = text::service_up(&service, stage.name(), since, now, ours.map(deploys::did));
    let concerned = if stage == Stage::Production { about(draft, &service) } else { Vec::new() };
    if concerned.is_empty() {
        draft.post(Thing::Team, Target::Incidents, Message::line(line.clone()));
    }
    for id in concerned {
        recovered(draft, id, &service, &line)?;
    }
    Ok(())
}

/// What it means for one incident. While another service of it is down, people are still called and nothing is mitigated.
fn recovered(draft: &mut Draft<'_>, id: IncidentId, service: &Service, line: &Text) -> Result<(), Refusal> {
    let services = draft.incident(id)?.services.clone();
    let still_down =
        draft.ctx.state.team.down.iter().find(|down| {
            down.stage == Stage::Production && down.service != *service && services.contains(&down.service)
        });
    let mut message = Message::line(line.clone());
    if let Some(down) = still_down {
        message = message.and(format!("{} is still down.", down.service));
        // People are called on: the record of the incident keeps its ladder.
        draft.post(id, Target::Thread(id), message);
        return Ok(());
    }
    draft.fact(id, Fact::Recovered { service: service.clone() });
    if draft.incident(id)?.promise(PromiseKind::Mitigate).is_some() {
        draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Mitigate });
    }
    if !draft.incident(id)?.is_acknowledged() {
        let why = "the service answers again";
        escalate::stop(draft, id, why);
        // Nobody is asked any more: what nobody is asked for is not late. Both are promised again when somebody comes, or is called.
        for promise in [PromiseKind::Acknowledge, PromiseKind::NextUpdate] {
            if draft.incident(id)?.promise(promise).is_some() {
                draft.fact(id, Fact::PromiseWaived { promise, why: why.to_owned() });
            }
        }
        message = message.and(text::calling_stopped());
    }
    draft.post(id, Target::Thread(id), message);
    Ok(())
}

/// Verifications that this look concerns: two reds in a row start them again.
fn verifications(draft: &mut Draft<'_>, look: &Measurement, reds: u32) -> Result<(), Refusal> {
    let Seen::Red { why } = &look.seen else { return Ok(()) };
    if look.stage != Stage::Production || reds != u32::from(draft.ctx.policy.health.verify_reds_in_a_row) {
        return Ok(());
    }
    let concerned_ids: Vec<IncidentId> = draft
        .ctx
        .state
        .open()
        .filter(|incident| incident.status == Status::Monitoring && incident.services.contains(&look.service))
        .filter(|incident| incident.verify.as_ref().is_some_and(|verify| verify.watched))
        .map(|incident| incident.id)
        .collect();
    for id in concerned_ids {
        let incident = draft.incident(id)?;
        let until = draft.now() + verify_length(draft, incident);
        let armed = incident.verify.as_ref().is_some_and(|verify| verify.resolve);
        let lead = concerned(incident);
        let head = text::head(incident);
        draft.fact(id, Fact::VerifyReset { why: why.clone(), until });
        let mut message = Message::line(Text::plain(format!("{head}: ")).join(text::verify_reset(why, until)));
        if let (true, Some(lead)) = (armed, lead) {
            message = message.ping(Ping::Person(lead)).and(text::reason("it was to resolve by itself and went red"));
        }
        draft.post(id, Target::Thread(id), message);
    }
    Ok(())
}

/// The open incidents that are about a service, the worst first.
pub fn about(draft: &Draft<'_>, service: &Service) -> Vec<IncidentId> {
    let mut found: Vec<_> = draft
        .ctx
        .state
        .open()
        .filter(|incident| incident.services.contains(service))
        .map(|one| (one.severity, one.id))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}
