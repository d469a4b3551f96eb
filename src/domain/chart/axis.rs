//! Where an axis has its ticks, and how an amount is written.

use chrono::{DateTime, Datelike as _, Offset as _, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;

use super::Unit;

/// The top of a scale that holds `most`, and its ticks from zero on.
pub(super) fn scale(most: f64, unit: Unit) -> (f64, Vec<f64>) {
    /// Ticks of a panel, zero left out.
    const TICKS: f64 = 3.0;
    let least = if unit == Unit::Count { 1.0 } else { f64::MIN_POSITIVE };
    let most = if most.is_finite() && most > 0.0 { most.min(f64::MAX / 1e3) } else { 1.0 };
    let raw = most / TICKS;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|nice| nice * power).find(|step| *step >= raw * 0.999);
    let mut step = step.unwrap_or(10.0 * power).max(least);
    if unit == Unit::Count {
        step = step.ceil();
    }
    if unit == Unit::Percent && most <= 100.0 && step > 40.0 {
        step = 50.0;
    }
    let mut ticks = vec![0.0];
    // A handful at most: the step is at least a third of what has to be held, or one.
    for n in 1..=4_u8 {
        if let Some(last) = ticks.last()
            && *last < most * 0.999
        {
            ticks.push(f64::from(n) * step);
        }
    }
    (ticks.last().copied().unwrap_or(1.0), ticks)
}

/// An amount as people write it: `412 ms`, `1.5 s`, `0.4 %`, `12 k`.
pub fn amount(value: f64, unit: Unit) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    match unit {
        Unit::Percent => format!("{} %", short(value)),
        Unit::Count => large(value),
        Unit::Seconds => match value.abs() {
            0.0 => "0 ms".to_owned(),
            at if at < 0.9995 => format!("{} ms", short(value * 1_000.0)),
            at if at < 120.0 => format!("{} s", short(value)),
            at if at < 7_200.0 => format!("{} min", short(value / 60.0)),
            at if at < 172_800.0 => format!("{} h", short(value / 3_600.0)),
            _ => format!("{} d", large(value / 86_400.0)),
        },
    }
}

fn large(value: f64) -> String {
    let steps = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(step, _)| value.abs() >= *step) {
        Some((step, _)) if value.abs() / step >= 1e4 => format!("{value:.1e}"),
        Some((step, letter)) => format!("{} {letter}", short(value / step)),
        None => short(value),
    }
}

/// At most three digits that say something, without zeros at the end.
fn short(value: f64) -> String {
    let digits: usize = match value.abs() {
        at if at >= 99.95 => 0,
        at if at >= 9.995 => 1,
        at if at >= 0.995 || at == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    match text {
        "-0" => "0".to_owned(),
        "0" if value != 0.0 => "<0.001".to_owned(),
        text => text.to_owned(),
    }
}

/// The moments of an axis that have a tick, with the words under it: hours on the full, days at midnight, in the zone.
pub(super) fn moments(from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz, most: usize) -> Vec<(DateTime<Utc>, String)> {
    const STEPS_MIN: [i64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 43_200];
    let span_min = (to - from).num_minutes().max(1);
    let most = i64::try_from(most.max(2)).unwrap_or(2);
    let step = STEPS_MIN.into_iter().find(|step| span_min / step < most).unwrap_or(span_min / most + 1) * 60;
    let local = |at: DateTime<Utc>| {
        at.timestamp() + i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
    };
    let mut found = Vec::new();
    let mut at = from - TimeDelta::seconds(local(from).rem_euclid(step));
    while at <= to && found.len() <= 4 * usize::try_from(most).unwrap_or(2) {
        if at >= from {
            found.push((at, words(at, zone, step)));
        }
        // The night that loses or repeats an hour moves the full hours.
        let next = at + TimeDelta::seconds(step);
        let off = local(next).rem_euclid(step);
        at = next + TimeDelta::seconds(if off > step / 2 { step - off } else { -off });
        if at <= next - TimeDelta::seconds(step) {
            at = next;
        }
    }
    found
}

fn words(at: DateTime<Utc>, zone: Tz, step_s: i64) -> String {
    let local = at.with_timezone(&zone);
    if step_s >= 86_400 || (local.hour(), local.minute()) == (0, 0) {
        day(at, zone)
    } else {
        format!("{:02}:{:02}", local.hour(), local.minute())
    }
}

fn day(at: DateTime<Utc>, zone: Tz) -> String {
    let local = at.with_timezone(&zone);
    format!("{} {}", local.day(), local.format("%b"))
}

/// "24 Nov 13:00 to 19:00 CST", "17 Nov 13:00 to 24 Nov 13:00 CST".
pub(super) fn span(from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz) -> String {
    let clock = |at: DateTime<Utc>| at.with_timezone(&zone).format("%H:%M").to_string();
    let (first, last) = (day(from, zone), day(to, zone));
    let last = if first == last { String::new() } else { format!("{last} ") };
    format!("{first} {} to {last}{} {}", clock(from), clock(to), to.with_timezone(&zone).format("%Z"))
}
