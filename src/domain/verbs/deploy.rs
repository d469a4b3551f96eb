//! Deploying: asked for, approved, passed with a reason, put off, started.
//!
//! Pure. Here stands every gate and every approval, and nothing of how a deploy goes on once it runs (`deploy/run.rs`). What
//! somebody said yes to is looked at again before the yes counts.

use super::ship::{self, About};
use crate::domain::deploy::gates::{self, Check, Gate};
use crate::domain::deploy::{Approval, Deploy, Kind, Phase, Plan, Strategy, plan, run, staged};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::fact::Fact;
use crate::domain::health::{Mark, StageHealth};
use crate::domain::hosting::{Image, Inventory, Release, Running};
use crate::domain::ids::{DeployId, IncidentId, Person, Role, Thing};
use crate::domain::input::{Actor, Answers, Query};
use crate::domain::message::{ButtonStyle, Message, Ping, Text};
use crate::domain::pipeline::Request;
use crate::domain::pipeline::fly_toml::FlyToml;
use crate::domain::policy::{Right, Severity};
use crate::domain::refusal::Refusal;
use crate::domain::text::{self, deploys, gates as words, pipeline};
use crate::domain::workspace::{ServiceSpec, Stage};

/// What somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Which image; the one that suggests itself when none.
    pub image: Option<String>,
    /// Only this stage; staging and then production when none.
    pub stage: Option<Stage>,
    /// In which order machines are changed.
    pub strategy: Strategy,
    /// Why.
    pub why: Option<Text>,
    /// The request, when a pipeline asks.
    pub request: Option<Request>,
    /// What the file in the repository says, when it is to be held against what runs.
    pub fly_toml: Option<FlyToml>,
}

/// What must be asked before a deploy of a service can be planned.
pub fn queries(service: &ServiceSpec) -> Vec<Query> {
    let apps = service.stages().filter_map(|(_, stage)| stage.fly_app.clone());
    let apps: Vec<Query> = apps.map(Query::Inventory).collect();
    if apps.is_empty() { apps } else { [apps, vec![Query::Health(Some(service.name.clone()))]].concat() }
}

/// Plans a deploy. Nothing is done before somebody says yes.
///
/// # Errors
/// For want of the right, of an answer from the host, of an image; when it runs already or something is at work.
pub fn ask(
    draft: &mut Draft<'_>,
    who: &Actor,
    service: &ServiceSpec,
    asked: Asked,
    answers: &Answers,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Deploy)?;
    plan(draft, who, service, asked, answers)
}

