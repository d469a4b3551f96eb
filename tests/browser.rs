//! The demo as a person meets it: a browser opens the page of the real program, clicks, types and reads.
//!
//! Pictures of each state, on a wide and a narrow window, are written to `target/tmp/screens`; whoever changes the page looks at
//! them. Without Chromium the tests say "skipped"; with `WATCHBELL_CI=1` that is an error.

#[path = "browser/alerts.rs"]
mod alerts;
#[path = "browser/deploys.rs"]
mod deploys;
#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/metrics.rs"]
mod metrics;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use deploys::{APP, images};
use driver::{Browser, DOWN, ENTER, NARROW, PICTURED, TAB, WIDE, free_port};

/// One browser at a time: two are slower than one after the other.
static ONE: Mutex<()> = Mutex::const_new(());

/// A card's message in the channel.
const CARD: &str = "#channel-log article:has(.embed)";
/// A card's buttons.
const CARD_BUTTONS: &str = "#channel-log article:has(.embed) .components button";

/// The running demo, with a state of its own.
struct Demo {
    child: Child,
    address: String,
    /// Held open, or its next word would break the pipe.
    _said: BufReader<ChildStdout>,
    _state: TempDir,
}

impl Demo {
    /// Starts it and waits until it says its address.
    fn start() -> Self {
        let state = tempfile::tempdir().expect("a folder for the state");
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchbell"))
            .args(["demo", "--fresh", "--port", &free_port().to_string(), "--state"])
            .arg(state.path().join("demo"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let mut said = BufReader::new(child.stdout.take().expect("its words"));
        let address = said.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let start = line.find("http://127.0.0.1:")?;
            Some(line[start..].trim().to_owned())
        });
        Self { child, address: address.expect("the demo says where it is"), _said: said, _state: state }
    }

    async fn info(&self) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let answer = client.get(format!("{}sim/demo/info", self.address)).send().await.expect("the demo answers");
        answer.json().await.expect("JSON")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // In order, so that it takes the bot with it.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Whether there is no browser here; in CI that fails.
fn skipped() -> bool {
    if driver::is_installed() {
        return false;
    }
    assert!(std::env::var_os("WATCHBELL_CI").is_none(), "chromium and chromedriver are not installed");
    println!("skipped: no chromium");
    true
}

/// The page of a fresh demo whose bot is up, with nobody beside it; none where there is no browser.
async fn opened(dark: bool) -> Option<(MutexGuard<'static, ()>, Demo, Browser)> {
    if skipped() {
        return None;
    }
    let one = ONE.lock().await;
    let demo = Demo::start();
    let browser = Browser::start(&screens(), dark).await;
    browser.open(&demo.address).await;
    browser.see("#demo .bot-state", "Bot up").await;
    Some((one, demo, browser))
}

fn screens() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens")
}

/// Acts as somebody, by the menu at the lower left.
async fn act_as(browser: &Browser, name: &str) {
    browser.click("button.actor", "Acting as").await;
    browser.click(".menu button", name).await;
    browser.see("button.actor", name).await;
}

/// Nothing may stick out to the side, or a finger has to look for it.
async fn fits(browser: &Browser, when: &str) {
    let over = browser.script("return document.documentElement.scrollWidth - innerWidth", json!([])).await;
    assert!(over.as_i64().is_some_and(|over| over <= 0), "{when}: the page is {over} px wider than the window");
}

