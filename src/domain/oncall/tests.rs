//! Who is on call, over odd nights, overrides and swaps.

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn read(text: &str) -> Result<Rotation, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
}

fn weekly(people: &[&str]) -> Rotation {
    read(&format!(
        "people = {people:?}\nstarts = '2026-10-19'\nhandoff = 'Mon 09:00'\nevery = '1 week'\nzone = 'America/Chicago'"
    ))
    .unwrap()
}

fn over(person: &str, from: &str, until: &str) -> Override {
    Override {
        person: person.to_owned(),
        from: utc(from),
        until: utc(until),
        by: "cem".to_owned(),
        why: "dentist".to_owned(),
    }
}

/// Shifts as "who from until", on the zone's clock.
fn told(rotation: &Rotation, overrides: &[Override], from: &str, to: &str) -> Vec<String> {
    let clock = |at: DateTime<Utc>| at.with_timezone(&rotation.zone()).format("%a %d %H:%M").to_string();
    shifts(rotation, overrides, utc(from), utc(to))
        .iter()
        .map(|shift| format!("{} {} - {}", shift.person, clock(shift.from), clock(shift.until)))
        .collect()
}

#[test]
fn a_week_changes_hands_at_nine_whatever_the_night() {
    let rotation = weekly(&["ana", "ben"]);
    assert_eq!(
        told(&rotation, &[], "2026-10-26T14:00:00Z", "2026-11-09T15:00:00Z"),
        ["ben Mon 26 09:00 - Mon 02 09:00", "ana Mon 02 09:00 - Mon 09 09:00"]
    );
    let long = on_call(&rotation, &[], utc("2026-10-30T00:00:00Z"));
    assert_eq!(long.until - long.from, TimeDelta::hours(169));
    let short = on_call(&rotation, &[], utc("2027-03-10T00:00:00Z"));
    assert_eq!(short.until - short.from, TimeDelta::hours(167));
    assert_eq!(local(rotation.zone(), short.until).to_string(), "2027-03-15 09:00:00");
}

#[test]
fn the_handoff_belongs_to_who_comes() {
    let rotation = weekly(&["ana", "ben"]);
    assert_eq!(on_call(&rotation, &[], utc("2026-11-02T14:59:59Z")).person, "ben");
    assert_eq!(on_call(&rotation, &[], utc("2026-11-02T15:00:00Z")).person, "ana");
}

#[test]
fn shifts_meet_and_hold_the_instant_asked_for() {
    let three_days = "people = ['ana', 'ben', 'cem']\nstarts = '2026-01-01'\nhandoff = '02:30'\nevery = '3 days'\nzone = 'Europe/Berlin'";
    for rotation in [weekly(&["ana", "ben", "cem"]), read(three_days).unwrap()] {
        let (from, to) = (utc("2025-06-01T00:00:00Z"), utc("2028-01-01T00:00:00Z"));
        let all = shifts(&rotation, &[], from, to);
        assert!(all.windows(2).all(|pair| pair[0].until == pair[1].from && pair[0].person != pair[1].person));
        assert!(all[0].from <= from && all[all.len() - 1].until >= to);
        let mut at = from;
        while at < to {
            let shift = on_call(&rotation, &[], at);
            assert!(shift.from <= at && at < shift.until, "{at} {shift:?}");
            at += TimeDelta::minutes(97);
        }
    }
}

#[test]
fn the_first_person_has_the_first_handoff_on_or_after_the_start() {
    let rotation =
        read("people = ['ana', 'ben']\nstarts = '2026-11-24'\nhandoff = 'Mon 09:00'\nevery = '2 weeks'\nzone = 'UTC'")
            .unwrap();
    let first = on_call(&rotation, &[], utc("2026-12-01T00:00:00Z"));
    assert_eq!((first.person.as_str(), first.from), ("ana", utc("2026-11-30T09:00:00Z")));
    assert_eq!(on_call(&rotation, &[], utc("2026-11-25T00:00:00Z")).person, "ben");
}

