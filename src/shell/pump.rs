//! Carries what comes from outside to the loop's door: what people do on the chat, and looks at services.
//!
//! Owns what is done when the door is full: people hear that the bot is busy, a look is dropped because the next one says more,
//! and what the chat tells of itself is never lost.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::door::{Door, Reply};
use super::undelivered::Asked;
use crate::adapters::discord;
use crate::adapters::probe::Prober;
use crate::domain::answer::Answer;
use crate::domain::ids::InputId;
use crate::domain::input::{Input, InputKind};
use crate::domain::message::Message;
use crate::domain::text;
use crate::ports::Watch;

/// Carries what people do from the chat to the loop.
pub(super) async fn pump(mut inbox: mpsc::Receiver<discord::Inbound>, door: Door, asked: Asked) {
    while let Some(discord::Inbound { input, reply }) = inbox.recv().await {
        asked.note(&input);
        // Nobody sends these again: a card that is gone, a time without a connection. What holds them back is the inbox.
        if matches!(input.kind, InputKind::ChatReady | InputKind::Gone(_)) {
            door.must(input);
            continue;
        }
        let reply = reply.map(|reply| Box::new(move |answer: Answer| reply.give(answer)) as Reply);
        if let Err(Some(reply)) = door.bring(input, reply) {
            reply(Answer::Say { message: Message::line(text::busy()), only_you: true });
        }
    }
}

/// Carries looks at services to the loop.
pub(super) async fn measure(prober: Arc<Prober>, door: Door) {
    let mut count: u64 = 0;
    loop {
        let look = prober.next_measurement().await;
        count += 1;
        let id = InputId::new(format!("look:{count}:{}", look.at.timestamp_millis()));
        // A look that finds the loop busy is dropped: the next one says more.
        let _ = door.bring(Input { id, kind: InputKind::Measured(look) }, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Place;
    use crate::domain::input::Gone;
    use crate::shell::door;

    #[tokio::test]
    async fn what_the_chat_tells_of_itself_is_taken_however_full_the_door_is() {
        let (door, mut threshold) = door::door();
        let input = |name: &str, kind| Input { id: InputId::new(name), kind };
        for _ in 0..door::WAITING_MAX {
            assert!(door.bring(input("tick", InputKind::Tick), None).is_ok());
        }
        assert!(door.bring(input("tick", InputKind::Tick), None).is_err(), "the door is full");
        let (sender, inbox) = mpsc::channel(4);
        for kind in [InputKind::ChatReady, InputKind::Gone(Gone::Place(Place::new("discord:1")))] {
            sender.try_send(discord::Inbound { input: input("discord:x", kind), reply: None }).expect("room");
        }
        drop(sender);
        pump(inbox, door, Asked::default()).await;
        let mut taken = Vec::new();
        while let Ok(inbound) = threshold.results.try_recv() {
            taken.push(inbound.input.kind);
        }
        assert_eq!(taken, [InputKind::ChatReady, InputKind::Gone(Gone::Place(Place::new("discord:1")))]);
    }
}
