//! Lent connections: what their borrowers wait for has an end.

use std::{io::ErrorKind, time::Duration};

use pool::{Endpoint, Needs, Pool, Settings};
use tokio::time::{Instant, timeout};

use crate::upstream::{Peer, burst, settings};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn writing_to_an_upstream_that_takes_nothing_ends_at_reply_timeout() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_timeout: 3 * SECOND, ..settings(endpoint) });
    let _worker = Peer::accept(&arrivals).await;
    let caller = pool.caller();
    let (lent, mut peer) = tokio::join!(caller.lend(Needs::default()), Peer::accept(&arrivals));
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
