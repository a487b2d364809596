//! One test for each bug that was found, which it names; it fails where the bug is back.

/// Bug: attempts that had failed before a connection was made still slowed down its renewal.
#[tokio::test(start_paused = true)]
async fn an_orderly_renewal_is_not_slowed_down_by_failures_of_long_ago() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (lifetime, delay) = (1000 * SECOND, 60 * SECOND);
    let delays = Settings { reconnect_delay_min: delay, reconnect_delay_max: delay, ..settings(endpoint) };
    let pool = Pool::start(Settings { lifetime, ..delays });
    for _ in 0..2 {
        drop(arrivals.recv().await);
    }
    let mut peer = Peer::accept(&arrivals).await;
    assert!(peer.next().await.is_none());
    let ended = Instant::now();
    let _next = Peer::accept(&arrivals).await;
    assert!(ended.elapsed() < SECOND, "{:?}", ended.elapsed());
    drop(pool);
}
