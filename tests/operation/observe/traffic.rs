//! Metrics of what goes through: bytes to and from clients and upstream, the upstream's errors by their kind; and of the
//! process, under the names that every dashboard knows.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Gateway, Metrics, Redis, requests, wait};

#[test]
fn the_process_is_shown_as_prometheus_clients_show_one() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let metrics = Metrics::read(gateway.metrics_address());
    let (rss, resident) = (gateway.process().rss_bytes(), metrics.value("process_resident_memory_bytes"));
    assert!(resident > rss as f64 / 2.0 && resident < rss as f64 * 2.0, "{resident} bytes, the system says {rss}");
    assert!(metrics.value("process_virtual_memory_bytes") > resident);
    let (open, max) = (metrics.value("process_open_fds"), metrics.value("process_max_fds"));
    let descriptors = gateway.process().descriptors() as f64;
    assert!((open - descriptors).abs() <= 4.0 && open < max, "{open} of {max}, the system says {descriptors}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let started = metrics.value("process_start_time_seconds");
    assert!(started <= now + 2.0 && started > now - 300.0, "{started}, it is {now}");
    assert!(metrics.value("process_cpu_seconds_total") >= 0.0);
}

#[test]
fn errors_of_the_upstream_are_counted_by_their_first_word() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let mut client = gateway.client();
    client.expect("SET s x", "+OK\r\n");
    client.send_raw(&requests(&["LPUSH s x", "LPUSH s x", "NOSUCH", "GET s"]));
    client.read_replies(4);
    client.expect("WATCH s", "+OK\r\n");
    assert!(client.line("LPUSH s x").starts_with(b"-WRONGTYPE"));
    client.expect("UNWATCH", "+OK\r\n");
    let mut direct = redis.client();
    direct.expect("CONFIG SET maxmemory 1", "+OK\r\n");
    assert!(client.line("SET t x").starts_with(b"-OOM"));
    direct.expect("CONFIG SET maxmemory 0", "+OK\r\n");
    let script = "return redis.error_reply('MINE x')";
    assert_eq!(client.call(&["EVAL", script, "0"]), b"-MINE x\r\n");
    let metrics = Metrics::read(gateway.metrics_address());
    let errors = metrics.by("respool_upstream_errors_total", "code");
    let counted: Vec<_> =
        errors.iter().filter(|(_, count)| **count > 0.0).map(|(code, count)| (*code, *count)).collect();
    assert_eq!(counted, [("ERR", 1.0), ("OOM", 1.0), ("WRONGTYPE", 3.0), ("other", 1.0)]);
    assert!(errors.contains_key("READONLY") && errors.contains_key("MOVED"), "{errors:?}");
}

#[test]
fn bytes_are_counted_on_both_sides() {
    const SIZE: usize = 1 << 20;
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let (mut client, value) = (gateway.client(), "x".repeat(SIZE));
    let read = |names: [&str; 4]| {
        let metrics = Metrics::read(gateway.metrics_address());
        names.map(|name| metrics.value(&format!("respool_{name}_bytes_total")))
    };
    let names = ["client_received", "upstream_sent", "upstream_received", "client_sent"];
    let none = read(names);
    assert_eq!(client.call(&["SET", "k", &value]), b"+OK\r\n");
    let written = read(names);
    client.line("GET k");
    // On a connection of its own.
    client.expect("WATCH k", "+OK\r\n");
    client.line("GET k");
    let least = SIZE as f64;
    let all = wait("the bytes of two replies", || {
        let all = read(names);
        (all[3] >= 2.0 * least).then_some(all)
    });
    for (index, name) in names.iter().enumerate() {
        let (first, then) = (written[index] - none[index], all[index] - written[index]);
        let (sent, received) = if index < 2 { (least, 0.0) } else { (0.0, 2.0 * least) };
        assert!(first >= sent && first < sent + 10_000.0, "{name}: {first} for a SET");
        assert!(then >= received && then < received + 10_000.0, "{name}: {then} for two GET");
    }
}
