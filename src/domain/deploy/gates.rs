//! What can refuse a deploy, and what was found when it was looked at.
//!
//! Pure. Each check says why, in words; none is passed but by its condition or a written reason on record. A rollback knows
//! none of them. What was not looked at is said to be so, never ✓.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Deploy, Plan, known};
use crate::domain::calendar::{Closed, Opening, window_state};
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::health::{HealthReport, Mark, StageHealth};
use crate::domain::hosting::Image;
use crate::domain::ids::{DeployId, IncidentId, Person, Service};
use crate::domain::message::Text;
use crate::domain::policy::Severity;
use crate::domain::text::{self, gates as words};
use crate::domain::workspace::Stage;

/// An end further away than this is none that anybody has to know.
const TOLD_WITHIN: TimeDelta = TimeDelta::days(14);

/// What was seen so short a time ago is as good as seen now.
const JUST_NOW: TimeDelta = TimeDelta::minutes(1);

/// What can refuse a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The hours in which the stage may be deployed to.
    Window,
    /// Production stays as it is: by hand, by the calendar, or because an incident is open.
    Freeze,
    /// The image ran on staging and did well.
    Staging,
    /// The service is well before it is changed.
    Health,
    /// The hardware under its machines answers.
    Host,
    /// What people have to see to is seen to.
    Checklist,
    /// Somebody keeps the app to themselves.
    Lock,
    /// It is known whether a release command runs first. Shown only where it is not.
    Command,
}

impl Gate {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Gate; 8] = [
        Gate::Window,
        Gate::Freeze,
        Gate::Staging,
        Gate::Health,
        Gate::Host,
        Gate::Checklist,
        Gate::Lock,
        Gate::Command,
    ];

    /// Its name in a sentence, and in a button's action.
    pub fn name(self) -> &'static str {
        match self {
            Gate::Window => "window",
            Gate::Freeze => "freeze",
            Gate::Staging => "staging",
            Gate::Health => "health",
            Gate::Host => "host",
            Gate::Checklist => "checklist",
            Gate::Lock => "lock",
            Gate::Command => "command",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.name() == name)
    }

    /// Whether a fix for an open incident passes it with a sentence, whoever asks: waiting would keep the incident open.
    pub fn yields_to_a_fix(self) -> bool {
        matches!(self, Gate::Window | Gate::Freeze | Gate::Health)
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Its condition holds.
    Passes,
    /// It refuses.
    Refuses,
    /// It could not be looked at, or there is nothing to look at; it does not refuse.
    NotLooked,
}

impl Finding {
    /// ✓ ✗ or –.
    pub fn sign(self) -> &'static str {
        match self {
            Finding::Passes => "✓",
            Finding::Refuses => "✗",
            Finding::NotLooked => "–",
        }
    }
}

/// One check, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub gate: Gate,
    /// What was found.
    pub found: Finding,
    /// Why, as the end of a sentence.
    pub says: String,
    /// Whether it passes with a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warns: bool,
}

/// A check that somebody passes with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Which.
    pub gate: Gate,
    /// Who.
    pub by: Person,
    /// Why.
    pub why: Text,
}

/// Nothing goes out for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Of which service; of all when none.
    pub service: Option<Service>,
    /// Since when.
    pub from: At,
    /// Until when; until somebody ends it when none.
    pub until: Option<At>,
    /// Who said so.
    pub by: Person,
    /// Why.
    pub why: Text,
}

impl Freeze {
    /// Whether it holds for a service at an instant.
    pub fn holds(&self, service: &Service, now: At) -> bool {
        self.service.as_ref().is_none_or(|own| own == service) && self.until.is_none_or(|until| now < until)
    }
}

/// Somebody keeps an app to themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Who.
    pub by: Person,
    /// Since when.
    pub at: At,
    /// Why.
    pub why: Text,
}

/// An image that ran on staging and did well there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// Of which service.
    pub service: Service,
    /// Which image.
    pub image: Image,
    /// When.
    pub at: At,
}

