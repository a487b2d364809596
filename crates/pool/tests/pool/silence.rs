//! A connection that is silent with requests in flight: others get the work, what was not sent moves to them, and a
//! reply that comes on too slowly ends it.

use std::time::Duration;

use pool::{Drained, Endpoint, JobError, Pool, Settings};
use tokio::time::{Instant, sleep};

use crate::upstream::{Peer, Upstream, burst, burst_in, calls, read_only, replies, settings, settle};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// More than an in-memory stream holds.
const LARGE: usize = 100_000;

/// A pool of two workers of which the first has a connection that is driven by hand.
async fn one_of_two(settings: Settings, arrivals: crate::upstream::Arrivals) -> (Pool, Peer, Upstream) {
    let pool = Pool::start(Settings { workers: 2, ..settings });
    let peer = Peer::accept(&arrivals).await;
    let other = Upstream::echoing(arrivals);
    settle().await;
    (pool, peer, other)
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_is_no_sign_of_life() {
    for (head, rest) in [("$100000\r\n", "x"), ("*100000\r\n", ":1\r\n"), ("+", "x"), ("", ">1\r\n+news\r\n")] {
        let (endpoint, arrivals) = Endpoint::memory();
        let pool = Pool::start(Settings { reply_timeout: 3 * SECOND, ..settings(endpoint) });
        let mut peer = Peer::accept(&arrivals).await;
        let started = Instant::now();
        let call = calls(&pool, ["a"]).await.remove(0);
        assert_eq!(peer.next().await.unwrap(), ["INCR", "a"]);
        peer.reply(head).await;
        while pool.status().lost == 0 {
            assert!(started.elapsed() < 20 * SECOND, "{head:?} {rest:?}: never given up");
            sleep(SECOND / 10).await;
            peer.reply(rest).await;
        }
        assert!((5_900..6_300).contains(&started.elapsed().as_millis()), "{head:?} {rest:?}: {:?}", started.elapsed());
        assert_eq!(call.await.unwrap().failure, Some(JobError::ReplyTimeout(3 * SECOND)));
        let (answer, _) = tokio::join!(calls(&pool, ["b"]), async {
            Peer::accept(&arrivals).await.echo_next().await;
        });
        assert_eq!(replies(answer.into_iter().next().unwrap().await.unwrap()), "+INCR b\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_connection_is_silent_goes_elsewhere_within_tens_of_milliseconds() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, mut peer, other) = one_of_two(settings(endpoint), arrivals).await;
    let script = calls(&pool, ["script"]).await.remove(0);
    sleep(50 * MS).await;
    for number in 0..20 {
        let started = Instant::now();
        let call = calls(&pool, [number]).await.remove(0);
        assert_eq!(replies(call.await.unwrap()), format!("+INCR {number}\r\n"));
        assert!(started.elapsed() < 20 * MS, "{:?}", started.elapsed());
        sleep(SECOND / 10).await;
    }
    assert_eq!((other.seen().len(), pool.status().retried), (20, 0));
    peer.echo_next().await;
    assert_eq!(replies(script.await.unwrap()), "+INCR script\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_moves_to_a_connection_that_is_heard() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, mut peer, other) = one_of_two(settings(endpoint), arrivals).await;
    let mut caller = pool.caller();
    let large = "x".repeat(LARGE);
    let written_in_part = tokio::spawn(async move { caller.call(burst(&["SET", "large", &large])).await });
    settle().await;
    let behind = calls(&pool, 0..10).await;
    let mut caller = pool.caller();
    let elsewhere = tokio::spawn(async move { caller.call(burst_in(9, &["GET", "waits"])).await });
    settle().await;
    let started = Instant::now();
    for (number, call) in behind.into_iter().enumerate() {
        assert_eq!(replies(call.await.unwrap()), format!("+INCR {number}\r\n"));
    }
    assert_eq!(replies(elsewhere.await.unwrap()), "+GET waits\r\n");
    assert!(started.elapsed() < 50 * MS, "{:?}", started.elapsed());
    assert_eq!(pool.status().retried, 11);
    let seen: Vec<String> = other.seen().iter().map(|seen| seen.request.join(" ")).collect();
    let select = seen.iter().position(|request| request == "SELECT 9").unwrap();
    assert_eq!((seen[select + 1].as_str(), seen.len()), ("GET waits", 12), "each once: {seen:?}");
    assert_eq!(peer.next().await.unwrap()[..2], ["SET", "large"]);
    peer.reply("+OK\r\n").await;
    assert_eq!(replies(written_in_part.await.unwrap()), "+OK\r\n");
    // The connection is of use again, and in the state that it is known to be in.
    let rest = peer.written().await;
    assert!(rest.is_empty() || rest == [["SELECT", "9"]], "{rest:?}");
    assert_eq!(pool.status().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_stays_where_nobody_else_would_take_it() {
    for (workers, paused) in [(1, false), (2, true)] {
        let (endpoint, arrivals) = Endpoint::memory();
        let pool = Pool::start(Settings { workers, ..settings(endpoint) });
        let mut peer = Peer::accept(&arrivals).await;
        let _others = Upstream::echoing(arrivals);
        settle().await;
        let mut caller = pool.caller();
        let large = "x".repeat(LARGE);
        let large = tokio::spawn(async move { caller.call(burst(&["SET", "large", &large])).await });
        settle().await;
        let behind = calls(&pool, ["behind"]).await.remove(0);
        if paused {
            pool.control().pause();
        }
        sleep(SECOND).await;
        assert!(!behind.is_finished());
        assert_eq!(peer.next().await.unwrap()[..2], ["SET", "large"]);
        peer.reply("+OK\r\n").await;
        assert_eq!(peer.echo_next().await, ["INCR", "behind"]);
        assert_eq!(replies(behind.await.unwrap()), "+INCR behind\r\n", "an accepted job is finished");
        assert_eq!(replies(large.await.unwrap()), "+OK\r\n");
        assert_eq!(pool.status().retried, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_was_not_sent_on_a_silent_connection() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, mut peer, _other) = one_of_two(settings(endpoint), arrivals).await;
    let mut caller = pool.caller();
    let large = "x".repeat(LARGE);
    let large = tokio::spawn(async move { caller.call(burst(&["SET", "large", &large])).await });
    settle().await;
    let behind = calls(&pool, ["behind"]).await.remove(0);
    let (drained, ()) = tokio::join!(pool.drain(5 * SECOND), async {
        sleep(SECOND).await;
        assert_eq!(peer.next().await.unwrap()[..2], ["SET", "large"]);
        peer.reply("+OK\r\n").await;
        assert_eq!(peer.echo_next().await, ["INCR", "behind"]);
    });
    assert_eq!(drained, Drained { abandoned: 0 });
    assert_eq!(replies(behind.await.unwrap()), "+INCR behind\r\n");
    assert_eq!(replies(large.await.unwrap()), "+OK\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_heard_again_is_used_again() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, ..settings(endpoint) });
    let (mut one, mut two) = (Peer::accept(&arrivals).await, Peer::accept(&arrivals).await);
    let first = calls(&pool, ["first"]).await.remove(0);
    sleep(SECOND).await;
    let second = calls(&pool, ["second"]).await.remove(0);
    sleep(SECOND).await;
    one.echo_next().await;
    assert_eq!(replies(first.await.unwrap()), "+INCR first\r\n");
    let third = calls(&pool, ["third"]).await.remove(0);
    settle().await;
    assert_eq!(one.echo_next().await, ["INCR", "third"], "the other one is silent");
    assert_eq!(replies(third.await.unwrap()), "+INCR third\r\n");
    assert_eq!(two.echo_next().await, ["INCR", "second"]);
    assert_eq!(replies(second.await.unwrap()), "+INCR second\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_moves_although_it_was_sent_and_what_writes_stays() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, mut peer, other) = one_of_two(settings(endpoint), arrivals).await;
    let (mut first, mut second) = (pool.caller(), pool.caller());
    let script = tokio::spawn(async move { first.call(read_only(&["GET", "script"])).await });
    settle().await;
    let write = calls(&pool, ["write"]).await.remove(0);
    let read = tokio::spawn(async move {
        let answer = second.call(read_only(&["GET", "read"])).await;
        (answer, second.call(read_only(&["GET", "again"])).await)
    });
    settle().await;
    assert_eq!(peer.next().await.unwrap(), ["GET", "script"]);
    assert_eq!(peer.next().await.unwrap(), ["INCR", "write"]);
    assert_eq!(peer.next().await.unwrap(), ["GET", "read"]);
    let started = Instant::now();
    let (moved, again) = read.await.unwrap();
    assert_eq!((replies(moved), replies(again)), ("+GET read\r\n".into(), "+GET again\r\n".into()));
    assert!(started.elapsed() < 50 * MS, "{:?}", started.elapsed());
    assert_eq!((other.seen().len(), pool.status().retried), (2, 1));
    sleep(SECOND).await;
    assert!(!script.is_finished() && !write.is_finished(), "the one that it waits for, and what is not read");
    peer.reply("$6\r\nscript\r\n:1\r\n$4\r\nlate\r\n").await;
    assert_eq!(replies(script.await.unwrap()), "$6\r\nscript\r\n");
    assert_eq!(replies(write.await.unwrap()), ":1\r\n");
    settle().await;
    assert_eq!((pool.status().lost, pool.status().retried), (0, 1), "the late reply is nobody's");
}

#[tokio::test(start_paused = true)]
async fn what_moves_moves_once() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 3, ..settings(endpoint) });
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::accept(&arrivals).await);
    }
    settle().await;
    let mut caller = pool.caller();
    let first = calls(&pool, ["first"]).await.remove(0);
    let read = tokio::spawn(async move { caller.call(read_only(&["GET", "read"])).await });
    settle().await;
    assert_eq!(peers[0].written().await.len(), 2);
    let second = calls(&pool, ["second"]).await;
    sleep(SECOND).await;
    let mut written: Vec<_> = Vec::new();
    for peer in &mut peers[1..] {
        written.extend(peer.written().await);
    }
    written.extend(peers[0].written().await);
    written.sort();
    assert_eq!(written, [["GET", "read"], ["INCR", "second"]]);
    drop((first, second, read));
}
