//! What comes while a batch is out to an upstream on this machine goes with the next reply or as a batch as large. What
//! is kept meanwhile is as safe as what is queued. The peers of the other tests answer after a millisecond at the
//! earliest, so that nothing is kept there.

use std::time::Duration;

use crate::upstream::{Arrivals, Peer, burst, calls, echo, replies, settings};
use pool::{Drained, Endpoint, JobError, Pool, Sent, Settings};

/// A connection whose worker knows that the way is short.
async fn near(pool: &Pool, arrivals: &Arrivals) -> Peer {
    let mut peer = Peer::accept(arrivals).await;
    let mut caller = pool.caller();
    let call = tokio::spawn(async move { caller.call(burst(&["INCR", "way"])).await });
    peer.echo_next().await;
    assert_eq!(replies(call.await.unwrap()), "+INCR way\r\n");
    peer
}

fn requests<const N: usize>(names: [&str; N]) -> [[String; 2]; N] {
    names.map(|name| ["INCR".to_owned(), name.to_owned()])
}

#[tokio::test(start_paused = true)]
async fn what_comes_one_by_one_goes_with_the_next_reply_or_as_a_batch_as_large() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = near(&pool, &arrivals).await;
    let mut all = calls(&pool, ["a", "b", "c"]).await;
    assert_eq!(peer.written().await, requests(["a", "b"]), "the first, one as large, and the third stays");
    peer.reply(echo(&["INCR", "a"])).await;
    assert_eq!(peer.written().await, requests(["c"]), "with the next reply");
    all.extend(calls(&pool, ["d"]).await);
    assert!(peer.written().await.is_empty());
    all.extend(calls(&pool, ["e"]).await);
    assert_eq!(peer.written().await, requests(["d", "e"]), "as many as are out");
    for name in ["b", "c", "d", "e"] {
        peer.reply(echo(&["INCR", name])).await;
    }
    for (call, name) in all.into_iter().zip(["a", "b", "c", "d", "e"]) {
        assert_eq!(replies(call.await.unwrap()), format!("+INCR {name}\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_outlives_the_connection_and_is_executed_once() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = near(&pool, &arrivals).await;
    let mut all = calls(&pool, ["a", "b", "c"]).await;
    assert_eq!(peer.written().await, requests(["a", "b"]));
    drop(peer);
    let mut peer = Peer::accept(&arrivals).await;
    assert_eq!(peer.echo_next().await, ["INCR", "c"]);
    assert_eq!(replies(all.pop().unwrap().await.unwrap()), "+INCR c\r\n");
    for call in all {
        assert_eq!(call.await.unwrap().failure.map(|failure| failure.sent()), Some(Sent::Maybe));
    }
    assert!(peer.written().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_behind_a_silent_upstream_goes_to_another_worker_or_is_answered_in_time() {
    let (endpoint, arrivals) = Endpoint::memory();
    let reply_timeout = Duration::from_secs(2);
    let pool = Pool::start(Settings { workers: 2, reply_timeout, ..settings(endpoint) });
    let mut silent = near(&pool, &arrivals).await;
    let mut all = calls(&pool, ["a", "b", "c"]).await;
    let mut other = Peer::accept(&arrivals).await;
    while silent.written().await.is_empty() {
        // The second worker was the one with the turn.
        std::mem::swap(&mut silent, &mut other);
    }
    assert_eq!(other.echo_next().await, ["INCR", "c"]);
    assert_eq!(replies(all.pop().unwrap().await.unwrap()), "+INCR c\r\n");
    for call in all {
        assert!(matches!(call.await.unwrap().failure, Some(JobError::ReplyTimeout(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_served_before_the_pool_ends() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = near(&pool, &arrivals).await;
    let all = calls(&pool, ["a", "b", "c"]).await;
    let (drained, ()) = tokio::join!(pool.drain(Duration::from_secs(5)), async {
        for name in ["a", "b", "c"] {
            assert_eq!(peer.echo_next().await, ["INCR", name]);
        }
    });
    assert_eq!(drained, Drained { abandoned: 0 });
    for call in all {
        assert!(call.await.unwrap().failure.is_none());
    }
}
