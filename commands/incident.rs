//! `/incident …`: everything about one incident that has no command of its own.

use super::{Command, incident_option, nothing, only_you, told};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::fact::{Moment, Part, Status};
use crate::domain::ids::IncidentId;
use crate::domain::incident::Incident;
use crate::domain::input::{Answers, Call, Query};
use crate::domain::message::{Card, Choice, File, Message, Text, Tone};
use crate::domain::policy::{Right, Severity};
use crate::domain::refusal::Refusal;
use crate::domain::schedule::{first_instant, local, parse_duration};
use crate::domain::verbs::{change, close, meant, meant_open, respond, update};
use crate::domain::{text, timeline, view};

/// Closed incidents listed.
const CLOSED_LISTED_MAX: u16 = 10;

fn spec(name: &'static str, help: &'static str) -> CommandSpec {
    CommandSpec::slash(name, help).in_group("Everything about one incident")
}

fn with_incident(spec: CommandSpec) -> CommandSpec {
    spec.takes("incident", "Which one; this thread's, or the only one open, when left out", incident_option())
}

/// Closed incidents are read back from the store when one is named that is not in memory.
fn read_back(ctx: &Ctx<'_>, call: &Call) -> Vec<Query> {
    let named = call.word("incident").and_then(|named| named.parse::<IncidentId>().ok());
    // A number that was never given out needs no search: without the database that would be through the whole record.
    let was_given_out = |id: &IncidentId| (1..=ctx.state.team.incidents).contains(&id.0);
    let away = named.filter(|id| was_given_out(id) && !ctx.state.incidents.contains_key(id));
    away.map(Query::ClosedIncident).into_iter().collect()
}

/// The incident that is meant, in memory or read back.
fn any<'a>(ctx: &Ctx<'a>, call: &Call, answers: &'a Answers) -> Result<(&'a Incident, bool), Refusal> {
    let named = call.word("incident");
    if let Some(id) = named.as_deref().and_then(|named| named.parse::<IncidentId>().ok())
        && !ctx.state.incidents.contains_key(&id)
        && let Some(found) = answers.recent.iter().flatten().find(|incident| incident.id == id)
    {
        return Ok((found, false));
    }
    meant(ctx, named.as_deref(), &call.place)
}

