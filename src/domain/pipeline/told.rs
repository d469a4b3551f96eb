//! How a deploy stands, as a pipeline is told: one line, what refuses, what to do next, and what came of it.
//!
//! Pure. Plain words and times in the team's zone: whoever reads it reads the log of a run, not a chat.

use serde::{Deserialize, Serialize};

use crate::domain::deploy::gates::{self, Check};
use crate::domain::deploy::{Deploy, Phase, Verdict, board};
use crate::domain::draft::Ctx;
use crate::domain::text::{deploys, pipeline as says};

/// How far it is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// Nothing is done before a yes.
    Waiting,
    /// It is under way, or what came of it is being found out.
    Running,
    /// It did well.
    Succeeded,
    /// It did not.
    Failed,
    /// Somebody said no, or planned something else.
    Refused,
    /// Nobody said yes in time.
    RanOut,
}

/// A check that refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuses {
    /// Which.
    pub check: String,
    /// Why.
    pub says: String,
    /// How it can be passed.
    pub to_pass: String,
}

/// How a deploy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its number, as it is said: `DEP-3`.
    pub deploy: String,
    /// Its number.
    pub number: u32,
    /// What it is: "DEP-3 Deploy deployment-43 to shop".
    pub what: String,
    /// How far it is, in a word.
    pub stands: Stands,
    /// How far it is, in a line.
    pub line: String,
    /// The checks that refuse, while it waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<Refuses>,
    /// Whether it can start at all: nothing is done while observing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observing: bool,
    /// What to do next, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

impl Told {
    /// As of now.
    pub fn of(ctx: &Ctx<'_>, deploy: &Deploy) -> Self {
        let stands = stands(deploy);
        let checks = if stands == Stands::Waiting { gates::by_now(ctx, deploy) } else { Vec::new() };
        let refusing: Vec<&Check> = gates::refusing(&checks, &deploy.waivers).collect();
        let refuses = refusing.iter().map(|check| Refuses {
            check: check.gate.name().to_owned(),
            says: check.says.clone(),
            to_pass: says::way_past(check.gate, ctx.policy.deploys.may_override(check.gate)),
        });
        let observing = stands == Stands::Waiting && !ctx.state.team.live;
        Self {
            deploy: deploy.id.to_string(),
            number: deploy.id.0,
            what: deploys::headline(deploy),
            stands,
            line: line(ctx, deploy, stands),
            refuses: refuses.collect(),
            observing,
            next: (stands == Stands::Waiting).then(|| says::next(ctx, deploy, !refusing.is_empty())),
            verdict: deploy.verdict,
        }
    }
}

fn stands(deploy: &Deploy) -> Stands {
    match (&deploy.verdict, &deploy.phase) {
        (Some(Verdict::Cancelled), _) if deploy.called_off_by.is_some() => Stands::Refused,
        (Some(Verdict::Cancelled), _) => Stands::RanOut,
        (Some(verdict), _) if verdict.is_good() => Stands::Succeeded,
        (Some(_), _) => Stands::Failed,
        (None, Phase::Planned { .. } | Phase::Scheduled { .. }) => Stands::Waiting,
        (None, _) => Stands::Running,
    }
}

fn line(ctx: &Ctx<'_>, deploy: &Deploy, stands: Stands) -> String {
    match (stands, deploy.verdict) {
        (Stands::Waiting | Stands::Running, _) | (_, None) => {
            let stage =
                (deploy.passed.len() + deploy.then.len() > 0).then(|| format!("{}: ", deploy.plan.stage.name()));
            format!("{}{}", stage.unwrap_or_default(), says::plain(ctx, &board::status(deploy)))
        }
        (_, Some(verdict)) => says::over(deploy, verdict),
    }
}
