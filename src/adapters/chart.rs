//! A chart's SVG made a picture: PNG, with the one face that is shipped.
//!
//! Owns the size of a picture and its limits. Reads no file and no system font; the SVG is our own and holds nothing from elsewhere
//! but escaped words.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Source};
use resvg::usvg::{Options, Tree};

use crate::adapters::memory;
use crate::domain::chart::{Chart, svg};

/// Pixels of a picture for one unit of the SVG: phones have fine screens.
const ZOOM: f32 = 2.0;
/// The largest picture, in pixels of either side.
const SIDE_PX_MAX: f32 = 4_096.0;

/// The picture of a chart, as PNG.
///
/// # Errors
/// A sentence, when it cannot be drawn; whoever shows it then says the words alone.
pub fn png(chart: &Chart) -> Result<Vec<u8>, String> {
    static FACES: OnceLock<Arc<Database>> = OnceLock::new();
    let faces = FACES.get_or_init(|| {
        let mut faces = Database::new();
        faces.load_font_source(Source::Binary(Arc::new(dejavu::sans_mono::regular())));
        faces.set_monospace_family("DejaVu Sans Mono");
        Arc::new(faces)
    });
    let options = Options { fontdb: Arc::clone(faces), ..Options::default() };
    let tree = Tree::from_str(&svg(chart), &options).map_err(|error| format!("the chart cannot be read: {error}"))?;
    let (width, height) = (tree.size().width() * ZOOM, tree.size().height() * ZOOM);
    if width > SIDE_PX_MAX || height > SIDE_PX_MAX {
        return Err(format!("a picture of {width} × {height} pixels is too large"));
    }
    let mut picture =
        Pixmap::new(width.ceil() as u32, height.ceil() as u32).ok_or("a picture of no size cannot be drawn")?;
    resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut picture.as_mut());
    let packed = picture.encode_png().map_err(|error| format!("the picture cannot be packed: {error}"));
    drop((picture, tree));
    memory::give_back();
    packed
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::domain::chart::{Bound, BoundKind, Line, Mark, PANELS_MAX, Panel, Unit};

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_500_000, 0).unwrap_or_default() + TimeDelta::minutes(minutes)
    }

    fn panel(title: &str, unit: Unit, points: Vec<(DateTime<Utc>, f64)>, says: &str, bounds: &[f64]) -> Panel {
        let kinds = [BoundKind::Warning, BoundKind::Critical];
        Panel {
            title: title.to_owned(),
            unit,
            lines: vec![Line { name: String::new(), points, gap_s: 450 }],
            bounds: kinds.into_iter().zip(bounds).map(|(kind, at)| Bound { kind, at: *at }).collect(),
            says: says.to_owned(),
            empty: "no data in this time".to_owned(),
        }
    }

    fn chart(minutes: i64, panels: Vec<Panel>, marks: &[(i64, &str)]) -> Chart {
        Chart {
            title: "checkout, production".to_owned(),
            alt: "Figures".to_owned(),
            from: at(0),
            to: at(minutes),
            zone: chrono_tz::America::Chicago,
            panels,
            marks: marks.iter().map(|(then, label)| Mark { at: at(*then), label: (*label).to_owned() }).collect(),
        }
    }

    /// `WATCHBELL_PICTURES=folder` leaves them there, to be looked at.
    fn keep(name: &str, picture: &[u8]) {
        if let Some(folder) = std::env::var_os("WATCHBELL_PICTURES") {
            let path = std::path::Path::new(&folder).join(name);
            std::fs::write(path, picture).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn a_chart_becomes_a_picture_with_its_words_in_it() {
        let wave = |n: i64, middle: f64, swing: f64| middle + swing * ((n % 97) as f64 / 15.0).sin();
        let fine = |minutes: i64, step: i64, value: &dyn Fn(i64) -> f64| -> Vec<(DateTime<Utc>, f64)> {
            (0..minutes / step).map(|n| (at(n * step), value(n * step))).collect()
        };
        let spiky = fine(360, 1, &|n| if (200..206).contains(&n) { 1.4 } else { wave(n, 0.3, 0.05) });
        let gap = fine(360, 1, &|n| if (100..160).contains(&n) { f64::NAN } else { wave(n, 62.0, 3.0) });
        let six_hours = chart(
            360,
            vec![
                panel("P95 latency", Unit::Seconds, spiky, "now 310 ms ✓ under 500 ms", &[0.5, 1.0]),
                panel("error rate", Unit::Percent, fine(360, 1, &|_| 0.0), "now 0 % ✓ under 1 %", &[1.0, 5.0]),
                panel("memory, fullest machine", Unit::Percent, gap, "now 64 % ✓ under 70 %", &[70.0, 85.0]),
                panel("CPU, busiest machine", Unit::Percent, Vec::new(), "", &[]),
                panel("machines that ended with an error", Unit::Count, vec![(at(180), 1.0)], "now 1 ⚠", &[]),
            ],
            &[(40, "v41"), (52, "v42"), (195, "v43"), (350, "v44")],
        );
        let week = 7 * 24 * 60;
        let seven_days = chart(
            week,
            vec![
                panel(
                    "P95 latency",
                    Unit::Seconds,
                    fine(week, 5, &|n| wave(n / 7, 0.8, 0.7)),
                    "now 1.2 s ✗ over 1 s",
                    &[0.5, 1.0],
                ),
                panel(
                    "error rate",
                    Unit::Percent,
                    fine(week, 5, &|n| if n % 1_300 == 0 { 30.0 } else { 0.1 }),
                    "now 0.1 % ✓",
                    &[1.0, 5.0],
                ),
                panel("requests", Unit::Count, fine(week, 5, &|n| wave(n, 3e9, 2e9)), "now 4.1 G", &[]),
            ],
            &[(1_000, "v41"), (1_100, "v42"), (1_200, "v43"), (9_000, "v44")],
        );
        let nothing = Panel {
            empty: "not measured: add FLY_READ_TOKEN".to_owned(),
            ..panel("memory", Unit::Percent, Vec::new(), "", &[70.0, 85.0])
        };
        let empty = chart(60, vec![nothing], &[]);
        for (name, chart) in [("six-hours.png", six_hours), ("seven-days.png", seven_days), ("empty.png", empty)] {
            let picture = png(&chart).unwrap_or_else(|error| panic!("{error}"));
            keep(name, &picture);
            assert!(picture.starts_with(b"\x89PNG") && picture.len() < 400_000, "{name}: {} bytes", picture.len());
            // Without its face a picture would be without words, and smaller.
            let mute = Chart { title: String::new(), ..chart };
            assert!(png(&mute).is_ok_and(|mute| mute.len() < picture.len()), "{name}");
        }
        let most = chart(60, vec![panel("x", Unit::Count, vec![(at(1), 1.0)], "", &[]); PANELS_MAX], &[]);
        assert!(png(&most).is_ok());
    }
}
