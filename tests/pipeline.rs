//! A deploy that a pipeline asks for, with the real program on both sides: `watchbell deploy` signs, the public port takes it, a
//! person says yes in the local Discord, the local Fly is changed, and the exit code says what came of it. Kill -9 of the bot in
//! between makes no second deploy. What does not count is refused with its status and a sentence.

#[path = "support/killed.rs"]
#[allow(dead_code, reason = "nothing is left to chance here")]
mod killed;
#[path = "support/on_fly.rs"]
mod on_fly;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use killed::{Bot, WITHIN, free_port};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::process::Command;
use watchbell::adapters::clock::SystemClock;
use watchbell::adapters::hooks::signature::{self, AGE_MAX_S, Signed};
use watchbell::domain::policy::SHIPPED;
use watchbell::ports::Clock as _;
use watchbell::sim::{discord, fly};

/// Promise seconds a real second: the minute in which a service settles passes in one.
const SPEED: f64 = 60.0;
/// How long a deploy may take, deaths included.
const OVER_WITHIN: Duration = Duration::from_secs(60);
/// What the pipeline signs with, and what is about to take its place.
const SECRET: &str = "canary-of-the-pipelines-secret";
const NEXT: &str = "canary-of-the-pipelines-next-secret";
const HOOK: &str = "/hooks/deploy";
/// Two machines, with delays long enough to die in.
const THERE: &str = r#"{
    "org": "lighthouse",
    "tokens": [{"token": "local-look", "kind": "readonly"}, {"token": "local-act", "kind": "deploy", "app": "shop"}],
    "apps": [{
        "name": "shop",
        "machines": [{"region": "iad"}, {"region": "ord"}],
        "releases": [{"version": 1, "image": "registry.fly.io/shop:deployment-1"}]
    }],
    "settings": {"boot_ms": 60, "healthy_ms": 200, "stop_ms": 40, "check_every_ms": 20, "rate_limits": false}
}"#;

/// Everything that runs.
struct World {
    folder: tempfile::TempDir,
    discord: discord::Handle,
    fly: fly::Handle,
    public: u16,
    bot: Bot,
}

/// The shipped policy without a checklist, and with a yes that must be somebody else's.
fn policy() -> String {
    let mut policy: toml::Table = SHIPPED.parse().expect("the shipped policy");
    let deploys = policy["deploys"].as_table_mut().expect("a table");
    deploys.remove("checklist");
    deploys.insert("own_approval_up_to".to_owned(), 0.into());
    toml::to_string(&policy).expect("a policy")
}

