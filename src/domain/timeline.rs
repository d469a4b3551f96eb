//! The timeline for people: a sentence for every fact that matters, none for the rest.
//!
//! Pure. The record holds more than is shown here; `/incident export` gives all of it.

use super::draft::Ctx;
use super::fact::{Fact, Part, Status};
use super::incident::{Entry, Incident};
use super::message::{Card, File, Message, Text, Tone};
use super::promise::Step;
use super::text;

/// Lines shown in chat; the whole goes along as a file when there are more.
const LINES_MAX: usize = 20;
/// Characters of one line shown in chat, so that one long update does not push the rest out of sight.
const LINE_CHARS_MAX: usize = 240;

/// One line of the timeline, without its time; none for a fact that people need not read.
pub fn line(fact: &Fact) -> Option<Text> {
    let plain = |words: String| Some(Text::plain(words));
    match fact {
        // What the bot saw stands in the details.
        Fact::Opened { severity, by, details, .. } => Some(match by {
            Some(by) => Text::plain(format!("{severity} declared by ")).person(by),
            None if details.is_blank() => Text::plain(format!("{severity} declared by me")),
            None => Text::plain(format!("{severity} declared by me: ")).join(details.clone()),
        }),
        Fact::Acknowledged { by, by_declaring: false, by_rolling_back } => {
            let line = Text::plain("Acknowledged by ").person(by);
            Some(if *by_rolling_back { line.text(", by rolling back") } else { line })
        }
        Fact::Escalated { level: 0, .. } => plain("Waits for working hours before anybody is called".to_owned()),
        Fact::Escalated { level, why, .. } => plain(
            format!("Level {level} called, {}", text::escalation_why(*why, chrono::TimeDelta::zero()))
                .map_not_acknowledged(),
        ),
        Fact::EscalationStopped { why } => plain(format!("Nobody further is called: {why}")),
        Fact::Reminded { promise, step, missed, .. } => plain(match step {
            Step::Nudge => format!("Reminded: {} nearly due", promise.name()),
            Step::Due => format!("Reminded: {} due", promise.name()),
            Step::Late | Step::Again => format!("Reminded: {} late ({missed} missed)", promise.name()),
        }),
        Fact::PromiseWaived { .. } | Fact::PromiseKept { .. } | Fact::PromiseMade { .. } | Fact::Replanned { .. } => {
            None
        }
        Fact::Snoozed { by, next, .. } => {
            Some(Text::plain("Reminder snoozed by ").person(by).text(" until ").clock(next.at))
        }
        Fact::StaleAsked { .. } => plain("Asked whether anybody is still on it".to_owned()),
        Fact::StillHere { by } => Some(Text::default().person(by).text(" is still on it")),
        Fact::RoleTaken { part, who, by } => {
            let line = Text::default().person(who).text(format!(" is {}", part.name()));
            Some(if who == by { line } else { line.text(", said ").person(by) })
        }
        Fact::SeverityChanged { from, to, by, why } => {
            let line = Text::plain(format!("{from} → {to}, by ")).person(by);
            Some(match why {
                Some(why) => line.text(": ").join(why.clone()),
                None => line,
            })
        }
        Fact::StatusChanged { to, by, why, .. } => {
            let line = Text::plain(text::capital(match to {
                Status::Monitoring => "mitigated; being watched",
                status => status.name(),
            }));
            let line = match by {
                Some(by) => line.text(", by ").person(by),
                None => line.text(", by itself"),
            };
            Some(match why {
                Some(why) => line.text(": ").join(why.clone()),
                None => line,
            })
        }
        Fact::Updated { by, what, announced, .. } => {
            let line = Text::plain("Update by ").person(by);
            Some(line.text(if *announced { " (announced): " } else { ": " }).join(what.clone()))
        }
        Fact::Noted { by, what, author, link, images, .. } => {
            let mut line = Text::plain("Note by ").person(by);
            if let Some(author) = author {
                line = line.text(", as ").person(author).text(" wrote");
            }
            line = line.text(": ").join(what.clone());
            if !images.is_empty() {
                line = line.text(format!(" [{} image(s)]", images.len()));
            }
            if let Some(link) = link {
                line = line.text(" ");
                line.0.push(super::message::Span::Link { label: "(message)".to_owned(), url: link.clone() });
            }
            Some(line)
        }
        Fact::TimeSet { which, to, by } => Some(
            Text::plain(format!("Set as {}: ", which.name()))
                .time(*to, super::message::TimeStyle::Full)
                .text(", by ")
                .person(by),
        ),
        Fact::ServicesSet { services, .. } => {
            let names: Vec<&str> = services.iter().map(|service| service.as_str()).collect();
            plain(format!("Touches {}", names.join(", ")))
        }
        Fact::Recovered { service } => plain(format!("{service} answers again")),
        Fact::Relapsed { service, why } => plain(format!("{service} is down again: {why}")),
        Fact::VerifyStarted { until, .. } => Some(Text::plain("Verification until ").clock(*until)),
        Fact::VerifyReset { why, until } => {
            Some(Text::plain(format!("Verification begins anew ({why}), until ")).clock(*until))
        }
        Fact::VerifyHeld { why, until } => {
            Some(Text::plain(format!("Green, and not verified: {why}. Once more until ")).clock(*until))
        }
        Fact::Verified => plain("Verification passed".to_owned()),
        Fact::ResolveWhenGreen { by } => Some(Text::plain("To resolve by itself when green, said ").person(by)),
        Fact::Cancelled { by, why } => Some(Text::plain("Cancelled by ").person(by).text(": ").join(why.clone())),
        Fact::Reopened { by, why } => {
            let line = match by {
                Some(by) => Text::plain("Reopened by ").person(by),
                None => Text::plain("Reopened by itself"),
            };
            Some(line.text(": ").join(why.clone()))
        }
        Fact::Reviewed { by, what } => Some(Text::plain("Reviewed by ").person(by).text(": ").join(what.clone())),
        Fact::AlertJoined { alert, title } => plain(format!("{alert} {title} fires")),
        Fact::AlertOver { alert, title } => plain(format!("{alert} {title} is over")),
        Fact::Acted { what, .. } => Some(what.clone()),
        Fact::ReleasesSeen { service, releases, .. } => text::releases::deployed_elsewhere(service, releases),
        Fact::ReleaseEnded { service, version, status, .. } => {
            plain(format!("{service}: v{version} is {status}, says Fly"))
        }
        Fact::GivenUp { why, .. } => plain(format!("Not delivered: {why}")),
        _ => None,
    }
}

