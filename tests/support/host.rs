//! A host for the pure world: an app with its machines and releases, and images that behave badly. Does at once what the real
//! one takes minutes for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use watchbell::domain::health::{AppHealth, Machine};
use watchbell::domain::hosting::{
    Autostop, Exited, Guest, Image, Inventory, Lived, Release, ReleaseEnd, ReleaseRef, Rest, Running, Secret, Step,
    Trouble,
};
use watchbell::domain::input::Stepped;
use watchbell::domain::logs::reading::page_of;
use watchbell::domain::logs::{Begin, Line, Page, Trouble as LogTrouble};

/// The app that transcripts act on.
pub const APP: &str = "lighthouse-checkout";

/// The app of its staging.
pub const STAGING: &str = "lighthouse-checkout-staging";

/// What its one machine is called.
pub const STAGING_ID: &str = "1781000s";

/// What the machines are called.
pub const IDS: [&str; 3] = ["1781000a", "1781000b", "1781000c"];

/// A built image that nobody has deployed is as old as this: too old to be one that the bot is just putting up.
pub const BUILT_AGO: chrono::TimeDelta = chrono::TimeDelta::minutes(20);

/// How an image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// Starts and fails its checks.
    Unhealthy,
    /// The same when it is started for the first time on a machine, and well from the next start on.
    UnhealthyAtFirst,
    /// Starts and ends, again and again.
    CrashLoop,
    /// Cannot be had any more.
    Gone,
    /// Good, but its release command fails.
    BadRelease,
    /// Starts and is killed for want of memory.
    OutOfMemory,
    /// The registry knows it, and the hardware cannot get it.
    NotPullable,
    /// Good, and takes its time to come up or to stop.
    Slow,
}

/// What stands in the way at the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// There is no token to act.
    Token,
    /// There is no room on the hardware.
    Room,
    /// The list of releases does not answer.
    Releases,
    /// Releases cannot be put on the host's record.
    Record,
    /// GraphQL does not answer, and nothing else is wrong.
    GraphQl,
    /// Somebody else holds the machines.
    Lease,
    /// Every change is refused, for no reason that could pass.
    Refusal,
    /// Changes are answered by something in between, and not made.
    Answers,
    /// The log side is away.
    Logs,
    /// There is no token to look with.
    Look,
}

/// One app.
#[derive(Debug, Clone)]
pub struct Host {
    app: &'static str,
    machines: Vec<Running>,
    releases: Vec<Release>,
    /// How images behave, by tag.
    pub characters: BTreeMap<String, Character>,
    /// What stands in the way.
    pub lacks: Option<Lack>,
    /// What is done to a machine does not come to its end for now.
    pub holds: bool,
    /// How long before any look a release was made.
    aged: BTreeMap<u64, chrono::TimeDelta>,
    /// Machines that were started anew since they were given their image.
    started_anew: BTreeSet<String>,
    /// What is said of a release is taken and not kept.
    pub forgets: bool,
    /// What the app's configuration wants run before a deploy.
    pub release_command: Option<String>,
    /// What was written, oldest first.
    logs: Vec<Line>,
    /// How programs ended, by machine counted from 1.
    exits: Vec<(usize, Exited)>,
}

/// `log 5m error app 1: relation does not exist`, `log 5m info app 1 x200: fine`: lines that an app wrote so long ago.
pub struct Logged<'a> {
    /// How long ago.
    pub ago: TimeDelta,
    /// Its level.
    pub level: &'a str,
    /// Who says it.
    pub provider: &'a str,
    /// On which machine, counted from 1.
    pub machine: usize,
    /// As many, numbered.
    pub times: Option<u32>,
    /// What it says.
    pub message: &'a str,
}

