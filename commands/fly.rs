//! `/fly machines`, `/fly releases`, `/fly secrets`, `/fly history`: how an app at Fly is, what was released, what was changed. And
//! what scales it: `/fly memory`, `/fly cpu`, `/fly count`, `/fly autostop`, `/fly zero`, `/fly start`: a plan first, or its name typed out.

use super::rollback::{about, meant};
use super::{Command, only_you};
use crate::domain::answer::Answer;
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::deploy::scale::Scale;
use crate::domain::deploy::{Deploy, known};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::hosting::Autostop;
use crate::domain::input::{Answers, Call, Query};
use crate::domain::message::Choice;
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::text::fly;
use crate::domain::verbs::ship::{self, About};
use crate::domain::verbs::{back, scale};

/// `/fly machines`.
pub const MACHINES: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly machines", "How each machine is: state, region, image, checks, size"))
            .with_right(Right::Respond)
    },
    needs: |ctx, call| {
        let Ok(about) = meant(ctx, call) else { return Vec::new() };
        let mut queries = to_look_at(&about);
        queries.push(Query::Health(Some(about.service.name.clone())));
        queries
    },
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let app = about.app()?;
        let stages = answers.health.iter().flat_map(|report| &report.stages);
        let look = stages.filter(|stage| stage.service == about.service.name && stage.stage == about.stage);
        let look = look.filter_map(|stage| stage.app.as_ref()).find(|look| look.machines.is_ok());
        let inventory = match ship::told(answers, app) {
            Ok(inventory) => Some(inventory),
            Err(refusal) if look.is_none() => return Err(refusal),
            Err(_) => None,
        };
        let message = fly::machines(app, look, inventory);
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/fly releases`.
pub const RELEASES: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly releases", "The newest releases: image, status, who, when; which runs"))
            .with_right(Right::Respond)
    },
    needs: |ctx, call| meant(ctx, call).map_or(Vec::new(), |about| to_look_at(&about)),
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let inventory = ship::told(answers, about.app()?)?;
        let message = fly::releases(&ctx, inventory).map_err(Refusal::Because)?;
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/fly secrets`.
pub const SECRETS: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly secrets", "Names and digests of secrets, live or staged; never a value"))
            .with_right(Right::Respond)
    },
    needs: |ctx, call| meant(ctx, call).map_or(Vec::new(), |about| to_look_at(&about)),
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let inventory = ship::told(answers, about.app()?)?;
        let message = fly::secrets(inventory).map_err(Refusal::Because)?;
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// `/fly history`.
pub const HISTORY: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly history", "The last changes I made or planned: what, who, when, what came of it"))
            .with_right(Right::Respond)
    },
    needs: |_, _| vec![Query::Changes(CHANGES_READ_MAX)],
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        ctx.require(&call.who, Right::Respond)?;
        let name = &about.service.name;
        let mut all: Vec<&Deploy> = ctx.state.team.deploys.values().chain(answers.changes.iter().flatten()).collect();
        all.sort_by_key(|deploy| std::cmp::Reverse(deploy.id));
        let is_all = answers.changes.is_some() && all.len() >= ctx.state.team.deploys_used as usize;
        let is_meant = |deploy: &&Deploy| {
            let passed = deploy.passed.iter().any(|passed| passed.stage == about.stage);
            // One that ended before the stage was on its way to it.
            let was_to_come = deploy.stages().any(|plan| plan.stage == about.stage);
            deploy.plan.service == *name && (was_to_come || passed)
        };
        let taken_back_by = |deploy: &Deploy| known::taken_back_by(all.iter().rev().copied(), deploy);
        let message = fly::history(name.as_str(), all.iter().copied().filter(is_meant), taken_back_by, is_all);
        Ok(Draft::new(ctx).done(only_you(message)))
    },
};

/// Changes that are read back from the record for one answer, of all services.
const CHANGES_READ_MAX: u16 = 60;
/// The most memory of one machine, in MB: what the largest has.
const MEMORY_MB_MAX: i64 = 1_048_576;
/// The most CPUs of one machine.
const CPUS_MAX: i64 = 128;
/// The most machines that an app may have up.
const UP_MAX: i64 = 1_000;

/// `/fly memory`.
pub const MEMORY: Command = Command {
    spec: || {
        why(group(about(
            CommandSpec::slash("fly memory", "Give each machine other memory: a plan, then one button").needs(
                "mb",
                "How much, in MB",
                OptionKind::Number { min: 256, max: MEMORY_MB_MAX },
            ),
        )))
    },
    needs,
    decide: |ctx, call, answers| {
        let memory_mb = number(call, "mb")?;
        plan(ctx, call, answers, Scale::Memory { memory_mb, group: call.word("group") })
    },
};

