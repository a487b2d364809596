//! The room for unfinished requests that all clients have in common: where it is full, the client that holds the most
//! goes, and what is read ahead of clients that do not read takes no room from requests.

use std::time::Duration;

use crate::support::{Client, Gateway, Metrics, Redis, assert_own_error, pass, requests, users, wait};

const MIB: usize = 1 << 20;

/// The beginning of a request of so many bytes, all but the last few of it.
fn beginning(bytes: usize) -> Vec<u8> {
    let head = format!("*3\r\n$3\r\nSET\r\n$4\r\nheld\r\n${bytes}\r\n");
    [head.into_bytes(), vec![b'x'; bytes - 1]].concat()
}

#[track_caller]
fn assert_input_full(reply: &[u8]) {
    assert_own_error(reply);
    assert!(String::from_utf8_lossy(reply).contains("input_bytes_max"));
}

/// Bytes of unfinished requests that the gateway holds, as its metrics tell.
fn held(gateway: &Gateway) -> usize {
    Metrics::read(gateway.metrics_address()).value("respool_held_bytes{what=\"input\"}") as usize
}

#[test]
fn the_client_that_holds_the_most_goes_where_another_needs_room() {
    let redis = Redis::start(&[]);
    let config = format!("[clients]\ninput_bytes_max = {}", 16 * MIB);
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).metrics().start();
    let mut holders: Vec<Client> = [6, 4, 4].map(|_| gateway.client()).into();
    for (holder, mib) in holders.iter_mut().zip([6, 4, 4]) {
        holder.send_raw(&beginning(mib * MIB));
    }
    wait("all of it to be read", || (held(&gateway) > 13 * MIB).then_some(()));
    let mut client = gateway.client();
    for _ in 0..10 {
        client.send(&["SET", "k", &"y".repeat(3 * MIB)]);
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), "+OK\r\n");
    }
    assert_input_full(&holders[0].read_to_end());
    // The others still have theirs.
    for holder in &mut holders[1..] {
        holder.send_raw(b"x\r\n");
        assert_eq!(holder.read_reply(), b"+OK\r\n");
    }
}

#[test]
fn one_user_with_many_connections_takes_no_room_from_another() {
    let redis = Redis::start(&[]);
    let config = format!("[clients]\ninput_bytes_max = {}", 16 * MIB);
    let who = users(&[("greedy", "one"), ("modest", "two")]);
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).config(&who).metrics().start();
    let mut greedy: Vec<Client> = (0..15).map(|_| gateway.client()).collect();
    for client in &mut greedy {
        client.expect("AUTH greedy one", "+OK\r\n");
        client.send_raw(&beginning(MIB));
    }
    wait("all of it to be read", || (held(&gateway) > 12 * MIB).then_some(()));
    let mut modest = gateway.client();
    modest.expect("AUTH modest two", "+OK\r\n");
    for _ in 0..5 {
        modest.send(&["SET", "k", &"y".repeat(5 * MIB)]);
        assert_eq!(String::from_utf8_lossy(&modest.read_reply()), "+OK\r\n");
    }
}

#[test]
fn what_is_read_ahead_of_clients_that_do_not_read_leaves_room_for_requests() {
    let redis = Redis::start(&[]);
    let config = format!("[clients]\ninput_bytes_max = {}\nbacklog_bytes_max = {}", 32 * MIB, 16 * MIB);
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).metrics().start();
    let mut client = gateway.client();
    client.expect(&format!("SET large {}", "x".repeat(MIB)), "+OK\r\n");
    let mut deaf: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    deaf.iter().for_each(Client::small_buffers);
    let stream = requests(&["GET large", &format!("SET k {}", "x".repeat(100_000))]).repeat(8);
    let mut sent = vec![0; deaf.len()];
    let mut before = 1;
    wait("nothing more to be read", || {
        pass(Duration::from_millis(100));
        for (deaf, sent) in deaf.iter_mut().zip(&mut sent) {
            *sent += deaf.send_available(&stream[*sent % stream.len()..]);
        }
        let total: usize = sent.iter().sum();
        // On a busy machine a pause proves nothing by itself.
        (std::mem::replace(&mut before, total) == total && held(&gateway) >= 8 * MIB).then_some(())
    });
    let held = held(&gateway);
    assert!(held <= 17 * MIB, "{held} bytes are held");
    for _ in 0..5 {
        client.send(&["SET", "k", &"y".repeat(12 * MIB)]);
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), "+OK\r\n");
    }
}
