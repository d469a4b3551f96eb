//! What logs and figures say of an incident's services when it opens: the last errors, and the last hour as a picture.
//!
//! Pure. Owns what is asked and how it is put together; what could not be asked in time is left out, and nothing at all is said
//! where nothing is measured. The lines and the picture go on no record, only the words around them.

use chrono::TimeDelta;

use super::chart::Mark as Moment;
use super::draft::Ctx;
use super::fact::Moment as When;
use super::figures::picture::{Read, chart};
use super::figures::{Of, Over, of_service, questions, read};
use super::health::Mark;
use super::ids::{IncidentId, Service};
use super::input::{Answers, Query};
use super::logs::{Ask, Filter, Reach, SERVICES_MAX, Trouble};
use super::message::{Card, Message, Text};
use super::text::{logs as log_words, metrics as words};
use super::verbs::logs::{Turn, Wanted};
use super::workspace::Stage;

/// Lines of errors.
const LINES_MAX: usize = 8;
/// How far back errors are looked for.
const ERRORS_OF: TimeDelta = TimeDelta::minutes(15);
/// How far back figures are shown.
const FIGURES_OF: TimeDelta = TimeDelta::hours(1);
/// Services with a picture; a message carries no more.
const PICTURES_MAX: usize = 3;

/// What must be asked about these services; nothing when none was named or none runs at the host.
pub fn queries(ctx: &Ctx<'_>, services: &[Service]) -> Vec<Query> {
    let logs = errors(ctx, services).map(|(_, ask)| Query::Logs(Box::new(ask)));
    let figures = questions(ctx, &measured(ctx, services), Over::last(FIGURES_OF, ctx.now));
    logs.into_iter().chain(figures).collect()
}

/// The production of these that runs at the host.
pub fn measured<'a>(ctx: &Ctx<'a>, services: &[Service]) -> Vec<Of<'a>> {
    let specs = services.iter().filter_map(|service| ctx.workspace.service(service.as_str()));
    let of = specs.filter_map(|spec| {
        let app = spec.production.fly_app.as_deref()?;
        Some(Of { service: &spec.name, stage: Stage::Production, app })
    });
    of.take(SERVICES_MAX).collect()
}

fn errors(ctx: &Ctx<'_>, services: &[Service]) -> Option<(Wanted, Ask)> {
    let names: Vec<&str> = measured(ctx, services).iter().map(|of| of.service.as_str()).collect();
    let wanted = Wanted { services: names.join(","), stage: Stage::Production, filter: Filter::Errors, contains: None };
    let ask = wanted.ask(ctx.workspace, Turn::Page(Reach::Last(ERRORS_OF))).ok()?;
    Some((wanted, Ask { lines: LINES_MAX, ..ask }))
}

/// What was found, as one silent message for the incident's thread; none when there is nothing to say.
pub fn message(ctx: &Ctx<'_>, id: IncidentId, services: &[Service], answers: &Answers) -> Option<Message> {
    let mut message = Message::default();
    if let Some((wanted, ask)) = errors(ctx, services) {
        match &answers.logs {
            Some(Ok(found)) => message = log_words::last_errors(ctx, &wanted, &ask, found),
            Some(Err(Trouble::Silent(says))) => message = Message::line(log_words::no_errors_read(says)),
            // Without a token nobody expects any; what was not told in time is left out.
            Some(Err(Trouble::NoToken)) | None => {}
        }
    }
    let over = Over::last(FIGURES_OF, ctx.now);
    let mut told: Vec<(Of<'_>, Read<'_>)> = Vec::new();
    for of in measured(ctx, services) {
        let mut found: Read<'_> = Vec::new();
        for shown in of_service(ctx, of.service) {
            let reading = read(&shown, &of, over, answers);
            if reading.as_ref().is_ok_and(|reading| reading.newest.is_some()) {
                found.push((shown, reading));
            }
        }
        if !found.is_empty() {
            told.push((of, found));
        }
    }
    message.card = card(ctx, over, &told);
    for (of, found) in told.iter().take(PICTURES_MAX) {
        let mut drawn = chart(ctx, of, over, found);
        let began = ctx.state.incidents.get(&id).and_then(|incident| incident.time(When::Started));
        if let Some(at) = began.filter(|at| (over.from..=over.to).contains(at)) {
            drawn.marks.push(Moment { at, label: id.to_string() });
            drawn.marks.sort_by_key(|mark| mark.at);
        }
        message = message.picture(drawn);
    }
    (message != Message::default()).then_some(message)
}

