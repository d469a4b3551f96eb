//! Rolling back, restarting: asked for, said yes to, stopped, called off.
//!
//! Pure. No gate stands here: a rollback and a restart are refused only for want of the right, of something to go back to, or
//! because something else is at work on the app; a rollback waits for nothing: it takes over, also from another rollback. Where
//! one to the same image is at work, that one is shown.

use std::collections::BTreeSet;

use super::{back, deploy};
use crate::domain::deploy::gates::Check;
use crate::domain::deploy::{Deploy, Kind, Phase, Plan, Verdict, board, known, plan, run, scale};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::fact::Fact;
use crate::domain::hosting::Inventory;
use crate::domain::ids::{DeployId, IncidentId, Place, Service};
use crate::domain::input::{Actor, Answers, Query};
use crate::domain::message::{Button, ButtonStyle, Message, Text};
use crate::domain::pipeline::Request;
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::text::{deploys, gates};
use crate::domain::workspace::{ServiceSpec, Stage};

/// Which copy of which service.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The service.
    pub service: &'a ServiceSpec,
    /// Which copy.
    pub stage: Stage,
}

impl<'a> About<'a> {
    /// The service that somebody named, or that the incident at hand touches, or the only one there is.
    ///
    /// # Errors
    /// When it is not clear which.
    pub fn meant(ctx: &Ctx<'a>, named: Option<&str>, stage: Option<&str>, place: &Place) -> Result<Self, Refusal> {
        let stage = match stage.map(str::trim) {
            None | Some("" | "production") => Stage::Production,
            Some("staging") => Stage::Staging,
            Some(other) => {
                return Err(Refusal::because(format!("“{other}” is no stage. There are: production, staging.")));
            }
        };
        let services = &ctx.workspace.services;
        let names = || services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
        let service = match (named, services.as_slice()) {
            (Some(named), _) => ctx.service_named(named)?,
            (None, [only]) => only,
            (None, _) => touched(ctx, place)
                .ok_or_else(|| Refusal::because(format!("Which service? There are: {}.", names())))?,
        };
        Ok(Self { service, stage })
    }

    /// From a button: `production:checkout`.
    ///
    /// # Errors
    /// When there is no such service any more.
    pub fn pressed(ctx: &Ctx<'a>, rest: &str) -> Result<Self, Refusal> {
        let (stage, service) = rest.split_once(':').unwrap_or(("production", rest));
        Self::meant(ctx, Some(service), Some(stage), &Place::new(""))
    }

    /// Its app at Fly.
    ///
    /// # Errors
    /// When none is configured.
    pub fn app(&self) -> Result<&'a str, Refusal> {
        let spec = self.service.stages().find(|(stage, _)| *stage == self.stage).map(|(_, spec)| spec);
        let name = &self.service.name;
        let spec = spec.ok_or_else(|| Refusal::because(format!("{name} has no staging.")))?;
        spec.fly_app.as_deref().ok_or_else(|| {
            Refusal::because(format!(
                "{name} has no Fly app in watchbell.toml: add fly_app to it, and I can act on it."
            ))
        })
    }

    /// What must be asked before anything can be planned.
    pub fn queries(&self) -> Vec<Query> {
        self.app().map(|app| Query::Inventory(app.to_owned())).into_iter().collect()
    }
}

/// The one service that the open incidents at hand touch.
fn touched<'a>(ctx: &Ctx<'a>, place: &Place) -> Option<&'a ServiceSpec> {
    let here = ctx.state.at_place(place).filter(|incident| incident.status.is_open());
    let services = match here {
        Some(incident) => incident.services.clone(),
        None => ctx.state.open().flat_map(|incident| incident.services.clone()).collect(),
    };
    let first = services.first()?;
    services.iter().all(|other| other == first).then(|| ctx.workspace.service(first.as_str())).flatten()
}

