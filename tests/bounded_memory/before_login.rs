//! Clients that have not logged in: nothing is read ahead of them, their time to log in ends whatever they do, and
//! those who have logged in keep their room.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, DEADLINE, Gateway, Machine, Redis, request, users, wait};

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";

fn gateway(redis: &Redis, config: &str) -> Gateway {
    Gateway::builder().upstream(&redis.url()).config(&users(&[("default", "right")])).config(config).start()
}

fn logged_in(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.expect("AUTH right", "+OK\r\n");
    client
}

/// All that are connected, `client` among them.
fn clients(client: &mut Client) -> u64 {
    String::from_utf8_lossy(&client.line("CLIENT LIST")).matches("id=").count() as u64
}

#[test]
fn who_sends_without_end_and_reads_nothing_costs_little_and_is_closed_when_the_time_to_log_in_is_over() {
    const STRANGERS: u64 = 16;
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nlogin_timeout_ms = 4000\n[clients]\ninput_bytes_max = 33554432");
    let mut client = logged_in(&gateway);
    let before = gateway.process().rss_bytes();
    let mut strangers: Vec<Client> = (0..STRANGERS).map(|_| gateway.client()).collect();
    strangers.iter().for_each(Client::small_buffers);
    wait("them to be accepted", || (clients(&mut client) > STRANGERS).then_some(()));
    let (machine, started) = (Machine::watch(), Instant::now());
    // Whose error is as long, so that nothing more can be written soon.
    let long = request(&["HELLO", "3", &"x".repeat(16_000)]);
    let stream = long.repeat(64);
    let mut sent = vec![0; strangers.len()];
    let value = "x".repeat(8 << 20);
    let mut served = 0;
    wait("them to be closed", || {
        for (stranger, sent) in strangers.iter_mut().zip(&mut sent) {
            // Those that were closed take nothing.
            *sent += stranger.try_send_available(&stream[*sent % long.len()..]).unwrap_or(0);
        }
        // One who has logged in has the room for a request that is large.
        client.send(&["SET", "k", &value]);
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), "+OK\r\n");
        served += 1;
        (clients(&mut client) == 1).then_some(())
    });
    let (took, grown) = (started.elapsed(), gateway.process().peak_rss_bytes() - before);
    println!("{grown} bytes more memory, {served} large requests served");
    assert!(grown < STRANGERS * 256 * 1024 + (96 << 20), "{grown} bytes more memory");
    machine.assert_within(Duration::from_secs(8), took, "until all strangers were closed");
}

#[test]
fn who_reads_all_answers_is_closed_in_time_too() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nlogin_timeout_ms = 1000");
    let mut stranger = gateway.client();
    let (machine, started) = (Machine::watch(), Instant::now());
    // There is always a further request.
    let (mut sender, pings) = (stranger.twin(), request(&["PING"]).repeat(1000));
    let answers = thread::scope(|scope| {
        scope.spawn(move || while started.elapsed() < DEADLINE && sender.try_send_raw(&pings).is_ok() {});
        let mut answers = 0;
        while let Ok(Some(reply)) = stranger.try_read_reply() {
            assert_eq!(String::from_utf8_lossy(&reply), NOAUTH);
            answers += 1;
        }
        answers
    });
    assert!(answers > 10, "{answers} answers");
    machine.assert_within(Duration::from_secs(3), started.elapsed(), "until the stranger was closed");
}

#[test]
fn a_reset_gives_new_time_to_log_in_and_the_bounds_of_those_who_have_not() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nlogin_timeout_ms = 2000");
    let mut client = logged_in(&gateway);
    let started = Instant::now();
    wait("more than login_timeout_ms", || {
        client.expect("PING", "+PONG\r\n");
        (started.elapsed() > Duration::from_millis(2100)).then_some(())
    });
    client.expect("RESET", "+RESET\r\n");
    client.expect("PING", NOAUTH);
    client.expect("AUTH right", "+OK\r\n");
    client.expect("RESET", "+RESET\r\n");
    client.send_raw(b"*11\r\n$4\r\n");
    assert_eq!(
        String::from_utf8_lossy(&client.read_to_end()),
        "-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    let mut client = logged_in(&gateway);
    client.expect("RESET", "+RESET\r\n");
    client.expect_closed();
}
