//! Fly and the services: whether the token is taken and lasts, the apps can be seen, and the probes answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Check, Findings};
use crate::adapters::config::{Config, fly_readonly_command};
use crate::adapters::fly::{Client, PACE, Paces};
use crate::adapters::probe::trusted;
use crate::domain::health::{Mark, Reason};
use crate::domain::metrics::FLY_SOURCE;
use crate::ports::{Clock, Watch};
use crate::shell::looking;
use crate::shell::metrics::Sources;

/// A token that ends sooner than this is a warning, in days.
const EXPIRY_WARNING_DAYS: i64 = 30;

pub(super) async fn examine(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    let mut found = Findings::about("Fly");
    let apps: BTreeSet<&str> = config
        .workspace
        .services
        .iter()
        .flat_map(|service| service.stages().filter_map(|(_, spec)| spec.fly_app.as_deref()))
        .collect();
    match looking::fly(config, &Paces::new(PACE)) {
        Err(why) => found.bad(format!("{why}; make a new one: {}", fly_readonly_command(&config.fly.org))),
        Ok(None) if apps.is_empty() => {
            found.add(Mark::Unknown, "no FLY_READ_TOKEN and no fly_app: machines are not looked at")
        }
        Ok(None) => found.bad(format!(
            "FLY_READ_TOKEN is not set, so machines are not seen and nothing is probed “when_awake”: {}",
            fly_readonly_command(&config.fly.org)
        )),
        Ok(Some(client)) => {
            if token(&mut found, &client, config, now).await {
                visible(&mut found, &client, config, &apps).await;
            }
        }
    }
    let mut checks = found.checks;
    checks.extend(figures(config, now).await);
    checks.extend(probes(config).await);
    checks
}

/// Whether each source of figures lets itself be asked; and targets that name one which is not there.
async fn figures(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    let mut found = Findings::about("Figures");
    let clock: Arc<dyn Clock> = Arc::new(looking::clock(config, None));
    let sources = Sources::of(config, &clock);
    for name in sources.names() {
        // Without a token nothing is measured at Fly, which is said above.
        let is_said = name == FLY_SOURCE && config.fly.token.is_none();
        let answer = match sources.get(name) {
            Ok(source) => source.instant("vector(1)", now).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => found.ok(format!("{name} answers")),
            Err(_) if is_said => {}
            Err(error) => found.warn(format!("{name}: {error}")),
        }
    }
    for target in &config.policy.targets {
        if target.query.is_some() && !sources.names().any(|name| *name == target.source) {
            found.bad(format!("target “{}” asks “{}”, which is no [[metrics]]", target.name, target.source));
        }
    }
    found.checks
}

/// Whether Fly takes the token.
async fn token(found: &mut Findings, client: &Client, config: &Config, now: DateTime<Utc>) -> bool {
    let tokens = match client.tokens().await {
        Ok(tokens) => tokens,
        Err(error) if error.status == Some(401) => {
            found.bad(format!("the token is not taken: {}", fly_readonly_command(&config.fly.org)));
            return false;
        }
        Err(error) => {
            found.bad(format!("the token could not be checked: {error}"));
            return false;
        }
    };
    let orgs: Vec<&str> = tokens.iter().map(|token| token.org.as_str()).filter(|org| !org.is_empty()).collect();
    if orgs.is_empty() || orgs.contains(&config.fly.org.as_str()) {
        found.ok(format!(
            "the token is taken ({})",
            if orgs.is_empty() { "organisation not said" } else { &config.fly.org }
        ));
    } else {
        found.warn(format!(
            "the token is for {}, and [fly] org says {}: make them the same",
            orgs.join(", "),
            config.fly.org
        ));
    }
    match tokens.iter().filter_map(|token| token.expires).min() {
        Some(end) if end <= now => found.bad(format!(
            "the token ended on {}: {}",
            end.format("%Y-%m-%d"),
            fly_readonly_command(&config.fly.org)
        )),
        Some(end) if end - now < TimeDelta::days(EXPIRY_WARNING_DAYS) => {
            found.warn(format!(
                "the token ends on {}: {}",
                end.format("%Y-%m-%d"),
                fly_readonly_command(&config.fly.org)
            ));
        }
        Some(end) => found.ok(format!("the token lasts until {}", end.format("%Y-%m-%d"))),
        None => {
            found.add(Mark::Unknown, "Fly does not say when the token ends: note the date that you gave to --expiry")
        }
    }
    true
}

async fn visible(found: &mut Findings, client: &Client, config: &Config, apps: &BTreeSet<&str>) {
    let known = match client.apps(&config.fly.org).await {
        Ok(known) => known,
        Err(error) => return found.bad(format!("the apps of {} cannot be listed: {error}", config.fly.org)),
    };
    for app in apps {
        match known.iter().find(|one| one.name == **app) {
            Some(one) => found.ok(match one.machines {
                Some(machines) => format!("{app} is seen, with {machines} machines"),
                None => format!("{app} is seen"),
            }),
            None => {
                found.bad(format!("{app} is not among the apps of {}: correct fly_app, or [fly] org", config.fly.org))
            }
        }
    }
}

async fn probes(config: &Config) -> Vec<Check> {
    let mut found = Findings::about("Probes");
    let clock = looking::clock(config, None);
    if let Some(own) = &config.authorities {
        match trusted(Some(own)) {
            Ok(all) => {
                found.ok(format!("{} believed, of {}, beside the public authorities'", all.len(), own.file.display()))
            }
            Err(why) => found.bad(format!("[probes] ca_file: {why}")),
        }
    }
    let report = match looking::prober(config, clock, &Paces::new(PACE)) {
        Ok(prober) => prober.look(None).await.held_against(&config.policy),
        // Said above, with the remedy.
        Err(_) => return found.checks,
    };
    for stage in &report.stages {
        let name = format!("{} {}", stage.service, stage.stage.name());
        if stage.probes.is_empty() {
            found.warn(format!(
                "{name} has none: nobody notices when it stops answering; add [[services.{}.probes]]",
                stage.stage.name()
            ));
        }
        let asleep = stage.app.as_ref().is_some_and(crate::domain::health::AppHealth::is_asleep);
        for probe in &stage.probes {
            let verdict = probe.verdict();
            let ends = probe.ends_in.map_or(String::new(), |left| format!("; {}", Reason::Ends(left)));
            let line = format!("{name} {}: {}{ends}", probe.probe, probe.says);
            match verdict.mark {
                Mark::Unknown if asleep => found.ok(format!("{name} {}: asleep, as it may be", probe.probe)),
                Mark::Critical if !probe.ok => found.bad(format!("{line}; look at the address, or what it expects")),
                mark => found.add(mark, line),
            }
        }
    }
    found.checks
}