/// The open incident that a change to this service is for: the worst, of those the oldest.
fn incident_of(ctx: &Ctx<'_>, service: &Service) -> Option<IncidentId> {
    let touching = ctx.state.open().filter(|incident| incident.services.contains(service));
    touching.min_by_key(|incident| (incident.severity, incident.id)).map(|incident| incident.id)
}

/// Refuses somebody who may neither deploy, nor is on call, nor leads an incident of this service.
///
/// # Errors
/// Says which roles may.
pub fn may(ctx: &Ctx<'_>, who: &Actor, service: &Service) -> Result<(), Refusal> {
    let leads =
        ctx.state.open().any(|incident| incident.lead() == Some(&who.person) && incident.services.contains(service));
    if leads || ctx.is_on_call(&who.person) { Ok(()) } else { ctx.require(who, Right::Deploy) }
}

/// What somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// What to go back to; the newest that ended well when none.
    pub to: Option<String>,
    /// Why.
    pub why: Option<Text>,
}

/// Plans a rollback or a restart. Nothing is done before somebody says yes.
///
/// # Errors
/// For want of the right, of an answer from the host, of something to go back to.
pub fn plan(
    draft: &mut Draft<'_>,
    who: &Actor,
    about: About<'_>,
    kind: Kind,
    asked: Asked,
    answers: &Answers,
) -> Result<Message, Refusal> {
    may(&draft.ctx, who, &about.service.name)?;
    let ctx = draft.ctx;
    let busy = running(&ctx, about.app()?).filter(|busy| kind == Kind::Rollback && is_going_back(busy));
    if let Some(busy) = busy.filter(|_| asked.to.is_none()) {
        return Ok(show(&ctx, busy));
    }
    let inventory = told(answers, about.app()?)?;
    let wanted = wanted(&draft.ctx, about)?;
    let plan = match kind {
        Kind::Restart => plan::restart(inventory, &wanted),
        // Planned by `scale.rs`, which knows what is to be different.
        Kind::Scale => return Err(Refusal::Broken),
        Kind::Rollback | Kind::Deploy => plan::rollback(inventory, &wanted, asked.to.as_deref()),
    };
    let plan = plan.map_err(Refusal::Because)?;
    if plan.kind.ships() && inventory.machines.iter().all(|machine| machine.image.is(&plan.to.image)) {
        return Err(Refusal::because(format!("{} runs {} already.", plan.app, plan.to.words())));
    }
    if let Some(busy) = busy.filter(|busy| busy.plan.to.image.is(&plan.to.image)) {
        return Ok(show(&ctx, busy));
    }
    refuse_while_busy(&draft.ctx, &plan)?;
    let id =
        propose(draft, who, Proposal { plan, then: Vec::new(), checks: Vec::new(), why: asked.why, request: None });
    let deploy = draft.deploy(id).ok_or(Refusal::Broken)?;
    let until = deploy.next_due().unwrap_or(draft.ctx.now);
    let message = back::with_yes(draft, id, deploys::planned(&draft.ctx, deploy, until));
    Ok(match busy {
        Some(busy) => {
            let stop = Button::new(format!("stop:{}", busy.id.0), format!("Stop {}", busy.id), ButtonStyle::Plain);
            let mut message = message.and(deploys::going_back(&ctx, busy)).and(deploys::takes_over(busy));
            message.buttons.push(stop);
            message
        }
        None => message,
    })
}

/// Whether it is a rollback at work that nobody stopped.
fn is_going_back(deploy: &Deploy) -> bool {
    deploy.plan.kind == Kind::Rollback && deploy.stopped_by.is_none()
}

/// A rollback at work, with its clock and what can be done about it: at 3 a.m. somebody else may have been first.
fn show(ctx: &Ctx<'_>, busy: &Deploy) -> Message {
    let mut message = Message::line(deploys::going_back(ctx, busy));
    message.buttons = board::while_it_runs(busy);
    message
}

