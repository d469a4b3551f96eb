//! A refusal as Fly words it: a status and a JSON body.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: u16,
    pub body: Value,
}

impl Problem {
    /// With Fly's usual body, `{"error": …}`.
    pub fn new(status: u16, words: &str) -> Problem {
        Problem { status, body: json!({"error": words}) }
    }

    pub fn unauthorized() -> Problem {
        Problem::new(401, "Authenticate: token validation error")
    }

    /// A token that is good, but not for this.
    pub fn forbidden() -> Problem {
        // Undocumented: the words; the status is.
        Problem::new(403, "unauthorized")
    }

    pub fn no_app() -> Problem {
        Problem::new(404, "app not found")
    }

    pub fn no_machine() -> Problem {
        Problem::new(404, "machine not found")
    }

    /// The machine is not in a state for that.
    pub fn precondition(words: &str) -> Problem {
        Problem { status: 412, body: json!({"error": format!("failed_precondition: {words}"), "status": "unknown"}) }
    }

    /// The registry does not have the image.
    ///
    /// As operators quote it; the documents have nothing about it.
    pub fn no_image(image: &str) -> Problem {
        let tag = image.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let inner = json!({"errors": [{
            "code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": format!("unknown tag={tag}"),
        }]});
        Problem::new(400, &format!("failed to get manifest {image}: request failed: not found [http 404]: {inner}"))
    }

    /// A call of Fly's that this stand-in does not answer yet.
    pub fn later() -> Problem {
        Problem::new(501, "the local Fly does not do this yet")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        answer(self.status, &self.body)
    }
}

/// An answer in JSON.
pub fn answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// 200, in JSON.
pub fn ok(body: &Value) -> Response {
    answer(200, body)
}