/// The boxes that are ticked for an image, by the names of their items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticks(#[serde(deserialize_with = "image_or_key")] pub Image, pub BTreeSet<String>);

/// Copies of the state from before this type named an image by its digest or its reference alone.
fn image_or_key<'de, D: Deserializer<'de>>(from: D) -> Result<Image, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Known {
        Image(Image),
        Key(String),
    }
    Ok(match Known::deserialize(from)? {
        Known::Image(image) => image,
        Known::Key(key) if key.starts_with("sha256:") => Image { digest: Some(key.clone()), reference: key },
        Known::Key(key) => Image::new(key),
    })
}

/// What the checks are about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Who asks.
    pub by: &'a Person,
    /// The stages that are still to be deployed to, in order.
    pub stages: &'a [&'a Plan],
    /// Whether the image has been on staging in this very deploy.
    pub was_staged: bool,
    /// Whether it was seen a moment ago that staging runs the image and is well.
    pub runs_on_staging: bool,
    /// How the services are, when it could be asked.
    pub health: Option<&'a HealthReport>,
}

/// Looks at every check that the last of the stages knows.
pub fn look(ctx: &Ctx<'_>, about: &About<'_>) -> Vec<Check> {
    let Some(last) = about.stages.last() else { return Vec::new() };
    let known = Gate::ALL.into_iter().filter(|gate| applies(ctx, *gate, about, last.stage));
    let check = |gate: Gate| {
        let (found, says) = match gate {
            Gate::Window => window(ctx, last.stage),
            Gate::Freeze => freeze(ctx, &last.service),
            Gate::Staging => staging(ctx, about, last),
            Gate::Health => health(about, last),
            Gate::Host => host(about),
            Gate::Checklist => checklist(ctx, &last.to.image),
            Gate::Lock => lock(ctx, about),
            Gate::Command => command(about),
        };
        let warns = gate == Gate::Health && mark(about, last) == Some(Mark::Warning);
        Check { gate, found, says, warns }
    };
    known.map(check).collect()
}

/// Staging is there to be tried on: only its hours, its hardware, its lock and its release command count.
fn applies(ctx: &Ctx<'_>, gate: Gate, about: &About<'_>, stage: Stage) -> bool {
    match gate {
        Gate::Window | Gate::Host | Gate::Lock => true,
        Gate::Command => about.stages.iter().any(|plan| plan.release_command_unknown.is_some()),
        Gate::Checklist => stage == Stage::Production && !ctx.policy.deploys.checklist.is_empty(),
        Gate::Freeze | Gate::Staging | Gate::Health => stage == Stage::Production,
    }
}

/// When the stage may be deployed to next; none when it may now, or never.
pub fn opens(ctx: &Ctx<'_>, stage: Stage) -> Option<At> {
    let window = ctx.policy.deploys.window.get(&stage)?;
    match window_state(window, &ctx.policy.holidays, ctx.workspace.team.zone, ctx.now) {
        Opening::Closed { opens, .. } => opens,
        Opening::Open { .. } => None,
    }
}

fn window(ctx: &Ctx<'_>, stage: Stage) -> (Finding, String) {
    let zone = ctx.workspace.team.zone;
    let clock = |at: At| text::clock_of_day(at, ctx.now, zone);
    let Some(window) = ctx.policy.deploys.window.get(&stage) else {
        return (Finding::NotLooked, "none is set".to_owned());
    };
    match window_state(window, &ctx.policy.holidays, zone, ctx.now) {
        Opening::Open { until } if until - ctx.now > TOLD_WITHIN => (Finding::Passes, "open".to_owned()),
        Opening::Open { until } => (Finding::Passes, format!("open until {}", clock(until))),
        Opening::Closed { opens: None, reason } | Opening::Closed { reason: reason @ Closed::Before(_), .. } => {
            (Finding::Refuses, format!("not now: {reason}"))
        }
        Opening::Closed { opens: Some(opens), reason } => {
            (Finding::Refuses, format!("not now: {reason}; it opens at {}", clock(opens)))
        }
    }
}

