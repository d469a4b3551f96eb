//! A message of any size fits, and is cut where people can see it.

use super::*;
use crate::domain::ids::{Person, Role};
use crate::domain::message::Tone;

fn chars(span: &Span) -> usize {
    match span {
        Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.chars().map(char::len_utf16).sum(),
        _ => 20,
    }
}

const SMALL: Limits = Limits {
    content: 300,
    content_reserved: 20,
    title: 40,
    description: 300,
    fields: 3,
    field_name: 20,
    field_value: 130,
    footer: 40,
    footer_reserved: 10,
    card_total: 900,
    buttons_in_row: 2,
    rows: 2,
    button_label: 10,
    action: 30,
    choices: 3,
    choice_label: 10,
    placeholder: 20,
    files: 2,
    file_bytes: 10_000,
    pings: 2,
    weigh: chars,
    weigh_plain: |text| text.chars().map(char::len_utf16).sum(),
};

fn seen(text: &Text) -> String {
    text.0
        .iter()
        .map(|span| if let Span::Text(text) | Span::Bold(text) | Span::Code(text) = span { text } else { "@" })
        .collect()
}

#[test]
fn what_fits_is_left_as_it_is() {
    let message = Message::line("SEV-1 INC-7 checkout is down").button(
        "ack:7",
        "I've got it",
        crate::domain::message::ButtonStyle::Primary,
    );
    let rendered = render(&message, &Limits { button_label: 80, ..SMALL });
    assert_eq!(rendered.lines, message.lines);
    assert_eq!(rendered.rows, [message.buttons]);
    assert_eq!((rendered.chars_cut, rendered.files.len(), rendered.menu), (0, 0, None));
}

#[test]
fn a_long_text_is_cut_at_a_word_and_stands_whole_in_a_file() {
    let long = "disk full on node seven ".repeat(60);
    let rendered = render(&Message::line(long.clone()), &SMALL);
    let line = seen(&rendered.lines[0]);
    assert!(chars(&Span::Text(line.clone())) <= SMALL.content - SMALL.content_reserved, "{line}");
    assert!(line.ends_with(" more characters in the attached file)"), "{line}");
    let (kept, _) = line.split_once("… (").unwrap();
    assert!(long.starts_with(kept) && long[kept.len()..].starts_with(' '), "cut inside a word: {kept}");
    assert_eq!(kept.chars().count() + rendered.chars_cut, long.chars().count());
    assert_eq!(rendered.files.last().unwrap().text.trim_end(), long.trim_end());
}

#[test]
fn nothing_built_of_several_characters_is_broken() {
    let family = "👨‍👩‍👧‍👦";
    for pad in 0..12 {
        let text = format!("{}{}", "x".repeat(200 + pad), family.repeat(40));
        let line = seen(&render(&Message::line(text), &SMALL).lines[0]);
        let kept = line.split('…').next().unwrap().trim_start_matches('x');
        assert!(kept.is_empty() || kept.chars().count().is_multiple_of(family.chars().count()), "{kept}");
    }
    let accents = format!("{}{}", "y".repeat(209), "e\u{301}".repeat(100));
    let line = seen(&render(&Message::line(accents), &SMALL).lines[0]);
    assert!(line.split('…').next().unwrap().ends_with('\u{301}'));
}

#[test]
fn names_are_never_split_and_pings_keep_their_room() {
    let mut message = Message::line("word ".repeat(100));
    for name in ["a", "b", "c"] {
        message = message.ping(Ping::Person(Person::new(name)));
    }
    let rendered = render(&message, &SMALL);
    assert_eq!(rendered.pings.len(), 2);
    let weight: usize = rendered.lines.iter().map(|line| SMALL.weigh_text(line) + 1).sum();
    assert!(weight + 2 * 21 + SMALL.content_reserved <= SMALL.content + 1, "{weight}");
    assert_eq!(seen(rendered.lines.last().unwrap()), "(1 more could not be pinged by one message)");
}

#[test]
fn a_card_keeps_its_headline_and_fields_and_sends_nothing_blank() {
    let mut card =
        Card::new("INC-7 ".repeat(20), Tone::Bad).field("Lead", "").field(" ", "x").line("long ".repeat(200));
    for n in 0..5 {
        card = card.field(format!("f{n}"), "v".repeat(100));
    }
    let rendered = render(&Message::card(card), &SMALL);
    let card = rendered.card.unwrap();
    assert!(card.title.ends_with('…') && card.title.chars().count() <= 40, "{}", card.title);
    assert_eq!(card.fields[0].name, "·");
    assert_eq!(card.fields.len(), SMALL.fields);
    assert_eq!(seen(&card.fields[2].value), "(4 more in the attached file)");
    assert!(card.fields.iter().all(|field| !field.value.is_blank()));
    let total: usize = card
        .lines
        .iter()
        .map(seen)
        .chain(card.fields.iter().map(|field| field.name.clone() + &seen(&field.value)))
        .map(|text| text.chars().count())
        .sum();
    assert!(total + card.title.chars().count() <= SMALL.card_total);
    assert_eq!(rendered.files.last().unwrap().name, WHOLE_FILE);
    assert_eq!(render(&Message::card(Card::new(" ", Tone::Bad)), &SMALL).card, None);
}

#[test]
fn buttons_without_room_stand_in_the_menu_and_come_back_as_themselves() {
    let mut message = Message::line("x");
    for n in 0..7 {
        message = message.button(format!("do:{n}"), format!("Button {n}"), crate::domain::message::ButtonStyle::Plain);
    }
    let rendered = render(&message.clone().button("do:1", "again", crate::domain::message::ButtonStyle::Plain), &SMALL);
    assert_eq!(rendered.rows.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    let menu = rendered.menu.unwrap();
    assert_eq!(menu.choices.len(), 3);
    assert_eq!(pressed(menu.action, vec![menu.choices[0].value.clone()]), ("do:2".to_owned(), vec![]));
    assert_eq!(seen(rendered.lines.last().unwrap()), "(2 more buttons do not fit here)");
    assert_eq!(
        pressed("severity:7".to_owned(), vec!["sev1".to_owned()]),
        ("severity:7".to_owned(), vec!["sev1".to_owned()])
    );
}

#[test]
fn a_message_of_nothing_still_says_so() {
    assert_eq!(seen(&render(&Message::line("  "), &SMALL).lines[0]), "(nothing to say)");
}

#[test]
fn the_words_of_a_message() {
    let message = Message::line(Text::plain("SEV-1 ").bold("INC-7"))
        .and("two\nlines")
        .ping(Ping::Role(Role::new("reliability")))
        .ping(Ping::Person(Person::new("test:ana")))
        .button("ack:7", "I've got it", crate::domain::message::ButtonStyle::Primary);
    let message = Message {
        card: Some(
            Card::new("checkout is down", Tone::Bad)
                .line("since 03:02")
                .field("Lead", Text::default().person(&Person::new("test:ana")))
                .field("Empty", ""),
        ),
        ..message
    };
    assert_eq!(
        words(&message, &Unresolved),
        [
            "SEV-1 INC-7",
            "two",
            "lines",
            "▌ checkout is down",
            "▌ since 03:02",
            "▌ Lead: @ana",
            "[I've got it]",
            "pings: @role reliability, @ana",
        ]
    );
}
