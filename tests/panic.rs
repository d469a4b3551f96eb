//! A decision that panics: a refusal and a report, and the loop goes on. Nothing that ships is known to make one panic, so the
//! decisions here are the real ones with a trap before them. And one that could not be made for want of an answer.

use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Decisions made for what is typed here.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The first time a neighbour says nothing, from then on all is well.
fn silent_at_first(
    ctx: Ctx<'_>,
    input: &InputKind,
    answers: &Answers,
    changed: Option<&Transition>,
) -> Result<Decision, Refusal> {
    match input {
        InputKind::Call(_) if ASKED.fetch_add(1, Ordering::Relaxed) == 0 => {
            Err(Refusal::NotNow("Fly did not say in time.".to_owned()))
        }
        _ => commands::decide(ctx, input, answers, changed),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_decided_is_decided_when_it_comes_again() {
    let (mut bot, _work) = Alone::deciding(silent_at_first);
    let title = [("title", "checkout is down")];
    let answer = bot.call("sev1", &title).await;
    assert!(answer.starts_with("NotNow") && answer.contains("Fly did not say in time."), "{answer}");
    bot.repeat();
    let answer = bot.call("sev1", &title).await;
    assert!(answer.contains("INC-1"), "the same once more is not answered from memory: {answer}");
    bot.repeat();
    let again = bot.call("sev1", &title).await;
    assert_eq!(again, answer, "and what was decided is");
}
