//! Limits: each is reached with a clear error that names it, costs only the client that reached it, and is
//! free again afterwards.

use std::time::{Duration, Instant};

use crate::support::{Client, DEADLINE, Gateway, Redis, assert_own_error, get, pass, requests, wait};

fn gateway_with(redis: &Redis, config: &str) -> Gateway {
    Gateway::builder().upstream(&redis.url()).config(config).start()
}

/// The gateway's own error, which names `key`.
#[track_caller]
fn assert_names(reply: &[u8], key: &str) {
    assert_own_error(reply);
    let text = String::from_utf8_lossy(reply);
    assert!(text.contains(key), "{text:?} does not name {key}");
}

#[test]
fn a_client_too_many_is_told_so_and_a_place_that_is_left_is_free_again() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\nclients_max = 5");
    let mut clients: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    for _ in 0..20 {
        assert_eq!(gateway.client().read_to_end(), b"-ERR max number of clients reached\r\n");
    }
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    drop(clients.pop());
    wait("the place to be free", || {
        let mut client = gateway.client();
        // Refused clients are closed, which the request may run into.
        client.try_send_raw(b"PING\r\n").ok()?;
        (client.try_read_reply().ok()?? == b"+PONG\r\n").then_some(())
    });
}

#[test]
fn a_request_larger_than_the_bound_is_refused_before_it_is_read() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\nrequest_bytes_max = 1000");
    let mut bystander = gateway.client();
    let fits = "x".repeat(900);
    bystander.expect(&format!("SET k {fits}"), "+OK\r\n");
    for beginning in ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n", "*2\r\n$1\r\nx\r\n$500000000\r\nab"] {
        let mut client = gateway.client();
        client.send_raw(beginning.as_bytes());
        assert_names(&client.read_to_end(), "request_bytes_max");
    }
    // What came before it in the same burst is answered.
    let mut client = gateway.client();
    client.send_raw(b"PING\r\n*2\r\n$1\r\nx\r\n$500000000\r\n");
    assert_eq!(client.read_reply(), b"+PONG\r\n");
    assert_names(&client.read_to_end(), "request_bytes_max");
    bystander.expect("STRLEN k", ":900\r\n");
}

#[test]
fn a_request_of_too_many_arguments_is_refused_as_redis_does() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\nargs_max = 10");
    let mut client = gateway.client();
    client.expect("DEL 1 2 3 4 5 6 7 8 9", ":0\r\n");
    client.send_raw(b"*11\r\n$3\r\nDEL\r\n");
    assert_eq!(client.read_to_end(), b"-ERR Protocol error: invalid multibulk length\r\n");
    gateway.client().expect("PING", "+PONG\r\n");
}

#[test]
fn unfinished_requests_beyond_the_bound_are_refused_and_finished_ones_are_not() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\ninput_bytes_max = 4194304");
    let beginning = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n".to_vec(), vec![b'x'; 1_500_000]].concat();
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    // A refused client is closed while it sends.
    clients.iter_mut().for_each(|client| drop(client.try_send_raw(&beginning)));
    let refused = wait("some to be refused", || {
        let refused = clients.iter_mut().filter_map(|client| {
            client.read_timeout(Duration::from_millis(50));
            client.try_read_reply().map_or(Some(Vec::new()), |reply| reply).filter(|reply| !reply.is_empty())
        });
        Some(refused.collect::<Vec<_>>()).filter(|refused| !refused.is_empty())
    });
    refused.iter().for_each(|reply| assert_names(reply, "input_bytes_max"));
    assert!(gateway.process().rss_bytes() < 64 << 20);
    drop(clients);
    let mut client = gateway.client();
    wait("the others to have gone", || {
        (String::from_utf8_lossy(&client.line("CLIENT LIST")).matches("id=").count() == 1).then_some(())
    });
    client.send_raw(&beginning);
    client.send_raw(&vec![b'y'; 500_000]);
    client.send_raw(b"\r\n");
    assert_eq!(client.read_reply(), b"+OK\r\n");
}

/// The beginning of a `DEL` of empty keys, all of it if there are a million.
fn million_arguments(there: usize) -> Vec<u8> {
    [&b"*1000000\r\n$3\r\nDEL\r\n"[..], &b"$0\r\n\r\n".repeat(there - 1)].concat()
}

