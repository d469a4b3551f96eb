//! `watchbell init`: asks what a team is and writes a commented watchbell.toml.
//!
//! Owns the questions and the file's words. Never overwrites a file, never asks for a secret: it prints the commands that
//! make one and the variable each goes into. What it writes is read back before it is written.

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::path::Path;

use crate::adapters::config::{
    CONTROL_TOKEN, Config, DISCORD_TOKEN, FLY_READ_TOKEN, fly_deploy_command, fly_readonly_command,
};

/// Times that one question is asked again before giving up.
const ASKED_MAX: usize = 5;
/// Services that are asked for; more can be written by hand.
const SERVICES_MAX: usize = 20;
/// What stands for an id that is not known yet; `doctor` names it.
const PLACEHOLDER: &str = "000000000000000000";

/// A service, as answered.
struct Service {
    name: String,
    production: String,
    staging: Option<String>,
    path: String,
}

/// Everything that was answered.
struct Answers {
    team: String,
    zone: String,
    guild: String,
    incidents: String,
    test: String,
    announce: Option<String>,
    person: String,
    person_id: String,
    ntfy: Option<String>,
    org: String,
    services: Vec<Service>,
}

/// Asks on `output`, reads from `input`, writes `path`.
///
/// # Errors
/// `AlreadyExists` when the file is there; `UnexpectedEof` when the answers end; a sentence when an answer cannot be used.
pub fn init(path: &Path, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    if path.exists() {
        return Err(already_there(path));
    }
    let mut ask = Asker { input, output };
    ask.say("This asks a few questions and writes a commented file. Enter takes what stands in [brackets].\n")?;
    let answers = answers(&mut ask)?;
    let text = text(&answers);
    // A file that the program would refuse is not written.
    Config::from_text(path, &text, |_| None).map_err(|refused| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}; nothing was written", refused.0))
    })?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => error,
    })?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    ask.say(&what_next(path, &answers))
}

fn already_there(path: &Path) -> io::Error {
    let says = format!("{} is there already and is left as it is; name another file", path.display());
    io::Error::new(io::ErrorKind::AlreadyExists, says)
}

struct Asker<'a, R, W> {
    input: &'a mut R,
    output: &'a mut W,
}

impl<R: BufRead, W: Write> Asker<'_, R, W> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{text}")?;
        self.output.flush()
    }

    /// Asks until the answer will do. An empty answer is `default`.
    fn ask(&mut self, question: &str, default: &str, check: impl Fn(&str) -> Result<(), String>) -> io::Result<String> {
        for _ in 0..ASKED_MAX {
            if default.is_empty() {
                write!(self.output, "{question}: ")?;
            } else {
                write!(self.output, "{question} [{default}]: ")?;
            }
            self.output.flush()?;
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the answers ended before the questions; nothing was written",
                ));
            }
            let answer = if line.trim().is_empty() { default } else { line.trim() };
            match check(answer) {
                Ok(()) => return Ok(answer.to_owned()),
                Err(why) => self.say(&format!("  {why}"))?,
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("no usable answer to “{question}”; nothing was written"),
        ))
    }
}

