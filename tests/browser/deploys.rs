//! Deploys as a person makes them on the page: a good image through staging to production, a bad one that is caught and taken back,
//! the bot killed in the middle of that; and a rollback from the lock screen, in two taps.

use serde_json::Value;

use super::driver::{Browser, NARROW, WIDE};
use super::{CARD, Demo, act_as, fits, opened};

/// The app that is deployed.
pub const APP: &str = "hotdash-agent-service";
/// What only the acting member sees.
const EPHEMERAL: &str = "#channel-log article.ephemeral";
/// A note of the lock screen, with its buttons.
const NOTE: &str = "#phone .notes li";

/// Types a command and sends it; by its button, as Enter may also take what completes it.
pub async fn command(browser: &Browser, line: &str) {
    browser.click("#channel-composer textarea", "").await;
    browser.keys(line).await;
    browser.click("#channel-composer button", "Run").await;
}

/// Chooses the speed of promise time by the first letters of its name, as from a keyboard.
async fn pace(browser: &Browser, letters: &str) {
    browser.script("document.querySelector('#demo select').focus()", Value::Array(Vec::new())).await;
    browser.keys(letters).await;
}

/// The minute after the last machine, in which nothing happens. Only skipped where the card says that it runs.
async fn skip_the_minute(browser: &Browser, bar: &str) {
    browser.see(CARD, &format!("{bar}; looked at")).await;
    browser.click("#demo button", "Skip +1m").await;
}

/// Pictures of the lock screen and the chat, on a wide and a narrow window.
async fn pictures(browser: &Browser, name: &str) {
    browser.pictures(name).await;
    browser.window(NARROW).await;
    browser.click("#panes button", "Phone").await;
    fits(browser, name).await;
    browser.picture(&format!("{name}-phone-narrow")).await;
    browser.click("#panes button", "Chat").await;
    browser.window(WIDE).await;
}

