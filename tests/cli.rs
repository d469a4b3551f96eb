//! The program as it is typed: exit codes and words of what goes wrong.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, arguments: &[&str], typed: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_watchbell"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // One that has ended reads no more.
    let _ = child.stdin.take().expect("its input").write_all(typed.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_health_check_that_cannot_look_is_no_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["health", "--config", "nope.toml"], "");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    assert!(words(&output).contains("nope.toml"), "{}", words(&output));
}

#[test]
fn a_folder_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["resume", "--state", "nope"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("nope is no state folder"), "{}", words(&output));
}

#[test]
fn the_ledger_says_what_it_was_not_told_and_what_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["ledger", "--state", "nope"], "");
    assert!(words(&output).contains("nope is no state folder"), "{}", words(&output));
    let output = run(folder.path(), &["ledger", "--state", ".", "--machine", "1781000a"], "");
    assert_eq!(output.status.code(), Some(2), "before or after? {}", words(&output));
    std::fs::create_dir(folder.path().join("log")).expect("a log");
    let output = run(folder.path(), &["ledger", "--state", ".", "--machine", "1781000a", "--before"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("no such configuration of machine 1781000a"), "{}", words(&output));
}

#[test]
fn an_answer_that_will_not_do_is_said_once_to_have_written_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for typed in ["\n\n\n\n\n\n", "acme\n"] {
        let output = run(folder.path(), &["init"], typed);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(words(&output).matches("nothing was written").count(), 1, "{}", words(&output));
    }
}

#[test]
fn the_doctor_sees_what_a_fresh_file_lacks_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["init"], "acme\n\n\n\n\n\nana\n\n\n\n\n");
    assert!(output.status.success(), "{}", words(&output));
    let output = run(folder.path(), &["doctor"], "");
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for line in
        ["✗ Discord: [discord] guild is still the example's", "✗ Discord: still the example's id in [[people]]: ana"]
    {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert!(!said.contains("✓ Waking people: ana"), "{said}");
    assert!(said.contains("can be written and synced"), "{said}");
    let left: Vec<String> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    assert_eq!(left, ["watchbell.toml"]);
}
