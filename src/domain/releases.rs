//! What was released at the host, whoever made it: the newest releases of each app, and what a look at them changes.
//!
//! Pure. Owns the ledger, which release counts as made elsewhere, and which one an incident's button takes back. A look is no
//! fact; a number that was not known, and the end of a release that was open, are. Never asks the host anything.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::deploy::{Deploy, Kind, Phase, judge, run};
use super::draft::{Ctx, Draft};
use super::effect::{EffectKind, Target};
use super::fact::{At, Fact};
use super::hosting::{Image, Release, Step};
use super::ids::{DeployId, IncidentId, Service, Thing};
use super::incident::Incident;
use super::input::ReleasesLook;
use super::message::{Button, ButtonStyle, Message};
use super::services;
use super::state::State;
use super::text::releases as words;
use super::workspace::{Stage, Workspace};

/// Releases of an app that are kept in memory.
pub const RELEASES_HELD: usize = 20;
/// A release that could not be closed is closed this many times more at most, one try a look.
const CLOSED_AGAIN_MAX: u8 = 5;
/// Characters of an image that are kept.
const IMAGE_CHARS_MAX: usize = 300;
/// Characters of a status or of a user's name that are kept.
const WORD_CHARS_MAX: usize = 80;
/// A release of the image that we were putting up counts as ours when it was made after we began and no later than this after Fly's
/// answer to us was given up.
const OURS_WITHIN: TimeDelta = TimeDelta::minutes(15);
/// Lost releases of an app that are remembered: the list of releases may be away for long.
const LOST_MAX: usize = 16;
/// How far Fly's clock may be behind ours.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::minutes(1);

/// The change of ours that a release belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ours {
    /// Which.
    pub deploy: DeployId,
    /// What kind of change.
    pub kind: Kind,
}

/// A release as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Its number.
    pub version: u64,
    /// What it put up.
    pub image: Image,
    /// The host's word: `complete`, `failed`, `running`, `interrupted`; an open list.
    pub status: String,
    /// Who made it, in the host's words; empty for ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// The change of ours that made it; somebody else did when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours: Option<Ours>,
}

impl Released {
    /// As the host tells it, cut to what is kept.
    fn of(release: &Release) -> Self {
        let cut = |text: &str, chars: usize| text.chars().take(chars).collect::<String>();
        let image = Image {
            reference: cut(&release.image.reference, IMAGE_CHARS_MAX),
            digest: release.image.digest.as_deref().map(|digest| cut(digest, IMAGE_CHARS_MAX)),
        };
        Self {
            version: release.version,
            image,
            status: cut(&release.status, WORD_CHARS_MAX),
            user: cut(&release.user, WORD_CHARS_MAX),
            at: release.at,
            ours: None,
        }
    }

    /// Whether it ended well.
    pub fn is_complete(&self) -> bool {
        self.status == "complete"
    }

    /// Whether it is still being rolled out.
    pub fn is_open(&self) -> bool {
        is_open(&self.status)
    }
}

/// Undocumented: which words Fly has for a release that is not over. Every other word counts as an end.
fn is_open(status: &str) -> bool {
    matches!(status, "" | "pending" | "running")
}

/// The newest releases of one app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Whether it began with what the host had. Before that only ours are in it.
    pub seeded: bool,
    /// Newest first.
    pub releases: Vec<Released>,
    /// Those of ours that the host may have, and whose number never came back; the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
}

/// A release of ours that the host may have, and whose number never came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The change that made it.
    pub ours: Ours,
    /// What it puts up.
    pub image: Image,
    /// When the stage began that asked for it.
    pub began: At,
    /// When nobody waited for its number any more. However long after: the bot may have been away in between.
    pub given_up: At,
}

impl Ledger {
    /// A release by its number.
    pub fn get(&self, version: u64) -> Option<&Released> {
        self.releases.iter().find(|release| release.version == version)
    }

    /// The newest.
    pub fn newest(&self) -> Option<&Released> {
        self.releases.first()
    }

    /// What could be gone back to, newest first: complete ones older than the newest, with another image than it has, each image once.
    pub fn earlier(&self) -> impl Iterator<Item = &Released> {
        let newest = self.newest();
        let is_another = move |one: &&Released| newest.is_some_and(|newest| !newest.image.is(&one.image));
        let complete = || self.releases.iter().skip(1).filter(|one| one.is_complete());
        let is_newest = move |one: &&Released| {
            complete().find(|other| other.image.is(&one.image)).is_none_or(|first| first.version == one.version)
        };
        complete().filter(is_another).filter(is_newest)
    }

    fn take(&mut self, release: Released) {
        self.releases.retain(|known| known.version != release.version);
        let at = self.releases.partition_point(|known| known.version > release.version);
        self.releases.insert(at, release);
        self.releases.truncate(RELEASES_HELD);
    }
}

