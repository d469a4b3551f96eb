//! What the bot says about deploys, rollbacks and restarts.
//!
//! Pure. One function a sentence, as in `text.rs`.

use chrono::{DateTime, Utc};

use super::{capital, span};
use crate::domain::deploy::{Deploy, Kind, Plan, Verdict};
use crate::domain::ids::{DeployId, Person};
use crate::domain::message::Text;
use crate::domain::workspace::Stage;

/// "roll back checkout to v41", "restart checkout (staging)".
pub fn intent(plan: &Plan) -> String {
    let service = match plan.stage {
        Stage::Production => plan.service.to_string(),
        Stage::Staging => format!("{} (staging)", plan.service),
    };
    match plan.kind {
        Kind::Deploy => format!("deploy {} to {service}", plan.to.short()),
        Kind::Rollback => format!("roll back {service} to {}", plan.to.short()),
        Kind::Restart => format!("restart {service}"),
    }
}

/// "DEP-3 Roll back checkout to v41".
pub fn headline(deploy: &Deploy) -> String {
    format!("{} {}", deploy.id, capital(&intent(&deploy.plan)))
}

/// Somebody said yes.
pub fn started(deploy: &Deploy, by: &Person) -> Text {
    Text::plain(format!("{}: started by ", headline(deploy))).person(by).text(".")
}

/// What came of it.
pub fn judged(deploy: &Deploy, verdict: Verdict, seen: &str, now: DateTime<Utc>) -> Text {
    let took = deploy.started_at.map(|at| span(now - at)).unwrap_or_default();
    let seen = capital(seen.trim_end_matches('.'));
    Text::plain(format!("{}: {}. {seen}. It took {took}.", headline(deploy), verdict.words()))
}

/// Who asked is told what to do next.
pub fn planned(deploy: &Deploy, until: DateTime<Utc>) -> Text {
    let plan = &deploy.plan;
    Text::plain(format!("{}, now {}. Nothing is done before somebody presses ", headline(deploy), plan.from.words()))
        .bold(super::super::deploy::board::yes(plan))
        .text("; that counts until ")
        .clock(until)
        .text(".")
}

/// It is over, or never was.
pub fn not_waiting(deploy: &Deploy) -> String {
    match (deploy.verdict, &deploy.started_by) {
        (Some(verdict), _) => format!("{} is over: {}.", deploy.id, verdict.words()),
        (None, _) => format!("{} runs already. Its card shows how far it is.", deploy.id),
    }
}

/// There is no such deploy any more.
pub fn unknown(id: DeployId) -> String {
    format!("{id} is no longer at hand. `/rollback` or `/fly restart` makes a new plan.")
}
