//! The end of a pool: what was accepted is finished, what comes is refused, and at the deadline what is
//! left is answered.

use std::time::Duration;

use pool::{Drained, Endpoint, JobError, Pool, Sent, Settings};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::upstream::{Act, Peer, Upstream, burst, burst_in, calls, replies, settings, settle};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_was_accepted_and_refuses_what_comes() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, pipeline_depth: 1, ..settings(endpoint) });
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(SECOND / 10));
    let mut late = pool.caller();
    let calls = calls(&pool, 0..20).await;
    settle().await;
    let started = Instant::now();
    let (drained, refused) = tokio::join!(pool.drain(10 * SECOND), async {
        tokio::task::yield_now().await;
        late.call(burst(&["INCR", "late"])).await
    });
    assert_eq!(drained, Drained { abandoned: 0 });
    assert!(started.elapsed() < SECOND + SECOND / 10, "no longer than the jobs take: {:?}", started.elapsed());
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(replies(call.await.unwrap()), format!("+INCR {number}\r\n"));
    }
    assert_eq!(refused.failure, Some(JobError::Closed));
    assert_eq!(refused.failure.unwrap().sent(), Sent::No);
    assert_eq!(late.call(burst(&["INCR", "late"])).await.failure, Some(JobError::Closed));
    settle().await;
    assert_eq!((upstream.open(), upstream.seen().len()), (0, 20));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_whatever_the_workers_are_at() {
    // Not connected yet, down, waiting for a SELECT.
    for state in ["connecting", "down", "selecting"] {
        let (endpoint, arrivals) = Endpoint::memory();
        let pool = Pool::start(Settings { workers: 3, ..settings(endpoint) });
        let mut held = None;
        match state {
            "down" => drop(arrivals),
            "selecting" => drop(held.insert(arrivals.clone())),
            _ => {}
        }
        if let Some(arrivals) = &held {
            let _peers = Peer::accept(arrivals).await;
        }
        let mut caller = pool.caller();
        let call = tokio::spawn(async move { caller.call(burst_in(1, &["INCR", "a"])).await });
        settle().await;
        let started = Instant::now();
        pool.drain(SECOND).await;
        assert!(started.elapsed() <= SECOND, "{state}: {:?}", started.elapsed());
        assert!(call.await.unwrap().failure.is_some());
        assert!(started.elapsed() <= SECOND + SECOND / 10, "{state}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_pool_drains_at_once() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 5, ..settings(endpoint) });
    let upstream = Upstream::echoing(arrivals);
    settle().await;
    assert_eq!(upstream.open(), 5);
    let started = Instant::now();
    assert_eq!(pool.drain(5 * SECOND).await, Drained { abandoned: 0 });
    assert_eq!(started.elapsed(), Duration::ZERO);
    settle().await;
    assert_eq!(upstream.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_workers_end_when_the_last_sender_is_gone_and_not_before() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, ..settings(endpoint) });
    let upstream = Upstream::echoing(arrivals);
    let (mut caller, client) = (pool.caller(), pool.client());
    drop(pool);
    sleep(60 * SECOND).await;
    assert_eq!(replies(caller.call(burst(&["GET", "a"])).await), "+GET a\r\n");
    drop(caller);
    sleep(60 * SECOND).await;
    assert_eq!(upstream.open(), 2);
    drop(client);
    settle().await;
    assert_eq!(upstream.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_caller_has_gone_is_executed_before_the_workers_end() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let calls = calls(&pool, 0..10).await;
    settle().await;
    calls.iter().for_each(JoinHandle::abort);
    drop((calls, pool));
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(SECOND / 100));
    sleep(SECOND).await;
    assert_eq!((upstream.seen().len(), upstream.open()), (10, 0));
}
