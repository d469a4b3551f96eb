//! Opening an incident, by a person or by a service that does not answer.

use chrono::{DateTime, Utc};

use crate::domain::alerts::telling;
use crate::domain::deploy::{Deploy, Kind};
use crate::domain::draft::Draft;
use crate::domain::effect::{EffectKind, LookFor, Target, Urgency};
use crate::domain::escalate;
use crate::domain::fact::{EscalationReason, Fact, Moment, Part};
use crate::domain::ids::{IncidentId, Service, Thing};
use crate::domain::incident::Incident;
use crate::domain::input::Actor;
use crate::domain::message::{Message, Text, TimeStyle};
use crate::domain::policy::{Right, Severity};
use crate::domain::promise::{Next, PromiseKind, Step, first};
use crate::domain::refusal::Refusal;
use crate::domain::text;
use crate::domain::workspace::Stage;

/// The longest title, in characters. Longer ones are cut and the whole goes into the details.
pub const TITLE_CHARS_MAX: usize = 120;
/// Incidents open at once. More are refused: something is telling lies by then.
pub const OPEN_MAX: usize = 2_000;

/// What somebody said when they declared it.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What it touches.
    pub services: Vec<Service>,
    /// More than one line.
    pub details: Text,
    /// Whether the wider audience hears of it; policy says when none.
    pub announce: Option<bool>,
}

/// Who opens it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Opener<'a> {
    /// A person.
    Person(&'a Actor),
    /// The bot: a service has not answered since.
    Probe {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// The bot: an alert fires.
    Alert {
        /// Since when.
        since: DateTime<Utc>,
    },
}

/// Open incidents of late that could be the same and are no milder: same service, or telling words in common. A worse one is
/// never held back by a question: nobody has been called for it yet.
pub fn similar<'a>(draft: &Draft<'a>, declared: &Declared) -> Vec<&'a Incident> {
    let since = draft.now() - draft.ctx.policy.incidents.similar_within.delta();
    let words = telling_words(&declared.title);
    draft
        .ctx
        .state
        .open()
        .filter(|incident| incident.time(crate::domain::fact::Moment::Declared).is_some_and(|at| at >= since))
        .filter(|incident| incident.severity <= declared.severity)
        .filter(|incident| {
            incident.services.iter().any(|service| declared.services.contains(service))
                || alike(&telling_words(&incident.title), &words)
        })
        .collect()
}

/// Whether titles are about the same: two telling words in common, or all that the shorter one has.
fn alike(one: &[String], other: &[String]) -> bool {
    const WORDS_MIN: usize = 2;
    let common = one.iter().filter(|word| other.contains(word)).count();
    let shorter = one.len().min(other.len());
    common > 0 && common >= shorter.min(WORDS_MIN)
}

/// Words that tell one incident from another.
fn telling_words(title: &str) -> Vec<String> {
    const TOO_COMMON: [&str; 16] = [
        "down",
        "broken",
        "error",
        "errors",
        "slow",
        "fails",
        "failing",
        "failed",
        "with",
        "from",
        "the",
        "and",
        "not",
        "service",
        "production",
        "working",
    ];
    title
        .split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| word.chars().count() > 2 && !TOO_COMMON.contains(&word.as_str()))
        .collect()
}

