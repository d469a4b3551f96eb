//! What was changed since the last digest and how it has done since: the review line of each change, and the first day's watch.
//!
//! Pure. Says what is on record and what was looked at for this digest; words are `text/day.rs`.

use chrono::TimeDelta;

use super::{Deploy, Kind, Phase};
use crate::domain::draft::Ctx;
use crate::domain::fact::{At, Moment};
use crate::domain::health::{HealthReport, Mark, StageHealth};
use crate::domain::ids::{DeployId, IncidentId};
use crate::domain::input::Answers;
use crate::domain::message::Text;
use crate::domain::state::DEPLOYS_HELD;
use crate::domain::text::day as words;
use crate::domain::workspace::Stage;

/// Changes that are read back from the record for one digest.
pub const READ_MAX: u16 = 32;
/// Changes that are told one by one.
const TOLD_MAX: usize = 12;
/// A change is told in one digest, and looked after for its first day.
const A_DAY: TimeDelta = TimeDelta::hours(24);

/// How a change has done since its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// A later one took it back.
    TakenBack(DeployId),
    /// Another one came after it.
    Followed(DeployId),
    /// It is under way, or waits for a yes between its stages.
    UnderWay,
    /// It is watched until then.
    Watched(At),
    /// An incident of its service was opened.
    Incident(IncidentId),
    /// As its service is now.
    Now(Mark),
    /// It was not looked at.
    NotLooked,
}

/// The row of a digest; none when nothing was changed. `last` is when the digest before was written.
pub fn told(ctx: &Ctx<'_>, last: Option<At>, answers: &Answers) -> Option<Text> {
    let a_day_ago = ctx.now - A_DAY;
    let since = last.map_or(a_day_ago, |last| last.min(a_day_ago));
    let held = ctx.state.team.deploys.values();
    let mut all: Vec<&Deploy> = held.chain(answers.changes.iter().flatten()).collect();
    all.sort_by_key(|deploy| deploy.id);
    all.dedup_by_key(|deploy| deploy.id);
    let is_new = |deploy: &Deploy| deploy.started_at.is_some_and(|at| at >= since) || deploy.judged_at >= Some(since);
    let new: Vec<&Deploy> = all.iter().copied().filter(|one| one.started_at.is_some() && is_new(one)).collect();
    if new.is_empty() {
        return None;
    }
    let mut text = words::head(ctx, &new, since);
    for deploy in new.iter().take(TOLD_MAX) {
        text = text.text("\n").join(words::change(ctx, deploy, &how(ctx, &all, deploy, answers.health.as_ref())));
    }
    // Nothing is left out in silence.
    let is_cut = answers.changes.is_none() && ctx.state.team.deploys.len() >= DEPLOYS_HELD;
    if new.len() > TOLD_MAX || is_cut {
        text = text.text("\n").join(words::others());
    }
    Some(text)
}

fn how(ctx: &Ctx<'_>, all: &[&Deploy], deploy: &Deploy, health: Option<&HealthReport>) -> Since {
    let plan = &deploy.plan;
    let is_later = |other: &&&Deploy| {
        other.id > deploy.id && other.plan.app == plan.app && other.started_at.is_some() && other.plan.kind.ships()
    };
    if let Some(later) = all.iter().filter(|_| plan.kind.ships()).find(is_later) {
        let is_back = later.plan.kind == Kind::Rollback && later.plan.from.image.is(&plan.to.image);
        return if is_back { Since::TakenBack(later.id) } else { Since::Followed(later.id) };
    }
    let Some(judged) = deploy.judged_at.filter(|_| deploy.verdict.is_some()) else { return Since::UnderWay };
    // What is declared of a service is about its production.
    let opened = ctx.state.incidents.values().filter(|_| plan.stage == Stage::Production).find(|incident| {
        incident.services.contains(&plan.service) && incident.time(Moment::Declared).is_some_and(|at| at >= judged)
    });
    if let Some(incident) = opened {
        return Since::Incident(incident.id);
    }
    if let Phase::Watching { until } = deploy.phase {
        return Since::Watched(until);
    }
    let mut stages = health.into_iter().flat_map(|report| &report.stages);
    let now = stages.find(|stage| stage.service == plan.service && stage.stage == plan.stage).map(StageHealth::mark);
    now.map_or(Since::NotLooked, Since::Now)
}
