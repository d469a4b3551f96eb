//! A chart as a value: panels over one span of time, each with lines, bounds and what stands when nothing was measured; and its
//! text as SVG.
//!
//! Pure. A chart is shown and never recorded: whoever needs its words puts them beside it. Making a picture of the SVG is an
//! adapter's work.

mod axis;
mod draw;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

pub use axis::amount;
pub use draw::svg;

/// Panels of one chart.
pub const PANELS_MAX: usize = 8;
/// Lines of one panel.
pub const LINES_MAX: usize = 6;

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Headline.
    pub title: String,
    /// What it shows, in words, for whoever sees no picture.
    pub alt: String,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// The zone that its hours are in.
    pub zone: Tz,
    /// One below the other; at most [`PANELS_MAX`] are drawn.
    pub panels: Vec<Panel>,
    /// Moments that go through all panels, oldest first.
    pub marks: Vec<Mark>,
}

// Only what was measured is drawn, and that is never NaN where it matters: equal charts draw alike.
impl Eq for Chart {}

/// What an amount is of, in base units: seconds, hundredths, things, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Per cent.
    Percent,
    /// Whole things.
    Count,
}

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What is measured.
    pub title: String,
    /// In what.
    pub unit: Unit,
    /// At most [`LINES_MAX`] are drawn.
    pub lines: Vec<Line>,
    /// Bounds from the policy.
    pub bounds: Vec<Bound>,
    /// What stands at the right of the title: the newest value and what it means.
    pub says: String,
    /// What stands in the panel when there is no point: "no data", "not measured: add …".
    pub empty: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name; empty when it is the only one.
    pub name: String,
    /// When, and how much; oldest first. What is not finite is a gap.
    pub points: Vec<(DateTime<Utc>, f64)>,
    /// Neighbours that are further apart than this, in seconds, have a gap between them.
    pub gap_s: i64,
}

/// What a bound means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// Good lies below.
    Target,
    /// A warning lies above.
    Warning,
    /// It is critical above.
    Critical,
}

impl BoundKind {
    /// Its sign, the one that words have.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Target => "✓",
            Self::Warning => "⚠",
            Self::Critical => "✗",
        }
    }
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// What it means.
    pub kind: BoundKind,
    /// Where.
    pub at: f64,
}

/// A moment: a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: DateTime<Utc>,
    /// A few characters: `v42`.
    pub label: String,
}

#[cfg(test)]
mod tests;
