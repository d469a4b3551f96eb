//! Images and what they are like: what the program in a machine does is up to the image that it was started with.
//!
//! A character is told over the control API or in the workspace, or stands in the image's tag: a tag that ends with the
//! word of a character (`deployment-43-crash-loop`) has it. Every other image is good.

use serde::{Deserialize, Serialize};

use super::state::State;
use super::workspace::Settings;
use super::world::Machine;

/// Images whose character can be told.
const IMAGES_MAX: usize = 1_000;

/// What an image is like. docs/sim-fly.md describes its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The whole reference, or a tag alone, which then means it in every repository.
    pub image: String,
    /// What it does.
    #[serde(default)]
    pub character: Character,
    /// From start to started, instead of the setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_ms: Option<u64>,
    /// From started until the program listens, instead of the setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_ms: Option<u64>,
    /// From stop to stopped, instead of the setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_ms: Option<u64>,
    /// How long a program runs that ends by itself, instead of the setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
    /// What it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Only for so many starts of a machine; it is good from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<u32>,
}

/// What an image does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Character {
    /// As it should.
    #[default]
    Good,
    /// Starts and ends with an error, again and again.
    CrashLoop,
    /// Starts and is killed for want of memory, again and again.
    OutOfMemory,
    /// Starts and answers everybody 500.
    Unhealthy,
    /// Serves the world and fails its check.
    FailingCheck,
    /// Passes its check and answers the world 500.
    Broken,
    /// Started soon, listens late.
    SlowStart,
    /// Takes its time to stop.
    SlowStop,
    /// No longer in the registry: refused when it is asked for.
    Pruned,
    /// The registry knows it, the machine's host cannot pull it.
    NotPullable,
    /// Good, but its release command fails.
    BadRelease,
}

/// Each character with the end of a tag that means it.
const BY_TAG: [(&str, Character); 10] = [
    ("crash-loop", Character::CrashLoop),
    ("out-of-memory", Character::OutOfMemory),
    ("unhealthy", Character::Unhealthy),
    ("failing-check", Character::FailingCheck),
    ("broken", Character::Broken),
    ("slow-start", Character::SlowStart),
    ("slow-stop", Character::SlowStop),
    ("pruned", Character::Pruned),
    ("not-pullable", Character::NotPullable),
    ("bad-release", Character::BadRelease),
];

/// What one start of a machine comes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    pub character: Character,
    pub boot_ms: u64,
    pub healthy_ms: u64,
    pub stop_ms: u64,
    pub run_ms: u64,
    pub exit_code: i64,
}

impl Image {
    fn fits(&self, reference: &str) -> bool {
        let bare = reference.split('@').next().unwrap_or_default();
        self.image == reference || self.image == bare || self.image == tag(reference)
    }

    fn plan(&self, settings: &Settings, boots: u32) -> Plan {
        let is_over = self.starts.is_some_and(|starts| boots > starts);
        let character = if is_over { Character::Good } else { self.character };
        let slow = |wanted| if character == wanted { settings.slow_ms } else { 0 };
        let (late, stays) = (slow(Character::SlowStart), slow(Character::SlowStop));
        let ends_badly = matches!(character, Character::CrashLoop | Character::BadRelease);
        Plan {
            character,
            boot_ms: self.boot_ms.unwrap_or(settings.boot_ms),
            healthy_ms: self.healthy_ms.unwrap_or(settings.healthy_ms.max(late)),
            stop_ms: self.stop_ms.unwrap_or(settings.stop_ms.max(stays)),
            run_ms: self.run_ms.unwrap_or(settings.run_ms),
            exit_code: if ends_badly { self.exit_code.unwrap_or(1) } else { 0 },
        }
    }
}

/// The tag of a reference; empty when there is none.
fn tag(reference: &str) -> &str {
    let bare = reference.split('@').next().unwrap_or_default();
    let name = bare.rsplit('/').next().unwrap_or_default();
    name.split_once(':').map_or("", |(_, tag)| tag)
}

/// What the machine's next start comes to.
pub fn plan(state: &State, machine: &Machine) -> Plan {
    find(state, machine.image()).plan(&state.settings, machine.boots + 1)
}

/// Whether the registry still has an image.
pub fn is_there(state: &State, reference: &str) -> bool {
    find(state, reference).character != Character::Pruned && (state.settings.any_image || is_known(state, reference))
}

fn find(state: &State, reference: &str) -> Image {
    let mut told = state.world.images.iter().chain(&state.workspace.images);
    told.find(|image| image.fits(reference)).cloned().unwrap_or_else(|| {
        let by_tag = BY_TAG.iter().find(|(word, _)| tag(reference).ends_with(word));
        let character = by_tag.map_or(Character::Good, |(_, character)| *character);
        Image { image: reference.to_owned(), character, ..Image::default() }
    })
}

/// An image is known when it was told, when its name tells its character, or when a release of it is complete.
fn is_known(state: &State, reference: &str) -> bool {
    let mut told = state.world.images.iter().chain(&state.workspace.images);
    let mut releases = state.world.apps.iter().flat_map(|app| &app.releases);
    told.any(|image| image.fits(reference))
        || BY_TAG.iter().any(|(word, _)| tag(reference).ends_with(word))
        || releases.any(|release| release.image == reference && release.status == "complete")
}

/// Tells what an image is like from its next start on. Errors: no name, or too many.
pub fn tell(state: &mut State, image: Image) -> Result<(), String> {
    if image.image.is_empty() {
        return Err("an image needs its reference".to_owned());
    }
    let images = &mut state.world.images;
    images.retain(|known| known.image != image.image);
    if images.len() >= IMAGES_MAX {
        return Err(format!("more than {IMAGES_MAX} images"));
    }
    images.push(image);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_fits_whole_without_its_digest_or_by_its_tag() {
        let image = |name: &str| Image { image: name.to_owned(), ..Image::default() };
        let whole = "registry.fly.io/shop:deployment-7@sha256:aa";
        for name in [whole, "registry.fly.io/shop:deployment-7", "deployment-7"] {
            assert!(image(name).fits(whole), "{name}");
        }
        assert!(!image("deployment").fits(whole));
        assert_eq!((tag("localhost:5000/shop"), tag("shop:7")), ("", "7"));
    }

    #[test]
    fn a_character_for_the_first_start_only_is_over_at_the_second() {
        let image = Image { character: Character::Unhealthy, starts: Some(1), ..Image::default() };
        let settings = Settings::default();
        let found = [1, 2].map(|boots| image.plan(&settings, boots).character);
        assert_eq!(found, [Character::Unhealthy, Character::Good]);
    }
}
