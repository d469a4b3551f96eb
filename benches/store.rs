//! What storage costs: appending, starting on a large record, making the database anew. Prints figures; asserts nothing.
//!
//! `cargo bench --bench store [-- THINGS]`: 100,000 things unless told otherwise, in a temporary folder (`TMPDIR`).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use watchbell::adapters::store::{Base, Brought, Opened, Options, SLED_DIR, bring_forward, open};
use watchbell::ports::journal::{Entry, Journal, Line, Views, on_of};

const THINGS: u64 = 100_000;
const OPEN_THINGS: u64 = 1_000;
const LINES_A_THING: u64 = 8;
const BATCH_LINES: usize = 1000;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [what, folder] if what == "start" => start(Path::new(folder)),
        [what, folder] if what == "rebuild" => rebuild(Path::new(folder)),
        [things] => all(things.parse().map_err(|_| "how many things?")?),
        _ => all(THINGS),
    }
}

fn all(things: u64) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(text)?;
    appending(&dir.path().join("append"))?;
    let folder = dir.path().join("large");
    let began = Instant::now();
    fill(&folder, things)?;
    let lines = things * LINES_A_THING;
    println!("fill: {things} things, {lines} lines in {:.1} s", began.elapsed().as_secs_f64());
    println!("on disk: log {} MB, sled {} MB", size_mb(&folder.join("log")), size_mb(&folder.join(SLED_DIR)));
    again("start", &folder)?;
    again("start", &folder)?;
    std::fs::remove_dir_all(folder.join(SLED_DIR)).map_err(text)?;
    again("rebuild", &folder)?;
    again("start", &folder)
}

/// In a process of its own, so that memory is that of a fresh start.
fn again(what: &str, folder: &Path) -> Result<(), String> {
    let program = std::env::current_exe().map_err(text)?;
    let status = Command::new(program).arg(what).arg(folder).status().map_err(text)?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed")) }
}

fn options() -> Options {
    Options::at(1_772_331_000_000)
}

fn entry(thing: u64, step: u64) -> Entry {
    let words = "somebody looked at it and wrote down what they saw ".repeat(3);
    Entry {
        at_ms: 1_772_331_000_000,
        team: "ops".into(),
        input: format!("input-{thing}-{step}"),
        facts: vec![format!(r#"{{"on":"inc/{thing}","k":"step{step}","text":"{words}"}}"#)],
        ..Entry::default()
    }
}

fn openness(line: &Line) -> Brought {
    let last = format!("step{}", LINES_A_THING - 1);
    let change = |json: &String| {
        let thing = on_of(json)?;
        let number: u64 = thing.strip_prefix("inc/")?.parse().ok()?;
        Some((thing, number < OPEN_THINGS || !json.contains(&last)))
    };
    Brought { open: line.facts.iter().filter_map(change).collect(), docs: Vec::new() }
}

fn appending(folder: &Path) -> Result<(), String> {
    let mut journal = open(folder, &options()).map_err(text)?.journal;
    for (count, rounds) in [(1, 3000), (100, 500)] {
        let mut took = Vec::new();
        for round in 0..rounds {
            let batch = (0..count).map(|n| entry(round, n)).collect();
            let began = Instant::now();
            journal.append(journal.epoch(), batch).map_err(text)?;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
        println!("append, batch of {count}: p50 {:?}, p99 {:?}", at(50), at(99));
    }
    Ok(())
}

fn fill(folder: &Path, things: u64) -> Result<(), String> {
    let Opened { mut journal, mut views, .. } = open(folder, &options()).map_err(text)?;
    let steps = (0..things).flat_map(|thing| (0..LINES_A_THING).map(move |step| (thing, step)));
    let mut batch = Vec::new();
    for (thing, step) in steps {
        batch.push(entry(thing, step));
        if batch.len() == BATCH_LINES {
            let committed = journal.append(journal.epoch(), std::mem::take(&mut batch)).map_err(text)?;
            let opens: Vec<_> = committed.lines.iter().flat_map(|line| openness(line).open).collect();
            views.apply(&committed.lines, &journal.head(), &opens, &[]).map_err(text)?;
        }
    }
    if !batch.is_empty() {
        let committed = journal.append(journal.epoch(), batch).map_err(text)?;
        let opens: Vec<_> = committed.lines.iter().flat_map(|line| openness(line).open).collect();
        views.apply(&committed.lines, &journal.head(), &opens, &[]).map_err(text)?;
    }
    views.settle().map_err(text)
}

fn start(folder: &Path) -> Result<(), String> {
    let began = Instant::now();
    let Opened { journal, mut views, base, .. } = open(folder, &options()).map_err(text)?;
    let opened = began.elapsed();
    let mut lines = 0;
    for thing in views.open_things().map_err(text)? {
        lines += views.rows(&thing).map_err(text)?.len();
    }
    if let Base::Views { next } = base {
        bring_forward(&journal, &mut views, next, &mut openness).1.map_err(text)?;
    }
    let kind = if base == Base::Log { "from the log?" } else { "from sled" };
    println!(
        "start {kind}: {} ms ({} ms to open), {lines} lines of open things, {}",
        ms(began.elapsed()),
        ms(opened),
        memory()
    );
    Ok(())
}

fn rebuild(folder: &Path) -> Result<(), String> {
    let began = Instant::now();
    let Opened { journal, mut views, .. } = open(folder, &options()).map_err(text)?;
    let mut lines = 0u64;
    let only_read = Instant::now();
    lines += journal.read_from(0).filter(Result::is_ok).count() as u64;
    let read = only_read.elapsed();
    bring_forward(&journal, &mut views, 0, &mut openness).1.map_err(text)?;
    println!(
        "sled made anew: {} ms; reading and verifying the whole log ({lines} lines): {} ms; {}",
        ms(began.elapsed().saturating_sub(read)),
        ms(read),
        memory()
    );
    Ok(())
}

fn ms(time: Duration) -> u128 {
    time.as_millis()
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or_else(|| "memory unknown".to_owned(), |kib| format!("{} MB in memory", kib / 1024))
}

fn size_mb(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum::<u64>() >> 20
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
