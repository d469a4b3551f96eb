//! What the bot says about deploys, rollbacks and restarts.
//!
//! Pure. One function a sentence, as in `text.rs`.

use chrono::{DateTime, Utc};

use super::{capital, span};
use crate::domain::deploy::gates::{self, Check, Gate};
use crate::domain::deploy::{Deploy, Kind, Machine, Phase, Plan, Verdict, board};
use crate::domain::draft::Ctx;
use crate::domain::ids::{DeployId, Person, Role};
use crate::domain::message::Text;
use crate::domain::policy::Right;
use crate::domain::workspace::Stage;

/// Characters of what a probe says that are shown.
const SAYS_CHARS_MAX: usize = 160;

/// "roll back checkout to v41", "restart checkout (staging)".
pub fn intent(plan: &Plan) -> String {
    let service = match plan.stage {
        Stage::Production => plan.service.to_string(),
        Stage::Staging => format!("{} (staging)", plan.service),
    };
    match plan.kind {
        Kind::Deploy => format!("deploy {} to {service}", plan.to.image),
        Kind::Rollback => format!("roll back {service} to {}", plan.to.short()),
        Kind::Restart => format!("restart {service}"),
        Kind::Scale => super::scale::intent(plan.scale.as_ref(), &service),
    }
}

/// "DEP-3 Roll back checkout to v41".
pub fn headline(deploy: &Deploy) -> String {
    let plan = &deploy.plan;
    // What ended on one stage is of that stage: the next was never begun.
    if deploy.then.is_empty() || ended_here(deploy) {
        return format!("{} {}", deploy.id, capital(&intent(plan)));
    }
    let stages: Vec<&str> = deploy.stages().map(|plan| plan.stage.name()).collect();
    format!("{} Deploy {} to {} ({})", deploy.id, plan.to.image, plan.service, stages.join(", then "))
}

/// Whether it was started and is over, with stages left that were not begun.
pub fn ended_here(deploy: &Deploy) -> bool {
    let is_judged = deploy.verdict.is_some_and(|verdict| verdict != Verdict::Cancelled);
    is_judged && deploy.started_at.is_some() && !deploy.then.is_empty()
}

/// Somebody said yes.
pub fn started(deploy: &Deploy, by: &Person) -> Text {
    if deploy.by_itself {
        return Text::plain(format!("{}: started by me", headline(deploy)))
            .text(", on behalf of ")
            .person(by)
            .text(".");
    }
    Text::plain(format!("{}: started by ", headline(deploy))).person(by).text(".")
}

/// It is not done in time, or will not be.
pub fn late(deploy: &Deploy, now: DateTime<Utc>) -> Text {
    let (done, all) = (deploy.done(), deploy.machines.len());
    let since = deploy.started_at.map(|at| span(now - at)).unwrap_or_default();
    let word = match deploy.late_at {
        Some(at) if at > now => "it will not be done in time",
        _ => "it is not done in time",
    };
    Text::plain(format!(
        "{}: {word}: {done} of {all} machines after {since}. It goes on. If waiting is worse, a restart of the machines stops it and \
         brings up what each has by then.",
        headline(deploy)
    ))
}

/// What came of it.
pub fn judged(deploy: &Deploy, verdict: Verdict, seen: &str, now: DateTime<Utc>) -> Text {
    let took = deploy.started_at.map(|at| span(now - at)).unwrap_or_default();
    let seen = capital(seen.trim_end_matches('.'));
    // Who is woken by it must not go looking at production.
    let spared = match deploy.plan.stage {
        Stage::Staging if !verdict.is_good() => " Production was not touched.",
        _ => "",
    };
    let line = Text::plain(format!("{}: {}", headline(deploy), verdict.words()));
    stopped(line, deploy).text(format!(".{spared} {seen}. It took {took}."))
}

/// Whoever asked for it is asked, where figures alone speak against it.
pub const ASKS_WHETHER: &str = "For errors or latency alone I take nothing back by myself: that is yours to say.";

/// What a probe saw that was not well: "health: answered 500 in 12 ms".
pub fn failing(probe: &str, says: &str, answered: bool) -> String {
    let says = super::short(says, SAYS_CHARS_MAX);
    if answered { format!("{probe}: {says}, far too slow") } else { format!("{probe}: {says}") }
}