/// The figures in words, each service under its own headline.
fn card(ctx: &Ctx<'_>, over: Over, told: &[(Of<'_>, Read<'_>)]) -> Option<Card> {
    let zone = ctx.workspace.team.zone;
    let headed = told.iter().map(|(of, found)| {
        let judged = found.iter().filter(|(shown, _)| shown.target.is_some());
        let marks: Vec<Mark> =
            judged.map(|(_, reading)| reading.as_ref().map_or(Mark::Unknown, |reading| reading.mark)).collect();
        let about = words::about(of.service.as_str(), of.stage);
        // What nobody wants within bounds meets none and misses none.
        let title = if marks.is_empty() { about } else { words::headline(&about, &marks, 0) };
        (title, marks, words::lines(found, ctx.now, zone))
    });
    let mut headed: Vec<(String, Vec<Mark>, Vec<String>)> = headed.collect();
    let marks: Vec<Mark> = headed.iter().flat_map(|(_, marks, _)| marks).copied().collect();
    let tone = words::tone(&marks);
    let card = match headed.len() {
        0 => return None,
        1 => {
            let (title, _, lines) = headed.remove(0);
            lines.into_iter().fold(Card::new(title, tone), Card::line)
        }
        _ => {
            let card = Card::new(words::FIGURES, tone);
            headed.into_iter().fold(card, |card, (title, _, lines)| card.row(title, lines.join("\n")))
        }
    };
    Some(card.line(Text::plain(words::over(over.to - over.from))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::InputId;
    use crate::domain::logs::{Found, Line};
    use crate::domain::metrics::Series;
    use crate::domain::policy::{Policy, SHIPPED};
    use crate::domain::state::State;
    use crate::domain::workspace::Workspace;

    const TEAM: &str = "team = { name = \"t\", zone = \"UTC\" }\nchannels = { incidents = \"i\", test = \"t\" }\n\
        people = []\n[[services]]\nname = \"shop\"\nproduction = { fly_app = \"shop\" }\n[[services]]\nname = \"search\"\n\
        production = {}";

    fn with(look: impl FnOnce(&Ctx<'_>)) {
        let workspace: Workspace = toml::from_str(TEAM).unwrap_or_else(|error| panic!("{error}"));
        let policy = Policy::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
        let (state, input) = (State::default(), InputId::new("x"));
        let now = chrono::DateTime::from_timestamp(1_795_500_000, 0).unwrap_or_default();
        look(&Ctx { state: &state, policy: &policy, workspace: &workspace, now, input: &input });
    }

    #[test]
    fn what_a_log_says_goes_on_no_record() {
        with(|ctx| {
            let line = Line { message: "a name in a line".to_owned(), ..Line::default() };
            let found = Found { lines: vec![line], is_whole: true, ..Found::default() };
            let points = (0..60).map(|n| (ctx.now - TimeDelta::minutes(n), 0.09)).rev().collect();
            let answers = Answers {
                logs: Some(Ok(found)),
                figures: [("errors".to_owned(), Ok(vec![Series { points, ..Series::default() }]))].into(),
                ..Answers::default()
            };
            let services = [Service::new("shop"), Service::new("search")];
            let message = message(ctx, IncidentId(7), &services, &answers).unwrap_or_else(|| panic!("nothing"));
            assert_eq!((message.passing.len(), message.pictures.len(), message.pings.len()), (2, 1, 0));
            let kept = serde_json::to_string(&message).unwrap_or_else(|error| panic!("{error}"));
            assert!(kept.contains("1 line") && kept.contains("error rate"), "{kept}");
            assert!(!kept.contains("a name in a line"), "{kept}");
        });
    }

    #[test]
    fn what_is_not_known_is_no_noise() {
        with(|ctx| {
            let services = [Service::new("shop")];
            let none = |answers: &Answers| message(ctx, IncidentId(7), &services, answers).is_none();
            assert!(none(&Answers::default()), "nothing was told in time");
            let refused = Answers {
                logs: Some(Err(Trouble::NoToken)),
                figures: [("errors".to_owned(), Err("no token".to_owned()))].into(),
                ..Answers::default()
            };
            assert!(none(&refused), "there is no token");
            assert!(queries(ctx, &[]).is_empty() && queries(ctx, &[Service::new("search")]).is_empty());
            let logs = queries(ctx, &services).into_iter().filter(|query| matches!(query, Query::Logs(_)));
            assert_eq!(logs.count(), 1, "the driver asks for one page of lines");
        });
    }
}
