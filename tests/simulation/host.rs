//! The host as its client in the bot sees it: an app with machines and releases that outlive every death of the bot.
//!
//! Models what `adapters/fly` does around a write: it reads before it writes, knows its own mark, holds a lease while it works,
//! and a write that comes after the lease was given back, or to a machine that was changed meanwhile, is refused. A restart
//! leaves no mark on a machine; its lease remembers the last start for as long as it lives. What a release is opened with, and
//! what is done on a machine of its own, lands at once or never: the host has no lease for it, so nothing could keep a late one
//! apart. A release command is found again by its mark and runs once; a trial leaves nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::health::{self, AppHealth, HealthReport, StageHealth};
use crate::domain::hosting::{
    Autostop, Guest, Image, Inventory, Release, ReleaseEnd, ReleaseRef, Rest, Running, Step, Trouble,
};
use crate::domain::ids::{EffectId, Service};
use crate::domain::input::{ReleasesLook, Stepped};
use crate::domain::workspace::Stage;
use crate::log::torn::Dice;

/// The image that never passes its checks.
pub const BAD_TAG: &str = "deployment-44";

/// The app; `team.rs` gives it to a service.
pub const APP: &str = "lighthouse-checkout";
/// The same service's copy to try images on, where there is one.
pub const STAGING_APP: &str = "lighthouse-checkout-staging";
/// How long a lease lives when nobody renews it.
const LEASE_TTL: TimeDelta = TimeDelta::seconds(30);

/// A step as it is asked for.
#[derive(Debug, Clone)]
pub struct Call {
    /// By which effect.
    pub effect: EffectId,
    /// On which app.
    pub app: String,
    /// Its mark.
    pub mark: String,
    /// What.
    pub step: Step,
    /// The starts of the machine before the step, when the lease of an earlier life told them.
    noted: Option<u32>,
}

impl Call {
    /// A step that is asked for, for the first time or again.
    pub fn new(effect: EffectId, app: &str, mark: String, step: Step) -> Self {
        Self { effect, app: app.to_owned(), mark, step, noted: None }
    }
}

/// A write on the wire. It lands whatever became of its sender.
#[derive(Debug, Clone)]
pub struct Write {
    /// For which step.
    pub call: Call,
    nonce: u64,
    version: u64,
    well: bool,
}

/// What becomes of a step after its first look.
#[derive(Default)]
pub struct Going {
    /// What is written, and when.
    pub write: Option<(TimeDelta, Write)>,
    /// When the client has its end; what it says, or what is true by then.
    pub end: Option<(TimeDelta, Option<Stepped>)>,
    /// When it tries again from the start: its own lease of an earlier life lives still.
    pub again: Option<(TimeDelta, Call)>,
}

impl Going {
    fn told(wait: TimeDelta, end: Stepped) -> Self {
        Self { end: Some((wait, Some(end))), ..Self::default() }
    }

    fn true_in(wait: TimeDelta) -> Self {
        Self { end: Some((wait, None)), ..Self::default() }
    }
}

/// Who holds a machine.
#[derive(Debug, Clone)]
struct Lease {
    nonce: u64,
    mark: String,
    /// When it ends by itself; never while somebody renews it.
    until: Option<DateTime<Utc>>,
    starts: u32,
}

struct Machine {
    running: Running,
    /// The mark of its last change.
    mark: Option<String>,
    version: u64,
    starts: u32,
    well: bool,
    lease: Option<Lease>,
}

/// A release that a step put up.
pub struct Opened {
    /// As it is listed.
    pub release: Release,
    /// By which effect; none for those from before.
    pub by: Option<(EffectId, String)>,
}

/// One app at the host.
pub struct Host {
    /// Which.
    pub app: &'static str,
    stage: Stage,
    /// Nothing goes wrong any more.
    pub healed: bool,
    /// Releases, newest first.
    pub releases: Vec<Opened>,
    /// Whether a release runs a command first.
    has_command: bool,
    machines: Vec<Machine>,
    nonces: u64,
    /// The marks of release commands that were run, with how each ended.
    ran: BTreeMap<String, bool>,
    /// How often each mark changed each machine.
    changes: BTreeMap<(String, String), u32>,
    /// Restarts that were asked for again when their lease was gone: nothing says any more that they were done.
    pub forgotten: BTreeSet<String>,
}

