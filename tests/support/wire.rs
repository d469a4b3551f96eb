//! The wire world: the whole bot (driver, log, sled, lane, gateway) against the local Discord over loopback, with a clock that
//! only the script moves.
//!
//! The bot lives in a runtime of its own, so that a crash is one: everything it does stops between two instructions. All waiting
//! is for conditions; nothing here sleeps for a result.

pub mod host;
pub mod neighbours;
pub mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use watchbell::adapters::clock::SystemClock;
use watchbell::adapters::config::Config;
use watchbell::adapters::fly::Patience;
use watchbell::adapters::hooks::signature::{self, Signed};
use watchbell::commands;
use watchbell::domain::command_spec::OptionKind;
use watchbell::domain::ids::InputId;
use watchbell::domain::input::{Input, InputKind};
use watchbell::domain::pipeline::told::Told;
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::schedule::first_instant;
use watchbell::domain::workspace::Workspace;
use watchbell::ports::Clock as _;
use watchbell::shell::outbox::Pace;
use watchbell::shell::private::wait_still;
use watchbell::shell::{self, Bot, Settings};
use watchbell::sim::discord::{
    self, ChannelSeed, Handle, MemberSeed, Options, RoleSeed, Settings as Pacing, Workspace as Guild,
};
use watchbell::sim::fly;

use super::world::{
    Behaviour, CAST, CERTIFICATE_SLACK, HookTold, Step, TEAM, World, answered, block, hook_told, page_line, place_key,
    place_name, place_order, request,
};
use neighbours::{Authority, Ntfy, Service};
use seen::Names;

/// How long anything may take before the run is called stuck.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often services are looked at, as the shipped policy has it.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(30);
/// How often releases are looked at, as configuration has it.
const RELEASES_EVERY: TimeDelta = TimeDelta::seconds(60);
/// Looks in a row that must have found a service well before further ones are left out: nothing could come of them.
const LOOKS_SURE: u32 = 4;
/// With Discord away, posts are tried without end; nothing new for this long is as still as it gets.
const QUIET_WHILE_DOWN: Duration = Duration::from_millis(250);
/// What a pipeline signs with.
/// How often a pipeline of the transcripts comes again that asked too often.
const TOO_OFTEN_MAX: usize = 5;
const HOOK_SECRET: &str = "what-the-pipeline-of-the-transcripts-signs-with";
/// Stands in the state folder, as the shell keeps it.
const CLOCK_FILE: &str = "clock.json";

/// What runs on the local Fly, where a test asks for one.
const FLY: &str = r#"{
    "org": "lighthouse",
    "tokens": [{"token": "local-fly-look", "kind": "readonly"}],
    "apps": [{
        "name": "search",
        "machines": [{"region": "ord"}, {"region": "iad", "state": "stopped"}],
        "releases": [{"version": 4, "image": "registry.fly.io/search:deployment-4"}]
    }]
}"#;

/// What runs on the local Fly in transcripts that act: the same as on the pure floors.
const ACTED_ON: &str = r#"{
    "org": "lighthouse",
    "tokens": [
        {"token": "local-fly-look", "kind": "readonly"},
        {"token": "local-fly-act", "kind": "deploy", "app": "lighthouse-checkout"},
        {"token": "local-fly-try", "kind": "deploy", "app": "lighthouse-checkout-staging"}
    ],
    "apps": [{
        "name": "lighthouse-checkout",
        "autostop": true,
        "machines": [{"region": "iad"}, {"region": "ord"}, {"region": "ord", "state": "stopped"}],
        "releases": [
            {"version": 40, "image": "registry.fly.io/lighthouse-checkout:deployment-40", "user": "carol@lighthouse.example", "minutes_ago": 21600},
            {"version": 41, "image": "registry.fly.io/lighthouse-checkout:deployment-41", "user": "carol@lighthouse.example", "minutes_ago": 11520},
            {"version": 42, "image": "registry.fly.io/lighthouse-checkout:deployment-42", "user": "carol@lighthouse.example", "minutes_ago": 1440}
        ]
    }, {
        "name": "lighthouse-checkout-staging",
        "autostop": true,
        "machines": [{"region": "iad"}],
        "releases": [{"version": 42, "image": "registry.fly.io/lighthouse-checkout:deployment-42", "user": "carol@lighthouse.example", "minutes_ago": 1440}]
    }],
    "settings": {"boot_ms": 2, "stop_ms": 2, "check_every_ms": 20, "autostop_after_ms": 86400000, "rate_limits": false}
}"#;

/// The wire world.
pub struct Wire {
    // Before the runtimes: dropped first.
    bot: Option<Bot>,
    bot_runtime: Option<Runtime>,
    discord: Option<Handle>,
    services: BTreeMap<String, (Service, Behaviour, u32)>,
    /// Services that nobody looks at.
    unseen: BTreeSet<String>,
    /// Who answers for the services' certificates, where a script has any.
    authority: Option<Authority>,
    runtime: Runtime,
    ntfy: Ntfy,
    fly: Option<fly::Handle>,
    setup: String,
    folder: tempfile::TempDir,
    zone: chrono_tz::Tz,
    origin: DateTime<Utc>,
    policy_text: String,
    /// Whether the bot looks at the rules of its policy.
    has_rules: bool,
    next_look: DateTime<Utc>,
    next_releases: DateTime<Utc>,
    /// The releases as they were when they were looked at last.
    releases_looked: Vec<Value>,
    looks: u64,
    observing: bool,
    discord_up: bool,
    /// Whether Fly comes to no end with what it is asked.
    held: bool,
    has_token: bool,
    has_look: bool,
    seen: BTreeSet<String>,
    pages: Vec<String>,
    told: BTreeMap<String, Value>,
    form: BTreeMap<String, String>,
    figures: super::figures::Figures,
}

impl Default for Wire {
    fn default() -> Self {
        Self::new(None).expect("the neighbours start")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop_dead();
    }
}

