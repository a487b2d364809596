//! Bounds under pressure: a stuck upstream, clients that only send, only wait or never read. Memory stays
//! within what the configuration implies, nobody else is slowed, and all recover.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    at_most_once::cluster::scripted::said_of_all,
    support::{
        Client, Gateway, Machine, Redis, Upstream, assert_own_error, pass, raise_descriptor_limit, requests, wait,
    },
};

/// The longest that a bystander's request may take on an idle machine while others misbehave: far more than it
/// needs, far less than any time-out of the gateway.
const UNDISTURBED: Duration = Duration::from_millis(1500);

/// Calls `PING` many times; the longest it took.
fn slowest_ping(client: &mut Client, count: usize) -> Duration {
    let time = |client: &mut Client| {
        let started = Instant::now();
        client.expect("PING", "+PONG\r\n");
        started.elapsed()
    };
    (0..count).map(|_| time(client)).max().unwrap_or_default()
}

#[test]
fn a_thousand_clients_pipelining_into_a_frozen_upstream_stay_within_the_bound() {
    const CLIENTS: usize = 1000;
    const MIB: u64 = 1 << 20;
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    let config = "[pool]\nqueue_bytes_max = 8388608\nqueue_timeout_ms = 3000\nreply_timeout_ms = 3000\n
        [clients]\ninput_bytes_max = 16777216\nbacklog_bytes_max = 65536";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow_lost_upstream().start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("SET own 0", "+OK\r\n"));
    let before = gateway.process().rss_bytes();
    redis.freeze();
    let request = requests(&[&format!("SET own {}", "x".repeat(1000))]);
    let pipeline = request.repeat(1000);
    let sent: Vec<usize> = clients.iter_mut().map(|client| client.send_available(&pipeline)).collect();
    let total: usize = sent.iter().sum();
    assert!(total as u64 > 128 * MIB, "{total} bytes are too few to tell anything");
    // Every client gets an error to its first request, the rest is bounded by what was read of it.
    for client in &mut clients {
        assert_own_error(&client.read_reply());
    }
    let grown = gateway.process().peak_rss_bytes() - before;
    // Queued and in flight 8 MiB, unfinished input 16 MiB, and for each client what one read holds, its
    // burst and the errors to it.
    let bound = (8 + 16) * MIB + CLIENTS as u64 * (64 + 64 + 32) * 1024;
    println!("{total} bytes sent, {grown} bytes more memory, {bound} allowed");
    assert!(grown < bound, "{grown} bytes more memory for {total} bytes sent, {bound} allowed");
    redis.thaw();
    thread::scope(|scope| {
        for (clients, sent) in clients.chunks_mut(CLIENTS / 4).zip(sent.chunks(CLIENTS / 4)) {
            let (request, pipeline) = (&request, &pipeline);
            scope.spawn(move || {
                clients.iter_mut().zip(sent).for_each(|(client, sent)| {
                    recover(client, *sent, request, pipeline);
                })
            });
        }
    });
}

/// Reads what is due for `sent` bytes, of which one reply was read, and has a further request executed.
fn recover(client: &mut Client, sent: usize, request: &[u8], pipeline: &[u8]) {
    let whole = sent.div_ceil(request.len());
    client.send_raw(&pipeline[sent..whole * request.len()]);
    for _ in 1..whole {
        let reply = client.read_reply();
        assert!(reply == b"+OK\r\n" || reply.starts_with(b"-ERR respool: "), "{:?}", String::from_utf8_lossy(&reply));
    }
    // Others may fill the queue for longer than a request may wait for a place.
    wait("a further request to be executed", || (client.line("GET nothing") == b"$-1\r\n").then_some(()));
}

/// Whether the client has the error of the queue by now.
fn is_refused(client: &mut Client) -> bool {
    client.read_timeout(Duration::from_millis(1));
    let Ok(Some(reply)) = client.try_read_reply() else { return false };
    let text = String::from_utf8_lossy(&reply).into_owned();
    assert!(text.starts_with("-ERR respool: ") && text.contains("queue_timeout_ms"), "{text}");
    true
}