fn image(tag: &str) -> Image {
    Image::new(format!("registry.fly.io/{APP}:{tag}"))
}

fn failed(trouble: Trouble, says: &str) -> Stepped {
    Stepped::Failed { trouble, says: says.to_owned(), before: None }
}

fn unreachable() -> Stepped {
    failed(Trouble::Unreachable, "the host did not answer in time")
}

fn seconds(dice: &mut Dice, from: u64, to: u64) -> TimeDelta {
    TimeDelta::milliseconds((from * 1_000 + dice.below((to - from) * 1_000)) as i64)
}

impl Host {
    /// Production: two machines that serve, perhaps a third that sleeps, and three releases that ended well.
    pub fn production(dice: &mut Dice, now: DateTime<Utc>) -> Self {
        let sleeps = (dice.below(2) == 0).then_some(("c", "stopped"));
        let machines: Vec<(&str, &str)> = [("a", "started"), ("b", "started")].into_iter().chain(sleeps).collect();
        Self::new(APP, Stage::Production, &machines, dice, now)
    }

    /// Its copy: one machine, which may sleep.
    pub fn staging(dice: &mut Dice, now: DateTime<Utc>) -> Self {
        let state = if dice.below(3) == 0 { "stopped" } else { "started" };
        Self::new(STAGING_APP, Stage::Staging, &[("s", state)], dice, now)
    }

    fn new(app: &'static str, stage: Stage, machines: &[(&str, &str)], dice: &mut Dice, now: DateTime<Utc>) -> Self {
        let rest = Rest { autostop: Autostop::Stop, autostart: true, min_running: 0 };
        let guest = Guest { cpu_kind: "shared".to_owned(), cpus: 1, memory_mb: 512 };
        let machine = |(id, state): &(&str, &str)| Machine {
            running: Running {
                id: (*id).to_owned(),
                name: format!("checkout-{id}"),
                region: "iad".to_owned(),
                group: "app".to_owned(),
                state: (*state).to_owned(),
                image: image("deployment-42"),
                instance: String::new(),
                config_sha256: String::new(),
                host_ok: true,
                cordoned: false,
                has_volume: false,
                may_sleep: true,
                checks: 1,
                guest: Some(guest.clone()),
                rest: Some(rest),
            },
            mark: None,
            version: 1,
            starts: 1,
            well: true,
            lease: None,
        };
        let release = |version: u64| Opened {
            release: Release {
                id: format!("rel-{version}"),
                version,
                status: "complete".to_owned(),
                image: image(&format!("deployment-{version}")),
                user: "carol".to_owned(),
                at: Some(now - TimeDelta::days(50 - version as i64)),
            },
            by: None,
        };
        Self {
            app,
            stage,
            healed: false,
            has_command: dice.below(3) == 0,
            releases: vec![release(42), release(41), release(40)],
            machines: machines.iter().map(machine).collect(),
            nonces: 0,
            ran: BTreeMap::new(),
            changes: BTreeMap::new(),
            forgotten: BTreeSet::new(),
        }
    }

    /// How many machines there are.
    pub fn machines(&self) -> u64 {
        self.machines.len() as u64
    }

    /// What it has on record, as a look tells it.
    pub fn look(&self) -> ReleasesLook {
        let releases = self.releases.iter().map(|opened| opened.release.clone()).collect();
        ReleasesLook { app: self.app.to_owned(), releases }
    }

    fn lists(&self, now: DateTime<Utc>) -> Inventory {
        let machine = |machine: &Machine| Running {
            instance: machine.version.to_string(),
            config_sha256: machine.version.to_string(),
            ..machine.running.clone()
        };
        Inventory {
            app: self.app.to_owned(),
            at: now,
            machines: self.machines.iter().map(machine).collect(),
            releases: Ok(self.releases.iter().map(|opened| opened.release.clone()).collect()),
            release_command: Ok(self.has_command.then(|| "migrate".to_owned())),
            secrets_at: None,
            secrets: Ok(Vec::new()),
        }
    }

