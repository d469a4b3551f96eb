//! Reading logs on the wire: the client against the local Fly, `watchbell logs` as it is typed, and lines that are followed in a
//! thread of the local Discord.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use support::script;
use support::wire::Wire;
use watchbell::adapters::fly::FlyLogs;
use watchbell::domain::logs::{Begin, Trouble};
use watchbell::ports::logs::Logs as _;
use watchbell::sim::fly::{self, Handle, TokenKind};

/// How long anything may take before the run is called stuck.
const PATIENCE: Duration = Duration::from_secs(30);

const THERE: &str = r#"{
    "org": "lighthouse",
    "tokens": [{"token": "local-fly-look", "kind": "readonly"}, {"token": "local-fly-act", "kind": "deploy", "app": "shop"}],
    "apps": [
        {"name": "shop", "machines": [{"region": "ord"}]},
        {"name": "search-app", "machines": [{"region": "iad"}]}
    ],
    "settings": {"rate_limits": false, "boot_ms": 1, "check_every_ms": 3600000, "autostop_after_ms": 86400000}
}"#;

async fn there() -> Handle {
    let workspace = fly::Workspace::from_json(THERE).expect("a workspace");
    let fly = fly::start(fly::Options::new(workspace)).await.expect("it starts");
    assert!(fly.settled(PATIENCE).await);
    for app in ["shop", "search-app"] {
        fly.act("log", &json!({"app": app, "empty": true})).expect("an app");
    }
    fly
}

fn client(fly: &Handle) -> FlyLogs {
    let token = SecretString::from(fly.token(TokenKind::Readonly, None).expect("a token"));
    FlyLogs::new(&fly.api_url(), Some(&token), Duration::from_millis(1)).expect("a client")
}

fn write(fly: &Handle, app: &str, what: &str, times: u32) {
    fly.act("log", &json!({"app": app, "machine": 1, "message": what, "times": times})).expect("an app");
}

/// Reads on until nothing more comes; where it stands then, as it would be kept.
async fn read_on(logs: &FlyLogs, mut begin: Begin, into: &mut Vec<String>) -> String {
    loop {
        let page = logs.page("shop", &begin).await.expect("a page");
        let is_end = page.lines.is_empty();
        into.extend(page.lines.into_iter().map(|line| line.message));
        let kept = page.next.to_string();
        if is_end {
            return kept;
        }
        begin = Begin::Next(page.next);
    }
}

fn numbered(what: &str, times: u32) -> impl Iterator<Item = String> {
    (1..=times).map(move |n| format!("{what} {n}"))
}

#[tokio::test]
async fn every_line_comes_once_over_pages_faults_and_a_restart() {
    // Whether a page begins with its token's own line is in no document: both.
    for repeats in [false, true] {
        let fly = there().await;
        fly.act("settings", &json!({"logs_repeat": repeats})).expect("settings");
        write(&fly, "shop", "first", 250);
        let mut seen = Vec::new();
        let kept = read_on(&client(&fly), Begin::After(0), &mut seen).await;

        // The process is gone; lines are written meanwhile, and Fly stumbles when it is back.
        write(&fly, "shop", "second", 330);
        fly.act("faults", &json!({"kind": "answer", "status": 503, "door": "logs", "times": 1})).expect("a fault");
        fly.act("faults", &json!({"kind": "drop_answer", "door": "logs", "times": 1})).expect("a fault");
        let again = client(&fly);
        let kept = read_on(&again, Begin::Next(kept.parse().expect("a cursor")), &mut seen).await;

        // Nothing new keeps its place, and what comes after it comes.
        let kept = read_on(&again, Begin::Next(kept.parse().expect("a cursor")), &mut seen).await;
        write(&fly, "shop", "third", 1);
        read_on(&client(&fly), Begin::Next(kept.parse().expect("a cursor")), &mut seen).await;
        let wanted: Vec<String> =
            numbered("first", 250).chain(numbered("second", 330)).chain(numbered("third", 1)).collect();
        assert_eq!(seen, wanted, "repeats: {repeats}");
    }
}

