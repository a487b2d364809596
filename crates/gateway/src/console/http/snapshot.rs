//! What the gateway is at, as JSON: `/status`, and what the web console is told once a second.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use pool::Distribution;
use serde_json::{Map, Value, json};

use crate::{
    console::http::routes::unready,
    console::{
        rows::{Cell, Row},
        views::{self, Clients},
    },
    session::context::Context,
};

/// Entries of the slow log that the web console shows.
const SLOW_ENTRIES: usize = 16;

/// `/status`.
pub(super) async fn status(context: &Arc<Context>) -> Value {
    let clients = Clients::of(context).await;
    let reason = unready(context);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": reason.is_none(),
        "reason": reason,
        "pools": rows(views::pools(context, &clients)),
        "workers": rows(views::workers(context)),
        "stats": object(views::stats(context)),
    })
}

/// The same, with what the web console shows besides.
pub(super) async fn snapshot(context: &Arc<Context>) -> Value {
    let mut snapshot = status(context).await;
    let totals = context.operator.pool.totals();
    let shared = totals.together();
    let errors = totals.failures.into_iter().chain(context.counts.faults());
    let errors: Map<String, Value> = errors.map(|(kind, count)| (kind.to_owned(), count.into())).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = now.saturating_sub(Instant::now().duration_since(context.since));
    if let Value::Object(fields) = &mut snapshot {
        fields.insert("time_ms".into(), json!(now.as_millis()));
        // To the second: the two clocks are read one after the other.
        fields.insert("started".into(), json!(started.as_secs()));
        fields.insert("errors".into(), errors.into());
        let latency =
            json!({"queue_us": histogram(&shared.queue_time), "upstream_us": histogram(&shared.upstream_time)});
        fields.insert("latency".into(), latency);
        fields.insert("slow".into(), rows(context.slow_log.rows(SLOW_ENTRIES)).into());
    }
    snapshot
}

/// Keys and values in force, without secrets.
pub(super) fn configuration(context: &Context) -> Value {
    let keys = context.operator.keys().unwrap_or_default();
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