    /// What it says when it is asked what runs: nothing in time, that it cannot say, or only a part.
    pub fn inventory(&self, now: DateTime<Utc>, dice: &mut Dice) -> Option<Result<Inventory, String>> {
        let said = self.lists(now);
        match dice.below(30) {
            _ if self.healed => Some(Ok(said)),
            0 => None,
            1 => Some(Err("it answered 503".to_owned())),
            2 => Some(Ok(Inventory { releases: Err("it answered 503".to_owned()), ..said })),
            3 => Some(Ok(Inventory { release_command: Err("it answered 503".to_owned()), ..said })),
            _ => Some(Ok(said)),
        }
    }

    /// The service as a look from outside sees it, when it can be looked at.
    pub fn report(&self, now: DateTime<Utc>, service: &str, dice: &mut Dice) -> Option<HealthReport> {
        if !self.healed && dice.below(12) == 0 {
            return None;
        }
        let machines = self.machines.iter().map(|machine| health::Machine {
            id: machine.running.id.clone(),
            name: machine.running.name.clone(),
            region: machine.running.region.clone(),
            state: machine.running.state.clone(),
            host_ok: machine.running.host_ok,
            cordoned: false,
            checks_passing: u16::from(machine.well && machine.running.is_up()),
            checks: 1,
            failing: Vec::new(),
            restarts: Some(0),
            image: machine.running.image.reference.clone(),
            autostop: true,
        });
        let app = AppHealth { app: self.app.to_owned(), machines: Ok(machines.collect()) };
        let (service, stage) = (Service::new(service), self.stage);
        let stages = vec![StageHealth { service, stage, app: Some(app), probes: Vec::new() }];
        Some(HealthReport { at: now, auth: Ok("team".to_owned()), stages })
    }

    /// Whether a machine is as a step that leaves no mark wants it.
    pub fn is_so(&self, step: &Step) -> bool {
        let machine = step.machine().and_then(|id| self.machines.iter().find(|machine| machine.running.id == id));
        machine.is_some_and(|machine| machine.is_so(step))
    }

    fn machine(&mut self, id: &str) -> Option<&mut Machine> {
        self.machines.iter_mut().find(|machine| machine.running.id == id)
    }

    /// A step begins: looks first, and what follows from that.
    pub fn begin(&mut self, call: Call, now: DateTime<Utc>, dice: &mut Dice) -> Going {
        match call.step.machine().map(str::to_owned) {
            Some(id) => self.begin_on(&id, call, now, dice),
            None => self.begin_listing(call, dice),
        }
    }

