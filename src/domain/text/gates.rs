//! What the bot says about what can refuse a deploy.
//!
//! Pure. One function a sentence, as in `text.rs`.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::domain::deploy::Plan;
use crate::domain::deploy::gates::{Freeze, Gate, Lock};
use crate::domain::draft::Ctx;
use crate::domain::hosting::Image;
use crate::domain::ids::{DeployId, Person, Role};
use crate::domain::incident::Incident;
use crate::domain::message::Text;

/// "3 machines".
pub fn machines(count: usize) -> String {
    if count == 1 { "1 machine".to_owned() } else { format!("{count} machines") }
}

/// An open incident freezes production.
pub fn frozen_by_incident(incident: &Incident) -> String {
    format!("{} ({}) is open and somebody is on it", incident.id, incident.severity)
}

/// Somebody froze it.
pub fn frozen_by_hand(ctx: &Ctx<'_>, freeze: &Freeze) -> String {
    let what = freeze.service.as_ref().map_or_else(|| "everything".to_owned(), ToString::to_string);
    let by = ctx.workspace.name_of(&freeze.by).unwrap_or_else(|| freeze.by.local());
    let until = match freeze.until {
        Some(until) => {
            format!(" until {}", super::clock_of_day(until, ctx.now, ctx.workspace.team.zone))
        }
        None => String::new(),
    };
    let thaw = freeze.service.as_ref().map_or_else(|| "/fly thaw".to_owned(), |one| format!("/fly thaw service:{one}"));
    format!("{what} is frozen by {by}{until}: {} ({thaw} ends it)", words(&freeze.why))
}

/// Somebody ended a freeze: whose it was, and why.
pub fn thawed(ctx: &Ctx<'_>, what: &str, by: &Person, freeze: &Freeze) -> Text {
    let since = super::clock_of_day(freeze.from, ctx.now, ctx.workspace.team.zone);
    let line = Text::plain(format!("{what} is no longer frozen, by ")).person(by).text(". ").person(&freeze.by);
    line.text(format!(" had frozen it at {since}: ")).join(freeze.why.clone())
}

/// Somebody ended a lock; another's says whose it was, and why.
pub fn unlocked(ctx: &Ctx<'_>, app: &str, by: &Person, lock: &Lock) -> Text {
    let line = Text::plain(format!("{app} is free again, by ")).person(by);
    if lock.by == *by {
        return line.text(".");
    }
    let since = super::clock_of_day(lock.at, ctx.now, ctx.workspace.team.zone);
    let line = line.text(". ").person(&lock.by).text(format!(" had it for themselves since {since}: "));
    line.join(lock.why.clone())
}

/// A freeze is to end so late that leaving its end open is meant.
pub fn too_far(days_max: i64) -> String {
    format!("That is more than {days_max} days ahead. Leave `until` out, and it holds until somebody says `/fly thaw`.")
}

/// The calendar froze it.
pub fn frozen_by_calendar(name: &str, last: NaiveDate) -> String {
    format!("{name}, until the end of {last}")
}

/// Somebody keeps the app to themselves.
pub fn held(ctx: &Ctx<'_>, app: &str, lock: &Lock) -> String {
    let by = ctx.workspace.name_of(&lock.by).unwrap_or_else(|| lock.by.local());
    let since = super::clock_of_day(lock.at, ctx.now, ctx.workspace.team.zone);
    format!("{by} has {app} for themselves since {since}: {}", words(&lock.why))
}

fn words(text: &Text) -> String {
    super::short(&crate::domain::press::flat(text), 120)
}

/// Who may pass a check with a written reason.
pub fn whom(holders: &[Role]) -> String {
    match holders {
        [] => "nobody may pass it".to_owned(),
        holders => format!("{} may pass it with a reason", super::roles(holders)),
    }
}

/// How a refused check can be passed.
pub fn way_past(gate: Gate, holders: &[Role]) -> String {
    let whom = whom(holders);
    match gate {
        Gate::Window => format!("wait, or schedule it; {whom}"),
        Gate::Freeze => format!("wait; a fix for an open incident passes it with `why`; {whom}"),
        Gate::Staging => format!("deploy it to staging first; {whom}"),
        Gate::Health => format!("mend it first, or say with `why` what this mends; {whom}"),
        Gate::Host => format!("wait for Fly; {whom}"),
        Gate::Checklist => format!("press “Checklist” on the card; {whom}"),
        Gate::Lock => format!("ask them, or `/fly unlock`; {whom}"),
        Gate::Command => format!("wait until Fly says so, and ask again; {whom}"),
    }
}

/// What runs before the first machine is not known.
pub fn command_unknown(plan: &Plan, why: &str) -> String {
    let then = match &plan.release_command {
        Some(command) => format!("“{command}”, as it was known last, would run"),
        None => "none would run".to_owned(),
    };
    format!("Fly does not say which release command {} has ({why}); {then}", plan.app)
}

/// Another release command runs first than was planned, as the end of a sentence.
pub fn command_changed(now: &Plan) -> String {
    match (&now.release_command, &now.release_command_unknown) {
        (_, Some(_)) => "Fly does not say any more which release command runs first".to_owned(),
        (Some(command), None) => format!("“{command}” runs first"),
        (None, None) => "no release command runs first".to_owned(),
    }
}

/// What runs before the first machine, on the card.
pub fn command(plan: &Plan) -> Option<String> {
    match (&plan.release_command, &plan.release_command_unknown) {
        (Some(command), _) => Some(format!("“{command}”, once, with the new image")),
        (None, Some(_)) => Some("Unknown: Fly does not say. Nothing would".to_owned()),
        (None, None) => None,
    }
}

/// Staging runs the image and was seen to be well a moment ago.
pub fn is_well_on_staging() -> String {
    "it runs there and is well: not put up there again".to_owned()
}

/// Staging runs the image already, and it is put up there again.
pub fn there_again(why: &str) -> String {
    format!("Staging runs it already; it is put up there again, because {why}.")
}

/// The image failed on staging, and has not done well there since.
pub fn failed_on_staging(ctx: &Ctx<'_>, image: &Image, at: DateTime<Utc>, deploy: DeployId) -> String {
    let at = super::clock_of_day(at, ctx.now, ctx.workspace.team.zone);
    format!("{image} failed there at {at} ({deploy})")
}

/// The image did well on staging, so long ago.
pub fn did_well_on_staging(ago: TimeDelta) -> String {
    format!("it did well there {} ago: not put up there again", super::span(ago))
}
