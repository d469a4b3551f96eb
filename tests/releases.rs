//! What a look at the host's releases changes, where no transcript can show it: answers that are lost, looks that come between, and
//! what completes what somebody types. The pure floors alone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use watchbell::commands;
use watchbell::domain::answer::{Answer, CompletionAsk};
use watchbell::domain::bot;
use watchbell::domain::draft::Ctx;
use watchbell::domain::effect::{EffectKind, Target};
use watchbell::domain::fact::Fact;
use watchbell::domain::hosting::{Image, Inventory, Release, ReleaseRef, Running, Trouble};
use watchbell::domain::ids::{InputId, Person, Place, Posted, Role};
use watchbell::domain::input::{
    Actor, Answers, Arg, Call, EffectEnd, EffectOutcome, InputKind, Press, ReleasesLook, Stepped,
};
use watchbell::domain::message::{Span, Text};
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::releases::RELEASES_HELD;
use watchbell::domain::state::{Decided, State};
use watchbell::domain::workspace::Workspace;

const APP: &str = "lighthouse-checkout";
const STAGING: &str = "lighthouse-checkout-staging";

/// A bot that is told what the host has, look by look.
struct Told {
    state: State,
    policy: Policy,
    workspace: Workspace,
    now: DateTime<Utc>,
    inputs: u32,
    releases: Vec<Release>,
    runs: u64,
}

fn image(version: u64) -> Image {
    Image::new(format!("registry.fly.io/{APP}:deployment-{version}"))
}

impl Told {
    /// Live, with three releases on record and the newest running.
    fn new() -> Self {
        let mut workspace: Workspace = toml::from_str(include_str!("support/team.toml")).expect("the team");
        workspace.services[0].production.fly_app = Some(APP.to_owned());
        workspace.services[0].staging = Some(toml::from_str(&format!("fly_app = \"{STAGING}\"")).expect("a stage"));
        let mut told = Self {
            state: State::default(),
            policy: Policy::parse(SHIPPED).expect("shipped"),
            workspace,
            now: "2026-11-24T15:00:00Z".parse().expect("an instant"),
            inputs: 0,
            releases: Vec::new(),
            runs: 42,
        };
        for version in 40..=42 {
            told.release(version, "complete");
        }
        told.call("watchbell live", &[]);
        told
    }

    fn release(&mut self, version: u64, status: &str) {
        self.release_of(version, image(version), status);
    }

    fn release_of(&mut self, version: u64, image: Image, status: &str) {
        self.releases.retain(|known| known.version != version);
        let (id, user) = (format!("rel-{version}"), "carol@lighthouse.example".to_owned());
        let release = Release { id, version, status: status.to_owned(), image, user, at: Some(self.now) };
        self.releases.insert(0, release);
    }

    fn answers(&self) -> Answers {
        let machine = Running {
            id: "1781000a".to_owned(),
            name: "checkout".to_owned(),
            region: "iad".to_owned(),
            group: "app".to_owned(),
            state: "started".to_owned(),
            image: image(self.runs),
            instance: "1".to_owned(),
            config_sha256: "1".to_owned(),
            host_ok: true,
            cordoned: false,
            has_volume: false,
            may_sleep: false,
            checks: 1,
            guest: None,
            rest: None,
        };
        let inventory = Inventory {
            app: APP.to_owned(),
            at: self.now,
            machines: vec![machine],
            releases: Ok(self.releases.clone()),
            release_command: Ok(None),
            secrets_at: None,
            secrets: Ok(Vec::new()),
        };
        Answers { inventories: BTreeMap::from([(APP.to_owned(), Ok(inventory))]), ..Answers::default() }
    }

    fn decide(&mut self, input: &InputKind) -> Result<Decided, String> {
        self.inputs += 1;
        let id = InputId::new(format!("in:{}", self.inputs));
        let ctx = self.ctx(&id);
        let decision = commands::decide(ctx, input, &self.answers(), None).map_err(|refusal| refusal.to_string())?;
        let line = bot::line(&self.state, self.now, &id, decision);
        self.state.apply(&line);
        // Read again, the record must give the same.
        let text = serde_json::to_string(&line.facts.iter().map(|(_, fact)| fact).collect::<Vec<_>>()).expect("facts");
        let again: Vec<Fact> = serde_json::from_str(&text).expect("they are read back");
        assert!(again.iter().eq(line.facts.iter().map(|(_, fact)| fact)));
        Ok(line)
    }