/// Plans a deploy for whoever may ask for it.
///
/// # Errors
/// As `ask`, but for the right.
pub(super) fn plan(
    draft: &mut Draft<'_>,
    who: &Actor,
    service: &ServiceSpec,
    asked: Asked,
    answers: &Answers,
) -> Result<Text, Refusal> {
    let ctx = draft.ctx;
    let app_of = |stage| About { service, stage }.app();
    let has_staging = app_of(Stage::Staging).is_ok();
    let last = asked.stage.unwrap_or(Stage::Production);
    let inventory = ship::told(answers, app_of(last)?)?;
    let staging = app_of(Stage::Staging).ok().and_then(|app| answers.inventory(app)?.as_ref().ok());
    let image = plan::candidate(inventory, staging.filter(|_| last == Stage::Production), asked.image.as_deref());
    let image = image.map_err(Refusal::Because)?;
    let is_known = gates::did_well(&ctx, &service.name, &image).is_some();
    let on_staging = runs_well_on_staging(&ctx, service, staging, &image, answers);
    let runs_well = !is_known && last == Stage::Production && on_staging.is_ok();
    let stages = match asked.stage {
        None if has_staging && !is_known && !runs_well => vec![Stage::Staging, Stage::Production],
        _ => vec![last],
    };
    let mut plans = Vec::new();
    for stage in stages {
        let about = About { service, stage };
        let inventory = ship::told(answers, about.app()?)?;
        let wanted = ship::wanted(&ctx, about)?;
        let mut plan = plan::forward(inventory, &wanted, &image, asked.strategy).map_err(Refusal::Because)?;
        if let (Stage::Staging, Err(why)) = (stage, &on_staging)
            && plan.from.image.is(&image)
        {
            plan.notes.insert(0, words::there_again(why));
        }
        plans.push(plan);
    }
    let Some((first, then)) = plans.split_first() else { return Err(Refusal::Broken) };
    let last = plans.last().unwrap_or(first);
    if last.machines.iter().all(|machine| machine.image.is(&last.to.image)) {
        return Err(Refusal::because(format!("{} runs {} already.", last.app, last.to.words())));
    }
    for plan in &plans {
        ship::refuse_while_busy(&ctx, plan)?;
    }
    let differs = asked.fly_toml.as_ref().map_or(Vec::new(), |file| file.differs(plans.iter()));
    if !differs.is_empty() {
        return Err(Refusal::because(pipeline::other_fly_toml(&differs)));
    }
    let stages: Vec<&Plan> = plans.iter().collect();
    let (by, health) = (&who.person, answers.health.as_ref());
    let about = gates::About { by, stages: &stages, was_staged: false, runs_on_staging: runs_well, health };
    let checks = gates::look(&ctx, &about);
    if runs_well {
        // Seen now: it stands on record as if we had put it there.
        draft.fact(Thing::Team, Fact::Validated { service: service.name.clone(), image: image.clone() });
    }
    let proposal = ship::Proposal {
        plan: first.clone(),
        then: then.to_vec(),
        checks,
        why: asked.why.clone(),
        request: asked.request.clone(),
    };
    let id = ship::propose(draft, who, proposal);
    let deploy = at_hand(draft, id)?;
    pass_as_a_fix(draft, &deploy, &deploy.checks);
    ask_approval(draft, id);
    let deploy = at_hand(draft, id)?;
    Ok(deploys::asked(&draft.ctx, &deploy, deploy.next_due().unwrap_or(draft.ctx.now)))
}

/// A fix for an incident that is open passes what would only make it wait longer, whenever that refuses: its hours may end, or a
/// freeze begin, between the plan and the start, or between two stages. What is passed is on record each time.
pub fn pass_as_a_fix(draft: &mut Draft<'_>, deploy: &Deploy, checks: &[Check]) {
    // A pipeline's sentence is a commit's subject: nobody has written it for the incident.
    let why = deploy.why.as_ref().filter(|_| deploy.request.is_none());
    let Some((incident, why)) = gates::mends(deploy.incident, why) else { return };
    if !draft.incident(incident).is_ok_and(|incident| incident.status.is_open()) {
        return;
    }
    let waivers = draft.deploy(deploy.id).map(|deploy| deploy.waivers.clone()).unwrap_or_default();
    let passed: Vec<Gate> =
        gates::refusing(checks, &waivers).map(|check| check.gate).filter(|gate| gate.yields_to_a_fix()).collect();
    let why = Text::plain(format!("a fix for {incident}: ")).join(why.clone());
    for gate in passed {
        draft.fact(deploy.id, Fact::GateOverridden { gate, by: deploy.by.clone(), why: why.clone() });
    }
}

/// The waivers that stand, what a fix passes by itself among them.
fn waivers(draft: &mut Draft<'_>, deploy: &Deploy, checks: &[Check]) -> Vec<gates::Waiver> {
    pass_as_a_fix(draft, deploy, checks);
    draft.deploy(deploy.id).map(|deploy| deploy.waivers.clone()).unwrap_or_default()
}

