//! The roof: wiring. Builds the adapters, reads the state, starts the loop and the outbox, and stops them in order.
//!
//! Owns no rule about incidents. `start` gives a running bot; `main` and the tests are its only callers.

pub mod acting;
pub mod anchor;
mod connecting;
pub mod doctor;
pub mod door;
pub mod driver;
pub mod heard;
pub mod init;
mod itself;
pub mod ledger;
pub mod load;
pub mod logs;
pub mod looking;
pub mod metrics;
pub mod outbox;
pub mod policy_file;
pub mod private;
pub mod public;
pub mod pulse;
mod pump;
pub mod record;
pub mod recover;
pub mod releases;
pub mod undelivered;
pub mod undo;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::adapters::clock::{SystemClock, Timepiece, VirtualClock};
use crate::adapters::config::Config;
use crate::adapters::discord::lane::{Lane, LaneLimits, LaneOptions};
use crate::adapters::discord::{self, Directory, DiscordChat, GatewayOptions, Link, SharedDirectory};
use crate::adapters::fly::{Paces, Patience};
use crate::adapters::hooks::listen::{self, Limits};
use crate::adapters::probe::Prober;
use crate::adapters::{memory, store};
use crate::commands::{self, Lists};
use crate::ports::journal::Journal as _;
use crate::ports::{Chat, Clock};

use acting::Acts;
use connecting::{Connecting, NotConnected};
use driver::{Door, Driver, End, Parts};
use outbox::{Neighbours, Outbox, Pace};
use policy_file::{PolicyFile, PolicyTrouble};
use releases::{Followed, Releases};
use undelivered::Asked;

/// Discord's API, when configuration names no other.
const DISCORD_API: &str = "https://discord.com";
/// One attempt at a request to Discord.
const DISCORD_TIMEOUT_MS: u64 = 15_000;
/// How often the dead-man address is called.
const DEAD_MAN_EVERY: Duration = Duration::from_secs(60);
/// A decision that has waited longer than this is overdue: the dead-man address is not called.
const OVERDUE_S: f64 = 60.0;
/// Inputs from the chat that may wait for the loop.
const INBOX_MAX: usize = 512;

/// How soon Discord is called again after it turned the bot away.
const TURNED_AWAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What differs between the real bot and a test.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How fast failed posts are repeated.
    pub pace: Pace,
    /// How long is waited for what at the host.
    pub patience: Patience,
    /// Whether sled is used.
    pub without_sled: bool,
    /// How soon Discord is called again after it turned the bot away.
    pub turned_away_again: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            patience: Patience::default(),
            without_sled: false,
            turned_away_again: TURNED_AWAY_AGAIN_AFTER,
        }
    }
}

/// A running bot.
pub struct Bot {
    /// The loop's door.
    pub door: Door,
    /// Promise time.
    pub clock: Arc<dyn Timepiece>,
    /// The clock that can be moved, in demos and tests.
    pub movable: Option<Arc<VirtualClock>>,
    /// Looking at services.
    pub prober: Arc<Prober>,
    /// Following what is released; none without a token to look with.
    pub releases: Option<Arc<Releases>>,
    /// How the chat is connected.
    pub link: Link,
    /// Where the private port listens.
    pub private: std::net::SocketAddr,
    /// Where the public port listens; none when it is off.
    pub public: Option<std::net::SocketAddr>,
    stop: watch::Sender<bool>,
    end: JoinHandle<End>,
    connection: JoinHandle<anyhow::Error>,
    tasks: Vec<JoinHandle<()>>,
}

impl Bot {
    /// Runs until the record fails, it is told to stop, or Discord never let it in and there is nothing to keep.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn run(mut self, told_to_stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = told_to_stop => {
                info!("Stopping");
                Ok(())
            }
            end = &mut self.end => match end {
                Ok(End::Record(why)) => Err(anyhow!("the record cannot be written: {why}")),
                Ok(End::Asked) => Ok(()),
                Err(error) => Err(anyhow!("the loop broke: {error}")),
            },
            ended = &mut self.connection => Err(ended.unwrap_or_else(|error| anyhow!("the connection broke: {error}"))),
        };
        self.stop().await;
        ended
    }

    /// Stops in order: no more inputs, then the loop, then everything else.
    pub async fn stop(self) {
        // Dropped, the gateway disconnects.
        self.connection.abort();
        let _ = self.stop.send(true);
        let mut end = self.end;
        // One that has ended by itself was asked already, and must not be asked twice.
        if !end.is_finished() {
            let _ = tokio::time::timeout(Duration::from_secs(5), &mut end).await;
            end.abort();
        }
        for task in self.tasks {
            task.abort();
        }
    }
}

