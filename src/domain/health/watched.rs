//! One copy of a service, followed over time: when it counts as down, and since when it has been well.
//!
//! Pure, and small enough to be kept beside the record: it is what measurements leave behind, for they are not recorded.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::input::{Measurement, Seen};
use crate::domain::policy;

/// What was seen before a restart counts for this long: as long as it takes to call a service down. Nobody knows what happened
/// since.
const COUNTS_FOR: TimeDelta = TimeDelta::minutes(2);

/// What a look changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// It counts as down from now on.
    Down {
        /// The first failed look of the row.
        since: DateTime<Utc>,
        /// What the newest look saw.
        why: String,
    },
    /// It answers again.
    Up {
        /// Since when it was down.
        down_since: DateTime<Utc>,
    },
}

/// What is remembered of the looks at one copy of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    reds: u32,
    first_red: Option<DateTime<Utc>>,
    green_since: Option<DateTime<Utc>>,
    down_since: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
}

impl Watched {
    /// A service that the record says is down, when nothing else is remembered of it.
    pub fn down(since: DateTime<Utc>) -> Self {
        Self { first_red: Some(since), down_since: Some(since), ..Self::default() }
    }

    /// What still counts of it after a restart; nothing when the newest look is too old. Whether it is down, and since when, is
    /// what the record says: a service may only be called down once, and only what was called down is called up again.
    pub fn after_restart(self, down_since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Self> {
        let is_fresh = self.last.is_some_and(|last| now.signed_duration_since(last) <= COUNTS_FOR);
        match down_since {
            _ if !is_fresh => down_since.map(Self::down),
            Some(since) => Some(Self { first_red: self.first_red.or(Some(since)), down_since, ..self }),
            None => Some(Self { down_since, ..self }),
        }
    }

    /// Takes in one look. Down is a row of failures, long enough and over time enough; one look that is well ends it, and
    /// sleep is well. What could not be found out neither counts nor resolves. A look older than the newest is passed over.
    pub fn observe(&mut self, look: &Measurement, policy: &policy::Health) -> Option<Transition> {
        if self.last.is_some_and(|last| look.at < last) {
            return None;
        }
        match &look.seen {
            Seen::Unknown { .. } => None,
            Seen::Green { .. } | Seen::Asleep => {
                self.last = Some(look.at);
                self.reds = 0;
                self.first_red = None;
                self.green_since.get_or_insert(look.at);
                self.down_since.take().map(|down_since| Transition::Up { down_since })
            }
            Seen::Red { why } => {
                self.last = Some(look.at);
                self.green_since = None;
                self.reds = self.reds.saturating_add(1);
                let since = *self.first_red.get_or_insert(look.at);
                let enough = self.reds >= u32::from(policy.down_after_failures)
                    && look.at.signed_duration_since(since) >= policy.down_after.delta();
                if self.down_since.is_some() || !enough {
                    return None;
                }
                self.down_since = Some(since);
                Some(Transition::Down { since, why: why.clone() })
            }
        }
    }

    /// Since when every look that told anything was well; none when the newest was not, or there was none.
    pub fn green_since(&self) -> Option<DateTime<Utc>> {
        self.green_since
    }

    /// Failed looks in a row up to the newest.
    pub fn reds_in_a_row(&self) -> u32 {
        self.reds
    }

    /// Since when it counts as down; none when it does not.
    pub fn down_since(&self) -> Option<DateTime<Utc>> {
        self.down_since
    }

    /// When it was last found out how it is.
    pub fn last_look(&self) -> Option<DateTime<Utc>> {
        self.last
    }
}
