//! Questions as they are asked, and answers of every kind as they are read.

use super::baseline::{Baseline, Drift, Kept, compare, keep, measured};
use super::*;
use crate::domain::metrics::Labels;
use crate::domain::policy::Policy;
use crate::domain::policy::SHIPPED;
use crate::domain::text::metrics as words;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_500_000, 0).unwrap_or_default() + TimeDelta::minutes(minutes)
}

fn series(app: &str, values: &[f64]) -> Series {
    let labels = Labels::from([("app".to_owned(), app.to_owned())]);
    Series { labels, points: (0_i64..).zip(values).map(|(n, value)| (at(n), *value)).collect() }
}

fn answers(key: &str, told: Vec<Series>) -> Answers {
    Answers { figures: [(key.to_owned(), Ok(told))].into(), ..Answers::default() }
}

fn shop(service: &Service) -> Of<'_> {
    Of { service, stage: Stage::Production, app: "shop" }
}

fn hour() -> Over {
    Over::last(TimeDelta::minutes(59), at(59))
}

fn shipped() -> Policy {
    Policy::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"))
}

fn latency(policy: &Policy) -> Shown<'_> {
    let target = policy.targets.iter().find(|target| target.figure == Some(Figure::Latency));
    Shown { figure: Some(Figure::Latency), target }
}

#[test]
fn an_app_is_only_ever_a_name_in_an_expression() {
    assert_eq!(selector(&["shop-api"]), "app=\"shop-api\"");
    assert_eq!(selector(&["a", "b.c"]), "app=~\"a|b\\\\.c\"");
    assert_eq!(selector(&["a\"} or vector(1) #\\"]), "app=\"a\\\"} or vector(1) #\\\\\"");
    let promql = Figure::Errors.promql(&["shop"], TimeDelta::minutes(5));
    assert_eq!(
        promql,
        "(sum by (app) (rate(fly_edge_http_responses_count{app=\"shop\",status=~\"5..\"}[300s])) or 0 * sum by (app) \
         (rate(fly_edge_http_responses_count{app=\"shop\"}[300s]))) / (sum by (app) \
         (rate(fly_edge_http_responses_count{app=\"shop\"}[300s])) > 0)"
    );
    for figure in Figure::ALL {
        let promql = figure.promql(&["a", "b"], TimeDelta::minutes(5));
        let count = |letter: char| promql.matches(letter).count();
        assert_eq!((count('('), count('{'), count('[')), (count(')'), count('}'), count(']')), "{promql}");
    }
}

#[test]
fn a_week_is_asked_for_in_steps_that_its_rates_cover() {
    for (days, step_s) in [(1, 60), (7, 300), (14, 600)] {
        let over = Over::last(TimeDelta::days(days), at(0));
        assert_eq!(over.step.num_seconds(), step_s);
        assert!(over.window() >= over.step, "no peak falls between two steps");
    }
}

#[test]
fn shares_become_hundredths_and_the_newest_value_is_judged() {
    let (policy, service) = (shipped(), Service::new("shop"));
    let mut values = vec![0.2; 60];
    values[30] = 1.4;
    let told = answers("latency", vec![series("basket", &[9.0]), series("shop", &values)]);
    let reading = read(&latency(&policy), &shop(&service), hour(), &told).unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!((reading.now, reading.mark, reading.highest), (Some(0.2), Mark::Ok, Some((at(30), 1.4))));
    assert_eq!((reading.since, reading.or_longer), (Some(at(31)), false));
    let errors = Shown { figure: Some(Figure::Errors), target: None };
    let reading = read(&errors, &shop(&service), hour(), &answers("errors", vec![series("shop", &[0.07; 60])]));
    let reading = reading.unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!(reading.now.map(|value| value.round()), Some(7.0));
    assert_eq!((reading.since, reading.or_longer), (Some(at(0)), true));
}