/// Starts a bot.
///
/// # Errors
/// A sentence: the folder is in use, a token is missing, or Discord turns the bot away or does not know the server while there is
/// nothing to keep. With something to keep, and when Discord is out of reach, everything else works, and it is called again.
pub async fn start(mut config: Config, settings: Settings) -> anyhow::Result<Bot> {
    let movable = movable_clock(&config)?;
    let clock: Arc<dyn Timepiece> = match &movable {
        Some(clock) => Arc::clone(clock) as Arc<dyn Timepiece>,
        None => Arc::new(SystemClock::default()),
    };
    let now_ms = clock.now().timestamp_millis();
    let mut options = store::Options::at(now_ms);
    options.sled = !settings.without_sled;
    let rests = anchor::rest(&config.state_dir, config.discord.rest_after_restart);
    let known_aside = recover::set_aside(&config.state_dir);
    let store::Opened { mut journal, mut views, base, report, paused } =
        store::open(&config.state_dir, &options).context("the state folder")?;
    if let Some(imported) = paused {
        bail!(
            "this state was imported at {} and waits: look at it with `watchbell export`, then `watchbell resume`",
            imported.at
        );
    }
    for finding in &report {
        warn!(finding = %finding.text, "About the store");
    }
    let load::Loaded { mut state, findings } = load::load(&journal, &mut views, base);
    memory::give_back();
    for finding in &findings {
        warn!(finding = %finding, "About the record");
    }
    if let Some(aside) = recover::set_aside(&config.state_dir).difference(&known_aside).next() {
        let team = recover::remembered(&config.state_dir, aside, now_ms);
        let lost = report.iter().filter(|finding| finding.severity == store::Severity::Lost);
        let what: Vec<&str> = lost.map(|finding| finding.text.as_str()).collect();
        let about = (clock.now(), config.workspace.team.name.as_str());
        recover::recover(&mut journal, &mut views, &mut state, team.as_ref(), &what.join("; "), about);
    }
    driver::go_on_from(&mut views, state.latest, &clock);
    policy_file::go_by_the_last_good(&mut config, state.team.policy.as_deref())
        .map_err(|refused| anyhow!(refused.0))?;
    if let Err(error) = policy_file::keep(&config.state_dir, &config.policy_text, &config.workspace_text) {
        warn!(reason = %error, "The policy could not be kept; a start with a bad file would not know it");
    }
    let epoch = journal.epoch();
    let journal = anchor::Anchored::new(journal, &config.state_dir).context("the log")?;
    let store_says: Vec<String> = report.into_iter().map(|finding| finding.text).chain(findings).collect();

    let api_url = format!("{}/api/v10", config.discord.api_url.as_deref().unwrap_or(DISCORD_API).trim_end_matches('/'));
    let token = config.discord_token().map_err(|refused| anyhow!(refused.0))?.clone();
    let lane = Lane::new(LaneOptions {
        api_url: api_url.clone(),
        token: token.clone(),
        user_agent: format!("DiscordBot (https://watchbell.invalid, {})", env!("CARGO_PKG_VERSION")),
        request_timeout_ms: DISCORD_TIMEOUT_MS,
        limits: LaneLimits::default(),
    })
    .map_err(|error| anyhow!("{error}"))?;
    if let Some(rests) = rests {
        lane.rest(rests);
    }
    let guild: u64 = config
        .discord
        .guild
        .parse()
        .map_err(|_| anyhow!("[discord] guild “{}” is not a server id; it is a number", config.discord.guild))?;
    let directory = SharedDirectory::new(Directory::new(config.workspace.roles.clone()));
    let plain_clock: Arc<dyn Clock> = Arc::new(Arc::clone(&clock));
    let link = Link::new(Arc::clone(&plain_clock));
    let chat = Arc::new(DiscordChat::new(lane.clone(), guild, directory.clone(), link.clone()));

    let pager = Arc::new(looking::pager(&config).map_err(|why| anyhow!(why))?);
    let paces = Paces::new(settings.patience.pace);
    let prober = Arc::new(looking::prober(&config, Arc::clone(&clock), &paces).map_err(|why| anyhow!(why))?);
    if config.fly.token.is_none() {
        warn!("FLY_READ_TOKEN is not set: machines are not looked at");
    }

    let host = looking::hosting(&config, settings.patience, &paces).map_err(|why| anyhow!(why))?;
    let (acts, soon) = Followed::new(Arc::new(acting::Acting::new(host, &config.state_dir)));
    let acts: Arc<dyn Acts> = Arc::new(acts);
    let releases = looking::releases(&config, Arc::clone(&clock), &paces).map_err(|why| anyhow!(why))?.map(Arc::new);
    let (door, threshold) = driver::door();
    let (work, work_out) = mpsc::unbounded_channel();
    let lists: Arc<RwLock<Lists>> = Arc::default();
    let log_id = journal.log_id().to_owned();
    let up_since = clock.now();
    let policy_trouble = PolicyTrouble::default();
    let itself =
        itself::about_itself(up_since, store_says, Arc::clone(&chat), policy_trouble.clone(), releases.clone());
    let logs = looking::logs(&config, settings.patience, Arc::clone(&plain_clock)).map_err(|why| anyhow!(why))?;
    let parts = Parts {
        journal,
        views,
        clock: Arc::clone(&clock),
        watch: Arc::clone(&prober),
        acts: Arc::clone(&acts),
        logs: Arc::clone(&logs),
        sources: metrics::Sources::of(&config, &plain_clock),
        policy: config.policy.clone(),
        workspace: config.workspace.clone(),
        hash: config.hash.clone(),
        decide: commands::decide,
        itself,
        outbox: work,
        lists: Arc::clone(&lists),
    };
    let neighbours = Neighbours { chat: Arc::clone(&chat), pager, watch: Arc::clone(&prober), acts, logs };
    let outbox = Outbox::new(neighbours, config.workspace.clone(), door.clone(), work_out, &log_id, settings.pace);

    let (inbox, inbox_out) = mpsc::channel(INBOX_MAX);
    let completions: discord::Completions =
        Arc::new(move |ask| commands::complete(&lists.read().unwrap_or_else(PoisonError::into_inner), ask));
    let asked = Asked::default();
    let connecting = Connecting {
        chat: Arc::clone(&chat),
        guild,
        lane: lane.clone(),
        link: link.clone(),
        door: door.clone(),
        turned_away_again: settings.turned_away_again,
        gateway: Box::new({
            let (chat, link, lane, asked) = (Arc::clone(&chat), link.clone(), lane.clone(), asked.clone());
            move || GatewayOptions {
                api_url: api_url.clone(),
                token: token.clone(),
                guild,
                lane: lane.clone(),
                directory: directory.clone(),
                link: link.clone(),
                inbox: inbox.clone(),
                completions: Arc::clone(&completions),
                undelivered: undelivered::undelivered(Arc::clone(&chat), asked.clone()),
            }
        }),
    };
    let first = connecting.once().await;
    match &first {
        Ok(_) => {}
        Err(NotConnected::Never(_)) if state.open().next().is_none() && state.pending.is_empty() => {
            // Nobody waits for anything: whoever starts it looks, and reads what is wrong.
            let Err(NotConnected::Never(error)) = first else { bail!("Discord turned me away") };
            return Err(error);
        }
        Err(NotConnected::Never(error) | NotConnected::NotYet(error)) => {
            warn!(error = %format!("{error:#}"), "Not connected to Discord; everything else goes on, and it is called again");
        }
    }

    let listener = TcpListener::bind(config.http.private_bind)
        .await
        .with_context(|| format!("cannot listen on {} ([http] private_bind)", config.http.private_bind))?;
    let private = listener.local_addr()?;
    let public_listener = match config.http.public_bind {
        None => None,
        Some(bind) => {
            let bound = TcpListener::bind(bind).await;
            Some(bound.with_context(|| format!("cannot listen on {bind} ([http] public_bind)"))?)
        }
    };
    let public = public_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let about = private_port(&config, &door, &plain_clock, movable.clone(), Arc::clone(&chat), policy_trouble.clone());

    let (stop, stopped) = watch::channel(false);
    let mut tasks = vec![
        tokio::spawn(outbox.run()),
        tokio::spawn(pump::pump(inbox_out, door.clone(), asked)),
        tokio::spawn(pump::measure(Arc::clone(&prober), door.clone())),
        tokio::spawn(async move {
            let _ = axum::serve(listener, private::routes(about)).await;
        }),
    ];
    if let Some(listener) = public_listener {
        let limits = Limits::default();
        let routes = public::routes(public::Public::new(door.clone(), config.http.deploy_secrets.clone(), limits));
        let specs = &config.workspace.hooks;
        let hooks = heard::Hooks::new(door.clone(), specs, &config.http.hook_secrets, limits, epoch);
        tasks.push(tokio::spawn(listen::serve(listener, routes.merge(heard::routes(hooks)), limits)));
    }
    if let Some(releases) = &releases {
        tasks.push(tokio::spawn(releases::follow(Arc::clone(releases), soon, door.clone())));
    }
    if let Some(file) = PolicyFile::of(&config, door.clone(), policy_trouble) {
        tasks.push(tokio::spawn(file.follow()));
    }
    if let Some(url) = config.dead_man.clone() {
        tasks.push(tokio::spawn(dead_man(url, door.clone(), Arc::clone(&plain_clock))));
    }
    let driver = Driver::new(parts, state, door.clone(), threshold);
    let end = tokio::spawn(driver.run(stopped));
    info!(private = %private, public = ?public, "Watchbell is up");
    let connection = tokio::spawn(connecting.stay(first));
    Ok(Bot { door, clock, movable, prober, releases, link, private, public, stop, end, connection, tasks })
}