/// "; stopped by @ana", behind what came of it; nothing where nobody said stop.
pub fn stopped(line: Text, deploy: &Deploy) -> Text {
    let Some(by) = &deploy.stopped_by else { return line };
    let left_some = !deploy.then.is_empty() || deploy.machines.contains(&Machine::Left);
    match left_some {
        true => line.text("; stopped by ").person(by),
        false => line.text("; ").person(by).text(" said stop when the last machine was in hand"),
    }
}

/// Somebody said yes, and it runs: what, and where it can be watched.
pub fn runs(ctx: &Ctx<'_>, deploy: &Deploy) -> Text {
    // "Give checkout 512 MB of memory runs" is no sentence.
    let what = if deploy.plan.kind == Kind::Scale { deploy.id.to_string() } else { headline(deploy) };
    let thread = deploy.incident.and_then(|id| ctx.state.incidents.get(&id)?.thread.as_ref());
    match thread {
        Some(thread) => Text::plain(format!("{what} runs. Its card, in ")).place(thread).text(", shows how far it is."),
        None => Text::plain(format!("{what} runs. Its card shows how far it is.")),
    }
}

/// What a stop still does, for whoever says it.
pub fn stops(deploy: &Deploy) -> Text {
    let (id, plan) = (deploy.id, &deploy.plan);
    let next = if deploy.then.is_empty() { "" } else { " The next stage is not begun." };
    let is_under_way = matches!(deploy.phase, Phase::Opening | Phase::Preparing { .. } | Phase::Rolling);
    let has_waiting = deploy.machines.contains(&Machine::Waiting);
    let line = match (is_under_way, has_waiting) {
        (false, _) => return Text::plain(format!("{id} stops: what is done stays done, the next stage is not begun.")),
        (true, true) => format!("{id} stops: the machine in hand is finished, no other is begun."),
        (true, false) if plan.kind.ships() => {
            let back =
                Text::plain(format!("{id}: the last machine is in hand; all will run {}.{next}", plan.to.short()));
            return back.text(" To go back: ").code("/rollback").text(".");
        }
        (true, false) => format!("{id}: the last machine is in hand; nothing is left to stop."),
    };
    Text::plain(format!("{line}{next}"))
}

/// Who asked is told what to do next.
pub fn planned(ctx: &Ctx<'_>, deploy: &Deploy, until: DateTime<Utc>) -> Text {
    let plan = &deploy.plan;
    let now = if plan.kind == Kind::Scale { super::scale::now(plan) } else { plan.from.words() };
    // A number says little at 3 a.m.: the image is what people know.
    let image = plan.to.version.filter(|_| plan.kind == Kind::Rollback).map(|_| format!(" ({})", plan.to.image));
    let mut line = Text::plain(format!("{}{}, now {now}. ", headline(deploy), image.unwrap_or_default()));
    if plan.kind != Kind::Scale {
        let machines = super::gates::machines(plan.machines.len());
        line = line.text(format!("{machines}, {} at once; {}. ", plan.at_once, board::expected(ctx, deploy)));
    }
    for warning in plan.notes.iter().filter(|note| note.starts_with('⚠')) {
        line = line.text(format!("{warning} "));
    }
    line.text("Nothing is done before somebody presses ")
        .bold(board::yes(plan))
        .text("; that counts until ")
        .clock(until)
        .text(".")
}

/// Who asked for a deploy is told what stands in its way, or who has to say yes.
pub fn asked(ctx: &Ctx<'_>, deploy: &Deploy, until: DateTime<Utc>) -> Text {
    let last = deploy.stages().next_back().unwrap_or(&deploy.plan);
    let head = format!("{}, now {}. Nothing is done before somebody says yes", headline(deploy), last.from.words());
    let line = Text::plain(head).text("; that counts until ").clock(until).text(".");
    let refusing: Vec<&str> = {
        let checks = gates::by_now(ctx, deploy);
        gates::refusing(&checks, &deploy.waivers).map(|check| check.gate.name()).collect()
    };
    match (refusing.is_empty(), deploy.approval_asked) {
        (false, _) => line.text(format!(" Not yet: {}. The card says how to go on.", refusing.join(", "))),
        (true, true) => {
            line.text(format!(" I have asked {} to approve it.", super::roles(ctx.policy.holders(Right::Approve))))
        }
        (true, false) => line.text(" Press ").bold("Start").text(" on its card."),
    }
}