    fn ctx<'a>(&'a self, input: &'a InputId) -> Ctx<'a> {
        Ctx { state: &self.state, policy: &self.policy, workspace: &self.workspace, now: self.now, input }
    }

    fn call(&mut self, command: &str, args: &[(&str, &str)]) {
        let args = args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect();
        let place = Place::new("discord:incidents");
        let call = Call { who: ana(), place, command: command.to_owned(), args, target: None };
        self.decide(&InputKind::Call(call)).expect("not refused");
    }

    fn press(&mut self, action: &str) -> Result<Decided, String> {
        let place = Place::new("discord:incidents");
        let on = Posted { place: place.clone(), message: "1".to_owned() };
        self.decide(&InputKind::Press(Press { who: ana(), place, action: action.to_owned(), values: vec![], on }))
    }

    /// A look. The words that are posted because of it, by place.
    fn look(&mut self) -> Vec<(Target, String)> {
        self.look_at(APP)
    }

    fn look_at(&mut self, app: &str) -> Vec<(Target, String)> {
        let look = ReleasesLook { app: app.to_owned(), releases: self.releases.clone() };
        let line = self.decide(&InputKind::Releases(look)).expect("a look is never refused");
        let posts = line.effects.into_iter().filter_map(|effect| match effect.kind {
            EffectKind::Post { to, message, .. } => {
                assert!(message.pings.is_empty(), "silent");
                Some((to, message.lines.iter().map(flat).collect::<Vec<_>>().join("\n")))
            }
            _ => None,
        });
        posts.collect()
    }

    /// A rollback of ours that has been started, and its release is being written.
    fn start_rollback(&mut self) {
        self.call("rollback", &[("service", "checkout")]);
        self.press("go:1").expect("it starts");
    }

    /// What came of the step that is on its way.
    fn stepped(&mut self, end: Stepped) {
        let is_act = |kind: &EffectKind| matches!(kind, EffectKind::Act { .. });
        let effect = self.state.pending.values().find(|one| is_act(&one.kind)).expect("a step is on its way").id;
        let end = EffectEnd::Stepped { end };
        self.decide(&InputKind::Effect(EffectOutcome { effect, end })).expect("never refused");
    }

    fn complete(&self, option: &str, args: &[(&str, &str)], typed: &str) -> Vec<(String, String)> {
        let id = InputId::new("lists");
        let lists = commands::lists(&self.ctx(&id));
        let args = args.iter().map(|(name, text)| ((*name).to_owned(), Arg::Text(Text::plain(*text)))).collect();
        let (command, place) = ("rollback".to_owned(), Place::new("discord:incidents"));
        let (option, typed) = (option.to_owned(), typed.to_owned());
        let ask = CompletionAsk { who: ana(), place, command, option, typed, args };
        commands::complete(&lists, &ask).into_iter().map(|choice| (choice.value, choice.label)).collect()
    }
}

fn ana() -> Actor {
    let roles = ["reliability", "manager"].map(Role::new).to_vec();
    Actor { person: Person::new("discord:ana"), name: "ana".to_owned(), roles }
}

fn flat(text: &Text) -> String {
    let word = |span: &Span| match span {
        Span::Text(text) | Span::Bold(text) | Span::Code(text) => text.clone(),
        Span::Time { .. } => "just now".to_owned(),
        _ => String::new(),
    };
    text.0.iter().map(word).collect()
}

#[test]
fn what_ran_before_anybody_asked_is_nobodys_news() {
    let mut told = Told::new();
    assert_eq!(told.look(), []);
    assert_eq!(told.look(), [], "and nothing is recorded twice");
    let seq = told.state.seq;
    told.release(43, "complete");
    let said = "checkout: v43 by carol, outside Watchbell: deployment-43, just now.";
    assert_eq!(told.look(), [(Target::Incidents, said.to_owned())]);
    assert_eq!(told.look(), []);
    assert!(told.state.seq > seq);
}

