//! Reading what apps write into their logs: one page of lines at a time.

use std::future::Future;

use crate::domain::logs::{Begin, Line, Page, Trouble};

/// The log side of the host. It only reads, so every call may be made again.
pub trait Logs: Send + Sync + 'static {
    /// A page of an app's lines, oldest first; empty when there is nothing more for now. Bounded in time and size. What follows a
    /// page (`Begin::Next`) has every line that came later, and none of the page's.
    ///
    /// # Errors
    /// `NoToken` when there is nothing to look with; `Silent` with a sentence that says why and what to do.
    fn page(&self, app: &str, begin: &Begin) -> impl Future<Output = Result<Page, Trouble>> + Send;
}

/// Lines as they are written, from a host that sends them by itself.
pub trait LogStream: Send + Sync + 'static {
    /// What comes of it.
    type Lines: LogLines;

    /// Lines of these apps from now on. Bounded in time.
    ///
    /// # Errors
    /// `Silent` with a sentence, when it cannot be reached.
    fn subscribe(&self, apps: &[String]) -> impl Future<Output = Result<Self::Lines, Trouble>> + Send;
}

/// What a stream brings.
pub trait LogLines: Send + 'static {
    /// The next; none when it has ended for good. May be dropped while it waits: nothing is lost by that.
    fn next(&mut self) -> impl Future<Output = Option<Came>> + Send;
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// A line of this app.
    Line(String, Box<Line>),
    /// Lines may have been written that did not come: they must be read elsewhere. Also said once at the beginning.
    Missed,
}
