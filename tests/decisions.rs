//! Decisions that no transcript can show, because they need something on its way that has not arrived: the pure floors alone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use watchbell::commands;
use watchbell::domain::bot;
use watchbell::domain::draft::Ctx;
use watchbell::domain::effect::{Effect, EffectKind, Target};
use watchbell::domain::fact::Fact;
use watchbell::domain::health::Transition;
use watchbell::domain::ids::{EffectId, IncidentId, InputId, Person, Place, Posted, Role, Service};
use watchbell::domain::input::{
    Actor, Answers, Call, EffectEnd, EffectOutcome, InputKind, Measurement, Press, Query, Seen,
};
use watchbell::domain::message::Text;
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::state::{Decided, State};
use watchbell::domain::workspace::{Stage, Workspace};

/// A bot whose messages arrive only when the test says so.
struct Held {
    state: State,
    policy: Policy,
    workspace: Workspace,
    now: DateTime<Utc>,
    inputs: u32,
}

impl Held {
    fn new() -> Self {
        let workspace = toml::from_str(include_str!("support/team.toml")).expect("the team of the transcripts");
        let now = "2026-11-24T15:00:00Z".parse().expect("an instant");
        let mut held = Self {
            state: State::default(),
            policy: Policy::parse(SHIPPED).expect("shipped"),
            workspace,
            now,
            inputs: 0,
        };
        held.decide(&InputKind::Call(held.call("watchbell live", &[])));
        held
    }

    fn ana() -> Actor {
        let roles = ["reliability", "manager"].map(Role::new).to_vec();
        Actor { person: Person::new("discord:ana"), name: "ana".to_owned(), roles }
    }

    fn call(&self, command: &str, args: &[(&str, &str)]) -> Call {
        let args: BTreeMap<_, _> = args
            .iter()
            .map(|(name, text)| ((*name).to_owned(), watchbell::domain::input::Arg::Text(Text::plain(*text))))
            .collect();
        let place = Place::new("discord:incidents");
        Call { who: Self::ana(), place, command: command.to_owned(), args, target: None }
    }

    fn press(&mut self, action: &str) -> Decided {
        let place = Place::new("discord:incidents");
        let on = Posted { place: place.clone(), message: "1".to_owned() };
        self.decide(&InputKind::Press(Press { who: Self::ana(), place, action: action.to_owned(), values: vec![], on }))
    }

    fn decide(&mut self, input: &InputKind) -> Decided {
        self.decide_with(input, None)
    }

    fn decide_with(&mut self, input: &InputKind, changed: Option<&Transition>) -> Decided {
        self.inputs += 1;
        let id = InputId::new(format!("in:{}", self.inputs));
        let ctx =
            Ctx { state: &self.state, policy: &self.policy, workspace: &self.workspace, now: self.now, input: &id };
        let decision = commands::decide(ctx, input, &Answers::default(), changed).expect("nothing is refused here");
        let decided = bot::line(&self.state, self.now, &id, decision);
        self.state.apply(&decided);
        decided
    }

    /// A look at a service: down when red, since now.
    fn look(&mut self, service: &str, up: bool) -> Decided {
        let seen = if up { Seen::Green { took_ms: 12 } } else { Seen::Red { why: "connection refused".to_owned() } };
        let look = Measurement {
            service: Service::new(service),
            stage: Stage::Production,
            at: self.now,
            seen,
            certificate_ends: None,
        };
        let down = Transition::Down { since: self.now, why: "connection refused".to_owned() };
        self.decide_with(&InputKind::Measured(look), (!up).then_some(&down))
    }

    fn pass(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
        self.decide(&InputKind::Tick);
    }

    /// What waits to be sent and carries a button that begins so.
    fn waiting(&self, button: &str) -> Vec<EffectId> {
        let asks = |effect: &&Effect| {
            matches!(&effect.kind, EffectKind::Post { to: Target::Thread(_), message, .. }
                if message.buttons.iter().any(|held| held.action.starts_with(button)))
        };
        self.state.pending.values().filter(asks).map(|effect| effect.id).collect()
    }
}