/// What a plan is for.
///
/// # Errors
/// When no app is configured.
pub fn wanted(ctx: &Ctx<'_>, about: About<'_>) -> Result<plan::Wanted, Refusal> {
    Ok(plan::Wanted {
        service: about.service.name.clone(),
        stage: about.stage,
        at_once_percent: ctx.policy.deploys.at_once_percent,
        bad: known::all(ctx, about.app()?),
    })
}

/// What the host said of an app.
///
/// # Errors
/// A sentence, when it said nothing.
pub fn told<'a>(answers: &'a Answers, app: &str) -> Result<&'a Inventory, Refusal> {
    match answers.inventory(app) {
        Some(Ok(inventory)) => Ok(inventory),
        // A token that is not there will not be there a moment later.
        Some(Err(why)) if why.starts_with("there is no ") => Err(Refusal::because(format!("I cannot: {why}"))),
        Some(Err(why)) => Err(Refusal::NotNow(format!("I cannot: {why}"))),
        None => Err(Refusal::NotNow(
            "Fly did not say in time what runs. Nothing was changed. Try again, or do it by hand: see the README."
                .to_owned(),
        )),
    }
}

fn waiting<'a>(ctx: &Ctx<'a>, app: &'a str) -> impl Iterator<Item = &'a Deploy> {
    let is_waiting = move |deploy: &&Deploy| deploy.touches(app) && deploy.is_waiting();
    ctx.state.team.deploys.values().filter(is_waiting)
}

fn running<'a>(ctx: &Ctx<'a>, app: &str) -> Option<&'a Deploy> {
    ctx.state.team.deploys.values().find(|deploy| deploy.plan.app == app && deploy.is_running())
}

/// Something else is at work on the app. A rollback takes over, unless that is one to the same image, and a restart takes over a
/// rollback that is late; nothing else does.
///
/// # Errors
/// Says what is at work.
pub fn refuse_while_busy(ctx: &Ctx<'_>, plan: &Plan) -> Result<(), Refusal> {
    match running(ctx, &plan.app).filter(|busy| !(plan.kind == Kind::Restart && busy.is_late_at(ctx.now))) {
        // Taking a service off line is the last way out: it takes over whatever runs.
        Some(busy) if !scale::is_zero(plan) && (plan.kind != Kind::Rollback || does_the_same(busy, plan)) => {
            Err(Refusal::because(format!(
                "{} is at work on {} ({}). Stop it on its card, or wait until it is over.",
                busy.id,
                plan.app,
                deploys::intent(&busy.plan)
            )))
        }
        _ => Ok(()),
    }
}

fn does_the_same(busy: &Deploy, plan: &Plan) -> bool {
    is_going_back(busy) && busy.plan.to.image.is(&plan.to.image)
}

/// What would be done, and what can refuse it.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What is done first.
    pub plan: Plan,
    /// What follows in later stages.
    pub then: Vec<Plan>,
    /// What can refuse it, as it was found.
    pub checks: Vec<Check>,
    /// Why.
    pub why: Option<Text>,
    /// The request, when a pipeline asked.
    pub request: Option<Request>,
}

impl Proposal {
    /// Whether a plan that waits is the very same: what is done, why, and what refuses it.
    fn is(&self, deploy: &Deploy) -> bool {
        let (one, other) = (&self.plan, &deploy.plan);
        let is_said = self.why.is_none() || self.why == deploy.why;
        let is_of_people = self.request.is_none() && deploy.request.is_none();
        let key = |plan: &Plan| (plan.kind, plan.strategy, plan.scale.clone(), plan.hash.clone());
        let follow = |plans: &[Plan]| plans.iter().map(key).collect::<Vec<_>>();
        is_said
            && is_of_people
            && matches!(deploy.phase, Phase::Planned { .. })
            && key(one) == key(other)
            && one.from == other.from
            && follow(&self.then) == follow(&deploy.then)
            && self.checks == deploy.checks
    }
}

