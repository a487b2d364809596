//! Every bound of the pool holds, costs only those that exceed it, and gives back what it took.

use std::time::Duration;

use pool::{Answer, Endpoint, JobError, Pool, Sent, Settings};
use tokio::time::{Instant, sleep};

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

const KIB: usize = 1024;

/// A bulk string of `bytes` of the one that is given.
fn bulk(byte: u8, bytes: usize) -> Vec<u8> {
    [format!("${bytes}\r\n").as_bytes(), &vec![byte; bytes], b"\r\n"].concat()
}

/// Two jobs with replies of 600 KiB, and a small one behind them, where 1 MiB may be held. What the second
/// and third got, and how long after the first, which is held for `hold` by its caller.
async fn crowd(hold: Duration) -> (Answer, Answer, Duration) {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { replies_bytes_max: KIB * KIB, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut callers = [pool.caller(), pool.caller(), pool.caller()];
    let [one, two, three] = &mut callers;
    let (reader, second, third, ()) = tokio::join!(
        async {
            let first = one.call(burst(&["GET", "a"])).await;
            let answered = Instant::now();
            assert_eq!(first.burst.replies, bulk(b'a', 600 * KIB));
            sleep(hold).await;
            drop(first);
            answered
        },
        two.call(burst(&["GET", "b"])),
        async { (three.call(burst(&["GET", "c"])).await, Instant::now()) },
        async {
            for _ in 0..3 {
                peer.next().await.unwrap();
            }
            peer.reply([bulk(b'a', 600 * KIB), bulk(b'b', 600 * KIB), b"+c\r\n".to_vec()].concat()).await;
        }
    );
    assert!(pool.caller().reply_bytes().used() <= KIB * KIB);
    (second, third.0, third.1.duration_since(reader))
}

#[tokio::test(start_paused = true)]
async fn replies_wait_for_room_while_callers_let_go_of_theirs() {
    let (second, third, waited) = crowd(Duration::from_millis(30)).await;
    assert_eq!(second.failure, None);
    assert_eq!(second.burst.replies, bulk(b'b', 600 * KIB));
    assert_eq!(replies(third), "+c\r\n");
    assert!((29..35).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn replies_that_find_no_room_fail_their_own_job_only_and_soon() {
    let (second, third, waited) = crowd(Duration::from_secs(3600)).await;
    assert_eq!(second.failure, Some(JobError::RepliesFull(KIB * KIB)));
    assert_eq!((second.failure.unwrap().sent(), second.burst.replies.len()), (Sent::Maybe, 0));
    assert_eq!(replies(third), "+c\r\n");
    assert!(waited < Duration::from_millis(60), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_takes_no_replies_holds_no_more_than_replies_bytes_max_and_delays_others_once() {
    const LARGE: usize = 100;
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { replies_bytes_max: KIB * KIB, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let crowd = calls(&pool, 0..LARGE).await;
    let (mut caller, mut most) = (pool.caller(), 0);
    let started = Instant::now();
    let (last, ()) = tokio::join!(caller.call(burst(&["GET", "last"])), async {
        for _ in 0..LARGE {
            peer.next().await.unwrap();
            peer.reply(bulk(b'x', 200 * KIB)).await;
            settle().await;
            most = most.max(pool.caller().reply_bytes().used());
        }
        assert_eq!(peer.echo_next().await, ["GET", "last"]);
    });
    assert_eq!(replies(last), "+GET last\r\n");
    // A millisecond for each is the test's own.
    assert!(started.elapsed() < Duration::from_millis(60 + LARGE as u64), "{:?}", started.elapsed());
    let mut held = Vec::new();
    for call in crowd {
        held.push(call.await.unwrap());
    }
    let served = held.iter().filter(|answer| answer.failure.is_none()).count();
    assert!((5..=8).contains(&served), "{served} of 200 KiB, of which 64 are free for each");
    assert!(most <= KIB * KIB, "{most}");
    drop(held);
    assert_eq!((caller.reply_bytes().used(), caller.reply_bytes().shares()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_reply_larger_than_replies_bytes_max_passes_when_nothing_else_is_held() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { replies_bytes_max: 100 * KIB, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    // In one piece whose length is known, and in pieces that become ever more.
    let pieces = [b"*40\r\n".to_vec(), bulk(b'x', 20 * KIB).repeat(40)].concat();
    for reply in [bulk(b'x', 800 * KIB), pieces] {
        let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
            peer.next().await.unwrap();
            peer.reply(&reply).await;
        });
        assert_eq!(answer.failure, None);
        assert_eq!(answer.burst.replies, reply);
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

#[tokio::test(start_paused = true)]
async fn a_call_has_its_time_from_when_it_is_first_waited_for() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    // The caller's alarm is set since this one, and rings before the next is waited for.
    let (answer, _) = tokio::join!(caller.call(burst(&["GET", "a"])), peer.echo_next());
    assert_eq!(answer.failure, None);
    let mut next = burst(&["GET", "b"]);
    let call = caller.execute(&mut next);
    sleep(Duration::from_secs(30)).await;
    let started = Instant::now();
    assert_eq!(call.await, Err(JobError::ReplyTimeout(Duration::from_secs(10))));
    assert!((10_000..10_020).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}
