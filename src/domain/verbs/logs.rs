//! Looking at log lines: what somebody asked for, what is asked of the host for it, and what a button under a page means.
//!
//! Pure. No line goes on record, only that somebody had them followed. What a page was about stands whole in its buttons' actions, so they work after a restart.

use super::ship::About;
use crate::domain::answer::{Answer, sentence};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::effect::{EffectKind, Urgency};
use crate::domain::fact::Fact;
use crate::domain::ids::{EffectId, Place, Thing};
use crate::domain::input::{Actor, Answers, Press, Query};
use crate::domain::logs::follow::FOLLOWED_MAX;
use crate::domain::logs::{
    Ask, Filter, Found, PAGE_LINES_MAX, Reach, SERVICES_MAX, SINCE, SLOW_MS, Source, Trouble, since,
};
use crate::domain::message::{Message, Text};
use crate::domain::policy::Right;
use crate::domain::refusal::Refusal;
use crate::domain::text::logs as words;
use crate::domain::workspace::{ServiceSpec, Stage, Workspace};

/// The first word of an action of ours.
pub const LOGS: &str = "logs";
/// The first word of the action that ends following.
const STOP: &str = "logstop";
/// Every service that has an app.
pub const EVERY: &str = "all";
/// Of numbers in actions: figures and letters, so that they are short.
const DIGITS: u32 = 36;

/// What somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The services by name, as the set-up has them, joined by commas; or [`EVERY`].
    pub services: String,
    /// Which copy.
    pub stage: Stage,
    /// Which lines.
    pub filter: Filter,
    /// Only those with these words.
    pub contains: Option<String>,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A page, shown to whoever asks.
    Page(Reach),
    /// The page of so many lines from this moment on, shown to all.
    Show(i64, usize),
    /// What comes after this moment, as it comes, into a thread.
    Follow(i64),
}

/// What was typed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Typed<'a> {
    /// A service, several with commas, or all.
    pub service: Option<&'a str>,
    /// `production` or `staging`.
    pub stage: Option<&'a str>,
    /// A filter's word.
    pub filter: Option<&'a str>,
    /// How far back.
    pub since: Option<&'a str>,
    /// Words.
    pub contains: Option<&'a str>,
}

impl Wanted {
    /// What somebody typed, and how far back it goes.
    ///
    /// # Errors
    /// When it is not clear what is meant.
    pub fn typed(ctx: &Ctx<'_>, typed: Typed<'_>, place: &Place) -> Result<(Self, Reach), Refusal> {
        let (services, stage) = match typed.service.map(str::trim) {
            Some(several) if several.contains(',') || several.eq_ignore_ascii_case(EVERY) => {
                let stage =
                    About::meant(ctx, ctx.workspace.services.first().map(|one| one.name.as_str()), typed.stage, place)?
                        .stage;
                let named = named(ctx.workspace, several).map_err(Refusal::Because)?;
                let names: Vec<&str> = named.iter().map(|one| one.name.as_str()).collect();
                (if several.eq_ignore_ascii_case(EVERY) { EVERY.to_owned() } else { names.join(",") }, stage)
            }
            one => {
                let about = About::meant(ctx, one, typed.stage, place)?;
                (about.service.name.to_string(), about.stage)
            }
        };
        let filter = match typed.filter {
            None => Filter::Errors,
            Some(word) => Filter::read(word).ok_or_else(|| Refusal::because(words::no_filter(word)))?,
        };
        let back = typed.since.map_or(Ok(SINCE), since).map_err(Refusal::Because)?;
        let contains = typed.contains.map(|words| words.trim().to_owned()).filter(|words| !words.is_empty());
        Ok((Self { services, stage, filter, contains }, Reach::Last(back)))
    }

