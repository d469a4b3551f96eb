//! Making a plan: what runs, what will, in which order, and what it does not undo.
//!
//! Pure: from what the host said a moment ago, with the reason for every choice. A rollback is never refused by anything here
//! but the lack of something to go back to.

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::known::Against;
use super::{Kind, Plan, Shipped, Strategy};
use crate::domain::hosting::{Image, Inventory, Release, Running};
use crate::domain::ids::Service;
use crate::domain::text::releases as words;
use crate::domain::workspace::Stage;

/// Releases that are offered to go back to.
pub const OFFERED_MAX: usize = 5;

/// Secrets that are named.
const NAMED_MAX: usize = 5;

/// Images that nothing runs are pruned one day; of a younger release nobody needs to be told.
const IMAGE_SURE_FOR: TimeDelta = TimeDelta::days(30);

/// What most machines run, with the newest release that put it up.
pub fn running(inventory: &Inventory) -> Option<Shipped> {
    let most = inventory.machines.iter().max_by_key(|machine| {
        let same = inventory.machines.iter().filter(|other| other.image.is(&machine.image)).count();
        // Of two that as many run, the one that runs now counts.
        (same, machine.is_up())
    })?;
    let release = with_image(inventory, &most.image);
    Some(Shipped { image: most.image.clone(), version: release.map(|release| release.version) })
}

/// The newest release that put this image up: one that ended well before one that did not.
pub fn with_image<'a>(inventory: &'a Inventory, image: &Image) -> Option<&'a Release> {
    let with = || releases(inventory).iter().filter(|release| release.image.is(image));
    with().find(|release| release.is_complete()).or_else(|| with().next())
}

fn releases(inventory: &Inventory) -> &[Release] {
    inventory.releases.as_deref().unwrap_or_default()
}

/// What could be gone back to, the best first: complete releases older than what runs, each image once, none that runs and none
/// that is known to be bad.
pub fn earlier<'a>(inventory: &'a Inventory, bad: &[(Image, Against)]) -> Vec<&'a Release> {
    let now = running(inventory);
    let newest = now.as_ref().and_then(|now| now.version).unwrap_or(u64::MAX);
    let mut found: Vec<&Release> = Vec::new();
    for release in releases(inventory) {
        let runs = now.as_ref().is_some_and(|now| now.image.is(&release.image));
        let is_known = found.iter().any(|known| known.image.is(&release.image));
        let is_bad = bad.iter().any(|(bad, _)| bad.is(&release.image));
        if release.is_complete() && release.version < newest && !runs && !is_known && !is_bad {
            found.push(release);
        }
    }
    found.truncate(OFFERED_MAX);
    found
}

/// What a plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of which service.
    pub service: Service,
    /// Which copy.
    pub stage: Stage,
    /// Machines that may be away at once, as a share of all in hundredths.
    pub at_once_percent: u16,
    /// Images that were tried and did not do, or were taken back: nobody goes to them unless they are named.
    pub bad: Vec<(Image, Against)>,
}

