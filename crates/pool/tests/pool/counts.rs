//! What the pool counts: that it adds up.

use std::time::Duration;

use pool::{Burst, BurstClass, Endpoint, Pool};
use tokio::time::timeout;

use crate::upstream::{Peer, burst, burst_of, read_only, replies, settings};

#[tokio::test(start_paused = true)]
async fn requests_in_are_replied_failed_and_under_way_whatever_becomes_of_a_call() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let counts = |class: BurstClass| {
        let totals = pool.control().totals();
        let (_, totals) = totals.classes.into_iter().find(|(of, _)| *of == class).unwrap();
        (totals.requests, totals.replied, totals.failed, totals.under_way())
    };
    let mut caller = pool.caller();
    let call = timeout(Duration::from_millis(5), caller.call(read_only(&["GET", "a"])));
    assert!(call.await.is_err(), "nobody answers");
    assert_eq!(counts(BurstClass::Read), (1, 0, 0, 1));
    // Dropped, it will never be answered: that is known at the next call, or when there can be none.
    peer.echo_next().await;
    let (answer, ()) = tokio::join!(caller.call(burst_of(&[&["B"], &["C"]])), async {
        peer.echo_next().await;
        peer.echo_next().await;
    });
    assert_eq!(replies(answer), "+B\r\n+C\r\n");
    assert_eq!(counts(BurstClass::Read), (1, 0, 1, 0));
    assert_eq!(counts(BurstClass::Write), (2, 2, 0, 0));
    let transaction = Burst { transaction: true, ..burst(&["D"]) };
    assert!(timeout(Duration::from_millis(5), caller.call(transaction)).await.is_err());
    drop(caller);
    assert_eq!(counts(BurstClass::Transaction), (1, 0, 1, 0));
}