#[tokio::test]
async fn three_in_the_morning_is_played_to_its_end() {
    let Some((_one, demo, browser)) = opened(true).await else { return };
    browser.pictures("night-0-before").await;

    browser.click("#demo button", "Show me 3 a.m.").await;
    browser.see(".steps", "phone rings").await;
    browser.see(".phone-state", "Ringing").await;
    browser.see(CARD_BUTTONS, "Roll back v42").await;
    browser.see(".note", "SEV-1 INC-1").await;
    browser.see(".note-action", "Roll back v42").await;
    browser.see("#thread-head", "INC-1").await;
    browser.see(".note .age", "now\nnow").await;
    browser.pictures("night-1-rings").await;
    browser.see(".answer .note-action", "Roll back to v41").await;
    browser.see(".steps .current", "tap 2").await;
    browser.window(PICTURED).await;
    browser.picture("readme").await;
    browser.window(WIDE).await;
    browser.pictures("night-2-planned").await;
    browser.see("#thread-log", "▓▓▓▓▓░░░░░ 1 of 2").await;
    browser.see("#demo .bot-state", "Bot down").await;
    browser.pictures("night-3-killed").await;
    browser.see("#channel-log", "I was away").await;
    browser.pictures("night-4-back").await;
    browser.see("#thread-log", "Roll back hotdash-agent-service to v41: succeeded").await;
    browser.pictures("night-5-rolled-back").await;
    browser.see(".night summary", "played to its end").await;
    browser.see("#thread-log", "is resolved").await;
    browser.pictures("night-6-over").await;

    let counter = |name: &str| format!("[data-counter='{name}'] dd");
    assert_eq!(browser.read(&counter("doubled")).await, "0");
    assert_eq!(browser.read(&counter("late")).await, "0");
    assert_eq!(browser.read(&counter("restarts")).await, "1");
    assert_ne!(browser.read(&counter("pings")).await, "0");
    assert!(!browser.read(".phone-state").await.contains("rang 0 times"), "Ana's phone never rang");
    let played = demo.info().await;
    let steps = played["play"]["steps"].as_array().cloned().unwrap_or_default();
    assert!(steps.iter().all(|step| step["done"] == true), "{steps:#?}");

    // Once more on the same record: another release, another incident, nothing twice.
    browser.click("#demo button", "3 a.m. again").await;
    browser.see(CARD_BUTTONS, "Roll back v44").await;
    browser.see("#demo .bot-state", "Bot down").await;
    browser.see("#thread-log", "Roll back hotdash-agent-service to v43: succeeded").await;
    browser.see(".night summary", "played to its end").await;
    assert_eq!(browser.read(&counter("doubled")).await, "0");
    assert_eq!(browser.read(&counter("late")).await, "0");
    browser.close().await;
}

