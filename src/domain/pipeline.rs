//! What a pipeline asks for: the body of a signed request, what is kept of it, and which of its own are known already.
//!
//! Pure. Owns the shape of the request and every refusal of one that is not it. A pipeline asks and does nothing else: whether a
//! deploy can be planned is `verbs/pipeline.rs`, who says yes to it is as for any other.

pub mod fly_toml;
pub mod told;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::deploy::Strategy;
use super::ids::{DeployId, InputId, Person};
use super::message::Text;
use super::text::short;
use super::workspace::Stage;
use fly_toml::FlyToml;

/// Characters of a request's name for itself, at most.
pub const REQUEST_ID_CHARS_MAX: usize = 80;
/// Characters of a service's or an image's name, at most.
const NAME_CHARS_MAX: usize = 300;
/// Characters of the reason, at most; as many as `/deploy` takes.
const WHY_CHARS_MAX: usize = 500;
/// Characters of an actor, a commit, at most.
const WORD_CHARS_MAX: usize = 80;
/// Characters of an address, at most.
const URL_CHARS_MAX: usize = 300;
/// Characters that are said of what a body has wrong.
const WRONG_CHARS_MAX: usize = 200;

/// What is kept of a request on the deploy that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The name that the sender gave it: the same again is the same deploy.
    pub id: String,
    /// SHA-256 of its body, in hex: the same name with another body is another request, and refused.
    pub body: String,
    /// Who set the pipeline off, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Whom of the team that is: they asked for it as well, and do not approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// What was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Where the run can be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A request that was taken, and the deploy that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The request's name for itself.
    pub id: String,
    /// SHA-256 of its body, in hex.
    pub body: String,
    /// What came of it.
    pub deploy: DeployId,
}

/// What a pipeline asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What is kept of the request.
    pub request: Request,
    /// Of which service.
    pub service: String,
    /// Which image: a pipeline always says.
    pub image: String,
    /// Only this stage; staging and then production when none.
    pub stage: Option<Stage>,
    /// In which order machines are changed.
    pub strategy: Strategy,
    /// What it is for.
    pub why: Option<Text>,
    /// What the file in the repository says, where it is to be held against what runs.
    pub fly_toml: Option<FlyToml>,
}

/// The body as it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Name or alias of the service.
    pub service: String,
    /// `v43`, a tag or a whole image.
    pub image: String,
    /// `staging` or `production`; staging and then production when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// `rolling`, `canary` or `immediate`; rolling when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who set the pipeline off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Where the run can be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the file in the repository says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fly_toml: Option<FlyToml>,
}

/// Whether a request may call itself this: what fits into a header, a log and an input's id as it stands.
pub fn is_request_id(id: &str) -> bool {
    let is_plain = |one: u8| one.is_ascii_alphanumeric() || b"._-".contains(&one);
    (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain)
}

impl Ask {
    /// Reads a body.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(id: &str, body: &[u8]) -> Result<Self, String> {
        let digest = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let body: Body = serde_json::from_slice(body).map_err(|error| {
            let wrong = short(&error.to_string(), WRONG_CHARS_MAX);
            format!("The body is not what is taken here: {wrong}. Send JSON with service and image, as docs/deploys.md has it.")
        })?;
        let service = needed(&body.service, "service", NAME_CHARS_MAX)?;
        let image = needed(&body.image, "image", NAME_CHARS_MAX)?;
        let stage = match optional(body.stage.as_deref(), "stage", WORD_CHARS_MAX)?.as_deref() {
            None => None,
            Some("staging") => Some(Stage::Staging),
            Some("production") => Some(Stage::Production),
            Some(other) => return Err(format!("“{other}” is no stage: staging or production.")),
        };
        let strategy = match optional(body.strategy.as_deref(), "strategy", WORD_CHARS_MAX)? {
            None => Strategy::default(),
            Some(named) => Strategy::named(&named)
                .ok_or_else(|| format!("“{named}” is no strategy: rolling, canary or immediate."))?,
        };
        let url = optional(body.url.as_deref(), "url", URL_CHARS_MAX)?;
        if url.as_deref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err("url is the web address of the run: https://….".to_owned());
        }
        let request = Request {
            id: id.to_owned(),
            body: digest,
            actor: optional(body.actor.as_deref(), "actor", WORD_CHARS_MAX)?,
            person: None,
            commit: optional(body.commit.as_deref(), "commit", WORD_CHARS_MAX)?,
            url,
        };
        let why = optional(body.why.as_deref(), "why", WHY_CHARS_MAX)?.map(Text::plain);
        Ok(Self { request, service, image, stage, strategy, why, fly_toml: body.fly_toml })
    }

    /// The name of the input that this is: the same request again is the same input, also after a crash.
    pub fn input(&self) -> InputId {
        /// Digits of the body's digest that tell two bodies apart.
        const DIGITS: usize = 16;
        let body = self.request.body.get(..DIGITS).unwrap_or(&self.request.body);
        InputId::new(format!("hook:deploy:{}:{body}", self.request.id))
    }
}

