//! A chart's SVG.
//!
//! Stands on a ground of its own, so that it reads the same in a dark and in a light chat. The colours are Okabe and Ito's, which
//! differ for every kind of eye; and nothing is said by colour alone: each bound has its own dashes and its name, each line its
//! name, each mark its label. The face is a fixed-width one, so every text's width is known.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::axis::{amount, moments, scale, span};
use super::{Bound, BoundKind, Chart, LINES_MAX, Line, PANELS_MAX, Panel};

/// Width of the whole, in the SVG's units. A chat shows a picture in some 550 by 350 pixels, a phone in less: five panels are so high
/// and so wide that their words can still be read then.
const WIDTH: f64 = 600.0;
/// Where the plots begin and end.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 514.0;
/// The headline's height, and that of the labels of marks under it.
const HEAD: f64 = 34.0;
const LABELS: f64 = 20.0;
/// A panel's title, its plot, and the space below.
const PANEL_TITLE: f64 = 24.0;
const PLOT: f64 = 50.0;
const PANEL_GAP: f64 = 8.0;
/// Under the last panel: hours.
const FOOT: f64 = 26.0;
/// The size of most words, and of titles.
const SIZE: f64 = 12.0;
const TITLE_SIZE: f64 = 13.0;
/// The width of one character at a size of 1.
const CHAR: f64 = 0.602;

pub(super) const GROUND: &str = "#1b1e24";
pub(super) const FRAME: &str = "#5b6270";
pub(super) const GRID: &str = "#333842";
pub(super) const TEXT: &str = "#f2f4f8";
pub(super) const DIM: &str = "#b4bac6";
/// Lines, in order.
pub(super) const LINES: [&str; LINES_MAX] = ["#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#e69f00", "#ffffff"];
/// How each line after the first is dashed.
const DASHES: [&str; LINES_MAX] = ["", "7 3", "2 3", "10 3 2 3", "5 5", "1 2"];
pub(super) const TARGET: &str = "#2fbf91";
pub(super) const WARNING: &str = "#e69f00";
pub(super) const CRITICAL: &str = "#f0682a";
pub(super) const MARK: &str = "#cc79a7";

/// A piece of a line without a gap: where from the left, and how much.
type Run = Vec<(f64, f64)>;

/// The chart as SVG.
pub fn svg(chart: &Chart) -> String {
    let panels: Vec<&Panel> = chart.panels.iter().take(PANELS_MAX).collect();
    let count = f64::from(u8::try_from(panels.len()).unwrap_or(u8::MAX));
    let shown = |mark: &&super::Mark| mark.at >= chart.from && mark.at <= chart.to;
    let head = if chart.marks.iter().any(|mark| shown(&mark)) { HEAD + LABELS } else { HEAD };
    let height = head + count * (PANEL_TITLE + PLOT + PANEL_GAP) + FOOT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"DejaVu Sans Mono, monospace\" font-size=\"{SIZE}\">\n<title>{}</title>\n",
        escape(&chart.alt)
    );
    let _ = writeln!(
        out,
        "<rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"{GROUND}\" stroke=\"{FRAME}\"/>",
        WIDTH - 1.0,
        height - 1.0
    );
    let range = span(chart.from, chart.to, chart.zone);
    let room = WIDTH - 32.0 - width(&range, SIZE) - 16.0;
    text(&mut out, (16.0, 23.0), "start", 14.0, TEXT, &cut(&chart.title, room, 14.0));
    text(&mut out, (WIDTH - 16.0, 23.0), "end", SIZE, DIM, &range);
    let x = |at: DateTime<Utc>| {
        let whole = ((chart.to - chart.from).num_milliseconds() as f64).max(1.0);
        LEFT + (RIGHT - LEFT) * ((at - chart.from).num_milliseconds() as f64 / whole)
    };
    let ticks = moments(chart.from, chart.to, chart.zone, 8);
    let marks: Vec<(f64, &str)> =
        (chart.marks.iter()).filter(shown).map(|mark| (x(mark.at), mark.label.as_str())).collect();
    for (n, panel) in (0_u8..).zip(&panels) {
        let top = head + f64::from(n) * (PANEL_TITLE + PLOT + PANEL_GAP) + PANEL_TITLE;
        for (at, _) in &ticks {
            line(&mut out, (x(*at), top), (x(*at), top + PLOT), &format!("stroke=\"{GRID}\""));
        }
        for (at, _) in &marks {
            line(
                &mut out,
                (*at, top),
                (*at, top + PLOT),
                &format!("stroke=\"{MARK}\" stroke-width=\"1.5\" stroke-dasharray=\"2 2\""),
            );
        }
        draw_panel(&mut out, panel, top, &x);
    }
    let bottom = height - FOOT - PANEL_GAP + 15.0;
    for (at, words) in &ticks {
        text(&mut out, (x(*at), bottom), "middle", SIZE, DIM, words);
    }
    labels(&mut out, &marks);
    out.push_str("</svg>\n");
    out
}

