//! The release command: what an app wants run before its machines get another image, run as flyctl runs it.
//!
//! Owns that it runs once, and what is said of its end. It runs on a machine of its own, in a process group of its own, which is
//! gone by itself when it ends; a command that runs is never cut off, because nobody here knows whether half a migration is worse
//! than a late one. Sources: flyctl internal/command/deploy/machines_releasecommand.go, internal/appconfig/machines.go.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tracing::debug;

use super::extra::{Extra, Wish, marks};
use super::hand::{Hand, Until, failed};
use super::inventory::{self, PLATFORM, RELEASE_COMMAND, group, is_deployed};
use super::model::{Exit, Machine};
use super::waiting::state_comes;
use super::wire::{Ask, Side, Wire};
use crate::adapters::redact::{named, redact};
use crate::domain::hosting::{Image, ReleaseRef, StepEnd, Trouble};
use crate::ports::hosting::{CallOff, StepCall};

/// The group whose machines give it its size; flyctl takes the default group.
const DEFAULT_GROUP: &str = "app";
/// Lines of its output that are passed on.
const LINES_MAX: usize = 3;
/// The longest line that is passed on, in characters.
const LINE_CHARS_MAX: usize = 120;
/// The time that its last lines may take until they can be read. flyctl waits as long.
const LINES_LATE: Duration = Duration::from_secs(2);

/// Runs it, or goes on waiting for the one that this step began before.
///
/// `reader` reads its output: a token that acts on one app may not. None of `secrets` is in what is passed on of it.
pub(super) async fn run(
    hand: &Arc<Hand>,
    (reader, secrets): (Option<&Wire>, &[&str]),
    call: &StepCall,
    off: &CallOff,
    (to, command, release): (&Image, &str, Option<&ReleaseRef>),
) -> StepEnd {
    let until = Until::step(call.within);
    let extra = Extra { hand, call };
    let made = match extra.find(until).await {
        Ok(Some(before)) => before,
        Ok(None) if off.is_off() => return StepEnd::CalledOff,
        Ok(None) => {
            let wish = match wish(hand, call, to, command, release).await {
                Ok(wish) => wish,
                Err(end) => return end,
            };
            match extra.make(&wish, off, until).await {
                Ok(machine) => machine,
                Err(end) => return end,
            }
        }
        Err(error) => {
            let says = format!("whether the release command ran before could not be read, so it was not run: {error}");
            return failed(Trouble::Unreachable, says, None);
        }
    };
    let ended = ended(&extra, &made, until).await;
    let lines = match ended {
        Ended::Exit(exit) if exit.code == 0 && !exit.oom_killed && !exit.requested => {
            return StepEnd::Done { before: None, after: None, release: None };
        }
        Ended::Exit(_) => last_words(reader.unwrap_or(&hand.wire), secrets, &hand.app, &made.id, until).await,
        Ended::NeverRan | Ended::Untold | Ended::RunsStill => String::new(),
    };
    told(&hand.app, &made.id, ended, command, &lines)
}

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    /// Its process ended.
    Exit(Exit),
    /// It could not be started: nothing was run.
    NeverRan,
    /// Its machine is gone, and nobody tells how it ended.
    Untold,
    /// It runs still.
    RunsStill,
}

/// Waits for its end, and sees to it that nothing is left of it.
async fn ended(extra: &Extra<'_>, made: &Machine, until: Until) -> Ended {
    let (hand, id) = (extra.hand, made.id.as_str());
    let made_until = Until::after(hand.patience.passing);
    let mut told_until: Option<Until> = None;
    let mut now = Some(made.clone());
    loop {
        if let Some(machine) = &now {
            let ended = of(machine);
            if let Some(ended) = ended {
                // It goes by itself when its process ends. What never ran may stay.
                if machine.is_there() && machine.state != "destroying" && !is_going(machine) {
                    let _ = extra.destroy(id, Until::after(hand.patience.passing)).await;
                }
                return ended;
            }
        }
        let is_gone = now.as_ref().is_none_or(|machine| !machine.is_there());
        // The end of what is gone may be told a moment later.
        if is_gone && told_until.get_or_insert_with(|| Until::after(hand.patience.passing)).is_over() {
            return Ended::Untold;
        }
        if until.is_over() {
            return if is_gone { Ended::Untold } else { Ended::RunsStill };
        }
        if is_gone || !state_comes(hand, id, "destroyed", "", until).await {
            until.sleep(hand.patience.look_every).await;
        }
        now = match extra.look(id, made_until, until).await {
            Ok(machine) => Some(machine),
            Err(error) if matches!(error.status, Some(404 | 410)) => None,
            // One look that was not answered says nothing.
            Err(error) => {
                debug!(machine.id = id, "The release command's machine could not be read: {error}");
                now
            }
        };
    }
}

