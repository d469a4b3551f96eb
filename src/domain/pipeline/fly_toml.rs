//! A fly.toml held against what runs. A deploy changes the image alone, so a file that says something else is not applied: as far
//! as it can be seen, a difference is a refusal, and what cannot be seen is said to be neither.
//!
//! Pure. Reads the file's text, on the side of whoever asks; compares, on the side of the bot.

use serde::{Deserialize, Serialize};

use crate::domain::deploy::{Plan, Strategy};
use crate::domain::hosting::Guest;

/// Sizes that are read of a file, at most: one a process group.
const SIZES_MAX: usize = 20;
/// Memory of one shared CPU without another word, in MB.
const SHARED_MB: u32 = 256;
/// Memory of one performance CPU without another word, in MB.
const PERFORMANCE_MB: u32 = 2048;

/// What of a fly.toml the bot can see at the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlyToml {
    /// The app that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// What it runs before the machines are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command: Option<String>,
    /// The order in which machines are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// How large machines are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
}

/// How large the machines of some process groups are, as far as it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Of which groups; of all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `shared` or `performance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_kind: Option<String>,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u16>,
    /// Memory, in MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
}

/// Words in place of a number, or a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u32),
    Words(String),
}

impl FlyToml {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence, when it is no fly.toml.
    pub fn read(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct File {
            app: Option<String>,
            deploy: Option<Deploy>,
            #[serde(default)]
            vm: Vec<Vm>,
        }
        #[derive(Deserialize)]
        struct Deploy {
            release_command: Option<String>,
            strategy: Option<String>,
        }
        #[derive(Deserialize)]
        struct Vm {
            #[serde(default)]
            processes: Vec<String>,
            size: Option<String>,
            memory: Option<Amount>,
            memory_mb: Option<u32>,
            cpu_kind: Option<String>,
            cpus: Option<u16>,
        }
        let file: File = toml::from_str(text).map_err(|error| error.message().trim_end().to_owned())?;
        let size = |vm: Vm| {
            let named = vm.size.as_deref().map(preset).transpose()?;
            let memory = match vm.memory {
                Some(Amount::Number(mb)) => Some(mb),
                Some(Amount::Words(words)) => Some(megabytes(&words)?),
                None => vm.memory_mb,
            };
            Ok(Size {
                groups: vm.processes,
                cpu_kind: vm.cpu_kind.or_else(|| named.as_ref().map(|size| size.cpu_kind.clone())),
                cpus: vm.cpus.or(named.as_ref().map(|size| size.cpus)),
                memory_mb: memory.or(named.map(|size| size.memory_mb)),
            })
        };
        let sizes = file.vm.into_iter().take(SIZES_MAX).map(size).collect::<Result<_, String>>()?;
        let deploy = file.deploy;
        let said = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let (release_command, strategy) = deploy.map_or((None, None), |one| (one.release_command, one.strategy));
        Ok(Self { app: said(file.app), release_command: said(release_command), strategy: said(strategy), sizes })
    }

    /// The strategy that it asks for; none when it leaves that open.
    ///
    /// # Errors
    /// A sentence, when it is one that is not done here.
    pub fn strategy(&self) -> Result<Option<Strategy>, String> {
        let known = |named: &String| {
            Strategy::named(named).ok_or_else(|| {
                format!(
                    "fly.toml says strategy “{named}”, and I do rolling, canary or immediate: say which with --strategy"
                )
            })
        };
        self.strategy.as_ref().map(known).transpose()
    }

    /// What it says otherwise than what would be deployed to. Each is the end of a sentence.
    pub fn differs<'a>(&self, plans: impl Iterator<Item = &'a Plan> + Clone) -> Vec<String> {
        let is_meant = |plan: &&Plan| self.app.as_ref().is_none_or(|app| *app == plan.app);
        let apps = || plans.clone().map(|plan| plan.app.as_str()).collect::<Vec<_>>().join(" and ");
        let mut found = Vec::new();
        let mut meant = plans.clone().filter(is_meant).peekable();
        if let (Some(app), None) = (&self.app, meant.peek()) {
            found.push(format!("it is for the app {app}, and this deploys to {}", apps()));
        }
        for plan in meant {
            let quoted =
                |command: &Option<String>| command.as_ref().map_or("none".to_owned(), |one| format!("“{one}”"));
            // What Fly does not tell cannot be another; a check of its own says so.
            if plan.release_command_unknown.is_none() && self.release_command != plan.release_command {
                let (says, has) = (quoted(&self.release_command), quoted(&plan.release_command));
                found.push(format!("release_command is {says}, and {} has {has}", plan.app));
            }
            found.extend(self.sizes.iter().flat_map(|size| size.differs(plan)));
        }
        found
    }
}