/// The labels of marks over the first panel; those too close to each other share one, which says first and last.
fn labels(out: &mut String, marks: &[(f64, &str)]) {
    let y = HEAD + LABELS - 4.0;
    if !marks.is_empty() {
        text(out, (16.0, y), "start", SIZE, DIM, "deploys");
    }
    let mut groups: Vec<(f64, f64, String, String)> = Vec::new();
    for (at, label) in marks {
        let label = cut(label, 90.0, SIZE);
        match groups.last_mut() {
            Some((_, last, first, end)) if at - *last < width(first, SIZE) + width(&label, SIZE) + 14.0 => {
                (*last, *end) = (*at, label);
            }
            _ => groups.push((*at, *at, label.clone(), label)),
        }
    }
    for (from, to, first, last) in groups {
        let words = if from == to { first } else { format!("{first}…{last}") };
        let half = width(&words, SIZE) / 2.0 + 8.0;
        let middle = ((from + to) / 2.0).clamp(LEFT + 10.0 + half, (WIDTH - 16.0 - half).max(LEFT + 10.0 + half));
        text(out, (middle, y), "middle", SIZE, MARK, &format!("▲ {words}"));
    }
}

fn draw_panel(out: &mut String, panel: &Panel, top: f64, x: &dyn Fn(DateTime<Utc>) -> f64) {
    let lines: Vec<(&Line, Vec<Run>)> = panel.lines.iter().take(LINES_MAX).map(|line| (line, runs(line, x))).collect();
    let is_empty = lines.iter().all(|(_, runs)| runs.is_empty());
    let says = if is_empty { "" } else { panel.says.as_str() };
    let says = cut(says, 300.0, SIZE);
    let room = WIDTH - 32.0 - width(&says, SIZE) - 12.0;
    text(out, (16.0, top - 10.0), "start", TITLE_SIZE, TEXT, &cut(&panel.title, room, TITLE_SIZE));
    text(out, (WIDTH - 16.0, top - 10.0), "end", SIZE, DIM, &says);

    let most = lines.iter().flat_map(|(_, runs)| runs.iter().flatten()).map(|(_, value)| *value).fold(0.0, f64::max);
    let (ceiling, ticks) = scale(holds(most, &panel.bounds), panel.unit);
    let y = |value: f64| top + PLOT * (1.0 - (value / ceiling).clamp(0.0, 1.0));
    for tick in &ticks {
        line(out, (LEFT, y(*tick)), (RIGHT, y(*tick)), &format!("stroke=\"{GRID}\""));
        if !is_empty || !panel.bounds.is_empty() {
            text(out, (LEFT - 6.0, y(*tick) + 4.0), "end", SIZE, DIM, &amount(*tick, panel.unit));
        }
    }
    bounds(out, panel, ceiling, &y, top);
    for (n, (one, runs)) in lines.iter().enumerate() {
        let (colour, dash) = (LINES[n % LINES_MAX], DASHES[n % LINES_MAX]);
        for run in runs {
            draw_run(out, &thin(run), &y, colour, dash);
        }
        if let (false, Some((at, value))) = (one.name.is_empty(), runs.last().and_then(|run| run.last())) {
            let anchor = if *at > (LEFT + RIGHT) / 2.0 { ("end", -4.0) } else { ("start", 4.0) };
            text(
                out,
                (at + anchor.1, (y(*value) - 4.0).max(top + 9.0)),
                anchor.0,
                10.0,
                colour,
                &cut(&one.name, 160.0, 10.0),
            );
        }
    }
    if is_empty {
        let words = cut(&panel.empty, RIGHT - LEFT - 24.0, 12.0);
        let half = width(&words, 12.0) / 2.0 + 8.0;
        let middle = (LEFT + RIGHT) / 2.0;
        let _ = writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"20\" fill=\"{GROUND}\"/>",
            round(middle - half),
            round(top + PLOT / 2.0 - 14.0),
            round(2.0 * half)
        );
        text(out, (middle, top + PLOT / 2.0), "middle", 12.0, DIM, &words);
    }
}

/// What the scale must hold: the values with some air, and the lowest bound above them while that is not far away.
fn holds(most: f64, bounds: &[Bound]) -> f64 {
    /// A bound further up than this many times the values would leave them flat on the floor.
    const FAR: f64 = 4.0;
    let above = bounds.iter().map(|bound| bound.at).filter(|at| *at >= most && at.is_finite()).min_by(f64::total_cmp);
    let aired = most * 1.08;
    match above {
        Some(at) if most <= 0.0 || at <= most * FAR => aired.max(at * 1.12),
        _ => aired,
    }
}

