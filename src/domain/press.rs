//! What a button, a menu or a form means: the verb it ends in.
//!
//! Pure. An action is a verb and its arguments joined by `:` (`ack:7`). Actions are met long after they were sent, so every
//! one that was ever sent is read, and what it was about may be over by then.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::answer::{Answer, sentence};
use super::deploy::gates::Gate;
use super::deploy::scale::Scale;
use super::deploy::{Kind, Strategy};
use super::draft::{Ctx, Decision, Draft};
use super::fact::Part;
use super::ids::{AlertId, DeployId, IncidentId, Service};
use super::input::{Actor, Answers, Filled, Press, Query};
use super::message::{Button, ButtonStyle, Choice, Form, FormInput, Menu, Message, Span, Text};
use super::policy::Severity;
use super::refusal::Refusal;
use super::sizing;
use super::verbs::open::{Declared, Opener};
use super::verbs::update::Update;
use super::verbs::{alerts, back, change, close, deploy, logs, open, respond, scale, ship, update};
use super::{text, timeline};

/// Characters of a title that fit into a button's action beside the rest.
const SIMILAR_TITLE_CHARS_MAX: usize = 60;

/// What the outside must be asked before a press can be decided.
pub fn needs(ctx: &Ctx<'_>, press: &Press) -> Vec<Query> {
    let (verb, rest) = press.action.split_once(':').unwrap_or((press.action.as_str(), ""));
    match verb {
        "go" | "approve" => marked(rest).0.map_or(Vec::new(), |id| ship::queries(ctx, id)),
        "back" => back::Pressed::read(rest)
            .and_then(|pressed| pressed.about(ctx).ok())
            .map_or(Vec::new(), |about| about.queries()),
        "rollback" | "restart" | scale::START_AGAIN => {
            ship::About::pressed(ctx, rest).map_or(Vec::new(), |about| about.queries())
        }
        sizing::SIZE => sizing::pressed(rest)
            .and_then(|(_, service)| ship::About::pressed(ctx, service).ok())
            .map_or(Vec::new(), |about| about.queries()),
        "again" => again(ctx, rest).map_or(Vec::new(), |(about, plan)| match plan.kind {
            Kind::Deploy => deploy::queries(about.service),
            Kind::Rollback | Kind::Restart | Kind::Scale => about.queries(),
        }),
        logs::LOGS => logs::Wanted::pressed(&press.action)
            .map_or(Vec::new(), |(wanted, turn)| logs::queries(ctx.workspace, &wanted, turn)),
        "resolve" | "more" if verb == "resolve" || press.values.iter().any(|chosen| chosen == "resolve") => {
            let incident = rest.parse().ok().and_then(|id: IncidentId| ctx.state.incidents.get(&id));
            incident.map_or(Vec::new(), |incident| close::queries(ctx, incident))
        }
        _ => Vec::new(),
    }
}

/// What the outside must be asked before a form can be decided.
pub fn needs_of(ctx: &Ctx<'_>, form: &Filled) -> Vec<Query> {
    let (verb, rest) = form.action.split_once(':').unwrap_or((form.action.as_str(), ""));
    if verb == scale::ZERO {
        return ship::About::pressed(ctx, rest).map_or(Vec::new(), |about| about.queries());
    }
    let Some(id) = deploy_of(rest) else { return Vec::new() };
    match verb {
        "glass" => ship::queries(ctx, id),
        "change" => again(ctx, rest).map_or(Vec::new(), |(about, _)| deploy::queries(about.service)),
        _ => Vec::new(),
    }
}

/// `12:3f1a9c2b`: which deploy, and which plan of it; the plan is not named by a button of a time before that.
fn marked(rest: &str) -> (Option<DeployId>, &str) {
    let (number, mark) = rest.split_once(':').unwrap_or((rest, ""));
    (deploy_of(number), mark)
}

fn deploy_of(number: &str) -> Option<DeployId> {
    number.parse().ok().map(DeployId)
}

/// The same once more.
fn again<'a>(ctx: &Ctx<'a>, number: &str) -> Option<(ship::About<'a>, &'a crate::domain::deploy::Plan)> {
    let plan = &ctx.state.team.deploys.get(&deploy_of(number)?)?.plan;
    let service = ctx.workspace.service(plan.service.as_str())?;
    Some((ship::About { service, stage: plan.stage }, plan))
}

