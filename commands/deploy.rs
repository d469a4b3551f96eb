//! `/deploy`, and keeping things as they are: `/fly freeze`, `/fly thaw`, `/fly lock`, `/fly unlock`.

use super::Command;
use super::rollback::{about, meant};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::deploy::Strategy;
use crate::domain::draft::{Ctx, Draft};
use crate::domain::ids::Service;
use crate::domain::input::Call;
use crate::domain::message::Choice;
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::verbs::deploy::{self, Asked};
use crate::domain::verbs::hold;

/// `/deploy`.
pub const DEPLOY: Command = Command {
    spec: || {
        let stages = [("production", "production only"), ("staging", "staging only")];
        let stages = stages.into_iter().map(|(value, label)| Choice::new(value, label)).collect();
        let strategies = Strategy::ALL.into_iter().map(|one| Choice::new(one.name(), one.name())).collect();
        CommandSpec::slash("deploy", "Put another image up: a plan with its checks first; nothing is done before a yes")
            .takes("service", "Which; the only one when left out", OptionKind::Completed("services"))
            .takes(
                "image",
                "v43, a tag or a whole image; what staging runs, or the newest, when left out",
                OptionKind::Completed("images"),
            )
            .takes("stage", "staging and then production when left out", OptionKind::Choice(stages))
            .takes("strategy", "rolling when left out", OptionKind::Choice(strategies))
            .takes(
                "why",
                "What it is for; a fix for an open incident passes window, freeze and health with it",
                OptionKind::Text { chars_max: 500 },
            )
            .with_right(Right::Deploy)
    },
    needs: |ctx, call| meant(ctx, call).map_or(Vec::new(), |about| deploy::queries(about.service)),
    decide: |ctx, call, answers| {
        let about = meant(&ctx, call)?;
        let strategy = match call.word("strategy").as_deref() {
            None => Strategy::default(),
            Some(named) => Strategy::named(named)
                .ok_or_else(|| Refusal::because(format!("“{named}” is no strategy: rolling, canary or immediate.")))?,
        };
        let stage = call.word("stage").map(|_| about.stage);
        let asked = Asked { image: call.word("image"), stage, strategy, why: call.text("why"), ..Asked::default() };
        let mut draft = Draft::new(ctx);
        let line = deploy::ask(&mut draft, &call.who, about.service, asked, answers)?;
        Ok(draft.say(line))
    },
};

/// `/fly freeze`.
pub const FREEZE: Command = Command {
    spec: || {
        CommandSpec::slash("fly freeze", "Keep production as it is until then; a rollback still goes")
            .needs("why", "Why; whoever is refused reads it", OptionKind::Text { chars_max: 500 })
            .takes(
                "until",
                "2h, 14:00, 2026-12-24; until `/fly thaw` when left out",
                OptionKind::Text { chars_max: 40 },
            )
            .takes("service", "Which; all when left out", OptionKind::Completed("services"))
    },
    needs: super::nothing,
    decide: |ctx, call, _| {
        let until = call.word("until").map(|typed| hold::until(&ctx, &typed)).transpose()?;
        let service = named(&ctx, call)?;
        let mut draft = Draft::new(ctx);
        let line = hold::freeze(&mut draft, &call.who, service, until, call.text("why"))?;
        Ok(draft.say(line))
    },
};

/// `/fly thaw`.
pub const THAW: Command = Command {
    spec: || {
        CommandSpec::slash("fly thaw", "End a freeze").takes(
            "service",
            "Which; the freeze of all when left out",
            OptionKind::Completed("services"),
        )
    },
    needs: super::nothing,
    decide: |ctx, call, _| {
        let service = named(&ctx, call)?;
        let mut draft = Draft::new(ctx);
        let line = hold::thaw(&mut draft, &call.who, service)?;
        Ok(draft.say(line))
    },
};

/// `/fly lock`.
pub const LOCK: Command = Command {
    spec: || {
        about(CommandSpec::slash(
            "fly lock",
            "Keep a service to yourself: nobody else deploys to it; a rollback still goes",
        ))
        .takes("why", "Why; whoever is refused reads it", OptionKind::Text { chars_max: 500 })
        .with_right(Right::Deploy)
    },
    needs: super::nothing,
    decide: |ctx, call, _| {
        let about = meant(&ctx, call)?;
        let mut draft = Draft::new(ctx);
        let line = hold::lock(&mut draft, &call.who, about, call.text("why"))?;
        Ok(draft.say(line))
    },
};

/// `/fly unlock`.
pub const UNLOCK: Command = Command {
    spec: || about(CommandSpec::slash("fly unlock", "Give a service back to everybody")).with_right(Right::Deploy),
    needs: super::nothing,
    decide: |ctx, call, _| {
        let about = meant(&ctx, call)?;
        let mut draft = Draft::new(ctx);
        let line = hold::unlock(&mut draft, &call.who, about)?;
        Ok(draft.say(line))
    },
};

/// The service that was named; none when none was.
fn named(ctx: &Ctx<'_>, call: &Call) -> Result<Option<Service>, Refusal> {
    let Some(_) = call.word("service") else { return Ok(None) };
    Ok(Some(meant(ctx, call)?.service.name.clone()))
}
