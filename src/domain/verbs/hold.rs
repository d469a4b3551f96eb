//! Keeping things as they are: freezes of production, and apps that somebody keeps to themselves.
//!
//! Pure. Neither ever refuses a rollback.

use chrono::TimeDelta;

use super::ship::About;
use crate::domain::deploy::gates::Freeze;
use crate::domain::draft::{Ctx, Draft};
use crate::domain::effect::Target;
use crate::domain::fact::{At, Fact};
use crate::domain::ids::{Service, Thing};
use crate::domain::input::Actor;
use crate::domain::message::{Message, Ping, Text, TimeStyle};
use crate::domain::policy::{Right, Span};
use crate::domain::refusal::Refusal;
use crate::domain::text::{self, gates as words};

fn reason(why: Option<Text>) -> Result<Text, Refusal> {
    why.filter(|why| !why.is_blank())
        .ok_or_else(|| Refusal::because("Say why, in a sentence: whoever is refused because of it will want to know."))
}

/// Whoever could deploy, or approve it, can also say that nobody does.
fn may(ctx: &Ctx<'_>, who: &Actor) -> Result<(), Refusal> {
    ctx.require(who, Right::Approve).or_else(|_| ctx.require(who, Right::Deploy))
}

/// Everybody hears of it, silently: who is refused later must not be surprised.
fn tell(draft: &mut Draft<'_>, line: Text) {
    draft.post(Thing::Team, Target::Incidents, Message::line(line));
}

/// Nothing goes out to production until then.
///
/// # Errors
/// For want of the right or a reason; when it ends before it begins, or so late that nobody knows.
pub fn freeze(
    draft: &mut Draft<'_>,
    who: &Actor,
    service: Option<Service>,
    until: Option<At>,
    why: Option<Text>,
) -> Result<Text, Refusal> {
    may(&draft.ctx, who)?;
    let why = reason(why)?;
    if until.is_some_and(|until| until <= draft.now()) {
        return Err(Refusal::because("That is over already. Give a time to come, or leave `until` out."));
    }
    let furthest = draft.ctx.now + TimeDelta::days(Span::DAYS_MAX);
    if until.is_some_and(|until| until > furthest) {
        return Err(Refusal::because(words::too_far(Span::DAYS_MAX)));
    }
    let what = service.as_ref().map_or_else(|| "Production".to_owned(), ToString::to_string);
    draft.fact(Thing::Team, Fact::Frozen { service, until, by: who.person.clone(), why: why.clone() });
    let line = Text::plain(format!("{what} is frozen by ")).person(&who.person);
    let line = match until {
        Some(until) => line.text(" until ").time(until, TimeStyle::Full),
        None => line,
    };
    tell(draft, line.text(": ").join(why));
    let line = Text::plain(format!("{what} is frozen"));
    let line = match until {
        Some(until) => line.text(" until ").time(until, TimeStyle::Full),
        None => line.text(" until somebody says `/fly thaw`"),
    };
    Ok(line.text(". A rollback, and a fix for an open incident, still go."))
}

/// That freeze is over.
///
/// # Errors
/// For want of the right; when there is none.
pub fn thaw(draft: &mut Draft<'_>, who: &Actor, service: Option<Service>) -> Result<Text, Refusal> {
    may(&draft.ctx, who)?;
    let ctx = draft.ctx;
    let held = |freeze: &&Freeze| freeze.service == service && freeze.until.is_none_or(|until| ctx.now < until);
    let Some(freeze) = ctx.state.team.freezes.iter().find(held) else {
        let known: Vec<String> = draft
            .ctx
            .state
            .team
            .freezes
            .iter()
            .filter(|freeze| freeze.until.is_none_or(|until| draft.ctx.now < until))
            .map(|freeze| words::frozen_by_hand(&draft.ctx, freeze))
            .collect();
        return Err(Refusal::because(match known.as_slice() {
            [] => "Nothing is frozen by hand.".to_owned(),
            known => format!("That is not frozen. What is: {}.", known.join("; ")),
        }));
    };
    let what = service.as_ref().map_or_else(|| "Production".to_owned(), ToString::to_string);
    draft.fact(Thing::Team, Fact::Thawed { service, by: who.person.clone() });
    tell(draft, words::thawed(&ctx, &what, &who.person, freeze));
    Ok(Text::plain(format!("{what} is no longer frozen by hand.")))
}

/// Somebody keeps an app to themselves.
///
/// # Errors
/// For want of the right or a reason; when somebody else has it.
pub fn lock(draft: &mut Draft<'_>, who: &Actor, about: About<'_>, why: Option<Text>) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Deploy)?;
    let app = about.app()?;
    if let Some(lock) = draft.ctx.state.team.locks.get(app).filter(|lock| lock.by != who.person) {
        return Err(Refusal::because(format!("{}. Ask them, or `/fly unlock`.", words::held(&draft.ctx, app, lock))));
    }
    let why = reason(why)?;
    draft.fact(Thing::Team, Fact::Locked { app: app.to_owned(), by: who.person.clone(), why: why.clone() });
    tell(draft, Text::default().person(&who.person).text(format!(" has {app} for themselves: ")).join(why));
    Ok(Text::plain(format!("{app} is yours: nobody else deploys to it. A rollback still goes. `/fly unlock` ends it.")))
}

/// An app is free again.
///
/// # Errors
/// For want of the right; when it is free.
pub fn unlock(draft: &mut Draft<'_>, who: &Actor, about: About<'_>) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Deploy)?;
    let app = about.app()?;
    let Some(lock) = draft.ctx.state.team.locks.get(app) else {
        return Err(Refusal::because(format!("{app} is free.")));
    };
    let mut message = Message::line(words::unlocked(&draft.ctx, app, &who.person, lock));
    if lock.by != who.person {
        message = message.ping(Ping::Person(lock.by.clone())).and(text::reason("your lock was ended"));
    }
    draft.fact(Thing::Team, Fact::Unlocked { app: app.to_owned(), by: who.person.clone() });
    draft.post(Thing::Team, Target::Incidents, message);
    Ok(Text::plain(format!("{app} is free.")))
}

/// A time to come, as people write it: "2h", "14:00", "2026-12-24", "2026-12-24 14:00", in the team's zone.
///
/// # Errors
/// A sentence, when it is none.
pub fn until(ctx: &Ctx<'_>, typed: &str) -> Result<At, Refusal> {
    let typed = typed.trim();
    if let Ok(span) = humantime::parse_duration(typed)
        && let Ok(span) = chrono::TimeDelta::from_std(span)
        && let Some(at) = ctx.now.checked_add_signed(span)
    {
        return Ok(at);
    }
    let zone = ctx.workspace.team.zone;
    let today = ctx.now.with_timezone(&zone).date_naive();
    let at = |date, minutes| crate::domain::schedule::first_instant_of(zone, date, minutes);
    let clock = |text: &str| {
        let time = chrono::NaiveTime::parse_from_str(text, "%H:%M").ok()?;
        u16::try_from(chrono::Timelike::num_seconds_from_midnight(&time) / 60).ok()
    };
    let date = |text: &str| chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let found = match typed.split_once(' ') {
        Some((day, time)) => date(day).zip(clock(time.trim())).map(|(day, minutes)| at(day, minutes)),
        None => clock(typed).map(|minutes| at(today, minutes)).or_else(|| date(typed).map(|day| at(day, 0))),
    };
    found.ok_or_else(|| {
        Refusal::because(format!("“{typed}” is no time. Write 2h, 14:00, 2026-12-24 or 2026-12-24 14:00."))
    })
}
