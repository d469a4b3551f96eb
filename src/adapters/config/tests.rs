//! What a set-up may say, and the sentence for what it may not.

use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

const SMALL: &str = r#"
[team]
name = "small"
zone = "Europe/Berlin"
[channels]
incidents = "incidents"
test = "test"
[discord]
guild = "812345678901234567"
"#;

fn nothing(_: &str) -> Option<String> {
    None
}

fn read(text: &str) -> Result<Config, Refused> {
    Config::from_text(Path::new("watchbell.toml"), text, nothing)
}

fn refusal(text: &str) -> String {
    read(text).map_or_else(|refused| refused.0, |_| "taken".to_owned())
}

#[test]
fn ids_still_to_be_filled_in_are_known_by_their_zeros() {
    assert!(is_placeholder("000000000000000000") && is_placeholder("discord:000000000000000002") && is_placeholder(""));
    assert!(!is_placeholder("812345678901234567"));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_one_that_was_meant() {
    assert_eq!(
        refusal(&SMALL.replace("incidents = ", "incident = ")),
        "watchbell.toml line 6: “incident” is not a key in [channels]; did you mean “incidents”?"
    );
    assert_eq!(
        refusal(&format!("{SMALL}[htpp]\nprivate_bind = \"127.0.0.1:1\"\n")),
        "watchbell.toml line 10: “htpp” is not a key; did you mean “http”?"
    );
    let probe = "[[services]]\nname = \"a\"\n[services.production]\nfly_ap = \"a\"\n";
    assert!(
        refusal(&format!("{SMALL}{probe}"))
            .contains("“fly_ap” is not a key in [services.production]; did you mean “fly_app”?")
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let lines = [
        ("fly_token = \"FlyV1 fm2_lJPECAAAAAAA\"", "FLY_READ_TOKEN"),
        ("x = \"MTE5ODYyMjQ4MzQ3MTkyNTI0OA.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs\"", "DISCORD_TOKEN"),
        ("token = \"hunter2\"", "a variable"),
        ("headers = { Authorization = \"Bearer hunter2\" }", "a variable"),
    ];
    for (line, where_to) in lines {
        let says = refusal(&format!("{SMALL}{line}\n"));
        assert!(says.starts_with("watchbell.toml line 10: this looks like a secret"), "{line}: {says}");
        assert!(says.contains(where_to) && !says.contains("hunter2") && !says.contains("fm2_"), "{says}");
    }
}

#[test]
fn releases_are_looked_at_no_oftener_than_fly_would_bear() {
    let nats = |url: &str| {
        let read = read(&format!("{SMALL}[fly]\nlogs_nats_url = \"{url}\"\n"));
        read.map(|config| config.fly.logs_nats_url).map_or_else(|refused| refused.0, Option::unwrap_or_default)
    };
    for taken in
        ["nats://[fdaa::3]:4223", "nats://127.0.0.1:4222", "nats://nats.internal:4222", "tls://nats.example:4222"]
    {
        assert_eq!(nats(taken), taken);
    }
    for (refused, says) in [
        ("nats://nats.example:4222", "plain NATS only within a private network; write tls://nats.example"),
        ("nats://8.8.8.8:4222", "plain NATS only"),
        ("nats://org:secret@127.0.0.1:4222", "holds a user name or password"),
        ("https://nats.example", "is no address of NATS"),
    ] {
        assert!(nats(refused).contains(says), "{refused}: {}", nats(refused));
        assert!(!nats(refused).contains("secret"));
    }
    let every = |text: &str| read(&format!("{SMALL}[fly]\n{text}\n")).map(|config| config.fly.releases_every);
    assert_eq!(every(""), Ok(Span::seconds(60)));
    assert_eq!(every("releases_every = \"5m\""), Ok(Span::minutes(5)));
    let refused = every("releases_every = \"1s\"").map_or_else(|refused| refused.0, |_| "taken".to_owned());
    assert_eq!(refused, "watchbell.toml: [fly] releases_every is at least 10s; 60s is usual");
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    for taken in ["http://127.0.0.1:4010", "http://localhost:4010/v1", "http://[::1]:4010", "https://fly.example"] {
        let config =
            read(&format!("{SMALL}[fly]\nmachines_url = \"{taken}\"\n")).unwrap_or_else(|refused| panic!("{refused}"));
        assert!(!config.fly.machines_url.ends_with("/v1"));
    }
    assert_eq!(
        refusal(&format!("{SMALL}[fly]\nmachines_url = \"http://fly.example/v1\"\n")),
        "watchbell.toml [fly] machines_url: plain http only to this machine; write https://fly.example"
    );
    assert!(
        refusal(&format!("{SMALL}[dead_man]\nurl = \"http://127.0.0.1.evil.example/x\"\n")).contains("plain http only")
    );
    let service = |url: &str| {
        format!("{SMALL}[[services]]\nname = \"a\"\n[[services.production.probes]]\nname = \"h\"\nurl = \"{url}\"\n")
    };
    assert_eq!(refusal(&service("http://a.internal:8080/health")), "taken", "inside Fly's private network");
    assert!(refusal(&service("http://a.example/health")).contains("plain http only"));
    assert!(refusal(&service("https://u:p@a.example/health")).contains("user name or password"));
}

#[test]
fn secrets_come_from_the_environment_and_are_never_shown() {
    let env = |name: &str| match name {
        "DISCORD_TOKEN" => Some(" canary-discord \n".to_owned()),
        "FLY_READ_TOKEN" => Some(String::new()),
        "MCP_KEY" => Some("canary-key".to_owned()),
        _ => None,
    };
    let service = "[[services]]\nname = \"a\"\n[[services.production.probes]]\nname = \"h\"\nurl = \"https://a.example\"\n\
                   headers = { Authorization = \"env:MCP_KEY\", X-Trace = \"env:TRACE\" }\n";
    let config =
        Config::from_text(Path::new("w.toml"), &format!("{SMALL}{service}"), env).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(config.discord_token().map(|token| token.expose_secret().to_owned()), Ok("canary-discord".to_owned()));
    assert!(config.fly_token().is_err_and(|refused| refused.0.contains("fly tokens create readonly personal")));
    assert_eq!(config.missing.get("TRACE").map(String::as_str), Some("probe “h” of a production"));
    assert!(!format!("{config:?}").contains("canary"), "Debug shows no secret");
}

#[test]
fn what_does_not_hold_together_is_refused_in_words() {
    let twice = "[[services]]\nname = \"a\"\n[services.production]\n[[services]]\nname = \"b\"\naliases = [\"A\"]\n[services.production]\n";
    assert_eq!(refusal(&format!("{SMALL}{twice}")), "watchbell.toml: “A” names two services, or none");
    let probe = |more: &str| {
        format!(
            "{SMALL}[[services]]\nname = \"a\"\n[[services.production.probes]]\nname = \"h\"\nurl = \"https://a.example\"\n{more}\n"
        )
    };
    let wrong = [
        ("method = \"get\"", "an HTTP verb in capitals"),
        ("timeout = \"5m\"", "timeout lies between"),
        ("warn_above = \"1s\"\ncritical_above = \"500ms\"", "must lie above"),
        ("expect_json = { pointer = \"status\", equals = 1 }", "JSON pointer: /status"),
        ("expect_status = 999", "expect_status"),
        ("headers = { \"a b\" = \"x\" }", "not a header"),
    ];
    for (line, says) in wrong {
        assert!(refusal(&probe(line)).contains(says), "{line}: {}", refusal(&probe(line)));
    }
    assert!(refusal("[team").starts_with("watchbell.toml line 1: "));
    assert!(refusal(&SMALL.replace("Europe/Berlin", "Europe/Bielefeld")).starts_with("watchbell.toml line 4: "));
}

#[test]
fn a_demo_may_set_its_clock() {
    for origin in ["2026-11-24T03:00:00Z", "\"2026-11-24T03:00:00Z\""] {
        let config = read(&format!("{SMALL}[clock]\nvirtual = true\norigin = {origin}\nspeed = 60.0\n"));
        let settings = config.unwrap_or_else(|refused| panic!("{refused}")).virtual_clock;
        assert_eq!(
            settings.map(|one| (one.origin.map(|at| at.timestamp()), one.speed)),
            Some((Some(1_795_489_200), 60.0))
        );
    }
}

#[test]
fn the_hash_follows_both_texts() {
    assert_eq!(hash("a", "b").len(), 64);
    assert_ne!(hash("a", "b"), hash("ab", ""));
    assert_eq!(read(SMALL).map(|config| config.hash), Ok(hash(crate::domain::policy::SHIPPED, SMALL)));
}

#[test]
fn each_app_has_its_own_token_to_act_with() {
    let services = "[[services]]\nname = \"a\"\n[services.production]\nfly_app = \"shop-api\"\n[services.staging]\nfly_app = \"shop-api-staging\"\n";
    let config = read(&format!("{SMALL}{services}")).unwrap_or_else(|refused| panic!("{refused}"));
    let env = |name: &str| match name {
        "FLY_DEPLOY_TOKEN_SHOP_API" => Some(" fm2_a\n".to_owned()),
        "FLY_DEPLOY_TOKEN_SHOP_API_STAGING" => Some("  ".to_owned()),
        _ => None,
    };
    let tokens = deploy_tokens(&config.workspace, env);
    let tokens: Vec<_> = tokens.iter().map(|(app, token)| (app.as_str(), token.expose_secret())).collect();
    assert_eq!(tokens, [("shop-api", "fm2_a")]);
}

#[test]
fn a_pipeline_names_what_is_there_and_signs_with_what_cannot_be_guessed() {
    let team = "[[people]]\nname = \"ana\"\nchat = \"discord:812345678901234568\"\n[[services]]\nname = \"shop\"\nproduction = {}\n";
    let with = |more: &str| refusal(&format!("{SMALL}{team}[pipeline]\nname = \"github\"\n{more}\n"));
    assert_eq!(with("services = [\"shop\"]\nactors = { octocat = \"ana\" }"), "taken");
    assert!(with("services = [\"basket\"]").contains("[pipeline] services names basket"));
    assert!(with("actors = { octocat = \"bob\" }").contains("[pipeline.actors] names bob"));
    assert!(refusal(&format!("{SMALL}[pipeline]\nname = \" \"\n")).contains("[pipeline] name"));

    let secrets = |old: Option<&str>, next: Option<&str>| {
        let (old, next) = (old.map(str::to_owned), next.map(str::to_owned));
        let env = move |name: &str| match name {
            DEPLOY_SECRET => old.clone(),
            DEPLOY_SECRET_NEXT => next.clone(),
            _ => None,
        };
        Config::from_text(Path::new("watchbell.toml"), SMALL, env)
    };
    let both = secrets(Some("the old one of sixteen"), Some("the new one of sixteen")).expect("both are long enough");
    assert_eq!(both.http.deploy_secrets.len(), 2);
    assert!(!format!("{both:?}").contains("one of sixteen"), "and neither is shown");
    let short = secrets(Some("hunter2"), None).map_or_else(|refused| refused.0, |_| "taken".to_owned());
    assert!(short.contains("WATCHBELL_HOOK_DEPLOY_SECRET is shorter than 16") && !short.contains("hunter2"), "{short}");
}

#[test]
fn a_source_of_figures_has_a_name_of_its_own_and_sends_its_token_over_https() {
    let with = |more: &str| refusal(&format!("{SMALL}[[metrics]]\n{more}\n"));
    assert_eq!(with("name = \"own\"\nurl = \"https://prometheus.example\"\ntoken_env = \"PROM_TOKEN\""), "taken");
    assert_eq!(with("name = \"own\"\nurl = \"http://prometheus.internal:9090\""), "taken");
    for (more, says) in [
        ("name = \"Fly\"\nurl = \"https://p.example\"", "or it is Fly's own name"),
        ("name = \" \"\nurl = \"https://p.example\"", "[[metrics]] name"),
        ("name = \"own\"\nurl = \"http://p.example\"", "plain http only"),
        ("name = \"own\"\nurl = \"http://p.internal\"\ntoken_env = \"T\"", "over https only"),
        ("name = \"own\"\nurl = \"https://p.example\"\ntoken = \"hunter2\"", "looks like a secret"),
    ] {
        assert!(with(more).contains(says), "{more}: {}", with(more));
    }
    let config =
        read(&format!("{SMALL}[[metrics]]\nname = \"own\"\nurl = \"https://p.example\"\ntoken_env = \"PROM_TOKEN\"\n"));
    let missing = config.map(|config| config.missing).unwrap_or_default();
    assert_eq!(missing.get("PROM_TOKEN").map(String::as_str), Some("the metrics “own”"));
}

#[test]
fn a_hook_is_not_called_as_what_the_bot_says_itself() {
    for name in ["rules", "storm", "deploy"] {
        let hook = format!("{SMALL}[[hooks]]\nname = \"{name}\"\nformat = \"generic\"\n");
        assert!(refusal(&hook).contains("is taken"), "{name}: {}", refusal(&hook));
    }
}
