//! Every set-up that is shipped can be read, and a policy of one's own takes the place of the shipped one.

use std::fs;
use std::path::{Path, PathBuf};

use watchbell::adapters::config::{Config, is_placeholder};

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/workspaces");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // The demo's file has places that are filled in when its stand-ins are up.
    let is_template = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("{{"));
    files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "toml") && !is_template(path)).collect()
}

#[test]
fn every_shipped_set_up_is_read_without_a_secret_in_the_environment() {
    let files = shipped();
    assert!(!files.is_empty());
    for file in files {
        let config = Config::load(&file, |_| None).unwrap_or_else(|refused| panic!("{refused}"));
        assert!(!config.workspace.services.is_empty(), "{}", file.display());
        assert!(config.discord_token().is_err() && config.fly_token().is_err());
        // An example stands for nobody: its ids are left for the doctor to name, and it listens on this machine alone.
        let people = config.workspace.people.iter().map(|member| member.chat.as_str());
        for id in people.chain([config.discord.guild.as_str()]) {
            assert!(is_placeholder(id), "{}: {id}", file.display());
        }
        assert!(config.http.private_bind.ip().is_loopback() && config.virtual_clock.is_none());
        assert!(!config.missing.is_empty(), "what is to be put into the environment is known");
    }
}

#[test]
fn what_is_to_be_trusted_stands_in_a_file_that_is_read_to_a_bound() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, bytes: &[u8]| fs::write(at(name), bytes).unwrap_or_else(|error| panic!("{error}"));
    let team =
        "[team]\nname = \"t\"\nzone = \"UTC\"\n[channels]\nincidents = \"i\"\ntest = \"t\"\n[discord]\nguild = \"1\"\n";
    write("own.toml", format!("{team}[probes]\nca_file = \"ca.pem\"\n").as_bytes());
    let says = || Config::load(&at("own.toml"), |_| None).map_or_else(|refused| refused.0, |_| "taken".to_owned());
    assert!(says().contains("[probes] ca_file: ") && says().contains("ca.pem cannot be read"), "{}", says());
    write("ca.pem", &vec![b'x'; (1 << 20) + 1]);
    assert!(says().contains("at most 1048576"), "{}", says());
    write("ca.pem", &[0xff, 0xfe]);
    assert!(says().contains("written as PEM"), "{}", says());
    write("ca.pem", b"-----BEGIN CERTIFICATE-----\n");
    let config = Config::load(&at("own.toml"), |_| None).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(config.authorities.map(|own| own.file), Some(at("ca.pem")));
}

#[test]
fn a_policy_beside_the_file_takes_the_place_of_the_shipped_one() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap_or_else(|error| panic!("{error}"));
    };
    let team =
        "[team]\nname = \"t\"\nzone = \"UTC\"\n[channels]\nincidents = \"i\"\ntest = \"t\"\n[discord]\nguild = \"1\"\n";
    write("plain.toml", team);
    write("own.toml", &format!("{team}[policy]\nfile = \"policy.toml\"\n"));
    write("policy.toml", &watchbell::domain::policy::SHIPPED.replace("snooze_max = \"30m\"", "snooze_max = \"20m\""));
    let load = |name: &str| Config::load(&folder.path().join(name), |_| None);
    let (plain, own) = (load("plain.toml"), load("own.toml"));
    let (plain, own) = (plain.unwrap_or_else(|r| panic!("{r}")), own.unwrap_or_else(|r| panic!("{r}")));
    assert_ne!(own.policy.reminders.snooze_max, plain.policy.reminders.snooze_max);
    assert_ne!(own.hash, plain.hash);
    assert_eq!(
        own.state_dir,
        folder.path().join("data/state"),
        "relative to the file, wherever the program was started"
    );

    write("policy.toml", "[severity]\n");
    let refused = load("own.toml").map_or_else(|refused| refused.0, |_| "taken".to_owned());
    assert!(refused.contains("policy.toml: "), "{refused}");
    fs::remove_file(folder.path().join("policy.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert!(load("own.toml").is_err_and(|refused| refused.0.contains("there is no such file")));
}
