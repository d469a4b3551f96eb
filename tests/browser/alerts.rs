//! A rule of the team's own as a person meets it on the page: it fires, is kept quiet, becomes an incident, and that is resolved.

use super::deploys::{APP, command};
use super::{CARD, CARD_BUTTONS, act_as, opened};

/// What only the acting member sees.
const EPHEMERAL: &str = "#channel-log article.ephemeral";

#[tokio::test]
async fn a_rule_fires_is_kept_quiet_and_becomes_an_incident_that_is_resolved() {
    let Some((_one, _demo, browser)) = opened(true).await else { return };
    act_as(&browser, "Ana").await;

    // Every rule in words, with its value now.
    command(&browser, &format!("/alerts rules service: {APP}")).await;
    browser.see(EPHEMERAL, "kills for want of memory above 0 (in 15 min)").await;
    browser.pictures("rule-0-rules").await;

    // One machine is killed for want of memory: whoever is on call is pinged, once.
    browser.click("#demo .service", &format!("{APP}, production")).await;
    browser.click(".menu button", "Memory runs out").await;
    browser.click("#demo button", "Skip +1m").await;
    browser.see(CARD, &format!("ALR-1 · {APP}: out of memory")).await;
    browser.see(CARD, "Killed for want of memory, 1 × in 15 min").await;
    browser.see(".note", "CRITICAL ALR-1").await;
    browser.pictures("rule-1-fires").await;

    // Quiet, by a button and by typing.
    browser.click(CARD_BUTTONS, "Quiet for 1 h").await;
    browser.see(EPHEMERAL, "ALR-1 is quiet until").await;
    command(&browser, &format!("/alerts silence match: service={APP} for: 2h why: the cache is being made smaller"))
        .await;
    browser.see("#channel-log", "the cache is being made smaller").await;
    browser.see(CARD, "quiet").await;
    browser.pictures("rule-2-quiet").await;

    // It becomes an incident, and from then on they are one.
    browser.click(CARD_BUTTONS, "Declare SEV-1").await;
    browser.see(CARD, "INC-1").await;
    browser.see(CARD, "it belongs to INC-1").await;
    browser.pictures("rule-3-declared").await;
    browser.click(CARD_BUTTONS, "Mitigated").await;
    browser.click(CARD_BUTTONS, "Resolve when green").await;
    browser.see(EPHEMERAL, "resolves by itself").await;
    browser.click("#demo button", "Skip +5m").await;
    browser.click("#demo button", "Skip +5m").await;
    browser.click("#demo button", "Skip +1m").await;
    browser.see(CARD, "Status\nresolved").await;
    browser.click("#demo button", "Skip +5m").await;
    browser.see(CARD, "Over since").await;
    browser.pictures("rule-4-resolved").await;

    assert_eq!(browser.read("[data-counter='doubled'] dd").await, "0");
    assert_eq!(browser.read("[data-counter='late'] dd").await, "0");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}
