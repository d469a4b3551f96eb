//! What came of a deploy, as seen from outside: not what the host says of it, but which machines run what and whether the
//! service answers.
//!
//! Pure. Never says that something works which was not asked.

use super::scale;
use super::{Deploy, Kind, Phase, Verdict};
use crate::domain::draft::Ctx;
use crate::domain::figures::Of;
use crate::domain::figures::watch::{self, Says, Watched};
use crate::domain::health::{AppHealth, HealthReport, Mark};
use crate::domain::hosting::{Inventory, ReleaseEnd};
use crate::domain::input::Answers;
use crate::domain::text::{self, scale as words};

/// How its release ends on the host's record.
pub fn release_end(deploy: &Deploy) -> ReleaseEnd {
    match deploy.went_wrong() {
        true => ReleaseEnd::Failed,
        // Said while the last machine was in hand, a stop left nothing out: every machine runs it.
        false if deploy.done() == deploy.machines.len() => ReleaseEnd::Complete,
        false => ReleaseEnd::Interrupted,
    }
}

/// The verdict, and what was seen in a sentence.
pub fn judge(
    deploy: &Deploy,
    machines: Result<&Inventory, &String>,
    report: Option<&HealthReport>,
) -> (Verdict, String) {
    let plan = &deploy.plan;
    let stage = report.and_then(|report| {
        report.stages.iter().find(|stage| stage.service == plan.service && stage.stage == plan.stage)
    });
    // Probes ask the service itself; without any, the machines' own checks are all there is.
    let probes = stage.map(|stage| stage.probes.as_slice()).unwrap_or_default();
    let asked = probes.iter().filter(|probe| probe.was_asked()).map(|probe| probe.verdict().mark).reduce(Mark::worse);
    let app = stage.and_then(|stage| stage.app.as_ref());
    let machines_mark = app.map(|app| app.verdict().mark);
    let answers = match (asked, machines_mark) {
        // It answers, and its own checks fail: somebody else's request may find that machine.
        (Some(Mark::Ok), Some(Mark::Warning | Mark::Critical)) => Some(Mark::Warning),
        (asked, machines) => asked.or(machines),
    };
    // The verdict says that it does not answer; what was seen says how.
    let failing = probes.iter().find(|probe| probe.was_asked() && probe.verdict().mark == Mark::Critical);
    let failing = failing.map(|probe| text::deploys::failing(&probe.probe, &probe.says, probe.ok));
    let health = match answers {
        Some(Mark::Critical) if scale::is_zero(plan) => "nothing answers any more",
        Some(Mark::Ok | Mark::Warning) if scale::is_zero(plan) => "something answers all the same",
        Some(Mark::Unknown) | None => "nothing could be asked whether it answers",
        Some(Mark::Ok) if asked.is_none() && app.is_some_and(AppHealth::is_asleep) => "it is asleep, which is healthy",
        Some(Mark::Ok) if asked.is_none() => "its machines are well",
        Some(Mark::Ok) => "it answers as it should",
        Some(Mark::Warning) if was_so(deploy) => "it answers, no better and no worse than before",
        Some(Mark::Warning) => "it answers, and not as well as it should",
        Some(Mark::Critical) if asked.is_none() => "its machines are not well",
        Some(Mark::Critical) => failing.as_deref().unwrap_or("it does not answer as it should"),
    };
    let (there, all) = match machines {
        Ok(inventory) if plan.kind.ships() => {
            let runs = inventory.machines.iter().filter(|machine| machine.image.is(&plan.to.image)).count();
            (runs, inventory.machines.len())
        }
        // Whether a machine was restarted or resized only the steps themselves can tell.
        _ => (deploy.done(), deploy.machines.len()),
    };
    let what = match plan.kind {
        Kind::Restart => format!("{there} of {all} machines restarted"),
        Kind::Scale => format!("{there} of {all} machines {}", words::did(plan)),
        Kind::Deploy => format!("{there} of {all} machines run {}", plan.to.image),
        Kind::Rollback => format!("{there} of {all} machines run {}", plan.to.short()),
    };
    // An app with machines of which the host lists none: that is no word about them.
    let lists_none = plan.kind.ships() && machines.is_ok_and(|inventory| inventory.machines.is_empty());
    let what = if lists_none { format!("Fly lists no machine of {}", plan.app) } else { what };
    let mut seen = format!("{what}; {health}");
    if let Err(why) = machines {
        seen = format!("{seen}; I go by what was done, because Fly did not say what runs ({why})");
    }
    if let Some((machine, _, says)) = deploy.trouble() {
        seen = format!("{seen}. {} in {}: {says}", machine.id, machine.region);
    }
    if let Some((what, _, says)) = &deploy.unprepared {
        seen = format!("{seen}. Before the first machine, {}: {says}", what.words());
    }
    let went_wrong = deploy.went_wrong();
    let verdict = match answers {
        // That it does not answer is what was asked for.
        _ if scale::is_zero(plan) && there == all && !went_wrong => Verdict::OffLine,
        Some(Mark::Critical) => Verdict::Failed,
        _ if lists_none => Verdict::Unknown,
        Some(Mark::Unknown) | None if went_wrong => Verdict::Unknown,
        Some(Mark::Unknown) | None if there == all => Verdict::Done,
        Some(Mark::Unknown) | None => Verdict::Half,
        Some(_) if there == all && went_wrong => Verdict::ServingAlthoughFailed,
        Some(Mark::Warning) if there == all && !was_so(deploy) => Verdict::Worse,
        Some(_) if there == all => Verdict::Succeeded,
        Some(_) if there == 0 => Verdict::ServingTheOld,
        Some(_) => Verdict::Half,
    };
    (verdict, seen)
}

