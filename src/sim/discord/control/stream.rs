//! The stream of changes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Extract;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::sim::discord::Sim;

/// How often a comment shows that the stream lives.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

pub(super) async fn events(Extract(sim): Extract<Sim>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = sim.lock().changes.subscribe();
    let stream = unfold((sim, changes), |(sim, mut changes)| async move {
        let event = next(&sim, &mut changes).await?;
        Some((Ok(event), (sim, changes)))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(COMMENT_EVERY))
}

/// The next change; `None` when the stand-in stops.
async fn next(sim: &Sim, changes: &mut Receiver<Arc<(u64, String)>>) -> Option<Event> {
    tokio::select! {
        change = changes.recv() => match change {
            Ok(change) => Some(Event::default().id(change.0.to_string()).data(&change.1)),
            // Too slow: what was missed is read again as a whole.
            Err(RecvError::Lagged(_)) => Some(Event::default().data(r#"{"kind":"reset"}"#)),
            Err(RecvError::Closed) => None,
        },
        () = sim.stopped() => None,
    }
}
