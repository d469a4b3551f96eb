//! Every sentence that the bot says of itself.
//!
//! Pure. One function a sentence. Plain words: people never read how the bot is built. A ping's first 100 characters say
//! severity, number, what, and what is wanted by when.

pub mod alerts;
pub mod day;
pub mod deploys;
pub mod fly;
pub mod gates;
pub mod logs;
pub mod metrics;
pub mod pipeline;
pub mod releases;
pub mod rules;
pub mod scale;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::effect::Target;
use super::fact::{EscalationReason, Status};
use super::ids::{IncidentId, Person, Role, Service};
use super::incident::Incident;
use super::input::RecordHead;
use super::message::{Ping, Text, TimeStyle};
use super::policy::Severity;
use super::schedule::local;
use super::workspace::Workspace;

/// How long, for people: "12 min", "1 h 05 min", "3 d 2 h".
pub fn span(delta: TimeDelta) -> String {
    super::schedule::minutes_words(delta)
}

/// There is no such service.
pub fn no_service(name: &str, workspace: &Workspace) -> String {
    let names: Vec<&str> = workspace.services.iter().map(|service| service.name.as_str()).collect();
    format!("There is no service “{}”. There are: {}.", short(name, 40), names.join(", "))
}

/// A time of day in the team's zone, for places where the reader's own zone cannot be shown.
pub fn clock(at: DateTime<Utc>, zone: Tz) -> String {
    local(zone, at).format("%H:%M").to_string()
}

/// A time of day, with its date when that is another than the one it is compared with.
pub fn clock_of_day(at: DateTime<Utc>, beside: DateTime<Utc>, zone: Tz) -> String {
    let (at, beside) = (local(zone, at), local(zone, beside));
    let format = if at.date() == beside.date() { "%H:%M" } else { "%H:%M on %-d %B %Y" };
    at.format(format).to_string()
}

/// "SEV-1 INC-7 checkout is down".
pub fn headline(incident: &Incident) -> String {
    format!("{} {} {}", incident.severity, incident.id, incident.title)
}

/// What a phone shows when somebody must come.
pub fn page(incident: &Incident, ack_by: Option<DateTime<Utc>>, zone: Tz) -> String {
    let wanted = ack_by.map_or(String::new(), |at| format!(" Ack by {}.", clock(at, zone)));
    let head = format!("{} {} ", incident.severity, incident.id);
    let room = 100usize.saturating_sub(head.chars().count() + wanted.chars().count() + 1);
    format!("{head}{}.{wanted}", short(&incident.title, room))
}

/// With a capital first letter, for the beginning of a sentence or a label.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// A text of at most `chars` characters, cut visibly.
pub fn short_text(text: &Text, chars: usize) -> Text {
    use super::message::Span;
    let mut left = chars;
    let mut out = Text::default();
    for span in &text.0 {
        let words = match span {
            Span::Text(words) | Span::Bold(words) | Span::Code(words) => words,
            other => {
                out.0.push(other.clone());
                continue;
            }
        };
        let count = words.chars().count();
        if count <= left {
            left -= count;
            out.0.push(span.clone());
            continue;
        }
        let cut: String = words.chars().take(left.saturating_sub(1)).collect();
        return out.text(format!("{}…", cut.trim_end()));
    }
    out
}

