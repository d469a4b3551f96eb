//! Reading what apps write into their logs: one page of lines at a time.

use std::future::Future;

use crate::domain::logs::{Begin, Page, Trouble};

/// The log side of the host. It only reads, so every call may be made again.
pub trait Logs: Send + Sync + 'static {
    /// A page of an app's lines, oldest first; empty when there is nothing more for now. Bounded in time and size. What follows a
    /// page (`Begin::Next`) has every line that came later, and none of the page's.
    ///
    /// # Errors
    /// `NoToken` when there is nothing to look with; `Silent` with a sentence that says why and what to do.
    fn page(&self, app: &str, begin: &Begin) -> impl Future<Output = Result<Page, Trouble>> + Send;
}
