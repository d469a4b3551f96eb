//! The loop and the outbox with a chat that is slow, away, or wrong about what is gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use watchbell::domain::effect::Urgency;
use watchbell::domain::ids::{InputId, Place, Posted};
use watchbell::domain::input::{Input, InputKind};
use watchbell::domain::message::Message;
use watchbell::ports::{Chat, ChatError, Condition, PageCall, Pager, Where};
use watchbell::shell::acting::NoActing;
use watchbell::shell::logs::NoLogs;
use watchbell::shell::outbox::{Neighbours, Outbox, Pace};

#[path = "support/alone.rs"]
mod alone;

use alone::{Alone, Nobody, team};

/// A chat that takes posts one at a time when it is told to, and answers as it was told.
#[derive(Default)]
struct Slow {
    posts: Mutex<Posts>,
    turns: Option<tokio::sync::Semaphore>,
    /// Too much was written everywhere to look for anything.
    too_full: bool,
}

#[derive(Default)]
struct Posts {
    made: Vec<String>,
    paged: Vec<String>,
    answers: VecDeque<ChatError>,
}

impl Slow {
    fn made(&self) -> Vec<String> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).made.clone()
    }

    fn paged(&self) -> Vec<String> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).paged.clone()
    }

    /// The next posts into a channel of the set-up end like this.
    fn next(&self, count: usize, error: &ChatError) {
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        posts.answers = std::iter::repeat_n(error.clone(), count).collect();
    }
}

impl Chat for Slow {
    async fn post(&self, to: &Where, message: &Message, mark: &str, _: Urgency) -> Result<Posted, ChatError> {
        if let Some(turns) = &self.turns {
            turns.acquire().await.map_err(|_| ChatError::NotNow("it is over".to_owned()))?.forget();
        }
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Where::Named(_), Some(error)) = (to, posts.answers.pop_front()) {
            return Err(error);
        }
        posts.made.push(format!("{to:?} {message:?}"));
        let name = match to {
            Where::Place(place) => place.as_str().to_owned(),
            Where::Named(name) => name.clone(),
            Where::Direct(person) => format!("direct:{person}"),
        };
        Ok(Posted { place: Place::new(name), message: mark.to_owned() })
    }

    async fn find(&self, _: &Where, _: &str, _: DateTime<Utc>) -> Result<Option<Posted>, ChatError> {
        if self.too_full {
            return Err(ChatError::CannotTell("more than 5000 messages were written there since".to_owned()));
        }
        Ok(None)
    }

    async fn edit(&self, _: &Posted, _: &Message) -> Result<(), ChatError> {
        Ok(())
    }

    async fn delete(&self, _: &Posted) -> Result<(), ChatError> {
        Ok(())
    }

    async fn start_thread(&self, under: &Posted, _: &str) -> Result<Place, ChatError> {
        Ok(Place::new(format!("thread:{}", under.message)))
    }

    async fn retitle(&self, _: &Place, _: &str) -> Result<(), ChatError> {
        Ok(())
    }

    async fn pin(&self, _: &Posted, _: bool) -> Result<(), ChatError> {
        Ok(())
    }

    fn condition(&self) -> Condition {
        Condition::default()
    }
}

/// Pages go out at once, whatever the chat does.
impl Pager for Slow {
    async fn page(&self, call: &PageCall) -> Result<(), ChatError> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).paged.push(call.title.clone());
        Ok(())
    }
}