#[test]
fn a_full_queue_makes_clients_wait_and_then_errors_at_queue_timeout() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 1\npipeline_depth = 4\nqueue_capacity = 4\nqueue_timeout_ms = 700\nreply_timeout_ms = 600000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut clients: Vec<Client> = (0..40).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    redis.freeze();
    let started = Instant::now();
    clients.iter_mut().for_each(|client| client.send(&["INCR", "m"]));
    // All but those in flight get the error of the queue: the 4 in the queue waited as long as the rest.
    let mut waiting: Vec<&mut Client> = clients.iter_mut().collect();
    wait("36 to be refused", || {
        waiting.retain_mut(|client| !is_refused(client));
        (waiting.len() <= 4).then_some(())
    });
    assert!(started.elapsed() >= Duration::from_millis(700));
    assert_eq!(waiting.len(), 4);
    redis.thaw();
    let waiting = waiting.len();
    let mut direct = redis.client();
    wait("what was in flight to be executed", || {
        (direct.line("GET m") == format!("$1\r\n{waiting}\r\n").into_bytes()).then_some(())
    });
    // Each of those in flight gets its reply, and everybody is served again.
    let mut client = gateway.client();
    client.expect("INCR m", &format!(":{}\r\n", waiting + 1));
}

#[test]
fn a_client_that_only_sends_is_stopped_through_tcp() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nqueue_timeout_ms = 600000\nreply_timeout_ms = 600000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    redis.freeze();
    let chunk = requests(&[&format!("SET k {}", "x".repeat(100_000))]).repeat(10);
    let (mut sent, mut stalled) = (0_usize, 0);
    // Stopped when nothing more was taken for as many looks as it takes half a second.
    wait("the client to be stopped", || {
        let taken = client.send_available(&chunk[sent % chunk.len()..]);
        stalled = if taken == 0 { stalled + 1 } else { 0 };
        sent += taken;
        (stalled > 25).then_some(())
    });
    assert!(sent < 48 << 20, "{sent} bytes were taken although nothing is answered");
    redis.thaw();
    let whole = sent.div_ceil(chunk.len() / 10);
    client.send_raw(&chunk.repeat(2)[sent % chunk.len()..][..whole * (chunk.len() / 10) - sent]);
    (0..whole).for_each(|_| assert_eq!(client.read_reply(), b"+OK\r\n"));
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_slows_nobody() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 2\nreplies_bytes_max = 33554432\n[clients]\nwrite_timeout_ms = 3000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut bystander = gateway.client();
    bystander.expect(&format!("SET large {}", "x".repeat(1 << 20)), "+OK\r\n");
    let (before, descriptors) = (gateway.process().rss_bytes(), gateway.process().descriptors());
    let mut deaf: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
    for client in &mut deaf {
        client.small_buffers();
        client.send_raw(&requests(&["GET large"]).repeat(1000));
    }
    wait("them to be accepted", || (gateway.process().descriptors() >= descriptors + 10).then_some(()));
    let machine = Machine::watch();
    let slowest = slowest_ping(&mut bystander, 500);
    machine.assert_within(UNDISTURBED, slowest, "the longest that a bystander waited");
    let grown = gateway.process().peak_rss_bytes() - before;
    assert!(grown < 128 << 20, "{grown} bytes more memory, for 10 GiB asked for");
    // At write_timeout_ms they are closed, so that what they held is given back.
    wait("the gateway to give them up", || (gateway.process().descriptors() <= descriptors).then_some(()));
    bystander.expect("PING", "+PONG\r\n");
}

