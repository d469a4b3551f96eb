//! What the bot shows of an app at Fly: its machines, its releases, its last changes.
//!
//! Pure. A line a thing, the newest or the worst to see at a glance; it never says of anything that it is well which was not
//! looked at.

use chrono::{DateTime, Utc};

use crate::domain::deploy::{Deploy, Verdict};
use crate::domain::draft::Ctx;
use crate::domain::health::{AppHealth, Machine};
use crate::domain::hosting::{Guest, Inventory, Release, Running};
use crate::domain::message::{Card, Message, Text, Tone};

/// Machines shown; of more, the card says how many there are.
const MACHINES_MAX: usize = 20;
/// Secrets shown.
const SECRETS_MAX: usize = 40;
/// Releases and changes shown.
const NEWEST_MAX: usize = 10;
/// Characters of a release's author.
const USER_CHARS_MAX: usize = 40;

/// "2 shared CPUs, 512 MB".
pub fn guest(guest: &Guest) -> String {
    let cpus = if guest.cpus == 1 { "CPU" } else { "CPUs" };
    format!("{} {} {cpus}, {} MB", guest.cpus, guest.cpu_kind, guest.memory_mb)
}

/// The machines of an app, as a look sees them and as they are configured.
pub fn machines(app: &str, look: Option<&AppHealth>, inventory: Option<&Inventory>) -> Message {
    let looked: &[Machine] = look.and_then(|look| look.machines.as_deref().ok()).unwrap_or_default();
    let configured = |id: &str| inventory?.machines.iter().find(|machine| machine.id == id);
    let mut lines: Vec<String> = looked.iter().map(|machine| one(machine, configured(&machine.id))).collect();
    if lines.is_empty() {
        // What is configured is known, how it is was not found out.
        lines = inventory.into_iter().flat_map(|inventory| &inventory.machines).map(unseen).collect();
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

fn one(machine: &Machine, configured: Option<&Running>) -> String {
    let verdict = machine.verdict();
    let image = configured.map(|found| found.image.to_string());
    let image = image.unwrap_or_else(|| crate::domain::hosting::Image::new(&machine.image).to_string());
    let mut line = format!("{} {} {}: {}, {image}", verdict.mark.sign(), machine.region, machine.id, state(machine));
    if machine.state == "started" && machine.checks > 0 {
        line.push_str(&format!(", checks {}/{}", machine.checks_passing, machine.checks));
    }
    if let Some(size) = configured.and_then(|found| found.guest.as_ref()) {
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

fn unseen(machine: &Running) -> String {
    let mut line = format!("– {} {}: {}, {}", machine.region, machine.id, machine.state, machine.image);
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
    let runs = crate::domain::deploy::plan::running(inventory).and_then(|now| now.version);
    let mut card = Card::new(format!("Releases of {}", inventory.app), Tone::Quiet);
    for release in releases.iter().take(NEWEST_MAX) {
        card = card.line(released(ctx, release, runs == Some(release.version)));
    }
    if releases.is_empty() {
        card = card.line(Text::plain("There are none."));
    }
    Ok(Message::card(card))
}

fn released(ctx: &Ctx<'_>, release: &Release, runs: bool) -> Text {
    let ours = ctx
        .state
        .team
        .deploys
        .values()
        .find(|deploy| deploy.release.as_ref().is_some_and(|ours| ours.id == release.id));
    let who = match ours {
        Some(deploy) => format!("me, {}", deploy.id),
        None if release.user.is_empty() => "somebody".to_owned(),
        None => super::short(&release.user, USER_CHARS_MAX),
    };
    let mark = if runs { "▶" } else { "·" };
    let line = Text::plain(format!("{mark} v{} {}: {}, by {who}", release.version, release.image, release.status));
    let line = match release.at {
        Some(at) => line.text(", ").relative(at),
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
    // Setting one makes a release where it is not only staged: what was set after the newest one waits.
    let newest = inventory.releases.iter().flatten().filter_map(|release| release.at).max();
    let mut card = Card::new(format!("Secrets of {}", inventory.app), Tone::Quiet);
    for secret in secrets.iter().take(SECRETS_MAX) {
        let word = match (secret.at, newest) {
            (Some(at), Some(newest)) if at > newest => "staged: it waits for a deploy",
            (Some(_), Some(_)) => "live",
            _ => "not known whether it is live",
        };
        card = card.line(Text::plain(format!("{} ({}): {word}", secret.name, super::short(&secret.digest, 16))));
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

/// The last changes to a service, newest first.
pub fn history<'a>(service: &str, changes: impl Iterator<Item = &'a Deploy>) -> Message {
    let mut card = Card::new(format!("Changes to {service}"), Tone::Quiet);
    let mut none = true;
    for deploy in changes.take(NEWEST_MAX) {
        none = false;
        card = card.line(change(deploy));
    }
    if none {
        card = card.line(Text::plain("I have made none and planned none. `/fly releases` shows what others released."));
    }
    Message::card(card)
}

fn change(deploy: &Deploy) -> Text {
    let word = match (deploy.verdict, deploy.is_waiting()) {
        (Some(verdict), _) => Verdict::words(verdict),
        (None, true) => "planned",
        (None, false) => "under way",
    };
    let at: DateTime<Utc> = deploy.started_at.unwrap_or(deploy.asked_at);
    let line = Text::plain(format!("{}: {word}; ", super::deploys::headline(deploy)));
    let line = line.person(deploy.started_by.as_ref().unwrap_or(&deploy.by)).text(", ").relative(at);
    match deploy.incident {
        Some(incident) => line.text(format!(", for {incident}")),
        None => line,
    }
}