/// Opens an incident: number, card, thread, people called, promises made.
///
/// # Errors
/// When the person may not, or far too many are open.
pub fn open(draft: &mut Draft<'_>, opener: Opener<'_>, declared: Declared) -> Result<IncidentId, Refusal> {
    if let Opener::Person(who) = opener {
        draft.ctx.require(who, Right::Declare)?;
    }
    if draft.ctx.state.open().count() >= OPEN_MAX {
        return Err(Refusal::because(format!(
            "{OPEN_MAX} incidents are open; I open no more until some are closed. `/incident list` shows them."
        )));
    }
    let now = draft.now();
    let id = IncidentId(draft.ctx.state.team.incidents + 1);
    let severity = declared.severity;
    let promised = draft.promised(severity).clone();
    let announce = declared.announce.unwrap_or(promised.announce) && draft.ctx.workspace.channels.announce.is_some();
    let (title, details) = fit(&declared.title, declared.details);
    let since = match opener {
        Opener::Person(_) => now,
        Opener::Probe { since } | Opener::Alert { since } => since.min(now),
    };
    let by = match opener {
        Opener::Person(who) => Some(who.person.clone()),
        Opener::Probe { .. } | Opener::Alert { .. } => None,
    };
    let documented = !details.is_blank();
    draft.fact(
        id,
        Fact::Opened {
            severity,
            title,
            services: declared.services.clone(),
            by: by.clone(),
            details,
            started: since,
            detected: now,
            announce,
        },
    );

    let taken_by = match opener {
        Opener::Person(who)
            if draft.ctx.policy.may(&who.roles, Right::Respond) || draft.ctx.is_on_call(&who.person) =>
        {
            Some(who.person.clone())
        }
        _ => None,
    };
    promise_all(draft, id, taken_by.is_none(), announce, documented)?;
    match taken_by {
        Some(person) => {
            draft.fact(id, Fact::Acknowledged { by: person.clone(), by_declaring: true, by_rolling_back: false });
            draft.fact(id, Fact::PromiseKept { promise: PromiseKind::Acknowledge });
            draft.fact(id, Fact::RoleTaken { part: Part::Lead, who: person.clone(), by: person.clone() });
            draft.card(id, Vec::new());
            draft.thread(id);
            draft.post(id, Target::Thread(id), Message::line(text::acknowledged(&person, true, true)));
        }
        None => escalate::first_call(draft, id, EscalationReason::Opened)?,
    }
    if announce {
        let incident = draft.incident(id)?;
        let what = text::first_notice(severity);
        let next = incident.promise(PromiseKind::NextUpdate).map(|promise| promise.due);
        let notice = Message::line(text::notice(incident, &what, next));
        draft.post(id, Target::Announce, notice);
    }
    // Whoever comes must not begin what is at work already.
    let ctx = draft.ctx;
    let is_at_work = |deploy: &&Deploy| {
        let plan = &deploy.plan;
        let is_here = plan.stage == Stage::Production && declared.services.contains(&plan.service);
        is_here && plan.kind == Kind::Rollback && deploy.is_started() && deploy.verdict.is_none()
    };
    for deploy in ctx.state.team.deploys.values().filter(is_at_work) {
        draft.post(id, Target::Thread(id), Message::line(text::deploys::going_back(&ctx, deploy)));
    }
    telling::gather(draft, id, &declared.services);
    draft.effect(
        Thing::Incident(id),
        Urgency::Talk,
        EffectKind::Look { incident: id, services: declared.services, wanted: LookFor::Opened },
    );
    Ok(id)
}

/// A title that fits a card; what does not fit is kept in the details.
fn fit(title: &str, details: Text) -> (String, Text) {
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.chars().count() <= TITLE_CHARS_MAX {
        return (title, details);
    }
    let whole = Text::plain(format!("{title}\n")).join(details);
    (text::short(&title, TITLE_CHARS_MAX), whole)
}