/// The end of its watch, when that is to be held against figures: of what, and since when. A rollback is its incident's to verify.
pub fn watched<'a>(ctx: &Ctx<'_>, deploy: &'a Deploy) -> Option<Watched<'a>> {
    let plan = &deploy.plan;
    let began = deploy
        .stage_at
        .or(deploy.started_at)
        .filter(|_| deploy.phase == Phase::LastLook && plan.kind == Kind::Deploy)?;
    let of = Of { service: &plan.service, stage: plan.stage, app: &plan.app };
    Some(Watched { of, began, watch_for: ctx.policy.deploys.watch_for.delta() })
}

/// What errors and latency make of a verdict at the end of the watch. They only ever ask: nothing is taken back for them alone.
pub fn weigh(ctx: &Ctx<'_>, deploy: &Deploy, judged: (Verdict, String), answers: &Answers) -> (Verdict, String) {
    let (verdict, seen) = judged;
    let Some(watched) = watched(ctx, deploy).filter(|_| verdict.is_good()) else { return (verdict, seen) };
    match watch::compare(ctx, &watched, answers) {
        Says::Worse(says) => (Verdict::Worse, says),
        Says::Well(says) => (verdict, format!("{seen}; {says}")),
        Says::NoRequests => (verdict, format!("{seen}; no requests came while it was watched")),
        Says::Nothing => (verdict, seen),
    }
}

/// Whether it is known to have been no better before. Only a deploy has looked; what nobody looked at was not so.
fn was_so(deploy: &Deploy) -> bool {
    deploy.checks.iter().any(|check| check.warns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deploy::{Plan, Shipped};
    use crate::domain::fact::Fact;
    use crate::domain::hosting::Image;
    use crate::domain::ids::{DeployId, InputId, Person, Service};
    use crate::domain::policy::{Policy, SHIPPED};
    use crate::domain::state::State;
    use crate::domain::workspace::{Stage, Workspace};
    use chrono::TimeDelta;

    fn planned(at: chrono::DateTime<chrono::Utc>) -> Deploy {
        let shipped = |tag: &str| Shipped { image: Image::new(format!("registry.fly.io/shop:{tag}")), version: None };
        let plan = Plan {
            kind: Kind::Deploy,
            service: Service::new("shop"),
            stage: Stage::Production,
            app: "shop".to_owned(),
            from: shipped("v1"),
            to: shipped("v2"),
            machines: Vec::new(),
            at_once: 1,
            notes: Vec::new(),
            hash: String::new(),
            strategy: Default::default(),
            release_command: None,
            release_command_unknown: None,
            scale: None,
        };
        let planned = Fact::DeployPlanned {
            plan: Box::new(plan),
            by: Person::new("discord:1"),
            incident: None,
            why: None,
            until: at,
            then: Vec::new(),
            checks: Vec::new(),
            by_itself: false,
            request: None,
        };
        Deploy::planned(DeployId(1), at, &planned).unwrap_or_else(|| panic!("a deploy"))
    }

    #[test]
    fn a_watch_is_of_the_stage_at_hand_and_not_of_the_one_before() {
        let at = chrono::DateTime::UNIX_EPOCH;
        let mut deploy = planned(at);
        deploy.started_at = Some(at);
        deploy.stage_at = Some(at + TimeDelta::minutes(20));
        deploy.phase = Phase::LastLook;
        let team =
            "team = { name = \"t\", zone = \"UTC\" }\nchannels = { incidents = \"i\", test = \"t\" }\npeople = []";
        let workspace: Workspace = toml::from_str(team).unwrap_or_else(|error| panic!("{error}"));
        let policy = Policy::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
        let (state, input) = (State::default(), InputId::new("x"));
        let ctx = Ctx { state: &state, policy: &policy, workspace: &workspace, now: at, input: &input };
        assert_eq!(watched(&ctx, &deploy).map(|watched| watched.began), deploy.stage_at);
        deploy.phase = Phase::Rolling;
        assert!(watched(&ctx, &deploy).is_none());
    }

    #[test]
    fn of_a_list_without_machines_nothing_is_known() {
        let at = chrono::DateTime::UNIX_EPOCH;
        let deploy = planned(at);
        let empty = Inventory {
            app: "shop".to_owned(),
            at,
            machines: Vec::new(),
            releases: Ok(Vec::new()),
            release_command: Ok(None),
            secrets_at: None,
            secrets: Ok(Vec::new()),
        };
        let (verdict, seen) = judge(&deploy, Ok(&empty), None);
        assert_eq!(verdict, Verdict::Unknown, "{seen}");
        assert!(seen.starts_with("Fly lists no machine of shop"), "{seen}");
    }
}
