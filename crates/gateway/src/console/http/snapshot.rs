//! What the gateway is at, as JSON: `/status`, and what the web console is told once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use pool::Distribution;
use serde_json::{Map, Value, json};

use crate::console::{
    http::source::Source,
    rows::{Cell, Row},
    topology,
    views::{self, Clients},
};

/// Entries of the slow log that the web console shows.
const SLOW_ENTRIES: usize = 16;

/// `/status`.
pub(super) async fn status(source: &Source) -> Value {
    let clients = Clients::of(&source.published).await;
    let reason = source.unready();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": reason.is_none(),
        "reason": reason,
        "pools": rows(views::pools(&source.operator, &clients)),
        "topology": rows(topology::rows(&source.operator, &source.published)),
        "workers": rows(views::workers(&source.operator)),
        "stats": object(views::stats(&source.operator, &source.published)),
    })
}

/// The same, with what the web console shows besides.
pub(super) async fn snapshot(source: &Source) -> Value {
    let mut snapshot = status(source).await;
    let totals = source.operator.pools().totals();
    let shared = totals.together();
    let errors = totals.failures.into_iter().chain(source.published.counts.faults());
    let errors: Map<String, Value> = errors.map(|(kind, count)| (kind.to_owned(), count.into())).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = now.saturating_sub(source.published.uptime());
    if let Value::Object(fields) = &mut snapshot {
        fields.insert("time_ms".into(), json!(now.as_millis()));
        // To the second: the two clocks are read one after the other.
        fields.insert("started".into(), json!(started.as_secs()));
        fields.insert("errors".into(), errors.into());
        let latency =
            json!({"queue_us": histogram(&shared.queue_time), "upstream_us": histogram(&shared.upstream_time)});
        fields.insert("latency".into(), latency);
        fields.insert(
            "slow".into(),
            rows(source.published.slow_log.newest(SLOW_ENTRIES).iter().map(views::slow_burst).collect()).into(),
        );
    }
    snapshot
}

/// Keys and values in force, without secrets.
pub(super) fn configuration(source: &Source) -> Value {
    let keys = source.operator.keys();
    keys.into_iter().map(|(key, value)| (key, Value::String(value.to_string()))).collect::<Map<_, _>>().into()
}

fn histogram(times: &Distribution) -> Value {
    let (bounds, counts): (Vec<_>, Vec<_>) = times.buckets.iter().copied().unzip();
    let bounds: Vec<u64> = bounds.into_iter().flatten().collect();
    json!({"bounds": bounds, "counts": counts})
}

fn rows(rows: Vec<Row>) -> Vec<Value> {
    rows.into_iter().map(object).collect()
}

fn object(row: Row) -> Value {
    let value = |cell| match cell {
        Cell::Number(number) => number.into(),
        Cell::Text(text) => text.into(),
        Cell::List(items) => items.into(),
    };
    row.into_iter().map(|(name, cell)| (name.to_owned(), value(cell))).collect::<Map<_, _>>().into()
}
