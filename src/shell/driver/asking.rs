//! What a decision must know of the outside before it is made: asked in a task, never by the loop itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Driver;
use crate::adapters::clock::Timepiece;
use crate::commands;
use crate::domain::health::HealthReport;
use crate::domain::ids::{IncidentId, Service, Thing};
use crate::domain::incident::Incident;
use crate::domain::input::{Answers, Itself, Query, RecordHead};
use crate::ports::Watch;
use crate::ports::journal::{Head, Journal, Views};
use crate::shell::door::Inbound;
use crate::shell::record;

/// How long the outside may take to answer a decision's questions.
pub const QUERY_TIMEOUT_MS: u64 = 8_000;
/// Closed incidents kept in memory after they were read back.
const CLOSED_KEPT: usize = 64;

impl<J, V, C, W> Driver<J, V, C, W>
where
    J: Journal,
    V: Views,
    C: Timepiece,
    W: Watch,
{
    pub(super) fn questions(&self, inbound: &Inbound) -> Option<Vec<Query>> {
        if inbound.answers.is_some() || self.state.has_seen(&inbound.input.id) {
            return None;
        }
        let ctx = self.ctx(&inbound.input.id, self.now());
        let questions =
            catch_unwind(AssertUnwindSafe(|| commands::needs(&ctx, &inbound.input.kind))).unwrap_or_default();
        (!questions.is_empty()).then_some(questions)
    }

    /// Asks the outside in a task of its own; the input comes back with what was said.
    pub(super) fn ask(&mut self, inbound: Inbound, questions: Vec<Query>) {
        let mut answers = Answers::default();
        let mut health: Option<Option<Service>> = None;
        let mut apps: Vec<String> = Vec::new();
        for question in questions {
            match question {
                Query::Health(service) => health = Some(service),
                Query::Inventory(app) => apps.push(app),
                Query::ClosedIncident(id) => answers.recent = Some(self.read_back(id).into_iter().collect()),
                Query::RecentIncidents(most) => answers.recent = Some(self.recent(usize::from(most))),
                Query::Head => {
                    let Head { seq, hash, .. } = self.parts.journal.head();
                    answers.head = Some(RecordHead { seq, hash });
                }
                Query::Itself => {
                    let itself = (self.parts.itself)(&self.snapshot());
                    answers.itself = Some(Itself { caught_up: self.caught_up.clone(), ..itself });
                }
            }
        }
        let door = self.door.clone();
        let Inbound { input, reply, beat, .. } = inbound;
        if health.is_none() && apps.is_empty() {
            door.result(Inbound { input, reply, answers: Some(answers), beat });
            return;
        }
        let (watch, acts) = (Arc::clone(&self.parts.watch), Arc::clone(&self.parts.acts));
        tokio::spawn(async move {
            // All at once: whoever asked waits for the slowest, not for the sum.
            let asked: Vec<_> = apps
                .into_iter()
                .map(|app| {
                    let asked = tokio::time::timeout(Duration::from_millis(QUERY_TIMEOUT_MS), acts.inventory(&app));
                    tokio::spawn(async move { (app, asked.await) })
                })
                .collect();
            if let Some(service) = health {
                answers.health = look(&*watch, service.as_ref()).await;
            }
            for one in asked {
                if let Ok((app, Ok(inventory))) = one.await {
                    answers.inventories.insert(app, inventory);
                }
            }
            door.result(Inbound { input, reply, answers: Some(answers), beat });
        });
    }

    fn read_back(&mut self, id: IncidentId) -> Option<Incident> {
        let thing = Thing::Incident(id).to_string();
        let lines = match self.parts.views.rows(&thing) {
            Ok(lines) if !lines.is_empty() => lines,
            // Without the database the log itself is read; slow, and right.
            _ => self.parts.journal.read_from(0).filter_map(Result::ok).collect(),
        };
        record::incident(id, &lines)
    }

    fn recent(&mut self, most: usize) -> Vec<Incident> {
        let named = self.parts.views.things("inc", None, most.min(CLOSED_KEPT)).unwrap_or_default();
        let ids: Vec<IncidentId> = named
            .iter()
            .filter_map(|(name, _)| match name.parse() {
                Ok(Thing::Incident(id)) => Some(id),
                _ => None,
            })
            .filter(|id| !self.state.incidents.contains_key(id))
            .collect();
        ids.into_iter().filter_map(|id| self.read_back(id)).collect()
    }
}

/// Looks at services, bounded in time.
pub async fn look<W: Watch>(watch: &W, service: Option<&Service>) -> Option<HealthReport> {
    match tokio::time::timeout(Duration::from_millis(QUERY_TIMEOUT_MS), watch.look(service)).await {
        Ok(report) => Some(report),
        Err(_) => {
            info!("A look at the services took too long and was left");
            None
        }
    }
}
