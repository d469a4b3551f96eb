//! What the doctor says of set-ups that are whole, half and wrong.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::*;

/// Discord, Fly and a service in one, as far as the doctor asks. Answers by path.
#[derive(Clone)]
struct World(Arc<Mutex<std::collections::BTreeMap<String, Value>>>);

const GUILD: &str = "812345678901234567";
const BOT: &str = "812345678901234568";
const ANA: &str = "812345678901234569";

impl World {
    async fn start() -> (Self, String) {
        let text = |name: &str| json!({"id": name, "name": name, "type": 0, "permission_overwrites": []});
        let role = |name: &str| json!({"id": name, "name": name, "permissions": "0", "mentionable": true});
        let everybody =
            json!({"id": GUILD, "name": "@everyone", "permissions": (0x7F_FFFF_FFFF_FFFF_u64 & !8).to_string()});
        let answers = [
            ("/api/v10/users/@me", json!({"id": BOT, "username": "watchbell"})),
            (&format!("/api/v10/guilds/{GUILD}"), json!({"id": GUILD, "name": "Acme", "owner_id": "1"})),
            (
                &format!("/api/v10/guilds/{GUILD}/roles"),
                json!([everybody, role("Reliability"), role("engineer"), role("manager"), role("responder")]),
            ),
            (&format!("/api/v10/guilds/{GUILD}/channels"), json!([text("incidents"), text("watchbell-test")])),
            (&format!("/api/v10/guilds/{GUILD}/members/{BOT}"), json!({"roles": []})),
            (&format!("/api/v10/guilds/{GUILD}/members/{ANA}"), json!({"roles": []})),
            ("/v1/tokens/current", json!({"tokens": [{"org_slug": "acme", "expires_at": "2027-06-01T00:00:00Z"}]})),
            ("/v1/apps", json!({"apps": [{"name": "api", "machine_count": 2}]})),
            ("/v1/apps/api/machines", json!([{"id": "m1", "state": "started", "region": "ord", "host_status": "ok"}])),
            ("/health", json!({"status": "ok"})),
            (
                "/acme/api/v1/query",
                json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "1"]}]}}),
            ),
        ];
        let world =
            Self(Arc::new(Mutex::new(answers.into_iter().map(|(path, body)| (path.to_owned(), body)).collect())));
        let app = Router::new().fallback(answer).with_state(world.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
        let base = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (world, base)
    }

    fn set(&self, path: &str, body: Value) {
        self.0.lock().map(|mut answers| drop(answers.insert(path.to_owned(), body))).unwrap_or_default();
    }

    fn forget(&self, path: &str) {
        self.0.lock().map(|mut answers| drop(answers.remove(path))).unwrap_or_default();
    }
}

async fn answer(State(world): State<World>, uri: Uri) -> impl IntoResponse {
    match world.0.lock().ok().and_then(|answers| answers.get(uri.path()).cloned()) {
        Some(body) => (StatusCode::OK, body.to_string()),
        None => (StatusCode::NOT_FOUND, json!({"message": "Unknown", "code": 0}).to_string()),
    }
}

/// A set-up in a folder of its own, which is gone with the value.
struct Setup {
    dir: tempfile::TempDir,
    text: String,
}

impl Setup {
    fn new(base: &str) -> Self {
        let text = format!(
            r#"
[team]
name = "Acme"
zone = "America/Chicago"
[discord]
guild = "{GUILD}"
api_url = "{base}"
[channels]
incidents = "incidents"
test = "watchbell-test"
[roles]
reliability = "Reliability"
[[people]]
name = "ana"
chat = "discord:{ANA}"
roles = ["reliability"]
wake = [{{ via = "direct" }}, {{ via = "ntfy", url = "https://ntfy.example/topic" }}]
[fly]
org = "acme"
machines_url = "{base}"
api_url = "{base}"
prometheus_url = "{base}"
[dead_man]
url = "https://dead-man.example/x"
[[services]]
name = "api"
[services.production]
fly_app = "api"
[[services.production.probes]]
name = "health"
url = "{base}/health"
expect_json = {{ pointer = "/status", equals = "ok" }}
when = "when_awake"
"#
        );
        Self { dir: tempfile::tempdir().unwrap_or_else(|error| panic!("{error}")), text }
    }

    fn replace(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{from}");
        self.text = self.text.replace(from, to);
    }

    /// The findings that are not simply well, and all of them.
    async fn examine(&self) -> (Vec<String>, Vec<Check>) {
        // Every secret but those of a pipeline, which these set-ups have none of.
        let env = |name: &str| (!name.starts_with("WATCHBELL_HOOK_")).then(|| format!("canary-{name}"));
        let path = self.dir.path().join("watchbell.toml");
        std::fs::write(&path, &self.text).unwrap_or_else(|error| panic!("{error}"));
        let checks = examine_file(&path, env, now(), |_| Some(10 << 30)).await;
        assert!(!format!("{checks:?}").contains("canary"), "no secret is shown");
        (checks.iter().filter(|check| check.mark != Mark::Ok).map(Check::to_string).collect(), checks)
    }
}