/// Whether every machine of staging runs the image, has done so for as long as a deploy of ours is let settle, and is well now,
/// awake: then putting it there once more would show nothing new. Otherwise why that would.
fn runs_well_on_staging(
    ctx: &Ctx<'_>,
    service: &ServiceSpec,
    staging: Option<&Inventory>,
    image: &Image,
    answers: &Answers,
) -> Result<(), &'static str> {
    let Some(staging) = staging else { return Err("what runs there is not known") };
    let is_settled = |release: &Release| {
        let settled_at = release.at.and_then(|at| at.checked_add_signed(ctx.policy.deploys.settle_for.delta()));
        release.is_complete() && settled_at.is_some_and(|at| at <= staging.at)
    };
    let mut stages = answers.health.iter().flat_map(|report| &report.stages);
    let mark = stages.find(|one| one.service == service.name && one.stage == Stage::Staging).map(StageHealth::mark);
    match () {
        () if !staging.machines.iter().all(|machine| machine.image.is(image)) => Err("not every machine has it"),
        () if !staging.machines.iter().any(Running::is_up) => Err("nothing is awake there to be seen"),
        () if !plan::with_image(staging, image).is_some_and(is_settled) => Err("it has not run there long enough"),
        () if mark != Some(Mark::Ok) => Err("it is not seen to be well there now"),
        () => Ok(()),
    }
}

fn at_hand(draft: &Draft<'_>, id: DeployId) -> Result<Deploy, Refusal> {
    draft.deploy(id).cloned().ok_or_else(|| Refusal::because(deploys::unknown(id)))
}

fn waiting(draft: &Draft<'_>, id: DeployId) -> Result<Deploy, Refusal> {
    let deploy = at_hand(draft, id)?;
    if deploy.is_waiting() { Ok(deploy) } else { Err(Refusal::because(deploys::not_waiting(&deploy))) }
}

/// Why whoever asked may approve it themselves; none when they may not.
pub fn own(ctx: &Ctx<'_>) -> Option<String> {
    let may = |roles: &[Role]| ctx.policy.may(roles, Right::Deploy);
    let count = ctx.workspace.people.iter().filter(|member| may(&member.roles)).count();
    let is_few = (1..=usize::from(ctx.policy.deploys.own_approval_up_to)).contains(&count);
    is_few.then(|| match count {
        1 => "nobody else may deploy".to_owned(),
        count => format!("only {count} may deploy"),
    })
}

/// Those who may approve are asked once a plan, when nothing else stands in its way.
pub fn ask_approval(draft: &mut Draft<'_>, id: DeployId) {
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    if deploy.is_waiting() {
        let checks = gates::by_now(&draft.ctx, &deploy);
        pass_as_a_fix(draft, &deploy, &checks);
    }
    let Some(deploy) = draft.deploy(id).cloned() else { return };
    let is_asked = deploy.approval_asked || deploy.approval.is_some() || own(&draft.ctx).is_some();
    if is_asked || !matches!(deploy.phase, Phase::Planned { .. }) || !staged::is_clear(&draft.ctx, &deploy) {
        return;
    }
    draft.fact(id, Fact::ApprovalAsked);
    let until = deploy.next_due().unwrap_or(draft.ctx.now);
    let mut message = Message::line(deploys::approve_please(&draft.ctx, &deploy, until));
    message = message.and(text::reason("you may approve deploys"));
    message.pings = draft.ctx.policy.holders(Right::Approve).iter().map(|role| Ping::Role(role.clone())).collect();
    let action = format!("approve:{}:{}", id.0, deploy.mark());
    let message = message.button(action, "Approve and start", ButtonStyle::Success).button(
        format!("no:{}", id.0),
        "Cancel",
        ButtonStyle::Plain,
    );
    draft.post(id, run::place(&deploy), message);
}

/// What must be asked before a yes counts.
pub fn yes_queries(deploy: &Deploy) -> Vec<Query> {
    let apps = deploy.stages().map(|plan| Query::Inventory(plan.app.clone()));
    apps.chain([Query::Health(Some(deploy.plan.service.clone()))]).collect()
}

/// What a yes would be to, as of now.
struct Fresh {
    plans: Vec<Plan>,
    checks: Vec<Check>,
    drift: Option<String>,
}

fn fresh(draft: &Draft<'_>, deploy: &Deploy, answers: &Answers) -> Result<Fresh, Refusal> {
    let mut plans = Vec::new();
    let mut drift = Vec::new();
    for planned in deploy.stages() {
        let now = plan::again(planned, ship::told(answers, &planned.app)?);
        drift.extend(staged::drift(planned, &now));
        plans.push(now);
    }
    let stages: Vec<&Plan> = plans.iter().collect();
    let (was_staged, health) = (!deploy.passed.is_empty(), answers.health.as_ref());
    let about = gates::About { by: &deploy.by, stages: &stages, was_staged, runs_on_staging: false, health };
    let checks = gates::look(&draft.ctx, &about);
    Ok(Fresh { plans, checks, drift: (!drift.is_empty()).then(|| drift.join("; ")) })
}

