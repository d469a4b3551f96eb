//! Certificates: until when the one is good that an answer came with, and those that a team trusts beside the public authorities'.
//!
//! Reads the one date that is needed, out of bytes that a service sent: never panics, whatever they are. Whether a certificate is to be
//! believed is rustls's to say, and is said before anything is read here.

use chrono::{DateTime, Utc};
use der::asn1::{GeneralizedTime, UtcTime};
use der::{Decode as _, Reader, SliceReader, Tag};
use reqwest::Certificate;

use super::ask;
use crate::adapters::config::Authorities;

/// Certificates that a team may trust beside the public ones.
const TRUSTED_MAX: usize = 100;

/// When a certificate ends (RFC 5280, `notAfter`); none when that cannot be read.
pub fn ends(der: &[u8]) -> Option<DateTime<Utc>> {
    let mut reader = SliceReader::new(der).ok()?;
    let until_s = reader.sequence(|certificate| -> der::Result<u64> {
        let until_s = certificate.sequence(|told| -> der::Result<u64> {
            // version (left out of the oldest kind), serialNumber, signature, issuer: then validity.
            if Tag::peek(told)?.is_context_specific() {
                told.tlv_bytes()?;
            }
            for _ in 0..3 {
                told.tlv_bytes()?;
            }
            let until_s = told.sequence(|validity| -> der::Result<u64> {
                moment_s(validity)?;
                moment_s(validity)
            })?;
            pass_over(told)?;
            Ok(until_s)
        })?;
        pass_over(certificate)?;
        Ok(until_s)
    });
    DateTime::from_timestamp(i64::try_from(until_s.ok()?).ok()?, 0)
}

/// A moment in either of its two forms, in seconds since 1970.
fn moment_s<'r>(reader: &mut impl Reader<'r>) -> der::Result<u64> {
    let since = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(since.as_secs())
}

fn pass_over<'r>(reader: &mut impl Reader<'r>) -> der::Result<()> {
    let left = reader.remaining_len();
    reader.read_slice(left).map(drop)
}

/// What a team trusts beside the public authorities; nothing when the set-up names no file.
///
/// # Errors
/// A sentence: the file holds no certificate, too many, or one that is none.
pub fn trusted(own: Option<&Authorities>) -> Result<Vec<Certificate>, String> {
    let Some(Authorities { file, pem }) = own else { return Ok(Vec::new()) };
    let file = file.display();
    let form = "write it as PEM, from BEGIN CERTIFICATE to END CERTIFICATE";
    let found = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| format!("{file} is damaged; {form}"))?;
    match found.len() {
        0 => Err(format!("{file} holds no certificate; {form}")),
        many if many > TRUSTED_MAX => Err(format!("{file} holds {many} certificates; at most {TRUSTED_MAX}")),
        _ => match ask::client(&found) {
            Ok(_) => Ok(found),
            Err(_) => Err(format!("a certificate in {file} is none that an authority could have; {form}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of its own making, that ends at the start of a year.
    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms() {
        for year in [2027, 2049, 2050, 9999] {
            let read = ends(&certificate(year)).map(|at| at.to_rfc3339());
            assert_eq!(read, Some(format!("{year}-01-01T00:00:00+00:00")));
        }
    }

    #[test]
    fn garbage_has_no_end_and_breaks_nothing() {
        let whole = certificate(2027);
        let until = ends(&whole);
        for cut in 0..whole.len() {
            assert_eq!(ends(&whole[..cut]), None, "cut after {cut}");
        }
        let mut others = 0;
        for at in 0..whole.len() {
            for flip in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << flip;
                others += usize::from(ends(&damaged).is_some_and(|end| Some(end) != until));
            }
        }
        // Only in the date itself a bit makes another date; nothing beside it is taken for one.
        assert!(others < 13 * 8, "{others} bits make another date");
        for length in 0..200_usize {
            for byte in [0x00, 0x30, 0x80, 0x82, 0xa0, 0xff] {
                assert_eq!(ends(&vec![byte; length]), None);
                let mut deep: Vec<u8> = [0x30, 0x80 | 4].repeat(length);
                deep.push(byte);
                assert_eq!(ends(&deep), None);
            }
        }
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_said_to() {
        let own = |pem: &str| Authorities { file: "ca.pem".into(), pem: pem.to_owned() };
        let says = |pem: &str| trusted(Some(&own(pem))).err().unwrap_or_default();
        assert!(says("").contains("ca.pem holds no certificate"), "{}", says(""));
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(says(none).contains("none that an authority"), "{}", says(none));
        assert!(says("-----BEGIN CERTIFICATE-----\nAA\u{1}AA").contains("ca.pem"));
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).expect("a name");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        assert_eq!(trusted(Some(&own(&pem))).map(|found| found.len()), Ok(1));
        assert!(says(&pem.repeat(TRUSTED_MAX + 1)).contains("at most 100"));
        assert_eq!(trusted(None).map(|found| found.len()), Ok(0));
    }
}