/// A press on something about a deploy; none when it is about something else.
fn shipping(
    draft: &mut Draft<'_>,
    press: &Press,
    verb: &str,
    rest: &str,
    answers: &Answers,
) -> Option<Result<Message, Refusal>> {
    let (ctx, who) = (draft.ctx, &press.who);
    let planned = draft.next_deploy();
    let kind = match verb {
        "back" => {
            let Some(pressed) = back::Pressed::read(rest) else { return Some(Err(unknown(&press.action))) };
            return Some(back::plan_it(draft, who, &pressed, answers));
        }
        "rollback" => Kind::Rollback,
        "restart" => Kind::Restart,
        "again" => {
            let Some((about, plan)) = again(&ctx, rest) else { return Some(Err(unknown(&press.action))) };
            if let Some(scale) = plan.scale.clone() {
                // Off line goes only who types it out.
                if scale == Scale::Zero {
                    return Some(Err(unknown(&press.action)));
                }
                let said = scale::plan(draft, who, about, scale, None, answers);
                return Some(said.map(|said| back::with_yes(draft, planned, said)));
            }
            let to = (plan.kind != Kind::Restart).then(|| plan.to.image.reference.clone());
            if plan.kind == Kind::Deploy {
                let (stage, strategy) = (Some(plan.stage), plan.strategy);
                let asked = deploy::Asked { image: to, stage, strategy, why: None, ..deploy::Asked::default() };
                return Some(deploy::ask(draft, who, about.service, asked, answers).map(Message::line));
            }
            return Some(ship::plan(draft, who, about, plan.kind, ship::Asked { to, why: None }, answers));
        }
        "go" | "no" | "stop" | "approve" | "schedule" => {
            let (Some(id), mark) = marked(rest) else { return Some(Err(unknown(&press.action))) };
            if matches!(verb, "go" | "approve")
                && let Err(older) = deploy::refuse_an_older_plan(draft, id, mark)
            {
                return Some(Err(older));
            }
            return Some(match verb {
                "go" => ship::go(draft, who, id, answers).map(|said| match back::said_yes(draft, who, id) {
                    Some(line) => Message::line(said).and(line),
                    None => Message::line(said),
                }),
                "no" => ship::no(draft, who, id).map(Message::line),
                "approve" => deploy::approve(draft, who, id, answers).map(Message::line),
                "schedule" => deploy::schedule(draft, who, id).map(Message::line),
                _ => ship::stop(draft, who, id).map(Message::line),
            });
        }
        _ => return None,
    };
    let about = ship::About::pressed(&ctx, rest);
    Some(about.and_then(|about| ship::plan(draft, who, about, kind, ship::Asked::default(), answers)))
}

/// A press on the card of a group of alerts; none when it is about something else.
fn alerting(draft: &mut Draft<'_>, press: &Press, verb: &str, rest: &str) -> Option<Result<Text, Refusal>> {
    let (number, argument) = rest.split_once(':').unwrap_or((rest, ""));
    let verb = verb.strip_prefix("alert_")?;
    let Some(id) = number.parse().ok().map(AlertId) else { return Some(Err(unknown(&press.action))) };
    Some(match verb {
        "ack" => alerts::acknowledge(draft, &press.who, id),
        "declare" => alerts::declare(draft, &press.who, id),
        "quiet" => alerts::quiet(draft, &press.who, id, Some(argument)),
        "loud" => alerts::quiet(draft, &press.who, id, None),
        _ => Err(unknown(&press.action)),
    })
}

/// A press on a plan that is answered with a form or a list; none when it is about something else.
fn planning(draft: &mut Draft<'_>, press: &Press, verb: &str, rest: &str) -> Option<Result<Answer, Refusal>> {
    let (number, argument) = rest.split_once(':').unwrap_or((rest, ""));
    let id = deploy_of(number)?;
    let list = |message: Message| Answer::Say { message, only_you: true };
    Some(match verb {
        "checklist" => deploy::checklist(draft, id).map(list),
        "tick" => {
            // The list that was pressed, and not a new one below it at each tick.
            deploy::tick(draft, &press.who, id, argument.parse().unwrap_or(usize::MAX)).map(Answer::Replace)
        }
        "glass" => Ok(Answer::Open(why_form(
            format!("glass:{number}"),
            format!("Break glass: {id}"),
            "Why it cannot wait for an approval",
        ))),
        "pass" => {
            let gate = press.values.first().map_or(argument, String::as_str);
            let action = format!("waive:{number}:{gate}");
            Ok(Answer::Open(why_form(action, format!("Pass the {gate} check: {id}"), "Why it may be passed")))
        }
        "change" => match draft.deploy(id) {
            Some(deploy) => Ok(Answer::Open(change_form(deploy))),
            None => Err(unknown(&press.action)),
        },
        _ => return None,
    })
}

