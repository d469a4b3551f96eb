//! `/rollback` and `/fly restart`: a plan first; nothing is done before somebody presses its button.

use super::{Command, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::deploy::Kind;
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::input::{Answers, Call, Query};
use crate::domain::message::Choice;
use crate::domain::press::flat;
use crate::domain::refusal::Refusal;
use crate::domain::verbs::ship::{self, About, Asked};

/// `/rollback`.
pub const ROLLBACK: Command = Command {
    spec: || {
        about(CommandSpec::slash("rollback", "Put the release before this one back: a plan, then one button"))
            .takes(
                "to",
                "v41, a tag or a whole image; the newest that ended well when left out",
                OptionKind::Completed("releases"),
            )
            .takes("why", "A sentence for the record", OptionKind::Text { chars_max: 500 })
    },
    needs,
    decide: |ctx, call, answers| decide(ctx, call, answers, Kind::Rollback),
};

/// `/fly restart`.
pub const RESTART: Command = Command {
    spec: || {
        about(CommandSpec::slash("fly restart", "Start its machines anew, one after another: a plan, then one button"))
            .takes("why", "A sentence for the record", OptionKind::Text { chars_max: 500 })
            .in_group("Machines at Fly")
    },
    needs,
    decide: |ctx, call, answers| decide(ctx, call, answers, Kind::Restart),
};

pub(super) fn about(spec: CommandSpec) -> CommandSpec {
    let which = "Which; the one that the incident touches when left out";
    stage_option(spec.takes("service", which, OptionKind::Completed("services")))
}

pub(super) fn stage_option(spec: CommandSpec) -> CommandSpec {
    let stages = vec![Choice::new("production", "production"), Choice::new("staging", "staging")];
    spec.takes("stage", "production when left out", OptionKind::Choice(stages))
}

pub(super) fn meant<'a>(ctx: &Ctx<'a>, call: &Call) -> Result<About<'a>, Refusal> {
    About::meant(ctx, call.word("service").as_deref(), call.word("stage").as_deref(), &call.place)
}

fn needs(ctx: &Ctx<'_>, call: &Call) -> Vec<Query> {
    meant(ctx, call).map_or(Vec::new(), |about| about.queries())
}

fn decide(ctx: Ctx<'_>, call: &Call, answers: &Answers, kind: Kind) -> Result<Decision, Refusal> {
    let about = meant(&ctx, call)?;
    let asked = Asked { to: call.text("to").map(|to| flat(&to)), why: call.text("why") };
    let mut draft = Draft::new(ctx);
    let message = ship::plan(&mut draft, &call.who, about, kind, asked, answers)?;
    Ok(draft.done(only_you(message)))
}
