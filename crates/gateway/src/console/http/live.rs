//! What an open web console is told: server-sent events, one snapshot a second, and the configuration whenever
//! it changes. Source of the format: the HTML standard, section "Server-sent events".

use std::time::Duration;

use http_body_util::channel::Sender;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::console::http::{
    snapshot::{configuration, snapshot},
    source::Source,
};

/// How often a snapshot is sent.
const PERIOD: Duration = Duration::from_secs(1);

/// After so many snapshots the browser has to come again, which it does by itself.
const SNAPSHOTS_MAX: u32 = 3600;

/// Sends until the console takes nothing for `limit`, has gone, or has had its time. Cancel-safe: it keeps nothing.
pub(super) async fn feed(source: &Source, mut to: Sender<Bytes>, limit: Duration) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut generation = None;
    for _ in 0..SNAPSHOTS_MAX {
        ticks.tick().await;
        let mut events = String::new();
        let now = source.operator.generation();
        if generation.replace(now) != Some(now) {
            event(&mut events, "config", &configuration(source));
        }
        event(&mut events, "snapshot", &snapshot(source).await);
        match timeout(limit, to.send_data(Bytes::from(events))).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// JSON has no line ends, so that a line of data is all of it.
fn event(out: &mut String, name: &str, data: &Value) {
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
    out.push_str(&data.to_string());
    out.push_str("\n\n");
}