/// Whether a yes can count now.
enum Ready {
    /// It is what was planned, and nothing refuses.
    Clear(Fresh),
    /// It is another plan by now; what whoever said yes is told.
    Revised(Text),
}

fn ready(draft: &mut Draft<'_>, deploy: &Deploy, answers: &Answers) -> Result<Ready, Refusal> {
    let fresh = fresh(draft, deploy, answers)?;
    if let Some(what) = fresh.drift.clone() {
        return revised(draft, deploy.id, fresh, &what).map(Ready::Revised);
    }
    let waivers = waivers(draft, deploy, &fresh.checks);
    let refusing: Vec<Check> = gates::refusing(&fresh.checks, &waivers).cloned().collect();
    if refusing.is_empty() { Ok(Ready::Clear(fresh)) } else { Err(Refusal::because(refused(&draft.ctx, &refusing))) }
}

/// A plan that is another by now is shown anew; a yes to what was is none to what is.
fn revised(draft: &mut Draft<'_>, id: DeployId, fresh: Fresh, what: &str) -> Result<Text, Refusal> {
    let mut plans = fresh.plans;
    if plans.is_empty() {
        return Err(Refusal::Broken);
    }
    let first = plans.remove(0);
    staged::revise(draft, id, first, plans, fresh.checks, what.to_owned());
    ask_approval(draft, id);
    Ok(deploys::drifted(id, what))
}

fn is_good(approval: &Approval, deploy: &Deploy, ctx: &Ctx<'_>) -> bool {
    approval.hash == deploy.hash() && approval.until > ctx.now
}

fn refuse_while_observing(draft: &Draft<'_>, deploy: &Deploy) -> Result<(), Refusal> {
    if draft.ctx.state.team.live { Ok(()) } else { Err(Refusal::because(deploys::observing(deploy))) }
}

/// Refuses a yes to an earlier plan than the one that waits now. A button without a mark is of a time before there were any.
///
/// # Errors
/// What has changed since.
pub fn refuse_an_older_plan(draft: &Draft<'_>, id: DeployId, mark: &str) -> Result<(), Refusal> {
    let Some(deploy) = draft.deploy(id).filter(|deploy| deploy.plan.kind == Kind::Deploy && deploy.is_waiting()) else {
        return Ok(());
    };
    let is_it = if mark.is_empty() { deploy.revised.is_none() } else { deploy.mark() == mark };
    if is_it { Ok(()) } else { Err(Refusal::because(deploys::older_plan(deploy))) }
}

/// Somebody approves it; it starts when nothing else stands in its way.
///
/// # Errors
/// For want of the right; when it is one's own.
pub fn approve(draft: &mut Draft<'_>, who: &Actor, id: DeployId, answers: &Answers) -> Result<Text, Refusal> {
    let deploy = waiting(draft, id)?;
    draft.ctx.require(who, Right::Approve)?;
    let own = match deploy.was_asked_by(&who.person) {
        true => Some(own(&draft.ctx).ok_or_else(|| Refusal::because(deploys::own(&draft.ctx)))?),
        false => None,
    };
    refuse_while_observing(draft, &deploy)?;
    let fresh = fresh(draft, &deploy, answers)?;
    if let Some(what) = fresh.drift.clone() {
        return revised(draft, id, fresh, &what);
    }
    approved(draft, &deploy, &who.person, own);
    let waivers = waivers(draft, &deploy, &fresh.checks);
    let refusing: Vec<Check> = gates::refusing(&fresh.checks, &waivers).cloned().collect();
    if refusing.is_empty() {
        return set_off(draft, who, &deploy, fresh);
    }
    let until = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta());
    Ok(deploys::approved_not_started(&deploy, &refusing, until))
}