/// A plan to go back.
///
/// # Errors
/// A sentence, when there is nothing to go back to.
pub fn rollback(inventory: &Inventory, wanted: &Wanted, to: Option<&str>) -> Result<Plan, String> {
    let from = running(inventory).ok_or_else(|| nothing_runs(inventory))?;
    let earlier = earlier(inventory, &wanted.bad);
    let release = match to {
        Some(named) => chosen(inventory, &wanted.bad, named)?,
        None => earlier.first().copied().cloned().ok_or_else(|| match &inventory.releases {
            Err(why) => format!(
                "Fly does not say what was released before ({why}). Give the image to go back to: \
                 `/rollback service:{} to:registry.fly.io/…`.",
                wanted.service
            ),
            Ok(_) => format!(
                "There is no earlier release of {} that ended well with another image. Give the image itself: \
                 `/rollback service:{} to:registry.fly.io/…`.",
                inventory.app, wanted.service
            ),
        })?,
    };
    let to = Shipped { image: release.image.clone(), version: (release.version > 0).then_some(release.version) };
    let mut notes = warned(wanted, &to.image);
    notes.push(what_stays(inventory, "configuration"));
    if let (Some(set), Some(then)) = (inventory.secrets_at, release.at)
        && set > then
    {
        notes.push("A secret was changed since that release; it stays changed.".to_owned());
    }
    if let Some(then) = release.at.filter(|then| inventory.at - *then > IMAGE_SURE_FOR) {
        let days = (inventory.at - then).num_days();
        notes.push(format!(
            "That release is {days} days old. Whether Fly still has its image shows when the first machine takes it; if not, nothing is changed."
        ));
    }
    match &inventory.release_command {
        Ok(Some(command)) => notes.push(format!(
            "“{command}” ran with the releases between; what it changed (a migration?) is not undone, and it is not run now."
        )),
        Ok(None) => {}
        Err(why) => notes.push(format!(
            "Fly does not say whether a release command ran with the releases between ({why}); what one changed is not undone."
        )),
    }
    let mut plan = plan(Kind::Rollback, inventory, wanted, from, to, notes);
    // A machine that runs it already serves: it is not started anew for nothing.
    let all = plan.machines.len();
    let is_there = |machine: &Running| machine.image.is(&plan.to.image);
    if plan.machines.iter().any(is_there) && !plan.machines.iter().all(is_there) {
        let to = plan.to.image.clone();
        plan.machines.retain(|machine| !machine.image.is(&to));
        let there = all - plan.machines.len();
        plan.notes.push(match there {
            1 => "One machine runs it already and is left as it is.".to_owned(),
            count => format!("{count} machines run it already and are left as they are."),
        });
        plan.at_once = at_once(&plan.machines, wanted.at_once_percent);
        plan.hash = hash(&plan);
    }
    Ok(plan)
}

/// The image that is meant by a name; without one, the image that suggests itself: what staging runs and production does not,
/// else the newest that was released and does not run.
///
/// # Errors
/// A sentence, when there is none.
pub fn candidate(last: &Inventory, staging: Option<&Inventory>, named: Option<&str>) -> Result<Image, String> {
    if let Some(named) = named {
        let elsewhere = || staging.and_then(|staging| chosen(staging, &[], named).ok());
        return match chosen(last, &[], named) {
            Ok(release) => Ok(release.image),
            Err(why) => elsewhere().map(|release| release.image).ok_or(why),
        };
    }
    let now = running(last).map(|now| now.image);
    let is_other = |image: &Image| now.as_ref().is_none_or(|now| !now.is(image));
    let staged = staging.and_then(running).map(|staged| staged.image).filter(is_other);
    let is_whole = |release: &&Release| !matches!(release.status.as_str(), "failed" | "interrupted");
    let newest = || releases(last).iter().filter(is_whole).find(|release| is_other(&release.image));
    let newest = || newest().filter(|release| running(last).and_then(|now| now.version) < Some(release.version));
    staged.or_else(|| newest().map(|release| release.image.clone())).ok_or_else(|| {
        format!(
            "I know no image that is newer than what {} runs. Push one (`fly deploy --build-only --push --app {}`) and give it: \
             `image:registry.fly.io/…`.",
            last.app, last.app
        )
    })
}

/// A plan to put an image up.
///
/// # Errors
/// A sentence, when there is nothing to put it on, or not in this way.
pub fn forward(inventory: &Inventory, wanted: &Wanted, image: &Image, strategy: Strategy) -> Result<Plan, String> {
    let from = running(inventory).ok_or_else(|| nothing_runs(inventory))?;
    if strategy == Strategy::Canary && inventory.machines.iter().any(|machine| machine.has_volume) {
        return Err(format!(
            "{} has volumes, and a canary cannot share them. Deploy it rolling: each machine is well before the next.",
            inventory.app
        ));
    }
    let release = with_image(inventory, image);
    let image = release.map_or_else(|| image.clone(), |release| release.image.clone());
    let to = Shipped { image, version: release.map(|release| release.version) };
    let mut notes = warned(wanted, &to.image);
    notes.push(what_stays(inventory, "fly.toml"));
    let mut plan = plan(Kind::Deploy, inventory, wanted, from, to, notes);
    plan.strategy = strategy;
    before_first(&mut plan, inventory);
    if strategy == Strategy::Immediate {
        plan.at_once = u16::try_from(plan.machines.len()).unwrap_or(u16::MAX);
        plan.notes.push("All machines at once, waiting for none: requests fail until they are up.".to_owned());
    }
    if let Some(machine) = plan.machines.iter().find(|machine| machine.has_volume) {
        let note = format!("{} has a volume: it is stopped before it is started with the new image.", machine.id);
        plan.notes.push(note);
    }
    plan.hash = hash(&plan);
    Ok(plan)
}

