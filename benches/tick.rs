//! What a look at what is due costs, against how much is due and how much is open: the cost should follow the first alone.
//!
//! `cargo bench --bench tick`. Pure: no disk, no chat. The last lines say what the loop adds to any batch, whatever is in it.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use support::{Record, p50_p99};
use watchbell::commands;
use watchbell::domain::draft::Ctx;
use watchbell::domain::ids::{IncidentId, InputId, Thing};
use watchbell::domain::incident::Incident;
use watchbell::domain::input::InputKind;
use watchbell::domain::state::State;
use watchbell::shell::undo::Undo;

const OPEN: [u32; 5] = [1, 10, 100, 1_000, 10_000];
const DUE: [u32; 4] = [0, 1, 10, 100];
const ROUNDS: usize = 30;
/// Input ids that a bot which has run for a while remembers.
const REMEMBERED: u64 = 4_096;

fn main() {
    println!("a tick, in µs (median of {ROUNDS}): decided and applied. Rows: open incidents; columns: due among them.");
    println!("{:>8} {}", "open", DUE.map(|due| format!("{due:>10}")).concat());
    for open in OPEN {
        let cells =
            DUE.map(|due| if due > open { format!("{:>10}", "") } else { format!("{:>10.1}", tick(open, due)) });
        println!("{open:>8} {}", cells.concat());
    }
    println!();
    println!("what else the loop does, in µs (median of {ROUNDS}):");
    println!("{:>8} {:>10} {:>10} {:>10} {:>10} {:>12}", "open", "next due", "undo", "go back", "lists", "whole copy");
    for open in OPEN {
        let cells = around(open).map(|took| format!("{took:>10.1}"));
        println!("{open:>8} {} {} {} {} {:>12}", cells[0], cells[1], cells[2], cells[3], cells[4]);
    }
}

/// A record with this many open incidents, of which so many are due a minute from now and the others an hour later.
fn record(open: u32, due: u32) -> Record {
    let (mut record, _) = Record::begin();
    let (id, _) = record.open();
    let first = record.state.incidents.get(&id).cloned().expect("it is open");
    let at = first.next_due().expect("something is promised");
    for n in 1..=open {
        let mut one = Incident { id: IncidentId(n), ..first.clone() };
        if n > due {
            put_off(&mut one);
        }
        record.state.incidents.remove(&one.id);
        record.state.hold(one);
    }
    record.state.team.incidents = open;
    for n in 0..REMEMBERED {
        record.state.remember(&InputId::new(format!("discord:{}", 2_000_000_000_000_000_000 + n)));
    }
    record.now = at;
    assert_eq!(record.state.due_incidents(record.now).count(), due as usize);
    record
}

fn put_off(incident: &mut Incident) {
    let later = TimeDelta::hours(1);
    for promise in incident.promises.values_mut() {
        if let Some(next) = &mut promise.next {
            next.at += later;
        }
    }
    incident.escalate_at = incident.escalate_at.map(|at| at + later);
}

fn tick(open: u32, due: u32) -> f64 {
    let mut record = record(open, due);
    let before = record.state.clone();
    let took = (0..ROUNDS).map(|_| {
        record.state = before.clone();
        timed(|| {
            // One look takes 64 incidents at most; what is left is the next one's.
            loop {
                black_box(record.state.next_due());
                let input = record.input(InputKind::Tick);
                if let Ok(Some(line)) = record.only_decide(&input) {
                    record.state.apply(&line);
                }
                if record.state.due_incidents(record.now).next().is_none() {
                    break;
                }
            }
        })
    });
    let took = median(took.collect());
    assert_eq!(record.state.due_incidents(record.now).count(), 0, "all that was due is decided");
    took
}

fn around(open: u32) -> [f64; 5] {
    let mut record = record(open, 1);
    let now = record.now;
    let id = InputId::new("lists");
    let next = repeat(|| record.state.next_due().into_iter().chain(record.state.open().map(|_| now).next()).min());
    let input = record.input(InputKind::Tick);
    let line = record.only_decide(&input).ok().flatten().expect("one is due");
    let mut note = Vec::new();
    let mut back = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut undo = Undo::of(&record.state);
        undo.note(&record.state, &line);
        note.push(began.elapsed());
        record.state.apply(&line);
        back.push(timed(|| undo.go_back(&mut record.state)));
    }
    let Record { state, policy, workspace, .. } = &record;
    let ctx = Ctx { state, policy, workspace, now, input: &id };
    let lists = repeat(|| commands::lists(&ctx));
    let copy = repeat(|| State::clone(state));
    let touched: BTreeSet<Thing> = line.facts.iter().map(|(on, _)| *on).collect();
    assert_eq!(touched.len(), 1, "one incident is due");
    [next, median(note), median(back), lists, copy]
}

fn repeat<T>(mut work: impl FnMut() -> T) -> f64 {
    median((0..ROUNDS).map(|_| timed(|| drop(black_box(work())))).collect())
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(took: Vec<Duration>) -> f64 {
    p50_p99(took).0.as_secs_f64() * 1e6
}
