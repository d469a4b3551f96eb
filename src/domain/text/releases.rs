//! What the bot says about releases: those made elsewhere, those of the last hour, those that can be gone back to.
//!
//! Pure. One function a sentence, as in `text.rs`.

use chrono_tz::Tz;

use super::short;
use crate::domain::deploy::known::Against;
use crate::domain::hosting::Image;
use crate::domain::ids::Service;
use crate::domain::message::Text;
use crate::domain::releases::Released;
use crate::domain::schedule::local;

/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 40;
/// Numbers that a line about several releases names.
const NAMED_MAX: usize = 4;
/// Characters of a line that completes.
const CHOICE_CHARS_MAX: usize = 100;

/// Who made it: "carol", without the rest of an address; "DEP-3" for ours.
pub fn maker(release: &Released) -> String {
    release.ours.map_or_else(|| person(&release.user), |ours| ours.deploy.to_string())
}

/// A maker as Fly names one, without the rest of an address: no address stands in a chat.
pub fn person(user: &str) -> String {
    match user.split('@').next().unwrap_or_default().trim() {
        "" => "somebody".to_owned(),
        name => short(name, NAME_CHARS_MAX),
    }
}

/// "v42 (deployment-7)".
pub fn named(release: &Released) -> String {
    format!("v{} ({})", release.version, short(release.image.short(), NAME_CHARS_MAX))
}

/// Somebody deployed without the bot; several at once are one line. None when nobody did.
pub fn deployed_elsewhere(service: &Service, releases: &[Released]) -> Option<Text> {
    let (newest, before) = releases.split_first()?;
    let image = short(newest.image.short(), NAME_CHARS_MAX);
    let line = format!("{service}: v{} by {}, outside Watchbell: {image}", newest.version, maker(newest));
    let line = Text::plain(match newest.status.as_str() {
        "complete" => line,
        "" | "pending" | "running" => format!("{line}, being rolled out"),
        status => format!("{line}, {}", short(status, NAME_CHARS_MAX)),
    });
    let line = match newest.at {
        Some(at) => line.text(", ").relative(at),
        None => line,
    };
    if before.is_empty() {
        return Some(line.text("."));
    }
    let numbers: Vec<String> = before.iter().take(NAMED_MAX).map(|one| format!("v{}", one.version)).collect();
    let more = if before.len() > numbers.len() { " and others" } else { "" };
    Some(line.text(format!("; before it {}{more}.", numbers.join(", "))))
}

/// A deploy of somebody else's did not end well.
pub fn ended_elsewhere(service: &Service, release: &Released, status: &str) -> Text {
    let status = short(status, NAME_CHARS_MAX);
    Text::plain(format!("{service}: {} by {}, outside Watchbell: {status}, says Fly.", named(release), maker(release)))
}

/// "v42 (deployment-7) 12 min ago by carol".
pub fn deployed(release: &Released) -> Text {
    let line = Text::plain(format!("{} ", named(release)));
    let line = match release.at {
        Some(at) => line.relative(at),
        None => line,
    };
    let line = line.text(format!(" by {}", maker(release)));
    match release.status.as_str() {
        "complete" => line,
        "" | "pending" | "running" => line.text(", being rolled out"),
        status => line.text(format!(", {}", short(status, NAME_CHARS_MAX))),
    }
}

/// What was seen against an image, as the end of a line.
pub fn against(why: Against) -> String {
    match why {
        Against::TakenBack(by) => format!("taken back by {by}"),
        Against::Failed(deploy) => format!("failed in {deploy}"),
    }
}

/// The same on a plan that puts it up.
pub fn warned(image: &Image, why: Against) -> String {
    match why {
        Against::TakenBack(by) => format!("⚠ {image} was taken back by {by}."),
        Against::Failed(deploy) => format!("⚠ {image} failed in {deploy}."),
    }
}

/// "v42 · deployment-7 · 24 Nov 03:00 · carol · complete", to choose from. A date stays true however long the list is kept. What
/// speaks against its image stands before what a long name may cut off.
pub fn choice(release: &Released, why: Option<Against>, zone: Tz) -> String {
    let at = release.at.map(|at| local(zone, at).format("%-d %b %H:%M").to_string());
    let parts = [
        Some(format!("v{}", release.version)),
        Some(short(release.image.short(), NAME_CHARS_MAX)),
        why.map(|why| format!("⚠ {}", against(why))),
        at,
        Some(maker(release)),
        Some(release.status.clone()).filter(|status| !status.is_empty() && why.is_none()),
    ];
    short(&parts.into_iter().flatten().collect::<Vec<_>>().join(" · "), CHOICE_CHARS_MAX)
}

/// What completes, and runs on staging so far.
pub fn on_staging(choice: &str) -> String {
    short(&format!("staging {choice}"), CHOICE_CHARS_MAX)
}

/// What runs is not what the button was about.
pub fn not_there(version: u64, runs: &str) -> String {
    format!(
        "v{version} is not what runs now: {runs} is. I make no plan from an old button; `/rollback` makes one from now."
    )
}
