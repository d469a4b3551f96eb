//! What the host says of an app before something is done to it, and the steps that can be done: one step, one machine.
//!
//! Pure data and how it compares. Decides nothing: plans and verdicts are `deploy/`. A machine's configuration passes through
//! as it came, never read into a type of ours: what is not understood must survive being written back.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deploy::Strategy;
use super::fact::At;

/// An image: what people write, and the digest when it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Repository with tag or digest, as the host takes it.
    pub reference: String,
    /// `sha256:…`, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Image {
    /// An image of which only the reference is known. `repo@sha256:…` and `repo:tag@sha256:…` carry their digest.
    pub fn new(reference: impl Into<String>) -> Self {
        let reference = reference.into();
        let digest = reference.split_once('@').map(|(_, digest)| digest.to_owned());
        Self { reference, digest }
    }

    /// Whether both are the same image: by digest when both are known, by reference otherwise.
    pub fn is(&self, other: &Image) -> bool {
        match (&self.digest, &other.digest) {
            (Some(one), Some(other)) => one == other,
            _ => self.reference == other.reference,
        }
    }

    /// What people tell it by: its tag, or the first twelve digits of its digest.
    pub fn short(&self) -> &str {
        let (named, _) = self.reference.split_once('@').unwrap_or((&self.reference, ""));
        let last = named.rsplit('/').next().unwrap_or(named);
        let tag = last.split_once(':').map(|(_, tag)| tag);
        let digest = || self.digest.as_deref().map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
        tag.or_else(|| digest().map(|digits| digits.get(..12).unwrap_or(digits))).unwrap_or(last)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A release as the host has it on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The host's id of it.
    pub id: String,
    /// Its number.
    pub version: u64,
    /// The host's word: `complete`, `failed`, `running`, `interrupted`; an open list.
    pub status: String,
    /// What it put up.
    pub image: Image,
    /// Who made it, in the host's words.
    pub user: String,
    /// When.
    pub at: Option<At>,
}

impl Release {
    /// Whether it ended well.
    pub fn is_complete(&self) -> bool {
        self.status == "complete"
    }
}

/// What happened to a machine of late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lived {
    /// Its id.
    pub id: String,
    /// Its state, in the host's own word.
    pub state: String,
    /// Whether the hardware under it answers.
    pub host_ok: bool,
    /// When and how its program ended, as far as the host still tells.
    pub exits: Vec<Exited>,
}

/// How a machine's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exited {
    /// When, by the host's clock, in ms since 1970: with its machine it is told again by that.
    pub at_ms: i64,
    /// When, by promise time.
    pub at: At,
    /// Its exit code.
    pub code: i64,
    /// Whether it was killed for want of memory.
    pub oom_killed: bool,
    /// Whether somebody asked for it.
    pub requested: bool,
}

/// A machine before something is done to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its process group.
    pub group: String,
    /// Its state, in the host's own word.
    pub state: String,
    /// What it runs.
    pub image: Image,
    /// The host's version of its configuration: changes with every change.
    pub instance: String,
    /// SHA-256 of its configuration in canonical JSON, in hex.
    pub config_sha256: String,
    /// Whether the hardware under it answers.
    pub host_ok: bool,
    /// Whether it is kept from traffic.
    pub cordoned: bool,
    /// Whether it has a volume: it cannot be made anew elsewhere.
    pub has_volume: bool,
    /// Whether it may sleep and wakes by itself.
    pub may_sleep: bool,
    /// Checks that its configuration asks for.
    pub checks: u16,
    /// Its size, where the host told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// Whether it is put to sleep and woken, where it has services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

impl Running {
    /// Whether it runs now, or is about to.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "started" | "starting" | "restarting" | "updating" | "replacing")
    }
}

/// What a plan is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The app.
    pub app: String,
    /// When it was read.
    pub at: At,
    /// The machines that serve it, without those of release commands and consoles. In the order in which they are worked on.
    pub machines: Vec<Running>,
    /// Releases, newest first; a sentence when the host did not say.
    pub releases: Result<Vec<Release>, String>,
    /// The command that Fly's configuration runs before a deploy, when it has one; a sentence when the host did not say.
    pub release_command: Result<Option<String>, String>,
    /// When a secret was last set, if that can be told.
    pub secrets_at: Option<At>,
    /// The app's secrets, without their values; a sentence when the host did not say.
    pub secrets: Result<Vec<Secret>, String>,
}