#[test]
fn a_release_of_ours_is_never_somebody_elses() {
    // It stands at Fly while nobody has told us its number: the bot may have died in between.
    let mut told = Told::new();
    told.look();
    told.start_rollback();
    told.release_of(43, image(41), "running");
    assert_eq!(told.look(), []);
    let release = Some(ReleaseRef { id: "rel-43".to_owned(), version: 43 });
    told.stepped(Stepped::Done { before: None, after: None, release });
    assert_eq!(told.look(), []);
    let known = told.state.team.releases[APP].get(43).expect("it is known");
    assert_eq!(known.ours.map(|ours| ours.deploy.to_string()).as_deref(), Some("DEP-1"));
    assert_eq!(known.user, "", "not the name that Fly gives our token");

    // Its number never comes: Fly's answer was lost, and looking for it too.
    let mut told = Told::new();
    told.look();
    told.start_rollback();
    told.release_of(43, image(41), "running");
    let says = "it is not on Fly's record".to_owned();
    told.stepped(Stepped::Failed { trouble: Trouble::Unreachable, says, before: None });
    assert_eq!(told.look(), []);
    assert!(told.state.team.releases[APP].get(43).is_some_and(|known| known.ours.is_some()));
    // The same image later, or another at the same time, is somebody else's all the same.
    told.now += TimeDelta::minutes(20);
    told.release_of(45, image(41), "complete");
    assert_eq!(told.look().len(), 1);
    told.release(46, "complete");
    assert_eq!(told.look().len(), 1);
}

#[test]
fn a_deploy_of_somebody_else_that_fails_is_told_and_one_that_succeeds_is_not() {
    let mut told = Told::new();
    told.look();
    told.release(43, "running");
    assert!(told.look()[0].1.contains("being rolled out"));
    told.release(43, "failed");
    let said = "checkout: v43 (deployment-43) by carol, outside Watchbell: failed, says Fly.";
    assert_eq!(told.look(), [(Target::Incidents, said.to_owned())]);
    assert_eq!(told.look(), []);
    told.release(44, "running");
    told.look();
    told.release(44, "complete");
    assert_eq!(told.look(), []);
    assert!(told.state.team.releases[APP].get(44).is_some_and(|known| known.is_complete()));
}

#[test]
fn many_at_once_are_one_line_and_what_is_remembered_is_bounded() {
    let mut told = Told::new();
    told.look();
    for version in 43..=90 {
        told.release(version, "complete");
    }
    let said = told.look();
    assert_eq!(said.len(), 1);
    assert!(said[0].1.ends_with("; before it v89, v88, v87, v86 and others."), "{said:?}");
    let held = &told.state.team.releases[APP].releases;
    assert_eq!((held.len(), held[0].version), (RELEASES_HELD, 90));
    // Made again under the same name, Fly counts from one: nobody deployed that against us.
    told.releases.clear();
    told.release(1, "complete");
    assert_eq!(told.look(), []);
    assert_eq!(told.state.team.releases[APP].releases.len(), 1);
}

#[test]
fn staging_is_on_record_and_says_nothing() {
    let mut told = Told::new();
    told.look_at(STAGING);
    told.release(43, "complete");
    assert_eq!(told.look_at(STAGING), []);
    assert!(told.state.team.releases[STAGING].get(43).is_some());
}

#[test]
fn an_old_button_does_not_bring_back_what_it_was_to_take_away() {
    let mut told = Told::new();
    told.look();
    told.release(43, "complete");
    told.runs = 43;
    told.look();
    told.call("sev1", &[("title", "checkout is down"), ("service", "checkout")]);
    // Somebody has put the older image back meanwhile.
    told.release_of(44, image(42), "complete");
    told.runs = 42;
    let refused = told.press("back:1:43:checkout").expect_err("refused");
    assert!(refused.starts_with("v43 is not what runs now: v44 (deployment-42) is."), "{refused}");
    assert!(told.state.team.deploys.is_empty());
    // Buttons from before this one had no number; they are still read.
    assert!(told.press("rollback:production:checkout").is_ok());
}

