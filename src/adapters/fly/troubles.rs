//! What an error of Fly means for somebody who wanted to change something. Fly uses one status for many things and tells them
//! apart in words only, so the words are read.
//!
//! Pure: a status, a code and a sentence in, a meaning out. The sources of each text are in the tests' table. What is not known is
//! never taken for passing: an unknown refusal is a refusal.

use chrono::{DateTime, Utc};

use super::wire::FlyError;
use crate::domain::hosting::Trouble;

/// What an error means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It may be done and it may not: look before anything else.
    Unknown,
    /// It is not done and may be a little later.
    Passing,
    /// Fly wants fewer requests; it is not done.
    TooFast,
    /// It is not done and will not be, for this reason.
    Refused(Trouble),
}

/// There is no room, in the four shapes that are known (host, host of the volume, region, quota), with the words of each.
const NO_ROOM: [&str; 10] = [
    "could not reserve resource",
    "insufficient memory",
    "insufficient cpu",
    "insufficient ips",
    "insufficient resources",
    "insufficient capacity",
    "no capacity",
    "over the allowed quota",
    "deploys to this host are temporarily disabled",
    "not enough capacity",
];
/// Codes that say so without words.
const NO_ROOM_CODES: [&str; 2] = ["insufficient_capacity", "volume_placement_capacity"];
/// The machine is between two states, for seconds.
const PASSING: [&str; 3] = ["getting replaced", "still active", "still attempting to start"];
/// The image cannot be had.
const IMAGE_GONE: [&str; 6] = [
    "manifest unknown",
    "manifest_unknown",
    "manifest for",
    "failed to get manifest",
    "unable to pull image",
    "failed to pull image",
];
/// The hardware does not answer. In no source that we know; the states of `host_status` are the model.
const HOST_GONE: [&str; 3] = ["host is unreachable", "host unreachable", "host is unavailable"];

/// What it means.
pub(super) fn meaning(error: &FlyError) -> Meaning {
    of(error.status, &error.code, &error.words)
}

fn of(status: Option<u16>, code: &str, words: &str) -> Meaning {
    let Some(status) = status else { return Meaning::Unknown };
    let lower = words.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let refused = Meaning::Refused;
    // Fly's own words first: they say more than the status.
    if let Some((by, until)) = lease_held(words) {
        return refused(Trouble::LeaseHeld { by, until });
    }
    if NO_ROOM_CODES.contains(&code) || says(&NO_ROOM) {
        return refused(Trouble::NoRoom);
    }
    if says(&IMAGE_GONE) || (lower.contains("image") && lower.contains("not found")) {
        return refused(Trouble::ImageGone);
    }
    if says(&HOST_GONE) {
        return refused(Trouble::HostGone);
    }
    match status {
        // A wait's own time is over, or something before Fly gave up: in neither case known.
        408 | 500.. => Meaning::Unknown,
        429 => Meaning::TooFast,
        401 | 403 => refused(Trouble::NoRights),
        404 | 410 => refused(Trouble::Gone),
        409 | 412 if says(&PASSING) => Meaning::Passing,
        // An answer came and was no refusal: it is done, and its words could not be read.
        ..300 => Meaning::Unknown,
        _ => refused(Trouble::Refused),
    }
}

/// Who holds the lease, and until when: `machine ID … lease currently held by U, expires at T`.
fn lease_held(words: &str) -> Option<(String, Option<DateTime<Utc>>)> {
    let (before, after) = words.split_once("held by ")?;
    if !before.to_lowercase().contains("lease") {
        return None;
    }
    let (by, until) = after.split_once(", expires at ").unwrap_or((after, ""));
    let until = until.split_whitespace().next().unwrap_or_default().trim_end_matches(['.', ',', '"']);
    Some((by.trim().trim_end_matches('.').to_owned(), until.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fly_s_words_tell_its_statuses_apart() {
        let refused = Meaning::Refused;
        let held = |by: &str, until: &str| refused(Trouble::LeaseHeld { by: by.to_owned(), until: until.parse().ok() });
        for (status, code, words, meant) in [
            // Docs, and a machine log in public: the real sentence.
            (
                409,
                "",
                "machine ID 2879325b42d318 lease currently held by 9af60c27@tokens.fly.io, expires at 2026-05-14T10:41:08Z",
                held("9af60c27@tokens.fly.io", "2026-05-14T10:41:08Z"),
            ),
            (409, "", "machine ID 28 lease currently held by ana@example.com", held("ana@example.com", "")),
            // Kilo-Org/cloud#412, fly-go flaps_error.go.
            (
                409,
                "",
                "aborted: could not reserve resource for machine: insufficient memory available to fulfill request",
                refused(Trouble::NoRoom),
            ),
            (409, "", "aborted: no capacity", refused(Trouble::NoRoom)),
            (
                412,
                "",
                "failed_precondition: insufficient resources to create new machine with existing volume",
                refused(Trouble::NoRoom),
            ),
            (403, "", "you are over the allowed quota of memory in ord", refused(Trouble::NoRoom)),
            (400, "", "no capacity", refused(Trouble::NoRoom)),
            (422, "insufficient_capacity", "something new", refused(Trouble::NoRoom)),
            (409, "volume_placement_capacity", "", refused(Trouble::NoRoom)),
            (500, "", "deploys to this host are temporarily disabled", refused(Trouble::NoRoom)),
            // Field notes, 412.
            (412, "", "failed_precondition: machine getting replaced, refusing to start", Meaning::Passing),
            (412, "", "machine still active, refusing to start", Meaning::Passing),
            (412, "", "machine still attempting to start", Meaning::Passing),
            (412, "", "unable to start machine from current state: 'created'", refused(Trouble::Refused)),
            (412, "", "machine not running", refused(Trouble::Refused)),
            (412, "", "volume is currently bound to machine", refused(Trouble::Refused)),
            (409, "", "the version is another", refused(Trouble::Refused)),
            (400, "", "failed to get manifest registry.fly.io/shop:v3: MANIFEST_UNKNOWN", refused(Trouble::ImageGone)),
            (404, "", "image registry.fly.io/shop:v3 not found", refused(Trouble::ImageGone)),
            (404, "", "machine not found", refused(Trouble::Gone)),
            (401, "", "Authenticate: token validation error", refused(Trouble::NoRights)),
            (403, "", "forbidden", refused(Trouble::NoRights)),
            (
                408,
                "",
                "deadline_exceeded: machine failed to reach desired state, started, currently starting",
                Meaning::Unknown,
            ),
            (429, "", "", Meaning::TooFast),
            (502, "", "bad gateway", Meaning::Unknown),
            (423, "", "", refused(Trouble::Refused)),
            (400, "unknown", "invalid config", refused(Trouble::Refused)),
        ] {
            assert_eq!(of(Some(status), code, words), meant, "{status} {code} {words}");
        }
        assert_eq!(of(None, "", ""), Meaning::Unknown);
    }
}