fn why_form(action: String, title: String, label: &str) -> Form {
    Form {
        action,
        title,
        inputs: vec![FormInput {
            name: "why".to_owned(),
            label: label.to_owned(),
            long: true,
            required: true,
            value: String::new(),
            hint: "A sentence; it stands on the record".to_owned(),
            chars_max: 1_000,
        }],
    }
}

/// Another image, or another order, for the same service.
fn change_form(deploy: &super::deploy::Deploy) -> Form {
    let input = |name: &str, label: &str, value: String, hint: &str| FormInput {
        name: name.to_owned(),
        label: label.to_owned(),
        long: false,
        required: true,
        value,
        hint: hint.to_owned(),
        chars_max: 300,
    };
    Form {
        action: format!("change:{}", deploy.id.0),
        title: format!("Another plan than {}", deploy.id),
        inputs: vec![
            input("image", "Image", deploy.plan.to.image.reference.clone(), "v43, a tag or a whole image"),
            input("strategy", "Strategy", deploy.plan.strategy.name().to_owned(), "rolling, canary or immediate"),
        ],
    }
}

/// A form about a plan that was filled in; none when it is about something else.
fn replanned(draft: &mut Draft<'_>, form: &Filled, answers: &Answers) -> Option<Result<Text, Refusal>> {
    let (verb, rest) = form.action.split_once(':')?;
    let (number, argument) = rest.split_once(':').unwrap_or((rest, ""));
    let value = |name: &str| form.values.get(name).cloned().unwrap_or_default();
    let who = &form.who;
    let id = deploy_of(number)?;
    Some(match verb {
        "glass" => deploy::break_glass(draft, who, id, value("why"), answers),
        "waive" => match Gate::named(argument) {
            Some(gate) => deploy::waive(draft, who, id, gate, value("why")),
            None => Err(unknown(&form.action)),
        },
        "change" => {
            let ctx = draft.ctx;
            let Some((about, plan)) = again(&ctx, number) else { return Some(Err(unknown(&form.action))) };
            let typed = flat(&value("strategy"));
            let Some(strategy) = Strategy::named(&typed) else {
                return Some(Err(Refusal::because(format!("“{typed}” is no strategy: rolling, canary or immediate."))));
            };
            let old = draft.deploy(id).filter(|old| old.then.is_empty()).map(|_| plan.stage);
            // A pipeline's reason is not that of whoever changes its plan.
            let why = draft.deploy(id).filter(|old| old.request.is_none()).and_then(|old| old.why.clone());
            let asked = deploy::Asked {
                image: Some(flat(&value("image"))),
                stage: old,
                strategy,
                why,
                ..deploy::Asked::default()
            };
            deploy::ask(draft, who, about.service, asked, answers)
        }
        _ => return None,
    })
}

/// Decides about a press.
///
/// # Errors
/// As the verb behind it refuses.
pub fn press(mut draft: Draft<'_>, press: &Press, answers: &Answers) -> Result<Decision, Refusal> {
    let (verb, rest) = press.action.split_once(':').unwrap_or((press.action.as_str(), ""));
    if let Some(said) = alerting(&mut draft, press, verb, rest) {
        return said.map(|line| draft.say(line));
    }
    if let Some(said) = shipping(&mut draft, press, verb, rest, answers) {
        return said.map(|message| draft.done(Some(Answer::only_you(message))));
    }
    if let Some(answer) = scale::pressed(&mut draft, press, verb, rest, answers) {
        return answer.map(|answer| draft.done(Some(answer)));
    }
    if let Some(answer) = logs::pressed(&mut draft, press, answers) {
        return answer.map(|answer| draft.done(Some(answer)));
    }
    if let Some(answer) = planning(&mut draft, press, verb, rest) {
        return answer.map(|answer| draft.done(Some(answer)));
    }
    if verb == "declare" {
        let service = draft.ctx.workspace.service(rest).ok_or_else(|| unknown(rest))?.name.clone();
        let severity = draft.ctx.policy.incidents.declare_when_down.unwrap_or(Severity::Sev1);
        let known = super::services::about(&draft, &service).into_iter();
        if let Some(id) = { known }.find(|id| draft.incident(*id).is_ok_and(|known| known.severity <= severity)) {
            let line = join(&mut draft, &press.who, id)?;
            return Ok(draft.say(Text::plain(format!("{id} is open for it already. ")).join(line)));
        }
        let declared = Declared {
            severity,
            title: text::down_title(&service),
            services: vec![service],
            details: Text::default(),
            announce: None,
        };
        let id = open::open(&mut draft, Opener::Person(&press.who), declared)?;
        let told = open::told(&draft, id)?;
        return Ok(draft.say(told));
    }
    if verb == "sev" {
        return declare_anyway(draft, &press.who, rest);
    }
    let (number, argument) = rest.split_once(':').unwrap_or((rest, ""));
    let id: IncidentId = number.parse().map_err(|_| unknown(&press.action))?;
    let chosen = press.values.first().map(String::as_str).unwrap_or_default();
    act(draft, &press.who, verb, id, if chosen.is_empty() { argument } else { chosen }, answers)
}

