//! When a team is at work, left alone, or may deploy; over odd nights and days off.

use chrono::TimeDelta;

use super::*;
use crate::domain::schedule::local_words;

const CHICAGO: Tz = chrono_tz::America::Chicago;

#[derive(Deserialize)]
struct Team {
    working_hours: WorkingHours,
    quiet_hours: QuietHours,
    #[serde(default)]
    holidays: Holidays,
    production: Window,
}

const TEAM: &str = r#"
holidays = [
    { date = "2026-11-26", name = "Thanksgiving" },
    { from = "2026-12-24", to = "2027-01-01", name = "the year's end" },
]
working_hours = { days = "Mon-Fri", from = "09:00", to = "17:00" }
quiet_hours = { from = "22:00", to = "07:00" }
production = { days = "Tue-Thu", from = "10:00", to = "14:00", month_end_days = 2, quarter_end_days = 5 }
"#;

fn team() -> Team {
    toml::from_str(TEAM).unwrap()
}

/// An instant given on Chicago's clock, its first time.
fn at(text: &str) -> DateTime<Utc> {
    crate::domain::schedule::first_instant(CHICAGO, format!("{text}:00").parse().unwrap())
}

fn calendar(team: &Team) -> Calendar<'_> {
    Calendar {
        zone: CHICAGO,
        working_hours: &team.working_hours,
        quiet_hours: &team.quiet_hours,
        holidays: &team.holidays,
    }
}

fn told(opening: Opening) -> String {
    match opening {
        Opening::Open { until } => format!("open until {}", local_words(until, CHICAGO)),
        Opening::Closed { opens, reason } => {
            format!("closed, {reason}; opens {}", opens.map_or("never".to_owned(), |opens| local_words(opens, CHICAGO)))
        }
    }
}

#[test]
fn people_work_from_nine_to_five_but_not_on_holidays() {
    let team = team();
    for (now, expected) in [
        ("2026-11-24T09:00", "open until Tue 24 Nov 17:00"),
        ("2026-11-24T08:59", "closed, it opens at 09:00; opens Tue 24 Nov 09:00"),
        // Thanksgiving lies between.
        ("2026-11-25T17:00", "closed, it closed at 17:00; opens Fri 27 Nov 09:00"),
        ("2026-11-26T12:00", "closed, it is Thanksgiving; opens Fri 27 Nov 09:00"),
        ("2026-11-28T12:00", "closed, not on Saturdays, only Mon-Fri; opens Mon 30 Nov 09:00"),
        ("2026-12-24T12:00", "closed, it is the year's end; opens Mon 4 Jan 09:00"),
    ] {
        assert_eq!(told(calendar(&team).working(at(now))), expected, "{now}");
    }
}

#[test]
fn the_next_working_instant_is_the_next_beginning() {
    let team = team();
    let next = |now| local_words(calendar(&team).next_working_instant(at(now)).unwrap(), CHICAGO);
    assert_eq!(next("2026-11-24T08:00"), "Tue 24 Nov 09:00");
    assert_eq!(next("2026-11-24T09:00"), "Wed 25 Nov 09:00");
    assert_eq!(next("2026-11-25T12:00"), "Fri 27 Nov 09:00");
    let at_work = at("2026-11-24T12:00");
    assert_eq!(working_at(&team.working_hours, &team.holidays, CHICAGO, at_work), at_work);
    assert_eq!(
        working_at(&team.working_hours, &team.holidays, CHICAGO, at("2026-11-28T12:00")),
        at("2026-11-30T09:00")
    );
}

