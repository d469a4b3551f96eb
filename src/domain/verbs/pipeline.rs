//! What a pipeline may do: ask for a deploy, by a signed request.
//!
//! Pure. It may ask and nothing else: every check holds for it, its reason passes none, somebody else says yes, and what a person
//! planned is not called off by it. The same request again is the same deploy.

use super::deploy::{self, Asked};
use super::ship;
use crate::domain::draft::{Ctx, Draft};
use crate::domain::ids::Person;
use crate::domain::input::{Actor, Answers, Query};
use crate::domain::message::Text;
use crate::domain::pipeline::{Ask, Known, Request};
use crate::domain::refusal::Refusal;
use crate::domain::text::pipeline as says;
use crate::domain::workspace::{Pipeline, ServiceSpec};

/// What must be asked before it can be decided. Nothing, for what is known or refused anyway.
pub fn queries(ctx: &Ctx<'_>, ask: &Ask) -> Vec<Query> {
    match (known(ctx, ask), about(ctx, ask)) {
        (None, Ok((_, service))) => deploy::queries(service),
        _ => Vec::new(),
    }
}

/// Plans what a pipeline asks for. Nothing is done before somebody says yes.
///
/// # Errors
/// When it may not ask for that, when a person's plan waits, and as for anybody who asks for a deploy.
pub fn ask(draft: &mut Draft<'_>, ask: &Ask, answers: &Answers) -> Result<Text, Refusal> {
    if let Some(known) = known(&draft.ctx, ask) {
        return match known.body == ask.request.body {
            true => Ok(Text::plain(format!("{} is what came of it.", known.deploy))),
            false => Err(Refusal::because(says::other_request(&known.id, known.deploy))),
        };
    }
    let (pipeline, service) = about(&draft.ctx, ask)?;
    refuse_behind_a_person(&draft.ctx, service)?;
    let who = Actor { person: pipeline.person(), name: pipeline.name.clone(), roles: Vec::new() };
    let actor = ask.request.actor.as_deref();
    // Where runs are set off from, a name is the same in capitals.
    let named = |actor: &str| {
        pipeline.actors.iter().find(|(login, _)| login.eq_ignore_ascii_case(actor)).map(|(_, name)| name.as_str())
    };
    let person = actor.and_then(named).and_then(|name| draft.ctx.workspace.person(name));
    let request = Request { person: person.cloned(), ..ask.request.clone() };
    let asked = Asked {
        image: Some(ask.image.clone()),
        stage: ask.stage,
        strategy: ask.strategy,
        why: ask.why.clone(),
        request: Some(request),
        fly_toml: ask.fly_toml.clone(),
    };
    deploy::plan(draft, &who, service, asked, answers)
}

fn known<'a>(ctx: &Ctx<'a>, ask: &Ask) -> Option<&'a Known> {
    ctx.state.team.requests.iter().find(|known| known.id == ask.request.id)
}

/// Who asks, and of which service.
fn about<'a>(ctx: &Ctx<'a>, ask: &Ask) -> Result<(&'a Pipeline, &'a ServiceSpec), Refusal> {
    let pipeline = ctx.workspace.pipeline.as_ref().ok_or_else(|| Refusal::because(says::none()))?;
    let place = crate::domain::ids::Place::new("");
    let service = ship::About::meant(ctx, Some(&ask.service), None, &place)?.service;
    match pipeline.may_ask_for(&service.name) {
        true => Ok((pipeline, service)),
        false => Err(Refusal::because(says::not_its_service(service.name.as_str()))),
    }
}

/// There is one plan at a time for an app. A rollback that waits for its yes at night is not to be called off by a merge.
fn refuse_behind_a_person(ctx: &Ctx<'_>, service: &ServiceSpec) -> Result<(), Refusal> {
    let apps: Vec<&str> = service.stages().filter_map(|(_, stage)| stage.fly_app.as_deref()).collect();
    let mut waiting = ctx.state.team.deploys.values().filter(|deploy| deploy.is_waiting() && deploy.request.is_none());
    match waiting.find(|deploy| apps.iter().any(|app| deploy.touches(app))) {
        Some(deploy) => Err(Refusal::because(says::behind(deploy, &named(ctx, &deploy.by)))),
        None => Ok(()),
    }
}

fn named(ctx: &Ctx<'_>, person: &Person) -> String {
    ctx.workspace.name_of(person).unwrap_or("somebody").to_owned()
}
