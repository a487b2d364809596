//! Spans of sessions and jobs, in the logs: none until the filter asks for them, which may be while it runs.

use crate::support::{Gateway, Redis, wait};

#[test]
fn spans_show_in_the_logs_while_the_filter_asks_for_them() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut operator = gateway.client();
    operator.expect("SET before secret", "+OK\r\n");
    operator.line("RESPOOL CONFIG SET log.filter info,respool::spans=trace,respool::listener=debug");
    let mut client = gateway.client();
    client.send_raw(b"SET during secret\r\n");
    client.read_reply();
    let line = wait("the line of a job", || gateway.logs().find("job done"));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let span = &line["span"];
    assert_eq!((&span["name"], &span["client"], &span["requests"]), (&"job".into(), &2.into(), &1.into()));
    assert!(span["queue_us"].is_u64() && span["upstream_us"].is_u64(), "{line}");
    operator.line("RESPOOL CONFIG SET log.filter info");
    operator.expect("SET after secret", "+OK\r\n");
    operator.expect("RESPOOL RECONNECT", "+OK\r\n");
    gateway.logs().wait_for("replacing connections", crate::support::DEADLINE);
    let lines = gateway.logs().lines();
    assert_eq!(lines.iter().filter(|line| line.contains("job done")).count(), 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");
}
