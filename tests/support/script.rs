//! Transcripts: Markdown whose fenced blocks are scripts and what people saw. Read, played, compared, rewritten.
//!
//! In a block, a line that begins with two spaces and `<` is what was seen; every other line is a step. A line that begins with
//! `wire:` is played only on the wire, `pure:` only on the pure floors; the other world leaves it and what was seen as they are.

use std::fmt::Write as _;

use chrono::TimeDelta;

use super::world::{Behaviour, HOOKS, Step, World};

/// Plays a transcript. Its text as it is now: the same when nothing changed.
///
/// # Errors
/// A sentence that says which line could not be read or played.
pub fn play(text: &str, world: &mut dyn World, marker: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut in_block = false;
    let mut others = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
            let _ = writeln!(out, "{line}");
            continue;
        }
        if !in_block || line.trim().is_empty() || line.trim_start().starts_with("//") {
            let _ = writeln!(out, "{line}");
            continue;
        }
        if line.starts_with("  <") || line.starts_with("   ") {
            if others {
                let _ = writeln!(out, "{line}");
            }
            continue;
        }
        others = false;
        let _ = writeln!(out, "{line}");
        let words = match line.split_once(": ") {
            Some((only, rest)) if only == "wire" || only == "pure" => {
                if only != marker {
                    others = true;
                    continue;
                }
                rest
            }
            _ => line,
        };
        let step = step(words).map_err(|why| format!("line {}: {why}", number + 1))?;
        let seen = world.play(&step).map_err(|why| format!("line {} ({line}): {why}", number + 1))?;
        for line in seen {
            let _ = writeln!(out, "  {line}");
        }
    }
    Ok(out)
}