fn act(
    mut draft: Draft<'_>,
    who: &Actor,
    verb: &str,
    id: IncidentId,
    argument: &str,
    answers: &Answers,
) -> Result<Decision, Refusal> {
    let said = match verb {
        "ack" => respond::acknowledge(&mut draft, who, id)?,
        "nochange" => update::no_change(&mut draft, who, id)?,
        "mitigated" => close::mitigated(&mut draft, who, id)?,
        "notyet" => Text::plain("All right. I ask no more; press “Mitigated” on the card once it is."),
        "broken" => close::still_broken(&mut draft, who, id)?,
        "resolve" => close::resolve(&mut draft, who, id, None, answers)?,
        "wake" => respond::wake_others(&mut draft, who, id)?,
        "still" => respond::still_here(&mut draft, who, id)?,
        "join" => join(&mut draft, who, id)?,
        "lead" => respond::give_part(&mut draft, who, id, Part::Lead, &who.person)?,
        "scribe" => respond::give_part(&mut draft, who, id, Part::Scribe, &who.person)?,
        "liaison" => respond::give_part(&mut draft, who, id, Part::Liaison, &who.person)?,
        "snooze" => {
            let minutes = argument.parse().ok().and_then(TimeDelta::try_minutes).unwrap_or(TimeDelta::minutes(10));
            respond::snooze(&mut draft, who, id, minutes)?
        }
        "setsev" => {
            let to = Severity::from_key(argument).ok_or_else(|| unknown(argument))?;
            change::severity(&mut draft, who, id, to, None)?
        }
        "update" => return draft_form(draft, |draft| update_form(draft, id)),
        "cancel" => return draft_form(draft, |_| Ok(reason_form("cancel", id, "Not an incident", "Why not?"))),
        "reopen" => {
            return draft_form(draft, |_| Ok(reason_form("reopen", id, "Reopen", "What shows that it is not over?")));
        }
        "review" => {
            let form = reason_form("review", id, "Review", "A link to it, or what was learned");
            return draft_form(draft, |_| Ok(form));
        }
        "severity" => {
            let message = severity_menu(draft.incident(id)?.severity, id);
            return Ok(draft.done(Some(Answer::Say { message, only_you: true })));
        }
        "timeline" => {
            let message = timeline::message(&draft.ctx, draft.incident(id)?);
            return Ok(draft.done(Some(Answer::Say { message, only_you: true })));
        }
        "more" => return act(draft, who, argument, id, "", answers),
        _ => return Err(unknown(verb)),
    };
    Ok(draft.say(said))
}

fn draft_form<'a>(
    draft: Draft<'a>,
    form: impl FnOnce(&Draft<'a>) -> Result<Form, Refusal>,
) -> Result<Decision, Refusal> {
    let form = form(&draft)?;
    Ok(draft.done(Some(Answer::Open(form))))
}

/// Decides about a form that was filled in.
///
/// # Errors
/// As the verb behind it refuses. What was typed is given back, so that nothing has to be typed twice.
pub fn filled(draft: Draft<'_>, form: &Filled, answers: &Answers) -> Result<Decision, Refusal> {
    let ctx = draft.ctx;
    let typed = form.values.values().max_by_key(|text| text.chars()).cloned().unwrap_or_default();
    fill(draft, form, answers).or_else(|refusal| give_back(&ctx, refusal, &typed))
}

