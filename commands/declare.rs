//! `/sev1`, `/sev2`, `/sev3`: something broke.

use super::{Command, nothing, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::input::{Answers, Call};
use crate::domain::policy::{Right, Severity};
use crate::domain::press;
use crate::domain::refusal::Refusal;
use crate::domain::verbs::open::{Declared, Opener, open, similar, told};

/// `/sev1`.
pub const SEV1: Command = Command {
    spec: || spec(Severity::Sev1),
    needs: nothing,
    decide: |ctx, call, _: &Answers| declare(ctx, call, Severity::Sev1),
};
/// `/sev2`.
pub const SEV2: Command = Command {
    spec: || spec(Severity::Sev2),
    needs: nothing,
    decide: |ctx, call, _: &Answers| declare(ctx, call, Severity::Sev2),
};
/// `/sev3`.
pub const SEV3: Command = Command {
    spec: || spec(Severity::Sev3),
    needs: nothing,
    decide: |ctx, call, _: &Answers| declare(ctx, call, Severity::Sev3),
};

fn spec(severity: Severity) -> CommandSpec {
    let help = match severity {
        Severity::Sev1 => "Customers cannot work: open it; wakes those on call unless you are",
        Severity::Sev2 => "It works poorly: open an incident and call people",
        Severity::Sev3 => "A nuisance: open an incident for working hours",
    };
    CommandSpec::slash(severity.key(), help)
        .with_right(Right::Declare)
        .needs("title", "What is broken, in a few words", OptionKind::Text { chars_max: 300 })
        .takes("service", "The service it touches", OptionKind::Completed("services"))
        .takes("details", "What you see, since when, for whom", OptionKind::Text { chars_max: 2_000 })
        .takes("announce", "Tell the announcements channel (as the policy says when left out)", OptionKind::Flag)
        .takes("anyway", "Open a new one even if one like it is open", OptionKind::Flag)
}

fn declare(ctx: Ctx<'_>, call: &Call, severity: Severity) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(ctx);
    draft.ctx.require(&call.who, Right::Declare)?;
    let title = call
        .text("title")
        .map(|text| crate::domain::timeline::plain(&ctx, &text))
        .filter(|title| !title.trim().is_empty())
        .ok_or_else(|| Refusal::because("Say in a few words what is broken: `/sev1 checkout is down`."))?;
    let services = match call.word("service") {
        None => ctx
            .workspace
            .services
            .iter()
            .filter(|service| mentions(&title, service))
            .map(|service| service.name.clone())
            .collect(),
        Some(name) => {
            vec![ctx.service_named(&name)?.name.clone()]
        }
    };
    let details = call.text("details").unwrap_or_default();
    let declared = Declared { severity, title, services, details, announce: call.flag("announce") };
    if call.flag("anyway") != Some(true) {
        let alike = similar(&draft, &declared);
        if !alike.is_empty() {
            let message = press::offer_similar(&declared, &alike);
            return Ok(draft.done(only_you(message)));
        }
    }
    let id = open(&mut draft, Opener::Person(&call.who), declared)?;
    let line = told(&draft, id)?;
    Ok(draft.say(line))
}

/// Whether a title names a service, so that nobody has to say it twice.
fn mentions(title: &str, service: &crate::domain::workspace::ServiceSpec) -> bool {
    let title = title.to_lowercase();
    let named = std::iter::once(service.name.as_str()).chain(service.aliases.iter().map(String::as_str));
    named
        .map(str::to_lowercase)
        .any(|name| title.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').any(|word| word == name))
}