fn answers<R: BufRead, W: Write>(ask: &mut Asker<'_, R, W>) -> io::Result<Answers> {
    let given = |text: &str| if text.is_empty() { Err("this one is needed".to_owned()) } else { Ok(()) };
    let any = |_: &str| Ok(());
    let id = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (15..=20).contains(&text.len());
        if digits { Ok(()) } else { Err("an id has 17 to 20 digits; Enter leaves it for later".to_owned()) }
    };
    let zone = |text: &str| {
        let known = text.parse::<chrono_tz::Tz>().is_ok();
        if known {
            Ok(())
        } else {
            Err(format!("“{text}” is not in the tz database; write America/Chicago or Europe/Berlin"))
        }
    };
    let optional = |text: String| Some(text).filter(|text| !text.is_empty() && text != "none");

    let team = ask.ask("Team name", "", given)?;
    let zone = ask.ask("Time zone", "America/Chicago", zone)?;
    ask.say("\nDiscord. Ids: Settings, Advanced, Developer Mode on; then right-click and Copy ID.")?;
    let guild = ask.ask("Server id", PLACEHOLDER, id)?;
    let incidents = ask.ask("Channel for incidents", "incidents", given)?;
    let test =
        ask.ask("Test channel, the only one used until somebody says /watchbell live", "watchbell-test", given)?;
    let announce = optional(ask.ask("Channel for everybody else", "none", any)?);
    ask.say("\nYou. A mention wakes no sleeping phone; an ntfy topic does (install the app, subscribe to a long random topic).")?;
    let person = ask.ask("Your name", "", given)?;
    let person_id = ask.ask("Your user id", PLACEHOLDER, id)?;
    let ntfy = optional(ask.ask("Your ntfy topic's address (https://ntfy.sh/…)", "none", |text| {
        let fits = text == "none" || text.starts_with("https://");
        if fits { Ok(()) } else { Err("write the whole address: https://ntfy.sh/some-long-random-topic".to_owned()) }
    })?);
    ask.say("\nFly.io.")?;
    let org = ask.ask("Organisation (fly orgs list)", "personal", given)?;
    let mut services = Vec::new();
    while services.len() < SERVICES_MAX {
        let name = ask.ask("Service name; Enter when there is no more", "", any)?;
        if name.is_empty() {
            break;
        }
        let production = ask.ask("  Fly app of production", &name, given)?;
        let staging = optional(ask.ask("  Fly app of staging", "none", any)?);
        let path = ask.ask("  Path that answers when it is healthy", "/health", |text| {
            if text.starts_with('/') { Ok(()) } else { Err("a path begins with /".to_owned()) }
        })?;
        services.push(Service { name, production, staging, path });
    }
    Ok(Answers { team, zone, guild, incidents, test, announce, person, person_id, ntfy, org, services })
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn text(answers: &Answers) -> String {
    let announce = match &answers.announce {
        Some(channel) => format!("announce = {}", quoted(channel)),
        None => "# announce = \"status\"            # notices for everybody else".to_owned(),
    };
    let ntfy = match &answers.ntfy {
        Some(url) => format!("    {{ via = \"ntfy\", url = {} }},\n", quoted(url)),
        None => "    # { via = \"ntfy\", url = \"https://ntfy.sh/some-long-random-topic\" },\n".to_owned(),
    };
    let mut text = format!(
        "# Written by `watchbell init`. `watchbell doctor` names everything that is still missing or wrong.\n\
         # No secret stands in here: {DISCORD_TOKEN} and {FLY_READ_TOKEN} come from the environment.\n\n\
         [team]\nname = {team}\nzone = {zone}\n\n\
         [discord]\nguild = {guild}\n\n\
         [channels]                        # by name or id\nincidents = {incidents}\n{announce}\n\
         test = {test}                     # the only one used until somebody says /watchbell live\n\n\
         [roles]                           # policy's name = the role's name or id on Discord\n\
         reliability = \"Reliability\"\nengineer = \"Engineer\"\nmanager = \"Manager\"\nresponder = \"Responder\"\n\n\
         [[people]]\nname = {person}\nchat = {chat}\nroles = [\"reliability\"]          # escalation finds people by them\n\
         wake = [                          # in this order; a direct message alone wakes nobody\n    {{ via = \"direct\" }},\n{ntfy}]\n\n\
         [fly]\norg = {org}\n",
        team = quoted(&answers.team),
        zone = quoted(&answers.zone),
        guild = quoted(&answers.guild),
        incidents = quoted(&answers.incidents),
        test = quoted(&answers.test),
        person = quoted(&answers.person),
        chat = quoted(&format!("discord:{}", answers.person_id)),
        org = quoted(&answers.org),
    );
    for service in &answers.services {
        text.push_str(&format!(
            "\n[[services]]\nname = {}\naliases = []\nowner = \"reliability\"\n",
            quoted(&service.name)
        ));
        text.push_str(&stage("production", &service.production, &service.path));
        if let Some(app) = &service.staging {
            text.push_str(&stage("staging", app, &service.path));
        }
    }
    text.push_str(
        "\n[http]\nprivate_bind = \"127.0.0.1:9400\"   # pages, metrics, the command line; never put it on the internet\n\n\
         [state]\ndir = \"data/state\"                # on Fly: /data/state on the volume\n\n\
         [dead_man]                        # called each minute while all is well\n# url = \"https://hc-ping.com/your-check\"\n\n\
         [policy]                          # without a file, the shipped policy holds\n# file = \"policy.toml\"\n",
    );
    text
}

