//! The Discord adapter against the local Discord: what people see of what the bot says, and what the bot hears of what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::routing::get;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use watchbell::adapters::discord::lane::{Lane, LaneLimits, LaneOptions};
use watchbell::adapters::discord::{
    Directory, DiscordChat, Gateway, GatewayOptions, Inbound, Link, Reply, SharedDirectory, Undelivered, read_message,
    register,
};
use watchbell::domain::answer::Answer;
use watchbell::domain::command_spec::{CommandSpec, OptionKind};
use watchbell::domain::effect::Urgency;
use watchbell::domain::ids::{Person, Place, Role};
use watchbell::domain::input::{Arg, Call, Gone, InputKind};
use watchbell::domain::message::{ButtonStyle, Card, Choice, Form, FormInput, Menu, Message, Ping, Text, Tone};
use watchbell::ports::{Chat, ChatError, Clock, Where};
use watchbell::sim::discord::{self as local, Handle, Options, Workspace};

/// How long anything may take here before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "the local Discord stamps with it")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A local Discord with the adapter on it, without the rest of the bot.
struct World {
    sim: Handle,
    chat: DiscordChat,
    directory: SharedDirectory,
    inbox: mpsc::Receiver<Inbound>,
    lost: mpsc::UnboundedReceiver<Undelivered>,
    _gateway: Gateway,
}

fn commands() -> Vec<CommandSpec> {
    let title = OptionKind::Text { chars_max: 200 };
    vec![
        CommandSpec::slash("sev1", "Open a SEV-1").needs("title", "What is broken", title).takes(
            "service",
            "Which service",
            OptionKind::Completed("services"),
        ),
        CommandSpec::slash("incident snooze", "Not now")
            .in_group("Incidents")
            .takes("minutes", "How long", OptionKind::Number { min: 1, max: 30 })
            .takes("who", "For whom", OptionKind::Person),
        CommandSpec::on_message("Add to timeline", "Put it on the record"),
    ]
}

fn lane(api_url: String, token: SecretString) -> Lane {
    Lane::new(LaneOptions {
        api_url,
        token,
        user_agent: "DiscordBot (https://watchbell.invalid, test)".to_owned(),
        request_timeout_ms: 5_000,
        limits: LaneLimits::default(),
    })
    .expect("a lane")
}

async fn start(room: usize) -> World {
    let sim = local::start(Options::new(Workspace::example())).await.expect("a free port");
    let token = SecretString::from(sim.bot_token());
    let lane = lane(sim.api_url(), token.clone());
    let link = Link::new(Arc::new(WallClock));
    let directory = SharedDirectory::new(Directory::new([(Role::new("reliability"), "on-call".to_owned())].into()));
    let chat = DiscordChat::new(lane.clone(), sim.guild_id(), directory.clone(), link.clone());
    chat.refresh().await.expect("roles and channels");
    register(&lane, sim.guild_id(), &commands()).await.expect("the commands");
    let (sender, inbox) = mpsc::channel(room);
    let (tell, lost) = mpsc::unbounded_channel();
    let gateway = Gateway::connect(GatewayOptions {
        api_url: sim.api_url(),
        token,
        guild: sim.guild_id(),
        lane,
        directory: directory.clone(),
        link,
        inbox: sender,
        completions: Arc::new(|ask| vec![Choice::new("agent", format!("{} for {}", ask.typed, ask.option))]),
        undelivered: Arc::new(move |lost| drop(tell.send(lost))),
    })
    .await
    .expect("a gateway");
    let mut world = World { sim, chat, directory, inbox, lost, _gateway: gateway };
    assert_eq!(world.next().await.0, InputKind::ChatReady);
    assert!(world.chat.condition().up);
    world
}

impl World {
    async fn next(&mut self) -> (InputKind, Option<Reply>) {
        let inbound = timeout(PATIENCE, self.inbox.recv()).await.expect("nothing came in").expect("the inbox is open");
        (inbound.input.kind, inbound.reply)
    }

    async fn call(&mut self) -> (Call, Reply) {
        match self.next().await {
            (InputKind::Call(call), Some(reply)) => (call, reply),
            other => panic!("no command: {other:?}"),
        }
    }

    async fn answered(&self, interaction: &str) -> Value {
        self.sim.interaction(interaction, PATIENCE).await.expect("the interaction")
    }

