//! Releases over REST: what flyctl reads and writes while it deploys. No document describes it; its source does.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::api::Call;
use super::id::stamp;
use super::problem::{Problem, ok};
use super::state::State;
use super::view;
use super::world::{App, Release};

/// Releases of one answer when nothing is said.
const LIMIT_DEFAULT: usize = 25;

/// Answers a request behind `/api/v1/`.
pub fn serve(state: &State, call: &Call) -> Result<Response, Problem> {
    let parts: Vec<&str> = call.path.split('/').collect();
    if call.method != Method::GET {
        return match parts.as_slice() {
            ["releases"] | ["releases", _] => Err(Problem::later()),
            _ => Err(nothing()),
        };
    }
    match parts.as_slice() {
        ["apps", name, "releases"] => {
            let app = app(state, call, name)?;
            let limit = call.get("limit").and_then(|text| text.parse().ok()).unwrap_or(LIMIT_DEFAULT);
            Ok(ok(&json!({"releases": newest(app).into_iter().take(limit).map(release).collect::<Vec<_>>()})))
        }
        ["apps", name, "releases", "current"] => {
            let app = app(state, call, name)?;
            app.current_release().map(|current| ok(&release(current))).ok_or_else(nothing)
        }
        ["organizations"] => Ok(ok(&json!({"organizations": [org(state)]}))),
        ["organizations", slug] if *slug == state.workspace.org => Ok(ok(&json!({"organization": org(state)}))),
        _ => Err(nothing()),
    }
}

fn app<'a>(state: &'a State, call: &Call, name: &str) -> Result<&'a App, Problem> {
    call.caller.look_at(name)?;
    state.world.app(name).ok_or_else(nothing)
}

/// All releases, the newest first.
pub fn newest(app: &App) -> Vec<&Release> {
    let mut all: Vec<&Release> = app.releases.iter().collect();
    all.sort_by_key(|release| std::cmp::Reverse(release.version));
    all
}

/// Whether a release is being rolled out.
pub fn in_progress(release: &Release) -> bool {
    matches!(release.status.as_str(), "pending" | "running")
}

fn release(release: &Release) -> Value {
    json!({
        "id": release.id, "version": release.version, "stable": release.status == "complete",
        "in_progress": in_progress(release), "status": release.status, "strategy": release.strategy,
        "user": release.user, "created_at": stamp(release.created_at), "image_ref": release.image,
    })
}

fn org(state: &State) -> Value {
    json!({"id": state.workspace.org, "slug": state.workspace.org, "name": view::org_name(&state.workspace)})
}

/// Undocumented: which of the shapes of an error this API has; flyctl knows this one.
fn nothing() -> Problem {
    Problem { status: 404, body: json!({"errors": {"detail": "Not Found"}}) }
}
