//! Everything the bot does to the world and puts on record: posts and pages.
//!
//! What is *shown* and only has to be the newest (a card's text, a thread's title) is no effect of this kind: it is rendered
//! from State when it is sent (`view.rs`). Targets stay symbolic until they are sent.

use serde::{Deserialize, Serialize};

use super::hosting::Step;
use super::ids::{AlertId, DeployId, EffectId, IncidentId, Person, Place, Service, Thing};
use super::message::{Message, Ping};

/// One thing to do, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Its id, unique in a log.
    pub id: EffectId,
    /// What it belongs to.
    pub on: Thing,
    /// Who comes first when not everything can go at once.
    pub urgency: Urgency,
    /// What to do.
    #[serde(flatten)]
    pub kind: EffectKind,
}

impl Effect {
    /// The effect as a record has it: what a message carries that goes on none is left out.
    #[must_use]
    pub fn recorded(&self) -> Self {
        let mut effect = self.clone();
        if let EffectKind::Post { message, .. } = &mut effect.kind {
            message.pictures.clear();
            message.passing.clear();
        }
        effect
    }

    /// Whether it wakes somebody and need not any more once somebody is there. A card does not count: it is the incident's face
    /// and must come all the same.
    pub fn rings(&self) -> bool {
        match &self.kind {
            EffectKind::Page { .. } => true,
            EffectKind::Post { message, .. } => !message.pings.is_empty(),
            _ => false,
        }
    }
}

/// Who comes first when not everything can go at once. Ordered: the most urgent is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Somebody must wake.
    Page,
    /// Somebody must look.
    Ping,
    /// People follow it.
    Talk,
    /// It can wait.
    Digest,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum EffectKind {
    /// Put up an incident's card, rendered when it is sent.
    Card {
        /// Which incident.
        incident: IncidentId,
        /// Which channel it goes up in. Fixed when it was decided, so that it is looked for where it went.
        to: Target,
        /// Whom its first appearance pings, if nobody is there by then.
        pings: Vec<Ping>,
    },
    /// Start the thread under an incident's card.
    Thread {
        /// Which incident.
        incident: IncidentId,
    },
    /// Look at services now.
    Look {
        /// Which incident.
        incident: IncidentId,
        /// Which services; all when empty.
        services: Vec<Service>,
        /// What for.
        #[serde(default, rename = "for", skip_serializing_if = "LookFor::is_the_opening")]
        wanted: LookFor,
    },
    /// Post a message.
    Post {
        /// Where.
        to: Target,
        /// What; fixed when it was decided.
        message: Message,
        /// An earlier post that this one takes the place of: deleted after this one stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<EffectId>,
    },
    /// Wake a person by one of their ways.
    Page {
        /// Whom.
        person: Person,
        /// Which of their ways, counted from 0.
        way: u8,
        /// Its name, for the record.
        via: String,
        /// The incident it is about; none for a test.
        incident: Option<IncidentId>,
        /// What to say, at most 100 characters of it on a lock screen.
        text: String,
    },
    /// Put up a deploy's card, rendered when it is sent.
    Board {
        /// Which deploy.
        deploy: DeployId,
        /// Where. Fixed when it was decided, so that it is looked for where it went.
        to: Target,
    },
    /// Put up the card of a group of alerts, rendered when it is sent.
    AlertCard {
        /// Which group.
        alert: AlertId,
        /// Where. Fixed when it was decided, so that it is looked for where it went.
        to: Target,
        /// Whom its first appearance pings, if nobody is there by then.
        pings: Vec<Ping>,
    },
    /// One step at the host.
    Act {
        /// For which deploy.
        deploy: DeployId,
        /// The app.
        app: String,
        /// What.
        step: Step,
        /// Who asked, by name, for the host's record.
        by: String,
        /// The longest it may take, in seconds.
        within_s: u32,
    },
    /// Look at a service from outside and at its machines: what came of a deploy.
    Survey {
        /// Which deploy.
        deploy: DeployId,
        /// The app.
        app: String,
        /// The service.
        service: Service,
    },
    /// Post an app's log lines into a thread as they come, for a while. The lines go on no record, and a restart ends it.
    Follow {
        /// Where it was asked for; the test channel when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Place>,
        /// Which lines, from which moment on: an action of `verbs/logs.rs`.
        about: String,
        /// Who asked, by name.
        by: String,
    },
}

/// What a look is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookFor {
    /// The incident was opened: what is seen goes into its thread.
    #[default]
    Opened,
    /// Its verification is to pass.
    Verified,
}

impl LookFor {
    fn is_the_opening(&self) -> bool {
        *self == Self::Opened
    }
}

/// Where a post goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The incidents channel.
    Incidents,
    /// The wider audience's channel.
    Announce,
    /// The test channel.
    Test,
    /// An incident's thread.
    Thread(IncidentId),
    /// A person, in private.
    Direct(Person),
}