#[test]
fn one_person_is_always_on_call() {
    let rotation = weekly(&["ana"]);
    assert_eq!(
        told(&rotation, &[], "2026-11-03T00:00:00Z", "2026-11-10T00:00:00Z"),
        ["ana Mon 02 09:00 - Mon 09 09:00", "ana Mon 09 09:00 - Mon 16 09:00"]
    );
}

#[test]
fn an_override_over_two_shifts_cuts_both() {
    let overrides = [over("cem", "2026-11-08T18:00:00Z", "2026-11-10T18:00:00Z")];
    assert_eq!(
        told(&weekly(&["ana", "ben"]), &overrides, "2026-11-07T00:00:00Z", "2026-11-12T00:00:00Z"),
        ["ana Mon 02 09:00 - Sun 08 12:00", "cem Sun 08 12:00 - Tue 10 12:00", "ben Tue 10 12:00 - Mon 16 09:00"]
    );
}

#[test]
fn of_overrides_that_overlap_the_one_made_last_wins() {
    let rotation = weekly(&["ana"]);
    let long = over("ben", "2026-11-03T12:00:00Z", "2026-11-03T20:00:00Z");
    let inside = over("cem", "2026-11-03T14:00:00Z", "2026-11-03T16:00:00Z");
    let (from, to) = ("2026-11-03T12:00:00Z", "2026-11-03T20:00:00Z");
    assert_eq!(
        told(&rotation, &[long.clone(), inside.clone()], from, to),
        ["ben Tue 03 06:00 - Tue 03 08:00", "cem Tue 03 08:00 - Tue 03 10:00", "ben Tue 03 10:00 - Tue 03 14:00"]
    );
    assert_eq!(told(&rotation, &[inside, long.clone()], from, to), ["ben Tue 03 06:00 - Tue 03 14:00"]);
    let why = on_call(&rotation, &[long], utc("2026-11-03T13:00:00Z")).because;
    assert_eq!(why, Because::Override { by: "cem".to_owned(), why: "dentist".to_owned() });
}

#[test]
fn an_override_that_ends_before_it_begins_changes_nothing() {
    let nothing = [over("cem", "2026-11-04T12:00:00Z", "2026-11-03T12:00:00Z")];
    let rotation = weekly(&["ana"]);
    let (from, to) = ("2026-11-03T00:00:00Z", "2026-11-05T00:00:00Z");
    assert_eq!(told(&rotation, &nothing, from, to), told(&rotation, &[], from, to));
    let after = utc("2026-11-03T18:00:00Z");
    assert_eq!(on_call(&rotation, &nothing, after), on_call(&rotation, &[], after));
}

#[test]
fn without_a_rotation_everybody_is_called_until_somebody_takes_it() {
    let now = utc("2026-11-03T12:00:00Z");
    assert_eq!(duty(None, &[], now), Duty::Everybody { until: None });
    assert_eq!(take(None, &[], "ana", now, None, ""), Err(OnCallRefusal::NeedsEnd));
    let until = now + TimeDelta::hours(8);
    let taken = take(None, &[], "ana", now, Some(until), "night").unwrap();
    let Duty::One(shift) = duty(None, std::slice::from_ref(&taken), now) else { panic!("nobody took it") };
    assert_eq!((shift.person.as_str(), shift.until), ("ana", until));
    assert_eq!(
        duty(None, std::slice::from_ref(&taken), now - TimeDelta::hours(1)),
        Duty::Everybody { until: Some(now) }
    );
    assert_eq!(duty(None, &[taken], until), Duty::Everybody { until: None });
}