    /// The apps that it is about.
    ///
    /// # Errors
    /// A sentence: there is none of that name, or none that runs at the host.
    pub fn sources(&self, workspace: &Workspace) -> Result<Vec<Source>, String> {
        let services = named(workspace, &self.services)?;
        let sources: Vec<Source> =
            services.into_iter().filter_map(|one| source(one, self.stage)).take(SERVICES_MAX).collect();
        if sources.is_empty() { Err(words::no_app(&self.services, self.stage)) } else { Ok(sources) }
    }

    /// What is asked of the host.
    ///
    /// # Errors
    /// As [`Self::sources`].
    pub fn ask(&self, workspace: &Workspace, turn: Turn) -> Result<Ask, String> {
        let (reach, lines) = match turn {
            Turn::Page(reach) => (reach, PAGE_LINES_MAX),
            Turn::Show(from, lines) => (Reach::After(from.saturating_sub(1)), lines.clamp(1, PAGE_LINES_MAX)),
            Turn::Follow(after) => (Reach::After(after), PAGE_LINES_MAX),
        };
        let (of, contains) = (self.sources(workspace)?, self.contains.clone());
        Ok(Ask { of, filter: self.filter, contains, reach, lines })
    }

    /// The action of a button that turns to another page, or shows this one to all.
    pub fn action(&self, turn: Turn) -> String {
        let (verb, at, lines) = match turn {
            Turn::Page(Reach::Last(span)) => ("l", span.num_seconds(), 0),
            Turn::Page(Reach::Before(at)) => ("o", at, 0),
            Turn::Page(Reach::After(at)) => ("n", at, 0),
            Turn::Show(from, lines) => ("s", from, lines),
            Turn::Follow(after) => ("f", after, 0),
        };
        let stage = if self.stage == Stage::Staging { "s" } else { "p" };
        let filter = self.filter.word().get(..1).unwrap_or_default();
        let (at, contains) = (figures(at), self.contains.as_deref().unwrap_or_default());
        format!("{LOGS}:{verb}:{stage}:{filter}:{at}:{lines}:{}:{contains}", self.services)
    }

    /// What an action means; none when it is none of ours.
    pub fn pressed(action: &str) -> Option<(Self, Turn)> {
        let mut parts = action.strip_prefix(LOGS)?.strip_prefix(':')?.splitn(7, ':');
        let (verb, stage, filter) = (parts.next()?, parts.next()?, parts.next()?);
        let at = i64::from_str_radix(parts.next()?, DIGITS).ok()?;
        let lines: usize = parts.next()?.parse().ok()?;
        let (services, contains) = (parts.next()?.to_owned(), parts.next()?);
        let turn = match verb {
            "o" => Turn::Page(Reach::Before(at)),
            "n" => Turn::Page(Reach::After(at)),
            "s" => Turn::Show(at, lines),
            "f" => Turn::Follow(at),
            "l" => Turn::Page(Reach::Last(chrono::TimeDelta::try_seconds(at)?)),
            _ => return None,
        };
        let stage = if stage == "s" { Stage::Staging } else { Stage::Production };
        let filter = Filter::ALL.into_iter().find(|one| one.word().starts_with(filter) && !filter.is_empty())?;
        let contains = (!contains.is_empty()).then(|| contains.to_owned());
        Some((Self { services, stage, filter, contains }, turn))
    }
}

/// A moment in few letters; nothing is before 1970.
fn figures(at: i64) -> String {
    let mut left = at.max(0).unsigned_abs();
    let mut out = Vec::new();
    loop {
        let digit = u32::try_from(left % u64::from(DIGITS)).ok().and_then(|digit| char::from_digit(digit, DIGITS));
        out.extend(digit);
        left /= u64::from(DIGITS);
        if left == 0 {
            return out.into_iter().rev().collect();
        }
    }
}

