//! What the bot shows of an app at Fly: its machines, its releases, its last changes.
//!
//! Pure. A line a thing, the newest or the worst to see at a glance; it never says of anything that it is well which was not
//! looked at.

use chrono::{DateTime, Utc};

use crate::domain::deploy::{Deploy, Shipped, Verdict, known, plan};
use crate::domain::draft::Ctx;
use crate::domain::health::{AppHealth, Machine};
use crate::domain::hosting::{Guest, Image, Inventory, Release, Running, Secret};
use crate::domain::ids::DeployId;
use crate::domain::message::{Card, Message, Text, Tone};

/// Machines shown; of more, the card says how many there are.
const MACHINES_MAX: usize = 20;
/// Secrets shown.
const SECRETS_MAX: usize = 40;
/// Characters of a digest shown.
const DIGEST_CHARS_MAX: usize = 16;
/// Releases and changes shown.
const NEWEST_MAX: usize = 10;

/// "2 shared CPUs, 512 MB".
pub fn guest(guest: &Guest) -> String {
    let cpus = if guest.cpus == 1 { "CPU" } else { "CPUs" };
    format!("{} {} {cpus}, {} MB", guest.cpus, guest.cpu_kind, guest.memory_mb)
}

/// The machines of an app, as a look sees them and as they are configured.
pub fn machines(app: &str, look: Option<&AppHealth>, inventory: Option<&Inventory>) -> Message {
    let looked: &[Machine] = look.and_then(|look| look.machines.as_deref().ok()).unwrap_or_default();
    let configured = |id: &str| Some((inventory?, inventory?.machines.iter().find(|machine| machine.id == id)?));
    let mut lines: Vec<String> = looked.iter().map(|machine| one(machine, configured(&machine.id))).collect();
    if lines.is_empty() {
        // What is configured is known, how it is was not found out.
        let all =
            inventory.into_iter().flat_map(|inventory| inventory.machines.iter().map(move |one| (inventory, one)));
        lines = all.map(|(inventory, machine)| unseen(inventory, machine)).collect();
    }
    let count = lines.len();
    let mut card = Card::new(format!("Machines of {app}"), Tone::Quiet);
    for line in lines.into_iter().take(MACHINES_MAX) {
        card = card.line(Text::plain(line));
    }
    if count > MACHINES_MAX {
        card = card.line(Text::plain(format!("… and {} others", count - MACHINES_MAX)));
    }
    if count == 0 {
        card = card.line(Text::plain("There are none."));
    }
    Message::card(card)
}

fn one(machine: &Machine, configured: Option<(&Inventory, &Running)>) -> String {
    let verdict = machine.verdict();
    let image = configured.map(|(inventory, found)| shipped(inventory, &found.image));
    let image = image.unwrap_or_else(|| Image::new(&machine.image).to_string());
    let mut line = format!("{} {} {}: {}, {image}", verdict.mark.sign(), machine.region, machine.id, state(machine));
    if machine.state == "started" && machine.checks > 0 {
        line.push_str(&format!(", checks {}/{}", machine.checks_passing, machine.checks));
    }
    if let Some(size) = configured.and_then(|(_, found)| found.guest.as_ref()) {
        line.push_str(&format!(", {}", guest(size)));
    }
    let why = verdict.why();
    if !why.is_empty() && !machine.is_asleep() {
        line.push_str(&format!(". {}", super::short(&super::capital(&why), 160)));
    }
    line
}

fn state(machine: &Machine) -> String {
    if machine.is_asleep() { format!("asleep ({})", machine.state) } else { machine.state.clone() }
}

/// "v42 (deployment-7)", or the image alone where no release is known for it.
fn shipped(inventory: &Inventory, image: &Image) -> String {
    let release = plan::with_image(inventory, image);
    Shipped { image: image.clone(), version: release.map(|release| release.version) }.words()
}

