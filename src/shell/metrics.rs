//! The sources of figures that configuration names, put together: Fly's own, and every `[[metrics]]`.
//!
//! Wiring, and one thing more: where promise time is not the wall clock's, questions and answers are moved between the two. Decides
//! nothing, remembers nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::info;

use crate::adapters::clock::SystemClock;
use crate::adapters::config::{Config, FLY_READ_TOKEN, fly_readonly_command};
use crate::adapters::fly::Token;
use crate::adapters::prometheus::Prometheus;
use crate::domain::figures::{ASKS_MAX, Ask};
use crate::domain::metrics::{FLY_SOURCE, Labels, Series};
use crate::ports::Clock;
use crate::ports::metrics::{Asked, Metrics, MetricsError};

/// Questions that are under way at once.
const AT_ONCE: usize = 6;
/// Two clocks that differ by less show the same.
const SAME_WITHIN: TimeDelta = TimeDelta::seconds(1);

/// Every source by its name; a source that cannot be asked says why.
#[derive(Clone, Default)]
pub struct Sources(BTreeMap<String, Result<Arc<dyn Metrics>, String>>);

impl Sources {
    /// Those of a configuration, on promise time. Nothing is asked yet, and a source that cannot be used spoils no other.
    pub fn of(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        let in_step =
            |source: Prometheus| -> Arc<dyn Metrics> { Arc::new(InStep { source, clock: Arc::clone(clock) }) };
        let mut sources = BTreeMap::from([(FLY_SOURCE.to_owned(), fly(config).map(in_step))]);
        for source in &config.workspace.metrics {
            let token = source.token_env.as_ref().map(|variable| {
                let token = config.secrets.get(variable).ok_or_else(|| format!("{variable} is not set"))?;
                Ok::<_, String>(SecretString::from(format!("Bearer {}", token.expose_secret())))
            });
            let made = token.transpose().and_then(|token| {
                let remedy = source
                    .token_env
                    .as_ref()
                    .map_or(format!("Give [[metrics]] {} a token_env.", source.name), |variable| {
                        format!("Put a new one into {variable}.")
                    });
                Prometheus::new(&source.name, &source.url, token.as_ref(), remedy)
            });
            sources.insert(source.name.clone(), made.map(in_step));
        }
        Self(sources)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The source of a name.
    ///
    /// # Errors
    /// Why it cannot be asked: it is not there, or its token is missing.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Metrics>, MetricsError> {
        match self.0.get(name) {
            Some(Ok(source)) => Ok(Arc::clone(source)),
            Some(Err(why)) => Err(MetricsError::NotAllowed(why.clone())),
            None => Err(MetricsError::BadQuestion(format!("there is no [[metrics]] called “{name}”"))),
        }
    }

    /// Asks all of these, so many at once, for no longer than that. What was not answered by then is not in the answer.
    pub async fn figures(&self, asks: Vec<Ask>, within: Duration) -> BTreeMap<String, Result<Vec<Series>, String>> {
        let mut told = BTreeMap::new();
        let asked = asks.into_iter().take(ASKS_MAX).map(|ask| async move {
            let step = TimeDelta::seconds(ask.step_s);
            let answer = match self.get(&ask.source) {
                Ok(source) => source.range(&ask.promql, ask.from, ask.to, step).await,
                Err(error) => Err(error),
            };
            (ask.key, answer.map_err(|error| error.to_string()))
        });
        let mut asked = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
        let all = async {
            while let Some((key, answer)) = asked.next().await {
                told.insert(key, answer);
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            info!("Not every figure was told in time");
        }
        told
    }
}

/// Fly's metrics of the organisation.
fn fly(config: &Config) -> Result<Prometheus, String> {
    let command = fly_readonly_command(&config.fly.org);
    let Some(token) = &config.fly.token else {
        return Err(format!("{FLY_READ_TOKEN} is not set: make one with {command}"));
    };
    let header = SecretString::from(Token::normalise(token)?.header());
    let base = format!("{}/{}", config.fly.prometheus_url, config.fly.org);
    Prometheus::new("Fly's Prometheus", &base, Some(&header), format!("Make a new one: {command}"))
}

/// A source on wall time, asked on promise time: as long ago here is as long ago there. They differ where a demo has moved its clock, and
/// where the wall clock was set back.
struct InStep {
    source: Prometheus,
    clock: Arc<dyn Clock>,
}

impl InStep {
    fn shift(&self) -> TimeDelta {
        shift(&*self.clock)
    }
}

/// What has to be added to promise time to have the wall's.
fn shift(clock: &dyn Clock) -> TimeDelta {
    // A clock of its own each time: one that is kept does not go back with the wall's either.
    let shift = SystemClock::default().now() - clock.now();
    if shift.abs() < SAME_WITHIN { TimeDelta::zero() } else { shift }
}

impl Metrics for InStep {
    fn instant<'a>(&'a self, promql: &'a str, at: DateTime<Utc>) -> Asked<'a, Vec<(Labels, f64)>> {
        self.source.instant(promql, at + self.shift())
    }