/// `memory runs out on 1`, `machine 1 crashes`: a machine's program ends by itself; whether for want of memory.
pub fn ended(what: &str) -> Option<(usize, bool)> {
    if let Some(machine) = what.strip_prefix("memory runs out on ") {
        return Some((machine.parse().ok()?, true));
    }
    let machine = what.strip_prefix("machine ")?.strip_suffix(" crashes")?;
    Some((machine.parse().ok()?, false))
}

/// Reads such a step.
pub fn logged(what: &str) -> Option<Logged<'_>> {
    let (head, message) = what.strip_prefix("log ")?.split_once(": ")?;
    let mut words = head.split(' ');
    let ago = TimeDelta::from_std(humantime::parse_duration(words.next()?).ok()?).ok()?;
    let (level, provider, machine) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    let times = words.next().and_then(|times| times.strip_prefix('x')?.parse().ok());
    Some(Logged { ago, level, provider, machine, times, message })
}

fn image(tag: &str) -> Image {
    Image::new(format!("registry.fly.io/{APP}:{tag}"))
}

/// `carol deploys deployment-43`: who, and what.
pub fn deployed_by(what: &str) -> Option<(&str, &str)> {
    what.split_once(" deploys ")
}

/// `deployment-43 with bin/migrate`: the image, and what its release command is.
pub fn with_command(what: &str) -> (&str, Option<&str>) {
    what.split_once(" with ").map_or((what, None), |(tag, command)| (tag, Some(command)))
}

/// `staging has run deployment-43 for 1h`: what, and for how long.
pub fn staged(what: &str) -> Option<(&str, chrono::TimeDelta)> {
    let (tag, span) = what.strip_prefix("staging has run ")?.split_once(" for ")?;
    let span = humantime::parse_duration(span).ok()?;
    Some((tag, chrono::TimeDelta::from_std(span).ok()?))
}

impl Host {
    /// Whether a step does not come to its end for now.
    pub fn is_held(&self, step: &Step) -> bool {
        self.holds && !matches!(step, Step::OpenRelease { .. } | Step::CloseRelease { .. })
    }

    /// Somebody deploys without the bot. An image that ends with `…` is still being rolled out; behind `with` stands the
    /// command that its fly.toml has run before each deploy.
    /// When that was is how long before a look: on the wire no time passes between them.
    pub fn deploy(&mut self, who: &str, tag: &str) {
        let version = self.releases.first().map_or(0, |release| release.version) + 1;
        let (tag, command) = with_command(tag);
        self.release_command = command.map(str::to_owned).or(self.release_command.take());
        let (tag, status) = match tag.strip_suffix('…') {
            Some(tag) => (tag, "running"),
            None => (tag, "complete"),
        };
        for machine in &mut self.machines {
            machine.image = image(tag);
            machine.instance.push('+');
            machine.config_sha256.push('+');
        }
        let release = Release {
            id: format!("rel-{version}"),
            version,
            status: status.to_owned(),
            image: image(tag),
            user: format!("{who}@lighthouse.example"),
            at: None,
        };
        self.releases.insert(0, release);
    }

    /// The newest release was made then.
    pub fn date_newest(&mut self, at: DateTime<Utc>) {
        self.releases.iter_mut().take(1).for_each(|release| release.at = Some(at));
    }

    /// Fly has another word for the newest release.
    pub fn end_newest(&mut self, status: &str) {
        self.releases.iter_mut().take(1).for_each(|release| release.status = status.to_owned());
    }

