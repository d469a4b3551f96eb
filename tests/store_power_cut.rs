//! A power cut on a real file system: ext4 on a loop device is shut down under a writer, so that whatever is not on the
//! disk is gone, and mounted again. No line that was answered may be lost. Needs root; says "skipped" where it cannot
//! mount. `POWER_CUT_ROUNDS` sets another number of rounds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use watchbell::adapters::store::log::sha256_hex;
use watchbell::adapters::store::log::torn::Dice;
use watchbell::adapters::store::{Base, Brought, Options, bring_forward, open};
use watchbell::ports::journal::{Entry, Journal, Line, Views};

const ROUNDS: u64 = 40;
const IMAGE_BYTES: u64 = 256 << 20;
const CHILD_FOLDER: &str = "STORE_POWER_CUT_FOLDER";
/// FS_IOC_SHUTDOWN without flushing the file system's own log (Linux, fs/ext4/ioctl.c).
const SHUT_DOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A file system of our own, unmounted when it is dropped.
struct Mount {
    image: PathBuf,
    at: PathBuf,
}

impl Mount {
    fn make(dir: &Path) -> Result<Mount, String> {
        let mount = Mount { image: dir.join("image"), at: dir.join("mount") };
        std::fs::create_dir(&mount.at).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(&mount.image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&mount.image))?;
        mount.mount()?;
        Ok(mount)
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at))
    }

    fn unmount(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.at))
    }

    /// Drops all that is not on the disk yet.
    fn shut_down(&self) -> Result<(), String> {
        run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(&self.at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _unmounted = self.unmount();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim()))
    }
}

fn entry(n: u64, k: u64) -> Entry {
    let facts = vec![format!(r#"{{"on":"inc/{}","text":"{n}.{k} {}"}}"#, n % 40, "x".repeat((n % 7 * 150) as usize))];
    Entry { team: "ops".into(), input: format!("{n}.{k}"), facts, ..Entry::default() }
}

/// Not a test of its own: what loses its power.
#[test]
fn child_that_appends_until_the_power_is_cut() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let options = Options { segment_bytes: 300_000, ..Options::at(1_772_331_000_000) };
    let Ok(mut opened) = open(Path::new(&folder), &options) else { return };
    let from = if let Base::Views { next } = opened.base { next } else { 0 };
    let (_, _) = bring_forward(&opened.journal, &mut opened.views, from, &mut |_: &Line| Brought::default());
    for n in 0.. {
        let epoch = opened.journal.epoch();
        let Ok(committed) = opened.journal.append(epoch, (0..=n % 5).map(|k| entry(n, k)).collect()) else { return };
        for line in &committed.lines {
            println!("\nstands {} {}", line.seq, line.hash);
        }
        let _quick_only = opened.views.apply(&committed.lines, &opened.journal.head(), &[], &[]);
        if n % 20 == 19 {
            let _quick_only = opened.views.settle();
        }
    }
}

#[test]
fn no_answered_line_is_lost_when_the_power_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mount = match Mount::make(dir.path()) {
        Ok(mount) => mount,
        Err(why) => return println!("skipped: {why}"),
    };
    let rounds = std::env::var("POWER_CUT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let folder = mount.at.join("state");
    let mut answered: BTreeMap<u64, String> = BTreeMap::new();
    let (mut torn, mut anew) = (0, 0);
    for round in 0..rounds {
        let mut child = spawn(&folder);
        if let Err(why) = run_until_cut(&mut child, &mount, &mut answered, 1 + Dice::new(round).below(120)) {
            let _ended = child.kill().and_then(|()| child.wait());
            return println!("skipped: {why}");
        }
        mount.unmount().and_then(|()| mount.mount()).unwrap();
        let mut opened = open(&folder, &Options::at(1_772_331_000_000)).unwrap();
        torn += u64::from(opened.report.iter().any(|finding| finding.text.contains("cut short")));
        anew += u64::from(opened.base == Base::Log);
        let report = opened.journal.verify();
        assert!(report.whole(), "round {round}: {report:?}");
        let found: BTreeMap<u64, String> =
            opened.journal.read_from(0).map(|line| line.unwrap()).map(|line| (line.seq, line.hash)).collect();
        let lost: Vec<u64> =
            answered.iter().filter(|(seq, hash)| found.get(seq) != Some(hash)).map(|(seq, _)| *seq).collect();
        assert!(lost.is_empty(), "round {round}: {} answered lines are lost: {lost:?}", lost.len());
        assert!(
            opened.views.head().is_none_or(|head| head.seq <= opened.journal.head().seq),
            "round {round}: sled is ahead"
        );
        opened.views.settle().unwrap();
    }
    println!(
        "{rounds} power cuts, {} answered lines, 0 lost; {torn} torn ends, sled made anew {anew} times",
        answered.len()
    );
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_appends_until_the_power_is_cut", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads answers until enough have come, stops the child where it is, cuts the power, and reads what it had answered.
fn run_until_cut(
    child: &mut Child,
    mount: &Mount,
    answered: &mut BTreeMap<u64, String>,
    stop_after: u64,
) -> Result<(), String> {
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let (mut seen, mut text) = (0, String::new());
    let mut take = |text: &str| {
        let line = text.trim_end().strip_prefix("stands ").and_then(|rest| rest.split_once(' '));
        if let Some((seq, hash)) = line.filter(|(_, hash)| hash.len() == sha256_hex(b"").len()) {
            answered.extend(seq.parse().map(|seq: u64| (seq, hash.to_owned())));
            seen += 1;
        }
        seen
    };
    loop {
        text.clear();
        if output.read_line(&mut text).map_err(|error| error.to_string())? == 0 {
            return Err("the writer ended by itself".to_owned());
        }
        if take(&text) >= stop_after {
            break;
        }
    }
    run(Command::new("kill").arg("-STOP").arg(child.id().to_string()))?;
    mount.shut_down()?;
    child.kill().map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    let mut rest = String::new();
    output.read_to_string(&mut rest).map_err(|error| error.to_string())?;
    rest.lines().for_each(|text| {
        take(text);
    });
    Ok(())
}
