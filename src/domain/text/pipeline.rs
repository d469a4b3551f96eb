//! What the bot says to a pipeline, and about one.
//!
//! Pure. One function a sentence, as in `text.rs`. To a pipeline everything is plain words: it has no zone and no buttons.

use super::{capital, clock_of_day, gates, roles};
use crate::domain::deploy::gates::Gate;
use crate::domain::deploy::{Deploy, Verdict};
use crate::domain::draft::Ctx;
use crate::domain::ids::{DeployId, Role};
use crate::domain::message::{Span, Text};
use crate::domain::pipeline::Request;
use crate::domain::policy::Right;
use crate::domain::verbs;

/// A text for whoever has no chat: people by name, times in the team's zone.
pub fn plain(ctx: &Ctx<'_>, text: &Text) -> String {
    let words: String = text
        .0
        .iter()
        .map(|span| match span {
            Span::Text(words) | Span::Bold(words) | Span::Code(words) => words.clone(),
            Span::Person(person) => ctx.workspace.name_of(person).unwrap_or_else(|| person.local()).to_owned(),
            Span::Role(role) => role.to_string(),
            Span::Place(place) => place.local().to_owned(),
            Span::Time { at, .. } => clock_of_day(*at, ctx.now, ctx.workspace.team.zone),
            Span::Link { label, .. } => label.clone(),
        })
        .collect();
    words.trim().to_owned()
}

/// Whom a deploy was asked for by: a pipeline says who set it off.
pub fn asked_by(by: Text, request: Option<&Request>) -> Text {
    let Some(request) = request else { return by };
    match (&request.person, &request.actor) {
        (Some(person), _) => by.text(", for ").person(person),
        (None, Some(actor)) => by.text(format!(", for {actor}, whom I do not know: four eyes cannot be kept")),
        (None, None) => by.text(", for nobody named: four eyes cannot be kept"),
    }
}

/// What it was made from: the commit, and where the run can be looked at.
pub fn made_from(request: &Request) -> Option<Text> {
    /// Digits that a commit is told by.
    const COMMIT_CHARS: usize = 12;
    let commit = request.commit.as_deref().map(|commit| commit.chars().take(COMMIT_CHARS).collect::<String>());
    let run = |label: &str, url: &String| Text(vec![Span::Link { label: label.to_owned(), url: url.clone() }]);
    match (commit, &request.url) {
        (Some(commit), Some(url)) => Some(Text::default().code(commit).text(", ").join(run("the run", url))),
        (Some(commit), None) => Some(Text::default().code(commit)),
        (None, Some(url)) => Some(run("the run", url)),
        (None, None) => None,
    }
}

/// What to do about a plan that waits.
pub fn next(ctx: &Ctx<'_>, deploy: &Deploy, is_refused: bool) -> String {
    if !ctx.state.team.live {
        return "I am only observing and change nothing: `/watchbell live` lets me.".to_owned();
    }
    if is_refused {
        return format!("Its card says how to go on; {} is not started before that.", deploy.id);
    }
    let until = deploy.next_due().map(|at| clock_of_day(at, ctx.now, ctx.workspace.team.zone)).unwrap_or_default();
    let is_approved = deploy.approval.as_ref().is_some_and(|approval| approval.until > ctx.now);
    match is_approved || verbs::deploy::own(ctx).is_some() {
        true => {
            let whom = roles(ctx.policy.holders(Right::Deploy));
            format!("Somebody of {whom} presses Start on its card by {until}.")
        }
        false => {
            let whom = roles(ctx.policy.holders(Right::Approve));
            format!("I have asked {whom} to approve it by {until}.")
        }
    }
}

/// How a refused check can be passed, for whom no reason of its own passes one.
pub fn way_past(gate: Gate, holders: &[Role]) -> String {
    const A_FIX: &str = "for an open incident a person's `/deploy` with `why` passes it";
    match gate {
        Gate::Freeze => format!("wait; {A_FIX}; {}", gates::whom(holders)),
        Gate::Health => format!("mend it first; {A_FIX}; {}", gates::whom(holders)),
        _ => gates::way_past(gate, holders),
    }
}

/// It is over.
pub fn over(deploy: &Deploy, verdict: Verdict) -> String {
    match deploy.seen.as_deref().map(|seen| capital(seen.trim_end_matches('.'))) {
        Some(seen) => format!("{}. {seen}.", verdict.words()),
        None => format!("{}.", verdict.words()),
    }
}

/// No pipeline is set up.
pub fn none() -> String {
    "No pipeline may ask for deploys: [pipeline] in watchbell.toml lets one.".to_owned()
}

/// The service is not among those that it may ask for.
pub fn not_its_service(service: &str) -> String {
    format!("The pipeline may not ask for {service}: [pipeline] services in watchbell.toml names what it may.")
}

/// The name is another request's.
pub fn other_request(id: &str, deploy: DeployId) -> String {
    format!("The request {id} was another one and is {deploy}. Give this one a name of its own.")
}

/// A person's plan waits for the same app.
pub fn behind(deploy: &Deploy, by: &str) -> String {
    format!(
        "{}, which {by} asked for, waits for a yes, and a pipeline calls off no plan of a person's. Start it or cancel it on its card, and \
         ask again.",
        deploy.id
    )
}

/// The file in the repository says otherwise.
pub fn other_fly_toml(differs: &[String]) -> String {
    format!(
        "A deploy changes the image only, and fly.toml is not what runs: {}. Bring it there first (`fly deploy`, `/fly memory`, `/fly cpu`), \
         or leave --fly-toml out.",
        differs.join("; ")
    )
}
