//! The local Fly as a script orders it, and what its client says of it, in the words of the pure host.
//!
//! A sentence of the client's holds what only the wire knows: Fly's own words, its id of the request, a machine's id, figures of the
//! stand-in. What it means is the same on both sides, so here it is told as the pure host tells it; the sentences themselves are
//! tests/fly_acts.rs.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use watchbell::sim::fly::Handle;

use crate::support::host::{APP, BUILT_AGO, Logged, STAGING, ended, logged, staged, sticks, with_command};

/// What a change of a machine meets: its update, its restart, and nothing else.
const CHANGES: &str = "/apps/{app_name}/machines/{machine_id}";
/// Answers that go wrong before they go right again: fewer than the client puts up with.
const STUMBLES: u32 = 2;
/// How long a slow image takes, in ms.
const SLOW_MS: u32 = 400;
/// How long a program runs that ends again and again, in ms: it is found out before Fly gives up on it.
const RUNS_MS: u32 = 300;
/// It never passes its check meanwhile, in ms: transcripts watch a started machine for too short a time to see it end.
const NEVER_MS: u32 = 600_000;

/// Somebody deploys without the bot.
///
/// # Errors
/// A sentence, when it cannot be.
pub fn deploy(fly: &Handle, who: &str, what: &str) -> Result<(), String> {
    let (tag, command) = with_command(what);
    let (tag, status) = match tag.strip_suffix('…') {
        Some(tag) => (tag, "running"),
        None => (tag, "complete"),
    };
    let mut body = release(who, tag, status);
    if let Some(command) = command {
        body["definition"] = json!({"app": APP, "deploy": {"release_command": command}});
    }
    fly.act("release", &body).map(drop)
}

fn release(who: &str, tag: &str, status: &str) -> Value {
    let (user, image) = (format!("{who}@lighthouse.example"), format!("registry.fly.io/{APP}:{tag}"));
    json!({"app": APP, "user": user, "status": status, "image": image})
}

/// Whether machines come up anew by what `become_` does.
pub fn sets_going(what: &str) -> bool {
    what == "configuration changes" || staged(what).is_some() || ended(what).is_some()
}

/// Makes the local Fly be so.
///
/// # Errors
/// A sentence, when it cannot be.
pub fn become_(fly: &Handle, what: &str) -> Result<(), String> {
    let fault = |fault: Value| fly.act("faults", &fault).map(drop);
    let on_changes = |kind: Value| {
        let mut fault = json!({"door": "machines", "method": "POST", "path": CHANGES});
        for (key, value) in kind.as_object().into_iter().flatten() {
            fault[key] = value.clone();
        }
        fly.act("faults", &fault).map(drop)
    };
    if let Some((tag, span)) = staged(what) {
        let mut body = release("carol", tag, "complete");
        body["app"] = json!(STAGING);
        body["created_at"] = json!(in_the_past(span));
        return fly.act("release", &body).map(drop);
    }
    if let Some(logged) = logged(what) {
        let Logged { ago, level, provider, machine, times, message } = logged;
        let ago_s = ago.as_seconds_f64();
        let line = json!({"app": APP, "machine": machine, "level": level, "provider": provider, "message": message,
            "ago_s": ago_s, "times": times});
        return fly.act("log", &line).map(drop);
    }
    if let Some((machine, is_oom)) = ended(what) {
        let action = if is_oom { "oom" } else { "kill" };
        return fly.act(action, &json!({"app": APP, "machine": machine})).map(drop);
    }
    if let Some((machine, state)) = sticks(what) {
        return fly.act("stick", &json!({"app": APP, "machine": machine, "state": state})).map(drop);
    }
    match what {
        "empty log" => fly.act("log", &json!({"app": APP, "empty": true})).map(drop),
        "no logs" => fault(json!({"kind": "answer", "status": 503, "door": "logs"})),
        "well again" => {
            fly.clear_faults();
            fly.free(APP, None)
        }
        "holds" => fault(json!({"kind": "hold", "door": "machines", "method": "POST"})),
        "goes on" => {
            let faults = fly.state()["faults"].as_array().cloned().unwrap_or_default();
            for id in faults.iter().filter(|fault| fault["kind"] == "hold").filter_map(|fault| fault["id"].as_u64()) {
                fly.clear_fault(id);
            }
            Ok(())
        }
        // What that means for the bot is done with the bot.
        "no token" | "nobody may look" => Ok(()),
        "no releases" => {
            fault(json!({"kind": "answer", "status": 403, "door": "releases"}))?;
            fault(json!({"kind": "answer", "status": 403, "door": "graphql"}))
        }
        "configuration changes" => {
            let set = json!({"env": {"LOG_LEVEL": "debug"}});
            fly.act("config", &json!({"app": APP, "machine": 1, "set": set})).map(drop)
        }
        "no room" => fault(json!({"kind": "refuse", "meaning": "no_room"})),
        "refuses" => fault(json!({"kind": "refuse", "meaning": "created"})),
        "carol holds the machines" => fly.lease(APP, None, "carol", 3_600),
        "bad gateway" => on_changes(json!({"kind": "answer", "status": 502})),
        // Refused, not away: an answer that is tried for seconds is a later one, which the script would not wait for.
        "no record of releases" => {
            for method in ["POST", "PATCH"] {
                fault(json!({"kind": "answer", "status": 403, "door": "releases", "method": method}))?;
            }
            fault(json!({"kind": "answer", "status": 403, "door": "graphql"}))
        }
        "no graphql" => fault(json!({"kind": "answer", "status": 403, "door": "graphql"})),
        "releases stick" => fault(json!({"kind": "release_sticks", "path": APP})),
        "hardware fails" => fly.host(APP, Some("1"), "unreachable"),
        "hardware is back" => fly.host(APP, Some("1"), "ok"),
        "too many requests" => {
            on_changes(json!({"kind": "refuse", "meaning": "too_many", "times": STUMBLES}))?;
            fault(
                json!({"kind": "refuse", "meaning": "too_many", "door": "machines", "path": "/lease", "times": STUMBLES}),
            )
        }
        "answers are lost" => {
            on_changes(json!({"kind": "drop_answer", "times": 1}))?;
            fault(json!({"kind": "drop_answer", "door": "releases", "method": "POST", "times": 1}))
        }
        "stumbles" => on_changes(json!({"kind": "answer", "status": 503, "times": STUMBLES})),
        "machines are being replaced" => {
            on_changes(json!({"kind": "refuse", "meaning": "replacing", "times": STUMBLES}))
        }
        _ => image(fly, what),
    }
}

