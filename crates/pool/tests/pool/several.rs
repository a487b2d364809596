//! Bursts that one party has several callers execute: it is woken once for all of them, and what fails goes on as if it
//! were alone.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pool::{Burst, Caller, Endpoint, JobError, Pool, Settings, execute_all};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::upstream::{Act, Peer, Upstream, burst, burst_in, echo, settings, settle};

const SECOND: Duration = Duration::from_secs(1);

type Ended = (Vec<Result<(), JobError>>, Vec<String>);

/// Has these bursts executed, and counts how often their party is woken.
fn execute(mut calls: Vec<(Caller, Burst)>) -> (JoinHandle<Ended>, Arc<AtomicUsize>) {
    let polls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&polls);
    let all = async move {
        let results = {
            let mut all = pin!(execute_all(calls.iter_mut().map(|(caller, burst)| (caller, burst))));
            poll_fn(|cx| {
                counted.fetch_add(1, Ordering::Relaxed);
                all.as_mut().poll(cx)
            })
            .await
        };
        let replies = calls.into_iter().map(|(_, burst)| String::from_utf8(burst.replies).unwrap());
        (results, replies.collect())
    };
    (tokio::spawn(all), polls)
}

/// A pool, and a peer to which it is connected.
async fn pool() -> (Pool, Peer) {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    (pool, Peer::accept(&arrivals).await)
}

#[tokio::test(start_paused = true)]
async fn their_party_is_woken_by_the_last_of_the_replies() {
    let mut pools = [pool().await, pool().await, pool().await];
    let calls = pools.iter().zip(["a", "b", "c"]).map(|((pool, _), name)| (pool.caller(), burst(&["INCR", name])));
    let (all, polls) = execute(calls.collect());
    // The last is answered first.
    for (_, peer) in pools.iter_mut().rev() {
        settle().await;
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        peer.echo_next().await;
    }
    let (results, replies) = all.await.unwrap();
    assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(replies, ["+INCR a\r\n", "+INCR b\r\n", "+INCR c\r\n"]);
    assert_eq!(polls.load(Ordering::Relaxed), 2);
    for (pool, _) in &pools {
        assert_eq!((pool.status().queued_jobs, pool.status().queued_bytes), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_sent_again_while_others_are_out() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (first, closed) = (Pool::start(settings(endpoint)), AtomicUsize::new(0));
    let upstream = Upstream::start(arrivals, move |seen| {
        let is_first = seen.request[0] == "SELECT" && closed.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first { Act::Close } else { Act::Echo }
    });
    let (second, mut peer) = pool().await;
    let calls = vec![(first.caller(), burst_in(1, &["INCR", "a"])), (second.caller(), burst(&["INCR", "b"]))];
    let (all, _) = execute(calls);
    let is_executed = async {
        while upstream.count(&["INCR", "a"]) == 0 {
            settle().await;
        }
    };
    timeout(2 * SECOND, is_executed).await.expect("it does not wait for the other");
    peer.echo_next().await;
    let (results, replies) = all.await.unwrap();
    assert_eq!((results, first.status().retried), (vec![Ok(()), Ok(())], 1));
    assert_eq!(replies, ["+INCR a\r\n", "+INCR b\r\n"]);
}

#[tokio::test(start_paused = true)]
async fn each_has_its_own_time() {
    let (silent, mut peer) = pool().await;
    let (answering, mut other) = pool().await;
    let (endpoint, arrivals) = Endpoint::memory();
    let times = Settings { queue_timeout: SECOND, reply_timeout: 60 * SECOND, ..settings(endpoint) };
    let full = Pool::start(Settings { queue_bytes_max: 1, ..times });
    let mut third = Peer::accept(&arrivals).await;
    let mut holder = full.caller();
    let held = tokio::spawn(async move { holder.call(burst(&["INCR", "x"])).await });
    assert_eq!(third.next().await.unwrap(), ["INCR", "x"]);
    let started = Instant::now();
    let pools = [(&silent, "a"), (&answering, "b"), (&full, "c")];
    let calls = pools.map(|(pool, name)| (pool.caller(), burst(&["INCR", name])));
    let (all, _) = execute(calls.into());
    other.echo_next().await;
    peer.next().await.expect("sent");
    let (results, replies) = all.await.unwrap();
    assert!(matches!(results[0], Err(JobError::ReplyTimeout(_))), "{results:?}");
    assert_eq!(results[1..], [Ok(()), Err(JobError::QueueTimeout(SECOND))]);
    assert_eq!(replies, ["", "+INCR b\r\n", ""]);
    assert!(started.elapsed() < 11 * SECOND, "{:?}", started.elapsed());
    third.reply(echo(&["INCR", "x"])).await;
    assert!(held.await.unwrap().failure.is_none());
}