/// Makes the promises of a severity from now on.
///
/// # Errors
/// None in practice: the incident was just opened.
pub fn promise_all(
    draft: &mut Draft<'_>,
    id: IncidentId,
    to_acknowledge: bool,
    announce: bool,
    documented: bool,
) -> Result<(), Refusal> {
    let now = draft.now();
    let severity = draft.incident(id)?.severity;
    let promised = draft.promised(severity).clone();
    let reminders = &draft.ctx.policy.reminders;

    let due = draft.ctx.may_ping_at(severity, now) + promised.respond_within.delta();
    // Nobody is reminded of an acknowledgement: escalation is the reminder.
    draft.fact(id, Fact::PromiseMade { promise: PromiseKind::Acknowledge, due, next: None });

    let due = draft.ctx.may_ping_at(severity, now) + promised.notify_within.delta();
    let out_at_once = announce || documented || promised.update_every.is_some();
    let next = (!out_at_once).then(|| {
        let planned = first(reminders, now, due);
        Next { at: draft.ctx.may_ping_at(severity, planned.at), ..planned }
    });
    draft.fact(id, Fact::PromiseMade { promise: PromiseKind::FirstNotice, due, next });
    if out_at_once {
        draft.fact(id, Fact::PromiseKept { promise: PromiseKind::FirstNotice });
    }

    if let Some(every) = promised.update_every {
        let due = now + every.delta();
        let next = (!to_acknowledge).then(|| nudge(draft, severity, now, due));
        draft.fact(id, Fact::PromiseMade { promise: PromiseKind::NextUpdate, due, next });
    }
    if let Some(within) = promised.mitigate_within {
        let due = now + within.delta();
        let next = Some(Next { step: Step::Due, at: due });
        draft.fact(id, Fact::PromiseMade { promise: PromiseKind::Mitigate, due, next });
    }
    Ok(())
}

/// Promises again what was waived while the service answered and nobody was called.
///
/// # Errors
/// When there is no such incident.
pub fn promise_again(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    let now = draft.now();
    let incident = draft.incident(id)?;
    let (severity, is_acknowledged) = (incident.severity, incident.is_acknowledged());
    let is_open = |kind| incident.promise(kind).is_some();
    let (acknowledge, update) =
        (!is_acknowledged && !is_open(PromiseKind::Acknowledge), !is_open(PromiseKind::NextUpdate));
    let age = now - incident.time(Moment::Declared).unwrap_or(now);
    if acknowledge {
        let due = draft.ctx.may_ping_at(severity, now) + draft.promised(severity).respond_within.delta();
        draft.fact(id, Fact::PromiseMade { promise: PromiseKind::Acknowledge, due, next: None });
    }
    if let Some(every) = draft.ctx.policy.update_every(severity, age).filter(|_| update) {
        let due = now + every.delta();
        let next = is_acknowledged.then(|| nudge(draft, severity, now, due));
        draft.fact(id, Fact::PromiseMade { promise: PromiseKind::NextUpdate, due, next });
    }
    Ok(())
}

/// The first reminder of an update, kept out of quiet hours.
pub fn nudge(draft: &Draft<'_>, severity: Severity, made: DateTime<Utc>, due: DateTime<Utc>) -> Next {
    let planned = first(&draft.ctx.policy.reminders, made, due);
    Next { at: draft.ctx.may_ping_at(severity, planned.at), ..planned }
}

/// What a person who declares is told.
pub fn told(draft: &Draft<'_>, id: IncidentId) -> Result<Text, Refusal> {
    let incident = draft.incident(id)?;
    let line = Text::plain(format!("{} is open", text::headline(incident)));
    Ok(match (incident.lead(), incident.promise(PromiseKind::Acknowledge)) {
        (Some(_), _) => line.text(" and yours: you lead. Press “Wake others” on the card if you need people."),
        (None, Some(_)) if !draft.ctx.state.team.live => line.text(". I am only observing: nobody is being called."),
        (None, Some(promise)) if draft.ctx.may_ping_at(incident.severity, draft.now()) > draft.now() => {
            let called = draft.ctx.may_ping_at(incident.severity, draft.now());
            let line = line.text(". It waits for working hours: people are called ").time(called, TimeStyle::Full);
            line.text(" and somebody has to take it by ").clock(promise.due).text(".")
        }
        (None, Some(promise)) => {
            line.text(". People are being called; somebody has to take it by ").clock(promise.due).text(".")
        }
        (None, None) => line.text("."),
    })
}