#[expect(clippy::disallowed_methods, reason = "the local Fly lives in real time")]
fn in_the_past(span: TimeDelta) -> String {
    (Utc::now() - span).to_rfc3339()
}

fn image(fly: &Handle, what: &str) -> Result<(), String> {
    let never = || format!("Fly is never “{what}” on the wire: see tests/fly_acts.rs");
    let (image, is) = what.split_once(" is ").ok_or_else(never)?;
    if is == "built" {
        let mut body = release("carol", image, "pending");
        body["machines"] = json!(false);
        body["created_at"] = json!(in_the_past(BUILT_AGO));
        return fly.act("release", &body).map(drop);
    }
    let character = match is {
        "well" => "good",
        "unhealthy" | "unhealthy at first" => "unhealthy",
        "crashing" => "crash_loop",
        "gone" => "pruned",
        "failing its release command" => "bad_release",
        "out of memory" => "out_of_memory",
        "not pullable" => "not_pullable",
        "slow to start" => "slow_start",
        "slow to stop" => "slow_stop",
        _ => return Err(never()),
    };
    let mut told = json!({"image": image, "character": character});
    match is {
        "crashing" | "out of memory" => (told["run_ms"], told["healthy_ms"]) = (json!(RUNS_MS), json!(NEVER_MS)),
        "unhealthy at first" => told["starts"] = json!(1),
        "slow to start" => told["healthy_ms"] = json!(SLOW_MS),
        "slow to stop" => told["stop_ms"] = json!(SLOW_MS),
        _ => {}
    }
    fly.act("image", &told).map(drop)
}

/// What a sentence of the client's has in it, and what the pure host says instead.
const SAYINGS: [(&str, &str); 12] = [
    ("there is no room for machine ", "there is no room on its hardware"),
    ("cannot be had any more", "the image cannot be had any more"),
    (" works on machine ", "somebody else works on it"),
    (" killed for want of memory", "it was killed for want of memory"),
    (" starts and ends, again and again", "it ends and starts again and again"),
    (" of its 1 checks pass", "its checks fail"),
    (" could not be started", "it could not be started"),
    ("the hardware under machine ", "the hardware under it does not answer"),
    ("the release is not on Fly's record", "Fly does not take it"),
    (" is not marked as ", "Fly does not take it"),
    ("Fly answered 412", "Fly refuses to change it"),
    (" was not changed: Fly answered", "Fly does not answer, and it was not changed"),
];
/// What ends the part of a sentence about logs that both sides say.
const READ_LOGS: &str = "(read logs)";
/// What follows a sentence of the client's, where something does.
const ENDS: [&str; 3] = [". It took", ". The next ", ". 1"];

/// The line in the words of the pure host.
pub fn plain(line: &str) -> String {
    if let (Some(begins), Some(ends)) = (line.find("released before ("), line.find("). Give the image")) {
        return format!("{}released before (it answered 503{}", &line[..begins], &line[ends..]);
    }
    for (before, after) in [("with the releases between (", "); what one"), (" has (", "); none would")] {
        if let (Some(begins), Some(ends)) = (line.find(before), line.find(after)) {
            return format!("{}it answered 503{}", &line[..begins + before.len()], &line[ends..]);
        }
    }
    if let Some(begins) = line.find(READ_LOGS) {
        let ends = line.find(". Try again in a moment").unwrap_or(line.len());
        return format!("{}{}", &line[..begins + READ_LOGS.len()], &line[ends..]);
    }
    let found = SAYINGS.iter().find_map(|(has, means)| Some((line.find(has)?, *means)));
    let Some((at, means)) = found else { return line.to_owned() };
    // It begins behind the name of the machine, and goes to the end of what is said of it.
    let Some(begins) = line[..at + 1].rfind(": ").map(|colon| colon + 2) else { return line.to_owned() };
    let ends = ENDS.iter().filter_map(|end| line[at..].find(end)).min().map_or(line.len(), |end| at + end);
    format!("{}{means}{}", &line[..begins], &line[ends..])
}
