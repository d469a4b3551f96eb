//! How the bot itself is, in the words of `/watchbell status`.
//!
//! Asks its parts and judges nothing else. What is wrong is said also when the rest of that part is well: a connection that stands
//! is of no use while what is sent over it is refused.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::door::Snapshot;
use super::driver::AboutItself;
use super::policy_file::PolicyTrouble;
use super::private;
use super::releases::Releases;
use crate::adapters::discord::DiscordChat;
use crate::domain::input::Itself;
use crate::ports::{Chat, Condition};

/// Older than this, what waits to be sent is said to wait, in milliseconds.
const WAITS_TOO_LONG_MS: u64 = 30_000;

/// Says how the bot is whenever it is asked.
pub(super) fn about_itself(
    up_since: DateTime<Utc>,
    store_says: Vec<String>,
    chat: Arc<DiscordChat>,
    policy: PolicyTrouble,
    releases: Option<Arc<Releases>>,
) -> AboutItself {
    let releases = move || releases.as_ref().and_then(|releases| releases.trouble());
    Arc::new(move |snapshot| Itself {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        up_since: Some(up_since),
        caught_up: None,
        parts: parts(&chat.condition(), snapshot, &store_says, policy.get(), releases()),
    })
}

/// Each part: its name, whether all is well with it, and a sentence.
fn parts(
    chat: &Condition,
    snapshot: &Snapshot,
    store_says: &[String],
    policy: Option<String>,
    releases: Option<String>,
) -> Vec<(String, bool, String)> {
    let discord = match (&chat.trouble, chat.up) {
        (None, true) => "connected".to_owned(),
        (Some(why), true) => format!("connected, but: {why}"),
        (Some(why), false) => why.clone(),
        (None, false) => "not connected".to_owned(),
    };
    let waits = match (private::stuck_for(snapshot), chat.waiting) {
        (Some(stuck), _) => {
            format!("a page or ping has not gone out for {} s; {} on their way", stuck.as_secs(), snapshot.pending)
        }
        (None, 0) => "nothing waits".to_owned(),
        (None, n) => format!("{n} waiting, the oldest for {} s", chat.oldest_ms / 1_000),
    };
    let sends = chat.oldest_ms < WAITS_TOO_LONG_MS && private::stuck_for(snapshot).is_none();
    let store: Vec<&str> = snapshot.trouble.iter().chain(store_says).map(String::as_str).collect();
    let is_sound = store.is_empty();
    let store = if is_sound { "sound".to_owned() } else { store.join(" ") };
    let mut parts = vec![
        ("Discord".to_owned(), chat.up && chat.trouble.is_none(), discord),
        ("To send".to_owned(), sends, waits),
        ("Record".to_owned(), is_sound, store),
    ];
    if let Some(why) = policy {
        parts.push((
            "Policy".to_owned(),
            false,
            format!("the file does not hold; the last good one is in force: {why}"),
        ));
    }
    if let Some(why) = releases {
        parts.push(("Releases".to_owned(), false, why));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_also_while_the_connection_stands() {
        let refused = "Discord does not accept the bot's token".to_owned();
        let chat = Condition { up: true, trouble: Some(refused.clone()), ..Condition::default() };
        let said = parts(&chat, &Snapshot::default(), &[], None, None);
        assert_eq!(said[0], ("Discord".to_owned(), false, format!("connected, but: {refused}")));
        let well = parts(&Condition { up: true, ..Condition::default() }, &Snapshot::default(), &[], None, None);
        assert!(well.iter().all(|(_, well, _)| *well) && well.len() == 3, "{well:?}");
        let policy = parts(&chat, &Snapshot::default(), &[], Some("line 3: unknown field".to_owned()), None);
        assert!(policy.iter().any(|(name, well, says)| name == "Policy" && !well && says.contains("line 3")));
    }
}