    fn begin_on(&mut self, id: &str, call: Call, now: DateTime<Utc>, dice: &mut Dice) -> Going {
        let healed = self.healed;
        let was_done = self.changes.contains_key(&(id.to_owned(), call.mark.clone()));
        let Some(machine) = self.machine(id) else {
            return Going::told(seconds(dice, 0, 2), failed(Trouble::Gone, "it is not there"));
        };
        if machine.mark.as_ref() == Some(&call.mark) || machine.is_so(&call.step) {
            return Going::true_in(seconds(dice, 1, 40));
        }
        machine.lease.take_if(|lease| lease.until.is_some_and(|until| until <= now));
        match &machine.lease {
            Some(lease) if lease.mark == call.mark => {
                let wait = lease.until.map_or(TimeDelta::seconds(2), |until| until - now);
                let call = Call { noted: call.noted.or(Some(lease.starts)), ..call };
                return Going { again: Some((wait, call)), ..Going::default() };
            }
            Some(lease) => {
                let trouble = Trouble::LeaseHeld { by: lease.mark.clone(), until: lease.until };
                return Going::told(seconds(dice, 0, 3), failed(trouble, "somebody else works on it"));
            }
            None => {}
        }
        let is_restart = matches!(call.step, Step::Restart { .. });
        if is_restart && call.noted.is_some_and(|noted| machine.starts > noted) {
            return Going::true_in(seconds(dice, 1, 40));
        }
        let (version, starts, asleep) = (machine.version, machine.starts, !machine.running.is_up());
        let runs_bad = match &call.step {
            Step::Update { to, launch: true, wait: true, .. } => to.short() == BAD_TAG,
            Step::Restart { .. } | Step::Start { .. } => machine.running.image.short() == BAD_TAG,
            _ => false,
        };
        self.nonces += 1;
        let nonce = self.nonces;
        let lease = Lease { nonce, mark: call.mark.clone(), until: None, starts };
        if let Some(machine) = self.machine(id) {
            machine.lease = Some(lease);
        }
        if is_restart && was_done && call.noted.is_none() {
            self.forgotten.insert(call.mark.clone());
        }
        let long = seconds(dice, 100, 180);
        let soon = seconds(dice, 1, 20);
        let well = soon + if asleep { seconds(dice, 0, 3) } else { seconds(dice, 3, 90) };
        let write = |at: TimeDelta, well: bool| Some((at, Write { call: call.clone(), nonce, version, well }));
        let told = |wait: TimeDelta, end: Stepped| Some((wait, Some(end)));
        let none = Going::default;
        match dice.below(100) {
            // However well everything else is, and once it came up in time all the same.
            1.. if runs_bad => {
                let end = failed(Trouble::Unhealthy, "its checks fail");
                Going { write: write(soon, false), end: told(long, end), ..none() }
            }
            _ if healed => Going { write: write(soon, true), end: Some((well, None)), ..none() },
            0 => Going::told(soon, failed(Trouble::NoRoom, "there is no room on its hardware")),
            1 => Going::told(soon, failed(Trouble::Refused, "it answered 422")),
            2..4 => Going::told(soon, unreachable()),
            4..6 => Going::told(long, unreachable()),
            // Done, and nobody ever hears of it.
            6..8 => Going { write: write(soon, true), end: told(long, unreachable()), ..none() },
            // Done late; later than the step's end it is too late.
            8..11 => Going { write: write(seconds(dice, 90, 200), true), end: told(long, unreachable()), ..none() },
            11..14 => {
                let end = failed(Trouble::Unhealthy, "its checks fail");
                Going { write: write(soon, false), end: told(long, end), ..none() }
            }
            // The answer is lost and what it came to is found out by looking.
            14..22 => Going { write: write(soon, true), end: Some((well + TimeDelta::seconds(30), None)), ..none() },
            _ => Going { write: write(soon, true), end: Some((well, None)), ..none() },
        }
    }

    fn begin_listing(&mut self, call: Call, dice: &mut Dice) -> Going {
        match &call.step {
            Step::RunReleaseCommand { .. } => return self.begin_command(call, dice),
            // Nothing of it is kept, so nothing is written.
            Step::Trial { .. } => {
                let wait = seconds(dice, 5, 100);
                return match dice.below(20) {
                    _ if self.healed => Going::true_in(wait),
                    0 => Going::told(wait, failed(Trouble::Unhealthy, "its checks fail")),
                    1 => Going::told(wait, unreachable()),
                    _ => Going::true_in(wait),
                };
            }
            _ => {}
        }
        let is_known = self.releases.iter().any(|opened| opened.is_of(&call.mark));
        let soon = TimeDelta::milliseconds(50 + dice.below(400) as i64);
        if is_known {
            return Going::true_in(soon);
        }
        let long = seconds(dice, 20, 180);
        let write = Some((soon, Write { call, nonce: 0, version: 0, well: true }));
        match dice.below(100) {
            _ if self.healed => Going { write, end: Some((soon * 2, None)), ..Going::default() },
            0..3 => Going::told(soon, failed(Trouble::Refused, "it answered 422")),
            3..6 => Going::told(long, unreachable()),
            6..14 => Going { write, end: Some((long, Some(unreachable()))), ..Going::default() },
            14..21 => Going { write, end: Some((long, None)), ..Going::default() },
            _ => Going { write, end: Some((soon * 2, None)), ..Going::default() },
        }
    }