#[tokio::test]
async fn what_fly_says_no_to_is_a_sentence_without_the_token() {
    let fly = there().await;
    let silent = |page: Result<_, Trouble>| match page {
        Err(Trouble::Silent(says)) => says,
        other => panic!("{other:?}"),
    };
    let says = silent(client(&fly).page("nobody", &Begin::Newest).await);
    assert!(says.contains("404") && says.contains("fly-request-id"), "{says}");
    // As flyctl warns, a deploy token may not read logs.
    let token = SecretString::from(fly.token(TokenKind::Deploy, Some("shop")).expect("a token"));
    let acts = FlyLogs::new(&fly.api_url(), Some(&token), Duration::from_millis(1)).expect("a client");
    let says = silent(acts.page("shop", &Begin::Newest).await);
    assert!(says.contains("fly tokens create readonly") && !says.contains("local-fly-act"), "{says}");
    let none = FlyLogs::new(&fly.api_url(), None, Duration::from_millis(1)).expect("a client");
    assert_eq!(none.page("shop", &Begin::Newest).await, Err(Trouble::NoToken));
}

/// A set-up with two services that run there.
fn set_up(fly: &Handle) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[team]\nname = \"lighthouse\"\nzone = \"America/Chicago\"\n[channels]\nincidents = \"incidents\"\ntest = \"test\"\n\
         [discord]\nguild = \"1\"\n[fly]\norg = \"lighthouse\"\napi_url = \"{0}\"\nmachines_url = \"{0}\"\n\
         [[services]]\nname = \"checkout\"\naliases = [\"shop\"]\nproduction = {{ fly_app = \"shop\" }}\n\
         [[services]]\nname = \"search\"\nproduction = {{ fly_app = \"search-app\" }}\n",
        fly.api_url()
    );
    std::fs::write(folder.path().join("watchbell.toml"), text).expect("a file");
    folder
}

