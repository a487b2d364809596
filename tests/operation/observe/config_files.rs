//! The Grafana dashboard and the Prometheus rules in `config/` ask for nothing but what a running gateway
//! shows: every metric, and every label with the value it is compared with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

use crate::support::{Gateway, Metrics, Redis, wait};

/// What an expression asks for: the name of a metric, and labels with what they are to be.
type Selector = (String, Vec<(String, String)>);

fn config(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(config(name)).expect("the file is there")
}

/// The metrics in an expression of Prometheus, all of which begin with `respool_`.
fn selectors(expression: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("respool_") {
        rest = &rest[at..];
        let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let labels = after.strip_prefix('{').and_then(|labels| labels.split_once('}')).map_or("", |(labels, _)| labels);
        let label = |label: &str| {
            let (name, value) = label.split_once('=').expect("a label and its value");
            let value = value.trim_start_matches('~').trim_matches('"');
            (name.trim_end_matches('!').trim().to_owned(), value.to_owned())
        };
        found.push((name.to_owned(), labels.split(',').filter(|label| !label.is_empty()).map(label).collect()));
        rest = after;
    }
    found
}

/// Labels that Prometheus adds to what it scrapes.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// What Prometheus notes of each gateway, under the name of the job that the documentation gives to it.
const UP: &str = "up{job=\"respool\"}";

/// Asserts that an expression asks for metrics, and only for such that are shown.
#[track_caller]
fn assert_shown(expression: &str, metrics: &Metrics) {
    let selectors = selectors(expression);
    assert!(!selectors.is_empty() || expression.contains(UP), "no metric in {expression}");
    for (name, labels) in selectors {
        let start = format!("{name}{{");
        let series: Vec<_> = metrics.series().filter(|series| *series == name || series.starts_with(&start)).collect();
        assert!(!series.is_empty(), "no {name}, asked for by {expression}");
        for (label, value) in labels.iter().filter(|(label, _)| !OF_PROMETHEUS.contains(&label.as_str())) {
            for value in value.split('|') {
                let value = value.trim_end_matches(".*").trim_end_matches(".+");
                let wanted = format!("{label}=\"{value}");
                assert!(series.iter().any(|series| series.contains(&wanted)), "no {name} with {wanted}: {expression}");
            }
        }
        assert_groups(expression, &series);
    }
}

/// Labels that an expression groups by are there.
#[track_caller]
fn assert_groups(expression: &str, series: &[&str]) {
    for group in expression.split("by (").skip(1) {
        let labels = group.split_once(')').expect("the group ends").0;
        for label in labels.split(',').map(str::trim).filter(|label| !OF_PROMETHEUS.contains(label)) {
            let wanted = format!("{label}=\"");
            assert!(series.iter().any(|series| series.contains(&wanted)), "no label {label}: {expression}");
        }
    }
}

/// What a running gateway shows.
fn shown() -> Metrics {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    Metrics::read(gateway.metrics_address())
}

/// All values of a key, at any depth.
fn values<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(key));
            object.values().for_each(|value| values(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| values(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let metrics = shown();
    let panels = dashboard["panels"].as_array().expect("panels");
    let drawn: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    assert!(drawn.len() >= 12, "{} panels", drawn.len());
    for panel in &drawn {
        let title = panel["title"].as_str().expect("a title");
        assert!(!title.is_empty() && !panel["fieldConfig"]["defaults"]["unit"].is_null(), "{title}: no unit");
        // Whoever imports it says where its data are.
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title}");
        targets.iter().for_each(|target| assert_shown(target["expr"].as_str().expect("an expression"), &metrics));
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "each id once");
    let mut sources = Vec::new();
    values(&dashboard, "uid", &mut sources);
    assert!(sources.iter().all(|uid| *uid == "${datasource}" || *uid == &dashboard["uid"]), "{sources:?}");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance"]);
    assert_shown(variables[1]["query"].as_str().expect("a query"), &metrics);
}

/// What follows `key` in a block, whose lines have a key each.
fn field<'b>(block: &'b str, key: &str) -> &'b str {
    let value = block.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {key} in {block}"))
}

