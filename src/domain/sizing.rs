//! What size a service should have, by how it was used in a day: a suggestion with a button on the digest, and never more.
//!
//! Pure. The triggers are the team's: memory or CPU in use above 70 % consistently, kills for want of memory. What the host does not
//! sell is not suggested, and nothing is where machines are of different sizes: somebody has chosen those.

use chrono::TimeDelta;

use super::deploy::scale::Scale;
use super::draft::Ctx;
use super::figures::{Figure, Of, Over, Shown, every_production, questions as figures, read};
use super::hosting::Guest;
use super::ids::Service;
use super::input::{Answers, Query};

/// What the button of a suggestion says first.
pub const SIZE: &str = "size";
/// How long use is looked at.
const DAY: TimeDelta = TimeDelta::hours(24);
/// In use above this is busy, in per cent.
const BUSY_PERCENT: f64 = 70.0;
/// Consistently is this share of what was measured.
const CONSISTENTLY: f64 = 0.75;
/// Less than this says nothing of a day.
const MEASURED_MIN: TimeDelta = TimeDelta::hours(6);
/// The largest count of processors that is tried.
const CPUS_MAX: u16 = 128;

/// Another size for a service's machines.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// Which service, in production.
    pub service: Service,
    /// What was seen.
    pub seen: Seen,
    /// What its machines have.
    pub now: Guest,
    /// What they should have.
    pub then: Guest,
}

/// What speaks for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// Kills for want of memory, in a day.
    Killed(usize),
    /// Memory in use above the bound, for this share of the time.
    Memory(f64),
    /// Processors in use above the bound, for this share of the time.
    Cpu(f64),
}

impl Suggestion {
    /// What its button does.
    pub fn action(&self) -> String {
        let Guest { cpus, memory_mb, .. } = self.then;
        format!("{SIZE}:{cpus}:{memory_mb}:{}", self.service)
    }

    /// What is planned.
    pub fn scale(&self) -> Scale {
        scale(self.then.cpus, self.then.memory_mb)
    }
}

/// Reads what the button of a suggestion does: the size, and the name of the service.
pub fn pressed(rest: &str) -> Option<(Scale, &str)> {
    let mut parts = rest.splitn(3, ':');
    let (cpus, memory_mb) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((scale(cpus, memory_mb), parts.next()?))
}

fn scale(cpus: u16, memory_mb: u32) -> Scale {
    Scale::Cpu { cpus, cpu_kind: None, memory_mb: Some(memory_mb), group: None }
}

/// What must be asked first: use in production, and what sizes there are.
pub fn questions(ctx: &Ctx<'_>) -> Vec<Query> {
    let all = every_production(ctx);
    let is_asked = |query: &Query| match query {
        Query::Figures(ask) => [Figure::Memory, Figure::Cpu].iter().any(|figure| figure.key() == ask.key),
        _ => false,
    };
    let measured = figures(ctx, &all, Over::last(DAY, ctx.now)).into_iter().filter(is_asked);
    let sizes = all.iter().map(|of| Query::Inspect(of.app.to_owned()));
    measured.chain(sizes).collect()
}

/// Suggestions, a service at most one: what is killed first, then memory, then processors.
pub fn suggest(ctx: &Ctx<'_>, answers: &Answers) -> Vec<Suggestion> {
    every_production(ctx).iter().filter_map(|of| of_service(ctx, of, answers)).collect()
}

fn of_service(ctx: &Ctx<'_>, of: &Of<'_>, answers: &Answers) -> Option<Suggestion> {
    let now = size(answers, of.app)?;
    let kills = ctx.state.measured.rules.kills(of.app, ctx.now - DAY);
    let seen = match () {
        () if kills > 0 => Seen::Killed(kills),
        () => {
            let memory = busy(ctx, of, Figure::Memory, answers).map(Seen::Memory);
            memory.or_else(|| busy(ctx, of, Figure::Cpu, answers).map(Seen::Cpu))?
        }
    };
    let then = match seen {
        Seen::Killed(_) | Seen::Memory(_) => more_memory(&now),
        Seen::Cpu(_) => more_cpus(&now),
    }?;
    Some(Suggestion { service: of.service.clone(), seen, now, then })
}