#[test]
fn the_memory_of_a_request_of_a_million_arguments_is_given_back() {
    const CLIENTS: usize = 16;
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "");
    let request = million_arguments(1_000_000);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send_raw(&request);
        assert_eq!(client.read_reply(), b":0\r\n");
        // Of the next request only the first byte is there.
        client.send_raw(b"*");
    }
    let held = gateway.process().rss_bytes();
    assert!(held < 100 << 20, "{held} bytes for {CLIENTS} clients that ask for nothing");
    for client in &mut clients {
        client.send_raw(b"1\r\n$4\r\nPING\r\n");
        assert_eq!(client.read_reply(), b"+PONG\r\n");
    }
}

#[test]
fn what_is_kept_of_each_argument_counts_as_unfinished() {
    let redis = Redis::start(&[]);
    // The bytes of three such requests fit twice; where their arguments are takes as much again, and more.
    let gateway = gateway_with(&redis, "[clients]\ninput_bytes_max = 33554432");
    let beginning = million_arguments(900_000);
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| drop(client.try_send_raw(&beginning)));
    let refusal = wait("one of them to be refused", || {
        clients.iter_mut().find_map(|client| {
            client.read_timeout(Duration::from_millis(50));
            match client.try_read_reply() {
                Ok(Some(reply)) => Some(reply),
                // Closed while it sent.
                Ok(None) => Some(Vec::new()),
                Err(error) => (error.kind() == std::io::ErrorKind::ConnectionReset).then(Vec::new),
            }
        })
    });
    assert!(refusal.is_empty() || String::from_utf8_lossy(&refusal).contains("input_bytes_max"));
}

#[test]
fn a_request_of_nearly_all_that_may_be_unfinished_leaves_half_to_the_others() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\ninput_bytes_max = 4194304");
    let set = |bytes: usize| format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${bytes}\r\n").into_bytes();
    let (mut greedy, mut modest) = (gateway.client(), gateway.client());
    greedy.send_raw(&set(4_400_000));
    // More than the bound and what is free together would be refused; this is taken.
    greedy.send_raw(&vec![b'x'; 4_100_000]);
    for _ in 0..5 {
        modest.send_raw(&set(1_500_000));
        modest.send_raw(&vec![b'y'; 1_500_000]);
        modest.send_raw(b"\r\n");
        assert_eq!(modest.read_reply(), b"+OK\r\n");
    }
    greedy.send_raw(&vec![b'x'; 300_000]);
    greedy.send_raw(b"\r\n");
    assert_eq!(greedy.read_reply(), b"+OK\r\n");
}

#[test]
fn replies_larger_than_the_bound_are_an_error_and_the_next_reply_is_right() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[pool]\nworkers = 1\nreply_bytes_max = 100000");
    let (mut client, mut bystander) = (gateway.client(), gateway.client());
    client.expect(&format!("SET large {}", "x".repeat(200_000)), "+OK\r\n");
    for _ in 0..10 {
        bystander.send(&["ECHO", "mine"]);
        assert_names(&client.line("GET large"), "reply_bytes_max");
        client.expect("GETRANGE large 0 2", "$3\r\nxxx\r\n");
        assert_eq!(bystander.read_reply(), b"$4\r\nmine\r\n");
    }
}

#[test]
fn an_idle_client_is_closed_and_a_busy_one_is_not() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\nidle_timeout_ms = 2000");
    let (mut idle, mut busy) = (gateway.client(), gateway.client());
    idle.expect("PING", "+PONG\r\n");
    let started = Instant::now();
    idle.read_timeout(Duration::from_millis(50));
    // A busy one asks every 50 ms, which leaves it two seconds less these for what the machine does besides.
    wait("the idle one to be closed", || {
        busy.expect("PING", "+PONG\r\n");
        idle.try_read_reply().is_ok_and(|reply| reply.is_none()).then_some(())
    });
    assert!(started.elapsed() >= Duration::from_secs(2));
    busy.expect("PING", "+PONG\r\n");
}

#[test]
fn a_client_waiting_for_its_reply_is_not_idle() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\nidle_timeout_ms = 200");
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    redis.freeze();
    client.send(&["INCR", "n"]);
    client.read_timeout(Duration::from_millis(700));
    let early = client.try_read_reply();
    assert!(early.is_err(), "neither a reply nor the end: {early:?}");
    redis.thaw();
    client.read_timeout(DEADLINE);
    assert_eq!(client.read_reply(), b":1\r\n");
}