/// Those who may approve it, asked once.
pub fn approve_please(ctx: &Ctx<'_>, deploy: &Deploy, until: DateTime<Utc>) -> Text {
    let by = super::clock(until, ctx.workspace.team.zone);
    let line = Text::plain(format!("{}: approve by {by}? Asked by ", headline(deploy))).person(&deploy.by);
    let line = super::pipeline::asked_by(line, deploy.request.as_ref());
    match &deploy.why {
        Some(why) => line.text(": ").join(why.clone()),
        None => line.text("."),
    }
}

/// Approved, and something else stands in the way.
pub fn approved_not_started(deploy: &Deploy, refusing: &[Check], until: DateTime<Utc>) -> Text {
    let why: Vec<String> = refusing.iter().map(check).collect();
    Text::plain(format!("{} is approved until ", deploy.id))
        .clock(until)
        .text(format!(", and not started: {}. Once that is cleared, press Start on its card.", why.join("; ")))
}

/// The plan is another by now.
pub fn drifted(id: DeployId, what: &str) -> Text {
    Text::plain(format!(
        "Not started, and nothing was changed: since {id} was planned, {what}. Its card shows the plan as it is now; \
         a yes to the old one does not count for it."
    ))
}

/// A yes to a plan that is another by now.
pub fn older_plan(deploy: &Deploy) -> String {
    let what = deploy.revised.as_deref().unwrap_or("it was planned anew");
    format!(
        "Not counted, and nothing was changed: that button is of an earlier plan of {}. Since then, {what}. Look at its card and \
         press there.",
        deploy.id
    )
}

/// Nobody else has said yes.
pub fn needs_approval(ctx: &Ctx<'_>, deploy: &Deploy) -> String {
    let whom = super::roles(ctx.policy.holders(Right::Approve));
    let glass = " In a SEV-1 that somebody is on, “Break glass” starts it without.";
    match &deploy.approval {
        Some(_) => format!("The approval of {} has run out, or is of another plan. Ask {whom} again.", deploy.id),
        None => format!("{} needs a yes from {whom}, and not from whoever asked for it.{glass}", deploy.id),
    }
}

/// Somebody approves their own.
pub fn own(ctx: &Ctx<'_>) -> String {
    let whom = super::roles(ctx.policy.holders(Right::Approve));
    format!("You asked for it: somebody else of {whom} has to approve it.")
}

/// Nothing is done while observing.
pub fn observing(deploy: &Deploy) -> String {
    format!(
        "I am only observing and change nothing. Live, I would now {}. `/watchbell live` lets me.",
        intent(&deploy.plan)
    )
}

/// "window: closed: it opens at 10:00".
pub fn check(check: &Check) -> String {
    format!("{}: {}", check.gate.name(), check.says)
}

/// Somebody may not pass a check.
pub fn may_not_waive(gate: Gate, holders: &[Role]) -> String {
    match holders {
        [] => format!("Nobody may pass the {} check: policy.toml, [deploys.override], names no one.", gate.name()),
        holders => format!("Only {} may pass the {} check.", super::roles(holders), gate.name()),
    }
}

/// Somebody passed a check.
pub fn waived(deploy: &Deploy, gate: Gate, by: &Person, why: &Text) -> Text {
    Text::plain(format!("{}: ", deploy.id))
        .person(by)
        .text(format!(" passes the {} check: ", gate.name()))
        .join(why.clone())
}

/// The checklist's head.
pub fn checklist(deploy: &Deploy) -> Text {
    Text::plain(format!(
        "What has to be seen to before {} goes to production; ticks stay with the image:",
        deploy.plan.to.image
    ))
}

/// It waits for its hours.
pub fn scheduled(deploy: &Deploy, at: DateTime<Utc>) -> Text {
    Text::plain(format!("{} waits until ", deploy.id))
        .time(at, crate::domain::message::TimeStyle::Full)
        .text(". I tell you then; nothing is done before a yes.")
}

/// Its hours have come.
pub fn awaited(ctx: &Ctx<'_>, deploy: &Deploy, until: DateTime<Utc>, may_start: bool) -> Text {
    let line = Text::plain(format!("{}: its hours have come. ", headline(deploy)));
    match may_start {
        true => line.text("Start it by ").clock(until).text("."),
        false => {
            let whom = super::roles(ctx.policy.holders(Right::Approve));
            line.text(format!("It needs a yes from {whom} by ")).clock(until).text(".")
        }
    }
}

