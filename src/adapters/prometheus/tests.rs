//! Answers of a source, whole, partial, wrong and hostile, and what is made of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::json;

use super::*;

/// Answers what it was told to, one after the other, then the last again.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    got: Arc<Mutex<Vec<(String, String, String)>>>,
}

async fn answer(State(fake): State<Fake>, uri: Uri, headers: HeaderMap, body: String) -> impl IntoResponse {
    let auth = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    fake.got.lock().map(|mut got| got.push((uri.to_string(), auth, body))).unwrap_or_default();
    let mut queue = fake.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (status, body) = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }.unwrap_or_default();
    (StatusCode::from_u16(status).unwrap_or_default(), [("retry-after", "0")], body)
}

async fn source(answers: Vec<(u16, String)>) -> (Fake, Prometheus) {
    let fake = Fake { answers: Arc::new(Mutex::new(answers.into())), ..Fake::default() };
    let app = Router::new().fallback(answer).with_state(fake.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let base = listener.local_addr().map(|address| format!("http://{address}/prometheus/acme")).unwrap_or_default();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let token = SecretString::from("FlyV1 fm2_canarycanary");
    let source = Prometheus::new("Fly's metrics", &base, Some(&token), "Make a new one.");
    (fake, source.unwrap_or_else(|error| panic!("{error}")))
}

fn ok(kind: &str, result: Value) -> (u16, String) {
    (200, json!({"status": "success", "data": {"resultType": kind, "result": result}}).to_string())
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

async fn instant(answer: (u16, String)) -> Result<Vec<(Labels, f64)>, MetricsError> {
    let (_, source) = source(vec![answer]).await;
    source.instant("up", at(1_000)).await
}

async fn range(answer: (u16, String)) -> Result<Vec<Series>, MetricsError> {
    let (_, source) = source(vec![answer]).await;
    source.range("up", at(0), at(600), TimeDelta::seconds(60)).await
}

fn named(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_question_goes_as_a_form_with_the_header_and_comes_back_as_figures() {
    let vector = json!([{"metric": {"app": "shop"}, "value": [1000.5, "0.25"]}, {"metric": {}, "value": [1000, "3"]}]);
    let (fake, asked) = source(vec![ok("vector", vector)]).await;
    let figures = asked.instant("sum(x{app=\"a&b\"})", at(1_000)).await;
    assert_eq!(figures, Ok(vec![(named(&[("app", "shop")]), 0.25), (Labels::new(), 3.0)]));
    let got = fake.got.lock().map(|got| got.clone()).unwrap_or_default();
    assert_eq!(
        got,
        [(
            "/prometheus/acme/api/v1/query".to_owned(),
            "FlyV1 fm2_canarycanary".to_owned(),
            "query=sum%28x%7Bapp%3D%22a%26b%22%7D%29&time=1000.000&timeout=5s".to_owned()
        )]
    );
    let matrix = json!([{"metric": {"instance": "a"}, "values": [[60, "2"], [0.5, "1"]]}]);
    let (fake, asked) = source(vec![ok("matrix", matrix)]).await;
    let series = asked.range("x", at(0), at(600), TimeDelta::milliseconds(1_500)).await.unwrap_or_default();
    let half = at(0) + TimeDelta::milliseconds(500);
    assert_eq!(series, [Series { labels: named(&[("instance", "a")]), points: vec![(half, 1.0), (at(60), 2.0)] }]);
    let got = fake.got.lock().map(|got| got.first().cloned()).ok().flatten().unwrap_or_default();
    assert_eq!(got.2, "query=x&start=0.000&end=600.000&step=1.500&timeout=5s");
}

#[tokio::test]
async fn numbers_that_are_none_an_empty_answer_and_a_plain_number_are_answers() {
    let odd = ["NaN", "+Inf", "-Inf", "1e3"].map(|text| json!({"metric": {}, "value": [0, text]}));
    let figures: Vec<f64> =
        instant(ok("vector", json!(odd))).await.unwrap_or_default().into_iter().map(|(_, value)| value).collect();
    assert!(figures[0].is_nan());
    assert_eq!(figures[1..], [f64::INFINITY, f64::NEG_INFINITY, 1_000.0]);
    assert_eq!(instant(ok("vector", json!([]))).await, Ok(Vec::new()));
    assert_eq!(instant(ok("vector", json!(null))).await, Ok(Vec::new()));
    assert_eq!(instant(ok("scalar", json!([0, "7"]))).await, Ok(vec![(Labels::new(), 7.0)]));
    assert_eq!(range(ok("matrix", json!([]))).await, Ok(Vec::new()));
}

#[tokio::test]
async fn what_is_no_answer_is_a_sentence_and_never_a_panic() {
    let wrong = [
        (200, "not json".to_owned()),
        (200, "null".to_owned()),
        (200, "[]".to_owned()),
        (200, json!({"status": "error", "error": "x"}).to_string()),
        (200, json!({"status": "success"}).to_string()),
        (200, json!({"status": "success", "data": 7}).to_string()),
        ok("string", json!([0, "x"])),
        ok("vector", json!({})),
        ok("vector", json!([7])),
        ok("vector", json!([{"metric": {}}])),
        ok("vector", json!([{"metric": {"a": 1}, "value": [0, "1"]}])),
        ok("vector", json!([{"metric": {}, "value": [0, 1]}])),
        ok("vector", json!([{"metric": {}, "value": ["0", "1"]}])),
        ok("vector", json!([{"metric": {}, "value": [1e300, "1"]}])),
        ok("vector", json!([{"metric": {}, "value": [0, "one"]}])),
        ok("vector", json!([{"metric": {}, "value": []}])),
        ok("scalar", json!("x")),
        (302, String::new()),
        (404, "<html>".to_owned()),
    ];
    for answer in wrong {
        let said = instant(answer.clone()).await;
        assert!(matches!(said, Err(MetricsError::Strange(_))), "{answer:?}: {said:?}");
        let said = range(answer.clone()).await;
        assert!(matches!(said, Err(MetricsError::Strange(_))), "{answer:?}: {said:?}");
    }
    let many = json!(vec![json!({"metric": {}, "value": [0, "1"]}); answer::SERIES_MAX + 1]);
    assert!(
        matches!(instant(ok("vector", many)).await, Err(MetricsError::Strange(says)) if says.contains("501 series"))
    );
    let histogram = json!([{"metric": {}, "histogram": [0, {"count": "1"}]}]);
    assert!(matches!(instant(ok("vector", histogram)).await, Err(MetricsError::BadQuestion(_))));
    assert!(matches!(instant(ok("matrix", json!([]))).await, Err(MetricsError::BadQuestion(_))));
    let partial = json!({"status": "success", "isPartial": true, "data": {"resultType": "vector", "result": []}});
    assert!(matches!(instant((200, partial.to_string())).await, Err(MetricsError::NotNow(_))));
    let giant = format!("{{\"x\": \"{}\"}}", "y".repeat(BODY_BYTES_MAX));
    assert_eq!(
        instant((200, giant)).await,
        Err(MetricsError::Strange("Fly's metrics answered with more than 8 MB; ask for less".to_owned()))
    );
}

#[tokio::test]
async fn a_refusal_says_why_without_the_token_and_is_not_asked_again() {
    let error = |words: &str| json!({"status": "error", "errorType": "bad_data", "error": words}).to_string();
    for (status, words, kind) in [
        (401, "bad token FlyV1 fm2_canarycanary", "allowed"),
        (403, "fm2_canaryca", "allowed"),
        (400, "parse error at char 3: unexpected fm2_canarycanary", "question"),
        (422, "execution: many-to-many matching not allowed", "question"),
    ] {
        let (fake, source) = source(vec![(status, error(words))]).await;
        let said = source.instant("up", at(0)).await.err();
        let is_kind = match kind {
            "allowed" => matches!(said, Some(MetricsError::NotAllowed(_))),
            _ => matches!(said, Some(MetricsError::BadQuestion(_))),
        };
        let says = said.map(|error| error.to_string()).unwrap_or_default();
        assert!(is_kind && says.contains(&status.to_string()) && !says.contains("canary"), "{says}");
        assert_eq!(fake.got.lock().map(|got| got.len()).unwrap_or_default(), 1, "{status}");
        assert!(!format!("{source:?}").contains("canary"));
    }
    let (_, asked) = source(vec![(401, error("expired"))]).await;
    assert_eq!(
        asked.instant("up", at(0)).await.map_err(|error| error.to_string()),
        Err("Fly's metrics does not take the token (401): expired. Make a new one.".to_owned())
    );
}

#[tokio::test]
async fn a_source_that_stumbles_is_asked_again_and_not_for_ever() {
    let (fake, asked) = source(vec![(502, "bad".to_owned()), (429, String::new()), ok("vector", json!([]))]).await;
    assert_eq!(asked.instant("up", at(0)).await, Ok(Vec::new()));
    assert_eq!(fake.got.lock().map(|got| got.len()).unwrap_or_default(), 3);
    let timed_out = json!({"status": "error", "errorType": "timeout", "error": "query timed out"}).to_string();
    let (fake, asked) = source(vec![(503, timed_out)]).await;
    assert_eq!(
        asked.instant("up", at(0)).await,
        Err(MetricsError::NotNow("Fly's metrics answered 503: query timed out".to_owned()))
    );
    assert_eq!(fake.got.lock().map(|got| got.len()).unwrap_or_default(), 3);
    let nobody = Prometheus::new("own", "http://127.0.0.1:1", None, "").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        nobody.instant("up", at(0)).await,
        Err(MetricsError::NotNow("own could not be asked: no connection".to_owned()))
    );
}

#[tokio::test]
async fn a_range_with_too_many_points_or_none_never_leaves() {
    let (fake, asked) = source(vec![ok("matrix", json!([]))]).await;
    let ends = [(at(0), at(11_000), 1), (at(60), at(0), 1), (at(0), at(60), 0), (at(0), at(60), -1)];
    for (from, to, step_s) in ends {
        let said = asked.range("up", from, to, TimeDelta::seconds(step_s)).await;
        assert!(matches!(said, Err(MetricsError::BadQuestion(_))), "{step_s}: {said:?}");
    }
    assert!(matches!(asked.instant(&"x".repeat(20_000), at(0)).await, Err(MetricsError::BadQuestion(_))));
    assert_eq!(fake.got.lock().map(|got| got.len()).unwrap_or_default(), 0);
    assert_eq!(asked.range("up", at(0), at(10_999), TimeDelta::seconds(1)).await, Ok(Vec::new()));
}
