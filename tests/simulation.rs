//! The simulation: a team, its services, a chat, a pager, a host and a disk, all of them unreliable, around the real decisions and
//! the real log. One seed is one history of hours, played in milliseconds and always the same.
//!
//! Real: every decision, the fold, the stored form, the way back from a full disk, the log and its recovery. Modelled, from
//! `shell/driver.rs` and `shell/outbox.rs`: the order of writing and letting go, and how the outbox repeats; from
//! `adapters/fly`: how a step knows itself again. After every step the promises 1 to 8 of ARCHITECTURE.md are checked;
//! `tests/faults.sh` shows that each check can fail.
//!
//! ```text
//! cargo test --no-default-features --test simulation                                                300 seeds (100 with the shell)
//! SEEDS=2000 cargo test --profile histories --no-default-features --test simulation played          2,000, as the gate does
//! SEEDS=1000000 cargo test --profile histories --no-default-features --test simulation played       a million
//! SEED=42 cargo test --profile histories --no-default-features --test simulation played             one, with its trace when it fails
//! ```

pub use watchbell::{commands, domain, ports};

#[path = "simulation/book.rs"]
mod book;
#[path = "simulation/bot.rs"]
mod bot;
#[path = "simulation/chat.rs"]
mod chat;
#[path = "simulation/hooks.rs"]
mod hooks;
#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/outbox.rs"]
mod outbox;
#[path = "simulation/power.rs"]
mod power;
#[path = "simulation/refused.rs"]
mod refused;
#[path = "simulation/rules.rs"]
mod rules;
#[path = "simulation/ships.rs"]
mod ships;
#[path = "simulation/tally.rs"]
mod tally;
#[path = "simulation/team.rs"]
mod team;
#[path = "simulation/world.rs"]
mod world;

// The files themselves, so that the simulation needs no feature and runs with the pure floors.
#[allow(dead_code, unused_imports, reason = "the simulation uses a part of it")]
#[path = "../src/adapters/store/log/mod.rs"]
mod log;
#[allow(dead_code, reason = "the simulation uses a part of it")]
#[path = "../src/shell/record.rs"]
mod record;
#[path = "../src/shell/undo.rs"]
mod undo;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tally::Tally;
use world::World;

/// Histories that a run of the tests plays. With the shell built in it is the same code once more: a sample is enough.
const SEEDS: u64 = if cfg!(feature = "shell") { 100 } else { 300 };
/// Lines of a failing history that are shown.
const TRACE_LINES: usize = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_dies_when_the_promises_are_kept_in_every_history_played() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let (next, played) = (AtomicU64::new(seeds.start), seeds.end - seeds.start);
    let total = Mutex::new(Tally::default());
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().is_some() {
                        return;
                    }
                    match World::play(seed, false).0 {
                        Ok(tally) => total.lock().unwrap().add(&tally),
                        Err(why) => {
                            // The lowest seed is reported, whichever thread comes first.
                            let mut failed = failed.lock().unwrap();
                            if failed.as_ref().is_none_or(|(before, _)| seed < *before) {
                                *failed = Some((seed, why));
                            }
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, why)) = failed.into_inner().unwrap() {
        let (_, trace) = World::play(seed, true);
        let from = trace.len().saturating_sub(TRACE_LINES);
        panic!("seed {seed}: {why}\n\n{}\n\nAgain: SEED={seed}", trace[from..].join("\n"));
    }
    let total = total.into_inner().unwrap();
    println!("{played} histories: {total:?}");
    if played >= 500 {
        total.assert_eventful(played);
    }
}

#[test]
fn a_seed_is_always_the_same_history() {
    let (one, other) = (World::play(7, true), World::play(7, true));
    assert!(one.1.len() > 50, "hardly anything happened: {} steps", one.1.len());
    assert_eq!(one, other);
}
