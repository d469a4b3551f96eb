//! Other sizes, another count, none at all: asked for, and for none at all typed out.
//!
//! Pure. A plan and a yes, as for a restart. Taking a service off line has no plan that waits: the form in which its name is typed is
//! the yes.

use super::ship::{self, About, Proposal};
use crate::domain::answer::Answer;
use crate::domain::deploy::scale::{self, Scale};
use crate::domain::draft::Draft;
use crate::domain::ids::DeployId;
use crate::domain::input::{Actor, Answers, Filled, Press};
use crate::domain::message::{Form, FormInput, Message, Text};
use crate::domain::press::flat;
use crate::domain::refusal::Refusal;
use crate::domain::sizing;
use crate::domain::text::{deploys, scale as words};

/// The button under which the form of `/fly zero` comes, and the form itself.
pub const ZERO: &str = "zero";
/// The button that brings back what was scaled to zero.
pub const START_AGAIN: &str = "startagain";
/// The input of the form.
const NAME: &str = "name";

/// Plans it. Nothing is done before somebody says yes.
///
/// # Errors
/// For want of the right or of an answer from the host; when there is no such size or count.
pub fn plan(
    draft: &mut Draft<'_>,
    who: &Actor,
    about: About<'_>,
    scale: Scale,
    why: Option<Text>,
    answers: &Answers,
) -> Result<Text, Refusal> {
    ship::may(&draft.ctx, who, &about.service.name)?;
    let inventory = ship::told(answers, about.app()?)?;
    let wanted = ship::wanted(&draft.ctx, about)?;
    let plan = scale::plan(inventory, &wanted, scale).map_err(Refusal::Because)?;
    ship::refuse_while_busy(&draft.ctx, &plan)?;
    let id = ship::propose(draft, who, Proposal { plan, then: Vec::new(), checks: Vec::new(), why, request: None });
    let deploy = draft.deploy(id).ok_or(Refusal::Broken)?;
    Ok(deploys::planned(&draft.ctx, deploy, deploy.next_due().unwrap_or(draft.ctx.now)))
}

/// Plans to bring back what was scaled to zero.
///
/// # Errors
/// As `plan`.
pub fn start_again(
    draft: &mut Draft<'_>,
    who: &Actor,
    about: About<'_>,
    why: Option<Text>,
    answers: &Answers,
) -> Result<Text, Refusal> {
    let scale = scale::again(&draft.ctx.state.team.deploys, about.app()?);
    plan(draft, who, about, scale, why, answers)
}

/// The form in which whoever wants a service off line types its name.
///
/// # Errors
/// For want of the right; when it has no app.
pub fn zero_form(draft: &Draft<'_>, who: &Actor, about: About<'_>) -> Result<Form, Refusal> {
    ship::may(&draft.ctx, who, &about.service.name)?;
    about.app()?;
    /// Characters of a form's headline.
    const TITLE_CHARS_MAX: usize = 45;
    let name = about.service.name.as_str();
    Ok(Form {
        action: format!("{ZERO}:{}:{name}", about.stage.name()),
        title: crate::domain::text::short(&format!("Take {name} off line ({})", about.stage.name()), TITLE_CHARS_MAX),
        inputs: vec![FormInput {
            name: NAME.to_owned(),
            label: "It stops for everybody. Type its name:".to_owned(),
            long: false,
            required: true,
            value: String::new(),
            hint: name.to_owned(),
            chars_max: 100,
        }],
    })
}

/// The name was typed: it is done at once.
///
/// # Errors
/// When it is another name; for want of the right or of an answer from the host; while observing.
pub fn zero(
    draft: &mut Draft<'_>,
    who: &Actor,
    about: About<'_>,
    typed: &str,
    answers: &Answers,
) -> Result<Text, Refusal> {
    let name = &about.service.name;
    ship::may(&draft.ctx, who, name)?;
    if typed.trim() != name.as_str() {
        return Err(Refusal::because(words::not_typed(name)));
    }
    if !draft.ctx.state.team.live {
        return Err(Refusal::because(words::zero_observing(name)));
    }
    let inventory = ship::told(answers, about.app()?)?;
    let wanted = ship::wanted(&draft.ctx, about)?;
    let plan = scale::plan(inventory, &wanted, Scale::Zero).map_err(Refusal::Because)?;
    let busy = draft.ctx.state.team.deploys.values().find(|deploy| deploy.plan.app == plan.app && deploy.is_running());
    if let Some(busy) = busy.filter(|busy| scale::is_zero(&busy.plan)) {
        return Err(Refusal::because(words::zero_runs(busy.id)));
    }
    let id: DeployId =
        ship::propose(draft, who, Proposal { plan, then: Vec::new(), checks: Vec::new(), why: None, request: None });
    ship::go(draft, who, id, answers)?;
    let deploy = draft.deploy(id).ok_or(Refusal::Broken)?;
    Ok(Text::plain(words::zeroing(deploy)))
}

/// A press on one of its buttons; none when it is about something else.
pub fn pressed(
    draft: &mut Draft<'_>,
    press: &Press,
    verb: &str,
    rest: &str,
    answers: &Answers,
) -> Option<Result<Answer, Refusal>> {
    let ctx = draft.ctx;
    let about = About::pressed(&ctx, rest);
    Some(match verb {
        ZERO => about.and_then(|about| zero_form(draft, &press.who, about)).map(Answer::Open),
        START_AGAIN => about.and_then(|about| {
            let id = draft.next_deploy();
            let said = start_again(draft, &press.who, about, None, answers)?;
            let message: Message = super::back::with_yes(draft, id, said);
            Ok(Answer::only_you(message))
        }),
        sizing::SIZE => size(draft, press, rest, answers),
        _ => return None,
    })
}

/// Plans the size that a digest suggested.
fn size(draft: &mut Draft<'_>, press: &Press, rest: &str, answers: &Answers) -> Result<Answer, Refusal> {
    let (scale, service) =
        sizing::pressed(rest).ok_or_else(|| Refusal::because("That button says nothing any more."))?;
    let about = About::pressed(&draft.ctx, service)?;
    let id = draft.next_deploy();
    let said = plan(draft, &press.who, about, scale, None, answers)?;
    Ok(Answer::only_you(super::back::with_yes(draft, id, said)))
}

/// Its form was filled in; none when it is another.
pub fn filled(draft: &mut Draft<'_>, form: &Filled, answers: &Answers) -> Option<Result<Text, Refusal>> {
    let rest = form.action.strip_prefix(ZERO)?.strip_prefix(':')?;
    let typed = form.values.get(NAME).map(flat).unwrap_or_default();
    let ctx = draft.ctx;
    Some(About::pressed(&ctx, rest).and_then(|about| zero(draft, &form.who, about, &typed, answers)))
}
