//! Twice as many requests as the upstream can serve, due on a schedule that waits for nobody; and many short
//! connections. The long forms are commands of the load test's page.

use std::{net::SocketAddr, thread, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::support::{
    Client, DEADLINE, Gateway, Machine, Redis, Upstream, pass, raise_descriptor_limit, request, wait,
};

const SECONDS: u64 = 5;
const CLIENTS: u64 = 1000;
/// One request takes this long, one after the other: at most 500 a second.
const SERVICE_TIME: Duration = Duration::from_millis(2);
const QUEUE_TIMEOUT: Duration = Duration::from_millis(500);

/// A real Redis that takes its time.
fn slow_upstream(redis: &Redis) -> Upstream {
    let address = redis.address();
    Upstream::start(move |peer| {
        let mut redis = Client::connect(address);
        while let Some(line) = peer.next() {
            pass(SERVICE_TIME);
            peer.reply(&String::from_utf8_lossy(&redis.line(&line)));
        }
    })
}

/// What came of a request, and how long after it was due.
struct Outcome {
    reply: String,
    took: Duration,
}

/// Sends a request each second from `due` on, and takes what is answered.
async fn ask(gateway: SocketAddr, due: Instant) -> Vec<Outcome> {
    let mut stream = BufStream::new(TcpStream::connect(gateway).await.expect("connects"));
    let mut outcomes = Vec::new();
    for second in 0..SECONDS {
        let due = due + Duration::from_secs(second);
        sleep_until(due).await;
        stream.write_all(&request(&["INCR", "served"])).await.expect("sends");
        stream.flush().await.expect("sends");
        let mut reply = String::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_line(&mut reply)).await;
        assert!(matches!(read, Ok(Ok(1..))), "no reply: {read:?}");
        outcomes.push(Outcome { reply, took: due.elapsed() });
    }
    outcomes
}

/// When a request was served for the first time from `end` on.
async fn recovery(gateway: SocketAddr, end: Instant) -> Duration {
    let mut stream = BufStream::new(TcpStream::connect(gateway).await.expect("connects"));
    sleep_until(end).await;
    loop {
        stream.write_all(&request(&["PING"])).await.expect("sends");
        stream.flush().await.expect("sends");
        let mut reply = String::new();
        stream.read_line(&mut reply).await.expect("a reply");
        if reply == "+PONG\r\n" {
            return end.elapsed();
        }
    }
}

fn percentile(outcomes: &[&Outcome], percent: usize) -> Duration {
    let mut took: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
    took.sort();
    took.get(took.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

#[test]
fn twice_what_the_upstream_can_serve_is_half_refused_in_time_and_nothing_is_served_in_vain() {
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    let upstream = slow_upstream(&redis);
    let config = format!(
        "[pool]\nworkers = 1\npipeline_depth = 4\nqueue_timeout_ms = {}\nreply_timeout_ms = 30000",
        QUEUE_TIMEOUT.as_millis()
    );
    let gateway = Gateway::builder().upstream(&upstream.url()).config(&config).start();
    let machine = Machine::watch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = gateway.address();
    let (outcomes, recovered) = runtime.block_on(async {
        let start = Instant::now() + Duration::from_secs(1);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(ask(address, start + Duration::from_micros(1_000_000 / CLIENTS * client)));
        }
        let recovered = tokio::spawn(recovery(address, start + Duration::from_secs(SECONDS)));
        (clients.join_all().await.into_iter().flatten().collect::<Vec<_>>(), recovered.await.expect("no panic"))
    });
    let (served, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.reply.starts_with(':'));
    let memory = gateway.process().peak_rss_bytes();
    println!(
        "{} served, half within {:?}, 99 of 100 within {:?}; {} refused, 99 of 100 within {:?}; {memory} bytes of \
         memory; served again after {recovered:?}",
        served.len(),
        percentile(&served, 50),
        percentile(&served, 99),
        refused.len(),
        percentile(&refused, 99),
    );
    assert_eq!(outcomes.len() as u64, CLIENTS * SECONDS, "each is answered");
    for outcome in &refused {
        assert!(outcome.reply.starts_with("-ERR respool: queue_timeout_ms exceeded"), "{}", outcome.reply);
    }
    assert!(refused.len() * 5 >= outcomes.len() * 2, "{} of {} refused", refused.len(), outcomes.len());
    // What was refused was not executed, and what was executed was not refused.
    redis.client().expect("GET served", &format!("${}\r\n{}\r\n", served.len().to_string().len(), served.len()));
    // All of it may have to wait on a busy machine, but not for as long as the load lasts.
    let limit = QUEUE_TIMEOUT + Duration::from_secs(2);
    machine.assert_within(limit, percentile(&served, 99), "until 99 of 100 that were served had their replies");
    machine.assert_within(limit, percentile(&refused, 99), "until 99 of 100 that were refused were told");
    machine.assert_within(limit, recovered, "until a client was served again");
    assert!(memory < 64 << 20, "{memory} bytes of memory");
}

/// A figure of the `INFO` of a Redis.
fn figure(direct: &mut Client, section: &str, key: &str) -> u64 {
    let info = String::from_utf8_lossy(&direct.line(&format!("INFO {section}"))).into_owned();
    let value = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).expect("Redis tells")
}

#[test]
fn three_thousand_short_connections_open_none_to_the_upstream() {
    const THREADS: usize = 4;
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    gateway.client().expect("PING", "+PONG\r\n");
    let mut direct = redis.client();
    // All workers have connected by the time that the last one has.
    wait("all workers", || (figure(&mut direct, "clients", "connected_clients") == 5).then_some(()));
    let received = figure(&mut direct, "stats", "total_connections_received");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                (0..3000 / THREADS).for_each(|_| gateway.client().expect("PING", "+PONG\r\n"));
            });
        }
    });
    assert_eq!(figure(&mut direct, "stats", "total_connections_received"), received);
    assert_eq!(figure(&mut direct, "clients", "connected_clients"), 5);
}