    /// Two machines in two regions, and a third that sleeps; three releases.
    pub fn new(now: DateTime<Utc>) -> Self {
        let machine = |id: &str, region: &str, state: &str| Running {
            id: id.to_owned(),
            name: format!("checkout-{region}"),
            region: region.to_owned(),
            group: "app".to_owned(),
            state: state.to_owned(),
            image: image("deployment-42"),
            instance: format!("{id}-1"),
            config_sha256: format!("{id}-1"),
            host_ok: true,
            cordoned: false,
            has_volume: false,
            may_sleep: true,
            checks: 1,
            guest: Some(Guest { cpu_kind: "shared".to_owned(), cpus: 1, memory_mb: 512 }),
            rest: Some(Rest { autostop: Autostop::Stop, autostart: true, min_running: 0 }),
        };
        let release = |version: u64, days: i64| Release {
            id: format!("rel-{version}"),
            version,
            status: "complete".to_owned(),
            image: image(&format!("deployment-{version}")),
            user: "carol@lighthouse.example".to_owned(),
            at: Some(now - chrono::TimeDelta::days(days)),
        };
        Self {
            app: APP,
            machines: vec![
                machine(IDS[0], "iad", "started"),
                machine(IDS[1], "ord", "started"),
                machine(IDS[2], "ord", "stopped"),
            ],
            releases: vec![release(42, 1), release(41, 8), release(40, 15)],
            characters: BTreeMap::new(),
            lacks: None,
            holds: false,
            aged: BTreeMap::new(),
            started_anew: BTreeSet::new(),
            forgets: false,
            release_command: None,
            logs: Vec::new(),
            exits: Vec::new(),
        }
    }

    /// Lines are written.
    pub fn log(&mut self, logged: &Logged<'_>, now: DateTime<Utc>) {
        let at_ns = (now - logged.ago).timestamp_nanos_opt().unwrap_or_default();
        for n in 1..=logged.times.unwrap_or(1) {
            let machine = self.machines.get(logged.machine - 1);
            let number = logged.times.map_or(String::new(), |_| format!(" {n}"));
            self.logs.push(Line {
                id: format!("{}", self.logs.len()),
                at_ns: at_ns + self.logs.len() as i64,
                level: logged.level.to_owned(),
                provider: logged.provider.to_owned(),
                region: machine.map(|machine| machine.region.clone()).unwrap_or_default(),
                machine: machine.map(|machine| machine.id.clone()).unwrap_or_default(),
                message: format!("{}{number}", logged.message),
                ..Line::default()
            });
        }
        self.logs.sort_by_key(|line| line.at_ns);
    }

    /// Nothing was written.
    pub fn empty_log(&mut self) {
        self.logs.clear();
    }

    /// A page of what was written, as Fly gives it.
    pub fn page(&self, begin: &Begin) -> Result<Page, LogTrouble> {
        match self.lacks {
            Some(Lack::Look) => Err(LogTrouble::NoToken),
            Some(Lack::Logs) => Err(LogTrouble::Silent("Fly answered 503 (read logs)".to_owned())),
            _ => Ok(page_of(&self.logs, begin, 100)),
        }
    }

    /// One machine of another app, with the release before the newest.
    pub fn staging(now: DateTime<Utc>) -> Self {
        let mut host = Self { app: STAGING, ..Self::new(now) };
        host.machines.truncate(1);
        for machine in &mut host.machines {
            (machine.id, machine.name) = (STAGING_ID.to_owned(), "checkout-staging".to_owned());
        }
        host.releases.truncate(1);
        host
    }

    /// A release that was built and runs nowhere: nobody has deployed it yet.
    pub fn built(&mut self, tag: &str) {
        let version = self.releases.first().map_or(0, |release| release.version) + 1;
        let (id, status, user) =
            (format!("rel-{version}"), "pending".to_owned(), "carol@lighthouse.example".to_owned());
        self.aged.insert(version, BUILT_AGO);
        self.releases.insert(0, Release { id, version, status, image: image(tag), user, at: None });
    }

    /// What a plan is made of.
    pub fn inventory(&self, now: DateTime<Utc>) -> Result<Inventory, String> {
        if self.lacks == Some(Lack::Token) {
            return Err("there is no FLY_DEPLOY_TOKEN_LIGHTHOUSE_CHECKOUT: make one with `fly tokens create deploy \
                        --app lighthouse-checkout --name watchbell-deploy --expiry 8760h` and give it to me in the \
                        environment"
                .to_owned());
        }
        // Nobody has set one: that some wait for a deploy is only looked at.
        Ok(Inventory { secrets: Ok(Vec::new()), ..self.inspect(now) })
    }