#[tokio::test]
async fn an_incident_is_run_by_hand() {
    let Some((_one, _demo, browser)) = opened(false).await else { return };

    // Somebody who is not on call declares, with completion and the keyboard alone.
    browser.see("button.actor", "Dmitri").await;
    browser.click("#channel-composer textarea", "").await;
    // What one needs first comes first, and that there is more is said.
    browser.keys("/").await;
    browser.see("#channel-composer .offers li:first-child", "/sev1").await;
    browser.see("#channel-composer .offer-hint", "more: type on").await;
    browser.keys("sev").await;
    browser.see("#channel-composer .offers", "/sev2").await;
    browser.picture("hand-0-completion-wide").await;
    browser.keys(TAB).await;
    browser.see("#channel-composer .command", "/sev1").await;
    browser.keys("checkout is down").await;
    browser.click("#channel-composer .chip", "service").await;
    browser.keys("agent").await;
    browser.see("#channel-composer .offers", "hotdash-agent-service").await;
    browser.see("#channel-composer .offer-hint", "Enter or Tab takes the marked one").await;
    browser.picture("hand-1-options-wide").await;
    browser.keys(TAB).await;
    browser.keys(ENTER).await;
    browser.see(CARD, "INC-1 · checkout is down").await;
    browser.see("#channel-log article.ephemeral", "Only you can see this").await;

    // The one who sleeps is rung, and comes by way of the lock screen.
    browser.see(".note", "SEV-1 INC-1 checkout is down. Ack by").await;
    browser.pictures("hand-2-declared").await;
    browser.click("button.note", "#incidents").await;
    browser.see("button.actor", "Ana").await;
    browser.click(CARD_BUTTONS, "I've got it").await;
    browser.see(CARD, "Lead\n@Ana").await;
    browser.click("#channel-log .thread-chip", "INC-1").await;
    browser.see("#thread-log", "has it and leads").await;

    // The form: only what is known must be filled in.
    browser.click(CARD_BUTTONS, "Update").await;
    browser.see("dialog.form h2", "Update on INC-1").await;
    browser.pictures("hand-3-form").await;
    browser.keys("The pool was exhausted; restarting.").await;
    browser.click("dialog.form button", "Submit").await;
    browser.see("#thread-log", "The pool was exhausted; restarting.").await;
    browser.see(CARD, "Last update\nThe pool was exhausted; restarting.").await;
    browser.click(".channel-list button", "announcements").await;
    browser.see("#channel-log", "The pool was exhausted; restarting.").await;
    browser.picture("hand-4-announced-wide").await;
    browser.click(".channel-list button", "INC-1").await;

    // Everything else is in one menu.
    browser.click("#channel-log article:has(.embed) .select", "More").await;
    browser.see(".menu", "Take notes (scribe)").await;
    browser.picture("hand-5-menu-wide").await;
    browser.keys(DOWN).await;
    browser.keys(ENTER).await;
    browser.see("#channel-log article.ephemeral", "Timeline of INC-1").await;

    // The bot is killed in the middle of it, and comes back by itself.
    browser.click("#demo button", "Kill the bot").await;
    browser.see("#demo .bot-state", "Bot down").await;
    browser.see("#channels .bot-line", "is not connected").await;
    browser.see("#demo .bot-state", "Bot up").await;
    browser.see("#channels .bot-line", "is connected").await;
    browser.see("[data-counter='restarts'] dd", "1").await;

    // An option by its name, the first one too, and the answer says which command it was.
    browser.click("#channel-composer textarea", "").await;
    browser.keys("/incident note text: restarted by hand").await;
    browser.keys(ENTER).await;
    browser.see("#channel-log .command-line", "/incident note").await;
    browser.see("#channel-log article.ephemeral", "On the record of INC-1").await;

    browser.click(CARD_BUTTONS, "Mitigated").await;
    browser.see("#thread-log", "says it is mitigated").await;
    browser.click(CARD_BUTTONS, "Resolve when green").await;
    browser.see("#channel-log article.ephemeral", "resolves by itself").await;
    browser.pictures("hand-6-watched").await;
    browser.click("#demo button", "Skip +5m").await;
    browser.click("#demo button", "Skip +5m").await;
    browser.click("#demo button", "Skip +1m").await;
    browser.see("#thread-log", "INC-1 checkout is down is resolved").await;
    browser.see(CARD, "Status\nresolved").await;

    browser.click(CARD_BUTTONS, "Timeline").await;
    browser.see("#channel-log article.ephemeral", "SEV-1 declared by @Dmitri").await;
    browser.see("#channel-log article.ephemeral", "restarted by hand").await;
    let said = browser.read("#channel-log").await;
    assert!(!said.contains("text: restarted"), "the name of an option is none of its words");
    browser.see("#channel-log article.ephemeral", "Resolved, by itself").await;
    browser.pictures("hand-7-timeline").await;

    assert_eq!(browser.read("[data-counter='doubled'] dd").await, "0");
    assert_eq!(browser.read("[data-counter='late'] dd").await, "0");
    browser.close().await;
}

