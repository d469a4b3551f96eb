//! Discord: whether the token is taken, the server seen, and what the bot may do in each of its channels.
//!
//! A handful of GETs over REST v10, one after the other; no gateway, no library's idea of what a permission is.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{ASK_MAX, Check, Findings, home, roles_named};
use crate::adapters::config::{Config, is_placeholder};

/// Discord's own address.
const DISCORD: &str = "https://discord.com";
/// The largest answer that is read, in bytes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Everything is allowed.
const ADMINISTRATOR: u64 = 1 << 3;
/// Seen, at all.
const VIEW_CHANNEL: u64 = 1 << 10;
/// What the bot needs where it speaks, by the name that Discord's settings show. Bits: Discord's documentation, permissions.
const NEEDED: [(u64, &str); 8] = [
    (VIEW_CHANNEL, "View Channel"),
    (1 << 11, "Send Messages"),
    (1 << 14, "Embed Links"),
    (1 << 15, "Attach Files"),
    (1 << 16, "Read Message History"),
    (1 << 35, "Create Public Threads"),
    (1 << 38, "Send Messages in Threads"),
    (1 << 34, "Manage Threads"),
];
/// Pinning has had a permission of its own since 2026-02-23.
const PIN_MESSAGES: (u64, &str) = (1 << 51, "Pin Messages");
/// Pings roles that not everybody may mention.
const MENTION_EVERYONE: u64 = 1 << 17;

struct Rest<'a> {
    http: reqwest::Client,
    base: &'a str,
    auth: HeaderValue,
}

impl Rest<'_> {
    async fn get(&self, path: &str) -> Result<Value, (Option<u16>, String)> {
        let url = format!("{}/api/v10{path}", self.base);
        let sent = self.http.get(url).header(AUTHORIZATION, self.auth.clone()).send().await;
        let mut response = sent.map_err(|error| {
            let why = if error.is_timeout() { "no answer in time" } else { "no connection" };
            (None, format!("Discord could not be asked: {why}"))
        })?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                return Err((Some(status), "Discord answered with more than is read".to_owned()));
            }
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let words: String = text(&answer, "message").chars().take(200).collect();
        Err((Some(status), format!("Discord answered {status} {words}").trim_end().to_owned()))
    }
}

pub(super) async fn examine(config: &Config) -> Vec<Check> {
    let mut found = Findings::about("Discord");
    let guild = config.discord.guild.as_str();
    // Before anything that needs a token: it can be seen without one.
    if is_placeholder(guild) {
        found.bad(format!(
            "[discord] guild is still the example's {guild}: developer mode on, right-click the server, Copy Server ID"
        ));
    }
    let placeholders = home::placeholder_people(config);
    if !placeholders.is_empty() {
        found.bad(format!(
            "still the example's id in [[people]]: {}: developer mode on, right-click the person, Copy User ID",
            placeholders.join(", ")
        ));
    }
    let token = match config.discord_token() {
        Ok(token) => token,
        Err(refused) => {
            found.bad(refused.0);
            return found.checks;
        }
    };
    let http = reqwest::Client::builder().timeout(ASK_MAX).redirect(reqwest::redirect::Policy::none()).build();
    let auth = HeaderValue::from_str(&format!("Bot {}", token.expose_secret()));
    let (Ok(http), Ok(mut auth)) = (http, auth) else {
        found.bad("DISCORD_TOKEN holds characters that no token has: copy it again");
        return found.checks;
    };
    auth.set_sensitive(true);
    let rest = Rest { http, base: config.discord.api_url.as_deref().unwrap_or(DISCORD), auth };

    let me = match rest.get("/users/@me").await {
        Ok(me) => me,
        Err((Some(401), _)) => {
            found.bad("the token is not taken: reset it in the developer portal under Bot, and put the new one into DISCORD_TOKEN");
            return found.checks;
        }
        Err((_, says)) => {
            found.bad(format!("{says}: look at the network, and at [discord] api_url when it is set"));
            return found.checks;
        }
    };
    found.ok(format!("the token is taken; the bot is {}. Such a token has no end", text(&me, "username")));
    if is_placeholder(guild) {
        return found.checks;
    }
    let server = match rest.get(&format!("/guilds/{guild}")).await {
        Ok(server) => server,
        Err((_, says)) => {
            found.bad(format!("the server {guild} is not seen ({says}): correct [discord] guild, or invite the bot"));
            return found.checks;
        }
    };
    found.ok(format!("the server is {}", text(&server, "name")));
    let mut list = async |what: &str, path: String| match rest.get(&path).await {
        Ok(list) => list,
        Err((_, says)) => {
            found.bad(format!("{what} cannot be read: {says}"));
            Value::Null
        }
    };
    let roles = list("the server's roles", format!("/guilds/{guild}/roles")).await;
    let channels = list("the server's channels", format!("/guilds/{guild}/channels")).await;
    let member = list("the bot's own membership", format!("/guilds/{guild}/members/{}", text(&me, "id"))).await;
    let standing = Standing::of(guild, &server, &me, &member, &roles);
    examine_channels(&mut found, config, &standing, &channels);
    examine_roles(&mut found, config, &standing, &roles);
    examine_people(&mut found, config, &rest, guild).await;
    found.checks
}

/// What the bot is on the server.
struct Standing {
    guild: String,
    me: String,
    roles: Vec<String>,
    base: u64,
    owner: bool,
}

