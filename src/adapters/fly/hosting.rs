//! Acting on Fly: the door that the rest of the house knows, with a token for each app that may be acted on.
//!
//! Owns who may do what: an app without a token of its own is looked at and never changed. The steps themselves are `steps.rs`,
//! `release.rs`, `release_command.rs` and `trial.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::hand::{Hand, Patience, failed};
use super::steps::{Deed, work};
use super::wire::{Paces, Wire};
use super::write::{Edit, Sleep};
use super::{inventory, release, release_command, trial};
use crate::domain::hosting::{Inventory, Lived, Step, StepEnd, Trouble};
use crate::ports::hosting::{CallOff, Hosting, StepCall};

/// Fly, as the host that services run at.
#[derive(Debug)]
pub struct FlyHosting {
    /// Looks at every app.
    reader: Option<Wire>,
    /// One an app; a sentence where its token cannot be used.
    hands: BTreeMap<String, Result<Arc<Hand>, String>>,
}

impl FlyHosting {
    /// At these addresses (the Machines API without `/v1`, and the base of releases and GraphQL), with a token to look with, when
    /// there is one, and one to act with for each app. A token that cannot be used leaves its app without one.
    ///
    /// # Errors
    /// A sentence, when the token to look with or an address cannot be used.
    pub fn new(
        machines_url: &str,
        api_url: &str,
        read: Option<&SecretString>,
        tokens: &BTreeMap<String, SecretString>,
        patience: Patience,
    ) -> Result<Self, String> {
        Self::paced(machines_url, api_url, read, tokens, patience, &Paces::new(patience.pace))
    }

    /// The same, in step with others who speak to Fly.
    ///
    /// # Errors
    /// As `new`.
    pub fn paced(
        machines_url: &str,
        api_url: &str,
        read: Option<&SecretString>,
        tokens: &BTreeMap<String, SecretString>,
        patience: Patience,
        paces: &Arc<Paces>,
    ) -> Result<Self, String> {
        let wire = |token: &SecretString, remedy| Wire::new(machines_url, api_url, token, remedy, Arc::clone(paces));
        let reader = read.map(|token| wire(token, "fly tokens create readonly".to_owned())).transpose()?;
        let hand = |(app, token): (&String, &SecretString)| {
            let hand = wire(token, remedy(app)).map(|wire| Arc::new(Hand::new(app.clone(), wire, patience)));
            (app.clone(), hand)
        };
        Ok(Self { reader, hands: tokens.iter().map(hand).collect() })
    }

    /// Every token that is known: none of them is repeated in words.
    fn secrets(&self) -> Vec<&str> {
        let hands = self.hands.values().filter_map(|hand| hand.as_ref().ok());
        self.reader.iter().chain(hands.map(|hand| &hand.wire)).map(Wire::secret).collect()
    }

    fn hand(&self, app: &str) -> Result<&Arc<Hand>, StepEnd> {
        let why = match self.hands.get(app) {
            Some(Ok(hand)) => return Ok(hand),
            Some(Err(why)) => why.clone(),
            None => format!("there is no token to act on {app}"),
        };
        Err(failed(Trouble::NoRights, format!("{why}. Make one: {}", remedy(app)), None))
    }
}

/// The command that makes a token to act on an app with.
fn remedy(app: &str) -> String {
    format!("fly tokens create deploy --app {app}")
}

impl Hosting for FlyHosting {
    async fn inventory(&self, app: &str) -> Result<Inventory, String> {
        let own = self.hands.get(app).and_then(|hand| hand.as_ref().ok());
        let wires: Vec<&Wire> = self.reader.iter().chain(own.map(|hand| &hand.wire)).collect();
        inventory::take(&wires, own.map(Arc::as_ref), app).await
    }

    async fn life(&self, app: &str, now: DateTime<Utc>) -> Result<Vec<Lived>, String> {
        let own = self.hands.get(app).and_then(|hand| hand.as_ref().ok());
        let wires: Vec<&Wire> = self.reader.iter().chain(own.map(|hand| &hand.wire)).collect();
        inventory::life(&wires, app, now).await
    }

    async fn step(&self, call: &StepCall, off: &CallOff) -> StepEnd {
        let hand = match self.hand(&call.app) {
            Ok(hand) => hand,
            Err(end) => return end,
        };
        match &call.step {
            Step::OpenRelease { image, strategy } => release::open(hand, call, off, image, *strategy).await,
            Step::CloseRelease { release, ended } => release::close(hand, call, release, *ended).await,
            Step::Update { machine, to, release, launch, wait } => {
                let edit = Edit::Image(to, release.as_ref());
                work(hand, call, off, machine, Deed::Change { edit, launch: *launch, wait: *wait }).await
            }
            Step::Resize { machine, guest } => match guest.refuse() {
                Some(why) => failed(Trouble::Refused, why, None),
                None => {
                    let edit = Edit::Guest(guest);
                    // Whoever sleeps sleeps on.
                    work(hand, call, off, machine, Deed::Change { edit, launch: false, wait: true }).await
                }
            },
            Step::Restart { machine } => work(hand, call, off, machine, Deed::Restart).await,
            Step::Start { machine } => work(hand, call, off, machine, Deed::Start).await,
            Step::Stop { machine } => work(hand, call, off, machine, Deed::Stop).await,
            Step::Zero { machine } => work(hand, call, off, machine, Deed::Down(Edit::Sleep(Sleep::NEVER_WOKEN))).await,
            Step::SetAutostop { machine, autostop, autostart, min_running } => {
                let sleep = Sleep { autostop: *autostop, autostart: *autostart, min_running: *min_running };
                let edit = Edit::Sleep(sleep);
                work(hand, call, off, machine, Deed::Change { edit, launch: false, wait: true }).await
            }
            Step::RunReleaseCommand { to, command, release } => {
                let what = (to, command.as_str(), release.as_ref());
                release_command::run(hand, (self.reader.as_ref(), &self.secrets()), call, off, what).await
            }
            Step::Trial { like, to, release } => trial::run(hand, call, off, like, to, release.as_ref()).await,
        }
    }

    fn may_act(&self, app: &str) -> bool {
        self.hands.get(app).is_some_and(Result::is_ok)
    }
}
