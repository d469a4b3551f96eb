//! What people do about alerts: take one up, keep it quiet, make an incident of it, silence what is to come.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};

use crate::domain::alerts::heard::labels_of;
use crate::domain::alerts::matching::Matchers;
use crate::domain::alerts::{Group, Happened, Level, Quiet, SILENCES_MAX, Silence, telling};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::effect::Target;
use crate::domain::fact::Fact;
use crate::domain::ids::{AlertId, Thing};
use crate::domain::input::Actor;
use crate::domain::message::{Message, Text};
use crate::domain::policy::{Right, Severity, Span};
use crate::domain::refusal::Refusal;
use crate::domain::text::alerts as words;
use crate::domain::verbs::respond;

/// Characters of a reason.
const WHY_CHARS_MAX: usize = 300;

/// A group that still fires.
fn firing(draft: &Draft<'_>, id: AlertId) -> Result<Group, Refusal> {
    let Some(group) = draft.group(id).cloned() else {
        return Err(Refusal::because(format!("{id} is not at hand any more. `/alerts list` shows what fires.")));
    };
    if group.over.is_some() {
        return Err(Refusal::because(format!("{id} is over: nothing of it fires.")));
    }
    Ok(group)
}

/// Takes it up: nobody is told of it again, and everybody sees who has it.
///
/// # Errors
/// When the person may not, or it is over.
pub fn acknowledge(draft: &mut Draft<'_>, who: &Actor, id: AlertId) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let group = firing(draft, id)?;
    if let Some(incident) = group.incident.filter(|id| draft.incident(*id).is_ok_and(|one| one.status.is_open())) {
        return Ok(words::has_incident(id, incident).join(respond::acknowledge(draft, who, incident)?));
    }
    if let Some((first, _)) = &group.acknowledged {
        return Ok(match *first == who.person {
            true => Text::plain("You have it already."),
            false => crate::domain::text::already(first, &format!("{id} is taken")),
        });
    }
    let mut taken = vec![id];
    if group.is_storm() {
        let open = draft.alerts().on_card_of(id).filter(|one| one.over.is_none() && one.acknowledged.is_none());
        taken.extend(open.map(|one| one.id));
    }
    for id in taken {
        draft.alert(id, Happened::Acknowledged { by: who.person.clone() });
    }
    Ok(Text::plain(format!("{id} is yours. Nobody is pinged about it again.")))
}

/// What an incident that somebody makes of an alert is.
pub fn severity(ctx: &Ctx<'_>, level: Level) -> Severity {
    match level {
        Level::Critical => ctx.policy.incidents.declare_when_down.unwrap_or(Severity::Sev2),
        Level::Warning | Level::Info => Severity::Sev3,
    }
}

/// Makes an incident of it.
///
/// # Errors
/// When the person may not, it is over, or far too many are open.
pub fn declare(draft: &mut Draft<'_>, who: &Actor, id: AlertId) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Declare)?;
    let group = firing(draft, id)?;
    if let Some(incident) = group.incident.filter(|id| draft.incident(*id).is_ok_and(|one| one.status.is_open())) {
        return Ok(words::has_incident(id, incident).text("Its thread is under the incident's card."));
    }
    let severity = severity(&draft.ctx, group.level);
    telling::declare_by(draft, &group, severity, who)
}

/// Keeps a group quiet for a time, or until it stays over; or no more when `span` is none.
///
/// # Errors
/// When the person may not, or it is over.
pub fn quiet(draft: &mut Draft<'_>, who: &Actor, id: AlertId, span: Option<&str>) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let group = firing(draft, id)?;
    let now = draft.now();
    let by = who.person.clone();
    let quiet = match span {
        None => None,
        Some("up") => Some(Quiet { by: by.clone(), until: None }),
        Some(span) => {
            let span = Span::from_str(span).map_err(Refusal::because)?;
            Some(Quiet { by: by.clone(), until: Some(now + span.delta()) })
        }
    };
    let said = match &quiet {
        None => Text::plain(format!("{id} is quiet no more.")),
        Some(Quiet { until: None, .. }) => Text::plain(format!("{id} is quiet until it stays over.")),
        Some(Quiet { until: Some(until), .. }) => Text::plain(format!("{id} is quiet until ")).clock(*until).text("."),
    };
    let on_it: Vec<AlertId> =
        draft.alerts().on_card_of(id).filter(|one| one.over.is_none()).map(|one| one.id).collect();
    for id in std::iter::once(group.id).chain(on_it) {
        draft.alert(id, Happened::Quieted { by: by.clone(), quiet: quiet.clone() });
    }
    Ok(said)
}

/// Silences what is meant, from now or from later on.
///
/// # Errors
/// When the person may not, the words are no conditions, the time is none, or too many silences hold.
pub fn silence(
    draft: &mut Draft<'_>,
    who: &Actor,
    meant: &str,
    from: Option<DateTime<Utc>>,
    length: Span,
    why: &str,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let now = draft.now();
    let workspace = draft.ctx.workspace;
    let named = |typed: &str| workspace.service(typed).map(|service| service.name.to_string());
    let matchers = meant.parse::<Matchers>().map_err(Refusal::because)?.with_services(named);
    if length.is_zero() {
        return Err(Refusal::because("A silence lasts for a time: 30m, 4h, 2d."));
    }
    if draft.alerts().silences.iter().filter(|one| now < one.until).count() >= SILENCES_MAX {
        return Err(Refusal::because(format!("{SILENCES_MAX} silences hold. End some with `/alerts unsilence`.")));
    }
    let from = from.filter(|from| *from > now).unwrap_or(now);
    let id = draft.alerts().silences_used + 1;
    let why = crate::domain::text::short(why, WHY_CHARS_MAX);
    let silence = Silence { id, matchers, from, until: from + length.delta(), by: who.person.clone(), why };
    let meant = draft.alerts().firing().flat_map(|group| group.firing().into_iter().map(move |alert| (group, alert)));
    let meant = meant.filter(|(group, alert)| silence.matchers.hold(&labels_of(group, alert))).count();
    let said = words::silenced(&silence, now, meant);
    let line = Text::default().person(&who.person).text(": ").join(said.clone()).text(format!(" Why: {}", silence.why));
    draft.fact(Thing::Team, Fact::Alert { happened: Happened::Silenced { silence } });
    draft.post(Thing::Team, Target::Incidents, Message::line(line));
    Ok(said)
}

/// Ends a silence before its time.
///
/// # Errors
/// When the person may not, or there is none of that number.
pub fn unsilence(draft: &mut Draft<'_>, who: &Actor, id: u32) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let now = draft.now();
    if !draft.alerts().silences.iter().any(|one| one.id == id && now < one.until) {
        return Err(Refusal::because(format!("No silence {id} holds. `/alerts silences` lists them.")));
    }
    let happened = Happened::Unsilenced { silence: id, by: who.person.clone() };
    draft.fact(Thing::Team, Fact::Alert { happened });
    // What was held back by it is told now, and not only when it would have ended.
    let held: Vec<AlertId> = draft
        .alerts()
        .firing()
        .filter(|group| group.held.is_some() && group.shown_at.is_none())
        .map(|group| group.id)
        .collect();
    for group in held {
        telling::due(draft, group)?;
    }
    Ok(Text::plain(format!("Silence {id} holds no more.")))
}
