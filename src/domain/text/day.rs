//! What a digest says of the changes since the one before.
//!
//! Pure. One function a sentence, as in `text.rs`.

use super::{clock_of_day, deploys};
use crate::domain::deploy::day::Since;
use crate::domain::deploy::{Deploy, Kind};
use crate::domain::draft::Ctx;
use crate::domain::fact::At;
use crate::domain::health::Mark;
use crate::domain::message::Text;
use crate::domain::schedule;

/// "2 deploys and 1 rollback since Tue 1 Dec 09:00".
pub fn head(ctx: &Ctx<'_>, changes: &[&Deploy], since: At) -> Text {
    let counted =
        [Kind::Deploy, Kind::Rollback, Kind::Restart, Kind::Scale].into_iter().filter_map(|kind| {
            match changes.iter().filter(|deploy| deploy.plan.kind == kind).count() {
                0 => None,
                1 => Some(format!("1 {}", kind.noun())),
                count => Some(format!("{count} {}s", kind.noun())),
            }
        });
    let counted: Vec<String> = counted.collect();
    let since = schedule::local_words(since, ctx.workspace.team.zone);
    Text::plain(format!("{} since {since}", schedule::join(&counted)))
}

/// "DEP-3 Deploy deployment-43 to checkout, by ben, started by mia: succeeded; well now".
pub fn change(ctx: &Ctx<'_>, deploy: &Deploy, since: &Since) -> Text {
    let line = Text::plain(format!("{}, ", deploys::headline(deploy)));
    let line = match deploy.by_itself {
        true => line.text("by me"),
        false => super::pipeline::asked_by(line.text("by ").person(&deploy.by), deploy.request.as_ref()),
    };
    let line = match deploy.started_by.as_ref().filter(|by| **by != deploy.by) {
        Some(by) => line.text(", started by ").person(by),
        None => line,
    };
    let line = match deploy.verdict {
        Some(verdict) => line.text(format!(": {}", verdict.words())),
        None => line.text(":"),
    };
    let mut line = line.text(how(ctx, deploy, since));
    for waiver in &deploy.waivers {
        line = line.text(format!("; {} passed by ", waiver.gate.name())).person(&waiver.by);
    }
    line
}

fn how(ctx: &Ctx<'_>, deploy: &Deploy, since: &Since) -> String {
    let how = match since {
        Since::TakenBack(by) => format!("taken back by {by}"),
        Since::Followed(by) => format!("followed by {by}"),
        Since::UnderWay => return " under way".to_owned(),
        Since::Watched(until) => {
            format!("watched until {}", clock_of_day(*until, ctx.now, ctx.workspace.team.zone))
        }
        Since::Incident(incident) => format!("{incident} since then"),
        Since::Now(Mark::Ok) => "well now".to_owned(),
        Since::Now(Mark::Warning) => "a warning now".to_owned(),
        Since::Now(Mark::Critical) => "not well now".to_owned(),
        Since::Now(Mark::Unknown) | Since::NotLooked => "how it is now is not known".to_owned(),
    };
    if deploy.verdict.is_none() { format!(" {how}") } else { format!("; {how}") }
}

/// There are more than are told.
pub fn others() -> Text {
    Text::plain("There may be others: ").code("/fly history").text(" has the last of each service")
}
