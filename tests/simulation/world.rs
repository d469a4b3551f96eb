//! The world of one history: one generator of numbers, one queue of virtual time, everything that goes wrong, and the checks
//! after every step.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, TimeDelta, Utc};

use super::book::Book;
use super::bot::{Bot, Dies, Failure, Told, fold};
use super::chat::{Neighbours, Reply, Request};
use super::hooks::Sender;
use super::host::{Call, Host, Write};
use super::outbox::Step;
use super::power::Power;
use super::rules::{Asked, EVERY_S, Watched};
use super::tally::Tally;
use super::team::{self, CANARY, SERVICES, Setup};
use crate::domain::deploy::Phase;
use crate::domain::effect::{Effect, EffectKind};
use crate::domain::fact::Status;
use crate::domain::health::HealthReport;
use crate::domain::ids::{DeployId, EffectId, InputId, Service};
use crate::domain::input::{Arg, EffectEnd, EffectOutcome, Gone, InputKind, Measurement, Seen, Stepped};
use crate::domain::state::State;
use crate::domain::workspace::Stage;
use crate::log::torn::{Dice, Faults, TornDisk};

/// More steps than any history takes: beyond it the bot goes round in a circle.
const STEPS_MAX: u32 = 20_000;
/// How long a history is, in hours of promise time.
const HOURS_MIN: u64 = 1;
/// How long a history is at most, in hours of promise time.
const HOURS_MAX: u64 = 6;
/// A capacity that is never reached: it makes the disk tell how much is used.
const ROOM_BYTES: u64 = 1 << 40;

/// What happens at a moment.
#[derive(Debug, Clone)]
enum Event {
    /// Somebody does something.
    Person,
    /// The chat delivers an input, for the first time or again.
    Deliver(InputId, InputKind),
    /// The services are looked at.
    Look,
    /// What was released is looked at.
    Releases,
    /// A request reaches the neighbour. It does so whatever became of its sender.
    Arrive { life: u32, key: String, request: Request },
    /// A request that was delayed is done; nobody hears of it.
    Late(Request),
    /// The bot hears back.
    Heard { life: u32, key: String, reply: Reply },
    /// A job goes on after a pause.
    Resume { life: u32, key: String },
    /// A look at the services is over.
    Looked { life: u32, key: String },
    /// The client of the host begins a step, or begins it anew.
    Begin { life: u32, key: String, call: Call },
    /// A write reaches the host. It does so whatever became of its sender.
    Land(Write),
    /// The client of the host is done with a step.
    Stepped { life: u32, key: String, call: Call, said: Option<Stepped> },
    /// A look at what came of a deploy is over.
    Surveyed { life: u32, key: String, app: String },
    /// Somebody changes what the service runs, and goes on with it so many times.
    Ship(u64),
    /// Somebody works on a machine by hand.
    ByHand(usize, u64),
    /// The hardware under a machine answers, or does not.
    Hardware(u64, bool),
    /// The process dies in the middle of the next step on a machine.
    MidStep,
    /// The process dies; with `power`, and everything that was not on the disk.
    Crash { power: bool },
    /// The process comes up.
    Restart,
    /// The process dies at the next turn, at this point.
    Trap(Dies),
    /// The power goes off after so many changing calls to the disk.
    Fuse(i64),
    /// The chat is away or back.
    Chat(bool),
    /// The pager is away or back.
    Pager(bool),
    /// A service changes.
    Service(usize, bool),
    /// The disk fails at a sync, is nearly full, or is well.
    Disk(DiskFault),
    /// Another policy holds.
    Policy,
    /// Somebody deletes a card.
    CardDeleted,
    /// Somebody takes up what nobody has taken up yet.
    TakenUp,
    /// Another tool says what fires, and goes on with it so many times.
    Tells(u64),
    /// It says again what was not answered.
    Insists,
    /// Everything that it said is over.
    Calms,
    /// The rules are to be looked at.
    Rules { life: u32 },
    /// What they ask is answered.
    Answered { life: u32, number: u64 },
}

#[derive(Debug, Clone, Copy)]
enum DiskFault {
    Sync(u32),
    Full(u64),
    Well,
}

/// The world.
pub struct World {
    dice: Dice,
    now: DateTime<Utc>,
    queue: BTreeMap<(DateTime<Utc>, u64), Event>,
    scheduled: u64,
    disk: TornDisk,
    power: Power,
    bot: Option<Bot>,
    life: u32,
    book: Book,
    /// What the bot knew when it died between two turns.
    before: Option<State>,
    released: BTreeMap<u64, String>,
    acknowledged: Vec<InputId>,
    neighbours: Neighbours,
    /// Another tool that says what fires.
    sender: Sender,
    /// Whether it will say again what was not answered.
    insists: bool,
    /// Production, and its copy where there is one.
    hosts: Vec<Host>,
    dies_mid_step: bool,
    setup: Setup,
    /// What rules see, and what must follow.
    watched: Watched,
    /// Whether rules are looked at: they are dear, and every other history tells as much.
    has_looks: bool,
    /// The look at the rules that is on its way.
    asked: Option<Asked>,
    well: [bool; SERVICES.len()],
    is_disk_bad: bool,
    trap: Option<Dies>,
    inputs: u64,
    healed: bool,
    tally: Tally,
    trace: Option<Vec<String>>,
}

