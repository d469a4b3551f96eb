//! What the outbox keeps in mind and for how long, what it has drawn and when, and how long it tries to wake somebody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::showing::COMPARED_AT_ONCE_MAX;
use super::*;
use crate::domain::effect::Effect;
use crate::domain::health::HealthReport;
use crate::domain::hosting::Step;
use crate::domain::ids::{DeployId, IncidentId, Person, Service};
use crate::domain::input::Measurement;
use crate::ports::{ChatError, Condition};
use crate::shell::acting::NoActing;
use crate::shell::door::{self, Ask};
use crate::shell::logs::NoLogs;

/// Neighbours that do everything at once; only the pager is away for so many calls.
#[derive(Default)]
struct Willing {
    pager_away_for: u32,
    pages: AtomicU32,
    /// Cards as they were edited, in order.
    edits: Mutex<Vec<String>>,
    /// While it is held, no card can be edited.
    slow: tokio::sync::Mutex<()>,
}

impl Chat for Willing {
    async fn post(&self, _: &Where, _: &Message, mark: &str, _: Urgency) -> Result<Posted, ChatError> {
        Ok(Posted { place: Place::new("discord:incidents"), message: mark.to_owned() })
    }

    async fn find(&self, _: &Where, _: &str, _: DateTime<Utc>) -> Result<Option<Posted>, ChatError> {
        Ok(None)
    }

    async fn edit(&self, card: &Posted, _: &Message) -> Result<(), ChatError> {
        drop(self.slow.lock().await);
        self.edits.lock().expect("no panic").push(card.message.clone());
        Ok(())
    }

    async fn delete(&self, _: &Posted) -> Result<(), ChatError> {
        Ok(())
    }

