//! Whether a tool's request counts: its secret, in the way in which that tool can show one. Compared in constant time, with each of
//! the secrets that hold while one takes the other's place. A secret is never shown.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::signature::bytes;
use crate::domain::workspace::HookFormat;

/// What a request shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The header `authorization`.
    pub authorization: Option<&'a str>,
    /// The header with the tool's signature over the body.
    pub signature: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// The header in which a tool signs the body; none when it shows its secret otherwise.
pub fn signature_header(format: HookFormat) -> Option<&'static str> {
    match format {
        HookFormat::Github => Some("x-hub-signature-256"),
        HookFormat::Sentry => Some("sentry-hook-signature"),
        _ => None,
    }
}

/// Whether it counts.
///
/// # Errors
/// What is missing, in a sentence that says how this tool shows its secret.
pub fn proves(format: HookFormat, secrets: &[SecretString], shown: Shown<'_>) -> Result<(), &'static str> {
    let holds = match format {
        HookFormat::Github | HookFormat::Sentry => {
            let signature =
                shown.signature.ok_or("It is not signed: set this hook's secret where the tool asks for one.")?;
            let signature = bytes(signature.trim().trim_start_matches("sha256="));
            any(secrets, |secret| {
                let (Some(mac), Some(signature)) = (mac(secret, shown.body), &signature) else { return false };
                mac.verify_slice(signature).is_ok()
            })
        }
        HookFormat::Pagerduty => {
            let key =
                routing_key(shown.body).ok_or("There is no routing_key in it: that is where its secret stands.")?;
            any(secrets, |secret| same(secret, key.as_bytes()))
        }
        HookFormat::Alertmanager | HookFormat::Grafana | HookFormat::Betterstack | HookFormat::Generic => {
            let token = shown.authorization.and_then(|value| {
                let (scheme, token) = value.trim().split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let token = token.ok_or("Show this hook's secret in the header: authorization: Bearer …")?;
            any(secrets, |secret| same(secret, token.as_bytes()))
        }
    };
    if holds { Ok(()) } else { Err("That is not a secret of this hook.") }
}

/// All are tried, so that how long it takes does not say which it was.
fn any(secrets: &[SecretString], holds: impl Fn(&SecretString) -> bool) -> bool {
    secrets.iter().filter(|secret| holds(secret)).count() > 0
}

fn mac(secret: &SecretString, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(body);
    Some(mac)
}

/// Whether two are the same, in a time that depends on neither: their MACs under one key are compared.
fn same(secret: &SecretString, shown: &[u8]) -> bool {
    let key = SecretString::from("the same key for both".to_owned());
    let (Some(ours), Some(shown)) = (mac(&key, secret.expose_secret().as_bytes()), mac(&key, shown)) else {
        return false;
    };
    ours.verify_slice(&shown.finalize().into_bytes()).is_ok()
}

fn routing_key(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Event {
        routing_key: String,
    }
    serde_json::from_slice::<Event>(body).ok().map(|event| event.routing_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> [SecretString; 2] {
        ["the one in use today", "the one of tomorrow"].map(|secret| SecretString::from(secret.to_owned()))
    }

    fn bearer(token: &str) -> Result<(), &'static str> {
        let authorization = format!("Bearer {token}");
        let shown = Shown { authorization: Some(&authorization), ..Shown::default() };
        proves(HookFormat::Alertmanager, &secrets(), shown)
    }

    #[test]
    fn either_secret_counts_and_nothing_like_it() {
        assert_eq!(bearer("the one in use today"), Ok(()));
        assert_eq!(bearer("the one of tomorrow"), Ok(()));
        for wrong in ["", "the one in use", "the one in use today ?", "THE ONE IN USE TODAY"] {
            assert!(bearer(wrong).is_err(), "{wrong}");
        }
        let basic = Shown { authorization: Some("Basic dGhl"), ..Shown::default() };
        assert!(proves(HookFormat::Grafana, &secrets(), basic).is_err());
        assert!(
            proves(HookFormat::Generic, &[], Shown { authorization: Some("Bearer x"), ..Shown::default() }).is_err()
        );
    }

    #[test]
    fn a_signature_is_of_this_body_with_this_secret() {
        // GitHub's documents, "Validating webhook deliveries": the example to test against.
        let secret = [SecretString::from("It's a Secret to Everybody".to_owned())];
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let shown = |body, signature| Shown { signature: Some(signature), body, ..Shown::default() };
        assert_eq!(proves(HookFormat::Github, &secret, shown(b"Hello, World!", signature)), Ok(()));
        assert!(proves(HookFormat::Github, &secret, shown(b"Hello, World?", signature)).is_err());
        assert!(proves(HookFormat::Github, &secret, shown(b"Hello, World!", "sha256=00")).is_err());
        assert_eq!(proves(HookFormat::Sentry, &secret, shown(b"Hello, World!", &signature[7..])), Ok(()));
        assert!(proves(HookFormat::Github, &secret, Shown { body: b"Hello, World!", ..Shown::default() }).is_err());
    }

    #[test]
    fn a_routing_key_is_the_secret() {
        let shown = |body| Shown { body, ..Shown::default() };
        assert_eq!(
            proves(HookFormat::Pagerduty, &secrets(), shown(br#"{"routing_key": "the one of tomorrow"}"#)),
            Ok(())
        );
        assert!(proves(HookFormat::Pagerduty, &secrets(), shown(br#"{"routing_key": "another"}"#)).is_err());
        assert!(proves(HookFormat::Pagerduty, &secrets(), shown(b"[[[[")).is_err());
    }
}