/// Runs a verb on the incident that is meant.
fn on(
    ctx: Ctx<'_>,
    call: &Call,
    verb: impl FnOnce(&mut Draft<'_>, IncidentId) -> Result<Text, Refusal>,
) -> Result<Decision, Refusal> {
    let (incident, guessed) = meant(&ctx, call.word("incident").as_deref(), &call.place)?;
    let id = incident.id;
    let mut draft = Draft::new(ctx);
    let line = verb(&mut draft, id)?;
    Ok(draft.say(told(guessed, incident, line)))
}

fn needed(call: &Call, option: &str) -> Result<Text, Refusal> {
    call.text(option).ok_or_else(|| Refusal::because(format!("`{option}` is empty.")))
}

/// `/incident list`.
pub const LIST: Command = Command {
    spec: || spec("incident list", "What is open, and what was lately"),
    needs: |_, _| vec![Query::RecentIncidents(CLOSED_LISTED_MAX)],
    decide: |ctx, _, answers| {
        let mut card = Card::new("Incidents", Tone::Quiet);
        let open: Vec<&Incident> = ctx.state.open().collect();
        if open.is_empty() {
            card = card.line("Nothing is open.");
        }
        for incident in &open {
            let mut line = Text::default().bold(text::head(incident)).text(format!(" · {}", incident.status.name()));
            if let Some(lead) = incident.lead() {
                line = line.text(" · ").person(lead);
            }
            if let Some((kind, promise)) = incident.next_promise() {
                line = line.text(format!(" · {} ", kind.name())).relative(promise.due);
            }
            if let Some(thread) = &incident.thread {
                line = line.text(" · ").place(thread);
            }
            card = card.line(line);
        }
        let in_memory = ctx.state.incidents.values().filter(|incident| !incident.status.is_open());
        let mut closed: Vec<&Incident> = in_memory.chain(answers.recent.iter().flatten()).collect();
        closed.sort_by_key(|incident| std::cmp::Reverse(incident.id));
        closed.dedup_by_key(|incident| incident.id);
        closed.retain(|incident| !incident.status.is_open());
        for incident in closed.into_iter().take(usize::from(CLOSED_LISTED_MAX)) {
            let line = format!(
                "{} · {} after {}",
                text::head(incident),
                incident.status.name(),
                text::span(incident.age(ctx.now))
            );
            card = card.line(line);
        }
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// `/incident show`.
pub const SHOW: Command = Command {
    spec: || {
        with_incident(spec("incident show", "One incident: where it stands, its times, how its promises were kept"))
    },
    needs: read_back,
    decide: |ctx, call, answers| {
        let (incident, _) = any(&ctx, call, answers)?;
        let mut message = view::card(&ctx, incident);
        if let Some(card) = &mut message.card {
            for (moment, at) in incident.times.iter() {
                let name = text::capital(moment.name());
                *card = card.clone().field(name, Text::default().time(*at, crate::domain::message::TimeStyle::Full));
            }
        }
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/incident timeline`.
pub const TIMELINE: Command = Command {
    spec: || with_incident(spec("incident timeline", "What happened, in order")),
    needs: read_back,
    decide: |ctx, call, answers| {
        let (incident, _) = any(&ctx, call, answers)?;
        let message = timeline::message(&ctx, incident);
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/incident export`.
pub const EXPORT: Command = Command {
    spec: || with_incident(spec("incident export", "The whole record of one incident as a file")),
    needs: read_back,
    decide: |ctx, call, answers| {
        let (incident, _) = any(&ctx, call, answers)?;
        let mut message = Message::line(format!("The record of {}.", incident.id));
        message.files.push(File { name: format!("{}.md", incident.id), text: timeline::document(&ctx, incident) });
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/incident note`.
pub const NOTE: Command = Command {
    spec: || {
        with_incident(spec("incident note", "Put something on the record").with_right(Right::Respond).needs(
            "text",
            "What",
            OptionKind::Text { chars_max: 4_000 },
        ))
    },
    needs: nothing,
    decide: |ctx, call, _| on(ctx, call, |draft, id| update::note(draft, &call.who, id, needed(call, "text")?)),
};

/// `/incident severity`.
pub const SEVERITY: Command = Command {
    spec: || {
        let choices = Severity::ALL.into_iter().map(|one| Choice::new(one.key(), one.to_string())).collect();
        with_incident(
            spec("incident severity", "It is worse, or not so bad")
                .with_right(Right::Respond)
                .needs("severity", "What it is", OptionKind::Choice(choices))
                .takes("why", "Why", OptionKind::Text { chars_max: 500 }),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| {
        on(ctx, call, |draft, id| {
            let typed = call.word("severity").unwrap_or_default();
            let to = Severity::from_key(&typed).ok_or_else(|| {
                Refusal::because(format!("“{typed}” is no severity; there are SEV-1, SEV-2 and SEV-3."))
            })?;
            change::severity(draft, &call.who, id, to, call.text("why"))
        })
    },
};

/// `/incident status`.
pub const STATUS: Command = Command {
    spec: || {
        let choices = [Status::Investigating, Status::Mitigating, Status::Monitoring, Status::Resolved]
            .into_iter()
            .map(|status| Choice::new(status.name(), status.name()))
            .collect();
        with_incident(spec("incident status", "Say where it stands").with_right(Right::Respond).needs(
            "status",
            "Where it stands",
            OptionKind::Choice(choices),
        ))
    },
    needs: |ctx, call| {
        let resolves = call.word("status").and_then(|typed| Status::from_name(&typed)) == Some(Status::Resolved);
        let meant = meant_open(ctx, call.word("incident").as_deref(), &call.place).ok().filter(|_| resolves);
        meant.map_or(Vec::new(), |(incident, _)| close::queries(ctx, incident))
    },
    decide: |ctx, call, answers| {
        on(ctx, call, |draft, id| {
            let typed = call.word("status").unwrap_or_default();
            let to = Status::from_name(&typed).ok_or_else(|| Refusal::because(format!("“{typed}” is no status.")))?;
            change::status(draft, &call.who, id, to, answers)
        })
    },
};

/// `/incident lead`.
pub const LEAD: Command = Command {
    spec: || {
        with_incident(spec("incident lead", "Take the lead, or give it to somebody").with_right(Right::Respond).takes(
            "person",
            "Who; you when left out",
            OptionKind::Person,
        ))
    },
    needs: nothing,
    decide: |ctx, call, _| {
        on(ctx, call, |draft, id| {
            let to = call.person("person").unwrap_or_else(|| call.who.person.clone());
            respond::give_part(draft, &call.who, id, Part::Lead, &to)
        })
    },
};

/// `/incident part`.
pub const PART: Command = Command {
    spec: || {
        let choices = vec![
            Choice::new("scribe", "scribe: writes down"),
            Choice::new("liaison", "liaison: speaks to everybody else"),
        ];
        with_incident(
            spec("incident part", "Take or give a part: scribe, liaison")
                .with_right(Right::Respond)
                .needs("part", "Which", OptionKind::Choice(choices))
                .takes("person", "Who; you when left out", OptionKind::Person),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| {
        on(ctx, call, |draft, id| {
            let part = match call.word("part").as_deref() {
                Some("scribe") => Part::Scribe,
                Some("liaison") => Part::Liaison,
                _ => return Err(Refusal::because("There are two parts to take: scribe and liaison.")),
            };
            let to = call.person("person").unwrap_or_else(|| call.who.person.clone());
            respond::give_part(draft, &call.who, id, part, &to)
        })
    },
};

/// `/incident handoff`.
pub const HANDOFF: Command = Command {
    spec: || {
        with_incident(
            spec("incident handoff", "Hand the lead over, with what the next one should know")
                .with_right(Right::Respond)
                .needs("to", "To whom", OptionKind::Person)
                .takes("words", "What they should know", OptionKind::Text { chars_max: 2_000 }),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| {
        on(ctx, call, |draft, id| {
            let to = call.person("to").ok_or_else(|| Refusal::because("Say to whom."))?;
            respond::hand_over(draft, &call.who, id, &to, call.text("words"))
        })
    },
};

/// `/incident snooze`.
pub const SNOOZE: Command =
    Command {
        spec: || {
            with_incident(
                spec("incident snooze", "Put the next reminder off; the promise stays")
                    .with_right(Right::Respond)
                    .takes("for", "How long: 10m (when left out), 20m, 30m", OptionKind::Text { chars_max: 20 }),
            )
        },
        needs: nothing,
        decide: |ctx, call, _| {
            on(ctx, call, |draft, id| {
                let length = match call.word("for") {
                    Some(typed) => parse_duration(&typed).map_err(|error| Refusal::because(error.to_string()))?,
                    None => chrono::TimeDelta::minutes(10),
                };
                respond::snooze(draft, &call.who, id, length)
            })
        },
    };

/// `/incident times`.
pub const TIMES: Command = Command {
    spec: || {
        let choices = Moment::ALL.into_iter().map(|one| Choice::new(one.name(), one.name())).collect();
        with_incident(
            spec("incident times", "Set when it began, was noticed, was mitigated")
                .with_right(Right::Lead)
                .needs("which", "Which time", OptionKind::Choice(choices))
                .needs("when", "When: 02:47, 2026-11-24 02:47, or 25m ago", OptionKind::Text { chars_max: 30 }),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| {
        on(ctx, call, |draft, id| {
            let typed = call.word("which").unwrap_or_default();
            let which = Moment::ALL
                .into_iter()
                .find(|moment| moment.name() == typed)
                .ok_or_else(|| Refusal::because(format!("“{typed}” is none of an incident's times.")))?;
            let when = call.word("when").unwrap_or_default();
            let at = match when.strip_suffix("ago").map(str::trim) {
                Some(ago) => draft.now() - parse_duration(ago).map_err(|error| Refusal::because(error.to_string()))?,
                None => typed_time(&when, draft.ctx.workspace.team.zone, draft.now()).ok_or_else(|| {
                    Refusal::because(format!("“{when}” is no time. Write 02:47, 2026-11-24 02:47, or 25m ago."))
                })?,
            };
            change::time(draft, &call.who, id, which, at)
        })
    },
};

/// `/incident services`.
pub const SERVICES: Command = Command {
    spec: || {
        with_incident(spec("incident services", "Say which services it touches").with_right(Right::Respond).needs(
            "services",
            "Their names, separated by commas",
            OptionKind::Completed("services"),
        ))
    },
    needs: nothing,
    decide: |ctx, call, _| {
        on(ctx, call, |draft, id| {
            let typed = call.word("services").unwrap_or_default();
            let mut services = Vec::new();
            for name in typed.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
                services.push(draft.ctx.service_named(name)?.name.clone());
            }
            change::services(draft, &call.who, id, services)
        })
    },
};

/// `/incident wake`.
pub const WAKE: Command = Command {
    spec: || with_incident(spec("incident wake", "Call more people").with_right(Right::Respond)),
    needs: nothing,
    decide: |ctx, call, _| on(ctx, call, |draft, id| respond::wake_others(draft, &call.who, id)),
};

/// `/incident cancel`.
pub const CANCEL: Command = Command {
    spec: || {
        with_incident(spec("incident cancel", "It was none; for who declared it and for leads").needs(
            "why",
            "Why not",
            OptionKind::Text { chars_max: 1_000 },
        ))
    },
    needs: nothing,
    decide: |ctx, call, _| on(ctx, call, |draft, id| close::cancel(draft, &call.who, id, needed(call, "why")?)),
};

/// `/incident reopen`.
pub const REOPEN: Command = Command {
    spec: || {
        with_incident(
            spec("incident reopen", "It is not over after all: same number, soon after it was closed")
                .with_right(Right::Respond)
                .needs("why", "What shows that", OptionKind::Text { chars_max: 1_000 }),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| on(ctx, call, |draft, id| close::reopen(draft, &call.who, id, needed(call, "why")?)),
};

/// `/incident review`.
pub const REVIEW: Command = Command {
    spec: || {
        with_incident(
            spec("incident review", "The review is written: keep its promise").with_right(Right::Respond).needs(
                "what",
                "A link to it, or what was learned",
                OptionKind::Text { chars_max: 1_000 },
            ),
        )
    },
    needs: nothing,
    decide: |ctx, call, _| on(ctx, call, |draft, id| close::reviewed(draft, &call.who, id, needed(call, "what")?)),
};

/// A local time as people type it: `02:47` (the last such moment), or with a date.
fn typed_time(
    typed: &str,
    zone: chrono_tz::Tz,
    now: chrono::DateTime<chrono::Utc>,
) -> Option<chrono::DateTime<chrono::Utc>> {
    use chrono::{NaiveDateTime, NaiveTime};
    let typed = typed.trim();
    if let Ok(at) = NaiveDateTime::parse_from_str(typed, "%Y-%m-%d %H:%M") {
        return Some(first_instant(zone, at));
    }
    let time = NaiveTime::parse_from_str(typed, "%H:%M").ok()?;
    let today = local(zone, now).date();
    let at = first_instant(zone, today.and_time(time));
    if at <= now { Some(at) } else { Some(first_instant(zone, today.pred_opt()?.and_time(time))) }
}
