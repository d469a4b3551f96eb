//! `/metrics`: the figures of a service as a picture and in words, each against its target.

use super::Command;
use super::rollback::{about, meant};
use crate::domain::answer::Answer;
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::figures::picture::{Read, chart};
use crate::domain::figures::{Missing, Of, Over, of_service, questions, read};
use crate::domain::health::Mark;
use crate::domain::input::{Answers, Call, Query};
use crate::domain::message::{Card, Message, Text};
use crate::domain::policy::Span;
use crate::domain::refusal::Refusal;
use crate::domain::text::metrics as words;
use crate::domain::verbs::ship::About;

/// The time that is shown when nothing else is said.
const WINDOW_DEFAULT: Span = Span::minutes(6 * 60);
/// The shortest time that is shown, and the longest: Fly keeps figures for some fifteen days.
const WINDOW: (Span, Span) = (Span::minutes(15), Span::minutes(14 * 24 * 60));

/// `/metrics`.
pub const COMMAND: Command = Command {
    spec: || {
        about(CommandSpec::slash(
            "metrics",
            "Latency, errors, memory, CPU and restarts as a picture, against the targets",
        ))
        .takes("window", "How far back: 1h, 6h, 24h, 7d; 6h when left out", OptionKind::Text { chars_max: 20 })
        .takes("share", "Show it to everybody here", OptionKind::Flag)
    },
    needs: |ctx, call| {
        let (Ok(about), Ok(window)) = (meant(ctx, call), window(call)) else { return Vec::new() };
        of(&about).map_or(Vec::new(), |of| questions(ctx, &[of], Over::last(window.delta(), ctx.now)))
    },
    decide,
};

fn window(call: &Call) -> Result<Span, Refusal> {
    let Some(typed) = call.word("window") else { return Ok(WINDOW_DEFAULT) };
    let (least, most) = WINDOW;
    let read: Option<Span> = typed.parse().ok().filter(|span| (least..=most).contains(span));
    read.ok_or_else(|| Refusal::because(words::bad_window(&typed, least.delta(), most.delta())))
}

/// Whose figures are meant.
///
/// # Errors
/// When it has no such stage, or no app.
pub(super) fn of<'a>(about: &About<'a>) -> Result<Of<'a>, Refusal> {
    let has_stage = about.service.stages().any(|(stage, _)| stage == about.stage);
    match about.app() {
        Ok(app) => Ok(Of { service: &about.service.name, stage: about.stage, app }),
        Err(_) if has_stage => Err(Refusal::because(words::no_app(about.service.name.as_str()))),
        Err(refusal) => Err(refusal),
    }
}

fn decide(ctx: Ctx<'_>, call: &Call, answers: &Answers) -> Result<Decision, Refusal> {
    let about = meant(&ctx, call)?;
    let window = window(call)?.delta();
    let of = of(&about)?;
    let over = Over::last(window, ctx.now);
    let found: Read<'_> = of_service(&ctx, of.service)
        .into_iter()
        .map(|shown| {
            let reading = read(&shown, &of, over, answers);
            (shown, reading)
        })
        .collect();
    let zone = ctx.workspace.team.zone;
    let has_target = || found.iter().filter(|(shown, _)| shown.target.is_some());
    let judged = has_target().filter(|(_, reading)| !matches!(reading, Err(Missing::NotMeasured(_))));
    let marks: Vec<Mark> =
        judged.map(|(_, reading)| reading.as_ref().map_or(Mark::Unknown, |reading| reading.mark)).collect();
    let named = words::about(of.service.as_str(), of.stage);
    let mut card = Card::new(words::headline(&named, &marks, has_target().count() - marks.len()), words::tone(&marks));
    for line in words::lines(&found, ctx.now, zone) {
        card = card.line(line);
    }
    let card = card.line(Text::plain(words::over(window)));
    let mut message = Message::card(card);
    // A picture of nothing at all says less than the words.
    if found.iter().any(|(_, reading)| reading.as_ref().is_ok_and(|reading| reading.newest.is_some())) {
        message = message.picture(chart(&ctx, &of, over, &found));
    }
    let only_you = call.flag("share") != Some(true);
    Ok(Draft::new(ctx).done(Some(Answer::Say { message, only_you })))
}

/// What must be asked for these over a time; nothing when it is not clear of what.
pub(super) fn asked(ctx: &Ctx<'_>, call: &Call, over: Over) -> Vec<Query> {
    let of = meant(ctx, call).and_then(|about| of(&about));
    of.map_or(Vec::new(), |of| questions(ctx, &[of], over))
}