    fn begin_command(&mut self, call: Call, dice: &mut Dice) -> Going {
        let wait = seconds(dice, 2, 100);
        if self.ran.contains_key(&call.mark) {
            return Going::true_in(wait);
        }
        let soon = TimeDelta::milliseconds(50 + dice.below(400) as i64);
        let write = |well: bool| Some((soon, Write { call: call.clone(), nonce: 0, version: 0, well }));
        match dice.below(20) {
            _ if self.healed => Going { write: write(true), end: Some((wait, None)), ..Going::default() },
            0 => Going::told(soon, unreachable()),
            1 => Going { write: write(true), end: Some((wait, Some(unreachable()))), ..Going::default() },
            2 => Going { write: write(false), end: Some((wait, None)), ..Going::default() },
            _ => Going { write: write(true), end: Some((wait, None)), ..Going::default() },
        }
    }

    /// Whether a write that lands now changes a machine.
    pub fn changes_machine(&self, write: &Write, now: DateTime<Utc>) -> bool {
        let id = write.call.step.machine();
        let machine = id.and_then(|id| self.machines.iter().find(|machine| machine.running.id == id));
        machine.is_some_and(|machine| {
            let lease = machine.lease.as_ref().filter(|lease| lease.until.is_none_or(|until| until > now));
            lease.is_some_and(|lease| lease.nonce == write.nonce) && machine.version == write.version
        })
    }

    /// A write lands.
    ///
    /// # Errors
    /// When a mark changes a machine again.
    pub fn land(&mut self, write: &Write, now: DateTime<Utc>) -> Result<(), String> {
        let Call { effect, mark, step, .. } = &write.call;
        match step {
            Step::OpenRelease { image, .. } => {
                let version = self.releases.first().map_or(1, |newest| newest.release.version + 1);
                let (id, status, user) = (format!("rel-{version}"), "running".to_owned(), "watchbell".to_owned());
                let release = Release { id, version, status, image: image.clone(), user, at: Some(now) };
                self.releases.insert(0, Opened { release, by: Some((*effect, mark.clone())) });
            }
            Step::CloseRelease { release, ended } => {
                let status = status(*ended);
                let found = self.releases.iter_mut().find(|one| one.release.id == release.id);
                found.ok_or_else(|| format!("5: {mark} closes a release that was never opened"))?.release.status =
                    status.to_owned();
            }
            Step::RunReleaseCommand { .. } => {
                if self.ran.insert(mark.clone(), write.well).is_some() {
                    return Err(format!("5: the release command of {mark} ran twice"));
                }
            }
            _ if !self.changes_machine(write, now) => {}
            _ => {
                let Some(machine) = step.machine().and_then(|id| self.machine(id)) else { return Ok(()) };
                machine.version += 1;
                machine.well = write.well;
                let running = &mut machine.running;
                let wakes = |running: &Running| running.rest.is_some_and(|rest| rest.autostart);
                match step {
                    Step::Update { to, launch, .. } => {
                        running.image = to.clone();
                        if *launch {
                            running.state = "started".to_owned();
                        }
                    }
                    Step::Zero { .. } => {
                        running.state = "stopped".to_owned();
                        running.rest = running.rest.map(|rest| Rest { autostart: false, ..rest });
                    }
                    Step::SetAutostop { autostop, autostart, min_running, .. } => {
                        let min_running = min_running.or(running.rest.map(|rest| rest.min_running)).unwrap_or(0);
                        running.rest = Some(Rest { autostop: *autostop, autostart: *autostart, min_running });
                    }
                    Step::Resize { guest, .. } => running.guest = Some(guest.clone()),
                    Step::Stop { .. } => running.state = "stopped".to_owned(),
                    _ => {
                        running.state = "started".to_owned();
                        machine.starts += 1;
                    }
                }
                running.may_sleep = wakes(running);
                if !matches!(step, Step::Restart { .. } | Step::Start { .. } | Step::Stop { .. }) {
                    machine.mark = Some(mark.clone());
                }
                let id = machine.running.id.clone();
                let count = self.changes.entry((id.clone(), mark.clone())).or_default();
                *count += 1;
                if *count > 1 && !self.forgotten.contains(mark) {
                    return Err(format!("5: the step {mark} changed machine {id} twice"));
                }
            }
        }
        Ok(())
    }

