//! The two mutations that a deploy needs: a release is written, and changed. One store with the REST side.

use serde_json::{Value, json};

use super::super::auth::Caller;
use super::super::problem::Problem;
use super::super::releases::{self, Wish};
use super::super::state::State;
use super::parse::Field;
use super::{Failure, app_node, project, release};

/// Does what a field of a mutation asks for.
pub fn root(state: &mut State, caller: &Caller, field: &Field) -> Result<Value, Failure> {
    if !matches!(field.name.as_str(), "createRelease" | "updateRelease") {
        return Err(Failure::Unknown(format!("Field '{}' doesn't exist on type 'Mutations'", field.name)));
    }
    let input = field.args.get("input").filter(|input| input.is_object());
    let input = input.ok_or_else(|| missing("input"))?;
    let text = |key: &str| input[key].as_str().filter(|text| !text.is_empty());
    let value = match field.name.as_str() {
        "createRelease" => {
            // An app's id is its name here.
            let app = text("appId").ok_or_else(|| missing("appId"))?;
            let definition = input.get("definition").filter(|wish| !wish.is_null());
            let image = text("image").ok_or_else(|| missing("image"))?;
            let wish = Wish { app, image, strategy: text("strategy"), definition };
            let made = releases::open(state, caller, &wish).map(release).map_err(refused)?;
            let about = state.world.app(app).map(|app| app_node(state, app));
            json!({"__typename": "CreateReleasePayload", "release": made, "app": about, "clientMutationId": null})
        }
        _ => {
            let id = text("releaseId").ok_or_else(|| missing("releaseId"))?;
            let changed = releases::change(state, caller, id, text("status"), input.get("metadata"));
            let changed = changed.map(release).map_err(refused)?;
            json!({"__typename": "UpdateReleasePayload", "release": changed, "clientMutationId": null})
        }
    };
    project(&value, field)
}

fn missing(what: &str) -> Failure {
    Failure::Unknown(format!("Argument '{what}' is required"))
}

/// Undocumented: the words; that a refusal is an answer of 200 with a code is GraphQL's way.
fn refused(problem: Problem) -> Failure {
    let words = problem.body["errors"]["detail"].as_str().or(problem.body["error"].as_str());
    let words = words.unwrap_or("refused").to_owned();
    match problem.status {
        403 => Failure::Refused("You are not authorized to do this".to_owned(), "FORBIDDEN"),
        404 => Failure::Missing(words),
        _ => Failure::Refused(words, "UNPROCESSABLE"),
    }
}