fn unseen(inventory: &Inventory, machine: &Running) -> String {
    let image = shipped(inventory, &machine.image);
    let mut line = format!("– {} {}: {}, {image}", machine.region, machine.id, machine.state);
    if let Some(size) = &machine.guest {
        line.push_str(&format!(", {}", guest(size)));
    }
    if machine.cordoned {
        line.push_str(", cordoned");
    }
    if !machine.host_ok {
        line.push_str(", its host does not answer");
    }
    line
}

/// The newest releases, newest first: which one runs, and which ones the bot made.
///
/// # Errors
/// A sentence, when the host did not say.
pub fn releases(ctx: &Ctx<'_>, inventory: &Inventory) -> Result<Message, String> {
    let releases = inventory.releases.as_ref().map_err(|why| format!("Fly does not tell the releases: {why}"))?;
    let runs = plan::running(inventory).and_then(|now| now.version);
    let mut card = Card::new(format!("Releases of {}", inventory.app), Tone::Quiet);
    for release in releases.iter().take(NEWEST_MAX) {
        card = card.line(released(ctx, &inventory.app, release, runs == Some(release.version)));
    }
    if releases.is_empty() {
        card = card.line(Text::plain("There are none."));
    }
    Ok(Message::card(card))
}

fn released(ctx: &Ctx<'_>, app: &str, release: &Release, runs: bool) -> Text {
    let held = ctx.state.team.deploys.values();
    let held = held.filter(|deploy| deploy.release.as_ref().is_some_and(|ours| ours.id == release.id));
    let known = ctx.state.team.releases.get(app).and_then(|ledger| ledger.get(release.version));
    let ours = held.map(|deploy| deploy.id).next().or_else(|| known?.ours.map(|ours| ours.deploy));
    let who = match ours {
        Some(deploy) => format!("me, {deploy}"),
        None => super::releases::person(&release.user),
    };
    let why = known::against(ctx, app, &release.image);
    let mark = match why {
        _ if runs => "▶",
        Some(_) => "⚠",
        None => "·",
    };
    let line = Text::plain(format!("{mark} v{} {}: {}, by {who}", release.version, release.image, release.status));
    // When it was seen first is the same at every look.
    let line = match known.and_then(|known| known.at).or(release.at) {
        Some(at) => line.text(", ").relative(at),
        None => line,
    };
    let line = match why {
        Some(why) => line.text(format!("; {}", super::releases::against(why))),
        None => line,
    };
    if runs { line.text(" (runs)") } else { line }
}

/// The secrets of an app: names, digests, and whether what runs was released after they were set. Never a value.
///
/// # Errors
/// A sentence, when the host did not say.
pub fn secrets(inventory: &Inventory) -> Result<Message, String> {
    let secrets = inventory.secrets.as_ref().map_err(|why| format!("Fly does not tell the secrets: {why}"))?;
    let mut card = Card::new(format!("Secrets of {}", inventory.app), Tone::Quiet);
    for secret in secrets.iter().take(SECRETS_MAX) {
        let digest = super::short(&secret.digest, DIGEST_CHARS_MAX);
        let line = Text::plain(format!("{} ({digest}): {}", secret.name, is_live(inventory, secret)));
        card = card.line(match secret.at {
            Some(at) => line.text("; set ").relative(at),
            None => line,
        });
    }
    match secrets.len() {
        0 => card = card.line(Text::plain("There are none.")),
        count if count > SECRETS_MAX => {
            card = card.line(Text::plain(format!("… and {} others", count - SECRETS_MAX)));
        }
        _ => {}
    }
    Ok(Message::card(card))
}

/// Whether what runs has a secret. Setting one makes a release where it is not only staged: what was set after the newest waits, and
/// where that one did not end well, nobody knows which machines got it.
fn is_live(inventory: &Inventory, secret: &Secret) -> &'static str {
    let released = |counts: &dyn Fn(&Release) -> bool| {
        let counted = inventory.releases.iter().flatten().filter(|release| counts(release));
        counted.filter_map(|release| release.at).max()
    };
    match (secret.at, released(&|_| true)) {
        (Some(at), Some(newest)) if at > newest => "staged: it waits for a deploy",
        (Some(at), Some(_)) if released(&Release::is_complete).is_some_and(|whole| at <= whole) => "live",
        (Some(_), Some(_)) => "live on some machines at most: no release after it ended well",
        _ => "not known whether it is live",
    }
}

