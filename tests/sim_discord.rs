//! The local Discord, as a bot and as a person see it. One half speaks HTTP by hand, the other is an unmodified
//! serenity client that knows nothing but an address.

use std::time::Duration;

use serde_json::{Value, json};
use watchbell::sim::discord::{self, Handle, Options, Workspace};

/// How long anything may take here before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bot without a library.
struct Bot {
    http: reqwest::Client,
    api: String,
    token: String,
}

impl Bot {
    fn of(sim: &Handle) -> Bot {
        Bot { http: reqwest::Client::new(), api: sim.api_url(), token: sim.bot_token() }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value, reqwest::header::HeaderMap) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.api));
        request = request.header("Authorization", format!("Bot {}", self.token));
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, response.json().await.unwrap_or(Value::Null), headers)
    }

    async fn post(&self, channel: &str, body: Value) -> (u16, Value) {
        let (status, body, _) = self.send("POST", &format!("/channels/{channel}/messages"), body).await;
        (status, body)
    }
}

async fn start() -> (Handle, Bot, String) {
    let sim = discord::start(Options::new(Workspace::example())).await.expect("a free port");
    let bot = Bot::of(&sim);
    let incidents = sim.channel_id("incidents").expect("the channel").to_string();
    (sim, bot, incidents)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The codes of all faults of a form, each with its path.
fn faults(errors: &Value) -> Vec<String> {
    fn walk(at: &Value, path: &str, out: &mut Vec<String>) {
        for (key, value) in at.as_object().into_iter().flatten() {
            match key.as_str() {
                "_errors" => {
                    for error in value.as_array().into_iter().flatten() {
                        out.push(format!("{path} {}", error["code"].as_str().unwrap_or_default()));
                    }
                }
                key => walk(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, out),
            }
        }
    }
    let mut out = Vec::new();
    walk(errors, "", &mut out);
    out
}

#[tokio::test]
async fn a_wrong_token_and_unknown_ids_are_refused_in_discords_words() {
    let (sim, mut bot, incidents) = start().await;
    let right = std::mem::replace(&mut bot.token, "wrong".to_owned());
    let (status, body) = bot.post(&incidents, json!({"content": "hello"})).await;
    assert_eq!((status, body), (401, json!({"message": "401: Unauthorized", "code": 0})));
    bot.token = right;
    for (method, path, status, code) in [
        ("GET", "/channels/1".to_owned(), 404, 10003),
        ("GET", format!("/channels/{incidents}/messages/1"), 404, 10008),
        ("GET", "/guilds/1".to_owned(), 404, 10004),
        ("GET", format!("/guilds/{}/members/1", sim.guild_id()), 404, 10007),
        ("PATCH", "/webhooks/1/nothing/messages/@original".to_owned(), 404, 10015),
        ("POST", "/interactions/1/nothing/callback".to_owned(), 404, 10062),
        ("GET", "/nonsense".to_owned(), 404, 0),
    ] {
        let (got, body, _) = bot.send(method, &path, Value::Null).await;
        assert_eq!((got, body["code"].as_u64()), (status, Some(code)), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn what_discord_would_refuse_in_a_message_is_refused_with_the_place_of_the_fault() {
    let (sim, bot, incidents) = start().await;
    sim.settings(|settings| (settings.messages_per_window, settings.global_per_second) = (1_000, 1_000));
    let long = |count: usize| "x".repeat(count);
    let button = |id: &str, label: &str| json!({"type": 2, "style": 1, "custom_id": id, "label": label});
    let row = |inner: Vec<Value>| json!({"type": 1, "components": inner});
    let many = |count: usize, one: Value| (0..count).map(|_| one.clone()).collect::<Vec<_>>();
    let options = |count: usize| {
        (0..count).map(|n| json!({"label": format!("o{n}"), "value": format!("v{n}")})).collect::<Vec<_>>()
    };
    let menu = |options: Vec<Value>| row(vec![json!({"type": 3, "custom_id": "m", "options": options})]);
    let field = json!({"name": "n", "value": "v"});
    for (body, want) in [
        (json!({"content": long(2001)}), "content BASE_TYPE_MAX_LENGTH"),
        (json!({"content": 5}), "content STRING_TYPE_CONVERT"),
        (json!({"content": "x", "nonce": long(26)}), "nonce BASE_TYPE_MAX_LENGTH"),
        (json!({"content": "x", "flags": 64}), "flags MESSAGE_FLAGS_INVALID"),
        (json!({"content": "x", "allowed_mention": {}}), "allowed_mention UNKNOWN_FIELD"),
        (
            json!({"content": "x", "allowed_mentions": {"parse": ["user"]}}),
            "allowed_mentions.parse.0 BASE_TYPE_CHOICES",
        ),
        (json!({"embeds": many(11, json!({"title": "t"}))}), "embeds BASE_TYPE_MAX_LENGTH"),
        (json!({"embeds": [{"title": long(257)}]}), "embeds.0.title BASE_TYPE_MAX_LENGTH"),
        (json!({"embeds": [{"description": long(4097)}]}), "embeds.0.description BASE_TYPE_MAX_LENGTH"),
        (json!({"embeds": [{"fields": many(26, field.clone())}]}), "embeds.0.fields BASE_TYPE_MAX_LENGTH"),
        (
            json!({"embeds": [{"fields": [{"name": "n", "value": long(1025)}]}]}),
            "embeds.0.fields.0.value BASE_TYPE_BAD_LENGTH",
        ),
        (json!({"embeds": [{"fields": [{"name": "", "value": "v"}]}]}), "embeds.0.fields.0.name BASE_TYPE_BAD_LENGTH"),
        (json!({"embeds": [{"fields": [{"name": "n"}]}]}), "embeds.0.fields.0.value BASE_TYPE_REQUIRED"),
        (json!({"embeds": [{"footer": {"text": long(2049)}}]}), "embeds.0.footer.text BASE_TYPE_MAX_LENGTH"),
        (json!({"embeds": [{"author": {"name": long(257)}}]}), "embeds.0.author.name BASE_TYPE_MAX_LENGTH"),
        (json!({"embeds": many(2, json!({"description": long(3001)}))}), "embeds MAX_EMBED_SIZE_EXCEEDED"),
        (
            json!({"content": "x", "components": many(6, row(vec![button("a", "A")]))}),
            "components BASE_TYPE_MAX_LENGTH",
        ),
        (json!({"content": "x", "components": [row(vec![])]}), "components.0.components BASE_TYPE_BAD_LENGTH"),
        (
            json!({"content": "x", "components": [row((0..6).map(|n| button(&n.to_string(), "b")).collect())]}),
            "components.0.components BASE_TYPE_BAD_LENGTH",
        ),
        (
            json!({"content": "x", "components": [row(vec![button("a", &long(81))])]}),
            "components.0.components.0.label BASE_TYPE_MAX_LENGTH",
        ),
        (
            json!({"content": "x", "components": [row(vec![button(&long(101), "A")])]}),
            "components.0.components.0.custom_id BASE_TYPE_BAD_LENGTH",
        ),
        (
            json!({"content": "x", "components": [row(vec![button("a", "A")]), row(vec![button("a", "B")])]}),
            "components.1.components.0.custom_id COMPONENT_CUSTOM_ID_DUPLICATED",
        ),
        (
            json!({"content": "x", "components": [menu(options(26))]}),
            "components.0.components.0.options BASE_TYPE_BAD_LENGTH",
        ),
        (
            json!({"content": "x", "components": [menu(vec![json!({"label": long(101), "value": "v"})])]}),
            "components.0.components.0.options.0.label BASE_TYPE_BAD_LENGTH",
        ),
    ] {
        let (status, answer) = bot.post(&incidents, body.clone()).await;
        assert_eq!((status, answer["code"].as_u64()), (400, Some(50035)), "{want}: {answer}");
        assert!(faults(&answer["errors"]).iter().any(|fault| fault == want), "{want} in {answer}");
    }
    let (status, answer) = bot.post(&incidents, json!({"content": "  "})).await;
    assert_eq!((status, answer["code"].as_u64()), (400, Some(50006)));
    let fits = json!({"content": long(2000), "embeds": [{"title": long(256), "fields": many(25, field)}],
        "components": [row((0..5).map(|n| button(&n.to_string(), &long(80))).collect()), menu(options(25))],
        "nonce": long(25)});
    let (status, answer) = bot.post(&incidents, fits).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_sixth_message_in_five_seconds_is_told_when_to_come_back() {
    let (sim, bot, incidents) = start().await;
    for left in (0..5).rev() {
        let path = format!("/channels/{incidents}/messages");
        let (status, _, headers) = bot.send("POST", &path, json!({"content": "x"})).await;
        assert_eq!(status, 200);
        assert_eq!(headers["X-RateLimit-Limit"], "5");
        assert_eq!(headers["X-RateLimit-Remaining"], left.to_string());
        assert!(headers.contains_key("X-RateLimit-Bucket") && headers.contains_key("X-RateLimit-Reset-After"));
    }
    let (status, body, headers) =
        bot.send("POST", &format!("/channels/{incidents}/messages"), json!({"content": "x"})).await;
    assert_eq!(status, 429);
    assert_eq!(body["global"], false);
    let after = body["retry_after"].as_f64().expect("seconds");
    assert!(after > 0.0 && after <= 5.0, "{after}");
    assert_eq!(headers["X-RateLimit-Scope"], "user");
    assert_eq!(headers["Retry-After"], after.ceil().to_string());
    let general = sim.channel_id("general").expect("the channel").to_string();
    assert_eq!(bot.post(&general, json!({"content": "another channel"})).await.0, 200);
    assert_eq!(sim.counters()["rate_limited"], 1);
}

#[tokio::test]
async fn an_enforced_nonce_gets_the_message_that_stands_and_a_plain_one_doubles() {
    let (sim, bot, incidents) = start().await;
    let body = json!({"content": "once", "nonce": "INC-7 page 1", "enforce_nonce": true});
    let (_, first) = bot.post(&incidents, body.clone()).await;
    let (status, second) = bot.post(&incidents, body).await;
    assert_eq!((status, &second["id"]), (200, &first["id"]));
    assert_eq!(sim.channel("incidents", None).expect("the channel").len(), 1);
    assert_eq!((&sim.counters()["doubled"], &sim.counters()["nonce_repeats"]), (&json!(0), &json!(1)));
    let (_, third) = bot.post(&incidents, json!({"content": "once", "nonce": "INC-7 page 1"})).await;
    assert_ne!(third["id"], first["id"]);
    assert_eq!(sim.counters()["doubled"], 1);
    sim.settings(|settings| settings.nonce_window_ms = 0);
    let late = json!({"content": "once", "nonce": "INC-7 page 1", "enforce_nonce": true});
    let (_, fourth) = bot.post(&incidents, late).await;
    assert_ne!(fourth["id"], first["id"], "outside the window it is forgotten");
}

#[tokio::test]
async fn phones_ring_for_whom_allowed_mentions_names_and_for_no_edit() {
    let (sim, bot, incidents) = start().await;
    let (ana, role) = (sim.member_id("ana").expect("ana"), sim.role_id("responder").expect("the role"));
    let content = format!("SEV-1 INC-7 checkout is down <@{ana}> <@&{role}> @everyone");
    let pings = |name: &str| sim.phone(name).expect("a phone")["pings"].as_u64().expect("a count");
    bot.post(&incidents, json!({"content": content, "allowed_mentions": {"parse": []}})).await;
    assert_eq!(["ana", "ben", "dmitri"].map(pings), [0, 0, 0]);
    let (_, message) =
        bot.post(&incidents, json!({"content": content, "allowed_mentions": {"roles": [role.to_string()]}})).await;
    assert_eq!(["ana", "ben", "dmitri"].map(pings), [1, 1, 0]);
    let phone = sim.phone("ben").expect("a phone");
    assert_eq!(phone["notifications"][0]["why"], "role");
    assert_eq!(phone["notifications"][0]["line"], "SEV-1 INC-7 checkout is down @Ana @responder @everyone");
    assert_eq!(phone["notifications"][0]["title"], "Watchbell (#incidents)");
    bot.post(&incidents, json!({"content": content, "flags": 4096})).await;
    let path = format!("/channels/{incidents}/messages/{}", text(&message["id"]));
    bot.send("PATCH", &path, json!({"content": content})).await;
    assert_eq!(["ana", "ben", "dmitri"].map(pings), [1, 1, 0], "neither a silent message nor an edit rings");
    bot.post(&incidents, json!({"content": content})).await;
    assert_eq!(["ana", "ben", "dmitri"].map(pings), [2, 2, 1]);
    let (_, dm, _) = bot.send("POST", "/users/@me/channels", json!({"recipient_id": ana.to_string()})).await;
    let long = "é".repeat(150);
    let (status, _) = bot.post(&text(&dm["id"]), json!({"content": long})).await;
    assert_eq!(status, 200);
    let line = text(&sim.phone("ana").expect("a phone")["notifications"][0]["line"]);
    assert_eq!(line.chars().count(), 100, "a lock screen shows the first hundred characters");
    sim.call("member/ana", json!({"dms_closed": true})).await.expect("a member");
    let (status, refused) = bot.post(&text(&dm["id"]), json!({"content": "hello"})).await;
    assert_eq!((status, refused["code"].as_u64()), (403, Some(50007)));
}

#[tokio::test]
async fn threads_have_their_message_s_id_archive_and_wake_unless_locked() {
    let (sim, bot, incidents) = start().await;
    let (_, card) = bot.post(&incidents, json!({"content": "card"})).await;
    let id = text(&card["id"]);
    let path = format!("/channels/{incidents}/messages/{id}/threads");
    let (status, thread, _) = bot.send("POST", &path, json!({"name": "INC-7"})).await;
    assert_eq!((status, &thread["id"]), (201, &card["id"]));
    let (status, again, _) = bot.send("POST", &path, json!({"name": "INC-7"})).await;
    assert_eq!((status, again["code"].as_u64()), (400, Some(160_004)));
    let (_, said) = bot.post(&id, json!({"content": "in the thread"})).await;
    let thread_path = format!("/channels/{id}");
    bot.send("PATCH", &thread_path, json!({"archived": true})).await;
    let said_path = format!("/channels/{id}/messages/{}", text(&said["id"]));
    let (status, refused, _) = bot.send("PATCH", &said_path, json!({"content": "other"})).await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(50083)));
    assert_eq!(bot.post(&id, json!({"content": "wakes it"})).await.0, 200);
    let (_, thread, _) = bot.send("GET", &thread_path, Value::Null).await;
    assert_eq!(thread["thread_metadata"]["archived"], false);
    bot.send("PATCH", &thread_path, json!({"archived": true, "locked": true})).await;
    let (status, refused) = bot.post(&id, json!({"content": "does not"})).await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(160_005)));
    drop(sim);
}

#[tokio::test]
async fn pins_stand_by_either_route_and_need_their_permission() {
    let (sim, bot, incidents) = start().await;
    let (_, card) = bot.post(&incidents, json!({"content": "card"})).await;
    let id = text(&card["id"]);
    let (old, new) = (format!("/channels/{incidents}/pins/{id}"), format!("/channels/{incidents}/messages/pins/{id}"));
    assert_eq!(bot.send("PUT", &old, Value::Null).await.0, 204);
    let (_, listed, _) = bot.send("GET", &format!("/channels/{incidents}/messages/pins"), Value::Null).await;
    assert_eq!(listed["items"][0]["message"]["id"], card["id"]);
    assert_eq!(bot.send("DELETE", &new, Value::Null).await.0, 204);
    let (_, listed, _) = bot.send("GET", &format!("/channels/{incidents}/pins"), Value::Null).await;
    assert_eq!(listed, json!([]));
    let deny = json!({"kind": "deny", "channel": "incidents", "permissions": ["PIN_MESSAGES"]});
    sim.fault(deny).await.expect("a fault");
    let (status, refused, _) = bot.send("PUT", &new, Value::Null).await;
    assert_eq!((status, refused["code"].as_u64()), (403, Some(50013)));
}

#[tokio::test]
async fn attachments_come_back_at_their_address() {
    let (sim, bot, incidents) = start().await;
    let payload = json!({"content": "a picture", "attachments": [{"id": 0, "description": "errors a minute"}]});
    let file = reqwest::multipart::Part::bytes(vec![137, 80, 78, 71]).file_name("chart.png");
    let form = reqwest::multipart::Form::new().text("payload_json", payload.to_string()).part("files[0]", file);
    let request = bot.http.post(format!("{}/channels/{incidents}/messages", bot.api));
    let request = request.header("Authorization", format!("Bot {}", bot.token)).multipart(form);
    let message: Value = request.send().await.expect("an answer").json().await.expect("a message");
    let attachment = &message["attachments"][0];
    assert_eq!((&attachment["filename"], &attachment["description"]), (&json!("chart.png"), &json!("errors a minute")));
    let bytes = bot.http.get(text(&attachment["url"])).send().await.expect("an answer").bytes().await.expect("bytes");
    assert_eq!(bytes.as_ref(), [137, 80, 78, 71]);
    drop(sim);
}

#[tokio::test]
async fn faults_strike_as_they_are_set_and_end_when_cleared() {
    let (sim, bot, incidents) = start().await;
    sim.fault(json!({"kind": "answer", "status": 503, "path": "/messages", "times": 1})).await.expect("a fault");
    assert_eq!(bot.post(&incidents, json!({"content": "1"})).await.0, 503);
    assert_eq!(bot.post(&incidents, json!({"content": "2"})).await.0, 200);
    let limited = json!({"kind": "answer", "status": 429, "retry_after_ms": 1500, "global": true, "times": 1});
    sim.fault(limited).await.expect("a fault");
    let (status, body, headers) = bot.send("GET", "/users/@me", Value::Null).await;
    assert_eq!((status, &body["retry_after"], &body["global"]), (429, &json!(1.5), &json!(true)));
    assert_eq!(
        (&headers["Retry-After"], &headers["X-RateLimit-Global"]),
        (&"2".parse().expect("a header"), &"true".parse().expect("a header"))
    );
    sim.fault(json!({"kind": "drop_answer", "method": "POST", "times": 1})).await.expect("a fault");
    let request = bot.http.post(format!("{}/channels/{incidents}/messages", bot.api));
    let request = request.header("Authorization", format!("Bot {}", bot.token)).json(&json!({"content": "3"}));
    assert!(request.send().await.is_err(), "the answer is lost");
    let stands = sim.channel("incidents", None).expect("the channel");
    assert_eq!(stands.iter().map(|message| text(&message["content"])).collect::<Vec<_>>(), ["2", "3"]);
    sim.fault(json!({"kind": "down"})).await.expect("a fault");
    assert!(bot.http.get(format!("{}/gateway", bot.api)).send().await.is_err());
    sim.clear_faults();
    assert_eq!(bot.send("GET", "/gateway", Value::Null).await.0, 200);
}

#[tokio::test]
async fn commands_are_checked_and_overwritten_as_one() {
    let (sim, bot, _) = start().await;
    let path = format!("/applications/{}/guilds/{}/commands", text(&sim.state()["application"]["id"]), sim.guild_id());
    let option =
        |name: &str, required: bool| json!({"type": 3, "name": name, "description": "d", "required": required});
    for (body, want) in [
        (json!([{"name": "SEV", "description": "d"}]), "0.name APPLICATION_COMMAND_INVALID_NAME"),
        (json!([{"name": "sev", "description": "x".repeat(101)}]), "0.description BASE_TYPE_BAD_LENGTH"),
        (
            json!([{"name": "sev", "description": "d", "options": [option("a", false), option("b", true)]}]),
            "0.options.1 APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
        ),
        (
            json!([{"name": "sev", "description": "d"}, {"name": "sev", "description": "d"}]),
            "1 APPLICATION_COMMANDS_DUPLICATE_NAME",
        ),
    ] {
        let (status, answer, _) = bot.send("PUT", &path, body).await;
        assert_eq!(status, 400);
        assert!(faults(&answer["errors"]).iter().any(|fault| fault == want), "{want} in {answer}");
    }
    let (_, first, _) =
        bot.send("PUT", &path, json!([{"name": "a", "description": "d"}, {"name": "b", "description": "d"}])).await;
    let (status, second, _) = bot.send("PUT", &path, json!([{"name": "b", "description": "other"}])).await;
    assert_eq!((status, &second[0]["id"]), (200, &first[1]["id"]), "a command keeps its id by its name");
    assert_eq!(sim.state()["commands"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_guild_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { state_dir: Some(folder.path().to_owned()), ..Options::new(Workspace::example()) };
    let sim = discord::start(options()).await.expect("a free port");
    sim.type_text("ana", "#incidents", "hello").await.expect("a message");
    let before = sim.state()["channels"].clone();
    sim.shutdown().await;
    let sim = discord::start(options()).await.expect("a free port");
    assert_eq!(sim.state()["channels"], before);
    assert_eq!(sim.channel("incidents", None).expect("the channel")[0]["text"], "hello");
}

#[tokio::test]
async fn the_control_api_serves_its_own_page_only() {
    let (sim, bot, _) = start().await;
    let url = format!("{}/state", sim.control_url());
    let status =
        |request: reqwest::RequestBuilder| async { request.send().await.expect("an answer").status().as_u16() };
    assert_eq!(status(bot.http.get(&url)).await, 200);
    assert_eq!(status(bot.http.get(&url).header("Origin", sim.base_url())).await, 200);
    assert_eq!(status(bot.http.get(&url).header("Origin", "http://evil.example")).await, 403);
    assert_eq!(status(bot.http.get(&url).header("Host", "evil.example")).await, 403);
    assert!(
        discord::start(Options { bind: ([0, 0, 0, 0], 0).into(), ..Options::new(Workspace::example()) }).await.is_err()
    );
}

#[tokio::test]
async fn a_stream_tells_the_page_of_each_change() {
    use futures_util::StreamExt;
    let (sim, bot, incidents) = start().await;
    let response = bot.http.get(format!("{}/events", sim.control_url())).send().await.expect("a stream");
    let mut stream = response.bytes_stream();
    bot.post(&incidents, json!({"content": "ring"})).await;
    let mut told = String::new();
    while !told.contains("\n\n") {
        let piece = tokio::time::timeout(PATIENCE, stream.next()).await.expect("in time").expect("more");
        told.push_str(&String::from_utf8_lossy(&piece.expect("a piece")));
    }
    assert!(told.contains("\"kind\":\"message\"") && told.contains("\"content\":\"ring\""), "{told}");
}

/// Discord's OpenAPI document, when it lies beside the tree.
fn openapi() -> Option<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/discord/openapi.json");
    let text = std::fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).expect("the document is JSON"))
}

