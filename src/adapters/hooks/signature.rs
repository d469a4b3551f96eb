//! The signature on a request to a hook, and what makes it count: the secret, its time, and the name that it has for itself.
//!
//! HMAC-SHA256 over a version, the time, the name, the method with the path, and the body, each on a line of its own, so that
//! nothing signed for one place or moment counts at another. Compared in constant time. A secret is never shown.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The header with the time of signing, in seconds of Unix time.
pub const TIME: &str = "watchbell-time";
/// The header with the request's name for itself.
pub const ID: &str = "watchbell-id";
/// The header with the signature: `v1=` and hexadecimal digits.
pub const SIGNATURE: &str = "watchbell-signature";

/// How far the time of signing may be from now, in seconds: clocks differ, and a request waits on its way.
pub const AGE_MAX_S: i64 = 300;

/// How the signature is made, for whoever has to say so.
const VERSION: &str = "v1";

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// When, in seconds of Unix time.
    pub time_s: i64,
    /// The request's name for itself.
    pub id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, as it is sent.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It was not made with a secret of ours, or of another request.
    Signature,
    /// It was signed too long ago, or too far ahead.
    Time,
}

impl Signed<'_> {
    /// None only if a key could have a wrong length, and HMAC takes them all.
    fn mac(&self, secret: &SecretString) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
        mac.update(format!("{VERSION}\n{}\n{}\n{} {}\n", self.time_s, self.id, self.method, self.path).as_bytes());
        mac.update(self.body);
        Some(mac)
    }

    /// The header's value.
    pub fn sign(&self, secret: &SecretString) -> String {
        let bytes = self.mac(secret).map(|mac| mac.finalize().into_bytes());
        let digits: String = bytes.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
        format!("{VERSION}={digits}")
    }

    /// Whether what was shown counts: made with one of the secrets (two, while one takes the other's place), and fresh.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, secrets: &[SecretString], shown: &str, now_s: i64) -> Result<(), Wrong> {
        let shown = shown.trim().strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('=')).and_then(bytes);
        let shown = shown.ok_or(Wrong::Signature)?;
        // All are tried, so that how long it takes does not say which it was.
        let matches = |secret: &&SecretString| self.mac(secret).is_some_and(|mac| mac.verify_slice(&shown).is_ok());
        let matching = secrets.iter().filter(matches).count();
        if matching == 0 {
            return Err(Wrong::Signature);
        }
        if now_s.abs_diff(self.time_s) > AGE_MAX_S.unsigned_abs() {
            return Err(Wrong::Time);
        }
        Ok(())
    }
}

/// The bytes of a SHA-256 from its hexadecimal digits.
pub(super) fn bytes(digits: &str) -> Option<Vec<u8>> {
    /// Digits of a SHA-256.
    const DIGITS: usize = 64;
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..DIGITS).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_800_000_000;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    fn request() -> Signed<'static> {
        Signed { time_s: NOW_S, id: "run-7", method: "POST", path: "/hooks/deploy", body: b"{}" }
    }

    #[test]
    fn a_signature_counts_for_the_request_that_it_was_made_for_alone() {
        let ours = secret("one secret of ours");
        let shown = request().sign(&ours);
        let secrets = [ours];
        assert_eq!(request().verify(&secrets, &shown, NOW_S), Ok(()));
        for other in [
            Signed { time_s: NOW_S + 1, ..request() },
            Signed { id: "run-8", ..request() },
            Signed { method: "GET", ..request() },
            Signed { path: "/hooks/deploy/7", ..request() },
            Signed { body: b"{} ", ..request() },
        ] {
            assert_eq!(other.verify(&secrets, &shown, NOW_S), Err(Wrong::Signature), "{other:?}");
        }
        for forged in ["", "v1=", "v2=00", &shown[3..], &shown.replace("v1", "v2"), &format!("v1={}", "é".repeat(32))]
        {
            assert_eq!(request().verify(&secrets, forged, NOW_S), Err(Wrong::Signature), "{forged}");
        }
        assert_eq!(request().verify(&[], &shown, NOW_S), Err(Wrong::Signature), "without a secret nothing counts");
    }

    #[test]
    fn a_signature_counts_for_five_minutes() {
        let secrets = [secret("one secret of ours")];
        let shown = request().sign(&secrets[0]);
        for (now_s, counts) in [
            (NOW_S + AGE_MAX_S, Ok(())),
            (NOW_S - AGE_MAX_S, Ok(())),
            (NOW_S + AGE_MAX_S + 1, Err(Wrong::Time)),
            (NOW_S - AGE_MAX_S - 1, Err(Wrong::Time)),
            (i64::MIN, Err(Wrong::Time)),
        ] {
            assert_eq!(request().verify(&secrets, &shown, now_s), counts, "{now_s}");
        }
    }

    #[test]
    fn two_secrets_count_while_one_takes_the_others_place() {
        let (old, new) = (secret("the old secret of ours"), secret("the new secret of ours"));
        let shown = [request().sign(&old), request().sign(&new)];
        for shown in &shown {
            assert_eq!(request().verify(&[old.clone(), new.clone()], shown, NOW_S), Ok(()));
        }
        assert_eq!(request().verify(&[new], &shown[0], NOW_S), Err(Wrong::Signature));
    }

    /// What docs/deploys.md shows for whoever signs with other tools.
    #[test]
    fn the_signature_is_what_openssl_makes() {
        let body = br#"{"service":"shop","image":"registry.fly.io/shop:7"}"#;
        let signed = Signed { body, ..request() };
        assert_eq!(
            signed.sign(&secret("0123456789abcdef0123456789abcdef")),
            "v1=073aeb5ef4a6ab90ffe0590af682aeb33a4b4dbecce4f9be89aaf504bab74ba9"
        );
    }
}