/// A secret as the host lists it. Its value is never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// What its value is told by.
    pub digest: String,
    /// When it was last set, when the host says so.
    pub at: Option<At>,
}

impl Inventory {
    /// The secrets that were set after the newest release and wait for a deploy, as far as the host tells.
    pub fn staged(&self) -> Vec<&Secret> {
        let newest = self.releases.iter().flatten().filter_map(|release| release.at).max();
        let is_staged = |secret: &&Secret| newest.is_some_and(|newest| secret.at.is_some_and(|at| at > newest));
        self.secrets.iter().flatten().filter(is_staged).collect()
    }

    /// With all its times as somebody reads them whose clock says `now`: the host's is the wall's, ours may be another. What
    /// counts is how long ago something was, and that to the second.
    #[must_use]
    pub fn read_at(mut self, now: At) -> Self {
        let then = self.at;
        let moved = |at: At| {
            let ago = chrono::TimeDelta::seconds((then - at).num_seconds().max(0));
            now.checked_sub_signed(ago).unwrap_or(at)
        };
        self.at = now;
        self.secrets_at = self.secrets_at.map(moved);
        self.releases.iter_mut().flatten().for_each(|release| release.at = release.at.map(moved));
        self.secrets.iter_mut().flatten().for_each(|secret| secret.at = secret.at.map(moved));
        self
    }
}

/// A release record of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// The host's id of it.
    pub id: String,
    /// Its number.
    pub version: u64,
}

/// How a release ends on the host's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseEnd {
    /// All machines run it.
    Complete,
    /// It did not come to be.
    Failed,
    /// Somebody stopped it.
    Interrupted,
}

impl ReleaseEnd {
    /// The host's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The size of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// `shared` or `performance`.
    pub cpu_kind: String,
    /// How many.
    pub cpus: u16,
    /// Memory, in MB.
    pub memory_mb: u32,
}

/// A kind of CPU and what the host sells of it.
struct Sizes {
    kind: &'static str,
    cpus: &'static [u16],
    /// Memory for each CPU, at least, in MB.
    per_cpu_mb_min: u32,
    /// Memory for each CPU, at most, in MB.
    per_cpu_mb_max: u32,
    /// Memory comes in pieces of this, in MB.
    step_mb: u32,
}

/// Sources: the host's own tool and its documents on sizing. Where they differ on the steps of performance memory, the coarser.
const SIZES: [Sizes; 2] = [
    Sizes { kind: "shared", cpus: &[1, 2, 4, 6, 8], per_cpu_mb_min: 256, per_cpu_mb_max: 2048, step_mb: 256 },
    Sizes {
        kind: "performance",
        cpus: &[1, 2, 4, 6, 8, 10, 12, 14, 16, 32, 64, 128],
        per_cpu_mb_min: 2048,
        per_cpu_mb_max: 8192,
        step_mb: 2048,
    },
];

impl Guest {
    /// Why the host has no such size, with what it has; none when it has.
    pub fn refuse(&self) -> Option<String> {
        let Some(sizes) = SIZES.iter().find(|sizes| sizes.kind == self.cpu_kind) else {
            let kinds: Vec<&str> = SIZES.iter().map(|sizes| sizes.kind).collect();
            return Some(format!("there are no “{}” CPUs: {}", self.cpu_kind, kinds.join(" or ")));
        };
        if !sizes.cpus.contains(&self.cpus) {
            let cpus: Vec<String> = sizes.cpus.iter().map(u16::to_string).collect();
            return Some(format!("there are no {} CPUs of kind {}: {}", self.cpus, sizes.kind, cpus.join(", ")));
        }
        let cpus = u32::from(self.cpus);
        let (least, most) = (cpus * sizes.per_cpu_mb_min, cpus * sizes.per_cpu_mb_max);
        let fits = (least..=most).contains(&self.memory_mb) && self.memory_mb.is_multiple_of(sizes.step_mb);
        (!fits).then(|| {
            format!(
                "{} {} CPUs have from {least} to {most} MB of memory, in steps of {} MB; not {} MB",
                self.cpus, sizes.kind, sizes.step_mb, self.memory_mb
            )
        })
    }
}

