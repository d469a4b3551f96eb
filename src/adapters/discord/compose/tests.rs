//! What Discord is sent, whatever people typed.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::adapters::discord::directory::{person, place};
use crate::adapters::discord::read::{read_back, read_message};

fn directory() -> Directory {
    let mut directory = Directory::default();
    directory.role_seen(5, "reliability");
    directory
}

fn content(message: &Message) -> String {
    new_message(message, &directory(), Some("17-3"), Sound::WhenItPings).body["content"].as_str().unwrap().to_owned()
}

#[test]
fn the_words_come_first_then_whom_it_pings_then_its_mark() {
    let message = Message::line("SEV-1 INC-7 checkout is down. Ack by 03:07")
        .ping(Ping::Role(Role::new("reliability")))
        .ping(Ping::Person(person(7)))
        .ping(Ping::Role(Role::new("nobody")));
    let composed = new_message(&message, &directory(), Some("17-3"), Sound::WhenItPings).body;
    assert_eq!(composed["content"], "SEV-1 INC-7 checkout is down. Ack by 03:07\n<@&5> <@7> **nobody**\n-# ref 17-3");
    assert_eq!(
        composed["allowed_mentions"],
        json!({"parse": [], "users": ["7"], "roles": ["5"], "replied_user": false})
    );
    assert_eq!((&composed["nonce"], &composed["enforce_nonce"]), (&json!("17-3"), &json!(true)));
    assert_eq!(composed.get("flags"), None);
    assert!(has_mark(&composed, "17-3") && !has_mark(&composed, "7-3"));
}

#[test]
fn words_of_which_nothing_can_be_shown_still_make_a_field() {
    // A sign that turns the direction of writing is taken out, and nothing else was said.
    let card = Card::new("x", Tone::Quiet).row("Why", "\u{202e}").row("\u{202e}", "y");
    let body = new_message(&Message::card(card), &directory(), None, Sound::Always).body;
    let fields = &body["embeds"][0]["fields"];
    assert_eq!((&fields[0]["value"], &fields[1]["name"]), (&json!("·"), &json!("·")), "{fields}");
}

#[test]
fn what_pings_nobody_makes_no_sound_unless_it_is_to_wake() {
    let message = Message::line("x");
    assert_eq!(new_message(&message, &directory(), None, Sound::WhenItPings).body["flags"], 4096);
    assert_eq!(new_message(&message, &directory(), None, Sound::Always).body.get("flags"), None);
    let pinging = message.ping(Ping::Person(person(7)));
    assert_eq!(edited(&pinging, &directory(), None).body["allowed_mentions"]["users"], json!([]));
}

#[test]
fn a_title_with_everyone_and_markup_is_shown_as_typed() {
    let title = "@everyone **now** <@&5> `x`";
    let message = Message { card: Some(Card::new(title, Tone::Bad).line(title)), ..Message::line(title) };
    let body = new_message(&message, &directory(), Some("1-0"), Sound::WhenItPings).body;
    for shown in [&body["content"], &body["embeds"][0]["title"], &body["embeds"][0]["description"]] {
        let shown = shown.as_str().unwrap();
        assert!(!shown.contains("@everyone") && !shown.contains("<@&5>") && shown.contains(r"\*\*now\*\* "), "{shown}");
        assert_eq!(read_back(shown, &directory()), Text::plain(title));
    }
    assert_eq!(body["embeds"][0]["footer"]["text"], "ref 1-0");
    assert!(has_mark(&body, "1-0"));
}

#[test]
fn three_thousand_characters_of_stars_fit_into_two_thousand() {
    let body = new_message(&Message::line("*".repeat(3_000)), &directory(), Some(&"9".repeat(25)), Sound::WhenItPings);
    let content = body.body["content"].as_str().unwrap();
    assert!(units(content) <= 2_000, "{}", units(content));
    assert!(content.contains("more characters in the attached file)"), "{content}");
    assert_eq!(body.files.len(), 1);
    assert_eq!(body.files[0].bytes.len(), 3_000);
    assert_eq!(body.body["attachments"][0]["filename"], "whole-message.txt");
}

#[test]
fn spans_become_what_discord_shows() {
    let at = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
    let text = Text::plain("due ")
        .relative(at)
        .text(" ")
        .clock(at)
        .text(" in ")
        .place(&place(9))
        .text(" ")
        .code("a`b")
        .text(" ");
    let text = text
        .bold("x*y")
        .text(" ")
        .join(Text(vec![Span::Link { label: "the [log]".into(), url: "https://a.example/b(c)".into() }]));
    let shown = content(&Message::line(text.clone()));
    assert_eq!(
        shown,
        "due <t:1764000000:R> <t:1764000000:t> in <#9> `` a`b `` **x\\*y** [the \\[log\\]](https://a.example/b%28c%29)\n-# ref 17-3"
    );
    let back = read_message(&json!({"content": shown}), &directory());
    assert_eq!(back.lines.len(), 1);
    assert_eq!(back.lines[0].0[..11], text.0[..11]);
}