trait NotAcknowledged {
    fn map_not_acknowledged(self) -> Self;
}

impl NotAcknowledged for String {
    /// On the record the time speaks for itself.
    fn map_not_acknowledged(self) -> Self {
        self.replace(" within 0 s", " in time").replace(" within 0 min", " in time")
    }
}

/// The lines that people read, with their times.
pub fn lines(incident: &Incident) -> Vec<(&Entry, Text)> {
    incident.timeline.iter().filter_map(|entry| line(&entry.fact).map(|text| (entry, text))).collect()
}

/// The timeline as a message; what does not fit goes along as a file.
pub fn message(ctx: &Ctx<'_>, incident: &Incident) -> Message {
    let all = lines(incident);
    let mut card = Card::new(format!("Timeline of {}", incident.id), Tone::Quiet);
    let left_out = all.len().saturating_sub(LINES_MAX);
    let mut shortened = false;
    if left_out > 0 {
        card = card.line(format!("The first {left_out} lines are in the file."));
    }
    for (entry, text) in all.iter().skip(left_out) {
        let short = text::short_text(text, LINE_CHARS_MAX);
        shortened |= short != *text;
        card = card.line(Text::default().clock(entry.at).text(" ").join(short));
    }
    card = card.line(format!("{}.", text::capital(&text::kept(incident, ctx.now))));
    let mut message = Message::card(card);
    if left_out > 0 || shortened {
        message.files.push(File { name: format!("{}-timeline.md", incident.id), text: document(ctx, incident) });
    }
    message
}

/// The whole record of an incident as a document.
pub fn document(ctx: &Ctx<'_>, incident: &Incident) -> String {
    let zone = ctx.workspace.team.zone;
    let name = |text: &Text| plain(ctx, text);
    let mut out = format!("# {}\n\n", text::headline(incident));
    out.push_str(&format!("- Status: {}\n", incident.status.name()));
    if let Some(lead) = incident.lead() {
        out.push_str(&format!("- Lead: {}\n", ctx.workspace.name_of(lead).unwrap_or(lead.local())));
    }
    for (part, who) in incident.parts.iter().filter(|(part, _)| **part != Part::Lead) {
        out.push_str(&format!(
            "- {}: {}\n",
            text::capital(part.name()),
            ctx.workspace.name_of(who).unwrap_or(who.local())
        ));
    }
    for (moment, at) in incident.times.iter() {
        let at = at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z");
        out.push_str(&format!("- {}: {at}\n", text::capital(moment.name())));
    }
    out.push_str(&format!("- Promises: {}\n", text::kept(incident, ctx.now)));
    if !incident.details.is_blank() {
        out.push_str(&format!("\n{}\n", name(&incident.details)));
    }
    out.push_str("\n## Timeline\n\n");
    for (entry, text) in lines(incident) {
        let at = entry.at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S");
        out.push_str(&format!("- {at} {}\n", name(&text).replace('\n', " ")));
    }
    out
}

/// Text without any chat's markup, people by their configured names, times in the team's zone.
pub fn plain(ctx: &Ctx<'_>, text: &Text) -> String {
    use super::message::Span;
    text.0
        .iter()
        .map(|span| match span {
            Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.clone(),
            Span::Person(person) => ctx.workspace.name_of(person).unwrap_or(person.local()).to_owned(),
            Span::Role(role) => role.as_str().to_owned(),
            Span::Place(place) => place.local().to_owned(),
            Span::Time { at, .. } => text::clock(*at, ctx.workspace.team.zone),
            Span::Link { label, url } => format!("{label} {url}"),
        })
        .collect()
}

/// What the bot itself saw and did since the last update, offered as the words of the next.
pub fn draft_update(incident: &Incident) -> String {
    let since = incident.last_update.as_ref().map(|(at, ..)| *at);
    let mut words = Vec::new();
    for entry in incident.timeline.iter().filter(|entry| since.is_none_or(|since| entry.at > since)) {
        match &entry.fact {
            Fact::Recovered { service } => words.push(format!("{service} answers again.")),
            Fact::Relapsed { service, .. } => words.push(format!("{service} is down again.")),
            Fact::StatusChanged { to: Status::Monitoring, .. } => words.push("Mitigated; watching.".to_owned()),
            _ => {}
        }
    }
    words.dedup();
    words.join(" ")
}