/// What holds production as it is, the first of it.
pub fn frozen(ctx: &Ctx<'_>, service: &Service) -> Option<String> {
    let severe = ctx.state.open().filter(|one| one.is_acknowledged() && one.severity <= Severity::Sev2);
    if let Some(incident) = severe.min_by_key(|one| (one.severity, one.id)) {
        return Some(words::frozen_by_incident(incident));
    }
    if let Some(freeze) = ctx.state.team.freezes.iter().find(|freeze| freeze.holds(service, ctx.now)) {
        return Some(words::frozen_by_hand(ctx, freeze));
    }
    let today = ctx.now.with_timezone(&ctx.workspace.team.zone).date_naive();
    ctx.policy.deploys.freezes.on(today).map(|day| words::frozen_by_calendar(&day.name, day.last))
}

fn freeze(ctx: &Ctx<'_>, service: &Service) -> (Finding, String) {
    match frozen(ctx, service) {
        Some(why) => (Finding::Refuses, why),
        None => (Finding::Passes, "none".to_owned()),
    }
}

fn staging(ctx: &Ctx<'_>, about: &About<'_>, last: &Plan) -> (Finding, String) {
    let has_staging = ctx.workspace.service(last.service.as_str()).is_some_and(|service| service.staging.is_some());
    if !has_staging {
        return (Finding::NotLooked, "this service has none".to_owned());
    }
    if about.was_staged {
        return (Finding::Passes, "done".to_owned());
    }
    if about.stages.iter().any(|plan| plan.stage == Stage::Staging) {
        return (Finding::Passes, "goes there first".to_owned());
    }
    if about.runs_on_staging {
        return (Finding::Passes, words::is_well_on_staging());
    }
    match did_well(ctx, &last.service, &last.to.image) {
        Some(one) if ctx.now - one.at < JUST_NOW => (Finding::Passes, words::is_well_on_staging()),
        Some(one) => (Finding::Passes, words::did_well_on_staging(ctx.now - one.at)),
        None => match failed_on_staging(ctx, &last.service, &last.to.image) {
            Some((at, deploy)) => (Finding::Refuses, words::failed_on_staging(ctx, &last.to.image, at, deploy)),
            None => (Finding::Refuses, format!("{} has not been seen to do well there", last.to.image)),
        },
    }
}

/// When an image did well on staging last; none when it failed there since.
pub fn did_well<'a>(ctx: &Ctx<'a>, service: &Service, image: &Image) -> Option<&'a Validated> {
    let mut newest_first = ctx.state.team.validated.iter().rev();
    let one = newest_first.find(|one| one.service == *service && one.image.is(image))?;
    let failed_since = failed_on_staging(ctx, service, image).is_some_and(|(at, _)| at > one.at);
    (!failed_since).then_some(one)
}

fn failed_on_staging(ctx: &Ctx<'_>, service: &Service, image: &Image) -> Option<(At, DeployId)> {
    let spec = ctx.workspace.services.iter().find(|spec| spec.name == *service)?;
    let app = spec.staging.as_ref()?.fly_app.as_deref()?;
    let deploy = known::failed(ctx, app, image)?;
    Some((deploy.judged_at?, deploy.id))
}

fn mark(about: &About<'_>, last: &Plan) -> Option<Mark> {
    let mut stages = about.health?.stages.iter();
    stages.find(|stage| stage.service == last.service && stage.stage == last.stage).map(StageHealth::mark)
}

