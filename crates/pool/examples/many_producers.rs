//! Many producers over one queue and 1, 2, 4 or 8 workers, each with a connection to the embedded
//! upstream: throughput, and how long a single command takes. Every producer has one command out at a
//! time. Needs no set-up: `cargo run --release -p respool-pool --example many_producers`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use pool::{Endpoint, Pool, Settings};
use socket2::SockRef;
use tokio::{net::TcpListener, task::JoinSet};

const PRODUCERS: usize = 200;
const CONNECTIONS: [usize; 4] = [1, 2, 4, 8];
const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(800);
/// How many requests a worker writes before it has their replies. Low, so that the load of this example
/// reaches the last connection: work goes to a further one only when those before it are full.
const PIPELINE_DEPTH: usize = 32;

struct Measured {
    /// How long each command took, in order of size.
    latencies: Vec<Duration>,
    elapsed: Duration,
    /// Commands that did not give what they had to.
    wrong: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let upstream = embedded_upstream().await?;
    println!("{PRODUCERS} producers, one SET or GET at a time each, {} ms a line", MEASURED.as_millis());
    println!("producers, pool and upstream share one thread of this process\n");
    println!(
        "{:>11} {:>12} {:>10} {:>10} {:>10} {:>6}",
        "connections", "commands/s", "p50 us", "p99 us", "max us", "wrong"
    );
    for connections in CONNECTIONS {
        let measured = measure(upstream, connections).await?;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = measured.latencies.len() as f64 / measured.elapsed.as_secs_f64();
        println!(
            "{connections:>11} {rate:>12.0} {:>10} {:>10} {:>10} {:>6}",
            measured.percentile(50).as_micros(),
            measured.percentile(99).as_micros(),
            measured.percentile(100).as_micros(),
            measured.wrong,
        );
    }
    Ok(())
}

impl Measured {
    fn percentile(&self, percent: usize) -> Duration {
        let at = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

async fn measure(upstream: SocketAddr, connections: usize) -> anyhow::Result<Measured> {
    let endpoint = Endpoint::tcp(upstream.ip().to_string(), upstream.port());
    let settings = Settings { workers: connections, pipeline_depth: PIPELINE_DEPTH, ..Settings::new(endpoint) };
    let pool = Pool::start(settings);
    let begin = Instant::now() + WARM_UP;
    let mut producers = JoinSet::new();
    for number in 0..PRODUCERS {
        producers.spawn(produce(pool.client(), number, begin, begin + MEASURED));
    }
    let mut measured = Measured { latencies: Vec::new(), elapsed: MEASURED, wrong: 0 };
    for (latencies, wrong) in producers.join_all().await {
        measured.latencies.extend(latencies);
        measured.wrong += wrong;
    }
    measured.latencies.sort_unstable();
    let drained = pool.drain(Duration::from_secs(5)).await;
    anyhow::ensure!(drained.abandoned == 0, "{} commands were abandoned", drained.abandoned);
    Ok(measured)
}

/// Sets and gets a key of its own until `end`; the latencies of what was begun and finished between `begin` and
/// `end`, and how many commands went wrong.
async fn produce(mut client: pool::Client, number: usize, begin: Instant, end: Instant) -> (Vec<Duration>, usize) {
    let key = format!("producer:{number}");
    let (mut latencies, mut wrong) = (Vec::new(), 0);
    for turn in 0_u64.. {
        let value = (turn / 2).to_string();
        let started = Instant::now();
        let right = if turn % 2 == 0 {
            client.set(&key, &value, None).await.is_ok()
        } else {
            // What this producer has set is what it gets, whichever connection either went over.
            client.get(&key).await.is_ok_and(|got| got.as_deref() == Some(value.as_bytes()))
        };
        let finished = Instant::now();
        wrong += usize::from(!right);
        if finished >= end {
            break;
        }
        if started >= begin {
            latencies.push(finished - started);
        }
    }
    (latencies, wrong)
}

/// A mini-redis in this process; where it listens.
async fn embedded_upstream() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    // Accepted sockets inherit it. mini-redis writes reply by reply, which without it waits for the other
    // side's delayed acknowledgements.
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    let address = listener.local_addr()?;
    // It lives as long as the program.
    tokio::spawn(mini_redis::server::run(listener, std::future::pending::<()>()));
    Ok(address)
}