    fn as_of(&self, release: &Release, now: DateTime<Utc>) -> Release {
        let at = self.aged.get(&release.version).map(|age| now - *age).or(release.at);
        Release { at, ..release.clone() }
    }

    /// The same for whoever only looks.
    pub fn inspect(&self, now: DateTime<Utc>) -> Inventory {
        let releases = match self.lacks {
            Some(Lack::Releases) => Err("it answered 503".to_owned()),
            _ => Ok(self.releases.iter().map(|release| self.as_of(release, now)).collect()),
        };
        Inventory {
            app: self.app.to_owned(),
            at: now,
            machines: self.machines.clone(),
            releases,
            release_command: match self.lacks {
                Some(Lack::Releases | Lack::Record | Lack::GraphQl) => Err("it answered 503".to_owned()),
                _ => Ok(self.release_command.clone()),
            },
            secrets_at: None,
            secrets: Ok(vec![
                Secret { name: "DATABASE_URL".to_owned(), digest: "3f1a".to_owned(), at: None },
                Secret {
                    name: "API_KEY".to_owned(),
                    digest: "9c2b".to_owned(),
                    at: Some(now + chrono::TimeDelta::seconds(-30)),
                },
            ]),
        }
    }

    /// The app as a look sees it.
    pub fn health(&self) -> AppHealth {
        let machines = self.machines.iter().map(|machine| {
            let is_well = self.bad_on(&machine.id, &machine.image).is_none();
            let checks_passing = u16::from(is_well && machine.state == "started");
            Machine {
                id: machine.id.clone(),
                name: machine.name.clone(),
                region: machine.region.clone(),
                state: machine.state.clone(),
                host_ok: true,
                cordoned: false,
                checks_passing,
                checks: 1,
                // The real one says what its check saw; a machine that says nothing has not been checked yet.
                failing: if is_well { Vec::new() } else { vec!["its checks fail".to_owned()] },
                restarts: u32::try_from(
                    self.exits.iter().filter(|(of, _)| IDS.get(of - 1) == Some(&machine.id.as_str())).count(),
                )
                .ok(),
                image: machine.image.reference.clone(),
                autostop: machine.may_sleep,
            }
        });
        AppHealth { app: self.app.to_owned(), machines: Ok(machines.collect()) }
    }

    /// What an image does on a machine as it was started last.
    fn bad_on(&self, machine: &str, image: &Image) -> Option<(Trouble, &'static str)> {
        let at_first = self.characters.get(image.short()) == Some(&Character::UnhealthyAtFirst);
        self.bad(image).filter(|_| !(at_first && self.started_anew.contains(machine)))
    }

    /// What an image does when it is started; none when it is well.
    fn bad(&self, image: &Image) -> Option<(Trouble, &'static str)> {
        match self.characters.get(image.short())? {
            Character::Unhealthy | Character::UnhealthyAtFirst => Some((Trouble::Unhealthy, "its checks fail")),
            Character::CrashLoop => Some((Trouble::CrashLoop, "it ends and starts again and again")),
            Character::Gone => Some((Trouble::ImageGone, "the image cannot be had any more")),
            Character::OutOfMemory => Some((Trouble::OutOfMemory, "it was killed for want of memory")),
            Character::NotPullable => Some((Trouble::NotStarted, "it could not be started")),
            Character::BadRelease | Character::Slow => None,
        }
    }