    /// Waits until the bot has acknowledged by itself this many times in this way.
    async fn acknowledged(&self, kind: u64, times: usize) {
        let seen = |request: &&Value| {
            request["path"].as_str().is_some_and(|path| path.ends_with("/callback"))
                && request["body"]["type"] == kind
                && request["status"].is_u64()
        };
        let until = async {
            while self.sim.requests(0).iter().filter(seen).count() < times {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, until).await.expect("never acknowledged");
    }

    fn incidents(&self) -> Where {
        Where::Named("incidents".to_owned())
    }

    async fn post(&self, message: &Message, mark: &str) -> Value {
        let posted = self.chat.post(&self.incidents(), message, mark, Urgency::Page).await.expect("posted");
        self.sim.message(&posted.message).expect("it stands")
    }
}

fn only_you(line: &str) -> Answer {
    Answer::only_you(Message::line(line))
}

fn form() -> Form {
    let input = |name: &str, required| FormInput {
        name: name.to_owned(),
        label: name.to_owned(),
        long: true,
        required,
        value: String::new(),
        hint: String::new(),
        chars_max: 300,
    };
    Form {
        action: "update:7".to_owned(),
        title: "Update".to_owned(),
        inputs: vec![input("what", true), input("next", false)],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_arrives_with_who_and_what_and_is_answered() {
    let mut world = start(16).await;
    let options = json!({"title": "checkout is down, ask <@5>"});
    let id = world.sim.run("ana", "incidents", "sev1", options).await.expect("typed");
    let (call, reply) = world.call().await;
    assert_eq!((call.command.as_str(), call.who.name.as_str()), ("sev1", "Ana"));
    assert!(call.who.roles.contains(&Role::new("reliability")), "{:?}", call.who.roles);
    let title = Text::plain("checkout is down, ask ").person(&Person::new("discord:5"));
    assert_eq!(call.args["title"], Arg::Text(title));
    reply.give(only_you("INC-7 is open"));
    let seen = world.answered(&id).await;
    assert_eq!((&seen["status"], &seen["ephemeral"]), (&json!("answered"), &json!(true)));
    assert_eq!(seen["message"]["content"], "INC-7 is open");

    let ben = world.sim.member_id("ben").expect("ben");
    let options = json!({"minutes": 5, "who": ben.to_string()});
    world.sim.run("ana", "incidents", "incident snooze", options).await.expect("typed");
    let (call, reply) = world.call().await;
    assert_eq!(call.command, "incident snooze");
    assert_eq!(call.number("minutes"), Some(5));
    assert_eq!(call.person("who"), Some(Person::new(format!("discord:{ben}"))));
    reply.give(Answer::aloud(Message::line("Snoozed")));
    world.sim.still(PATIENCE).await.expect("still");
    let last = world.sim.channel("incidents", None).expect("the channel").pop().expect("a message");
    assert_eq!(last["content"], "Snoozed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_in_a_row_arrives_in_that_row() {
    let mut world = start(64).await;
    for n in 0..30 {
        world.sim.run("ana", "incidents", "sev1", json!({"title": n.to_string()})).await.expect("typed");
    }
    for n in 0..30 {
        let (call, reply) = world.call().await;
        assert_eq!(call.word("title"), Some(n.to_string()));
        reply.give(Answer::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_is_acknowledged_and_comes_late() {
    let mut world = start(16).await;
    let id = world.sim.run("ana", "incidents", "sev1", json!({"title": "x"})).await.expect("typed");
    let (_, reply) = world.call().await;
    world.acknowledged(5, 1).await;
    reply.give(only_you("INC-7 is open"));
    let seen = world.answered(&id).await;
    assert_eq!(seen["message"]["content"], "INC-7 is open");
    assert_eq!(seen["message"]["loading"], false);

    // For everybody, although the acknowledgement was for one.
    let id = world.sim.run("ana", "incidents", "sev1", json!({"title": "y"})).await.expect("typed");
    let (_, reply) = world.call().await;
    world.acknowledged(5, 2).await;
    reply.give(Answer::aloud(Message::line("INC-8 is open")));
    world.answered(&id).await;
    world.sim.still(PATIENCE).await.expect("still");
    let last = world.sim.channel("incidents", None).expect("the channel").pop().expect("a message");
    assert_eq!(last["content"], "INC-8 is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_changes_its_message_and_a_form_opens_even_when_it_is_late() {
    let mut world = start(16).await;
    let message = Message::line("INC-7").button("ack:7", "I've got it", ButtonStyle::Primary);
    let card = world.post(&message, "1-0").await;
    let on = card["id"].as_str().expect("an id").to_owned();

    let id = world.sim.press("ben", &on, "I've got it").await.expect("pressed");
    let (InputKind::Press(press), Some(reply)) = world.next().await else { panic!("no press") };
    assert_eq!((press.action.as_str(), press.on.message.as_str()), ("ack:7", on.as_str()));
    reply.give(Answer::Replace(Message::line("INC-7: Ben has it").button("update:7", "Update", ButtonStyle::Plain)));
    world.answered(&id).await;
    assert_eq!(world.sim.message(&on).expect("it stands")["content"], "INC-7: Ben has it");

    let id = world.sim.press("ben", &on, "Update").await.expect("pressed");
    let (_, reply) = world.next().await;
    reply.expect("a reply").give(Answer::Open(form()));
    assert_eq!(world.answered(&id).await["modal"]["title"], "Update");
    world.sim.submit("ben", &id, json!({"what": "rolled *back*"})).await.expect("filled in");
    let (InputKind::Filled(filled), Some(reply)) = world.next().await else { panic!("no form") };
    assert_eq!((filled.action.as_str(), &filled.values["what"]), ("update:7", &Text::plain("rolled *back*")));
    reply.give(Answer::Done);

    let id = world.sim.press("ben", &on, "Update").await.expect("pressed");
    let (_, reply) = world.next().await;
    // The first of them was the answer to the form.
    world.acknowledged(6, 2).await;
    reply.expect("a reply").give(Answer::Open(form()));
    world.sim.still(PATIENCE).await.expect("still");
    let offered = world.answered(&id).await["followups"][0].clone();
    let offered = offered["id"].as_str().expect("a button is offered");
    let id = world.sim.press("ben", offered, "Open the form").await.expect("pressed");
    let seen = world.answered(&id).await;
    assert_eq!(seen["modal"]["custom_id"], "update:7", "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_menu_takes_the_buttons_that_have_no_room() {
    let mut world = start(16).await;
    let mut message = Message::line("many");
    for n in 0..22 {
        message = message.button(format!("do:{n}"), format!("Button {n}"), ButtonStyle::Plain);
    }
    message.menu = Some(Menu {
        action: "severity:7".to_owned(),
        placeholder: "Severity".to_owned(),
        choices: vec![Choice::new("sev1", "SEV-1")],
    });
    let posted = world.post(&message, "1-1").await;
    let on = posted["id"].as_str().expect("an id");
    for (label, action, values) in [("SEV-1", "severity:7", vec!["sev1".to_owned()]), ("Button 21", "do:21", vec![])] {
        world.sim.select("ana", on, None, &[label]).await.expect("chosen");
        let (InputKind::Press(press), Some(reply)) = world.next().await else { panic!("no press") };
        assert_eq!((press.action.as_str(), press.values), (action, values));
        reply.give(Answer::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_is_completed_at_once() {
    let world = start(16).await;
    let body = json!({"as": "ana", "channel": "incidents", "command": "sev1", "options": {"service": "age"}, "focused": "service"});
    let seen = world.sim.call("autocomplete", body).await.expect("completed");
    assert_eq!(seen["choices"], json!([{"name": "age for service", "value": "agent"}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_somebody_points_at_comes_whole() {
    let mut world = start(16).await;
    let said = world.sim.type_text("ben", "incidents", "disk is full").await.expect("said");
    let body =
        json!({"as": "ana", "channel": "incidents", "command": "Add to timeline", "message": said["message_id"]});
    world.sim.call("menu", body).await.expect("chosen");
    let (call, reply) = world.call().await;
    let target = call.target.expect("a message");
    assert_eq!((target.author_name.as_str(), &target.text), ("Ben", &Text::plain("disk is full")));
    assert!(target.link.ends_with(&format!("/{}", target.posted.message)), "{}", target.link);
    reply.give(Answer::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_hear_that_the_bot_is_busy() {
    let mut world = start(1).await;
    world.sim.run("ana", "incidents", "sev1", json!({"title": "first"})).await.expect("typed");
    let until = async {
        while world.inbox.is_empty() {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, until).await.expect("the first waits");
    let id = world.sim.run("ben", "incidents", "sev1", json!({"title": "second"})).await.expect("typed");
    let seen = world.answered(&id).await;
    assert!(seen["message"]["content"].as_str().is_some_and(|said| said.starts_with("I'm busy")), "{seen}");
    world.call().await.1.give(Answer::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_given_is_handed_back() {
    let mut world = start(16).await;
    let fault = json!({"kind": "answer", "status": 404, "method": "POST", "path": "/callback"});
    world.sim.fault(fault).await.expect("set");
    world.sim.run("ana", "incidents", "sev1", json!({"title": "x"})).await.expect("typed");
    world.call().await.1.give(only_you("INC-7 is open"));
    let lost = timeout(PATIENCE, world.lost.recv()).await.expect("handed back").expect("open");
    assert_eq!(lost.answer, only_you("INC-7 is open"));
    assert!(lost.input.as_str().starts_with("discord:") && !lost.why.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_made_once_and_found_again() {
    let world = start(16).await;
    let message = Message::card(Card::new("INC-7", Tone::Bad));
    let first = world.chat.post(&world.incidents(), &message, "17-3", Urgency::Talk).await.expect("posted");
    let again = world.chat.post(&world.incidents(), &message, "17-3", Urgency::Talk).await.expect("posted");
    assert_eq!(first, again);
    let fault = json!({"kind": "drop_answer", "method": "POST", "path": "/messages", "times": 1});
    world.sim.fault(fault).await.expect("set");
    let doubt = world.chat.post(&world.incidents(), &Message::line("plain"), "17-4", Urgency::Talk).await;
    assert!(matches!(doubt, Err(ChatError::InDoubt(_))), "{doubt:?}");
    let since = WallClock.now();
    for mark in ["17-3", "17-4"] {
        assert!(world.chat.find(&world.incidents(), mark, since).await.expect("read").is_some(), "{mark}");
    }
    assert_eq!(world.chat.find(&world.incidents(), "17-5", since).await, Ok(None));
    assert_eq!(world.sim.counters()["doubled"], 0);
    let nowhere = Where::Named("nowhere".to_owned());
    assert!(matches!(world.chat.post(&nowhere, &message, "1", Urgency::Talk).await, Err(ChatError::Gone(_))));
}

/// A channel with `messages` in it, one a second, the newest a second old; the oldest carries the mark `1-1`.
async fn channel_with(messages: u64) -> DiscordChat {
    use axum::extract::Query;
    let newest_ms = u64::try_from(WallClock.now().timestamp_millis()).unwrap_or_default() - 1_420_070_400_000;
    let id = move |nth: u64| (newest_ms - nth * 1_000) << 22;
    let page = move |query: Query<std::collections::BTreeMap<String, String>>| async move {
        let before = query.get("before").and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
        let page = (1..=messages).filter(|nth| id(*nth) < before).take(100).map(|nth| {
            let mark = if nth == messages { "-# ref 1-1" } else { "what people say" };
            json!({"id": id(nth).to_string(), "author": {"id": "1"}, "content": format!("x\n{mark}")})
        });
        axum::Json(Value::Array(page.collect()))
    };
    let app = axum::Router::new()
        .route("/api/v10/users/@me", get(|| async { axum::Json(json!({"id": "1"})) }))
        .route("/api/v10/channels/5/messages", get(page));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let api_url = format!("http://{}/api/v10", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let lane = lane(api_url, SecretString::from("local.bot.token"));
    DiscordChat::new(lane, 1, SharedDirectory::default(), Link::new(Arc::new(WallClock)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_looked_for_as_far_back_as_can_be_and_never_said_to_be_missing_when_it_cannot() {
    let place = Where::Place(Place::new("discord:5"));
    let day = WallClock.now() - chrono::TimeDelta::hours(24);
    let found = channel_with(4_950).await.find(&place, "1-1", day).await;
    assert!(matches!(&found, Ok(Some(_))), "{found:?}");
    let too_far = channel_with(6_000).await.find(&place, "1-1", day).await;
    assert!(matches!(&too_far, Err(ChatError::CannotTell(why)) if why.contains("5000 messages")), "{too_far:?}");
    let older = channel_with(6_000).await.find(&place, "1-1", WallClock.now() - chrono::TimeDelta::minutes(2)).await;
    assert_eq!(older, Ok(None), "what is older than it can be is not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_of_the_configuration_is_not_given_up_because_discord_missed_it_once() {
    let world = start(16).await;
    let missed = |times: u32| json!({"kind": "answer", "method": "POST", "path": "/messages", "status": 404, "code": 10_003, "times": times});
    world.sim.fault(missed(1)).await.expect("set");
    let post = async |mark| world.chat.post(&world.incidents(), &Message::line("card"), mark, Urgency::Page).await;
    assert!(matches!(post("17-6").await, Err(ChatError::NotNow(_))));
    post("17-6").await.expect("posted");
    world.sim.fault(missed(4)).await.expect("set");
    for _ in 0..3 {
        assert!(matches!(post("17-7").await, Err(ChatError::NotNow(_))));
    }
    assert!(matches!(post("17-7").await, Err(ChatError::Gone(_))), "it is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_starts_once_and_takes_edits_when_archived() {
    let mut world = start(16).await;
    let card =
        world.chat.post(&world.incidents(), &Message::line("INC-7"), "1-0", Urgency::Page).await.expect("posted");
    let thread = world.chat.start_thread(&card, "INC-7 checkout is down").await.expect("a thread");
    assert_eq!(world.chat.start_thread(&card, "again").await.as_ref(), Ok(&thread));
    assert_eq!(thread.local(), card.message);
    let inside = Where::Place(thread.clone());
    let note = world.chat.post(&inside, &Message::line("note"), "1-1", Urgency::Talk).await.expect("posted");
    world.sim.call(&format!("channel/{}", thread.local()), json!({"archived": true})).await.expect("archived");
    world.chat.edit(&note, &Message::line("note, changed")).await.expect("edited");
    let stands = world.sim.message(&note.message).expect("it stands");
    assert!(stands["content"].as_str().is_some_and(|said| said.starts_with("note, changed")), "{stands}");
    world.chat.retitle(&thread, "INC-7 resolved").await.expect("named");
    world.chat.pin(&card, true).await.expect("pinned");
    assert_eq!(world.sim.message(&card.message).expect("it stands")["pinned"], true);

    world.sim.call("delete", json!({"message": note.message})).await.expect("deleted");
    assert_eq!(world.next().await.0, InputKind::Gone(Gone::Message(note.clone())));
    assert!(matches!(world.chat.edit(&note, &Message::line("x")).await, Err(ChatError::Gone(_))));
    assert_eq!(world.chat.delete(&note).await, Ok(()));
    world.sim.call(&format!("channel/{}/delete", thread.local()), json!({})).await.expect("deleted");
    assert_eq!(world.next().await.0, InputKind::Gone(Gone::Place(thread)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_typed_pings_and_everything_is_shown() {
    let world = start(16).await;
    let role = world.sim.role_id("on-call").expect("a role");
    let title = format!("@everyone **look** <@&{role}> of דנה כהן (INC-7)");
    let long = "é".repeat(3_000);
    let card = Card::new(title.clone(), Tone::Bad).line(title.clone()).field("Empty", "");
    let posted =
        world.post(&Message { card: Some(card), ..Message::line(title.clone()).and(long.clone()) }, "1-0").await;
    assert_eq!(posted["pinged"]["members"], json!([]));
    assert_eq!(world.sim.counters()["pings"], 0);
    assert_eq!(posted["attachments"][0]["filename"], "whole-message.txt");
    assert!(posted["content"].as_str().is_some_and(|said| said.contains("more characters in the attached file)")));
    let back = world.directory.read(|directory| read_message(&posted, directory));
    assert_eq!(back.lines[0], Text::plain(title.clone()));
    assert_eq!(back.card.expect("a card").title, title);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_rings_whom_it_names_and_shows_the_words_first() {
    let world = start(16).await;
    let message =
        Message::line("SEV-1 INC-7 checkout_service is down. Ack by 03:07").ping(Ping::Role(Role::new("reliability")));
    world.post(&message, "1-0").await;
    let phone = world.sim.phone("ana").expect("a phone");
    let line = phone["notifications"][0]["line"].as_str().expect("it rang");
    assert!(line.starts_with("SEV-1 INC-7 checkout_service is down. Ack by 03:07 @on-call"), "{line}");
    let ben = world.sim.phone("ben").expect("a phone");
    assert_eq!(ben["notifications"], json!([]));

    let ana = Person::new(format!("discord:{}", world.sim.member_id("ana").expect("ana")));
    world.chat.post(&Where::Direct(ana), &Message::line("Wake up"), "1-1", Urgency::Page).await.expect("posted");
    assert_eq!(world.sim.phone("ana").expect("a phone")["notifications"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_new_connection_asks_for_a_comparison() {
    let mut world = start(16).await;
    world.sim.call("gateway", json!({"do": "invalidate", "resumable": false})).await.expect("done");
    assert_eq!(world.next().await.0, InputKind::ChatReady);
}

/// A gateway that greets everybody, and ends the first connection as it is told: with a code or without, the wire held open or not.
async fn gateway_that_closes(code: Option<u16>, held: bool) -> String {
    use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let greeted = Arc::new(AtomicU32::new(0));
    let talk = move |mut socket: WebSocket| async move {
        let hello = json!({"op": 10, "d": {"heartbeat_interval": 41_250}, "s": null, "t": null});
        let ready = json!({"op": 0, "s": 1, "t": "READY", "d": {
            "v": 10, "user": {"id": "1", "username": "watchbell", "discriminator": "0", "verified": true, "mfa_enabled": true},
            "guilds": [], "session_id": "a", "resume_gateway_url": format!("ws://{address}"), "shard": [0, 1],
            "application": {"id": "1", "flags": 0}}});
        let _ = socket.send(Frame::Text(hello.to_string().into())).await;
        while let Some(Ok(frame)) = socket.recv().await {
            if !matches!(&frame, Frame::Text(text) if text.contains("\"op\":2")) {
                continue;
            }
            let _ = socket.send(Frame::Text(ready.to_string().into())).await;
            if greeted.fetch_add(1, Ordering::SeqCst) == 0 {
                let why = code.map(|code| CloseFrame { code, reason: "".into() });
                let _ = socket.send(Frame::Close(why)).await;
                if held {
                    std::future::pending::<()>().await;
                }
                return;
            }
        }
    };
    let app = axum::Router::new()
        .route("/api/v10/gateway", get(move || async move { axum::Json(json!({"url": format!("ws://{address}")})) }))
        .route("/", get(move |upgrade: WebSocketUpgrade| async move { upgrade.on_upgrade(talk) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/api/v10")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_nobody_is_told_of_is_noticed_long_before_the_next_heartbeat() {
    let cases = [(None, false), (None, true), (Some(4003), false), (Some(4010), true)];
    futures_util::future::join_all(cases.map(|(code, held)| hears_again(code, held))).await;
}

/// Waits for the second connection, a good while less than until the heartbeat of the first, which is after 41 s.
async fn hears_again(code: Option<u16>, held: bool) {
    let api_url = gateway_that_closes(code, held).await;
    let (sender, mut inbox) = mpsc::channel(16);
    let link = Link::new(Arc::new(WallClock));
    let token = SecretString::from("local.bot.token");
    let _gateway = Gateway::connect(GatewayOptions {
        lane: lane(api_url.clone(), token.clone()),
        api_url,
        token,
        guild: 1,
        directory: SharedDirectory::default(),
        link: link.clone(),
        inbox: sender,
        completions: Arc::new(|_| Vec::new()),
        undelivered: Arc::new(|_| {}),
    })
    .await
    .expect("a gateway");
    for connection in ["first", "second"] {
        let inbound = timeout(Duration::from_secs(33), inbox.recv()).await;
        let inbound = inbound.unwrap_or_else(|_| panic!("{code:?}, held {held}: no {connection} connection"));
        assert_eq!(inbound.map(|inbound| inbound.input.kind), Some(InputKind::ChatReady), "{code:?}");
    }
    assert!(link.condition().up);
}

#[tokio::test]
async fn a_wrong_address_is_an_error_and_nothing_goes_elsewhere() {
    // A port that nothing listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port").port();
    let api_url = format!("http://127.0.0.1:{port}/api/v10");
    let token = SecretString::from("local.bot.token");
    let failed = Gateway::connect(GatewayOptions {
        lane: lane(api_url.clone(), token.clone()),
        api_url,
        token,
        guild: 1,
        directory: SharedDirectory::default(),
        link: Link::new(Arc::new(WallClock)),
        inbox: mpsc::channel(1).0,
        completions: Arc::new(|_| Vec::new()),
        undelivered: Arc::new(|_| {}),
    })
    .await;
    let said = failed.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("does not answer as Discord's API; check [discord] api_url"), "{said}");
}