#[test]
fn a_shift_is_taken_until_it_ends_or_as_long_as_said() {
    let rotation = weekly(&["ana", "ben"]);
    let now = utc("2026-11-03T12:00:00Z"); // ana's week
    let taken = take(Some(&rotation), &[], "ben", now, None, "ana is ill").unwrap();
    assert_eq!((taken.from, taken.until, taken.by.as_str()), (now, utc("2026-11-09T15:00:00Z"), "ben"));
    let refusal = |person, until| take(Some(&rotation), &[], person, now, until, "").unwrap_err();
    assert_eq!(refusal("ana", None).to_string(), "ana is on call for all of that time already");
    assert_eq!(
        refusal("ana", Some(now + TimeDelta::days(2))).to_string(),
        "ana is on call for all of that time already"
    );
    assert_eq!(refusal("ben", Some(now)), OnCallRefusal::Past);
    assert_eq!(refusal("ben", Some(now + TimeDelta::days(32))), OnCallRefusal::TooLong);
    // Longer than their own week is a change.
    assert!(take(Some(&rotation), &[], "ana", now, Some(now + TimeDelta::days(10)), "").is_ok());
}

#[test]
fn two_people_swap_what_comes_next() {
    let rotation = weekly(&["ana", "ben", "cem"]);
    let now = utc("2026-10-27T12:00:00Z"); // ben's week; cem is next
    let both = swap(Some(&rotation), &[], ("ben", "cem"), now, "ben", "holiday").unwrap();
    assert_eq!(
        told(&rotation, &both, "2026-10-26T15:00:00Z", "2026-11-09T15:00:00Z"),
        ["ben Mon 26 09:00 - Tue 27 07:00", "cem Tue 27 07:00 - Mon 02 09:00", "ben Mon 02 09:00 - Mon 09 09:00"]
    );
    let refusal = |rotation, pair| swap(rotation, &[], pair, now, "ben", "").unwrap_err();
    assert_eq!(refusal(None, ("ana", "ben")), OnCallRefusal::NoRotation);
    assert_eq!(refusal(Some(&rotation), ("ana", "ana")), OnCallRefusal::Same);
    assert_eq!(refusal(Some(&rotation), ("ana", "dora")).to_string(), "dora has no shift in the next 366 days");
}

#[test]
fn a_rotation_that_makes_no_sense_is_refused_with_a_sentence() {
    let with = |people: &str, handoff: &str, every: &str, zone: &str| {
        read(&format!(
            "people = {people}\nstarts = '2026-11-23'\nhandoff = '{handoff}'\nevery = '{every}'\nzone = '{zone}'"
        ))
        .unwrap_err()
    };
    assert_eq!(
        with("[]", "Mon 09:00", "1 week", "UTC"),
        "the rotation has no people; name at least one, or leave the rotation out to call everybody with the role"
    );
    assert_eq!(with("['']", "Mon 09:00", "1 week", "UTC"), "somebody in the rotation has an empty name");
    assert!(with("['ana']", "09:00", "1 week", "UTC").contains("names no weekday"));
    assert!(with("['ana']", "Mon 09:00", "3 days", "UTC").contains("write the time alone"));
    assert!(with("['ana']", "Mon 9", "1 week", "UTC").contains("is no time of day"));
    assert!(with("['ana']", "Mon 09:00", "0 weeks", "UTC").contains("a turn is 1 to 365 days"));
    assert!(with("['ana']", "Mon 09:00", "1 month", "UTC").contains("is no turn"));
    assert!(with("['ana']", "Mon 09:00", "1 week", "Chicago").contains("zone = “Chicago” is not known"));
}

#[test]
fn overrides_long_past_are_forgotten() {
    let mut overrides = vec![
        over("ana", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        over("ben", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
    ];
    forget_past(&mut overrides, utc("2026-11-24T00:00:00Z"));
    assert_eq!(overrides.iter().map(|one| one.person.as_str()).collect::<Vec<_>>(), ["ben"]);
}

#[test]
fn the_ends_of_all_calendars_are_no_trouble() {
    let rotation = weekly(&["ana", "ben"]);
    for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let _ = on_call(&rotation, &[], at);
        let _ = shifts(&rotation, &[], at, DateTime::<Utc>::MAX_UTC);
        let _ = swap(Some(&rotation), &[], ("ana", "ben"), at, "ana", "");
    }
}