fn approved(draft: &mut Draft<'_>, deploy: &Deploy, by: &Person, own: Option<String>) {
    let until = draft.after(draft.ctx.policy.deploys.plan_holds_for.delta());
    let approved = Fact::DeployApproved { by: by.clone(), hash: deploy.hash(), until, own };
    draft.fact(deploy.id, approved);
}

/// Somebody says start.
///
/// # Errors
/// For want of the right, of an approval; when a check refuses.
pub fn start(draft: &mut Draft<'_>, who: &Actor, id: DeployId, answers: &Answers) -> Result<Text, Refusal> {
    let deploy = waiting(draft, id)?;
    draft.ctx.require(who, Right::Deploy)?;
    refuse_while_observing(draft, &deploy)?;
    let fresh = match ready(draft, &deploy, answers)? {
        Ready::Clear(fresh) => fresh,
        Ready::Revised(said) => return Ok(said),
    };
    if !deploy.approval.as_ref().is_some_and(|approval| is_good(approval, &deploy, &draft.ctx)) {
        let is_own = deploy.was_asked_by(&who.person);
        let own = own(&draft.ctx);
        match (is_own, own, draft.ctx.policy.may(&who.roles, Right::Approve)) {
            (false, _, true) => approved(draft, &deploy, &who.person, None),
            (_, Some(why), _) => approved(draft, &deploy, &who.person, Some(why)),
            _ => return Err(Refusal::because(deploys::needs_approval(&draft.ctx, &deploy))),
        }
    }
    set_off(draft, who, &deploy, fresh)
}

fn set_off(draft: &mut Draft<'_>, who: &Actor, deploy: &Deploy, fresh: Fresh) -> Result<Text, Refusal> {
    for plan in deploy.stages() {
        ship::refuse_while_busy(&draft.ctx, plan)?;
    }
    let machines: Option<Vec<Running>> = fresh.plans.first().map(|plan| plan.machines.clone());
    let machines = machines.filter(|machines| *machines != deploy.plan.machines);
    run::start(draft, deploy.id, &who.person, machines, fresh.checks);
    Ok(deploys::runs(&draft.ctx, deploy))
}

fn refused(ctx: &Ctx<'_>, refusing: &[Check]) -> String {
    let lines: Vec<String> = refusing
        .iter()
        .map(|check| {
            let past = words::way_past(check.gate, ctx.policy.deploys.may_override(check.gate));
            format!("✗ {}: {}. To pass: {past}.", check.gate.name(), check.says)
        })
        .collect();
    format!("Not started, and nothing was changed.\n{}", lines.join("\n"))
}

/// Somebody passes a check with a reason.
///
/// # Errors
/// When they may not, or it does not refuse.
pub fn waive(draft: &mut Draft<'_>, who: &Actor, id: DeployId, gate: Gate, why: Text) -> Result<Text, Refusal> {
    let deploy = waiting(draft, id)?;
    let holders = draft.ctx.policy.deploys.may_override(gate);
    if !holders.iter().any(|role| role.as_str() == "*" || who.roles.contains(role)) {
        return Err(Refusal::because(deploys::may_not_waive(gate, holders)));
    }
    if why.is_blank() {
        return Err(Refusal::because("A check is passed with a reason: a sentence, for the record."));
    }
    draft.fact(id, Fact::GateOverridden { gate, by: who.person.clone(), why: why.clone() });
    run::tell(draft, &deploy, deploys::waived(&deploy, gate, &who.person, &why));
    ask_approval(draft, id);
    Ok(Text::plain(format!("The {} check is passed for {id}; your reason stands on its card.", gate.name())))
}

/// Somebody ticks a box of the checklist, or clears it.
///
/// # Errors
/// For want of the right; when there is no such box.
pub fn tick(draft: &mut Draft<'_>, who: &Actor, id: DeployId, box_number: usize) -> Result<Message, Refusal> {
    let deploy = waiting(draft, id)?;
    draft.ctx.require(who, Right::Deploy)?;
    let item = draft.ctx.policy.deploys.checklist.get(box_number);
    let item = item.ok_or_else(|| Refusal::because("That box is no longer on the checklist."))?.name.clone();
    let image = deploy.plan.to.image.clone();
    let on = !draft.ticked(&image).contains(&item);
    draft.fact(id, Fact::Ticked { image, item, by: who.person.clone(), is_ticked: on });
    ask_approval(draft, id);
    checklist(draft, id)
}