    /// A step's client is done with it: what it says, and its lease is given back.
    pub fn end(&mut self, call: &Call, said: Option<Stepped>) -> Stepped {
        let done = |release: Option<ReleaseRef>| Stepped::Done { before: None, after: None, release };
        let was_done = |id: &str| self.changes.contains_key(&(id.to_owned(), call.mark.clone()));
        let truth = match &call.step {
            Step::OpenRelease { .. } => match self.releases.iter().find(|one| one.is_of(&call.mark)) {
                Some(Opened { release, .. }) => {
                    done(Some(ReleaseRef { id: release.id.clone(), version: release.version }))
                }
                None => unreachable(),
            },
            Step::RunReleaseCommand { .. } => match self.ran.get(&call.mark) {
                Some(true) => done(None),
                Some(false) => {
                    let trouble = Trouble::ReleaseCommandFailed { exit_code: Some(1) };
                    failed(trouble, "the release command ended with exit code 1")
                }
                None => unreachable(),
            },
            Step::CloseRelease { .. } | Step::Trial { .. } => done(None),
            step if step.machine().is_some_and(was_done) => done(None),
            // No mark says who did it, and nobody has to know.
            step if self.is_so(step) => done(None),
            _ => failed(Trouble::Drifted, "it is another by now"),
        };
        if let Some(machine) = call.step.machine().and_then(|id| self.machine(id)) {
            machine.lease.take_if(|lease| lease.mark == call.mark);
        }
        said.unwrap_or(truth)
    }

    /// The bot dies: nobody renews its leases. How many steps it leaves in the middle.
    pub fn orphan(&mut self, now: DateTime<Utc>) -> u64 {
        let leases = self.machines.iter_mut().filter_map(|machine| machine.lease.as_mut());
        leases.filter(|lease| lease.until.is_none()).map(|lease| lease.until = Some(now + LEASE_TTL)).count() as u64
    }

    /// Somebody works on a machine by hand, if nobody else does, and may change it.
    pub fn by_hand(&mut self, which: u64, now: DateTime<Utc>, dice: &mut Dice) {
        let until = now + seconds(dice, 20, 300);
        self.nonces += 1;
        let nonce = self.nonces;
        let Some(machine) = self.machines.get_mut(which as usize) else { return };
        machine.lease.take_if(|lease| lease.until.is_some_and(|until| until <= now));
        if machine.lease.is_none() {
            machine.version += dice.below(2);
            let mark = "carol's flyctl".to_owned();
            machine.lease = Some(Lease { nonce, mark, until: Some(until), starts: machine.starts });
        }
    }

    /// The hardware under a machine answers, or does not.
    pub fn set_hardware(&mut self, which: u64, answers: bool) {
        if let Some(machine) = self.machines.get_mut(which as usize) {
            machine.running.host_ok = answers;
        }
    }

    /// Whether a step changed a machine.
    pub fn was_changed(&self, machine: &str, mark: &str) -> bool {
        self.changes.contains_key(&(machine.to_owned(), mark.to_owned()))
    }
}

impl Machine {
    fn is_so(&self, step: &Step) -> bool {
        match step {
            Step::Start { .. } => self.running.is_up(),
            Step::Stop { .. } => !self.running.is_up(),
            _ => false,
        }
    }
}

impl Opened {
    fn is_of(&self, mark: &str) -> bool {
        self.by.as_ref().is_some_and(|(_, by)| by == mark)
    }
}

/// The host's word for a release's end.
pub fn status(ended: ReleaseEnd) -> &'static str {
    match ended {
        ReleaseEnd::Complete => "complete",
        ReleaseEnd::Failed => "failed",
        ReleaseEnd::Interrupted => "interrupted",
    }
}
