//! Fly's tokens: how one is written into a header.
//!
//! `fly tokens create` prints `FlyV1 fm2_…`, perhaps several joined by commas, and people paste it with all kinds of prefixes.
//! Source: fly-go tokens/tokens.go and docs security/tokens, see field notes.

use secrecy::{ExposeSecret, SecretString};

/// A token as it goes over the wire. `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

/// Beginnings of macaroons, which Fly takes under its own scheme.
const MACAROONS: [&str; 3] = ["fm1r_", "fm1a_", "fm2_"];

impl Token {
    /// Cleans up what somebody pasted: schemes before it, spaces and empty parts in it.
    ///
    /// # Errors
    /// A sentence, when nothing is left or it could not stand in a header.
    pub fn normalise(raw: &SecretString) -> Result<Self, String> {
        let mut rest = raw.expose_secret().trim();
        while let Some(shorter) =
            ["Bearer ", "FlyV1 ", "bearer ", "flyv1 "].iter().find_map(|scheme| rest.strip_prefix(scheme))
        {
            rest = shorter.trim_start();
        }
        // A scheme with nothing behind it is what is left of a token that was not copied.
        if ["Bearer", "FlyV1"].contains(&rest) {
            rest = "";
        }
        let parts: Vec<&str> = rest.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let joined = parts.join(",");
        if joined.is_empty() {
            return Err("the Fly token is empty".to_owned());
        }
        if !joined.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the Fly token holds characters that no token has; copy it again".to_owned());
        }
        Ok(Self(SecretString::from(joined)))
    }

    /// The header for machines, logs, metrics and GraphQL.
    pub fn header(&self) -> String {
        let token = self.0.expose_secret();
        let macaroon = token.split(',').any(|part| MACAROONS.iter().any(|prefix| part.starts_with(prefix)));
        format!("{} {token}", if macaroon { "FlyV1" } else { "Bearer" })
    }

    /// What must never be repeated in words.
    pub(super) fn secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// The header for releases, which take every token under the one scheme.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(raw: &str) -> Result<String, String> {
        Token::normalise(&SecretString::from(raw)).map(|token| token.header())
    }

    #[test]
    fn a_token_is_taken_however_it_was_pasted() {
        for raw in ["fm2_abc", "FlyV1 fm2_abc", " Bearer FlyV1 fm2_abc\n", "Bearer Bearer fm2_abc,"] {
            assert_eq!(header(raw), Ok("FlyV1 fm2_abc".to_owned()), "{raw}");
        }
        assert_eq!(header("FlyV1 fm2_a, fo1_b"), Ok("FlyV1 fm2_a,fo1_b".to_owned()));
        assert_eq!(header("fo1_old"), Ok("Bearer fo1_old".to_owned()));
        assert!(header("FlyV1 ").is_err() && header("fm2_a b").is_err());
        let token = Token::normalise(&SecretString::from("FlyV1 fm2_canary"));
        assert_eq!(token.as_ref().map(Token::bearer), Ok("Bearer fm2_canary".to_owned()));
        assert!(!format!("{token:?}").contains("canary"));
    }
}