/// The same plan for what runs by now.
pub fn again(planned: &Plan, inventory: &Inventory) -> Plan {
    let mut now = planned.clone();
    if let Some(from) = running(inventory) {
        now.from = from;
    }
    now.machines.clone_from(&inventory.machines);
    now.machines.sort_by_key(|machine| !machine.is_up());
    before_first(&mut now, inventory);
    now.hash = hash(&now);
    now
}

/// What runs before the first machine. Where that is not told, what was known stays, and the plan says that it is not known now.
fn before_first(plan: &mut Plan, inventory: &Inventory) {
    match &inventory.release_command {
        Ok(command) => (plan.release_command, plan.release_command_unknown) = (command.clone(), None),
        Err(why) => plan.release_command_unknown = Some(why.clone()),
    }
}

/// The way back from a plan, on the machines that are there now; so many at once as a rollback takes.
pub fn back(failed: &Plan, machines: Vec<Running>, at_once_percent: u16) -> Plan {
    let mut back = failed.clone();
    back.kind = Kind::Rollback;
    (back.from, back.to) = (failed.to.clone(), failed.from.clone());
    back.machines = machines;
    back.machines.sort_by_key(|machine| !machine.is_up());
    back.at_once = at_once(&back.machines, at_once_percent);
    (back.strategy, back.scale) = (Strategy::Rolling, None);
    back.notes = vec!["Image only: configuration and secrets stay as they are now.".to_owned()];
    back.hash = hash(&back);
    back
}

/// A plan that leaves every machine as it is: what others are made from.
///
/// # Errors
/// A sentence, when there are none.
pub fn restart_all(inventory: &Inventory, wanted: &Wanted) -> Result<Plan, String> {
    let from = running(inventory).ok_or_else(|| nothing_runs(inventory))?;
    Ok(plan(Kind::Restart, inventory, wanted, from.clone(), from, Vec::new()))
}

/// A plan to start every machine anew.
///
/// # Errors
/// A sentence, when there is nothing to restart.
pub fn restart(inventory: &Inventory, wanted: &Wanted) -> Result<Plan, String> {
    let from = running(inventory).ok_or_else(|| nothing_runs(inventory))?;
    let notes = vec![
        "Image, configuration and size stay. Secrets that wait for a deploy are not applied by a restart.".to_owned(),
    ];
    let mut plan = plan(Kind::Restart, inventory, wanted, from.clone(), from, notes);
    let asleep = plan.machines.len();
    plan.machines.retain(Running::is_up);
    let asleep = asleep - plan.machines.len();
    if plan.machines.is_empty() {
        return Err(format!("Every machine of {} is stopped. There is nothing to restart.", inventory.app));
    }
    if asleep > 0 {
        let words = if asleep == 1 { "One machine is stopped and stays so." } else { "Stopped machines stay so." };
        plan.notes.push(words.to_owned());
    }
    plan.hash = hash(&plan);
    Ok(plan)
}

/// What was seen against an image stands first on its plan.
fn warned(wanted: &Wanted, image: &Image) -> Vec<String> {
    let against = wanted.bad.iter().find(|(bad, _)| bad.is(image));
    against.map(|(image, why)| words::warned(image, *why)).into_iter().collect()
}

/// What a change of the image leaves as it is: not what waits for the next change of a machine.
fn what_stays(inventory: &Inventory, configuration: &str) -> String {
    let now = if configuration == "fly.toml" { "" } else { " now" };
    let staged = inventory.staged();
    let names: Vec<&str> = staged.iter().take(NAMED_MAX).map(|secret| secret.name.as_str()).collect();
    let more = if staged.len() > NAMED_MAX { ", …" } else { "" };
    let names = format!("{}{more}", names.join(", "));
    match staged.len() {
        0 => format!("Image only: {configuration} and secrets stay as they are{now}."),
        1 => format!(
            "Image only: {configuration} stays as it is{now}. A secret that is staged goes live with the machines: {names}."
        ),
        count => format!(
            "Image only: {configuration} stays as it is{now}. {count} secrets that are staged go live with the machines: {names}."
        ),
    }
}

