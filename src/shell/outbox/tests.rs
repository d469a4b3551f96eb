//! What the outbox keeps in mind and for how long, and how long it tries to wake somebody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;
use crate::domain::effect::Effect;
use crate::domain::health::HealthReport;
use crate::domain::ids::IncidentId;
use crate::domain::ids::{Person, Service};
use crate::domain::input::Measurement;
use crate::ports::{ChatError, Condition};
use crate::shell::acting::NoActing;
use crate::shell::door::{self, Threshold};

/// Neighbours that do everything at once; only the pager is away for so many calls.
#[derive(Default)]
struct Willing {
    pager_away_for: u32,
    pages: AtomicU32,
}

impl Chat for Willing {
    async fn post(&self, _: &Where, _: &Message, mark: &str, _: Urgency) -> Result<Posted, ChatError> {
        Ok(Posted { place: Place::new("discord:incidents"), message: mark.to_owned() })
    }

    async fn find(&self, _: &Where, _: &str, _: DateTime<Utc>) -> Result<Option<Posted>, ChatError> {
        Ok(None)
    }

    async fn edit(&self, _: &Posted, _: &Message) -> Result<(), ChatError> {
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

fn outbox() -> (Outbox<Willing, Willing, Willing>, Threshold) {
    let (door, threshold) = door::door();
    let one = Arc::new(Willing::default());
    let neighbours =
        Neighbours { chat: Arc::clone(&one), pager: Arc::clone(&one), watch: one, acts: Arc::new(NoActing) };
    let workspace =
        toml::from_str(include_str!("../../../tests/support/team.toml")).expect("the team of the transcripts");
    let (_nobody, work) = mpsc::unbounded_channel();
    (Outbox::new(neighbours, workspace, door, work, "abcdef", PACE), threshold)
}

fn effect(seq: u64, kind: EffectKind) -> Effect {
    Effect { id: EffectId { seq, n: 0 }, on: Thing::Incident(IncidentId(7)), urgency: Urgency::Ping, kind }
}

fn reminder(seq: u64, replaces: Option<u64>) -> Effect {
    let replaces = replaces.map(|seq| EffectId { seq, n: 0 });
    let (to, message) = (Target::Thread(IncidentId(7)), Message::line("The update is due now."));
    effect(seq, EffectKind::Post { to, message, replaces })
}

fn shown(open: bool) -> Shown {
    Shown {
        on: Thing::Incident(IncidentId(7)),
        card: Message::line("INC-7"),
        title: "INC-7".to_owned(),
        pinned: open,
        at_card: None,
        at_thread: None,
        standing: BTreeMap::new(),
        severity: Severity::Sev1,
        observing: false,
        may_ring: false,
        force: false,
    }
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

    fn show(&self, open: bool) -> Work {
        Work::Show(Box::new(shown(open)), self.door.pulse().beat())
    }
}

#[tokio::test]
async fn what_was_taken_back_is_kept_in_mind_only_while_it_is_on_its_way() {
    let (mut outbox, _threshold) = outbox();
    let waits = [outbox.show(true), outbox.ask(reminder(3, None)), outbox.ask(reminder(4, None))];
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
async fn what_is_over_and_let_go_of_is_kept_in_mind_no_longer_than_it_takes_to_show() {
    let (mut outbox, _threshold) = outbox();
    let card = EffectKind::Card { incident: IncidentId(7), to: Target::Incidents, pings: Vec::new() };
    let thread = EffectKind::Thread { incident: IncidentId(7) };
    let talk = Effect { urgency: Urgency::Talk, ..reminder(4, None) };
    let first = [effect(1, card), effect(2, thread), reminder(3, None), talk, reminder(5, Some(3))];
    let mut work = vec![outbox.show(true)];
    work.extend(first.into_iter().map(|effect| outbox.ask(effect)));
    outbox.until_still(work).await;
    let one = outbox.standing.get(&Thing::Incident(IncidentId(7))).expect("it is open");
    assert!(one.card.is_some() && one.thread.is_some());
    assert_eq!(one.posts.keys().map(|id| id.seq).collect::<Vec<_>>(), [5], "only what may have to be replaced");

    let over = vec![outbox.show(false), Work::Forget(Thing::Incident(IncidentId(7)))];
    outbox.until_still(over).await;
    assert!(outbox.standing.is_empty() && outbox.show_beats.is_empty());

    let taken_up_again = vec![outbox.show(true)];
    outbox.until_still(taken_up_again).await;
    assert_eq!(outbox.standing.len(), 1);
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