#[tokio::test]
async fn answers_fit_discord_s_openapi_document() {
    let Some(document) = openapi() else {
        println!("skipped: Discord's OpenAPI document is not here");
        return;
    };
    let (sim, bot, incidents) = start().await;
    sim.settings(|settings| (settings.messages_per_window, settings.global_per_second) = (1_000, 1_000));
    let (ana, guild) = (sim.member_id("ana").expect("ana"), sim.guild_id());
    let application = text(&sim.state()["application"]["id"]);
    let card = json!({
        "content": format!("SEV-1 <@{ana}>"), "nonce": "n1", "enforce_nonce": true,
        "embeds": [{"title": "t", "description": "d", "color": 255, "timestamp": "2026-11-24T03:07:00Z",
            "fields": [{"name": "n", "value": "v"}], "footer": {"text": "f"}, "author": {"name": "a"}}],
        "components": [
            {"type": 1, "components": [{"type": 2, "style": 3, "label": "Ack", "custom_id": "ack"},
                {"type": 2, "style": 5, "label": "Link", "url": "https://example.com/"}]},
            {"type": 1, "components": [{"type": 3, "custom_id": "m", "options": [{"label": "l", "value": "v"}]}]},
        ],
    });
    let (_, message) = bot.post(&incidents, card).await;
    let id = text(&message["id"]);
    let commands = json!([{"name": "sev1", "description": "Declare", "default_member_permissions": "0",
        "options": [{"type": 3, "name": "title", "description": "What", "required": true}]},
        {"name": "Use as update", "type": 3}]);
    let here = format!("/channels/{incidents}");
    let of_guild = format!("/applications/{application}/guilds/{guild}/commands");
    let mut wrong = Vec::new();
    for (method, path, body, template) in [
        ("GET", format!("{here}/messages/{id}"), Value::Null, "/channels/{channel_id}/messages/{message_id}"),
        (
            "POST",
            format!("{here}/messages"),
            json!({"content": "x", "message_reference": {"message_id": id}}),
            "/channels/{channel_id}/messages",
        ),
        (
            "PATCH",
            format!("{here}/messages/{id}"),
            json!({"content": "y"}),
            "/channels/{channel_id}/messages/{message_id}",
        ),
        (
            "POST",
            format!("{here}/messages/{id}/threads"),
            json!({"name": "INC-7"}),
            "/channels/{channel_id}/messages/{message_id}/threads",
        ),
        ("POST", format!("{here}/threads"), json!({"name": "INC-8", "type": 11}), "/channels/{channel_id}/threads"),
        ("GET", format!("{here}/messages"), Value::Null, "/channels/{channel_id}/messages"),
        ("GET", here.clone(), Value::Null, "/channels/{channel_id}"),
        ("GET", format!("/channels/{id}"), Value::Null, "/channels/{channel_id}"),
        ("PATCH", format!("/channels/{id}"), json!({"archived": true}), "/channels/{channel_id}"),
        ("POST", "/users/@me/channels".to_owned(), json!({"recipient_id": ana.to_string()}), "/users/@me/channels"),
        ("GET", format!("{here}/messages/pins"), Value::Null, "/channels/{channel_id}/messages/pins"),
        ("GET", format!("/guilds/{guild}"), Value::Null, "/guilds/{guild_id}"),
        ("GET", format!("/guilds/{guild}/channels"), Value::Null, "/guilds/{guild_id}/channels"),
        ("GET", format!("/guilds/{guild}/roles"), Value::Null, "/guilds/{guild_id}/roles"),
        ("GET", format!("/guilds/{guild}/members/{ana}"), Value::Null, "/guilds/{guild_id}/members/{user_id}"),
        ("GET", format!("/guilds/{guild}/threads/active"), Value::Null, "/guilds/{guild_id}/threads/active"),
        ("GET", "/users/@me".to_owned(), Value::Null, "/users/@me"),
        ("GET", "/applications/@me".to_owned(), Value::Null, "/applications/@me"),
        ("GET", "/gateway/bot".to_owned(), Value::Null, "/gateway/bot"),
        ("PUT", of_guild.clone(), commands, "/applications/{application_id}/guilds/{guild_id}/commands"),
        ("GET", of_guild, Value::Null, "/applications/{application_id}/guilds/{guild_id}/commands"),
    ] {
        let (status, answer, _) = bot.send(method, &path, body).await;
        let operation = &document["paths"][template][method.to_lowercase()];
        let schema = &operation["responses"][status.to_string()]["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{method} {template} answered {status}, which the document does not know: {answer}"
        );
        let root = json!({"components": document["components"], "allOf": [schema]});
        let validator = jsonschema::validator_for(&root).expect("a schema");
        for error in validator.iter_errors(&answer).take(3) {
            wrong.push(format!(
                "{method} {template} at {}: {}",
                error.instance_path,
                error.to_string().chars().take(400).collect::<String>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_page_and_what_a_demo_adds_are_served() {
    let demo = axum::Router::new().route("/info", axum::routing::get(async || "the demo"));
    let sim = discord::start(Options { demo: Some(demo), ..Options::new(Workspace::example()) }).await.expect("a port");
    let bot = Bot::of(&sim);
    let read = |path: &str| {
        let request = bot.http.get(format!("{}{path}", sim.base_url()));
        async { request.send().await.expect("an answer").text().await.expect("text") }
    };
    assert!(read("/").await.contains("/page/app.js"));
    assert!(read("/page/app.js").await.contains("import"));
    assert_eq!(read("/sim/demo/info").await, "the demo");
    assert!(read("/sim/nothing").await.contains("there is nothing"));
}

#[tokio::test]
async fn a_message_is_read_back_without_its_nonce() {
    let (_sim, bot, incidents) = start().await;
    let (_, posted) = bot.post(&incidents, json!({"content": "x", "nonce": "n"})).await;
    assert_eq!(posted["nonce"], "n");
    let (_, read, _) = bot.send("GET", &format!("/channels/{incidents}/messages"), Value::Null).await;
    assert_eq!(read[0].get("nonce"), None);
}

#[tokio::test]
async fn a_script_does_over_http_what_a_person_does() {
    let (sim, bot, incidents) = start().await;
    let send = async |method: &str, path: &str, body: Value| {
        let request = bot.http.request(method.parse().expect("a method"), format!("{}{path}", sim.control_url()));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
    };
    let (_, posted) = send("POST", "/type", json!({"as": "ana", "channel": "#incidents", "text": "hello <@&1>"})).await;
    let (_, read) = send("GET", "/channels/incidents?as=ben&limit=1", Value::Null).await;
    assert_eq!(read["messages"][0]["id"], posted["message_id"]);
    assert_eq!(read["messages"][0]["text"], "hello @deleted-role");
    let (status, refused) = send("POST", "/type", json!({"as": "nobody", "channel": "incidents", "text": "x"})).await;
    assert_eq!((status, &refused["error"]), (400, &json!("no member is called nobody")));
    let (_, fault) = send("POST", "/faults", json!({"kind": "latency", "latency_ms": 1})).await;
    let path = format!("/faults/{}", fault["id"]);
    assert_eq!(send("DELETE", &path, Value::Null).await.0, 200);
    assert_eq!(send("DELETE", &path, Value::Null).await.0, 404);
    let (status, _) = send("POST", "/settings", json!({"window_ms": 100, "nonsense": 1})).await;
    assert_eq!(status, 400);
    let (_, settings) = send("POST", "/settings", json!({"messages_per_window": 1})).await;
    assert_eq!((&settings["messages_per_window"], &settings["window_ms"]), (&json!(1), &json!(5000)));
    bot.post(&incidents, json!({"content": "x"})).await;
    assert_eq!(bot.post(&incidents, json!({"content": "x"})).await.0, 429);
    let (_, told) = send("GET", "/requests?since=0", Value::Null).await;
    assert_eq!(told["requests"][1]["template"], "/channels/{channel_id}/messages");
    assert_eq!(told["requests"][1]["status"], 429);
    let (_, still) = send("GET", "/still?within_ms=5000", Value::Null).await;
    assert_eq!(still["still"], true);
    let (_, made) = send("POST", "/channel", json!({"name": "war-room"})).await;
    assert_eq!(send("POST", &format!("/channel/{}/delete", text(&made["channel_id"])), Value::Null).await.0, 200);
    send("POST", "/reset", Value::Null).await;
    assert_eq!(send("GET", "/channels/incidents", Value::Null).await.1["messages"], json!([]));
}

mod with_serenity {
    //! An unmodified serenity client: the proxy address is all that it is told.

    use serenity::all::{
        ActionRowComponent, AutocompleteChoice, ButtonStyle, Client, CommandDataOptionValue, CommandInteraction,
        CommandOptionType, ComponentInteraction, ComponentInteractionDataKind, Context, CreateActionRow,
        CreateAutocompleteResponse, CreateButton, CreateCommand, CreateCommandOption, CreateEmbed, CreateInputText,
        CreateInteractionResponse, CreateInteractionResponseFollowup, CreateInteractionResponseMessage, CreateMessage,
        CreateModal, CreateSelectMenu, CreateSelectMenuKind, CreateSelectMenuOption, CreateThread,
        EditInteractionResponse, EventHandler, GatewayIntents, Guild, InputTextStyle, Interaction, ModalInteraction,
        Ready, async_trait,
    };
    use serenity::http::HttpBuilder;
    use serenity::model::application::CommandType;
    use tokio::sync::mpsc;

    use super::*;

    /// A small bot that uses each way of answering once.
    struct Sailor(mpsc::UnboundedSender<String>);

    fn option(kind: CommandOptionType, name: &str) -> CreateCommandOption {
        CreateCommandOption::new(kind, name, "an option")
    }

    #[async_trait]
    impl EventHandler for Sailor {
        async fn ready(&self, _: Context, ready: Ready) {
            self.0.send(format!("ready as {}", ready.user.name)).ok();
        }

        async fn guild_create(&self, ctx: Context, guild: Guild, _: Option<bool>) {
            let declare = CreateCommand::new("sev1")
                .description("Declare")
                .add_option(option(CommandOptionType::String, "title").required(true))
                .add_option(option(CommandOptionType::String, "service").set_autocomplete(true));
            let show = option(CommandOptionType::SubCommand, "show")
                .add_sub_option(option(CommandOptionType::Integer, "number").required(true))
                .add_sub_option(option(CommandOptionType::User, "who"));
            let incident = CreateCommand::new("incident").description("Incidents").add_option(show);
            let update = CreateCommand::new("update").description("A form");
            let on_message = CreateCommand::new("Use as update").kind(CommandType::Message);
            let slow = CreateCommand::new("slow").description("Never answers");
            let set = guild.id.set_commands(&ctx.http, vec![declare, incident, update, on_message, slow]).await;
            let told = set.map(|commands| format!("{} commands", commands.len()));
            self.0.send(told.unwrap_or_else(|error| error.to_string())).ok();
        }

        async fn interaction_create(&self, ctx: Context, interaction: Interaction) {
            let done = match &interaction {
                Interaction::Command(command) => self.command(&ctx, command).await,
                Interaction::Autocomplete(command) => {
                    let typed = command.data.autocomplete().map_or("", |option| option.value).to_owned();
                    let choice = AutocompleteChoice::new(format!("{typed}nt-service"), "agent-service");
                    let response = CreateAutocompleteResponse::new().set_choices(vec![choice]);
                    command.create_response(&ctx.http, CreateInteractionResponse::Autocomplete(response)).await
                }
                Interaction::Component(press) => self.press(&ctx, press).await,
                Interaction::Modal(form) => self.form(&ctx, form).await,
                _ => Ok(()),
            };
            if let Err(error) = done {
                self.0.send(format!("failed: {error}")).ok();
            }
        }
    }

    impl Sailor {
        async fn command(&self, ctx: &Context, command: &CommandInteraction) -> serenity::Result<()> {
            let reply = |text: &str| {
                let message = CreateInteractionResponseMessage::new().content(text).ephemeral(true);
                CreateInteractionResponse::Message(message)
            };
            match command.data.name.as_str() {
                "sev1" => {
                    let title = command.data.options.first().and_then(|option| option.value.as_str()).unwrap_or("");
                    command.defer_ephemeral(&ctx.http).await?;
                    let menu = CreateSelectMenuKind::String {
                        options: vec![
                            CreateSelectMenuOption::new("SEV-2", "2"),
                            CreateSelectMenuOption::new("SEV-3", "3"),
                        ],
                    };
                    let card = CreateMessage::new()
                        .embed(CreateEmbed::new().title(title).field("Status", "investigating", true))
                        .components(vec![
                            CreateActionRow::Buttons(vec![
                                CreateButton::new("ack").label("I've got it").style(ButtonStyle::Success),
                                CreateButton::new("form").label("Update"),
                            ]),
                            CreateActionRow::SelectMenu(
                                CreateSelectMenu::new("severity", menu).placeholder("Severity"),
                            ),
                        ]);
                    let card = command.channel_id.send_message(&ctx.http, card).await?;
                    card.pin(&ctx.http).await?;
                    let thread = card
                        .channel_id
                        .create_thread_from_message(&ctx.http, card.id, CreateThread::new(title))
                        .await?;
                    thread.id.say(&ctx.http, "the talk is here").await?;
                    command.edit_response(&ctx.http, EditInteractionResponse::new().content("declared")).await?;
                    let more = CreateInteractionResponseFollowup::new().content("and one more").ephemeral(true);
                    command.create_followup(&ctx.http, more).await?;
                    Ok(())
                }
                "incident" => {
                    let CommandDataOptionValue::SubCommand(options) = &command.data.options[0].value else {
                        return Ok(());
                    };
                    let number = options[0].value.as_i64().unwrap_or(0);
                    let who = command.data.resolved.users.values().next().map_or("nobody", |user| &user.name);
                    command.create_response(&ctx.http, reply(&format!("INC-{number} of {who}"))).await
                }
                "update" => {
                    let input = CreateInputText::new(InputTextStyle::Paragraph, "What", "what").value("as before");
                    let form = CreateModal::new("update-7", "Update INC-7")
                        .components(vec![CreateActionRow::InputText(input)]);
                    command.create_response(&ctx.http, CreateInteractionResponse::Modal(form)).await
                }
                "Use as update" => {
                    let said = command.data.resolved.messages.values().next().map_or("", |message| &message.content);
                    command.create_response(&ctx.http, reply(&format!("taken: {said}"))).await
                }
                _ => Ok(()),
            }
        }

        async fn press(&self, ctx: &Context, press: &ComponentInteraction) -> serenity::Result<()> {
            let update = match &press.data.kind {
                ComponentInteractionDataKind::StringSelect { values } => format!("now SEV-{}", values[0]),
                _ if press.data.custom_id == "form" => {
                    let input = CreateInputText::new(InputTextStyle::Short, "What", "what");
                    let form =
                        CreateModal::new("update-7", "Update").components(vec![CreateActionRow::InputText(input)]);
                    return press.create_response(&ctx.http, CreateInteractionResponse::Modal(form)).await;
                }
                _ => format!("acknowledged by {}", press.user.name),
            };
            let message = CreateInteractionResponseMessage::new().content(update);
            press.create_response(&ctx.http, CreateInteractionResponse::UpdateMessage(message)).await?;
            let again = CreateInteractionResponse::Acknowledge;
            if let Err(error) = press.create_response(&ctx.http, again).await {
                self.0.send(format!("second answer: {error}")).ok();
            }
            Ok(())
        }

        async fn form(&self, ctx: &Context, form: &ModalInteraction) -> serenity::Result<()> {
            let ActionRowComponent::InputText(input) = &form.data.components[0].components[0] else { return Ok(()) };
            let said = format!("update: {}", input.value.clone().unwrap_or_default());
            let message = CreateInteractionResponseMessage::new().content(said);
            form.create_response(&ctx.http, CreateInteractionResponse::Message(message)).await
        }
    }

    struct Ship {
        sim: Handle,
        told: mpsc::UnboundedReceiver<String>,
        client: tokio::task::JoinHandle<()>,
    }

    impl Drop for Ship {
        fn drop(&mut self) {
            self.client.abort();
        }
    }

    impl Ship {
        async fn launch() -> Ship {
            let mut workspace = Workspace::example();
            workspace.settings.heartbeat_ms = 1_000;
            let sim = discord::start(Options::new(workspace)).await.expect("a free port");
            let (tell, told) = mpsc::unbounded_channel();
            let token = sim.bot_token();
            let http = HttpBuilder::new(&token).proxy(sim.base_url()).ratelimiter_disabled(true).build();
            let mut client = serenity::client::ClientBuilder::new_with_http(http, GatewayIntents::GUILDS)
                .event_handler(Sailor(tell))
                .await
                .expect("a client");
            let client = tokio::spawn(async move { run(&mut client).await });
            let mut ship = Ship { sim, told, client };
            assert_eq!(ship.hear().await, "ready as watchbell");
            assert_eq!(ship.hear().await, "5 commands");
            ship
        }

        async fn hear(&mut self) -> String {
            tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("in time").expect("a word")
        }

        async fn settled(&self, id: &str) -> Value {
            self.sim.interaction(id, PATIENCE).await.expect("an interaction")
        }

        async fn typed(&self, who: &str, text: &str) -> Value {
            let done = self.sim.type_text(who, "#incidents", text).await.expect("a command");
            self.settled(done["interaction_id"].as_str().expect("an id")).await
        }
    }

    async fn run(client: &mut Client) {
        client.start().await.ok();
    }

    #[tokio::test]
    async fn a_command_is_deferred_filled_and_followed_by_a_card_with_a_thread() {
        let ship = Ship::launch().await;
        let done = ship.typed("ana", "/sev1 checkout is down").await;
        ship.sim.still(PATIENCE).await.expect("stillness");
        assert_eq!((&done["status"], &done["ephemeral"]), (&json!("answered"), &json!(true)), "{done}");
        let seen = ship.sim.channel("incidents", Some("ana")).expect("the channel");
        let texts: Vec<String> = seen.iter().map(|message| text(&message["text"])).collect();
        assert!(texts.contains(&"declared".to_owned()) && texts.contains(&"and one more".to_owned()), "{texts:?}");
        let public = ship.sim.channel("incidents", None).expect("the channel");
        let card = &public[0];
        assert_eq!((&card["embeds"][0]["title"], &card["pinned"]), (&json!("checkout is down"), &json!(true)));
        assert_eq!(card["thread_id"], card["id"]);
        let thread = ship.sim.channel("checkout is down", None).expect("the thread");
        assert_eq!(thread[0]["text"], "the talk is here");

        let card_id = text(&card["id"]);
        let press = ship.sim.press("ben", &card_id, "I've got it").await.expect("a press");
        assert_eq!(ship.settled(&press).await["message"]["content"], "acknowledged by ben");
        let choice = ship.sim.select("ben", &card_id, None, &["SEV-2"]).await.expect("a choice");
        assert_eq!(ship.settled(&choice).await["message"]["content"], "now SEV-2");
        let open = ship.sim.press("ben", &card_id, "Update").await.expect("a press");
        assert_eq!(ship.settled(&open).await["modal"]["inputs"][0]["label"], "What");
        let sent = ship.sim.submit("ben", &open, json!({"What": "found it"})).await.expect("a form");
        assert_eq!(ship.settled(&sent).await["message"]["content"], "update: found it");
        assert!(ship.sim.submit("ben", &open, json!({"What": "twice"})).await.is_err());
    }

    #[tokio::test]
    async fn subcommands_users_completion_forms_and_menus_arrive_whole() {
        let ship = Ship::launch().await;
        let shown = ship.typed("ana", "/incident show 7 who:ben").await;
        assert_eq!(shown["message"]["content"], "INC-7 of ben");
        let body = json!({"as": "ana", "channel": "incidents", "command": "sev1", "focused": "service",
            "options": {"service": "age"}});
        let completed = ship.sim.call("autocomplete", body).await.expect("completions");
        assert_eq!(completed["choices"], json!([{"name": "agent-service", "value": "agent-service"}]));
        let form = ship.typed("ana", "/update").await;
        assert_eq!((&form["status"], &form["modal"]["inputs"][0]["value"]), (&json!("modal"), &json!("as before")));
        let sent = ship.sim.submit("ana", &text(&form["id"]), json!({})).await.expect("a form");
        assert_eq!(ship.settled(&sent).await["message"]["content"], "update: as before");
        let said = ship.sim.type_text("ben", "incidents", "it was DNS").await.expect("a message");
        let body = json!({"as": "ana", "command": "Use as update", "message": said["message_id"]});
        let menu = ship.sim.call("menu", body).await.expect("a menu command");
        assert_eq!(
            ship.settled(menu["interaction_id"].as_str().expect("an id")).await["message"]["content"],
            "taken: it was DNS"
        );
        for (words, why) in [("/nonsense", "no command"), ("/sev1", "needs title"), ("/incident show x", "left for: x")]
        {
            let refused = ship.sim.type_text("ana", "incidents", words).await.expect_err("refused");
            assert!(refused.contains(why), "{words}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_second_answer_and_a_late_one_are_refused() {
        let mut ship = Ship::launch().await;
        ship.sim.settings(|settings| settings.respond_within_ms = 100);
        ship.sim.fault(json!({"kind": "withhold", "times": 1})).await.expect("a fault");
        let withheld = ship.typed("ana", "/incident show 7").await;
        assert_eq!(
            (&withheld["status"], &withheld["error"]),
            (&json!("expired"), &json!("The application did not respond"))
        );
        assert_eq!(ship.typed("ana", "/slow").await["status"], "expired");
        ship.sim
            .fault(json!({"kind": "latency", "latency_ms": 300, "path": "callback", "times": 1}))
            .await
            .expect("a fault");
        let late = ship.typed("ana", "/incident show 8").await;
        assert_eq!(late["status"], "expired");
        assert_eq!(ship.hear().await, "failed: Unknown interaction");
        ship.sim.settings(|settings| settings.respond_within_ms = 3_000);
        ship.typed("ana", "/sev1 x").await;
        ship.sim.still(PATIENCE).await.expect("stillness");
        let card = text(&ship.sim.channel("incidents", None).expect("the channel")[0]["id"]);
        ship.sim.press("ben", &card, "ack").await.expect("a press");
        assert_eq!(ship.hear().await, "second answer: Interaction has already been acknowledged.");
    }

    #[tokio::test]
    async fn a_dropped_connection_resumes_without_loss_and_an_ended_session_begins_anew() {
        let mut ship = Ship::launch().await;
        ship.sim.call("gateway", json!({"do": "drop"})).await.expect("a drop");
        let seen = ship.typed("ana", "/incident show 1").await;
        assert_eq!(seen["message"]["content"], "INC-1 of nobody", "what came while it was away is replayed");
        ship.sim.call("gateway", json!({"do": "reconnect"})).await.expect("op 7");
        let seen = ship.typed("ana", "/incident show 2").await;
        assert_eq!(seen["status"], "answered");
        let counters = ship.sim.counters();
        assert_eq!((&counters["identifies"], &counters["resumes"]), (&json!(1), &json!(2)));
        ship.sim.call("gateway", json!({"do": "invalidate", "resumable": false})).await.expect("op 9");
        assert_eq!(ship.hear().await, "ready as watchbell");
        assert_eq!(ship.sim.counters()["identifies"], 2);
    }

    #[tokio::test]
    async fn an_event_that_comes_twice_is_answered_once() {
        let mut ship = Ship::launch().await;
        ship.sim.fault(json!({"kind": "duplicate", "times": 1})).await.expect("a fault");
        assert_eq!(ship.typed("ana", "/incident show 1").await["status"], "answered");
        assert_eq!(ship.hear().await, "failed: Interaction has already been acknowledged.");
        assert_eq!(ship.sim.channel("incidents", Some("ana")).expect("the channel").len(), 1);
    }

    #[tokio::test]
    async fn a_zombie_connection_is_left_and_the_bot_comes_back() {
        let mut ship = Ship::launch().await;
        let fault = ship.sim.fault(json!({"kind": "no_ack"})).await.expect("a fault");
        // serenity waits five seconds before it identifies again.
        assert_eq!(ship.hear().await, "ready as watchbell");
        assert!(ship.sim.clear_fault(fault));
        assert_eq!(ship.typed("ana", "/incident show 1").await["status"], "answered");
    }
}