#[test]
fn a_client_that_takes_nothing_of_its_replies_is_closed_at_write_timeout() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[clients]\nwrite_timeout_ms = 500");
    let mut bystander = gateway.client();
    bystander.expect(&format!("SET large {}", "x".repeat(1 << 20)), "+OK\r\n");
    let before = gateway.process().descriptors();
    let mut deaf = gateway.client();
    deaf.small_buffers();
    wait("the client to be accepted", || (gateway.process().descriptors() > before).then_some(()));
    deaf.send_raw(&requests(&["GET large"]).repeat(50));
    wait("the client to be closed", || (gateway.process().descriptors() <= before).then_some(()));
    bystander.expect("PING", "+PONG\r\n");
}

#[test]
fn one_request_larger_than_the_queues_bytes_passes_alone() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, "[pool]\nqueue_bytes_max = 1000\nbatch_bytes_max = 1000");
    let mut client = gateway.client();
    client.expect(&format!("SET k {}", "x".repeat(100_000)), "+OK\r\n");
    client.expect("STRLEN k", ":100000\r\n");
}

#[test]
fn running_out_of_descriptors_stops_nobody_who_is_connected_and_ends_by_itself() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).allow("cannot accept clients").start();
    let mut first = gateway.client();
    first.expect("PING", "+PONG\r\n");
    let process = gateway.process();
    process.limit_descriptors(process.descriptors() + 10);
    let clients: Vec<Client> = (0..40).map(|_| gateway.client()).collect();
    gateway.logs().wait_for("cannot accept clients", DEADLINE);
    let (cpu, started) = (process.cpu_time(), Instant::now());
    while started.elapsed() < Duration::from_secs(1) {
        first.expect("PING", "+PONG\r\n");
        pass(Duration::from_millis(50));
    }
    let (spent, time) = (process.cpu_time() - cpu, started.elapsed());
    assert!(spent * 5 < time * 2, "{spent:?} of processor time in {time:?} of nothing to do");
    drop(clients);
    let mut late = gateway.client();
    late.expect("PING", "+PONG\r\n");
}

#[test]
fn clients_that_all_block_wait_for_connections_for_which_there_are_descriptors() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).descriptors_max(256).allow("clients are let in").start();
    let mut first = gateway.client();
    let shown = String::from_utf8_lossy(&first.line("INFO clients")).into_owned();
    let max = shown.split("maxclients:").nth(1).and_then(|rest| rest.lines().next()).expect("a figure");
    let clients: Vec<Client> = (1..max.parse().expect("a number")).map(|_| gateway.client()).collect();
    let mut clients: Vec<Client> = clients.into_iter().chain([first]).collect();
    clients.iter_mut().for_each(|client| client.send(&["BLPOP", "nothing", "0.1"]));
    for client in &mut clients {
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), "*-1\r\n");
    }
}

#[test]
fn clients_leave_descriptors_for_connections_to_the_upstream_and_for_health_checks() {
    let redis = Redis::start(&[]);
    let builder = Gateway::builder().upstream(&redis.url()).metrics().descriptors_max(128);
    let builder = builder.allow("cannot accept clients").allow("connection lost");
    let gateway = builder.allow("clients are let in").start();
    let mut clients: Vec<Client> = (0..128).map(|_| gateway.client()).collect();
    let replies: Vec<_> = clients.iter_mut().map(|client| client.line("PING")).collect();
    let served = replies.iter().filter(|reply| *reply == b"+PONG\r\n").count();
    let refused = replies.iter().filter(|reply| *reply == b"-ERR max number of clients reached\r\n").count();
    assert!(served >= 32 && served + refused == clients.len(), "{served} and {refused}");
    let [ref mut first, ref mut second, ..] = clients[..] else { panic!("more than two clients") };
    let says_max = |client: &mut Client| {
        let shown = String::from_utf8_lossy(&client.line("INFO clients")).into_owned();
        assert!(shown.contains(&format!("maxclients:{served}\r\n")), "{shown}");
    };
    says_max(first);
    second.expect("WATCH k", "+OK\r\n");
    redis.client().line("CLIENT KILL TYPE normal");
    wait("connections to come back", || (first.line("SET k v") == b"+OK\r\n").then_some(()));
    first.expect("BLPOP nothing 0.01", "*-1\r\n");
    assert_eq!(get(gateway.metrics_address(), "/healthz").0, 200);
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    says_max(first);
    let said = first.call(&["RESPOOL", "CONFIG", "SET", "clients.clients_max", "5000"]);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains(&format!("the system allows 128; {served} clients are let in")), "{said}");
}