impl Size {
    fn differs(&self, plan: &Plan) -> Option<String> {
        let is_meant = |group: &str| self.groups.is_empty() || self.groups.iter().any(|one| one == group);
        let machines = plan.machines.iter().filter(|machine| is_meant(&machine.group));
        let other = machines.filter_map(|machine| Some((machine, machine.guest.as_ref()?))).find(|(_, guest)| {
            self.memory_mb.is_some_and(|mb| mb != guest.memory_mb)
                || self.cpus.is_some_and(|cpus| cpus != guest.cpus)
                || self.cpu_kind.as_ref().is_some_and(|kind| *kind != guest.cpu_kind)
        });
        let (machine, guest) = other?;
        let cpus =
            format!("{} {} CPU", self.cpus.unwrap_or(guest.cpus), self.cpu_kind.as_deref().unwrap_or(&guest.cpu_kind));
        let memory_mb = self.memory_mb.unwrap_or(guest.memory_mb);
        Some(format!(
            "[[vm]] is {cpus}, {memory_mb} MB, and {} has {} {} CPU, {} MB",
            machine.id, guest.cpus, guest.cpu_kind, guest.memory_mb
        ))
    }
}

/// `shared-cpu-2x`.
fn preset(named: &str) -> Result<Guest, String> {
    let unknown = || format!("[[vm]] size “{named}” is none that I know: shared-cpu-1x, performance-2x");
    let (kind, each_mb, count) = match (named.strip_prefix("shared-cpu-"), named.strip_prefix("performance-")) {
        (Some(rest), _) => ("shared", SHARED_MB, rest),
        (None, Some(rest)) => ("performance", PERFORMANCE_MB, rest),
        (None, None) => return Err(unknown()),
    };
    let cpus: u16 = count.strip_suffix('x').and_then(|count| count.parse().ok()).ok_or_else(unknown)?;
    Ok(Guest { cpu_kind: kind.to_owned(), cpus, memory_mb: u32::from(cpus).saturating_mul(each_mb) })
}

/// `512`, `512mb`, `1gb`, in MB.
fn megabytes(words: &str) -> Result<u32, String> {
    let lower = words.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|one: char| one.is_ascii_alphabetic()).trim();
    let times = match lower[digits.len()..].trim() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 1024,
        _ => 0,
    };
    let amount = digits.parse::<u32>().ok().and_then(|count| count.checked_mul(times)).filter(|mb| *mb > 0);
    amount.ok_or_else(|| format!("[[vm]] memory “{words}” is no amount: 512mb or 1gb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_flyctl_reads_it() {
        let text = r#"
app = "shop"
primary_region = "iad"
[env]
LOG = "info"
[deploy]
release_command = "bin/migrate"
strategy = "canary"
[[vm]]
size = "shared-cpu-2x"
memory = "1gb"
[[vm]]
processes = ["worker"]
cpu_kind = "performance"
cpus = 1
memory_mb = 4096
"#;
        let file = FlyToml::read(text).expect("it is one");
        assert_eq!(file.app.as_deref(), Some("shop"));
        assert_eq!(file.strategy(), Ok(Some(Strategy::Canary)));
        let size = |groups: &[&str], kind: &str, cpus, memory_mb| Size {
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            cpu_kind: Some(kind.to_owned()),
            cpus: Some(cpus),
            memory_mb: Some(memory_mb),
        };
        assert_eq!(file.sizes, [size(&[], "shared", 2, 1024), size(&["worker"], "performance", 1, 4096)]);
    }

    #[test]
    fn what_is_none_says_why() {
        assert!(FlyToml::read("app = ").is_err());
        assert!(FlyToml::read("[[vm]]\nsize = \"huge\"").expect_err("no size").contains("huge"));
        assert!(FlyToml::read("[[vm]]\nmemory = \"é\"").expect_err("no amount").contains("no amount"));
        let other = FlyToml { strategy: Some("bluegreen".to_owned()), ..FlyToml::default() };
        assert!(other.strategy().expect_err("not done").contains("bluegreen"));
    }
}
