//! The routes of Discord's REST API that a bot needs: method, path, and what the rate limit counts them by.
//!
//! A route is built by name and takes snowflakes as numbers, so that no text from outside ever becomes part of a path; an
//! interaction token is percent-encoded. Paths follow Discord's OpenAPI document, version 10. Never sends anything.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};

/// What a limit is counted by besides the route: Discord's "major parameter" (topics/rate-limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Major {
    /// The route has none.
    None,
    /// A channel or a thread, which is a channel too.
    Channel(u64),
    /// A guild.
    Guild(u64),
    /// An interaction, by a digest of its token: the token itself is a credential and is kept out of tables.
    Interaction(u64),
}

/// One route with its parameters filled in.
#[derive(Clone)]
pub struct Route {
    method: Method,
    template: &'static str,
    path: String,
    major: Major,
    repeatable: bool,
    fallback: Option<Box<Route>>,
    token: Option<SecretString>,
}

impl Route {
    fn new(method: Method, template: &'static str, major: Major, path: String) -> Self {
        let repeatable = method != Method::POST;
        Self { method, template, path, major, repeatable, fallback: None, token: None }
    }

    fn channel(method: Method, template: &'static str, channel: u64, rest: fmt::Arguments<'_>) -> Self {
        Self::new(method, template, Major::Channel(channel), format!("/channels/{channel}{rest}"))
    }

    fn guild(template: &'static str, guild: u64, rest: fmt::Arguments<'_>) -> Self {
        Self::new(Method::GET, template, Major::Guild(guild), format!("/guilds/{guild}{rest}"))
    }

    fn webhook(method: Method, template: &'static str, app: u64, token: &SecretString, rest: &str) -> Self {
        let path = format!("/webhooks/{app}/{}{rest}", encode(token.expose_secret()));
        Self::new(method, template, interaction(token), path).with_token(token)
    }

    fn with_token(mut self, token: &SecretString) -> Self {
        self.token = Some(token.clone());
        self
    }

    /// Posts a message.
    pub fn create_message(channel: u64) -> Self {
        Self::channel(Method::POST, "/channels/{c}/messages", channel, format_args!("/messages"))
    }

    /// Changes a message of the bot's own.
    pub fn edit_message(channel: u64, message: u64) -> Self {
        Self::channel(Method::PATCH, "/channels/{c}/messages/{m}", channel, format_args!("/messages/{message}"))
    }

    /// Deletes a message.
    pub fn delete_message(channel: u64, message: u64) -> Self {
        Self::channel(Method::DELETE, "/channels/{c}/messages/{m}", channel, format_args!("/messages/{message}"))
    }

    /// Reads one message.
    pub fn get_message(channel: u64, message: u64) -> Self {
        Self::channel(Method::GET, "/channels/{c}/messages/{m}", channel, format_args!("/messages/{message}"))
    }

    /// Reads a channel back; `limit`, `before`, `after` and `around` go into the query.
    pub fn list_messages(channel: u64) -> Self {
        Self::channel(Method::GET, "/channels/{c}/messages", channel, format_args!("/messages"))
    }

    /// Starts a thread from a message. The thread's id is the message's id.
    pub fn start_thread(channel: u64, message: u64) -> Self {
        let rest = format_args!("/messages/{message}/threads");
        Self::channel(Method::POST, "/channels/{c}/messages/{m}/threads", channel, rest)
    }

    /// Changes a channel or thread: name, archived, locked. Discord limits renames far below what its headers tell; a 429 for
    /// one holds back every change to that channel.
    pub fn modify_channel(channel: u64) -> Self {
        Self::channel(Method::PATCH, "/channels/{c}", channel, format_args!(""))
    }

    /// Reads a channel or thread.
    pub fn get_channel(channel: u64) -> Self {
        Self::channel(Method::GET, "/channels/{c}", channel, format_args!(""))
    }

    /// Pins a message; a server without the newer route is asked on the older one.
    pub fn pin(channel: u64, message: u64) -> Self {
        Self::pins(Method::PUT, channel, message)
    }

    /// Takes a pin away; a server without the newer route is asked on the older one.
    pub fn unpin(channel: u64, message: u64) -> Self {
        Self::pins(Method::DELETE, channel, message)
    }

    fn pins(method: Method, channel: u64, message: u64) -> Self {
        let older = Self::channel(method.clone(), "/channels/{c}/pins/{m}", channel, format_args!("/pins/{message}"));
        let rest = format_args!("/messages/pins/{message}");
        let newer = Self::channel(method, "/channels/{c}/messages/pins/{m}", channel, rest);
        Self { fallback: Some(Box::new(older)), ..newer }
    }

    /// Opens the direct-message channel with a person. Discord answers with the one that exists, so it may be repeated.
    pub fn create_dm() -> Self {
        let route = Self::new(Method::POST, "/users/@me/channels", Major::None, "/users/@me/channels".to_owned());
        Self { repeatable: true, ..route }
    }

