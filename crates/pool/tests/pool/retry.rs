//! What was certainly not sent is tried again until its deadline; what may have been is not, but for a
//! burst that only reads, and that once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use pool::{Burst, Endpoint, JobError, Pool, Sent, Settings};
use tokio::time::{Instant, sleep};

use crate::upstream::{Act, Peer, Upstream, burst, burst_in, read_only, replies, settings};

const SECOND: Duration = Duration::from_secs(1);

/// Closes the connection at the first `times` requests named `name`.
fn closing_at(name: &'static str, times: usize) -> impl Fn(&crate::upstream::Seen) -> Act {
    let closed = AtomicUsize::new(0);
    move |seen| {
        if seen.request[0] == name && closed.fetch_add(1, Ordering::SeqCst) < times { Act::Close } else { Act::Echo }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_tried_again_and_executed_once() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let upstream = Upstream::start(arrivals, closing_at("SELECT", 3));
    let answer = pool.caller().call(burst_in(1, &["INCR", "a"])).await;
    assert_eq!(replies(answer), "+INCR a\r\n");
    assert_eq!((upstream.count(&["SELECT", "1"]), upstream.count(&["INCR", "a"])), (4, 1));
    assert_eq!(pool.status().retried, 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_tried_until_its_deadline_and_no_longer() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { queue_timeout: 3 * SECOND, ..settings(endpoint) });
    let upstream = Upstream::start(arrivals, closing_at("SELECT", usize::MAX));
    let started = Instant::now();
    let failure = pool.caller().call(burst_in(1, &["INCR", "a"])).await.failure.unwrap();
    assert_eq!(failure.sent(), Sent::No);
    assert!((2900..3100).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(upstream.count(&["INCR", "a"]), 0);
    let attempts = upstream.count(&["SELECT", "1"]);
    assert!((30..200).contains(&attempts), "as the pauses between connections let it: {attempts}");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_sent_is_never_sent_again() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let upstream = Upstream::start(arrivals, closing_at("INCR", 1));
    let answer = pool.caller().call(burst(&["INCR", "a"])).await;
    assert!(matches!(answer.failure, Some(JobError::ConnectionLost { sent: Sent::Maybe, .. })), "{:?}", answer.failure);
    sleep(20 * SECOND).await;
    assert_eq!((upstream.count(&["INCR", "a"]), pool.status().retried), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_is_sent_again_once() {
    for (times, seen) in [(1, 2), (2, 2), (usize::MAX, 2)] {
        let (endpoint, arrivals) = Endpoint::memory();
        let pool = Pool::start(settings(endpoint));
        let upstream = Upstream::start(arrivals, closing_at("GET", times));
        let answer = pool.caller().call(read_only(&["GET", "a"])).await;
        if times == 1 {
            assert_eq!(replies(answer), "+GET a\r\n");
        } else {
            assert_eq!(answer.failure.map(|failure| failure.sent()), Some(Sent::Maybe));
        }
        sleep(20 * SECOND).await;
        assert_eq!((upstream.count(&["GET", "a"]), pool.status().retried), (seen, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn partial_replies_of_a_lost_attempt_are_not_in_the_answer_of_the_next() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let requests = Burst { read_only: true, ..crate::upstream::burst_of(&[&["GET", "a"], &["GET", "b"]]) };
    let (answer, ()) = tokio::join!(caller.call(requests), async {
        peer.written().await;
        peer.reply("+old\r\n+ol").await;
        drop(peer);
        let mut next = Peer::accept(&arrivals).await;
        next.written().await;
        next.reply("+new a\r\n+new b\r\n").await;
        std::mem::forget(next);
    });
    assert_eq!(answer.burst.replies_done, 2);
    assert_eq!(replies(answer), "+new a\r\n+new b\r\n");
}

#[tokio::test(start_paused = true)]
async fn of_what_is_in_line_only_what_was_begun_may_have_been_sent() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let large = "x".repeat(100 * 1024);
    let mut calls = Vec::new();
    for name in ["whole", "begun", "not begun", "nor this"] {
        let mut caller = pool.caller();
        let value = if name == "whole" { String::new() } else { large.clone() };
        calls.push(tokio::spawn(async move { caller.call(burst(&["SET", name, &value])).await }));
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.next().await.unwrap()[1], "whole");
    drop(peer);
    let mut next = Peer::accept(&arrivals).await;
    for name in ["not begun", "nor this"] {
        assert_eq!(next.next().await.unwrap()[1], name, "tried again, in order");
        next.reply("+OK\r\n").await;
    }
    let sent: Vec<_> = futures(calls).await;
    assert_eq!(sent, [Some(Sent::Maybe), Some(Sent::Maybe), None, None]);
    assert_eq!(pool.status().retried, 2);
}

async fn futures(calls: Vec<tokio::task::JoinHandle<pool::Answer>>) -> Vec<Option<Sent>> {
    let mut sent = Vec::new();
    for call in calls {
        sent.push(call.await.expect("no panic").failure.map(|failure| failure.sent()));
    }
    sent
}
