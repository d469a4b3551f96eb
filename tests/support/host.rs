//! A host for the pure world: an app with its machines and releases, and images that behave badly. Does at once what the real
//! one takes minutes for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use watchbell::domain::health::{AppHealth, Machine};
use watchbell::domain::hosting::{Image, Inventory, Release, ReleaseEnd, ReleaseRef, Running, Step, Trouble};
use watchbell::domain::input::Stepped;

/// The app that transcripts act on.
pub const APP: &str = "lighthouse-checkout";

/// What the machines are called.
pub const IDS: [&str; 3] = ["1781000a", "1781000b", "1781000c"];

/// How an image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// Starts and fails its checks.
    Unhealthy,
    /// Starts and ends, again and again.
    CrashLoop,
    /// Cannot be had any more.
    Gone,
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
}

/// One app.
#[derive(Debug, Clone)]
pub struct Host {
    machines: Vec<Running>,
    releases: Vec<Release>,
    /// How images behave, by tag.
    pub characters: BTreeMap<String, Character>,
    /// What stands in the way.
    pub lacks: Option<Lack>,
    /// Nothing comes to its end for now.
    pub holds: bool,
}

fn image(tag: &str) -> Image {
    Image::new(format!("registry.fly.io/{APP}:{tag}"))
}

impl Host {
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
            machines: vec![
                machine(IDS[0], "iad", "started"),
                machine(IDS[1], "ord", "started"),
                machine(IDS[2], "ord", "stopped"),
            ],
            releases: vec![release(42, 1), release(41, 8), release(40, 15)],
            characters: BTreeMap::new(),
            lacks: None,
            holds: false,
        }
    }

    /// What a plan is made of.
    pub fn inventory(&self, now: DateTime<Utc>) -> Result<Inventory, String> {
        if self.lacks == Some(Lack::Token) {
            return Err("there is no FLY_DEPLOY_TOKEN_LIGHTHOUSE_CHECKOUT: make one with `fly tokens create deploy \
                        --app lighthouse-checkout` and give it to me"
                .to_owned());
        }
        let releases = match self.lacks {
            Some(Lack::Releases) => Err("it answered 503".to_owned()),
            _ => Ok(self.releases.clone()),
        };
        Ok(Inventory {
            app: APP.to_owned(),
            at: now,
            machines: self.machines.clone(),
            releases,
            release_command: None,
            secrets_at: None,
        })
    }

    /// The app as a look sees it.
    pub fn health(&self) -> AppHealth {
        let machines = self.machines.iter().map(|machine| {
            let character = self.characters.get(machine.image.short());
            let checks_passing = u16::from(character.is_none() && machine.state == "started");
            Machine {
                id: machine.id.clone(),
                name: machine.name.clone(),
                region: machine.region.clone(),
                state: machine.state.clone(),
                host_ok: true,
                cordoned: false,
                checks_passing,
                checks: 1,
                failing: Vec::new(),
                restarts: Some(0),
                image: machine.image.reference.clone(),
                autostop: true,
            }
        });
        AppHealth { app: APP.to_owned(), machines: Ok(machines.collect()) }
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
            (Some(Lack::Room), Step::Update { .. } | Step::Restart { .. }) => {
                return failed(Trouble::NoRoom, "there is no room on its hardware", None);
            }
            _ => {}
        }
        let done = Stepped::Done { before: None, after: None, release: None };
        match step {
            Step::OpenRelease { image } => {
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
            Step::CloseRelease { release, ended } => {
                let status = match ended {
                    ReleaseEnd::Complete => "complete",
                    ReleaseEnd::Failed => "failed",
                    ReleaseEnd::Interrupted => "interrupted",
                };
                self.releases.iter_mut().filter(|one| one.id == release.id).for_each(|one| one.status = status.into());
                done
            }
            Step::Update { machine, to, launch, .. } => {
                let character = self.characters.get(to.short()).copied();
                let Some(found) = self.machines.iter_mut().find(|one| one.id == *machine) else {
                    return failed(Trouble::Gone, "it is not there any more", None);
                };
                if character == Some(Character::Gone) {
                    return failed(Trouble::ImageGone, "the image cannot be had any more", None);
                }
                let before = format!("config of {machine}");
                found.image = to.clone();
                found.instance.push('+');
                found.config_sha256.push('+');
                match character.filter(|_| *launch) {
                    Some(Character::Unhealthy) => failed(Trouble::Unhealthy, "its checks fail", Some(before)),
                    Some(Character::CrashLoop) => {
                        failed(Trouble::CrashLoop, "it ends and starts again and again", Some(before))
                    }
                    _ => Stepped::Done {
                        before: Some(before),
                        after: Some(format!("new config of {machine}")),
                        release: None,
                    },
                }
            }
            _ => done,
        }
    }
}
