//! Which refusals of a rollback are wrong: promise 7 of ARCHITECTURE.md from the side of whoever asks.

use crate::domain::deploy::{Kind, Phase};
use crate::domain::ids::DeployId;
use crate::domain::input::{Actor, Answers, InputKind};
use crate::domain::refusal::Refusal;
use crate::domain::state::State;

/// Why a refusal is wrong: a rollback, by somebody with the right, while no other rollback to the same image runs.
pub fn wrongly_refused(state: &State, kind: &InputKind, answers: &Answers, refusal: &Refusal) -> Option<String> {
    let (who, asks): (&Actor, bool) = match kind {
        InputKind::Call(call) if call.command == "rollback" => (&call.who, true),
        InputKind::Press(press) if press.action.starts_with("rollback:") => (&press.who, true),
        InputKind::Press(press) => {
            let id =
                press.action.strip_prefix("go:").and_then(|rest| rest.split(':').next()?.parse().ok()).map(DeployId)?;
            let planned = state.team.deploys.get(&id).filter(|deploy| deploy.plan.kind == Kind::Rollback)?;
            if !matches!(planned.phase, Phase::Planned { .. }) || !state.team.live {
                return None;
            }
            (&press.who, false)
        }
        _ => return None,
    };
    // Freezes, locks and hours are no reason either: they are looked at in every history.
    let running = || state.team.deploys.values().filter(|deploy| deploy.is_running());
    let answered = matches!(answers.inventories.values().next(), Some(Ok(inventory)) if inventory.releases.is_ok());
    let may = who.roles.iter().any(|role| matches!(role.as_str(), "engineer" | "reliability"));
    if !may || (asks && !answered) {
        return None;
    }
    let said = refusal.to_string();
    let does_it = running().any(|deploy| deploy.plan.kind == Kind::Rollback) && said.contains(" is at work on ");
    let fair = said.starts_with("There is no earlier release") || said.ends_with(" already.") || (!asks && does_it);
    (!fair).then(|| format!("7: a rollback is refused: {said}"))
}
