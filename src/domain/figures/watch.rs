//! Whether the error rate and the latency of a service speak against what is to be over: an incident's verification, a deploy's watch.
//!
//! Pure. Owns what is asked, which values count and when they object. No data is no objection, and is said.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Figure, Of, Over, Reading, Shown, of_host, of_service, read};
use crate::domain::draft::Ctx;
use crate::domain::health::Mark;
use crate::domain::input::{Answers, Query};
use crate::domain::text::metrics as words;

/// What is watched.
pub const WATCHED: [Figure; 2] = [Figure::Errors, Figure::Latency];
/// How far back a verification looks: its newest value is what counts, taken over the last five minutes.
const VERIFIED_OVER: TimeDelta = TimeDelta::minutes(15);
/// What a deploy is held against, before it began.
const BEFORE: TimeDelta = TimeDelta::hours(1);
/// A deploy objects over a warning only when it is so many times what was before.
const CLEARLY_WORSE: f64 = 2.0;
/// The shortest time that says something of a deploy.
const SINCE_MIN: TimeDelta = TimeDelta::minutes(1);

/// What must be asked before a verification of these passes.
pub fn questions(ctx: &Ctx<'_>, all: &[Of<'_>]) -> Vec<Query> {
    of_host(&WATCHED, all, Over::last(VERIFIED_OVER, ctx.now))
}

fn watched<'a>(ctx: &Ctx<'a>, of: &Of<'_>) -> impl Iterator<Item = Shown<'a>> {
    of_service(ctx, of.service).into_iter().filter(|shown| shown.figure.is_some_and(|figure| WATCHED.contains(&figure)))
}

/// What is critical now, a phrase each; nothing when all is well or nothing is known.
pub fn objections(ctx: &Ctx<'_>, all: &[Of<'_>], answers: &Answers) -> Vec<String> {
    let over = Over::last(VERIFIED_OVER, ctx.now);
    let of_one = |of: &Of<'_>| -> Vec<String> {
        let critical = watched(ctx, of).filter_map(|shown| {
            let value = now(read(&shown, of, over, answers).ok()?, Mark::Critical)?;
            Some(words::objection(of.service.as_str(), &shown, value, Mark::Critical))
        });
        critical.collect()
    };
    all.iter().flat_map(of_one).collect()
}

fn now(reading: Reading, mark: Mark) -> Option<f64> {
    reading.now.filter(|_| reading.mark == mark)
}

/// What was measured of these, in a phrase; none when nothing was.
pub fn said(ctx: &Ctx<'_>, all: &[Of<'_>], answers: &Answers) -> Option<String> {
    let over = Over::last(VERIFIED_OVER, ctx.now);
    let of_one = |of: &Of<'_>| -> Option<String> {
        let told = watched(ctx, of).filter_map(|shown| {
            let value = read(&shown, of, over, answers).ok()?.now?;
            Some(words::measured(&shown, value))
        });
        let told: Vec<String> = told.collect();
        let named = if all.len() > 1 { format!("{}: ", of.service) } else { String::new() };
        (!told.is_empty()).then(|| format!("{named}{}", told.join(", ")))
    };
    let told: Vec<String> = all.iter().filter_map(of_one).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// A deploy that was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched<'a> {
    /// Of what.
    pub of: Of<'a>,
    /// When the stage that put it up began.
    pub began: DateTime<Utc>,
    /// How long it was watched.
    pub watch_for: TimeDelta,
}

impl Watched<'_> {
    fn over(&self, now: DateTime<Utc>) -> Over {
        Over::last(now - (self.began - BEFORE), now)
    }

    /// What must be asked at the end of its watch.
    pub fn questions(&self, now: DateTime<Utc>) -> Vec<Query> {
        of_host(&WATCHED, &[self.of], self.over(now))
    }
}

/// What the figures say of a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// No worse than it may be: what was measured, in a phrase.
    Well(String),
    /// Worse: what is, in a phrase.
    Worse(String),
    /// No requests came.
    NoRequests,
    /// Nobody told.
    Nothing,
}