    async fn start_thread(&self, under: &Posted, _: &str) -> Result<Place, ChatError> {
        Ok(Place::new(format!("discord:{}", under.message)))
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

impl Pager for Willing {
    async fn page(&self, _: &PageCall) -> Result<(), ChatError> {
        match self.pages.fetch_add(1, Ordering::SeqCst) {
            call if call < self.pager_away_for => Err(ChatError::NotNow("ntfy: no connection".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Watch for Willing {
    async fn look(&self, _: Option<&Service>) -> HealthReport {
        HealthReport { at: DateTime::UNIX_EPOCH, auth: Ok("lighthouse".to_owned()), stages: Vec::new() }
    }

    async fn next_measurement(&self) -> Measurement {
        std::future::pending().await
    }
}

const PACE: Pace = Pace { first_ms: 1, max_ms: 2 };

/// What the loop was asked to draw, in order.
type Asked = Arc<Mutex<Vec<Thing>>>;

/// An outbox, and the things that it asked the loop to draw.
fn outbox() -> (Outbox<Willing, Willing, Willing>, Asked) {
    let (door, mut threshold) = door::door();
    let asked = Asked::default();
    let asking = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some(ask) = threshold.asks.recv().await {
            let Ask::Draw(on, reply) = ask else { continue };
            asking.lock().expect("no panic").push(on);
            // What is over is in memory no more.
            if on != OVER {
                let _ = reply.send(drawn());
            }
        }
    });
    let one = Arc::new(Willing::default());
    let neighbours = Neighbours {
        chat: Arc::clone(&one),
        pager: Arc::clone(&one),
        watch: one,
        acts: Arc::new(NoActing),
        logs: Arc::new(NoLogs),
    };
    let workspace =
        toml::from_str(include_str!("../../../tests/support/team.toml")).expect("the team of the transcripts");
    let (_nobody, work) = mpsc::unbounded_channel();
    (Outbox::new(neighbours, workspace, door, work, "abcdef", PACE), asked)
}

const INC_7: Thing = Thing::Incident(IncidentId(7));
const OVER: Thing = Thing::Incident(IncidentId(5_000));

fn drawn() -> Drawn {
    Drawn { card: Message::line("INC-7"), pinned: true, may_ring: false }
}

fn effect(seq: u64, kind: EffectKind) -> Effect {
    Effect { id: EffectId { seq, n: 0 }, on: INC_7, urgency: Urgency::Ping, kind }
}

fn reminder(seq: u64, replaces: Option<u64>) -> Effect {
    let replaces = replaces.map(|seq| EffectId { seq, n: 0 });
    let (to, message) = (Target::Thread(IncidentId(7)), Message::line("The update is due now."));
    effect(seq, EffectKind::Post { to, message, replaces })
}

fn shown(on: Thing) -> Shown {
    Shown {
        on,
        title: "INC-7".to_owned(),
        at_card: None,
        at_thread: None,
        standing: BTreeMap::new(),
        severity: Severity::Sev1,
        observing: false,
        force: false,
    }
}

/// One whose card stands, to be compared.
fn compared(number: u32) -> Shown {
    let at_card = Some(Posted { place: Place::new("discord:incidents"), message: number.to_string() });
    Shown { at_card, force: true, ..shown(Thing::Incident(IncidentId(number))) }
}

impl Outbox<Willing, Willing, Willing> {
    /// Takes work in and goes on until nothing runs any more.
    async fn until_still(&mut self, work: Vec<Work>) {
        for one in work {
            self.take(one);
        }
        self.start_what_can();
        while !self.running.is_empty() || self.standing.values().any(|one| one.again || one.showing || one.titling) {
            let ended = self.ended.recv().await.expect("it runs");
            self.take_end(ended);
            self.start_what_can();
        }
    }

    fn ask(&self, effect: Effect) -> Work {
        Work::Effect { effect, again: false, beat: self.door.pulse().beat() }
    }

    fn show(&self, shown: Shown) -> Work {
        Work::Show(Box::new(shown), self.door.pulse().beat())
    }

    fn edits(&self) -> Vec<String> {
        self.neighbours.chat.edits.lock().expect("no panic").clone()
    }
}

#[tokio::test]
async fn what_was_taken_back_is_kept_in_mind_only_while_it_is_on_its_way() {
    let (mut outbox, _asked) = outbox();
    let waits = [outbox.show(shown(INC_7)), outbox.ask(reminder(3, None)), outbox.ask(reminder(4, None))];
    waits.into_iter().for_each(|work| outbox.take(work));
    // One that waits, one that is not known here.
    outbox.take(Work::Withdraw(EffectId { seq: 4, n: 0 }));
    outbox.take(Work::Withdraw(EffectId { seq: 99, n: 0 }));
    assert!(outbox.withdrawn.lock().expect("no panic").is_empty());
    outbox.start_what_can();
    outbox.take(Work::Withdraw(EffectId { seq: 3, n: 0 }));
    assert_eq!(outbox.withdrawn.lock().expect("no panic").len(), 1);
    outbox.until_still(Vec::new()).await;
    assert!(outbox.withdrawn.lock().expect("no panic").is_empty() && outbox.queues.is_empty());
}

#[tokio::test]
async fn a_machine_is_taken_in_hand_again_only_when_what_came_of_the_step_before_is_on_record() {
    let (mut outbox, _asked) = outbox();
    let step = |seq: u64| {
        let (app, deploy, step) =
            ("lighthouse-checkout".to_owned(), DeployId(1), Step::Restart { machine: "a".into() });
        effect(seq, EffectKind::Act { deploy, app, step, by: "ana".to_owned(), within_s: 60 })
    };
    let work = vec![outbox.ask(step(1)), outbox.ask(step(2))];
    outbox.until_still(work).await;
    assert_eq!(outbox.queues["machine:lighthouse-checkout:a"].len(), 1, "the second waits for the record");
    outbox.until_still(vec![Work::Recorded(EffectId { seq: 1, n: 0 })]).await;
    assert!(outbox.queues.is_empty(), "the second is done");
    outbox.until_still(vec![Work::Recorded(EffectId { seq: 2, n: 0 })]).await;
    assert!(outbox.unrecorded.is_empty(), "nothing is kept in mind");
}

#[tokio::test]
async fn where_words_go_without_a_thread_is_known_only_when_that_there_is_none_is_on_record() {
    let (mut outbox, _asked) = outbox();
    // It has no card, so there is nothing to hang a thread on; what is said goes into the channel.
    let work =
        vec![outbox.ask(effect(1, EffectKind::Thread { incident: IncidentId(7) })), outbox.ask(reminder(2, None))];
    outbox.until_still(work).await;
    assert_eq!(outbox.queues["thread:7"].len(), 1, "the words wait for the record");
    outbox.until_still(vec![Work::Recorded(EffectId { seq: 1, n: 0 })]).await;
    assert!(outbox.queues.is_empty() && outbox.unrecorded.is_empty(), "the words are out");
}

#[tokio::test]
async fn what_is_over_and_let_go_of_is_kept_in_mind_no_longer_than_it_takes_to_show() {
    let (mut outbox, _asked) = outbox();
    let card = EffectKind::Card { incident: IncidentId(7), to: Target::Incidents, pings: Vec::new() };
    let thread = EffectKind::Thread { incident: IncidentId(7) };
    let talk = Effect { urgency: Urgency::Talk, ..reminder(4, None) };
    let first = [effect(1, card), effect(2, thread), reminder(3, None), talk, reminder(5, Some(3))];
    let mut work = vec![outbox.show(shown(INC_7))];
    work.extend(first.into_iter().map(|effect| outbox.ask(effect)));
    outbox.until_still(work).await;
    let one = outbox.standing.get(&INC_7).expect("it is open");
    assert!(one.card.is_some() && one.thread.is_some());
    assert_eq!(one.posts.keys().map(|id| id.seq).collect::<Vec<_>>(), [5], "only what may have to be replaced");

    let over = vec![outbox.show(shown(INC_7)), Work::Forget(INC_7, Some(Box::new(drawn())))];
    outbox.until_still(over).await;
    assert!(outbox.standing.is_empty() && outbox.show_beats.is_empty());

    let taken_up_again = vec![outbox.show(shown(INC_7))];
    outbox.until_still(taken_up_again).await;
    assert_eq!(outbox.standing.len(), 1);
}

#[tokio::test]
async fn of_a_thousand_cards_a_few_are_drawn_at_once_and_what_changed_does_not_wait_behind_them() {
    let (mut outbox, asked) = outbox();
    let chat = Arc::clone(&outbox.neighbours.chat);
    let slow = chat.slow.lock().await;
    let all: Vec<Work> = (1..=1_000).map(|number| outbox.show(compared(number))).collect();
    all.into_iter().for_each(|work| outbox.take(work));
    outbox.start_what_can();
    let flying = |outbox: &Outbox<Willing, Willing, Willing>| {
        outbox.standing.iter().filter(|(_, one)| one.showing).map(|(on, _)| *on).collect::<Vec<_>>()
    };
    assert_eq!(flying(&outbox).len(), COMPARED_AT_ONCE_MAX);

    let changed = Shown { force: false, severity: Severity::Sev3, ..compared(900) };
    let work = outbox.show(changed);
    outbox.take(work);
    outbox.start_what_can();
    assert!(flying(&outbox).contains(&Thing::Incident(IncidentId(900))), "at once, whatever waits to be compared");

    drop(slow);
    outbox.until_still(Vec::new()).await;
    let edits = outbox.edits();
    assert!(edits.iter().take(COMPARED_AT_ONCE_MAX + 1).any(|card| card == "900"), "{:?}", &edits[..8]);
    assert_eq!((edits.len(), asked.lock().expect("no panic").len()), (1_000, 1_000), "each once");
    let again = (1..=1_000).map(|number| outbox.show(Shown { force: false, ..compared(number) })).collect();
    outbox.until_still(again).await;
    assert_eq!(outbox.edits().len(), 1_000, "what looks as it should is not sent again");
}

#[tokio::test]
async fn what_the_loop_has_let_go_of_is_shown_as_it_was_then() {
    let (mut outbox, asked) = outbox();
    let Thing::Incident(IncidentId(number)) = OVER else { panic!("an incident") };
    let work = [outbox.show(Shown { force: false, ..compared(number) }), Work::Forget(OVER, Some(Box::new(drawn())))];
    outbox.until_still(work.into_iter().collect()).await;
    assert_eq!((outbox.edits(), asked.lock().expect("no panic").len()), (vec!["5000".to_owned()], 0));

    // Let go of between the question and the answer.
    let work = vec![outbox.show(Shown { force: false, ..compared(number) })];
    work.into_iter().for_each(|work| outbox.take(work));
    outbox.start_what_can();
    let end = outbox.ended.recv().await.expect("it runs");
    outbox.take(Work::Forget(OVER, Some(Box::new(drawn()))));
    outbox.take_end(end);
    outbox.until_still(Vec::new()).await;
    assert_eq!(outbox.edits(), ["5000", "5000"]);
    assert!(outbox.standing.is_empty());
}

async fn page_with(pager_away_for: u32, give_up_after: Duration) -> (Option<EffectEnd>, u32) {
    let pager = Willing { pager_away_for, ..Willing::default() };
    let call = PageCall {
        mark: "abcdef-3-0".to_owned(),
        person: Person::new("discord:5"),
        way: Way::Ntfy { url: "http://127.0.0.1:9/topic".to_owned(), token_env: None },
        title: "SEV-1 INC-7 checkout is down".to_owned(),
        body: String::new(),
        link: None,
        incident: Some(IncidentId(7)),
    };
    let (wake, withdrawn, id) = (Arc::default(), Arc::default(), EffectId { seq: 3, n: 0 });
    let end = page(&pager, &call, &Attempts { pace: PACE, wake, withdrawn, id }, give_up_after).await;
    (end, pager.pages.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_page_is_tried_for_as_long_as_it_may_be_of_use() {
    let (end, calls) = page_with(200, PAGE_GIVE_UP_AFTER).await;
    assert_eq!((end, calls), (Some(EffectEnd::Done { posted: None }), 201));
    let (end, calls) = page_with(u32::MAX, Duration::from_millis(500)).await;
    let Some(EffectEnd::GivenUp { why }) = end else { panic!("it never ends: {end:?}") };
    assert!(why.starts_with("ntfy: no connection; tried for ") && calls > 6, "{why} after {calls} calls");
}
