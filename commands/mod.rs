//! The slash commands: one pure file each, and the one list they stand in.
//!
//! A command parses and words; what it means is a verb of the domain. Registration, `/help` and docs/commands.md derive from
//! [`ALL`]. May import the domain and nothing else.

mod ack;
mod alerts;
mod declare;
mod deploy;
mod fly;
mod health;
mod help;
mod incident;
mod logs;
mod metrics;
mod on_message;
mod oncall;
mod resolve;
mod rollback;
mod targets;
mod update;
mod watchbell;

use std::collections::BTreeMap;

use crate::domain::answer::{Answer, CompletionAsk};
use crate::domain::bot;
use crate::domain::command_spec::CommandSpec;
use crate::domain::deploy::known;
use crate::domain::draft::{Ctx, Decision};
use crate::domain::health::Transition;
use crate::domain::input::{Answers, Arg, Call, InputKind, Query};
use crate::domain::message::{Choice, Message, Text};
use crate::domain::refusal::Refusal;
use crate::domain::releases::{Released, ledger};
use crate::domain::text::releases as words;
use crate::domain::workspace::Stage;
use crate::domain::{press, text};

/// One command: what it is called, what it must ask first, what it does.
#[derive(Clone, Copy)]
pub struct Command {
    /// Name, help, options, right.
    pub spec: fn() -> CommandSpec,
    /// What the outside must be asked before it can be decided.
    pub needs: fn(&Ctx<'_>, &Call) -> Vec<Query>,
    /// What it does.
    pub decide: fn(Ctx<'_>, &Call, &Answers) -> Result<Decision, Refusal>,
}

/// Characters of a choice's value that a chat carries.
const VALUE_CHARS_MAX: usize = 100;

/// Every command there is, in the order of `/help`.
pub const ALL: &[Command] = &[
    declare::SEV1,
    declare::SEV2,
    declare::SEV3,
    ack::COMMAND,
    update::COMMAND,
    resolve::COMMAND,
    incident::LIST,
    incident::SHOW,
    incident::TIMELINE,
    incident::NOTE,
    incident::SEVERITY,
    incident::STATUS,
    incident::LEAD,
    incident::PART,
    incident::HANDOFF,
    incident::SNOOZE,
    incident::TIMES,
    incident::SERVICES,
    incident::WAKE,
    incident::CANCEL,
    incident::REOPEN,
    incident::REVIEW,
    incident::EXPORT,
    health::COMMAND,
    alerts::LIST,
    alerts::RULES,
    alerts::SILENCE,
    alerts::SILENCES,
    alerts::UNSILENCE,
    targets::TARGETS,
    targets::BASELINE,
    logs::COMMAND,
    metrics::COMMAND,
    deploy::DEPLOY,
    rollback::ROLLBACK,
    rollback::RESTART,
    fly::MACHINES,
    fly::RELEASES,
    fly::SECRETS,
    fly::HISTORY,
    fly::MEMORY,
    fly::CPU,
    fly::COUNT,
    fly::AUTOSTOP,
    fly::ZERO,
    fly::START,
    deploy::FREEZE,
    deploy::THAW,
    deploy::LOCK,
    deploy::UNLOCK,
    oncall::SHOW,
    oncall::TAKE,
    oncall::SWAP,
    oncall::TEST,
    watchbell::STATUS,
    watchbell::SCHEDULE,
    watchbell::RUN,
    watchbell::LIVE,
    watchbell::OBSERVE,
    help::COMMAND,
    on_message::ADD_TO_TIMELINE,
    on_message::USE_AS_UPDATE,
];

/// The specs of all commands, in order.
pub fn specs() -> Vec<CommandSpec> {
    ALL.iter().map(|command| (command.spec)()).collect()
}

fn find(name: &str) -> Option<&'static Command> {
    ALL.iter().find(|command| (command.spec)().name == name)
}

/// What the outside must be asked before an input can be decided.
pub fn needs(ctx: &Ctx<'_>, input: &InputKind) -> Vec<Query> {
    match input {
        InputKind::Call(call) => find(&call.command).map_or(Vec::new(), |command| (command.needs)(ctx, call)),
        other => bot::needs(ctx, other),
    }
}

/// Decides about any input: the front door of the whole bot.
///
/// # Errors
/// A sentence for whoever asked.
pub fn decide(
    ctx: Ctx<'_>,
    input: &InputKind,
    answers: &Answers,
    changed: Option<&Transition>,
) -> Result<Decision, Refusal> {
    match input {
        InputKind::Call(call) => match find(&call.command) {
            Some(command) => (command.decide)(ctx, call, answers),
            None => Err(Refusal::because(format!(
                "I don't know the command “{}”. `/help` lists what I know.",
                text::short(&call.command, 40)
            ))),
        },
        other => bot::decide(ctx, other, answers, changed),
    }
}

/// What completes what people type, as of the newest record: small enough to be kept beside the loop.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    /// Incidents, the open ones first, the newest first.
    pub incidents: Vec<Choice>,
    /// Services.
    pub services: Vec<Choice>,
    /// Jobs.
    pub jobs: Vec<Choice>,
    /// Releases that can be gone back to, by service and stage; newest first.
    pub releases: ByStage,
    /// Images of all releases, those that failed too, by service and stage; newest first.
    pub images: ByStage,
}