fn stage(stage: &str, app: &str, path: &str) -> String {
    format!(
        "\n[services.{stage}]\nfly_app = {}\n\n[[services.{stage}.probes]]\nname = \"health\"\nurl = {}\nevery = \"30s\"\n\
         when = \"when_awake\"               # a sleeping machine is healthy; asking would wake it\n\
         warn_above = \"500ms\"\ncritical_above = \"1000ms\"\n\
         # expect_json = {{ pointer = \"/status\", equals = \"ok\" }}\n",
        quoted(app),
        quoted(&format!("https://{app}.fly.dev{path}")),
    )
}

fn what_next(path: &Path, answers: &Answers) -> String {
    let mut next = format!(
        "\n{} is written. Now the secrets, each into the environment of the bot:\n\n  \
         {DISCORD_TOKEN}\n    discord.com/developers, your application, Bot, Reset Token\n  \
         {FLY_READ_TOKEN}\n    {}\n",
        path.display(),
        fly_readonly_command(&answers.org)
    );
    next.push_str(&format!(
        "\n{CONTROL_TOKEN} needs none of you: any long random text in it lets your own tools ask /control/state on \
         [http] private_bind.\n"
    ));
    if !answers.services.is_empty() {
        next.push_str("\nLater, to deploy and roll back from chat (looking and incidents need none of these):\n\n");
    }
    for service in &answers.services {
        for app in std::iter::once(&service.production).chain(&service.staging) {
            let (command, variable) = fly_deploy_command(app);
            next.push_str(&format!("  {variable}\n    {command}\n"));
        }
    }
    next.push_str(&format!("\nThen: watchbell doctor --config {}", path.display()));
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(path: &Path, answers: &str) -> (io::Result<()>, String) {
        let mut output = Vec::new();
        let end = init(path, &mut answers.as_bytes(), &mut output);
        (end, String::from_utf8_lossy(&output).into_owned())
    }

    fn read(path: &Path) -> Config {
        Config::load(path, |_| None).unwrap_or_else(|refused| panic!("{refused}"))
    }

    #[test]
    fn a_team_answers_and_gets_a_file_that_holds() {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = dir.path().join("watchbell.toml");
        let answers = "Zoë's \"team\"\nMoon/Base\nEurope/Berlin\n812345678901234567\n\n\nstatus\nzoë\n12\n812345678901234568\n\
                       https://ntfy.sh/long\nacme\napi\n\napi-staging\nhealthz\n/healthz\n\n";
        let (end, said) = run(&path, answers);
        assert!(end.is_ok(), "{end:?}");
        assert!(
            said.contains("“Moon/Base” is not in the tz database") && said.contains("a path begins with /"),
            "{said}"
        );
        for line in [
            "fly tokens create readonly acme --name watchbell-read --expiry 8760h",
            "FLY_DEPLOY_TOKEN_API_STAGING\n    fly tokens create deploy --app api-staging --name watchbell-deploy --expiry 8760h",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
        let config = read(&path);
        assert_eq!(config.workspace.team.name, "Zoë's \"team\"");
        let stages: Vec<_> = config.workspace.services.iter().flat_map(|service| service.stages()).collect();
        assert_eq!(stages.len(), 2);
        assert_eq!(stages[1].1.probes[0].url, "https://api-staging.fly.dev/healthz");
        assert_eq!(config.workspace.people[0].wake.len(), 2);
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = dir.path().join("watchbell.toml");
        std::fs::write(&path, "mine").unwrap_or_else(|error| panic!("{error}"));
        let (end, said) = run(&path, "");
        assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!((said.as_str(), std::fs::read_to_string(&path).unwrap_or_default().as_str()), ("", "mine"));
    }

    #[test]
    fn answers_that_end_early_write_nothing() {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = dir.path().join("watchbell.toml");
        let (end, _) = run(&path, "acme\n\n");
        assert!(end.is_err_and(|error| error.to_string().contains("nothing was written")));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_known_yet_is_left_for_the_doctor() {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = dir.path().join("watchbell.toml");
        let (end, _) = run(&path, "acme\n\n\n\n\n\nana\n\n\n\n\n");
        assert!(end.is_ok(), "{end:?}");
        assert!(crate::adapters::config::is_placeholder(&read(&path).discord.guild));
    }
}
