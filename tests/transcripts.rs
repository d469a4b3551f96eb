//! The specification, as chat: every file in tests/transcripts is played on the pure floors and must say what it says.
//! `UPDATE_EXPECT=1` rewrites the files; the diff is what a reviewer reads.

mod support;

use std::path::Path;

fn pure(path: &Path) -> datatest_stable::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let mut world = support::pure::Pure::default();
    let now = support::script::play(&text, &mut world, "pure")?;
    compare(path, &text, &now)
}

fn compare(path: &Path, text: &str, now: &str) -> datatest_stable::Result<()> {
    if text == now {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
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

datatest_stable::harness! {
    { test = pure, root = "tests/transcripts", pattern = r"\.md$" },
}