/// The alerts by their names.
fn alerts(text: &str) -> BTreeMap<&str, &str> {
    let blocks = text.split("- alert: ").skip(1);
    blocks.map(|block| (block.lines().next().expect("a name"), block)).collect()
}

#[test]
fn the_alerts_ask_for_metrics_that_there_are() {
    let (text, metrics) = (read("alerts.yml"), shown());
    let alerts = alerts(&text);
    assert!(alerts.len() == text.matches("- alert:").count() && alerts.len() >= 10, "{alerts:?}");
    for (name, alert) in &alerts {
        let expression = field(alert, "expr");
        assert_shown(expression, &metrics);
        // What is absent has no name.
        let says_which = field(alert, "summary").contains("{{ $labels.instance }}");
        assert!(says_which || expression.starts_with("absent("), "which gateway? {alert}");
        assert!(["warning", "critical"].contains(&field(alert, "severity")), "{alert}");
        assert!(!field(alert, "description").is_empty(), "{name}");
    }
    for (name, expected) in [("RespoolDown", format!("{UP} == 0")), ("RespoolAbsent", format!("absent({UP})"))] {
        assert_eq!(field(alerts[name], "expr"), expected);
    }
    assert!(alerts.values().any(|alert| field(alert, "expr").contains("respool_logins_refused_total")));
}

#[test]
fn prometheus_itself_takes_the_alerts_and_fires_them_as_it_should() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/operation/observe/alerts.test.yml");
    for (what, file) in [("check", config("alerts.yml")), ("test", cases)] {
        match Command::new("promtool").args([what, "rules"]).arg(file).output() {
            Ok(output) => assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            ),
            Err(error) => println!("NOT CHECKED: promtool cannot be run ({error}); it comes with Prometheus"),
        }
    }
}

/// What the reconnect alert counts.
fn alerted_connections(gateway: &Gateway) -> f64 {
    let text = read("alerts.yml");
    let asked = selectors(field(alerts(&text)["RespoolReconnectStorm"], "expr"));
    let (name, labels) = asked.first().expect("a metric");
    let reasons: Vec<_> = labels.iter().flat_map(|(_, value)| value.split('|')).collect();
    let metrics = Metrics::read(gateway.metrics_address());
    metrics.by(name, "reason").iter().filter(|(reason, _)| reasons.contains(reason)).map(|(_, count)| count).sum()
}

#[test]
fn a_planned_change_is_no_reconnect_storm_and_connections_that_break_are() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().allow_lost_upstream().start();
    let mut client = gateway.client();
    let opened = || Metrics::read(gateway.metrics_address()).by("respool_connections_opened_total", "kind")["worker"];
    for _ in 0..4 {
        let before = opened();
        for change in ["RESPOOL RECONNECT", "RESPOOL CONFIG SET pool.workers 8", "RESPOOL CONFIG SET pool.workers 4"] {
            assert!(!client.line(change).starts_with(b"-"), "{change}");
            client.expect("PING", "+PONG\r\n");
        }
        wait("new connections", || (opened() > before).then_some(()));
    }
    let idle = || Metrics::read(gateway.metrics_address()).by("respool_workers", "state")["idle"];
    wait("all workers to be connected", || (idle() >= 4.0).then_some(()));
    assert_eq!(alerted_connections(&gateway), 0.0);
    redis.client().line("CLIENT KILL TYPE normal SKIPME yes");
    wait("the connections that broke to be counted", || (alerted_connections(&gateway) >= 4.0).then_some(()));
}

#[test]
fn what_expressions_ask_for_is_read_out_of_them() {
    let found = selectors("sum by (class) (rate(respool_a_total{class=~\"x|y\",job=\"j\"}[5m])) / respool_b > 0");
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        found,
        [
            ("respool_a_total".to_owned(), vec![label("class", "x|y"), label("job", "j")]),
            ("respool_b".to_owned(), vec![])
        ]
    );
}