/// `/fly cpu`.
pub const CPU: Command = Command {
    spec: || {
        let kinds = ["shared", "performance"].map(|kind| Choice::new(kind, kind)).to_vec();
        let spec = CommandSpec::slash("fly cpu", "Give each machine other CPUs: a plan, then one button").needs(
            "cpus",
            "How many",
            OptionKind::Number { min: 1, max: CPUS_MAX },
        );
        let spec = about(spec).takes("kind", "The kind it has when left out", OptionKind::Choice(kinds));
        let memory = OptionKind::Number { min: 256, max: MEMORY_MB_MAX };
        why(group(spec.takes("memory", "In MB; what it has when left out", memory)))
    },
    needs,
    decide: |ctx, call, answers| {
        let cpus = number(call, "cpus")?;
        let memory_mb = call.number("memory").map(|_| number(call, "memory")).transpose()?;
        let (cpu_kind, group) = (call.word("kind"), call.word("group"));
        plan(ctx, call, answers, Scale::Cpu { cpus, cpu_kind, memory_mb, group })
    },
};

/// `/fly count`.
pub const COUNT: Command = Command {
    spec: || {
        let spec =
            CommandSpec::slash("fly count", "Have so many machines up: starts or stops some, makes and destroys none")
                .needs("up", "How many", OptionKind::Number { min: 0, max: UP_MAX });
        why(group(about(spec)))
    },
    needs,
    decide: |ctx, call, answers| {
        let up = number(call, "up")?;
        plan(ctx, call, answers, Scale::Count { up, group: call.word("group") })
    },
};

/// `/fly autostop`.
pub const AUTOSTOP: Command = Command {
    spec: || {
        let words = [
            (Autostop::Off, "off: it runs on"),
            (Autostop::Stop, "stop: stopped when nobody asks"),
            (Autostop::Suspend, "suspend: its memory is kept, it wakes faster"),
        ];
        let words = words.map(|(one, label)| Choice::new(one.word(), label)).to_vec();
        why(about(
            CommandSpec::slash("fly autostop", "What becomes of machines that nobody asks; a request wakes them")
                .needs("to", "What", OptionKind::Choice(words)),
        ))
    },
    needs,
    decide: |ctx, call, answers| {
        let word = call.word("to").unwrap_or_default();
        let autostop = Autostop::read(&word)
            .ok_or_else(|| Refusal::because(format!("“{word}” is none of: off, stop, suspend.")))?;
        plan(ctx, call, answers, Scale::Autostop { autostop })
    },
};

/// `/fly zero`.
pub const ZERO: Command = Command {
    spec: || {
        about(CommandSpec::slash(
            "fly zero",
            "Emergency: stop every machine, off line for everybody; typed out to confirm",
        ))
    },
    needs: super::nothing,
    decide: |ctx, call, _| {
        let about = meant(&ctx, call)?;
        let draft = Draft::new(ctx);
        let form = scale::zero_form(&draft, &call.who, about)?;
        Ok(draft.done(Some(Answer::Open(form))))
    },
};

/// `/fly start`.
pub const START: Command = Command {
    spec: || {
        why(about(CommandSpec::slash("fly start", "Start again what was scaled to zero: a plan, then one button")))
    },
    needs,
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        let mut draft = Draft::new(ctx);
        let planned = draft.next_deploy();
        let line = scale::start_again(&mut draft, &call.who, about, call.text("why"), answers)?;
        let message = back::with_yes(&draft, planned, line);
        Ok(draft.done(only_you(message)))
    },
};

fn group(spec: CommandSpec) -> CommandSpec {
    spec.takes("group", "The process group; the only one when left out", OptionKind::Text { chars_max: 60 })
}

fn why(spec: CommandSpec) -> CommandSpec {
    spec.takes("why", "A sentence for the record", OptionKind::Text { chars_max: 500 })
}

fn number<N: TryFrom<i64>>(call: &Call, name: &str) -> Result<N, Refusal> {
    let number = call.number(name).and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| Refusal::because(format!("Give a number: `{name}`.")))
}

fn plan(ctx: Ctx<'_>, call: &Call, answers: &Answers, what: Scale) -> Result<Decision, Refusal> {
    let about = meant(&ctx, call)?;
    let mut draft = Draft::new(ctx);
    let planned = draft.next_deploy();
    let line = scale::plan(&mut draft, &call.who, about, what, call.text("why"), answers)?;
    let message = back::with_yes(&draft, planned, line);
    Ok(draft.done(only_you(message)))
}

/// For whoever only looks.
fn to_look_at(about: &About<'_>) -> Vec<Query> {
    about.app().map(|app| Query::Inspect(app.to_owned())).into_iter().collect()
}

fn needs(ctx: &Ctx<'_>, call: &Call) -> Vec<Query> {
    meant(ctx, call).map_or(Vec::new(), |about| about.queries())
}