/// The last changes to a service, newest first, each with what took it back. `is_all` says whether nothing older could have been
/// left out.
pub fn history<'a>(
    service: &str,
    changes: impl Iterator<Item = &'a Deploy>,
    taken_back_by: impl Fn(&Deploy) -> Option<DeployId>,
    is_all: bool,
) -> Message {
    let mut card = Card::new(format!("Changes to {service}"), Tone::Quiet);
    let mut changes = changes.peekable();
    if changes.peek().is_none() && is_all {
        card = card.line(
            Text::plain("I have made none and planned none. ")
                .code("/fly releases")
                .text(" shows what others released."),
        );
    }
    for deploy in changes.by_ref().take(NEWEST_MAX) {
        card = card.line(change(deploy, taken_back_by(deploy)));
    }
    if changes.peek().is_some() || !is_all {
        let line = Text::plain("Older ones are on record: ").code("watchbell ledger");
        card = card.line(line.text(" where I run prints them."));
    }
    Message::card(card)
}

fn change(deploy: &Deploy, taken_back_by: Option<DeployId>) -> Text {
    let word = match (deploy.verdict, deploy.is_waiting()) {
        (Some(verdict), _) => Verdict::words(verdict),
        (None, true) => "planned",
        (None, false) => "under way",
    };
    let at: DateTime<Utc> = deploy.started_at.unwrap_or(deploy.asked_at);
    let mut line = Text::plain(format!("{}: {word}; ", super::deploys::headline(deploy)));
    if let Some(back) = taken_back_by {
        line = line.text(format!("taken back by {back}; "));
    }
    if deploy.by_itself {
        line = line.text("me, for ");
    }
    let line = line.person(deploy.started_by.as_ref().unwrap_or(&deploy.by)).text(", ").relative(at);
    match deploy.incident {
        Some(incident) => line.text(format!(", for {incident}")),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn inventory(releases: &[(i64, &str)]) -> Inventory {
        let at = |minutes: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let release = |(minutes, status): &(i64, &str)| Release {
            id: format!("r{minutes}"),
            version: 1,
            status: (*status).to_owned(),
            image: Image::new("shop:v1"),
            user: String::new(),
            at: Some(at(*minutes)),
        };
        Inventory {
            app: "shop".to_owned(),
            at: at(60),
            machines: Vec::new(),
            releases: Ok(releases.iter().map(release).collect()),
            release_command: Ok(None),
            secrets_at: None,
            secrets: Ok(vec![Secret { name: "KEY".to_owned(), digest: "9c2b".to_owned(), at: Some(at(30)) }]),
        }
    }

    #[test]
    fn a_secret_is_live_only_where_a_release_after_it_ended_well() {
        let live = |releases: &[(i64, &str)]| {
            let inventory = inventory(releases);
            let secret = inventory.secrets.iter().flatten().next().cloned();
            secret.map_or("", |secret| is_live(&inventory, &secret)).to_owned()
        };
        assert_eq!(live(&[(40, "complete"), (10, "complete")]), "live");
        assert_eq!(live(&[(20, "complete")]), "staged: it waits for a deploy");
        assert!(live(&[(40, "failed"), (20, "complete")]).starts_with("live on some machines at most"));
        assert_eq!(live(&[(50, "failed"), (40, "complete")]), "live");
        assert_eq!(live(&[]), "not known whether it is live");
    }

    #[test]
    fn how_long_ago_something_was_is_the_same_on_another_clock() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(9_000);
        let read = inventory(&[(50, "complete")]).read_at(now);
        assert_eq!(read.at, now);
        assert_eq!(read.releases.unwrap_or_default()[0].at, Some(now - TimeDelta::minutes(10)));
        assert_eq!(read.secrets.unwrap_or_default()[0].at, Some(now - TimeDelta::minutes(30)));
    }
}
