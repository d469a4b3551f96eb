//! Questions to Fly: who am I, which apps, how are their machines, what was released.
//!
//! Reading only: every call is a GET, so every call may be sent again. Bounded in time, in body and in pace (`wire.rs`); lists are
//! asked for and not machines one by one. An error is a sentence with the status and Fly's own request id, and never the token.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::Value;

use super::model::{App, Event, Machine, Release, TokenInfo};
use super::wire::{Ask, FlyError, PACE, Paces, Side, Wire};
use crate::domain::health::AppHealth;
use crate::domain::hosting;

/// Reads from Fly with one token.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// A client for these addresses: the Machines API without `/v1`, and the base of releases.
    ///
    /// # Errors
    /// A sentence, when an address or the token cannot be used.
    pub fn new(machines_url: &str, api_url: &str, token: &SecretString) -> Result<Self, String> {
        Self::paced(machines_url, api_url, token, &Paces::new(PACE))
    }

    /// The same, in step with others who speak to Fly.
    ///
    /// # Errors
    /// As `new`.
    pub fn paced(machines_url: &str, api_url: &str, token: &SecretString, paces: &Arc<Paces>) -> Result<Self, String> {
        let remedy = "fly tokens create readonly".to_owned();
        Ok(Self { wire: Wire::new(machines_url, api_url, token, remedy, Arc::clone(paces))? })
    }

    /// What Fly says of our token.
    ///
    /// # Errors
    /// Status 401 when Fly does not take it.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, FlyError> {
        let answer = self.wire.question(Ask::get("check token", "", Side::Machines, &["tokens", "current"])).await?;
        Ok(answer
            .get("tokens")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(TokenInfo::read)
            .collect())
    }

    /// The organisation's apps.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn apps(&self, org: &str) -> Result<Vec<App>, FlyError> {
        let answer =
            self.wire.question(Ask::get("list apps", org, Side::Machines, &["apps"]).query("org_slug", org)).await?;
        read_list(answer.get("apps").unwrap_or(&answer), "apps", App::read)
    }

    /// The machines of an app that are there.
    ///
    /// # Errors
    /// As Fly says; status 404 when the token does not see such an app.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, FlyError> {
        let answer =
            self.wire.question(Ask::get("list machines", app, Side::Machines, &["apps", app, "machines"])).await?;
        let mut machines = read_list(&answer, "machines", Machine::read)?;
        machines.retain(Machine::is_there);
        Ok(machines)
    }

    /// One machine.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, FlyError> {
        let answer =
            self.wire.question(Ask::get("get machine", id, Side::Machines, &["apps", app, "machines", id])).await?;
        Machine::read(&answer).ok_or_else(|| FlyError::local("Fly answered with something that is no machine"))
    }

    /// The newest events of a machine, newest first; at most 50.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn events(&self, app: &str, id: &str, limit: u8) -> Result<Vec<Event>, FlyError> {
        let path = ["apps", app, "machines", id, "events"];
        let ask = Ask::get("list events", id, Side::Machines, &path).query("limit", limit.min(50));
        let answer = self.wire.question(ask).await?;
        read_list(answer.get("events").unwrap_or(&answer), "events", |value| Some(Event::read(value)))
    }

    /// The newest releases of an app, newest first. The API behind it is undocumented; the machines do not depend on it.
    ///
    /// # Errors
    /// As Fly says.
    pub async fn releases(&self, app: &str, limit: u16) -> Result<Vec<Release>, FlyError> {
        let ask = Ask::get("list releases", app, Side::Rest, &["apps", app, "releases"]).query("limit", limit);
        let answer = self.wire.question(ask).await?;
        read_list(answer.get("releases").unwrap_or(&answer), "releases", Release::read)
    }

    /// The newest releases of an app, newest first, each with how long ago it was made by the wall clock. REST and GraphQL are
    /// each asked when the other does not answer.
    ///
    /// # Errors
    /// What both said, as one sentence.
    #[expect(clippy::disallowed_methods, reason = "Fly stamps its releases with wire time")]
    pub async fn releases_with_age(&self, app: &str) -> Result<Vec<(hosting::Release, Option<TimeDelta>)>, String> {
        let releases = super::release::list(&self.wire, app).await?;
        let now = Utc::now();
        let with_age = |release: hosting::Release| {
            let age = release.at.map(|at| now - at);
            (release, age)
        };
        Ok(releases.into_iter().map(with_age).collect())
    }

    /// An app as the domain judges it.
    pub async fn app_health(&self, app: &str) -> AppHealth {
        let machines = self.machines(app).await;
        AppHealth {
            app: app.to_owned(),
            machines: machines
                .map(|machines| machines.iter().map(Machine::health).collect())
                .map_err(|error| error.to_string()),
        }
    }

    /// Whether Fly takes the token: the organisation, or a sentence with the remedy.
    ///
    /// # Errors
    /// The sentence.
    pub async fn auth(&self) -> Result<String, String> {
        match self.tokens().await {
            Ok(tokens) => {
                let mut orgs: Vec<String> =
                    tokens.into_iter().map(|token| token.org).filter(|org| !org.is_empty()).collect();
                orgs.dedup();
                Ok(if orgs.is_empty() { "organisation not said".to_owned() } else { orgs.join(", ") })
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Reads a list in which each must be one; `what` they are, for what is said of it.
///
/// # Errors
/// A sentence, when it is no list, or one of it is none.
pub fn read_list<T>(answer: &Value, what: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, FlyError> {
    match answer {
        // Go writes an empty list as null.
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values
            .iter()
            .map(|value| {
                read(value).ok_or_else(|| FlyError::local(format!("Fly's list of {what} holds something that is none")))
            })
            .collect(),
        _ => Err(FlyError::local(format!("Fly answered with something that is no list of {what}"))),
    }
}
