//! Memory under overload: large replies that nobody reads, and clients that send into silence.

use std::time::{Duration, Instant};

use crate::support::{
    Client, DEADLINE, Gateway, Machine, Redis, assert_own_error, raise_descriptor_limit, requests, wait,
};

const MIB: u64 = 1 << 20;

/// The longest that a bystander's request may take on an idle machine: far more than it does, far less than any time-out.
const UNDISTURBED: Duration = Duration::from_millis(1500);

/// Calls `PING` until `done`, and a few times after; how long each took, the longest first.
fn pings(client: &mut Client, mut done: impl FnMut() -> bool) -> Vec<Duration> {
    let (started, mut took, mut after) = (Instant::now(), Vec::new(), 0);
    while after < 20 {
        let sent = Instant::now();
        client.expect("PING", "+PONG\r\n");
        took.push(sent.elapsed());
        after = if done() || started.elapsed() > DEADLINE { after + 1 } else { 0 };
    }
    took.sort_by(|one, other| other.cmp(one));
    took
}

/// How many `GET` a Redis has executed.
fn gets(direct: &mut Client) -> u64 {
    let stats = String::from_utf8_lossy(&direct.line("INFO commandstats")).into_owned();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// Sets a value of so many bytes through the gateway.
fn set_large(client: &mut Client, key: &str, bytes: usize) {
    client.send(&["SET", key, &"x".repeat(bytes)]);
    assert_eq!(client.read_reply(), b"+OK\r\n");
}

#[test]
fn one_client_that_asks_for_2_gib_and_does_not_read_costs_neither_us_nor_redis_64_mib() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut bystander = gateway.client();
    set_large(&mut bystander, "large", 1 << 20);
    let before = redis.process().rss_bytes();
    let mut deaf = gateway.client();
    deaf.send_raw(&requests(&["GET large"]).repeat(2000));
    let (machine, mut direct) = (Machine::watch(), redis.client());
    let took = pings(&mut bystander, || gets(&mut direct) > 0);
    let (ours, of_redis) =
        (gateway.process().peak_rss_bytes(), redis.process().peak_rss_bytes().saturating_sub(before));
    println!("{ours} bytes of memory, Redis {of_redis} more");
    assert!(ours < 64 * MIB, "{ours} bytes of memory");
    assert!(of_redis < 64 * MIB, "Redis took {of_redis} bytes more");
    machine.assert_within(UNDISTURBED, took[0], "the longest that a bystander waited");
    // Whoever reads in the end gets all of it.
    for number in 0..2000 {
        assert_eq!(deaf.read_reply().len(), "$1048576\r\n\r\n".len() + (1 << 20), "reply {number}");
    }
}

#[test]
fn many_new_clients_that_ask_for_a_large_value_and_do_not_read_stay_within_the_bound() {
    const CLIENTS: u64 = 60;
    const BOUND: u64 = 32 * MIB;
    const LARGE: usize = 8 << 20;
    let redis = Redis::start(&[]);
    // A reply behind all of those may take long on a busy machine.
    let config = format!("[pool]\nreplies_bytes_max = {BOUND}\nreply_timeout_ms = 60000");
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
    let mut bystander = gateway.client();
    set_large(&mut bystander, "large", LARGE);
    let before = gateway.process().rss_bytes();
    let mut deaf: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    deaf.iter().for_each(Client::small_buffers);
    deaf.iter_mut().for_each(|client| client.send(&["GET", "large"]));
    let machine = Machine::watch();
    let took = pings(&mut bystander, || deaf.iter_mut().all(Client::has_arrived));
    let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
    println!("{grown} bytes more memory, {BOUND} of replies allowed; a bystander waited {:?}", &took[..6]);
    // Besides the bound, 64 KiB for each client, and what a connection has read and not distributed.
    let allowed = BOUND + CLIENTS * 64 * 1024 + 8 * MIB;
    assert!(grown < allowed, "{grown} bytes more memory, {allowed} allowed");
    // A request that was in flight on the same connection came behind all of them; later ones go elsewhere.
    machine.assert_within(UNDISTURBED, took[4], "the fifth longest that a bystander waited");
    // Each gets its value or is told why not. Of those that wait for room in line, Redis is not asked.
    let (mut served, mut refused) = (0, 0);
    for client in &mut deaf {
        let reply = client.read_reply();
        match reply.starts_with(b"-ERR respool: ") {
            true => refused += 1,
            false => {
                assert_eq!(reply.len(), format!("${LARGE}\r\n\r\n").len() + LARGE);
                served += 1;
            }
        }
    }
    println!("{served} served, {refused} refused");
    assert!(served >= 2 && refused > 0, "{served} served, {refused} refused");
    // All is given back.
    wait("a client to be served", || (bystander.line("GET large").len() > LARGE).then_some(()));
}

#[test]
fn many_new_clients_that_ask_for_a_large_value_and_read_are_all_served() {
    const CLIENTS: usize = 60;
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    // Room for eight of the sixty.
    let config = format!("[pool]\nreplies_bytes_max = {}", 8 * MIB);
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
    let mut first = gateway.client();
    set_large(&mut first, "large", 1 << 20);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    // Known for large replies, they wait for room in line.
    clients.iter_mut().for_each(|client| assert!(client.line("GET large").len() > 1 << 20));
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.send(&["GET", "large"]));
        clients.iter_mut().for_each(|client| {
            let reply = client.read_reply();
            assert!(reply.len() > 1 << 20, "{:?}", String::from_utf8_lossy(&reply));
        });
    }
}

#[test]
fn a_thousand_clients_that_send_into_silence_are_told_so_and_cost_less_than_256_mb() {
    const CLIENTS: usize = 1000;
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    // Bounds of memory as they are by default; only the waits are shorter.
    let config = "[pool]\nqueue_timeout_ms = 2000\nreply_timeout_ms = 2000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow_lost_upstream().start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    let request = requests(&[&format!("SET own {}", "x".repeat(1000))]);
    let pipeline = request.repeat(1000);
    // All are known for small replies, so that their bursts may be as large as any.
    for client in &mut clients {
        client.send_raw(&request.repeat(400));
        client.read_replies(400);
    }
    let before = gateway.process().rss_bytes();
    redis.freeze();
    let (machine, started) = (Machine::watch(), Instant::now());
    let sent: usize = clients.iter_mut().map(|client| client.send_available(&pipeline)).sum();
    let mut last = Duration::ZERO;
    for client in &mut clients {
        assert_own_error(&client.read_reply());
        last = last.max(started.elapsed());
    }
    let memory = gateway.process().peak_rss_bytes();
    println!(
        "{} MB sent, {memory} bytes of memory, {before} before, the last client was told after {last:?}",
        sent >> 20
    );
    assert!(memory < 256_000_000, "{memory} bytes of memory for {sent} bytes sent");
    // Reading from all of them takes its time too.
    machine.assert_within(Duration::from_secs(9), last, "until the last client was told");
    redis.thaw();
    wait("the gateway to serve again", || (gateway.client().line("PING") == b"+PONG\r\n").then_some(()));
}
