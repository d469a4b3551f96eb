//! Log lines over NATS, with a real server: Debian's `nats-server`. Without one it is skipped; where `WATCHBELL_CI` is set that is an
//! error.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use watchbell::sim::fly::{self, Handle, TokenKind};

/// How long anything may take before the run is called stuck.
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "local-fly-look";

const THERE: &str = r#"{
    "org": "lighthouse",
    "tokens": [{"token": "local-fly-look", "kind": "readonly"}],
    "apps": [{"name": "shop", "machines": [{"region": "ord"}]}],
    "settings": {"rate_limits": false, "boot_ms": 1, "check_every_ms": 3600000, "autostop_after_ms": 86400000}
}"#;

/// The server's program; none when it is not installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian puts it where only the administrator's path looks.
    let found =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).map(|folder| folder.join("nats-server"));
    let found = found.into_iter().find(|program| program.is_file());
    assert!(found.is_some() || std::env::var_os("WATCHBELL_CI").is_none(), "nats-server is not installed");
    found
}

/// A server on loopback that takes one user, as Fly's: the organisation and a token.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(program: &Path, port: u16, password: &str) -> Self {
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "--user", "lighthouse", "--pass", password]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let server = Self { child, port };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Somebody who writes as Fly does.
async fn writer(url: &str) -> async_nats::Client {
    let options = async_nats::ConnectOptions::with_user_and_password("lighthouse".to_owned(), TOKEN.to_owned());
    options.connect(url).await.expect("it takes the token")
}

#[expect(clippy::disallowed_methods, reason = "Fly stamps its lines with wire time")]
async fn write(writer: &async_nats::Client, app: &str, message: &str) {
    let line = json!({"event": {"provider": "app"}, "fly": {"app": {"instance": "m1", "name": app}, "region": "ord"}, "host": "ab",
        "log": {"level": "info"}, "message": message, "timestamp": chrono::Utc::now().to_rfc3339()});
    writer.publish(format!("logs.{app}.ord.m1"), line.to_string().into()).await.expect("published");
    writer.flush().await.expect("flushed");
}

/// `watchbell logs --follow`, and its lines as they come.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn start(folder: &Path, fly: &Handle, nats_url: &str) -> Self {
        let text = format!(
            "[team]\nname = \"lighthouse\"\nzone = \"America/Chicago\"\n[channels]\nincidents = \"incidents\"\ntest = \"test\"\n\
             [discord]\nguild = \"1\"\n[fly]\norg = \"lighthouse\"\napi_url = \"{0}\"\nmachines_url = \"{0}\"\n\
             logs_nats_url = \"{nats_url}\"\n[[services]]\nname = \"checkout\"\nproduction = {{ fly_app = \"shop\" }}\n",
            fly.api_url()
        );
        std::fs::write(folder.join("watchbell.toml"), text).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchbell"));
        command.args(["logs", "checkout", "--follow"]).current_dir(folder).env_clear().env("FLY_READ_TOKEN", TOKEN);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
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

async fn there() -> Handle {
    let workspace = fly::Workspace::from_json(THERE).expect("a workspace");
    let fly = fly::start(fly::Options::new(workspace)).await.expect("it starts");
    assert!(fly.settled(PATIENCE).await && fly.token(TokenKind::Readonly, None).is_some());
    fly.act("log", &json!({"app": "shop", "empty": true})).expect("an app");
    fly
}

fn asked(fly: &Handle) -> usize {
    fly.requests(0, usize::MAX).0.iter().filter(|request| request["door"] == "logs").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_over_nats_and_what_was_written_while_it_was_away_over_http() {
    let Some(program) = program() else {
        eprintln!("skipped: nats-server is not installed");
        return;
    };
    let fly = there().await;
    let server = Server::start(&program, free_port(), TOKEN);
    let folder = tempfile::tempdir().expect("a folder");
    fly.act("log", &json!({"app": "shop", "message": "before"})).expect("an app");
    let following = Following::start(folder.path(), &fly, &server.url());
    assert_eq!(following.next(), "before");

    // Whether it listens already is told by a line that comes: until then one is written again and again.
    let nats = writer(&server.url()).await;
    let mut first = 0;
    let begun = loop {
        first += 1;
        write(&nats, "shop", &format!("hello {first}")).await;
        if let Ok(line) = following.lines.recv_timeout(Duration::from_millis(100)) {
            break line;
        }
        assert!(first < 300, "nothing comes over NATS");
    };
    assert!(begun.contains(": hello "), "{begun}");
    // What is still on its way of these comes before what is written now.
    let past_hello = |following: &Following| loop {
        let line = following.next();
        if !line.starts_with("hello ") {
            return line;
        }
    };
    write(&nats, "other", "of another app").await;
    write(&nats, "shop", "password=hunter2 sent").await;
    assert_eq!(past_hello(&following), "password=… sent");
    let (before, many) = (asked(&fly), 50);
    for n in 1..=many {
        write(&nats, "shop", &format!("live {n}")).await;
    }
    for n in 1..=many {
        assert_eq!(following.next(), format!("live {n}"));
    }
    assert_eq!(asked(&fly), before, "what is sent is not asked for");

    // The server goes away; a line is written meanwhile, and another when it is back.
    let port = server.port;
    drop(server);
    fly.act("log", &json!({"app": "shop", "message": "while away"})).expect("an app");
    let server = Server::start(&program, port, TOKEN);
    assert_eq!(following.next(), "while away");
    let nats = writer(&server.url()).await;
    write(&nats, "shop", "back again").await;
    assert_eq!(following.next(), "back again");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nats_does_not_take_the_token_lines_are_asked_for() {
    let Some(program) = program() else {
        eprintln!("skipped: nats-server is not installed");
        return;
    };
    let fly = there().await;
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&program, free_port(), "another");
    let following = Following::start(folder.path(), &fly, &server.url());
    fly.act("log", &json!({"app": "shop", "message": "over http"})).expect("an app");
    assert_eq!(following.next(), "over http");
}
