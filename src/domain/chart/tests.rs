//! A chart in every shape, and what must be true of each.

use chrono::TimeDelta;

use super::*;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_500_000, 0).unwrap_or_default() + TimeDelta::minutes(minutes)
}

fn panel(title: &str, unit: Unit, values: &[f64], bounds: &[(BoundKind, f64)]) -> Panel {
    let points = (0_i64..).zip(values).map(|(n, value)| (at(n), *value)).collect();
    Panel {
        title: title.to_owned(),
        unit,
        lines: vec![Line { name: String::new(), points, gap_s: 90 }],
        bounds: bounds.iter().map(|(kind, at)| Bound { kind: *kind, at: *at }).collect(),
        says: "now".to_owned(),
        empty: "no data".to_owned(),
    }
}

fn chart(panels: Vec<Panel>) -> Chart {
    Chart {
        title: "checkout, production".to_owned(),
        alt: "All well".to_owned(),
        from: at(0),
        to: at(60),
        zone: chrono_tz::America::Chicago,
        panels,
        marks: vec![Mark { at: at(20), label: "v42".to_owned() }],
    }
}

/// One of each: a spike over a bound, a gap, one point, nothing, and a count.
fn whole() -> Chart {
    let spiky: Vec<f64> = (0..60).map(|n| if n == 30 { 1.4 } else { 0.2 + f64::from(n % 7) * 0.03 }).collect();
    let gap: Vec<f64> = (0..60).map(|n| if (20..30).contains(&n) { f64::NAN } else { 62.0 }).collect();
    chart(vec![
        panel("P95 latency", Unit::Seconds, &spiky, &[(BoundKind::Warning, 0.5), (BoundKind::Critical, 1.0)]),
        panel("memory", Unit::Percent, &gap, &[(BoundKind::Warning, 70.0), (BoundKind::Critical, 85.0)]),
        panel("errors", Unit::Percent, &[0.0], &[(BoundKind::Warning, 1.0), (BoundKind::Critical, 5.0)]),
        panel("CPU", Unit::Percent, &[], &[]),
        panel("restarts", Unit::Count, &[0.0, 0.0, 1.0, 1.0, 0.0], &[]),
    ])
}

#[test]
fn a_chart_looks_as_it_did() {
    expect_test::expect_file!["whole.svg"].assert_eq(&svg(&whole()));
}

#[test]
fn a_gap_is_left_open_and_a_point_alone_is_seen() {
    let drawn = svg(&whole());
    assert_eq!(drawn.matches("<polyline").count(), 4, "one, two around the gap, one");
    assert_eq!(drawn.matches("<circle").count(), 1);
    assert_eq!(drawn.matches("no data").count(), 1);
    assert_eq!(drawn.matches("▲ v42").count(), 1);
}

#[test]
fn no_peak_is_lost_in_a_week_of_points() {
    let mut week = chart(Vec::new());
    week.to = at(7 * 24 * 60);
    let values: Vec<f64> = (0..7 * 24 * 60).map(|n| if n == 5_003 { 9.0 } else { 1.0 }).collect();
    week.panels = vec![panel("errors", Unit::Percent, &values, &[])];
    let drawn = svg(&week);
    let points = drawn.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    assert!(points.split(' ').count() < 4 * 563, "only what can be seen");
    let tops: Vec<f64> = points.split(' ').filter_map(|point| point.split_once(',')?.1.parse().ok()).collect();
    let highest = tops.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!(tops.iter().filter(|y| **y == highest).count(), 1, "the peak");
}