fn withdrawn(decided: &Decided) -> Vec<EffectId> {
    let ended = decided.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::Withdrawn { effect, .. } => Some(*effect),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_question_that_has_not_gone_out_is_taken_back_when_the_incident_is_over() {
    let mut bot = Held::new();
    bot.decide(&InputKind::Call(bot.call("sev1", &[("title", "checkout is down")])));
    bot.press("ack:1");
    bot.pass(10);
    let question = bot.waiting("mitigated:");
    assert_eq!(question.len(), 1, "“mitigated yet?” waits to be sent");

    let decided = bot.decide(&InputKind::Call(bot.call("incident cancel", &[("why", "it was a drill")])));

    assert!(withdrawn(&decided).contains(&question[0]), "nobody is asked about what is over");
    assert!(bot.waiting("mitigated:").is_empty() && bot.waiting("update:").is_empty());
}

#[test]
fn the_question_whether_it_is_mitigated_is_taken_back_by_the_answer() {
    let mut bot = Held::new();
    bot.decide(&InputKind::Call(bot.call("sev1", &[("title", "checkout is down")])));
    bot.press("ack:1");
    bot.pass(10);
    let question = bot.waiting("mitigated:");

    let decided = bot.press("mitigated:1");

    assert_eq!(withdrawn(&decided), question);
}

#[test]
fn what_arrived_is_not_taken_back() {
    let mut bot = Held::new();
    bot.decide(&InputKind::Call(bot.call("sev1", &[("title", "checkout is down")])));
    bot.press("ack:1");
    bot.pass(10);
    for effect in bot.waiting("mitigated:") {
        let posted = Some(Posted { place: Place::new("discord:thread"), message: "2".to_owned() });
        bot.decide(&InputKind::Effect(EffectOutcome { effect, end: EffectEnd::Done { posted } }));
    }

    let decided = bot.press("mitigated:1");

    assert_eq!(withdrawn(&decided), []);
}

#[test]
fn one_service_that_answers_again_does_not_stop_the_calling_for_another_that_is_down() {
    let mut bot = Held::new();
    bot.look("checkout", false);
    let both = watchbell::domain::fact::Fact::ServicesSet {
        services: ["checkout", "search"].map(Service::new).to_vec(),
        by: Held::ana().person,
    };
    let ctx_facts = vec![(IncidentId(1).into(), both)];
    let now = bot.now;
    bot.state.apply(&Decided {
        seq: bot.state.seq + 1,
        at: now,
        input: InputId::new("touches"),
        facts: ctx_facts,
        effects: vec![],
    });
    bot.look("search", false);
    let called_at = bot.state.incidents[&IncidentId(1)].escalate_at;
    assert!(called_at.is_some(), "nobody has acknowledged");

    bot.look("checkout", true);

    assert_eq!(bot.state.incidents[&IncidentId(1)].escalate_at, called_at, "search is down still");
    bot.look("search", true);
    assert_eq!(bot.state.incidents[&IncidentId(1)].escalate_at, None);
}

#[test]
fn a_number_that_was_never_given_out_is_not_looked_for_in_the_record() {
    let mut bot = Held::new();
    bot.decide(&InputKind::Call(bot.call("sev3", &[("title", "a printer burns")])));
    bot.state.incidents.clear();
    for command in ["incident show", "incident timeline", "incident export"] {
        let asks = |number: &str| {
            let (id, call) = (InputId::new("asks"), InputKind::Call(bot.call(command, &[("incident", number)])));
            let ctx =
                Ctx { state: &bot.state, policy: &bot.policy, workspace: &bot.workspace, now: bot.now, input: &id };
            let says = commands::decide(ctx, &call, &Answers::default(), None).err().map(|refusal| refusal.to_string());
            (commands::needs(&ctx, &call), says)
        };
        assert_eq!(asks("1").0, [Query::ClosedIncident(IncidentId(1))]);
        for number in ["2", "INC-4294967295"] {
            let (questions, says) = asks(number);
            assert_eq!(questions, [], "{command} {number}");
            assert!(says.is_some_and(|says| says.contains("There is no INC-")), "{command} {number}");
        }
    }
}

#[test]
fn a_reminder_that_was_taken_back_leaves_the_one_before_it_to_be_replaced() {
    let mut bot = Held::new();
    bot.decide(&InputKind::Call(bot.call("sev1", &[("title", "checkout is down")])));
    bot.press("ack:1");
    let replaced = |decided: &Decided| {
        decided.effects.iter().find_map(|effect| match &effect.kind {
            EffectKind::Post { to: Target::Thread(_), replaces, message }
                if message.buttons.iter().any(|button| button.action.starts_with("update:")) =>
            {
                Some((effect.id, *replaces))
            }
            _ => None,
        })
    };
    // The first reminder arrives, the next ones do not.
    let mut reminders = Vec::new();
    for _ in 0..22 {
        bot.now += TimeDelta::minutes(1);
        let decided = bot.decide(&InputKind::Tick);
        let Some((effect, replaces)) = replaced(&decided) else { continue };
        if reminders.is_empty() {
            let posted = Some(Posted { place: Place::new("discord:thread"), message: "first".to_owned() });
            bot.decide(&InputKind::Effect(EffectOutcome { effect, end: EffectEnd::Done { posted } }));
        }
        reminders.push((effect, replaces));
    }
    assert!(reminders.len() >= 3, "{reminders:?}");
    let first = reminders[0].0;
    for (effect, replaces) in &reminders[1..] {
        assert_eq!(*replaces, Some(first), "{effect} is to take the place of the one that stands");
    }
    // The newest is given up: what stands is still known.
    let newest = reminders.last().expect("some").0;
    let why = "the chat did not take it for a day".to_owned();
    bot.decide(&InputKind::Effect(EffectOutcome { effect: newest, end: EffectEnd::GivenUp { why } }));
    assert_eq!(bot.state.incidents[&IncidentId(1)].reminder, Some(first));
    let update = bot.decide(&InputKind::Call(bot.call("update", &[("what", "we found it")])));
    let replaces = update.effects.iter().find_map(|effect| match &effect.kind {
        EffectKind::Post { to: Target::Thread(_), replaces, .. } => Some(*replaces),
        _ => None,
    });
    assert_eq!(replaces, Some(Some(first)));
}