impl World {
    /// Plays a seed's history. With `traced`, also says what happened.
    pub fn play(seed: u64, traced: bool) -> (Result<Tally, String>, Vec<String>) {
        let mut world = World::new(seed, traced);
        let played = catch_unwind(AssertUnwindSafe(|| world.live()));
        let result = match played {
            Ok(Ok(())) => Ok(world.tally),
            Ok(Err(why)) => Err(why),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().cloned();
                let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
                Err(format!("a panic: {}", words.unwrap_or_default()))
            }
        };
        (result, world.trace.unwrap_or_default())
    }

    fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(11));
        let start = DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default();
        let now = start + TimeDelta::minutes(dice.below(365 * 24 * 60) as i64);
        let mut hosts = vec![Host::production(&mut dice, now)];
        if dice.below(3) > 0 {
            hosts.push(Host::staging(&mut dice, now));
        }
        let setup = Setup::new(hosts.len() > 1);
        let watched = Watched::new(now, HOURS_MAX, hosts.len() > 1, &mut dice);
        Self {
            dice,
            now,
            queue: BTreeMap::new(),
            scheduled: 0,
            disk: TornDisk::new(),
            power: Power::on(),
            bot: None,
            life: 0,
            book: Book::default(),
            before: None,
            released: BTreeMap::new(),
            acknowledged: Vec::new(),
            neighbours: Neighbours::default(),
            sender: Sender::default(),
            insists: false,
            hosts,
            dies_mid_step: false,
            setup,
            watched,
            has_looks: !seed.is_multiple_of(2),
            asked: None,
            well: [true; SERVICES.len()],
            is_disk_bad: false,
            trap: None,
            inputs: 0,
            healed: false,
            tally: Tally::default(),
            trace: traced.then(Vec::new),
        }
    }

    fn host(&mut self, app: &str) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.app == app)
    }

    fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.now.format("%d %b %H:%M:%S%.3f"), words()));
        }
    }

    fn after(&mut self, wait: TimeDelta, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now + wait, self.scheduled), event);
    }

    fn minutes(&mut self, from: u64, to: u64) -> TimeDelta {
        TimeDelta::milliseconds((from * 60_000 + self.dice.below((to - from) * 60_000)) as i64)
    }

    /// The whole history: trouble, then peace, then the reckoning.
    fn live(&mut self) -> Result<(), String> {
        let hours = HOURS_MIN + self.dice.below(HOURS_MAX - HOURS_MIN);
        let end = self.now + TimeDelta::hours(hours as i64);
        self.tally.hours += hours;
        self.plan(hours);
        self.after(TimeDelta::zero(), Event::Restart);
        self.after(TimeDelta::seconds(30), Event::Look);
        self.after(TimeDelta::seconds(40), Event::Releases);
        self.deliver(team::call(team::actor("mia"), "watchbell live", &[]), TimeDelta::seconds(5));
        self.after(TimeDelta::minutes(2), Event::Person);
        self.run(end)?;
        self.heal();
        self.run(end + TimeDelta::minutes(30))?;
        if self.has_looks {
            self.rules_in_peace()?;
        }
        self.watched.calm(self.now, true, &mut self.dice);
        self.after(TimeDelta::zero(), Event::Calms);
        self.close_everything();
        self.run(end + TimeDelta::minutes(35))?;
        // A fault from before may have ended the process before it answered: people try again.
        self.close_everything();
        self.run(end + TimeDelta::hours(1))?;
        // What a job of the calendar brings just now is allowed its minute.
        let busy = |world: &Self| world.bot.as_ref().is_some_and(|bot| !bot.state.pending.is_empty());
        if busy(self) {
            self.run(end + TimeDelta::minutes(70))?;
        }
        self.reckon()
    }

    /// What goes wrong, and when.
    fn plan(&mut self, hours: u64) {
        let minutes = hours * 60;
        let at = |world: &mut Self| world.minutes(1, minutes);
        for _ in 0..2 + self.dice.below(3) {
            let when = at(self);
            let event = match self.dice.below(8) {
                0 | 1 => Event::Crash { power: false },
                2 | 3 => Event::Crash { power: true },
                4 => Event::Trap(Dies::BeforeWriting),
                5 => Event::Trap(Dies::BeforeLettingGo),
                _ => Event::Fuse(self.dice.below(9) as i64),
            };
            self.after(when, event);
            if self.dice.below(4) == 0 {
                // And soon again, perhaps before much was looked at.
                let soon = self.minutes(1, 4);
                if self.dice.below(2) == 0 {
                    self.watched.lull(self.now + when, soon);
                }
                let power = self.dice.below(2) == 0;
                self.after(when + soon, Event::Crash { power });
            }
        }
        for _ in 0..self.dice.below(3) {
            let (when, long) = (at(self), self.minutes(1, 25));
            self.after(when, Event::Chat(false));
            self.after(when + long, Event::Chat(true));
        }
        if self.dice.below(2) == 0 {
            let (when, long) = (at(self), self.minutes(0, 10));
            self.after(when, Event::Pager(false));
            self.after(when + long, Event::Pager(true));
            // Somebody is called just then, and comes soon.
            self.declare(when + TimeDelta::seconds(1));
            let soon = TimeDelta::milliseconds(self.dice.below(90_000) as i64);
            self.after(when + soon, Event::TakenUp);
        }
        for _ in 0..self.dice.below(3) {
            let (when, long, which) = (at(self), self.minutes(2, 90), self.dice.below(2) as usize);
            self.after(when, Event::Service(which, false));
            self.after(when + long, Event::Service(which, true));
        }
        if self.dice.below(2) == 0 {
            let (when, long) = (at(self), self.minutes(0, 6));
            let fault = if self.dice.below(2) == 0 {
                DiskFault::Sync(self.dice.below(6) as u32)
            } else {
                DiskFault::Full(self.dice.below(9_000))
            };
            // Something new at that very moment, so that much is under way when the disk gives out.
            self.declare(when);
            if self.dice.below(2) == 0 {
                // And machines in hand.
                let before = self.minutes(1, 3).min(when);
                self.after(when - before, Event::Ship(20));
            }
            self.after(when, Event::Disk(fault));
            if self.dice.below(2) == 0 {
                // Whoever finds the disk full may start everything anew before it is mended.
                let soon = TimeDelta::milliseconds(self.dice.below(180_000) as i64);
                self.after(when + soon, Event::Crash { power: false });
            }
            self.after(when + long, Event::Disk(DiskFault::Well));
        }
        if self.dice.below(3) == 0 {
            let when = at(self);
            self.after(when, Event::Policy);
        }
        if self.dice.below(4) == 0 {
            let when = at(self);
            self.after(when, Event::CardDeleted);
        }
        for _ in 0..1 + self.dice.below(2) {
            let (when, often) = (at(self), 10 + self.dice.below(24));
            self.after(when, Event::Ship(often));
            if self.dice.below(2) == 0 {
                self.after(when, Event::MidStep);
            }
        }
        for _ in 0..self.dice.below(3) {
            let (when, often) = (at(self), 4 + self.dice.below(30));
            self.after(when, Event::Tells(often));
        }
        for _ in 0..self.dice.below(3) {
            let (when, stage) = (at(self), self.dice.below(self.hosts.len() as u64) as usize);
            let which = self.dice.below(self.hosts[stage].machines());
            self.after(when, Event::ByHand(stage, which));
        }
        if self.dice.below(4) == 0 {
            let (when, long, which) = (at(self), self.minutes(1, 60), self.dice.below(self.hosts[0].machines()));
            self.after(when, Event::Hardware(which, false));
            self.after(when + long, Event::Hardware(which, true));
        }
    }

    fn declare(&mut self, wait: TimeDelta) {
        let declared = [("title", team::text("something is odd")), ("anyway", Arg::Flag(true))];
        self.deliver(team::call(team::actor("dmitri"), "sev1", &declared), wait);
    }

    fn deliver(&mut self, kind: InputKind, wait: TimeDelta) {
        self.inputs += 1;
        let id = InputId::new(format!("in:{}", self.inputs));
        // Behind the number stands which plan of it.
        let number = |rest: &str| rest.split(':').next().unwrap_or_default().to_owned();
        let said = match &kind {
            InputKind::Press(press) => ["go:", "approve:"].iter().find_map(|yes| press.action.strip_prefix(yes)),
            InputKind::Filled(form) => form.action.strip_prefix("glass:"),
            _ => None,
        };
        let said = said.map(number);
        if let InputKind::Filled(form) = &kind
            && form.action.starts_with("zero:")
        {
            self.book.ships.typed.insert(id.clone());
        }
        if let Some(deploy) = said.and_then(|number| number.parse().ok()) {
            self.book.ships.yes.insert(id.clone(), DeployId(deploy));
        }
        if self.dice.below(8) == 0 {
            // The chat sends it twice, perhaps to another life.
            let later = TimeDelta::milliseconds(self.dice.below(120_000) as i64);
            self.after(wait + later, Event::Deliver(id.clone(), kind.clone()));
            self.tally.repeats += 1;
        }
        self.after(wait, Event::Deliver(id, kind));
    }

    fn run(&mut self, until: DateTime<Utc>) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            let wake = self.bot.as_ref().and_then(Bot::next_wake);
            let next = self.queue.keys().next().map(|(at, _)| *at).into_iter().chain(wake).min();
            let Some(next) = next.map(|next| next.max(self.now)).filter(|next| *next <= until) else {
                self.now = until;
                return Ok(());
            };
            self.now = next;
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= next) {
                let event = entry.remove();
                self.happen(event)?;
            }
            self.turn()?;
        }
        Err(format!("more than {STEPS_MAX} steps: the bot goes round in a circle"))
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let is_often = matches!(event, Event::Rules { .. } | Event::Answered { .. });
        if !is_often && !matches!(event, Event::Resume { .. } | Event::Look | Event::Releases) {
            self.say(|| format!("  {event:?}").chars().take(170).collect());
        }
        match event {
            Event::Person => self.person(),
            Event::Deliver(id, kind) => {
                let reachable = !self.neighbours.chat_down || matches!(kind, InputKind::Alerts(_));
                if let Some(bot) = self.bot.as_mut().filter(|_| reachable) {
                    bot.inbox.push((id, kind));
                }
            }
            Event::Look => self.look(),
            Event::Releases => self.look_at_releases(),
            Event::Arrive { life, key, request } => self.arrive(life, key, &request)?,
            Event::Late(request) => {
                self.neighbours.perform(&request, self.now);
            }
            Event::Heard { life, key, reply } => {
                let (now, life_now) = (self.now, self.life);
                if let Some(bot) = self.bot.as_mut().filter(|_| life == life_now) {
                    let step = bot.outbox.heard(&key, reply, now, &mut self.dice);
                    self.step(key, step)?;
                }
            }
            Event::Resume { life, key } => {
                let life_now = self.life;
                if let Some(bot) = self.bot.as_mut().filter(|_| life == life_now) {
                    let step = bot.outbox.step(&key);
                    self.step(key, step)?;
                }
            }
            Event::Looked { life, key } => {
                let (now, life_now) = (self.now, self.life);
                if let Some(bot) = self.bot.as_mut().filter(|_| life == life_now) {
                    let report = HealthReport { at: now, auth: Ok("team".to_owned()), stages: Vec::new() };
                    let step = bot.outbox.looked(&key, EffectEnd::Looked { report });
                    self.step(key, step)?;
                }
            }
            Event::Begin { life, key, call } => self.begin(life, key, call),
            Event::Land(write) => {
                let now = self.now;
                if let Some(host) = self.host(&write.call.app) {
                    let changes = host.changes_machine(&write, now);
                    host.land(&write, now)?;
                    if changes {
                        self.book.ships.may_change(write.call.effect)?;
                    }
                }
            }
            Event::Stepped { life, key, call, said } => {
                let life_now = self.life;
                if let Some(bot) = self.bot.as_mut().filter(|_| life == life_now) {
                    let Some(host) = self.hosts.iter_mut().find(|host| host.app == call.app) else { return Ok(()) };
                    let end = host.end(&call, said);
                    let step = bot.outbox.stepped(&key, end);
                    self.step(key, step)?;
                }
            }
            Event::Surveyed { life, key, app } => {
                let (now, life_now) = (self.now, self.life);
                if let Some(bot) = self.bot.as_mut().filter(|_| life == life_now) {
                    let Some(host) = self.hosts.iter().find(|host| host.app == app) else { return Ok(()) };
                    let machines = host.inventory(now, &mut self.dice);
                    let machines = machines.unwrap_or_else(|| Err("it did not answer in time".to_owned()));
                    let report = host.report(now, SERVICES[0], &mut self.dice);
                    let step = bot.outbox.looked(&key, EffectEnd::Surveyed { machines, report });
                    self.step(key, step)?;
                }
            }
            Event::Ship(more) => {
                let acts = self.bot.as_ref().and_then(|bot| team::ships(&bot.state, &mut self.dice));
                if let Some(kind) = acts {
                    self.deliver(kind, TimeDelta::zero());
                }
                // Two at once, or a while later.
                let pause = TimeDelta::milliseconds(self.dice.below(3) as i64 * self.dice.below(60_000) as i64);
                if more > 0 {
                    self.after(pause, Event::Ship(more - 1));
                }
            }
            Event::ByHand(stage, which) => self.hosts[stage].by_hand(which, self.now, &mut self.dice),
            Event::Hardware(which, answers) => self.hosts[0].set_hardware(which, answers),
            Event::MidStep => self.dies_mid_step = true,
            Event::Tells(more) => {
                if let Some((id, kind)) = self.sender.speaks(self.now, &mut self.dice) {
                    let wire = TimeDelta::milliseconds(self.dice.below(300) as i64);
                    self.after(wire, Event::Deliver(id, kind));
                    self.insist_later();
                }
                self.about_an_alert();
                if more > 0 && !self.healed {
                    let pause = match self.dice.below(3) {
                        // A storm.
                        0 => TimeDelta::milliseconds(self.dice.below(2_000) as i64),
                        1 => TimeDelta::milliseconds(self.dice.below(60_000) as i64),
                        _ => self.minutes(1, 20),
                    };
                    self.after(pause, Event::Tells(more - 1));
                }
            }
            Event::Insists => {
                self.insists = false;
                self.insist(false);
            }
            Event::Calms => self.insist(true),
            Event::Rules { life } => self.look_at_rules(life),
            Event::Answered { life, number } => {
                let is_it = self.asked.as_ref().is_some_and(|asked| asked.number == number);
                let life_now = self.life;
                if let Some(bot) = self.bot.as_mut().filter(|_| is_it && life == life_now) {
                    bot.inbox.push((InputId::new(format!("rules:{life}:{number}")), InputKind::Rules));
                    if !self.healed && self.dice.below(24) == 0 {
                        // If anything follows from it, it is on the record and noted nowhere.
                        self.trap = Some(Dies::BeforeLettingGo);
                    }
                }
            }
            Event::Crash { power } => self.die(power, true),
            Event::Restart => self.start()?,
            Event::Trap(dies) => self.trap = Some(dies),
            Event::Fuse(calls) => {
                if self.bot.is_some() {
                    self.power.off_in(calls);
                }
            }
            Event::Chat(up) => self.neighbours.chat_down = !up,
            Event::Pager(up) => self.neighbours.pager_down = !up,
            Event::Service(which, well) => self.well[which] = well,
            Event::Disk(fault) => self.set_disk(fault),
            Event::Policy => {
                self.setup.holds = self.dice.below(self.setup.policies() as u64) as usize;
                let adopted = self.setup.policy();
                if let Some(bot) = &mut self.bot {
                    bot.adopt(adopted);
                }
            }
            Event::TakenUp => {
                let Some(bot) = &self.bot else { return Ok(()) };
                let untaken = bot.state.open().find(|incident| !incident.is_acknowledged());
                if let Some(action) = untaken.map(|incident| format!("ack:{}", incident.id.0)) {
                    self.deliver(team::press(team::actor("ana"), action), TimeDelta::zero());
                }
            }
            Event::CardDeleted => {
                let Some(bot) = &mut self.bot else { return Ok(()) };
                let card = bot.state.open().find_map(|incident| incident.card.clone());
                let board = bot.state.team.deploys.values().filter(|deploy| deploy.is_open());
                let card = board.filter_map(|deploy| deploy.card.clone()).next().or(card);
                if let Some(card) = card {
                    let id = InputId::new(format!("gone:{}:{}", card.place, card.message));
                    bot.inbox.push((id, InputKind::Gone(Gone::Message(card))));
                }
            }
        }
        Ok(())
    }

    fn person(&mut self) {
        if self.healed {
            return;
        }
        let Some(bot) = &self.bot else {
            let wait = self.minutes(1, 5);
            self.after(wait, Event::Person);
            return;
        };
        let busy = bot.state.open().next().is_some();
        let ships = bot
            .state
            .team
            .deploys
            .values()
            .any(|deploy| deploy.is_running() || matches!(deploy.phase, Phase::Planned { .. }));
        let kind = team::act(&bot.state, &mut self.dice);
        let wait = TimeDelta::milliseconds(self.dice.below(1_500) as i64);
        self.deliver(kind, wait);
        if self.dice.below(if ships { 4 } else { 10 }) == 0 {
            // Somebody else at the same moment.
            self.after(wait, Event::Person);
            return;
        }
        let pause = if ships {
            self.minutes(0, 3)
        } else if busy {
            self.minutes(0, 14)
        } else {
            self.minutes(60, 600)
        };
        self.after(pause, Event::Person);
    }

    /// Looks often while something is red or being verified, and seldom otherwise: what is green and stays so changes nothing.
    fn look(&mut self) {
        let (well, now) = (self.well, self.now);
        let mut soon = well.contains(&false);
        if let Some(bot) = &mut self.bot {
            soon |= bot.state.open().any(|incident| incident.status == Status::Monitoring);
            soon |= !bot.state.team.down.is_empty();
            for (name, well) in SERVICES.iter().zip(well) {
                let seen =
                    if well { Seen::Green { took_ms: 12 } } else { Seen::Red { why: "connection refused".to_owned() } };
                let look = Measurement {
                    service: Service::new(*name),
                    stage: Stage::Production,
                    at: now,
                    seen,
                    certificate_ends: None,
                };
                let id = InputId::new(format!("look:{name}:{}", now.timestamp_millis()));
                bot.inbox.push((id, InputKind::Measured(look)));
            }
        }
        self.after(if soon { TimeDelta::seconds(60) } else { TimeDelta::minutes(20) }, Event::Look);
    }

    /// As the driver does: what must be asked is asked, and the next look comes when this one is back.
    fn look_at_rules(&mut self, life: u32) {
        let (now, life_now) = (self.now, self.life);
        let Some(bot) = self.bot.as_ref().filter(|_| life == life_now) else { return };
        let asks = bot.asks(now, &self.setup);
        let asked = self.watched.ask(now, &asks, self.healed, &mut self.dice);
        self.after(asked.takes, Event::Answered { life, number: asked.number });
        self.after(TimeDelta::seconds(EVERY_S), Event::Rules { life });
        self.asked = Some(asked);
    }

    /// The rules were looked at, and it is on the record what follows.
    fn rules_looked_at(&mut self, before: &[String]) -> Result<(), String> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let Some(bot) = &mut self.bot else { return Ok(()) };
        let rings = &self.book.rings;
        let fires = |rule: &str| (before.iter().any(|one| one == rule), rings.fires(rule));
        self.watched.looked(self.now, &asked, self.setup.holds, fires)?;
        self.watched.note(bot.note(), !self.is_disk_bad);
        self.tally.looks += 1;
        Ok(())
    }

    /// Nothing has changed for long: what is beyond its bound fires, on one card that stands and is open.
    fn rules_in_peace(&self) -> Result<(), String> {
        let Some(bot) = &self.bot else { return Err("the bot does not come up again".to_owned()) };
        self.watched.reckon(self.now, self.setup.holds, |rule| self.book.rings.fires(rule))?;
        for (rule, id) in self.book.rings.rules() {
            let Some(group) = bot.state.alerts.get(id) else { return Err(format!("1: {id} of {rule} is forgotten")) };
            let host = group.card_of.and_then(|host| bot.state.alerts.get(host)).unwrap_or(group);
            // What the chat refused for good is on the record as such.
            let refused = |effect: &Effect| {
                let is_card = matches!(effect.kind, EffectKind::AlertCard { alert, .. } if alert == host.id);
                is_card && self.book.end_of(effect.id).is_some_and(|end| end != "done")
            };
            let is_told = host.card.is_some() || group.held.is_some() || self.book.effects().any(refused);
            if group.over.is_some() || host.over.is_some() || !is_told {
                return Err(format!("1: {rule} fires, and stands on no open card: {group:?} {host:?}"));
            }
        }
        Ok(())
    }

    fn look_at_releases(&mut self) {
        let now = self.now;
        if let Some(bot) = &mut self.bot {
            for host in &self.hosts {
                let id = InputId::new(format!("releases:{}:{}", host.app, now.timestamp_millis()));
                bot.inbox.push((id, InputKind::Releases(host.look())));
            }
        }
        // The list is away now and then, and a stage that began and ended meanwhile is over when it is read again.
        let away = if self.dice.below(5) == 0 { self.minutes(15, 60) } else { TimeDelta::zero() };
        self.after(TimeDelta::minutes(3) + away, Event::Releases);
    }

    fn set_disk(&mut self, fault: DiskFault) {
        self.is_disk_bad = !matches!(fault, DiskFault::Well);
        let used = {
            self.disk.set_faults(Faults { capacity_bytes: Some(ROOM_BYTES), ..Faults::default() });
            let disk: &dyn crate::ports::disk::Disk = &self.disk;
            ROOM_BYTES - disk.free_bytes().unwrap_or(ROOM_BYTES)
        };
        self.disk.set_faults(match fault {
            DiskFault::Well => Faults::default(),
            DiskFault::Sync(after) => Faults { fail_sync_in: Some(after), ..Faults::default() },
            DiskFault::Full(left) => Faults { capacity_bytes: Some(used + left), ..Faults::default() },
        });
    }

    fn die(&mut self, power: bool, between_turns: bool) {
        let Some(bot) = self.bot.take() else { return };
        self.say(|| format!("the process dies{}", if power { ", and the power with it" } else { "" }));
        self.life += 1;
        let now = self.now;
        self.tally.torn_steps += self.hosts.iter_mut().map(|host| host.orphan(now)).sum::<u64>();
        self.before = between_turns.then_some(bot.state);
        if power {
            self.tally.power_cuts += 1;
            self.disk.cut_power(&mut self.dice);
        } else {
            self.tally.kills += 1;
        }
        self.power = Power::on();
        let away = match self.dice.below(6) {
            // A fault from before can still end a process; then it is brought up at once.
            _ if self.healed => TimeDelta::seconds(1),
            0..4 => TimeDelta::milliseconds(500 + self.dice.below(20_000) as i64),
            4 => self.minutes(1, 60),
            _ => self.minutes(60, 300),
        };
        self.after(away, Event::Restart);
    }

    fn start(&mut self) -> Result<(), String> {
        if self.bot.is_some() {
            return Ok(());
        }
        let (bot, found) = match Bot::start(&self.disk, &self.power, self.now, &self.setup) {
            Ok(started) => started,
            Err(Failure::Dead) => {
                self.say(|| "the log could not be opened".to_owned());
                self.after(TimeDelta::seconds(20), Event::Restart);
                return Ok(());
            }
            Err(Failure::Broken(why)) => return Err(why),
        };
        self.say(|| format!("the process comes up: {} lines", found.lines.len()));
        self.tally.torn += u64::from(found.torn);
        for (seq, hash) in &self.released {
            if found.lines.get(seq) != Some(hash) {
                return Err(format!("1: line {seq} was answered for and is lost"));
            }
        }
        self.released = found.lines;
        let mut book = Book::default();
        book.rings.delay = self.setup.resolve_delay();
        book.ships.yes = std::mem::take(&mut self.book.ships.yes);
        book.ships.typed = std::mem::take(&mut self.book.ships.typed);
        for decided in &found.decided {
            book.read(decided)?;
        }
        self.book = book;
        let rings = &self.book.rings;
        let note = self.watched.restart(self.now, |rule| rings.rule_told(rule));
        let mut bot = bot;
        bot.go_on(note.as_deref(), self.now);
        self.asked = None;
        if self.has_looks {
            self.after(TimeDelta::zero(), Event::Rules { life: self.life });
        }
        let again = fold(&found.decided);
        if again.kept() != bot.state.kept() {
            return Err("4: folding the log twice gives two states".to_owned());
        }
        if let Some(before) = self.before.take()
            && before.kept() != bot.state.kept()
        {
            let differs = if before.team != bot.state.team { "the team" } else { "incidents or what is pending" };
            return Err(format!("4: the fold of the log is not what the bot knew: {differs} differs"));
        }
        if let Some(lost) = self.acknowledged.iter().find(|input| !bot.state.has_seen(input)) {
            return Err(format!("1: the acknowledged input {lost} is forgotten"));
        }
        self.bot = Some(bot);
        // As the shell does: what was on its way is handed to the outbox before the first turn.
        self.start_work()
    }

    /// One turn of the loop, and what it must have left behind.
    fn turn(&mut self) -> Result<(), String> {
        let Some(bot) = &mut self.bot else { return Ok(()) };
        let (now, dies) = (self.now, self.trap.take());
        let before = bot.state.seq;
        let asks = bot
            .inbox
            .iter()
            .any(|(_, kind)| matches!(kind, InputKind::Call(_) | InputKind::Press(_) | InputKind::Filled(_)));
        // Now well, now bad, now not told, ten minutes each.
        let errors =
            [Some(0.001), Some(0.09), None][now.timestamp().div_euclid(600).rem_euclid(3).unsigned_abs() as usize];
        let looks = bot.inbox.iter().any(|(_, kind)| matches!(kind, InputKind::Rules));
        let rules = self.asked.as_ref().filter(|_| looks).map(|asked| asked.figures.clone()).unwrap_or_default();
        let fired: Vec<String> =
            if looks { self.book.rings.rules().map(|(rule, _)| rule.to_owned()).collect() } else { Vec::new() };
        let mut told = Told { errors, rules, ..Told::default() };
        if asks {
            for host in &self.hosts {
                let said = host.inventory(now, &mut self.dice);
                told.inventories.extend(said.map(|said| (host.app.to_owned(), said)));
                let seen = host.report(now, SERVICES[0], &mut self.dice);
                told.health.extend(seen.into_iter().flat_map(|report| report.stages));
            }
        }
        match bot.turn(now, &self.setup, &mut self.book, dies, &told) {
            Ok(turn) => {
                let due = bot.state.next_due().is_some_and(|due| due <= now);
                let idle = due && bot.state.seq == before;
                if idle && !turn.refused {
                    return Err(format!("2: something fell due and nothing comes of it: {:?}", bot.state.next_due()));
                }
                turn.answered.iter().for_each(|id| self.sender.heard(id));
                if !turn.refused {
                    self.sender.check(&bot.state.alerts, now)?;
                }
                self.tally.full_disks += u64::from(turn.refused);
                self.tally.withdrawn += turn.withdrawn;
                self.tally.decisions += turn.released.len() as u64;
                if self.trace.is_some() && !turn.acknowledged.is_empty() {
                    let words = format!("recorded {:?}", turn.released.first().map(|one| one.0));
                    let inputs = turn.acknowledged.iter().map(InputId::as_str).collect::<Vec<_>>().join(", ");
                    self.say(|| format!("{words}: {inputs}"));
                }
                self.released.extend(turn.released);
                self.acknowledged.extend(turn.acknowledged);
                if turn.refused {
                    self.watched.refused(self.now);
                }
                if turn.looked {
                    self.rules_looked_at(&fired)?;
                }
                self.start_work()
            }
            Err(Failure::Broken(why)) => Err(why),
            Err(Failure::Dead) => {
                let power = self.power.is_off() || self.dice.below(2) == 0;
                self.die(power, false);
                Ok(())
            }
        }
    }

    fn start_work(&mut self) -> Result<(), String> {
        let now = self.now;
        let Some(bot) = &mut self.bot else { return Ok(()) };
        for (key, step) in bot.outbox.start(now, self.setup.workspace) {
            self.step(key, step)?;
        }
        Ok(())
    }

    fn step(&mut self, key: String, step: Step) -> Result<(), String> {
        let life = self.life;
        match step {
            Step::Send(id, request) => {
                if matches!(request, Request::Post { .. } | Request::Page { .. }) {
                    self.book.may_send(id)?;
                }
                if let Request::Post { text, .. } = &request
                    && text.contains(CANARY)
                {
                    return Err(format!("8: a secret is about to be posted: {text}"));
                }
                let wire = TimeDelta::milliseconds(self.dice.below(300) as i64);
                self.after(wire, Event::Arrive { life, key, request });
            }
            Step::Act(call) => {
                let wire = TimeDelta::milliseconds(self.dice.below(300) as i64);
                self.after(wire, Event::Begin { life, key, call });
            }
            Step::Survey(app) => {
                let long = TimeDelta::milliseconds(500 + self.dice.below(8_000) as i64);
                self.after(long, Event::Surveyed { life, key, app });
            }
            Step::Look => self.after(TimeDelta::seconds(2), Event::Looked { life, key }),
            Step::Pause(wait) => self.after(wait.max(TimeDelta::milliseconds(1)), Event::Resume { life, key }),
            Step::End(id, end) => self.end(id, end),
        }
        Ok(())
    }

    fn end(&mut self, id: EffectId, end: Option<EffectEnd>) {
        let Some(bot) = &mut self.bot else { return };
        if let Some(end) = end {
            let kind = InputKind::Effect(EffectOutcome { effect: id, end });
            bot.inbox.push((InputId::new(format!("effect:{id}")), kind));
        }
    }

    fn arrive(&mut self, life: u32, key: String, request: &Request) -> Result<(), String> {
        let fate = self.neighbours.fate(request, &mut self.dice);
        let mut truth = Reply::InDoubt;
        match fate.done_in {
            Some(wait) if wait > TimeDelta::zero() => self.after(wait, Event::Late(request.clone())),
            Some(_) => truth = self.neighbours.perform(request, self.now),
            None => {}
        }
        match request {
            Request::Post { .. } => self.tally.posts += 1,
            Request::Page { .. } => self.tally.pages += 1,
            _ => {}
        }
        let heard = fate.heard.unwrap_or(truth);
        self.tally.in_doubt += u64::from(heard == Reply::InDoubt);
        self.after(fate.after, Event::Heard { life, key, reply: heard });
        match self.neighbours.doubled() {
            Some(mark) => Err(format!("2: people saw the post {mark} twice")),
            None => Ok(()),
        }
    }

    /// A step begins, in a client that dies with its process.
    fn begin(&mut self, life: u32, key: String, call: Call) {
        if self.bot.is_none() || life != self.life {
            return;
        }
        let Some(host) = self.hosts.iter_mut().find(|host| host.app == call.app) else { return };
        let going = host.begin(call.clone(), self.now, &mut self.dice);
        if let Some((wait, write)) = going.write {
            if self.dies_mid_step && call.step.machine().is_some() {
                self.dies_mid_step = false;
                let (when, power) = (self.dice.below(40_000) as i64, self.dice.below(2) == 0);
                self.after(TimeDelta::milliseconds(when), Event::Crash { power });
            }
            self.after(wait, Event::Land(write));
        }
        if let Some((wait, said)) = going.end {
            self.after(wait, Event::Stepped { life, key: key.clone(), call, said });
        }
        if let Some((wait, call)) = going.again {
            self.after(wait.max(TimeDelta::milliseconds(1)), Event::Begin { life, key, call });
        }
    }

    /// From now on nothing goes wrong any more.
    fn heal(&mut self) {
        self.say(|| "from now on nothing goes wrong".to_owned());
        self.healed = true;
        self.watched.calm(self.now, false, &mut self.dice);
        let fault = |event: &Event| {
            matches!(event, Event::Crash { .. } | Event::Trap(_) | Event::Fuse(_) | Event::Disk(_) | Event::CardDeleted)
                || matches!(event, Event::MidStep | Event::ByHand(..) | Event::Ship(_) | Event::Tells(_))
        };
        self.queue.retain(|_, event| !fault(event));
        self.hosts.iter_mut().for_each(|host| host.healed = true);
        (self.neighbours.healed, self.dies_mid_step) = (true, false);
        (self.neighbours.chat_down, self.neighbours.pager_down) = (false, false);
        self.well = [true; SERVICES.len()];
        self.trap = None;
        self.set_disk(DiskFault::Well);
        self.power.off_in(i64::MAX / 2);
        self.after(TimeDelta::seconds(1), Event::Restart);
    }

    fn insist_later(&mut self) {
        if !std::mem::replace(&mut self.insists, true) {
            self.after(TimeDelta::seconds(20), Event::Insists);
        }
    }

    /// Another tool says again what was not answered; or that everything is over.
    fn insist(&mut self, calm: bool) {
        let says = if calm { self.sender.calms(self.now) } else { self.sender.again(self.now) };
        if !says.is_empty() {
            self.insist_later();
        }
        for (id, kind) in says {
            let wire = TimeDelta::milliseconds(self.dice.below(300) as i64);
            self.after(wire, Event::Deliver(id, kind));
        }
    }

    /// Somebody does something about an alert.
    fn about_an_alert(&mut self) {
        let Some(bot) = &self.bot else { return };
        let firing: Vec<u32> = bot.state.alerts.firing().map(|group| group.id.0).collect();
        if firing.is_empty() {
            return;
        }
        let id = firing[self.dice.below(firing.len() as u64) as usize];
        let kind = match self.dice.below(8) {
            0 => team::press(team::actor("ana"), format!("alert_ack:{id}")),
            1 => team::press(team::actor("ana"), format!("alert_quiet:{id}:1h")),
            2 => team::press(team::actor("ana"), format!("alert_quiet:{id}:up")),
            3 => team::press(team::actor("ana"), format!("alert_loud:{id}")),
            4 => team::press(team::actor("dmitri"), format!("alert_declare:{id}")),
            5 => {
                let silence = [("match", "alertname=Slow"), ("for", "20m"), ("why", "because it is known")];
                let silence = silence.map(|(name, value)| (name, team::text(value)));
                team::call(team::actor("ana"), "alerts silence", &silence)
            }
            _ => return,
        };
        let wait = TimeDelta::milliseconds(self.dice.below(900) as i64);
        self.deliver(kind, wait);
    }

    fn close_everything(&mut self) {
        let Some(bot) = &self.bot else { return };
        let open: Vec<String> = bot.state.open().map(|incident| incident.id.to_string()).collect();
        for name in open {
            let args = [("anyway", team::text("everything is well again")), ("incident", team::text(&name))];
            let kind = team::call(team::actor("mia"), "resolve", &args);
            self.inputs += 1;
            self.after(TimeDelta::seconds(1), Event::Deliver(InputId::new(format!("in:{}", self.inputs)), kind));
        }
    }

    /// The end: nothing is open, nothing waits, everything asked for has one end, and no secret is anywhere.
    fn reckon(&mut self) -> Result<(), String> {
        let Some(bot) = &self.bot else { return Err("the bot does not come up again".to_owned()) };
        if let Some(incident) = bot.state.open().next() {
            return Err(format!("{} could not be resolved", incident.id));
        }
        if let Some(group) = bot.state.alerts.iter().find(|group| group.over.is_none()) {
            return Err(format!("1: everything was answered to be over, and {} fires: {group:?}", group.id));
        }
        if let Some((id, effect)) = bot.state.pending.iter().next() {
            return Err(format!("6: effect {id} never ended: {:?}", effect.kind));
        }
        for effect in self.book.effects() {
            let Some(end) = self.book.end_of(effect.id) else {
                return Err(format!("6: effect {} has no end on the record", effect.id));
            };
            let seen = self.neighbours.seen(&bot.outbox.mark(effect.id));
            let posts = matches!(effect.kind, EffectKind::Post { .. } | EffectKind::Card { .. })
                || matches!(effect.kind, EffectKind::Board { .. } | EffectKind::AlertCard { .. });
            if posts && end == "done" && seen != 1 {
                return Err(format!("2: the post {} is done on the record and was seen {seen} times", effect.id));
            }
        }
        if let Some(deploy) = bot.state.team.deploys.values().find(|deploy| {
            // One that waits for its hours, or whose hours have come just now, has an instant at which it is looked at again.
            let until = match deploy.phase {
                Phase::Scheduled { until } | Phase::Planned { until } => Some(until),
                _ => None,
            };
            let waits = until > Some(self.now);
            !waits && (deploy.is_open() || deploy.verdict.is_none())
        }) {
            return Err(format!("5: {} is left in {:?}", deploy.id, deploy.phase));
        }
        self.book.ships.reckon(&self.hosts, |id| bot.outbox.mark(id))?;
        let (plans, deploys) = self.book.ships.count();
        (self.tally.plans, self.tally.deploys, self.tally.steps) = (plans, deploys, self.book.ships.steps);
        self.tally.alerts = self.sender.told;
        self.tally.held = self.book.held;
        (self.tally.fired, self.tally.went_on) = (self.book.rings.fired, self.book.rings.went_on);
        (self.tally.groups, self.tally.stormy) = (self.book.rings.told, self.book.rings.stormy);
        self.tally.taken_over = self.book.ships.taken_over;
        (self.tally.forward, self.tally.undone) = (self.book.ships.forward, self.book.ships.undone);
        (self.tally.crossed, self.tally.scaled) = (self.book.ships.crossed, self.book.ships.scaled);
        self.tally.restarted_again = self.hosts.iter().map(|host| host.forgotten.len() as u64).sum();
        let export = bot.export();
        if export.contains(CANARY) {
            let line = export.lines().find(|line| line.contains(CANARY)).unwrap_or_default();
            return Err(format!("8: a secret stands in the record: {line}"));
        }
        self.tally.incidents += u64::from(bot.state.team.incidents);
        // Once more through the door of a restart: the record says the same.
        self.die(true, true);
        self.start()
    }
}
