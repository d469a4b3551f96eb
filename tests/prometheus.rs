//! The client of Prometheus against a real one: what it answers is read, what it refuses is a sentence, and every expression that we
//! ask is one that it understands. Without Prometheus the test says "skipped"; with `WATCHBELL_CI=1` that is an error.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use watchbell::adapters::prometheus::Prometheus;
use watchbell::domain::draft::Ctx;
use watchbell::domain::figures::{Over, every_production, questions};
use watchbell::domain::ids::InputId;
use watchbell::domain::input::Query;
use watchbell::domain::policy::{Policy, SHIPPED};
use watchbell::domain::rules;
use watchbell::domain::state::State;
use watchbell::domain::workspace::Workspace;
use watchbell::ports::metrics::{Metrics as _, MetricsError};

/// How long it may take to come up and to scrape itself once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A team with two apps and a target of its own, one of them with a name that is no word.
const TEAM: &str = r#"
[team]
name = "lighthouse"
zone = "America/Chicago"
[channels]
incidents = "incidents"
test = "test"
[[services]]
name = "checkout"
production = { fly_app = "lighthouse-checkout" }
[[services]]
name = "search"
production = { fly_app = 'odd.name"} or up #' }
"#;

/// One that scrapes itself each second; ended with the test.
struct Running {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// None when it is not installed; in CI that fails.
fn start() -> Option<Running> {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: itself\n  static_configs: [{{targets: ['{address}']}}]\n"
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).expect("its configuration");
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => Some(Running { child, address: format!("http://{address}"), _folder: folder }),
        Err(_) => {
            assert!(std::env::var_os("WATCHBELL_CI").is_none(), "prometheus is not installed");
            println!("skipped: no prometheus");
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "Prometheus lives in real time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Every question that the bot asks of a team's services.
fn expressions() -> Vec<String> {
    let (state, input) = (State::default(), InputId::new("test"));
    let policy = Policy::parse(SHIPPED).expect("the shipped policy");
    let workspace: Workspace = toml::from_str(TEAM).expect("a team");
    let ctx = Ctx { state: &state, policy: &policy, workspace: &workspace, now: now(), input: &input };
    let over = Over::last(TimeDelta::hours(1), ctx.now);
    let asked = questions(&ctx, &every_production(&ctx), over).into_iter();
    let promql = |query: Query| if let Query::Figures(ask) = query { Some(ask.promql) } else { None };
    asked.filter_map(promql).collect()
}

/// What a rule about errors asks, that says nothing of fewer requests than so many in its five minutes.
fn errors_of_at_least(requests: u32) -> String {
    let (state, input) = (State::default(), InputId::new("test"));
    let mut policy = Policy::parse(SHIPPED).expect("the shipped policy");
    let rule = format!(
        "name = \"errors\"\nfigure = \"errors\"\nat_least = {requests}\nabove = \"5%\"\nseverity = \"critical\""
    );
    policy.alerts.rules = vec![toml::from_str(&rule).expect("a rule")];
    let workspace: Workspace = toml::from_str(TEAM).expect("a team");
    let ctx = Ctx { state: &state, policy: &policy, workspace: &workspace, now: now(), input: &input };
    let asked = rules::needs(&ctx).into_iter();
    let promql = |query: Query| if let Query::Figures(ask) = query { Some(ask.promql) } else { None };
    asked.filter_map(promql).next().expect("it asks")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_is_understood_and_understands_every_question() {
    let Some(running) = start() else { return };
    let source = Prometheus::new("own", &running.address, None, "").expect("a client");
    let scraped = async {
        while !source.instant("up == 1", now()).await.is_ok_and(|told| !told.is_empty()) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, scraped).await.expect("it scrapes itself");

    let up = source.instant("up", now()).await.expect("it answers");
    assert_eq!((up.len(), up[0].0.get("job").map(String::as_str), up[0].1), (1, Some("itself"), 1.0));
    let number = source.instant("-1/0", now()).await.expect("a plain number");
    assert_eq!(number, [(Default::default(), f64::NEG_INFINITY)]);
    assert_eq!(source.instant("nothing_of_this_name", now()).await, Ok(Vec::new()));

    let to = now();
    let series = source.range("up", to - TimeDelta::minutes(5), to, TimeDelta::seconds(1)).await.expect("a range");
    assert!(series.len() == 1 && series[0].points.iter().all(|(at, value)| *at <= to && *value == 1.0), "{series:?}");

    let wrong = source.instant("sum(up", now()).await.expect_err("it is no expression");
    assert!(matches!(&wrong, MetricsError::BadQuestion(says) if says.contains("(400): ")), "{wrong}");
    let windowed = source.instant("up[5m]", now()).await;
    assert!(matches!(windowed, Err(MetricsError::BadQuestion(_))), "{windowed:?}");

    let all = expressions();
    assert_eq!(all.len(), 5);
    for promql in all {
        let told = source.range(&promql, to - TimeDelta::hours(1), to, TimeDelta::seconds(60)).await;
        assert_eq!(told, Ok(Vec::new()), "{promql}");
    }
}

/// What the metrics of an app with two machines are in ten minutes, and what each of our expressions must make of them.
#[test]
fn every_expression_says_what_it_is_meant_to_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let series: String = [
        // A hundredth of a second each second and mode, on two processors: of each a tenth is used on a, four tenths on b.
        ("fly_instance_cpu{app=\"lighthouse-checkout\",instance=\"a\",cpu_id=\"0\",mode=\"user\"}", "0+600x20"),
        ("fly_instance_cpu{app=\"lighthouse-checkout\",instance=\"a\",cpu_id=\"0\",mode=\"idle\"}", "0+5400x20"),
        ("fly_instance_cpu{app=\"lighthouse-checkout\",instance=\"a\",cpu_id=\"1\",mode=\"system\"}", "0+600x20"),
        ("fly_instance_cpu{app=\"lighthouse-checkout\",instance=\"a\",cpu_id=\"1\",mode=\"idle\"}", "0+5400x20"),
        ("fly_instance_cpu{app=\"lighthouse-checkout\",instance=\"b\",cpu_id=\"0\",mode=\"user\"}", "0+2400x20"),
        ("fly_instance_cpu{app=\"lighthouse-checkout\",instance=\"b\",cpu_id=\"0\",mode=\"steal\"}", "0+3600x20"),
        ("fly_instance_memory_mem_total{app=\"lighthouse-checkout\",instance=\"a\"}", "1000x20"),
        ("fly_instance_memory_mem_available{app=\"lighthouse-checkout\",instance=\"a\"}", "300x20"),
        ("fly_instance_memory_mem_total{app=\"lighthouse-checkout\",instance=\"b\"}", "1000x20"),
        // Full for a minute, between two looks.
        ("fly_instance_memory_mem_available{app=\"lighthouse-checkout\",instance=\"b\"}", "500x16 100 500 500 500"),
        ("fly_instance_up{app=\"lighthouse-checkout\",instance=\"a\"}", "1x20"),
        ("fly_instance_up{app=\"lighthouse-checkout\",instance=\"b\"}", "1x20"),
        ("fly_instance_exit_code{app=\"lighthouse-checkout\",instance=\"a\"}", "0x10 137 0x9"),
        ("fly_instance_exit_code{app=\"lighthouse-checkout\",instance=\"b\"}", "0x20"),
        // One of twenty fails.
        ("fly_edge_http_responses_count{app=\"lighthouse-checkout\",status=\"200\"}", "0+57x20"),
        ("fly_edge_http_responses_count{app=\"lighthouse-checkout\",status=\"503\"}", "0+3x20"),
        // 90 of 100 within 0.1 s, all within 0.5 s.
        ("fly_edge_http_response_time_seconds_bucket{app=\"lighthouse-checkout\",le=\"0.1\"}", "0+90x20"),
        ("fly_edge_http_response_time_seconds_bucket{app=\"lighthouse-checkout\",le=\"0.5\"}", "0+100x20"),
        ("fly_edge_http_response_time_seconds_bucket{app=\"lighthouse-checkout\",le=\"+Inf\"}", "0+100x20"),
        // Of an app that is not ours.
        ("fly_edge_http_responses_count{app=\"other\",status=\"503\"}", "0+60x20"),
    ]
    .into_iter()
    .map(|(name, values)| format!("  - series: '{name}'\n    values: '{values}'\n"))
    .collect();
    // 300 requests came in the five minutes.
    let rules =
        [errors_of_at_least(20), format!("({}) or 0 * sum by (app) (fly_instance_up) - 1", errors_of_at_least(301))];
    let meant = [0.3, 0.05, 0.9, 0.4, 1.0, 0.05, -1.0];
    let asked: String = expressions()
        .into_iter()
        .chain(rules)
        .zip(meant)
        .map(|(promql, value)| {
            format!(
                "  - expr: |\n      round({promql}, 0.0001)\n    eval_time: 20m\n    exp_samples: [{{labels: '{{app=\"lighthouse-checkout\"}}', value: {value}}}]\n"
            )
        })
        .collect();
    let file = folder.path().join("figures.yml");
    let text = format!("tests:\n- interval: 1m\n  input_series:\n{series}  promql_expr_test:\n{asked}");
    std::fs::write(&file, text).expect("a file");
    let said = match Command::new("promtool").args(["test", "rules"]).arg(&file).output() {
        Ok(said) => said,
        Err(_) => {
            assert!(std::env::var_os("WATCHBELL_CI").is_none(), "promtool is not installed");
            println!("skipped: no promtool");
            return;
        }
    };
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{words}");
}
