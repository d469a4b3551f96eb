//! The ways in which Fly refuses that a client must tell apart, in the words that operators quote.
//!
//! The same status means different things: 409 is somebody's lease or a full host, 412 is a state, a version or a volume.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::Problem;

/// Why Fly refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// 409: the machine's host is full.
    NoRoom,
    /// 412: the host of the volume is full.
    NoRoomForVolume,
    /// 403: the organisation has as much as it may have.
    Quota,
    /// 400: the region has nothing left.
    NoCapacity,
    /// 422: the region has nothing left, told by the status in the body.
    InsufficientCapacity,
    /// 409: the host takes no deploys for now.
    HostClosed,
    /// 409: somebody else changed the machine at the same time.
    Concurrent,
    /// 412: the machine is being replaced.
    Replacing,
    /// 412: the machine has not quite stopped.
    StillActive,
    /// 412: the machine was only just made.
    Created,
    /// 412: the machine is on its way up.
    StillStarting,
    /// 412: the machine does not run.
    NotRunning,
    /// 412: the volume belongs to another machine.
    VolumeBound,
    /// 412: the machine has another version by now.
    Version,
    /// 400: the registry does not have the image.
    NoImage,
    /// 429, with no word on when to come back.
    TooMany,
}

impl Meaning {
    /// The refusal. Undocumented: `HostClosed` and `InsufficientCapacity` have a text or a word that is known, and a status
    /// that is a guess.
    pub fn problem(self) -> Problem {
        match self {
            Meaning::NoRoom => Problem::new(
                409,
                "aborted: could not reserve resource for machine: insufficient memory available to fulfill request",
            ),
            Meaning::NoRoomForVolume => {
                Problem::precondition("insufficient resources to create new machine with existing volume")
            }
            Meaning::Quota => Problem::new(403, "machine memory is over the allowed quota of the region"),
            Meaning::NoCapacity => Problem::new(400, "no capacity available in region"),
            Meaning::InsufficientCapacity => Problem {
                status: 422,
                body: json!({"error": "insufficient capacity in region", "status": "insufficient_capacity"}),
            },
            Meaning::HostClosed => Problem::new(409, "deploys to this host are temporarily disabled"),
            Meaning::Concurrent => Problem::new(409, "aborted: machine update failed due to concurrent update"),
            Meaning::Replacing => Problem::precondition("machine getting replaced, refusing to start"),
            Meaning::StillActive => Problem::precondition("machine still active, refusing to start"),
            Meaning::Created => Problem::precondition("unable to start machine from current state: 'created'"),
            Meaning::StillStarting => Problem::precondition("machine still attempting to start"),
            Meaning::NotRunning => Problem::precondition("machine not running"),
            Meaning::VolumeBound => Problem::precondition("volume is currently bound to machine"),
            Meaning::Version => Problem::precondition("machine version does not match current_version"),
            Meaning::NoImage => Problem::no_image("registry.fly.io/app:deployment-gone"),
            Meaning::TooMany => Problem::new(429, "rate limit exceeded"),
        }
    }
}