/// What becomes of a machine that nobody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autostop {
    /// It runs on.
    Off,
    /// It is stopped.
    Stop,
    /// It is suspended: its memory is kept, and it wakes faster.
    Suspend,
}

impl Autostop {
    /// The host's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Stop => "stop",
            Self::Suspend => "suspend",
        }
    }

    /// What a word means; none when it is no such word.
    pub fn read(word: &str) -> Option<Self> {
        [Self::Off, Self::Stop, Self::Suspend].into_iter().find(|one| one.word() == word)
    }
}

/// Whether a machine is put to sleep when nobody asks and woken when somebody does, as its services say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// What becomes of it when nobody asks.
    pub autostop: Autostop,
    /// Whether a request wakes it.
    pub autostart: bool,
    /// How many of its group are kept up in the primary region.
    pub min_running: u16,
}

/// One thing to do at the host. Each reads before it writes and leaves its mark in the same write, so that asking twice does once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Put a release on the host's record, running.
    OpenRelease {
        /// What it puts up.
        image: Image,
        /// In which order its machines get it.
        #[serde(default, skip_serializing_if = "Strategy::is_rolling")]
        strategy: Strategy,
    },
    /// Make a machine run this image, and nothing else about it different; wait until it is well.
    Update {
        /// Which.
        machine: String,
        /// What it is to run.
        to: Image,
        /// The release it belongs to, when there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseRef>,
        /// Whether it is started: one that is asleep is changed and left asleep.
        launch: bool,
        /// Whether it is waited for until its checks pass. Not for `immediate`.
        wait: bool,
    },
    /// Stop and start a machine; wait until it is well.
    Restart {
        /// Which.
        machine: String,
    },
    /// Start a machine; wait until it is well.
    Start {
        /// Which.
        machine: String,
    },
    /// Stop a machine; it stays. A request wakes it again where its configuration says so.
    Stop {
        /// Which.
        machine: String,
    },
    /// Stop a machine and see in the same step that no request wakes it; it stays. The configuration before is the way back.
    Zero {
        /// Which.
        machine: String,
    },
    /// Say whether a machine that nobody asks is put to sleep, and whether a request wakes it; wait until it is well.
    SetAutostop {
        /// Which.
        machine: String,
        /// What becomes of it when nobody asks.
        autostop: Autostop,
        /// Whether a request wakes it.
        autostart: bool,
        /// How many of its group are kept up in the primary region; as it was when nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_running: Option<u16>,
    },
    /// Give a machine another size; wait until it is well.
    Resize {
        /// Which.
        machine: String,
        /// The new size.
        guest: Guest,
    },
    /// Run the command that comes before a deploy, on a machine of its own that is gone afterwards; wait for its end.
    RunReleaseCommand {
        /// The image that it runs in.
        to: Image,
        /// The command, as the app's configuration writes it.
        command: String,
        /// The release it belongs to, when there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseRef>,
    },
    /// Try an image on a machine of its own: started, waited for until it is well, and taken away again, well or not. No request
    /// of a user goes to it.
    Trial {
        /// The machine whose configuration it gets. One with a volume cannot be tried so.
        like: String,
        /// What it is to run.
        to: Image,
        /// The release it belongs to, when there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseRef>,
    },
    /// Say on the host's record how a release ended.
    CloseRelease {
        /// Which.
        release: ReleaseRef,
        /// How.
        ended: ReleaseEnd,
    },
}