/// Ledgers by app.
pub type Ledgers = BTreeMap<String, Ledger>;

/// Brings the ledgers forward by one fact about the team.
pub fn apply(ledgers: &mut Ledgers, fact: &Fact) {
    match fact {
        Fact::ReleasesSeeded { app, releases } => {
            let mut releases = releases.clone();
            releases.truncate(RELEASES_HELD);
            let lost = ledgers.remove(app).map(|known| known.lost).unwrap_or_default();
            ledgers.insert(app.clone(), Ledger { seeded: true, releases, lost });
        }
        Fact::ReleasesSeen { app, releases, .. } => {
            let ledger = ledgers.entry(app.clone()).or_default();
            for release in releases {
                // It was found.
                ledger.lost.retain(|lost| release.ours != Some(lost.ours) || !is_same(&lost.image, &release.image));
                ledger.take(release.clone());
            }
        }
        Fact::ReleaseEnded { app, version, status, .. } => {
            let known = ledgers.get_mut(app).into_iter().flat_map(|ledger| &mut ledger.releases);
            known.filter(|one| one.version == *version).for_each(|one| one.status.clone_from(status));
        }
        _ => {}
    }
}

/// Follows a release of ours in the ledger: once its number is known, and once its end is on the host's record. `deploy` is as it
/// was before the fact.
pub fn apply_ours(ledgers: &mut Ledgers, deploy: &Deploy, at: At, fact: &Fact) {
    match (fact, &deploy.release) {
        (Fact::ReleaseOpened { release: Some(release), .. }, _) => {
            let ours = Ours { deploy: deploy.id, kind: deploy.plan.kind };
            ledgers.entry(deploy.plan.app.clone()).or_default().take(Released {
                version: release.version,
                image: deploy.plan.to.image.clone(),
                status: "running".to_owned(),
                user: String::new(),
                at: Some(at),
                ours: Some(ours),
            });
        }
        (Fact::ReleaseOpened { release: None, trouble: Some(_) }, _) => {
            let ours = Ours { deploy: deploy.id, kind: deploy.plan.kind };
            let began = deploy.stage_at.or(deploy.started_at).unwrap_or(at);
            let lost = &mut ledgers.entry(deploy.plan.app.clone()).or_default().lost;
            lost.push(Lost { ours, image: deploy.plan.to.image.clone(), began, given_up: at });
            lost.drain(..lost.len().saturating_sub(LOST_MAX));
        }
        (Fact::Settling { .. } | Fact::Surveying { .. } | Fact::ReleaseClosed, Some(release))
            if matches!(fact, Fact::ReleaseClosed)
                || deploy.phase == Phase::Closing && deploy.release_trouble.is_none() =>
        {
            let known = ledgers.get_mut(&deploy.plan.app).into_iter().flat_map(|ledger| &mut ledger.releases);
            let ended = judge::release_end(deploy).word();
            known.filter(|one| one.version == release.version).for_each(|one| one.status = ended.to_owned());
        }
        _ => {}
    }
}

/// Open incidents whose card shows something else once this fact holds: it is drawn anew without anything being said.
pub fn shown_on(state: &State, on: Thing, fact: &Fact) -> Vec<IncidentId> {
    let service = match (on, fact) {
        (Thing::Team, Fact::ReleasesSeen { service, .. } | Fact::ReleaseEnded { service, .. }) => Some(service),
        (
            Thing::Deploy(id),
            Fact::ReleaseOpened { .. } | Fact::Settling { .. } | Fact::Surveying { .. } | Fact::ReleaseClosed,
        ) => state.team.deploys.get(&id).map(|deploy| &deploy.plan.service),
        _ => None,
    };
    let Some(service) = service else { return Vec::new() };
    state.open().filter(|incident| incident.services.contains(service)).map(|incident| incident.id).collect()
}

/// Decides what a look at an app's releases changes.
pub fn decide(draft: &mut Draft<'_>, look: &ReleasesLook) {
    let Some((service, stage)) = of_app(draft.ctx.workspace, &look.app) else { return };
    // A release of ours is being made this moment, and its number is not known yet: the next look says it again.
    if is_opening(&draft.ctx, &look.app) {
        return;
    }
    let mut polled: Vec<Released> = look.releases.iter().map(Released::of).collect();
    polled.sort_by_key(|release| std::cmp::Reverse(release.version));
    polled.dedup_by_key(|release| release.version);
    close_again(draft, &look.app, &polled);
    // A clock that is ahead of ours makes nothing happen in the future.
    polled.iter_mut().for_each(|release| release.at = release.at.map(|at| at.min(draft.ctx.now)));
    let known = draft.ctx.state.team.releases.get(&look.app);
    match known.filter(|ledger| ledger.seeded && !was_made_anew(ledger, &polled)) {
        None => seed(draft, &look.app, known, polled),
        Some(known) => {
            ended(draft, look, &service, stage, known, &polled);
            arrived(draft, look, service, stage, known, polled);
        }
    }
}