/// Puts a plan up; one that waits already and is the very same is that one. What waited for the same apps is called off: there is
/// one plan at a time for each. Only a way back that waits for its yes makes room for nothing but another way back.
pub fn propose(draft: &mut Draft<'_>, who: &Actor, proposal: Proposal) -> DeployId {
    // One that has little time left is planned anew.
    let soon = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta() / 2);
    let lasts = |deploy: &&Deploy| deploy.next_due().is_some_and(|until| until > soon);
    if let Some(same) = waiting(&draft.ctx, &proposal.plan.app).filter(lasts).find(|deploy| proposal.is(deploy)) {
        return same.id;
    }
    let Proposal { mut plan, then, checks, why, request } = proposal;
    // A deploy has a check for it. What a lock does not refuse still says whose work it goes into.
    let lock = draft.ctx.state.team.locks.get(&plan.app).filter(|lock| lock.by != who.person);
    if let Some(lock) = lock.filter(|_| plan.kind != Kind::Deploy) {
        plan.notes.insert(0, format!("⚠ {}.", gates::held(&draft.ctx, &plan.app, lock)));
    }
    let apps: Vec<&str> = [&plan].into_iter().chain(&then).map(|plan| plan.app.as_str()).collect();
    let yields = |older: &&Deploy| older.plan.kind != Kind::Rollback || plan.kind == Kind::Rollback;
    let older: BTreeSet<DeployId> =
        apps.iter().flat_map(|app| waiting(&draft.ctx, app)).filter(yields).map(|deploy| deploy.id).collect();
    let id = draft.next_deploy();
    let incident = incident_of(&draft.ctx, &plan.service);
    let until = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta());
    let (plan, by) = (Box::new(plan), who.person.clone());
    draft.fact(id, Fact::DeployPlanned { plan, by, incident, why, until, then, checks, by_itself: false, request });
    draft.board(id);
    for old in older {
        draft.fact(old, Fact::DeployCancelled { by: Some(who.person.clone()), why: format!("{id} takes its place") });
    }
    id
}

fn at_hand<'d>(draft: &'d Draft<'_>, id: DeployId) -> Result<&'d Deploy, Refusal> {
    draft.deploy(id).ok_or_else(|| Refusal::because(deploys::unknown(id)))
}

/// What must be asked before somebody's yes counts.
pub fn queries(ctx: &Ctx<'_>, id: DeployId) -> Vec<Query> {
    match ctx.state.team.deploys.get(&id).filter(|deploy| deploy.is_waiting()) {
        Some(deploy) if deploy.plan.kind == Kind::Deploy => deploy::yes_queries(deploy),
        Some(deploy) => vec![Query::Inventory(deploy.plan.app.clone())],
        None => Vec::new(),
    }
}

/// Somebody says yes.
///
/// # Errors
/// For want of the right; when it runs, is over, or what runs has changed so that the plan is another.
pub fn go(draft: &mut Draft<'_>, who: &Actor, id: DeployId, answers: &Answers) -> Result<Text, Refusal> {
    let deploy = at_hand(draft, id)?.clone();
    if deploy.plan.kind == Kind::Deploy {
        return deploy::start(draft, who, id, answers);
    }
    may(&draft.ctx, who, &deploy.plan.service)?;
    if !deploy.is_waiting() {
        return Err(Refusal::because(deploys::not_waiting(&deploy)));
    }
    if !draft.ctx.state.team.live {
        return Err(Refusal::because(deploys::observing(&deploy)));
    }
    refuse_while_busy(&draft.ctx, &deploy.plan)?;
    let machines = match answers.inventory(&deploy.plan.app) {
        Some(Ok(inventory)) => now_there(&deploy, inventory)?,
        // A rollback does not wait for a list: each step reads its machine before it writes.
        _ => None,
    };
    let busy: Vec<DeployId> = draft
        .ctx
        .state
        .team
        .deploys
        .values()
        .filter(|other| is_in_the_way(other, &deploy))
        .map(|other| other.id)
        .collect();
    for other in busy {
        run::stop(draft, other, &who.person);
    }
    run::start(draft, id, &who.person, machines, Vec::new());
    Ok(deploys::runs(&draft.ctx, &deploy))
}

