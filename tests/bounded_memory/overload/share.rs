//! Who pipelines without end takes no more than a burst at a time from those who ask for little.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::pools_figure;
use crate::support::{Client, Gateway, Redis, Upstream, pass, request, wait};

#[test]
fn one_greedy_client_gets_a_burst_for_each_request_of_the_others_and_no_more() {
    const MODEST: usize = 50;
    const ROUNDS: usize = 10;
    const BATCH_MAX: usize = 64;
    let redis = Redis::start(&[]);
    let (address, greedy_served) = (redis.address(), Arc::<AtomicUsize>::default());
    let (stopped, served) = (Arc::<AtomicBool>::default(), Arc::clone(&greedy_served));
    // A real Redis that takes its time, and can be stopped until all wait for it.
    let upstream = Upstream::start({
        let stopped = Arc::clone(&stopped);
        move |peer| {
            let mut redis = Client::connect(address);
            while let Some(line) = peer.next() {
                pass(Duration::from_micros(100));
                while stopped.load(Ordering::SeqCst) {
                    pass(Duration::from_millis(1));
                }
                served.fetch_add(usize::from(line == "INCR greedy"), Ordering::SeqCst);
                peer.reply(&String::from_utf8_lossy(&redis.line(&line)));
            }
        }
    });
    let config = format!("[pool]\nworkers = 1\npipeline_depth = 8\nbatch_max = {BATCH_MAX}");
    let gateway = Gateway::builder().upstream(&upstream.url()).config(&config).start();
    let (mut operator, mut greedy) = (gateway.client(), gateway.client());
    let mut modest: Vec<Client> = (0..MODEST).map(|_| gateway.client()).collect();
    modest.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    greedy.send_raw(&request(&["INCR", "greedy"]).repeat(50_000));
    // Its bursts grow to what they may have before anything is counted.
    greedy.read_replies(BATCH_MAX * 4);
    let mut total = 0;
    for _ in 0..ROUNDS {
        stopped.store(true, Ordering::SeqCst);
        modest.iter_mut().for_each(|client| client.send(&["INCR", "modest"]));
        wait("all to wait", || {
            let all = pools_figure(&mut operator, "cl_waiting") + pools_figure(&mut operator, "cl_active");
            (all == MODEST + 1).then_some(())
        });
        let before = greedy_served.load(Ordering::SeqCst);
        stopped.store(false, Ordering::SeqCst);
        // When the last of them has its reply, all have: the queue is served in the order in which they came.
        modest.iter_mut().for_each(|client| assert!(client.read_reply().starts_with(b":")));
        total += greedy_served.load(Ordering::SeqCst) - before;
    }
    println!("{} requests of {MODEST} modest clients, {total} of the greedy one", MODEST * ROUNDS);
    // The burst that was there before them; and, while the last replies are read, some of the next one.
    let share = ROUNDS * BATCH_MAX * 2;
    assert!(total <= share, "the greedy client got {total}, {share} are its share");
}
