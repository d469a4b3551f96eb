//! Updates and notes: what people say to each other and to everybody else, on the record.

use chrono::TimeDelta;

use crate::domain::draft::Draft;
use crate::domain::effect::Target;
use crate::domain::fact::{Fact, Moment};
use crate::domain::ids::IncidentId;
use crate::domain::input::{Actor, TargetMessage};
use crate::domain::message::{Card, Message, Text, Tone};
use crate::domain::policy::Right;
use crate::domain::promise::PromiseKind;
use crate::domain::refusal::Refusal;
use crate::domain::text;
use crate::domain::verbs::open::nudge;
use crate::domain::verbs::respond;

/// The longest update, in characters; what a form takes.
pub const UPDATE_CHARS_MAX: usize = 4_000;

/// An update.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// What.
    pub what: Text,
    /// When the next one is promised; policy says when none.
    pub next_in: Option<TimeDelta>,
    /// Whether the wider audience gets it; as declared when none.
    pub announce: Option<bool>,
    /// The message it was taken from.
    pub source: Option<String>,
}

/// Gives an update: the promise of it is kept and the next one made.
///
/// # Errors
/// When the person may not, it is closed, there is nothing in it, or the next one is promised out of bounds.
pub fn update(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, update: Update) -> Result<Text, Refusal> {
    if update.what.is_blank() {
        return Err(Refusal::because("There is nothing in that update. Say what is known, or press “No change”."));
    }
    if update.what.chars() > UPDATE_CHARS_MAX {
        return Err(Refusal::because(format!(
            "That update is longer than {UPDATE_CHARS_MAX} characters. Put the long part into the thread and the gist here."
        )));
    }
    let given_already = |source: &String| {
        let holds = |fact: &Fact| matches!(fact, Fact::Updated { source: Some(before), .. } if before == source);
        draft.incident(id).is_ok_and(|incident| incident.timeline.iter().any(|entry| holds(&entry.fact)))
    };
    if update.source.as_ref().is_some_and(given_already) {
        return Ok(Text::plain(format!("That message is an update of {id} already.")));
    }
    give(draft, who, id, update, false)
}

/// Says that nothing changed: the promise is kept with one tap, a few times in a row.
///
/// # Errors
/// When the person may not, it is closed, or it was said too often in a row.
pub fn no_change(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Result<Text, Refusal> {
    let most = draft.ctx.policy.reminders.no_change_in_a_row_max;
    if draft.incident(id)?.no_change_in_a_row >= most {
        return Err(Refusal::because(format!(
            "“No change” was said {most} times in a row. Write a sentence this time: what are you trying, and what did it show?"
        )));
    }
    let what = Text::plain("No change.");
    give(draft, who, id, Update { what, next_in: None, announce: None, source: None }, true)
}

fn give(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, update: Update, no_change: bool) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let now = draft.now();
    let incident = draft.incident(id)?;
    if !incident.status.is_open() {
        return Err(Refusal::Closed(id, incident.status.name()));
    }
    if !incident.is_acknowledged() {
        // Whoever speaks for it has taken it up.
        respond::acknowledge(draft, who, id)?;
    }
    let incident = draft.incident(id)?;
    let reminders = &draft.ctx.policy.reminders;
    if let Some(next_in) = update.next_in {
        let (least, most) = (reminders.next_update_min.delta(), reminders.next_update_max.delta());
        if next_in < least || next_in > most {
            return Err(Refusal::because(format!(
                "The next update can be promised in {} to {}.",
                text::span(least),
                text::span(most)
            )));
        }
    }
    let has_audience = draft.ctx.workspace.channels.announce.is_some();
    let announced = has_audience && update.announce.unwrap_or(incident.announce && !no_change);
    let severity = incident.severity;
    let age = now - incident.time(Moment::Declared).unwrap_or(now);
    draft.fact(
        id,
        Fact::Updated {
            by: who.person.clone(),
            what: update.what.clone(),
            no_change,
            announced,
            source: update.source,
        },
    );
    for kept in [PromiseKind::FirstNotice, PromiseKind::NextUpdate] {
        if draft.incident(id)?.promise(kept).is_some() {
            draft.fact(id, Fact::PromiseKept { promise: kept });
        }
    }
    let every = draft.ctx.policy.update_every(severity, age).map(|span| span.delta());
    let due = update.next_in.or(every).map(|length| now + length);
    if let Some(due) = due {
        let next = Some(nudge(draft, severity, now, due));
        draft.fact(id, Fact::PromiseMade { promise: PromiseKind::NextUpdate, due, next });
    }
    draft.withdraw(id, "an update was given", |effect| {
        matches!(&effect.kind, crate::domain::effect::EffectKind::Post { message, .. }
            if message.buttons.iter().any(|button| button.action.starts_with("update:")))
    });
    let mut card = Card::new(format!("Update on {id}"), Tone::Quiet).line(update.what.clone());
    card = card.field("By", Text::default().person(&who.person));
    if let Some(due) = due {
        card = card.field("Next update", Text::default().clock(due));
    }
    let replaces = draft.newest_ping(id);
    draft.replace(id, Target::Thread(id), Message::card(card), replaces);
    if announced {
        let notice = text::notice(draft.incident(id)?, &update.what, due);
        draft.post(id, Target::Announce, Message::line(notice));
    }
    let answer = Text::plain("On record");
    Ok(match due {
        Some(due) => answer.text(". Next update due at ").clock(due).text("."),
        None => answer.text("."),
    })
}

/// Puts something on the record.
///
/// # Errors
/// When the person may not, or there is nothing in it.
pub fn note(draft: &mut Draft<'_>, who: &Actor, id: IncidentId, what: Text) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    if what.is_blank() {
        return Err(Refusal::because("There is nothing in that note."));
    }
    document(draft, id)?;
    let by = who.person.clone();
    draft.fact(id, Fact::Noted { by, what, author: None, written: None, link: None, images: vec![] });
    Ok(Text::plain(format!("On the record of {id}.")))
}

/// Puts a message of the chat on the record, with who wrote it, when, its link and its images.
///
/// # Errors
/// When the person may not.
pub fn note_message(
    draft: &mut Draft<'_>,
    who: &Actor,
    id: IncidentId,
    message: &TargetMessage,
) -> Result<Text, Refusal> {
    draft.ctx.require(who, Right::Respond)?;
    let on_record = draft
        .incident(id)?
        .timeline
        .iter()
        .any(|entry| matches!(&entry.fact, Fact::Noted { link: Some(link), .. } if *link == message.link));
    if on_record {
        return Ok(Text::plain(format!("It is on the record of {id} already.")));
    }
    document(draft, id)?;
    draft.fact(
        id,
        Fact::Noted {
            by: who.person.clone(),
            what: message.text.clone(),
            author: Some(message.author.clone()),
            written: Some(message.at),
            link: Some(message.link.clone()),
            images: message.images.clone(),
        },
    );
    Ok(Text::plain(format!("On the record of {id}, as {} wrote it.", message.author_name)))
}

/// Something written down keeps the promise of a first notice where no update is promised.
fn document(draft: &mut Draft<'_>, id: IncidentId) -> Result<(), Refusal> {
    if draft.incident(id)?.promise(PromiseKind::FirstNotice).is_some() {
        draft.fact(id, Fact::PromiseKept { promise: PromiseKind::FirstNotice });
    }
    Ok(())
}