/// The clock that can be moved, when configuration asks for one. It goes on from where it stopped.
fn movable_clock(config: &Config) -> anyhow::Result<Option<Arc<VirtualClock>>> {
    let kept = fs::read(clock_file(&config.state_dir)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let clock = looking::virtual_clock(config, kept);
    if let Some(clock) = &clock {
        store::make_private(&config.state_dir)?;
        keep_clock(clock, &config.state_dir);
    }
    Ok(clock)
}

fn clock_file(state_dir: &Path) -> std::path::PathBuf {
    state_dir.join("clock.json")
}

fn keep_clock(clock: &VirtualClock, state_dir: &Path) {
    let json = serde_json::to_vec(&clock.parameters()).unwrap_or_default();
    let file = clock_file(state_dir);
    let fresh = file.with_extension("new");
    if let Err(error) = fs::write(&fresh, json).and_then(|()| fs::rename(&fresh, &file)) {
        warn!(error = %error, "The virtual clock could not be kept");
    }
}

fn private_port(
    config: &Config,
    door: &Door,
    clock: &Arc<dyn Clock>,
    movable: Option<Arc<VirtualClock>>,
    chat: Arc<DiscordChat>,
    policy: PolicyTrouble,
) -> Arc<private::About> {
    let state_dir = config.state_dir.clone();
    let kept = movable.clone();
    let keep = Mutex::new(());
    Arc::new(private::About {
        door: door.clone(),
        clock: Arc::clone(clock),
        movable,
        keep_clock: Box::new(move || {
            let _one_at_a_time = keep.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(clock) = &kept {
                keep_clock(clock, &state_dir);
            }
        }),
        chat: Box::new(move || chat.condition()),
        policy: Box::new(move || policy.get()),
        token: config.http.control_token.clone(),
    })
}

/// Calls the dead-man address each minute, only while the loop answers and nothing that it owes anybody is overdue.
async fn dead_man(url: String, door: Door, clock: Arc<dyn Clock>) {
    let Ok(http) = reqwest::Client::builder().timeout(Duration::from_secs(10)).build() else { return };
    loop {
        tokio::time::sleep(DEAD_MAN_EVERY).await;
        let looked = tokio::time::timeout(Duration::from_secs(5), door.look()).await;
        let well = match looked {
            Ok(Some(snapshot)) => snapshot.trouble.is_none() && private::overdue_s(&snapshot, &*clock) < OVERDUE_S,
            _ => false,
        };
        if !well {
            warn!("Something is overdue in the bot itself; the dead-man address is not called");
            continue;
        }
        if let Err(error) = http.get(&url).send().await {
            // Without the address: it may carry a key.
            warn!(error = %error.without_url(), "The dead-man address could not be called");
        }
    }
}
