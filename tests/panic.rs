//! A decision that panics: a refusal and a report, and the loop goes on. Nothing that ships is known to make one panic, so the
//! decisions here are the real ones with a trap before them.

use watchbell::commands;
use watchbell::domain::draft::{Ctx, Decision};
use watchbell::domain::health::Transition;
use watchbell::domain::input::{Answers, InputKind};
use watchbell::domain::refusal::Refusal;

#[path = "support/alone.rs"]
mod alone;

use alone::Alone;

/// The title on which a decision panics.
const TRAP: &str = "the trap";

/// The real decisions, but for the trap and for whatever is due.
fn trapped(
    ctx: Ctx<'_>,
    input: &InputKind,
    answers: &Answers,
    changed: Option<&Transition>,
) -> Result<Decision, Refusal> {
    match input {
        InputKind::Call(call) if call.word("title").as_deref() == Some(TRAP) => panic!("the trap is shut"),
        InputKind::Tick => panic!("nothing that is due can be decided"),
        _ => commands::decide(ctx, input, answers, changed),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_panics_is_a_refusal_and_the_loop_goes_on() {
    let (mut bot, _work) = Alone::deciding(trapped);
    let before = bot.door.look().await.expect("the loop lives").seq;
    let refused = bot.call("sev1", &[("title", TRAP)]).await;
    assert!(refused.contains("Something in me broke while deciding that; nothing was changed."), "{refused}");
    bot.until("nothing of it is on record", |snapshot| (snapshot.seq, snapshot.open) == (before, 0)).await;

    let answer = bot.call("sev1", &[("title", "checkout is down")]).await;
    assert!(answer.contains("INC-1"), "{answer}");
    // Its promises fall due, and every look at them panics.
    bot.clock.advance(chrono::TimeDelta::minutes(30));
    for note in ["one", "two"] {
        let answer = bot.call("incident note", &[("text", note)]).await;
        assert!(!answer.contains("Something in me broke"), "{answer}");
    }
    bot.until("it is still open", |snapshot| snapshot.open == 1 && snapshot.overdue_since.is_some()).await;
}