#[test]
fn no_data_is_said_and_is_no_verdict() {
    let (policy, service) = (shipped(), Service::new("shop"));
    let (shown, of) = (latency(&policy), shop(&service));
    let zone = chrono_tz::UTC;
    let said = |answers: &Answers| words::line(&shown, &read(&shown, &of, hour(), answers), at(59), zone);
    assert_eq!(said(&answers("latency", Vec::new())), "? P95 latency: no data: no requests came");
    assert_eq!(
        said(&answers("latency", vec![series("shop", &[f64::NAN; 60])])),
        "? P95 latency: no data: no requests came"
    );
    assert_eq!(
        said(&answers("latency", vec![series("shop", &[0.2; 20])])),
        "? P95 latency: no data since 06:19, when it was 200 ms"
    );
    assert_eq!(said(&Answers::default()), "? P95 latency: not known: not answered in time");
    let refused = Answers {
        figures: [("latency".to_owned(), Err("Fly's metrics answered 503".to_owned()))].into(),
        ..Answers::default()
    };
    assert_eq!(said(&refused), "? P95 latency: not known: Fly's metrics answered 503");
    assert_eq!(
        said(&answers("latency", vec![series("shop", &[f64::INFINITY; 60])])),
        "✗ P95 latency: ? now; critical over 1 s"
    );
}

#[test]
fn of_several_lines_the_worst_is_judged() {
    let (policy, service) = (shipped(), Service::new("shop"));
    let target = policy.targets.iter().find(|target| target.figure == Some(Figure::Memory));
    let shown = Shown { figure: Some(Figure::Memory), target };
    let mut other = series("shop", &[0.9; 60]);
    other.labels.insert("instance".to_owned(), "b".to_owned());
    let told = answers("memory", vec![series("shop", &[0.5; 60]), other]);
    let reading = read(&shown, &shop(&service), hour(), &told).unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!((reading.lines.len(), reading.now, reading.mark), (2, Some(90.0), Mark::Critical));
    assert_eq!(reading.lines[1].name, "b");
}

#[test]
fn a_baseline_says_what_drifted_and_what_did_not() {
    let service = Service::new("shop");
    let of = shop(&service);
    let told = |latency: f64, errors: f64| Answers {
        figures: [
            ("latency".to_owned(), Ok(vec![series("shop", &[latency; 60])])),
            ("errors".to_owned(), Ok(vec![series("shop", &[errors; 60])])),
            ("memory".to_owned(), Ok(Vec::new())),
        ]
        .into(),
        ..Answers::default()
    };
    let (figures, without) = measured(&of, hour(), &told(0.3, 0.001));
    assert_eq!(figures, [(Figure::Latency, Kept::new(0.3, 0.3)), (Figure::Errors, Kept::new(0.1, 0.1))]);
    assert_eq!(without.len(), 3);
    let baseline =
        Baseline { service: service.clone(), stage: Stage::Production, version: Some(7), at: at(0), figures };
    let drifted = compare(&baseline, &of, hour(), &told(0.45, 0.002));
    assert_eq!(drifted[0].1, Drift::Worse { was: 0.3, is: 0.45 });
    assert_eq!(drifted[1].1, Drift::Same { was: 0.1, is: 0.2 }, "a tenth of a hundredth is noise");
    assert_eq!(words::drift(drifted[0].0, &drifted[0].1), "⚠ P95 latency: 300 ms then, 450 ms now (+50 %)");
    let gone = compare(&baseline, &of, hour(), &Answers::default());
    assert!(matches!(&gone[0].1, Drift::NotNow { why, .. } if why == "not known: not answered in time"));

    let mut all = Vec::new();
    for version in 0..40 {
        keep(&mut all, Baseline { version: Some(version), ..baseline.clone() });
    }
    keep(&mut all, Baseline { version: Some(39), at: at(9), ..baseline.clone() });
    assert_eq!((all.len(), all[0].version, all.last().map(|one| one.at)), (baseline::KEPT_MAX, Some(32), Some(at(9))));
}
