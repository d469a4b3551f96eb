//! What is done by the calendar: the digest, reminders, and when each comes next.
//!
//! Pure. A job that fell due while the bot was away runs once, late, and says so.

use chrono::{DateTime, Utc};

use super::deploy::day;
use super::draft::{Ctx, Draft};
use super::effect::Target;
use super::fact::Fact;
use super::health::{self, Mark};
use super::ids::Thing;
use super::input::{Answers, Query};
use super::message::{ButtonStyle, Card, Message, Text, Tone};
use super::policy::{Job, JobKind};
use super::promise::PromiseKind;
use super::refusal::Refusal;
use super::schedule::Schedule;
use super::sizing;
use super::state::State;
use super::text;

/// How late a job may run before it says so.
const LATE_AFTER: chrono::TimeDelta = chrono::TimeDelta::minutes(2);

/// Suggestions that get a button.
const SUGGESTED_MAX: usize = 4;

/// What a digest has to ask before it is written.
pub fn digest_needs(ctx: &Ctx<'_>) -> Vec<Query> {
    let always = [Query::Health(None), Query::Head, Query::Changes(day::READ_MAX)];
    always.into_iter().chain(sizing::questions(ctx)).collect()
}

/// Jobs that are due by `now`.
pub fn due(state: &State, now: DateTime<Utc>) -> Vec<String> {
    let is_due = |next: Option<DateTime<Utc>>| next.is_some_and(|next| next <= now);
    state.team.jobs.iter().filter(|(_, job)| is_due(job.next)).map(|(name, _)| name.clone()).collect()
}

/// When a job runs next after an instant.
pub fn next(ctx: &Ctx<'_>, job: &Job, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    /// Runs skipped for holidays in a row before a job is taken to run never.
    const SKIPS_MAX: usize = 400;
    let schedule = Schedule::parse(&job.cron).ok()?;
    let zone = ctx.workspace.team.zone;
    let mut at = schedule.next_after(zone, after)?;
    for _ in 0..SKIPS_MAX {
        let date = at.with_timezone(&zone).date_naive();
        if job.on_holidays || ctx.policy.holidays.on(date).is_none() {
            return Some(at);
        }
        at = schedule.next_after(zone, at)?;
    }
    None
}

/// Plans every job of the policy anew; those that the policy has no more are dropped.
pub fn plan(draft: &mut Draft<'_>) {
    let now = draft.now();
    let (state, policy) = (draft.ctx.state, draft.ctx.policy);
    for job in &policy.jobs {
        let known = state.team.jobs.get(&job.name);
        // What has fallen due and was not run stays due: it is caught up with.
        if known.and_then(|job| job.next).is_some_and(|next| next <= now) {
            continue;
        }
        let next = next(&draft.ctx, job, now);
        if known.is_none_or(|known| known.next != next) {
            draft.fact(Thing::Team, Fact::JobPlanned { job: job.name.clone(), next });
        }
    }
    let gone = state
        .team
        .jobs
        .iter()
        .filter(|(name, state)| state.next.is_some() && !policy.jobs.iter().any(|job| job.name == **name));
    for (name, _) in gone {
        draft.fact(Thing::Team, Fact::JobPlanned { job: name.clone(), next: None });
    }
}

/// Runs a job, because it is due or because somebody asked.
///
/// # Errors
/// When there is no such job.
pub fn run(draft: &mut Draft<'_>, name: &str, asked: bool, answers: &Answers) -> Result<(), Refusal> {
    let now = draft.now();
    let (ctx, state) = (draft.ctx, draft.ctx.state);
    let Some(job) = ctx.policy.jobs.iter().find(|job| job.name == name) else {
        if state.team.jobs.get(name).is_some_and(|job| job.next.is_some()) {
            draft.fact(Thing::Team, Fact::JobPlanned { job: name.to_owned(), next: None });
            return Ok(());
        }
        let names: Vec<&str> = ctx.policy.jobs.iter().map(|job| job.name.as_str()).collect();
        return Err(Refusal::because(format!("There is no job “{name}”. There are: {}.", names.join(", "))));
    };
    let due = state.team.jobs.get(name).and_then(|job| job.next).filter(|due| *due <= now);
    if due.is_none() && !asked {
        return Ok(());
    }
    let missed = due.map_or(0, |due| missed(&ctx, job, due, now));
    let mut message = match job.does {
        JobKind::Digest => digest(&ctx, state.team.jobs.get(name).and_then(|job| job.last), answers),
        JobKind::Remind => Message::line(format!("{}: {}", text::capital(&job.name), job.text)),
    };
    if let Some(due) = due.filter(|due| now - *due > LATE_AFTER) {
        let line = Text::plain(format!("Late: this was due {}", local(&ctx, due)));
        message = message.and(match missed {
            0 => line.text("; I was away."),
            n => line.text(format!("; I was away, and {n} further run(s) are left out.")),
        });
    }
    if job.does == JobKind::Digest && !state.team.live && state.team.held_back != (0, 0) {
        draft.fact(Thing::Team, Fact::HeldBackTold);
    }
    draft.fact(Thing::Team, Fact::JobRan { job: name.to_owned(), due, missed, next: next(&ctx, job, now) });
    draft.post(Thing::Team, Target::Incidents, message);
    Ok(())
}

