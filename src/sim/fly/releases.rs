//! Releases over REST: what flyctl reads and writes while it deploys. No document describes it; its source does.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::api::Call;
use super::auth::Caller;
use super::id::{hex, now, stamp};
use super::images;
use super::problem::{Problem, answer, ok};
use super::state::State;
use super::view;
use super::world::{App, Release};

/// Releases of one answer when nothing is said.
const LIMIT_DEFAULT: usize = 25;

/// Releases kept an app.
const RELEASES_MAX: usize = 500;

/// Answers a request behind `/api/v1/`.
pub fn serve(state: &mut State, call: &Call) -> Result<Response, Problem> {
    let parts: Vec<&str> = call.path.split('/').collect();
    match (&call.method, parts.as_slice()) {
        (&Method::GET, _) => {}
        (&Method::POST, ["releases"]) => {
            let text = |key: &str| call.body[key].as_str();
            let definition = call.body.get("definition").filter(|wish| !wish.is_null());
            let wish = Wish {
                app: text("app_name").ok_or_else(|| invalid("app_name"))?,
                image: text("image").ok_or_else(|| invalid("image"))?,
                strategy: text("strategy"),
                definition,
            };
            let made = open(state, &call.caller, &wish)?;
            return Ok(answer(201, &json!({"release": release(made)})));
        }
        (&Method::PATCH, ["releases", id]) => {
            let (status, metadata) = (call.body["status"].as_str(), call.body.get("metadata"));
            let changed = change(state, &call.caller, id, status, metadata)?;
            return Ok(ok(&json!({"release": release(changed)})));
        }
        _ => return Err(nothing()),
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

/// A release to write.
pub struct Wish<'a> {
    pub app: &'a str,
    pub image: &'a str,
    pub strategy: Option<&'a str>,
    /// The app's configuration; the one before when left out.
    pub definition: Option<&'a Value>,
}

/// Writes a release. Errors: the caller may not, there is no such app, the registry does not have the image.
pub fn open<'a>(state: &'a mut State, caller: &Caller, wish: &Wish) -> Result<&'a Release, Problem> {
    caller.act_on(wish.app)?;
    let is_there = images::is_there(state, wish.image);
    let app = state.world.app_mut(wish.app).ok_or_else(nothing)?;
    if !is_there {
        // As an operator quotes it.
        let words = format!("Could not find image {:?}", wish.image);
        return Err(Problem { status: 404, body: json!({"errors": {"detail": words}, "error": words}) });
    }
    let current = app.current_release();
    let (version, before) = current.map_or((1, json!({})), |now| (now.version + 1, now.definition.clone()));
    app.releases.push(Release {
        id: hex(24),
        version,
        // Undocumented: what a release is called before flyctl says that it runs.
        status: "pending".to_owned(),
        strategy: wish.strategy.unwrap_or("ROLLING").to_owned(),
        user: caller.name().to_owned(),
        description: String::new(),
        image: wish.image.to_owned(),
        created_at: now(),
        definition: wish.definition.cloned().unwrap_or(before),
        metadata: Value::Null,
        updated_at: None,
    });
    if app.releases.len() > RELEASES_MAX {
        app.releases.remove(0);
    }
    state.bump();
    state.world.app(wish.app).and_then(App::current_release).ok_or_else(nothing)
}

/// Changes a release. Writing the same again changes nothing. Errors: the caller may not, or there is no such release.
///
/// Undocumented: which words a status can be; here every word is taken, and a release that is over can change again.
pub fn change<'a>(
    state: &'a mut State,
    caller: &Caller,
    id: &str,
    status: Option<&str>,
    metadata: Option<&Value>,
) -> Result<&'a Release, Problem> {
    let found = state.world.apps.iter().find(|app| app.releases.iter().any(|release| release.id == id));
    let name = found.ok_or_else(nothing)?.name.clone();
    caller.act_on(&name)?;
    // It takes the call and stays as it was.
    let sticks = state.faults.release_sticks(&name);
    let app = state.world.app_mut(&name).ok_or_else(nothing)?;
    let release = app.releases.iter_mut().find(|release| release.id == id).ok_or_else(nothing)?;
    if !sticks {
        if let Some(status) = status {
            release.status = status.to_owned();
        }
        if let Some(metadata) = metadata.filter(|metadata| !metadata.is_null()) {
            release.metadata = metadata.clone();
        }
        release.updated_at = Some(now());
    }
    state.bump();
    let app = state.world.app(&name).ok_or_else(nothing)?;
    app.releases.iter().find(|release| release.id == id).ok_or_else(nothing)
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

fn invalid(what: &str) -> Problem {
    Problem { status: 422, body: json!({"errors": {"detail": format!("{what} can't be blank")}}) }
}

/// Undocumented: which of the shapes of an error this API has; flyctl knows this one.
fn nothing() -> Problem {
    Problem { status: 404, body: json!({"errors": {"detail": "Not Found"}}) }
}
