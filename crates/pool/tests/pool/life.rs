//! The life of a connection: kept alive while idle, renewed when old, given up when silent, moved when
//! the endpoint changes; and no caller sees any of it.

use std::time::Duration;

use pool::{Endpoint, JobError, Pool, Sent, Settings, Upstream as Reach};
use tokio::time::{Instant, sleep};

use crate::upstream::{Act, IDLE_TIMEOUT_4_S, Peer, Upstream, burst, echo, replies, settings, settle};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_asked_for_a_sign_of_life_and_the_reply_is_swallowed() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { keepalive: 5 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    for reply in ["+PONG\r\n", "-ERR unknown command 'ping'\r\n"] {
        let started = Instant::now();
        assert_eq!(peer.next().await.unwrap(), ["PING", "respool"]);
        assert!((4990..5010).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
            assert_eq!(peer.next().await.unwrap(), ["GET", "a"]);
            peer.reply(reply).await;
            peer.reply("+a\r\n").await;
        });
        assert_eq!(replies(answer), "+a\r\n");
    }
    assert_eq!(pool.status().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_not_asked() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { keepalive: 5 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    for _ in 0..10 {
        let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
            assert_eq!(peer.echo_next().await, ["GET", "a"]);
        });
        assert_eq!(replies(answer), "+GET a\r\n");
        sleep(4 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_own_idle_timeout_shortens_the_wait() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { keepalive: 60 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept_as(&arrivals, IDLE_TIMEOUT_4_S).await;
    let started = Instant::now();
    assert_eq!(peer.next().await.unwrap(), ["PING", "respool"]);
    assert!((1990..2010).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    drop(pool);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_sign_of_life_ends_the_connection() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { keepalive: 5 * SECOND, reply_timeout: 2 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let started = Instant::now();
    assert_eq!(peer.next().await.unwrap(), ["PING", "respool"]);
    assert!(peer.next().await.is_none());
    assert!((8990..9010).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let _next = Peer::accept(&arrivals).await;
    drop(pool);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_renewed_only_when_nothing_is_in_flight() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { lifetime: 100 * SECOND, reply_timeout: 90 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    sleep(80 * SECOND).await;
    let (mut one, mut two) = (pool.caller(), pool.caller());
    let (first, second, mut next) = tokio::join!(
        one.call(burst(&["GET", "a"])),
        async {
            sleep(43 * SECOND).await;
            two.call(burst(&["GET", "b"])).await
        },
        async {
            assert_eq!(peer.next().await.unwrap(), ["GET", "a"]);
            sleep(45 * SECOND).await;
            assert!(arrivals.is_empty(), "its time is up, but a job is in flight");
            // Nothing further is written to it, the job that came later waits for the next.
            assert_eq!(peer.written().await, [[""; 2]; 0]);
            peer.reply("+a\r\n").await;
            assert!(peer.is_closed().await);
            let mut next = Peer::accept(&arrivals).await;
            assert_eq!(next.echo_next().await, ["GET", "b"]);
            next
        }
    );
    assert_eq!(replies(first), "+a\r\n");
    assert_eq!(replies(second), "+GET b\r\n");
    let renewed = Instant::now();
    assert!(next.next().await.is_none(), "an idle one is renewed by itself");
    assert!((89..=111).contains(&renewed.elapsed().as_secs()), "within a tenth: {:?}", renewed.elapsed());
    assert_eq!(pool.status().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn many_workers_are_started_some_at_a_time_and_others_have_their_turns() {
    const WORKERS: usize = 8_000;
    let (endpoint, _arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint.clone()));
    settle().await;
    pool.reconfigure(Settings { workers: WORKERS, ..settings(endpoint) });
    let mut before = 1;
    while before < WORKERS {
        tokio::task::yield_now().await;
        let started = pool.control().workers().len();
        assert!(started - before <= 100, "{} in one turn", started - before);
        before = started;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_after_twice_the_reply_timeout() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_timeout: 3 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let started = Instant::now();
    let answer = pool.caller().call(burst(&["GET", "a"])).await;
    assert_eq!(answer.failure, Some(JobError::ReplyTimeout(3 * SECOND)));
    assert_eq!(peer.next().await.unwrap(), ["GET", "a"]);
    assert!(peer.next().await.is_none());
    assert!((5990..6020).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(pool.status().lost, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_lets_a_healthy_one_have_the_jobs() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, reply_timeout: 16 * SECOND, ..settings(endpoint) });
    let dead = Peer::accept(&arrivals).await;
    let healthy = Upstream::echoing(arrivals);
    settle().await;
    let mut calls = Vec::new();
    for number in 0..100 {
        calls.push((number, crate::upstream::calls(&pool, [number]).await.remove(0)));
        sleep(SECOND / 10).await;
    }
    let mut lost = Vec::new();
    for (number, call) in calls {
        match call.await.unwrap() {
            answer if answer.failure == Some(JobError::ReplyTimeout(16 * SECOND)) => lost.push(number),
            answer => assert_eq!(replies(answer), format!("+INCR {number}\r\n")),
        }
    }
    assert_eq!(lost, [0], "the next came when it had been silent for a tenth of a second");
    assert_eq!(healthy.seen().len() + lost.len(), 100);
    drop(dead);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_slow_to_answer_gets_its_jobs_on_one_connection() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 3, reply_timeout: 16 * SECOND, ..settings(endpoint) });
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(SECOND * 9 / 10));
    settle().await;
    for number in 0..100 {
        let mut calls = crate::upstream::calls(&pool, [number, number + 1000]).await;
        assert_eq!(replies(calls.remove(0).await.unwrap()), format!("+INCR {number}\r\n"));
        assert_eq!(replies(calls.remove(0).await.unwrap()), format!("+INCR {}\r\n", number + 1000));
    }
    let connections: Vec<usize> = upstream.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections.chunks(2).all(|pair| pair[0] == pair[1]), "batches were split: {connections:?}");
    // Until that is what its silences usually last, another connection is tried.
    let known = &connections[connections.len() / 2..];
    assert!(known.iter().all(|connection| *connection == known[0]), "{connections:?}");
}

#[tokio::test(start_paused = true)]
async fn jobs_go_out_although_all_connections_are_silent() {
    for workers in [1, 2, 3] {
        let (endpoint, arrivals) = Endpoint::memory();
        let pool = Pool::start(Settings { workers, reply_timeout: 16 * SECOND, ..settings(endpoint) });
        let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(15 * SECOND));
        settle().await;
        let mut calls = Vec::new();
        for number in 0..5 {
            calls.extend(crate::upstream::calls(&pool, [number]).await);
            sleep(2 * SECOND).await;
        }
        assert_eq!(pool.status().queued_jobs, 0, "all are written, as there is room");
        assert_eq!(replies(calls.remove(0).await.unwrap()), "+INCR 0\r\n");
        drop(upstream);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_close_by_the_upstream_is_seen_by_no_caller() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut caller = pool.caller();
    for _ in 0..20 {
        drop(Peer::accept(&arrivals).await);
        let (answer, ()) = tokio::join!(caller.call(burst(&["INCR", "a"])), async {
            let mut peer = Peer::accept(&arrivals).await;
            assert_eq!(peer.echo_next().await, ["INCR", "a"]);
            // Long enough not to count as a failed attempt.
            sleep(SECOND).await;
        });
        assert_eq!(replies(answer), "+INCR a\r\n");
    }
    assert_eq!(pool.status().retried, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_gets_the_new_jobs_and_the_old_one_finishes_what_it_has() {
    let (old_endpoint, old_arrivals) = Endpoint::memory();
    let (new_endpoint, new_arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(old_endpoint));
    let mut old = Peer::accept(&old_arrivals).await;
    let (mut one, mut two) = (pool.caller(), pool.caller());
    let (first, second, ()) = tokio::join!(
        one.call(burst(&["GET", "a"])),
        async {
            sleep(SECOND).await;
            pool.reconfigure(settings(new_endpoint));
            settle().await;
            two.call(burst(&["GET", "b"])).await
        },
        async {
            assert_eq!(old.next().await.unwrap(), ["GET", "a"]);
            sleep(4 * SECOND).await;
            assert_eq!(old.written().await, [[""; 2]; 0]);
            old.reply(echo(&["GET", "a"])).await;
            assert!(old.is_closed().await);
            let mut new = Peer::accept(&new_arrivals).await;
            assert_eq!(new.echo_next().await, ["GET", "b"]);
            std::mem::forget(new);
        }
    );
    assert_eq!(replies(first), "+GET a\r\n");
    assert_eq!(replies(second), "+GET b\r\n");
    assert!(old_arrivals.is_empty());
    assert_eq!(pool.status().lost, 0);
    assert_eq!(pool.status().upstream, Reach::Up(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_the_middle_of_a_reply_keeps_whole_replies_and_sends_nothing_twice() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let requests = crate::upstream::burst_of(&[&["INCR", "a"], &["INCR", "b"], &["INCR", "c"]]);
    let (answer, ()) = tokio::join!(caller.call(requests), async {
        peer.written().await;
        peer.reply(":1\r\n:22").await;
        drop(peer);
        let mut next = Peer::accept(&arrivals).await;
        assert_eq!(next.written().await, [[""; 2]; 0]);
    });
    assert_eq!((answer.burst.replies.as_slice(), answer.burst.replies_done), (&b":1\r\n"[..], 1));
    assert_eq!(answer.failure.map(|failure| failure.sent()), Some(Sent::Maybe));
}