fn nothing_runs(inventory: &Inventory) -> String {
    format!("{} has no machines. Look at it with `flyctl status --app {}`.", inventory.app, inventory.app)
}

/// The release that somebody named: a number, a tag, or an image that is taken as it stands.
fn chosen(inventory: &Inventory, bad: &[(Image, Against)], named: &str) -> Result<Release, String> {
    let named = named.trim();
    let number: Option<u64> = named.strip_prefix(['v', 'V']).unwrap_or(named).parse().ok();
    let wanted = Image::new(named);
    let tagged = || releases(inventory).iter().find(|release| release.image.short() == named);
    let found = match number {
        Some(number) => releases(inventory).iter().find(|release| release.version == number),
        None => {
            with_image(inventory, &wanted).or_else(|| tagged().and_then(|found| with_image(inventory, &found.image)))
        }
    };
    if let Some(release) = found {
        return Ok(release.clone());
    }
    if is_reference(named) {
        let (id, status, user) = (String::new(), String::new(), String::new());
        return Ok(Release { id, version: 0, status, image: wanted, user, at: None });
    }
    let known: Vec<String> = earlier(inventory, bad).iter().map(|release| format!("v{}", release.version)).collect();
    Err(match known.as_slice() {
        [] => format!("I know no release “{named}” of {}.", inventory.app),
        known => format!("I know no release “{named}” of {}. There are: {}.", inventory.app, known.join(", ")),
    })
}

/// Whether it can be an image that nobody released: a repository with a path, in one word.
fn is_reference(named: &str) -> bool {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "._-/:@".contains(one);
    named.contains('/') && named.chars().all(is_plain) && named.split(['/', ':', '@']).all(|part| !part.is_empty())
}

fn plan(kind: Kind, inventory: &Inventory, wanted: &Wanted, from: Shipped, to: Shipped, notes: Vec<String>) -> Plan {
    let mut machines = inventory.machines.clone();
    // What serves comes first; what sleeps is changed without anybody waiting for it.
    machines.sort_by_key(|machine| !machine.is_up());
    let at_once = at_once(&machines, wanted.at_once_percent);
    let mut plan = Plan {
        kind,
        service: wanted.service.clone(),
        stage: wanted.stage,
        app: inventory.app.clone(),
        from,
        to,
        machines,
        at_once,
        notes,
        hash: String::new(),
        strategy: Strategy::Rolling,
        release_command: None,
        release_command_unknown: None,
        scale: None,
    };
    plan.hash = hash(&plan);
    plan
}

/// Machines that may be away at once: a share of those that serve, and one at least.
fn at_once(machines: &[Running], percent: u16) -> u16 {
    let awake = machines.iter().filter(|machine| machine.is_up()).count().max(1);
    u16::try_from((awake * usize::from(percent)).div_ceil(100).max(1)).unwrap_or(u16::MAX)
}

/// What somebody says yes to: the app, the image, and every machine with its configuration.
pub fn hash(plan: &Plan) -> String {
    let mut sha = Sha256::new();
    let mut part = |text: &str| {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    };
    part(&plan.app);
    if let Some(command) = &plan.release_command {
        part(command);
    }
    if let Some(scale) = &plan.scale {
        part(&serde_json::to_string(scale).unwrap_or_default());
    }
    part(plan.to.image.digest.as_deref().unwrap_or(&plan.to.image.reference));
    if plan.release_command_unknown.is_some() {
        part("release command not told");
    }
    // Whether one sleeps says in which order they come, and is not what somebody said yes to.
    let mut machines: Vec<&Running> = plan.machines.iter().collect();
    machines.sort_by(|one, other| one.id.cmp(&other.id));
    for machine in machines {
        part(&machine.id);
        part(&machine.config_sha256);
    }
    hex(sha)
}

/// What somebody says yes to when several stages follow each other; of one stage, its own.
pub fn hash_of<'a>(stages: impl Iterator<Item = &'a Plan>) -> String {
    let hashes: Vec<&str> = stages.map(|plan| plan.hash.as_str()).collect();
    match hashes.as_slice() {
        [only] => (*only).to_owned(),
        several => hex(Sha256::new().chain_update(several.join("+"))),
    }
}