/// The services of a list: names or aliases with commas between, or all that have an app.
///
/// # Errors
/// A sentence: there is none of that name, or they are too many.
pub fn named<'a>(workspace: &'a Workspace, list: &str) -> Result<Vec<&'a ServiceSpec>, String> {
    let is_at_fly = |service: &&ServiceSpec| service.stages().any(|(_, spec)| spec.fly_app.is_some());
    let mut found: Vec<&ServiceSpec> = Vec::new();
    if list.trim().eq_ignore_ascii_case(EVERY) {
        found = workspace.services.iter().filter(is_at_fly).collect();
    } else {
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let service = workspace.service(name).ok_or_else(|| crate::domain::text::no_service(name, workspace))?;
            if !found.iter().any(|one| one.name == service.name) {
                found.push(service);
            }
        }
    }
    if found.len() > SERVICES_MAX { Err(words::too_many(found.len())) } else { Ok(found) }
}

/// A service's copy as a source; none when it has no app. What is slow there is what its probes call slow.
fn source(service: &ServiceSpec, stage: Stage) -> Option<Source> {
    let (_, spec) = service.stages().find(|(one, _)| *one == stage)?;
    let bounds = spec.probes.iter().filter_map(|probe| probe.warn_above);
    let slow_ms =
        bounds.filter_map(|bound| u32::try_from(bound.delta().num_milliseconds()).ok()).min().unwrap_or(SLOW_MS);
    Some(Source { service: service.name.to_string(), app: spec.fly_app.clone()?, slow_ms })
}

/// What must be asked before a page can be shown.
pub fn queries(workspace: &Workspace, wanted: &Wanted, turn: Turn) -> Vec<Query> {
    if matches!(turn, Turn::Follow(_)) {
        return Vec::new();
    }
    wanted.ask(workspace, turn).map(|ask| Query::Logs(Box::new(ask))).into_iter().collect()
}

/// A page for somebody, made of what the host said.
///
/// # Errors
/// They may not; it is not clear what is meant; the host does not say.
pub fn page(
    draft: &Draft<'_>,
    who: &Actor,
    wanted: &Wanted,
    turn: Turn,
    answers: &Answers,
) -> Result<Message, Refusal> {
    let ctx = &draft.ctx;
    ctx.require(who, Right::Respond)?;
    // Until somebody says that the bot is live, it speaks nowhere but in the test channel.
    if matches!(turn, Turn::Show(..)) && !ctx.state.team.live {
        return Err(Refusal::because(words::not_live()));
    }
    let ask = wanted.ask(ctx.workspace, turn).map_err(Refusal::Because)?;
    let app = ask.of.first().map_or("", |source| source.app.as_str());
    let found: &Found = match &answers.logs {
        Some(Ok(found)) => found,
        Some(Err(Trouble::NoToken)) => return Err(Refusal::because(words::no_token())),
        Some(Err(Trouble::Silent(says))) => return Err(Refusal::because(words::silent(says, app))),
        None => return Err(Refusal::because(words::too_slow(app))),
    };
    let message = words::page(ctx, wanted, &ask, found);
    Ok(match turn {
        Turn::Page(reach) => words::with_buttons(message, wanted, reach, found),
        Turn::Show(..) | Turn::Follow(_) => message.and(sentence(&words::shown_by(&who.name))),
    })
}

/// Lines are followed from the end of what was found on: a page of what there is, and a thread for what comes.
///
/// # Errors
/// As [`page`], and as [`begin`].
pub fn page_and_follow(
    draft: &mut Draft<'_>,
    who: &Actor,
    wanted: &Wanted,
    turn: Turn,
    answers: &Answers,
    place: &Place,
) -> Result<Message, Refusal> {
    let mut message = page(draft, who, wanted, turn, answers)?;
    let Some(Ok(found)) = &answers.logs else { return Ok(message) };
    let line = begin(draft, who, wanted, found.until_ns, place)?;
    message.buttons.retain(|button| button.action != wanted.action(Turn::Follow(found.until_ns)));
    Ok(message.and(line))
}

