//! What a picture costs: the SVG of a chart of seven days, and the PNG that is made of it.
//!
//! `cargo bench --bench chart`. Five panels, each as many points as Prometheus tells in one answer at most, and as many as
//! `/metrics` asks for. Prints; asserts nothing.

use std::hint::black_box;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use watchbell::adapters::chart::png;
use watchbell::domain::chart::{Bound, BoundKind, Chart, Line, Mark, Panel, Unit, svg};
use watchbell::domain::metrics::{POINTS_MAX, step};

const ROUNDS: usize = 15;
const DAYS: i64 = 7;

fn main() {
    println!("seven days, five panels (median of {ROUNDS})");
    println!("{:>8} {:>8} {:>10} {:>10} {:>10} {:>10}", "step s", "points", "SVG ms", "SVG KB", "PNG ms", "PNG KB");
    for points_max in [POINTS_MAX, 2_100] {
        let step = step(TimeDelta::days(DAYS), TimeDelta::seconds(15), points_max);
        let chart = chart(step);
        let points = chart.panels.first().map_or(0, |panel| panel.lines.iter().map(|line| line.points.len()).sum());
        let (text, svg_ms) = timed(|| svg(&chart));
        let (picture, png_ms) = timed(|| png(&chart).expect("it is drawn"));
        println!(
            "{:>8} {points:>8} {svg_ms:>10.1} {:>10} {png_ms:>10.1} {:>10}",
            step.num_seconds(),
            text.len() / 1_000,
            picture.len() / 1_000
        );
    }
}

/// What it makes, and the median of what it takes.
fn timed<T>(make: impl Fn() -> T) -> (T, f64) {
    let mut took: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(make());
            began.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    (make(), took[ROUNDS / 2])
}

/// Waves of the length of a day with noise on them, a spike now and then, and a night without data.
fn chart(step: TimeDelta) -> Chart {
    let to = DateTime::<Utc>::from_timestamp(1_795_500_000, 0).expect("a moment");
    let from = to - TimeDelta::days(DAYS);
    let points = |middle: f64, swing: f64, spike: f64| -> Vec<(DateTime<Utc>, f64)> {
        let count = TimeDelta::days(DAYS).num_seconds() / step.num_seconds();
        let value = |n: i64| {
            let hours = (step.num_seconds() * n) as f64 / 3_600.0;
            let noise = ((n * 7_919) % 101) as f64 / 101.0;
            let value = middle + swing * (hours / 3.8).sin() + swing * 0.4 * noise;
            if n % 997 == 0 { spike } else { value }
        };
        let is_there = |n: &i64| !(60..70).contains(&(step.num_seconds() * n / 3_600));
        (0..count).filter(is_there).map(|n| (from + step * i32::try_from(n).unwrap_or(0), value(n))).collect()
    };
    let panel = |title: &str, unit: Unit, points: Vec<(DateTime<Utc>, f64)>, bounds: [f64; 2]| Panel {
        title: title.to_owned(),
        unit,
        lines: vec![Line { name: String::new(), points, gap_s: step.num_seconds() * 3 / 2 }],
        bounds: vec![
            Bound { kind: BoundKind::Warning, at: bounds[0] },
            Bound { kind: BoundKind::Critical, at: bounds[1] },
        ],
        says: "now 310 ms ✓ under 500 ms".to_owned(),
        empty: "no data".to_owned(),
    };
    Chart {
        title: "checkout, production".to_owned(),
        alt: "Seven days".to_owned(),
        from,
        to,
        zone: chrono_tz::America::Chicago,
        panels: vec![
            panel("P95 latency", Unit::Seconds, points(0.3, 0.1, 1.4), [0.5, 1.0]),
            panel("error rate", Unit::Percent, points(0.3, 0.2, 7.0), [1.0, 5.0]),
            panel("memory", Unit::Percent, points(60.0, 8.0, 90.0), [70.0, 85.0]),
            panel("CPU", Unit::Percent, points(30.0, 20.0, 95.0), [70.0, 90.0]),
            panel("restarts", Unit::Count, points(0.0, 0.0, 1.0), [1.0, 3.0]),
        ],
        marks: (1..6).map(|n| Mark { at: from + TimeDelta::hours(n * 27), label: format!("v{}", 40 + n) }).collect(),
    }
}