fn typed(folder: &tempfile::TempDir, arguments: &[&str], token: Option<String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchbell"));
    command.arg("logs").args(arguments).current_dir(folder.path()).env_clear();
    command.envs(token.map(|token| ("FLY_READ_TOKEN", token)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("no panic")
}

fn shown(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_several_services_filtered_masked_and_coloured() {
    let fly = there().await;
    let line = |app: &str, ago_s: u32, level: &str, message: &str| {
        let line = json!({"app": app, "machine": 1, "ago_s": ago_s, "level": level, "message": message});
        fly.act("log", &line).expect("an app");
    };
    line("shop", 600, "error", "no route, password=hunter2");
    line("search-app", 300, "info", "GET /q 200 in 812ms");
    line("shop", 200, "info", "GET /health 200 in 1ms");
    line("shop", 100, "info", "listening");
    let (folder, token) = (set_up(&fly), fly.token(TokenKind::Readonly, None));

    let (code, out, err) = shown(&run(typed(&folder, &["all"], token.clone())).await);
    let says: Vec<&str> = out.lines().map(|line| line.split_once(": ").map_or(line, |(_, says)| says)).collect();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(says, ["no route, password=…", "GET /q 200 in 812ms", "GET /health 200 in 1ms", "listening"]);
    assert!(out.lines().next().is_some_and(|line| line.contains(" checkout error ord ")), "{out}");
    assert!(!out.contains('\x1b'), "no colours where nobody sees them: {out}");

    let (_, out, _) = shown(&run(typed(&folder, &["shop", "search", "--filter", "slow"], token.clone())).await);
    assert!(out.ends_with("GET /q 200 in 812ms\n") && out.lines().count() == 1, "{out}");

    let (_, out, _) = shown(&run(typed(&folder, &["checkout", "search", "--colour", "always"], token.clone())).await);
    let coloured: Vec<bool> = ["\x1b[31mno route", "\x1b[33mGET /q", "\x1b[32mGET /health", "\x1b[0mlistening"]
        .iter()
        .map(|piece| out.contains(piece))
        .collect();
    assert_eq!(coloured, [true; 4], "{out}");

    let (code, out, err) =
        shown(&run(typed(&folder, &["checkout", "--filter", "errors", "--since", "5m"], token.clone())).await);
    assert_eq!((code, out.as_str(), err.trim()), (Some(0), "", "None of 2 lines."));

    for (arguments, token, wanted_code, wanted) in [
        (&["checkout"][..], None, 1, "FLY_READ_TOKEN is not set"),
        (&["chekout"], token.clone(), 1, "There is no service “chekout”. There are: checkout, search."),
        (&["checkout", "--since", "yesterday"], token.clone(), 2, "is no span of time"),
        (&["checkout", "--stage", "staging"], token.clone(), 1, "has no Fly app for staging"),
        (&["checkout"], Some("local-fly-act".to_owned()), 1, "fly tokens create readonly"),
    ] {
        let (code, _, err) = shown(&run(typed(&folder, arguments, token)).await);
        assert!(code == Some(wanted_code) && err.contains(wanted), "{arguments:?}: {code:?} {err}");
    }
}

/// A program that follows; its lines as they come.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    fn next(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line comes");
        line.split_once(": ").map_or(line.clone(), |(_, says)| says.to_owned())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_follows_several_services_until_it_is_told_to_stop() {
    let fly = there().await;
    write(&fly, "shop", "before", 1);
    let (folder, token) = (set_up(&fly), fly.token(TokenKind::Readonly, None));
    let mut following = Following::start(typed(&folder, &["all", "--follow"], token));
    assert_eq!(following.next(), "before 1");
    write(&fly, "search-app", "here", 1);
    assert_eq!(following.next(), "here 1");
    fly.act("faults", &json!({"kind": "answer", "status": 500, "door": "logs", "times": 4})).expect("a fault");
    write(&fly, "shop", "after", 2);
    assert_eq!([following.next(), following.next()], ["after 1", "after 2"]);
    let pid = following.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    assert_eq!(following.child.wait().expect("it ends").code(), Some(0));
}

/// Plays steps of a transcript in a world on the wire.
fn play(wire: &mut Wire, steps: &str) -> String {
    script::play(&format!("```\n{steps}\n```\n"), wire, "wire").expect("it can be played")
}

/// What stands in the thread of followed lines, oldest first.
fn in_thread(wire: &Wire) -> Vec<String> {
    let state = wire.discord().state();
    let threads = state["channels"].as_array().into_iter().flatten().filter(|one| one["kind"] == "thread");
    let thread = threads.filter_map(|one| one["id"].as_str()).next_back().map(str::to_owned);
    let messages = thread.and_then(|id| wire.discord().channel(&id, None).ok()).unwrap_or_default();
    messages.iter().filter_map(|message| message["content"].as_str()).map(str::to_owned).collect()
}

fn until(wire: &Wire, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
    let began = std::time::Instant::now();
    loop {
        let said = in_thread(wire);
        if holds(&said) {
            return said;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {said:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn lines_are_followed_in_a_thread_in_batches_and_what_is_too_much_is_said() {
    let mut wire = Wire::default();
    play(&mut wire, "with fly\nfly: empty log\nana: /logs checkout | filter: all | contains: line | follow: yes");
    play(&mut wire, "fly: log 0s info app 1 x70: line token=abcdef123456");
    let said = until(&wire, "three batches", |said| said.iter().filter(|one| one.contains(": line")).count() == 3);
    let numbers: Vec<u32> = said
        .iter()
        .flat_map(|message| message.lines())
        .filter_map(|line| line.split_once(": line token=… ")?.1.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<u32>>(), "each once and in order, its secret masked");
    let all = said.concat();
    assert!(all.contains("10 lines more came than I can post here") && !all.contains("abcdef"), "{all}");
    play(&mut wire, "ben clicks \"Stop\"");
    until(&wire, "its end", |said| said.last().is_some_and(|last| last.starts_with("Stopped: 60 lines posted.")));
    let head = |message: &Value| message["content"].as_str().is_some_and(|text| text.starts_with("Followed all lines"));
    let incidents = wire.discord().state()["channels"].as_array().cloned().unwrap_or_default();
    let id =
        incidents.iter().find(|one| one["name"] == "incidents").and_then(|one| one["id"].as_str()).expect("a channel");
    let messages = wire.discord().channel(id, None).unwrap_or_default();
    let head = messages.iter().find(|message| head(message)).expect("the head");
    assert_eq!(head["components"], json!([]), "nothing is left to press");
}
