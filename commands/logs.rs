//! `/logs`: what a service writes, a page at a time, for whoever asks.

use super::rollback::stage_option;
use super::{Command, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::input::Call;
use crate::domain::logs::{CONTAINS_CHARS_MAX, Filter, Reach};
use crate::domain::message::Choice;
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::verbs::logs::{self, Turn, Typed, Wanted};

/// `/logs`.
pub const COMMAND: Command = Command {
    spec: || {
        let filters = [
            (Filter::Errors, "errors: levels, statuses, Fly's codes, how programs ended"),
            (Filter::Slow, "slow: what took longer than it should"),
            (Filter::Health, "health: checks, machines that come up or end"),
            (Filter::All, "all: every line"),
        ];
        let filters = filters.map(|(one, label)| Choice::new(one.word(), label)).to_vec();
        let service = "Which, several with commas, or all; the one that the incident touches when left out";
        stage_option(
            CommandSpec::slash("logs", "What a service writes into its log, secrets masked; only you see it")
                .takes("service", service, OptionKind::Completed("services"))
                .takes("filter", "errors when left out", OptionKind::Choice(filters)),
        )
        .takes("since", "How far back: 30m, 2h, 1d; 1h when left out", OptionKind::Text { chars_max: 20 })
        .takes("contains", "Only lines with these words", OptionKind::Text { chars_max: CONTAINS_CHARS_MAX })
        .takes("follow", "Post what comes into a thread here, for 10 minutes or 200 lines", OptionKind::Flag)
        .with_right(Right::Respond)
    },
    needs: |ctx, call| match wanted(ctx, call) {
        Ok((wanted, reach)) => logs::queries(ctx.workspace, &wanted, Turn::Page(reach)),
        Err(_) => Vec::new(),
    },
    decide: |ctx, call, answers| {
        ctx.require(&call.who, Right::Respond)?;
        let (wanted, reach) = wanted(&ctx, call)?;
        let (mut draft, turn) = (Draft::new(ctx), Turn::Page(reach));
        let message = if call.flag("follow") == Some(true) {
            logs::page_and_follow(&mut draft, &call.who, &wanted, turn, answers, &call.place)?
        } else {
            logs::page(&draft, &call.who, &wanted, turn, answers)?
        };
        Ok(draft.done(only_you(message)))
    },
};

fn wanted(ctx: &Ctx<'_>, call: &Call) -> Result<(Wanted, Reach), Refusal> {
    let word = |name: &str| call.word(name);
    let (service, stage, filter) = (word("service"), word("stage"), word("filter"));
    let (since, contains) = (word("since"), word("contains"));
    let typed = Typed {
        service: service.as_deref(),
        stage: stage.as_deref(),
        filter: filter.as_deref(),
        since: since.as_deref(),
        contains: contains.as_deref(),
    };
    Wanted::typed(ctx, typed, &call.place)
}