impl Standing {
    fn of(guild: &str, server: &Value, me: &Value, member: &Value, roles: &Value) -> Self {
        let mut held: Vec<String> = list(member, "roles").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        // The role of everybody has the server's own id.
        held.push(guild.to_owned());
        let base = array(roles)
            .iter()
            .filter(|role| held.iter().any(|id| *id == text(role, "id")))
            .fold(0, |bits, role| bits | number(role, "permissions"));
        let me = text(me, "id");
        Self { guild: guild.to_owned(), owner: text(server, "owner_id") == me, me, roles: held, base }
    }

    /// What it may do in a channel: first what everybody is denied and allowed there, then its roles, then itself.
    fn in_channel(&self, channel: &Value) -> u64 {
        if self.owner || self.base & ADMINISTRATOR != 0 {
            return u64::MAX;
        }
        let overwrites = list(channel, "permission_overwrites");
        let of = |wanted: &dyn Fn(&str) -> bool| {
            overwrites
                .iter()
                .filter(|one| wanted(&text(one, "id")))
                .fold((0, 0), |(deny, allow), one| (deny | number(one, "deny"), allow | number(one, "allow")))
        };
        let steps = [
            of(&|id| id == self.guild),
            of(&|id| id != self.guild && self.roles.iter().any(|role| role == id)),
            of(&|id| id == self.me),
        ];
        let bits = steps.into_iter().fold(self.base, |bits, (deny, allow)| (bits & !deny) | allow);
        // Not seen is nothing allowed, whatever else is said.
        if bits & VIEW_CHANNEL == 0 { 0 } else { bits }
    }
}

fn examine_channels(found: &mut Findings, config: &Config, standing: &Standing, channels: &Value) {
    if channels.is_null() {
        return;
    }
    let named = &config.workspace.channels;
    let announce = named.announce.iter().map(|name| ("announce", name));
    for (key, name) in [("incidents", &named.incidents), ("test", &named.test)].into_iter().chain(announce) {
        let wanted = name.trim().trim_start_matches('#');
        let channel = array(channels)
            .iter()
            .find(|one| text(one, "id") == wanted || text(one, "name").eq_ignore_ascii_case(wanted));
        let Some(channel) = channel else {
            found.bad(format!(
                "[channels] {key}: there is no #{wanted}, or the bot does not see it: make it, or let the bot in"
            ));
            continue;
        };
        // Text and announcement channels; the bot can start no thread under a message anywhere else.
        if ![0, 5].contains(&number(channel, "type")) {
            found.bad(format!("[channels] {key}: #{wanted} is no text channel: name another"));
            continue;
        }
        let may = standing.in_channel(channel);
        let missing: Vec<&str> = NEEDED.iter().filter(|(bit, _)| may & bit == 0).map(|(_, name)| *name).collect();
        if !missing.is_empty() {
            found.bad(format!(
                "#{wanted}: the bot lacks {}: allow it in the channel's settings, Permissions",
                missing.join(", ")
            ));
        } else if may & PIN_MESSAGES.0 == 0 {
            found.warn(format!("#{wanted}: the bot lacks {}, so cards are not pinned: allow it there", PIN_MESSAGES.1));
        } else {
            found.ok(format!("#{wanted}: the bot may do all it needs"));
        }
    }
}

fn examine_roles(found: &mut Findings, config: &Config, standing: &Standing, roles: &Value) {
    if roles.is_null() {
        return;
    }
    let pings_all = standing.owner || standing.base & (ADMINISTRATOR | MENTION_EVERYONE) != 0;
    for role in roles_named(config) {
        let name = config.workspace.roles.get(&role).map_or(role.as_str(), String::as_str).trim_start_matches('@');
        let there =
            array(roles).iter().find(|one| text(one, "id") == name || text(one, "name").eq_ignore_ascii_case(name));
        let pinged = config.policy.escalation.iter().any(|level| level.roles.contains(&role));
        match there {
            None => {
                found.bad(format!("there is no role {name} ({role} in policy): make it, or name another under [roles]"))
            }
            Some(one) if pinged && !pings_all && one.get("mentionable").and_then(Value::as_bool) != Some(true) => {
                found.bad(format!(
                    "the bot cannot ping {name}: let anyone mention the role, or give the bot Mention Everyone"
                ));
            }
            Some(_) => found.ok(format!("the role {name} is there")),
        }
    }
}

async fn examine_people(found: &mut Findings, config: &Config, rest: &Rest<'_>, guild: &str) {
    for member in config.workspace.people.iter().filter(|member| !is_placeholder(member.chat.as_str())) {
        let id = member.chat.local();
        if !member.chat.as_str().starts_with("discord:") || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            found.bad(format!(
                "{}: “{}” is nobody on Discord: write discord: and the user's id",
                member.name, member.chat
            ));
            continue;
        }
        match rest.get(&format!("/guilds/{guild}/members/{id}")).await {
            Ok(_) => found.ok(format!("{} is on the server", member.name)),
            Err((Some(404), _)) => {
                found.bad(format!("{} ({id}) is not on the server: correct the id, or invite them", member.name))
            }
            Err((_, says)) => found.warn(format!("{} could not be looked up: {says}", member.name)),
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A number, or the digits of one as text: permissions have more bits than JSON's numbers hold.
fn number(value: &Value, key: &str) -> u64 {
    match value.get(key) {
        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
        Some(Value::String(digits)) => digits.parse().unwrap_or(0),
        _ => 0,
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).map_or(&[], array)
}
