//! How long the bot takes from its state folder to a state: 100,000 incidents on record, 1,000 of them open.
//!
//! `cargo bench --bench start [-- --incidents N --open N --folder DIR]`. Makes the record first (by real decisions, through the
//! real journal and database; minutes, and gigabytes in `TMPDIR`), then measures in processes of their own: with the database as
//! it was left; the same with nothing of the files in the system's cache, as after a reboot; with the database turned off; and
//! with the database removed, so that it is made anew. `--folder` keeps the record there for the next run, and for `idle`.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use support::{BEGIN_MS, Record, options, proc_status};
use watchbell::adapters::store::{self, Opened, SLED_DIR, SledViews};
use watchbell::domain::ids::{IncidentId, Thing};
use watchbell::domain::state::Decided;
use watchbell::ports::journal::{Journal as _, Views as _};
use watchbell::shell::driver::team_doc;
use watchbell::shell::{load, record};

const INCIDENTS: u32 = 100_000;
const OPEN: u32 = 1_000;
/// Decisions to a batch, at least. The journal takes 1,000 at most; an incident has some twenty.
const BATCH_LINES: usize = 900;

fn main() -> anyhow::Result<()> {
    let options = options();
    if let Some(folder) = options.get("--measure") {
        return measure(Path::new(folder), options.get("--database").is_none_or(|wanted| wanted != "off"));
    }
    let number = |name: &str, usual| options.get(name).map_or(Ok(usual), |given| given.parse());
    let (incidents, open) = (number("--incidents", INCIDENTS)?, number("--open", OPEN)?);
    let temporary = tempfile::tempdir()?;
    let folder = options.get("--folder").map_or_else(|| temporary.path().join("state"), PathBuf::from);
    if !folder.exists() {
        let began = Instant::now();
        let lines = fill(&folder, incidents, open)?;
        let s = began.elapsed().as_secs_f64();
        println!("made: {incidents} incidents, {open} of them open, {lines} lines, in {s:.0} s");
    }
    println!("on disk: log {} MB, database {} MB", size_mb(&folder.join("log")), size_mb(&folder.join(SLED_DIR)));
    again("from the database", &folder, "on")?;
    again("from the database, again", &folder, "on")?;
    for _ in 0..3 {
        forget_cached(&folder.join("log"))?;
        forget_cached(&folder.join(SLED_DIR))?;
        again("from the database, nothing cached", &folder, "on")?;
    }
    again("from the log, database turned off", &folder, "off")?;
    std::fs::remove_dir_all(folder.join(SLED_DIR))?;
    again("from the log, database made anew", &folder, "on")?;
    again("from the database that was made anew", &folder, "on")
}

/// Lets the system forget what it has cached of the files in a folder, and of nothing else.
fn forget_cached(folder: &Path) -> anyhow::Result<()> {
    for file in std::fs::read_dir(folder)?.flatten().map(|found| found.path()).filter(|path| path.is_file()) {
        std::fs::File::open(&file)?.sync_all()?;
        let input = format!("if={}", file.display());
        let status = Command::new("dd").args([input.as_str(), "iflag=nocache", "count=0", "status=none"]).status()?;
        anyhow::ensure!(status.success(), "dd failed");
    }
    Ok(())
}

/// In a process of its own, so that memory is that of a fresh start.
fn again(what: &str, folder: &Path, database: &str) -> anyhow::Result<()> {
    print!("start {what}: ");
    std::io::Write::flush(&mut std::io::stdout())?;
    let program = std::env::current_exe()?;
    let status = Command::new(program).arg("--measure").arg(folder).args(["--database", database]).status()?;
    anyhow::ensure!(status.success(), "the measured process failed");
    Ok(())
}

fn measure(folder: &Path, sled: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    let options = store::Options { sled, ..store::Options::at(BEGIN_MS) };
    let Opened { journal, mut views, base, report, .. } = store::open(folder, &options)?;
    let opened = began.elapsed();
    let load::Loaded { state, findings } = load::load(&journal, &mut views, base);
    let loaded = began.elapsed();
    println!(
        "{:.2} s ({:.2} s to open, {:.2} s to load); {} incidents in memory, {} open; {} MB in memory ({} MB of it its own), {} MB at most",
        loaded.as_secs_f64(),
        opened.as_secs_f64(),
        (loaded - opened).as_secs_f64(),
        state.incidents.len(),
        state.open().count(),
        proc_status("self", "VmRSS").unwrap_or_default() >> 10,
        proc_status("self", "RssAnon").unwrap_or_default() >> 10,
        proc_status("self", "VmHWM").unwrap_or_default() >> 10,
    );
    for text in report.into_iter().map(|finding| finding.text).chain(findings) {
        println!("    {text}");
    }
    Ok(())
}

/// Lines on their way to the record.
struct Filler {
    journal: store::FileJournal,
    views: SledViews,
    waiting: Vec<Decided>,
    held: BTreeSet<IncidentId>,
    lines: usize,
}

fn fill(folder: &Path, incidents: u32, open: u32) -> anyhow::Result<usize> {
    let Opened { journal, views, .. } = store::open(folder, &store::Options::at(BEGIN_MS))?;
    let head = journal.head().seq;
    let mut filler = Filler { journal, views, waiting: Vec::new(), held: BTreeSet::new(), lines: 0 };
    let (mut record, lines) = Record::begin_after(head);
    filler.take(&mut record, lines)?;
    for _ in open..incidents {
        let lines = record.whole_life();
        filler.take(&mut record, lines)?;
    }
    for _ in 0..open {
        let (_, lines) = record.open();
        filler.take(&mut record, lines)?;
    }
    filler.write(&mut record)?;
    filler.views.settle()?;
    Ok(filler.lines)
}

impl Filler {
    fn take(&mut self, record: &mut Record, lines: Vec<Decided>) -> anyhow::Result<()> {
        self.waiting.extend(lines);
        if self.waiting.len() >= BATCH_LINES { self.write(record) } else { Ok(()) }
    }

    fn write(&mut self, record: &mut Record) -> anyhow::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.lines += waiting.len();
        let team = &record.workspace.team.name;
        let entries = waiting.iter().map(|decided| record::entry(decided, team)).collect();
        let committed = self.journal.append(self.journal.epoch(), entries)?;
        // The journal's own lines have numbers too.
        record.state.seq = record.state.seq.max(committed.last_seq);
        let facts = waiting.iter().flat_map(|one| &one.facts);
        // One that is new is held although it is over, so what was held before is looked at again.
        let mut touched = std::mem::take(&mut self.held);
        touched.extend(facts.filter_map(|(on, _)| match on {
            Thing::Team | Thing::Deploy(_) | Thing::Alert(_) => None,
            Thing::Incident(id) => Some(*id),
        }));
        let (mut open, mut held) = (Vec::new(), BTreeSet::new());
        for id in touched {
            let is_held = record.state.must_hold(id);
            open.push((Thing::Incident(id).to_string(), is_held));
            if is_held {
                held.insert(id);
            }
        }
        self.held = held;
        let docs = [team_doc(&record.state)];
        self.views.apply(&committed.lines, &self.journal.head(), &open, &docs)?;
        Ok(())
    }
}

fn size_mb(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum::<u64>() >> 20
}