/// Lines are followed from a moment on, in a thread where it was asked for.
///
/// # Errors
/// They may not, there is no such app, or enough is followed already.
pub fn begin(draft: &mut Draft<'_>, who: &Actor, wanted: &Wanted, after: i64, place: &Place) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    wanted.sources(draft.ctx.workspace).map_err(Refusal::Because)?;
    let is_one = |kind: &&EffectKind| matches!(kind, EffectKind::Follow { .. });
    let followed = draft.ctx.state.pending.values().map(|effect| &effect.kind).filter(is_one).count();
    if followed >= FOLLOWED_MAX {
        return Err(Refusal::because(words::enough_followed(followed)));
    }
    // Until somebody says that the bot is live, it speaks nowhere but in the test channel.
    let to = draft.ctx.state.team.live.then(|| place.clone());
    let (about, by) = (wanted.action(Turn::Follow(after)), who.name.clone());
    let is_here = to.is_some();
    draft.effect(Thing::Team, Urgency::Talk, EffectKind::Follow { to, about, by });
    Ok(words::follows(is_here))
}

/// The action of the button that ends following.
pub fn stop_action(effect: EffectId) -> String {
    format!("{STOP}:{effect}")
}

/// Following is ended by a press.
fn stop(draft: &mut Draft<'_>, who: &Actor, effect: &str) -> Option<Result<Answer, Refusal>> {
    let id: EffectId = effect.parse().ok()?;
    let found = draft.ctx.state.pending.get(&id).map(|effect| (effect.on, effect.kind.clone()));
    let Some((on, EffectKind::Follow { .. })) = found else {
        return Some(Ok(Answer::only_you(Message::line(words::not_followed()))));
    };
    if let Err(refusal) = draft.ctx.require(who, Right::Respond) {
        return Some(Err(refusal));
    }
    draft.fact(on, Fact::Withdrawn { effect: id, why: words::stopped_by(&who.name) });
    // Whoever follows says so in the thread.
    Some(Ok(Answer::Done))
}

/// What a press on a page's button is answered; none when it is no button of ours.
pub fn pressed(draft: &mut Draft<'_>, press: &Press, answers: &Answers) -> Option<Result<Answer, Refusal>> {
    let (who, action) = (&press.who, &press.action);
    if let Some(effect) = action.strip_prefix(STOP).and_then(|rest| rest.strip_prefix(':')) {
        return stop(draft, who, effect);
    }
    let (wanted, turn) = Wanted::pressed(action)?;
    if let Turn::Follow(after) = turn {
        return Some(begin(draft, who, &wanted, after, &press.place).map(Answer::only_you));
    }
    Some(page(draft, who, &wanted, turn, answers).map(|message| match turn {
        Turn::Page(_) => Answer::Replace(message),
        Turn::Show(..) | Turn::Follow(_) => Answer::aloud(message),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_says_whole_what_it_is_about() {
        let wanted = Wanted {
            services: "hotdash-llamaindex-mcp,search".to_owned(),
            stage: Stage::Staging,
            filter: Filter::Slow,
            contains: Some("a:b c".to_owned()),
        };
        for turn in [
            Turn::Page(Reach::Before(1_795_510_800_000_000_001)),
            Turn::Page(Reach::After(0)),
            Turn::Page(Reach::Last(chrono::TimeDelta::hours(1))),
            Turn::Show(1_795_510_800_000_000_001, 15),
            Turn::Follow(1_795_510_800_000_000_001),
        ] {
            let action = wanted.action(turn);
            assert!(action.len() <= 100, "{action}");
            assert_eq!(Wanted::pressed(&action), Some((wanted.clone(), turn)), "{action}");
        }
        for odd in
            ["logs", "logs:", "logs:x:p:e:1:1:a:", "logs:o:p::1:1:a:", "logs:o:p:e:!:1:a:", "ack:7", "logs:o:p:e:1:1"]
        {
            assert_eq!(Wanted::pressed(odd), None, "{odd}");
        }
    }
}