fn needed(given: &str, name: &str, chars_max: usize) -> Result<String, String> {
    optional(Some(given), name, chars_max)?.ok_or_else(|| format!("{name} is empty."))
}

/// A line, trimmed; none when nothing stands there.
fn optional(given: Option<&str>, name: &str, chars_max: usize) -> Result<Option<String>, String> {
    let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) else { return Ok(None) };
    if given.chars().count() > chars_max {
        return Err(format!("{name} is longer than {chars_max} characters."));
    }
    // A commit's message may have several lines; a card's row has room for them as one.
    Ok(Some(given.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        Ask::read("1", body.as_bytes()).expect_err(body)
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let body = r#"{"service": " shop ", "image": "shop:2", "stage": "staging", "strategy": "canary", "actor": "octocat",
            "why": "faster\nbaskets", "commit": "ab12", "url": "https://ci.example/7"}"#;
        let ask = Ask::read("run-7", body.as_bytes()).expect("it is well formed");
        assert_eq!((ask.service.as_str(), ask.image.as_str(), ask.stage), ("shop", "shop:2", Some(Stage::Staging)));
        assert_eq!((ask.strategy, ask.why.clone()), (Strategy::Canary, Some(Text::plain("faster baskets"))));
        assert_eq!(ask.request.actor.as_deref(), Some("octocat"));
        let again = Ask::read("run-7", body.as_bytes()).expect("it is well formed");
        assert_eq!(ask.input(), again.input(), "a resend is the same input");
        let other = Ask::read("run-7", body.replace("shop:2", "shop:3").as_bytes()).expect("it is well formed");
        assert_ne!(ask.input(), other.input());
    }

    #[test]
    fn what_is_no_request_is_refused_in_a_sentence() {
        let deep = format!(r#"{{"service": {}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (body, says) in [
            ("", "The body is not what is taken here"),
            ("[]", "The body is not what is taken here"),
            (deep.as_str(), "The body is not what is taken here"),
            (r#"{"service": 7, "image": "a"}"#, "expected a string"),
            (r#"{"service": "shop"}"#, "missing field `image`"),
            (r#"{"service": "shop", "image": "a", "force": true}"#, "unknown field `force`"),
            (r#"{"service": "shop", "image": " "}"#, "image is empty."),
            (r#"{"service": "shop", "image": "a", "stage": "test"}"#, "“test” is no stage"),
            (r#"{"service": "shop", "image": "a", "strategy": "bluegreen"}"#, "“bluegreen” is no strategy"),
            (r#"{"service": "shop", "image": "a", "url": "javascript:x"}"#, "url is the web address"),
        ] {
            let said = refused(body);
            assert!(said.contains(says), "{said}");
            assert!(said.chars().count() < 400, "{said}");
        }
        let long = format!(r#"{{"service": "shop", "image": "a", "why": "{}"}}"#, "x".repeat(501));
        assert_eq!(refused(&long), "why is longer than 500 characters.");
    }

    #[test]
    fn a_request_is_called_by_what_fits_everywhere() {
        assert!(is_request_id("run-7.attempt_2"));
        for wrong in ["", "a b", "a:b", "é", &"x".repeat(81)] {
            assert!(!is_request_id(wrong), "{wrong}");
        }
    }
}