impl Step {
    /// The machine that it changes. None for what is done on a machine of its own.
    pub fn machine(&self) -> Option<&str> {
        match self {
            Step::Update { machine, .. }
            | Step::Restart { machine }
            | Step::Start { machine }
            | Step::Stop { machine }
            | Step::Zero { machine }
            | Step::SetAutostop { machine, .. }
            | Step::Resize { machine, .. } => Some(machine),
            Step::OpenRelease { .. }
            | Step::RunReleaseCommand { .. }
            | Step::Trial { .. }
            | Step::CloseRelease { .. } => None,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    /// Done, now or before.
    Done {
        /// A machine's whole configuration before, when it was changed.
        before: Option<Value>,
        /// And after.
        after: Option<Value>,
        /// The release that was opened.
        release: Option<ReleaseRef>,
    },
    /// Not done, or done and not well.
    Failed {
        /// What kind of failure: what can be done about it depends on that.
        trouble: Trouble,
        /// A sentence, with the host's own words and its id of the request.
        says: String,
        /// A machine's whole configuration before, when it was changed all the same.
        before: Option<Value>,
    },
    /// It was called off before it changed anything.
    CalledOff,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trouble {
    /// There is no token for it, or the host does not take it.
    NoRights,
    /// Somebody else works on the machine.
    LeaseHeld {
        /// Who, in the host's words.
        by: String,
        /// Until when, when the host says so.
        until: Option<At>,
    },
    /// There is no room on the hardware for it.
    NoRoom,
    /// Somebody else changed it meanwhile.
    Drifted,
    /// The image cannot be had any more.
    ImageGone,
    /// It starts and ends, again and again.
    CrashLoop,
    /// Its memory does not suffice.
    OutOfMemory,
    /// It runs and its checks fail.
    Unhealthy,
    /// It did not come up in time.
    NotStarted,
    /// The command that comes before a deploy ran and did not end well, or did not end in time.
    ReleaseCommandFailed {
        /// What it ended with, when that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
    },
    /// The hardware under it does not answer.
    HostGone,
    /// The machine is not there any more.
    Gone,
    /// The host refuses for another reason.
    Refused,
    /// The host did not answer.
    Unreachable,
}

impl Trouble {
    /// Whether another machine would fare no better: it is the image's fault.
    pub fn is_of_the_image(&self) -> bool {
        matches!(self, Self::ImageGone | Self::CrashLoop | Self::OutOfMemory | Self::Unhealthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_digest_and_called_by_its_tag() {
        let tagged = Image::new("registry.fly.io/shop:deployment-7");
        assert_eq!(tagged.short(), "deployment-7");
        let digest = format!("sha256:{}", "ab".repeat(32));
        let bare = Image::new(format!("registry.fly.io/shop@{digest}"));
        assert_eq!((bare.short(), bare.digest.as_deref()), ("abababababab", Some(digest.as_str())));
        let both = Image { digest: Some(digest), ..tagged.clone() };
        assert!(both.is(&bare) && both.is(&tagged) && !tagged.is(&bare));
        assert_eq!(Image::new("localhost:5000/shop").short(), "shop");
    }

    #[test]
    fn only_sizes_that_are_sold_can_be_had() {
        let refuse =
            |kind: &str, cpus: u16, memory_mb: u32| Guest { cpu_kind: kind.to_owned(), cpus, memory_mb }.refuse();
        for cpus in 0..=130u16 {
            let shared = [1, 2, 4, 6, 8].contains(&cpus);
            let performance = [1, 2, 4, 6, 8, 10, 12, 14, 16, 32, 64, 128].contains(&cpus);
            let each = u32::from(cpus);
            for (kind, sold, memory_mb, fits) in [
                ("shared", shared, 256 * each, true),
                ("shared", shared, 2048 * each, true),
                ("shared", shared, 256 * each + 256, true),
                ("shared", shared, 256 * each + 128, false),
                ("shared", shared, (256 * each).saturating_sub(256), false),
                ("shared", shared, 2048 * each + 256, false),
                ("performance", performance, 2048 * each, true),
                ("performance", performance, 8192 * each, true),
                ("performance", performance, 2048 * each + 1024, false),
                ("performance", performance, 8192 * each + 2048, false),
            ] {
                assert_eq!(refuse(kind, cpus, memory_mb).is_none(), sold && fits, "{kind} {cpus} {memory_mb}");
            }
        }
        assert_eq!(refuse("gpu", 1, 256).as_deref(), Some("there are no “gpu” CPUs: shared or performance"));
        assert_eq!(refuse("shared", 3, 768).as_deref(), Some("there are no 3 CPUs of kind shared: 1, 2, 4, 6, 8"));
        assert_eq!(
            refuse("shared", 1, 4096).as_deref(),
            Some("1 shared CPUs have from 256 to 2048 MB of memory, in steps of 256 MB; not 4096 MB")
        );
    }
}