fn setup(folder: &Path, discord: &discord::Handle, fly: &fly::Handle, (private, public): (u16, u16)) -> String {
    let ana = discord.member_id("ana").expect("a member");
    let rest = format!(
        r#"
[http]
private_bind = "127.0.0.1:{private}"
public_bind = "127.0.0.1:{public}"
[clock]
virtual = true
speed = {SPEED:?}
origin = "2026-12-02T16:05:00Z"
[pipeline]
name = "github"
[[people]]
name = "ana"
chat = "discord:{ana}"
roles = ["reliability"]
"#
    );
    on_fly::setup(folder, discord, fly, "", &rest)
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let discord = discord::start(discord::Options::new(on_fly::unpaced_guild())).await.expect("the local Discord");
        let there = fly::Workspace::from_json(THERE).expect("a workspace");
        let fly = fly::start(fly::Options::new(there)).await.expect("the local Fly");
        assert!(fly.settled(WITHIN).await, "the machines are up");
        let (private, public) = (free_port(), free_port());
        let text = setup(folder.path(), &discord, &fly, (private, public));
        std::fs::write(folder.path().join("watchbell.toml"), text).expect("a file");
        std::fs::write(folder.path().join("policy.toml"), policy()).expect("a file");
        let env = vec![
            ("DISCORD_TOKEN", discord.bot_token()),
            ("FLY_READ_TOKEN", "local-look".to_owned()),
            ("FLY_DEPLOY_TOKEN_SHOP", "local-act".to_owned()),
            ("WATCHBELL_HOOK_DEPLOY_SECRET", SECRET.to_owned()),
            ("WATCHBELL_HOOK_DEPLOY_SECRET_NEXT", NEXT.to_owned()),
        ];
        let mut bot = Bot::new(folder.path(), private, env);
        bot.start();
        bot.wait_up().await;
        let world = Self { folder, discord, fly, public, bot };
        world.answered("run", json!({"as": "mia", "channel": "incidents", "command": "watchbell live"})).await;
        world
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.public)
    }

    async fn answered(&self, what: &str, body: Value) {
        let begun = self.discord.call(what, body.clone()).await.unwrap_or_else(|why| panic!("{what} {body}: {why}"));
        let id = begun["interaction_id"].as_str().expect("an interaction").to_owned();
        let seen = self.discord.interaction(&id, WITHIN).await.expect("it is known");
        assert_eq!(seen["status"], "answered", "{what} {body}");
    }

    /// What stands in the channel and is such a message, the newest; waited for.
    async fn message(&self, is_it: impl Fn(&str) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let all = self.discord.channel("incidents", None).unwrap_or_default();
            if let Some(found) = all.iter().rev().find(|message| is_it(&message.to_string())) {
                return found.clone();
            }
            let last: Vec<&Value> = all.iter().rev().take(3).collect();
            assert!(began.elapsed() < OVER_WITHIN, "no such message; the last: {last:#?}\n{}", self.bot.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn press(&self, who: &str, button: &str, is_it: impl Fn(&str) -> bool) {
        let message = self.message(is_it).await;
        self.answered("press", json!({"as": who, "message": message["id"], "button": button})).await;
    }

    /// `watchbell deploy`, as a pipeline runs it.
    fn cli(&self, secret: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchbell"));
        command.args(["deploy", "--service", "shop", "--wait"]).args(more);
        command.current_dir(self.folder.path()).env_clear().env("WATCHBELL_URL", self.url());
        command.env("WATCHBELL_HOOK_DEPLOY_SECRET", secret).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// How many deploys there are cards of.
    fn cards(&self) -> usize {
        let all = self.discord.channel("incidents", None).unwrap_or_default();
        all.iter()
            .filter(|message| message["embeds"][0]["title"].as_str().is_some_and(|title| title.starts_with("DEP-")))
            .count()
    }

    fn images(&self) -> Vec<String> {
        let state = self.fly.state();
        let machines = state["apps"][0]["machines"].as_array().cloned().unwrap_or_default();
        machines.iter().filter_map(|machine| Some(machine["image"].as_str()?.to_owned())).collect()
    }

    /// Nothing that the pipeline holds is seen anywhere.
    fn shows_no_secret(&self, said: &[&str]) {
        let channel = json!(self.discord.channel("incidents", None).unwrap_or_default()).to_string();
        let mut record = String::new();
        for file in std::fs::read_dir(self.folder.path().join("state/log")).expect("the log").flatten() {
            record.push_str(&String::from_utf8_lossy(&std::fs::read(file.path()).expect("a segment")));
        }
        assert!(record.contains("deploy_planned"), "the record is what was read");
        for (place, text) in [("channel", &channel), ("log", &self.bot.log()), ("record", &record)] {
            assert!(!text.contains("canary-of"), "in the {place}");
        }
        for text in said {
            assert!(!text.contains("canary-of"), "{text}");
        }
    }

    async fn end(mut self) {
        self.bot.kill().await;
        self.discord.shutdown().await;
        drop(self.fly.shutdown().await);
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn code(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), words(output))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_asks_a_person_says_yes_and_the_exit_code_says_what_came_of_it() {
    let mut world = World::new().await;
    let good = "registry.fly.io/shop:deployment-2";
    let asks = ["--image", good, "--id", "run-7", "--actor", "octocat", "--commit", "4f2a9c7e", "--why", "faster"];
    let waiting = world.cli(SECRET, &asks).spawn().expect("the program starts");

    let card = world.message(|text| text.contains("Made from")).await.to_string();
    for part in ["DEP-1", "github", "octocat", "4f2a9c7e", "faster"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    // It dies with the request on record; what is sent again is the same deploy, and who waits goes on waiting.
    world.bot.kill().await;
    world.bot.start();
    world.bot.wait_up().await;
    let mut again = world.cli(SECRET, &asks);
    again.args(["--timeout", "0s"]);
    let again = again.output().await.expect("it ends");
    let (exit, said) = code(&again);
    assert!(exit == Some(4) && said.contains("DEP-1 Deploy deployment-2 to shop"), "{exit:?} {said}");
    assert_eq!(world.cards(), 1, "one request is one deploy");

    world.press("mia", "Approve and start", |text| text.contains("Approve and start")).await;
    let done = waiting.wait_with_output().await.expect("it ends");
    let (exit, said) = code(&done);
    assert_eq!(exit, Some(0), "{said}\n{}", world.bot.log());
    for line in
        ["DEP-1 Deploy deployment-2 to shop", "I have asked manager and reliability to approve it", "DEP-1: succeeded."]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(world.images(), [good, good]);
    assert_eq!(world.cards(), 1);
    // Asked once more when all is over, it is what came of it.
    let (exit, over) = code(&world.cli(SECRET, &asks).output().await.expect("it ends"));
    assert!(exit == Some(0) && over.contains("DEP-1: succeeded."), "{exit:?} {over}");

    // One that does not do: it is taken back, and the pipeline is told that it failed.
    let bad = "registry.fly.io/shop:deployment-3-crash-loop";
    let waiting = world.cli(SECRET, &["--image", bad]).spawn().expect("the program starts");
    world.press("mia", "Approve and start", |text| text.contains("DEP-2") && text.contains("Approve and start")).await;
    let (exit, failed) = code(&waiting.wait_with_output().await.expect("it ends"));
    assert_eq!(exit, Some(1), "{failed}");

    world.shows_no_secret(&[&said, &over, &failed]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_a_check_and_a_file_that_differs_refuse_it() {
    let world = World::new().await;
    let image = ["--image", "registry.fly.io/shop:deployment-2"];
    // The file in the repository is held against what runs.
    let file = world.folder.path().join("fly.toml");
    std::fs::write(&file, "app = \"shop\"\n[deploy]\nrelease_command = \"bin/migrate\"\n[[vm]]\nmemory = \"2gb\"\n")
        .expect("a file");
    let differs =
        world.cli(SECRET, &[&image[..], &["--fly-toml", "fly.toml"]].concat()).output().await.expect("it ends");
    let (exit, said) = code(&differs);
    assert_eq!(exit, Some(2), "{said}");
    for part in ["release_command is “bin/migrate”, and shop has none", "2048 MB", "leave --fly-toml out"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(world.cards(), 0, "nothing was planned");

    std::fs::write(&file, "app = \"shop\"\n").expect("a file");
    let waiting = world.cli(SECRET, &[&image[..], &["--fly-toml", "fly.toml"]].concat()).spawn().expect("it starts");
    world.press("ana", "Cancel", |text| text.contains("DEP-1") && text.contains("Change")).await;
    let (exit, said) = code(&waiting.wait_with_output().await.expect("it ends"));
    assert!(exit == Some(2) && said.contains("DEP-1: cancelled. Somebody said no"), "{exit:?} {said}");

    // A check refuses: the plan stands, and says how it can be passed.
    let freeze = json!({"as": "ana", "channel": "incidents", "command": "fly freeze", "options": {"why": "a big day"}});
    world.answered("run", freeze).await;
    let mut asks = Command::new(env!("CARGO_BIN_EXE_watchbell"));
    asks.args(["deploy", "--service", "shop", "--url", &world.url()]).args(image).env_clear();
    asks.env("WATCHBELL_HOOK_DEPLOY_SECRET", NEXT);
    let (exit, said) = code(&asks.output().await.expect("it ends"));
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("✗ freeze: everything is frozen by ana: a big day (/fly thaw ends it). To pass: "), "{said}");

    // A bot that is not there, a secret that is not its own, an address where others can read.
    let (exit, said) = code(&world.cli("another secret altogether", &image).output().await.expect("it ends"));
    assert!(exit == Some(3) && said.contains("The signature is not that of this request"), "{exit:?} {said}");
    for (url, says) in [
        (format!("http://127.0.0.1:{}", free_port()), "Not asked: the bot does not answer"),
        ("http://watchbell.example".to_owned(), "https only"),
    ] {
        let mut asks = Command::new(env!("CARGO_BIN_EXE_watchbell"));
        asks.args(["deploy", "--service", "shop", "--away", "0s", "--url", &url]).args(image).env_clear();
        asks.env("WATCHBELL_HOOK_DEPLOY_SECRET", SECRET);
        let (exit, said) = code(&asks.output().await.expect("it ends"));
        assert!(exit == Some(3) && said.contains(says), "{exit:?} {said}");
    }
    world.end().await;
}

/// A request as it is sent, by default one that counts.
struct Sent<'a> {
    secret: &'a str,
    time_s: i64,
    id: &'a str,
    path: &'a str,
    body: Vec<u8>,
}

impl Sent<'_> {
    fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            secret: SECRET,
            time_s: SystemClock::default().now().timestamp(),
            id: "run-1",
            path: HOOK,
            body: body.into(),
        }
    }

    async fn to(self, world: &World) -> (u16, Value) {
        let method = if self.path == HOOK { "POST" } else { "GET" };
        let signed = Signed { time_s: self.time_s, id: self.id, method, path: self.path, body: &self.body };
        let shown = signed.sign(&SecretString::from(self.secret));
        let url = format!("{}{}", world.url(), self.path);
        let request = match method {
            "POST" => world.bot.http.post(url),
            _ => world.bot.http.get(url),
        };
        let request = request.header(signature::TIME, self.time_s).header(signature::ID, self.id);
        let answer = request.header(signature::SIGNATURE, shown).body(self.body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_count_is_refused_with_a_sentence_and_what_is_sent_again_is_the_same() {
    let world = World::new().await;
    let asks = r#"{"service": "shop", "image": "registry.fly.io/shop:deployment-2"}"#;
    let now_s = SystemClock::default().now().timestamp();
    let deep = format!(r#"{{"service": {}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let of = |body: &str| Sent::new(body);
    let refused = [
        (Sent { secret: "another secret altogether", ..of(asks) }, 401, "The signature is not that of this request"),
        (Sent { time_s: now_s - AGE_MAX_S - 60, ..of(asks) }, 401, "signed more than 5 minutes from now"),
        (Sent { time_s: now_s + AGE_MAX_S + 60, ..of(asks) }, 401, "signed more than 5 minutes from now"),
        (Sent { id: "run 1", ..of(asks) }, 401, "watchbell-id is 1 to 80"),
        (Sent::new(vec![b' '; 200_000]), 413, "too large: at most 64 KiB"),
        (of(&deep), 400, "The body is not what is taken here"),
        (of(r#"{"service": ["shop"], "image": 7}"#), 400, "The body is not what is taken here"),
        (of(r#"{"service": "shop", "image": "x", "approved": true}"#), 400, "unknown field `approved`"),
        (of("not JSON"), 400, "The body is not what is taken here"),
        (Sent { id: "run-2", ..of(r#"{"service": "basket", "image": "v1"}"#) }, 409, "There is no service “basket”"),
        (Sent { path: "/hooks/deploy/7", ..Sent::new("") }, 404, "No pipeline asked for that deploy"),
        (Sent { path: "/hooks/other", ..Sent::new("") }, 404, "There is nothing here"),
    ];
    for (sent, status, says) in refused {
        let (got, body) = sent.to(&world).await;
        let error = body["error"].as_str().unwrap_or_default();
        assert!(got == status && error.contains(says), "wanted {status} {says}: {got} {body}");
    }
    let bare = world.bot.http.post(format!("{}{HOOK}", world.url())).body(asks).send().await.expect("an answer");
    assert_eq!(bare.status().as_u16(), 401);
    assert_eq!(world.cards(), 0, "nothing of that was planned");

    // The very same request, replayed, is what it was the first time; so it is with the other secret, and for who looks.
    for secret in [SECRET, SECRET, NEXT] {
        let (status, told) = Sent { secret, time_s: now_s, ..of(asks) }.to(&world).await;
        assert_eq!((status, &told["deploy"], &told["stands"]), (202, &json!("DEP-1"), &json!("waiting")), "{told}");
    }
    let (status, body) = of(&asks.replace("deployment-2", "deployment-9")).to(&world).await;
    assert!(
        status == 409 && body["error"].as_str().is_some_and(|why| why.contains("was another one and is DEP-1")),
        "{body}"
    );
    let (status, told) = Sent { path: "/hooks/deploy/1", ..Sent::new("") }.to(&world).await;
    assert_eq!((status, &told["deploy"]), (200, &json!("DEP-1")), "{told}");
    world.message(|text| text.contains("DEP-1")).await;
    assert_eq!(world.cards(), 1, "one request is one deploy");
    world.shows_no_secret(&[]);
    world.end().await;
}