/// Choices for one copy of one service.
pub type ByStage = BTreeMap<(String, String), Vec<Choice>>;

/// The lists as of now.
pub fn lists(ctx: &Ctx<'_>) -> Lists {
    /// Incidents that are offered; more than anybody scrolls through.
    const INCIDENTS_MAX: usize = 200;
    let mut held: Vec<_> = ctx.state.incidents.values().collect();
    held.sort_by_key(|incident| (!incident.status.is_open(), std::cmp::Reverse(incident.id)));
    let incident = |incident: &&crate::domain::incident::Incident| {
        let label = format!("{} ({})", text::head(incident), incident.status.name());
        Choice::new(incident.id.to_string(), label)
    };
    let named = |name: &str| Choice::new(name, name);
    let (releases, images) = of_releases(ctx);
    Lists {
        releases,
        images,
        incidents: held.iter().take(INCIDENTS_MAX).map(incident).collect(),
        services: ctx.workspace.services.iter().map(|service| named(service.name.as_str())).collect(),
        jobs: ctx.policy.jobs.iter().map(|job| named(&job.name)).collect(),
    }
}

/// What the ledger offers for each copy of each service: what can be gone back to, and every image once.
fn of_releases(ctx: &Ctx<'_>) -> (ByStage, ByStage) {
    let zone = ctx.workspace.team.zone;
    let (mut releases, mut images) = (ByStage::new(), ByStage::new());
    for service in &ctx.workspace.services {
        for (stage, spec) in service.stages() {
            let Some(ledger) = ledger(ctx, &service.name, stage) else { continue };
            let key = (service.name.to_string(), stage.name().to_owned());
            let against = |one: &Released| known::against(ctx, spec.fly_app.as_deref()?, &one.image);
            let choice = |one: &Released| words::choice(one, against(one), zone);
            // What was taken back is there for whoever wants it, behind what was not.
            let mut earlier: Vec<&Released> = ledger.earlier().collect();
            earlier.sort_by_key(|one| against(one).is_some());
            let earlier = earlier.into_iter().map(|one| Choice::new(format!("v{}", one.version), choice(one)));
            releases.insert(key.clone(), earlier.collect());
            let mut once: Vec<Choice> = Vec::new();
            for one in &ledger.releases {
                // What a chat cannot carry as a choice can still be typed.
                let fits = one.image.reference.chars().count() <= VALUE_CHARS_MAX;
                if fits && !once.iter().any(|known| known.value == one.image.reference) {
                    once.push(Choice::new(one.image.reference.clone(), choice(one)));
                }
            }
            images.insert(key, once);
        }
        // What staging runs is what production gets next.
        let of = |stage: Stage| (service.name.to_string(), stage.name().to_owned());
        if let (Some(staged), Some(known)) =
            (images.get(&of(Stage::Staging)).cloned(), images.get_mut(&of(Stage::Production)))
        {
            let is_new = |one: &Choice| !known.iter().any(|known| known.value == one.value);
            let staged =
                staged.into_iter().filter(is_new).map(|one| Choice { label: words::on_staging(&one.label), ..one });
            *known = staged.chain(known.clone()).collect();
        }
    }
    (releases, images)
}