#[test]
fn a_form_and_a_list_keep_to_discords_limits() {
    let input = crate::domain::message::FormInput {
        name: "what".into(),
        label: "é".repeat(60),
        long: true,
        required: true,
        value: "v".repeat(50),
        hint: String::new(),
        chars_max: 20,
    };
    let form = form(&Form { action: "update:7".into(), title: "t".repeat(60), inputs: vec![input; 6] });
    assert_eq!(form["title"].as_str().unwrap().chars().count(), 45);
    assert_eq!(form["components"].as_array().unwrap().len(), 5);
    let input = &form["components"][0]["components"][0];
    assert_eq!(input["value"].as_str().unwrap().len(), 20);
    assert_eq!(input["label"].as_str().unwrap().chars().count(), 45);
    let list: Vec<Choice> = (0..40).map(|n| Choice::new(format!("v{n}"), "l".repeat(150))).collect();
    let list = choices(&list);
    assert_eq!(list["choices"].as_array().unwrap().len(), 25);
    assert_eq!(list["choices"][0]["name"].as_str().unwrap().chars().count(), 100);
}

#[tokio::test]
async fn a_picture_goes_as_a_file_with_its_words_behind_the_others() {
    let chart = crate::domain::chart::Chart {
        title: "checkout".to_owned(),
        alt: "x".repeat(2_000),
        from: DateTime::UNIX_EPOCH,
        to: DateTime::UNIX_EPOCH,
        zone: chrono_tz::UTC,
        panels: Vec::new(),
        marks: Vec::new(),
    };
    let file = File { name: "a.txt".to_owned(), text: "a".to_owned() };
    let message = Message { files: vec![file], ..Message::line("figures") }.picture(chart.clone());
    let pictures = draw(&message).await;
    let composed = new_message(&message, &directory(), None, Sound::WhenItPings).with(pictures.clone());
    let attachments = &composed.body["attachments"];
    assert_eq!(
        (attachments[0]["filename"].as_str(), attachments[1]["filename"].as_str()),
        (Some("a.txt"), Some("chart.png"))
    );
    assert_eq!(
        (attachments[1]["id"].as_u64(), attachments[1]["description"].as_str().map(str::len)),
        (Some(1), Some(1_026))
    );
    assert!(composed.files[1].bytes.starts_with(b"\x89PNG") && composed.files[1].content_type == "image/png");
    let edit = edited(&Message::line("figures"), &directory(), None).with(pictures);
    assert_eq!(edit.body["attachments"][0]["id"], 0, "an edit names them too");
    let many = Message { pictures: vec![chart; 20], ..Message::default() };
    assert_eq!(draw(&many).await.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_discord_takes_it(
        lines in prop::collection::vec(r"[a-z*_`<@#>\\\\\[\]()é漢😀\u{5d0} \n]{0,900}", 0..5),
        values in prop::collection::vec(r"[a-z*_~|`é😀 \n]{0,1200}", 0..30),
    ) {
        let mut card = Card::new(lines.join(" "), Tone::Warn);
        card.footer = values.first().cloned();
        card.lines = values.iter().cloned().map(Text::plain).collect();
        for (n, value) in values.iter().enumerate() {
            card = card.field(format!("{n}{value}"), value.clone());
        }
        let message = Message { card: Some(card), lines: lines.into_iter().map(Text::plain).collect(), ..Message::default() };
        let body = new_message(&message, &directory(), Some(&"9".repeat(25)), Sound::WhenItPings).body;
        let size = |value: &Value| units(value.as_str().unwrap_or_default());
        prop_assert!(size(&body["content"]) <= 2_000);
        let embed = &body["embeds"][0];
        let mut total = size(&embed["title"]) + size(&embed["description"]) + size(&embed["footer"]["text"]);
        prop_assert!(size(&embed["title"]) <= 256 && size(&embed["description"]) <= 4_096 && size(&embed["footer"]["text"]) <= 2_048);
        let fields = embed["fields"].as_array().map_or(&[][..], Vec::as_slice);
        prop_assert!(fields.len() <= 25);
        for field in fields {
            prop_assert!((1..=256).contains(&size(&field["name"])) && (1..=1_024).contains(&size(&field["value"])), "{}", field);
            total += size(&field["name"]) + size(&field["value"]);
        }
        prop_assert!(total <= 6_000, "{}", total);
        prop_assert!(body["files"].is_null() && has_mark(&body, &"9".repeat(25)));
    }

    #[test]
    fn an_address_leads_to_the_same_place_when_it_is_read_back(
        text in r"[a-c*_`|\\\\ \[\]()~]{0,12}http://[a-c*_|\\\\\[\]()~]{0,12}[a-c*_` ]{0,12}", is_bold: bool,
    ) {
        let said = if is_bold { Text::default().bold(&text) } else { Text::plain(&text) };
        let body = new_message(&Message::line(said), &directory(), None, Sound::WhenItPings).body;
        let read = read_back(body["content"].as_str().unwrap(), &directory());
        let words = |text: Text| text.0.into_iter().map(|span| match span {
            Span::Text(text) | Span::Bold(text) | Span::Code(text) => text,
            other => format!("{other:?}"),
        }).collect::<String>();
        let same = |words: &str| words.replace("%7C", "|").replace("%5D(", "](").replace("%2A", "*").replace("%60", "`").trim().to_owned();
        prop_assert_eq!(same(&words(read)), same(&text), "{}", body["content"]);
    }

    #[test]
    fn what_was_typed_can_be_read_back(text in r"[a-c*_`<@#>\\\\\[\]()~|é\u{5d0} -]{0,60}") {
        let shown = escape::markdown(&text, true);
        prop_assert_eq!(read_back(&shown, &directory()), if text.is_empty() { Text::default() } else { Text::plain(text) }, "{}", shown);
    }
}
