//! What lines are read as, when they run, and that an independent reading of the clock, minute by minute, says the same.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

const CHICAGO: Tz = chrono_tz::America::Chicago;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(line: &str) -> Schedule {
    Schedule::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The next runs on a zone's wall clock, with its distance from UTC.
#[track_caller]
fn runs(line: &str, zone: Tz, after: &str, expected: &[&str]) {
    let times = schedule(line).next_times(zone, utc(after), expected.len());
    let shown: Vec<String> =
        times.iter().map(|at| at.with_timezone(&zone).format("%a %d %H:%M %z").to_string()).collect();
    assert_eq!(shown, expected, "{line}");
}

#[track_caller]
fn refused(line: &str, sentence: &str) {
    assert_eq!(Schedule::parse(line).unwrap_err().to_string(), sentence);
}

#[test]
fn weekdays_count_from_sunday_at_zero_or_seven() {
    let after = "2026-11-24T12:00:00Z"; // A Tuesday.
    runs("0 9 * * 1", CHICAGO, after, &["Mon 30 09:00 -0600"]);
    runs("0 9 * * 0", CHICAGO, after, &["Sun 29 09:00 -0600"]);
    runs("0 9 * * 7", CHICAGO, after, &["Sun 29 09:00 -0600"]);
    runs("0 9 * * 5-7", CHICAGO, after, &["Fri 27 09:00 -0600", "Sat 28 09:00 -0600", "Sun 29 09:00 -0600"]);
    runs("0 9 * * Fri-mon", CHICAGO, "2026-11-27T23:00:00Z", &["Sat 28 09:00 -0600", "Sun 29 09:00 -0600"]);
}

#[test]
fn day_of_month_and_weekday_join_with_or_unless_one_is_a_star() {
    let after = "2026-11-24T12:00:00Z";
    runs("0 9 1,15 * Mon", CHICAGO, after, &["Mon 30 09:00 -0600", "Tue 01 09:00 -0600", "Mon 07 09:00 -0600"]);
    // crontab(5) looks for a star in front: every second day of the month that is a Monday.
    runs("0 9 */2 * Mon", CHICAGO, after, &["Mon 07 09:00 -0600", "Mon 21 09:00 -0600"]);
    runs("0 9 * * Mon", CHICAGO, after, &["Mon 30 09:00 -0600", "Mon 07 09:00 -0600"]);
    runs("0 9 1-31 * Mon", CHICAGO, after, &["Tue 24 09:00 -0600", "Wed 25 09:00 -0600"]);
}

#[test]
fn a_line_that_is_not_one_is_refused_with_what_to_write() {
    refused("", "the line is empty; write five fields: minute hour day month weekday, as in `0 9 * * Mon-Fri`");
    refused("0 9 * *", "4 fields instead of five: minute hour day month weekday, as in `0 9 * * Mon-Fri`");
    refused(
        "0 0 9 * * Mon",
        "six fields; seconds are not kept here, so leave the first one out: minute hour day month weekday",
    );
    refused("60 9 * * *", "`60` is no minute; write 0 to 59, lists (1,2), ranges (1-5) and steps (*/2)");
    refused("0 22-2 * * *", "`22-2` in the hour ends before it begins; write it as two ranges");
    refused("5/15 * * * *", "`5/15` in the minute: a step needs a range, so write 5-59/15");
    refused("*/0 * * * *", "`*/0` in the minute: a step is 1 to 59");
    refused("*/90 * * * *", "`*/90` in the minute: a step is 1 to 59");
    refused("@reboot", "@reboot is no time; a job runs by the calendar, not when something starts");
    refused(
        "@fortnightly",
        "`@fortnightly` is not known; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually",
    );
    for line in [
        "0 9 L * *",
        "0 9 ? * *",
        "0 9 * * 5#2",
        "0 9 15W * *",
        "+5 9 * * *",
        "1,,2 9 * * *",
        "-1 9 * * *",
        "0 9 0 * *",
    ] {
        assert!(matches!(Schedule::parse(line), Err(ScheduleError::Value { .. })), "{line}");
    }
    assert_eq!(Schedule::parse(&"1".repeat(201)), Err(ScheduleError::TooLong));
}

#[test]
fn lines_read_back_in_words() {
    for (line, words) in [
        ("0 9 * * *", "every day at 09:00"),
        ("0 9 * * Mon-Fri", "every weekday at 09:00"),
        ("30 9 * * Mon", "every Monday at 09:30"),
        ("0 9,17 * * 1,3,0", "at 09:00 and 17:00 on Mondays, Wednesdays and Sundays"),
        ("30 2 1,15 * Mon", "at 02:30 on the 1st and 15th, and on Mondays"),
        ("0 9 */10 * Mon", "at 09:00 on Mondays that are the 1st, 11th, 21st and 31st"),
        ("0 10 1 * *", "at 10:00 on the 1st"),
        ("0 0 1 1 *", "at 00:00 on the 1st of January"),
        ("0 9 * jun-aug *", "every day at 09:00 in June, July and August"),
        ("0 9 1-5,22,23 * *", "at 09:00 on the 1st to 5th, 22nd and 23rd"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0 * * * *", "every hour"),
        ("5,10 * * * *", "every hour at :05 and :10"),
        ("*/45 * * * *", "every hour at :00 and :45"),
        ("*/15 9-17 * * Mon-Fri", "every 15 minutes from 09:00 to 17:45 on weekdays"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
        ("0 */2 * * *", "every 2 hours from 00:00"),
        ("*/30 1,5,9 * * *", "every 30 minutes in the hours 01, 05 and 09"),
        ("* 3 * * *", "every minute from 03:00 to 03:59"),
        ("0,30 9 * * *", "every day at 09:00 and 09:30"),
        ("0 9 30 2 *", "at 09:00 on the 30th of February (never: there is no such day)"),
        ("@weekly", "every Sunday at 00:00"),
    ] {
        assert_eq!(schedule(line).in_words(), words, "{line}");
    }
}

// The clock in Chicago jumps from 02:00 to 03:00 on 2026-03-08 and goes back from 02:00 to 01:00 on 2026-11-01.

#[test]
fn a_time_that_does_not_exist_runs_at_the_next_that_does() {
    runs("30 2 * * *", CHICAGO, "2026-03-07T12:00:00Z", &["Sun 08 03:00 -0500", "Mon 09 02:30 -0500"]);
    // Several such times are one moment, and one run.
    runs(
        "0,30 2,3 * * *",
        CHICAGO,
        "2026-03-08T06:00:00Z",
        &["Sun 08 03:00 -0500", "Sun 08 03:30 -0500", "Mon 09 02:00 -0500"],
    );
}

#[test]
fn a_time_that_happens_twice_runs_the_first_time() {
    runs("30 1 * * *", CHICAGO, "2026-10-31T12:00:00Z", &["Sun 01 01:30 -0500", "Mon 02 01:30 -0600"]);
    // Asked between the two, it is not run again.
    runs("30 1 * * *", CHICAGO, "2026-11-01T07:10:00Z", &["Mon 02 01:30 -0600"]);
}

#[test]
fn a_line_that_repeats_keeps_its_pace_through_both_nights() {
    runs(
        "*/30 1-3 * * *",
        CHICAGO,
        "2026-11-01T05:00:00Z",
        &[
            "Sun 01 01:00 -0500",
            "Sun 01 01:30 -0500",
            "Sun 01 01:00 -0600",
            "Sun 01 01:30 -0600",
            "Sun 01 02:00 -0600",
            "Sun 01 02:30 -0600",
            "Sun 01 03:00 -0600",
            "Sun 01 03:30 -0600",
            "Mon 02 01:00 -0600",
        ],
    );
    runs(
        "*/30 1-3 * * *",
        CHICAGO,
        "2026-03-08T06:00:00Z",
        &["Sun 08 01:00 -0600", "Sun 08 01:30 -0600", "Sun 08 03:00 -0500", "Sun 08 03:30 -0500", "Mon 09 01:00 -0500"],
    );
    runs("15 * * * *", CHICAGO, "2026-03-08T07:00:00Z", &["Sun 08 01:15 -0600", "Sun 08 03:15 -0500"]);
    // What the jump would have swallowed runs when it would have come.
    runs("0 */2 * * *", CHICAGO, "2026-03-08T06:30:00Z", &["Sun 08 03:00 -0500", "Sun 08 04:00 -0500"]);
    runs(
        "*/20 2 * * *",
        CHICAGO,
        "2026-03-08T06:30:00Z",
        &["Sun 08 03:00 -0500", "Sun 08 03:20 -0500", "Sun 08 03:40 -0500"],
    );
}

#[test]
fn a_day_that_was_skipped_runs_at_its_end() {
    // Apia had no Friday 30 December 2011.
    let apia = chrono_tz::Pacific::Apia;
    runs("0 9 * * Fri", apia, "2011-12-29T20:00:00Z", &["Sat 31 00:00 +1400", "Fri 06 09:00 +1400"]);
    runs("0 9 * * *", apia, "2011-12-29T20:00:00Z", &["Sat 31 00:00 +1400", "Sat 31 09:00 +1400"]);
}

#[test]
fn a_day_that_never_comes_is_none() {
    assert_eq!(schedule("0 9 30 2 *").next_after(CHICAGO, utc("2026-01-01T00:00:00Z")), None);
    assert_eq!(
        schedule("0 9 30 2 *").missed(CHICAGO, utc("2026-01-01T00:00:00Z"), utc("2027-01-01T00:00:00Z")),
        Missed::default()
    );
    runs("0 9 29 2 *", CHICAGO, "2026-01-01T00:00:00Z", &["Tue 29 09:00 -0600"]);
}

#[test]
fn the_ends_of_all_calendars_are_no_trouble() {
    for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let _ = schedule("*/5 * * * *").next_times(CHICAGO, at, 2);
        let _ = local_words(at, CHICAGO);
        let _ = first_instant(CHICAGO, at.naive_utc());
    }
    assert_eq!(schedule("* * * * *").next_after(CHICAGO, utc("2150-01-01T00:00:00Z")), None);
}

#[test]
fn what_was_missed_is_counted_up_to_a_bound_and_the_latest_is_right() {
    let (last, now) = (utc("2026-11-20T15:00:00Z"), utc("2026-11-24T15:00:00Z"));
    let daily = schedule("0 9 * * *").missed(CHICAGO, last, now);
    assert_eq!(daily, Missed { count: 4, latest: Some(now) });
    let none = schedule("0 9 * * *").missed(CHICAGO, now, now + TimeDelta::hours(1));
    assert_eq!(none, Missed { count: 0, latest: None });
    let many = schedule("* * * * *").missed(CHICAGO, last, now + TimeDelta::seconds(30));
    assert_eq!(many, Missed { count: MISSED_COUNT_MAX, latest: Some(now) });
    // More than the bound, and a long time without any at the end.
    let bursts = schedule("* * * 1 *").missed(CHICAGO, utc("2026-01-01T06:00:00Z"), now);
    assert_eq!(bursts, Missed { count: MISSED_COUNT_MAX, latest: Some(utc("2026-02-01T05:59:00Z")) });
    let backwards = schedule("* * * * *").missed(CHICAGO, now, last);
    assert_eq!(backwards, Missed::default());
}

#[test]
fn spans_are_read_and_said() {
    for (seconds, words) in [
        (0, "0 s"),
        (12, "12 s"),
        (59, "59 s"),
        (60, "1 min"),
        (779, "12 min"),
        (3600, "1 h"),
        (3900, "1 h 05 min"),
        (86_399, "23 h 59 min"),
        (86_400 * 3, "3 d"),
        (86_400 * 3 + 7300, "3 d 2 h"),
        (-300, "-5 min"),
    ] {
        assert_eq!(minutes_words(TimeDelta::seconds(seconds)), words);
    }
    assert_eq!(parse_duration("15m"), Ok(TimeDelta::minutes(15)));
    assert_eq!(parse_duration(" 2h 30m "), Ok(TimeDelta::minutes(150)));
    assert_eq!(parse_duration("366d"), Ok(TimeDelta::days(366)));
    assert_eq!(parse_duration("367d").unwrap_err().to_string(), "“367d” is too long; at most 366 days.");
    assert!(parse_duration("18446744073709551615s").is_err());
    for text in ["", "15", "soon", "-5m"] {
        let sentence = parse_duration(text).unwrap_err().to_string();
        assert!(sentence.ends_with("write it as 15m, 2h or 1h 30m."), "{sentence}");
    }
}

#[test]
fn instants_are_said_on_the_wall_clock() {
    assert_eq!(local_words(utc("2026-11-24T08:10:59Z"), CHICAGO), "Tue 24 Nov 02:10");
    assert_eq!(local_words(utc("2026-11-01T06:30:00Z"), CHICAGO), "Sun 1 Nov 01:30 CDT");
    assert_eq!(local_words(utc("2026-11-01T07:30:00Z"), CHICAGO), "Sun 1 Nov 01:30 CST");
}

#[test]
fn a_policy_file_reads_a_line() {
    #[derive(serde::Deserialize)]
    struct Job {
        cron: Schedule,
    }
    let job: Job = toml::from_str("cron = ' 0 9 * * Mon '").unwrap();
    assert_eq!(job.cron.to_string(), "0 9 * * Mon");
    let error = toml::from_str::<Job>("cron = '0 9 * *'").err().unwrap();
    assert!(error.to_string().contains("4 fields instead of five"), "{error}");
}

// ---- the same, read off the clock minute by minute

/// A field as it is written, and the values that it means.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    values: BTreeSet<u32>,
}

fn field(low: u32, high: u32) -> impl Strategy<Value = Written> {
    let all = move |step: u32| (low..=high).step_by(step as usize).collect::<BTreeSet<u32>>();
    prop_oneof![
        2 => Just(Written { text: "*".to_owned(), values: all(1) }),
        1 => (2..=(high / 2).max(2)).prop_map(move |step| Written { text: format!("*/{step}"), values: all(step) }),
        3 => prop::collection::btree_set(low..=high, 1..4).prop_map(|values| {
            let text: Vec<String> = values.iter().map(u32::to_string).collect();
            Written { text: text.join(","), values }
        }),
        1 => (low..=high, low..=high).prop_map(|(a, b)| Written {
            text: format!("{}-{}", a.min(b), a.max(b)),
            values: (a.min(b)..=a.max(b)).collect(),
        }),
    ]
}

#[derive(Debug, Clone)]
struct Fields([Written; 5]);

impl Fields {
    fn text(&self) -> String {
        self.0.each_ref().map(|field| field.text.as_str()).join(" ")
    }

    fn matches(&self, at: NaiveDateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.0;
        let right_day = day.values.contains(&at.day());
        let right_weekday = weekday.values.contains(&at.weekday().num_days_from_sunday());
        let either = !day.text.starts_with('*') && !weekday.text.starts_with('*');
        minute.values.contains(&at.minute())
            && hour.values.contains(&at.hour())
            && month.values.contains(&at.month())
            && if either { right_day || right_weekday } else { right_day && right_weekday }
    }

    fn repeats(&self) -> bool {
        let [minute, hour, ..] = &self.0;
        let goes_on = |field: &Written, all| field.text.starts_with('*') || field.values.len() == all;
        goes_on(minute, 60) || goes_on(hour, 24)
    }
}

fn fields() -> impl Strategy<Value = Fields> {
    // Months stay open: the night under test has to be in them.
    let month = Just(Written { text: "*".to_owned(), values: (1..=12).collect() });
    // Nights lie between 0 and 4; most lines should meet them.
    let hour = prop_oneof![field(0, 23), field(0, 4)];
    (field(0, 59), hour, field(1, 31), month, field(0, 6)).prop_map(|(a, b, c, d, e)| Fields([a, b, c, d, e])).prop_map(
        |mut fields| {
            // `*` and `*/n` always span the whole hour field.
            let hour = &mut fields.0[1];
            if let Some(step) = hour.text.strip_prefix('*') {
                let step: usize = step.strip_prefix('/').map_or(1, |n| n.parse().unwrap());
                hour.values = (0..24).step_by(step).collect();
            }
            fields
        },
    )
}

/// The minutes at which a clock on the wall sets the line off, by walking through all of them.
///
/// A line that does not repeat goes off when the clock first shows a time of its or has passed it: it listens to the greatest
/// time shown so far. One that repeats listens to the clock itself, and after a jump to the clock that did not jump, for as
/// long as the jump was.
fn walked(fields: &Fields, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    let wall = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    // More than a day ahead, so that the greatest time shown is right when the walk begins.
    let mut at = from - TimeDelta::hours(26);
    let mut greatest = wall(at);
    let mut jumped: Option<(TimeDelta, DateTime<Utc>)> = None;
    let mut found = Vec::new();
    let mut before = wall(at - minute);
    while at <= to {
        let shown = wall(at);
        if shown - before > minute {
            let by = shown - before - minute;
            jumped = Some((by, at + by));
        }
        let mut off = false;
        if fields.repeats() {
            let unjumped = jumped.filter(|(_, until)| at < *until).map(|(by, _)| shown - by);
            off = fields.matches(shown) || unjumped.is_some_and(|time| fields.matches(time));
        } else {
            while greatest < shown {
                greatest += minute;
                off |= fields.matches(greatest);
            }
        }
        if off && at > from {
            found.push(at);
        }
        before = shown;
        at += minute;
    }
    found
}

/// Lord Howe changes by half an hour, Casablanca around Ramadan, Havana at midnight.
const ZONES: [Tz; 5] = [
    chrono_tz::America::Chicago,
    chrono_tz::Europe::Berlin,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Africa::Casablanca,
    chrono_tz::America::Havana,
];

/// Each night of 2026 and 2027 on which a zone's clock changes, and the days that Apia and
/// Kwajalein skipped whole.
fn nights() -> Vec<(Tz, DateTime<Utc>)> {
    let mut nights = vec![
        (chrono_tz::Pacific::Apia, utc("2011-12-30T10:00:00Z")),
        (chrono_tz::Pacific::Kwajalein, utc("1993-08-21T12:00:00Z")),
    ];
    for zone in ZONES {
        let mut at = utc("2026-01-01T00:00:00Z");
        while at.year() < 2028 {
            let next = at + TimeDelta::minutes(30);
            if local::offset(zone, at) != local::offset(zone, next) {
                nights.push((zone, next));
            }
            at = next;
        }
    }
    nights
}

#[test]
fn every_zone_has_its_nights() {
    let all = nights();
    assert_eq!(all.len(), 2 + 5 * 4, "{all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_doubled_around_an_odd_night(
        fields in fields(),
        (zone, night) in prop::sample::select(nights()),
        early_minutes in 0i64..1800,
    ) {
        let from = night - TimeDelta::minutes(early_minutes);
        let to = night + TimeDelta::hours(30);
        let line = schedule(&fields.text());
        let expected = walked(&fields, zone, from, to);
        // One iterator …
        let told: Vec<_> = line.times(zone, from).take_while(|at| *at <= to).collect();
        prop_assert_eq!(&told, &expected, "{} in {} from {}", fields.text(), zone, from);
        // … agrees with asking anew from any instant between two runs.
        let mut at = from;
        while at < to {
            let next = line.next_after(zone, at).filter(|next| *next <= to);
            prop_assert_eq!(next, expected.iter().copied().find(|run| *run > at), "after {}", at);
            at += TimeDelta::seconds(4741);
        }
        prop_assert!(told.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(!line.in_words().is_empty());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
        if let Ok(line) = Schedule::parse(&text) {
            prop_assert!(!line.in_words().is_empty());
        }
        let _ = parse_duration(&text);
    }

    #[test]
    fn what_looks_like_a_line_is_read_or_refused(text in "[-0-9*/,A-Za-z]{1,6}( [-0-9*/,]{1,5}){3} [-0-7*/,A-Za-z]{1,6}") {
        if let Ok(line) = Schedule::parse(&text) {
            prop_assert!(!line.in_words().is_empty());
            let _ = line.next_after(CHICAGO, utc("2026-01-01T00:00:00Z"));
        }
    }
}

#[test]
fn a_daily_line_runs_once_a_day_for_two_years() {
    for zone in ZONES {
        for line in ["30 2 * * *", "15 1 * * *", "0 0 * * *"] {
            let (from, to) = (first_instant(zone, day("2026-01-01")), first_instant(zone, day("2028-01-01")));
            let just_before = from - TimeDelta::seconds(1);
            let runs: Vec<_> = schedule(line).times(zone, just_before).take_while(|at| *at < to).collect();
            let dates: BTreeSet<_> = runs.iter().map(|at| local(zone, *at).date()).collect();
            assert_eq!((runs.len(), dates.len()), (730, 730), "{line} in {zone}");
        }
    }
}

#[test]
fn a_line_of_every_minute_runs_each_real_minute_of_an_odd_night() {
    for (zone, night) in nights() {
        let from = night - TimeDelta::hours(26);
        let expected: Vec<_> = (1..=52 * 60).map(|n| from + TimeDelta::minutes(n)).collect();
        assert_eq!(schedule("* * * * *").next_times(zone, from, expected.len()), expected, "{zone}");
    }
}

fn day(text: &str) -> NaiveDateTime {
    text.parse::<chrono::NaiveDate>().unwrap().into()
}

#[test]
fn local_times_become_instants_in_order() {
    for (zone, night) in nights() {
        let start = local(zone, night - TimeDelta::hours(30));
        let instants: Vec<_> = (0..60 * 60).map(|n| first_instant(zone, start + TimeDelta::minutes(n))).collect();
        assert!(instants.windows(2).all(|pair| pair[0] <= pair[1]), "{zone}");
        for (n, at) in instants.iter().enumerate() {
            assert!(zone.from_utc_datetime(&at.naive_utc()).naive_local() >= start + TimeDelta::minutes(n as i64));
        }
    }
}
