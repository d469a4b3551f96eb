//! Baselines: the figures of a service kept with its release, and what has drifted since.
//!
//! The one place where figures go on record, because somebody asked for it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Figure, Missing, Of, Over, Reading, Shown, read};
use crate::domain::chart::Unit;
use crate::domain::ids::Service;
use crate::domain::input::Answers;
use crate::domain::text::metrics as words;
use crate::domain::workspace::Stage;

/// The time that a baseline is taken over.
pub const OVER: TimeDelta = TimeDelta::hours(24);
/// Baselines that are kept of one copy of a service: one a release, the newest releases.
pub const KEPT_MAX: usize = 8;
/// Baselines that are kept of all.
const ALL_MAX: usize = 200;
/// A figure that moved less than this part of what it was has not drifted.
const DRIFT_PART: f64 = 0.2;
/// Nor has one that moved less than this: hundredths, seconds, things.
const DRIFT_LEAST: [(Unit, f64); 3] = [(Unit::Percent, 0.5), (Unit::Seconds, 0.02), (Unit::Count, 0.5)];

/// One figure as it was kept: in whole millionths of its base unit, so that what is read back is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The median over the time.
    usual_millionths: i64,
    /// The highest.
    highest_millionths: i64,
}

impl Kept {
    /// Of a median and a highest value.
    pub fn new(usual: f64, highest: f64) -> Self {
        let millionths = |value: f64| (value * 1e6).round() as i64;
        Self { usual_millionths: millionths(usual), highest_millionths: millionths(highest) }
    }

    /// The median.
    pub fn usual(self) -> f64 {
        self.usual_millionths as f64 / 1e6
    }

    /// The highest.
    pub fn highest(self) -> f64 {
        self.highest_millionths as f64 / 1e6
    }
}

/// The figures of one copy of a service with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The service.
    pub service: Service,
    /// Which copy.
    pub stage: Stage,
    /// The release; none when it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// What was measured.
    pub figures: Vec<(Figure, Kept)>,
}

impl Baseline {
    /// Whether it is of this copy.
    pub fn is_of(&self, of: &Of<'_>) -> bool {
        self.service == *of.service && self.stage == of.stage
    }

    /// A figure, when it was kept.
    pub fn get(&self, figure: Figure) -> Option<Kept> {
        self.figures.iter().find(|(one, _)| *one == figure).map(|(_, kept)| *kept)
    }
}

/// Adds one; of the same copy and release the newest stays, and of each copy so many.
pub fn keep(all: &mut Vec<Baseline>, new: Baseline) {
    let same = |one: &Baseline| one.service == new.service && one.stage == new.stage;
    all.retain(|one| !(same(one) && one.version == new.version));
    while all.iter().filter(|one| same(one)).count() >= KEPT_MAX {
        let Some(oldest) = all.iter().position(same) else { break };
        all.remove(oldest);
    }
    all.push(new);
    all.drain(..all.len().saturating_sub(ALL_MAX));
}

/// Figures that can be kept, and why each of the others has nothing to keep.
pub type Found = (Vec<(Figure, Kept)>, Vec<(Figure, String)>);

/// What the answers hold to keep.
pub fn measured(of: &Of<'_>, over: Over, answers: &Answers) -> Found {
    let (mut found, mut without) = (Vec::new(), Vec::new());
    for figure in Figure::ALL {
        let shown = Shown { figure: Some(figure), target: None };
        let reading = read(&shown, of, over, answers);
        match reading.as_ref().ok().and_then(summary) {
            Some(kept) => found.push((figure, kept)),
            None => without.push((figure, words::empty(&shown, &reading))),
        }
    }
    (found, without)
}

/// Median and highest of what was measured; none when nothing was.
fn summary(reading: &Reading) -> Option<Kept> {
    let points = reading.lines.iter().flat_map(|line| &line.points);
    let mut values: Vec<f64> = points.map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    Some(Kept::new(*values.get(values.len() / 2)?, *values.last()?))
}

/// How a figure stands beside what was kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    /// About the same.
    Same {
        /// Then.
        was: f64,
        /// Now.
        is: f64,
    },
    /// More than it was; of all these figures less is better.
    Worse {
        /// Then.
        was: f64,
        /// Now.
        is: f64,
    },
    /// Less than it was.
    Better {
        /// Then.
        was: f64,
        /// Now.
        is: f64,
    },
    /// Not known now.
    NotNow {
        /// Then.
        was: f64,
        /// Why not.
        why: String,
    },
    /// Not kept then.
    NotThen {
        /// Now.
        is: f64,
    },
}

/// Each figure beside a baseline; those that neither has are left out.
pub fn compare(baseline: &Baseline, of: &Of<'_>, over: Over, answers: &Answers) -> Vec<(Figure, Drift)> {
    let (now, without) = measured(of, over, answers);
    let beside = |figure: Figure| {
        let was = baseline.get(figure).map(Kept::usual);
        let is = now.iter().find(|(one, _)| *one == figure).map(|(_, kept)| kept.usual());
        let why = || without.iter().find(|(one, _)| *one == figure).map_or(String::new(), |(_, why)| why.clone());
        let drift = match (was, is) {
            (None, None) => return None,
            (None, Some(is)) => Drift::NotThen { is },
            (Some(was), None) => Drift::NotNow { was, why: why() },
            (Some(was), Some(is)) => moved(figure.unit(), was, is),
        };
        Some((figure, drift))
    };
    Figure::ALL.into_iter().filter_map(beside).collect()
}

fn moved(unit: Unit, was: f64, is: f64) -> Drift {
    let least = DRIFT_LEAST.iter().find(|(one, _)| *one == unit).map_or(0.0, |(_, least)| *least);
    let by = (is - was).abs();
    if by < least || by <= was.abs() * DRIFT_PART {
        Drift::Same { was, is }
    } else if is > was {
        Drift::Worse { was, is }
    } else {
        Drift::Better { was, is }
    }
}

/// Why nothing at all was measured: the first reason.
pub fn why_nothing(without: &[(Figure, String)]) -> String {
    without.first().map_or_else(|| words::missing(&Missing::NotInTime), |(_, why)| why.clone())
}
