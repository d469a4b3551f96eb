//! Who hears of a group when: decided over a state that is folded from what was decided before.

use super::super::LeftOut;
use super::super::heard::{Heard, Incoming};
use super::*;
use crate::domain::bot;
use crate::domain::draft::{Ctx, Decision};
use crate::domain::ids::{InputId, Person};
use crate::domain::policy::{Policy, SHIPPED, Span};
use crate::domain::state::State;
use crate::domain::workspace::Workspace;

/// A team with one hook, which opens an incident for what is critical.
struct Team {
    state: State,
    policy: Policy,
    workspace: Workspace,
    now: DateTime<Utc>,
}

impl Team {
    fn new() -> Self {
        let text = include_str!("../../../../tests/support/team.toml");
        let mut workspace: Workspace = toml::from_str(text).expect("a team");
        workspace.hooks[0].declares = Some(Severity::Sev2);
        let now = DateTime::from_timestamp(1_796_000_000, 0).expect("a time");
        let mut state = State::default();
        state.team.live = true;
        Self { state, policy: Policy::parse(SHIPPED).expect("the policy"), workspace, now }
    }

    fn decide(&mut self, decide: impl FnOnce(&mut Draft<'_>)) {
        let input = InputId::new(format!("{}", self.state.seq));
        let (policy, workspace) = (&self.policy, &self.workspace);
        let ctx = Ctx { state: &self.state, policy, workspace, now: self.now, input: &input };
        let mut draft = Draft::new(ctx);
        decide(&mut draft);
        let decision: Decision = draft.done(None);
        let line = bot::line(&self.state, self.now, &input, decision);
        self.state.apply(&line);
    }

    fn hear(&mut self, alerts: Vec<Incoming>) {
        let heard = Heard { source: "alertmanager".to_owned(), alerts, left_out: None };
        self.decide(|draft| heard::decide(draft, &heard).expect("it is taken"));
    }

    fn is_calling(&self) -> bool {
        self.state.open().any(|incident| incident.escalate_at.is_some())
    }

    /// What is waited for before people are told.
    fn waits(&mut self) {
        self.now += TimeDelta::seconds(10);
        self.tick();
    }

    fn tick(&mut self) {
        self.decide(|draft| {
            crate::domain::due::look(draft, None);
        });
    }
}

fn fires(name: &str, severity: &str) -> Incoming {
    let labels = [("alertname".to_owned(), name.to_owned()), ("service".to_owned(), "checkout".to_owned())].into();
    let (fingerprint, severity) = (name.to_owned(), severity.to_owned());
    Incoming { fingerprint, firing: true, severity, labels, ..Incoming::default() }.bounded()
}

#[test]
fn what_a_hook_declares_is_declared_after_a_silence_and_when_a_warning_gets_worse() {
    let mut team = Team::new();
    let silence = super::super::Silence {
        id: 1,
        matchers: "alertname=Errors".parse().expect("conditions"),
        from: team.now,
        until: team.now + TimeDelta::minutes(10),
        by: Person::new("discord:ana"),
        why: "known".to_owned(),
    };
    let silenced = Fact::Alert { happened: Happened::Silenced { silence } };
    team.decide(|draft| draft.fact(Thing::Team, silenced));
    team.hear(vec![fires("Errors", "critical")]);
    assert_eq!(team.state.open().count(), 0, "a silence holds");
    team.now += TimeDelta::minutes(10);
    team.tick();
    assert_eq!(team.state.open().count(), 1, "and then it is declared");

    let mut team = Team::new();
    team.hear(vec![fires("Errors", "warning")]);
    team.now += TimeDelta::seconds(10);
    team.tick();
    assert_eq!(team.state.open().count(), 0);
    team.hear(vec![fires("Errors", "critical")]);
    assert_eq!(team.state.open().count(), 1);
    assert!(team.state.alerts.iter().all(|group| group.incident.is_some()));
}

#[test]
fn an_end_is_told_by_its_fingerprint_whatever_else_is_left_out() {
    let mut team = Team::new();
    team.hear(vec![fires("Errors", "critical"), fires("Slow", "critical")]);
    let ends = |fingerprint: &str| Incoming { fingerprint: fingerprint.to_owned(), ..Incoming::default() }.bounded();
    team.hear(vec![ends("Nothing of it"), ends("Errors")]);
    let firing: Vec<&str> =
        team.state.alerts.firing().flat_map(Group::firing).map(|alert| alert.name.as_str()).collect();
    assert_eq!(firing, ["Slow"]);
}

#[test]
fn every_group_of_a_large_request_stands_on_a_card_and_a_thread_has_few() {
    let mut team = Team::new();
    team.hear(vec![fires("First", "critical")]);
    team.hear((0..700).map(|n| fires(&format!("More{n}"), "critical")).collect());
    for _ in 0..10 {
        team.tick();
    }
    let cards = team.state.pending.values().filter(|effect| matches!(effect.kind, EffectKind::AlertCard { .. }));
    assert_eq!(cards.count(), 11, "ten cards in the incident's thread, and one for all the others");
    let alerts = &team.state.alerts;
    assert!(alerts.iter().all(|group| group.shown_at.is_some() && group.incident.is_some()));
    let host = alerts.iter().find(|group| group.is_storm()).expect("there is one").id;
    assert_eq!(alerts.on_card_of(host).count(), 691);
}

/// An incident that an alert opened, which is over: nobody is called any more.
fn calmed() -> Team {
    let mut team = Team::new();
    team.hear(vec![fires("Errors", "critical")]);
    team.hear(vec![Incoming { firing: false, ..fires("Errors", "critical") }]);
    assert!(!team.is_calling());
    team
}

#[test]
fn what_gets_critical_in_a_thread_calls_again_wherever_it_stands_there() {
    let mut team = calmed();
    team.hear(vec![fires("Slow", "warning")]);
    team.waits();
    assert!(!team.is_calling(), "a warning calls nobody");
    team.hear(vec![fires("Slow", "critical")]);
    assert!(team.is_calling(), "it was a warning");

    let mut team = calmed();
    team.hear((0..12).map(|n| fires(&format!("More{n}"), "warning")).collect());
    team.waits();
    assert!(!team.is_calling() && team.state.alerts.iter().any(Group::is_storm));
    team.hear(vec![fires("New", "critical")]);
    team.waits();
    assert!(team.is_calling(), "it stands on the card of many");
}

#[test]
fn what_only_was_said_to_be_over_when_its_incident_was_closed_opens_it_again() {
    let mut team = Team::new();
    team.workspace.hooks[0].resolve_delay = Some(Span::minutes(60));
    let at = |minute: i64| Incoming {
        began: DateTime::from_timestamp(1_796_000_000 + 60 * minute, 0),
        ..fires("Errors", "critical")
    };
    team.hear(vec![at(0)]);
    team.hear(vec![Incoming { firing: false, ..at(0) }]);
    let id = team.state.open().next().map(|incident| incident.id).expect("it declares");
    let resolved = Fact::StatusChanged { from: Status::Investigating, to: Status::Resolved, by: None, why: None };
    team.decide(|draft| draft.fact(id, resolved));
    team.now += TimeDelta::minutes(10);
    team.hear(vec![at(10)]);
    assert_eq!(team.state.open().map(|incident| incident.id).collect::<Vec<_>>(), [id]);
    // A sender that lost sight of it says when it began all the same.
    team.hear(vec![Incoming { firing: false, ..at(10) }]);
    team.hear(vec![at(10)]);
    assert!(team.state.alerts.firing().all(|group| !group.is_ending()));
}

#[test]
fn a_group_of_which_something_was_left_out_is_not_over() {
    let mut team = Team::new();
    let ends = || vec![Incoming { firing: false, ..fires("Errors", "critical") }];
    let mut say = |alerts: Vec<Incoming>, left_out: u32| {
        let left_out = (left_out > 0).then_some(LeftOut { alerts: left_out, at: None });
        let heard = Heard { source: "alertmanager".to_owned(), alerts, left_out }.bounded();
        team.decide(|draft| heard::decide(draft, &heard).expect("it is taken"));
        team.state.alerts.firing().count()
    };
    assert_eq!(say(vec![fires("Errors", "critical")], 460), 1);
    assert_eq!(say(ends(), 460), 1, "nobody knows of those");
    // Sent whole again, it has not been over in between.
    assert_eq!(say(vec![fires("Errors", "critical")], 0), 1);
    assert_eq!(say(ends(), 460), 1);
    assert_eq!(say(ends(), 0), 0);
    assert_eq!(team.state.alerts.iter().map(|group| group.changes.len()).sum::<usize>(), 2, "it fired, and was over");
}

#[test]
fn the_first_critical_that_is_back_on_the_card_of_many_pings() {
    let mut team = Team::new();
    let all =
        |severity: &str| (0..14).map(|n| Incoming { service: None, ..fires(&format!("More{n}"), severity) }).collect();
    team.workspace.hooks[0].declares = None;
    let mut alerts: Vec<Incoming> = all("warning");
    team.hear(alerts.clone());
    team.now += TimeDelta::minutes(1);
    team.tick();
    let host = team.state.alerts.iter().find(|group| group.is_storm()).expect("there is one").id;
    let on_it: Vec<String> = team.state.alerts.on_card_of(host).map(|group| group.title.clone()).collect();
    alerts.iter_mut().for_each(|alert| alert.firing = false);
    team.now += TimeDelta::minutes(35);
    team.hear(alerts.clone());
    team.now += TimeDelta::minutes(5);
    let repeats = |team: &Team| team.state.alerts.get(host).is_some_and(|host| host.repeat_at.is_some());
    let mut back: Vec<Incoming> =
        alerts.into_iter().filter(|one| on_it.iter().any(|title| title.contains(&one.name))).collect();
    back.iter_mut().for_each(|alert| alert.firing = true);
    assert!(back.len() >= 3, "{on_it:?}");
    team.hear(vec![back[0].clone()]);
    team.waits();
    assert!(!repeats(&team), "a warning pings nobody");
    team.hear(vec![Incoming { severity: "critical".to_owned(), ..back[1].clone() }]);
    team.waits();
    assert!(repeats(&team), "{:?}", team.state.alerts.get(host));
}