/// A rollback is at work, as whoever asks for another hears it.
pub fn going_back(ctx: &Ctx<'_>, deploy: &Deploy) -> Text {
    let by = deploy.late_at.or(deploy.started_at.map(|at| at + ctx.policy.deploys.rollback_within.delta()));
    let (done, all) = (deploy.done(), deploy.machines.len());
    let line = Text::plain(format!("{} is under way: {done} of {all} machines", headline(deploy)));
    let line = match by {
        Some(by) if deploy.is_late_at(ctx.now) => line.text("; late, it was to be done by ").clock(by),
        Some(by) => line.text("; to be done by ").clock(by),
        None => line,
    };
    line.text(".")
}

/// What a yes to another rollback does to the one at work.
pub fn takes_over(deploy: &Deploy) -> String {
    format!("A yes stops {}: the machine in hand is finished, then this one begins.", deploy.id)
}

/// There is no incident that allows it.
pub fn no_glass() -> String {
    "The glass is broken only for a SEV-1 of this service that somebody has acknowledged.".to_owned()
}

/// Somebody started it without an approval.
pub fn glass_broken(deploy: &Deploy, by: &Person, why: &Text) -> Text {
    Text::plain(format!("{}: ", deploy.id))
        .person(by)
        .text(" breaks the glass, without an approval: ")
        .join(why.clone())
}

/// Those who could have approved it are paged.
pub fn glass_page(deploy: &Deploy, by: &str) -> String {
    format!("{by} started {} without an approval. Look at it.", headline(deploy))
}

/// One stage is done.
pub fn stage_done(deploy: &Deploy, seen: &str) -> Text {
    let next = deploy.then.first().map_or("", |plan| plan.stage.name());
    let seen = seen.trim_end_matches('.');
    Text::plain(format!("{}: {} done. {}. Now {next}.", deploy.id, deploy.plan.stage.name(), capital(seen)))
}

/// One stage is done, and the next waits for another yes.
pub fn waits(deploy: &Deploy, what: &str) -> Text {
    let stage = deploy.plan.stage.name();
    Text::plain(format!("{}: {stage} waits for another yes: {what}. Its card has the button.", headline(deploy)))
}

/// It is taken back without being asked.
pub fn taken_back(failed: &Deploy, back: DeployId) -> Text {
    let (id, plan) = (failed.id, &failed.plan);
    let (image, service) = (&plan.to.image, &plan.service);
    let (place, spared) = match plan.stage {
        Stage::Production => ("", ""),
        Stage::Staging => ("staging of ", " Production was not touched."),
    };
    Text::plain(format!(
        "I am taking back {id}, {image} on {place}{service}: it did not do well.{spared} The card of {back} shows how far."
    ))
}

/// Why it is taken back.
pub fn undo_why(deploy: &Deploy) -> Text {
    Text::plain(format!("{} failed", deploy.id))
}

/// "DEP-5 took v43 back".
pub fn did(deploy: &Deploy) -> String {
    let (id, plan) = (deploy.id, &deploy.plan);
    match plan.kind {
        Kind::Rollback => format!("{id} took {} back", plan.from.short()),
        Kind::Deploy => format!("{id} put {} up", plan.to.image),
        Kind::Restart => format!("{id} restarted it"),
        Kind::Scale => format!("{id} was to {}", intent(plan)),
    }
}

/// It was called off before it began: why, and the way on.
fn called_off(deploy: &Deploy) -> String {
    let plan = &deploy.plan;
    let why = deploy.seen.as_deref().unwrap_or("it was called off");
    let on = match plan.stage {
        Stage::Production => String::new(),
        Stage::Staging => " stage:staging".to_owned(),
    };
    let service = &plan.service;
    let again = match plan.kind {
        Kind::Rollback => format!("`/rollback service:{service}{on} to:{}`", plan.to.image.short()),
        Kind::Deploy => format!("`/deploy service:{service} image:{}`", plan.to.image.short()),
        Kind::Restart => format!("`/fly restart service:{service}{on}`"),
        Kind::Scale => "Its command".to_owned(),
    };
    format!("{} was called off: {why}. {again} makes a plan of it again.", deploy.id)
}

/// It is over, or never was.
pub fn not_waiting(deploy: &Deploy) -> String {
    match (deploy.verdict, &deploy.started_by) {
        (Some(Verdict::Cancelled), None) => called_off(deploy),
        (Some(verdict), _) => format!("{} is over: {}.", deploy.id, verdict.words()),
        (None, _) => format!("{} runs already. Its card shows how far it is.", deploy.id),
    }
}

/// There is no such deploy any more.
pub fn unknown(id: DeployId) -> String {
    format!("{id} is no longer at hand. `/deploy`, `/rollback` or `/fly restart` makes a new plan.")
}