/// Lines at the bounds, named at the right. Those above the scale are named at its top, with an arrow.
fn bounds(out: &mut String, panel: &Panel, ceiling: f64, y: &dyn Fn(f64) -> f64, top: f64) {
    /// Room for one name.
    const ROW: f64 = 14.0;
    let mut shown: Vec<&Bound> = panel.bounds.iter().filter(|bound| bound.at.is_finite()).collect();
    shown.sort_by(|a, b| b.at.total_cmp(&a.at));
    let mut lowest = top - ROW;
    let mut places: Vec<f64> = Vec::with_capacity(shown.len());
    for bound in &shown {
        lowest = (y(bound.at) + 4.0).max(lowest + ROW).max(top + 8.0);
        places.push(lowest);
    }
    // What would stand under the panel moves up, and so does what it meets.
    let mut most = top + PLOT + 4.0;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - ROW;
    }
    for (bound, place) in shown.into_iter().zip(places) {
        let (colour, dash) = match bound.kind {
            BoundKind::Target => (TARGET, "2 4"),
            BoundKind::Warning => (WARNING, "8 4"),
            BoundKind::Critical => (CRITICAL, "14 3"),
        };
        let arrow = if bound.at > ceiling { " ↑" } else { "" };
        let words = format!("{} {}{arrow}", bound.kind.sign(), amount(bound.at, panel.unit));
        if arrow.is_empty() {
            let look = format!("stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"{dash}\"");
            line(out, (LEFT, y(bound.at)), (RIGHT, y(bound.at)), &look);
        }
        text(out, (RIGHT + 6.0, place), "start", SIZE, colour, &cut(&words, WIDTH - RIGHT - 10.0, SIZE));
    }
}

/// A line in pieces between its gaps, at their places from left to right.
fn runs(line: &Line, x: &dyn Fn(DateTime<Utc>) -> f64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last: Option<DateTime<Utc>> = None;
    for (at, value) in &line.points {
        let place = x(*at);
        if !value.is_finite() || !(LEFT - 1.0..=RIGHT + 1.0).contains(&place) {
            continue;
        }
        match (runs.last_mut(), last) {
            (Some(run), Some(before)) if (*at - before).num_seconds() <= line.gap_s => run.push((place, *value)),
            _ => runs.push(vec![(place, *value)]),
        }
        last = Some(*at);
    }
    runs
}

/// Of the points that share one unit of width only those that can be seen: first, least, most, last. No peak is lost.
fn thin(run: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut thinned: Vec<(f64, f64)> = Vec::new();
    for column in run.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        if column.len() <= 4 {
            thinned.extend(column);
            continue;
        }
        let extreme = |by: fn(&f64, &f64) -> std::cmp::Ordering| {
            (0..column.len()).max_by(|a, b| by(&column[*a].1, &column[*b].1)).unwrap_or(0)
        };
        let mut kept = [0, extreme(|a, b| b.total_cmp(a)), extreme(f64::total_cmp), column.len() - 1];
        kept.sort_unstable();
        thinned.extend(kept.chunk_by(|a, b| a == b).map(|same| column[same[0]]));
    }
    thinned
}

fn draw_run(out: &mut String, run: &[(f64, f64)], y: &dyn Fn(f64) -> f64, colour: &str, dash: &str) {
    if let [(at, value)] = run {
        let _ =
            writeln!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"2.5\" fill=\"{colour}\"/>", round(*at), round(y(*value)));
        return;
    }
    let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
    out.push_str("<polyline points=\"");
    for (n, (at, value)) in run.iter().enumerate() {
        let _ = write!(out, "{}{},{}", if n == 0 { "" } else { " " }, round(*at), round(y(*value)));
    }
    let _ =
        writeln!(out, "\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dash}/>");
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), look: &str) {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(round);
    let _ = writeln!(out, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {look}/>");
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, size: f64, colour: &str, words: &str) {
    if words.is_empty() {
        return;
    }
    let size = if size == SIZE { String::new() } else { format!(" font-size=\"{size}\"") };
    let anchor = if anchor == "start" { String::new() } else { format!(" text-anchor=\"{anchor}\"") };
    let (x, y) = (round(at.0), round(at.1));
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\"{anchor}{size} fill=\"{colour}\">{}</text>", escape(words));
}

/// Hundredths are finer than anybody sees.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn width(words: &str, size: f64) -> f64 {
    f64::from(u16::try_from(words.chars().count()).unwrap_or(u16::MAX)) * CHAR * size
}

/// A text that fits, with "…" when it goes on.
fn cut(words: &str, room: f64, size: f64) -> String {
    if width(words, size) <= room {
        return words.to_owned();
    }
    let fit = (room / (CHAR * size)).floor().max(1.0) as usize;
    let kept: String = words.chars().take(fit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Text within XML. What XML cannot carry at all is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}
