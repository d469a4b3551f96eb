//! watchbell.toml and the environment, read once into plain values.
//!
//! Owns every refusal of a set-up: an unknown key, a secret in the file, plain HTTP to anywhere but this machine. Secrets come
//! from the environment alone and are never shown. Nothing is asked of the network here; that is the doctor's work.

mod file;
mod refuse;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::domain::policy::{Policy, SHIPPED, Span};
use crate::domain::workspace::{Way, Workspace};

pub use refuse::{is_placeholder, plain_http_elsewhere};

/// The variable with the bot's Discord token.
pub const DISCORD_TOKEN: &str = "DISCORD_TOKEN";
/// The variable with Fly's read-only organisation token.
pub const FLY_READ_TOKEN: &str = "FLY_READ_TOKEN";
/// The variable with the token that the command line shows to the running bot.
pub const CONTROL_TOKEN: &str = "WATCHBELL_CONTROL_TOKEN";
/// The variables with the secrets of one of `[[hooks]]`: the one in use, and the next while it takes its place.
pub fn hook_variables(name: &str) -> [String; 2] {
    let name = name.to_ascii_uppercase().replace('-', "_");
    [format!("WATCHBELL_HOOK_{name}_SECRET"), format!("WATCHBELL_HOOK_{name}_SECRET_NEXT")]
}

/// The variable with the secret that a pipeline signs its requests with.
pub const DEPLOY_SECRET: &str = "WATCHBELL_HOOK_DEPLOY_SECRET";
/// The variable with the one that is about to take its place; both count.
pub const DEPLOY_SECRET_NEXT: &str = "WATCHBELL_HOOK_DEPLOY_SECRET_NEXT";

/// The largest watchbell.toml or policy that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a set-up was refused: one sentence that names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Everything that the program is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The team and what belongs to it.
    pub workspace: Workspace,
    /// The policy in force.
    pub policy: Policy,
    /// The policy's text, as it stands on record.
    pub policy_text: String,
    /// The workspace's text, as it stands on record.
    pub workspace_text: String,
    /// Where the policy was read from; none for the shipped one.
    pub policy_file: Option<PathBuf>,
    /// Why the policy's file was refused. Then the shipped policy and its text stand here, and nobody may go by them: see
    /// [`Config::load_to_run`].
    pub policy_refused: Option<String>,
    /// SHA-256 over both texts, hex: what `PolicyAdopted` carries.
    pub hash: String,
    /// Discord.
    pub discord: Discord,
    /// Fly.
    pub fly: Fly,
    /// Our own listeners.
    pub http: Http,
    /// Whose certificates probes believe beside those of the public authorities; none without `[probes] ca_file`.
    pub authorities: Option<Authorities>,
    /// The folder of the record and of everything that can be built from it.
    pub state_dir: PathBuf,
    /// Called each minute while nothing is overdue in the bot itself.
    pub dead_man: Option<String>,
    /// A clock that can be moved; none is the wall clock.
    pub virtual_clock: Option<VirtualSettings>,
    /// Secrets that the file names (`token_env`, `env:NAME`), by variable. A variable that is not set is not in here.
    pub secrets: BTreeMap<String, SecretString>,
    /// Variables that the file names and the environment has not, with what needs them.
    pub missing: BTreeMap<String, String>,
}

/// Discord.
#[derive(Debug, Clone)]
pub struct Discord {
    /// The server's id.
    pub guild: String,
    /// Base address of another implementation, without `/api/v10`; Discord's own when none.
    pub api_url: Option<String>,
    /// How long after the last life's last word the next one asks nothing of a channel.
    pub rest_after_restart: Span,
    /// The bot's token.
    pub token: Option<SecretString>,
}

/// Authorities of a team's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The file that they stand in.
    pub file: PathBuf,
    /// Their certificates, as it has them.
    pub pem: String,
}