#[test]
fn whatever_is_drawn_is_whole_and_stays_inside() {
    let odd =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -1.0, 0.0, f64::MIN_POSITIVE, 1e-9, 1e300];
    for value in odd {
        for unit in [Unit::Seconds, Unit::Percent, Unit::Count] {
            let bounds = [(BoundKind::Warning, value), (BoundKind::Critical, 1.0)];
            let drawn = svg(&chart(vec![panel("<b>&\"\u{0}", unit, &[value, 1.0, value], &bounds)]));
            assert!(!drawn.contains("NaN") && !drawn.contains("inf\"") && !drawn.contains("<b>"), "{value}: {drawn}");
            assert!(drawn.len() < 20_000, "{value}");
            for place in drawn.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                for (x, y) in place.split(' ').filter_map(|point| point.split_once(',')) {
                    let (x, y): (f64, f64) = (x.parse().unwrap_or(-1.0), y.parse().unwrap_or(-1.0));
                    assert!((60.0..=520.0).contains(&x) && (70.0..=135.0).contains(&y), "{value}: {x},{y}");
                }
            }
        }
    }
    let mut none = chart(Vec::new());
    none.to = none.from;
    assert!(svg(&none).ends_with("</svg>\n"));
    none.panels = vec![panel("x", Unit::Count, &[1.0], &[]); 40];
    assert!(svg(&none).matches(">x</text>").count() == PANELS_MAX);
}

#[test]
fn amounts_are_short_and_say_their_unit() {
    for (value, unit, says) in [
        (0.412, Unit::Seconds, "412 ms"),
        (0.0004, Unit::Seconds, "0.4 ms"),
        (0.9999, Unit::Seconds, "1 s"),
        (1.5, Unit::Seconds, "1.5 s"),
        (90.0, Unit::Seconds, "90 s"),
        (600.0, Unit::Seconds, "10 min"),
        (1e9, Unit::Seconds, "11.6 k d"),
        (0.0, Unit::Seconds, "0 ms"),
        (0.25, Unit::Percent, "0.25 %"),
        (99.99, Unit::Percent, "100 %"),
        (1e-9, Unit::Percent, "<0.001 %"),
        (0.0, Unit::Percent, "0 %"),
        (12_345.0, Unit::Count, "12.3 k"),
        (1e40, Unit::Count, "1.0e40"),
        (f64::NAN, Unit::Count, "?"),
    ] {
        assert_eq!(amount(value, unit), says, "{value}");
    }
}

#[test]
fn ticks_stand_where_people_look_for_them() {
    assert_eq!(axis::scale(0.5, Unit::Seconds).1, [0.0, 0.2, 0.4, 0.6000000000000001]);
    assert_eq!(axis::scale(93.0, Unit::Percent).1, [0.0, 50.0, 100.0]);
    assert_eq!(axis::scale(0.2, Unit::Count).1, [0.0, 1.0]);
    let zone = chrono_tz::America::Chicago;
    let ticks = |from: &str, to: &str| -> Vec<String> {
        let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text}"));
        axis::moments(parse(from), parse(to), zone, 9).into_iter().map(|(_, words)| words).collect()
    };
    assert_eq!(
        ticks("2026-11-24T02:50:00Z", "2026-11-24T08:50:00Z"),
        ["21:00", "22:00", "23:00", "24 Nov", "01:00", "02:00"]
    );
    // The night that has an hour twice: full hours stay full hours.
    assert_eq!(
        ticks("2026-10-31T20:00:00Z", "2026-11-01T20:00:00Z"),
        ["15:00", "18:00", "21:00", "1 Nov", "03:00", "06:00", "09:00", "12:00"]
    );
    assert_eq!(ticks("2026-11-17T00:00:00Z", "2026-11-24T00:00:00Z").len(), 7, "a day each");
}

/// WCAG 2's contrast of two colours.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |hex: &str| {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or_default()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_word_and_line_stands_out_from_the_ground() {
    use super::draw::{CRITICAL, DIM, FRAME, GROUND, LINES, MARK, TARGET, TEXT, WARNING};
    for colour in [TEXT, DIM, TARGET, WARNING, CRITICAL, MARK].into_iter().chain(LINES) {
        assert!(contrast(colour, GROUND) >= 4.5, "{colour}: {}", contrast(colour, GROUND));
    }
    for ground in ["#ffffff", "#313338"] {
        assert!(contrast(GROUND, ground) >= 1.2 || contrast(FRAME, ground) >= 1.2, "its edge is seen on {ground}");
    }
}