/// A refusal together with what somebody typed, so that it need not be typed again.
///
/// # Errors
/// The refusal alone, when next to nothing was typed.
pub fn give_back(ctx: &super::draft::Ctx<'_>, refusal: Refusal, typed: &Text) -> Result<Decision, Refusal> {
    /// Shorter ones are typed again as quickly as copied.
    const WORTH_KEEPING_CHARS: usize = 12;
    if typed.chars() < WORTH_KEEPING_CHARS {
        return Err(refusal);
    }
    let message = Message::line(sentence(&refusal.to_string())).and("What you wrote:").and(typed.clone());
    Ok(Draft::new(*ctx).done(Some(Answer::Say { message, only_you: true })))
}

fn fill(mut draft: Draft<'_>, form: &Filled, answers: &Answers) -> Result<Decision, Refusal> {
    if let Some(said) = scale::filled(&mut draft, form, answers) {
        return said.map(|said| draft.say(said));
    }
    if let Some(said) = replanned(&mut draft, form, answers) {
        return said.map(|said| draft.say(said));
    }
    let (verb, rest) = form.action.split_once(':').unwrap_or((form.action.as_str(), ""));
    let id: IncidentId = rest.split(':').next().unwrap_or_default().parse().map_err(|_| unknown(&form.action))?;
    let value = |name: &str| form.values.get(name).cloned().unwrap_or_default();
    let who = &form.who;
    let said = match verb {
        "update" => {
            let next_in = minutes(&form.values, "next")?;
            let announce = form.values.get("announce").and_then(yes_or_no);
            let what = value("what");
            update::update(&mut draft, who, id, Update { what, next_in, announce, source: None })?
        }
        "cancel" => close::cancel(&mut draft, who, id, value("why"))?,
        "reopen" => close::reopen(&mut draft, who, id, value("why"))?,
        "review" => close::reviewed(&mut draft, who, id, value("why"))?,
        _ => return Err(unknown(verb)),
    };
    Ok(draft.say(said))
}

/// "Join that one": somebody who was about to declare the same.
fn join(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    let incident = draft.incident(id)?;
    let thread = incident.thread.clone();
    let acknowledged = incident.is_acknowledged();
    let line = if acknowledged || draft.ctx.require(who, super::policy::Right::Respond).is_err() {
        Text::plain(format!("Good: it is {id}."))
    } else {
        respond::acknowledge(draft, who, id)?
    };
    Ok(match thread {
        Some(thread) => line.text(" The talk is in ").place(&thread).text("."),
        None => line,
    })
}

/// A press of "Open a new one" after similar ones were offered: what was typed travels in the button.
fn declare_anyway(mut draft: Draft<'_>, who: &Actor, rest: &str) -> Result<Decision, Refusal> {
    let mut parts = rest.splitn(3, ':');
    let severity = parts.next().and_then(Severity::from_key).ok_or_else(|| unknown(rest))?;
    let service = parts.next().unwrap_or_default();
    let title = parts.next().filter(|title| !title.trim().is_empty()).ok_or_else(|| unknown(rest))?.to_owned();
    let services = if service.is_empty() { Vec::new() } else { vec![Service::new(service)] };
    let same = |open: &&super::incident::Incident| {
        open.severity == severity && text::short(&open.title, SIMILAR_TITLE_CHARS_MAX) == title
    };
    if let Some(id) = draft.ctx.state.open().find(same).map(|open| open.id) {
        // Two presses of one button, by one person or two: one opens it.
        let line = join(&mut draft, who, id)?;
        return Ok(draft.say(Text::plain(format!("{id} was just opened for it. ")).join(line)));
    }
    let declared = Declared { severity, title, services, details: Text::default(), announce: None };
    let id = open::open(&mut draft, Opener::Person(who), declared)?;
    let told = open::told(&draft, id)?;
    Ok(draft.say(told))
}

/// The form of an update: only "what" is required, the rest is filled in already.
fn update_form(draft: &Draft<'_>, id: IncidentId) -> Result<Form, Refusal> {
    let incident = draft.incident(id)?;
    if !incident.status.is_open() {
        return Err(Refusal::Closed(id, incident.status.name()));
    }
    let age = draft.now() - incident.time(super::fact::Moment::Declared).unwrap_or(draft.now());
    let every = draft.ctx.policy.update_every(incident.severity, age);
    let mut inputs = vec![FormInput {
        name: "what".to_owned(),
        label: "What is known, what is being done".to_owned(),
        long: true,
        required: true,
        value: timeline::draft_update(incident),
        hint: "Rolled back to v41; error rate falling".to_owned(),
        chars_max: 4_000,
    }];
    inputs.push(FormInput {
        name: "next".to_owned(),
        label: "Next update in (minutes)".to_owned(),
        long: false,
        required: false,
        value: every.map_or(String::new(), |every| every.delta().num_minutes().to_string()),
        hint: "15".to_owned(),
        chars_max: 4,
    });
    if draft.ctx.workspace.channels.announce.is_some() {
        inputs.push(FormInput {
            name: "announce".to_owned(),
            label: "Tell the announcements channel too (yes/no)".to_owned(),
            long: false,
            required: false,
            value: if incident.announce { "yes" } else { "no" }.to_owned(),
            hint: "yes or no".to_owned(),
            chars_max: 3,
        });
    }
    Ok(Form { action: format!("update:{}", id.0), title: format!("Update on {id}"), inputs })
}