    /// Does a step.
    pub fn step(&mut self, step: &Step) -> Stepped {
        let failed = |trouble: Trouble, says: &str, before: Option<String>| Stepped::Failed {
            trouble,
            says: says.to_owned(),
            before,
        };
        match (self.lacks, step) {
            (Some(Lack::Token), _) => return failed(Trouble::NoRights, "there is no token to act", None),
            (Some(Lack::Releases), Step::OpenRelease { .. } | Step::CloseRelease { .. }) => {
                return failed(Trouble::Unreachable, "the list of releases does not answer", None);
            }
            (_, Step::OpenRelease { image, .. }) if self.characters.get(image.short()) == Some(&Character::Gone) => {
                return failed(Trouble::ImageGone, "Fly does not take it", None);
            }
            (Some(Lack::Record), Step::OpenRelease { .. } | Step::CloseRelease { .. }) => {
                return failed(Trouble::Unreachable, "Fly does not take it", None);
            }
            (Some(Lack::Room), Step::Update { .. } | Step::Restart { .. }) => {
                return failed(Trouble::NoRoom, "there is no room on its hardware", None);
            }
            (Some(Lack::Lease), Step::Update { .. } | Step::Restart { .. }) => {
                let trouble = Trouble::LeaseHeld { by: "carol".to_owned(), until: None };
                return failed(trouble, "somebody else works on it", None);
            }
            (Some(Lack::Refusal), Step::Update { .. } | Step::Restart { .. }) => {
                return failed(Trouble::Refused, "Fly refuses to change it", None);
            }
            (Some(Lack::Answers), Step::Update { .. } | Step::Restart { .. }) => {
                return failed(Trouble::Unreachable, "Fly does not answer, and it was not changed", None);
            }
            _ => {}
        }
        let done = Stepped::Done { before: None, after: None, release: None };
        match step {
            Step::OpenRelease { image, .. } => {
                let version = self.releases.first().map_or(0, |release| release.version) + 1;
                let release = ReleaseRef { id: format!("rel-{version}"), version };
                self.releases.insert(
                    0,
                    Release {
                        id: release.id.clone(),
                        version,
                        status: "running".to_owned(),
                        image: image.clone(),
                        user: "watchbell".to_owned(),
                        at: None,
                    },
                );
                Stepped::Done { before: None, after: None, release: Some(release) }
            }
            Step::CloseRelease { .. } if self.forgets => done,
            Step::CloseRelease { release, ended } => {
                let status = match ended {
                    ReleaseEnd::Complete => "complete",
                    ReleaseEnd::Failed => "failed",
                    ReleaseEnd::Interrupted => "interrupted",
                };
                self.releases.iter_mut().filter(|one| one.id == release.id).for_each(|one| one.status = status.into());
                done
            }
            Step::RunReleaseCommand { to, command, .. } => match self.characters.get(to.short()) {
                Some(Character::Gone) => failed(Trouble::ImageGone, "the image cannot be had any more", None),
                Some(Character::BadRelease) => {
                    let says = format!(
                        "the release command “{command}” ended with exit code 1; it said last: Error: relation \
                         \"orders\" does not exist"
                    );
                    failed(Trouble::ReleaseCommandFailed { exit_code: Some(1) }, &says, None)
                }
                _ => done,
            },
            Step::Trial { like, to, .. } => match self.bad(to) {
                Some((trouble, says)) => failed(trouble, &format!("the trial failed: {says}"), None),
                None if self.machines.iter().any(|one| one.id == *like && one.has_volume) => {
                    failed(Trouble::Refused, "the image was not tried: the machine has a volume", None)
                }
                None => done,
            },
            Step::Update { machine, to, launch, wait, .. } => {
                let bad = self.bad(to);
                if self.machines.iter().any(|one| one.id == *machine && !one.host_ok) {
                    return failed(Trouble::HostGone, "the hardware under it does not answer", None);
                }
                if let Some((trouble @ Trouble::ImageGone, says)) = bad {
                    return failed(trouble, says, None);
                }
                self.started_anew.remove(machine);
                match self.change(machine, |found| found.image = to.clone()) {
                    Stepped::Done { before, .. }
                        if *launch
                            && *wait
                            && let Some((trouble, says)) = bad =>
                    {
                        failed(trouble, says, before)
                    }
                    end => end,
                }
            }
            Step::Resize { machine, guest } => {
                let guest = guest.clone();
                self.change(machine, |found| found.guest = Some(guest))
            }
            Step::SetAutostop { machine, autostop, autostart, min_running } => {
                let (autostop, autostart, least) = (*autostop, *autostart, *min_running);
                self.change(machine, |found| {
                    found.may_sleep = autostop != Autostop::Off && autostart;
                    let min_running = least.or(found.rest.map(|rest| rest.min_running)).unwrap_or(0);
                    found.rest = Some(Rest { autostop, autostart, min_running });
                })
            }
            Step::Zero { machine } => self.change(machine, |found| {
                (found.state, found.may_sleep) = ("stopped".to_owned(), false);
                found.rest = Some(Rest { autostop: Autostop::Off, autostart: false, min_running: 0 });
            }),
            Step::Stop { machine } => self.turn(machine, "stopped"),
            Step::Start { machine } | Step::Restart { machine } => {
                self.started_anew.insert(machine.clone());
                let runs = self.machines.iter().find(|one| one.id == *machine).map(|one| one.image.clone());
                match runs.and_then(|image| self.bad_on(machine, &image)) {
                    Some((trouble, says)) => failed(trouble, says, None),
                    None => self.turn(machine, "started"),
                }
            }
        }
    }