fn step(line: &str) -> Result<Step, String> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix('+') {
        return Ok(Step::Advance(span(rest)?));
    }
    if line == "crash" {
        return Ok(Step::Crash(TimeDelta::zero()));
    }
    if let Some(rest) = line.strip_prefix("crash for ") {
        return Ok(Step::Crash(span(rest)?));
    }
    if let Some(rest) = line.strip_prefix("crash, clock back ") {
        return Ok(Step::Crash(-span(rest)?));
    }
    if let Some(rest) = line.strip_prefix("clock ahead ") {
        return Ok(Step::Ahead(span(rest)?));
    }
    if line == "with fly" {
        return Ok(Step::WithFly);
    }
    if line == "with rules" {
        return Ok(Step::WithRules);
    }
    if line == "with staging" {
        return Ok(Step::WithStaging);
    }
    if let Some(rest) = line.strip_prefix("fly: ") {
        return Ok(Step::Fly(match rest.split_once(": ") {
            Some((head, message)) => format!("{head}: {}", expand(message)),
            None => rest.to_owned(),
        }));
    }
    if let Some(rest) = line.strip_prefix("pipeline: ") {
        return Ok(Step::Pipeline(pairs(rest.split(" | "))?));
    }
    let told = HOOKS.into_iter().find_map(|hook| Some((hook, line.strip_prefix(hook)?.strip_prefix(": ")?)));
    if let Some((hook, rest)) = told {
        let (word, rest) = rest.split_once(" | ").ok_or("say `alertmanager: fires | alertname: …`")?;
        let fires = match word {
            "fires" => true,
            "resolved" => false,
            _ => return Err("an alert fires, or is resolved".to_owned()),
        };
        return Ok(Step::Hook { hook, fires, labels: pairs(rest.split(" | "))? });
    }
    if line == "observing" {
        return Ok(Step::Observing);
    }
    if let Some(rest) = line.strip_prefix("now ") {
        return Ok(Step::Start(rest.to_owned()));
    }
    if let Some(rest) = line.strip_prefix("look ") {
        return Ok(Step::Look(rest.to_owned()));
    }
    if let Some(rest) = line.strip_prefix("discord: ") {
        return Ok(Step::Discord(rest == "up"));
    }
    if let Some(rest) = line.strip_prefix("policy: ") {
        let (key, value) = rest.split_once(" = ").ok_or("a policy line is `policy: key = value`")?;
        return Ok(Step::Policy { key: key.to_owned(), value: value.to_owned() });
    }
    if let Some(rest) = line.strip_prefix("deleted: the ") {
        let (what, incident) = rest.split_once(" of INC-").ok_or("say `deleted: the card of INC-1`")?;
        let incident = incident.parse().map_err(|_| "no incident number")?;
        return Ok(Step::Deleted { what: what.to_owned(), incident });
    }
    if let Some(incident) = line.strip_prefix("archived: the thread of INC-") {
        return Ok(Step::Archived { incident: incident.parse().map_err(|_| "no incident number")? });
    }
    if let Some((name, bound)) = line.split_once(": slow above ") {
        return Ok(Step::SlowAbove { name: name.to_owned(), bound: span(bound)? });
    }
    if let Some((name, rest)) = line.split_once(": certificate ends in ") {
        let days = rest.strip_suffix('d').and_then(|days| days.parse().ok()).ok_or("in so many days: 12d")?;
        return Ok(Step::Certificate { name: name.to_owned(), days });
    }
    if let Some((name, behaviour)) = line.split_once(": ") {
        match behaviour {
            "nobody looks" => return Ok(Step::Looked { name: name.to_owned(), looked: false }),
            "looked at again" => return Ok(Step::Looked { name: name.to_owned(), looked: true }),
            "no probe" => return Ok(Step::NoProbe(name.to_owned())),
            _ => {}
        }
        let behaviour = match behaviour {
            "healthy" => Some(Behaviour::Healthy),
            "wrong" => Some(Behaviour::Wrong),
            "dead" => Some(Behaviour::Dead),
            "slow" => Some(Behaviour::Slow),
            _ => None,
        };
        if let Some(behaviour) = behaviour {
            return Ok(Step::Service { name: name.to_owned(), behaviour });
        }
    }
    if let Some((who, rest)) = line.split_once(" clicks ") {
        let (label, on) = match rest.split_once("\" on \"") {
            Some((label, on)) => (format!("{label}\""), Some(quoted(&format!("\"{on}"))?)),
            None => (rest.to_owned(), None),
        };
        return Ok(Step::Click { who: who.to_owned(), label: quoted(&label)?, on });
    }
    if let Some((who, rest)) = line.split_once(" click ") {
        let who = who.split(" and ").map(str::to_owned).collect();
        return Ok(Step::Race { who, label: quoted(rest)? });
    }
    if let Some((who, rest)) = line.split_once(" chooses ") {
        let (label, menu) = rest.split_once(" from ").ok_or("say `chooses \"…\" from \"…\"`")?;
        return Ok(Step::Choose { who: who.to_owned(), label: quoted(label)?, menu: quoted(menu)? });
    }
    if let Some((who, rest)) = line.split_once(" uses ") {
        let (command, text) = rest.split_once(" on ").ok_or("say `uses \"…\" on \"…\"`")?;
        return Ok(Step::OnMessage { who: who.to_owned(), command: quoted(command)?, text: quoted(text)? });
    }
    if let Some((who, rest)) = line.split_once(" writes ") {
        let (text, place) = match rest.rsplit_once(" in ") {
            Some((text, place)) => (text, Some(place.to_owned())),
            None => (rest, None),
        };
        return Ok(Step::Write { who: who.to_owned(), text: quoted(text)?, place });
    }
    if let Some((who, rest)) = line.split_once(" fills ") {
        return Ok(Step::Fill { who: who.to_owned(), values: pairs(rest.split(" | "))? });
    }
    if let Some((who, rest)) = line.split_once(": /") {
        let (who, place) = match who.split_once(" in ") {
            Some((who, place)) => (who, Some(place.to_owned())),
            None => (who, None),
        };
        let mut parts = rest.split(" | ");
        let head = parts.next().unwrap_or_default();
        let (command, words) = split_command(head);
        return Ok(Step::Command { who: who.to_owned(), command, words, options: pairs(parts)?, place });
    }
    Err(format!("I don't understand “{line}”"))
}

/// The command's full name and the words behind it. Groups take two words.
fn split_command(head: &str) -> (String, String) {
    let names: Vec<String> = watchbell::commands::specs().iter().map(|spec| spec.name.to_owned()).collect();
    let two: String = head.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let name = if names.contains(&two) { two } else { head.split(' ').next().unwrap_or_default().to_owned() };
    let words = head[name.len()..].trim().to_owned();
    (name, words)
}

fn pairs<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>, String> {
    parts
        .map(|part| match part.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), expand(value.trim()))),
            None => Err(format!("“{part}” is not `name: value`")),
        })
        .collect()
}

/// `x*3000` is three thousand x, so that a long text need not stand in a transcript.
fn expand(value: &str) -> String {
    match value.rsplit_once('*') {
        Some((word, times)) if times.parse::<usize>().is_ok_and(|times| times > 50) => {
            word.repeat(times.parse().unwrap_or(1))
        }
        _ => value.to_owned(),
    }
}

fn quoted(text: &str) -> Result<String, String> {
    text.trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| format!("{text} should stand in quotes"))
}

fn span(text: &str) -> Result<TimeDelta, String> {
    let written = humantime::parse_duration(text.trim()).map_err(|error| format!("{text}: {error}"))?;
    TimeDelta::from_std(written).map_err(|error| error.to_string())
}