fn health(about: &About<'_>, last: &Plan) -> (Finding, String) {
    match mark(about, last) {
        Some(Mark::Ok) => (Finding::Passes, "well now".to_owned()),
        Some(Mark::Warning) => (Finding::Passes, "well now, with a warning: see `/health`".to_owned()),
        Some(Mark::Critical) => (Finding::Refuses, "it is not well now: see `/health`".to_owned()),
        Some(Mark::Unknown) => (Finding::NotLooked, "could not be found out: see `/health`".to_owned()),
        None => (Finding::NotLooked, "not measured: add a probe".to_owned()),
    }
}

fn host(about: &About<'_>) -> (Finding, String) {
    let machines: Vec<_> = about.stages.iter().flat_map(|plan| plan.machines.iter()).collect();
    match machines.iter().find(|machine| !machine.host_ok) {
        Some(machine) => {
            (Finding::Refuses, format!("the hardware under {} in {} does not answer", machine.id, machine.region))
        }
        None => (Finding::Passes, format!("the hardware under {} answers", words::machines(machines.len()))),
    }
}

fn checklist(ctx: &Ctx<'_>, image: &Image) -> (Finding, String) {
    let items = &ctx.policy.deploys.checklist;
    let ticked = ctx.state.team.ticked(image);
    let open: Vec<&str> =
        items.iter().filter(|item| !ticked.contains(&item.name)).map(|item| item.name.as_str()).collect();
    if open.is_empty() {
        return (Finding::Passes, format!("{} of {} seen to", items.len(), items.len()));
    }
    let done = items.len() - open.len();
    (Finding::Refuses, format!("{done} of {} seen to; open: {}", items.len(), open.join(", ")))
}

fn lock(ctx: &Ctx<'_>, about: &About<'_>) -> (Finding, String) {
    let held = about.stages.iter().find_map(|plan| Some((plan, ctx.state.team.locks.get(&plan.app)?)));
    match held {
        None => (Finding::Passes, "free".to_owned()),
        Some((_, lock)) if lock.by == *about.by => (Finding::Passes, "yours".to_owned()),
        Some((plan, lock)) => (Finding::Refuses, words::held(ctx, &plan.app, lock)),
    }
}

fn command(about: &About<'_>) -> (Finding, String) {
    let unknown = about.stages.iter().find_map(|plan| Some((*plan, plan.release_command_unknown.as_deref()?)));
    match unknown {
        Some((plan, why)) => (Finding::Refuses, words::command_unknown(plan, why)),
        None => (Finding::Passes, "known".to_owned()),
    }
}

/// The checks of a deploy as far as they can be told by now: what only the outside knows is as it was found last.
pub fn by_now(ctx: &Ctx<'_>, deploy: &Deploy) -> Vec<Check> {
    let stages: Vec<&Plan> = deploy.stages().collect();
    let was_staged = !deploy.passed.is_empty();
    let about = About { by: &deploy.by, stages: &stages, was_staged, runs_on_staging: false, health: None };
    let kept = |gate: Gate| deploy.checks.iter().find(|check| check.gate == gate).cloned();
    look(ctx, &about)
        .into_iter()
        .map(|check| match check.gate {
            Gate::Health | Gate::Host => kept(check.gate).unwrap_or(check),
            // That staging runs it was seen in this very decision, and is not in the state yet.
            Gate::Staging if check.found == Finding::Refuses => {
                kept(check.gate).filter(|kept| kept.found == Finding::Passes).unwrap_or(check)
            }
            _ => check,
        })
        .collect()
}

/// The checks that still refuse, with what was waived taken out.
pub fn refusing<'a>(checks: &'a [Check], waivers: &'a [Waiver]) -> impl Iterator<Item = &'a Check> {
    let is_waived = |check: &Check| waivers.iter().any(|waiver| waiver.gate == check.gate);
    checks.iter().filter(move |check| check.found == Finding::Refuses && !is_waived(check))
}

/// The incident that a deploy mends: an open one of its service, when a reason was given.
pub fn mends(incident: Option<IncidentId>, why: Option<&Text>) -> Option<(IncidentId, &Text)> {
    Some((incident?, why.filter(|why| !why.is_blank())?))
}
