//! `/alerts targets`: every target of the policy, how each service stands against it and since when. `/alerts baseline`: figures kept
//! with a release, and what has drifted since.

use super::metrics::{asked, of};
use super::rollback::{about, meant};
use super::{Command, only_you};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::fact::Fact;
use crate::domain::figures::baseline::{self, Baseline, Drift};
use crate::domain::figures::{Over, Shown, every_production, questions, read};
use crate::domain::health::Mark;
use crate::domain::ids::Thing;
use crate::domain::input::{Answers, Call};
use crate::domain::message::{Card, Choice, Message, Text, Tone};
use crate::domain::policy::{Right, Target};
use crate::domain::refusal::Refusal;
use crate::domain::releases::ledger;
use crate::domain::rules;
use crate::domain::text::metrics as words;
use crate::domain::workspace::Stage;

use chrono::TimeDelta;

/// How far back is looked to say since when something is as it is.
const SINCE_MAX: TimeDelta = TimeDelta::hours(24);

/// `/alerts targets`.
pub const TARGETS: Command = Command {
    spec: || CommandSpec::slash("alerts targets", "Every target: what is measured now, ✓ ⚠ ✗, and since when"),
    needs: |ctx, _| questions(ctx, &every_production(ctx), Over::last(SINCE_MAX, ctx.now)),
    decide: |ctx, _, answers| {
        let (all, over) = (every_production(&ctx), Over::last(SINCE_MAX, ctx.now));
        let words_at = (ctx.now, ctx.workspace.team.zone);
        let mut marks = Vec::new();
        let mut card = Card::new(words::TARGETS, Tone::Quiet);
        if all.is_empty() {
            card = card.line(words::NO_APPS);
        }
        for target in &ctx.policy.targets {
            let shown = Shown { figure: target.figure, target: Some(target) };
            let is_measured = target.figure.is_some() || target.query.is_some();
            let mut lines = Vec::new();
            for of in all.iter().filter(|of| is_measured && target.is_about(of.service)) {
                let reading = read(&shown, of, over, answers);
                marks.push(reading.as_ref().map_or(Mark::Unknown, |reading| reading.mark));
                lines.push(words::against(of.service.as_str(), &shown, &reading, words_at));
            }
            for (about, value) in seen_by_rule(&ctx, target) {
                let mark = value.map_or(Mark::Unknown, |value| target.judge(value));
                marks.push(mark);
                lines.push(words::seen_by_rule(about, mark, value, target.unit()));
            }
            if let Some(rule) = &target.rule
                && lines.is_empty()
            {
                lines.push(format!("{} {}", Mark::Unknown, words::no_rule(rule)));
            } else if !is_measured && target.rule.is_none() {
                lines.push(format!("{} {}", Mark::Unknown, words::not_measured(target)));
            }
            let name = words::target_row(
                &target.name,
                &target.wanted(),
                &words::means(&ctx, target, Mark::Warning),
                &words::means(&ctx, target, Mark::Critical),
            );
            card = card.row(name, lines.join("\n"));
        }
        card.tone = words::tone(&marks);
        Ok(Draft::new(ctx).done(only_you(Message::card(card))))
    },
};

/// What the rule of a target sees, service by service in production.
fn seen_by_rule<'a>(ctx: &Ctx<'a>, target: &Target) -> Vec<(&'a str, Option<f64>)> {
    let rule = target.rule.as_ref().and_then(|name| ctx.policy.alerts.rules.iter().find(|rule| rule.name == *name));
    let Some(rule) = rule else { return Vec::new() };
    let about = rules::subjects(ctx.workspace, rule).into_iter();
    let seen = |about: rules::About<'a>| {
        let (service, _, _) = about
            .of
            .filter(|(service, stage, app)| *stage == Stage::Production && app.is_some() && target.is_about(service))?;
        let one = ctx.state.measured.rules.of(rule, &about);
        Some((service.as_str(), one.filter(|one| one.is_known()).and_then(rules::Followed::value)))
    };
    about.filter_map(seen).collect()
}

/// `/alerts baseline`.
pub const BASELINE: Command = Command {
    spec: || {
        let deeds = vec![Choice::new("record", "record"), Choice::new("compare", "compare")];
        about(
            CommandSpec::slash(
                "alerts baseline",
                "Keep a service's figures with its release, or say what drifted since",
            )
            .needs(
                "do",
                "record: keep those of the last 24 h. compare: hold them against what was kept",
                OptionKind::Choice(deeds),
            ),
        )
        .with_right(Right::Respond)
    },
    needs: |ctx, call| asked(ctx, call, Over::last(baseline::OVER, ctx.now)),
    decide: |ctx, call, answers| {
        ctx.require(&call.who, Right::Respond)?;
        match call.word("do").as_deref() {
            Some("record") => record(ctx, call, answers),
            _ => compare(ctx, call, answers),
        }
    },
};

fn record(ctx: Ctx<'_>, call: &Call, answers: &Answers) -> Result<Decision, Refusal> {
    let of = of(&meant(&ctx, call)?)?;
    let named = words::about(of.service.as_str(), of.stage);
    let (figures, without) = baseline::measured(&of, Over::last(baseline::OVER, ctx.now), answers);
    if figures.is_empty() {
        return Err(Refusal::because(words::nothing_to_keep(&named, &baseline::why_nothing(&without))));
    }
    let runs = ledger(&ctx, of.service, of.stage)
        .and_then(|ledger| ledger.releases.iter().find(|one| one.status == "complete"));
    let version = runs.map(|release| release.version);
    let mut card = Card::new(words::recorded(&named, version, baseline::OVER), Tone::Good);
    for (figure, kept) in &figures {
        card = card.line(words::kept(*figure, kept));
    }
    for (figure, why) in &without {
        card = card.line(format!("{} {}: {why}", Mark::Unknown, words::name(*figure)));
    }
    let baseline = Baseline { service: of.service.clone(), stage: of.stage, version, at: ctx.now, figures };
    let mut draft = Draft::new(ctx);
    draft.fact(Thing::Team, Fact::BaselineRecorded { baseline, by: call.who.person.clone() });
    Ok(draft.done(only_you(Message::card(card))))
}

fn compare(ctx: Ctx<'_>, call: &Call, answers: &Answers) -> Result<Decision, Refusal> {
    let of = of(&meant(&ctx, call)?)?;
    let named = words::about(of.service.as_str(), of.stage);
    let kept = ctx.state.team.baselines.iter().rev().find(|baseline| baseline.is_of(&of));
    let kept = kept.ok_or_else(|| Refusal::because(words::no_baseline(&named)))?;
    let beside = baseline::compare(kept, &of, Over::last(baseline::OVER, ctx.now), answers);
    let drifted = beside.iter().filter(|(_, drift)| matches!(drift, Drift::Worse { .. })).count();
    let known = beside.iter().filter(|(_, drift)| !matches!(drift, Drift::NotNow { .. })).count();
    let tone = match (drifted, known) {
        (_, 0) => Tone::Quiet,
        (0, _) => Tone::Good,
        _ => Tone::Warn,
    };
    let mut card = Card::new(words::compared(&named, drifted, known), tone);
    for (figure, drift) in &beside {
        card = card.line(words::drift(*figure, drift));
    }
    let zone = ctx.workspace.team.zone;
    let card = card.line(Text::plain(words::baseline_of(&named, kept, ctx.now, zone)));
    Ok(Draft::new(ctx).done(only_you(Message::card(card))))
}