    /// Replaces all commands of a guild.
    pub fn set_guild_commands(application: u64, guild: u64) -> Self {
        let path = format!("/applications/{application}/guilds/{guild}/commands");
        Self::new(Method::PUT, "/applications/{a}/guilds/{g}/commands", Major::Guild(guild), path)
    }

    /// The first answer to an interaction; due within 3 s of the press.
    pub fn interaction_callback(interaction_id: u64, token: &SecretString) -> Self {
        let path = format!("/interactions/{interaction_id}/{}/callback", encode(token.expose_secret()));
        Self::new(Method::POST, "/interactions/{i}/{t}/callback", interaction(token), path).with_token(token)
    }

    /// Changes the first answer; for 15 minutes after the press.
    pub fn edit_original(application: u64, token: &SecretString) -> Self {
        let template = "/webhooks/{a}/{t}/messages/@original";
        Self::webhook(Method::PATCH, template, application, token, "/messages/@original")
    }

    /// Reads the first answer.
    pub fn get_original(application: u64, token: &SecretString) -> Self {
        let template = "/webhooks/{a}/{t}/messages/@original";
        Self::webhook(Method::GET, template, application, token, "/messages/@original")
    }

    /// Deletes the first answer.
    pub fn delete_original(application: u64, token: &SecretString) -> Self {
        let template = "/webhooks/{a}/{t}/messages/@original";
        Self::webhook(Method::DELETE, template, application, token, "/messages/@original")
    }

    /// A further answer to an interaction.
    pub fn followup(application: u64, token: &SecretString) -> Self {
        Self::webhook(Method::POST, "/webhooks/{a}/{t}", application, token, "")
    }

    /// Where the gateway is. Ask it before the gateway client does: that one falls back to the real Discord.
    pub fn get_gateway() -> Self {
        Self::new(Method::GET, "/gateway", Major::None, "/gateway".to_owned())
    }

    /// Who the bot is: also the check that the token is good.
    pub fn get_current_user() -> Self {
        Self::new(Method::GET, "/users/@me", Major::None, "/users/@me".to_owned())
    }

    /// The bot's application.
    pub fn get_current_application() -> Self {
        Self::new(Method::GET, "/applications/@me", Major::None, "/applications/@me".to_owned())
    }

    /// Reads a guild.
    pub fn get_guild(guild: u64) -> Self {
        Self::guild("/guilds/{g}", guild, format_args!(""))
    }

    /// Lists a guild's channels, without threads.
    pub fn get_guild_channels(guild: u64) -> Self {
        Self::guild("/guilds/{g}/channels", guild, format_args!("/channels"))
    }

    /// Lists a guild's roles.
    pub fn get_guild_roles(guild: u64) -> Self {
        Self::guild("/guilds/{g}/roles", guild, format_args!("/roles"))
    }

    /// Reads one member of a guild.
    pub fn get_guild_member(guild: u64, user: u64) -> Self {
        Self::guild("/guilds/{g}/members/{u}", guild, format_args!("/members/{user}"))
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path below the API's base address. Holds the interaction token where the route has one: not for logs.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The route without its parameters, as logs and metrics name it.
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// What its limit is counted by besides the route.
    pub fn major(&self) -> Major {
        self.major
    }

    /// Whether doing it twice is the same as doing it once, so that the lane itself may try again when in doubt.
    pub fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// Whether it answers an interaction: such a route is authorised by its own token and is outside the global limit.
    pub fn answers_interaction(&self) -> bool {
        matches!(self.major, Major::Interaction(_))
    }

    pub(super) fn fallback(&self) -> Option<&Route> {
        self.fallback.as_deref()
    }

    pub(super) fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    pub(super) fn key(&self) -> RouteKey {
        RouteKey { method: self.method.clone(), template: self.template }
    }
}

/// Shows the template, never the path: that can hold an interaction token.
impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.template, self.major)
    }
}

/// A route without its parameters: the same template with another method is another route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RouteKey {
    method: Method,
    template: &'static str,
}

fn interaction(token: &SecretString) -> Major {
    let mut hasher = DefaultHasher::new();
    token.expose_secret().hash(&mut hasher);
    Major::Interaction(hasher.finish())
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_an_interaction_is_encoded_and_never_shown() {
        let token = SecretString::from("aW50/../evil?x");
        let route = Route::edit_original(7, &token);
        assert_eq!(route.path(), "/webhooks/7/aW50%2F..%2Fevil%3Fx/messages/@original");
        assert!(!format!("{route:?}").contains("aW50"));
        assert!(route.answers_interaction());
    }

    #[test]
    fn only_what_may_be_done_twice_is_repeatable() {
        assert!(!Route::create_message(1).is_repeatable());
        assert!(!Route::start_thread(1, 2).is_repeatable());
        assert!(!Route::followup(1, &SecretString::from("t")).is_repeatable());
        assert!(Route::create_dm().is_repeatable());
        assert!(Route::pin(1, 2).is_repeatable());
    }

    #[test]
    fn pins_know_both_their_routes() {
        let route = Route::pin(1, 2);
        assert_eq!(route.path(), "/channels/1/messages/pins/2");
        assert_eq!(route.fallback().map(Route::path), Some("/channels/1/pins/2"));
    }
}
