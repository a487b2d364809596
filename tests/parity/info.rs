//! `INFO`: the upstream's reply as it is, and the gateway's own section where Redis shows those of modules.

use crate::support::{Client, Gateway, Redis};

fn info(client: &mut Client, line: &str) -> String {
    let reply = client.line(line);
    let text = String::from_utf8(reply).expect("text");
    assert!(text.starts_with('$') || text.starts_with("="), "{text}");
    let (head, text) = text.split_once("\r\n").expect("a head");
    let length: usize = head[1..].parse().expect("a length");
    assert_eq!(text.len(), length + 2, "{line}: the length is right");
    text.trim_start_matches("txt:").to_owned()
}

#[test]
fn the_gateways_section_shows_where_modules_show_theirs() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    for protocol in [2, 3] {
        client.line(&format!("HELLO {protocol}"));
        let own = info(&mut client, "INFO respool");
        assert!(own.starts_with("# Respool\r\nrespool_version:"), "{own}");
        assert!(own.contains("\r\nrespool_cl_idle:1\r\n") && own.contains("\r\nrespool_state:up\r\n"), "{own}");
        assert!(!own.contains("redis_version") && !own.contains("127.0.0.1"), "{own}");
        assert_eq!(own.lines().filter(|line| line.starts_with("respool_opened:")).count(), 1);
        let both = info(&mut client, "info SERVER Respool");
        assert!(both.starts_with("# Server\r\n") && both.contains("\r\n\r\n# Respool\r\n"), "{both}");
        assert!(!both.contains("# Clients"), "{both}");
        let everything = info(&mut client, "INFO everything");
        assert!(everything.contains("# Keyspace") && everything.contains("# Respool"), "{everything}");
        for line in ["INFO", "INFO all", "INFO default", "INFO server"] {
            assert!(!info(&mut client, line).contains("# Respool"), "{line}");
        }
    }
}

#[test]
fn the_gateways_section_shows_in_a_pipeline_and_while_the_upstream_is_missing() {
    let gateway = Gateway::builder().upstream("redis://127.0.0.1:1").allow_lost_upstream().start();
    let mut client = gateway.client();
    client.send_raw(b"INFO respool\r\nINFO everything\r\nINFO respool\r\n");
    let replies = client.read_replies(3);
    assert!(replies[0].starts_with(b"$") && replies[2].starts_with(b"$"));
    assert!(replies[1].starts_with(b"-ERR respool: "), "{:?}", replies[1]);
    assert!(String::from_utf8_lossy(&replies[2]).contains("respool_state:down"), "{:?}", replies[2]);
}