fn hex(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_falls_asleep_makes_no_other_plan() {
        let machine = |id: &str, state: &str| Running {
            id: id.to_owned(),
            name: id.to_owned(),
            region: "iad".to_owned(),
            group: "app".to_owned(),
            state: state.to_owned(),
            image: Image::new("registry.fly.io/shop:v1"),
            instance: String::new(),
            config_sha256: format!("config of {id}"),
            host_ok: true,
            cordoned: false,
            has_volume: false,
            may_sleep: true,
            checks: 1,
            guest: None,
            rest: None,
        };
        let inventory = |states: [&str; 2], command: &str| Inventory {
            app: "shop".to_owned(),
            at: chrono::DateTime::UNIX_EPOCH,
            machines: vec![machine("a", states[0]), machine("b", states[1])],
            releases: Ok(Vec::new()),
            release_command: Ok(Some(command.to_owned())),
            secrets_at: None,
            secrets: Ok(Vec::new()),
        };
        let wanted =
            Wanted { service: Service::new("shop"), stage: Stage::Production, at_once_percent: 33, bad: Vec::new() };
        let (image, both) = (Image::new("registry.fly.io/shop:v2"), ["started", "started"]);
        let planned = forward(&inventory(both, "migrate"), &wanted, &image, Strategy::Rolling);
        let planned = planned.unwrap_or_else(|why| panic!("{why}"));
        let asleep = again(&planned, &inventory(["stopped", "started"], "migrate"));
        assert_eq!(asleep.machines.first().map(|machine| machine.id.as_str()), Some("b"), "what serves comes first");
        assert_eq!((asleep.hash == planned.hash, super::super::staged::drift(&planned, &asleep)), (true, None));
        // All at once goes out, and comes back some at a time.
        let at_once = forward(&inventory(both, "migrate"), &wanted, &image, Strategy::Immediate);
        let at_once = at_once.unwrap_or_else(|why| panic!("{why}"));
        let way_back = back(&at_once, at_once.machines.clone(), 33);
        assert_eq!((at_once.at_once, way_back.at_once, way_back.strategy), (2, 1, Strategy::Rolling));
        let other = again(&planned, &inventory(both, "migrate --all"));
        let drift = super::super::staged::drift(&planned, &other);
        assert_eq!(drift.as_deref(), Some("in shop, “migrate --all” runs first"));
    }

    #[test]
    fn a_secret_that_waits_for_a_deploy_does_not_stay_as_it_is() {
        let at = |days: i64| Some(chrono::DateTime::UNIX_EPOCH + TimeDelta::days(days));
        let secret = |name: &str, days: i64| crate::domain::hosting::Secret {
            name: name.to_owned(),
            digest: String::new(),
            at: at(days),
        };
        let release = Release {
            id: "r1".to_owned(),
            version: 1,
            status: "complete".to_owned(),
            image: Image::new("registry.fly.io/shop:v1"),
            user: String::new(),
            at: at(2),
        };
        let mut inventory = Inventory {
            app: "shop".to_owned(),
            at: chrono::DateTime::UNIX_EPOCH,
            machines: Vec::new(),
            releases: Ok(vec![release]),
            release_command: Ok(None),
            secrets_at: None,
            secrets: Ok(vec![secret("OLD", 1), secret("API_KEY", 3)]),
        };
        assert_eq!(
            what_stays(&inventory, "fly.toml"),
            "Image only: fly.toml stays as it is. A secret that is staged goes live with the machines: API_KEY."
        );
        inventory.secrets = Ok(vec![secret("OLD", 1)]);
        assert_eq!(what_stays(&inventory, "fly.toml"), "Image only: fly.toml and secrets stay as they are.");
    }

    #[test]
    fn only_what_can_be_an_image_is_taken_for_one() {
        for image in ["registry.fly.io/shop:deployment-7", "localhost:5000/shop", "ghcr.io/a/b@sha256:ab12"] {
            assert!(is_reference(image), "{image}");
        }
        for other in
            ["v41", "shop", "registry.fly.io/", "/shop", "a//b", "a/b:", "a/b c", "a/b\nc", "a/<@1>", "a/b\u{202e}"]
        {
            assert!(!is_reference(other), "{other:?}");
        }
    }
}
