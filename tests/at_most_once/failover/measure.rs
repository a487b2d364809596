//! What each kind of failover costs 50 verified clients, in figures, as `docs/failover.md` has them. Takes minutes and fails
//! only where a promise is broken; run by `./tests/run failover`.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    load::{Clients, Told, more_load, under_load_of},
    service::Service,
};
use crate::support::{Client, Gateway, Metrics, pass, requests, within};

/// Clients of each measurement.
pub(super) const CLIENTS: usize = 50;
/// Runs of each, unless told otherwise.
const RUNS: usize = 5;
/// How long a failover may take at the worst.
const OVER: Duration = Duration::from_secs(30);
/// Of the clients, so many in a hundred have to be served.
const SERVED: usize = 95;
/// How long a primary is frozen, and calls itself one after that.
const FROZEN: Duration = Duration::from_secs(5);
const DENIES: Duration = Duration::from_secs(11);

/// What one run came to.
struct Run {
    lost: usize,
    /// Of those, acknowledged after another node had become the primary.
    lost_late: usize,
    errors: usize,
    gap: Duration,
    /// From the promotion until nearly all clients were served again.
    served: Duration,
}

/// A gateway whose clients wait for the next primary.
pub(super) fn gateway(service: &Service) -> Gateway {
    let config = "[upstream]\nfailover_wait_ms = 60_000\n[pool]\nqueue_timeout_ms = 60_000";
    let builder = Gateway::builder().upstream(&service.url()).config(config).allow_lost_upstream();
    builder.allow("sentinel does not answer").start()
}

/// When one of the nodes that were replicas at the start is first seen to be a primary.
fn watch_for_promotion(service: &Service) -> Arc<Mutex<Option<Instant>>> {
    let seen = Arc::<Mutex<Option<Instant>>>::default();
    for node in &service.nodes[1..] {
        let (address, mut client, seen) = (node.address(), node.client(), Arc::clone(&seen));
        thread::spawn(move || {
            let began = Instant::now();
            while began.elapsed() < OVER * 2 && seen.lock().expect("no panic").is_none() {
                // A promotion closes connections.
                match client.try_line("ROLE") {
                    Ok(role) if role.windows(6).any(|word| word == b"master") => {
                        seen.lock().expect("no panic").get_or_insert_with(Instant::now);
                    }
                    Ok(_) => pass(Duration::from_millis(2)),
                    Err(_) => match Client::try_connect(address) {
                        Ok(again) => client = again,
                        Err(_) => return,
                    },
                }
            }
        });
    }
    seen
}

/// One failover under load; `trouble` brings it about and waits as long as it likes.
fn run(pipelines: bool, trouble: impl FnOnce(&mut Service)) -> Run {
    let mut service = Service::start(&[]);
    let gateway = gateway(&service);
    let promoted = watch_for_promotion(&service);
    let told = under_load_of(Clients { number: CLIENTS, pipelines }, &gateway, |rounds| {
        more_load(rounds, 20);
        trouble(&mut service);
        within(OVER, "a promotion", || *promoted.lock().expect("no panic"));
        more_load(rounds, 50);
    });
    told.assert_not_doubled();
    told.assert_only_sent_failed();
    let promoted = promoted.lock().expect("no panic").expect("waited for");
    // The sentinels name the old one for a second or two after the promotion.
    let primary = service.primary_but(0);
    let lost = told.lost(&mut service.direct(primary));
    let lost_late = lost.iter().filter(|write| write.at > promoted).count();
    Run {
        lost: lost.len() + told.counts_lost(),
        lost_late,
        errors: told.errors.len(),
        gap: told.gap(),
        served: served(&told, promoted),
    }
}

/// How long after `since` nearly all clients had a write acknowledged.
fn served(told: &Told, since: Instant) -> Duration {
    let mut first = vec![Duration::MAX; CLIENTS];
    for write in told.writes.iter().filter(|write| write.at > since) {
        first[write.client] = first[write.client].min(write.at - since);
    }
    first.sort();
    first[CLIENTS * SERVED / 100 - 1]
}

fn runs() -> usize {
    env::var("RESPOOL_FAILOVER_RUNS").map_or(RUNS, |text| text.parse().expect("RESPOOL_FAILOVER_RUNS is a number"))
}