fn reason_form(verb: &str, id: IncidentId, title: &str, label: &str) -> Form {
    why_form(format!("{verb}:{}", id.0), format!("{title}: {id}"), label)
}

fn severity_menu(now: Severity, id: IncidentId) -> Message {
    let choices = Severity::ALL
        .into_iter()
        .filter(|severity| *severity != now)
        .map(|severity| Choice::new(severity.key(), severity.to_string()))
        .collect();
    let mut message = Message::line(format!("{id} is {now}. What is it really?"));
    message.menu = Some(Menu { action: format!("setsev:{}", id.0), placeholder: "Severity".to_owned(), choices });
    message
}

/// Offers open incidents that could be the one that somebody is about to declare.
pub fn offer_similar(declared: &Declared, similar: &[&super::incident::Incident]) -> Message {
    /// Incidents offered; a row of buttons holds five.
    const OFFERED_MAX: usize = 3;
    let mut message = Message::line("This could be the same as one that is open:");
    for incident in similar.iter().take(OFFERED_MAX) {
        let line = Text::plain(format!("{}, {}, ", text::head(incident), incident.status.name()));
        let started = incident.time(super::fact::Moment::Declared);
        message = message.and(match started {
            Some(at) => line.relative(at),
            None => line,
        });
        let label = format!("Join {}", incident.id);
        message.buttons.push(Button::new(format!("join:{}", incident.id.0), label, ButtonStyle::Primary));
    }
    if !declared.details.is_blank() {
        let line = Text::plain("To open a new one with your details, give the same command with ").code("anyway");
        message = message.and(line.text(": a button carries only the title."));
    }
    let service = declared.services.first().map_or("", |service| service.as_str());
    let title = text::short(&declared.title, SIMILAR_TITLE_CHARS_MAX);
    let action = format!("sev:{}:{service}:{title}", declared.severity.key());
    message.button(cut_action(action), format!("Open a new {}", declared.severity), ButtonStyle::Danger)
}

/// An action no longer than a button can carry.
fn cut_action(action: String) -> String {
    const ACTION_CHARS_MAX: usize = 100;
    action.chars().take(ACTION_CHARS_MAX).collect()
}

fn minutes(values: &BTreeMap<String, Text>, name: &str) -> Result<Option<TimeDelta>, Refusal> {
    let Some(typed) = values.get(name).map(flat).filter(|typed| !typed.is_empty()) else { return Ok(None) };
    let digits = typed.trim_end_matches(|c: char| !c.is_ascii_digit());
    match digits.parse::<i64>() {
        // How long it may be is for the verb to say, with the policy's own bounds.
        Ok(minutes) if (1..=527_040).contains(&minutes) => Ok(Some(TimeDelta::minutes(minutes))),
        _ => Err(Refusal::because(format!("“{typed}” is not a number of minutes. Write 15, or leave it empty."))),
    }
}

fn yes_or_no(text: &Text) -> Option<bool> {
    match flat(text).to_lowercase().as_str() {
        "yes" | "y" | "true" => Some(true),
        "no" | "n" | "false" => Some(false),
        _ => None,
    }
}

/// The plain words of a text.
pub fn flat(text: &Text) -> String {
    let words: String = text
        .0
        .iter()
        .map(|span| match span {
            Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.as_str(),
            Span::Link { label, .. } => label.as_str(),
            _ => "",
        })
        .collect();
    words.trim().to_owned()
}

fn unknown(action: &str) -> Refusal {
    Refusal::because(format!(
        "I don't know what “{}” means any more. Use the buttons on the incident's card, or `/help`.",
        text::short(action, 40)
    ))
}

/// A refusal as the person who asked sees it.
pub fn refused(refusal: &Refusal) -> Answer {
    let message = Message::line(sentence(&refusal.to_string()));
    match refusal {
        Refusal::NotNow(_) => Answer::NotNow(message),
        _ => Answer::Say { message, only_you: true },
    }
}
