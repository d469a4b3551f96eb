//! Rules that see nothing any more about a service that nothing else finds well: told once, as a warning, and over as soon as either is
//! otherwise.
//!
//! Pure. No data is silent while the service's own probe is green, or while it sleeps: then what is wanting are figures, and nobody has to
//! get up for those. What never had data is a matter of the set-up, and is silent too.

use chrono::TimeDelta;

use super::{About, Followed, Looking, Rules, fires, placed, subjects};
use crate::domain::alerts::heard::Incoming;
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::figures::Figure;
use crate::domain::ids::Service;
use crate::domain::policy::{Of, Rule};
use crate::domain::text::rules as words;
use crate::domain::workspace::{ProbeSpec, Stage, Workspace};

/// What tells these alerts from those of rules: no rule's name is empty.
const KEY: &str = "/no data/";
/// The alert's name.
const NAME: &str = "no data";
/// It is never more than a warning: nobody knows that anything is wrong.
const SEVERITY: &str = "warning";

/// Whether an alert is one of these.
pub(super) fn is_of(fingerprint: &str) -> bool {
    fingerprint.starts_with(KEY)
}

/// A rule that has lost sight, and why where that was said.
struct Lost<'a> {
    rule: &'a Rule,
    why: Option<&'a str>,
}

/// The probes of a copy of a service.
fn probes<'a>(workspace: &'a Workspace, service: &Service, stage: Stage) -> &'a [ProbeSpec] {
    let spec = workspace.services.iter().find(|spec| spec.name == *service);
    let stage = spec.and_then(|spec| spec.stages().find(|(one, _)| *one == stage));
    stage.map_or(&[], |(_, spec)| spec.probes.as_slice())
}

/// Whether a rule goes by what others tell, and has lost it for long enough.
fn lost<'a>(rule: &'a Rule, one: &'a Followed, has_probe: bool, after: TimeDelta, now: At) -> Option<Lost<'a>> {
    let (_, why) = one.nothing.as_ref().filter(|(since, _)| one.known_at.is_some() && now - *since >= after)?;
    let is_told_by_others = match &rule.of {
        // Without visitors there are no answers to measure; where a probe looks and is not well, that says something all the same.
        Of::Figure { figure: Figure::Errors | Figure::Latency, .. } => has_probe || why.is_some(),
        Of::Figure { .. } | Of::Query { .. } | Of::Machines(_) | Of::Log { .. } | Of::Starts { .. } => true,
        Of::Probe(_) | Of::Release | Of::Certificate | Of::Answers { .. } => false,
    };
    (is_told_by_others && !rule.shadow).then_some(Lost { rule, why: why.as_deref() })
}

/// Every copy of a service, with the rules that have lost sight of it; with none where it is found well otherwise.
fn all<'a>(
    looking: &Looking<'a>,
    rules: &'a Rules,
    now: At,
) -> impl Iterator<Item = (About<'a>, (&'a Service, Stage), Vec<Lost<'a>>)> {
    let Looking { policy, workspace } = *looking;
    let after = policy.alerts.no_data_after.delta();
    let copies = workspace.services.iter().flat_map(|service| {
        service.stages().map(move |(stage, spec)| ((&service.name, stage), spec.fly_app.as_deref()))
    });
    copies.map(move |((service, stage), app)| {
        let about = About { of: Some((service, stage, app)) };
        let probes = probes(workspace, service, stage);
        // One that looks seldom is well until it has missed a look.
        let seldom = probes.iter().map(|probe| probe.every.delta() * 2).min().unwrap_or_default();
        let is_well = rules.is_well(&(service.clone(), stage), !probes.is_empty(), after.max(seldom), now);
        let of_it = policy.alerts.rules.iter().filter(|rule| !is_well && rule.is_about(service, stage));
        let lost = of_it
            .filter(|rule| subjects(workspace, rule).contains(&about))
            .filter_map(|rule| lost(rule, rules.of(rule, &about)?, !probes.is_empty(), after, now));
        (about, (service, stage), lost.collect())
    })
}

/// What has lost sight and is told outlives a restart.
pub(super) fn keep(rules: &mut Rules, looking: &Looking<'_>, now: At) {
    let keys: Vec<String> = all(looking, rules, now)
        .flat_map(|(about, _, lost)| lost.into_iter().map(move |one| about.key(one.rule)))
        .collect();
    for key in keys {
        if let Some(one) = rules.followed.get_mut(&key) {
            one.keeps = true;
        }
    }
}

/// For every copy of a service what tells its alert, and what is to be said of it now.
pub(super) fn alerts(ctx: &Ctx<'_>) -> Vec<(String, Option<Incoming>)> {
    let looking = Looking { policy: ctx.policy, workspace: ctx.workspace };
    let of = |(about, (service, stage), lost): (About<'_>, (&Service, Stage), Vec<Lost<'_>>)| {
        let fingerprint = format!("{KEY}{service}/{}", stage.name());
        // As long as nobody can have looked since a start, it stays as it is.
        let after = ctx.policy.alerts.no_data_after.delta();
        if ctx.state.measured.rules.is_unseen(&(service.clone(), stage), after, ctx.now) {
            return (fingerprint, None);
        }
        let firing = !lost.is_empty();
        if !firing && !fires(&ctx.state.alerts, &fingerprint) {
            return (fingerprint, None);
        }
        let names = lost.iter().map(|one| one.rule.name.as_str());
        let why = lost.iter().find_map(|one| one.why);
        let has_probe = !probes(ctx.workspace, service, stage).is_empty();
        let (labels, group) = placed(ctx, NAME, SEVERITY, &about, &fingerprint);
        let alert = Incoming {
            fingerprint: fingerprint.clone(),
            firing,
            name: NAME.to_owned(),
            severity: SEVERITY.to_owned(),
            labels,
            group,
            summary: words::sees_nothing(names, why, has_probe),
            // Not since when nothing is seen: that may be as it was the last time, and would be taken for a resend.
            began: None,
            ended: (!firing).then_some(ctx.now),
            service: Some(service.clone()),
            ..Incoming::default()
        };
        (fingerprint, Some(alert.bounded()))
    };
    all(&looking, &ctx.state.measured.rules, ctx.now).map(of).collect()
}