/// Which copy of which service an app is.
fn of_app(workspace: &Workspace, app: &str) -> Option<(Service, Stage)> {
    workspace.services.iter().find_map(|service| {
        let stage = service.stages().find(|(_, spec)| spec.fly_app.as_deref() == Some(app));
        stage.map(|(stage, _)| (service.name.clone(), stage))
    })
}

/// A release of ours that could not be closed is closed at a later look, a few times: open, it says that something is at work.
fn close_again(draft: &mut Draft<'_>, app: &str, polled: &[Released]) {
    let state = draft.ctx.state;
    let is_asked = |id: DeployId| {
        let closes = |kind: &EffectKind| matches!(kind, EffectKind::Act { deploy, step: Step::CloseRelease { .. }, .. } if *deploy == id);
        state.pending.values().any(|effect| closes(&effect.kind))
    };
    let left = state.team.deploys.values().filter(|deploy| deploy.plan.app == app && deploy.left_a_release_open());
    for deploy in left.filter(|deploy| !is_asked(deploy.id)) {
        let version = deploy.release.as_ref().map(|release| release.version);
        match polled.iter().find(|release| Some(release.version) == version) {
            Some(release) if release.is_open() && deploy.closed_again < CLOSED_AGAIN_MAX => {
                run::close_again(draft, deploy);
            }
            // What we asked for was done, and its answer was lost; or somebody did it by hand.
            Some(release) if !release.is_open() => draft.fact(deploy.id, Fact::ReleaseClosed),
            _ => {}
        }
    }
}

fn is_opening(ctx: &Ctx<'_>, app: &str) -> bool {
    ctx.state.team.deploys.values().any(|deploy| deploy.plan.app == app && deploy.phase == Phase::Opening)
}

/// Whether the host counts from the beginning: the app was destroyed and made again under its name.
fn was_made_anew(known: &Ledger, polled: &[Released]) -> bool {
    match (known.releases.last(), polled.first()) {
        (Some(oldest), Some(newest)) => newest.version < oldest.version,
        _ => false,
    }
}

/// What runs before anybody asks is nobody's news.
fn seed(draft: &mut Draft<'_>, app: &str, known: Option<&Ledger>, polled: Vec<Released>) {
    let newest = polled.first().map(|release| release.version);
    let mut ledger = Ledger { seeded: true, releases: polled, lost: Vec::new() };
    // What we made before the first look stays known as ours, unless the app is another by now.
    for ours in known.filter(|known| !known.seeded).into_iter().flat_map(|known| &known.releases) {
        let status = ledger.get(ours.version).map(|told| told.status.clone());
        if status.is_some() || newest.is_none_or(|newest| ours.version > newest) {
            ledger.take(Released { status: status.unwrap_or_else(|| ours.status.clone()), ..ours.clone() });
        }
    }
    ledger.releases.truncate(RELEASES_HELD);
    draft.fact(Thing::Team, Fact::ReleasesSeeded { app: app.to_owned(), releases: ledger.releases });
}

/// Numbers that were not known.
fn arrived(
    draft: &mut Draft<'_>,
    look: &ReleasesLook,
    service: Service,
    stage: Stage,
    known: &Ledger,
    polled: Vec<Released>,
) {
    let oldest = known.releases.last().map_or(0, |release| release.version);
    let mut new: Vec<Released> = polled;
    new.retain(|release| release.version > oldest && known.get(release.version).is_none());
    new.truncate(RELEASES_HELD);
    for release in &mut new {
        release.at = release.at.or(Some(draft.ctx.now));
        release.ours = ours(&draft.ctx, &look.app, release);
        if release.ours.is_some() {
            release.user.clear();
        }
    }
    if new.is_empty() {
        return;
    }
    let seen = |releases| Fact::ReleasesSeen { app: look.app.clone(), service: service.clone(), stage, releases };
    let foreign: Vec<Released> = new.iter().filter(|release| release.ours.is_none()).cloned().collect();
    let seen_of_foreign = seen(foreign.clone());
    draft.fact(Thing::Team, seen(new));
    if let (Some(line), Stage::Production) = (words::deployed_elsewhere(&service, &foreign), stage) {
        tell(draft, &service, &seen_of_foreign, Message::line(line));
    }
}

