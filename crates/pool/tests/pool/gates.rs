//! Connect, login and reply, each of which goes well, fails, is slow or never ends, in all combinations:
//! whatever happens, every job gets exactly one answer, the right one, in time; nothing is executed
//! twice or after its caller was told otherwise; and the pool recovers and drains.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use pool::{Drained, Endpoint, JobError, Pool, Sent, Settings};
use tokio::{
    io::DuplexStream,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use crate::upstream::{Arrivals, NOTHING_KNOWN, Peer, burst, echo, replies, settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Ok,
    Err,
    Slow,
    Never,
}

const GATES: [Gate; 4] = [Gate::Ok, Gate::Err, Gate::Slow, Gate::Never];

#[derive(Debug, Clone, Copy)]
struct Gates {
    connect: Gate,
    login: Gate,
    reply: Gate,
}

const OPEN: Gates = Gates { connect: Gate::Ok, login: Gate::Ok, reply: Gate::Ok };

/// Connect and login together stay within `connect_timeout` when both are slow.
const SLOW_CONNECT: Duration = Duration::from_millis(900);
const SLOW_REPLY: Duration = Duration::from_secs(3);
const JOBS: usize = 6;

/// How often each key was written, as the upstream executed it.
type Executed = Arc<Mutex<HashMap<String, usize>>>;

/// So many connections wait to be accepted: whoever else connects has to wait until it is let in.
struct Crowd {
    _pools: Vec<Pool>,
}

impl Crowd {
    async fn gather(endpoint: &Endpoint, arrivals: &Arrivals) -> Self {
        let hour = Duration::from_secs(3600);
        // A pool makes one connection at a time until it has one.
        let crowd = Settings { connect_timeout: hour, ..settings(endpoint.clone()) };
        let pools = (0..64).map(|_| Pool::start(crowd.clone())).collect();
        while arrivals.len() < 64 {
            tokio::task::yield_now().await;
        }
        Self { _pools: pools }
    }
}

/// Plays the upstream with these gates until told others.
fn play(arrivals: Arrivals, gates: Gates, executed: Executed) -> JoinHandle<()> {
    tokio::spawn(async move {
        // Whom nobody talks to any more still holds the line.
        let mut held: Vec<DuplexStream> = Vec::new();
        match gates.connect {
            Gate::Ok => {}
            // Without this end of the channel every attempt is refused.
            Gate::Err => return drop(arrivals),
            Gate::Slow => {
                sleep(SLOW_CONNECT).await;
                for _ in 0..64 {
                    held.push(arrivals.recv().await.expect("the crowd"));
                }
            }
            Gate::Never => return std::future::pending().await,
        }
        let mut connections = JoinSet::new();
        while let Ok(stream) = arrivals.recv().await {
            let executed = Arc::clone(&executed);
            connections.spawn(async move { talk(Peer::new(stream), gates, &executed).await });
        }
    })
}

async fn talk(mut peer: Peer, gates: Gates, executed: &Mutex<HashMap<String, usize>>) {
    match gates.login {
        Gate::Ok => drop(peer.log_in(NOTHING_KNOWN).await),
        Gate::Err => return drop(peer.next().await),
        Gate::Slow => {
            sleep(SLOW_CONNECT).await;
            peer.log_in(NOTHING_KNOWN).await;
        }
        Gate::Never => while peer.next().await.is_some() {},
    }
    while let Some(request) = peer.next().await {
        *executed.lock().expect("no panic").entry(request[1].clone()).or_default() += 1;
        match gates.reply {
            Gate::Ok => peer.reply(echo(&request)).await,
            Gate::Err => return,
            Gate::Slow => {
                sleep(SLOW_REPLY).await;
                peer.reply(echo(&request)).await;
            }
            Gate::Never => {}
        }
    }
}

/// What a job may get.
fn is_right(gates: Gates, failure: Option<&JobError>) -> bool {
    let reachable = |gate| matches!(gate, Gate::Ok | Gate::Slow);
    if !reachable(gates.connect) || !reachable(gates.login) {
        return matches!(failure, Some(JobError::UpstreamDown(_)));
    }
    match gates.reply {
        Gate::Ok => failure.is_none(),
        // Two are written to each connection at a time; of what waits, the deadline decides.
        Gate::Err => matches!(failure, Some(JobError::ConnectionLost { .. })),
        Gate::Slow => {
            failure.is_none() || matches!(failure, Some(JobError::QueueTimeout(_) | JobError::ReplyTimeout(_)))
        }
        Gate::Never => matches!(failure, Some(JobError::QueueTimeout(_) | JobError::ReplyTimeout(_))),
    }
}

async fn check(gates: Gates) {
    let (endpoint, arrivals) = Endpoint::memory();
    let crowded = matches!(gates.connect, Gate::Slow | Gate::Never);
    let _crowd = if crowded { Some(Crowd::gather(&endpoint, &arrivals).await) } else { None };
    let executed = Executed::default();
    let upstream = play(arrivals, gates, Arc::clone(&executed));
    if gates.connect == Gate::Err {
        tokio::task::yield_now().await;
    }
    let base = Settings { workers: 2, pipeline_depth: 2, ..settings(endpoint) };
    let pool = Pool::start(base.clone());
    let started = Instant::now();
    let mut calls = Vec::new();
    for number in 0..JOBS {
        let mut caller = pool.caller();
        calls.push(tokio::spawn(async move { caller.call(burst(&["INCR", &number.to_string()])).await }));
    }
    for (number, call) in calls.into_iter().enumerate() {
        let answer = call.await.expect("no panic");
        assert!(is_right(gates, answer.failure.as_ref()), "{gates:?}: {number} got {:?}", answer.failure);
        let times = executed.lock().expect("no panic").get(&number.to_string()).copied().unwrap_or(0);
        assert!(times <= 1, "{gates:?}: {number} was executed {times} times");
        match answer.failure.as_ref().map(JobError::sent) {
            None => {
                assert_eq!(times, 1, "{gates:?}: {number}");
                assert_eq!(replies(answer), format!("+INCR {number}\r\n"), "{gates:?}");
            }
            Some(Sent::No) => assert_eq!(times, 0, "{gates:?}: {number} was executed, and said not to be"),
            Some(Sent::Maybe) => {}
        }
    }
    assert!(started.elapsed() <= Duration::from_secs(15), "{gates:?}: {:?}", started.elapsed());
    recover(pool, base, gates).await;
    upstream.abort();
}

/// Elsewhere all gates are open: the pool has to get there by itself, and to leave nothing behind.
async fn recover(pool: Pool, base: Settings, gates: Gates) {
    let (endpoint, arrivals) = Endpoint::memory();
    let upstream = play(arrivals, OPEN, Executed::default());
    pool.reconfigure(Settings { endpoint, ..base });
    // A silent connection is given up after 20 s, an attempt to connect after 2 s.
    sleep(Duration::from_secs(25)).await;
    let answer = pool.caller().call(burst(&["GET", "after"])).await;
    assert_eq!(answer.failure, None, "{gates:?}");
    let status = pool.status();
    assert_eq!((status.queued_jobs, status.queued_bytes), (0, 0), "{gates:?}: nothing is left behind");
    assert_eq!(pool.drain(Duration::from_secs(1)).await, Drained { abandoned: 0 }, "{gates:?}");
    upstream.abort();
}

#[tokio::test(start_paused = true)]
async fn every_job_is_answered_once_rightly_and_in_time_whatever_the_upstream_does() {
    for connect in GATES {
        for login in GATES {
            for reply in GATES {
                check(Gates { connect, login, reply }).await;
            }
        }
    }
}