/// Fly.
#[derive(Debug, Clone)]
pub struct Fly {
    /// The organisation's slug.
    pub org: String,
    /// Base of the Machines API, without `/v1`.
    pub machines_url: String,
    /// Base of releases, logs and GraphQL.
    pub api_url: String,
    /// Base of the metrics, without the organisation.
    pub prometheus_url: String,
    /// Where log lines are sent over NATS; none where they are only asked for.
    pub logs_nats_url: Option<String>,
    /// How often the releases of each app are looked at.
    pub releases_every: Span,
    /// The read-only organisation token.
    pub token: Option<SecretString>,
    /// The tokens to act with, by app.
    pub deploy_tokens: BTreeMap<String, SecretString>,
}

/// Our own listeners.
#[derive(Debug, Clone)]
pub struct Http {
    /// Pages, metrics and control.
    pub private_bind: SocketAddr,
    /// Webhooks; none when absent.
    pub public_bind: Option<SocketAddr>,
    /// The secrets that requests to `/hooks/deploy` may be signed with: the one in use, and the next while it takes its place.
    pub deploy_secrets: Vec<SecretString>,
    /// The secrets of each of `[[hooks]]`, by its name: the one in use, and the next.
    pub hook_secrets: BTreeMap<String, Vec<SecretString>>,
    /// What the command line must show.
    pub control_token: Option<SecretString>,
}

/// How the virtual clock of a demo starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VirtualSettings {
    /// Where it starts; the present when none.
    pub origin: Option<DateTime<Utc>>,
    /// Promise seconds a real second.
    pub speed: f64,
}

