//! The door to what is measured elsewhere: a question in PromQL to one source, and its figures.
//!
//! Asking only. Every question is bounded in time, in points and in size by whoever answers it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::metrics::{Labels, Series};

/// A question under way.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, MetricsError>> + Send + 'a>>;

/// Why there is no figure. Each holds a sentence without any secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsError {
    /// The source could not be asked, did not answer in time, or told a part only: nothing is known, and the same question may be
    /// answered later.
    NotNow(String),
    /// The source does not let us ask (401, 403).
    NotAllowed(String),
    /// The source does not understand the question, or finds it too large: it will not be answered later either.
    BadQuestion(String),
    /// What came back is no answer: of another form, or too large.
    Strange(String),
}

impl MetricsError {
    /// The sentence.
    pub fn says(&self) -> &str {
        match self {
            Self::NotNow(says) | Self::NotAllowed(says) | Self::BadQuestion(says) | Self::Strange(says) => says,
        }
    }
}

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.says())
    }
}

impl std::error::Error for MetricsError {}

/// One source of figures. An empty answer means that nothing was measured; it is not zero.
pub trait Metrics: Send + Sync + 'static {
    /// What the expression was at a moment: each series by its labels. A plain number has none.
    fn instant<'a>(&'a self, promql: &'a str, at: DateTime<Utc>) -> Asked<'a, Vec<(Labels, f64)>>;

    /// How the expression went from one moment to another, a point a step. More than
    /// [`POINTS_MAX`](crate::domain::metrics::POINTS_MAX) points is a bad question.
    fn range<'a>(
        &'a self,
        promql: &'a str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Asked<'a, Vec<Series>>;
}