/// The size that all machines have.
fn size(answers: &Answers, app: &str) -> Option<Guest> {
    let inventory = answers.inventory(app)?.as_ref().ok()?;
    let mut sizes = inventory.machines.iter().map(|machine| machine.guest.as_ref());
    let first = sizes.next()??;
    sizes.all(|other| other == Some(first)).then(|| first.clone())
}

/// For which share of the time it was above the bound, when that is consistently.
fn busy(ctx: &Ctx<'_>, of: &Of<'_>, figure: Figure, answers: &Answers) -> Option<f64> {
    let over = Over::last(DAY, ctx.now);
    let reading = read(&Shown { figure: Some(figure), target: None }, of, over, answers).ok()?;
    let points = || reading.lines.iter().flat_map(|line| &line.points).filter(|(_, value)| !value.is_nan());
    let all = points().count();
    let step_s = usize::try_from(over.step.num_seconds()).ok()?;
    if all * step_s < usize::try_from(MEASURED_MIN.num_seconds()).ok()? {
        return None;
    }
    let above = points().filter(|(_, value)| *value > BUSY_PERCENT).count();
    #[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
    let share = above as f64 / all as f64;
    (share >= CONSISTENTLY).then_some(share)
}

/// Twice the memory, or what comes next to it; with as many processors as that needs.
fn more_memory(now: &Guest) -> Option<Guest> {
    let wanted = now.memory_mb.checked_mul(2)?;
    let with = |cpus| Guest { cpus, memory_mb: wanted, ..now.clone() };
    (now.cpus..=CPUS_MAX).map(with).find(|guest| guest.refuse().is_none())
}

/// The next count of processors, with as much memory as that needs.
fn more_cpus(now: &Guest) -> Option<Guest> {
    let with = |cpus: u16| {
        let memory = [1, 2, 4].into_iter().filter_map(|times| now.memory_mb.checked_mul(times));
        { memory }.map(|memory_mb| Guest { cpus, memory_mb, ..now.clone() }).find(|guest| guest.refuse().is_none())
    };
    (now.cpus.checked_add(1)?..=CPUS_MAX).find_map(with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_size_is_one_that_the_host_has() {
        let guest = |kind: &str, cpus, memory_mb| Guest { cpu_kind: kind.to_owned(), cpus, memory_mb };
        for (now, memory, cpus) in [
            (guest("shared", 1, 512), Some((1, 1024)), Some((2, 512))),
            // One processor takes 2048 MB at most.
            (guest("shared", 1, 2048), Some((2, 4096)), Some((2, 2048))),
            // Two need 512 MB at least.
            (guest("shared", 1, 256), Some((1, 512)), Some((2, 512))),
            (guest("shared", 8, 16_384), None, None),
            (guest("performance", 1, 2048), Some((1, 4096)), Some((2, 4096))),
            (guest("unheard of", 1, 512), None, None),
        ] {
            let told = |guest: Option<Guest>| guest.map(|guest| (guest.cpus, guest.memory_mb));
            assert_eq!((told(more_memory(&now)), told(more_cpus(&now))), (memory, cpus), "{now:?}");
        }
    }

    #[test]
    fn a_button_says_what_it_plans() {
        let now = Guest { cpu_kind: "shared".to_owned(), cpus: 1, memory_mb: 512 };
        let then = Guest { memory_mb: 1024, ..now.clone() };
        let one = Suggestion { service: Service::new("checkout"), seen: Seen::Killed(2), now, then };
        let action = one.action();
        let (scale, service) = pressed(action.strip_prefix("size:").expect("its verb")).expect("it is read");
        assert_eq!((scale, service), (one.scale(), "checkout"));
        assert_eq!(pressed("much:more:checkout"), None);
    }
}