/// The median, and the least and the most.
fn spread<T: Ord + Copy>(mut values: Vec<T>) -> (T, T, T) {
    values.sort();
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn show(event: &str, runs: &[Run]) {
    let numbers = |of: fn(&Run) -> usize| {
        let (median, least, most) = spread(runs.iter().map(of).collect());
        format!("{median} ({least} to {most})")
    };
    let times = |of: fn(&Run) -> Duration| {
        let (median, least, most) = spread(runs.iter().map(of).collect());
        format!("{:.2} s ({:.2} to {:.2})", median.as_secs_f64(), least.as_secs_f64(), most.as_secs_f64())
    };
    println!(
        "| {event} | {} | {} | {} | {} | {} |",
        numbers(|run| run.lost_late),
        numbers(|run| run.lost - run.lost_late),
        numbers(|run| run.errors),
        times(|run| run.gap),
        times(|run| run.served)
    );
}

#[test]
#[ignore = "takes minutes, by ./tests/run failover"]
fn measure_failovers() {
    let runs = runs();
    println!("{CLIENTS} clients, {runs} runs each: median (least to most)\n");
    println!(
        "| event | lost after the promotion | lost before it | errors | longest gap | 95 % served after the promotion |"
    );
    println!("|---|---|---|---|---|---|");
    let of = |pipelines, trouble: fn(&mut Service)| (0..runs).map(|_| run(pipelines, trouble)).collect::<Vec<_>>();
    let planned = of(true, |service| service.fail_over(0));
    show("planned failover", &planned);
    let killed = [("one request at a time", false), ("pipelines of six", true)].map(|(how, pipelines)| {
        let killed = of(pipelines, |service| service.nodes[0].kill9());
        show(&format!("primary killed, {how}"), &killed);
        killed
    });
    let frozen = of(true, |service| {
        service.nodes[0].freeze();
        pass(FROZEN);
        service.nodes[0].thaw();
        pass(DENIES);
    });
    show("primary frozen for 5 s", &frozen);
    let late: usize = [&planned, &killed[0], &killed[1], &frozen].into_iter().flatten().map(|run| run.lost_late).sum();
    assert_eq!(late, 0, "a write was acknowledged by a node that was not the primary any more");
    assert!(planned.iter().all(|run| run.errors == 0), "a planned failover costs no error");
    let alone = killed[0].iter().map(|run| run.errors).max();
    assert!(alone <= Some(CLIENTS), "more got an error than requests were under way");
}

#[test]
#[ignore = "takes minutes, by ./tests/run failover"]
fn measure_starts_with_sentinels_that_are_dead() {
    println!("\n| sentinels in the URL | served after |\n|---|---|");
    for (name, dead, mute) in
        [("three live", false, false), ("the first dead", true, false), ("dead, mute, live", true, true)]
    {
        let mut service = Service::start(&[]);
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let mut list: Vec<_> = service.sentinels.iter().map(super::service::Sentinel::address).collect();
        if dead {
            service.sentinels[0].kill9();
        }
        if mute {
            list[1] = silent.local_addr().expect("bound");
        }
        let serve = |_| {
            let gateway = Gateway::builder().upstream(&service.url_by(&list)).allow("sentinel does not answer").start();
            let began = Instant::now();
            gateway.client().expect("SET k 1", "+OK\r\n");
            began.elapsed()
        };
        let (median, least, most) = spread((0..runs()).map(serve).collect());
        println!("| {name} | {} ms ({} to {}) |", median.as_millis(), least.as_millis(), most.as_millis());
    }
}

/// Writes and reads of the same client while replicas lag.
#[test]
#[ignore = "takes minutes, by ./tests/run failover"]
fn measure_stale_reads() {
    let service = Service::start(&[]);
    let config = "[upstream]\nreads = \"prefer_replica\"\nreplica_lag_max_ms = 400";
    let builder = Gateway::builder().upstream(&service.url()).config(config).metrics();
    let gateway = builder.start();
    let over = AtomicBool::new(false);
    let client = |index: usize| {
        let (mut client, mut counts) = (gateway.client(), [0_usize; 4]);
        for round in 0.. {
            let (key, value) = (format!("s{index}"), format!("{round}"));
            let expected = format!("${}\r\n{value}\r\n", value.len());
            client.expect(&format!("SET {key} {value}"), "+OK\r\n");
            let began = Instant::now();
            // Some go on until a replica may have them.
            while began.elapsed() < Duration::from_millis(round % 7 * 40) {
                counts[0] += 1;
                counts[1] += usize::from(client.call(&["GET", &key]) != expected.as_bytes());
            }
            client.send_raw(&requests(&[&format!("SET {key} {value}p"), &format!("GET {key}")]));
            let expected = format!("${}\r\n{value}p\r\n", value.len() + 1);
            counts[2] += 1;
            counts[3] += usize::from(client.read_replies(2)[1] != expected.as_bytes());
            if over.load(Ordering::Relaxed) {
                return counts;
            }
        }
        counts
    };
    let counts: Vec<[usize; 4]> = thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> = (0..CLIENTS).map(|index| scope.spawn(move || client(index))).collect();
        pass(Duration::from_secs(20));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).collect()
    });
    let sum = |index: usize| counts.iter().map(|counts| counts[index]).sum::<usize>();
    let at_replicas: f64 = {
        let metrics = Metrics::read(gateway.metrics_address());
        let of_pools = metrics.series().filter(|series| series.starts_with("respool_pool_requests_total"));
        let primary = service.nodes[0].address().to_string();
        of_pools.filter(|series| !series.contains(&primary)).map(|series| metrics.value(series)).sum()
    };
    println!("\n| reads of own writes | reads | stale |\n|---|---|---|");
    println!("| one command after another ({at_replicas:.0} of them at replicas) | {} | {} |", sum(0), sum(1));
    println!("| in one pipeline | {} | {} |", sum(2), sum(3));
    assert_eq!((sum(1), sum(3)), (0, 0), "own writes were missed");
    assert!(at_replicas > 0.0, "replicas had reads");
}