#[test]
fn messages_are_held_back_with_a_reason_and_never_for_ever() {
    let team = team();
    let held = |now, hold| {
        calendar(&team)
            .defer(at(now), hold)
            .map(|held| format!("{}, {}", local_words(held.until, CHICAGO), held.reason))
    };
    assert_eq!(held("2026-11-24T23:00", Hold::Never), None);
    assert_eq!(held("2026-11-24T21:59", Hold::QuietHours), None);
    assert_eq!(held("2026-11-24T22:00", Hold::QuietHours).unwrap(), "Wed 25 Nov 07:00, quiet hours until 07:00");
    assert_eq!(held("2026-11-25T06:59", Hold::QuietHours).unwrap(), "Wed 25 Nov 07:00, quiet hours until 07:00");
    assert_eq!(held("2026-11-25T07:00", Hold::QuietHours), None);
    assert_eq!(
        held("2026-11-25T07:00", Hold::OutsideWorkingHours).unwrap(),
        "Wed 25 Nov 09:00, outside working hours: they begin at 09:00"
    );
    assert_eq!(
        held("2026-11-26T12:00", Hold::OutsideWorkingHours).unwrap(),
        "Fri 27 Nov 09:00, outside working hours: it is Thanksgiving"
    );
    let closed: Holidays =
        toml::from_str("days = [{ from = '2026-01-01', to = '2036-01-01', name = 'a sabbatical' }]").unwrap();
    let calendar = Calendar { holidays: &closed, ..calendar(&team) };
    let now = at("2026-11-24T12:00");
    assert_eq!(told(calendar.working(now)), "closed, it is a sabbatical; opens never");
    assert_eq!(calendar.defer(now, Hold::OutsideWorkingHours), None);
    assert_eq!(working_at(&team.working_hours, &closed, CHICAGO, now), now);
}

#[test]
fn quiet_hours_end_at_seven_on_both_odd_nights() {
    let quiet = team().quiet_hours;
    for (evening, morning, hours) in
        [("2026-03-07T22:00", "2026-03-08T07:00", 8), ("2026-10-31T22:00", "2026-11-01T07:00", 10)]
    {
        let until = quiet_until(&quiet, CHICAGO, at(evening)).unwrap();
        assert_eq!((until, until - at(evening)), (at(morning), TimeDelta::hours(hours)));
        assert_eq!(
            after_quiet(&quiet, CHICAGO, at(evening) - TimeDelta::minutes(1)),
            at(evening) - TimeDelta::minutes(1)
        );
        let mut now = at(evening);
        while now < until {
            assert_eq!(after_quiet(&quiet, CHICAGO, now), until, "{now}");
            now += TimeDelta::minutes(7);
        }
    }
}

#[test]
fn a_window_that_the_clock_jumps_over_is_none_and_one_that_comes_twice_is_one() {
    let night: WorkingHours = toml::from_str("days = 'every day'\nfrom = '02:00'\nto = '03:00'").unwrap();
    let none = Holidays::default();
    let state = |now| told(working_state(&night, &none, CHICAGO, at(now)));
    assert_eq!(state("2026-03-08T00:30"), "closed, it opens at 02:00; opens Mon 9 Mar 02:00");
    let twice: WorkingHours = toml::from_str("days = 'every day'\nfrom = '01:00'\nto = '02:00'").unwrap();
    let second = at("2026-11-01T01:30") + TimeDelta::hours(1);
    assert_eq!(told(working_state(&twice, &none, CHICAGO, second)), "open until Sun 1 Nov 02:00");
    assert_eq!(
        working_state(&twice, &none, CHICAGO, at("2026-11-01T01:00")),
        Opening::Open { until: at("2026-11-01T01:00") + TimeDelta::hours(2) }
    );
}

#[test]
fn days_that_meet_at_midnight_are_one_period() {
    let whole: WorkingHours = toml::from_str("days = 'Fri-Mon'\nfrom = '00:00'\nto = '24:00'").unwrap();
    let state = working_state(&whole, &Holidays::default(), CHICAGO, at("2026-11-20T12:00"));
    assert_eq!(told(state), "open until Tue 24 Nov 00:00");
}

#[test]
fn production_deploys_tuesday_to_thursday_but_not_at_ends_or_on_holidays() {
    let team = team();
    let state = |now| told(window_state(&team.production, &team.holidays, CHICAGO, at(now)));
    assert_eq!(state("2026-11-24T13:59"), "open until Tue 24 Nov 14:00");
    assert_eq!(state("2026-11-24T14:00"), "closed, it closed at 14:00; opens Wed 25 Nov 10:00");
    // The last two days of November are a Sunday and a Monday.
    assert_eq!(state("2026-11-27T11:00"), "closed, not on Fridays, only Tue-Thu; opens Tue 1 Dec 10:00");
    assert_eq!(state("2026-11-30T11:00"), "closed, it is the end of the month; opens Tue 1 Dec 10:00");
    assert_eq!(state("2026-11-26T11:00"), "closed, it is Thanksgiving; opens Tue 1 Dec 10:00");
    assert_eq!(state("2027-03-31T11:00"), "closed, it is the end of the quarter; opens Thu 1 Apr 10:00");
}