/// The checklist, a button a box.
///
/// # Errors
/// When the deploy does not wait any more.
pub fn checklist(draft: &Draft<'_>, id: DeployId) -> Result<Message, Refusal> {
    let deploy = waiting(draft, id)?;
    let ticked = draft.ticked(&deploy.plan.to.image);
    let mut message = Message::line(deploys::checklist(&deploy));
    for (at, item) in draft.ctx.policy.deploys.checklist.iter().enumerate() {
        let is_ticked = ticked.contains(&item.name);
        message = message.and(format!("{} {}: {}", if is_ticked { "☑" } else { "☐" }, item.name, item.text));
        let (sign, style) = if is_ticked { ("☑", ButtonStyle::Plain) } else { ("☐", ButtonStyle::Primary) };
        message = message.button(format!("tick:{}:{at}", id.0), format!("{sign} {}", item.name), style);
    }
    Ok(message)
}

/// Somebody puts it off until its hours.
///
/// # Errors
/// For want of the right; when its hours are now, or never come.
pub fn schedule(draft: &mut Draft<'_>, who: &Actor, id: DeployId) -> Result<Text, Refusal> {
    let deploy = waiting(draft, id)?;
    draft.ctx.require(who, Right::Deploy)?;
    let last = deploy.stages().next_back().map_or(Stage::Production, |plan| plan.stage);
    let at = gates::opens(&draft.ctx, last)
        .ok_or_else(|| Refusal::because(format!("{id} need not wait: its hours are now, or none are set.")))?;
    draft.fact(id, Fact::DeployScheduled { at, by: who.person.clone() });
    Ok(deploys::scheduled(&deploy, at))
}

/// Somebody who has nobody to approve it starts it all the same: in a SEV-1 that a person is on, with a reason; those who
/// could have approved it are paged.
///
/// # Errors
/// When there is no such incident, for want of the right, when a check refuses.
pub fn break_glass(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: DeployId,
    why: Text,
    answers: &Answers,
) -> Result<Text, Refusal> {
    let deploy = waiting(draft, id)?;
    draft.ctx.require(who, Right::Deploy)?;
    glass(&draft.ctx, &deploy).ok_or_else(|| Refusal::because(deploys::no_glass()))?;
    if why.is_blank() {
        return Err(Refusal::because("Breaking the glass needs a reason: a sentence, for the record."));
    }
    refuse_while_observing(draft, &deploy)?;
    let fresh = match ready(draft, &deploy, answers)? {
        Ready::Clear(fresh) => fresh,
        Ready::Revised(said) => return Ok(said),
    };
    approved(draft, &deploy, &who.person, Some(format!("glass broken: {}", crate::domain::press::flat(&why))));
    let line = deploys::glass_broken(&deploy, &who.person, &why);
    run::tell(draft, &deploy, line);
    let roles = draft.ctx.policy.holders(Right::Approve);
    let holds = |roles: &[Role], member: &[Role]| member.iter().any(|role| roles.contains(role));
    let people: Vec<Person> = (draft.ctx.workspace.people.iter())
        .filter(|member| member.chat != who.person && holds(roles, &member.roles))
        .map(|member| member.chat.clone())
        .collect();
    draft.page_about(id, &people, &deploys::glass_page(&deploy, &who.name));
    set_off(draft, who, &deploy, fresh)
}

/// The incident that allows it: a SEV-1 of this service that a person is on.
pub fn glass(ctx: &Ctx<'_>, deploy: &Deploy) -> Option<IncidentId> {
    let incident = ctx.state.incidents.get(&deploy.incident?)?;
    (incident.severity == Severity::Sev1 && incident.status.is_open() && incident.is_acknowledged())
        .then_some(incident.id)
}
