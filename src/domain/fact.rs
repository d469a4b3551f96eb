//! Everything that can become true. The facts of an incident are its timeline.
//!
//! A fact is the stored form: its names and fields are a contract with every log ever written, so they are only added to (see
//! adapters/store for how old kinds are read). Facts carry computed instants and people; applying one never looks at policy.
//! Only transitions are facts; measurements never.

mod status;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alerts::Happened;
use super::deploy::gates::{Check, Gate};
use super::deploy::{Plan, Preparation, Verdict};
use super::figures::baseline::Baseline;
use super::hosting::{Image, ReleaseRef, Running, Trouble};
use super::ids::{AlertId, DeployId, EffectId, IncidentId, Person, Posted, Service};
use super::message::Text;
use super::oncall::Override;
use super::pipeline::Request;
use super::policy::Severity;
use super::promise::{Next, PromiseKind};
use super::releases::Released;
use super::workspace::Stage;

pub use status::{Moment, Part, Status};

/// An instant, as it is written in the record.
pub type At = DateTime<Utc>;

/// One thing that has become true. When, and about what, stands on the line that carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Fact {
    // ---- the team
    /// From now on this policy and workspace hold.
    PolicyAdopted {
        /// SHA-256 of both texts, hex.
        hash: String,
    },
    /// The process came up.
    Started {
        /// Its version.
        version: String,
        /// When the last line before was written; none on a new log.
        last_seen: Option<At>,
    },
    /// Somebody turned the bot live.
    WentLive {
        /// Who.
        by: Person,
    },
    /// Somebody turned the bot to observing only.
    WentObserving {
        /// Who.
        by: Person,
    },
    /// While observing: so many pings and pages would have gone out now.
    HeldBack {
        /// Messages that would have pinged.
        pings: u32,
        /// Pages.
        pages: u32,
    },
    /// A digest has said how many that were.
    HeldBackTold,
    /// Somebody is on call for a while, whatever the rotation says.
    OnCallChanged {
        /// Who, from when until when, by whom.
        shift: Override,
    },
    /// A job will run next at this time.
    JobPlanned {
        /// Which.
        job: String,
        /// When; never when none.
        next: Option<At>,
    },
    /// A job ran.
    JobRan {
        /// Which.
        job: String,
        /// When it was due; none when somebody asked for it.
        due: Option<At>,
        /// How many further runs fell due while the bot was away.
        missed: u32,
        /// When it runs next.
        next: Option<At>,
    },
    /// A service is down.
    ServiceDown {
        /// Which.
        service: Service,
        /// Which copy.
        stage: Stage,
        /// Since when.
        since: At,
        /// What was seen.
        why: String,
    },
    /// A service answers again.
    ServiceUp {
        /// Which.
        service: Service,
        /// Which copy.
        stage: Stage,
        /// Since when it was down.
        since: At,
    },
    /// Nothing goes out for a while.
    Frozen {
        /// Of which service; of all when none.
        service: Option<Service>,
        /// Until when; until somebody ends it when none.
        until: Option<At>,
        /// Who said so.
        by: Person,
        /// Why.
        why: Text,
    },
    /// A freeze was ended.
    Thawed {
        /// Of which service; the one of all when none.
        service: Option<Service>,
        /// Who said so.
        by: Person,
    },
    /// Somebody keeps an app to themselves.
    Locked {
        /// Which.
        app: String,
        /// Who.
        by: Person,
        /// Why.
        why: Text,
    },
    /// An app is free again.
    Unlocked {
        /// Which.
        app: String,
        /// Who said so.
        by: Person,
    },
    /// An image did well on staging.
    Validated {
        /// Of which service.
        service: Service,
        /// Which.
        image: Image,
    },
    /// A box of the checklist was ticked, or cleared.
    Ticked {
        /// For which image.
        image: Image,
        /// Which box.
        item: String,
        /// Who.
        by: Person,
        /// Whether it is ticked now. In a line, `on` says what a fact is about.
        is_ticked: bool,
    },

    /// The ledger of an app's releases begins with what the host had on record.
    ReleasesSeeded {
        /// The app.
        app: String,
        /// Newest first.
        releases: Vec<Released>,
    },
    /// The host has releases on record that were not known. Those that no deploy of ours is named for were made elsewhere. On an
    /// incident of the service too.
    ReleasesSeen {
        /// The app.
        app: String,
        /// Whose it is.
        service: Service,
        /// Which copy.
        stage: Stage,
        /// Newest first.
        releases: Vec<Released>,
    },
    /// A release that was open is over, says the host. On an incident of the service too, when it did not end well.
    ReleaseEnded {
        /// The app.
        app: String,
        /// Whose it is.
        service: Service,
        /// Which copy.
        stage: Stage,
        /// Its number.
        version: u64,
        /// The host's word.
        status: String,
    },

    // ---- an incident
    /// An incident was opened.
    Opened {
        /// How bad.
        severity: Severity,
        /// One line.
        title: String,
        /// What it touches.
        services: Vec<Service>,
        /// Who declared it; the bot itself when none.
        by: Option<Person>,
        /// More than one line.
        details: Text,
        /// When it began, as far as known.
        started: At,
        /// When it was noticed.
        detected: At,
        /// Whether the wider audience hears of it.
        announce: bool,
    },
    /// Something is promised.
    PromiseMade {
        /// What.
        promise: PromiseKind,
        /// By when.
        due: At,
        /// The first reminder.
        next: Option<Next>,
    },
    /// A reminder went out.
    Reminded {
        /// Of what.
        promise: PromiseKind,
        /// Which reminder.
        step: super::promise::Step,
        /// The moment it stood for.
        due: At,
        /// How many intervals had passed without what was promised.
        missed: u32,
        /// The next reminder.
        next: Option<Next>,
    },
    /// A promise was kept.
    PromiseKept {
        /// Which.
        promise: PromiseKind,
    },
    /// A promise need not be kept any more.
    PromiseWaived {
        /// Which.
        promise: PromiseKind,
        /// Why.
        why: String,
    },
    /// A reminder was put off.
    Snoozed {
        /// Of what.
        promise: PromiseKind,
        /// Who.
        by: Person,
        /// The moved reminder.
        next: Next,
    },
    /// The next reminder was moved because circumstances changed.
    Replanned {
        /// Of what.
        promise: PromiseKind,
        /// The moved reminder.
        next: Option<Next>,
    },
    /// A person took it up.
    Acknowledged {
        /// Who.
        by: Person,
        /// Whether by declaring it while on call, without a press.
        by_declaring: bool,
        /// Whether by asking for a rollback, or saying yes to one, while on call.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_rolling_back: bool,
    },
    /// The next level of escalation was called.
    Escalated {
        /// Which level.
        level: u8,
        /// Why.
        why: EscalationReason,
        /// When the next one follows.
        next: Option<At>,
    },
    /// Nobody is called any more.
    EscalationStopped {
        /// Why.
        why: String,
    },
    /// The lead was asked whether they are still there.
    StaleAsked {
        /// When the next level is called otherwise.
        escalate_at: At,
    },
    /// The lead answered.
    StillHere {
        /// Who.
        by: Person,
    },
    /// Somebody took or was given a part.
    RoleTaken {
        /// Which part.
        part: Part,
        /// Who has it now.
        who: Person,
        /// Who said so.
        by: Person,
    },
    /// The severity changed.
    SeverityChanged {
        /// From.
        from: Severity,
        /// To.
        to: Severity,
        /// Who.
        by: Person,
        /// Why, when said.
        why: Option<Text>,
    },
    /// The status changed.
    StatusChanged {
        /// From.
        from: Status,
        /// To.
        to: Status,
        /// Who; the bot itself when none.
        by: Option<Person>,
        /// Why, when said.
        why: Option<Text>,
    },
    /// An update was given.
    Updated {
        /// Who.
        by: Person,
        /// What.
        what: Text,
        /// Whether it said only that nothing changed.
        no_change: bool,
        /// Whether the wider audience got it.
        announced: bool,
        /// The message it was taken from.
        source: Option<String>,
    },
    /// Something was put on the record.
    Noted {
        /// Who put it there.
        by: Person,
        /// What.
        what: Text,
        /// Who had written it, when another.
        author: Option<Person>,
        /// When it was written, when earlier.
        written: Option<At>,
        /// A link to it.
        link: Option<String>,
        /// Addresses of images.
        images: Vec<String>,
    },
    /// One of the incident's times was set by hand.
    TimeSet {
        /// Which.
        which: Moment,
        /// To what.
        to: At,
        /// Who.
        by: Person,
    },
    /// The services touched were set.
    ServicesSet {
        /// Which now.
        services: Vec<Service>,
        /// Who.
        by: Person,
    },
    /// The service answers again.
    Recovered {
        /// Which.
        service: Service,
    },
    /// The service went down again.
    Relapsed {
        /// Which.
        service: Service,
        /// What was seen.
        why: String,
    },
    /// Verification began: green until then and it counts as resolved.
    VerifyStarted {
        /// Until when.
        until: At,
        /// Whether a probe watches, or only the clock.
        watched: bool,
    },
    /// It was red: verification begins again.
    VerifyReset {
        /// What was seen.
        why: String,
        /// Until when now.
        until: At,
    },
    /// Its time is over: what is measured of its services is asked before it passes.
    VerifyMeasuring,
    /// It was green, and what is measured speaks against it: verification begins again.
    VerifyHeld {
        /// What was measured.
        why: String,
        /// Until when now.
        until: At,
    },
    /// Verification passed.
    Verified,
    /// It will be resolved by itself once verification passes.
    ResolveWhenGreen {
        /// Who said so.
        by: Person,
    },
    /// Cancelled: it was none.
    Cancelled {
        /// Who.
        by: Person,
        /// Why.
        why: Text,
    },
    /// Reopened under the same number.
    Reopened {
        /// Who; the bot itself when none.
        by: Option<Person>,
        /// Why.
        why: Text,
    },
    /// The review is written.
    Reviewed {
        /// Who.
        by: Person,
        /// Where, or what was learned.
        what: Text,
    },

    /// Something is done at the host for it, or was.
    Acted {
        /// Which deploy, rollback or restart.
        deploy: DeployId,
        /// What, in a sentence.
        what: Text,
    },

    // ---- a deploy
    /// Somebody asked for a change; nothing is done before somebody says yes.
    DeployPlanned {
        /// What would be done.
        plan: Box<Plan>,
        /// Who asked.
        by: Person,
        /// The incident it is for.
        incident: Option<IncidentId>,
        /// Why.
        why: Option<Text>,
        /// Until when a yes counts.
        until: At,
        /// What is to follow in later stages, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        then: Vec<Plan>,
        /// What can refuse it, as it was found.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
        /// Whether the bot asked for it itself, on behalf of that person.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_itself: bool,
        /// The request, when a pipeline asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Request>,
    },
    /// What would be done is another by now: a yes to what was does not count for it.
    DeployRevised {
        /// What would be done.
        plan: Box<Plan>,
        /// What is to follow.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        then: Vec<Plan>,
        /// What can refuse it, as it was found.
        checks: Vec<Check>,
        /// Until when a yes counts.
        until: At,
        /// What changed, in a sentence.
        what: String,
    },
    /// A check is passed with a reason.
    GateOverridden {
        /// Which.
        gate: Gate,
        /// Who.
        by: Person,
        /// Why.
        why: Text,
    },
    /// Those who may approve it were asked to.
    ApprovalAsked,
    /// An approval was not used in time: it counts no more.
    ApprovalLapsed,
    /// Somebody approved it.
    DeployApproved {
        /// Who.
        by: Person,
        /// Of what: the hash of everything that would be done.
        hash: String,
        /// Until when that counts.
        until: At,
        /// Why whoever asked may approve it themselves, when it is they.
        own: Option<String>,
    },
    /// It waits for its hours.
    DeployScheduled {
        /// Until when.
        at: At,
        /// Who said so.
        by: Person,
    },
    /// Its hours have come: it waits for a yes.
    DeployAwaited {
        /// Until when.
        until: At,
    },
    /// Somebody said yes.
    DeployStarted {
        /// Who.
        by: Person,
        /// The machines as they are by now, when they are others than planned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machines: Option<Vec<Running>>,
        /// What can refuse it, as it was found at that moment.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
        /// By when it is to be done, where that is promised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        late_at: Option<At>,
    },
    /// It is not done in time, or will not be.
    DeployLate,
    /// It is not done.
    DeployCancelled {
        /// Who said no; nobody said yes in time when none.
        by: Option<Person>,
        /// Why.
        why: String,
    },
    /// The release stands on the host's record, or does not.
    ReleaseOpened {
        /// Which.
        release: Option<ReleaseRef>,
        /// Why there is none.
        trouble: Option<String>,
    },
    /// Something is done before the first machine.
    Preparing {
        /// What.
        what: Preparation,
    },
    /// That is done, or went wrong.
    Prepared {
        /// What.
        what: Preparation,
        /// How it went wrong, with a sentence.
        trouble: Option<(Trouble, String)>,
    },
    /// A machine that did not come up well is restarted once.
    MachineTriedAgain {
        /// Which.
        machine: String,
        /// By which effect.
        effect: EffectId,
        /// What was wrong.
        says: String,
        /// SHA-256 of its kept configuration before, in hex: the undo.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// Every machine slept: one is woken, to see that it comes up.
    MachineWoken {
        /// Which.
        machine: String,
        /// By which effect.
        effect: EffectId,
    },
    /// One stage did well; the next one's turn is looked at.
    StageDone {
        /// In a word.
        verdict: Verdict,
        /// What was seen, in a sentence.
        seen: String,
    },
    /// The next stage begins.
    StageEntered {
        /// What is done there.
        plan: Box<Plan>,
        /// What could have refused it, as it was found.
        checks: Vec<Check>,
    },
    /// A machine is taken in hand.
    MachineTaken {
        /// Which.
        machine: String,
        /// By which effect.
        effect: EffectId,
    },
    /// A machine is done.
    MachineDone {
        /// Which.
        machine: String,
        /// SHA-256 of its kept configuration before, in hex: the undo.
        before: Option<String>,
        /// And after.
        after: Option<String>,
    },
    /// A machine went wrong.
    MachineFailed {
        /// Which.
        machine: String,
        /// How.
        trouble: Trouble,
        /// A sentence.
        says: String,
        /// SHA-256 of its kept configuration before, in hex, when it was changed all the same.
        before: Option<String>,
    },
    /// Nothing is done to a machine any more.
    MachineLeft {
        /// Which.
        machine: String,
    },
    /// Somebody said stop: machines in hand are finished, no other is begun.
    DeployStopped {
        /// Who.
        by: Person,
    },
    /// The release's end is being put on the host's record.
    ReleaseClosing,
    /// How the release ended could not be put on the host's record: there it stays open.
    ReleaseLeftOpen {
        /// Why.
        trouble: String,
    },
    /// A release that stayed open on the host's record is being closed once more.
    ReleaseClosingAgain,
    /// A release that stayed open on the host's record is closed there after all.
    ReleaseClosed,
    /// Machines are let settle before the service is judged.
    Settling {
        /// Until when.
        until: At,
    },
    /// The service is looked at.
    Surveying {
        /// Whether it is the last look.
        last: bool,
    },
    /// What came of it.
    DeployJudged {
        /// In a word.
        verdict: Verdict,
        /// What was seen, in a sentence.
        seen: String,
        /// Until when it is watched.
        watch: Option<At>,
    },

    // ---- alerts
    /// Something happened to a group of alerts, or to what is silenced.
    Alert {
        /// What.
        happened: Happened,
    },
    /// On an incident: a group of alerts belongs to it.
    AlertJoined {
        /// Which.
        alert: AlertId,
        /// What it is called.
        title: String,
    },
    /// On an incident: nothing of that group fires any more.
    AlertOver {
        /// Which.
        alert: AlertId,
        /// What it is called.
        title: String,
    },

    // ---- figures
    /// Somebody had the figures of a service kept with its release.
    BaselineRecorded {
        /// What was measured.
        baseline: Baseline,
        /// Who.
        by: Person,
    },

    // ---- effects
    /// An effect was done.
    Done {
        /// Which.
        effect: EffectId,
        /// The message or thread it made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        posted: Option<Posted>,
    },
    /// An effect was given up: it was refused, or not taken for too long. As far as the neighbours say it was not done; a page
    /// or a post whose answer was lost may have been.
    GivenUp {
        /// Which.
        effect: EffectId,
        /// Why.
        why: String,
    },
    /// An effect is not wanted any more, from now on. What had not gone out by then does not; what was on the wire at that
    /// moment may still arrive, and nothing further is recorded about it. Who reads the record takes it as “nobody was to be
    /// called by this any more”, never as “nobody was”.
    Withdrawn {
        /// Which.
        effect: EffectId,
        /// Why.
        why: String,
    },
    /// The card or thread is gone from the chat: what is shown there must be made anew.
    CardLost,
    /// The thread is gone from the chat.
    ThreadLost,
}

/// Why a level was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// It was opened.
    Opened,
    /// Nobody had acknowledged in time.
    NotAcknowledged,
    /// Nobody of the last level came either, and there is no higher one.
    StillNotAcknowledged,
    /// Whoever had acknowledged went silent.
    WentSilent,
    /// Somebody asked for more people.
    Asked,
    /// It got worse.
    GotWorse,
    /// It was reopened.
    Reopened,
}