    /// A machine's program ends by itself and is started again.
    pub fn end(&mut self, machine: usize, is_oom: bool, at: DateTime<Utc>) {
        let at_ms = at.timestamp_millis();
        let code = if is_oom { 137 } else { 1 };
        self.exits.push((machine, Exited { at_ms, at, code, oom_killed: is_oom, requested: false }));
    }

    /// What happened to the machines of late.
    pub fn life(&self) -> Vec<Lived> {
        let lived = |(n, machine): (usize, &Running)| Lived {
            id: machine.id.clone(),
            state: machine.state.clone(),
            host_ok: machine.host_ok,
            exits: self.exits.iter().filter(|(of, _)| *of == n + 1).map(|(_, exit)| *exit).collect(),
        };
        self.machines.iter().enumerate().map(lived).collect()
    }

    /// A machine is in that state from now on.
    pub fn stick(&mut self, machine: usize, state: &str) {
        self.machines.iter_mut().skip(machine - 1).take(1).for_each(|one| one.state = state.to_owned());
    }

    /// The hardware under the first machine fails, or is back.
    pub fn hardware(&mut self, ok: bool) {
        self.machines.iter_mut().take(1).for_each(|machine| machine.host_ok = ok);
    }

    /// Somebody else changes the first machine's configuration.
    pub fn reconfigure(&mut self) {
        self.machines.iter_mut().take(1).for_each(|machine| machine.config_sha256.push('~'));
    }

    /// Changes a machine's configuration.
    fn change(&mut self, machine: &str, change: impl FnOnce(&mut Running)) -> Stepped {
        let Some(found) = self.machines.iter_mut().find(|one| one.id == machine) else {
            let (trouble, says) = (Trouble::Gone, "it is not there any more".to_owned());
            return Stepped::Failed { trouble, says, before: None };
        };
        change(found);
        found.instance.push('+');
        found.config_sha256.push('+');
        let (before, after) = (Some(format!("config of {machine}")), Some(format!("new config of {machine}")));
        Stepped::Done { before, after, release: None }
    }

    /// Starts or stops a machine.
    fn turn(&mut self, machine: &str, state: &str) -> Stepped {
        self.machines.iter_mut().filter(|one| one.id == machine).for_each(|one| one.state = state.to_owned());
        Stepped::Done { before: None, after: None, release: None }
    }
}

/// `machine 3 sticks in stopping`: which machine, counted from 1, and its state.
pub fn sticks(what: &str) -> Option<(usize, &str)> {
    let (machine, state) = what.strip_prefix("machine ")?.split_once(" sticks in ")?;
    Some((machine.parse().ok()?, state))
}
