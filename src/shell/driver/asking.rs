//! What a decision must know of the outside before it is made: asked in a task, never by the loop itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Driver;
use crate::adapters::clock::Timepiece;
use crate::commands;
use crate::domain::deploy::Deploy;
use crate::domain::health::HealthReport;
use crate::domain::ids::{IncidentId, InputId, Service, Thing};
use crate::domain::incident::Incident;
use crate::domain::input::{Answers, Itself, Query, RecordHead};
use crate::domain::pipeline::Known;
use crate::domain::pipeline::told::Told;
use crate::ports::Watch;
use crate::ports::journal::{Head, Journal, Views};
use crate::shell::acting::Doing;
use crate::shell::door::{Inbound, Meant};
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
        let mut lines = None;
        let (mut apps, mut looks, mut lives): (Vec<String>, Vec<String>, Vec<String>) = Default::default();
        let mut figures = Vec::new();
        for question in questions {
            match question {
                Query::Health(service) => health = Some(service),
                Query::Inventory(app) => apps.push(app),
                Query::Inspect(app) => looks.push(app),
                Query::Life(app) => lives.push(app),
                Query::Logs(ask) => lines = Some(self.parts.logs.read(*ask)),
                Query::Changes(most) => answers.changes = self.changes(usize::from(most)),
                Query::ClosedIncident(id) => answers.recent = Some(self.read_back(id).into_iter().collect()),
                Query::RecentIncidents(most) => answers.recent = Some(self.recent(usize::from(most))),
                Query::Figures(ask) => figures.push(ask),
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
        let asks_nobody = apps.is_empty() && looks.is_empty() && lives.is_empty() && figures.is_empty();
        if asks_nobody && health.is_none() && lines.is_none() {
            door.result(Inbound { input, reply, answers: Some(answers), beat });
            return;
        }
        let (watch, acts) = (Arc::clone(&self.parts.watch), Arc::clone(&self.parts.acts));
        let (now, sources) = (self.now(), self.parts.sources.clone());
        tokio::spawn(async move {
            // All at once: whoever asked waits for the slowest, not for the sum.
            let told = apps.into_iter().map(|app| (acts.inventory(&app), app));
            let shown = looks.into_iter().map(|app| {
                let asked = acts.inspect(&app);
                let read: Doing<_> = Box::pin(async move { asked.await.map(|inventory| inventory.read_at(now)) });
                (read, app)
            });
            let asked: Vec<_> = told
                .chain(shown)
                .map(|(doing, app)| {
                    let asked = tokio::time::timeout(Duration::from_millis(QUERY_TIMEOUT_MS), doing);
                    tokio::spawn(async move { (app, asked.await) })
                })
                .collect();
            let limit = Duration::from_millis(QUERY_TIMEOUT_MS);
            let lived: Vec<_> = lives
                .into_iter()
                .map(|app| {
                    let asked = tokio::time::timeout(limit, acts.life(&app, now));
                    tokio::spawn(async move { (app, asked.await) })
                })
                .collect();
            let lines = lines.map(|reading| tokio::spawn(tokio::time::timeout(limit, reading)));
            let measured = tokio::spawn(async move { sources.figures(figures, limit).await });
            if let Some(service) = health {
                answers.health = look(&*watch, service.as_ref()).await;
            }
            for one in asked {
                if let Ok((app, Ok(inventory))) = one.await {
                    answers.inventories.insert(app, inventory);
                }
            }
            for one in lived {
                if let Ok((app, Ok(told))) = one.await {
                    answers.lives.insert(app, told);
                }
            }
            if let Some(reading) = lines
                && let Ok(Ok(read)) = reading.await
            {
                answers.logs = Some(read);
            }
            answers.figures = measured.await.unwrap_or_default();
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

    /// How a deploy that a pipeline asked for stands; read back from the record when it is no longer in memory.
    pub(super) fn told(&mut self, which: &Meant) -> Option<Told> {
        let id = match which {
            Meant::Number(id) => *id,
            Meant::Request { id, body } => {
                let is_it = |known: &&Known| known.id == *id && known.body == *body;
                self.state.team.requests.iter().find(is_it)?.deploy
            }
        };
        let held = self.state.team.deploys.get(&id).cloned();
        let deploy = held.or_else(|| {
            let lines = self.parts.views.rows(&Thing::Deploy(id).to_string()).ok()?;
            record::changes(&lines).remove(&id)
        });
        let deploy = deploy.filter(|deploy| deploy.request.is_some())?;
        let input = InputId::new("told");
        Some(Told::of(&self.ctx(&input, self.now()), &deploy))
    }

    /// The newest changes that are no longer in memory; none without the database: the log would be read for a long time.
    fn changes(&mut self, most: usize) -> Option<Vec<Deploy>> {
        let named = self.parts.views.things("dep", None, most).ok()?;
        let mut found = Vec::new();
        for (name, _) in named {
            let Ok(Thing::Deploy(id)) = name.parse() else { continue };
            if !self.state.team.deploys.contains_key(&id) {
                let lines = self.parts.views.rows(&name).ok()?;
                found.extend(record::changes(&lines).remove(&id));
            }
        }
        Some(found)
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