/// What a look at its machine says of its end; none while it runs.
fn of(machine: &Machine) -> Option<Ended> {
    let exit = machine.events.as_deref().unwrap_or_default().iter().find_map(|event| event.exit);
    match (machine.state.as_str(), exit) {
        (_, Some(exit)) if !exit.restarting => Some(Ended::Exit(exit)),
        ("failed" | "launch_failed", _) => Some(Ended::NeverRan),
        _ => None,
    }
}

/// Whether it goes by itself in a moment.
fn is_going(machine: &Machine) -> bool {
    machine.config.get("auto_destroy") == Some(&Value::Bool(true)) && !machine.state.contains("failed")
}

fn told(app: &str, id: &str, ended: Ended, command: &str, lines: &str) -> StepEnd {
    let command: String = command.chars().take(LINE_CHARS_MAX).collect();
    let of = |exit_code: Option<i64>| Trouble::ReleaseCommandFailed { exit_code };
    let said = match lines {
        "" => format!("its output: `fly logs --app {app} --machine {id}`"),
        lines => format!("it said last: {lines}"),
    };
    let (trouble, says) = match ended {
        Ended::Exit(exit) if exit.oom_killed => {
            (of(Some(exit.code)), format!("the release command “{command}” was killed for want of memory; {said}"))
        }
        Ended::Exit(exit) if exit.requested => {
            (of(Some(exit.code)), format!("somebody stopped the release command “{command}” before its end; {said}"))
        }
        Ended::Exit(exit) => {
            let code = exit.code;
            (of(Some(code)), format!("the release command “{command}” ended with exit code {code}; {said}"))
        }
        Ended::NeverRan => {
            let says = format!("the release command “{command}” was not run: its machine {id} could not be started");
            (Trouble::NotStarted, says)
        }
        Ended::Untold => {
            (of(None), format!("how the release command “{command}” ended cannot be read: its machine {id} is gone"))
        }
        Ended::RunsStill => {
            let says = format!(
                "the release command “{command}” did not end in time; it runs on, on machine {id}, and is not cut off; {said}"
            );
            (of(None), says)
        }
    };
    failed(trouble, says, None)
}

/// Its machine: of the new image, with the environment and the size of the app's machines.
async fn wish(
    hand: &Hand,
    call: &StepCall,
    to: &Image,
    command: &str,
    release: Option<&ReleaseRef>,
) -> Result<Wish, StepEnd> {
    let words = words(command)
        .map_err(|why| failed(Trouble::Refused, format!("the release command was not run: {why}"), None))?;
    let all = inventory::machines(&hand.wire, &hand.app).await.map_err(|error| {
        let says = format!("the machines could not be read, so the release command was not run: {error}");
        failed(Trouble::Unreachable, says, None)
    })?;
    let of_app: Vec<&Machine> = all.iter().filter(|machine| is_deployed(machine)).collect();
    let memory = |machine: &&&Machine| machine.config.pointer("/guest/memory_mb").and_then(Value::as_u64);
    let largest = of_app.iter().filter(|machine| group(machine) == DEFAULT_GROUP).max_by_key(memory);
    let like = largest.or_else(|| of_app.iter().max_by_key(memory)).ok_or_else(|| {
        let says = format!("{} has no machine to take the release command's size and environment from", hand.app);
        failed(Trouble::Refused, says, None)
    })?;
    let part = |key: &str| like.config.get(key).filter(|value| !value.is_null()).cloned();
    // fly.toml's environment as it reached the machines; only the group is another.
    let mut env = part("env").and_then(|env| env.as_object().cloned()).unwrap_or_default();
    let region = env.get("PRIMARY_REGION").and_then(Value::as_str).unwrap_or(&like.region).to_owned();
    env.insert("RELEASE_COMMAND".to_owned(), "1".into());
    env.insert("FLY_PROCESS_GROUP".to_owned(), RELEASE_COMMAND.into());
    let mut metadata = Map::new();
    metadata.insert("fly_platform_version".to_owned(), PLATFORM.into());
    metadata.insert("fly_process_group".to_owned(), RELEASE_COMMAND.into());
    metadata.extend(marks(call, release).into_iter().map(|(key, value)| (key.to_owned(), value.into())));
    let mut init = json!({"cmd": words});
    for key in ["swap_size_mb", "entrypoint"] {
        if let Some(value) = like.config.pointer(&format!("/init/{key}")).filter(|value| !value.is_null()) {
            init[key] = value.clone();
        }
    }
    let mut config = json!({
        "image": to.reference, "init": init, "env": env, "metadata": metadata, "restart": {"policy": "no"},
        "auto_destroy": true, "dns": {"skip_registration": true},
    });
    for key in ["guest", "size", "files", "stop_config"] {
        if let Some(value) = part(key) {
            config[key] = value;
        }
    }
    Ok(Wish { called: "the release command's machine", config, region, unserved: false })
}