/// Releases that were open and are over.
fn ended(
    draft: &mut Draft<'_>,
    look: &ReleasesLook,
    service: &Service,
    stage: Stage,
    known: &Ledger,
    polled: &[Released],
) {
    for now in polled.iter().filter(|release| !release.is_open()) {
        let Some(before) = known.get(now.version).filter(|before| before.is_open()) else { continue };
        let (app, status) = (look.app.clone(), now.status.clone());
        let (service, version) = (service.clone(), now.version);
        let fact = Fact::ReleaseEnded { app, service: service.clone(), stage, version, status };
        draft.fact(Thing::Team, fact.clone());
        if before.ours.is_none() && !now.is_complete() && stage == Stage::Production {
            let line = words::ended_elsewhere(&service, before, &now.status);
            tell(draft, &service, &fact, Message::line(line));
        }
    }
}

/// Says it in the channel, and where an open incident of the service is talked about, on its record too.
fn tell(draft: &mut Draft<'_>, service: &Service, fact: &Fact, message: Message) {
    draft.post(Thing::Team, Target::Incidents, message.clone());
    for id in services::about(draft, service) {
        draft.fact(id, fact.clone());
        draft.post(id, Target::Thread(id), message.clone());
    }
}

/// The change of ours that a release must be, although its number never came back to us: it was cut off while it told Fly.
fn ours(ctx: &Ctx<'_>, app: &str, release: &Released) -> Option<Ours> {
    let made_at = release.at.unwrap_or(ctx.now);
    let lost = ctx.state.team.releases.get(app).into_iter().flat_map(|ledger| ledger.lost.iter().rev());
    let is_it = |lost: &&Lost| {
        let could_be = lost.began - CLOCKS_APART_MAX..=lost.given_up + OURS_WITHIN;
        could_be.contains(&made_at) && is_same(&lost.image, &release.image)
    };
    { lost }.find(is_it).map(|lost| lost.ours)
}

/// Whether two images are the same, also where one is told by its tag and the other by tag and digest.
fn is_same(one: &Image, other: &Image) -> bool {
    let named = |image: &Image| image.reference.split('@').next().unwrap_or_default().to_owned();
    one.is(other) || named(one) == named(other)
}

/// The newest releases of the app of a service's production; none when it has no app or none are known.
pub fn ledger<'a>(ctx: &Ctx<'a>, service: &Service, stage: Stage) -> Option<&'a Ledger> {
    let spec = ctx.workspace.services.iter().find(|spec| spec.name == *service)?;
    let (_, spec) = spec.stages().find(|(one, _)| *one == stage)?;
    ctx.state.team.releases.get(spec.fly_app.as_deref()?)
}

/// What was put up in production of these services lately, as long ago as the policy says; newest first.
pub fn recent<'a>(ctx: &Ctx<'a>, services: &[Service]) -> Vec<(Service, &'a Released)> {
    let since = ctx.now - ctx.policy.deploys.recent_within.delta();
    let mut found: Vec<(Service, &Released)> = Vec::new();
    for service in services {
        let releases = ledger(ctx, service, Stage::Production).into_iter().flat_map(|ledger| &ledger.releases);
        found.extend(
            releases.filter(|one| one.at.is_some_and(|at| at >= since)).map(|release| (service.clone(), release)),
        );
    }
    found.sort_by_key(|(_, release)| std::cmp::Reverse(release.at));
    found
}

/// The release that a rollback would take back: the newest, put up lately and not found to have failed. Never a rollback, which
/// would bring back what it took away, and nothing while something is at work on the app.
pub fn to_take_back(ctx: &Ctx<'_>, services: &[Service]) -> Option<(Service, u64)> {
    let recent = recent(ctx, services);
    services.iter().find_map(|service| {
        let newest = ledger(ctx, service, Stage::Production)?.newest()?;
        let is_recent = recent.iter().any(|(of, one)| of == service && one.version == newest.version);
        let is_rollback = newest.ours.is_some_and(|ours| ours.kind == Kind::Rollback);
        let is_good = newest.is_open() || newest.is_complete();
        let is_busy = |deploy: &Deploy| {
            deploy.plan.service == *service && deploy.plan.stage == Stage::Production && deploy.is_running()
        };
        let is_busy = ctx.state.team.deploys.values().any(is_busy);
        (is_recent && is_good && !is_rollback && !is_busy).then(|| (service.clone(), newest.version))
    })
}

/// "Roll back v42", for an open incident's card and for whatever calls people to it.
pub fn button(ctx: &Ctx<'_>, incident: &Incident) -> Option<Button> {
    let (service, version) = to_take_back(ctx, &incident.services)?;
    let IncidentId(n) = incident.id;
    Some(Button::new(format!("back:{n}:{version}:{service}"), format!("Roll back v{version}"), ButtonStyle::Danger))
}