impl Config {
    /// Reads the file, the policy it names and the environment. `env` gives a variable's value; an empty one counts as not set.
    ///
    /// # Errors
    /// One sentence: what is wrong, in which file and line, and what to write instead.
    pub fn load(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, Refused> {
        let text = read(path)?;
        Self::from_text(path, &text, env)
    }

    /// As `load`, for a bot that may have run before: a policy's file that does not hold is no refusal, because the last good one may
    /// be kept beside the record. It stands in `policy_refused`, and whoever has the record decides.
    ///
    /// # Errors
    /// As `load`, but for the policy's file.
    pub fn load_to_run(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, Refused> {
        let text = read(path)?;
        Self::from_text_to_run(path, &text, env)
    }

    /// As `load`, for a text that was read already. A policy file is looked for beside `path`.
    ///
    /// # Errors
    /// As `load`.
    pub fn from_text(path: &Path, text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, Refused> {
        let config = Self::from_text_to_run(path, text, env)?;
        match config.policy_refused {
            Some(why) => Err(Refused(why)),
            None => Ok(config),
        }
    }

    /// As `load_to_run`, for a text that was read already.
    ///
    /// # Errors
    /// As `load_to_run`.
    pub fn from_text_to_run(path: &Path, text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, Refused> {
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        refuse::secrets_in(text, &name)?;
        let file = file::parse(text, &name)?;
        let beside = path.parent().unwrap_or_else(|| Path::new(""));

        let policy_file = file.policy.file.as_ref().map(|given| beside.join(given));
        let (policy_text, policy, policy_refused) = match policy_of(policy_file.as_deref()) {
            Ok((text, policy)) => (text, policy, None),
            Err(refused) => {
                let (text, policy) = policy_of(None)?;
                (text, policy, Some(refused.0))
            }
        };

        let authorities = file.probes.ca_file.as_ref().map(|given| authorities(beside.join(given))).transpose()?;
        let workspace = file.workspace();
        let deploy_tokens = deploy_tokens(&workspace, &env);
        refuse::workspace(&workspace, &name)?;
        refuse::releases_every(file.fly.releases_every, &name)?;
        if let Some(url) = &file.fly.logs_nats_url {
            refuse::nats(url, &name)?;
        }
        for (key, url) in file.addresses() {
            refuse::address(&url, &key, &name, refuse::Reach::Neighbour)?;
        }

        let set = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let secret = |name: &str| set(name).map(SecretString::from);
        let hooks = [DEPLOY_SECRET, DEPLOY_SECRET_NEXT].map(|name| secret(name).map(|value| (name, value)));
        let deploy_secrets = refuse::hook_secrets(hooks.into_iter().flatten())?;
        let mut hook_secrets = BTreeMap::new();
        for hook in &workspace.hooks {
            let names = hook_variables(&hook.name);
            let given = names.iter().filter_map(|name| Some((name.as_str(), secret(name)?)));
            hook_secrets.insert(hook.name.clone(), refuse::hook_secrets(given)?);
        }
        let mut secrets = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for (variable, wanted_by) in named_variables(&workspace) {
            match secret(&variable) {
                Some(value) => drop(secrets.insert(variable, value)),
                None => drop(missing.insert(variable, wanted_by)),
            }
        }

        Ok(Self {
            path: path.to_owned(),
            hash: hash(&policy_text, text),
            workspace,
            policy,
            policy_text,
            workspace_text: text.to_owned(),
            policy_file,
            policy_refused,
            discord: Discord {
                guild: file.discord.guild,
                api_url: file.discord.api_url.map(|url| bare(&url)),
                rest_after_restart: file.discord.rest_after_restart,
                token: secret(DISCORD_TOKEN),
            },
            fly: Fly {
                org: file.fly.org,
                machines_url: bare(&file.fly.machines_url).trim_end_matches("/v1").to_owned(),
                api_url: bare(&file.fly.api_url),
                prometheus_url: bare(&file.fly.prometheus_url),
                logs_nats_url: file.fly.logs_nats_url,
                releases_every: file.fly.releases_every,
                token: secret(FLY_READ_TOKEN),
                deploy_tokens,
            },
            http: Http {
                private_bind: file.http.private_bind,
                public_bind: file.http.public_bind,
                deploy_secrets,
                hook_secrets,
                control_token: secret(CONTROL_TOKEN),
            },
            authorities,
            state_dir: beside.join(file.state.dir),
            dead_man: file.dead_man.url,
            virtual_clock: file
                .clock
                .r#virtual
                .then_some(VirtualSettings { origin: file.clock.origin, speed: file.clock.speed }),
            secrets,
            missing,
        })
    }

    /// The Discord token, or a sentence on how to set it.
    ///
    /// # Errors
    /// When the variable is not set.
    pub fn discord_token(&self) -> Result<&SecretString, Refused> {
        self.discord.token.as_ref().ok_or_else(|| {
            Refused(format!(
                "{DISCORD_TOKEN} is not set: put the bot's token from the Discord developer portal into it"
            ))
        })
    }

    /// The Fly token, or a sentence on how to make one.
    ///
    /// # Errors
    /// When the variable is not set.
    pub fn fly_token(&self) -> Result<&SecretString, Refused> {
        self.fly.token.as_ref().ok_or_else(|| {
            Refused(format!("{FLY_READ_TOKEN} is not set: make one with `{}`", fly_readonly_command(&self.fly.org)))
        })
    }
}

/// The command that makes the token to look with. Fly's default life is 20 years, so the expiry is always said.
pub fn fly_readonly_command(org: &str) -> String {
    format!("fly tokens create readonly {org} --name watchbell-read --expiry 8760h")
}

/// The command that makes the token to act on one app with, and the variable it goes into.
pub fn fly_deploy_command(app: &str) -> (String, String) {
    let variable: String =
        app.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    (
        format!("fly tokens create deploy --app {app} --name watchbell-deploy --expiry 8760h"),
        format!("FLY_DEPLOY_TOKEN_{variable}"),
    )
}

/// The tokens to act with, by app, as far as the environment has them. `env` gives a variable's value; an empty one is none.
pub fn deploy_tokens(workspace: &Workspace, env: impl Fn(&str) -> Option<String>) -> BTreeMap<String, SecretString> {
    let stages = workspace.services.iter().flat_map(|service| service.stages());
    let apps = stages.filter_map(|(_, stage)| stage.fly_app.clone());
    apps.filter_map(|app| {
        let token = env(&fly_deploy_command(&app).1)?;
        let token = token.trim();
        (!token.is_empty()).then(|| (app, SecretString::from(token.to_owned())))
    })
    .collect()
}

/// A policy's text and what it says, from its file or, without one, as shipped.
fn policy_of(file: Option<&Path>) -> Result<(String, Policy), Refused> {
    let text = match file {
        Some(file) => read(file)?,
        None => SHIPPED.to_owned(),
    };
    let policy = Policy::parse(&text).map_err(|error| {
        let name = file.map_or("the shipped policy".to_owned(), |file| file.display().to_string());
        Refused(format!("{name}: {}", error.trim_end()))
    })?;
    Ok((text, policy))
}

/// A policy and a workspace in one, each with its length before it so that no text can pass for another's tail.
pub fn both(policy: &str, workspace: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(policy.len() + workspace.len() + 2 * LENGTH_BYTES);
    for text in [policy, workspace] {
        bytes.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// The policy in what `both` made; none when it is something else.
pub fn policy_in(both: &[u8]) -> Option<String> {
    let (length, rest) = both.split_first_chunk::<LENGTH_BYTES>()?;
    let policy = rest.get(..usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    String::from_utf8(policy.to_vec()).ok()
}

/// A length before a text, in bytes.
const LENGTH_BYTES: usize = 8;

/// The hash of a policy and a workspace: of what `both` makes of them, in hexadecimal digits.
pub fn hash(policy: &str, workspace: &str) -> String {
    Sha256::digest(both(policy, workspace)).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every variable that a workspace names, with what needs it.
fn named_variables(workspace: &Workspace) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for member in &workspace.people {
        for way in &member.wake {
            let variables: Vec<&String> = match way {
                Way::Direct => Vec::new(),
                Way::Ntfy { token_env, .. } | Way::Webhook { token_env, .. } => token_env.iter().collect(),
                Way::Pushover { token_env, user_env, .. } => vec![token_env, user_env],
                Way::Pagerduty { key_env, .. } => vec![key_env],
            };
            named.extend(
                variables.into_iter().map(|name| (name.clone(), format!("waking {} by {}", member.name, way.name()))),
            );
        }
    }
    for source in &workspace.metrics {
        named.extend(source.token_env.iter().map(|name| (name.clone(), format!("the metrics “{}”", source.name))));
    }
    for service in &workspace.services {
        for (stage, spec) in service.stages() {
            for probe in &spec.probes {
                let variables = probe.headers.values().filter_map(|value| value.strip_prefix("env:"));
                named.extend(variables.map(|name| {
                    (name.to_owned(), format!("probe “{}” of {} {}", probe.name, service.name, stage.name()))
                }));
            }
        }
    }
    named
}

/// What `[probes] ca_file` names.
fn authorities(file: PathBuf) -> Result<Authorities, Refused> {
    let refused = |why: &str| Refused(format!("[probes] ca_file: {} {why}", file.display()));
    let found = std::fs::metadata(&file).map_err(|error| refused(&format!("cannot be read: {error}")))?;
    if !found.is_file() {
        return Err(refused("is no file; it names one with certificates, written as PEM"));
    }
    let size = found.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(&format!("has {size} bytes; certificates take at most {FILE_BYTES_MAX}")));
    }
    let pem = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => refused("is no text; certificates are written as PEM"),
        _ => refused(&format!("cannot be read: {error}")),
    })?;
    Ok(Authorities { file, pem })
}

fn bare(url: &str) -> String {
    url.trim().trim_end_matches('/').to_owned()
}

fn read(path: &Path) -> Result<String, Refused> {
    let refused = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file; `watchbell init` writes one by asking".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => error.to_string(),
        };
        Refused(format!("{}: {remedy}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(refused)?.len();
    if size > FILE_BYTES_MAX {
        return Err(Refused(format!("{}: {size} bytes is no configuration; at most {FILE_BYTES_MAX}", path.display())));
    }
    std::fs::read_to_string(path).map_err(refused)
}
