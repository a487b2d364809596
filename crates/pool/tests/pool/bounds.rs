//! Every bound of the pool holds, costs only those that exceed it, and gives back what it took.

use std::time::Duration;

use pool::{Endpoint, JobError, Pool, Sent, Settings};
use tokio::time::Instant;

use crate::upstream::{Peer, burst, burst_of, calls, echo, replies, settings, settle};

#[tokio::test(start_paused = true)]
async fn no_more_than_pipeline_depth_is_written_ahead_of_replies() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 3, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let calls = calls(&pool, names).await;
    assert_eq!(peer.written().await.len(), 3);
    for (answered, name) in names.iter().enumerate() {
        peer.reply(echo(&["INCR", name])).await;
        let further = peer.written().await;
        assert_eq!(further.len(), usize::from(answered + 3 < names.len()), "one reply makes room for one request");
    }
    for (call, name) in calls.into_iter().zip(names) {
        assert_eq!(replies(call.await.unwrap()), format!("+INCR {name}\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_queue_capacity_waits_and_what_waited_too_long_is_never_sent() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 1, queue_capacity: 2, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let started = Instant::now();
    let mut calls = calls(&pool, ["a", "b", "c", "d", "e"]).await;
    assert_eq!(pool.status().queued_jobs, 2, "one is in flight, two are queued, two are at the door");
    for waiting in calls.split_off(1) {
        let answer = waiting.await.unwrap();
        assert_eq!(answer.failure, Some(JobError::QueueTimeout(Duration::from_secs(5))));
        assert_eq!(answer.failure.unwrap().sent(), Sent::No);
    }
    assert!(started.elapsed() < Duration::from_millis(5010), "{:?}", started.elapsed());
    assert_eq!(peer.written().await, [["INCR", "a"]]);
    peer.reply(":1\r\n").await;
    assert_eq!(replies(calls.remove(0).await.unwrap()), ":1\r\n");
    assert_eq!(peer.written().await, [[""; 2]; 0], "what was given up is not executed");
    settle().await;
    assert_eq!((pool.status().queued_jobs, pool.status().queued_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_queue_bytes_max_is_queued_and_in_flight() {
    let (endpoint, arrivals) = Endpoint::memory();
    let one = burst(&["INCR", "a"]).requests.len();
    let pool = Pool::start(Settings { queue_bytes_max: 2 * one + 1, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut calls = calls(&pool, ["a", "b", "c", "d"]).await;
    assert_eq!(peer.written().await.len(), 2);
    assert_eq!(pool.status().queued_bytes, 2 * one);
    peer.reply(":1\r\n").await;
    assert_eq!(peer.written().await.len(), 1, "one answer makes room for one job");
    assert_eq!(pool.status().queued_bytes, 2 * one);
    let failure = calls.pop().unwrap().await.unwrap().failure.unwrap();
    assert_eq!((failure.sent(), failure), (Sent::No, JobError::QueueTimeout(Duration::from_secs(5))));
    peer.reply(":1\r\n:1\r\n").await;
    for call in calls {
        assert_eq!(replies(call.await.unwrap()), ":1\r\n");
    }
    settle().await;
    assert_eq!(pool.status().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_larger_than_queue_bytes_max_passes_when_nothing_else_is_held() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { queue_bytes_max: 10, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let calls = calls(&pool, ["a", "b"]).await;
    for call in calls {
        assert_eq!(peer.written().await.len(), 1, "one at a time");
        peer.reply(":1\r\n").await;
        assert_eq!(replies(call.await.unwrap()), ":1\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn replies_beyond_reply_bytes_max_fail_their_own_job_only() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_bytes_max: 100, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let one_large = format!("$200\r\n{}\r\n", "x".repeat(200));
    for (large, due, done) in [(one_large, 1, 0), ("+fits\r\n".repeat(20), 20, 14)] {
        let (mut one, mut two) = (pool.caller(), pool.caller());
        let large_burst = burst_of(&vec![&["GET", "large"][..]; due]);
        let (first, second, ()) = tokio::join!(one.call(large_burst), two.call(burst(&["GET", "b"])), async {
            for _ in 0..=due {
                peer.next().await.unwrap();
            }
            peer.reply(large).await;
            peer.reply("+b\r\n").await;
        });
        assert_eq!(first.failure, Some(JobError::RepliesTooLarge(100)));
        assert_eq!(first.failure.unwrap().sent(), Sent::Maybe);
        assert_eq!((first.burst.replies_done, first.burst.replies.len()), (done, done as usize * 7), "whole ones stay");
        assert_eq!(replies(second), "+b\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_huge_announced_reply_takes_no_memory_before_it_comes() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_timeout: Duration::from_secs(1), ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
        peer.next().await.unwrap();
        peer.reply("$99999999999999\r\nabc").await;
    });
    assert_eq!(answer.failure, Some(JobError::ReplyTimeout(Duration::from_secs(1))));
}
