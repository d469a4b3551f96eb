//! What the bot itself saw against an image: that it failed, or that it was taken back.
//!
//! Pure. Told from the changes in memory, and of older ones from the ledger of releases. The newest word counts: an image that did
//! well since is as good as any. Never refuses anything: whoever names such an image is told, and gets it.

use super::{Deploy, Kind, Verdict};
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::hosting::Image;
use crate::domain::ids::{DeployId, Service};
use crate::domain::releases::Ours;
use crate::domain::workspace::Stage;

/// What speaks against an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// A rollback took it away.
    TakenBack(DeployId),
    /// It did not do.
    Failed(DeployId),
}

/// What speaks against an image on an app; none when nothing was seen, or it did well since.
pub fn against(ctx: &Ctx<'_>, app: &str, image: &Image) -> Option<Against> {
    let here = ctx.state.team.deploys.values().rev().filter(|deploy| deploy.plan.app == app);
    for deploy in here.filter(|deploy| deploy.started_at.is_some() && deploy.plan.kind.ships()) {
        let to = &deploy.plan.to.image;
        if takes_back(deploy, image) && !to.is(image) {
            return Some(Against::TakenBack(deploy.id));
        }
        if to.is(image) && is_bad(deploy) {
            return Some(Against::Failed(deploy.id));
        }
        if to.is(image) && deploy.verdict.is_some_and(Verdict::is_good) {
            return None;
        }
    }
    // What is no longer in memory left its number in the ledger.
    let releases = &ctx.state.team.releases.get(app)?.releases;
    let at = releases.iter().position(|release| release.image.is(image))?;
    let after = at.checked_sub(1).and_then(|after| releases.get(after)).and_then(|after| after.ours);
    let is_forgotten = |after: &Ours| !ctx.state.team.deploys.contains_key(&after.deploy);
    let back = after.filter(|after| after.kind == Kind::Rollback).filter(is_forgotten);
    back.map(|back| Against::TakenBack(back.deploy))
}

/// Everything that is known to speak against an image of an app.
pub fn all(ctx: &Ctx<'_>, app: &str) -> Vec<(Image, Against)> {
    let deploys = ctx.state.team.deploys.values().filter(|deploy| deploy.plan.app == app);
    let deploys = deploys.flat_map(|deploy| [&deploy.plan.from.image, &deploy.plan.to.image]);
    let releases = ctx.state.team.releases.get(app).into_iter().flat_map(|ledger| &ledger.releases);
    let mut found: Vec<(Image, Against)> = Vec::new();
    for image in deploys.chain(releases.map(|release| &release.image)) {
        if found.iter().any(|(known, _)| known.is(image)) {
            continue;
        }
        found.extend(against(ctx, app, image).map(|why| (image.clone(), why)));
    }
    found
}

/// The newest change that put an image on an app and saw it fail there; none when it did well since.
pub fn failed<'a>(ctx: &Ctx<'a>, app: &str, image: &Image) -> Option<&'a Deploy> {
    let tried = |deploy: &&Deploy| deploy.plan.app == app && deploy.plan.kind.ships() && deploy.plan.to.image.is(image);
    let is_told = |deploy: &&Deploy| is_bad(deploy) || deploy.verdict.is_some_and(Verdict::is_good);
    ctx.state.team.deploys.values().rev().filter(tried).find(is_told).filter(|deploy| is_bad(deploy))
}

/// The rollback that took a change away; none when nothing did. `deploys` are the changes that are known, the oldest first.
pub fn taken_back_by<'a>(deploys: impl Iterator<Item = &'a Deploy>, deploy: &Deploy) -> Option<DeployId> {
    let (id, plan) = (deploy.id, &deploy.plan);
    // The first that came after it says what became of it: a rollback of something later is none of this one.
    let later = |other: &&Deploy| {
        other.id > id && other.plan.app == plan.app && other.started_at.is_some() && other.plan.kind.ships()
    };
    let mut later = deploys.filter(later);
    let first = later.next().filter(|_| plan.kind.ships())?;
    takes_back(first, &plan.to.image).then_some(first.id)
}

/// The newest change of ours to a service's production between two instants: where the service answers again, that may be why.
pub fn between<'a>(ctx: &Ctx<'a>, service: &Service, since: At, until: At) -> Option<&'a Deploy> {
    let is_it = |deploy: &&Deploy| {
        let is_here = deploy.plan.service == *service && deploy.plan.stage == Stage::Production;
        is_here && deploy.done() > 0 && deploy.started_at.is_some_and(|at| at >= since && at <= until)
    };
    ctx.state.team.deploys.values().rfind(is_it)
}

/// Whether it takes an image away, or has. A rollback that came to nothing took nothing away.
fn takes_back(deploy: &Deploy, image: &Image) -> bool {
    let took_some = deploy.is_running() || deploy.done() > 0;
    deploy.plan.kind == Kind::Rollback && took_some && deploy.plan.from.image.is(image)
}

/// Whether it is the image that did not do. What a lease or Fly itself stood in the way of says nothing about it.
fn is_bad(deploy: &Deploy) -> bool {
    let is_of_the_image = deploy.trouble().is_some_and(|(_, trouble, _)| trouble.is_of_the_image());
    let ran_everywhere = deploy.done() == deploy.machines.len();
    is_of_the_image || (ran_everywhere && deploy.verdict == Some(Verdict::Failed))
}