/// The image that each machine of an app runs, by its tag.
pub async fn images(demo: &Demo, app: &str) -> Vec<String> {
    let info = demo.info().await;
    let apps = info["services"].as_array().cloned().unwrap_or_default();
    let of = apps.iter().filter(|one| one["name"] == app && one["stage"] == "production");
    let images = of.flat_map(|one| one["images"].as_array().into_iter().flatten());
    images.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Machines take this long from now on: longer than Discord keeps a card from being edited that was edited five times just now.
async fn machines_take(demo: &Demo, boot_ms: u64) {
    let fly = demo.info().await["fly"].as_str().expect("its address").to_owned();
    let set =
        reqwest::Client::new().post(format!("{fly}/sim/settings")).json(&serde_json::json!({ "boot_ms": boot_ms }));
    let answer = set.send().await.expect("the local Fly answers");
    assert!(answer.status().is_success(), "{}", answer.status());
}

#[tokio::test]
async fn a_bad_deploy_is_caught_and_taken_back_over_the_death_of_the_bot() {
    let Some((_one, demo, browser)) = opened(true).await else { return };
    act_as(&browser, "Ana").await;
    machines_take(&demo, 6_000).await;

    // A plan: nothing is done before a yes, and a yes needs the checklist.
    command(&browser, &format!("/deploy service: {APP}")).await;
    browser.see(CARD, "deployment-42 to hotdash-agent-service (staging, then production)").await;
    browser.pictures("deploy-0-plan").await;
    browser.click(&format!("{CARD} .components button"), "Checklist").await;
    for item in ["environment", "code", "infrastructure", "dependencies"] {
        browser.click(&format!("{EPHEMERAL} .components button"), &format!("☐ {item}")).await;
        browser.see(EPHEMERAL, &format!("☑ {item}")).await;
    }
    browser.pictures("deploy-1-checklist").await;
    assert_eq!(browser.read(EPHEMERAL).await.matches("What has to be seen to").count(), 1, "a list at each tick");
    browser.click(&format!("{EPHEMERAL} button"), "Dismiss").await;
    browser.click(&format!("{CARD} .components button"), "Start").await;

    // Staging, then production: the bar moves.
    browser.see(CARD, "▸ ord").await;
    browser.pictures("deploy-2-staging").await;
    skip_the_minute(&browser, "1 of 1").await;
    browser.see(CARD, "░ 0 of 2").await;
    browser.see(CARD, "▓▓▓▓▓░░░░░ 1 of 2").await;
    browser.pictures("deploy-3-production").await;
    skip_the_minute(&browser, "▓▓▓▓▓▓▓▓▓▓ 2 of 2").await;
    browser.see(CARD, "watched until").await;
    browser.see("#channel-log", "2 of 2 machines run deployment-42").await;
    browser.pictures("deploy-4-succeeded").await;
    assert_eq!(images(&demo, APP).await, ["deployment-42", "deployment-42"]);

    // A bad one, past its checks with a reason: caught, and taken back by itself.
    command(&browser, &format!("/deploy service: {APP} image: v39 stage: production why: the new model")).await;
    browser.see(CARD, "deployment-39-broken").await;
    for (check, why) in [("Staging", "staging is being rebuilt"), ("Checklist", "gone through by hand")] {
        browser.click(&format!("{CARD} .select"), "Pass a check").await;
        browser.click(".menu button", check).await;
        browser.see("dialog.form h2", &format!("Pass the {} check", check.to_lowercase())).await;
        browser.keys(why).await;
        browser.click("dialog.form button", "Submit").await;
        browser.see(CARD, &format!("Passed: {}", check.to_lowercase())).await;
    }
    browser.pictures("deploy-5-passed").await;
    browser.click(&format!("{CARD} .components button"), "Start").await;
    browser.see(CARD, "░ 0 of 2").await;
    skip_the_minute(&browser, "▓▓▓▓▓▓▓▓▓▓ 2 of 2").await;
    browser.see("#channel-log", "started by me").await;
    browser.pictures("deploy-6-caught").await;

    // The bot dies while one machine is back and the other is not.
    browser.see(CARD, "▓▓▓▓▓░░░░░ 1 of 2").await;
    browser.click("#demo button", "Kill the bot").await;
    browser.see("#demo .bot-state", "Bot down").await;
    browser.pictures("deploy-7-killed").await;
    browser.see("#demo .bot-state", "Bot up").await;
    browser.see("#channel-log", "I was away").await;
    skip_the_minute(&browser, "▓▓▓▓▓▓▓▓▓▓ 2 of 2").await;
    browser.see("#channel-log", "Roll back hotdash-agent-service to v42: succeeded").await;
    browser.pictures("deploy-8-taken-back").await;
    assert_eq!(images(&demo, APP).await, ["deployment-42", "deployment-42"]);
    assert_eq!(browser.read("[data-counter='doubled'] dd").await, "0");
    assert_eq!(browser.read("[data-counter='late'] dd").await, "0");
    browser.close().await;
}

#[tokio::test]
async fn a_deploy_past_the_bot_is_taken_back_from_the_lock_screen() {
    let Some((_one, _demo, browser)) = opened(false).await else { return };
    // What Fly has at the bot's first look is nobody's news.
    browser.click("#demo button", "Skip +1m").await;

    browser.click("#demo .service", &format!("{APP}, production")).await;
    browser.click(".menu button", "Deploy a bad image").await;
    browser.see("#demo .service[data-state='wrong']", APP).await;
    // Three failed looks take two minutes; the last of them stops the hurry.
    pace(&browser, "60").await;
    browser.see(NOTE, "SEV-1 INC-1").await;
    pace(&browser, "real").await;
    browser.see("#channel-log", "v42 by carol").await;

    // Two taps, without opening the chat.
    browser.see(&format!("{NOTE} .note-action"), "Roll back v42").await;
    pictures(&browser, "taps-0-rings").await;
    browser.click(&format!("{NOTE} .note-action"), "Roll back v42").await;
    browser.see(&format!("{NOTE}.answer"), "Nothing is done before somebody presses").await;
    pictures(&browser, "taps-1-planned").await;
    browser.click(&format!("{NOTE}.answer .note-action"), "Roll back to v41").await;
    browser.see(&format!("{NOTE}.answer"), "shows how far it is").await;
    pictures(&browser, "taps-2-runs").await;
    browser.see(CARD, "Lead\n@Ana").await;
    browser.see("button.actor", "Dmitri").await;

    // Swiped away, it does not come back.
    browser.click("#phone button", "Clear").await;
    browser.see("#phone .phone-tools button:disabled", "Clear").await;
    assert_eq!(browser.read(NOTE).await, "");
    browser.close().await;
}