/// Further runs between the one that was due and now.
fn missed(ctx: &Ctx<'_>, job: &Job, due: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
    const MISSED_MAX: u32 = 1_000;
    let mut count = 0;
    let mut at = due;
    while count < MISSED_MAX {
        match next(ctx, job, at) {
            Some(later) if later <= now => {
                count += 1;
                at = later;
            }
            _ => break,
        }
    }
    count
}

/// The morning's post. `last` is when it was written before.
fn digest(ctx: &Ctx<'_>, last: Option<DateTime<Utc>>, answers: &Answers) -> Message {
    let mut card = Card::new(format!("Daily digest · {}", local(ctx, ctx.now)), Tone::Quiet);
    let open: Vec<_> = ctx.state.open().collect();
    card = card.row(
        "Open incidents",
        if open.is_empty() { Text::plain("none") } else { Text::plain(listing(open.iter().map(|i| text::head(i)))) },
    );
    let reviews: Vec<String> = ctx
        .state
        .incidents
        .values()
        .filter_map(|incident| {
            let review = incident.promise(PromiseKind::Review)?;
            Some(if review.due < ctx.now { format!("{} (late)", text::head(incident)) } else { text::head(incident) })
        })
        .collect();
    if !reviews.is_empty() {
        card = card.row("Reviews not written", listing(reviews.into_iter()));
    }
    match &answers.health {
        Some(report) => {
            let worst = report.mark();
            card.tone = match worst {
                Mark::Ok => Tone::Good,
                Mark::Critical => Tone::Bad,
                _ => Tone::Warn,
            };
            let lines: Vec<String> =
                health::lines(report).into_iter().map(|(mark, line)| format!("{} {line}", mark.sign())).collect();
            card = card.row("Health", lines.join("\n"));
        }
        None => card = card.row("Health", "? could not be looked at"),
    }
    if let Some(changes) = day::told(ctx, last, answers) {
        card = card.row("Changes", changes);
    }
    let sizes = sizing::suggest(ctx, answers);
    if !sizes.is_empty() {
        card = card.row("Sizes", listing(sizes.iter().map(text::scale::suggested)));
    }
    if let Some((person, until)) = ctx.on_call() {
        card = card.row(
            "On call",
            Text::default().person(&person).text(", until ").time(until, super::message::TimeStyle::Full),
        );
    }
    // Last: it is for the day on which somebody has to know whether the record was cut off.
    if let Some(head) = &answers.head {
        card = card.row("Record", text::record_head(head));
    }
    if !ctx.state.team.live {
        card = card.row("Observing", text::held_back(ctx.state.team.held_back));
    }
    // A plan is all that a button makes; nothing is changed before somebody says yes to that.
    sizes.iter().take(SUGGESTED_MAX).fold(Message::card(card), |message, one| {
        message.button(one.action(), text::scale::plan_it(one), ButtonStyle::Plain)
    })
}

fn listing(lines: impl Iterator<Item = String>) -> String {
    /// Lines of a list in a digest.
    const LINES_MAX: usize = 12;
    let all: Vec<String> = lines.collect();
    let mut shown: Vec<String> = all.iter().take(LINES_MAX).cloned().collect();
    if all.len() > LINES_MAX {
        shown.push(format!("and {} more", all.len() - LINES_MAX));
    }
    shown.join("\n")
}

fn local(ctx: &Ctx<'_>, at: DateTime<Utc>) -> String {
    super::schedule::local_words(at, ctx.workspace.team.zone)
}
