//! The loop on a disk that is full and has room again: what only reads is answered, what has happened is kept, and nobody
//! has to do anything for it to go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use watchbell::adapters::store::log::torn::{Faults, TornDisk};
use watchbell::adapters::store::log::{Log, LogOptions};
use watchbell::domain::effect::Effect;
use watchbell::domain::fact::Fact;
use watchbell::domain::ids::{EffectId, InputId, Place, Posted};
use watchbell::domain::input::{EffectEnd, EffectOutcome, Input, InputKind};
use watchbell::ports::disk::Disk as _;
use watchbell::ports::journal::Journal as _;
use watchbell::shell::outbox::Work;
use watchbell::shell::record;

#[path = "support/alone.rs"]
mod alone;

use alone::Alone;

struct World {
    bot: Alone,
    work: mpsc::UnboundedReceiver<Work>,
    pending: BTreeMap<EffectId, Effect>,
}

impl World {
    fn start() -> Self {
        let (bot, work) = Alone::start();
        Self { bot, work, pending: BTreeMap::new() }
    }

    fn fill(&self) {
        self.bot.disk.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
    }

    fn make_room(&self) {
        self.bot.disk.set_faults(Faults::default());
    }

    /// Takes what was handed to the outbox.
    fn take_work(&mut self) {
        while let Ok(work) = self.work.try_recv() {
            match work {
                Work::Effect { effect, .. } => drop(self.pending.insert(effect.id, effect)),
                Work::Withdraw(id) => drop(self.pending.remove(&id)),
                Work::Show(..) | Work::Forget(..) | Work::Recorded(_) | Work::Wake => {}
            }
        }
    }

    /// Everything that was asked for is done.
    fn end_all(&mut self) {
        self.take_work();
        for id in std::mem::take(&mut self.pending).into_keys() {
            let posted = Some(Posted { place: Place::new("discord:incidents"), message: id.to_string() });
            let kind = InputKind::Effect(EffectOutcome { effect: id, end: EffectEnd::Done { posted } });
            self.bot.door.must(Input { id: InputId::new(format!("effect:{id}")), kind });
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let now_ms = (DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(30_000)).timestamp_millis();
        let options = LogOptions { now_ms, segment_bytes: 64 << 20, new_id: "x".to_owned(), after: None };
        // A copy: reading must not change the disk that the loop writes on.
        let mut copy = TornDisk::new();
        copy.create_dir("log").expect("a folder");
        for name in self.bot.disk.list("log").expect("names") {
            let path = format!("log/{name}");
            copy.append(&path, &self.bot.disk.bytes(&path).expect("a file")).expect("room");
        }
        let (log, _) = Log::open(Box::new(copy), &options).expect("the log opens");
        let lines = log.read_from(0).map(|line| line.expect("no damage")).collect::<Vec<_>>();
        lines.iter().flat_map(|line| record::decided(line).0.facts).map(|(_, fact)| fact).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_only_what_is_written_and_goes_on_by_itself() {
    let mut world = World::start();
    world.bot.call("watchbell live", &[]).await;
    world.fill();
    let refused = world.bot.call("sev2", &[("title", "search answers slowly")]).await;
    assert!(refused.contains("the disk is full"), "{refused}");
    let read = world.bot.call("incident list", &[]).await;
    assert!(!read.contains("the disk is full") && !read.contains("search answers"), "{read}");
    world.bot.until("it is known that nothing can be recorded", |snapshot| snapshot.trouble.is_some()).await;
    world.make_room();
    world.bot.until("the room is found", |snapshot| snapshot.trouble.is_none()).await;
    let opened = world.bot.call("sev2", &[("title", "search answers slowly")]).await;
    assert!(!opened.contains("the disk is full"), "{opened}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_out_while_the_disk_was_full_is_recorded_once_there_is_room() {
    let mut world = World::start();
    world.bot.call("watchbell live", &[]).await;
    world.bot.call("sev1", &[("title", "checkout is down")]).await;
    world.bot.until("it is asked for", |snapshot| snapshot.pending > 0 && snapshot.calling_for.is_some()).await;
    world.fill();
    world.take_work();
    let went_out: BTreeSet<EffectId> = world.pending.keys().copied().collect();
    assert!(!went_out.is_empty());
    world.end_all();
    world.bot.until("the first refusal", |snapshot| snapshot.trouble.is_some()).await;
    let refused = world.bot.call("incident note", &[("text", "the queue is full"), ("incident", "1")]).await;
    assert!(refused.contains("the disk is full"), "{refused}");
    world.make_room();
    // Before anything retries by itself: what is written next must find done what is.
    let taken = world.bot.call("incident note", &[("text", "the queue is full"), ("incident", "1")]).await;
    assert!(!taken.contains("the disk is full"), "{taken}");
    world.end_all();
    world.bot.until("all is ended", |snapshot| snapshot.trouble.is_none() && snapshot.pending <= 1).await;
    let facts = world.facts();
    for id in went_out {
        let done = facts.iter().filter(|fact| matches!(fact, Fact::Done { effect, .. } if *effect == id)).count();
        let withdrawn = facts.iter().any(|fact| matches!(fact, Fact::Withdrawn { effect, .. } if *effect == id));
        assert!(done == 1 && !withdrawn, "{id}: done {done} times, withdrawn {withdrawn}: {facts:#?}");
    }
}

/// Asks the loop many times over; each time it would also do what it thinks is due.
async fn ask_often(bot: &mut Alone) {
    for _ in 0..200 {
        bot.call("incident list", &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_recorded_is_not_tried_in_a_circle() {
    for full in [true, false] {
        let mut world = World::start();
        world.bot.call("watchbell live", &[]).await;
        world.bot.until("the jobs are planned", |snapshot| snapshot.next_due.is_some()).await;
        if full {
            world.fill();
        }
        // Or what it has to say is longer than the record takes.
        world.bot.looker.too_long.store(!full, Ordering::SeqCst);
        world.bot.clock.advance(TimeDelta::days(1));
        let looks = Arc::clone(&world.bot.looker.looks);
        world.bot.until("the digest was tried", |_| looks.load(Ordering::SeqCst) > 0).await;
        ask_often(&mut world.bot).await;
        let tried = looks.load(Ordering::SeqCst);
        assert!(tried <= 10, "full {full}: tried {tried} times in a moment");
    }
}