/// The last lines that its program wrote, on one line; empty when they cannot be read. That a deploy token may not read them is
/// flyctl's own warning; which others may is in no document.
async fn last_words(wire: &Wire, secrets: &[&str], app: &str, id: &str, until: Until) -> String {
    for late in [Duration::ZERO, LINES_LATE] {
        until.sleep(late).await;
        let ask = Ask::get("read logs", app, Side::Logs, &["apps", app, "logs"]).query("instance", id);
        match wire.question(ask).await {
            Ok(answer) => {
                let lines = lines(&answer, secrets);
                if !lines.is_empty() {
                    return lines;
                }
            }
            Err(error) => {
                debug!(machine.id = id, "The release command's output could not be read: {error}");
                return String::new();
            }
        }
    }
    String::new()
}

/// The last lines of the program itself, without what is secret in them: that is taken out before a line is cut.
fn lines(answer: &Value, secrets: &[&str]) -> String {
    let all = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_app = |line: &&Value| {
        line.pointer("/attributes/meta/event/provider").and_then(Value::as_str).is_none_or(|by| by == "app")
    };
    let written: Vec<String> = all
        .iter()
        .filter(of_app)
        .filter_map(|line| line.pointer("/attributes/message")?.as_str())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .map(|line| named(&redact(&line, secrets.iter().copied())).chars().take(LINE_CHARS_MAX).collect())
        .collect();
    written.get(written.len().saturating_sub(LINES_MAX)..).unwrap_or_default().join(" / ")
}

/// A command's words as a shell would split them: quotes hold together, a backslash takes what follows as it is.
fn words(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) = (Vec::new(), None, None);
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some('\''), letter) => word.get_or_insert_default().push(letter),
            (_, '\\') => {
                let next = letters.next().ok_or("it ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote in it is not closed".to_owned());
    }
    words.extend(word);
    if words.is_empty() { Err("it is empty".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        let split = |command: &str| words(command).map(|words| words.join("|"));
        for (command, wanted) in [
            ("bin/rails db:migrate", "bin/rails|db:migrate"),
            ("  /bin/sh -c 'a && b'  ", "/bin/sh|-c|a && b"),
            (r#"sh -c "echo \"x y\"""#, r#"sh|-c|echo "x y""#),
            (r"a\ b '' c", "a b||c"),
        ] {
            assert_eq!(split(command), Ok(wanted.to_owned()), "{command}");
        }
        for odd in ["", "  ", "sh -c 'a", "a\\"] {
            assert!(split(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_last_lines_are_the_program_s_own() {
        let line = |by: &str, says: &str| json!({"attributes": {"message": says, "meta": {"event": {"provider": by}}}});
        let answer = json!({"data": [
            line("app", "one"), line("app", "two"), line("app", "  three\n"), line("runner", "Main child exited"),
            line("app", ""), line("app", "four"),
        ]});
        assert_eq!(lines(&answer, &[]), "two / three / four");
        assert_eq!(lines(&json!({"data": null}), &[]), "");
        // A secret is out before a line is cut: half of one is most of it.
        let long = format!("{} canarycanary", "x".repeat(LINE_CHARS_MAX - 7));
        let answer = json!({"data": [line("app", &long), line("app", "DATABASE_URL=postgres://a:hunter2@db/x")]});
        let shown = lines(&answer, &["canarycanary"]);
        assert!(!shown.contains("canar") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn its_end_is_its_process_s() {
        let machine = |state: &str, events: Value| {
            let machine = json!({"id": "m", "state": state, "events": events});
            of(&Machine::read(&machine).unwrap_or_else(|| panic!("one")))
        };
        let exit = json!([{"type": "exit", "timestamp": 1, "request": {"exit_event": {"exit_code": 3}}}]);
        assert!(matches!(machine("destroyed", exit), Some(Ended::Exit(exit)) if exit.code == 3));
        assert_eq!(machine("failed", json!([])), Some(Ended::NeverRan));
        assert_eq!(machine("started", json!([])), None);
        assert_eq!(machine("destroyed", Value::Null), None, "told a moment later, perhaps");
    }
}