/// At most `chars` characters, cut visibly.
pub fn short(text: &str, chars: usize) -> String {
    let text = text.trim().trim_end_matches('.');
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// The first line of a card's message.
pub fn card_line(incident: &Incident, ack_by: Option<DateTime<Utc>>) -> Text {
    let line = Text::plain(format!("{}.", headline(incident)));
    match ack_by {
        Some(at) => line.text(" Ack by ").clock(at),
        None => line,
    }
}

/// Where the record ends, to be held against it later: `watchbell verify --holds`.
pub fn record_head(head: &RecordHead) -> String {
    format!("up to {head}")
}

/// While observing: what would have gone out since the last digest.
pub fn held_back((pings, pages): (u32, u32)) -> Text {
    let some = |count: u32, one: &str| match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let (pings, pages) = (some(pings, "ping"), some(pages, "page"));
    Text::plain(format!("I ping and page nobody. Since the last digest I would have sent {pings} and {pages}. "))
        .code("/watchbell live")
        .text(" turns me on.")
}

/// While observing: whom a message would have pinged or where it would have gone.
pub fn would_have(to: &Target, pings: &[Ping]) -> Option<Text> {
    let place = match to {
        Target::Announce => Some("the announcements channel"),
        Target::Direct(_) => Some("a private message"),
        Target::Incidents | Target::Test | Target::Thread(_) => None,
    };
    if pings.is_empty() && place.is_none() {
        return None;
    }
    let mut line = Text::plain("Observing only. Live, this would have ");
    if let Some(place) = place {
        line = line.text(format!("gone to {place}"));
        if !pings.is_empty() {
            line = line.text(" and ");
        }
    }
    if !pings.is_empty() {
        line = line.text("pinged ").join(pinged(pings));
    }
    Some(line.text("."))
}

/// Names, not pings.
pub fn pinged(pings: &[Ping]) -> Text {
    let mut line = Text::default();
    for (n, ping) in pings.iter().enumerate() {
        if n > 0 {
            line = line.text(", ");
        }
        line = match ping {
            Ping::Person(person) => line.person(person),
            Ping::Role(role) => line.role(role),
        };
    }
    line
}

/// Why a level was called, as the end of a sentence.
pub fn escalation_why(why: EscalationReason, respond_within: TimeDelta) -> String {
    match why {
        EscalationReason::Opened => "because it was opened".to_owned(),
        EscalationReason::NotAcknowledged => {
            format!("because nobody acknowledged within {}", span(respond_within))
        }
        EscalationReason::StillNotAcknowledged => "because still nobody has acknowledged".to_owned(),
        EscalationReason::WentSilent => "because the lead has gone silent".to_owned(),
        EscalationReason::Asked => "because somebody asked for more people".to_owned(),
        EscalationReason::GotWorse => "because it got worse".to_owned(),
        EscalationReason::Reopened => "because it was reopened".to_owned(),
    }
}

/// A level is called.
pub fn escalated(
    incident: &Incident,
    level: u8,
    why: EscalationReason,
    respond_within: TimeDelta,
    next: Option<DateTime<Utc>>,
) -> Text {
    let line = Text::plain(format!("{}. Level {level}, {}.", headline(incident), escalation_why(why, respond_within)));
    match next {
        Some(at) => line.text(" Ack by ").clock(at).text("."),
        None => line,
    }
}

/// Somebody took it up.
pub fn acknowledged(by: &Person, by_declaring: bool, leads: bool) -> Text {
    let line = Text::default().person(by);
    match (by_declaring, leads) {
        (true, _) => line.text(" declared it and leads. Nobody else was woken."),
        (false, true) => line.text(" has it and leads."),
        (false, false) => line.text(" has it."),
    }
}

/// A reminder before an update is due.
pub fn update_nudge(incident: &Incident, due: DateTime<Utc>) -> Text {
    Text::plain(format!("{}: update due at ", head(incident))).clock(due).text(".")
}

/// A reminder that an update is due, or has been for so long.
pub fn update_due(incident: &Incident, what: &str, late: TimeDelta) -> Text {
    if late >= TimeDelta::minutes(1) {
        return update_late(incident, what, late);
    }
    Text::plain(format!("{}: {what} is due now.", head(incident)))
}

/// A reminder that an update is late.
pub fn update_late(incident: &Incident, what: &str, late: TimeDelta) -> Text {
    Text::plain(format!("{}: {what} is {} late.", head(incident), span(late)))
}

/// What fell due while the bot was away: one message, whatever it was.
pub fn caught_up(incident: &Incident, updates: u32, from: DateTime<Utc>, until: DateTime<Utc>, zone: Tz) -> Text {
    let updates = match updates {
        0 => String::new(),
        1 => "1 update fell due".to_owned(),
        n => format!("{n} updates fell due"),
    };
    let what = if updates.is_empty() { "this fell due".to_owned() } else { updates };
    Text::plain(format!("{}: {what} while I was away, {}–{}.", head(incident), clock(from, zone), clock(until, zone)))
}

/// The bot was away while something was open, or at work on machines.
pub fn back(from: DateTime<Utc>, until: DateTime<Utc>, fell_due: usize, zone: Tz) -> Text {
    let what = match fell_due {
        0 => "Nothing fell due meanwhile.".to_owned(),
        1 => "What fell due meanwhile stands with its incident.".to_owned(),
        n => format!("What fell due meanwhile stands with its {n} incidents."),
    };
    let (since, until_when) = (clock(from, zone), clock(until, zone));
    let when = if since == until_when { format!("at {since}") } else { format!("{since}–{until_when}") };
    Text::plain(format!("I was away for {}, {when}. {what}", span(until - from)))
}

/// The policy's file was changed to something that does not hold together.
pub fn policy_refused(why: &str) -> Text {
    Text::plain(format!("The changed policy does not hold together, so the last good one stays in force: {why}"))
}

/// Too much waits for the bot to take more.
pub fn busy() -> Text {
    Text::plain("I'm busy: too much waits already. Nothing was changed. Try again in a few seconds.")
}

/// An answer did not arrive: said where it was asked, without the answer.
pub fn undelivered(name: &str, what: &str) -> Text {
    Text::plain(format!("{name}: my answer to {what} did not reach you; ask again."))
}

/// A page came to nothing.
pub fn not_reached(person: &Person, via: &str, why: &str) -> Text {
    Text::plain("I could not reach ").person(person).text(format!(" by {via}: {why}"))
}

/// A page that was only a test came to nothing.
pub fn test_not_reached(person: &Person, via: &str, why: &str) -> Text {
    Text::plain("The test page did not reach ").person(person).text(format!(" by {via}: {why}"))
}

/// The record lost its end. `team_known` says whether the database still knew of the team; `next` is the next number when the
/// lost lines used some.
pub fn lost_end(what: &str, team_known: bool, next: Option<IncidentId>, live: bool) -> String {
    let numbers = match (team_known, next) {
        (false, _) => ". What numbers were used and whether I was live could not be read".to_owned(),
        (true, Some(next)) => format!(". The next incident is {next}"),
        (true, None) => String::new(),
    };
    let mode = if live { "I am live." } else { "I am observing: /watchbell live lets me call people." };
    format!(
        "My record lost its end: {what}{numbers}. {mode} I remind of nothing that was open and is not in /incident list: look \
         through the cards here by hand."
    )
}

/// The review is due, or late.
pub fn review_due(incident: &Incident, due: DateTime<Utc>, now: DateTime<Utc>) -> Text {
    let line = Text::plain(format!("{}: the review ", head(incident)));
    if now > due {
        line.text(format!("is {} late. What happened, what helped, what changes?", span(now - due)))
    } else {
        line.text("is due ").time(due, TimeStyle::Full).text(". What happened, what helped, what changes?")
    }
}

/// It was none.
pub fn cancelled(by: &Person, why: Text) -> Text {
    Text::default().person(by).text(" cancelled it: ").join(why)
}

/// The lead is asked whether they are still there.
pub fn still_there(lead: Option<&Person>, escalate_at: DateTime<Utc>) -> Text {
    let line = match lead {
        Some(lead) => Text::default().person(lead).text(", are you still on it?"),
        None => Text::plain("Is anybody still on it?"),
    };
    line.text(" Without a word the next level is called at ").clock(escalate_at).text(".")
}

/// "SEV-1 INC-7 checkout is down", short enough for a reminder.
pub fn head(incident: &Incident) -> String {
    format!("{} {} {}", incident.severity, incident.id, short(&incident.title, 50))
}

/// The question at the mitigation mark.
pub fn mitigated_yet(incident: &Incident, within: TimeDelta, first_try: &str) -> Text {
    Text::plain(format!(
        "{} into {}: is it mitigated? The first thing to try is to {first_try}.",
        span(within),
        incident.id
    ))
}

/// Why a ping came, at its end.
pub fn reason(words: &str) -> Text {
    Text::plain(format!("Why this ping: {words}."))
}

/// A service is down.
pub fn service_down(service: &Service, stage: &str, why: &str, since: DateTime<Utc>) -> Text {
    Text::plain(format!("{service} ({stage}) does not answer: {why}. Since ")).clock(since).text(".")
}

/// The title of an incident that a dead service declares.
pub fn down_title(service: &Service) -> String {
    format!("{service} is down")
}

/// Beside the health of everything, when nobody said what an incident touches.
pub fn nothing_named() -> Text {
    Text::plain("Nobody said which service this touches: what is down may be none of these. ")
        .code("/incident services")
        .text(" says it.")
}

/// A service answers again.
pub fn service_up(
    service: &Service,
    stage: &str,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    ours: Option<String>,
) -> Text {
    // What of it is our doing nobody knows; what we did meanwhile stands beside it.
    let ours = ours.map_or(String::new(), |did| format!("; {did}"));
    Text::plain(format!("{service} ({stage}) answers again after {}{ours}.", span(now - since)))
}

/// It recovered before anybody came.
pub fn calling_stopped() -> Text {
    Text::plain("I stopped calling people. It stays open until somebody resolves it.")
}

/// Verification begins.
pub fn verify_started(until: DateTime<Utc>, watched: bool, green: bool, length: TimeDelta) -> Text {
    if watched && !green {
        Text::plain(format!("It is not green yet. I watch for {} of green; the count begins when it is.", span(length)))
    } else if watched {
        Text::plain(format!("Watching for {} of green, until ", span(length))).clock(until).text(".")
    } else {
        Text::plain(format!(
            "No probe watches this service, so only the clock counts: {} without a word, until ",
            span(length)
        ))
        .clock(until)
        .text(".")
    }
}

/// Verification starts again.
pub fn verify_reset(why: &str, until: DateTime<Utc>) -> Text {
    Text::plain(format!("Red again ({why}). The count starts anew, until ")).clock(until).text(".")
}

/// It was green, and what is measured speaks against it.
pub fn verify_held(why: &str, until: DateTime<Utc>) -> Text {
    Text::plain(format!("Not verified: {why}. I watch on until ")).clock(until).text(".")
}

/// Nothing is left to start for more load.
pub fn at_the_ceiling(service: &Service, machines: usize) -> Text {
    Text::plain(format!("{service}: all {machines} machines are awake; none is left to start for more load."))
}

/// Whoever wanted to resolve is told why it is not.
pub fn not_resolved(id: IncidentId, why: &str, until: DateTime<Utc>) -> Text {
    let line = Text::plain(format!("{id} is not resolved: {why}. I watch on until ")).clock(until);
    let line = line.text(", and resolve it by myself if that is better by then. To end it now: ").code("/resolve");
    line.text(" with a reason in ").code("anyway").text(".")
}

/// Verification passed; with what was measured, when something was.
pub fn verified(watched: bool, length: TimeDelta, measured: Option<&str>) -> Text {
    let measured = measured.map_or(String::new(), |says| format!(" {}.", capital(says)));
    Text::plain(if watched {
        format!("Green for {} without a break.{measured}", span(length))
    } else {
        format!("{} have passed without a word.{measured}", span(length))
    })
}

/// It is over.
pub fn resolved(incident: &Incident, now: DateTime<Utc>, by: Option<&Person>) -> Text {
    let line = Text::plain(format!("{} {} is resolved after {}", incident.id, incident.title, span(incident.age(now))));
    match by {
        Some(person) => line.text(", by ").person(person).text("."),
        None => line.text(", by itself once it was green."),
    }
}

/// How promises were kept: one line.
pub fn kept(incident: &Incident, now: DateTime<Utc>) -> String {
    let tally = incident.tally;
    // One that is overdue and not kept yet is no better than one that was kept late.
    let overdue = || incident.promises.values().filter(|promise| promise.is_open() && promise.due < now);
    let late = tally.late + u32::try_from(overdue().count()).unwrap_or(u32::MAX);
    let waited = overdue().map(|promise| (now - promise.due).num_seconds().unsigned_abs()).max().unwrap_or(0);
    let all = tally.kept + late;
    match (all, late) {
        (0, _) => "no promise has come due yet".to_owned(),
        (1, 0) => "the 1 promise kept on time".to_owned(),
        (all, 0) => format!("all {all} promises kept on time"),
        (all, _) => {
            let worst = TimeDelta::seconds(i64::try_from(tally.worst_late_s.max(waited)).unwrap_or(i64::MAX / 1000));
            format!("{} of {all} promises kept on time, the worst {} late", tally.kept, span(worst))
        }
    }
}

/// A notice for the wider audience.
pub fn notice(incident: &Incident, what: &Text, next: Option<DateTime<Utc>>) -> Text {
    let line =
        Text::plain(format!("{}: {}. ", incident.title, status_words(incident.status))).join(sentence_start(what));
    let line = if ends_a_sentence(what) { line } else { line.text(".") };
    match next {
        Some(at) => line.text(" Next update by ").clock(at).text("."),
        None => line,
    }
}

/// With a capital first letter when it begins with a word.
fn sentence_start(text: &Text) -> Text {
    let mut text = text.clone();
    if let Some(super::message::Span::Text(words)) = text.0.first_mut()
        && !words.starts_with("http")
    {
        *words = capital(words);
    }
    text
}

/// Whether a text needs no full stop.
fn ends_a_sentence(text: &Text) -> bool {
    match text.0.last() {
        None => true,
        Some(super::message::Span::Text(words)) => words.trim_end().ends_with(['.', '!', '?', '…', ':']),
        Some(_) => false,
    }
}

/// What a status means to somebody outside.
pub fn status_words(status: Status) -> &'static str {
    match status {
        Status::Investigating => "we are looking into it",
        Status::Mitigating => "we are working on it",
        Status::Monitoring => "a fix is in place and we are watching",
        Status::Resolved | Status::Reviewed => "it is over",
        Status::Cancelled => "it was a false alarm",
    }
}

/// The words of the first notice when nobody wrote any.
pub fn first_notice(severity: Severity) -> Text {
    Text::plain(match severity {
        Severity::Sev1 => "We have a serious problem and people are on it.",
        Severity::Sev2 | Severity::Sev3 => "We have a problem and people are on it.",
    })
}

/// What is said to everybody of what was called over and is not.
pub fn back_again() -> Text {
    Text::plain("It is back, and people are on it.")
}

/// Which incident was meant when none was named.
pub fn meant(incident: &Incident) -> String {
    if incident.status.is_open() {
        format!("({} is the only one open.) ", incident.id)
    } else {
        format!("({} was the last one.) ", incident.id)
    }
}

/// Somebody else was first.
pub fn already(who: &Person, what: &str) -> Text {
    Text::default().person(who).text(format!(" was first: {what}."))
}

/// Roles as words.
pub fn roles(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_at_the_end_of_time_is_worded_in_every_zone() {
        for zone in chrono_tz::TZ_VARIANTS {
            for at in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
                assert!(!clock(at, zone).is_empty(), "{zone}");
                assert!(!clock_of_day(at, DateTime::UNIX_EPOCH, zone).is_empty(), "{zone}");
            }
        }
    }
}