/// The guild of the transcripts.
fn guild() -> Guild {
    let channel = |name: &str| ChannelSeed { name: name.to_owned(), ..ChannelSeed::default() };
    let role = |name: &str| RoleSeed { name: name.to_owned(), mentionable: true, ..RoleSeed::default() };
    let member = |name: &str, roles: &[&str]| MemberSeed {
        username: name.to_owned(),
        display_name: name.to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        ..MemberSeed::default()
    };
    Guild {
        guild_name: "lighthouse".to_owned(),
        channels: ["incidents", "incidents-test", "announcements", "general"].map(channel).to_vec(),
        roles: ["engineer", "manager", "reliability", "responder"].map(role).to_vec(),
        members: CAST.iter().map(|cast| member(cast.name, cast.roles)).collect(),
        // Discord's pace is tested elsewhere; here hours pass in a second.
        settings: Pacing {
            messages_per_window: 10_000,
            global_per_second: 10_000,
            // Three seconds are tested elsewhere too; a busy machine must not decide what a transcript says.
            respond_within_ms: 15_000,
            ..Pacing::default()
        },
        ..Guild::example()
    }
}

impl Wire {
    /// A world with nobody in it yet; the bot comes with the first step. `record` is where the local Discord writes every request.
    pub fn new(record: Option<&std::path::Path>) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let ntfy = Ntfy::default();
        let mut table: toml::Table = TEAM.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let workspace: Workspace = toml::from_str(TEAM).map_err(|error| error.to_string())?;
        let zone = workspace.team.zone;
        let folder = tempfile::tempdir().map_err(said)?;
        let mut services = BTreeMap::new();
        let discord = runtime.block_on(async {
            let options = Options { record_dir: record.map(Into::into), ..Options::new(guild()) };
            let discord = discord::start(options).await.map_err(said)?;
            let pager = ntfy.start().await.map_err(said)?;
            for person in table["people"].as_array_mut().into_iter().flatten().filter_map(toml::Value::as_table_mut) {
                let name = person["name"].as_str().unwrap_or_default().to_owned();
                let id = discord.member_id(&name).ok_or("somebody is not on the server")?;
                person.insert("chat".to_owned(), format!("discord:{id}").into());
                let ways = person.get_mut("wake").and_then(toml::Value::as_array_mut).into_iter().flatten();
                for way in ways.filter_map(toml::Value::as_table_mut).filter(|way| way.contains_key("url")) {
                    way.insert("url".to_owned(), format!("{pager}/{name}").into());
                }
            }
            for service in table["services"].as_array_mut().into_iter().flatten() {
                let name = service["name"].as_str().unwrap_or_default().to_owned();
                let probes = service["production"].get_mut("probes").and_then(toml::Value::as_array_mut);
                for probe in probes.into_iter().flatten().filter_map(toml::Value::as_table_mut) {
                    let running = Service::start().map_err(said)?;
                    probe.insert("url".to_owned(), format!("http://{}/health", running.addr).into());
                    // The script looks; rounds of the prober's own would come between.
                    probe.insert("every".to_owned(), "8760h".into());
                    services.insert(name.clone(), (running, Behaviour::Healthy, 0));
                }
            }
            Ok::<Handle, String>(discord)
        })?;
        let text = toml::to_string(&table).map_err(|error| error.to_string())?;
        let setup = format!(
            "{text}\n[discord]\nguild = \"{}\"\napi_url = \"{}\"\nrest_after_restart = \"0s\"\n[http]\nprivate_bind = \"127.0.0.1:0\"\npublic_bind = \"127.0.0.1:0\"\n[state]\ndir = \"state\"\n",
            discord.guild_id(),
            discord.base_url()
        );
        let start = NaiveDateTime::parse_from_str("2026-11-24 03:00", "%Y-%m-%d %H:%M").map_err(|e| e.to_string())?;
        let origin = first_instant(zone, start);
        Ok(Self {
            bot: None,
            bot_runtime: None,
            discord: Some(discord),
            services,
            unseen: BTreeSet::new(),
            authority: None,
            runtime,
            ntfy,
            fly: None,
            setup,
            folder,
            zone,
            origin,
            policy_text: super::world::policy_without_rules(),
            has_rules: false,
            next_look: origin,
            next_releases: origin,
            releases_looked: Vec::new(),
            looks: 0,
            observing: false,
            discord_up: true,
            held: false,
            has_token: true,
            has_look: true,
            figures: super::figures::Figures::default(),
            seen: BTreeSet::new(),
            pages: Vec::new(),
            told: BTreeMap::new(),
            form: BTreeMap::new(),
        })
    }

    /// The same world, with `search` running on a local Fly.
    pub fn with_fly(mut self, record: Option<&std::path::Path>) -> Result<Self, String> {
        self.run_on_fly(FLY, "search", "search", record)?;
        Ok(self)
    }

    /// A service runs as an app of a local Fly.
    fn run_on_fly(
        &mut self,
        there: &str,
        service: &str,
        app: &str,
        record: Option<&std::path::Path>,
    ) -> Result<(), String> {
        let workspace = fly::Workspace::from_json(there)?;
        let options = fly::Options { record_dir: record.map(Into::into), ..fly::Options::new(workspace) };
        let running = self.runtime.block_on(fly::start(options)).map_err(|error| error.to_string())?;
        let mut table: toml::Table = self.setup.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut at = toml::Table::new();
        at.insert("org".to_owned(), running.org().into());
        at.insert("machines_url".to_owned(), running.machines_url().into());
        at.insert("api_url".to_owned(), running.api_url().into());
        at.insert("prometheus_url".to_owned(), running.prometheus_url().into());
        // The script looks; rounds of the bot's own would come between.
        at.insert("releases_every".to_owned(), "8760h".into());
        table.insert("fly".to_owned(), at.into());
        for one in table["services"].as_array_mut().into_iter().flatten() {
            if one["name"].as_str() == Some(service)
                && let Some(stage) = one.get("production")
            {
                let mut stage = stage.as_table().cloned().unwrap_or_default();
                stage.insert("fly_app".to_owned(), app.into());
                one.as_table_mut().ok_or("no table")?.insert("production".to_owned(), stage.into());
            }
        }
        self.setup = toml::to_string(&table).map_err(|error| error.to_string())?;
        self.fly = Some(running);
        Ok(())
    }

    /// Machines are called as on the pure floors, in the order in which they were made.
    fn machine_names(&self) -> Vec<(String, String)> {
        let Some(fly) = &self.fly else { return Vec::new() };
        let state = fly.state();
        let machines = state["apps"][0]["machines"].as_array().cloned().unwrap_or_default();
        let named = machines.iter().enumerate().filter_map(|(n, machine)| {
            Some((machine["id"].as_str()?.to_owned(), (*super::host::IDS.get(n)?).to_owned()))
        });
        let staging = state["apps"][1]["machines"][0]["id"].as_str().map(str::to_owned);
        named.chain(staging.map(|id| (id, super::host::STAGING_ID.to_owned()))).collect()
    }

    /// What runs as `checkout` has a staging there too.
    fn with_staging(&mut self) -> Result<(), String> {
        let mut table: toml::Table = self.setup.parse().map_err(|error: toml::de::Error| error.to_string())?;
        for one in table["services"].as_array_mut().into_iter().flatten() {
            if one["name"].as_str() == Some("checkout") {
                let mut stage = toml::Table::new();
                stage.insert("fly_app".to_owned(), super::host::STAGING.into());
                one.as_table_mut().ok_or("no table")?.insert("staging".to_owned(), stage.into());
            }
        }
        self.setup = toml::to_string(&table).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// An answer of a service that takes longer is late.
    fn late_above(&mut self, service: &str, bound: TimeDelta) -> Result<(), String> {
        let mut table: toml::Table = self.setup.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let services = table["services"].as_array_mut().into_iter().flatten();
        for one in services.filter(|one| one["name"].as_str() == Some(service)) {
            let probes = one["production"].get_mut("probes").and_then(toml::Value::as_array_mut);
            for probe in probes.into_iter().flatten().filter_map(toml::Value::as_table_mut) {
                probe.insert("warn_above".to_owned(), format!("{}ms", bound.num_milliseconds()).into());
            }
        }
        self.setup = toml::to_string(&table).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The local Fly, when there is one.
    pub fn fly(&self) -> Option<&fly::Handle> {
        self.fly.as_ref()
    }

    /// The local Discord.
    pub fn discord(&self) -> &Handle {
        self.discord.as_ref().expect("it runs as long as the world")
    }

    fn bot(&self) -> &Bot {
        self.bot.as_ref().expect("it runs")
    }

    fn now(&self) -> DateTime<Utc> {
        self.bot().clock.now()
    }

    fn names(&self) -> Names {
        let mut names = Names::read(self.discord(), self.zone);
        names.machines = self.machine_names();
        names
    }

    /// Starts the bot on the folder as it is.
    fn start(&mut self) -> Result<(), String> {
        let clock = format!("\n[clock]\nvirtual = true\nspeed = 0.0\norigin = \"{}\"\n", self.origin.to_rfc3339());
        let token = self.discord().bot_token();
        let look = self.fly.as_ref().and_then(|fly| fly.token(fly::TokenKind::Readonly, None));
        let acts = |app: &str| self.fly.as_ref().and_then(|fly| fly.token(fly::TokenKind::Deploy, Some(app)));
        let (act, on_staging) = (acts(super::host::APP), acts(super::host::STAGING));
        let env = |name: &str| match name {
            "DISCORD_TOKEN" => Some(token.clone()),
            "FLY_READ_TOKEN" => look.clone().filter(|_| self.has_look),
            "WATCHBELL_HOOK_DEPLOY_SECRET" | "WATCHBELL_HOOK_ALERTMANAGER_SECRET" | "WATCHBELL_HOOK_GRAFANA_SECRET" => {
                Some(HOOK_SECRET.to_owned())
            }
            "FLY_DEPLOY_TOKEN_LIGHTHOUSE_CHECKOUT" => act.clone().filter(|_| self.has_token),
            "FLY_DEPLOY_TOKEN_LIGHTHOUSE_CHECKOUT_STAGING" => on_staging.clone(),
            _ => None,
        };
        let file = self.folder.path().join("watchbell.toml");
        let mut config = Config::from_text(&file, &format!("{}{clock}", self.setup), env).map_err(|error| error.0)?;
        config.policy = Policy::parse(&self.policy_text)?;
        config.policy_text.clone_from(&self.policy_text);
        let patience = Patience {
            smoke: Duration::from_millis(20),
            look_every: Duration::from_millis(10),
            pace: Duration::from_millis(1),
            ..Patience::default()
        };
        let settings = Settings { pace: Pace { first_ms: 5, max_ms: 50 }, patience, ..Settings::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let bot = runtime.block_on(shell::start(config, settings)).map_err(|error| format!("{error:#}"))?;
        self.bot_runtime = Some(runtime);
        self.bot = Some(bot);
        self.connected()?;
        self.settle()?;
        self.look()?;
        self.look_at_releases()?;
        self.next_look = self.now() + LOOK_EVERY;
        Ok(())
    }

    /// Whether the local Discord sees the bot at its gateway.
    fn at_the_gateway(&self) -> bool {
        self.discord().state()["bot"]["connected"] == true
    }

    /// Waits until the gateway is connected.
    fn connected(&self) -> Result<(), String> {
        self.until("the gateway is not connected", || self.bot().link.condition().up)
    }

    fn until(&self, stuck: &str, holds: impl Fn() -> bool) -> Result<(), String> {
        self.runtime.block_on(async {
            let began = Instant::now();
            while !holds() {
                if began.elapsed() > PATIENCE {
                    return Err(stuck.to_owned());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        })
    }

    /// Ends the bot between two instructions.
    fn stop_dead(&mut self) {
        if let Some(runtime) = self.bot_runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
        self.bot = None;
    }

    fn crash(&mut self, away: TimeDelta) -> Result<(), String> {
        let mut time = self.bot().movable.as_ref().ok_or("the clock cannot be moved")?.parameters();
        self.stop_dead();
        time.offset_ms += away.num_milliseconds();
        let kept = serde_json::to_vec(&time).map_err(|error| error.to_string())?;
        std::fs::write(self.folder.path().join("state").join(CLOCK_FILE), kept).map_err(|error| error.to_string())?;
        self.start()
    }

    /// Waits until the bot has nothing under way at this instant.
    fn settle(&self) -> Result<(), String> {
        let bot = self.bot();
        if !self.discord_up || self.held {
            return self.quiet();
        }
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, wait_still(&bot.door, &*bot.clock)).await })
            .map_err(|_| format!("the bot does not come to rest: {} under way", bot.door.pulse().count()))
    }

    /// Waits until nothing is due and nothing changes any more, with posts or steps that cannot be done waiting.
    fn quiet(&self) -> Result<(), String> {
        let bot = self.bot();
        self.runtime.block_on(async {
            let began = Instant::now();
            let (mut last, mut since) = (None, Instant::now());
            while began.elapsed() < PATIENCE {
                let snapshot = bot.door.look().await.ok_or("the bot is gone")?;
                let due = snapshot.next_due.is_some_and(|due| due <= bot.clock.now());
                let now = Some((snapshot.seq, bot.door.pulse().count(), self.ntfy.count()));
                if due || now != last {
                    (last, since) = (now, Instant::now());
                }
                if since.elapsed() > QUIET_WHILE_DOWN {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err("the bot does not come to rest while something is held".to_owned())
        })
    }

    /// Waits until both sides are at rest.
    fn rest(&mut self) -> Result<(), String> {
        self.settle()?;
        if self.discord_up {
            self.runtime.block_on(self.discord().still(PATIENCE))?;
            self.settle()?;
        }
        self.note_pages();
        Ok(())
    }

    /// Looks at every service as a round of the prober's would.
    fn look(&mut self) -> Result<(), String> {
        let bot = self.bot();
        let found = self.runtime.block_on(bot.prober.measure_now());
        for look in found.into_iter().filter(|look| !self.unseen.contains(look.service.as_str())) {
            self.looks += 1;
            let id = InputId::new(format!("script-look:{}", self.looks));
            self.bot().door.must(Input { id, kind: InputKind::Measured(look) });
        }
        for (_, _, looked) in self.services.values_mut() {
            *looked += 1;
        }
        self.settle()
    }

    /// Looks at the releases as a round of the bot's own would.
    fn look_at_releases(&mut self) -> Result<(), String> {
        self.next_releases = self.now() + RELEASES_EVERY;
        self.releases_looked = self.fly.as_ref().map(releases_of).unwrap_or_default();
        let Some(releases) = self.bot().releases.clone() else { return Ok(()) };
        for look in self.runtime.block_on(async { releases.look_now().await }) {
            self.looks += 1;
            let id = InputId::new(format!("script-releases:{}", self.looks));
            self.bot().door.must(Input { id, kind: InputKind::Releases(look) });
        }
        self.settle()
    }

    /// Somebody deploys without the bot, or something goes wrong at Fly.
    fn order_fly(&mut self, what: &str) -> Result<(), String> {
        match what {
            "holds" => self.held = true,
            "goes on" => self.held = false,
            // A token is given with the environment, so it takes another start to have another one.
            "no token" | "well again" if self.has_token == (what == "no token") => {
                self.has_token = !self.has_token;
                self.crash(TimeDelta::zero())?;
            }
            "nobody may look" | "well again" if self.has_look == (what == "nobody may look") => {
                self.has_look = !self.has_look;
                self.crash(TimeDelta::zero())?;
            }
            _ => {}
        }
        let fly = self.fly.as_ref().ok_or("say `with fly` first")?;
        let _within = self.runtime.enter();
        if self.figures.order(what) {
            fly.act("figures", &self.figures.body())?;
            return match what {
                "metrics refused" => {
                    let fault = json!({"kind": "answer", "status": 403, "door": "prometheus", "body": {}});
                    fly.act("faults", &fault).map(drop)
                }
                "metrics well again" => {
                    fly.clear_faults();
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        let Some((who, what)) = super::host::deployed_by(what) else {
            host::become_(fly, what)?;
            // A machine that loops comes to no rest, so only what sets machines going is waited for.
            return if host::sets_going(what) { self.fly_at_rest(fly) } else { Ok(()) };
        };
        host::deploy(fly, who, what)?;
        self.fly_at_rest(fly)
    }

    fn fly_at_rest(&self, fly: &fly::Handle) -> Result<(), String> {
        self.runtime.block_on(async {
            match self.held || fly.settled(PATIENCE).await {
                true => Ok(()),
                false => Err("the local Fly does not come to rest".to_owned()),
            }
        })
    }

    /// Several press the same at the same moment, and the first of them wins. Where Fly must be asked before a press counts,
    /// the others' questions are held until the first has been decided: they were all asked while nothing had happened yet.
    fn race(&self, who: &[String], label: &str, message: &str) -> Result<Vec<(String, String)>, String> {
        let Some((first, others)) = who.split_first() else { return Ok(Vec::new()) };
        let Some(fly) = &self.fly else {
            return who.iter().map(|who| Ok((who.clone(), self.press(who, label, message)?))).collect();
        };
        let mut late = Vec::new();
        for who in others {
            let (_, before) = fly.requests(0, usize::MAX);
            let hold = json!({"kind": "hold", "door": "machines", "method": "GET", "times": 1});
            let held = fly.act("faults", &hold)?["id"].as_u64().unwrap_or_default();
            late.push((who.clone(), self.press(who, label, message)?, held));
            self.until("nobody asks Fly", || fly.requests(before, 1).1 != before)?;
        }
        let mut begun = vec![(first.clone(), self.press(first, label, message)?)];
        self.runtime.block_on(self.discord().interaction(&begun[0].1, PATIENCE))?;
        for (who, interaction, held) in late {
            fly.clear_fault(held);
            begun.push((who, interaction));
        }
        Ok(begun)
    }

    /// Whether a look at the releases could change anything: there are others than at the last look, or one is not over.
    fn releases_matter(&self) -> bool {
        let Some(fly) = &self.fly else { return false };
        let now = releases_of(fly);
        let is_open = |release: &Value| matches!(release["status"].as_str(), Some("running" | "pending"));
        now != self.releases_looked || now.iter().any(is_open)
    }

    /// Whether a look could change anything.
    fn looks_matter(&self) -> bool {
        // A rule sees how long nobody has looked.
        self.has_rules
            || self
                .services
                .values()
                .any(|(_, behaviour, looked)| *behaviour != Behaviour::Healthy || *looked < LOOKS_SURE)
    }

    /// Steps the clock from one due moment to the next, as time itself would pass them.
    fn advance(&mut self, by: TimeDelta) -> Result<(), String> {
        let until = self.now() + by;
        loop {
            let now = self.now();
            if !self.looks_matter() {
                while self.next_look <= now {
                    self.next_look += LOOK_EVERY;
                }
            }
            let door = self.bot().door.clone();
            let snapshot = self.runtime.block_on(door.look()).ok_or("the bot is gone")?;
            let due = snapshot.next_due.into_iter().chain(snapshot.next_rules).min();
            let look = self.looks_matter().then_some(self.next_look);
            if !self.releases_matter() {
                while self.next_releases <= now {
                    self.next_releases += RELEASES_EVERY;
                }
            }
            let releases = self.releases_matter().then_some(self.next_releases);
            let Some(next) = due.into_iter().chain(look).chain(releases).min().filter(|next| *next <= until) else {
                break;
            };
            self.go_to(next)?;
            if self.looks_matter() && self.next_look <= self.now() {
                self.look()?;
                self.next_look = self.now() + LOOK_EVERY;
            }
            if self.releases_matter() && self.next_releases <= self.now() {
                self.look_at_releases()?;
            }
            self.note_pages();
        }
        self.go_to(until)?;
        while self.next_look <= until {
            self.next_look += LOOK_EVERY;
        }
        while self.next_releases <= until {
            self.next_releases += RELEASES_EVERY;
        }
        Ok(())
    }

    /// The clock jumps, and everything that is due by it is so at once.
    fn jump(&mut self, by: TimeDelta) -> Result<(), String> {
        self.bot().movable.as_ref().ok_or("the clock cannot be moved")?.jump(by);
        self.settle()?;
        if self.looks_matter() && self.next_look <= self.now() {
            self.look()?;
            self.next_look = self.now() + LOOK_EVERY;
        }
        if self.releases_matter() && self.next_releases <= self.now() {
            self.look_at_releases()?;
        }
        self.settle()
    }

    /// A service shows a certificate that is good for so long. The first time it is asked over https from then on.
    fn certify(&mut self, name: &str, days: i64) -> Result<(), String> {
        let (service, behaviour, looked) = self.services.get_mut(name).ok_or("no such service")?;
        if self.authority.is_none() {
            let authority = Authority::new()?;
            std::fs::write(self.folder.path().join("ca.pem"), authority.pem()).map_err(|error| error.to_string())?;
            self.authority = Some(authority);
            let mut table: toml::Table = self.setup.parse().map_err(|error: toml::de::Error| error.to_string())?;
            let probes: toml::Table = [("ca_file".to_owned(), "ca.pem".into())].into_iter().collect();
            table.insert("probes".to_owned(), probes.into());
            for one in table["services"].as_array_mut().into_iter().flatten() {
                let probes = one["production"].get_mut("probes").and_then(toml::Value::as_array_mut);
                for probe in probes.into_iter().flatten().filter_map(toml::Value::as_table_mut) {
                    let url = probe["url"].as_str().unwrap_or_default().replace("http://", "https://");
                    probe.insert("url".to_owned(), url.into());
                }
            }
            self.setup = toml::to_string(&table).map_err(|error| error.to_string())?;
        }
        let authority = self.authority.as_ref().ok_or("nobody answers for it")?;
        service.shows(authority.certificate(TimeDelta::days(days) + CERTIFICATE_SLACK)?);
        *looked = 0;
        let behaviour = *behaviour;
        self.runtime
            .block_on(async {
                service.silenced().await;
                service.behave(behaviour)
            })
            .map_err(|error| error.to_string())
    }

    fn without_probe(&mut self, service: &str) -> Result<(), String> {
        let mut table: toml::Table = self.setup.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let services = table["services"].as_array_mut().into_iter().flatten();
        for one in services.filter(|one| one["name"].as_str() == Some(service)) {
            one["production"].as_table_mut().ok_or("no table")?.remove("probes");
        }
        self.setup = toml::to_string(&table).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn go_to(&mut self, at: DateTime<Utc>) -> Result<(), String> {
        let ahead = at - self.now();
        if ahead > TimeDelta::zero() {
            self.bot().movable.as_ref().ok_or("the clock cannot be moved")?.advance(ahead);
        }
        self.settle()
    }

    fn channel_of(&self, place: Option<&str>) -> Result<String, String> {
        let key = place_key(place.unwrap_or("incidents"));
        self.names().channel(key).map(|channel| channel.id.clone()).ok_or_else(|| format!("there is no place {key}"))
    }

    /// What stands everywhere but in direct messages: place, message; the newest last.
    fn standing(&self, names: &Names) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for channel in names.channels.iter().filter(|channel| channel.kind != "dm") {
            let messages = self.discord().channel(&channel.id, None).unwrap_or_default();
            all.extend(messages.into_iter().filter(is_talk).map(|message| (channel.name.clone(), message)));
        }
        all.sort_by_key(|(_, message)| id_of(message));
        all
    }

    /// Direct messages and what ntfy heard, as pages.
    fn note_pages(&mut self) {
        let names = self.names();
        let mut new = Vec::new();
        for channel in names.channels.iter().filter(|channel| channel.kind == "dm") {
            for message in self.discord().channel(&channel.id, None).unwrap_or_default() {
                if self.seen.insert(id_of(&message).to_string()) {
                    let said = names.lines(&message).into_iter().next().unwrap_or_default();
                    new.push(page_line(&channel.name, "direct message", &said));
                }
            }
        }
        new.extend(self.ntfy.take().iter().map(|(topic, said)| page_line(topic, "ntfy", said)));
        new.sort();
        self.pages.append(&mut new);
    }

    fn newly_seen(&mut self) -> Vec<String> {
        let names = self.names();
        let mut new: Vec<(String, Value)> = self.standing(&names);
        new.retain(|(_, message)| message["author"]["bot"] == true && self.seen.insert(id_of(message).to_string()));
        new.sort_by_key(|(place, _)| place_order(place));
        let mut out = Vec::new();
        for (place, message) in new {
            block(&mut out, &format!("< {}", place_name(&place)), &names.lines(&message));
        }
        out.append(&mut self.pages);
        out
    }

    /// What came of something that somebody did.
    fn answer(&mut self, who: &str, interaction: &str) -> Result<Vec<String>, String> {
        let answered = self.runtime.block_on(self.discord().interaction(interaction, PATIENCE))?;
        let names = self.names();
        let mut out = Vec::new();
        if answered["status"] == "expired" {
            return Err(format!("the bot did not answer {who}"));
        }
        if answered["modal"].is_object() {
            let form = &answered["modal"];
            out.push(format!("< form for {who}: {}", form["title"].as_str().unwrap_or_default()));
            for input in form["inputs"].as_array().into_iter().flatten() {
                let word = |key: &str| input[key].as_str().unwrap_or_default();
                let star = if input["required"] == true { "*" } else { "" };
                out.push(format!("    {}{star} ({}): {}", word("custom_id"), word("label"), word("value")));
            }
            self.form.insert(who.to_owned(), interaction.to_owned());
            return Ok(out);
        }
        let followups = answered["followups"].as_array().cloned().unwrap_or_default();
        for message in [answered["message"].clone()].into_iter().chain(followups).filter(Value::is_object) {
            // A press that only acknowledges names the message that it was made on.
            if message["command"].is_null() && message["ephemeral_for"].is_null() {
                continue;
            }
            // What stood there already was changed in its place.
            let is_changed = self.told.get(who).is_some_and(|told| told["id"] == message["id"]);
            let to = match message["ephemeral_for"].is_null() {
                true => format!("to {who}"),
                false if is_changed => format!("for {who}, instead"),
                false => format!("only {who}"),
            };
            block(&mut out, &format!("< ({to})"), &names.lines(&message));
            // What all see is told as the answer, and not once more as what stands there.
            self.seen.insert(id_of(&message).to_string());
            self.told.insert(who.to_owned(), message);
        }
        Ok(out)
    }

    /// A signed request at the public port.
    fn asked_by_a_pipeline(&self, values: &[(String, String)]) -> Result<Result<Told, String>, String> {
        let (id, body) = request(values);
        let url = format!("http://{}/hooks/deploy", self.bot().public.ok_or("no public port")?);
        let time_s = SystemClock::default().now().timestamp();
        let signed = Signed { time_s, id: &id, method: "POST", path: "/hooks/deploy", body: &body };
        let signature = signed.sign(&SecretString::from(HOOK_SECRET));
        let (time, name, shown) = (signature::TIME, signature::ID, signature::SIGNATURE);
        let answer = self.runtime.block_on(async {
            // Turned away for asking too often, it comes again when it is told to, as `watchbell deploy` does.
            for _ in 0..TOO_OFTEN_MAX {
                let request = reqwest::Client::new().post(&url).header(time, time_s).header(name, &id);
                let answer = request.header(shown, &signature).body(body.clone()).send().await?;
                if answer.status().as_u16() != 429 {
                    return answer.json::<Value>().await;
                }
                let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
                tokio::time::sleep(std::time::Duration::from_secs(after.unwrap_or(1))).await;
            }
            Ok(json!({"error": "it was too often, again and again"}))
        });
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(match answer["error"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(serde_json::from_value(answer).map_err(|error| error.to_string())?),
        })
    }

    /// Alertmanager's webhook, as its documents have it; Grafana's is like it.
    fn told_by(&self, hook: &str, fires: bool, labels: &[(String, String)]) -> Result<(), String> {
        let HookTold { labels, group, summary, truncated, external } = hook_told(labels);
        let status = if fires { "firing" } else { "resolved" };
        let ends = if fires { "0001-01-01T00:00:00Z".to_owned() } else { self.now().to_rfc3339() };
        let body = json!({
            "version": "4", "receiver": "watchbell", "status": status, "groupLabels": group, "groupKey": "{}", "truncatedAlerts": truncated,
            "externalURL": external,
            "alerts": [{
                "status": status, "labels": labels, "annotations": {"summary": summary}, "endsAt": ends,
                "fingerprint": serde_json::to_string(&labels).unwrap_or_default(),
            }],
        });
        let url = format!("http://{}/hooks/{hook}", self.bot().public.ok_or("no public port")?);
        let status = self.runtime.block_on(async {
            let answer = reqwest::Client::new().post(url).bearer_auth(HOOK_SECRET).json(&body).send().await?;
            Ok::<u16, reqwest::Error>(answer.status().as_u16())
        });
        match status.map_err(|error| error.to_string())? {
            200 => Ok(()),
            other => Err(format!("the hook answered {other}")),
        }
    }

    fn call(&self, action: &str, body: Value) -> Result<String, String> {
        let done = self.runtime.block_on(self.discord().call(action, body))?;
        Ok(done["interaction_id"].as_str().unwrap_or_default().to_owned())
    }

    /// The newest message with such a part that this person can see: what only they were told comes first.
    fn find(&self, who: &str, on: Option<&str>, has: impl Fn(&Value) -> bool) -> Option<String> {
        if let (Some(told), None) = (self.told.get(who).filter(|told| parts(told).any(&has)), on) {
            return Some(id_of(told).to_string());
        }
        let names = self.names();
        let standing = self.standing(&names);
        let fits = |message: &&(String, Value)| {
            on.is_none_or(|on| names.lines(&message.1).join("\n").contains(on)) && parts(&message.1).any(&has)
        };
        standing.iter().rev().find(fits).map(|(_, message)| id_of(message).to_string())
    }

    fn run(&self, step: &Step) -> Result<String, String> {
        let Step::Command { who, command, words, options, place } = step else {
            return Err("that is no command".to_owned());
        };
        let spec = commands::specs().into_iter().find(|spec| spec.name == command.as_str()).ok_or("no such command")?;
        let mut given = Map::new();
        if !words.is_empty() {
            let first = spec.options.first().ok_or("that command takes nothing")?;
            given.insert(first.name.to_owned(), json!(words));
        }
        for (name, value) in options {
            let option = spec.options.iter().find(|option| option.name == name.as_str());
            let option = option.ok_or_else(|| format!("{command} has no option {name}"))?;
            let value = if matches!(option.kind, OptionKind::Flag) { json!(value == "yes") } else { json!(value) };
            given.insert(name.clone(), value);
        }
        let channel = self.channel_of(place.as_deref())?;
        self.call("run", json!({"as": who, "channel": channel, "command": command, "options": given}))
    }

    fn press(&self, who: &str, label: &str, message: &str) -> Result<String, String> {
        self.call("press", json!({"as": who, "message": message, "button": label}))
    }

    fn change_policy(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.policy_text = super::world::changed_policy(&self.policy_text, key, value)?;
        let policy = Policy::parse(&self.policy_text)?;
        let door = self.bot().door.clone();
        self.runtime.block_on(door.adopt(policy, format!("after {key}")));
        Ok(())
    }

    fn delete(&self, what: &str, incident: u32) -> Result<(), String> {
        let names = self.names();
        match what {
            "card" => {
                let title = format!("INC-{incident} ·");
                let is_card = |message: &Value| {
                    message["author"]["bot"] == true
                        && message["embeds"][0]["title"].as_str().is_some_and(|one| one.starts_with(&title))
                };
                let standing = self.standing(&names);
                let card =
                    standing.iter().rev().find(|(place, message)| !place.starts_with("INC-") && is_card(message));
                let (_, card) = card.ok_or("it has no card")?;
                self.call("delete", json!({"message": card["id"]}))?;
            }
            "thread" => {
                let thread = names.channel(&format!("INC-{incident}")).ok_or("it has no thread")?;
                self.call(&format!("channel/{}/delete", thread.id), json!({}))?;
            }
            _ => return Err(format!("what is “{what}”?")),
        }
        self.runtime.block_on(self.discord().still(PATIENCE)).map(drop)
    }

    /// Does the step. The interactions that it began, by whom.
    fn act(&mut self, step: &Step) -> Result<Vec<(String, String)>, String> {
        let one = |who: &str, id: String| vec![(who.to_owned(), id)];
        Ok(match step {
            Step::Command { who, .. } => one(who, self.run(step)?),
            Step::Click { who, label, on } => {
                let named = |part: &Value| part["type"] == 2 && part["label"] == label.as_str();
                let message = self.find(who, on.as_deref(), named);
                let message = message.ok_or_else(|| format!("no button “{label}” can be seen"))?;
                one(who, self.press(who, label, &message)?)
            }
            Step::Race { who, label } => {
                let named = |part: &Value| part["type"] == 2 && part["label"] == label.as_str();
                let message = self.find("", None, named).ok_or("no such button can be seen")?;
                self.race(who, label, &message)?
            }
            Step::Choose { who, label, menu } => {
                let named = |part: &Value| part["type"] == 3 && part["placeholder"] == menu.as_str();
                let message = self.find(who, None, named).ok_or_else(|| format!("no menu “{menu}” can be seen"))?;
                let body = json!({"as": who, "message": message, "menu": menu, "values": [label]});
                one(who, self.call("select", body)?)
            }
            Step::OnMessage { who, command, text } => {
                let names = self.names();
                let standing = self.standing(&names);
                let fits = |message: &&(String, Value)| names.lines(&message.1).join("\n").contains(text.as_str());
                let (_, message) = standing.iter().rev().find(fits).ok_or("no such message can be seen")?;
                let body = json!({"as": who, "command": command, "message": message["id"]});
                one(who, self.call("menu", body)?)
            }
            Step::Fill { who, values } => {
                let form = self.form.remove(who).ok_or("no form is open for them")?;
                let fields: Map<String, Value> =
                    values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                one(who, self.call("submit", json!({"as": who, "interaction": form, "fields": fields}))?)
            }
            Step::Write { who, text, place } => {
                let channel = self.channel_of(place.as_deref())?;
                self.call("post", json!({"as": who, "channel": channel, "text": text}))?;
                Vec::new()
            }
            Step::Advance(by) => {
                self.advance(*by)?;
                Vec::new()
            }
            Step::Crash(away) => {
                self.crash(*away)?;
                Vec::new()
            }
            Step::Service { name, behaviour } => {
                let (service, now, looked) = self.services.get_mut(name).ok_or("no such service")?;
                (*now, *looked) = (*behaviour, 0);
                self.runtime
                    .block_on(async {
                        service.silenced().await;
                        service.behave(*behaviour)
                    })
                    .map_err(|error| error.to_string())?;
                Vec::new()
            }
            Step::Certificate { name, days } => {
                self.certify(name, *days)?;
                Vec::new()
            }
            Step::Looked { name, looked } => {
                if *looked {
                    self.unseen.remove(name);
                } else {
                    self.unseen.insert(name.clone());
                }
                Vec::new()
            }
            Step::Ahead(by) => {
                self.jump(*by)?;
                Vec::new()
            }
            Step::Discord(up) => {
                self.discord_up = *up;
                if *up {
                    self.discord().clear_faults();
                    self.until("the bot does not come back", || self.at_the_gateway())?;
                    self.connected()?;
                } else {
                    let down = json!({"kind": "down", "mode": "close"});
                    self.runtime.block_on(self.discord().fault(down))?;
                    self.until("the gateway stays open", || !self.at_the_gateway())?;
                }
                Vec::new()
            }
            Step::Deleted { what, incident } => {
                self.delete(what, *incident)?;
                Vec::new()
            }
            Step::Archived { incident } => {
                let thread = self.channel_of(Some(&format!("INC-{incident}")))?;
                self.call(&format!("channel/{thread}"), json!({"archived": true}))?;
                Vec::new()
            }
            Step::Policy { key, value } => {
                self.change_policy(key, value)?;
                Vec::new()
            }
            Step::Fly(what) => {
                self.order_fly(what)?;
                Vec::new()
            }
            Step::Start(_)
            | Step::Observing
            | Step::WithFly
            | Step::WithStaging
            | Step::WithRules
            | Step::NoProbe(_)
            | Step::SlowAbove { .. }
            | Step::Look(_)
            | Step::Pipeline(_) => Vec::new(),
            Step::Hook { hook, fires, labels } => {
                self.told_by(hook, *fires, labels)?;
                Vec::new()
            }
        })
    }
}

/// Every release of every app.
fn releases_of(fly: &fly::Handle) -> Vec<Value> {
    let apps = fly.state()["apps"].as_array().cloned().unwrap_or_default();
    apps.iter().flat_map(|app| app["releases"].as_array().cloned().unwrap_or_default()).collect()
}

/// Whether a message is said by somebody: no notice of Discord's own, no answer to a command.
fn is_talk(message: &Value) -> bool {
    matches!(message["kind"].as_str(), Some("default" | "reply"))
}

fn id_of(message: &Value) -> u64 {
    message["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// Buttons and menus of a message.
fn parts(message: &Value) -> impl Iterator<Item = &Value> {
    let rows = message["components"].as_array().into_iter().flatten();
    rows.flat_map(|row| row["components"].as_array().into_iter().flatten())
}

impl World for Wire {
    fn play(&mut self, step: &Step) -> Result<Vec<String>, String> {
        match step {
            Step::Start(text) => {
                let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").map_err(|error| error.to_string())?;
                self.origin = first_instant(self.zone, at);
                return Ok(Vec::new());
            }
            Step::Observing => {
                self.observing = true;
                return Ok(Vec::new());
            }
            Step::WithStaging => {
                self.with_staging()?;
                return Ok(Vec::new());
            }
            Step::WithRules => {
                self.has_rules = true;
                self.policy_text = SHIPPED.to_owned();
                return Ok(Vec::new());
            }
            Step::NoProbe(name) => {
                self.without_probe(name)?;
                return Ok(Vec::new());
            }
            Step::Certificate { name, days } if self.bot.is_none() => {
                self.certify(name, *days)?;
                return Ok(Vec::new());
            }
            Step::SlowAbove { name, bound } => {
                self.late_above(name, *bound)?;
                return Ok(Vec::new());
            }
            Step::WithFly => {
                self.run_on_fly(ACTED_ON, "checkout", super::host::APP, None)?;
                // Until a script says otherwise nothing was measured, as on the pure floors.
                let fly = self.fly.as_ref().ok_or("the local Fly is gone")?;
                fly.act("figures", &self.figures.body())?;
                return Ok(Vec::new());
            }
            _ => {}
        }
        if self.bot.is_none() {
            self.start()?;
            if !self.observing {
                let live = json!({"as": "mia", "channel": "incidents", "command": "watchbell live"});
                let begun = self.call("run", live)?;
                self.runtime.block_on(self.discord().interaction(&begun, PATIENCE))?;
            }
            self.rest()?;
            self.newly_seen();
        }
        if let Step::Look(place) = step {
            self.rest()?;
            let names = self.names();
            let mut out = Vec::new();
            for (_, message) in self.standing(&names).iter().filter(|(one, _)| one == place_key(place)) {
                let author = message["author"]["name"].as_str().unwrap_or_default();
                let head = if message["author"]["bot"] == true { "<".to_owned() } else { format!("< {author}") };
                block(&mut out, &head, &names.lines(message));
            }
            return Ok(out);
        }
        if let Step::Pipeline(values) = step {
            let mut out = Vec::new();
            answered(&mut out, &self.asked_by_a_pipeline(values)?);
            self.rest()?;
            out.append(&mut self.newly_seen());
            return Ok(out);
        }
        let begun = self.act(step)?;
        for (_, interaction) in &begun {
            self.runtime.block_on(self.discord().interaction(interaction, PATIENCE))?;
        }
        // An answer that takes its time comes after Discord was told to wait.
        self.rest()?;
        let mut out = Vec::new();
        for (who, interaction) in begun {
            out.append(&mut self.answer(&who, &interaction)?);
        }
        out.append(&mut self.newly_seen());
        Ok(out)
    }
}