/// The list for the service and stage that are typed already; the only service's when none is.
fn of_service<'a>(lists: &'a ByStage, services: &[Choice], ask: &CompletionAsk) -> &'a [Choice] {
    let typed = |name: &str| match ask.args.get(name) {
        Some(Arg::Text(text)) => Some(press::flat(text)).filter(|word| !word.is_empty()),
        _ => None,
    };
    let only = || match services {
        [only] => Some(only.value.clone()),
        _ => None,
    };
    let Some(service) = typed("service").or_else(only) else { return &[] };
    let stage = typed("stage").unwrap_or_else(|| Stage::Production.name().to_owned());
    lists.get(&(service, stage)).map_or(&[], Vec::as_slice)
}

/// What could follow what somebody has typed so far.
pub fn complete(lists: &Lists, ask: &CompletionAsk) -> Vec<Choice> {
    /// What a chat shows at most.
    const CHOICES_MAX: usize = 25;
    let all = match find(&ask.command).and_then(|command| (command.spec)().completion(&ask.option)) {
        Some("incidents") => lists.incidents.as_slice(),
        Some("services") => &lists.services,
        Some("jobs") => &lists.jobs,
        Some("releases") => of_service(&lists.releases, &lists.services, ask),
        Some("images") => of_service(&lists.images, &lists.services, ask),
        _ => &[],
    };
    let typed = ask.typed.to_lowercase();
    let fits =
        |choice: &&Choice| choice.value.to_lowercase().contains(&typed) || choice.label.to_lowercase().contains(&typed);
    let mut fitting: Vec<&Choice> = all.iter().filter(fits).collect();
    // A chat takes the first for what was meant: the very number or name, then what begins with it, then the rest.
    fitting.sort_by_key(|choice| {
        let value = choice.value.to_lowercase();
        let number = value.rsplit('-').next().unwrap_or(&value);
        match () {
            () if value == typed || number == typed => 0,
            () if value.starts_with(&typed) || number.starts_with(&typed) => 1,
            () => 2,
        }
    });
    fitting.into_iter().take(CHOICES_MAX).cloned().collect()
}

/// Nothing has to be asked.
fn nothing(_: &Ctx<'_>, _: &Call) -> Vec<Query> {
    Vec::new()
}

/// The incident option that many commands share.
fn incident_option() -> crate::domain::command_spec::OptionKind {
    crate::domain::command_spec::OptionKind::Completed("incidents")
}

/// An answer that only the person who asked sees, saying which incident was meant when it was guessed.
fn told(guessed: bool, incident: &crate::domain::incident::Incident, line: Text) -> Text {
    if guessed { Text::plain(text::meant(incident)).join(line) } else { line }
}

/// A message that only the person who asked sees.
fn only_you(message: Message) -> Option<Answer> {
    Some(Answer::Say { message, only_you: true })
}

/// The commands as people read them in docs/commands.md.
pub fn document() -> String {
    let mut out = String::from(
        "# Commands\n\nThis page is written by `watchbell commands`; a test fails when it is out of step.\n\n\
         `*` marks an option that must be given. A command that names no incident means the one whose thread it is typed in, \
         or the only one open.\n\n",
    );
    for spec in specs() {
        let slash = match spec.kind {
            crate::domain::command_spec::CommandKind::Slash => "/",
            crate::domain::command_spec::CommandKind::OnMessage => "Message menu: ",
        };
        out.push_str(&format!("## {slash}{}\n\n{}\n\n", spec.name, spec.help));
        match spec.right {
            Some(right) => out.push_str(&format!("Needs the right to {}.\n\n", right.name())),
            None => out.push_str("For everybody.\n\n"),
        }
        for option in &spec.options {
            let star = if option.required { "*" } else { "" };
            out.push_str(&format!("- `{}`{star}: {}\n", option.name, option.help));
        }
        if !spec.options.is_empty() {
            out.push('\n');
        }
    }
    // One line end at the end of the file.
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Refused, as an answer.
pub fn refused(refusal: &Refusal) -> Answer {
    press::refused(refusal)
}