#[tokio::test]
async fn a_demo_that_starts_over_goes_on() {
    let Some((_one, demo, browser)) = opened(true).await else { return };
    browser.click("#channel-composer textarea", "").await;
    browser.keys("/sev1 service: agent title: checkout is down").await;
    browser.keys(ENTER).await;
    browser.see(CARD, "INC-1 · checkout is down").await;
    browser.see(".note", "SEV-1 INC-1 checkout is down").await;

    // A lock screen shows what was deleted since: said, and not left to be wondered at.
    browser.click(".channel-list button", "general").await;
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let phone = client.get(format!("{}sim/phones/ana", demo.address)).send().await.expect("a phone");
    let phone: Value = phone.json().await.expect("JSON");
    let notes = phone["notifications"].as_array().cloned().unwrap_or_default();
    let note = notes.iter().find(|note| note["title"].as_str().is_some_and(|title| title.contains("#incidents")));
    let message = json!({ "message": note.expect("a ping in the channel")["message_id"] });
    client.post(format!("{}sim/delete", demo.address)).json(&message).send().await.expect("deleted");
    browser.click("button.note", "#incidents").await;
    browser.see("#toasts", "That message was deleted").await;
    browser.picture("over-0-deleted-wide").await;

    // What was put up past the bot is taken back as well.
    browser.click("#demo .service", &format!("{APP}, production")).await;
    browser.click(".menu button", "Deploy a bad image").await;
    browser.see("#demo .service[data-state='wrong']", APP).await;
    assert_eq!(images(&demo, APP).await, ["deployment-42-broken", "deployment-42-broken"]);
    browser.click("#demo button", "Start over").await;
    browser.click(".menu button", "Start over").await;
    browser.see("#channel-log", "Nothing has happened yet").await;
    browser.see("#demo .bot-state", "Bot up").await;
    browser.see("#toasts", "A fresh start").await;
    browser.see("[data-counter='pings'] dd", "0").await;
    browser.see("button.actor", "Dmitri").await;
    browser.click("#channel-composer textarea", "").await;
    browser.keys("/sev3 title: trying it out").await;
    browser.keys(ENTER).await;
    browser.see(CARD, "INC-1 · trying it out").await;
    assert_eq!(images(&demo, APP).await, ["deployment-41", "deployment-41"]);
    assert_eq!(browser.read("#demo .service[data-state='wrong']").await, "");
    browser.picture("over-1-again-wide").await;
    browser.close().await;
}

#[tokio::test]
async fn a_narrow_window_reaches_everything() {
    if skipped() {
        return;
    }
    let _one = ONE.lock().await;
    let demo = Demo::start();
    let browser = Browser::start(&screens(), true).await;
    browser.window(NARROW).await;
    browser.open(&demo.address).await;
    browser.see("#panes", "Channels").await;
    fits(&browser, "at the start").await;

    browser.click("#panes button", "Channels").await;
    act_as(&browser, "Mia").await;
    fits(&browser, "channels").await;
    browser.picture("narrow-1-channels").await;
    browser.click(".channel-list button", "incidents").await;
    browser.click("#channel-composer textarea", "").await;
    browser.keys("/sev2 the agent answers slowly").await;
    browser.see("#channel-composer .command", "/sev2").await;
    fits(&browser, "a command").await;
    browser.picture("narrow-2-command").await;
    browser.keys(ENTER).await;
    browser.see(CARD, "INC-1 · the agent answers slowly").await;
    fits(&browser, "a card").await;
    browser.picture("narrow-3-card").await;
    browser.click("#channel-log .thread-chip", "INC-1").await;
    browser.see("#thread-head", "INC-1").await;
    fits(&browser, "a thread").await;
    browser.picture("narrow-4-thread").await;
    browser.click("#panes button", "Phone").await;
    browser.see(".owner", "’s phone").await;
    fits(&browser, "the phone").await;
    browser.picture("narrow-5-phone").await;
    browser.click("#demo button", "Controls").await;
    browser.see("#demo-tools", "hotdash-agent-service").await;
    fits(&browser, "the controls").await;
    browser.picture("narrow-6-controls").await;
    browser.click("#panes button", "Chat").await;
    browser.see("#channel-head", "incidents").await;
    browser.window(WIDE).await;
    browser.see("#thread-head", "INC-1").await;
    browser.close().await;
}