/// Holds what was measured since a deploy against its targets and the hour before.
pub fn compare(ctx: &Ctx<'_>, watched_one: &Watched<'_>, answers: &Answers) -> Says {
    let (of, now) = (&watched_one.of, ctx.now);
    let over = watched_one.over(now);
    // Each value is taken over minutes: those of the second half of the watch are of the new image alone, once so much time has
    // passed since it began. Sooner nothing can be said of it.
    let since = (now - (watched_one.watch_for / 2).max(SINCE_MIN)).max(watched_one.began + over.window());
    if since > now {
        return Says::Nothing;
    }
    let (mut told, mut worse, mut was_answered) = (Vec::new(), Vec::new(), false);
    for shown in watched(ctx, of) {
        let Ok(reading) = read(&shown, of, over, answers) else { continue };
        was_answered = true;
        let mean = |from: DateTime<Utc>, to: DateTime<Utc>| {
            let points = reading.lines.iter().flat_map(|line| &line.points);
            let within: Vec<f64> = points
                .filter(|(at, value)| (from..=to).contains(at) && value.is_finite())
                .map(|(_, value)| *value)
                .collect();
            (!within.is_empty()).then(|| within.iter().sum::<f64>() / within.len() as f64)
        };
        let Some(is) = mean(since, now) else { continue };
        let was = mean(over.from, watched_one.began);
        let mark = shown.target.map_or(Mark::Unknown, |target| target.judge(is));
        let is_worse = match (mark, was) {
            (Mark::Critical, _) => true,
            (Mark::Warning, Some(was)) => is >= was * CLEARLY_WORSE,
            _ => false,
        };
        let list = if is_worse { &mut worse } else { &mut told };
        list.push(words::since(&shown, is, was, mark, is_worse));
    }
    match () {
        () if !worse.is_empty() => Says::Worse(worse.join("; ")),
        () if !told.is_empty() => Says::Well(told.join(", ")),
        () if was_answered => Says::NoRequests,
        () => Says::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{InputId, Service};
    use crate::domain::metrics::Series;
    use crate::domain::policy::{Policy, SHIPPED};
    use crate::domain::state::State;
    use crate::domain::workspace::{Stage, Workspace};

    const TEAM: &str = "team = { name = \"t\", zone = \"UTC\" }\nchannels = { incidents = \"i\", test = \"t\" }\n\
        people = []\n[[services]]\nname = \"shop\"\nproduction = { fly_app = \"shop\" }";

    fn with(look: impl FnOnce(&Ctx<'_>, Of<'_>)) {
        let workspace: Workspace = toml::from_str(TEAM).unwrap_or_else(|error| panic!("{error}"));
        let policy = Policy::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
        let (state, input, service) = (State::default(), InputId::new("x"), Service::new("shop"));
        let now = DateTime::from_timestamp(1_795_500_000, 0).unwrap_or_default();
        let ctx = Ctx { state: &state, policy: &policy, workspace: &workspace, now, input: &input };
        look(&ctx, Of { service: &service, stage: Stage::Production, app: "shop" });
    }

    /// A value a minute: what it was `minutes` ago.
    fn told(ctx: &Ctx<'_>, key: &str, value: impl Fn(i64) -> f64) -> Answers {
        let points = (0..72).rev().map(|n| (ctx.now - TimeDelta::minutes(n), value(n))).collect();
        let series = vec![Series { points, ..Series::default() }];
        Answers { figures: [(key.to_owned(), Ok(series))].into(), ..Answers::default() }
    }

    #[test]
    fn only_what_is_critical_now_holds_a_verification() {
        with(|ctx, of| {
            let held = |answers: &Answers| objections(ctx, &[of], answers);
            assert_eq!(
                held(&told(ctx, "errors", |_| 0.081)),
                ["shop: error rate 8.1 %, critical over 5 %"],
                "over the critical bound"
            );
            assert!(held(&told(ctx, "errors", |_| 0.03)).is_empty(), "a warning is no objection");
            assert!(held(&told(ctx, "errors", |ago| if ago > 5 { 0.3 } else { 0.0 })).is_empty(), "it is over");
            assert!(held(&told(ctx, "memory", |_| 0.99)).is_empty(), "memory is not watched");
            assert!(held(&told(ctx, "errors", |ago| if ago > 7 { 0.3 } else { f64::NAN })).is_empty(), "no data");
            let refused =
                Answers { figures: [("errors".to_owned(), Err("503".to_owned()))].into(), ..Answers::default() };
            assert!(held(&refused).is_empty() && held(&Answers::default()).is_empty(), "nobody told");
            assert_eq!(said(ctx, &[of], &told(ctx, "latency", |_| 0.31)).as_deref(), Some("P95 latency 310 ms"));
            assert_eq!(said(ctx, &[of], &refused), None);
        });
    }

    #[test]
    fn a_deploy_is_held_against_its_targets_and_the_hour_before() {
        with(|ctx, of| {
            let watch_for = TimeDelta::minutes(10);
            let deploy = Watched { of, began: ctx.now - TimeDelta::minutes(12), watch_for };
            let says = |key: &str, before: f64, since: f64| {
                compare(ctx, &deploy, &told(ctx, key, |ago| if ago >= 12 { before } else { since }))
            };
            assert_eq!(
                says("errors", 0.002, 0.061),
                Says::Worse("error rate 6.1 % since (0.2 % before), critical over 5 %".to_owned())
            );
            assert!(
                matches!(says("errors", 0.061, 0.061), Says::Worse(_)),
                "critical is critical, whatever was before"
            );
            assert_eq!(
                says("errors", 0.01, 0.03),
                Says::Worse("error rate 3 % since (1 % before), warning over 1 %".to_owned())
            );
            assert_eq!(says("errors", 0.02, 0.03), Says::Well("error rate 3 % since (2 % before)".to_owned()));
            assert_eq!(says("errors", 0.0, 0.009), Says::Well("error rate 0.9 % since (0 % before)".to_owned()));
            assert!(matches!(says("latency", 0.2, 0.6), Says::Worse(_)));
            assert_eq!(
                says("latency", f64::NAN, 0.6),
                Says::Well("P95 latency 600 ms since (no requests before)".to_owned())
            );
            assert_eq!(says("errors", 0.002, f64::NAN), Says::NoRequests);
            assert_eq!(compare(ctx, &deploy, &Answers::default()), Says::Nothing);
            // Of a watch of four minutes every value is partly the old image's.
            let short = Watched { began: ctx.now - TimeDelta::minutes(4), watch_for: TimeDelta::minutes(4), ..deploy };
            assert_eq!(compare(ctx, &short, &told(ctx, "errors", |_| 0.5)), Says::Nothing);
            // What came while machines changed is not the new image's.
            let while_changing = told(ctx, "errors", |ago| if (6..12).contains(&ago) { 0.5 } else { 0.001 });
            assert!(matches!(compare(ctx, &deploy, &while_changing), Says::Well(_)));
        });
    }
}
