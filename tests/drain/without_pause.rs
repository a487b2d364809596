//! Clients that never stop sending, and publishers that never stop publishing: a drain answers what was there when it
//! began, and ends.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, DEADLINE, Gateway, Machine, Redis, requests, wait};

/// Sends without pause until the connection ends.
fn flood(client: &mut Client, piece: &[u8]) {
    let started = Instant::now();
    while started.elapsed() < DEADLINE && client.try_send_raw(piece).is_ok() {}
}

#[test]
fn a_client_that_sends_without_pause_does_not_hold_the_end_up() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            let (mut client, answered) = (gateway.client(), &answered);
            let mut sender = client.twin();
            let piece = requests(&["INCR n"]).repeat(500);
            scope.spawn(move || flood(&mut sender, &piece));
            scope.spawn(move || {
                while let Ok(Some(reply)) = client.try_read_reply() {
                    assert!(reply.starts_with(b":"), "{:?}", String::from_utf8_lossy(&reply));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        wait("the load to be there", || (answered.load(Ordering::Relaxed) > 5000).then_some(()));
        let machine = Machine::watch();
        gateway.terminate();
        let took = gateway.wait_end(DEADLINE);
        // A quarter of the 30 s that it may take, and what was read last.
        machine.assert_within(Duration::from_secs(15), took, "to end");
    });
    let (executed, answered) = (redis.client().line("GET n"), answered.into_inner());
    assert_eq!(executed, format!("${}\r\n{answered}\r\n", answered.to_string().len()).into_bytes());
}

#[test]
fn messages_without_pause_do_not_hold_the_end_up() {
    for mode in ["dedicated", "shared"] {
        let redis = Redis::start(&[]);
        let config = format!("[pubsub]\nmode = \"{mode}\"\nbacklog_messages = 1_000_000");
        let mut gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
        let mut subscriber = gateway.client();
        subscriber.line("SUBSCRIBE c");
        let publisher = redis.client();
        let seen = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (seen, mut sender) = (&seen, publisher.twin());
            scope.spawn(move || flood(&mut sender, &requests(&["PUBLISH c m"]).repeat(100)));
            scope.spawn(move || {
                while let Ok(Some(_)) = subscriber.try_read_reply() {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            });
            // Its replies are read, so that it goes on.
            let mut reader = publisher.twin();
            scope.spawn(move || while let Ok(Some(_)) = reader.try_read_reply() {});
            wait("messages to come", || (seen.load(Ordering::Relaxed) > 1000).then_some(()));
            let machine = Machine::watch();
            gateway.terminate();
            let took = gateway.wait_end(DEADLINE);
            publisher.half_close();
            machine.assert_within(Duration::from_secs(10), took, "to end");
        });
    }
}

#[test]
fn a_client_that_takes_nothing_of_what_it_has_not_asked_for_does_not_hold_the_end_up() {
    for (mode, line) in [("dedicated", "SUBSCRIBE c"), ("shared", "SUBSCRIBE c"), ("dedicated", "MONITOR")] {
        let redis = Redis::start(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
        let config = format!("[pubsub]\nmode = \"{mode}\"\n[shutdown]\ngrace_period_ms = 8_000");
        let mut gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
        let mut client = gateway.client();
        client.small_buffers();
        client.line(line);
        let mut publisher = redis.client();
        let message = "m".repeat(1 << 20);
        // More than the system takes for the client.
        for _ in 0..32 {
            publisher.call(&["PUBLISH", "c", &message]);
        }
        gateway.terminate();
        // Nothing was abandoned, so its exit code is 0.
        gateway.wait_end(DEADLINE);
    }
}