/// What is at work on the app, or about to be: it is stopped.
fn is_in_the_way(other: &Deploy, deploy: &Deploy) -> bool {
    let is_at_work = other.is_running() && other.plan.app == deploy.plan.app;
    let comes_to_it = other.is_started() && other.then.iter().any(|plan| plan.app == deploy.plan.app);
    other.id != deploy.id && other.stopped_by.is_none() && (is_at_work || comes_to_it)
}

/// The machines as they are by now, when they are others than planned.
fn now_there(deploy: &Deploy, inventory: &Inventory) -> Result<Option<Vec<crate::domain::hosting::Running>>, Refusal> {
    let plan = &deploy.plan;
    // Of an app that has machines an empty list tells nothing: each step reads its own before it writes.
    if inventory.machines.is_empty() {
        return Ok(None);
    }
    let wanted =
        plan::Wanted { service: plan.service.clone(), stage: plan.stage, at_once_percent: 100, bad: Vec::new() };
    let now = match plan.kind {
        Kind::Restart => plan::restart(inventory, &wanted),
        Kind::Scale if let Some(scale) = &plan.scale => {
            let machines = scale::touched(inventory, scale).map_err(Refusal::Because)?;
            return Ok((machines != plan.machines).then_some(machines));
        }
        _ => plan::rollback(inventory, &wanted, Some(&plan.to.image.reference)),
    };
    // What is gone from the list of releases can still be put up: the image was named by the plan.
    let machines = now.map_or_else(|_| inventory.machines.clone(), |now| now.machines);
    if plan.kind.ships() && machines.iter().all(|machine| machine.image.is(&plan.to.image)) {
        return Err(Refusal::because(format!("{} runs {} already.", plan.app, plan.to.words())));
    }
    Ok((machines != plan.machines).then_some(machines))
}

/// Somebody says no.
///
/// # Errors
/// For want of the right; when it runs or is over.
pub fn no(draft: &mut Draft<'_>, who: &Actor, id: DeployId) -> Result<Text, Refusal> {
    let deploy = at_hand(draft, id)?.clone();
    if deploy.by != who.person {
        may(&draft.ctx, who, &deploy.plan.service)?;
    }
    if !deploy.is_waiting() {
        return Err(Refusal::because(deploys::not_waiting(&deploy)));
    }
    draft.fact(id, Fact::DeployCancelled { by: Some(who.person.clone()), why: "somebody said no".to_owned() });
    Ok(Text::plain(format!("{id} is called off; nothing was changed.")))
}

/// Somebody says stop.
///
/// # Errors
/// For want of the right; when nothing runs any more.
pub fn stop(draft: &mut Draft<'_>, who: &Actor, id: DeployId) -> Result<Text, Refusal> {
    let deploy = at_hand(draft, id)?.clone();
    may(&draft.ctx, who, &deploy.plan.service)?;
    let is_under_way = matches!(deploy.phase, Phase::Opening | Phase::Preparing { .. } | Phase::Rolling);
    let has_more = !deploy.then.is_empty() && deploy.is_started() && !deploy.is_waiting();
    if !is_under_way && !has_more {
        let word = deploy.verdict.map_or("past its machines", Verdict::words);
        return Err(Refusal::because(format!("There is nothing to stop: {id} is {word}.")));
    }
    if let Some(by) = &deploy.stopped_by {
        return Ok(crate::domain::text::already(by, "stopped it"));
    }
    run::stop(draft, id, &who.person);
    Ok(deploys::stops(&deploy))
}

/// The service that an incident's card offers to act on; none when none has an app.
pub fn offered<'a>(ctx: &Ctx<'a>, services: &[Service]) -> Option<&'a Service> {
    let spec = |service: &Service| ctx.workspace.services.iter().find(|spec| spec.name == *service);
    services.iter().filter_map(spec).find(|spec| spec.production.fly_app.is_some()).map(|spec| &spec.name)
}
