//! Who asks, and what they may.

use axum::http::{HeaderMap, header};

use super::api::Door;
use super::id::now;
use super::problem::Problem;
use super::state::State;
use super::workspace::{Token, TokenKind};

/// Whoever showed a token that is good.
#[derive(Clone, Debug)]
pub struct Caller {
    pub kind: TokenKind,
    /// The app of a deploy token.
    pub app: Option<String>,
    /// How an answer names the token.
    pub token_id: String,
}

impl Caller {
    /// Whether they may look at an app.
    pub fn sees(&self, app: &str) -> bool {
        self.kind != TokenKind::Deploy || self.app.as_deref() == Some(app)
    }

    /// Refuses whoever may not look at this app.
    pub fn look_at(&self, app: &str) -> Result<(), Problem> {
        // Undocumented: whether Fly hides an app that a token is not for (404) or refuses it (403).
        if self.sees(app) { Ok(()) } else { Err(Problem::forbidden()) }
    }

    /// Refuses whoever may not change this app.
    pub fn act_on(&self, app: &str) -> Result<(), Problem> {
        if self.kind == TokenKind::Readonly { Err(Problem::forbidden()) } else { self.look_at(app) }
    }

    /// Who did it, for a record.
    pub fn name(&self) -> &'static str {
        match self.kind {
            TokenKind::Readonly => "readonly@tokens.fly.io",
            TokenKind::Deploy => "deploy@tokens.fly.io",
            TokenKind::Org => "org@tokens.fly.io",
        }
    }
}

/// Looks at the header `authorization`.
///
/// Errors: none, a token that is unknown or over, or a word before it that this door does not take.
pub fn caller(state: &State, door: Door, headers: &HeaderMap) -> Result<Caller, Problem> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (mut rest, mut word) = (text.trim(), "");
    while let Some((first, more)) = rest.split_once(' ') {
        if !first.eq_ignore_ascii_case("bearer") && !first.eq_ignore_ascii_case("flyv1") {
            break;
        }
        (word, rest) = (first, more.trim_start());
    }
    let is_macaroon = rest.starts_with("fm1") || rest.starts_with("fm2_");
    let word_fits = match door {
        // What flyctl sends there, whatever the token.
        Door::Releases => word.eq_ignore_ascii_case("bearer"),
        // The documents: FlyV1 for tokens made by `fly tokens create`.
        Door::Prometheus => !is_macaroon || word.eq_ignore_ascii_case("flyv1"),
        Door::Machines | Door::Logs | Door::Graphql => !word.is_empty(),
    };
    if !word_fits {
        return Err(Problem::unauthorized());
    }
    let known = rest.split(',').find_map(|piece| find(state, piece.trim()));
    let (index, token) = known.ok_or_else(Problem::unauthorized)?;
    if door == Door::Logs && token.kind == TokenKind::Deploy {
        return Err(Problem::unauthorized());
    }
    Ok(Caller { kind: token.kind, app: token.app.clone(), token_id: format!("token-{}", index + 1) })
}

fn find<'a>(state: &'a State, text: &str) -> Option<(usize, &'a Token)> {
    let good = |token: &Token| token.token == text && token.expires.is_none_or(|expires| expires > now());
    state.workspace.tokens.iter().enumerate().find(|(_, token)| !text.is_empty() && good(token))
}
