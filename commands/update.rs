//! `/update`: say where it stands. Without words it opens the form.

use super::{Command, incident_option, nothing, told};
use crate::domain::command_spec::{CommandSpec, OptionKind};
use crate::domain::draft::{Ctx, Decision, Draft};
use crate::domain::input::{Call, Press};
use crate::domain::message::Text;
use crate::domain::policy::Right;
use crate::domain::press;
use crate::domain::refusal::Refusal;
use crate::domain::schedule::parse_duration;
use crate::domain::verbs::meant_open;
use crate::domain::verbs::update::{Update, update};

/// `/update`.
pub const COMMAND: Command = Command {
    spec: || {
        CommandSpec::slash("update", "Say where it stands; without words it opens a form")
            .with_right(Right::Respond)
            .takes("what", "What is known, what is being done", OptionKind::Text { chars_max: 4_000 })
            .takes("next", "When the next update comes: 15m, 1h", OptionKind::Text { chars_max: 20 })
            .takes("announce", "Tell the announcements channel too", OptionKind::Flag)
            .takes("incident", "Which one; the only one open when left out", incident_option())
    },
    needs: nothing,
    decide: |ctx, call, answers| {
        let Some(what) = call.text("what") else {
            let (incident, _) = meant_open(&ctx, call.word("incident").as_deref(), &call.place)?;
            let draft = Draft::new(ctx);
            draft.ctx.require(&call.who, Right::Respond)?;
            let on = crate::domain::ids::Posted { place: call.place.clone(), message: String::new() };
            let action = format!("update:{}", incident.id.0);
            let press = Press { who: call.who.clone(), place: call.place.clone(), action, values: vec![], on };
            return press::press(draft, &press, answers);
        };
        give(ctx, call, &what).or_else(|refusal| press::give_back(&ctx, refusal, &what))
    },
};

fn give(ctx: Ctx<'_>, call: &Call, what: &Text) -> Result<Decision, Refusal> {
    let (incident, guessed) = meant_open(&ctx, call.word("incident").as_deref(), &call.place)?;
    let mut draft = Draft::new(ctx);
    let next_in = match call.word("next") {
        Some(typed) => Some(parse_duration(&typed).map_err(|error| Refusal::because(error.to_string()))?),
        None => None,
    };
    let given = Update { what: what.clone(), next_in, announce: call.flag("announce"), source: None };
    let line = update(&mut draft, &call.who, incident.id, given)?;
    Ok(draft.say(told(guessed, incident, line)))
}