fn now() -> DateTime<Utc> {
    "2026-11-24T15:00:00Z".parse().unwrap_or_default()
}

#[tokio::test]
async fn a_whole_set_up_is_all_ticks_and_read_back_in_words() {
    let (_, base) = World::start().await;
    let (troubles, checks) = Setup::new(&base).examine().await;
    assert_eq!(troubles, Vec::<String>::new());
    assert_eq!(exit_code(&checks), 0);
    let said: Vec<String> = checks.iter().map(Check::to_string).collect();
    for line in [
        "✓ Discord: the token is taken; the bot is watchbell. Such a token has no end",
        "✓ Discord: #incidents: the bot may do all it needs",
        "✓ Discord: the role Reliability is there",
        "✓ Waking people: ana: direct message, then ntfy; try them with /oncall test",
        "✓ Fly: the token lasts until 2027-06-01",
        "✓ Fly: api is seen, with 2 machines",
        "✓ Figures: fly answers",
        "✓ State: 10240 MB free",
        "✓ Calendar: the team's zone is America/Chicago, where it is now Tuesday 09:00",
    ] {
        assert!(said.iter().any(|one| one == line), "{line} in {said:#?}");
    }
    let digest = said.iter().find(|one| one.contains("“daily digest” runs")).cloned().unwrap_or_default();
    assert!(
        digest
            .ends_with("next Wed 25 Nov 09:00, Thu 26 Nov 09:00, Fri 27 Nov 09:00, Sat 28 Nov 09:00, Sun 29 Nov 09:00"),
        "{digest}"
    );
    let report = report(&checks, "Acme", now());
    assert!(
        report.starts_with("# Readiness of Acme\n\n2026-11-24 15:00 UTC · Ready.\n\n## Configuration\n\n- ✓ "),
        "{report}"
    );
}

#[tokio::test]
async fn what_the_bot_may_not_do_in_a_channel_is_named() {
    let (world, base) = World::start().await;
    let denied = ((1_u64 << 11) | (1 << 35)).to_string();
    world.set(
        &format!("/api/v10/guilds/{GUILD}/channels"),
        json!([
            {"id": "1", "name": "incidents", "type": 0,
             "permission_overwrites": [{"id": GUILD, "type": 0, "deny": denied, "allow": "0"},
                                       {"id": BOT, "type": 1, "deny": "0", "allow": (1_u64 << 35).to_string()}]},
            {"id": "2", "name": "watchbell-test", "type": 0,
             "permission_overwrites": [{"id": BOT, "type": 1, "deny": (1_u64 << 51).to_string(), "allow": "0"}]},
        ]),
    );
    let (troubles, checks) = Setup::new(&base).examine().await;
    assert_eq!(
        troubles,
        [
            "✗ Discord: #incidents: the bot lacks Send Messages: allow it in the channel's settings, Permissions",
            "⚠ Discord: #watchbell-test: the bot lacks Pin Messages, so cards are not pinned: allow it there",
        ]
    );
    assert_eq!(exit_code(&checks), 1);
}

#[tokio::test]
async fn everything_that_is_missing_has_its_remedy_on_the_line() {
    let (world, base) = World::start().await;
    world.set(&format!("/api/v10/guilds/{GUILD}/roles"), json!([{"id": GUILD, "permissions": (0x7F_FFFF_FFFF_u64 & !8 & !(1 << 17)).to_string()},
        {"id": "5", "name": "Reliability", "permissions": "0", "mentionable": false},
        {"id": "6", "name": "engineer", "permissions": "0", "mentionable": true}, {"id": "7", "name": "manager", "permissions": "0", "mentionable": true}]));
    world.set("/v1/apps", json!({"apps": []}));
    world.set("/v1/tokens/current", json!({"tokens": [{"org_slug": "acme", "expires_at": "2026-12-01T00:00:00Z"}]}));
    world.set("/health", json!({"status": "degraded"}));
    world.forget(&format!("/api/v10/guilds/{GUILD}/members/{ANA}"));
    let mut setup = Setup::new(&base);
    setup.replace(", { via = \"ntfy\", url = \"https://ntfy.example/topic\" }", "");
    setup.replace("[dead_man]\nurl = \"https://dead-man.example/x\"\n", "");
    let (troubles, _) = setup.examine().await;
    for line in [
        "✗ Discord: the bot cannot ping Reliability: let anyone mention the role, or give the bot Mention Everyone",
        "✗ Discord: there is no role responder (responder in policy): make it, or name another under [roles]",
        "✗ Discord: ana (812345678901234569) is not on the server: correct the id, or invite them",
        "⚠ Waking people: ana: Discord is the only way, and it wakes no sleeping phone: add ntfy, Pushover or PagerDuty under wake",
        "⚠ Waking people: no [dead_man] url: when the bot itself dies, nobody hears of it; healthchecks.io gives such an address",
        "⚠ Fly: the token ends on 2026-12-01: fly tokens create readonly acme --name watchbell-read --expiry 8760h",
        "✗ Fly: api is not among the apps of acme: correct fly_app, or [fly] org",
    ] {
        assert!(troubles.iter().any(|one| one == line), "{line} in {troubles:#?}");
    }
    assert!(
        troubles.iter().any(|one| one.starts_with("✗ Probes: api production health: answered 200 in ")),
        "{troubles:#?}"
    );
}

