//! While the upstream is down one worker probes with growing pauses and everything else fails at once;
//! when it is back all workers are, and nobody had to do anything.

use std::time::Duration;

use pool::{Endpoint, JobError, Pool, Sent, Settings, Upstream as Reach};
use tokio::time::{Instant, sleep};

use crate::upstream::{Arrivals, Peer, Upstream, burst, echo, replies, settings, settle};

const MILLI: Duration = Duration::from_millis(1);

/// Turns away the next connection before its login; when it came.
async fn turn_away(arrivals: &Arrivals) -> Instant {
    drop(arrivals.recv().await.expect("the pool lives"));
    Instant::now()
}

async fn down(pool: &Pool) {
    let mut upstream = pool.upstream();
    upstream.wait_for(|state| matches!(state, Reach::Down(_))).await.expect("the pool lives");
}

#[tokio::test(start_paused = true)]
async fn jobs_wait_while_connecting_and_fail_at_once_while_down() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let started = Instant::now();
    let mut caller = pool.caller();
    let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
        let stream = arrivals.recv().await.unwrap();
        assert_eq!(pool.status().upstream, Reach::Connecting);
        sleep(1000 * MILLI).await;
        drop(stream);
    });
    assert!(started.elapsed() >= 1000 * MILLI, "it waited as long as there was hope");
    assert!(matches!(answer.failure, Some(JobError::UpstreamDown(_))), "{:?}", answer.failure);
    assert_eq!(answer.failure.unwrap().sent(), Sent::No);
    for _ in 0..1000 {
        let now = Instant::now();
        let answer = caller.call(burst(&["GET", "a"])).await;
        assert!(matches!(answer.failure, Some(JobError::UpstreamDown(_))), "{:?}", answer.failure);
        assert_eq!(now.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_queued_when_the_upstream_goes_down_fail_then() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 1, queue_capacity: 3, ..settings(endpoint) });
    let peer = Peer::accept(&arrivals).await;
    let mut calls = Vec::new();
    for _ in 0..10 {
        let mut caller = pool.caller();
        calls.push(tokio::spawn(async move { caller.call(burst(&["INCR", "a"])).await.failure }));
    }
    sleep(1000 * MILLI).await;
    let lost = Instant::now();
    drop(peer);
    drop(arrivals);
    let mut maybe = 0;
    for call in calls {
        match call.await.unwrap() {
            Some(JobError::ConnectionLost { sent: Sent::Maybe, .. }) => maybe += 1,
            Some(JobError::UpstreamDown(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(maybe, 1, "only one was written");
    assert!(lost.elapsed() < 10 * MILLI, "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn exactly_one_worker_probes_with_growing_pauses() {
    const WORKERS: usize = 8;
    let (endpoint, arrivals) = Endpoint::memory();
    let (min, max) = (100 * MILLI, 10_000 * MILLI);
    let pool = Pool::start(Settings {
        workers: WORKERS,
        reconnect_delay_min: min,
        reconnect_delay_max: max,
        connect_timeout: 1000 * MILLI,
        ..settings(endpoint)
    });
    let mut last = turn_away(&arrivals).await;
    down(&pool).await;
    let mut full = min;
    for attempt in 0..12 {
        let came = turn_away(&arrivals).await;
        let pause = came - last;
        assert!(pause >= full / 2 && pause <= full + 2 * MILLI, "attempt {attempt}: {pause:?} of {full:?}");
        (last, full) = (came, (full * 2).min(max));
    }
    // A probe that hangs keeps all others waiting, too.
    let hanging = arrivals.recv().await.unwrap();
    sleep(900 * MILLI).await;
    assert!(arrivals.is_empty(), "one at a time");
    drop(hanging);
}

#[tokio::test(start_paused = true)]
async fn when_the_probe_succeeds_all_workers_come_back() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 4, ..settings(endpoint) });
    for _ in 0..10 {
        turn_away(&arrivals).await;
    }
    down(&pool).await;
    let upstream = Upstream::echoing(arrivals);
    sleep(200 * MILLI).await;
    assert_eq!((pool.status().upstream, upstream.open()), (Reach::Up(4), 4));
    assert_eq!(replies(pool.caller().call(burst(&["GET", "a"])).await).as_bytes(), echo(&["GET", "a"]));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_ends_at_connect_timeout() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let started = Instant::now();
    let _hanging = arrivals.recv().await.unwrap();
    down(&pool).await;
    assert!((1990..2010).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let Reach::Down(reason) = pool.status().upstream else { panic!("down") };
    assert!(reason.contains("connect_timeout_ms (2000 ms)"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_one_of_several_connections_fails_only_what_was_on_it() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, pipeline_depth: 1, ..settings(endpoint) });
    let mut one = Peer::accept(&arrivals).await;
    let mut two = Peer::accept(&arrivals).await;
    let (mut first, mut second) = (pool.caller(), pool.caller());
    let (lost, fine, ()) = tokio::join!(first.call(burst(&["INCR", "a"])), second.call(burst(&["INCR", "b"])), async {
        settle().await;
        let on_one = one.next().await.unwrap();
        let on_two = two.next().await.unwrap();
        let (dead, mut alive, request) = if on_one[1] == "a" { (one, two, on_two) } else { (two, one, on_one) };
        drop(dead);
        settle().await;
        assert!(matches!(pool.status().upstream, Reach::Up(_)), "the other is still there");
        alive.reply(echo(&request)).await;
    });
    assert!(matches!(lost.failure, Some(JobError::ConnectionLost { sent: Sent::Maybe, .. })), "{:?}", lost.failure);
    assert_eq!(replies(fine), "+INCR b\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_ends_an_outage() {
    let (dead_endpoint, dead_arrivals) = Endpoint::memory();
    drop(dead_arrivals);
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 3, ..settings(dead_endpoint) });
    down(&pool).await;
    let upstream = Upstream::echoing(arrivals);
    pool.reconfigure(Settings { workers: 3, ..settings(endpoint) });
    sleep(500 * MILLI).await;
    assert_eq!((pool.status().upstream, upstream.open()), (Reach::Up(3), 3));
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_as_soon_as_they_are_made_are_not_made_in_a_hurry() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let started = Instant::now();
    let mut attempts = 0;
    while started.elapsed() < 1000 * MILLI {
        drop(Peer::accept(&arrivals).await);
        attempts += 1;
    }
    // Pauses double from 5 ms to 50 ms, half of each is chance.
    assert!((15..50).contains(&attempts), "{attempts}");
    drop(pool);
}
