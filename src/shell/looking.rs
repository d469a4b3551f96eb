//! The looking side, put together from configuration: the Fly client, the prober on the right clock, the pager.
//!
//! Wiring only. Here the prober gets Fly as its host, so that neither adapter knows of the other.

use std::sync::Arc;

use crate::adapters::clock::{SystemClock, Timepiece, VirtualClock, VirtualTime, sleep_until};
use crate::adapters::config::Config;
use crate::adapters::fly;
use crate::adapters::pager::HttpPager;
use crate::adapters::probe::{Boxed, Host, Pace, Prober, trusted};
use crate::domain::health::AppHealth;
use crate::ports::Clock;
use crate::shell::logs::tail::TailPace;
use crate::shell::logs::{LogReader, ReadsLogs};
use crate::shell::releases::Releases;

impl Host for fly::Client {
    fn app_health<'a>(&'a self, app: &'a str) -> Boxed<'a, AppHealth> {
        Box::pin(fly::Client::app_health(self, app))
    }

    fn auth(&self) -> Boxed<'_, Result<String, String>> {
        Box::pin(fly::Client::auth(self))
    }
}

/// Fly, when there is a token to look with. All who speak to Fly keep the same `paces`: its limits are the organisation's.
///
/// # Errors
/// A sentence, when the token or an address cannot be used.
pub fn fly(config: &Config, paces: &Arc<fly::Paces>) -> Result<Option<Arc<fly::Client>>, String> {
    let client = |token| fly::Client::paced(&config.fly.machines_url, &config.fly.api_url, token, paces);
    Ok(config.fly.token.as_ref().map(client).transpose()?.map(Arc::new))
}

/// Fly, to act on the apps that there are tokens for.
///
/// # Errors
/// A sentence, when the token to look with or an address cannot be used.
pub fn hosting(config: &Config, patience: fly::Patience, paces: &Arc<fly::Paces>) -> Result<fly::FlyHosting, String> {
    let at = &config.fly;
    fly::FlyHosting::paced(&at.machines_url, &at.api_url, at.token.as_ref(), &at.deploy_tokens, patience, paces)
}

/// Fly's logs, whether or not there is a token to look with.
///
/// # Errors
/// A sentence, when the token or an address cannot be used.
pub fn logs(config: &Config, patience: fly::Patience, clock: Arc<dyn Clock>) -> Result<Arc<dyn ReadsLogs>, String> {
    let logs = fly::FlyLogs::new(&config.fly.api_url, config.fly.token.as_ref(), patience.pace.min(fly::LOGS_PACE))?;
    let stream = match (&config.fly.logs_nats_url, &config.fly.token) {
        (Some(url), Some(token)) => Some(Arc::new(fly::FlyStream::new(url, &config.fly.org, token)?)),
        _ => None,
    };
    Ok(Arc::new(LogReader::new(Arc::new(logs), stream, TailPace::default(), clock)))
}

/// The clock that can be moved, when configuration asks for one. It goes on from what was `kept` of it, when there is any.
pub fn virtual_clock(config: &Config, kept: Option<VirtualTime>) -> Option<Arc<VirtualClock>> {
    let settings = config.virtual_clock?;
    let time = kept.unwrap_or_else(|| {
        let origin = settings.origin.unwrap_or_else(|| SystemClock::default().now());
        VirtualTime::starting(origin, settings.speed)
    });
    Some(Arc::new(VirtualClock::new(time)))
}

/// The clock that configuration asks for.
pub fn clock(config: &Config, kept: Option<VirtualTime>) -> Arc<dyn Timepiece> {
    match virtual_clock(config, kept) {
        Some(clock) => clock,
        None => Arc::new(SystemClock::default()),
    }
}

/// The prober, with Fly as its host where a token is set, in step with `clock`.
///
/// # Errors
/// As `fly`, and when what is to be trusted is no certificate.
pub fn prober(config: &Config, clock: Arc<dyn Timepiece>, paces: &Arc<fly::Paces>) -> Result<Prober, String> {
    let host = fly(config, paces)?.map(|client| client as Arc<dyn Host>);
    let pace = pace(clock, config.virtual_clock.is_none());
    let trusted = trusted(config.authorities.as_ref())?;
    Prober::new(&config.workspace, host, config.secrets.clone(), &trusted, pace)
}

/// Following the releases of every app, where a token is set.
///
/// # Errors
/// As `fly`.
pub fn releases(
    config: &Config,
    clock: Arc<dyn Timepiece>,
    paces: &Arc<fly::Paces>,
) -> Result<Option<Releases>, String> {
    let every = config.fly.releases_every.delta();
    Ok(fly(config, paces)?.map(|client| Releases::new(client, &config.workspace, clock, every)))
}

/// The pager, with the secrets that configuration names.
///
/// # Errors
/// A sentence, when no HTTP client can be made.
pub fn pager(config: &Config) -> Result<HttpPager, String> {
    HttpPager::new(config.secrets.clone())
}

fn pace(clock: Arc<dyn Timepiece>, spread: bool) -> Pace {
    let sleeper = Arc::clone(&clock);
    Pace {
        clock: clock as Arc<dyn Clock>,
        sleep_until: Arc::new(move |until| {
            let clock = Arc::clone(&sleeper);
            Box::pin(async move { sleep_until(&*clock, until).await })
        }),
        spread,
    }
}