#[test]
fn what_can_be_gone_back_to_is_offered_once_the_service_is_typed() {
    let mut told = Told::new();
    told.release(43, "failed");
    told.release(44, "complete");
    told.look();
    let offered = told.complete("to", &[("service", "checkout")], "");
    let values: Vec<&str> = offered.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(values, ["v42", "v41", "v40"], "none that failed, none that runs");
    assert_eq!(offered[0].1, "v42 · deployment-42 · 24 Nov 09:00 · carol · complete");
    assert_eq!(told.complete("to", &[("service", "checkout")], "41")[0].0, "v41");
    assert_eq!(told.complete("to", &[], ""), [], "whose, nobody knows yet");
    assert_eq!(told.complete("to", &[("service", "checkout"), ("stage", "staging")], ""), []);
    let id = InputId::new("lists");
    let lists = commands::lists(&told.ctx(&id));
    let images = &lists.images[&("checkout".to_owned(), "production".to_owned())];
    assert_eq!(images.len(), 5, "those that failed too");
    assert!(images[1].label.ends_with("failed") && images[1].value.ends_with(":deployment-43"));
    let spec = commands::specs().into_iter().find(|spec| spec.name == "deploy").expect("there is one");
    assert_eq!(spec.completion("image"), Some("images"));
}

#[test]
fn what_was_taken_back_is_offered_last_and_once_and_says_so() {
    let mut told = Told::new();
    told.release_of(43, image(41), "complete");
    told.release(44, "complete");
    told.runs = 44;
    told.look();
    // v44 is rolled back from, to v43; what that has stands on the list three times by then.
    told.start_rollback();
    let release = Some(ReleaseRef { id: "rel-45".to_owned(), version: 45 });
    told.stepped(Stepped::Done { before: None, after: None, release });
    told.release_of(45, image(41), "complete");
    told.release(46, "complete");
    told.runs = 46;
    told.look();
    let offered = told.complete("to", &[("service", "checkout")], "");
    let values: Vec<&str> = offered.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(values, ["v45", "v42", "v40", "v44"], "each image once, the bad one last: {offered:?}");
    assert_eq!(offered[3].1, "v44 · deployment-44 · ⚠ taken back by DEP-1 · 24 Nov 09:00 · carol");
}

#[test]
fn what_a_rollback_does_not_undo_is_said_before() {
    let mut told = Told::new();
    told.now += TimeDelta::days(40);
    told.releases.iter_mut().filter(|one| one.version == 42).for_each(|one| one.at = Some(told.now));
    told.call("rollback", &[("service", "checkout")]);
    let notes = told.state.team.deploys.values().next_back().expect("a plan").plan.notes.join(" ");
    assert!(notes.contains("40 days old. Whether Fly still has its image"), "{notes}");
}

#[test]
fn the_first_tap_answers_with_the_second() {
    let mut told = Told::new();
    told.look();
    told.release(43, "complete");
    told.runs = 43;
    told.look();
    told.call("sev2", &[("title", "checkout is slow"), ("service", "checkout")]);
    let id = InputId::new("press");
    let place = Place::new("discord:incidents");
    let on = Posted { place: place.clone(), message: "1".to_owned() };
    let action = "back:1:43:checkout".to_owned();
    let press = InputKind::Press(Press { who: ana(), place, action, values: vec![], on });
    let decision = commands::decide(told.ctx(&id), &press, &told.answers(), None).expect("a plan");
    let Some(Answer::Say { message, only_you: true }) = decision.answer else { panic!("an answer for one") };
    let labels: Vec<&str> = message.buttons.iter().map(|button| button.label.as_str()).collect();
    assert_eq!(labels, ["Roll back to v42", "Cancel"]);
    told.now += TimeDelta::minutes(61);
    let card = watchbell::domain::view::card(&told.ctx(&id), told.state.open().next().expect("open"));
    assert!(card.buttons.iter().any(|button| button.label == "Roll back"), "an hour later it is no news any more");
}