    fn range<'a>(
        &'a self,
        promql: &'a str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Asked<'a, Vec<Series>> {
        let shift = self.shift();
        Box::pin(async move {
            let mut told = self.source.range(promql, from + shift, to + shift, step).await?;
            for (at, _) in told.iter_mut().flat_map(|series| &mut series.points) {
                *at -= shift;
            }
            Ok(told)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::adapters::clock::Timepiece as _;

    const SMALL: &str = "[team]\nname = \"t\"\nzone = \"UTC\"\n[channels]\nincidents = \"i\"\ntest = \"t\"\n\
                         [discord]\nguild = \"1\"\n[fly]\norg = \"acme\"\n\
                         [[metrics]]\nname = \"own\"\nurl = \"https://p.example\"\ntoken_env = \"PROM\"\n";

    fn why(sources: &Sources, name: &str) -> Option<String> {
        sources.get(name).err().map(|error| error.to_string())
    }

    #[test]
    fn after_the_wall_clock_was_set_back_a_source_is_asked_by_what_it_shows() {
        let clock = SystemClock::default();
        assert_eq!(shift(&clock), TimeDelta::zero());
        clock.not_before(clock.now() + TimeDelta::hours(2));
        assert!(shift(&clock) < TimeDelta::minutes(-110), "{}", shift(&clock));
    }

    #[test]
    fn a_source_without_its_token_says_so_and_spoils_no_other() {
        let sources = |set: &[(&str, &str)]| {
            let env = |name: &str| set.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
            let config =
                Config::from_text(Path::new("w.toml"), SMALL, env).unwrap_or_else(|refused| panic!("{refused}"));
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
            Sources::of(&config, &clock)
        };
        let none = sources(&[]);
        assert_eq!(
            why(&none, "fly").as_deref(),
            Some(
                "FLY_READ_TOKEN is not set: make one with fly tokens create readonly acme --name watchbell-read --expiry 8760h"
            )
        );
        assert_eq!(why(&none, "own").as_deref(), Some("PROM is not set"));
        assert_eq!(why(&none, "elsewhere").as_deref(), Some("there is no [[metrics]] called “elsewhere”"));
        let fly = sources(&[("FLY_READ_TOKEN", "fm2_canary")]);
        assert_eq!((why(&fly, "fly"), why(&fly, "own").is_some()), (None, true));
        let own = sources(&[("PROM", "canary"), ("FLY_READ_TOKEN", "two words are none")]);
        assert_eq!((why(&own, "own"), why(&own, "fly").is_some()), (None, true));
    }

    #[tokio::test]
    async fn what_is_asked_of_a_source_that_is_not_there_is_a_sentence_in_the_answer() {
        let at = DateTime::UNIX_EPOCH;
        let ask = |n: usize| Ask {
            key: n.to_string(),
            source: "gone".to_owned(),
            promql: "up".to_owned(),
            from: at,
            to: at,
            step_s: 60,
        };
        let told = Sources::default().figures((0..200).map(ask).collect(), Duration::from_secs(5)).await;
        assert_eq!(told.len(), ASKS_MAX, "so many and no more");
        assert!(told.values().all(|one| *one == Err("there is no [[metrics]] called “gone”".to_owned())));
    }
}
