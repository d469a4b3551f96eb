//! The house is tidy: who imports whom, documents in step, nothing unfinished, nothing of this machine.
//!
//! Reads the sources as text. What is let off stands in a list here, with its reason.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may be longer than `LINES_MAX`, and why.
const LONG: &[(&str, &str)] = &[
    ("src/domain/fact.rs", "one list: every kind of fact, the contract with every log"),
    ("src/shell/driver.rs", "the one loop; what could be lifted out has been"),
    ("src/shell/outbox.rs", "one idea: what was decided is done once, in order"),
    ("tests/sim_discord.rs", "one client against one stand-in, call by call"),
    ("tests/sim_fly.rs", "one client against one stand-in, call by call"),
    ("tests/simulation/world.rs", "one world: what happens when, and what is checked after it"),
    ("tests/support/wire.rs", "one world"),
    ("tests/support/pure.rs", "one world"),
];
/// A file longer than this holds two ideas, or stands in `LONG`.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, as path from the root and text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                let text = fs::read_to_string(&path).expect("text");
                found.push((path.strip_prefix(root()).expect("below the root").display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

/// The code of a file: no comments, no tests.
fn code(text: &str) -> String {
    let until = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..until].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What a floor never mentions.
fn never(folder: &str, words: &[&str]) {
    let mut wrong = Vec::new();
    let sources = files(folder, "rs");
    assert!(!sources.is_empty(), "{folder} is empty");
    for (path, text) in sources {
        let code = code(&text);
        for word in words {
            if code.contains(word) {
                wrong.push(format!("{path} mentions {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const WORLD: [&str; 8] = ["tokio", "serenity", "reqwest", "sled::", "axum", "std::fs", "std::net", "SystemTime"];

#[test]
fn the_domain_knows_nothing_above_it() {
    never("src/domain", &WORLD);
    never(
        "src/domain",
        &[
            "crate::commands",
            "crate::ports",
            "crate::adapters",
            "crate::shell",
            "crate::sim",
            "async ",
            "Utc::now",
            "HashMap",
        ],
    );
}

#[test]
fn commands_know_the_domain_alone() {
    never("commands", &WORLD);
    never(
        "commands",
        &["crate::ports", "crate::adapters", "crate::shell", "crate::sim", "async ", "Utc::now", "HashMap"],
    );
}

#[test]
fn ports_know_the_domain_alone() {
    never(
        "src/ports",
        &["crate::commands", "crate::adapters", "crate::shell", "crate::sim", "tokio", "serenity", "sled::"],
    );
}

#[test]
fn no_adapter_knows_another() {
    let neighbours = ["discord", "fly", "store", "probe", "pager", "prometheus"];
    for one in neighbours {
        let others: Vec<String> =
            neighbours.iter().filter(|other| **other != one).map(|other| format!("crate::adapters::{other}")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        never(&format!("src/adapters/{one}"), &others);
        never(&format!("src/adapters/{one}"), &["crate::shell", "crate::sim"]);
    }
}

#[test]
fn stand_ins_share_nothing_with_the_bot() {
    never(
        "src/sim",
        &["crate::domain", "crate::commands", "crate::ports", "crate::adapters", "crate::shell", "serenity"],
    );
    never("src/shell", &["crate::sim"]);
}

#[test]
fn no_team_stands_in_code() {
    for folder in ["src", "commands"] {
        for (path, text) in files(folder, "rs") {
            let inside: Vec<&str> = text
                .lines()
                .filter(|line| line.to_lowercase().contains("hotdash") && !line.contains("data/workspaces/"))
                .collect();
            let tests_only = text.find("#[cfg(test)]").is_some_and(|at| !text[..at].to_lowercase().contains("hotdash"));
            let test_file = path.ends_with("tests.rs");
            assert!(inside.is_empty() || tests_only || test_file, "{path} names the first team: {inside:?}");
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not find itself.
    let unfinished =
        [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["db", "g!("].concat(), ["FIX", "ME"].concat()];
    for folder in ["src", "commands", "tests", "benches", "fuzz"] {
        for (path, text) in files(folder, "rs") {
            for word in &unfinished {
                assert!(!text.contains(word.as_str()), "{path} holds {word}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for folder in ["src", "commands", "tests", "benches", "fuzz"] {
        for (path, text) in files(folder, "rs") {
            assert!(text.starts_with("//!"), "{path} does not begin with //!");
        }
    }
}

#[test]
fn no_file_holds_two_ideas() {
    let mut long = Vec::new();
    for folder in ["src", "commands", "tests", "fuzz"] {
        for (path, text) in files(folder, "rs") {
            let lines = text.lines().count();
            if lines > LINES_MAX && !LONG.iter().any(|(known, _)| *known == path) {
                long.push(format!("{path}: {lines}"));
            }
        }
    }
    assert!(long.is_empty(), "split where a name helps, or say why not: {long:#?}");
}

#[test]
fn the_list_of_commands_is_in_step() {
    let written = watchbell::commands::document();
    let file = root().join("docs/commands.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &written).expect("it can be written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == written, "docs/commands.md is out of step: `watchbell commands > docs/commands.md`");
}

/// What stands between backticks in a document, fenced blocks left out.
fn quoted(document: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).expect("a document");
    let prose: String = text.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_format_that_can_be_fuzzed_is() {
    let main = fs::read_to_string(root().join("fuzz/src/main.rs")).expect("it is there");
    let listed = main.split("FORMATS: &[(&str, Format)] = &[").nth(1).and_then(|rest| rest.split("];").next());
    let names: Vec<&str> = listed.expect("the formats").split('"').skip(1).step_by(2).collect();
    let script = fs::read_to_string(root().join("fuzz/run.sh")).expect("it is there");
    assert!(script.contains(&format!("all=({})", names.join(" "))), "fuzz/run.sh runs others: {names:?}");
    for name in names {
        assert!(root().join("fuzz/seeds").join(name).is_dir(), "{name} has no seeds");
    }
}

#[test]
fn the_map_names_what_is_there() {
    let sources: Vec<(String, String)> =
        ["src", "commands", "tests"].iter().flat_map(|folder| files(folder, "rs")).collect();
    let tests: String = sources.iter().map(|(_, text)| text.as_str()).collect();
    let mut wrong = Vec::new();
    for document in
        ["ARCHITECTURE.md", "README.md", "docs/reliability.md", "docs/performance.md", "docs/live-checklist.md"]
    {
        for word in quoted(document) {
            let is_plain = word.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_');
            if word.ends_with(".rs") && !word.contains(['*', ' ', '{']) {
                let there = |path: &String| *path == word || path.ends_with(&format!("/{word}"));
                if word != "commands/NAME.rs" && !sources.iter().any(|(path, _)| there(path)) {
                    wrong.push(format!("{document} names the file {word}"));
                }
            } else if is_plain && word.matches('_').count() >= 3 && !tests.contains(&format!("fn {word}(")) {
                wrong.push(format!("{document} names the test {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these are not there: {wrong:#?}");

    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let words: Vec<&str> = map.split(|one: char| !one.is_ascii_alphanumeric() && one != '_').collect();
    for folder in ["src", "src/adapters", "src/shell", "src/sim", "src/demo"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
            assert!(
                ["mod", "lib"].contains(&name.as_str()) || words.contains(&name.as_str()),
                "{folder}/{name} is not on the map"
            );
        }
    }
}

#[test]
fn no_path_of_a_machine_stands_anywhere() {
    let places = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    for folder in ["src", "commands", "tests", "benches", "docs", "data", "fuzz", ".ci"] {
        for ending in ["rs", "md", "toml", "json", "js", "html", "css", "sh", "patch"] {
            for (path, text) in files(folder, ending) {
                if path.starts_with("data/state") {
                    continue;
                }
                for place in &places {
                    assert!(!text.contains(place.as_str()), "{path} names {place}");
                }
            }
        }
    }
}

#[test]
fn the_shipped_policy_and_workspaces_are_read() {
    let policy = watchbell::domain::policy::Policy::parse(watchbell::domain::policy::SHIPPED);
    assert!(policy.is_ok(), "{policy:?}");
    assert!(Path::new(&root().join("data/workspaces/hotdash.toml")).exists());
}

/// A line writes what a fact is about and its kind beside its fields: a field of the same name would take their place, and the line
/// could not be read back.
#[test]
fn no_field_of_a_fact_has_a_name_that_the_line_needs() {
    let text = fs::read_to_string(root().join("src/domain/fact.rs")).expect("it is there");
    let taken: Vec<&str> =
        text.lines().map(str::trim).filter(|line| line.starts_with("on:") || line.starts_with("k:")).collect();
    assert!(taken.is_empty(), "{taken:?}");
}
