//! "Roll back v42": from a page to a rollback that runs, in two taps.
//!
//! Pure. The first tap makes the plan and answers with the button that starts it, so that nobody has to look for a card. Owns what
//! these taps say of the incident: whoever is on call and rolls back has taken it up, and a rollback at work answers "mitigated
//! yet?". What is planned and who may is `ship`.

use chrono::{DateTime, TimeDelta, Utc};

use super::respond;
use super::ship::{self, About, Asked};
use crate::domain::deploy::{Kind, board, plan};
use crate::domain::draft::{Ctx, Draft};
use crate::domain::hosting::Inventory;
use crate::domain::ids::{DeployId, IncidentId, Place};
use crate::domain::input::{Actor, Answers};
use crate::domain::message::{Button, ButtonStyle, Message, Text};
use crate::domain::refusal::Refusal;
use crate::domain::text::releases as words;

/// "Mitigated yet?" is put off by this while a rollback is at work.
const ASKED_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(2);

/// What stands on the button: `7:42:checkout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressed<'a> {
    /// The incident that it was shown on.
    pub incident: IncidentId,
    /// The release to take back.
    pub version: u64,
    service: &'a str,
}

impl<'a> Pressed<'a> {
    /// Reads it; none when it is another button's.
    pub fn read(rest: &'a str) -> Option<Self> {
        let (incident, rest) = rest.split_once(':')?;
        let (version, service) = rest.split_once(':')?;
        Some(Self { incident: incident.parse().ok()?, version: version.parse().ok()?, service })
    }

    /// Production of its service.
    ///
    /// # Errors
    /// When there is no such service any more.
    pub fn about<'c>(&self, ctx: &Ctx<'c>) -> Result<About<'c>, Refusal> {
        About::meant(ctx, Some(self.service), None, &Place::new(""))
    }
}

/// The first tap: a plan, answered with the button that starts it.
///
/// # Errors
/// As `ship::plan`; and when that release does not run any more: an old button must not bring back what it was to take away.
pub fn plan_it(
    draft: &mut Draft<'_>,
    who: &Actor,
    pressed: &Pressed<'_>,
    answers: &Answers,
) -> Result<Message, Refusal> {
    let about = pressed.about(&draft.ctx)?;
    let app = about.app()?;
    if let Some(Ok(inventory)) = answers.inventory(app) {
        refuse_what_is_gone(&draft.ctx, app, inventory, pressed.version)?;
    }
    let message = ship::plan(draft, who, about, Kind::Rollback, Asked::default(), answers)?;
    Ok(match acknowledge(draft, who, pressed.incident) {
        Some(line) => message.and(line),
        None => message,
    })
}

fn refuse_what_is_gone(ctx: &Ctx<'_>, app: &str, inventory: &Inventory, version: u64) -> Result<(), Refusal> {
    let Some(runs) = plan::running(inventory) else { return Ok(()) };
    let known = ctx.state.team.releases.get(app).and_then(|ledger| ledger.get(version));
    let runs_it = runs.version == Some(version) || known.is_some_and(|known| known.image.is(&runs.image));
    // Where neither the host nor the ledger knows it, the plan itself shows what runs.
    let is_known = runs.version.is_some() || known.is_some();
    if is_known && !runs_it { Err(Refusal::because(words::not_there(version, &runs.words()))) } else { Ok(()) }
}

/// A plan's answer, with the buttons of its card: the second tap is on the same screen.
pub fn with_yes(draft: &Draft<'_>, id: DeployId, said: Text) -> Message {
    let message = Message::line(said);
    match draft.deploy(id) {
        Some(deploy) => {
            let DeployId(n) = id;
            let mut message =
                message.button(format!("go:{n}:{}", deploy.mark()), board::yes(&deploy.plan), ButtonStyle::Danger);
            message.buttons.push(Button::new(format!("no:{n}"), "Cancel", ButtonStyle::Plain));
            message
        }
        None => message,
    }
}

/// Somebody said yes to a rollback: its incident is taken up by that, when they are on call.
pub fn said_yes(draft: &mut Draft<'_>, who: &Actor, id: DeployId) -> Option<Text> {
    let deploy = draft.deploy(id).filter(|deploy| deploy.plan.kind == Kind::Rollback)?;
    let incident = deploy.incident?;
    acknowledge(draft, who, incident)
}

fn acknowledge(draft: &mut Draft<'_>, who: &Actor, id: IncidentId) -> Option<Text> {
    let is_unclaimed = draft.incident(id).is_ok_and(|one| one.status.is_open() && !one.is_acknowledged());
    if !is_unclaimed || !stands_watch(&draft.ctx, who) {
        return None;
    }
    // Whoever may not acknowledge has still rolled back.
    respond::acknowledge_by_rolling_back(draft, who, id).ok()
}

/// Whether somebody is on call for level 1; without a rotation everybody with its role is.
fn stands_watch(ctx: &Ctx<'_>, who: &Actor) -> bool {
    match ctx.on_call() {
        Some((person, _)) => person == who.person,
        None => who.roles.contains(ctx.first_role()),
    }
}

/// When to ask again whether an incident is mitigated, while a rollback for it is at work or being watched.
pub fn at_work(ctx: &Ctx<'_>, id: IncidentId) -> Option<DateTime<Utc>> {
    let deploys = ctx.state.team.deploys.values();
    let rollbacks = deploys.filter(|deploy| deploy.incident == Some(id) && deploy.plan.kind == Kind::Rollback);
    let again = ctx.now + ASKED_AGAIN_AFTER;
    rollbacks.filter(|one| one.is_started()).map(|one| one.next_due().unwrap_or(again).max(again)).max()
}
