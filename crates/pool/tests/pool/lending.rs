//! Lent connections: what their borrowers wait for has an end.

use std::{future::poll_fn, io::ErrorKind, time::Duration};

use pool::{Endpoint, JobError, Needs, Pool, Settings};
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::{Peer, burst, settings};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn writing_to_an_upstream_that_takes_nothing_ends_at_reply_timeout() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_timeout: 3 * SECOND, ..settings(endpoint) });
    let _worker = Peer::accept(&arrivals).await;
    let caller = pool.caller();
    let (lent, mut peer) = tokio::join!(caller.lend(Instant::now(), Needs::default()), Peer::accept(&arrivals));
    let mut lent = lent.unwrap();
    lent.send(&burst(&["WATCH", "key"]).requests).await.unwrap();
    assert_eq!(peer.next().await.unwrap(), ["WATCH", "key"]);
    let started = Instant::now();
    let sent = timeout(60 * SECOND, lent.send(&vec![b'x'; 1 << 20])).await;
    let error = sent.expect("an end of the waiting").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((2990..3010).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    drop(lent);
    assert_eq!((pool.status().exclusive_lent, pool.status().exclusive_idle), (0, 0), "it is not used again");
}

#[tokio::test(start_paused = true)]
async fn what_a_borrower_has_waited_before_counts_as_waiting() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { exclusive_max: 1, queue_timeout: 5 * SECOND, ..settings(endpoint) });
    let _worker = Peer::accept(&arrivals).await;
    let (caller, began) = (pool.caller(), Instant::now());
    let (lent, _peer) = tokio::join!(caller.lend(began, Needs::default()), Peer::accept(&arrivals));
    let lent = lent.unwrap();
    for before in [0, 3, 5, 7] {
        let (since, before) = (Instant::now(), before * SECOND);
        sleep(before).await;
        let failure = caller.lend(since, Needs::default()).await.unwrap_err();
        assert_eq!(failure, JobError::ExclusiveTimeout { max: 1, waited: 5 * SECOND });
        let waited = since.elapsed().as_millis().abs_diff(before.max(5 * SECOND).as_millis());
        assert!(waited < 10, "after {before:?}: {:?}", since.elapsed());
    }
    drop(lent);
    let (lent, _peer) = tokio::join!(caller.lend(began, Needs::default()), Peer::accept(&arrivals));
    assert!(lent.is_ok(), "one that is free costs no time");
}

/// Bug: what was read of a reply on an exclusive connection had no bound at all.
#[tokio::test(start_paused = true)]
async fn replies_on_lent_connections_share_the_memory_for_replies_and_fail_where_there_is_none() {
    const KIB: usize = 1024;
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { replies_bytes_max: 550 * KIB, reply_bytes_max: 900 * KIB, ..settings(endpoint) });
    let _worker = Peer::accept(&arrivals).await;
    let caller = pool.caller();
    let reply = [b"$307200\r\n", &[b'x'; 300 * KIB][..], b"\r\n"].concat();
    let mut held = Vec::new();
    for fits in [true, true, false] {
        let (lent, mut peer) = tokio::join!(caller.lend(Instant::now(), Needs::default()), Peer::accept(&arrivals));
        let mut lent = lent.unwrap();
        let mut out = Vec::new();
        let (read, ()) = tokio::join!(poll_fn(|cx| lent.poll_message(cx, &mut out)), peer.reply_or_give_up(&reply));
        assert_eq!(read.is_ok(), fits, "{read:?}");
        assert!(caller.reply_bytes().used() <= 550 * KIB);
        held.push((lent, peer));
    }
    // Who lets go of one makes room for another.
    drop(held.remove(0));
    let (lent, peer) = &mut held[0];
    let mut out = Vec::new();
    let (read, ()) = tokio::join!(poll_fn(|cx| lent.poll_message(cx, &mut out)), peer.reply_or_give_up(&reply));
    assert!(read.is_ok() && out == reply, "{read:?}");
    let mut out = Vec::new();
    peer.reply("$999999999\r\n").await;
    let too_large = poll_fn(|cx| lent.poll_message(cx, &mut out)).await.unwrap_err();
    assert!(too_large.to_string().starts_with("reply_bytes_max exceeded"), "{too_large}");
    drop(held);
    assert_eq!(caller.reply_bytes().used(), 0);
}