#[tokio::test]
async fn a_neighbour_that_is_away_costs_no_other_line() {
    let (world, base) = World::start().await;
    let mut setup = Setup::new(&base);
    setup.replace(&format!("api_url = \"{base}\"\n[channels]"), "api_url = \"http://127.0.0.1:9\"\n[channels]");
    world.forget("/v1/tokens/current");
    let (troubles, checks) = setup.examine().await;
    assert_eq!(
        troubles.first().map(String::as_str),
        Some(
            "✗ Discord: Discord could not be asked: no connection: look at the network, and at [discord] api_url when it is set"
        )
    );
    assert!(troubles.iter().any(|one| one.starts_with("✗ Fly: the token could not be checked: ")), "{troubles:#?}");
    assert!(checks.iter().any(|check| check.about == "Calendar"));
}

#[tokio::test]
async fn a_fly_toml_that_lets_the_bot_sleep_or_forget_is_wrong() {
    let (_, base) = World::start().await;
    let setup = Setup::new(&base);
    let write =
        |text: &str| std::fs::write(setup.dir.path().join("fly.toml"), text).unwrap_or_else(|error| panic!("{error}"));
    write("[http_service]\nauto_stop_machines = \"stop\"\n[deploy]\nstrategy = \"bluegreen\"\n");
    let (troubles, _) = setup.examine().await;
    let starts: Vec<&str> = troubles.iter().filter_map(|one| one.split_once(": ").map(|(_, says)| says)).collect();
    let expected = [
        "auto_stop_machines puts the bot to sleep",
        "[mounts] holds no volume",
        "kill_signal",
        "kill_timeout",
        "[deploy] strategy bluegreen",
        "no [checks]",
    ];
    assert_eq!(starts.len(), expected.len(), "{troubles:#?}");
    assert!(starts.iter().zip(expected).all(|(says, start)| says.starts_with(start)), "{troubles:#?}");

    let mount = setup.dir.path().display();
    write(&format!(
        "kill_signal = \"SIGTERM\"\nkill_timeout = \"30s\"\n[[mounts]]\nsource = \"d\"\ndestination = \"{mount}\"\n[checks.up]\ntype = \"http\"\n"
    ));
    assert_eq!(setup.examine().await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_refused_is_the_one_finding() {
    let checks = examine_file(Path::new("not/there.toml"), |_| None, now(), |_| None).await;
    let said: Vec<String> = checks.iter().map(Check::to_string).collect();
    assert_eq!(said, ["✗ Configuration: not/there.toml: there is no such file; `watchbell init` writes one by asking"]);
    assert_eq!(exit_code(&checks), 1);
}

#[tokio::test]
async fn the_examples_placeholders_are_named() {
    let (_, base) = World::start().await;
    let mut setup = Setup::new(&base);
    setup.replace(GUILD, "000000000000000000");
    let (troubles, _) = setup.examine().await;
    assert!(
        troubles
            .iter()
            .any(|one| one.starts_with("✗ Discord: [discord] guild is still the example's 000000000000000000: ")),
        "{troubles:#?}"
    );
}

#[tokio::test]
async fn certificates_to_be_trusted_are_looked_at() {
    let (_, base) = World::start().await;
    let mut setup = Setup::new(&base);
    setup.replace("[dead_man]", "[probes]\nca_file = \"ca.pem\"\n[dead_man]");
    let key = rcgen::KeyPair::generate().unwrap_or_else(|error| panic!("{error}"));
    let params = rcgen::CertificateParams::new(vec!["acme.test".to_owned()]).unwrap_or_else(|error| panic!("{error}"));
    let own = params.self_signed(&key).unwrap_or_else(|error| panic!("{error}"));
    for (pem, is_well, says) in [
        (own.pem(), true, "1 believed, of "),
        ("nothing".to_owned(), false, "ca.pem holds no certificate; write it as PEM"),
    ] {
        std::fs::write(setup.dir.path().join("ca.pem"), pem).unwrap_or_else(|error| panic!("{error}"));
        let (_, checks) = setup.examine().await;
        let check = checks.iter().find(|check| check.to_string().contains("ca.pem")).map(Check::to_string);
        let check = check.unwrap_or_default();
        assert!(
            check.starts_with(if is_well { "✓ Probes: " } else { "✗ Probes: " }) && check.contains(says),
            "{check}"
        );
    }
}
