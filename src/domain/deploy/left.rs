//! What a deploy leaves on the host's record of releases: one that stays open, one whose number never came back.
//!
//! Pure. Says what there may be; what is done about it is `run.rs`, and whose a release is `domain/releases.rs`.

use super::{Deploy, Phase};
use crate::domain::fact::At;

impl Deploy {
    /// Whether the host's record still has a release of it open that should be closed, and nothing is under way.
    pub fn left_a_release_open(&self) -> bool {
        let is_past_its_machines = matches!(
            self.phase,
            Phase::Settling { .. } | Phase::Judging | Phase::Watching { .. } | Phase::LastLook | Phase::Over
        );
        is_past_its_machines && self.release.is_some() && self.release_trouble.is_some()
    }

    /// When a release on this app whose number never came back can have been made, in a stage that is done or at hand: from the stage's
    /// begin until it was known that it is lost. However long that took: the bot may have been away in between.
    pub fn lost_release_of(&self, app: &str) -> Option<(At, At)> {
        let passed = self.passed.iter().map(|one| (one.app.as_str(), one.began_at, one.release_lost_at));
        let now = (self.plan.app.as_str(), self.stage_at, self.release_lost_at);
        let mut all = passed.chain([now]).filter(|(own, ..)| *own == app);
        all.find_map(|(_, began, lost)| Some((began.or(self.started_at)?, lost?)))
    }

    /// Nothing is on the host's record of the stage that begins.
    pub(super) fn forget_release(&mut self) {
        (self.release, self.release_trouble, self.release_lost_at, self.closed_again) = (None, None, None, 0);
    }
}