#[test]
fn clients_that_ask_for_megabytes_at_once_and_never_read_stay_within_the_bound() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 2\nreplies_bytes_max = 67108864";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (machine, mut bystander) = (Machine::watch(), gateway.client());
    bystander.expect(&format!("SET large {}", "x".repeat(1 << 20)), "+OK\r\n");
    // Nobody can be served faster behind as much as these ask for first, on this machine and with what else it does.
    let began = Instant::now();
    (0..60).for_each(|_| assert_eq!(bystander.line("GET large").len(), (1 << 20) + "$1048576\r\n\r\n".len()));
    let patience = UNDISTURBED.max(began.elapsed() * 2);
    let before = gateway.process().rss_bytes();
    // Nothing is known of their replies when they ask.
    let mut deaf: Vec<Client> = (0..60).map(|_| gateway.client()).collect();
    deaf.iter().for_each(Client::small_buffers);
    deaf.iter_mut().for_each(|client| client.send_raw(&requests(&["GET large"]).repeat(16)));
    let slowest = slowest_ping(&mut bystander, 300);
    let grown = gateway.process().peak_rss_bytes() - before;
    assert!(grown < 256 << 20, "{grown} bytes more memory, 64 MiB of replies allowed");
    machine.assert_within(patience, slowest, "the longest that a bystander waited");
}

#[test]
fn clients_whose_first_requests_waited_in_vain_are_not_taken_for_clients_of_small_replies() {
    // Redis, or a cluster of one node, is busy with a large reply, for as long as this test.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let upstream = Upstream::start(move |peer| {
        while let Some(line) = peer.next() {
            if line == "GET large" {
                count.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let said = said_of_all(&[peer.port()], &line);
            peer.reply(said.as_deref().unwrap_or("+PONG\r\n"));
        }
    });
    for url in [upstream.url(), upstream.url().replace("redis://", "redis-cluster://")] {
        let times = "queue_timeout_ms = 50\nreply_timeout_ms = 600000";
        let upstream = format!("[upstream]\ncheck_interval_ms = 0\nurl = \"{url}\"");
        let config = format!("[pool]\nworkers = 1\n{times}\n[shutdown]\ngrace_period_ms = 0\n{upstream}");
        let mut gateway = Gateway::builder().config(&config).allow("abandoned").start();
        gateway.expect_exit_code(1);
        let mut clients: Vec<Client> = (0..12).map(|_| gateway.client()).collect();
        clients.iter_mut().for_each(|client| client.expect("CLIENT SETNAME known", "+OK\r\n"));
        let before = asked.load(Ordering::Relaxed);
        clients.iter_mut().for_each(|client| client.send_raw(&requests(&["GET large"]).repeat(100)));
        let mut refused = 0;
        wait("all but the first to be refused three times", || {
            refused += clients.iter_mut().filter_map(|client| is_refused(client).then_some(())).count();
            (refused >= 3 * 8).then_some(())
        });
        let asked = asked.load(Ordering::Relaxed) - before;
        assert!((1..=4).contains(&asked), "{asked} requests whose replies may be large went at once");
    }
}

#[test]
fn clients_that_send_a_byte_at_a_time_slow_nobody_and_are_served() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut bystander = gateway.client();
    let mut slow: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
    let request = requests(&["INCR counter"]);
    let (machine, mut slowest) = (Machine::watch(), Duration::ZERO);
    for byte in &request {
        slow.iter_mut().for_each(|client| client.send_raw(std::slice::from_ref(byte)));
        slowest = slowest.max(slowest_ping(&mut bystander, 5));
        pass(Duration::from_millis(20));
    }
    machine.assert_within(UNDISTURBED, slowest, "the longest that a bystander waited");
    let mut counts: Vec<_> = slow.iter_mut().map(Client::read_reply).collect();
    counts.sort();
    counts.dedup();
    assert_eq!(counts.len(), slow.len(), "each request was executed once");
}

#[test]
fn unfinished_requests_of_many_clients_cost_what_they_sent_and_no_more() {
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut bystander = gateway.client();
    bystander.expect("PING", "+PONG\r\n");
    let before = gateway.process().rss_bytes();
    // Each announces 400 MiB and a million arguments, and sends next to nothing of it.
    let mut clients: Vec<Client> = (0..300).map(|_| gateway.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let start =
            if index % 2 == 0 { "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$419430400\r\nx" } else { "*1048576\r\n$1\r\nx\r\n" };
        client.send_raw(start.as_bytes());
    }
    bystander.expect("PING", "+PONG\r\n");
    let grown = gateway.process().peak_rss_bytes() - before;
    assert!(grown < 48 << 20, "{grown} bytes more memory for 300 beginnings");
}
