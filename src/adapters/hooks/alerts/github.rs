//! GitHub's webhooks: runs of workflows, checks and deployments that fail, and the next of the same that does well.
//!
//! Of workflows and checks only those of the default branch fire: what fails on a branch is its author's business.

use serde_json::Value;

use super::{Brought, Heads, some, text};
use crate::domain::alerts::heard::Incoming;

pub(super) fn read(body: &Value, heads: Heads<'_>) -> Result<Brought, String> {
    let event = heads.event.ok_or("There is no header x-github-event in it, which says what happened.")?;
    if matches!(event, "workflow_run" | "check_run" | "deployment_status")
        && !body.get(event).is_some_and(Value::is_object)
    {
        return Err(format!("There is no {event} in it, which its header says it is about."));
    }
    let repository = text(body, "/repository/full_name");
    let branch = some(body, "/repository/default_branch").unwrap_or_else(|| "main".to_owned());
    let completed = text(body, "/action") == "completed";
    let about = |kind: &str, name: String, of: &str| Incoming {
        fingerprint: format!("{kind} {repository} {name}"),
        name: format!("{kind} {name}"),
        severity: "warning".to_owned(),
        labels: [("repository".to_owned(), repository.clone())].into(),
        url: some(body, &format!("{of}/html_url")),
        ..Incoming::default()
    };
    let alert = match event {
        "workflow_run" if completed && text(body, "/workflow_run/head_branch") == branch => {
            let conclusion = text(body, "/workflow_run/conclusion");
            let summary = format!("{conclusion} on {branch}: {}", text(body, "/workflow_run/display_title"));
            ended(&conclusion).map(|firing| Incoming {
                firing,
                summary,
                ..about("Workflow", text(body, "/workflow/name"), "/workflow_run")
            })
        }
        "check_run" if completed && text(body, "/check_run/check_suite/head_branch") == branch => {
            let conclusion = text(body, "/check_run/conclusion");
            let summary = format!("{conclusion} on {branch}: {}", text(body, "/check_run/output/title"));
            ended(&conclusion).map(|firing| Incoming {
                firing,
                summary,
                ..about("Check", text(body, "/check_run/name"), "/check_run")
            })
        }
        "deployment_status" => {
            let state = text(body, "/deployment_status/state");
            let environment = text(body, "/deployment_status/environment");
            let summary = format!("{state}: {}", text(body, "/deployment_status/description"));
            ended(&state).map(|firing| Incoming {
                firing,
                summary,
                ..about("Deployment to", environment, "/deployment")
            })
        }
        // A ping, a push, whatever else is subscribed to: taken, and nothing of it fires.
        _ => None,
    };
    Ok(Brought {
        alerts: alert.into_iter().collect(),
        delivery: heads.delivery.map(str::to_owned),
        ..Brought::default()
    })
}

/// Whether an end means that something is wrong; none when it says nothing.
fn ended(word: &str) -> Option<bool> {
    match word {
        "failure" | "timed_out" | "startup_failure" | "error" => Some(true),
        "success" => Some(false),
        _ => None,
    }
}
