//! The specification, as chat: every file in tests/transcripts is played twice, on the pure floors and by the whole bot on the
//! wire, and must say what it says. `UPDATE_EXPECT=1` rewrites the files from the pure world, `UPDATE_EXPECT=wire` from the wire;
//! the diff is what a reviewer reads. What stands behind the other world's marker is left as it is.

mod support;

use std::path::Path;

fn pure(path: &Path) -> datatest_stable::Result<()> {
    play(path, &mut support::pure::Pure::default(), "pure")
}

#[cfg(feature = "sim")]
fn wire(path: &Path) -> datatest_stable::Result<()> {
    play(path, &mut support::wire::Wire::default(), "wire")
}

fn play(path: &Path, world: &mut dyn support::world::World, marker: &str) -> datatest_stable::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let now = support::script::play(&text, world, marker)?;
    compare(path, &text, &now, marker)
}

fn compare(path: &Path, text: &str, now: &str, marker: &str) -> datatest_stable::Result<()> {
    if text == now {
        return Ok(());
    }
    if std::env::var("UPDATE_EXPECT").is_ok_and(|which| which == marker || (which == "1" && marker == "pure")) {
        std::fs::write(path, now)?;
        return Ok(());
    }
    let mut diff = String::new();
    let (old, new): (Vec<&str>, Vec<&str>) = (text.lines().collect(), now.lines().collect());
    let at = old.iter().zip(&new).position(|(old, new)| old != new).unwrap_or(old.len().min(new.len()));
    for line in old.iter().skip(at.saturating_sub(4)).take(14) {
        diff.push_str(&format!("expected: {line}\n"));
    }
    for line in new.iter().skip(at.saturating_sub(4)).take(14) {
        diff.push_str(&format!("     now: {line}\n"));
    }
    Err(format!("{} differs from line {} on:\n{diff}", path.display(), at + 1).into())
}

#[cfg(feature = "sim")]
datatest_stable::harness! {
    { test = pure, root = "tests/transcripts", pattern = r"\.md$" },
    { test = wire, root = "tests/transcripts", pattern = r"\.md$" },
}

#[cfg(not(feature = "sim"))]
datatest_stable::harness! {
    { test = pure, root = "tests/transcripts", pattern = r"\.md$" },
}