#[test]
fn the_ends_of_months_and_quarters() {
    let date = |text: &str| text.parse::<NaiveDate>().unwrap();
    assert!(is_end_of_month(date("2028-02-29"), 1) && !is_end_of_month(date("2028-02-28"), 1));
    assert!(is_end_of_month(date("2026-12-30"), 2) && !is_end_of_month(date("2026-12-29"), 2));
    assert!(!is_end_of_month(date("2026-12-31"), 0) && !is_end_of_quarter(date("2026-12-31"), 0));
    assert!(is_end_of_quarter(date("2026-12-27"), 5) && !is_end_of_quarter(date("2026-12-26"), 5));
    assert!(!is_end_of_quarter(date("2026-11-30"), 5));
    assert!(is_end_of_month(date("2027-01-01"), 31));
}

#[test]
fn days_read_and_say_themselves() {
    let said = |text: &str| text.parse::<WeekDays>().map(|days| days.to_string());
    assert_eq!(said("Mon-Fri").unwrap(), "Mon-Fri");
    assert_eq!(said("monday, Wed").unwrap(), "Mon and Wed");
    assert_eq!(said("Fri-Mon").unwrap(), "Mon, Fri, Sat and Sun");
    assert_eq!(said("every day").unwrap(), "every day");
    assert_eq!(said("Mon-").unwrap_err().to_string(), "“Mon-” names no days; write Mon-Fri, or Mon, Wed, or every day");
    assert!(said("").is_err());
    for text in ["9:00", "24:01", "25:00", "09:60", "0900", "+9:00", ""] {
        assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
    }
    assert_eq!("24:00".parse::<TimeOfDay>().unwrap().minutes(), 1440);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_sentence() {
    #[track_caller]
    fn refused<T: serde::de::DeserializeOwned>(text: &str, sentence: &str) {
        let error = toml::from_str::<T>(text).err().expect("it was taken");
        assert!(error.message().contains(sentence), "{error}");
    }
    refused::<WorkingHours>(
        "days = 'Mon-Fri'\nfrom = '17:00'\nto = '09:00'",
        "17:00 to 09:00 ends before it begins; working hours and windows lie within one day",
    );
    refused::<QuietHours>("from = '22:00'\nto = '22:00'", "are either never or always");
    refused::<QuietHours>("from = '22:00'\nto = '07:00'\nzone = 'UTC'", "unknown field `zone`");
    refused::<Holidays>("days = [{ date = '2026-13-01', name = 'x' }]", "“2026-13-01” is no date; write 2026-12-25");
    refused::<Holidays>("days = [{ from = '2026-12-24', name = 'x' }]", "“x” needs either a date, or a from and a to");
    refused::<Holidays>("days = [{ date = '2026-12-24', name = ' ' }]", "the day off on 2026-12-24 has no name");
    refused::<Holidays>("days = [{ from = '2026-12-24', to = '2026-12-01', name = 'x' }]", "“x” ends before it begins");
    refused::<Holidays>("dates = []", "unknown field `dates`");
    refused::<Window>(
        "days = 'Tue'\nfrom = '10:00'\nto = '14:00'\nmonth_end_days = 40",
        "40 last days are more than a month has",
    );
}

#[test]
fn both_ways_of_writing_holidays_are_the_same() {
    let table: Holidays = toml::from_str("days = [{ date = '2026-12-25', name = 'Christmas Day' }]").unwrap();
    #[derive(Deserialize)]
    struct Policy {
        holidays: Holidays,
    }
    let list: Policy = toml::from_str("holidays = [{ date = '2026-12-25', name = 'Christmas Day' }]").unwrap();
    assert_eq!(table, list.holidays);
    assert_eq!(table.all().len(), 1);
}

#[test]
fn the_ends_of_all_calendars_are_no_trouble() {
    let team = team();
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let _ = calendar(&team).next_working_instant(now);
        let _ = quiet_until(&team.quiet_hours, CHICAGO, now);
        let _ = window_state(&team.production, &team.holidays, CHICAGO, now);
    }
}