fn start(chat: Slow) -> (Alone, Arc<Slow>) {
    let (bot, work) = Alone::start();
    let chat = Arc::new(chat);
    let neighbours = Neighbours {
        chat: Arc::clone(&chat),
        pager: Arc::clone(&chat),
        watch: Arc::new(Nobody),
        acts: Arc::new(NoActing),
        logs: Arc::new(NoLogs),
    };
    let pace = Pace { first_ms: 1, max_ms: 4 };
    tokio::spawn(Outbox::new(neighbours, team(), bot.door.clone(), work, "alone", pace).run());
    (bot, chat)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "not in time: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worst_incident_goes_first_however_many_wait() {
    const OTHERS: usize = 40;
    let (mut bot, chat) = start(Slow { turns: Some(tokio::sync::Semaphore::new(0)), ..Slow::default() });
    let turns = || chat.turns.as_ref().expect("it has turns");
    bot.call("watchbell live", &[]).await;
    for number in 0..OTHERS {
        let title = format!("storm {number}");
        bot.call("sev2", &[("title", &title), ("anyway", "true")]).await;
    }
    bot.call("sev1", &[("title", "the real one"), ("anyway", "true")]).await;
    bot.until("all are handed over", |snapshot| snapshot.open == OTHERS + 1).await;
    // Of what already stands in the lines of the chat nothing can be taken back: few enough posts.
    // A page goes another way than the chat: once one that was asked for later is out, the posts are in line.
    bot.call("incident wake", &[("incident", &format!("INC-{}", OTHERS + 1))]).await;
    until("the worst one is in line", || chat.paged().iter().any(|text| text.contains("the real one"))).await;
    turns().add_permits(10_000);
    until("everything goes out", || chat.made().iter().filter(|post| post.contains("storm")).count() >= OTHERS).await;
    let made = chat.made();
    let cards: BTreeMap<bool, Vec<usize>> = made.iter().enumerate().filter(|(_, post)| post.contains("Named")).fold(
        BTreeMap::new(),
        |mut cards, (at, post)| {
            let real = post.contains("the real one");
            if real || post.contains("SEV-2") {
                cards.entry(real).or_default().push(at);
            }
            cards
        },
    );
    let real = cards.get(&true).and_then(|at| at.first()).expect("its card");
    let before = cards.get(&false).map_or(0, |others| others.iter().filter(|at| *at < real).count());
    let order: Vec<String> = made.iter().take(30).map(|post| post.chars().take(160).collect()).collect();
    assert!(before <= 8, "{before} cards of milder ones came first: {order:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_gone_for_a_moment_costs_no_card() {
    let (mut bot, chat) = start(Slow::default());
    bot.call("watchbell live", &[]).await;
    chat.next(3, &ChatError::Gone("Unknown Channel".to_owned()));
    bot.call("sev1", &[("title", "checkout is down")]).await;
    until("its card", || chat.made().iter().any(|post| post.contains("Named") && post.contains("checkout is down")))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_was_given_up_is_put_up_when_the_chat_is_there_again() {
    let (mut bot, chat) = start(Slow::default());
    bot.call("watchbell live", &[]).await;
    chat.next(1_000, &ChatError::Gone("Unknown Channel".to_owned()));
    bot.call("sev1", &[("title", "checkout is down")]).await;
    bot.until("all is given up or done", |snapshot| snapshot.pending == 0).await;
    let stands = || chat.made().iter().any(|post| post.contains("Named") && post.contains("checkout is down"));
    assert!(!stands());
    chat.next(0, &ChatError::Gone(String::new()));
    for _ in 0..2 {
        bot.door.must(Input { id: InputId::new("discord:ready:1"), kind: InputKind::ChatReady });
    }
    until("its card", stands).await;
    bot.until("nothing is left", |snapshot| snapshot.pending == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_does_not_go_out_is_seen_from_outside() {
    let (mut bot, chat) = start(Slow::default());
    bot.call("watchbell live", &[]).await;
    chat.next(10_000_000, &ChatError::NotNow("500".to_owned()));
    bot.call("sev1", &[("title", "checkout is down")]).await;
    bot.until("it is being tried", |snapshot| snapshot.calling_for.is_some_and(|waited| waited.as_millis() > 50)).await;
    chat.next(0, &ChatError::NotNow(String::new()));
    bot.until("it is out", |snapshot| snapshot.calling_for.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_looked_for_is_made_again_when_it_must_stand_and_given_up_otherwise() {
    let (mut bot, chat) = start(Slow { too_full: true, ..Slow::default() });
    bot.call("watchbell live", &[]).await;
    chat.next(1, &ChatError::InDoubt("the answer was lost".to_owned()));
    bot.call("sev1", &[("title", "checkout is down")]).await;
    bot.until("the card is up", |snapshot| snapshot.pending == 0).await;
    assert!(chat.made().iter().any(|post| post.contains("Named") && post.contains("Severity")), "it has its card");

    chat.next(1, &ChatError::InDoubt("the answer was lost".to_owned()));
    bot.call("incident wake", &[("incident", "1")]).await;
    bot.until("the call has its end", |snapshot| snapshot.pending == 0).await;
    let level_two = chat.made().iter().filter(|post| post.contains("Named") && post.contains("Level 2")).count();
    assert_eq!(level_two, 0, "a second one would be noise: people are paged besides");
    let timeline = bot.call("incident timeline", &[("incident", "1")]).await;
    assert!(timeline.contains("Not delivered: more than 5000 messages"), "{timeline}");
}
